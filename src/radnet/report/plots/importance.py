"""Interactive importance of branches, groups of features and features."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from radnet.report.importance import kind_label, method_words, shown_importance
from radnet.report.look import COLOURS, GREY, PARTITION_LABELS
from radnet.report.plots.panel import Plot, faint, inert, spec


def importance_plots(importance: pd.DataFrame) -> list[Plot]:
    """Draw how much each branch, group and feature matters, a panel per kind, the largest first."""
    plots = []
    for (endpoint, model, partition), kinds in shown_importance(importance):
        for colour, (kind, rows) in zip((*COLOURS, GREY), kinds, strict=False):
            bars = go.Bar(
                x=rows["importance"].to_numpy(),
                y=list(range(len(rows))),
                orientation="h",
                customdata=[inert(name) for name in rows["name"]],
                marker={"color": faint(colour), "line": {"color": colour, "width": 1}},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": (rows["upper"] - rows["importance"]).to_numpy(),
                    "arrayminus": (rows["importance"] - rows["lower"]).to_numpy(),
                    "thickness": 1.2,
                    "width": 0,
                    "color": colour,
                },
                hovertemplate="%{customdata}: %{x:.3g}<extra></extra>",
            )
            axis: dict[str, Any] = {
                "tickvals": list(range(len(rows))),
                "ticktext": [inert(name) for name in rows["name"]],
                "range": [len(rows) - 0.5, -0.5],
                "automargin": True,
                "ticks": "",
                "showgrid": False,
            }
            words = inert(method_words(rows))
            layout = {"xaxis": {"title": {"text": words}}, "yaxis": axis, "height": 90 + 24 * len(rows)}
            heading = kind_label(kind, len(rows), int(rows["of_kind"].iloc[0]))
            names = [endpoint, model, PARTITION_LABELS.get(partition, partition), heading]
            plots.append(Plot(" · ".join(filter(None, names)), spec([bars], layout)))
    return plots
