"""The cut-off that parts survival the most, and what its p-value is once all cut-offs that were tried are counted."""

from dataclasses import dataclass
from math import exp, log, pi

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln
from scipy.stats import norm

from radnet.evaluation.cutoff import Cutoff, between
from radnet.evaluation.discrimination import Floats
from radnet.evaluation.survival.follow_up import checked_follow_up

_MOST_ENTRIES = 50_000_000  # of the table of the exact distribution: 400 MB, some 300 patients


@dataclass(frozen=True, slots=True)
class MaximallySelected:
    """The cut-off with the largest standardised log-rank statistic, and every cut-off that was tried.

    The p-value of a log-rank test at this cut-off pretends that no other was looked at; report one of these instead.

    Attributes:
        cutoff: Midway between the highest score of the low group and the lowest of the high group.
        statistic: Largest absolute standardised statistic.
        highest_low: Highest score of the low group at each cut-off tried, rising, shape (K,).
        n_low: Patients in the low group at each cut-off tried, shape (K,).
        statistics: Absolute standardised statistic at each cut-off tried, shape (K,).
        n: Patients.
        minprop: Smallest share of patients allowed in either group.
    """

    cutoff: Cutoff
    statistic: float
    highest_low: Floats
    n_low: NDArray[np.int64]
    statistics: Floats
    n: int
    minprop: float

    @property
    def highest_low_chosen(self) -> float:
        """Highest score of the low group at ``cutoff``: R's cut-point, above which a patient is of the high group."""
        return float(self.highest_low[np.argmax(self.statistics)])

    @property
    def p_lausen92(self) -> float:
        """p-value for a continuum of cut-offs; conservative, and 1 where the statistic is below 1.

        References:
            Lausen, Schumacher. Biometrics 1992;48:73-85.
        """
        b = self.statistic
        if b < 1:
            return 1.0
        odds = (1 - self.minprop) / self.minprop
        return float(max(0.0, norm.pdf(b) * (4 / b + 2 * (b - 1 / b) * log(odds))))

    @property
    def p_lausen94(self) -> float:
        """p-value for the cut-offs that were tried: the improved Bonferroni bound for neighbouring ones.

        It may exceed 1 where the statistic is small, as in R.

        References:
            Lausen, Sauerbrei, Schumacher. In: Dirschedl, Ostermann (eds). Computational Statistics 1994:483-496.
        """
        b = self.statistic
        fewer, more = self.n_low[:-1].astype(float), self.n_low[1:].astype(float)
        apart = np.sqrt(1 - fewer * (self.n - more) / ((self.n - fewer) * more))
        crossings = exp(-(b**2) / 2) / pi * (apart - (b**2 / 4 - 1) * apart**3 / 6).sum()
        return float(2 * norm.sf(b) + crossings)


def maxstat(time: ArrayLike, event: ArrayLike, score: ArrayLike, minprop: float) -> MaximallySelected:
    """Find the cut-off at which survival of the two groups differs the most, by log-rank scores.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        score: Higher = event more likely, shape (n,).
        minprop: Smallest share of patients in either group, above 0 and below 0.5; 0.1 in R's survminer.

    Returns:
        The cut-off and all that were tried, as R's ``maxstat.test(smethod = "LogRank")``; of equals, the lowest.

    Raises:
        ValueError: If nobody had the event, or if no cut leaves enough patients on both sides.

    References:
        Hothorn, Lausen. Comput Stat Data Anal 2003;43:121-137 (scores and statistic).
    """
    scores, weight = _logrank_scores(time, event, score)
    n_low, highest_low = _candidates(scores, minprop)
    statistics = _standardised(weight[np.argsort(scores, kind="stable")].cumsum()[n_low - 1], n_low, weight)
    best = int(np.argmax(statistics))
    lowest_high = scores[scores > highest_low[best]].min()
    return MaximallySelected(
        cutoff=Cutoff(between(float(highest_low[best]), float(lowest_high)), "maxstat"),
        statistic=float(statistics[best]),
        highest_low=highest_low,
        n_low=n_low,
        statistics=statistics,
        n=scores.size,
        minprop=minprop,
    )


