"""Intraclass correlation of many features at once: how much of their spread lies between lesions, not readings."""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import f

from radnet.evaluation.discrimination import Floats

FORMS = ("ICC(1,1)", "ICC(2,1)", "ICC(3,1)", "ICC(1,k)", "ICC(2,k)", "ICC(3,k)")
"""Shrout and Fleiss' names: 1 one-way random, 2 two-way absolute agreement, 3 two-way consistency; then one reading or
the mean of k."""


@dataclass(frozen=True, slots=True)
class IntraclassCorrelation:
    """The intraclass correlation of each feature, arrays of shape (F,).

    Attributes:
        icc: Estimate; 1 where readings agree exactly, NaN where a feature is the same in every lesion.
        lower: Lower bound.
        upper: Upper bound.
        f: Statistic of the test that lesions do not differ; infinite where readings agree exactly.
        df1: Its first degrees of freedom.
        df2: Its second ones under that hypothesis.
        interval_df: Second degrees of freedom of the interval: Satterthwaite's for ICC(2,·), else ``df2``.
        p_value: One-sided p-value of the test.
        n: Lesions with every reading.
    """

    icc: Floats
    lower: Floats
    upper: Floats
    f: Floats
    df1: Floats
    df2: Floats
    interval_df: Floats
    p_value: Floats
    n: NDArray[np.int64]


def icc(readings: ArrayLike, form: str, level: float) -> IntraclassCorrelation:
    """Estimate the intraclass correlation of each feature, with its interval and test.

    A lesion that lacks a reading of a feature is left out for that feature. Values follow R's irr and psych; where
    these differ, the interval of ICC(2,k) and the p-value of ICC(2,·) are psych's, which agree with the paper: bounds
    of a mean of k are those of one reading by Spearman and Brown's formula, and the test has the degrees of freedom of
    its hypothesis.

    Args:
        readings: Shape (lesions, readers, features), or (lesions, readers) of one feature; NaN or infinite where not
            measured.
        form: One of ``FORMS``.
        level: Coverage of the intervals.

    Raises:
        ValueError: If there are fewer than two readers, or no feature with every reading of two lesions; a feature that
            has not is NaN among others.

    References:
        Shrout, Fleiss. Psychol Bull 1979;86:420-428. McGraw, Wong. Psychol Methods 1996;1:30-46, table 7.

    Example:
        >>> result = icc([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]],
        ...              "ICC(2,1)", level=0.95)
        >>> result.icc.round(2), result.n
        (array([0.29]), array([6]))
    """
    values = _checked(readings)
    found = estimate_icc(values, form, level)
    if (found.n < 2).all():
        most = int(found.n.max(initial=0))
        every = values.shape[1]
        raise ValueError(f"needs two lesions with all {every} readings, but {most} of {len(values)} have them")
    return found


def _checked(readings: ArrayLike) -> Floats:
    values = np.asarray(readings, dtype=float)
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3 or values.shape[1] < 2:
        raise ValueError(f"readings must be lesions × readers (2 or more) × features, got the shape {values.shape}")
    return values


def estimate_icc(values: Floats, form: str, level: float) -> IntraclassCorrelation:
    """Estimate as ``icc`` does from readings of shape (lesions, readers, features); NaN where lesions are too few."""
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
    # 0 / 0 is a feature that never varies, x / 0 exact agreement; with next to no degrees of freedom F has no bounds
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        between, within, readers, error, n = _mean_squares(values)
        k = values.shape[1]
        df1: Floats = n - np.float64(1)
        if form.startswith("ICC(1"):
            df2 = interval_df = n * (k - 1.0)
            statistic = between / within
            single = (between - within) / (between + (k - 1) * within)
            bounds = _bounds_by_ratio(statistic, df1, df2, k, level)
        elif form.startswith("ICC(3"):
            df2 = interval_df = df1 * (k - 1)
            statistic = between / error
            single = (between - error) / (between + (k - 1) * error)
            bounds = _bounds_by_ratio(statistic, df1, df2, k, level)
        else:
            df2 = df1 * (k - 1)
            statistic = between / error
            single = (between - error) / (between + (k - 1) * error + k / n * (readers - error))
            interval_df = _satterthwaite(single, readers, error, n, k)
            bounds = _bounds_of_agreement(between, readers, error, n, k, interval_df, level)
        estimates = [single, *bounds]
        if form.endswith("k)"):
            estimates = [_of_mean(one, k) for one in estimates]
        never_varies = (between == 0) & (within == 0)
        value, lower, upper = (np.where(never_varies, nan, one) for one in estimates)
        p_value = f.sf(statistic, df1, df2)
    return IntraclassCorrelation(value, lower, upper, statistic, df1, df2, interval_df, p_value, n)


