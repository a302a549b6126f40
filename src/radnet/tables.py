"""Tables that cross a disk: their columns, how they are read and written, and checks that name every fault at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from math import inf, nan
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
_HORIZON = "probability_"
_BOOLEANS = {"True": 1, "False": 0, "TRUE": 1, "FALSE": 0}


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
    """Read a prediction table of the contract, ours or anybody's, and check its structure.

    Columns ``probability_<t>`` hold numbers; others beyond the contract are kept as text or numbers as they stand.
    Absent optional columns are added empty. What a patient's rows contradict is left to ``contradictions``.

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
    )


def read_lesion_predictions(path: Path) -> pd.DataFrame:
    """Read a table of lesion scores and check it, as ``read_predictions`` does; a clinical model's has no rows."""
    return _checked(
        read_table(path),
        path,
        LESION_PREDICTION_COLUMNS,
        ["endpoint", "model", "partition", "patient_id", "lesion_id", "event", "score"],
        may_be_empty=True,
    )


def is_control(model: str) -> bool:
    """Whether a model is a control: one that a signature must beat, or one that should know nothing."""
    return model.startswith("control_")


def is_ablation(model: str) -> bool:
    """Whether a model is another one without some of its branches, made by ``ablation=true``."""
    return model.startswith("ablation_")


def stands_aside(model: str) -> bool:
    """Whether a model is there for another's sake, a control or an ablation: it is no rival and heads no report."""
    return is_control(model) or is_ablation(model)


def standing(model: str) -> int:
    """Return the place of a model's kind in a list: models, then their ablations, then controls.

    Example:
        >>> sorted(["control_volume", "ablation_image_alone", "hybrid"], key=standing)
        ['hybrid', 'ablation_image_alone', 'control_volume']
    """
    return 2 if is_control(model) else int(is_ablation(model))


def horizon_of(column: str) -> float:
    """Return the time t of a column ``probability_<t>``; NaN for any other.

    Example:
        >>> horizon_of("probability_36"), horizon_of("probability_of_death")
        (36.0, nan)
    """
    try:
        horizon = float(column.removeprefix(_HORIZON)) if column.startswith(_HORIZON) else nan
    except ValueError:
        return nan
    return horizon if 0 < horizon < inf else nan


