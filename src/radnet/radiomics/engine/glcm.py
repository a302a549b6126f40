"""Grey level co-occurrence matrix: which levels lie next to which, direction by direction.

IBSI family LFYI; pyradiomics' class ``glcm``. In the common case, symmetric matrices whose features are averaged over
directions, features come from integer counts in compiled code; the rest follows the definitions in NumPy.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from radnet.kernels import kernel
from radnet.radiomics.engine.mcc import EPSILON, second_eigenvalue
from radnet.radiomics.engine.neighbours import direction_weights, directions
from radnet.radiomics.engine.region import MARGIN, GreyLevels, Region
from radnet.radiomics.settings import ExtractionSettings

FEATURES = (
    "Autocorrelation",
    "ClusterProminence",
    "ClusterShade",
    "ClusterTendency",
    "Contrast",
    "Correlation",
    "DifferenceAverage",
    "DifferenceEntropy",
    "DifferenceVariance",
    "Id",
    "Idm",
    "Idmn",
    "Idn",
    "Imc1",
    "Imc2",
    "InverseVariance",
    "JointAverage",
    "JointEnergy",
    "JointEntropy",
    "MCC",
    "MaximumProbability",
    "SumAverage",
    "SumEntropy",
    "SumSquares",
)
"""Names of the features, in the order in which they are computed."""

(
    _AUTOCORRELATION,
    _CLUSTER_PROMINENCE,
    _CLUSTER_SHADE,
    _CLUSTER_TENDENCY,
    _CONTRAST,
    _CORRELATION,
    _DIFFERENCE_AVERAGE,
    _DIFFERENCE_ENTROPY,
    _DIFFERENCE_VARIANCE,
    _ID,
    _IDM,
    _IDMN,
    _IDN,
    _IMC1,
    _IMC2,
    _INVERSE_VARIANCE,
    _JOINT_AVERAGE,
    _JOINT_ENERGY,
    _JOINT_ENTROPY,
    _MCC,
    _MAXIMUM_PROBABILITY,
    _SUM_AVERAGE,
    _SUM_ENTROPY,
    _SUM_SQUARES,
) = range(24)
_EPSILON_BITS = EPSILON / math.log(2.0)  # to first order, x log2(x + epsilon) is x log2(x) + this, for every x > 0
_MOST_GIB = 1.0  # about 4,500 grey levels
_INDEPENDENT = 1e-10  # below this eigenvalue, levels of neighbours are independent of each other but for rounding


def glcm(grey: GreyLevels, region: Region, settings: ExtractionSettings) -> dict[str, float]:
    """Measure which grey levels neighbours have.

    Each direction has a matrix of its own; a feature is the mean of its values over the directions in which the lesion
    has neighbours, or, with a ``weighting_norm``, the value of the weighted sum of the matrices. Logarithms are to base
    2 and have pyradiomics' epsilon, 2⁻⁵², added to their argument.

    IBSI: Autocorrelation QWB0, ClusterProminence AE86, ClusterShade 7NFM, ClusterTendency DG8W, Contrast ACUI,
    Correlation NI2N, DifferenceAverage TF7R, DifferenceEntropy NTRS, DifferenceVariance D3YU, Id IB1Z, Idm WF0Z, Idmn
    1QCO, Idn NDRX, Imc1 R8DG, Imc2 JN9H, InverseVariance E8JP, JointAverage 60VM, JointEnergy 8ZQL, JointEntropy TU9B,
    MaximumProbability GYBY, SumAverage ZGXS, SumEntropy P6QZ, SumSquares UR99; MCC is not in the standard.

    Args:
        grey: Grey levels of one image on the lesion.
        region: The lesion.
        settings: ``distances``, ``symmetrical_glcm``, ``weighting_norm``, ``force_2d`` and ``force_2d_axis`` are read.

    Returns:
        The features by pyradiomics' names. Where no voxel has a neighbour all are NaN, but for MCC if there is one
        level and more than one direction: pyradiomics then calls the correlation complete, 1.

    Raises:
        ValueError: If there are too many grey levels for a matrix of their pairs.
    """
    across = settings.force_2d_axis if settings.force_2d else None
    offsets = directions(region.inside.shape, settings.distances, across)
    if len(offsets) == 0:
        return dict.fromkeys(FEATURES, math.nan)
    if (needed_gib := len(offsets) * grey.levels.size**2 * 4 / 2**30) > _MOST_GIB:
        raise ValueError(
            f"{grey.levels.size} grey levels, whose co-occurrences take {needed_gib:.3g} GiB: bin_width is too small "
            "for the image's unit; choose a greater one, or a bin_count"
        )
    pairs = _count(grey, region, offsets)
    if settings.symmetrical_glcm and settings.weighting_norm is None and grey.levels.size > 1:
        values, doubtful, independent = _features_of_pairs(pairs, grey.levels, _products())
        if not independent:
            return _averaged(values, doubtful, pairs)
    return _by_definition(_probabilities(pairs, offsets, region, settings), grey.levels)


def _count(grey: GreyLevels, region: Region, offsets: NDArray[np.int64]) -> NDArray[np.int32]:
    """Pairs of codes per direction, shape (A, n + 1, n + 1); row and column 0 count neighbours outside the lesion."""
    margin = max(MARGIN, int(np.abs(offsets).max()))
    codes = np.pad(grey.codes, margin - MARGIN) if margin > MARGIN else grey.codes
    _, height, width = codes.shape
    starts = ((region.rows[:, 0] + margin) * height + region.rows[:, 1] + margin) * width + region.rows[:, 2] + margin
    lengths = region.rows[:, 3] - region.rows[:, 2]
    shifts = (offsets[:, 0] * height + offsets[:, 1]) * width + offsets[:, 2]
    pairs = np.zeros((len(offsets), grey.levels.size + 1, grey.levels.size + 1), dtype=np.int32)
    _count_pairs(np.ascontiguousarray(codes).reshape(-1).view(np.uint32), starts, lengths, shifts, pairs)
    return pairs


def _averaged(values: NDArray[np.float64], doubtful: NDArray[np.bool_], pairs: NDArray[np.int32]) -> dict[str, float]:
    for direction in np.flatnonzero(doubtful):
        counts = pairs[direction, 1:, 1:].astype(np.float64)
        counts += counts.T.copy()
        joint = counts / counts.sum()
        transitions = _transitions(joint, joint.sum(axis=1), joint.sum(axis=0))
        values[direction, _MCC] = math.sqrt(_second_near(transitions, joint.sum(axis=1), values[direction, _MCC] ** 2))
    measured = values[~np.isnan(values[:, _MCC])]
    means = measured.mean(axis=0) if len(measured) else np.full(len(FEATURES), math.nan)
    return dict(zip(FEATURES, means.tolist(), strict=True))


def _second_near(transitions: NDArray[np.float64], rows: NDArray[np.float64], near: float) -> float:
    """Second largest eigenvalue, known to some seven digits already: by inverse iteration, or by all of them."""
    used = rows > 0
    if near < 0.999:
        root = np.sqrt(rows[used])
        scaled = transitions[np.ix_(used, used)] * root[:, None] / root  # symmetric but for the epsilon
        shift = near + 1e-8
        scaled[np.diag_indices_from(scaled)] -= shift
        vector: NDArray[np.floating] = np.linspace(-1.0, 1.0, len(scaled)) + 0.01
        found: list[float] = []
        for _ in range(3):
            vector /= np.linalg.norm(vector)
            following = np.linalg.solve(scaled, vector)
            found.append(shift + 1.0 / float(vector @ following))
            vector = following
        if abs(found[2] - found[1]) <= 1e-10 and abs(found[2] - near) <= 1e-6:
            return found[2]
    return float(np.sort(np.linalg.eigvals(transitions).real)[-2])


def _probabilities(
    pairs: NDArray[np.int32], offsets: NDArray[np.int64], region: Region, settings: ExtractionSettings
) -> NDArray[np.float64]:
    """Probability of each pair of codes, shape (n, n, A) of the directions with neighbours.

    NaN where there is one direction only, and no neighbours in it.
    """
    counts = np.ascontiguousarray(np.moveaxis(pairs[:, 1:, 1:], 0, 2), dtype=np.float64)
    if settings.symmetrical_glcm:
        counts += counts.transpose(1, 0, 2).copy()
    if settings.weighting_norm is not None:
        weights = direction_weights(offsets, region.spacing_mm, settings.weighting_norm)
        counts = (counts * weights).sum(axis=2, keepdims=True)
    total = counts.sum(axis=(0, 1))
    if total.size > 1:
        counts, total = np.ascontiguousarray(counts[:, :, total > 0]), total[total > 0]
    return counts / np.where(total > 0, total, math.nan)


def _by_definition(joint: NDArray[np.float64], levels: NDArray[np.int64]) -> dict[str, float]:
    """Means over directions of the features of matrices of any kind, ``joint`` of shape (n, n, A).

    Where neighbours are independent, Imc2 and MCC are roots of rounding errors, and pyradiomics leaves a direction out
    if its error is negative. The sums therefore run in pyradiomics' order.
    """
    px, py = joint.sum(axis=1, keepdims=True), joint.sum(axis=0, keepdims=True)
    i, j = levels[:, None, None].astype(np.float64), levels[None, :, None].astype(np.float64)
    ux, uy = _total(i * joint), _total(j * joint)
    variance_x, variance_y = _total(joint * (i - ux) ** 2), _total(joint * (j - uy) ** 2)
    spread = np.sqrt(variance_x) * np.sqrt(variance_y)
    cluster = i + j - ux - uy

    top = int(levels[-1])
    sums, differences = np.zeros((2 * top + 1, joint.shape[2])), np.zeros((top, joint.shape[2]))
    np.add.at(sums, levels[:, None] + levels, joint)
    np.add.at(differences, np.abs(levels[:, None] - levels), joint)
    k, s = np.arange(top, dtype=np.float64)[:, None], np.arange(2 * top + 1, dtype=np.float64)[:, None]
    difference_average = (k * differences).sum(axis=0)

    hx, hy, hxy = _entropy(px), _entropy(py), _entropy(joint)
    hxy1, hxy2 = -_total(joint * np.log2(px * py + EPSILON)), _entropy(px * py)
    greater = np.fmax(hx, hy)
    with np.errstate(invalid="ignore"):  # a root of less than 0 is NaN and left out
        imc2 = np.where(hxy2 == hxy, 0.0, np.sqrt(1 - np.exp(-2 * (hxy2 - hxy))))
    values = {
        "Autocorrelation": _total(joint * (i * j)),
        "ClusterProminence": _total(joint * cluster**4),
        "ClusterShade": _total(joint * cluster**3),
        "ClusterTendency": _total(joint * cluster**2),
        "Contrast": (k**2 * differences).sum(axis=0),
        "Correlation": np.where(spread == 0, 1.0, _total(joint * (i - ux) * (j - uy)) / (spread + EPSILON)),
        "DifferenceAverage": difference_average,
        "DifferenceEntropy": -(differences * np.log2(differences + EPSILON)).sum(axis=0),
        "DifferenceVariance": ((k - difference_average) ** 2 * differences).sum(axis=0),
        "Id": (differences / (1 + k)).sum(axis=0),
        "Idm": (differences / (1 + k**2)).sum(axis=0),
        "Idmn": (differences / (1 + k**2 / top**2)).sum(axis=0),
        "Idn": (differences / (1 + k / top)).sum(axis=0),
        "Imc1": np.where(greater == 0, 0.0, (hxy - hxy1) / np.where(greater == 0, 1.0, greater)),
        "Imc2": imc2,
        "InverseVariance": (differences[1:] / k[1:] ** 2).sum(axis=0),
        "JointAverage": ux,
        "JointEnergy": _total(joint**2),
        "JointEntropy": hxy,
        "MCC": _mcc(joint, px, py),
        "MaximumProbability": joint.max(axis=(0, 1)),
        "SumAverage": (s * sums).sum(axis=0),
        "SumEntropy": -(sums * np.log2(sums + EPSILON)).sum(axis=0),
        "SumSquares": variance_x,
    }
    return {feature: _mean(values[feature]) for feature in FEATURES}


def _total(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(terms.sum(axis=(0, 1)))


def _entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return -_total(probabilities * np.log2(probabilities + EPSILON))


def _mean(values: NDArray[np.float64] | NDArray[np.complex128]) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean().real) if there.size else math.nan


def _mcc(
    joint: NDArray[np.float64], px: NDArray[np.float64], py: NDArray[np.float64]
) -> NDArray[np.float64] | NDArray[np.complex128]:
    """Root of the second largest eigenvalue per direction; complex where the solver needed complex numbers for any."""
    if len(joint) == 1:
        return np.where(np.isnan(joint[0, 0]), math.nan, 1.0) if joint.size else np.ones(1)
    if joint.shape[2] == 0 or np.isnan(joint).any():
        return np.full(1, math.nan)
    matrices = np.stack(
        [
            _transitions(*map(np.ascontiguousarray, (joint[:, :, a], px[:, 0, a], py[0, :, a])))
            for a in range(joint.shape[2])
        ]
    )
    with np.errstate(invalid="ignore"):  # a root of less than 0 is NaN and left out
        return np.asarray(np.sqrt(np.sort(np.linalg.eigvals(matrices), axis=1)[:, -2]))


@kernel
def _transitions(
    joint: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Q of MCC, shape (n, n): from a level to a neighbour's and back to a neighbour of that one."""
    size = joint.shape[0]
    across = np.ascontiguousarray(joint.T)
    there_and_back = np.zeros((size, size))
    for i in range(size):
        for k in range(size):
            if joint[i, k] > 0.0:
                divisor = rows[i] * columns[k] + EPSILON
                for j in range(size):
                    there_and_back[i, j] += joint[i, k] * across[k, j] / divisor
    return there_and_back


