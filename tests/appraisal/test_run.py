"""A run as a user types it: its tables, and what an evaluation makes of them."""

import json

import pandas as pd
import pytest

pytest.importorskip("torch", reason="training needs the extra train")

from cohorts import make_cohort, write_cohort
from radnet.config import load_config, outcome_columns
from radnet.experiment import run_experiment
from radnet.judgement import judge

FEW = ["optimism.resamples=4", "optimism.learning_draws=2", "optimism.learning_shares=[0.5,1.0]", "falsification=false"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    cohort = write_cohort(make_cohort(60, seed=1, held_out=20), folder / "cohort")
    typed = ["experiment=zhao_mlp", "data=manifest", f"data.root={cohort}", f"output={folder / 'out'}", *FEW]
    fast = ["trainer.max_epochs=3", "split.folds.n_folds=3", "split.inner=null", "model.network.hidden=[8,4,4]"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run_experiment(load_config("train", [*typed, *fast, "covariates=[age,shoe_size]"]))


def test_a_run_leaves_its_tables_and_says_what_it_could_not_make(finished):
    record = json.loads((finished / "run.json").read_text(encoding="utf-8"))

    assert {path.stem for path in (finished / "tables").iterdir()} == {
        *("table_one", "regression", "nomogram", "importance", "optimism", "learning_curve", "selection", "targets")
    }
    assert (
        "tables/regression.csv: clinical.csv has no column shoe_size: left out (covariates=[…])" in record["messages"]
    )
    assert record["seconds"]["appraisal"] > 0
    assert not (finished / "progress").exists()


def test_a_run_tells_how_stable_its_selection_is(finished):
    counts = json.loads((finished / "run.json").read_text(encoding="utf-8"))["counts"]
    table = pd.read_csv(finished / "tables" / "selection.csv")

    assert counts["selection_stability"]["folds"] == 3
    assert counts["selection_stability"]["lower"] <= counts["selection_stability"]["value"] <= 1
    assert table["in_model"].sum() == list(counts["selection"].values())[-1]
    assert table["folds"].between(0, 3).all()


def test_an_evaluation_copies_the_tables_and_adds_the_corrected_auc_to_its_metrics(finished, tmp_path):
    output, assessment = judge(load_config("evaluate", [f"run={finished}", f"output={tmp_path}"]))

    for table in (finished / "tables").iterdir():
        assert (output / "tables" / table.name).read_bytes() == table.read_bytes()
    corrected = pd.read_csv(finished / "tables" / "optimism.csv").set_index("method")["estimate"]
    metrics = pd.read_csv(output / "metrics.csv")
    rows = metrics[metrics["partition"] == "optimism_corrected"].set_index("method")
    pd.testing.assert_series_equal(rows["estimate"], corrected, check_exact=True)
    assert (assessment.metrics["partition"] == "optimism_corrected").sum() == 2
    assert metrics["n"].dropna().eq(metrics["n"].dropna().round()).all()
    assert json.loads((output / "evaluation.json").read_text(encoding="utf-8"))["falsification"] is None
    assert (output / "figures" / "learning_curve.png").stat().st_size > 1000


def test_an_evaluation_of_a_run_without_controls_or_tables_is_none_the_worse(finished, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("run.json", "predictions.parquet", "lesion_predictions.parquet"):
        (bare / name).write_bytes((finished / name).read_bytes())
    permutation = {"model": "logistic", "statistic": "auc", "partition": "out_of_fold"}
    record = {"permutation": {**permutation, "observed": 0.8, "null": [0.4, 0.6], "p_value": 1 / 3}, "controls": []}
    (bare / "falsification.json").write_text(json.dumps(record), encoding="utf-8")

    output, assessment = judge(load_config("evaluate", [f"run={bare}", f"output={tmp_path / 'judged'}"]))

    assert "optimism_corrected" not in set(assessment.metrics["partition"])
    about = json.loads((output / "evaluation.json").read_text(encoding="utf-8"))
    assert about["falsification"] == record


def test_the_outcomes_of_every_endpoint_are_known():
    assert {"response", "pfs_event", "pfs_months", "os_event", "os_months", "tme"} <= outcome_columns()
