"""Patches: boxes of one size around lesions, for networks; what is cut, and what its channels hold."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from radnet.cohort import ChannelKind
from radnet.imaging.preprocess import bounding_box


@dataclass(frozen=True, slots=True)
class WindowChannel:
    """Intensities from ``low`` … ``high`` (HU on CT) as 0 … 1, clipped beyond; 0 where there is no image.

    Attributes:
        low: Becomes 0.
        high: Becomes 1.
        image: Channel of ``lesions.csv``; None for the first, on whose voxels the lesion is delineated.
    """

    low: float
    high: float
    image: str | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"a window's low must be less than its high, got {self.low} and {self.high}")


@dataclass(frozen=True, slots=True)
class LesionWindowChannel:
    """Intensities about the lesion's own median, ``width`` (HU on CT) of them as -1 … 1, clipped; 0 without an image.

    The window is as narrow as the contrast within a lesion, wherever it lies: what is within the lesion and at its
    border then fills the range, which a window over all organs leaves to their differences. A mean would be drawn away
    by the air that a mask in the lung takes in at its border.

    Attributes:
        width: Becomes the range from -1 to 1.
        image: As of ``WindowChannel``.
        within: Whether all that is outside the lesion is 0, so that nothing around it can be learned from.
    """

    width: float
    image: str | None = None
    within: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.width < np.inf:
            raise ValueError(f"a window's width must be above 0, got {self.width}")


@dataclass(frozen=True, slots=True)
class ZScoreChannel:
    """Intensities at mean 0 and standard deviation 1 over the foreground of the whole scan, taken before resampling.

    Attributes:
        above: The foreground is every voxel of a greater intensity (0: an MRI without its background).
        image: As of ``WindowChannel``.
    """

    above: float
    image: str | None = None


@dataclass(frozen=True, slots=True)
class LesionChannel:
    """1 in the lesion, 0 elsewhere."""


@dataclass(frozen=True, slots=True)
class RingChannel:
    """1 in the ring along the lesion's border, 0 elsewhere; as ``region.ring_mask``.

    Attributes:
        inner_mm: How far the ring reaches into the lesion.
        outer_mm: How far the ring reaches from the lesion.
        exclude_below: Voxels outside the lesion of a lower intensity in the first image are no part of it (air); None
            keeps them all.
    """

    inner_mm: float
    outer_mm: float
    exclude_below: float | None = None


@dataclass(frozen=True, slots=True)
class DistanceChannel:
    """Distance to the lesion's border as ``region.signed_distance_mm``, clipped to ± ``clip_mm`` and divided by it.

    So -1 is deep in the lesion and 1 far from it; 1 too beyond the scan.
    """

    clip_mm: float

    def __post_init__(self) -> None:
        if not 0 < self.clip_mm < np.inf:
            raise ValueError(f"a distance map is clipped at more than 0 mm, got {self.clip_mm}")


OfIntensities = WindowChannel | LesionWindowChannel | ZScoreChannel
Channel = WindowChannel | LesionWindowChannel | ZScoreChannel | LesionChannel | RingChannel | DistanceChannel


@dataclass(frozen=True, slots=True)
class PatchSettings:
    """What is cut around every lesion; patches of equal settings can be learned from together.

    A lesion larger than the patch is by default cut, its centre kept (``crop``): so a voxel has the same size in every
    patch, as it has for radiomics, and what a network learns of texture in mm holds for lesions of any size. With
    ``fit`` the voxels of such a lesion alone are enlarged, by one factor along all axes, until its box and
    ``margin_mm`` on every side fit: its outline is seen whole, its texture coarser. The patch's table tells of either.

    In float16 the masks are exact, a window's 0 … 1 errs by 1/4096 at most (0.1 HU of a window of 400), the distance
    map by 1/4096 of its clip, and a z-score by 1/2048 of itself.

    Attributes:
        size_voxels: Along Z, Y and X.
        spacing_mm: Voxel size along Z, Y and X. Where a lesion is one slice thick, its slice stays as thick as it was
            (``preprocess.resample``, and pyradiomics).
        channels: By name, in the order of the array.
        larger: ``crop`` or ``fit``.
        margin_mm: Around a lesion that is made to fit.
        dtype: ``float16`` or ``float32``, in which patches are stored.
    """

    size_voxels: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    channels: Mapping[str, Channel]
    larger: Literal["crop", "fit"] = "crop"
    margin_mm: float = 4.0
    dtype: Literal["float16", "float32"] = "float16"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_voxels", tuple(int(size) for size in self.size_voxels))
        object.__setattr__(self, "spacing_mm", tuple(float(step) for step in self.spacing_mm))
        object.__setattr__(self, "channels", dict(self.channels))
        if faults := self._faults():
            raise ValueError("patch settings: " + "; ".join(faults))

    def _faults(self) -> list[str]:
        faults = []
        if len(self.size_voxels) != 3 or min(self.size_voxels) < 1:
            faults.append(f"size_voxels are three numbers of 1 or more (Z, Y, X), got {self.size_voxels}")
        if len(self.spacing_mm) != 3 or not all(0 < step < np.inf for step in self.spacing_mm):
            faults.append(f"spacing_mm are three numbers above 0 (Z, Y, X), got {self.spacing_mm}")
        if not self.channels:
            faults.append("channels names at least one")
        faults += [
            f"channels.{name} is {type(one).__name__}, expected one of "
            + ", ".join(kind.__name__ for kind in get_args(Channel))
            for name, one in self.channels.items()
            if not isinstance(one, Channel)
        ]
        if self.larger not in ("crop", "fit"):
            faults.append(f"larger is {self.larger!r}, expected crop or fit")
        if not 0 <= self.margin_mm < np.inf:
            faults.append(f"margin_mm must be 0 or more, got {self.margin_mm}")
        if self.dtype not in ("float16", "float32"):
            faults.append(f"dtype is {self.dtype!r}, expected float16 or float32")
        return faults

    @property
    def kinds(self) -> dict[str, ChannelKind]:
        """What the values of each channel are, by name and in order."""
        return {name: _kind(one) for name, one in self.channels.items()}

    def further(self, first: str) -> list[str]:
        """Return the channels of ``lesions.csv`` that are read beside the first, whose name is given."""
        wanted = [one.image for one in self.channels.values() if isinstance(one, OfIntensities)]
        return list(dict.fromkeys(name for name in wanted if name is not None and name != first))

    def described(self) -> dict[str, object]:
        """Return every setting as plain values, the channels as a list of name, kind and what belongs to it."""
        told = {"size_voxels": list(self.size_voxels), "spacing_mm": list(self.spacing_mm), "larger": self.larger}
        channels = [{"name": name, "kind": type(one).__name__, **asdict(one)} for name, one in self.channels.items()]
        return {**told, "margin_mm": self.margin_mm, "dtype": self.dtype, "channels": channels}

    @classmethod
    def from_described(cls, told: Mapping[str, Any]) -> Self:
        """Return the settings that ``described`` told of.

        Raises:
            ValueError: If a channel's kind is unknown, or the settings cannot be.
        """
        kinds = {one.__name__: one for one in get_args(Channel)}
        channels = {}
        for one in told["channels"]:
            rest = {key: value for key, value in one.items() if key not in ("name", "kind")}
            if one["kind"] not in kinds:
                raise ValueError(f"patch settings: no channel is a {one['kind']}; known are {', '.join(kinds)}")
            channels[one["name"]] = kinds[one["kind"]](**rest)
        return cls(**{**told, "channels": channels})

    def fingerprint(self) -> str:
        """Return a SHA-256 that is equal when the patches of equal files must be."""
        return hashlib.sha256(json.dumps(self.described(), allow_nan=False).encode()).hexdigest()


def fitted_spacing_mm(
    lesion_mm: Sequence[float], size_voxels: Sequence[int], spacing_mm: Sequence[float], margin_mm: float
) -> tuple[float, float, float]:
    """Return the least spacing of the same proportions at which a lesion and a margin fit into a patch.

    Args:
        lesion_mm: Size of the lesion's box along Z, Y and X.
        size_voxels: Of the patch.
        spacing_mm: Wanted; comes back where the lesion fits already.
        margin_mm: On every side of the lesion.

    Example:
        >>> fitted_spacing_mm((92.0, 40.0, 40.0), (64, 64, 64), (1.0, 1.0, 1.0), margin_mm=2.0)
        (1.5, 1.5, 1.5)
    """
    sides = zip(lesion_mm, size_voxels, spacing_mm, strict=True)
    factor = max(1.0, *((extent + 2 * margin_mm) / (size * step) for extent, size, step in sides))
    z, y, x = (float(step * factor) for step in spacing_mm)
    return z, y, x


def lesion_patch(array: NDArray, mask: NDArray[np.bool_], size_voxels: Sequence[int], fill: float) -> NDArray:
    """Return the patch of a fixed size whose centre is the centre of the lesion's box.

    Where centre or size leave half a voxel to choose, the patch lies towards the lower index. A lesion larger than the
    patch is cut: take a greater size, or coarser voxels (``PatchSettings``).

    Args:
        array: Intensities or a mask, shape (Z, Y, X).
        mask: Voxels of the lesion, shape (Z, Y, X).
        size_voxels: Size of the patch along Z, Y and X.
        fill: Value of the patch where it reaches beyond the array.

    Returns:
        The patch, in the type of ``array``, a copy.

    Example:
        >>> mask = np.array([[[0, 1, 1, 0, 0]]], dtype=bool)
        >>> lesion_patch(np.array([[[1, 2, 3, 4, 5]]]), mask, size_voxels=(1, 1, 6), fill=-1)
        array([[[-1,  1,  2,  3,  4,  5]]])
    """
    starts = patch_start(mask, size_voxels)
    if array.shape != mask.shape:
        raise ValueError(f"the array {array.shape} and the mask {mask.shape} differ in shape")
    patch = np.full(tuple(size_voxels), fill, dtype=array.dtype)
    source, target = [], []
    for start, size, length in zip(starts, size_voxels, array.shape, strict=True):
        low, high = max(start, 0), min(start + size, length)
        source.append(slice(low, high))
        target.append(slice(low - start, high - start))
    patch[tuple(target)] = array[tuple(source)]
    return patch


def patch_start(mask: NDArray[np.bool_], size_voxels: Sequence[int]) -> tuple[int, int, int]:
    """Return the index of the array (Z, Y, X) at which the patch begins; negative where it begins before the array."""
    if len(size_voxels) != 3 or min(size_voxels) < 1:
        raise ValueError(f"a patch has three sizes of 1 or more (Z, Y, X), got {tuple(size_voxels)}")
    box = bounding_box(np.asarray(mask, dtype=bool))
    z, y, x = ((side.start + side.stop - size) // 2 for side, size in zip(box, size_voxels, strict=True))
    return z, y, x


def _kind(channel: Channel) -> ChannelKind:
    if isinstance(channel, LesionChannel | RingChannel):
        return "mask"
    return "distance" if isinstance(channel, DistanceChannel) else "image"
