"""What an assessment has found so far: numbers, points of curves, and what could not be told."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import nan

import pandas as pd

from radnet.tables import METRIC_COLUMNS

_OF_PART = ("endpoint", "model", "partition", "centre")
CURVE_COLUMNS = {
    "roc": (*_OF_PART, "fold", "repeat", "threshold", "fpr", "tpr"),
    "precision_recall": (*_OF_PART, "fold", "repeat", "threshold", "recall", "precision"),
    "scores": (*_OF_PART, "fold", "repeat", "patient", "event", "score", "probability", "cutoff"),
    "km": (
        *("endpoint", "model", "partition", "group"),
        *("time", "survival", "lower", "upper", "at_risk", "events", "censored", "time_unit"),
    ),
    "calibration": (*_OF_PART, "horizon", "kind", "probability", "observed", "lower", "upper", "n"),
    "decision": (
        *(*_OF_PART, "horizon", "threshold", "net_benefit", "lower", "upper"),
        *("net_benefit_all", "high_risk", "true_positive"),
    ),
}
"""Columns of the tables of points behind the figures."""


@dataclass(frozen=True, slots=True)
class About:
    """Whom a number is about: a model's patients of one partition, of a centre or a subgroup among them.

    Attributes:
        endpoint: Name; so are model and partition.
        model: Empty where a message is about the whole endpoint.
        partition: Empty where a message is about the whole model.
        centre: Empty for all centres.
        subgroup: ``column=value``, or empty.
        level: ``patient`` or ``lesion``.
    """

    endpoint: str
    model: str
    partition: str
    centre: str = ""
    subgroup: str = ""
    level: str = "patient"

    @property
    def whole(self) -> bool:
        """Whether it is about all patients of the partition."""
        return not (self.centre or self.subgroup)

    @property
    def columns(self) -> dict[str, str]:
        """The partition, as columns of a table of points."""
        return {"endpoint": self.endpoint, "model": self.model, "partition": self.partition}


@dataclass(frozen=True, slots=True)
class Found:
    """Numbers, points of curves and messages, in the order in which they were found."""

    metrics: list[dict[str, object]] = field(default_factory=list)
    curves: dict[str, list[pd.DataFrame]] = field(default_factory=lambda: {name: [] for name in CURVE_COLUMNS})
    messages: list[dict[str, str]] = field(default_factory=list)

    def metric(self, about: About, patients: pd.DataFrame, metric: str, estimate: float, **columns: object) -> None:
        """Note a number and the patients behind it; columns not given stay empty.

        Args:
            about: Whom it is about.
            patients: Rows with ``event`` and, unless the level is ``lesion``, ``patient_id``, each patient counted
                once.
            metric: Name in the contract's vocabulary.
            estimate: The number.
            columns: Others of METRIC_COLUMNS.
        """
        counted = patients if about.level == "lesion" else patients.drop_duplicates("patient_id")
        row: dict[str, object] = dict.fromkeys(METRIC_COLUMNS, nan) | dict.fromkeys(("versus", "group", "method"), "")
        row |= about.columns | {"centre": about.centre, "subgroup": about.subgroup, "level": about.level}
        row |= {"metric": metric, "estimate": estimate, "n": len(counted), "n_event": int(counted["event"].sum())}
        self.metrics.append(row | columns)

    def points(self, name: str, about: About, **columns: object) -> None:
        """Keep points of a curve: columns of ``CURVE_COLUMNS[name]``, scalars repeated."""
        table = pd.DataFrame(about.columns | {"centre": about.centre} | columns)
        self.curves[name].append(table.reindex(columns=list(CURVE_COLUMNS[name])))

    def say(self, about: About, message: str, severity: str = "info") -> None:
        """Tell what was left out; what a centre or subgroup does not allow is no failure of the partition."""
        at = f"centre {about.centre}: " if about.centre else f"{about.subgroup}: " if about.subgroup else ""
        at = "lesions: " + at if about.level == "lesion" else at
        told = about.columns | {"severity": severity if about.whole else "info", "message": f"{at}{message}"}
        if told not in self.messages:
            self.messages.append(told)

    @contextmanager
    def telling(self, about: About, severity: str = "info", what: str = "") -> Iterator[None]:
        """Tell, and go on, when the patients do not allow a number."""
        try:
            yield
        except ValueError as error:
            self.say(about, f"{what}{error}", severity)

    def table(self, name: str) -> pd.DataFrame:
        """Join the points of a curve."""
        parts = [part for part in self.curves[name] if not part.empty]
        if not parts:
            return pd.DataFrame(columns=list(CURVE_COLUMNS[name]))
        return pd.concat(parts, ignore_index=True)
