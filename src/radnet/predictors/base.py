"""What every predictor is, and the patients, lesions and weights it reads from a cohort."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, get_args

import numpy as np
import pandas as pd

from radnet.cohort import Cohort
from radnet.models.pipeline import ClinicalEncoder
from radnet.models.pooling import Aggregate, pool_lesions

History = list[dict[str, float]]
"""Numbers of each epoch of a fit; empty for a model without epochs."""


@dataclass(frozen=True)
class Prediction:
    """Scores of patients and of their lesions.

    Attributes:
        patients: Indexed by patient_id: ``score`` (higher = the event is more likely) and ``probability`` (NaN unless
            calibrated).
        lesions: Indexed by (patient_id, lesion_id): ``score`` of the lesion alone and its ``weight`` in the patient;
            empty for a model that sees no lesion.
        cutoff: The model's frozen cut-off on the score, or None if it has none.
    """

    patients: pd.DataFrame
    lesions: pd.DataFrame
    cutoff: float | None = None


class Frozen(Protocol):
    """A fitted model: scores patients, and can be written to a folder."""

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions whose features it reads; empty for a clinical model."""
        ...

    @property
    def encoder(self) -> ClinicalEncoder | None:
        """Makes numbers of the clinical columns; None where it reads none."""
        ...

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient, those of unknown outcome too."""
        ...

    def inputs(self, cohort: Cohort) -> pd.DataFrame:
        """Return what it reads of each patient: features, pooled over lesions, then encoded clinical columns."""
        ...

    def score(self, inputs: pd.DataFrame) -> np.ndarray:
        """Score rows as ``inputs`` gives them."""
        ...

    def save(self, folder: Path) -> dict[str, Any]:
        """Write what was learned into a folder, nothing that executes on load, and return what describes it."""
        ...


class Predictor(Protocol):
    """Learns from one cohort and scores every patient of another.

    Everything that learns (imputing, scaling, selecting, weights) happens in ``fit``, on the patients it is given.
    """

    endpoint: str

    @property
    def frozen(self) -> Frozen:
        """What ``fit`` left behind."""
        ...

    def check(self, cohort: Cohort) -> None:
        """Raise a ValueError if it could not learn from this cohort, before any lesion is measured."""
        ...

    def fit(self, train: Cohort, valid: Cohort | None = None) -> Self:
        """Learn from the patients of ``train`` whose outcome is known; ``valid`` may decide when to stop."""
        ...

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient, those of unknown outcome too."""
        ...


@dataclass(frozen=True)
class LesionFeatures:
    """Features of the measured lesions of some patients, and of the patients themselves.

    Attributes:
        patients: Pooled features, indexed by patient_id in the cohort's order.
        lesions: Features of each lesion, indexed by (patient_id, lesion_id).
        weight: Weight of each lesion in its patient.
    """

    patients: pd.DataFrame
    lesions: pd.DataFrame
    weight: pd.Series


def lesion_features(cohort: Cohort, regions: Sequence[str], aggregate: Aggregate) -> LesionFeatures:
    """Return the features a predictor learns from.

    Raises:
        ValueError: If the cohort has no features, or a patient no measured lesion.
    """
    if cohort.features is None:
        raise ValueError("this model reads radiomics features and the cohort has none: run `radnet extract` first")
    lesions = measured_lesions(cohort, regions)
    pooled, weight = pool_lesions(lesions, aggregate)
    if absent := [patient for patient in cohort.ids if patient not in pooled.index]:
        raise ValueError(f"no measured lesion for {len(absent)} patients, such as {absent[0]}")
    return LesionFeatures(pooled.loc[cohort.ids], lesions, weight)


def measured_lesions(cohort: Cohort, regions: Sequence[str]) -> pd.DataFrame:
    """Return the features of the lesions that could be measured, indexed by (patient_id, lesion_id)."""
    assert cohort.features is not None
    matrix = cohort.features.lesion_matrix(regions).replace([np.inf, -np.inf], np.nan)
    return matrix[matrix.notna().any(axis=1)]


def lesion_scores(score: np.ndarray, features: LesionFeatures) -> pd.DataFrame:
    """Return the table of ``Prediction.lesions``."""
    return pd.DataFrame({"score": score, "weight": features.weight.to_numpy()}, index=features.lesions.index)


def no_lesions() -> pd.DataFrame:
    """Return the lesion table of a model that sees no lesion."""
    index = pd.MultiIndex.from_arrays([[], []], names=["patient_id", "lesion_id"])
    return pd.DataFrame({"score": [], "weight": []}, index=index, dtype=float)


def refuse_other_columns(found: Sequence[str], trained: Sequence[str]) -> None:
    """Raise a ValueError naming the first features that differ from those of training."""
    if list(found) != list(trained):
        missing = [name for name in trained if name not in set(found)]
        extra = [name for name in found if name not in set(trained)]
        raise ValueError(
            f"the features are not those the model learned from: {len(missing)} missing "
            f"({', '.join(missing[:3]) or 'none'}), {len(extra)} not known ({', '.join(extra[:3]) or 'none'}); "
            "extract with the model's own settings"
        )


def refuse_cohort(cohort: Cohort, endpoint: str, clinical: Sequence[str]) -> None:
    """Raise a ValueError if a model of yes or no cannot learn from a cohort.

    Follow-up is refused rather than ignored: a patient censored early is not one without the event.
    """
    known = cohort.evaluable(endpoint)
    if not np.isnan(known.times(endpoint)).all():
        raise ValueError(
            f"endpoint {endpoint} has follow-up times, and this model learns yes or no: who is censored early would "
            "count as a no. Choose a binary endpoint, such as the event by a landmark that every patient has reached"
        )
    event = known.events(endpoint)
    if event.all() or not event.any():
        raise ValueError(
            f"endpoint {endpoint}: {int(event.sum())} of {len(event)} patients had the event; both are needed"
        )
    known.clinical(clinical)


def check_aggregate(aggregate: str) -> None:
    """Raise a ValueError if there is no such rule."""
    if aggregate not in get_args(Aggregate):
        raise ValueError(f"aggregate={aggregate} is unknown; choose one of {', '.join(get_args(Aggregate))}")
