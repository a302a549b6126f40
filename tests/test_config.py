import re
import shutil

import pytest

from radnet.config import ConfigFault, config_folder, load_config, options, target_faults

EXPERIMENTS = options("experiment")


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_every_key_is_read(experiment):
    config = load_config("train", [f"experiment={experiment}"])

    assert config.name == experiment
    assert target_faults(config) == []


@pytest.mark.parametrize("group", ["data", "endpoint", "split", "trainer", "logger", "cutoff"])
def test_every_choice_of_every_group_composes(group):
    for choice in options(group):
        assert load_config("train", ["experiment=zhao_mlp", f"{group}={choice}"])[group]


@pytest.mark.parametrize("group", ["radiomics", "targets", "robustness", "optimism", "falsification", "model"])
def test_every_choice_of_a_group_that_may_be_empty_composes(group):
    for choice in options(group):
        config = load_config("train", ["experiment=zhao_mlp", f"{group}={choice}"])
        assert not config[group] or "_target_" in config[group]


@pytest.mark.parametrize("choice", options("evaluation"))
def test_every_evaluation_composes(choice):
    assert load_config("evaluate", [f"evaluation={choice}"]).evaluation._target_.endswith("EvaluationSettings")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["experiment=zhao_mpl"], "conf/experiment has no zhao_mpl; did you mean zhao_mlp?"),
        (["experiment=zhao_mlp", "data=manifes"], "conf/data has no manifes; did you mean manifest?"),
        (["experiment=zhao_mlp", "trianer.max_epochs=3"], "there is no trianer; did you mean trainer?"),
        (["experiment=zhao_mlp", "sede=3"], "there is no sede; did you mean seed?"),
        (["experiment=zhao_mlp", "trainer.max_epoch=3"], "there is no max_epoch in trainer; did you mean max_epochs?"),
        (["experiment=zhao_mlp", "model.network.hiden=[4]"], "no hiden in model.network; did you mean hidden?"),
        (["experiment=zhao_mlp", "data.knobs.signl=1"], "there is no signl in data.knobs; did you mean signal?"),
        (
            ["experiment=cnn_patch", "~imaging.channels.ring", "imaging.chanels.ring=1"],
            "there is no chanels in imaging; did you mean channels?",
        ),
        (["experiment=zhao_mlp", "seed=three"], "seed=three"),
        (["experiment=zhao_mlp", "--fast"], "'--fast' is not understood: settings are typed as key=value"),
        ([], f"choose an experiment: experiment={'|'.join(EXPERIMENTS)}"),
    ],
)
def test_a_mistyped_command_line_is_told_with_the_nearest_name(typed, message):
    with pytest.raises(ConfigFault) as fault:
        load_config("train", typed)

    assert message in str(fault.value)
    assert fault.value.from_command_line


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("trainer.max_epoch=3", "trainer.max_epoch=3: there is no max_epoch in trainer; did you mean max_epochs?"),
        ("sede=3", "sede=3: there is no sede; did you mean seed?"),
        ("data.rot=x", "data.rot=x: there is no rot in data; did you mean root?"),
        ("split=kfolds", "conf/split has no kfolds; did you mean kfold?"),
    ],
)
def test_an_innocent_setting_beside_a_typo_is_not_blamed(typed, message):
    with pytest.raises(ConfigFault) as fault:
        load_config("train", ["experiment=zhao_mlp", "data.root=/data/x", "data=manifest", "endpoint.name=a", typed])

    assert message in str(fault.value)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("split.folds.n_folds=abc", "split.folds.n_folds is 'abc', expected int"),
        ("trainer.learning_rate=abc", "trainer.learning_rate is 'abc', expected float"),
        ("trainer.max_epochs=1.5", "trainer.max_epochs is 1.5, expected int"),
        ("model.network.hidden=abc", "model.network.hidden is 'abc', expected a list of int"),
        ("model.prepare.prune.limit=abc", "model.prepare.prune.limit is 'abc', expected float"),
        ("model.clinical=age", "model.clinical is 'age', expected a list of str"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(typed, message):
    with pytest.raises(ConfigFault, match=re.escape(message)):
        load_config("train", ["experiment=zhao_mlp", typed])


def test_a_key_added_by_force_is_checked_too():
    with pytest.raises(
        ConfigFault, match="model.clincal: radnet.predictors.deep.DeepPredictor takes no clincal; did you"
    ):
        load_config("train", ["experiment=zhao_mlp", "+model.clincal=[age]"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("modle:\n  regions: [lesion]", "modle is no setting; did you mean model?"),
        ("model:\n  regoins: [lesion]", "takes no regoins; did you mean regions?"),
        ("model:\n  network:\n    hiden: [4]", "takes no hiden; did you mean hidden?"),
        (
            "model:\n  prepare:\n    scael:\n      with_mean: false",
            "model.prepare.scael has no _target_; did you mean scale?",
        ),
        ("model:\n  prepare:\n    scale:\n      with_men: true", "takes no with_men; did you mean with_mean?"),
        ("split:\n  iner: null", "split.iner is read by nothing; did you mean inner?"),
        ("split:\n  foldz:\n    n_folds: 3", "split.foldz is read by nothing; did you mean folds?"),
        ("model:\n  prepare:\n    skale: null", "model.prepare.skale is read by nothing; did you mean scale?"),
        ("data:\n  knobs:\n    signl: 1", "data.knobs.signl is read by nothing; did you mean signal?"),
        ("name: ???", "the configuration lacks name"),
        ("name: [", "zhao_mlp.yaml"),
        ("trainer:\n  max_epoch: 3", "takes no max_epoch; did you mean max_epochs?"),
        ("endpoint:\n  evnt: response", "takes no evnt; did you mean event?"),
        ("model:\n  network:\n    _target_: radnet.models.networks.RadiomicMLP", "did you mean RadiomicsMLP?"),
    ],
)
def test_a_typo_in_an_experiment_file_is_told_with_the_nearest_name(tmp_path, monkeypatch, line, message):
    shutil.copytree(config_folder(), tmp_path / "conf")
    file = tmp_path / "conf" / "experiment" / "zhao_mlp.yaml"
    kept = file.read_text().replace("name: zhao_mlp\n", "") if line.startswith("name") else file.read_text()
    file.write_text(kept + "\n" + line + "\n")
    monkeypatch.setattr("radnet.config.config_folder", lambda: tmp_path / "conf")

    with pytest.raises(ConfigFault) as fault:
        load_config("train", ["experiment=zhao_mlp"])

    assert message in str(fault.value)
    assert not fault.value.from_command_line


SCORE, RADIOMICS = "model:\n  members:\n    score:\n      ", "model:\n  members:\n    radiomics:\n      "


@pytest.mark.parametrize(
    ("experiment", "lines", "message"),
    [
        ("wang_nomogram", SCORE + "steps:\n        scael: null", "steps.scael is read by nothing; did you mean scale?"),
        ("wang_nomogram", SCORE + "regoins: [ring]", "takes no regoins; did you mean regions?"),
        ("zhao_stacking", RADIOMICS + "prepare:\n        clyp: null", "clyp is read by nothing; did you mean clip?"),
        ("zhao_stacking", RADIOMICS + "network:\n        hiden: [4]", "takes no hiden; did you mean hidden?"),
    ],
)
def test_a_typo_in_a_member_of_a_stack_is_told_with_the_nearest_name(experiment, lines, message, tmp_path, monkeypatch):
    shutil.copytree(config_folder(), tmp_path / "conf")
    file = tmp_path / "conf" / "experiment" / f"{experiment}.yaml"
    file.write_text(file.read_text(encoding="utf-8") + f"\n{lines}\n", encoding="utf-8")
    monkeypatch.setattr("radnet.config.config_folder", lambda: tmp_path / "conf")

    with pytest.raises(ConfigFault, match=re.escape(message)):
        load_config("train", [f"experiment={experiment}"])


def test_a_path_with_blanks_brackets_and_equals_signs_arrives_as_typed():
    path = "/data/My (old) cohort=1/it's"

    config = load_config("train", ["experiment=zhao_mlp", "data=manifest", f"data.root={path}"])

    assert config.data.root == path


def test_several_prediction_files_arrive_as_a_list():
    config = load_config("evaluate", ["predictions=[a/x.csv, b/my file (1).csv]", "output=out"])

    assert list(config.predictions) == ["a/x.csv", "b/my file (1).csv"]


def test_a_model_folder_is_not_taken_for_a_choice_of_model():
    assert load_config("evaluate", ["model=runs/a b/model"]).model_folder == "runs/a b/model"


def test_an_endpoint_of_the_users_own_needs_no_file():
    typed = [
        "endpoint.name=relapse",
        "endpoint.event=relapsed",
        "endpoint.time=weeks_free",
        "endpoint.time_unit=months",
    ]

    endpoint = load_config("train", ["experiment=zhao_mlp", *typed]).endpoint

    assert (endpoint.name, endpoint.event, endpoint.time) == ("relapse", "relapsed", "weeks_free")
