"""How well scores order patients by their time to the event, and how far apart the risk groups lie."""

from collections.abc import Iterator
from math import isnan

import numpy as np
import pandas as pd

from radnet.evaluation.assessment.discrimination import some
from radnet.evaluation.assessment.sample import Sample
from radnet.evaluation.discrimination import Estimate
from radnet.evaluation.regression.design import level_names
from radnet.evaluation.scale import lone, near_one
from radnet.evaluation.survival.concordance import concordance_within_folds, harrell, uno
from radnet.evaluation.survival.follow_up import Horizon
from radnet.evaluation.survival.kaplan_meier import kaplan_meier
from radnet.evaluation.survival.logrank import logrank, logrank_trend
from radnet.evaluation.survival.proportional_hazards import hazard_ratio
from radnet.evaluation.survival.rmst import compare_restricted_means, restricted_mean
from radnet.evaluation.survival.schoenfeld import schoenfeld
from radnet.tables import MISSING


def judge_survival(sample: Sample) -> None:
    """Note survival, concordance, hazard ratios, and how the risk groups differ.

    A number at a horizon that follow-up does not reach is told, not extrapolated. Over pooled folds no analytic test
    holds, so hazard ratios, the log-rank test and the difference of restricted means stand there by themselves.
    """
    patients, groups = sample.patients, sample.risk_groups
    for group, members in {"": patients, **groups}.items():
        _survival(sample, group, members)
    if not patients["event"].any():
        sample.say(f"event: an event is needed: 0 of {len(patients)} had it", "failed")
        return
    if sample.folded and sample.about.whole:
        sample.say(
            "no analytic test holds over pooled folds: hazard ratios, log-rank test and difference of restricted means "
            "are given without interval or p-value"
        )
    with sample.telling(severity="failed"):
        if sample.folded:
            _c_index_of_folds(sample)
        else:
            _c_index_of_frozen_model(sample)
    if len(set(patients["score"])) > 1:
        _by_score(sample)
    else:
        sample.say("every patient has the same score: it has no hazard ratio and no trend")
    _restricted_means(sample, groups)
    if len(groups) == 1:
        sample.say(f"every patient is of {next(iter(groups))} risk: the groups cannot be compared")
    elif groups:
        _compare_groups(sample, _grouped(groups))


def trace_survival(sample: Sample) -> None:
    """Keep the Kaplan-Meier curves of the risk groups, or where no cut-off makes any, of all patients."""
    followed = sample.among(sample.rows.dropna(subset=["time"]))
    if followed.rows.empty:
        return
    unit = followed.rows["time_unit"].iloc[0]
    for group, patients in (followed.risk_groups or {"": followed.patients}).items():
        curve = kaplan_meier(patients["time"], patients["event"], sample.settings.level)
        names = ("time", "survival", "lower", "upper", "at_risk", "events", "censored")
        points = {name: getattr(curve, name) for name in names}
        sample.found.points("km", sample.about, group=group, time_unit=unit, **points)


def compare_levels(sample: Sample, column: str) -> None:
    """Note ``logrank`` across the levels of a subgroup column, under ``subgroup`` = the column's name.

    Args:
        sample: Patients of a survival endpoint.
        column: A column of its rows; patients without a level are left out, and that is said.
    """
    if not sample.rows["event"].any():  # said of the whole already
        return
    here = sample.among(sample.rows, subgroup=column)
    patients = sample.rows.drop_duplicates("patient_id")
    known = patients[patients[column].notna() & ~patients[column].isin(MISSING)]
    if len(known) < len(patients):
        without = len(patients) - len(known)
        here.say(f"{without} of {len(patients)} patients have no level and are left out of the log-rank test")
    with here.telling("levels compared: "):
        if known.empty:
            raise ValueError("no patient has a level")
        test = logrank(known["time"], known["event"], level_names(known[column]).astype(str))
        here.metric("logrank", test.chi2, known, p_value=test.p_value)


def _survival(sample: Sample, group: str, members: pd.DataFrame) -> None:
    curve = kaplan_meier(members["time"], members["event"], sample.settings.level)
    median = curve.median
    sample.metric("km_median", median.value, members, lower=median.lower, upper=median.upper, group=group)
    unreached = []
    for time in sample.horizons:
        survival = curve.at(time)
        if isnan(survival.value):
            unreached.append(f"{time:g}")
        else:
            bounds = {"lower": survival.lower, "upper": survival.upper}
            sample.metric("km_survival", survival.value, members, at=time, horizon=time, group=group, **bounds)
    if unreached:
        followed = f"nobody is followed up to {', '.join(unreached)}, only to {curve.time[-1]:g}"
        sample.say(f"km_survival{_of(group)}: {followed}")


def _c_index_of_frozen_model(sample: Sample) -> None:
    patients = sample.patients
    of = patients["time"], patients["event"], patients["score"]
    for method, concordance in {"harrell": harrell(*of), "uno": uno(*of, as_in="survival")}.items():
        interval = _interval(sample, f"c_index ({method})", concordance.interval(sample.settings.level))
        sample.metric("c_index", concordance.value, method=method, **interval)
    last_event = float(patients.loc[patients["event"] == 1, "time"].max())
    for tau in sample.horizons or (last_event,):
        with sample.telling(f"c_index (uno) by {tau:g}: "):
            if tau > patients["time"].max():
                raise ValueError(f"nobody is followed up to then, only to {patients['time'].max():g}")
            value = uno(*of, tau, as_in="survC1").value
            sample.metric("c_index", value, at=tau, horizon=tau, method="uno")


