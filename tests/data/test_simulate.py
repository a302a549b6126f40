import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK
from lifelines import KaplanMeierFitter
from lifelines.statistics import logrank_test
from scipy.stats import f_oneway
from sklearn.linear_model import LogisticRegression

from radnet.data.simulate import SimulationSettings, simulate, simulation_settings
from radnet.data.simulation.planted import plant
from radnet.data.simulation.presets import PRESETS

DRIVERS = ["lines_ge2", "visceral", "sites_ge3"]
FEW = {"n": 6, "covariates": "pooled", "max_lesions": 2}


def simulated(folder: Path, preset="small", workers=1, **knobs) -> Path:
    simulate(simulation_settings(preset, **knobs), folder, workers=workers)
    return folder


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def truth_of(folder: Path) -> dict:
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads((folder / "truth" / "truth.json").read_text(), parse_constant=refuse)


def volume_of(path: Path) -> tuple[np.ndarray, SimpleITK.Image]:
    image = SimpleITK.ReadImage(str(path))
    return SimpleITK.GetArrayFromImage(image), image


def residual(values: pd.Series, *groups: pd.Series) -> np.ndarray:
    X = np.column_stack([pd.get_dummies(group).to_numpy(dtype=float) for group in groups])
    return values - X @ np.linalg.lstsq(X, values, rcond=None)[0]


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("few") / "cohort", **FEW)


@pytest.fixture(scope="module")
def many():
    return plant(simulation_settings("paper", n=20_000, images=False)).patients


@pytest.fixture(scope="module")
def seventy(tmp_path_factory):
    """A cohort of 70 patients with images, and its lesions with what was planted and what a reader measured."""
    folder = simulated(tmp_path_factory.mktemp("seventy") / "cohort", n=70, max_lesions=1, covariates="pooled")
    lesions = pd.DataFrame(truth_of(folder)["lesions"])
    return lesions.merge(pd.read_csv(folder / "clinical.csv")[["patient_id", "centre", "split", "response"]])


def test_the_same_seed_gives_the_same_files_for_any_number_of_workers(few, tmp_path):
    again = simulated(tmp_path / "again", workers=2, **FEW)

    assert contents(again) == contents(few)


def test_another_seed_gives_another_cohort(few, tmp_path):
    other = simulated(tmp_path / "other", seed=8, **FEW)

    same = {name for name, digest in contents(other).items() if contents(few).get(name) == digest}
    assert not {name for name in same if name.startswith("images")}
    assert "clinical.csv" not in same


@pytest.mark.parametrize("preset", ["paper", "multicentre"])
def test_more_patients_leave_the_earlier_ones_unchanged(preset):
    few, more = (plant(simulation_settings(preset, n=n, biology=True)) for n in (30, 50))

    patients = few.patients.drop(columns="split")
    pd.testing.assert_frame_equal(patients, more.patients[patients.columns].head(30), check_dtype=False)
    pd.testing.assert_frame_equal(few.lesions, more.lesions.head(len(few.lesions)))
    pd.testing.assert_frame_equal(few.biology, more.biology.head(30))


def test_more_patients_leave_the_images_of_earlier_ones_unchanged(tmp_path):
    knobs = {"covariates": "pooled", "exact_counts": False, "max_lesions": 1}
    one, two = (contents(simulated(tmp_path / str(n), n=n, **knobs)) for n in (3, 5))

    images = {name: digest for name, digest in one.items() if name.startswith(("images", "masks"))}
    assert images.items() <= two.items()


