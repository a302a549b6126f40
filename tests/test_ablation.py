"""Models with branches taken out: what is left of a configuration, and how it is judged."""

from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cohorts import make_study
from radnet.ablation import ablations, run_ablations
from radnet.cohort import Endpoint
from radnet.config import build, load_config, options, target_faults
from radnet.data.split import stratified_folds
from radnet.evaluation.cutoff_rules import by_median
from radnet.files import config_folder
from radnet.predictors.reading import Reading
from radnet.predictors.stacked import StackedPredictor
from radnet.predictors.tabular import TabularPredictor

EVERY = ("radiomics", "image", "clinical")
COLUMNS = ["age", "cps"]


def conf(name):
    return OmegaConf.to_container(OmegaConf.load(config_folder() / f"{name}.yaml"))


def hybrid(*branches):
    """A model node of a hybrid network with these branches."""
    cnn = {
        "net": "monai.networks.nets.ResNet",
        "arguments": {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [4, 4, 8, 8]},
        "batch_norm": "group",
    }
    image = "image" in branches
    return {
        "_target_": "radnet.predictors.hybrid.HybridPredictor",
        "endpoint": "response",
        "network": {
            "_target_": "radnet.models.hybrid.HybridNetwork",
            "_partial_": True,
            "radiomics": {"hidden": [6], "dropout": 0.1} if "radiomics" in branches else None,
            "cnn": cnn if image else None,
            "embedding": 4,
            "fusion": "gated",
            "dropout": 0.1,
            "modality_dropout": 0.2,
        },
        "loss": {"_target_": "radnet.learning.losses.response_loss", "_partial_": True, "positive_weight": 1.0},
        "prepare": {"scale": {"_target_": "sklearn.preprocessing.StandardScaler"}},
        "trainer": conf("trainer/early_stopping"),
        "seed": 3,
        "regions": ["lesion"] if "radiomics" in branches else [],
        "aggregate": "attention",
        "clinical": COLUMNS if "clinical" in branches else [],
        "imaging": conf("imaging/ct_1mm") if image else None,
        "augment": conf("augment/moderate") if image else None,
        "pretrain": conf("pretrain/contrastive") if image else None,
        "pretrained": None,
    }


def tabular(clinical=(), regions=(), **further):
    return {
        "_target_": "radnet.predictors.tabular.TabularPredictor",
        "endpoint": "response",
        "steps": {
            "scale": {"_target_": "sklearn.preprocessing.StandardScaler"},
            "classify": {"_target_": "sklearn.linear_model.LogisticRegression", "C": 0.5},
        },
        "clinical": list(clinical),
        "regions": list(regions),
        **further,
    }


def stack(*members, clinical=()):
    return {
        "_target_": "radnet.predictors.stacked.StackedPredictor",
        "endpoint": "response",
        "members": {name: tabular(["age"], ["lesion"], _partial_=True) for name in members},
        "steps": {"classify": {"_target_": "sklearn.linear_model.LogisticRegression"}},
        "folds": {"_target_": "radnet.data.split.stratified_folds", "_partial_": True, "n_folds": 3, "seed": 1},
        "clinical": list(clinical),
    }


def test_of_three_branches_each_stands_alone_and_is_left_out():
    assert set(ablations(hybrid(*EVERY), endpoint_has_time=False)) == {
        *(f"ablation_{branch}_alone" for branch in EVERY),
        *(f"ablation_without_{branch}" for branch in EVERY),
    }


@pytest.mark.parametrize("branches", list(combinations(EVERY, 2)), ids=" and ".join)
def test_of_two_branches_one_alone_is_the_model_without_the_other_and_stands_once(branches):
    made = ablations(hybrid(*branches), endpoint_has_time=False)

    assert set(made) == {f"ablation_{branch}_alone" for branch in branches}


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("ablation_radiomics_alone", ["radiomics"]),
        ("ablation_image_alone", ["image"]),
        ("ablation_without_radiomics", ["image", "clinical"]),
        ("ablation_without_image", ["radiomics", "clinical"]),
        ("ablation_without_clinical", ["radiomics", "image"]),
    ],
)
def test_what_is_left_is_the_same_model_configured_without_the_branch(name, left):
    whole = hybrid(*EVERY)

    made = ablations(OmegaConf.create(whole), endpoint_has_time=False)[name]

    assert made == hybrid(*left)
    assert whole == hybrid(*EVERY)


