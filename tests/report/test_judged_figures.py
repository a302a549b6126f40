"""Figures of calibration, decisions, subgroups, models and lesions: what is drawn is what the tables say."""

import base64
import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from radnet.report.figures.calibration import calibration_figure
from radnet.report.figures.decision import decision_figure, impact_figure
from radnet.report.figures.forest import forest_figure
from radnet.report.figures.hand import save_figure
from radnet.report.figures.importance import importance_figure
from radnet.report.figures.lesions import lesion_weight_figure
from radnet.report.figures.nomogram import nomogram_figure
from radnet.report.figures.survival import km_figure
from radnet.report.forest import model_rows, subgroup_rows
from radnet.report.plots.calibration import calibration_plots
from radnet.report.plots.decision import decision_plots, impact_plots
from radnet.report.plots.forest import forest_plots
from radnet.report.plots.importance import importance_plots
from radnet.report.plots.lesions import lesion_weight_plots
from radnet.report.plots.nomogram import nomogram_plots
from radnet.report.reading import typed
from radnet.tables import METRIC_COLUMNS

PLACE = {"endpoint": "response", "model": "deep", "partition": "held_out", "centre": ""}
HOSTILE = "_<b>$\\frac{</script> with a name that goes on and on and on"


def calibration_table(**changed):
    curve = pd.DataFrame({"probability": [0.1, 0.5, 0.9], "observed": [0.2, 0.5, 0.8], "kind": "curve"})
    curve = curve.assign(lower=curve["observed"] - 0.1, upper=curve["observed"] + 0.1)
    groups = pd.DataFrame(
        {"probability": [0.2, 0.7], "observed": [0.25, 0.6], "lower": [0.1, 0.4], "upper": [0.5, 0.9]}
    )
    table = pd.concat([curve, groups.assign(kind="groups", n=20)], ignore_index=True)
    return table.assign(**PLACE, horizon=np.nan).assign(**changed)


def probability_scores():
    table = pd.DataFrame({"probability": [0.01, 0.01, 0.51, 0.99], "event": [0, 0, 1, 1], "score": 0.0, "cutoff": 0.5})
    return table.assign(**PLACE)


def decision_table(models=("deep",)):
    threshold = np.arange(1, 100) / 100
    tables = []
    for place, model in enumerate(models):
        benefit = 0.4 - 0.4 * threshold - 0.01 * place
        curve = pd.DataFrame({"threshold": threshold, "net_benefit": benefit, "lower": benefit - 0.1})
        curve = curve.assign(upper=benefit + 0.1, net_benefit_all=0.4 - 0.6 * threshold / (1 - threshold))
        curve = curve.assign(high_risk=1000 * (1 - threshold), true_positive=400 * (1 - threshold))
        tables.append(curve.assign(**PLACE | {"model": model}, horizon=np.nan))
    return pd.concat(tables, ignore_index=True)


def numbers(*rows):
    known = {**PLACE, "level": "patient", "n": 40, "n_event": 15}
    return pd.DataFrame([{**known, **row} for row in rows]).reindex(columns=list(METRIC_COLUMNS))


def subgroup_metrics():
    area = {"metric": "auc", "method": "delong"}
    return numbers(
        {**area, "subgroup": "sex=f", "estimate": 0.8, "lower": 0.7, "upper": 0.9, "n": 20, "n_event": 7},
        {**area, "subgroup": "sex=m", "estimate": 0.6, "lower": 0.4, "upper": 0.8, "n": 20, "n_event": 8},
        {"metric": "interaction", "subgroup": "sex", "estimate": 3.1, "p_value": 0.078},
        {**area, "estimate": 0.7, "lower": 0.6, "upper": 0.8},
        {**area, "centre": "B", "estimate": 0.99, "lower": 0.98, "upper": 1.0},
    )


def regression_table():
    known = {"analysis": "multivariable", "measure": "odds_ratio", "n": 60, "n_event": 24, "note": "", "level": ""}
    rows = [
        {**known, "analysis": "univariable", "variable": "age", "estimate": 9.0, "lower": 8.0, "upper": 10.0},
        {**known, "variable": "age", "estimate": 1.02, "lower": 1.01, "upper": 1.03, "p_value": 0.003},
        {**known, "variable": "stage", "level": "I", "estimate": 1.0, "note": "reference"},
        {**known, "variable": "stage", "level": "II", "estimate": 8.0, "lower": 2.0, "upper": 90.0, "p_value": 0.0002},
        {**known, "variable": "lost", "estimate": np.nan, "note": "no estimate"},
    ]
    return pd.DataFrame(rows)


