"""Performances known of a simulated cohort, AUC and C-index: exact, by Monte Carlo, or of the patients drawn."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

MONTE_CARLO_DRAWS = 2_000_000
MONTE_CARLO_SEED = 20230727
C_INDEX_PAIRS = 200_000

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A planted performance: its value (None where it cannot be had), standard error (None where exact), and formula.

    Attributes:
        value: AUC or C-index.
        se: Standard error of a Monte Carlo or sample estimate.
        formula: ``closed_form``, ``quadrature``, ``monte_carlo``, ``sample``, or why there is no value.
    """

    value: float | None
    se: float | None
    formula: str

    def named(self, quantity: str) -> dict[str, object]:
        """Return it as truth.json has it, the value under the name of the quantity."""
        return {quantity: self.value, "se": self.se, "formula": self.formula}


def sample_auc(score: Numbers, response: NDArray[np.int64]) -> Estimate:
    """Return the AUC of a score in one set of patients, with DeLong's standard error."""
    positive, negative = score[response == 1], score[response == 0]
    if len(positive) < 2 or len(negative) < 2:
        return Estimate(None, None, f"not estimated: {len(positive)} responders and {len(negative)} non-responders")
    return Estimate(*auc_with_se(positive, negative), "sample")


def auc_with_se(positive: Numbers, negative: Numbers) -> tuple[float, float]:
    """Return the AUC and its standard error from the placements of each score among the other group.

    References:
        DeLong, DeLong & Clarke-Pearson, Biometrics 1988; 44: 837-845.
    """
    positive, negative = np.sort(positive), np.sort(negative)
    above = _placements(positive, negative)
    below = _placements(negative, positive)
    variance = above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)
    return float(above.mean()), float(np.sqrt(variance))


class NormalLlrs(NamedTuple):
    """Log likelihood ratios of one group of patients: a mixture of normals, each D²/2 from its step, with variance D².

    Attributes:
        share: Of the kinds of patients there are, shape (kinds,).
        step: What a kind adds to the ratio, in whichever group.
        distance: D² of a kind.
    """

    share: Numbers
    step: Numbers
    distance: Numbers


def auc_of_normal_llrs(negative: NormalLlrs, positive: NormalLlrs) -> float:
    """Return the AUC of a ratio that lies D²/2 below its step in the one group and as far above it in the other."""
    variance = positive.distance[:, None] + negative.distance
    ahead = positive.step[:, None] - negative.step + variance / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        certain = np.where(np.abs(ahead) < 1e-12, 0.5, (ahead > 0).astype(float))
        wins = np.where(variance > 0, ndtr(ahead / np.sqrt(variance)), certain)
    return float(positive.share @ wins @ negative.share)


def random_choices(rng: np.random.Generator, shares: Numbers, draws: int) -> NDArray[np.int64]:
    """Draw the numbers of so many choices, each with its share."""
    choice: NDArray[np.int64] = np.searchsorted(np.cumsum(shares)[:-1], rng.random(draws), side="right")
    return choice


def _placements(scores: Numbers, others: Numbers) -> Numbers:
    """Return the share of the others below each score, ties half; both are sorted."""
    below, not_above = (np.searchsorted(others, scores, side=side) for side in ("left", "right"))
    share: Numbers = (below + not_above) / (2 * len(others))
    return share


def concordance_of_pairs(risk: Numbers, time: Numbers, event: NDArray[np.bool_]) -> Estimate:
    """Return Harrell's C-index of pairs: the first half of the patients compared with the second, one by one."""
    half = len(time) // 2
    earlier = time[:half] < time[half:]
    comparable = np.where(earlier, event[:half], event[half:])
    lead = np.where(earlier, risk[:half] - risk[half:], risk[half:] - risk[:half])[comparable]
    wins = (lead > 0) + 0.5 * (lead == 0)
    return Estimate(float(wins.mean()), float(wins.std() / np.sqrt(len(wins))), "monte_carlo")


def harrell_c(risk: Numbers, time: Numbers, event: NDArray[np.bool_]) -> Estimate:
    """Return Harrell's C-index of one set of patients, with the standard error of its infinitesimal jackknife.

    A pair can be compared where the shorter time is an event; of equal times, where one alone is an event.
    """
    concordant, comparable = np.zeros(len(time)), np.zeros(len(time))
    for first in np.flatnonzero(event):
        later = (time > time[first]) | ((time == time[first]) & ~event)
        wins = np.where(later, (risk < risk[first]) + 0.5 * (risk == risk[first]), 0.0)
        concordant += wins
        comparable += later
        concordant[first] += wins.sum()
        comparable[first] += later.sum()
    pairs = comparable.sum() / 2
    if pairs == 0:
        return Estimate(None, None, "not estimated: no two patients can be compared")
    c = concordant.sum() / 2 / pairs
    se = np.sqrt(np.square(concordant - c * comparable).sum()) / pairs
    return Estimate(float(c), float(se), "sample")
