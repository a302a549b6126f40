import json
import warnings

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, NelsonAalenFitter
from scipy.optimize import minimize
from scipy.special import logit

from oracle import close
from radnet.models.calibration import HazardCalibration, LogisticCalibration, calibrate, calibration_from
from radnet.models.cox import univariable_cox


def scored(seed, n=120, tied=True):
    """Event, score and time of patients whose hazard rises with the score."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    event, time = rng.random(n) < 0.4 + 0.2 * np.tanh(score), rng.exponential(20 * np.exp(-0.8 * score))
    return event, score, np.ceil(time) if tied else time


def platt_by_search(event, score):
    """Slope and intercept where the likelihood of smoothed targets is highest."""
    target = np.where(event, (event.sum() + 1) / (event.sum() + 2), 1 / ((~event).sum() + 2))

    def loss(line):
        odds = line[0] * score + line[1]
        return (np.logaddexp(0, odds) - target * odds).sum()

    return minimize(loss, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 9999}).x


@pytest.mark.parametrize("seed", range(4))
def test_a_logistic_calibration_is_the_maximum_of_platts_likelihood(seed):
    event, score, _ = scored(seed)

    ours = calibrate(event, score)

    close([ours.slope, ours.intercept], platt_by_search(event, score))


def test_two_groups_have_the_share_of_platts_targets_in_each():
    # 12 patients, half of them with the event: targets 7/8 and 1/8; a line through two scores meets both means
    score, event = np.repeat([0.0, 1.0], 6), np.array([1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0])

    probability = calibrate(event, score).probability([0.0, 1.0])

    close(probability, [(2 * 7 / 8 + 4 / 8) / 6, (4 * 7 / 8 + 2 / 8) / 6])


def test_scores_that_separate_the_classes_have_finite_probabilities():
    event = np.repeat([0, 1], [8, 3])

    probability = calibrate(event, event.astype(float)).probability([0.0, 1.0])

    close(probability, [1 / 10, 4 / 5])  # the targets of 8 without and 3 with the event


@pytest.mark.parametrize(
    "score", [np.full(10, 0.3), -np.repeat([0.0, 1.0, 2.0], [4, 3, 3])], ids=["constant", "the wrong way"]
)
def test_a_score_that_is_constant_or_points_the_wrong_way_stands_for_the_prevalence(score):
    calibration = calibrate([0, 0, 0, 0, 0, 1, 0, 1, 1, 0], score)

    assert calibration.slope == 0
    close(calibration.probability([-9.0, 0.3, 1e6]), [0.3, 0.3, 0.3])


def test_units_and_shifts_of_a_score_change_no_probability():
    event, score, time = scored(1)
    plain, followed = calibrate(event, score), calibrate(event, score, time)
    moved = 0.5 + 1e-7 * score  # a network that hardly tells patients apart

    close(calibrate(event, moved).probability(moved), plain.probability(score))
    close(calibrate(event, moved, time).probability(moved, 12.0), followed.probability(score, 12.0))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "distinct"])
def test_a_hazard_calibration_equals_the_survival_function_of_lifelines(seed, tied):
    event, score, time = scored(seed, tied=tied)
    table = pd.DataFrame({"score": score, "event": event.astype(float), "time": time})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = CoxPHFitter(baseline_estimation_method="breslow").fit(
            table, "time", "event", fit_options={"precision": 1e-12}
        )

    ours = calibrate(event, score, time)

    close(ours.slope, theirs.params_["score"])
    new = pd.DataFrame({"score": [-2.0, 0.0, 0.7, 3.0]})
    for at in np.quantile(time, [0.05, 0.3, 0.5, 0.9, 1.0], method="lower"):
        close(ours.probability(new["score"], at), 1 - theirs.predict_survival_function(new, times=[at]).to_numpy()[0])


def test_a_hazard_calibration_is_the_one_worked_by_hand():
    # events at 1, 2 and 3 of groups 1, 0, 1, and one left at 4: h = (1 + √17)/2 as in the test of the Cox model;
    # Breslow's steps are 1/(2h + 2), 1/(h + 2) and 1/(h + 1)
    h = (1 + np.sqrt(17)) / 2
    steps = np.cumsum([1 / (2 * h + 2), 1 / (h + 2), 1 / (h + 1)])

    ours = calibrate([1, 1, 1, 0], [1, 0, 1, 0], [1, 2, 3, 4])

    for at, hazard in [(0, 0), (0.99, 0), (1, steps[0]), (1.5, steps[0]), (2, steps[1]), (3, steps[2]), (4, steps[2])]:
        close(ours.probability([0, 1], at), [1 - np.exp(-hazard), 1 - np.exp(-hazard * h)])


@pytest.mark.parametrize("sign", [0, -1], ids=["constant", "the wrong way"])
def test_a_score_that_tells_nothing_of_survival_stands_for_the_nelson_aalen_hazard(sign):
    event, score, time = scored(2)
    theirs = NelsonAalenFitter(nelson_aalen_smoothing=False).fit(time, event)

    calibration = calibrate(event, sign * score, time)

    assert calibration.slope == 0
    for at in (1.0, 7.0, 15.5, time.max()):
        hazard = float(theirs.predict(at))
        close(calibration.probability([-1.0, 5.0], at), np.full(2, 1 - np.exp(-hazard)))


def test_probability_rises_with_the_score_and_with_time():
    event, score, time = scored(3)
    rising = np.linspace(-3, 3, 50)
    plain, followed = calibrate(event, score), calibrate(event, score, time)

    by_time = np.array([followed.probability(rising, at) for at in np.unique(time)])

    assert (np.diff(plain.probability(rising)) > 0).all()
    assert (np.diff(by_time[np.unique(time) >= time[event].min()], axis=1) > 0).all()
    assert (np.diff(by_time, axis=0) >= 0).all()
    assert ((by_time >= 0) & (by_time <= 1)).all()


def test_nothing_is_foretold_beyond_the_last_follow_up():
    calibration = calibrate([1, 1, 1, 0], [1, 0, 1, 0], [1, 2, 3, 8])

    assert np.isfinite(calibration.probability([0.0, 1.0], 8)).all()
    np.testing.assert_array_equal(calibration.probability([0.0, 1.0], 8.01), [np.nan, np.nan])


def test_scores_far_beyond_those_learned_from_are_held_between_0_and_1():
    event, score, time = scored(0)

    assert calibrate(event, score, time).probability([-1e6, 1e6], 20).tolist() == [0.0, 1.0]
    assert calibrate(event, score).probability([-1e6, 1e6]).tolist() == [0.0, 1.0]


def test_a_patient_without_a_score_has_no_probability():
    event, score, time = scored(0)

    assert np.isnan(calibrate(event, score).probability([np.nan])).all()
    assert np.isnan(calibrate(event, score, time).probability([np.nan], 10)).all()


@pytest.mark.parametrize("followed", [False, True], ids=["logistic", "hazard"])
def test_a_calibration_comes_back_from_json_unchanged(followed):
    event, score, time = scored(4, tied=False)
    calibration = calibrate(event, score, time if followed else None)

    assert calibration_from(json.loads(json.dumps(calibration.as_dict()))) == calibration


@pytest.mark.parametrize(
    ("event", "score", "time", "message"),
    [
        ([1, 0, 0, 0], [1, 2, 3, 4], None, "2 patients with the event and 2 without at least, got 1 and 3"),
        ([1, 1, 1, 0], [1, 2, 3, 4], None, "2 patients with the event and 2 without at least, got 3 and 1"),
        ([0, 0, 0, 0], [1, 2, 3, 4], [1, 2, 3, 4], "patients with the event: 0 of 4 had it"),
        ([1, 1, 1, 0], [4, 3, 2, 1], [1, 2, 3, 4], "their hazard ratio is infinite"),
        ([1, 1, 0, 0], [1, np.nan, 3, np.inf], None, "2 of 4 scores are missing or infinite"),
        ([1, 1, 0, 2], [1, 2, 3, 4], None, "every event must be 0 or 1"),
        ([1, 1, 0], [1, 2, 3, 4], None, r"one row of equal length, got \(3,\) and \(4,\)"),
        ([1, 1, 0, 0], [1, 2, 3, 4], [1, 2, 0, 3], "every one of 4 patients must have a time above 0"),
        ([1, 1, 0, 0], [1, 2, 3, 4], [1, 2, 3], "every one of 4 patients must have a time above 0"),
    ],
)
def test_what_teaches_no_probability_is_refused(event, score, time, message):
    with pytest.raises(ValueError, match=message):
        calibrate(event, score, time)


def test_a_survival_score_that_foretells_the_reverse_of_every_event_is_held_at_slope_0():
    assert univariable_cox([[1], [2], [3], [4]], [1, 1, 1, 0], [1, 2, 3, 4])[0][0] == -np.inf

    assert calibrate([1, 1, 1, 0], [1, 2, 3, 4], [1, 2, 3, 4]).slope == 0


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda: LogisticCalibration(1.0, 0.0).probability([1.0], 12.0),
            "a probability at the time 12 needs follow-up",
        ),
        (lambda: HazardCalibration(1.0, (1.0,), (0.5,)).probability([1.0]), "needs a time: name endpoint.horizon"),
        (lambda: HazardCalibration(1.0, (1.0,), (0.5,)).probability([1.0], -1.0), "a time of 0 or more, got -1.0"),
    ],
)
def test_a_probability_needs_a_time_exactly_where_there_is_follow_up(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"kind": "logistic", "slope": -1.0, "intercept": 0.0}, "slope of a calibration must be a number of 0 or more"),
        ({"kind": "logistic", "slope": 1.0, "intercept": float("nan")}, "intercept of a calibration must be a number"),
        ({"kind": "logistic", "slope": 1.0}, "a logistic calibration cannot be made of slope"),
        ({"kind": "hazard", "slope": 1.0, "times": [1.0, 2.0], "cumulative_hazard": [0.1]}, "got 1 for 2 times"),
        ({"kind": "hazard", "slope": 1.0, "times": [], "cumulative_hazard": []}, "got 0 for 0 times"),
        (
            {"kind": "hazard", "slope": 1.0, "times": [2.0, 1.0], "cumulative_hazard": [0.1, 0.2]},
            "must rise from above",
        ),
        ({"kind": "hazard", "slope": 1.0, "times": [1.0, 2.0], "cumulative_hazard": [0.2, 0.1]}, "must not fall"),
        (
            {"kind": "hazard", "slope": 1.0, "times": [1.0], "cumulative_hazard": [0.2], "centre": float("inf")},
            "centre of a calibration must be a number",
        ),
        ({"kind": "isotonic"}, "a calibration is of kind logistic or hazard, got 'isotonic'"),
        ({}, "a calibration is of kind logistic or hazard, got None"),
    ],
)
def test_a_calibration_written_wrong_is_refused(kept, message):
    with pytest.raises(ValueError, match=message):
        calibration_from(kept)


def test_log_odds_are_linear_in_the_score():
    close(logit(LogisticCalibration(2.0, -1.0).probability([0.0, 1.0, 3.0])), [-1.0, 1.0, 5.0])
