from functools import partial

import numpy as np
import pytest
from scipy.stats import norm

from oracle import cases, close
from radnet.evaluation.reclassification.binary import (
    idi,
    nri_categorical,
    nri_continuous,
    reclassification_table,
    risk_group,
)

FILE = "06_reclassification.json"
CASES = ["pima_te_add_glu", "asah_add_s100b", "cohort69", "no_change", "p_on_cut", "tiny"]
AS_PREDICTABEL = 2 * norm.cdf(1.96) - 1  # its intervals reach 1.96 standard errors, not 1.959964


of_r = partial(cases, FILE)


def given(case):
    return [np.asarray(case["inputs"][key], dtype=float) for key in ("y", "p_new", "p_old")]


def bounds(estimate):
    return [estimate.lower, estimate.upper]


def assert_equals_improve_prob(ours, theirs):
    for part, suffix in (("total", ""), ("event", ".ev"), ("nonevent", ".ne")):
        estimate = getattr(ours, part)
        reach = norm.ppf(0.975) * theirs[f"se.nri{suffix}"]
        close(estimate.value, theirs[f"nri{suffix}"])
        close(bounds(estimate), [estimate.value - reach, estimate.value + reach])
        close(estimate.p_value, 2 * norm.sf(abs(theirs[f"z.nri{suffix}"])))
    close([ours.up_event, ours.down_event], [theirs["pup.ev"], theirs["pdown.ev"]])
    close([ours.up_nonevent, ours.down_nonevent], [theirs["pup.ne"], theirs["pdown.ne"]])


def assert_equals_nribin(ours, theirs):
    close(
        [ours.total.value, ours.event.value, ours.nonevent.value],
        [theirs["NRI"], theirs["NRI_plus_events"], theirs["NRI_minus_nonevents"]],
    )
    close([ours.up_event, ours.down_event], [theirs["Pr_up_case"], theirs["Pr_down_case"]])
    close([ours.up_nonevent, ours.down_nonevent], [theirs["Pr_up_ctrl"], theirs["Pr_down_ctrl"]])


@of_r(*CASES)
def test_idi_equals_hmisc_and_predictabel(case):
    theirs, hmisc = case["outputs"], case["outputs"]["improveProb_category_free"]

    ours = idi(*given(case), level=AS_PREDICTABEL)

    close(
        [ours.total.value, ours.event.value, ours.nonevent.value],
        [hmisc[k] for k in ("idi", "improveSens", "improveSpec")],
    )
    close(bounds(ours.total), theirs["idi_ci95_1.96"])
    close(ours.total.p_value, theirs["idi_p"])
    close(bounds(idi(*given(case), level=0.95).total), hmisc["idi"] + norm.ppf([0.025, 0.975]) * hmisc["se.idi"])


@of_r(*CASES)
def test_continuous_nri_equals_hmisc_predictabel_and_nricens(case):
    theirs = case["outputs"]

    ours = nri_continuous(*given(case), level=0.95)

    assert_equals_improve_prob(ours, theirs["improveProb_category_free"])
    assert_equals_nribin(ours, theirs["nricens_nribin_diff0"])
    close(ours.total.p_value, theirs["nri_cf_p"])
    close(bounds(nri_continuous(*given(case), level=AS_PREDICTABEL).total), theirs["nri_cf_ci95_1.96"])


@of_r(*CASES)
def test_nri_of_changes_beyond_a_threshold_equals_nricens(case):
    assert_equals_nribin(
        nri_continuous(*given(case), level=0.95, min_change=0.05), case["outputs"]["nricens_nribin_diff0.05"]
    )


@of_r(*CASES)
def test_categorical_nri_equals_hmisc_predictabel_and_nricens(case):
    theirs, cuts = case["outputs"], case["inputs"]["cuts"]

    ours = nri_categorical(*given(case), cuts, level=0.95)

    assert_equals_improve_prob(ours, theirs["improveProb_on_categories"])
    assert_equals_nribin(ours, theirs["nricens_nribin_category"])
    close(ours.total.p_value, theirs["nri_cat_p"])
    close(bounds(nri_categorical(*given(case), cuts, level=AS_PREDICTABEL).total), theirs["nri_cat_ci95_1.96"])


