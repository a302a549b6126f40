"""Steps that learn from training patients before a model does: scikit-learn transformers, keyed by name."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_selection import SelectorMixin
from sklearn.pipeline import Pipeline
from sklearn.utils import Tags


def pipeline(steps: Mapping[str, Any]) -> Pipeline:
    """Chain named steps; a step set to null is left out (``model.prepare.prune=null``).

    Raises:
        ValueError: If no step is left.
    """
    kept = [(name, step) for name, step in steps.items() if step is not None]
    if not kept:
        raise ValueError("a pipeline needs at least one step")
    return Pipeline(kept)


class Clip(TransformerMixin, BaseEstimator):
    """Hold standardised values within ± ``limit``, so that one odd scan cannot drive a score."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def fit(self, X: np.ndarray, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learn nothing but the number of columns."""
        self.n_features_in_ = np.shape(X)[1]
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return values held within the limit, shape as given."""
        return np.clip(X, -self.limit, self.limit)


class LogShift(TransformerMixin, BaseEstimator):
    """Take log(x - m + 1), m the least value of each column in training, so that no feature is too small for it.

    Ligero 2021 prints a logarithm and not how it met features at or below 0. A value below m counts as m: the formula
    would have none from m - 1 down, and would fall without bound before. Of a 0/1 column it changes the unit alone.
    """

    def fit(self, X: np.ndarray, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learn the least value of each column; X has shape (rows, columns), complete."""
        values = np.asarray(X, dtype=float)
        if not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0]
            raise ValueError(f"column {column} is {values[row, column]} in row {row}: a logarithm needs numbers")
        self.n_features_in_ = values.shape[1]
        self.minimum_ = values.min(axis=0)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return logarithms, 0 or more, shape as given."""
        return np.log1p(np.maximum(np.asarray(X, dtype=float) - self.minimum_, 0.0))


class Chosen(SelectorMixin, BaseEstimator):
    """Keep the features of these names, chosen beforehand."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learn nothing but the columns; each name must be one of them."""
        if absent := [name for name in self.names if name not in X.columns]:
            raise ValueError(f"{len(absent)} features chosen beforehand are not there, such as {absent[0]}")
        self.n_features_in_ = X.shape[1]
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.keep_ = X.columns.isin(list(self.names))
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _get_support_mask(self) -> np.ndarray:
        return self.keep_


class AtLeast(TransformerMixin, BaseEstimator):
    """Make 1 of values at or above ``value`` and 0 of those below, as PD-L1 is read at a CPS of 10."""

    def __init__(self, value: float) -> None:
        self.value = value

    def fit(self, X: np.ndarray, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learn nothing but the number of columns."""
        self.n_features_in_ = np.shape(X)[1]
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return 0 and 1, shape as given."""
        return (np.asarray(X, dtype=float) >= self.value).astype(float)


class ClinicalEncoder(TransformerMixin, BaseEstimator):
    """Clinical columns as numbers: a missing number takes the training median, a missing category the commonest.

    A category becomes one 0/1 column per level but the first; a level unseen in training counts as the first. What is
    learned is kept as plain lists and numbers, so that a saved model holds no code.

    Args:
        missing_indicators: Whether a column in which a training patient had no value gets a 0/1 column
            ``<name>_missing`` beside it, 1 where there is none. Where everybody in training had one, a value missing
            later is filled in and not told of: nothing was learned of what that means.
    """

    lacking_: Sequence[str] = ()  # of an encoder that was saved before there were indicators

    def __init__(self, missing_indicators: bool = False) -> None:
        self.missing_indicators = missing_indicators

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learn medians and levels from training patients, one row each, and which columns lack values."""
        if empty := [column for column in X.columns if X[column].isna().all()]:
            raise ValueError(f"clinical column {', '.join(empty)} is empty for every training patient")
        self.columns_ = [str(column) for column in X.columns]
        self.fill_: dict[str, float | str] = {}
        self.levels_: dict[str, list[str]] = {}
        for column in self.columns_:
            if holds_numbers(X[column]):
                self.fill_[column] = float(X[column].astype(float).median())
            else:
                words = X[column].dropna().map(level_name)
                self.fill_[column] = str(words.mode().iloc[0])
                self.levels_[column] = sorted(words.unique())
        lacking = [column for column in self.columns_ if X[column].isna().any()]
        self.lacking_ = lacking if self.missing_indicators else []
        names = self.get_feature_names_out()
        if self.lacking_ and (twice := sorted({name for name in names if names.count(name) > 1})):
            raise ValueError(
                f"clinical columns: {', '.join(twice)} would stand for a category or column and for its being missing: "
                "name it otherwise in clinical.csv, or choose missing_indicators=false"
            )
        return self

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return numbers, shape (patients, columns); the columns must be those of training."""
        if list(X.columns) != self.columns_:
            raise ValueError(f"clinical columns are {list(X.columns)}, trained on {self.columns_}")
        made = []
        for column in self.columns_:
            values = X[column].astype(object).where(X[column].notna(), self.fill_[column])
            if column in self.levels_:
                values = values.map(level_name)
                made += [(values == level).to_numpy(dtype=float) for level in self.levels_[column][1:]]
            else:
                made.append(self._as_numbers(values))
            if column in self.lacking_:
                made.append(X[column].isna().to_numpy(dtype=float))
        return np.column_stack(made) if made else np.zeros((len(X), 0))

    def get_feature_names_out(self, input_features: object = None) -> list[str]:  # noqa: ARG002 - scikit-learn's signature
        """Return the name of each column made: the clinical column, with its level where it is a category."""
        return [name for column in self.columns_ for name in self.made_of(column)]

    def made_of(self, column: str) -> list[str]:
        """Return the names of the columns made of a clinical column; a category of one level may make none."""
        values = [f"{column}_{level}" for level in self.levels_[column][1:]] if column in self.levels_ else [column]
        return [*values, f"{column}_missing"] if column in self.lacking_ else values

    @staticmethod
    def _as_numbers(values: pd.Series) -> np.ndarray:
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)
        if np.isnan(numbers).any():
            wrong = values[np.isnan(numbers)]
            raise ValueError(
                f"clinical column {values.name} held numbers in training and now holds {wrong.iloc[0]!r} "
                f"(patient {wrong.index[0]})"
            )
        return numbers


def holds_numbers(column: pd.Series) -> bool:
    """Return whether every known value of a clinical column is a number."""
    return all(isinstance(value, int | float) for value in column.dropna())


def level_name(value: object) -> str:
    """Return a category as text; 2 and 2.0 are the same level."""
    return f"{value:g}" if isinstance(value, int | float) else str(value)
