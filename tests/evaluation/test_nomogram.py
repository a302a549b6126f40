from functools import partial

import numpy as np
import pandas as pd
import pytest

from oracle import cases, close
from radnet.evaluation.regression.nomogram import cox_nomogram, logistic_nomogram, nomogram
from radnet.evaluation.regression.ticks import pretty

FILE = "12_nomogram.json"
LOGISTIC = ["pima_te_logistic", "asah_logistic_factor"]
ALL = [*LOGISTIC, "lung_cox"]


of_r = partial(cases, FILE)


def fit(case):
    given = case["inputs"]
    table = pd.DataFrame(given["data"])
    for name, levels in given["factor_levels"].items():
        table[name] = pd.Categorical(table[name], categories=levels)
    outcome, terms = given["formula"].split(" ~ ")
    if given["kind"] == "nomogram_cox":
        drawn = cox_nomogram(table, terms.split(" + "), event="event", time="time", horizon=given["horizon"])
        return drawn, table
    return logistic_nomogram(table, terms.split(" + "), event=outcome), table


@of_r(*ALL)
def test_axes_and_points_equal_rms(case):
    theirs = case["outputs"]

    drawn, _ = fit(case)

    assert [axis.variable for axis in drawn.axes] == list(theirs["points_by_variable"])
    for axis in drawn.axes:
        expected = theirs["points_by_variable"][axis.variable]
        if isinstance(axis.ticks[0], str):
            assert list(axis.ticks) == expected["values"]
        else:
            close(axis.ticks, expected["values"])
        close(axis.effect, expected["Xbeta"])
        close(axis.points, expected["points"])
        close(np.ptp(axis.effect), theirs["xbeta_range_by_variable"][axis.variable])


@of_r(*ALL)
def test_coefficients_equal_rms(case):
    theirs = case["outputs"]["coef"]
    drawn, _ = fit(case)

    slopes = {}
    for axis in drawn.axes:
        if isinstance(axis.ticks[0], str):
            slopes |= {
                f"{axis.variable}={level}": effect
                for level, effect in zip(axis.ticks[1:], axis.effect[1:], strict=True)
            }
        else:
            slopes[axis.variable] = (axis.effect[-1] - axis.effect[0]) / (axis.ticks[-1] - axis.ticks[0])
    close([slopes[name] for name in theirs if name != "Intercept"], [v for k, v in theirs.items() if k != "Intercept"])
    if "surv_center" in case["outputs"]:
        least = sum(axis.effect.min() for axis in drawn.axes)
        close(least - drawn.at_zero, case["outputs"]["surv_center"])
    else:
        close(drawn.at_zero - sum(axis.effect.min() for axis in drawn.axes), theirs["Intercept"])


@of_r(*ALL)
def test_scales_equal_rms(case):
    scale = case["outputs"]["scale"]

    drawn, _ = fit(case)

    at_zero = scale["info_Intercept"]
    close(drawn.at_zero, at_zero["Intercept"] if isinstance(at_zero, dict) else at_zero)
    close(drawn.per_point, scale["info_sc_lp_per_point"])
    close(drawn.total_ticks, scale["total_points_axis"])
    close(drawn.predictor_ticks, scale["lp_ticks"]["lp"])
    close(drawn.points_at(drawn.predictor_ticks), scale["lp_ticks"]["points"])
    # rms inverts the probability by straight lines between 1000 points of its axis, which is good to some 1e-5
    close(drawn.points_at_probability(scale["prob_ticks"]["lp"]), scale["prob_ticks"]["points"], rtol=1e-5)
    assert scale["prob_ticks"]["prob"] == [f"{chance:g}" for chance in scale["prob_ticks"]["lp"]]


@of_r(*ALL)
def test_points_and_predictions_of_patients_equal_rms(case):
    theirs = case["outputs"]

    drawn, table = fit(case)
    points = drawn.total_points(table.head(10))

    close(points, theirs["total_points_first10"])
    close(drawn.linear_predictor(points), theirs["lp_first10"])
    close(drawn.probability(points), theirs["predicted_first10"])


@of_r(*ALL)
def test_range_of_values_is_the_one_of_datadist(case):
    _, table = fit(case)
    for name, limits in case["outputs"]["datadist_limits"].items():
        if table[name].dtype.kind in "if":
            assert (table[name].min(), table[name].max()) == (limits[5], limits[6])
        else:
            assert (table[name].cat.categories[0], table[name].cat.categories[-1]) == (limits[5], limits[6])


