from functools import partial

import numpy as np
import pytest

from oracle import cases
from radnet.evaluation.cutoff import (
    Cutoff,
    between,
    closest_topleft,
    fixed,
    max_sensitivity,
    max_specificity,
    median,
    time_youden,
    youden,
)
from radnet.evaluation.survival.time_dependent import RocAtTime, ipcw_roc, km_roc, nne_roc

FILE = "02_cutoff_confusion.json"
MARKERS = ["marker_lung_age", "marker_sim69", "marker_sim69_tied", "marker_veteran_neg_karno", "marker_lung_missing"]
CASES = ["asah_s100b", "asah_wfns", "pima_te_glu", "cohort69", "cohort69_ties", "lesions236", "tiny_n6", "perfect"]


of_r = partial(cases, FILE)


def complete(case):
    event, score = np.asarray(case["inputs"]["y"], dtype=float), np.asarray(case["inputs"]["score"], dtype=float)
    return event[~np.isnan(score)], score[~np.isnan(score)]


@of_r(*CASES, "missing")
def test_youden_cutoff_equals_proc_and_takes_the_most_sensitive_of_equals(case):
    event, score = complete(case)
    best = case["outputs"]["youden_pROC_best_all"]

    cutoff = youden(event, score)

    assert cutoff.value == pytest.approx(min(best["threshold_midpoint"]), rel=1e-6)
    assert (score[event == 1] >= cutoff.value).mean() == pytest.approx(max(best["sensitivity"]), rel=1e-6)
    assert cutoff.rule == "youden"


@of_r("all_tied")
def test_youden_cutoff_of_tied_scores_calls_everybody_positive_with_a_finite_number(case):
    event, score = complete(case)
    assert case["outputs"]["youden_pROC_best_all"]["threshold_midpoint"][0] == -np.inf

    cutoff = youden(event, score)

    assert cutoff.value == 0.5
    assert (score >= cutoff.value).all()


@of_r("single_class")
def test_youden_cutoff_of_one_class_is_refused_where_r_raises(case):
    assert "error" in case["outputs"]
    with pytest.raises(ValueError, match="event: both classes are needed: 4 of 4 had the event"):
        youden(*complete(case))


@pytest.mark.parametrize("seed", range(5))
def test_no_cutoff_beats_youdens(seed):
    rng = np.random.default_rng(seed)
    event, score = rng.permutation(np.arange(50) < 20), rng.normal(size=50).round(1)

    def gain(cutoff):
        return (score[event] >= cutoff).mean() - (score[~event] >= cutoff).mean()

    assert gain(youden(event, score).value) == pytest.approx(max(gain(value) for value in score))


def test_youden_cutoff_of_a_score_that_points_the_wrong_way_calls_everybody_positive():
    assert youden([1, 1, 0, 0], [0.1, 0.2, 0.6, 0.7]) == Cutoff(0.1, "youden")


def test_equally_good_cutoffs_are_equal_whatever_the_rounding():
    # 1 of 3 events lost and 1 of 3 others spared: 2/3 - 1/3 and 1 - 2/3 differ in floating point, not in patients
    assert youden([0, 1, 0, 0, 1, 1], [1, 2, 3, 4, 5, 6]).value == 4.5
    assert youden([0, 0, 1, 0, 1, 1], [0.1, 0.4, 0.35, 0.8, 0.7, 0.9]).value == pytest.approx(0.225)


def test_median_cutoff_halves_the_patients():
    score = np.array([4.0, 1.0, 3.0, 2.0])

    cutoff = median(score)

    assert cutoff == Cutoff(2.5, "median")
    assert (score >= cutoff.value).sum() == 2


def test_fixed_cutoff_is_the_number_given():
    assert fixed(0.209) == Cutoff(0.209, "fixed")


@pytest.mark.parametrize("score", [[], [1.0, np.nan]], ids=["none", "missing"])
def test_median_cutoff_needs_complete_scores(score):
    with pytest.raises(ValueError, match="a median cut-off needs scores, complete and finite"):
        median(score)


def test_cutoff_refuses_a_value_that_is_not_finite():
    with pytest.raises(ValueError, match="a cut-off must be a finite number, got inf"):
        fixed(np.inf)


def test_cutoff_refuses_an_unknown_rule():
    with pytest.raises(ValueError, match="rule is one of youden, max_sensitivity, .*, got 'best'"):
        Cutoff(0.5, "best")


def counts(case, cutoff):
    event, score = complete(case)
    return [(score[event == 1] >= cutoff).mean(), (score[event == 0] < cutoff).mean()]


@of_r(*CASES, "missing")
def test_most_sensitive_cutoff_of_enough_specificity_equals_r(case):
    theirs = case["outputs"]["maxsens_spec50"]

    cutoff = max_sensitivity(*complete(case), min_specificity=0.5)

    assert cutoff.value == pytest.approx(theirs["threshold_midpoint"][0], rel=1e-6)
    assert counts(case, cutoff.value) == pytest.approx([theirs["sensitivity"], theirs["specificity"]], rel=1e-6)


@of_r(*CASES, "missing")
def test_most_specific_cutoff_of_enough_sensitivity_equals_r(case):
    theirs = case["outputs"]["maxspec_sens90"]

    cutoff = max_specificity(*complete(case), min_sensitivity=0.9)

    assert cutoff.value == pytest.approx(theirs["threshold_midpoint"][0], rel=1e-6)
    assert counts(case, cutoff.value) == pytest.approx([theirs["sensitivity"], theirs["specificity"]], rel=1e-6)


