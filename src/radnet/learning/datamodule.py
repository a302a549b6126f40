"""Batches of training and validation patients for Lightning."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import copy, deepcopy
from functools import partial
from typing import TypeGuard, cast

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from radnet.learning.augment import Augmentation
from radnet.learning.batch import Bags, Batch, Images
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
            the bit for any number. They are there until ``teardown``. Patches of validation patients, which are not
            varied, are read by this process.
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
        weights = draw_weights(train, balance)
        self.order = EpochBatches(len(train), batch_size, seed, weights, process, processes)
        self.batches = PatientBatches(train, self.order, augment, seed, loaders)
        self.validated = None if valid is None else PatientBatches(valid, _in_order(len(valid), batch_size))

    def train_dataloader(self) -> "PatientBatches":
        """Return the training batches, each time they are gone through those of the epoch that ``order`` was told."""
        return self.batches

    def val_dataloader(self) -> "PatientBatches":
        """Return the validation patients in their own order."""
        if self.validated is None:
            raise ValueError("there are no validation patients")
        return self.validated

    def teardown(self, stage: str = "") -> None:  # noqa: ARG002 - Lightning's signature
        """End threads and loaders."""
        self.batches.close()
        if self.validated is not None:
            self.validated.close()


class PatientBatches:
    """Batches of patients, to be gone through again and again: tables from memory, patches from their file, varied.

    A thread makes each batch while the one before is learned from, and the first of the next epoch while the last of
    this one is, so that nothing waits where reading is faster than learning.

    Args:
        bags: The patients.
        sampler: Who stands in each batch; Lightning tells ``EpochBatches`` the epoch.
        augment: Varies the patches; None leaves them as they are.
        seed: Of what ``augment`` draws.
        loaders: Processes that read and vary the patches in that thread's stead; 0 for none.
    """

    batch_sampler = None  # which Lightning asks for where there is a sampler

    def __init__(
        self,
        bags: Bags,
        sampler: EpochBatches | Sequence[list[Drawn]],
        augment: Augmentation | None = None,
        seed: int = 0,
        loaders: int = 0,
    ) -> None:
        self.tables = bags.tables()
        self.sampler = sampler
        self.read = None if bags.images is None else partial(_read, bags.images, deepcopy(augment), seed)
        self.loaders = loaders
        self._ahead: tuple[_OnAndOn, Iterator[Batch]] | None = None
        self._place = (0, 0)  # epoch and number of the batch that is next

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        epoch, after = (self.sampler.epoch, self.sampler.epoch + 1) if _has_epochs(self.sampler) else (0, 0)
        if self._ahead is None or self._place != (epoch, 0):
            self.close()
            self._ahead = self._begun()
        order, _ = self._ahead
        for number in range(1, len(self) + 1):
            if self._ahead is None or self._ahead[0] is not order:
                raise RuntimeError("batches are gone through once at a time, and another pass has begun")
            self._place = (-1, 0)  # if this batch fails, the next pass begins anew
            batch = next(self._ahead[1])
            self._place = (epoch, number) if number < len(self) else (after, 0)
            yield batch

    def close(self) -> None:
        """End the thread and the loaders, when what they are at is done: a loader that is cut short may abort."""
        if self._ahead is None:
            return
        (order, batches), self._ahead = self._ahead, None
        order.ended = True
        with suppress(Exception):  # whoever waited for that batch was told
            deque(batches, maxlen=0)

    def _begun(self) -> "tuple[_OnAndOn, Iterator[Batch]]":
        """Return the order from the sampler's epoch on, which can be ended, and its batches."""
        order = _OnAndOn(self.sampler)
        if self.read is None:
            return order, map(self._batch, order)
        if not self.loaders:
            return order, _one_ahead(self._batch(drawn, self.read(drawn)) for drawn in order)
        loader: DataLoader[Tensor] = DataLoader(
            _Itself(),  # type: ignore[arg-type]
            batch_size=None,  # a batch is what is drawn
            sampler=order,
            collate_fn=self.read,
            num_workers=self.loaders,
            multiprocessing_context="spawn",  # a fork would copy the locks of running threads
            generator=torch.Generator(),  # else it would draw from the state that dropout draws from
        )
        return order, _one_ahead(map(self._batch, _OnAndOn(self.sampler), iter(loader)))

    def _batch(self, drawn: list[Drawn], image: Tensor | None = None) -> Batch:
        rows = torch.tensor([place for place, _ in drawn])
        batch = cast(Batch, {name: tensor[rows] for name, tensor in self.tables.items()})  # type: ignore[index]
        if image is None:
            return batch
        for name in ("features", "present", "has_features", "has_image"):
            batch[name] = batch[name][:, : image.shape[1]]  # patches are too large to pad beyond the batch
        batch["image"] = image
        return batch


class _OnAndOn:
    """The batches of an epoch and of all after it, until it is ended."""

    def __init__(self, sampler: EpochBatches | Sequence[list[Drawn]]) -> None:
        self.sampler = copy(sampler)  # whose epoch nobody else sets
        self.ended = False

    def __iter__(self) -> Iterator[list[Drawn]]:
        while True:
            for drawn in self.sampler:
                if self.ended:
                    return
                yield drawn
            if _has_epochs(self.sampler):
                self.sampler.set_epoch(self.sampler.epoch + 1)


class _Itself:
    """A dataset whose item is what it is asked for."""

    def __getitem__(self, drawn: list[Drawn]) -> list[Drawn]:
        return drawn


def _in_order(size: int, batch_size: int) -> list[list[Drawn]]:
    """Return the batches of all patients in their own order, which no epoch changes."""
    places = [(place, 0) for place in range(size)]
    return [places[begin : begin + batch_size] for begin in range(0, size, batch_size)]


def _has_epochs(sampler: EpochBatches | Sequence[list[Drawn]]) -> TypeGuard[EpochBatches]:
    return isinstance(sampler, EpochBatches)


def _read(images: Images, augment: Augmentation | None, seed: int, drawn: list[Drawn]) -> Tensor:
    """Return the patches of a batch, shape (B, L, C, D, H, W)."""
    (_, epoch), *_ = drawn
    return images.read([place for place, _ in drawn], augment, seed, epoch)


def _one_ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Go through batches while a thread makes the next."""
    with ThreadPoolExecutor(1, thread_name_prefix="patches") as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch
