"""What might have told a model the outcome by a way round the lesion: duplicates, orders, centres, gaps, scanners.

A cause is suspicious where it sorts patients by outcome with p < 0.01 and an AUC (C-index where there is follow-up) at
least 0.1 from 0.5; duplicates wherever there is one. Of several numbers of one cause (the columns with gaps, the sizes
of an image) the one with the least p counts, times how many were looked at (Bonferroni). What is suspicious need not
have been used by a model, and a model may have used what no check looks at: these are places to look first.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radnet.cohort import Cohort
from radnet.data.cohort_tables import CLINICAL, LESIONS
from radnet.data.spreadsheet import read_spreadsheet
from radnet.evaluation.outcomes import Outcomes
from radnet.falsification.acquisition import ScanHeader, dates, first_image, read_header
from radnet.falsification.association import Association, association, group_association
from radnet.falsification.duplicates import shared_features, shared_images

P_SUSPICIOUS = 0.01
LEAST_EFFECT = 0.1
_GEOMETRY = {
    "between_mm": "the slice distance",
    "pixel_mm": "the pixel size",
    "slices": "the number of slices",
    "rows": "the number of rows",
}
_OUTCOME = re.compile(
    r"^(best_)?response$|^(clinical_benefit|tme|cd8)$|^(pfs|os|dfs|efs|rfs)(_|$)|event|death|progression", re.IGNORECASE
)

Check = dict[str, Any]


def leak_checks(cohort: Cohort, endpoint: str, development: Cohort, held_out: Cohort, root: Path) -> list[Check]:
    """Look for ways in which the outcome may have leaked into what a model reads.

    Args:
        cohort: All patients that are learned from or judged, in the order of clinical.csv, outcomes known.
        endpoint: Name of the endpoint.
        development: Those learned from.
        held_out: Those judged at the end; may be nobody.
        root: Folder of the cohort.

    Returns:
        One record per cause: ``cause``; ``value``, an AUC or C-index, or of duplicates the patients concerned, or None
        where it could not be looked at; ``p_value``, or None; ``suspicious``; and ``told``, a sentence.
    """
    outcomes = Outcomes.of(cohort, endpoint)
    measure = "C-index" if outcomes.followed else "AUC"
    lesions = _lesion_rows(root)
    headers = [ScanHeader() if (path := first_image(one)) is None else read_header(path) for one in cohort.patients]
    apart = (set(development.ids), set(held_out.ids))
    checks = [
        _duplicates("duplicate_images", "image", shared_images(cohort), apart),
        _duplicates("duplicate_features", "lesion of equal features", shared_features(cohort), apart),
        _order("id_order", "the order of patient ids", _places(sorted(cohort.ids, key=_natural), cohort), outcomes),
        _order("row_order", f"the order of rows in {CLINICAL}", np.arange(len(cohort)), outcomes),
        _centres(cohort, outcomes),
        _acquisition_order(cohort, outcomes, lesions, headers),
        _worst("missing_values", _gaps(cohort), outcomes, "no clinical value is missing"),
        _worst("image_geometry", _geometry(headers), outcomes, "all images are of one size, or none can be read"),
    ]
    return [{**check, "told": check["told"].replace("AUC", measure)} for check in checks]


def _judged(cause: str, what: str, found: Association) -> Check:
    chance = found.p_value >= P_SUSPICIOUS
    suspicious = not chance and abs(found.value - 0.5) >= LEAST_EFFECT
    numbers = f"AUC {found.value:.2f}, p {'< 0.001' if found.p_value < 0.001 else f'= {found.p_value:.3f}'}"
    verdict = "sorts patients by outcome" if suspicious else "says little" if not chance else "says nothing"
    told = f"{what[:1].upper()}{what[1:]} {verdict} {'' if suspicious else 'about the outcome '}({numbers})."
    return {
        "cause": cause,
        "value": round(found.value, 4),
        "p_value": float(f"{found.p_value:.3g}"),
        "suspicious": suspicious,
        "told": told,
    }


def _unchecked(cause: str, told: str) -> Check:
    return {"cause": cause, "value": None, "p_value": None, "suspicious": False, "told": told}


def _order(cause: str, what: str, places: np.ndarray, outcomes: Outcomes) -> Check:
    known = np.isfinite(places)
    if known.sum() < 2:
        return _unchecked(cause, f"Not looked at: {what} is not known.")
    return _judged(cause, what, association(outcomes.where(known), places[known]))


def _centres(cohort: Cohort, outcomes: Outcomes) -> Check:
    if len(set(cohort.centres)) < 2:
        return _unchecked("centre", "Not looked at: there is one centre.")
    found = group_association(outcomes, cohort.centres)
    # Centres of equal rates fall below 0.5, since a pair left out takes its event from its own side: they say nothing.
    return _judged("centre", "the centre", Association(max(found.value, 0.5), found.p_value))


def _acquisition_order(cohort: Cohort, outcomes: Outcomes, lesions: pd.DataFrame, headers: list[ScanHeader]) -> Check:
    columns = {name: [one.clinical.get(name) for one in cohort.patients] for name in _clinical_names(cohort)}
    first_rows = lesions.drop_duplicates("patient_id").set_index("patient_id").reindex(cohort.ids)
    columns |= {name: first_rows[name].tolist() for name in first_rows.columns if name not in columns}
    of_headers = np.array([header.date for header in headers])
    if (dated := dates(columns)) is not None:
        name, days = dated
        return _order("acquisition_order", f"the date of acquisition ({name})", days, outcomes)
    if np.isfinite(of_headers).sum() > len(cohort) / 2:
        return _order("acquisition_order", "the date of acquisition (DICOM)", of_headers, outcomes)
    order = _places([one for one in dict.fromkeys(lesions["patient_id"]) if one in set(cohort.ids)], cohort)
    if np.array_equal(order, np.arange(len(cohort))):
        told = f"Not looked at: no date of acquisition is known, and {LESIONS} is in the order of {CLINICAL}."
        return _unchecked("acquisition_order", told)
    what = f"the order of files in {LESIONS}, which stands for that of acquisition since no date is known,"
    return _order("acquisition_order", what, order, outcomes)


def _worst(cause: str, columns: Mapping[str, np.ndarray], outcomes: Outcomes, nothing: str) -> Check:
    """Judge the number that goes with the outcome most, for how many were looked at."""
    found = {}
    for name, values in columns.items():
        known = np.isfinite(values)
        if known.sum() > 1 and np.ptp(values[known]) > 0:
            found[name] = association(outcomes.where(known), values[known])
    if not found:
        return _unchecked(cause, f"Nothing to look at: {nothing}.")
    name = min(found, key=lambda name: found[name].p_value)
    p_value = min(1.0, found[name].p_value * len(found))
    among = f", of {len(found)} looked at," if len(found) > 1 else ""
    return _judged(cause, f"{name}{among}", Association(found[name].value, p_value))


def _gaps(cohort: Cohort) -> dict[str, np.ndarray]:
    names = [name for name in _clinical_names(cohort) if not _OUTCOME.search(name)]
    gaps = {name: np.array([pd.isna(one.clinical.get(name)) for one in cohort.patients], float) for name in names}
    found = {f"whether {name} is missing": missing for name, missing in gaps.items() if np.ptp(missing) > 0}
    several = {"how many clinical values are missing": np.sum(list(found.values()), axis=0)} if len(found) > 1 else {}
    return found | several


def _geometry(headers: list[ScanHeader]) -> dict[str, np.ndarray]:
    names = [field.name for field in fields(ScanHeader) if field.name in _GEOMETRY]
    return {_GEOMETRY[name]: np.array([getattr(header, name) for header in headers]) for name in names}


def _duplicates(cause: str, what: str, shared: list[set[str]], apart: tuple[set[str], set[str]]) -> Check:
    concerned = sorted(set().union(*shared), key=_natural)
    if not concerned:
        told = f"No two patients share an {what}." if what == "image" else f"No two patients have a {what}."
        return {"cause": cause, "value": 0, "p_value": None, "suspicious": False, "told": told}
    across = sum(bool(one & apart[0]) and bool(one & apart[1]) for one in shared)
    first = " and ".join(sorted(shared[0], key=_natural)[:2])
    told = (
        f"{len(concerned)} patients share an {what}" if what == "image" else f"{len(concerned)} patients have a {what}"
    )
    told += f" with another, such as {first}; {across} of {len(shared)} times across development and held-out patients."
    return {"cause": cause, "value": len(concerned), "p_value": None, "suspicious": True, "told": told}


def _clinical_names(cohort: Cohort) -> list[str]:
    return list(dict.fromkeys(name for one in cohort.patients for name in one.clinical))


def _lesion_rows(root: Path) -> pd.DataFrame:
    if (root / LESIONS).is_file():
        cells = read_spreadsheet(root / LESIONS).cells
        if "patient_id" in cells.columns:
            return cells
    return pd.DataFrame({"patient_id": pd.Series(dtype=object)})


def _places(ordered: Iterable[str], cohort: Cohort) -> np.ndarray:
    place = {patient: number for number, patient in enumerate(ordered)}
    return np.array([place.get(patient, np.nan) for patient in cohort.ids], dtype=float)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort P10 after P9."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", name)]
