"""How well a score tells the patients who had the event from those who had not: AUC, its uncertainty, ROC curves."""

from collections.abc import Callable
from dataclasses import dataclass
from math import copysign, inf, nan, sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import norm, rankdata, t

from radnet.evaluation.bootstrap import (
    Floats,
    Weighted,
    WithinFolds,
    bootstrap_interval,
    divided,
    mean_within_folds,
)


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
class Difference:
    """The difference of two models' values and its test; ``df`` is infinite where the statistic is normal."""

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

    @property
    def precision(self) -> Floats:
        """Share with the event among those called positive at each threshold; 1 where nobody is, as in scikit-learn.

        Against ``tpr``, the recall, it draws the precision-recall curve.
        """
        called = self.true_positive + self.false_positive
        return np.divide(self.true_positive, called, out=np.ones(called.shape), where=called > 0)


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
        raise ValueError(f"event: both classes are needed: {happened.sum()} of {happened.size} had the event")
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


def compare_paired(event: ArrayLike, score: ArrayLike, versus: ArrayLike, level: float) -> Difference:
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
    return Difference(difference, error, difference - reach, difference + reach, z, inf, _two_sided(z))


def compare_unpaired(
    event: ArrayLike, score: ArrayLike, versus_event: ArrayLike, versus_score: ArrayLike, level: float
) -> Difference:
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
    return Difference(difference, sqrt(variance), difference - reach, difference + reach, statistic, df, p_value)


def compare_over_folds(difference: ArrayLike, test_share: float, level: float) -> Difference:
    """Test whether two models, fitted again in every fold, differ in the mean of a metric (corrected resampled t).

    Training sets of folds overlap, so the plain t-test finds too much; the variance of the mean is that of the folds'
    differences times 1/J + n_test/n_train instead of 1/J.

    Args:
        difference: One model's value minus the other's in each of J folds that both were judged in, shape (J,).
        test_share: Patients tested over patients trained on in a fold, 1/(k - 1) in k folds.
        level: Coverage of the interval.

    Returns:
        Mean difference with Student's t on J - 1 degrees of freedom; p = 1 where every fold's difference is 0.

    References:
        Nadeau, Bengio. Machine Learning 2003;52:239-281, section 3, eq. 9.
        Bouckaert, Frank. PAKDD 2004, LNAI 3056:3-12 (repeated folds).

    Example:
        >>> test = compare_over_folds([0.1, 0.0, 0.2, 0.1], test_share=1 / 3, level=0.95)
        >>> round(test.difference, 3), round(test.standard_error, 4), round(test.p_value, 4)
        (0.1, 0.0624, 0.2071)
    """
    differences = np.asarray(difference, dtype=float)
    if differences.size < 2:
        raise ValueError(f"needs two folds that both models were judged in, got {differences.size}")
    mean, df = float(differences.mean()), differences.size - 1
    error = sqrt((1 / differences.size + test_share) * float(differences.var(ddof=1)))
    statistic = 0.0 if mean == error == 0 else _ratio(mean, error)
    reach = float(t.ppf((1 + level) / 2, df)) * error
    return Difference(mean, error, mean - reach, mean + reach, statistic, df, float(2 * t.sf(abs(statistic), df)))


def auc_bootstrap(event: ArrayLike, score: ArrayLike, *, resamples: int, seed: int, level: float) -> Estimate:
    """Estimate the AUC with a percentile interval over patients drawn with replacement within each class."""
    return _bootstrap(weighted_auc, event, score, resamples=resamples, seed=seed, level=level)


def average_precision_bootstrap(
    event: ArrayLike, score: ArrayLike, *, resamples: int, seed: int, level: float
) -> Estimate:
    """Estimate the average precision, scikit-learn's, with an interval as that of ``auc_bootstrap``."""
    return _bootstrap(weighted_average_precision, event, score, resamples=resamples, seed=seed, level=level)


