import numpy as np
import pytest

from radnet.evaluation.cutoff import Cutoff, fixed, median, youden

FILE = "02_cutoff_confusion.json"
CASES = ["asah_s100b", "asah_wfns", "pima_te_glu", "cohort69", "cohort69_ties", "lesions236", "tiny_n6", "perfect"]


def of_r(*names):
    return pytest.mark.parametrize("case", [(FILE, name) for name in names], ids=names, indirect=True)


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
    with pytest.raises(ValueError, match="needs both classes: 4 of 4 had the event"):
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
