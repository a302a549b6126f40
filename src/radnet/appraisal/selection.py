"""Which features were selected, how often the folds agree on them, and how stable such a selection is."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
import pandas as pd

from radnet.appraisal.importance import coefficients
from radnet.cohort import Cohort
from radnet.evaluation.normal import normal_estimate
from radnet.predictors.base import Frozen
from radnet.predictors.frozen_stack import FrozenStack
from radnet.predictors.nested import NestedPredictor

COLUMNS = ("feature", "folds", "share", "in_model", "coefficient_per_sd")
"""Columns of ``selection.csv``: in how many folds a feature was selected, their share of all folds, whether the model
of everybody selected it, and what one standard deviation of it then adds to a linear model's log odds or log hazard."""


@dataclass(frozen=True, slots=True)
class Stability:
    """How far selections agree beyond chance: 1 where all are the same, 0 on average where they are drawn at random.

    Attributes:
        value: Nogueira's measure.
        lower: Of its interval, which is cut where the measure can go no further.
        upper: Likewise.
        folds: How many selections were compared.
    """

    value: float
    lower: float
    upper: float
    folds: int


def selection_table(model: NestedPredictor, development: Cohort) -> pd.DataFrame:
    """Tell of each feature that the model, or a fold's, selected in how many folds it was.

    Args:
        model: Judged out of fold and fitted to everybody.
        development: Patients it learned from, for the spread of its features.

    Returns:
        ``COLUMNS``, the feature of most folds first, then in the order in which they were measured.
    """
    _, final = _first_and_last(model.frozen.selection())
    folds = [set(one) for one in _of_folds(model)]
    counts = {name: sum(name in one for one in folds) for name in dict.fromkeys([*final, *sorted(set().union(*folds))])}
    weights = coefficients(_selecting(model.frozen), development)
    rows = [
        {
            "feature": name,
            "folds": count,
            "share": count / len(folds) if folds else nan,
            "in_model": name in set(final),
            "coefficient_per_sd": weights.get(name, nan),
        }
        for name, count in counts.items()
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values(["folds", "in_model"], ascending=False, kind="stable", ignore_index=True)


def fold_stability(model: NestedPredictor, level: float) -> Stability:
    """Return how far the folds of a model agree on features.

    Folds share patients, and so agree more than selections from cohorts that share none would; the interval, which
    takes them for independent, says how far their number leaves the agreement open, and not that.
    """
    measured, _ = _first_and_last(model.frozen.selection())
    return selection_stability(_of_folds(model), len(measured), level)


def selection_stability(selections: Sequence[Collection[str]], features: int, level: float) -> Stability:
    """Estimate how far selections of features agree beyond chance.

    Args:
        selections: Features selected each time, two times or more.
        features: How many there were to select from.
        level: Coverage of the asymptotic interval.

    Raises:
        ValueError: If there are fewer than two selections, or each selects nothing or everything.

    References:
        Nogueira, Sechidis, Brown. J Mach Learn Res 2018;18(174):1-54, eq. 4 and, for the interval, theorem 7 and
        corollary 8.

    Example:
        >>> selection_stability([{"a", "b"}, {"a", "c"}], features=4, level=0.95).value
        0.0
    """
    if (times := len(selections)) < 2:
        raise ValueError(f"the stability of a selection needs two selections or more, got {times}")
    names = sorted(set().union(*selections))
    chosen = np.array([[name in set(one) for name in names] for one in selections], dtype=float)
    picked = chosen.sum(axis=1)
    share, size = chosen.mean(axis=0), picked.mean() / features
    by_chance = size * (1 - size)
    if not by_chance > 0:
        raise ValueError(f"every one of {times} selections is of {'no feature' if size == 0 else 'all features'}")
    spread = times / (times - 1) * (share * (1 - share)).sum() / features
    value = 1 - spread / by_chance
    own = picked / features
    agreed = chosen @ share / features - own * size + value / 2 * (2 * own * size - own - size + 1)
    error = 2 / times * sqrt(((agreed - agreed.mean()) ** 2).sum()) / by_chance
    found = normal_estimate(float(value), error, level, within=(-1 / (times - 1), 1.0))
    return Stability(found.value, found.lower, found.upper, times)


def _of_folds(model: NestedPredictor) -> list[tuple[str, ...]]:
    return [one.prediction.selected for one in model.out_of_fold]


def _first_and_last(left: Mapping[str, Sequence[str]]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the features measured and those left, of the last model that selects where a stack has several."""
    *_, measured = (names for step, names in left.items() if step.endswith("measured"))
    *_, last = left.values()
    return measured, last


def _selecting(frozen: Frozen) -> Frozen:
    """Return the model that selects: itself, or the last member of a stack that does."""
    if not isinstance(frozen, FrozenStack):
        return frozen
    *_, last = (one for one in frozen.members.values() if one.selection())
    return _selecting(last)
