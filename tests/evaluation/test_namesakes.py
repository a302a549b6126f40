"""Prediction files that have models of one name, such as the controls of two runs on one cohort."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assessing import joined, row_of, rows_of, table, told
from radnet.cli import main
from radnet.evaluation.assess import assess
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.evaluation.namesakes import join_predictions
from radnet.tables import contradictions, write_table

QUICK = EvaluationSettings(bootstrap=20)
FILES = [Path("runs/a/predictions.parquet"), Path("runs/b/predictions.parquet")]
N = 40


def run(model, held_out, seed, **columns):
    """What a run leaves: its model and a control, held out and apparent; who is held out is the run's own affair."""
    rng = np.random.default_rng(seed)
    event = np.arange(N) % 3 == 0
    partition = np.where(np.isin(np.arange(N), held_out), "held_out", "apparent")
    made = [
        table(event, event + rng.normal(size=N), model=name, partition=partition, **columns)
        for name in (model, "control_volume")
    ]
    return joined(*made)


STRICT, PUBLISHED = run("mlp", range(20), seed=0), run("mlp_as_published", range(10, 30), seed=1)


def test_controls_of_two_runs_that_split_otherwise_are_named_after_the_model_of_their_run():
    found = join_predictions([STRICT, PUBLISHED], FILES)

    named = {"mlp", "mlp_as_published", "control_volume of mlp", "control_volume of mlp_as_published"}
    assert set(found.predictions["model"]) == named
    assert found.namesakes == ("control_volume",)
    assert len(found.predictions) == len(STRICT) + len(PUBLISHED)
    assert contradictions(found.predictions) == []
    for before, label in ((STRICT, "mlp"), (PUBLISHED, "mlp_as_published")):
        mine = found.predictions[found.predictions["model"] == f"control_volume of {label}"]
        expected = before.loc[before["model"] == "control_volume", "score"]
        np.testing.assert_array_equal(mine["score"], expected)


def test_the_same_rows_in_two_files_are_kept_once():
    again = STRICT[STRICT["model"] == "control_volume"]
    other = joined(STRICT[STRICT["model"] == "mlp"].assign(model="other"), again)

    found = join_predictions([STRICT, other], FILES)

    assert found.namesakes == ()
    assert found.predictions["model"].value_counts().to_dict() == {"mlp": N, "control_volume": N, "other": N}


def test_a_model_whose_rows_stand_in_several_files_is_one():
    parts = [STRICT[STRICT["partition"] == name] for name in ("held_out", "apparent")]

    found = join_predictions(parts, FILES)

    assert found.namesakes == ()
    pd.testing.assert_frame_equal(
        found.predictions.sort_values(["model", "patient_id"], ignore_index=True),
        STRICT.sort_values(["model", "patient_id"], ignore_index=True),
    )


def test_two_runs_of_one_model_are_named_after_their_folders():
    found = join_predictions([STRICT, run("mlp", range(20), seed=2)], FILES)

    assert set(found.predictions["model"]) == {"mlp of a", "mlp of b", "control_volume of a", "control_volume of b"}


def test_a_cutoff_of_its_own_tells_a_control_apart():
    """As ``read_on`` does: the same scores, and a cut-off from other ones."""
    other = joined(
        STRICT[STRICT["model"] != "mlp"].assign(cutoff=0.7), PUBLISHED[PUBLISHED["model"] != "control_volume"]
    )

    found = join_predictions([STRICT, other], FILES)

    assert found.namesakes == ("control_volume",)


def test_files_that_disagree_on_what_happened_are_told_of_and_not_named():
    other = PUBLISHED.assign(event=1 - PUBLISHED["event"])

    found = join_predictions([STRICT, other], FILES)

    assert found.namesakes == ()
    assert any("different values in different rows" in one.message for one in contradictions(found.predictions))


