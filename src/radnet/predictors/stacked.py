"""Predictors whose scores a last model weighs, beside clinical columns."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal, Self, get_args

import pandas as pd

from radnet.cohort import Cohort
from radnet.imaging.patch import PatchSettings
from radnet.models.pipeline import ClinicalEncoder, pipeline
from radnet.models.pooling import Aggregate
from radnet.predictors.base import Prediction, Predictor, outcome_array, refuse_cohort
from radnet.predictors.frozen import clinical_columns, learns_classes
from radnet.predictors.frozen_stack import FrozenStack
from radnet.predictors.lesion_rows import of_lesions
from radnet.predictors.nested import MakeFolds

LearnFrom = Literal["out_of_fold", "apparent"]


class StackedPredictor:
    """Members learn, and a last model learns how much their scores and some clinical columns weigh.

    The last model is shown scores that members gave to patients they did not learn from (Wolpert 1992). From apparent
    scores it would learn how well the members fit their own patients: an overfitted score then crowds out the clinical
    columns, and its weight falls apart on others.

    Args:
        endpoint: Endpoint learned.
        members: Each makes an untrained predictor, by name.
        steps: Transformers, then a classifier or a survival model, on the members' scores and the clinical columns.
        folds: Folds whose out-of-fold scores the last model learns from.
        clinical: Columns of clinical.csv beside the scores.
        learn_from: ``apparent`` shows the last model the members' scores of their own patients, as many papers do.
        calibrated: Whether the classifier's probability may be read as one.
    """

    def __init__(
        self,
        endpoint: str,
        members: Mapping[str, Callable[[], Predictor]],
        steps: Mapping[str, Any],
        folds: MakeFolds,
        clinical: Sequence[str] = (),
        learn_from: LearnFrom = "out_of_fold",
        calibrated: bool = False,
    ) -> None:
        if learn_from not in get_args(LearnFrom):
            raise ValueError(f"learn_from must be out_of_fold or apparent, got {learn_from}")
        if not members:
            raise ValueError("a stack needs at least one member")
        self.endpoint = endpoint
        self.members = dict(members)
        self.steps = pipeline(steps)
        self.folds = folds
        self.beside = tuple(clinical)
        self.learn_from = learn_from
        self.calibrated = calibrated
        self._untrained = {name: self._make(name) for name in self.members}
        patches = [one.imaging for one in self._untrained.values() if getattr(one, "imaging", None)]  # type: ignore[attr-defined]
        if any(one != patches[0] for one in patches):
            raise ValueError("members of a stack read patches of other settings: give all the same imaging")

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions whose features any member reads."""
        return tuple(dict.fromkeys(region for one in self._untrained.values() for region in one.regions))

    @property
    def imaging(self) -> PatchSettings | None:
        """What the patches are that members read, None where none does."""
        return next((one.imaging for one in self._untrained.values() if getattr(one, "imaging", None)), None)  # type: ignore[attr-defined]

    @property
    def readers(self) -> Mapping[str, Predictor]:
        """The untrained members, each of whom must be able to read a patient."""
        return self._untrained

    @property
    def clinical(self) -> tuple[str, ...]:
        """Columns of clinical.csv that any member reads, or that stand beside their scores."""
        every = [column for one in self._untrained.values() for column in one.clinical]
        return tuple(dict.fromkeys([*every, *self.beside]))

    @property
    def aggregate(self) -> Aggregate:
        """Rule by which the first member that sees lesions pools them."""
        return next((one.aggregate for one in self._untrained.values() if one.regions), "mean")

    @property
    def reads_repeats(self) -> bool:
        """Whether a step of any member asks how stable features are between readers and repeats."""
        return any(getattr(one, "reads_repeats", False) for one in self._untrained.values())

    def check(self, cohort: Cohort) -> None:
        """Raise a ValueError if it could not learn from this cohort, before any lesion is measured."""
        refuse_cohort(cohort, self.endpoint, self.beside, follow_up=not learns_classes(self.steps))
        for one in self._untrained.values():
            one.check(cohort)

    def fit(self, train: Cohort, valid: Cohort | None = None) -> Self:
        """Learn from the patients of known outcome; ``valid`` may decide when a member stops."""
        self.check(train)
        train = train.evaluable(self.endpoint)
        fitted = {name: self._make(name).fit(train, valid) for name in self.members}
        encoder = ClinicalEncoder().fit(train.clinical(self.beside)) if self.beside else None
        scores = {name: self._scores(name, one, train) for name, one in fitted.items()}
        judged = train.where(lambda patient: all(patient.id in of_member.index for of_member in scores.values()))
        table = pd.DataFrame({name: one.loc[judged.ids] for name, one in scores.items()}, index=judged.ids)
        matrix = table.join(clinical_columns(judged, self.beside, encoder))
        self.steps.fit(matrix, outcome_array(judged, self.endpoint, follow_up=not learns_classes(self.steps)))
        self.frozen = FrozenStack(
            members={name: one.frozen for name, one in fitted.items()},
            reads={
                name: [] if of_lesions(rows) else list(rows.columns)
                for name, one in fitted.items()
                for rows in [one.frozen.inputs(train)]
            },
            steps=self.steps,
            encoder=encoder,
            clinical=self.beside,
            calibrated=self.calibrated,
        )
        return self

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient, and each lesion as if it were the patient's only one."""
        return self.frozen.predict(cohort)

    def _make(self, name: str) -> Predictor:
        """Build a member that shares nothing with one built before: a partial keeps the steps it was given."""
        return deepcopy(self.members[name])()

    def _scores(self, name: str, fitted: Predictor, train: Cohort) -> pd.Series:
        if self.learn_from == "apparent":
            return fitted.predict(train).patients["score"]
        scores = [
            self._make(name).fit(train.select(fold.train)).predict(train.select(fold.test)).patients["score"]
            for fold in self.folds(train, self.endpoint)
        ]
        return pd.concat(scores).groupby(level="patient_id").mean()