def nomogram_table():
    rows = [("variable", "age", str(age), 10.0 * step, None) for step, age in enumerate(range(20, 95, 5))]
    rows += [
        ("variable", "stage", level, point, None) for level, point in (("early", 0.0), ("late", 30.0), ("?", 33.0))
    ]
    rows += [("total_points", "", f"{total}", float(total), np.nan) for total in range(0, 201, 20)]
    rows += [("probability", "", f"{chance}", point, np.nan) for chance, point in ((0.1, 40.0), (0.5, 100.0))]
    return pd.DataFrame(rows, columns=["axis", "variable", "value", "points", "time"])


def importance_table():
    rows = [{"kind": "feature", "name": f"f{place}", "importance": place / 100} for place in range(20)]
    rows += [{"kind": "branch", "name": "radiomics", "importance": 0.3}]
    table = pd.DataFrame(rows).assign(partition="held_out", method="permutation")
    return table.assign(lower=table["importance"] - 0.01, upper=table["importance"] + 0.01)


def lesion_table():
    rows = [(1, 1, "liver", 0.7), (1, 2, "lung", 0.3), (2, 1, "lung", 0.6), (2, 2, "", 0.4), (3, 1, "lung", 1.0)]
    table = pd.DataFrame(rows, columns=["patient", "lesion", "site", "weight"])
    return table.assign(**PLACE, event=table["patient"].eq(1).astype(float), score=0.0)


def km_table():
    curve = pd.DataFrame({"time": [100.0, 400.0], "survival": [0.8, 0.4], "lower": [0.6, 0.2], "upper": [0.9, 0.6]})
    curve = curve.assign(at_risk=[10, 5], events=[2, 3], censored=[0, 2], time_unit="days", **PLACE)
    return pd.concat([curve.assign(group=group) for group in ("low", "high")], ignore_index=True)


def km_metrics():
    return numbers(
        {"metric": "km_median", "group": "low", "estimate": np.nan, "lower": 420.0},
        {"metric": "km_median", "group": "high", "estimate": 218.0, "lower": 197.0, "upper": 291.0},
        {"metric": "logrank", "estimate": 20.0, "p_value": 0.0491},
        {"metric": "hazard_ratio", "group": "high_vs_low", "estimate": 2.08, "lower": 1.52, "upper": 2.85},
    )


def figures(rename=lambda table: table):
    metrics = subgroup_metrics()
    return {
        "calibration": calibration_figure(rename(calibration_table()), rename(probability_scores()), metrics),
        "decision": decision_figure(rename(decision_table(("deep", "plain", "control_volume")))),
        "impact": impact_figure(rename(decision_table()), metrics),
        "forest": forest_figure(subgroup_rows(rename(metrics))),
        "multivariable": forest_figure(model_rows(rename(regression_table()))),
        "nomogram": nomogram_figure(rename(nomogram_table())),
        "importance": importance_figure(rename(importance_table())),
        "lesion_weights": lesion_weight_figure(rename(lesion_table())),
        "km": km_figure(rename(km_table()), km_metrics()),
    }


def line(axes, label):
    return next(one for one in axes.lines if one.get_label() == label).get_xydata()


def words(axes):
    return [text.get_text() for text in axes.texts]


def hostile(table):
    names = {"model": "deep", "variable": "age", "name": "f19", "site": "liver"}
    return table.replace({column: {name: HOSTILE} for column, name in names.items() if column in table})


@pytest.mark.parametrize("rename", [lambda table: table, hostile], ids=["plain names", "hostile names"])
def test_no_word_of_a_figure_is_cut_off_at_its_edge(rename):
    for name, figure in figures(rename).items():
        figure.canvas.draw()
        renderer, edge = figure.canvas.get_renderer(), figure.bbox

        for text in figure.texts + [text for axes in figure.axes for text in written_around(axes)]:
            box = text.get_window_extent(renderer)
            inside = box.x0 >= -1 and box.x1 <= edge.x1 + 1 and box.y0 >= -1 and box.y1 <= edge.y1 + 1
            assert inside or not text.get_text(), f"{name}: {text.get_text()!r} at {box}"


