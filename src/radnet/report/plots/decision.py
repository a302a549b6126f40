"""Interactive decision curves and clinical impact."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from radnet.report.decision import IMPACT_LABELS, impact_bands, net_benefit_range
from radnet.report.look import COLOURS, GREY, curve_style
from radnet.report.panel_rows import grid, whole
from radnet.report.plots.panel import PLOTLY_DASHES, Plot, faint, inert, panel_label, spec
from radnet.tables import is_control

_THRESHOLDS = {"title": {"text": "Threshold probability"}, "range": [0, 1], "dtick": 0.2}
_LEGEND = {"orientation": "v", "x": 0, "y": -0.2, "yanchor": "top"}


def decision_plots(decision: pd.DataFrame) -> list[Plot]:
    """Draw the typed net benefit of each model, of acting on everybody and on nobody, a panel per partition."""
    looks = curve_style(decision["model"].tolist())
    plots = []
    for _, _, place, panel in grid(decision, by_model=False):
        models = [model for model in looks if model in set(panel["model"])]
        traces: list[Any] = []
        for model in models:
            curve = panel[panel["model"] == model].sort_values("threshold")
            traces += [] if is_control(model) or len(models) > 2 else _band(curve, "threshold", looks[model][0])
            width = 1 if is_control(model) else 2
            line = {"color": looks[model][0], "dash": PLOTLY_DASHES[looks[model][1]], "width": width}
            traces.append(_line(curve, "net_benefit", inert(model), line, "net benefit %{y:.3f}"))
        everybody = panel[panel["model"] == panel["model"].iloc[0]].sort_values("threshold")
        line = {"color": GREY, "width": 1.5}
        traces.append(_line(everybody, "net_benefit_all", "act on everybody", line, "net benefit %{y:.3f}"))
        nobody = everybody.assign(nobody=0.0)
        traces.append(_line(nobody, "nobody", "act on nobody", {"color": "#111111", "width": 1}, "net benefit 0"))
        layout = {
            "xaxis": _THRESHOLDS,
            "yaxis": {"title": {"text": "Net benefit"}, "range": list(net_benefit_range(panel))},
            "height": 380 + 20 * len(models),
            "legend": _LEGEND,
        }
        plots.append(Plot(panel_label(place), spec(traces, layout)))
    return plots


def impact_plots(decision: pd.DataFrame, metrics: pd.DataFrame) -> list[Plot]:
    """Draw how many of 1000 patients are called high risk, and how many of those have the event."""
    plots = []
    for _, _, place, panel in grid(whole(decision)):
        curve = panel.sort_values("threshold")
        traces: list[Any] = []
        for (name, label), colour, dash in zip(IMPACT_LABELS.items(), COLOURS[:2], ("solid", "dash"), strict=True):
            traces += _band(impact_bands(metrics, place, name), "at", colour)
            traces.append(_line(curve, name, label, {"color": colour, "dash": dash, "width": 2}, "%{y:.0f} of 1000"))
        layout = {
            "xaxis": _THRESHOLDS,
            "yaxis": {"title": {"text": "Of 1000 patients"}, "range": [0, 1010]},
            "height": 400,
            "legend": _LEGEND,
        }
        plots.append(Plot(panel_label(place), spec(traces, layout)))
    return plots


def _line(curve: pd.DataFrame, column: str, name: str, line: Mapping[str, Any], words: str) -> go.Scatter:
    return go.Scatter(
        x=curve["threshold"].to_numpy(),
        y=curve[column].to_numpy(),
        mode="lines",
        name=name,
        line=line,
        hovertemplate=f"{words} at %{{x:.0%}}",
    )


def _band(rows: pd.DataFrame, at: str, colour: str) -> list[go.Scatter]:
    known = rows[["lower", "upper"]].notna().all(axis=1)
    rows = rows[known & ~(known.cummax() & ~known).cummax()]  # as far as the band goes without a gap
    edge: dict[str, Any] = {"mode": "lines", "line": {"width": 0, "color": colour}, "hoverinfo": "skip"}
    edge |= {"x": rows[at].to_numpy(), "showlegend": False}
    return [
        go.Scatter(y=rows["lower"].to_numpy(), **edge),
        go.Scatter(y=rows["upper"].to_numpy(), fill="tonexty", fillcolor=faint(colour), **edge),
    ]
