"""What in the tables of a cohort may mislead a study though it stops nothing: the warnings of a check."""

from collections import Counter
from collections.abc import Collection, Sequence
from difflib import get_close_matches

import pandas as pd

from radnet.cohort import Cohort, Endpoint, Patient
from radnet.data.cohort_tables import CLINICAL, LESION_DEFAULTS, LESIONS, MISSING, Tables, known_event, rows_of
from radnet.data.split import shared_centre_fraction
from radnet.tables import Finding, warning

FEWEST_OF_A_CLASS = 10
"""Patients with the event, or without, below which an endpoint is called imbalanced."""
LEAST_SHARE = 0.1
"""Share of the rarer class below which an endpoint is called imbalanced."""
MOSTLY_NUMBERS = 0.8
"""Share of numbers among the known cells from which on a text in a column is taken for a slip."""


_NEAR = 0.8  # likeness of two names, 0 to 1, from which on one is taken for a slip of the other


def table_warnings(tables: Tables, endpoints: Sequence[Endpoint], reference: Collection[Endpoint]) -> list[Finding]:
    """Return every warning of a cohort's tables.

    Args:
        tables: Whatever is wrong with them.
        endpoints: Outcomes that are looked at.
        reference: Endpoints whose columns a mistyped name may have meant.
    """
    return [
        *_unknown_columns(tables, endpoints, reference),
        *_slips(tables, endpoints),
        *_centre_findings(tables),
        *_outcome_findings(tables, endpoints),
        *_lesion_findings(tables),
    ]


def _unknown_columns(tables: Tables, endpoints: Sequence[Endpoint], reference: Collection[Endpoint]) -> list[Finding]:
    """Columns that nothing reads and whose name is nearly that of one that is read."""
    outcomes = [column for one in (*endpoints, *reference) for column in one.columns]
    absent = [one for one in ("patient_id", "centre", "split", *outcomes) if one not in tables.clinical.columns]
    findings = []
    for file, table, names in (
        (CLINICAL, tables.clinical, [*dict.fromkeys(absent)]),
        (LESIONS, tables.lesions, ["patient_id", "lesion_id", *LESION_DEFAULTS]),
    ):
        long_names = [name for name in names if len(name) > 3]  # time is no slip of tme
        for column in [str(one) for one in table.columns if one not in (*names, *outcomes)]:
            if near := get_close_matches(column.lower(), long_names, n=1, cutoff=_NEAR):
                findings.append(warning(file, f"nothing reads column {column}", f"did you mean {near[0]}?"))
    for one in reference:
        if one.time and one.event in tables.clinical and one.time not in tables.clinical:
            told = f"column {one.event} has no {one.time} beside it"
            findings.append(warning(CLINICAL, told, "add it, or name your columns: --event, --time, --time-unit"))
    return findings


def _slips(tables: Tables, endpoints: Sequence[Endpoint]) -> list[Finding]:
    """Texts in a column of numbers: one of them makes categories of the whole column."""
    others = {"patient_id", "centre", "split"} | {column for one in endpoints for column in one.columns}
    findings = []
    for column in [one for one in tables.clinical.columns if one not in others]:
        known = tables.clinical.loc[~tables.clinical[column].isin(MISSING), column]
        texts = known[pd.to_numeric(known, errors="coerce").isna()]
        if len(texts) and len(known) - len(texts) >= MOSTLY_NUMBERS * len(known):
            row = int(texts.index[0])
            told = f"{column} is {texts.iloc[0]!r}, a number in {len(known) - len(texts)} of {len(known)} rows"
            fix = "correct it, or leave it empty: as it stands every value of the column is a category"
            patient = tables.clinical["patient_id"].get(row, "") if "patient_id" in tables.clinical else ""
            findings.append(warning(CLINICAL, told, fix, row, patient))
    return findings


def _centre_findings(tables: Tables) -> list[Finding]:
    clinical = tables.clinical
    if not {"patient_id", "centre"} <= set(clinical.columns):
        return []
    findings = []
    by_lower: dict[str, set[str]] = {}
    for centre in set(clinical["centre"]):
        by_lower.setdefault(centre.lower(), set()).add(centre)
    for names in [sorted(one) for one in by_lower.values() if len(one) > 1]:
        told = f"the centres {', '.join(names)} differ in capital letters alone"
        findings.append(warning(CLINICAL, told, "write one centre in one way"))
    if "split" not in clinical:
        return findings
    sides = {}
    for side in ("train", "held_out"):
        rows = clinical[clinical["split"] == side].drop_duplicates("patient_id")
        pairs = zip(rows["patient_id"], rows["centre"], strict=True)
        sides[side] = Cohort(tuple(Patient(patient, centre) for patient, centre in pairs))
    for side, cohort in sides.items():
        if not len(cohort) and clinical["split"].any():
            told = f"split names no patient {side}"
            findings.append(warning(CLINICAL, told, "name some, or leave the column out and choose split=kfold"))
    if both := sorted(set(sides["train"].centres) & set(sides["held_out"].centres)):
        share = shared_centre_fraction(sides["train"], sides["held_out"])
        counts = Counter(sides["held_out"].centres)
        told = (
            f"{_counted(both, 'centre')} on both sides of the split: {sum(counts[one] for one in both)} of "
            f"{len(sides['held_out'])} held-out patients ({share:.3f}) are of a centre learned from"
        )
        findings.append(warning(CLINICAL, told, "to judge another hospital, hold out whole centres"))
    return findings


