"""Logistic regression of lesions: columns chosen by an elastic net, refitted with an intercept for each patient."""

import warnings
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import ConvergenceWarning

from radnet.models.elastic_net import ElasticNetLogistic
from radnet.models.elastic_net_grid import ElasticNetGrid
from radnet.models.mixed import LogisticMixedModel, obstacle_to_mixed_model, patient_weights
from radnet.models.penalty_path import Floats


class LesionLogistic(ClassifierMixin, BaseEstimator):
    """An elastic net chooses columns of lesions, and a logistic mixed model of these is fitted (Ligero 2021).

    A patient's intercept is never used: every lesion is scored as that of a new patient in the middle, u = 0.

    Where each patient has one outcome, as in Ligero 2021 itself, nothing bounds the variance between patients and the
    mixed model has no estimate. ``otherwise`` says what is done then, or where its search arrives nowhere:

    * ``patient_weighted``: a penalised logistic regression of the same columns in which each patient weighs 1, at the
      elastic net's own λ and alpha. Where the elastic net weighed patients alike too, this is its own model: selecting
      and refitting are one step, and coefficients stay shrunk.
    * null: the numbers at which the search stopped, as published. They are no estimates.

    Args:
        elastic_net: Chooses columns; not fitted itself, but a copy.
        quadrature_points: Of the mixed model; 1 is Laplace's approximation, as lme4's by default.
        otherwise: What stands in for a mixed model without an estimate.

    Attributes:
        classes_: The two outcomes; the second is the one predicted.
        coef_: Log odds ratios, shape (p,); 0 of a column not chosen.
        intercept_: Log odds at X = 0.
        alpha_: Of the elastic net.
        lambda_: Of the elastic net.
        identifiable_: Whether the mixed model has an estimate.
        converged_: Whether it was found.
        obstacle_: Why not; empty if it was.
        variance_: Of the patients' intercepts, where a mixed model was fitted; NaN else.
        used_: ``mixed_model`` or ``patient_weighted``.
        note_: What a reader should know of it; empty where the mixed model converged.

    References:
        Ligero et al. Radiology 2021;299:109-119.
    """

    def __init__(
        self, elastic_net: ElasticNetGrid, quadrature_points: int, otherwise: Literal["patient_weighted"] | None
    ) -> None:
        self.elastic_net = elastic_net
        self.quadrature_points = quadrature_points
        self.otherwise = otherwise

    def fit(
        self,
        X: ArrayLike | pd.DataFrame,
        y: ArrayLike,
        patients: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Learn from lesions, one row each.

        Args:
            X: Columns, shape (n, p), complete.
            y: Outcome of each lesion, two classes.
            patients: Patient of each lesion, shape (n,).
            sample_weight: Weight of each lesion in the elastic net; by default equal.
            groups: What no fold of the elastic net may split; without, lesions of a patient lie in several.

        Raises:
            ValueError: If ``otherwise`` is unknown, or is null and the columns chosen cannot be fitted at all.
        """
        if self.otherwise not in ("patient_weighted", None):
            raise ValueError(f"otherwise must be patient_weighted or null, got {self.otherwise!r}")
        values = np.asarray(X, dtype=float)
        chosen_by = clone(self.elastic_net).fit(values, y, sample_weight, groups)
        self.alpha_, self.lambda_, self.classes_ = chosen_by.alpha_, chosen_by.lambda_, chosen_by.classes_
        self.n_features_in_ = values.shape[1]
        chosen = chosen_by.coef_ != 0
        mixed = self._mixed(values[:, chosen], y, patients)
        self.coef_ = np.zeros(values.shape[1])
        if mixed is not None and (self.converged_ or self.otherwise is None):
            self.used_, self.variance_ = "mixed_model", float(mixed.variance_)
            self.coef_[chosen], self.intercept_ = mixed.coef_[0], float(mixed.intercept_[0])
        else:
            self.used_, self.variance_ = "patient_weighted", float("nan")
            self.coef_[chosen], self.intercept_ = self._patient_weighted(values[:, chosen], y, patients)
        self.note_ = self._note()
        return self

    def decision_function(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Return the log odds of each lesion as one of a new patient, shape (n,)."""
        return np.asarray(X, dtype=float) @ self.coef_ + self.intercept_

    def predict_proba(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Return the probability of each class, shape (n, 2)."""
        odds = self.decision_function(X)
        return np.column_stack([expit(-odds), expit(odds)])

    def predict(self, X: ArrayLike | pd.DataFrame) -> NDArray[Any]:
        """Return the likelier class of each lesion."""
        return np.asarray(self.classes_[(self.decision_function(X) > 0).astype(int)])

    @property
    def mixed_model(self) -> dict[str, Any]:
        """What became of the mixed model, and what a score by hand needs beside coefficients, for model.json."""
        return {
            "identifiable": self.identifiable_,
            "converged": self.converged_,
            "obstacle": self.obstacle_,
            "used": self.used_,
            "alpha": self.alpha_,
            "lambda": self.lambda_,
            "intercept": self.intercept_,
        }

    def _mixed(self, X: Floats, y: ArrayLike, patients: ArrayLike) -> LogisticMixedModel | None:
        """Fit the mixed model and tell how it went; None if it has no estimate and need not have one."""
        try:
            if self.otherwise is not None and (obstacle := obstacle_to_mixed_model(X, y, patients)):
                self.identifiable_, self.converged_, self.obstacle_ = False, False, obstacle
                return None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # told by note_
                mixed = LogisticMixedModel(self.quadrature_points).fit(X, y, patients)
        except ValueError as error:
            if self.otherwise is None:
                raise
            self.identifiable_, self.converged_, self.obstacle_ = False, False, str(error)
            return None
        self.identifiable_, self.converged_, self.obstacle_ = mixed.identifiable_, mixed.converged_, mixed.obstacle_
        return mixed

    def _patient_weighted(self, X: Floats, y: ArrayLike, patients: ArrayLike) -> tuple[Floats, float]:
        if not X.shape[1]:
            event = np.asarray(y) == self.classes_[1]
            return np.zeros(0), float(logit(np.average(event, weights=patient_weights(patients))))
        model = ElasticNetLogistic(self.alpha_, self.lambda_).fit(X, y, patient_weights(patients))
        return model.coef_, model.intercept_

    def _note(self) -> str:
        if self.converged_:
            return ""
        if self.used_ == "mixed_model":
            return f"mixed model: {self.obstacle_}; its numbers are where the search stopped, and no estimates"
        return (
            f"mixed model: {self.obstacle_}; in its place stands a logistic regression in which each patient weighs 1, "
            f"with the elastic net's penalty (lambda {self.lambda_:.3g}, alpha {self.alpha_:g})"
        )
