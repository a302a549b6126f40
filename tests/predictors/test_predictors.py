"""What every predictor must obey, and what each does on its own."""

import json

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="the network predictor needs the extra train")

from dataclasses import replace
from functools import partial

from lifelines import CoxPHFitter
from safetensors.torch import load_file
from scipy.special import expit
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from skops.io import get_untrusted_types

from cohorts import make_cohort, make_study
from radnet.cohort import Cohort, Endpoint, FeatureTable, Outcome
from radnet.learning.fit import TrainerSettings
from radnet.learning.losses import response_loss
from radnet.models.cox import CoxRegression
from radnet.models.networks import RadiomicsMLP
from radnet.models.pipeline import AtLeast
from radnet.predictors.deep import DeepPredictor
from radnet.predictors.folder import FORMAT_VERSION, patient_hash, save_model
from radnet.predictors.reading import FittedReading
from radnet.predictors.tabular import TabularPredictor

TRAINER = TrainerSettings(
    max_epochs=30, patience=10, valid_share=0.2, batch_size=16, learning_rate=0.01, weight_decay=0.001
)


def clinical():
    steps = {"classify": LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8)}
    return TabularPredictor("response", steps, clinical=["age", "lines_ge2", "subtype"], calibrated=True)


def radiomics():
    steps = {"impute": SimpleImputer(), "scale": StandardScaler(), "classify": LogisticRegression()}
    return TabularPredictor("response", steps, regions=["lesion"], clinical=["age"])


def mlp(seed=3, clinical=()):
    network = partial(RadiomicsMLP, hidden=[16, 8, 4], dropout=0.1)
    prepare = {"impute": SimpleImputer(), "scale": StandardScaler()}
    return DeepPredictor("response", network, response_loss, prepare, TRAINER, seed, clinical=clinical)


def mlp_with_clinical():
    return mlp(clinical=["age", "subtype"])


EVERY = pytest.mark.parametrize("make", [clinical, radiomics, mlp, mlp_with_clinical])
WITH_LESIONS = pytest.mark.parametrize("make", [radiomics, mlp, mlp_with_clinical])


@EVERY
def test_every_patient_gets_a_finite_score_in_order(make):
    train, test = make_cohort(60, seed=1), make_cohort(15, seed=2)

    prediction = make().fit(train).predict(test)

    assert list(prediction.patients.index) == test.ids
    assert np.isfinite(prediction.patients["score"]).all()


@EVERY
def test_the_same_seed_gives_the_same_bits(make):
    train, test = make_cohort(60, seed=1), make_cohort(15, seed=2)

    first, second = (make().fit(train).predict(test).patients for _ in range(2))

    pd.testing.assert_frame_equal(first, second, check_exact=True)


@EVERY
def test_a_score_does_not_depend_on_who_else_is_scored(make):
    model = make().fit(make_cohort(60, seed=1))
    test = make_cohort(15, seed=2)

    alone = pd.concat([model.predict(test.select([patient])).patients for patient in test.ids])

    pd.testing.assert_frame_equal(alone, model.predict(test).patients, rtol=1e-5, atol=1e-5)


@EVERY
def test_the_outcome_of_a_patient_judged_changes_no_score(make):
    model = make().fit(make_cohort(60, seed=1))
    test = make_cohort(15, seed=2)
    unknown = Cohort(
        tuple(type(one)(one.id, one.centre, None, {}, one.lesions, one.clinical) for one in test.patients),
        test.features,
    )

    pd.testing.assert_frame_equal(model.predict(test).patients, model.predict(unknown).patients)


@EVERY
def test_censored_patients_are_not_taken_for_patients_without_the_event(make):
    cohort = make_cohort(60, seed=1)
    followed = [
        replace(one, outcomes={"response": Outcome(one.outcomes["response"].event, 3.0)}) for one in cohort.patients
    ]

    with pytest.raises(ValueError, match="endpoint response has follow-up times, and this model learns yes or no"):
        make().fit(Cohort(tuple(followed), cohort.features))


