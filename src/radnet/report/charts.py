"""The figures of a report: saved for print beside the page, and shown on it as interactive panels."""

import base64
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from radnet.report.figures import km_figure, roc_figure, save_figure, score_figure
from radnet.report.plots import Plot, km_plots, roc_plots, score_plots
from radnet.report.reading import Evaluation


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure of the report: interactive panels, the same drawn for print, and its numbers."""

    name: str
    title: str
    text: str
    plots: list[Plot]
    drawing: str  # data URI of the static figure
    numbers: str  # data URI of its CSV


def charts(evaluation: Evaluation, folder: Path) -> list[Chart]:
    """Draw the figures that have numbers, save them, and return their interactive kin."""
    drawn = []
    if not evaluation.roc[evaluation.roc["centre"] == ""].empty:
        text = "How sensitivity is bought with false positives as the cut-off falls. The diagonal is chance."
        figure = roc_figure(evaluation.roc, evaluation.metrics, evaluation.level)
        plots = roc_plots(evaluation.roc, evaluation.metrics)
        drawn.append(_chart(folder, "roc", "ROC curves", text, plots, figure))
    if not evaluation.scores.dropna(subset=["event", "score"]).empty:
        text = (
            "Each dot is a patient, each dashed line a cut-off fixed on training patients. Out-of-fold scores come "
            "from several models, each with a cut-off of its own. Patients of unknown outcome are left out."
        )
        figure = score_figure(evaluation.scores)
        plots = score_plots(evaluation.scores)
        drawn.append(_chart(folder, "scores", "Scores by outcome", text, plots, figure))
    if not evaluation.km.empty:
        text = (
            "Kaplan–Meier estimate by risk group, split at the frozen cut-off, with confidence bands. Upright "
            "ticks are patients whose follow-up ended without the event."
        )
        figure = km_figure(evaluation.km)
        plots = km_plots(evaluation.km, evaluation.metrics)
        drawn.append(_chart(folder, "km", "Survival by risk group", text, plots, figure))
    return drawn


def _chart(folder: Path, name: str, title: str, text: str, plots: list[Plot], figure: Figure) -> Chart:
    save_figure(figure, folder, name)
    drawings = {
        kind: (folder / f"{name}.{suffix}").read_bytes()
        for kind, suffix in [("image/svg+xml", "svg"), ("image/png", "png")]
    }
    kind = min(drawings, key=lambda kind: len(drawings[kind]))
    return Chart(
        name=name,
        title=title,
        text=text,
        plots=plots,
        drawing=_data_uri(kind, drawings[kind]),
        numbers=_data_uri("text/csv;charset=utf-8", (folder / f"{name}.csv").read_bytes()),
    )


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
