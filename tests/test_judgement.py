"""A run that reads one score on two endpoints and names subgroups, judged by ``radnet evaluate run=…``."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from assessing import joined, table
from radnet.cli import main
from radnet.files import write_json
from radnet.tables import LESION_PREDICTION_COLUMNS, write_table

N = 48
TRUTH = {
    "oracle_auc": {"image": {"auc": 0.8, "se": None, "formula": "closed_form"}},
    "oracle_c_index": {"rate": {"c_index": 0.612, "se": 0.001, "formula": "monte_carlo"}},
    "reader_c_index": {"c_index": 0.553, "se": 0.05, "fitted_on": "train", "judged_on": "held_out"},
}


def predictions():
    """Response, and progression on which a high score of response promises less; every model has a control."""
    rng = np.random.default_rng(5)
    event = np.arange(N) % 2
    score = event + rng.normal(size=N)
    time = {"time": np.exp(score / 4) * rng.exponential(10, N), "time_unit": "months"}
    progressed = (rng.random(N) < 0.8).astype(float)
    tables = []
    for model in ("mlp", "control_volume"):
        tables.append(table(event, score, model=model, cutoff=0.4))
        tables.append(table(progressed, -score, model=f"{model}_negated", endpoint="pfs", cutoff=-0.4).assign(**time))
    visceral = np.where(np.arange(N) % 5 == 0, None, np.where(np.arange(N) < 15, "0", "1"))
    return joined(*tables).assign(visceral=np.tile(visceral, 4), site=np.tile(["A", "B"], 2 * N))


@pytest.fixture
def judged(tmp_path, capsys):
    def judge(*words):
        run, cohort = tmp_path / "run", tmp_path / "cohort"
        write_table(predictions(), run / "predictions.parquet")
        write_table(pd.DataFrame(columns=list(LESION_PREDICTION_COLUMNS)), run / "lesion_predictions.parquet")
        config = {"name": "mlp", "subgroups": {"visceral": {"column": "visceral"}, "absent": {"column": "cps"}}}
        (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        write_json({"cohort": "../cohort", "experiment": "mlp", "protocol": "strict"}, run / "run.json")
        write_json(TRUTH, cohort / "truth" / "truth.json")
        status = main(["evaluate", f"run={run}", "evaluation.bootstrap=20", *words])
        printed = capsys.readouterr()
        assert status == 0, printed.err
        metrics = pd.read_csv(run / "evaluation" / "metrics.csv", keep_default_na=False, na_values={"estimate": [""]})
        return metrics, printed.out, json.loads((run / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))

    return judge


def test_the_groups_of_a_run_are_judged_on_both_endpoints_and_its_controls_are_not(judged):
    metrics, _, about = judged("report=false")

    within = metrics[metrics["subgroup"] != ""]
    assert set(within["subgroup"].str.split("=").str[0]) == {"visceral"}
    assert set(zip(within["endpoint"], within["model"], strict=True)) == {("response", "mlp"), ("pfs", "mlp_negated")}
    assert about["evaluation"]["subgroups"] == ["visceral"]


def test_counts_of_the_groups_of_a_run_add_up_to_its_confusion_matrix(judged):
    metrics, _, _ = judged("report=false")

    rows = metrics[(metrics["model"] == "mlp") & (metrics["method"] == "clopper_pearson") & (metrics["centre"] == "")]
    for name, share_of in {"sensitivity": "n_event", "specificity": "n", "accuracy": "n"}.items():
        found = rows[rows["metric"] == name].set_index("subgroup")
        size = pd.to_numeric(found[share_of]) - (pd.to_numeric(found["n_event"]) if name == "specificity" else 0)
        counts = found["estimate"] * size
        assert counts.drop("").sum() == pytest.approx(counts[""])
    assert set(rows["subgroup"]) == {"", "visceral=0", "visceral=1", "visceral=missing"}


def test_a_group_with_fewer_than_ten_of_a_class_has_no_interval_and_each_group_its_interaction(judged):
    metrics, _, about = judged("report=false")

    areas = metrics[(metrics["metric"] == "auc") & (metrics["subgroup"] != "")].set_index("subgroup")
    assert (areas.loc[["visceral=0", "visceral=missing"], "lower"] == "").all()
    assert areas.loc["visceral=1", "lower"] != ""
    tested = metrics[metrics["metric"] == "interaction"]
    assert set(tested["endpoint"]) == {"response", "pfs"}
    assert any("no interval below 10 patients of a class" in one["message"] for one in about["messages"])


@pytest.mark.parametrize(("asked", "judged_within"), [("[]", set()), ("[site]", {"site"})])
def test_groups_that_are_asked_for_stand_in_place_of_the_runs(asked, judged_within, judged):
    metrics, _, _ = judged("report=false", f"evaluation.subgroups={asked}")

    assert set(metrics.loc[metrics["subgroup"] != "", "subgroup"].str.split("=").str[0]) == judged_within


def test_what_was_planted_for_a_time_is_told_beside_what_was_planted_for_a_class(judged):
    _, printed, _ = judged()

    told = [line for line in printed.splitlines() if line.startswith("planted: ")]
    assert told == [
        "planted: image oracle AUC 0.800",
        "planted: rate oracle C-index 0.612",
        "planted: reader C-index 0.553 (on held_out patients)",
    ]
    heads = [line.split(":")[0] for line in printed.splitlines() if " · held_out" in line]
    assert set(heads) == {
        *("response · mlp · held_out", "pfs · mlp_negated · held_out"),
        *("response · control_volume · held_out", "pfs · control_volume_negated · held_out"),
    }