@pytest.mark.parametrize(
    "name", [name for name in ablations(hybrid(*EVERY), False) if name != "ablation_clinical_alone"]
)
def test_a_hybrid_predictor_of_what_is_left_has_the_branches_of_its_name(name):
    pytest.importorskip("monai", reason="images need the extra train")
    branch = name.removeprefix("ablation_").removesuffix("_alone").removeprefix("without_")
    expected = {branch} if name.endswith("_alone") else set(EVERY) - {branch}

    node = ablations(hybrid(*EVERY), endpoint_has_time=False)[name]

    made = build(node)
    network = build(node["network"])(n_features=1, n_clinical=2, n_channels=4, aggregate="mean", n_outputs=1)

    assert {*network.branches} | ({"clinical"} if made.clinical else set()) == expected


@pytest.mark.parametrize(
    ("follow_up", "endpoint", "last"), [(False, "response", "LogisticRegression"), (True, "dfs", "CoxRegression")]
)
def test_clinical_columns_alone_are_a_regression_of_them(follow_up, endpoint, last):
    node = ablations({**hybrid(*EVERY), "endpoint": endpoint}, follow_up)["ablation_clinical_alone"]

    model = build(node)

    assert isinstance(model, TabularPredictor)
    assert (model.endpoint, model.clinical, model.regions) == (endpoint, tuple(COLUMNS), ())
    assert type(model.steps[-1]).__name__ == last
    assert model.fit(make_study(60, seed=1)).predict(make_study(9, seed=2)).patients["score"].notna().all()


def test_of_a_stack_each_member_stands_alone_and_is_left_out_and_so_do_the_columns_beside_the_scores():
    made = ablations(stack("a", "b", clinical=COLUMNS), endpoint_has_time=False)

    found = {name: build(node) for name, node in made.items()}
    assert {name: sorted(one.members) for name, one in found.items() if isinstance(one, StackedPredictor)} == {
        "ablation_without_a": ["b"],
        "ablation_without_b": ["a"],
        "ablation_without_clinical": ["a", "b"],
    }
    assert {name: one.beside for name, one in found.items() if isinstance(one, StackedPredictor)} == {
        "ablation_without_a": tuple(COLUMNS),
        "ablation_without_b": tuple(COLUMNS),
        "ablation_without_clinical": (),
    }
    assert {name: (one.regions, one.clinical) for name, one in found.items() if isinstance(one, TabularPredictor)} == {
        "ablation_a_alone": (("lesion",), ("age",)),
        "ablation_b_alone": (("lesion",), ("age",)),
        "ablation_clinical_alone": ((), tuple(COLUMNS)),
    }


@pytest.mark.parametrize("name", ablations(hybrid(*EVERY), endpoint_has_time=False))
def test_of_an_ensemble_the_branches_of_its_member_are_taken_out_and_what_is_left_is_an_ensemble(name):
    target = "radnet.predictors.ensemble.EnsemblePredictor"
    whole = {"_target_": target, "endpoint": "response", "seeds": 2, "seed": 3}

    made = ablations({**whole, "member": {**hybrid(*EVERY), "_partial_": True}}, endpoint_has_time=False)

    left = ablations(hybrid(*EVERY), endpoint_has_time=False)[name]
    of_columns_alone = name == "ablation_clinical_alone"  # a regression, which no chance enters
    assert made[name] == (left if of_columns_alone else {**whole, "member": {**left, "_partial_": True}})


def test_of_a_stack_of_one_member_and_columns_either_is_left():
    made = ablations(stack("score", clinical=COLUMNS), endpoint_has_time=False)

    assert made["ablation_score_alone"] == tabular(["age"], ["lesion"])
    assert set(made) == {"ablation_score_alone", "ablation_clinical_alone"}


