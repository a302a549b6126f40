"""Lesions changed before they are measured: by controls that no model should survive, or as a reader might."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it
from numpy.typing import NDArray

from radnet.imaging.preprocess import bounding_box
from radnet.radiomics.perturbation import Perturbation

ChangeKind = Literal["shuffled_voxels", "random_region", "perturbed"]
Shift = tuple[int, int, int]

_AIR_HU = -500.0
_PERCENTILE = 20.0
# By definition one voxel in five lies below the percentile, even in an image that is tissue throughout.
_LEAST_SHARE = {"air": 0.95, "percentile": 0.75}
_MOST_TRIES = 20_000
_GLANCE = 64  # voxels looked at first: most places fail on them


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to every lesion before it is measured.

    Attributes:
        kind: ``shuffled_voxels`` permutes the intensities within each region, on the grid it is measured on: what is
            left is the histogram and the shape. ``random_region`` moves each lesion's mask to a random place of the
            same scan that holds tissue and no lesion: what is left is the shape and the scan. ``perturbed`` does to
            each delineation what its ``repeat`` names, such as ``rotate_5deg``.
        seed: Of the draws; a lesion's own follow from it and from the contents of its files.
    """

    kind: ChangeKind
    seed: int


@dataclass(frozen=True, slots=True)
class Outline:
    """Where a lesion's mask stands."""

    mask: Path
    roi_name: str | None
    label: int


@dataclass(frozen=True, slots=True)
class LesionChange:
    """What is done to one lesion.

    Attributes:
        kind: As in ``Change``.
        seed: The lesion's own, the same for all its regions; 0 where nothing is drawn.
        lesions: All that its image has, itself among them; empty where no mask is moved.
        clear_mm: How far a moved lesion stays from all of them, so that a ring around it reaches none.
        perturbation: What is done where ``kind`` is ``perturbed``.
    """

    kind: ChangeKind
    seed: int
    lesions: tuple[Outline, ...] = ()
    clear_mm: float = 0.0
    perturbation: Perturbation | None = None


def shuffled_voxels(image: sitk.Image, mask: sitk.Image, rng: np.random.Generator) -> sitk.Image:
    """Return an image whose intensities within a mask (voxels that are not 0) are permuted, and those outside kept."""
    values = sitk.GetArrayFromImage(image)
    inside = sitk.GetArrayViewFromImage(mask) != 0
    values[inside] = rng.permutation(values[inside])
    shuffled = sitk.GetImageFromArray(values)
    shuffled.CopyInformation(image)
    return shuffled


def moved_mask(
    image: sitk.Image,
    mask: sitk.Image,
    label: int,
    taken: NDArray[np.bool_],
    rng: np.random.Generator,
) -> sitk.Image:
    """Return a lesion's mask at a random place of its image; every place that will do is as likely as any other.

    A place will do where the whole lesion lies within the image, on no voxel that is taken, and on tissue: 95 % of its
    voxels above -500 HU in an image that reaches below that, as CT does; else 75 % of them above the image's 20th
    percentile.

    Args:
        image: As it is measured, before resampling.
        mask: On the image's grid.
        label: Value of the lesion's voxels, in what comes back too.
        taken: Voxels of any lesion, this one among them, shape (Z, Y, X).
        rng: What the place is drawn with.

    Raises:
        ValueError: If no place will do, or none was found in 20,000 draws.
    """
    lesion = sitk.GetArrayViewFromImage(mask) == label
    box = bounding_box(lesion)
    voxels = np.argwhere(lesion[box])
    tissue, least_share = _tissue(sitk.GetArrayViewFromImage(image))
    glance = rng.choice(voxels, min(_GLANCE, len(voxels)), replace=False)
    places = np.subtract(lesion.shape, [side.stop - side.start for side in box]) + 1
    shifts = _draws(places, rng)
    for shift in shifts:
        if taken[tuple((glance + shift).T)].any():
            continue
        there = tuple((voxels + shift).T)
        if not taken[there].any() and tissue[there].mean() >= least_share:
            moved = np.zeros(lesion.shape, dtype=np.uint8 if label <= 255 else np.uint32)
            moved[there] = label
            placed = sitk.GetImageFromArray(moved)
            placed.CopyInformation(mask)
            return placed
    tried = "none" if len(shifts) == np.prod(places) else f"none of {len(shifts)} drawn"
    raise ValueError(f"no other place for the lesion: of {np.prod(places)} in its image {tried} holds tissue alone")


def voxels_taken(lesions: Iterable[NDArray[np.bool_]], spacing_mm: tuple[float, ...], clear_mm: float) -> NDArray:
    """Mark the voxels of some lesions, and those up to ``clear_mm`` away, which a ring around another would reach.

    Args:
        lesions: At least one, each of shape (Z, Y, X); one without voxels takes none.
        spacing_mm: Voxel size along Z, Y and X.
        clear_mm: 0 where no rings are measured.
    """
    taken: NDArray[np.bool_] | None = None
    margin = np.ceil(clear_mm / np.array(spacing_mm)).astype(int)
    for lesion in lesions:
        taken = np.zeros(lesion.shape, dtype=bool) if taken is None else taken
        if not lesion.any():
            continue
        box = tuple(
            slice(max(side.start - more, 0), side.stop + more)
            for side, more in zip(bounding_box(lesion), margin, strict=True)
        )
        near = lesion[box]
        if clear_mm > 0:
            from radnet.imaging.region import signed_distance_mm  # loads scipy, which few settings need

            near = signed_distance_mm(near, spacing_mm) <= clear_mm
        taken[box] |= near
    assert taken is not None
    return taken


def _tissue(values: NDArray) -> tuple[NDArray[np.bool_], float]:
    """Return the voxels that may be tissue, and the share of them that a place needs."""
    if values.min() < _AIR_HU:
        return values > _AIR_HU, _LEAST_SHARE["air"]
    return values > np.percentile(values, _PERCENTILE), _LEAST_SHARE["percentile"]


def _draws(places: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return first voxels of the box in random order: all of them where they are few."""
    count = int(np.prod(places))
    drawn = rng.permutation(count) if count <= _MOST_TRIES else rng.integers(count, size=_MOST_TRIES)
    return np.stack(np.unravel_index(drawn, tuple(places)), axis=1)
