"""Whether groups differ in a category: χ², Fisher's exact test of any table, McNemar's test."""

from math import inf, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln
from scipy.stats import binom, chi2, hypergeom
from scipy.stats.contingency import odds_ratio

from radnet.evaluation.baseline.group_tests import GroupTest
from radnet.evaluation.discrimination import Estimate, Floats

_LARGEST = 5_000_000  # transitions or partial tables held at once: some seconds, some hundred MB
_TOO_MANY = "Fisher's exact test has too many tables to count for one of this size: use χ²"
_SAME = 1e-7  # tables as likely as the one seen count as extreme; R's allowance for rounding


def expected_counts(counts: ArrayLike) -> Floats:
    """Return what independence of rows and columns would give, shape (r, c)."""
    table = _checked(counts)
    return np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()


def chi_square(counts: ArrayLike, *, correct: bool) -> GroupTest:
    """Test independence of rows and columns by Pearson's χ², as R's ``chisq.test``.

    Args:
        counts: Patients by level and group, shape (r, c).
        correct: Yates' continuity correction, which R applies to 2 × 2 tables only, and so do we.

    Returns:
        χ², NaN where a row or a column holds nobody.

    References:
        Pearson. Philos Mag 1900;50:157-175. Yates. J R Stat Soc Suppl 1934;1:217-235.

    Example:
        >>> round(chi_square([[24, 31], [45, 12]], correct=True).statistic, 3)
        13.301
    """
    table = _checked(counts)
    expected = expected_counts(table)
    yates = correct and table.shape == (2, 2)
    name, df = ("χ², Yates" if yates else "χ²"), (table.shape[0] - 1) * (table.shape[1] - 1)
    if (expected == 0).any():
        return GroupTest(name, nan, nan, df=df)
    away = np.abs(table - expected)
    statistic = float(((away - (np.minimum(0.5, away) if yates else 0.0)) ** 2 / expected).sum())
    return GroupTest(name, statistic, float(chi2.sf(statistic, df)), df=df)


def fisher(counts: ArrayLike, *, level: float = 0.95) -> GroupTest:
    """Test independence by Fisher's exact test: the share of tables with these margins that are no likelier.

    Args:
        counts: Patients by level and group, shape (r, c), any r and c.
        level: Coverage of the odds ratio's exact interval.

    Returns:
        The p-value; of a 2 × 2 table also the conditional maximum-likelihood odds ratio, as R's ``fisher.test``
        (0 where a row or column is empty, with an interval from 0 to infinity, as there).

    Raises:
        ValueError: If a larger table has too many companions to be counted; χ² then serves.

    References:
        Fisher. J R Stat Soc 1935;98:39-82. Freeman, Halton. Biometrika 1951;38:141-149.
        Mehta, Patel. J Am Stat Assoc 1983;78:427-434 (leaving out whole branches of the network).
    """
    table = _checked(counts).astype(np.int64)
    if table.shape == (2, 2):
        *_, both = _two_by_two(table)
        return GroupTest("Fisher", nan, both, difference=_conditional_odds_ratio(table, level))
    filled = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    return GroupTest("Fisher", nan, _share_no_likelier(filled) if min(filled.shape) > 1 else 1.0)


def fisher_one_sided(counts: ArrayLike) -> tuple[float, float]:
    """Return the p-values of a 2 × 2 table against an odds ratio below and above 1."""
    table = _checked(counts).astype(np.int64)
    if table.shape != (2, 2):
        raise ValueError(f"a one-sided test needs a table of 2 × 2, got {table.shape}")
    less, greater, _ = _two_by_two(table)
    return less, greater


def mcnemar(counts: ArrayLike, *, correct: bool = True, exact: bool = False) -> GroupTest:
    """Test whether paired answers change one way more often than the other, as R's ``mcnemar.test``.

    Args:
        counts: Patients by first and second answer, shape (2, 2).
        correct: Continuity correction, ignored where the test is exact.
        exact: Binomial test of the discordant pairs.

    References:
        McNemar. Psychometrika 1947;12:153-157.
    """
    table = _checked(counts)
    if table.shape != (2, 2):
        raise ValueError(f"McNemar's test needs a table of 2 × 2, got {table.shape}")
    one, other = float(table[0, 1]), float(table[1, 0])
    if exact:
        return GroupTest("McNemar, exact", one, float(min(1.0, 2 * binom.cdf(min(one, other), one + other, 0.5))))
    if one + other == 0:
        return GroupTest("McNemar", nan, nan, df=1)
    away = max(0.0, abs(one - other) - 1) if correct and one != other else abs(one - other)
    statistic = away**2 / (one + other)
    return GroupTest("McNemar", statistic, float(chi2.sf(statistic, 1)), df=1)


def _two_by_two(table: NDArray[np.int64]) -> tuple[float, float, float]:
    first_row, first_column = table[0].sum(), table[:, 0].sum()
    low, high = max(0, first_column - table[1].sum()), min(first_row, first_column)
    corner = np.arange(low, high + 1)
    chance = hypergeom.pmf(corner, table.sum(), first_row, first_column)
    seen = chance[table[0, 0] - low]
    sums = chance[corner <= table[0, 0]].sum(), chance[corner >= table[0, 0]].sum()
    both = chance[chance <= seen * (1 + _SAME)].sum()
    return min(1.0, float(sums[0])), min(1.0, float(sums[1])), min(1.0, float(both))