@pytest.mark.parametrize(
    ("node", "told"),
    [
        (hybrid("image"), "image alone"),
        (tabular(clinical=COLUMNS), "clinical alone"),
        (stack("score"), "score alone"),
        ({"_target_": "radnet.predictors.tuned.TunedPredictor", "endpoint": "response"}, "none"),
    ],
    ids=["image", "clinical", "stack of one", "none"],
)
def test_a_model_of_one_branch_is_refused(node, told):
    with pytest.raises(ValueError, match=f"takes branches out, and the model has {told}: choose one of several"):
        ablations(node, endpoint_has_time=False)


def test_a_tuned_model_is_refused_by_name():
    tuned = {"_target_": "radnet.predictors.tuned.TunedPredictor", "make": {"model": tabular(COLUMNS, ["lesion"])}}

    with pytest.raises(ValueError, match="not of a model that is tuned: write its values down"):
        ablations(tuned, endpoint_has_time=False)


def test_a_member_with_the_name_of_the_columns_beside_it_is_refused():
    with pytest.raises(ValueError, match="a member of the stack is named clinical, as the columns beside it: rename"):
        ablations(stack("clinical", "b", clinical=COLUMNS), endpoint_has_time=False)


@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_experiment_comes_apart_into_models_that_can_be_configured_or_has_one_branch(experiment):
    config = load_config("train", [f"experiment={experiment}"])
    branches = [*(config.model.get("members") or ()), *(["regions"] if config.model.get("regions") else [])]
    branches += ["imaging"] if config.model.get("imaging") else []
    branches += ["clinical"] if config.model.get("clinical") else []

    if len(branches) < 2:
        with pytest.raises(ValueError, match="ablation=true takes branches out"):
            ablations(config.model, config.endpoint.get("time") is not None)
        return
    made = ablations(config.model, config.endpoint.get("time") is not None)

    assert len(made) == (2 if len(branches) == 2 else 2 * len(branches))
    assert target_faults(OmegaConf.create(made)) == []


FOLDS = partial(stratified_folds, n_folds=4, repeats=1, seed=5)
READINGS = [Reading(Endpoint("response", "response"), by_median)]
NODES = ablations(tabular(COLUMNS, ["lesion"]), endpoint_has_time=False)


@pytest.fixture(scope="module")
def study():
    whole = make_study(80, seed=3)
    return whole.select(whole.ids[:60]), whole.select(whole.ids[60:])


def judged(study, once=lambda name, make: make(None), nodes=NODES, readings=READINGS, say=pytest.fail, fits=None):
    """The predictions of models by name; ``fits`` takes the name and place of each predictor built."""
    names = {id(node): name for name, node in nodes.items()}

    def make(node, place, checkpoint):
        model = build(node)
        if fits is not None:
            learn = model.fit
            model.fit = lambda *given: (fits.append((names[id(node)], place)), learn(*given))[1]
        return model

    found = {}
    every = run_ablations(nodes, make, FOLDS, readings, *study, once, say, lambda done, of, what: None)
    for name, one in every:
        found.setdefault(name, []).append(one)
    return found


def by_hand(matrix, event, train, test):
    scale = StandardScaler().fit(matrix.loc[train])
    model = LogisticRegression(C=0.5).fit(scale.transform(matrix.loc[train]), event.loc[train])
    return pd.Series(model.decision_function(scale.transform(matrix.loc[test])), index=test)


def test_what_is_left_is_judged_in_the_folds_of_the_whole_model_and_on_those_held_out(study):
    development, held_out = study

    found = judged(study)["ablation_radiomics_alone"]

    pooled = pd.concat([one.features.lesion_matrix().groupby(level="patient_id").mean() for one in study])
    event = pd.Series(development.events("response"), index=development.ids)
    *of_folds, of_held_out = found
    scores = []
    for fold, one in zip(FOLDS(development, "response"), of_folds, strict=True):
        expected = by_hand(pooled, event, list(fold.train), list(fold.test))
        score = one.prediction.patients["score"].loc[expected.index]
        np.testing.assert_allclose(score, expected, rtol=1e-6, atol=1e-9)
        assert (one.partition, one.fold, one.repeat, one.prediction.cutoff) == ("out_of_fold", fold.name, "", None)
        assert set(one.cohort.ids) == set(fold.test)
        scores.append(expected)
    expected = by_hand(pooled, event, development.ids, held_out.ids)
    np.testing.assert_allclose(of_held_out.prediction.patients["score"], expected, rtol=1e-6, atol=1e-9)
    assert of_held_out.prediction.cutoff == pytest.approx(np.median(pd.concat(scores)))
    assert (of_held_out.partition, of_held_out.fold) == ("held_out", "")
    assert of_held_out.prediction.patients["probability"].notna().all()


