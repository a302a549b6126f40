"""An elastic net of a chosen mixture: what is chosen, on which folds, and that weights and groups reach them all."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from radnet.models.elastic_net import ElasticNetLogistic
from radnet.models.elastic_net_grid import ElasticNetGrid

ALPHAS = [0.2, 0.6, 1.0]


def lesions(seed, patients=40):
    """Lesions of patients with one outcome each, of whom two features tell."""
    rng = np.random.default_rng(seed)
    count = rng.integers(1, 6, patients)
    owner = np.repeat(np.arange(patients), count)
    event = (np.arange(patients) % 2)[owner]
    X = rng.normal(size=(len(owner), 8)) + 0.7 * event[:, None] * (np.arange(8) < 2)
    return X, event, owner, 1.0 / count[owner]


def deviance(event, odds):
    probability = np.clip(1 / (1 + np.exp(-odds)), 1e-5, 1 - 1e-5)  # as glmnet holds them
    return -2 * np.log(np.where(event == 1, probability, 1 - probability))


@pytest.mark.parametrize("seed", range(3))
def test_the_mixture_is_the_one_whose_weighted_deviance_on_folds_of_whole_patients_is_least(seed):
    X, event, owner, weight = lesions(seed)
    folds = np.empty(len(X), dtype=int)
    parts = StratifiedGroupKFold(5, shuffle=True, random_state=3).split(X, event, owner)
    for number, (_, held_out) in enumerate(parts):
        folds[held_out] = number

    found = ElasticNetGrid(ALPHAS, "min", n_folds=5, seed=3).fit(X, event, weight, owner)

    worth = []
    for alpha in ALPHAS:  # slowly: a fit for each fold, on the path of everybody
        path = ElasticNetLogistic(alpha, "min").fit(X, event, weight, folds).path_["lambda"]
        lost, share = [], []
        for one in range(5):
            kept = folds != one
            fit = ElasticNetLogistic(alpha, float(path[-1]), lambdas=path).fit(X[kept], event[kept], weight[kept])
            scores = X[~kept] @ fit.path_["coef"].T + fit.path_["intercept"]
            lost.append(deviance(event[~kept, None], scores))
            share.append(weight[~kept])
        worth.append(np.average(np.concatenate(lost), axis=0, weights=np.concatenate(share)).min())
    assert found.alpha_ == ALPHAS[int(np.argmin(worth))]
    # each fold has its own path, and between two of its λ the coefficients are taken for linear
    np.testing.assert_allclose(found.worth_, worth, rtol=2e-3)


def test_the_model_kept_is_that_of_scikit_learn_at_its_penalty():
    X, event, owner, weight = lesions(1)
    scale = np.sqrt(np.average((X - np.average(X, axis=0, weights=weight)) ** 2, axis=0, weights=weight))

    found = ElasticNetGrid([0.6], "min", seed=1).fit(X, event, weight, owner)

    C = 1 / (found.lambda_ * weight.sum())
    saga = LogisticRegression(C=C, l1_ratio=0.6, solver="saga", tol=1e-10, max_iter=10**5, random_state=0)
    saga.fit(X / scale, event, weight)
    np.testing.assert_allclose(found.coef_, saga.coef_[0] / scale, atol=1e-6)
    np.testing.assert_allclose(found.predict_proba(X), saga.predict_proba(X / scale), atol=1e-6)


def test_without_groups_a_patients_lesions_lie_in_several_folds_and_tell_each_other_apart():
    """Features that are the patient and nothing else: a fold that holds his other lesions knows his outcome."""
    rng = np.random.default_rng(5)
    owner = np.repeat(np.arange(30), 4)
    X = np.repeat(rng.normal(size=(30, 25)), 4, axis=0)
    event = rng.permutation(np.arange(30) % 2)[owner]

    grouped = ElasticNetGrid(ALPHAS, "min", seed=1).fit(X, event, groups=owner)
    leaking = ElasticNetGrid(ALPHAS, "min", seed=1).fit(X, event)

    assert min(leaking.worth_) < 0.5 < 1.2 < min(grouped.worth_)  # 2 log 2 = 1.39 is to know nothing
    assert leaking.lambda_ < grouped.lambda_


def test_the_sparser_choice_has_a_larger_penalty_at_the_same_mixture():
    X, event, owner, weight = lesions(2)

    best, sparse = (ElasticNetGrid(ALPHAS, one, seed=4).fit(X, event, weight, owner) for one in ("min", "1se"))

    assert best.alpha_ == sparse.alpha_
    assert best.lambda_ < sparse.lambda_


def test_the_auc_is_better_where_it_is_higher():
    X, event, owner, _ = lesions(3)

    found = ElasticNetGrid(ALPHAS, "min", measure="auc", n_folds=4, seed=2).fit(X, event, groups=owner)

    assert found.alpha_ == ALPHAS[int(np.argmax(found.worth_))]
    assert all(0.5 < one < 1 for one in found.worth_)


def test_a_copy_is_unfitted_and_classes_keep_their_names():
    X, event, _, _ = lesions(1)
    model = ElasticNetGrid(ALPHAS, "min").fit(X, np.array(["no", "yes"])[event])

    assert set(model.predict(X)) <= {"no", "yes"}
    assert not hasattr(clone(model), "coef_")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ElasticNetGrid([], "min"), "alphas: give at least one"),
        (ElasticNetGrid([1.0], 0.1), "penalty: expected min or 1se, got 0.1; a number is ElasticNetLogistic's"),
        (ElasticNetGrid([1.5], "min"), "alpha: expected a number from 0"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(model, message):
    X, event, _, _ = lesions(1)
    with pytest.raises(ValueError, match=message):
        model.fit(X, event)
