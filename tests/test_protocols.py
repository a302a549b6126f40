"""Papers followed strictly and as published: what is composed, what is told, and what a run records of it."""

import json
import re

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="training needs the extra train")

from cohorts import make_study, write_cohort
from radnet.cohort import Cohort, Outcome, Patient
from radnet.config import ConfigFault, build, load_config, options, target_faults
from radnet.experiment import run_experiment
from radnet.predictors.folder import load_model
from radnet.tables import read_predictions

OF_PAPERS = options("experiment/as_published")
OF_EVERY_PAPER = pytest.mark.parametrize("experiment", OF_PAPERS)


def as_published(experiment, *typed):
    return load_config("train", [f"experiment={experiment}", "protocol=as_published", *typed])


def test_every_experiment_of_a_paper_has_both_protocols():
    ours = {"hybrid", "hybrid_survival", "cnn_patch", "radiomics_attention"}

    assert set(options("experiment")) - ours == set(OF_PAPERS)


@OF_EVERY_PAPER
def test_the_steps_of_a_paper_compose_and_every_key_is_read(experiment):
    config = as_published(experiment)

    assert (config.name, config.protocol) == (f"{experiment}_as_published", "as_published")
    assert target_faults(config) == []
    assert build(config.model).endpoint == config.endpoint.name


@OF_EVERY_PAPER
def test_strict_is_what_nobody_asked_for_otherwise(experiment):
    plain = load_config("train", [f"experiment={experiment}"])

    assert (plain.name, plain.protocol, plain.read_on, plain.before_split) == (
        experiment,
        "strict",
        "out_of_fold",
        None,
    )
    assert load_config("train", [f"experiment={experiment}", "protocol=strict"]) == plain


@OF_EVERY_PAPER
def test_both_spellings_of_a_protocol_are_one(experiment):
    by_file = load_config("train", [f"experiment=as_published/{experiment}"])

    assert by_file == as_published(experiment)
    assert load_config("train", [f"experiment=as_published/{experiment}", "protocol=as_published"]) == by_file


@OF_EVERY_PAPER
def test_as_published_cut_offs_come_from_the_patients_learned_from(experiment):
    config = as_published(experiment)

    assert config.read_on == "apparent"
    assert config.split.inner is None
    assert config.model.get("learn_from", "apparent") == "apparent"


@pytest.mark.parametrize("experiment", ["zhao_mlp", "zhao_combined", "zhao_stacking"])
@pytest.mark.parametrize("protocol", ["strict", "as_published"])
def test_settings_of_the_trainer_that_are_typed_reach_the_network_in_either_protocol(experiment, protocol):
    typed = ["trainer.max_epochs=3", "trainer.batch_size=8"]

    model = load_config("train", [f"experiment={experiment}", f"protocol={protocol}", *typed]).model

    trainer = model.trainer if "trainer" in model else model.members.radiomics.trainer
    assert (trainer.max_epochs, trainer.batch_size) == (3, 8)
    assert trainer.valid_share == (0 if protocol == "as_published" else 0.2)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["experiment=zhao_mlp", "protocol=as_publishd"], "protocol=as_publishd: choose strict or as_published"),
        (["experiment=zhao_mlp", "protocol="], "protocol=: choose strict or as_published"),
        (["experiment=zhao_mpl", "protocol=as_published"], "conf/experiment has no zhao_mpl; did you mean zhao_mlp?"),
        (["experiment=as_published/zhao_mpl"], "conf/experiment/as_published has no zhao_mpl; did you mean zhao_mlp?"),
        (["experiment=published/zhao_mlp"], "conf/experiment has no published/zhao_mlp; did you mean zhao_mlp?"),
        (
            ["experiment=as_published/zhao_mlp", "protocol=strict"],
            "experiment=as_published/zhao_mlp is not protocol=strict: choose experiment=zhao_mlp",
        ),
        (["protocol=as_published"], "choose an experiment: experiment="),
    ],
)
def test_a_protocol_or_an_experiment_that_is_none_is_told_in_one_line(typed, message):
    with pytest.raises(ConfigFault) as fault:
        load_config("train", typed)

    assert message in str(fault.value)
    assert "\n" not in str(fault.value)
    assert fault.value.from_command_line


def test_an_experiment_of_no_paper_has_no_steps_of_one(tmp_path, monkeypatch):
    import shutil

    from radnet.config import config_folder

    shutil.copytree(config_folder(), tmp_path / "conf")
    (tmp_path / "conf" / "experiment" / "as_published" / "wang_tnm.yaml").unlink()
    monkeypatch.setattr("radnet.config.config_folder", lambda: tmp_path / "conf")

    with pytest.raises(ConfigFault, match="experiment=wang_tnm is of no paper: it has no protocol=as_published"):
        as_published("wang_tnm")


def three_centres():
    """As many patients of each centre as Zhao 2023 had: A all learned from, B halved, C all judged."""
    rng = np.random.default_rng(6)
    patients = []
    for centre, count in {"A": 107, "B": 128, "C": 5}.items():
        for place in range(count):
            numbers = ("lines_ge2", "sites_ge3", "visceral", "antiangiogenic")
            clinical = {
                **{name: float(rng.integers(0, 2)) for name in numbers},
                "cps": float(rng.integers(0, 30)),
                "subtype": str(rng.choice(["TNBC", "HER2+"])),
            }
            outcomes = {
                "response": Outcome(bool(rng.random() < 0.35)),
                "pfs": Outcome(bool(rng.random() < 0.8), float(rng.exponential(8) + 0.1)),
            }
            patients.append(Patient(f"{centre}{place:03d}", centre, None, outcomes, (), clinical))
    return Cohort(tuple(patients))


