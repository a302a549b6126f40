import numpy as np
import pytest
from lifelines.utils import concordance_index
from scipy.optimize import minimize_scalar

from radnet.evaluation.survival import (
    concordance,
    concordance_within_folds,
    hazard_ratio,
    kaplan_meier,
    logrank,
)

FILE = "05_survival.json"
KM = [
    "km_lung_sex",
    "km_lung_ecog_missing",
    "km_veteran_celltype",
    "km_sim69",
    "km_sim69_tied_times",
    "km_tiny6",
    "km_all_censored_group",
]
MARKERS = [
    "marker_lung_age",
    "marker_sim69",
    "marker_sim69_tied",
    "marker_veteran_neg_karno",
    "marker_lung_missing",
    "marker_tiny8",
]


def of_r(*names):
    return pytest.mark.parametrize("case", [(FILE, name) for name in names], ids=names, indirect=True)


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-12)


def arrays(case, *names):
    """R drops patients with a missing value; our functions want them dropped before."""
    given = case["inputs"]
    there = np.array([all(given[name][row] == given[name][row] for name in names) for row in range(len(given["time"]))])
    return [np.array(given[name])[there] for name in names]


def groups_of(case):
    time, event, group = arrays(case, "time", "event", "group")
    names = group.astype(int).astype(str) if group.dtype.kind == "f" else group.astype(str)
    return time.astype(float), event.astype(float), names


@of_r(*KM, "km_one_group")
def test_survival_of_groups_equals_survfit(case):
    time, event, group = groups_of(case)
    theirs = case["outputs"]["km"]["log"]
    strata = [name.removeprefix("group=") for name in theirs["strata"]]
    at = theirs["at_times"]
    of_row = [name.removeprefix("group=") for name in at.get("strata", ["all"] * len(at["time"]))]
    for place, name in enumerate(strata):
        who = group == name if name != "all" else np.full(time.size, True)

        curve = kaplan_meier(time[who], event[who], level=0.95)

        close(curve.median.value, theirs["median"][place])
        close([curve.median.lower, curve.median.upper], [theirs["median_lower"][place], theirs["median_upper"][place]])
        for row in np.flatnonzero(np.array(of_row) == name):
            step = np.searchsorted(curve.time, at["time"][row], side="right") - 1
            ours = [curve.survival[step], curve.lower[step], curve.upper[step]]
            close(ours, [at["surv"][row], at["lower"][row], at["upper"][row]])
            assert (time[who] >= at["time"][row]).sum() == at["n_risk"][row]


@of_r(*KM)
def test_logrank_equals_survdiff(case):
    theirs = case["outputs"]["logrank"]

    test = logrank(*groups_of(case))

    close([test.chi2, test.p_value], [theirs["chisq"], theirs["p_value"]])


@of_r("km_one_group")
def test_logrank_of_one_group_is_refused_where_r_raises(case):
    assert "error" in case["outputs"]["logrank"]
    with pytest.raises(ValueError, match="needs two groups, but every patient is in one"):
        logrank(*groups_of(case))


@of_r("cox_univariable_s69")
def test_hazard_ratio_equals_coxph_with_efrons_ties(case):
    data, theirs = case["inputs"]["data"], case["outputs"]["efron"]

    ratio = hazard_ratio(data["time"], data["event"], data["x"], level=0.95)

    close(ratio.value, theirs["hr"]["x"])
    close([ratio.lower, ratio.upper], [theirs["hr_lower95"]["x"], theirs["hr_upper95"]["x"]])
    close(ratio.p_value, theirs["p"]["x"])


@of_r("cox_separation")
def test_infinite_hazard_ratio_is_refused_where_r_diverges(case):
    data = case["inputs"]["data"]
    with pytest.raises(ValueError, match="the hazard ratio is infinite: at each event the highest of those at risk"):
        hazard_ratio(data["time"], data["event"], data["z"], level=0.95)
    with pytest.raises(ValueError, match="the hazard ratio is 0: at each event the lowest of those at risk"):
        hazard_ratio(data["time"], data["event"], -np.array(data["z"]), level=0.95)


@of_r(*MARKERS)
def test_concordance_equals_r(case):
    time, event, marker = arrays(case, "time", "event", "marker")

    close(concordance(time, event, marker), case["outputs"]["concordance"]["concordance"])


def test_survival_worked_by_hand():
    # two of five die at 2, one leaves at 2, one of the two left dies at 3
    curve = kaplan_meier([2, 2, 2, 3, 4], [1, 1, 0, 1, 0], level=0.95)

    np.testing.assert_array_equal(curve.time, [0, 2, 3, 4])
    np.testing.assert_allclose(curve.survival, [1, 3 / 5, 3 / 10, 3 / 10])
    np.testing.assert_array_equal(curve.at_risk, [5, 5, 2, 1])
    np.testing.assert_array_equal(curve.events, [0, 2, 1, 0])
    np.testing.assert_array_equal(curve.censored, [0, 1, 0, 1])
    greenwood = 2 / (5 * 3) + 1 / (2 * 1)
    assert curve.lower[2] == pytest.approx(0.3 * np.exp(-1.959963985 * np.sqrt(greenwood)))
    assert curve.upper[2] == 1.0