@kernel
def _count_pairs(
    codes: NDArray[np.uint32],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    shifts: NDArray[np.int64],
    pairs: NDArray[np.int32],
) -> None:
    """Add every voxel of the rows, with its neighbour in each direction, to the table of that direction."""
    size = np.uint64(pairs.shape[1])
    tables = pairs.reshape((pairs.shape[0], -1))
    for row in range(starts.size):
        start = starts[row]
        direction = 0
        # Three tables in turn: an addition need not wait for the one before it to be stored.
        while direction + 3 <= shifts.size:
            table_a, table_b, table_c = tables[direction], tables[direction + 1], tables[direction + 2]
            a, b, c = start + shifts[direction], start + shifts[direction + 1], start + shifts[direction + 2]
            for i in range(lengths[row]):
                key = np.uint64(codes[np.uint64(start + i)]) * size
                table_a[key + np.uint64(codes[np.uint64(a + i)])] += np.int32(1)
                table_b[key + np.uint64(codes[np.uint64(b + i)])] += np.int32(1)
                table_c[key + np.uint64(codes[np.uint64(c + i)])] += np.int32(1)
            direction += 3
        while direction < shifts.size:
            table_a, a = tables[direction], start + shifts[direction]
            for i in range(lengths[row]):
                key = np.uint64(codes[np.uint64(start + i)]) * size
                table_a[key + np.uint64(codes[np.uint64(a + i)])] += np.int32(1)
            direction += 1


