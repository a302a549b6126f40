"""Elastic-net logistic and linear regression equal to R's glmnet, in the scikit-learn manner."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from math import isfinite
from typing import Any, ClassVar, Self, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from radnet.models.penalty_choice import Choice, Rows, cross_validate, draw_folds, number_folds, ordered
from radnet.models.penalty_path import Floats, Loss, Path, fit_path

_HIGHER = ("auc", "C")  # the measures of which more is better
_FEWEST_A_FOLD = 3  # with fewer rows in a fold, glmnet takes each row's deviance by itself
_TINY = 1e-5  # glmnet holds probabilities this far from 0 and 1 when it judges them


class BinomialLoss:
    """Half the deviance of events of 0 or 1 given their log odds."""

    intercept = True
    unit = 1.0

    def __init__(self, event: Floats, weight: Floats) -> None:
        self.event, self.share = event, weight / weight.sum()

    def value(self, score: Floats) -> float:
        """Return the mean negative log likelihood."""
        return float(self.share @ (np.logaddexp(0.0, score) - self.event * score))

    def slope(self, score: Floats) -> Floats:
        """Return the derivative by each row's score."""
        return self.share * (expit(score) - self.event)

    def curve(self, score: Floats, columns: Floats) -> Floats:
        """Return the second derivative times columns."""
        return (self.share * expit(score) * expit(-score))[:, None] * columns

    def settled(self, explained: Sequence[float]) -> bool:
        """Return whether the last λ added less than 1e-5."""
        return explained[-1] - explained[-2] < 1e-5


class GaussianLoss:
    """Half the squared error of numbers divided by their standard deviation (over n), as glmnet divides them."""

    intercept = True

    def __init__(self, outcome: Floats, weight: Floats) -> None:
        self.share = weight / weight.sum()
        self.unit = float(np.sqrt(self.share @ (outcome - self.share @ outcome) ** 2))
        if np.ptp(outcome) == 0:
            raise ValueError("an elastic net needs an outcome that varies, but every row has the same")
        self.outcome = outcome / self.unit

    def value(self, score: Floats) -> float:
        """Return half the mean squared error."""
        return float(0.5 * self.share @ (self.outcome - score) ** 2)

    def slope(self, score: Floats) -> Floats:
        """Return the derivative by each row's score."""
        return self.share * (score - self.outcome)

    def curve(self, score: Floats, columns: Floats) -> Floats:  # noqa: ARG002 - the same for every score
        """Return the second derivative times columns."""
        return self.share[:, None] * columns

    def settled(self, explained: Sequence[float]) -> bool:
        """Return whether the last λ added less than 1e-5 of what is explained."""
        return explained[-1] - explained[-2] < 1e-5 * explained[-1]


