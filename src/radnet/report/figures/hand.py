"""What all figures share: type, lines, panels of one size, titles, and how a figure is saved."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from radnet.files import write_atomically
from radnet.report.look import GREY, MOST, PARTITION_LABELS
from radnet.tables import is_control

HAND: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titley": 1.0,
    "axes.titleweight": "bold",
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.2,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "savefig.dpi": 200,
    "text.parse_math": False,  # a model may be called "$x"
    "svg.hashsalt": "radnet",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}

in_hand = style.context(["default", HAND])
"""Decorate with this a function that draws."""


@in_hand
def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as ``{name}.pdf``, ``.svg`` and ``.png``; the same figure gives the same bytes on any day."""
    undated: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
    for suffix, metadata in undated.items():

        def write(path: Path, suffix: str = suffix, metadata: dict[str, Any] = metadata) -> None:
            figure.savefig(path, format=suffix, metadata=metadata)

        write_atomically(folder / f"{name}.{suffix}", write)


def panels_of_one_size(
    rows: int,
    columns: int,
    width: float,
    height: float,
    left: float,
    below: float,
    right: float = 0.15,
    above: float = 0.42,
    **share: Any,
) -> tuple[Figure, NDArray[np.object_]]:
    """Lay out axes of one size in inches, with room around them for their text: none can squeeze a panel."""
    figure = Figure(figsize=(columns * (left + width + right), rows * (above + height + below)))
    FigureCanvasAgg(figure)
    whole_width, whole_height = figure.get_size_inches()
    figure.subplots_adjust(
        left=left / whole_width,
        right=1 - right / whole_width,
        bottom=below / whole_height,
        top=1 - above / whole_height,
        wspace=(left + right) / width,
        hspace=(above + below) / height,
    )
    return figure, figure.subplots(rows, columns, squeeze=False, **share)


def title_of(*parts: str) -> str:
    """Name a panel: endpoint and model where given, shortened, over the words for its partition (the last part)."""
    *names, partition = (part for part in parts if part)
    place = PARTITION_LABELS.get(partition, short(partition, 30))
    return "\n".join([*([short(" · ".join(names), 34)] if names else []), place])


def short(name: str, letters: int) -> str:
    """Shorten a name to so many letters."""
    name = " ".join(name.split())
    return name if len(name) <= letters else name[: letters - 1] + "…"


def need_rows(table: pd.DataFrame, what: str) -> None:
    """Refuse to draw an empty table.

    Raises:
        ValueError: If the table has no row.
    """
    if table.empty:
        raise ValueError(f"there is no {what} to draw: the table has no row for one")


def of_model(table: pd.DataFrame, endpoint: str, model: str, partition: str) -> pd.Series:
    """Mark the rows of a model on an endpoint and a partition."""
    return (table["endpoint"] == endpoint) & (table["model"] == model) & (table["partition"] == partition)


def rows_of_panels(table: pd.DataFrame) -> tuple[list[tuple[str, str]], str]:
    """Choose whom a figure shows that gives each endpoint and model a row of panels.

    Controls are left out unless there is nothing else, and so are models beyond the eighth.

    Returns:
        Endpoint and model of each row, and a sentence about those left out; empty where there are none.
    """
    every = list(dict.fromkeys(zip(table["endpoint"], table["model"], strict=True)))
    rows = [row for row in every if not is_control(row[1])] or every
    left_out = [*([f"{len(rows) - MOST} further models"] if len(rows) > MOST else [])]
    left_out += ["controls"] if len(rows) < len(every) else []
    return rows[:MOST], f"Not drawn: {' and '.join(left_out)}; the table has their numbers." if left_out else ""


def note_below(figure: Figure, note: str) -> None:
    """Write a sentence at the lower left edge of a figure."""
    if note:
        figure.text(0.06 / figure.get_figwidth(), 0.05 / figure.get_figheight(), note, color=GREY, fontsize=6.5)
