from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f

import oracle
from oracle import cases
from radnet.evaluation.agreement.intraclass import FORMS, icc
from radnet.evaluation.agreement.table import AGREEMENT_COLUMNS, agreement_table

FILE = "07_icc.json"
REGULAR = ["shrout_fleiss_1979", "irr_anxiety", "sim30x2_intra", "sim30x3_bias", "tiny_3x2"]
IRR = dict(
    zip(
        FORMS,
        (
            "ICC1_oneway_single",
            "ICC2_A1_twoway_agreement_single",
            "ICC3_C1_twoway_consistency_single",
            "ICC1k_oneway_average",
            "ICC2k_Ak_agreement_average",
            "ICC3k_Ck_consistency_average",
        ),
        strict=True,
    )
)
PSYCH = dict(zip(FORMS, ("ICC1", "ICC2", "ICC3", "ICC1k", "ICC2k", "ICC3k"), strict=True))
every_form = pytest.mark.parametrize("form", FORMS)


of_r = partial(cases, FILE)


def readings(case):
    return np.asarray(case["inputs"]["ratings_subjects_by_raters"], dtype=float)


def close(ours, theirs):
    oracle.close(np.ravel(ours), np.ravel(theirs))


@every_form
@of_r(*REGULAR, "negative_icc")
def test_icc_its_interval_and_test_equal_psych(case, form):
    theirs = case["outputs"]["psych_ICC_lmerFALSE"][PSYCH[form]]
    if abs(theirs["icc"]) > 1e15:  # what rounding leaves of a division by 0
        theirs |= dict.fromkeys(("icc", "lower", "upper"), -np.inf)

    ours = icc(readings(case), form, level=0.95)

    close(ours.icc, theirs["icc"])
    close([ours.lower, ours.upper], [theirs["lower"], theirs["upper"]])
    close([ours.f, ours.df1, ours.df2], [theirs["F"], theirs["df1"], theirs["df2"]])
    close(ours.p_value, theirs["p"])
    assert ours.n == case["outputs"]["psych_ICC_lmerFALSE"]["n_obs"]


@every_form
@of_r(*REGULAR, "negative_icc", "missing_cells")
def test_icc_its_interval_and_test_equal_irr(case, form):
    theirs = case["outputs"]["irr_icc"][IRR[form]]

    ours = icc(readings(case), form, level=0.95)

    close(ours.icc, theirs["icc"])
    close([ours.f, ours.df1], [theirs["F"], theirs["df1"]])
    if form != "ICC(2,k)":  # irr puts the correlation of the mean where the paper's formula has that of one reading
        close([ours.lower, ours.upper], [theirs["lower"], theirs["upper"]])
        close(ours.interval_df, theirs["df2"])
        close(f.sf(ours.f, ours.df1, ours.interval_df), theirs["p"])


@every_form
@of_r("perfect_agreement", "constant_offset")
def test_icc_without_error_equals_r_where_r_gives_a_number(case, form):
    irr, psych = case["outputs"]["irr_icc"][IRR[form]], case["outputs"]["psych_ICC_lmerFALSE"][PSYCH[form]]

    ours = icc(readings(case), form, level=0.95)

    close([ours.icc, ours.icc], [irr["icc"], psych["icc"]])
    close([ours.lower, ours.upper], [psych["lower"], psych["upper"]])
    for known, bound in ((irr["lower"], ours.lower), (irr["upper"], ours.upper), (irr["p"], ours.p_value)):
        if not np.isnan(known):
            close(bound, known)
    assert ours.f == irr["F"]  # psych's is the 1e30 that rounding leaves


@every_form
@of_r("all_equal")
def test_icc_of_a_feature_that_never_varies_is_nan_as_in_irr(case, form):
    assert np.isnan(case["outputs"]["irr_icc"][IRR[form]]["icc"])  # psych's 1e-16 is rounding

    ours = icc(readings(case), form, level=0.95)

    assert np.isnan([ours.icc, ours.lower, ours.upper, ours.f, ours.p_value]).all()


