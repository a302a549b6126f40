"""Cut-off rules as a training configuration names them: all are called with event and score, and time if there is."""

import numpy as np
from numpy.typing import ArrayLike

from radnet.evaluation.cutoff import Cutoff, fixed, median, time_youden
from radnet.evaluation.survival.maxstat import maxstat
from radnet.evaluation.survival.time_dependent import nne_roc


def by_median(event: ArrayLike, score: ArrayLike, time: ArrayLike | None = None) -> Cutoff:  # noqa: ARG001 - all rules'
    """Cut at the median score, shape (n,), whatever happened."""
    return median(score)


def by_value(
    event: ArrayLike,  # noqa: ARG001 - the arguments of all rules
    score: ArrayLike,  # noqa: ARG001
    time: ArrayLike | None = None,  # noqa: ARG001
    *,
    value: float | None,
) -> Cutoff:
    """Cut at a value chosen beforehand, whatever the scores are.

    Raises:
        ValueError: If no value was chosen.
    """
    if value is None:
        raise ValueError("a fixed cut-off needs its value, in units of the score: cutoff.value=…")
    return fixed(value)


def by_maxstat(event: ArrayLike, score: ArrayLike, time: ArrayLike | None = None, *, minprop: float) -> Cutoff:
    """Cut where the survival of the two groups differs the most, by log-rank scores.

    Args:
        event: Whether each patient's follow-up ended with the event, shape (n,).
        score: Higher = event sooner, shape (n,).
        time: Follow-up, shape (n,).
        minprop: Smallest share of patients in either group.
    """
    return maxstat(_needed(time, "maxstat"), event, score, minprop).cutoff


def by_time_youden(event: ArrayLike, score: ArrayLike, time: ArrayLike | None = None, *, at: float | None) -> Cutoff:
    """Cut where sensitivity + specificity - 1 is largest at a time, by the nearest-neighbour ROC curve of that time.

    A patient's neighbours are 0.25 n^-0.2 of all on either side, as on the help page of R's survivalROC.

    Args:
        event: Whether each patient's follow-up ended with the event, shape (n,).
        score: Higher = event sooner, shape (n,).
        time: Follow-up, shape (n,).
        at: The time, in the unit of ``time``: the endpoint's horizon.

    Raises:
        ValueError: Also if there is no such time.
    """
    times = _needed(time, "time_youden")
    if at is None:
        raise ValueError("cutoff=time_youden needs a time: name endpoint.horizon, in the endpoint's unit")
    return time_youden(nne_roc(times, event, score, at, span=0.25 * np.size(score) ** -0.2))


def _needed(time: ArrayLike | None, rule: str) -> ArrayLike:
    if time is None:
        raise ValueError(
            f"cutoff={rule} needs follow-up times, but the endpoint has none: take youden, max_sensitivity or median"
        )
    return time
