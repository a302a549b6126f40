"""What is left of an AUC without optimism: Harrell's bootstrap and the .632+ rule."""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike

from radnet.evaluation.discrimination import Floats, checked_classes, delong, weighted_auc

_NO_INFORMATION = 0.5
_BEYOND_A_BOUND = 5  # resamples that a percentile must leave on its far side, to be one


@dataclass(frozen=True, slots=True)
class AucOptimism:
    """AUCs of a model and of the same model learned again from bootstrap samples; arrays of shape (B,).

    Attributes:
        apparent: In the patients the model learned from.
        training: Of each sample's model, in that sample.
        everyone: Of the same, in all patients.
        out_of_bag: Of the same, in the patients the sample left out; NaN where these are of one class.
    """

    apparent: float
    training: Floats
    everyone: Floats
    out_of_bag: Floats

    @property
    def harrell(self) -> float:
        """The apparent AUC less how much better the samples' models look in their own sample than in all patients."""
        return self.apparent - float((self.training - self.everyone).mean())

    @property
    def relative_overfitting(self) -> float:
        """How far the out-of-bag AUC falls from the apparent one towards 0.5: 0 is not at all, 1 the whole way."""
        outside = max(self._outside, _NO_INFORMATION)
        if not self.apparent > outside:
            return nan if np.isnan(self._outside) else 0.0
        return (self.apparent - outside) / (self.apparent - _NO_INFORMATION)

    @property
    def rule_632plus(self) -> float:
        """Apparent and mean out-of-bag AUC, the latter weighed by .632 without overfitting and up to 1 with it."""
        weight = 0.632 / (1 - 0.368 * self.relative_overfitting)
        return (1 - weight) * self.apparent + weight * max(self._outside, _NO_INFORMATION)

    def interval(self, corrected: float, level: float) -> tuple[float, float]:
        """Return percentiles of ``training``, moved by the optimism of a corrected AUC (Noma's location shift).

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


def auc_optimism(event: ArrayLike, score: ArrayLike, resampled: ArrayLike, drawn: ArrayLike) -> AucOptimism:
    """Compare models of bootstrap samples in their sample, in all patients, and in those left out.

    Args:
        event: Whether each patient had the event, shape (n,); both classes must be there.
        score: Of the model of all patients, shape (n,); higher = the event is more likely.
        resampled: Scores of all patients by each sample's model, shape (B, n).
        drawn: How often each patient was drawn into each sample, shape (B, n).

    Raises:
        ValueError: If a class is absent from the patients or from a sample.

    References:
        Harrell, Lee, Mark. Stat Med 1996;15:361-387. Efron, Tibshirani. J Am Stat Assoc 1997;92:548-560, for the AUC
        as in Iba et al. BMC Med Res Methodol 2021;21:9 (mean of the samples' out-of-bag AUCs, 0.5 without
        information). Noma et al. Stat Med 2021;40:5691-5701 (interval).
    """
    happened, own = checked_classes(event, score)
    scores, times = np.atleast_2d(np.asarray(resampled, dtype=float)), np.atleast_2d(np.asarray(drawn, dtype=float))
    if scores.shape != times.shape or scores.shape[1] != happened.size:
        raise ValueError(f"scores {scores.shape} and draws {times.shape} of {happened.size} patients differ in shape")
    if not (times[:, happened].any(axis=1) & times[:, ~happened].any(axis=1)).all():
        raise ValueError("a bootstrap sample needs both classes to learn from")
    weights = np.stack([times, np.ones_like(times), times == 0], axis=1)
    areas = np.array([weighted_auc(happened, one)(weight) for one, weight in zip(scores, weights, strict=True)])
    return AucOptimism(delong(happened, own).auc, *areas.T)
