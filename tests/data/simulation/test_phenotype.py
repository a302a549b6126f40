import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, norm
from sklearn.metrics import roc_auc_score

from radnet.data.simulate import simulate, simulation_settings
from radnet.data.simulation.latents import image_llr
from radnet.data.simulation.phenotype import oracle_aucs, phenotype_given_response
from radnet.data.simulation.planted import plant

LABELS = ["tme", "cd8", "response"]
MANY = {"n": 20_000, "images": False, "biology": False}


def han(**knobs):
    return simulation_settings("han", **knobs)


@pytest.fixture(scope="module")
def cohort():
    return plant(han(**MANY))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Eight patients with images."""
    folder = tmp_path_factory.mktemp("han") / "cohort"
    simulate(han(n=8), folder)
    return folder


def truth_of(folder):
    return json.loads((folder / "truth" / "truth.json").read_text(encoding="utf-8"))


def share_of_both(first, second, correlation):
    """P that two normal variables of this correlation both lie in their upper parts of these sizes."""
    return multivariate_normal(cov=[[1, correlation], [correlation, 1]]).cdf([norm.ppf(first), norm.ppf(second)])


def test_centres_and_splits_have_the_published_numbers():
    patients = plant(han(images=False)).patients

    counts = patients.groupby(["centre", "split"]).size().to_dict()

    assert counts == {
        ("discovery", "train"): 94,
        ("validation", "held_out"): 24,
        ("cd8", "held_out"): 158,
        ("immunotherapy", "held_out"): 77,
    }


@pytest.mark.parametrize(
    ("centre", "label", "prevalence"),
    [
        ("discovery", "tme", 0.45),
        ("validation", "tme", 0.4),
        ("cd8", "cd8", 0.2),
        ("immunotherapy", "response", 0.21),
    ],
)
def test_a_centre_has_its_own_label_at_the_prevalence_of_the_design(cohort, centre, label, prevalence):
    some = cohort.patients[cohort.patients["centre"] == centre]

    assert some[label].notna().all()
    assert some[[name for name in LABELS if name != label]].isna().all(axis=None)
    assert abs(some[label].mean() - prevalence) < 3 * np.sqrt(prevalence * (1 - prevalence) / len(some))


def test_phenotype_and_response_are_latents_of_the_planted_correlation(cohort):
    some = cohort.patients[cohort.patients["centre"] == "immunotherapy"]

    both = ((some["phenotype"] == 1) & (some["response"] == 1)).astype(float)

    expected = share_of_both(0.45, 0.21, 0.6)
    assert abs(both.mean() - expected) < 3 * np.sqrt(expected * (1 - expected) / len(some))
    assert phenotype_given_response()[0] == pytest.approx(expected / 0.21, abs=1e-5)
    assert phenotype_given_response()[1] == pytest.approx((0.45 - expected) / 0.79, abs=1e-5)


@pytest.mark.parametrize(
    ("signal_in", "noise", "by_hand"),
    [
        ("ring", 0.0, 1.6**2 / (1 - 0.3**2)),
        ("ring", 0.5, 1.6**2 * 1.25 / (1.25**2 - 0.3**2)),
        ("volume", 0.5, 1.6**2),
    ],
)
def test_the_oracle_of_the_phenotype_is_that_of_two_normal_groups(signal_in, noise, by_hand):
    found = oracle_aucs(han(signal_in=signal_in, lesion_noise=noise))

    assert found["image_for_tme"].value == pytest.approx(norm.cdf(np.sqrt(by_hand / 2)))


@pytest.mark.parametrize("label", LABELS)
def test_the_oracles_are_those_of_many_patients_judged_by_another_library(cohort, label):
    settings = han()
    known = cohort.patients[label].notna().to_numpy()
    score = image_llr(settings, cohort.patients, cohort.lesions)[known]

    found = roc_auc_score(cohort.patients.loc[known, label].astype(int), score)

    assert found == pytest.approx(
        oracle_aucs(settings)[f"image_for_{label}"].value, abs=0.03
    )  # 3 SE of the least known


def test_without_signal_every_oracle_is_one_half():
    for null in ({"signal": 0}, {"strict_null": True}):
        assert [one.value for one in oracle_aucs(han(**null)).values()] == pytest.approx([0.5] * 3, abs=1e-12)


def test_the_phenotype_moves_the_ring_and_nothing_else(cohort):
    means = cohort.patients.groupby("phenotype")[["t", "p", "v"]].mean()

    assert means.loc[1, "p"] - means.loc[0, "p"] == pytest.approx(1.6, abs=0.05)
    np.testing.assert_allclose(means.loc[1, ["t", "v"]] - means.loc[0, ["t", "v"]], 0, atol=0.05)


def test_planted_biology_correlates_with_texture_and_has_24_cells():
    cohort = plant(han(n=3000, images=False, signal_in="both"))
    r = cohort.biology.drop(columns="patient_id").corrwith(cohort.patients["t"])

    assert r.filter(like="cell_").size == 24
    np.testing.assert_allclose(r[["CD8A", "cell_CD8_T"]], 0.5, atol=0.05)
    assert (r.abs() < 0.08).sum() == len(r) - 18


def test_more_patients_leave_the_earlier_ones_unchanged():
    few, more = (plant(han(n=n, images=False)) for n in (30, 50))

    pd.testing.assert_frame_equal(few.patients, more.patients.head(30), check_dtype=False)
    pd.testing.assert_frame_equal(few.lesions, more.lesions.head(30))


@pytest.mark.parametrize("knob", [{"clinical": 1}, {"missing": 0.1}, {"prevalence": 0.2}], ids=str)
def test_a_knob_that_means_nothing_here_is_refused(knob):
    (name,) = knob

    with pytest.raises(ValueError, match=f"preset han has no use for {name}: leave it at"):
        han(**knob)


def test_the_images_are_mri_with_one_lesion_each(written, volume_of):
    lesions = pd.read_csv(written / "lesions.csv")

    assert lesions.groupby("patient_id")["lesion_id"].nunique().eq(1).all()
    for row in lesions.itertuples():
        image, mask = volume_of(written / row.image), volume_of(written / row.mask)
        assert image.shape == mask.shape
        assert image.min() >= 0
        assert image[mask == 0].mean() > 100
        assert mask.any()


def test_the_tables_hold_whole_numbers_and_empty_cells(written):
    clinical = pd.read_csv(written / "clinical.csv", dtype=str, keep_default_na=False)

    assert list(clinical) == ["patient_id", "centre", "split", *LABELS]
    assert set(clinical[LABELS].to_numpy().ravel()) <= {"", "0", "1"}
    assert (written / "biology.csv").is_file()


def test_the_truth_holds_what_was_planted(written):
    truth = truth_of(written)

    assert truth["null"] == {"image": False, "clinical": True, "survival": True}
    assert truth["oracle_auc"].keys() == {"image_for_tme", "image_for_cd8", "image_for_response"}
    assert truth["transferred_reader_auc"].keys() == {"cd8", "response"}
    assert {one["phenotype"] for one in truth["patients"]} <= {0, 1}
    assert len(truth["lesions"]) == 8


@pytest.mark.slow
def test_a_reader_who_learned_the_phenotype_finds_it_elsewhere(tmp_path):
    simulate(han(n=500, biology=False), tmp_path / "cohort", workers=2)
    truth = truth_of(tmp_path / "cohort")

    for found, oracle in (
        (truth["reader_auc"], "image_for_tme"),
        (truth["transferred_reader_auc"]["cd8"], "image_for_cd8"),
        (truth["transferred_reader_auc"]["response"], "image_for_response"),
    ):
        best = truth["oracle_auc"][oracle]["auc"]
        assert best - 0.1 - 3 * found["se"] < found["auc"] < best + 3 * found["se"]
