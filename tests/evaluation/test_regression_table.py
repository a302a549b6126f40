import json

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from scipy.optimize import brentq, minimize

from oracle import cases, close
from radnet.evaluation.baseline.multiplicity import adjusted_p_values
from radnet.evaluation.regression.design import design
from radnet.evaluation.regression.fit import SeparationError, fit_cox, fit_logistic, likelihood_ratio
from radnet.evaluation.regression.table import fitted, multivariable_table, univariable_table

FILE = "10_table_one.json"
LOGISTIC = ["pima_te", "asah"]
COX = ["cox_lung", "cox_veteran", "cox_sim69_tied", "cox_univariable_s69"]


def of_r(*names, file=FILE):
    return cases(file, *names)


def model(case):
    outcome, terms = case["inputs"]["formula"].split(" ~ ")
    return pd.DataFrame(case["inputs"]["data"]), outcome, terms.split(" + ")


@of_r(*LOGISTIC)
def test_multivariable_odds_ratios_equal_glm(case):
    table, event, variables = model(case)
    theirs = case["outputs"]["multivariable"]

    ours = multivariable_table(table, variables, event=event).set_index("variable")

    for column, name in {
        "estimate": "OR",
        "lower": "OR_wald_lower",
        "upper": "OR_wald_upper",
        "p_value": "p_wald",
    }.items():
        close(ours[column], [theirs[name][variable] for variable in variables])
    close(ours["p_lrt"], theirs["lrt_drop1"]["p"])
    assert list(ours.index) == theirs["lrt_drop1"]["term"]
    assert (ours["n"] == theirs["n"]).all()


@of_r(*LOGISTIC)
def test_profile_intervals_equal_rs(case):
    table, event, variables = model(case)
    tight, interpolated = (
        case["outputs"]["multivariable"][key] for key in ("OR_profile_tight_own_uniroot", "OR_profile")
    )

    fit, _ = fitted(table, variables, event=event)
    ours = np.exp([fit.profile_interval(index, 0.95) for index in range(len(fit.names))])

    for place, side in enumerate(("lower", "upper")):
        close(ours[:, place], list(tight[side].values()))
        close(ours[:, place], list(interpolated[side].values()), rtol=1e-3)  # MASS interpolates a spline
    rows = multivariable_table(table, variables, event=event)
    close(rows[["profile_lower", "profile_upper"]], ours[1:])


@of_r(*LOGISTIC)
def test_fit_equals_glm_in_every_number(case):
    table, event, variables = model(case)
    theirs = case["outputs"]["multivariable"]

    fit, coded = fitted(table, variables, event=event)

    close(fit.coefficient, list(theirs["coef"].values()))
    close(fit.standard_error, list(theirs["se"].values()))
    close(fit.coefficient / fit.standard_error, list(theirs["z"].values()))
    close(fit.p_value, list(theirs["p_wald"].values()))
    close(np.exp(fit.wald_interval(0.95)[0]), list(theirs["OR_wald_lower"].values()))
    close([fit.log_likelihood, -2 * fit.log_likelihood], [theirs["logLik"], theirs["deviance"]])
    close([-2 * fit.log_likelihood_null, fit.aic, fit.bic], [theirs[key] for key in ("null_deviance", "aic", "bic")])
    chance = 1 / (1 + np.exp(-(fit.coefficient[0] + coded.X @ fit.coefficient[1:])))
    close(chance[:5], theirs["fitted_first5"])
    for variable, statistic in zip(theirs["lrt_drop1"]["term"], theirs["lrt_drop1"]["LRT"], strict=True):
        without = fit_logistic(table[event], coded.without(variable).X, coded.without(variable).names)
        close(likelihood_ratio(fit, without).chi2, statistic)