def test_where_nobody_is_held_out_models_are_judged_out_of_fold_alone(study):
    development, _ = study

    found = judged((development, development.select([])))

    assert {one.partition for scores in found.values() for one in scores} == {"out_of_fold"}


def test_ablations_that_were_interrupted_go_on_and_end_in_the_same_scores(study):
    calm, kept = judged(study), {}

    def stopping(name, make):
        if len(kept) == 7:
            raise KeyboardInterrupt
        kept[name] = make(None)
        return kept[name]

    with pytest.raises(KeyboardInterrupt):
        judged(study, stopping)
    before, again = set(kept), []

    def going_on(name, make):
        if name not in kept:
            kept[name] = make(None)
        return kept[name]

    found = judged(study, going_on, fits=again)

    assert before == {
        *(f"ablation_radiomics_alone/{fit}" for fit in ("fold_1", "fold_2", "fold_3", "fold_4", "model")),
        *(f"ablation_clinical_alone/{fit}" for fit in ("fold_1", "fold_2")),
    }
    assert again == [("ablation_clinical_alone", place) for place in [(3,), (4,), ()]]
    assert list(found) == list(calm)
    for name, scores in calm.items():
        for one, other in zip(scores, found[name], strict=True):
            pd.testing.assert_frame_equal(one.prediction.patients, other.prediction.patients, check_exact=True)
            assert one.prediction.cutoff == other.prediction.cutoff


def test_a_model_that_cannot_be_run_is_told_of_and_stops_no_other(study):
    told = []
    nodes = {"ablation_a_alone": tabular(["shoe_size"]), **NODES}

    found = judged(study, nodes=nodes, say=told.append)

    assert list(found) == list(NODES)
    (message,) = told
    assert message.startswith("ablation_a_alone: not run: ")
    assert "shoe_size" in message


def test_an_endpoint_read_by_an_own_score_is_left_out_of_a_model_that_has_none(study):
    pfs = Endpoint("pfs", "pfs_event", "pfs_months", "months", horizon=12)
    dfs = Endpoint("dfs", "dfs_event", "dfs_months", "months")
    readings = [*READINGS, Reading(pfs, by_median, "own"), Reading(dfs, by_median, "negate")]

    found = judged(study, readings=readings)

    assert {tuple(one.prediction.also) for scores in found.values() for one in scores} == {("dfs",)}


def test_patients_without_a_branch_are_left_out_of_what_reads_it_and_everybody_keeps_his_fold(study):
    """Scores are those of regression by hand on the patients with features, in the folds drawn on everybody."""
    development, held_out = study
    lacking = {development.ids[3], development.ids[10], held_out.ids[0]}
    without = tuple(
        replace(one, features=replace(one.features, rows=_without_values(one.features, lacking))) for one in study
    )
    told = []

    found = judged(without, say=told.append)

    assert told == ["ablation_radiomics_alone: 3 of 80 patients have no lesion that it can read, and are left out"]
    pooled = development.features.lesion_matrix().groupby(level="patient_id").mean()
    event = pd.Series(development.events("response"), index=development.ids)
    *of_folds, of_held_out = found["ablation_radiomics_alone"]
    for fold, one in zip(FOLDS(development, "response"), of_folds, strict=True):
        train, test = ([name for name in side if name not in lacking] for side in (fold.train, fold.test))
        expected = by_hand(pooled, event, train, test)
        np.testing.assert_allclose(one.prediction.patients["score"].loc[test], expected, rtol=1e-6, atol=1e-9)
        assert set(one.cohort.ids) == set(test)
    assert list(of_held_out.cohort.ids) == list(held_out.ids[1:])
    judged_by_clinical = [name for one in found["ablation_clinical_alone"] for name in one.cohort.ids]
    assert sorted(judged_by_clinical) == sorted([*development.ids, *held_out.ids])


def _without_values(features, patients):
    rows = features.rows.copy()
    rows.loc[rows["patient_id"].isin(patients), features.names] = np.nan
    return rows
