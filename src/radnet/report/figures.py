"""Static figures of an evaluation, in one hand: ROC curves, scores by outcome, Kaplan-Meier curves.

They are drawn from the numbers that an evaluation wrote and compute no statistic of their own. Held-out stands first.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

from radnet.files import write_atomically
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
from radnet.report.reading import overall_numbers, typed
from radnet.report.survival_curve import at_risk, from_the_start, time_label, time_ticks
from radnet.report.text import MISSING, with_interval

_HAND: dict[str, Any] = {
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


@style.context(["default", _HAND])
def roc_figure(roc: pd.DataFrame, metrics: pd.DataFrame, level: float = 0.95) -> Figure:
    """Draw the ROC curves of all models, a panel per endpoint and partition, held-out first.

    Curves of single folds are faint, their mean is bold. The legend takes AUC, CI and n from the metrics.

    Args:
        roc: Columns endpoint, model, partition, centre, fold, repeat, fpr, tpr; rows of single centres are left out.
        metrics: The table ``metrics.csv``.
        level: Coverage of the intervals in the metrics, for the legend's title.

    Raises:
        ValueError: If there is no curve to draw.
    """
    roc = typed(roc)
    roc = roc[roc["centre"] == ""]
    _need_rows(roc, "ROC curve")
    numbers = overall_numbers(typed(metrics))
    looks = curve_style(roc["model"].tolist())
    endpoints, partitions = list(dict.fromkeys(roc["endpoint"])), in_order(roc["partition"])
    size = (len(endpoints), len(partitions))
    figure, panels = _panels(*size, width=2.15, height=2.15, left=0.5, below=0.75 + 0.15 * len(looks))
    for (row, column), axes in np.ndenumerate(panels):
        endpoint, partition = endpoints[row], partitions[column]
        panel = roc[(roc["endpoint"] == endpoint) & (roc["partition"] == partition)]
        if panel.empty:
            axes.set_axis_off()
            continue
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.7)
        for (model, fold, _), curve in panel.groupby(["model", "fold", "repeat"], sort=False):
            colour, dash = looks[str(model)]
            steps = curve.sort_values(["fpr", "tpr"], kind="stable")
            bold: dict[str, Any] = {"linestyle": dash} if fold in ("", "mean") else {"alpha": 0.3, "linewidth": 0.6}
            axes.plot(steps["fpr"], steps["tpr"], color=colour, clip_on=False, **bold)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="1 − specificity", ylabel="Sensitivity")
        axes.set_title(_title(endpoint if len(endpoints) > 1 else "", partition), loc="left")
        models = list(dict.fromkeys(panel["model"]))
        areas = {model: numbers.get((endpoint, model, partition, "auc", "")) for model in models}
        _roc_legend(axes, areas, looks, level)
    return figure


@style.context(["default", _HAND])
def score_figure(scores: pd.DataFrame) -> Figure:
    """Draw the scores of patients with and without the event, a row per endpoint and model, a column per partition.

    Dashed lines are the cut-offs that travelled with the scores. Patients of unknown outcome are left out.

    Args:
        scores: Columns endpoint, model, partition, event, score, cutoff.

    Raises:
        ValueError: If no patient has a score and an outcome.
    """
    scores = typed(scores).dropna(subset=["event", "score"])
    _need_rows(scores, "score of a patient with a known outcome")
    rows = list(dict.fromkeys(zip(scores["endpoint"], scores["model"], strict=True)))
    partitions = in_order(scores["partition"])
    figure, panels = _panels(
        len(rows), len(partitions), width=1.85, height=1.75, left=0.5, below=0.45, right=0.5, sharey="row"
    )
    rng = np.random.default_rng(0)
    for (row, column), axes in np.ndenumerate(panels):
        endpoint, model = rows[row]
        panel = scores[_where(scores, endpoint, model, partitions[column])]
        if panel.empty:
            axes.set_axis_off()
            continue
        _distributions(axes, panel["score"].to_numpy(), panel["event"].to_numpy().astype(int), rng)
        _cutoff_lines(axes, np.unique(panel["cutoff"].dropna()))
        counts = [int((panel["event"] == outcome).sum()) for outcome in (0, 1)]
        axes.set_xticks([0, 1], [f"{name}\nn = {n}" for name, n in zip(OUTCOME_LABELS, counts, strict=True)])
        axes.set(xlim=(-0.6, 1.6), ylabel="Score")
        axes.yaxis.set_tick_params(labelleft=True)
        axes.set_title(_title(endpoint, model, partitions[column]), loc="left")
    return figure


@style.context(["default", _HAND])
def km_figure(km: pd.DataFrame) -> Figure:
    """Draw Kaplan-Meier curves by frozen risk group, with CI bands, censored patients and numbers at risk.

    Args:
        km: Columns endpoint, model, partition, group, time, survival, lower, upper, at_risk, events, censored;
            optionally time_unit.

    Raises:
        ValueError: If there is no curve to draw.
    """
    km = typed(km)
    _need_rows(km, "Kaplan-Meier curve")
    rows = list(dict.fromkeys(zip(km["endpoint"], km["model"], strict=True)))
    partitions = in_order(km["partition"])
    colours = group_colours(km["group"])
    below = 0.6 + 0.14 * len(colours)
    figure, panels = _panels(len(rows), len(partitions), width=2.15, height=1.8, left=0.55, below=below, above=0.58)
    for (row, column), axes in np.ndenumerate(panels):
        endpoint, model = rows[row]
        panel = km[_where(km, endpoint, model, partitions[column])]
        if panel.empty:
            axes.set_axis_off()
            continue
        groups = [group for group in colours if group in set(panel["group"])]
        for group in groups:
            _survival_curve(axes, from_the_start(panel[panel["group"] == group]), group, colours[group])
        ticks = time_ticks(panel)
        axes.set_xticks(ticks)
        axes.set(xlim=(0, panel["time"].max() * 1.02), ylim=(0, 1.03), xlabel=time_label(panel), ylabel="Event-free")
        axes.set_title(_title(endpoint, model, partitions[column]), loc="left", pad=18)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, borderpad=0)
        _numbers_at_risk(axes, panel, groups, colours, ticks)
    return figure


@style.context(["default", _HAND])
def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as ``{name}.pdf``, ``.svg`` and ``.png``; the same figure gives the same bytes on any day."""
    undated: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
    for suffix, metadata in undated.items():

        def write(path: Path, suffix: str = suffix, metadata: dict[str, Any] = metadata) -> None:
            figure.savefig(path, format=suffix, metadata=metadata)

        write_atomically(folder / f"{name}.{suffix}", write)


