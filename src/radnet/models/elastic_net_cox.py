"""Elastic-net Cox regression equal to R's glmnet, tied times included, in the scikit-learn manner."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from radnet.models.elastic_net import ElasticNet, checked_weight
from radnet.models.penalty_choice import Rows, ordered
from radnet.models.penalty_path import Floats, Loss

_TINY = 1e-300  # scores may lie so far apart that a risk set has no hazard left


class BreslowLoss:
    """Half the Cox deviance, ties as Breslow's: events at one time share the risk set of all followed until then.

    Only the order of times matters: who left at the time of an event was still at risk of it.
    """

    intercept = False
    unit = 1.0

    def __init__(self, time: Floats, event: Floats, weight: Floats) -> None:
        self.share = weight / weight.sum()
        self.events = self.share * event
        self.times = np.unique(time[event == 1])
        self.passed = np.searchsorted(self.times, time, side="right")  # times of events each row was at risk of
        at = np.searchsorted(self.times, time[event == 1])
        self.falling = np.bincount(at, weights=self.events[event == 1], minlength=len(self.times))

    def value(self, score: Floats) -> float:
        """Return the negative log partial likelihood above that of a model which foresees every event."""
        top = score.max()
        log_risk = top + np.log(self._risk(self.share * np.exp(score - top)))
        return float(self.falling @ (log_risk - np.log(self.falling)) - self.events @ score)

    def slope(self, score: Floats) -> Floats:
        """Return the derivative by each row's score."""
        hazard = self.share * np.exp(score - score.max())
        return hazard * self._until(self.falling / self._risk(hazard)) - self.events

    def curve(self, score: Floats, columns: Floats) -> Floats:
        """Return the second derivative times columns, without forming it: it is not diagonal."""
        hazard = self.share * np.exp(score - score.max())
        risk = self._risk(hazard)
        own = self._until(self.falling / risk)[:, None] * columns
        mean = self._at_risk(hazard[:, None] * columns) / risk[:, None]
        shared = self._until((self.falling / risk)[:, None] * mean)
        return hazard[:, None] * (own - shared)

    def settled(self, explained: Sequence[float]) -> bool:
        """Return whether the last four λ added less than 1e-3 of what is explained."""
        return explained[-1] - explained[-5] < 1e-3 * explained[-1]

    def _risk(self, hazard: Floats) -> Floats:
        return np.maximum(self._at_risk(hazard), _TINY)

    def _at_risk(self, values: Floats) -> Floats:
        """Sum over the rows at risk at each time of an event."""
        sums = np.zeros((len(self.times) + 1, *values.shape[1:]))
        np.add.at(sums, self.passed, values)
        return np.cumsum(sums[::-1], axis=0)[::-1][1:]

    def _until(self, values: Floats) -> Floats:
        """Sum over the times of events that each row was at risk of."""
        sums = np.cumsum(values, axis=0)
        return np.concatenate([np.zeros((1, *values.shape[1:])), sums])[self.passed]


class ElasticNetCox(ElasticNet):
    """Elastic-net Cox regression: the log hazard is linear in the features, up to a constant of no meaning.

    ``measure`` is ``deviance`` (a fold's is that of all rows less that of the others, as in glmnet) or ``C``.
    Outcomes have the fields or columns ``time`` and ``event``. glmnet 4.1 parts events from those who left at the same
    time by adding 2e-14, which is lost where times exceed about 200; here the unit of time changes nothing.
    """

    measures = ("deviance", "C")

    def fit(
        self,
        X: ArrayLike | pd.DataFrame,
        y: Any,
        sample_weight: ArrayLike | None = None,
        folds: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Learn the path, keep the model of the penalty asked for, and the mean row: what ``predict`` gives 0.

        A Cox model has no constant, and ``intercept_`` is 0 as in glmnet; but several folds' scores can only be held
        side by side where they share a zero.
        """
        super().fit(X, y, sample_weight, folds, groups)
        values = self._read(X)
        self.mean_ = np.average(values, axis=0, weights=checked_weight(sample_weight, len(values)))
        return self

    def predict(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Return the log hazard ratio of each row against the mean of those learned from: higher = event sooner."""
        return self.decision_function(X) - float(self.mean_ @ self.coef_)

    def _outcome(self, y: Any, rows: int) -> Floats:
        try:
            time, event = (np.asarray(y[name], dtype=float) for name in ("time", "event"))
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError("y: expected a table or structured array with numbers in time and event") from error
        if time.shape != (rows,) or event.shape != (rows,):
            raise ValueError(
                f"y: expected a time and an event for each of {rows} rows, got {time.shape}, {event.shape}"
            )
        if not (np.isfinite(time) & (time > 0)).all():
            raise ValueError("y: expected times above 0")
        if not np.isin(event, (0.0, 1.0)).all():
            raise ValueError("y: expected events of 0 or 1")
        return np.column_stack([time, event])

    def _loss(self, outcome: Floats, weight: Floats) -> Loss:
        time, event = outcome.T
        if not event.any():
            raise ValueError("a Cox model needs an event, but the rows it learns from have none")
        return BreslowLoss(time, event, weight)

    def _strata(self, outcome: Floats) -> NDArray[np.int64]:
        return outcome[:, 1].astype(np.int64)

    def _judge(
        self,
        outcome: Floats,
        weight: Floats,
        alone: bool,  # noqa: ARG002 - a partial likelihood is of several rows
        scores: Floats,
        held_out: Rows,
    ) -> tuple[Floats, Floats]:
        time, event = outcome[held_out].T
        share = weight[held_out]
        if self.measure == "C":
            sooner = (time[:, None] < time) | ((time[:, None] == time) & (event == 0))
            pairs = np.outer(share * event, share) * sooner
            if not pairs.any():
                raise ValueError("folds: a C-index needs, in every fold, an event before another row's follow-up ended")
            return ordered(scores[held_out], pairs)[None], np.array([share.sum()])
        if not event.any():
            raise ValueError(
                "folds: a Cox deviance needs an event in every fold; draw fewer folds, or spread the events"
            )
        everyone = _deviance(outcome, weight, scores)
        others = _deviance(outcome[~held_out], weight[~held_out], scores[~held_out])
        return ((everyone - others) / (share @ event))[None], np.array([share @ event])


def _deviance(outcome: Floats, weight: Floats, scores: Floats) -> Floats:
    loss = BreslowLoss(outcome[:, 0], outcome[:, 1], weight)
    return np.array([2.0 * weight.sum() * loss.value(one) for one in scores.T])