@of_r("shrout_fleiss_1979")
def test_icc_equals_the_table_of_shrout_and_fleiss(case):
    ours = [icc(readings(case), form, level=0.95).icc[0] for form in FORMS]

    assert np.round(ours, 2).tolist() == [0.17, 0.29, 0.71, 0.44, 0.62, 0.91]


@pytest.fixture
def cube():
    rng = np.random.default_rng(6)
    values = rng.normal(size=(12, 1, 5)) + 0.5 * rng.normal(size=(12, 3, 5)) + np.array([0, 0.3, -0.2])[:, None]
    values[rng.random(values.shape) < 0.05] = np.nan
    return values


@every_form
def test_features_are_estimated_together_as_each_by_itself(cube, form):
    together = icc(cube, form, level=0.9)

    for feature in range(cube.shape[2]):
        alone = icc(cube[:, :, feature], form, level=0.9)
        for name in ("icc", "lower", "upper", "f", "df1", "df2", "interval_df", "p_value", "n"):
            close(getattr(together, name)[feature], getattr(alone, name))


@every_form
def test_icc_does_not_depend_on_unit_or_origin_or_order_of_lesions(cube, form):
    ours, other = icc(cube, form, level=0.95), icc(1e4 + 3e-3 * cube[::-1], form, level=0.95)

    np.testing.assert_allclose(other.icc, ours.icc, rtol=1e-7)
    np.testing.assert_allclose(other.lower, ours.lower, rtol=1e-6)


def test_consistency_overlooks_what_a_reader_adds_and_agreement_does_not(cube):
    shifted = cube + np.array([0.0, 5.0, -5.0])[:, None]

    close(icc(shifted, "ICC(3,1)", 0.95).icc, icc(cube, "ICC(3,1)", 0.95).icc)
    assert (icc(shifted, "ICC(2,1)", 0.95).icc < icc(cube, "ICC(2,1)", 0.95).icc).all()


def test_bounds_of_the_mean_of_k_are_those_of_one_reading_by_spearman_and_brown(cube):
    for kind in "123":
        one, mean = icc(cube, f"ICC({kind},1)", 0.95), icc(cube, f"ICC({kind},k)", 0.95)
        for name in ("icc", "lower", "upper"):
            single = getattr(one, name)
            close(getattr(mean, name), 3 * single / (1 + 2 * single))


def test_interval_of_the_one_way_icc_leaves_out_0_as_its_test_tells():
    rng = np.random.default_rng(9)
    values = 0.4 * rng.normal(size=(15, 1, 300)) + rng.normal(size=(15, 2, 300))

    ours = icc(values, "ICC(1,1)", level=0.9)  # its lower bound is that of a one-sided test at 5 %

    np.testing.assert_array_equal(ours.lower > 0, ours.p_value < 0.05)


def test_interval_covers_the_icc_the_data_are_drawn_with():
    rng = np.random.default_rng(10)
    values = rng.normal(size=(20, 1, 2000)) + 0.5 * rng.normal(size=(20, 2, 2000))  # 1 / (1 + 0.25) = 0.8

    ours = icc(values, "ICC(1,1)", level=0.95)

    covered = np.mean((ours.lower <= 0.8) & (ours.upper >= 0.8))
    assert covered == pytest.approx(0.95, abs=0.015)  # three standard errors


@pytest.mark.parametrize(
    ("values", "form", "message"),
    [
        ([[1.0], [2.0]], "ICC(2,1)", r"readers \(2 or more\) × features, got the shape \(2, 1, 1\)"),
        ([[1.0, 2.0]], "ICC(2,1)", "needs two lesions with all 2 readings, but 1 of 1 have them"),
        ([[1.0, np.nan], [2.0, 3.0]], "ICC(2,1)", "needs two lesions with all 2 readings, but 1 of 2 have them"),
        ([[1.0, 2.0], [2.0, 3.0]], "ICC(2)", r"form must be one of ICC\(1,1\), .* got 'ICC\(2\)'"),
    ],
    ids=["one reader", "one lesion", "one complete", "form"],
)
def test_what_has_no_icc_is_told(values, form, message):
    with pytest.raises(ValueError, match=message):
        icc(values, form, level=0.95)


