"""What is known of a simulated cohort: the AUCs of its oracles and of its reader."""

from collections.abc import Mapping
from typing import Any

from radnet.report.reading import Evaluation
from radnet.report.text import MISSING, Table, decimal, plain

_EXPECTED = "expected"
_COLUMNS = {_EXPECTED: "Expected", "all": "All patients", "train": "Training", "held_out": "Held-out"}
Found = Mapping[str, Any]  # an AUC of the truth file: auc, se, formula


def truth_table(evaluation: Evaluation) -> Table | None:
    """Show the AUC of each oracle, expected and in the cohort's own patients, and of the reader; None if not simulated.

    An AUC that could not be estimated is a dash, and the table's note says why.
    """
    known = _by_source(evaluation.about.get("truth") or {})
    if not known:
        return None
    there = {patients for found in known.values() for patients in found}
    shown = [*(patients for patients in _COLUMNS if patients in there), *sorted(there - set(_COLUMNS))]
    rows = [[source, *(_auc_text(found.get(patients)) for patients in shown)] for source, found in known.items()]
    columns = ["Source", *(_COLUMNS.get(patients, _words(patients)) for patients in shown)]
    return Table("AUC of each source's oracle, and of the reader", columns, rows, note=_why_missing(known))


def _by_source(truth: Mapping[str, Any]) -> dict[str, dict[str, Found]]:
    """Order what the truth file knows by source and then by the patients it holds for."""
    known: dict[str, dict[str, Found]] = {}
    for source, found in (truth.get("oracle_auc") or {}).items():
        known[_words(source)] = {_EXPECTED: found}
    for patients, sources in (truth.get("sample_oracle_auc") or {}).items():
        for source, found in sources.items():
            known.setdefault(_words(source), {})[patients] = found
    if reader := truth.get("reader_auc"):
        known["Reader"] = {reader.get("judged_on", _EXPECTED): reader}
    return known


def _words(name: str) -> str:
    return name[:1].upper() + name[1:].replace("_", " ")


def _auc_text(found: Found | None) -> str:
    """Leave out a standard error that three decimals cannot show, as that of millions of draws."""
    if not found or found.get("auc") is None:
        return MISSING
    se = found.get("se") or 0.0
    return decimal(found["auc"]) + (f" (SE {decimal(se)})" if se >= 0.0005 else "")


def _why_missing(known: Mapping[str, Mapping[str, Found]]) -> str:
    return "; ".join(
        f"{source} {plain(found.get('formula'))}"
        for source, by_patients in known.items()
        for found in by_patients.values()
        if found.get("auc") is None
    )
