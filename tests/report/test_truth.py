from dataclasses import replace

import pytest

from radnet.report.truth import truth_tables


@pytest.fixture(name="known")
def _known():
    """What a simulated cohort's truth file holds of its AUCs."""
    return {
        "file": "truth/truth.json",
        "oracle_auc": {
            "image": {"auc": 0.7994, "se": None, "formula": "closed_form"},
            "image_and_drivers": {"auc": 0.8390, "se": 0.0003, "formula": "monte_carlo"},
        },
        "sample_oracle_auc": {
            "all": {"image": {"auc": 0.7619, "se": 0.0610, "formula": "sample"}},
            "held_out": {"image": {"auc": 0.7232, "se": 0.1152, "formula": "sample"}},
        },
        "reader_auc": {"auc": 0.5893, "se": 0.1259, "formula": "sample", "fitted_on": "train", "judged_on": "held_out"},
    }


def tables_of(evaluation, truth):
    return truth_tables(replace(evaluation, about={"truth": truth}))


def table_of(evaluation, truth):
    (table,) = tables_of(evaluation, truth)
    return table


def test_each_source_is_a_row_and_each_set_of_patients_a_column(evaluation, known):
    table = table_of(evaluation, known)

    assert table.columns == ["Source", "Expected", "All patients", "Held-out"]
    assert table.rows == [
        ["Image", "0.799", "0.762 (SE 0.061)", "0.723 (SE 0.115)"],
        ["Image and drivers", "0.839", "–", "–"],
        ["Reader", "–", "–", "0.589 (SE 0.126)"],
    ]
    assert table.note == ""


def test_without_held_out_patients_the_reader_is_judged_on_those_in_training(evaluation, known):
    del known["sample_oracle_auc"]["held_out"]
    known["reader_auc"]["judged_on"] = "train"

    table = table_of(evaluation, known)

    assert table.columns == ["Source", "Expected", "All patients", "Training"]
    assert table.rows[-1] == ["Reader", "–", "–", "0.589 (SE 0.126)"]


def test_an_auc_that_was_not_estimated_is_a_dash_with_its_reason(evaluation, known):
    known["reader_auc"] = {"auc": None, "se": None, "formula": "not estimated: there are no images"}

    table = table_of(evaluation, known)

    assert table.rows[-1] == ["Reader", "–", "–", "–"]
    assert table.note == "Reader not estimated: there are no images"


@pytest.mark.parametrize("truth", [None, {}, {"file": "truth/truth.json"}])
def test_a_cohort_of_which_no_auc_is_known_has_no_table(evaluation, truth):
    assert tables_of(evaluation, truth) == []


def test_a_cohort_of_times_has_a_table_of_c_indices(evaluation):
    """As the preset ``wang`` leaves it: no AUC is known, and of one source nothing but what is expected."""
    truth = {
        "oracle_auc": {},
        "oracle_c_index": {
            "image": {"c_index": 0.6234, "se": 0.0008, "formula": "monte_carlo"},
            "latent": {"c_index": 0.6380, "se": 0.0002, "formula": "monte_carlo"},
        },
        "sample_oracle_c_index": {"held_out": {"image": {"c_index": 0.5306, "se": 0.0429, "formula": "sample"}}},
        "reader_c_index": {"c_index": 0.5533, "se": 0.0465, "fitted_on": "train", "judged_on": "held_out"},
    }

    table = table_of(evaluation, truth)

    assert table.caption == "C-index of each source's oracle, and of the reader"
    assert table.columns == ["Source", "Expected", "Held-out"]
    assert table.rows == [
        ["Image", "0.623 (SE 0.001)", "0.531 (SE 0.043)"],
        ["Latent", "0.638", "–"],
        ["Reader", "–", "0.553 (SE 0.046)"],
    ]


def test_a_cohort_of_classes_and_times_has_both_tables(evaluation, known):
    known["oracle_c_index"] = {"rate": {"c_index": 0.612, "se": None, "formula": "monte_carlo"}}

    captions = [table.caption for table in tables_of(evaluation, known)]

    assert [caption.split(" of ")[0] for caption in captions] == ["AUC", "C-index"]
