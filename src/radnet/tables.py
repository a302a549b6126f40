"""Tables that cross a disk: their columns, how they are read and written, and checks that name every fault at once."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from radnet.files import write_atomically

PREDICTION_COLUMNS = (
    "endpoint",
    "model",
    "partition",
    "fold",
    "repeat",
    "patient_id",
    "centre",
    "event",
    "time",
    "time_unit",
    "score",
    "probability",
    "cutoff",
)
LESION_PREDICTION_COLUMNS = (
    "endpoint",
    "model",
    "partition",
    "fold",
    "repeat",
    "patient_id",
    "centre",
    "lesion_id",
    "site",
    "event",
    "time",
    "score",
    "weight",
    "cutoff",
)
METRIC_COLUMNS = (
    "endpoint",
    "model",
    "versus",
    "partition",
    "centre",
    "subgroup",
    "level",
    "metric",
    "at",
    "horizon",
    "group",
    "estimate",
    "lower",
    "upper",
    "p_value",
    "n",
    "n_event",
    "method",
)
PARTITIONS = ("apparent", "out_of_fold", "held_out")
MISSING = ("", "NA", "NaN", "nan", "N/A")
"""Cells that mean: not known. R writes NA, pandas nan."""
_LITERAL = ("endpoint", "model", "patient_id", "lesion_id")  # here NA is a name like another
_TEXT = ("endpoint", "model", "partition", "fold", "repeat", "patient_id", "centre", "time_unit", "lesion_id", "site")
_NUMBERS = ("event", "time", "score", "probability", "weight", "cutoff")


class TableFault(ValueError):  # noqa: N818 - a fault of the user's table, with a line for each
    """Every fault found in a table; the message lists them line by line."""

    def __init__(self, where: object, faults: Iterable[str]) -> None:
        self.faults = list(faults)
        noun = "fault" if len(self.faults) == 1 else "faults"
        super().__init__(f"{where}: {len(self.faults)} {noun}\n" + "\n".join(f"  - {fault}" for fault in self.faults))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found in a user's files: where it stands, what it is, and how to mend it.

    Control characters are told as escapes, so that no text of a table can steer the terminal it is shown on.

    Attributes:
        severity: A ``fault`` keeps the cohort from being read; a ``warning`` does not.
        file: Path within the folder that was checked.
        row: As in a spreadsheet, where the header is row 1; None where it is of the whole file.
        patient: ``?`` where the row's cell is empty; empty where it is of no one patient.
        lesion: Likewise.
        found: What stands there, and what was expected.
        fix: What to do.
    """

    severity: Literal["fault", "warning"]
    file: str
    row: int | None
    patient: str
    lesion: str
    found: str
    fix: str

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(value := getattr(self, field.name), str):
                object.__setattr__(self, field.name, printable(value))

    def __str__(self) -> str:
        who = [f"{noun} {name}" for noun, name in (("patient", self.patient), ("lesion", self.lesion)) if name]
        where = self.file + ("" if self.row is None else f" row {self.row}") + (f" ({', '.join(who)})" if who else "")
        return f"{where}: {self.found}; {self.fix}"


def fault(file: str, found: str, fix: str, row: int | None = None, patient: str = "", lesion: str = "") -> Finding:
    """Return a fault."""
    return Finding("fault", file, row, patient, lesion, found, fix)


def warning(file: str, found: str, fix: str, row: int | None = None, patient: str = "", lesion: str = "") -> Finding:
    """Return a warning."""
    return Finding("warning", file, row, patient, lesion, found, fix)


def printable(text: str) -> str:
    r"""Return text with its control characters as escapes.

    Example:
        >>> printable("P1\x1b[31m")
        'P1\\x1b[31m'
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def did_you_mean(word: str, names: Sequence[str]) -> str:
    """Return a hint for a name that is not there: the nearest there is, or else what there is."""
    by_lower = {name.lower(): name for name in names}
    close = get_close_matches(word.lower(), by_lower, n=1)
    if close:
        return f"did you mean {by_lower[close[0]]}?"
    return f"it has {', '.join(names[:12])}" + (" …" if len(names) > 12 else "")


def read_table(path: Path) -> pd.DataFrame:
    """Read a .parquet or .csv table; every cell of a .csv arrives as text, an empty one as the empty string."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.name.endswith((".csv", ".csv.gz")):
            return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as a table: {error}") from error
    raise ValueError(f"{path}: a table is a .parquet or a .csv file")


def with_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as ``read_table`` gives it, its missing cells missing and its columns of numbers numbers."""

    def typed(column: pd.Series) -> pd.Series:
        if column.dtype != object:
            return column
        known = column.where(~column.isin(MISSING))
        numbers = pd.to_numeric(known, errors="coerce")
        return numbers if numbers.notna().sum() == known.notna().sum() else known

    return table.apply(typed)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as .parquet or .csv, atomically."""
    if path.suffix == ".parquet":
        write_atomically(path, lambda temporary: table.to_parquet(temporary, index=False))
    elif path.suffix == ".csv":
        write_atomically(path, lambda temporary: table.to_csv(temporary, index=False))
    else:
        raise ValueError(f"{path}: a table is written as .parquet or .csv")


def read_predictions(path: Path) -> pd.DataFrame:
    """Read a prediction table of the contract, ours or anybody's, and check it.

    Columns beyond the contract are kept as text or numbers as they stand; absent optional ones are added empty.

    Returns:
        One row per patient × endpoint × model × fold; text columns hold strings, numeric columns floats (NaN = empty).

    Raises:
        TableFault: With every fault of the table.
    """
    return _checked(
        read_table(path),
        path,
        PREDICTION_COLUMNS,
        ["endpoint", "model", "partition", "patient_id", "event", "score"],
        ["endpoint", "model", "partition", "fold", "repeat", "patient_id"],
    )


