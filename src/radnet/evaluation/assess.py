"""From a prediction table to metrics and curves: every endpoint, model, partition and centre, none in silence."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from radnet.evaluation.assessment.at_horizon import judge_at_horizons
from radnet.evaluation.assessment.calibration import judge_calibration
from radnet.evaluation.assessment.comparison import compare_models
from radnet.evaluation.assessment.cutoffs import judge_cutoff, note_cutoff, with_cutoffs
from radnet.evaluation.assessment.decision import judge_decisions
from radnet.evaluation.assessment.discrimination import judge_discrimination
from radnet.evaluation.assessment.found import CURVE_COLUMNS, About, Found
from radnet.evaluation.assessment.lesions import judge_lesions
from radnet.evaluation.assessment.sample import Sample
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.evaluation.assessment.subgroups import judge_subgroups, with_levels
from radnet.evaluation.assessment.survival import judge_survival, trace_survival
from radnet.tables import METRIC_COLUMNS, PREDICTION_COLUMNS, did_you_mean, horizon_of, stands_aside


@dataclass(frozen=True)
class Assessment:
    """What a prediction table is worth.

    Attributes:
        metrics: One number a row, METRIC_COLUMNS of the contract.
        curves: Points behind the figures, by name: ``roc`` (curves of folds stand beside their vertical mean, whose
            fold is ``mean`` and whose threshold is empty), ``precision_recall``, ``scores`` (the rows judged, a running
            number in place of each patient's id), ``km`` (survival of the risk groups), ``calibration``,
            ``decision``; their columns are ``CURVE_COLUMNS``.
        messages: What was left out or could not be told: endpoint, model, partition, severity (``info``, or
            ``failed`` where a model has no result), message.
    """

    metrics: pd.DataFrame
    curves: Mapping[str, pd.DataFrame]
    messages: list[dict[str, str]]


def assess(predictions: pd.DataFrame, settings: EvaluationSettings, lesions: pd.DataFrame | None = None) -> Assessment:
    """Judge every endpoint × model × partition of a prediction table, as a whole, per centre and per subgroup.

    Controls and ablations are not judged within subgroups: they are there for what they take from the whole.
    Rows with neither fold nor repeat are a frozen model's, except out of fold; all others are models of folds, whose
    values are averaged within folds. Where a partition holds both, the frozen model is judged. A patient is positive,
    or of high risk, when score >= cut-off (> with ``decision_rule`` gt). Where a patient stands in several folds
    (repeats), his calls are averaged for the confusion shares, whose exact interval then takes fractional counts; his
    risk group is the one he is put in by half of his rows or more; his score per SD is the mean of his scores
    standardised within folds, and his probability the mean of his probabilities.

    Args:
        predictions: A table as ``radnet.tables.read_predictions`` returns it.
        settings: What is asked.
        lesions: Lesion scores as ``radnet.tables.read_lesion_predictions`` returns them.

    Raises:
        ValueError: If the table lacks a column. What the patients do not allow is told in ``messages`` instead.
    """
    if missing := [column for column in PREDICTION_COLUMNS if column not in predictions.columns]:
        raise ValueError(
            f"the prediction table lacks {', '.join(missing)}; read it with radnet.tables.read_predictions"
        )
    found = Found()
    _tell_of_unknown_versus(predictions, settings, found)
    followed = predictions.groupby("endpoint", sort=False)["time"].agg(lambda time: time.notna().any())
    mixed = bool(followed.any() and not followed.all())
    samples = [
        sample
        for name, of_endpoint in predictions.groupby("endpoint", sort=False)
        for sample in _assess_endpoint(str(name), of_endpoint, settings, found, mixed)
    ]
    for sample in samples:  # last, for they have the most to tell
        if not stands_aside(sample.about.model):
            judge_subgroups(sample)
    if lesions is not None:
        judge_lesions(lesions, settings, found)
    return Assessment(
        metrics=pd.DataFrame(found.metrics, columns=list(METRIC_COLUMNS)),
        curves={name: found.table(name) for name in CURVE_COLUMNS},
        messages=found.messages,
    )


def _assess_endpoint(
    endpoint: str, rows: pd.DataFrame, settings: EvaluationSettings, found: Found, mixed: bool
) -> list[Sample]:
    """Judge each model and partition as a whole and per centre, compare the models, and return what was judged.

    ``mixed``: the table holds endpoints with follow-up and without.
    """
    with_times = bool(rows["time"].notna().any())
    survival = settings.kind == "survival" or (settings.kind is None and with_times)
    samples: dict[str, dict[str, Sample]] = {}
    judged = with_levels(with_cutoffs(rows, survival and with_times, settings, found, mixed), settings, found)
    for (model, partition), of_partition in judged.groupby(["model", "partition"], sort=False):
        about = About(endpoint, str(model), str(partition))
        one_kind, folded = _one_kind_of_model(of_partition, about, found)
        known = _with_known_outcome(one_kind, survival and with_times, about, found)
        sample = Sample(about, known, folded, survival, settings, found)
        columns = {name: known[name].to_numpy() for name in CURVE_COLUMNS["scores"] if name in known}
        columns["patient"] = pd.factorize(known["patient_id"])[0] + 1
        found.points("scores", about, **{name: columns[name] for name in columns if name not in about.columns})
        if survival and not with_times:
            sample.say("evaluation=survival needs follow-up times, but the endpoint has none", "failed")
        elif known.empty:
            scored = one_kind["score"].notna().any()
            sample.say(f"no patient has a known outcome{'' if scored else ' and a score'}", "failed")
        else:
            sample = sample.among(_with_valid_probabilities(sample))
            _assess_partition(sample)
            samples.setdefault(about.partition, {})[about.model] = sample
    for of_models in samples.values():
        compare_models(of_models, _with_own_versus(settings, rows))
    return [sample for of_models in samples.values() for sample in of_models.values()]


def _with_own_versus(settings: EvaluationSettings, rows: pd.DataFrame) -> EvaluationSettings:
    """Return the settings for an endpoint on which the score of the model to compare with may count the other way."""
    models, negated = set(rows["model"]), f"{settings.versus}_negated"
    return settings if settings.versus in models or negated not in models else replace(settings, versus=negated)


def _tell_of_unknown_versus(predictions: pd.DataFrame, settings: EvaluationSettings, found: Found) -> None:
    models = [str(name) for name in predictions["model"].unique()]
    if settings.versus is not None and settings.versus not in models:
        for endpoint in predictions["endpoint"].unique():
            about = About(str(endpoint), settings.versus, "")
            hint = did_you_mean(settings.versus, models)
            found.say(about, f"versus names a model without predictions; {hint}", "failed")


def _assess_partition(sample: Sample) -> None:
    _tell_of_rows(sample)
    rows = sample.rows
    centres = set(rows["centre"])
    for centre in ["", *(sorted(centres - {""}) if len(centres) > 1 else [])]:
        here = sample.among(rows[rows["centre"] == centre], centre=centre) if centre else sample
        if sample.survival:
            judge_survival(here)
            judge_at_horizons(here)
        else:
            judge_discrimination(here)
            judge_cutoff(here)
        judge_calibration(here)
    note_cutoff(sample)
    judge_decisions(sample)
    if not sample.survival and rows["time"].notna().any():
        sample.say("the event is judged as it stands: how long patients were followed is ignored")
    if sample.survival and (rows["time_unit"] == "").all():
        sample.say("time_unit is empty: times and horizons are taken to be in one unit, whichever it is")
    trace_survival(sample)


def _one_kind_of_model(rows: pd.DataFrame, about: About, found: Found) -> tuple[pd.DataFrame, bool]:
    of_fold = (rows["fold"] != "") | (rows["repeat"] != "") | (about.partition == "out_of_fold")
    if of_fold.all():
        return rows, True
    if of_fold.any():
        found.say(about, f"{of_fold.sum()} rows of fold models are left aside: a frozen model is there to be judged")
    return rows[~of_fold], False


def _with_known_outcome(rows: pd.DataFrame, survival: bool, about: About, found: Found) -> pd.DataFrame:
    needed = {"event": "outcome", "score": "score"} | ({"time": "follow-up time"} if survival else {})
    for column, what in needed.items():
        unknown = rows[column].isna()
        if unknown.any():
            without, all_patients = rows.loc[unknown, "patient_id"].nunique(), rows["patient_id"].nunique()
            found.say(about, f"{without} of {all_patients} patients have no known {what} and are left out")
        rows = rows[~unknown]
    return rows


def _with_valid_probabilities(sample: Sample) -> pd.DataFrame:
    """Return the rows without those columns of probabilities that hold none: told once, for all that needs them."""
    rows = sample.rows
    for column in rows.columns:
        if column == "probability" or not np.isnan(horizon_of(column)):
            wrong = rows[(rows[column] < 0) | (rows[column] > 1)]
            if len(wrong):
                names = wrong["patient_id"].unique()
                sample.say(
                    f"{column} must lie within 0 and 1, got {wrong[column].iloc[0]:g} ({len(names)} patients, such as "
                    f"{', '.join(names[:5])}): what needs it is left out",
                    "failed",
                )
                rows = rows.assign(**{column: np.nan})
    return rows


def _tell_of_rows(sample: Sample) -> None:
    rows = sample.rows
    if len(rows) > 1 and (rows["score"] == rows["score"].iloc[0]).all():
        patients = rows["patient_id"].nunique()
        sample.say(f"score is {rows['score'].iloc[0]:g} for all {patients} patients: it orders none")
    without = rows.loc[rows["cutoff"].isna(), "patient_id"].nunique()
    if without:
        told = "nothing is" if without == rows["patient_id"].nunique() else "they are not"
        sample.say(f"{without} patients have no cut-off: {told} judged at a cut-off")
    if not sample.folded and len(cutoffs := set(rows["cutoff"].dropna())) > 1:
        sample.say(f"a frozen model with {len(cutoffs)} cut-offs: each patient is judged by his own")
    if sample.folded and (sample.fold_names == "").all():
        sample.say("no fold is named: all scores are ranked together")
    if rows["patient_id"].duplicated().any():
        sample.say("patients stand in several folds: their calls are averaged, their risk group is that of most folds")
    if len(centres := set(rows["centre"])) > 1 and "" in centres:
        unnamed = rows.loc[rows["centre"] == "", "patient_id"].nunique()
        sample.say(f"{unnamed} patients name no centre: they are judged in the whole only")