def test_two_protocols_are_compared_on_the_patients_both_hold_out_and_each_with_its_own_control():
    found = assess(join_predictions([STRICT, PUBLISHED], FILES).predictions, QUICK)

    shared = [one[(one["model"] != "control_volume")].iloc[10:20] for one in (STRICT, PUBLISHED)]
    areas = []
    for rows in shared:  # the share of pairs in the right order, counted
        cases, others = (rows.loc[rows["event"] == event, "score"].to_numpy() for event in (1, 0))
        areas.append(np.mean(cases[:, None] > others))
    where = {"partition": "held_out", "method": "delong_paired"}
    difference = row_of(found, "auc_difference", model="mlp", versus="mlp_as_published", **where)
    assert difference["estimate"] == pytest.approx(areas[0] - areas[1])
    assert difference["n"] == 10
    assert "compared with mlp_as_published on the 10 patients both judge, of 20 and 20" in told(found)
    against = rows_of(found, "auc_difference", **where)
    assert set(zip(against["model"], against["versus"], strict=True)) == {
        ("mlp", "mlp_as_published"),
        ("mlp", "control_volume of mlp"),
        ("mlp_as_published", "control_volume of mlp_as_published"),
    }


def test_protocols_that_fold_otherwise_are_said_not_to_be_comparable():
    event, score = np.arange(N) % 3 == 0, np.random.default_rng(3).normal(size=N)
    folds = [np.arange(N) % 4, np.arange(N)[::-1] % 5]
    runs = [
        table(event, score, model=name, partition="out_of_fold", fold=fold.astype(str))
        for name, fold in zip(("mlp", "mlp_as_published"), folds, strict=True)
    ]

    found = assess(join_predictions(runs, FILES).predictions, QUICK)

    assert rows_of(found, "auc_difference").empty
    assert "not compared with mlp_as_published: the two judge a patient in different folds; split both alike" in told(
        found
    )


def test_a_run_of_each_protocol_comes_out_side_by_side(tmp_path, capsys):
    files = [tmp_path / name / "predictions.parquet" for name in ("a", "b")]
    for predictions, file, name in zip((STRICT, PUBLISHED), files, ("strict", "as_published"), strict=True):
        write_table(predictions, file)
        (file.parent / "run.json").write_text(json.dumps({"protocol": name}), encoding="utf-8")
    words = [f"predictions=[{files[0]},{files[1]}]", f"output={tmp_path / 'out'}", "evaluation.bootstrap=20"]

    status = main(["evaluate", *words, "evaluation.versus=mlp_as_published"])

    printed = capsys.readouterr()
    assert status == 0, printed.err
    assert "note: control_volume: several files have a model of this name, and their rows differ" in printed.err
    for model in ("mlp", "mlp_as_published", "control_volume of mlp", "control_volume of mlp_as_published"):
        assert f"response · {model} · held_out: AUC" in printed.out
    about = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert [one["protocol"] for one in about["inputs"]] == ["strict", "as_published"]
    metrics = pd.read_csv(tmp_path / "out" / "metrics.csv")
    difference = metrics[(metrics["metric"] == "auc_difference") & (metrics["partition"] == "held_out")]
    assert set(zip(difference["model"], difference["versus"], strict=True)) == {
        ("mlp", "mlp_as_published"),
        ("mlp", "control_volume of mlp"),
        ("control_volume of mlp_as_published", "mlp_as_published"),
    }
    assert "mlp_as_published does not beat volume alone: difference in AUC" in printed.out
    assert "mlp does not beat volume alone: difference in AUC" in printed.out
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "mlp − mlp_as_published" in page
    assert "<td>as_published</td>" in page


def test_a_model_to_compare_with_is_found_on_an_endpoint_where_its_score_counts_the_other_way():
    event, score = np.arange(N) % 3 == 0, np.random.default_rng(4).normal(size=N)
    models = [table(event, place * event + score, model=name) for place, name in enumerate(("mlp", "clinical"))]
    other = [rows.assign(endpoint="pfs", model=rows["model"] + "_negated", score=-rows["score"]) for rows in models]
    settings = EvaluationSettings(bootstrap=20, versus="clinical")

    found = assess(joined(*models, *other), settings)

    differences = rows_of(found, "auc_difference", method="delong_paired").set_index("endpoint")
    assert differences["versus"].to_dict() == {"response": "clinical", "pfs": "clinical_negated"}
    assert differences.loc["pfs", "estimate"] == pytest.approx(-differences.loc["response", "estimate"])
    assert told(found, "failed") == []
