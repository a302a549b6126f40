"""Interactive calibration curves."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from radnet.report.calibration import axis_labels, calibration_words
from radnet.report.look import COLOURS, GREY
from radnet.report.panel_rows import grid, whole
from radnet.report.plots.panel import Plot, faint, inert, panel_label, spec

_AXIS = {"range": [-0.01, 1.01], "dtick": 0.2}


def calibration_plots(calibration: pd.DataFrame, metrics: pd.DataFrame) -> list[Plot]:
    """Draw observed against predicted risk from typed points, a panel per endpoint, horizon, model and partition."""
    plots = []
    for _, _, place, panel in grid(whole(calibration)):
        ideal = {"x": [0, 1], "y": [0, 1], "mode": "lines", "showlegend": False, "hoverinfo": "skip"}
        traces: list[Any] = [go.Scatter(line={"color": GREY, "width": 1}, **ideal)]
        curve = panel[panel["kind"] == "curve"].sort_values("probability")
        if not curve.empty:
            traces += _curve(curve)
        traces.append(_groups(panel[panel["kind"] == "groups"].dropna(subset=["observed"])))
        predicted, observed = axis_labels(place)
        layout = {
            "xaxis": {"title": {"text": inert(predicted)}, "constrain": "domain", **_AXIS},
            "yaxis": {"title": {"text": inert(observed)}, "scaleanchor": "x", **_AXIS},
            "height": 420,
            "showlegend": False,
        }
        plots.append(Plot(panel_label(place), spec(traces, layout), "; ".join(calibration_words(metrics, place))))
    return plots


def _curve(curve: pd.DataFrame) -> list[go.Scatter]:
    at = curve["probability"].to_numpy()
    edge: dict[str, Any] = {"mode": "lines", "line": {"width": 0, "color": COLOURS[0]}, "hoverinfo": "skip"}
    return [
        go.Scatter(x=at, y=curve["lower"].to_numpy(), **edge),
        go.Scatter(x=at, y=curve["upper"].to_numpy(), fill="tonexty", fillcolor=faint(COLOURS[0]), **edge),
        go.Scatter(
            x=at,
            y=curve["observed"].to_numpy(),
            mode="lines",
            line={"color": COLOURS[0], "width": 2},
            hovertemplate="predicted %{x:.1%}<br>observed %{y:.1%} (smooth)<extra></extra>",
        ),
    ]


def _groups(groups: pd.DataFrame) -> go.Scatter:
    observed = groups["observed"].to_numpy()
    return go.Scatter(
        x=groups["probability"].to_numpy(),
        y=observed,
        customdata=np.nan_to_num(groups[["lower", "upper", "n"]].to_numpy(), nan=-1),
        mode="markers",
        marker={"color": "#111111", "size": 7},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": (groups["upper"] - observed).to_numpy(),
            "arrayminus": (observed - groups["lower"]).to_numpy(),
            "thickness": 1,
            "width": 0,
        },
        hovertemplate="%{customdata[2]} patients<br>predicted %{x:.1%}<br>observed %{y:.1%} "
        "(%{customdata[0]:.1%} to %{customdata[1]:.1%})<extra></extra>",
    )
