"""Columns chosen and refitted: the mixed model where it has an estimate, and what stands in where it has none."""

import numpy as np
import pytest
from scipy.special import expit, logit
from skops.io import dump, load

from patient_weighted import fit_patient_weighted
from radnet.models.elastic_net_grid import ElasticNetGrid
from radnet.models.lesion_logistic import LesionLogistic
from radnet.models.mixed import LogisticMixedModel, patient_weights
from radnet.predictors.frozen import TRUSTED

GRID = ElasticNetGrid([0.5, 1.0], "min", n_folds=5, seed=2)


def lesions(seed, of_patient, patients=60):
    """Standardised features of lesions, two of which tell; outcomes of the patient, or of each lesion."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), rng.integers(1, 6, patients))
    X = rng.normal(size=(len(owner), 7))
    odds = 1.2 * X[:, 0] - 1.2 * X[:, 1] + 2 * rng.normal(size=patients)[owner]
    if of_patient:
        event = (np.arange(patients) % 2)[owner]
        X[:, :2] += 0.6 * event[:, None] * [1, -1]
    else:
        event = (rng.random(len(owner)) < expit(odds)).astype(int)
    return (X - X.mean(axis=0)) / X.std(axis=0), event, np.array([f"P{one}" for one in owner])


def fitted(seed=0, of_patient=True, otherwise="patient_weighted", weighted=True, grid=GRID):
    X, event, owner = lesions(seed, of_patient)
    further = {"sample_weight": patient_weights(owner), "groups": owner} if weighted else {}
    return LesionLogistic(grid, 5, otherwise).fit(X, event, owner, **further), X, event, owner


@pytest.mark.parametrize("otherwise", ["patient_weighted", None])
def test_where_lesions_of_a_patient_differ_the_columns_chosen_have_the_mixed_models_coefficients(otherwise):
    model, X, event, owner = fitted(of_patient=False, otherwise=otherwise)

    chosen = np.flatnonzero(GRID.fit(X, event, patient_weights(owner), owner).coef_)
    mixed = LogisticMixedModel(5).fit(X[:, chosen], event, owner)
    np.testing.assert_allclose(model.coef_[chosen], mixed.coef_[0], rtol=1e-12)
    assert not np.delete(model.coef_, chosen).any()
    assert (model.identifiable_, model.converged_, model.obstacle_, model.note_) == (True, True, "", "")
    told = {"identifiable": True, "converged": True, "obstacle": "", "used": "mixed_model"}
    assert model.mixed_model == told | {name: getattr(model, f"{name}_") for name in ("alpha", "lambda", "intercept")}
    assert model.variance_ == mixed.variance_ > 0
    np.testing.assert_allclose(model.predict_proba(X), mixed.predict_proba(X[:, chosen]), rtol=1e-10)  # u = 0


def test_one_outcome_a_patient_is_told_and_each_patient_then_weighs_one():
    model, *_ = fitted()

    assert (model.identifiable_, model.converged_, model.used_) == (False, False, "patient_weighted")
    assert model.obstacle_.startswith("no patient has lesions of both outcomes")
    assert "in its place stands a logistic regression in which each patient weighs 1" in model.note_


@pytest.mark.parametrize("weighted", [True, False], ids=["elastic net by patients", "by lesions"])
def test_what_stands_in_is_the_patient_weighted_model_of_scikit_learn_on_the_columns_chosen(weighted):
    model, X, event, owner = fitted(weighted=weighted)
    weight = patient_weights(owner)
    spread = np.sqrt(np.average((X - np.average(X, axis=0, weights=weight)) ** 2, axis=0, weights=weight))

    further = (weight, owner) if weighted else ()
    chosen = GRID.fit(X, event, *further).coef_ != 0
    other = fit_patient_weighted(X[:, chosen] / spread[chosen], event, owner, model.lambda_, model.alpha_)

    np.testing.assert_allclose(model.coef_[chosen], other.coef_[0] / spread[chosen], atol=1e-5)
    assert model.intercept_ == pytest.approx(other.intercept_[0], abs=1e-5)
    assert not model.coef_[~chosen].any()


def test_where_the_elastic_net_weighed_patients_alike_choosing_and_refitting_are_one():
    model, X, event, owner = fitted()

    net = GRID.fit(X, event, patient_weights(owner), owner)

    np.testing.assert_allclose(model.coef_, net.coef_, atol=1e-6)
    assert (model.lambda_, model.alpha_) == (net.lambda_, net.alpha_)


def test_as_published_the_numbers_are_where_the_search_stopped_and_are_said_to_be_no_estimates():
    model, *_ = fitted(otherwise=None, weighted=False)

    assert (model.converged_, model.used_) == (False, "mixed_model")
    assert model.note_.endswith("its numbers are where the search stopped, and no estimates")
    assert np.isfinite(model.coef_).all()
    assert model.variance_ > 100  # it ran away


def test_folds_hold_patients_together_only_where_groups_are_given():
    """The patient alone tells: features shared by his lesions and nobody else's."""
    rng = np.random.default_rng(4)
    owner = np.repeat(np.arange(30), 4)
    X = np.repeat(rng.normal(size=(30, 25)), 4, axis=0)
    event = rng.permutation(np.arange(30) % 2)[owner]

    whole = LesionLogistic(GRID, 1, "patient_weighted").fit(X, event, owner, groups=owner)
    parted = LesionLogistic(GRID, 1, "patient_weighted").fit(X, event, owner)

    assert parted.lambda_ < whole.lambda_


def test_where_nothing_is_chosen_everybody_has_the_share_of_patients_with_the_event():
    rng = np.random.default_rng(11)
    owner = np.repeat(np.arange(50), np.arange(50) % 3 + 1)
    X, event = rng.normal(size=(len(owner), 3)), (np.arange(50) % 5 < 2).astype(int)[owner]
    sparse = ElasticNetGrid([1.0], "1se", n_folds=5, seed=0)
    weight = patient_weights(owner)

    model = LesionLogistic(sparse, 1, "patient_weighted").fit(X, event, owner, weight, owner)

    assert not model.coef_.any()
    assert model.intercept_ == pytest.approx(logit(20 / 50))


def test_columns_that_follow_from_each_other_are_an_obstacle_or_an_error():
    X, event, owner = lesions(3, of_patient=False)
    X[:, 2] = X[:, 0]
    ridge_like = ElasticNetGrid([0.01], "min", n_folds=5, seed=2)

    model = LesionLogistic(ridge_like, 1, "patient_weighted").fit(X, event, owner)

    assert "covariates follow from each other" in model.obstacle_
    assert model.used_ == "patient_weighted"
    with pytest.raises(ValueError, match="covariates follow from each other"):
        LesionLogistic(ridge_like, 1, None).fit(X, event, owner)


def test_what_else_could_stand_in_is_refused():
    X, event, owner = lesions(0, of_patient=True)
    with pytest.raises(ValueError, match="otherwise must be patient_weighted or null, got 'ridge'"):
        LesionLogistic(GRID, 1, "ridge").fit(X, event, owner)


@pytest.mark.parametrize("otherwise", ["patient_weighted", None])
def test_it_is_read_back_from_a_file_without_code(otherwise, tmp_path):
    model, X, _, _ = fitted(otherwise=otherwise)

    dump(model, tmp_path / "model.skops")

    again = load(tmp_path / "model.skops", trusted=list(TRUSTED))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.mixed_model == model.mixed_model
