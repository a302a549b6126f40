"""A scikit-learn pipeline on clinical columns, on pooled radiomics features, or on both."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from radnet.cohort import Cohort
from radnet.models.pipeline import ClinicalEncoder, pipeline
from radnet.models.pooling import Aggregate
from radnet.predictors.base import Prediction, check_aggregate, refuse_cohort
from radnet.predictors.frozen import FrozenPipeline, tabular_matrix


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
        check_aggregate(aggregate)
        self.endpoint = endpoint
        self.steps = pipeline(steps)
        self.clinical = tuple(clinical)
        self.regions = tuple(regions)
        self.aggregate = aggregate
        self.calibrated = calibrated

    def check(self, cohort: Cohort) -> None:
        """Raise a ValueError if it could not learn from this cohort, before any lesion is measured."""
        refuse_cohort(cohort, self.endpoint, self.clinical)

    def fit(self, train: Cohort, valid: Cohort | None = None) -> Self:  # noqa: ARG002 - nothing here stops early
        """Learn from the patients of known outcome."""
        self.check(train)
        train = train.evaluable(self.endpoint)
        encoder = ClinicalEncoder().fit(train.clinical(self.clinical)) if self.clinical else None
        matrix, _ = tabular_matrix(train, self.clinical, encoder, self.regions, self.aggregate)
        self.steps.fit(matrix, train.events(self.endpoint).astype(int))
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
