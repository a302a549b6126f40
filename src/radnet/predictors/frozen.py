"""Fitted models: all that is needed to score a patient, and nothing that learns or executes on load."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from skops.io import dump, get_untrusted_types, load

from radnet.cohort import Cohort
from radnet.files import write_atomically
from radnet.models.lesion_logistic import LesionLogistic
from radnet.models.pipeline import ClinicalEncoder
from radnet.models.pooling import Aggregate, pool_scores
from radnet.predictors.base import (
    LesionFeatures,
    Prediction,
    lesion_features,
    lesion_scores,
    no_lesions,
    refuse_other_columns,
)
from radnet.predictors.lesion_rows import Unit, lesion_rows, site_columns
from radnet.predictors.selection import features_left, linear_terms

TRUSTED = (
    "numpy.dtype",
    "radnet.evaluation.agreement.reproducible.Reproducible",
    "radnet.models.cox.CoxRegression",
    "radnet.models.cox.UnivariableCox",
    "radnet.models.elastic_net.ElasticNetLinear",
    "radnet.models.elastic_net.ElasticNetLogistic",
    "radnet.models.elastic_net_cox.ElasticNetCox",
    "radnet.models.elastic_net_grid.ElasticNetGrid",
    "radnet.models.forest.RandomForest",
    "radnet.models.lesion_logistic.LesionLogistic",
    "radnet.models.mixed.LogisticMixedModel",
    "radnet.models.pipeline.AtLeast",
    "radnet.models.pipeline.Chosen",
    "radnet.models.pipeline.ClinicalEncoder",
    "radnet.models.pipeline.Clip",
    "radnet.models.pipeline.LogShift",
    "radnet.radiomics.select.NearConstant",
    "radnet.radiomics.select.Uncorrelated",
)
"""What a skops file of ours may hold beside scikit-learn's and NumPy's own objects: a new step is listed here."""


@dataclass(frozen=True)
class FrozenPipeline:
    """A fitted scikit-learn pipeline on clinical columns, on pooled features, or on both; or on lesions, one row each.

    The score is the log odds that a classifier gives, or the log hazard ratio of a survival model. A model of lesions
    scores each, a classifier by its probability, and a patient has the pooled score of his lesions.

    Attributes:
        steps: Transformers, then a classifier or a survival model.
        encoder: Makes numbers of the clinical columns, or None.
        columns: Inputs of ``steps``, in order.
        clinical: Columns of clinical.csv that enter.
        regions: Regions whose features enter.
        aggregate: Rule that pools lesions: their features, or, of a model of lesions, their scores.
        calibrated: Whether the classifier's probability may be read as one.
        unit: What a row of ``columns`` is of.
        sites: Levels of a lesion's site, the reference first; empty for a model that does not read it.
    """

    steps: Pipeline
    encoder: ClinicalEncoder | None
    columns: list[str]
    clinical: tuple[str, ...]
    regions: tuple[str, ...]
    aggregate: Aggregate
    calibrated: bool
    unit: Unit = "patient"
    sites: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: Path, card: Mapping[str, Any]) -> Self:
        """Read what ``save`` wrote, given its description."""
        return cls(
            steps=load_steps(folder / "pipeline.skops"),
            encoder=load_steps(folder / "clinical.skops") if card["clinical"] else None,
            columns=list(card["inputs"]),
            clinical=tuple(card["clinical"]),
            regions=tuple(card["regions"]),
            aggregate=card["aggregate"],
            calibrated=bool(card["calibrated"]),
            unit=card.get("unit", "patient"),  # a card without was written before a model could learn from lesions
            sites=tuple(card.get("sites", ())),
        )

    def save(self, folder: Path) -> dict[str, Any]:
        """Write ``pipeline.skops`` (and ``clinical.skops``); return the model's description."""
        write_atomically(folder / "pipeline.skops", lambda path: dump(self.steps, path))
        if self.encoder is not None:
            write_atomically(folder / "clinical.skops", lambda path: dump(self.encoder, path))
        return {
            "predictor": "tabular",
            "inputs": self.columns,
            "clinical": list(self.clinical),
            "regions": list(self.regions),
            "aggregate": self.aggregate,
            "calibrated": self.calibrated,
            "unit": self.unit,
            "sites": list(self.sites),
            "terms": linear_terms(self.steps, self.columns),
            **({"mixed_model": last.mixed_model} if isinstance(last := self.steps[-1], LesionLogistic) else {}),
        }

    def selection(self) -> Mapping[str, Sequence[str]]:
        """Return the features left after each step that leaves some out, the first ``measured``; empty without such.

        A lesion's site is no feature.
        """
        sites = site_columns(self.sites)
        left = features_left(self.steps, self.columns)
        return {step: [name for name in names if name not in sites] for step, names in left.items()}

    def inputs(self, cohort: Cohort) -> pd.DataFrame:
        """Return what the model reads of each patient: features, pooled over lesions, then encoded clinical columns.

        Of a model of lesions, what it reads of each lesion, indexed by (patient_id, lesion_id).
        """
        if self.unit == "lesion":
            clinical = clinical_columns(cohort, self.clinical, self.encoder)
            return lesion_rows(cohort, self.regions, self.sites, clinical)
        return tabular_matrix(cohort, self.clinical, self.encoder, self.regions, self.aggregate)[0]

    def score(self, inputs: pd.DataFrame) -> np.ndarray:
        """Score rows as ``inputs`` gives them: one score a patient, in order of first appearance."""
        if self.unit == "lesion":
            return self._pooled(inputs)[0].to_numpy()
        return self._score(inputs)[0]

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient, and each lesion as if it were the patient's only one."""
        if self.unit == "lesion":
            return self._of_lesions(self.inputs(cohort))
        matrix, features = tabular_matrix(cohort, self.clinical, self.encoder, self.regions, self.aggregate)
        refuse_other_columns(list(matrix.columns), self.columns)
        score, probability = self._score(matrix)
        patients = pd.DataFrame(
            {"score": score, "probability": probability if self.calibrated else np.nan}, index=matrix.index
        )
        if features is None:
            return Prediction(patients, no_lesions())
        clinical = matrix.drop(columns=features.patients.columns)
        owner = features.lesions.index.get_level_values("patient_id")
        alone = pd.concat([features.lesions.reset_index(drop=True), clinical.loc[owner].reset_index(drop=True)], axis=1)
        return Prediction(patients, lesion_scores(self._score(alone)[0], features))

    def _of_lesions(self, rows: pd.DataFrame) -> Prediction:
        refuse_other_columns(list(rows.columns), self.columns)
        score, lesions = self._pooled(rows)
        foretold = self.calibrated and learns_classes(self.steps)
        return Prediction(score.to_frame().assign(probability=score if foretold else np.nan), lesions)

    def _pooled(self, rows: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame]:
        """Return scores of patients, and score and weight of each lesion."""
        score, probability = self._score(rows)
        classes = learns_classes(self.steps)
        own = pd.Series(probability if classes else score, index=rows.index, name="score")
        pooled, weight = pool_scores(own, rows, self.aggregate, "probability" if classes else "log_hazard")
        return pooled, pd.concat([own, weight], axis=1)

    def _score(self, matrix: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        return score_and_probability(self.steps, matrix)


def learns_classes(steps: Pipeline) -> bool:
    """Return whether the last step learns yes or no; else it learns from follow-up, and predicts the log hazard."""
    return hasattr(steps[-1], "predict_proba")


def score_and_probability(steps: Pipeline, matrix: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the score of each row, and the probability of a classifier (NaN of a survival model), shape (rows,)."""
    if not learns_classes(steps):
        hazard = np.asarray(steps.predict(matrix), dtype=float)
        return hazard, np.full(len(hazard), np.nan)
    probability = steps.predict_proba(matrix)[:, 1]
    tiny = np.finfo(float).tiny
    return np.log(np.maximum(probability, tiny)) - np.log(np.maximum(1.0 - probability, tiny)), probability


def clinical_columns(cohort: Cohort, columns: Sequence[str], encoder: ClinicalEncoder | None) -> pd.DataFrame:
    """Return clinical columns as numbers, one row per patient; no column without an encoder."""
    if encoder is None:
        return pd.DataFrame(index=pd.Index(cohort.ids, name="patient_id"))
    table = cohort.clinical(columns)
    return pd.DataFrame(encoder.transform(table), index=table.index, columns=encoder.get_feature_names_out())


def tabular_matrix(
    cohort: Cohort,
    clinical: tuple[str, ...],
    encoder: ClinicalEncoder | None,
    regions: tuple[str, ...],
    aggregate: Aggregate,
) -> tuple[pd.DataFrame, LesionFeatures | None]:
    """Return one row per patient, features before clinical columns, and the features it was pooled from."""
    blocks = []
    features = lesion_features(cohort, regions, aggregate) if regions else None
    if features is not None:
        blocks.append(features.patients)
    if encoder is not None:
        blocks.append(clinical_columns(cohort, clinical, encoder))
    return pd.concat(blocks, axis=1), features


def load_steps(file: Path) -> Any:  # a pipeline or an encoder
    """Read a skops file that holds nothing but known kinds of object.

    Raises:
        ValueError: If it holds anything else, or cannot be read.
    """
    try:
        unknown = sorted(set(get_untrusted_types(file=file)) - set(TRUSTED))
        if not unknown:
            return load(file, trusted=list(TRUSTED))
    except Exception as error:
        raise ValueError(f"{file}: cannot be read as a fitted pipeline: {error}") from error
    raise ValueError(f"{file}: refused, it holds objects no model of radnet has: {', '.join(unknown)}")
