from io import BytesIO

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from oracle import cases, close
from radnet.cohort import FEATURE_KEYS, FeatureTable
from radnet.evaluation.agreement.reproducible import Reproducible

INDEX = ["patient_id", "lesion_id", "reader", "repeat"]


def delineations(cube, readers=None, repeats=None, start=0):
    """A matrix of delineations from values of shape (lesions, delineations, features), patients from ``start`` on."""
    lesions, times, features = cube.shape
    readers, repeats = readers or ["1"] * times, repeats or ["1"] * times
    keys = [
        (f"P{start + lesion:03}", "L1", readers[one], repeats[one]) for lesion in range(lesions) for one in range(times)
    ]
    names = [f"f{feature}" for feature in range(features)]
    return pd.DataFrame(cube.reshape(-1, features), pd.MultiIndex.from_tuples(keys, names=INDEX), names)


def drawn(icc, lesions=80, times=2, seed=0):
    """Values whose variance between lesions is ``icc`` of the whole: readings differ by chance alone."""
    rng = np.random.default_rng(seed)
    icc = np.asarray(icc, dtype=float)
    between = rng.normal(size=(lesions, 1, icc.size)) * np.sqrt(icc)
    return between + rng.normal(size=(lesions, times, icc.size)) * np.sqrt(1 - icc)


def kept(selector, repeated):
    matrix = repeated.groupby(level=["patient_id", "lesion_id"]).first()
    return selector.learn(repeated).fit(matrix).get_feature_names_out().tolist()


READERS = {"readers": ["1", "2"]}
REPEATS = {"repeats": ["1", "2"]}
PERTURBED = {"repeats": ["1", "noise_1"]}


@pytest.mark.parametrize("among", [READERS, REPEATS, PERTURBED], ids=["readers", "repeats", "perturbations"])
def test_features_of_a_high_icc_are_kept_and_those_of_a_low_one_dropped(among):
    # An ICC of 0.95 (0.4) among 80 lesions is estimated with an SD of 0.01 (0.09).
    repeated = delineations(drawn([0.95] * 20 + [0.4] * 20), **among)

    assert kept(Reproducible(0.75), repeated) == [f"f{feature}" for feature in range(20)]


@cases("07_icc.json", "sim30x2_intra", "sim30x3_bias", "shrout_fleiss_1979")
@pytest.mark.parametrize(
    ("form", "theirs"),
    [("ICC(2,1)", "ICC2_A1_twoway_agreement_single"), ("ICC(3,1)", "ICC3_C1_twoway_consistency_single")],
)
def test_the_icc_learned_is_that_of_irr(case, form, theirs):
    ratings = np.asarray(case["inputs"]["ratings_subjects_by_raters"], dtype=float)
    readers = [str(reader + 1) for reader in range(ratings.shape[1])]

    learned = Reproducible(0.75, form).learn(delineations(ratings[:, :, None], readers))

    close(learned.icc_["reader"], [case["outputs"]["irr_icc"][theirs]["icc"]])
    assert learned.lesions_ == {"reader": len(ratings)}


def test_a_feature_must_be_reproducible_in_every_analysis_there_is_data_for():
    between = delineations(drawn([0.95, 0.95, 0.95, 0.2], seed=1), **READERS)
    within = delineations(drawn([0.95, 0.95, 0.2, 0.95], seed=2), **REPEATS, start=100)
    perturbed = delineations(drawn([0.95, 0.2, 0.95, 0.95], seed=3), **PERTURBED, start=200)

    assert kept(Reproducible(0.75), pd.concat([between, within])) == ["f0", "f1"]
    assert kept(Reproducible(0.75), pd.concat([between, within, perturbed])) == ["f0"]


def test_readers_and_repeats_and_perturbations_of_the_same_lesions_are_told_apart():
    truth = drawn([0.9] * 3, times=1)
    shift = np.array([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 5.0], [0.0, 0.0, -5.0]])
    repeated = delineations(truth + shift, ["1", "2", "1", "1", "1"], ["1", "1", "2", "rotate_5deg", "rotate_-5deg"])

    learned = Reproducible(0.75).learn(repeated)

    exact = {across: [value > 1 - 1e-9 for value in values] for across, values in learned.icc_.items()}
    assert exact == {
        "reader": [False, True, True],
        "repeat": [True, False, True],
        "perturbation": [True, True, False],
    }


def test_identical_readers_have_an_icc_of_1():
    learned = Reproducible(0.75).learn(delineations(np.repeat(drawn([0.5] * 4, times=1), 2, axis=1), **READERS))
    assert learned.icc_ == {"reader": [1.0] * 4}


@pytest.mark.parametrize(("strict", "wanted"), [(True, []), (False, ["f0"])], ids=["exceeds", "reaches"])
def test_an_icc_equal_to_the_minimum_is_kept_only_where_it_may_be(strict, wanted):
    repeated = delineations(np.repeat(drawn([0.5], times=1), 2, axis=1), **READERS)
    assert kept(Reproducible(1.0, strict=strict), repeated) == wanted


def test_the_order_of_lesions_and_columns_changes_nothing():
    repeated = delineations(drawn([0.9, 0.7, 0.5, 0.3], times=3), ["1", "2", "3"])
    rng = np.random.default_rng(0)
    patients = rng.permutation(repeated.index.get_level_values("patient_id").unique())
    shuffled = pd.concat([repeated.loc[[one]] for one in patients])[["f2", "f0", "f3", "f1"]]

    one, two = Reproducible(0.6).learn(repeated), Reproducible(0.6).learn(shuffled)

    icc = dict(zip(two.names_, two.icc_["reader"], strict=True))
    np.testing.assert_allclose([icc[name] for name in one.names_], one.icc_["reader"], rtol=1e-12)
    columns = repeated.groupby(level=[0, 1]).first()
    assert one.fit(columns).get_support().tolist() == two.fit(columns).get_support().tolist()


