"""Forest plots: subgroups of patients, and the variables of one model."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator

from radnet.report.figures.hand import in_hand, need_rows, note_below, panels_of_one_size, short, title_of
from radnet.report.forest import (
    MEASURE_WORDS,
    NO_EFFECT,
    effect_range,
    effect_text,
    forest_panels,
    is_ratio,
    measure_of,
    row_label,
)
from radnet.report.look import COLOURS, GREY
from radnet.report.panel_rows import drawn
from radnet.report.text import p_text

_ROW, _LEFT, _PLOT, _RIGHT = 0.165, 1.24, 0.75, 1.36  # inches: a row's height, names, plot, numbers; one column wide
_RATIO_TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
_POINTS = 72
_END = _RIGHT * _POINTS - 3


@in_hand
def forest_figure(forest: pd.DataFrame, level: float = 0.95) -> Figure:
    """Draw estimates with their intervals, a row each, and their numbers beside them.

    Args:
        forest: As ``subgroup_rows`` and ``model_rows`` of ``radnet.report.forest`` arrange them.
        level: Coverage of the intervals, for the heading.

    Raises:
        ValueError: If there is no row to draw.
    """
    need_rows(forest, "row of a forest")
    forest, note = drawn(forest)
    panels = list(forest_panels(forest))
    most = max(len(rows) for _, rows in panels)
    figure, axes_of = panels_of_one_size(
        len(panels), 1, width=_PLOT, height=_ROW * (most + 1), left=_LEFT, below=0.55, right=_RIGHT
    )
    for axes, (place, rows) in zip(axes_of[:, 0].tolist(), panels, strict=True):
        _axis(axes, rows, most)
        _headings(axes, rows, level)
        for at, row in enumerate(rows.itertuples()):
            _row(axes, at, row)
        axes.set_title(title_of(*place) if any(place) else "", loc="left", x=(0.04 - _LEFT) / _PLOT, fontsize=8.5)
    note_below(figure, note)
    return figure


def _axis(axes: Axes, rows: pd.DataFrame, most: int) -> None:
    lowest, highest = effect_range(rows)
    measure = measure_of(rows)
    if is_ratio(rows):
        axes.set_xscale("log")
        ticks = [tick for tick in _RATIO_TICKS if lowest <= tick <= highest]
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticklabels([f"{tick:g}" for tick in ticks])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.set(xlim=(lowest, highest), ylim=(most - 0.5, -1.5), yticks=[], xlabel=MEASURE_WORDS.get(measure, measure))
    axes.spines["left"].set_visible(False)
    axes.plot([NO_EFFECT.get(measure, 1)] * 2, [-0.5, len(rows) - 0.5], color=GREY, linewidth=0.7)


def _headings(axes: Axes, rows: pd.DataFrame, level: float) -> None:
    subgroups = rows["p_interaction"].notna().any()
    _write(axes, -1, "events/n", "left", -4, ha="right", color=GREY)
    _write(axes, -1, f"{100 * level:.3g}% CI", "right", 4, color=GREY)
    _write(axes, -1, "interaction" if subgroups else "p", "right", _END, ha="right", color=GREY)


def _row(axes: Axes, at: int, row: Any) -> None:
    heads = bool(row.variable) and not row.level
    _write(axes, at, short(row_label(row), 24) if heads else _indented(row), "left", 3 - _LEFT * _POINTS, heads=heads)
    if not np.isnan(row.n):
        _write(axes, at, f"{row.n_event:.0f}/{row.n:.0f}", "left", -4, ha="right")
    _write(axes, at, effect_text(row), "right", 4)
    p_value = row.p_interaction if not np.isnan(row.p_interaction) else row.p_value
    told = not np.isnan(row.p_interaction) or row.measure in ("odds_ratio", "hazard_ratio")
    if told and not np.isnan(p_value):
        _write(axes, at, p_text(p_value).removeprefix("p = ").removeprefix("p "), "right", _END, ha="right")
    if np.isnan(row.estimate):
        return
    colour = "black" if not row.variable else COLOURS[0]
    lowest, highest = axes.get_xlim()
    axes.plot(np.clip([row.lower, row.upper], lowest, highest), [at, at], color=colour, linewidth=1)
    for bound, beyond, mark in ((row.lower, row.lower < lowest, "<"), (row.upper, row.upper > highest, ">")):
        if beyond:
            axes.plot(np.clip(bound, lowest, highest), at, mark, color=colour, markersize=3.5, clip_on=False)
    if lowest <= row.estimate <= highest:
        axes.plot(row.estimate, at, "D" if not row.variable else "s", color=colour, markersize=3.5)


def _indented(row: Any) -> str:
    label = row_label(row)
    return f"   {short(label, 13)}" if label.startswith("  ") else short(label, 15)


def _write(axes: Axes, at: float, text: str, side: str, points: float, heads: bool = False, **look: Any) -> None:
    """Write a cell beside the panel, so many points from its left or right edge."""
    axes.annotate(
        text,
        (0 if side == "left" else 1, at),
        (points, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        fontsize=7,
        fontweight="bold" if heads else "normal",
        annotation_clip=False,
        **({"ha": "left"} | look),
    )