PLAIN = ["falsification=false", "optimism=none", "split.folds.n_folds=3", "data=manifest"]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Zhao's clinical model as published, on patients of three centres."""
    folder = tmp_path_factory.mktemp("published")
    root = write_cohort(three_centres(), folder / "cohort")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # checkpoints/ is made where the user stands
        return run_experiment(as_published("zhao_clinical", f"data.root={root}", f"output={folder / 'out'}", *PLAIN))


def test_171_patients_are_learned_from_and_69_judged_of_whom_928_per_mille_share_a_centre(published):
    counts = json.loads((published / "run.json").read_text(encoding="utf-8"))["counts"]
    table = read_predictions(published / "predictions.parquet")

    assert (counts["development"]["patients"], counts["held_out"]["patients"]) == (171, 69)
    assert counts["held_out_share_from_training_centres"] == 0.928  # 64 of 69
    sides = table.groupby(table["partition"] == "held_out")["patient_id"].agg(set)
    assert not sides[True] & sides[False]
    assert (len(sides[False]), len(sides[True])) == (171, 69)


def test_a_run_says_which_protocol_it_followed_and_bears_it_in_its_name(published):
    record = json.loads((published / "run.json").read_text(encoding="utf-8"))

    assert (record["experiment"], record["protocol"]) == ("zhao_clinical_as_published", "as_published")
    models = set(read_predictions(published / "predictions.parquet")["model"])
    assert models == {"zhao_clinical_as_published", "zhao_clinical_as_published_negated"}


def test_as_published_the_cut_off_is_that_of_apparent_scores(published):
    from radnet.evaluation.cutoff import youden

    table = read_predictions(published / "predictions.parquet")
    apparent = table[(table["partition"] == "apparent") & (table["endpoint"] == "response")]

    expected = youden(apparent["event"].astype(bool), apparent["score"]).value
    assert set(apparent["cutoff"]) == {expected}
    assert load_model(published / "model").readings[0].cutoff.value == expected


@pytest.fixture(scope="module")
def twice_read(tmp_path_factory):
    """A folder of patients of whom twelve were delineated by two readers, and twice by the first."""
    return write_cohort(make_study(75, seed=2, held_out=15), tmp_path_factory.mktemp("twice") / "cohort")


def run_wang(root, output, *typed):
    plain = ["falsification=false", "optimism=none", "split.folds.n_folds=2", "split.inner=null", "data=manifest"]
    plain += ["model.steps.lasso.n_folds=4"]  # ten folds need ten patients censored in every fit
    return run_experiment(
        load_config("train", ["experiment=wang_score", f"data.root={root}", f"output={output}", *plain, *typed])
    )


def test_features_selected_before_the_split_are_told_and_are_those_of_the_model(twice_read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    folder = run_wang(twice_read, "out", "protocol=as_published")

    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["counts"]["features"] == 28
    assert record["counts"]["features_before_split"] == 18  # no wavelet: 10 of them do not agree between readers
    (told,) = [one for one in record["messages"] if "before the split" in one]
    assert re.match("18 of 28 features were selected before the split, from all patients", told)
    left = load_model(folder / "model").model.selection()
    assert (len(left["measured"]), len(left["before_split"])) == (28, 18)
    assert not [name for name in left["before_split"] if name.startswith("wavelet")]
    assert list(record["counts"]["selection"])[:2] == ["measured", "before_split"]


def test_strictly_each_model_selects_stable_features_of_its_own_patients(twice_read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    folder = run_wang(twice_read, "out")

    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    selection = record["counts"]["selection"]
    assert (selection["measured"], selection["reproducible"]) == (28, 18)
    assert selection["lasso"] <= selection["constant"] == 18
    assert "features_before_split" not in record["counts"]
    assert record["counts"]["further_delineations"] > 0
    table = read_predictions(folder / "predictions.parquet")
    assert {"probability_12", "probability_36", "probability_60"} <= set(table.columns)
    known = table.dropna(subset=["probability_12", "probability_60"])
    assert len(known)
    assert (known["probability_12"] <= known["probability_60"]).all()
    pd.testing.assert_series_equal(known["probability"], known["probability_60"], check_names=False)


def test_wavelet_features_of_patients_judged_enter_what_is_selected_before_the_split_and_not_strictly(
    twice_read, tmp_path, monkeypatch
):
    """The leak is the paper's: strictly nothing of the patients judged is looked at."""
    monkeypatch.chdir(tmp_path)
    study = make_study(75, seed=2, held_out=15, twice=75)
    agreeing = study.features.rows.copy()
    judged = agreeing["patient_id"].isin([one.id for one in study.patients if one.split == "held_out"])
    original = agreeing.drop_duplicates(["patient_id", "lesion_id"]).set_index(["patient_id", "lesion_id"])
    of_lesion = pd.MultiIndex.from_frame(agreeing[["patient_id", "lesion_id"]])
    for name in study.features.names:
        same = original[name].loc[of_lesion].to_numpy() * 1e6  # as large as to drown all disagreement elsewhere
        agreeing.loc[judged, name] = same[judged]
    other = study.with_features(type(study.features)(agreeing, study.features.provenance))
    plain, changed = write_cohort(study, tmp_path / "plain"), write_cohort(other, tmp_path / "changed")

    def kept(root, output, *typed):
        counts = json.loads((run_wang(root, output, *typed) / "run.json").read_text(encoding="utf-8"))["counts"]
        return counts.get("features_before_split", counts["selection"].get("reproducible"))

    published = "protocol=as_published", "before_split.patients=75"
    assert [kept(plain, "1", *published), kept(changed, "2", *published)] == [18, 28]
    assert [kept(plain, "3"), kept(changed, "4")] == [18, 18]
