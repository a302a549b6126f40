"""Interactive counts at the cut-off in use, and what other cut-offs would have given."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from radnet.report.figures.cutoff import threshold_limits
from radnet.report.look import CALL_LABELS, OUTCOME_LABELS, RATE_STYLES
from radnet.report.plots.panel import PLOTLY_DASHES, Plot, panels, spec, without_controls
from radnet.report.text import count, decimal


def confusion_plots(confusion: pd.DataFrame) -> list[Plot]:
    """Draw the four counts at the cut-off in use, a panel per endpoint, model and partition."""
    plots = []
    for (endpoint, model, label), rows in panels(without_controls(confusion), ["endpoint", "model"]):
        cells = {(cell.event, cell.called): cell for cell in rows.itertuples()}
        shares = [[cells[event, called].share for called in (0, 1)] for event in (0, 1)]
        text = [[_counted(cells[event, called]) for called in (0, 1)] for event in (0, 1)]
        # Right calls and wrong ones have a colour each: the sign tells them apart, the size how many of the row.
        signed = [
            [share if called == event else -share for called, share in enumerate(of_event)]
            for event, of_event in enumerate(shares)
        ]
        heat = go.Heatmap(
            z=signed,
            x=list(CALL_LABELS),
            y=list(OUTCOME_LABELS),
            text=text,
            texttemplate="%{text}",
            textfont={"size": 15, "color": "#111111"},
            colorscale=[[0, "#f0ad7a"], [0.5, "#ffffff"], [1, "#7fb6dd"]],
            zmin=-1,
            zmax=1,
            showscale=False,
            xgap=3,
            ygap=3,
            hovertemplate="%{y}, score %{x}: %{text}<extra></extra>",
        )
        axis = {"showgrid": False, "ticks": "", "showline": False}
        layout = {"xaxis": {"title": {"text": "Score, by the cut-off"}, **axis}, "yaxis": axis, "height": 250}
        at = rows["cutoff"].iloc[0]
        note = "each fold has its own cut-off" if np.isnan(at) else f"cut-off {at:.4g}"
        plots.append(Plot(f"{endpoint} · {model} · {label}", spec([heat], layout), note))
    return plots


def cutoff_search_plots(search: pd.DataFrame) -> list[Plot]:
    """Draw sensitivity, specificity and Youden index over cut-offs, a panel per endpoint, model and partition."""
    plots = []
    for (endpoint, model, label), rows in panels(without_controls(search), ["endpoint", "model"]):
        limits = threshold_limits(rows)
        if limits is None:
            continue
        folds = list(rows.groupby(["fold", "repeat"], sort=False))
        alone = len(folds) == 1
        traces = []
        for place, (_, curve) in enumerate(folds):
            curve = curve.sort_values("threshold", kind="stable")
            for name, (words, colour, dash) in RATE_STYLES.items():
                line = {
                    "color": colour,
                    "dash": PLOTLY_DASHES[dash] if alone else "solid",
                    "width": 2 if alone else 0.8,
                    "shape": "hvh",
                }
                traces.append(
                    go.Scatter(
                        x=curve["threshold"].clip(*limits).to_numpy(),
                        y=curve[name].to_numpy(),
                        mode="lines",
                        line=line,
                        opacity=1 if alone else 0.45,
                        name=words,
                        legendgroup=name,
                        showlegend=place == 0,
                        hovertemplate=f"{words} %{{y:.3f}} at %{{x:.3g}}<extra></extra>",
                    )
                )
        cutoffs = np.unique(rows["cutoff"].dropna())
        layout: dict[str, Any] = {
            "xaxis": {"title": {"text": "Cut-off on the score"}, "range": list(limits)},
            "yaxis": {"range": [min(0.0, float(rows["youden"].min())) - 0.02, 1.02]},
            "height": 320,
            "legend": {"orientation": "h", "x": 0, "y": -0.22, "yanchor": "top"},
            "shapes": [_upright(cutoff, alone) for cutoff in cutoffs],
        }
        note = f"cut-off {cutoffs[0]:.4g}" if len(cutoffs) == 1 else f"{len(cutoffs) or 'no'} cut-offs"
        plots.append(Plot(f"{endpoint} · {model} · {label}", spec(traces, layout), note))
    return plots


def _counted(cell: Any) -> str:
    whole = abs(cell.patients - round(cell.patients)) < 1e-4
    number = count(cell.patients) if whole else decimal(cell.patients, 1)
    return number if np.isnan(cell.share) else f"{number} ({100 * cell.share:.0f}%)"


def _upright(cutoff: float, alone: bool) -> dict[str, Any]:
    line = {"color": "#111111", "width": 1.5 if alone else 0.7, "dash": "dash"}
    return {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": cutoff, "x1": cutoff, "line": line}
