"""Where the numbers of a report come from, and what the evaluation had to say about them."""

from collections.abc import Mapping
from typing import Any

from radnet.report.look import PARTITION_LABELS
from radnet.report.reading import Evaluation
from radnet.report.text import MISSING, Table, plain


def messages(evaluation: Evaluation) -> list[Mapping[str, str]]:
    """List what the evaluation had to say, then what the run had; failures first, then warnings.

    A place is endpoint, model, partition, or the run.
    """
    told = [
        {
            "severity": str(entry.get("severity") or "info"),
            "place": " · ".join(
                PARTITION_LABELS.get(str(entry[key]), str(entry[key]))
                for key in ("endpoint", "model", "partition")
                if entry.get(key)
            ),
            "message": str(entry.get("message") or ""),
        }
        for entry in evaluation.about.get("messages") or []
    ]
    told += [{"severity": "info", "place": "Run", "message": str(one)} for one in evaluation.run.get("messages") or []]
    order = ["failed", "warning"]
    return sorted(told, key=lambda entry: order.index(entry["severity"]) if entry["severity"] in order else len(order))


def provenance_tables(evaluation: Evaluation) -> list[Table]:
    """Tabulate where the numbers come from: inputs and their hashes, settings, and the run that trained the models."""
    about = evaluation.about
    run = about.get("run") or {}
    tables = []
    if about.get("inputs"):
        titles = {"path": "File", "sha256": "SHA-256", "rows": "Rows", "protocol": "Protocol"}
        shown = [key for key in titles if any(key in entry for entry in about["inputs"])]
        rows = [[plain(entry.get(key)) for key in shown] for entry in about["inputs"]]
        tables.append(Table("Inputs", [titles[key] for key in shown], rows))
    named = {
        "Evaluation": {"radnet": about.get("radnet"), "created": about.get("created")},
        "Settings": about.get("evaluation"),
        "Run": {key: value for key, value in run.items() if key != "messages" and not isinstance(value, dict)},
        "Counts at each step": run.get("counts"),
        "Seconds per stage": run.get("seconds"),
        "Versions": run.get("versions"),
        "SHA-256 of the cohort's files": run.get("input_sha256"),
        "Configuration of the run": about.get("config"),
        "Truth": {"file": (about.get("truth") or {}).get("file")},
    }
    for caption, values in named.items():
        rows = [[name, value] for name, value in _flat(values or {}) if value != MISSING]
        if rows:
            tables.append(Table(caption, ["Name", "Value"], rows))
    return tables


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    flat: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            flat += _flat(value, f"{prefix}{name}.")
        else:
            flat.append((f"{prefix}{name}", plain(value)))
    return flat
