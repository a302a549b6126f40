"""A scikit-learn pipeline on clinical columns, on pooled radiomics features, or on both."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from radnet.cohort import Cohort
from radnet.models.pipeline import ClinicalEncoder, pipeline
from radnet.models.pooling import Aggregate
from radnet.predictors.base import (
    Prediction,
    check_aggregate,
    outcome_array,
    refuse_cohort,
    repeated_delineations,
)
from radnet.predictors.frozen import FrozenPipeline, learns_classes, tabular_matrix


class TabularPredictor:
    """Named scikit-learn steps, the last a classifier or a survival model.

    The score is the log odds of a classifier, or the log hazard ratio of a survival model, whose outcomes are records
    of ``event`` and ``time``. A step with ``learn`` (``Reproducible``) is first shown the training patients' lesions
    as every reader and repeat delineated them.

    Args:
        endpoint: Endpoint learned.
        steps: Transformers, then a classifier with ``predict_proba`` or a model whose ``predict`` is a log hazard, by
            name; a step set to null is left out.
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
        check_aggregate(aggregate)
        self.endpoint = endpoint
        self.steps = pipeline(steps)
        self.clinical = tuple(clinical)
        self.regions = tuple(regions)
        self.aggregate = aggregate
        self.calibrated = calibrated

    @property
    def reads_repeats(self) -> bool:
        """Whether a step asks how stable features are between readers and repeats."""
        return any(hasattr(step, "learn") for step in self.steps.named_steps.values())

    def check(self, cohort: Cohort) -> None:
        """Raise a ValueError if it could not learn from this cohort, before any lesion is measured."""
        refuse_cohort(cohort, self.endpoint, self.clinical, follow_up=not learns_classes(self.steps))

    def fit(self, train: Cohort, valid: Cohort | None = None) -> Self:  # noqa: ARG002 - nothing here stops early
        """Learn from the patients of known outcome."""
        self.check(train)
        train = train.evaluable(self.endpoint)
        encoder = ClinicalEncoder().fit(train.clinical(self.clinical)) if self.clinical else None
        matrix, _ = tabular_matrix(train, self.clinical, encoder, self.regions, self.aggregate)
        for step in self.steps.named_steps.values():
            if hasattr(step, "learn"):
                step.learn(repeated_delineations(train, self.regions))
        self.steps.fit(matrix, outcome_array(train, self.endpoint, follow_up=not learns_classes(self.steps)))
        self.frozen = FrozenPipeline(
            steps=self.steps,
            encoder=encoder,
            columns=list(matrix.columns),
            clinical=self.clinical,
            regions=self.regions,
            aggregate=self.aggregate,
            calibrated=self.calibrated,
        )
        return self

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient, and each lesion as if it were the patient's only one."""
        return self.frozen.predict(cohort)