def written_around(axes):
    legend = axes.get_legend().get_texts() if axes.get_legend() else []
    labels = [axes.xaxis.label, axes.yaxis.label] if axes.axison else []
    return [*axes.texts, axes._left_title, *labels, *legend]


def test_figures_of_one_panel_fit_a_column_and_are_not_blank(tmp_path):
    for name, figure in figures().items():
        save_figure(figure, tmp_path, name)

        assert figure.get_figwidth() <= 85 / 25.4 + 0.01, name
        assert imread(tmp_path / f"{name}.png")[..., :3].std() > 0.01, name


def test_a_calibration_panel_shows_its_curve_its_groups_and_their_intervals():
    one_centre = calibration_table(centre="B", observed=0.0)
    axes = calibration_figure(
        pd.concat([calibration_table(), one_centre]),
        probability_scores(),
        numbers(
            {"metric": "calibration_slope", "estimate": 0.951, "lower": 0.734, "upper": 1.166},
            {"metric": "ici", "estimate": 0.031, "method": "loess"},
        ),
    ).axes[0]

    np.testing.assert_allclose(axes.lines[1].get_xydata(), [(0.1, 0.2), (0.5, 0.5), (0.9, 0.8)])
    (dots,) = [one.lines[0].get_xydata() for one in axes.containers]
    np.testing.assert_allclose(dots, [(0.2, 0.25), (0.7, 0.6)])
    (bars,) = [one.lines[2][0].get_segments() for one in axes.containers]
    np.testing.assert_allclose(bars, [[(0.2, 0.1), (0.2, 0.5)], [(0.7, 0.4), (0.7, 0.9)]])
    assert words(axes) == ["Slope 0.95 (0.73–1.17)\nICI 0.03"]


def test_the_strip_counts_patients_with_the_event_upwards_and_the_others_downwards():
    strip = calibration_figure(calibration_table(), probability_scores(), numbers({})).axes[0].child_axes[0]

    heights = [(round(bar.get_x(), 2), bar.get_height()) for bar in strip.patches if bar.get_height()]
    assert heights == [(0.5, 1), (0.98, 1), (0, -2)]


def test_risk_by_a_horizon_says_so_on_both_axes():
    survival = calibration_table(horizon=365.0).query("kind == 'groups'")

    axes = calibration_figure(survival, probability_scores().drop(columns="probability"), numbers({})).axes[0]
    plot = calibration_plots(typed(survival), typed(numbers({})))[0]

    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted risk by 365", "Observed risk by 365")
    assert plot.label == "response by 365 · deep · Held-out"


def test_a_decision_curve_stands_beside_acting_on_everybody_and_on_nobody():
    table = decision_table(("deep", "plain"))
    axes = decision_figure(table).axes[0]

    deep = table[table["model"] == "deep"]
    np.testing.assert_allclose(line(axes, "deep"), deep[["threshold", "net_benefit"]])
    np.testing.assert_allclose(line(axes, "act on everybody"), deep[["threshold", "net_benefit_all"]])
    np.testing.assert_allclose(line(axes, "act on nobody")[:, 1], 0)
    np.testing.assert_allclose(axes.get_ylim(), (-0.2 * 0.396, 1.15 * 0.396))  # the best is 0.4 − 0.4 × 0.01


def test_bands_of_decision_curves_give_way_where_models_are_many():
    counts = [len(decision_figure(decision_table([f"m{n}" for n in range(k)])).axes[0].collections) for k in (2, 3)]

    assert counts == [2, 0]


def test_more_than_eight_decision_curves_are_counted_not_drawn():
    figure = decision_figure(decision_table([f"m{n}" for n in range(11)]))

    assert "3 further models" in figure.texts[0].get_text()
    assert sum(one.get_label().startswith("m") for one in figure.axes[0].lines) == 8


