"""Variables beside survival: R's coxph, survfit and survdiff, and laws."""

import numpy as np
import pandas as pd
import pytest

from oracle import cases, close
from radnet.association.survival import above_and_below_median, hazard_ratios, kaplan_meier

FILE = "05_survival.json"


def simulated(seed, n=60):
    rng = np.random.default_rng(seed)
    index = [f"P{one}" for one in range(n)]
    values = pd.DataFrame(rng.normal(size=(n, 3)), index=index, columns=["CD8", "B", "NK"])
    time = pd.Series(np.ceil(rng.exponential(20 * np.exp(-0.8 * values["CD8"]))), index=index)
    return values, pd.Series((rng.random(n) < 0.7).astype(float), index=index), time


@cases(FILE, "cox_univariable_s69")
def test_the_hazard_ratio_of_a_standard_deviation_is_rs_of_a_unit_to_its_power(case):
    data = pd.DataFrame(case["inputs"]["data"])

    [row] = hazard_ratios(data[["x"]], data["event"], data["time"], "os")

    theirs, spread = case["outputs"]["efron"], data["x"].std(ddof=1)
    bounds = [theirs["hr"]["x"], theirs["hr_lower95"]["x"], theirs["hr_upper95"]["x"]]
    close([row.effect.value, row.effect.lower, row.effect.upper], np.power(bounds, spread), rtol=1e-6)
    close([row.effect.statistic, row.effect.p_value], [theirs["z"]["x"], theirs["p"]["x"]], rtol=1e-6)
    assert (row.n, row.missing, row.counts, row.y) == (69, 0, "50 events", "os")


@cases(FILE, "km_lung_sex", "km_sim69", "km_sim69_tied_times")
def test_patients_above_the_median_of_a_grouping_are_compared_as_by_survdiff(case):
    given = case["inputs"]
    table = pd.DataFrame({name: given[name] for name in ("group", "event", "time")})

    [row] = above_and_below_median(table[["group"]], table["event"], table["time"], "os")

    theirs = case["outputs"]["logrank"]
    close([row.effect.statistic, row.effect.p_value], [theirs["chisq"], theirs["p_value"]], rtol=1e-8)
    low, high = (f"{n} ({events} events)" for n, events in zip(theirs["n"], theirs["observed"], strict=True))
    assert row.counts == f"high {high}, low {low}"


@cases(FILE, "km_lung_sex", "km_sim69", "km_sim69_tied_times", "km_veteran_celltype")
def test_curves_equal_those_of_survfit(case):
    table = pd.DataFrame({name: case["inputs"][name] for name in ("group", "event", "time")})

    curves = kaplan_meier(table["group"], table["event"], table["time"])

    theirs = pd.DataFrame(
        {key: case["outputs"]["km"]["log-log"]["at_times"][key] for key in ("time", "surv", "lower", "upper")}
    )
    theirs["group"] = [name.removeprefix("group=") for name in case["outputs"]["km"]["log-log"]["at_times"]["strata"]]
    assert len(theirs)
    for one in theirs.itertuples():
        own = curves[(curves["group"].astype(str) == one.group) & (curves["time"] <= one.time)].iloc[-1]
        close([own["survival"], own["lower"], own["upper"]], [one.surv, one.lower, one.upper], rtol=1e-6)


def test_a_curve_counts_who_is_at_risk_by_hand():
    group = pd.Series(["a"] * 4, name="arm")

    curve = kaplan_meier(group, pd.Series([1.0, 0.0, 1.0, 1.0]), pd.Series([1.0, 2.0, 3.0, 3.0]))

    assert curve["time"].tolist() == [0, 1, 2, 3]
    close(curve["survival"], [1, 0.75, 0.75, 0])
    assert curve["at_risk"].tolist() == [4, 4, 3, 2]
    assert curve["events"].tolist() == [0, 1, 0, 2]
    assert curve["censored"].tolist() == [0, 0, 1, 0]


def test_unit_and_order_change_nothing_and_a_reversed_variable_inverts_the_ratio():
    values, event, time = simulated(1)

    rows = hazard_ratios(values, event, time, "os")

    again = hazard_ratios(1000 * values + 5, event.iloc[::-1], time.sample(frac=1, random_state=0), "os")
    against = hazard_ratios(-values, event, time, "os")
    close([one.effect.value for one in again], [one.effect.value for one in rows])
    close([one.effect.value for one in against], [1 / one.effect.value for one in rows])
    close([one.effect.lower for one in against], [1 / one.effect.upper for one in rows])
    assert rows[0].effect.value > 1.5


def test_missing_values_and_unknown_outcomes_leave_out_patients_of_that_variable():
    values, event, time = simulated(2)
    values.loc["P0", "CD8"] = np.nan
    event["P1"], time["P2"] = np.nan, np.nan

    rows = hazard_ratios(values, event, time, "os")

    kept = values.index[3:]
    [alone] = hazard_ratios(values.loc[kept, ["CD8"]], event[kept], time[kept], "os")
    assert [(one.n, one.missing) for one in rows] == [(57, 3), (58, 2), (58, 2)]
    assert rows[0].effect == alone.effect


def test_a_variable_that_cannot_be_told_is_a_row_with_its_reason():
    values, event, time = simulated(3)
    few = event.copy()
    few.iloc[np.flatnonzero(few)[4:]] = 0.0

    foretold = hazard_ratios(pd.DataFrame({"x": -time}), event, time, "os")
    constant = hazard_ratios(values.assign(B=2.0)[["B"]], event, time, "os")
    rare = hazard_ratios(values[["B"]], few, time, "os")
    lone = above_and_below_median(
        pd.DataFrame({"x": (values.index == "P5").astype(float)}, index=values.index), event, time, "os"
    )

    assert foretold[0].effect.flag == "the hazard ratio is infinite"
    assert constant[0].effect.flag == "those at risk of an event do not differ"
    assert rare[0].effect.flag == "4 events: 5 are needed"
    assert lone[0].effect.flag == "1 patients above the median: 5 are needed each side"


def test_outcomes_that_cannot_be_are_refused():
    values, event, time = simulated(4)

    with pytest.raises(ValueError, match="those of 1 of 60 patients are not"):
        hazard_ratios(values, event.replace({1.0: 1.0}).where(event.index != "P3", 2.0), time, "os")
    with pytest.raises(ValueError, match="P9 only in values, not in event"):
        hazard_ratios(values, event.drop("P9"), time, "os")
    with pytest.raises(ValueError, match="no patient has both a group and an outcome"):
        kaplan_meier(pd.Series(np.nan, index=values.index, name="arm"), event, time)
