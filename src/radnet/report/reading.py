"""What an evaluation left in its folder, read and typed, and the choice of rows that a report shows of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radnet.tables import METRIC_COLUMNS, TableFault, is_ablation, read_table

_OF_PART = ("endpoint", "model", "partition", "centre")
_OF_FOLD = (*_OF_PART, "fold", "repeat")
_FIGURE_COLUMNS = {
    "roc": (*_OF_FOLD, "threshold", "fpr", "tpr"),
    "scores": (*_OF_FOLD, "event", "score", "cutoff"),  # and, since they are embedded in the page, patient, probability
    "km": (
        *("endpoint", "model", "partition", "group"),
        *("time", "survival", "lower", "upper", "at_risk", "events", "censored"),
    ),
    "precision_recall": (*_OF_FOLD, "threshold", "recall", "precision"),
    "calibration": (*_OF_PART, "horizon", "kind", "probability", "observed", "lower", "upper", "n"),
    "decision": (*_OF_PART, "horizon", "threshold", "net_benefit", "lower", "upper", "net_benefit_all"),
    "lesion_weights": ("endpoint", "model", "partition", "patient", "lesion", "site", "event", "weight"),
}
_NUMBERS = frozenset(
    (
        *("at", "horizon", "estimate", "lower", "upper", "p_value", "n", "n_event"),
        *("threshold", "fpr", "tpr", "event", "score", "cutoff"),
        *("time", "survival", "at_risk", "events", "censored"),
        *("recall", "precision", "probability", "observed"),
        *("net_benefit", "net_benefit_all", "high_risk", "true_positive"),
        *("p_interaction", "points", "linear_predictor", "importance", "weight"),
    )
)
# An estimate often stands in metrics.csv by several methods; a reader is shown the first of these that is there.
_METHOD_ORDER = (
    *("delong", "delong_paired", "delong_unpaired", "delong_logit"),
    *("harrell", "uno"),
    "clopper_pearson",
    "wilson",
    "cox_efron",
    "corrected_t",
    *("ipcw", "nne", "km"),
    *("joint", "in_the_large"),
    *("loess", "lowess"),
    "632plus",
    "bootstrap",
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation left in its folder, typed: every number as a float, every other cell as text.

    Attributes:
        metrics: The table ``metrics.csv``.
        roc: Points of a figure, empty where it has none; so are scores, km, precision_recall, calibration, decision.
        about: The content of ``evaluation.json``; empty where there is none.
        tables: Tables of ``tables/*.csv`` by name, every cell as the text that stands there.
    """

    metrics: pd.DataFrame
    roc: pd.DataFrame
    scores: pd.DataFrame
    km: pd.DataFrame
    about: Mapping[str, Any]
    precision_recall: pd.DataFrame = field(default_factory=lambda: _no_rows("precision_recall"))
    calibration: pd.DataFrame = field(default_factory=lambda: _no_rows("calibration"))
    decision: pd.DataFrame = field(default_factory=lambda: _no_rows("decision"))
    lesion_weights: pd.DataFrame = field(default_factory=lambda: _no_rows("lesion_weights"))
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def level(self) -> float:
        """Coverage of the intervals, as the evaluation was told."""
        return float((self.about.get("evaluation") or {}).get("level") or 0.95)

    @property
    def run(self) -> Mapping[str, Any]:
        """What the run that trained the models recorded; empty where the evaluation knows none."""
        return self.about.get("run") or {}

    @property
    def falsification(self) -> Mapping[str, Any]:
        """What the run did to refute itself; empty where it ran no controls."""
        return self.about.get("falsification") or {}

    @property
    def cutoff_words(self) -> str:
        """What the cut-offs are and where they come from, to stand within a sentence."""
        rule = (self.about.get("evaluation") or {}).get("cutoff") or "frozen"
        if rule == "frozen":
            return "the frozen cut-off, which was fixed on training patients"
        if rule == "fixed":
            return "a cut-off that was asked for"
        if refitted(self.about):
            return f"a cut-off fitted by {rule} on the very patients it judges, which flatters it"
        return f"a cut-off fitted by {rule} on scores of training patients"


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
    return Evaluation(
        metrics=_read_typed(folder / "metrics.csv", METRIC_COLUMNS),
        about=_read_about(folder),
        tables={path.stem: read_table(path) for path in sorted((folder / "tables").glob("*.csv"))},
        **tables,
    )


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


