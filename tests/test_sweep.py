"""Sweeps: what a trial may see, what is tried next, and that a sweep that was killed ends as a calm one."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from omegaconf import OmegaConf
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score

pytest.importorskip("torch", reason="training needs the extra train")
pytest.importorskip("optuna", reason="searching needs the extra train")

import optuna

from cohorts import make_cohort, write_cohort
from radnet.cli import main
from radnet.config import ConfigFault, config_folder, load_config
from radnet.experiment import run_experiment
from radnet.multirun import each_run
from radnet.search import Tried, drawn, grid, parameters_from, proposed
from radnet.sweep.plan import read_sweep
from radnet.sweep.run import sweep
from radnet.sweep.trial import inner_score

CLINICAL = ["experiment=zhao_clinical", "model.clinical=[age,lines_ge2,subtype]", "split.folds.n_folds=3"]
PENALTY = {"model.steps.classify.C": {"distribution": "log_uniform_values", "min": 0.001, "max": 100.0}}


def sweep_file(folder, method="random", parameters=PENALTY, **changes):
    given = {
        "program": "train.py",
        "method": method,
        "metric": {"name": "inner_auc", "goal": "maximize"},
        "command": ["${env}", "python", "${program}", "--trial", *CLINICAL, "${args_no_hyphens}"],
        "parameters": parameters,
        **changes,
    }
    file = folder / f"{method}.yaml"
    file.write_text(yaml.safe_dump(given), encoding="utf-8")
    return file


def of(folder):
    return ["data=manifest", f"data.root={folder}"]


def results(out):
    return pd.read_csv(out / "trials.csv").drop(columns="seconds")


def test_a_trials_number_is_the_mean_out_of_fold_auc_of_the_run_of_the_same_words(cohort_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [*CLINICAL, *of(cohort_folder)]

    score = inner_score(load_config("train", words))

    words += [f"output={tmp_path / 'run'}", "falsification=false", "optimism=none"]
    table = pd.read_parquet(run_experiment(load_config("train", words)) / "predictions.parquet")
    judged = table.query("partition == 'out_of_fold' and endpoint == 'response'")
    by_fold = [roc_auc_score(one["event"], one["score"]) for _, one in judged.groupby("fold")]
    assert score.estimate == pytest.approx(np.mean(by_fold), rel=1e-12)
    assert (score.metric, score.n, score.held_out) == ("inner_auc", 40, 20)


@pytest.mark.parametrize("experiment", ["zhao_clinical", "zhao_mlp"])
def test_a_trial_looks_at_nothing_of_a_held_out_patient_but_that_he_is_one(experiment, tmp_path):
    cohort = make_cohort(60, seed=1, held_out=20)
    write_cohort(cohort, tmp_path / "plain")
    write_cohort(cohort, tmp_path / "turned")
    clinical = pd.read_csv(tmp_path / "turned" / "clinical.csv", dtype=str)
    apart = clinical["split"] == "held_out"
    clinical.loc[apart, "response"] = clinical["response"].map({"0": "1", "1": "0"})
    clinical.loc[apart, "age"] = "999999"
    clinical.to_csv(tmp_path / "turned" / "clinical.csv", index=False)
    features = pd.read_parquet(tmp_path / "turned" / "features.parquet")
    of_them = features["patient_id"].isin(clinical.loc[apart, "patient_id"])
    numbers = [name for name in features if name.startswith("original_")]
    features.loc[of_them, numbers] *= -50
    features.to_parquet(tmp_path / "turned" / "features.parquet")
    words = CLINICAL if experiment == "zhao_clinical" else ["experiment=zhao_mlp", "trainer.max_epochs=2"]

    plain, turned = (inner_score(load_config("train", [*words, *of(tmp_path / one)])) for one in ("plain", "turned"))

    assert plain == turned


def test_a_trial_refuses_a_selection_that_learns_from_held_out_patients(cohort_folder):
    config = load_config("train", [*CLINICAL, *of(cohort_folder)])
    config.before_split = {"_target_": "sklearn.feature_selection.SelectKBest"}

    with pytest.raises(ConfigFault, match="before_split learns from held-out patients too"):
        inner_score(config)


KILLED = """
import os, signal, sys
from radnet.sweep import run
calm = run.inner_score
left = [3]
def scored(config):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return calm(config)
run.inner_score = scored
from radnet.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no signal that kills")
def test_a_sweep_of_six_trials_killed_in_its_fourth_ends_as_a_calm_one(cohort_folder, tmp_path):
    file = sweep_file(tmp_path, "bayes")
    typed = ["sweep", str(file), "--trials", "6", "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    killed = [sys.executable, "-c", KILLED, *typed, str(tmp_path / "killed"), *of(cohort_folder)]
    ended = subprocess.run(killed, env=environment, capture_output=True, timeout=300, check=False)
    kept = pd.read_csv(tmp_path / "killed" / "trials.csv")
    resumed = sweep(file, tmp_path / "killed", 6, 0, of(cohort_folder))
    calm = sweep(file, tmp_path / "calm", 6, 0, of(cohort_folder))

    assert ended.returncode == -signal.SIGKILL
    assert len(kept) == 3
    whole = pd.read_csv(tmp_path / "killed" / "trials.csv")
    assert len(whole) == 6
    pd.testing.assert_frame_equal(whole.head(3), kept, check_exact=True)  # their seconds too: not done again
    pd.testing.assert_frame_equal(results(tmp_path / "killed"), results(tmp_path / "calm"), check_exact=True)
    assert resumed.settings == calm.settings
    assert resumed.held_out == calm.held_out == 20


def test_a_trial_that_fails_is_a_row_with_its_reason_and_costs_no_other(cohort_folder, tmp_path):
    file = sweep_file(tmp_path, "grid", {"model.steps.classify.C": {"values": [1.0, -1.0, 0.01]}})

    found = sweep(file, tmp_path / "out", None, 0, of(cohort_folder))

    assert found.table["status"].ne("ok").tolist() == [False, True, False]
    assert "'C' parameter of LogisticRegression" in found.table["status"][1]
    assert found.table["estimate"][1] == ""


def test_the_best_trial_is_told_as_words_to_type_with_what_it_does_not_say(cohort_folder, tmp_path, capsys):
    file = sweep_file(tmp_path, "grid", {"model.steps.classify.C": {"values": [0.01, 1.0]}})

    code = main(["sweep", str(file), "--out", str(tmp_path / "out"), *of(cohort_folder)])

    table, told = pd.read_csv(tmp_path / "out" / "trials.csv"), capsys.readouterr().out
    best = table.sort_values("estimate", ascending=False, kind="stable").iloc[0]
    assert code == 0
    assert f"model.steps.classify.C={best['model.steps.classify.C']}" in told
    assert "The best of 2 inner scores is optimistic" in told
    assert "20 held-out patients whom no trial has seen" in told


def test_a_sweep_goes_on_only_as_what_it_was_begun_as(cohort_folder, tmp_path):
    file = sweep_file(tmp_path)
    sweep(file, tmp_path / "out", 1, 0, of(cohort_folder))

    with pytest.raises(ValueError, match="holds a sweep begun with another settings, seed: choose another folder"):
        sweep(file, tmp_path / "out", 2, 1, [*of(cohort_folder), "seed=8"])
    assert len(sweep(file, tmp_path / "out", 2, 0, of(cohort_folder)).table) == 2  # more trials are welcome


def test_a_mistyped_parameter_is_named_before_anything_is_trained(cohort_folder, tmp_path):
    file = sweep_file(tmp_path, "grid", {"model.steps.clasify.C": {"values": [1.0]}, "seed": {"value": 3}})

    with pytest.raises(ConfigFault, match="clasify"):
        sweep(file, tmp_path / "out", None, 0, of(cohort_folder))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"early_terminate": {"type": "hyperband"}}, "early_terminate is not understood here"),
        ({"method": "hyperband"}, "method must be one of grid, random, bayes, got 'hyperband'"),
        ({"metric": {"name": "auc", "goal": "maximize"}}, "metric must have a name, inner_auc or inner_c_index"),
        ({"metric": {"name": "inner_auc", "goal": "minimize"}}, "goal: maximize"),
        ({"parameters": {"a": {"min": 2, "max": 1}}}, "a: min must be a number below max, got 2 and 1"),
        ({"parameters": {"a": {"values": [1], "probabilities": [1]}}}, "a: probabilities is not understood here"),
        ({"parameters": {"a": {"distribution": "normal", "min": 0, "max": 1}}}, "distribution normal is not among"),
        ({"parameters": {"seed": {"values": [1, 2]}}}, "seed decides who is judged"),
        ({"method": "grid", "parameters": PENALTY}, "a grid needs values to choose from: give model.steps.classify.C"),
    ],
)
def test_what_a_sweep_cannot_do_is_said_with_the_file_and_what_to_write(changes, told, tmp_path):
    file = sweep_file(tmp_path, **{"method": "random", **changes})

    with pytest.raises(ConfigFault) as caught:
        read_sweep(file)

    assert str(file) in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize("file", sorted((config_folder() / "sweep").glob("*.yaml")), ids=lambda one: one.stem)
