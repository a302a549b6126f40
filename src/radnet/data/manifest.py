"""A cohort folder (clinical.csv, lesions.csv, features.parquet) read into a Cohort, every fault listed at once."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from radnet.cohort import Cohort, Delineation, Endpoint, Lesion, Outcome, Patient
from radnet.data.features import read_features
from radnet.tables import TableFault, read_table

MISSING = ("", "NA", "NaN", "nan", "N/A")
"""Cells that mean: not known."""
SPLITS = ("train", "held_out")


def read_manifest(root: Path, endpoints: Sequence[Endpoint] = ()) -> Cohort:
    """Read the cohort in a folder.

    Args:
        root: Folder with ``clinical.csv`` and, where there are images or measured features, ``lesions.csv`` and
            ``features.parquet``. Paths in ``lesions.csv`` are relative to it.
        endpoints: Outcomes to read; each patient carries one entry per endpoint, None where it is not known.

    Returns:
        The cohort, patients in the order of ``clinical.csv``; every other column of it is a clinical value, a number
        where all known cells of the column are numbers and text otherwise.

    Raises:
        FileNotFoundError: If the folder or its ``clinical.csv`` is absent.
        TableFault: With every fault of the tables: file, row, patient, what was found and what was expected.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; a cohort is a folder with a clinical.csv")
    if "truth" in root.resolve().parts:
        raise ValueError(f"{root}: a folder named truth holds planted values of a simulation and is never read here")
    clinical = read_table(root / "clinical.csv")
    faults = _clinical_faults(clinical, endpoints)
    lesions: dict[str, tuple[Lesion, ...]] = {}
    if (root / "lesions.csv").is_file():
        table = read_table(root / "lesions.csv")
        known = set(clinical.get("patient_id", pd.Series(dtype=str)).str.strip())
        lesion_faults = _lesion_faults(table, root, known)
        faults += [f"lesions.csv {fault}" for fault in lesion_faults]
        if not lesion_faults:
            lesions = _lesions(table, root)
    if faults:
        raise TableFault(root, faults)
    features = read_features(root / "features.parquet") if (root / "features.parquet").is_file() else None
    return Cohort(_patients(clinical, endpoints, lesions), features)


