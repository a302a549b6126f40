"""Patches varied at random for training, each draw made of seed, epoch, patient and lesion alone."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from monai.data import get_track_meta, set_track_meta
from monai.transforms import Compose, LazyTransform, MapTransform, Randomizable, Transform
from monai.utils import MAX_SEED
from numpy.typing import NDArray
from torch import Tensor

from radnet.cohort import ChannelKind

_KINDS: tuple[ChannelKind, ...] = ("image", "distance", "mask")


class Augmentation:
    """MONAI's random dictionary transforms over the channels of a patch, grouped under their kinds.

    A transform sees the entries ``image``, ``distance`` and ``mask``, tensors (C, D, H, W) of the patch's channels of
    each kind, or no entry where there is none. One that moves voxels (flip, rotation, zoom) must move all three, a mask
    by the nearest voxel; one that changes values must leave distances and masks alone. What does not is refused.

    Args:
        steps: By name, in the order they are written; a configuration can replace or switch off (null) one.

    Raises:
        ValueError: If a step tears the channels apart, or changes a mask's values.
    """

    def __init__(self, steps: Mapping[str, Transform | None]) -> None:
        on = {name: step for name, step in steps.items() if step is not None}
        if faults := [f"{name}: {fault}" for name, step in on.items() if (fault := _fault(step))]:
            raise ValueError("augmentation: " + "; ".join(faults))
        self.steps = Compose(list(on.values()))
        self.states = [np.random.RandomState() for _ in on]  # kept, since seeding anew costs half of making one
        for step, state in zip(on.values(), self.states, strict=True):
            step.set_random_state(state=state)  # type: ignore[attr-defined]

    def __call__(self, patch: NDArray, kinds: Sequence[ChannelKind], seed: int) -> Tensor:
        """Return the patch as ``seed`` has it varied.

        Args:
            patch: Shape (C, D, H, W), any type of float; it is left as it is.
            kinds: Of each of the C channels.
            seed: Whole number from ``draw_seed``.

        Returns:
            Shape (C, D, H, W), float32, of its own memory.

        Raises:
            ValueError: If a rotation by 90 degrees gives another shape.
        """
        values = torch.from_numpy(np.array(patch)).to(torch.float32)  # torch widens a float16 faster
        if len(kinds) != len(values):
            raise ValueError(f"the patch has {len(values)} channels, and kinds are told of {len(kinds)}")
        places = {kind: [at for at, one in enumerate(kinds) if one == kind] for kind in _KINDS}
        of_steps = np.random.RandomState(seed)
        for state in self.states:
            state.seed(of_steps.randint(MAX_SEED, dtype="uint32"))
        with _plain_tensors():
            varied = self.steps({kind: values[at] for kind, at in places.items() if at})
        for kind, at in places.items():
            if not at:
                continue
            new = torch.as_tensor(varied[kind])
            if new.shape[1:] != values.shape[1:]:
                raise ValueError(
                    f"augmentation made a patch of {tuple(new.shape[1:])} voxels out of one of "
                    f"{tuple(values.shape[1:])}: turn by 90 degrees only in a plane of equal sizes"
                )
            values[at] = new.to(torch.float32)
        return values


def draw_seed(seed: int, epoch: int, patient_id: str, lesion_id: str) -> int:
    """Return the seed of a lesion's draws in an epoch: the same in any order, and in any process."""
    content = repr((int(seed), int(epoch), patient_id, lesion_id))
    return int.from_bytes(hashlib.sha256(content.encode()).digest()[:4])


@contextmanager
def _plain_tensors() -> Iterator[None]:
    """Let MONAI keep no record of where a patch was moved, which takes half of the time and is not asked for."""
    before = get_track_meta()
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(before)


def _fault(step: Transform) -> str:
    if not isinstance(step, MapTransform) or not isinstance(step, Randomizable):
        return f"{type(step).__name__} is no random dictionary transform of MONAI's"
    if unknown := [str(key) for key in step.keys if key not in _KINDS]:
        return f"there is no {', '.join(unknown)}; keys are out of {', '.join(_KINDS)}"
    if not step.allow_missing_keys:
        return "allow_missing_keys must be true, since not every patch has channels of every kind"
    if not isinstance(step, LazyTransform):
        return "" if tuple(step.keys) == ("image",) else "a change of values is for image alone"
    if set(step.keys) != set(_KINDS):
        return f"a change of places is for {', '.join(_KINDS)} together"
    ways = getattr(step, "mode", None) or ["nearest"] * len(step.keys)  # a flip has none, and needs none
    way = dict(zip(step.keys, ways, strict=True))["mask"]
    return "" if way in ("nearest", "nearest-exact") else f"a mask is moved by the nearest voxel, not by {way}"
