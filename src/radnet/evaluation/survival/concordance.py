"""How often the patient with the higher score has the event first: Harrell's and Uno's C, their errors, differences."""

from dataclasses import dataclass
from math import inf, nan
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radnet.evaluation.discrimination import Estimate, Floats, Weighted, WithinFolds, mean_within_folds
from radnet.evaluation.normal import normal_estimate
from radnet.evaluation.survival.follow_up import checked_follow_up, checked_times
from radnet.evaluation.survival.leaving import staying


@dataclass(frozen=True, slots=True)
class Pairs:
    """How many pairs of patients were ordered rightly, wrongly, or not at all; of all n (n - 1) / 2.

    Attributes:
        concordant: The higher score had the event first.
        discordant: The lower score had the event first.
        tied_score: One had the event first, but their scores are equal; counted as one half.
        tied_time: Both had the event at one time, with different scores; not judged.
        tied_both: Both had the event at one time, with equal scores; not judged.
    """

    concordant: int
    discordant: int
    tied_score: int
    tied_time: int
    tied_both: int


@dataclass(frozen=True, slots=True)
class Concordance:
    """A C-index, and how much each patient moves it.

    Attributes:
        value: The share of judged pairs ordered rightly, from 0 to 1.
        influence: Derivative of ``value`` by the weight of each patient, in the order given, shape (n,).
    """

    value: float
    influence: Floats

    @property
    def standard_error(self) -> float:
        """Standard error by the infinitesimal jackknife; for Uno's C the weights are taken as known."""
        return float(np.sqrt(np.sum(self.influence**2)))

    def interval(self, level: float) -> Estimate:
        """Return C with its normal interval, cut at 0 and 1, and the two-sided p-value against 0.5."""
        return normal_estimate(self.value, self.standard_error, level, null=0.5, within=(0.0, 1.0))


def harrell(time: ArrayLike, event: ArrayLike, score: ArrayLike) -> Concordance:
    """Estimate Harrell's C and its error, as R's survival::concordance does.

    A pair is known when the shorter follow-up ended with the event; one who left at that very time outlived it.
    Equal scores count one half; two events at one time are no pair.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        score: Higher = event sooner, shape (n,); complete and finite.

    Raises:
        ValueError: If no pair's order is known.

    References:
        Harrell, Lee, Mark. Stat Med 1996;15:361-387. Therneau, Watson. R package survival, vignette "concordance".
    """
    times, happened, scores = checked_follow_up(time, event, score)
    return _concordance(times, happened, scores, happened.astype(float))


def uno(
    time: ArrayLike, event: ArrayLike, score: ArrayLike, tau: float = inf, *, as_in: Literal["survival", "survC1"]
) -> Concordance:
    """Estimate Uno's C: as Harrell's, but each event stands for those who left before it as well.

    An event at t weighs 1 / G(t-)², where G is the probability of not having left. Early leaving, which makes
    Harrell's C depend on how long a study lasted, then does not matter.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        score: Higher = event sooner, shape (n,); complete and finite.
        tau: Events count up to here; a value beyond the last event changes nothing.
        as_in: What tied times mean. ``survival`` (timewt "n/G2"): those with the event are gone when others leave at
            that time, whom they have outlived; an event at ``tau`` counts. ``survC1``: neither, and events count
            before ``tau`` only. Without ties, and with ``tau`` at no event, they agree.

    Raises:
        ValueError: If no pair's order is known by ``tau``.

    References:
        Uno, Cai, Pencina, D'Agostino, Wei. Stat Med 2011;30:1105-1117, eq. 6.
    """
    if as_in not in ("survival", "survC1"):
        raise ValueError(f"Uno's C is computed as in survival or survC1, got {as_in!r}")
    if not tau > 0:
        raise ValueError(f"tau must be above 0, got {tau}")
    times, happened, scores = checked_follow_up(time, event, score)
    newer = as_in == "survival"
    counted = happened & ((times <= tau) if newer else (times < tau))
    weight = counted / staying(times, happened, events_leave_first=newer).before_own ** 2
    return _concordance(times, happened, scores, weight, leaving_outlives=newer)


def compare_concordance(one: Concordance, versus: Concordance, level: float) -> Estimate:
    """Return the difference of two scores' C on the same patients in the same order, its interval and p-value.

    References:
        Therneau, Watson. R package survival, vignette "concordance", section on multiple models.
    """
    if one.influence.shape != versus.influence.shape:
        raise ValueError(f"both C must be of the same patients, got {one.influence.size} and {versus.influence.size}")
    error = float(np.sqrt(np.sum((one.influence - versus.influence) ** 2)))
    return normal_estimate(one.value - versus.value, error, level, null=0.0)


