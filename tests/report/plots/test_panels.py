import numpy as np
import pandas as pd

from radnet.report.figures.cutoff import confusion_counts, cutoff_search
from radnet.report.figures.scores import above_cutoff
from radnet.report.plots.cutoff import confusion_plots, cutoff_search_plots
from radnet.report.plots.discrimination import precision_recall_plots, roc_plots
from radnet.report.plots.scores import waterfall_plots
from radnet.report.reading import typed
from radnet.tables import METRIC_COLUMNS

PLACE = {"endpoint": "response", "model": "plain", "partition": "held_out", "centre": "", "fold": "", "repeat": ""}


def traces(plot):
    return plot.spec["data"]


def test_curves_beyond_the_eighth_wait_in_the_legend_and_controls_stand_last(roc, metrics):
    held_out = roc[(roc["model"] == "plain") & (roc["partition"] == "held_out")]
    names = ["control_volume", *(f"model {number}" for number in range(9))]

    (plot,) = roc_plots(typed(pd.concat([held_out.assign(model=name) for name in names])), typed(metrics))

    curves = traces(plot)[1:]  # the first is chance
    assert [curve["name"].split(":")[0] for curve in curves] == [*names[1:], "control_volume"]
    assert [curve.get("visible") for curve in curves] == [None] * 8 + ["legendonly"] * 2
    assert plot.note == "2 more curves: click them in the legend"


def test_a_precision_recall_panel_says_the_prevalence_and_steps_as_the_printed_one_does():
    points = pd.DataFrame({"threshold": [np.inf, 0.5, -np.inf], "recall": [0, 0.5, 1], "precision": [1, 1, 0.4]})
    row = PLACE | {"metric": "average_precision", "level": "patient", "estimate": 0.7, "n": 10, "n_event": 4}
    metrics = pd.DataFrame([row]).reindex(columns=list(METRIC_COLUMNS))

    (plot,) = precision_recall_plots(typed(points.assign(**PLACE)), typed(metrics))

    prevalence, curve = traces(plot)
    assert plot.note == "prevalence 40.0%"
    assert prevalence["y"] == [0.4, 0.4]
    assert curve["line"]["shape"] == "vh"  # as matplotlib's steps-pre
    assert curve["name"] == "plain: 0.700"


def test_names_that_plotly_would_read_as_markup_are_made_harmless(roc, metrics):
    held_out = roc[(roc["model"] == "plain") & (roc["partition"] == "held_out")]

    (plot,) = roc_plots(typed(held_out.assign(model="<b>$x$")), typed(metrics))

    assert traces(plot)[1]["name"].startswith("&lt;b&gt;&#36;x&#36;: ")


def test_a_waterfall_has_a_bar_for_each_patient_of_known_outcome(scores):
    plots = waterfall_plots(above_cutoff(typed(scores)))

    assert len(plots) == 6
    assert [[trace["name"] for trace in traces(plot)] for plot in plots] == [["No event (n = 10)", "Event (n = 9)"]] * 6


def test_the_cells_of_a_confusion_panel_say_count_and_share():
    row = PLACE | {"level": "patient", "n": 69, "n_event": 24, "at": 0.4}  # Zhao's validation: 19, 5, 9, 36
    rows = [row | {"metric": "sensitivity", "estimate": 19 / 24}, row | {"metric": "specificity", "estimate": 36 / 45}]

    (plot,) = confusion_plots(confusion_counts(typed(pd.DataFrame(rows).reindex(columns=list(METRIC_COLUMNS)))))

    (heat,) = traces(plot)
    assert heat["text"] == [["36 (80%)", "9 (20%)"], ["5 (21%)", "19 (79%)"]]
    assert heat["y"] == ["No event", "Event"]
    assert plot.note == "cut-off 0.4"


def test_the_cutoff_search_marks_every_cutoff_in_use(roc, scores):
    plots = cutoff_search_plots(cutoff_search(typed(roc), typed(scores)))

    assert [len(plot.spec["layout"]["shapes"]) for plot in plots] == [1, 2, 1] * 2  # held-out, two folds, apparent
    assert [plot.note for plot in plots[:2]] == ["cut-off 0.4", "2 cut-offs"]
