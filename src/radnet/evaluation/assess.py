"""From a prediction table to metrics and curves: every endpoint, model, partition and centre, none in silence."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isnan, nan
from typing import Literal

import numpy as np
import pandas as pd

from radnet.evaluation.confusion import clopper_pearson, confusion, wilson
from radnet.evaluation.discrimination import (
    Estimate,
    RocCurve,
    auc_within_folds,
    compare_paired,
    delong,
    mean_tpr,
    roc_curve,
)
from radnet.evaluation.survival.concordance import concordance_within_folds
from radnet.evaluation.survival.kaplan_meier import kaplan_meier
from radnet.evaluation.survival.logrank import logrank
from radnet.evaluation.survival.proportional_hazards import hazard_ratio
from radnet.tables import METRIC_COLUMNS, PREDICTION_COLUMNS

ROC_COLUMNS = ("endpoint", "model", "partition", "centre", "fold", "repeat", "threshold", "fpr", "tpr")
SCORE_COLUMNS = ("endpoint", "model", "partition", "centre", "fold", "repeat", "event", "score", "cutoff")
KM_COLUMNS = (
    "endpoint",
    "model",
    "partition",
    "group",
    "time",
    "survival",
    "lower",
    "upper",
    "at_risk",
    "events",
    "censored",
    "time_unit",
)
_FPR_OF_MEAN_CURVE = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class EvaluationSettings:
    """What is asked of a prediction table.

    Attributes:
        kind: ``binary`` or ``survival``; None lets each endpoint decide: one with times is survival.
        bootstrap: Bootstrap resamples of patients.
        seed: Seed of the bootstrap; every model meets the same draws.
        level: Coverage of every interval.
        versus: Model the others are compared with; None compares every pair.
    """

    kind: Literal["binary", "survival"] | None = None
    bootstrap: int = 2000
    seed: int = 7
    level: float = 0.95
    versus: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in (None, "binary", "survival"):
            raise ValueError(f"evaluation must be binary or survival, got {self.kind!r}")
        if self.bootstrap < 1:
            raise ValueError(f"bootstrap must be at least 1 resample, got {self.bootstrap}")
        if not 0 < self.level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {self.level}")


@dataclass(frozen=True)
class Assessment:
    """What a prediction table is worth.

    Attributes:
        metrics: One number a row, METRIC_COLUMNS of the contract.
        roc: Points of ROC curves, ROC_COLUMNS. Curves of folds stand beside their vertical mean, whose fold is
            ``mean`` and whose threshold is empty.
        scores: The rows judged, without patient ids, SCORE_COLUMNS.
        km: Survival of the risk groups, KM_COLUMNS.
        messages: What was left out or could not be told: endpoint, model, partition, severity (``info``, or
            ``failed`` where a whole partition has no result), message.
    """

    metrics: pd.DataFrame
    roc: pd.DataFrame
    scores: pd.DataFrame
    km: pd.DataFrame
    messages: list[dict[str, str]]


def assess(predictions: pd.DataFrame, settings: EvaluationSettings) -> Assessment:
    """Judge every endpoint × model × partition of a prediction table, as a whole and per centre.

    Rows with neither fold nor repeat are a frozen model's, except out of fold; all others are models of folds, whose
    values are averaged within folds. Where a partition holds both, the frozen model is judged. A patient is positive,
    or of high risk, when score >= cut-off. Where a patient stands in several folds (repeats), his calls are averaged
    for the confusion shares, whose exact interval then takes fractional counts; his risk group is the one he is put
    in by half of his rows or more; his score per SD is the mean of his scores standardised within folds.

    Args:
        predictions: A table as ``radnet.tables.read_predictions`` returns it.
        settings: What is asked.

    Raises:
        ValueError: If the table lacks a column. What the patients do not allow is told in ``messages`` instead.
    """
    if missing := [column for column in PREDICTION_COLUMNS if column not in predictions.columns]:
        raise ValueError(
            f"the prediction table lacks {', '.join(missing)}; read it with radnet.tables.read_predictions"
        )
    found = _Found()
    for endpoint, of_endpoint in predictions.groupby("endpoint", sort=False):
        with_times = bool(of_endpoint["time"].notna().any())
        survival = settings.kind == "survival" or (settings.kind is None and with_times)
        frozen: dict[str, dict[str, pd.DataFrame]] = {}
        for (model, partition), rows in of_endpoint.groupby(["model", "partition"], sort=False):
            about = _About(str(endpoint), str(model), str(partition))
            rows, folded = _one_kind_of_model(rows, about, found)
            rows = _with_known_outcome(rows, survival and with_times, about, found)
            found.scores.append(rows)
            if survival and not with_times:
                found.say(about, "evaluation=survival needs follow-up times, but the endpoint has none", "failed")
            elif rows.empty:
                found.say(about, "no patient has a known outcome", "failed")
            else:
                _assess_partition(rows, folded, survival, about, settings, found)
            if not folded and not survival:
                frozen.setdefault(about.partition, {})[about.model] = rows
            elif settings.versus not in (None, about.model):
                found.say(about, f"not compared with {settings.versus}: DeLong compares AUCs of frozen models")
        if settings.versus is not None and settings.versus not in set(of_endpoint["model"]):
            found.say(_About(str(endpoint), settings.versus, ""), "versus names a model without predictions", "failed")
        for partition, models in frozen.items():
            _compare(models, str(endpoint), partition, settings, found)
    return Assessment(
        metrics=pd.DataFrame(found.metrics, columns=list(METRIC_COLUMNS)),
        roc=_frame(found.roc, ROC_COLUMNS),
        scores=_frame(found.scores, SCORE_COLUMNS),
        km=_frame(found.km, KM_COLUMNS),
        messages=found.messages,
    )


@dataclass(frozen=True, slots=True)
class _About:
    endpoint: str
    model: str
    partition: str
    centre: str = ""

    @property
    def columns(self) -> dict[str, str]:
        return {"endpoint": self.endpoint, "model": self.model, "partition": self.partition}


@dataclass(frozen=True, slots=True)
class _Found:
    metrics: list[dict[str, object]] = field(default_factory=list)
    roc: list[pd.DataFrame] = field(default_factory=list)
    scores: list[pd.DataFrame] = field(default_factory=list)
    km: list[pd.DataFrame] = field(default_factory=list)
    messages: list[dict[str, str]] = field(default_factory=list)

    def metric(self, about: _About, rows: pd.DataFrame, metric: str, estimate: float, **columns: object) -> None:
        """Note a number and the patients behind it; columns not given stay empty."""
        patients = rows.drop_duplicates("patient_id")
        row: dict[str, object] = dict.fromkeys(METRIC_COLUMNS, nan) | dict.fromkeys(
            ("versus", "subgroup", "group", "method"), ""
        )
        row |= about.columns | {"centre": about.centre, "level": "patient", "metric": metric, "estimate": estimate}
        self.metrics.append(row | {"n": len(patients), "n_event": int(patients["event"].sum())} | columns)

    def say(self, about: _About, message: str, severity: str = "info") -> None:
        """Tell what was left out; what one centre does not allow is no failure of the partition."""
        at, severity = (f"centre {about.centre}: ", "info") if about.centre else ("", severity)
        self.messages.append(about.columns | {"severity": severity, "message": f"{at}{message}"})

    @contextmanager
    def telling(self, about: _About, severity: str = "info", what: str = "") -> Iterator[None]:
        """Tell, and go on, when the patients do not allow a number."""
        try:
            yield
        except ValueError as error:
            self.say(about, f"{what}{error}", severity)


def _one_kind_of_model(rows: pd.DataFrame, about: _About, found: _Found) -> tuple[pd.DataFrame, bool]:
    of_fold = (rows["fold"] != "") | (rows["repeat"] != "") | (about.partition == "out_of_fold")
    if of_fold.all():
        return rows, True
    if of_fold.any():
        found.say(about, f"{of_fold.sum()} rows of fold models are left aside: a frozen model is there to be judged")
    return rows[~of_fold], False


def _with_known_outcome(rows: pd.DataFrame, survival: bool, about: _About, found: _Found) -> pd.DataFrame:
    needed = {"event": "outcome", "score": "score"} | ({"time": "follow-up time"} if survival else {})
    for column, what in needed.items():
        unknown = rows[column].isna()
        if unknown.any():
            without, all_patients = rows.loc[unknown, "patient_id"].nunique(), rows["patient_id"].nunique()
            found.say(about, f"{without} of {all_patients} patients have no known {what} and are left out")
        rows = rows[~unknown]
    return rows


def _assess_partition(
    rows: pd.DataFrame, folded: bool, survival: bool, about: _About, settings: EvaluationSettings, found: _Found
) -> None:
    _tell_of_rows(rows, folded, about, found)
    centres = set(rows["centre"])
    for centre in ["", *(sorted(centres - {""}) if len(centres) > 1 else [])]:
        here = rows[rows["centre"] == centre] if centre else rows
        where = _About(about.endpoint, about.model, about.partition, centre)
        if survival:
            _judge_survival(here, folded, where, settings, found)
        else:
            _judge_discrimination(here, folded, where, settings, found)
            _judge_cutoff(here, where, settings, found)
    if not folded and len(cutoffs := set(rows["cutoff"].dropna())) == 1:
        # The table carries a number without its rule; as the model's own it was fixed before these patients were seen.
        found.metric(about, rows.dropna(subset=["cutoff"]), "cutoff", cutoffs.pop(), method="fixed")
    followed = rows.dropna(subset=["time"])
    if not survival and not followed.empty:
        found.say(about, "the event is judged as it stands: how long patients were followed is ignored")
    unit = "" if followed.empty else followed["time_unit"].iloc[0]
    for group, patients in _risk_groups(followed, folded).items():
        curve = kaplan_meier(patients["time"], patients["event"], settings.level)
        columns = {column: getattr(curve, column) for column in KM_COLUMNS if hasattr(curve, column)}
        found.km.append(pd.DataFrame(about.columns | {"group": group} | columns | {"time_unit": unit}))


def _tell_of_rows(rows: pd.DataFrame, folded: bool, about: _About, found: _Found) -> None:
    without = rows.loc[rows["cutoff"].isna(), "patient_id"].nunique()
    if without:
        told = "nothing is" if without == rows["patient_id"].nunique() else "they are not"
        found.say(about, f"{without} patients have no cut-off: {told} judged at a cut-off")
    if not folded and len(cutoffs := set(rows["cutoff"].dropna())) > 1:
        found.say(about, f"a frozen model with {len(cutoffs)} cut-offs: each patient is judged by his own")
    if folded and (_fold_names(rows) == "").all():
        found.say(about, "no fold is named: all scores are ranked together")
    if rows["patient_id"].duplicated().any():
        found.say(
            about, "patients stand in several folds: their calls are averaged, their risk group is that of most folds"
        )
    if len(centres := set(rows["centre"])) > 1 and "" in centres:
        unnamed = rows.loc[rows["centre"] == "", "patient_id"].nunique()
        found.say(about, f"{unnamed} patients name no centre: they are judged in the whole only")


def _judge_discrimination(
    rows: pd.DataFrame, folded: bool, about: _About, settings: EvaluationSettings, found: _Found
) -> None:
    patients = rows.drop_duplicates("patient_id")
    if len(set(patients["event"])) == 1:
        found.say(
            about, f"needs both classes: {int(patients['event'].sum())} of {len(patients)} had the event", "failed"
        )
        return
    with found.telling(about, "failed"):
        if folded:
            _auc_of_folds(rows, about, settings, found)
        else:
            _auc_of_frozen_model(rows, about, settings, found)


def _auc_of_frozen_model(rows: pd.DataFrame, about: _About, settings: EvaluationSettings, found: _Found) -> None:
    estimate = delong(rows["event"], rows["score"])
    if isnan(estimate.variance):
        found.say(about, "a class has one patient: the AUC has no DeLong interval")
    elif estimate.auc in (0.0, 1.0):
        found.say(about, f"an AUC of {estimate.auc:g} has no DeLong spread: its interval and p-value mislead")
    for method, (lower, upper) in {
        "delong": estimate.interval(settings.level),
        "delong_logit": estimate.logit_interval(settings.level),
    }.items():
        found.metric(
            about, rows, "auc", estimate.auc, lower=lower, upper=upper, p_value=estimate.p_value, method=method
        )
    found.roc.append(_points(roc_curve(rows["event"], rows["score"]), about))


def _auc_of_folds(rows: pd.DataFrame, about: _About, settings: EvaluationSettings, found: _Found) -> None:
    fold = _fold_names(rows)
    mean = auc_within_folds(
        rows["event"],
        rows["score"],
        fold,
        rows["patient_id"],
        resamples=settings.bootstrap,
        seed=settings.seed,
        level=settings.level,
    )
    if mean.skipped:
        total = len(mean.used) + len(mean.skipped)
        found.say(about, f"{len(mean.skipped)} of {total} folds have one class and are skipped: {_some(mean.skipped)}")
    judged = rows[fold.isin(mean.used)]
    found.metric(about, judged, "auc", mean.value, lower=mean.lower, upper=mean.upper, method="bootstrap")
    curves = []
    for (name, repeat), of_fold in judged.groupby(["fold", "repeat"], sort=False):
        curves.append(roc_curve(of_fold["event"], of_fold["score"]))
        found.roc.append(_points(curves[-1], about, str(name), str(repeat)))
    tpr = mean_tpr(curves, _FPR_OF_MEAN_CURVE)
    mean_curve = {"centre": about.centre, "fold": "mean", "repeat": "", "threshold": nan}
    found.roc.append(pd.DataFrame(about.columns | mean_curve | {"fpr": _FPR_OF_MEAN_CURVE, "tpr": tpr}))


def _judge_cutoff(rows: pd.DataFrame, about: _About, settings: EvaluationSettings, found: _Found) -> None:
    rows = rows.dropna(subset=["cutoff"])
    if rows.empty:
        return
    cutoffs = rows["cutoff"].unique()
    at = float(cutoffs[0]) if len(cutoffs) == 1 else nan
    rows_of_patient = rows.groupby("patient_id")["score"].transform("size")
    counts = confusion(rows["event"], rows["score"] >= rows["cutoff"], 1 / rows_of_patient)
    for name, share in counts.shares.items():
        for method, interval in {"clopper_pearson": clopper_pearson, "wilson": wilson}.items():
            lower, upper = interval(share, settings.level)
            found.metric(about, rows, name, share.value, at=at, lower=lower, upper=upper, method=method)


def _judge_survival(
    rows: pd.DataFrame, folded: bool, about: _About, settings: EvaluationSettings, found: _Found
) -> None:
    patients = _one_row_each(rows, folded)
    if not patients["event"].any():
        found.say(about, f"needs an event: 0 of {len(patients)} had it", "failed")
        return
    with found.telling(about, "failed"):
        _c_index(rows, about, settings, found)
    with found.telling(about, what="per SD: "):
        spread = patients["score"].std()
        per_sd = patients["score"] / spread if spread > 0 else patients["score"]
        ratio = hazard_ratio(patients["time"], patients["event"], per_sd, settings.level)
        _note_hazard_ratio(ratio, "per_sd", patients, about, found)
    groups = _risk_groups(rows, folded)
    for group, members in groups.items():
        median = kaplan_meier(members["time"], members["event"], settings.level).median
        found.metric(about, members, "km_median", median.value, lower=median.lower, upper=median.upper, group=group)
    if len(groups) == 1:
        found.say(about, f"every patient is of {next(iter(groups))} risk: the groups cannot be compared")
    elif groups:
        grouped = pd.concat(groups, names=["group"]).reset_index("group")
        with found.telling(about):
            test = logrank(grouped["time"], grouped["event"], grouped["group"])
            found.metric(about, grouped, "logrank", test.chi2, p_value=test.p_value)
        with found.telling(about, what="high versus low: "):
            ratio = hazard_ratio(grouped["time"], grouped["event"], grouped["group"] == "high", settings.level)
            _note_hazard_ratio(ratio, "high_vs_low", grouped, about, found)


def _c_index(rows: pd.DataFrame, about: _About, settings: EvaluationSettings, found: _Found) -> None:
    fold = _fold_names(rows)
    mean = concordance_within_folds(
        rows["time"],
        rows["event"],
        rows["score"],
        fold,
        rows["patient_id"],
        resamples=settings.bootstrap,
        seed=settings.seed,
        level=settings.level,
    )
    if mean.skipped:
        total = len(mean.used) + len(mean.skipped)
        found.say(
            about, f"{len(mean.skipped)} of {total} folds order no two patients and are skipped: {_some(mean.skipped)}"
        )
    judged = rows[fold.isin(mean.used)]
    found.metric(about, judged, "c_index", mean.value, lower=mean.lower, upper=mean.upper, method="harrell")


def _note_hazard_ratio(ratio: Estimate, group: str, patients: pd.DataFrame, about: _About, found: _Found) -> None:
    columns = {"lower": ratio.lower, "upper": ratio.upper, "p_value": ratio.p_value}
    found.metric(about, patients, "hazard_ratio", ratio.value, group=group, method="cox_efron", **columns)


def _compare(
    models: dict[str, pd.DataFrame], endpoint: str, partition: str, settings: EvaluationSettings, found: _Found
) -> None:
    names = list(models)
    pairs = [(name, versus) for place, name in enumerate(names) for versus in names[place + 1 :]]
    if settings.versus is not None:
        pairs = [(name, settings.versus) for name in names if settings.versus in models and name != settings.versus]
        for name in names if settings.versus not in models else []:
            found.say(_About(endpoint, name, partition), f"{settings.versus} has no frozen model to compare with here")
    for name, versus in pairs:
        about = _About(endpoint, name, partition)
        one, other = models[name], models[versus]
        both = one.merge(other[["patient_id", "event", "score"]], on="patient_id", suffixes=("", "_versus"))
        if len(both) < max(len(one), len(other)):
            found.say(
                about, f"compared with {versus} on the {len(both)} patients both judge, of {len(one)} and {len(other)}"
            )
        if (both["event"] != both["event_versus"]).any():
            found.say(about, f"cannot be compared with {versus}: the two disagree on who had the event", "failed")
        elif len(set(both["event"])) < 2:
            found.say(about, f"cannot be compared with {versus}: they share one outcome")
        else:
            test = compare_paired(both["event"], both["score"], both["score_versus"], settings.level)
            columns = {"lower": test.lower, "upper": test.upper, "p_value": test.p_value}
            found.metric(
                about, both, "auc_difference", test.difference, versus=versus, method="delong_paired", **columns
            )


def _one_row_each(rows: pd.DataFrame, folded: bool) -> pd.DataFrame:
    """Return one row per patient: outcome, mean score, and the share of his rows that call him high."""
    score = rows["score"]
    if folded:
        of_fold = score.groupby([rows["fold"], rows["repeat"]])
        spread = of_fold.transform("std")
        score = ((score - of_fold.transform("mean")) / spread.where(spread > 0)).fillna(0.0)
    high = (rows["score"] >= rows["cutoff"]).astype(float).where(rows["cutoff"].notna())
    return (
        rows.assign(score=score, high=high)
        .groupby("patient_id", sort=False)
        .agg({"event": "first", "time": "first", "score": "mean", "high": "mean"})
        .reset_index()
    )


def _risk_groups(rows: pd.DataFrame, folded: bool) -> dict[str, pd.DataFrame]:
    patients = _one_row_each(rows, folded)
    groups = {"low": patients[patients["high"] < 0.5], "high": patients[patients["high"] >= 0.5]}
    return {name: members for name, members in groups.items() if not members.empty}


def _fold_names(rows: pd.DataFrame) -> pd.Series:
    repeat = rows["repeat"].where(rows["repeat"] == "", " of repeat " + rows["repeat"])
    return rows["fold"] + repeat


def _points(curve: RocCurve, about: _About, fold: str = "", repeat: str = "") -> pd.DataFrame:
    where = about.columns | {"centre": about.centre, "fold": fold, "repeat": repeat}
    return pd.DataFrame(where | {"threshold": curve.threshold, "fpr": curve.fpr, "tpr": curve.tpr})


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (" …" if len(names) > 10 else "")


def _frame(parts: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    parts = [part for part in parts if not part.empty]
    if not parts:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(parts, ignore_index=True)[list(columns)]
