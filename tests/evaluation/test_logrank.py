import numpy as np
import pytest
from lifelines.statistics import multivariate_logrank_test

from oracle import close
from radnet.evaluation.survival.logrank import logrank, logrank_trend, pairwise_logrank
from radnet.evaluation.survival.proportional_hazards import cox
from survival_oracle import arrays, of_r

KM = [
    "km_lung_sex",
    "km_lung_ecog_missing",
    "km_veteran_celltype",
    "km_sim69",
    "km_sim69_tied_times",
    "km_tiny6",
    "km_all_censored_group",
]


def groups_of(case):
    time, event, group = arrays(case, "time", "event", "group")
    return time, event, group.astype(int).astype(str) if group.dtype.kind == "f" else group.astype(str)


@of_r(*KM)
def test_logrank_equals_survdiff(case):
    theirs = case["outputs"]["logrank"]

    test = logrank(*groups_of(case))

    close([test.chi2, test.df, test.p_value], [theirs["chisq"], theirs["df"], theirs["p_value"]])
    close(test.observed, theirs["observed"])
    close(test.expected, theirs["expected"])


@of_r(*KM)
def test_weighted_logrank_equals_survdiff_with_rho(case):
    theirs = case["outputs"]["logrank"]

    test = logrank(*groups_of(case), rho=1)

    close([test.chi2, test.p_value], [theirs["peto_rho1_chisq"], theirs["peto_rho1_p"]])


@of_r("km_lung_ecog_missing", "km_veteran_celltype")
def test_pairwise_logrank_equals_survminer(case):
    theirs = case["outputs"]["logrank"]["pairwise"]

    by_rate, by_count = (pairwise_logrank(*groups_of(case), adjust=adjust) for adjust in ("bh", "bonferroni"))

    assert [f"{test.group} vs {test.versus}" for test in by_rate] == theirs["pairs"]
    close([test.p_value for test in by_rate], theirs["p_raw"])
    close([test.p_adjusted for test in by_rate], theirs["p_BH"])
    close([test.p_adjusted for test in by_count], theirs["p_bonferroni"])


@of_r("km_one_group")
def test_logrank_of_one_group_is_refused_where_r_raises(case):
    assert "error" in case["outputs"]["logrank"]
    with pytest.raises(ValueError, match="needs two groups, but every patient is in one"):
        logrank(*groups_of(case))


@pytest.mark.parametrize("decimals", [0, 3], ids=["ties", "no ties"])
@pytest.mark.parametrize("seed", range(3))
def test_logrank_equals_lifelines(seed, decimals):
    rng = np.random.default_rng(seed)
    time, event = rng.exponential(5, size=60).round(decimals) + 1, rng.random(60) < 0.6
    group = rng.integers(0, 3, size=60)
    theirs = multivariate_logrank_test(time, group, event)

    test = logrank(time, event, group)

    close([test.chi2, test.p_value], [theirs.test_statistic, theirs.p_value])


def simulated(seed):
    rng = np.random.default_rng(seed)
    dose = rng.integers(1, 5, size=80)
    return rng.exponential(10 / dose), rng.random(80) < 0.7, dose


@pytest.mark.parametrize("seed", range(3))
def test_trend_without_tied_times_is_the_score_test_of_a_cox_model(seed):
    time, event, dose = simulated(seed)

    trend = logrank_trend(time, event, dose)

    close(trend.chi2, cox(time, event, dose[:, None]).score_test.chi2)
    assert trend.df == 1


def test_trend_of_two_groups_is_their_logrank_test_and_knows_no_unit():
    time, event, dose = simulated(1)

    close(logrank_trend(time, event, dose > 2).chi2, logrank(time, event, dose > 2).chi2)
    close(logrank_trend(time, event, 7 - 3 * dose).chi2, logrank_trend(time, event, dose).chi2)


@pytest.mark.parametrize(
    ("time", "event", "group", "message"),
    [
        ([1, 2, 3, 4], [0, 0, 0, 0], [0, 0, 1, 1], "a log-rank test needs an event: 0 of 4 had it"),
        ([1, 2, 3, 4], [0, 0, 1, 1], [0, 0, 1, 1], "needs an event while two groups are at risk"),
        ([1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1], "needs an event while two groups are at risk"),
        ([1, 2, 3], [1, 1, 1], [0, 1], "time and group must be one row of equal length"),
    ],
    ids=["no event", "one group left", "all at once", "unequal length"],
)
def test_logrank_without_information_is_refused(time, event, group, message):
    with pytest.raises(ValueError, match=message):
        logrank(time, event, group)


def test_dose_that_is_missing_and_adjustment_that_does_not_exist_are_refused():
    with pytest.raises(ValueError, match="1 of 3 doses are missing or infinite"):
        logrank_trend([1, 2, 3], [1, 1, 1], [1, 2, np.nan])
    with pytest.raises(ValueError, match="adjusted by bh or bonferroni, got 'holm'"):
        pairwise_logrank([1, 2, 3], [1, 1, 1], [1, 2, 3], adjust="holm")