@cache
def _products() -> NDArray[np.float64]:
    """Return x log2 x of the counts that most cells have."""
    counts = np.arange(4096, dtype=np.float64)
    return counts * np.log2(np.maximum(counts, 1.0))


@kernel
def _features_of_pairs(
    pairs: NDArray[np.int32], levels: NDArray[np.int64], products: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], bool]:
    """Features of each direction's symmetric matrix, shape (A, 24), NaN where a direction has no neighbours.

    Then whether a direction's MCC is in doubt, and whether in some direction neighbours are independent: those features
    are roots of rounding errors, which only pyradiomics' order of sums repeats.
    """
    size, top = levels.size, levels[-1]
    values = np.full((pairs.shape[0], 24), np.nan)
    doubtful = np.zeros(pairs.shape[0], dtype=np.bool_)
    closeness = _closeness(top)
    counts, rows = np.empty((size, size)), np.empty(size)
    differences, sums = np.empty(top), np.empty(2 * top + 1)
    for direction in range(pairs.shape[0]):
        squares, most, logs = _symmetric(pairs[direction], levels, products, counts, rows, differences, sums)
        total = rows.sum()
        if total == 0.0:
            continue
        eigenvalue, sure = second_eigenvalue(counts, rows)
        used = (rows > 0.0).sum()
        if used > 1 and eigenvalue < _INDEPENDENT:
            return values, doubtful, True
        doubtful[direction] = not sure
        of = values[direction]
        _of_sums(sums, total, of)
        _of_differences(differences, total, closeness, of)
        _of_margins(counts, rows, total, levels, logs, of)
        # (i + j)² - (i - j)² = 4 i j, about 0 and about the mean
        of[_AUTOCORRELATION] = (of[_AUTOCORRELATION] - of[_CONTRAST]) / 4.0
        covariance = (of[_CLUSTER_TENDENCY] - of[_CONTRAST]) / 4.0
        of[_CORRELATION] = covariance / (of[_SUM_SQUARES] + EPSILON) if of[_SUM_SQUARES] > 0.0 else 1.0
        of[_JOINT_ENERGY] = squares / (total * total)
        of[_MAXIMUM_PROBABILITY] = most / total
        of[_MCC] = math.sqrt(max(0.0, eigenvalue))
    return values, doubtful, False


