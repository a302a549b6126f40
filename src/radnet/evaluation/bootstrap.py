"""How far a statistic moves when other patients are drawn: stratified and clustered percentile intervals."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Weighted = Callable[[Floats], Floats]
"""A statistic of resampled rows: how often each was drawn, shape (B, n), to its value in each resample, (B,)."""

_WEIGHTS_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True)
class WithinFolds:
    """A mean of within-fold values, its patient-bootstrap interval, and the folds it could and could not use."""

    value: float
    lower: float
    upper: float
    used: tuple[str, ...]
    skipped: tuple[str, ...]


def bootstrap_interval(
    statistic: Weighted,
    stratum: ArrayLike,
    *,
    resamples: int,
    seed: int,
    level: float,
    cluster: ArrayLike | None = None,
) -> tuple[float, float]:
    """Return percentiles of a statistic over patients drawn with replacement within their stratum.

    Args:
        statistic: Value in each resample from how often each row was drawn; NaN where it does not exist, and such
            resamples are left out. ``on_rows`` makes one of any function of row numbers.
        stratum: Stratum of each row, shape (n,); each keeps its number of clusters in every resample.
        resamples: How many resamples; 0 gives no interval.
        seed: Seed of the draws.
        level: Coverage of the interval.
        cluster: What is drawn, shape (n,), such as the patient of each lesion: all its rows come along, as often as
            it is drawn. Rows of a cluster share one stratum. None draws the rows.

    References:
        Efron, Tibshirani. An Introduction to the Bootstrap. Chapman & Hall 1993, chapter 13.
        Field, Welsh. J R Stat Soc B 2007;69:369-390 (clusters).
    """
    blocks = drawn_weights(stratum, resamples=resamples, seed=seed, cluster=cluster)
    drawn = np.concatenate([np.empty(0), *(statistic(weight) for weight in blocks)])
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size == 0:
        return nan, nan
    lower, upper = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(lower), float(upper)


def drawn_weights(
    stratum: ArrayLike, *, resamples: int, seed: int, cluster: ArrayLike | None = None
) -> Iterator[Floats]:
    """Draw resamples as ``bootstrap_interval`` does, in blocks (B, n) of how often each row is drawn.

    Memory stays bounded, and the draws do not depend on how many fit in a block.
    """
    strata = np.asarray(stratum)
    first, cluster_of_row = np.arange(strata.size), None
    if cluster is not None:
        _, first, cluster_of_row = np.unique(np.asarray(cluster), return_index=True, return_inverse=True)
        if (strata != strata[first][cluster_of_row]).any():
            raise ValueError("the rows of a cluster must share one stratum")
    of_cluster = strata[first]
    members = [np.flatnonzero(of_cluster == name) for name in np.unique(of_cluster)]
    generators = np.random.default_rng(seed).spawn(len(members))
    block = max(1, _WEIGHTS_AT_ONCE // strata.size)
    for start in range(0, resamples, block):
        weight = np.empty((min(block, resamples - start), first.size))
        for who, rng in zip(members, generators, strict=True):
            weight[:, who] = _times_drawn(who.size, weight.shape[0], rng)
        yield weight if cluster_of_row is None else weight[:, cluster_of_row]


def on_rows(statistic: Callable[[NDArray[np.intp]], float]) -> Weighted:
    """Make a weighted statistic of any function of row numbers, called once per resample.

    Args:
        statistic: Value of the rows of a resample, a row as often as it was drawn; a ValueError means that the
            resample has no value.

    Example:
        >>> age = np.array([40.0, 50.0, 90.0])
        >>> median = on_rows(lambda rows: float(np.median(age[rows])))
        >>> median(np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 2.0]]))
        array([50., 90.])
    """

    def value(drawn: NDArray[np.intp]) -> float:
        try:
            return statistic(np.repeat(np.arange(drawn.size), drawn))
        except ValueError:
            return nan

    return lambda weight: np.array([value(drawn) for drawn in weight.astype(np.intp)])


def mean_within_folds(
    in_fold: Callable[[NDArray[np.intp]], Weighted | None],
    needs: str,
    stratum: ArrayLike,
    fold: ArrayLike,
    patient: ArrayLike,
    *,
    resamples: int,
    seed: int,
    level: float,
) -> WithinFolds:
    """Average a statistic over folds, with a patient-bootstrap interval.

    Args:
        in_fold: Gives the weighted statistic of a fold's rows, or None where the fold cannot have one.
        needs: What a fold must have within it, for the error that none has it.
        stratum: What patients are drawn within besides their fold (a class, or a constant), shape (n,).
        fold: Fold of each row, shape (n,).
        patient: Patient of each row, shape (n,); one who has several rows, of lesions or in several folds, is drawn
            once for all.
        resamples: Bootstrap resamples; 0 gives no interval.
        seed: Seed of the draws.
        level: Coverage of the interval.

    Raises:
        ValueError: If no fold has what it needs.
    """
    names, fold_of_row = np.unique(np.asarray(fold, dtype=str), return_inverse=True)
    members = [np.flatnonzero(fold_of_row == index) for index in range(names.size)]
    statistics = [in_fold(rows) for rows in members]
    kept = [(rows, statistic) for rows, statistic in zip(members, statistics, strict=True) if statistic is not None]
    used = tuple(str(name) for name, statistic in zip(names, statistics, strict=True) if statistic is not None)
    skipped = tuple(str(name) for name in names if name not in used)
    if not kept:
        raise ValueError(f"needs {needs} within a fold: none of {names.size} has that")

    rows_kept = np.concatenate([rows for rows, _ in kept])
    folds = fold_of_row[rows_kept]
    patients = np.unique(np.asarray(patient, dtype=str)[rows_kept], return_inverse=True)[1]
    strata = np.unique(np.asarray(stratum)[rows_kept], return_inverse=True)[1]
    if np.unique(patients * names.size + folds).size == patients.max() + 1:  # nobody stands in two folds
        strata = strata * names.size + folds  # so that a fold is a stratum of its own
    ends = np.cumsum([0, *(rows.size for rows, _ in kept)])

    def mean(weight: Floats) -> Floats:
        values = np.stack([of(weight[:, ends[at] : ends[at + 1]]) for at, (_, of) in enumerate(kept)])
        there = np.isfinite(values)
        return divided(np.where(there, values, 0.0).sum(axis=0), there.sum(axis=0).astype(float))

    lower, upper = bootstrap_interval(mean, strata, resamples=resamples, seed=seed, level=level, cluster=patients)
    return WithinFolds(float(mean(np.ones((1, rows_kept.size)))[0]), lower, upper, used, skipped)


def divided(numerator: Floats, denominator: Floats) -> Floats:
    """Return the quotient, NaN where the denominator is not above 0."""
    return np.divide(numerator, denominator, out=np.full(numerator.shape, nan), where=denominator > 0)


def _times_drawn(size: int, resamples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    drawn = rng.integers(size, size=(resamples, size)) + size * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size)