def p_hothorn_lausen(time: ArrayLike, event: ArrayLike, score: ArrayLike, minprop: float) -> float:
    """Return the p-value of ``maxstat`` by the conditional distribution at each cut-off.

    The log-rank scores are shifted and rounded to whole numbers from 0 to n, the statistic is taken anew from these,
    and the exact distribution of their sum over any number of patients is counted out. What is already extreme with
    one patient fewer, whoever is added, is counted once. As in R's ``maxstat`` this is taken off even where one patient
    fewer is no cut-off that was tried (tied scores), so the p-value is then approximate. R returns NaN beyond 170
    patients because its factorials overflow; the same is computed here.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        score: Higher = event more likely, shape (n,).
        minprop: Smallest share of patients in either group.

    Raises:
        ValueError: Also for more patients than the distribution can be counted out for (about 300).

    References:
        Hothorn, Lausen. Comput Stat Data Anal 2003;43:121-137. Streitberg, Roehmel. Stat Software Newsletter
        1986;12:10-17.
    """
    scores, weight = _logrank_scores(time, event, score)
    n_low, _ = _candidates(scores, minprop)
    n = scores.size
    whole = np.rint((weight - weight.min()) * n / np.ptp(weight))
    total = int(whole.sum())
    if (n + 1) * (total + 1) > _MOST_ENTRIES:
        raise ValueError(f"the exact distribution is too large for {n} patients: use p_lausen94")
    statistic = _standardised(whole[np.argsort(scores, kind="stable")].cumsum()[n_low - 1], n_low, whole).max()

    size = np.arange(1, n)
    ways = _ways_to_sum(whole.astype(int))[1:n]
    sums = np.arange(total + 1, dtype=float)
    expected = size / n * total
    largest = int(whole.max())
    counted = np.zeros(n - 1)
    before = np.zeros(total + 1)
    for row in range(n - 1):
        away = np.where(ways[row] > 0, _standardised(sums, size[row], whole), 0.0)
        if row >= n_low.min():
            low, high = np.flatnonzero(before[: total + 1 - largest]), np.flatnonzero(before)
            low, high = low[low < expected[row - 1]], high[high > expected[row - 1]]
            counted[row] -= before[low[away[low + largest] > statistic]].sum() / _choose(n, size[row - 1])
            counted[row] -= before[high[away[high] > statistic]].sum() / _choose(n, size[row - 1])
        before = np.where(away > statistic, ways[row], 0.0)
        counted[row] += before.sum() / _choose(n, size[row])
    return float(min(1.0, counted[n_low - 1].sum()))


def _logrank_scores(time: ArrayLike, event: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    """Return the scores and each patient's log-rank score: his event less the hazard he has lived through."""
    times, happened, scores = checked_follow_up(time, event, score)
    if not happened.any():
        raise ValueError(f"a maximally selected log-rank statistic needs an event: 0 of {times.size} had it")
    up_to = np.searchsorted(np.sort(times), times, side="right")  # patients seen no longer than each
    order = np.argsort(times, kind="stable")
    hazard = np.cumsum((happened / (times.size - up_to + 1))[order])
    weight = happened - hazard[up_to - 1]
    if np.ptp(weight) <= 1e-12:
        raise ValueError("a maximally selected log-rank statistic needs follow-ups that differ, but all are alike")
    return scores, weight


def _candidates(score: Floats, minprop: float) -> tuple[NDArray[np.int64], Floats]:
    if not 0 < minprop < 0.5:
        raise ValueError(f"minprop must lie above 0 and below 0.5, got {minprop}")
    distinct, count = np.unique(score, return_counts=True)
    n_low = np.cumsum(count)[:-1]
    fewest, most = np.floor(score.size * minprop), np.floor(score.size * (1 - minprop))
    allowed = (n_low >= fewest) & (n_low <= most)
    if not allowed.any():
        raise ValueError(
            f"no cut-off leaves a share of {minprop:g} of {score.size} patients on both sides: "
            f"there are {distinct.size} distinct scores"
        )
    return n_low[allowed], distinct[:-1][allowed]


def _standardised(total: Floats, size: NDArray[np.int64], weight: Floats) -> Floats:
    """Return how far a sum over ``size`` patients is from what chance expects, in standard deviations."""
    n = weight.size
    expected = size / n * weight.sum()
    variance = size * (n - size) / (n**2 * (n - 1)) * (n * (weight**2).sum() - weight.sum() ** 2)
    return np.abs((total - expected) / np.sqrt(variance))


def _ways_to_sum(weight: NDArray[np.int64]) -> Floats:
    """Count the sets of each size (rows) whose weights have each sum (columns)."""
    ways = np.zeros((weight.size + 1, weight.sum() + 1))
    ways[0, 0] = 1
    reached = 0
    for many, one in enumerate(np.sort(weight)):  # small ones first keep the sums reached small
        ways[1 : many + 2, one : reached + one + 1] += ways[: many + 1, : reached + 1]
        reached += one
    return ways


def _choose(n: int, size: int) -> float:
    return exp(gammaln(n + 1) - gammaln(size + 1) - gammaln(n - size + 1))
