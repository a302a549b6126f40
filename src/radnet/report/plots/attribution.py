"""Interactive slices of lesions, with what moves the score in them."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from radnet.report.attribution import (
    LOWERS,
    RAISES,
    STRONGEST,
    Picture,
    grey_range,
    outline,
    paler,
    pictures,
    shown_attribution,
    strongest,
)
from radnet.report.plots.panel import Plot, spec


def attribution_plots(attribution: pd.DataFrame) -> list[Plot]:
    """Draw each channel of each lesion: its slice in grey, and beside it the same with the attribution in colour."""
    shown = pictures(shown_attribution(attribution))
    limit = strongest(shown)
    return [
        Plot(
            label=f"{picture.name} · {picture.channel}",
            spec=_spec(picture, grey_range(shown, picture.channel), limit),
            note="; ".join(picture.told),
        )
        for row in shown
        for picture in row
    ]


def _spec(picture: Picture, grey: tuple[float, float], limit: float) -> Any:
    traces: list[Any] = []
    for axis, coloured in (("", False), ("2", True)):
        axes = {"xaxis": f"x{axis}", "yaxis": f"y{axis}"}
        low, high = paler(grey) if coloured else grey
        traces.append(
            go.Heatmap(
                z=picture.intensity.astype(np.float32),
                colorscale=[[0, "black"], [1, "white"]],
                zmin=low,
                zmax=high,
                showscale=False,
                hovertemplate="intensity %{z:.3g}<extra></extra>",
                **axes,
            )
        )
        if coloured:
            traces.append(
                go.Heatmap(
                    z=picture.attribution.astype(np.float32),
                    colorscale=_colorscale(),
                    zmin=-limit,
                    zmax=limit,
                    colorbar=_scale(limit),
                    hovertemplate="attribution %{z:.2g}<extra></extra>",
                    **axes,
                )
            )
        x, y = ([None if np.isnan(value) else value for value in line] for line in outline(picture.lesion))
        for colour, width in (("black", 3), ("white", 1.4)):
            line = {"color": colour, "width": width}
            traces.append(go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False, **axes))
    rows, columns = picture.intensity.shape
    across = {"visible": False, "range": [-0.5, columns - 0.5], "constrain": "domain"}
    down = {"visible": False, "range": [rows - 0.5, -0.5], "constrain": "domain"}
    layout = {
        "xaxis": across | {"domain": [0, 0.49]},
        "yaxis": down | {"scaleanchor": "x"},
        "xaxis2": across | {"domain": [0.51, 1], "matches": "x"},
        "yaxis2": down | {"scaleanchor": "x2", "matches": "y", "anchor": "x2"},
        "height": 300,
    }
    return spec(traces, layout)


def _scale(limit: float) -> dict[str, Any]:
    words = [f"−{limit:.2g}<br>lowers", "0", f"{limit:.2g}<br>raises"]
    return {"thickness": 10, "len": 0.8, "y": 0.45, "tickvals": [-limit, 0, limit], "ticktext": words}


def _colorscale() -> list[list[Any]]:
    """Return colours that are clear at 0 and grow denser either way."""
    return [
        [0, _clear(LOWERS, STRONGEST)],
        [0.5, _clear(LOWERS, 0)],
        [0.5, _clear(RAISES, 0)],
        [1, _clear(RAISES, STRONGEST)],
    ]


def _clear(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
