"""How often a cut score is right: the four counts, the shares made of them, and their exact and Wilson intervals."""

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta, norm


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many; either may be a fraction where counts are averaged over repeats."""

    count: float
    total: float

    @property
    def value(self) -> float:
        """The share, NaN of nobody."""
        return self.count / self.total if self.total > 0 else nan


@dataclass(frozen=True, slots=True)
class Confusion:
    """Patients by what was called and what happened; fractions where counts are averaged over repeats."""

    true_positive: float
    false_positive: float
    false_negative: float
    true_negative: float

    def __post_init__(self) -> None:
        counts = (self.true_positive, self.false_positive, self.false_negative, self.true_negative)
        if not all(count >= 0 for count in counts):
            raise ValueError(f"counts of patients must be 0 or more, got {counts}")

    @property
    def shares(self) -> dict[str, Share]:
        """Sensitivity, specificity, ppv, npv and accuracy."""
        tp, fp, fn, tn = self.true_positive, self.false_positive, self.false_negative, self.true_negative
        return {
            "sensitivity": Share(tp, tp + fn),
            "specificity": Share(tn, tn + fp),
            "ppv": Share(tp, tp + fp),
            "npv": Share(tn, tn + fn),
            "accuracy": Share(tp + tn, tp + fp + fn + tn),
        }


def confusion(event: ArrayLike, positive: ArrayLike, weight: ArrayLike = 1.0) -> Confusion:
    """Count patients by what was called and what happened.

    Args:
        event: Whether the patient of each row had the event, shape (n,).
        positive: Whether he was called positive: score >= cut-off, shape (n,).
        weight: How much a row counts; 1/R for a patient judged in R repeats, so that each patient counts once.

    Example:
        >>> confusion([1, 1, 0, 0], [1, 0, 0, 0]).shares["sensitivity"].value
        0.5
    """
    happened, called = np.asarray(event, dtype=bool), np.asarray(positive, dtype=bool)
    each = np.broadcast_to(np.asarray(weight, dtype=float), happened.shape)
    return Confusion(
        true_positive=float(each[happened & called].sum()),
        false_positive=float(each[~happened & called].sum()),
        false_negative=float(each[happened & ~called].sum()),
        true_negative=float(each[~happened & ~called].sum()),
    )


def clopper_pearson(share: Share, level: float) -> tuple[float, float]:
    """Return the exact interval of a share, NaN of nobody.

    It is written with quantiles of the Beta distribution, which take fractional counts as well: the mean counts of
    several repeats then have the width that this many patients give, not patients times repeats.

    References:
        Clopper, Pearson. Biometrika 1934;26:404-413.
    """
    if share.total <= 0:
        return nan, nan
    others = share.total - share.count
    tail = (1 - level) / 2
    lower = float(beta.ppf(tail, share.count, others + 1)) if share.count > 0 else 0.0
    upper = float(beta.ppf(1 - tail, share.count + 1, others)) if others > 0 else 1.0
    return lower, upper


def wilson(share: Share, level: float) -> tuple[float, float]:
    """Return the score interval of a share, NaN of nobody; without continuity correction.

    References:
        Wilson. J Am Stat Assoc 1927;22:209-212.
    """
    if share.total <= 0:
        return nan, nan
    z2 = float(norm.ppf((1 + level) / 2)) ** 2
    middle = (share.count + z2 / 2) / (share.total + z2)
    reach = sqrt(z2 * (share.value * (1 - share.value) * share.total + z2 / 4)) / (share.total + z2)
    return max(0.0, middle - reach), min(1.0, middle + reach)