def _clinical_faults(table: pd.DataFrame, endpoints: Sequence[Endpoint]) -> list[str]:
    needed = ["patient_id", "centre"]
    for endpoint in endpoints:
        needed += [endpoint.event] + ([endpoint.time] if endpoint.time else [])
    faults = []
    for column in dict.fromkeys(needed):
        if column not in table.columns:
            close = get_close_matches(column, list(table.columns), n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; it has {', '.join(table.columns)}"
            faults.append(f"clinical.csv has no column {column}{hint}")
    if "patient_id" not in table.columns:
        return faults
    ids = table["patient_id"].str.strip()
    first_row: dict[str, int] = {}
    for row, patient in enumerate(ids):
        where = f"clinical.csv row {row + 2} (patient {patient or '?'})"
        cells = {str(column): str(value).strip() for column, value in table.iloc[row].items()}
        if not patient:
            faults.append(f"{where}: patient_id is empty")
        elif patient in first_row:
            faults.append(f"{where}: the patient already stands in row {first_row[patient]}; one row per patient")
        first_row.setdefault(patient, row + 2)
        if "centre" in cells and not cells["centre"]:
            faults.append(f"{where}: centre is empty; write unknown if it is not known")
        if cells.get("split", "") not in ("", *SPLITS):
            faults.append(f"{where}: split is {cells['split']!r}, expected train, held_out or empty")
        for endpoint in endpoints:
            faults += [f"{where}: {fault}" for fault in _outcome_faults(cells, endpoint)]
    if "split" in table.columns:
        named = table["split"].str.strip() != ""
        if named.any() and not named.all():
            empty = ", ".join(ids[~named].head(5))
            faults.append(
                f"clinical.csv: split is empty for {int((~named).sum())} patients ({empty}); fill all or none"
            )
    return faults


def _outcome_faults(cells: Mapping[str, str], endpoint: Endpoint) -> list[str]:
    faults = []
    event = cells.get(endpoint.event, "")
    if event not in MISSING and _number(event) not in (0.0, 1.0):
        faults.append(f"{endpoint.event} is {event!r}, expected 0 or 1 (1: the event was seen), or empty if not known")
    if endpoint.time and (time := cells.get(endpoint.time, "")) not in MISSING:
        number = _number(time)
        if number is None or not 0 < number < float("inf"):
            faults.append(f"{endpoint.time} is {time!r}, expected {endpoint.time_unit} longer than 0, or empty")
    return faults


def _lesion_faults(table: pd.DataFrame, root: Path, known: set[str]) -> list[str]:
    if missing := [column for column in ("patient_id", "lesion_id") if column not in table.columns]:
        return [f"has no column {column}; it has {', '.join(table.columns)}" for column in missing]
    if ("image" in table.columns) != ("mask" in table.columns):
        return ["has only one of the columns image and mask; both or none are needed"]
    faults = []
    seen: dict[tuple[str, ...], int] = {}
    for row, cells in enumerate(_cells(table)):
        where = f"row {row + 2} (patient {cells['patient_id'] or '?'}, lesion {cells['lesion_id'] or '?'})"
        if not cells["patient_id"] or not cells["lesion_id"]:
            faults.append(f"{where}: patient_id and lesion_id must both be filled")
        elif cells["patient_id"] not in known:
            faults.append(f"{where}: clinical.csv has no such patient")
        key = tuple(cells[column] for column in ("patient_id", "lesion_id", "channel", "reader", "repeat"))
        if key in seen:
            faults.append(f"{where}: stands already in row {seen[key]} (same channel {key[2]}, reader, repeat)")
        seen.setdefault(key, row + 2)
        label = _number(cells["label"])
        if label is None or label < 1 or label != int(label):
            faults.append(f"{where}: label is {cells['label']!r}, expected a whole number of 1 or more")
        if bool(cells["image"]) != bool(cells["mask"]):
            faults.append(f"{where}: an image and a mask come together, one of the two cells is empty")
        for column in ("image", "mask"):
            if not cells[column]:
                continue
            path = root / cells[column]
            if "truth" in Path(cells[column]).parts:
                faults.append(f"{where}: {column} lies in a folder named truth, which training never reads")
            elif not path.exists():
                faults.append(f"{where}: {column} file is missing: {path}")
    return faults


def _cells(table: pd.DataFrame) -> list[dict[str, str]]:
    defaults = {"image": "", "mask": "", "label": "1", "roi_name": "", "site": "", "channel": "image"}
    defaults |= {"reader": "1", "repeat": "1"}
    rows = []
    for record in table.astype(str).to_dict("records"):
        cells = {str(column): value.strip() for column, value in record.items()}
        rows.append({**cells, **{column: cells.get(column) or value for column, value in defaults.items()}})
    return rows


def _lesions(table: pd.DataFrame, root: Path) -> dict[str, tuple[Lesion, ...]]:
    found: dict[str, dict[str, tuple[str, list[Delineation]]]] = {}
    for cells in _cells(table):
        lesions = found.setdefault(cells["patient_id"], {})
        _, delineations = lesions.setdefault(cells["lesion_id"], (cells["site"], []))
        delineations.append(
            Delineation(
                channel=cells["channel"],
                reader=cells["reader"],
                repeat=cells["repeat"],
                image=root / cells["image"] if cells["image"] else None,
                mask=root / cells["mask"] if cells["mask"] else None,
                label=int(float(cells["label"])),
                roi_name=cells["roi_name"] or None,
            )
        )
    return {
        patient: tuple(Lesion(lesion, site, tuple(delineations)) for lesion, (site, delineations) in lesions.items())
        for patient, lesions in found.items()
    }


def _patients(
    table: pd.DataFrame, endpoints: Sequence[Endpoint], lesions: Mapping[str, tuple[Lesion, ...]]
) -> tuple[Patient, ...]:
    outcome_columns = {column for one in endpoints for column in (one.event, one.time) if column}
    covariates = [c for c in table.columns if c not in {"patient_id", "centre", "split", *outcome_columns}]
    values = {column: _typed(table[column]) for column in covariates}
    patients = []
    for row, record in enumerate(table.to_dict("records")):
        cells = {str(column): str(value).strip() for column, value in record.items()}
        patients.append(
            Patient(
                id=cells["patient_id"],
                centre=cells["centre"],
                split=cells.get("split") or None,
                outcomes={endpoint.name: _outcome(cells, endpoint) for endpoint in endpoints},
                lesions=lesions.get(cells["patient_id"], ()),
                clinical={column: values[column][row] for column in covariates},
            )
        )
    return tuple(patients)


def _outcome(cells: Mapping[str, str], endpoint: Endpoint) -> Outcome | None:
    event = cells[endpoint.event]
    time = cells[endpoint.time] if endpoint.time else None
    if event in MISSING or time in MISSING:
        return None
    return Outcome(event=float(event) == 1.0, time=None if time is None else float(time))


def _typed(column: pd.Series) -> list[float | str | None]:
    texts = [None if text.strip() in MISSING else text.strip() for text in column.astype(str)]
    numbers = [None if text is None else _number(text) for text in texts]
    all_numbers = all(number is not None for text, number in zip(texts, numbers, strict=True) if text is not None)
    return list(numbers if all_numbers else texts)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
