"""What the patients of a study allow: events per variable and Riley's minimum beside the numbers that were there."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from radnet.evaluation.sample_size import (
    assumed_r2,
    development,
    development_survival,
    external_validation,
    largest_r2,
    largest_r2_survival,
    parameters_allowed,
)

SAMPLE_SIZE_COLUMNS = ("endpoint", "partition", "criterion", "parameters", "found", "needed", "met", "told")
_EVENTS_PER_VARIABLE = 10
_EXPECTED_AUC = 0.8
_REFERENCE_PARAMETERS = 10


def sample_size_table(predictions: pd.DataFrame, parameters: Mapping[str, int]) -> pd.DataFrame:
    """Hold the patients of a prediction table against what models of so many parameters need.

    Development patients are those of the out-of-fold or apparent rows, evaluation patients those held out; R² is
    assumed to be 15% of the largest possible, and the AUC elsewhere 0.8.

    Args:
        predictions: A prediction table.
        parameters: Numbers of parameters by what they count, such as ``{"candidate": 1130, "final": 319}``; may be
            empty.

    Returns:
        A row per criterion, with columns `SAMPLE_SIZE_COLUMNS`; ``told`` is the row as a sentence. No row for patients
        who all have the event, or who none have it.
    """
    rows: list[dict[str, Any]] = []
    for endpoint, table in predictions.groupby("endpoint", sort=False):
        for names, name in ((("out_of_fold", "apparent"), "development"), (("held_out",), "held_out")):
            patients = _patients(table, names)
            if len(patients) and 0 < patients["event"].sum() < len(patients):
                found = _of_development(patients, parameters) if name == "development" else _of_evaluation(patients)
                rows += [{"endpoint": endpoint, "partition": name, **row} for row in found]
    return pd.DataFrame(rows, columns=list(SAMPLE_SIZE_COLUMNS))


def _of_development(patients: pd.DataFrame, parameters: Mapping[str, int]) -> list[dict[str, Any]]:
    count, events = len(patients), int(patients["event"].sum())
    rows = []
    for words, number in parameters.items():
        found = events / number
        told = f"{events} events for {number} {words} parameters: {found:.2g} events per variable (rule of thumb: 10)"
        rows.append(_row("events_per_variable", number, found, _EVENTS_PER_VARIABLE, told))
    counted = [(f"{number} {words} parameters", number) for words, number in parameters.items()]
    for words, number in [*counted, (f"{_REFERENCE_PARAMETERS} parameters", _REFERENCE_PARAMETERS)]:
        criteria, _ = _criteria(patients, number)
        needed = max(criteria.values())
        parts = _listed(criteria)
        told = f"{words} need {needed:,} patients ({parts}); {count} were there"
        rows.append(_row("riley_minimum", number, count, needed, told))
    _, r2 = _criteria(patients, 1)
    allowed = parameters_allowed(count, r2)
    wanted = parameters.get("final", parameters.get("candidate", 1))
    told = f"{count} patients allow {allowed} parameters at a shrinkage of 0.9; {wanted} were used"
    rows.append(_row("parameters_allowed", wanted, allowed, wanted, told))
    return rows


def _of_evaluation(patients: pd.DataFrame) -> list[dict[str, Any]]:
    if patients["time"].notna().any():
        return []  # Riley 2021 has no closed form for a time-to-event outcome
    criteria = external_validation(patients["event"].mean(), _EXPECTED_AUC)
    needed = max(criteria.values())
    parts = _listed(criteria)
    count = len(patients)
    told = f"precise evaluation at an AUC of {_EXPECTED_AUC} needs {needed:,} patients ({parts}); {count} were there"
    return [_row("external_validation", None, count, needed, told)]


def _criteria(patients: pd.DataFrame, parameters: int) -> tuple[dict[str, int], float]:
    """Return how many patients each criterion asks for, and the R² assumed; time-to-event at the median follow-up."""
    if patients["time"].isna().all():
        prevalence = float(patients["event"].mean())
        return development(parameters, prevalence), assumed_r2(largest_r2(prevalence))
    follow_up = float(patients["time"].mean())
    rate = float(patients["event"].sum() / patients["time"].sum())
    middle = float(patients["time"].median())
    return (
        development_survival(parameters, rate, follow_up, middle),
        assumed_r2(largest_r2_survival(rate, follow_up)),
    )


def _patients(table: pd.DataFrame, partitions: tuple[str, ...]) -> pd.DataFrame:
    rows = table[table["partition"].isin(partitions)].drop_duplicates("patient_id")
    return rows.assign(event=pd.to_numeric(rows["event"]), time=pd.to_numeric(rows["time"])).dropna(subset=["event"])


def _listed(criteria: Mapping[str, int]) -> str:
    words = {"overall_risk": "overall risk", "observed_expected": "observed/expected", "auc": "AUC"}
    return ", ".join(f"{words.get(name, name.replace('_', ' '))} {needed:,}" for name, needed in criteria.items())


def _row(criterion: str, parameters: int | None, found: float, needed: float, told: str) -> dict[str, Any]:
    return {
        "criterion": criterion,
        "parameters": parameters,
        "found": found,
        "needed": needed,
        "met": bool(found >= needed),
        "told": told,
    }