def discrimination(metrics: pd.DataFrame) -> pd.DataFrame:
    """Keep the AUC or C-index of typed metrics over all patients and all follow-up, one row per model and partition."""
    rows = overall(metrics)
    rows = preferred(over_all_follow_up(rows[rows["metric"].isin(["c_index", "auc"])]))
    return rows.drop_duplicates(["endpoint", "model", "partition"])


def refitted(about: Mapping[str, Any]) -> bool:
    """Whether an evaluation let cut-offs be fitted on the patients they judge."""
    settings = about.get("evaluation") or {}
    return settings.get("cutoff", "frozen") not in ("frozen", "fixed") and bool(settings.get("allow_refit_cutoff"))


def of_patients(metrics: pd.DataFrame) -> pd.DataFrame:
    """Keep the numbers of single models on all kinds of patients, centres among them."""
    return metrics[_whole(metrics) & (metrics["versus"] == "")]


def overall(metrics: pd.DataFrame) -> pd.DataFrame:
    """Keep the numbers of single models on all patients of a partition."""
    return metrics[_whole(metrics) & (metrics["versus"] == "") & (metrics["centre"] == "")]


def comparisons(metrics: pd.DataFrame) -> pd.DataFrame:
    """Keep what compares two models on all patients of a partition."""
    return metrics[_whole(metrics) & (metrics["versus"] != "") & (metrics["centre"] == "")]


def without_ablations(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out the rows of ablations, and of comparisons with them, from typed metrics or points of a figure."""
    aside = table["model"].map(is_ablation).astype(bool)
    if "versus" in table:
        aside |= table["versus"].map(is_ablation).astype(bool)
    return table[~aside]


def over_all_follow_up(metrics: pd.DataFrame) -> pd.DataFrame:
    """Leave out numbers at a horizon; a cut-off chosen for one remains."""
    return metrics[metrics["horizon"].isna() | (metrics["metric"] == "cutoff")]


def of_all_centres(points: pd.DataFrame) -> pd.DataFrame:
    """Keep the points of typed curves that are about all patients of a partition."""
    return points[points["centre"] == ""]


def of_known_outcome(scores: pd.DataFrame) -> pd.DataFrame:
    """Keep the typed scores of patients whose outcome is known."""
    return scores.dropna(subset=["event", "score"])


def overall_numbers(metrics: pd.DataFrame) -> dict[tuple[str, str, str, str, str], Any]:
    """Look up the preferred overall row by endpoint, model, partition, metric and group; the first found counts."""
    rows = preferred(over_all_follow_up(overall(metrics)))[::-1].itertuples()
    return {(row.endpoint, row.model, row.partition, row.metric, row.group): row for row in rows}


def _whole(metrics: pd.DataFrame) -> pd.Series:
    return (metrics["subgroup"] == "") & metrics["level"].isin(["", "patient"])


def _no_rows(name: str) -> pd.DataFrame:
    return typed(pd.DataFrame(columns=list(_FIGURE_COLUMNS[name])))


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
        # pandas.to_numeric misses the last digit of every third number; a cut-off must equal the score it stands at.
        return values.where(values != "", np.nan).astype(float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"column {values.name} should hold numbers: {error}") from error


def _text(values: pd.Series) -> pd.Series:
    """A fold read as 0.0, because others in its column are empty, is fold 0."""

    def as_text(value: object) -> str:
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

    values = values.astype(object).where(values.notna(), "")
    return values if pd.api.types.infer_dtype(values) == "string" else values.map(as_text).astype(object)
