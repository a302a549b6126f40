"""Survival of a group of patients: the Kaplan-Meier curve, its bounds and quantiles, and how long all were followed."""

from dataclasses import dataclass
from math import nan
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from radnet.evaluation.discrimination import Estimate, Floats
from radnet.evaluation.survival.follow_up import checked_times

Scale = Literal["log", "log-log", "plain"]
_TOLERANCE = np.finfo(float).eps ** 0.5


@dataclass(frozen=True, slots=True)
class KaplanMeier:
    """Survival after each distinct time, from time 0 on; arrays of shape (K,).

    Attributes:
        time: Rising from 0; a row for each time at which somebody had the event or left.
        survival: Probability of no event up to and at that time.
        lower: Lower bound; NaN where nobody survives, on the log-log scale also where nobody yet had the event.
        upper: Upper bound; NaN where the lower one is.
        at_risk: Patients still followed just before that time.
        events: Patients with the event at that time.
        censored: Patients last seen at that time.
        standard_error: Greenwood's standard error of ``survival``; NaN where nobody survives.
    """

    time: Floats
    survival: Floats
    lower: Floats
    upper: Floats
    at_risk: NDArray[np.int64]
    events: NDArray[np.int64]
    censored: NDArray[np.int64]
    standard_error: Floats

    @property
    def median(self) -> Estimate:
        """Median survival; its bounds are where the bounds of the curve cross one half. NaN: not reached.

        Where a curve stands at one half exactly, the median is the middle of that stretch, as in R's survfit.
        """
        return self.quantile(0.5)

    def quantile(self, share: float) -> Estimate:
        """Return the time by which ``share`` of the patients had the event, with bounds, as ``median`` does."""
        if not 0 < share < 1:
            raise ValueError(f"a quantile's share lies between 0 and 1, got {share}")
        return Estimate(*(_crosses(self.time, band, 1 - share) for band in (self.survival, self.lower, self.upper)))

    def at(self, time: float) -> Estimate:
        """Return survival at a time, with its bounds; NaN beyond the last follow-up, unless nobody survived it."""
        if time > self.time[-1] and self.survival[-1] > 0:
            return Estimate(nan, nan, nan)
        step = np.searchsorted(self.time, time, side="right") - 1
        return Estimate(float(self.survival[step]), float(self.lower[step]), float(self.upper[step]))

    def number_at_risk(self, times: ArrayLike) -> NDArray[np.int64]:
        """Return how many patients were still followed just before each time, shape of ``times``."""
        place = np.searchsorted(self.time, np.asarray(times, dtype=float), side="left")
        return np.append(self.at_risk, 0)[place]


def kaplan_meier(time: ArrayLike, event: ArrayLike, level: float, scale: Scale = "log") -> KaplanMeier:
    """Estimate survival with Greenwood's variance, as R's survfit does.

    A patient who left at a time at which another had the event was still at risk.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        level: Coverage of the pointwise bounds.
        scale: Where the bounds are symmetric: on ``log`` survival (the default of R's survfit), on ``log-log`` (never
            outside 0 and 1; the default of SAS), or ``plain``. Bounds are cut at 0 and 1.

    References:
        Kaplan, Meier. J Am Stat Assoc 1958;53:457-481. Kalbfleisch, Prentice. The Statistical Analysis of Failure Time
        Data, 2002, section 1.4 (log-log). R package survival, survfit(conf.type=).
    """
    if scale not in ("log", "log-log", "plain"):
        raise ValueError(f"bounds are symmetric on the scale log, log-log or plain, got {scale!r}")
    times, happened = checked_times(time, event)
    distinct, place = np.unique(times, return_inverse=True)
    events = np.bincount(place, weights=happened).astype(np.int64)
    leaving = np.bincount(place)
    at_risk = leaving[::-1].cumsum()[::-1]
    survival = np.cumprod(1 - events / at_risk)
    alive = at_risk > events
    step = np.divide(events, at_risk * (at_risk - events), out=np.zeros(distinct.size), where=alive)
    error_of_log = np.where(alive, np.sqrt(np.cumsum(step)), nan)
    lower, upper = _bounds(survival, error_of_log, float(norm.ppf((1 + level) / 2)), scale)
    return KaplanMeier(
        time=np.concatenate([[0.0], distinct]),
        survival=np.concatenate([[1.0], survival]),
        lower=np.concatenate([[1.0], lower]),
        upper=np.concatenate([[1.0], upper]),
        at_risk=np.concatenate([[times.size], at_risk]),
        events=np.concatenate([[0], events]),
        censored=np.concatenate([[0], leaving - events]),
        standard_error=np.concatenate([[0.0], survival * error_of_log]),
    )


def median_follow_up(time: ArrayLike, event: ArrayLike, level: float) -> Estimate:
    """Return how long the median patient was followed: the median of a curve on which leaving is the event.

    References:
        Schemper, Smith. Control Clin Trials 1996;17:343-346 (reverse Kaplan-Meier).
    """
    times, happened = checked_times(time, event)
    return kaplan_meier(times, ~happened, level).median


def _bounds(survival: Floats, error_of_log: Floats, z: float, scale: Scale) -> tuple[Floats, Floats]:
    if scale == "plain":
        reach = z * survival * error_of_log
        return np.maximum(0.0, survival - reach), np.minimum(1.0, survival + reach)
    if scale == "log":
        reach = z * error_of_log
        return survival * np.exp(-reach), np.minimum(1.0, survival * np.exp(reach))
    hazard = -np.log(np.where((survival > 0) & (survival < 1), survival, nan))
    spread = np.exp(z * error_of_log / hazard)
    return np.exp(-hazard * spread), np.exp(-hazard / spread)


def _crosses(time: Floats, band: Floats, level: float) -> float:
    below = np.flatnonzero(band < level + _TOLERANCE)
    if below.size == 0:
        return nan
    first = below[0]
    lower = below[band[below] < band[first]]
    if abs(band[first] - level) < _TOLERANCE and lower.size:
        return float((time[first] + time[lower[0]]) / 2)
    return float(time[first])
