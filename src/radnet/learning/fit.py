"""Fit a network to patients, and know when to stop."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch import nn
from torch.utils import deterministic

from radnet.learning.augment import Augmentation
from radnet.learning.batch import Bags
from radnet.learning.callbacks import AveragedWeights, BestWeights, EpochCheckpoint, History, SeededEpochs, log_epochs
from radnet.learning.datamodule import LesionDataModule
from radnet.learning.losses import Loss
from radnet.learning.module import PatientModule
from radnet.learning.order import Balance
from radnet.learning.processes import in_processes
from radnet.models.hybrid import HybridNetwork

Average = Literal["none", "ema", "swa"]
Precision = Literal["32-true", "bf16-mixed"]


@dataclass(frozen=True, slots=True)
class TrainerSettings:
    """How a network is fitted.

    Attributes:
        max_epochs: Most passes over the training patients.
        patience: Epochs without a lower validation loss before training stops; the best epoch's weights are kept.
        valid_share: Share of the training patients set aside to decide when to stop, 0 to train to the last epoch.
        batch_size: Patients per batch, over all processes.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        accelerator: ``cpu``, ``gpu`` or ``auto``, as Lightning has it. On a GPU some sums of 3D pooling have no fixed
            order: results are then the same to rounding, not to the bit.
        threads: CPU threads of a step; a fixed number keeps results the same to the bit.
        checkpoint_every_s: Shortest time between two checkpoints, and about the most that an interruption costs; 0
            writes one after every epoch.
        average: Weights that are validated, kept and returned: ``none`` takes them as they are, ``ema`` their
            exponential moving average over steps, ``swa`` the mean of those at the end of late epochs.
        ema_decay: What an ``ema`` keeps of itself at each step.
        swa_after: Share of ``max_epochs`` after which ``swa`` begins.
        balance: Groups that batches show evenly: ``none``, ``event``, ``centre`` or ``event_and_centre``.
        precision: ``32-true``, or ``bf16-mixed``: the network in bfloat16 where that is safe, weights and loss in 32.
        accumulate: Batches per step.
        compile: Whether a hybrid network's branches, or another network, are compiled for the fit; needs a C++
            compiler.
        loaders: Processes that read and vary patches, 0 for a thread of the one that trains; results are the same to
            the bit.
        gradient_clip: Greatest norm of the gradient of a step; 0 for any.
        processes: Processes that share each batch, on a GPU one for each. The result is that of one process to
            rounding, except that dropout and lost branches are drawn anew in each.
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
    average: Average = "none"
    ema_decay: float = 0.99
    swa_after: float = 0.75
    balance: Balance = "none"
    precision: Precision = "32-true"
    accumulate: int = 1
    compile: bool = False
    loaders: int = 0
    gradient_clip: float = 0.0
    processes: int = 1

    def __post_init__(self) -> None:
        if min(self.max_epochs, self.patience, self.batch_size, self.threads, self.accumulate, self.processes) < 1:
            raise ValueError(
                "trainer: max_epochs, patience, batch_size, threads, accumulate and processes must be 1 or more"
            )
        for name, one in (("valid_share", self.valid_share), ("swa_after", self.swa_after)):
            if not 0 <= one < 1:
                raise ValueError(f"trainer.{name} must be 0 or more and below 1, got {one}")
        if not 0 < self.ema_decay < 1:
            raise ValueError(f"trainer.ema_decay must be above 0 and below 1, got {self.ema_decay}")
        for name in ("checkpoint_every_s", "loaders", "gradient_clip"):
            if getattr(self, name) < 0:
                raise ValueError(f"trainer.{name} must be 0 or more, got {getattr(self, name)}")
        for name, choices in (("average", Average), ("balance", Balance), ("precision", Precision)):
            if getattr(self, name) not in get_args(choices):
                told = ", ".join(get_args(choices))
                raise ValueError(f"trainer.{name}={getattr(self, name)} is unknown; choose one of {told}")
        if self.processes > self.batch_size:
            raise ValueError(
                f"trainer.processes={self.processes} cannot share batches of {self.batch_size} patients: set "
                "trainer.batch_size higher"
            )


