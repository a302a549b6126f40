"""Whether groups of patients differ in a clinical value: the tests of a paper's first table, by R's rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import inf, nan, sqrt

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import kolmogorov

from radnet.evaluation.baseline.multiplicity import Adjustment, adjusted_p_values
from radnet.evaluation.discrimination import Estimate, Floats

_NONE = Estimate(nan, nan, nan)


@dataclass(frozen=True, slots=True)
class GroupTest:
    """A test between groups; what a test does not have is NaN.

    Attributes:
        name: The test, as a table's footnote would call it.
        statistic: t, W, χ², H, F or D.
        p_value: Two-sided.
        df: Degrees of freedom; those between groups for an analysis of variance.
        df_within: Degrees of freedom within groups, for an analysis of variance.
        difference: First minus second group (means for t, Hodges-Lehmann for Wilcoxon) or odds ratio, with bounds.
    """

    name: str
    statistic: float
    p_value: float
    df: float = nan
    df_within: float = nan
    difference: Estimate = _NONE


def t_test(first: ArrayLike, second: ArrayLike, *, equal_variance: bool, level: float = 0.95) -> GroupTest:
    """Compare two means by Student's t (equal variances) or Welch's, as R's ``t.test``.

    Args:
        first: Values of the first group, shape (n,); two or more, none missing.
        second: Values of the second group, shape (m,).
        equal_variance: Student's pooled variance, or Welch's degrees of freedom.
        level: Coverage of the interval of the difference in means.

    Raises:
        ValueError: If a group has fewer than two patients, or if both groups are constant, as R does.

    References:
        Student. Biometrika 1908;6:1-25. Welch. Biometrika 1947;34:28-35.
    """
    one, other = _two_groups(first, second, at_least=2)
    spread = max(abs(one.mean()), abs(other.mean())) * 10 * np.finfo(float).eps
    if sqrt(one.var(ddof=1) / one.size + other.var(ddof=1) / other.size) <= spread:
        raise ValueError("a t test needs values that differ, but those within each group are constant")
    return t_test_of_summary(
        (one.mean(), one.std(ddof=1), one.size),
        (other.mean(), other.std(ddof=1), other.size),
        equal_variance=equal_variance,
        level=level,
    )


def t_test_of_summary(
    first: tuple[float, float, int], second: tuple[float, float, int], *, equal_variance: bool, level: float = 0.95
) -> GroupTest:
    """Compare two means of which only mean, SD (n - 1) and n are printed; see ``t_test``."""
    (mean, sd, n), (mean_other, sd_other, n_other) = first, second
    part, part_other = sd**2 / n, sd_other**2 / n_other
    if equal_variance:
        df = float(n + n_other - 2)
        pooled = ((n - 1) * sd**2 + (n_other - 1) * sd_other**2) / df
        error = sqrt(pooled * (1 / n + 1 / n_other))
    else:
        df = (part + part_other) ** 2 / (part**2 / (n - 1) + part_other**2 / (n_other - 1))
        error = sqrt(part + part_other)
    difference = float(mean - mean_other)
    reach = float(stats.t.ppf((1 + level) / 2, df)) * error
    return GroupTest(
        "Student's t" if equal_variance else "Welch's t",
        difference / error,
        float(2 * stats.t.sf(abs(difference / error), df)),
        df=df,
        difference=Estimate(difference, difference - reach, difference + reach),
    )


def wilcoxon(
    first: ArrayLike, second: ArrayLike, *, exact: bool | None = None, correct: bool = True, level: float = 0.95
) -> GroupTest:
    """Compare two groups by Wilcoxon's rank sum (Mann-Whitney U of the first group), as R's ``wilcox.test``.

    Args:
        first: Values of the first group, shape (n,); none missing.
        second: Values of the second group, shape (m,).
        exact: Count all orders of ranks; None is R's rule: fewer than 50 in each group. Ties always take the normal
            approximation, as in R.
        correct: Take one half off the distance from the mean in the normal approximation.
        level: Coverage of the interval of the shift.

    Returns:
        W, its p-value (NaN where all values are equal) and the Hodges-Lehmann shift: the median of all differences
        between patients of the two groups, bounded by those at which the normal test (with ``correct``) would turn.

    References:
        Mann, Whitney. Ann Math Stat 1947;18:50-60. Hodges, Lehmann. Ann Math Stat 1963;34:598-611.
    """
    one, other = _two_groups(first, second)
    n, m = one.size, other.size
    ranks = stats.rankdata(np.concatenate([one, other]))
    w = float(ranks[:n].sum() - n * (n + 1) / 2)
    tied = np.unique(ranks).size < n + m
    by_count = not tied and (exact if exact is not None else n < 50 and m < 50)
    shift = _hodges_lehmann(one, other, correct, level)
    if by_count:
        p_value = float(stats.mannwhitneyu(one, other, method="exact").pvalue)
        return GroupTest("Wilcoxon, exact", w, p_value, difference=shift)
    error = _rank_sum_error(n, m, np.concatenate([one, other]))
    away = w - n * m / 2
    away -= np.sign(away) / 2 if correct else 0.0
    p_value = float(min(1.0, 2 * stats.norm.sf(abs(away) / error))) if error > 0 else nan
    return GroupTest("Wilcoxon", w, p_value, difference=shift)


def kruskal_wallis(groups: Sequence[ArrayLike]) -> GroupTest:
    """Compare two or more groups by their ranks (χ² approximation, ties corrected), as R's ``kruskal.test``.

    References:
        Kruskal, Wallis. J Am Stat Assoc 1952;47:583-621.
    """
    parts = _groups(groups)
    if np.unique(np.concatenate(parts)).size == 1:
        return GroupTest("Kruskal-Wallis", nan, nan, df=len(parts) - 1)
    test = stats.kruskal(*parts)
    return GroupTest("Kruskal-Wallis", float(test.statistic), float(test.pvalue), df=len(parts) - 1)


def anova(groups: Sequence[ArrayLike], *, equal_variance: bool) -> GroupTest:
    """Compare the means of two or more groups: one-way analysis of variance, or Welch's, as R's ``oneway.test``.

    Raises:
        ValueError: If a group has fewer than two patients or, for Welch, is constant.

    References:
        Welch. Biometrika 1951;38:330-336.
    """
    parts = _groups(groups, at_least=2)
    k = len(parts)
    n, mean, variance = (np.array([f(part) for part in parts]) for f in (np.size, np.mean, _variance))
    if (variance == 0).any() if not equal_variance else (variance == 0).all():
        raise ValueError("an analysis of variance needs values that differ within groups, but a group is constant")
    if equal_variance:
        between = (n * (mean - (n * mean).sum() / n.sum()) ** 2).sum() / (k - 1)
        within = ((n - 1) * variance).sum() / (n.sum() - k)
        statistic, df_within, name = between / within, float(n.sum() - k), "ANOVA"
    else:
        weight = n / variance
        share = weight / weight.sum()
        off = ((1 - share) ** 2 / (n - 1)).sum() / (k**2 - 1)
        between = (weight * (mean - (share * mean).sum()) ** 2).sum() / (k - 1)
        statistic, df_within, name = between / (1 + 2 * (k - 2) * off), float(1 / (3 * off)), "Welch's ANOVA"
    return GroupTest(name, float(statistic), float(stats.f.sf(statistic, k - 1, df_within)), k - 1, df_within)


def pairwise_wilcoxon(groups: Mapping[str, ArrayLike], adjust: Adjustment) -> pd.DataFrame:
    """Compare each pair of groups by ``wilcoxon`` (normal, corrected), as R's ``pairwise.wilcox.test``.

    Returns:
        A row for each pair: group, versus, p_value and p_adjusted.
    """
    pairs = list(combinations(groups, 2))
    p = [wilcoxon(groups[one], groups[other], exact=False).p_value for one, other in pairs]
    frame = pd.DataFrame(pairs, columns=["group", "versus"])
    return frame.assign(p_value=p, p_adjusted=adjusted_p_values(p, adjust))


def shapiro_wilk(values: ArrayLike) -> GroupTest:
    """Test whether values come from a normal distribution (3 to 5000 patients), as R's ``shapiro.test``.

    References:
        Shapiro, Wilk. Biometrika 1965;52:591-611. Royston. Appl Stat 1995;44:547-551 (AS R94).
    """
    sample = _finite(values)
    if not 3 <= sample.size <= 5000:
        raise ValueError(f"the Shapiro-Wilk test needs 3 to 5000 values, got {sample.size}")
    if np.ptp(sample) == 0:
        raise ValueError("the Shapiro-Wilk test needs values that differ, but all are equal")
    test = stats.shapiro(sample)
    return GroupTest("Shapiro-Wilk", float(test.statistic), float(test.pvalue))


def kolmogorov_smirnov(first: ArrayLike, second: ArrayLike) -> GroupTest:
    """Compare two distributions by their largest distance, with Kolmogorov's limit (R: ``ks.test(exact = FALSE)``)."""
    one, other = (np.sort(group) for group in _two_groups(first, second))
    at = np.concatenate([one, other])
    below, below_other = (np.searchsorted(group, at, side="right") / group.size for group in (one, other))
    distance = float(np.abs(below - below_other).max())
    p_value = float(kolmogorov(sqrt(one.size * other.size / at.size) * distance))
    return GroupTest("Kolmogorov-Smirnov", distance, p_value)


