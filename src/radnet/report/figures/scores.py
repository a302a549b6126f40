"""The scores of patients, by outcome."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

from radnet.report.figures.hand import (
    in_hand,
    need_rows,
    note_below,
    of_model,
    panels_of_one_size,
    rows_of_panels,
    title_of,
)
from radnet.report.look import COLOURS, GREY, OUTCOME_LABELS, in_order
from radnet.report.reading import of_known_outcome, typed


@in_hand
def score_figure(scores: pd.DataFrame) -> Figure:
    """Draw the scores of patients with and without the event, a row per endpoint and model, a column per partition.

    Dashed lines are the cut-offs that travelled with the scores. Patients of unknown outcome are left out, and so are
    controls and models beyond the eighth, which the figure says.

    Args:
        scores: Columns endpoint, model, partition, event, score, cutoff.

    Raises:
        ValueError: If no patient has a score and an outcome.
    """
    scores = of_known_outcome(typed(scores))
    need_rows(scores, "score of a patient with a known outcome")
    rows, note = rows_of_panels(scores)
    partitions = in_order(scores["partition"])
    figure, panels = panels_of_one_size(
        len(rows), len(partitions), width=1.85, height=1.75, left=0.5, below=0.54, right=0.5, sharey="row"
    )
    rng = np.random.default_rng(0)
    for (row, column), axes in np.ndenumerate(panels):
        endpoint, model = rows[row]
        panel = scores[of_model(scores, endpoint, model, partitions[column])]
        if panel.empty:
            axes.set_axis_off()
            continue
        _distributions(axes, panel["score"].to_numpy(), panel["event"].to_numpy().astype(int), rng)
        _cutoff_lines(axes, np.unique(panel["cutoff"].dropna()))
        counts = [int((panel["event"] == outcome).sum()) for outcome in (0, 1)]
        axes.set_xticks([0, 1], [f"{name}\nn = {n}" for name, n in zip(OUTCOME_LABELS, counts, strict=True)])
        axes.set(xlim=(-0.6, 1.6), ylabel="Score")
        axes.yaxis.set_tick_params(labelleft=True)
        axes.set_title(title_of(endpoint, model, partitions[column]), loc="left")
    note_below(figure, note)
    return figure


def above_cutoff(scores: pd.DataFrame) -> pd.DataFrame:
    """Sort typed scores by how far they lie above their cut-off, the highest first, as a waterfall shows them.

    Where k-fold cross-validation was repeated, only the first repeat is kept, so that each patient stands once.

    Returns:
        Columns endpoint, model, partition, fold, repeat, place (1 is the highest), event, score, cutoff, above_cutoff.
    """
    key = ["endpoint", "model", "partition"]
    known = of_known_outcome(scores).dropna(subset=["cutoff"])
    known = known[known["repeat"] == known.groupby(key, sort=False)["repeat"].transform("first")]
    known = known.assign(above_cutoff=known["score"] - known["cutoff"])
    known = known.sort_values("above_cutoff", ascending=False, kind="stable")
    known = known.assign(place=known.groupby(key, sort=False).cumcount() + 1)
    parts = [
        known[of_model(known, *of_part)] for of_part in dict.fromkeys(scores[key].itertuples(index=False, name=None))
    ]
    columns = [*key, "fold", "repeat", "place", "event", "score", "cutoff", "above_cutoff"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else known[columns]


@in_hand
def waterfall_figure(waterfall: pd.DataFrame) -> Figure:
    """Draw each patient's score as a bar from the cut-off, the highest first, coloured by outcome.

    Args:
        waterfall: As ``above_cutoff`` returns it.

    Raises:
        ValueError: If no patient has a score, a cut-off and an outcome.
    """
    need_rows(waterfall, "score with a cut-off")
    rows, note = rows_of_panels(waterfall)
    partitions = in_order(waterfall["partition"])
    size = (len(rows), len(partitions))
    figure, panels = panels_of_one_size(*size, width=2.3, height=1.6, left=0.55, below=0.55, sharey="row")
    for (row, column), axes in np.ndenumerate(panels):
        endpoint, model = rows[row]
        panel = waterfall[of_model(waterfall, endpoint, model, partitions[column])]
        if panel.empty:
            axes.set_axis_off()
            continue
        _bars(axes, panel)
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set(xlim=(0.25, len(panel) + 0.75), ylabel="Score − cut-off")
        axes.yaxis.set_tick_params(labelleft=True)
        axes.set_title(title_of(endpoint, model, partitions[column]), loc="left")
        axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.1), ncols=2, borderpad=0, columnspacing=1)
        axes.annotate(
            "highest score first", (1, 1), xycoords="axes fraction", ha="right", va="top", color=GREY, size=6.5
        )
    note_below(figure, note)
    return figure


def _bars(axes: Axes, panel: pd.DataFrame) -> None:
    """Draw a bar for each patient, and his outcome once more on a strip below, where no bar is too short to be seen."""
    half = 0.43 if len(panel) <= 120 else 0.5
    for outcome, (name, colour) in enumerate(zip(OUTCOME_LABELS, COLOURS[:2], strict=True)):
        bars = panel[panel["event"] == outcome]
        x = bars["place"].to_numpy()[:, None] + np.array([-half, -half, half, half])
        heights = np.multiply.outer(bars["above_cutoff"].to_numpy(), [0, 1, 1, 0])
        # Many bars become one image, so that the file stays small.
        style: dict[str, Any] = {"color": colour, "linewidth": 0, "rasterized": len(panel) > 200}
        label = f"{name} (n = {len(bars)})"
        axes.add_collection(PolyCollection(list(np.dstack([x, heights])), label=label, **style))
        strip = list(np.dstack([x, np.broadcast_to([-0.08, -0.03, -0.03, -0.08], x.shape)]))
        below = PolyCollection(strip, transform=axes.get_xaxis_transform(), clip_on=False, **style)
        axes.add_collection(below, autolim=False)
    axes.autoscale_view()


def _distributions(axes: Axes, scores: NDArray[np.float64], events: NDArray[np.int_], rng: np.random.Generator) -> None:
    for outcome, colour in enumerate(COLOURS[:2]):
        group = scores[events == outcome]
        if len(group) > 1:
            violin: Any = axes.violinplot([group], [outcome], widths=0.85, showextrema=False)
            violin["bodies"][0].set(facecolor=colour, alpha=0.25, edgecolor="none", zorder=0.2)
        if len(group):
            axes.hlines(np.median(group), outcome - 0.28, outcome + 0.28, color="black", linewidth=1.2)
        place = outcome + rng.uniform(-0.16, 0.16, len(group))
        axes.plot(place, group, ".", markersize=3, color=colour, alpha=0.55, markeredgewidth=0, zorder=0.5)
    if len(scores) > 500:
        axes.set_rasterization_zorder(0.9)  # thousands of dots become one image, so that the file stays small


def _cutoff_lines(axes: Axes, cutoffs: NDArray[np.float64]) -> None:
    for cutoff in cutoffs:
        axes.axhline(cutoff, color="black", linestyle=(0, (4, 3)), linewidth=0.9 if len(cutoffs) == 1 else 0.5)
    if len(cutoffs):
        label = f"cut-off\n{cutoffs[0]:.4g}" if len(cutoffs) == 1 else f"{len(cutoffs)}\ncut-offs"
        beside = blended_transform_factory(axes.transAxes, axes.transData)
        axes.text(1.02, cutoffs.mean(), label, transform=beside, ha="left", va="center", fontsize=7)
