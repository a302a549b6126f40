"""Cut-offs: those a table carries, or fitted anew where that is asked and honest, and what they are worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan

import numpy as np
import pandas as pd

from radnet.evaluation.assessment.found import About, Found
from radnet.evaluation.assessment.sample import Sample
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.evaluation.confusion import clopper_pearson, confusion, likelihood_ratios, wilson
from radnet.evaluation.cutoff import Cutoff, fixed, max_sensitivity, median, time_youden, youden
from radnet.evaluation.survival.maxstat import maxstat
from radnet.evaluation.survival.time_dependent import nne_roc
from radnet.tables import horizon_of

_BY_CLASS, _BY_FOLLOW_UP = ("youden", "max_sensitivity"), ("maxstat", "time_youden")


@dataclass(frozen=True, slots=True)
class _Fitted:
    value: float
    p_value: float = nan
    horizon: float = nan
    note: str = ""


def with_cutoffs(
    rows: pd.DataFrame, survival: bool, settings: EvaluationSettings, found: Found, mixed: bool = False
) -> pd.DataFrame:
    """Return one endpoint's rows with the cut-offs they shall be judged by.

    A table carries cut-offs without their rule; as the model's own they were ``fixed`` before it saw these patients. A
    rule that is asked for instead is fitted for each model on its out-of-fold scores, else on its apparent ones, and
    applied in every partition; a patient counts once, with the mean of his scores where he has several. With
    ``allow_refit_cutoff`` each partition has its own, fitted on the patients it judges. Patients whose outcome is not
    known never help to fit. Where no cut-off can be had it is empty, and the reason is told.

    Args:
        rows: All models and partitions of an endpoint.
        survival: Whether follow-up counts.
        settings: What is asked.
        found: Where messages go.
        mixed: Whether the table holds endpoints with follow-up and without: a rule for the one kind then leaves the
            other its frozen cut-offs.

    Returns:
        The rows with ``cutoff``, and of each ``cutoff_rule``, ``cutoff_p_value`` (of ``maxstat``, adjusted for the
        cut-offs tried, in the partition it was fitted on) and ``cutoff_horizon`` (of ``time_youden``).
    """
    rows = rows.reset_index(drop=True).assign(cutoff_rule="fixed", cutoff_p_value=nan, cutoff_horizon=nan)
    rule = settings.cutoff
    if rule == "frozen":
        return rows
    if mixed and rule in (_BY_CLASS if survival else _BY_FOLLOW_UP):
        kind = "without" if survival else "with"
        endpoint = About(str(rows["endpoint"].iloc[0]), "", "")
        found.say(endpoint, f"cutoff={rule} is for endpoints {kind} follow-up: this one keeps its frozen cut-offs")
        return rows
    rows["cutoff"], rows["cutoff_rule"] = nan, rule
    if settings.cutoff_value is not None:
        return rows.assign(cutoff=fixed(settings.cutoff_value).value)
    for model, of_model in rows.groupby("model", sort=False):
        about = About(str(rows["endpoint"].iloc[0]), str(model), "")
        if refused := _refusal(of_model, survival, settings):
            found.say(about, f"cutoff={rule} {refused}", "failed")
            continue
        for learned, judged in _fits(of_model, settings):
            source = learned["partition"].iloc[0]
            about = replace(about, partition=source if settings.allow_refit_cutoff else "")
            with found.telling(about, "failed", f"cutoff={rule} on {source} scores: "):
                patients = _patients(learned, survival)
                fitted = _fitted(patients, settings, _horizons(learned, settings))
                rows.loc[judged.index, ["cutoff", "cutoff_horizon"]] = fitted.value, fitted.horizon
                rows.loc[learned.index, "cutoff_p_value"] = fitted.p_value
                found.say(about, _told(rule, source, len(patients), settings) + fitted.note)
    return rows


def _refusal(of_model: pd.DataFrame, survival: bool, settings: EvaluationSettings) -> str:
    if settings.cutoff in _BY_FOLLOW_UP and not survival:
        return "needs follow-up times, but the endpoint is judged without: take youden, max_sensitivity or median"
    if settings.cutoff in _BY_CLASS and survival:
        return "ignores how long patients were followed: take maxstat, time_youden or median, or evaluation=binary"
    if not settings.allow_refit_cutoff and set(of_model["partition"]) == {"held_out"}:
        return (
            "needs scores of training patients, but the table has held_out rows only: nothing is judged at a cut-off. "
            "Add the model's out_of_fold rows, or allow_refit_cutoff=true to fit it on the very patients it judges"
        )
    return ""


def _fits(of_model: pd.DataFrame, settings: EvaluationSettings) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Return the rows to fit each cut-off on, with the rows to judge by it."""
    by_partition = {str(name): rows for name, rows in of_model.groupby("partition", sort=False)}
    if settings.allow_refit_cutoff:
        return [(rows, rows) for rows in by_partition.values()]
    return [(by_partition["out_of_fold" if "out_of_fold" in by_partition else "apparent"], of_model)]