@of_r(*CASES)
def test_idi_of_risk_groups_equals_hmisc(case):
    theirs, cuts = case["outputs"]["improveProb_on_categories"], case["inputs"]["cuts"]
    event, new, old = given(case)

    ours = idi(event, *((risk_group(p, cuts) + 1) / (len(cuts) + 1) for p in (new, old)), level=0.95)

    close(
        [ours.total.value, ours.event.value, ours.nonevent.value],
        [theirs[k] for k in ("idi", "improveSens", "improveSpec")],
    )
    close(ours.total.upper - ours.total.value, norm.ppf(0.975) * theirs["se.idi"])


@of_r(*CASES)
def test_reclassification_table_equals_predictabel(case):
    theirs = case["outputs"]

    ours = reclassification_table(*given(case), case["inputs"]["cuts"])

    np.testing.assert_array_equal(ours.event, theirs["reclass_table_events"]["rows"])
    np.testing.assert_array_equal(ours.nonevent, theirs["reclass_table_nonevents"]["rows"])


@pytest.fixture
def patients():
    rng = np.random.default_rng(4)
    event = rng.permutation(np.arange(80) < 30).astype(float)
    old = rng.uniform(0.05, 0.95, 80)
    return event, np.clip(old + rng.normal(0.05 * (2 * event - 1), 0.1), 0, 1), old


def test_going_back_to_the_old_model_loses_what_the_new_one_gains(patients):
    event, new, old = patients
    for function, more in ((idi, {}), (nri_continuous, {}), (nri_categorical, {"cuts": [0.2, 0.5]})):
        there, back = function(event, new, old, level=0.95, **more), function(event, old, new, level=0.95, **more)

        for part in ("total", "event", "nonevent"):
            forward, reverse = getattr(there, part), getattr(back, part)
            close([forward.value, *bounds(forward)], [-reverse.value, -reverse.upper, -reverse.lower])
            close(forward.p_value, reverse.p_value)


def test_p_value_is_below_5_percent_exactly_where_the_95_percent_interval_leaves_out_0(patients):
    event, new, old = patients
    for weight in np.linspace(0, 1, 21):
        mixed = weight * new + (1 - weight) * old[::-1]
        for function in (idi, nri_continuous):
            for estimate in (
                function(event, mixed, old, level=0.95).total,
                function(event, mixed, old, level=0.95).event,
            ):
                assert (estimate.p_value < 0.05) == (estimate.lower > 0 or estimate.upper < 0)


def test_perfect_reclassification_is_two_without_spread():
    ours = nri_continuous([1, 1, 0, 0], [0.8, 0.9, 0.1, 0.2], [0.5, 0.5, 0.5, 0.5], level=0.95)

    assert (ours.total.value, ours.total.lower, ours.total.upper, ours.total.p_value) == (2, 2, 2, 0)


def test_one_patient_with_the_event_leaves_the_idi_without_an_interval():
    ours = idi([1, 0, 0], [0.8, 0.1, 0.2], [0.5, 0.3, 0.3], level=0.95).total

    assert ours.value == pytest.approx(0.45)
    assert np.isnan([ours.lower, ours.upper, ours.p_value]).all()


@pytest.mark.parametrize(
    ("event", "new", "message"),
    [
        ([1, 1, 1], [0.1, 0.2, 0.3], "event: both classes are needed: 3 of 3 had the event"),
        ([1, 0, 1], [0.1, 1.2, 0.3], r"1 of 3 probabilities lie outside \[0, 1\], such as 1.2"),
        ([1, 0, 1], [0.1, np.nan, 0.3], "1 of 3 scores are missing or infinite"),
        ([1, 0], [0.1, 0.3], "."),
    ],
    ids=["one class", "no probability", "missing", "other length"],
)
def test_faults_of_the_input_are_told(event, new, message):
    for function in (idi, nri_continuous):
        with pytest.raises(ValueError, match=message):
            function(event, new, [0.1, 0.2, 0.3], level=0.95)


@pytest.mark.parametrize("cuts", [[], [0.5, 0.2], [0.0, 0.5], [0.5, 0.5]])
def test_cuts_must_rise_within_0_and_1(cuts):
    with pytest.raises(ValueError, match="cuts between risk groups must rise and lie between 0 and 1"):
        nri_categorical([1, 0], [0.1, 0.2], [0.3, 0.4], cuts, level=0.95)


def test_a_negative_change_cannot_be_asked_for():
    with pytest.raises(ValueError, match="min_change must be 0 or more and below 1, got -0.1"):
        nri_continuous([1, 0], [0.1, 0.2], [0.3, 0.4], level=0.95, min_change=-0.1)
