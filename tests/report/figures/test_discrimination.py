import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from sklearn.metrics import average_precision_score, precision_recall_curve

from radnet.report.figures.discrimination import precision_recall_figure, roc_figure
from radnet.report.look import CONTROL_COLOURS
from radnet.tables import METRIC_COLUMNS

EVENT = np.array([1, 0, 1, 1, 0, 0, 1, 0, 0, 0])
SCORE = np.array([0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def place(model="plain", partition="held_out", fold=""):
    return {"endpoint": "response", "model": model, "partition": partition, "centre": "", "fold": fold, "repeat": ""}


def curve(**where):
    """The precision-recall curve of ten patients, from scikit-learn."""
    precision, recall, threshold = precision_recall_curve(EVENT, SCORE)
    points = {"recall": recall, "precision": precision, "threshold": [*threshold, np.inf]}
    return pd.DataFrame(points).assign(**place(**where))


def precision_metrics(*models):
    row = {"metric": "average_precision", "method": "bootstrap", "level": "patient", "n": 10, "n_event": 4}
    row |= {"estimate": average_precision_score(EVENT, SCORE), "lower": 0.5, "upper": 1.0}
    return pd.DataFrame([row | place(model) for model in models]).reindex(columns=list(METRIC_COLUMNS))


def straight_lines(axes):
    return [line for line in axes.lines if len(set(line.get_ydata())) == 1]


def legend(axes):
    return [text.get_text() for text in [axes.get_legend().get_title(), *axes.get_legend().get_texts()]]


def test_the_area_under_the_drawn_steps_is_the_average_precision():
    axes = precision_recall_figure(curve().sample(frac=1, random_state=0), precision_metrics("plain")).axes[0]

    drawn = next(line for line in axes.lines if line.get_drawstyle() == "steps-pre")
    recall, precision = drawn.get_data()
    assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(average_precision_score(EVENT, SCORE))


def test_the_line_of_a_worthless_model_stands_at_the_prevalence():
    axes = precision_recall_figure(curve(), precision_metrics("plain")).axes[0]

    assert straight_lines(axes)[0].get_ydata()[0] == 0.4
    assert axes.texts[0].get_text() == "prevalence 0.40"


def test_the_legend_of_a_precision_recall_curve_gives_average_precision_and_interval():
    axes = precision_recall_figure(curve(), precision_metrics("plain"), level=0.9).axes[0]

    # By hand: recall rises by 1/4 at precisions 1, 2/3, 3/5 and 4/7.
    assert legend(axes) == ["Average precision (90% CI), n = 10", "0.710 (0.500–1.000)  plain"]


def test_curves_of_single_folds_are_fainter_than_their_mean():
    folds = [curve(partition="out_of_fold", fold=fold) for fold in ("0", "1", "mean")]

    axes = precision_recall_figure(pd.concat(folds), precision_metrics()).axes[0]

    widths = [(line.get_linewidth(), line.get_alpha()) for line in axes.lines if line.get_drawstyle() == "steps-pre"]
    assert widths == [(0.6, 0.3), (0.6, 0.3), (1.5, None)]


def test_controls_are_grey_thin_under_the_models_and_last_in_the_legend(roc, metrics):
    control = roc[roc["model"] == "plain"].assign(model="control_volume")

    axes = roc_figure(pd.concat([control, roc]), metrics).axes[0]

    names = [label.split("  ")[1] for label in legend(axes)[1:]]
    assert names == ["plain", "deep", "control_volume"]
    curves = axes.lines[1:]  # the first line is chance
    assert to_hex(curves[0].get_color()) == CONTROL_COLOURS[0]
    assert curves[0].get_linewidth() < curves[1].get_linewidth()


def test_no_more_than_eight_curves_are_drawn_and_the_rest_is_said(roc, metrics):
    held_out = roc[(roc["model"] == "plain") & (roc["partition"] == "held_out")]
    many = pd.concat([held_out.assign(model=f"model {number}") for number in range(11)])

    figure = roc_figure(many, metrics)

    assert len(legend(figure.axes[0])) == 1 + 8
    assert figure.texts[0].get_text() == "3 further models are not drawn; the table has their numbers."


def test_a_table_without_a_precision_recall_curve_is_refused():
    with pytest.raises(ValueError, match="there is no precision-recall curve to draw"):
        precision_recall_figure(curve().iloc[:0], precision_metrics("plain"))
