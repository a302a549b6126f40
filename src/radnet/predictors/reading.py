"""How an endpoint is read from a score: from which, with what sign, cut-off and probabilities."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol, get_args

import numpy as np
import pandas as pd

from radnet.cohort import BenefitColumns, Cohort, Endpoint
from radnet.models.calibration import Calibration, calibrate, calibration_from
from radnet.predictors.base import Prediction, no_lesions


class FittedCutoff(Protocol):
    """A cut-off on the score, and the rule that found it."""

    @property
    def value(self) -> float: ...  # noqa: D102
    @property
    def rule(self) -> str: ...  # noqa: D102


CutoffRule = Callable[..., FittedCutoff]
"""Fits a cut-off to events and scores of shape (n,), and to follow-up where the endpoint has one."""


Risk = Literal["keep", "negate", "own"]
"""Which score is the risk of an endpoint: the model's, its negative, or one that the model has of that endpoint."""


@dataclass(frozen=True)
class Reading:
    """How a model's score shall be read on an endpoint.

    Attributes:
        endpoint: The endpoint learned, or another that the score is read on too.
        rule: Fits the cut-off; called with event and score, and with time where the endpoint has follow-up. None, of a
            further endpoint: the cut-off of the endpoint learned, as survival is shown by the groups of another end. A
            negated score is then cut so that the groups are of the same patients, with their names exchanged.
        risk: ``negate`` where the score counts the other way: one of response promises less progression. ``own``, of a
            further endpoint that the model has learned too: its own score on that (``Prediction.own``) is read.
        horizons: Times, in the endpoint's unit, at which a probability is foretold beside that of its own horizon.
        calibrated: Whether scores become probabilities, learned on the same scores as the cut-off.
    """

    endpoint: Endpoint
    rule: CutoffRule | None
    risk: Risk = "keep"
    horizons: Sequence[float] = ()
    calibrated: bool = True

    def __post_init__(self) -> None:
        if self.risk not in get_args(Risk):
            raise ValueError(f"risk must be keep, negate or own, got {self.risk!r}")
        if self.endpoint.time is None and self.horizons:
            raise ValueError(
                f"horizons are times, and endpoint {self.endpoint.name} has no follow-up: give horizons=[]"
            )
        if self.rule is None and self.risk == "own":
            raise ValueError(
                f"endpoint {self.endpoint.name} is read with risk=own and rule=null, the cut-off of the endpoint "
                "learned, which is one of another score: give a rule"
            )
        if self.rule is None:
            return
        name = getattr(self.rule, "func", self.rule).__name__
        if lacking := [key for key, value in getattr(self.rule, "keywords", {}).items() if value is None]:
            cures = {"at": "endpoint.horizon=…", "value": "cutoff.value=…"}
            raise ValueError(f"cutoff {name} needs {', '.join(cures.get(key, key) for key in lacking)}")
        time = inspect.signature(self.rule).parameters.get("time")
        if self.endpoint.time is None and time is not None and time.default is time.empty:
            raise ValueError(
                f"cutoff {name} needs follow-up, and endpoint {self.endpoint.name} has none: choose cutoff=youden, "
                "max_sensitivity, closest_topleft or median"
            )
        if self.endpoint.time is not None and time is None:
            raise ValueError(
                f"cutoff {name} ignores how long patients were followed, and endpoint {self.endpoint.name} has "
                "follow-up: choose cutoff=median, maxstat or time_youden"
            )

    def unfitted(self) -> "FittedReading":
        """Return the reading without cut-off and probabilities, where there are no scores to learn them from."""
        return self._fitted(None, None)

    def score(self, prediction: Prediction) -> pd.Series:
        """Return the scores that are read here, as they are before any is negated, by patient_id."""
        own = self.risk == "own"
        return prediction.own_score(self.endpoint.name) if own else prediction.patients["score"]

    def fit(self, cohort: Cohort, score: pd.Series) -> "FittedReading":
        """Learn the cut-off and the probabilities from scores of patients (``score``), by patient_id.

        What these scores do not allow is left out, and ``notes`` of what comes back says why: a cut-off needs two
        distinct scores, and a model that selects nothing gives everybody the same.
        """
        if self.rule is None and not self.calibrated:
            return self.unfitted()
        name = self.endpoint.name
        known = cohort.select(score.index).evaluable(name)
        if not len(known):
            nothing = f"{name}: neither cut-off nor probability: of none of {len(score)} patients the outcome is known"
            return self._fitted(None, None, nothing)
        event, time = known.events(name), known.times(name)
        values = (-score if self.risk == "negate" else score).loc[known.ids].to_numpy(dtype=float)
        follow_up = () if self.endpoint.time is None else (time,)
        cutoff: FittedCutoff | None = None
        calibration: Calibration | None = None
        notes: list[str] = []
        if self.rule is not None:
            try:
                cutoff = self.rule(event, values, *follow_up)
            except ValueError as error:
                notes.append(f"{name}: no cut-off: {error}")
        if self.calibrated:
            try:
                calibration = calibrate(event, values, *follow_up)
            except ValueError as error:
                notes.append(f"{name}: no probability: {error}")
            else:
                if calibration.slope == 0 and np.ptp(values) > 0:
                    notes.append(f"{name}: everybody has the same probability: scores do not rise with the event")
        return self._fitted(cutoff, calibration, *notes)

    def _fitted(self, cutoff: FittedCutoff | None, calibration: Calibration | None, *notes: str) -> "FittedReading":
        negate = self.risk == "negate"
        turns = negate and self.rule is None
        own = self.risk == "own"
        return FittedReading(self.endpoint, cutoff, calibration, negate, tuple(self.horizons), notes, turns, own)


