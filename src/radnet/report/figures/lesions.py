"""Which of a patient's lesions a model listens to."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from radnet.report.figures.hand import in_hand, need_rows, note_below, panels_of_one_size, short, title_of
from radnet.report.lesions import known_site, shown_patients, site_colours
from radnet.report.look import GREY
from radnet.report.panel_rows import drawn, grid, size
from radnet.report.reading import typed

_WIDTH = 2.7  # inches


@in_hand
def lesion_weight_figure(lesion_weights: pd.DataFrame) -> Figure:
    """Draw a bar for each patient, stacked from the weights of the lesions, the weightiest at the foot.

    Args:
        lesion_weights: Columns endpoint, model, partition, patient, lesion (running numbers), site, event, weight.

    Raises:
        ValueError: If there is no patient with several lesions to draw.
    """
    table, note = drawn(typed(lesion_weights))
    several = table.groupby(["endpoint", "model", "partition", "patient"])["lesion"].transform("size") > 1
    need_rows(table[several], "patient with several lesions")
    colours = site_colours(table["site"])
    below = 0.85 + 0.15 * ((len(colours) + 2) // 3)
    figure, panels = panels_of_one_size(*size(table), width=_WIDTH, height=1.5, left=0.5, below=below)
    for _, axes in np.ndenumerate(panels):
        axes.set_axis_off()
    for row, column, place, panel in grid(table):
        shown, told = shown_patients(panel)
        if shown.empty:
            continue
        axes = panels[row, column]
        axes.set_axis_on()
        patients = list(dict.fromkeys(shown["patient"]))
        shown = shown.assign(site=known_site(shown["site"], colours))
        under = shown.groupby("patient")["weight"].cumsum() - shown["weight"]
        edge: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.6, "width": 0.9}
        at = shown["patient"].map({patient: place for place, patient in enumerate(patients)})
        axes.bar(at, shown["weight"], bottom=under, color=shown["site"].map(colours).tolist(), **edge)
        events = shown.drop_duplicates("patient")["event"].to_numpy()
        axes.plot(
            np.flatnonzero(events == 1), np.full(int((events == 1).sum()), 1.04), "v", color="black", markersize=2.5
        )
        axes.set(xlim=(-0.6, len(patients) - 0.4), ylim=(0, 1.07), yticks=[0, 0.5, 1], ylabel="Share of the weight")
        axes.set_xticks([0, len(patients) - 1], [patients[0], patients[-1]])
        axes.set_xlabel("Patient, most lesions first (▼ event)")
        axes.text(0, -0.32, told.replace("; ", "\n"), transform=axes.transAxes, fontsize=6.5, color=GREY, va="top")
        used = set(shown["site"])
        axes.legend(
            handles=[Patch(color=colour, label=short(site, 14)) for site, colour in colours.items() if site in used],
            loc="upper left",
            bbox_to_anchor=(-0.02, -0.52),
            ncols=3,
            borderaxespad=0,
            borderpad=0,
            handlelength=1,
            columnspacing=1.2,
        )
        axes.set_title(title_of(place.endpoint, place.model, place.partition), loc="left")
    note_below(figure, note)
    return figure
