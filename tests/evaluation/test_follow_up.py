import numpy as np
import pytest

from radnet.evaluation.normal import normal_estimate
from radnet.evaluation.survival.follow_up import reachable


def test_horizon_that_somebody_outlives_is_reached():
    assert reachable(np.array([1.0, 2, 5]), 4.9).time == 4.9
    assert reachable(np.array([1.0, 2, 5]), 4.9).note == ""


@pytest.mark.parametrize("horizon", [5, 100])
def test_horizon_that_nobody_outlives_is_cut_and_told(horizon):
    cut = reachable(np.array([1.0, 2, 5, 5]), horizon)

    assert cut.time == 2
    assert cut.note == f"nobody is followed beyond {horizon}: judged at 2, the last time beyond which somebody is"


@pytest.mark.parametrize("horizon", [0, -1, np.nan, np.inf])
def test_horizon_that_is_no_positive_number_is_refused(horizon):
    with pytest.raises(ValueError, match="a horizon must be a number above 0"):
        reachable(np.array([1.0, 2]), horizon)


def test_normal_estimate_is_symmetric_cut_and_tested():
    ours = normal_estimate(0.9, 0.1, 0.95, null=0.5, within=(0.0, 1.0))

    assert (ours.value, ours.upper) == (0.9, 1.0)
    assert ours.lower == pytest.approx(0.9 - 0.1959963985)
    assert ours.p_value == pytest.approx(6.334248367e-05)  # a normal four standard errors away, from tables
    assert np.isnan(normal_estimate(0.9, 0.1, 0.95).p_value)


def test_estimate_without_spread_has_a_certain_test():
    assert normal_estimate(0.0, 0.0, 0.95, null=0.0).p_value == 1
    assert normal_estimate(0.1, 0.0, 0.95, null=0.0).p_value == 0
