"""A network whose patients have the event where any of their lesions brings it."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="the network predictor needs the extra train")

from scipy.special import expit, logit  # noqa: E402
from sklearn.impute import SimpleImputer  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from cohorts import make_cohort  # noqa: E402
from radnet.cohort import Cohort, Endpoint, FeatureTable  # noqa: E402
from radnet.learning.fit import TrainerSettings  # noqa: E402
from radnet.learning.losses import response_loss  # noqa: E402
from radnet.models.networks import RadiomicsMLP  # noqa: E402
from radnet.predictors.deep import DeepPredictor  # noqa: E402
from radnet.predictors.folder import load_model, save_model  # noqa: E402
from radnet.predictors.reading import FittedReading  # noqa: E402

FLOAT32 = {"rel": 1e-5, "abs": 1e-5}


def mlp(aggregate="noisy_or", clinical=("age", "subtype"), epochs=12):
    trainer = TrainerSettings(
        max_epochs=epochs, patience=epochs, valid_share=0.2, batch_size=16, learning_rate=0.01, weight_decay=0.001
    )
    network = partial(RadiomicsMLP, hidden=[16, 8, 4], dropout=0.1)
    prepare = {"impute": SimpleImputer(), "scale": StandardScaler()}
    return DeepPredictor(
        "response", network, response_loss, prepare, trainer, seed=3, aggregate=aggregate, clinical=clinical
    )


@pytest.fixture(scope="module")
def model():
    return mlp().fit(make_cohort(60, seed=1))


@pytest.fixture(scope="module")
def judged():
    return make_cohort(15, seed=2)


def outputs(model, prediction):
    """The network's outputs of lesions: scores, off the scale of the training patients."""
    return prediction.lesions["score"] * model.frozen.spread + model.frozen.location


def one_lesion_each(cohort):
    patients = tuple(replace(one, lesions=one.lesions[:1]) for one in cohort.patients)
    rows = cohort.features.rows
    return Cohort(patients, FeatureTable(rows[rows["lesion_id"] == "L1"], cohort.features.provenance))


def test_a_patient_has_the_event_unless_none_of_his_lesions_brings_it(model, judged):
    prediction = model.predict(judged)

    none = (1 - expit(outputs(model, prediction))).groupby(level="patient_id").prod()

    expected = (logit(1 - none) - model.frozen.location) / model.frozen.spread
    np.testing.assert_allclose(prediction.patients["score"], expected.loc[judged.ids], rtol=1e-9)


def test_the_score_of_a_lesion_is_that_of_the_patient_had_he_no_other(model, judged):
    lesions = model.predict(judged).lesions["score"]

    alone = model.predict(one_lesion_each(judged)).patients["score"]

    for patient in judged.ids:
        assert alone[patient] == pytest.approx(lesions[patient, "L1"], **FLOAT32)


def test_the_weight_of_a_lesion_is_its_share_of_the_log_chance_of_no_event(model, judged):
    prediction = model.predict(judged)

    part = -np.log(1 - expit(outputs(model, prediction)))

    expected = part / part.groupby(level="patient_id").transform("sum")
    pd.testing.assert_series_equal(prediction.lesions["weight"], expected, check_names=False, rtol=1e-9)


def test_the_order_of_lesions_and_of_patients_changes_no_score(model, judged):
    expected = model.predict(judged).patients["score"]
    rows = judged.features.rows.sample(frac=1.0, random_state=5)

    turned = model.predict(Cohort(judged.patients[::-1], replace(judged.features, rows=rows))).patients["score"]

    assert list(turned.index) == judged.ids[::-1]
    np.testing.assert_allclose(turned.loc[judged.ids], expected, rtol=1e-5, atol=1e-5)


def test_where_every_patient_has_one_lesion_noisy_or_learns_what_the_mean_does_to_the_bit():
    train, judged = one_lesion_each(make_cohort(60, seed=1)), one_lesion_each(make_cohort(15, seed=2))

    any_lesion, mean = (mlp(aggregate).fit(train) for aggregate in ("noisy_or", "mean"))

    assert any_lesion.history == mean.history
    found, expected = any_lesion.predict(judged), mean.predict(judged)
    pd.testing.assert_frame_equal(found.patients, expected.patients, check_exact=True)
    pd.testing.assert_frame_equal(found.lesions, expected.lesions, check_exact=True)


def test_inputs_are_one_row_per_lesion_and_score_one_per_patient(model, judged):
    inputs = model.frozen.inputs(judged)

    score = model.frozen.score(inputs)

    every = [(one.id, lesion.id) for one in judged.patients for lesion in one.lesions]
    assert list(inputs.index) == every
    assert list(inputs.columns[-2:]) == ["age", "subtype_TNBC"]
    np.testing.assert_allclose(score, model.predict(judged).patients["score"], rtol=1e-9)
    turned = inputs.iloc[::-1]
    np.testing.assert_allclose(model.frozen.score(turned), score[::-1], rtol=1e-5, atol=1e-5)


def test_it_is_saved_and_loaded_to_the_bit(model, judged, tmp_path):
    reading = FittedReading(Endpoint("response", "response"), None, None)
    save_model(tmp_path, model.frozen, make_cohort(60, seed=1), [reading])

    loaded = load_model(tmp_path)

    assert loaded.card["aggregate"] == "noisy_or"
    found, expected = loaded.model.predict(judged), model.predict(judged)
    pd.testing.assert_frame_equal(found.patients, expected.patients, check_exact=True)
    pd.testing.assert_frame_equal(found.lesions, expected.lesions, check_exact=True)


def test_the_one_lesion_that_brings_the_event_carries_the_score():
    def carried_by_one(seed):
        """A lesion, drawn at random, of each patient with the event stands out in one feature; the others do not."""
        cohort = make_cohort(150, seed=seed, signal=0.0)
        rng, rows = np.random.default_rng(seed), cohort.features.rows.copy()
        carriers = [
            (one.id, str(rng.choice([lesion.id for lesion in one.lesions])))
            for one in cohort.patients
            if one.outcomes["response"].event
        ]
        keys = pd.MultiIndex.from_frame(rows[["patient_id", "lesion_id"]])
        rows.loc[keys.isin(carriers), "original_firstorder_F0"] += 4.0
        return cohort.with_features(replace(cohort.features, rows=rows)), carriers

    (train, _), (judged, carriers) = carried_by_one(1), carried_by_one(2)

    lesions = mlp(clinical=(), epochs=60).fit(train).predict(judged).lesions

    several = [one for one in carriers if len(lesions.loc[one[0]]) > 1]
    found = [lesions.loc[patient, "weight"].idxmax() == lesion for patient, lesion in several]
    assert len(found) > 25
    assert np.mean(found) > 0.9  # by chance 0.4 of those with two or three lesions
