"""First order features: how a lesion's intensities are distributed, wherever they lie."""

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from radnet.kernels import kernel
from radnet.radiomics.engine.region import GreyLevels, Region
from radnet.radiomics.settings import ExtractionSettings

_BUCKETS = 1024
_EPSILON = 2.0**-52


def first_order(values: NDArray, grey: GreyLevels, region: Region, settings: ExtractionSettings) -> dict[str, float]:
    """Return the 18 first order features of one image on a lesion, under pyradiomics' names.

    They are those of IBSI's family *Intensity-based statistics* (UHIW), and two of its *Intensity histogram* (ZVCW):

    - **Mean** (Q4LE), **Median** (Y12H), **Minimum** (1GSF), **Maximum** (84IY), **Range** (2OJQ); **10Percentile**
      (QG58), **90Percentile** (8DWT) and **InterquartileRange** (SALO), interpolated between the nearest ranks.
    - **Variance** (ECT3, over the number of voxels), **Skewness** (KE2A), **Kurtosis** (IPH6); 0 where all voxels have
      the mean.
    - **MeanAbsoluteDeviation** (4FUA); **RobustMeanAbsoluteDeviation** (1128): of the voxels from the 10th to the 90th
      percentile, about their mean, and NaN where there are none (two voxels).
    - **Energy** (N8CA), Σ(x + c)² with c = ``voxel_array_shift``; **RootMeanSquared** (5ZWQ) of the same;
      **TotalEnergy** (not in IBSI), Energy times the volume of a voxel.
    - **Entropy** (TLU2) in bits and **Uniformity** (BJ5W), of the grey levels.

    The definitions differ in two: IBSI's kurtosis is less by 3, so that a normal distribution has 0; and pyradiomics
    adds 2⁻⁵² to each probability in Entropy's logarithm. IBSI knows no c: its Energy and RootMeanSquared are those of
    ``voxel_array_shift`` 0.

    Args:
        values: Of the image on the lesion's voxels, shape (V,).
        grey: Grey levels of the same.
        region: The lesion.
        settings: Whence ``voxel_array_shift`` and ``definitions``.
    """
    wide = np.ascontiguousarray(values, dtype=np.float64)
    # numpy's mean, as pyradiomics takes it, to the last bit: in a flat lesion all deviations are its rounding.
    mean = float(np.add.reduce(wide)) / wide.size
    minimum, maximum = float(wide.min()), float(wide.max())
    p10, p25, median, p75, p90 = _percentiles(wide, minimum, maximum, (10, 25, 50, 75, 90))
    variance, third, fourth, deviation, energy, robust_deviation = _deviations(
        wide, mean, settings.voxel_array_shift, p10, p90
    )
    ibsi = settings.definitions == "ibsi"
    entropy, uniformity = _of_levels(grey.counts, wide.size, 0.0 if ibsi else _EPSILON)
    depth, height, width = region.spacing_mm
    return {
        "10Percentile": p10,
        "90Percentile": p90,
        "Energy": energy,
        "Entropy": entropy,
        "InterquartileRange": p75 - p25,
        "Kurtosis": fourth / variance**2 - (3 if ibsi else 0) if variance**2 else 0.0,
        "Maximum": maximum,
        "MeanAbsoluteDeviation": deviation,
        "Mean": mean,
        "Median": median,
        "Minimum": minimum,
        "Range": maximum - minimum,
        "RobustMeanAbsoluteDeviation": robust_deviation,
        "RootMeanSquared": math.sqrt(energy / wide.size),
        "Skewness": third / variance**1.5 if variance else 0.0,
        "TotalEnergy": energy * (depth * height * width),
        "Uniformity": uniformity,
        "Variance": variance,
    }


def _percentiles(values: NDArray[np.float64], minimum: float, maximum: float, percents: tuple[int, ...]) -> list[float]:
    places = [(values.size - 1) * (percent / 100) for percent in percents]
    ranks = [min(int(place) + step, values.size - 1) for place in places for step in (0, 1)]
    ranked = _at_ranks(values, minimum, maximum, np.array(ranks)).tolist()
    return [
        _between(below, above, place % 1) for place, below, above in zip(places, ranked[::2], ranked[1::2], strict=True)
    ]


