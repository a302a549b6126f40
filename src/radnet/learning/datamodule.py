"""Batches of training and validation patients for Lightning."""

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from radnet.learning.batch import Bags, Batch


class LesionDataModule(pl.LightningDataModule):
    """Patients in batches of ``batch_size``, shuffled anew each epoch from ``seed``; validation in one batch."""

    def __init__(self, train: Bags, valid: Bags | None, batch_size: int, seed: int) -> None:
        super().__init__()
        self.train = train
        self.valid = valid
        self.batch_size = batch_size
        self.seed = seed

    def train_dataloader(self) -> DataLoader:
        """Return training batches; a last batch of one patient is left out, since it says little and costs a step."""
        generator = torch.Generator().manual_seed(self.seed)
        odd = len(self.train) % self.batch_size == 1 and len(self.train) > 1
        return _loader(self.train, self.batch_size, shuffle=True, drop_last=odd, generator=generator)

    def val_dataloader(self) -> DataLoader:
        """Return the validation patients as one batch."""
        if self.valid is None:
            raise ValueError("there are no validation patients")
        return _loader(self.valid, len(self.valid))


def _loader(
    bags: Bags,
    batch_size: int,
    shuffle: bool = False,
    drop_last: bool = False,
    generator: torch.Generator | None = None,
) -> DataLoader:
    whole = bags.batch()

    def collate(places: list[int]) -> Batch:
        rows = torch.tensor(places)
        return Batch(**{name: tensor[rows] for name, tensor in whole.items()})  # type: ignore[typeddict-item, index]

    return DataLoader(
        range(len(bags)),  # type: ignore[arg-type]
        batch_size=batch_size,
        shuffle=shuffle,
        drop_last=drop_last,
        collate_fn=collate,
        generator=generator,
    )
