import numpy as np
import pytest
from lifelines.utils import concordance_index

from oracle import close
from radnet.evaluation.survival.concordance import (
    compare_concordance,
    concordance,
    concordance_within_folds,
    count_pairs,
    harrell,
    uno,
)
from survival_oracle import MARKERS, arrays, of_r


def simulated(seed, size=60, decimals=3):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=size).round(decimals)
    time = rng.exponential(5 * np.exp(-score / 2)).round(decimals) + 1
    return time, rng.random(size) < 0.6, score


@of_r(*MARKERS)
def test_harrells_c_and_its_error_equal_survival_concordance(case):
    theirs = case["outputs"]["concordance"]

    ours = harrell(*arrays(case, "time", "event", "marker"))

    close([ours.value, ours.standard_error], [theirs["concordance"], theirs["se"]])
    interval = ours.interval(0.95)
    close([interval.lower, interval.upper], np.clip(theirs["ci95_wald"], 0, 1))  # R lets C exceed 1
    assert ours.influence.size == theirs["n"]


@of_r(*MARKERS)
def test_pairs_are_counted_as_survival_concordance_and_hmisc_do(case):
    time, event, marker = arrays(case, "time", "event", "marker")
    theirs, of_hmisc = case["outputs"]["concordance"]["counts"], case["outputs"]["concordance"]["hmisc_rcorr_cens"]

    pairs = count_pairs(time, event, marker)

    assert (pairs.concordant, pairs.discordant, pairs.tied_score, pairs.tied_time, pairs.tied_both) == tuple(
        theirs[name] for name in ("concordant", "discordant", "tied.x", "tied.y", "tied.xy")
    )
    judged = pairs.concordant + pairs.discordant + pairs.tied_score
    # Hmisc counts every pair from both sides
    assert 2 * judged == of_hmisc["Relevant Pairs"]
    assert 2 * pairs.concordant + pairs.tied_score == of_hmisc["Concordant"]
    unjudged = time.size * (time.size - 1) - 2 * (judged + pairs.tied_time + pairs.tied_both)
    assert unjudged == of_hmisc["Uncertain"]
    ours = harrell(time, event, marker)
    close([ours.value, 2 * ours.value - 1], [of_hmisc["C Index"], of_hmisc["Dxy"]])
    close(2 * ours.standard_error, of_hmisc["S.D."])
    assert (time.size, event.sum()) == (of_hmisc["n"], of_hmisc["uncensored"])


@of_r(*MARKERS)
def test_unos_c_and_its_error_equal_survival_concordance(case):
    theirs = case["outputs"]["concordance"]

    ours = uno(*arrays(case, "time", "event", "marker"), as_in="survival")

    close([ours.value, ours.standard_error], [theirs["uno_weight_nG2"], theirs["uno_se"]])


@of_r(*MARKERS)
def test_unos_c_equals_survc1(case):
    theirs = case["outputs"]["concordance"]["uno_survC1"]

    ours = uno(*arrays(case, "time", "event", "marker"), tau=theirs["tau"], as_in="survC1")

    close(ours.value, theirs["Dhat"]["C"])  # survC1 sums in single precision: 5e-8 apart


@pytest.mark.parametrize("decimals", [0, 3], ids=["ties", "no ties"])
@pytest.mark.parametrize("seed", range(3))
def test_concordance_equals_lifelines(seed, decimals):
    time, event, score = simulated(seed, decimals=decimals)

    assert concordance(time, event, score) == pytest.approx(concordance_index(time, -score, event))


@pytest.mark.parametrize("estimate", [harrell, lambda *data: uno(*data, as_in="survival")], ids=["harrell", "uno"])
def test_c_knows_ranks_only_and_turns_with_the_score(estimate):
    time, event, score = simulated(4)

    ours = estimate(time, event, score)

    close(estimate(time, event, np.exp(3 * score)).value, ours.value)
    close(estimate(time, event, -score).value, 1 - ours.value)
    close(estimate(time, event, -score).standard_error, ours.standard_error)
    assert estimate(time, event, np.zeros(60)).value == 0.5


def test_unos_c_without_leaving_is_harrells():
    time, _, score = simulated(5)
    event = np.ones(60)

    for convention in ("survival", "survC1"):
        ours = uno(time, event, score, as_in=convention)
        close(
            [ours.value, ours.standard_error],
            [harrell(time, event, score).value, harrell(time, event, score).standard_error],
        )


def test_unos_c_in_both_conventions_agrees_without_ties():
    time, event, score = simulated(6)
    tau = np.median(time) + 1e-9

    close(uno(time, event, score, tau, as_in="survival").value, uno(time, event, score, tau, as_in="survC1").value)