def test_a_feature_measured_too_seldom_is_nan_beside_the_others(cube):
    cube[1:, 0, 2] = np.nan
    cube[5, 1, 3] = np.inf

    ours = icc(cube, "ICC(2,1)", level=0.95)

    assert np.isnan(ours.icc).tolist() == [False, False, True, False, False]
    assert ours.n[2] <= 1
    assert ours.n[3] == np.isfinite(cube[:, :, 3]).all(axis=1).sum()


def features(rows, values):
    """Rows of patient, lesion, region, channel, reader, repeat; values of two features."""
    keys = pd.DataFrame(rows, columns=["patient_id", "lesion_id", "region", "channel", "reader", "repeat"])
    return keys.assign(status="ok", glcm=np.asarray(values)[:, 0], shape=np.asarray(values)[:, 1])


def measured(lesions, readers=("1",), repeats=("1",), region="lesion", channel="image", seed=0):
    rng = np.random.default_rng(seed)
    rows = [
        (f"P{lesion}", "L1", region, channel, reader, repeat)
        for lesion in lesions
        for reader in readers
        for repeat in repeats
    ]
    truth = {lesion: rng.normal(size=2) for lesion in lesions}
    return features(rows, [truth[int(row[0][1:])] + 0.3 * rng.normal(size=2) for row in rows])


def by_hand(table, form, column):
    """The correlation of a table's readings in the order of patients, one column a reader."""
    wide = table.pivot_table(index="patient_id", columns=column, values="glcm").dropna()
    return icc(wide.to_numpy(), form, 0.95).icc[0], len(wide)


@every_form
def test_table_compares_the_readers_of_each_region_and_channel(form):
    lesion = measured(range(10), readers=("1", "2"))
    ring = measured(range(8), readers=("1", "2"), region="ring", channel="PET", seed=1)

    table = agreement_table(pd.concat([lesion, ring], ignore_index=True))

    assert tuple(table.columns) == AGREEMENT_COLUMNS
    assert len(table) == 2 * len(FORMS) * 2
    for part, region, channel in ((lesion, "lesion", "image"), (ring, "ring", "PET")):
        of = table[(table["region"] == region) & (table["channel"] == channel) & (table["form"] == form)]
        assert of["feature"].tolist() == ["glcm", "shape"]
        value, n = by_hand(part, form, "reader")
        close(of["icc"].iloc[0], value)
        assert of["n"].tolist() == [n, n]
        assert (of["lower"] < of["icc"]).all()
        assert (of["icc"] < of["upper"]).all()


def test_lesions_read_once_and_failed_rows_do_not_count():
    twice, once = measured(range(10), readers=("1", "2")), measured(range(20, 60), seed=2)
    table = pd.concat([twice, once], ignore_index=True)
    table.loc[1, ["status", "glcm", "shape"]] = ["mask is empty", np.nan, np.nan]

    ours = agreement_table(table, forms=("ICC(2,1)",))

    value, n = by_hand(twice.drop(index=[0, 1]), "ICC(2,1)", "reader")
    close(ours["icc"].iloc[0], value)
    assert (ours["n"] == n).all()
    assert n == 9


def test_readers_are_compared_by_their_first_repeat():
    table = measured(range(10), readers=("1", "2"), repeats=("shifted", "1"))

    ours = agreement_table(table, forms=("ICC(2,1)",))

    close(ours["icc"].iloc[0], by_hand(table[table["repeat"] == "1"], "ICC(2,1)", "reader")[0])


def test_repeats_are_compared_where_one_reader_measured_or_when_asked_for():
    both = measured(range(10), readers=("2", "1"), repeats=("1", "2", "3"))
    first = both[both["reader"] == "1"]

    asked, alone = agreement_table(both, across="repeat"), agreement_table(first)

    pd.testing.assert_frame_equal(asked, alone)
    close(asked.loc[asked["form"] == "ICC(3,1)", "icc"].iloc[0], by_hand(first, "ICC(3,1)", "repeat")[0])
    assert (asked["n"] == 10).all()


PERTURBED = ("1", "rotate_5deg", "noise_1")


