"""What a model leans on: branches, groups of features, single features."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from radnet.report.figures.hand import in_hand, need_rows, panels_of_one_size, short, title_of
from radnet.report.importance import kind_label, method_words, shown_importance
from radnet.report.look import COLOURS, GREY

_ROW, _LEFT, _WIDTH = 0.165, 1.75, 1.45  # inches


@in_hand
def importance_figure(importance: pd.DataFrame) -> Figure:
    """Draw how much each branch, group of features and feature matters, with intervals, the largest first.

    Args:
        importance: Columns kind (branch, group, feature), name, importance, lower, upper, partition, method; perhaps
            endpoint and model. Of each kind at most 15 are drawn, and the figure says of how many.

    Raises:
        ValueError: If there is no importance to draw.
    """
    panels = list(shown_importance(importance))
    need_rows(pd.DataFrame(panels), "importance")
    most = max(sum(len(rows) + 1 for _, rows in kinds) for _, kinds in panels)
    figure, axes_of = panels_of_one_size(len(panels), 1, width=_WIDTH, height=_ROW * most, left=_LEFT, below=0.58)
    for axes, (place, kinds) in zip(axes_of[:, 0].tolist(), panels, strict=True):
        at = 0
        for colour, (kind, rows) in zip((*COLOURS, GREY), kinds, strict=False):
            heading = kind_label(kind, len(rows), int(rows["of_kind"].iloc[0]))
            axes.annotate(heading, (0, at), **_beside(bold=True))
            _bars(axes, at + 1, rows, colour)
            at += len(rows) + 1
        axes.axvline(0, color=GREY, linewidth=0.7)
        axes.set(ylim=(most - 0.5, -0.5), yticks=[], xlabel=method_words(pd.concat([rows for _, rows in kinds])))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.spines["left"].set_visible(False)
        axes.set_title(title_of(*place) if any(place) else "", loc="left", x=(0.04 - _LEFT) / _WIDTH)
    return figure


def _bars(axes: Axes, first: int, rows: pd.DataFrame, colour: str) -> None:
    at = np.arange(first, first + len(rows))
    axes.barh(at, rows["importance"], height=0.62, color=colour, alpha=0.35, linewidth=0)
    axes.hlines(at, rows["lower"], rows["upper"], color=colour, linewidth=1)
    axes.plot(rows["importance"], at, "s", color=colour, markersize=3)
    for place, name in zip(at, rows["name"], strict=True):
        axes.annotate(short(name, 31), (0, place), **_beside())


def _beside(bold: bool = False) -> dict[str, Any]:
    return {
        "xycoords": ("axes fraction", "data"),
        "textcoords": "offset points",
        "xytext": (-72 * _LEFT + 3, 0) if bold else (-5, 0),
        "ha": "left" if bold else "right",
        "va": "center",
        "fontsize": 7,
        "fontweight": "bold" if bold else "normal",
        "annotation_clip": False,
    }
