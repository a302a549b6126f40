"""Whether a model works in every subgroup alike, by its one frozen cut-off."""

from math import nan

import pandas as pd

from radnet.evaluation.assessment.cutoffs import judge_cutoff
from radnet.evaluation.assessment.discrimination import resampling, tell_skipped
from radnet.evaluation.assessment.found import About, Found
from radnet.evaluation.assessment.sample import Sample
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.evaluation.assessment.survival import compare_levels, judge_survival
from radnet.evaluation.discrimination import auc_within_folds, average_precision_within_folds
from radnet.evaluation.regression.design import level_names
from radnet.evaluation.subgroup import MISSING, interaction, interaction_cox, subgroup_auc
from radnet.tables import MISSING as EMPTY_CELLS
from radnet.tables import PREDICTION_COLUMNS, horizon_of

_LEVEL_OF = "level of "
_MOST_LEVELS_OF_NUMBERS = 10
_AT_LEAST = 10  # patients of each class, for an interval


def with_levels(rows: pd.DataFrame, settings: EvaluationSettings, found: Found) -> pd.DataFrame:
    """Return one endpoint's rows with each patient's level of every subgroup column, as ``judge_subgroups`` needs them.

    A level has one name however the table was stored: 1 where a .csv says 1 or 1.0 and a .parquet the number. Patients
    without a value are of the level ``missing``. Columns that cannot be judged by are told and left out.
    """
    for column in settings.subgroups or ():
        about = About(str(rows["endpoint"].iloc[0]), "", "")
        with found.telling(about, "failed", f"subgroups: {column} "):
            if column in PREDICTION_COLUMNS and column != "centre":
                raise ValueError("has a meaning of its own in a prediction table: patients are not judged within it")
            if column not in rows.columns:
                raise ValueError(f"is no column of the table; {_other_columns(rows)}")
            rows = rows.assign(**{_LEVEL_OF + column: _levels(rows[column], rows["patient_id"])})
    return rows


def _other_columns(rows: pd.DataFrame) -> str:
    own = (*PREDICTION_COLUMNS, "cutoff_rule", "cutoff_p_value", "cutoff_horizon")
    others = [
        str(name)
        for name in rows.columns
        if name not in own and not str(name).startswith(_LEVEL_OF) and not horizon_of(str(name)) > 0
    ]
    return f"besides centre it has {', '.join(others)}" if others else "besides centre it has none to judge within"


def _levels(values: pd.Series, patient: pd.Series) -> pd.Categorical:
    text = values.astype(object).where(values.notna(), "").map(str).str.strip()
    known = text.where(~text.isin(EMPTY_CELLS))
    numbers = pd.to_numeric(known, errors="coerce").astype(float)
    if numbers.notna().equals(known.notna()):
        if numbers.nunique() > _MOST_LEVELS_OF_NUMBERS:
            raise ValueError(
                f"holds numbers with more than {_MOST_LEVELS_OF_NUMBERS} levels: cut it into groups first, as a column "
                "of the table"
            )
        known = numbers
    levels = [str(name) for name in level_names(pd.Series(known.dropna().sort_values().unique()))]
    if MISSING in levels:
        raise ValueError(f"has a level called {MISSING!r}, the name of the patients without a value: rename it")
    names = level_names(known)
    of_patient = names.groupby(patient)
    if (several := of_patient.nunique()[lambda count: count > 1]).size:
        raise ValueError(f"differs between rows of the same patient: {', '.join(map(str, several.index[:5]))}")
    return pd.Categorical(of_patient.transform("first").fillna(MISSING), [*levels, MISSING])


def judge_subgroups(sample: Sample) -> None:
    """Judge each level of each subgroup column by itself, and test whether the score works in them alike.

    The levels of a column hold every patient once, those without a value as ``missing``, so that counts at the one
    cut-off add up to those of all patients.
    """
    for column in [name for name in sample.settings.subgroups or () if _LEVEL_OF + name in sample.rows]:
        level = sample.rows[_LEVEL_OF + column]
        if (level == MISSING).all():
            sample.say(f"no patient has a value of {column}: its subgroups are not judged")
            continue
        for name in level.cat.categories:
            part = sample.among(sample.rows[level == name], subgroup=f"{column}={name}")
            if not part.rows.empty:
                _judge_level(part)
            elif name != MISSING:
                part.say("no patient of this subgroup is judged here")
        known = level != MISSING
        named = sample.among(sample.rows[known].assign(**{column: level[known].astype(str)}), subgroup=column)
        _test_interaction(named, column)
        if sample.survival:
            whole = sample.rows.assign(**{column: level.astype(object).where(known, None)})
            compare_levels(sample.among(whole), column)


def _judge_level(part: Sample) -> None:
    if part.survival:
        judge_survival(part)
        return
    if part.folded:
        _judge_scores_of_folds(part)
    else:
        _judge_scores(part)
    judge_cutoff(part)


def _judge_scores(part: Sample) -> None:
    event, score = part.rows["event"], part.rows["score"]
    auc, left_out = subgroup_auc(event, score, at_least=_AT_LEAST, level=part.settings.level)
    columns = {"lower": auc.lower, "upper": auc.upper, "p_value": auc.p_value}
    part.metric("auc", auc.value, method="delong", **columns)
    if left_out:
        part.say(left_out)


def _judge_scores_of_folds(part: Sample) -> None:
    rows, fold = part.rows, part.fold_names
    judged = rows[rows.groupby(fold)["event"].transform("nunique") == 2]
    if judged.empty:
        part.metric("auc", nan, method="bootstrap")
        part.say(f"no AUC: {_classes(rows)[1]}, both in none of {fold.nunique()} folds")
        return
    fewest, told = _classes(judged)
    given = rows["event"], rows["score"], fold, rows["patient_id"]
    auc = auc_within_folds(*given, **resampling(part, everywhere=fewest >= _AT_LEAST))
    tell_skipped(part, auc)
    patients = rows["patient_id"].nunique()
    if left_out := patients - judged["patient_id"].nunique():
        part.say(f"{left_out} of {patients} patients stand in skipped folds only and are not in the AUC")
    if fewest < _AT_LEAST:
        part.say(f"no interval below {_AT_LEAST} patients of a class: {told}")
    part.metric("auc", auc.value, judged, lower=auc.lower, upper=auc.upper, method="bootstrap")
    precision = average_precision_within_folds(*given, **resampling(part, everywhere=False))
    part.metric("average_precision", precision.value, judged, method="bootstrap")


def _classes(rows: pd.DataFrame) -> tuple[int, str]:
    """Return how many patients the smaller class has, and how many both have, in words."""
    event = rows.drop_duplicates("patient_id")["event"] == 1
    with_event, without = int(event.sum()), int((~event).sum())
    return min(with_event, without), f"{with_event} with and {without} without the event"


def _test_interaction(named: Sample, column: str) -> None:
    if named.folded:
        named.say("no interaction test: the scores of models of folds are not on one scale")
        return
    rows = named.rows
    with named.telling("no interaction test: "):
        if named.survival:
            test = interaction_cox(rows["time"], rows["event"], rows["score"], rows[column])
        else:
            test = interaction(rows["event"], rows["score"], rows[column])
        named.metric("interaction", test.chi2, p_value=test.p_value, method="likelihood_ratio")
