"""Whether probabilities mean what they say: Brier score, intercept and slope, calibration curve, Hosmer-Lemeshow."""

from collections.abc import Iterator
from math import nan

import numpy as np
import pandas as pd

from radnet.evaluation.assessment.sample import Sample
from radnet.evaluation.calibration.curve import calibration_curve, calibration_error
from radnet.evaluation.calibration.groups import CalibrationGroups, group_by_quantile, hosmer_lemeshow
from radnet.evaluation.calibration.recalibration import calibration_in_the_large, recalibrate
from radnet.evaluation.calibration.scores import brier, brier_scaled, checked_probabilities
from radnet.evaluation.calibration.survival_groups import survival_by_group
from radnet.evaluation.confusion import Share, wilson
from radnet.evaluation.discrimination import Estimate
from radnet.tables import horizon_of

_GROUPS = 10
_SURVIVAL_GROUPS = (3, 5)
_EVENTS_PER_SURVIVAL_GROUP = 50
_POINTS_OF_CURVE = 100


def judge_calibration(sample: Sample) -> None:
    """Note the calibration of the probabilities and keep the points of its curve.

    A survival endpoint has points alone: groups of patients at each horizon, of the whole sample.
    """
    if sample.survival and not sample.about.whole:
        return
    if sample.survival:
        _tell_of_unnamed_time(sample)
    for horizon, patients in probabilities(sample):
        if sample.survival:
            with sample.telling(f"calibration by {horizon:g}: "):
                _keep_groups_by_horizon(sample, patients, horizon)
            continue
        with sample.telling("calibration: "):
            checked_probabilities(patients["event"], patients["probability"])
            _note_brier(sample, patients)
            _note_line(sample, patients)
            _note_distance(sample, patients)
            _note_groups(sample, patients)


def probabilities(sample: Sample) -> Iterator[tuple[float, pd.DataFrame]]:
    """Yield each horizon, NaN of a binary endpoint, with the patients who have a probability of the event by it.

    Patients of one class, or without an event when survival is judged, are told of once, where scores are judged.
    """
    event = sample.rows["event"]
    if not event.any() or (event.all() and not sample.survival):
        return
    for horizon in sorted(set(sample.horizons)) if sample.survival else (nan,):
        known = None
        with sample.telling(severity="failed"):
            known = sample.probability(horizon)
        if known is None:
            continue
        if sample.folded and sample.about.whole:
            sample.say("calibration and net benefit rest on each patient's mean probability, all folds together")
        yield horizon, known


def _tell_of_unnamed_time(sample: Sample) -> None:
    of_time = any(not np.isnan(horizon_of(column)) for column in sample.rows)
    if len(sample.horizons) != 1 and not of_time and sample.rows["probability"].notna().any():
        sample.say(
            "probability is not judged, because nothing tells by which time: name its column probability_<time>, "
            "or give one evaluation.horizons=[time]"
        )


def _note_brier(sample: Sample, patients: pd.DataFrame) -> None:
    settings = sample.settings
    for name, score in {"brier": brier, "brier_scaled": brier_scaled}.items():
        estimate = score(
            patients["event"],
            patients["probability"],
            resamples=settings.bootstrap if sample.about.whole else 0,
            seed=settings.seed,
            level=settings.level,
        )
        sample.metric(name, estimate.value, patients, lower=estimate.lower, upper=estimate.upper)


def _note_line(sample: Sample, patients: pd.DataFrame) -> None:
    certain = patients["probability"].isin([0, 1])
    if certain.any():
        _tell_of_certain(sample, patients, certain)
        patients = patients[~certain]
    if patients.empty:
        return
    event, probability, level = patients["event"], patients["probability"], sample.settings.level

    def note(name: str, estimate: Estimate, method: str = "") -> None:
        walds = {"lower": estimate.lower, "upper": estimate.upper, "p_value": estimate.p_value}
        sample.metric(name, estimate.value, patients, method=method, **({} if sample.folded else walds))

    with sample.telling("calibration intercept and slope: "):
        line = recalibrate(event, probability, level)
        note("calibration_intercept", line.intercept, "joint")
        note("calibration_slope", line.slope)
    with sample.telling("calibration intercept and slope: "):
        note("calibration_intercept", calibration_in_the_large(event, probability, level), "in_the_large")


