"""Lesions judged one by one, never without the patients they cluster in."""

import pandas as pd

from radnet.evaluation.assessment.discrimination import resampling, tell_skipped
from radnet.evaluation.assessment.found import About, Found
from radnet.evaluation.assessment.sample import Sample
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.evaluation.discrimination import auc_within_folds

_LESION = ["patient_id", "lesion_id"]


def judge_lesions(lesions: pd.DataFrame, settings: EvaluationSettings, found: Found) -> None:
    """Note the AUC of lesion scores with a patient-clustered interval (``level`` lesion, ``bootstrap_cluster``).

    Patients are drawn with all their lesions, within those who had an event and those who had none. Models of folds
    are worth the mean of the folds' AUCs. Lesions of an endpoint with follow-up are not judged, unless it is judged as
    binary: the time is the patient's, not the lesion's.

    Args:
        lesions: As ``radnet.tables.read_lesion_predictions`` gives them.
        settings: What is asked.
        found: Where numbers and messages go.
    """
    for endpoint, of_endpoint in lesions.groupby("endpoint", sort=False):
        if settings.kind == "survival" or (settings.kind is None and of_endpoint["time"].notna().any()):
            about = About(str(endpoint), "", "", level="lesion")
            found.say(about, "not judged: survival is the patient's; evaluation=binary ignores follow-up")
            continue
        for (model, partition), rows in of_endpoint.groupby(["model", "partition"], sort=False):
            about = About(str(endpoint), str(model), str(partition), level="lesion")
            _judge(Sample(about, rows, folded=False, survival=False, settings=settings, found=found))


def _judge(sample: Sample) -> None:
    known = _with_known_outcome(_of_one_kind(sample))
    rows = known.rows
    if rows.empty:
        sample.say("no lesion has a known outcome and a score", "failed")
    elif len(set(rows["event"])) == 1:
        lesions = rows.drop_duplicates(_LESION)
        with_event = int(lesions["event"].sum())
        sample.say(f"event: both classes are needed: {with_event} of {len(lesions)} had the event", "failed")
    else:
        with sample.telling(severity="failed"):
            _note_auc(known)


def _of_one_kind(sample: Sample) -> Sample:
    """Keep the rows of a frozen model where there are any, as for patients."""
    rows = sample.rows
    of_fold = (rows["fold"] != "") | (rows["repeat"] != "") | (sample.about.partition == "out_of_fold")
    if not of_fold.all() and of_fold.any():
        sample.say(f"{of_fold.sum()} rows of fold models are left aside: a frozen model is there to be judged")
    return sample.among(rows if of_fold.all() else rows[~of_fold])


def _with_known_outcome(sample: Sample) -> Sample:
    rows = sample.rows
    for column, what in {"event": "outcome", "score": "score"}.items():
        if (unknown := rows[column].isna()).any():
            without, lesions = (len(part.drop_duplicates(_LESION)) for part in (rows[unknown], rows))
            sample.say(f"{without} of {lesions} have no known {what} and are left out")
        rows = rows[~unknown]
    return sample.among(rows)


def _note_auc(sample: Sample) -> None:
    rows, fold = sample.rows, sample.fold_names
    auc = auc_within_folds(rows["event"], rows["score"], fold, rows["patient_id"], **resampling(sample))
    tell_skipped(sample, auc)
    judged = rows[fold.isin(auc.used)].drop_duplicates(_LESION)
    sample.metric("auc", auc.value, judged, lower=auc.lower, upper=auc.upper, method="bootstrap_cluster")
