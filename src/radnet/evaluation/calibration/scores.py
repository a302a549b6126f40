"""Whether probabilities mean what they say: Brier score, log loss, observed to expected, Spiegelhalter's test."""

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy
from scipy.stats import norm

from radnet.evaluation.discrimination import Estimate, Floats, Weighted, bootstrap_interval, checked_classes

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CalibrationTest:
    """A test whose null hypothesis is that every patient's probability is right."""

    statistic: float
    p_value: float


def checked_probabilities(event: ArrayLike, probability: ArrayLike) -> tuple[Bools, Floats]:
    """Return event and probability as arrays of shape (n,), or say what is wrong; both classes must be there."""
    happened, probabilities = checked_classes(event, probability)
    refuse_outside_unit(probabilities)
    return happened, probabilities


def refuse_outside_unit(probability: Floats) -> None:
    """Raise ``ValueError`` if a probability lies below 0 or above 1."""
    outside = (probability < 0) | (probability > 1)
    if outside.any():
        raise ValueError(
            f"a probability lies between 0 and 1: {outside.sum()} of {outside.size} do not, "
            f"such as {probability[outside][0]:g}"
        )


def brier(event: ArrayLike, probability: ArrayLike, *, resamples: int, seed: int, level: float) -> Estimate:
    """Return the mean squared distance of probability and outcome, with percentiles over resampled patients.

    Args:
        event: Whether each patient had the event, shape (n,); both classes must be there.
        probability: Of the event, shape (n,), in [0, 1].
        resamples: Bootstrap resamples, drawn from all patients, whichever their class; 0 leaves the interval out.
        seed: Seed of the draws.
        level: Coverage of the interval.

    References:
        Brier. Monthly Weather Review 1950;78:1-3.
    """
    happened, probabilities = checked_probabilities(event, probability)
    squared = (probabilities - happened) ** 2

    def statistic(weight: Floats) -> Floats:
        score: Floats = weight @ squared / weight.sum(axis=1)
        return score

    lower, upper = _interval(statistic, happened.size, resamples=resamples, seed=seed, level=level)
    return Estimate(float(squared.mean()), lower, upper)


def brier_scaled(event: ArrayLike, probability: ArrayLike, *, resamples: int, seed: int, level: float) -> Estimate:
    """Return the share of the mean risk's Brier score that the probabilities take away; below 0, they add to it.

    Arguments and interval are those of ``brier``; resamples in which all patients share one outcome have no value.

    References:
        Steyerberg et al. Epidemiology 2010;21:128-138.
    """
    happened, probabilities = checked_probabilities(event, probability)
    squared = (probabilities - happened) ** 2

    def statistic(weight: Floats) -> Floats:
        n = weight.sum(axis=1)
        risk = weight @ happened / n
        of_mean = risk * (1 - risk)
        return 1 - np.divide(weight @ squared / n, of_mean, out=np.full(n.shape, nan), where=of_mean > 0)

    value = float(statistic(np.ones((1, happened.size)))[0])
    lower, upper = _interval(statistic, happened.size, resamples=resamples, seed=seed, level=level)
    return Estimate(value, lower, upper)


def log_loss(event: ArrayLike, probability: ArrayLike) -> float:
    """Return the mean surprise of the outcomes in nats; infinite when what was called impossible happened."""
    happened, probabilities = checked_probabilities(event, probability)
    return float(-(xlogy(happened, probabilities) + xlogy(~happened, 1 - probabilities)).mean())


def observed_to_expected(event: ArrayLike, probability: ArrayLike) -> float:
    """Return the number of events over the sum of the probabilities; 1 is right on average, infinite of sum 0."""
    happened, probabilities = checked_probabilities(event, probability)
    return float(happened.sum() / probabilities.sum()) if probabilities.any() else float("inf")


def spiegelhalter(event: ArrayLike, probability: ArrayLike) -> CalibrationTest:
    """Test whether the Brier score is what calibrated probabilities would give; two-sided, normal z.

    NaN where the score cannot vary: every probability is 0, one half, or 1.

    References:
        Spiegelhalter. Stat Med 1986;5:421-433.
    """
    happened, probabilities = checked_probabilities(event, probability)
    tilt = 1 - 2 * probabilities
    variance = float((tilt**2 * probabilities * (1 - probabilities)).sum())
    z = float(((happened - probabilities) * tilt).sum()) / sqrt(variance) if variance > 0 else nan
    return CalibrationTest(z, float(2 * norm.sf(abs(z))))


def _interval(statistic: Weighted, n: int, *, resamples: int, seed: int, level: float) -> tuple[float, float]:
    if resamples == 0:
        return nan, nan
    return bootstrap_interval(statistic, np.zeros(n), resamples=resamples, seed=seed, level=level)
