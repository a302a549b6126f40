import time
import tracemalloc
from dataclasses import astuple
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, ttest_1samp
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from oracle import cases, close
from radnet.evaluation.discrimination import (
    auc_bootstrap,
    auc_difference_bootstrap,
    auc_within_folds,
    average_precision_bootstrap,
    compare_over_folds,
    compare_paired,
    compare_unpaired,
    delong,
    mcclish,
    mean_precision,
    mean_tpr,
    partial_auc,
    roc_curve,
)

FILE = "01_roc_delong.json"
SINGLE = [
    "asah_s100b",
    "asah_ndka",
    "asah_wfns_ordinal_ties",
    "pima_te_glu",
    "cohort69_24pos",
    "cohort69_rounded_ties",
    "tiny_n6",
    "tiny_n6_ties",
    "all_tied",
    "perfect_separation",
    "reversed_auc0",
    "reversed_below_half",
    "one_positive",
    "missing_scores",
]
PAIRED = [
    "asah_s100b_vs_ndka",
    "asah_wfns_vs_s100b",
    "pima_te_glu_vs_bmi",
    "cohort69_paired",
    "cohort69_ties_paired",
    "missing_paired",
    "identical_scores",
]
UNPAIRED = ["pima_te_odd_vs_even_glu", "asah_vs_pima_unpaired"]


of_r = partial(cases, FILE)


def complete(case):
    """R drops patients without a score; our functions want them dropped before."""
    columns = [np.asarray(values, dtype=float) for key, values in case["inputs"].items() if key[0] in "ys"]
    return [column[~np.isnan(columns).any(axis=0)] for column in columns]


@of_r(*SINGLE)
def test_auc_variance_intervals_and_test_equal_proc(case):
    event, score = complete(case)
    theirs = case["outputs"]

    ours = delong(event, score)

    close(ours.auc, theirs["auc"])
    close(ours.variance, theirs["var_delong"])
    close([ours.z, ours.p_value], [theirs["z_vs_half"], theirs["p_vs_half"]])
    close(ours.logit_interval(0.95), theirs["ci95_logit"])
    close(ours.interval(0.90), theirs["ci90_delong_raw"])
    close(ours.interval(0.95), theirs["ci95_delong_raw"])


@of_r(*SINGLE)
def test_roc_curve_equals_proc_at_every_point(case):
    event, score = complete(case)
    theirs = case["outputs"]

    curve = roc_curve(event, score)

    close(curve.threshold[::-1], theirs["roc_thresholds"])
    close(curve.tpr[::-1], theirs["roc_sensitivity"])
    close(1 - curve.fpr[::-1], theirs["roc_specificity"])


@of_r(*SINGLE)
def test_partial_auc_equals_proc(case):
    event, score = complete(case)
    theirs = case["outputs"]

    of_specificity = partial_auc(event, score, 0.8, of="specificity")

    close(of_specificity, theirs["pauc_spec_1_0.8"])
    close(mcclish(of_specificity, 0.8), theirs["pauc_spec_1_0.8_mcclish"])
    close(partial_auc(event, score, 0.8, of="sensitivity"), theirs["pauc_sens_1_0.8"])


@of_r(*PAIRED)
def test_paired_comparison_equals_proc(case):
    event, score, versus = complete(case)
    theirs = case["outputs"]

    ours = compare_paired(event, score, versus, level=0.95)

    one, other = delong(event, score), delong(event, versus)
    close([ours.statistic, ours.p_value], [theirs["statistic"], theirs["p_value"]])
    close([one.auc, other.auc], theirs["estimate"])
    close([ours.lower, ours.upper], theirs["conf_int_diff"])
    close((one.variance + other.variance - ours.standard_error**2) / 2, theirs["cov_delong"])
    assert event.size == theirs["n_used"]


@of_r(*UNPAIRED)
def test_unpaired_comparison_equals_proc(case):
    given = case["inputs"]
    theirs = case["outputs"]

    ours = compare_unpaired(given["y1"], given["score1"], given["y2"], given["score2"], level=0.95)

    close([ours.statistic, ours.df, ours.p_value], [theirs["statistic"], theirs["parameter"], theirs["p_value"]])


@of_r("single_class")
def test_one_class_is_refused_where_r_raises(case):
    assert "error" in case["outputs"]
    with pytest.raises(ValueError, match="event: both classes are needed: 4 of 4 had the event"):
        delong(*complete(case))


