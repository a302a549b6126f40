"""How well a score tells the patients who had the event from those who had not: AUC, its uncertainty, ROC curves."""

from collections.abc import Callable
from dataclasses import dataclass
from math import copysign, inf, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import norm, rankdata, t

Floats = NDArray[np.float64]
Weighted = Callable[[Floats], Floats]
"""A statistic of resampled patients: how often each was drawn, shape (B, n), to its value in each resample, (B,)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and how far it may be from the truth; NaN where a bound or a p-value does not exist."""

    value: float
    lower: float
    upper: float
    p_value: float = nan


@dataclass(frozen=True, slots=True)
class DelongAuc:
    """An AUC and its variance by DeLong; the variance is NaN when a class has a single patient."""

    auc: float
    variance: float

    @property
    def z(self) -> float:
        """Distance from 0.5 in standard errors; infinite without a spread, NaN when there is no distance either."""
        return _ratio(self.auc - 0.5, sqrt(self.variance))

    @property
    def p_value(self) -> float:
        """Two-sided p-value against an AUC of 0.5."""
        return _two_sided(self.z)

    def interval(self, level: float) -> tuple[float, float]:
        """Return the normal interval, clipped to [0, 1]; without width at an AUC of 0 or 1, where it misleads."""
        reach = _normal_quantile(level) * sqrt(self.variance)
        lower, upper = np.clip([self.auc - reach, self.auc + reach], 0.0, 1.0)
        return float(lower), float(upper)

    def logit_interval(self, level: float) -> tuple[float, float]:
        """Return the interval that is symmetric in log odds (Pepe 2003, section 5.2.4); NaN at an AUC of 0 or 1."""
        if self.auc in (0.0, 1.0):
            return nan, nan
        reach = _normal_quantile(level) * sqrt(self.variance) / (self.auc * (1 - self.auc))
        return float(expit(logit(self.auc) - reach)), float(expit(logit(self.auc) + reach))


@dataclass(frozen=True, slots=True)
class AucDifference:
    """The difference of two AUCs and its test; ``df`` is infinite where the statistic is normal."""

    difference: float
    standard_error: float
    lower: float
    upper: float
    statistic: float
    df: float
    p_value: float


@dataclass(frozen=True, slots=True)
class RocCurve:
    """Patients called positive at every cut-off that tells two scores apart, from no patient to all of them.

    Attributes:
        threshold: Midpoints between neighbouring distinct scores, falling from +inf to -inf, shape (K,). A patient
            is called positive when his score is above the midpoint, which is the same as at or above it.
        true_positive: Patients with the event called positive, shape (K,).
        false_positive: Patients without the event called positive, shape (K,).
    """

    threshold: Floats
    true_positive: NDArray[np.int64]
    false_positive: NDArray[np.int64]

    @property
    def tpr(self) -> Floats:
        """Sensitivity at each threshold, rising from 0 to 1."""
        return self.true_positive / self.true_positive[-1]

    @property
    def fpr(self) -> Floats:
        """One minus the specificity at each threshold, rising from 0 to 1."""
        return self.false_positive / self.false_positive[-1]


@dataclass(frozen=True, slots=True)
class WithinFolds:
    """A mean of within-fold values, its patient-bootstrap interval, and the folds it could and could not use."""

    value: float
    lower: float
    upper: float
    used: tuple[str, ...]
    skipped: tuple[str, ...]


