import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from radnet.report.figures.discrimination import roc_figure
from radnet.report.figures.hand import save_figure
from radnet.report.figures.scores import score_figure
from radnet.report.figures.survival import km_figure


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes if axes.axison]


def legend(axes):
    return [text.get_text() for text in [axes.get_legend().get_title(), *axes.get_legend().get_texts()]]


def drawings(roc, metrics, scores, km):
    """Draw one model of the three kinds of figure, as six panels more would only take time."""
    roc, scores, km = (table[table["model"] == "plain"] for table in (roc, scores, km))
    return {"roc": roc_figure(roc, metrics), "scores": score_figure(scores), "km": km_figure(km, metrics)}


def test_held_out_is_drawn_first_then_out_of_fold_then_apparent(roc, metrics):
    figure = roc_figure(roc, metrics)

    assert titles(figure) == ["Held-out", "Out-of-fold", "Apparent"]


def test_the_legend_of_a_roc_curve_gives_auc_interval_and_patients_from_the_metrics(roc, metrics):
    held_out, out_of_fold, _ = roc_figure(roc, metrics).axes

    assert legend(held_out) == [
        "AUC (95% CI), n = 40",
        "0.733 (0.624–0.841)  plain",
        "0.761 (0.658–0.863)  deep",
    ]
    assert legend(out_of_fold)[1] == "0.804 (0.701–0.893)  plain"  # only the bootstrap is there


def test_models_tried_on_different_patients_each_say_how_many(roc, metrics):
    metrics.loc[metrics["model"] == "deep", "n"] = 39

    held_out = roc_figure(roc, metrics).axes[0]

    assert [label.rsplit(", ")[-1] for label in legend(held_out)[1:]] == ["n = 40", "n = 39"]


def test_a_roc_curve_without_an_auc_is_drawn_with_a_dash(roc, metrics):
    held_out = roc_figure(roc, metrics[metrics["metric"] != "auc"]).axes[0]

    assert legend(held_out)[1] == "–  plain"


def test_roc_curves_of_single_centres_are_left_out(roc, metrics):
    one_centre = roc.assign(centre="B", fpr=0.5)

    with_centres = roc_figure(pd.concat([roc, one_centre]), metrics)

    assert [len(axes.lines) for axes in with_centres.axes] == [
        len(axes.lines) for axes in roc_figure(roc, metrics).axes
    ]


def test_a_name_that_matplotlib_would_hide_or_typeset_is_shown_as_it_stands(roc, metrics, tmp_path):
    name = "_$\\frac{$"

    figure = roc_figure(roc.replace({"model": {"plain": name}}), metrics.replace({"model": {"plain": name}}))
    save_figure(figure, tmp_path, "roc")

    assert legend(figure.axes[0])[1].endswith(name)


def test_a_survival_curve_begins_with_everybody_event_free_and_says_who_is_at_risk(km, metrics):
    axes = km_figure(km, metrics).axes[0]
    low = next(line for line in axes.lines if line.get_label() == "Low risk")

    np.testing.assert_allclose(low.get_xydata()[0], [0, 1])
    np.testing.assert_allclose(low.get_xydata()[-1], [8, 0.8 * 2 / 3])
    written = [text.get_text() for text in axes.texts]
    assert written[:3] == ["At risk", "Low", "5"]


def test_the_time_axis_carries_the_unit_of_the_table(km, metrics):
    without, months = km_figure(km, metrics), km_figure(km.assign(time_unit="months"), metrics)

    assert without.axes[0].get_xlabel() == "Time"
    assert {axes.get_xlabel() for axes in months.axes} == {"Time (months)"}


def test_scores_are_shown_with_their_cutoffs_and_without_patients_of_unknown_outcome(scores):
    figure = score_figure(scores)

    held_out, out_of_fold = figure.axes[:2]
    assert [label.get_text() for label in held_out.get_xticklabels()] == ["No event\nn = 10", "Event\nn = 9"]
    assert held_out.texts[0].get_text() == "cut-off\n0.4"
    assert out_of_fold.texts[0].get_text() == "2\ncut-offs"


@pytest.mark.parametrize("score", [[0.5], [0.5, 0.5, 0.5]], ids=["one patient", "all alike"])
def test_scores_without_a_spread_can_be_drawn(score, tmp_path):
    scores = pd.DataFrame({"score": score}).assign(endpoint="e", model="m", partition="held_out", event=1, cutoff=0.5)

    save_figure(score_figure(scores), tmp_path, "scores")

    assert (tmp_path / "scores.png").is_file()


@pytest.mark.parametrize(
    "draw", [lambda table: roc_figure(table, table), score_figure, lambda table: km_figure(table, table)]
)
def test_a_table_without_rows_is_refused(draw, roc, metrics, scores, km):
    columns = {*roc, *metrics, *scores, *km}

    with pytest.raises(ValueError, match="there is no .* to draw"):
        draw(pd.DataFrame(columns=sorted(columns)))


def test_each_figure_is_written_in_three_formats_and_is_not_blank(roc, metrics, scores, km, tmp_path):
    for name, figure in drawings(roc, metrics, scores, km).items():
        save_figure(figure, tmp_path, name)

        assert imread(tmp_path / f"{name}.png")[..., :3].std() > 0.01
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert len(list(ET.parse(tmp_path / f"{name}.svg").iter("{http://www.w3.org/2000/svg}path"))) > 20


def test_the_same_numbers_give_the_same_bytes(roc, metrics, scores, km, tmp_path):
    for folder in ("once", "again"):
        for name, figure in drawings(roc, metrics, scores, km).items():
            save_figure(figure, tmp_path / folder, name)

    written = sorted((tmp_path / "once").iterdir())
    assert len(written) == 9
    for path in written:
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
    assert b"CreationDate" not in (tmp_path / "once" / "roc.pdf").read_bytes()