def test_every_sweep_of_conf_can_be_read_and_its_first_trial_composed(file):
    plan = read_sweep(file)
    values = {one.name: (one.choices or (one.low,))[0] for one in plan.parameters}

    config = load_config("train", [*plan.settings, *(f"{name}={json.dumps(one)}" for name, one in values.items())])

    assert config.name == file.stem
    given = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert given["program"] == "train.py"
    assert given["command"][:4] == ["${env}", "python", "${program}", "--trial"]
    assert given["command"][-1] == "${args_no_hyphens}"


@pytest.mark.parametrize("file", sorted((config_folder() / "sweep").glob("*.yaml")), ids=lambda one: one.stem)
def test_the_words_that_w_and_bs_agent_types_are_those_of_a_trial(file):
    agent = pytest.importorskip("wandb.sdk.launch.sweeps.utils", reason="W&B keeps its agent elsewhere")
    given = yaml.safe_load(file.read_text(encoding="utf-8"))
    chosen = {one.name: (one.choices or (one.low,))[0] for one in read_sweep(file).parameters}
    words = agent.create_sweep_command_args({"args": {name: {"value": one} for name, one in chosen.items()}})

    typed = [*agent.create_sweep_command(given["command"])[4:-1], *words["args_no_hyphens"]]

    config = load_config("train", typed)
    assert str(config.logger["_target_"]).endswith("wandb_logger")
    for name, one in chosen.items():
        assert OmegaConf.select(config, name) == one


