"""What a cut-off is worth: the four counts at the one in use, and what others would have given."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from radnet.report.figures.hand import (
    in_hand,
    need_rows,
    note_below,
    of_model,
    panels_of_one_size,
    rows_of_panels,
    title_of,
)
from radnet.report.look import CALL_LABELS, COLOURS, OUTCOME_LABELS, RATE_STYLES, in_order
from radnet.report.reading import of_all_centres, overall_numbers

_KEY = ["endpoint", "model", "partition"]


def confusion_counts(metrics: pd.DataFrame) -> pd.DataFrame:
    """Re-arrange sensitivity and specificity at the cut-off, with their patients, into the four counts behind them.

    Over repeats of a cross-validation they are means, and may be fractions.

    Args:
        metrics: The typed table ``metrics.csv``.

    Returns:
        Columns endpoint, model, partition, cutoff (empty where folds have their own), event, called (both 0 or 1),
        patients, share (among patients with the same outcome).
    """
    numbers = overall_numbers(metrics)
    rows = []
    for endpoint, model, partition in dict.fromkeys(place[:3] for place in reversed(numbers)):
        right = [numbers.get((endpoint, model, partition, name, "")) for name in ("sensitivity", "specificity")]
        if right[0] is None or right[1] is None:
            continue
        of_outcome = {1: right[0].n_event, 0: right[1].n - right[1].n_event}
        for (event, total), row in zip(of_outcome.items(), (right[0], right[1]), strict=True):
            for called in (1, 0):
                share = row.estimate if called == event else 1 - row.estimate
                patients = round(share * total, 6) if total > 0 else 0.0
                counted = {"event": event, "called": called, "patients": patients, "share": share}
                rows.append({**dict(zip(_KEY, (endpoint, model, partition), strict=True)), "cutoff": row.at, **counted})
    return pd.DataFrame(rows, columns=[*_KEY, "cutoff", "event", "called", "patients", "share"])


def cutoff_search(roc: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Re-arrange ROC curves into what each cut-off would have given, beside the cut-off that is in use.

    Args:
        roc: Typed points with their threshold; means over folds have none and are left out.
        scores: Typed scores, of which the cut-off of each fold is taken.

    Returns:
        Columns endpoint, model, partition, fold, repeat, threshold, sensitivity, specificity, youden, cutoff.
    """
    of_fold = [*_KEY, "fold", "repeat"]
    points = of_all_centres(roc).dropna(subset=["threshold"])
    points = points.assign(
        sensitivity=points["tpr"], specificity=1 - points["fpr"], youden=points["tpr"] - points["fpr"]
    )
    in_use = scores.dropna(subset=["cutoff"]).drop_duplicates(of_fold)[[*of_fold, "cutoff"]]
    columns = [*of_fold, "threshold", "sensitivity", "specificity", "youden", "cutoff"]
    return points.merge(in_use, on=of_fold, how="left")[columns]


@in_hand
def confusion_figure(confusion: pd.DataFrame) -> Figure:
    """Draw the four counts at the cut-off in use, a row per endpoint and model, a column per partition.

    Args:
        confusion: As ``confusion_counts`` returns it.

    Raises:
        ValueError: If there is no count to draw.
    """
    need_rows(confusion, "count at a cut-off")
    rows, note = rows_of_panels(confusion)
    partitions = in_order(confusion["partition"])
    size = (len(rows), len(partitions))
    figure, panels = panels_of_one_size(*size, width=1.6, height=1.2, left=0.7, below=0.55)
    for (row, column), axes in np.ndenumerate(panels):
        endpoint, model = rows[row]
        panel = confusion[of_model(confusion, endpoint, model, partitions[column])]
        if panel.empty:
            axes.set_axis_off()
            continue
        for cell in panel.itertuples():
            _cell(axes, cell)
        axes.set_xticks([0, 1], CALL_LABELS)
        axes.set_yticks([0, 1], [OUTCOME_LABELS[1], OUTCOME_LABELS[0]])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlim=(-0.5, 1.5), ylim=(1.5, -0.5), xlabel="Score, by the cut-off")
        axes.set_title(title_of(endpoint, model, partitions[column]), loc="left")
    note_below(figure, note)
    return figure