@of_r(*LOGISTIC)
def test_univariable_screen_equals_r(case):
    table, event, _ = model(case)
    theirs = case["outputs"]["univariable"]
    screen = pd.DataFrame(theirs["screen"])

    ours = univariable_table(table, case["inputs"]["screen_variables"], event=event)

    assert list(ours["variable"]) == list(screen["variable"])
    renamed = {"estimate": "OR", "lower": "wald_lower", "upper": "wald_upper", "p_value": "p_wald", "p_lrt": "p_lrt"}
    for column, name in renamed.items():
        # glm takes standard errors from the step before its last, which leaves the p-value of s100b 2.3e-6 off
        close(ours[column], screen[name], rtol=1e-5)
    assert (ours["n"] == screen["n"]).all()
    for method, name in {"BH": "p_BH", "holm": "p_holm", "bonferroni": "p_bonferroni"}.items():
        close(adjusted_p_values(ours["p_value"], method), theirs[name], rtol=1e-5)
    for bound in (0.05, 0.1):
        assert list(ours.loc[ours["p_value"] < bound, "variable"]) == theirs[f"selected_p_lt_{bound}"]


@of_r("separation")
def test_separation_is_said_where_r_warns(case):
    table, event, variables = model(case)
    assert "fitted probabilities numerically 0 or 1" in case["outputs"]["multivariable"]["warnings"][0]

    for ours in (univariable_table(table, variables, event=event), multivariable_table(table, variables, event=event)):
        assert list(ours["note"]) == ["separation: the odds ratio of x has no finite estimate"]
        assert ours[["estimate", "lower", "upper", "p_value"]].isna().all(axis=None)
    with pytest.raises(SeparationError, match="the odds ratio of x has no finite estimate"):
        fit_logistic(table[event], table[variables], variables)


@of_r(*COX, file="05_survival.json")
def test_hazard_ratios_equal_coxph(case):
    table, _, variables = model(case)
    theirs = case["outputs"]["efron"]

    ours = multivariable_table(table, variables, event="event", time="time").set_index("variable")

    for column, name in {"estimate": "hr", "lower": "hr_lower95", "upper": "hr_upper95", "p_value": "p"}.items():
        close(ours[column], [theirs[name][variable] for variable in variables])
    assert (ours["n_event"] == theirs["nevent"]).all()
    assert (ours["measure"] == "hazard_ratio").all()
    fit, _ = fitted(table, variables, event="event", time="time")
    close([fit.log_likelihood, fit.log_likelihood_null, fit.aic], [theirs[k] for k in ("loglik", "loglik_null", "aic")])
    close(
        likelihood_ratio(fit, fit_cox(table["time"], table["event"], np.zeros((len(table), 0)), [])).p_value,
        theirs["lrt"]["pvalue"],
    )


@of_r("cox_separation", file="05_survival.json")
def test_monotone_likelihood_is_said_where_r_warns(case):
    table, _, variables = model(case)

    ours = univariable_table(table, variables, event="event", time="time")

    assert list(ours["note"]) == ["separation: the hazard ratio of z has no finite estimate"]


