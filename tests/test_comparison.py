"""Models and rules of pooling side by side: what is trained, kept, judged and told."""

import json

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="training needs the extra train")

from contextlib import nullcontext
from dataclasses import replace
from typing import get_args

from omegaconf import OmegaConf
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from cohorts import make_cohort, make_study, write_cohort
from radnet.cli import main
from radnet.comparison.plan import plan
from radnet.comparison.run import compare
from radnet.comparison.table import COLUMNS
from radnet.config import ConfigFault, build, load_config
from radnet.evaluation.discrimination import compare_paired
from radnet.models.pooling import Aggregate
from radnet.tables import METRIC_COLUMNS, read_lesion_predictions, read_predictions

FAST = ["trainer.max_epochs=3", "split.folds.n_folds=3", "split.inner=null"]
RULES = ["mean", "largest", "volume_mean", "volume_top3", "max", "min", "noisy_or"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """90 patients, 30 of them held out, with every clinical column that an experiment names."""
    return write_cohort(make_study(90, seed=4, held_out=30), tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def typed(study, tmp_path_factory):
    """The command as a user types it, and what it printed."""
    folder = tmp_path_factory.mktemp("user")
    words = ["compare", str(study), "--models", "zhao_mlp", "zhao_clinical", "--aggregate", "max", "noisy_or"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # checkpoints/ is made where the user stands
        code = main([*words, "--out", "compare.csv", *FAST])
    return folder, code


@pytest.fixture(scope="module")
def table(typed):
    return pd.read_csv(typed[0] / "compare.csv", keep_default_na=False, na_values={"p_holm": ""})


@pytest.fixture(scope="module")
def predictions(typed):
    return read_predictions(typed[0] / "compare_predictions.parquet")


def test_each_model_is_trained_with_its_own_rule_and_those_asked_for_a_clinical_one_once(typed, table):
    folder, code = typed

    assert code == 0
    assert list(table.columns) == list(COLUMNS) == [*METRIC_COLUMNS, "p_holm"]
    names = {"zhao_mlp@mean", "zhao_mlp@max", "zhao_mlp@noisy_or", "zhao_clinical"}
    assert set(table["model"]) == names
    assert {one.name for one in (folder / "compare_runs").iterdir()} == names | {"evaluation"}
    rules = {one: (folder / "compare_runs" / f"zhao_mlp@{one}" / "config.yaml").read_text() for one in ("max", "mean")}
    assert [f"\n  aggregate: {one}\n" in text for one, text in rules.items()] == [True, True]


def test_by_itself_every_rule_is_tried_the_reference_first(study, tmp_path):
    planned = plan(study, ["zhao_stacking", "zhao_pdl1", "zhao_combined"], [], tmp_path, [])

    names = [one.name for one in planned]
    stacked = [f"zhao_stacking@{rule}" for rule in RULES]
    assert names == [*stacked, "zhao_pdl1", *(f"zhao_combined@{rule}" for rule in RULES)]
    assert [one.model.members.radiomics.aggregate for one in planned[:7]] == RULES
    assert {tuple(one.complete_cases) for one in planned} == {("cps",)}  # that zhao_pdl1 reads
    assert not any(one.falsification for one in planned)


def test_the_reference_has_its_own_rule_though_others_are_asked_for(study, tmp_path):
    planned = plan(study, ["wang_score", "wang_nomogram"], ["max"], tmp_path, [])

    assert [one.name for one in planned] == ["wang_score@largest", "wang_score@max", "wang_nomogram@max"]


HYBRID_RULES = ["mean", "max", "noisy_or", "attention", "set_transformer"]


def test_a_hybrid_network_has_the_rules_it_learns_and_no_other_model_has(study, tmp_path):
    planned = plan(study, ["radiomics_attention", "cnn_patch", "zhao_mlp"], [], tmp_path, [])

    own_first = ["attention", *(rule for rule in HYBRID_RULES if rule != "attention")]
    assert [one.name for one in planned] == [
        *(f"radiomics_attention@{rule}" for rule in own_first),
        *(f"cnn_patch@{rule}" for rule in HYBRID_RULES),
        *(f"zhao_mlp@{rule}" for rule in RULES),
    ]
    assert [one.model.aggregate for one in planned[5:10]] == HYBRID_RULES


@pytest.mark.parametrize("rule", get_args(Aggregate))
def test_a_rule_is_planned_for_a_hybrid_network_only_if_such_a_network_can_be_made(rule, study, tmp_path):
    sizes = {"n_features": 3, "n_clinical": 0, "n_channels": 0, "n_outputs": 1}
    config = load_config("train", ["experiment=radiomics_attention"])
    known = rule in HYBRID_RULES

    with nullcontext() if known else pytest.raises(ValueError, match="unknown to a hybrid network"):
        build(config.model.network)(aggregate=rule, **sizes)
    with nullcontext() if known else pytest.raises(ConfigFault, match="radiomics_attention takes mean, max, noisy_or"):
        plan(study, ["radiomics_attention", "zhao_clinical"], [rule], tmp_path, [])


@pytest.mark.parametrize(
    ("place", "experiment", "words", "rules"),
    [
        ("member", "hybrid", ["model=hybrid_ensemble"], HYBRID_RULES),
        ("members.image", "hybrid", ["model=hybrid_stacking"], HYBRID_RULES),
        (
            "make.model",
            "zhao_clinical",
            ["model=logistic_tuned", "~model.clinical", "model.make.model.regions=[lesion]"],
            RULES,
        ),
    ],
)
def test_a_model_within_another_is_given_the_rules_it_knows(place, experiment, words, rules, study, tmp_path):
    planned = plan(study, [experiment], [], tmp_path, words)

    assert {OmegaConf.select(one.model, place).aggregate for one in planned} == set(rules)
    assert len(planned) == len(rules)


def test_all_are_judged_in_the_same_folds_and_on_the_same_held_out_patients(predictions):
    keys = ["partition", "repeat", "fold", "patient_id", "event"]

    found = [rows[keys].sort_values(keys).to_numpy().tolist() for _, rows in predictions.groupby("model")]

    assert len(found) == 4
    assert all(one == found[0] for one in found)
    assert set(predictions["partition"]) == {"held_out", "out_of_fold"}
    assert set(predictions["endpoint"]) == {"response"}


def test_what_a_model_is_worth_is_the_auc_of_the_scores_written(table, predictions):
    worth = table[table["versus"] == ""].set_index(["model", "partition"])

    for (model, partition), rows in predictions.groupby(["model", "partition"]):
        aucs = [roc_auc_score(one["event"], one["score"]) for _, one in rows.groupby(["repeat", "fold"])]
        assert float(worth.loc[(model, partition), "estimate"]) == pytest.approx(np.mean(aucs), rel=1e-9)
        assert worth.loc[(model, partition), "method"] == ("delong" if partition == "held_out" else "bootstrap")
    assert len(worth) == 8


def test_the_difference_out_of_fold_is_the_corrected_t_over_folds(table, predictions):
    rows = predictions[predictions["partition"] == "out_of_fold"]
    folds = {
        model: np.array([roc_auc_score(one["event"], one["score"]) for _, one in of_model.groupby("fold")])
        for model, of_model in rows.groupby("model")
    }
    tested = table[(table["partition"] == "out_of_fold") & (table["versus"] != "")].set_index("model")

    for model, row in tested.iterrows():
        difference = folds[model] - folds["zhao_mlp@mean"]
        error = np.sqrt((1 / 3 + 20 / 40) * difference.var(ddof=1))  # Nadeau and Bengio: folds of 20 of 60 patients
        assert row["versus"] == "zhao_mlp@mean"
        assert float(row["estimate"]) == pytest.approx(difference.mean(), abs=1e-12)
        assert float(row["p_value"]) == pytest.approx(2 * student.sf(abs(difference.mean()) / error, 2), rel=1e-9)
    assert set(tested.index) == {"zhao_mlp@max", "zhao_mlp@noisy_or", "zhao_clinical"}


def test_the_difference_held_out_is_the_paired_delong(table, predictions):
    held_out = predictions[predictions["partition"] == "held_out"]
    score = held_out.pivot_table(index="patient_id", columns="model", values="score")
    event = held_out.groupby("patient_id")["event"].first().loc[score.index]
    tested = table[(table["partition"] == "held_out") & (table["versus"] != "")].set_index("model")

    for model, row in tested.iterrows():
        expected = compare_paired(event, score[model], score["zhao_mlp@mean"], 0.95)
        assert row["method"] == "delong_paired"
        assert float(row["p_value"]) == pytest.approx(expected.p_value, rel=1e-9)
    assert len(tested) == 3


def test_the_family_is_every_difference_of_the_table(table):
    tested = table[table["versus"] != ""]

    # Holm: a p-value times the tests that are not smaller, and never below what a smaller one became.
    p = tested["p_value"].astype(float).to_numpy()
    expected = [max(min(1.0, one * (p >= one).sum()) for one in p[p <= largest]) for largest in p]

    assert len(tested) == 6
    np.testing.assert_allclose(tested["p_holm"], expected, rtol=1e-9)
    assert table.loc[table["versus"] == "", "p_holm"].isna().all()


def test_what_each_lesion_contributes_is_told_of_every_patient(typed, predictions):
    lesions = read_lesion_predictions(typed[0] / "compare_lesion_predictions.parquet")

    keys = ["partition", "repeat", "fold", "patient_id"]
    for model in ("zhao_mlp@mean", "zhao_mlp@noisy_or"):
        of_model = lesions[lesions["model"] == model]
        total = of_model.groupby(keys)["weight"].sum()
        np.testing.assert_allclose(total, 1.0, rtol=1e-9)
        assert len(total) == len(predictions[predictions["model"] == model])
    assert set(lesions["model"]) == {"zhao_mlp@mean", "zhao_mlp@max", "zhao_mlp@noisy_or"}


def test_a_finished_run_is_kept_unless_it_would_now_be_another(typed, study, monkeypatch):
    folder, _ = typed
    monkeypatch.chdir(folder)
    records = sorted((folder / "compare_runs").glob("*/run.json"))
    before = [record.stat().st_mtime_ns for record in records]
    given = study, ["zhao_mlp", "zhao_clinical"], ["max", "noisy_or"], folder / "compare.csv", folder / "compare_runs"
    first = (folder / "compare.csv").read_bytes()

    again = compare(*given, FAST)

    assert [record.stat().st_mtime_ns for record in records] == before
    assert (folder / "compare.csv").read_bytes() == first
    assert not again.failed
    with pytest.raises(ValueError, match=r"zhao_mlp@mean holds a run of another seed: 7 \(now 8\): choose another"):
        compare(*given, [*FAST, "seed=8"])


def test_a_model_that_fails_loses_no_other_and_ends_the_command_with_1(study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    taken = tmp_path / "c_runs" / "zhao_pdl1" / "notes.txt"
    taken.parent.mkdir(parents=True)
    taken.write_text("mine", encoding="utf-8")

    code = main(["compare", str(study), "--models", "zhao_clinical", "zhao_pdl1", "--out", "c.csv", *FAST[1:]])

    told = capsys.readouterr()
    assert code == 1
    assert "error: zhao_pdl1: output=c_runs/zhao_pdl1 is not empty and no earlier run" in told.err
    assert "the best of them looks better than it is" in told.out
    assert set(pd.read_csv(tmp_path / "c.csv")["model"]) == {"zhao_clinical"}
    assert taken.read_text(encoding="utf-8") == "mine"


def test_without_a_split_column_every_patient_is_judged_out_of_fold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cohort = make_study(60, seed=4)
    apart = tuple(replace(one, split=None) for one in cohort.patients)
    folder = write_cohort(replace(cohort, patients=apart), tmp_path / "cohort")

    found = compare(folder, ["zhao_clinical", "zhao_pdl1"], [], tmp_path / "c.csv", tmp_path / "w", FAST[1:])

    assert set(found.table["partition"]) == {"out_of_fold"}
    assert found.table["n"].tolist() == [60.0, 60.0, 60.0]
    assert not found.messages


def test_models_of_follow_up_are_compared_by_their_c_index(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    given = study, ["wang_clinical", "wang_tnm"], [], tmp_path / "c.parquet", tmp_path / "w"

    found = compare(*given, FAST[1:]).table

    assert found["metric"].tolist() == 2 * ["c_index", "c_index", "c_index_difference"]
    assert found["method"].tolist() == 5 * ["harrell"] + ["corrected_t"]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "c.parquet"), found)


def test_a_model_judged_on_other_patients_is_told_with_their_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cohort = make_cohort(60, seed=1)
    rows = cohort.features.rows.copy()
    unmeasured = rows["patient_id"].isin(["P004", "P007"])
    rows.loc[unmeasured, list(cohort.features.names)] = np.nan
    rows.loc[unmeasured, "status"] = "mask is empty"
    folder = write_cohort(cohort.with_features(replace(cohort.features, rows=rows)), tmp_path / "cohort")
    typed = [*FAST, "split=kfold", "model.clinical=[age,subtype]"]

    found = compare(folder, ["zhao_combined", "zhao_clinical"], ["mean"], tmp_path / "c.csv", tmp_path / "w", typed)

    assert [one["message"] for one in found.messages] == [
        "not compared with zhao_combined@mean out of fold: 2 patients (P004, P007) can be judged by one of the two "
        "alone, so that their folds differ; leave these patients out of clinical.csv"
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([["zhao_mpl"], []], "did you mean zhao_mlp"),
        ([["zhao_mlp"], ["noisyor"]], "--aggregate noisyor is unknown; did you mean noisy_or"),
        (
            [["zhao_clinical", "zhao_mlp"], ["attention"]],
            "--aggregate attention: zhao_mlp takes mean, largest, volume_mean",
        ),
        (
            [["hybrid"], ["mean", "largest", "min"]],
            "--aggregate largest min: hybrid takes mean, max, noisy_or, attention,",
        ),
        ([["zhao_clinical"], []], "zhao_clinical is one model"),
        ([["zhao_mlp"], [], "model.aggregate=max"], "compare sets model.aggregate itself: leave it out"),
        ([["zhao_mlp"], [], "data.root=elsewhere"], "compare sets data.root itself"),
        ([["zhao_mlp"], [], "trainer.max_epoch=4"], "there is no max_epoch in trainer; did you mean max_epochs"),
        ([["zhao_mlp", "wang_score"], []], "zhao_mlp and wang_score differ in endpoint.*give both endpoint="),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(words, message, study, tmp_path):
    models, rules, *settings = words

    with pytest.raises(ConfigFault, match=message) as fault:
        compare(study, models, rules, tmp_path / "c.csv", tmp_path / "w", settings)

    assert fault.value.from_command_line
    assert not (tmp_path / "w").exists()


def test_a_table_of_another_kind_is_refused_with_code_2(study, tmp_path, capsys):
    code = main(["compare", str(study), "--models", "zhao_mlp", "--out", str(tmp_path / "c.xlsx")])

    assert code == 2
    assert "a table is written as .csv or .parquet" in capsys.readouterr().err


def test_all_that_was_judged_stands_beside_the_runs_against_the_same_reference(typed):
    folder, _ = typed

    about = json.loads((folder / "compare_runs" / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))

    assert about["evaluation"]["versus"] == "zhao_mlp@mean"
    assert about["evaluation"]["bootstrap"] == 2000
