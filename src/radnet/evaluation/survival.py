"""How a score goes with time: survival of risk groups, log-rank test, hazard ratio, concordance."""

import warnings
from dataclasses import dataclass
from math import nan

import numpy as np
import pandas as pd
from lifelines import CoxPHFitter
from lifelines.statistics import multivariate_logrank_test
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from radnet.evaluation.discrimination import Estimate, Floats, Weighted, WithinFolds, mean_within_folds

_TOLERANCE = np.finfo(float).eps ** 0.5


@dataclass(frozen=True, slots=True)
class KaplanMeier:
    """Survival after each distinct time, from time 0 on; arrays of shape (K,).

    Attributes:
        time: Rising from 0; a row for each time at which somebody had the event or left.
        survival: Probability of no event up to and at that time.
        lower: Lower bound; NaN where nobody survives.
        upper: Upper bound; NaN where nobody survives.
        at_risk: Patients still followed just before that time.
        events: Patients with the event at that time.
        censored: Patients last seen at that time.
    """

    time: Floats
    survival: Floats
    lower: Floats
    upper: Floats
    at_risk: NDArray[np.int64]
    events: NDArray[np.int64]
    censored: NDArray[np.int64]

    @property
    def median(self) -> Estimate:
        """Median survival; its bounds are where the bounds of the curve cross one half. NaN: not reached.

        Where a curve stands at one half exactly, the median is the middle of that stretch, as in R's survfit.
        """
        return Estimate(*(_crosses_half(self.time, band) for band in (self.survival, self.lower, self.upper)))


@dataclass(frozen=True, slots=True)
class LogRank:
    """A log-rank test: χ² and its p-value."""

    chi2: float
    p_value: float


def kaplan_meier(time: ArrayLike, event: ArrayLike, level: float) -> KaplanMeier:
    """Estimate survival, with Greenwood's variance and bounds on the log scale, as R's survfit does by default.

    A patient who left at a time at which another had the event was still at risk.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        level: Coverage of the pointwise bounds.

    References:
        Kaplan, Meier. J Am Stat Assoc 1958;53:457-481.
    """
    times, happened = _checked(time, event)
    distinct, place = np.unique(times, return_inverse=True)
    events = np.bincount(place, weights=happened).astype(np.int64)
    leaving = np.bincount(place)
    at_risk = leaving[::-1].cumsum()[::-1]
    survival = np.cumprod(1 - events / at_risk)
    alive = at_risk > events
    step = np.divide(events, at_risk * (at_risk - events), out=np.zeros(distinct.size), where=alive)
    reach = float(norm.ppf((1 + level) / 2)) * np.sqrt(np.cumsum(step))
    lower, upper = survival * np.exp(-reach), np.minimum(1.0, survival * np.exp(reach))
    return KaplanMeier(
        time=np.concatenate([[0.0], distinct]),
        survival=np.concatenate([[1.0], survival]),
        lower=np.concatenate([[1.0], np.where(alive, lower, nan)]),
        upper=np.concatenate([[1.0], np.where(alive, upper, nan)]),
        at_risk=np.concatenate([[times.size], at_risk]),
        events=np.concatenate([[0], events]),
        censored=np.concatenate([[0], leaving - events]),
    )


def logrank(time: ArrayLike, event: ArrayLike, group: ArrayLike) -> LogRank:
    """Test whether groups share one survival curve; group has shape (n,) and two names or more."""
    times, happened = _checked(time, event)
    groups = np.unique(np.asarray(group), return_inverse=True)[1]
    if groups.max() == 0:
        raise ValueError("a log-rank test needs two groups, but every patient is in one")
    if not happened.any():
        raise ValueError(f"a log-rank test needs an event: 0 of {times.size} had it")
    highest, lowest = _at_risk_extremes(times, happened, groups.astype(float))
    someone_stays = (times[happened] < times.max()) | bool(np.any(~happened & (times == times.max())))
    if not np.any((highest > lowest) & someone_stays):
        raise ValueError("a log-rank test needs an event while two groups are at risk, but there is none")
    test = multivariate_logrank_test(times, groups, happened)
    return LogRank(float(test.test_statistic), float(test.p_value))


