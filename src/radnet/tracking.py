"""What Weights & Biases is sent of a run beside its epochs: curves, model, metrics and report, and nobody's name.

Patients are numbered, centres too; hashes of patients and images stay here, since an id that can be guessed can be
found from its hash. Prediction tables and voxels are not sent. A file in which a name or a folder is found after all is
refused.
"""

import base64
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import wandb
from omegaconf import DictConfig, OmegaConf
from plotly.offline import get_plotlyjs

from radnet.files import write_json
from radnet.names import Names, names_in
from radnet.report.html import write_report
from radnet.report.reading import discrimination, typed
from radnet.run_folder import new_folder
from radnet.tables import METRIC_COLUMNS, read_table, write_table
from radnet.wandb_run import end_run, open_run

_OF_THE_MACHINE = ("output", "overwrite", "workers", "cache", "logger")
_NAMES_CENTRES = ("centres", "train", "held_out")
_NOT_SENT = ("attribution.csv", "patches.csv")  # slices of patients' images; names of their files
_CSV_OF_A_PAGE = r"data:text/csv[^,]*;base64,([A-Za-z0-9+/=]+)"
_WITHHELD = ("patients_sha256", "images_sha256", "centres", "card_sha256")


def send_run(folder: Path) -> None:
    """Send what a finished run learned: its configuration, the epochs of every fold, and a copy of the model.

    The copy of ``model.json`` lacks what stands for patients, images and centres, and its seal: radnet refuses to score
    with it, as it could not tell whom the model has learned from.

    Raises:
        ValueError: If a file names a patient or a folder of this machine; nothing of it is sent.
    """
    config = _config(folder)
    names = names_in(folder)
    copied = _emptied(folder, "model")
    shutil.copytree(folder / "model", copied, dirs_exist_ok=True)
    card = json.loads((copied / "model.json").read_text(encoding="utf-8"))
    shown = names.hidden({key: value for key, value in card.items() if key not in _WITHHELD})
    write_json({**shown, "withheld": list(_WITHHELD)}, copied / "model.json")
    with _opened(folder, config) as run:
        run.config.update(shown_config(config, names), allow_val_change=True)
        _send_curves(run, folder / "train_log.csv")
        _send(run, f"{config.name}-model", "model", copied, names)


def send_evaluation(folder: Path, evaluation: Path) -> None:
    """Send the metrics of a run's evaluation, and a report made anew from its tables with patients numbered.

    Attribution, which shows slices of patients' images, is left out, and so is why a lesion has no patch, which names
    files.

    Raises:
        ValueError: If a file names a patient or a folder of this machine; nothing of it is sent.
    """
    config = _config(folder)
    names = names_in(folder)
    made = _emptied(folder, "evaluation")
    tables = [*evaluation.glob("*.csv"), *evaluation.glob("figures/*.csv"), *evaluation.glob("tables/*.csv")]
    for file in (one for one in tables if one.name not in _NOT_SENT):
        write_table(names.hidden_table(read_table(file)), made / file.relative_to(evaluation))
    about = json.loads((evaluation / "evaluation.json").read_text(encoding="utf-8"))
    write_json(names.hidden(_without_places(about)), made / "evaluation.json")
    copied = _emptied(folder, "report")
    shutil.copy(made / "metrics.csv", copied)
    if (evaluation / "report.html").is_file():
        shutil.copy(write_report(made), copied)
    shutil.rmtree(made)
    table = discrimination(typed(read_table(copied / "metrics.csv")[list(METRIC_COLUMNS)]))
    with _opened(folder, config) as run:
        for row in table.itertuples():
            run.summary[f"{row.endpoint}/{row.model}/{row.partition}/{row.metric}"] = row.estimate
        _send(run, f"{config.name}-evaluation", "evaluation", copied, names)


def send_trial(config: DictConfig, metric: str, estimate: float) -> None:
    """Send the one number of a trial, under the name a sweep asks for."""
    with _opened(new_folder(Path("runs") / config.name / "trials"), config) as run:
        run.log({metric: estimate})