def _c_index_of_folds(sample: Sample) -> None:
    rows, settings = sample.rows, sample.settings
    fold = sample.fold_names
    mean = concordance_within_folds(
        rows["time"],
        rows["event"],
        rows["score"],
        fold,
        rows["patient_id"],
        resamples=settings.bootstrap if sample.about.whole else 1,  # of a centre or subgroup no interval is noted
        seed=settings.seed,
        level=settings.level,
    )
    if mean.skipped:
        total = len(mean.used) + len(mean.skipped)
        sample.say(f"{len(mean.skipped)} of {total} folds order no two patients and are skipped: {some(mean.skipped)}")
    judged = rows[fold.isin(mean.used)]
    interval = {"lower": mean.lower, "upper": mean.upper} if sample.about.whole else {}
    sample.metric("c_index", mean.value, judged, method="harrell", **interval)
    within = [uno(one["time"], one["event"], one["score"], as_in="survival").value for _, one in judged.groupby(fold)]
    sample.metric("c_index", float(np.mean(within)), judged, method="uno")


def _by_score(sample: Sample) -> None:
    """Note what a score is worth in a Cox model, whether that holds over time, and the trend along it."""
    patients = sample.patients.assign(score=near_one(sample.patients["score"]))
    score = patients["score"]
    if (far := lone(sample.patients["score"])) is not None:
        sample.say(
            f"a score of {far:g} is so far from all others that beside it their differences vanish: hazard ratio per "
            "SD, trend and proportional hazards rest on this patient alone"
        )
    with sample.telling("per SD: "):
        per_sd = hazard_ratio(patients["time"], patients["event"], score / score.std(), sample.settings.level)
        _note_hazard_ratio(sample, per_sd, "per_sd", patients)
        if not sample.folded:
            _proportional_hazards(sample, patients)
    if not sample.folded:
        with sample.telling("trend: "):
            trend = logrank_trend(patients["time"], patients["event"], score)
            sample.metric("logrank_trend", trend.chi2, p_value=trend.p_value)


def _proportional_hazards(sample: Sample, patients: pd.DataFrame) -> None:
    with sample.telling("schoenfeld: "):
        for method in ("score", "legacy"):
            covariate = patients[["score"]]
            test = schoenfeld(patients["time"], patients["event"], covariate, clock="km", method=method).together
            sample.metric("schoenfeld", test.chi2, p_value=test.p_value, method=method)


def _restricted_means(sample: Sample, groups: dict[str, pd.DataFrame]) -> None:
    """Note restricted means at the horizons, or else up to where the shorter of the risk groups' follow-up ends.

    One beyond follow-up is taken up to its end: ``at`` is then that time, ``horizon`` the one asked for.
    """
    shortest = min(float(members["time"].max()) for members in groups.values() or [sample.patients])
    for asked in sample.horizons or (shortest,):
        for group, members, horizon, mean in _means(sample, groups, asked):
            if horizon.note:
                sample.say(f"rmst{' by risk group' if group else ''}: {horizon.note}")
            tested = sample.folded and group == "high_vs_low"
            interval = {} if tested else _interval(sample, f"rmst{_of(group)} by {horizon.time:g}", mean)
            at = {"at": horizon.time, "horizon": asked}
            sample.metric("rmst", mean.value, members, group=group, **at, **interval)


def _means(
    sample: Sample, groups: dict[str, pd.DataFrame], horizon: float
) -> Iterator[tuple[str, pd.DataFrame, Horizon, Estimate]]:
    """Return the restricted mean of everybody and of the risk groups, which share one horizon where there are two."""
    level = sample.settings.level
    alone = {"": sample.patients} | (groups if len(groups) == 1 else {})
    for group, members in alone.items():
        mean = restricted_mean(members["time"], members["event"], horizon)
        yield group, members, mean.horizon, mean.interval(level)
    if len(groups) == 2:
        both = _grouped(groups)
        contrast = compare_restricted_means(both["time"], both["event"], both["group"] == "high", horizon, level)
        yield "low", groups["low"], contrast.versus.horizon, contrast.versus.interval(level)
        yield "high", groups["high"], contrast.one.horizon, contrast.one.interval(level)
        yield "high_vs_low", both, contrast.one.horizon, contrast.difference


def _grouped(groups: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(groups, names=["group"]).reset_index("group")


def _compare_groups(sample: Sample, grouped: pd.DataFrame) -> None:
    time, event, group = grouped["time"], grouped["event"], grouped["group"]
    with sample.telling():
        test = logrank(time, event, group)
        p_value = {} if sample.folded else {"p_value": test.p_value}
        sample.metric("logrank", test.chi2, grouped, **p_value)
    with sample.telling("high versus low: "):
        ratio = hazard_ratio(time, event, group == "high", sample.settings.level)
        _note_hazard_ratio(sample, ratio, "high_vs_low", grouped)


def _note_hazard_ratio(sample: Sample, ratio: Estimate, group: str, patients: pd.DataFrame) -> None:
    interval = {} if sample.folded else {"lower": ratio.lower, "upper": ratio.upper, "p_value": ratio.p_value}
    sample.metric("hazard_ratio", ratio.value, patients, group=group, method="cox_efron", **interval)


def _interval(sample: Sample, what: str, estimate: Estimate) -> dict[str, float]:
    """Return the bounds and the p-value of an estimate; of one without spread they would mislead."""
    if estimate.lower == estimate.upper:
        sample.say(f"{what}: {estimate.value:.4g} has no spread, so no interval")
        return {}
    return {"lower": estimate.lower, "upper": estimate.upper, "p_value": estimate.p_value}


def _of(group: str) -> str:
    return f" ({group})" if group else ""
