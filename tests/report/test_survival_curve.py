import doctest

import pandas as pd
import pytest

from radnet.report import survival_curve
from radnet.report.survival_curve import at_risk, from_the_start, time_label, time_ticks


def test_the_examples_in_the_docstrings_run():
    assert doctest.testmod(survival_curve).failed == 0


def test_patients_at_risk_are_counted_just_before_each_time(km):
    curve = km[(km["model"] == "plain") & (km["partition"] == "held_out") & (km["group"] == "low")]

    counted = at_risk(curve.sample(frac=1, random_state=0), [0, 2, 2.1, 4, 5, 6, 8, 8.1])

    # Worked by hand from five patients with times 2, 4, 5, 8, 8.
    assert counted == [5, 5, 4, 4, 3, 2, 2, 0]


def test_a_curve_that_begins_at_time_0_is_left_as_it_is():
    curve = pd.DataFrame({"time": [3.0, 0.0], "survival": [0.5, 1.0]})

    assert from_the_start(curve)["time"].tolist() == [0.0, 3.0]


@pytest.mark.parametrize("longest", [0.8, 8.0, 37.5, 2000.0])
def test_ticks_run_from_0_within_the_follow_up_and_are_few(longest):
    ticks = time_ticks(pd.DataFrame({"time": [longest / 2, longest]}))

    assert ticks[0] == 0
    assert ticks[-1] <= longest
    assert 3 <= len(ticks) <= 6


@pytest.mark.parametrize(
    ("units", "label"),
    [
        (["months", "months"], "Time (months)"),
        (["", ""], "Time"),
        (["days", "months"], "Time"),
        (["", "days"], "Time (days)"),
    ],
)
def test_the_time_axis_is_named_with_its_unit_where_there_is_one(units, label):
    assert time_label(pd.DataFrame({"time": [1.0, 2.0], "time_unit": units})) == label
