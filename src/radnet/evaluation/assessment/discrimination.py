"""How well scores tell patients with the event from those without: AUC, average precision, their curves."""

from math import isnan
from typing import TypedDict

import numpy as np
import pandas as pd

from radnet.evaluation.assessment.sample import Sample
from radnet.evaluation.bootstrap import WithinFolds
from radnet.evaluation.discrimination import (
    RocCurve,
    auc_bootstrap,
    auc_within_folds,
    average_precision_bootstrap,
    average_precision_within_folds,
    delong,
    mean_precision,
    mean_tpr,
    roc_curve,
)

_AT_OF_MEAN_CURVE = np.linspace(0, 1, 101)


class Resampling(TypedDict):
    """Arguments of a bootstrap."""

    resamples: int
    seed: int
    level: float


def judge_discrimination(sample: Sample) -> None:
    """Note ``auc`` and ``average_precision`` with their curves.

    A frozen model's AUC has intervals by DeLong and, of all its patients, by the bootstrap. Models of folds are worth
    the mean of the folds' values.
    """
    rows = sample.rows
    if len(set(rows["event"])) == 1:
        patients = rows.drop_duplicates("patient_id")
        with_event = int(patients["event"].sum())
        sample.say(f"event: both classes are needed: {with_event} of {len(patients)} had the event", "failed")
        return
    with sample.telling(severity="failed"):
        if sample.folded:
            _judge_folds(sample)
        else:
            _judge_frozen_model(sample)


def _judge_frozen_model(sample: Sample) -> None:
    event, score = sample.rows["event"], sample.rows["score"]
    estimate = delong(event, score)
    if isnan(estimate.variance):
        sample.say("a class has one patient: the AUC has no DeLong interval")
    elif estimate.auc in (0.0, 1.0):
        sample.say(f"an AUC of {estimate.auc:g} has no DeLong spread: its interval and p-value mislead")
    for method, (lower, upper) in {
        "delong": estimate.interval(sample.settings.level),
        "delong_logit": estimate.logit_interval(sample.settings.level),
    }.items():
        sample.metric("auc", estimate.auc, lower=lower, upper=upper, p_value=estimate.p_value, method=method)
    if sample.about.whole:
        auc = auc_bootstrap(event, score, **resampling(sample))
        sample.metric("auc", auc.value, lower=auc.lower, upper=auc.upper, method="bootstrap")
    precision = average_precision_bootstrap(event, score, **resampling(sample, everywhere=False))
    interval = {"lower": precision.lower, "upper": precision.upper}
    sample.metric("average_precision", precision.value, method="bootstrap", **interval)
    if sample.about.subgroup == "":
        _trace(sample, sample.rows, fold="", repeat="")


def _judge_folds(sample: Sample) -> None:
    rows, fold = sample.rows, sample.fold_names
    given = rows["event"], rows["score"], fold, rows["patient_id"]
    auc = auc_within_folds(*given, **resampling(sample))
    tell_skipped(sample, auc)
    judged = rows[fold.isin(auc.used)]
    sample.metric("auc", auc.value, judged, lower=auc.lower, upper=auc.upper, method="bootstrap")
    precision = average_precision_within_folds(*given, **resampling(sample, everywhere=False))
    interval = {"lower": precision.lower, "upper": precision.upper}
    sample.metric("average_precision", precision.value, judged, method="bootstrap", **interval)
    if sample.about.subgroup:
        return
    curves = [
        _trace(sample, of_fold, fold=name, repeat=repeat)
        for (name, repeat), of_fold in judged.groupby(["fold", "repeat"], sort=False)
    ]
    at, mean = _AT_OF_MEAN_CURVE, {"fold": "mean", "repeat": ""}
    sample.found.points("roc", sample.about, fpr=at, tpr=mean_tpr(curves, at), **mean)
    precision_of_mean = mean_precision(curves, at)
    sample.found.points("precision_recall", sample.about, recall=at, precision=precision_of_mean, **mean)


def _trace(sample: Sample, rows: pd.DataFrame, **fold: str) -> RocCurve:
    """Keep the ROC and the precision-recall curve of rows whose scores may be ranked together."""
    curve = roc_curve(rows["event"], rows["score"])
    at = {"threshold": curve.threshold} | fold
    sample.found.points("roc", sample.about, fpr=curve.fpr, tpr=curve.tpr, **at)
    sample.found.points("precision_recall", sample.about, recall=curve.tpr, precision=curve.precision, **at)
    return curve


def tell_skipped(sample: Sample, mean: WithinFolds) -> None:
    """Tell which folds have one class."""
    if mean.skipped:
        total = len(mean.used) + len(mean.skipped)
        sample.say(f"{len(mean.skipped)} of {total} folds have one class and are skipped: {some(mean.skipped)}")


def resampling(sample: Sample, everywhere: bool = True) -> Resampling:
    """Return how the settings ask to resample; unless everywhere, a centre or a subgroup gets no interval."""
    settings = sample.settings
    resamples = settings.bootstrap if everywhere or sample.about.whole else 0
    return {"resamples": resamples, "seed": settings.seed, "level": settings.level}


def some(names: tuple[str, ...]) -> str:
    """Join the first ten names."""
    return ", ".join(names[:10]) + (" …" if len(names) > 10 else "")
