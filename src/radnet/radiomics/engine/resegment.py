"""The lesion without the voxels outside a range of intensities."""

import numpy as np
from numpy.typing import NDArray

from radnet.radiomics.settings import ExtractionSettings, ResegmentMode


def resegmented_mask(image: NDArray, mask: NDArray[np.bool_], settings: ExtractionSettings) -> NDArray[np.bool_]:
    """Return the voxels of a mask whose intensity is within ``resegment_range``, both ends included.

    One number in the range is its lower end. The range is in the image's unit (``absolute``), in fractions of the
    greatest intensity in the mask (``relative``), or in standard deviations from the mean there (``sigma``), as in
    ``radiomics.imageoperations.resegmentMask``. Beside it ``resegment_sigma`` leaves out what is further from the mean
    (IBSI's outlier filtering, 7ACA); mean and deviation are always those of the whole mask. Settings with neither
    leave the mask as it is.

    Args:
        image: Intensities, shape (Z, Y, X), in the image's own type: limits are rounded to it.
        mask: Voxels of the lesion, on the same grid.
        settings: Whence ``resegment_range``, ``resegment_mode`` and ``resegment_sigma``.

    Raises:
        ValueError: If image and mask differ in shape, if the mask is empty, or if fewer than two voxels are left.
    """
    if image.shape != mask.shape:
        raise ValueError(f"the image {image.shape} and the mask {mask.shape} differ in shape")
    values = image[mask]
    if values.size == 0:
        raise ValueError("the mask has no voxel set")
    ranges: list[tuple[tuple[float, ...], ResegmentMode]] = []
    if settings.resegment_range is not None:
        ranges.append((settings.resegment_range, settings.resegment_mode))
    if (sigma := settings.resegment_sigma) is not None:
        ranges.append(((-sigma, sigma), "sigma"))
    if not ranges:
        return mask
    kept = np.ones(values.size, dtype=np.bool_)
    for ends, mode in ranges:
        lowest, *greatest = _limits(values, ends, mode)
        kept &= values >= lowest
        if greatest:
            kept &= values <= greatest[0]
    if kept.sum() <= 1:
        raise ValueError(
            f"resegmentation to {' and '.join(f'{ends} ({mode})' for ends, mode in ranges)} leaves {kept.sum()} of "
            f"{values.size} voxels, whose values go from {values.min()} to {values.max()}; at least 2 are needed"
        )
    left = np.zeros_like(mask)
    left[mask] = kept
    return left


def _limits(values: NDArray, ends: tuple[float, ...], mode: ResegmentMode) -> list[float]:
    if mode == "relative":
        greatest = values.max()
        return [greatest * end for end in ends]
    if mode == "sigma":
        mean, deviation = values.mean(), values.std()
        return [mean + deviation * end for end in ends]
    return list(ends)
