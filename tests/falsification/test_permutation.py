from functools import partial

import numpy as np
import pytest
from scipy.stats import kstest

from cohorts import make_cohort, make_study
from radnet.cohort import Cohort
from radnet.data.split import stratified_folds
from radnet.falsification.permutation import PermutationTest, permutation_test, permuted_outcomes
from radnet.falsification.ridge import ridge_discrimination
from radnet.predictors.base import lesion_features

FOLDS = partial(stratified_folds, n_folds=5, seed=7)


def p_value(seed, signal, n=60, n_features=30):
    cohort = make_cohort(n, seed=seed, signal=signal, n_features=n_features)
    features = lesion_features(cohort, ("lesion",), "mean").patients

    def auc(drawn, number):
        return ridge_discrimination(features, (), drawn, "response", FOLDS(drawn, "response"))

    return permutation_test(Cohort(cohort.patients), "response", auc, permutations=99, seed=seed).p_value


@pytest.mark.parametrize(
    ("observed", "null", "expected"),
    [(0.8, (0.5, 0.6, 0.7), 1 / 4), (0.6, (0.5, 0.6, 0.7), 3 / 4), (0.1, (0.5, 0.6, 0.7), 1.0)],
)
def test_the_p_value_counts_the_observed_among_the_permuted(observed, null, expected):
    assert PermutationTest(observed, null).p_value == expected


def test_outcomes_move_between_patients_of_a_centre_and_nothing_else_does(cohort):
    moved = permuted_outcomes(cohort, "response", seed=3, number=1)

    before, after = cohort.events("response"), moved.events("response")
    assert (before != after).any()
    for centre in "AB":
        here = np.array(cohort.centres) == centre
        assert before[here].sum() == after[here].sum()
    assert moved.ids == cohort.ids
    assert moved.centres == cohort.centres
    assert moved.features is cohort.features
    assert [one.clinical for one in moved.patients] == [one.clinical for one in cohort.patients]


def test_event_and_follow_up_move_together():
    cohort = make_study(60, seed=2)

    moved = permuted_outcomes(cohort, "dfs", seed=3, number=1)

    def pairs(of, centre):
        here = np.array(of.centres) == centre
        return sorted(zip(of.events("dfs")[here], of.times("dfs")[here], strict=True))

    assert (cohort.times("dfs") != moved.times("dfs")).any()
    assert all(pairs(cohort, centre) == pairs(moved, centre) for centre in "ABC")
    np.testing.assert_array_equal(cohort.times("pfs"), moved.times("pfs"))


def test_each_permutation_is_another_and_the_nth_is_the_same_however_many_are_drawn(cohort):
    drawn = [permuted_outcomes(cohort, "response", seed=3, number=number).events("response") for number in range(5)]

    assert len({tuple(one) for one in drawn}) == 5
    again = []
    permutation_test(cohort, "response", lambda one, _: again.append(one.events("response")) or 0.0, 4, seed=3)
    for one, other in zip(drawn[1:], again[1:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_that_knows_the_centre_alone_finds_nothing():
    """With outcomes that the centre decides in full, every permutation within centres is the truth itself."""
    cohort = make_cohort(60, seed=1)
    by_centre = Cohort(tuple(one for one in cohort.patients if (one.centre == "A") == one.outcomes["response"].event))

    def auc(drawn, number):
        return ridge_discrimination(None, ("age",), drawn, "response", FOLDS(drawn, "response"))

    assert permutation_test(by_centre, "response", auc, permutations=19, seed=1).p_value == 1.0


def test_a_planted_signal_is_found():
    assert p_value(seed=1, signal=3.0) == 1 / 100


def test_a_signal_in_follow_up_is_found():
    cohort = make_study(80, seed=1)
    features = lesion_features(cohort, ("lesion",), "mean").patients

    def c_index(drawn, number):
        return ridge_discrimination(features, (), drawn, "dfs", FOLDS(drawn, "dfs"))

    found = permutation_test(Cohort(cohort.patients), "dfs", c_index, permutations=19, seed=1)

    assert found.p_value == 1 / 20
    assert abs(np.mean(found.null) - 0.5) < 0.1


@pytest.mark.slow
def test_p_values_of_cohorts_without_a_signal_are_uniform():
    values = [p_value(seed, signal=0.0) for seed in range(50)]

    assert kstest(values, "uniform").pvalue > 0.01