@of_r(*ALL)
def test_points_and_probability_are_each_others_inverse(case):
    drawn, table = fit(case)
    points = drawn.total_points(table)

    close(drawn.points_at_probability(drawn.probability(points)), points)
    close(drawn.points_at(drawn.linear_predictor(points)), points)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        # R: pretty(c(low, high), n = 10)
        (0.0, 1.0, np.arange(11) / 10),
        (-1.0, 1.0, np.arange(-5, 6) / 5),
        (0.0, 100.0, np.arange(0, 101, 10)),
        (18.0, 81.0, np.arange(15, 90, 5)),
        (0.03, 2.07, np.arange(12) / 5),
    ],
)
def test_ticks_equal_rs_pretty(low, high, expected):
    close(pretty(low, high, 10), expected)


@pytest.mark.parametrize("seed", range(10))
def test_ticks_hold_the_range_and_lie_evenly(seed):
    low, width = np.random.default_rng(seed).normal(size=2) * 10.0 ** (seed - 4)
    high = low + abs(width)

    ticks = pretty(low, high, 10)

    step = ticks[1] - ticks[0]
    close(np.diff(ticks), step)
    assert ticks[0] <= low + 1e-9 * step
    assert high - 1e-9 * step <= ticks[-1]
    assert ticks[0] + step > low
    assert ticks[-1] - step < high
    assert 5 <= ticks.size <= 20


def test_published_coefficients_are_laid_out_by_hand():
    # age 0.05 a year over 40 to 60 spans 1.0; stage II adds 0.5: half as many points
    table = pd.DataFrame({"age": [40, 50, 60], "stage": ["I", "II", "I"]})
    drawn = nomogram(
        {"age": 0.05, "stage=II": 0.5}, table, ["age", "stage"], at_reference=-3.0, predictor=[-1.0, 0.0, 0.0]
    )

    close(drawn.axes[0].points, [0, 50, 100])
    close(drawn.axes[1].points, [0, 50])
    close(drawn.total_points(table), [0, 100, 100])
    close(drawn.linear_predictor([0, 100]), [-1.0, 0.0])


def test_a_negative_coefficient_gives_most_points_to_the_lowest_value():
    table = pd.DataFrame({"albumin": [30.0, 35.0, 45.0]})
    drawn = nomogram({"albumin": -0.2}, table, ["albumin"], at_reference=0.0, predictor=[-6.0, -7.0, -9.0])

    close(drawn.axes[0].points, [100, 200 / 3, 0])
    close(drawn.linear_predictor(drawn.total_points(table)), [-6, -7, -9])


@pytest.mark.parametrize(
    ("coefficient", "variables", "message"),
    [
        ({"age": 0.0}, ["age"], "every coefficient is 0"),
        ({"age": 1.0}, ["age", "stage"], "stage: one level may be the reference, but these have no coefficient"),
        ({"stage=II": 1.0}, ["age"], "age: no coefficient of that name; there are stage=II"),
        ({"same": 1.0}, ["same"], r"same: an axis needs two values or more, got \[1.0\]"),
        ({"age": 1.0}, ["weight"], "the table has no column weight"),
    ],
    ids=["no effect", "level unknown", "variable unknown", "constant", "no column"],
)
def test_a_nomogram_that_cannot_be_drawn_is_refused(coefficient, variables, message):
    table = pd.DataFrame({"age": [40, 50, 60], "stage": ["I", "II", "III"], "same": 1})
    with pytest.raises(ValueError, match=message):
        nomogram(coefficient, table, variables, at_reference=0.0, predictor=[0.0, 1.0, 2.0])


def test_patients_a_nomogram_cannot_place_are_refused():
    table = pd.DataFrame({"age": [40.0, 50, 60], "stage": ["I", "II", "I"]})
    drawn = nomogram({"age": 0.05, "stage=II": 0.5}, table, ["age", "stage"], at_reference=0, predictor=[2, 3, 3])
    with pytest.raises(ValueError, match="age: 1 of 3 values are missing"):
        drawn.total_points(table.assign(age=[40, None, 50]))
    with pytest.raises(ValueError, match="stage: the nomogram knows no level IV"):
        drawn.total_points(table.assign(stage="IV"))
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        drawn.points_at_probability(1.0)


def test_a_horizon_beyond_the_follow_up_is_refused():
    table = pd.DataFrame({"t": [1, 2, 3, 4.0], "e": [1, 0, 1, 1], "x": [1, 4, 3, 2]})
    with pytest.raises(ValueError, match="between the first event .1. and the longest follow-up .4., got 5"):
        cox_nomogram(table, ["x"], event="e", time="t", horizon=5)


def test_an_axis_needs_a_range():
    with pytest.raises(ValueError, match="an axis needs a range, got 1 to 1"):
        pretty(1, 1, 10)