def fit_network(
    network: nn.Module,
    loss: Loss,
    train: Bags,
    valid: Bags | None,
    settings: TrainerSettings,
    seed: int,
    logger: Logger | None = None,
    checkpoint: Path | None = None,
    augment: Augmentation | None = None,
) -> list[dict[str, float]]:
    """Fit a network in place.

    What chance decides in an epoch follows from the seed and the epoch, so that a fit that goes on from a checkpoint
    ends in the weights, to the bit, of one that was never interrupted.

    Where ``settings.processes`` is more than 1, network, loss and patients are copied into processes started for this
    fit, and what the first of them learned comes back; what the loss remembers does not. A batch whose size is no
    multiple of their number leaves its last patients out in that epoch. Without dropout the numbers of an epoch are
    those of one process within 1 part in 10,000, since sums are taken in another order.

    Args:
        network: Changed in place; holds the weights of the epoch of lowest validation loss, or of the last epoch.
        loss: What is made small.
        train: Patients learned from.
        valid: Patients that decide when to stop, or None.
        settings: See ``TrainerSettings``.
        seed: Order of the patients, dropout and what ``augment`` draws.
        logger: A Lightning logger that receives each epoch's numbers; those of several processes when all are done.
        checkpoint: File written after an epoch, and at the end, and gone on from where it is there; the caller sees to
            it that it is of the same fit. None writes nothing.
        augment: Varies the patches learned from; None leaves them as they are.

    Returns:
        Per epoch its number, ``train_loss`` and, with ``valid``, ``valid_loss`` and ``valid_auroc``.

    Raises:
        ValueError: If this machine lacks a GPU or compiler that is asked for, or patients cannot be batched as asked.
    """
    _check_machine(settings)
    fit = partial(_fit_share, network, loss, train, valid, settings, seed, checkpoint, augment)
    if settings.processes == 1:
        return fit(logger, 0)["epochs"]
    found = in_processes(partial(fit, None), settings.processes)
    network.load_state_dict(found["weights"])
    network.eval()
    epochs: list[dict[str, float]] = found["epochs"]
    if logger is not None:
        log_epochs(logger, epochs, found["batches"], settings.accumulate)
    return epochs


def _fit_share(
    network: nn.Module,
    loss: Loss,
    train: Bags,
    valid: Bags | None,
    settings: TrainerSettings,
    seed: int,
    checkpoint: Path | None,
    augment: Augmentation | None,
    logger: Logger | None,
    process: int,
) -> dict[str, Any]:
    """Fit a network in place, in one of ``settings.processes``; return its weights, epochs and batches of an epoch."""
    module = PatientModule(network, loss, settings.learning_rate, settings.weight_decay).train()
    history, best = History(), BestWeights()
    callbacks: list[Callback] = [SeededEpochs(seed), history]
    if valid is not None:
        callbacks += [best, EarlyStopping("valid_loss", patience=settings.patience)]
    averaged = None
    if settings.average != "none":
        first_epoch = int(settings.swa_after * settings.max_epochs)
        averaged = AveragedWeights(settings.average, settings.ema_decay, first_epoch)
        callbacks.append(averaged)
    if checkpoint is not None:
        callbacks.append(EpochCheckpoint(checkpoint, settings.checkpoint_every_s))
    begun = None if checkpoint is None or not checkpoint.is_file() else checkpoint
    data = LesionDataModule(
        train,
        valid,
        settings.batch_size,
        seed,
        augment,
        settings.balance,
        settings.loaders,
        process,
        settings.processes,
    )
    with _quiet(), _torch_as_told(settings.threads), torch.random.fork_rng(devices=[]):
        trainer = pl.Trainer(
            max_epochs=settings.max_epochs,
            accelerator=settings.accelerator,
            devices=settings.processes,
            strategy="auto" if settings.processes == 1 else _strategy(),
            use_distributed_sampler=False,
            precision=settings.precision,
            accumulate_grad_batches=settings.accumulate,
            gradient_clip_val=settings.gradient_clip or None,
            deterministic=True if _on_cpu(settings) else "warn",
            logger=logger or False,
            callbacks=callbacks,
            enable_checkpointing=checkpoint is not None,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0 if valid is None else 1.0,
            log_every_n_steps=1,
        )
        with _compiled(network) if settings.compile else nullcontext():
            try:
                trainer.fit(module, datamodule=data, ckpt_path=begun, weights_only=True)
            finally:
                data.teardown()
    kept = best.weights or (averaged.weights if averaged is not None else {})
    module.load_state_dict(kept, strict=False)  # an average has no buffers
    network.eval()
    network.cpu()
    if not all(bool(one.isfinite().all()) for one in network.state_dict().values()):
        raise ValueError(
            f"training diverged within {len(history.epochs)} epochs, and its weights are no numbers: set "
            f"trainer.learning_rate below {settings.learning_rate:g}, or trainer.gradient_clip=1"
        )
    return {"weights": network.state_dict(), "epochs": history.epochs, "batches": len(data.order)}