@dataclass(frozen=True)
class FittedReading:
    """How a model's score is read on an endpoint.

    Attributes:
        endpoint: What is read from it.
        cutoff: Frozen, on the score as it is read; None where none could be fitted.
        calibration: Makes probabilities of scores, or None.
        negate: Whether the score counts the other way.
        horizons: Times at which a probability is foretold beside that of the endpoint's own horizon.
        notes: What could not be learned, and why.
        turns: Whether the cut-off put in next is that of the score before it was negated. It is then turned: who scores
            ``cutoff`` or more, and so is promised the event learned, is of low risk, and everybody below is of high.
        own: Whether the model's own score on this endpoint is read.
    """

    endpoint: Endpoint
    cutoff: FittedCutoff | None
    calibration: Calibration | None
    negate: bool = False
    horizons: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    turns: bool = False
    own: bool = False

    def __post_init__(self) -> None:
        if self.own and self.negate:
            raise ValueError(f"endpoint {self.endpoint.name}: a score of its own is not negated")
        if self.turns and self.cutoff is not None:
            object.__setattr__(self, "cutoff", _turned(self.cutoff))
            object.__setattr__(self, "turns", False)

    def read(self, prediction: Prediction) -> Prediction:
        """Return a prediction as it reads on this endpoint; probabilities of the model's own are kept.

        Lesions belong to the endpoint learned: a score that counts the other way, or is another, has none.

        Raises:
            ValueError: If the model's own score is to be read and it has none.
        """
        patients = prediction.patients
        if self.own:
            score = prediction.own_score(self.endpoint.name)
            patients = pd.DataFrame({"score": score, "probability": np.nan}, index=patients.index)
        elif self.negate:
            patients = pd.DataFrame({"score": -patients["score"], "probability": np.nan}, index=patients.index)
        if self.calibration is not None and patients["probability"].isna().all():
            values = patients["score"].to_numpy(dtype=float)
            at = self.endpoint.horizon
            if self.endpoint.time is None or at is not None:
                patients = patients.assign(probability=self.calibration.probability(values, at))
            further = {f"probability_{time:g}": self.calibration.probability(values, time) for time in self.horizons}
            patients = patients.assign(**further)
        lesions = no_lesions() if self.negate or self.own else prediction.lesions
        return replace(
            prediction, patients=patients, lesions=lesions, cutoff=None if self.cutoff is None else self.cutoff.value
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what ``reading_from`` makes a reading of again; numbers and text only."""
        cutoff = None if self.cutoff is None else {"value": self.cutoff.value, "rule": self.cutoff.rule}
        return {
            "endpoint": asdict(self.endpoint),
            "negate": self.negate,
            "own": self.own,
            "horizons": list(self.horizons),
            "cutoff": cutoff,
            "calibration": None if self.calibration is None else self.calibration.as_dict(),
        }


@dataclass(frozen=True)
class _KeptCutoff:
    value: float
    rule: str


def _turned(cutoff: FittedCutoff) -> _KeptCutoff:
    """Return the cut-off of the negated score that parts patients alike: below ``value`` is at or above the new one.

    That is the next number above ``-value``, since a score equal to its cut-off is on the high side on either scale.
    """
    return _KeptCutoff(math.nextafter(-cutoff.value, math.inf), cutoff.rule)


def reading_from(kept: Mapping[str, Any]) -> FittedReading:
    """Return the reading that ``as_dict`` wrote down."""
    found = kept["cutoff"]
    cutoff = None if found is None else _KeptCutoff(float(found["value"]), str(found["rule"]))
    calibration = None if kept["calibration"] is None else calibration_from(kept["calibration"])
    return FittedReading(
        _endpoint(kept["endpoint"]),
        cutoff,
        calibration,
        bool(kept["negate"]),
        tuple(kept["horizons"]),
        own=bool(kept.get("own", False)),  # a reading without was written before models had own scores
    )


def _endpoint(kept: Mapping[str, Any]) -> Endpoint:
    derive = kept.get("derive")
    return Endpoint(**{**kept, "derive": None if derive is None else BenefitColumns(**derive)})
