"""The figures of a report: saved for print beside the page, and shown on it as interactive panels.

Each is one entry of ``ENTRIES``: which numbers it shows, how they are drawn for print, and how on the page.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from radnet.report.attribution import shown_attribution
from radnet.report.decision import impact_table
from radnet.report.figures.attribution import attribution_figure
from radnet.report.figures.calibration import calibration_figure
from radnet.report.figures.cutoff import confusion_counts, confusion_figure, cutoff_search, cutoff_search_figure
from radnet.report.figures.decision import decision_figure, impact_figure
from radnet.report.figures.discrimination import precision_recall_figure, roc_figure
from radnet.report.figures.forest import forest_figure
from radnet.report.figures.hand import save_figure
from radnet.report.figures.importance import importance_figure
from radnet.report.figures.learning import learning_figure
from radnet.report.figures.lesions import lesion_weight_figure
from radnet.report.figures.nomogram import nomogram_figure
from radnet.report.figures.scores import above_cutoff, score_figure, waterfall_figure
from radnet.report.figures.survival import km_figure
from radnet.report.forest import model_rows, subgroup_rows
from radnet.report.learning_curve import shown_learning_curve
from radnet.report.lesions import of_several_lesions
from radnet.report.plots.attribution import attribution_plots
from radnet.report.plots.calibration import calibration_plots
from radnet.report.plots.cutoff import confusion_plots, cutoff_search_plots
from radnet.report.plots.decision import decision_plots, impact_plots
from radnet.report.plots.discrimination import precision_recall_plots, roc_plots
from radnet.report.plots.forest import forest_plots
from radnet.report.plots.importance import importance_plots
from radnet.report.plots.learning import learning_plots
from radnet.report.plots.lesions import lesion_weight_plots
from radnet.report.plots.nomogram import nomogram_plots
from radnet.report.plots.panel import Plot
from radnet.report.plots.scores import score_plots, waterfall_plots
from radnet.report.plots.survival import km_plots
from radnet.report.reading import Evaluation, of_all_centres, of_known_outcome, without_ablations
from radnet.tables import write_table


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure of the report: interactive panels, the same drawn for print, and its numbers."""

    name: str
    title: str
    text: str
    plots: list[Plot]
    drawing: str  # data URI of the static figure
    numbers: str  # data URI of its CSV


@dataclass(frozen=True, slots=True)
class Entry:
    """How a figure of the report is made.

    Attributes:
        name: Of its files in ``figures/``, and of its place on the page.
        title: Its heading.
        text: What a reader sees; ``{cutoff}`` stands for what the cut-offs are and where they come from.
        numbers: What it shows, chosen or re-arranged from the evaluation's tables; without a row there is no figure.
        figure: Draws the numbers for print.
        plots: Draws the numbers for the page.
        written: Whether the evaluation itself wrote ``figures/{name}.csv``; else the numbers are written there.
    """

    name: str
    title: str
    text: str
    numbers: Callable[[Evaluation], pd.DataFrame]
    figure: Callable[[pd.DataFrame, Evaluation], Figure]
    plots: Callable[[pd.DataFrame, Evaluation], list[Plot]]
    written: bool = False