def _told(rule: str, source: str, n: int, settings: EvaluationSettings) -> str:
    if settings.allow_refit_cutoff:
        return f"cut-off refitted by {rule} on the very patients it judges ({n}): what is judged at it is optimistic"
    from_whom = f"cut-off fitted by {rule} on the {source} scores of {n} patients"
    if source == "apparent":
        return f"{from_whom}, from whom the model learned: it may be far off for others"
    return f"{from_whom}: what is judged at it among these is optimistic"


def _patients(rows: pd.DataFrame, survival: bool) -> pd.DataFrame:
    """Return event, time and mean score of each patient whose outcome is known, of the frozen model if there is one."""
    known = rows.dropna(subset=["event", "score", *(["time"] if survival else [])])
    frozen = (known["fold"] == "") & (known["repeat"] == "") & (known["partition"] != "out_of_fold")
    if frozen.any():
        known = known[frozen]
    patients = known.groupby("patient_id", sort=False).agg({"event": "first", "time": "first", "score": "mean"})
    if patients.empty:
        raise ValueError("no patient has a known outcome")
    return patients


def _horizons(rows: pd.DataFrame, settings: EvaluationSettings) -> Sequence[float]:
    return settings.horizons or sorted(horizon_of(name) for name in rows if horizon_of(name) > 0)


def _fitted(patients: pd.DataFrame, settings: EvaluationSettings, horizons: Sequence[float]) -> _Fitted:
    event, score, time = (patients[name].to_numpy(dtype=float) for name in ("event", "score", "time"))

    def at(cutoff: Cutoff, highest_low: float = nan) -> float:
        """Return a cut-off that by the decision rule calls those at or above the one found, by ``gt`` R's own."""
        if settings.decision_rule == "ge" or cutoff.rule == "median":
            return cutoff.value
        if isfinite(highest_low):
            return highest_low
        return float(np.nextafter(cutoff.value, -np.inf)) if cutoff.value in score else cutoff.value

    if settings.cutoff == "youden":
        return _Fitted(at(youden(event, score)))
    if settings.cutoff == "max_sensitivity":
        return _Fitted(at(max_sensitivity(event, score, settings.min_specificity)))
    if settings.cutoff == "median":
        return _Fitted(at(median(score)))
    if settings.cutoff == "maxstat":
        selected = maxstat(time, event, score, settings.minprop)
        return _Fitted(at(selected.cutoff, selected.highest_low_chosen), p_value=min(1.0, selected.p_lausen94))
    if not horizons:
        raise ValueError("needs a time: give evaluation.horizons=[…], in the endpoint's unit")
    curve = nne_roc(time, event, score, horizons[0], span=0.25 * score.size**-0.2)
    note = f"; {curve.horizon.note}" if curve.horizon.note else ""
    return _Fitted(at(time_youden(curve), curve.youden[0]), horizon=horizons[0], note=note)


def note_cutoff(sample: Sample) -> None:
    """Note ``cutoff``: the one of a frozen model, or the one fitted anew."""
    with_one = sample.rows.dropna(subset=["cutoff"])
    if sample.folded and sample.settings.cutoff == "frozen":
        return
    if len(cutoffs := set(with_one["cutoff"])) == 1:
        rule, p_value, horizon = with_one[["cutoff_rule", "cutoff_p_value", "cutoff_horizon"]].iloc[0]
        sample.metric("cutoff", cutoffs.pop(), with_one, method=rule, p_value=p_value, horizon=horizon)


def judge_cutoff(sample: Sample) -> None:
    """Note what the cut-offs are worth: sensitivity, specificity, predictive values, accuracy, likelihood ratios."""
    rows = sample.rows.dropna(subset=["cutoff"])
    if rows.empty:
        return
    sample = sample.among(rows)
    cutoffs = rows["cutoff"].unique()
    at = float(cutoffs[0]) if len(cutoffs) == 1 else nan
    rows_of_patient = rows.groupby("patient_id")["score"].transform("size")
    counts = confusion(rows["event"], sample.high, 1 / rows_of_patient)
    level = sample.settings.level
    for name, share in counts.shares.items():
        for method, interval in {"clopper_pearson": clopper_pearson, "wilson": wilson}.items():
            lower, upper = interval(share, level)
            sample.metric(name, share.value, at=at, lower=lower, upper=upper, method=method)
    for name, ratio in likelihood_ratios(counts, level).items():
        sample.metric(name, ratio.value, at=at, lower=ratio.lower, upper=ratio.upper, method="simel")