def _conditional_odds_ratio(table: NDArray[np.int64], level: float) -> Estimate:
    if (table.sum(axis=0) == 0).any() or (table.sum(axis=1) == 0).any():
        return Estimate(0.0, 0.0, inf)
    ratio = odds_ratio(table, kind="conditional")
    bounds = ratio.confidence_interval(level)
    return Estimate(float(ratio.statistic), float(bounds.low), float(bounds.high))


def _share_no_likelier(table: NDArray[np.int64]) -> float:
    """Fill the table column by column; states are what is left of the row margins, and paths are merged by state.

    With ``way`` the sum of -log n_ij! so far, a path is done with as soon as even its likeliest completion is no
    likelier than the table seen (all count), or its unlikeliest is likelier (none does).
    """
    wide = table if table.shape[0] <= table.shape[1] else table.T  # few rows are few states
    wide = wide[:, np.argsort(wide.sum(axis=0))]  # the last column has no choice left, so let it be the largest
    states, steps = _network(wide)
    longest, shortest = _bounds(states, steps)
    seen = -gammaln(wide + 1.0).sum() + _SAME
    of_all = gammaln(wide.sum() + 1.0) - gammaln(wide.sum(axis=1) + 1).sum() - gammaln(wide.sum(axis=0) + 1).sum()

    at, way, log_count = np.zeros(1, dtype=np.int64), np.zeros(1), np.zeros(1)
    extreme = 0.0
    for column, here in enumerate(states):
        everything = way + longest[column][at] <= seen
        if everything.any():
            closed = (
                gammaln(here[at].sum(axis=1) + 1.0)
                - gammaln(here[at] + 1.0).sum(axis=1)
                - gammaln(wide.sum(axis=0)[column:] + 1.0).sum()
            )
            extreme += np.exp((log_count + way + closed)[everything] - of_all).sum()
        open_still = ~everything & (way + shortest[column][at] <= seen)
        at, way, log_count = at[open_still], way[open_still], log_count[open_still]
        if at.size == 0 or column == len(steps):
            break
        at, way, log_count = _onward(at, way, log_count, steps[column], here.shape[0])
    return min(1.0, float(extreme))


_Steps = tuple[NDArray[np.int64], NDArray[np.int64], Floats]


def _network(table: NDArray[np.int64]) -> tuple[list[NDArray[np.int64]], list[_Steps]]:
    """Return the states before each column, and the steps between them (from, to, -Σ log n!), sorted by origin."""
    states, steps = [table.sum(axis=1)[None, :]], []
    if np.log2(table.sum(axis=1) + 1.0).sum() > 62:
        raise ValueError(_TOO_MANY)  # and their states could not even be numbered
    for column in range(table.shape[1]):
        total, here = int(table[:, column].sum()), states[-1]
        # What is left must fit in the columns to come, and each row gives no more than it has.
        origin, filled = np.arange(here.shape[0]), np.zeros((here.shape[0], 0), dtype=np.int64)
        for row in range(table.shape[0]):
            given = filled.sum(axis=1)
            low = np.maximum(0, total - given - here[origin, row + 1 :].sum(axis=1))
            width = np.maximum(0, np.minimum(here[origin, row], total - given) - low + 1)
            if width.sum() > _LARGEST:
                raise ValueError(_TOO_MANY)
            step = np.arange(width.sum()) - np.repeat(np.cumsum(width) - width, width)
            value = np.repeat(low, width) + step
            origin, filled = np.repeat(origin, width), np.column_stack([np.repeat(filled, width, axis=0), value])
        after = here[origin] - filled
        place = np.ravel_multi_index(tuple(after.T), tuple(table.sum(axis=1) + 1))
        _, first, to = np.unique(place, return_index=True, return_inverse=True)
        steps.append((origin, to, -gammaln(filled + 1.0).sum(axis=1)))
        states.append(after[first])
    return states, steps


def _bounds(states: list[NDArray[np.int64]], steps: list[_Steps]) -> tuple[list[Floats], list[Floats]]:
    longest, shortest = [np.zeros(1)], [np.zeros(1)]
    for here, (origin, to, weight) in zip(states[-2::-1], steps[::-1], strict=True):
        most, least = np.full(here.shape[0], -inf), np.full(here.shape[0], inf)
        np.maximum.at(most, origin, weight + longest[0][to])
        np.minimum.at(least, origin, weight + shortest[0][to])
        longest.insert(0, most)
        shortest.insert(0, least)
    return longest, shortest


def _onward(
    at: NDArray[np.int64], way: Floats, log_count: Floats, steps: _Steps, n_states: int
) -> tuple[NDArray[np.int64], Floats, Floats]:
    origin, to, weight = steps
    width = np.bincount(origin, minlength=n_states)
    start = np.cumsum(width) - width
    each = width[at]
    if each.sum() > _LARGEST:
        raise ValueError(_TOO_MANY)
    step = np.repeat(start[at], each) + np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
    place, length, count = to[step], np.repeat(way, each) + weight[step], np.repeat(log_count, each)
    key = np.round(length, 9)  # paths of one length are one path walked several times
    order = np.lexsort((key, place))
    new = np.concatenate([[True], (np.diff(place[order]) != 0) | (np.diff(key[order]) != 0)])
    first = np.flatnonzero(new)
    return place[order][first], length[order][first], np.logaddexp.reduceat(count[order], first)


def _checked(counts: ArrayLike) -> Floats:
    table = np.asarray(counts, dtype=float)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"a table of counts needs two rows and two columns or more, got shape {table.shape}")
    if not (np.isfinite(table).all() and (table >= 0).all() and (table == np.round(table)).all()):
        raise ValueError("counts of patients must be whole numbers of 0 or more")
    if table.sum() == 0:
        raise ValueError("a table of counts needs a patient, but every cell is 0")
    return table
