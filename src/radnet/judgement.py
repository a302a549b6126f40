"""From prediction tables to metrics, figures and a report; needs neither a model nor torch."""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf

from radnet import __version__
from radnet.config import ConfigFault, build
from radnet.evaluation.assess import Assessment, EvaluationSettings, assess
from radnet.files import file_hash, write_json
from radnet.report.html import write_report
from radnet.tables import TableFault, contradictions, read_lesion_predictions, read_predictions, write_table


def judge(config: DictConfig, drift: Mapping[str, Any] | None = None) -> tuple[Path, Assessment]:
    """Evaluate prediction files, or the predictions of a run, as configured.

    Args:
        config: An evaluation.
        drift: What is known of how these patients differ from a model's training patients, for the report.

    Returns:
        The folder written (metrics.csv, figures/, evaluation.json, report.html) and what is in it. Messages of
        severity ``failed`` name what could not be computed; everything else has been written.
    """
    files, lesion_file, run, output = _inputs(config)
    settings: EvaluationSettings = build(config.evaluation)
    tables = [read_predictions(file) for file in files]
    predictions = pd.concat(tables, ignore_index=True)
    key = ["endpoint", "model", "partition", "fold", "repeat", "patient_id"]
    if predictions.duplicated(key).any():
        raise ValueError(f"{', '.join(map(str, files))}: the same patient, model and fold stand in two of the files")
    if faults := contradictions(predictions):
        raise TableFault(", ".join(map(str, files)), faults)
    if lesion_file is not None:
        read_lesion_predictions(lesion_file)
    assessment = assess(predictions, settings)
    write_table(assessment.metrics, output / "metrics.csv")
    for name in ("roc", "scores", "km"):
        write_table(getattr(assessment, name), output / "figures" / f"{name}.csv")
    write_json(
        {
            "radnet": __version__,
            "created": datetime.now().astimezone().isoformat(timespec="seconds"),
            "evaluation": OmegaConf.to_container(config.evaluation),
            "inputs": [
                {"path": os.path.relpath(file, output), "sha256": file_hash(file), "rows": len(table)}
                for file, table in zip(files, tables, strict=True)
            ],
            "truth": _truth(config, run, output),
            "drift": drift,
            "messages": assessment.messages,
            "run": run,
        },
        output / "evaluation.json",
    )
    write_report(output)
    return output, assessment


def headline(output: Path, assessment: Assessment) -> list[str]:
    """Return one line per model and partition: discrimination with its interval, held-out first, then planted AUCs."""
    table = assessment.metrics
    table = table[
        (table["centre"] == "") & table["metric"].isin(["auc", "c_index"]) & (table["method"] != "delong_logit")
    ]
    order = {"held_out": 0, "out_of_fold": 1, "apparent": 2}
    lines = []
    for row in table.sort_values("partition", key=lambda column: column.map(order), kind="stable").itertuples():
        name = {"auc": "AUC", "c_index": "C-index"}[row.metric]
        interval = "no interval" if np.isnan(row.lower) else f"{row.lower:.3f} to {row.upper:.3f}"
        lines.append(
            f"{row.endpoint} · {row.model} · {row.partition}: {name} {row.estimate:.3f} ({interval}), "
            f"{row.n_event:.0f} of {row.n:.0f} with the event [{row.method}]"
        )
    truth = json.loads((output / "evaluation.json").read_text(encoding="utf-8"))["truth"]
    return lines + (_planted(truth) if truth else [])


def _planted(truth: dict[str, Any]) -> list[str]:
    """Return the oracle and reader AUCs of a simulated cohort as lines."""
    known = dict(truth.get("oracle_auc") or {})
    lines = [f"planted: {name} oracle AUC {one['auc']:.3f}" for name, one in known.items() if one["auc"] is not None]
    reader = truth.get("reader_auc") or {}
    if reader.get("auc") is not None:
        lines.append(f"planted: reader AUC {reader['auc']:.3f} (on {reader['judged_on']} patients)")
    return lines


def _inputs(config: DictConfig) -> tuple[list[Path], Path | None, dict[str, Any] | None, Path]:
    given = config.predictions
    lesion_file = Path(config.lesion_predictions) if config.lesion_predictions else None
    if (given is None) == (config.run is None):
        raise ConfigFault(
            "name what to evaluate, one of: predictions=FILE (or [A,B]), run=RUN_FOLDER, "
            "model=MODEL_FOLDER data.root=FOLDER",
            from_command_line=True,
        )
    if config.run is not None:
        folder = Path(config.run)
        if not (folder / "run.json").is_file():
            raise FileNotFoundError(f"run={folder}: no run.json there; a run is a folder that train.py wrote")
        run = _read_json(folder / "run.json", "cohort")
        output = Path(config.output) if config.output else folder / "evaluation"
        return [folder / "predictions.parquet"], folder / "lesion_predictions.parquet", run, output
    if not config.output:
        raise ConfigFault("predictions=… needs output=FOLDER, where metrics.csv and report.html go", True)
    files = [Path(one) for one in ([given] if isinstance(given, str) else given)]
    return files, lesion_file, None, Path(config.output)


def _truth(config: DictConfig, run: dict[str, Any] | None, output: Path) -> dict[str, Any] | None:
    """Return what a simulated cohort planted: the AUCs no model should pass, and what a reader reaches."""
    path = Path(config.truth) if config.truth else None
    root = Path(config.run) / run["cohort"] if run is not None else config.data.root
    if path is None and root is not None:
        beside = Path(root) / "truth" / "truth.json"
        path = beside if beside.is_file() else None
    if path is None:
        return None
    if not path.is_file():
        raise FileNotFoundError(f"truth={path}: no such file")
    planted = _read_json(path, "oracle_auc")
    known = planted["oracle_auc"]
    if not isinstance(known, dict) or not all(isinstance(one, dict) and "auc" in one for one in known.values()):
        raise ValueError(f"{path}: its oracle_auc is not that of a simulated cohort: each needs an auc")
    return {"file": os.path.relpath(path, output)} | {
        name: value for name, value in planted.items() if name.endswith("_auc")
    }


def _read_json(path: Path, needed: str) -> dict[str, Any]:
    """Read a JSON object that has a key; raise a ValueError that names the file otherwise."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict) or needed not in value:
        raise ValueError(f"{path}: has no {needed}; it is not a file that radnet wrote")
    return value
