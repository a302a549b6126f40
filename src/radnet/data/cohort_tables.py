"""The tables of a cohort folder (clinical.csv, lesions.csv, clinical.yaml) as text, with every fault of them."""

import gzip
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from radnet.cohort import BenefitColumns, Endpoint
from radnet.data import clinical_schema
from radnet.data.clinical_benefit import clinical_benefit
from radnet.data.clinical_schema import read_clinical_schema, schema_findings
from radnet.data.spreadsheet import Spreadsheet, read_spreadsheet
from radnet.tables import MISSING, Finding, did_you_mean, fault

CLINICAL, LESIONS, FEATURES = "clinical.csv", "lesions.csv", "features.parquet"
"""Cells that mean: not known."""
SPLITS = ("train", "held_out")
LESION_DEFAULTS = {
    "image": "",
    "mask": "",
    "label": "1",
    "roi_name": "",
    "site": "",
    "channel": "image",
    "reader": "1",
    "repeat": "1",
}
"""Columns lesions.csv may leave out or empty, and what then holds."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What the tables of a cohort folder say, whatever is wrong with them.

    Attributes:
        clinical: Cells of clinical.csv as text; the index is the row of the file.
        lesions: Likewise of lesions.csv, with ``LESION_DEFAULTS`` filled in; without columns where there is no file.
        findings: Every fault.
    """

    clinical: pd.DataFrame
    lesions: pd.DataFrame
    findings: tuple[Finding, ...]


def read_tables(root: Path, endpoints: Sequence[Endpoint] = ()) -> Tables:
    """Read the tables of a cohort folder as far as they can be read, with every fault of them.

    Images and masks are looked for but not read.

    Raises:
        FileNotFoundError: If the folder or its ``clinical.csv`` is absent.
        ValueError: If the folder lies in the truth of a simulation.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; a cohort is a folder with a clinical.csv")
    if "truth" in Path(os.path.realpath(root)).parts:
        raise ValueError(f"{root}: a folder named truth holds planted values of a simulation and is never read here")
    if not os.path.lexists(root / CLINICAL):
        raise FileNotFoundError(f"{root / 'clinical.csv'}: no such file; a cohort is a folder with a clinical.csv")
    sheet = read_spreadsheet(root / CLINICAL)
    clinical = sheet.cells
    findings = [*sheet.findings]
    if clinical.columns.size:
        findings += _clinical_faults(sheet, endpoints)
        findings += _schema_faults(root, clinical.drop(index=list(sheet.broken)))
    lesions = pd.DataFrame(dtype=object)
    if os.path.lexists(root / LESIONS):
        sheet = read_spreadsheet(root / LESIONS)
        findings += sheet.findings
        if sheet.cells.columns.size:
            lesions = _with_defaults(sheet.cells)
            findings += _lesion_faults(lesions, sheet, root, clinical)
    return Tables(clinical, lesions, tuple(findings))


def rows_of(table: pd.DataFrame) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number and the cells of each row."""
    for row, cells in zip(table.index, table.to_dict("records"), strict=True):
        yield int(row), {str(column): str(value) for column, value in cells.items()}


def _clinical_faults(sheet: Spreadsheet, endpoints: Sequence[Endpoint]) -> list[Finding]:
    file, table = CLINICAL, sheet.cells
    needed = ["patient_id", "centre", *(column for endpoint in endpoints for column in endpoint.columns)]
    columns = [str(column) for column in table.columns]
    findings = [
        fault(file, f"no column {column}", did_you_mean(column, columns))
        for column in dict.fromkeys(needed)
        if column not in columns
    ]
    if "patient_id" not in columns:
        return findings
    if table.empty:
        return [*findings, fault(file, "the table has a header and no rows", "write a row for each patient")]
    first: dict[str, tuple[int, str]] = {}
    for row, cells in rows_of(table):
        patient = cells["patient_id"]
        split = cells.get("split", "")
        told = []
        if row not in sheet.broken:
            told += _id_faults(cells, "patient_id")
            if patient in first:
                told.append(_second_row(split, *first[patient]))
            if not cells.get("centre", "?"):
                told.append(("centre is empty", "write unknown if it is not known"))
            if split not in ("", *SPLITS):
                told.append((f"split is {split!r}, expected train, held_out or empty", "write one of them"))
            for endpoint in endpoints:
                told += _outcome_faults(cells, endpoint)
        first.setdefault(patient, (row, split))
        findings += [fault(file, *one, row, patient or "?") for one in told]
    if "split" in columns:
        empty = table.loc[table["split"] == "", "patient_id"]
        if 0 < len(empty) < len(table):
            findings.append(
                fault(
                    file, f"split is empty for {len(empty)} patients ({', '.join(empty.head(5))})", "fill all or none"
                )
            )
    return findings