class ElasticNet(BaseEstimator, ABC):
    """What the three models share: features in, a path of models, one of them kept.

    The conventions are glmnet's: beside a mean loss, the penalty is λ (alpha |b|₁ + (1 - alpha)/2 |b|₂²) on features of
    standard deviation 1 (over n, not n - 1); coefficients are told on the features' own scale.

    Args:
        alpha: Share of the penalty on absolute values: 1 is the lasso, 0 the ridge.
        penalty: The λ to keep: ``min`` for the best over folds (lambda.min), ``1se`` for the largest within one
            standard error of it (lambda.1se), or a number.
        measure: What folds are judged by, one of ``measures``.
        n_folds: How many folds are drawn where ``fit`` is given none.
        seed: Seed of the folds drawn.
        lambdas: Penalties of the path; by default 100 from the smallest that lets no feature in, fewer where the
            deviance has settled before.
        standardise: Whether the penalty is on standardised features.
        ratio: Of the last λ of the path to the first, glmnet's ``lambda.min.ratio``; by default 1e-4, or 0.01 where
            rows are fewer than features. Most of the time goes into models with as many features as rows.

    Attributes:
        coef_: Coefficients of the model kept, shape (p,).
        intercept_: Its constant.
        lambda_: Its λ.
        path_: Every model, by arrays: ``lambda`` (k,), ``intercept`` (k,), ``coef`` (k, p) and ``explained`` (k,), the
            share of the null deviance. ``lambda_`` is among them.
        validation_: What the folds said, if they were asked: ``mean`` and ``error`` of each λ (k,), ``lambda_min`` and
            ``lambda_1se``.
    """

    measures: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        alpha: float,
        penalty: Choice | float,
        measure: str = "deviance",
        n_folds: int = 10,
        seed: int = 0,
        lambdas: Sequence[float] | None = None,
        standardise: bool = True,
        ratio: float | None = None,
    ) -> None:
        self.alpha = alpha
        self.penalty = penalty
        self.measure = measure
        self.n_folds = n_folds
        self.seed = seed
        self.lambdas = lambdas
        self.standardise = standardise
        self.ratio = ratio

    def fit(
        self,
        X: ArrayLike | pd.DataFrame,
        y: Any,
        sample_weight: ArrayLike | None = None,
        folds: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Learn the path, and keep the model of the penalty asked for.

        Args:
            X: Features, shape (n, p), complete.
            y: Outcome of each row.
            sample_weight: Weight of each row, above 0; by default equal.
            folds: Fold of each row, any labels; by default drawn.
            groups: What no fold may split, such as the patient of each lesion.
        """
        self._check()
        values = self._read(X, learn=True)
        outcome = self._outcome(y, len(values))
        weight = checked_weight(sample_weight, len(values))
        given = None if self.lambdas is None else np.unique(np.asarray(self.lambdas, dtype=float))[::-1]

        def fit_rows(kept: Rows, lambdas: Floats | None = given) -> Path:
            loss = self._loss(outcome[kept], weight[kept])
            return fit_path(
                values[kept],
                loss,
                weight[kept],
                alpha=self.alpha,
                lambdas=lambdas,
                standardise=self.standardise,
                ratio=self.ratio,
            )

        with threadpool_limits(1):  # its matrices are small: threads would take ten times as long
            path = self._choose(values, outcome, weight, fit_rows, folds, groups)
        kept = int(np.flatnonzero(path.lambdas == self.lambda_)[0])
        self.coef_ = path.coef[kept]
        self.intercept_ = float(path.intercept[kept])
        self.path_ = {
            "lambda": path.lambdas,
            "intercept": path.intercept,
            "coef": path.coef,
            "explained": path.explained,
        }
        return self

    def decision_function(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Return the linear score of each row, shape (n,): higher = the event is likelier, or the number larger."""
        check_is_fitted(self)
        return np.asarray(self._read(X) @ self.coef_ + self.intercept_)

    def _choose(
        self,
        values: Floats,
        outcome: Floats,
        weight: Floats,
        fit_rows: Callable[..., Path],
        folds: ArrayLike | None,
        groups: ArrayLike | None,
    ) -> Path:
        """Set ``lambda_``; return a path that holds it."""
        everyone = np.ones(len(values), dtype=bool)
        path = fit_rows(everyone)
        if isinstance(self.penalty, str):
            strata = self._strata(outcome)
            if folds is None:
                numbers = draw_folds(strata, groups, self.n_folds, self.seed)
            else:
                numbers = number_folds(folds, groups, len(values))
            judge = partial(self._judge, outcome, weight, len(values) / (numbers.max() + 1) < _FEWEST_A_FOLD)
            found = cross_validate(values, path, fit_rows, judge, numbers, higher_is_better=self.measure in _HIGHER)
            self.validation_ = {
                "mean": found.mean,
                "error": found.error,
                "lambda_min": found.best,
                "lambda_1se": found.sparsest,
            }
            self.lambda_ = found.best if self.penalty == "min" else found.sparsest
        else:
            self.__dict__.pop("validation_", None)
            self.lambda_ = float(self.penalty)
            if self.lambda_ not in path.lambdas:
                path = fit_rows(everyone, np.append(path.lambdas[path.lambdas > self.lambda_], self.lambda_))
            if self.lambda_ not in path.lambdas:
                raise ValueError(
                    f"penalty: no model was found at {self.lambda_:g}, only down to {path.lambdas[-1]:g}; smaller ones "
                    "part the patients all but perfectly"
                )
        return path

    @abstractmethod
    def _outcome(self, y: Any, rows: int) -> Floats:
        """Return outcomes as numbers, one row each."""

    @abstractmethod
    def _loss(self, outcome: Floats, weight: Floats) -> Loss:
        """Return the loss of rows."""

    @abstractmethod
    def _strata(self, outcome: Floats) -> NDArray[np.int64]:
        """Return what folds drawn should hold equal shares of."""

    @abstractmethod
    def _judge(
        self, outcome: Floats, weight: Floats, alone: bool, scores: Floats, held_out: Rows
    ) -> tuple[Floats, Floats]:
        """Tell what scores are worth on a fold, or, if ``alone``, on each of its rows, and the weight of that."""

    def _check(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha: expected a number from 0 (ridge) to 1 (lasso), got {self.alpha}")
        if isinstance(self.penalty, str) and self.penalty not in get_args(Choice):
            raise ValueError(f"penalty: expected min, 1se or a number, got {self.penalty!r}")
        if not isinstance(self.penalty, str) and not (isfinite(self.penalty) and self.penalty > 0):
            raise ValueError(f"penalty: expected a number above 0, got {self.penalty}")
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise ValueError(f"ratio: expected a number between 0 and 1, got {self.ratio}")
        if self.measure not in self.measures:
            raise ValueError(f"measure: expected {' or '.join(self.measures)}, got {self.measure!r}")
        if self.lambdas is not None and not (len(self.lambdas) and np.min(self.lambdas) > 0):
            raise ValueError("lambdas: expected numbers above 0")

    def _read(self, X: ArrayLike | pd.DataFrame, *, learn: bool = False) -> Floats:
        values = np.asarray(X, dtype=float)
        if values.ndim != 2:
            raise ValueError(f"X: expected shape (rows, features), got {values.shape}")
        names = np.asarray(X.columns, dtype=object) if isinstance(X, pd.DataFrame) else None
        if learn:
            self.n_features_in_ = values.shape[1]
            self.__dict__.pop("feature_names_in_", None)
            if names is not None:
                self.feature_names_in_ = names
        elif values.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {values.shape[1]} features, trained on {self.n_features_in_}")
        elif names is not None and list(names) != list(getattr(self, "feature_names_in_", names)):
            raise ValueError(f"features are {list(names)}, trained on {list(self.feature_names_in_)}")
        if not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0]
            where = column if names is None else names[column]
            raise ValueError(f"feature {where} is {values[row, column]} in row {row}: an elastic net needs numbers")
        return values


class ElasticNetLogistic(ClassifierMixin, ElasticNet):
    """Elastic-net logistic regression: the log odds of the second of two classes are linear in the features.

    ``measure`` is ``deviance``, ``auc`` or ``class`` (the share of rows on the wrong side of 1/2).
    """

    measures = ("deviance", "auc", "class")

    def predict_proba(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Return the probability of each class, shape (n, 2)."""
        score = self.decision_function(X)
        return np.column_stack([expit(-score), expit(score)])

    def predict(self, X: ArrayLike | pd.DataFrame) -> NDArray[Any]:
        """Return the likelier class of each row."""
        return np.asarray(self.classes_[(self.decision_function(X) > 0).astype(int)])

    def _outcome(self, y: Any, rows: int) -> Floats:
        labels = _one_each(y, rows)
        self.classes_ = np.unique(labels)
        if len(self.classes_) != 2:
            found = ", ".join(map(str, self.classes_[:5]))
            raise ValueError(f"y: a logistic model needs two classes, found {len(self.classes_)}: {found}")
        return (labels == self.classes_[1]).astype(float)

    def _loss(self, outcome: Floats, weight: Floats) -> Loss:
        if len(np.unique(outcome)) < 2:
            raise ValueError("folds: with one of them held out, the rows left are all of one class")
        return BinomialLoss(outcome, weight)

    def _strata(self, outcome: Floats) -> NDArray[np.int64]:
        return outcome.astype(np.int64)

    def _judge(
        self, outcome: Floats, weight: Floats, alone: bool, scores: Floats, held_out: Rows
    ) -> tuple[Floats, Floats]:
        event, share, judged = outcome[held_out], weight[held_out], scores[held_out]
        if self.measure == "auc":
            pairs = np.outer(share * event, share * (1 - event))
            if not pairs.any():
                raise ValueError(
                    "folds: an AUC needs both classes in every fold; judge by deviance, or with fewer folds"
                )
            return ordered(judged, pairs)[None], np.array([share.sum()])
        if self.measure == "class":
            wrong = np.where(event[:, None] == 1, judged <= 0, judged > 0).astype(float)
            return _of_fold(wrong, share, alone)
        probability = np.clip(expit(judged), _TINY, 1 - _TINY)
        return _of_fold(-2 * np.log(np.where(event[:, None] == 1, probability, 1 - probability)), share, alone)


class ElasticNetLinear(RegressorMixin, ElasticNet):
    """Elastic-net linear regression; ``measure`` is ``deviance``, the squared error.

    As in glmnet, the outcome too is divided by its standard deviation before it is penalised: with ``alpha`` below 1 a
    given λ therefore shrinks otherwise than the formula on the outcome's own scale would.
    """

    measures = ("deviance",)

    def predict(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Return the number expected of each row, shape (n,)."""
        return self.decision_function(X)

    def _outcome(self, y: Any, rows: int) -> Floats:
        numbers = _one_each(y, rows).astype(float)
        if not np.isfinite(numbers).all():
            raise ValueError("y: expected a finite number for each row")
        return numbers

    def _loss(self, outcome: Floats, weight: Floats) -> Loss:
        return GaussianLoss(outcome, weight)

    def _strata(self, outcome: Floats) -> NDArray[np.int64]:
        return np.zeros(len(outcome), dtype=np.int64)

    def _judge(
        self, outcome: Floats, weight: Floats, alone: bool, scores: Floats, held_out: Rows
    ) -> tuple[Floats, Floats]:
        return _of_fold((outcome[held_out, None] - scores[held_out]) ** 2, weight[held_out], alone)


def _of_fold(worth: Floats, weight: Floats, alone: bool) -> tuple[Floats, Floats]:
    return (worth, weight) if alone else (np.average(worth, axis=0, weights=weight)[None], np.array([weight.sum()]))


def _one_each(y: Any, rows: int) -> NDArray[Any]:
    values = np.asarray(y)
    if values.shape != (rows,):
        raise ValueError(f"y: expected one outcome for each of {rows} rows, got shape {values.shape}")
    return values


def checked_weight(weight: ArrayLike | None, rows: int) -> Floats:
    """Return weights of rows, above 0; 1 each where none are given."""
    values = np.ones(rows) if weight is None else np.asarray(weight, dtype=float)
    if values.shape != (rows,) or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"sample_weight: expected a number above 0 for each of {rows} rows")
    return values
