"""Tables of the same patients, side by side: joined by patient (or lesion) and by nothing else."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from radnet.tables import TableFault

_NAMED = 5  # at most, in a message


def numbers(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a table of numbers as floats, once it has been checked.

    Args:
        table: A row per patient, indexed by patient, a column of numbers (or of true and false) per variable; of
            expression a row per gene, a column per patient. NaN where a value is missing.
        name: Of the table, for messages.

    Raises:
        TableFault: If the table is empty, a row or column stands twice, or a column is no number or infinite.
    """
    faults = _twice(table.index, "row") + _twice(table.columns, "column")
    if table.empty:
        faults.append(f"{len(table)} rows and {table.shape[1]} columns: nothing to compute with")
    if not faults:
        for column, values in table.items():
            if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_complex_dtype(values):
                faults.append(f"column {column} holds no numbers ({values.dtype}): code it as 0 and 1, or drop it")
            elif (infinite := np.isinf(values.to_numpy(dtype=float, na_value=np.nan))).any():
                faults.append(f"column {column} is infinite for {listed(table.index[infinite])}: make it missing")
    if faults:
        raise TableFault(name, faults)
    return table.astype(float)


def refuse_other_patients(named: Sequence[tuple[str, pd.Index]]) -> None:
    """Refuse tables that are not of the same patients; their order is free.

    Args:
        named: Name and patients of each table.

    Raises:
        TableFault: With the patients that only one of two tables has.
    """
    (first, patients), *others = named
    faults = _twice(patients, "patient")
    for other, theirs in others:
        faults += _twice(theirs, f"{other}: patient")
        if len(only := patients.difference(theirs)):
            faults.append(f"{listed(only)} only in {first}, not in {other}: leave them out, or find their values")
        if len(only := theirs.difference(patients)):
            faults.append(f"{listed(only)} only in {other}, not in {first}: leave them out, or find their values")
    if faults:
        raise TableFault(" and ".join(name for name, _ in named), faults)


def listed(names: pd.Index) -> str:
    """Return names for a message: five at most, and how many there are."""
    told = ", ".join(str(name) for name in names[:_NAMED])
    return told if len(names) <= _NAMED else f"{told}, … ({len(names)} in all)"


def _twice(names: pd.Index, noun: str) -> list[str]:
    again = names[names.duplicated()].unique()
    return [f"{noun} {listed(again)} stands twice: keep one"] if len(again) else []
