"""Patches: boxes of one size around lesions, for networks."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from radnet.imaging.preprocess import bounding_box


def lesion_patch(array: NDArray, mask: NDArray[np.bool_], size_voxels: Sequence[int], fill: float) -> NDArray:
    """Return the patch of a fixed size whose centre is the centre of the lesion's box.

    Where centre or size leave half a voxel to choose, the patch lies towards the lower index. A lesion larger than the
    patch is cut: take a greater size, or coarser voxels.

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
