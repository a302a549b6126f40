import inspect

import numpy as np
import pytest

from radnet.config import build, load_config, options
from radnet.evaluation.cutoff import Cutoff, time_youden
from radnet.evaluation.cutoff_rules import by_maxstat, by_median, by_time_youden, by_value
from radnet.evaluation.survival.maxstat import maxstat
from radnet.evaluation.survival.time_dependent import nne_roc
from survival_oracle import MARKERS, arrays, of_r

FOLLOWED = ["endpoint=os", "endpoint.horizon=12"]


def configured(choice, *words):
    return build(load_config("train", ["experiment=zhao_mlp", f"cutoff={choice}", *words]).cutoff)


def followed():
    rng = np.random.default_rng(0)
    score = rng.normal(size=60)
    return rng.random(60) < 0.7, score, rng.exponential(20 * np.exp(-score))


@of_r(*MARKERS, "marker_tiny8")
def test_the_maxstat_rule_calls_those_above_the_cut_point_of_maxstat(case):
    time, event, marker = arrays(case, "time", "event", "marker")
    minprop = case["inputs"]["minprop"]

    cutoff = by_maxstat(event, marker, time, minprop=minprop)

    np.testing.assert_array_equal(marker >= cutoff.value, marker > case["outputs"]["optimal_cutpoint"]["cutpoint"])
    assert cutoff == maxstat(time, event, marker, minprop).cutoff


@of_r(*MARKERS, "marker_tiny8")
def test_the_youden_rule_at_a_time_calls_those_above_the_cut_point_of_survivalroc(case):
    time, event, marker = arrays(case, "time", "event", "marker")
    for at in case["outputs"]["survivalROC"]["by_time"]:
        theirs = at["NNE_span_0.25n_pow_minus0.2"]

        cutoff = by_time_youden(event, marker, time, at=at["time"])

        np.testing.assert_array_equal(marker >= cutoff.value, marker > theirs["youden_cut"])
        assert cutoff == time_youden(nne_roc(time, event, marker, at["time"], span=0.25 * len(marker) ** -0.2))


@pytest.mark.parametrize("time", [(), ([3, 1, 2, 5, 4],)], ids=["without follow-up", "with follow-up"])
def test_the_median_and_a_value_are_cut_offs_whatever_happened(time):
    event, score = [0, 1, 1, 0, 1], [0.9, 0.1, 0.4, 0.2, 0.7]

    assert by_median(event, score, *time) == Cutoff(0.4, "median")
    assert by_value(event, score, *time, value=0.55) == Cutoff(0.55, "fixed")


@pytest.mark.parametrize("choice", ["median", "fixed", "maxstat", "time_youden"])
def test_every_rule_for_follow_up_is_called_with_event_score_and_time(choice):
    words = ["cutoff.value=0.3"] if choice == "fixed" else []

    rule = configured(choice, *FOLLOWED, *words)

    assert "time" in inspect.signature(rule).parameters
    assert rule(*followed()).rule == choice


@pytest.mark.parametrize("choice", options("cutoff"))
def test_every_rule_of_the_configuration_answers_or_refuses_an_endpoint_without_follow_up(choice):
    rule = configured(choice, *(["cutoff.value=0.3"] if choice == "fixed" else []))

    if choice in ("maxstat", "time_youden"):
        with pytest.raises(ValueError, match=f"cutoff={choice} needs follow-up times, but the endpoint has none"):
            rule(*followed()[:2])
    else:
        assert rule(*followed()[:2]).rule == choice


def test_a_share_configured_for_maxstat_is_the_one_used():
    event, score, time = followed()

    assert configured("maxstat", *FOLLOWED, "cutoff.minprop=0.4")(event, score, time) == by_maxstat(
        event, score, time, minprop=0.4
    )


def test_a_fixed_cut_off_needs_its_value():
    with pytest.raises(ValueError, match="a fixed cut-off needs its value, in units of the score: cutoff.value="):
        configured("fixed")(*followed())


def test_the_youden_rule_at_a_time_needs_a_horizon():
    with pytest.raises(ValueError, match="cutoff=time_youden needs a time: name endpoint.horizon"):
        configured("time_youden", "endpoint=os")(*followed())
