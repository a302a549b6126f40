import json

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from lifelines.utils import concordance_index
from scipy.stats import nbinom, norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from radnet.data.simulate import simulate, simulation_settings
from radnet.data.simulation.benefit import lesion_count_shares, oracle_aucs, oracle_c_indices, patient_llrs
from radnet.data.simulation.planted import plant

MANY = {"n": 20_000, "images": False}


def ligero(**knobs):
    return simulation_settings("ligero", **knobs)


@pytest.fixture(scope="module")
def cohort():
    return plant(ligero(**MANY))


@pytest.fixture(scope="module")
def patients(cohort):
    return cohort.patients


def share_is(found, share):
    return abs(found.mean() - share) < 3.5 * np.sqrt(share * (1 - share) / len(found))


def test_centres_and_splits_have_the_published_numbers():
    some = plant(ligero(images=False)).patients

    counts = some.groupby(["centre", "split"]).size().to_dict()

    assert counts == {("phase1", "train"): 85, ("bladder", "held_out"): 46, ("lung", "held_out"): 47}


@pytest.mark.parametrize(("centre", "prevalence"), [("phase1", 0.506), ("bladder", 0.543), ("lung", 0.532)])
def test_benefit_is_as_common_as_published(patients, centre, prevalence):
    assert share_is(patients.loc[patients["centre"] == centre, "clinical_benefit"], prevalence)


@pytest.mark.parametrize(
    ("centre", "published"), [("phase1", (5, 7, 41, 32)), ("bladder", (7, 15, 6, 18)), ("lung", (2, 11, 17, 17))]
)
def test_best_responses_have_the_published_shares(patients, centre, published):
    some = patients.loc[patients["centre"] == centre, "best_response"]

    for response, count in zip(("CR", "PR", "SD", "PD"), published, strict=True):
        assert share_is(some == response, count / sum(published)), response


def test_benefit_is_response_or_stable_disease_beyond_five_months(patients):
    by_definition = patients["best_response"].isin(["CR", "PR"]) | (patients["sd_months"] > 5)

    assert by_definition.astype(int).equals(patients["clinical_benefit"])
    assert patients["sd_months"].notna().equals(patients["best_response"] == "SD")
    assert patients["sd_months"].min() >= 1.5


def test_the_number_of_lesions_is_negative_binomial_and_17_at_most(patients):
    number = nbinom(1.2, 1.2 / (1.2 + 1.78))
    counts = patients["n_lesions"].value_counts()

    assert counts.index.max() <= 17
    for m in range(1, 9):
        assert share_is(patients["n_lesions"] == m, number.pmf(m - 1) / number.cdf(16)), m
    assert patients["n_lesions"].mean() == pytest.approx(2.78, abs=0.06)  # published: 2.78 at phase1; SE .015


def test_fewer_lesions_can_be_asked_for_and_the_surplus_falls_on_the_last():
    shares = lesion_count_shares(3)

    np.testing.assert_allclose(shares[:2], lesion_count_shares(17)[:2])
    assert shares.sum() == pytest.approx(1)
    assert plant(ligero(n=500, images=False, max_lesions=3)).patients["n_lesions"].max() == 3
    with pytest.raises(ValueError, match="max_lesions must be 1 to 17, got 18"):
        ligero(max_lesions=18)


def test_sites_have_the_published_shares_and_no_limit(cohort):
    sites = cohort.lesions["site"]

    for site, share in {"node": 0.36, "liver": 0.22, "lung": 0.25, "other": 0.16}.items():
        assert share_is(sites == site, share / 0.99), site
    assert cohort.lesions.groupby(["patient", "site"]).size().max() > 2
    assert (cohort.lesions["visceral"] == 1).equals(sites.isin(["liver", "lung"]))


def test_albumin_and_lymphocytes_are_higher_with_benefit_and_the_rest_is_not(patients):
    groups = patients.groupby("clinical_benefit")
    albumin, lymphocytes = groups["albumin"].mean(), groups["lymphocytes"].mean()

    assert tuple(albumin) == pytest.approx((3.9, 4.15), abs=3 * 0.5 / 100)
    assert tuple(lymphocytes) == pytest.approx((1.4, 1.7), abs=3 * 0.6 / 100 + 0.01)  # .01: never written below .1
    for name in ("ecog", "n_organs", "ldh", "platelets", "neutrophils"):
        values = groups[name]
        se = np.sqrt((values.var() / values.size()).sum())
        assert abs(values.mean().diff().loc[1]) < 3 * se, name


def test_without_clinical_effect_the_table_tells_nothing():
    some = plant(ligero(clinical=0, **MANY)).patients

    for name in ("albumin", "lymphocytes"):
        groups = some.groupby("clinical_benefit")[name]
        assert abs(groups.mean().diff().loc[1]) < 3 * np.sqrt((groups.var() / groups.size()).sum())
    assert oracle_aucs(ligero(clinical=0))["clinical"].value == pytest.approx(0.5, abs=1e-12)


def test_leukocytes_hold_neutrophils_and_lymphocytes(patients):
    assert (patients["leukocytes"] > patients["neutrophils"] + patients["lymphocytes"]).all()


def test_tumours_of_one_kind_are_seen_at_their_centre(patients):
    assert (patients.loc[patients["centre"] == "bladder", "tumour_type"] == "bladder").all()
    assert (patients.loc[patients["centre"] == "lung", "tumour_type"] == "lung").all()
    of_phase_1 = patients.loc[patients["centre"] == "phase1", "tumour_type"]
    assert share_is(of_phase_1 == "breast", 14 / 85)
    assert of_phase_1.nunique() == 14