@EVERY
def test_one_class_alone_is_refused(make):
    cohort = make_cohort(60, seed=1).where(lambda patient: patient.outcomes["response"].event)

    with pytest.raises(ValueError, match="endpoint response: 20 of 20 patients had the event; both are needed"):
        make().fit(cohort)


@WITH_LESIONS
def test_a_higher_score_means_the_event_is_more_likely(make):
    test = make_cohort(90, seed=2, signal=2.5)

    score = make().fit(make_cohort(90, seed=1, signal=2.5)).predict(test).patients["score"].to_numpy()

    event = test.events("response")
    pairs = score[event][:, None] > score[~event][None, :]
    assert pairs.mean() > 0.75


@WITH_LESIONS
def test_the_only_lesion_of_a_patient_has_his_score(make):
    test = make_cohort(15, seed=2)

    prediction = make().fit(make_cohort(60, seed=1)).predict(test)

    counts = prediction.lesions.groupby(level="patient_id").size()
    for patient in counts[counts == 1].index:
        lesion = prediction.lesions.loc[patient]
        assert lesion["score"].item() == pytest.approx(prediction.patients.loc[patient, "score"], rel=1e-5)
        assert lesion["weight"].item() == 1.0


@WITH_LESIONS
def test_other_features_than_those_of_training_are_refused(make):
    model = make().fit(make_cohort(60, seed=1))
    test = make_cohort(15, seed=2)
    fewer = FeatureTable(test.features.rows.drop(columns="original_firstorder_F3"))

    with pytest.raises(
        ValueError, match=r"1 missing \(original_firstorder_F3\).*extract with the model's own settings"
    ):
        model.predict(test.with_features(fewer))


def test_a_model_on_features_says_so_when_there_are_none():
    with pytest.raises(ValueError, match="the cohort has none: run `radnet extract` first"):
        radiomics().fit(Cohort(make_cohort(60, seed=1).patients))


def test_the_logistic_model_without_penalty_is_the_maximum_likelihood_one():
    cohort = make_cohort(80, seed=4)

    probability = clinical().fit(cohort).predict(cohort).patients["probability"].to_numpy()

    # At the maximum the score equations hold: residuals are orthogonal to the intercept and to each covariate.
    residual = cohort.events("response") - probability
    age = cohort.clinical(["age"])["age"].to_numpy()
    assert residual.sum() == pytest.approx(0, abs=1e-6)
    assert (residual * (age - age.mean())).sum() == pytest.approx(0, abs=1e-4)


def test_the_logistic_model_of_a_column_cut_in_two_is_the_odds_of_its_fourfold_table():
    cohort = make_cohort(80, seed=4)
    old = cohort.clinical(["age"])["age"].to_numpy() >= 60
    event = cohort.events("response")
    steps = {"at_least": AtLeast(60), "classify": LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8)}

    score = TabularPredictor("response", steps, clinical=["age"]).fit(cohort).predict(cohort).patients["score"]

    odds = [event[group].sum() / (~event[group]).sum() for group in (~old, old)]
    np.testing.assert_allclose(score, np.log(np.where(old, odds[1], odds[0])), rtol=1e-6)


def test_a_survival_model_scores_the_log_hazard_as_lifelines_does():
    study = make_study(90, seed=4)

    model = TabularPredictor("dfs", {"cox": CoxRegression()}, clinical=["age", "hr"]).fit(study)
    found = model.predict(study).patients

    table = study.clinical(["age", "hr"]).astype(float)
    outcomes = table.assign(event=study.events("dfs"), time=study.times("dfs"))
    fit = CoxPHFitter().fit(outcomes, "time", "event", fit_options={"precision": 1e-10})
    np.testing.assert_allclose(found["score"], fit.predict_log_partial_hazard(table), rtol=1e-4, atol=1e-6)
    assert found["probability"].isna().all()


