"""Where a score is cut: fitted on the scores a model learned from, frozen, and carried by every prediction."""

from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radnet.evaluation.discrimination import RocCurve, roc_curve
from radnet.evaluation.survival.time_dependent import RocAtTime

RULES = (
    "youden",
    "max_sensitivity",
    "max_specificity",
    "closest_topleft",
    "fixed",
    "median",
    "maxstat",
    "time_youden",
)


@dataclass(frozen=True, slots=True)
class Cutoff:
    """A cut-off on a score and the rule that found it; a patient is positive (high) when score >= value."""

    value: float
    rule: str

    def __post_init__(self) -> None:
        if not isfinite(self.value):
            raise ValueError(f"a cut-off must be a finite number, got {self.value}")
        if self.rule not in RULES:
            raise ValueError(f"a cut-off's rule is one of {', '.join(RULES)}, got {self.rule!r}")


def youden(event: ArrayLike, score: ArrayLike) -> Cutoff:
    """Find the cut-off with the largest sensitivity + specificity - 1.

    The value lies midway between two neighbouring distinct scores, as in R's pROC. Of cut-offs that are equally good,
    compared in whole patients, the lowest is taken, which is the most sensitive. Where no cut-off is better than none
    the value is the lowest score: everybody is positive, and the number stays finite.

    Args:
        event: Whether each patient had the event, shape (n,); both classes must be there.
        score: Higher = event more likely, shape (n,).

    References:
        Youden. Cancer 1950;3:32-35.

    Example:
        >>> youden([0, 0, 0, 1, 1], [1, 2, 3, 6, 7])
        Cutoff(value=4.5, rule='youden')
    """
    curve = roc_curve(event, score)
    gain = curve.true_positive * curve.false_positive[-1] - curve.false_positive * curve.true_positive[-1]
    return _most_sensitive(curve, gain == gain.max(), score, "youden")


def max_sensitivity(event: ArrayLike, score: ArrayLike, min_specificity: float) -> Cutoff:
    """Find the most sensitive cut-off whose specificity is at least ``min_specificity``.

    Of cut-offs that are equally sensitive the most specific is taken. The value lies midway between two neighbouring
    distinct scores; where only calling nobody is specific enough it is the first number above the highest score.

    Args:
        event: Whether each patient had the event, shape (n,); both classes must be there.
        score: Higher = event more likely, shape (n,).
        min_specificity: From 0 to 1; 0.5 in Ligero et al.

    References:
        Ligero, Garcia-Ruiz, Viaplana, et al. Radiology 2021;299:109-119.

    Example:
        >>> max_sensitivity([0, 0, 1, 0, 1, 1], [1, 4, 3, 8, 7, 9], min_specificity=0.5)
        Cutoff(value=5.5, rule='max_sensitivity')
    """
    _refuse_unless_share("min_specificity", min_specificity)
    curve = roc_curve(event, score)
    # a quotient of counts rounds as the written share does, while 1 - fpr does not: 1 of 10 called, 0.9 asked for
    without = curve.false_positive[-1]
    enough = (without - curve.false_positive) / without >= min_specificity
    best = curve.true_positive == curve.true_positive[enough].max()
    return _least_sensitive(curve, enough & best, score, "max_sensitivity")


def max_specificity(event: ArrayLike, score: ArrayLike, min_sensitivity: float) -> Cutoff:
    """Find the most specific cut-off whose sensitivity is at least ``min_sensitivity``.

    Of cut-offs that are equally specific the most sensitive is taken, which may call everybody positive: the value is
    the lowest score then.
    """
    _refuse_unless_share("min_sensitivity", min_sensitivity)
    curve = roc_curve(event, score)
    enough = curve.tpr >= min_sensitivity
    best = curve.false_positive == curve.false_positive[enough].min()
    return _most_sensitive(curve, enough & best, score, "max_specificity")


def closest_topleft(event: ArrayLike, score: ArrayLike) -> Cutoff:
    """Find the cut-off nearest to a sensitivity and specificity of 1; of those equally near, the most sensitive.

    References:
        Perkins, Schisterman. Am J Epidemiol 2006;163:670-675.
    """
    curve = roc_curve(event, score)
    missed = (curve.true_positive[-1] - curve.true_positive).astype(float) * curve.false_positive[-1]
    called_falsely = curve.false_positive.astype(float) * curve.true_positive[-1]
    distance = missed**2 + called_falsely**2  # in whole patients, so that equals are equal
    return _most_sensitive(curve, distance == distance.min(), score, "closest_topleft")


def time_youden(curve: RocAtTime) -> Cutoff:
    """Find the cut-off with the largest sensitivity + specificity - 1 at a time, from the ROC curve at that time.

    The value lies midway between two neighbouring distinct scores; R's survivalROC gives the lower of them, which is in
    ``curve.youden`` and calls the same patients if only those above it are positive. Of equals the lowest is taken.
    Where no cut-off is better than none it is the lowest score.

    Args:
        curve: By ``ipcw_roc``, ``km_roc`` or ``nne_roc`` on training patients; its horizon may carry a note to tell.

    References:
        Heagerty, Lumley, Pepe. Biometrics 2000;56:337-344.
    """
    scores = curve.threshold[np.isfinite(curve.threshold)]
    if scores.size < 2:
        raise ValueError("a cut-off needs two distinct scores, but all are the same")
    threshold, _ = curve.youden
    above = scores[scores > threshold]
    if threshold == -np.inf or above.size == 0:
        return _finite(threshold if above.size else np.inf, scores, "time_youden")
    return Cutoff(between(threshold, float(above.min())), "time_youden")


def between(lower: float, upper: float) -> float:
    """Return the middle of two scores, or the upper one where no number lies between: a cut-off that parts them."""
    middle = lower / 2 + upper / 2
    return middle if middle > lower else upper


def median(score: ArrayLike) -> Cutoff:
    """Cut at the median score; with an odd number of patients the middle one is positive."""
    scores = np.asarray(score, dtype=float)
    if scores.size == 0 or not np.isfinite(scores).all():
        raise ValueError("a median cut-off needs scores, complete and finite")
    return Cutoff(float(np.median(scores)), "median")


def fixed(value: float) -> Cutoff:
    """Cut at a value chosen beforehand, such as one published."""
    return Cutoff(float(value), "fixed")


def _refuse_unless_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie between 0 and 1, got {value}")


def _most_sensitive(curve: RocCurve, among: NDArray[np.bool_], score: ArrayLike, rule: str) -> Cutoff:
    return _finite(curve.threshold[np.flatnonzero(among)[-1]], score, rule)


def _least_sensitive(curve: RocCurve, among: NDArray[np.bool_], score: ArrayLike, rule: str) -> Cutoff:
    return _finite(curve.threshold[np.flatnonzero(among)[0]], score, rule)


def _finite(threshold: float, score: ArrayLike, rule: str) -> Cutoff:
    """Return a threshold that calls everybody or nobody as a number which does the same to these scores."""
    scores = np.asarray(score, dtype=float)
    if threshold == -np.inf:
        threshold = scores.min()
    elif threshold == np.inf:
        threshold = np.nextafter(scores.max(), np.inf)
    return Cutoff(float(threshold), rule)
