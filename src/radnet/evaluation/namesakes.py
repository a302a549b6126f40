"""Models of one name in several prediction files: kept once where they agree, else each named after its file."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from radnet.tables import PREDICTION_COLUMNS, contradictions, horizon_of, stands_aside, told_apart

_OF = " of "
_NEGATED = "_negated"


@dataclass(frozen=True, slots=True)
class Joined:
    """Prediction tables of several files as one.

    Attributes:
        predictions: Every row once.
        namesakes: Models that were given the names of their files, by the names they had.
    """

    predictions: pd.DataFrame
    namesakes: tuple[str, ...]


def join_predictions(tables: Sequence[pd.DataFrame], files: Sequence[Path]) -> Joined:
    """Join the prediction tables of several files; a model may have its rows in one of them or in several.

    A row that an earlier file holds too is kept once. Where models of one name then contradict each other, as the
    controls of two runs that split their patients differently, every model that several files share is judged as one
    of each file: ``control_volume of zhao_mlp``, by the one model of that file, or by its path where it has several.
    Rows that disagree on what happened to a patient are left as they are, for ``contradictions`` to tell.

    Args:
        tables: As ``radnet.tables.read_predictions`` returns them.
        files: Where each came from.
    """
    whole = told_apart(pd.concat(tables, ignore_index=True))
    if len(tables) == 1:
        return Joined(whole, ())
    file = pd.Series(np.repeat(np.arange(len(tables)), [len(table) for table in tables]), whole.index)
    told = [name for name in whole.columns if name in PREDICTION_COLUMNS or horizon_of(str(name)) > 0]
    again = whole.duplicated(told) & ~whole[told].assign(file=file).duplicated()
    once = whole[~again].reset_index(drop=True)
    models = pd.MultiIndex.from_frame(whole[["endpoint", "model"]])
    in_files = file[~again].groupby([whole["endpoint"][~again], whole["model"][~again]]).nunique()
    shared = set(in_files[in_files > 1].index)
    apart = {(one.endpoint, one.model) for one in contradictions(once)} & shared
    if not apart or _outcomes_differ(whole[models.isin(shared)]):
        return Joined(once, ())
    named = models.isin(shared)
    kept = whole[named | ~again]
    labels = file.map(dict(enumerate(_labels(tables, files))))
    model = whole["model"].where(~named, whole["model"] + _OF + labels)
    names = tuple(dict.fromkeys(name for _, name in sorted(shared)))
    return Joined(kept.assign(model=model.loc[kept.index]).reset_index(drop=True), names)


def own_name(model: str) -> str:
    """Return a model's name without that of its file.

    Example:
        >>> own_name("control_volume of zhao_mlp"), own_name("zhao_mlp")
        ('control_volume', 'zhao_mlp')
    """
    return model.partition(_OF)[0]


def stand_together(one: str, other: str) -> bool:
    """Whether two models are of one file, as far as their names tell.

    Example:
        >>> stand_together("control_volume of a", "clinical of a"), stand_together("control_volume of a", "control_b")
        (True, False)
    """
    return one.partition(_OF)[2] == other.partition(_OF)[2]


def judges(control: str, model: str, models: Sequence[str]) -> bool:
    """Whether a control, or an ablation, was fitted beside a model: named after a file, it stands against its models.

    Args:
        control: Its name.
        model: Of the model.
        models: All there are; where none of them is of the control's file, it stands against any.

    Example:
        >>> models = ["mlp", "mlp_as_published"]
        >>> [judges("control_volume of mlp", model, models) for model in models]
        [True, False]
    """
    label = control.partition(_OF)[2]
    beside = [
        one
        for one in models
        if not stands_aside(one) and (one.removesuffix(_NEGATED) == label or one.partition(_OF)[2] == label)
    ]
    return not label or not beside or model in beside


def _outcomes_differ(rows: pd.DataFrame) -> bool:
    outcomes = rows[["endpoint", "centre", "patient_id", "event", "time"]].drop_duplicates()
    return bool(outcomes.duplicated(["endpoint", "centre", "patient_id"]).any())


def _labels(tables: Sequence[pd.DataFrame], files: Sequence[Path]) -> list[str]:
    """Name each file by its one model, where it has one and no other file has that, or else by its path."""
    models = [{name.removesuffix(_NEGATED) for name in table["model"] if not stands_aside(name)} for table in tables]
    in_files = Counter(name for names in models for name in names)
    alone = [next(iter(names)) if len(names) == 1 and in_files[min(names)] == 1 else "" for names in models]
    whole = [file.resolve() for file in files]
    common = os.path.commonpath([file.parent for file in whole])
    paths = [file.relative_to(common) for file in whole]
    if len({path.name for path in paths}) == 1 and all(path.parent.name for path in paths):
        paths = [path.parent for path in paths]
    return [name or str(path) for name, path in zip(alone, paths, strict=True)]
