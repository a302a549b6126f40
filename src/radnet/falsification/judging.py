"""Controls judged as the model is: in the same folds, on the same held-out patients, with cut-offs of their own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from radnet.cohort import Cohort
from radnet.data.split import Fold
from radnet.evaluation.discrimination import delong
from radnet.falsification.baselines import Control
from radnet.predictors.base import History, Prediction
from radnet.predictors.nested import CutoffRule, MakeFolds, NestedPredictor, Once


@dataclass(frozen=True)
class Design:
    """Who is learned from and who is judged.

    Attributes:
        endpoint: Endpoint learned.
        development: Patients learned from, without features.
        held_out: Ids of patients that no model learns from.
        levels: Folds over the development patients, then folds within these.
        rule: Fits cut-offs.
        once: Keeps what a fit gave.
    """

    endpoint: str
    development: Cohort
    held_out: tuple[str, ...]
    levels: tuple[MakeFolds, ...]
    rule: CutoffRule
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
        ValueError: If its patients do not suffice, as when no fold has both classes on both sides.
    """
    here = set(control.cohort.ids)
    development = control.cohort.select(one for one in design.development.ids if one in here)
    levels = design.levels
    if len(development) < len(design.development):
        levels = (_folds_of_all(design),)
    nested = NestedPredictor(
        lambda place, checkpoint: control.predictor(design.endpoint),  # noqa: ARG005 - draws nothing, is quick
        levels,
        design.rule,
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


def mean_auc(judged: NestedPredictor, cohort: Cohort) -> float:
    """Return the mean within-fold AUC of a predictor that has judged a cohort; one-class folds are passed over."""
    event = pd.Series(cohort.events(judged.endpoint), index=cohort.ids)
    scores = [one.prediction.patients["score"] for one in judged.out_of_fold]
    areas = [delong(event[one.index], one).auc for one in scores if event[one.index].nunique() == 2]
    if not areas:
        raise ValueError("no fold has judged patients with and without the event")
    return float(np.mean(areas))


def kept_under(once: Once, name: str) -> Once:
    """Return a keeper of fits that stores them under a name of their own."""

    def kept(fit: str, make: Callable[[Path | None], tuple[Prediction, History]]) -> tuple[Prediction, History]:
        return once(f"{name}/{fit}", make)

    return kept


def _folds_of_all(design: Design) -> MakeFolds:
    def folds(part: Cohort, endpoint: str) -> Sequence[Fold]:
        here = set(part.ids)
        event = dict(zip(part.ids, part.events(endpoint), strict=True))
        kept = []
        for fold in design.levels[0](design.development, endpoint):
            train, test = (tuple(one for one in side if one in here) for side in (fold.train, fold.test))
            if len({event[one] for one in train}) == 2 and test:
                kept.append(replace(fold, train=train, test=test))
        if not kept:
            raise ValueError(f"its {len(here)} patients leave no fold that has both classes to learn from")
        return kept

    return folds
