"""A run with controls: what stands in its tables and in falsification.json."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="training needs the extra train")

from cohorts import make_cohort, write_cohort
from hazards import Interrupted, Steps
from radnet.cohort import Cohort, FeatureTable, Outcome
from radnet.config import ConfigFault, load_config
from radnet.evaluation.discrimination import compare_paired, delong
from radnet.experiment import run_experiment
from radnet.tables import contradictions, read_predictions

CONTROLS = {"control_volume", "control_clinical", "control_random_features"}
FEW = ["falsification.permutations=9", "falsification.random_signatures=5", "optimism=none"]


def run(folder, output, *typed, experiment="zhao_mlp"):
    fast = ["trainer.max_epochs=4", "split.folds.n_folds=3", "split.inner.n_folds=2", "model.network.hidden=[8,4]"]
    fast = fast if experiment == "zhao_mlp" else ["model.clinical=[age,lines_ge2]"]
    typed = [f"experiment={experiment}", "data=manifest", f"data.root={folder}", f"output={output}", *fast, *typed]
    return run_experiment(load_config("train", typed))


def told(folder):
    return json.loads((folder / "falsification.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def finished(cohort_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run(cohort_folder, folder / "out", *FEW, "falsification.clinical=[age,subtype,visceral]")


def test_controls_judge_the_patients_of_the_model_in_its_folds(finished):
    table = read_predictions(finished / "predictions.parquet")

    assert set(table["model"]) == {"zhao_mlp", *CONTROLS}
    assert contradictions(table) == []
    of_model = table[table["model"] == "zhao_mlp"].set_index(["partition", "fold", "patient_id"]).sort_index()
    for name in CONTROLS:
        control = table[table["model"] == name].set_index(["partition", "fold", "patient_id"]).sort_index()
        pd.testing.assert_frame_equal(control[["event", "centre"]], of_model[["event", "centre"]])
        assert control["score"].nunique() > 2
        assert control["cutoff"].notna().all()
        assert control.loc["out_of_fold"].groupby("fold")["cutoff"].nunique().tolist() == [1, 1, 1]


def test_no_control_stands_among_the_lesions(finished):
    assert set(pd.read_parquet(finished / "lesion_predictions.parquet")["model"]) == {"zhao_mlp"}


def test_falsification_json_says_what_was_run_and_what_was_not(finished):
    record = told(finished)

    assert [one["model"] for one in record["controls"]] == [
        "control_volume",
        "control_clinical",
        "control_random_features",
    ]
    assert all(one["patients"] == 60 for one in record["controls"])
    assert record["controls"][1]["what"].endswith("(clinical.csv lacks visceral)")
    assert record["permutation"]["model"] == "logistic"
    assert len(record["permutation"]["null"]) == 9
    assert record["permutation"]["p_value"] * 10 == pytest.approx(round(record["permutation"]["p_value"] * 10))
    assert len(record["random_signatures"]["auc"]) == 5
    absent = {one["model"]: one["why"] for one in record["not_run"]}
    assert set(absent) == {"control_same_patients", "control_shuffled_voxels", "control_random_region"}
    assert all("no lesion of the cohort has an image" in why for why in absent.values())


def test_the_models_own_permutations_start_from_what_the_run_has_judged(cohort_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    folder = run(cohort_folder, tmp_path / "out", *FEW, "falsification.permute=model", "falsification.permutations=2")

    permutation = told(folder)["permutation"]
    table = read_predictions(folder / "predictions.parquet")
    judged = table[(table["model"] == "zhao_mlp") & (table["partition"] == "out_of_fold")]
    within = []
    for _, fold in judged.groupby("fold"):
        with_event, without = (fold.loc[fold["event"] == one, "score"].to_numpy() for one in (1.0, 0.0))
        higher = with_event[:, None] > without
        within.append((higher + 0.5 * (with_event[:, None] == without)).mean())
    assert permutation["model"] == "model"
    assert permutation["observed"] == pytest.approx(np.mean(within))
    assert len(set(permutation["null"])) == 2


def test_a_run_interrupted_among_permutations_goes_on_and_ends_in_the_tables_of_a_calm_one(
    cohort_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Steps, "left", 10**9)
    monkeypatch.setattr(Steps, "asked", 0)
    typed = [*FEW, "falsification.permute=model", "falsification.permutations=2", "split.inner=null"]
    typed += ["model.loss._target_=hazards.counted_loss", "trainer.checkpoint_every_s=0"]
    calm = run(cohort_folder, tmp_path / "calm", *typed)
    needed, Steps.asked = Steps.asked, 0

    Steps.left = needed - needed // 10 * 3  # of ten fits six are of permutations, and these come last
    with pytest.raises(Interrupted):
        run(cohort_folder, tmp_path / "killed", *typed)
    assert (tmp_path / "killed" / "progress" / "permutation_1" / "fold_1" / "epochs.parquet").is_file()
    Steps.left = 10**9
    resumed = run(cohort_folder, tmp_path / "killed", *typed)

    assert told(resumed) == told(calm)
    assert (resumed / "predictions.parquet").read_bytes() == (calm / "predictions.parquet").read_bytes()
    assert Steps.asked < needed * 1.3


def test_a_clinical_model_has_a_clinical_control_and_a_permutation_test(cohort_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    folder = run(cohort_folder, tmp_path / "out", *FEW, experiment="zhao_clinical")

    record = told(folder)
    assert set(read_predictions(folder / "predictions.parquet")["model"]) == {"zhao_clinical", "control_clinical"}
    assert record["permutation"]["p_value"] >= 0.1
    assert {one["model"]: one["why"] for one in record["not_run"]} == {
        "control_volume": "the model reads no image, so that no lesion was measured"
    }


def test_controls_do_not_change_the_model(finished, cohort_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    plain = run(cohort_folder, tmp_path / "out", "optimism=none", "falsification=false")

    table = pd.read_parquet(finished / "predictions.parquet")
    of_model = table[table["model"] == "zhao_mlp"].reset_index(drop=True)
    pd.testing.assert_frame_equal(of_model, pd.read_parquet(plain / "predictions.parquet"), check_exact=True)
    assert not (plain / "falsification.json").exists()


def test_where_volume_alone_carries_the_outcome_a_model_of_many_features_does_not_beat_it(tmp_path, monkeypatch):
    """Outcomes drawn from volume; the other features are of no use to the model, so that volume must not be beaten."""
    monkeypatch.chdir(tmp_path)
    cohort = make_cohort(160, seed=4, signal=0.0, n_features=20, held_out=80)
    rows = cohort.features.rows.copy()
    size = np.log(rows.groupby("patient_id")["original_shape_VoxelVolume"].sum())
    score = (size - size.mean()) / size.std() + np.random.default_rng(1).normal(0, 0.7, len(size))
    patients = tuple(replace(one, outcomes={"response": Outcome(bool(score[one.id] > 0.5))}) for one in cohort.patients)
    rows["original_firstorder_F0"] = rows["original_shape_VoxelVolume"] ** (1 / 3)
    folder = write_cohort(Cohort(patients, FeatureTable(rows)), tmp_path / "cohort")

    finished = run(folder, tmp_path / "out", *FEW, "falsification.permutations=0", "trainer.max_epochs=30")

    table = read_predictions(finished / "predictions.parquet")
    held_out = table[table["partition"] == "held_out"].pivot_table(["event", "score"], "patient_id", "model")
    compared = compare_paired(
        held_out["event", "zhao_mlp"].astype(bool),
        held_out["score", "zhao_mlp"],
        held_out["score", "control_volume"],
        0.95,
    )
    assert compared.lower < 0
    assert delong(held_out["event", "zhao_mlp"].astype(bool), held_out["score", "control_volume"]).auc > 0.8
    assert told(finished)["permutation"] is None


@pytest.mark.parametrize(("word", "on"), [("true", True), ("false", False), ("controls", True), ("none", False)])
def test_controls_are_turned_on_and_off_by_a_word(word, on):
    assert bool(load_config("train", ["experiment=zhao_mlp", f"falsification={word}"]).falsification) is on


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("falsification=maybe", "conf/falsification has no maybe"),
        ("falsification.permutation=3", "there is no permutation in falsification; did you mean permutations?"),
        ("falsification.permutations=many", "falsification.permutations is 'many', expected int"),
    ],
)
def test_a_mistyped_control_is_told_before_work_starts(typed, message):
    with pytest.raises(ConfigFault, match=message.replace("?", r"\?")):
        load_config("train", ["experiment=zhao_mlp", typed])


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("falsification.permute=mlp", "permute must be logistic or model, got 'mlp'"),
        ("falsification.permutations=-1", "permutations must be 0 or more, got -1"),
        ("falsification.voxels.patients=0", "voxels must be patients: 1 or more"),
    ],
)
def test_a_value_no_control_can_take_is_told_before_a_lesion_is_measured(
    typed, message, cohort_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigFault, match=message):
        run(cohort_folder, tmp_path / "out", typed)
    assert not (tmp_path / "out" / "predictions.parquet").exists()