@pytest.mark.parametrize(
    ("knob", "moved"),
    [
        ({"signal": 0}, {"t", "p"}),
        ({"lesion_noise": 0}, set()),
        ({"missing": 0.3}, set()),
        ({"carrier": "one"}, set()),
        ({"pfs_latent": 0.5}, {"pfs_months", "pfs_event", "pfs_rate", "os_months", "os_event"}),
        ({"centre_shift": 0}, set()),
        ({"biology": True}, set()),
        ({"ring_sign": 1}, set()),
        ({"images": False}, set()),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_knob_alters_no_unrelated_draw(knob, moved):
    plain = plant(simulation_settings("paper")).patients
    turned = plant(simulation_settings("paper", **knob)).patients
    gaps = set(plain.columns[turned.isna().any()]) if "missing" in knob else set()

    changed = {name for name in plain if not plain[name].equals(turned[name])}

    assert changed - gaps == moved


def test_small_has_the_centres_and_responders_of_the_design():
    patients = plant(simulation_settings("small")).patients

    assert patients["centre"].value_counts().to_dict() == {"B": 28, "A": 24, "C": 8}
    assert (patients["response"] == 1).sum() == 21
    assert (patients["response"] == 0).sum() == 39


@pytest.mark.parametrize(
    ("preset", "centres", "train"),
    [
        ("paper", {"A": 107, "B": 128, "C": 5}, 107 + 64),
        ("small", {"A": 24, "B": 28, "C": 8}, 24 + 14),
        ("multicentre", {"A": 80, "B": 80, "C": 80, "D": 80}, 80 + 40),
    ],
)
def test_centres_and_splits_have_the_shares_of_the_design(preset, centres, train):
    patients = plant(simulation_settings(preset)).patients

    assert patients["centre"].value_counts().to_dict() == centres
    assert (patients["split"] == "train").sum() == train
    splits = patients.groupby("centre")["split"].unique().map(set).to_dict()
    assert splits["A"] == {"train"}
    assert splits["B"] == {"train", "held_out"}
    assert splits["C"] == {"held_out"}


def test_exact_counts_spread_responders_over_centres_and_splits():
    patients = plant(simulation_settings("small", n=240)).patients

    share = patients.groupby(["centre", "split"])["response"].agg(["sum", "size"])
    np.testing.assert_array_less(np.abs(share["sum"] - share["size"] * 85 / 240), 1)


def test_a_logistic_regression_finds_the_planted_odds_ratios(many):
    model = LogisticRegression(C=np.inf, max_iter=1000).fit(many[DRIVERS], many["response"])

    np.testing.assert_array_less(np.abs(model.coef_[0] - np.log([0.35, 0.4835, 0.42])), 3 * 0.034)


@pytest.mark.slow
def test_many_more_patients_find_the_odds_ratios_within_5_percent():
    patients = plant(simulation_settings("paper", n=200_000, images=False)).patients

    model = LogisticRegression(C=np.inf, max_iter=1000).fit(patients[DRIVERS], patients["response"])

    np.testing.assert_allclose(np.exp(model.coef_[0]), [0.35, 0.4835, 0.42], rtol=0.05)


def test_the_covariates_have_the_published_shares(many):
    expected = {  # of non-responders (110) and of responders (61), in the training column of the published table
        "lines_ge2": (79, 33), "visceral": (68, 26), "sites_ge3": (64, 20), "ecog_ge2": (12, 3),
        "prior_surgery": (93, 44), "antiangiogenic": (54, 33),
    }  # fmt: skip
    sides = {"ki67": (20, 104, 56), "ldh": (250, 49, 21)}  # above the cut
    from_cut = {"dnlr": (2.38, 66, 30), "albumin": (40, 56, 37)}  # at or above it

    seen = {name: many[name] for name in expected}
    for name, (cut, *counts) in sides.items():
        seen[name], expected[name] = many[name] > cut, tuple(counts)
    for name, (cut, *counts) in from_cut.items():
        seen[name], expected[name] = many[name] >= cut, tuple(counts)
    seen["tnbc"], expected["tnbc"] = many["subtype"] == "TNBC", (84, 49)

    for name, (non_responders, responders) in expected.items():
        share = seen[name].astype(float).groupby(many["response"]).mean()
        assert share[0] == pytest.approx(non_responders / 110, abs=0.01), name
        assert share[1] == pytest.approx(responders / 61, abs=0.015), name  # a third of the patients: 2.5 SE


def test_age_cps_and_best_response_follow_the_design(many):
    age = many["age"].groupby(many["response"]).mean()
    assert tuple(age) == pytest.approx((47.56, 49.32), abs=0.4)
    assert many["cps"].isna().mean() == pytest.approx(126 / 240, abs=0.01)
    cps = many.loc[many["cps"].notna()]
    high = (cps["cps"].astype(float) >= 10).groupby(cps["response"]).mean()
    assert tuple(high) == pytest.approx((21 / 66, 14 / 37), abs=0.025)
    assert (many["best_response"] == "CR").sum() / many["response"].sum() == pytest.approx(16 / 85, abs=0.015)
    assert (many["best_response"] == "PD").sum() / (1 - many["response"]).sum() == pytest.approx(54 / 155, abs=0.015)


def test_receptors_follow_the_subtype(many):
    assert not many.loc[many["subtype"] == "TNBC", ["er", "pr", "her2"]].any(axis=None)
    luminal = many[many["subtype"] == "HR+/HER2-"]
    assert ((luminal["er"] + luminal["pr"]) > 0).all()
    assert luminal["er"].mean() == pytest.approx(34 / 43, abs=0.02)
    assert (many["subtype"] == "HER2+").equals(many["her2"] == 1)


def test_pooled_covariates_do_not_depend_on_the_response():
    patients = plant(simulation_settings("paper", n=20_000, covariates="pooled", images=False)).patients

    share = patients[["ecog_ge2", "prior_surgery", "antiangiogenic"]].groupby(patients["response"]).mean()

    np.testing.assert_allclose(share.loc[0], share.loc[1], atol=0.02)


def test_progression_has_the_published_medians(many):
    of_two_centres = many[many["centre"] != "C"]

    for response, median in ((1, 10.12), (0, 3.75)):
        some = of_two_centres[of_two_centres["response"] == response]
        found = KaplanMeierFitter().fit(some["pfs_months"], some["pfs_event"]).median_survival_time_
        assert found == pytest.approx(median, rel=0.03)


def test_progression_is_seen_as_often_as_published(many):
    assert many["pfs_event"].mean() == pytest.approx(0.69, abs=0.01)
    assert tuple(many.groupby("response")["pfs_event"].mean()) == pytest.approx((0.78, 0.52), abs=0.015)
    assert (many["os_months"] >= many["pfs_months"]).all()


def test_lesions_number_as_the_design_says(many):
    counts = many.groupby("sites_ge3")["n_lesions"].value_counts(normalize=True)

    np.testing.assert_allclose([counts[0, m] for m in (1, 2, 3)], (0.45, 0.35, 0.20), atol=0.015)
    np.testing.assert_allclose([counts[1, m] for m in (2, 3, 4, 5)], (0.10, 0.40, 0.30, 0.20), atol=0.015)
    assert many["n_lesions"].mean() == pytest.approx(2.66, abs=0.03)


def test_a_site_holds_two_lesions_of_a_patient_at_most_and_the_first_of_a_visceral_one_is_visceral():
    cohort = plant(simulation_settings("paper", n=1000, images=False))
    lesions = cohort.lesions

    assert lesions.groupby(["patient", "site"]).size().max() == 2
    first = lesions[lesions["lesion"] == 1].set_index("patient_id")["visceral"]
    assert first.equals(cohort.patients.set_index("patient_id")["visceral"].rename("visceral"))


def test_targets_rank_new_sites_before_second_lesions_and_visceral_sites_first():
    lesions = plant(simulation_settings("paper", n=300, images=False)).lesions

    for _, some in lesions.groupby("patient"):
        ranked = some.sort_values("target_rank")
        assert list(ranked["target_rank"]) == list(range(1, len(some) + 1))
        second = ranked.duplicated("site").astype(int)
        assert second.is_monotonic_increasing
        for _, turn in ranked.groupby(second):
            assert turn["visceral"].is_monotonic_decreasing
            for _, kind in turn.groupby("visceral"):
                assert kind["long_mm"].is_monotonic_decreasing


def test_one_carrier_holds_the_signal_and_the_others_none():
    cohort = plant(simulation_settings("paper", n=4000, carrier="one", signal=2.0, images=False))
    response = cohort.patients.set_index("number")["response"].reindex(cohort.lesions["patient"]).to_numpy()
    responders = cohort.lesions[response == 1]

    assert cohort.lesions.groupby("patient")["carries"].sum().eq(1).all()
    assert responders.loc[responders["carries"], "t"].mean() == pytest.approx(2.0, abs=0.1)
    assert responders.loc[~responders["carries"], "t"].mean() == pytest.approx(0.0, abs=0.1)
    assert responders.loc[~responders["carries"], "t"].var() == pytest.approx(1.25, abs=0.1)


def test_latents_have_the_planted_shift_spread_and_correlation():
    cohort = plant(simulation_settings("paper", n=8000, signal=1.5, images=False))
    patients = cohort.patients
    shift = patients.groupby("response")[["t", "p"]].mean()

    np.testing.assert_allclose(shift.loc[1] - shift.loc[0], (1.5, 0.9), atol=0.08)
    within = patients.loc[patients["response"] == 0, ["t", "p"]]
    np.testing.assert_allclose(within.cov(), [[1, 0.3], [0.3, 1]], atol=0.06)
    noise = cohort.lesions["t"] - patients.set_index("number")["t"].reindex(cohort.lesions["patient"]).to_numpy()
    assert noise.std() == pytest.approx(0.5, abs=0.02)


def test_a_signal_in_volume_makes_the_lesions_of_responders_larger_and_nothing_else():
    cohort = plant(simulation_settings("multicentre", n=3000, signal_in="volume", signal=1.5, images=False))
    response = cohort.patients.set_index("number")["response"].reindex(cohort.lesions["patient"]).to_numpy()
    means = cohort.lesions.assign(log_volume=np.log(cohort.lesions["volume_mm3"])).groupby(response)
    difference = means[["log_volume", "t", "p"]].mean().diff().loc[1]

    assert difference["log_volume"] == pytest.approx(3 * 0.25 * 1.5, abs=0.2)  # less, where the grid ends
    assert (difference[["t", "p"]].abs() < 0.1).all()


def test_missing_cells_come_at_the_rate_asked_for():
    patients = plant(simulation_settings("paper", n=6000, missing=0.2, images=False)).patients

    rates = patients[[*DRIVERS, "age", "subtype", "albumin", "ct_days_before"]].isna().mean()
    np.testing.assert_allclose(rates, 0.2, atol=0.02)
    assert patients["cps"].isna().mean() == pytest.approx(0.525, abs=0.02)
    assert patients[["response", "pfs_months", "os_event", "split", "centre"]].notna().all(axis=None)


def test_centre_outcome_raises_the_odds_at_a_and_lowers_them_at_c():
    patients = plant(simulation_settings("multicentre", n=12_000, centre_outcome=1.0, images=False)).patients

    share = patients.groupby("centre")["response"].mean()
    log_odds = np.log(share / (1 - share)) - np.log(85 / 155)
    np.testing.assert_allclose(log_odds[["A", "B", "C", "D"]], (1, 0, -1, 0), atol=0.13)  # SE .04


def test_under_a_strict_null_nothing_follows_the_response():
    settings = simulation_settings("paper", n=8000, strict_null=True, signal=2, pfs_latent=1, images=False)
    patients = plant(settings).patients
    responders = patients["response"] == 1

    assert (settings.signal, settings.clinical, settings.covariates, settings.pfs_latent) == (0, 0, "pooled", 0)
    yes, no = patients[responders], patients[~responders]
    log_rank = logrank_test(yes["pfs_months"], no["pfs_months"], yes["pfs_event"], no["pfs_event"])
    assert log_rank.p_value > 0.001
    np.testing.assert_allclose(yes[[*DRIVERS, "t", "p"]].mean(), no[[*DRIVERS, "t", "p"]].mean(), atol=0.08)


def test_planted_biology_correlates_with_texture_and_the_rest_does_not():
    cohort = plant(simulation_settings("paper", n=3000, biology=True, images=False))
    r = cohort.biology.drop(columns="patient_id").corrwith(cohort.patients["t"])
    genes = ["CD274", "CTLA4", "IDO1", "SIGLEC9", "PDCD1", "PDCD1LG2", "LAG3", "HAVCR2", "CD8A", "GZMA", "GZMB", "PRF1"]

    assert len(r) == 12 + 24 + 60 + 85
    np.testing.assert_allclose(r[genes], 0.5, atol=0.05)
    assert (r > 0.3).sum() == 12 + 6
    assert (r.abs() < 0.08).sum() == len(r) - 18  # 4 SE


def test_texture_falls_with_its_latent_in_the_written_images(seventy):
    texture, latent = (residual(seventy[name], seventy["site"], seventy["centre"]) for name in ("log_core_sd", "t"))

    assert np.corrcoef(texture, latent)[0, 1] < -0.7


def test_the_ring_follows_its_latent_in_the_written_images(seventy):
    ring, latent = (residual(seventy[name], seventy["site"], seventy["centre"]) for name in ("ring_contrast", "p"))

    assert np.corrcoef(ring, latent)[0, 1] < -0.7


def test_the_sign_of_the_ring_can_be_turned(tmp_path):
    folder = simulated(tmp_path / "brighter", n=16, max_lesions=1, ring_sign=1, covariates="pooled", centre_shift=0)
    lesions = pd.DataFrame(truth_of(folder)["lesions"])

    ring, latent = (residual(lesions[name], lesions["site"]) for name in ("ring_contrast", "p"))

    assert np.corrcoef(ring, latent)[0, 1] > 0.7


@pytest.mark.slow
@pytest.mark.parametrize(("shift", "detectable"), [(0.0, False), (1.0, True)])
def test_centres_show_in_the_background_only_when_shifted(tmp_path, shift, detectable):
    folder = simulated(
        tmp_path / "cohort", "multicentre", n=200, max_lesions=1, centre_shift=shift, covariates="pooled"
    )
    lesions = pd.read_csv(folder / "lesions.csv").query("reader == 1 and repeat == 1").reset_index(drop=True)
    corner = [volume_of(folder / name)[0][:5, :8, :8] for name in lesions["image"]]
    measured = pd.DataFrame({"mean": [one.mean() for one in corner], "sd": [one.std() for one in corner]})

    p = {}
    for name in measured:
        values = residual(measured[name], lesions["site"])
        p[name] = f_oneway(*(values[of] for of in lesions.groupby("centre").groups.values())).pvalue

    assert min(p.values()) < 1e-4 if detectable else min(p.values()) > 0.01


def test_image_and_masks_share_their_geometry_and_the_table_describes_them(few):
    lesions = pd.read_csv(few / "lesions.csv", dtype={"reader": str, "repeat": str})
    clinical = pd.read_csv(few / "clinical.csv").set_index("patient_id")

    for row in lesions.itertuples():
        image, header = volume_of(few / row.image)
        mask, drawn = volume_of(few / row.mask)
        assert image.dtype == np.int16
        assert header.GetSpacing() == drawn.GetSpacing() == pytest.approx((row.spacing_x, row.spacing_y, row.spacing_z))
        assert header.GetOrigin() == drawn.GetOrigin()
        assert image.shape == mask.shape
        assert mask.sum() * np.prod(header.GetSpacing()) == pytest.approx(row.volume_mm3, rel=1e-3)
        assert hashlib.sha256((few / row.image).read_bytes()).hexdigest() == row.image_sha256
        assert clinical.loc[row.patient_id, "centre"] == row.centre


def test_every_lesion_of_a_few_is_delineated_by_another_reader_and_again(few):
    lesions = pd.read_csv(few / "lesions.csv", dtype={"reader": str, "repeat": str})

    for _, drawn in lesions.groupby(["patient_id", "lesion_id"]):
        assert list(zip(drawn["reader"], drawn["repeat"], strict=True)) == [("1", "1"), ("2", "1"), ("1", "2")]


def test_thirty_lesions_are_delineated_again_where_there_are_more(tmp_path):
    folder = simulated(tmp_path / "cohort", n=32, max_lesions=1, size_voxels=24, radius_mm=(3, 4), covariates="pooled")

    lesions = pd.read_csv(folder / "lesions.csv")

    assert len(lesions) == 32 + 2 * 30
    masks = lesions.groupby(["patient_id", "lesion_id"])["mask"].nunique()
    assert masks.value_counts().to_dict() == {3: 30, 1: 2}


def test_a_volume_holds_all_lesions_of_a_patient(tmp_path):
    folder = simulated(tmp_path / "cohort", scene="volume", **FEW)

    lesions = pd.read_csv(folder / "lesions.csv").query("reader == 1 and repeat == 1")

    assert lesions.groupby("patient_id")["image"].nunique().eq(1).all()
    for _, some in lesions.groupby("image"):
        masks = np.stack([volume_of(folder / name)[0] for name in some["mask"]])
        assert masks.any(axis=(1, 2, 3)).all()
        assert masks.sum(axis=0).max() == 1


def test_tables_alone_hold_no_image(tmp_path):
    folder = simulated(tmp_path / "cohort", n=40, images=False, covariates="pooled")

    lesions = pd.read_csv(folder / "lesions.csv")

    assert lesions[["image", "mask", "image_sha256"]].isna().all(axis=None)
    assert not (folder / "images").exists()
    assert truth_of(folder)["reader_auc"]["auc"] is None


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_simulated_down_to_two_patients(preset, tmp_path):
    folder = simulated(tmp_path / "cohort", preset, n=2, images=False)

    truth = truth_of(folder)
    clinical = pd.read_csv(folder / "clinical.csv")
    assert [one["patient_id"] for one in truth["patients"]] == list(clinical["patient_id"]) == ["P0001", "P0002"]
    assert {"version", "seed", "settings", "null", "oracle_auc", "biology", "lesions"} <= truth.keys()
    assert truth["null"].keys() == {"image", "clinical", "survival"}


@pytest.mark.parametrize("preset", ["wang", "han", "ligero"])
def test_the_other_studies_give_the_same_files_for_the_same_seed(preset, tmp_path):
    knobs = {"n": 3, "size_voxels": 24, "radius_mm": (3, 4), "max_lesions": 1}
    one, two = (contents(simulated(tmp_path / name, preset, **knobs)) for name in ("one", "two"))

    assert one == two
    assert sum(name.startswith("images") for name in one) == 3


def test_a_name_stands_before_every_patient_and_centre(tmp_path):
    folder = simulated(tmp_path / "cohort", n=10, images=False, cohort="new", covariates="pooled")

    clinical = pd.read_csv(folder / "clinical.csv")

    assert clinical["patient_id"].str.fullmatch(r"new-P\d{4}").all()
    assert set(clinical["centre"]) == {"new-A", "new-B", "new-C"}


def test_the_truth_holds_what_was_planted(few):
    truth = truth_of(few)
    clinical = pd.read_csv(few / "clinical.csv")

    assert truth["odds_ratios"] == {"lines_ge2": 0.35, "visceral": 0.4835, "sites_ge3": 0.42}
    assert truth["oracle_auc"]["image"]["auc"] == pytest.approx(0.8, abs=0.02)
    assert truth["oracle_auc"]["combined"] == {**truth["oracle_auc"]["image_and_drivers"]}
    assert truth["sample_oracle_auc"].keys() == {"all", "held_out"}
    assert truth["null"] == {"image": False, "clinical": False, "survival": False}
    assert [one["patient_id"] for one in truth["patients"]] == list(clinical["patient_id"])
    for lesion in truth["lesions"]:
        assert lesion["texture_sd_hu"] == pytest.approx(22 * np.exp(-0.3 * lesion["t"]), rel=1e-4)
        assert lesion["ring_hu"] == pytest.approx(20 - 20 * lesion["p"], abs=1e-4)


def test_a_complete_cohort_is_left_as_it_is(few):
    before = {path: path.stat().st_mtime_ns for path in few.rglob("*")}

    simulated(few, **FEW)

    assert {path: path.stat().st_mtime_ns for path in few.rglob("*")} == before


def test_a_cohort_cut_short_is_completed(tmp_path):
    folder = simulated(tmp_path / "cohort", n=10, images=False, covariates="pooled")
    whole = contents(folder)
    (folder / "truth" / "truth.json").unlink()
    (folder / "lesions.csv").unlink()

    simulated(folder, n=10, images=False, covariates="pooled")

    assert contents(folder) == whole


def test_a_folder_with_another_cohort_is_refused(few):
    with pytest.raises(ValueError, match="another simulated cohort .*seed=7 there, 8 here"):
        simulated(few, seed=8, **FEW)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(ValueError, match="holds files that are no simulated cohort"):
        simulated(tmp_path, **FEW)


def test_progress_counts_patients_up_to_all(tmp_path):
    told = []

    simulate(simulation_settings(**{**FEW, "n": 3}), tmp_path / "cohort", progress=lambda *of: told.append(of))

    assert told == [(1, 3), (2, 3), (3, 3)]


def test_text_of_a_command_line_becomes_a_knob():
    settings = simulation_settings(
        "paper", signal="1.9922", images="false", radius_mm="[7, 14]", n="2e3", carrier="one", biology="True"
    )

    assert settings == SimulationSettings(
        preset="paper", n=2000, size_voxels=64, radius_mm=(7.0, 14.0), max_lesions=5, images=False,
        exact_counts=False, biology=True, carrier="one", signal=1.9922,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"preset": "smal"}, "unknown preset 'smal'; did you mean small?"),
        ({"sginal": 1}, "unknown knob 'sginal'; did you mean signal?"),
        ({"n": "many"}, "n must be a whole number, got 'many'"),
        ({"images": "maybe"}, "images must be true or false, got 'maybe'"),
        ({"carrier": "two"}, "carrier must be all or one, got 'two'"),
        ({"missing": 1.5}, "missing must be 0 to 1, got 1.5"),
        ({"prevalence": 0}, "prevalence must lie between 0 and 1"),
        ({"ring_sign": 0}, "ring_sign must be -1 or 1"),
        ({"radius_mm": (7, 30)}, "radius_mm reaches 30 mm, but size_voxels=48 holds 16 mm"),
        ({"cohort": "a/b"}, "cohort is part of file names"),
        ({"signal": "nan"}, "signal must be finite"),
    ],
    ids=lambda one: None if isinstance(one, str) else str(one),
)
def test_a_wrong_setting_is_named(knobs, message):
    with pytest.raises(ValueError) as error:
        simulation_settings(**knobs)

    assert message in str(error.value)


def test_every_wrong_setting_is_told_at_once():
    with pytest.raises(ValueError) as error:
        simulation_settings(missing=2, ring_sign=5, max_lesions=9)

    assert all(knob in str(error.value) for knob in ("missing", "ring_sign", "max_lesions"))
