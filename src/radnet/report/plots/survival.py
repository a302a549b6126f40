"""Interactive survival by risk group."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from radnet.report.look import (
    GROUP_LABELS,
    group_colours,
)
from radnet.report.plots.panel import Plot, faint, inert, panels, spec
from radnet.report.reading import overall_numbers
from radnet.report.survival_curve import (
    at_risk,
    from_the_start,
    group_medians,
    groups_compared,
    time_label,
    time_ticks,
)
from radnet.report.text import Table


def km_plots(km: pd.DataFrame, metrics: pd.DataFrame) -> list[Plot]:
    """Draw the typed Kaplan-Meier curves, a panel per endpoint, model and partition, each with its patients at risk."""
    numbers = overall_numbers(metrics)
    colours = group_colours(km["group"])
    plots = []
    for (endpoint, model, label), rows in panels(km, ["endpoint", "model"]):
        groups = [group for group in colours if group in set(rows["group"])]
        traces = [trace for group in groups for trace in _km_traces(rows, group, colours[group])]
        ticks = time_ticks(rows)
        layout = {
            "xaxis": {
                "title": {"text": inert(time_label(rows))},
                "tickvals": ticks,
                "range": [0, rows["time"].max() * 1.02],
            },
            "yaxis": {"title": {"text": "Event-free"}, "range": [0, 1.03], "tickformat": ".0%"},
            "height": 360,
            "legend": {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"},
        }
        place = (endpoint, model, rows["partition"].iloc[0])
        medians = group_medians(numbers, place, dict.fromkeys([*groups, ""]))
        notes = groups_compared(numbers, place)
        notes += [f"median, {_group(group).lower()}: {median}" for group, median in medians.items()]
        counted = Table(
            f"Patients at risk at each {time_label(rows).lower()}",
            ["Group", *(f"{tick:g}" for tick in ticks)],
            [[_group(group), *map(str, at_risk(rows[rows["group"] == group], ticks))] for group in groups],
        )
        plots.append(Plot(f"{endpoint} · {model} · {label}", spec(traces, layout), "; ".join(notes), counted))
    return plots


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
        go.Scatter(x=time, y=curve["upper"].to_numpy(), fill="tonexty", fillcolor=faint(colour), **edge),
        go.Scatter(
            x=time,
            y=curve["survival"].to_numpy(),
            customdata=curve["at_risk"].to_numpy(),
            mode="lines",
            line={"shape": "hv", "color": colour, "width": 2, "dash": "dash" if group == "high" else "solid"},
            name=inert(_group(group)),
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


def _group(group: str) -> str:
    return GROUP_LABELS.get(group, group)