def variance_test(first: ArrayLike, second: ArrayLike) -> GroupTest:
    """Compare two variances by their ratio F, as R's ``var.test``; NaN where both are 0."""
    one, other = _two_groups(first, second, at_least=2)
    own, others = _variance(one), _variance(other)
    ratio = own / others if others > 0 else (inf if own > 0 else nan)
    df, df_other = one.size - 1, other.size - 1
    tails = stats.f.cdf(ratio, df, df_other), stats.f.sf(ratio, df, df_other)
    return GroupTest("F", ratio, float(2 * min(tails)), df, df_other)


def _hodges_lehmann(one: Floats, other: Floats, correct: bool, level: float) -> Estimate:
    difference = np.sort(np.subtract.outer(one, other), axis=None)
    pairs = difference.size
    # Between two neighbouring differences no value of one group equals one of the other, so only ties within count.
    error = _rank_sum_error(one.size, other.size, one, other)
    if error == 0 or difference[0] == difference[-1]:
        return _NONE
    distinct, count = np.unique(difference, return_counts=True)
    away = pairs - np.cumsum(count) - pairs / 2  # of W from its mean, once the shift has passed each difference
    away -= np.sign(away) / 2 if correct else 0.0
    reach = float(stats.norm.ppf((1 + level) / 2)) * error
    lower = distinct[np.argmax(away < reach)]
    upper = distinct[np.argmax(away <= -reach)] if (away <= -reach).any() else distinct[-1]
    return Estimate(float(np.median(difference)), float(lower), float(upper))