def test_a_step_that_asks_how_stable_features_are_is_shown_every_delineation_of_training_patients():
    study = make_study(60, seed=3, twice=20)

    class Asking(BaseEstimator, TransformerMixin):
        def learn(self, repeated, beside=()):
            self.shown = repeated
            return self

        def fit(self, X, y=None):
            return self

        def transform(self, X):
            return X

    model = TabularPredictor(
        "response", {"asking": Asking(), "classify": LogisticRegression(max_iter=10**4)}, regions=["lesion"]
    )
    learned = study.select(study.ids[10:])
    shown = model.fit(learned).steps["asking"].shown

    assert model.reads_repeats
    assert set(shown.index.get_level_values("patient_id")) == set(learned.ids)
    again = shown.query("reader == '2' or repeat == '2'").index
    assert set(again.get_level_values("patient_id")) == set(study.ids[10:20])
    assert len(shown) == len(learned.features.rows)


def test_too_few_patients_for_early_stopping_are_told():
    with pytest.raises(ValueError, match=r"4 training patients, 2 with the event, are too few .*trainer.valid_share=0"):
        mlp().fit(make_cohort(4, seed=0))


@pytest.mark.parametrize("make", [clinical, radiomics, mlp_with_clinical])
def test_a_saved_model_names_its_patients_by_hash_only_and_holds_nothing_that_executes(make, tmp_path):
    cohort = make_cohort(60, seed=1)
    endpoint = Endpoint("response", "response")

    save_model(tmp_path, make().fit(cohort).frozen, cohort, [FittedReading(endpoint, None, None)])

    card = json.loads((tmp_path / "model.json").read_text())
    assert card["patients_sha256"] == sorted(patient_hash(one.centre, one.id) for one in cohort.patients)
    assert not any(one.id in (tmp_path / "model.json").read_text() for one in cohort.patients)
    assert card["format_version"] == FORMAT_VERSION
    assert card["n_event"] == 20
    for file in tmp_path.glob("*.skops"):
        own = {name for name in get_untrusted_types(file=file) if name.startswith("radnet.")}
        assert set(get_untrusted_types(file=file)) - own <= {"numpy.dtype"}, file.name
    assert not list(tmp_path.glob("*.p*k*"))


def test_the_saved_weights_and_steps_give_the_score_again(tmp_path):
    import torch
    from skops.io import load

    cohort = make_cohort(60, seed=1)
    model = mlp().fit(cohort)
    description = model.frozen.save(tmp_path)

    network = RadiomicsMLP(**description["network_arguments"]).eval()
    network.load_state_dict(load_file(tmp_path / "network.safetensors"))
    steps = load(tmp_path / "prepare.skops", trusted=get_untrusted_types(file=tmp_path / "prepare.skops"))
    table = cohort.features.lesion_matrix().groupby(level="patient_id").mean()[description["inputs"]]
    features = torch.from_numpy(np.asarray(steps.transform(table), dtype=np.float32))[:, None, :]
    with torch.no_grad():
        score = network(features, torch.ones(features.shape[:2], dtype=torch.bool), torch.zeros(len(table), 0))

    expected = model.predict(cohort).patients["score"].loc[table.index].to_numpy()
    standardised = (score.numpy() - description["score_location"]) / description["score_spread"]
    np.testing.assert_allclose(standardised, expected, rtol=1e-4, atol=1e-5)


def test_the_score_of_a_network_is_in_standard_deviations_of_its_training_patients():
    cohort = make_cohort(60, seed=1)

    score = mlp().fit(cohort).predict(cohort).patients["score"]

    assert score.mean() == pytest.approx(0, abs=1e-6)
    assert score.std(ddof=0) == pytest.approx(1, rel=1e-6)


def test_the_score_of_the_logistic_model_is_its_log_odds():
    cohort = make_cohort(60, seed=1)

    patients = clinical().fit(cohort).predict(cohort).patients

    np.testing.assert_allclose(expit(patients["score"]), patients["probability"], rtol=1e-9)