def test_median_is_the_middle_where_survival_stands_at_one_half():
    assert kaplan_meier([1, 2, 3, 4], [1, 1, 1, 1], level=0.95).median.value == 2.5
    assert kaplan_meier([1, 2, 3, 4], [1, 1, 0, 0], level=0.95).median.value == 2
    assert np.isnan(kaplan_meier([1, 2, 3, 4], [1, 0, 0, 0], level=0.95).median.value)


@pytest.mark.parametrize("decimals", [0, 3], ids=["ties", "no ties"])
@pytest.mark.parametrize("seed", range(3))
def test_concordance_equals_lifelines(seed, decimals):
    rng = np.random.default_rng(seed)
    time = rng.exponential(5, size=60).round(decimals) + 1
    event, score = rng.random(60) < 0.6, rng.normal(size=60).round(decimals)

    assert concordance(time, event, score) == pytest.approx(concordance_index(time, -score, event))


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


@pytest.mark.parametrize("binary", [True, False], ids=["groups", "score"])
@pytest.mark.parametrize("seed", range(3))
def test_hazard_ratio_with_ties_maximises_efrons_likelihood_written_slowly(seed, binary):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=40)
    time, event = np.ceil(rng.exponential(4 * np.exp(-score / 2))), rng.random(40) < 0.7
    covariate = (score > 0).astype(float) if binary else score

    def minus_log_likelihood(beta):
        total = 0.0
        for now in np.unique(time[event]):
            died, risk = event & (time == now), np.exp(beta * covariate)
            total += beta * covariate[died].sum()
            for place in range(died.sum()):
                total -= np.log(risk[time >= now].sum() - place / died.sum() * risk[died].sum())
        return -total

    best = minimize_scalar(minus_log_likelihood, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9}).x

    # the minimum of a function is known to about the square root of its rounding
    assert hazard_ratio(time, event, covariate, level=0.95).value == pytest.approx(np.exp(best), rel=1e-6)


def test_hazard_ratio_of_groups_all_but_separated_has_a_finite_estimate():
    time, event = np.arange(1.0, 41), np.ones(40)
    high = np.arange(40) < 20
    high[[19, 20]] = high[[20, 19]]

    ratio = hazard_ratio(time, event, high, level=0.95)

    assert 1 < ratio.lower < ratio.value < np.inf


@pytest.mark.parametrize(
    ("time", "event", "group", "message"),
    [
        ([1, 2, 3, 4], [0, 0, 0, 0], [0, 0, 1, 1], "a log-rank test needs an event: 0 of 4 had it"),
        ([1, 2, 3, 4], [0, 0, 1, 1], [0, 0, 1, 1], "needs an event while two groups are at risk"),
        ([1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1], "needs an event while two groups are at risk"),
    ],
    ids=["no event", "one group left", "all at once"],
)
def test_logrank_without_information_is_refused(time, event, group, message):
    with pytest.raises(ValueError, match=message):
        logrank(time, event, group)


def test_hazard_ratio_needs_patients_who_differ():
    with pytest.raises(ValueError, match="a hazard ratio needs patients who differ while somebody has the event"):
        hazard_ratio([1, 2, 3], [1, 1, 0], [1, 1, 1], level=0.95)


def test_concordance_needs_a_pair_whose_order_is_known():
    with pytest.raises(ValueError, match="needs a pair whose order is known; 0 of 3 had the event"):
        concordance([1, 2, 3], [0, 0, 0], [1, 2, 3])
    with pytest.raises(ValueError, match="a pair of patients whose order is known within a fold: none of 1 has that"):
        concordance_within_folds([1, 2], [0, 0], [1, 2], [1, 1], [1, 2], resamples=5, seed=1, level=0.95)


@pytest.mark.parametrize(
    ("time", "event", "message"),
    [
        ([1, np.nan], [1, 0], "every time must be a number of 0 or more"),
        ([1, -2], [1, 0], "every time must be a number of 0 or more"),
        ([1, 2], [1, np.nan], "every event must be 0 or 1: leave out patients whose outcome is unknown"),
        ([1, 2], [1], r"one row of equal length, got \(2,\) and \(1,\)"),
        ([], [], r"one row of equal length, got \(0,\) and \(0,\)"),
    ],
    ids=["no time", "negative time", "no event", "unequal length", "nobody"],
)
def test_follow_up_that_is_not_whole_is_refused(time, event, message):
    with pytest.raises(ValueError, match=message):
        kaplan_meier(time, event, level=0.95)
