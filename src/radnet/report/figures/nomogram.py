"""A model as a nomogram: rulers on which to add up points."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from radnet.report.figures.hand import in_hand, need_rows, panels_of_one_size, short
from radnet.report.look import COLOURS, GREY
from radnet.report.nomogram import Ruler, full_scale, label_sides, rulers

_ROW, _LEFT, _WIDTH = 0.36, 1.1, 2.1  # inches
_LETTER = 0.062 / _WIDTH


@in_hand
def nomogram_figure(nomogram: pd.DataFrame) -> Figure:
    """Draw the points of each variable's values, and what total points predict, as R's rms does.

    Read a value upwards on "Points", add the points up, and read the total downwards.

    Args:
        nomogram: Columns axis, variable, value, points, time, as ``radnet regression --nomogram`` writes them.

    Raises:
        ValueError: If there is no axis to draw.
    """
    need_rows(nomogram, "axis of a nomogram")
    drawn = rulers(nomogram)
    figure, panels = panels_of_one_size(
        1, 1, width=_WIDTH, height=_ROW * len(drawn), left=_LEFT, below=0.12, right=0.15, above=0.12
    )
    axes = panels[0, 0]
    axes.set(xlim=(0, 1), ylim=(len(drawn) - 0.5, -0.5))
    axes.set_axis_off()
    for row, ruler in enumerate(drawn):
        _ruler(axes, row, ruler, full_scale(ruler, drawn))
    first_total = next(row for row, ruler in enumerate(drawn) if ruler.total)
    axes.axhline(first_total - 0.5, xmin=-_LEFT / _WIDTH, color=GREY, linewidth=0.5, linestyle="dotted", clip_on=False)
    return figure


def _ruler(axes: Axes, row: int, ruler: Ruler, full: float) -> None:
    scale = ruler.name in ("Points", "Total points")
    colour = "black" if scale else COLOURS[0]
    name = short(ruler.name, 16)
    axes.text(-0.06, row, name, ha="right", va="center", fontsize=7, fontweight="bold" if scale else "normal")
    if not ruler.points:
        return
    places = np.asarray(ruler.points) / full
    axes.plot([places.min(), places.max()], [row, row], color=colour, linewidth=0.9, clip_on=False)
    for place, label, side in zip(places, ruler.labels, label_sides(ruler, full, _LETTER), strict=True):
        axes.plot([place, place], [row, row - 0.13 * (side or 0.6)], color=colour, linewidth=0.7, clip_on=False)
        if side:
            at, stands = row - 0.17 * side, "bottom" if side > 0 else "top"
            axes.text(place, at, label, ha="center", va=stands, fontsize=6.5)
