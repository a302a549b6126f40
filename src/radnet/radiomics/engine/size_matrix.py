"""How often each grey level comes in each size, and the statistics run lengths, zones and dependences share."""

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radnet.kernels import kernel

STATISTICS = (
    "things",
    "percentage",
    "small",
    "large",
    "level_nonuniformity",
    "level_nonuniformity_normalized",
    "size_nonuniformity",
    "size_nonuniformity_normalized",
    "level_variance",
    "size_variance",
    "entropy",
    "low",
    "high",
    "small_low",
    "small_high",
    "large_low",
    "large_high",
)
_EPS_BITS = np.finfo(np.float64).eps / math.log(2)
"""What one non-zero term of -Σ p log2(p + eps) loses to eps, to first order; pyradiomics adds eps in every entropy."""


@dataclass(frozen=True, slots=True)
class SizeMatrix:
    """How many things of each grey level there are of each size: runs, zones, or voxels and their dependences.

    Attributes:
        levels: Grey level of each row, ascending, shape (n,).
        small: Things of size 1, 2, … S, shape (directions, n, S); whole numbers, or weighted ones as float64.
        large: Each thing larger than S, shape (L,) and ascending, as the one number
            ``(direction * (largest + 1) + size) * n + row``: few are that large, and sizes run up to all voxels.
        largest: A size no thing exceeds.
    """

    levels: NDArray[np.int64]
    small: NDArray[np.int32] | NDArray[np.float64]
    large: NDArray[np.int64]
    largest: int


def statistics(matrix: SizeMatrix) -> NDArray[np.float64]:
    """Return ``STATISTICS`` of each direction of a matrix, shape (directions, 17); NaN where nothing was counted.

    With c the count of level i and size s, N = Σ c, p = c / N: ``things`` N; ``percentage`` N / Σ c s; ``small``
    Σ p / s²; ``large`` Σ p s²; ``low`` Σ p / i²; ``high`` Σ p i²; ``small_low`` … ``large_high`` the products of both;
    ``level_nonuniformity`` Σ_i (Σ_s c)² / N, and ``_normalized`` by N² instead; ``size_nonuniformity`` with i and s
    swapped; ``level_variance`` and ``size_variance`` Σ p (i - mean)²; ``entropy`` -Σ p log2(p + eps), in bits.
    """
    found = np.full((len(matrix.small), len(STATISTICS)), np.nan)
    _statistics(matrix.small, matrix.large, matrix.largest, matrix.levels, _log_products(), found)
    return found


@functools.cache
def _log_products() -> NDArray[np.float64]:
    count = np.arange(1024.0)
    count[2:] *= np.log2(count[2:])
    count[1] = 0.0
    return count


@kernel
def _log_product(count: float, table: NDArray[np.float64]) -> float:
    whole = int(count)
    if whole < table.size and whole == count:
        return table[whole]
    return count * math.log2(count)


@kernel
def _statistics(
    small: NDArray[np.int32] | NDArray[np.float64],
    large: NDArray[np.int64],
    largest: int,
    levels: NDArray[np.int64],
    log_products: NDArray[np.float64],
    found: NDArray[np.float64],
) -> None:
    directions, rows = small.shape[:2]
    first = 0
    for direction in range(directions):
        last = first
        while last < large.size and large[last] // rows // (largest + 1) == direction:
            last += 1
        _statistics_of_one(
            small[direction], large[first:last], direction * (largest + 1), levels, log_products, found[direction]
        )
        first = last


@kernel
def _statistics_of_one(
    small: NDArray[np.int32] | NDArray[np.float64],
    large: NDArray[np.int64],
    size_offset: int,
    levels: NDArray[np.int64],
    log_products: NDArray[np.float64],
    found: NDArray[np.float64],
) -> None:
    rows, sizes = small.shape
    of_level, inverse, square = np.zeros(rows), np.zeros(rows), np.zeros(rows)  # Σ c, Σ c / s², Σ c s² of each level
    of_size = np.zeros(sizes)
    log_sum = 0.0
    entries = 0
    for row in range(rows):
        for column in range(sizes):
            count = small[row, column]
            if count == 0:
                continue
            size = column + 1.0
            of_level[row] += count
            of_size[column] += count
            inverse[row] += count / (size * size)
            square[row] += count * (size * size)
            log_sum += _log_product(count, log_products)
            entries += 1
    things, voxels, size_squares = 0.0, 0.0, 0.0
    for column in range(sizes):
        things += of_size[column]
        voxels += of_size[column] * (column + 1.0)
        size_squares += of_size[column] ** 2
    same, same_size = 0, 0  # equal numbers follow each other, and so do things of one size
    for index in range(large.size):
        row, size = large[index] % rows, large[index] // rows - size_offset
        of_level[row] += 1.0
        inverse[row] += 1.0 / (size * size)
        square[row] += size * size
        things += 1.0
        voxels += size
        same += 1
        same_size += 1
        ends = index + 1 == large.size
        if ends or large[index + 1] != large[index]:
            log_sum += _log_product(same, log_products)
            entries += 1
            same = 0
        if ends or large[index + 1] // rows - size_offset != size:
            size_squares += float(same_size) ** 2
            same_size = 0
    if things == 0:
        return

    mean_level, mean_size = 0.0, voxels / things
    level_squares, low, high, small_all, large_all = 0.0, 0.0, 0.0, 0.0, 0.0
    small_low, small_high, large_low, large_high = 0.0, 0.0, 0.0, 0.0
    for row in range(rows):
        level_square = float(levels[row]) ** 2
        mean_level += of_level[row] * levels[row] / things
        level_squares += of_level[row] ** 2
        low += of_level[row] / level_square
        high += of_level[row] * level_square
        small_all += inverse[row]
        small_low += inverse[row] / level_square
        small_high += inverse[row] * level_square
        large_all += square[row]
        large_low += square[row] / level_square
        large_high += square[row] * level_square
    level_variance, size_variance = 0.0, 0.0
    for row in range(rows):
        level_variance += of_level[row] * (levels[row] - mean_level) ** 2
    for column in range(sizes):
        size_variance += of_size[column] * (column + 1.0 - mean_size) ** 2
    for index in range(large.size):
        size_variance += (large[index] // rows - size_offset - mean_size) ** 2

    found[0], found[1] = things, things / voxels
    found[2], found[3] = small_all / things, large_all / things
    found[4], found[5] = level_squares / things, level_squares / things**2
    found[6], found[7] = size_squares / things, size_squares / things**2
    found[8], found[9] = level_variance / things, size_variance / things
    found[10] = math.log2(things) - log_sum / things - entries * _EPS_BITS
    found[11], found[12] = low / things, high / things
    found[13], found[14] = small_low / things, small_high / things
    found[15], found[16] = large_low / things, large_high / things