def test_the_bands_of_clinical_impact_are_the_intervals_of_the_metrics():
    impact = {"metric": "impact_high_risk", "estimate": 500}
    metrics = numbers(
        {**impact, "at": 0.5, "lower": 450, "upper": 560}, {**impact, "at": 0.6, "lower": 350, "upper": 460}
    )

    high_risk, _ = impact_figure(decision_table(), metrics).axes[0].collections

    corners = {tuple(corner) for corner in high_risk.get_paths()[0].vertices}
    assert {(0.5, 450), (0.5, 560), (0.6, 350), (0.6, 460)} <= corners


def test_a_forest_of_subgroups_begins_with_all_patients_and_gives_the_interaction_with_its_column():
    rows = subgroup_rows(subgroup_metrics())

    assert list(zip(rows["variable"], rows["level"], strict=True)) == [
        ("", ""),
        ("sex", ""),
        ("sex", "f"),
        ("sex", "m"),
    ]
    np.testing.assert_array_equal(rows["estimate"], [0.7, np.nan, 0.8, 0.6])
    np.testing.assert_array_equal(rows["p_interaction"], [np.nan, 0.078, np.nan, np.nan])
    written = words(forest_figure(rows).axes[0])
    assert {"All patients", "15/40", "0.70 (0.60–0.80)", "sex", ".078", "   f", "7/20"} <= set(written)


def test_a_forest_of_survival_shows_the_hazard_ratio_per_sd_not_that_of_the_risk_groups():
    ratio = {"metric": "hazard_ratio", "method": "cox_efron", "endpoint": "os"}
    metrics = numbers(
        *({**ratio, "subgroup": name, "group": "per_sd", "estimate": 1.5} for name in ("", "sex=f")),
        *({**ratio, "subgroup": name, "group": "high_vs_low", "estimate": 3.0} for name in ("", "sex=f")),
    )

    rows = subgroup_rows(metrics)

    np.testing.assert_array_equal(rows["estimate"].dropna(), [1.5, 1.5])
    assert set(rows["measure"]) == {"hazard_ratio_per_sd", ""}


def test_without_subgroups_there_is_no_forest():
    assert subgroup_rows(numbers({"metric": "auc", "estimate": 0.7})).empty
    assert model_rows(None).empty


def test_a_forest_of_a_model_names_its_reference_and_points_beyond_its_axis():
    rows = model_rows(regression_table())

    axes = forest_figure(rows).axes[0]

    assert list(rows["variable"]) == ["age", "stage", "stage", "stage"]  # what has no estimate is left out
    assert {"1.020 (1.010–1.030)", ".003", "1 (reference)", "8.00 (2.00–90.00)", "< .001"} <= set(words(axes))
    assert axes.get_xscale() == "log"
    assert [one.get_marker() for one in axes.lines if one.get_marker() in "<>"] == [">"]  # 90 lies beyond 20


def test_a_nomogram_sets_each_value_over_its_points_and_totals_over_their_chance():
    axes = nomogram_figure(nomogram_table()).axes[0]

    places = {text.get_text(): text.get_position()[0] for text in axes.texts}
    assert places["late"] == pytest.approx(0.3 * 100 / 140)  # the longest ruler, age, ends at 140 points
    assert places["0.5"] == pytest.approx(100 / 200)  # of 200 points in total
    rows = [text.get_text() for text in axes.texts if text.get_ha() == "right"]
    assert rows == ["Points", "age", "stage", "Total points", "Probability"]


def test_levels_of_a_category_are_all_named_and_numbers_never_overlap():
    figure = nomogram_figure(nomogram_table())
    figure.canvas.draw()
    texts = [text for text in figure.axes[0].texts if text.get_ha() == "center"]
    boxes = [text.get_window_extent(figure.canvas.get_renderer()) for text in texts]

    assert {"early", "late", "?"} <= {text.get_text() for text in texts}
    overlapping = [
        (texts[one].get_text(), texts[other].get_text())
        for one in range(len(boxes))
        for other in range(one)
        if boxes[one].overlaps(boxes[other])
    ]
    assert overlapping == []


def test_importance_shows_the_largest_fifteen_of_a_kind_and_says_of_how_many():
    axes = importance_figure(importance_table()).axes[0]

    written = words(axes)
    assert written[:2] == ["Branches", "radiomics"]
    assert written[2:5] == ["Features (largest 15 of 20)", "f19", "f18"]
    assert len(written) == 2 + 1 + 15
    panels = importance_plots(importance_table())
    assert [panel.label for panel in panels] == ["Held-out · Branches", "Held-out · Features (largest 15 of 20)"]