def _strategy() -> DDPStrategy:
    """Return Lightning's strategy for processes that were started by us: gloo on the CPU, nccl on GPUs."""
    return DDPStrategy(
        cluster_environment=LightningEnvironment(),  # also on a machine that a scheduler has its own variables on
        find_unused_parameters=True,  # a batch may have nobody who lacks a branch, or nobody who has it
        broadcast_buffers=False,  # none is learned, and what a loss remembers is the same everywhere
    )


def _on_cpu(settings: TrainerSettings) -> bool:
    return settings.accelerator == "cpu" or not torch.cuda.is_available()


def _check_machine(settings: TrainerSettings) -> None:
    if settings.accelerator == "gpu" and not torch.cuda.is_available():
        raise ValueError("trainer.accelerator=gpu, and there is none: use trainer.accelerator=cpu")
    if not _on_cpu(settings) and torch.cuda.device_count() < settings.processes:
        raise ValueError(
            f"trainer.processes={settings.processes} needs a GPU each, and there are {torch.cuda.device_count()}: "
            "set trainer.processes lower, or use trainer.accelerator=cpu"
        )
    if settings.compile:
        try:
            with _quiet():
                torch.compile(torch.sin)(torch.zeros(1, device="cpu" if _on_cpu(settings) else "cuda"))
        except Exception as error:
            raise ValueError(
                f"trainer.compile=true, and nothing can be compiled here ({type(error).__name__}): install a C++ "
                "compiler such as g++, or use trainer.compile=false"
            ) from error


@contextmanager
def _compiled(network: nn.Module) -> Iterator[None]:
    """Compile in place, so that names of weights stay, what costs most and takes no turns by the data: the branches."""
    parts = list(network.branches.values()) if isinstance(network, HybridNetwork) else [network]
    for part in parts:
        part.compile()
    try:
        yield
    finally:
        for part in parts:
            part._compiled_call_impl = None  # scores are then those of the same network read from its folder


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's notes on devices, and on loaders without workers, of which ``loaders`` has as many as asked.

    Others are told of in the docstrings: a GPU's sums without a fixed order, validation by every process.
    """
    lightning = logging.getLogger("pytorch_lightning")
    level = lightning.level
    lightning.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*GPU available but not used.*")
        warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning with the pinned torch
        warnings.filterwarnings("ignore", ".*torch.jit.script_method.*")  # torch's own compiler
        warnings.filterwarnings("ignore", ".*in eval mode at the start.*")  # batch normalisation that is held
        warnings.filterwarnings("ignore", ".*does not have a deterministic implementation.*")
        warnings.filterwarnings("ignore", ".*sync_dist=True.*")
        warnings.filterwarnings("ignore", ".*find_unused_parameters=True.*")
        warnings.filterwarnings(
            "ignore", ".*exists and is not empty.*"
        )  # epochs before an interruption are logged anew
        try:
            yield
        finally:
            lightning.setLevel(level)


@contextmanager
def _torch_as_told(threads: int) -> Iterator[None]:
    """Fix the number of threads, and leave torch's own choices, which a fit makes for the process, as they were."""
    before, fill = torch.get_num_threads(), deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    fixed, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(threads)
    # Nothing reads memory before it is written, and to fill it would take up to half of a step.
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_num_threads(before)
        deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.use_deterministic_algorithms(fixed, warn_only=warned)