def auc_difference_bootstrap(
    event: ArrayLike, score: ArrayLike, versus: ArrayLike, *, resamples: int, seed: int, level: float
) -> Estimate:
    """Estimate how much higher the AUC of ``score`` is than that of ``versus``; a patient drawn brings both scores."""
    happened, scores = checked_classes(event, score)
    one, other = weighted_auc(happened, scores), weighted_auc(*checked_classes(happened, versus))
    settings = {"resamples": resamples, "seed": seed}
    lower, upper = bootstrap_interval(lambda drawn: one(drawn) - other(drawn), happened, level=level, **settings)
    everyone = np.ones((1, happened.size))
    return Estimate(float((one(everyone) - other(everyone))[0]), lower, upper)


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
    and within his class only: were each repeat drawn by itself, more repeats would feign more patients. Rows may be
    lesions: a patient's are drawn together, and his class is whether any of them had the event.

    Args:
        event: Whether the patient, or the lesion, of each row had the event, shape (n,).
        score: Score of each row, shape (n,).
        fold: Fold of each row, shape (n,); name the repeat in it too. One-class folds are skipped.
        patient: Patient of each row, shape (n,).
        resamples: Bootstrap resamples; 0 gives no interval.
        seed: Seed of the draws.
        level: Coverage of the interval.

    Raises:
        ValueError: If the rows, or those of every single fold, share one outcome.
    """
    return _within_folds(weighted_auc, event, score, fold, patient, resamples=resamples, seed=seed, level=level)


def average_precision_within_folds(
    event: ArrayLike,
    score: ArrayLike,
    fold: ArrayLike,
    patient: ArrayLike,
    *,
    resamples: int,
    seed: int,
    level: float,
) -> WithinFolds:
    """Average the folds' average precision as ``auc_within_folds`` averages their AUCs."""
    return _within_folds(
        weighted_average_precision, event, score, fold, patient, resamples=resamples, seed=seed, level=level
    )


def weighted_auc(event: NDArray[np.bool_], score: Floats) -> Weighted:
    """Return the AUC of resampled patients of both classes; a tied pair counts one half."""
    with_event, without = np.flatnonzero(event), np.flatnonzero(~event)
    without = without[np.argsort(score[without], kind="stable")]
    below = np.searchsorted(score[without], score[with_event], side="left")
    up_to = np.searchsorted(score[without], score[with_event], side="right")

    def auc(weight: Floats) -> Floats:
        cumulated = np.zeros((weight.shape[0], without.size + 1))
        np.cumsum(weight[:, without], axis=1, out=cumulated[:, 1:])
        won = (cumulated[:, below] + cumulated[:, up_to]) / 2
        drawn = weight[:, with_event]
        return divided(np.einsum("ij,ij->i", drawn, won), drawn.sum(axis=1) * cumulated[:, -1])

    return auc


def weighted_average_precision(event: NDArray[np.bool_], score: Floats) -> Weighted:
    """Return the average precision of resampled patients: each cut-off's precision, by how much its recall gains.

    Equal scores are called positive together, as in scikit-learn's ``average_precision_score``.
    """
    order = np.argsort(-score, kind="stable")
    last_of_score = np.append(np.flatnonzero(np.diff(score[order])), score.size - 1)

    def average_precision(weight: Floats) -> Floats:
        drawn = weight[:, order]
        called = np.cumsum(drawn, axis=1)[:, last_of_score]
        found = np.cumsum(drawn * event[order], axis=1)[:, last_of_score]
        precision = np.divide(found, called, out=np.zeros(called.shape), where=called > 0)
        return divided(np.einsum("ij,ij->i", np.diff(found, axis=1, prepend=0.0), precision), found[:, -1])

    return average_precision