@of_r("bootstrap_ci_montecarlo")
def test_bootstrap_interval_agrees_with_proc_within_its_monte_carlo_tolerance(case):
    event, score = complete(case)
    lower, middle, upper = case["outputs"]["stratified_percentile"]

    ours = auc_bootstrap(event, score, resamples=20_000, seed=1, level=0.95)

    np.testing.assert_allclose([ours.lower, ours.upper], [lower, upper], atol=case["inputs"]["abs_tolerance"])
    assert ours.value == pytest.approx(middle, abs=case["inputs"]["abs_tolerance"])


@pytest.mark.parametrize("decimals", [0, 1, 6], ids=["many ties", "some ties", "no ties"])
@pytest.mark.parametrize("seed", range(3))
def test_auc_is_the_share_of_pairs_in_which_the_event_scores_higher(seed, decimals):
    rng = np.random.default_rng(seed)
    event, score = rng.permutation(np.arange(40) < 15), rng.normal(size=40).round(decimals)
    pairs = np.sign(score[event][:, None] - score[~event][None, :]) / 2 + 0.5

    estimate = delong(event, score)

    assert estimate.auc == pytest.approx(pairs.mean())
    assert estimate.auc == pytest.approx(mannwhitneyu(score[event], score[~event]).statistic / pairs.size)
    assert estimate.variance == pytest.approx(
        pairs.mean(axis=1).var(ddof=1) / event.sum() + pairs.mean(axis=0).var(ddof=1) / (~event).sum()
    )


def test_auc_worked_by_hand():
    # pairs: 0.35 beats 0.1 only; 0.7 beats 0.1 and 0.4; 0.9 beats all three: 6 of 9
    estimate = delong([0, 0, 1, 0, 1, 1], [0.1, 0.4, 0.35, 0.8, 0.7, 0.9])

    assert estimate.auc == pytest.approx(6 / 9)
    # placements of the events 1/3, 2/3, 1 and of the others 1, 2/3, 1/3: each variance 1/9, over three patients
    assert estimate.variance == pytest.approx(2 * (1 / 9) / 3)


def test_scores_that_rank_patients_alike_differ_by_nothing():
    rng = np.random.default_rng(0)
    event, score = np.arange(30) < 12, rng.normal(size=30)

    comparison = compare_paired(event, score, np.exp(score), level=0.95)

    assert (comparison.difference, comparison.standard_error) == (0, 0)
    assert (comparison.statistic, comparison.p_value) == (0, 1)
    assert (comparison.lower, comparison.upper) == (0, 0)


def test_two_perfect_scores_of_two_cohorts_have_a_difference_but_no_test():
    comparison = compare_unpaired([0, 0, 1, 1], [1, 2, 3, 4], [0, 0, 1, 1], [1, 2, 3, 4], level=0.95)

    assert comparison.difference == 0
    assert np.isnan([comparison.statistic, comparison.df, comparison.p_value, comparison.lower]).all()


def test_delong_of_many_patients_keeps_memory_linear():
    rng = np.random.default_rng(0)
    event, score = np.arange(100_000) % 2 == 0, rng.normal(size=100_000)

    tracemalloc.start()
    delong(event, score)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 100 * event.nbytes * 8  # a table of all pairs would take 2.5e9 entries


@pytest.mark.parametrize(
    ("event", "score", "message"),
    [
        ([0, 0, 0], [1, 2, 3], "event: both classes are needed: 0 of 3 had the event"),
        ([0, 1, 1], [1, np.nan, 3], "1 of 3 scores are missing or infinite"),
        ([0, 1, np.inf], [1, 2, 3], "every event must be 0 or 1"),
        ([0, 1, np.nan], [1, 2, 3], "every event must be 0 or 1: leave out patients whose outcome is unknown"),
        ([0, 1], [1, 2, 3], r"one row of equal length, got \(2,\) and \(3,\)"),
    ],
    ids=["one class", "missing score", "infinite event", "missing event", "unequal length"],
)
@pytest.mark.parametrize("function", [delong, roc_curve])
def test_what_cannot_be_ranked_is_refused(function, event, score, message):
    with pytest.raises(ValueError, match=message):
        function(event, score)


def test_threshold_between_neighbouring_floats_still_tells_them_apart():
    low = 1.0
    high = np.nextafter(low, 2)

    threshold = roc_curve([0, 1], [low, high]).threshold[1]

    assert low < threshold <= high


