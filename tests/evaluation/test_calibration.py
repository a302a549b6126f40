from functools import partial

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import chi2, norm
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as log_loss_of_sklearn

from oracle import cases, close
from radnet.evaluation.calibration.curve import calibration_curve, calibration_error, lowess_curve
from radnet.evaluation.calibration.groups import (
    equal_groups,
    group_by_count,
    group_by_quantile,
    group_by_width,
    hosmer_lemeshow,
)
from radnet.evaluation.calibration.recalibration import (
    calibration_in_the_large,
    deviance,
    recalibrate,
    recalibrated_log_odds,
)
from radnet.evaluation.calibration.scores import (
    brier,
    brier_scaled,
    log_loss,
    observed_to_expected,
    spiegelhalter,
)
from radnet.evaluation.calibration.smoothing import loess
from radnet.evaluation.calibration.survival_groups import survival_by_group
from radnet.evaluation.discrimination import delong

FILE = "03_calibration.json"
VARIED = [
    "asah_apparent",
    "pima_external",
    "cohort69_overconfident",
    "cohort69_tied_probs",
    "two_level_probs",
    "n12",
    "missing_pred",
]
CERTAIN, CONSTANT = "contains_0_and_1", "constant_p"
BOOTSTRAP = {"resamples": 50, "seed": 1, "level": 0.95}


of_r = partial(cases, FILE)


def complete(case):
    """R drops patients without a probability; our functions want them dropped before."""
    event, probability = (np.asarray(case["inputs"][name], dtype=float) for name in "yp")
    there = np.isfinite(probability)
    return event[there], probability[there]


def with_finite_log_odds(case):
    """val.prob leaves out probabilities of 0 and 1 with a warning; ours refuses them, so the test leaves them out."""
    event, probability = complete(case)
    inner = (probability > 0) & (probability < 1)
    return event[inner], probability[inner]


def error_of(estimate):
    """The standard error behind a 95 % interval of Wald's."""
    return (estimate.upper - estimate.lower) / 2 / norm.ppf(0.975)


def foretold(seed=1, n=200):
    """Patients of a model whose probabilities are right."""
    rng = np.random.default_rng(seed)
    probability = expit(rng.normal(size=n))
    return rng.random(n) < probability, probability


@of_r(*VARIED, CERTAIN, CONSTANT)
def test_overall_scores_equal_r(case):
    event, probability = complete(case)
    theirs = case["outputs"]

    close(brier(event, probability, **BOOTSTRAP).value, theirs["brier"])
    close(brier_scaled(event, probability, **BOOTSTRAP).value, theirs["scaled_brier"])
    close(log_loss(event, probability), theirs["log_loss"])
    ours = spiegelhalter(event, probability)
    close([ours.statistic, ours.p_value], [theirs["spiegelhalter"]["z"], theirs["spiegelhalter"]["p_value"]])
    close(brier(event, probability, **BOOTSTRAP).value, theirs["val_prob"]["Brier"])
    if case["id"] != CONSTANT:  # val.prob gives z = 0 there, beside its own formula, which is 0 / 0
        close([ours.statistic, ours.p_value], [theirs["val_prob"]["S:z"], theirs["val_prob"]["S:p"]])
    assert event.size == theirs["n"]


