"""Where in a lesion's slice the intensities move the score."""

from textwrap import wrap
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgba
from matplotlib.figure import Figure

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
from radnet.report.figures.hand import in_hand, need_rows, short
from radnet.report.look import GREY

_SIDE, _GAP, _EDGE, _WORDS = 1.08, 0.06, 0.06, 1.0  # inches; words stand left of a row
_TOP, _BELOW = 0.22, 0.56  # words over the first row, and the scale below the last
_LETTERS = 19  # of a line left of a row


@in_hand
def attribution_figure(attribution: pd.DataFrame) -> Figure:
    """Draw a row per lesion: each channel's slice in grey, and the same with what moves the score in colour.

    Args:
        attribution: The table ``attribution.csv``, a row per voxel.

    Raises:
        ValueError: If there is no voxel to draw.
    """
    table = shown_attribution(attribution)
    need_rows(table, "attribution")
    shown = pictures(table)
    columns = 2 * max(len(row) for row in shown)
    width = _EDGE + _WORDS + columns * (_SIDE + _GAP)
    height = _TOP + len(shown) * (_SIDE + _GAP) + _BELOW
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    limit = strongest(shown)
    colours = _colours()
    for place, row in enumerate(shown):
        bottom = height - _TOP - (place + 1) * (_SIDE + _GAP)
        _write(figure, row[0], bottom + _SIDE)
        for column in range(2 * len(row)):
            picture, coloured = row[column // 2], column % 2 == 1
            left = _EDGE + _WORDS + column * (_SIDE + _GAP)
            axes = figure.add_axes((left / width, bottom / height, _SIDE / width, _SIDE / height))
            grey = grey_range(shown, picture.channel)
            _draw(axes, picture, paler(grey) if coloured else grey)
            if coloured:
                axes.imshow(picture.attribution, cmap=colours, vmin=-limit, vmax=limit, interpolation="nearest")
            if place == 0:
                words = "Attribution" if coloured else short(picture.channel, 18)
                axes.set_title(words, loc="left", fontsize=7.5, fontweight="normal", pad=3)
    _scale(figure, colours, limit)
    return figure


def _write(figure: Figure, picture: Picture, top: float) -> None:
    """Write what a row is about left of it, ``top`` inches above the foot of the figure."""
    width, height = figure.get_size_inches()
    heading: dict[str, Any] = {"fontweight": "bold", "fontsize": 7.5, "va": "top"}
    figure.text(_EDGE / width, top / height, f"Lesion {picture.lesion_number}", **heading)
    lines = [line for words in (picture.role, *picture.told) for line in wrap(words, _LETTERS)]
    below = (top - 0.16) / height
    figure.text(_EDGE / width, below, "\n".join(lines), color=GREY, fontsize=6.5, va="top", linespacing=1.25)


def _draw(axes: Axes, picture: Picture, grey: tuple[float, float]) -> None:
    axes.imshow(picture.intensity, cmap="gray", vmin=grey[0], vmax=grey[1], interpolation="nearest")
    x, y = outline(picture.lesion)
    axes.plot(x, y, color="black", linewidth=1.3, solid_capstyle="projecting", zorder=3)
    axes.plot(x, y, color="white", linewidth=0.6, solid_capstyle="projecting", zorder=3)
    rows, columns = picture.intensity.shape
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.set_axis_off()


def _colours() -> LinearSegmentedColormap:
    """Return colours that are clear at 0 and grow denser either way."""
    ends: list[Any] = [to_rgba(LOWERS, STRONGEST), to_rgba(LOWERS, 0), to_rgba(RAISES, 0), to_rgba(RAISES, STRONGEST)]
    return LinearSegmentedColormap.from_list("attribution", list(zip((0, 0.5, 0.5, 1), ends, strict=True)), N=510)


def _scale(figure: Figure, colours: LinearSegmentedColormap, limit: float) -> None:
    height = figure.get_figheight()
    axes = figure.add_axes((0.32, 0.3 / height, 0.36, 0.075 / height))
    bar = figure.colorbar(
        ScalarMappable(Normalize(-limit, limit), colours), cax=axes, orientation="horizontal", extend="both"
    )
    bar.set_ticks([-limit, 0, limit], labels=[f"−{limit:.2g}", "0", f"{limit:.2g}"])
    bar.ax.tick_params(labelsize=6.5, length=2, pad=1.5)
    bar.outline.set_linewidth(0.5)
    beside: dict[str, Any] = {"va": "center", "fontsize": 7}
    middle = 0.3375 / height
    figure.text(0.28, middle, "lowers the score", ha="right", color=LOWERS, **beside)
    figure.text(0.72, middle, "raises the score", ha="left", color=RAISES, **beside)
    figure.text(0.5, 0.05 / height, "of each voxel, in the unit of the score", ha="center", color=GREY, fontsize=6.5)
