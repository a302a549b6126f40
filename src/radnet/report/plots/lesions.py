"""Interactive weights of a patient's lesions."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from radnet.report.lesions import known_site, shown_patients, site_colours
from radnet.report.panel_rows import grid, whole
from radnet.report.plots.panel import Plot, inert, panel_label, spec


def lesion_weight_plots(lesion_weights: pd.DataFrame) -> list[Plot]:
    """Draw the typed weights of the lesions as a stacked bar for each patient with several."""
    table = whole(lesion_weights)
    colours = site_colours(table["site"])
    plots = []
    for _, _, place, panel in grid(table):
        shown, told = shown_patients(panel)
        if shown.empty:
            continue
        site = known_site(shown["site"], colours)
        under = shown.groupby("patient")["weight"].cumsum() - shown["weight"]
        traces: list[Any] = []
        for name, colour in colours.items():
            rows = shown[site == name]
            if rows.empty:
                continue
            traces.append(
                go.Bar(
                    x=rows["patient"].tolist(),
                    y=rows["weight"].to_numpy(),
                    base=under[site == name].to_numpy(),
                    customdata=rows["lesion"].tolist(),
                    name=inert(name),
                    marker={"color": colour, "line": {"color": "white", "width": 1}},
                    hovertemplate="patient %{x}, lesion %{customdata}: %{y:.1%} of the weight",
                )
            )
        order = list(dict.fromkeys(shown["patient"]))
        layout = {
            "barmode": "overlay",
            "xaxis": {
                "type": "category",
                "categoryorder": "array",
                "categoryarray": order,
                "nticks": 6,
                "tickangle": 0,
                "title": {"text": "Patient, most lesions first"},
            },
            "yaxis": {"title": {"text": "Share of the weight"}, "range": [0, 1.01], "tickformat": ".0%"},
            "height": 360,
            "legend": {"orientation": "h", "x": 0, "y": -0.25, "yanchor": "top"},
        }
        plots.append(Plot(panel_label(place), spec(traces, layout), told))
    return plots