@pytest.mark.parametrize("seed", range(2))
def test_profile_bounds_of_a_cox_model_are_where_the_likelihood_has_fallen_by_half_of_chi_square(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(30, 2))
    time, event = np.ceil(rng.exponential(4 * np.exp(-x[:, 0]))), rng.random(30) < 0.7

    def log_likelihood(beta):  # Efron's, written slowly
        risk, total = np.exp(x @ beta), 0.0
        for now in np.unique(time[event]):
            died = event & (time == now)
            total += (x[died] @ beta).sum()
            for place in range(died.sum()):
                total -= np.log(risk[time >= now].sum() - place / died.sum() * risk[died].sum())
        return total

    top = -minimize(lambda beta: -log_likelihood(beta), [0, 0], tol=1e-10).fun

    def fall(first):
        return (
            2 * (top + minimize(lambda b: -log_likelihood(np.array([first, b[0]])), [0], tol=1e-10).fun)
            - 3.841458820694124
        )

    fit = fit_cox(time, event, x, ["a", "b"])
    lower, upper = fit.profile_interval(0, 0.95)

    middle = fit.coefficient[0]
    # a slow minimum is exact to about 1e-8, and so are its roots
    assert lower == pytest.approx(brentq(fall, middle - 3, middle), rel=1e-5)
    assert upper == pytest.approx(brentq(fall, middle, middle + 3), rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_categories_stand_against_their_first_level_as_lifelines_has_it(seed):
    rng = np.random.default_rng(seed)
    stage = pd.Categorical(rng.choice(["II", "I", "III"], size=80), categories=["III", "I", "II"])
    table = pd.DataFrame(
        {"t": rng.exponential(size=80), "e": rng.random(80) < 0.7, "stage": stage, "x": rng.normal(size=80)}
    )
    coded = table.assign(one=stage == "I", two=stage == "II").drop(columns="stage").astype(float)
    theirs = CoxPHFitter().fit(coded, "t", "e", fit_options={"precision": 1e-12})

    ours = multivariable_table(table, ["stage", "x"], event="e", time="t").set_index(["variable", "level"])

    assert list(ours.index) == [("stage", "III"), ("stage", "I"), ("stage", "II"), ("x", "")]
    assert ours.loc[("stage", "III"), ["estimate", "note"]].tolist() == [1.0, "reference"]
    close(np.log(ours["estimate"].to_numpy()[1:].astype(float)), theirs.params_[["one", "two", "x"]], rtol=1e-5)
    assert ours.loc[("stage", "I"), "p_lrt"] == ours.loc[("stage", "II"), "p_lrt"]


def test_zhaos_crude_odds_ratios_follow_from_the_counts_of_table_one():
    # spec 7.3: lines .462, sites .351, visceral .459; counts of section 7.6, training: response by level
    for (first_nr, second_nr), (first_r, second_r), ratio in [
        ((31, 79), (28, 33), 0.462),
        ((46, 64), (41, 20), 0.351),
        ((42, 68), (35, 26), 0.459),
    ]:
        table = pd.DataFrame(
            {
                "r": [0] * (first_nr + second_nr) + [1] * (first_r + second_r),
                "x": [0] * first_nr + [1] * second_nr + [0] * first_r + [1] * second_r,
            }
        )
        row = univariable_table(table, ["x"], event="r").iloc[0]

        assert row["estimate"] == pytest.approx(ratio, abs=5e-4)
        woolf = np.sqrt(1 / first_nr + 1 / second_nr + 1 / first_r + 1 / second_r)
        assert row["upper"] == pytest.approx(row["estimate"] * np.exp(1.959963984540054 * woolf))


def test_units_change_a_ratio_and_nothing_else():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"y": rng.random(60) < 0.5, "x": rng.normal(size=60), "z": rng.normal(size=60)})
    here = multivariable_table(table, ["x", "z"], event="y")
    there = multivariable_table(table.assign(x=table["x"] * 1e9 + 5e9), ["x", "z"], event="y")

    close(there["p_value"], here["p_value"], rtol=1e-5)
    close(there["p_lrt"], here["p_lrt"], rtol=1e-5)
    close(1e9 * np.log(there["estimate"][0]), np.log(here["estimate"][0]), rtol=1e-5)


@pytest.mark.parametrize("kind", ["complete", "quasi-complete", "by two together"])
def test_every_separation_is_found_and_named(kind):
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 60))
    if kind == "complete":
        event, apart = a > 0.3, "a"
    elif kind == "quasi-complete":
        a = (rng.random(60) < 0.2).astype(float)
        event, apart = (a == 1) | (rng.random(60) < 0.4), "a"
    else:
        event, apart = a + 2 * b > 0.1, r"a \+ b"
    if kind != "by two together":
        event_of_b = rng.random(60) < 0.5
        fit_logistic(event_of_b, np.column_stack([a, b]), ["a", "b"])

    with pytest.raises(SeparationError, match=f"the odds ratio of {apart}"):
        fit_logistic(event, np.column_stack([a, b]), ["a", "b"])


def test_monotone_cox_likelihood_is_found_among_covariates_and_ties():
    rng = np.random.default_rng(5)
    risk, noise = rng.normal(size=(2, 40))
    time = np.argsort(np.argsort(-risk)) // 2 + 1.0  # the two highest risks at risk have the event together
    fit_cox(rng.permutation(time), np.ones(40), np.column_stack([risk, noise]), ["risk", "noise"])

    grouped = np.ceil(-time)  # equal within a tie, so each tie's patients are the highest of those at risk
    with pytest.raises(SeparationError, match="the hazard ratio of group"):
        fit_cox(time, np.ones(40), np.column_stack([grouped, noise]), ["group", "noise"])


