"""Fit a network to patients, and know when to stop."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn

from radnet.learning.batch import Bags
from radnet.learning.datamodule import LesionDataModule
from radnet.learning.module import Loss, PatientModule


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
    """

    max_epochs: int
    patience: int
    valid_share: float
    batch_size: int
    learning_rate: float
    weight_decay: float
    accelerator: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        if min(self.max_epochs, self.patience, self.batch_size, self.threads) < 1:
            raise ValueError("trainer: max_epochs, patience, batch_size and threads must be 1 or more")
        if not 0 <= self.valid_share < 1:
            raise ValueError(f"trainer.valid_share must be 0 or more and below 1, got {self.valid_share}")


def fit_network(
    network: nn.Module,
    loss: Loss,
    train: Bags,
    valid: Bags | None,
    settings: TrainerSettings,
    seed: int,
    logger: Logger | None = None,
) -> list[dict[str, float]]:
    """Fit a network in place.

    Args:
        network: Changed in place; holds the weights of the epoch of lowest validation loss, or of the last epoch.
        loss: What is made small.
        train: Patients learned from.
        valid: Patients that decide when to stop, or None.
        settings: See ``TrainerSettings``.
        seed: Order of the patients and dropout.
        logger: A Lightning logger that receives each epoch's numbers.

    Returns:
        Per epoch its number, ``train_loss`` and, with ``valid``, ``valid_loss`` and ``valid_auroc``.
    """
    module = PatientModule(network, loss, settings.learning_rate, settings.weight_decay)
    history = _History()
    callbacks: list[Callback] = [history]
    if valid is not None:
        callbacks += [_BestWeights(), EarlyStopping("valid_loss", patience=settings.patience)]
    with _quiet(), _threads(settings.threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trainer = pl.Trainer(
            max_epochs=settings.max_epochs,
            accelerator=settings.accelerator,
            devices=1,
            deterministic=True,
            logger=logger or False,
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0 if valid is None else 1.0,
            log_every_n_steps=1,
        )
        trainer.fit(module, datamodule=LesionDataModule(train, valid, settings.batch_size, seed))
    network.eval()
    network.cpu()
    return history.epochs


class _History(Callback):
    """Keep every epoch's numbers."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        numbers = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.epochs.append({"epoch": float(trainer.current_epoch), **numbers})


class _BestWeights(Callback):
    """Keep the weights of the epoch of lowest validation loss, and put them back at the end."""

    def __init__(self) -> None:
        self.loss = float("inf")
        self.weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loss = float(trainer.callback_metrics["valid_loss"])
        if loss < self.loss:
            self.loss, self.weights = loss, deepcopy(pl_module.state_dict())

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        if self.weights:
            pl_module.load_state_dict(self.weights)


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
