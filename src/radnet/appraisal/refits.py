"""The configured model fitted again, each fit kept so that an interrupted run need not do it twice."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from radnet.cohort import Cohort
from radnet.predictors.base import History, Prediction, Predictor
from radnet.predictors.nested import MakePredictor, Once, Place

Learn = Callable[[Predictor], Predictor]
"""Fits an untrained predictor."""


@dataclass(frozen=True)
class Refits:
    """Builds the configured predictor, fits it to whom it is told, and keeps what it scores.

    Attributes:
        make: Builds an untrained predictor for a place; the place sets its seed.
        once: Keeps what a fit gave.
        place: First number of the places, beyond those of any fold.
    """

    make: MakePredictor
    once: Once
    place: int = 1000

    def scores(self, name: str, number: int, learn: Learn, judged: Cohort) -> pd.Series:
        """Return the scores that a new fit gives some patients, by patient_id.

        Args:
            name: Of the fit, unique in the run.
            number: Which one; the n-th has the same seed however many there are.
            learn: Fits the predictor.
            judged: Patients to score.
        """
        place: Place = (self.place + number,)

        def fit_and_predict(checkpoint: Path | None) -> tuple[Prediction, History]:
            predictor = learn(self.make(place, checkpoint))
            return predictor.predict(judged), getattr(predictor, "history", [])

        prediction, _ = self.once(name, fit_and_predict)
        return prediction.patients["score"].loc[judged.ids]
