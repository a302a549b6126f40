"""Patients who left: how those who stayed weigh in their place, and what estimating that adds to an error."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radnet.evaluation.discrimination import Floats


@dataclass(frozen=True, slots=True)
class Staying:
    """Probability of not having left follow-up (of not being censored), by Kaplan-Meier with event and leaving swapped.

    Attributes:
        time: Distinct follow-up times, rising, shape (K,).
        after: Probability of staying beyond each of these times, shape (K,).
        before_own: Probability of staying until just before each patient's own time, shape (n,); never 0.
    """

    time: Floats
    after: Floats
    before_own: Floats

    def at(self, time: float) -> float:
        """Return the probability of staying beyond ``time``."""
        place = int(np.searchsorted(self.time, time, side="right"))
        return float(self.after[place - 1]) if place else 1.0


def staying(time: Floats, event: NDArray[np.bool_], *, events_leave_first: bool) -> Staying:
    """Estimate the probability of not having left follow-up.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        events_leave_first: Whether those with the event at a time are gone when others leave at that very time, as
            in R's prodlim and survival::concordance; otherwise both count as there, as in a plain Kaplan-Meier curve
            of leaving (R's survC1).
    """
    distinct, place = np.unique(time, return_inverse=True)
    ending = np.bincount(place)
    events = np.bincount(place, weights=event)
    there = ending[::-1].cumsum()[::-1] - (events if events_leave_first else 0)
    stay = 1 - np.divide(ending - events, there, out=np.zeros(distinct.size), where=there > 0)
    after = np.cumprod(stay)
    return Staying(distinct, after, np.concatenate([[1.0], after[:-1]])[place])


def influence_of_leaving(
    time: Floats, event: NDArray[np.bool_], credit: Floats, last: float, *, row_by_row: bool
) -> Floats:
    """Return how each patient moves a weighted sum by moving the estimate of who stays, shape (n,).

    A sum of terms that weigh 1 / G is moved by minus the influence on log G, which is that of the summed hazard of
    leaving: the martingale of leaving, divided by how many were there.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        credit: The patient's weighted term in the sum, shape (n,).
        last: Time from which on leaving no longer matters.
        row_by_row: Whether patients with equal times leave one after another in the order of the rows, as in R's
            timeROC, so that the order of the rows matters a little where times tie (in the fifth digit of a standard
            error); otherwise they leave together, as in R's riskRegression.

    References:
        Blanche, Dartigues, Jacqmin-Gadda. Stat Med 2013;32:5381-5397, appendix.
    """
    order = np.argsort(time, kind="stable")
    times, left = time[order], ~event[order] & (time[order] <= last)
    size, first = time.size, np.searchsorted(times, times)
    still = credit[order][::-1].cumsum()[::-1]  # of this row and those after it
    place = np.arange(size)
    if row_by_row:
        there = size - place
        jump = (still * size / there)[first]
        drawn = np.cumsum(left * size / there**2 * still)
    else:
        there, after = (size - place)[first], np.searchsorted(times, times, side="right")
        still = np.append(still, 0.0)[after]
        jump = still * size / there
        drawn = np.cumsum(left * size / there**2 * still)[after - 1]
    influence = np.empty(size)
    influence[order] = left * jump - drawn
    return influence
