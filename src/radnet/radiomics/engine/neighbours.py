"""Directions in which texture looks for a voxel's neighbours."""

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from radnet.radiomics.settings import WeightingNorm


def directions(
    size: tuple[int, int, int], distances: Sequence[int] = (1,), across: int | None = None
) -> NDArray[np.int64]:
    """Return one of each pair of opposite offsets to neighbours, shape (A, 3) along Z, Y and X.

    Args:
        size: Voxels of the lesion's bounding box (Z, Y, X). An offset that no two voxels of the box have is left out:
            a single slice has four directions and not thirteen.
        distances: How far the neighbours may be, as the largest of the three steps.
        across: Axis along which there are no neighbours; None where there may be along all.

    Returns:
        In pyradiomics' order, from the farthest slice down; A is 0 where the box has room for no pair.

    Example:
        >>> directions((1, 5, 5)).tolist()
        [[0, 1, 1], [0, 1, 0], [0, 1, -1], [0, 0, 1]]
    """
    z, y, x = (min(extent - 1, max(distances)) for extent in size)
    return np.array(_offsets((z, y, x), tuple(distances), across), dtype=np.int64).reshape(-1, 3)


@cache
def _offsets(
    reach: tuple[int, int, int], distances: tuple[int, ...], across: int | None
) -> tuple[tuple[int, ...], ...]:
    return tuple(
        offset
        for offset in product(*(range(far, -far - 1, -1) for far in reach))
        if offset > (0, 0, 0) and max(map(abs, offset)) in distances and (across is None or offset[across] == 0)
    )


def direction_weights(
    offsets: NDArray[np.int64], spacing_mm: tuple[float, float, float], norm: WeightingNorm
) -> NDArray[np.float64]:
    """Return exp(-d²) for each direction, d its length in mm.

    Args:
        offsets: Directions, shape (A, 3) along Z, Y and X.
        spacing_mm: Voxel size along Z, Y and X.
        norm: How length is measured; ``no_weighting`` gives each direction 1.
    """
    steps_mm = np.abs(offsets) * np.array(spacing_mm)
    if norm == "no_weighting":
        return np.ones(len(offsets))
    if norm == "infinity":
        squared = steps_mm.max(axis=1) ** 2
    elif norm == "euclidean":
        squared = (steps_mm**2).sum(axis=1)
    else:
        squared = steps_mm.sum(axis=1) ** 2
    return np.exp(-squared)