def _id_faults(cells: Mapping[str, str], column: str) -> list[tuple[str, str]]:
    name = cells[column]
    if not name:
        return [(f"{column} is empty", "every row needs one")]
    if not name.isprintable():
        return [(f"{column} {name!r} holds a control character", "use letters, digits, - and _")]
    if name in (".", "..") or {"/", "\\"} & set(name):
        return [(f"{column} {name!r} holds a separator of paths", "use letters, digits, - and _")]
    return []


def _second_row(split: str, row: int, first_split: str) -> tuple[str, str]:
    if split != first_split:
        return (
            f"the patient is in two splits: {split!r} here and {first_split!r} in row {row}",
            "one row per patient, learned from or held out",
        )
    return f"the patient already stands in row {row}", "one row per patient"


def known_event(cells: Mapping[str, str], endpoint: Endpoint) -> bool | None:
    """Return whether the patient of a row had the event, None where that is not known.

    Raises:
        ValueError: If a cell is none that an outcome can be, which ``read_tables`` lists among the faults.
    """
    if faults := _outcome_faults(cells, endpoint):
        raise ValueError("; ".join(found for found, _ in faults))
    if endpoint.derive is not None:
        return _benefit(cells, endpoint.event, endpoint.derive)
    if any(cells.get(column, "") in MISSING for column in endpoint.columns):
        return None
    return as_number(cells[endpoint.event]) == 1.0


def _outcome_faults(cells: Mapping[str, str], endpoint: Endpoint) -> list[tuple[str, str]]:
    if endpoint.derive is not None:
        return _benefit_faults(cells, endpoint.event, endpoint.derive)
    faults = _flag_faults(cells, endpoint.event, "1 where the event was seen, 0 where it was not")
    if endpoint.time:
        faults += _time_faults(cells, endpoint.time, str(endpoint.time_unit))
    return faults


def _benefit_faults(cells: Mapping[str, str], response: str, of: BenefitColumns) -> list[tuple[str, str]]:
    faults = _time_faults(cells, of.stable_months, "months")
    if of.response_months:
        faults += _time_faults(cells, of.response_months, "months")
    if of.stable_ended:
        faults += _flag_faults(cells, of.stable_ended, "1 where stable disease ended, 0 where it held at the last look")
    if not faults:
        try:
            _benefit(cells, response, of)
        except ValueError as error:
            faults.append((f"{response}: {error}", "correct the one or the other, or leave empty what is not known"))
    return faults


def _benefit(cells: Mapping[str, str], response: str, of: BenefitColumns) -> bool | None:
    def known(column: str | None) -> str | None:
        text = cells.get(column, "") if column else ""
        return None if text in MISSING else text

    def number(column: str | None) -> float | None:
        return None if (text := known(column)) is None else as_number(text)

    ended = number(of.stable_ended)
    return clinical_benefit(
        known(response),
        stable_months=number(of.stable_months),
        stable_ended=None if ended is None else ended == 1.0,
        response_months=number(of.response_months),
        months=of.months,
    )


def _flag_faults(cells: Mapping[str, str], column: str, meaning: str) -> list[tuple[str, str]]:
    cell = cells.get(column, "")
    if cell in MISSING or as_number(cell) in (0.0, 1.0):
        return []
    return [(f"{column} is {cell!r}, expected 0 or 1", f"write {meaning}, nothing if not known")]


def _time_faults(cells: Mapping[str, str], column: str, unit: str) -> list[tuple[str, str]]:
    cell = cells.get(column, "")
    number = as_number(cell)
    if cell in MISSING or (number is not None and 0 < number < float("inf")):
        return []
    return [(f"{column} is {cell!r}, expected {unit} longer than 0", "correct it, or leave it empty if not known")]


def _schema_faults(root: Path, clinical: pd.DataFrame) -> list[Finding]:
    path = root / clinical_schema.FILE
    if not os.path.lexists(path):
        return []
    schema, findings = read_clinical_schema(path)
    return findings + (schema_findings(clinical, schema, MISSING) if schema else [])


def _with_defaults(table: pd.DataFrame) -> pd.DataFrame:
    filled = {
        column: table[column].where(table[column] != "", default) if column in table.columns else default
        for column, default in LESION_DEFAULTS.items()
    }
    return table.assign(**filled)


