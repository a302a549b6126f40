"""Han 2024 as its specification accepts it, lines 1 to 5, 8 and 9, from what a user types to what is written."""

import json

import numpy as np
import pandas as pd
import pytest
import SimpleITK
from sklearn.metrics import roc_auc_score

pytest.importorskip("torch", reason="training needs the extra train")

from cohorts import write_cohort
from radnet.cli import main
from radnet.cohort import FEATURE_KEYS, Cohort, FeatureTable, Lesion, Outcome, Patient
from radnet.data.manifest import read_manifest
from radnet.evaluation.baseline.printed import baseline_faults
from radnet.predictors.folder import load_model

LABEL = {"discovery": "tme", "validation": "tme", "cd8": "cd8", "immunotherapy": "response"}
SIZES = {"discovery": 94, "validation": 24, "cd8": 158, "immunotherapy": 77}
NAMES = ["original_shape_VoxelVolume", *(f"original_firstorder_Made{one}" for one in range(15))]
TWICE, AGREEING, HALFWAY = 30, 10, 1  # patients delineated again; features both agree on; those one of the two does
SMALL = ["model.steps.forest.n_trees=[25]", "model.steps.forest.max_depth=[3]", "split.inner.n_folds=2"]
SMALL += ["model.steps.forest.min_samples_leaf=[3,5]", "model.steps.forest.n_folds=3"]


def of_study(seed, sizes=SIZES, signal=1.0):
    """Patients of the four cohorts, each with the label of his own; the phenotype moves three features of the ring.

    Readers and repeats of the last features do not agree, and of the one before them only repeats do.
    """
    rng = np.random.default_rng(seed)
    agree = {"2": np.arange(len(NAMES)) < AGREEING, "1": np.arange(len(NAMES)) < AGREEING + HALFWAY}
    patients, rows = [], []
    for centre, size in sizes.items():
        for place in range(size):
            identity, inflamed = f"{centre[:3]}{place:03d}", rng.random() < 0.4
            event = bool(inflamed if centre != "immunotherapy" else rng.random() < (0.4 if inflamed else 0.1))
            split = "train" if centre == "discovery" else "held_out"
            outcomes = dict.fromkeys(LABEL.values()) | {LABEL[centre]: Outcome(event)}
            patients.append(Patient(identity, centre, split, outcomes, (Lesion("L1", site="breast"),), {}))
            for region in ("lesion", "ring"):
                known = rng.normal(size=len(NAMES))
                known[1:4] += signal * inflamed * (region == "ring")
                known[0] = rng.uniform(500, 5000)
                again = [("2", "1"), ("1", "2")] if centre == "discovery" and place < TWICE else []
                for reader, repeat in [("1", "1"), *again]:
                    noise = rng.normal(size=len(NAMES))
                    read = np.where(agree[reader], known + 0.05 * noise, 3 * noise)
                    read = known if (reader, repeat) == ("1", "1") else read
                    rows.append((identity, "L1", region, "image", reader, repeat, "ok", *read))
    table = pd.DataFrame(rows, columns=[*FEATURE_KEYS, "status", *NAMES])
    return Cohort(tuple(patients), FeatureTable(table, {"engine": "made by a test"}))


