"""The warning that a result is too good, with what was checked of the ways in which the outcome may have leaked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from radnet.report.look import MEASURE_LABELS, PARTITION_LABELS
from radnet.report.reading import Evaluation, discrimination
from radnet.report.text import decimal

TOO_GOOD = 0.95
ERRORS_ABOVE_ORACLE = 2.0
_ORACLE_ENDPOINTS = {"auc": ("response",), "c_index": ("pfs", "dfs")}  # what the simulator plants its signals for
_JUDGED_FAIRLY = ("held_out", "out_of_fold")


@dataclass(frozen=True, slots=True)
class LeakWarning:
    """A result that is too good to be believed before its causes were looked at.

    Attributes:
        endpoint: Name.
        model: Name.
        partition: ``held_out`` or ``out_of_fold``.
        found: What is too good, in a sentence without its end.
        checked: Causes that were looked at, in words.
        unchecked: Causes that could not be.
        suspicious: What the checks tell of those that go with the outcome, a sentence each.
    """

    endpoint: str
    model: str
    partition: str
    found: str
    checked: tuple[str, ...]
    unchecked: tuple[str, ...]
    suspicious: tuple[str, ...]

    @property
    def causes(self) -> str:
        """What was checked and what came of it, in one or two sentences."""
        if not self.checked and not self.unchecked:
            return "No causes were checked: train with falsification=true."
        looked = f"Checked: {', '.join(self.checked) or 'nothing'}"
        looked += f"; not checked: {', '.join(self.unchecked)}" if self.unchecked else ""
        return f"{looked}. " + (" ".join(self.suspicious) or "None of them is suspicious.")

    @property
    def message(self) -> str:
        """The whole warning."""
        return f"{self.found}: look for a leak. {self.causes}"

    def as_message(self) -> dict[str, str]:
        """Return it as a message of evaluation.json."""
        about = {"endpoint": self.endpoint, "model": self.model, "partition": self.partition}
        return about | {"severity": "warning", "message": self.message}


def leak_warnings(evaluation: Evaluation) -> list[LeakWarning]:
    """Return the warnings of an evaluation; arguments of ``leaks_in`` from its folder."""
    return leaks_in(evaluation.metrics, evaluation.about)


def leaks_in(metrics: pd.DataFrame, about: Mapping[str, Any]) -> list[LeakWarning]:
    """Warn of every held-out or out-of-fold AUC or C-index that is too good.

    Too good is above 0.95, or more than 2 standard errors, taken from the width of its interval, above the highest
    oracle of a simulated cohort: no model should know more than what was planted.

    Args:
        metrics: Typed metrics.
        about: What evaluation.json says: ``truth``, ``falsification`` and the ``level`` of intervals are read.
    """
    checks = (about.get("falsification") or {}).get("leak_checks") or []
    level = float((about.get("evaluation") or {}).get("level") or 0.95)
    rows = discrimination(metrics)
    return [
        LeakWarning(
            endpoint=str(row.endpoint),
            model=str(row.model),
            partition=str(row.partition),
            found=f"{PARTITION_LABELS.get(row.partition, row.partition)} {MEASURE_LABELS[row.metric]} {told}",
            checked=tuple(_words(one) for one in checks if one.get("value") is not None),
            unchecked=tuple(_words(one) for one in checks if one.get("value") is None),
            suspicious=tuple(str(one.get("told", "")) for one in checks if one.get("suspicious")),
        )
        for row in rows[rows["partition"].isin(_JUDGED_FAIRLY)].itertuples()
        for told in _too_good(row, about.get("truth") or {}, level)
    ]


def _too_good(row: Any, truth: Mapping[str, Any], level: float) -> Iterator[str]:
    if row.estimate > TOO_GOOD:
        yield f"{decimal(row.estimate)} is above {TOO_GOOD:g}"
        return
    oracle = _highest_oracle(truth, row.metric) if row.endpoint in _ORACLE_ENDPOINTS[row.metric] else np.nan
    error = (row.upper - row.lower) / (2 * NormalDist().inv_cdf((1 + level) / 2))
    if row.estimate - oracle > ERRORS_ABOVE_ORACLE * error:
        apart = f"more than {ERRORS_ABOVE_ORACLE:g} standard errors ({decimal(error)})"
        yield f"{decimal(row.estimate)} is {apart} above {decimal(oracle)}, which nothing planted exceeds"


def _highest_oracle(truth: Mapping[str, Any], measure: str) -> float:
    known = [one.get(measure) for one in (truth.get(f"oracle_{measure}") or {}).values()]
    return max((float(value) for value in known if value is not None), default=np.nan)


def _words(check: Mapping[str, Any]) -> str:
    return str(check.get("cause", "")).replace("_", " ")
