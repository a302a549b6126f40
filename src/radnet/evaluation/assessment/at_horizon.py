"""What a score is worth at a horizon: time-dependent AUC, Brier score, and their integral."""

import pandas as pd

from radnet.evaluation.assessment.discrimination import some
from radnet.evaluation.assessment.sample import Sample
from radnet.evaluation.survival.brier import brier_at_time, integrated_brier
from radnet.evaluation.survival.follow_up import reachable
from radnet.evaluation.survival.time_dependent import ipcw_auc, ipcw_auc_within_folds, km_roc, nne_roc
from radnet.tables import horizon_of


def judge_at_horizons(sample: Sample) -> None:
    """Note ``auc_time``, ``brier_time`` and ``ibs`` at the sample's horizons.

    The AUC is that of the horizon's own probabilities where the table has them, else of the score. A horizon beyond
    follow-up is cut to the last time that can be judged: ``at`` is then that time, ``horizon`` the one asked for.
    """
    horizons = tuple(sorted(set(sample.horizons)))
    for horizon in horizons:
        with sample.telling(f"auc_time at {horizon:g}: "):
            _note_auc(sample, horizon)
        with sample.telling(severity="failed"):
            _note_brier(sample, horizon)
    with sample.telling("ibs: "):
        _note_integrated_brier(sample, horizons)


def _note_auc(sample: Sample, horizon: float) -> None:
    own = _own_column(sample, horizon)
    rows = sample.rows.assign(score=sample.rows[own]).dropna(subset=["score"]) if own else sample.rows
    until = reachable(rows["time"].to_numpy(dtype=float), horizon)
    if until.note:
        sample.say(until.note)
    if not ((rows["event"] == 1) & (rows["time"] <= until.time)).any():
        sample.say(f"an AUC at {until.time:g} needs a patient with the event by then, but there is none")
    elif sample.folded:
        _note_auc_of_folds(sample, rows, horizon, until.time)
    else:
        _note_auc_of_frozen_model(sample, rows, horizon, until.time)


def _note_auc_of_frozen_model(sample: Sample, rows: pd.DataFrame, horizon: float, until: float) -> None:
    given = rows["time"], rows["event"], rows["score"], until
    at = {"at": until, "horizon": horizon}
    with sample.telling("auc_time by ipcw: "):
        auc = ipcw_auc(*given, as_in="timeROC")
        if auc.value in (0.0, 1.0):
            sample.say(f"an AUC at {until:g} of {auc.value:g} has no spread: its interval and p-value mislead")
        interval = auc.interval(sample.settings.level)
        bounds = {"lower": interval.lower, "upper": interval.upper, "p_value": interval.p_value}
        sample.metric("auc_time", auc.value, rows, method="ipcw", **at, **bounds)
    if sample.about.whole:
        with sample.telling("auc_time by nne: "):
            curve = nne_roc(*given, span=0.25 * len(rows) ** -0.2)
            sample.metric("auc_time", curve.area, rows, method="nne", **at)
        with sample.telling("auc_time by km: "):
            sample.metric("auc_time", km_roc(*given).area, rows, method="km", **at)


def _note_auc_of_folds(sample: Sample, rows: pd.DataFrame, horizon: float, until: float) -> None:
    settings = sample.settings
    fold = sample.fold_names.loc[rows.index]
    mean = ipcw_auc_within_folds(
        rows["time"],
        rows["event"],
        rows["score"],
        until,
        fold,
        rows["patient_id"],
        resamples=settings.bootstrap if sample.about.whole else 1,
        seed=settings.seed,
        level=settings.level,
    )
    if sample.about.whole:
        sample.say("auc_time is the mean of the folds' AUCs by ipcw: nne and km are left to frozen models")
    if mean.skipped:
        sample.say(
            f"at {until:g} {len(mean.skipped)} of {len(mean.used) + len(mean.skipped)} folds have nobody with the "
            f"event before, or nobody followed beyond, and are skipped: {some(mean.skipped)}"
        )
    bounds = {"lower": mean.lower, "upper": mean.upper} if sample.about.whole else {}
    judged = rows[fold.isin(mean.used)]
    sample.metric("auc_time", mean.value, judged, method="ipcw", at=until, horizon=horizon, **bounds)


def _note_brier(sample: Sample, horizon: float) -> None:
    patients = sample.probability(horizon)
    if patients is None:
        return
    if sample.folded and sample.about.whole:
        sample.say("brier_time and ibs are of the patients' mean probabilities, those of all folds together")
    with sample.telling(f"brier_time at {horizon:g}: "):
        brier = brier_at_time(patients["time"], patients["event"], patients["probability"], horizon)
        if brier.horizon.note:
            sample.say(brier.horizon.note)
        interval = brier.interval(sample.settings.level)
        at = {"at": brier.horizon.time, "horizon": horizon, "lower": interval.lower, "upper": interval.upper}
        sample.metric("brier_time", brier.value, patients, method="ipcw", **at)


def _note_integrated_brier(sample: Sample, horizons: tuple[float, ...]) -> None:
    own = {horizon: column for horizon in horizons if (column := _own_column(sample, horizon))}
    if len(own) < 2:
        return
    patients = sample.patients.dropna(subset=list(own.values()))
    if patients.empty:
        sample.say(f"ibs: no patient has all of {', '.join(own.values())}")
        return
    score = integrated_brier(patients["time"], patients["event"], patients[list(own.values())], list(own))
    if score.note:
        sample.say(f"ibs: {score.note}")
    interval = score.interval(sample.settings.level)
    bounds = {"lower": interval.lower, "upper": interval.upper}
    sample.metric("ibs", score.value, patients, method="ipcw", at=score.last, horizon=score.last, **bounds)


def _own_column(sample: Sample, horizon: float) -> str:
    """Return the name of the horizon's column of probabilities; empty where the model has none."""
    named = [name for name in sample.rows.columns if horizon_of(name) == horizon and sample.rows[name].notna().any()]
    return named[0] if named else ""
