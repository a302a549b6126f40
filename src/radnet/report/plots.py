"""Interactive panels of the figures, for Plotly: the same curves as on paper, from the same numbers."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from radnet.report.look import (
    COLOURS,
    GREY,
    GROUP_LABELS,
    OUTCOME_LABELS,
    PARTITION_LABELS,
    Dash,
    curve_style,
    group_colours,
    in_order,
)
from radnet.report.reading import overall_numbers
from radnet.report.survival_curve import at_risk, from_the_start, time_label, time_ticks
from radnet.report.text import MISSING, Table, p_text, with_interval

_PLOTLY_DASHES = {"solid": "solid", "dashed": "dash", "dashdot": "dashdot", "dotted": "dot"}


@dataclass(frozen=True, slots=True)
class Plot:
    """One interactive panel, and the table that belongs under it."""

    label: str
    spec: Mapping[str, Any]
    note: str = ""
    table: Table | None = None


def roc_plots(roc: pd.DataFrame, metrics: pd.DataFrame) -> list[Plot]:
    """Draw the typed ROC curves, a panel per endpoint and partition; the legend takes AUC and CI from the metrics."""
    roc = roc[roc["centre"] == ""]
    numbers = overall_numbers(metrics)
    looks = curve_style(roc["model"].tolist())
    plots = []
    for (endpoint, label), rows in _panels(roc, ["endpoint"]):
        chance = {"x": [0, 1], "y": [0, 1], "mode": "lines", "showlegend": False, "hoverinfo": "skip"}
        traces: list[Any] = [go.Scatter(line={"color": GREY, "width": 1}, **chance)]
        for (model, fold, _), curve in rows.groupby(["model", "fold", "repeat"], sort=False):
            area = numbers.get((endpoint, model, rows["partition"].iloc[0], "auc", ""))
            traces.append(_roc_trace(curve, model, looks[model], area, bold=fold in ("", "mean")))
        layout = {
            "xaxis": {
                "title": {"text": "1 − specificity"},
                "range": [-0.01, 1.01],
                "dtick": 0.2,
                "constrain": "domain",
            },
            "yaxis": {"title": {"text": "Sensitivity"}, "range": [-0.01, 1.01], "dtick": 0.2, "scaleanchor": "x"},
            "height": 430 + 20 * rows["model"].nunique(),
            "legend": {"orientation": "v", "yref": "paper", "y": -0.18, "yanchor": "top", "x": 0},
        }
        plots.append(Plot(f"{endpoint} · {label}", _spec(traces, layout)))
    return plots


def score_plots(scores: pd.DataFrame) -> list[Plot]:
    """Draw the typed scores of patients with and without the event, a panel per endpoint, model and partition."""
    plots = []
    known = scores.dropna(subset=["event", "score"])
    for (endpoint, model, label), rows in _panels(known, ["endpoint", "model"]):
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
                    fillcolor=_faint(colour),
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
        note = f"cut-off {cutoffs[0]:.3g}" if len(cutoffs) == 1 else f"{len(cutoffs) or 'no'} cut-offs"
        plots.append(Plot(f"{endpoint} · {model} · {label}", _spec(traces, layout), note))
    return plots


def km_plots(km: pd.DataFrame, metrics: pd.DataFrame) -> list[Plot]:
    """Draw the typed Kaplan-Meier curves, a panel per endpoint, model and partition, each with its patients at risk."""
    numbers = overall_numbers(metrics)
    colours = group_colours(km["group"])
    plots = []
    for (endpoint, model, label), rows in _panels(km, ["endpoint", "model"]):
        groups = [group for group in colours if group in set(rows["group"])]
        traces = [trace for group in groups for trace in _km_traces(rows, group, colours[group])]
        ticks = time_ticks(rows)
        layout = {
            "xaxis": {
                "title": {"text": _inert(time_label(rows))},
                "tickvals": ticks,
                "range": [0, rows["time"].max() * 1.02],
            },
            "yaxis": {"title": {"text": "Event-free"}, "range": [0, 1.03], "tickformat": ".0%"},
            "height": 360,
            "legend": {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"},
        }
        place = (endpoint, model, rows["partition"].iloc[0])
        logrank, ratio = numbers.get((*place, "logrank", "")), numbers.get((*place, "hazard_ratio", "high_vs_low"))
        notes = [f"log-rank {p_text(logrank.p_value)}"] if logrank is not None else []
        notes += [f"hazard ratio {with_interval(ratio.estimate, ratio.lower, ratio.upper, 2)}"] if ratio else []
        counted = Table(
            f"Patients at risk at each {time_label(rows).lower()}",
            ["Group", *(f"{tick:g}" for tick in ticks)],
            [[_group(group), *map(str, at_risk(rows[rows["group"] == group], ticks))] for group in groups],
        )
        plots.append(Plot(f"{endpoint} · {model} · {label}", _spec(traces, layout), "; ".join(notes), counted))
    return plots


def _panels(table: pd.DataFrame, by: list[str]) -> Iterable[tuple[tuple[str, ...], pd.DataFrame]]:
    """Part a table by names and then partition, in the order in which a reader should meet them."""
    for names, rows in table.groupby(by, sort=False):
        for partition in in_order(rows["partition"]):
            yield (*names, PARTITION_LABELS.get(partition, partition)), rows[rows["partition"] == partition]


def _roc_trace(curve: pd.DataFrame, model: str, look: tuple[str, Dash], area: Any, bold: bool) -> go.Scatter:
    curve = curve.sort_values(["fpr", "tpr"], kind="stable")
    number = with_interval(area.estimate, area.lower, area.upper) if area is not None else MISSING
    cutoff = "" if curve["threshold"].isna().all() else "<br>cut-off %{customdata:.3g}"
    return go.Scatter(
        x=curve["fpr"].to_numpy(),
        y=curve["tpr"].to_numpy(),
        customdata=curve["threshold"].replace([np.inf, -np.inf], np.nan).to_numpy(),
        mode="lines",
        name=f"{_inert(model)}: {number}",
        legendgroup=model,
        line={"color": look[0], "dash": _PLOTLY_DASHES[look[1]] if bold else "solid", "width": 2 if bold else 0.8},
        opacity=1 if bold else 0.35,
        showlegend=bold,
        hoverinfo=None if bold else "skip",
        hovertemplate=f"sensitivity %{{y:.1%}}<br>1 − specificity %{{x:.1%}}{cutoff}" if bold else None,
    )


def _score_range(scores: pd.DataFrame) -> list[float]:
    """Span the scores and cut-offs of a model, so that its partitions can be compared by eye."""
    values = scores[["score", "cutoff"]].to_numpy()
    lowest, highest = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.05 * (highest - lowest) or 0.5
    return [lowest - margin, highest + margin]


def _cutoff_line(cutoff: float, alone: bool) -> Mapping[str, Any]:
    line = {"color": "#111111", "width": 1.5 if alone else 0.7, "dash": "dash"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": cutoff, "y1": cutoff, "line": line}


def _km_traces(rows: pd.DataFrame, group: str, colour: str) -> list[go.Scatter]:
    curve = from_the_start(rows[rows["group"] == group])
    censored = curve[curve["censored"] > 0]
    edge: dict[str, Any] = {
        "mode": "lines",
        "line": {"shape": "hv", "width": 0, "color": colour},
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": group,
    }
    time = curve["time"].to_numpy()
    return [
        go.Scatter(x=time, y=curve["lower"].to_numpy(), **edge),
        go.Scatter(x=time, y=curve["upper"].to_numpy(), fill="tonexty", fillcolor=_faint(colour), **edge),
        go.Scatter(
            x=time,
            y=curve["survival"].to_numpy(),
            customdata=curve["at_risk"].to_numpy(),
            mode="lines",
            line={"shape": "hv", "color": colour, "width": 2, "dash": "dash" if group == "high" else "solid"},
            name=_inert(_group(group)),
            legendgroup=group,
            hovertemplate="%{y:.1%} event-free at %{x:.3g}<br>%{customdata} at risk<extra></extra>",
        ),
        go.Scatter(
            x=censored["time"].to_numpy(),
            y=censored["survival"].to_numpy(),
            mode="markers",
            marker={"symbol": "line-ns", "size": 7, "line": {"width": 1, "color": colour}},
            hoverinfo="skip",
            showlegend=False,
            legendgroup=group,
        ),
    ]


def _inert(name: str) -> str:
    """Escape what Plotly would read as its own markup, a link, or a formula between dollar signs."""
    return escape(name, quote=False).replace("$", "&#36;")


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},.18)"


def _group(group: str) -> str:
    return GROUP_LABELS.get(group, group)


def _spec(traces: list[Any], layout: Mapping[str, Any]) -> Mapping[str, Any]:
    axis = {"showline": True, "linecolor": "#444", "ticks": "outside", "gridcolor": "#ececec", "zeroline": False}
    whole = {
        **layout,
        "xaxis": axis | layout["xaxis"],
        "yaxis": axis | layout["yaxis"],
        "template": None,
        "margin": {"l": 55, "r": 12, "t": 8, "b": 45},
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "#1c2733"},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "autosize": True,
    }
    spec: Mapping[str, Any] = json.loads(go.Figure(traces, whole).to_json())
    return spec