def _roc_legend(axes: Axes, areas: dict[str, Any], looks: dict[str, tuple[str, Dash]], level: float) -> None:
    """Say n once where all models were tried on as many patients; otherwise with each model."""
    sizes = {area.n for area in areas.values() if area is not None and not np.isnan(area.n)}
    lines = []
    for model, area in areas.items():
        colour, dash = looks[model]
        number = MISSING if area is None else with_interval(area.estimate, area.lower, area.upper)
        size = f", n = {area.n:.0f}" if len(sizes) > 1 and area is not None and not np.isnan(area.n) else ""
        # The number comes first: matplotlib hides a label that begins with an underscore, as a model's name may.
        label = f"{number}  {_short(model, 14 if size else 22)}{size}"
        lines.append(Line2D([], [], color=colour, linestyle=dash, label=label))
    axes.legend(
        handles=lines,
        title=f"AUC ({100 * level:.3g}% CI)" + (f", n = {sizes.pop():.0f}" if len(sizes) == 1 else ""),
        alignment="left",
        loc="upper left",
        bbox_to_anchor=(-0.2, -0.19),
        borderaxespad=0,
        borderpad=0,
        handlelength=2.2,
        labelspacing=0.35,
    )


def _title(*parts: str) -> str:
    *names, partition = (part for part in parts if part)
    place = PARTITION_LABELS.get(partition, _short(partition, 30))
    return "\n".join([*([_short(" · ".join(names), 34)] if names else []), place])


def _short(name: str, letters: int) -> str:
    name = " ".join(name.split())
    return name if len(name) <= letters else name[: letters - 1] + "…"


def _need_rows(table: pd.DataFrame, what: str) -> None:
    if table.empty:
        raise ValueError(f"there is no {what} to draw: the table has no row for one")


def _where(table: pd.DataFrame, endpoint: str, model: str, partition: str) -> pd.Series:
    return (table["endpoint"] == endpoint) & (table["model"] == model) & (table["partition"] == partition)


def _panels(
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
        label = f"cut-off\n{cutoffs[0]:.3g}" if len(cutoffs) == 1 else f"{len(cutoffs)}\ncut-offs"
        beside = blended_transform_factory(axes.transAxes, axes.transData)
        axes.text(1.02, cutoffs.mean(), label, transform=beside, ha="left", va="center", fontsize=7)


def _survival_curve(axes: Axes, curve: pd.DataFrame, group: str, colour: str) -> None:
    label = GROUP_LABELS.get(group, _short(group, 12)).lstrip("_")  # matplotlib hides a label with an underscore first
    axes.fill_between(curve["time"], curve["lower"], curve["upper"], step="post", color=colour, alpha=0.15, linewidth=0)
    axes.step(
        curve["time"],
        curve["survival"],
        where="post",
        color=colour,
        linestyle="solid" if group != "high" else (0, (5, 1.5)),
        label=label,
    )
    censored = curve[curve["censored"] > 0]
    axes.plot(censored["time"], censored["survival"], "|", color=colour, markersize=4, markeredgewidth=0.7)


def _numbers_at_risk(
    axes: Axes, panel: pd.DataFrame, groups: list[str], colours: dict[str, str], ticks: list[float]
) -> None:
    """Write under the axis in points, so that the rows keep their distance whatever the panel's height."""
    place: dict[str, Any] = {
        "xycoords": ("data", "axes fraction"),
        "textcoords": "offset points",
        "fontsize": 7,
        "annotation_clip": False,
    }
    axes.annotate("At risk", (0, 0), (-26, -33), ha="left", va="center", color=GREY, **place)
    for row, group in enumerate(groups):
        below = -43 - 10 * row
        label = GROUP_LABELS.get(group, _short(group, 8)).removesuffix(" risk")
        axes.annotate(label, (0, 0), (-26, below), ha="left", va="center", color=colours[group], **place)
        for tick, count in zip(ticks, at_risk(panel[panel["group"] == group], ticks), strict=True):
            axes.annotate(str(count), (tick, 0), (0, below), ha="center", va="center", **place)
