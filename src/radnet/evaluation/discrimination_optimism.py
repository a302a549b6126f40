"""What is left of an AUC or a C-index without optimism: Harrell's bootstrap and, of an AUC, the .632+ rule."""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike

from radnet.evaluation.discrimination import Floats
from radnet.evaluation.outcomes import NEEDED, Outcomes

_NO_INFORMATION = 0.5
_BEYOND_A_BOUND = 5  # resamples that a percentile must leave on its far side, to be one


@dataclass(frozen=True, slots=True)
class Optimism:
    """Discrimination of a model and of the same model learned again from bootstrap samples; arrays of shape (B,).

    That is the AUC or, of an endpoint with follow-up, Harrell's C-index.

    Attributes:
        apparent: In the patients the model learned from.
        training: Of each sample's model, in that sample.
        everyone: Of the same, in all patients.
        out_of_bag: Of the same, in the patients the sample left out; NaN where no two of these can be compared.
    """

    apparent: float
    training: Floats
    everyone: Floats
    out_of_bag: Floats

    @property
    def harrell(self) -> float:
        """The apparent value less how much better the samples' models look in their own sample than in all patients."""
        return self.apparent - float((self.training - self.everyone).mean())

    @property
    def relative_overfitting(self) -> float:
        """How far the out-of-bag value falls from the apparent one towards 0.5: 0 is not at all, 1 the whole way."""
        outside = max(self._outside, _NO_INFORMATION)
        if not self.apparent > outside:
            return nan if np.isnan(self._outside) else 0.0
        return (self.apparent - outside) / (self.apparent - _NO_INFORMATION)

    @property
    def rule_632plus(self) -> float:
        """Apparent and mean out-of-bag AUC, the latter weighed by .632 without overfitting and up to 1 with it.

        The rule has been studied for errors and for the AUC, not for a C-index of censored follow-up.
        """
        weight = 0.632 / (1 - 0.368 * self.relative_overfitting)
        return (1 - weight) * self.apparent + weight * max(self._outside, _NO_INFORMATION)

    def interval(self, corrected: float, level: float) -> tuple[float, float]:
        """Return percentiles of ``training``, moved by the optimism of a corrected value (Noma's location shift).

        NaN where there are too few resamples for such percentiles, or where they reach 1: a model that separates the
        patients it learns from does so in every sample, and the spread of that says nothing of other patients.
        """
        tail = (1 - level) / 2
        if np.isnan(corrected) or self.training.size * tail < _BEYOND_A_BOUND * (1 - 1e-9):
            return nan, nan
        lower, upper = np.quantile(self.training, [tail, 1 - tail])
        if upper >= 1:
            return nan, nan
        shift = self.apparent - corrected
        return float(max(0.0, lower - shift)), float(min(1.0, upper - shift))

    @property
    def _outside(self) -> float:
        there = self.out_of_bag[np.isfinite(self.out_of_bag)]
        return float(there.mean()) if there.size else nan


def discrimination_optimism(outcomes: Outcomes, score: ArrayLike, resampled: ArrayLike, drawn: ArrayLike) -> Optimism:
    """Compare models of bootstrap samples in their sample, in all patients, and in those left out.

    Args:
        outcomes: Of n patients, some of whom can be compared.
        score: Of the model of all patients, shape (n,); higher = the event is more likely.
        resampled: Scores of all patients by each sample's model, shape (B, n).
        drawn: How often each patient was drawn into each sample, shape (B, n).

    Raises:
        ValueError: If nobody can be compared, among all patients or in a sample: both classes must be there, or with
            follow-up a pair whose order is known.

    References:
        Harrell, Lee, Mark. Stat Med 1996;15:361-387. Efron, Tibshirani. J Am Stat Assoc 1997;92:548-560, for the AUC
        as in Iba et al. BMC Med Res Methodol 2021;21:9 (mean of the samples' out-of-bag AUCs, 0.5 without
        information). Noma et al. Stat Med 2021;40:5691-5701 (interval).
    """
    scores, times = np.atleast_2d(np.asarray(resampled, dtype=float)), np.atleast_2d(np.asarray(drawn, dtype=float))
    if scores.shape != times.shape or scores.shape[1] != outcomes.event.size:
        raise ValueError(
            f"scores {scores.shape} and draws {times.shape} of {outcomes.event.size} patients differ in shape"
        )
    if not all(outcomes.where(one > 0).comparable for one in times):
        raise ValueError(f"a bootstrap sample needs {NEEDED[outcomes.metric]} to learn from")
    weights = np.stack([times, np.ones_like(times), times == 0], axis=1)
    values = np.array([outcomes.weighted(one)(weight) for one, weight in zip(scores, weights, strict=True)])
    return Optimism(outcomes.discrimination(score), *values.T)
