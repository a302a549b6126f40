"""What probability a score stands for, learned from scores of patients a model has not learned from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from radnet.models.cox import univariable_cox
from radnet.models.penalty_path import Floats

_FEWEST_OF_A_CLASS = 2


@dataclass(frozen=True, slots=True)
class LogisticCalibration:
    """The log odds of the event are ``slope`` times the score plus ``intercept``."""

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        _refuse_slope(self.slope)
        if not isfinite(self.intercept):
            raise ValueError(f"the intercept of a calibration must be a number, got {self.intercept}")

    def probability(self, score: ArrayLike, at: float | None = None) -> Floats:
        """Return the probability of the event, shape (n,) as ``score``; a time is refused, for it would say nothing."""
        if at is not None:
            raise ValueError(f"a probability at the time {at:g} needs follow-up, and this calibration knows none")
        return np.asarray(expit(self.slope * np.asarray(score, dtype=float) + self.intercept))

    def as_dict(self) -> dict[str, Any]:
        """Return what ``calibration_from`` reads; numbers and text only."""
        return {"kind": "logistic", **asdict(self)}


@dataclass(frozen=True, slots=True)
class HazardCalibration:
    """The hazard at each time is that of the score ``centre`` times e to the ``slope`` times (score - ``centre``).

    Attributes:
        slope: Log hazard ratio of one unit of the score.
        times: When the cumulative hazard rises, in the endpoint's unit; the last is where follow-up ends.
        cumulative_hazard: Of a patient whose score is ``centre``, from each of ``times`` on; 0 before the first.
        centre: A score among those learned from, so that no hazard overflows.
    """

    slope: float
    times: tuple[float, ...]
    cumulative_hazard: tuple[float, ...]
    centre: float = 0.0

    def __post_init__(self) -> None:
        _refuse_slope(self.slope)
        if not isfinite(self.centre):
            raise ValueError(f"the centre of a calibration must be a number, got {self.centre}")
        times, hazard = np.array(self.times), np.array(self.cumulative_hazard)
        if times.size == 0 or times.shape != hazard.shape:
            raise ValueError(f"a calibration needs a hazard for each time, got {hazard.size} for {times.size} times")
        if not (np.isfinite(times).all() and times[0] > 0 and (np.diff(times) > 0).all()):
            raise ValueError("the times of a calibration must rise from above 0")
        if not (np.isfinite(hazard).all() and hazard[0] >= 0 and (np.diff(hazard) >= 0).all()):
            raise ValueError("the cumulative hazard of a calibration must not fall, nor be below 0")

    def probability(self, score: ArrayLike, at: float | None = None) -> Floats:
        """Return the probability of the event by a time, shape (n,) as ``score``.

        Args:
            score: Higher = event sooner, shape (n,).
            at: The time, from 0 on, in the unit of ``times``. Beyond the last of them nobody was followed, and the
                probability is NaN: it is never extrapolated.
        """
        scores = np.asarray(score, dtype=float)
        if at is None:
            raise ValueError("a probability of survival needs a time: name endpoint.horizon, in the endpoint's unit")
        if not at >= 0:
            raise ValueError(f"a probability is foretold for a time of 0 or more, got {at}")
        if at > self.times[-1]:
            return np.full(scores.shape, np.nan)
        passed = int(np.searchsorted(self.times, at, side="right"))
        with np.errstate(over="ignore", divide="ignore"):  # e^1000 times a hazard is an event for certain; log 0 none
            log_hazard = np.log(self.cumulative_hazard[passed - 1] if passed else 0.0)
            return np.asarray(-np.expm1(-np.exp(log_hazard + self.slope * (scores - self.centre))))

    def as_dict(self) -> dict[str, Any]:
        """Return what ``calibration_from`` reads; numbers and text only."""
        numbers = asdict(self)
        return {"kind": "hazard", **{name: list(n) if isinstance(n, tuple) else n for name, n in numbers.items()}}


Calibration = LogisticCalibration | HazardCalibration
_KINDS = {"logistic": LogisticCalibration, "hazard": HazardCalibration}


def calibration_from(kept: Mapping[str, Any]) -> Calibration:
    """Return the calibration that ``as_dict`` wrote down.

    Raises:
        ValueError: If ``kind`` is unknown, or a number is missing, unknown or wrong.
    """
    kind = kept.get("kind")
    if kind not in _KINDS:
        raise ValueError(f"a calibration is of kind {' or '.join(_KINDS)}, got {kind!r}")
    numbers = {name: tuple(n) if isinstance(n, list) else n for name, n in kept.items() if name != "kind"}
    try:
        return _KINDS[kind](**numbers)
    except TypeError as error:
        raise ValueError(
            f"a {kind} calibration cannot be made of {', '.join(numbers) or 'nothing'}: {error}"
        ) from error


def calibrate(event: ArrayLike, score: ArrayLike, time: ArrayLike | None = None) -> Calibration:
    """Learn what probability a score stands for, from scores of patients the model did not learn from.

    Without follow-up: Platt's logistic curve. An event counts as (n₁ + 1) / (n₁ + 2) and none as 1 / (n₀ + 2), of n₁
    patients with and n₀ without, so that scores which separate the two keep a finite slope. With follow-up: a Cox model
    of the score, Efron's ties, and Breslow's cumulative hazard.

    A score that points the wrong way would be turned round, which is for the model to do and not for the data: a
    slope below 0 is held at 0, as is that of scores which are all the same. Everybody then has the share of patients
    with the event, or one minus e to the minus the Nelson-Aalen cumulative hazard.

    Args:
        event: Whether each patient had the event, shape (n,).
        score: Higher = event more likely, shape (n,).
        time: Follow-up, above 0, shape (n,); None for an endpoint without.

    Raises:
        ValueError: If fewer than 2 patients are of either class, or nobody followed had the event; if the scores
            foretell the order of events so well that the slope of the Cox model is infinite.

    References:
        Platt. In: Advances in Large Margin Classifiers 1999:61-74. Breslow. Biometrics 1974;30:89-99.
    """
    scores, happened = np.asarray(score, dtype=float), np.asarray(event, dtype=float)
    if scores.ndim != 1 or happened.shape != scores.shape:
        raise ValueError(f"event and score must be one row of equal length, got {happened.shape} and {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError(f"{(~np.isfinite(scores)).sum()} of {scores.size} scores are missing or infinite")
    if not np.isin(happened, (0.0, 1.0)).all():
        raise ValueError("every event must be 0 or 1: leave out patients whose outcome is unknown")
    if time is None:
        return _logistic(happened == 1, scores)
    times = np.asarray(time, dtype=float)
    if times.shape != scores.shape or not (np.isfinite(times) & (times > 0)).all():
        raise ValueError(f"every one of {scores.size} patients must have a time above 0")
    return _hazard(happened == 1, scores, times)


def _logistic(event: NDArray[np.bool_], score: Floats) -> LogisticCalibration:
    having, free = int(event.sum()), int((~event).sum())
    if min(having, free) < _FEWEST_OF_A_CLASS:
        raise ValueError(
            f"probabilities are learned from {_FEWEST_OF_A_CLASS} patients with the event and {_FEWEST_OF_A_CLASS} "
            f"without at least, got {having} and {free}"
        )
    level = LogisticCalibration(0.0, float(logit(having / event.size)))
    if np.ptp(score) == 0:
        return level
    centre, scale = score.mean(), score.std()
    target = np.where(event, (having + 1) / (having + 2), 1 / (free + 2))
    # a patient stands twice, as event and as none, with the weight of either
    fit = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10).fit(
        np.tile((score - centre) / scale, 2)[:, None],
        np.repeat([1, 0], score.size),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    slope = float(fit.coef_[0, 0] / scale)
    return LogisticCalibration(slope, float(fit.intercept_[0] - slope * centre)) if slope > 0 else level


def _hazard(event: NDArray[np.bool_], score: Floats, time: Floats) -> HazardCalibration:
    if not event.any():
        raise ValueError(f"probabilities are learned from patients with the event: 0 of {event.size} had it")
    slope = float(univariable_cox(score[:, None], event, time)[0][0])
    if slope == np.inf:
        raise ValueError(
            "the scores foretell the order of events so well that their hazard ratio is infinite: "
            "no probability can be learned from them"
        )
    slope = slope if slope > 0 else 0.0  # nor is NaN, of scores that are the same for all at risk
    centre = float(score.mean())
    hazard = np.exp(slope * (score - centre))
    order = np.argsort(time)
    at_risk = np.cumsum(hazard[order][::-1])[::-1]
    times, events = np.unique(time[event], return_counts=True)
    rising = np.cumsum(events / at_risk[np.searchsorted(time[order], times)])
    if times[-1] < time.max():
        times, rising = np.append(times, time.max()), np.append(rising, rising[-1])
    return HazardCalibration(slope, tuple(times.tolist()), tuple(rising.tolist()), centre)


def _refuse_slope(slope: float) -> None:
    if not (isfinite(slope) and slope >= 0):
        raise ValueError(f"the slope of a calibration must be a number of 0 or more, got {slope}")
