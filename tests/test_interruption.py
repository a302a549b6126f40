"""Runs and extractions that are interrupted, gone on with, and end as if they had never been."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

pytest.importorskip("torch", reason="training needs the extra train")

from cohorts import make_cohort, make_study, write_cohort
from hazards import Interrupted, Steps
from radnet.config import load_config
from radnet.data.features import read_features
from radnet.data.manifest import read_manifest
from radnet.experiment import run_experiment
from radnet.predictors.base import Prediction, no_lesions
from radnet.run_folder import RunFolder

MAIN = Path(__file__).parents[1]
FAST = ["trainer.max_epochs=4", "split.folds.n_folds=2", "split.inner.n_folds=2", "model.network.hidden=[16,8,4]"]
FAST += ["falsification=false", "optimism=none"]
COUNTED = ["model.loss._target_=hazards.counted_loss", "trainer.checkpoint_every_s=0", "logger=csv"]
TABLES = ("predictions.parquet", "lesion_predictions.parquet", "train_log.csv")


def run(cohort, output, *typed):
    chosen = ["experiment=zhao_mlp", "data=manifest", f"data.root={cohort}", f"output={output}", *FAST, *typed]
    return run_experiment(load_config("train", chosen))


@pytest.fixture
def steps(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # checkpoints/ is made where the user stands
    monkeypatch.setattr(Steps, "left", 10**9)
    monkeypatch.setattr(Steps, "asked", 0)
    return Steps


def test_a_run_interrupted_again_and_again_ends_in_the_tables_of_a_calm_one(tmp_path, steps):
    study = write_cohort(make_study(60, seed=1, held_out=20), tmp_path / "study")
    calm = run(study, tmp_path / "calm", *COUNTED)
    needed, interruptions, folder = steps.asked, 0, None
    steps.asked = 0

    while folder is None:
        steps.left = needed // 4
        try:
            folder = run(study, tmp_path / "killed", *COUNTED)
        except Interrupted:
            interruptions += 1

    assert interruptions == 4  # a quarter each, and what was lost at each
    for name in (*TABLES, "model/network.safetensors"):
        assert (folder / name).read_bytes() == (calm / name).read_bytes(), name
    assert steps.asked - needed < interruptions * needed / (7 * 4)  # 7 fits of 4 epochs: less than an epoch each
    assert json.loads((folder / "run.json").read_text())["resumed"] is True
    assert {one.name for one in folder.iterdir()} == {one.name for one in calm.iterdir()}
    assert pd.read_csv(folder / "lightning" / "metrics.csv")["epoch"].nunique() == 4
    read_too = pd.read_parquet(folder / "predictions.parquet").query("endpoint == 'pfs'")
    assert read_too["patient_id"].nunique() == 60
    assert read_too["cutoff"].notna().all()


def test_a_finished_run_is_replaced_only_where_that_is_asked_for(cohort_folder, tmp_path, steps):
    folder = run(cohort_folder, tmp_path / "out")
    before = (folder / "predictions.parquet").read_bytes()
    (folder / "evaluation").mkdir()

    with pytest.raises(ValueError, match=r"holds a finished run: choose another folder, .* overwrite=true"):
        run(cohort_folder, tmp_path / "out", "seed=8")
    assert (folder / "predictions.parquet").read_bytes() == before

    run(cohort_folder, tmp_path / "out", "seed=8", "overwrite=true")
    assert (folder / "predictions.parquet").read_bytes() != before
    assert not (folder / "evaluation").exists()


def begin(cohort, output):
    """Begin a run that is interrupted in its second fit."""
    Steps.left = 20
    with pytest.raises(Interrupted):
        run(cohort, output, *COUNTED)
    Steps.left = 10**9


def test_an_unfinished_run_is_not_gone_on_with_by_another_configuration(cohort_folder, tmp_path, steps):
    begin(cohort_folder, tmp_path / "out")
    kept = tmp_path / "out" / "progress" / "fold_1_inner_1" / "epochs.parquet"
    assert kept.is_file()

    with pytest.raises(
        ValueError, match=r"was begun with seed=7 \(now 8\).*: choose .* begin anew with overwrite=true"
    ):
        run(cohort_folder, tmp_path / "out", *COUNTED, "seed=8")

    steps.left = 1
    with pytest.raises(Interrupted):
        run(cohort_folder, tmp_path / "out", *COUNTED, "seed=8", "overwrite=true")
    assert not kept.exists()


@pytest.mark.parametrize("table", ["clinical.csv", "features.parquet"])
def test_an_unfinished_run_is_not_gone_on_with_on_other_data(table, tmp_path, steps):
    cohorts = [write_cohort(make_cohort(60, seed=seed, held_out=20), tmp_path / f"cohort_{seed}") for seed in (1, 2)]
    begin(cohorts[0], tmp_path / "out")
    (cohorts[0] / table).write_bytes((cohorts[1] / table).read_bytes())

    with pytest.raises(ValueError, match=f"was begun with {table}="):
        run(cohorts[0], tmp_path / "out", *COUNTED)


def run_folder(path, torch="2.9", **changes):
    chosen = {
        "name": "any",
        "output": path and str(path),
        "overwrite": False,
        "seed": 1,
        "penalties": [0.1, float("inf")],
    }
    return RunFolder(OmegaConf.create({**chosen, **changes}), {"versions": {"torch": torch}})


@pytest.mark.parametrize("lesions", ["none", "some"])
def test_a_fit_that_is_done_is_not_done_again(lesions, tmp_path):
    patients = pd.DataFrame(
        {"score": [0.1 + 0.2, -1e-300], "probability": np.nan}, index=pd.Index(["P1", "P2"], name="patient_id")
    )
    index = pd.MultiIndex.from_tuples([("P1", "L1"), ("P2", "L1")], names=["patient_id", "lesion_id"])
    rows = pd.DataFrame({"score": [1 / 3, 2.0], "weight": 1.0}, index=index)
    made = Prediction(patients, *((no_lesions(), None) if lesions == "none" else (rows, 0.1)))
    history = [] if lesions == "none" else [{"epoch": 0.0, "train_loss": 1 / 3}, {"epoch": 1.0, "train_loss": np.nan}]

    run_folder(tmp_path).once("fold_1", lambda checkpoint: (made, history))
    prediction, epochs = run_folder(tmp_path).once("fold_1", lambda checkpoint: pytest.fail("made again"))

    pd.testing.assert_frame_equal(prediction.patients, made.patients, check_exact=True)
    pd.testing.assert_frame_equal(prediction.lesions, made.lesions, check_exact=True, check_index_type=len(rows) == 0)
    assert str(epochs) == str(history)
    assert prediction.cutoff == made.cutoff


def test_readings_on_further_endpoints_and_selected_features_are_kept_with_a_fit(tmp_path):
    index = pd.Index(["P1", "P2"], name="patient_id")
    score = np.array([0.1 + 0.2, -1e-300])
    plain = pd.DataFrame({"score": score, "probability": [0.25, np.nan]}, index=index)
    by_time = pd.DataFrame({"score": -score, "probability": np.nan, "probability_12.5": [1 / 3, 0.0]}, index=index)
    also = {"pfs": Prediction(by_time, no_lesions(), -0.7), "os": Prediction(by_time, no_lesions())}
    made = Prediction(plain, no_lesions(), 0.5, also, ("original_glcm_Contrast", "ring__original_glcm_Idm"))

    run_folder(tmp_path).once("fold_1", lambda checkpoint: (made, []))
    found, _ = run_folder(tmp_path).once("fold_1", lambda checkpoint: pytest.fail("made again"))

    assert found.selected == made.selected
    assert set(found.also) == {"pfs", "os"}
    assert [found.also[name].cutoff for name in ("pfs", "os")] == [-0.7, None]
    for name, one in made.also.items():
        pd.testing.assert_frame_equal(found.also[name].patients, one.patients, check_exact=True)


def test_other_versions_do_not_go_on_with_a_run_but_more_workers_may(tmp_path):
    run_folder(tmp_path)
    assert run_folder(tmp_path, workers=5).resumed
    with pytest.raises(ValueError, match=r"was begun with versions.torch=2.9 \(now 3.0\)"):
        run_folder(tmp_path, torch="3.0")


def test_a_run_stopped_before_it_wrote_what_it_is_can_be_begun(tmp_path):
    (tmp_path / "progress").mkdir()
    (tmp_path / "progress" / ".begun-x7.yaml").write_text("")
    assert not run_folder(tmp_path).resumed


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len({run_folder(None).path for _ in range(5)}) == 5


@pytest.fixture
def tell(capsys):
    """Show what a trial found, whether it passed or not."""

    def show(line):
        with capsys.disabled():
            sys.stdout.write(f"\n{line}")

    return show


def kill(process) -> None:
    """``kill -9`` a command and see that it was still at work."""
    assert process.poll() is None, "it ended before it was killed"
    process.send_signal(signal.SIGKILL)
    process.wait()


def wait_until(true, process):
    while not true():
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.02)


@pytest.mark.slow
def test_training_killed_twice_ends_in_the_same_tables_and_metrics(cohort_folder, tmp_path, tell):
    chance = random.Random(3)
    typed = ["experiment=zhao_mlp", "data=manifest", f"data.root={cohort_folder}", "trainer.max_epochs=60"]
    typed += ["trainer.patience=60", "split.folds.n_folds=3", "trainer.checkpoint_every_s=0.5"]
    typed += ["falsification=false", "optimism=none"]

    def train(output):
        command = [sys.executable, MAIN / "train.py", *typed, f"output={output}"]
        return subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    assert train("calm").wait() == 0
    progress, told = tmp_path / "killed" / "progress", []
    in_folds = chance.randrange(2, 9)
    for reached in (lambda: len(done(progress)) >= in_folds, lambda: (progress / "model" / "last.ckpt").is_file()):
        process = train("killed")
        wait_until(reached, process)
        time.sleep(chance.uniform(0, 0.5))
        kill(process)
        told.append((len(done(progress)), {path: identity(path) for path in done(progress)}))
    process = train("killed")
    wait_until(lambda: (progress / "model" / "last.ckpt").is_file(), process)
    again = sum(identity(path) != before for _, kept in told for path, before in kept.items() if path.is_file())
    assert process.wait() == 0

    for output in ("calm", "killed"):
        subprocess.run(
            [sys.executable, MAIN / "evaluate.py", f"run={output}", "evaluation.bootstrap=50"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    same = {
        name: (killed / name).read_bytes() == (calm / name).read_bytes()
        for name in (*TABLES, "model/network.safetensors", "evaluation/metrics.csv")
    }
    tell(f"training killed 2 times, when {[count for count, _ in told]} of the 12 fits in folds were done")
    tell(f"fits done twice: {again}; equal to the bit: {same}")
    assert again == 0
    assert all(same.values())


def done(progress):
    return sorted(progress.glob("fold_*/epochs.parquet"))


def identity(path):
    """Tell a file from one that was written in its place."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


