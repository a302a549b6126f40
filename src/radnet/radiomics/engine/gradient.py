"""The magnitude of an image's gradient at a lesion's voxels, equal to ITK's to the last bit."""

import numpy as np
from numpy.typing import NDArray

from radnet.kernels import kernel
from radnet.radiomics.engine.region import Region


def gradient_magnitude(image: NDArray, region: Region) -> NDArray[np.float32]:
    """Return the magnitude of the gradient, by central differences, at a region's voxels.

    pyradiomics: ``gradient``; the IBSI has no such filter.

    Args:
        image: The whole grid, shape (Z, Y, X); at its border the voxel there stands for the one beyond.
        region: Where values are wanted, in the grid.

    Returns:
        Magnitudes, shape (V,), in the unit of the image per mm.
    """
    nearby = [
        np.clip(np.arange(side.start - 1, side.stop + 1), 0, size - 1)
        for side, size in zip(region.box, image.shape, strict=True)
    ]
    reach = np.ascontiguousarray(image[np.ix_(*nearby)], dtype=np.float64)
    return _magnitudes(reach, np.array([0.5 / step for step in region.spacing_mm]), region.rows, region.voxels)


@kernel
def _magnitudes(
    reach: NDArray[np.float64], weights: NDArray[np.float64], rows: NDArray[np.int64], voxels: int
) -> NDArray[np.float32]:
    magnitudes = np.empty(voxels, dtype=np.float32)
    voxel = 0
    for row in range(rows.shape[0]):
        z, y = rows[row, 0] + 1, rows[row, 1] + 1
        for x in range(rows[row, 2] + 1, rows[row, 3] + 1):
            # Weighed before they are subtracted, and X first: the last bit hangs on it.
            along_x = reach[z, y, x + 1] * weights[2] - reach[z, y, x - 1] * weights[2]
            along_y = reach[z, y + 1, x] * weights[1] - reach[z, y - 1, x] * weights[1]
            along_z = reach[z + 1, y, x] * weights[0] - reach[z - 1, y, x] * weights[0]
            magnitudes[voxel] = np.float32(np.sqrt(along_x * along_x + along_y * along_y + along_z * along_z))
            voxel += 1
    return magnitudes
