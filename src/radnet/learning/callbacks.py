"""What happens around the epochs of a fit: seeds, numbers kept, weights averaged and chosen, checkpoints."""

import time
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from radnet.files import write_atomically
from radnet.learning.order import epoch_seeds


class SeededEpochs(Callback):
    """Let dropout draw from a state made of seed, epoch and process alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Set the state."""
        _, dropout_seed = epoch_seeds(self.seed, trainer.current_epoch, trainer.global_rank)
        torch.manual_seed(dropout_seed)


class History(Callback):
    """Keep every epoch's numbers, and tell a logger those before an interruption, since it starts anew."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.epochs = state_dict["epochs"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Tell the logger the epochs before an interruption."""
        if trainer.logger is not None:
            log_epochs(trainer.logger, self.epochs, int(trainer.num_training_batches), trainer.accumulate_grad_batches)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Keep the numbers of an epoch."""
        numbers = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.epochs.append({"epoch": float(trainer.current_epoch), **numbers})


def log_epochs(logger: Logger, epochs: list[dict[str, float]], batches: int, accumulate: int) -> None:
    """Tell a logger each epoch's numbers at its last step, as Lightning counts them.

    Args:
        logger: Told.
        epochs: Numbers of each epoch.
        batches: Of an epoch.
        accumulate: Batches per step.
    """
    steps = -(-batches // accumulate)
    for place, epoch in enumerate(epochs, start=1):
        logger.log_metrics(epoch, step=place * steps - 1)


class AveragedWeights(Callback):
    """Average the weights over steps or epochs; the average is what is validated.

    Buffers are no weights: the latest count.

    Args:
        average: ``ema``, after each step decay · average + (1 - decay) · weights, from the weights after the first
            step; ``swa``, the equal mean of the weights at the end of each epoch from ``first_epoch`` on. Until there
            is an average, the weights themselves are validated.
        decay: Of ``ema``.
        first_epoch: Of ``swa``, counted from 0.

    Attributes:
        weights: The average, by name in the Lightning module; empty until there is one.

    References:
        Polyak, Juditsky. SIAM J Control Optim 1992;30:838-855 (averaging). Izmailov et al. Averaging weights leads to
        wider optima and better generalization. UAI 2018, algorithm 1 (swa, here at a constant learning rate).
    """

    def __init__(self, average: Literal["ema", "swa"], decay: float, first_epoch: int) -> None:
        self.average = average
        self.first_epoch = first_epoch
        self.mix = get_ema_multi_avg_fn(decay) if average == "ema" else get_swa_multi_avg_fn()
        self.weights: dict[str, Tensor] = {}
        self.averaged = 0
        self.steps = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"weights": self.weights, "averaged": self.averaged, "steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.weights = state_dict["weights"]
        self.averaged, self.steps = state_dict["averaged"], state_dict["steps"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Move what a checkpoint kept to where the weights are."""
        self.weights = {name: weight.to(pl_module.device) for name, weight in self.weights.items()}

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,  # noqa: ARG002
        batch: object,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Take the weights into the average where it is time."""
        stepped, self.steps = trainer.global_step > self.steps, trainer.global_step
        ended = trainer.is_last_batch and trainer.current_epoch >= self.first_epoch
        if stepped if self.average == "ema" else ended:
            self._take(pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Put the average where the weights are."""
        self._swap(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Put the weights back."""
        self._swap(pl_module)

    def _take(self, module: nn.Module) -> None:
        weights = {name: weight.detach() for name, weight in module.named_parameters()}
        if not self.averaged:
            self.weights = {name: weight.clone() for name, weight in weights.items()}
        else:
            self.mix(list(self.weights.values()), list(weights.values()), self.averaged)
        self.averaged += 1

    @torch.no_grad()
    def _swap(self, module: nn.Module) -> None:
        for name, weight in module.named_parameters():
            if name in self.weights:
                kept = weight.clone()
                weight.copy_(self.weights[name])
                self.weights[name].copy_(kept)


class BestWeights(Callback):
    """Keep the weights of the epoch of lowest validation loss.

    Attributes:
        weights: By name in the Lightning module, as they were validated; empty until there was a validation.
    """

    def __init__(self) -> None:
        self.loss = float("inf")
        self.weights: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"loss": self.loss, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.loss, self.weights = state_dict["loss"], state_dict["weights"]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the weights if they are the best so far; this must come before an average gives way to the weights."""
        loss = float(trainer.callback_metrics["valid_loss"])
        if loss < self.loss:
            self.loss, self.weights = loss, deepcopy(pl_module.state_dict())


class EpochCheckpoint(Checkpoint):
    """Write Lightning's checkpoint, atomically, where the last is old enough and where training ends.

    Lightning calls a ``Checkpoint`` after all other callbacks, so that what they learned of an epoch is in it. Of
    several processes the first decides, and writes.
    """

    def __init__(self, path: Path, every_s: float) -> None:
        self.path = path
        self.every_s = every_s
        self.written = time.monotonic()
        self.stopped = False

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.stopped = state_dict["stopped"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Stop at once where training had come to its end."""
        trainer.should_stop = self.stopped  # Lightning keeps everything but this

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Write where it is time."""
        self.stopped = trainer.should_stop
        last = self.stopped or trainer.current_epoch + 1 == trainer.max_epochs
        due = last or time.monotonic() - self.written >= self.every_s
        if trainer.strategy.broadcast(due):
            if trainer.is_global_zero:
                write_atomically(self.path, trainer.save_checkpoint)
            else:
                trainer.save_checkpoint(self.path)  # takes part, and writes nothing
            self.written = time.monotonic()
