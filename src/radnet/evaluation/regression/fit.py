"""Logistic and Cox models by maximum likelihood: coefficients, Wald's and profile intervals, likelihood ratios."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, norm

from radnet.evaluation.discrimination import Floats
from radnet.evaluation.regression.likelihood import (
    LogLikelihood,
    cox_likelihood,
    logistic_likelihood,
    maximise,
    profile_bound,
)
from radnet.evaluation.regression.separation import separating_cox, separating_logistic


class SeparationError(ValueError):
    """A likelihood without a maximum: some covariates tell the patients with the event apart without an error."""


@dataclass(frozen=True, slots=True)
class LikelihoodRatio:
    """Twice the gain in log-likelihood by some coefficients, their number, and the χ² p-value."""

    chi2: float
    df: int
    p_value: float


@dataclass(frozen=True)
class Fit:
    """A model at the maximum of its likelihood.

    Attributes:
        names: Name of each coefficient; a logistic model starts with ``(intercept)``.
        coefficient: Log odds or log hazard ratios, shape (p,).
        covariance: Inverse of the observed information, shape (p, p).
        log_likelihood: At the maximum.
        log_likelihood_null: Without covariates.
        n: Patients.
        n_event: Patients with the event.
        likelihood: The log-likelihood as a function of the coefficients.
    """

    names: tuple[str, ...]
    coefficient: Floats
    covariance: Floats
    log_likelihood: float
    log_likelihood_null: float
    n: int
    n_event: int
    likelihood: LogLikelihood

    @cached_property
    def standard_error(self) -> Floats:
        """Standard error of each coefficient, shape (p,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def p_value(self) -> Floats:
        """Wald's two-sided p-value of each coefficient, shape (p,)."""
        return 2 * norm.sf(np.abs(self.coefficient / self.standard_error))

    @property
    def aic(self) -> float:
        """Akaike's information criterion: compare models of identical patients only."""
        return 2 * self.coefficient.size - 2 * self.log_likelihood

    @property
    def bic(self) -> float:
        """Schwarz's criterion, with the number of patients as R's BIC of a glm."""
        return self.coefficient.size * float(np.log(self.n)) - 2 * self.log_likelihood

    def wald_interval(self, level: float) -> tuple[Floats, Floats]:
        """Return the bounds of each coefficient at so many standard errors, shapes (p,)."""
        reach = float(norm.ppf((1 + level) / 2)) * self.standard_error
        return self.coefficient - reach, self.coefficient + reach

    def profile_interval(self, index: int, level: float) -> tuple[float, float]:
        """Return where twice the log-likelihood, the other coefficients refitted, has fallen by the χ² quantile.

        A side on which it never falls so far is without a bound: infinite.

        References:
            Venzon, Moolgavkar. Appl Stat 1988;37:87-94.
        """
        fall = float(chi2.ppf(level, 1))
        best, error = self.coefficient, self.standard_error
        return (
            profile_bound(self.likelihood, best, error, index, fall, side=-1),
            profile_bound(self.likelihood, best, error, index, fall, side=+1),
        )


def fit_logistic(event: ArrayLike, X: ArrayLike, names: Sequence[str]) -> Fit:
    """Fit a logistic model by maximum likelihood, without penalty, as R's ``glm(family = binomial)``.

    Args:
        event: Whether each patient had the event, shape (n,).
        X: Covariates, shape (n, p), without a column for the intercept; p may be 0.
        names: Names of the covariates.

    Raises:
        SeparationError: If a covariate, or several together, tell the patients with the event apart without an
            error: the odds ratio has no finite estimate.
        ValueError: If a value is missing, all patients share one outcome, or covariates follow from each other.
    """
    happened = _checked_event(event)
    covariates = _checked_covariates(X, names, happened.size)
    if happened.all() or not happened.any():
        raise ValueError(f"event: both classes are needed: {happened.sum()} of {happened.size} had the event")
    design, scale = _scaled(np.column_stack([np.ones(happened.size), covariates]), ("(intercept)", *names))
    _refuse_separation(separating_logistic(happened, design)[1:], names, "odds")
    start = np.zeros(design.shape[1])
    rate = happened.mean()
    start[0] = np.log(rate / (1 - rate))
    null = float(happened.size * (rate * np.log(rate) + (1 - rate) * np.log(1 - rate)))
    return _fit(logistic_likelihood(happened, design), start, scale, ("(intercept)", *names), null, happened)


def fit_cox(time: ArrayLike, event: ArrayLike, X: ArrayLike, names: Sequence[str]) -> Fit:
    """Fit a Cox model by maximum partial likelihood with Efron's ties, as R's ``coxph``.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        X: Covariates, shape (n, p); p may be 0.
        names: Names of the covariates.

    Raises:
        SeparationError: If at each event those with the highest (lowest) value of a covariate, or of several
            together, had it: the hazard ratio has no finite estimate.
        ValueError: If a value is missing, nobody had the event, or covariates follow from each other.

    References:
        Cox. J R Stat Soc B 1972;34:187-220. Efron. J Am Stat Assoc 1977;72:557-565.
    """
    happened, times = _checked_event(event), np.asarray(time, dtype=float)
    if times.shape != happened.shape or not (np.isfinite(times).all() and (times >= 0).all()):
        raise ValueError("every patient needs a time of 0 or more")
    if not happened.any():
        raise ValueError(f"a Cox model needs an event: 0 of {happened.size} had it")
    covariates = _checked_covariates(X, names, happened.size)
    # The mean does not matter to a partial likelihood, and near 0 the exponentials are exact.
    design, scale = _scaled(covariates - covariates.mean(axis=0), tuple(names))
    _refuse_separation(separating_cox(times, happened, design), names, "hazard")
    likelihood = cox_likelihood(times, happened, design)
    start = np.zeros(design.shape[1])
    return _fit(likelihood, start, scale, tuple(names), likelihood(start)[0], happened)


def likelihood_ratio(larger: Fit, smaller: Fit) -> LikelihoodRatio:
    """Test the coefficients by which one model is larger than another of the same patients."""
    if (larger.n, larger.n_event) != (smaller.n, smaller.n_event):
        raise ValueError(f"models must be of the same patients, got {larger.n} and {smaller.n}")
    df = larger.coefficient.size - smaller.coefficient.size
    gain = max(0.0, 2 * (larger.log_likelihood - smaller.log_likelihood))
    return LikelihoodRatio(gain, df, float(chi2.sf(gain, df)))


def _fit(
    likelihood: LogLikelihood,
    start: Floats,
    scale: Floats,
    names: tuple[str, ...],
    null: float,
    event: NDArray[np.bool_],
) -> Fit:
    _refuse_no_information(likelihood(start)[2], names)
    scaled, value, hessian = maximise(likelihood, start)
    covariance = np.linalg.inv(-hessian) if scaled.size else np.zeros((0, 0))

    def unscaled(coefficient: Floats) -> tuple[float, Floats, Floats]:
        value, gradient, second = likelihood(coefficient * scale)
        return value, gradient * scale, second * np.outer(scale, scale)

    return Fit(
        names, scaled / scale, covariance / np.outer(scale, scale), value, null, event.size, int(event.sum()), unscaled
    )


def _scaled(design: Floats, names: tuple[str, ...]) -> tuple[Floats, Floats]:
    scale = np.sqrt((design**2).mean(axis=0)) if design.size else np.ones(design.shape[1])
    spread = np.ptp(design, axis=0) if design.size else np.zeros(0)
    constant = [name for name, width in zip(names, spread, strict=True) if width == 0 and name != "(intercept)"]
    if constant:
        raise ValueError(f"a model needs covariates that differ between patients; these do not: {', '.join(constant)}")
    scaled = design / scale
    if scaled.shape[0] < scaled.shape[1]:
        raise ValueError(f"{scaled.shape[1]} coefficients outnumber the {scaled.shape[0]} patients")
    _refuse_collinear(scaled, names)
    return scaled, scale


def _refuse_collinear(scaled: Floats, names: Sequence[str]) -> None:
    if not scaled.size:
        return
    _, length, directions = np.linalg.svd(scaled, full_matrices=False)
    nowhere = directions[length <= 1e-9 * sqrt(scaled.size)]
    if len(nowhere):
        involved = np.abs(nowhere).max(axis=0) > 1e-6
        told = ", ".join(name for name, one in zip(names, involved, strict=True) if one and name != "(intercept)")
        raise ValueError(f"covariates follow from each other: {told}")


def _refuse_separation(direction: Floats, names: Sequence[str], ratio: str) -> None:
    apart = [name for name, weight in zip(names, direction, strict=True) if abs(weight) > 1e-6]
    if apart:
        raise SeparationError(f"separation: the {ratio} ratio of {' + '.join(apart)} has no finite estimate")


def _refuse_no_information(hessian: Floats, names: Sequence[str]) -> None:
    if hessian.size and np.linalg.eigvalsh(-hessian)[0] < 1e-9:
        raise ValueError(
            f"nothing can be told of {', '.join(names)}: nobody at risk differs while somebody has the event"
        )


def _checked_event(event: ArrayLike) -> NDArray[np.bool_]:
    happened = np.asarray(event, dtype=float)
    if happened.ndim != 1 or happened.size == 0 or not np.isin(happened, (0.0, 1.0)).all():
        raise ValueError("every event must be 0 or 1: leave out patients whose outcome is unknown")
    return happened == 1


def _checked_covariates(X: ArrayLike, names: Sequence[str], n: int) -> Floats:
    covariates = np.asarray(X, dtype=float)
    if covariates.shape != (n, len(names)):
        raise ValueError(f"{n} patients and {len(names)} names need covariates of that shape, got {covariates.shape}")
    missing = [name for name, column in zip(names, covariates.T, strict=True) if not np.isfinite(column).all()]
    if missing:
        raise ValueError(f"a model needs complete and finite covariates; these are not: {', '.join(missing)}")
    return covariates
