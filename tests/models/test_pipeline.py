import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

from radnet.models.pipeline import AtLeast, ClinicalEncoder, Clip, LogShift, pipeline


def table():
    return pd.DataFrame({"age": [50.0, np.nan, 70.0], "subtype": ["a", "b", None], "surgery": [0.0, 1.0, 1.0]})


def test_missing_values_take_the_training_median_and_the_commonest_category():
    encoder = ClinicalEncoder().fit(pd.DataFrame({"age": [50.0, 60.0, 90.0], "subtype": ["a", "b", "b"]}))

    made = encoder.transform(pd.DataFrame({"age": [np.nan], "subtype": [None]}))

    assert encoder.get_feature_names_out() == ["age", "subtype_b"]
    assert made.tolist() == [[60.0, 1.0]]


def test_a_category_unseen_in_training_counts_as_the_first():
    encoder = ClinicalEncoder().fit(table())

    made = encoder.transform(table().assign(subtype="new"))

    assert encoder.get_feature_names_out() == ["age", "subtype_b", "surgery"]
    assert made[:, 1].tolist() == [0.0, 0.0, 0.0]


def test_a_column_empty_in_training_is_named():
    with pytest.raises(ValueError, match="clinical column age is empty for every training patient"):
        ClinicalEncoder().fit(pd.DataFrame({"age": [np.nan, np.nan], "sex": ["m", "f"]}))


def test_other_columns_than_those_of_training_are_refused():
    with pytest.raises(ValueError, match=r"clinical columns are \['age'\], trained on"):
        ClinicalEncoder().fit(table()).transform(table()[["age"]])


def test_a_word_where_training_had_numbers_is_named():
    encoder = ClinicalEncoder().fit(table())

    with pytest.raises(ValueError, match="clinical column age held numbers in training and now holds 'old'"):
        encoder.transform(table().assign(age=["old", "50", None]))


def test_a_step_set_to_null_is_left_out():
    assert list(pipeline({"scale": StandardScaler(), "clip": None}).named_steps) == ["scale"]
    with pytest.raises(ValueError, match="at least one step"):
        pipeline({"scale": None})


def test_clip_holds_values_within_its_limit():
    assert Clip(2.0).fit_transform(np.array([[-9.0, 1.0], [3.0, -1.5]])).tolist() == [[-2.0, 1.0], [2.0, -1.5]]


def test_at_least_is_one_from_the_value_on():
    made = AtLeast(10).fit_transform(np.array([[9.99, 0.0], [10.0, 40.0]]))

    assert made.tolist() == [[0.0, 0.0], [1.0, 1.0]]


def test_a_level_is_the_same_as_a_number_and_as_text():
    encoder = ClinicalEncoder().fit(pd.DataFrame({"grade": [1.0, 2.0, "3b", 2.0]}, dtype=object))

    assert encoder.get_feature_names_out() == ["grade_2", "grade_3b"]
    assert encoder.transform(pd.DataFrame({"grade": [1.0, 2.0, 2.0]})).tolist() == [[0, 0], [1, 0], [1, 0]]
    assert encoder.transform(pd.DataFrame({"grade": ["1", "2", "3b"]})).tolist() == [[0, 0], [1, 0], [0, 1]]


def test_a_shifted_logarithm_is_that_of_the_distance_to_the_least_of_training():
    step = LogShift().fit(np.array([[-3.0, 10.0], [0.0, 11.0], [np.e - 4, 1009.0]]))

    made = step.transform(np.array([[-3.0, 10.0], [np.e - 4, 1009.0]]))

    np.testing.assert_allclose(made, [[0.0, 0.0], [1.0, np.log(1000.0)]], rtol=1e-14, atol=0)


@pytest.mark.parametrize("below", [-1e-9, -0.999, -1.0, -50.0])
def test_a_value_below_all_of_training_counts_as_their_least(below):
    step = LogShift().fit(np.array([[5.0], [8.0]]))

    assert step.transform(np.array([[5.0 + below]])).tolist() == [[0.0]]


def test_a_shifted_logarithm_keeps_the_order_of_values():
    values = np.random.default_rng(0).normal(size=(50, 1))
    made = LogShift().fit(values[:20]).transform(np.sort(values, axis=0))

    assert (np.diff(made[:, 0]) >= 0).all()


def test_of_a_column_of_0_and_1_it_changes_nothing_that_standardising_does_not():
    column = np.array([[0.0], [1.0], [1.0], [0.0], [0.0]])

    logged = StandardScaler().fit_transform(LogShift().fit_transform(column))

    np.testing.assert_allclose(logged, StandardScaler().fit_transform(column), rtol=1e-14)


def test_a_logarithm_of_what_is_missing_is_refused():
    with pytest.raises(ValueError, match="column 1 is nan in row 0: a logarithm needs numbers"):
        LogShift().fit(np.array([[1.0, np.nan]]))