def contradictions(predictions: pd.DataFrame) -> list[str]:
    """Name what cannot be true of prediction tables, of one or of several together.

    A patient held out by a model and also learned from by it; one judged in two folds of a repeat; one whose event or
    time differs between rows; an endpoint with times in two units, or in none.

    Args:
        predictions: As ``read_predictions`` gives them, of one file or of several.
    """
    key = ["endpoint", "model", "centre", "patient_id"]
    held_out = predictions.loc[predictions["partition"] == "held_out", key].drop_duplicates()
    learned = predictions.loc[predictions["partition"] != "held_out", key].drop_duplicates()
    both = held_out.merge(learned, on=key)
    faults = [
        f"model {model}, endpoint {endpoint}: {len(rows)} patients are held out and also learned from, such as "
        f"{', '.join(rows['patient_id'].head(5))}"
        for (endpoint, model), rows in both.groupby(["endpoint", "model"])
    ]
    judged = predictions[predictions["partition"] == "out_of_fold"]
    for (endpoint, model), rows in judged.groupby(["endpoint", "model"]):
        twice = rows[rows.duplicated(["repeat", "centre", "patient_id"])]["patient_id"].unique()
        if len(twice):
            told = f"{len(twice)} patients are judged in two folds of one repeat, such as {', '.join(twice[:5])}"
            faults.append(f"model {model}, endpoint {endpoint}: {told}")
    for endpoint, rows in predictions.groupby("endpoint"):
        units = set(rows.loc[rows["time"].notna(), "time_unit"])
        if len(units) > 1 or "" in units:
            named = ", ".join(sorted(unit or "none" for unit in units))
            faults.append(f"endpoint {endpoint}: follow-up needs one time_unit (days, months or years), found {named}")
        outcomes = rows[["centre", "patient_id", "event", "time"]].drop_duplicates()
        differing = outcomes[outcomes.duplicated(["centre", "patient_id"])]["patient_id"].unique()
        if len(differing):
            told = f"{len(differing)} patients have different outcomes in different rows, such as "
            faults.append(f"endpoint {endpoint}: {told}{', '.join(differing[:5])}")
    return faults


def read_lesion_predictions(path: Path) -> pd.DataFrame:
    """Read a table of lesion scores and check it, as ``read_predictions`` does; a clinical model's has no rows."""
    return _checked(
        read_table(path),
        path,
        LESION_PREDICTION_COLUMNS,
        ["endpoint", "model", "partition", "patient_id", "lesion_id", "event", "score"],
        ["endpoint", "model", "partition", "fold", "repeat", "patient_id", "lesion_id"],
        may_be_empty=True,
    )


def _checked(
    table: pd.DataFrame,
    path: Path,
    columns: tuple[str, ...],
    required: list[str],
    key: list[str],
    may_be_empty: bool = False,
) -> pd.DataFrame:
    if missing := [column for column in required if column not in table.columns]:
        raise TableFault(path, [f"column {column} is missing" for column in missing])
    if table.empty and not may_be_empty:
        raise TableFault(path, ["the table has no rows"])
    table = table.reindex(columns=[*columns, *(column for column in table.columns if column not in columns)])
    faults: list[str] = []
    for column in columns:
        if column in _TEXT:
            texts = table[column].astype(object).where(table[column].notna(), "").map(_as_text)
            table[column] = texts if column in _LITERAL else texts.where(~texts.isin(MISSING), "")
        else:
            table[column] = _numbers(table[column], column, faults)
    faults += _row_faults(table, key)
    if faults:
        raise TableFault(path, faults)
    return table.reset_index(drop=True)


def _numbers(values: pd.Series, column: str, faults: list[str]) -> pd.Series:
    blank = values.isna() | values.astype(str).str.strip().isin(MISSING)
    numbers = pd.to_numeric(values.where(~blank), errors="coerce").astype(float)
    wrong = ~blank & ~np.isfinite(numbers)
    faults += [f"row {row + 2}: {column} is {values.iloc[row]!r}, not a number" for row in np.flatnonzero(wrong)[:20]]
    return numbers


def _row_faults(table: pd.DataFrame, key: list[str]) -> list[str]:
    """Rows are numbered as in a spreadsheet: the header is row 1."""

    def tell(wrong: pd.Series, what: Callable[[pd.Series], str]) -> list[str]:
        rows = np.flatnonzero(wrong.to_numpy())
        told = [
            f"row {row + 2} (patient {table['patient_id'].iloc[row]}): {what(table.iloc[row])}" for row in rows[:20]
        ]
        return told + ([f"… and {len(rows) - 20} rows more with the same fault"] if len(rows) > 20 else [])

    faults = tell(table["patient_id"] == "", lambda _: "patient_id is empty")
    faults += tell(
        ~table["partition"].isin(PARTITIONS),
        lambda row: f"partition is {row['partition']!r}, expected one of {', '.join(PARTITIONS)}",
    )
    faults += tell(
        table["event"].notna() & ~table["event"].isin([0, 1]), lambda row: f"event is {row['event']:g}, expected 0 or 1"
    )
    faults += tell(table["time"] <= 0, lambda row: f"time is {row['time']:g}, expected more than 0")
    faults += tell(table["score"].isna(), lambda _: "score is empty")
    if "probability" in table:
        wrong = (table["probability"] < 0) | (table["probability"] > 1)
        faults += tell(wrong, lambda row: f"probability is {row['probability']:g}, expected 0 to 1")
    faults += tell(table.duplicated(key), lambda _: f"stands twice for the same {', '.join(key[:-1])}")
    return faults


def _as_text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
