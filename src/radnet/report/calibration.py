"""What a calibration panel says, on paper and on screen: words, axes, and how many patients got which probability."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radnet.report.look import OUTCOME_LABELS
from radnet.report.panel_rows import Place, here
from radnet.report.reading import overall, preferred
from radnet.report.text import with_interval

STRIP_EDGES: NDArray[np.float64] = np.linspace(0, 1, 51)
"""Edges of the classes in which patients are counted by their probability."""

_WORDS = {
    "calibration_slope": "Slope",
    "calibration_intercept": "Intercept",
    "ici": "ICI",
    "brier": "Brier",
}


def calibration_words(metrics: pd.DataFrame, place: Place) -> list[str]:
    """Write slope, intercept, ICI and Brier score of typed metrics, those that are there."""
    found = here(preferred(overall(metrics)), place)
    at = found["horizon"].isna() if np.isnan(place.horizon) else found["horizon"] == place.horizon
    numbers = {row.metric: row for row in found[at][::-1].itertuples()}
    return [
        f"{word} {with_interval(row.estimate, row.lower, row.upper, 2)}"
        for metric, word in _WORDS.items()
        if (row := numbers.get(metric)) is not None and not np.isnan(row.estimate)
    ]


def strip_counts(scores: pd.DataFrame, place: Place) -> list[tuple[str, NDArray[np.float64]]]:
    """Count patients by their probability: those with the event, then those without as negative numbers.

    Out of fold, a patient counts once for each model that judged him. By a horizon the outcome may be unknown, so that
    there is one count of all.
    """
    if "probability" not in scores:
        return []
    known = here(scores, place).dropna(subset=["probability"])
    if known.empty:
        return []
    if not np.isnan(place.horizon):
        return [("All patients", np.histogram(known["probability"], STRIP_EDGES)[0].astype(float))]
    counts = {
        event: np.histogram(known.loc[known["event"] == event, "probability"], STRIP_EDGES)[0] for event in (1, 0)
    }
    return [(OUTCOME_LABELS[1], counts[1].astype(float)), (OUTCOME_LABELS[0], -counts[0].astype(float))]


def axis_labels(place: Place) -> tuple[str, str]:
    """Name what is predicted and what is observed.

    Example:
        >>> axis_labels(Place("os", "cox", "held_out", 365.0))
        ('Predicted risk by 365', 'Observed risk by 365')
    """
    if np.isnan(place.horizon):
        return "Predicted probability", "Observed share with the event"
    return f"Predicted risk by {place.horizon:g}", f"Observed risk by {place.horizon:g}"
