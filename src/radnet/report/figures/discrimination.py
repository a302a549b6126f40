"""How well models tell patients with the event from those without: curves over all cut-offs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from radnet.report.figures.hand import in_hand, need_rows, note_below, panels_of_one_size, short, title_of
from radnet.report.look import FAINT, GREY, MOST, Dash, curve_style, in_order
from radnet.report.reading import of_all_centres, overall_numbers, typed
from radnet.report.text import MISSING, with_interval
from radnet.tables import is_control

_Numbers = dict[str, Any]  # by model: its row of the metrics, or None


@dataclass(frozen=True, slots=True)
class _Kind:
    what: str
    metric: str
    measure: str
    axes: dict[str, str]
    order: tuple[list[str], list[bool]]  # columns to sort points by, and whether they rise
    drawstyle: str
    worthless: Callable[[Axes, _Numbers], None]  # draws what a model that knows nothing would give


@in_hand
def roc_figure(roc: pd.DataFrame, metrics: pd.DataFrame, level: float = 0.95) -> Figure:
    """Draw the ROC curves of all models, a panel per endpoint and partition, held-out first.

    Curves of single folds are faint, their mean is bold; controls are grey. The legend takes AUC, CI and n from the
    metrics. No more than eight curves are drawn, and the figure says how many are not.

    Args:
        roc: Columns endpoint, model, partition, centre, fold, repeat, fpr, tpr; rows of single centres are left out.
        metrics: The table ``metrics.csv``.
        level: Coverage of the intervals in the metrics, for the legend's title.

    Raises:
        ValueError: If there is no curve to draw.
    """
    kind = _Kind(
        what="ROC curve",
        metric="auc",
        measure="AUC",
        axes={"xlabel": "1 − specificity", "ylabel": "Sensitivity"},
        order=(["fpr", "tpr"], [True, True]),
        drawstyle="default",
        worthless=_chance,
    )
    return _curves(roc, metrics, level, kind)


@in_hand
def precision_recall_figure(precision_recall: pd.DataFrame, metrics: pd.DataFrame, level: float = 0.95) -> Figure:
    """Draw the precision-recall curves of all models, a panel per endpoint and partition, held-out first.

    The horizontal line is the prevalence: the precision of calling everybody positive. Curves are the steps whose area
    is the average precision. The legend takes average precision, CI and n from the metrics.

    Args:
        precision_recall: Columns endpoint, model, partition, centre, fold, repeat, recall, precision; rows of single
            centres are left out.
        metrics: The table ``metrics.csv``.
        level: Coverage of the intervals in the metrics, for the legend's title.

    Raises:
        ValueError: If there is no curve to draw.
    """
    kind = _Kind(
        what="precision-recall curve",
        metric="average_precision",
        measure="Average precision",
        axes={"xlabel": "Recall (sensitivity)", "ylabel": "Precision (PPV)"},
        order=(["recall", "precision"], [True, False]),
        drawstyle="steps-pre",
        worthless=_prevalence,
    )
    return _curves(precision_recall, metrics, level, kind)


def _curves(points: pd.DataFrame, metrics: pd.DataFrame, level: float, kind: _Kind) -> Figure:
    points = of_all_centres(typed(points))
    need_rows(points, kind.what)
    numbers = overall_numbers(typed(metrics))
    looks = curve_style(points["model"].tolist())
    shown = list(looks)[:MOST]
    endpoints, partitions = list(dict.fromkeys(points["endpoint"])), in_order(points["partition"])
    size, below = (len(endpoints), len(partitions)), 0.74 + 0.14 * len(shown)
    figure, panels = panels_of_one_size(*size, width=2.15, height=2.15, left=0.5, below=below)
    for (row, column), axes in np.ndenumerate(panels):
        endpoint, partition = endpoints[row], partitions[column]
        panel = points[(points["endpoint"] == endpoint) & (points["partition"] == partition)]
        models = [model for model in shown if model in set(panel["model"])]
        if not models:
            axes.set_axis_off()
            continue
        areas = {model: numbers.get((endpoint, model, partition, kind.metric, "")) for model in models}
        kind.worthless(axes, areas)
        for model in reversed(models):  # the first model lies on top, controls at the bottom
            _draw(axes, panel[panel["model"] == model], looks[model], kind)
        axes.set(xlim=(0, 1), ylim=(0, 1), **kind.axes)
        axes.set_title(title_of(endpoint if len(endpoints) > 1 else "", partition), loc="left")
        _legend(axes, areas, looks, f"{kind.measure} ({100 * level:.3g}% CI)")
    if len(looks) > MOST:
        note_below(figure, f"{len(looks) - MOST} further models are not drawn; the table has their numbers.")
    return figure


def _draw(axes: Axes, curves: pd.DataFrame, look: tuple[str, Dash], kind: _Kind) -> None:
    colour, dash = look
    control = is_control(str(curves["model"].iloc[0]))
    curves = curves[curves["fold"].isin(["", "mean"])] if control else curves
    width = 0.9 if control else 1.5
    names, rising = kind.order
    for (fold, _), curve in curves.groupby(["fold", "repeat"], sort=False):
        points = curve.sort_values(names, ascending=rising, kind="stable")
        bold = {"linestyle": dash, "linewidth": width} if fold in ("", "mean") else {"alpha": 0.3, "linewidth": 0.6}
        axes.plot(points[names[0]], points[names[1]], color=colour, clip_on=False, drawstyle=kind.drawstyle, **bold)


def _chance(axes: Axes, _: _Numbers) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.7)


def _prevalence(axes: Axes, numbers: _Numbers) -> None:
    known = [row for row in numbers.values() if row is not None and row.n > 0]
    for share in dict.fromkeys(row.n_event / row.n for row in known):
        axes.axhline(share, color=FAINT, linewidth=0.7)
        below = share > 0.1
        place: dict[str, Any] = {"xytext": (2, -2 if below else 2), "textcoords": "offset points"}
        text = f"prevalence {share:.2f}"
        axes.annotate(text, (0, share), color=GREY, fontsize=6.5, va="top" if below else "bottom", **place)


def _legend(axes: Axes, areas: _Numbers, looks: dict[str, tuple[str, Dash]], title: str) -> None:
    """Say n once where all models were tried on as many patients; otherwise with each model."""
    sizes = {area.n for area in areas.values() if area is not None and not np.isnan(area.n)}
    lines = []
    for model, area in areas.items():
        colour, dash = looks[model]
        number = MISSING if area is None else with_interval(area.estimate, area.lower, area.upper)
        size = f", n = {area.n:.0f}" if len(sizes) > 1 and area is not None and not np.isnan(area.n) else ""
        # The number comes first: matplotlib hides a label that begins with an underscore, as a model's name may.
        label = f"{number}  {short(model, 14 if size else 23)}{size}"
        width = 0.9 if is_control(model) else 1.5
        lines.append(Line2D([], [], color=colour, linestyle=dash, linewidth=width, label=label))
    axes.legend(
        handles=lines,
        title=title + (f", n = {sizes.pop():.0f}" if len(sizes) == 1 else ""),
        alignment="left",
        loc="upper left",
        bbox_to_anchor=(-0.2, -0.19),
        borderaxespad=0,
        borderpad=0,
        handlelength=2.2,
        labelspacing=0.35,
    )
