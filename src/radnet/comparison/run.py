"""Train what a comparison plans, keep what is trained already, and judge all of it together."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from radnet.comparison.plan import plan
from radnet.comparison.table import UNSEEN, comparison_table
from radnet.config import ConfigFault, load_config
from radnet.console import console
from radnet.experiment import run_experiment
from radnet.files import file_hash
from radnet.judgement import judge
from radnet.run_record import git_commit, versions
from radnet.tables import read_table, write_table

_CHANGES_NO_NUMBER = ("output", "overwrite", "workers", "cache", "logger")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What models are worth beside each other.

    Attributes:
        table: ``COLUMNS``: the AUC or C-index of each model, and its difference from the reference.
        reference: Name of the model the others are compared with.
        models: How many were tried.
        evaluation: Folder with everything else that was judged, from which ``radnet report`` makes a page.
        failed: Why a model was not trained, by its name.
        messages: What was not computed; see ``Assessment.messages``.
    """

    table: pd.DataFrame
    reference: str
    models: int
    evaluation: Path
    failed: Mapping[str, str]
    messages: Sequence[Mapping[str, str]]

    def limits(self) -> list[str]:
        """Return what the numbers do not allow, as lines."""
        tests = int(self.table["p_holm"].notna().sum())
        return [
            f"{self.models} models were tried on the same patients: the best of them looks better than it is.",
            f"p Holm counts all {tests} differences of this table; the p of one picked from it is no evidence alone.",
            "A model chosen here is to be judged on other patients: held-out ones who chose it are held out no longer.",
            "A difference that is not significant does not show two models alike: its interval tells how far apart "
            "they may be.",
        ]


def compare(
    folder: Path,
    models: Sequence[str],
    aggregates: Sequence[str],
    out: Path,
    work: Path,
    settings: Sequence[str] = (),
) -> Comparison:
    """Train models, each with each rule that pools lesions, and judge them together.

    The reference is the first model with the rule of its own configuration. A model that reads no lesion is trained
    once. Everything is drawn from one seed and one split, so that all are judged in the same folds; controls and
    optimism are left out. A run that is finished is kept, and one that was interrupted goes on.

    Args:
        folder: A cohort; without a ``split`` column every patient is judged out of fold.
        models: Names in conf/experiment.
        aggregates: Rules that pool lesions; all there are if empty.
        out: The table, .csv or .parquet. Beside it come ``<stem>_predictions.parquet`` and
            ``<stem>_lesion_predictions.parquet``: every score of a patient that the model did not learn from, and
            what each lesion contributes to it.
        work: Folder of the runs, and of all that was judged (``evaluation/``).
        settings: ``key=value`` of training, for every model.

    Raises:
        ConfigFault: If a model, a rule or a setting cannot be used, before anything is trained.
        ValueError: If no model could be trained.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigFault(f"--out {out}: a table is written as .csv or .parquet", from_command_line=True)
    planned = plan(folder, models, aggregates, work, settings)
    reference, endpoint = planned[0].name, planned[0].endpoint.name
    runs, failed = _trained(planned, folder)
    words = [f"data.root={folder}", f"output={work / 'evaluation'}", f"evaluation.versus={reference}", "report=false"]
    for name in ("predictions", "lesion_predictions"):
        tables = [_unseen(run / f"{name}.parquet", endpoint) for run in runs.values()]
        file = out.with_name(f"{out.stem}_{name}.parquet")
        write_table(pd.concat([one for one in tables if len(one)] or tables[:1], ignore_index=True), file)
        words.append(f"{name}={file}")
    evaluation, assessment = judge(load_config("evaluate", words))
    table = comparison_table(assessment.metrics, reference)
    write_table(table, out)
    messages = [one for one in assessment.messages if one["severity"] != "info"]
    messages += _on_other_patients(runs, reference, endpoint)
    return Comparison(table, reference, len(planned), evaluation, failed, messages)


def _trained(planned: Sequence[DictConfig], folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the run folder of each model, by name, and why others could not be trained."""
    runs: dict[str, Path] = {}
    failed: dict[str, str] = {}
    for place, config in enumerate(planned, start=1):
        console.print(f"{place} of {len(planned)}: {config.name}")
        try:
            runs[config.name] = _run(config, folder)
        except (ValueError, OSError, RuntimeError) as error:  # a model's fault loses no other
            failed[config.name] = str(error)
    if not runs:
        told = "\n".join(f"  - {name}: {why}" for name, why in failed.items())
        raise ValueError(f"none of {len(planned)} models could be trained:\n{told}")
    return runs, failed


def _run(config: DictConfig, folder: Path) -> Path:
    run = Path(config.output)
    finished = (run / "run.json").is_file() and not (run / "progress" / "begun.yaml").is_file()
    if config.overwrite or not finished:
        return run_experiment(config)
    if other := _made_otherwise(run, config, folder):
        raise ValueError(f"{run} holds a run of another {other}: choose another --work, or train anew: overwrite=true")
    return run


def _made_otherwise(run: Path, config: DictConfig, folder: Path) -> str:
    """Return the first thing in which a finished run is not what it would be now; empty where it is."""
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    before, now = (
        {key: one for key, one in _leaves(given) if key.partition(".")[0] not in _CHANGES_NO_NUMBER}
        for given in (OmegaConf.load(run / "config.yaml"), config)
    )
    for key in [*before, *now]:
        if before.get(key) != now.get(key):
            return f"{key}: {before.get(key)} (now {now.get(key)})"
    for name, digest in record["input_sha256"].items():
        if not (folder / name).is_file() or file_hash(folder / name) != digest:
            return name
    made_with = record["versions"] | {"commit": record["git_commit"]}
    return "" if made_with == {**versions(), "commit": git_commit()} else "version of radnet or its libraries"


def _leaves(config: Any) -> Iterator[tuple[str, Any]]:
    return iter(pd.json_normalize(OmegaConf.to_container(config, resolve=True), sep=".").iloc[0].items())


def _unseen(file: Path, endpoint: str) -> pd.DataFrame:
    """Return the rows of patients that a model did not learn from, for the endpoint learned."""
    rows = read_table(file)
    return rows[(rows["endpoint"] == endpoint) & rows["partition"].isin(UNSEEN)]


def _on_other_patients(runs: Mapping[str, Path], reference: str, endpoint: str) -> Iterator[dict[str, str]]:
    """Tell of models that were judged out of fold on other patients than the reference, whose folds then differ."""
    folds = {name: _folds(run, endpoint) for name, run in runs.items()}
    expected = folds.get(reference, {})
    for name, found in folds.items():
        if expected and found != expected:
            strangers = sorted(set(found) ^ set(expected))
            told = ", ".join(strangers[:5]) + (", …" if len(strangers) > 5 else "")
            message = (
                f"not compared with {reference} out of fold: {len(strangers)} patients ({told}) can be judged by one "
                "of the two alone, so that their folds differ; leave these patients out of clinical.csv"
            )
            about = {"endpoint": endpoint, "model": name, "partition": "out_of_fold"}
            yield {**about, "severity": "failed", "message": message}


def _folds(run: Path, endpoint: str) -> dict[str, tuple[str, ...]]:
    """Return the folds in which each patient was judged."""
    rows = _unseen(run / "predictions.parquet", endpoint)
    rows = rows[rows["partition"] == "out_of_fold"].sort_values(["repeat", "fold"])
    named = rows["repeat"].astype(str) + "/" + rows["fold"].astype(str)
    return {str(patient): tuple(of_patient) for patient, of_patient in named.groupby(rows["patient_id"])}
