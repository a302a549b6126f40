import json

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter, WeibullFitter
from lifelines.utils import concordance_index
from scipy.stats import chi2_contingency

from radnet.data.simulate import simulate, simulation_settings
from radnet.data.simulation.planted import plant
from radnet.data.simulation.recurrence import (
    dfs_scale_months,
    expected_event_share,
    free_of_disease,
    latent_from_image,
    oracle_c_indices,
)

MANY = {"n": 20_000, "images": False}


def wang(**knobs):
    return simulation_settings("wang", **knobs)


def z_score(found, expected, se):
    return abs(found - expected) / se


@pytest.fixture(scope="module")
def cohort():
    return plant(wang(**MANY))


@pytest.fixture(scope="module")
def patients(cohort):
    return cohort.patients


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Four patients with images."""
    folder = tmp_path_factory.mktemp("wang") / "cohort"
    simulate(wang(n=4), folder)
    return folder


def truth_of(folder):
    return json.loads((folder / "truth" / "truth.json").read_text(encoding="utf-8"))


def test_centres_and_splits_have_the_published_numbers():
    patients = plant(wang(images=False)).patients

    counts = patients.groupby(["centre", "split"]).size().to_dict()

    assert counts == {("B", "train"): 139, ("B", "held_out"): 139, ("C", "held_out"): 91}


def test_any_number_of_patients_is_dealt_by_the_published_shares(patients):
    shares = patients.groupby(["centre", "split"]).size() / len(patients)

    for group, published in ((("B", "train"), 139), (("B", "held_out"), 139), (("C", "held_out"), 91)):
        assert shares[group] == pytest.approx(published / 369, abs=2 / 20_000)


@pytest.mark.parametrize("signal", [0.0, 0.5, 1.5])
def test_three_of_four_are_free_of_disease_at_five_years(signal):
    some = plant(wang(signal=signal, seed=3, **MANY)).patients

    kaplan_meier = KaplanMeierFitter().fit(some["dfs_months"], some["dfs_event"])

    lower, upper = kaplan_meier.confidence_interval_.loc[:60.0].iloc[-1]
    assert z_score(kaplan_meier.predict(60.0), 0.75, (upper - lower) / (2 * 1.96)) < 3


@pytest.mark.parametrize("signal", [0.0, 0.5, 2.0])
def test_the_share_free_of_disease_is_that_of_latents_drawn_slowly(signal):
    settings = wang(signal=signal)
    x = np.random.default_rng(2).normal(size=1_000_000)
    months = np.array([12.0, 60.0, 90.0])

    slowly = np.exp(-np.exp(signal * x) * (months[:, None] / dfs_scale_months(settings)) ** 1.1)

    se = slowly.std(axis=1) / 1000
    np.testing.assert_array_less(np.abs(free_of_disease(settings, months) - slowly.mean(axis=1)), 4 * se + 1e-9)
    assert free_of_disease(settings, np.array([60.0]))[0] == pytest.approx(0.75, abs=1e-9)


def test_without_signal_the_time_is_weibull_of_the_planted_shape_and_scale():
    settings = wang(signal=0, **MANY)
    some = plant(settings).patients

    fitted = WeibullFitter().fit(some["dfs_months"], some["dfs_event"]).summary

    assert z_score(fitted.loc["rho_", "coef"], 1.1, fitted.loc["rho_", "se(coef)"]) < 3
    by_hand = 60 / (-np.log(0.75)) ** (1 / 1.1)
    assert dfs_scale_months(settings) == pytest.approx(by_hand)
    assert z_score(fitted.loc["lambda_", "coef"], by_hand, fitted.loc["lambda_", "se(coef)"]) < 3


@pytest.mark.parametrize("signal_in", ["texture", "ring", "both", "volume"])
def test_the_hazard_ratio_per_sd_is_the_planted_one(signal_in):
    some = plant(wang(n=12_000, images=False, signal_in=signal_in, seed=5)).patients

    cox = CoxPHFitter().fit(some[["x", "dfs_months", "dfs_event"]], "dfs_months", "dfs_event").summary.loc["x"]

    assert z_score(cox["coef"], 0.5, cox["se(coef)"]) < 3
    assert some["x"].mean() == pytest.approx(0, abs=0.03)
    assert some["x"].std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("null", [{"signal": 0}, {"strict_null": True}], ids=str)
def test_without_signal_the_time_does_not_follow_the_image(null):
    settings = wang(**MANY, **null)
    cohort = plant(settings)
    some = cohort.patients.assign(seen=latent_from_image(settings, cohort.lesions))

    cox = CoxPHFitter().fit(some[["x", "seen", "dfs_months", "dfs_event"]], "dfs_months", "dfs_event").summary

    assert (cox["z"].abs() < 3).all()
    assert [one.value for one in oracle_c_indices(settings, draws=20_000).values()] == [0.5, 0.5]


def test_follow_up_has_the_published_median_and_ends_at_eight_years(patients):
    reverse = KaplanMeierFitter().fit(patients["dfs_months"], 1 - patients["dfs_event"])

    assert reverse.median_survival_time_ == pytest.approx(52, abs=1.0)  # SE .35
    assert patients["dfs_months"].max() == 96
    assert patients.loc[patients["dfs_event"] == 0, "dfs_months"].min() >= 24


def test_as_many_recurrences_are_seen_as_expected(patients):
    events = patients["dfs_event"]

    assert z_score(events.mean(), expected_event_share(wang()), events.sem()) < 3
    assert events.mean() == pytest.approx((32 + 38) / 278, abs=3 * np.sqrt(0.25 * 0.75 / 278))  # as published


def test_death_comes_after_recurrence_and_survival_is_near_the_published(patients):
    assert (patients["os_months"] >= patients["dfs_months"]).all()
    assert (patients["os_event"] <= patients["dfs_event"]).all()
    survival = KaplanMeierFitter().fit(patients["os_months"], patients["os_event"])
    assert survival.predict(60.0) == pytest.approx(0.896, abs=0.01)


def test_the_covariates_have_the_published_shares(patients):
    seen = {name: patients[name] for name in ("pcr", "imni", "hr", "her2")}
    seen |= {"young": patients["age"] <= 45} | {stage: patients["ctnm"] == stage for stage in ("II", "IIIab", "IIIc")}
    counts = {"pcr": 33, "imni": 32, "hr": 90, "her2": 96, "young": 58, "II": 70, "IIIab": 51, "IIIc": 18}

    for name, count in counts.items():
        share = count / 139
        assert z_score(seen[name].mean(), share, np.sqrt(share * (1 - share) / 20_000)) < 3, name


def test_the_stages_follow_from_the_published_sizes_and_nodes():
    size, node = np.array([15, 83, 27, 14]) / 139, np.array([19, 75, 27, 18]) / 139
    joint = 139 * np.outer(size, node)
    advanced = joint[3, :3].sum() + joint[:3, 2].sum() + joint[2, 1]

    assert [round(139 - joint[:, 3].sum() - advanced), round(advanced), round(joint[:, 3].sum())] == [70, 51, 18]


def test_the_covariates_are_independent_of_the_image_and_of_each_other(patients):
    covariates = pd.get_dummies(patients[["age", "ctnm", "pcr", "imni", "hr", "her2"]], dtype=float)

    r = covariates.corrwith(patients["x"])
    assert (r.abs() < 3.5 / np.sqrt(20_000)).all()  # nine of them
    for one, other in (("pcr", "hr"), ("hr", "her2"), ("imni", "ctnm")):
        assert chi2_contingency(pd.crosstab(patients[one], patients[other])).pvalue > 0.001


def test_the_oracles_are_those_of_many_patients_judged_by_another_library(cohort):
    settings = wang()
    patients = cohort.patients
    risks = {"image": latent_from_image(settings, cohort.lesions), "latent": patients["x"]}
    oracles = oracle_c_indices(settings)

    for name, risk in risks.items():
        found = concordance_index(patients["dfs_months"], -risk, patients["dfs_event"])
        assert found == pytest.approx(oracles[name].value, abs=3 * 0.0045), name  # SE at about 4700 events
        assert oracles[name].se < 0.001
    assert 0.5 < oracles["image"].value < oracles["latent"].value


def test_the_expectation_from_the_image_is_the_regression_on_what_it_shows():
    settings = wang(**MANY, signal_in="both", lesion_noise=0.8)
    cohort = plant(settings)
    shown = cohort.lesions[["t", "p"]].to_numpy()

    expected = latent_from_image(settings, cohort.lesions)

    weights, residual, *_ = np.linalg.lstsq(shown, cohort.patients["x"], rcond=None)
    assert np.corrcoef(expected, shown @ weights)[0, 1] > 0.999
    assert np.mean(np.square(cohort.patients["x"] - expected)) == pytest.approx(residual[0] / 20_000, rel=0.001)


def test_without_lesion_noise_the_image_tells_as_much_as_the_latent():
    settings = wang(n=50, images=False, lesion_noise=0)
    cohort = plant(settings)

    np.testing.assert_allclose(latent_from_image(settings, cohort.lesions), cohort.patients["x"])


def test_more_patients_leave_the_earlier_ones_unchanged():
    few, more = (plant(wang(n=n, images=False, biology=True, missing=0.2)) for n in (30, 50))

    columns = few.patients.columns.drop("split")
    pd.testing.assert_frame_equal(few.patients[columns], more.patients[columns].head(30), check_dtype=False)
    pd.testing.assert_frame_equal(few.lesions, more.lesions.head(30))
    pd.testing.assert_frame_equal(few.biology, more.biology.head(30))


def test_the_signal_moves_times_alone():
    plain, turned = (plant(wang(images=False, signal=signal)).patients for signal in (0.5, 1.0))

    moved = {name for name in plain if not plain[name].equals(turned[name])}

    assert moved == {"dfs_months", "dfs_event", "os_months", "os_event"}


def test_missing_cells_come_at_the_rate_asked_for_and_outcomes_have_none():
    some = plant(wang(n=6000, images=False, missing=0.2)).patients

    np.testing.assert_allclose(some[["age", "ctnm", "pcr", "her2"]].isna().mean(), 0.2, atol=0.02)
    assert some[["dfs_event", "dfs_months", "os_event", "os_months", "x"]].notna().all(axis=None)


@pytest.mark.parametrize(
    "knob",
    [{"clinical": 1}, {"carrier": "one"}, {"prevalence": 0.2}, {"centre_outcome": 1}, {"exact_counts": True}],
    ids=str,
)
def test_a_knob_that_means_nothing_here_is_refused(knob):
    (name,) = knob

    with pytest.raises(ValueError, match=f"preset wang has no use for {name}: leave it at"):
        wang(**knob)


def test_a_patient_has_one_lesion_and_no_more_can_be_asked_for(written):
    lesions = pd.read_csv(written / "lesions.csv")

    assert lesions.groupby("patient_id")["lesion_id"].nunique().eq(1).all()
    assert (lesions["site"] == "breast").all()
    with pytest.raises(ValueError, match="max_lesions must be 1 to 1, got 2"):
        wang(max_lesions=2)


def test_the_images_are_mri_and_each_lesion_lies_within(written, volume_of):
    lesions = pd.read_csv(written / "lesions.csv")

    for row in lesions.itertuples():
        image, mask = volume_of(written / row.image), volume_of(written / row.mask)
        assert image.shape == mask.shape
        assert image.min() >= 0
        assert image[mask == 0].mean() > 100  # breast at -40 HU is 240 in arbitrary units, times a gain of .7 to 1.4
        assert mask.any()
        assert set(np.unique(mask)) == {0, 1}


def test_thirty_patients_who_train_are_delineated_by_another_reader_and_again(tmp_path):
    simulate(wang(n=90, size_voxels=24, radius_mm=(3, 4)), tmp_path / "cohort")
    lesions = pd.read_csv(tmp_path / "cohort" / "lesions.csv")
    clinical = pd.read_csv(tmp_path / "cohort" / "clinical.csv", index_col="patient_id")

    for reader, repeat in ((2, 1), (1, 2)):
        again = lesions[(lesions["reader"] == reader) & (lesions["repeat"] == repeat)]
        assert again["patient_id"].nunique() == 30
        assert set(clinical.loc[again["patient_id"], "split"]) == {"train"}
    assert lesions["patient_id"].nunique() == 90


def test_the_tables_have_the_columns_of_the_design(written):
    clinical = pd.read_csv(written / "clinical.csv")

    assert list(clinical) == [
        *("patient_id", "centre", "split", "age", "ctnm", "pcr", "imni", "hr", "her2"),
        *("dfs_event", "dfs_months", "os_event", "os_months"),
    ]


def test_the_truth_holds_what_was_planted(tmp_path):
    simulate(wang(n=80, images=False, cohort="new", seed=9), tmp_path / "cohort")
    truth = truth_of(tmp_path / "cohort")
    clinical = pd.read_csv(tmp_path / "cohort" / "clinical.csv")

    assert truth["null"] == {"image": False, "clinical": True, "survival": False}
    assert truth["hazard_ratio_per_sd"] == pytest.approx(np.exp(0.5))
    assert truth["oracle_auc"] == {}
    assert truth["oracle_c_index"].keys() == {"image", "latent"}
    assert truth["sample_oracle_c_index"].keys() == {"all", "held_out"}
    assert truth["reader_c_index"] == {"c_index": None, "se": None, "formula": "not estimated: there are no images"}
    planted = pd.DataFrame(truth["patients"])
    assert list(planted["patient_id"]) == list(clinical["patient_id"])
    assert set(clinical["centre"]) == {"new-B", "new-C"}
    found = truth["sample_oracle_c_index"]["all"]["latent"]["c_index"]
    assert found == pytest.approx(concordance_index(clinical["dfs_months"], -planted["x"], clinical["dfs_event"]))


@pytest.mark.slow
def test_a_reader_of_many_images_comes_near_the_oracle(tmp_path):
    settings = wang(n=600, signal=1.5, seed=4)
    simulate(settings, tmp_path / "cohort", workers=2)
    truth = truth_of(tmp_path / "cohort")

    reader, sample = truth["reader_c_index"], truth["sample_oracle_c_index"]["held_out"]["image"]

    assert sample["c_index"] - 0.1 < reader["c_index"] < sample["c_index"] + 2 * sample["se"]