def shown_config(config: DictConfig, names: Names) -> dict[str, Any]:
    """Return a configuration without places on this machine and without names of centres; files by their name alone."""
    plain: Any = _without_folders(OmegaConf.to_container(config, resolve=True))
    kept = {key: value for key, value in plain.items() if key not in _OF_THE_MACHINE}
    data = {key: value for key, value in kept["data"].items() if key not in ("root", "cache", "workers")}
    split = kept["split"]
    apart = {key: value for key, value in split["held_out"].items() if key not in _NAMES_CENTRES}
    shown: dict[str, Any] = names.hidden({**kept, "data": data, "split": {**split, "held_out": apart}})
    return shown


def _without_folders(value: Any) -> Any:
    """Return plain data in which the ``file`` of each ``pretrained``, however deep, lacks its folder."""
    if isinstance(value, list):
        return [_without_folders(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    shown = {key: _without_folders(one) for key, one in value.items()}
    weights = shown.get("pretrained")
    if isinstance(weights, dict) and weights.get("file"):
        shown["pretrained"] = {**weights, "file": Path(weights["file"]).name}
    return shown


def _without_places(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of an evaluation with files by their name alone, and excluded patients numbered."""
    run = dict(about["run"])
    run["cohort"] = "cohort"
    run["excluded"] = {str(number): why for number, why in enumerate(run.get("excluded", {}).values(), start=1)}
    inputs = [{**one, "path": Path(one["path"]).name} for one in about["inputs"]]
    truth = about["truth"] and {**about["truth"], "file": Path(about["truth"]["file"]).name}
    config = _without_folders(about["config"])
    if "split" in config:
        apart = {key: one for key, one in config["split"]["held_out"].items() if key not in _NAMES_CENTRES}
        config["split"] = {**config["split"], "held_out": apart}
    return {**about, "run": run, "inputs": inputs, "truth": truth, "config": config}


def _send_curves(run: Any, log: Path) -> None:
    """Log each epoch once, the folds beside each other, by number: a fold may bear the name of a centre."""
    if not log.is_file():
        return
    epochs = read_table(log)
    of_folds = dict(list(epochs.groupby(["repeat", "fold"], sort=False)))
    rows: dict[float, dict[str, float]] = {}
    number = 0
    for (_, fold), table in of_folds.items():
        number += bool(fold)
        place = f"fold_{number}" if fold else "model"
        for row in table.to_dict("records"):
            numbers = {f"{place}/{key}": float(row[key]) for key in row if key.endswith(("loss", "auroc")) and row[key]}
            rows.setdefault(float(row["epoch"]), {}).update(numbers)
    for epoch in sorted(rows):
        run.log({"fold_epoch": epoch, **rows[epoch]})


def _send(run: Any, name: str, kind: str, folder: Path, names: Names) -> None:
    artefact = wandb.Artifact(name, type=kind)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        for content in _contents(file):
            if found := names.found_in(content):
                raise ValueError(f"{file} is not sent to W&B: it holds {found}")
        # not copied into the home; offline W&B keeps the path for `wandb sync`, and shall not keep the folders above us
        place = os.path.relpath(file) if run.offline else str(file.resolve())
        artefact.add_file(place, name=file.relative_to(folder).as_posix(), policy="immutable")
    run.log_artifact(artefact)


def _contents(file: Path) -> Iterable[bytes]:
    if file.suffix == ".html":  # without the library that draws and the bytes of images, in which any word may stand
        page = file.read_text(encoding="utf-8").replace(get_plotlyjs(), "")
        tables = [base64.b64decode(one) for one in re.findall(_CSV_OF_A_PAGE, page)]
        return [re.sub(r"base64,[A-Za-z0-9+/=]+", "", page).encode(), *tables]
    if not is_zipfile(file):
        return [file.read_bytes()]
    with ZipFile(file) as packed:
        return [packed.read(name) for name in packed.namelist()]


def _config(folder: Path) -> DictConfig:
    config = OmegaConf.load(folder / "config.yaml")
    assert isinstance(config, DictConfig)
    return config


@contextmanager
def _opened(folder: Path, config: DictConfig) -> Iterator[Any]:
    run = open_run(folder, config.logger.project, config.logger.offline)
    try:
        yield run
    finally:
        end_run(run)


def _emptied(folder: Path, name: str) -> Path:
    """Return an empty folder for a copy; it stays, as ``wandb sync`` reads from it what was kept offline."""
    copied = folder / "wandb" / "sent" / name
    shutil.rmtree(copied, ignore_errors=True)
    copied.mkdir(parents=True)
    return copied