def test_lesions_delineated_once_and_rows_that_were_not_measured_do_not_count():
    twice = delineations(drawn([0.9, 0.5], lesions=20), **READERS)
    once = delineations(drawn([0.9, 0.5], lesions=50, times=1, seed=7) * 100, start=100)
    failed = delineations(np.full((5, 2, 2), np.nan), **READERS, start=200)

    learned = Reproducible(0.75).learn(pd.concat([once, twice, failed]))

    assert learned.icc_ == Reproducible(0.75).learn(twice).icc_
    assert learned.lesions_ == {"reader": 20}


def test_a_feature_that_never_varies_is_dropped():
    cube = drawn([0.95, 0.95])
    cube[:, :, 1] = 3.0
    assert kept(Reproducible(-1.0), delineations(cube, **READERS)) == ["f0"]


def test_the_declared_number_of_patients_is_drawn_by_the_seed():
    repeated = delineations(drawn([0.8], lesions=60), **READERS)

    def learned(seed):
        return Reproducible(0.75, patients=20, seed=seed).learn(repeated)

    assert learned(1).lesions_ == {"reader": 20}
    assert learned(1).icc_ == learned(1).icc_ != learned(2).icc_
    assert learned(1).note_ == ""


def test_few_lesions_are_told_and_used():
    few = delineations(drawn([0.9], lesions=7), **READERS)

    learned = Reproducible(0.75, patients=20).learn(few)

    assert learned.note_ == (
        "the ICC across readers is uncertain: it is that of 7 lesions delineated more than once; 20 patients were to "
        "be learned from, 7 were delineated twice"
    )
    assert learned.lesions_ == {"reader": 7}


def test_what_was_learned_chooses_columns_by_name_and_keeps_missing_values():
    learned = Reproducible(0.75).learn(delineations(drawn([0.95, 0.3, 0.95]), **READERS))
    columns = pd.DataFrame({"f2": [1.0, np.nan], "f1": [2.0, 3.0]})

    chosen = learned.fit(columns).set_output(transform="pandas").transform(columns)

    pd.testing.assert_frame_equal(chosen, columns[["f2"]])


def test_it_is_a_step_of_a_pipeline_and_stored_without_code():
    learned = Reproducible(0.75).learn(delineations(drawn([0.95, 0.3, 0.95]), **READERS))
    columns = pd.DataFrame(drawn([0.5] * 3, lesions=30)[:, 0], columns=["f0", "f1", "f2"])
    steps = Pipeline([("reproducible", learned), ("scale", StandardScaler())]).fit(columns)

    stored = BytesIO(skops.io.dumps(steps))
    own = f"{Reproducible.__module__}.{Reproducible.__qualname__}"
    assert skops.io.get_untrusted_types(file=stored) == [own]
    again = skops.io.loads(stored.getvalue(), trusted=[own])

    np.testing.assert_array_equal(again.transform(columns), steps.transform(columns))
    assert again["reproducible"].icc_ == learned.icc_


READ_TWICE = delineations(drawn([0.9]), **READERS)


@pytest.mark.parametrize(
    ("given", "repeated", "message"),
    [
        (
            {},
            delineations(drawn([0.9], times=1)),
            "of 80 there are 0: give a second reader or repeats in lesions.csv",
        ),
        ({}, delineations(drawn([0.9], lesions=1), **READERS), "of 1 there are 1: give a second reader"),
        (
            {},
            READ_TWICE.reset_index(drop=True),
            "features indexed by patient_id, lesion_id, reader, repeat;",
        ),
        ({"form": "ICC"}, READ_TWICE, "form must be one of"),
        ({"minimum": 75}, READ_TWICE, "minimum is an ICC, -1 to 1, got 75"),
        ({"patients": 0}, READ_TWICE, "patients must be 1 or more, or null for all, got 0"),
    ],
    ids=["read once", "one lesion", "index", "form", "minimum", "patients"],
)
def test_what_cannot_be_learned_from_is_told(given, repeated, message):
    with pytest.raises(ValueError, match=message):
        Reproducible(**{"minimum": 0.75, **given}).learn(repeated)


def test_columns_that_cannot_be_chosen_among_are_told():
    columns = pd.DataFrame({"f0": [1.0, 2.0], "ring__f0": [1.0, 2.0]})
    with pytest.raises(ValueError, match="no ICC is known yet: call learn with delineations of training lesions"):
        Reproducible(0.75).fit(columns)
    learned = Reproducible(0.75).learn(READ_TWICE)
    with pytest.raises(ValueError, match="of 1 of 2 features no lesion was measured twice, such as ring__f0"):
        learned.fit(columns)
    with pytest.raises(TypeError, match="X must be a table with named columns, got ndarray"):
        learned.fit(columns.to_numpy())


def test_the_matrix_of_delineations_is_what_is_learned_from():
    keys = [
        (f"P{patient}", "L1", region, "image", reader, "1")
        for patient in range(12)
        for reader in "12"
        for region in ("lesion", "ring")
    ]
    rows = pd.DataFrame(keys, columns=list(FEATURE_KEYS)).assign(status="ok")
    rows["mean"] = np.random.default_rng(0).normal(size=len(rows)) + 9 * rows["patient_id"].str[1:].astype(int)
    table = FeatureTable(rows)

    learned = Reproducible(0.75).learn(table.delineation_matrix(("lesion", "ring")))

    matrix = table.lesion_matrix(("lesion", "ring"))
    assert learned.fit(matrix).get_feature_names_out().tolist() == ["mean", "ring__mean"]
