"""Which patients an epoch shows, in which batches: made of seed and epoch alone, so that a fit can be gone on with."""

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

from radnet.learning.batch import Bags

Drawn = tuple[int, int]
"""A patient's place and the epoch, which whoever loads a batch may not know otherwise."""

Balance = Literal["none", "event", "centre", "event_and_centre"]


class EpochBatches(Sampler[list[Drawn]]):
    """The batches of an epoch.

    Without weights every patient stands in one batch of the epoch; a last batch of one patient is left out, since it
    says little and costs a step. With weights each batch is drawn anew: a patient stands in it once at most, and may
    stand in another of the same epoch too; an epoch has as many batches as without.

    Args:
        size: Number of patients.
        batch_size: Patients per step, over all processes.
        seed: Of the order.
        weights: Of each patient in a draw, shape (size,), adding up to 1; None draws nobody twice.
        process: Which of ``processes`` this is. It takes every ``processes``-th patient of a batch, from that place
            on, so that all have equally many; a batch whose size is no multiple leaves its last patients out.
        processes: How many share each batch.

    Raises:
        ValueError: If no batch has a patient for every process.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        weights: NDArray[np.float64] | None = None,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self.size = size
        self.seed = seed
        self.weights = weights
        self.process = process
        self.processes = processes
        self.epoch = 0
        ends = [*range(batch_size, size, batch_size), size]
        sizes = np.diff([0, *ends]).tolist()
        if len(sizes) > 1 and sizes[-1] == 1 < batch_size:
            sizes.pop()
        self.sizes = [one for one in sizes if one >= processes]
        if not self.sizes:
            raise ValueError(
                f"{size} patients in batches of {batch_size} cannot be shared among {processes} processes: "
                "set trainer.processes lower"
            )

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[list[Drawn]]:
        order_seed, _ = epoch_seeds(self.seed, self.epoch)
        for batch in self._drawn(order_seed):
            shared = len(batch) // self.processes * self.processes
            yield [(place, self.epoch) for place in batch[self.process : shared : self.processes]]

    def _drawn(self, order_seed: int) -> Iterator[list[int]]:
        if self.weights is None:
            order = torch.randperm(self.size, generator=torch.Generator().manual_seed(order_seed)).tolist()
            ends = np.cumsum(self.sizes).tolist()
            yield from (order[end - size : end] for size, end in zip(self.sizes, ends, strict=True))
        else:
            rng = np.random.default_rng(order_seed)
            for size in self.sizes:
                yield rng.choice(self.size, size, replace=False, p=self.weights).tolist()


def draw_weights(bags: Bags, balance: Balance) -> NDArray[np.float64] | None:
    """Return how likely each patient is drawn first, so that every group is as likely as any other.

    Drawing goes on without the patients already in the batch, so that a group of fewer patients than its share of a
    batch is there almost whole, and the others fill up.

    Args:
        bags: The patients.
        balance: What makes the groups: whether the event was seen (of several endpoints, their pattern; unknown is a
            group of its own), the centre, or both. ``none`` leaves patients as they come.

    Returns:
        Shape (patients,), adding up to 1; None for ``none``.

    Raises:
        ValueError: If groups are made by centres and the centres are not known.
    """
    if balance not in get_args(Balance):
        raise ValueError(f"trainer.balance={balance} is unknown; choose one of {', '.join(get_args(Balance))}")
    if balance == "none":
        return None
    if balance != "event" and not bags.centres:
        raise ValueError(f"trainer.balance={balance} needs the centre of each training patient, and none is told")
    events = np.nan_to_num(np.asarray(bags.event, dtype=float), nan=-1.0).reshape(len(bags), -1)
    columns = {
        "event": lambda: events,
        "centre": lambda: _numbered(bags.centres)[:, None],
        "event_and_centre": lambda: np.column_stack([events, _numbered(bags.centres)]),
    }[balance]()
    _, group, sizes = np.unique(columns, axis=0, return_inverse=True, return_counts=True)
    return 1.0 / (len(sizes) * sizes[group.reshape(-1)])


def epoch_seeds(seed: int, epoch: int, process: int = 0) -> tuple[int, int]:
    """Return the seeds of an epoch: of the order of the patients, and of a process's dropout."""
    order_seed, *dropout_seeds = np.random.SeedSequence([seed, epoch]).generate_state(2 + process)
    return int(order_seed), int(dropout_seeds[process])


def _numbered(names: object) -> NDArray[np.float64]:
    return np.unique(np.asarray(names, dtype=str), return_inverse=True)[1].astype(float)
