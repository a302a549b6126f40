"""Patients judged together: a model's rows of one partition, or of a centre or subgroup among them."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from math import nan

import numpy as np
import pandas as pd

from radnet.evaluation.assessment.found import About, Found
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.evaluation.scale import near_one
from radnet.tables import horizon_of


@dataclass(frozen=True)
class Sample:
    """Patients judged together, and where what is found of them goes.

    Attributes:
        about: Whose rows they are.
        rows: Rows of a prediction table with a known outcome and score, and a time where survival is judged.
        folded: Whether they are of models of folds; else of one frozen model, which judges each patient once.
        survival: Whether follow-up counts.
        settings: What is asked.
        found: Where numbers and messages go.
    """

    about: About
    rows: pd.DataFrame
    folded: bool
    survival: bool
    settings: EvaluationSettings
    found: Found

    def among(self, rows: pd.DataFrame, **about: str) -> "Sample":
        """Return the sample of some of the rows, those of a centre or a subgroup."""
        return replace(self, rows=rows, about=replace(self.about, **about))

    def metric(self, name: str, estimate: float, patients: pd.DataFrame | None = None, **columns: object) -> None:
        """Note a number about these patients, or about those of them given; see ``Found.metric``."""
        self.found.metric(self.about, self.rows if patients is None else patients, name, estimate, **columns)

    def say(self, message: str, severity: str = "info") -> None:
        """Tell what was left out; see ``Found.say``."""
        self.found.say(self.about, message, severity)

    def telling(self, what: str = "", severity: str = "info") -> AbstractContextManager[None]:
        """Tell, and go on, when the patients do not allow a number."""
        return self.found.telling(self.about, severity, what)

    @property
    def high(self) -> pd.Series:
        """Whether each row's score is positive by its cut-off and the decision rule; all have a cut-off."""
        score, cutoff = self.rows["score"], self.rows["cutoff"]
        return score >= cutoff if self.settings.decision_rule == "ge" else score > cutoff

    @cached_property
    def patients(self) -> pd.DataFrame:
        """One row per patient: patient_id, event, time, score, high and every ``probability`` column.

        A patient of several rows has the mean of his scores, each standardised within its fold, the mean of his
        probabilities, and as ``high`` the share of his rows that call him so (NaN without a cut-off).
        """
        rows = self.rows
        score = rows["score"]
        if self.folded:
            score = pd.Series(near_one(score), index=rows.index)
            of_fold = score.groupby([rows["fold"], rows["repeat"]])
            spread = of_fold.transform("std")
            score = ((score - of_fold.transform("mean")) / spread.where(spread > 0)).fillna(0.0)
        called = self.high.astype(float).where(rows["cutoff"].notna())
        columns = {"event": "first", "time": "first", "score": "mean", "high": "mean"}
        columns |= dict.fromkeys(self._probabilities, "mean")
        return rows.assign(score=score, high=called).groupby("patient_id", sort=False).agg(columns).reset_index()

    @property
    def risk_groups(self) -> dict[str, pd.DataFrame]:
        """The rows of ``patients`` of low and of high risk (half or more of a patient's rows); empty ones left out."""
        patients = self.patients
        groups = {"low": patients[patients["high"] < 0.5], "high": patients[patients["high"] >= 0.5]}
        return {name: members for name, members in groups.items() if not members.empty}

    @property
    def fold_names(self) -> pd.Series:
        """Fold and repeat of each row, as one name."""
        repeat = self.rows["repeat"].where(self.rows["repeat"] == "", " of repeat " + self.rows["repeat"])
        return self.rows["fold"] + repeat

    @property
    def horizons(self) -> tuple[float, ...]:
        """Times at which survival is judged: those asked for, else those of the table's probabilities."""
        if not self.survival:
            return ()
        if self.settings.horizons is not None:
            return tuple(self.settings.horizons)
        return tuple(sorted(horizon_of(name) for name in self._probabilities if name != "probability"))

    def probability(self, horizon: float = nan) -> pd.DataFrame | None:
        """Return ``patients`` that have a probability of the event, by a horizon where one is given.

        It is in the column ``probability``. For a horizon that of its own column ``probability_<t>`` is taken, else,
        when no more than one horizon is asked for, the column ``probability``. None where nobody has one; where there
        are some by other horizons that is told.
        """
        name = "probability" if np.isnan(horizon) else self._column_by(horizon)
        if name not in self.patients or self.patients[name].isna().all():
            return None
        known = self.patients.assign(probability=self.patients[name]).dropna(subset=["probability"])
        if len(known) < len(self.patients):
            without = len(self.patients) - len(known)
            self.say(f"{without} of {len(self.patients)} patients have no {name} and are left out of what needs it")
        wrong = known.loc[(known["probability"] < 0) | (known["probability"] > 1), "probability"]
        if len(wrong):
            raise ValueError(f"{name} must lie within 0 and 1, got {wrong.iloc[0]:g} ({len(wrong)} patients)")
        return known

    def _column_by(self, horizon: float) -> str:
        """Return the column with the probability by a horizon; empty where there is none."""
        filled = [name for name in self._probabilities if self.patients[name].notna().any()]
        by_time = {horizon_of(name): name for name in reversed(filled) if name != "probability"}
        if horizon in by_time:
            return by_time[horizon]
        alone = "probability" in filled and len(set(self.horizons)) == 1
        if by_time and self.about.whole:
            by_others = (
                f"no probability is by {horizon:g} ({', '.join(by_time[time] for time in sorted(by_time))} only)"
            )
            self.say(
                f"{by_others}: the column probability is taken to be by {horizon:g}"
                if alone
                else f"{by_others}: brier_time, calibration and net benefit by {horizon:g} are left out"
            )
        return "probability" if alone else ""

    @property
    def _probabilities(self) -> list[str]:
        return [name for name in self.rows.columns if name == "probability" or not np.isnan(horizon_of(name))]
