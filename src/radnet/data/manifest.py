"""A cohort folder (clinical.csv, lesions.csv, features.parquet) read into a Cohort, every fault listed at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from radnet.cohort import Cohort, Delineation, Endpoint, Lesion, Outcome, Patient
from radnet.data.cohort_tables import as_number, known_event, read_tables, rows_of
from radnet.data.features import read_features
from radnet.tables import MISSING, TableFault


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
    tables = read_tables(root, endpoints)
    if tables.findings:
        raise TableFault(root, map(str, tables.findings))
    features = read_features(root / "features.parquet") if (root / "features.parquet").is_file() else None
    return Cohort(_patients(tables.clinical, endpoints, _lesions(tables.lesions, root)), features)


def _lesions(table: pd.DataFrame, root: Path) -> dict[str, tuple[Lesion, ...]]:
    found: dict[str, dict[str, tuple[str, list[Delineation]]]] = {}
    for _, cells in rows_of(table):
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
    outcome_columns = {column for one in endpoints for column in one.columns}
    covariates = [c for c in table.columns if c not in {"patient_id", "centre", "split", *outcome_columns}]
    values = {column: _typed(table[column]) for column in covariates}
    patients = []
    for place, (_, cells) in enumerate(rows_of(table)):
        patients.append(
            Patient(
                id=cells["patient_id"],
                centre=cells["centre"],
                split=cells.get("split") or None,
                outcomes={endpoint.name: _outcome(cells, endpoint) for endpoint in endpoints},
                lesions=lesions.get(cells["patient_id"], ()),
                clinical={column: values[column][place] for column in covariates},
            )
        )
    return tuple(patients)


def _outcome(cells: Mapping[str, str], endpoint: Endpoint) -> Outcome | None:
    event = known_event(cells, endpoint)
    if event is None:
        return None
    return Outcome(event, time=float(cells[endpoint.time]) if endpoint.time else None)


def _typed(column: pd.Series) -> list[float | str | None]:
    """Read each cell by itself, so that no patient's cell decides how another's is read."""
    numbers = [None if text in MISSING else as_number(text) for text in column]
    texts = [None if text in MISSING else text for text in column]
    return [text if number is None else number for text, number in zip(texts, numbers, strict=True)]