def test_a_grid_holds_every_combination_once():
    parameters = parameters_from({"a": {"values": ["x", [1, 2]]}, "b": {"min": 1, "max": 3}, "c": {"value": None}})

    assert grid(parameters) == [{"a": a, "b": b, "c": None} for a in ("x", [1, 2]) for b in (1, 2, 3)]


def test_random_values_follow_their_distributions():
    parameters = parameters_from(
        {
            "log": {"distribution": "log_uniform_values", "min": 1e-3, "max": 10.0},
            "flat": {"min": -1.0, "max": 3.0},
            "whole": {"min": 1, "max": 4},
        }
    )

    values = pd.DataFrame([drawn(parameters, (5, number)) for number in range(2000)])

    # at this seed; a wrong law has p far below, such as a flat draw taken for a logarithmic one
    assert kstest((np.log10(values["log"]) + 3) / 4, "uniform").pvalue > 0.01
    assert kstest((values["flat"] + 1) / 4, "uniform").pvalue > 0.01
    assert (values["whole"].value_counts(normalize=True) - 0.25).abs().max() < 4 * np.sqrt(0.25 * 0.75 / 2000)


def test_a_proposal_is_what_optunas_own_study_would_ask_for_after_the_same_trials():
    parameters = parameters_from(PENALTY | {"width": {"values": [[8], [16], [32]]}})
    tried = [Tried(drawn(parameters, (1, number)), 0.5 + number / 100) for number in range(15)]
    tried.append(Tried(drawn(parameters, (1, 15)), None))

    found = proposed(parameters, tried, (7, 16))

    seed = int(np.random.default_rng([7, 16]).integers(2**31))
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    spaces = {
        "model.steps.classify.C": optuna.distributions.FloatDistribution(0.001, 100.0, log=True),
        "width": optuna.distributions.CategoricalDistribution((0, 1, 2)),
    }
    for one in tried[:15]:
        params = {**one.settings, "width": [[8], [16], [32]].index(one.settings["width"])}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=spaces, value=one.score))
    expected = study.ask(spaces).params
    assert found["model.steps.classify.C"] == expected["model.steps.classify.C"]
    assert found["width"] == [[8], [16], [32]][expected["width"]]


def test_a_search_ends_nearer_the_summit_of_a_parabola_than_chance_does():
    parameters = parameters_from({"x": {"min": -10.0, "max": 10.0}})

    def searched(seed):
        tried = []
        for number in range(40):
            x = proposed(parameters, tried, (seed, number))["x"]
            tried.append(Tried({"x": x}, -((x - 3.0) ** 2)))
        return np.mean([abs(one.settings["x"] - 3.0) for one in tried[-10:]])

    by_chance = np.mean(np.abs(np.random.default_rng(1).uniform(-10, 10, 100_000) - 3.0))
    assert np.mean([searched(seed) for seed in range(3)]) < by_chance / 2


def test_m_makes_a_run_of_every_combination_each_in_its_own_folder():
    runs = each_run(
        ["-m", "experiment=a,b", "model.hidden=[1,2],[3]", "output=out", "data.root=/a b", "seed=range(1,3)"]
    )

    assert len(runs) == len({tuple(one) for one in runs}) == 8
    assert runs[0] == ["experiment=a", "model.hidden=[1,2]", "output=out/1", "data.root=/a b", "seed=1"]
    assert runs[-1] == ["experiment=b", "model.hidden=[3]", "output=out/8", "data.root=/a b", "seed=2"]


def test_train_with_m_leaves_a_finished_run_for_each_value(cohort_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [*CLINICAL, *of(cohort_folder), "falsification=false", "optimism=none", "output=out"]

    code = main(["train", "-m", "model.steps.classify.C=0.01,100.0", *words])

    found = [yaml.safe_load((tmp_path / "out" / one / "config.yaml").read_text("utf-8")) for one in ("1", "2")]
    assert code == 0
    assert [one["model"]["steps"]["classify"]["C"] for one in found] == [0.01, 100.0]
    assert capsys.readouterr().out.count("judge it:") == 2
