from functools import partial

import numpy as np
import pytest
from lifelines import KaplanMeierFitter

from oracle import cases, close
from radnet.evaluation.decision.net_benefit import (
    cost_benefit,
    decision_curve,
    percentile_band,
    resampled_decision_curves,
)
from radnet.evaluation.decision.survival_net_benefit import resampled_survival_decision_curves, survival_decision_curve

FILE = "04_decision_curve.json"
BINARY = [
    "pima_external",
    "asah_apparent",
    "cohort69",
    "cohort69_p_on_thresholds",
    "ties_exact_binary_fractions",
    "tiny_n6",
    "perfect",
]


of_r = partial(cases, FILE)


def curve_of(case, thresholds, decision_rule):
    return decision_curve(case["inputs"]["y"], case["inputs"]["p"], thresholds, decision_rule)


def cohort(seed=1, n=80):
    rng = np.random.default_rng(seed)
    probability = rng.random(n).round(2)
    return rng.random(n) < probability, probability


def follow_up(seed=1, n=80):
    """Patients followed for some years, some of them lost, and their risks by year 5."""
    rng = np.random.default_rng(seed)
    probability = rng.uniform(0.05, 0.95, size=n).round(2)
    time = (rng.exponential(5 / -np.log1p(-probability))).round(1) + 0.1
    left = rng.exponential(12, size=n).round(1) + 0.1
    return np.minimum(time, left), time <= left, probability


@of_r(*BINARY)
def test_net_benefit_equals_dcurves_which_treats_at_the_threshold(case):
    theirs = case["outputs"]["dcurves_ge"]

    ours = curve_of(case, theirs["thresholds"], "ge")

    close(ours.net_benefit, theirs["net_benefit"])
    close(ours.net_benefit_all, theirs["treat_all"])
    close(ours.true_positive, theirs["tp_rate"])
    close(ours.false_positive, theirs["fp_rate"])
    close(ours.interventions_avoided, theirs["net_intervention_avoided_per_patient"])


@of_r(*BINARY)
def test_net_benefit_and_impact_equal_rmda_which_treats_above_the_threshold(case):
    theirs = case["outputs"]["rmda_strict_gt"]
    model, population = theirs["model"], theirs["clinical_impact_population"]

    ours = curve_of(case, theirs["thresholds"], "gt")

    close(ours.net_benefit, model["NB"])
    close(ours.standardized, model["sNB"])
    close(ours.net_benefit_all, theirs["treat_all_NB"])
    close(ours.standardized_all, theirs["treat_all_sNB"])
    close(0 * ours.net_benefit, theirs["treat_none_NB"])
    close(ours.sensitivity, model["TPR"])
    close(1 - ours.specificity, model["FPR"])
    close(ours.high_risk, model["prob.high.risk"])
    close(ours.true_positive, model["DP"])
    close(1 - ours.prevalence - ours.false_positive, model["nonDP"])
    close(ours.prevalence, theirs["prevalence"])
    close(ours.impact_high_risk(population), theirs["clinical_impact_n_high_risk"])
    close(ours.impact_true_positive(population), theirs["clinical_impact_n_high_risk_with_event"])
    assert [cost_benefit(threshold) for threshold in theirs["thresholds"]] == theirs["cost_benefit"]


@of_r(*BINARY)
def test_interventions_avoided_equal_opting_out_in_rmda_which_treats_at_the_threshold(case):
    theirs = case["outputs"]["rmda_opt_out"]
    model = theirs["model"]

    ours = curve_of(case, theirs["thresholds"], "ge")

    close(ours.interventions_avoided, model["NB"])
    close(ours.interventions_avoided_standardized, model["sNB"])
    close(ours.interventions_avoided_none, theirs["treat_none_NB"])
    # rmda calls a patient at the threshold neither high nor low risk: its TNR and FNR leave him out, TPR and FPR too
    close(ours.specificity, model["TNR"])
    close(1 - ours.sensitivity, model["FNR"])
    close(ours.specificity, case["outputs"]["rmda_strict_gt"]["model"]["TNR"][-len(theirs["thresholds"]) :])
    close(1 - ours.sensitivity, case["outputs"]["rmda_strict_gt"]["model"]["FNR"][-len(theirs["thresholds"]) :])
    above = curve_of(case, theirs["thresholds"], "gt")
    close([above.sensitivity, 1 - above.specificity], [model["TPR"], model["FPR"]])
    close([above.high_risk, above.true_positive], [model["prob.high.risk"], model["DP"]])
    close(1 - above.prevalence - above.false_positive, model["nonDP"])


