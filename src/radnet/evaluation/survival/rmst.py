"""Restricted mean survival time: how long patients live without the event within a span, and by how much longer."""

from dataclasses import dataclass
from math import exp, inf, log, sqrt

import numpy as np
from numpy.typing import ArrayLike

from radnet.evaluation.discrimination import Estimate
from radnet.evaluation.normal import normal_estimate
from radnet.evaluation.survival.follow_up import Horizon, checked_times
from radnet.evaluation.survival.kaplan_meier import KaplanMeier, kaplan_meier


@dataclass(frozen=True, slots=True)
class RestrictedMean:
    """Mean time without the event up to a horizon, the area under the survival curve; in the unit of time.

    Attributes:
        value: The mean.
        standard_error: From Greenwood's variance.
        horizon: The time up to which it is taken, and a note where that is not the one asked for.
    """

    value: float
    standard_error: float
    horizon: Horizon

    @property
    def time_lost(self) -> float:
        """Mean time lost to the event up to the horizon; its standard error is that of ``value``."""
        return self.horizon.time - self.value

    def interval(self, level: float) -> Estimate:
        """Return the mean with its normal interval."""
        return normal_estimate(self.value, self.standard_error, level)


@dataclass(frozen=True, slots=True)
class RestrictedMeanContrast:
    """Two groups compared up to one horizon.

    Attributes:
        one: Restricted mean of the first group.
        versus: Restricted mean of the group it is compared with.
        difference: ``one`` minus ``versus``, interval and p-value; in the unit of time.
        ratio: ``one`` over ``versus``; interval and p-value on the log scale.
        ratio_of_time_lost: The same of the time lost.
    """

    one: RestrictedMean
    versus: RestrictedMean
    difference: Estimate
    ratio: Estimate
    ratio_of_time_lost: Estimate


def restricted_mean(time: ArrayLike, event: ArrayLike, horizon: float) -> RestrictedMean:
    """Estimate the restricted mean survival time, as R's survRM2 does.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        horizon: Up to when. Where the last patient left earlier, his time is taken instead, and the note says so.

    References:
        Uno et al. J Clin Oncol 2014;32:2380-2385. Klein, Moeschberger. Survival Analysis, 2003, section 4.5.
    """
    curve = kaplan_meier(*checked_times(time, event), level=0.95)
    return _restricted_mean(curve, _within([curve], horizon))


def compare_restricted_means(
    time: ArrayLike, event: ArrayLike, high: ArrayLike, horizon: float, level: float
) -> RestrictedMeanContrast:
    """Compare the restricted mean survival time of two groups, high minus low.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        high: Whether the patient is of the first group, shape (n,).
        horizon: Up to when; cut where the survival of either group is no longer known, and the note says so.
        level: Coverage of the intervals.

    Raises:
        ValueError: If a group is empty, or the horizon is not above 0.

    References:
        Uno et al. J Clin Oncol 2014;32:2380-2385. R package survRM2, rmst2.
    """
    times, happened = checked_times(time, event)
    first = np.asarray(high, dtype=float)
    if first.shape != times.shape or not np.isin(first, (0.0, 1.0)).all():
        raise ValueError(f"high must be 0 or 1 for each of {times.size} patients")
    groups = [first == 1, first == 0]
    if not all(who.any() for who in groups):
        raise ValueError(f"two groups are compared, but {int(first.sum())} of {times.size} patients are high")
    curves = [kaplan_meier(times[who], happened[who], level) for who in groups]
    shared = _within(curves, horizon)
    one, versus = (_restricted_mean(curve, shared) for curve in curves)
    error = sqrt(one.standard_error**2 + versus.standard_error**2)
    return RestrictedMeanContrast(
        one,
        versus,
        normal_estimate(one.value - versus.value, error, level, null=0.0),
        _ratio(one.value, versus.value, one.standard_error, versus.standard_error, level),
        _ratio(one.time_lost, versus.time_lost, one.standard_error, versus.standard_error, level),
    )


def _within(curves: list[KaplanMeier], horizon: float) -> Horizon:
    """Return the horizon, cut where a curve ends; one that has come down to 0 is known for ever after."""
    if not (np.isfinite(horizon) and horizon > 0):
        raise ValueError(f"a horizon must be a number above 0, got {horizon}")
    last = min(float(curve.time[-1]) if curve.survival[-1] > 0 else inf for curve in curves)
    if horizon <= last:
        return Horizon(float(horizon), "")
    return Horizon(last, f"survival is not known up to {horizon:g}: the restricted mean is taken up to {last:g}")


def _restricted_mean(curve: KaplanMeier, horizon: Horizon) -> RestrictedMean:
    inside = curve.time < horizon.time
    edges = np.append(curve.time[inside], horizon.time)
    area = curve.survival[inside] * np.diff(edges)
    beyond = area[::-1].cumsum()[::-1]
    events, at_risk = curve.events[inside], curve.at_risk[inside]
    rest = at_risk - events
    step = np.divide(events, at_risk * rest, out=np.zeros(events.size), where=rest > 0)
    return RestrictedMean(float(area.sum()), float(np.sqrt(np.sum(beyond**2 * step))), horizon)


def _ratio(one: float, versus: float, error: float, error_versus: float, level: float) -> Estimate:
    if one <= 0 or versus <= 0:
        return Estimate(one / versus if versus > 0 else inf, 0.0, inf)
    error_of_log = sqrt((error / one) ** 2 + (error_versus / versus) ** 2)
    of_log = normal_estimate(log(one / versus), error_of_log, level, null=0.0)
    return Estimate(exp(of_log.value), exp(of_log.lower), exp(of_log.upper), of_log.p_value)
