"""Ligero 2021 as its specification accepts it, lines 2 to 5 and 7, from what a user types to what is written."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import SimpleITK
from scipy.special import expit
from sklearn.metrics import roc_auc_score

pytest.importorskip("torch", reason="training needs the extra train")

from cohorts import write_cohort
from patient_weighted import fit_patient_weighted
from radnet.cli import main
from radnet.cohort import FEATURE_KEYS, Cohort, FeatureTable, Lesion, Outcome, Patient
from radnet.config import load_config
from radnet.data.manifest import read_manifest
from radnet.models.elastic_net_grid import ElasticNetGrid
from radnet.models.mixed import LogisticMixedModel
from radnet.predictors.folder import load_model
from radnet.radiomics.extract import extract_cohort
from radnet.radiomics.settings import named_settings

SIZES = {"phase1": 85, "bladder": 46, "lung": 47}
SITES = ["node", "liver", "lung", "other"]
NAMES = ["original_shape_VoxelVolume", *(f"original_glcm_Made{one}" for one in range(11))]
TWICE, AGREEING = 25, 9  # patients of phase 1 delineated again; features that agree
ALPHAS, FOLDS, SEED = [0.5, 1.0], 5, 7
SMALL = ["split.folds.n_folds=3", "split.inner.n_folds=2"]
NET = "steps.elastic_net.elastic_net"


def small(model):
    return [f"{model}.{NET}.alphas={ALPHAS}".replace(" ", ""), f"{model}.{NET}.n_folds={FOLDS}"]


def of_study(seed):
    """Patients of the three cohorts with 1 to 7 lesions; benefit moves three features of each, and albumin."""
    rng = np.random.default_rng(seed)
    patients, rows = [], []
    for centre, size in SIZES.items():
        for place in range(size):
            identity, benefit = f"{centre[:3]}{place:03d}", bool(rng.random() < 0.5)
            sites = rng.choice(["node", "liver", "lung", "bone"], size=rng.integers(1, 8))
            lesions = tuple(Lesion(f"L{number}", str(site)) for number, site in enumerate(sites, start=1))
            survival = Outcome(bool(rng.random() < 0.7), float(rng.exponential(18 if benefit else 8) + 0.1))
            clinical = {"albumin": rng.normal(3.9 + 0.3 * benefit, 0.5), "lymphocytes": rng.lognormal()}
            clinical |= {"ecog": float(rng.integers(0, 3)), "tumour_type": str(rng.choice(["melanoma", "lung"]))}
            clinical |= {
                name: rng.lognormal() for name in ("n_organs", "ldh", "leukocytes", "platelets", "neutrophils")
            }
            split = "train" if centre == "phase1" else "held_out"
            outcomes = {"clinical_benefit": Outcome(benefit), "os": survival}
            patients.append(Patient(identity, centre, split, outcomes, lesions, clinical))
            own = rng.normal(size=len(NAMES)) * 0.5
            for lesion in lesions:
                known = own + rng.normal(size=len(NAMES))
                known[1:4] += 0.9 * benefit
                again = [("2", "1"), ("1", "2")] if centre == "phase1" and place < TWICE else []
                for reader, repeat in [("1", "1"), *again]:
                    off = 0.0 if (reader, repeat) == ("1", "1") else np.where(np.arange(len(NAMES)) < AGREEING, 0.1, 3)
                    values = np.exp(known + off * rng.normal(size=len(NAMES)))
                    rows.append((identity, lesion.id, "lesion", "image", reader, repeat, "ok", *values))
    table = pd.DataFrame(rows, columns=[*FEATURE_KEYS, "status", *NAMES])
    return Cohort(tuple(patients), FeatureTable(table, {"engine": "made by a test"}))


@pytest.fixture(scope="module")
def root(workplace):
    return write_cohort(of_study(3), workplace / "study")


@pytest.fixture(scope="module")
def trained(train, root):
    """The radiomics signature."""
    return train("ligero_radiomics", root, "radiomics", *SMALL, *small("model"))


@pytest.fixture(scope="module")
def published(train, root):
    """The same as published."""
    return train("ligero_radiomics", root, "published", "protocol=as_published", SMALL[0], *small("model"))


@pytest.fixture(scope="module")
def judged(evaluate, trained):
    """Its evaluation."""
    return evaluate(trained / "evaluation", f"run={trained}", "evaluation.bootstrap=40", "report=false")


def predicted(run, partition, level=""):
    rows = pd.read_parquet(run / f"{level}predictions.parquet")
    rows = rows[(rows["partition"] == partition) & (rows["endpoint"] == "clinical_benefit")]
    return rows.set_index(["patient_id", "lesion_id"] if level else "patient_id")


def recorded(run):
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


# Line 2


@pytest.mark.parametrize("partition", ["held_out", "out_of_fold", "apparent"])
def test_ligero_2_a_patient_has_one_row_and_the_mean_of_the_rows_of_his_lesions(partition, trained, root):
    patients, lesions = predicted(trained, partition), predicted(trained, partition, "lesion_")

    cohort = read_manifest(root, []).select(patients.index)
    assert set(lesions.index) == {(one.id, lesion.id) for one in cohort.patients for lesion in one.lesions}
    assert patients.index.is_unique
    assert lesions.index.is_unique
    assert lesions["score"].between(0, 1, inclusive="neither").all()
    mean = lesions["score"].groupby(level="patient_id").mean()
    np.testing.assert_allclose(patients["score"], mean.loc[patients.index], rtol=1e-12)
    count = lesions.groupby(level="patient_id")["score"].transform("size")
    np.testing.assert_allclose(lesions["weight"], 1 / count)


def test_ligero_2_the_auc_of_patients_and_that_of_lesions_say_which_they_are(judged, trained):
    found = judged[(judged["metric"] == "auc") & (judged["partition"] == "held_out") & (judged["centre"] == "")]
    found = found[(found["endpoint"] == "clinical_benefit") & (found["versus"] == "")]

    patients, lesions = predicted(trained, "held_out"), predicted(trained, "held_out", "lesion_")
    (of_patients,) = found[found["method"] == "delong"].itertuples()
    (of_lesions,) = found[found["level"] == "lesion"].itertuples()
    assert (of_patients.level, of_patients.n) == ("patient", len(patients))
    assert of_patients.estimate == pytest.approx(roc_auc_score(patients["event"], patients["score"]))
    assert (of_lesions.method, of_lesions.n) == ("bootstrap_cluster", len(lesions))
    assert of_lesions.estimate == pytest.approx(roc_auc_score(lesions["event"], lesions["score"]))


def test_ligero_2_nothing_but_the_auc_of_lesions_is_of_lesions_and_units_are_never_compared(judged):
    of_lesions = judged[judged["level"] == "lesion"]

    assert set(of_lesions["metric"]) == {"auc"}
    assert set(of_lesions["versus"]) == {""}
    assert set(judged["level"]) == {"patient", "lesion"}


# Line 3


def test_ligero_3_a_patient_learned_from_is_scored_as_if_he_were_new(trained, published, root):
    for run in (trained, published):
        model = load_model(run / "model").model
        cohort = read_manifest(root, []).select(predicted(run, "apparent").index)
        rows = cohort.features.rows.assign(patient_id="new " + cohort.features.rows["patient_id"])
        strangers = Cohort(tuple(replace(one, id=f"new {one.id}") for one in cohort.patients), FeatureTable(rows))

        found = model.predict(strangers).patients["score"]

        np.testing.assert_array_equal(found, predicted(run, "apparent")["score"].loc[cohort.ids])


def test_ligero_3_no_fold_parts_a_patient_from_any_of_his_lesions(trained, root):
    patients, lesions = predicted(trained, "out_of_fold"), predicted(trained, "out_of_fold", "lesion_")

    of_lesion = lesions["fold"].groupby(level="patient_id").agg(set)
    assert all(of_lesion[one] == {fold} for one, fold in patients["fold"].items())
    assert patients["fold"].nunique() == 3
    assert set(patients.index) == {one.id for one in read_manifest(root, []).patients if one.split == "train"}


# Line 4


def two_way_icc(readings):
    """ICC(2,1) from the mean squares of a two-way analysis of variance; readings of shape (lesions, raters)."""
    n, k = readings.shape
    grand, lesion, rater = readings.mean(), readings.mean(axis=1), readings.mean(axis=0)
    between = k * ((lesion - grand) ** 2).sum() / (n - 1)
    raters = n * ((rater - grand) ** 2).sum() / (k - 1)
    error = ((readings - lesion[:, None] - rater + grand) ** 2).sum() / ((n - 1) * (k - 1))
    return (between - error) / (between + (k - 1) * error + k * (raters - error) / n)


def stable(rows, learned):
    """Features of ICC 0.7 or more between readers and between repeats, of the lesions of these patients."""
    by = rows[rows["patient_id"].isin(learned)].set_index(["reader", "repeat", "patient_id", "lesion_id"]).sort_index()
    least = []
    for name in NAMES:
        of_analysis = []
        for other in (("2", "1"), ("1", "2")):
            again = by.loc[other, name]
            of_analysis.append(two_way_icc(np.column_stack([by.loc[("1", "1"), name].loc[again.index], again])))
        least.append(min(of_analysis))
    return [name for name, icc in zip(NAMES, least, strict=True) if icc >= 0.7]


def columns(cohort, names):
    """Features and sites of each lesion, in the order of the patients."""
    sites = {(one.id, lesion.id): lesion.site for one in cohort.patients for lesion in one.lesions}
    matrix = cohort.features.lesion_matrix()[names]
    lies = [sites[key] if sites[key] in SITES else "other" for key in matrix.index]
    return matrix.assign(**{f"site_{site}": [float(one == site) for one in lies] for site in SITES[1:]})


def learned_by_hand(learned, event, names, *, weighted):
    """Return what scores patients: logarithm, standardising, elastic net, refit, each on what the one before gave."""
    rows = columns(learned, names)
    owner = rows.index.get_level_values("patient_id").to_numpy(dtype=str)
    outcome = event.loc[owner].to_numpy()
    weight = 1 / pd.Series(owner).groupby(owner).transform("size").to_numpy() if weighted else np.ones(len(rows))
    least = rows.min()
    logged = np.log(rows - least + 1)
    mean = np.average(logged, axis=0, weights=weight)
    sd = np.sqrt(np.average((logged - mean) ** 2, axis=0, weights=weight))
    scaled = ((logged - mean) / sd).to_numpy()
    net = ElasticNetGrid(ALPHAS, "min", n_folds=FOLDS, seed=SEED, ratio=0.05 if weighted else 0.005)
    net.fit(scaled, outcome, *((weight, owner) if weighted else ()))
    chosen = net.coef_ != 0
    if weighted:
        refit = fit_patient_weighted(scaled[:, chosen], outcome, owner, net.lambda_, net.alpha_)
    else:
        with pytest.warns(UserWarning, match="no patient has lesions of both outcomes"):
            refit = LogisticMixedModel(1).fit(scaled[:, chosen], outcome, owner)

    def score(judged):
        values = np.log(np.maximum(columns(judged, names) - least, 0) + 1)
        odds = ((values - mean) / sd).to_numpy()[:, chosen] @ refit.coef_[0] + refit.intercept_[0]
        return pd.Series(expit(odds), values.index).groupby(level="patient_id").mean()

    return score, list(rows.columns[chosen])


@pytest.fixture(scope="module")
def study(root):
    cohort = read_manifest(root, [])
    clinical = pd.read_csv(root / "clinical.csv", dtype={"patient_id": str}).set_index("patient_id")
    return cohort, clinical["clinical_benefit"].astype(int)


@pytest.mark.parametrize("fold", [0, 1, 2, None], ids=["fold 1", "fold 2", "fold 3", "frozen"])
def test_ligero_4_icc_transform_elastic_net_and_refit_follow_each_other_in_every_training_set(fold, trained, study):
    cohort, event = study
    whole = predicted(trained, "out_of_fold")
    rows = predicted(trained, "held_out") if fold is None else whole[whole["fold"] == sorted(set(whole["fold"]))[fold]]
    learned = cohort.select([one for one in whole.index if one not in rows.index])

    names = stable(cohort.features.rows, learned.ids)
    score, _ = learned_by_hand(learned, event, names, weighted=True)

    assert names == NAMES[:AGREEING]
    np.testing.assert_allclose(score(cohort.select(rows.index)).loc[rows.index], rows["score"], atol=1e-5)


def test_ligero_4_a_held_out_patient_is_scored_by_hand_from_what_is_written(trained, study):
    cohort, _ = study
    card = json.loads((trained / "model" / "model.json").read_text(encoding="utf-8"))
    terms = pd.DataFrame(card["terms"]).T
    rows = predicted(trained, "held_out")

    values = columns(cohort.select(rows.index), NAMES)[terms.index]
    logged = np.log(np.maximum(values.to_numpy() - terms["logged_from"].to_numpy(), 0) + 1)
    standard = (logged - terms["mean"].to_numpy()) / terms["sd"].to_numpy()
    odds = standard @ terms["beta"].to_numpy() + card["mixed_model"]["intercept"]

    found = pd.Series(expit(odds), values.index).groupby(level="patient_id").mean()
    np.testing.assert_allclose(found.loc[rows.index], rows["score"], rtol=1e-9)


def test_ligero_4_counts_are_of_features_measured_stable_and_chosen(trained):
    counts = recorded(trained)["counts"]["selection"]
    card = json.loads((trained / "model" / "model.json").read_text(encoding="utf-8"))

    assert (counts["measured"], counts["reproducible"], counts["constant"]) == (len(NAMES), AGREEING, AGREEING)
    assert counts["elastic_net"] == sum(not name.startswith("site_") for name in card["terms"])


def test_ligero_4_that_the_mixed_model_has_no_estimate_is_told_with_what_stands_in(trained, published):
    used = {}
    for run, words in ((trained, "in its place stands"), (published, "and no estimates")):
        card = json.loads((run / "model" / "model.json").read_text(encoding="utf-8"))["mixed_model"]
        (told,) = [one for one in recorded(run)["messages"] if one.startswith("mixed model")]
        assert (card["identifiable"], card["converged"]) == (False, False)
        assert card["obstacle"] in told
        assert words in told
        used[run] = card["used"]
    assert list(used.values()) == ["patient_weighted", "mixed_model"]


def test_ligero_4_as_published_everybody_selects_and_each_lesion_counts_for_a_patient(published, study):
    cohort, event = study
    rows = predicted(published, "held_out")
    learned = cohort.select(predicted(published, "apparent").index)

    score, chosen = learned_by_hand(learned, event, stable(cohort.features.rows, cohort.ids), weighted=False)

    found = load_model(published / "model").model.selection()
    assert [one for one in chosen if not one.startswith("site_")] == found["elastic_net"]
    assert recorded(published)["counts"]["features_before_split"] == AGREEING
    # where a search without a maximum stops is no number to hold to the last digits
    np.testing.assert_allclose(score(cohort.select(rows.index)).loc[rows.index], rows["score"], atol=1e-6)


# Line 5


def most_sensitive_by_hand(rows):
    """The highest value midway between scores whose sensitivity is the most there is at a specificity of a half."""
    event, score = rows["event"].to_numpy(dtype=bool), rows["score"].to_numpy()
    scores = np.unique(score)
    midway = (scores[1:] + scores[:-1]) / 2
    sensitivity = np.array([(score[event] >= at).mean() for at in midway])
    enough = np.array([(score[~event] < at).mean() >= 0.5 for at in midway])
    return midway[enough & (sensitivity == sensitivity[enough].max())].max()


def test_ligero_5_the_cut_off_is_the_most_sensitive_of_training_and_is_carried_to_the_other_cohorts(trained, published):
    for run, partition in ((trained, "out_of_fold"), (published, "apparent")):
        value = most_sensitive_by_hand(predicted(run, partition))
        kept = json.loads((run / "model" / "cutoffs.json").read_text(encoding="utf-8"))["score"]

        assert 0 < value < 1  # of a probability, as 0.29 and 0.45 are
        assert kept == {"value": value, "rule": "max_sensitivity", "of": "score"}
        assert set(predicted(run, "held_out")["cutoff"]) == {value}
        assert set(predicted(run, "held_out", "lesion_")["cutoff"]) == {value}


def test_ligero_5_each_fold_has_a_cut_off_of_its_own_strictly_and_none_of_the_patients_judged(trained):
    rows = predicted(trained, "out_of_fold")

    of_fold = rows.groupby("fold")["cutoff"].agg(set)
    assert all(len(one) == 1 for one in of_fold)
    assert len(set.union(*of_fold)) == 3
    assert not set.union(*of_fold) & set(predicted(trained, "held_out")["cutoff"])


def test_ligero_5_at_the_frozen_cut_off_lesions_held_out_are_counted_as_patients_are(judged, trained):
    rows = predicted(trained, "held_out")
    event, high = rows["event"].to_numpy(dtype=bool), (rows["score"] >= rows["cutoff"]).to_numpy()

    found = judged[(judged["partition"] == "held_out") & (judged["endpoint"] == "clinical_benefit")]
    found = found[(found["centre"] == "") & (found["method"] == "clopper_pearson")].set_index("metric")["estimate"]

    assert found["sensitivity"] == pytest.approx(high[event].mean())
    assert found["specificity"] == pytest.approx((~high[~event]).mean())


# The radiomics-clinical signature


@pytest.fixture(scope="module")
def combined(train, root):
    inner = ["model.folds.n_folds=3", f"model.steps.elastic_net.alphas={ALPHAS}".replace(" ", "")]
    fewer = ["split.folds.n_folds=2", "split.inner=null"]
    return train("ligero_combined", root, "combined", *fewer, *inner, *small("model.members.radiomics"))


def test_the_combined_score_weighs_the_mean_radiomics_score_and_clinical_candidates(combined, trained):
    model = load_model(combined / "model").model

    candidates = load_config("train", ["experiment=ligero_combined"]).model.clinical
    radiomics = predicted(trained, "held_out")["score"]
    own = model.members["radiomics"].predict(read_manifest(combined.parent / "study", []).select(radiomics.index))
    np.testing.assert_array_equal(own.patients["score"].loc[radiomics.index], radiomics)
    weights = dict(zip(["radiomics", *model.encoder.get_feature_names_out()], model.steps[-1].coef_, strict=True))
    assert weights["radiomics"] > 0
    assert set(model.clinical) == set(candidates)
    assert roc_auc_score(*predicted(combined, "held_out")[["event", "score"]].to_numpy().T) > 0.7


# Line 7


def ball(folder, spacing_mm):
    """A bright ball of texture in noise."""
    folder.mkdir()
    z, y, x = np.meshgrid(*(np.arange(-20.0, 20.0, step) for step in spacing_mm), indexing="ij")
    inside = z**2 + y**2 + x**2 <= 9.0**2
    noise = np.random.default_rng(0).normal(scale=30, size=inside.shape)
    for name, voxels in (("image", np.rint(40 + noise + 50 * inside)), ("mask", inside.astype(np.uint8))):
        image = SimpleITK.GetImageFromArray(voxels.astype(np.int16))
        image.SetSpacing(spacing_mm[::-1])
        SimpleITK.WriteImage(image, str(folder / f"{name}.nii.gz"))
    (folder / "clinical.csv").write_text("patient_id,centre\nP1,phase1\n", encoding="utf-8")
    written = "patient_id,lesion_id,image,mask,site\nP1,L1,image.nii.gz,mask.nii.gz,node\n"
    (folder / "lesions.csv").write_text(written, encoding="utf-8")
    return folder, np.rint(40 + noise + 50 * inside)[inside]


def measured(folder, cache, **changes):
    settings = replace(named_settings("ligero"), **changes)
    table = extract_cohort(read_manifest(folder, []), settings, workers=1, limit_s=None, cache=cache)
    return table.lesion_matrix().iloc[0]


def test_ligero_7_bins_are_10_hu_wide_and_voxels_1_mm(tmp_path):
    folder, voxels = ball(tmp_path / "ball", (1.0, 1.0, 1.0))

    out = tmp_path / "features.parquet"
    assert main(["extract", str(folder), "--settings", "ligero", "--out", str(out), "--workers", "1"]) == 0

    (row,) = pd.read_parquet(out).to_dict("records")
    share = np.unique(np.floor(voxels / 10), return_counts=True)[1] / voxels.size  # bins begin at multiples of 10
    assert row["original_firstorder_Entropy"] == pytest.approx(-(share * np.log2(share)).sum(), rel=1e-9)
    assert row["original_firstorder_Uniformity"] == pytest.approx((share**2).sum(), rel=1e-9)
    assert row["original_shape_VoxelVolume"] == voxels.size


def test_ligero_7_thick_slices_are_resampled_to_1_mm(tmp_path):
    fine, _ = ball(tmp_path / "fine", (1.0, 1.0, 1.0))
    thick, _ = ball(tmp_path / "thick", (2.5, 0.8, 0.8))

    volumes = [measured(one, tmp_path / "cache")["original_shape_VoxelVolume"] for one in (fine, thick)]

    assert all(volume == int(volume) for volume in volumes)  # whole voxels of 1 mm³
    assert volumes[1] == pytest.approx(4 / 3 * np.pi * 9.0**3, rel=0.05)


def test_ligero_7_the_width_of_bins_changes_texture_alone(tmp_path):
    folder, _ = ball(tmp_path / "ball", (2.5, 0.8, 0.8))
    ten, other = (measured(folder, tmp_path / "cache", bin_width=width) for width in (10.0, 25.0))

    changed = ten.index[ten.to_numpy() != other.to_numpy()]

    texture = ("glcm", "glrlm", "glszm", "gldm", "ngtdm")
    binned = {"original_firstorder_Entropy", "original_firstorder_Uniformity"}  # of the histogram of bins
    of_texture = {name for name in ten.index if name.split("_")[1] in texture}
    assert len(ten) == 107
    assert binned <= set(changed) <= binned | of_texture
    assert len(of_texture - set(changed)) < 5
    assert not [name for name in changed if "shape" in name]