def partial_auc(
    event: ArrayLike, score: ArrayLike, lower: float, upper: float = 1.0, *, of: Literal["specificity", "sensitivity"]
) -> float:
    """Return the area under the ROC curve where its specificity, or its sensitivity, lies from lower to upper.

    As in R's pROC, it is at most ``upper - lower``; ``mcclish`` puts it on the scale of the AUC.

    Example:
        >>> event, score = [0, 0, 1, 0, 1, 1], [0.1, 0.4, 0.35, 0.8, 0.7, 0.9]
        >>> round(partial_auc(event, score, 0.5, of="specificity"), 4)
        0.2222
    """
    if of not in ("specificity", "sensitivity"):
        raise ValueError(f"a partial AUC is of specificity or sensitivity, got {of!r}")
    if not 0 <= lower < upper <= 1:
        raise ValueError(f"a partial AUC needs 0 <= lower < upper <= 1, got {lower} and {upper}")
    curve = roc_curve(event, score)
    along, height = (curve.fpr, curve.tpr) if of == "specificity" else (curve.tpr, 1 - curve.fpr)
    start, end = (1 - upper, 1 - lower) if of == "specificity" else (lower, upper)
    inner = (along >= start) & (along <= end)
    first, last = np.interp([start, end], along, height)
    return float(np.trapezoid([first, *height[inner], last], [start, *along[inner], end]))


def mcclish(area: float, lower: float, upper: float = 1.0) -> float:
    """Return a partial AUC on the scale of the AUC: 0.5 for a score that tells nothing, 1 for a perfect one.

    References:
        McClish. Med Decis Making 1989;9:190-195.
    """
    by_chance = ((1 - lower) ** 2 - (1 - upper) ** 2) / 2
    return (1 + (area - by_chance) / (upper - lower - by_chance)) / 2


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


def mean_precision(curves: list[RocCurve], recall: Floats) -> Floats:
    """Average precision-recall curves vertically: the mean precision at each recall.

    A curve is the steps whose area is its average precision: at a recall it has the precision of the highest cut-off
    that reaches this recall. The area under the mean curve is then the mean of the average precisions.
    """
    reached = [np.searchsorted(curve.tpr, recall, side="left") for curve in curves]
    return np.mean([curve.precision[place] for curve, place in zip(curves, reached, strict=True)], axis=0)


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


def _bootstrap(
    weighted: Callable[[NDArray[np.bool_], Floats], Weighted],
    event: ArrayLike,
    score: ArrayLike,
    *,
    resamples: int,
    seed: int,
    level: float,
) -> Estimate:
    happened, scores = checked_classes(event, score)
    statistic = weighted(happened, scores)
    lower, upper = bootstrap_interval(statistic, happened, resamples=resamples, seed=seed, level=level)
    return Estimate(float(statistic(np.ones((1, happened.size)))[0]), lower, upper)


def _within_folds(
    weighted: Callable[[NDArray[np.bool_], Floats], Weighted],
    event: ArrayLike,
    score: ArrayLike,
    fold: ArrayLike,
    patient: ArrayLike,
    *,
    resamples: int,
    seed: int,
    level: float,
) -> WithinFolds:
    happened, scores = checked_classes(event, score)
    patient_of_row = np.unique(np.asarray(patient, dtype=str), return_inverse=True)[1]
    any_event = (np.bincount(patient_of_row, weights=happened) > 0)[patient_of_row]

    def in_fold(rows: NDArray[np.intp]) -> Weighted | None:
        classes = happened[rows]
        return None if classes.all() or not classes.any() else weighted(classes, scores[rows])

    return mean_within_folds(
        in_fold, "both classes", any_event, fold, patient, resamples=resamples, seed=seed, level=level
    )


def _ratio(difference: float, error: float) -> float:
    if error > 0 or error != error:
        return difference / error
    return copysign(inf, difference) if difference != 0 else nan


def _two_sided(z: float) -> float:
    return float(2 * norm.sf(abs(z)))


def _normal_quantile(level: float) -> float:
    return float(norm.ppf((1 + level) / 2))
