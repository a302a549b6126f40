"""Batches of training and validation patients for Lightning."""

from typing import cast

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler

from radnet.learning.augment import Augmentation
from radnet.learning.batch import Bags, Batch
from radnet.learning.order import Balance, Drawn, EpochBatches, draw_weights


class LesionDataModule(pl.LightningDataModule):
    """Patients in batches of ``batch_size``, those learned from as ``EpochBatches`` has them.

    Args:
        train: Patients learned from.
        valid: Patients that decide when to stop, or None.
        batch_size: Patients per step.
        seed: Of the order, and of what ``augment`` draws.
        augment: Varies the patches learned from; None leaves them as they are.
        balance: What makes the groups that are evenly drawn; see ``draw_weights``.
        loaders: Processes that read and vary the patches learned from; 0 for this one. What they make is the same to
            the bit for any number. Patches of validation patients, which are not varied, are read by this process.
        process: Which of ``processes`` this is: it learns from its share of each batch, and validates everybody.
        processes: How many share each batch.
    """

    def __init__(
        self,
        train: Bags,
        valid: Bags | None,
        batch_size: int,
        seed: int,
        augment: Augmentation | None = None,
        balance: Balance = "none",
        loaders: int = 0,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        super().__init__()
        self.train = train
        self.valid = valid
        self.batch_size = batch_size
        self.seed = seed
        self.augment = augment
        self.loaders = loaders
        weights = draw_weights(train, balance)
        self.order = EpochBatches(len(train), batch_size, seed, weights, process, processes)

    def train_dataloader(self) -> DataLoader:
        """Return training batches, those of the epoch that a fit goes on with: loaders read before it is told them."""
        if self.trainer is not None:
            done = self.trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
            self.order.set_epoch(done)
        return _loader(self.order, _Collate(self.train, self.augment, self.seed), self.loaders)

    def val_dataloader(self) -> DataLoader:
        """Return the validation patients in their own order."""
        if self.valid is None:
            raise ValueError("there are no validation patients")
        places = [(place, 0) for place in range(len(self.valid))]
        batches = [places[begin : begin + self.batch_size] for begin in range(0, len(places), self.batch_size)]
        return _loader(batches, _Collate(self.valid, None, self.seed), loaders=0)


class _Collate:
    """Makes a batch of drawn patients: their tables from memory, their patches from the file, varied."""

    def __init__(self, bags: Bags, augment: Augmentation | None, seed: int) -> None:
        self.bags = bags
        self.tables = bags.tables()
        self.augment = augment
        self.seed = seed

    def __call__(self, drawn: list[Drawn]) -> Batch:
        places, (epoch, *_) = [place for place, _ in drawn], [epoch for _, epoch in drawn]
        rows = torch.tensor(places)
        batch = cast(Batch, {name: tensor[rows] for name, tensor in self.tables.items()})  # type: ignore[index]
        if self.bags.images is None:
            return batch
        longest = int(batch["present"].sum(dim=1).max())  # patches are too large to pad beyond the batch
        batch = cast(
            Batch,
            batch | {name: batch[name][:, :longest] for name in ("features", "present", "has_features")},
        )
        return self.bags.with_images(batch, places, self.augment, self.seed, epoch)


def _loader(batches: Sampler[list[Drawn]] | list[list[Drawn]], collate: _Collate, loaders: int) -> DataLoader:
    return DataLoader(
        _Itself(),  # type: ignore[arg-type]
        batch_size=None,  # a batch is what is drawn
        sampler=batches,
        collate_fn=collate,
        num_workers=loaders,
        multiprocessing_context="spawn" if loaders else None,  # a fork would copy the locks of running threads
        persistent_workers=loaders > 0,
        generator=torch.Generator(),  # else each pass would draw from the state that dropout draws from
    )


class _Itself:
    """A dataset whose item is what it is asked for."""

    def __getitem__(self, drawn: list[Drawn]) -> list[Drawn]:
        return drawn
