"""Whether a variable ranks higher in one group of patients than in another, and how surely."""

from collections.abc import Sequence
from math import nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import kruskal as kruskal_test
from scipy.stats import mannwhitneyu, norm, rankdata

from radnet.association.effect import Effect, untold

Floats = NDArray[np.float64]

_COUNTED = 50  # patients in either group: with fewer, R counts every order where none are tied
_AT_ONCE = 2_000_000  # ranks held at once


def mann_whitney(groups: Sequence[ArrayLike], level: float = 0.95) -> Effect:
    """Return the chance that a patient of the first group has a higher value than one of the second, ties halved.

    This is U / nm, the area under the ROC curve. Its interval is Newcombe's method 5: the chances from which the one
    seen is ``level``'s normal quantile of their own standard errors away. It lies within 0 and 1, and has a width where
    the groups do not overlap. The p-value follows R: every order counted where both groups have fewer than 50 patients
    and no values are equal, else normal with correction for ties and continuity.

    Args:
        groups: Values of the two groups, shapes (n,) and (m,), none missing.
        level: Coverage of the interval.

    References:
        Mann, Whitney. Ann Math Stat 1947;18:50-60. Newcombe. Stat Med 2006;25:559-573. R's ``wilcox.test``.

    Example:
        >>> mann_whitney([[3.0, 5.0], [1.0, 4.0]]).value
        0.75
    """
    one, other = (np.asarray(group, dtype=float) for group in groups)
    u, p_value, method = rank_sum_tests(one[None, :], other[None, :])
    chance = float(u[0]) / (one.size * other.size)
    lower = _lowest_chance(chance, one.size, other.size, level)
    upper = 1 - _lowest_chance(1 - chance, one.size, other.size, level)
    flag = "all values are equal: no p-value" if np.isnan(p_value[0]) else ""
    named = f"Mann-Whitney, {method[0]}; Newcombe 5"
    return Effect("auc", named, chance, lower, upper, float(u[0]), float(p_value[0]), flag)


def rank_sum_tests(first: Floats, second: Floats) -> tuple[Floats, Floats, NDArray[np.str_]]:
    """Return U of the first group, its p-value and whether that is ``exact`` or ``normal``, of each of g variables.

    Args:
        first: Values of the first group, shape (g, n), none missing.
        second: Values of the second group, shape (g, m).

    Returns:
        Shape (g,) each; the p-value is NaN where all values are equal.
    """
    n, m = first.shape[1], second.shape[1]
    rising = np.sort(np.concatenate([first, second], axis=1), axis=1)
    tied = (np.diff(rising, axis=1) == 0).any(axis=1)
    constant = rising[:, 0] == rising[:, -1]
    exact = ~tied & (n < _COUNTED) & (m < _COUNTED)
    u, p_value = np.full((2, len(first)), nan)
    u[constant] = n * m / 2
    for rows, way in ((exact, "exact"), (~exact & ~constant, "asymptotic")):
        if rows.any():
            found = mannwhitneyu(first[rows], second[rows], axis=1, method=way)
            u[rows], p_value[rows] = found.statistic, found.pvalue
    return u, p_value, np.where(exact, "exact", "normal")


def kruskal(groups: Sequence[ArrayLike], level: float = 0.95, *, resamples: int = 2000, seed: int) -> Effect:
    """Return how much of the variance of ranks lies between groups, ε² = H / (n − 1), with Kruskal and Wallis' test.

    0: the groups rank alike; 1: each group has one value. The interval is that of percentiles of the bootstrap,
    patients drawn within their groups. Since ε² has no sign, chance alone lifts it and its bounds above 0: whether
    groups differ is for the p-value to say.

    Args:
        groups: Values of two groups or more, none missing.
        level: Coverage of the interval.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    References:
        Kruskal, Wallis. J Am Stat Assoc 1952;47:583-621. Tomczak, Tomczak. Trends Sport Sci 2014;21:19-25.
    """
    parts = [np.asarray(group, dtype=float) for group in groups]
    n = sum(part.size for part in parts)
    measure, method = "epsilon_squared", "Kruskal-Wallis; bootstrap"
    if np.ptp(np.concatenate(parts)) == 0:
        return untold(measure, method, "all values are equal")
    test = kruskal_test(*parts)
    value = float(test.statistic) / (n - 1)
    rng = np.random.default_rng(seed)
    by_chance = []
    for start in range(0, resamples, step := max(1, _AT_ONCE // n)):
        size = min(step, resamples - start)
        by_chance.append(_epsilon_squared([part[rng.integers(part.size, size=(size, part.size))] for part in parts]))
    lower, upper = np.quantile(np.concatenate(by_chance), [(1 - level) / 2, (1 + level) / 2])
    return Effect(
        measure,
        method,
        value,
        min(float(lower), value),
        max(float(upper), value),
        float(test.statistic),
        float(test.pvalue),
    )


def _epsilon_squared(parts: Sequence[Floats]) -> Floats:
    """Return H / (n − 1), ties corrected, of b resamples; each group has shape (b, its patients)."""
    rank = rankdata(np.concatenate(parts, axis=1), axis=1)
    spread = ((rank - rank.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    middle = (rank.shape[1] + 1) / 2
    between = sum(own.shape[1] * (own.mean(axis=1) - middle) ** 2 for own in np.split(rank, ends, axis=1))
    return np.divide(between, spread, out=np.zeros(len(rank)), where=spread > 0)


def _lowest_chance(chance: float, n: int, m: int, level: float) -> float:
    """Return the lower root of |chance − θ| = z √V(θ), V after Hanley and McNeil with both sizes' mean."""
    quantile = float(norm.ppf((1 + level) / 2))
    others = (n + m) / 2 - 1

    def excess(at: float) -> float:
        error = sqrt(at * (1 - at) / (n * m) * (1 + others * ((1 - at) / (2 - at) + at / (1 + at))))
        return chance - at - quantile * error

    if chance == 0:
        return 0.0
    return float(brentq(excess, 0.0, min(chance, 1 - 1e-12), xtol=1e-14))
