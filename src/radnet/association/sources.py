"""Tables and gene sets that a plan names, read from disk."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd

from radnet.association.plan import GeneSetFile, TableFile
from radnet.association.side_by_side import listed
from radnet.tables import MISSING, TableFault, did_you_mean, read_table, with_numbers

GeneSets = Mapping[str, list[str]]


def read_patients(path: Path, told: TableFile) -> pd.DataFrame:
    """Return a table with a row per patient, or per tile, indexed by the id as text, cells as numbers where all are.

    Args:
        path: Of the file.
        told: What the plan says of it.

    Raises:
        TableFault: If the column of ids is missing, or a row names nobody.
        ValueError: If the file cannot be read.
    """
    table = read_table(path)
    if told.id not in table.columns:
        raise TableFault(path, [f"column {told.id} is missing, {did_you_mean(told.id, list(map(str, table.columns)))}"])
    names = table[told.id].map(_as_text)
    if nameless := int(names.isin(MISSING).sum()):
        noun = "patient" if told.patients == "rows" else "gene"
        raise TableFault(
            path, [f"{nameless} of {len(table)} rows name no {noun} in column {told.id}: fill it, or drop them"]
        )
    values = with_numbers(table.drop(columns=told.id)).set_axis(pd.Index(names, name=told.id), axis=0)
    if told.patients == "rows":
        return values
    _refuse_twice(values.index, path, "gene")
    return values.T.rename_axis(index="patient_id", columns=None)


def one_row_each(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a table once each patient stands in it once.

    Raises:
        TableFault: If one stands twice.
    """
    _refuse_twice(table.index, name, "patient")
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


def _refuse_twice(names: pd.Index, where: object, noun: str) -> None:
    if len(again := names[names.duplicated()].unique()):
        raise TableFault(where, [f"{noun} {listed(again)} stands twice: keep one row"])


def _as_text(value: object) -> str:
    if value is None or value != value:  # NaN alone differs from itself
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
