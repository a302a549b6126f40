"""Elastic-net logistic regression whose mixture of lasso and ridge is chosen beside its penalty."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from radnet.models.elastic_net import ElasticNetLogistic
from radnet.models.penalty_choice import Choice, draw_folds
from radnet.models.penalty_path import Floats


class ElasticNetGrid(ClassifierMixin, BaseEstimator):
    """The best of several elastic nets, one for each ``alpha``, judged on the same folds.

    The best is the one of the best mean over folds at its lambda.min; among equals the first in the order given. Its
    ``penalty`` then says which of its λ is kept.

    Args:
        alphas: Shares of the penalty on absolute values to choose from: 1 is the lasso, 0 the ridge.
        penalty: ``min`` (lambda.min) or ``1se`` (lambda.1se).
        measure: What folds are judged by: ``deviance``, ``auc`` or ``class``.
        n_folds: How many folds are drawn.
        seed: Of the folds.
        ratio: Of the last λ of a path to the first; None for glmnet's own.

    Attributes:
        classes_: The two outcomes; the second is the one predicted.
        alpha_: The mixture chosen.
        lambda_: Its λ.
        coef_: Coefficients, shape (p,).
        intercept_: Constant.
        worth_: Mean over folds of each alpha at its lambda.min, in the order of ``alphas``.

    References:
        Zou, Hastie. J R Stat Soc B 2005;67:301-320.
    """

    def __init__(
        self,
        alphas: Sequence[float],
        penalty: Choice,
        measure: str = "deviance",
        n_folds: int = 10,
        seed: int = 0,
        ratio: float | None = None,
    ) -> None:
        self.alphas = alphas
        self.penalty = penalty
        self.measure = measure
        self.n_folds = n_folds
        self.seed = seed
        self.ratio = ratio

    def fit(
        self,
        X: ArrayLike | pd.DataFrame,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Choose alpha and λ, and keep their model.

        Args:
            X: Features, shape (n, p), complete.
            y: Outcome of each row, two classes.
            sample_weight: Weight of each row, above 0; by default equal.
            groups: What no fold may split, such as the patient of each lesion.

        Raises:
            ValueError: If there is no alpha, or the penalty is a number, which leaves folds nothing to choose.
        """
        if not len(self.alphas):
            raise ValueError("alphas: give at least one, from 0 (ridge) to 1 (lasso)")
        if not isinstance(self.penalty, str):
            raise ValueError(f"penalty: expected min or 1se, got {self.penalty}; a number is ElasticNetLogistic's")
        outcome = np.unique(np.asarray(y), return_inverse=True)[1].astype(np.int64)
        folds = draw_folds(outcome, groups, self.n_folds, self.seed)
        found = [
            ElasticNetLogistic(alpha, self.penalty, self.measure, ratio=self.ratio).fit(
                X, y, sample_weight, folds, groups
            )
            for alpha in self.alphas
        ]
        means = [np.asarray(one.validation_["mean"], dtype=float) for one in found]
        self.worth_ = [float(mean.max() if self.measure == "auc" else mean.min()) for mean in means]
        best = int(np.argmax(self.worth_) if self.measure == "auc" else np.argmin(self.worth_))
        chosen = found[best]
        self.alpha_ = float(self.alphas[best])
        self.lambda_ = chosen.lambda_
        self.coef_, self.intercept_ = chosen.coef_, chosen.intercept_
        self.classes_, self.n_features_in_ = chosen.classes_, chosen.n_features_in_
        self.model_ = chosen
        return self

    def decision_function(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Return the log odds of each row, shape (n,)."""
        return self.model_.decision_function(X)

    def predict_proba(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Return the probability of each class, shape (n, 2)."""
        return self.model_.predict_proba(X)

    def predict(self, X: ArrayLike | pd.DataFrame) -> NDArray[Any]:
        """Return the likelier class of each row."""
        return self.model_.predict(X)