def _between(below: float, above: float, part: float) -> float:
    """Interpolate with numpy's rounding, for a voxel may lie on the percentile and then is within it."""
    return above - (above - below) * (1 - part) if part >= 0.5 else below + (above - below) * part


@kernel
def _at_ranks(
    values: NDArray[np.float64], minimum: float, maximum: float, ranks: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the values of these ranks, ascending from 0, sorting only the buckets they fall in."""
    per_bucket = _BUCKETS / (maximum - minimum) if maximum > minimum else 0.0
    if not per_bucket < math.inf:
        per_bucket = 0.0
    first = np.zeros(_BUCKETS + 1, dtype=np.int64)
    for value in values:
        first[min(int((value - minimum) * per_bucket), _BUCKETS - 1) + 1] += 1
    for bucket in range(_BUCKETS):
        first[bucket + 1] += first[bucket]
    wanted = np.zeros(_BUCKETS, dtype=np.bool_)
    at = np.empty(_BUCKETS, dtype=np.int64)
    pool_size = 0
    for rank in ranks:
        bucket = np.searchsorted(first, rank, side="right") - 1
        if not wanted[bucket]:
            wanted[bucket] = True
            at[bucket] = pool_size
            pool_size += first[bucket + 1] - first[bucket]
    pool = np.empty(pool_size, dtype=np.float64)
    for value in values:
        bucket = min(int((value - minimum) * per_bucket), _BUCKETS - 1)
        if wanted[bucket]:
            pool[at[bucket]] = value
            at[bucket] += 1
    found = np.empty(ranks.size, dtype=np.float64)
    for one in range(ranks.size):
        bucket = np.searchsorted(first, ranks[one], side="right") - 1
        size = first[bucket + 1] - first[bucket]
        found[one] = _select(pool[at[bucket] - size : at[bucket]], ranks[one] - first[bucket])
    return found


@kernel
def _select(values: NDArray[np.float64], rank: int) -> float:
    """Return the value of a rank by Hoare's quickselect, which leaves ``values`` in another order."""
    low, high = 0, values.size - 1
    while low < high:
        pivot = values[rank]
        up, down = low, high
        while up <= down:
            while values[up] < pivot:
                up += 1
            while values[down] > pivot:
                down -= 1
            if up <= down:
                values[up], values[down] = values[down], values[up]
                up += 1
                down -= 1
        if down < rank:
            low = up
        if rank < up:
            high = down
    return values[rank]


@partial(kernel, fastmath={"reassoc", "nsz", "contract"})
def _deviations(
    values: NDArray[np.float64], mean: float, shift: float, p10: float, p90: float
) -> tuple[float, float, float, float, float, float]:
    """Return the central moments 2 to 4, the mean absolute deviation, the energy, and the robust deviation."""
    second, third, fourth, absolute, energy = 0.0, 0.0, 0.0, 0.0, 0.0
    inner, inner_sum = 0.0, 0.0
    for voxel in range(values.size):  # not over the values themselves: numba makes no vector code of that
        value = values[voxel]
        apart = value - mean
        square = apart * apart
        second += square
        third += square * apart
        fourth += square * square
        absolute += abs(apart)
        energy += (value + shift) * (value + shift)
        is_inner = 1.0 if (p10 <= value) & (value <= p90) else 0.0
        inner += is_inner
        inner_sum += is_inner * apart
    robust = math.nan
    if inner > 0:
        robust = 0.0
        inner_mean = mean + inner_sum / inner
        for voxel in range(values.size):
            value = values[voxel]
            robust += abs(value - inner_mean) if (p10 <= value) & (value <= p90) else 0.0
        robust /= inner
    size = values.size
    return second / size, third / size, fourth / size, absolute / size, energy, robust


@kernel
def _of_levels(counts: NDArray[np.int64], voxels: int, epsilon: float) -> tuple[float, float]:
    """Return entropy in bits, with ``epsilon`` added in the logarithm, and uniformity."""
    entropy, uniformity = 0.0, 0.0
    for count in counts:
        share = count / voxels
        entropy -= share * math.log2(share + epsilon)
        uniformity += share * share
    return entropy, uniformity