@pytest.mark.slow
def test_extraction_killed_ten_times_measures_no_lesion_twice(tmp_path, tell):
    chance = random.Random(11)
    environment = {**os.environ, "RADNET_CACHE": str(tmp_path / "unused")}
    subprocess.run(
        [*RADNET, "simulate", "cohort", "--set", "n=120", "max_lesions=1", "size_voxels=40", "radius_mm=[7,10]"],
        cwd=tmp_path, env=environment, check=True, capture_output=True,
    )  # fmt: skip
    lesions = sum(len(one.lesions) for one in read_manifest(tmp_path / "cohort").patients)

    def extract(name):
        command = [*RADNET, "extract", "cohort", "--settings", "zhao", "--workers", "2"]
        command += ["--cache", f"{name}_cache", "--out", f"{name}.parquet"]
        return subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def cached():
        return [path for path in (tmp_path / "killed_cache").rglob("*.npy") if not path.name.startswith(".")]

    assert extract("calm").wait() == 0
    points = sorted(chance.sample(range(lesions - 20), 10))
    kept: dict[Path, tuple[int, int]] = {}
    counts, again = [], 0
    for point in points:
        process = extract("killed")
        wait_until(lambda point=point: len(cached()) >= point, process)
        time.sleep(chance.uniform(0, 0.2))
        kill(process)
        again += sum(identity(path) != before for path, before in kept.items())
        kept = {path: identity(path) for path in cached()}
        counts.append(len(kept))
    assert extract("killed").wait() == 0
    again += sum(identity(path) != before for path, before in kept.items())

    calm, killed = (read_features(tmp_path / f"{name}.parquet") for name in ("calm", "killed"))
    equal = calm.rows.equals(killed.rows)
    tell(f"extraction of {lesions} lesions killed {len(points)} times, when {counts} were measured")
    tell(f"lesions measured twice: {again}; in flight when killed: at most {2 * len(points)}; equal tables: {equal}")
    assert lesions == 120
    assert (killed.rows["status"] == "ok").all()
    assert again == 0
    assert equal
    assert calm.provenance == killed.provenance


RADNET = [sys.executable, "-c", "import sys; from radnet.cli import main; sys.exit(main())"]
