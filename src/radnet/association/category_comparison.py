"""Whether groups of patients differ in a category."""

from collections.abc import Sequence
from math import inf, nan, sqrt

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import chi2, chi2_contingency, fisher_exact, ncx2
from scipy.stats.contingency import odds_ratio

from radnet.association.effect import Effect, untold


def fisher(groups: Sequence[ArrayLike], level: float = 0.95) -> Effect:
    """Return the odds ratio of two groups for a category of two levels, with Fisher's exact test.

    The odds are those of the level that sorts last (true, 1, ``positive`` before ``negative``), which the method names,
    in the first group against the second. The ratio is the conditional maximum-likelihood estimate, its interval exact.

    Args:
        groups: Levels of the patients of the two groups, none missing.
        level: Coverage of the interval.

    Raises:
        ValueError: If the category has more than two levels.

    References:
        Fisher. J R Stat Soc 1935;98:39-82. R's ``fisher.test``.

    Example:
        >>> fisher([["yes"] * 3 + ["no"], ["yes"] + ["no"] * 3]).p_value.__round__(4)
        0.4857
    """
    levels, counts = _counts(groups)
    if len(levels) > 2:
        named = ", ".join(map(str, levels[:5]))
        raise ValueError(f"an odds ratio needs a category of two levels, got {len(levels)} ({named}): take chi_square")
    if len(levels) < 2:
        return untold("odds_ratio", "Fisher", f"every patient is {levels[0]}")
    table = counts[:, ::-1]
    found = odds_ratio(table, kind="conditional")
    bounds = found.confidence_interval(level)
    p_value = min(1.0, float(fisher_exact(table).pvalue))
    return Effect(
        "odds_ratio",
        f"Fisher, odds of {levels[1]}; exact",
        float(found.statistic),
        float(bounds.low),
        float(bounds.high),
        nan,
        p_value,
        "infinite: a cell of the table is empty" if found.statistic == inf else "",
    )


def chi_square(groups: Sequence[ArrayLike], level: float = 0.95) -> Effect:
    """Return Cramér's V of groups and a category's levels, with Pearson's χ² test, without continuity correction.

    V = √(χ² / (n (k − 1))), k the smaller number of groups or levels: 0 where groups are alike, 1 where one tells the
    other. The interval turns the noncentral χ² distribution round, V² n (k − 1) its noncentrality. The V of a sample
    is lifted by chance, and the more the larger the table; where it passes its own upper bound, the bound is set to it.

    Args:
        groups: Levels of the patients of two groups or more, none missing.
        level: Coverage of the interval.

    References:
        Pearson. Philos Mag 1900;50:157-175. Cramér. Mathematical methods of statistics. Princeton 1946:282.
        Smithson. Confidence intervals. Sage 2003:39-41. R's ``chisq.test(correct = FALSE)``.
    """
    levels, counts = _counts(groups)
    if len(levels) < 2:
        return untold("cramers_v", "χ²; noncentral χ²", f"every patient is {levels[0]}")
    test = chi2_contingency(counts, correction=False)
    statistic, freedom = float(test.statistic), int(test.dof)
    scale = counts.sum() * (min(counts.shape) - 1)
    value = min(1.0, sqrt(statistic / scale))
    lower, upper = (_noncentrality(statistic, freedom, tail) for tail in ((1 + level) / 2, (1 - level) / 2))
    few = "an expected count is below 5: χ² is approximate" if test.expected_freq.min() < 5 else ""
    return Effect(
        "cramers_v",
        "χ²; noncentral χ²",
        value,
        min(sqrt(lower / scale), value),
        max(min(1.0, sqrt(upper / scale)), value),
        statistic,
        float(test.pvalue),
        few,
    )


def _counts(groups: Sequence[ArrayLike]) -> tuple[list[object], NDArray[np.int64]]:
    """Return the levels found, sorted, and the patients of each group at each of them."""
    parts = [pd.Series(np.asarray(group, dtype=object)) for group in groups]
    levels = sorted(pd.unique(pd.concat(parts)), key=lambda one: (str(type(one)), one))
    return levels, np.array([[int((part == one).sum()) for one in levels] for part in parts])


def _noncentrality(statistic: float, freedom: int, below: float) -> float:
    """Return the noncentrality at which a χ² no larger than the one seen has the chance ``below``; 0 if none has."""
    if chi2.cdf(statistic, freedom) <= below:
        return 0.0

    def excess(at: float) -> float:
        return float(ncx2.cdf(statistic, freedom, at)) - below

    highest = max(1.0, statistic)
    while excess(highest) > 0:
        highest *= 2
    return float(brentq(excess, 1e-12, highest, xtol=1e-10))
