"""How far predicted probabilities lie from what happened by a time: the Brier score, weighted for those who left."""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radnet.evaluation.discrimination import Estimate, Floats
from radnet.evaluation.normal import error_of_mean, normal_estimate
from radnet.evaluation.survival.follow_up import Horizon, checked_follow_up, reachable
from radnet.evaluation.survival.kaplan_meier import kaplan_meier
from radnet.evaluation.survival.leaving import influence_of_leaving, staying


@dataclass(frozen=True, slots=True)
class BrierAtTime:
    """The Brier score at a time; 0 is perfect.

    Attributes:
        value: Mean squared distance of probability and outcome.
        reference: The same when everybody is given the Kaplan-Meier probability of all.
        influence: How each patient moves ``value``, in the order given, shape (n,).
        horizon: The time, and a note where it is not the one asked for.
    """

    value: float
    reference: float
    influence: Floats
    horizon: Horizon

    @property
    def standard_error(self) -> float:
        """Standard error, from the spread of ``influence``; it counts that the weights are estimated."""
        return error_of_mean(self.influence)

    @property
    def scaled(self) -> float:
        """Share of the reference's error that is gone: 1 is perfect, 0 no better; NaN where all had one outcome."""
        return 1 - self.value / self.reference if self.reference > 0 else nan

    def interval(self, level: float) -> Estimate:
        """Return the score with its normal interval, cut at 0 and 1, as R's riskRegression does."""
        return normal_estimate(self.value, self.standard_error, level, within=(0.0, 1.0))


@dataclass(frozen=True, slots=True)
class IntegratedBrier:
    """The mean Brier score over a span of times.

    Attributes:
        value: The mean.
        reference: The same when everybody is given the Kaplan-Meier probability of all.
        influence: How each patient moves ``value``, in the order given, shape (n,).
        first: Start of the span.
        last: End of it.
        note: Which times lie beyond follow-up and are left out; else empty.
    """

    value: float
    reference: float
    influence: Floats
    first: float
    last: float
    note: str

    @property
    def scaled(self) -> float:
        """Share of the reference's error that is gone; NaN where all had one outcome throughout."""
        return 1 - self.value / self.reference if self.reference > 0 else nan

    def interval(self, level: float) -> Estimate:
        """Return the mean with its normal interval, cut at 0 and 1, from the spread of ``influence``."""
        return normal_estimate(self.value, error_of_mean(self.influence), level, within=(0.0, 1.0))


def brier_at_time(time: ArrayLike, event: ArrayLike, probability: ArrayLike, horizon: float) -> BrierAtTime:
    """Estimate the Brier score at a time, weighting by the inverse probability of not having left.

    One who had the event by the horizon, at it included, weighs 1 / G(t-), one followed beyond it 1 / G(horizon).

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        probability: Predicted probability of the event by the horizon, shape (n,).
        horizon: The time; cut to the last one beyond which somebody is followed. The note then says so, and the
            probabilities, made for a later time, are judged too early.

    Raises:
        ValueError: If a probability lies outside [0, 1].

    References:
        Graf, Schmoor, Sauerbrei, Schumacher. Stat Med 1999;18:2529-2545. R package riskRegression, Score.
    """
    times, happened, chances = _checked(time, event, probability)
    until = reachable(times, horizon)
    weight = _weights(times, happened, until.time)
    by_then = happened & (times <= until.time)
    error = weight * (by_then - chances) ** 2
    value = float(error.mean())
    influence = error - value
    influence += influence_of_leaving(times, happened, error / times.size, until.time, row_by_row=False)
    return BrierAtTime(value, _reference(times, happened, weight, by_then, until.time), influence, until)


def integrated_brier(time: ArrayLike, event: ArrayLike, probability: ArrayLike, horizons: ArrayLike) -> IntegratedBrier:
    """Average the Brier score over time: its integral by trapezoids, divided by the span, as scikit-survival does.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        probability: Predicted probability of the event by each horizon, shape (n, H).
        horizons: Two times or more, rising, shape (H,). Those beyond which nobody is followed are left out, and the
            note says so.

    Raises:
        ValueError: If fewer than two horizons lie within follow-up, or a probability outside [0, 1].

    References:
        Graf, Schmoor, Sauerbrei, Schumacher. Stat Med 1999;18:2529-2545, section 4.
    """
    at = np.asarray(horizons, dtype=float)
    if at.ndim != 1 or not (np.isfinite(at).all() and (at > 0).all() and (np.diff(at) > 0).all()):
        raise ValueError(f"horizons must be numbers above 0 that rise, got {at.tolist()}")
    chances = np.asarray(probability, dtype=float)
    if chances.ndim != 2 or chances.shape[1] != at.size:
        raise ValueError(f"probability must be patients × {at.size} horizons, got {chances.shape}")
    times = np.asarray(time, dtype=float)
    inside = at < times.max()
    if inside.sum() < 2:
        raise ValueError(f"{inside.sum()} of {at.size} horizons lie within follow-up, which is two or more to average")
    scores = [brier_at_time(times, event, chances[:, place], float(at[place])) for place in np.flatnonzero(inside)]
    kept = at[inside]
    span = kept[-1] - kept[0]
    beyond = ", ".join(f"{one:g}" for one in at[~inside])
    return IntegratedBrier(
        float(np.trapezoid([score.value for score in scores], kept) / span),
        float(np.trapezoid([score.reference for score in scores], kept) / span),
        np.trapezoid([score.influence for score in scores], kept, axis=0) / span,
        float(kept[0]),
        float(kept[-1]),
        f"nobody is followed beyond {beyond}: left out" if beyond else "",
    )


def _checked(time: ArrayLike, event: ArrayLike, probability: ArrayLike) -> tuple[Floats, NDArray[np.bool_], Floats]:
    times, happened, chances = checked_follow_up(time, event, probability)
    outside = (chances < 0) | (chances > 1)
    if outside.any():
        raise ValueError(f"a probability lies between 0 and 1, but {outside.sum()} of {chances.size} do not")
    return times, happened, chances


def _weights(time: Floats, event: NDArray[np.bool_], horizon: float) -> Floats:
    stays = staying(time, event, events_leave_first=True)
    return np.where(
        time > horizon, 1 / stays.at(horizon), np.where(event & (time <= horizon), 1 / stays.before_own, 0.0)
    )


def _reference(
    time: Floats, event: NDArray[np.bool_], weight: Floats, by_then: NDArray[np.bool_], horizon: float
) -> float:
    everyone = 1 - kaplan_meier(time, event, level=0.95).at(horizon).value
    return float(np.mean(weight * (by_then - everyone) ** 2))
