"""What acting on probabilities is worth: decision curves, and the clinical impact on 1000 patients."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from radnet.report.decision import IMPACT_LABELS, impact_bands, net_benefit_range
from radnet.report.figures.hand import in_hand, need_rows, note_below, panels_of_one_size, short, title_of
from radnet.report.look import COLOURS, GREY, MOST, curve_style
from radnet.report.panel_rows import drawn, grid, size
from radnet.report.reading import of_all_centres, typed
from radnet.tables import is_control

_MOST_BANDS = 2
_LEGEND: dict[str, Any] = {"loc": "upper left", "borderaxespad": 0, "borderpad": 0, "handlelength": 2.2}


@in_hand
def decision_figure(decision: pd.DataFrame) -> Figure:
    """Draw the net benefit of acting on each model's probability, on everybody and on nobody.

    Bands are drawn where two models or fewer share a panel; controls are grey and thin.

    Args:
        decision: Columns endpoint, model, partition, centre, horizon, threshold, net_benefit, lower, upper,
            net_benefit_all; rows of single centres are left out.

    Raises:
        ValueError: If there is no curve to draw.
    """
    decision = of_all_centres(typed(decision))
    need_rows(decision, "decision curve")
    looks = curve_style(decision["model"].tolist())
    shown = list(looks)[:MOST]
    below = 0.7 + 0.15 * (len(shown) + 2)
    figure, panels = panels_of_one_size(
        *size(decision, by_model=False), width=2.5, height=2.1, left=0.6, below=below, right=0.2
    )
    for _, axes in np.ndenumerate(panels):
        axes.set_axis_off()
    for row, column, place, panel in grid(decision, by_model=False):
        axes = panels[row, column]
        axes.set_axis_on()
        models = [model for model in shown if model in set(panel["model"])]
        real = [model for model in models if not is_control(model)]
        for model in models:
            curve = panel[panel["model"] == model].sort_values("threshold")
            colour, dash = looks[model]
            # A label that begins with an underscore would be hidden.
            label = short(model, 34).lstrip("_") or "model"
            look: dict[str, Any] = {"linestyle": dash, "linewidth": 1.5 if model in real else 0.9}
            axes.plot(curve["threshold"], curve["net_benefit"], color=colour, label=label, **look)
            if model in real and len(real) <= _MOST_BANDS:
                shade: dict[str, Any] = {"color": colour, "alpha": 0.13, "linewidth": 0}
                axes.fill_between(curve["threshold"], curve["lower"], curve["upper"], **shade)
        everybody = panel[panel["model"] == panel["model"].iloc[0]].sort_values("threshold")
        axes.plot(
            everybody["threshold"], everybody["net_benefit_all"], color=GREY, linewidth=1, label="act on everybody"
        )
        axes.axhline(0, color="black", linewidth=1, label="act on nobody")
        axes.set(xlim=(0, 1), ylim=net_benefit_range(panel), xlabel="Threshold probability", ylabel="Net benefit")
        axes.set_title(title_of(place.title, place.partition), loc="left")
        axes.legend(bbox_to_anchor=(-0.05, -0.22), labelspacing=0.35, **_LEGEND)
    if len(looks) > MOST:
        note_below(figure, f"{len(looks) - MOST} further models are not drawn; the table has their numbers.")
    return figure


@in_hand
def impact_figure(decision: pd.DataFrame, metrics: pd.DataFrame) -> Figure:
    """Draw how many of 1000 patients a model calls high risk, and how many of those have the event.

    Args:
        decision: Columns endpoint, model, partition, centre, horizon, threshold, high_risk, true_positive; rows of
            single centres and of controls are left out.
        metrics: The table ``metrics.csv``; its intervals of the two counts are the bands.

    Raises:
        ValueError: If there is no curve to draw.
    """
    decision, metrics = of_all_centres(typed(decision)), typed(metrics)
    need_rows(decision, "curve of clinical impact")
    decision, note = drawn(decision)
    figure, panels = panels_of_one_size(*size(decision), width=2.5, height=2.1, left=0.6, below=0.95, right=0.2)
    for _, axes in np.ndenumerate(panels):
        axes.set_axis_off()
    for row, column, place, panel in grid(decision):
        axes = panels[row, column]
        axes.set_axis_on()
        curve = panel.sort_values("threshold")
        for (name, label), colour, dash in zip(
            IMPACT_LABELS.items(), COLOURS[:2], ("solid", (0, (5, 1.5))), strict=True
        ):
            axes.plot(curve["threshold"], curve[name], color=colour, linestyle=dash, label=label)
            band = impact_bands(metrics, place, name)
            axes.fill_between(band["at"], band["lower"], band["upper"], color=colour, alpha=0.13, linewidth=0)
        _of_a_thousand(axes)
        axes.set_title(title_of(place.title, place.model, place.partition), loc="left")
    note_below(figure, note)
    return figure


def _of_a_thousand(axes: Axes) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1000), xlabel="Threshold probability", ylabel="Of 1000 patients")
    axes.set_yticks(np.linspace(0, 1000, 6))
    axes.legend(bbox_to_anchor=(-0.05, -0.22), labelspacing=0.35, **_LEGEND)
