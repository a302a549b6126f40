import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from scipy.optimize import minimize_scalar

from oracle import close
from radnet.evaluation.survival.concordance import harrell
from radnet.evaluation.survival.proportional_hazards import cox, cumulative_hazard, hazard_ratio
from survival_oracle import COX, of_cox, of_r

TIES = pytest.mark.parametrize("ties", ["efron", "breslow"])


@TIES
@of_r(*COX)
def test_cox_model_equals_coxph(case, ties):
    time, event, covariates, names = of_cox(case)
    theirs = case["outputs"][ties]

    fit = cox(time, event, covariates, ties)

    ratios = fit.hazard_ratios(0.95)
    close(fit.coefficient, [theirs["coef"][name] for name in names])
    close(fit.standard_error, [theirs["se"][name] for name in names])
    close(fit.coefficient / fit.standard_error, [theirs["z"][name] for name in names])
    close([ratio.value for ratio in ratios], [theirs["hr"][name] for name in names])
    close([ratio.lower for ratio in ratios], [theirs["hr_lower95"][name] for name in names])
    close([ratio.upper for ratio in ratios], [theirs["hr_upper95"][name] for name in names])
    close([ratio.p_value for ratio in ratios], [theirs["p"][name] for name in names])
    close([fit.log_likelihood_null, fit.log_likelihood], [theirs["loglik_null"], theirs["loglik"]])
    close(fit.aic, theirs["aic"])
    assert (fit.n, fit.n_event) == (theirs["n"], theirs["nevent"])


@TIES
@of_r(*COX)
def test_three_tests_of_a_cox_model_equal_coxph(case, ties):
    time, event, covariates, _ = of_cox(case)
    theirs = case["outputs"][ties]

    fit = cox(time, event, covariates, ties)

    close(fit.likelihood_ratio_test.chi2, theirs["lrt"]["test"])
    close(fit.score_test.chi2, theirs["score"]["test"])
    assert round(fit.wald_test.chi2, 2) == theirs["wald"]["test"]  # R's summary rounds it
    for ours, name in ((fit.likelihood_ratio_test, "lrt"), (fit.wald_test, "wald"), (fit.score_test, "score")):
        close([ours.df, ours.p_value], [theirs[name]["df"], theirs[name]["pvalue"]])


@TIES
@of_r(*COX)
def test_baseline_hazard_and_concordance_of_a_cox_model_equal_r(case, ties):
    time, event, covariates, _ = of_cox(case)
    theirs = case["outputs"][ties]
    fit = cox(time, event, covariates, ties)

    at, hazard = cumulative_hazard(time, event, covariates, fit.coefficient, ties)
    order = harrell(time, event, covariates @ fit.coefficient)

    listed = len(theirs["baseline_cumhaz"]["time"])  # R's first rows
    close(at[:listed], theirs["baseline_cumhaz"]["time"])
    close(hazard[:listed], theirs["baseline_cumhaz"]["hazard"])
    close([order.value, order.standard_error], [theirs["concordance"], theirs["concordance_se"]])


@of_r("cox_univariable_s69")
def test_hazard_ratio_equals_coxph_with_efrons_ties(case):
    data, theirs = case["inputs"]["data"], case["outputs"]["efron"]

    ratio = hazard_ratio(data["time"], data["event"], data["x"], level=0.95)

    close(ratio.value, theirs["hr"]["x"])
    close([ratio.lower, ratio.upper], [theirs["hr_lower95"]["x"], theirs["hr_upper95"]["x"]])
    close(ratio.p_value, theirs["p"]["x"])


@of_r("cox_separation")
def test_infinite_hazard_ratio_is_refused_where_r_diverges(case):
    data = {name: np.array(values) for name, values in case["inputs"]["data"].items()}
    assert "coefficient may be infinite" in case["outputs"]["efron"]["warnings"][0]

    with pytest.raises(ValueError, match="the hazard ratio is infinite: at each event the highest of those at risk"):
        hazard_ratio(data["time"], data["event"], data["z"], level=0.95)
    with pytest.raises(ValueError, match="the hazard ratio is 0: at each event the lowest of those at risk"):
        hazard_ratio(data["time"], data["event"], -data["z"], level=0.95)
    covariates = np.column_stack([[1, 2, 1, 2, 1, 2, 1, 2], data["z"]])
    with pytest.raises(ValueError, match=r"covariate 1 \(from 0\) is infinite or 0"):
        cox(data["time"], data["event"], covariates)