def hazard_ratio(time: ArrayLike, event: ArrayLike, covariate: ArrayLike, level: float) -> Estimate:
    """Estimate the hazard ratio of one unit of a covariate: Cox model, Efron's ties, Wald interval and p-value.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        covariate: 1 and 0 for high and low risk, or a score in the unit of interest (its SD), shape (n,).
        level: Coverage of the interval.

    Raises:
        ValueError: If the ratio is infinite or zero, or if nothing can be told because nobody differs at an event.

    References:
        Cox. J R Stat Soc B 1972;34:187-220. Efron. J Am Stat Assoc 1977;72:557-565.
    """
    times, happened = _checked(time, event)
    values = np.asarray(covariate, dtype=float)
    _refuse_monotone_likelihood(times, happened, values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lifelines warns of what was just ruled out
        fitter = CoxPHFitter(alpha=1 - level).fit(
            pd.DataFrame({"time": times, "event": happened, "covariate": values}),
            duration_col="time",
            event_col="event",
            fit_options={"precision": 1e-12},  # its own 1e-7 leaves the ratio 1e-5 off
        )
    coefficient, error = float(fitter.params_["covariate"]), float(fitter.standard_errors_["covariate"])
    reach = float(norm.ppf((1 + level) / 2)) * error
    p_value = float(2 * norm.sf(abs(coefficient) / error))
    with np.errstate(over="ignore"):  # groups that are all but separated have a bound beyond any number
        ratio, lower, upper = np.exp(np.array([coefficient, coefficient - reach, coefficient + reach]))
    return Estimate(float(ratio), float(lower), float(upper), p_value)


def concordance(time: ArrayLike, event: ArrayLike, score: ArrayLike) -> float:
    """Return Harrell's C: of pairs whose order is known, the share in which the higher score came first.

    A pair is known when the shorter follow-up ended with the event; one who left at that very time outlived it.
    Equal scores count one half; two events at one time are no pair.

    References:
        Harrell, Lee, Mark. Stat Med 1996;15:361-387.
    """
    times, happened = _checked(time, event)
    value = _weighted_concordance(times, happened, np.asarray(score, dtype=float))(np.ones((1, times.size)))[0]
    if np.isnan(value):
        raise ValueError(f"a C-index needs a pair whose order is known; {happened.sum()} of {times.size} had the event")
    return float(value)


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
    times, happened = _checked(time, event)
    scores = np.asarray(score, dtype=float)

    def in_fold(rows: NDArray[np.intp]) -> Weighted | None:
        statistic = _weighted_concordance(times[rows], happened[rows], scores[rows])
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


def _checked(time: ArrayLike, event: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    times, happened = np.asarray(time, dtype=float), np.asarray(event, dtype=float)
    if times.ndim != 1 or times.shape != happened.shape or times.size == 0:
        raise ValueError(f"time and event must be one row of equal length, got {times.shape} and {happened.shape}")
    if not (np.isfinite(times).all() and (times >= 0).all()):
        raise ValueError("every time must be a number of 0 or more")
    if not np.isin(happened, (0.0, 1.0)).all():
        raise ValueError("every event must be 0 or 1: leave out patients whose outcome is unknown")
    return times, happened == 1


def _crosses_half(time: Floats, band: Floats) -> float:
    below = np.flatnonzero(band < 0.5 + _TOLERANCE)
    if below.size == 0:
        return nan
    first = below[0]
    lower = below[band[below] < band[first]]
    if abs(band[first] - 0.5) < _TOLERANCE and lower.size:
        return float((time[first] + time[lower[0]]) / 2)
    return float(time[first])


def _at_risk_extremes(time: Floats, event: NDArray[np.bool_], covariate: Floats) -> tuple[Floats, Floats]:
    """Return the highest and the lowest covariate of those at risk at the time of each patient with the event."""
    order = np.argsort(-time, kind="stable")
    last_at_risk = np.searchsorted(-time[order], -time[event], side="right") - 1
    highest = np.maximum.accumulate(covariate[order])[last_at_risk]
    lowest = np.minimum.accumulate(covariate[order])[last_at_risk]
    return highest, lowest


def _refuse_monotone_likelihood(time: Floats, event: NDArray[np.bool_], covariate: Floats) -> None:
    highest, lowest = _at_risk_extremes(time, event, covariate)
    if np.array_equal(highest, lowest):
        raise ValueError("a hazard ratio needs patients who differ while somebody has the event, but none do")
    if np.array_equal(covariate[event], highest):
        raise ValueError("the hazard ratio is infinite: at each event the highest of those at risk had it")
    if np.array_equal(covariate[event], lowest):
        raise ValueError("the hazard ratio is 0: at each event the lowest of those at risk had it")


def _weighted_concordance(time: Floats, event: NDArray[np.bool_], score: Floats) -> Weighted:
    cases = np.flatnonzero(event)
    width = max(1, 4_000_000 // time.size)
    blocks = [cases[start : start + width] for start in range(0, cases.size, width)]

    def c_index(weight: Floats) -> Floats:
        known, won = np.zeros(weight.shape[0]), np.zeros(weight.shape[0])
        times_drawn = weight.astype(np.float32)  # counts and their halves are exact in single precision, and faster
        for case in blocks:
            own = time[case, None]
            outlived = ((time > own) | ((time == own) & ~event)).astype(np.float32)
            lead = (np.sign(score[case, None] - score) + 1).astype(np.float32) / 2
            known += np.einsum("ij,ij->i", weight[:, case], times_drawn @ outlived.T)
            won += np.einsum("ij,ij->i", weight[:, case], times_drawn @ (outlived * lead).T)
        return np.divide(won, known, out=np.full(known.shape, nan), where=known > 0)

    return c_index