def told_apart(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which a patient id that several named centres use names its centre too: ``A/001``.

    A patient is known by centre and id; centres often count their patients from 1.
    """
    named = predictions.loc[predictions["centre"] != "", ["centre", "patient_id"]].drop_duplicates()
    shared = set(named.loc[named["patient_id"].duplicated(), "patient_id"])
    ambiguous = predictions["patient_id"].isin(shared) & (predictions["centre"] != "")
    return predictions.assign(
        patient_id=predictions["patient_id"].where(~ambiguous, predictions["centre"] + "/" + predictions["patient_id"])
    )


@dataclass(frozen=True, slots=True)
class Contradiction:
    """What cannot be true of a model's rows, or of an endpoint's: neither can then be judged.

    Attributes:
        endpoint: Name.
        model: Empty where it is of several models, and the whole endpoint cannot be judged.
        message: The column, what its rows say, and up to five patients.
    """

    endpoint: str
    model: str
    message: str


def contradictions(predictions: pd.DataFrame, rows_of: str = "patient") -> list[Contradiction]:
    """Name what cannot be true of prediction tables, of one or of several together.

    Of a model: a patient who stands twice, is held out and also learned from, is judged in two folds of a repeat, or
    whose event or time differs between rows. Of the models of an endpoint that are free of these: a patient whose
    event or time differs between models, and times in two units, or in none.

    Args:
        predictions: As ``read_predictions`` or ``read_lesion_predictions`` gives them, of one file or of several.
        rows_of: ``patient``, or ``lesion`` for a table of lesions: a patient's may then differ in their outcome.
    """
    who = ["centre", "patient_id", *(["lesion_id"] if rows_of == "lesion" else [])]
    found = [
        Contradiction(str(endpoint), str(model), f"{message}; the model is left out")
        for (endpoint, model), rows in predictions.groupby(["endpoint", "model"], sort=False)
        for message in _contradictions_of_model(rows, who, rows_of)
    ]
    return found + [
        Contradiction(str(endpoint), "", f"{message}; the endpoint is left out")
        for endpoint, rows in without(predictions, found).groupby("endpoint", sort=False)
        for message in _contradictions_of_models(rows, who, rows_of)
    ]


def without(predictions: pd.DataFrame, found: Iterable[Contradiction]) -> pd.DataFrame:
    """Return the rows of the models and endpoints of which nothing contradictory was found."""
    left_out = {(one.endpoint, one.model) for one in found}
    pairs = zip(predictions["endpoint"], predictions["model"], strict=True)
    kept = [not left_out & {(endpoint, model), (endpoint, "")} for endpoint, model in pairs]
    return predictions[pd.Series(kept, index=predictions.index, dtype=bool)]  # typed, for a table without rows


def _contradictions_of_model(rows: pd.DataFrame, who: list[str], rows_of: str) -> Iterator[str]:
    key = ["partition", "fold", "repeat", *who[1:]]
    if (twice := rows.duplicated(key)).any():
        told = _patients(rows[twice], "stands" if rows_of == "patient" else "has a lesion that stands")
        yield f"{who[-1]}: {told} twice for the same partition, fold and repeat"
    held_out = rows.loc[rows["partition"] == "held_out", who[:2]].drop_duplicates()
    learned = rows.loc[rows["partition"] != "held_out", who[:2]].drop_duplicates()
    if not (both := held_out.merge(learned, on=who[:2])).empty:
        yield f"partition: {_patients(both, 'is')} held out and also learned from"
    judged = rows[rows["partition"] == "out_of_fold"].drop_duplicates(["repeat", "fold", *who])
    if (again := judged.duplicated(["repeat", *who])).any():
        yield f"fold: {_patients(judged[again], 'is')} judged in two folds of one repeat"
    yield from _outcomes(rows, who, "rows")


def _contradictions_of_models(rows: pd.DataFrame, who: list[str], rows_of: str) -> Iterator[str]:
    yield from _outcomes(rows, who, "models")
    if rows_of == "patient":
        units = set(rows.loc[rows["time"].notna(), "time_unit"])
        if len(units) > 1:
            named = ", ".join(sorted(unit or "none" for unit in units))
            yield f"time_unit: follow-up needs one unit (days, months or years), found {named}"


def _outcomes(rows: pd.DataFrame, who: list[str], where: str) -> Iterator[str]:
    for column in ("event", "time"):
        values = rows[[*who, column]].drop_duplicates()
        if (differing := values.duplicated(who)).any():
            yield f"{column}: {_patients(values[differing], 'has')} different values in different {where}"


def _patients(rows: pd.DataFrame, verb: str) -> str:
    """Count and name patients, with the verb of a sentence that goes on."""
    names = rows["patient_id"].unique()
    plural = {"is": "are", "has": "have", "stands": "stand", "has a lesion that stands": "have lesions that stand"}
    named = ", ".join(map(printable, names[:5])) + (", …" if len(names) > 5 else "")
    return f"1 patient ({named}) {verb}" if len(names) == 1 else f"{len(names)} patients ({named}) {plural[verb]}"


def _checked(
    table: pd.DataFrame,
    path: Path,
    columns: tuple[str, ...],
    required: list[str],
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
    for column in table.columns:
        if not np.isnan(horizon_of(str(column))):
            table[column] = _numbers(table[column], column, faults)
    faults += _row_faults(table)
    if faults:
        raise TableFault(path, faults)
    return table.reset_index(drop=True)


def _numbers(values: pd.Series, column: str, faults: list[str]) -> pd.Series:
    words = values.astype(str).str.strip()
    blank = values.isna() | words.isin(MISSING)
    if column == "event":  # as pandas writes a column of yes and no
        values = values.map(lambda one: _BOOLEANS.get(str(one).strip(), one))
    numbers = pd.to_numeric(values.where(~blank), errors="coerce").astype(float)
    wrong = np.flatnonzero(~blank & ~np.isfinite(numbers))
    faults += [f"row {row + 2}: {column} is {values.iloc[row]!r}, not a number" for row in wrong[:20]]
    faults += [f"… and {len(wrong) - 20} rows more whose {column} is not a number"] if len(wrong) > 20 else []
    return numbers


def _row_faults(table: pd.DataFrame) -> list[str]:
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
    return faults


def _as_text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
