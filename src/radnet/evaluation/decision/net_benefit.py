"""What acting on a probability is worth: net benefit over threshold probabilities, and whom it would treat."""

from dataclasses import dataclass
from fractions import Fraction
from math import nan
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radnet.evaluation.calibration.scores import checked_probabilities
from radnet.evaluation.discrimination import Floats

DecisionRule = Literal["ge", "gt"]
"""Whether a patient whose probability equals the threshold is treated (``ge``, as in dcurves) or not (``gt``, rmda)."""


@dataclass(frozen=True, slots=True)
class DecisionCurve:
    """Treating those whose probability reaches a threshold, beside treating all and treating none.

    Arrays have shape (T,), or (B, T) for B resamples. A net benefit is counted in true positives per patient: a false
    positive costs the odds of the threshold.

    Attributes:
        threshold: Probabilities at which a patient would be treated, shape (T,).
        prevalence: Share of patients with the event, shape (1,), or (B, 1) for B resamples.
        true_positive: Share of all patients who are treated and have the event.
        false_positive: Share of all patients who are treated and have no event.
    """

    threshold: Floats
    prevalence: Floats
    true_positive: Floats
    false_positive: Floats

    @property
    def odds(self) -> Floats:
        """What a false positive costs, in true positives."""
        return self.threshold / (1 - self.threshold)

    @property
    def net_benefit(self) -> Floats:
        """Net benefit of treating by the model; that of treating none is 0."""
        return self.true_positive - self.false_positive * self.odds

    @property
    def net_benefit_all(self) -> Floats:
        """Net benefit of treating everybody."""
        return self.prevalence - (1 - self.prevalence) * self.odds

    @property
    def standardized(self) -> Floats:
        """Net benefit as a share of the largest possible, which is the prevalence."""
        return _divide(self.net_benefit, self.prevalence)

    @property
    def standardized_all(self) -> Floats:
        """Net benefit of treating everybody as a share of the largest possible."""
        return _divide(self.net_benefit_all, self.prevalence)

    @property
    def interventions_avoided(self) -> Floats:
        """Treatments saved per patient against treating all, net of events missed; NaN at a threshold of 0."""
        return _divide(self.net_benefit - self.net_benefit_all, self.odds)

    @property
    def interventions_avoided_none(self) -> Floats:
        """The same for treating none: all treatments saved, all events missed; NaN at a threshold of 0."""
        return _divide(-self.net_benefit_all, self.odds)

    @property
    def interventions_avoided_standardized(self) -> Floats:
        """Treatments saved as a share of those that could be, the patients without the event; NaN at 0."""
        return _divide(self.interventions_avoided, 1 - self.prevalence)

    @property
    def sensitivity(self) -> Floats:
        """Share of patients with the event who are treated."""
        return _divide(self.true_positive, self.prevalence)

    @property
    def specificity(self) -> Floats:
        """Share of patients without the event who are not treated."""
        return 1 - _divide(self.false_positive, 1 - self.prevalence)

    @property
    def high_risk(self) -> Floats:
        """Share of patients treated."""
        return self.true_positive + self.false_positive

    def impact_high_risk(self, patients: int) -> Floats:
        """Return how many of so many patients would be treated; rmda draws 1000."""
        return patients * self.high_risk

    def impact_true_positive(self, patients: int) -> Floats:
        """Return how many of so many patients would be treated and have the event."""
        return patients * self.true_positive


def decision_curve(
    event: ArrayLike, probability: ArrayLike, thresholds: ArrayLike, decision_rule: DecisionRule
) -> DecisionCurve:
    """Count whom a model would treat, rightly and wrongly, at each threshold probability.

    Args:
        event: Whether each patient had the event, shape (n,); both classes must be there.
        probability: Of the event, shape (n,), in [0, 1].
        thresholds: Threshold probabilities, shape (T,), at least 0 and below 1.
        decision_rule: ``ge`` treats a patient whose probability equals the threshold, ``gt`` does not.

    References:
        Vickers, Elkin. Med Decis Making 2006;26:565-574. Kerr et al. J Clin Oncol 2016;34:2534-2540 (standardised).

    Example:
        >>> decision_curve([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9], [0.5], "ge").net_benefit
        array([0.])
    """
    happened, probabilities = checked_probabilities(event, probability)
    at = checked_thresholds(thresholds)
    return _curve(at, _cells(happened, probabilities, at, decision_rule))