def test_lesions_stack_to_one_in_patients_who_have_several():
    axes = lesion_weight_figure(lesion_table()).axes[0]

    bars = [(round(bar.get_x() + bar.get_width() / 2), bar.get_y(), bar.get_height()) for bar in axes.patches]
    np.testing.assert_allclose(bars, [(0, 0, 0.7), (0, 0.7, 0.3), (1, 0, 0.6), (1, 0.6, 0.4)])
    assert words(axes) == ["1 with one lesion not shown"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["lung", "liver", "other site"]


def test_survival_curves_carry_medians_log_rank_test_and_hazard_ratio_of_the_metrics():
    axes = km_figure(km_table(), km_metrics()).axes[0]

    legend = axes.get_legend()
    assert legend.get_title().get_text() == "Median (95% CI), days"
    assert [text.get_text() for text in legend.get_texts()] == ["Low risk  not reached", "High risk  218 (197–291)"]
    assert "log-rank p = .049\nhazard ratio 2.08 (1.52–2.85)" in words(axes)


def test_without_a_cutoff_the_curve_is_of_all_patients():
    everybody = km_table().query("group == 'low'").assign(group="")

    axes = km_figure(everybody, numbers({"metric": "km_median", "estimate": 310.0})).axes[0]

    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["All patients  310"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: calibration_figure(calibration_table().iloc[:0], probability_scores(), numbers({})),
        lambda: decision_figure(decision_table().iloc[:0]),
        lambda: impact_figure(decision_table().iloc[:0], numbers({})),
        lambda: forest_figure(subgroup_rows(numbers({}))),
        lambda: nomogram_figure(nomogram_table().iloc[:0]),
        lambda: importance_figure(importance_table().iloc[:0]),
        lambda: lesion_weight_figure(lesion_table().query("patient == 3")),
    ],
    ids=["calibration", "decision", "impact", "forest", "nomogram", "importance", "lesions"],
)
def test_a_table_without_rows_is_refused(draw):
    with pytest.raises(ValueError, match="there is no .* to draw"):
        draw()


def test_interactive_panels_show_the_same_numbers_as_print():
    decision, weights = typed(decision_table(("deep", "control_volume"))), typed(lesion_table())
    metrics = typed(subgroup_metrics())

    curve = calibration_plots(typed(calibration_table()), metrics)[0].spec["data"]
    benefit = decision_plots(decision)[0].spec["data"]
    impact = impact_plots(decision, metrics)
    forest = forest_plots(subgroup_rows(metrics))[0].spec
    rulers = nomogram_plots(nomogram_table())[0].spec["data"]
    lesions = lesion_weight_plots(weights)[0].spec["data"]

    assert list(decoded(curve[3]["x"])) == [0.1, 0.5, 0.9]
    assert [trace["name"] for trace in benefit if "name" in trace][-4:] == [
        "deep",
        "control_volume",
        "act on everybody",
        "act on nobody",
    ]
    assert [panel.label for panel in impact] == ["response · deep · Held-out"]  # a control has no panel
    assert forest["data"][0]["text"] == ["0.70 (0.60–0.80)", "0.80 (0.70–0.90)", "0.60 (0.40–0.80)"]
    assert forest["layout"]["yaxis"]["ticktext"] == ["All patients", "<b>sex</b>", "f", "m"]
    assert rulers[-1]["x"] == [0.2, 0.5]
    assert sorted(weight for trace in lesions for weight in list(decoded(trace["y"]))) == [0.3, 0.4, 0.6, 0.7]


def decoded(values):
    """Read an array as Plotly writes it: a list, or base64 of its bytes."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"])
    return np.asarray(values)


def test_names_are_harmless_in_interactive_panels():
    families = [
        decision_plots(typed(hostile(decision_table()))),
        forest_plots(model_rows(hostile(regression_table()))),
        nomogram_plots(hostile(nomogram_table())),
        importance_plots(hostile(importance_table())),
        lesion_weight_plots(typed(hostile(lesion_table()))),
    ]

    for family in families:
        shown = "".join(json.dumps(dict(panel.spec), ensure_ascii=False) for panel in family)
        assert "</script>" not in shown
        assert "$" not in shown
        assert "&lt;/script&gt;" in shown
