"""What the partial likelihood of a Cox model is made of: the risk set that each patient with the event came out of."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from radnet.evaluation.discrimination import Floats

Ties = Literal["efron", "breslow"]


@dataclass(frozen=True, slots=True)
class Deaths:
    """What a Cox model expects at each patient with the event, who stand by rising time; arrays of length D.

    Attributes:
        time: When each had the event.
        covariate: His covariates, shape (D, P).
        mean: Mean of the covariates of those at risk, weighted by hazard, shape (D, P).
        spread: Covariance of the same, shape (D, P, P).
        log_risk: Log of the hazard summed over those at risk.
    """

    time: Floats
    covariate: Floats
    mean: Floats
    spread: Floats
    log_risk: Floats


def deaths(time: Floats, event: NDArray[np.bool_], covariates: Floats, coefficient: Floats, ties: Ties) -> Deaths:
    """Gather what a Cox model with this coefficient expects at each event.

    With Efron's ties the k-th of d events at one time, from 0 on, meets a risk set where the d count (d - k) / d each.
    """
    if ties not in ("efron", "breslow"):
        raise ValueError(f"ties are handled by efron or breslow, got {ties!r}")
    order = np.argsort(time, kind="stable")
    time, event, x = time[order], event[order], covariates[order]
    hazard = x @ coefficient
    top = hazard.max()
    weight = np.exp(hazard - top)
    first = np.searchsorted(time, time[event])
    sums = [
        np.flip(np.cumsum(np.flip(part, axis=0), axis=0), axis=0)[first]
        for part in (weight, weight[:, None] * x, weight[:, None, None] * x[:, :, None] * x[:, None, :])
    ]
    if ties == "efron":
        _, group, size = np.unique(time[event], return_inverse=True, return_counts=True)
        earlier = np.arange(group.size) - np.searchsorted(group, group)
        left = earlier / size[group]
        xe, we = x[event], weight[event]
        own = (we, we[:, None] * xe, we[:, None, None] * xe[:, :, None] * xe[:, None, :])
        for total, part in zip(sums, own, strict=True):
            together = np.zeros((size.size, *part.shape[1:]))
            np.add.at(together, group, part)
            total -= left.reshape(-1, *[1] * (part.ndim - 1)) * together[group]
    mean = sums[1] / sums[0][:, None]
    spread = sums[2] / sums[0][:, None, None] - mean[:, :, None] * mean[:, None, :]
    return Deaths(time[event], x[event], mean, spread, np.log(sums[0]) + top)


def score_of(model: Deaths) -> Floats:
    """Return the derivative of the log partial likelihood by each coefficient, shape (P,)."""
    return (model.covariate - model.mean).sum(axis=0)


def log_likelihood(model: Deaths, coefficient: Floats) -> float:
    """Return the log partial likelihood at the coefficient that ``model`` was gathered with."""
    return float((model.covariate @ coefficient - model.log_risk).sum())
