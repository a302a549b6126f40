"""Cox's partial likelihood of a cohort, learned from a few patients at a time."""

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import ArrayLike
from torch import Tensor, nn

from radnet.learning.batch import Batch
from radnet.learning.losses import Ties, cox_loss, log_risk_weight, negative_log_likelihood, single


class CohortRisk(nn.Module):
    """The negative log partial likelihood per event of all training patients, of whom a batch is scored anew.

    Patients of the batch enter with the scores just given, through which gradients run, and all others with their
    latest, held fixed. A batch without an event thus still learns, from the events of others at whose times its
    patients were at risk. If the others' latest scores are up to date, the gradient is that of the whole likelihood. A
    patient not scored yet stands at the mean of those who were.

    The batch tells by ``place``, shape (B,), which of the training patients each of its own is, once at most; None is
    needed in evaluation, where the batch is taken as a cohort of its own (``cox_loss``). Where training runs in several
    processes, each takes the others' scores; gradients, which are averaged over processes, are scaled to sum.

    Latest scores are part of the state, so that a fit that goes on from a checkpoint goes on the same.

    Args:
        event: Of all training patients, shape (n,); NaN where the endpoint is unknown.
        time: Their follow-up, above 0, shape (n,).
        ties: ``efron``, as R's coxph and lifelines, or ``breslow``.

    Raises:
        ValueError: If nobody had the event, or a time is not above 0.
    """

    score: Tensor
    scored: Tensor
    event: Tensor
    log_weight: Tensor

    def __init__(self, event: ArrayLike, time: ArrayLike, ties: Ties = "efron") -> None:
        super().__init__()
        happened, times = np.asarray(event, dtype=float), np.asarray(time, dtype=float)
        if happened.shape != times.shape or happened.ndim != 1:
            raise ValueError(f"event and time must be one row of equal length, got {happened.shape} and {times.shape}")
        if not (happened == 1).any():
            raise ValueError(f"a Cox loss needs an event, and none of {happened.size} training patients had one")
        if not (times[~np.isnan(happened)] > 0).all():
            raise ValueError("every training patient whose endpoint is known must have a time above 0")
        self.ties = ties
        self.register_buffer("score", torch.zeros(happened.size))
        self.register_buffer("scored", torch.zeros(happened.size, dtype=torch.bool))
        self.register_buffer("event", torch.from_numpy(happened).float(), persistent=False)
        self.register_buffer("log_weight", log_risk_weight(happened, times, ties).float(), persistent=False)

    def forward(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the loss of a batch's log hazards, shape (B,) or (B, 1), and remember them."""
        if not self.training:
            return cox_loss(output, batch, self.ties)
        score, place = single(output), self._places(batch)
        self._remember(score.detach(), place)
        latest = torch.where(self.scored, self.score, self.score[self.scored].mean()).to(score.dtype)
        everybody = latest.index_copy(0, place, score)
        loss = negative_log_likelihood(everybody, self.event, self.log_weight.to(score.dtype))
        return loss + (_processes() - 1) * (loss - loss.detach())

    def _places(self, batch: Batch) -> Tensor:
        place = cast(Mapping[str, Tensor], batch).get("place")
        if place is None:
            raise ValueError("a Cox loss over the cohort needs the place of each patient of a batch among all: 'place'")
        if len(place.unique()) != len(place):
            raise ValueError("a patient may be in a batch of the Cox loss once, and one is in it twice: draw without")
        return place

    def _remember(self, score: Tensor, place: Tensor) -> None:
        if _processes() > 1:
            told: list[tuple[list[int], list[float]]] = [([], [])] * _processes()
            dist.all_gather_object(told, (place.tolist(), score.tolist()))
            for places, scores in told:
                self._write(torch.tensor(places), torch.tensor(scores))
        self._write(place, score)

    def _write(self, place: Tensor, score: Tensor) -> None:
        place = place.to(self.score.device)
        self.score[place] = score.to(self.score)
        self.scored[place] = True


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
