"""Whether probabilities of an event by a horizon mean what they say when follow-up is censored."""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radnet.evaluation.calibration.groups import equal_groups
from radnet.evaluation.calibration.scores import Bools, refuse_outside_unit
from radnet.evaluation.discrimination import Floats, checked
from radnet.evaluation.survival.kaplan_meier import kaplan_meier


@dataclass(frozen=True, slots=True)
class SurvivalGroups:
    """Probability of the event by a horizon, foretold and observed; arrays of shape (K,), the safest group last.

    Attributes:
        count: Patients.
        events: Patients seen to have the event, at any time.
        predicted: Mean probability foretold.
        observed: One minus Kaplan-Meier survival at the horizon; NaN where it cannot be known: the group has a single
            patient, or all who were without the event left before the horizon.
        lower: Lower bound of ``observed``.
        upper: Upper bound of ``observed``.
    """

    count: NDArray[np.int64]
    events: NDArray[np.int64]
    predicted: Floats
    observed: Floats
    lower: Floats
    upper: Floats


def survival_by_group(
    time: ArrayLike, event: ArrayLike, probability: ArrayLike, *, horizon: float, groups: int, level: float
) -> SurvivalGroups:
    """Compare foretold and Kaplan-Meier probability of the event by a horizon, as rms::groupkm does.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        probability: Of the event by the horizon, shape (n,), in [0, 1].
        horizon: The time the probabilities refer to, in the unit of ``time``.
        groups: How many groups of about equal size to aim at.
        level: Coverage of the intervals, which are normal on the scale of log survival.

    Raises:
        ValueError: If nobody has the event by the horizon, or nobody is followed up to it.

    References:
        Harrell. Regression Modeling Strategies, 2nd ed., section 20.3.
    """
    times, happened, probabilities = checked_risks(time, event, probability, horizon)
    place = equal_groups(1 - probabilities, groups)
    rows = []
    for group in range(int(place.max()) + 1):
        who = place == group
        curve = kaplan_meier(times[who], happened[who], level)
        at = int(np.searchsorted(curve.time, horizon, side="right")) - 1
        known = who.sum() > 1 and (curve.time[-1] >= horizon or curve.survival[-1] == 0)
        survival = [curve.survival[at], curve.upper[at], curve.lower[at]] if known else [nan, nan, nan]
        rows.append([probabilities[who].mean(), *(1 - value for value in survival)])
    predicted, observed, lower, upper = np.array(rows).T
    events = np.bincount(place, weights=happened).astype(np.int64)
    return SurvivalGroups(np.bincount(place), events, predicted, observed, lower, upper)


def checked_risks(
    time: ArrayLike, event: ArrayLike, probability: ArrayLike, horizon: float
) -> tuple[Floats, Bools, Floats]:
    """Return follow-up, event and probability as arrays of shape (n,), or say why no risk by the horizon is known."""
    happened, probabilities = checked(event, probability)
    times = np.asarray(time, dtype=float)
    if times.shape != happened.shape:
        raise ValueError(f"time and event must be one row of equal length, got {times.shape} and {happened.shape}")
    if not (np.isfinite(times).all() and (times >= 0).all()):
        raise ValueError("every time must be a number of 0 or more")
    refuse_outside_unit(probabilities)
    if not (happened & (times <= horizon)).any():
        raise ValueError(f"needs an event by the horizon of {horizon:g}: 0 of {happened.size} patients had it")
    if times.max() < horizon:
        raise ValueError(f"the risk by {horizon:g} is unknown: the longest follow-up is {times.max():g}")
    return times, happened, probabilities
