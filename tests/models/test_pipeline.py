import numpy as np
import pandas as pd
import pytest
from sklearn.impute import MissingIndicator
from sklearn.preprocessing import StandardScaler
from skops.io import dump

from radnet.models.pipeline import AtLeast, ClinicalEncoder, Clip, LogShift, pipeline
from radnet.predictors.frozen import load_steps


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


def test_what_is_missing_stands_beside_its_column_where_training_lacked_it():
    encoder = ClinicalEncoder(missing_indicators=True).fit(table())

    made = encoder.transform(table())

    assert encoder.get_feature_names_out() == ["age", "age_missing", "subtype_b", "subtype_missing", "surgery"]
    assert made.tolist() == [[50, 0, 0, 0, 0], [60, 1, 1, 0, 1], [70, 0, 0, 1, 1]]


def test_a_value_that_nobody_lacked_in_training_is_filled_in_and_not_told_of():
    encoder = ClinicalEncoder(missing_indicators=True).fit(table())

    made = encoder.transform(table().assign(surgery=np.nan))

    assert made[:, -1].tolist() == [1, 1, 1]  # the median of 0, 1, 1
    assert made.shape[1] == 5


def test_indicators_agree_with_scikit_learns():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(80, 4))
    values[rng.random(size=values.shape) < [0.3, 0.0, 0.1, 0.5]] = np.nan
    train, others = (pd.DataFrame(part, columns=list("abcd")) for part in (values[:40], values[40:]))
    others.loc[0, "b"] = np.nan  # which nobody lacked in training

    encoder = ClinicalEncoder(missing_indicators=True).fit(train)
    made = pd.DataFrame(encoder.transform(others), columns=encoder.get_feature_names_out())

    theirs = MissingIndicator(features="missing-only", error_on_new=False).fit(train)
    told = [name for name in made if name.endswith("_missing")]
    assert told == ["a_missing", "c_missing", "d_missing"]
    np.testing.assert_array_equal(made[told], theirs.transform(others))
    plain = ClinicalEncoder().fit(train).transform(others)
    np.testing.assert_array_equal(made.drop(columns=told), plain)


def test_without_indicators_nothing_tells_of_what_is_missing():
    assert ClinicalEncoder().fit(table()).get_feature_names_out() == ["age", "subtype_b", "surgery"]


def test_a_column_of_one_category_that_is_sometimes_missing_has_its_indicator_alone():
    encoder = ClinicalEncoder(missing_indicators=True).fit(pd.DataFrame({"sex": ["F", None, "F"]}))

    assert encoder.get_feature_names_out() == ["sex_missing"]
    assert encoder.made_of("sex") == ["sex_missing"]


@pytest.mark.parametrize(
    "clinical",
    [{"her2": ["0", "missing", None]}, {"age": [50.0, 60.0, np.nan], "age_missing": [0.0, 0.0, 1.0]}],
    ids=["a category", "a column"],
)
def test_an_indicator_that_has_the_name_of_something_else_is_refused(clinical):
    with pytest.raises(ValueError, match="(her2|age)_missing would stand for a category or column and for its being"):
        ClinicalEncoder(missing_indicators=True).fit(pd.DataFrame(clinical))


def test_an_encoder_with_indicators_is_kept_as_lists_and_numbers(tmp_path):
    encoder = ClinicalEncoder(missing_indicators=True).fit(table())

    dump(encoder, tmp_path / "clinical.skops")
    kept = load_steps(tmp_path / "clinical.skops")

    assert kept.get_feature_names_out() == encoder.get_feature_names_out()
    assert kept.transform(table()).tolist() == encoder.transform(table()).tolist()
    assert _kinds(vars(encoder)) <= {dict, list, str, float, bool}


def test_an_encoder_saved_before_there_were_indicators_still_encodes(tmp_path):
    encoder = ClinicalEncoder().fit(table())
    made = encoder.transform(table()).tolist()
    del encoder.lacking_, encoder.missing_indicators

    dump(encoder, tmp_path / "clinical.skops")

    assert load_steps(tmp_path / "clinical.skops").transform(table()).tolist() == made


def _kinds(value):
    """The types that a value is made of."""
    inside = [*value.keys(), *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return {type(value)}.union(*(_kinds(one) for one in inside))


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