@in_hand
def cutoff_search_figure(search: pd.DataFrame) -> Figure:
    """Draw sensitivity, specificity and Youden index over all cut-offs, with the one in use as a dashed line.

    Where folds have a curve each they are faint, and so are their cut-offs.

    Args:
        search: As ``cutoff_search`` returns it.

    Raises:
        ValueError: If there is no curve to draw.
    """
    need_rows(search, "cut-off")
    rows, note = rows_of_panels(search)
    partitions = in_order(search["partition"])
    size = (len(rows), len(partitions))
    figure, panels = panels_of_one_size(*size, width=2.3, height=1.6, left=0.5, below=0.72)
    for (row, column), axes in np.ndenumerate(panels):
        endpoint, model = rows[row]
        panel = search[of_model(search, endpoint, model, partitions[column])]
        limits = threshold_limits(panel)
        if limits is None:
            axes.set_axis_off()
            continue
        folds = list(panel.groupby(["fold", "repeat"], sort=False))
        faint: dict[str, Any] = {"alpha": 0.35, "linewidth": 0.6} if len(folds) > 1 else {}
        for place, (_, curve) in enumerate(folds):
            curve = curve.sort_values("threshold", kind="stable")
            for name, (label, colour, dash) in RATE_STYLES.items():
                style = {"color": colour, "linestyle": "solid" if faint else dash, **faint}
                style["label"] = "" if place else label
                axes.plot(curve["threshold"].clip(*limits), curve[name], drawstyle="steps-mid", **style)
        cutoffs = np.unique(panel["cutoff"].dropna())
        for cutoff in cutoffs:
            axes.axvline(cutoff, color="black", linestyle=(0, (4, 3)), linewidth=0.9 if len(cutoffs) == 1 else 0.4)
        told = f"cut-off {cutoffs[0]:.4g}" if len(cutoffs) == 1 else f"{len(cutoffs) or 'no'} cut-offs"
        axes.annotate(told, (1, 1), (0, 3), "axes fraction", "offset points", ha="right", fontsize=6.5)
        lowest = min(0.0, float(panel["youden"].min()))
        axes.set(xlim=limits, ylim=(lowest - 0.02, 1.02), xlabel="Cut-off on the score")
        axes.set_title(title_of(endpoint, model, partitions[column]), loc="left")
        legend = axes.legend(loc="upper left", bbox_to_anchor=(-0.2, -0.25), ncols=3, borderpad=0, columnspacing=1)
        for line, (_, _, dash) in zip(legend.get_lines(), RATE_STYLES.values(), strict=True):
            line.set(alpha=1, linewidth=1.5, linestyle="solid" if faint else dash)
    note_below(figure, note)
    return figure


def threshold_limits(panel: pd.DataFrame) -> tuple[float, float] | None:
    """Return the span of cut-offs that a panel shows, with a margin; None where no two scores differ."""
    known = panel[["threshold", "cutoff"]].to_numpy()
    known = known[np.isfinite(known)]
    if not np.isfinite(panel["threshold"]).any():
        return None
    margin = 0.04 * float(np.ptp(known)) or 0.5
    return float(known.min()) - margin, float(known.max()) + margin


def _cell(axes: Axes, cell: Any) -> None:
    right = cell.event == cell.called
    place = (cell.called - 0.5, 0.5 - cell.event)
    known = 0.0 if np.isnan(cell.share) else cell.share
    colour = COLOURS[0] if right else COLOURS[1]
    axes.add_patch(Rectangle(place, 1, 1, facecolor=colour, alpha=0.06 + 0.34 * known, edgecolor="none"))
    axes.add_patch(Rectangle(place, 1, 1, facecolor="none", edgecolor="white", linewidth=2))
    middle = (cell.called, 1 - cell.event)
    whole = abs(cell.patients - round(cell.patients)) < 1e-4
    number = f"{cell.patients:.0f}" if whole else f"{cell.patients:.1f}"
    axes.text(
        middle[0], middle[1] - 0.1, number, ha="center", va="center", fontsize=10, weight="bold" if right else None
    )
    share = "–" if np.isnan(cell.share) else f"{100 * cell.share:.0f}%"
    axes.text(middle[0], middle[1] + 0.24, share, ha="center", va="center", fontsize=7)
