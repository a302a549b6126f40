"""Where a score is cut: fitted on the scores a model learned from, frozen, and carried by every prediction."""

from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike

from radnet.evaluation.discrimination import roc_curve

RULES = ("youden", "max_sensitivity", "fixed", "median", "maxstat", "time_youden")


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
    threshold = curve.threshold[np.flatnonzero(gain == gain.max())[-1]]
    return Cutoff(float(threshold if np.isfinite(threshold) else np.min(score)), "youden")


def median(score: ArrayLike) -> Cutoff:
    """Cut at the median score; with an odd number of patients the middle one is positive."""
    scores = np.asarray(score, dtype=float)
    if scores.size == 0 or not np.isfinite(scores).all():
        raise ValueError("a median cut-off needs scores, complete and finite")
    return Cutoff(float(np.median(scores)), "median")


def fixed(value: float) -> Cutoff:
    """Cut at a value chosen beforehand, such as one published."""
    return Cutoff(float(value), "fixed")