def _rank_sum_error(n: int, m: int, *tied_within: Floats) -> float:
    ties = np.concatenate([np.unique(values, return_counts=True)[1] for values in tied_within]).astype(float)
    return sqrt(n * m / 12 * max(0.0, (n + m + 1) - (ties**3 - ties).sum() / ((n + m) * (n + m - 1))))


def _variance(values: Floats) -> float:
    return float(values.var(ddof=1)) if np.ptp(values) > 0 else 0.0


def _finite(values: ArrayLike) -> Floats:
    sample = np.asarray(values, dtype=float)
    bad = int((~np.isfinite(sample)).sum())
    if sample.ndim != 1 or bad:
        raise ValueError(f"a test needs one row of finite values, got {bad} that are not, in shape {sample.shape}")
    return sample


def _two_groups(first: ArrayLike, second: ArrayLike, at_least: int = 1) -> tuple[Floats, Floats]:
    one, other = _groups([first, second], at_least)
    return one, other


def _groups(groups: Sequence[ArrayLike], at_least: int = 1) -> list[NDArray[np.float64]]:
    parts = [_finite(group) for group in groups]
    sizes = [part.size for part in parts]
    if len(parts) < 2 or min(sizes) < at_least:
        raise ValueError(f"a test needs two groups of {at_least} or more patients, got groups of {sizes}")
    return parts
