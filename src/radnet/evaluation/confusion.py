"""How often a cut score is right: the four counts, the shares and ratios made of them, and their intervals."""

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta, norm

from radnet.evaluation.discrimination import Estimate


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

    @property
    def youden(self) -> float:
        """Sensitivity + specificity - 1, NaN where a class is empty."""
        return self.shares["sensitivity"].value + self.shares["specificity"].value - 1

    @property
    def balanced_accuracy(self) -> float:
        """Mean of sensitivity and specificity, NaN where a class is empty."""
        return (self.youden + 1) / 2

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and ppv; 0 where no call is a true positive, NaN where there is no positive."""
        return Share(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative).value

    @property
    def mcc(self) -> float:
        """Matthews' correlation of calls and events, NaN where either is the same for everybody."""
        tp, fp, fn, tn = self.true_positive, self.false_positive, self.false_negative, self.true_negative
        spread = sqrt(tp + fp) * sqrt(tp + fn) * sqrt(tn + fp) * sqrt(tn + fn)
        return (tp * tn - fp * fn) / spread if spread > 0 else nan

    @property
    def kappa(self) -> float:
        """Cohen's kappa of calls and events, NaN where chance alone makes them agree."""
        tp, fp, fn, tn = self.true_positive, self.false_positive, self.false_negative, self.true_negative
        total = tp + fp + fn + tn
        by_chance = (tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)
        return ((tp + tn) * total - by_chance) / (total**2 - by_chance) if total**2 > by_chance else nan


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
    z2 = _normal_quantile(level) ** 2
    middle = (share.count + z2 / 2) / (share.total + z2)
    reach = sqrt(z2 * (share.value * (1 - share.value) * share.total + z2 / 4)) / (share.total + z2)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def wald(share: Share, level: float) -> tuple[float, float]:
    """Return the normal interval of a share, clipped to [0, 1]; without width at 0 and 1, where it misleads."""
    if share.total <= 0:
        return nan, nan
    reach = _normal_quantile(level) * sqrt(share.value * (1 - share.value) / share.total)
    return max(0.0, share.value - reach), min(1.0, share.value + reach)


def agresti_coull(share: Share, level: float) -> tuple[float, float]:
    """Return the normal interval about Wilson's middle, clipped to [0, 1]; NaN of nobody.

    References:
        Agresti, Coull. Am Stat 1998;52:119-126.
    """
    if share.total <= 0:
        return nan, nan
    z2 = _normal_quantile(level) ** 2
    middle = (share.count + z2 / 2) / (share.total + z2)
    reach = sqrt(z2 * middle * (1 - middle) / (share.total + z2))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def likelihood_ratios(counts: Confusion, level: float) -> dict[str, Estimate]:
    """Return lr_positive and lr_negative: how a call changes the odds of the event, with intervals on the log scale.

    Empty cells keep the limit their formula has, as in R's epiR: a ratio over no false call is infinite with an unknown
    lower bound, a ratio of 0 has an unknown upper bound, and 0 over 0 is NaN. No cell is corrected by one half.

    References:
        Simel, Samsa, Matchar. J Clin Epidemiol 1991;44:763-770.
    """
    with_event = counts.true_positive + counts.false_negative
    without = counts.true_negative + counts.false_positive
    return {
        "lr_positive": _ratio_of_shares(counts.true_positive, with_event, counts.false_positive, without, level),
        "lr_negative": _ratio_of_shares(counts.false_negative, with_event, counts.true_negative, without, level),
    }


def diagnostic_odds_ratio(counts: Confusion, level: float) -> Estimate:
    """Return lr_positive over lr_negative, its interval on the log scale; empty cells as in ``likelihood_ratios``."""
    right = np.array([counts.true_positive, counts.true_negative], dtype=float)
    wrong = np.array([counts.false_positive, counts.false_negative], dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _log_interval(right.prod() / wrong.prod(), (1 / right + 1 / wrong).sum(), level)


def _ratio_of_shares(called: float, of_event: float, called_falsely: float, of_rest: float, level: float) -> Estimate:
    counts, totals = np.array([called, called_falsely], dtype=float), np.array([of_event, of_rest], dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = counts / totals
        return _log_interval(shares[0] / shares[1], (1 / counts - 1 / totals).sum(), level)


def _log_interval(ratio: np.float64, variance: np.float64, level: float) -> Estimate:
    reach = _normal_quantile(level) * np.sqrt(variance)
    lower, upper = np.exp(np.log(ratio) + np.array([-reach, reach]))
    return Estimate(float(ratio), float(lower), float(upper))


def _normal_quantile(level: float) -> float:
    return float(norm.ppf((1 + level) / 2))