def test_a_separated_variable_keeps_its_row_and_the_screen_goes_on():
    table = pd.DataFrame({"y": [0, 0, 0, 1, 1, 1], "apart": [1, 2, 3, 4, 5, 6], "x": [1, 2, 1, 2, 1, 1], "c": 1})

    ours = univariable_table(table, ["apart", "x", "c"], event="y").set_index("variable")

    assert ours.loc["apart", "note"].startswith("separation")
    assert ours.loc["c", "note"] == "a model needs covariates that differ between patients; these do not: c"
    assert np.isfinite(ours.loc["x", "estimate"])


def test_missing_values_leave_out_patients_and_n_says_so():
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"y": rng.random(50) < 0.5, "x": rng.normal(size=50), "z": rng.normal(size=50)})
    table.loc[:4, "x"] = np.nan

    assert list(univariable_table(table, ["x", "z"], event="y")["n"]) == [45, 50]
    assert list(multivariable_table(table, ["x", "z"], event="y")["n"]) == [45, 45]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": 1}, "event: both classes are needed: 6 of 6 had the event"),
        ({"y": 2}, "every event must be 0 or 1"),
        ({"z": [1, 2, 3, 4, 5, 7]}, "covariates follow from each other"),
        ({"z": np.inf}, "complete and finite covariates; these are not: z"),
        ({"z": np.nan}, "no patient has all of x, z, y"),
    ],
    ids=["one class", "no event", "collinear", "infinite", "all missing"],
)
def test_a_model_that_cannot_be_fitted_is_refused(change, message):
    table = pd.DataFrame({"y": [0, 1, 0, 1, 0, 1], "x": [1, 2, 3, 4, 5, 7.0], "z": 0.0}).assign(**change)
    with pytest.raises(ValueError, match=message):
        multivariable_table(table, ["x", "z"], event="y")


def test_a_cox_model_needs_an_event_a_time_and_patients_who_differ_at_it():
    with pytest.raises(ValueError, match="a Cox model needs an event: 0 of 3 had it"):
        fit_cox([1, 2, 3], [0, 0, 0], [[1.0], [2.0], [4.0]], ["x"])
    with pytest.raises(ValueError, match="every patient needs a time of 0 or more"):
        fit_cox([1, -2, 3], [0, 1, 0], [[1.0], [2.0], [4.0]], ["x"])
    with pytest.raises(ValueError, match="nothing can be told of x: nobody at risk differs"):
        fit_cox([1, 2, 3], [0, 1, 1], [[1.0], [2.0], [2.0]], ["x"])


def test_columns_and_variables_are_checked_before_a_fit():
    table = pd.DataFrame({"y": [0, 1], "x": ["a", None]})
    with pytest.raises(ValueError, match="the table has no column z; it has y, x"):
        univariable_table(table, ["z"], event="y")
    with pytest.raises(ValueError, match="needs a variable, but none is named"):
        univariable_table(table, [], event="y")
    with pytest.raises(ValueError, match="x: 1 of 2 values are missing"):
        design(table, ["x"])


def test_models_of_different_patients_are_not_compared():
    rng = np.random.default_rng(0)
    y, x = rng.random(20) < 0.5, rng.normal(size=(20, 1))
    with pytest.raises(ValueError, match="models must be of the same patients, got 20 and 19"):
        likelihood_ratio(fit_logistic(y, x, ["x"]), fit_logistic(y[1:], x[1:], ["x"]))


def test_oracle_file_holds_no_logistic_case_left_out(shared):
    cases = json.loads((shared / "oracles" / FILE).read_text(encoding="utf-8"))["cases"]

    assert {case["id"] for case in cases if case["inputs"]["kind"] == "logistic"} == {*LOGISTIC, "separation"}


@pytest.mark.parametrize("seed", range(30))
def test_a_tiny_model_is_separated_or_has_an_interval_about_its_estimate(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(6, 14))
    x, event = rng.integers(0, 3, size=(n, 2)).astype(float), np.arange(n) % 3 == 0
    time = rng.integers(1, 6, n)
    for fit in (lambda: fit_logistic(event, x, ["a", "b"]), lambda: fit_cox(time, event, x, ["a", "b"])):
        try:
            fitted_model = fit()
        except SeparationError:
            continue

        index = len(fitted_model.names) - 1
        lower, upper = fitted_model.profile_interval(index, 0.95)
        assert lower < fitted_model.coefficient[index] < upper
        np.testing.assert_allclose(fitted_model.likelihood(fitted_model.coefficient)[1], 0, atol=1e-6)
