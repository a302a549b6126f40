"""A tuned predictor: what it chooses, from whom, and that it is a predictor like any other."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

pytest.importorskip("optuna", reason="searching needs the extra train")

from cohorts import make_study
from radnet.cohort import Cohort, Endpoint
from radnet.config import build, load_config
from radnet.data.split import stratified_folds
from radnet.falsification.judging import mean_discrimination
from radnet.predictors.nested import NestedPredictor
from radnet.predictors.reading import Reading
from radnet.predictors.tuned import TunedPredictor, configured

FOLDS = partial(stratified_folds, n_folds=3, repeats=1, seed=5)
MODEL = {
    "_target_": "radnet.predictors.tabular.TabularPredictor",
    "endpoint": "response",
    "steps": {
        "scale": {"_target_": "sklearn.preprocessing.StandardScaler"},
        "classify": {"_target_": "sklearn.linear_model.LogisticRegression", "C": 1.0, "solver": "newton-cholesky"},
    },
    "regions": ["lesion"],
}
PENALTIES = [1e-4, 1e-2, 1.0, 100.0]
PARAMETERS = {"steps.classify.C": {"values": PENALTIES}}


def tuned(trials=8, seed=3, parameters=PARAMETERS, model=MODEL):
    make = partial(configured, model=model)
    return TunedPredictor("response", make, parameters, FOLDS, mean_discrimination, trials, seed)


@pytest.fixture(scope="module")
def study():
    return make_study(90, seed=4)


@pytest.fixture(scope="module")
def fitted(study):
    return tuned().fit(study.select(study.ids[:66]))


def by_hand(cohort, penalty):
    """Mean AUC in the folds, by scikit-learn alone."""
    pooled = cohort.features.lesion_matrix().groupby(level="patient_id").mean().loc[cohort.ids]
    event = pd.Series(cohort.events("response"), index=cohort.ids)
    found = []
    for fold in FOLDS(cohort, "response"):
        inside, outside = list(fold.train), list(fold.test)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, solver="newton-cholesky"))
        model.fit(pooled.loc[inside], event[inside])
        found.append(roc_auc_score(event[outside], model.decision_function(pooled.loc[outside])))
    return np.mean(found)


def test_it_chooses_what_scikit_learn_finds_best_in_the_same_folds(study, fitted):
    learned = study.select(study.ids[:66])
    expected = {penalty: by_hand(learned, penalty) for penalty in PENALTIES}

    assert len({one.settings["steps.classify.C"] for one in fitted.tried}) > 1
    for one in fitted.tried:
        assert one.score == pytest.approx(expected[one.settings["steps.classify.C"]], abs=1e-12)
    tried = {one.settings["steps.classify.C"] for one in fitted.tried}
    assert expected[fitted.chosen["steps.classify.C"]] == max(expected[one] for one in tried)
    assert fitted.chosen["steps.classify.C"] == fitted.frozen.steps[-1].C


def test_the_model_it_leaves_is_that_of_the_chosen_settings_fitted_to_everybody(study, fitted):
    learned, judged = study.select(study.ids[:66]), study.select(study.ids[66:])

    alone = configured(fitted.chosen, MODEL).fit(learned)

    pd.testing.assert_frame_equal(fitted.predict(judged).patients, alone.predict(judged).patients, check_exact=True)


def test_nothing_of_a_patient_who_is_not_learned_from_changes_what_is_tried_or_chosen(study, fitted):
    rows = study.features.rows.copy()
    strange = rows["patient_id"].isin(study.ids[66:])
    rows.loc[strange, study.features.names] *= -50
    patients = [
        type(one)(one.id, "Z", None, {}, one.lesions, one.clinical) if one.id in study.ids[66:] else one
        for one in study.patients
    ]
    changed = Cohort(tuple(patients), type(study.features)(rows, study.features.provenance))

    again = tuned().fit(changed.select(study.ids[:66]))

    assert again.tried == fitted.tried  # and the same seed tries the same settings, to the bit
    judged = study.select(study.ids[66:])
    pd.testing.assert_frame_equal(again.predict(judged).patients, fitted.predict(judged).patients, check_exact=True)


def test_another_seed_tries_other_settings(study):
    wide = {"steps.classify.C": {"distribution": "log_uniform_values", "min": 1e-4, "max": 100.0}}
    learned = study.select(study.ids[:66])

    first, other = (tuned(2, seed, wide).fit(learned) for seed in (1, 2))

    assert [one.settings for one in first.tried] != [one.settings for one in other.tried]


def test_in_nested_validation_each_fold_searches_anew_among_its_own_patients(study):
    seen = []

    class Watched(TunedPredictor):
        def fit(self, train, valid=None):
            seen.append(set(train.ids))
            return super().fit(train, valid)

    def make(place, checkpoint):
        return Watched("response", partial(configured, model=MODEL), PARAMETERS, FOLDS, mean_discrimination, 2, 3)

    reading = Reading(Endpoint("response", "response"), None, calibrated=False)
    nested = NestedPredictor(make, [FOLDS], [reading]).fit(study)

    assert [len(one) for one in seen] == [60, 60, 60, 90]
    for of_fold, judged in zip(seen, nested.out_of_fold, strict=False):
        assert of_fold == set(judged.fold.train)
        assert not of_fold & set(judged.fold.test)


def test_settings_that_cannot_be_learned_from_are_passed_over_and_told(study):
    parameters = {"steps.classify.C": {"values": [1.0, -1.0]}}

    found = tuned(6, 3, parameters).fit(study.select(study.ids[:66]))

    assert found.chosen == {"steps.classify.C": 1.0}
    failed = sum(one.score is None for one in found.tried)
    assert failed > 0
    assert any(
        f"{failed} of 6 settings could not be learned from, such as steps.classify.C=-1" in one for one in found.notes
    )


def test_where_no_setting_can_be_learned_from_that_is_an_error_with_a_reason(study):
    with pytest.raises(ValueError, match=r"none of 2 settings could be learned from, such as steps.classify.C=-1"):
        tuned(2, 3, {"steps.classify.C": {"values": [-1.0, -2.0]}}).fit(study)


def test_a_mistyped_parameter_is_named_when_the_predictor_is_built():
    with pytest.raises(ValueError, match=r"the tuned model has no steps.clasify.C; did you mean steps.classify.C\?"):
        tuned(parameters={"steps.clasify.C": {"values": [1.0]}})


def test_the_one_in_conf_learns_and_has_a_finite_score_for_everybody(study):
    words = ["experiment=zhao_clinical", "model=logistic_tuned", "~model.clinical", "model.trials=3"]

    model = build(load_config("train", words).model).fit(study)

    assert 0.001 <= model.chosen["steps.classify.C"] <= 100.0
    assert np.isfinite(model.predict(study).patients["score"]).all()
    assert model.clinical == ("lines_ge2", "sites_ge3", "visceral", "subtype")


def test_a_run_tells_what_was_chosen_in_its_record_and_in_its_model(study, tmp_path, monkeypatch):
    import json

    from cohorts import write_cohort
    from radnet.experiment import run_experiment
    from radnet.predictors.folder import load_model

    monkeypatch.chdir(tmp_path)
    folder = write_cohort(make_study(60, seed=1, held_out=20), tmp_path / "study")
    words = ["experiment=zhao_clinical", "model=logistic_tuned", "~model.clinical", "model.trials=2", "also={}"]
    words += ["data=manifest", f"data.root={folder}", "output=out", "falsification=false", "optimism=none"]
    words += ["split.folds.n_folds=2", "split.inner=null"]

    run = run_experiment(load_config("train", words))

    chosen = json.loads((run / "model" / "model.json").read_text("utf-8"))["before"]["tuned"]["steps.classify.C"]
    messages = json.loads((run / "run.json").read_text("utf-8"))["messages"]
    assert any(f"steps.classify.C={chosen:.4g} was chosen of 2 settings" in one for one in messages)
    assert chosen == load_model(run / "model").model.steps[-1].C
