"""Regions around a lesion's border, measured in millimetres.

Distance runs between voxel centres. Outside the lesion it is the distance to the nearest voxel of the lesion, and
positive; inside, the distance to the nearest voxel that is not, and negative. So the first voxel outside lies at one
voxel size and the first inside at minus one, and no voxel lies at 0; a ring is about half a voxel thinner on each side
than one drawn from the border between the voxels. Where the lesion touches the end of the array, nothing is known
beyond, and the end is no border of the lesion.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt


def signed_distance_mm(lesion: NDArray[np.bool_], spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Return each voxel's distance to the lesion's border in mm, positive outside and negative inside.

    Args:
        lesion: Voxels of the lesion, shape (Z, Y, X).
        spacing_mm: Voxel size along Z, Y and X.

    Returns:
        Distances between voxel centres, shape (Z, Y, X); minus infinity throughout if every voxel is of the lesion.
    """
    lesion = np.asarray(lesion, dtype=bool)
    if not lesion.any():
        raise ValueError("a distance needs a lesion, but the mask has no voxel set")
    if lesion.all():
        return np.full(lesion.shape, -np.inf)
    sampling = tuple(float(step) for step in spacing_mm)
    return distance_transform_edt(~lesion, sampling=sampling) - distance_transform_edt(lesion, sampling=sampling)


def ring_mask(
    lesion: NDArray[np.bool_],
    spacing_mm: Sequence[float],
    inner_mm: float,
    outer_mm: float,
    exclusion: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Mark the ring along a lesion's border: {x : -inner < d(x) <= outer}, d as in ``signed_distance_mm``.

    A lesion nowhere thicker than the inner width lies wholly in the ring. ``inner_mm=0`` marks tissue outside alone,
    ``outer_mm=0`` the lesion's rim alone.

    Args:
        lesion: Voxels of the lesion, shape (Z, Y, X).
        spacing_mm: Voxel size along Z, Y and X.
        inner_mm: How far the ring reaches into the lesion.
        outer_mm: How far the ring reaches from the lesion.
        exclusion: Voxels that are never of the ring (vessels, air, another organ), shape (Z, Y, X).

    Returns:
        Voxels of the ring, shape (Z, Y, X).

    References:
        Han 2024 (4 mm band, 2 mm on either side of the border of a breast cancer).

    Example:
        >>> lesion = np.array([[[0, 0, 0, 1, 1, 1, 1, 1]]], dtype=bool)
        >>> ring_mask(lesion, spacing_mm=(5.0, 1.0, 1.0), inner_mm=2.0, outer_mm=2.0).astype(int)
        array([[[0, 1, 1, 1, 0, 0, 0, 0]]])
    """
    if not (0 <= inner_mm < np.inf and 0 <= outer_mm < np.inf and inner_mm + outer_mm > 0):
        raise ValueError(f"widths of a ring are 0 mm or more, and not both 0, got inner {inner_mm}, outer {outer_mm}")
    distance_mm = signed_distance_mm(lesion, spacing_mm)
    ring = (-inner_mm < distance_mm) & (distance_mm <= outer_mm)
    if exclusion is None:
        return ring
    if exclusion.shape != ring.shape:
        raise ValueError(f"the exclusion {exclusion.shape} and the lesion {ring.shape} differ in shape")
    return ring & ~exclusion.astype(bool)


def air_mask(image: NDArray, lesion: NDArray[np.bool_], below: float) -> NDArray[np.bool_]:
    """Mark voxels outside the lesion whose intensity is below a threshold, as a ring's ``exclusion``.

    The lesion is left alone: gas within it is of the lesion.

    Args:
        image: Intensities, shape (Z, Y, X).
        lesion: Voxels of the lesion, shape (Z, Y, X).
        below: Threshold in the unit of the image, such as -300 HU.
    """
    return (image < below) & ~lesion
