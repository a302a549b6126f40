"""What acting on the risk of an event by a horizon is worth when follow-up is censored."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from radnet.evaluation.calibration.scores import Bools
from radnet.evaluation.calibration.survival_groups import checked_risks
from radnet.evaluation.decision.net_benefit import DecisionCurve, DecisionRule, checked_thresholds, is_treated
from radnet.evaluation.discrimination import Floats


def survival_decision_curve(
    time: ArrayLike,
    event: ArrayLike,
    probability: ArrayLike,
    thresholds: ArrayLike,
    decision_rule: DecisionRule,
    *,
    horizon: float,
) -> DecisionCurve:
    """Estimate whom a model would treat, rightly and wrongly, at each threshold probability, under censoring.

    The share of true positives is that of the treated times their Kaplan-Meier risk by the horizon. As in R's dcurves,
    it is 0 where nobody is treated, and NaN where none of the treated is followed up to the horizon.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        probability: Of the event by the horizon, shape (n,), in [0, 1].
        thresholds: Threshold probabilities, shape (T,), at least 0 and below 1.
        decision_rule: ``ge`` treats a patient whose probability equals the threshold, ``gt`` does not.
        horizon: The time the probabilities refer to, in the unit of ``time``.

    Raises:
        ValueError: If nobody has the event by the horizon, or nobody is followed up to it.

    References:
        Vickers, Cronin, Elkin, Gonen. BMC Med Inform Decis Mak 2008;8:53.
    """
    times, happened, probabilities = checked_risks(time, event, probability, horizon)
    at = checked_thresholds(thresholds)
    treated = is_treated(probabilities, at[:, None], decision_rule)
    curve = _weighted_curve(_risk(times, happened, horizon), treated, at, np.ones((1, times.size)))
    ended = treated.any(axis=1) & ~(treated & (times >= horizon)).any(axis=1)
    true_positive, false_positive = (
        np.where(ended, np.nan, share[0]) for share in (curve.true_positive, curve.false_positive)
    )
    return DecisionCurve(at, curve.prevalence[0], true_positive, false_positive)


def resampled_survival_decision_curves(
    time: ArrayLike,
    event: ArrayLike,
    probability: ArrayLike,
    thresholds: ArrayLike,
    decision_rule: DecisionRule,
    *,
    horizon: float,
    resamples: int,
    seed: int,
) -> DecisionCurve:
    """Return the decision curves of patients drawn with replacement, each quantity of shape (resamples, T).

    A resample is NaN where the treated were all last seen before the horizon, some of them without the event.
    """
    times, happened, probabilities = checked_risks(time, event, probability, horizon)
    at = checked_thresholds(thresholds)
    treated = is_treated(probabilities, at[:, None], decision_rule)
    risk = _risk(times, happened, horizon)
    rng, n = np.random.default_rng(seed), times.size
    block = max(1, 1_000_000 // n)  # so that memory stays bounded
    sizes = [min(block, resamples - start) for start in range(0, resamples, block)]
    weights = (rng.multinomial(n, np.full(n, 1 / n), size=size).astype(float) for size in sizes)
    drawn = [_weighted_curve(risk, treated, at, weight) for weight in weights]
    return DecisionCurve(
        at,
        np.concatenate([curve.prevalence for curve in drawn]),
        np.concatenate([curve.true_positive for curve in drawn]),
        np.concatenate([curve.false_positive for curve in drawn]),
    )


def _weighted_curve(
    risk: Callable[[Floats], Floats], treated: Bools, thresholds: Floats, weight: Floats
) -> DecisionCurve:
    """Return the curves of patients counted by weight, shape (B, n); ``treated`` has shape (T, n)."""
    share = weight @ treated.T / weight.sum(axis=1, keepdims=True)
    of_treated = np.stack([risk(weight * who) for who in treated], axis=1)
    true_positive = np.where(share > 0, share * of_treated, 0.0)
    return DecisionCurve(thresholds, risk(weight)[:, None], true_positive, share - true_positive)


def _risk(time: Floats, event: Bools, horizon: float) -> Callable[[Floats], Floats]:
    """Prepare the Kaplan-Meier risk by a horizon of patients counted by weight, (B, n) to (B,); NaN if unknown."""
    order = np.argsort(time, kind="stable")
    rising, happened = time[order], event[order]
    death, place = np.unique(rising[happened & (rising <= horizon)], return_inverse=True)
    first_at_risk = np.searchsorted(rising, death, side="left")
    deaths = order[happened & (rising <= horizon)]
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    followed = time >= horizon

    def risk(weight: Floats) -> Floats:
        at_risk = weight[:, order][:, ::-1].cumsum(axis=1)[:, ::-1][:, first_at_risk]
        died = np.add.reduceat(weight[:, deaths], starts, axis=1)
        survived = np.divide(at_risk - died, at_risk, out=np.ones(at_risk.shape), where=at_risk > 0).prod(axis=1)
        known = (weight[:, followed] > 0).any(axis=1) | (survived == 0)
        return np.where(known, 1 - survived, np.nan)

    return risk
