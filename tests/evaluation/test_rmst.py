import numpy as np
import pytest
from lifelines import KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time

from oracle import close
from radnet.evaluation.survival.rmst import compare_restricted_means, restricted_mean
from survival_oracle import arrays, of_r

CASES = ["rmst_veteran_trt", "rmst_sim69"]


def row(estimate):
    return [estimate.value, estimate.lower, estimate.upper, estimate.p_value]


@of_r(*CASES)
def test_restricted_means_and_their_contrasts_equal_survrm2(case):
    time, event, arm = arrays(case, "time", "event", "arm")
    theirs = case["outputs"]

    ours = compare_restricted_means(time, event, arm, theirs["tau"], level=0.95)

    for mean, name in ((ours.versus, "arm0"), (ours.one, "arm1")):
        interval, error = mean.interval(0.95), mean.standard_error
        close([mean.value, error, interval.lower, interval.upper], theirs[name]["rows"][0])
        lost = [mean.time_lost, error, theirs["tau"] - interval.upper, theirs["tau"] - interval.lower]
        close(lost, theirs[name]["rows"][1])
        assert mean.horizon.time == theirs["tau"]
        assert mean.horizon.note == ""
    close([row(one) for one in (ours.difference, ours.ratio, ours.ratio_of_time_lost)], theirs["contrasts"]["rows"])


@pytest.mark.parametrize("seed", range(3))
def test_restricted_mean_equals_lifelines(seed):
    rng = np.random.default_rng(seed)
    time, event = rng.exponential(5, size=50).round(1) + 0.1, rng.random(50) < 0.6

    theirs = restricted_mean_survival_time(KaplanMeierFitter().fit(time, event), t=6)

    assert restricted_mean(time, event, 6).value == pytest.approx(theirs)


def test_restricted_mean_without_leaving_is_the_mean_of_cut_times():
    time = np.array([1.0, 2, 4, 5, 9, 12])
    cut = np.minimum(time, 6)

    ours = restricted_mean(time, np.ones(6), 6)

    assert ours.value == pytest.approx(cut.mean())
    assert ours.standard_error == pytest.approx(cut.std() / np.sqrt(6))
    assert ours.time_lost == pytest.approx(6 - cut.mean())


def test_horizon_beyond_follow_up_is_cut_and_told():
    ours = restricted_mean([1, 2, 3, 4], [1, 1, 0, 0], 10)

    assert ours.horizon.time == 4
    assert ours.horizon.note == "survival is not known up to 10: the restricted mean is taken up to 4"
    assert ours.value == restricted_mean([1, 2, 3, 4], [1, 1, 0, 0], 4).value


def test_horizon_beyond_follow_up_is_reached_where_nobody_survived():
    ours = restricted_mean([1, 2, 3, 4], [1, 1, 1, 1], 10)

    assert (ours.value, ours.horizon.time, ours.horizon.note) == (2.5, 10, "")


def test_both_groups_are_cut_at_the_shorter_follow_up():
    ours = compare_restricted_means([1, 5, 2, 9], [1, 0, 1, 0], [1, 1, 0, 0], 8, level=0.95)

    assert ours.one.horizon.time == ours.versus.horizon.time == 5


def test_groups_exchanged_turn_the_contrast():
    rng = np.random.default_rng(4)
    time, event, high = rng.exponential(5, size=40), rng.random(40) < 0.6, np.arange(40) % 2

    ours, turned = (compare_restricted_means(time, event, arm, 4, level=0.9) for arm in (high, 1 - high))

    close(
        row(ours.difference),
        [-turned.difference.value, -turned.difference.upper, -turned.difference.lower, turned.difference.p_value],
    )
    close(ours.ratio.lower, 1 / turned.ratio.upper)


def test_horizons_and_groups_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="a horizon must be a number above 0, got -1"):
        restricted_mean([1, 2], [1, 0], -1)
    with pytest.raises(ValueError, match="two groups are compared, but 2 of 2 patients are high"):
        compare_restricted_means([1, 2], [1, 0], [1, 1], 2, level=0.95)
    with pytest.raises(ValueError, match="high must be 0 or 1 for each of 2 patients"):
        compare_restricted_means([1, 2], [1, 0], [1, 2], 2, level=0.95)
