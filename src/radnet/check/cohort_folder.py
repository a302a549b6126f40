"""What is wrong with a cohort folder, all of it at once: tables, images, masks, and what would mislead a study."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf
from rich.table import Table
from rich.text import Text

from radnet.check.images import DelineationRow, check_images
from radnet.check.tables import lesion_keys, named, table_warnings
from radnet.cohort import Endpoint, TimeUnit
from radnet.config import build, config_folder, options
from radnet.data.cohort_tables import CLINICAL, FEATURES, LESIONS, Tables, read_tables, rows_of
from radnet.data.features import read_features
from radnet.data.spreadsheet import read_spreadsheet
from radnet.radiomics.settings import ExtractionSettings
from radnet.tables import Finding, TableFault, did_you_mean, fault, printable, warning, write_table

SHOWN = 40
"""Usable patients that a summary names."""


@dataclass(frozen=True, slots=True)
class Check:
    """What a check of a cohort folder came to.

    Attributes:
        findings: Faults first, each in the order of files and rows.
        endpoints: Whose outcomes were looked at.
        patients: Ids in clinical.csv, each once.
        usable: Those that no fault names; where a fault is of a whole file, usable once it is mended.
        centres: Centres of the patients, sorted.
        n_lesions: Lesions of lesions.csv.
        n_delineations: Rows of lesions.csv.
        has_features: Whether there is a features.parquet.
    """

    findings: list[Finding]
    endpoints: tuple[Endpoint, ...]
    patients: list[str]
    usable: list[str]
    centres: list[str]
    n_lesions: int
    n_delineations: int
    has_features: bool

    @property
    def faults(self) -> list[Finding]:
        """What keeps the cohort from being read, or its lesions from being measured."""
        return [one for one in self.findings if one.severity == "fault"]

    @property
    def warnings(self) -> list[Finding]:
        """What may mislead, but stops nothing."""
        return [one for one in self.findings if one.severity == "warning"]

    @property
    def summary(self) -> str:
        """What the folder holds, what was found, and who is usable, in words."""
        outcomes = ", ".join(one.name for one in self.endpoints) or "none"
        names = ", ".join(map(printable, self.usable[:SHOWN])) + (", …" if len(self.usable) > SHOWN else "")
        centres = ", ".join(map(printable, self.centres[:8])) + (", …" if len(self.centres) > 8 else "")
        return "\n".join(
            [
                f"{_count(len(self.patients), 'patient')} of {_count(len(self.centres), 'centre')} ({centres})",
                f"{_count(self.n_lesions, 'lesion')}, {_count(self.n_delineations, 'delineation')}; "
                f"features measured: {'yes' if self.has_features else 'no'}; outcomes looked at: {outcomes}",
                f"{_count(len(self.faults), 'fault')}, {_count(len(self.warnings), 'warning')}",
                f"{len(self.usable)} of {len(self.patients)} patients usable" + (f": {names}" if names else ""),
            ]
        )


def check_cohort(
    root: Path,
    endpoints: Sequence[Endpoint] = (),
    settings: ExtractionSettings | None = None,
    workers: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
) -> Check:
    """Check a cohort folder: its tables, and each image once with its masks.

    Args:
        root: Folder with clinical.csv.
        endpoints: Outcomes whose columns must be there and right; ``present_endpoints`` finds them.
        settings: Extraction the lesions must be large enough for; None asks for one voxel.
        workers: Processes that share the images.
        progress: Called with images done, images in all, and which image it was.

    Raises:
        FileNotFoundError: If the folder or its clinical.csv is absent.
    """
    tables = read_tables(root, endpoints)
    findings = [*tables.findings]
    findings += check_images(_readable_rows(tables, root), root, settings, workers, progress)
    patients = list(dict.fromkeys(one for one in tables.clinical.get("patient_id", ()) if one))
    has_features = (root / FEATURES).is_file()
    if has_features:
        findings += _feature_findings(root / FEATURES, patients)
    findings += table_warnings(tables, endpoints, reference_endpoints().values())
    order = {"fault": 0, "warning": 1}
    blamed = {one.patient for one in findings if one.severity == "fault"}
    return Check(
        findings=sorted(findings, key=lambda one: (order[one.severity], one.file, one.row or 0)),
        endpoints=tuple(endpoints),
        patients=patients,
        usable=[patient for patient in patients if printable(patient) not in blamed],
        centres=sorted(set(tables.clinical.get("centre", ())) - {""}),
        n_lesions=len(lesion_keys(tables).drop_duplicates()),
        n_delineations=len(tables.lesions),
        has_features=has_features,
    )


def reference_endpoints() -> dict[str, Endpoint]:
    """Return the endpoints of conf/endpoint by name."""
    return {name: build(OmegaConf.load(config_folder() / "endpoint" / f"{name}.yaml")) for name in options("endpoint")}


def present_endpoints(root: Path) -> list[Endpoint]:
    """Return the reference endpoints whose event clinical.csv has, with their time where it has that too.

    One that is derived is there where every column is.
    """
    if not (root / CLINICAL).is_file():
        return []
    columns = read_spreadsheet(root / CLINICAL).cells.columns
    present = [one for one in reference_endpoints().values() if one.event in columns]
    present = [one for one in present if one.derive is None or set(one.columns) <= set(columns)]
    return [one if one.time is None or one.time in columns else Endpoint(one.name, one.event) for one in present]


def chosen_endpoints(
    root: Path, names: Sequence[str], event: str | None, time: str | None, time_unit: TimeUnit | None
) -> list[Endpoint]:
    """Return the endpoints asked for, by name or by column; those clinical.csv has where none is.

    Raises:
        ValueError: If conf/endpoint has no such name, or a time is given without an event or a unit.
    """
    reference = reference_endpoints()
    if unknown := [name for name in names if name not in reference]:
        raise ValueError(f"conf/endpoint has no {unknown[0]}; {did_you_mean(unknown[0], list(reference))}")
    if event is None and (time is not None or time_unit is not None):
        raise ValueError("--time and --time-unit belong to an --event COLUMN, and none is named")
    own = [] if event is None else [Endpoint(event, event, time, time_unit)]
    return [reference[name] for name in names] + own or present_endpoints(root)


def findings_table(findings: Sequence[Finding]) -> Table:
    """Return findings as a table for a terminal; no text of theirs is taken for markup."""
    table = Table(show_lines=True)
    for heading in ("", "file", "row", "patient", "lesion", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for one in findings:
        row = "" if one.row is None else str(one.row)
        cells = (one.severity, one.file, row, one.patient, one.lesion, one.found, one.fix)
        table.add_row(*map(Text, cells), style="red" if one.severity == "fault" else "yellow")
    return table


def write_findings(findings: Sequence[Finding], path: Path) -> None:
    """Write findings as .csv, one row each."""
    rows = pd.DataFrame([asdict(one) for one in findings], columns=[field.name for field in fields(Finding)])
    write_table(rows.astype({"row": "Int64"}), path)


def _readable_rows(tables: Tables, root: Path) -> list[DelineationRow]:
    """Rows of lesions.csv that name files and have no fault yet."""
    faulty = {one.row for one in tables.findings if one.file == LESIONS}
    return [
        DelineationRow(
            row=row,
            patient=cells["patient_id"],
            lesion=cells["lesion_id"],
            image=root / cells["image"],
            mask=root / cells["mask"],
            label=int(float(cells["label"])),
            roi_name=cells["roi_name"],
        )
        for row, cells in rows_of(tables.lesions)
        if row not in faulty and {"patient_id", "lesion_id"} <= cells.keys() and cells["image"] and cells["mask"]
    ]


def _feature_findings(path: Path, patients: Sequence[str]) -> list[Finding]:
    try:
        rows = read_features(path).rows
    except TableFault as error:
        return [fault(FEATURES, told, "write the table anew") for told in error.faults]
    except (ValueError, TypeError, OSError) as error:
        return [fault(FEATURES, str(error).replace(f"{path}: ", ""), "write the table anew")]
    known, measured = set(patients), set(rows["patient_id"])
    findings = [
        fault(FEATURES, "features of a patient clinical.csv does not have", "add the patient there", None, one)
        for one in sorted(measured - known)
    ]
    if absent := [one for one in patients if one not in measured]:
        findings.append(warning(FEATURES, f"no features of {named(absent)}", "measure them, or leave them out"))
    if len(failed := rows[rows["status"] != "ok"]):
        told = f"{len(failed)} of {len(rows)} rows were not measured ({named(failed['patient_id'])})"
        findings.append(warning(FEATURES, told, "their status tells why"))
    return findings


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