@kernel
def _symmetric(
    pairs: NDArray[np.int32],
    levels: NDArray[np.int64],
    products: NDArray[np.float64],
    counts: NDArray[np.float64],
    rows: NDArray[np.float64],
    differences: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> tuple[float, float, float]:
    """Write counts in both orders, their row sums, and counts by the difference and by the sum of levels.

    Returns:
        Σ c², the greatest c, and Σ c log2 c over all cells.
    """
    size = levels.size
    rows[:] = 0.0
    differences[:] = 0.0
    sums[:] = 0.0
    squares, most, logs = 0.0, 0.0, 0.0
    for i in range(size):
        mine = pairs[i + 1]
        row = 0.0
        for j in range(i + 1, size):
            found = mine[j + 1] + pairs[j + 1, i + 1]
            count = float(found)
            counts[i, j] = count
            counts[j, i] = count
            if found > 0:
                row += count
                rows[j] += count
                differences[levels[j] - levels[i]] += 2.0 * count
                sums[levels[j] + levels[i]] += 2.0 * count
                squares += 2.0 * count * count
                most = max(most, count)
                if found < products.size:
                    logs += 2.0 * products[found]
                else:
                    logs += 2.0 * count * math.log2(count)
        count = 2.0 * mine[i + 1]
        counts[i, i] = count
        rows[i] += row + count
        differences[0] += count
        sums[2 * levels[i]] += count
        squares += count * count
        most = max(most, count)
        if count > 0.0:
            logs += count * math.log2(count)
    return squares, most, logs


@kernel
def _closeness(top: int) -> NDArray[np.float64]:
    """Weights of a difference in level in Id, Idm, Idmn, Idn and InverseVariance, shape (5, top)."""
    weights = np.zeros((5, top))
    for k in range(top):
        weights[0, k] = 1.0 / (1.0 + k)
        weights[1, k] = 1.0 / (1.0 + k * k)
        weights[2, k] = 1.0 / (1.0 + (k * k) / (top * top))
        weights[3, k] = 1.0 / (1.0 + k / top)
        weights[4, k] = 1.0 / (k * k) if k > 0 else 0.0
    return weights


@kernel
def _of_differences(
    differences: NDArray[np.float64], total: float, closeness: NDArray[np.float64], of: NDArray[np.float64]
) -> None:
    first, second, entropy = 0.0, 0.0, 0.0
    id_, idm, idmn, idn, inverse_variance = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(differences.size):
        count = differences[k]
        if count > 0.0:
            first += count * k
            second += count * (k * k)
            id_ += count * closeness[0, k]
            idm += count * closeness[1, k]
            idmn += count * closeness[2, k]
            idn += count * closeness[3, k]
            inverse_variance += count * closeness[4, k]
            entropy -= count / total * math.log2(count / total + EPSILON)
    mean = first / total
    variance = 0.0
    for k in range(differences.size):
        variance += differences[k] * (k - mean) * (k - mean)
    of[_CONTRAST] = second / total
    of[_DIFFERENCE_AVERAGE] = mean
    of[_DIFFERENCE_ENTROPY] = entropy
    of[_DIFFERENCE_VARIANCE] = variance / total
    of[_ID] = id_ / total
    of[_IDM] = idm / total
    of[_IDMN] = idmn / total
    of[_IDN] = idn / total
    of[_INVERSE_VARIANCE] = inverse_variance / total


@kernel
def _of_sums(sums: NDArray[np.float64], total: float, of: NDArray[np.float64]) -> None:
    """Features of the sum of two levels, whose mean is twice that of one; Autocorrelation still lacks the Contrast."""
    first, second, entropy = 0.0, 0.0, 0.0
    for k in range(sums.size):
        count = sums[k]
        if count > 0.0:
            first += count * k
            second += count * (k * k)
            entropy -= count / total * math.log2(count / total + EPSILON)
    mean = first / total
    tendency, shade, prominence = 0.0, 0.0, 0.0
    for k in range(sums.size):
        square = sums[k] * (k - mean) * (k - mean)
        tendency += square
        shade += square * (k - mean)
        prominence += square * (k - mean) * (k - mean)
    of[_AUTOCORRELATION] = second / total
    of[_CLUSTER_PROMINENCE] = prominence / total
    of[_CLUSTER_SHADE] = shade / total
    of[_CLUSTER_TENDENCY] = tendency / total
    of[_JOINT_AVERAGE] = mean / 2.0
    of[_SUM_AVERAGE] = mean
    of[_SUM_ENTROPY] = entropy


@kernel
def _of_margins(
    counts: NDArray[np.float64],
    rows: NDArray[np.float64],
    total: float,
    levels: NDArray[np.int64],
    logs: float,
    of: NDArray[np.float64],
) -> None:
    """Variance of a level, and what levels of neighbours tell of each other; ``logs`` is Σ c log2 c.

    Without the epsilon, both entropies of independent levels, HXY1 and HXY2, are twice that of one.
    """
    size = rows.size
    mean, variance, entropy = of[_JOINT_AVERAGE], 0.0, 0.0
    inverse, reached = np.zeros(size), 0.0
    used, cells = 0, 0
    for i in range(size):
        if rows[i] > 0.0:
            used += 1
            inverse[i] = 1.0 / rows[i]
            variance += rows[i] * (levels[i] - mean) * (levels[i] - mean)
            entropy -= rows[i] / total * math.log2(rows[i] / total)
    for i in range(size):
        row = counts[i]
        weighted = 0.0
        for j in range(size):
            weighted += row[j] * inverse[j]
            cells += row[j] > 0.0
        reached += weighted * inverse[i]
    joint = math.log2(total) - logs / total - cells * _EPSILON_BITS
    of[_SUM_SQUARES] = variance / total
    of[_JOINT_ENTROPY] = joint
    if used == 1:  # all terms are the same, and cancel to the last digit
        of[_IMC1] = 0.0
        of[_IMC2] = 0.0
        return
    of[_IMC1] = (joint - 2.0 * entropy + reached * total * _EPSILON_BITS) / (entropy - used * _EPSILON_BITS)
    information = 2.0 * entropy - used * used * _EPSILON_BITS - joint
    of[_IMC2] = math.sqrt(max(0.0, -math.expm1(-2.0 * information)))
