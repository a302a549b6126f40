"""Whether probabilities mean what they say: calibration curves."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from radnet.report.calibration import STRIP_EDGES, axis_labels, calibration_words, strip_counts
from radnet.report.figures.hand import in_hand, need_rows, note_below, panels_of_one_size, title_of
from radnet.report.look import COLOURS, GREY
from radnet.report.panel_rows import drawn, grid, size
from radnet.report.reading import of_all_centres, typed

_TICKS = [0, 0.2, 0.4, 0.6, 0.8, 1]


@in_hand
def calibration_figure(calibration: pd.DataFrame, scores: pd.DataFrame, metrics: pd.DataFrame) -> Figure:
    """Draw observed against predicted risk: a smooth curve with its band, and groups of patients with their interval.

    The strip under a panel counts patients by their probability, those with the event above the line.

    Args:
        calibration: Columns endpoint, model, partition, centre, horizon, kind (curve, groups), probability, observed,
            lower, upper, n; rows of single centres and of controls are left out.
        scores: Columns endpoint, model, partition, event and, for the strips, probability.
        metrics: The table ``metrics.csv``; slope, intercept, ICI and Brier score are written into the panel.

    Raises:
        ValueError: If there is no curve to draw.
    """
    calibration, scores, metrics = of_all_centres(typed(calibration)), typed(scores), typed(metrics)
    need_rows(calibration, "calibration curve")
    calibration, note = drawn(calibration)
    figure, panels = panels_of_one_size(*size(calibration), width=2.5, height=2.5, left=0.55, below=1.02, right=0.2)
    for _, axes in np.ndenumerate(panels):
        axes.set_axis_off()
    for row, column, place, panel in grid(calibration):
        axes = panels[row, column]
        axes.set_axis_on()
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.7)
        _curve(axes, panel[panel["kind"] == "curve"].sort_values("probability"))
        _groups(axes, panel[panel["kind"] == "groups"])
        predicted, observed = axis_labels(place)
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=_TICKS, yticks=_TICKS, xlabel=predicted, ylabel=observed)
        axes.set_title(title_of(place.endpoint, place.model, place.partition), loc="left")
        words = "\n".join(calibration_words(metrics, place))
        axes.text(0.03, 0.98, words, transform=axes.transAxes, ha="left", va="top", fontsize=7)
        _strip(axes, strip_counts(scores, place))
    note_below(figure, note)
    return figure


def _curve(axes: Axes, curve: pd.DataFrame) -> None:
    band: dict[str, Any] = {"color": COLOURS[0], "alpha": 0.15, "linewidth": 0}
    axes.fill_between(curve["probability"], curve["lower"], curve["upper"], **band)
    axes.plot(curve["probability"], curve["observed"], color=COLOURS[0])


def _groups(axes: Axes, groups: pd.DataFrame) -> None:
    known = groups.dropna(subset=["probability", "observed"])
    reach = np.abs(known[["lower", "upper"]].to_numpy().T - known["observed"].to_numpy())
    look: dict[str, Any] = {"color": "black", "markersize": 3.5, "elinewidth": 0.7, "clip_on": False}
    axes.errorbar(known["probability"], known["observed"], yerr=reach, fmt="o", **look)


def _strip(axes: Axes, counts: list[tuple[str, np.ndarray]]) -> None:
    """Draw under the panel, on the same axis, how many patients got which probability."""
    if not counts:
        return
    strip = axes.inset_axes((0, -0.36, 1, 0.15))
    tallest = max(1.0, *(float(np.abs(height).max()) for _, height in counts))
    for (name, height), colour, side in zip(counts, (COLOURS[1], COLOURS[0]), (0.75, 0.25), strict=False):
        strip.bar(STRIP_EDGES[:-1], height, np.diff(STRIP_EDGES), align="edge", color=colour, linewidth=0)
        words: dict[str, Any] = {"transform": strip.transAxes, "ha": "right", "va": "center", "fontsize": 6.5}
        strip.text(-0.02, side, name, color=colour, **words)
    strip.axhline(0, color="black", linewidth=0.5)
    strip.set(xlim=(0, 1), ylim=(-tallest, tallest), xticks=[], yticks=[])
    strip.spines[["left", "bottom"]].set_visible(False)
