"""Observed against foretold risk as a smooth curve, and how far the curve lies from the diagonal."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from radnet.evaluation.calibration.scores import checked_probabilities
from radnet.evaluation.calibration.smoothing import loess, lowess
from radnet.evaluation.discrimination import Floats

LOESS_SPAN = 0.75
LOWESS_SPAN = 2 / 3


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """Distance of each patient's probability from the smooth observed risk: mean, median, 90 % quantile, maximum.

    By loess the mean is the integrated calibration index (ICI), beside E50, E90 and Emax; by lowess it is Eavg.
    """

    mean: float
    median: float
    q90: float
    maximum: float


@dataclass(frozen=True, slots=True)
class CalibrationCurve:
    """Smooth observed risk and its pointwise band at given probabilities; arrays of shape (m,), NaN beyond the data."""

    probability: Floats
    observed: Floats
    lower: Floats
    upper: Floats


def calibration_error(event: ArrayLike, probability: ArrayLike, method: Literal["loess", "lowess"]) -> CalibrationError:
    """Measure how far probabilities are from the smooth observed risk.

    Args:
        event: Whether each patient had the event, shape (n,); both classes must be there.
        probability: Of the event, shape (n,), in [0, 1].
        method: ``loess`` smooths with local parabolas over 3/4 of the patients, as the ICI is defined; ``lowess`` with
            local lines over 2/3, as rms::val.prob does for its Emax, E90 and Eavg. Neither is held within [0, 1].

    Raises:
        ValueError: By loess, if all probabilities are equal or 3/4 of the patients are fewer than 4.

    References:
        Austin, Steyerberg. Stat Med 2019;38:4051-4065. Harrell. Regression Modeling Strategies, section 10.8.
    """
    if method not in ("loess", "lowess"):
        raise ValueError(f"a smoother is 'loess' or 'lowess', got {method!r}")
    happened, probabilities = checked_probabilities(event, probability)
    if method == "loess":
        observed = loess(probabilities, LOESS_SPAN).curve(happened, probabilities)
    else:
        observed = np.interp(probabilities, *lowess(probabilities, happened, LOWESS_SPAN))
    distance = np.abs(probabilities - observed)
    q90 = float(np.quantile(distance, 0.9))
    return CalibrationError(float(distance.mean()), float(np.median(distance)), q90, float(distance.max()))


def calibration_curve(event: ArrayLike, probability: ArrayLike, at: ArrayLike, level: float) -> CalibrationCurve:
    """Draw the observed risk as loess sees it, with a pointwise normal band, both held within [0, 1].

    Loess is linear in the outcomes: the curve at a point is a weighted sum of them. Its variance is the sum of squared
    weights times the Bernoulli variance at each patient's own smooth risk. The band holds the chance of the outcomes
    only, not the bias of smoothing.

    Args:
        event: Whether each patient had the event, shape (n,); both classes must be there.
        probability: Of the event, shape (n,), in [0, 1].
        at: Probabilities to draw the curve at, shape (m,).
        level: Coverage of the band at each point.

    References:
        Cleveland, Devlin. J Am Stat Assoc 1988;83:596-610. Van Calster et al. J Clin Epidemiol 2016;74:167-176.
    """
    happened, probabilities = checked_probabilities(event, probability)
    points = np.asarray(at, dtype=float)
    smooth = loess(probabilities, LOESS_SPAN)
    risk = np.clip(smooth.curve(happened, probabilities), 0.0, 1.0)
    weights = smooth.weights(np.clip(points, probabilities.min(), probabilities.max()))
    observed = weights @ happened
    reach = float(norm.ppf((1 + level) / 2)) * np.sqrt(weights**2 @ (risk * (1 - risk)))
    inside = (points >= probabilities.min()) & (points <= probabilities.max())
    bands = (
        np.where(inside, np.clip(band, 0.0, 1.0), np.nan) for band in (observed, observed - reach, observed + reach)
    )
    return CalibrationCurve(points, *bands)


def lowess_curve(event: ArrayLike, probability: ArrayLike, at: ArrayLike) -> Floats:
    """Return the observed risk as lowess sees it at probabilities of shape (m,); NaN beyond the data.

    Arguments are those of ``calibration_curve``; the smoother is that of rms::val.prob and rms::calibrate.
    """
    happened, probabilities = checked_probabilities(event, probability)
    distinct, observed = lowess(probabilities, happened, LOWESS_SPAN)
    return np.interp(np.asarray(at, dtype=float), distinct, observed, left=np.nan, right=np.nan)
