"""Interactive curves over all cut-offs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from radnet.report.look import FAINT, MOST, Dash, curve_style
from radnet.report.plots.panel import PLOTLY_DASHES, Plot, inert, panels, spec
from radnet.report.reading import of_all_centres, overall_numbers
from radnet.report.text import MISSING, with_interval
from radnet.tables import is_control

_SQUARE = {"range": [-0.01, 1.01], "dtick": 0.2}


def roc_plots(roc: pd.DataFrame, metrics: pd.DataFrame) -> list[Plot]:
    """Draw the typed ROC curves, a panel per endpoint and partition; the legend takes AUC and CI from the metrics."""
    chance = _reference([0, 1], [0, 1])
    titles = ("1 − specificity", "Sensitivity")

    def curve_of(points: pd.DataFrame) -> Mapping[str, Any]:
        points = points.sort_values(["fpr", "tpr"], kind="stable")
        at = "" if points["threshold"].isna().all() else "<br>cut-off %{customdata:.3g}"
        hover = f"sensitivity %{{y:.1%}}<br>1 − specificity %{{x:.1%}}{at}"
        return _points(points, "fpr", "tpr") | {"hovertemplate": hover}

    return _plots(roc, metrics, "auc", titles, curve_of, lambda _: [chance])


def precision_recall_plots(precision_recall: pd.DataFrame, metrics: pd.DataFrame) -> list[Plot]:
    """Draw the typed precision-recall curves with the prevalence, a panel per endpoint and partition."""

    def curve_of(points: pd.DataFrame) -> Mapping[str, Any]:
        points = points.sort_values(["recall", "precision"], ascending=[True, False], kind="stable")
        at = "" if points["threshold"].isna().all() else "<br>cut-off %{customdata:.3g}"
        hover = f"precision %{{y:.1%}}<br>recall %{{x:.1%}}{at}"
        return _points(points, "recall", "precision") | {"hovertemplate": hover, "line": {"shape": "vh"}}

    def prevalence(numbers: list[Any]) -> list[go.Scatter]:
        shares = dict.fromkeys(row.n_event / row.n for row in numbers if row.n > 0)
        return [_reference([0, 1], [share, share], f"prevalence {share:.1%}") for share in shares]

    titles = ("Recall (sensitivity)", "Precision (PPV)")
    return _plots(precision_recall, metrics, "average_precision", titles, curve_of, prevalence)


def _plots(
    points: pd.DataFrame,
    metrics: pd.DataFrame,
    metric: str,
    titles: tuple[str, str],
    curve_of: Any,
    references: Any,
) -> list[Plot]:
    """Draw a panel per endpoint and partition; curves beyond the eighth wait in the legend for a click."""
    points = of_all_centres(points)
    numbers = overall_numbers(metrics)
    looks = curve_style(points["model"].tolist())
    plots = []
    for (endpoint, label), rows in panels(points, ["endpoint"]):
        partition = rows["partition"].iloc[0]
        models = [model for model in looks if model in set(rows["model"])]
        known = {model: numbers.get((endpoint, model, partition, metric, "")) for model in models}
        drawn_first = references([number for number in known.values() if number is not None])
        traces = list(drawn_first)
        for place, model in enumerate(models):
            for (fold, _), curve in rows[rows["model"] == model].groupby(["fold", "repeat"], sort=False):
                if is_control(model) and fold not in ("", "mean"):
                    continue
                look = _look(model, looks[model], known[model], bold=fold in ("", "mean"))
                waits: dict[str, Any] = {"visible": "legendonly"} if place >= MOST else {}
                drawn = dict(curve_of(curve))
                line = {**drawn.pop("line", {}), **look.pop("line")}
                traces.append(go.Scatter(**(drawn | look | waits), line=line, mode="lines"))
        layout = {
            "xaxis": {"title": {"text": titles[0]}, "constrain": "domain", **_SQUARE},
            "yaxis": {"title": {"text": titles[1]}, "scaleanchor": "x", **_SQUARE},
            "height": 430 + 20 * len(models),
            "legend": {"orientation": "v", "yref": "paper", "y": -0.18, "yanchor": "top", "x": 0},
        }
        notes = [reference.name for reference in drawn_first if reference.name]
        notes += [f"{len(models) - MOST} more curves: click them in the legend"] if len(models) > MOST else []
        plots.append(Plot(f"{endpoint} · {label}", spec(traces, layout), "; ".join(notes)))
    return plots


def _points(curve: pd.DataFrame, x: str, y: str) -> dict[str, Any]:
    threshold = curve["threshold"].replace([np.inf, -np.inf], np.nan).to_numpy()
    return {"x": curve[x].to_numpy(), "y": curve[y].to_numpy(), "customdata": threshold}


def _look(model: str, look: tuple[str, Dash], number: Any, bold: bool) -> dict[str, Any]:
    value = MISSING if number is None else with_interval(number.estimate, number.lower, number.upper)
    named = {"name": f"{inert(model)}: {value}", "legendgroup": model, "showlegend": bold}
    if not bold:
        faint = {"color": look[0], "dash": "solid", "width": 0.8}
        return named | {"line": faint, "opacity": 0.35, "hoverinfo": "skip", "hovertemplate": None}
    line = {"color": look[0], "dash": PLOTLY_DASHES[look[1]], "width": 1.2 if is_control(model) else 2}
    return named | {"line": line, "opacity": 1}


def _reference(x: list[float], y: list[float], told: str = "") -> go.Scatter:
    hover: dict[str, Any] = {"hovertemplate": f"{told}<extra></extra>"} if told else {"hoverinfo": "skip"}
    hover["name"] = told or None
    return go.Scatter(x=x, y=y, mode="lines", showlegend=False, line={"color": FAINT, "width": 1}, **hover)
