"""A predictor that judges itself on its own patients, fold by fold, and learns its cut-off from that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
import pandas as pd

from radnet.cohort import Cohort
from radnet.data.split import Fold
from radnet.models.pooling import Aggregate
from radnet.predictors.base import Frozen, History, Prediction, Predictor, refuse_without_own
from radnet.predictors.reading import FittedCutoff, FittedReading, Reading

Place = tuple[int, ...]
"""Where a fit stands: () learns from everybody, (2,) from fold 2, (2, 1) from fold 1 within it."""


MakePredictor = Callable[[Place, Path | None], Predictor]
"""Builds an untrained predictor for a place, which keeps its checkpoints in the file it is given."""

MakeFolds = Callable[[Cohort, str], Sequence[Fold]]
Once = Callable[[str, Callable[[Path | None], tuple[Prediction, History]]], tuple[Prediction, History]]
"""Calls what fits and predicts, or returns what the fit of this name gave before it was interrupted."""


@dataclass(frozen=True)
class Judged:
    """A fold's patients, judged by a model that did not learn from them, and the epochs of that model."""

    fold: Fold
    prediction: Prediction
    history: History


def always(name: str, make: Callable[[Path | None], tuple[Prediction, History]]) -> tuple[Prediction, History]:  # noqa: ARG001
    """Fit and predict whatever was done before: the ``Once`` of work that is not gone on with."""
    return make(None)


ReadOn = Literal["out_of_fold", "apparent"]
"""Whose scores cut-offs and probabilities are learned on."""


