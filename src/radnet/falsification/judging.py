"""Controls judged as the model is: in the same folds, on the same held-out patients, with cut-offs of their own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from radnet.cohort import Cohort
from radnet.data.split import Fold
from radnet.evaluation.outcomes import NEEDED, Outcomes
from radnet.falsification.baselines import Control
from radnet.predictors.base import History, Prediction
from radnet.predictors.nested import MakeFolds, NestedPredictor, Once
from radnet.predictors.reading import Reading


@dataclass(frozen=True)
class Design:
    """Who is learned from and who is judged.

    Attributes:
        endpoint: Endpoint learned.
        development: Patients learned from, without features.
        held_out: Ids of patients that no model learns from.
        levels: Folds over the development patients, then folds within these.
        reading: How scores are read on it.
        once: Keeps what a fit gave.
    """

    endpoint: str
    development: Cohort
    held_out: tuple[str, ...]
    levels: tuple[MakeFolds, ...]
    reading: Reading
    once: Once


@dataclass(frozen=True)
class ControlScores:
    """A control's prediction of some patients."""

    cohort: Cohort
    prediction: Prediction
    partition: str
    fold: str = ""
    repeat: str = ""


def judge_control(control: Control, design: Design) -> Iterator[ControlScores]:
    """Yield a control's predictions out of fold, apparent and held out.

    A control of some of the patients keeps the folds of all, so far as its patients go. They are too few for folds
    within folds, so that a single fold's scores carry no cut-off.

    Raises:
        ValueError: If its patients do not suffice, as when no fold has patients to compare in it.
    """
    here = set(control.cohort.ids)
    development = control.cohort.select(one for one in design.development.ids if one in here)
    levels = design.levels
    if len(development) < len(design.development):
        levels = (folds_of_all(design.levels[0], design.development),)
    nested = NestedPredictor(
        lambda place, checkpoint: control.predictor(),  # noqa: ARG005 - draws nothing, is quick
        levels,
        [design.reading],
        kept_under(design.once, control.model),
    )
    nested.judge(development).freeze(development)
    for judged in nested.out_of_fold:
        fold = judged.fold
        yield ControlScores(development.select(fold.test), judged.prediction, "out_of_fold", fold.name, fold.repeat)
    yield ControlScores(development, nested.predict(development), "apparent")
    held_out = control.cohort.select(one for one in design.held_out if one in here)
    if len(held_out):
        yield ControlScores(held_out, nested.predict(held_out), "held_out")


def mean_discrimination(judged: NestedPredictor, cohort: Cohort) -> float:
    """Return the mean within-fold AUC, or C-index, of a predictor that has judged a cohort.

    Folds in which no two patients can be compared are passed over.
    """
    outcomes = Outcomes.of(cohort, judged.endpoint)
    place = pd.Series(np.arange(len(cohort)), index=cohort.ids)
    scores = [one.prediction.patients["score"] for one in judged.out_of_fold]
    folds = [(outcomes.where(place[one.index].to_numpy()), one) for one in scores]
    found = [of_fold.discrimination(score) for of_fold, score in folds if of_fold.comparable]
    if not found:
        raise ValueError(f"no fold has judged {NEEDED[outcomes.metric]}")
    return float(np.mean(found))


def kept_under(once: Once, name: str) -> Once:
    """Return a keeper of fits that stores them under a name of their own."""

    def kept(fit: str, make: Callable[[Path | None], tuple[Prediction, History]]) -> tuple[Prediction, History]:
        return once(f"{name}/{fit}", make)

    return kept


def folds_of_all(make: MakeFolds, everybody: Cohort) -> MakeFolds:
    """Return what draws folds on everybody and leaves in them the patients of a part.

    Folds in which nothing can be learned from these, or nobody of them is judged, are left out; where none is left, a
    ValueError says so.
    """

    def folds(part: Cohort, endpoint: str) -> Sequence[Fold]:
        here = set(part.ids)
        kept = []
        for fold in make(everybody, endpoint):
            train, test = (tuple(one for one in side if one in here) for side in (fold.train, fold.test))
            if Outcomes.of(part.select(train), endpoint).comparable and test:
                kept.append(replace(fold, train=train, test=test))
        if not kept:
            needed = NEEDED[Outcomes.of(part, endpoint).metric]
            raise ValueError(f"its {len(here)} patients leave no fold that has {needed} to learn from")
        return kept

    return folds
