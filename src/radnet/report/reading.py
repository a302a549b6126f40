"""What an evaluation left in its folder, read and typed, and the choice of rows that a report shows of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from radnet.tables import METRIC_COLUMNS, TableFault, read_table

_FIGURE_COLUMNS = {
    "roc": ("endpoint", "model", "partition", "centre", "fold", "repeat", "threshold", "fpr", "tpr"),
    "scores": ("endpoint", "model", "partition", "centre", "fold", "repeat", "event", "score", "cutoff"),
    "km": (
        *("endpoint", "model", "partition", "group"),
        *("time", "survival", "lower", "upper", "at_risk", "events", "censored"),
    ),
}
_NUMBERS = frozenset(
    (
        *("at", "horizon", "estimate", "lower", "upper", "p_value", "n", "n_event"),
        *("threshold", "fpr", "tpr", "event", "score", "cutoff"),
        *("time", "survival", "at_risk", "events", "censored"),
    )
)
# An estimate often stands in metrics.csv by several methods; a reader is shown the first of these that is there.
_METHOD_ORDER = (
    "delong",
    "harrell",
    "clopper_pearson",
    "cox_efron",
    "delong_paired",
    "delong_logit",
    "delong_unpaired",
    "uno",
    "wilson",
    "bootstrap",
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation left in its folder, typed: every number as a float, every other cell as text."""

    metrics: pd.DataFrame
    roc: pd.DataFrame
    scores: pd.DataFrame
    km: pd.DataFrame
    about: Mapping[str, Any]

    @property
    def level(self) -> float:
        """Coverage of the intervals, as the evaluation was told."""
        return float((self.about.get("evaluation") or {}).get("level") or 0.95)


def read_evaluation(folder: Path) -> Evaluation:
    """Read the files of an evaluation; a figure without numbers, or without a file, is an empty table.

    Raises:
        FileNotFoundError: If the folder holds no ``metrics.csv``.
        TableFault: If a table lacks a column.
    """
    if not (folder / "metrics.csv").is_file():
        raise FileNotFoundError(f"{folder / 'metrics.csv'}: no such file; a report is made from an evaluation's folder")
    tables = {
        name: _read_typed(folder / "figures" / f"{name}.csv", columns) for name, columns in _FIGURE_COLUMNS.items()
    }
    return Evaluation(metrics=_read_typed(folder / "metrics.csv", METRIC_COLUMNS), about=_read_about(folder), **tables)


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """Give a table of an evaluation its types: floats with NaN where empty, all else text with "" where empty.

    Raises:
        ValueError: If a column of numbers holds something else.
    """
    return pd.DataFrame(
        {name: _numbers(table[name]) if name in _NUMBERS else _text(table[name]) for name in table.columns},
        index=table.index,
    )


def preferred(metrics: pd.DataFrame) -> pd.DataFrame:
    """Keep one row for each number of typed metrics: by DeLong before the bootstrap, Clopper-Pearson before Wilson."""
    rank = metrics["method"].map(lambda method: _METHOD_ORDER.index(method) if method in _METHOD_ORDER else 99)
    values = ("estimate", "lower", "upper", "p_value", "method", "n", "n_event")
    number = [column for column in metrics.columns if column not in values]
    return metrics.loc[rank.sort_values(kind="stable").index].drop_duplicates(number).sort_index()


def of_patients(metrics: pd.DataFrame) -> pd.DataFrame:
    """Keep the numbers of single models on all kinds of patients, centres among them."""
    return metrics[_whole(metrics) & (metrics["versus"] == "")]


def overall(metrics: pd.DataFrame) -> pd.DataFrame:
    """Keep the numbers of single models on all patients of a partition."""
    return metrics[_whole(metrics) & (metrics["versus"] == "") & (metrics["centre"] == "")]


def comparisons(metrics: pd.DataFrame) -> pd.DataFrame:
    """Keep what compares two models on all patients of a partition."""
    return metrics[_whole(metrics) & (metrics["versus"] != "") & (metrics["centre"] == "")]


def overall_numbers(metrics: pd.DataFrame) -> dict[tuple[str, str, str, str, str], Any]:
    """Look up the preferred overall row by endpoint, model, partition, metric and group; the first found counts."""
    rows = preferred(overall(metrics))[::-1].itertuples()
    return {(row.endpoint, row.model, row.partition, row.metric, row.group): row for row in rows}


def _whole(metrics: pd.DataFrame) -> pd.Series:
    return (metrics["subgroup"] == "") & metrics["level"].isin(["", "patient"])


def _read_typed(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        return typed(pd.DataFrame(columns=list(columns)))
    table = read_table(path)
    if missing := [column for column in columns if column not in table.columns]:
        raise TableFault(path, [f"column {column} is missing" for column in missing])
    try:
        return typed(table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read_about(folder: Path) -> Mapping[str, Any]:
    path = folder / "evaluation.json"
    if not path.is_file():
        return {}
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(about, dict):
        raise ValueError(f"{path}: expected a JSON object, found {type(about).__name__}")
    return about


def _numbers(values: pd.Series) -> pd.Series:
    try:
        return pd.to_numeric(values).astype(float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"column {values.name} should hold numbers: {error}") from error


def _text(values: pd.Series) -> pd.Series:
    """A fold read as 0.0, because others in its column are empty, is fold 0."""

    def as_text(value: object) -> str:
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

    values = values.astype(object).where(values.notna(), "")
    return values if pd.api.types.infer_dtype(values) == "string" else values.map(as_text).astype(object)
