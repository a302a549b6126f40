"""How long patients were followed: what a time and an event must be, how far a horizon reaches."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radnet.evaluation.discrimination import Floats


@dataclass(frozen=True, slots=True)
class Horizon:
    """A time that follow-up reaches, and what to tell the reader where it is not the one asked for (else empty)."""

    time: float
    note: str


def checked_times(time: ArrayLike, event: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """Return time and event as arrays of shape (n,), or say what is wrong with them; nothing may be missing."""
    times, happened = np.asarray(time, dtype=float), np.asarray(event, dtype=float)
    if times.ndim != 1 or times.shape != happened.shape or times.size == 0:
        raise ValueError(f"time and event must be one row of equal length, got {times.shape} and {happened.shape}")
    if not (np.isfinite(times).all() and (times >= 0).all()):
        raise ValueError("every time must be a number of 0 or more")
    if not np.isin(happened, (0.0, 1.0)).all():
        raise ValueError("every event must be 0 or 1: leave out patients whose outcome is unknown")
    return times, happened == 1


def checked_follow_up(time: ArrayLike, event: ArrayLike, score: ArrayLike) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Return time, event and score as arrays of shape (n,), or say what is wrong with them."""
    times, happened = checked_times(time, event)
    scores = np.asarray(score, dtype=float)
    if scores.shape != times.shape:
        raise ValueError(f"time and score must be one row of equal length, got {times.shape} and {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError(f"{(~np.isfinite(scores)).sum()} of {scores.size} scores are missing or infinite")
    return times, happened, scores


def reachable(time: Floats, horizon: float) -> Horizon:
    """Return the horizon, or the last time beyond which somebody was still followed, with a note that says so.

    Args:
        time: Follow-up of each patient, shape (n,).
        horizon: The time asked for, in the unit of ``time``.

    Raises:
        ValueError: If the horizon is not a positive number, or all were followed equally long.
    """
    if not (np.isfinite(horizon) and horizon > 0):
        raise ValueError(f"a horizon must be a number above 0, got {horizon}")
    longest = time.max()
    if horizon < longest:
        return Horizon(float(horizon), "")
    earlier = time[time < longest]
    if earlier.size == 0 or earlier.max() <= 0:
        raise ValueError(f"nobody is followed beyond the horizon {horizon:g}: every follow-up ends at {longest:g}")
    last = float(earlier.max())
    return Horizon(
        last, f"nobody is followed beyond {horizon:g}: judged at {last:g}, the last time beyond which somebody is"
    )