ENTRIES = (
    Entry(
        name="roc",
        title="ROC curves",
        text="How sensitivity is bought with false positives as the cut-off falls. The diagonal is chance.",
        numbers=lambda evaluation: of_all_centres(evaluation.roc),
        figure=lambda roc, evaluation: roc_figure(roc, evaluation.metrics, evaluation.level),
        plots=lambda roc, evaluation: roc_plots(roc, evaluation.metrics),
        written=True,
    ),
    Entry(
        name="precision_recall",
        title="Precision-recall curves",
        text="How many of those called positive have the event, as more of those with the event are found. The "
        "horizontal line is the prevalence: the precision of calling everybody positive.",
        numbers=lambda evaluation: of_all_centres(evaluation.precision_recall),
        figure=lambda points, evaluation: precision_recall_figure(points, evaluation.metrics, evaluation.level),
        plots=lambda points, evaluation: precision_recall_plots(points, evaluation.metrics),
        written=True,
    ),
    Entry(
        name="scores",
        title="Scores by outcome",
        text="Each dot is a patient. A dashed line is {cutoff}. Out-of-fold scores come from several models, each with "
        "a cut-off of its own. Patients of unknown outcome are left out; where follow-up counts, no event means none "
        "seen.",
        numbers=lambda evaluation: of_known_outcome(evaluation.scores),
        figure=lambda scores, _: score_figure(scores),
        plots=lambda scores, _: score_plots(scores),
        written=True,
    ),
    Entry(
        name="waterfall",
        title="Waterfall of scores",
        text="Each bar is a patient; it rises from {cutoff}. Bars of the other colour on either side of the line are "
        "errors; where follow-up counts, no event means none seen. Of a repeated cross-validation the first repeat is "
        "shown.",
        numbers=lambda evaluation: above_cutoff(evaluation.scores),
        figure=lambda waterfall, _: waterfall_figure(waterfall),
        plots=lambda waterfall, _: waterfall_plots(waterfall),
    ),
    Entry(
        name="confusion",
        title="Calls and outcomes",
        text="Patients by outcome and by the side of {cutoff} on which they fall, with their share among patients of "
        "the same outcome. Over repeats of a cross-validation the counts are means.",
        numbers=lambda evaluation: confusion_counts(evaluation.metrics),
        figure=lambda confusion, _: confusion_figure(confusion),
        plots=lambda confusion, _: confusion_plots(confusion),
    ),
    Entry(
        name="cutoff_search",
        title="Cut-off search",
        text="Sensitivity, specificity and Youden index had the cut-off been another. The dashed line is {cutoff}; to "
        "move it after a look at these curves would flatter the model.",
        numbers=lambda evaluation: cutoff_search(evaluation.roc, evaluation.scores),
        figure=lambda search, _: cutoff_search_figure(search),
        plots=lambda search, _: cutoff_search_plots(search),
    ),
    Entry(
        name="calibration",
        title="Calibration",
        text="Does a predicted risk come true? The smooth curve and its band compare predicted with observed risk in "
        "single patients, the dots in groups of patients; on the diagonal both agree.",
        numbers=lambda evaluation: of_all_centres(evaluation.calibration),
        figure=lambda points, evaluation: calibration_figure(points, evaluation.scores, evaluation.metrics),
        plots=lambda points, evaluation: calibration_plots(points, evaluation.metrics),
        written=True,
    ),
    Entry(
        name="decision",
        title="Decision curves",
        text="Is it better to act on the model than on everybody, or on nobody? Net benefit is the share of patients "
        "acted on rightly, less those acted on wrongly at the rate that the threshold probability holds to be fair.",
        numbers=lambda evaluation: of_all_centres(evaluation.decision),
        figure=lambda points, _: decision_figure(points),
        plots=lambda points, _: decision_plots(points),
        written=True,
    ),
    Entry(
        name="impact",
        title="Clinical impact",
        text="Of 1000 patients like these: how many the model calls high risk at each threshold probability, and how "
        "many of those have the event.",
        numbers=lambda evaluation: impact_table(of_all_centres(evaluation.decision)),
        figure=lambda points, evaluation: impact_figure(points, evaluation.metrics),
        plots=lambda points, evaluation: impact_plots(points, evaluation.metrics),
    ),
    Entry(
        name="km",
        title="Survival by risk group",
        text="Kaplan–Meier estimate by risk group, with confidence bands; the groups are split at {cutoff}. Upright "
        "ticks are patients whose follow-up ended without the event.",
        numbers=lambda evaluation: evaluation.km,
        figure=lambda km, evaluation: km_figure(km, evaluation.metrics, evaluation.level),
        plots=lambda km, evaluation: km_plots(km, evaluation.metrics),
        written=True,
    ),
    Entry(
        name="forest",
        title="Subgroups",
        text="The AUC, or the hazard ratio per standard deviation of the score, in each subgroup. The p-value of the "
        "interaction tells whether the score works differently in the subgroups. Among many subgroups of few patients, "
        "differences arise by chance.",
        numbers=lambda evaluation: subgroup_rows(evaluation.metrics),
        figure=lambda rows, evaluation: forest_figure(rows, evaluation.level),
        plots=lambda rows, _: forest_plots(rows),
    ),
    Entry(
        name="multivariable",
        title="Multivariable model",
        text="What the score and the clinical variables of the development patients are worth beside each other: odds "
        "or hazard ratios of one model, per unit of a number and against the reference of a category.",
        numbers=lambda evaluation: model_rows(evaluation.tables.get("regression")),
        figure=lambda rows, evaluation: forest_figure(rows, evaluation.level),
        plots=lambda rows, _: forest_plots(rows),
    ),
    Entry(
        name="nomogram",
        title="Nomogram",
        text="The multivariable model as points: read each value upwards on the first ruler, add the points up, and "
        "read the total downwards. It was made on development patients and has not been judged on others.",
        numbers=lambda evaluation: evaluation.tables.get("nomogram", pd.DataFrame()),
        figure=lambda points, _: nomogram_figure(points),
        plots=lambda points, _: nomogram_plots(points),
    ),
    Entry(
        name="importance",
        title="Importance",
        text="How much the model leans on each of its branches, groups of features and features. Features that tell "
        "the same can stand in for each other: then neither looks important.",
        numbers=lambda evaluation: evaluation.tables.get("importance", pd.DataFrame()),
        figure=lambda rows, _: importance_figure(rows),
        plots=lambda rows, _: importance_plots(rows),
    ),
    Entry(
        name="lesion_weights",
        title="Weights of lesions",
        text="How much of a patient's score each lesion carries, in patients with several. Patients are numbered anew, "
        "by their count of lesions.",
        numbers=lambda evaluation: of_several_lesions(evaluation.lesion_weights),
        figure=lambda weights, _: lesion_weight_figure(weights),
        plots=lambda weights, _: lesion_weight_plots(weights),
        written=True,
    ),
    Entry(
        name="attribution",
        title="Attribution",
        text="Which voxels move the score away from that of a featureless patch: one of the same lesion and the same "
        "mean intensity, in which all texture and contrast are levelled (integrated gradients). Lesions are numbered "
        "and chosen by their score alone; of each, the slice with the largest attributions. The whole patch's "
        "attributions add up to score less featureless score. They tell what this network reacts to, right or wrong: "
        "not where disease is, and not what would happen were a voxel different.",
        numbers=lambda evaluation: shown_attribution(evaluation.tables.get("attribution")),
        figure=lambda voxels, _: attribution_figure(voxels),
        plots=lambda voxels, _: attribution_plots(voxels),
    ),
    Entry(
        name="learning_curve",
        title="Learning curve",
        text="Would more patients help? The same model, learned from growing shares of the development patients, each "
        "within the next. The band is of the patients judged, who are the same at every share: bands may overlap "
        "though a difference is certain. The bars are how far the choice of patients, and first weights, move it.",
        numbers=lambda evaluation: shown_learning_curve(evaluation.tables.get("learning_curve")),
        figure=lambda curve, _: learning_figure(curve),
        plots=lambda curve, _: learning_plots(curve),
    ),
)
"""The figures in the order in which they stand on the page."""