def _lesion_faults(table: pd.DataFrame, sheet: Spreadsheet, root: Path, clinical: pd.DataFrame) -> list[Finding]:
    file = LESIONS
    given = [str(column) for column in sheet.cells.columns]
    if missing := [column for column in ("patient_id", "lesion_id") if column not in given]:
        return [fault(file, f"no column {column}", did_you_mean(column, given)) for column in missing]
    if ("image" in given) != ("mask" in given):
        here, absent = ("image", "mask") if "image" in given else ("mask", "image")
        hint = did_you_mean(absent, [column for column in given if column != here])
        return [fault(file, f"no column {absent}, though there is a column {here}", f"both or none are needed; {hint}")]
    splits: dict[str, str] = {}
    if {"patient_id", "split"} <= set(clinical.columns):
        splits = {cells["patient_id"]: cells["split"] for _, cells in rows_of(clinical) if cells["split"]}
    known = set(clinical.get("patient_id", ()))
    seen: dict[tuple[str, ...], int] = {}
    findings = []
    for row, cells in rows_of(table):
        if row in sheet.broken:
            continue
        patient, lesion = cells["patient_id"], cells["lesion_id"]
        told = []
        if not patient or not lesion:
            told.append(("patient_id and lesion_id must both be filled", "fill them"))
        elif patient not in known:
            told.append(("clinical.csv has no such patient", "add the patient's row there, or leave this one out"))
        told += [one for column in ("patient_id", "lesion_id") if cells[column] for one in _id_faults(cells, column)]
        key = tuple(cells[column] for column in ("patient_id", "lesion_id", "channel", "reader", "repeat"))
        if key in seen:
            found = f"stands already in row {seen[key]} (same channel {key[2]}, reader, repeat)"
            told.append((found, "leave one out, or name what differs in channel, reader or repeat"))
        seen.setdefault(key, row)
        here = cells.get("split", "")
        if here and here != splits.setdefault(patient, here):
            found = f"the patient is in two splits: {here!r} here and {splits[patient]!r} elsewhere"
            told.append((found, "a patient is learned from or held out, with all lesions"))
        told += _file_faults(cells, root)
        findings += [fault(file, *one, row, patient or "?", lesion or "?") for one in told]
    return findings


def _file_faults(cells: Mapping[str, str], root: Path) -> list[tuple[str, str]]:
    faults = []
    label = as_number(cells["label"])
    if label is None or label < 1 or label != int(min(label, 2**32)):
        faults.append(
            (
                f"label is {cells['label']!r}, expected a whole number of 1 or more",
                "write the lesion's voxel value in the mask",
            )
        )
    if bool(cells["image"]) != bool(cells["mask"]):
        faults.append(("an image and a mask come together, one of the two cells is empty", "fill both or none"))
    for column in ("image", "mask"):
        if cells[column] and (problem := _path_fault(cells[column], root, column)):
            faults.append(problem)
    return faults


def _path_fault(cell: str, root: Path, column: str) -> tuple[str, str] | None:
    path = root / cell
    if "truth" in Path(cell).parts:
        return f"{column} lies in a folder named truth, which training never reads", "give a file of the cohort"
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode) and column == "mask":
            return f"mask is a folder: {path}", "give the file in it"
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return f"{column} is neither a file nor a folder: {path}", "give a file"
        if os.path.normpath(cell).startswith("..") and not _looks_like_an_image(path):
            return f"{column} lies outside the cohort's folder and is no image: {path}", "correct the path"
    except (FileNotFoundError, NotADirectoryError):
        return f"{column} file is missing: {path}", "copy it there, or correct the path"
    except (OSError, ValueError) as error:  # such as links that form a circle, or a zero byte in a name
        return f"{column} cannot be opened: {path} ({getattr(error, 'strerror', None) or error})", "correct the path"
    return None


def _looks_like_an_image(path: Path) -> bool:
    """Whether a file, or one of the first of a folder, begins as NIfTI, NRRD, MetaImage or DICOM does."""
    if path.is_dir():
        return any(_looks_like_an_image(one) for one in sorted(path.iterdir())[:3] if one.is_file())
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"\x1f\x8b"):
        with gzip.open(path) as file:
            head = file.read(512)
    nifti = head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] == b"n+2\0"
    return nifti or head.startswith((b"NRRD", b"ObjectType", b"NDims")) or head[128:132] == b"DICM"


def as_number(text: str) -> float | None:
    """Return the number a cell holds, or None where it holds none."""
    try:
        return float(text)
    except ValueError:
        return None