@of_r(*VARIED)
def test_recalibration_equals_glm(case):
    event, probability = complete(case)
    theirs = case["outputs"]["recalibration_glm"]

    ours, in_the_large = (of(event, probability, level=0.95) for of in (recalibrate, calibration_in_the_large))

    # an intercept that is 0 but for rounding is 0 to the tolerance of glm
    np.testing.assert_allclose(in_the_large.value, theirs["calibration_in_the_large"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.intercept.value, theirs["intercept"], rtol=1e-6, atol=1e-9)
    close(ours.slope.value, theirs["slope"])
    close(error_of(in_the_large), theirs["citl_se"])
    close(error_of(ours.slope), theirs["slope_se"])
    close([ours.slope.lower, ours.slope.upper], theirs["slope_ci_wald"])
    close(ours.slope.p_value, 2 * norm.sf(abs(theirs["slope"] - 1) / theirs["slope_se"]), rtol=1e-5)
    close(observed_to_expected(event, probability), theirs["oe_ratio"])


@of_r(CERTAIN, CONSTANT)
def test_recalibration_is_refused_where_glm_raises(case):
    assert "error" in case["outputs"]["recalibration_glm"]
    with pytest.raises(ValueError, match=r"needs finite log odds, but 2 of 12|needs probabilities that differ"):
        recalibrate(*complete(case), level=0.95)


@of_r(*VARIED, CERTAIN)
def test_intercept_and_slope_equal_val_prob(case):
    theirs = case["outputs"]["val_prob"]

    ours = recalibrated_log_odds(*with_finite_log_odds(case))

    # val.prob stops its iterations about 1e-5 early, where the deviance no longer moves
    np.testing.assert_allclose(ours, [theirs["Intercept"], theirs["Slope"]], rtol=0, atol=1e-5)


@of_r(*VARIED, CERTAIN, CONSTANT)
def test_indices_equal_val_prob(case):
    event, probability = with_finite_log_odds(case)
    theirs = case["outputs"]["val_prob"]

    ours = deviance(event, probability)

    auc = delong(event, probability).auc
    close([2 * auc - 1, auc], [theirs["Dxy"], theirs["C (ROC)"]], rtol=1e-3)  # rms bins probabilities before it ranks
    close([ours.r2, ours.discrimination, ours.quality], [theirs["R2"], theirs["D"], theirs["Q"]])
    # D:p is absent: val.prob gives NA
    np.testing.assert_allclose(ours.null - ours.given, theirs["D:Chi-sq"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.test.statistic, theirs["U:Chi-sq"], rtol=1e-6, atol=1e-9)
    close([ours.unreliability, ours.test.p_value], [theirs["U"], theirs["U:p"]])


@of_r(*VARIED, CERTAIN, CONSTANT)
def test_error_by_lowess_equals_val_prob(case):
    theirs = case["outputs"]["val_prob"]

    ours = calibration_error(*complete(case), "lowess")

    close([ours.maximum, ours.q90, ours.mean], [theirs["Emax"], theirs["E90"], theirs["Eavg"]])


@of_r(*VARIED, CERTAIN)
def test_integrated_calibration_index_equals_rs_loess(case):
    theirs = case["outputs"]["loess_ici"]

    ours = calibration_error(*complete(case), "loess")

    close([ours.mean, ours.median, ours.q90, ours.maximum], [theirs[name] for name in ("ICI", "E50", "E90", "Emax")])


@of_r(CONSTANT)
def test_integrated_calibration_index_of_one_probability_is_refused_where_loess_raises(case):
    assert "error" in case["outputs"]["loess_ici"]
    with pytest.raises(ValueError, match=r"a smooth curve needs values that differ, but all 20 are 0\.5"):
        calibration_error(*complete(case), "loess")


@pytest.mark.parametrize(("name", "groups"), [("hoslem_ResourceSelection_g10", 10), ("hoslem_g5", 5)])
@of_r(*VARIED, CERTAIN)
def test_hosmer_lemeshow_and_its_table_equal_hoslem_test(case, name, groups):
    theirs = case["outputs"][name]

    table = group_by_quantile(*complete(case), groups)
    test = hosmer_lemeshow(table, apparent=True)

    close(table.edge, theirs["breaks"])
    close(np.column_stack([table.count - table.events, table.events]), theirs["observed"]["rows"])
    close(np.column_stack([table.count - table.expected, table.expected]), theirs["expected"]["rows"])
    assert test.df == theirs["df"]
    if np.isfinite(theirs["chisq"]):
        close(test.chi2, theirs["chisq"])
    else:  # hoslem.test divides 0 by 0 in an empty group; left out, it is what the other groups of its table add up to
        observed, expected = (np.array(theirs[table]["rows"]) for table in ("observed", "expected"))
        filled = expected.sum(axis=1) > 0
        assert not filled.all()
        close(test.chi2, ((observed - expected)[filled] ** 2 / expected[filled]).sum())
    # χ² on no degree of freedom has no p-value, where pchisq gives 0
    close(test.p_value, chi2.sf(test.chi2, theirs["df"]) if theirs["df"] else np.nan)
    if theirs["df"] and np.isfinite(theirs["p_value"]):
        close(test.p_value, theirs["p_value"])


@of_r(*VARIED, CERTAIN)
def test_hosmer_lemeshow_in_new_patients_has_a_degree_of_freedom_per_group(case):
    theirs = case["outputs"]["hl_external"]
    table = group_by_quantile(*complete(case), groups=10)

    test = hosmer_lemeshow(table, apparent=False)

    assert test.df == theirs["df_external"] - (table.count == 0).sum()  # an empty group tells nothing
    if np.isfinite(theirs["p_value_external_df_g"]):
        close(test.p_value, theirs["p_value_external_df_g"])


@of_r(CONSTANT)
def test_quantile_groups_of_one_probability_are_refused_where_r_raises(case):
    assert "error" in case["outputs"]["hoslem_ResourceSelection_g10"]
    with pytest.raises(ValueError, match=r"groups need probabilities that differ, but all 20 are 0\.5"):
        group_by_quantile(*complete(case), groups=10)


@of_r(*VARIED, CERTAIN, CONSTANT)
def test_groups_of_equal_count_equal_cut2_and_its_chi2(case):
    theirs = case["outputs"]["hl_PredictABEL_cut2_g10"]

    table = group_by_count(*complete(case), groups=10)

    np.testing.assert_array_equal(table.count, theirs["table_total"])
    np.testing.assert_allclose(table.predicted, theirs["table_meanpred"], rtol=0, atol=0.000501)  # three decimals
    np.testing.assert_allclose(table.observed, theirs["table_meanobs"], rtol=0, atol=0.000501)
    if np.isnan(theirs["chisq"]):  # 0 / 0 in a group of probability 1
        return
    # PredictABEL rounds the sums and means of its table before it computes χ², which ours does not
    predicted, expected = table.predicted.round(3), table.expected.round(2)
    rounded = ((table.events - expected) ** 2 / (table.count * predicted * (1 - predicted))).sum()
    np.testing.assert_allclose(rounded, theirs["chisq"], rtol=0, atol=0.000501)
    np.testing.assert_allclose(hosmer_lemeshow(table, apparent=True).chi2, theirs["chisq"], rtol=3e-3, atol=1e-12)
    if table.count.size == 10:  # it takes 8 degrees of freedom even of two groups
        p_value = hosmer_lemeshow(table, apparent=True).p_value
        np.testing.assert_allclose(p_value, theirs["p_value_rounded"], rtol=0, atol=0.002)


@of_r(*VARIED, CERTAIN, CONSTANT)
def test_slices_of_equal_width_and_their_error_equal_r(case):
    theirs = case["outputs"]["binned"]["equal_width10"]

    table = group_by_width(*complete(case), groups=10)

    np.testing.assert_array_equal(table.count, theirs["n"])
    close(table.predicted, theirs["mean_pred"])
    close(table.observed, theirs["frac_pos"])
    close(table.expected_error, theirs["ece"])


@of_r("surv_calib_lung")
def test_survival_by_group_equals_groupkm(case):
    data, theirs = case["inputs"]["data"], case["outputs"]["groupkm"]
    probability = 1 - np.array(case["outputs"]["pred_surv_at_u"])

    ours = survival_by_group(
        data["time"],
        data["event"],
        probability,
        horizon=case["inputs"]["horizon"],
        groups=case["inputs"]["groups"],
        level=0.95,
    )

    np.testing.assert_array_equal(ours.count, theirs["n"])
    np.testing.assert_array_equal(ours.events, theirs["events"])
    close(1 - ours.predicted, theirs["mean_pred"])
    close(1 - ours.observed, theirs["KM"])
    reach = norm.ppf(0.975) * np.array(theirs["std_err_logS"])
    close(1 - ours.upper, theirs["KM"] * np.exp(-reach))
    close(1 - ours.lower, theirs["KM"] * np.exp(reach))


def test_scores_equal_scikit_learn():
    event, probability = foretold()

    assert brier(event, probability, **BOOTSTRAP).value == pytest.approx(brier_score_loss(event, probability))
    assert log_loss(event, probability) == pytest.approx(log_loss_of_sklearn(event, probability))


def test_probability_of_the_impossible_costs_infinitely_much():
    assert log_loss([0, 1, 1], [0.2, 0.9, 0.0]) == np.inf
    assert log_loss([0, 1, 1], [0.0, 1.0, 1.0]) == 0
    assert observed_to_expected([0, 1], [0.0, 0.0]) == np.inf


def test_bootstrap_of_the_brier_scores_is_that_of_patients_drawn_one_by_one():
    event, probability = foretold(n=60)
    rng = np.random.default_rng(5)
    draws = [rng.integers(60, size=60) for _ in range(3000)]
    squared = (probability - event) ** 2
    slowly = [squared[d].mean() for d in draws]
    scaled_slowly = [1 - squared[d].mean() / event[d].var() for d in draws]

    ours = brier(event, probability, resamples=4000, seed=1, level=0.95)
    scaled = brier_scaled(event, probability, resamples=4000, seed=1, level=0.95)

    # 3000 draws put the 2.5 % quantile within about 0.17 standard deviations (three standard errors)
    for estimate, drawn in ((ours, slowly), (scaled, scaled_slowly)):
        bounds = np.quantile(drawn, [0.025, 0.975])
        np.testing.assert_allclose([estimate.lower, estimate.upper], bounds, atol=0.2 * np.std(drawn))


@pytest.mark.parametrize("seed", range(3))
def test_recalibrated_probabilities_are_calibrated(seed):
    event, probability = foretold(seed)
    intercept, slope = recalibrated_log_odds(event, expit(3 * logit(probability) - 1))

    again = recalibrate(event, expit(intercept + slope * (3 * logit(probability) - 1)), level=0.9)

    np.testing.assert_allclose([again.intercept.value, again.slope.value], [0, 1], atol=1e-8)
    assert again.slope.p_value == pytest.approx(1)


def test_slope_turns_with_the_scale_of_the_log_odds():
    event, probability = foretold()
    slope = recalibrate(event, probability, level=0.95).slope

    halved = recalibrate(event, expit(2 * logit(probability)), level=0.95).slope

    np.testing.assert_allclose([halved.value, halved.lower], [slope.value / 2, slope.lower / 2], rtol=1e-8)


def test_calibration_in_the_large_worked_by_hand():
    # log odds of -log 3 and log 3, raised by log 3, are risks of 0.5 and 0.9: 14 events among 10 and 10 patients
    event = [1] * 5 + [0] * 5 + [1] * 9 + [0]

    ours = calibration_in_the_large(event, np.repeat([0.25, 0.75], 10), level=0.95)

    assert ours.value == pytest.approx(np.log(3))
    assert error_of(ours) == pytest.approx(1 / np.sqrt(10 * 0.5 * 0.5 + 10 * 0.9 * 0.1))


@pytest.mark.parametrize("scale", [0.01, 1, 30, 300], ids=["narrow", "fair", "extreme", "beyond doubt"])
@pytest.mark.parametrize("seed", range(3))
def test_moved_probabilities_are_right_on_average_however_extreme_they_were(seed, scale):
    event, probability = foretold(seed, n=40)
    log_odds = scale * logit(probability)
    given = np.clip(expit(log_odds), 1e-300, 1 - 1e-16)
    log_odds = logit(given)

    shift = calibration_in_the_large(event, given, level=0.95).value
    intercept, slope = recalibrated_log_odds(event, given)

    # the score equations of maximum likelihood
    assert expit(log_odds + shift).sum() == pytest.approx(event.sum(), rel=1e-6)
    assert expit(intercept + slope * log_odds).sum() == pytest.approx(event.sum(), rel=1e-6)
    assert expit(intercept + slope * log_odds) @ log_odds == pytest.approx(event @ log_odds, rel=1e-6)


def test_probabilities_that_are_all_but_certain_tell_no_shift():
    with pytest.raises(ValueError, match="cannot be told: the probabilities are all but 0 and 1"):
        calibration_in_the_large([0, 1, 0, 1], np.array([1e-300, 1 - 1e-16] * 2), level=0.95)


def test_separated_classes_have_no_slope():
    event, probability = [0, 0, 1, 1], [0.1, 0.3, 0.6, 0.8]

    with pytest.raises(ValueError, match="the calibration slope is infinite: one probability separates"):
        recalibrate(event, probability, level=0.95)
    assert np.isnan(recalibrated_log_odds(event, probability)).all()
    assert np.isnan(deviance(event, probability).test.p_value)


def test_equal_groups_keep_ties_together_worked_by_hand():
    np.testing.assert_array_equal(equal_groups([5, 1, 2, 2, 2, 3], groups=3), [1, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(equal_groups([5, 1, 2, 2, 4, 3], groups=3), [2, 0, 0, 0, 2, 1])
    np.testing.assert_array_equal(equal_groups([0.4] * 5, groups=4), [0] * 5)
    np.testing.assert_array_equal(equal_groups([3, 1, 2], groups=10), [2, 0, 1])


def test_events_that_were_called_impossible_make_chi2_infinite():
    table = group_by_width([0, 1, 0, 1], [0.0, 0.0, 0.6, 0.7], groups=2)

    test = hosmer_lemeshow(table, apparent=False)

    assert (test.chi2, test.df, test.p_value) == (np.inf, 2, 0)


def test_group_of_sure_and_right_probabilities_adds_nothing_to_chi2():
    table = group_by_width([0, 0, 0, 1], [0.0, 0.0, 0.5, 0.5], groups=2)

    assert hosmer_lemeshow(table, apparent=False).chi2 == 0


def test_curve_and_band_of_two_probabilities_are_shares_and_their_normal_intervals():
    event, probability = np.array([1] * 4 + [0] * 12 + [1] * 12 + [0] * 4), np.repeat([0.2, 0.7], 16)

    curve = calibration_curve(event, probability, [0.2, 0.7, 0.9], level=0.95)

    error = norm.ppf(0.975) * np.sqrt(0.25 * 0.75 / 16)
    np.testing.assert_allclose(curve.observed, [0.25, 0.75, np.nan], rtol=1e-9)
    np.testing.assert_allclose(curve.lower, [0.25 - error, 0.75 - error, np.nan], rtol=1e-9)
    np.testing.assert_allclose(curve.upper, [0.25 + error, 0.75 + error, np.nan], rtol=1e-9)


def test_band_is_as_wide_as_curves_of_outcomes_drawn_from_the_smooth_risk():
    event, probability = foretold(n=120)
    at = np.linspace(0.25, 0.75, 5)
    smooth = loess(probability, span=0.75)
    risk = np.clip(smooth.curve(event, probability), 0, 1)
    rng = np.random.default_rng(3)
    curves = [smooth.curve(rng.random(120) < risk, at) for _ in range(2000)]

    curve = calibration_curve(event, probability, at, level=0.95)

    # 2000 draws know a standard deviation to 1.6 %
    np.testing.assert_allclose(curve.upper - curve.observed, norm.ppf(0.975) * np.std(curves, axis=0), rtol=0.06)
    np.testing.assert_allclose(curve.observed, smooth.curve(event, at), rtol=1e-9)


def test_curve_and_band_stay_within_zero_and_one():
    event, probability = foretold(n=40)

    curve = calibration_curve(event, probability, np.sort(probability), level=0.999)

    assert (curve.lower >= 0).all()
    assert (curve.upper <= 1).all()
    assert (curve.lower <= curve.observed).all()
    assert (curve.observed <= curve.upper).all()


def test_lowess_curve_is_unknown_beyond_the_probabilities():
    event, probability = foretold(n=40)

    curve = lowess_curve(event, probability, [0, probability.min(), probability.max(), 1])

    np.testing.assert_array_equal(np.isnan(curve), [True, False, False, True])


def test_survival_by_group_without_censoring_is_the_share_with_an_event_by_the_horizon():
    rng = np.random.default_rng(1)
    time, probability = rng.exponential(10, size=90).round(1) + 0.1, rng.random(90).round(2)

    ours = survival_by_group(time, np.ones(90), probability, horizon=8.0, groups=3, level=0.95)

    place = equal_groups(1 - probability, 3)
    close(ours.observed, [(time[place == group] <= 8).mean() for group in range(3)])
    assert (np.diff(ours.predicted) < 0).all()


def test_risk_of_a_group_not_followed_to_the_horizon_is_unknown():
    time = [2, 3, 3, 4, 9, 9, 9, 9]
    event = [1, 0, 1, 0, 1, 0, 1, 0]
    probability = [0.8, 0.8, 0.8, 0.8, 0.2, 0.2, 0.2, 0.2]

    ours = survival_by_group(time, event, probability, horizon=9.0, groups=2, level=0.95)

    np.testing.assert_array_equal(np.isnan(ours.observed), [True, False])


@pytest.mark.parametrize(
    ("event", "probability", "message"),
    [
        ([1, 1, 1], [0.1, 0.2, 0.3], "event: both classes are needed: 3 of 3 had the event"),
        ([0, 1], [0.1, 1.2], r"a probability lies between 0 and 1: 1 of 2 do not, such as 1\.2"),
        ([0, 1], [-0.1, 0.2], r"a probability lies between 0 and 1: 1 of 2 do not, such as -0\.1"),
        ([0, 1], [np.nan, 0.2], "1 of 2 scores are missing or infinite"),
        ([0, 1], [0.2], "one row of equal length"),
        ([], [], "event: both classes are needed: 0 of 0 had the event"),
    ],
    ids=["one class", "above 1", "below 0", "missing", "unequal length", "nobody"],
)
@pytest.mark.parametrize(
    "measure",
    [
        lambda event, probability: brier(event, probability, **BOOTSTRAP),
        lambda event, probability: brier_scaled(event, probability, **BOOTSTRAP),
        log_loss,
        observed_to_expected,
        spiegelhalter,
        lambda event, probability: calibration_in_the_large(event, probability, level=0.95),
        lambda event, probability: recalibrate(event, probability, level=0.95),
        deviance,
        lambda event, probability: calibration_error(event, probability, "loess"),
        lambda event, probability: calibration_curve(event, probability, [0.5], level=0.95),
        lambda event, probability: lowess_curve(event, probability, [0.5]),
        lambda event, probability: group_by_quantile(event, probability, 10),
        lambda event, probability: group_by_width(event, probability, 10),
        lambda event, probability: group_by_count(event, probability, 10),
    ],
)
def test_patients_who_cannot_be_judged_are_refused(measure, event, probability, message):
    with pytest.raises(ValueError, match=message):
        measure(event, probability)


def test_unknown_smoother_is_refused():
    with pytest.raises(ValueError, match="a smoother is 'loess' or 'lowess', got 'spline'"):
        calibration_error([0, 1], [0.2, 0.3], "spline")


def test_six_patients_have_every_measure():
    event, probability = [0, 0, 1, 0, 1, 1], [0.1, 0.4, 0.35, 0.8, 0.7, 0.9]

    assert np.isfinite(brier(event, probability, **BOOTSTRAP).lower)
    assert np.isfinite(recalibrate(event, probability, level=0.95).slope.value)
    assert np.isfinite(calibration_error(event, probability, "loess").mean)
    assert np.isfinite(calibration_error(event, probability, "lowess").maximum)
    assert hosmer_lemeshow(group_by_quantile(event, probability, 10), apparent=False).df == 6


@pytest.mark.parametrize(
    ("time", "event", "probability", "message"),
    [
        ([1, 2, 9], [0, 0, 1], [0.1, 0.2, 0.3], "needs an event by the horizon of 5: 0 of 3 patients had it"),
        ([1, 2, 3], [1, 0, 1], [0.1, 0.2, 0.3], "the risk by 5 is unknown: the longest follow-up is 3"),
        ([1, 2, 9], [1, 0, 1], [0.1, 0.2, 1.3], r"a probability lies between 0 and 1: 1 of 3 do not, such as 1\.3"),
        ([1, 2], [1, 0, 1], [0.1, 0.2, 0.3], r"one row of equal length, got \(2,\) and \(3,\)"),
        ([1, np.nan, 9], [1, 0, 1], [0.1, 0.2, 0.3], "every time must be a number of 0 or more"),
    ],
    ids=["no event", "short follow-up", "above 1", "unequal length", "no time"],
)
def test_risks_that_cannot_be_judged_are_refused(time, event, probability, message):
    with pytest.raises(ValueError, match=message):
        survival_by_group(time, event, probability, horizon=5.0, groups=2, level=0.95)
