"""Whether a new probability of the event by a horizon moves censored patients the right way."""

from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radnet.evaluation.discrimination import Estimate, Floats
from radnet.evaluation.reclassification.binary import (
    Improvement,
    Reclassification,
    refuse_unless_probability,
    risk_group,
)
from radnet.evaluation.survival.follow_up import checked_follow_up

Shares = Callable[[Floats], Floats]
"""How often each patient was drawn, shape (B, n), to the quantities of each resample, shape (B, Q)."""


def idi_at(
    time: ArrayLike,
    event: ArrayLike,
    probability: ArrayLike,
    versus: ArrayLike,
    horizon: float,
    *,
    resamples: int,
    seed: int,
    level: float,
) -> Improvement:
    """Estimate the integrated discrimination improvement of probabilities of the event by ``horizon``.

    Patients with the event before the horizon are weighted by the inverse probability of still being followed then
    (Fleming and Harrington's estimate), as in R's survIDINRI, yet without its grid of 2000 points: its value differs by
    about 0.001. One who is followed up to the horizon has not had the event. Intervals are percentiles over patients
    drawn anew with their probabilities as they stand (survIDINRI refits its Cox models instead). A p-value inverts the
    interval: it is 1 minus the coverage of the one that ends at 0, and no less than 1 / (resamples + 1).

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        probability: New probability of the event by the horizon, shape (n,).
        versus: Old probability of the event by the horizon, shape (n,).
        horizon: In the unit of ``time``; someone must have had the event before, and someone be followed up to it.
        resamples: Bootstrap resamples of patients.
        seed: Seed of the draws.
        level: Coverage of the intervals.

    References:
        Uno, Tian, Cai, Kohane, Wei. Stat Med 2013;32:2430-2442.
    """
    followed, new, old = _checked(time, event, probability, versus, horizon)
    change = new - old
    before, rest = followed.event & (followed.time < horizon), followed.time >= horizon
    _refuse_empty(before, rest, horizon)

    def parts(weight: Floats) -> Floats:
        cases = followed.case_weight(weight, before, "uno")
        return np.stack([_mean(cases, change), -_mean(weight * rest, change)], axis=1)

    drawn = _drawn(parts, followed.time.size, resamples, seed)
    return Improvement(*_estimates(_of_everybody(parts, followed), drawn, level))


def nri_continuous_at(
    time: ArrayLike,
    event: ArrayLike,
    probability: ArrayLike,
    versus: ArrayLike,
    horizon: float,
    method: Literal["km", "ipw", "uno"],
    *,
    resamples: int,
    seed: int,
    level: float,
    min_change: float = 0.0,
) -> Reclassification:
    """Estimate the net reclassification improvement without categories of probabilities by ``horizon``.

    A patient moves when his probability changes by more than ``min_change``.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        probability: New probability of the event by the horizon, shape (n,).
        versus: Old probability of the event by the horizon, shape (n,).
        horizon: In the unit of ``time``.
        method: ``km`` uses the survival of those who move up and down, ``ipw`` weights patients by the Kaplan-Meier
            estimate of still being followed, both as R's nricens; ``uno`` weights them as R's survIDINRI, whose NRI is
            half the total here where every patient moves.
        resamples: Bootstrap resamples of patients; intervals and p-values are those of ``idi_at``.
        seed: Seed of the draws.
        level: Coverage of the intervals.
        min_change: From 0 up to 1.

    References:
        Pencina, D'Agostino, Steyerberg. Stat Med 2011;30:11-21 (km). Uno, Tian, Cai, Kohane, Wei. Stat Med
        2013;32:2430-2442 (ipw, uno).
    """
    followed, new, old = _checked(time, event, probability, versus, horizon)
    if not 0 <= min_change < 1:
        raise ValueError(f"min_change must be 0 or more and below 1, got {min_change}")
    up, down = new - old > min_change, old - new > min_change
    return _net_moves(followed, up, down, horizon, method, resamples=resamples, seed=seed, level=level)


def nri_categorical_at(
    time: ArrayLike,
    event: ArrayLike,
    probability: ArrayLike,
    versus: ArrayLike,
    cuts: ArrayLike,
    horizon: float,
    method: Literal["km", "ipw", "uno"],
    *,
    resamples: int,
    seed: int,
    level: float,
) -> Reclassification:
    """Estimate the net reclassification improvement across risk groups; arguments as in ``nri_continuous_at``.

    ``cuts`` are the rising bounds between risk groups; a probability at a cut is in the higher group.
    """
    followed, new, old = _checked(time, event, probability, versus, horizon)
    now, once = risk_group(new, cuts), risk_group(old, cuts)
    return _net_moves(followed, now > once, now < once, horizon, method, resamples=resamples, seed=seed, level=level)


@dataclass(frozen=True, slots=True)
class _Followed:
    """Patients in the order of their follow-up; ``starts`` is where each distinct time begins, ``place`` its number."""

    time: Floats
    event: NDArray[np.bool_]
    starts: NDArray[np.int64]
    place: NDArray[np.int64]

    def hazard(self, weight: Floats, ended: NDArray[np.bool_]) -> Floats:
        """Return the share of those at risk whose follow-up ended so, at each distinct time, shape (B, T)."""
        at_risk = weight[:, ::-1].cumsum(axis=1)[:, ::-1][:, self.starts]
        ends = np.add.reduceat(weight * ended, self.starts, axis=1)
        return np.divide(ends, at_risk, out=np.zeros(ends.shape), where=at_risk > 0)

    def survival(self, weight: Floats, horizon: float) -> Floats:
        """Return the Kaplan-Meier probability of no event up to the horizon, shape (B,)."""
        past = self.time[self.starts] <= horizon
        return np.prod(1 - self.hazard(weight, self.event)[:, past], axis=1)

    def case_weight(self, weight: Floats, case: NDArray[np.bool_], method: Literal["ipw", "uno"]) -> Floats:
        """Weight the cases by the inverse probability of still being followed at their time, shape (B, n)."""
        lost = self.hazard(weight, ~self.event)
        followed = np.cumprod(1 - lost, axis=1) if method == "ipw" else np.exp(-np.cumsum(lost, axis=1))
        out = np.zeros(weight.shape)
        return np.divide(weight * case, followed[:, self.place], out=out, where=case & (followed[:, self.place] > 0))


