from dataclasses import replace

import pandas as pd
import pytest

from radnet.report.performance import centre_tables, comparison_tables, performance_tables


def test_rates_are_percentages_and_a_median_beyond_follow_up_is_not_reached(evaluation):
    cells = {cell for table in performance_tables(evaluation) for row in table.rows for cell in row}

    assert {"66.7% (38.4–88.2)", "6.1 (4.2–9.3)", "not reached", "p < .001"} <= cells


def test_each_endpoint_has_a_table_per_partition_held_out_first(evaluation):
    captions = [table.caption for table in performance_tables(evaluation)]

    assert captions == [
        f"{endpoint}: {partition}"
        for endpoint in ("response", "pfs")
        for partition in ("Held-out", "Out-of-fold", "Apparent (the model learned from these patients)")
    ]


def test_the_note_names_the_method_of_each_number(evaluation):
    held_out, out_of_fold, *_ = performance_tables(evaluation)

    assert held_out.note == "Methods: AUC by DeLong; Sensitivity by Clopper–Pearson"
    assert out_of_fold.note == "Methods: AUC by bootstrap over patients; Sensitivity by Clopper–Pearson"


def test_medians_carry_the_unit_of_time_where_it_is_known(evaluation):
    months = replace(evaluation, km=evaluation.km.assign(time_unit="months"))

    assert performance_tables(evaluation)[-1].columns[-2:] == ["Median, low risk", "Median, high risk"]
    assert performance_tables(months)[-1].columns[-2:] == ["Median, low risk (months)", "Median, high risk (months)"]


def test_centres_are_sorted_and_have_tables_of_their_own(evaluation):
    [table] = centre_tables(evaluation)

    assert table.rows == [[centre, "deep", "20", "–", "0.700 (0.500–0.900)"] for centre in ("B", "Z")]


def test_a_comparison_names_its_models_p_value_and_method(evaluation):
    [table] = comparison_tables(evaluation)

    assert table.rows == [["Held-out", "deep − plain", "40", "−0.028 (−0.091 to 0.035)", "p = .384", "DeLong, paired"]]


@pytest.mark.parametrize("tables", [performance_tables, centre_tables, comparison_tables])
def test_numbers_of_subgroups_lesions_and_horizons_are_left_out_of_the_tables(tables, evaluation, grown):
    def unnoted(evaluation):
        return [replace(table, note="") for table in tables(evaluation)]

    assert unnoted(grown) == unnoted(evaluation)


def test_the_best_method_of_a_comparison_is_shown_and_folds_have_theirs(evaluation):
    held_out = evaluation.metrics[evaluation.metrics["metric"] == "auc_difference"]
    worse = held_out.assign(method="bootstrap", estimate=0.5)
    folds = held_out.assign(partition="out_of_fold", method="corrected_t", estimate=0.01)
    several = replace(evaluation, metrics=pd.concat([worse, evaluation.metrics, folds], ignore_index=True))

    [table] = comparison_tables(several)

    assert [(row[0], row[3][:6], row[-1]) for row in table.rows] == [
        ("Held-out", "−0.028", "DeLong, paired"),
        ("Out-of-fold", "0.010 ", "corrected resampled t-test over folds"),
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "the frozen cut-off, which was fixed on training patients"),
        ({"cutoff": "fixed", "allow_refit_cutoff": True}, "a cut-off that was asked for"),
        ({"cutoff": "youden"}, "a cut-off fitted by youden on scores of training patients"),
        (
            {"cutoff": "youden", "allow_refit_cutoff": True},
            "a cut-off fitted by youden on the very patients it judges, which flatters it",
        ),
    ],
)
def test_a_reader_is_told_where_the_cutoffs_come_from(evaluation, settings, words):
    assert replace(evaluation, about={"evaluation": settings}).cutoff_words == words