@pytest.fixture(scope="module")
def root(workplace):
    """The study, its phenotype of discovery and validation from a file of clusters that another program wrote."""
    folder = write_cohort(of_study(1), workplace / "study")
    clinical = pd.read_csv(folder / "clinical.csv", dtype=str)
    clinical[["patient_id", "tme"]].dropna().rename(columns={"tme": "is_a"}).to_csv("clusters.csv", index=False)
    clusters = pd.read_csv("clusters.csv", dtype=str)
    joined = clinical.drop(columns="tme").merge(clusters, on="patient_id", how="left")
    joined.to_csv(folder / "clinical.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def trained(train, root):
    """The rad-score, with permuted outcomes."""
    controls = ["falsification=true", "falsification.permutations=19", "falsification.random_signatures=0"]
    return train("han_tme", root, "tme", "endpoint.event=is_a", "falsification.voxels=null", *controls, *SMALL)


@pytest.fixture(scope="module")
def judged(evaluate, trained):
    """Its evaluation."""
    return evaluate(trained / "evaluation", f"run={trained}", "evaluation.bootstrap=40", "report=false")


def predicted(run, endpoint, partition, model="han_tme"):
    rows = pd.read_parquet(run / "predictions.parquet")
    mine = (rows["partition"] == partition) & (rows["endpoint"] == endpoint) & (rows["model"] == model)
    return rows[mine].set_index("patient_id")


def one_of(metrics, metric, **where):
    rows = metrics[metrics["metric"] == metric]
    for column, value in {"level": "patient", "subgroup": "", "centre": "", "versus": "", **where}.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1, f"{metric} {where}: {len(rows)} rows"
    return rows.iloc[0]


def balls(folder, spacing_mm, radius_mm, centres_mm=((0.0, 0.0, 0.0),)):
    """Bright balls of a radius in noise, each off the grid by a vector, as a cohort folder of a patient each."""
    folder.mkdir()
    half = radius_mm + 8
    patients, lesions = ["patient_id,centre"], ["patient_id,lesion_id,image,mask"]
    for number, centre_mm in enumerate(centres_mm):
        places = [np.arange(-half, half, step) - at for step, at in zip(spacing_mm, centre_mm, strict=True)]
        z, y, x = np.meshgrid(*places, indexing="ij")
        inside = z**2 + y**2 + x**2 <= radius_mm**2
        noise = np.random.default_rng(0).normal(size=inside.shape)
        for name, voxels in (("image", 100 + 20 * noise + 50 * inside), ("mask", inside.astype(np.uint8))):
            image = SimpleITK.GetImageFromArray(voxels)
            image.SetSpacing(spacing_mm[::-1])
            SimpleITK.WriteImage(image, str(folder / f"{name}{number}.nii.gz"))
        patients.append(f"P{number},discovery")
        lesions.append(f"P{number},L1,image{number}.nii.gz,mask{number}.nii.gz")
    (folder / "clinical.csv").write_text("\n".join(patients) + "\n", encoding="utf-8")
    (folder / "lesions.csv").write_text("\n".join(lesions) + "\n", encoding="utf-8")
    return folder


def measured(folder, settings):
    out = folder.parent / f"{folder.name} {settings}.parquet"
    assert main(["extract", str(folder), "--settings", settings, "--out", str(out), "--workers", "1"]) == 0
    return pd.read_parquet(out)


@pytest.mark.parametrize("settings", ["han479a", "han479b"])
def test_han_1_a_region_has_479_features_and_tumour_and_ring_958(settings, tmp_path, workplace):
    assert workplace.is_dir()
    rows = measured(balls(tmp_path / "ball", (1.0, 1.0, 1.0), 5.0), settings)

    matrix = FeatureTable(rows).lesion_matrix(("lesion", "ring"))

    of_lesion = [name for name in matrix.columns if "__" not in name]
    kinds = pd.Series(of_lesion).str.split("_").str[1].replace({"shape": "shape", "firstorder": "first order"})
    kinds = kinds.where(kinds.isin(["shape", "first order"]), "texture").value_counts().to_dict()
    assert kinds == {"shape": 14, "first order": 90, "texture": 375}
    assert list(matrix.columns) == [*of_lesion, *(f"ring__{name}" for name in of_lesion)]
    assert matrix.shape == (1, 958)
    assert set(rows["status"]) == {"ok"}


def test_han_2_the_ring_of_a_ball_has_the_volume_of_its_band_and_that_of_thick_slices_too(tmp_path, workplace):
    assert workplace.is_dir()
    radius_mm, centres_mm = 12.0, np.random.default_rng(0).uniform(-2, 2, (4, 3))
    fine, scanned = (
        FeatureTable(measured(balls(tmp_path / f"{spacing_mm[0]}", spacing_mm, radius_mm, centres_mm), "han479a"))
        .lesion_matrix(("lesion", "ring"))["ring__original_shape_VoxelVolume"]
        .mean()
        for spacing_mm in ((1.0, 1.0, 1.0), (1.5, 0.7, 0.7))
    )

    band = 4 / 3 * np.pi * ((radius_mm + 2) ** 3 - (radius_mm - 2) ** 3)
    assert 0.8 < fine / band < 1.0  # between centres of voxels: half a voxel is missing on each side
    assert scanned == pytest.approx(fine, rel=0.05)


def two_way_icc(readings):
    """ICC(2,1) from the mean squares of a two-way analysis of variance; readings of shape (lesions, raters)."""
    n, k = readings.shape
    grand, lesion, rater = readings.mean(), readings.mean(axis=1), readings.mean(axis=0)
    between = k * ((lesion - grand) ** 2).sum() / (n - 1)
    raters = n * ((rater - grand) ** 2).sum() / (k - 1)
    error = ((readings - lesion[:, None] - rater + grand) ** 2).sum() / ((n - 1) * (k - 1))
    return (between - error) / (between + (k - 1) * error + k * (raters - error) / n)


def test_han_3_features_stable_between_readers_and_repeats_beyond_three_quarters_are_kept(trained, root):
    model = load_model(trained / "model").model
    step = model.steps.named_steps["reproducible"]
    rows = read_manifest(root, []).features.rows.set_index(["region", "reader", "repeat", "patient_id"]).sort_index()

    expected = {}
    for across, other in (("reader", ("2", "1")), ("repeat", ("1", "2"))):
        pairs = [
            np.stack([rows.loc[(region, *who), NAMES].loc[again.index] for who in (("1", "1"), other)], axis=-1)
            for region in ("lesion", "ring")
            for again in [rows.loc[(region, *other), NAMES]]
        ]
        readings = np.concatenate(pairs, axis=1)  # patients, features of both regions, raters
        expected[across] = [two_way_icc(readings[:, place]) for place in range(readings.shape[1])]

    assert (step.form, step.minimum, step.strict) == ("ICC(2,1)", 0.75, True)
    assert step.lesions_ == {"reader": TWICE, "repeat": TWICE}
    for across, iccs in expected.items():
        np.testing.assert_allclose(step.icc_[across], iccs, rtol=1e-9, atol=1e-12)
    kept = np.min(list(expected.values()), axis=0) > 0.75
    np.testing.assert_array_equal(step.get_support(), kept)
    assert kept.sum() == 2 * AGREEING  # and not the one that repeats alone agree on


def youden_by_hand(rows):
    """The lowest value midway between neighbouring scores with the most of sensitivity + specificity, in patients."""
    event, score = rows["event"].to_numpy(dtype=bool), rows["score"].to_numpy()
    scores = np.unique(score)
    midway = (scores[1:] + scores[:-1]) / 2
    events, others = event.sum(), (~event).sum()
    gain = [(score[event] >= at).sum() * others - (score[~event] >= at).sum() * events for at in midway]
    return midway[np.argmax(gain)]


def test_han_4_the_frozen_forest_judges_each_cohort_on_its_own_label_with_the_cut_off_of_training(trained, root):
    loaded = load_model(trained / "model")
    out_of_fold = predicted(trained, "tme", "out_of_fold")
    cohort = read_manifest(root, [one.endpoint for one in loaded.readings])
    truth = {one.id: one for one in cohort.patients}

    assert [one.endpoint.name for one in loaded.readings] == ["tme", "cd8", "response"]
    assert loaded.endpoint.event == "is_a"
    assert (loaded.card["n"], loaded.card["centres"]) == (94, ["discovery"])
    for endpoint, centre in (("tme", "validation"), ("cd8", "cd8"), ("response", "immunotherapy")):
        rows = predicted(trained, endpoint, "held_out").dropna(subset="event")
        assert set(rows["centre"]) == {centre}
        assert len(rows) == SIZES[centre]
        assert all(truth[one].outcomes[endpoint].event == event for one, event in rows["event"].items())
        again = loaded.model.predict(cohort.select(rows.index)).patients["score"]
        np.testing.assert_array_equal(again.loc[rows.index], rows["score"])
        assert set(rows["cutoff"]) == {youden_by_hand(out_of_fold)}


def test_han_4_patients_of_other_labels_change_nothing_that_is_learned(trained, train, workplace):
    alone = of_study(1).where(lambda one: LABEL[one.centre] == "tme")

    again = train("han_tme", write_cohort(alone, workplace / "tme only"), "alone", *SMALL)

    for partition in ("out_of_fold", "apparent"):
        pd.testing.assert_frame_equal(predicted(trained, "tme", partition), predicted(again, "tme", partition))
    first, second = predicted(trained, "tme", "held_out"), predicted(again, "tme", "held_out")
    pd.testing.assert_frame_equal(first.loc[second.index], second)


def test_han_4_a_cut_off_fitted_on_patients_it_judges_is_refused_unless_allowed(trained, workplace, evaluate):
    rows = predicted(trained, "cd8", "held_out").dropna(subset="event").reset_index()
    rows.to_csv("cd8.csv", index=False)
    typed = ["evaluate", "predictions=cd8.csv", "output=refused", "evaluation.cutoff=youden", "report=false"]

    assert main(typed) == 1

    told = json.loads((workplace / "refused" / "evaluation.json").read_text(encoding="utf-8"))["messages"]
    (refused,) = [one["message"] for one in told if one["severity"] == "failed"]
    assert "needs scores of training patients, but the table has held_out rows only" in refused
    allowed = ["evaluation.cutoff=youden", "evaluation.allow_refit_cutoff=true", "report=false"]
    found = evaluate(workplace / "allowed", "predictions=cd8.csv", *allowed)
    assert one_of(found, "cutoff")["estimate"] == pytest.approx(youden_by_hand(rows))


@pytest.fixture(scope="module")
def by_median(train, root):
    """The same forest, read at the median of the training scores."""
    return train("han_response", root, "response", "endpoint.event=is_a", *SMALL)


def test_han_5_high_and_low_are_parted_by_the_training_median(by_median, trained):
    median = np.median(predicted(by_median, "tme", "out_of_fold", "han_response")["score"])
    rows = predicted(by_median, "response", "held_out", "han_response")

    assert set(rows["cutoff"]) == {median}
    pd.testing.assert_series_equal(rows["score"], predicted(trained, "response", "held_out")["score"])


def test_han_5_the_median_of_the_patients_judged_is_for_description_and_says_so(by_median, workplace, capsys):
    rows = predicted(by_median, "response", "held_out", "han_response").dropna(subset="event")
    typed = ["evaluate", f"run={by_median}", "output=described", "evaluation.bootstrap=5", "report=false"]

    assert main([*typed, "evaluation.cutoff=median", "evaluation.allow_refit_cutoff=true"]) == 0

    metrics = pd.read_csv(workplace / "described" / "metrics.csv", keep_default_na=False)
    metrics = metrics[(metrics["endpoint"] == "response") & (metrics["partition"] == "held_out")]
    assert float(one_of(metrics, "cutoff")["estimate"]) == pytest.approx(np.median(rows["score"]))
    assert (
        "fitted by median on the very patients they judge; what they are worth is optimistic" in capsys.readouterr().out
    )


@pytest.mark.parametrize("endpoint", ["tme", "cd8", "response"])
def test_han_8_each_cohort_has_its_auc_with_an_interval(endpoint, judged, trained):
    rows = predicted(trained, endpoint, "held_out").dropna(subset="event")

    found = one_of(judged, "auc", endpoint=endpoint, partition="held_out", model="han_tme", method="delong")

    assert found["estimate"] == pytest.approx(roc_auc_score(rows["event"], rows["score"]))
    assert found["lower"] < found["estimate"] < found["upper"]
    assert (found["n"], found["n_event"]) == (len(rows), rows["event"].sum())


def test_han_8_the_auc_of_discovery_is_told_out_of_fold_with_a_bootstrap_interval_apart_from_the_apparent(
    judged, trained
):
    folds = [one for _, one in predicted(trained, "tme", "out_of_fold").groupby("fold")]
    within = np.mean([roc_auc_score(one["event"], one["score"]) for one in folds])

    found = one_of(judged, "auc", endpoint="tme", partition="out_of_fold", model="han_tme", method="bootstrap")
    apparent = one_of(judged, "auc", endpoint="tme", partition="apparent", model="han_tme", method="delong")

    assert found["estimate"] == pytest.approx(within)
    assert found["lower"] < found["estimate"] < found["upper"]
    assert apparent["estimate"] > found["estimate"] + 0.05  # a forest knows its own patients
    assert not len(judged[(judged["partition"] != "held_out") & (judged["endpoint"] != "tme")])


def test_han_8_a_forest_of_more_features_than_events_is_not_told_of_weights_it_does_not_have(trained):
    record = json.loads((trained / "run.json").read_text(encoding="utf-8"))

    assert record["counts"]["events_per_feature"] < 5
    assert not [one for one in record["messages"] if "weights" in one]


def test_han_8_outcomes_permuted_give_the_p_value_of_the_folds(trained):
    found = json.loads((trained / "falsification.json").read_text(encoding="utf-8"))["permutation"]

    reached = sum(one >= found["observed"] for one in found["null"])
    assert len(found["null"]) == 19
    assert found["p_value"] == pytest.approx((1 + reached) / 20)


PRINTED = {  # Table 1: levels, patients of each cohort in the order of SIZES after the 1089 with expression
    "age": ("18-60 >60", "600 489", "62 32", "18 6", "121 37", "67 10"),
    "side": ("left right", "567 522", "50 44", "10 14", "89 69", "51 26"),
    "vital status": ("alive dead", "938 151", "91 3", "24 0", "", ""),
    "OS": ("<=1 1-3 3-5 >5", "168 481 187 253", "6 44 24 21", "1 6 8 9", "", ""),
    "stage": ("I II III IV NA", "180 620 248 20 21", "20 59 15 0 0", "8 15 1 0 0", "6 57 23 2 70", "0 19 12 0 46"),
    "ER": ("+ - NA", "802 237 50", "78 16 0", "19 5 0", "119 39 0", "15 58 4"),
    "PR": ("+ - NA", "693 343 53", "72 22 0", "15 9 0", "100 58 0", "15 58 4"),
    "HER2": ("+ - ? NA", "164 559 190 176", "11 48 0 35", "2 14 0 8", "118 40 0 0", "6 67 0 4"),
}


def test_han_9_of_all_totals_of_table_1_that_of_survival_in_discovery_alone_disagrees_with_its_patients():
    cohorts = {"expression": 1089, **SIZES}
    faults = []
    for place, (cohort, size) in enumerate(cohorts.items(), start=1):
        told = {name: cells for name, cells in PRINTED.items() if cells[place]}
        rows = [
            (name, level, int(count))
            for name, cells in told.items()
            for level, count in zip(cells[0].split(), cells[place].split(), strict=True)
        ]
        faults += baseline_faults(pd.DataFrame(rows, columns=["variable", "level", cohort]), {cohort: size})

    assert faults == ["OS: the levels of discovery add up to 95, not 94"]