def _checked(
    time: ArrayLike, event: ArrayLike, probability: ArrayLike, versus: ArrayLike, horizon: float
) -> tuple[_Followed, Floats, Floats]:
    times, happened, new = checked_follow_up(time, event, probability)
    _, _, old = checked_follow_up(time, event, versus)
    if not horizon > 0:
        raise ValueError(f"a horizon must be longer than 0, got {horizon}")
    refuse_unless_probability(new)
    refuse_unless_probability(old)
    order = np.argsort(times, kind="stable")
    _, starts, place = np.unique(times[order], return_index=True, return_inverse=True)
    return _Followed(times[order], happened[order], starts, place), new[order], old[order]


def _refuse_empty(case: NDArray[np.bool_], rest: NDArray[np.bool_], horizon: float) -> None:
    if not case.any() or not rest.any():
        raise ValueError(
            f"needs patients with the event by the horizon {horizon:g} and patients followed beyond it: "
            f"{case.sum()} and {rest.sum()} of {case.size} are"
        )


def _net_moves(
    followed: _Followed,
    up: NDArray[np.bool_],
    down: NDArray[np.bool_],
    horizon: float,
    method: Literal["km", "ipw", "uno"],
    *,
    resamples: int,
    seed: int,
    level: float,
) -> Reclassification:
    # each R package has its own rule for who is a case at the very horizon
    if method == "uno":
        case, rest = followed.event & (followed.time < horizon), followed.time >= horizon
    else:
        case, rest = followed.event & (followed.time <= horizon), followed.time > horizon
    _refuse_empty(case, rest, horizon)

    def weighted(weight: Floats) -> Floats:
        cases, others = followed.case_weight(weight, case, "uno" if method == "uno" else "ipw"), weight * rest
        return np.stack([_mean(cases, up), _mean(cases, down), _mean(others, up), _mean(others, down)], axis=1)

    def by_survival(weight: Floats) -> Floats:
        free = followed.survival(weight, horizon)
        share_up, share_down = weight @ up / weight.sum(axis=1), weight @ down / weight.sum(axis=1)
        free_up = share_up * followed.survival(weight * up, horizon)
        free_down = share_down * followed.survival(weight * down, horizon)
        moved_with_event = [_divide(one, 1 - free) for one in (share_up - free_up, share_down - free_down)]
        return np.stack([*moved_with_event, _divide(free_up, free), _divide(free_down, free)], axis=1)

    if method not in ("km", "ipw", "uno"):
        raise ValueError(f"method must be km, ipw or uno, got {method!r}")
    shares = by_survival if method == "km" else weighted

    def parts(weight: Floats) -> Floats:
        up_event, down_event, up_rest, down_rest = shares(weight).T
        return np.stack([up_event - down_event, down_rest - up_rest], axis=1)

    gains = _estimates(_of_everybody(parts, followed), _drawn(parts, followed.time.size, resamples, seed), level)
    return Reclassification(*gains, *(float(one) for one in _of_everybody(shares, followed)))


def _of_everybody(quantities: Shares, followed: _Followed) -> Floats:
    return quantities(np.ones((1, followed.time.size)))[0]


def _drawn(quantities: Shares, size: int, resamples: int, seed: int) -> Floats:
    """Return the quantities of patients drawn with replacement, shape (resamples that have them, Q)."""
    rng = np.random.default_rng(seed)
    block = max(1, 1_000_000 // size)
    values = [
        quantities(rng.multinomial(size, np.full(size, 1 / size), size=min(block, resamples - start)).astype(float))
        for start in range(0, resamples, block)
    ]
    drawn = np.concatenate(values)
    return drawn[np.isfinite(drawn).all(axis=1)]


def _estimates(value: Floats, drawn: Floats, level: float) -> tuple[Estimate, Estimate, Estimate]:
    event, nonevent = (_by_percentiles(float(value[part]), drawn[:, part], level) for part in (0, 1))
    return _by_percentiles(float(value.sum()), drawn.sum(axis=1), level), event, nonevent


def _by_percentiles(value: float, drawn: Floats, level: float) -> Estimate:
    if drawn.size == 0:
        return Estimate(value, nan, nan)
    tail = round((1 - level) / 2, 12)  # 0.025 of 0.95, so that a draw at that very place is the bound
    lower, upper = np.quantile(drawn, [tail, 1 - tail])
    p_value = 2 * min(_share_up_to_0(drawn), _share_up_to_0(-drawn))
    return Estimate(value, float(lower), float(upper), min(1.0, max(p_value, 1 / (drawn.size + 1))))


def _share_up_to_0(drawn: Floats) -> float:
    """Return the largest share whose quantile, interpolated as np.quantile does, is not above 0."""
    ordered = np.sort(drawn)
    place = int(np.searchsorted(ordered, 0.0, side="right"))
    if place in (0, drawn.size):
        return float(place > 0)
    before, after = ordered[place - 1 : place + 1]
    return float((place - 1 + before / (before - after)) / (drawn.size - 1))


def _mean(weight: Floats, values: ArrayLike) -> Floats:
    return _divide(weight @ np.asarray(values, dtype=float), weight.sum(axis=1))


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full(numerator.shape, nan), where=denominator > 0)
