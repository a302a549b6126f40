"""Ensembles: the mean of predictors that differ by chance alone, each gone on with where it was interrupted."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="networks need the extra train")
pytest.importorskip("monai", reason="images need the extra train")

from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cohorts import make_study, with_patches, write_cohort
from radnet.appraisal.importance import input_groups
from radnet.appraisal.resampling import fit_to_sample
from radnet.cohort import Endpoint
from radnet.config import build, load_config
from radnet.data.split import stratified_folds
from radnet.experiment import run_experiment
from radnet.learning.fit import TrainerSettings
from radnet.learning.losses import response_loss
from radnet.models.networks import RadiomicsMLP
from radnet.models.pipeline import ClinicalEncoder
from radnet.predictors.deep import DeepPredictor
from radnet.predictors.ensemble import EnsemblePredictor
from radnet.predictors.folder import load_model, save_model
from radnet.predictors.frozen_ensemble import as_encoded_by, joint_encoder
from radnet.predictors.reading import Reading
from radnet.predictors.stacked import StackedPredictor
from radnet.predictors.tabular import TabularPredictor

FOLDER = TemporaryDirectory()
STUDY = with_patches(make_study(60, seed=4), Path(FOLDER.name) / "study.npy")
LEARNED, JUDGED = STUDY.select(STUDY.ids[:48]), STUDY.select(STUDY.ids[48:])
TINY = [
    *("imaging.size_voxels=[8,8,8]", "~imaging.channels.ring", "~imaging.channels.distance"),
    *("~imaging.channels.about_lesion", "trainer.max_epochs=2"),
]
TINY_MEMBER = [
    *("model.member.network.cnn.arguments.block_inplanes=[2,2,2,2]", "model.member.network.embedding=4"),
    "model.member.clinical=[age,subtype]",
]
FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}  # a table holds in double precision what a network sums in single


class Interrupted(Exception):  # noqa: N818 - no fault
    pass


def hybrids(seeds=3, *typed):
    """An ensemble of tiny hybrids, as configured."""
    words = ["experiment=hybrid", "model=hybrid_ensemble", f"model.seeds={seeds}", *TINY, *TINY_MEMBER]
    return build(load_config("train", [*words, *typed]).model)


def network(seed, loss=response_loss, aggregate="mean", epochs=4):
    """A tiny network of radiomics and a clinical column."""
    steps = {"impute": SimpleImputer(), "scale": StandardScaler()}
    trainer = TrainerSettings(epochs, epochs, 0.25, 16, 0.01, 0.0, checkpoint_every_s=0)
    made = partial(RadiomicsMLP, hidden=[4], dropout=0.2)
    return DeepPredictor("response", made, loss, steps, trainer, seed, aggregate=aggregate, clinical=["age"])


def with_unknown(cohort, seed):
    """Return a cohort in which some ages and subtypes are not known, and of one patient nothing is."""
    rng = np.random.default_rng(seed)
    patients = [
        replace(one, clinical={name: None if rng.random() < 0.3 else value for name, value in one.clinical.items()})
        for one in cohort.patients
    ]
    patients[0] = replace(patients[0], clinical=dict.fromkeys(patients[0].clinical))
    return replace(cohort, patients=tuple(patients))


@pytest.fixture(scope="module")
def fitted():
    return hybrids().fit(with_unknown(LEARNED, 1))


def mean(found):
    return (found[0] + found[1] + found[2]) / 3


def test_its_scores_are_the_mean_of_members_fitted_one_by_one_to_the_bit(fitted):
    config = load_config("train", ["experiment=hybrid", "model=hybrid_ensemble", *TINY, *TINY_MEMBER])
    alone = [build(config.model.member)(seed=seed) for seed in fitted.seeds]

    members = [one.fit(with_unknown(LEARNED, 1)).predict(JUDGED) for one in alone]

    found = fitted.predict(JUDGED)
    np.testing.assert_array_equal(found.patients["score"], mean([one.patients["score"] for one in members]))
    assert list(found.patients.index) == JUDGED.ids
    assert found.patients["probability"].isna().all()
    for name in ("score", "weight"):
        np.testing.assert_array_equal(found.lesions[name], mean([one.lesions[name] for one in members]))
    assert not members[0].patients["score"].equals(members[1].patients["score"])
    assert fitted.history == alone[0].history


def test_an_ensemble_of_one_seed_is_its_member():
    config = load_config("train", ["experiment=hybrid", *TINY, *(one.replace(".member", "") for one in TINY_MEMBER)])

    one, alone = hybrids(1).fit(LEARNED).predict(JUDGED), build(config.model).fit(LEARNED).predict(JUDGED)

    pd.testing.assert_frame_equal(one.patients, alone.patients, check_exact=True)
    pd.testing.assert_frame_equal(one.lesions, alone.lesions, check_exact=True)


def test_members_set_other_patients_aside_unless_they_are_told_whom():
    stood_aside = [set(one.set_aside(LEARNED)[1].ids) for one in map(network, hybrids(5).seeds)]
    told = network(1).set_aside(LEARNED)
    model = EnsemblePredictor("response", network, 2, 1)

    losses = [[epoch["valid_loss"] for epoch in one.history] for one in model.fit(told[0], told[1]).members]

    assert len({frozenset(one) for one in stood_aside}) == 5
    assert not set.intersection(*stood_aside)  # everybody teaches somebody
    assert all(len(one) == 12 for one in stood_aside)
    first = network(1).fit(LEARNED).history  # that sets the very same aside by itself
    assert losses[0] == [epoch["valid_loss"] for epoch in first]
    assert model.set_aside(LEARNED)[1].ids == told[1].ids


def test_a_bootstrap_sample_has_nobody_on_both_sides(monkeypatch):
    sides = []
    learn = DeepPredictor.fit
    monkeypatch.setattr(DeepPredictor, "fit", lambda one, *given: (sides.append(given), learn(one, *given))[1])

    fit_to_sample(EnsemblePredictor("response", network, 2, 1), LEARNED, [2] * len(LEARNED))

    names = [[{name.partition(" (copy")[0] for name in side.ids} for side in given] for given in sides]
    assert len(names) == 2
    assert all(not learned & checked and len(learned | checked) == 48 for learned, checked in names)


@pytest.mark.parametrize("aggregate", ["mean", "noisy_or"])
def test_networks_of_pooled_features_and_of_lesions_are_averaged_too(aggregate):
    model = EnsemblePredictor("response", lambda seed: network(seed, aggregate=aggregate), 3, 5).fit(LEARNED)

    members = [network(seed, aggregate=aggregate).fit(LEARNED).predict(JUDGED) for seed in model.seeds]

    found = model.predict(JUDGED)
    np.testing.assert_array_equal(found.patients["score"], mean([one.patients["score"] for one in members]))
    np.testing.assert_allclose(model.frozen.score(model.frozen.inputs(JUDGED)), found.patients["score"], **FLOAT32)
    assert list(model.frozen.inputs(JUDGED).columns) == [*STUDY.features.names, "age", "age_missing"]


def test_what_it_says_it_reads_gives_its_scores_though_members_fill_in_differently(fitted):
    judged = with_unknown(JUDGED, 2)
    fills = {one.encoder.fill_["age"] for one in fitted.frozen.members.values()}

    inputs = fitted.frozen.inputs(judged)

    np.testing.assert_allclose(fitted.frozen.score(inputs), fitted.predict(judged).patients["score"], **FLOAT32)
    assert len(fills) > 1
    assert inputs.columns.is_unique
    features, last = len(STUDY.features.names), fitted.frozen.encoder.get_feature_names_out()
    of_images = [f"{number}__image_{place}" for number in "123" for place in range(4)]
    assert list(inputs.columns) == [*STUDY.features.names, *of_images, *last]
    assert inputs.iloc[:, features : -len(last)].notna().all(axis=None)
    assert "age_missing" in last


@pytest.mark.parametrize("seed", range(5))
def test_from_a_joint_encoding_each_encoding_comes_back(seed):
    rng = np.random.default_rng(seed)

    def table(n):
        age = pd.Series(rng.normal(60, 9, n)).where(rng.random(n) < 0.8)
        kind = pd.Series(rng.choice(list("bcda"), n, p=[0.5, 0.3, 0.15, 0.05]), dtype=object)
        return pd.DataFrame({"age": age, "kind": kind.where(rng.random(n) < 0.8, None), "sure": 1.0 * (age > 60)})

    encoders = [ClinicalEncoder(missing_indicators=bool(number)).fit(table(9)) for number in range(4)]
    judged = table(40)

    joint = joint_encoder(encoders)

    numbers = pd.DataFrame(joint.transform(judged), columns=joint.get_feature_names_out())
    for one in encoders:
        found = as_encoded_by(one, joint, numbers)
        np.testing.assert_array_equal(found, one.transform(judged))
        assert list(found.columns) == one.get_feature_names_out()


def test_what_image_branches_say_is_permuted_together_and_clinical_columns_by_variable(fitted):
    columns = list(fitted.frozen.inputs(JUDGED).columns)

    groups = {(kind, name): of for kind, name, of in input_groups(fitted.frozen, columns)}

    assert groups["group", "image patch"] == fitted.frozen.described
    assert len(fitted.frozen.described) == 3 * 4
    assert groups["feature", "age"] == ["age", "age_missing"]
    branches = [of_branch for (kind, _), of_branch in groups.items() if kind == "branch"]
    assert {column for of_branch in branches for column in of_branch} == set(columns)


def test_read_back_it_gives_the_same_scores_to_the_bit(fitted, tmp_path):
    learned = with_unknown(LEARNED, 1)
    reading = Reading(Endpoint("response", "response"), None, calibrated=False).unfitted()

    save_model(tmp_path, fitted.frozen, learned, [reading])

    model = load_model(tmp_path).model
    expected = fitted.predict(JUDGED)
    pd.testing.assert_frame_equal(model.predict(JUDGED).patients, expected.patients, check_exact=True)
    pd.testing.assert_frame_equal(model.predict(JUDGED).lesions, expected.lesions, check_exact=True)
    pd.testing.assert_frame_equal(model.inputs(JUDGED), fitted.frozen.inputs(JUDGED), check_exact=True)
    assert model.imaging == fitted.imaging
    assert model.selection() == fitted.frozen.selection()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["1", "2", "3", "cutoffs.json", "model.json"]


def test_interrupted_in_the_second_member_and_gone_on_it_ends_in_the_same_scores_to_the_bit(tmp_path):
    calm = EnsemblePredictor("response", network, 3, 5).fit(LEARNED)
    asked, asked_again = [], []

    def counted(calls, most):
        def loss(output, batch):
            calls.append(1)
            if len(calls) > most:
                raise Interrupted
            return response_loss(output, batch)

        return loss

    def ensemble(calls, most):
        made = partial(network, loss=counted(calls, most))
        return EnsemblePredictor("response", made, 3, 5, checkpoint=tmp_path / "last.ckpt")

    with pytest.raises(Interrupted):
        ensemble(asked, 16 + 8).fit(LEARNED)  # a member learns in 4 epochs of 3 steps and a validation
    left = sorted(one.name for one in tmp_path.iterdir())
    again = ensemble(asked_again, 1000).fit(LEARNED)

    assert left == ["last_1.ckpt", "last_2.ckpt"]
    assert len(asked_again) == 8 + 16  # not those of the first member, nor of two epochs of the second
    pd.testing.assert_frame_equal(again.predict(JUDGED).patients, calm.predict(JUDGED).patients, check_exact=True)
    assert again.history == calm.history


def test_the_features_told_as_selected_are_those_that_any_member_has_left(fitted):
    found = fitted.frozen.selection()
    members = [one.selection() for one in fitted.frozen.members.values()]

    assert found["measured"] == list(STUDY.features.names)
    *_, last = found
    assert set(found[last]) == set().union(*(one[last] for one in members))


def test_scores_on_further_endpoints_are_means_too():
    tasks = "{tme:{_target_:radnet.learning.losses.Task,loss:{_target_:radnet.learning.losses.response_loss,"
    tasks += "_partial_:true,positive_weight:1.0},weight:0.5}}"
    model = hybrids(3, f"model.member.tasks={tasks}").fit(LEARNED)

    found = model.predict(JUDGED).own_score("tme")

    assert model.own_endpoints == ("tme",)
    members = [one.predict(JUDGED).own_score("tme") for one in model.members]
    np.testing.assert_array_equal(found, mean(members))


@pytest.mark.parametrize("aggregate", ["mean", "noisy_or"])
def test_a_stack_may_hold_an_ensemble_and_is_read_back_to_the_bit(aggregate, tmp_path):
    made = partial(EnsemblePredictor, "response", partial(network, aggregate=aggregate), 2, 5)
    last = {"classify": LogisticRegression(C=1.0)}
    folds = partial(stratified_folds, n_folds=3, repeats=1, seed=5)
    stack = StackedPredictor("response", {"several": made}, last, folds, ["lines_ge2"]).fit(LEARNED)

    save_model(tmp_path, stack.frozen, LEARNED, [Reading(Endpoint("response", "response"), None).unfitted()])

    found = load_model(tmp_path).model
    expected = stack.predict(JUDGED)
    pd.testing.assert_frame_equal(found.predict(JUDGED).patients, expected.patients, check_exact=True)
    pd.testing.assert_frame_equal(found.predict(JUDGED).lesions, expected.lesions, check_exact=True)
    np.testing.assert_allclose(found.score(found.inputs(JUDGED)), expected.patients["score"], **FLOAT32)
    alone = made().fit(LEARNED).predict(JUDGED).patients["score"]
    weight, of_lines = stack.frozen.steps[-1].coef_[0]
    by_hand = weight * alone + of_lines * JUDGED.clinical(["lines_ge2"])["lines_ge2"].astype(float)
    np.testing.assert_allclose(expected.patients["score"], by_hand + stack.frozen.steps[-1].intercept_[0], rtol=1e-6)


def test_a_run_chooses_features_for_each_member_logs_the_first_and_keeps_it_as_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # checkpoints/ is made where the user stands
    words = [
        "experiment=radiomics_attention",
        "model=hybrid_ensemble",
        "model.seeds=2",
        "model.member.network.cnn=null",
    ]
    words += [
        "before_split={_target_:radnet.radiomics.select.Uncorrelated,limit:0.3}",
        "split=kfold",
        "trainer.max_epochs=3",
    ]
    words += [
        "split.inner=null",
        "data=manifest",
        f"data.root={write_cohort(make_study(48, seed=4), tmp_path / 'cohort')}",
    ]

    run = run_experiment(load_config("train", [*words, "falsification=false", "output=run"]))

    members = [load_model(run / "model").model.members[name] for name in "12"]
    chosen = json.loads((run / "run.json").read_text(encoding="utf-8"))["counts"]["features_before_split"]
    assert 0 < chosen < len(STUDY.features.names)
    assert [len(one.selection()["before_split"]) for one in members] == [chosen, chosen]
    epochs = pd.read_csv(run / "train_log.csv")
    of_everybody = epochs[epochs["fold"].isna()]
    logged = pd.read_csv(run / "lightning" / "metrics.csv")
    assert of_everybody["epoch"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(logged["train_loss"].dropna(), of_everybody["train_loss"], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EnsemblePredictor("response", network, 0, 1), "seeds must be 1 or more, got 0"),
        (
            lambda: EnsemblePredictor("tme", network, 2, 1),
            "endpoint tme, and the members of the ensemble learn response",
        ),
        (
            lambda: EnsemblePredictor("response", partial(TabularPredictor, "response", {}), 2, 1),
            "the member of an ensemble takes no seed",
        ),
        (
            lambda: EnsemblePredictor("response", partial(EnsemblePredictor, "response", network, 2), 2, 1),
            "holds models itself: let a stack hold ensembles",
        ),
    ],
    ids=["no seed", "another endpoint", "no chance", "of ensembles"],
)
def test_what_makes_no_ensemble_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
