"""What acting on probabilities is worth: net benefit and clinical impact over threshold probabilities."""

from math import isnan

import numpy as np
import pandas as pd

from radnet.evaluation.assessment.calibration import probabilities
from radnet.evaluation.assessment.sample import Sample
from radnet.evaluation.decision.net_benefit import (
    DecisionCurve,
    decision_curve,
    percentile_band,
    resampled_decision_curves,
)
from radnet.evaluation.decision.survival_net_benefit import resampled_survival_decision_curves, survival_decision_curve
from radnet.evaluation.discrimination import Floats

_IMPACT_OF = 1000
_THRESHOLDS_OF_CURVE = np.arange(1, 100) / 100
_QUANTITIES = ("net_benefit", "net_benefit_all", "net_benefit_standardized", "impact_high_risk", "impact_true_positive")


def judge_decisions(sample: Sample) -> None:
    """Note ``net_benefit`` and clinical impact at the thresholds asked for, and keep the decision curve.

    Impact counts patients of 1000. Intervals are percentiles over resampled patients, of the whole sample only.
    """
    for horizon, patients in probabilities(sample):
        by = "" if isnan(horizon) else f" by {horizon:g}"
        with sample.telling(f"net benefit{by}: "):
            _judge(sample, patients, horizon, by)


def _judge(sample: Sample, patients: pd.DataFrame, horizon: float, by: str) -> None:
    asked = np.unique(np.asarray(sample.settings.thresholds, dtype=float))
    thresholds = np.union1d(asked, _THRESHOLDS_OF_CURVE)
    values = _quantities(_curve(sample, patients, thresholds, horizon))
    bounds = dict.fromkeys(_QUANTITIES, np.full((2, thresholds.size), np.nan))
    if sample.about.whole:
        drawn = _quantities(_resampled_curves(sample, patients, thresholds, horizon))
        for name in _QUANTITIES:
            band = percentile_band(drawn[name], sample.settings.level)
            bounds[name] = np.where(np.isnan(values[name]), np.nan, band)
    places = np.searchsorted(thresholds, asked)
    for name in _QUANTITIES:
        for place in places:
            lower, upper = bounds[name][:, place]
            interval = {"lower": float(lower), "upper": float(upper)}
            at = float(thresholds[place])
            sample.metric(name, float(values[name][place]), patients, at=at, horizon=horizon, **interval)
    if unknown := [f"{thresholds[place]:g}" for place in places if isnan(values["net_benefit"][place])]:
        sample.say(f"net benefit{by}: unknown at {', '.join(unknown)}: none of the treated was followed so long")
    if not sample.about.subgroup:
        on_curve = np.searchsorted(thresholds, _THRESHOLDS_OF_CURVE)
        points = {name: values[name][on_curve] for name in ("net_benefit", "net_benefit_all")}
        points |= dict(zip(("lower", "upper"), bounds["net_benefit"][:, on_curve], strict=True))
        points |= {name: values[f"impact_{name}"][on_curve] for name in ("high_risk", "true_positive")}
        sample.found.points("decision", sample.about, horizon=horizon, threshold=_THRESHOLDS_OF_CURVE, **points)


def _curve(sample: Sample, patients: pd.DataFrame, thresholds: Floats, horizon: float) -> DecisionCurve:
    rule, event, probability = sample.settings.decision_rule, patients["event"], patients["probability"]
    if isnan(horizon):
        return decision_curve(event, probability, thresholds, rule)
    return survival_decision_curve(patients["time"], event, probability, thresholds, rule, horizon=horizon)


def _resampled_curves(sample: Sample, patients: pd.DataFrame, thresholds: Floats, horizon: float) -> DecisionCurve:
    settings, event, probability = sample.settings, patients["event"], patients["probability"]
    draws = {"resamples": settings.bootstrap, "seed": settings.seed}
    if isnan(horizon):
        return resampled_decision_curves(event, probability, thresholds, settings.decision_rule, **draws)
    return resampled_survival_decision_curves(
        patients["time"], event, probability, thresholds, settings.decision_rule, horizon=horizon, **draws
    )


def _quantities(curve: DecisionCurve) -> dict[str, Floats]:
    """Return what is noted of a curve, or of resampled ones, each of shape (..., T)."""
    quantities = (
        *(curve.net_benefit, curve.net_benefit_all, curve.standardized),
        *(curve.impact_high_risk(_IMPACT_OF), curve.impact_true_positive(_IMPACT_OF)),
    )
    return dict(zip(_QUANTITIES, quantities, strict=True))
