"""A predictor that judges itself on its own patients, fold by fold, and learns its cut-off from that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

import pandas as pd
from numpy.typing import NDArray

from radnet.cohort import Cohort
from radnet.data.split import Fold
from radnet.predictors.base import Frozen, History, Prediction, Predictor

Place = tuple[int, ...]
"""Where a fit stands: () learns from everybody, (2,) from fold 2, (2, 1) from fold 1 within it."""


class FittedCutoff(Protocol):
    """A cut-off on the score, and the rule that found it."""

    @property
    def value(self) -> float: ...  # noqa: D102
    @property
    def rule(self) -> str: ...  # noqa: D102


MakePredictor = Callable[[Place, Path | None], Predictor]
"""Builds an untrained predictor for a place, which keeps its checkpoints in the file it is given."""

MakeFolds = Callable[[Cohort, str], Sequence[Fold]]
CutoffRule = Callable[[NDArray, NDArray], FittedCutoff]
"""Fits a cut-off to events and scores, both of shape (n,)."""

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


class NestedPredictor:
    """A predictor and, around it, the folds that judge it, each judged in turn by the folds within.

    ``fit`` first judges: of every fold a model learns from the one side and scores the other. From these out-of-fold
    scores the cut-off is fitted; then one model learns from everybody. With two levels of folds each fold's own cut-off
    comes from folds within its training side, so that nothing of a judged patient enters its cut-off: nested
    validation is this class holding itself.

    Args:
        make: Builds the predictor for a place.
        folds: Levels of folds, the outermost first; without any there is no cut-off.
        rule: Fits the cut-off.
        once: Keeps what a fit gave, so that an interrupted run need not fit again.
        place: Where this one stands.
        progress: Called with folds done, folds in all and the next one's name.
    """

    def __init__(
        self,
        make: MakePredictor,
        folds: Sequence[MakeFolds],
        rule: CutoffRule,
        once: Once = always,
        place: Place = (),
        progress: Callable[[int, int, str], None] | None = None,
    ) -> None:
        self.make = make
        self.folds = tuple(folds)
        self.rule = rule
        self.once = once
        self.place = place
        self.progress = progress
        self.model = make(place, None)
        self.endpoint = self.model.endpoint
        self.out_of_fold: list[Judged] = []
        self.cutoff: FittedCutoff | None = None

    @property
    def frozen(self) -> Frozen:
        """What the model of everybody left behind."""
        return self.model.frozen

    @property
    def history(self) -> History:
        """Epochs of the model of everybody; empty for a model without epochs."""
        return getattr(self.model, "history", [])

    def check(self, cohort: Cohort) -> None:
        """Raise a ValueError if it could not learn from this cohort."""
        self.model.check(cohort)

    def fit(self, train: Cohort, valid: Cohort | None = None) -> Self:
        """Judge, fit the cut-off, learn from everybody; ``valid`` may decide when that last fit stops."""
        return self.judge(train).freeze(train, valid)

    def judge(self, train: Cohort) -> Self:
        """Fill ``out_of_fold``, and fit the cut-off to its scores, averaged over repeats."""
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
        scores = pd.concat([one.prediction.patients["score"] for one in self.out_of_fold])
        scores = scores.groupby(level="patient_id").mean()
        judged = train.select(scores.index)  # a bootstrap may leave some patients in every sample
        self.cutoff = self.rule(judged.events(self.endpoint), scores.loc[judged.ids].to_numpy())
        return self

    def freeze(self, train: Cohort, valid: Cohort | None = None, checkpoint: Path | None = None) -> Self:
        """Learn from everybody."""
        self.model = self.make(self.place, checkpoint).fit(train, valid)
        return self

    def predict(self, cohort: Cohort) -> Prediction:
        """Score every patient with the model of everybody; the prediction carries the cut-off."""
        prediction = self.model.predict(cohort)
        return prediction if self.cutoff is None else replace(prediction, cutoff=self.cutoff.value)

    def _judged(self, fold: Fold, train: Cohort, place: Place) -> Judged:
        within = NestedPredictor(self.make, self.folds[1:], self.rule, self.once, place)

        def fit_and_predict(checkpoint: Path | None) -> tuple[Prediction, History]:
            learned_from = train.select(fold.train)
            within.judge(learned_from).freeze(learned_from, checkpoint=checkpoint)
            return within.predict(train.select(fold.test)), within.history

        return Judged(fold, *self.once(fit_name(place), fit_and_predict))


def fit_name(place: Place) -> str:
    """Return the name under which a fit's work is kept.

    Example:
        >>> fit_name(()), fit_name((2,)), fit_name((2, 1))
        ('model', 'fold_2', 'fold_2_inner_1')
    """
    return "model" if not place else "_inner_".join([f"fold_{place[0]}", *map(str, place[1:])])
