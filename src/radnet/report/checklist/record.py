"""The record of a study: what an evaluation's folder says of it, and the look-ups that questions share."""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from radnet.report.checklist.items import Finding
from radnet.report.reading import Evaluation, discrimination, of_patients
from radnet.report.text import with_interval
from radnet.tables import is_ablation, is_control, read_table

_OF_THE_MACHINE = ("accelerator", "threads", "checkpoint_every_s")


@dataclass(frozen=True, slots=True)
class Record:
    """What an evaluation's folder says of a study.

    Attributes:
        metrics: Typed metrics of the models that are neither controls nor ablations.
        controls: Typed metrics of the control models, and of comparisons with them.
        about: ``evaluation.json``.
        tables: The rows of ``tables/*.csv`` by name; empty tables are left out.
        figures: Names of the ``figures/*.csv`` that hold points.
        level: Coverage of the intervals.
    """

    metrics: pd.DataFrame
    controls: pd.DataFrame
    about: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]
    figures: frozenset[str]
    level: float

    @property
    def run(self) -> Mapping[str, Any]:
        """The run that trained the models; empty where predictions came without one."""
        return self.about.get("run") or {}

    @property
    def counts(self) -> Mapping[str, Any]:
        """Patients, lesions and features at each step of the run."""
        return self.run.get("counts") or {}

    @property
    def config(self) -> Mapping[str, Any]:
        """What the run was configured with."""
        return self.about.get("config") or {}

    @property
    def model(self) -> Mapping[str, Any]:
        """The frozen model's card."""
        return self.about.get("model") or {}

    @property
    def simulated(self) -> bool:
        """Whether the cohort was made up by the simulator."""
        made = str((self.config.get("data") or {}).get("_target_") or "")
        return "simulated" in made or bool(self.about.get("truth"))

    @property
    def radiomics(self) -> Mapping[str, Any]:
        """Settings of the extraction, defaults included; empty where the model reads no radiomics features."""
        if not (self.config.get("model") or {}).get("regions"):
            return {}
        return (self.model.get("extraction") or {}).get("settings") or self.config.get("radiomics") or {}


def read_record(evaluation: Evaluation, folder: Path) -> Record:
    """Gather what an evaluation's folder says of a study."""
    metrics = evaluation.metrics
    ablation = metrics["model"].map(is_ablation).astype(bool) | metrics["versus"].map(is_ablation).astype(bool)
    metrics = metrics[~ablation]
    control = metrics["model"].map(is_control).astype(bool) | metrics["versus"].map(is_control).astype(bool)
    read = {path.stem: read_table(path) for path in sorted((folder / "tables").glob("*.csv"))}
    return Record(
        metrics=metrics[~control],
        controls=metrics[control],
        about=evaluation.about,
        tables={name: table for name, table in read.items() if len(table)},
        figures=frozenset(path.stem for path in (folder / "figures").glob("*.csv") if _rows(path)),
        level=evaluation.level,
    )


def needs_run(record: Record) -> Finding | None:
    """Return what to answer of a study whose training is unknown, or None if a run describes it."""
    if record.run:
        return None
    return Finding("for the authors", "predictions came without a run: how they were made is for the authors to say")


def run_file(record: Record, name: str) -> str:
    """Return the path of a file of the run, seen from the evaluation's folder."""
    inputs = record.about.get("inputs") or [{}]
    return posixpath.join(posixpath.dirname(str(inputs[0].get("path") or "")), name)


def part(record: Record, name: str) -> Mapping[str, Any]:
    """Return the run's counts of ``development`` or ``held_out``; empty where nobody is in it."""
    found = record.counts.get(name) or {}
    return found if found.get("patients") else {}


def targets(record: Record, *names: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return key and settings of each part of the model whose class name contains one of the names."""
    found = _walk(record.config.get("model") or {}, "model")
    return [
        (key, settings)
        for key, settings in found
        if any(name in str(settings["_target_"]).rpartition(".")[2] for name in names)
    ]


def class_name(settings: Mapping[str, Any]) -> str:
    """Return the class that settings name, with its numbers and words.

    Example:
        >>> class_name({"_target_": "sklearn.impute.SimpleImputer", "strategy": "median", "_partial_": True})
        'SimpleImputer (strategy median)'
    """
    plain = {
        key: value
        for key, value in settings.items()
        if not (key.startswith("_") or key in _OF_THE_MACHINE or value is None or isinstance(value, dict))
    }
    values = ", ".join(f"{key} {_short(value)}" for key, value in plain.items())
    return str(settings["_target_"]).rpartition(".")[2] + (f" ({values})" if values else "")


def judged(record: Record) -> pd.DataFrame:
    """Return AUC or C-index on patients the model did not learn from, held-out first."""
    rows = discrimination(record.metrics)
    rows = rows[rows["partition"].isin(["held_out", "out_of_fold"])]
    return rows.sort_values("partition", kind="stable")


def of_centres(record: Record) -> pd.DataFrame:
    """Return AUC or C-index by centre, on held-out patients or else out of fold."""
    rows = of_patients(record.metrics)
    kept = rows["metric"].isin(["auc", "c_index"]) & (rows["centre"] != "")
    rows = rows[kept].drop_duplicates(["endpoint", "model", "partition", "centre"])
    held_out = rows[rows["partition"] == "held_out"]
    return held_out if len(held_out) else rows[rows["partition"] == "out_of_fold"]


def told(row: Any) -> str:
    """Write a number of metrics with its interval, model and partition."""
    name = row.metric.replace("auc", "AUC").replace("c_index", "C-index").replace("_", " ")
    where = f"{row.model}, {row.partition.replace('_', '-')}" + (f", centre {row.centre}" if row.centre else "")
    return f"{name} {with_interval(row.estimate, row.lower, row.upper)} ({where}, n = {row.n:.0f})"


def _walk(settings: object, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(settings, Mapping):
        if settings.get("_target_"):
            yield key, settings
        for name, value in settings.items():
            yield from _walk(value, f"{key}.{name}")


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _rows(path: Path) -> bool:
    """Whether a CSV file has a line below its header."""
    with path.open(encoding="utf-8") as lines:
        return sum(1 for _, _ in zip(lines, range(2), strict=False)) > 1
