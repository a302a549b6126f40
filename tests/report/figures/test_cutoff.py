import numpy as np
import pandas as pd
import pytest

from radnet.report.figures.cutoff import confusion_counts, confusion_figure, cutoff_search, cutoff_search_figure
from radnet.report.reading import typed
from radnet.tables import METRIC_COLUMNS

PLACE = {"endpoint": "response", "model": "m", "partition": "held_out", "centre": ""}


def rates(sensitivity, specificity, n, n_event, **place):
    row = PLACE | {"level": "patient", "n": n, "n_event": n_event, "at": 0.4, "method": "clopper_pearson"} | place
    rows = [
        row | {"metric": "sensitivity", "estimate": sensitivity},
        row | {"metric": "specificity", "estimate": specificity},
    ]
    return typed(pd.DataFrame(rows).reindex(columns=list(METRIC_COLUMNS)))


def counts(confusion):
    return {(row.event, row.called): row.patients for row in confusion.itertuples()}


@pytest.mark.parametrize(
    ("tp", "fp", "fn", "tn"), [(19, 9, 5, 36), (75, 64, 25, 72), (10, 0, 4, 12), (14, 5, 0, 12), (0, 0, 8, 12)]
)
def test_the_four_counts_are_those_behind_sensitivity_and_specificity(tp, fp, fn, tn):
    metrics = rates(tp / (tp + fn), tn / (tn + fp), tp + fp + fn + tn, tp + fn)

    confusion = confusion_counts(metrics)

    assert counts(confusion) == {(1, 1): tp, (1, 0): fn, (0, 1): fp, (0, 0): tn}
    assert confusion["cutoff"].tolist() == [0.4] * 4
    assert confusion.groupby("event")["share"].sum().tolist() == pytest.approx([1, 1])


def test_counts_that_are_means_over_repeats_keep_their_fraction():
    confusion = confusion_counts(rates(0.7, 0.75, n=20, n_event=5, at=np.nan))  # 3.5 of 5 and 11.25 of 15

    assert counts(confusion) == {(1, 1): 3.5, (1, 0): 1.5, (0, 1): 3.75, (0, 0): 11.25}
    texts = {text.get_text() for text in confusion_figure(confusion).axes[0].texts}
    assert {"3.5", "70%", "75%"} <= texts


def test_where_nobody_had_the_event_there_is_nobody_to_count():
    confusion = confusion_counts(rates(np.nan, 0.7, n=10, n_event=0))

    assert counts(confusion) == {(1, 1): 0, (1, 0): 0, (0, 1): 3, (0, 0): 7}
    assert "–" in {text.get_text() for text in confusion_figure(confusion).axes[0].texts}


def test_a_model_judged_at_no_cutoff_has_no_counts(metrics):
    assert confusion_counts(typed(metrics[metrics["metric"] == "auc"])).empty


def roc_of_three(**place):
    """Scores 1, 2 and 3, the last two with the event, at the midpoints between them."""
    points = {"threshold": [np.inf, 2.5, 1.5, -np.inf], "fpr": [0.0, 0.0, 0.0, 1.0], "tpr": [0.0, 0.5, 1.0, 1.0]}
    return pd.DataFrame(points).assign(**(PLACE | {"fold": "", "repeat": ""} | place))


def scores_of_three(cutoff, **place):
    known = pd.DataFrame({"score": [1.0, 2.0, 3.0], "event": [0, 1, 1], "cutoff": cutoff})
    return known.assign(**(PLACE | {"fold": "", "repeat": ""} | place))


def test_each_threshold_has_its_sensitivity_specificity_and_youden_index():
    search = cutoff_search(typed(roc_of_three()), typed(scores_of_three(1.8)))

    assert search["sensitivity"].tolist() == [0, 0.5, 1, 1]
    assert search["specificity"].tolist() == [1, 1, 1, 0]
    assert search["youden"].tolist() == [0, 0.5, 1, 0]
    assert search["cutoff"].tolist() == [1.8] * 4


def test_each_fold_keeps_its_own_cutoff_and_means_over_folds_are_left_out():
    parts = [{"partition": "out_of_fold", "fold": fold} for fold in ("0", "1")]
    mean = roc_of_three(partition="out_of_fold", fold="mean").assign(threshold=np.nan)
    roc = pd.concat([*(roc_of_three(**part) for part in parts), mean, roc_of_three(centre="A", **parts[0])])
    scores = pd.concat([scores_of_three(cutoff, **part) for cutoff, part in zip((1.2, 2.2), parts, strict=True)])

    search = cutoff_search(typed(roc), typed(scores))

    assert search.groupby("fold")["cutoff"].unique().map(list).to_dict() == {"0": [1.2], "1": [2.2]}
    assert len(search) == 8


def test_the_cutoff_in_use_is_marked_and_the_curves_end_within_the_panel():
    axes = cutoff_search_figure(cutoff_search(typed(roc_of_three()), typed(scores_of_three(1.8)))).axes[0]

    dashed = [line for line in axes.lines if set(line.get_xdata()) == {1.8}]
    assert len(dashed) == 1
    assert axes.texts[0].get_text() == "cut-off 1.8"
    assert all(np.isfinite(line.get_xdata()).all() for line in axes.lines)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["Sensitivity", "Specificity", "Youden index"]


def test_scores_that_are_all_alike_leave_no_cutoff_to_search():
    roc = roc_of_three().assign(threshold=[np.inf, np.inf, -np.inf, -np.inf])

    figure = cutoff_search_figure(cutoff_search(typed(roc), typed(scores_of_three(1.8))))

    assert not figure.axes[0].axison


@pytest.mark.parametrize("draw", [confusion_figure, cutoff_search_figure])
def test_a_table_without_rows_is_refused(draw):
    with pytest.raises(ValueError, match="there is no .* to draw"):
        draw(pd.DataFrame())