def _mean_squares(values: Floats) -> tuple[Floats, Floats, Floats, Floats, NDArray[np.int64]]:
    """Return mean squares between lesions, within lesions, between readers, of what is left, and complete lesions."""
    k = values.shape[1]
    complete = np.isfinite(values).all(axis=1, keepdims=True)
    n = complete.sum(axis=(0, 1))
    counted = np.where(complete, values, 0.0)
    scale = np.abs(counted).max(axis=(0, 1))
    counted = np.where(complete, counted - counted.sum(axis=(0, 1)) / (n * k), 0.0)
    of_lesion, of_reader = counted.mean(axis=1), counted.sum(axis=0) / n
    inside = counted - of_lesion[:, None, :]
    left = np.where(complete, inside - of_reader, 0.0)
    # what rounding alone leaves is no variance: readings that agree exactly shall have none
    rounding = (8 * np.finfo(float).eps * scale) ** 2

    def mean_square(total: Floats, df: Floats) -> Floats:
        value = total / df
        return np.where(value <= rounding, 0.0, value)

    between = mean_square(k * (of_lesion**2).sum(axis=0), n - 1.0)
    within = mean_square((inside**2).sum(axis=(0, 1)), n * (k - 1.0))
    readers = mean_square(n * (of_reader**2).sum(axis=0), np.full(n.shape, k - 1.0))
    error = mean_square((left**2).sum(axis=(0, 1)), (n - 1.0) * (k - 1))
    too_few = n < 2
    between, within, readers, error = (np.where(too_few, nan, one) for one in (between, within, readers, error))
    return between, within, readers, error, n


def _bounds_by_ratio(statistic: Floats, df1: Floats, df2: Floats, k: int, level: float) -> tuple[Floats, Floats]:
    lower = statistic / f.ppf((1 + level) / 2, df1, df2)
    upper = statistic * f.ppf((1 + level) / 2, df2, df1)
    return 1 - k / (lower + k - 1), 1 - k / (upper + k - 1)  # 1 where the ratio is infinite


def _satterthwaite(single: Floats, readers: Floats, error: Floats, n: NDArray[np.int64], k: int) -> Floats:
    of_readers = k * single * readers
    of_error = (n * (1 - single) + k * single * (n - 1)) * error
    spread = of_readers**2 / (k - 1) + of_error**2 / ((n - 1.0) * (k - 1))
    # exact agreement leaves nothing to approximate, and its bounds are 1 whatever the degrees of freedom
    return np.where((readers == 0) & (error == 0), k - 1.0, (of_readers + of_error) ** 2 / spread)


def _bounds_of_agreement(
    between: Floats, readers: Floats, error: Floats, n: NDArray[np.int64], k: int, df: Floats, level: float
) -> tuple[Floats, Floats]:
    below, above = f.ppf((1 + level) / 2, n - 1, df), f.ppf((1 + level) / 2, df, n - 1)
    noise = k * readers + (k * n - k - n) * error
    return (
        n * (between - below * error) / (below * noise + n * between),
        n * (above * between - error) / (noise + n * (above * between)),
    )


def _of_mean(single: Floats, k: int) -> Floats:
    """Return the correlation of the mean of k readings from that of one, by Spearman and Brown."""
    return k * single / (1 + (k - 1) * single)
