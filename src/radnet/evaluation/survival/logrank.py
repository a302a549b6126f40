"""Whether groups of patients share one survival curve: the log-rank test, weighted, for trend, and pair by pair."""

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, false_discovery_control

from radnet.evaluation.discrimination import Floats
from radnet.evaluation.survival.follow_up import checked_times


@dataclass(frozen=True, slots=True)
class LogRank:
    """A log-rank test: χ², its p-value and degrees of freedom, and the events behind it.

    Attributes:
        chi2: The statistic.
        p_value: Probability of a larger one.
        df: Groups with an expected event, less one; 1 for a trend.
        groups: Names of the groups, sorted, length K.
        observed: Events in each group, shape (K,); weighted where the test is.
        expected: Events to expect in each group if all shared one curve, shape (K,).
    """

    chi2: float
    p_value: float
    df: int
    groups: tuple[str, ...]
    observed: Floats
    expected: Floats


@dataclass(frozen=True, slots=True)
class PairLogRank:
    """The log-rank test of two groups among several, and its p-value adjusted for how many pairs there are."""

    group: str
    versus: str
    chi2: float
    p_value: float
    p_adjusted: float


def logrank(time: ArrayLike, event: ArrayLike, group: ArrayLike, rho: float = 0.0) -> LogRank:
    """Test whether groups share one survival curve.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        group: Group of each patient, two names or more, shape (n,).
        rho: Events weigh as much as the survival just before them to this power: 0 is the log-rank test, 1 Peto and
            Peto's modification of the Gehan-Wilcoxon test, for which early events weigh more.

    Raises:
        ValueError: If there is one group, no event, or no event while two groups are at risk.

    References:
        Harrington, Fleming. Biometrika 1982;69:553-566. R package survival, survdiff(rho=).
    """
    names, observed, expected, covariance = _tables(*_checked(time, event, group), rho)
    difference = observed - expected
    df = int((expected > 0).sum()) - 1
    # the differences sum to 0, so one direction has no spread but that of rounding: it must not be inverted
    inverse = np.linalg.pinv(covariance, rcond=1e-10, hermitian=True)
    statistic = float(difference @ inverse @ difference)
    return LogRank(statistic, float(chi2.sf(statistic, df)), df, names, observed, expected)


def logrank_trend(time: ArrayLike, event: ArrayLike, dose: ArrayLike) -> LogRank:
    """Test whether survival changes steadily along ordered groups, or along a score.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        dose: A number that orders the groups and says how far apart they are, such as 1, 2, 3; or a score, of which
            each value is a group; shape (n,).

    Raises:
        ValueError: If a dose is missing, there is no event, or none while two doses are at risk.

    References:
        Collett. Modelling Survival Data in Medical Research, 2015, section 2.8.
    """
    doses = np.asarray(dose, dtype=float)
    if not np.isfinite(doses).all():
        raise ValueError(f"{(~np.isfinite(doses)).sum()} of {doses.size} doses are missing or infinite")
    times, happened, names, place = _checked(time, event, doses)
    order = np.argsort(times, kind="stable")
    scaled = (doses - doses.mean()) / doses.std()
    at, first = np.unique(times[order], return_index=True)
    events = np.add.reduceat(happened[order].astype(float), first)
    there = (times.size - first).astype(float)
    mean, square = (part[order][::-1].cumsum()[::-1][first] / there for part in (scaled, scaled**2))
    hazard = np.cumsum(events / there)[np.searchsorted(at, times)]
    variance = float(_spread(events, there) @ np.maximum(square - mean**2, 0.0))
    _refuse_nobody_to_compare(variance)
    statistic = float(scaled @ (happened - hazard)) ** 2 / variance
    observed, expected = (np.bincount(place, part, len(names)).astype(float) for part in (happened, hazard))
    return LogRank(statistic, float(chi2.sf(statistic, 1)), 1, names, observed, expected)


def pairwise_logrank(
    time: ArrayLike, event: ArrayLike, group: ArrayLike, adjust: Literal["bh", "bonferroni"]
) -> list[PairLogRank]:
    """Test each two groups, in the order of their names, and adjust the p-values for the number of pairs.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        group: Group of each patient, shape (n,).
        adjust: ``bh`` holds the false discovery rate, ``bonferroni`` the chance of one false finding.

    References:
        Benjamini, Hochberg. J R Stat Soc B 1995;57:289-300. R package survminer, pairwise_survdiff.
    """
    if adjust not in ("bh", "bonferroni"):
        raise ValueError(f"p-values are adjusted by bh or bonferroni, got {adjust!r}")
    times, happened, names, place = _checked(time, event, group)
    pairs = list(combinations(range(len(names)), 2))
    tests = [logrank(times[who], happened[who], place[who]) for who in (np.isin(place, pair) for pair in pairs)]
    p_values = np.array([test.p_value for test in tests])
    adjusted = false_discovery_control(p_values) if adjust == "bh" else np.minimum(1.0, p_values * len(pairs))
    return [
        PairLogRank(names[one], names[other], test.chi2, test.p_value, float(p_adjusted))
        for (one, other), test, p_adjusted in zip(pairs, tests, adjusted, strict=True)
    ]


def _checked(
    time: ArrayLike, event: ArrayLike, group: ArrayLike
) -> tuple[Floats, NDArray[np.bool_], tuple[str, ...], NDArray[np.intp]]:
    times, happened = checked_times(time, event)
    groups = np.asarray(group)
    if groups.shape != times.shape:
        raise ValueError(f"time and group must be one row of equal length, got {times.shape} and {groups.shape}")
    names, place = np.unique(groups, return_inverse=True)
    if names.size == 1:
        raise ValueError("a log-rank test needs two groups, but every patient is in one")
    if not happened.any():
        raise ValueError(f"a log-rank test needs an event: 0 of {times.size} had it")
    return times, happened, tuple(str(name) for name in names), place


def _tables(
    time: Floats, event: NDArray[np.bool_], names: tuple[str, ...], group: NDArray[np.intp], rho: float
) -> tuple[tuple[str, ...], Floats, Floats, Floats]:
    """Return the observed and expected events of the groups and their covariance, summed over the times of events."""
    at, when = np.unique(time[event], return_inverse=True)
    shape = at.size, len(names)
    happening = np.bincount(when * shape[1] + group[event], minlength=shape[0] * shape[1]).reshape(shape).astype(float)
    followed = [np.sort(time[group == place]) for place in range(shape[1])]
    there = np.column_stack([own.size - np.searchsorted(own, at) for own in followed]).astype(float)
    everyone, events = there.sum(axis=1), happening.sum(axis=1)
    survival = np.cumprod(1 - events / everyone)
    weight = np.concatenate([[1.0], survival[:-1]]) ** rho
    share = there / everyone[:, None]
    inside = weight**2 * _spread(events, everyone)
    covariance = np.diag(inside @ share) - (share * inside[:, None]).T @ share
    _refuse_nobody_to_compare(float(np.diag(covariance).max()))
    return names, weight @ happening, weight @ (share * events[:, None]), covariance


def _spread(events: Floats, there: Floats) -> Floats:
    """Return the variance of a group's events at each time, per its share of those at risk times the others' share."""
    return np.divide(events * (there - events), there - 1, out=np.zeros(there.size), where=there > 1)


def _refuse_nobody_to_compare(variance: float) -> None:
    if not variance > 1e-12:
        raise ValueError("a log-rank test needs an event while two groups are at risk, but there is none")
