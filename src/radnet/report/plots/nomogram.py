"""An interactive nomogram."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from radnet.report.look import COLOURS
from radnet.report.nomogram import full_scale, label_sides, rulers
from radnet.report.plots.panel import Plot, inert, spec

_LETTER = 6 / 230  # of a label, of the ruler's length in a narrow window, in pixels


def nomogram_plots(nomogram: pd.DataFrame) -> list[Plot]:
    """Draw the rulers of a nomogram; pointing at a tick tells its points."""
    drawn = rulers(nomogram)
    traces: list[Any] = []
    for row, ruler in enumerate(drawn):
        full = full_scale(ruler, drawn)
        colour = "#111111" if ruler.name in ("Points", "Total points") else COLOURS[0]
        sides = label_sides(ruler, full, _LETTER)
        traces.append(
            go.Scatter(
                x=[point / full for point in ruler.points],
                y=[row] * len(ruler.points),
                text=[inert(label) if side else "" for label, side in zip(ruler.labels, sides, strict=True)],
                customdata=list(zip(map(inert, ruler.labels), ruler.points, strict=True)),
                mode="lines+markers+text",
                textposition=["bottom center" if side < 0 else "top center" for side in sides],
                textfont={"size": 10},
                cliponaxis=False,
                line={"color": colour, "width": 1.5},
                marker={"symbol": "line-ns", "size": 7, "line": {"width": 1.2, "color": colour}},
                hovertemplate=f"{inert(ruler.name)} %{{customdata[0]}}: %{{customdata[1]:.1f}} "
                f"{'points in total' if ruler.total else 'points'}<extra></extra>",
                showlegend=False,
            )
        )
    bare = {"showgrid": False, "showline": False, "ticks": ""}
    layout = {
        "xaxis": {"range": [-0.02, 1.02], "showticklabels": False, **bare},
        "yaxis": {
            "tickvals": list(range(len(drawn))),
            "ticktext": [inert(ruler.name) for ruler in drawn],
            "range": [len(drawn) - 0.6, -0.8],
            "automargin": True,
            **bare,
        },
        "height": 40 + 48 * len(drawn),
    }
    return [Plot("Multivariable model", spec(traces, layout))]
