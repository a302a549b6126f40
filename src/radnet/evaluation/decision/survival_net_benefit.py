"""What acting on the risk of an event by a horizon is worth when follow-up is censored."""

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
    curve = _weighted_curve(times, happened, treated, at, horizon, np.ones((times.size, 1)))
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
    rng, n = np.random.default_rng(seed), times.size
    block = max(1, 1_000_000 // n)  # so that memory stays bounded
    sizes = [min(block, resamples - start) for start in range(0, resamples, block)]
    weights = (rng.multinomial(n, np.full(n, 1 / n), size=size).T.astype(float, order="C") for size in sizes)
    drawn = [_weighted_curve(times, happened, treated, at, horizon, weight) for weight in weights]
    return DecisionCurve(
        at,
        np.concatenate([curve.prevalence for curve in drawn]),
        np.concatenate([curve.true_positive for curve in drawn]),
        np.concatenate([curve.false_positive for curve in drawn]),
    )


def _weighted_curve(
    time: Floats, event: Bools, treated: Bools, thresholds: Floats, horizon: float, weight: Floats
) -> DecisionCurve:
    """Return B curves of patients counted by weight, shape (n, B); ``treated`` has shape (T, n).

    Whom a threshold treats, every lower one treats too: from the highest on down, patients only join.
    """
    n, resamples = weight.shape
    death = np.unique(time[event & (time <= horizon)])
    at_risk_up_to = np.searchsorted(death, time, side="right")  # so many deaths find the patient still at risk
    dies, followed = event & (time <= horizon), time >= horizon
    leaving, died = np.zeros((death.size + 1, resamples)), np.zeros((death.size, resamples))
    joined, still_followed = np.zeros(resamples), np.zeros(resamples)
    inside = np.zeros(n, dtype=bool)
    share, risk = np.empty((2, thresholds.size + 1, resamples))
    for step in [*np.argsort(-thresholds, kind="stable"), thresholds.size]:  # the last one is: treat all
        joining = ~inside & (treated[step] if step < thresholds.size else True)
        for who in np.flatnonzero(joining):
            leaving[at_risk_up_to[who]] += weight[who]
            joined += weight[who]
            if dies[who]:
                died[at_risk_up_to[who] - 1] += weight[who]
            if followed[who]:
                still_followed += weight[who]
        inside |= joining
        share[step] = joined / n
        risk[step] = _risk(leaving, died, still_followed)
    true_positive = np.where(share > 0, share * risk, 0.0)
    false_positive = share - true_positive
    return DecisionCurve(thresholds, risk[-1][:, None], true_positive[:-1].T, false_positive[:-1].T)


def _risk(leaving: Floats, died: Floats, followed: Floats) -> Floats:
    """Return the Kaplan-Meier risk at a horizon, shape (B,), of patients by how many deaths find them at risk.

    It is NaN, not known, where nobody is followed up to the horizon and somebody may have survived it.
    """
    at_risk = leaving[::-1].cumsum(axis=0)[-2::-1]
    survived = np.divide(at_risk - died, at_risk, out=np.ones(died.shape), where=at_risk > 0).prod(axis=0)
    return np.where((followed > 0) | (survived == 0), 1 - survived, np.nan)