@of_r("no_events")
def test_patients_without_an_event_are_refused_where_r_raises(case):
    assert all("error" in output for output in case["outputs"].values())
    with pytest.raises(ValueError, match="event: both classes are needed: 0 of 6 had the event"):
        curve_of(case, case["inputs"]["thresholds"], "ge")


@of_r("p_out_of_range")
def test_probability_above_one_is_refused_where_r_raises(case):
    assert all("error" in output for output in case["outputs"].values())
    with pytest.raises(ValueError, match=r"a probability lies between 0 and 1: 1 of 3 do not, such as 1\.2"):
        curve_of(case, case["inputs"]["thresholds"], "ge")


@of_r("surv_lung_365")
def test_net_benefit_under_censoring_equals_dcurves(case):
    given, theirs = case["inputs"], case["outputs"]["dcurves_survival"]

    ours = survival_decision_curve(
        given["time"], given["event"], given["p"], given["thresholds"], "ge", horizon=given["horizon"]
    )

    close(ours.net_benefit, theirs["net_benefit"])
    close(ours.true_positive, theirs["tp_rate"])
    close(ours.false_positive, theirs["fp_rate"])
    close(ours.net_benefit_all, theirs["treat_all"])
    close(ours.prevalence, theirs["event_prob_km"])
    close(ours.threshold, theirs["thresholds"])


def test_net_benefit_worked_by_hand():
    # at 0.2 three with and one without the event are treated: (3 - 1/4) / 5; all: (3 - 2/4) / 5
    curve = decision_curve([1, 1, 1, 0, 0], [0.9, 0.5, 0.2, 0.3, 0.1], [0.2], "ge")

    close(curve.net_benefit, [(3 - 1 / 4) / 5])
    close(curve.net_benefit_all, [(3 - 2 / 4) / 5])
    close(curve.standardized, [(3 - 1 / 4) / 3])
    close(curve.interventions_avoided, [1 / 5])  # one patient without the event is spared, none with it is missed
    close(decision_curve([1, 1, 1, 0, 0], [0.9, 0.5, 0.2, 0.3, 0.1], [0.2], "gt").net_benefit, [(2 - 1 / 4) / 5])


def test_rules_agree_where_no_probability_equals_a_threshold():
    event, probability = cohort()
    thresholds = np.arange(0.005, 1, 0.05)

    np.testing.assert_array_equal(
        decision_curve(event, probability, thresholds, "ge").net_benefit,
        decision_curve(event, probability, thresholds, "gt").net_benefit,
    )


def test_model_that_treats_everybody_has_the_net_benefit_of_treating_all():
    event, _ = cohort()

    curve = decision_curve(event, np.ones(80), [0.0, 0.2, 0.9], "ge")

    close(curve.net_benefit, curve.net_benefit_all)
    close(curve.interventions_avoided, [np.nan, 0, 0])


def test_thresholds_may_come_in_any_order():
    event, probability = cohort()
    rising = decision_curve(event, probability, [0.1, 0.3, 0.5], "ge")

    mixed = decision_curve(event, probability, [0.5, 0.1, 0.3], "ge")

    close(mixed.net_benefit, rising.net_benefit[[2, 0, 1]])


def test_band_of_net_benefit_is_that_of_patients_drawn_one_by_one():
    event, probability = cohort(n=50)
    thresholds = [0.6, 0.2, 0.4]
    rng = np.random.default_rng(7)
    draws = [rng.integers(50, size=50) for _ in range(2000)]
    slowly = [decision_curve(event[d], probability[d], thresholds, "ge") for d in draws]

    drawn = resampled_decision_curves(event, probability, thresholds, "ge", resamples=4000, seed=1)

    for name in ("net_benefit", "net_benefit_all", "standardized", "interventions_avoided", "high_risk"):
        theirs = np.array([getattr(curve, name) for curve in slowly])
        lower, upper = percentile_band(getattr(drawn, name), level=0.95)
        # 2000 draws put the 2.5 % quantile within about 0.18 standard deviations (three standard errors); a share of
        # 50 patients moves in steps of one of them
        near = 0.2 * theirs.std(axis=0).max() + (1 / 50 if name == "high_risk" else 0)
        np.testing.assert_allclose([lower, upper], np.quantile(theirs, [0.025, 0.975], axis=0), atol=near)


def test_band_of_a_quantity_without_a_value_is_unknown():
    event, probability = cohort()
    drawn = resampled_decision_curves(event, probability, [0.0, 0.5], "ge", resamples=50, seed=1)

    lower, upper = percentile_band(drawn.interventions_avoided, level=0.95)

    np.testing.assert_array_equal(np.isnan([lower, upper]), [[True, False], [True, False]])


