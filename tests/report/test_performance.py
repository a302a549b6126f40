from dataclasses import replace

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
