"""What a network is trained to make small.

A loss is given a network's output, shape (B, T), or (B,) where one number is asked for, and the batch it is of.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, softplus

from radnet.learning.batch import Batch

Loss = Callable[[Tensor, Batch], Tensor]
Ties = Literal["efron", "breslow"]


def single(output: Tensor) -> Tensor:
    """Return scores of shape (B,) of an output of shape (B,) or (B, 1)."""
    if output.ndim > 1 and output.shape[1:] != (1,):
        raise ValueError(
            f"this loss takes one number of each patient, and the network gives {tuple(output.shape[1:])}: "
            "set n_outputs=1"
        )
    return output.reshape(-1)


def response_loss(output: Tensor, batch: Batch, positive_weight: float = 1.0) -> Tensor:
    """Return the mean binary cross-entropy of scores taken as logits of the event.

    Args:
        output: Shape (B,) or (B, 1).
        batch: The patients scored.
        positive_weight: Weight of a patient with the event; 1 leaves the prevalence as it is.
    """
    score = single(output)
    weight = torch.tensor(positive_weight, dtype=score.dtype, device=score.device)
    return binary_cross_entropy_with_logits(score, batch["event"], pos_weight=weight)


def focal_loss(output: Tensor, batch: Batch, gamma: float = 2.0, positive_weight: float = 1.0) -> Tensor:
    """Return the mean cross-entropy, each patient weighed by (1 - p) to the ``gamma``, p that of what happened to him.

    Args:
        output: Logits of the event, shape (B,) or (B, 1).
        batch: The patients scored.
        gamma: How little those count who are scored right already; 0 gives ``response_loss``.
        positive_weight: Weight of a patient with the event.

    References:
        Lin et al. Focal loss for dense object detection. ICCV 2017, equations 4 and 5.
    """
    if gamma < 0:
        raise ValueError(f"gamma of the focal loss must be 0 or more, got {gamma}")
    score, event = single(output), batch["event"]
    toward = torch.where(event == 1, score, -score)
    weight = torch.where(event == 1, positive_weight, 1.0)
    return -(weight * (gamma * logsigmoid(-toward)).exp() * logsigmoid(toward)).mean()


def cox_loss(output: Tensor, batch: Batch, ties: Ties = "efron") -> Tensor:
    """Return the negative log partial likelihood per event, of a batch that is the whole cohort.

    The risk set of a small batch is not that of the cohort: training takes ``cohort_risk.CohortRisk``.

    Args:
        output: Log hazards, shape (B,) or (B, 1).
        batch: Everybody at risk.
        ties: How events at the same time are taken: ``efron`` or ``breslow``.

    Raises:
        ValueError: If nobody had the event.
    """
    if not bool((batch["event"] == 1).any()):
        raise ValueError(
            f"the Cox loss needs an event, and none of {len(batch['event'])} patients had one: "
            "set aside more patients for validation, or stratify by the event"
        )
    score = single(output)
    log_weight = log_risk_weight(batch["event"].cpu().numpy(), batch["time"].cpu().numpy(), ties)
    return negative_log_likelihood(score, batch["event"], log_weight.to(score))


def log_risk_weight(event: ArrayLike, time: ArrayLike, ties: Ties) -> Tensor:
    """Return how much each patient counts at each event, as logarithms: a row per event, in order of the patients.

    A patient at risk counts 1, and one not at risk 0. With Efron's ties, of d patients with the event at one time the
    k-th, k from 0 to d - 1, meets the others of that time, and himself, with the weight 1 - k / d.

    Args:
        event: 1 or 0, shape (n,); NaN, unknown, is at risk of nothing.
        time: Follow-up, shape (n,).
        ties: ``efron`` or ``breslow``.

    Returns:
        Shape (events, n), float64; minus infinity where a patient is not at risk.

    References:
        Efron. J Am Stat Assoc 1977;72:557-565. Breslow. Biometrics 1974;30:89-99.
    """
    if ties not in get_args(Ties):
        raise ValueError(f"ties={ties} is unknown; choose one of {', '.join(get_args(Ties))}")
    happened, times = np.asarray(event, dtype=float), np.asarray(time, dtype=float)
    failed = happened == 1
    at_risk = (times >= times[failed][:, None]) & ~np.isnan(happened)
    weight = at_risk.astype(float)
    if ties == "efron":
        tied = failed & (times == times[failed][:, None])
        earlier = np.tril(tied[:, failed], -1).sum(axis=1)
        weight -= tied * (earlier / tied.sum(axis=1))[:, None]
    with np.errstate(divide="ignore"):
        return torch.from_numpy(np.log(weight))


def negative_log_likelihood(score: Tensor, event: Tensor, log_weight: Tensor) -> Tensor:
    """Return the negative Cox log partial likelihood per event.

    Args:
        score: Log hazards, shape (n,).
        event: Shape (n,).
        log_weight: Of the same patients, from ``log_risk_weight``.
    """
    return ((score + log_weight).logsumexp(dim=1) - score[event == 1]).mean()


def interval_cuts(event: ArrayLike, time: ArrayLike, intervals: int) -> tuple[float, ...]:
    """Return the ends of intervals that part the events evenly, from the quantiles of their times, shape (intervals,).

    The first interval begins at 0 and the last ends at the last event.

    Raises:
        ValueError: If events share too few times for that many intervals.

    Example:
        >>> interval_cuts([1, 1, 0, 1, 1], [2.0, 4.0, 5.0, 6.0, 8.0], 2)
        (4.0, 8.0)
    """
    times = np.sort(np.asarray(time, dtype=float)[np.asarray(event) == 1])
    if times.size == 0:
        raise ValueError("intervals of time are cut where events are, and no training patient had one")
    last = -(-np.arange(1, intervals + 1) * times.size // intervals) - 1  # the quantile is the time of an event
    cuts = np.unique(times[last])
    if cuts.size < intervals:
        raise ValueError(
            f"{times.size} events at {np.unique(times).size} times fill no {intervals} intervals: "
            f"set n_outputs and intervals to {cuts.size} or fewer"
        )
    return tuple(cuts.tolist())


def discrete_hazard(event: ArrayLike, time: ArrayLike, intervals: int) -> Loss:
    """Return ``discrete_hazard_loss`` with intervals cut by the training patients given."""
    return partial(discrete_hazard_loss, cuts=interval_cuts(event, time, intervals))


def discrete_hazard_loss(output: Tensor, batch: Batch, cuts: tuple[float, ...]) -> Tensor:
    """Return the mean negative log likelihood of hazards in intervals of time.

    An event counts in the interval that ends at or after it, and as survival of those before; one beyond the last
    interval as survival of all. Who leaves within an interval survived it if he was seen for half of it or more.

    Args:
        output: Logits of the hazard in each interval, given that none came before, shape (B, T).
        batch: The patients scored.
        cuts: Ends of the intervals, shape (T,); the first begins at 0.

    References:
        Gensheimer, Narasimhan. A scalable discrete-time survival model for neural networks. PeerJ 2019;7:e6257,
        equation 3 and its censoring rule.
    """
    if output.shape != (len(batch["event"]), len(cuts)):
        raise ValueError(f"the network gives {tuple(output.shape[1:])} numbers of {len(cuts)} intervals: set n_outputs")
    ends = torch.tensor(cuts, dtype=batch["time"].dtype, device=output.device)
    begins = torch.cat([ends.new_zeros(1), ends[:-1]])
    time, failed = batch["time"][:, None], batch["event"][:, None] == 1
    survived = torch.where(failed, time > ends, time >= (begins + ends) / 2)
    ended = failed & (time > begins) & (time <= ends)
    return (survived * softplus(output) + ended * softplus(-output)).sum(dim=1).mean()


def survival_curve(output: Tensor) -> Tensor:
    """Return the probability of no event by the end of each interval, shape (B, T), of logits of hazards (B, T)."""
    return (-softplus(output).cumsum(dim=1)).exp()


def cumulative_hazard(output: Tensor) -> Tensor:
    """Return -log of the survival to the end of the last interval, shape (B,): higher = event sooner."""
    return softplus(output).sum(dim=1)


@dataclass(frozen=True)
class Task:
    """One endpoint of several: what is made small of it, what it weighs, and how many outputs are its own."""

    loss: Loss
    weight: float
    outputs: int = 1

    def __post_init__(self) -> None:
        if self.weight < 0 or self.outputs < 1:
            raise ValueError(
                f"a task weighs 0 or more and has an output or more, got {self.weight} and {self.outputs} outputs"
            )


class MultiTaskLoss(nn.Module):
    """The weighted sum of the losses of several endpoints that one network learns.

    In the batch ``event`` and ``time`` have a column for each task, in order, NaN where the endpoint of a patient is
    unknown: such a patient counts in the others. A task of which a batch knows nobody adds 0, as does in evaluation one
    by Cox of which nobody had the event.

    Args:
        tasks: By name, in the order of the columns and of the network's outputs.
    """

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        super().__init__()
        if not tasks:
            raise ValueError("a loss of several tasks needs one at least")
        self.tasks = dict(tasks)
        # Registered, so that what such a loss remembers moves, and is kept, with the module that holds it.
        self.remembering = nn.ModuleDict(
            {name: task.loss for name, task in tasks.items() if isinstance(task.loss, nn.Module)}
        )

    def forward(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the loss of an output of shape (B, T), T the outputs of all tasks."""
        expected = (len(output), sum(task.outputs for task in self.tasks.values()))
        if output.shape != expected or batch["event"].shape != (len(output), len(self.tasks)):
            raise ValueError(
                f"{len(self.tasks)} tasks need outputs of shape {expected} and events of shape "
                f"{(len(output), len(self.tasks))}, got {tuple(output.shape)} and {tuple(batch['event'].shape)}"
            )
        total = output.sum() * 0.0
        columns = output.split([task.outputs for task in self.tasks.values()], dim=1)
        for place, (task, own) in enumerate(zip(self.tasks.values(), columns, strict=True)):
            known = ~batch["event"][:, place].isnan()
            remembers = isinstance(task.loss, nn.Module)  # and in evaluation takes those known for a cohort
            if known.any() and (self.training or not remembers or bool((batch["event"][known, place] == 1).any())):
                total = total + task.weight * task.loss(own[known], _of_task(batch, place, known))
        return total


def _of_task(batch: Batch, place: int, known: Tensor) -> Batch:
    """Return the patients of known outcome of one task, with its own event and time."""
    rows: dict[str, Any] = {name: tensor[known] for name, tensor in batch.items() if isinstance(tensor, Tensor)}
    return cast(Batch, rows | {name: rows[name][:, place] for name in ("event", "time")})
