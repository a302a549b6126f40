"""Which features a model may use, learned from training patients alone."""

from typing import Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import Tags


class NearConstant(SelectorMixin, BaseEstimator):
    """Drop features that hardly vary: a standard deviation below ``relative`` of the largest absolute value."""

    def __init__(self, relative: float = 1e-6) -> None:
        self.relative = relative

    def fit(self, X: np.ndarray, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learn which columns vary; X has shape (patients, features) and may hold NaN."""
        values = pd.DataFrame(_values(self, X)).replace([np.inf, -np.inf], np.nan)
        self.keep_ = (values.std(ddof=0) > self.relative * values.abs().max()).to_numpy()
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _get_support_mask(self) -> np.ndarray:
        return self.keep_


class Uncorrelated(SelectorMixin, BaseEstimator):
    """Of features correlated beyond ``limit`` (absolute Pearson r) keep the first in the table's order."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def fit(self, X: np.ndarray, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learn which columns to keep; X has shape (patients, features), complete and varying."""
        r = np.atleast_2d(np.abs(np.corrcoef(_values(self, X), rowvar=False)))
        self.keep_ = np.ones(len(r), dtype=bool)
        for column in range(1, len(r)):
            self.keep_[column] = not np.any(r[column, :column][self.keep_[:column]] > self.limit)
        return self

    def _get_support_mask(self) -> np.ndarray:
        return self.keep_


def _values(selector: BaseEstimator, X: np.ndarray | pd.DataFrame) -> np.ndarray:
    selector.n_features_in_ = np.shape(X)[1]
    if isinstance(X, pd.DataFrame):
        selector.feature_names_in_ = np.asarray(X.columns, dtype=object)
    return np.asarray(X, dtype=float)