def test_out_of_fold_auc_is_the_mean_over_folds_and_never_ranks_across_them():
    # fold a ranks perfectly, fold b gets 1 of 2 pairs; b's scores all lie above a's, which must not matter
    event = [0, 1, 0, 1, 0]
    score = [1, 2, 102, 101, 100]
    fold = ["a", "a", "b", "b", "b"]

    mean = auc_within_folds(event, score, fold, range(5), resamples=50, seed=1, level=0.95)

    assert mean.value == pytest.approx((1 + 0.5) / 2)
    assert mean.used == ("a", "b")
    assert mean.skipped == ()


def test_one_class_folds_are_skipped_and_named():
    mean = auc_within_folds(
        [0, 1, 0, 0], [1, 2, 3, 4], ["1", "1", "2", "2"], range(4), resamples=50, seed=1, level=0.95
    )

    assert mean.value == 1
    assert (mean.used, mean.skipped) == (("1",), ("2",))


def test_folds_that_all_have_one_class_are_refused():
    with pytest.raises(ValueError, match="needs both classes within a fold: none of 2 has that"):
        auc_within_folds([0, 0, 1, 1], [1, 2, 3, 4], [1, 1, 2, 2], range(4), resamples=50, seed=1, level=0.95)


def test_bootstrap_within_one_fold_is_the_stratified_bootstrap():
    rng = np.random.default_rng(3)
    event, score = np.arange(60) < 20, rng.normal(size=60)
    settings = {"resamples": 4000, "seed": 5, "level": 0.9}

    whole = auc_bootstrap(event, score, **settings)
    fold = auc_within_folds(event, score, np.zeros(60), [f"P{who:02d}" for who in range(60)], **settings)

    np.testing.assert_allclose([fold.value, fold.lower, fold.upper], [whole.value, whole.lower, whole.upper])


@pytest.mark.parametrize("within", [True, False], ids=["one repeat", "three repeats"])
def test_bootstrap_interval_of_folds_is_that_of_patients_drawn_one_by_one(within):
    # The definition written slowly: draw patients, repeat their rows, average the AUCs of the folds.
    rng = np.random.default_rng(0)
    repeats = 1 if within else 3
    n = 48
    event = np.tile(np.arange(n) < 20, repeats)
    patient = np.tile(np.arange(n), repeats)
    score = event + rng.normal(size=n * repeats)
    fold = np.concatenate([10 * repeat + rng.permutation(n) % 3 for repeat in range(repeats)])
    rows_of = [np.flatnonzero(patient == who) for who in range(n)]
    if within:
        strata = [np.flatnonzero((event == e) & (fold == f)) for e in (0, 1) for f in range(3)]
    else:
        strata = [np.flatnonzero(event[:n] == e) for e in (0, 1)]
    drawn_means = []
    for _ in range(600):
        drawn = np.concatenate([rng.choice(members, members.size) for members in strata])
        rows = np.concatenate([rows_of[who] for who in drawn])
        folds = [(event[rows[fold[rows] == name]], score[rows[fold[rows] == name]]) for name in np.unique(fold)]
        drawn_means.append(np.mean([(s[e][:, None] > s[~e]).mean() for e, s in folds if e.any() and not e.all()]))

    mean = auc_within_folds(event, score, fold, patient, resamples=5000, seed=1, level=0.95)

    # 600 draws put the 2.5 % quantile within about 0.02 (three standard errors)
    np.testing.assert_allclose([mean.lower, mean.upper], np.quantile(drawn_means, [0.025, 0.975]), atol=0.02)


def test_more_repeats_of_the_same_folds_do_not_narrow_the_interval():
    rng = np.random.default_rng(1)
    event, score = np.arange(50) < 20, rng.normal(size=50)
    once = auc_within_folds(event, score, np.zeros(50), np.arange(50), resamples=4000, seed=1, level=0.95)

    rows = np.tile(np.arange(50), 8)
    many = auc_within_folds(
        event[rows], score[rows], np.repeat(np.arange(8), 50), rows, resamples=4000, seed=1, level=0.95
    )

    np.testing.assert_allclose([many.lower, many.upper], [once.lower, once.upper])


def test_interval_of_folds_does_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(4)
    event, score, fold, patient = np.arange(40) < 18, rng.normal(size=40), np.arange(40) % 3, np.arange(40)
    rows = rng.permutation(40)
    settings = {"resamples": 200, "seed": 5, "level": 0.95}

    as_is = auc_within_folds(event, score, fold, patient, **settings)
    shuffled = auc_within_folds(event[rows], score[rows], fold[rows], patient[rows], **settings)

    np.testing.assert_allclose([shuffled.lower, shuffled.upper], [as_is.lower, as_is.upper], rtol=1e-12)


