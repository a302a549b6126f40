"""How much a number that should say nothing about the outcome says about it: AUC or C-index, and a p-value."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

from radnet.evaluation.outcomes import Outcomes

Floats = NDArray[np.float64]

_PERMUTATIONS = 1999


@dataclass(frozen=True, slots=True)
class Association:
    """AUC (C-index where there is follow-up), 0.5 = says nothing, and a two-sided p-value."""

    value: float
    p_value: float


def association(outcomes: Outcomes, number: ArrayLike) -> Association:
    """Tell how far a number sorts patients by outcome.

    The p-value is that of the linear rank statistic, the sum of the number's midranks times the patients' excess of
    events, with its exact mean and variance under permutation and a normal tail: the Mann-Whitney test with its
    correction for ties or, with follow-up, a rank form of the log-rank test.

    Args:
        outcomes: Of n patients.
        number: One for each of them, none missing; higher values may go with the event or without.

    Returns:
        0.5 and p = 1 where nothing can be told apart: one outcome, or one number, for all.
    """
    number = np.asarray(number, dtype=float)
    excess, rank = outcomes.excess(), rankdata(number)
    rank = rank - rank.mean()
    variance = np.sum(rank**2) * np.sum(excess**2) / max(len(rank) - 1, 1)
    if variance <= 0:
        return Association(0.5, 1.0)
    try:
        value = outcomes.discrimination(number)
    except ValueError:  # with follow-up: the order of no pair of patients is known
        return Association(0.5, 1.0)
    z = float(rank @ excess) / sqrt(variance)
    return Association(value, float(2 * norm.sf(abs(z))))


def group_association(outcomes: Outcomes, group: ArrayLike, seed: int = 0) -> Association:
    """Tell how far groups of patients, such as centres, sort them by outcome.

    The value is the share of pairs with different outcomes of which the one with the event is of the group with more
    events, both groups judged without the pair itself; a pair of one group counts one half. So groups that say nothing
    come out at 0.5, where judging them with the pair flatters them and leaving one patient out punishes them. The
    p-value is that of Pearson's chi-square (with follow-up, of its likeness on the excess of events), by 1,999 random
    permutations of the outcomes: centres are often too small for the table.

    Args:
        outcomes: Of n patients.
        group: Name of each one's group.
        seed: Of the permutations.

    References:
        Airola et al., Computational Statistics & Data Analysis 2011;55:1828-1844 (leave-pair-out).
    """
    names, place = np.unique(np.asarray(group), return_inverse=True)
    excess = outcomes.excess()
    if len(names) < 2 or np.ptp(excess) == 0:
        return Association(0.5, 1.0)
    size = np.bincount(place)

    def spread(of: Floats) -> float:
        return float(np.sum(np.bincount(place, weights=of) ** 2 / size))

    rng = np.random.default_rng([seed, len(place)])
    observed = spread(excess) - 1e-9  # sums in another order differ in their last digits
    reached = sum(spread(rng.permutation(excess)) >= observed for _ in range(_PERMUTATIONS))
    return Association(_left_pair_out(outcomes, place, excess), (1 + reached) / (1 + _PERMUTATIONS))


def _left_pair_out(outcomes: Outcomes, place: NDArray[np.intp], excess: Floats) -> float:
    others = np.bincount(place)[place] - 1
    without_self = np.bincount(place, weights=excess)[place] - excess
    score = np.divide(without_self, others, out=np.full(len(place), np.nan), where=others > 0)
    right, pairs = 0.0, 0.0
    for one in np.flatnonzero(outcomes.event):
        later = outcomes.time > outcomes.time[one]
        left_then = (outcomes.time == outcomes.time[one]) & ~outcomes.event
        known = later | left_then if outcomes.followed else ~outcomes.event
        ahead = score[one] - score[known]
        tied = (place[known] == place[one]) | ~(np.abs(ahead) > 1e-12)  # a group of one says nothing without its one
        right += float(np.sum((ahead > 0) & ~tied) + 0.5 * np.sum(tied))
        pairs += float(np.sum(known))
    return right / pairs if pairs else 0.5
