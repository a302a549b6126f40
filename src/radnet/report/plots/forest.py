"""Interactive forest plots."""

from math import log10
from typing import Any

import pandas as pd
import plotly.graph_objects as go

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
from radnet.report.look import COLOURS, GREY, PARTITION_LABELS
from radnet.report.plots.panel import Plot, inert, spec


def forest_plots(forest: pd.DataFrame) -> list[Plot]:
    """Draw estimates with their intervals, as ``radnet.report.forest`` arranges them."""
    plots = []
    for (endpoint, model, partition), rows in forest_panels(forest):
        measure = measure_of(rows)
        words = MEASURE_WORDS.get(measure, measure)
        at = list(range(len(rows)))
        known = rows["estimate"].notna()
        points = go.Scatter(
            x=rows.loc[known, "estimate"].to_numpy(),
            y=[place for place, one in zip(at, known, strict=True) if one],
            text=[inert(effect_text(row)) for row in rows[known].itertuples()],
            mode="markers",
            marker={"symbol": "square", "size": 8, "color": COLOURS[0]},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": (rows["upper"] - rows["estimate"])[known].to_numpy(),
                "arrayminus": (rows["estimate"] - rows["lower"])[known].to_numpy(),
                "thickness": 1.2,
                "width": 0,
            },
            hovertemplate="%{text}<extra></extra>",
            showlegend=False,
        )
        line: dict[str, Any] = {"color": GREY, "width": 1}
        none = NO_EFFECT.get(measure, 1)
        layout = {
            "xaxis": _axis(rows, words),
            "yaxis": {
                "tickvals": at,
                "ticktext": [_written(row) for row in rows.itertuples()],
                "range": [len(rows) - 0.5, -0.5],
                "automargin": True,
                "ticks": "",
                "showline": False,
                "showgrid": False,
            },
            "height": 90 + 24 * len(rows),
            "shapes": [{"type": "line", "yref": "paper", "x0": none, "x1": none, "y0": 0, "y1": 1, "line": line}],
        }
        names = [endpoint, model, PARTITION_LABELS.get(partition, partition)]
        plots.append(Plot(" · ".join(filter(None, names)) or "Multivariable model", spec([points], layout)))
    return plots


def _axis(rows: pd.DataFrame, words: str) -> dict[str, Any]:
    lowest, highest = effect_range(rows)
    title = {"title": {"text": words}}
    if not is_ratio(rows):
        return {**title, "range": [lowest, highest]}
    ticks = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20]
    return {**title, "type": "log", "range": [log10(lowest), log10(highest)], "tickvals": ticks}


def _written(row: Any) -> str:
    label = inert(row_label(row).strip())
    return f"<b>{label}</b>" if row.variable and not row.level else label