def _tell_of_certain(sample: Sample, patients: pd.DataFrame, certain: pd.Series) -> None:
    wrong = int((patients["event"] != patients["probability"])[certain].sum())
    unseen = f"; {wrong} of them had the other outcome, which the line does not show" if wrong else ""
    sample.say(
        f"calibration intercept and slope: {certain.sum()} of {len(patients)} patients are left out, because their "
        f"probability is 0 or 1 and has no finite log odds{unseen}"
    )


def _note_distance(sample: Sample, patients: pd.DataFrame) -> None:
    event, probability = patients["event"], patients["probability"]
    with sample.telling("calibration curve: "):
        by_loess = calibration_error(event, probability, "loess")
        sample.metric("ici", by_loess.mean, patients, method="loess")
        sample.metric("emax", by_loess.maximum, patients, method="loess")
        sample.metric("e90", by_loess.q90, patients, method="loess")
        if not sample.about.subgroup:
            at = np.linspace(probability.min(), probability.max(), _POINTS_OF_CURVE)
            curve = calibration_curve(event, probability, at, sample.settings.level)
            points = {name: getattr(curve, name) for name in ("probability", "observed", "lower", "upper")}
            sample.found.points("calibration", sample.about, kind="curve", **points)
    by_lowess = calibration_error(event, probability, "lowess")
    sample.metric("emax", by_lowess.maximum, patients, method="lowess")
    sample.metric("e90", by_lowess.q90, patients, method="lowess")


def _note_groups(sample: Sample, patients: pd.DataFrame) -> None:
    with sample.telling("hosmer_lemeshow: "):
        groups = group_by_quantile(patients["event"], patients["probability"], _GROUPS)
        test = hosmer_lemeshow(groups, apparent=sample.about.partition == "apparent")
        p_value = nan if sample.folded else test.p_value
        sample.metric("hosmer_lemeshow", test.chi2, patients, p_value=p_value, method="deciles")
        if test.df < 1 and not sample.folded:
            sample.say(f"hosmer_lemeshow: {(groups.count > 0).sum()} groups leave no degree of freedom for a p-value")
        if not sample.about.subgroup:
            _keep_groups(sample, groups)


def _keep_groups(sample: Sample, groups: CalibrationGroups) -> None:
    filled = groups.count > 0
    count = groups.count[filled]
    shares = [Share(int(events), int(n)) for events, n in zip(groups.events[filled], count, strict=True)]
    lower, upper = np.array([wilson(share, sample.settings.level) for share in shares]).T
    sample.found.points(
        *("calibration", sample.about),
        kind="groups",
        probability=groups.predicted[filled],
        observed=groups.observed[filled],
        lower=lower,
        upper=upper,
        n=count,
    )


def _keep_groups_by_horizon(sample: Sample, patients: pd.DataFrame, horizon: float) -> None:
    events = int(patients.loc[patients["time"] <= horizon, "event"].sum())
    groups = survival_by_group(
        patients["time"],
        patients["event"],
        patients["probability"],
        horizon=horizon,
        groups=int(np.clip(events // _EVENTS_PER_SURVIVAL_GROUP, *_SURVIVAL_GROUPS)),
        level=sample.settings.level,
    )
    if unknown := int(np.isnan(groups.observed).sum()):
        sample.say(
            f"calibration by {horizon:g}: the observed risk of {unknown} of {groups.count.size} groups is unknown: "
            "their patients were not followed so long"
        )
    sample.found.points(
        *("calibration", sample.about),
        horizon=horizon,
        kind="groups",
        probability=groups.predicted,
        observed=groups.observed,
        lower=groups.lower,
        upper=groups.upper,
        n=groups.count,
    )
