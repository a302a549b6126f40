from functools import partial

import numpy as np
import pytest
from scipy.stats import norm

from oracle import cases, close
from radnet.evaluation.survival.logrank import logrank
from radnet.evaluation.survival.maxstat import MaximallySelected, maxstat, p_hothorn_lausen

FILE = "05_survival.json"
CASES = [
    "marker_lung_age",
    "marker_sim69",
    "marker_sim69_tied",
    "marker_veteran_neg_karno",
    "marker_lung_missing",
    "marker_tiny8",
]
COUNTED_OUT = [
    "marker_sim69",
    "marker_sim69_tied",
    "marker_veteran_neg_karno",
    "marker_tiny8",
]  # R overflows beyond 170


of_r = partial(cases, FILE)


def complete(case):
    """R drops patients without a marker."""
    columns = np.array([case["inputs"][key] for key in ("time", "event", "marker")], dtype=float)
    return columns[:, ~np.isnan(columns).any(axis=0)]


@of_r(*CASES)
def test_cutoff_statistics_and_adjusted_p_values_equal_maxstat(case):
    time, event, marker = complete(case)
    theirs = case["outputs"]["optimal_cutpoint"]

    ours = maxstat(time, event, marker, case["inputs"]["minprop"])

    close(ours.highest_low, theirs["candidate_cuts"])
    close(ours.statistics, theirs["candidate_stats"])
    close(ours.statistic, theirs["max_standardized_statistic"])
    close(ours.p_lausen92, theirs["p_Lau92"])
    close(ours.p_lausen94, theirs["p_Lau94"])
    assert ours.n == theirs["n"]
    assert ours.cutoff.rule == "maxstat"
    np.testing.assert_array_equal(marker >= ours.cutoff.value, marker > theirs["cutpoint"])
    naive = logrank(time, event, marker >= ours.cutoff.value)
    close([naive.chi2, naive.p_value], [theirs["naive_logrank_chisq_at_cut"], theirs["naive_logrank_p_uncorrected"]])


@of_r(*COUNTED_OUT)
def test_p_value_by_the_exact_conditional_distribution_equals_maxstat(case):
    ours = p_hothorn_lausen(*complete(case), case["inputs"]["minprop"])

    close(ours, case["outputs"]["optimal_cutpoint"]["p_HL"])


@of_r(*COUNTED_OUT)
def test_adjusted_p_values_are_about_the_one_maxstat_integrates(case):
    # three approximations of one probability; with 8 patients and 4 cut-offs none is good
    theirs = case["outputs"]["optimal_cutpoint"]["p_exactGauss_montecarlo_tol_1e3"]

    ours = maxstat(*complete(case), case["inputs"]["minprop"])

    assert ours.p_lausen92 >= theirs - 1e-3
    assert ours.p_lausen94 == pytest.approx(theirs, abs=0.01)


def patients(n, seed=5):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    time, censored = rng.exponential(np.exp(-0.3 * score)), rng.exponential(2, n)
    return np.minimum(time, censored), (time <= censored).astype(float), score


def test_p_value_holds_its_level_where_the_score_tells_nothing():
    rng = np.random.default_rng(2)
    time, event, _ = patients(80)
    drawn = [maxstat(time, event, rng.permutation(80), 0.1) for _ in range(400)]

    share = np.mean([one.p_lausen94 < 0.05 for one in drawn])
    unadjusted = np.mean([2 * norm.sf(one.statistic) < 0.05 for one in drawn])

    assert 0.02 <= share <= 0.08  # three standard errors about 5 %
    assert unadjusted > 0.25


def test_exact_p_value_of_the_most_extreme_order_counts_those_beyond_it_which_are_none():
    time, event, score = np.array([1, 2, 3, 4, 5, 6.0]), np.ones(6), np.array([1, 1, 1, 2, 2, 2.0])

    ours = maxstat(time, event, score, 0.4)

    assert ours.n_low.tolist() == [3]
    # the first three to die have the largest sum of the 20 sets of three
    assert p_hothorn_lausen(time, event, score, 0.4) == 0


@pytest.mark.parametrize("n", [40, 180], ids=["as in R", "more than R can count out"])
def test_exact_p_value_is_an_upper_bound_of_the_share_of_permutations_that_do_better(n):
    time, event, score = patients(n)
    observed, rng = maxstat(time, event, score, 0.1).statistic, np.random.default_rng(1)
    better = [maxstat(time, event, rng.permutation(score), 0.1).statistic > observed for _ in range(300)]

    ours = p_hothorn_lausen(time, event, score, 0.1)

    assert np.mean(better) <= ours < 1


def test_cutoff_is_the_same_whatever_the_unit_of_time_or_rising_scale_of_the_score():
    time, event, score = patients(60)

    one, other = maxstat(time, event, score, 0.1), maxstat(time * 30.4, event, np.exp(score), 0.1)

    np.testing.assert_array_equal(score >= one.cutoff.value, np.exp(score) >= other.cutoff.value)
    close(one.statistics, other.statistics)


def test_statistic_below_1_has_a_p_value_of_1():
    nothing = MaximallySelected(None, 0.9, np.array([1.0]), np.array([5]), np.array([0.9]), n=10, minprop=0.1)

    assert nothing.p_lausen92 == 1


def test_cutoffs_keep_the_share_asked_for_in_both_groups():
    for minprop in (0.1, 0.25, 0.4):
        n_low = maxstat(*patients(60), minprop).n_low

        assert n_low.min() >= 60 * minprop
        assert n_low.max() <= 60 * (1 - minprop)


@pytest.mark.parametrize(
    ("event", "score", "minprop", "message"),
    [
        ([0, 0, 0, 0], [1, 2, 3, 4], 0.25, "needs an event: 0 of 4 had it"),
        ([1, 1, 0, 1], [2, 2, 2, 2], 0.25, "no cut-off leaves a share of 0.25 of 4 patients on both sides"),
        ([1, 1, 0, 1], [1, 2, np.nan, 4], 0.25, "1 of 4 scores are missing or infinite"),
        ([1, 1, 0, 1], [1, 2, 3, 4], 0.5, "minprop must lie above 0 and below 0.5, got 0.5"),
        ([1, 1, 0, 1], [1, 2, 3, 4], 0.0, "minprop must lie above 0 and below 0.5, got 0"),
    ],
)
def test_what_cannot_be_cut_is_told(event, score, minprop, message):
    with pytest.raises(ValueError, match=message):
        maxstat([1, 2, 3, 4], event, score, minprop)


def test_follow_ups_that_are_all_alike_cannot_be_parted():
    with pytest.raises(ValueError, match="needs follow-ups that differ"):
        maxstat([3, 3, 3, 3], [1, 1, 1, 1], [1, 2, 3, 4], 0.25)


def test_too_many_patients_for_the_exact_distribution_are_refused():
    with pytest.raises(ValueError, match="too large for 1000 patients: use p_lausen94"):
        p_hothorn_lausen(*patients(1000), 0.1)
