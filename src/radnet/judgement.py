"""From prediction tables to metrics, figures and a report; needs neither a model nor torch."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from radnet import __version__
from radnet.config import build
from radnet.evaluation.assess import Assessment, EvaluationSettings, assess
from radnet.report.html import write_report
from radnet.tables import file_hash, read_lesion_predictions, read_predictions, write_json, write_table


def judge(config: DictConfig) -> tuple[Path, Assessment]:
    """Evaluate prediction files, or the predictions of a run, as configured.

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
                {"path": str(file), "sha256": file_hash(file), "rows": len(table)}
                for file, table in zip(files, tables, strict=True)
            ],
            "truth": _truth(config, run),
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
        lines.append(
            f"{row.endpoint} · {row.model} · {row.partition}: {name} {row.estimate:.3f} "
            f"({row.lower:.3f} to {row.upper:.3f}), {row.n_event:.0f} of {row.n:.0f} with the event [{row.method}]"
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
        raise ValueError("name what to evaluate: predictions=FILE (or [A,B]), or run=RUN_FOLDER, one of the two")
    if config.run is not None:
        folder = Path(config.run)
        if not (folder / "run.json").is_file():
            raise FileNotFoundError(f"run={folder}: no run.json there; a run is a folder that train.py wrote")
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        output = Path(config.output) if config.output else folder / "evaluation"
        return [folder / "predictions.parquet"], folder / "lesion_predictions.parquet", run, output
    if not config.output:
        raise ValueError("predictions=… needs output=FOLDER, where metrics.csv and report.html go")
    files = [Path(one) for one in ([given] if isinstance(given, str) else given)]
    return files, lesion_file, None, Path(config.output)


def _truth(config: DictConfig, run: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what a simulated cohort planted: the AUCs no model should pass, and what a reader reaches."""
    path = Path(config.truth) if config.truth else None
    if path is None and run is not None:
        beside = Path(run["cohort"]) / "truth" / "truth.json"
        path = beside if beside.is_file() else None
    if path is None:
        return None
    if not path.is_file():
        raise FileNotFoundError(f"truth={path}: no such file")
    planted = json.loads(path.read_text(encoding="utf-8"))
    return {"file": str(path)} | {name: value for name, value in planted.items() if name.endswith("_auc")}
