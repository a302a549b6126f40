"""Which penalty of a path to keep: cross-validated over folds, as R's cv.glmnet does it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from radnet.models.penalty_path import Floats, Path

Choice = Literal["min", "1se"]
Rows = NDArray[np.bool_]
FitRows = Callable[[Rows], Path]
Judge = Callable[[Floats, Rows], tuple[Floats, Floats]]
"""From the linear scores of every row, shape (n, k), by models fitted without the rows marked, to what they are worth
there, shape (r, k), and the weight of each r: 1 for the whole fold, or one for each of its rows."""


@dataclass(frozen=True, slots=True)
class Validation:
    """What each penalty was worth on rows held out.

    Attributes:
        lambdas: Penalties, falling, shape (k,).
        mean: Weighted mean over folds, shape (k,).
        error: Its standard error, shape (k,).
        best: lambda.min, the largest penalty of the best mean.
        sparsest: lambda.1se, the largest penalty whose mean is within one standard error of the best.
    """

    lambdas: Floats
    mean: Floats
    error: Floats
    best: float
    sparsest: float


def cross_validate(
    X: Floats, path: Path, fit: FitRows, judge: Judge, folds: NDArray[np.int64], *, higher_is_better: bool
) -> Validation:
    """Judge the penalties of ``path`` on each fold by models fitted to the others.

    Each fold's models have their own path of penalties; between two of these, coefficients are linear in λ.
    The error is that of a mean over folds, or, where ``judge`` tells of single rows, over rows.
    """
    worth: list[Floats] = []
    weights: list[Floats] = []
    for fold in range(folds.max() + 1):
        held_out = folds == fold
        scores = fit(~held_out).at(path.lambdas).scores(X)
        value, weight = judge(scores, held_out)
        worth.append(value)
        weights.append(weight)
    values, share = np.concatenate(worth), np.concatenate(weights)
    mean = np.average(values, axis=0, weights=share)
    error = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=share) / (len(values) - 1))
    cost = -mean if higher_is_better else mean
    best = int(np.argmin(cost))  # penalties fall, so the first is the largest
    within = int(np.argmax(cost <= cost[best] + error[best]))
    return Validation(path.lambdas, mean, error, float(path.lambdas[best]), float(path.lambdas[within]))


def number_folds(folds: ArrayLike, groups: ArrayLike | None, rows: int) -> NDArray[np.int64]:
    """Return given folds as numbers from 0.

    Raises:
        ValueError: If they are fewer than 3, as glmnet asks, are not one per row, or split a group.
    """
    labels = np.asarray(folds)
    if labels.shape != (rows,):
        raise ValueError(f"folds: expected one for each of {rows} rows, got shape {labels.shape}")
    names, numbers = np.unique(labels, return_inverse=True)
    if len(names) < 3:
        raise ValueError(f"folds: at least 3 are needed to choose a penalty, got {len(names)}")
    if groups is not None:
        members = np.asarray(groups)
        split = [str(one) for one in np.unique(members) if len(set(numbers[members == one])) > 1]
        if split:
            raise ValueError(f"folds: rows of one group lie in several folds: {', '.join(split[:5])}")
    return np.asarray(numbers, dtype=np.int64)


def draw_folds(strata: NDArray[np.int64], groups: ArrayLike | None, count: int, seed: int) -> NDArray[np.int64]:
    """Draw folds with equal shares of each stratum, as far as whole groups (the lesions of a patient) allow.

    Where the rarest stratum has fewer rows, there are only as many folds, 3 at least: a fold without an event tells
    nothing of it.
    """
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    count = max(3, min(count, int(np.unique(strata, return_counts=True)[1].min())))
    numbers = np.empty(len(strata), dtype=np.int64)
    parts = kind(count, shuffle=True, random_state=seed).split(np.zeros((len(strata), 1)), strata, groups)
    for number, (_, held_out) in enumerate(parts):
        numbers[held_out] = number
    return number_folds(numbers, groups, len(strata))


def ordered(scores: Floats, pairs: Floats) -> Floats:
    """Return the share of pairs that each column of ``scores`` (n, k) orders rightly; equal scores count one half.

    Args:
        scores: Higher = first.
        pairs: Weight of the pair in which the row's score should exceed the column's, shape (n, n).
    """
    total = pairs.sum()
    higher = [(pairs * ((one[:, None] > one) + 0.5 * (one[:, None] == one))).sum() for one in scores.T]
    return np.array(higher) / total