@pytest.mark.parametrize("binary", [True, False], ids=["groups", "score"])
@pytest.mark.parametrize("seed", range(3))
def test_hazard_ratio_with_ties_maximises_efrons_likelihood_written_slowly(seed, binary):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=40)
    time, event = np.ceil(rng.exponential(4 * np.exp(-score / 2))), rng.random(40) < 0.7
    covariate = (score > 0).astype(float) if binary else score

    def minus_log_likelihood(beta):
        total = 0.0
        for now in np.unique(time[event]):
            died, risk = event & (time == now), np.exp(beta * covariate)
            total += beta * covariate[died].sum()
            for place in range(died.sum()):
                total -= np.log(risk[time >= now].sum() - place / died.sum() * risk[died].sum())
        return -total

    best = minimize_scalar(minus_log_likelihood, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9}).x

    # the minimum of a function is known to about the square root of its rounding
    assert hazard_ratio(time, event, covariate, level=0.95).value == pytest.approx(np.exp(best), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_cox_model_equals_lifelines_whatever_the_unit_and_place_of_the_covariates(seed):
    rng = np.random.default_rng(seed)
    covariates = rng.normal(size=(80, 3)) * [1e-3, 1, 1e4] + [0, 5, 1e6]
    time, event = np.ceil(rng.exponential(8, size=80)), rng.random(80) < 0.6
    frame = pd.DataFrame(covariates, columns=list("abc")).assign(time=time, event=event)
    scaled = frame.assign(a=frame["a"] * 1e3, c=(frame["c"] - 1e6) / 1e4)  # lifelines needs help with the units
    theirs = CoxPHFitter().fit(scaled, "time", "event", fit_options={"precision": 1e-12})

    fit = cox(time, event, covariates)

    close(fit.coefficient * [1e-3, 1, 1e4], theirs.params_.to_numpy())
    close(fit.standard_error * [1e-3, 1, 1e4], theirs.standard_errors_.to_numpy())


def test_hazard_ratio_of_groups_all_but_separated_has_a_finite_estimate():
    time, event = np.arange(1.0, 41), np.ones(40)
    high = np.arange(40) < 20
    high[[19, 20]] = high[[20, 19]]

    ratio = hazard_ratio(time, event, high, level=0.95)

    assert 1 < ratio.lower < ratio.value < np.inf


def test_hazard_ratio_needs_patients_who_differ():
    with pytest.raises(ValueError, match="a hazard ratio needs patients who differ while somebody has the event"):
        hazard_ratio([1, 2, 3], [1, 1, 0], [1, 1, 1], level=0.95)


@pytest.mark.parametrize(
    ("event", "covariates", "message"),
    [
        ([0, 0, 0, 0], [[1], [2], [3], [1]], "a Cox model needs an event: 0 of 4 had it"),
        ([1, 1, 1, 0], [[1, 2], [3, 6], [2, 4], [5, 10]], "covariates that differ, and not as one another do"),
        ([1, 1, 1, 0], [[1, 7], [3, 7], [2, 7], [5, 7]], "covariates that differ, and not as one another do"),
        ([1, 1, 1, 0], [[1], [np.nan], [2], [4]], "1 of 4 patients miss a covariate"),
        ([1, 1, 1, 0], [1, 2, 3, 4], r"covariates must be 4 patients × columns, got \(4,\)"),
    ],
    ids=["no event", "collinear", "constant", "missing", "flat"],
)
def test_covariates_that_cannot_be_fitted_are_refused(event, covariates, message):
    with pytest.raises(ValueError, match=message):
        cox([1, 2, 3, 4], event, covariates)


def test_ties_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="ties are handled by efron or breslow, got 'exact'"):
        cox([1, 2, 3], [1, 1, 0], [[1], [3], [2]], ties="exact")
