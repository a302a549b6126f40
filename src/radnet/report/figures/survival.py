"""Survival by risk group."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from radnet.report.figures.hand import (
    in_hand,
    need_rows,
    note_below,
    of_model,
    panels_of_one_size,
    rows_of_panels,
    short,
    title_of,
)
from radnet.report.look import (
    GREY,
    GROUP_LABELS,
    group_colours,
    in_order,
)
from radnet.report.reading import overall_numbers, typed
from radnet.report.survival_curve import (
    at_risk,
    from_the_start,
    group_medians,
    groups_compared,
    time_label,
    time_ticks,
    time_unit,
)


@in_hand
def km_figure(km: pd.DataFrame, metrics: pd.DataFrame, level: float = 0.95) -> Figure:
    """Draw Kaplan-Meier curves by frozen risk group, with CI bands, censored patients and numbers at risk.

    Medians, log-rank test and hazard ratio are taken from the metrics. Without a cut-off the curve is of all patients.

    Args:
        km: Columns endpoint, model, partition, group, time, survival, lower, upper, at_risk, events, censored;
            optionally time_unit.
        metrics: The table ``metrics.csv``.
        level: Coverage of its intervals, for the legend's title.

    Raises:
        ValueError: If there is no curve to draw.
    """
    km, numbers = typed(km), overall_numbers(typed(metrics))
    need_rows(km, "Kaplan-Meier curve")
    rows, note = rows_of_panels(km)
    partitions = in_order(km["partition"])
    colours = group_colours(km["group"])
    below = 0.65 + 0.14 * len(colours)
    figure, panels = panels_of_one_size(
        len(rows), len(partitions), width=2.55, height=1.8, left=0.6, below=below, above=0.62 + 0.15 * len(colours)
    )
    for (row, column), axes in np.ndenumerate(panels):
        endpoint, model = rows[row]
        panel = km[of_model(km, endpoint, model, partitions[column])]
        if panel.empty:
            axes.set_axis_off()
            continue
        groups = [group for group in colours if group in set(panel["group"])]
        for group in groups:
            _survival_curve(axes, from_the_start(panel[panel["group"] == group]), group, colours[group])
        ticks = time_ticks(panel)
        axes.set_xticks(ticks)
        axes.set(xlim=(0, panel["time"].max() * 1.02), ylim=(0, 1.03), xlabel=time_label(panel), ylabel="Event-free")
        place = (endpoint, model, partitions[column])
        _legend(axes, group_medians(numbers, place, groups), time_unit(panel), level)
        axes.set_title(title_of(*place), loc="left", pad=16 + 11 * len(groups))
        _numbers_at_risk(axes, panel, groups, colours, ticks)
        told = "\n".join(groups_compared(numbers, place))
        axes.text(1, 1, told, transform=axes.transAxes, ha="right", va="top", fontsize=7)
    note_below(figure, note)
    return figure


def _survival_curve(axes: Axes, curve: pd.DataFrame, group: str, colour: str) -> None:
    label = GROUP_LABELS.get(group, short(group, 12)).lstrip("_")  # matplotlib hides a label with an underscore first
    axes.fill_between(curve["time"], curve["lower"], curve["upper"], step="post", color=colour, alpha=0.15, linewidth=0)
    axes.step(
        curve["time"],
        curve["survival"],
        where="post",
        color=colour,
        linestyle="solid" if group != "high" else (0, (5, 1.5)),
        label=label,
    )
    censored = curve[curve["censored"] > 0]
    axes.plot(censored["time"], censored["survival"], "|", color=colour, markersize=4, markeredgewidth=0.7)


def _legend(axes: Axes, medians: dict[str, str], unit: str, level: float) -> None:
    """Name the curves above the panel, with their medians where these are known."""
    lines, names = axes.get_legend_handles_labels()
    labels = [f"{name}  {median}" for name, median in zip(names, medians.values(), strict=False)]
    axes.legend(
        lines,
        labels if len(labels) == len(names) else names,
        title=f"Median ({100 * level:.3g}% CI)" + (f", {unit}" if unit else "") if medians else None,
        alignment="left",
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        borderpad=0,
        labelspacing=0.3,
    )


def _numbers_at_risk(
    axes: Axes, panel: pd.DataFrame, groups: list[str], colours: dict[str, str], ticks: list[float]
) -> None:
    """Write under the axis in points, so that the rows keep their distance whatever the panel's height."""
    place: dict[str, Any] = {
        "xycoords": ("data", "axes fraction"),
        "textcoords": "offset points",
        "fontsize": 7,
        "annotation_clip": False,
    }
    axes.annotate("At risk", (0, 0), (-31, -33), ha="left", va="center", color=GREY, **place)
    for row, group in enumerate(groups):
        below = -43 - 10 * row
        label = GROUP_LABELS.get(group, short(group, 8)).removesuffix(" risk")
        axes.annotate(label, (0, 0), (-31, below), ha="left", va="center", color=colours[group], **place)
        for tick, count in zip(ticks, at_risk(panel[panel["group"] == group], ticks), strict=True):
            axes.annotate(str(count), (tick, 0), (0, below), ha="center", va="center", **place)
