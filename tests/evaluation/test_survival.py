import numpy as np
import pytest
from lifelines import KaplanMeierFitter

from oracle import close
from radnet.evaluation.survival.kaplan_meier import kaplan_meier, median_follow_up
from survival_oracle import arrays, of_r

KM = [
    "km_lung_sex",
    "km_lung_ecog_missing",
    "km_veteran_celltype",
    "km_sim69",
    "km_sim69_tied_times",
    "km_tiny6",
    "km_all_censored_group",
    "km_one_group",
]


def groups_of(case):
    time, event, group = arrays(case, "time", "event", "group")
    names = group.astype(int).astype(str) if group.dtype.kind == "f" else group.astype(str)
    return time.astype(float), event.astype(float), names


@pytest.mark.parametrize("scale", ["log", "log-log", "plain"])
@of_r(*KM)
def test_survival_of_groups_equals_survfit(case, scale):
    time, event, group = groups_of(case)
    theirs = case["outputs"]["km"][scale]
    strata = [name.removeprefix("group=") for name in theirs["strata"]]
    at = theirs["at_times"]
    of_row = [name.removeprefix("group=") for name in at.get("strata", ["all"] * len(at["time"]))]
    for place, name in enumerate(strata):
        who = group == name if name != "all" else np.full(time.size, True)

        curve = kaplan_meier(time[who], event[who], level=0.95, scale=scale)

        close(curve.median.value, theirs["median"][place])
        close([curve.median.lower, curve.median.upper], [theirs["median_lower"][place], theirs["median_upper"][place]])
        quantiles = [curve.quantile(share) for share in (0.25, 0.5, 0.75)]
        close([quantile.value for quantile in quantiles], theirs["q25_50_75"]["rows"][place])
        close([quantile.lower for quantile in quantiles], theirs["q_lower"]["rows"][place])
        close([quantile.upper for quantile in quantiles], theirs["q_upper"]["rows"][place])
        for row in np.flatnonzero(np.array(of_row) == name):
            ours = curve.at(at["time"][row])
            close([ours.value, ours.lower, ours.upper], [at["surv"][row], at["lower"][row], at["upper"][row]])
            step = np.searchsorted(curve.time, at["time"][row], side="right") - 1
            close(curve.standard_error[step], at["std_err"][row])
            assert curve.number_at_risk(at["time"][row]) == at["n_risk"][row]
        close(time[who].size, case["outputs"]["km"]["n"][place])
        assert curve.events.sum() == case["outputs"]["km"]["events"][place]


@of_r(*KM)
def test_median_follow_up_equals_reverse_survfit(case):
    time, event = arrays(case, "time", "event")  # theirs holds those without a group as well

    close(median_follow_up(time, event, level=0.95).value, case["outputs"]["km"]["reverse_km_median_followup"])


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
    assert curve.standard_error[2] == pytest.approx(0.3 * np.sqrt(greenwood))
    assert curve.upper[2] == 1.0
    np.testing.assert_array_equal(curve.number_at_risk([0, 2, 2.5, 4, 4.1]), [5, 5, 2, 1, 0])


@pytest.mark.parametrize("seed", range(3))
def test_survival_and_its_log_log_bounds_equal_lifelines(seed):
    rng = np.random.default_rng(seed)
    time, event = rng.exponential(5, size=50).round(1) + 0.1, rng.random(50) < 0.6
    theirs = KaplanMeierFitter().fit(time, event)

    curve = kaplan_meier(time, event, level=0.95, scale="log-log")

    np.testing.assert_allclose(curve.survival, theirs.survival_function_.iloc[:, 0])
    seen = np.isfinite(curve.lower) & (curve.survival < 1)
    np.testing.assert_allclose(curve.lower[seen], theirs.confidence_interval_.iloc[seen.nonzero()[0], 0])
    np.testing.assert_allclose(curve.upper[seen], theirs.confidence_interval_.iloc[seen.nonzero()[0], 1])


def test_median_is_the_middle_where_survival_stands_at_one_half():
    assert kaplan_meier([1, 2, 3, 4], [1, 1, 1, 1], level=0.95).median.value == 2.5
    assert kaplan_meier([1, 2, 3, 4], [1, 1, 0, 0], level=0.95).median.value == 2
    assert np.isnan(kaplan_meier([1, 2, 3, 4], [1, 0, 0, 0], level=0.95).median.value)


def test_survival_beyond_follow_up_is_unknown_unless_nobody_survived():
    assert np.isnan(kaplan_meier([1, 2, 3], [1, 1, 0], level=0.95).at(3.5).value)
    assert kaplan_meier([1, 2, 3], [1, 1, 1], level=0.95).at(3.5).value == 0


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


def test_scale_and_share_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="on the scale log, log-log or plain, got 'logit'"):
        kaplan_meier([1, 2], [1, 0], level=0.95, scale="logit")
    with pytest.raises(ValueError, match="a quantile's share lies between 0 and 1, got 1.5"):
        kaplan_meier([1, 2], [1, 0], level=0.95).quantile(1.5)
