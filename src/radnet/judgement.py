"""From prediction tables to metrics, figures and a report; needs neither a model nor torch."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf

from radnet import __version__
from radnet.config import ConfigFault, build
from radnet.evaluation.assess import Assessment, assess
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.evaluation.lesion_weights import lesion_weights
from radnet.evaluation.namesakes import join_predictions
from radnet.evaluation.sample_size_table import sample_size_table
from radnet.files import file_hash, write_atomically, write_json
from radnet.report.claims import claims
from radnet.report.html import write_report
from radnet.report.leak import leaks_in
from radnet.report.look import MEASURE_LABELS
from radnet.report.reading import discrimination, read_evaluation, refitted, typed
from radnet.run_description import describe_run, parameters, protocol_of, subgroups_of
from radnet.tables import (
    METRIC_COLUMNS,
    Contradiction,
    contradictions,
    printable,
    read_lesion_predictions,
    read_predictions,
    read_table,
    standing,
    stands_aside,
    told_apart,
    without,
    write_table,
)


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
    described = {"config": {}, "model": {}} if config.run is None else describe_run(Path(config.run))
    tables = [read_predictions(file) for file in files]
    joined = join_predictions(tables, files)
    predictions = joined.predictions
    settings = _settings(config, subgroups_of(described, predictions))
    lesions = None if lesion_file is None else told_apart(read_lesion_predictions(lesion_file))
    assessment = _assess_the_rest(predictions, settings, lesions)
    told = [_renamed(name) for name in joined.namesakes]
    assessment = replace(assessment, messages=[*told, *assessment.messages])
    if config.run is not None:
        assessment = _with_run_tables(assessment, Path(config.run), output)
    write_table(sample_size_table(predictions, parameters(described)), output / "tables" / "sample_size.csv")
    write_table(assessment.metrics, output / "metrics.csv")
    for name, points in assessment.curves.items():
        write_table(points, output / "figures" / f"{name}.csv")
    if lesions is not None and lesions["weight"].notna().any():
        write_table(lesion_weights(lesions), output / "figures" / "lesion_weights.csv")
    asked: Any = OmegaConf.to_container(config.evaluation)
    about = {
        "radnet": __version__,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "evaluation": {**asked, "subgroups": list(settings.subgroups or ())},
        "inputs": [
            {"path": os.path.relpath(file, output), "sha256": file_hash(file), "rows": len(table), **protocol_of(file)}
            for file, table in zip(files, tables, strict=True)
        ],
        "truth": _truth(config, run, output),
        "drift": drift,
        "run": run,
        **described,
        "falsification": _falsification(config),
    }
    leaks = [one.as_message() for one in leaks_in(typed(assessment.metrics), about)]
    assessment = replace(assessment, messages=[*leaks, *assessment.messages])
    write_json({**about, "messages": assessment.messages}, output / "evaluation.json")
    if config.report:
        write_report(output)
    return output, assessment


def _settings(config: DictConfig, subgroups: list[str]) -> EvaluationSettings:
    """Return what is asked; where subgroups are not, those that the run names."""
    unasked = {"subgroups": subgroups} if config.evaluation.get("subgroups") is None else {}
    try:
        settings: EvaluationSettings = build(config.evaluation, **unasked)
    except ConfigFault as error:
        told = str(error).removeprefix(f"{config.evaluation.get('_target_')}: ")
        raise ConfigFault(f"evaluation: {told}", from_command_line=True) from error
    return settings


def _assess_the_rest(
    predictions: pd.DataFrame, settings: EvaluationSettings, lesions: pd.DataFrame | None
) -> Assessment:
    """Assess all but the models and endpoints whose rows contradict each other, which have failed."""
    left_out = contradictions(predictions)
    told = [_failure(one) for one in left_out]
    if lesions is not None:
        lesions = without(lesions, left_out)
        of_lesions = contradictions(lesions, rows_of="lesion")
        told += [_failure(one, "lesions: ") for one in of_lesions]
        lesions = without(lesions, of_lesions)
    assessment = assess(without(predictions, left_out), settings, lesions)
    return replace(assessment, messages=[*told, *assessment.messages])


def _with_run_tables(assessment: Assessment, run: Path, output: Path) -> Assessment:
    """Copy the tables that the run wrote, and add its AUCs corrected for optimism to the metrics."""
    for file in sorted((run / "tables").glob("*.csv")):
        write_atomically(output / "tables" / file.name, lambda path, file=file: shutil.copyfile(file, path))  # type: ignore[misc]
    corrected = run / "tables" / "optimism.csv"
    if not corrected.is_file():
        return assessment
    rows = typed(read_table(corrected))[list(METRIC_COLUMNS)].astype(assessment.metrics.dtypes.to_dict())
    return replace(assessment, metrics=pd.concat([assessment.metrics, rows], ignore_index=True))


def _falsification(config: DictConfig) -> dict[str, Any] | None:
    """Return what a run did to refute itself, or None where it ran no controls."""
    if config.run is None or not (found := Path(config.run) / "falsification.json").is_file():
        return None
    return _read_json(found, "permutation")


def _failure(one: Contradiction, level: str = "") -> dict[str, str]:
    about = {"endpoint": one.endpoint, "model": one.model, "partition": ""}
    return about | {"severity": "failed", "message": f"{level}{one.message}"}


def _renamed(model: str) -> dict[str, str]:
    why = "several files have a model of this name, and their rows differ: each is judged under the name of its file"
    severity = "info" if stands_aside(model) else "warning"
    return {"endpoint": "", "model": model, "partition": "", "severity": severity, "message": why}


def headline(output: Path, assessment: Assessment) -> list[str]:
    """Return one line per model and partition: discrimination with its interval, held-out first, then what was planted.

    Ablations and controls have a line in the partition that counts most; where there are controls, one says by how
    much each model beats volume alone.
    Cut-offs fitted anew on the patients they judge, as ``allow_refit_cutoff`` lets them be, are told of in a line.
    """
    order = {"held_out": 0, "out_of_fold": 1, "apparent": 2}
    table = discrimination(typed(assessment.metrics))
    counts_most = min(table["partition"], key=lambda partition: order.get(partition, 3), default="")
    table = table[~table["model"].map(stands_aside).astype(bool) | (table["partition"] == counts_most)]
    lines = []
    table = table.sort_values("model", key=lambda column: column.map(standing), kind="stable")
    for row in table.sort_values("partition", key=lambda column: column.map(order), kind="stable").itertuples():
        name = MEASURE_LABELS[row.metric]
        interval = "no interval" if np.isnan(row.lower) else f"{row.lower:.3f} to {row.upper:.3f}"
        lines.append(
            f"{row.endpoint} · {row.model} · {row.partition}: {name} {row.estimate:.3f} ({interval}), "
            f"{row.n_event:.0f} of {row.n:.0f} with the event [{row.method}]"
        )
    if (table["model"].map(standing) == standing("control_")).any():
        evaluation = read_evaluation(output)
        told = [claim for endpoint in dict.fromkeys(table["endpoint"]) for claim in claims(evaluation, endpoint)]
        lines += [f"{claim.text}: {claim.detail}" for claim in told if claim.holds is not None]
    about = json.loads((output / "evaluation.json").read_text(encoding="utf-8"))
    rule = about["evaluation"].get("cutoff")
    if refitted(about) and (assessment.metrics["method"] == rule).any():
        lines.append(f"cut-offs: fitted by {rule} on the very patients they judge; what they are worth is optimistic")
    return [printable(line) for line in lines + (_planted(about["truth"]) if about["truth"] else [])]


def _planted(truth: dict[str, Any]) -> list[str]:
    """Return what the oracles and the reader of a simulated cohort reach, as lines."""
    lines = []
    for measure, label in MEASURE_LABELS.items():
        for name, one in (truth.get(f"oracle_{measure}") or {}).items():
            if one[measure] is not None:
                lines.append(f"planted: {name} oracle {label} {one[measure]:.3f}")
    for measure, label in MEASURE_LABELS.items():
        reader = truth.get(f"reader_{measure}") or {}
        if reader.get(measure) is not None:
            lines.append(f"planted: reader {label} {reader[measure]:.3f} (on {reader['judged_on']} patients)")
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
    """Return what a simulated cohort planted: AUCs and C-indices no model should pass, and what a reader reaches."""
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
    for measure in MEASURE_LABELS:
        known = planted.get(f"oracle_{measure}", {})
        if not isinstance(known, dict) or not all(isinstance(one, dict) and measure in one for one in known.values()):
            raise ValueError(
                f"{path}: its oracle_{measure} is not that of a simulated cohort: each source needs {measure}"
            )
    kept = tuple(f"_{measure}" for measure in MEASURE_LABELS)
    return {"file": os.path.relpath(path, output)} | {
        name: value for name, value in planted.items() if name.endswith(kept)
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
