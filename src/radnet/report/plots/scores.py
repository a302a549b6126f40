"""Interactive scores of patients, by outcome."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from radnet.report.look import COLOURS, OUTCOME_LABELS
from radnet.report.plots.panel import Plot, faint, panels, spec, without_controls
from radnet.report.reading import of_known_outcome


def score_plots(scores: pd.DataFrame) -> list[Plot]:
    """Draw the typed scores of patients with and without the event, a panel per endpoint, model and partition."""
    plots = []
    known = without_controls(of_known_outcome(scores))
    for (endpoint, model, label), rows in panels(known, ["endpoint", "model"]):
        traces = []
        for outcome, (name, colour) in enumerate(zip(OUTCOME_LABELS, COLOURS[:2], strict=True)):
            of_outcome = rows.loc[rows["event"] == outcome, "score"].to_numpy()
            traces.append(
                go.Violin(
                    y=of_outcome,
                    x0=f"{name} (n = {len(of_outcome)})",
                    points="all" if len(of_outcome) <= 1000 else False,
                    pointpos=0,
                    jitter=0.35,
                    marker={"size": 3, "opacity": 0.6, "color": colour},
                    line={"color": colour, "width": 1},
                    fillcolor=faint(colour),
                    spanmode="hard",
                    hoveron="points",
                    hovertemplate="score %{y:.3g}<extra></extra>",
                    meanline={"visible": False},
                    showlegend=False,
                )
            )
        cutoffs = np.unique(rows["cutoff"].dropna())
        same_model = known[(known["endpoint"] == endpoint) & (known["model"] == model)]
        layout = {
            "xaxis": {"type": "category"},
            "yaxis": {"title": {"text": "Score"}, "range": _score_range(same_model)},
            "height": 340,
            "shapes": [_cutoff_line(cutoff, alone=len(cutoffs) == 1) for cutoff in cutoffs],
        }
        note = f"cut-off {cutoffs[0]:.4g}" if len(cutoffs) == 1 else f"{len(cutoffs) or 'no'} cut-offs"
        plots.append(Plot(f"{endpoint} · {model} · {label}", spec(traces, layout), note))
    return plots


def waterfall_plots(waterfall: pd.DataFrame) -> list[Plot]:
    """Draw each patient as a bar from the cut-off, the highest score first, a panel per model and partition."""
    plots = []
    for (endpoint, model, label), rows in panels(without_controls(waterfall), ["endpoint", "model"]):
        traces = []
        for outcome, (name, colour) in enumerate(zip(OUTCOME_LABELS, COLOURS[:2], strict=True)):
            bars = rows[rows["event"] == outcome]
            traces.append(
                go.Bar(
                    x=bars["place"].to_numpy(),
                    y=bars["above_cutoff"].to_numpy(),
                    customdata=bars[["score", "cutoff"]].to_numpy(),
                    name=f"{name} (n = {len(bars)})",
                    marker={"color": colour, "line": {"width": 0}},
                    hovertemplate="score %{customdata[0]:.3g}<br>cut-off %{customdata[1]:.3g}<extra></extra>",
                )
            )
        layout = {
            "xaxis": {"title": {"text": "Patients, highest score first"}, "showticklabels": False, "ticks": ""},
            "yaxis": {"title": {"text": "Score − cut-off"}, "zeroline": True, "zerolinecolor": "#111111"},
            "height": 320,
            "bargap": 0.1,
            "barmode": "overlay",
            "legend": {"orientation": "h", "x": 0, "y": -0.15, "yanchor": "top"},
        }
        plots.append(Plot(f"{endpoint} · {model} · {label}", spec(traces, layout)))
    return plots


def _score_range(scores: pd.DataFrame) -> list[float]:
    """Span the scores and cut-offs of a model, so that its partitions can be compared by eye."""
    values = scores[["score", "cutoff"]].to_numpy()
    lowest, highest = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.05 * (highest - lowest) or 0.5
    return [lowest - margin, highest + margin]


def _cutoff_line(cutoff: float, alone: bool) -> Mapping[str, Any]:
    line = {"color": "#111111", "width": 1.5 if alone else 0.7, "dash": "dash"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": cutoff, "y1": cutoff, "line": line}
