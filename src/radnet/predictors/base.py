"""What every predictor is, and the patients, lesions and weights it reads from a cohort."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, get_args

import numpy as np
import pandas as pd

from radnet.cohort import Cohort
from radnet.models.pipeline import ClinicalEncoder
from radnet.models.pooling import OF_NETWORKS, Aggregate, pool_lesions

History = list[dict[str, float]]
"""Numbers of each epoch of a fit; empty for a model without epochs."""


@dataclass(frozen=True)
class Prediction:
    """Scores of patients and of their lesions.

    Attributes:
        patients: Indexed by patient_id: ``score`` (higher = the event is more likely), ``probability`` (NaN unless
            calibrated), and ``probability_<t>`` of the event by time t where that is foretold.
        lesions: Indexed by (patient_id, lesion_id): ``score`` of the lesion alone and its ``weight`` in the patient;
            empty for a model that sees no lesion.
        cutoff: The model's frozen cut-off on the score, or None if it has none.
        also: The same scores as they read on further endpoints, by the endpoint's name.
        selected: Features that the model uses, where it selects any.
        own: The model's own scores on further endpoints, by the endpoint's name (higher = that event is more likely),
            each indexed by patient_id. A predictor that gives them names these endpoints in ``own_endpoints``.
    """

    patients: pd.DataFrame
    lesions: pd.DataFrame
    cutoff: float | None = None
    also: Mapping[str, "Prediction"] = field(default_factory=dict)
    selected: tuple[str, ...] = ()
    own: Mapping[str, pd.Series] = field(default_factory=dict)

    def own_score(self, endpoint: str) -> pd.Series:
        """Return the model's own score on a further endpoint, of the patients in their order.

        Raises:
            ValueError: If it has none.
        """
        refuse_without_own(endpoint, self.own)
        return self.own[endpoint].loc[self.patients.index]


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

    def selection(self) -> Mapping[str, Sequence[str]]:
        """Return the features left after each step that leaves some out, the first ``measured``; empty without such."""
        ...

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient, those of unknown outcome too."""
        ...

    def inputs(self, cohort: Cohort) -> pd.DataFrame:
        """Return what it reads of each patient: features, pooled over lesions, then encoded clinical columns.

        A model that scores lesions reads these: one row each, indexed by (patient_id, lesion_id), those of a patient
        next to each other, patients in the cohort's order.
        """
        ...

    def score(self, inputs: pd.DataFrame) -> np.ndarray:
        """Score rows as ``inputs`` gives them: one score a patient, in order of first appearance."""
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
    def regions(self) -> tuple[str, ...]:
        """Regions whose features it reads; empty for a clinical model."""
        ...

    @property
    def clinical(self) -> tuple[str, ...]:
        """Columns of clinical.csv that it reads."""
        ...

    @property
    def aggregate(self) -> Aggregate:
        """Rule that pools the lesions of a patient."""
        ...

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


def lesions_seen(cohort: Cohort, regions: Sequence[str], reads_patches: bool) -> pd.MultiIndex:
    """Return (patient_id, lesion_id) of the lesions that a model sees, patients in the cohort's order.

    Args:
        cohort: With features or patches, or both.
        regions: Whose features the model reads; none for a model of patches alone.
        reads_patches: Whether it reads patches. A lesion with either is seen.
    """
    seen = set(measured_lesions(cohort, regions).index) if regions and cohort.features is not None else set()
    if reads_patches and cohort.patches is not None:
        rows = cohort.patches.rows
        with_patch = rows[rows["place"] >= 0]
        seen |= set(zip(with_patch["patient_id"], with_patch["lesion_id"], strict=True))
    of_patient: dict[str, list[str]] = {}
    for patient, lesion in sorted(seen):
        of_patient.setdefault(patient, []).append(lesion)
    rank = {(one.id, lesion.id): place for one in cohort.patients for place, lesion in enumerate(one.lesions)}
    keys = [
        (patient, lesion)
        for patient in cohort.ids
        for lesion in sorted(of_patient.get(patient, ()), key=lambda one: (rank.get((patient, one), len(rank)), one))
    ]
    return pd.MultiIndex.from_tuples(keys or [("", "")], names=["patient_id", "lesion_id"])[: len(keys)]


def repeated_delineations(cohort: Cohort, regions: Sequence[str]) -> pd.DataFrame:
    """Return features by (patient_id, lesion_id, reader, repeat): each lesion as often as it was delineated."""
    assert cohort.features is not None
    return cohort.features.delineation_matrix(regions).replace([np.inf, -np.inf], np.nan)


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


def refuse_cohort(cohort: Cohort, endpoint: str, clinical: Sequence[str], follow_up: bool = False) -> None:
    """Raise a ValueError if a model cannot learn from a cohort.

    Follow-up is refused by a model of yes or no rather than ignored: a patient censored early is not one without the
    event.

    Args:
        cohort: Patients of known and of unknown outcome.
        endpoint: Endpoint learned.
        clinical: Columns of clinical.csv that enter.
        follow_up: Whether the model learns from follow-up.
    """
    known = cohort.evaluable(endpoint)
    followed = not np.isnan(known.times(endpoint)).all()
    if followed and not follow_up:
        raise ValueError(
            f"endpoint {endpoint} has follow-up times, and this model learns yes or no: who is censored early would "
            "count as a no. Choose a binary endpoint, such as the event by a landmark that every patient has reached"
        )
    if follow_up and not followed:
        raise ValueError(
            f"endpoint {endpoint} has no follow-up times, and this model learns from them: choose an endpoint with a "
            "time, such as endpoint=pfs, or a model of yes or no"
        )
    event = known.events(endpoint)
    if not event.any() or (event.all() and not follow_up):
        raise ValueError(
            f"endpoint {endpoint}: {int(event.sum())} of {len(event)} patients had the event; both are needed"
        )
    known.clinical(clinical)


def outcome_array(cohort: Cohort, endpoint: str, follow_up: bool) -> np.ndarray:
    """Return outcomes as scikit-learn's estimators take them.

    Returns:
        0 and 1, shape (patients,); with ``follow_up`` records of ``event`` (bool) and ``time``.
    """
    event = cohort.events(endpoint)
    if not follow_up:
        return event.astype(int)
    records = np.empty(len(event), dtype=[("event", bool), ("time", float)])
    records["event"], records["time"] = event, cohort.times(endpoint)
    return records


def refuse_without_own(endpoint: str, owned: Collection[str]) -> None:
    """Raise a ValueError if a model has no own score on an endpoint, given the endpoints on which it has one."""
    if endpoint not in owned:
        raise ValueError(
            f"endpoint {endpoint} is read with risk=own, and the model's own scores are of "
            f"{', '.join(owned) or 'no further endpoint'}: choose risk=keep or risk=negate, or a model that learns "
            f"{endpoint} too"
        )


def check_aggregate(aggregate: str) -> None:
    """Raise a ValueError if there is no such rule for features or scores."""
    known = [rule for rule in get_args(Aggregate) if rule not in OF_NETWORKS]
    if aggregate in OF_NETWORKS:
        raise ValueError(
            f"aggregate={aggregate} is learned by a network that describes lesions, as those of experiment=hybrid and "
            f"radiomics_attention; here choose one of {', '.join(known)}"
        )
    if aggregate not in known:
        raise ValueError(f"aggregate={aggregate} is unknown; choose one of {', '.join(known)}")
