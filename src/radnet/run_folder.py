"""The folder of a run: whose it is, what of it is done already, and when it is finished."""

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from omegaconf import DictConfig, OmegaConf

from radnet.files import write_atomically
from radnet.predictors.base import History, Prediction
from radnet.tables import read_table, write_table

_CHANGES_NO_NUMBER = ("output", "overwrite", "workers", "cache", "logger")
_WRITTEN_BY_A_RUN = (
    *("evaluation", "lightning", "wandb", "model", "predictions.parquet", "lesion_predictions.parquet"),
    *("tables", "falsification.json", "train_log.csv", "config.yaml", "progress", "run.json"),
)


class RunFolder:
    """A folder in which a run goes on where it was interrupted, and in no other run's footsteps.

    ``progress/`` holds what the run was begun with and every fit it has done; it is removed when the run is finished.

    Args:
        config: A resolved training configuration.
        made_with: What else numbers depend on and is known before work starts: versions and commit.

    Raises:
        ValueError: If ``config.output`` holds a finished run, or a run of another configuration, and
            ``config.overwrite`` is off; or if it holds other things.
    """

    def __init__(self, config: DictConfig, made_with: dict[str, Any]) -> None:
        self.overwrite = bool(config.overwrite)
        self.path = Path(config.output) if config.output else new_folder(Path("runs") / config.name)
        chosen = OmegaConf.to_container(config, resolve=True)
        assert isinstance(chosen, dict)
        self.begun = {str(key): one for key, one in chosen.items() if key not in _CHANGES_NO_NUMBER} | made_with
        present = {one.name for one in self.path.iterdir()} if self.path.is_dir() else set()
        self.resumed = (self._progress / "begun.yaml").is_file()
        if self.resumed:
            self.agree("begun", self.begun)
        elif "run.json" in present and not self.overwrite:
            raise ValueError(f"output={self.path} holds a finished run: choose another folder, or replace it{_HOW}")
        elif "run.json" not in present and present - {"progress"}:
            raise ValueError(f"output={self.path} is not empty and no earlier run: choose another folder")
        else:
            self._begin()

    @property
    def _progress(self) -> Path:
        return self.path / "progress"

    def agree(self, name: str, value: dict[str, Any]) -> None:
        """Keep what the run depends on; refuse to go on, or begin anew, where it is no longer what it was.

        Raises:
            ValueError: If it changed since the run was begun and the run may not be overwritten.
        """
        kept = self._progress / f"{name}.yaml"
        text = yaml.safe_dump(value, allow_unicode=True)
        if kept.is_file() and kept.read_text(encoding="utf-8") != text:
            if not self.overwrite:
                changes = _differences(yaml.safe_load(kept.read_text(encoding="utf-8")), yaml.safe_load(text))
                changes.sort(key=lambda one: one.partition("=")[0].count("."))  # what others are made of first
                raise ValueError(
                    f"output={self.path} holds an unfinished run that was begun with {'; '.join(changes[:5])}: choose "
                    f"another folder, go back to what it was begun with, or begin anew{_HOW}"
                )
            self._begin()
        write_atomically(kept, lambda path: path.write_text(text, encoding="utf-8"))

    def checkpoint(self, fit: str) -> Path:
        """Return where a fit keeps its last epoch."""
        return self._progress / fit / "last.ckpt"

    def once(self, fit: str, make: Callable[[Path], tuple[Prediction, History]]) -> tuple[Prediction, History]:
        """Return what a fit predicts and its epochs: as kept by an earlier start, or made and kept now.

        Args:
            fit: Its name, unique in the run.
            make: Fits and predicts; is given the file for the checkpoints.
        """
        folder = self._progress / fit
        epochs = folder / "epochs.parquet"
        if epochs.is_file():  # the last to be written
            return _kept(folder), read_table(epochs).to_dict("records")
        prediction, history = make(self.checkpoint(fit))
        _keep(prediction, folder)
        write_table(pd.DataFrame(history), epochs)
        for left in folder.glob("last*.ckpt"):  # one for each member of an ensemble
            left.unlink()
        return prediction, history

    def finish(self) -> None:
        """Remove what only an unfinished run needs."""
        (self._progress / "begun.yaml").unlink()  # first, so that a run is finished or goes on, and never half of each
        shutil.rmtree(self._progress)

    def _begin(self) -> None:
        """Remove an earlier run, if there is one, ``run.json`` last; say what this one is."""
        self.resumed = False
        for name in _WRITTEN_BY_A_RUN:
            if (self.path / name).is_dir():
                shutil.rmtree(self.path / name)
            else:
                (self.path / name).unlink(missing_ok=True)
        self.agree("begun", self.begun)


_HOW = " with overwrite=true"


def _keep(prediction: Prediction, folder: Path) -> None:
    cutoff = np.nan if prediction.cutoff is None else prediction.cutoff
    write_table(prediction.patients.assign(cutoff=cutoff).reset_index(), folder / "patients.parquet")
    write_table(prediction.lesions.reset_index(), folder / "lesions.parquet")
    write_table(pd.DataFrame({"feature": list(prediction.selected)}, dtype=str), folder / "selected.parquet")
    own = pd.DataFrame(dict(prediction.own), index=prediction.patients.index)
    write_table(own.reset_index(), folder / "own.parquet")
    for name, also in prediction.also.items():
        _keep(also, folder / "also" / name)


def _kept(folder: Path) -> Prediction:
    scores = read_table(folder / "patients.parquet").set_index("patient_id")
    cutoff = scores.pop("cutoff").iloc[0]
    return Prediction(
        patients=scores,
        lesions=read_table(folder / "lesions.parquet").set_index(["patient_id", "lesion_id"]),
        cutoff=None if np.isnan(cutoff) else float(cutoff),
        also={one.name: _kept(one) for one in sorted((folder / "also").glob("*"))},
        selected=tuple(read_table(folder / "selected.parquet")["feature"]),
        own=dict(read_table(folder / "own.parquet").set_index("patient_id").items()),
    )


def new_folder(runs: Path) -> Path:
    """Make a folder named after this moment, with a number behind it where another run has begun in the same second."""
    moment = datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S")
    for number in range(1, 1000):
        folder = runs / (moment if number == 1 else f"{moment}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{runs}: a thousand runs were begun at {moment}")


def _differences(before: Any, now: Any, key: str = "") -> list[str]:
    """Return ``key=value (now value)`` for every leaf in which two configurations differ."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [] if before == now else [f"{key}={before} (now {now})"]
    keys = sorted({*before, *now})
    return [
        told for one in keys for told in _differences(before.get(one), now.get(one), f"{key}.{one}" if key else one)
    ]