def resampled_decision_curves(
    event: ArrayLike,
    probability: ArrayLike,
    thresholds: ArrayLike,
    decision_rule: DecisionRule,
    *,
    resamples: int,
    seed: int,
) -> DecisionCurve:
    """Return the decision curves of patients drawn with replacement, each quantity of shape (resamples, T).

    Patients are drawn from all, whichever their class, because net benefit rests on the prevalence too. Only how many
    fall between neighbouring thresholds counts, so those counts are drawn: their multinomial law is that of the
    patients.
    """
    happened, probabilities = checked_probabilities(event, probability)
    at = checked_thresholds(thresholds)
    cells = _cells(happened, probabilities, at, decision_rule)
    drawn = np.random.default_rng(seed).multinomial(happened.size, cells.ravel() / happened.size, size=resamples)
    return _curve(at, drawn.reshape(resamples, *cells.shape))


def percentile_band(drawn: Floats, level: float) -> tuple[Floats, Floats]:
    """Return percentile bounds of a resampled quantity, (B, T) to two of (T,); NaN where no resample has a value."""
    there = np.isfinite(drawn).any(axis=0)
    bounds = np.full((2, drawn.shape[1]), nan)
    bounds[:, there] = np.nanquantile(drawn[:, there], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return bounds[0], bounds[1]


def cost_benefit(threshold: float) -> str:
    """Return the cost of a false positive to the benefit of a true one, in whole numbers, at a threshold probability.

    Example:
        >>> cost_benefit(0.15)
        '3:17'
    """
    share = Fraction(threshold).limit_denominator(1000)
    return f"{share.numerator}:{share.denominator - share.numerator}"


def checked_thresholds(thresholds: ArrayLike) -> Floats:
    """Return threshold probabilities as an array of shape (T,), or say what is wrong with them."""
    at = np.asarray(thresholds, dtype=float)
    if at.ndim != 1 or at.size == 0:
        raise ValueError(f"thresholds must be a row of probabilities, got shape {at.shape}")
    if not ((at >= 0) & (at < 1)).all():
        raise ValueError(f"a threshold probability is at least 0 and below 1, got {at[~((at >= 0) & (at < 1))][0]:g}")
    return at


def is_treated(probability: Floats, threshold: Floats, decision_rule: DecisionRule) -> NDArray[np.bool_]:
    """Return whether a probability reaches a threshold; arrays that broadcast."""
    if decision_rule not in ("ge", "gt"):
        raise ValueError(f"a decision rule is 'ge' or 'gt', got {decision_rule!r}")
    return probability >= threshold if decision_rule == "ge" else probability > threshold


def _cells(
    event: NDArray[np.bool_], probability: Floats, thresholds: Floats, decision_rule: DecisionRule
) -> NDArray[np.int64]:
    """Count patients without and with the event by how many thresholds they reach, shape (2, T + 1)."""
    reached = is_treated(probability[:, None], thresholds, decision_rule).sum(axis=1)
    width = thresholds.size + 1
    return np.bincount(reached + width * event, minlength=2 * width).reshape(2, width)


def _curve(thresholds: Floats, cells: NDArray[np.int64]) -> DecisionCurve:
    """Read a decision curve, or one for each resample, off counts of shape (..., 2, T + 1)."""
    n = cells.sum(axis=(-2, -1))[..., None]
    reached_more = cells[..., ::-1].cumsum(axis=-1)[..., -2::-1]
    place = np.argsort(np.argsort(thresholds, kind="stable"), kind="stable")
    treated = reached_more[..., place] / n[..., None]
    return DecisionCurve(
        thresholds, cells[..., 1, :].sum(axis=-1)[..., None] / n, treated[..., 1, :], treated[..., 0, :]
    )


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    above, below = np.broadcast_arrays(numerator, denominator)
    return np.divide(above, below, out=np.full(above.shape, nan), where=below > 0)
