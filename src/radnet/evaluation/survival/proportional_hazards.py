"""The Cox model as a way to judge: hazard ratios per SD or per group, alone or adjusted, and the tests of a fit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, norm

from radnet.evaluation.discrimination import Estimate, Floats
from radnet.evaluation.survival.follow_up import checked_times
from radnet.evaluation.survival.partial_likelihood import Deaths, Ties, deaths, log_likelihood, score_of

_MAX_STEPS = 100
# In units of one SD. A coefficient that data can tell has an error of order 1; one that runs away, of order 1e6.
_RUNAWAY_ERROR = 1e3
# Between the log hazards of two patients: no data can tell e^100, and beyond e^700 numbers end.
_RUNAWAY_RISK, _FARTHEST_STEP = 100.0, 20.0


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """A χ² statistic, its degrees of freedom and its p-value."""

    chi2: float
    df: int

    @property
    def p_value(self) -> float:
        """Probability of a larger statistic."""
        return float(chi2.sf(self.chi2, self.df))


@dataclass(frozen=True, slots=True)
class CoxFit:
    """A fitted Cox model of P covariates.

    Attributes:
        coefficient: Log hazard ratio of one unit of each covariate, shape (P,).
        covariance: Inverse of the observed information, shape (P, P).
        log_likelihood: Log partial likelihood at ``coefficient``.
        log_likelihood_null: The same at 0.
        score_test: Rao's test that all coefficients are 0.
        n: Patients.
        n_event: Patients with the event.
    """

    coefficient: Floats
    covariance: Floats
    log_likelihood: float
    log_likelihood_null: float
    score_test: ChiSquare
    n: int
    n_event: int

    @property
    def standard_error(self) -> Floats:
        """Standard error of each coefficient, shape (P,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def likelihood_ratio_test(self) -> ChiSquare:
        """Test that all coefficients are 0, by the gain in log likelihood."""
        return ChiSquare(2 * (self.log_likelihood - self.log_likelihood_null), self.coefficient.size)

    @property
    def wald_test(self) -> ChiSquare:
        """Test that all coefficients are 0, by their distance from 0."""
        distance = float(self.coefficient @ np.linalg.solve(self.covariance, self.coefficient))
        return ChiSquare(distance, self.coefficient.size)

    @property
    def aic(self) -> float:
        """Akaike's information criterion."""
        return 2 * self.coefficient.size - 2 * self.log_likelihood

    def hazard_ratios(self, level: float) -> list[Estimate]:
        """Return the hazard ratio of one unit of each covariate, with Wald interval and p-value."""
        reach = float(norm.ppf((1 + level) / 2)) * self.standard_error
        p_value = 2 * norm.sf(np.abs(self.coefficient) / self.standard_error)
        with np.errstate(over="ignore"):  # groups that are all but separated have a bound beyond any number
            bounds = np.exp([self.coefficient, self.coefficient - reach, self.coefficient + reach])
        return [Estimate(*map(float, row)) for row in np.column_stack([*bounds, p_value])]


def cox(time: ArrayLike, event: ArrayLike, covariates: ArrayLike, ties: Ties = "efron") -> CoxFit:
    """Fit a Cox model by Newton's method to machine precision.

    It is written here, not taken from lifelines, because the tests of proportional hazards need what the likelihood
    is made of at each event, and because lifelines has no Breslow ties and takes a second to import.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        covariates: Shape (n, P), complete and finite; categories as columns of 0 and 1.
        ties: How events at one time are handled.

    Raises:
        ValueError: If there is no event, if columns are collinear, or if a hazard ratio is infinite or 0.

    References:
        Cox. J R Stat Soc B 1972;34:187-220. Efron. J Am Stat Assoc 1977;72:557-565. R package survival, coxph.
    """
    times, happened, columns = checked_covariates(time, event, covariates)
    scale = columns.std(axis=0)
    scaled = (columns - columns.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    at_zero = deaths(times, happened, scaled, np.zeros(columns.shape[1]), ties)
    score, information = score_of(at_zero), at_zero.spread.sum(axis=0)
    if np.linalg.matrix_rank(information, hermitian=True, tol=1e-9 * happened.sum()) < columns.shape[1]:
        raise ValueError(
            "a Cox model needs covariates that differ, and not as one another do, among those at risk at the events"
        )
    null = log_likelihood(at_zero, np.zeros(columns.shape[1]))
    score_test = ChiSquare(float(score @ np.linalg.solve(information, score)), columns.shape[1])
    coefficient, covariance, likelihood = _maximise(times, happened, scaled, ties, at_zero)
    if (runaway := np.flatnonzero(np.sqrt(np.diag(covariance)) > _RUNAWAY_ERROR)).size:
        raise ValueError(_no_top(runaway))
    return CoxFit(
        coefficient / scale,
        covariance / np.outer(scale, scale),
        likelihood,
        null,
        score_test,
        times.size,
        int(happened.sum()),
    )


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
    times, happened, columns = checked_covariates(time, event, np.asarray(covariate, dtype=float)[:, None])
    _refuse_monotone_likelihood(times, happened, columns[:, 0])
    return cox(times, happened, columns).hazard_ratios(level)[0]


def cumulative_hazard(
    time: ArrayLike, event: ArrayLike, covariates: ArrayLike, coefficient: Floats, ties: Ties = "efron"
) -> tuple[Floats, Floats]:
    """Return the distinct times, and the hazard summed up to each for a patient whose covariates are all 0.

    References:
        Breslow. Biometrics 1974;30:89-99. R package survival, basehaz(centered = FALSE).
    """
    times, happened, columns = checked_covariates(time, event, covariates)
    model = deaths(times, happened, columns, coefficient, ties)
    distinct = np.unique(times)
    summed = np.concatenate([[0.0], np.cumsum(np.exp(-model.log_risk))])
    return distinct, summed[np.searchsorted(model.time, distinct, side="right")]


def checked_covariates(
    time: ArrayLike, event: ArrayLike, covariates: ArrayLike
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Return time, event and covariates, shape (n, P), or say what is wrong with them."""
    times, happened = checked_times(time, event)
    columns = np.asarray(covariates, dtype=float)
    if columns.ndim != 2 or columns.shape[0] != times.size or columns.shape[1] == 0:
        raise ValueError(f"covariates must be {times.size} patients × columns, got {columns.shape}")
    if not np.isfinite(columns).all():
        raise ValueError(f"{(~np.isfinite(columns)).any(axis=1).sum()} of {times.size} patients miss a covariate")
    if not happened.any():
        raise ValueError(f"a Cox model needs an event: 0 of {times.size} had it")
    return times, happened, columns


def _no_top(runaway: NDArray[np.intp]) -> str:
    named = ", ".join(str(place) for place in runaway)
    return f"the hazard ratio of covariate {named} (from 0) is infinite or 0: the likelihood has no top"


def _maximise(
    time: Floats, event: NDArray[np.bool_], covariates: Floats, ties: Ties, start: Deaths
) -> tuple[Floats, Floats, float]:
    """Return the coefficient, its covariance and the log likelihood at the top."""
    coefficient = np.zeros(covariates.shape[1])
    model, likelihood = start, log_likelihood(start, coefficient)
    for _ in range(_MAX_STEPS):
        score = score_of(model)
        step = np.linalg.pinv(model.spread.sum(axis=0), hermitian=True) @ score
        arrived = bool(score @ step < 1e-14)  # the next error is about the square of this one, in standard errors
        step = step * min(1.0, _FARTHEST_STEP / max(float(np.ptp(covariates @ step)), 1e-300))
        while True:
            ahead = deaths(time, event, covariates, coefficient + step, ties)
            better = log_likelihood(ahead, coefficient + step)
            if better >= likelihood - 1e-9 * abs(likelihood) or np.abs(step).max() < 1e-12:
                break
            step = step / 2
        coefficient, model, likelihood = coefficient + step, ahead, better
        if np.ptp(covariates @ coefficient) > _RUNAWAY_RISK:
            raise ValueError(_no_top(np.array([np.argmax(np.abs(coefficient))])))
        if arrived:
            break
    else:
        raise ValueError(f"the Cox model did not settle in {_MAX_STEPS} steps: are there too many covariates?")
    information = model.spread.sum(axis=0)
    smallest = np.linalg.eigvalsh(information)[0]
    if smallest <= 1 / _RUNAWAY_ERROR**2:  # too flat to invert: the diagonal alone tells which coefficient runs away
        return coefficient, np.diag(1 / np.maximum(np.diag(information), 1e-300)), likelihood
    return coefficient, np.linalg.inv(information), likelihood


def _refuse_monotone_likelihood(time: Floats, event: NDArray[np.bool_], covariate: Floats) -> None:
    order = np.argsort(-time, kind="stable")
    last_at_risk = np.searchsorted(-time[order], -time[event], side="right") - 1
    highest = np.maximum.accumulate(covariate[order])[last_at_risk]
    lowest = np.minimum.accumulate(covariate[order])[last_at_risk]
    if np.array_equal(highest, lowest):
        raise ValueError("a hazard ratio needs patients who differ while somebody has the event, but none do")
    if np.array_equal(covariate[event], highest):
        raise ValueError("the hazard ratio is infinite: at each event the highest of those at risk had it")
    if np.array_equal(covariate[event], lowest):
        raise ValueError("the hazard ratio is 0: at each event the lowest of those at risk had it")