@of_r(*CASES, "missing")
def test_cutoff_closest_to_the_corner_equals_proc(case):
    theirs = case["outputs"]["closest_topleft_pROC"]

    cutoff = closest_topleft(*complete(case))

    assert cutoff.value == pytest.approx(min(theirs["threshold_midpoint"]), rel=1e-6)
    assert counts(case, cutoff.value) == pytest.approx(
        [max(theirs["sensitivity"]), min(theirs["specificity"])], rel=1e-6
    )


@of_r("all_tied")
def test_cutoffs_of_tied_scores_are_finite_and_call_whom_r_calls(case):
    event, score = complete(case)
    for cutoff, rule in (
        (max_sensitivity(event, score, 0.5), "maxsens_spec50"),
        (max_specificity(event, score, 0.9), "maxspec_sens90"),
        (closest_topleft(event, score), "closest_topleft_pROC"),
    ):
        theirs = case["outputs"][rule]
        assert np.isinf(theirs["threshold_midpoint"][0])
        assert np.isfinite(cutoff.value)
        assert counts(case, cutoff.value) == [np.ravel(theirs[key])[0] for key in ("sensitivity", "specificity")]


@of_r("single_class")
def test_no_cutoff_of_one_class(case):
    for rule in (closest_topleft, lambda *of: max_sensitivity(*of, 0.5), lambda *of: max_specificity(*of, 0.5)):
        with pytest.raises(ValueError, match="event: both classes are needed: 4 of 4 had the event"):
            rule(*complete(case))


@pytest.mark.parametrize("seed", range(5))
def test_no_cutoff_that_is_specific_enough_is_more_sensitive(seed):
    rng = np.random.default_rng(seed)
    event, score = rng.permutation(np.arange(50) < 20), rng.normal(size=50).round(1)

    chosen = max_sensitivity(event, score, 0.7).value

    def called(cutoff):
        return (score[event] >= cutoff).mean(), (score[~event] < cutoff).mean()

    assert called(chosen)[1] >= 0.7
    assert called(chosen) == max(called(cutoff) for cutoff in [*score, np.inf] if called(cutoff)[1] >= 0.7)


def test_a_specificity_that_is_just_reached_is_enough():
    # 1 of 10 without the event is called: 1 - 0.1 < 0.9 in floating point, not in patients
    event, score = [0] * 10 + [1], [*range(9), 20, 15]

    assert max_sensitivity(event, score, 0.9).value == 11.5


@pytest.mark.parametrize("share", [-0.1, 1.5, np.nan])
def test_a_share_asked_for_lies_between_0_and_1(share):
    with pytest.raises(ValueError, match="min_specificity must lie between 0 and 1"):
        max_sensitivity([0, 1], [0, 1], share)
    with pytest.raises(ValueError, match="min_sensitivity must lie between 0 and 1"):
        max_specificity([0, 1], [0, 1], share)


def marked(case):
    """Time, event and marker of those who have one."""
    columns = np.array([case["inputs"][key] for key in ("time", "event", "marker")], dtype=float)
    return columns[:, ~np.isnan(columns).any(axis=0)]


def of_markers(*names):
    return pytest.mark.parametrize("case", [("05_survival.json", name) for name in names], ids=names, indirect=True)


@of_markers(*MARKERS, "marker_tiny8")
@pytest.mark.parametrize("method", ["KM", "NNE_span_0.25n_pow_minus0.2"], ids=["km", "nne"])
def test_youden_cutoff_at_a_time_equals_survivalroc(case, method):
    time, event, marker = marked(case)
    for at in case["outputs"]["survivalROC"]["by_time"]:
        theirs = at[method]
        if method == "KM":
            curve = km_roc(time, event, marker, at["time"])
        else:
            curve = nne_roc(time, event, marker, at["time"], span=theirs["span"])

        cutoff = time_youden(curve)

        assert cutoff.rule == "time_youden"
        np.testing.assert_array_equal(marker >= cutoff.value, marker > theirs["youden_cut"])


@of_markers(*MARKERS, "marker_tiny8")
def test_youden_cutoff_at_a_time_is_where_the_curve_of_timeroc_is_highest(case):
    time, event, marker = marked(case)
    theirs = case["outputs"]["timeROC_ipcw"]
    gain = np.subtract(theirs["TP_last"], theirs["FP_last"])  # nobody positive first, then from the highest marker down
    falling = np.concatenate([[np.inf], np.unique(marker)[::-1]])

    cutoff = time_youden(ipcw_roc(time, event, marker, theirs["times"][-1], as_in="timeROC"))

    np.testing.assert_array_equal(marker >= cutoff.value, marker >= falling[np.argmax(gain)])


def curve_of(threshold, tpr, fpr):
    return RocAtTime(np.array(threshold), np.array(tpr), np.array(fpr), survival=0.5, horizon=None)


def test_youden_cutoff_of_a_curve_below_chance_calls_everybody_positive():
    assert time_youden(curve_of([-np.inf, 1, 2], [1, 0.2, 0], [1, 0.9, 0])) == Cutoff(1.0, "time_youden")


def test_youden_cutoff_at_a_time_needs_two_scores():
    with pytest.raises(ValueError, match="a cut-off needs two distinct scores, but all are the same"):
        time_youden(curve_of([-np.inf, 1], [1, 0], [1, 0]))


def test_a_cutoff_between_neighbouring_numbers_parts_them():
    assert between(1.0, 2.0) == 1.5
    assert between(1.0, np.nextafter(1.0, 2)) > 1.0
