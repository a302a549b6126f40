"""Logistic regression of lesions that share patients: a random intercept per patient, or each patient weighing one."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import log, pi, sqrt
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog, minimize
from scipy.special import expit, logsumexp
from scipy.stats import norm
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_array, check_is_fitted

Floats = NDArray[np.float64]
Objective = Callable[[Floats], tuple[float, Floats]]  # parameters -> log-likelihood and its gradient

_LARGEST_SD = 1e3  # of the intercept, log odds: a search that comes this far has run away
_CONVERGED = 1e-10  # squared distance to the maximum, in standard errors
_OVERSTATED = 1e-3  # log-likelihood per patient that nodes may make up; they miss some where the variance is moderate


class LogisticMixedModel(ClassifierMixin, BaseEstimator):
    """A logistic model of lesions in which each patient has an intercept of its own, drawn from N(0, σ²).

    The likelihood integrates over the intercept at ``quadrature_points`` nodes placed around the mode of each patient:
    one node is Laplace's approximation, more are adaptive Gauss-Hermite quadrature. Same maximum as lme4's ``glmer``
    (``nAGQ``), sought to machine precision. A new patient is predicted with intercept 0: the odds of a patient in the
    middle, not the average probability over patients.

    Where no finite estimate exists (each patient's lesions share one outcome, or covariates separate the outcomes),
    ``identifiable_`` and ``converged_`` are False, ``obstacle_`` says why, and a ``ConvergenceWarning`` is issued; the
    numbers left are where the search stopped, not estimates. ``converged_`` alone is False where a maximum exists but
    was not found, or is one of the quadrature's error and not of the likelihood: take more nodes.

    Args:
        quadrature_points: Nodes of the quadrature; 1 is Laplace's approximation.

    Attributes:
        classes_: The two outcomes; the second is the one predicted.
        intercept_: Log odds of a patient in the middle at X = 0, shape (1,).
        coef_: Log odds ratios within a patient, shape (1, p).
        variance_: Variance σ² of the patients' intercepts.
        covariance_: Of intercept and coefficients, from the observed information of all parameters, shape
            (p + 1, p + 1); NaN where that has no inverse.
        log_likelihood_: Of 0/1 outcomes: without the binomial constant that ``glmer`` adds to aggregated counts.
        log_likelihood_exact_: At the same values, integrated to machine precision: what the nodes lack.
        log_likelihood_fixed_: Of the same model without patients' intercepts, a plain logistic regression.
        aic_: Akaike's criterion; σ counts as a parameter.
        bic_: Schwarz's criterion, with the number of lesions as n, as in lme4.
        patients_: The patients, sorted, shape (m,).
        patient_intercept_: Conditional mode of each patient's intercept (``ranef``), shape (m,).
        patient_intercept_variance_: Its conditional variance at the mode, shape (m,).
        fitted_: Probability of each training lesion with its patient's intercept, shape (n,).
        singular_: Whether the variance is estimated as 0: the plain logistic regression is the best fit.
        identifiable_: Whether the likelihood has a maximum at finite values.
        converged_: Whether such a maximum was found.
        obstacle_: Why it was not; empty if it was.

    References:
        Bates, Maechler, Bolker, Walker. J Stat Softw 2015;67(1). Pinheiro, Bates. J Comput Graph Stat 1995;4:12-35.

    Example:
        >>> X, patient = np.tile([[-1.0], [0.0], [1.0], [2.0]], (4, 1)), np.repeat(list("abcd"), 4)
        >>> y = [0, 0, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 1, 1, 1]
        >>> model = LogisticMixedModel(quadrature_points=10).fit(X, y, patient)
        >>> model.predict_proba([[1.0], [1.0]], groups=["c", "new"])[:, 1].round(2)
        array([0.24, 0.6 ])
    """

    def __init__(self, quadrature_points: int) -> None:
        self.quadrature_points = quadrature_points

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike) -> Self:
        """Learn from lesions, one row each.

        Args:
            X: Covariates without a column for the intercept, shape (n, p); p may be 0.
            y: Outcome of each lesion, two classes, shape (n,).
            groups: Patient of each lesion, shape (n,).

        Raises:
            ValueError: If a value is missing, there are not two classes or two patients, or covariates follow from
                each other.
        """
        if self.quadrature_points < 1:
            raise ValueError(f"quadrature_points must be 1 or more, got {self.quadrature_points}")
        covariates = _checked_covariates(X)
        self.classes_, event = _checked_outcome(y, len(covariates))
        self.patients_, patient = _checked_patients(groups, len(covariates))
        self.n_features_in_ = covariates.shape[1]
        if isinstance(X, pd.DataFrame):
            self.feature_names_in_ = np.asarray([str(column) for column in X.columns], dtype=object)
        design, unscale = _orthonormal(covariates, self._names())
        self.obstacle_ = _obstacle(design, event, patient)
        self.identifiable_ = not self.obstacle_
        likelihood = _Marginal.of(design, event, patient, self.quadrature_points)
        fixed = _maximise(likelihood.without_intercepts, np.zeros(design.shape[1]))
        found = _maximise(likelihood, np.append(fixed.parameters, 1.0))
        # The likelihood is even in σ, so that σ = 0 is always level and is a maximum where nothing lies higher.
        self.singular_ = bool(fixed.value >= found.value - 1e-10)
        best = (
            _Maximum(np.append(fixed.parameters, 0.0), fixed.value, fixed.covariance, fixed.distance)
            if self.singular_
            else found
        )
        self.log_likelihood_fixed_ = fixed.value
        self._keep(best, unscale, likelihood)
        made_up = self.log_likelihood_ - self.log_likelihood_exact_
        if self.identifiable_ and not best.reached:
            self.obstacle_ = "the search for the maximum did not arrive at one"
        elif self.identifiable_ and made_up > _OVERSTATED * self.patients_.size:
            self.obstacle_ = (
                f"with quadrature_points={self.quadrature_points} the log-likelihood is {made_up:.2g} too high: the "
                f"variance found, {self.variance_:.3g}, is too large for so few nodes"
            )
        self.converged_ = not self.obstacle_
        if self.obstacle_:
            warnings.warn(f"logistic mixed model: {self.obstacle_}", ConvergenceWarning, stacklevel=2)
        return self

    def decision_function(self, X: ArrayLike, groups: ArrayLike | None = None) -> Floats:
        """Return log odds, shape (n,), with intercept 0 unless ``groups`` names a patient of the training data."""
        check_is_fitted(self)
        covariates = _checked_covariates(X)
        if isinstance(X, pd.DataFrame) and list(X.columns) != list(getattr(self, "feature_names_in_", X.columns)):
            raise ValueError(f"covariates are {list(X.columns)}, trained on {list(self.feature_names_in_)}")
        if covariates.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {covariates.shape[1]} covariates, trained on {self.n_features_in_}")
        fixed = covariates @ self.coef_[0] + self.intercept_[0]
        return fixed if groups is None else fixed + self._intercepts(groups, len(covariates))

    def predict_proba(self, X: ArrayLike, groups: ArrayLike | None = None) -> Floats:
        """Return the probability of either class, shape (n, 2); ``groups`` as in ``decision_function``."""
        probability = expit(self.decision_function(X, groups))
        return np.column_stack([1 - probability, probability])

    def predict(self, X: ArrayLike, groups: ArrayLike | None = None) -> NDArray[Any]:
        """Return the likelier class, shape (n,); ``groups`` as in ``decision_function``."""
        return self.classes_[(self.decision_function(X, groups) > 0).astype(int)]

    @property
    def standard_error_(self) -> Floats:
        """Standard errors of the intercept and the coefficients, shape (p + 1,)."""
        return np.sqrt(np.diag(self.covariance_))

    @property
    def latent_icc_(self) -> float:
        """Share of the variance of the latent log odds that lies between patients: σ² / (σ² + π²/3)."""
        return self.variance_ / (self.variance_ + pi**2 / 3)

    def fixed_effects(self, level: float = 0.95) -> pd.DataFrame:
        """Return coefficient, standard_error, z, p_value and Wald's interval of each fixed effect, intercept first."""
        estimate, error = np.append(self.intercept_, self.coef_[0]), self.standard_error_
        z, reach = estimate / error, norm.ppf((1 + level) / 2) * error
        return pd.DataFrame(
            {
                "coefficient": estimate,
                "standard_error": error,
                "z": z,
                "p_value": 2 * norm.sf(np.abs(z)),
                "lower": estimate - reach,
                "upper": estimate + reach,
            },
            index=pd.Index(["(intercept)", *self._names()], name="name"),
        )

    def _names(self) -> list[str]:
        return list(getattr(self, "feature_names_in_", [f"x{column}" for column in range(self.n_features_in_)]))

    def _intercepts(self, groups: ArrayLike, n: int) -> Floats:
        wanted = _checked_labels(groups, n)
        where = pd.Index(self.patients_).get_indexer(wanted)
        return np.where(where >= 0, self.patient_intercept_[where], 0.0)

    def _keep(self, best: "_Maximum", unscale: Floats, likelihood: "_Marginal") -> None:
        scaled, sd = best.parameters[:-1], float(best.parameters[-1])
        p = scaled.size
        effects = unscale @ scaled
        self.intercept_, self.coef_ = effects[:1], effects[None, 1:]
        self.covariance_ = unscale @ best.covariance[:p, :p] @ unscale.T
        self.variance_ = sd**2
        self.log_likelihood_ = best.value
        self.log_likelihood_exact_ = likelihood.exact(scaled, sd)
        self.aic_ = 2 * (p + 1) - 2 * best.value
        self.bic_ = log(likelihood.event.size) * (p + 1) - 2 * best.value
        mode, spread, fitted = likelihood.conditional(scaled, sd)
        self.patient_intercept_ = sd * mode
        self.patient_intercept_variance_ = (sd * spread) ** 2
        self.fitted_ = fitted


def patient_weights(groups: ArrayLike) -> Floats:
    """Weigh each lesion 1 / the lesions of its patient, so that each patient weighs 1; shape (n,).

    Example:
        >>> patient_weights(["a", "a", "b"])
        array([0.5, 0.5, 1. ])
    """
    _, patient, lesions = np.unique(_checked_labels(groups), return_inverse=True, return_counts=True)
    return 1.0 / lesions[patient]


def obstacle_to_mixed_model(X: ArrayLike, y: ArrayLike, groups: ArrayLike) -> str:
    """Say why a logistic mixed model of these lesions has no finite estimate, without fitting it; empty if it may."""
    covariates = _checked_covariates(X)
    _, event = _checked_outcome(y, len(covariates))
    _, patient = _checked_patients(groups, len(covariates))
    names = [f"x{column}" for column in range(covariates.shape[1])]
    return _obstacle(_orthonormal(covariates, names)[0], event, patient)


@dataclass(frozen=True)
class _Maximum:
    parameters: Floats
    value: float
    covariance: Floats  # NaN where the information has no inverse
    distance: float  # squared, in standard errors

    @property
    def reached(self) -> bool:
        return self.distance < _CONVERGED


@dataclass(frozen=True)
class _Marginal:
    """Log-likelihood of (coefficients, σ) with patients' intercepts σ·v, v ~ N(0, 1), integrated out.

    Attributes:
        design: Covariates with the intercept, rows of a patient next to each other, shape (n, p).
        event: 0 or 1, shape (n,).
        patient: Index of each row's patient, rising, shape (n,).
        order: Where each row came from, shape (n,).
        node: Nodes of Gauss-Hermite quadrature, shape (k,).
        log_weight: Logarithm of their weights times exp(node²), shape (k,).
    """

    design: Floats
    event: Floats
    patient: NDArray[np.intp]
    order: NDArray[np.intp]
    node: Floats
    log_weight: Floats

    @classmethod
    def of(cls, design: Floats, event: NDArray[np.bool_], patient: NDArray[np.intp], points: int) -> Self:
        order = np.argsort(patient, kind="stable")
        node, weight = np.polynomial.hermite.hermgauss(points)
        return cls(design[order], event[order].astype(float), patient[order], order, node, np.log(weight) + node**2)

    @cached_property
    def first_row(self) -> NDArray[np.intp]:
        return np.flatnonzero(np.diff(self.patient, prepend=-1))

    def per_patient(self, values: Floats) -> Floats:
        return np.add.reduceat(values, self.first_row, axis=0)

    def mode(self, fixed: Floats, sd: float) -> Floats:
        """Maximise over v each patient's log-likelihood minus v²/2, by Newton's steps held within a bracket."""
        above = abs(sd) * self.per_patient(np.ones(fixed.size))
        below, v, before = -above, np.zeros(above.size), np.full(above.size, np.inf)
        for _ in range(200):
            p = expit(fixed + sd * v[self.patient])
            slope = sd * self.per_patient(self.event - p) - v
            step = slope / (1 + sd**2 * self.per_patient(p * (1 - p)))
            if np.all(np.abs(step) <= 1e-13 * (1 + np.abs(v))):
                break
            below, above = np.where(slope > 0, v, below), np.where(slope > 0, above, v)
            # Newton's steps may leap to and fro across the mode for ever: halve the bracket where they gain too little.
            reached, gains = v + step, np.abs(slope) < before / 2
            v = np.where(gains & (reached >= below) & (reached <= above), reached, (below + above) / 2)
            before = np.abs(slope)
        return v

    def conditional(self, coefficient: Floats, sd: float) -> tuple[Floats, Floats, Floats]:
        """Return mode and spread of each patient's v, and the fitted probability of each row as first given."""
        fixed = self.design @ coefficient
        v = self.mode(fixed, sd)
        p = expit(fixed + sd * v[self.patient])
        fitted = np.empty(p.size)
        fitted[self.order] = p
        return v, (1 + sd**2 * self.per_patient(p * (1 - p))) ** -0.5, fitted

    def exact(self, coefficient: Floats, sd: float) -> float:
        """Integrate by the trapezoidal rule, whose error vanishes faster than any power of its step.

        The integrand has poles at odds of iπ, thus π / σ from the real axis: at this step the error is near exp(-40).
        """
        step = min(0.1, 0.5 / abs(sd)) if sd else 0.1
        total = np.full(self.first_row.size, -np.inf)
        fixed = (self.design @ coefficient)[:, None]
        for v in np.array_split(np.arange(-10, 10 + step, step), max(1, round(20 / step) // 1000)):
            height = self.per_patient(_log_probability(self.event[:, None], fixed + sd * v)) - v**2 / 2
            total = np.logaddexp(total, logsumexp(height, axis=1))
        return float((total + log(step) - log(2 * pi) / 2).sum())

    def without_intercepts(self, coefficient: Floats) -> tuple[float, Floats]:
        fixed = self.design @ coefficient
        return _log_probability(self.event, fixed).sum(), self.design.T @ (self.event - expit(fixed))

    def __call__(self, parameters: Floats) -> tuple[float, Floats]:
        """Return the log-likelihood and its gradient, nodes moving with mode and spread."""
        sd = float(parameters[-1])
        fixed = self.design @ parameters[:-1]
        v = self.mode(fixed, sd)
        p = expit(fixed + sd * v[self.patient])
        weight = p * (1 - p)
        skew = weight * (1 - 2 * p)
        weights, skews = self.per_patient(weight), self.per_patient(skew)
        curvature = 1 + sd**2 * weights
        spread = curvature**-0.5

        nodes = v[:, None] + sqrt(2) * spread[:, None] * self.node
        odds = fixed[:, None] + sd * nodes[self.patient]
        height = self.per_patient(_log_probability(self.event[:, None], odds)) - nodes**2 / 2 + self.log_weight
        total = logsumexp(height, axis=1)
        value = float((total + np.log(spread)).sum()) - 0.5 * log(pi) * v.size

        share = np.exp(height - total[:, None])
        residual = self.event[:, None] - expit(odds)
        residuals = self.per_patient(residual)
        slope = share * (sd * residuals - nodes)
        by_spread = 1 + sqrt(2) * spread * (slope @ self.node)  # d value / d log spread
        by_mode = slope.sum(axis=1) - by_spread * sd**3 * skews / (2 * curvature)
        per_row = (
            (share[self.patient] * residual).sum(axis=1)
            - (by_spread * sd**2 / (2 * curvature))[self.patient] * skew
            - (by_mode * sd / curvature)[self.patient] * weight
        )
        mode_by_sd = (self.per_patient(self.event - p) - sd * v * weights) / curvature
        by_sd = (
            (share * nodes * residuals).sum(axis=1)
            - by_spread * (2 * sd * weights + sd**2 * skews * v) / (2 * curvature)
            + by_mode * mode_by_sd
        )
        return value, np.append(self.design.T @ per_row, by_sd.sum())


def _log_probability(event: Floats, odds: Floats) -> Floats:
    return event * odds - np.logaddexp(0.0, odds)


def _maximise(objective: Objective, start: Floats) -> _Maximum:
    """Climb by L-BFGS, then by Newton's steps to machine precision."""

    def down(parameters: Floats) -> tuple[float, Floats]:
        value, gradient = objective(parameters)
        return -value, -gradient

    bounds = [(-_LARGEST_SD, _LARGEST_SD)] * start.size
    at = minimize(down, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 1000}).x
    value, gradient = objective(at)
    nowhere = np.full((at.size, at.size), np.nan)
    for _ in range(30):
        information = _information(objective, at)
        if not np.isfinite(information).all() or np.linalg.eigvalsh(information)[0] < 1e-9:
            return _Maximum(at, value, nowhere, np.inf)
        covariance: Floats = np.asarray(np.linalg.inv(information), dtype=np.float64)
        step = covariance @ gradient
        distance = float(gradient @ step)
        if distance < _CONVERGED**2:
            break
        length = 1.0
        while objective(at + length * step)[0] < value - 1e-9 and length > 1e-6:
            length /= 2
        at = at + length * step
        value, gradient = objective(at)
    return _Maximum(at, value, covariance, distance)


def _information(objective: Objective, at: Floats) -> Floats:
    reach = 1e-4  # parameters are of order 1; the error is of order reach²
    found = np.empty((at.size, at.size))
    for row, step in enumerate(np.eye(at.size) * reach):
        found[row] = (objective(at - step)[1] - objective(at + step)[1]) / (2 * reach)
    return (found + found.T) / 2


def _obstacle(design: Floats, event: NDArray[np.bool_], patient: NDArray[np.intp]) -> str:
    events, lesions = np.bincount(patient, weights=event), np.bincount(patient)
    if not ((events > 0) & (events < lesions)).any():
        return "no patient has lesions of both outcomes, so that nothing bounds the variance between patients"
    told = np.where(event, 1.0, -1.0)[:, None] * design
    apart = linprog(-told.sum(axis=0), A_ub=-told, b_ub=np.zeros(len(told)), bounds=(-1, 1), method="highs")
    if -apart.fun > 1e-6:  # the solver's own tolerance is 1e-7
        return "separation: the covariates tell the outcomes apart without an error, so that the odds have no bound"
    return ""


def _orthonormal(covariates: Floats, names: list[str]) -> tuple[Floats, Floats]:
    """Return columns of mean square 1 at right angles, and the matrix that takes their coefficients back."""
    design = np.column_stack([np.ones(len(covariates)), covariates])
    scale = np.sqrt((design**2).mean(axis=0))
    if empty := [name for name, size in zip(names, scale[1:], strict=True) if size == 0]:
        raise ValueError(f"covariates are 0 for every lesion: {', '.join(empty)}")
    if len(design) < design.shape[1]:
        raise ValueError(f"{design.shape[1]} coefficients outnumber the {len(design)} lesions")
    q, r = np.linalg.qr(design / scale)
    _, length, directions = np.linalg.svd(r)
    if length[-1] <= 1e-9 * length[0]:
        involved = np.abs(directions[-1][1:]) > 1e-6
        told = ", ".join(name for name, one in zip(names, involved, strict=True) if one)
        raise ValueError(f"covariates follow from each other or are constant: {told}")
    n = sqrt(len(design))
    return q * n, np.linalg.inv(r) * n / scale[:, None]


def _checked_covariates(X: ArrayLike) -> Floats:
    return check_array(X, dtype=np.float64, ensure_min_features=0, input_name="X")


def _checked_outcome(y: ArrayLike, n: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    outcome = np.asarray(y)
    if outcome.shape != (n,):
        raise ValueError(f"{n} lesions need an outcome each, got shape {outcome.shape}")
    classes = np.unique(outcome)
    if classes.size != 2 or pd.isna(classes).any():
        raise ValueError(f"the outcome must have two classes, found {classes.tolist()}")
    return classes, outcome == classes[1]


def _checked_patients(groups: ArrayLike, n: int) -> tuple[NDArray[Any], NDArray[np.intp]]:
    patients, patient = np.unique(_checked_labels(groups, n), return_inverse=True)
    if patients.size < 2:
        raise ValueError(f"a random intercept needs two patients or more, found {patients.size}")
    return patients, patient


def _checked_labels(groups: ArrayLike, n: int | None = None) -> NDArray[Any]:
    labels = np.asarray(np.asarray(groups).tolist())  # plain text or numbers, never objects
    if labels.ndim != 1 or (n is not None and labels.size != n):
        raise ValueError(f"each lesion needs a patient in groups, got shape {labels.shape}, for {n} lesions")
    if pd.isna(np.asarray(groups, dtype=object)).any():
        raise ValueError("groups: a lesion has no patient")
    return labels
