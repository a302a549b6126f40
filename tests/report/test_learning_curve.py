import pandas as pd
import pytest

from radnet.report.figures.learning import learning_figure
from radnet.report.learning_curve import shown_learning_curve
from radnet.report.plots.learning import learning_plots

CURVE = pd.DataFrame(  # as read from disk: every cell a text, an empty one where one draw was made
    {
        "n": ["40", "10", "20"],
        "partition": "held_out",
        "metric": "auc",
        "estimate": ["0.8", "0.6", "0.7"],
        "lower": ["0.7", "0.45", "0.6"],
        "upper": ["0.9", "0.75", "0.8"],
        "lowest": ["", "0.35", "0.65"],
        "highest": ["", "0.8", "0.75"],
    }
)


def test_the_line_rises_with_the_patients_learned_from():
    (axes,) = learning_figure(CURVE).axes

    line = next(one for one in axes.lines if one.get_label() == "mean of the draws")
    assert line.get_xdata().tolist() == [10, 20, 40]
    assert line.get_ydata().tolist() == [0.6, 0.7, 0.8]
    assert axes.get_ylabel() == "AUC"
    assert axes.get_ylim()[0] < 0.35
    assert axes.get_figure().get_figwidth() <= 85 / 25.4


def test_the_panel_on_the_page_shows_the_same_numbers():
    (plot,) = learning_plots(CURVE)

    lower, upper, draws, mean = plot.spec["data"]
    assert (mean["x"], mean["y"]) == ([10, 20, 40], [0.6, 0.7, 0.8])
    assert (lower["y"], upper["y"]) == ([0.45, 0.6, 0.7], [0.75, 0.8, 0.9])
    assert draws["x"] == [10, 10, None, 20, 20, None]
    assert plot.label == "Held-out"


def test_a_curve_without_draws_has_no_bars():
    (plot,) = learning_plots(CURVE.drop(columns=["lowest", "highest"]))

    assert len(plot.spec["data"]) == 3
    assert not learning_figure(CURVE.drop(columns=["lowest", "highest"])).axes[0].get_legend_handles_labels()[1][2:]


def test_a_run_without_a_curve_has_no_row():
    assert shown_learning_curve(None).empty
    with pytest.raises(ValueError, match="no point of a learning curve to draw"):
        learning_figure(shown_learning_curve(None))
