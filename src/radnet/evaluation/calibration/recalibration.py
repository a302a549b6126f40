"""The logistic line that would set probabilities right: calibration intercept and slope, and what it would gain."""

from dataclasses import dataclass
from math import exp, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import expit, log_expit, logit
from scipy.stats import chi2, norm

from radnet.evaluation.calibration.scores import Bools, CalibrationTest, checked_probabilities
from radnet.evaluation.discrimination import Estimate, Floats


@dataclass(frozen=True, slots=True)
class Recalibration:
    """The logistic line that would set the probabilities right; a calibrated model has intercept 0 and slope 1.

    Attributes:
        intercept: Intercept beside the slope; p against 0. See ``calibration_in_the_large`` for that of slope 1.
        slope: Below 1, the probabilities are too extreme; p against 1.
    """

    intercept: Estimate
    slope: Estimate


@dataclass(frozen=True, slots=True)
class Deviance:
    """Minus twice the log likelihood of the outcomes under three models, and the indices made of it.

    Attributes:
        n: Patients.
        null: Everybody has the mean risk.
        given: The probabilities as they are.
        recalibrated: The probabilities moved to their best logistic line; NaN where that line is infinitely steep.
        df: What recalibration may move: 2, intercept and slope; 1 where all probabilities are equal.
    """

    n: int
    null: float
    given: float
    recalibrated: float
    df: int

    @property
    def r2(self) -> float:
        """Nagelkerke's R² of the probabilities as they are; negative when the mean risk foretells better."""
        return nagelkerke(self.null, self.given, self.n)

    @property
    def discrimination(self) -> float:
        """Harrell's D: what the probabilities add to the mean risk, per patient."""
        return (self.null - self.given - 1) / self.n

    @property
    def unreliability(self) -> float:
        """Harrell's U: what recalibration would add to the probabilities, per patient."""
        return (self.given - self.recalibrated - self.df) / self.n

    @property
    def quality(self) -> float:
        """Harrell's Q, D minus U."""
        return self.discrimination - self.unreliability

    @property
    def test(self) -> CalibrationTest:
        """Likelihood ratio test of intercept 0 and slope 1 together, χ²; NaN without a recalibrated model."""
        statistic = np.maximum(0.0, self.given - self.recalibrated)  # rounding may put it below
        return CalibrationTest(float(statistic), float(chi2.sf(statistic, self.df)))


def calibration_in_the_large(event: ArrayLike, probability: ArrayLike, level: float) -> Estimate:
    """Return the shift of the log odds that makes the probabilities right on average, slope held at 1.

    Above 0, more events happen than were foretold. Interval and p-value, against 0, are Wald's.

    Args:
        event: Whether each patient had the event, shape (n,); both classes must be there.
        probability: Of the event, shape (n,), strictly between 0 and 1.
        level: Coverage of the interval.

    References:
        Steyerberg. Clinical Prediction Models, 2nd ed., section 15.3.
    """
    happened, log_odds = _checked_log_odds(event, probability)
    of_mean = float(logit(happened.mean()))
    # every risk is at most the mean after the one move, and at least after the other; the 1 is for rounding
    lowest, highest = of_mean - float(log_odds.max()) - 1, of_mean - float(log_odds.min()) + 1
    shift = brentq(lambda by: float((expit(log_odds + by) - happened).sum()), lowest, highest, xtol=1e-14)
    risk = expit(log_odds + shift)
    information = float((risk * (1 - risk)).sum())
    if information < 1e-8:  # every shift from one certainty to the other fits alike
        raise ValueError("calibration in the large cannot be told: the probabilities are all but 0 and 1")
    return _wald(shift, 1 / sqrt(information), 0.0, level)


def recalibrate(event: ArrayLike, probability: ArrayLike, level: float) -> Recalibration:
    """Regress the outcome on the log odds of the probability: calibration intercept and slope, with Wald intervals.

    Args:
        event: Whether each patient had the event, shape (n,); both classes must be there.
        probability: Of the event, shape (n,), strictly between 0 and 1.
        level: Coverage of the intervals.

    Raises:
        ValueError: If a probability is 0 or 1, if all are equal, or if a probability separates the classes.

    References:
        Cox. Biometrika 1958;45:562-565. Van Calster et al. J Clin Epidemiol 2016;74:167-176.
    """
    happened, log_odds = _checked_log_odds(event, probability)
    if np.ptp(log_odds) == 0:
        raise ValueError(f"a calibration slope needs probabilities that differ, but all {log_odds.size} are equal")
    if _separated(happened, log_odds):
        raise ValueError("the calibration slope is infinite: one probability separates the patients with the event")
    line, error = _recalibrating_line(happened, log_odds)
    return Recalibration(_wald(line[0], error[0], 0.0, level), _wald(line[1], error[1], 1.0, level))


