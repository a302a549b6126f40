"""Where in a patch the intensities move a score: integrated gradients, and a table of a slice of a few lesions."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.polynomial.legendre import leggauss
from numpy.typing import ArrayLike
from torch import Tensor

from radnet.cohort import ChannelKind

OutputOf = Callable[[Tensor], Tensor]
"""From images, shape (N, C, D, H, W), to one number each, shape (N,), that follows from no other image of the N."""

ATTRIBUTION_COLUMNS = (
    *("lesion_number", "role", "score", "baseline_score", "in_lesion", "channel", "view", "slice"),
    *("y", "x", "intensity", "lesion", "attribution"),
)
_MOST_LESIONS = 6
_MOST_VOXELS = 64
_DIGITS = 4  # of every number in the table, which is carried by a page


def integrated_gradients(output_of: OutputOf, image: Tensor, baseline: Tensor, steps: int = 32) -> Tensor:
    """Return how much each voxel adds to the output of an image beyond that of its baseline.

    The gradient is averaged along the straight line from baseline to image, by the Gauss-Legendre rule, and multiplied
    by what lies between them. The attributions of an image add up to its output less its baseline's: to rounding where
    the output is a polynomial of the voxels of degree up to 2·``steps``; of a network with ReLU, whose gradient jumps,
    within about 1% of their sum without signs at 32 steps, a gap that falls as 1/``steps``. One step is taken after
    the other, so that memory is that of one pass of the N images, there and back.

    Args:
        output_of: A network that draws nothing (``eval``), or any function torch can follow.
        image: Shape (N, C, D, H, W).
        baseline: Of the same shape; see ``featureless``.
        steps: Points on the line.

    Returns:
        Shape (N, C, D, H, W), in the unit of the output; 0 where image and baseline are the same.

    Raises:
        ValueError: If the shapes differ, ``steps`` is below 1, or the output is not one number per image that torch
            can follow back.

    References:
        Sundararajan, Taly, Yan. Axiomatic attribution for deep networks. ICML 2017, equation 1 and proposition 1.

    Example:
        >>> square = lambda image: image.flatten(start_dim=1).square().sum(dim=1)
        >>> integrated_gradients(square, torch.full((1, 1, 1, 1, 2), 3.0), torch.ones(1, 1, 1, 1, 2)).flatten()
        tensor([8., 8.])
    """
    if image.shape != baseline.shape:
        raise ValueError(f"image {tuple(image.shape)} and baseline {tuple(baseline.shape)} differ in shape")
    if steps < 1:
        raise ValueError(f"integrated gradients need 1 step or more, got {steps}")
    places, weights = leggauss(steps)  # on -1 … 1
    mean = torch.zeros_like(image)
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        with torch.enable_grad():
            point = torch.lerp(baseline, image, float(place)).detach().requires_grad_()
            output = output_of(point)
            if output.shape != (len(image),) or not output.requires_grad:
                raise ValueError(
                    f"integrated gradients need one number for each of {len(image)} images, shape ({len(image)},), "
                    f"that follows from them where gradients are kept; got shape {tuple(output.shape)}"
                    + ("" if output.requires_grad else " without a gradient")
                )
            (gradient,) = torch.autograd.grad(output.sum(), point)
        mean += float(weight) * gradient
    return mean * (image - baseline)


def featureless(image: Tensor, kinds: Sequence[ChannelKind]) -> Tensor:
    """Return patches in which every channel of intensities is level at the patch's own mean.

    Masks and distances stay. So outline, size, and the brightness of the whole are as they were, and what is gone is
    all texture and all contrast, between lesion and surroundings as within either: that is what an attribution against
    this baseline explains. A patch of zeros would be air, or the mean of a z-score, to which no lesion is alike.

    Args:
        image: Shape (N, C, D, H, W).
        kinds: Of each of the C channels.

    Returns:
        Of the same shape, new memory.
    """
    if len(kinds) != image.shape[1]:
        raise ValueError(f"the patches have {image.shape[1]} channels, and kinds are told of {len(kinds)}")
    baseline = image.clone()
    for place, kind in enumerate(kinds):
        if kind == "image":
            baseline[:, place] = image[:, place].mean(dim=(1, 2, 3), keepdim=True)
    return baseline


def lesions_to_show(score: ArrayLike) -> dict[int, str]:
    """Choose lesions by their score alone, and say in which role: highest, middle and lowest.

    Two of each where there are 6 or more, else one, as far as there are lesions: a single one tempts to a story.

    Args:
        score: Of every lesion, shape (n,); an earlier one goes first where scores are the same.

    Returns:
        Role by place among the n, highest score first.

    Example:
        >>> lesions_to_show([0.1, 0.9, 0.4])
        {1: 'highest score', 2: 'middle', 0: 'lowest score'}
    """
    order = np.argsort(-np.asarray(score, dtype=float), kind="stable").tolist()
    each = 2 if len(order) >= _MOST_LESIONS else 1
    middle = (len(order) - each) // 2
    roles = dict.fromkeys(order[:each], "highest score")
    roles |= {place: "middle" for place in order[middle : middle + each] if place not in roles and len(order) > 2}
    return roles | {place: "lowest score" for place in order[-each:] if place not in roles}


def attribution_table(
    output_of: OutputOf,
    image: Tensor,
    channels: Mapping[str, ChannelKind],
    lesion: Tensor,
    roles: Sequence[str],
    steps: int = 32,
) -> pd.DataFrame:
    """Return ``attribution.csv``: an axial slice of a few lesions, voxel by voxel, with integrated gradients.

    Lesions are numbered from 1 on and not named, so that the pictures can leave a hospital with a report. Of every
    lesion the slice is shown, out of those that cut it, in which the attributions of all channels are largest in sum,
    signs aside; of a slice wider than 64 voxels, the middle.

    Args:
        output_of: From patches to the score, in the order in which ``image`` stands.
        image: Patches, shape (N, C, D, H, W), of 1 to 6 lesions.
        channels: What each channel holds, by name and in order (``PatchTable.channels``).
        lesion: Which voxels are the lesion's, shape (N, D, H, W), bool.
        roles: Why each lesion is shown, such as ``highest score``; see ``lesions_to_show``.
        steps: Of ``integrated_gradients``; the baseline is ``featureless``.

    Returns:
        A row for each lesion, channel of intensities, and voxel (y, x) of the slice, indices in the patch:
        ``lesion_number``, ``role``, ``score``, ``baseline_score`` of the featureless patch, ``in_lesion``, the share
        of the attributions of the whole patch, signs aside, that lies in the lesion; ``channel``, ``view`` (axial),
        ``slice``, ``y``, ``x``, ``intensity``, ``lesion`` (0 or 1), ``attribution``. Numbers have 4 digits.

    Raises:
        ValueError: If there are no lesions or more than 6, roles or masks are of other numbers, a lesion has no voxel
            in its patch, or no channel holds intensities.
    """
    _check(image, channels, lesion, roles)
    baseline = featureless(image, list(channels.values()))
    with torch.no_grad():
        score, baseline_score = output_of(image), output_of(baseline)
    attribution = integrated_gradients(output_of, image, baseline, steps)
    size = attribution.abs().sum(dim=1)
    of_slice = size.sum(dim=(2, 3)).masked_fill(~lesion.flatten(start_dim=2).any(dim=2), -1.0)
    in_lesion = (size * lesion).sum(dim=(1, 2, 3)) / size.sum(dim=(1, 2, 3))
    top, left = (_middle(length) for length in image.shape[3:])
    tables = []
    for place, role in enumerate(roles):
        z = int(of_slice[place].argmax())
        for channel, (name, kind) in enumerate(channels.items()):
            if kind != "image":
                continue
            y, x = np.meshgrid(*(np.arange(side.start, side.stop) for side in (top, left)), indexing="ij")
            columns = {
                "lesion_number": place + 1,
                "role": role,
                "score": _rounded(score[place])[0],
                "baseline_score": _rounded(baseline_score[place])[0],
                "in_lesion": _rounded(in_lesion[place])[0],
                "channel": name,
                "view": "axial",
                "slice": z,
                "y": y.ravel(),
                "x": x.ravel(),
                "intensity": _rounded(image[place, channel, z, top, left]),
                "lesion": lesion[place, z, top, left].cpu().numpy().astype(int).ravel(),
                "attribution": _rounded(attribution[place, channel, z, top, left]),
            }
            tables.append(pd.DataFrame(columns, columns=list(ATTRIBUTION_COLUMNS)))
    return pd.concat(tables, ignore_index=True)


def _check(image: Tensor, channels: Mapping[str, ChannelKind], lesion: Tensor, roles: Sequence[str]) -> None:
    if not 1 <= len(image) <= _MOST_LESIONS:
        raise ValueError(f"attributions are shown of 1 to {_MOST_LESIONS} lesions, got {len(image)}")
    if len(roles) != len(image):
        raise ValueError(f"each of {len(image)} lesions has a role, got {len(roles)}")
    if lesion.shape != (len(image), *image.shape[2:]):
        raise ValueError(f"the lesions' voxels {tuple(lesion.shape)} are not those of the patches {tuple(image.shape)}")
    if "image" not in channels.values():
        raise ValueError(f"no channel holds intensities to explain; there are {', '.join(channels)}")
    if empty := [str(place + 1) for place, mask in enumerate(lesion) if not mask.any()]:
        raise ValueError(f"a lesion has no voxel in its patch, so that no slice can be shown: {', '.join(empty)}")


def _middle(length: int) -> slice:
    start = max(0, (length - _MOST_VOXELS) // 2)
    return slice(start, min(length, start + _MOST_VOXELS))


def _rounded(values: Tensor) -> np.ndarray:
    """Return values in one row, to as many digits as the table has."""
    flat = values.detach().cpu().double().flatten().numpy()
    return np.array([float(f"{value:.{_DIGITS}g}") for value in flat])
