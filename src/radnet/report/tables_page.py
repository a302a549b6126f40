"""Tables that a run left beside its predictions, and every table and list of numbers of the evaluation to download."""

import base64
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from radnet.report.reading import Evaluation
from radnet.report.text import MISSING, Table, decimal, with_interval

_TITLES = {
    "table_one": "Table 1: who was studied",
    "regression": "Score and clinical variables, alone and together",
    "optimism": "Optimism-corrected discrimination",
    "learning_curve": "Learning curve",
    "importance": "Importance",
    "selection": "How often each feature was selected",
    "nomogram": "Points of the nomogram",
    "drift": "Drift of each feature",
    "lesion_weights": "Weights of lesions",
}
_CARRIED_BY_FIGURE = ("attribution",)  # thousands of rows, which a page holds once
_MEASURES = {"odds_ratio": "Odds ratio", "hazard_ratio": "Hazard ratio"}


@dataclass(frozen=True, slots=True)
class Download:
    """A file of the evaluation that the page carries: its name, what it holds, and its bytes as a data URI."""

    name: str
    what: str
    address: str


def downloads(folder: Path) -> list[Download]:
    """Carry ``metrics.csv`` and every table; the numbers of a figure are carried beside the figure."""
    tables = [path for path in sorted((folder / "tables").glob("*.csv")) if path.stem not in _CARRIED_BY_FIGURE]
    files = [folder / "metrics.csv", *tables]
    return [
        Download(
            path.name,
            "Every number of the evaluation" if path.stem == "metrics" else _TITLES.get(path.stem, path.stem),
            csv_address(path),
        )
        for path in files
    ]


def csv_address(path: Path) -> str:
    """Return the bytes of a CSV as a data URI."""
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def table_one(evaluation: Evaluation) -> Table | None:
    """Show who was studied, development beside held-out; None where no run left ``tables/table_one.csv``."""
    table = evaluation.tables.get("table_one")
    if table is None or table.empty:
        return None
    names = {"variable": "Variable", "level": "Level", "p_value": "p-value", "test": "Test", "smd": "SMD"}
    names |= {"development": "Development", "held_out": "Held-out"}
    told = table.columns.intersection(["level", "test", "p_value", "p_adjusted", "smd"])  # of a variable as a whole
    table = table.assign(**{name: table[name].replace("", MISSING) for name in table.columns.difference(told)})
    if "variable" in table:  # a variable is named once
        table["variable"] = table["variable"].where(~table["variable"].duplicated(), "")
    for name in table.columns.intersection(["p_value", "p_adjusted", "smd"]):
        table[name] = table[name].map(_rounded)
    columns = [names.get(name, name.replace("_", " ")) for name in table.columns]
    return Table(_TITLES["table_one"], columns, table.to_numpy().tolist(), headers=2 if "level" in table else 1)


def regression_table(evaluation: Evaluation) -> Table | None:
    """Show the odds or hazard ratios of the score and the clinical variables; None where no run left them."""
    table = evaluation.tables.get("regression")
    if table is None or table.empty or not {"variable", "level", "estimate", "lower", "upper"} <= set(table.columns):
        return None
    rows = []
    for row in table.to_dict("records"):
        reference = row.get("note") == "reference"
        ratio = with_interval(_number(row["estimate"]), _number(row["lower"]), _number(row["upper"]), decimals=2)
        told = [str(row.get("analysis", "")), row["variable"], row["level"]]
        told += [_MEASURES.get(row.get("measure", ""), ""), "1 (reference)" if reference else ratio]
        rows.append([*told, "" if reference else _rounded(row.get("p_value", "")), row.get("n", "")])
    columns = ["Analysis", "Variable", "Level", "Measure", "Estimate (CI)", "p-value", "Patients"]
    notes = [note for note in dict.fromkeys(table.get("note", pd.Series(dtype=str))) if note not in ("", "reference")]
    note = "Out-of-fold score and clinical variables of development patients. " + "; ".join(notes)
    return Table(_TITLES["regression"], columns, rows, headers=3, note=note.strip())


def _number(text: str) -> float:
    return float(text) if text else float("nan")


def _rounded(text: str) -> str:
    """Write a p-value or difference as text to three decimals; what is no number stays as it is."""
    try:
        value = float(text)
    except ValueError:
        return text
    return "< 0.001" if 0 < value < 0.0005 else decimal(value)