def test_bootstrap_repeats_itself_with_its_seed_only():
    event, score = np.arange(20) < 8, np.random.default_rng(0).normal(size=20)

    def interval(seed):
        return auc_bootstrap(event, score, resamples=200, seed=seed, level=0.95)

    np.testing.assert_equal(astuple(interval(1)), astuple(interval(1)))  # which, unlike ==, holds NaN equal to NaN
    assert interval(1).lower != interval(2).lower


def test_mean_curve_averages_sensitivity_at_each_false_positive_rate():
    # a: straight up, then right. b: (0, 0) to (1, 1) in one step, as tied scores give.
    perfect, blind = roc_curve([0, 1], [1, 2]), roc_curve([0, 1], [1, 1])

    tpr = mean_tpr([perfect, blind], np.array([0.0, 0.25, 1.0]))

    np.testing.assert_allclose(tpr, [(1 + 0) / 2, (1 + 0.25) / 2, 1])


@pytest.mark.parametrize("of", ["specificity", "sensitivity"])
@pytest.mark.parametrize("decimals", [0, 6], ids=["many ties", "no ties"])
def test_partial_areas_add_up_to_the_auc(of, decimals):
    rng = np.random.default_rng(0)
    event, score = np.arange(40) < 15, rng.normal(size=40).round(decimals)
    cuts = [0, 0.1, 1 / 3, 0.6, 1]

    parts = [partial_auc(event, score, *between, of=of) for between in pairwise(cuts)]

    assert sum(parts) == pytest.approx(roc_auc_score(event, score))
    assert partial_auc(event, score, 0, of=of) == pytest.approx(roc_auc_score(event, score))


def test_corrected_partial_auc_equals_scikit_learn():
    rng = np.random.default_rng(1)
    event, score = np.arange(60) < 25, rng.normal(size=60) + (np.arange(60) < 25)

    ours = mcclish(partial_auc(event, score, 0.7, of="specificity"), 0.7)

    assert ours == pytest.approx(roc_auc_score(event, score, max_fpr=0.3))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lower": 0.8, "of": "accuracy"}, "of specificity or sensitivity, got 'accuracy'"),
        ({"lower": 0.8, "upper": 0.8, "of": "sensitivity"}, "needs 0 <= lower < upper <= 1, got 0.8 and 0.8"),
        ({"lower": -0.1, "of": "sensitivity"}, "needs 0 <= lower < upper <= 1, got -0.1 and 1"),
    ],
)
def test_a_partial_auc_of_nothing_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        partial_auc([0, 1], [1, 2], **given)


@pytest.mark.parametrize("decimals", [0, 6], ids=["many ties", "no ties"])
def test_precision_recall_curve_equals_scikit_learn(decimals):
    rng = np.random.default_rng(2)
    event, score = np.arange(50) < 18, rng.normal(size=50).round(decimals)

    curve = roc_curve(event, score)

    precision, recall, _ = precision_recall_curve(event, score, drop_intermediate=False)
    np.testing.assert_allclose(curve.precision[::-1], precision)
    np.testing.assert_allclose(curve.tpr[::-1], recall)


def test_corrected_t_worked_by_hand():
    # mean 0.1, variance 0.02 / 3 over four folds; times 1/4 + 1/3 of it is 0.0035 / 0.9, and t = 0.1 / 0.062361
    test = compare_over_folds([0.1, 0.0, 0.2, 0.1], test_share=1 / 3, level=0.95)

    assert test.difference == pytest.approx(0.1)
    assert test.standard_error == pytest.approx(np.sqrt(0.0035 / 0.9))
    assert test.statistic == pytest.approx(1.6035675)
    assert test.df == 3
    # the 0.975 quantile of t on 3 degrees of freedom, from tables
    assert test.upper == pytest.approx(0.1 + 3.182446 * test.standard_error)
    # t on 3 degrees of freedom in closed form
    x = test.statistic / np.sqrt(3)
    assert test.p_value == pytest.approx(1 - 2 / np.pi * (np.arctan(x) + x / (1 + x**2)))


def test_corrected_t_without_a_test_share_is_the_plain_t_test():
    differences = np.random.default_rng(3).normal(0.1, size=10)

    ours = compare_over_folds(differences, test_share=0, level=0.9)

    theirs = ttest_1samp(differences, 0)
    assert (ours.statistic, ours.p_value) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert (ours.lower, ours.upper) == pytest.approx(tuple(theirs.confidence_interval(0.9)))