@pytest.mark.parametrize(("responses", "median"), [(("PD",), 7), (("CR", "PR"), 5 + 18)], ids=["none", "response"])
def test_survival_has_the_median_of_the_design(patients, responses, median):
    some = patients[patients["best_response"].isin(responses)]

    found = KaplanMeierFitter().fit(some["os_months"], some["os_event"]).median_survival_time_

    assert found == pytest.approx(median, rel=0.06)  # SE 1.5 to 1.9 %


def test_nobody_dies_while_disease_is_stable_and_nothing_is_seen_after_follow_up(patients):
    assert (patients["os_months"] >= patients["sd_months"].fillna(0)).all()
    assert patients["os_months"].max() <= 48
    assert patients.loc[patients["os_event"] == 0, "os_months"].min() >= 12


def test_the_oracle_of_the_table_is_that_of_two_normal_groups():
    found = oracle_aucs(ligero())

    distance = np.sqrt((0.25 / 0.5) ** 2 + (0.3 / 0.6) ** 2)
    assert found["clinical"].value == pytest.approx(norm.cdf(distance / np.sqrt(2)))


def test_the_oracle_of_one_noiseless_lesion_is_that_of_two_normal_groups():
    found = oracle_aucs(ligero(max_lesions=1, lesion_noise=0))

    squared = 0.9**2 * (1 + 0.36 - 2 * 0.3 * 0.6) / (1 - 0.3**2)  # s² d' Sigma^-1 d with d = (1, .6)
    assert found["image"].value == pytest.approx(norm.cdf(np.sqrt(squared / 2)))
    assert found["combined"].value == pytest.approx(norm.cdf(np.sqrt((squared + 0.5) / 2)))


def test_the_oracles_are_those_of_many_patients_judged_by_another_library(cohort):
    settings = ligero()
    llr = patient_llrs(settings, cohort.patients, cohort.lesions)
    llr = llr.assign(combined_with_centre=llr["combined"] + llr["centre"])
    oracles = oracle_aucs(settings)

    for name, oracle in oracles.items():
        found = roc_auc_score(cohort.patients["clinical_benefit"], llr[name])
        assert found == pytest.approx(oracle.value, abs=3 * 0.0037), name  # SE of 10000 and 10000
    assert oracles["combined"].value <= oracles["combined_with_centre"].value


def test_the_likelihood_ratio_is_the_logistic_of_benefit(cohort):
    llr = patient_llrs(ligero(), cohort.patients, cohort.lesions)

    fitted = LogisticRegression(C=np.inf).fit(llr[["image", "clinical", "centre"]], cohort.patients["clinical_benefit"])

    np.testing.assert_allclose(fitted.coef_[0, :2], 1, atol=0.09)  # SE .02 to .03
    assert fitted.coef_[0, 2] == pytest.approx(1, abs=0.8)  # centres hardly differ: SE .23


def test_the_c_index_is_that_of_many_patients_judged_by_another_library(cohort):
    settings = ligero()
    llr = patient_llrs(settings, cohort.patients, cohort.lesions)
    oracles = oracle_c_indices(settings)

    for name, oracle in oracles.items():
        found = concordance_index(cohort.patients["os_months"], llr[name], cohort.patients["os_event"])
        assert found == pytest.approx(oracle.value, abs=3 * 0.0035), name


def test_under_a_strict_null_every_oracle_of_a_model_is_one_half():
    settings = ligero(strict_null=True)
    found = oracle_aucs(settings)

    assert [found[name].value for name in ("image", "clinical", "combined")] == pytest.approx([0.5] * 3, abs=1e-12)
    assert oracle_c_indices(settings, pairs=1000)["combined"].value == 0.5


def test_more_patients_leave_the_earlier_ones_unchanged():
    few, more = (plant(ligero(n=n, images=False, missing=0.2, biology=True)) for n in (30, 50))

    pd.testing.assert_frame_equal(few.patients, more.patients.head(30), check_dtype=False)
    pd.testing.assert_frame_equal(few.lesions, more.lesions.head(len(few.lesions)))
    pd.testing.assert_frame_equal(few.biology, more.biology.head(30))


@pytest.mark.parametrize("knob", [{"carrier": "one"}, {"prevalence": 0.2}, {"covariates": "by_response"}], ids=str)
def test_a_knob_that_means_nothing_here_is_refused(knob):
    (name,) = knob

    with pytest.raises(ValueError, match=f"preset ligero has no use for {name}: leave it at"):
        ligero(**knob)


def test_every_lesion_has_its_image_and_the_truth_what_was_planted(tmp_path, volume_of):
    folder = tmp_path / "cohort"
    simulate(ligero(n=5, size_voxels=32, radius_mm=(4, 7)), folder)
    lesions = pd.read_csv(folder / "lesions.csv").query("reader == 1 and repeat == 1")
    clinical = pd.read_csv(folder / "clinical.csv")
    truth = json.loads((folder / "truth" / "truth.json").read_text(encoding="utf-8"))

    assert lesions["patient_id"].nunique() == 5
    assert len(lesions) == sum(one["n_lesions"] for one in truth["patients"])
    for row in lesions.itertuples():
        image, mask = volume_of(folder / row.image), volume_of(folder / row.mask)
        assert image.shape == mask.shape
        assert mask.any()
    assert list(clinical) == [
        *("patient_id", "centre", "split", "tumour_type", "ecog", "n_organs", "ldh", "leukocytes", "platelets"),
        *("neutrophils", "albumin", "lymphocytes", "best_response", "sd_months", "sd_ended"),
        *("clinical_benefit", "os_event", "os_months"),
    ]
    assert truth["marker_shifts"] == {"albumin": 0.25, "lymphocytes": 0.3}
    assert truth["oracle_auc"].keys() == {"image", "clinical", "combined", "combined_with_centre"}