def _outcome_findings(tables: Tables, endpoints: Sequence[Endpoint]) -> list[Finding]:
    clinical = tables.clinical
    if not endpoints:
        told = "no outcome was looked at: clinical.csv has no column that conf/endpoint names"
        return [warning(CLINICAL, told, "name yours: --event COLUMN [--time COLUMN --time-unit UNIT]")]
    findings = []
    for one in endpoints:
        if not {"patient_id", *one.columns} <= set(clinical.columns):
            continue
        found = _events(clinical, one)
        if (unknown := found.isna()).any():
            patients = clinical["patient_id"].loc[found.index[unknown]]
            told = f"{one.name} is not known of {named(patients)}, {len(clinical)} in all"
            findings.append(warning(CLINICAL, told, "they are left out for this endpoint, never counted as negative"))
        event = found[~unknown]
        groups = {"": event}
        if "split" in clinical and set(clinical["split"]) == {"train", "held_out"}:
            split = clinical["split"].loc[event.index]
            groups |= {f" of the split's {side}": event[split == side] for side in ("train", "held_out")}
        for where, of_group in groups.items():
            if imbalance := _imbalance(of_group):
                findings.append(warning(CLINICAL, f"{one.name}: {imbalance}{where}", "expect wide intervals"))
                break
    return findings


def _events(clinical: pd.DataFrame, endpoint: Endpoint) -> pd.Series:
    """Return 1 and 0 by row, NaN where the event is not known; without the rows whose cells are faults."""
    events = {}
    for row, cells in rows_of(clinical):
        try:
            events[row] = known_event(cells, endpoint)
        except ValueError:
            continue  # told among the faults
    return pd.Series(events, dtype=float)


def _imbalance(event: pd.Series) -> str | None:
    counts = int((event == 1).sum()), int((event == 0).sum())
    if min(counts) >= FEWEST_OF_A_CLASS and min(counts) >= LEAST_SHARE * sum(counts):
        return None
    return f"{counts[0]} with the event and {counts[1]} without"


def _lesion_findings(tables: Tables) -> list[Finding]:
    keys = lesion_keys(tables)
    if not len(keys):
        return [] if tables.lesions.columns.empty else [warning(LESIONS, "the table has no rows", "list the lesions")]
    findings = []
    with_lesion = set(keys["patient_id"])
    if without := [one for one in tables.clinical.get("patient_id", ()) if one and one not in with_lesion]:
        findings.append(warning(LESIONS, f"no lesion of {named(without)}", "add theirs; without one there is no image"))
    contour = ["patient_id", "image", "mask", "label", "roi_name", "channel"]
    seen: dict[tuple[str, ...], tuple[int, str]] = {}
    for row, cells in rows_of(tables.lesions):
        key = tuple(cells[column] for column in contour)
        first, lesion = seen.setdefault(key, (row, cells["lesion_id"]))
        if cells["mask"] and lesion != cells["lesion_id"]:
            told = f"image, mask and label are those of lesion {lesion} in row {first}"
            fix = "give each lesion its label, or leave one out"
            findings.append(warning(LESIONS, told, fix, row, cells["patient_id"], cells["lesion_id"]))
    return findings


def lesion_keys(tables: Tables) -> pd.DataFrame:
    """Return patient and lesion of each row of lesions.csv; no rows where a column is missing."""
    keys = ["patient_id", "lesion_id"]
    return tables.lesions[keys] if set(keys) <= set(tables.lesions.columns) else pd.DataFrame(columns=keys)


def named(patients: Sequence[str]) -> str:
    """Return how many patients these are, and who the first are."""
    names = list(dict.fromkeys(patients))
    return f"{len(names)} patient{'s' * (len(names) != 1)} ({', '.join(names[:5])}{', …' * (len(names) > 5)})"


def _counted(names: Sequence[str], noun: str) -> str:
    return f"{noun}{'s' * (len(names) != 1)} {', '.join(names)} {'stands' if len(names) == 1 else 'stand'}"
