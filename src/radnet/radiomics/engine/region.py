"""A lesion's voxels as the engine walks them, and the grey levels of one image on them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radnet.imaging.preprocess import bounding_box
from radnet.kernels import kernel

MARGIN = 2
"""Voxels of background around the box of grey levels, so that a kernel may look two voxels ahead unasked."""


@dataclass(frozen=True, slots=True)
class Region:
    """A lesion on the grid it is measured on; its voxels are listed in C order (Z, Y, X) everywhere.

    Attributes:
        inside: Voxels of the lesion, shape (Z, Y, X) of its bounding box.
        start: First voxel of the box in the grid (Z, Y, X).
        spacing_mm: Voxel size along Z, Y and X.
        rows: Unbroken rows of voxels along X, shape (R, 4), in C order: z, y, first x and x after the last, in the box.
    """

    inside: NDArray[np.bool_]
    start: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> "Region":
        """Return the region of a mask, shape (Z, Y, X) of the whole grid."""
        box = bounding_box(mask)
        inside = np.ascontiguousarray(mask[box])
        start = (box[0].start, box[1].start, box[2].start)
        return cls(inside, start, spacing_mm, _rows(inside))

    @property
    def voxels(self) -> int:
        """Number of voxels of the lesion."""
        return int((self.rows[:, 3] - self.rows[:, 2]).sum())

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Where the bounding box lies in the grid."""
        z, y, x = (slice(low, low + size) for low, size in zip(self.start, self.inside.shape, strict=True))
        return z, y, x


@dataclass(frozen=True, slots=True)
class GreyLevels:
    """Grey levels of one image on a lesion.

    Texture matrices leave out levels that no voxel has, so voxels bear codes 1, 2, … n of the levels there are, and
    ``levels`` tells which level a code stands for.

    Attributes:
        codes: Shape of the box plus ``MARGIN`` on every side (Z, Y, X), int32; 0 outside the lesion.
        levels: Grey level of code 1, 2, … n, ascending, from 1.
        counts: Voxels of each.
    """

    codes: NDArray[np.int32]
    levels: NDArray[np.int64]
    counts: NDArray[np.int64]


def codes_in_box(region: Region, codes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Put a code per voxel of the lesion, shape (V,), into its place in the box with its margin."""
    volume = np.zeros(tuple(size + 2 * MARGIN for size in region.inside.shape), dtype=np.int32)
    _place(volume, region.rows, codes)
    return volume


@kernel
def _rows(inside: NDArray[np.bool_]) -> NDArray[np.int64]:
    found = 0
    depth, height, width = inside.shape
    for counting in (True, False):
        if not counting:
            rows = np.empty((found, 4), dtype=np.int64)
            found = 0
        for z in range(depth):
            for y in range(height):
                x = 0
                while x < width:
                    if not inside[z, y, x]:
                        x += 1
                        continue
                    first = x
                    while x < width and inside[z, y, x]:
                        x += 1
                    if not counting:
                        rows[found, 0], rows[found, 1], rows[found, 2], rows[found, 3] = z, y, first, x
                    found += 1
    return rows


@kernel
def _place(volume: NDArray[np.int32], rows: NDArray[np.int64], codes: NDArray[np.int32]) -> None:
    voxel = 0
    for row in range(rows.shape[0]):
        z, y = rows[row, 0] + MARGIN, rows[row, 1] + MARGIN
        for x in range(rows[row, 2] + MARGIN, rows[row, 3] + MARGIN):
            volume[z, y, x] = codes[voxel]
            voxel += 1
