"""Outcomes of patients, with or without follow-up, and how well a score sorts them: AUC or Harrell's C-index."""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radnet.cohort import Cohort
from radnet.evaluation.bootstrap import WithinFolds
from radnet.evaluation.discrimination import Floats, Weighted, auc_within_folds, delong, weighted_auc
from radnet.evaluation.survival.concordance import concordance, concordance_within_folds, weighted_concordance

NEEDED = {"auc": "patients with and without the event", "c_index": "a pair of patients whose order is known"}
"""What must be there for each metric to be computed."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Outcomes of some patients.

    Attributes:
        event: Whether the event was seen, shape (n,).
        time: Follow-up, shape (n,); NaN throughout for a binary endpoint.
    """

    event: NDArray[np.bool_]
    time: Floats

    @classmethod
    def of(cls, cohort: Cohort, endpoint: str) -> Self:
        """Return those of a cohort's patients, all known."""
        return cls(cohort.events(endpoint), cohort.times(endpoint))

    def where(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> "Outcomes":
        """Keep some patients, by mask or by place."""
        return Outcomes(self.event[keep], self.time[keep])

    @property
    def followed(self) -> bool:
        """Whether the endpoint has follow-up."""
        return not np.isnan(self.time).all()

    @property
    def metric(self) -> Literal["auc", "c_index"]:
        """What a score is judged by, as metrics.csv calls it."""
        return "c_index" if self.followed else "auc"

    @property
    def comparable(self) -> bool:
        """Whether it is known of any two patients which of them a score should rank higher."""
        if not self.event.any():
            return False
        if not self.followed:
            return not self.event.all()
        first = self.time[self.event].min()
        return bool(np.any((self.time > first) | ((self.time == first) & ~self.event)))

    @property
    def stratum(self) -> NDArray[np.bool_]:
        """What patients are drawn within when they are resampled: their class, or with follow-up no stratum at all."""
        return np.zeros_like(self.event) if self.followed else self.event

    def discrimination(self, score: ArrayLike) -> float:
        """Return the AUC of a score, or its C-index where there is follow-up; higher = the event is more likely.

        Raises:
            ValueError: If no two patients can be compared.
        """
        if self.followed:
            return concordance(self.time, self.event, score)
        return delong(self.event, score).auc

    def weighted(self, score: Floats) -> Weighted:
        """Return the discrimination of a score in resampled patients; NaN where a resample has nobody to compare."""
        if self.followed:
            return weighted_concordance(self.time, self.event, score)
        return weighted_auc(self.event, score)

    def within_folds(
        self, score: ArrayLike, fold: ArrayLike, patient: ArrayLike, *, resamples: int, seed: int, level: float
    ) -> WithinFolds:
        """Average the discrimination over folds; those in which nobody can be compared are skipped.

        Raises:
            ValueError: If no fold has patients to compare.
        """
        if self.followed:
            return concordance_within_folds(
                self.time, self.event, score, fold, patient, resamples=resamples, seed=seed, level=level
            )
        return auc_within_folds(self.event, score, fold, patient, resamples=resamples, seed=seed, level=level)

    def excess(self) -> Floats:
        """Return the events seen less those expected if all patients were alike, shape (n,); they sum to 0.

        Expected is the share of patients with the event or, with follow-up, the Nelson-Aalen estimate up to the
        patient's own time (the null model's martingale residual).
        """
        if not self.followed:
            return self.event - self.event.mean()
        times, place = np.unique(self.time, return_inverse=True)
        seen = np.bincount(place, weights=self.event)
        at_risk = len(place) - np.searchsorted(np.sort(self.time), times)
        return self.event - np.cumsum(seen / at_risk)[place]