def test_perturbations_are_compared_with_the_original_where_one_reader_delineated_once():
    table = measured(range(10), repeats=PERTURBED)

    ours = agreement_table(table, forms=("ICC(2,1)",))

    value, n = by_hand(table, "ICC(2,1)", "repeat")
    close(ours["icc"].iloc[0], value)
    assert (ours["n"] == n).all()
    assert n == 10


@pytest.mark.parametrize("by_hand_too", [{"readers": ("1", "2")}, {"repeats": ("1", "2")}], ids=["readers", "repeats"])
def test_what_is_perturbed_is_not_mixed_with_what_was_delineated_twice(by_hand_too):
    twice, perturbed = measured(range(10), **by_hand_too), measured(range(10), repeats=PERTURBED, seed=5)
    table = pd.concat([perturbed[perturbed["repeat"] != "1"], twice], ignore_index=True)

    pd.testing.assert_frame_equal(agreement_table(table), agreement_table(twice))
    original = twice[(twice["reader"] == "1") & (twice["repeat"] == "1")]
    alone = pd.concat([perturbed[perturbed["repeat"] != "1"], original], ignore_index=True)
    pd.testing.assert_frame_equal(agreement_table(table, across="perturbation"), agreement_table(alone))


def test_an_original_counts_once_whatever_its_repeat_is_called():
    table = measured(range(10), repeats=("first", "rotate_5deg"))
    table.loc[table["patient_id"].isin(["P0", "P1"]) & (table["repeat"] == "first"), "repeat"] = "1"

    ours = agreement_table(table, forms=("ICC(2,1)",))

    assert (ours["n"] == 10).all()


def test_readers_of_other_hospitals_do_not_take_lesions_from_those_who_read_together():
    together = measured(range(10), readers=("A", "B"))
    elsewhere = measured(range(20, 50), readers=("C",), seed=3)
    pair = measured(range(60, 63), readers=("A", "C"), seed=4)

    ours = agreement_table(pd.concat([together, elsewhere, pair], ignore_index=True), forms=("ICC(2,1)",))

    close(ours["icc"].iloc[0], by_hand(together, "ICC(2,1)", "reader")[0])
    assert (ours["n"] == 10).all()


def test_a_channel_measured_once_has_rows_that_say_so():
    table = pd.concat([measured(range(10), readers=("1", "2")), measured(range(10), channel="PET")], ignore_index=True)

    ours = agreement_table(table, forms=("ICC(2,1)",)).set_index("channel")

    assert (ours.loc["PET", "n"] == 0).all()
    assert ours.loc["PET", ["icc", "lower", "upper"]].isna().all(axis=None)
    assert ours.loc["image", "icc"].notna().all()


def test_1130_features_of_30_lesions_and_2_readers_take_less_than_a_second():
    rng = np.random.default_rng(0)
    keys = measured(range(30), readers=("1", "2")).drop(columns=["glcm", "shape"])
    values = pd.DataFrame(rng.normal(size=(60, 1130)), columns=[f"feature_{index}" for index in range(1130)])

    table = agreement_table(pd.concat([keys, values], axis=1))

    assert len(table) == 1130 * len(FORMS)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (measured(range(5)), "no region and channel has them: 1 readers and 1 repeats are named"),
        (measured(range(1), readers=("1", "2")), "needs two lesions measured by more than one reader or repeat"),
        (measured(range(5)).drop(columns="reader"), "a table of features needs the columns reader"),
        (measured(range(5)).drop(columns=["glcm", "shape"]), "the table has no feature beside its keys"),
        (measured(range(5)).assign(status="failed"), "no row has status ok among 5"),
    ],
    ids=["read once", "one lesion", "no column", "no feature", "all failed"],
)
def test_what_a_table_lacks_is_told(table, message):
    with pytest.raises(ValueError, match=message):
        agreement_table(table)


def test_readings_are_compared_across_readers_repeats_or_perturbations_only():
    with pytest.raises(ValueError, match="across must be reader, repeat or perturbation, got 'centre'"):
        agreement_table(measured(range(5)), across="centre")