def test_resampled_curves_follow_their_seed():
    event, probability = cohort()

    once, again, other = (
        resampled_decision_curves(event, probability, [0.3], "ge", resamples=20, seed=seed).net_benefit
        for seed in (1, 1, 2)
    )

    np.testing.assert_array_equal(once, again)
    assert (once != other).any()


def test_survival_without_censoring_has_the_net_benefit_of_the_event_by_the_horizon():
    time, _, probability = follow_up()
    thresholds = np.linspace(0, 0.9, 10)

    ours = survival_decision_curve(time, np.ones(80), probability, thresholds, "gt", horizon=5.0)

    binary = decision_curve(time <= 5, probability, thresholds, "gt")
    known = [bool(((probability > at) & (time >= 5)).any()) for at in thresholds]
    close(ours.net_benefit, np.where(known, binary.net_benefit, np.nan))
    close(ours.prevalence, binary.prevalence)


def test_risk_of_the_treated_equals_lifelines():
    time, event, probability = follow_up()

    ours = survival_decision_curve(time, event, probability, [0.3, 0.6], "ge", horizon=5.0)

    for place, threshold in enumerate([0.3, 0.6]):
        who = probability >= threshold
        survival = KaplanMeierFitter().fit(time[who], event[who]).predict(5.0)
        close(ours.true_positive[place], (1 - survival) * who.mean())
        close(ours.false_positive[place], survival * who.mean())


def test_survival_is_unknown_where_none_of_the_treated_is_followed_and_zero_where_none_is_treated():
    time, event, probability = [1, 2, 3, 6, 6, 7], [1, 1, 0, 0, 1, 0], [0.9, 0.8, 0.7, 0.3, 0.2, 0.1]

    curve = survival_decision_curve(time, event, probability, [0.25, 0.5, 0.85, 0.95], "ge", horizon=5.0)

    np.testing.assert_array_equal(np.isnan(curve.net_benefit), [False, True, True, False])
    assert curve.net_benefit[3] == 0


def test_band_under_censoring_is_that_of_patients_drawn_one_by_one():
    time, event, probability = follow_up(n=60)
    rng = np.random.default_rng(3)
    thresholds = [0.4, 0.2]
    slowly = []
    for _ in range(800):
        d = rng.integers(60, size=60)
        curve = survival_decision_curve(time[d], event[d], probability[d], thresholds, "ge", horizon=2.0)
        slowly.append(curve.net_benefit)

    drawn = resampled_survival_decision_curves(
        time, event, probability, thresholds, "ge", horizon=2.0, resamples=3000, seed=1
    )

    bounds = np.quantile(slowly, [0.025, 0.975], axis=0)
    # 800 draws put the 2.5 % quantile within about 0.28 standard deviations (three standard errors)
    near = 0.3 * np.std(slowly, axis=0).max()
    np.testing.assert_allclose(percentile_band(drawn.net_benefit, level=0.95), bounds, atol=near)
    assert drawn.prevalence.shape == (3000, 1)


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ([0.2, 1.0], "a threshold probability is at least 0 and below 1, got 1"),
        ([-0.1], r"a threshold probability is at least 0 and below 1, got -0\.1"),
        ([np.nan], "a threshold probability is at least 0 and below 1, got nan"),
        ([], r"thresholds must be a row of probabilities, got shape \(0,\)"),
    ],
    ids=["certain", "negative", "missing", "none"],
)
def test_thresholds_that_cannot_be_weighed_are_refused(thresholds, message):
    with pytest.raises(ValueError, match=message):
        decision_curve([0, 1], [0.2, 0.3], thresholds, "ge")


def test_unknown_decision_rule_is_refused():
    with pytest.raises(ValueError, match="a decision rule is 'ge' or 'gt', got '>='"):
        decision_curve([0, 1], [0.2, 0.3], [0.5], ">=")


@pytest.mark.parametrize(
    ("time", "event", "probability", "message"),
    [
        ([1, 2, 9], [0, 0, 1], [0.1, 0.2, 0.3], "needs an event by the horizon of 5: 0 of 3 patients had it"),
        ([1, 2, 3], [1, 0, 1], [0.1, 0.2, 0.3], "the risk by 5 is unknown: the longest follow-up is 3"),
        ([1, 2, 9], [1, 0, 1], [0.1, np.nan, 0.3], "1 of 3 scores are missing or infinite"),
        ([1, 2, 9], [1, 0, 1], [0.1, -0.2, 0.3], r"a probability lies between 0 and 1: 1 of 3 do not, such as -0\.2"),
    ],
    ids=["no event", "short follow-up", "missing", "below 0"],
)
def test_follow_up_that_tells_no_risk_is_refused(time, event, probability, message):
    with pytest.raises(ValueError, match=message):
        survival_decision_curve(time, event, probability, [0.2], "ge", horizon=5.0)