def test_influence_is_the_change_of_c_as_a_patient_gains_weight():
    time, event, score = simulated(7, size=20, decimals=0)
    judged = event[:, None] & ((time > time[:, None]) | ((time == time[:, None]) & ~event))
    half = (np.sign(score[:, None] - score) + 1) / 2

    def weighted(weight):
        pair = judged * np.outer(weight, weight)
        return (pair * half).sum() / pair.sum()

    bumps = np.eye(20) * 1e-6
    slowly = np.array([(weighted(1 + bump) - weighted(1 - bump)) / 2e-6 for bump in bumps])

    np.testing.assert_allclose(harrell(time, event, score).influence, slowly, atol=1e-8)  # rounding of a difference


def test_difference_of_two_scores_has_the_error_of_patients_left_out_in_turn():
    time, event, score = simulated(8, size=200)
    versus = score + np.random.default_rng(9).normal(size=200)
    keep = ~np.eye(200, dtype=bool)
    apart = np.array(
        [
            concordance(*(x[k] for x in (time, event, score))) - concordance(*(x[k] for x in (time, event, versus)))
            for k in keep
        ]
    )
    jackknife = np.sqrt(np.sum((apart - apart.mean()) ** 2) * 199 / 200)

    ours = compare_concordance(harrell(time, event, score), harrell(time, event, versus), level=0.95)

    assert ours.value == pytest.approx(concordance(time, event, score) - concordance(time, event, versus))
    # the two jackknives differ by terms of order 1/n
    assert (ours.upper - ours.lower) / 2 / 1.959963985 == pytest.approx(jackknife, rel=0.02)
    assert (ours.p_value < 0.05) == (ours.lower > 0 or ours.upper < 0)


def test_a_score_does_not_differ_from_itself():
    ours = harrell(*simulated(1))

    same = compare_concordance(ours, ours, level=0.95)

    assert (same.value, same.lower, same.upper, same.p_value) == (0, 0, 0, 1)


def test_higher_score_with_earlier_event_is_concordant():
    assert concordance([1, 2, 3], [1, 1, 0], [3, 2, 1]) == 1
    assert concordance([1, 2, 3], [1, 1, 0], [1, 2, 3]) == 0


def test_bootstrap_of_concordance_is_that_of_patients_drawn_one_by_one():
    rng = np.random.default_rng(2)
    score = rng.normal(size=50)
    time, event = rng.exponential(np.exp(-score)).round(1) + 0.1, rng.random(50) < 0.7
    draws = [rng.integers(50, size=50) for _ in range(1500)]
    slowly = [concordance_index(time[d], -score[d], event[d]) for d in draws]

    mean = concordance_within_folds(time, event, score, np.zeros(50), np.arange(50), resamples=4000, seed=1, level=0.95)

    assert mean.value == pytest.approx(concordance_index(time, -score, event))
    # 1500 draws put the 2.5 % quantile within about 0.01 (three standard errors)
    np.testing.assert_allclose([mean.lower, mean.upper], np.quantile(slowly, [0.025, 0.975]), atol=0.012)


def test_folds_without_a_known_pair_are_skipped_and_named():
    mean = concordance_within_folds(
        [1, 2, 1, 2], [1, 0, 0, 0], [2, 1, 1, 2], ["1", "1", "2", "2"], range(4), resamples=20, seed=1, level=0.95
    )

    assert mean.value == 1
    assert mean.skipped == ("2",)


def test_concordance_needs_a_pair_whose_order_is_known():
    with pytest.raises(ValueError, match="needs a pair whose order is known; 0 of 3 had the event"):
        concordance([1, 2, 3], [0, 0, 0], [1, 2, 3])
    with pytest.raises(ValueError, match="a pair of patients whose order is known within a fold: none of 1 has that"):
        concordance_within_folds([1, 2], [0, 0], [1, 2], [1, 1], [1, 2], resamples=5, seed=1, level=0.95)


def test_scores_and_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="1 of 3 scores are missing or infinite"):
        harrell([1, 2, 3], [1, 1, 0], [1, np.nan, 3])
    with pytest.raises(ValueError, match="time and score must be one row of equal length"):
        harrell([1, 2, 3], [1, 1, 0], [1, 2])
    with pytest.raises(ValueError, match="tau must be above 0, got -1"):
        uno([1, 2, 3], [1, 1, 0], [1, 2, 3], tau=-1, as_in="survival")
    with pytest.raises(ValueError, match="as in survival or survC1, got 'sksurv'"):
        uno([1, 2, 3], [1, 1, 0], [1, 2, 3], as_in="sksurv")
    with pytest.raises(ValueError, match="both C must be of the same patients, got 2 and 3"):
        compare_concordance(harrell([1, 2], [1, 0], [2, 1]), harrell([1, 2, 3], [1, 0, 0], [2, 1, 0]), level=0.95)
