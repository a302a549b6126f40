"""Other contours of a lesion, as another hand or another day would have drawn them: wider, tighter, or wavering."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from radnet.imaging.region import signed_distance_mm


def resized(lesion: NDArray[np.bool_], spacing_mm: Sequence[float], ratio: float) -> NDArray[np.bool_]:
    """Return a lesion grown or shrunk to ``ratio`` times its volume, to the voxel.

    The voxels nearest to its inside count first, by ``signed_distance_mm``. Many lie equally far: of these the ones
    that have more of the lesion around them.

    Args:
        lesion: Voxels of the lesion, shape (Z, Y, X).
        spacing_mm: Voxel size along Z, Y and X.
        ratio: Of the new volume to the old, more than 0.

    Raises:
        ValueError: If the array has no room for it.
    """
    wanted = round(ratio * int(lesion.sum()))
    if wanted > lesion.size:
        raise ValueError(f"a lesion of {lesion.sum()} voxels cannot grow to {wanted}: the image has {lesion.size}")
    distance_mm = signed_distance_mm(lesion, spacing_mm)
    around = gaussian_filter(lesion.astype(np.float64), min(spacing_mm) / np.asarray(spacing_mm), mode="nearest")
    order = np.lexsort((-around.ravel(), distance_mm.ravel()))
    new = np.zeros(lesion.size, dtype=bool)
    new[order[:wanted]] = True
    return new.reshape(lesion.shape)


def smooth_field(
    shape: tuple[int, ...], spacing_mm: Sequence[float], sd: float, correlation_mm: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw a Gaussian random field: mean 0, SD ``sd``, correlation exp(-r² / 2c²) of places r mm apart.

    Args:
        shape: Of the field, (Z, Y, X); it goes on at the opposite end.
        spacing_mm: Voxel size along Z, Y and X.
        sd: In whatever unit the field shall have.
        correlation_mm: c.
        rng: What it is drawn with.
    """
    # A kernel of width s makes white noise a field of correlation exp(-r² / 4s²).
    sigma = correlation_mm / np.sqrt(2) / np.asarray(spacing_mm)
    drawn = gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    variance = np.prod([_power(size, width) for size, width in zip(shape, sigma, strict=True)])
    return drawn * (sd / np.sqrt(variance))


def displaced(
    lesion: NDArray[np.bool_], spacing_mm: Sequence[float], outward_mm: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return a lesion whose border is moved outwards by so many mm at each place, inwards where that is negative.

    The border is taken to lie half the smallest voxel size from the voxel centres beside it.

    Args:
        lesion: Voxels of the lesion, shape (Z, Y, X).
        spacing_mm: Voxel size along Z, Y and X.
        outward_mm: Displacement, shape (Z, Y, X).

    Raises:
        ValueError: If nothing of the lesion is left.
    """
    distance_mm = signed_distance_mm(lesion, spacing_mm)
    to_border_mm = distance_mm - np.sign(distance_mm) * (min(spacing_mm) / 2)
    new = to_border_mm <= outward_mm
    if not new.any():
        raise ValueError(f"nothing is left of a lesion of {lesion.sum()} voxels once its contour is displaced")
    return new


def _power(size: int, sigma: float) -> float:
    """Return the sum of squares of a kernel as it acts on an axis of this size."""
    pulse = np.zeros(size)
    pulse[0] = 1.0
    return float((gaussian_filter1d(pulse, sigma, mode="wrap") ** 2).sum())
