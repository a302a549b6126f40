"""Tertiles of a score: the published sizes, R's quantiles worked in fractions, and laws."""

import doctest
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from radnet.association import groups
from radnet.association.groups import tertiles

NAMES = ["low", "intermediate", "high"]


def sizes(score):
    found = Counter(tertiles(score).tolist())
    return tuple(found[name] for name in NAMES)


def by_quantiles(score):
    """The definition, in fractions: below the first tertile, above the second, or neither."""
    rising = sorted(Fraction(one) for one in score)

    def quantile(share):
        place = share * (len(rising) - 1)
        before = place.numerator // place.denominator
        after = min(before + 1, len(rising) - 1)
        return rising[before] + (place - before) * (rising[after] - rising[before])

    first, second = quantile(Fraction(1, 3)), quantile(Fraction(2, 3))
    return ["low" if one < first else "high" if one > second else "intermediate" for one in map(Fraction, score)]


@pytest.mark.parametrize(
    ("n", "expected"), [(64, (21, 22, 21)), (63, (21, 21, 21)), (65, (22, 21, 22)), (3, (1, 1, 1)), (5, (2, 1, 2))]
)
def test_patients_with_scores_of_their_own_are_shared_alike(n, expected):
    assert sizes(np.random.default_rng(n).normal(size=n)) == expected


@pytest.mark.parametrize("n", [9, 30, 64, 100, 101])
def test_groups_are_those_of_quantiles_worked_in_fractions(n):
    rng = np.random.default_rng(n)
    tied = rng.permutation(np.repeat(np.arange(n), 2)[:n]) / 8
    for score in (rng.normal(size=n), tied, np.arange(n) / 3):
        assert tertiles(score).tolist() == by_quantiles(score)


@pytest.mark.parametrize("seed", range(5))
def test_equal_scores_are_never_parted_and_groups_rise_with_the_score(seed):
    score = np.random.default_rng(seed).integers(0, 12, 80)

    group = tertiles(score)

    place = np.array([NAMES.index(one) for one in group])
    assert (np.diff(place[np.argsort(score, kind="stable")]) >= 0).all()
    assert all(len(set(group[score == one])) == 1 for one in set(score.tolist()))


def test_only_the_order_of_scores_counts_and_a_score_that_counts_the_other_way_swaps_low_and_high():
    score = np.random.default_rng(1).normal(size=64)

    group = tertiles(score)

    np.testing.assert_array_equal(tertiles(np.exp(score)), group)
    swapped = {"low": "high", "intermediate": "intermediate", "high": "low"}
    np.testing.assert_array_equal(tertiles(-score), [swapped[one] for one in group])


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ([1.0, 2.0], r"of 2 scores, 2 of them distinct, leave no patient intermediate: compare two groups"),
        ([0.0] * 32 + [1.0] * 32, "of 64 scores, 2 of them distinct, leave no patient low or high"),
        ([1.0, np.nan, np.inf, 2.0], "need every score, but 2 of 4 are missing or infinite"),
        ([[1.0, 2.0]], r"one score per patient, shape \(n,\), got shape \(1, 2\)"),
        ([], "of 0 scores, 0 of them distinct, leave no patient low or intermediate or high"),
    ],
    ids=["two patients", "two values", "unknown", "a table", "nobody"],
)
def test_scores_that_make_no_three_groups_are_refused(score, message):
    with pytest.raises(ValueError, match=message):
        tertiles(score)


def test_the_example_runs():
    assert doctest.testmod(groups).failed == 0
