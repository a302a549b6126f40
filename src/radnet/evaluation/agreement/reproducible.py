"""Features that come out alike when a lesion is delineated again: a filter that learns them from training lesions."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import Tags

from radnet.evaluation.agreement.intraclass import FORMS, IntraclassCorrelation, estimate_icc
from radnet.evaluation.agreement.readings import ACROSS, readings_across

FEW_LESIONS = 10
"""Below so many lesions delineated twice an ICC is too uncertain to go without a word."""

_LESION = ["patient_id", "lesion_id"]
_DELINEATION = [*_LESION, "reader", "repeat"]
_LEVEL = 0.95  # of intervals that are not looked at
_CURE = "give a second reader or repeats in lesions.csv, or measure lesions perturbed (robustness=perturbations)"


class Reproducible(SelectorMixin, BaseEstimator):
    """Keep the features whose intraclass correlation is high in every analysis there are lesions for.

    Analyses are those of ``ACROSS``: between readers, between repeats of a reader, and among perturbations and the
    original. A feature without an ICC in one of them, such as one that never varies, is dropped.

    Call ``learn`` with the lesions of training patients that were delineated more than once, then ``fit`` as any step
    of a pipeline: the features to choose from may be measured of other lesions.

    Args:
        minimum: The ICC a feature must exceed (Wang 2022 and Han 2024: 0.75).
        form: Out of ``FORMS``.
        strict: Whether an ICC equal to ``minimum`` is too low; Ligero 2021 keeps 0.7.
        patients: How many patients to learn from, drawn from those delineated more than once; None for all.
        seed: Of that draw.

    Attributes:
        names_: Features learned of.
        icc_: ICC of each by analysis, in the order of ``names_``; NaN where it has none.
        lesions_: Lesions that each analysis compares.
        beside_: Columns that are no features and are kept.
        note_: What makes the ICCs uncertain; empty where nothing does.
    """

    def __init__(
        self,
        minimum: float,
        form: str = "ICC(2,1)",
        strict: bool = True,
        patients: int | None = None,
        seed: int = 0,
    ) -> None:
        self.minimum = minimum
        self.form = form
        self.strict = strict
        self.patients = patients
        self.seed = seed

    def learn(self, repeated: pd.DataFrame, beside: Sequence[str] = ()) -> Self:
        """Learn the ICC of each feature from training lesions delineated more than once; others are not looked at.

        Args:
            repeated: ``FeatureTable.delineation_matrix`` of training patients.
            beside: Columns that ``fit`` will see and that are no features, such as a lesion's site: all are kept.

        Raises:
            ValueError: If the index is another, a parameter makes no sense, or no two lesions were delineated twice.
        """
        self._check(repeated)
        measured = repeated.replace([np.inf, -np.inf], np.nan).dropna(how="all")
        twice = measured[measured.groupby(_LESION)[measured.columns[0]].transform("size") > 1]
        there = sorted(twice.index.get_level_values("patient_id").unique())
        drawn = there
        if self.patients is not None:
            drawn = list(np.random.default_rng(self.seed).permutation(there)[: self.patients])
        names = [str(name) for name in repeated.columns]
        rows = twice[twice.index.get_level_values("patient_id").isin(drawn)].set_axis(names, axis=1).reset_index()
        found: dict[str, IntraclassCorrelation] = {}
        for across in ACROSS:
            estimated = estimate_icc(readings_across(rows, names, across), self.form, _LEVEL)
            if (estimated.n >= 2).any():
                found[across] = estimated
        if not found:
            raise ValueError(
                f"which features are reproducible is learned from two training lesions or more delineated twice, of "
                f"{measured.groupby(_LESION).ngroups} there are {rows.groupby(_LESION).ngroups}: {_CURE}"
            )
        self.names_ = names
        self.beside_ = [str(name) for name in beside]
        self.icc_ = {across: one.icc.tolist() for across, one in found.items()}
        self.lesions_ = {across: int(one.n.max()) for across, one in found.items()}
        self.note_ = self._note(len(there))
        return self

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Choose among the columns of X, shape (patients, features), by what was learned of those names.

        Raises:
            TypeError: If the columns of X have no names.
            ValueError: If nothing was learned, or not of a column.
        """
        if not hasattr(self, "icc_"):
            raise ValueError(f"no ICC is known yet: call learn with delineations of training lesions; {_CURE}")
        if not isinstance(X, pd.DataFrame):
            raise TypeError(
                f"features are chosen by name: X must be a table with named columns, got {type(X).__name__}"
            )
        names = [str(name) for name in X.columns]
        place = {name: index for index, name in enumerate(self.names_)}
        features = [name for name in names if name not in self.beside_]
        if unknown := [name for name in features if name not in place]:
            raise ValueError(
                f"of {len(unknown)} of {len(features)} features no lesion was measured twice, such as {unknown[0]}: "
                "learn from the same regions and settings"
            )
        least = np.min([self.icc_[across] for across in self.icc_], axis=0)  # NaN where one of them is
        least = least[[place[name] for name in features]]
        kept = dict(zip(features, least > self.minimum if self.strict else least >= self.minimum, strict=True))
        self.keep_ = np.array([kept.get(name, True) for name in names], dtype=bool)
        self.n_features_in_ = len(names)
        self.feature_names_in_ = np.asarray(names, dtype=object)
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _get_support_mask(self) -> np.ndarray:
        return self.keep_

    def _check(self, repeated: pd.DataFrame) -> None:
        if list(repeated.index.names) != _DELINEATION or not len(repeated.columns):
            found = ", ".join(map(str, repeated.index.names))
            raise ValueError(f"delineations are features indexed by {', '.join(_DELINEATION)}; the index is {found}")
        if not -1 <= self.minimum <= 1:
            raise ValueError(f"minimum is an ICC, -1 to 1, got {self.minimum}")
        if self.form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got {self.form!r}")
        if self.patients is not None and self.patients < 1:
            raise ValueError(f"patients must be 1 or more, or null for all, got {self.patients}")

    def _note(self, delineated_twice: int) -> str:
        told = [
            f"the ICC across {across}s is uncertain: it is that of {lesions} lesions delineated more than once"
            for across, lesions in self.lesions_.items()
            if lesions < FEW_LESIONS
        ]
        if self.patients is not None and delineated_twice < self.patients:
            told.append(f"{self.patients} patients were to be learned from, {delineated_twice} were delineated twice")
        return "; ".join(told)
