"""The forest kept as arrays: scikit-learn's own probabilities, its choice by hand, and what is written of it."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from skops.io import dumps, get_untrusted_types, loads

from radnet.models.forest import RandomForest

SIZES = {"n_trees": [15, 40], "max_depth": [2, None], "min_samples_leaf": [1, 6]}


def patients(seed, n=80, p=12):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, p))
    return features, (features[:, 0] + rng.normal(size=n) > 0.2).astype(int)


@pytest.fixture(scope="module")
def grown():
    return RandomForest(**SIZES, n_folds=4, seed=3).fit(*patients(1))


def of_scikit_learn(forest):
    sizes = {"n_estimators": forest.best_["n_trees"]}
    sizes |= {name: forest.best_[name] for name in ("max_depth", "min_samples_leaf")}
    return RandomForestClassifier(max_features="sqrt", random_state=forest.seed, **sizes)


@pytest.mark.parametrize("sizes", [{"max_depth": [2]}, {"max_depth": [None], "min_samples_leaf": [1]}, SIZES], ids=str)
def test_probabilities_are_those_of_scikit_learns_forest_but_for_half_a_vote(sizes):
    features, event = patients(2)
    others = patients(4, n=200)[0]
    forest = RandomForest(**{"n_trees": [30], "min_samples_leaf": [4], **sizes}, seed=5).fit(features, event)

    found = forest.predict_proba(others)

    half = 1 / (2 * forest.best_["n_trees"])
    expected = of_scikit_learn(forest).fit(features, event).predict_proba(others)[:, 1].clip(half, 1 - half)
    np.testing.assert_allclose(found, np.column_stack([1 - expected, expected]), atol=1e-12)  # a sum in another order


def test_the_size_chosen_has_the_highest_mean_auc_over_the_folds(grown):
    features, event = patients(1)
    folds = list(StratifiedKFold(4, shuffle=True, random_state=3).split(features, event))
    means = {}
    for leaf in (1, 6):
        for depth in (2, None):
            for trees in (15, 40):
                forest = RandomForestClassifier(trees, max_depth=depth, min_samples_leaf=leaf, random_state=3)
                aucs = []
                for learned, judged in folds:
                    score = forest.fit(features[learned], event[learned]).predict_proba(features[judged])[:, 1]
                    aucs.append(roc_auc_score(event[judged], score))
                means[trees, depth, leaf] = np.mean(aucs)

    chosen = grown.best_["n_trees"], grown.best_["max_depth"], grown.best_["min_samples_leaf"]

    assert means[chosen] == pytest.approx(max(means.values()), abs=1e-12)


def test_log_odds_are_finite_where_every_tree_agrees():
    features = np.repeat([[0.0], [1.0]], 20, axis=0)
    event = np.repeat([0, 1], 20)
    forest = RandomForest(n_trees=[50], max_depth=[None], min_samples_leaf=[1], seed=1).fit(features, event)

    found = forest.predict_proba([[-5.0], [5.0]])[:, 1]

    np.testing.assert_allclose(found, [0.01, 0.99])  # half a vote of 50
    assert np.isfinite(np.log(found / (1 - found))).all()


def test_the_same_seed_gives_the_same_forest_and_another_seed_another(grown):
    features, event = patients(1)
    again, other = clone(grown).fit(features, event), clone(grown).set_params(seed=4).fit(features, event)

    np.testing.assert_array_equal(again.predict_proba(features), grown.predict_proba(features))
    assert not np.array_equal(other.predict_proba(features), grown.predict_proba(features))


def test_rows_are_scored_alike_alone_and_together(grown):
    others = patients(6, n=30)[0]

    alone = np.concatenate([grown.predict_proba(row[None]) for row in others])

    np.testing.assert_array_equal(alone, grown.predict_proba(others))


def test_what_is_saved_holds_no_object_but_its_own_class_and_scores_to_the_bit(grown):
    saved = dumps(grown)
    others = patients(7)[0]

    kinds = get_untrusted_types(data=saved)

    assert kinds == ["radnet.models.forest.RandomForest"]
    np.testing.assert_array_equal(loads(saved, trusted=kinds).predict_proba(others), grown.predict_proba(others))


def test_trees_that_run_in_a_circle_end(grown):
    circle = loads(dumps(grown), trusted=["radnet.models.forest.RandomForest"])
    circle.left_ = circle.right_ = np.zeros_like(circle.left_)

    found = circle.predict_proba(patients(1, n=3)[0])

    assert np.isfinite(found).all()


def test_a_class_smaller_than_the_folds_is_refused_with_the_cure():
    features, _ = patients(1)

    with pytest.raises(
        ValueError, match="chosen by 5 folds, and the smaller class has 3 training patients: give fewer"
    ):
        RandomForest().fit(features, np.arange(80) < 3)
