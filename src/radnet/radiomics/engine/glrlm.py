"""Grey level run length matrix: runs of one grey level along each direction (IBSI TP0I)."""

import numpy as np
from numpy.typing import NDArray

from radnet.kernels import kernel
from radnet.radiomics.engine.neighbours import directions
from radnet.radiomics.engine.region import Region
from radnet.radiomics.engine.size_matrix import STATISTICS, SizeMatrix, statistics
from radnet.radiomics.engine.sweep import DIRECTIONS
from radnet.radiomics.settings import ExtractionSettings, WeightingNorm

_STATISTIC_OF = {
    "ShortRunEmphasis": "small",  # IBSI 22OV
    "LongRunEmphasis": "large",  # W4KF
    "GrayLevelNonUniformity": "level_nonuniformity",  # R5YN
    "GrayLevelNonUniformityNormalized": "level_nonuniformity_normalized",  # OVBL
    "RunLengthNonUniformity": "size_nonuniformity",  # W92Y
    "RunLengthNonUniformityNormalized": "size_nonuniformity_normalized",  # IC23
    "RunPercentage": "percentage",  # 9ZK5
    "GrayLevelVariance": "level_variance",  # 8CE5
    "RunVariance": "size_variance",  # SXLW
    "RunEntropy": "entropy",  # HJ9O
    "LowGrayLevelRunEmphasis": "low",  # V3SW
    "HighGrayLevelRunEmphasis": "high",  # G3QZ
    "ShortRunLowGrayLevelEmphasis": "small_low",  # HTZT
    "ShortRunHighGrayLevelEmphasis": "small_high",  # GD3A
    "LongRunLowGrayLevelEmphasis": "large_low",  # IVPO
    "LongRunHighGrayLevelEmphasis": "large_high",  # 3KUM
}


def glrlm(runs: SizeMatrix, region: Region, settings: ExtractionSettings) -> dict[str, float]:
    """Return the 16 features of pyradiomics' class of this name: the mean over directions (IBSI ITBB).

    As in pyradiomics, a direction takes part only if some line along it meets two voxels of the lesion, next to each
    other or not; without any such direction, features are NaN. With ``weighting_norm`` the directions' matrices
    are merged into one, each weighed by its distance itself: exp(-distance²) is for GLCM.

    Args:
        runs: Runs by level and by length in voxels along the 13 ``DIRECTIONS``, as ``sweep`` counts them.
        region: The lesion they were counted on.
        settings: Of which ``weighting_norm``, ``force_2d`` and ``force_2d_axis`` are read.
    """
    kept = _has_lines(region)
    if settings.force_2d:
        kept &= DIRECTIONS[:, settings.force_2d_axis] == 0
    if not kept.any():
        return _without_runs(region, settings)
    if settings.weighting_norm is None:
        of_directions = statistics(runs)[kept]
    else:
        weights = kept * _distances_mm(region.spacing_mm, settings.weighting_norm)
        of_directions = statistics(_merged(runs, weights))
    found = dict(zip(STATISTICS, of_directions.mean(axis=0).tolist(), strict=True))
    return {feature: found[statistic] for feature, statistic in _STATISTIC_OF.items()}


def _without_runs(region: Region, settings: ExtractionSettings) -> dict[str, float]:
    found = dict.fromkeys(_STATISTIC_OF, float("nan"))
    across = settings.force_2d_axis if settings.force_2d else None
    if settings.weighting_norm is not None or len(directions(region.inside.shape, across=across)) == 1:
        # pyradiomics drops directions only from several, and its sums over no run length divide by nothing
        found |= {"RunVariance": 0.0, "RunEntropy": 0.0}
    return found


def _distances_mm(spacing_mm: tuple[float, float, float], norm: WeightingNorm) -> NDArray[np.float64]:
    step_mm = np.abs(DIRECTIONS) * spacing_mm
    if norm == "infinity":
        return step_mm.max(axis=1)
    if norm == "euclidean":
        return np.sqrt((step_mm**2).sum(axis=1))
    if norm == "manhattan":
        return step_mm.sum(axis=1)
    return np.ones(len(DIRECTIONS))


def _merged(runs: SizeMatrix, weights: NDArray[np.float64]) -> SizeMatrix:
    n, sizes = runs.small.shape[1:]
    merged = np.zeros((1, n, max(sizes, runs.largest)))
    merged[0, :, :sizes] = np.tensordot(weights, runs.small, axes=1)
    direction, size = np.divmod(runs.large // n, runs.largest + 1)
    np.add.at(merged[0], (runs.large % n, size - 1), weights[direction])
    return SizeMatrix(runs.levels, merged, np.empty(0, dtype=np.int64), runs.largest)


def _has_lines(region: Region) -> NDArray[np.bool_]:
    found = _has_neighbours(region.inside, region.rows, DIRECTIONS)
    if not found.all():  # neighbours make a line, and nearly every lesion has them; else look for voxels further apart
        voxels = np.argwhere(region.inside)
        for index in np.flatnonzero(~found):
            found[index] = _has_line(voxels, DIRECTIONS[index])
    return found


def _has_line(voxels: NDArray[np.int64], step: NDArray[np.int64]) -> bool:
    axis = int(np.flatnonzero(step)[0])  # the first that moves, by +1
    where_it_starts = voxels - voxels[:, axis : axis + 1] * step
    return len(np.unique(where_it_starts, axis=0)) < len(voxels)


@kernel
def _has_neighbours(inside: NDArray[np.bool_], rows: NDArray[np.int64], steps: NDArray[np.int64]) -> NDArray[np.bool_]:
    depth, height, width = inside.shape
    found = np.zeros(steps.shape[0], dtype=np.bool_)
    for direction in range(steps.shape[0]):
        for row in range(rows.shape[0]):
            z, y = rows[row, 0] + steps[direction, 0], rows[row, 1] + steps[direction, 1]
            if z >= depth or y < 0 or y >= height:
                continue
            for x in range(max(rows[row, 2] + steps[direction, 2], 0), min(rows[row, 3] + steps[direction, 2], width)):
                if inside[z, y, x]:
                    found[direction] = True
                    break
            if found[direction]:
                break
    return found
