"""A scikit-learn pipeline on clinical columns, on pooled radiomics features, or on both."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from skops.io import dump

from radnet.cohort import Cohort
from radnet.models.pipeline import ClinicalEncoder, pipeline
from radnet.models.pooling import Aggregate
from radnet.predictors.base import (
    LesionFeatures,
    Prediction,
    lesion_features,
    lesion_scores,
    no_lesions,
    refuse_other_columns,
)
from radnet.tables import write_atomically


class TabularPredictor:
    """Named scikit-learn steps, the last a classifier; the score is its log odds.

    Args:
        endpoint: Endpoint learned.
        steps: Transformers and a classifier with ``predict_proba``, by name; a step set to null is left out.
        clinical: Columns of clinical.csv that enter.
        regions: Regions whose radiomics features enter, pooled over lesions; none for a clinical model.
        aggregate: Rule that pools lesions.
        calibrated: Whether the classifier's probability may be read as one (an unpenalised logistic model's may).
    """

    def __init__(
        self,
        endpoint: str,
        steps: Mapping[str, Any],
        clinical: Sequence[str] = (),
        regions: Sequence[str] = (),
        aggregate: Aggregate = "mean",
        calibrated: bool = False,
    ) -> None:
        if not clinical and not regions:
            raise ValueError("a tabular model needs clinical columns, regions with features, or both")
        self.endpoint = endpoint
        self.steps = pipeline(steps)
        self.clinical = tuple(clinical)
        self.regions = tuple(regions)
        self.aggregate = aggregate
        self.calibrated = calibrated

    def fit(self, train: Cohort, valid: Cohort | None = None) -> Self:  # noqa: ARG002 - nothing here stops early
        """Learn from the patients of known outcome."""
        train = train.evaluable(self.endpoint)
        self.encoder = ClinicalEncoder().fit(train.clinical(self.clinical)) if self.clinical else None
        matrix, _ = self._matrix(train)
        self.columns = list(matrix.columns)
        self.steps.fit(matrix, train.events(self.endpoint).astype(int))
        return self

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient, and each lesion as if it were the patient's only one."""
        matrix, features = self._matrix(cohort)
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
        }

    def _matrix(self, cohort: Cohort) -> tuple[pd.DataFrame, LesionFeatures | None]:
        blocks = []
        features = lesion_features(cohort, self.regions, self.aggregate) if self.regions else None
        if features is not None:
            blocks.append(features.patients)
        if self.encoder is not None:
            table = cohort.clinical(self.clinical)
            names = self.encoder.get_feature_names_out()
            blocks.append(pd.DataFrame(self.encoder.transform(table), index=table.index, columns=names))
        return pd.concat(blocks, axis=1), features

    def _score(self, matrix: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        probability = self.steps.predict_proba(matrix)[:, 1]
        tiny = np.finfo(float).tiny
        return np.log(np.maximum(probability, tiny)) - np.log(np.maximum(1.0 - probability, tiny)), probability
