"""Batches of training and validation patients for Lightning."""

from collections.abc import Iterator

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler

from radnet.learning.batch import Bags, Batch


class LesionDataModule(pl.LightningDataModule):
    """Patients in batches of ``batch_size``, in an order made of ``seed`` and epoch; validation in one batch."""

    def __init__(self, train: Bags, valid: Bags | None, batch_size: int, seed: int) -> None:
        super().__init__()
        self.train = train
        self.valid = valid
        self.batch_size = batch_size
        self.seed = seed

    def train_dataloader(self) -> DataLoader:
        """Return training batches; a last batch of one patient is left out, since it says little and costs a step."""
        odd = len(self.train) % self.batch_size == 1 and len(self.train) > 1
        return _loader(self.train, self.batch_size, EpochOrder(len(self.train), self.seed), drop_last=odd)

    def val_dataloader(self) -> DataLoader:
        """Return the validation patients as one batch."""
        if self.valid is None:
            raise ValueError("there are no validation patients")
        return _loader(self.valid, len(self.valid))


class EpochOrder(Sampler[int]):
    """Every place once, in an order made of seed and epoch alone, so that an interrupted fit goes on in it."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        order_seed, _ = epoch_seeds(self.seed, self.epoch)
        return iter(torch.randperm(self.size, generator=torch.Generator().manual_seed(order_seed)).tolist())


def epoch_seeds(seed: int, epoch: int) -> tuple[int, int]:
    """Return the seeds of an epoch: of the order of the patients, and of dropout."""
    order_seed, dropout_seed = np.random.SeedSequence([seed, epoch]).generate_state(2)
    return int(order_seed), int(dropout_seed)


def _loader(bags: Bags, batch_size: int, order: EpochOrder | None = None, drop_last: bool = False) -> DataLoader:
    whole = bags.batch()

    def collate(places: list[int]) -> Batch:
        rows = torch.tensor(places)
        return Batch(**{name: tensor[rows] for name, tensor in whole.items()})  # type: ignore[typeddict-item, index]

    return DataLoader(
        range(len(bags)),  # type: ignore[arg-type]
        batch_size=batch_size,
        sampler=order,
        drop_last=drop_last,
        collate_fn=collate,
        generator=torch.Generator(),  # else each pass would draw from the state that dropout draws from
    )