def count_pairs(time: ArrayLike, event: ArrayLike, score: ArrayLike) -> Pairs:
    """Count the pairs behind Harrell's C."""
    times, happened, scores = checked_follow_up(time, event, score)
    concordant = discordant = tied_score = tied_time = tied_both = 0
    for case in _blocks(np.flatnonzero(happened), times.size):
        outlived = _outlived(times, happened, case)
        lead = np.sign(scores[case, None] - scores)
        together = (times == times[case, None]) & happened
        concordant += int(np.sum(outlived & (lead > 0)))
        discordant += int(np.sum(outlived & (lead < 0)))
        tied_score += int(np.sum(outlived & (lead == 0)))
        tied_time += int(np.sum(together & (lead != 0)))
        tied_both += int(np.sum(together & (lead == 0))) - case.size
    return Pairs(concordant, discordant, tied_score, tied_time // 2, tied_both // 2)


def concordance(time: ArrayLike, event: ArrayLike, score: ArrayLike) -> float:
    """Return Harrell's C alone, as ``harrell`` does."""
    return harrell(time, event, score).value


def concordance_within_folds(
    time: ArrayLike,
    event: ArrayLike,
    score: ArrayLike,
    fold: ArrayLike,
    patient: ArrayLike,
    *,
    resamples: int,
    seed: int,
    level: float,
) -> WithinFolds:
    """Average Harrell's C over folds, with percentiles over patients drawn within their fold.

    A frozen model is one fold. Folds without a pair whose order is known are skipped. Where patients stand in several
    folds they are drawn from all, once for all folds. The pairs are counted here rather than by lifelines because
    thousands of resamples reuse one count.

    Raises:
        ValueError: If no fold has a pair whose order is known.
    """
    times, happened = checked_times(time, event)
    scores = np.asarray(score, dtype=float)

    def in_fold(rows: NDArray[np.intp]) -> Weighted | None:
        statistic = weighted_concordance(times[rows], happened[rows], scores[rows])
        return None if np.isnan(statistic(np.ones((1, rows.size)))[0]) else statistic

    everyone = np.zeros(times.size, dtype=int)
    return mean_within_folds(
        in_fold,
        "a pair of patients whose order is known",
        everyone,
        fold,
        patient,
        resamples=resamples,
        seed=seed,
        level=level,
    )


def _concordance(
    time: Floats, event: NDArray[np.bool_], score: Floats, weight: Floats, leaving_outlives: bool = True
) -> Concordance:
    """Return C where a pair weighs what its event weighs, with the derivative of C by each patient's weight."""
    known = np.column_stack([time, ~event & leaving_outlives])  # whoever stands later here outlived an event
    end = np.unique(known, axis=0, return_inverse=True)[1].ravel()
    as_case = weight * (end.size - np.bincount(end).cumsum())[end]
    as_other = np.concatenate([[0.0], np.bincount(end, weights=weight).cumsum()])[end]
    pairs = as_case.sum()
    if pairs == 0:
        counted = f"{(weight > 0).sum()} of {time.size} had the event"
        raise ValueError(f"a C-index needs a pair whose order is known; {counted}")
    won_as_case, won_as_other = _won(end, score, weight)
    value = won_as_case.sum() / pairs
    return Concordance(float(value), (won_as_case + won_as_other - value * (as_case + as_other)) / pairs)


def _won(end: NDArray[np.intp], score: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Return the weight of the rightly ordered pairs in which each patient ends first, and in which he ends later.

    Two ends that differ do so at one highest binary digit. Digit by digit, patients who share all higher ones are
    sorted by score, and sums along them meet every pair once, in O(n log² n) rather than O(n²).
    """
    distinct, rank = np.unique(score, return_inverse=True)
    lower, won_as_other = np.zeros(end.size), np.zeros(end.size)
    for digit in range(int(end.max()).bit_length()):
        keys, place = np.unique((end >> (digit + 1)) * distinct.size + rank, return_inverse=True)
        block, later = keys // distinct.size, (end >> digit) & 1 == 1
        below, _ = _beside(block, place, later.astype(float))
        _, above = _beside(block, place, np.where(later, 0.0, weight))
        lower += np.where(later, 0.0, below)
        won_as_other += np.where(later, above, 0.0)
    return weight * lower, won_as_other


def _beside(block: NDArray[np.intp], place: NDArray[np.intp], amount: Floats) -> tuple[Floats, Floats]:
    """Return how much lies before and after each one's place in its block; what lies there counts one half in both."""
    summed = np.concatenate([[0.0], np.bincount(place, weights=amount).cumsum()])
    middle = (summed[:-1] + summed[1:]) / 2
    first, last = (np.searchsorted(block, block, side=side) for side in ("left", "right"))
    return (middle - summed[first])[place], (summed[last] - middle)[place]


def _outlived(time: Floats, event: NDArray[np.bool_], case: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Mark who was event-free when each case had the event, shape (cases, n)."""
    own = time[case, None]
    return (time > own) | ((time == own) & ~event)


def _blocks(cases: NDArray[np.intp], patients: int) -> list[NDArray[np.intp]]:
    """Cut the cases into blocks whose pairs with everybody fit in a few tens of megabytes."""
    width = max(1, 4_000_000 // patients)
    return [cases[start : start + width] for start in range(0, cases.size, width)]


def weighted_concordance(time: Floats, event: NDArray[np.bool_], score: Floats) -> Weighted:
    """Return Harrell's C of resampled patients; NaN where a resample has no pair whose order is known."""
    blocks = _blocks(np.flatnonzero(event), time.size)

    def c_index(weight: Floats) -> Floats:
        known, won = np.zeros(weight.shape[0]), np.zeros(weight.shape[0])
        times_drawn = weight.astype(np.float32)  # counts and their halves are exact in single precision, and faster
        for case in blocks:
            outlived = _outlived(time, event, case).astype(np.float32)
            lead = (np.sign(score[case, None] - score) + 1).astype(np.float32) / 2
            known += np.einsum("ij,ij->i", weight[:, case], times_drawn @ outlived.T)
            won += np.einsum("ij,ij->i", weight[:, case], times_drawn @ (outlived * lead).T)
        return np.divide(won, known, out=np.full(known.shape, nan), where=known > 0)

    return c_index
