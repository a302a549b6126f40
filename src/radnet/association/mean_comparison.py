"""Whether two groups of patients differ in their means: in the variable's unit, or in standard deviations."""

from collections.abc import Sequence
from math import exp, lgamma, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import nct, t

from radnet.association.effect import Effect, untold

Floats = NDArray[np.float64]

_SAME = 10 * np.finfo(float).eps  # of the mean: a spread below is rounding, and R calls the data constant
_CONSTANT = "the values within each group are constant"


def welch(groups: Sequence[ArrayLike], level: float = 0.95) -> Effect:
    """Return the mean of the first group less that of the second, with Welch's interval and test.

    Args:
        groups: Values of the two groups, two or more each, none missing.
        level: Coverage of the interval.

    References:
        Welch. Biometrika 1947;34:28-35. R's ``t.test``.
    """
    one, other = (np.asarray(group, dtype=float)[None, :] for group in groups)
    difference, lower, upper, statistic, p_value = (float(part[0]) for part in welch_tests(one, other, level))
    if np.isnan(p_value):
        return untold("mean_difference", "Welch's t", _CONSTANT)
    return Effect("mean_difference", "Welch's t", difference, lower, upper, statistic, p_value)


def welch_tests(first: Floats, second: Floats, level: float) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return difference, lower and upper bound, t and p-value of each of g variables, shape (g,).

    Args:
        first: Values of the first group, shape (g, n); NaN where missing.
        second: Values of the second group, shape (g, m).
        level: Coverage of the intervals.

    Returns:
        All but the difference are NaN where a group has fewer than two values, or both are constant.
    """
    (mean, part, n), (other_mean, other_part, m) = _moments(first), _moments(second)
    difference = mean - other_mean
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(part + other_part)
        enough = error > _SAME * np.maximum(np.abs(mean), np.abs(other_mean))
        error = np.where(enough, error, np.nan)
        freedom = (part + other_part) ** 2 / (part**2 / (n - 1) + other_part**2 / (m - 1))
        statistic = difference / error
        reach = t.ppf((1 + level) / 2, freedom) * error
    return difference, difference - reach, difference + reach, statistic, 2 * t.sf(np.abs(statistic), freedom)


def student(groups: Sequence[ArrayLike], level: float = 0.95) -> Effect:
    """Return Hedges' g, the difference in means over the pooled standard deviation, with Student's test.

    The standardised difference is freed of its bias in small groups by the exact factor; its interval turns the
    noncentral t distribution round, and holds 0 where Student's p-value is above 1 − ``level``. Both take the
    groups to have one variance: where they have not, ``welch`` speaks in the variable's own unit.

    Args:
        groups: Values of the two groups, two or more each, none missing.
        level: Coverage of the interval.

    References:
        Student. Biometrika 1908;6:1-25. Hedges. J Educ Stat 1981;6:107-128 (equation 6e for the factor).
        Steiger, Fouladi. In: What if there were no significance tests? Erlbaum 1997:221-257.
    """
    one, other = (np.asarray(group, dtype=float) for group in groups)
    n, m, freedom = one.size, other.size, one.size + other.size - 2
    pooled = sqrt(((n - 1) * one.var(ddof=1) + (m - 1) * other.var(ddof=1)) / freedom)
    if pooled <= _SAME * max(abs(one.mean()), abs(other.mean())):
        return untold("hedges_g", "Student's t; noncentral t", _CONSTANT)
    in_errors = sqrt(1 / n + 1 / m)
    statistic = float(one.mean() - other.mean()) / (pooled * in_errors)
    unbiased = exp(lgamma(freedom / 2) - lgamma((freedom - 1) / 2)) / sqrt(freedom / 2) if freedom > 1 else 0.0
    near, far = (_noncentrality(abs(statistic), freedom, tail) for tail in ((1 + level) / 2, (1 - level) / 2))
    lower, upper = (near, far) if statistic >= 0 else (-far, -near)
    scale = unbiased * in_errors
    return Effect(
        "hedges_g",
        "Student's t; noncentral t",
        statistic * scale,
        lower * scale,
        upper * scale,
        statistic,
        float(2 * t.sf(abs(statistic), freedom)),
    )


def _noncentrality(statistic: float, freedom: int, below: float) -> float:
    """Return the noncentrality at which a t no larger than the one seen, 0 or above, has the chance ``below``."""

    def excess(at: float) -> float:
        return float(nct.cdf(statistic, freedom, at)) - below

    step = 1.0 if excess(statistic) > 0 else -1.0  # the chance falls as the noncentrality rises
    edge = statistic
    while excess(edge) * step > 0:  # by small steps: SciPy's distribution ends in NaN where its tail is empty
        edge += step
    return float(brentq(excess, *sorted((edge - step, edge)), xtol=1e-12))


def _moments(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Return mean, squared standard error and number of the known values of each row."""
    known = ~np.isnan(values)
    n = known.sum(axis=1).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, values, 0.0).sum(axis=1) / n
        squares = np.where(known, (values - mean[:, None]) ** 2, 0.0).sum(axis=1)
        return mean, np.where(n > 1, squares / (n - 1) / n, np.nan), n
