"""What a model owes to having seen its own patients: bootstrap optimism of any index, and of a calibration curve."""

from collections.abc import Callable
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from radnet.evaluation.calibration.curve import lowess_curve
from radnet.evaluation.calibration.recalibration import deviance, nagelkerke, recalibrated_log_odds
from radnet.evaluation.calibration.scores import Bools, checked_probabilities
from radnet.evaluation.discrimination import Floats, delong

Rows = NDArray[np.intp]
Fit = Callable[[Rows], Callable[[Rows], Floats]]
"""Learns from rows of patients, repeats allowed, and returns what foretells the probability of any rows."""
Measure = Callable[[Bools, Floats], Floats]
"""Indices, shape (K,), of events and probabilities, both (n,); NaN where one does not exist."""

INDICES = ("dxy", "r2", "intercept", "slope", "d", "u", "q", "brier", "g", "gp")


@dataclass(frozen=True, slots=True)
class Corrected:
    """Indices of a model and what is left of them without optimism; arrays of shape (K,).

    Attributes:
        apparent: In the patients the model learned from.
        training: Mean over resamples, of models in the patients they were drawn from.
        test: Mean over resamples, of the same models in all patients.
        resamples: How many resamples had the index in both; where none had, the means are NaN.
    """

    apparent: Floats
    training: Floats
    test: Floats
    resamples: NDArray[np.int64]

    @property
    def optimism(self) -> Floats:
        """How much better models look in their own patients."""
        return self.training - self.test

    @property
    def corrected(self) -> Floats:
        """The apparent index less its optimism."""
        return self.apparent - self.optimism


@dataclass(frozen=True, slots=True)
class CorrectedCurve:
    """A calibration curve with and without optimism; arrays of shape (m,), NaN where it was never seen.

    Attributes:
        probability: Where the curve is given.
        apparent: Observed risk in the patients the model learned from.
        corrected: The same less its optimism.
    """

    probability: Floats
    apparent: Floats
    corrected: Floats

    @property
    def mean_absolute_error(self) -> float:
        """Mean distance of the corrected curve from the diagonal over its points; NaN where none was seen."""
        distance = np.abs(self.corrected - self.probability)
        return float(distance[np.isfinite(distance)].mean()) if np.isfinite(distance).any() else nan


def draw_rows(n: int, *, resamples: int, seed: int) -> Rows:
    """Draw rows of n patients with replacement, shape (resamples, n)."""
    return np.random.default_rng(seed).integers(n, size=(resamples, n))


def optimism_corrected(fit: Fit, measure: Measure, event: ArrayLike, rows: Rows) -> Corrected:
    """Correct indices of a model for optimism: learn again from each resample, compare there and in all patients.

    Everything that learned from patients must be learned again by ``fit``, selection and tuning too; what stays fixed
    keeps its optimism.

    Args:
        fit: Learns from rows of patients and returns what foretells.
        measure: The indices; sees the events and the probabilities of one model in some patients.
        event: Whether each patient had the event, shape (n,); both classes must be there.
        rows: The patients of each resample, shape (B, n). One whose patients share an outcome is left out.

    Raises:
        ValueError: If no resample has both classes.

    References:
        Efron, Gong. Am Stat 1983;37:36-48. Harrell, Lee, Mark. Stat Med 1996;15:361-387.
    """
    everyone = np.arange(np.size(event))
    probability = fit(everyone)(everyone)
    happened, probabilities = checked_probabilities(event, probability)
    of_row = happened[rows]
    usable = rows[of_row.any(axis=1) & ~of_row.all(axis=1)]
    if not usable.size:
        raise ValueError(f"optimism needs a resample with both classes: none of {len(rows)} has them")
    pairs = np.array([_training_and_test(fit, measure, happened, drawn) for drawn in usable])
    there = np.isfinite(pairs).all(axis=1)
    resamples = there.sum(axis=0)
    sums = np.where(there[:, None], pairs, 0.0).sum(axis=0)
    means = np.divide(sums, resamples, out=np.full(sums.shape, nan), where=resamples > 0)
    return Corrected(measure(happened, probabilities), means[0], means[1], resamples)


def calibration_curve_corrected(fit: Fit, event: ArrayLike, at: ArrayLike, rows: Rows) -> CorrectedCurve:
    """Correct a lowess calibration curve for optimism, as rms::calibrate does.

    Args:
        fit: Learns from rows of patients and returns what foretells.
        event: Whether each patient had the event, shape (n,); both classes must be there.
        at: Probabilities to give the curve at, shape (m,); those of the patients, to weigh its error by them.
        rows: The patients of each resample, shape (B, n).
    """
    points = np.asarray(at, dtype=float)
    curve = optimism_corrected(fit, lambda happened, foretold: lowess_curve(happened, foretold, points), event, rows)
    return CorrectedCurve(points, curve.apparent, curve.corrected)


def validation_indices(event: ArrayLike, probability: ArrayLike) -> Floats:
    """Return the indices that rms::validate corrects for a logistic model, in the order of ``INDICES``.

    Somers' Dxy; Nagelkerke's R² of the recalibrated model; calibration intercept and slope; Harrell's D of the
    recalibrated model, U and Q; the Brier score; Gini's mean difference of the recalibrated log odds (g) and of the
    recalibrated probabilities (gp). Those that rest on recalibration are NaN where a probability separates the classes.

    Args:
        event: Whether each patient had the event, shape (n,); both classes must be there.
        probability: Of the event, shape (n,), strictly between 0 and 1.

    References:
        Harrell. Regression Modeling Strategies, 2nd ed., sections 5.3 and 10.9.
    """
    happened, probabilities = checked_probabilities(event, probability)
    fit = deviance(happened, probabilities)
    intercept, slope = recalibrated_log_odds(happened, probabilities)
    log_odds = intercept + slope * logit(probabilities)
    d = (fit.null - fit.recalibrated - 1) / fit.n
    return np.array(
        [
            2 * delong(happened, probabilities).auc - 1,
            nagelkerke(fit.null, fit.recalibrated, fit.n),
            intercept,
            slope,
            d,
            fit.unreliability,
            d - fit.unreliability,
            ((probabilities - happened) ** 2).mean(),
            _mean_difference(log_odds),
            _mean_difference(expit(log_odds)),
        ]
    )


def largest_shift(intercept: float, slope: float) -> float:
    """Return how far recalibration by intercept and slope moves a probability at most: Emax of rms::validate."""
    inner = np.linspace(0, 1, 2001)[1:-1]
    return float(np.abs(inner - expit(intercept + slope * logit(inner))).max())


def _training_and_test(fit: Fit, measure: Measure, event: Bools, rows: Rows) -> tuple[Floats, Floats]:
    foretell = fit(rows)
    return measure(event[rows], foretell(rows)), measure(event, foretell(np.arange(event.size)))


def _mean_difference(values: Floats) -> float:
    n = values.size
    return float(2 * ((2 * np.arange(1, n + 1) - n - 1) @ np.sort(values)) / (n * (n - 1)))
