"""The learning curve as an interactive panel."""

import pandas as pd
import plotly.graph_objects as go

from radnet.report.learning_curve import BAND, DRAWS, POINT, measure, measure_range, shown_learning_curve
from radnet.report.look import COLOURS, GREY, PARTITION_LABELS, in_order
from radnet.report.plots.panel import Plot, faint, inert, spec


def learning_plots(learning_curve: pd.DataFrame) -> list[Plot]:
    """Describe the learning curve, a panel per partition judged; see ``learning_figure``."""
    table = shown_learning_curve(learning_curve)
    parts = ((one, table[table["partition"] == one]) for one in in_order(table["partition"]))
    return [_plot(PARTITION_LABELS.get(partition, partition), curve) for partition, curve in parts]


def _plot(label: str, curve: pd.DataFrame) -> Plot:
    n, name = curve["n"].tolist(), inert(measure(curve))
    edge = {"x": n, "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    drawn = curve.dropna(subset=["lowest", "highest"])
    traces = [
        go.Scatter(y=curve["lower"].tolist(), showlegend=False, **edge),
        go.Scatter(y=curve["upper"].tolist(), fill="tonexty", fillcolor=faint(COLOURS[0]), name=BAND, **edge),
    ]
    if len(drawn):
        ends: dict[str, list[float | None]] = {"x": [], "y": []}
        for row in drawn.itertuples():
            ends["x"] += [row.n, row.n, None]
            ends["y"] += [row.lowest, row.highest, None]
        line = {"color": COLOURS[1], "width": 1.5}
        traces.append(go.Scatter(mode="lines", line=line, name=DRAWS, hovertemplate="%{y:.3f}<extra></extra>", **ends))
    told = [
        f"{row.estimate:.3f} ({row.lower:.3f} to {row.upper:.3f}), learned from {row.n:.0f} patients"
        for row in curve.itertuples()
    ]
    look = {"line": {"color": COLOURS[0], "width": 2}, "marker": {"size": 7}, "mode": "lines+markers"}
    hover = {"text": told, "hovertemplate": "%{text}<extra></extra>"}
    traces.append(go.Scatter(x=n, y=curve["estimate"].tolist(), name=POINT, **look, **hover))
    layout = {
        "xaxis": {"title": {"text": "Patients learned from"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": name}, "range": list(measure_range(curve))},
        "shapes": [
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": 0.5,
                "y1": 0.5,
                "line": {"color": GREY, "width": 1},
            }
        ],
        "height": 340,
        "legend": {"orientation": "h", "y": -0.22},
    }
    return Plot(label=label, spec=spec(traces, layout))