def test_folds_that_do_not_differ_at_all_have_p_of_one():
    test = compare_over_folds([0.0, 0.0, 0.0], test_share=0.5, level=0.95)

    assert (test.difference, test.lower, test.upper, test.p_value) == (0, 0, 0, 1)


def test_one_fold_is_no_sample_of_folds():
    with pytest.raises(ValueError, match="needs two folds that both models were judged in, got 1"):
        compare_over_folds([0.1], test_share=0.5, level=0.95)


def test_bootstrap_of_a_difference_draws_patients_with_both_scores():
    # The definition written slowly; scores that share most of their noise differ less than two drawn apart would.
    rng = np.random.default_rng(4)
    event, shared = np.arange(60) < 24, rng.normal(size=60)
    score, versus = event + shared + 0.3 * rng.normal(size=60), event + shared + 0.3 * rng.normal(size=60)
    differences = []
    for _ in range(1500):
        rows = np.concatenate([rng.choice(np.flatnonzero(event == e), (event == e).sum()) for e in (0, 1)])
        drawn = event[rows]
        one, other = ((given[rows][drawn][:, None] > given[rows][~drawn]).mean() for given in (score, versus))
        differences.append(one - other)

    ours = auc_difference_bootstrap(event, score, versus, resamples=10_000, seed=1, level=0.9)

    assert ours.value == pytest.approx(roc_auc_score(event, score) - roc_auc_score(event, versus))
    # 1,500 draws put the 5 % quantile within three standard errors, about 0.16 of the spread
    reach = 0.16 * np.std(differences)
    np.testing.assert_allclose([ours.lower, ours.upper], np.quantile(differences, [0.05, 0.95]), atol=reach)


@pytest.mark.parametrize("interval", [auc_bootstrap, average_precision_bootstrap])
def test_bootstrap_does_not_see_a_rising_transform_of_the_score(interval):
    event, score = np.arange(40) < 15, np.random.default_rng(6).normal(size=40)
    settings = {"resamples": 200, "seed": 1, "level": 0.95}

    one, other = interval(event, score, **settings), interval(event, np.exp(3 * score), **settings)

    np.testing.assert_equal(astuple(one), astuple(other))


def test_auc_of_the_turned_score_and_of_the_other_class_mirror_it():
    event, score = np.arange(40) < 15, np.random.default_rng(7).normal(size=40).round(1)

    estimate, turned, swapped = delong(event, score), delong(event, -score), delong(~event, -score)

    assert turned.auc == pytest.approx(1 - estimate.auc)
    assert swapped.auc == pytest.approx(estimate.auc)
    assert turned.variance == pytest.approx(estimate.variance)
    assert swapped.variance == pytest.approx(estimate.variance)


def test_a_million_scores_and_two_thousand_resamples_take_less_than_two_seconds_each():
    rng = np.random.default_rng(8)
    event, score = np.arange(1_000_000) % 3 == 0, rng.normal(size=1_000_000)

    started = time.process_time()
    delong(event, score)
    ranked = time.process_time()
    auc_bootstrap(event[:1000], score[:1000], resamples=2000, seed=1, level=0.95)
    drawn = time.process_time()

    assert ranked - started < 2
    assert drawn - ranked < 2


def test_the_area_under_the_mean_precision_recall_curve_is_the_mean_average_precision():
    rng = np.random.default_rng(0)
    folds = [(rng.permutation([0, 0, 0, 0, 1, 1, 1, 1, 1]), rng.integers(0, 6, 9)) for _ in range(4)]
    recall = np.linspace(0, 1, 10001)  # steps fall on fifths, so that the grid misses none of them

    precision = mean_precision([roc_curve(event, score) for event, score in folds], recall)

    expected = np.mean([average_precision_score(event, score) for event, score in folds])
    assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(expected, abs=1e-9)


def test_the_mean_precision_at_a_recall_is_that_of_the_highest_cutoffs_that_reach_it():
    first = roc_curve([1, 0, 1], [3, 2, 1])  # recall 1/2 at precision 1, recall 1 at 2/3
    second = roc_curve([0, 1, 1], [3, 2, 1])  # recall 1/2 at precision 1/2, recall 1 at 2/3

    np.testing.assert_allclose(mean_precision([first, second], [0, 0.3, 0.5, 0.6, 1]), [1, 0.75, 0.75, 2 / 3, 2 / 3])
