"""A scikit-learn pipeline on clinical columns, on radiomics features of patients or of lesions, or on both."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radnet.cohort import Cohort
from radnet.models.mixed import patient_weights
from radnet.models.pipeline import ClinicalEncoder, pipeline
from radnet.models.pooling import Aggregate
from radnet.predictors.base import (
    Prediction,
    check_aggregate,
    outcome_array,
    refuse_cohort,
    repeated_delineations,
)
from radnet.predictors.frozen import FrozenPipeline, learns_classes
from radnet.predictors.lesion_rows import Unit, lesion_sites, refuse_sites, site_columns


class TabularPredictor:
    """Named scikit-learn steps, the last a classifier or a survival model.

    The score is the log odds of a classifier, or the log hazard ratio of a survival model, whose outcomes are records
    of ``event`` and ``time``. A step with ``learn`` (``Reproducible``) is first shown the training patients' lesions
    as every reader and repeat delineated them.

    With ``unit=lesion`` it learns from lesions, one row each: features, the lesion's site, clinical columns and outcome
    of its patient. A step whose ``fit`` takes ``patients`` is told whose lesion each row is. A classifier then scores a
    lesion by its probability, and a patient by those of his lesions, pooled; a survival model by log hazards.

    Args:
        endpoint: Endpoint learned.
        steps: Transformers, then a classifier with ``predict_proba`` or a model whose ``predict`` is a log hazard, by
            name; a step set to null is left out.
        clinical: Columns of clinical.csv that enter.
        regions: Regions whose radiomics features enter, pooled over lesions; none for a clinical model.
        aggregate: Rule that pools lesions: their features or, of a model of lesions, their scores. ``noisy_or`` pools
            scores, and makes a model that reads features one of lesions.
        calibrated: Whether the classifier's probability may be read as one (an unpenalised logistic model's may).
        unit: What it learns from.
        sites: Levels of a lesion's site that enter as 0/1 columns ``site_<level>``, but for the first, the reference.
            ``other`` stands for every site that is not listed. Only of a model of lesions.
        weigh: Of a model of lesions, what weighs alike. ``patient`` gives each step whose ``fit`` takes them
            ``sample_weight``, 1 / the lesions of a patient, and ``groups``, so that folds within it keep his lesions
            together; ``lesion`` gives neither, as some papers did.
    """

    def __init__(
        self,
        endpoint: str,
        steps: Mapping[str, Any],
        clinical: Sequence[str] = (),
        regions: Sequence[str] = (),
        aggregate: Aggregate = "mean",
        calibrated: bool = False,
        unit: Unit = "patient",
        sites: Sequence[str] = (),
        weigh: Unit = "patient",
    ) -> None:
        if not clinical and not regions:
            raise ValueError("a tabular model needs clinical columns, regions with features, or both")
        check_aggregate(aggregate)
        for name, value in (("unit", unit), ("weigh", weigh)):
            if value not in get_args(Unit):
                raise ValueError(f"{name} must be {' or '.join(get_args(Unit))}, got {value!r}")
        if unit == "lesion" and not regions:
            raise ValueError("a model of lesions (unit=lesion) needs regions with features")
        self.unit: Unit = "lesion" if regions and aggregate == "noisy_or" else unit
        if sites and self.unit == "patient":
            raise ValueError("sites are those of lesions, and this model learns from patients: give unit=lesion")
        self.endpoint = endpoint
        self.steps = pipeline(steps)
        self.clinical = tuple(clinical)
        self.regions = tuple(regions)
        self.aggregate = aggregate
        self.calibrated = calibrated
        self.sites = tuple(sites)
        self.weigh = weigh

    @property
    def reads_repeats(self) -> bool:
        """Whether a step asks how stable features are between readers and repeats."""
        return any(hasattr(step, "learn") for step in self.steps.named_steps.values())

    def check(self, cohort: Cohort) -> None:
        """Raise a ValueError if it could not learn from this cohort, before any lesion is measured."""
        refuse_cohort(cohort, self.endpoint, self.clinical, follow_up=not learns_classes(self.steps))
        refuse_sites(lesion_sites(cohort), self.sites)

    def fit(self, train: Cohort, valid: Cohort | None = None) -> Self:  # noqa: ARG002 - nothing here stops early
        """Learn from the patients of known outcome."""
        self.check(train)
        train = train.evaluable(self.endpoint)
        encoder = ClinicalEncoder().fit(train.clinical(self.clinical)) if self.clinical else None
        untrained = FrozenPipeline(
            steps=self.steps,
            encoder=encoder,
            columns=[],
            clinical=self.clinical,
            regions=self.regions,
            aggregate=self.aggregate,
            calibrated=self.calibrated,
            unit=self.unit,
            sites=self.sites,
        )
        matrix = untrained.inputs(train)
        beside = [*site_columns(self.sites), *([] if encoder is None else encoder.get_feature_names_out())]
        for step in self.steps.named_steps.values():
            if hasattr(step, "learn"):
                step.learn(repeated_delineations(train, self.regions), beside)
        outcome = outcome_array(train, self.endpoint, follow_up=not learns_classes(self.steps))
        if self.unit == "lesion":
            patients = matrix.index.get_level_values("patient_id")
            of_lesion = pd.Index(train.ids).get_indexer(patients)
            self.steps.fit(matrix, outcome[of_lesion], **self._of_lesions(patients.to_numpy(dtype=str)))
        else:
            self.steps.fit(matrix, outcome)
        self.frozen = replace(untrained, columns=list(matrix.columns))
        return self

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient, and each lesion as if it were the patient's only one."""
        return self.frozen.predict(cohort)

    def _of_lesions(self, patients: NDArray[np.str_]) -> dict[str, NDArray[Any]]:
        """Return what each step's ``fit`` takes beside rows and outcomes, under the names a pipeline passes it by.

        Args:
            patients: Whose lesion each row is, shape (lesions,).
        """
        given: dict[str, NDArray[Any]] = {"patients": patients}
        if self.weigh == "patient":
            given |= {"groups": patients, "sample_weight": patient_weights(patients)}
        return {
            f"{name}__{key}": value
            for name, step in self.steps.steps
            for key, value in given.items()
            if key in inspect.signature(step.fit).parameters
        }
