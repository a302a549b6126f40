from dataclasses import astuple
from functools import partial

import numpy as np
import pytest
from scipy.stats import binomtest

from oracle import cases, close
from radnet.evaluation.confusion import (
    Confusion,
    Share,
    agresti_coull,
    clopper_pearson,
    confusion,
    diagnostic_odds_ratio,
    likelihood_ratios,
    wald,
    wilson,
)

FILE = "02_cutoff_confusion.json"
SCORED = [
    "asah_s100b",
    "asah_wfns",
    "pima_te_glu",
    "cohort69",
    "cohort69_ties",
    "lesions236",
    "tiny_n6",
    "all_tied",
    "perfect",
    "missing",
]
COUNTED = ["zhao_like_69", "ligero_like_236", "zero_fp", "zero_fn", "no_positive_calls", "no_diseased", "tiny"]


of_r = partial(cases, FILE)


def assert_equals_r(counts, theirs):
    for name, share in counts.shares.items():
        close(share.value, theirs[name]["estimate"])
        close(clopper_pearson(share, 0.95), theirs[name]["clopper_pearson"])
        close(wilson(share, 0.95), theirs[name]["wilson"])
        for interval in (wald, agresti_coull):  # R lets these leave [0, 1]
            close(interval(share, 0.95), np.clip(theirs[name][interval.__name__], 0, 1))
    for name in ("balanced_accuracy", "f1", "mcc", "kappa"):
        close(getattr(counts, name), theirs[name])
    close(counts.youden, theirs["youden_J"])
    ratios = likelihood_ratios(counts, 0.95) | {"diag_or": diagnostic_odds_ratio(counts, 0.95)}
    for name, known in (("lr_positive", "lr_pos"), ("lr_negative", "lr_neg"), ("diag_or", "diag_or")):
        ours = ratios[name]
        close([ours.value, ours.lower, ours.upper], theirs["epiR_est_lower_upper"][known])
    for name in ("lr_positive", "lr_negative"):
        close(ratios[name].value, theirs[name])
        close([ratios[name].lower, ratios[name].upper], theirs[f"{name}_ci_simel"])


@of_r(*COUNTED)
def test_shares_of_counts_equal_r(case):
    given = case["inputs"]

    counts = Confusion(given["TP"], given["FP"], given["FN"], given["TN"])

    assert_equals_r(counts, case["outputs"])


@of_r(*SCORED)
def test_shares_at_a_cutoff_equal_r(case):
    event, score = np.asarray(case["inputs"]["y"], dtype=float), np.asarray(case["inputs"]["score"], dtype=float)
    there = ~np.isnan(score)
    for rule, at in {"youden_pROC_best_all": "at_youden_first", "maxsens_spec50": "at_maxsens_spec50"}.items():
        cutoff, theirs = case["outputs"][rule]["threshold_observed_ge"][0], case["outputs"][at]

        counts = confusion(event[there], score[there] >= cutoff)

        assert counts == Confusion(theirs["TP"], theirs["FP"], theirs["FN"], theirs["TN"])
        assert_equals_r(counts, theirs)


@of_r("fixed_0.22")
def test_a_score_at_the_cutoff_is_positive(case):
    event, score = np.array(case["inputs"]["y"]), np.array(case["inputs"]["score"])
    assert (score == case["inputs"]["threshold"]).any()

    counts = confusion(event, score >= case["inputs"]["threshold"])

    assert_equals_r(counts, case["outputs"])


@pytest.mark.parametrize(("count", "total"), [(0, 5), (5, 5), (2, 7), (58, 73)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_of_whole_counts_equal_scipys(count, total, level):
    test = binomtest(count, total)
    exact, score = test.proportion_ci(level, "exact"), test.proportion_ci(level, "wilson")

    close(clopper_pearson(Share(count, total), level), (exact.low, exact.high))
    close(wilson(Share(count, total), level), (score.low, score.high))


def test_exact_interval_of_no_success_is_the_rule_worked_by_hand():
    # upper bound u of 0 of n: (1 - u)^n = 2.5 %
    assert clopper_pearson(Share(0, 8), 0.95) == pytest.approx((0, 1 - 0.025 ** (1 / 8)))


def test_intervals_of_fractional_counts_lie_between_those_of_whole_ones():
    for interval in (clopper_pearson, wilson):
        below, between, above = (np.array(interval(Share(count, 20), 0.95)) for count in (7, 7.4, 8))

        assert (below < between).all()
        assert (between < above).all()


def test_shares_of_nobody_are_empty_and_do_not_crash():
    shares = Confusion(0, 0, 0, 0).shares.values()

    assert all(np.isnan(share.value) for share in shares)
    assert all(
        np.isnan(interval(share, 0.95)).all()
        for share in shares
        for interval in (clopper_pearson, wilson, wald, agresti_coull)
    )


def test_weights_count_a_patient_once_over_his_repeats():
    # the patient with the event is called in one of two repeats
    counts = confusion([1, 1, 0, 0], [1, 0, 0, 0], weight=0.5)

    assert counts == Confusion(true_positive=0.5, false_positive=0, false_negative=0.5, true_negative=1)


def test_negative_counts_are_refused():
    with pytest.raises(ValueError, match="counts of patients must be 0 or more"):
        Confusion(1, -1, 0, 0)


def test_likelihood_ratio_and_its_interval_worked_by_hand():
    # sensitivity 3/4, specificity 1/2: ratio 1.5; variance of its log 1/3 - 1/4 + 1/2 - 1/4 = 1/3
    ours = likelihood_ratios(Confusion(3, 2, 1, 2), level=0.6826894921370859)["lr_positive"]

    close([ours.value, ours.lower, ours.upper], 1.5 * np.exp([0, -(3**-0.5), 3**-0.5]))


def test_turning_calls_around_turns_likelihood_ratios_around():
    ours, turned = likelihood_ratios(Confusion(19, 9, 5, 36), 0.9), likelihood_ratios(Confusion(5, 36, 19, 9), 0.9)

    np.testing.assert_equal(astuple(ours["lr_positive"]), astuple(turned["lr_negative"]))  # holds NaN equal to NaN
    np.testing.assert_equal(astuple(ours["lr_negative"]), astuple(turned["lr_positive"]))


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_statistics_of_a_table_do_not_depend_on_its_size_but_intervals_do(factor):
    cells = np.array([19, 9, 5, 36])
    ours, scaled = Confusion(*cells), Confusion(*(cells * factor))

    for name in ("youden", "balanced_accuracy", "f1", "mcc", "kappa"):
        assert getattr(ours, name) == pytest.approx(getattr(scaled, name))
    widths = [
        np.log(one.upper / one.lower)
        for one in (diagnostic_odds_ratio(ours, 0.95), diagnostic_odds_ratio(scaled, 0.95))
    ]
    assert widths[0] / widths[1] == pytest.approx(factor**0.5)


def test_statistics_of_nobody_are_empty():
    nobody = Confusion(0, 0, 0, 0)

    for name in ("youden", "balanced_accuracy", "f1", "mcc", "kappa"):
        assert np.isnan(getattr(nobody, name))
    assert all(np.isnan(one.value) for one in likelihood_ratios(nobody, 0.95).values())
