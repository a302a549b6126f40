import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection

from radnet.report.figures.scores import above_cutoff, score_figure, waterfall_figure
from radnet.report.reading import typed


def table(**columns):
    names = {"endpoint": "e", "model": "m", "partition": "held_out", "centre": "A", "fold": "", "repeat": ""}
    return typed(pd.DataFrame(columns).assign(**{name: names[name] for name in names if name not in columns}))


def test_patients_are_sorted_by_their_distance_from_the_cutoff_of_their_fold():
    scores = table(score=[1.0, 5.0, 3.0], cutoff=[0.5, 7.0, 1.0], event=[0, 1, 1], fold=["0", "1", "0"])

    sorted_scores = above_cutoff(scores)

    assert sorted_scores["above_cutoff"].tolist() == [2.0, 0.5, -2.0]
    assert sorted_scores["place"].tolist() == [1, 2, 3]
    assert sorted_scores["event"].tolist() == [1, 0, 1]


def test_each_patient_stands_once_though_the_cross_validation_was_repeated():
    scores = table(score=[1.0, 2.0, 3.0, 4.0], cutoff=0.0, event=[0, 1, 0, 1], repeat=["0", "0", "1", "1"])

    assert above_cutoff(scores)["score"].tolist() == [2.0, 1.0]


def test_patients_of_unknown_outcome_or_without_a_cutoff_are_in_no_waterfall():
    scores = table(score=[1.0, 2.0, 3.0], cutoff=[0.0, 0.0, np.nan], event=[1, np.nan, 1])

    assert above_cutoff(scores)["score"].tolist() == [1.0]


def test_models_keep_their_order_and_count_their_own_patients():
    scores = table(score=[1.0, 2.0, 9.0], cutoff=0.0, event=[1, 0, 1], model=["b", "b", "a"])

    sorted_scores = above_cutoff(scores)

    assert sorted_scores["model"].tolist() == ["b", "b", "a"]
    assert sorted_scores["place"].tolist() == [1, 2, 1]


@pytest.mark.parametrize("patients", [4, 250], ids=["few", "many"])
def test_a_bar_reaches_from_the_cutoff_to_the_score_in_the_colour_of_the_outcome(patients):
    score = np.linspace(3, -3, patients)
    scores = table(score=score, cutoff=0.0, event=np.arange(patients) % 2)

    axes = waterfall_figure(above_cutoff(scores)).axes[0]

    bars = [found for found in axes.collections if isinstance(found, PolyCollection)]
    of_no_event, of_event = bars[0], bars[2]  # each is followed by its strip
    assert [path.vertices[1, 1] for path in of_no_event.get_paths()] == score[0::2].tolist()
    assert [path.vertices[1, 1] for path in of_event.get_paths()] == score[1::2].tolist()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        f"No event (n = {patients // 2})",
        f"Event (n = {patients // 2})",
    ]


@pytest.mark.parametrize("draw", [score_figure, lambda scores: waterfall_figure(above_cutoff(scores))])
def test_controls_get_no_panel_of_their_own_and_the_figure_says_so(draw, scores):
    control = scores[scores["model"] == "plain"].assign(model="control_volume")

    figure = draw(typed(pd.concat([control, scores])))

    titles = [axes.get_title(loc="left").split("\n")[0] for axes in figure.axes if axes.axison]
    assert set(titles) == {"response · plain", "response · deep"}
    assert figure.texts[0].get_text() == "Not drawn: controls; the table has their numbers."


def test_a_table_without_a_score_above_or_below_a_cutoff_is_refused(scores):
    with pytest.raises(ValueError, match="there is no score with a cut-off to draw"):
        waterfall_figure(above_cutoff(typed(scores.assign(cutoff=np.nan))))