def recalibrated_log_odds(event: ArrayLike, probability: ArrayLike) -> tuple[float, float]:
    """Return intercept and slope alone; NaN where the best slope does not exist or is infinite."""
    happened, log_odds = _checked_log_odds(event, probability)
    if np.ptp(log_odds) == 0 or _separated(happened, log_odds):
        return nan, nan
    line, _ = _recalibrating_line(happened, log_odds)
    return float(line[0]), float(line[1])


def deviance(event: ArrayLike, probability: ArrayLike) -> Deviance:
    """Return the deviances of mean risk, given and recalibrated probabilities: R², D, U and Q of rms::val.prob.

    Where all probabilities are equal, recalibration can move them to the mean risk only.

    Raises:
        ValueError: If a probability is 0 or 1.

    References:
        Harrell. Regression Modeling Strategies, 2nd ed., section 10.8. Nagelkerke. Biometrika 1991;78:691-692.
    """
    happened, log_odds = _checked_log_odds(event, probability)
    null = _deviance(happened, np.full(happened.size, logit(happened.mean())))
    given = _deviance(happened, log_odds)
    if np.ptp(log_odds) == 0:
        return Deviance(happened.size, null, given, recalibrated=null, df=1)
    intercept, slope = recalibrated_log_odds(event, probability)
    return Deviance(happened.size, null, given, _deviance(happened, intercept + slope * log_odds), df=2)


def nagelkerke(null: float, deviance: float, n: int) -> float:
    """Return Nagelkerke's R² of a model from its deviance, that of the mean risk, and the number of patients."""
    return (1 - exp((deviance - null) / n)) / (1 - exp(-null / n))


def _checked_log_odds(event: ArrayLike, probability: ArrayLike) -> tuple[Bools, Floats]:
    happened, probabilities = checked_probabilities(event, probability)
    certain = (probabilities == 0) | (probabilities == 1)
    if certain.any():
        raise ValueError(
            f"recalibration needs finite log odds, but {certain.sum()} of {certain.size} probabilities are 0 or 1"
        )
    return happened, logit(probabilities)


def _separated(event: Bools, log_odds: Floats) -> bool:
    with_event, without = log_odds[event], log_odds[~event]
    return bool(with_event.min() >= without.max() or with_event.max() <= without.min())


def _recalibrating_line(event: Bools, log_odds: Floats) -> tuple[Floats, Floats]:
    return _logistic(event, np.column_stack([np.ones(event.size), log_odds]))


def _deviance(event: Bools, log_odds: Floats) -> float:
    return float(-2 * log_expit(np.where(event, log_odds, -log_odds)).sum())


def _logistic(event: Bools, design: Floats) -> tuple[Floats, Floats]:
    """Return coefficients and standard errors of a logistic regression, by Newton's method with halved steps."""
    coefficients = np.zeros(design.shape[1])
    current = _deviance(event, design @ coefficients)
    for _ in range(100):
        risk = expit(design @ coefficients)
        information = (design.T * (risk * (1 - risk))) @ design
        step = np.linalg.solve(information, design.T @ (event - risk))
        proposed = _deviance(event, design @ (coefficients + step))
        while proposed > current + 1e-9 * abs(current) and np.abs(step).max() > 1e-12:
            step = step / 2
            proposed = _deviance(event, design @ (coefficients + step))
        coefficients, current = coefficients + step, proposed
        if np.abs(step).max() <= 1e-10 * (1 + np.abs(coefficients).max()):
            return coefficients, np.sqrt(np.diag(np.linalg.inv(information)))
    raise ValueError("the calibration slope did not converge: one probability all but separates the classes")


def _wald(value: float, error: float, null: float, level: float) -> Estimate:
    reach = float(norm.ppf((1 + level) / 2)) * float(error)
    p_value = float(2 * norm.sf(abs(value - null) / error))
    return Estimate(float(value), float(value) - reach, float(value) + reach, p_value)
