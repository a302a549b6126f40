"""What all interactive panels share: their layout, the order they stand in, and names made harmless."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from radnet.report.look import PARTITION_LABELS, in_order
from radnet.report.panel_rows import Place
from radnet.report.text import Table
from radnet.tables import is_control

PLOTLY_DASHES = {"solid": "solid", "dashed": "dash", "dashdot": "dashdot", "dotted": "dot"}


@dataclass(frozen=True, slots=True)
class Plot:
    """One interactive panel, and the table that belongs under it."""

    label: str
    spec: Mapping[str, Any]
    note: str = ""
    table: Table | None = None


def panels(table: pd.DataFrame, by: list[str]) -> Iterable[tuple[tuple[str, ...], pd.DataFrame]]:
    """Part a table by names and then partition, in the order in which a reader should meet them."""
    for names, rows in table.groupby(by, sort=False):
        for partition in in_order(rows["partition"]):
            yield (*names, PARTITION_LABELS.get(partition, partition)), rows[rows["partition"] == partition]


def panel_label(place: Place) -> str:
    """Name a panel: endpoint and horizon, model where it is one's, partition."""
    partition = PARTITION_LABELS.get(place.partition, place.partition)
    return " · ".join(filter(None, [place.title, place.model, partition]))


def without_controls(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out the controls, which need no panel of their own, unless a table holds nothing else."""
    real = table[~table["model"].map(is_control).astype(bool)]
    return table if real.empty else real


def spec(traces: list[Any], layout: Mapping[str, Any]) -> Mapping[str, Any]:
    """Describe a panel to Plotly in the report's hand; ``layout`` names its axes, height and legend."""
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
    described: Mapping[str, Any] = json.loads(go.Figure(traces, whole).to_json())
    return described


def inert(name: str) -> str:
    """Escape what Plotly would read as its own markup, a link, or a formula between dollar signs."""
    return escape(name, quote=False).replace("$", "&#36;")


def faint(colour: str) -> str:
    """Thin a colour for an area or a band."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},.18)"
