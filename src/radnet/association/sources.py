"""Tables and gene sets that a plan names, read from disk."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd

from radnet.association.plan import GeneSetFile, TableFile
from radnet.association.side_by_side import listed
from radnet.tables import MISSING, TableFault, did_you_mean, read_table, with_numbers

GeneSets = Mapping[str, list[str]]
PATIENT, LESION = "patient_id", "lesion"
"""Names of a table's index: what a row is."""

_BETWEEN = "/"  # patient and lesion; a patient's id has none in it, or P1/2 of L3 would be P1 of 2/L3


def read_patients(path: Path, told: TableFile) -> pd.DataFrame:
    """Return a table with a row per patient, lesion or tile, indexed by the id as text, cells as numbers where all are.

    The index is named ``PATIENT``, or ``LESION`` where the plan names a column of lesions: a lesion is then known by
    its patient and its own id, ``P1/L2``.

    Args:
        path: Of the file.
        told: What the plan says of it.

    Raises:
        TableFault: If a column of ids is missing, a row names nobody, or the patient of a lesion has a ``/`` in its id.
        ValueError: If the file cannot be read.
    """
    table = read_table(path)
    noun = "patient" if told.patients == "rows" else "gene"
    ids = {noun: told.id} | ({} if told.lesion is None else {"lesion": told.lesion})
    present = list(map(str, table.columns))
    if absent := [one for one in ids.values() if one not in present]:
        raise TableFault(path, [f"column {one} is missing, {did_you_mean(one, present)}" for one in absent])
    names = table[list(ids.values())].apply(lambda cells: cells.map(_as_text))
    if faults := [
        f"{nameless} of {len(table)} rows name no {what} in column {column}: fill it, or drop them"
        for what, column in ids.items()
        if (nameless := int(names[column].isin(MISSING).sum()))
    ]:
        raise TableFault(path, faults)
    values = with_numbers(table.drop(columns=list(ids.values())))
    if told.lesion is not None:
        return values.set_axis(_lesion_index(names[told.id], names[told.lesion], path), axis=0)
    if told.patients == "rows":
        return values.set_axis(pd.Index(names[told.id], name=PATIENT), axis=0)
    genes = values.set_axis(pd.Index(names[told.id]), axis=0)
    _refuse_twice(genes.index, path, "gene")
    return genes.T.rename_axis(index=PATIENT, columns=None)


def patients_of(index: pd.Index) -> pd.Index:
    """Return the patient of each row of a table."""
    return index.str.split(_BETWEEN, n=1).str[0] if index.name == LESION else index


def with_ids(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as it is written: ``patient_id`` first, and ``lesion_id`` where a row is a lesion."""
    if table.index.name != LESION:
        return table.rename_axis(index=PATIENT).reset_index()
    lesions = table.index.str.split(_BETWEEN, n=1).str[1]
    written = table.reset_index(drop=True)
    written.insert(0, "lesion_id", lesions)
    written.insert(0, PATIENT, patients_of(table.index))
    return written


def one_row_each(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a table once each patient, or each lesion, stands in it once.

    Raises:
        TableFault: If one stands twice.
    """
    _refuse_twice(table.index, name, "lesion" if table.index.name == LESION else "patient")
    return table


def chosen_columns(table: pd.DataFrame, columns: tuple[str, ...], name: str) -> pd.DataFrame:
    """Return the columns that match names, in the table's order; all, where none is named.

    Raises:
        TableFault: With each name that matches none.
    """
    if not columns:
        return table
    present = list(map(str, table.columns))
    if absent := [one for one in columns if not any(fnmatchcase(there, one) for there in present)]:
        raise TableFault(name, [f"there is no column {one}, {did_you_mean(one, present)}" for one in absent])
    return table.loc[:, [any(fnmatchcase(there, one) for one in columns) for there in present]]


def read_gene_sets(path: Path, told: GeneSetFile) -> dict[str, list[str]]:
    """Return the genes of each set, each once.

    Args:
        path: Of the file; unused where the plan itself has the sets.
        told: What the plan says of them.

    Raises:
        TableFault: If a line or a column is missing, or a set has no gene or stands twice.
        ValueError: If the file cannot be read.
    """
    if told.sets is not None:
        return {name: list(dict.fromkeys(genes)) for name, genes in told.sets.items()}
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    return _of_gmt(path) if path.suffix == ".gmt" else _of_table(path, told)


def _of_gmt(path: Path) -> dict[str, list[str]]:
    sets: dict[str, list[str]] = {}
    faults = []
    for row, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        name, genes = cells[0], cells[2:]
        if name in sets:
            faults.append(f"line {row}: set {name} stands twice: keep one, or rename it")
        sets[name] = [gene for gene in dict.fromkeys(genes) if gene]
        if not sets[name]:
            faults.append(f"line {row}: set {name} has no gene: write name, description and genes, parted by tabs")
    if faults or not sets:
        raise TableFault(path, faults or ["the file has no line"])
    return sets


def _of_table(path: Path, told: GeneSetFile) -> dict[str, list[str]]:
    if path.suffix in (".tsv", ".txt"):
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    else:
        table = read_table(path)
    columns = {"set": str(told.set), "gene": str(told.gene)}
    present = list(map(str, table.columns))
    if absent := [name for name in columns.values() if name not in present]:
        raise TableFault(path, [f"column {name} is missing, {did_you_mean(name, present)}" for name in absent])
    known = table[list(columns.values())].apply(lambda cells: cells.map(_as_text))
    known = known[~known.isin(("",)).any(axis=1)]
    if known.empty:
        raise TableFault(path, ["no row has both a set and a gene"])
    named = known.groupby(columns["set"], sort=False)[columns["gene"]]
    return {str(name): list(dict.fromkeys(genes)) for name, genes in named}


def _lesion_index(patients: pd.Series, lesions: pd.Series, path: Path) -> pd.Index:
    if (parted := patients.str.contains(_BETWEEN, regex=False)).any():
        told = listed(pd.Index(patients[parted].unique()))
        raise TableFault(path, [f"patient {told}: the patient of a lesion has no {_BETWEEN} in its id: rename it"])
    return pd.Index(patients + _BETWEEN + lesions, name=LESION)


def _refuse_twice(names: pd.Index, where: object, noun: str) -> None:
    if len(again := names[names.duplicated()].unique()):
        raise TableFault(where, [f"{noun} {listed(again)} stands twice: keep one row"])


def _as_text(value: object) -> str:
    if value is None or value != value:  # NaN alone differs from itself
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
