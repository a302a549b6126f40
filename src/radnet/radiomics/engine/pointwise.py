"""Images computed voxel by voxel, at a lesion's voxels: square, square root, logarithm, exponential."""

import numpy as np
from numpy.typing import NDArray

from radnet.radiomics.engine.region import Region


def pointwise_values(name: str, image: NDArray, region: Region) -> NDArray[np.float64]:
    """Return an image computed voxel by voxel at a region's voxels.

    Each is scaled so that the value farthest from 0 in the whole grid, not in the region, stays as it is; negative
    values stay negative in the square root and the logarithm.

    pyradiomics: the images of the same names; the IBSI has no such filters.

    Args:
        name: Out of ``radnet.radiomics.vocabulary.POINTWISE``.
        image: The whole grid, shape (Z, Y, X).
        region: Where values are wanted, in the grid.

    Returns:
        Values, shape (V,), in the unit of the image. A grid of nothing but 0 has no scale: NaN, but for the square
        root.

    Raises:
        ValueError: If there is no image of that name.
    """
    values = image[region.box][region.inside].astype(np.float64)
    farthest = np.max(np.abs([np.float64(image.min()), np.float64(image.max())]))
    with np.errstate(divide="ignore", invalid="ignore"):
        if name == "square":
            return (1 / np.sqrt(farthest) * values) ** 2
        if name == "squareroot":
            return np.copysign(np.sqrt(np.abs(values) * farthest), values)
        if name == "logarithm":
            return np.copysign(np.log(np.abs(values) + 1), values) * (farthest / np.log(farthest + 1))
        if name == "exponential":
            return np.exp(np.log(farthest) / farthest * values)
    raise ValueError(f"there is no pointwise image {name}")
