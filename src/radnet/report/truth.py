"""What is known of a simulated cohort: the AUCs and C-indices of its oracles and of its reader."""

from collections.abc import Mapping
from typing import Any

from radnet.report.look import MEASURE_LABELS
from radnet.report.reading import Evaluation
from radnet.report.text import MISSING, Table, decimal, plain

_EXPECTED = "expected"
_COLUMNS = {_EXPECTED: "Expected", "all": "All patients", "train": "Training", "held_out": "Held-out"}
Found = Mapping[str, Any]  # of the truth file: auc or c_index, se, formula


def truth_tables(evaluation: Evaluation) -> list[Table]:
    """Show what each oracle reaches, expected and in the cohort's own patients, and the reader; none if not simulated.

    There is a table of AUCs, one of C-indices, or both. What could not be estimated is a dash, and the table's note
    says why.
    """
    truth = evaluation.about.get("truth") or {}
    known = {measure: _by_source(truth, measure) for measure in MEASURE_LABELS}
    return [_table(found, measure) for measure, found in known.items() if found]


def _table(known: Mapping[str, Mapping[str, Found]], measure: str) -> Table:
    there = {patients for found in known.values() for patients in found}
    shown = [*(patients for patients in _COLUMNS if patients in there), *sorted(there - set(_COLUMNS))]
    rows = [[source, *(_text(found.get(patients), measure) for patients in shown)] for source, found in known.items()]
    columns = ["Source", *(_COLUMNS.get(patients, _words(patients)) for patients in shown)]
    caption = f"{MEASURE_LABELS[measure]} of each source's oracle, and of the reader"
    return Table(caption, columns, rows, note=_why_missing(known, measure))


def _by_source(truth: Mapping[str, Any], measure: str) -> dict[str, dict[str, Found]]:
    """Order what the truth file knows by source and then by the patients it holds for."""
    known: dict[str, dict[str, Found]] = {}
    for source, found in (truth.get(f"oracle_{measure}") or {}).items():
        known[_words(source)] = {_EXPECTED: found}
    for patients, sources in (truth.get(f"sample_oracle_{measure}") or {}).items():
        for source, found in sources.items():
            known.setdefault(_words(source), {})[patients] = found
    if reader := truth.get(f"reader_{measure}"):
        known["Reader"] = {reader.get("judged_on", _EXPECTED): reader}
    return known


def _words(name: str) -> str:
    return name[:1].upper() + name[1:].replace("_", " ")


def _text(found: Found | None, measure: str) -> str:
    """Leave out a standard error that three decimals cannot show, as that of millions of draws."""
    if not found or found.get(measure) is None:
        return MISSING
    se = found.get("se") or 0.0
    return decimal(found[measure]) + (f" (SE {decimal(se)})" if se >= 0.0005 else "")


def _why_missing(known: Mapping[str, Mapping[str, Found]], measure: str) -> str:
    return "; ".join(
        f"{source} {plain(found.get('formula'))}"
        for source, by_patients in known.items()
        for found in by_patients.values()
        if found.get(measure) is None
    )
