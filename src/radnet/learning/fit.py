"""Fit a network to patients, and know when to stop."""

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint, EarlyStopping
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn

from radnet.files import write_atomically
from radnet.learning.batch import Bags
from radnet.learning.datamodule import LesionDataModule, epoch_seeds
from radnet.learning.losses import Loss
from radnet.learning.module import PatientModule


@dataclass(frozen=True, slots=True)
class TrainerSettings:
    """How a network is fitted.

    Attributes:
        max_epochs: Most passes over the training patients.
        patience: Epochs without a lower validation loss before training stops; the best epoch's weights are kept.
        valid_share: Share of the training patients set aside to decide when to stop, 0 to train to the last epoch.
        batch_size: Patients per step.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        accelerator: ``cpu``, ``gpu`` or ``auto``, as Lightning has it.
        threads: CPU threads of a step; a fixed number keeps results the same to the bit.
        checkpoint_every_s: Shortest time between two checkpoints, and about the most that an interruption costs; 0
            writes one after every epoch.
    """

    max_epochs: int
    patience: int
    valid_share: float
    batch_size: int
    learning_rate: float
    weight_decay: float
    accelerator: str = "cpu"
    threads: int = 1
    checkpoint_every_s: float = 10.0

    def __post_init__(self) -> None:
        if min(self.max_epochs, self.patience, self.batch_size, self.threads) < 1:
            raise ValueError("trainer: max_epochs, patience, batch_size and threads must be 1 or more")
        if not 0 <= self.valid_share < 1:
            raise ValueError(f"trainer.valid_share must be 0 or more and below 1, got {self.valid_share}")
        if self.checkpoint_every_s < 0:
            raise ValueError(f"trainer.checkpoint_every_s must be 0 or more, got {self.checkpoint_every_s}")


def fit_network(
    network: nn.Module,
    loss: Loss,
    train: Bags,
    valid: Bags | None,
    settings: TrainerSettings,
    seed: int,
    logger: Logger | None = None,
    checkpoint: Path | None = None,
) -> list[dict[str, float]]:
    """Fit a network in place.

    What chance decides in an epoch follows from the seed and the epoch, so that a fit that goes on from a checkpoint
    ends in the weights, to the bit, of one that was never interrupted.

    Args:
        network: Changed in place; holds the weights of the epoch of lowest validation loss, or of the last epoch.
        loss: What is made small.
        train: Patients learned from.
        valid: Patients that decide when to stop, or None.
        settings: See ``TrainerSettings``.
        seed: Order of the patients and dropout.
        logger: A Lightning logger that receives each epoch's numbers.
        checkpoint: File written after an epoch, and at the end, and gone on from where it is there; the caller sees to
            it that it is of the same fit. None writes nothing.

    Returns:
        Per epoch its number, ``train_loss`` and, with ``valid``, ``valid_loss`` and ``valid_auroc``.
    """
    module = PatientModule(network, loss, settings.learning_rate, settings.weight_decay)
    history = _History()
    callbacks: list[Callback] = [_SeededEpochs(seed), history]
    if valid is not None:
        callbacks += [_BestWeights(), EarlyStopping("valid_loss", patience=settings.patience)]
    if checkpoint is not None:
        callbacks.append(_Checkpoint(checkpoint, settings.checkpoint_every_s))
    begun = None if checkpoint is None or not checkpoint.is_file() else checkpoint
    if settings.accelerator == "gpu" and not torch.cuda.is_available():
        raise ValueError("trainer.accelerator=gpu, and there is none: use trainer.accelerator=cpu")
    with _quiet(), _threads(settings.threads), torch.random.fork_rng(devices=[]):
        trainer = pl.Trainer(
            max_epochs=settings.max_epochs,
            accelerator=settings.accelerator,
            devices=1,
            deterministic=True,
            logger=logger or False,
            callbacks=callbacks,
            enable_checkpointing=checkpoint is not None,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0 if valid is None else 1.0,
            log_every_n_steps=1,
        )
        data = LesionDataModule(train, valid, settings.batch_size, seed)
        trainer.fit(module, datamodule=data, ckpt_path=begun, weights_only=True)
    network.eval()
    network.cpu()
    return history.epochs


class _SeededEpochs(Callback):
    """Let dropout draw from a state made of seed and epoch alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        _, dropout_seed = epoch_seeds(self.seed, trainer.current_epoch)
        torch.manual_seed(dropout_seed)


class _History(Callback):
    """Keep every epoch's numbers, and tell a logger those before an interruption, since it starts anew."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = state_dict["epochs"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        if trainer.logger is not None:
            for place, epoch in enumerate(self.epochs, start=1):
                trainer.logger.log_metrics(epoch, step=place * int(trainer.num_training_batches) - 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        numbers = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.epochs.append({"epoch": float(trainer.current_epoch), **numbers})


class _BestWeights(Callback):
    """Keep the weights of the epoch of lowest validation loss, and put them back at the end."""

    def __init__(self) -> None:
        self.loss = float("inf")
        self.weights: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"loss": self.loss, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.loss, self.weights = state_dict["loss"], state_dict["weights"]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loss = float(trainer.callback_metrics["valid_loss"])
        if loss < self.loss:
            self.loss, self.weights = loss, deepcopy(pl_module.state_dict())

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        if self.weights:
            pl_module.load_state_dict(self.weights)


class _Checkpoint(Checkpoint):
    """Write Lightning's checkpoint, atomically, where the last is old enough and where training ends.

    Lightning calls a ``Checkpoint`` after all other callbacks, so that what they learned of an epoch is in it.
    """

    def __init__(self, path: Path, every_s: float) -> None:
        self.path = path
        self.every_s = every_s
        self.written = time.monotonic()
        self.stopped = False

    def state_dict(self) -> dict[str, Any]:
        return {"stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.stopped = state_dict["stopped"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        trainer.should_stop = self.stopped  # Lightning keeps everything but this

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        self.stopped = trainer.should_stop
        last = self.stopped or trainer.current_epoch + 1 == trainer.max_epochs
        if last or time.monotonic() - self.written >= self.every_s:
            write_atomically(self.path, trainer.save_checkpoint)
            self.written = time.monotonic()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's notes on devices and on loaders without workers: the data is already in memory."""
    lightning = logging.getLogger("pytorch_lightning")
    level = lightning.level
    lightning.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*GPU available but not used.*")
        warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning with the pinned torch
        warnings.filterwarnings(
            "ignore", ".*exists and is not empty.*"
        )  # epochs before an interruption are logged anew
        try:
            yield
        finally:
            lightning.setLevel(level)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
