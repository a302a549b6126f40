import numpy as np
import pytest
from lifelines.utils import concordance_index
from sklearn.metrics import roc_auc_score

from radnet.evaluation.outcomes import Outcomes


def binary(rng, n):
    return Outcomes(rng.random(n) < 0.4, np.full(n, np.nan))


def followed(rng, n):
    return Outcomes(rng.random(n) < 0.6, np.ceil(rng.exponential(4, n)))  # with ties


def theirs(outcomes, score, rows):
    if outcomes.followed:
        return concordance_index(outcomes.time[rows], -score[rows], outcomes.event[rows])
    return roc_auc_score(outcomes.event[rows], score[rows])


@pytest.mark.parametrize("kind", [binary, followed])
def test_a_score_is_judged_as_scikit_learn_and_lifelines_judge_it(kind):
    rng = np.random.default_rng(2)
    outcomes, score = kind(rng, 60), np.round(rng.normal(size=60), 1)

    assert outcomes.discrimination(score) == pytest.approx(theirs(outcomes, score, np.arange(60)), abs=1e-12)


@pytest.mark.parametrize("kind", [binary, followed])
def test_resampled_patients_are_judged_as_if_each_stood_as_often_as_he_was_drawn(kind):
    rng = np.random.default_rng(3)
    outcomes, score = kind(rng, 50), np.round(rng.normal(size=50), 1)
    drawn = rng.integers(0, 3, size=(20, 50))
    expected = [theirs(outcomes, score, np.repeat(np.arange(50), times)) for times in drawn]

    np.testing.assert_allclose(outcomes.weighted(score)(drawn.astype(float)), expected, atol=1e-12)


@pytest.mark.parametrize("kind", [binary, followed])
@pytest.mark.parametrize("seed", range(40))
def test_patients_are_comparable_where_any_pair_is(kind, seed):
    rng = np.random.default_rng(seed)
    outcomes = kind(rng, int(rng.integers(1, 5)))
    pairs = [(one, other) for one in range(outcomes.event.size) for other in range(outcomes.event.size)]

    def known(one, other):
        if not outcomes.event[one]:
            return False
        if not outcomes.followed:
            return not outcomes.event[other]
        later = outcomes.time[other] > outcomes.time[one]
        return later or (outcomes.time[other] == outcomes.time[one] and not outcomes.event[other])

    assert outcomes.comparable == any(known(*pair) for pair in pairs)


def test_folds_in_which_the_order_of_nobody_is_known_are_skipped():
    outcomes = Outcomes(np.array([1, 0, 1, 0, 0, 0], dtype=bool), np.array([1.0, 2, 1, 2, 3, 4]))

    found = outcomes.within_folds([3, 1, 1, 2, 5, 6], list("aabbcc"), range(6), resamples=0, seed=0, level=0.95)

    assert found.value == 0.5  # right in a, wrong in b
    assert found.skipped == ("c",)