def checked(event: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
    """Return event and score as arrays of shape (n,), or say what is wrong with them; nothing may be missing."""
    happened, scores = np.asarray(event, dtype=float), np.asarray(score, dtype=float)
    if happened.ndim != 1 or happened.shape != scores.shape:
        raise ValueError(f"event and score must be one row of equal length, got {happened.shape} and {scores.shape}")
    if not np.isin(happened, (0.0, 1.0)).all():
        raise ValueError("every event must be 0 or 1: leave out patients whose outcome is unknown")
    if not np.isfinite(scores).all():
        raise ValueError(f"{(~np.isfinite(scores)).sum()} of {scores.size} scores are missing or infinite")
    return happened == 1, scores


def checked_classes(event: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
    """Return event and score as ``checked`` does, and refuse patients who all share one outcome."""
    happened, scores = checked(event, score)
    if happened.all() or not happened.any():
        raise ValueError(f"needs both classes: {happened.sum()} of {happened.size} had the event")
    return happened, scores


def delong(event: ArrayLike, score: ArrayLike) -> DelongAuc:
    """Estimate the AUC and its variance, the variance of the Mann-Whitney statistic's two placements.

    Midranks give the placements in O(n log n) time and linear memory; a tied pair counts one half.

    Args:
        event: Whether each patient had the event, shape (n,); both classes must be there.
        score: Higher = event more likely, shape (n,); complete and finite.

    References:
        DeLong, DeLong, Clarke-Pearson. Biometrics 1988;44:837-845.
        Sun, Xu. IEEE Signal Processing Letters 2014;21:1389-1393.

    Example:
        >>> estimate = delong([0, 0, 1, 0, 1, 1], [0.1, 0.4, 0.35, 0.8, 0.7, 0.9])
        >>> round(estimate.auc, 4), round(estimate.variance, 4)
        (0.6667, 0.0741)
    """
    of_event, of_rest = _placements(*checked_classes(event, score))
    return DelongAuc(float(of_event.mean()), _variance_of_means(of_event, of_rest))


def compare_paired(event: ArrayLike, score: ArrayLike, versus: ArrayLike, level: float) -> AucDifference:
    """Test whether two scores of the same patients differ in AUC (paired DeLong).

    Args:
        event: Whether each patient had the event, shape (n,).
        score: The score judged, shape (n,).
        versus: The score it is compared with, shape (n,).
        level: Coverage of the interval of ``score`` minus ``versus``.

    Returns:
        Difference with a normal statistic. Scores that rank patients alike differ by 0 with p = 1, as in R's pROC.
    """
    happened, scores = checked_classes(event, score)
    of_event, of_rest = _placements(happened, scores)
    of_event_versus, of_rest_versus = _placements(*checked_classes(happened, versus))
    difference = float(of_event.mean() - of_event_versus.mean())
    error = sqrt(_variance_of_means(of_event - of_event_versus, of_rest - of_rest_versus))
    z = 0.0 if difference == error == 0 else _ratio(difference, error)
    reach = _normal_quantile(level) * error
    return AucDifference(difference, error, difference - reach, difference + reach, z, inf, _two_sided(z))


def compare_unpaired(
    event: ArrayLike, score: ArrayLike, versus_event: ArrayLike, versus_score: ArrayLike, level: float
) -> AucDifference:
    """Test whether a score's AUC differs between two sets of patients who share nobody (unpaired DeLong).

    Returns:
        Difference with Student's t on Welch's degrees of freedom, as in R's pROC; NaN where neither AUC has a spread.
    """
    one, other = delong(event, score), delong(versus_event, versus_score)
    difference, variance = one.auc - other.auc, one.variance + other.variance
    spread = one.variance**2 / (np.size(score) - 1) + other.variance**2 / (np.size(versus_score) - 1)
    df = variance**2 / spread if spread > 0 else nan
    statistic = _ratio(difference, sqrt(variance))
    reach = float(t.ppf((1 + level) / 2, df)) * sqrt(variance)
    p_value = float(2 * t.sf(abs(statistic), df))
    return AucDifference(difference, sqrt(variance), difference - reach, difference + reach, statistic, df, p_value)


def auc_bootstrap(event: ArrayLike, score: ArrayLike, *, resamples: int, seed: int, level: float) -> Estimate:
    """Estimate the AUC with a percentile interval over patients drawn with replacement within each class."""
    happened, scores = checked_classes(event, score)
    statistic = _weighted_auc(happened, scores)
    lower, upper = bootstrap_interval(statistic, happened, resamples=resamples, seed=seed, level=level)
    return Estimate(float(statistic(np.ones((1, happened.size)))[0]), lower, upper)


def auc_within_folds(
    event: ArrayLike,
    score: ArrayLike,
    fold: ArrayLike,
    patient: ArrayLike,
    *,
    resamples: int,
    seed: int,
    level: float,
) -> WithinFolds:
    """Average the AUCs of the folds: scores of models learned on different folds are never ranked together.

    The interval holds percentiles over resampled patients, drawn within fold and class, so that every resample keeps
    each fold's classes. Where a patient stands in several folds (repeated k-fold), he is drawn once for all of them
    and within his class only: were each repeat drawn by itself, more repeats would feign more patients.

    Args:
        event: Whether the patient of each row had the event, shape (n,).
        score: Score of each row, shape (n,).
        fold: Fold of each row, shape (n,); name the repeat in it too. One-class folds are skipped.
        patient: Patient of each row, shape (n,).
        resamples: Bootstrap resamples.
        seed: Seed of the draws.
        level: Coverage of the interval.

    Raises:
        ValueError: If the patients, or those of every single fold, share one outcome.
    """
    happened, scores = checked_classes(event, score)

    def in_fold(rows: NDArray[np.intp]) -> Weighted | None:
        classes = happened[rows]
        return None if classes.all() or not classes.any() else _weighted_auc(classes, scores[rows])

    return mean_within_folds(
        in_fold, "both classes", happened, fold, patient, resamples=resamples, seed=seed, level=level
    )


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
        patient: Patient of each row, shape (n,); one who stands in several folds is drawn once for all.
        resamples: Bootstrap resamples.
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
    _, first, patient_of_row = np.unique(
        np.asarray(patient, dtype=str)[rows_kept], return_index=True, return_inverse=True
    )
    ends = np.cumsum([rows.size for rows, _ in kept])[:-1]
    patients_of_fold = np.split(patient_of_row, ends)
    strata = np.unique(np.asarray(stratum)[rows_kept[first]], return_inverse=True)[1]
    if first.size == rows_kept.size:  # nobody stands in two folds, so a fold is a stratum of its own
        strata = strata * names.size + fold_of_row[rows_kept[first]]

    def mean(weight: Floats) -> Floats:
        values = np.stack([of(weight[:, who]) for (_, of), who in zip(kept, patients_of_fold, strict=True)])
        there = np.isfinite(values)
        return _divide(np.where(there, values, 0.0).sum(axis=0), there.sum(axis=0).astype(float))

    lower, upper = bootstrap_interval(mean, strata, resamples=resamples, seed=seed, level=level)
    return WithinFolds(float(mean(np.ones((1, first.size)))[0]), lower, upper, used, skipped)


def bootstrap_interval(
    statistic: Weighted, stratum: ArrayLike, *, resamples: int, seed: int, level: float
) -> tuple[float, float]:
    """Return percentiles of a statistic over patients drawn with replacement within their stratum.

    Args:
        statistic: Value in each resample from how often each patient was drawn; NaN where it does not exist.
        stratum: Stratum of each patient, shape (n,); each keeps its size in every resample.
        resamples: How many resamples; drawn in blocks, so that memory stays bounded.
        seed: Seed of the draws.
        level: Coverage of the interval.
    """
    strata = np.asarray(stratum)
    members = [np.flatnonzero(strata == name) for name in np.unique(strata)]
    rng = np.random.default_rng(seed)
    block = max(1, 1_000_000 // strata.size)
    values = []
    for start in range(0, resamples, block):
        weight = np.empty((min(block, resamples - start), strata.size))
        for who in members:
            weight[:, who] = _times_drawn(who.size, weight.shape[0], rng)
        values.append(statistic(weight))
    drawn = np.concatenate(values)
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size == 0:
        return nan, nan
    lower, upper = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(lower), float(upper)


def roc_curve(event: ArrayLike, score: ArrayLike) -> RocCurve:
    """Count the patients called positive at every cut-off that tells two scores apart; no point is left out."""
    happened, scores = checked_classes(event, score)
    distinct, place = np.unique(scores, return_inverse=True)
    with_event = np.bincount(place, weights=happened)[::-1].cumsum().astype(np.int64)
    without = np.bincount(place, weights=~happened)[::-1].cumsum().astype(np.int64)
    middle = distinct[:-1] / 2 + distinct[1:] / 2
    middle = np.where(middle > distinct[:-1], middle, distinct[1:])  # neighbouring floats have no midpoint
    return RocCurve(
        threshold=np.concatenate([[np.inf], middle[::-1], [-np.inf]]),
        true_positive=np.concatenate([[0], with_event]),
        false_positive=np.concatenate([[0], without]),
    )


def mean_tpr(curves: list[RocCurve], fpr: Floats) -> Floats:
    """Average ROC curves vertically: the mean sensitivity at each false-positive rate.

    At a rate where a curve rises, its highest sensitivity counts; between points the curve runs straight.

    References:
        Fawcett. Pattern Recognition Letters 2006;27:861-874, section 8.1.
    """
    return np.mean([np.interp(fpr, curve.fpr, curve.tpr) for curve in curves], axis=0)


def _placements(event: NDArray[np.bool_], score: Floats) -> tuple[Floats, Floats]:
    rank = rankdata(score)
    with_event, without = score[event], score[~event]
    of_event = (rank[event] - rankdata(with_event)) / without.size
    of_rest = 1 - (rank[~event] - rankdata(without)) / with_event.size
    return of_event, of_rest


def _variance_of_means(of_event: Floats, of_rest: Floats) -> float:
    if min(of_event.size, of_rest.size) < 2:
        return nan
    return float(of_event.var(ddof=1) / of_event.size + of_rest.var(ddof=1) / of_rest.size)


def _weighted_auc(event: NDArray[np.bool_], score: Floats) -> Weighted:
    with_event, without = np.flatnonzero(event), np.flatnonzero(~event)
    without = without[np.argsort(score[without], kind="stable")]
    below = np.searchsorted(score[without], score[with_event], side="left")
    up_to = np.searchsorted(score[without], score[with_event], side="right")

    def auc(weight: Floats) -> Floats:
        cumulated = np.zeros((weight.shape[0], without.size + 1))
        np.cumsum(weight[:, without], axis=1, out=cumulated[:, 1:])
        won = (cumulated[:, below] + cumulated[:, up_to]) / 2
        drawn = weight[:, with_event]
        return _divide(np.einsum("ij,ij->i", drawn, won), drawn.sum(axis=1) * cumulated[:, -1])

    return auc


def _times_drawn(size: int, resamples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    drawn = rng.integers(size, size=(resamples, size)) + size * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size)


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full(numerator.shape, nan), where=denominator > 0)


def _ratio(difference: float, error: float) -> float:
    if error > 0 or error != error:
        return difference / error
    return copysign(inf, difference) if difference != 0 else nan


def _two_sided(z: float) -> float:
    return float(2 * norm.sf(abs(z)))


def _normal_quantile(level: float) -> float:
    return float(norm.ppf((1 + level) / 2))