def charts(evaluation: Evaluation, folder: Path) -> list[Chart]:
    """Draw the figures that have numbers, ablations aside, save them, and return their interactive kin."""
    drawn = []
    for entry in ENTRIES:
        numbers = entry.numbers(evaluation)
        if "model" in numbers:
            numbers = without_ablations(numbers)
        if not numbers.empty:
            drawn.append(_chart(entry, numbers, evaluation, folder))
    return drawn


def _chart(entry: Entry, numbers: pd.DataFrame, evaluation: Evaluation, folder: Path) -> Chart:
    if not entry.written:
        write_table(numbers, folder / f"{entry.name}.csv")
    save_figure(entry.figure(numbers, evaluation), folder, entry.name)
    drawings = {
        kind: (folder / f"{entry.name}.{suffix}").read_bytes()
        for kind, suffix in [("image/svg+xml", "svg"), ("image/png", "png")]
    }
    kind = min(drawings, key=lambda kind: len(drawings[kind]))
    return Chart(
        name=entry.name,
        title=entry.title,
        text=entry.text.format(cutoff=evaluation.cutoff_words),
        plots=entry.plots(numbers, evaluation),
        drawing=_data_uri(kind, drawings[kind]),
        numbers=_data_uri("text/csv;charset=utf-8", (folder / f"{entry.name}.csv").read_bytes()),
    )


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