class NestedPredictor:
    """A predictor and, around it, the folds that judge it, each judged in turn by the folds within.

    ``fit`` first judges: of every fold a model learns from the one side and scores the other. On these out-of-fold
    scores the readings (cut-offs, probabilities) are fitted; then one model learns from everybody. With two levels of
    folds each fold's own readings come from folds within its training side, so that nothing of a judged patient enters
    his cut-off: nested validation is this class holding itself.

    Args:
        make: Builds the predictor for a place.
        folds: Levels of folds, the outermost first; without any there is no out-of-fold score.
        readings: How the score is read, on the endpoint learned first, then on further ones.
        once: Keeps what a fit gave, so that an interrupted run need not fit again.
        place: Where this one stands.
        progress: Called with folds done, folds in all and the next one's name.
        read_on: Whose scores the readings are fitted on. ``apparent``, those of the patients learned from, is what many
            papers did: an overfitted model's cut-off then fits nobody else.

    Raises:
        ValueError: If ``read_on`` is unknown, or the model's own score is to be read on an endpoint that is not among
            its ``own_endpoints``.
    """

    def __init__(
        self,
        make: MakePredictor,
        folds: Sequence[MakeFolds],
        readings: Sequence[Reading],
        once: Once = always,
        place: Place = (),
        progress: Callable[[int, int, str], None] | None = None,
        read_on: ReadOn = "out_of_fold",
    ) -> None:
        if read_on not in get_args(ReadOn):
            raise ValueError(f"read_on must be {' or '.join(get_args(ReadOn))}, got {read_on!r}")
        self.make = make
        self.folds = tuple(folds)
        self.readings = tuple(readings)
        self.once = once
        self.place = place
        self.progress = progress
        self.read_on = read_on
        self.model = make(place, None)
        for reading in self.readings:
            if reading.risk == "own":
                refuse_without_own(reading.endpoint.name, own_endpoints(self.model))
        self.endpoint = self.model.endpoint
        self.out_of_fold: list[Judged] = []
        self.fitted: tuple[FittedReading, ...] = ()

    @property
    def frozen(self) -> Frozen:
        """What the model of everybody left behind."""
        return self.model.frozen

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions whose features it reads."""
        return self.model.regions

    @property
    def clinical(self) -> tuple[str, ...]:
        """Columns of clinical.csv that it reads."""
        return self.model.clinical

    @property
    def aggregate(self) -> Aggregate:
        """Rule that pools the lesions of a patient."""
        return self.model.aggregate

    @property
    def history(self) -> History:
        """Epochs of the model of everybody; empty for a model without epochs."""
        return getattr(self.model, "history", [])

    @property
    def cutoff(self) -> FittedCutoff | None:
        """The cut-off on the score for the endpoint learned, if one could be fitted."""
        return self.fitted[0].cutoff if self.fitted else None

    def check(self, cohort: Cohort) -> None:
        """Raise a ValueError if it could not learn from this cohort."""
        self.model.check(cohort)

    def fit(self, train: Cohort, valid: Cohort | None = None) -> Self:
        """Judge, fit the readings, learn from everybody; ``valid`` may decide when that last fit stops."""
        return self.judge(train).freeze(train, valid)

    def judge(self, train: Cohort) -> Self:
        """Fill ``out_of_fold``, and fit the readings to its scores, averaged over repeats."""
        if not self.folds:
            return self
        folds = self.folds[0](train, self.endpoint)
        self.out_of_fold = []
        for done, fold in enumerate(folds):
            if self.progress is not None:
                self.progress(done, len(folds), f"fold {fold.name}")
            self.out_of_fold.append(self._judged(fold, train, (*self.place, done + 1)))
        if self.progress is not None:
            self.progress(len(folds), len(folds), "")
        if self.read_on == "out_of_fold":
            self._read(train, [one.prediction for one in self.out_of_fold])
        return self

    def freeze(self, train: Cohort, valid: Cohort | None = None, checkpoint: Path | None = None) -> Self:
        """Learn from everybody."""
        self.model = self.make(self.place, checkpoint).fit(train, valid)
        if not self.fitted:
            self.fitted = tuple(one.unfitted() for one in self.readings)
        if self.read_on == "apparent":
            learned = train.evaluable(self.endpoint)
            self._read(learned, [self.model.predict(learned)])
        return self

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient with the model of everybody, as read on the endpoint learned and on further ones."""
        prediction = self.model.predict(cohort)
        return as_read(prediction, self.fitted)

    def _read(self, cohort: Cohort, predictions: Sequence[Prediction]) -> None:
        """Fit the readings to the scores of patients, averaged where one has several."""
        first, *others = self.readings
        if getattr(self.model, "calibrated", False):  # the model foretells probabilities of its own
            first = replace(first, calibrated=False)
        fitted = []
        for reading in (first, *others):
            scores = pd.concat([reading.score(one) for one in predictions]).groupby(level="patient_id").mean()
            judged = cohort.select(scores.index)  # a bootstrap may leave some patients in every sample
            fitted.append(reading.fit(judged, scores.loc[judged.ids]))
        self.fitted = tuple(
            replace(one, cutoff=fitted[0].cutoff) if reading.rule is None else one
            for reading, one in zip(self.readings, fitted, strict=True)
        )

    def _judged(self, fold: Fold, train: Cohort, place: Place) -> Judged:
        within = NestedPredictor(self.make, self.folds[1:], self.readings, self.once, place, read_on=self.read_on)

        def fit_and_predict(checkpoint: Path | None) -> tuple[Prediction, History]:
            learned_from = train.select(fold.train)
            within.judge(learned_from).freeze(learned_from, checkpoint=checkpoint)
            prediction = within.predict(train.select(fold.test))
            *_, selected = within.frozen.selection().values() or [()]
            return replace(prediction, selected=tuple(selected)), within.history

        return Judged(fold, *self.once(fit_name(place), fit_and_predict))


def as_read(prediction: Prediction, readings: Sequence[FittedReading]) -> Prediction:
    """Return a prediction as it reads on the first endpoint, and on the others beside it; as it is without any.

    A probability of the model's own is one of the endpoint learned, and is none of another's. Its own scores stay
    with the endpoint learned, from which each reading takes them.
    """
    if not readings:
        return prediction
    first, *others = readings
    score_alone = replace(prediction, patients=prediction.patients.assign(probability=np.nan))
    also = {one.endpoint.name: replace(one.read(score_alone), own={}) for one in others}
    return replace(first.read(prediction), also=also)


def own_endpoints(model: Predictor) -> tuple[str, ...]:
    """Return the further endpoints on which a predictor has scores of its own; most have none."""
    return tuple(getattr(model, "own_endpoints", ()))


def fit_name(place: Place) -> str:
    """Return the name under which a fit's work is kept.

    Example:
        >>> fit_name(()), fit_name((2,)), fit_name((2, 1))
        ('model', 'fold_2', 'fold_2_inner_1')
    """
    return "model" if not place else "_inner_".join([f"fold_{place[0]}", *map(str, place[1:])])
