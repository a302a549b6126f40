"""Figures of associations: a heat map of correlations, a volcano of genes, curves of survival."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_HAND: Mapping[str, Any] = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 200,
    "text.parse_math": False,
    "svg.hashsalt": "radnet",
    "pdf.fonttype": 42,
}
_INK = ("#1b6ca8", "#c8553d", "#4b8b3b", "#7a5195", "#8a6d3b", "#555555")
_GREY = "#b8b8b8"
_MOST_NAMES = 60  # beyond, the names along an axis of a heat map cannot be read
_LONGEST = 40  # letters of such a name
_LETTER = 0.065  # its width in inches


in_hand = style.context(["default", dict(_HAND)])
"""Decorate with this a function that draws or saves."""


@in_hand
def heat_map(rows: pd.DataFrame, highest_q: float) -> Figure:
    """Draw correlations as colours, those with a q-value below ``highest_q`` marked by a dot.

    Args:
        rows: Associations of correlations: ``x``, ``y``, ``effect`` and ``q_value``.
        highest_q: Of a pair that is marked.
    """
    xs, ys = rows["x"].unique(), rows["y"].unique()
    of_pair = rows.set_index(["y", "x"]).reindex(pd.MultiIndex.from_product([ys, xs]))
    effect, q = (of_pair[column].to_numpy().reshape(len(ys), len(xs)) for column in ("effect", "q_value"))
    across, along = _labels(xs), _labels(ys)
    width = max(3.0, 0.2 * len(xs)) + 1.2 + _LETTER * max(map(len, along), default=0)
    height = max(1.6, 0.2 * len(ys)) + 0.6 + _LETTER * max(map(len, across), default=0)
    figure, axes = _blank(min(16.0, width), min(16.0, height))
    image = axes.imshow(effect, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    marked = np.argwhere(q < highest_q)
    axes.scatter(marked[:, 1], marked[:, 0], s=5, color="black", linewidths=0)
    axes.set_xticks(range(len(across)), labels=across, rotation=90)
    axes.set_yticks(range(len(along)), labels=along)
    figure.colorbar(image, ax=axes, shrink=0.8).set_label(str(rows["measure"].iloc[0]).replace("_", " "))
    axes.set_title(f"dot: q < {highest_q:g}", fontsize=8)
    return figure


@in_hand
def volcano(genes: pd.DataFrame, title: str) -> Figure:
    """Draw the p-value of each gene over its fold change; genes that change are coloured, the ten clearest named.

    Args:
        genes: As ``compare_expression`` returns them, with a column ``gene``.
        title: What was compared.
    """
    known = genes.dropna(subset=["p_value", "log2_fold_change"])
    height = -np.log10(known["p_value"].clip(lower=np.finfo(float).tiny))
    figure, axes = _blank(4.6, 4.0)
    for change, colour in (("", _GREY), ("down", _INK[0]), ("up", _INK[1])):
        who = known["change"] == change
        label = f"{change or 'no change'} ({int(who.sum())})"
        axes.scatter(known.loc[who, "log2_fold_change"], height[who], s=7, color=colour, linewidths=0, label=label)
    clearest = known[known["change"] != ""].nsmallest(10, "p_value")
    line = 0.035 * float(height.max()) if len(clearest) else 0.0
    written_at = inf
    for place, gene, fold in zip(clearest.index, clearest["gene"], clearest["log2_fold_change"], strict=True):
        written_at = min(height[place], written_at - line)  # from the top down, a line each, so that none hides another
        thin = {"arrowstyle": "-", "color": _GREY, "linewidth": 0.4}
        beside = (fold + 0.02 * float(np.ptp(known["log2_fold_change"])), written_at)
        axes.annotate(str(gene), (fold, height[place]), xytext=beside, fontsize=6.5, va="center", arrowprops=thin)
    axes.set(xlabel="log2 fold change", ylabel="−log10 p")
    axes.set_title(title, fontsize=9)
    axes.legend(frameon=False, fontsize=7)
    return figure


@in_hand
def survival_curves(curves: pd.DataFrame, endpoint: str) -> Figure:
    """Draw the Kaplan-Meier curve of each group with its interval, and censoring as ticks.

    Args:
        curves: As ``kaplan_meier`` returns them.
        endpoint: Name of the outcome.
    """
    figure, axes = _blank(4.6, 3.6)
    for place, (group, one) in enumerate(curves.groupby("group", sort=False)):
        colour = _INK[place % len(_INK)]
        n = int(one["at_risk"].iloc[0])
        axes.step(one["time"], one["survival"], where="post", color=colour, label=f"{group} (n = {n})")
        axes.fill_between(one["time"], one["lower"], one["upper"], step="post", color=colour, alpha=0.15, linewidth=0)
        left = one[one["censored"] > 0]
        axes.scatter(left["time"], left["survival"], marker="|", s=14, color=colour, linewidths=0.7)
    axes.set(xlabel="time", ylabel=f"free of the event ({endpoint})", ylim=(0, 1.02))
    axes.set_xlim(left=0)
    axes.legend(frameon=False, fontsize=7)
    return figure


def _labels(names: Sequence[str]) -> list[str]:
    """Return names for an axis of a heat map, cut where they are long; none where there are too many to be read."""
    if len(names) > _MOST_NAMES:
        return []
    return [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in names]


def _blank(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()
