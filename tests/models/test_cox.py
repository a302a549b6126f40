import json
import warnings
from time import perf_counter

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops.io import dumps, get_untrusted_types, loads

from oracle import close
from radnet.models.cox import CoxRegression, UnivariableCox, univariable_cox
from survival_oracle import COX, MARKERS, arrays, of_cox, of_r


@pytest.fixture
def case(request, shared):
    """A case computed by R, asked for as (file, id)."""
    file, name = request.param
    cases = json.loads((shared / "oracles" / file).read_text(encoding="utf-8"))["cases"]
    found = next(case for case in cases if case["id"] == name)
    found["inputs"] |= {
        key: [np.nan if one is None else one for one in values]
        for key, values in found["inputs"].items()
        if isinstance(values, list)
    }
    return found


def outcome(event, time):
    y = np.empty(len(time), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = event, time
    return y


def simulated(seed, n=80, p=3, tied=True):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, p)), columns=[f"f{column}" for column in range(p)])
    time = rng.exponential(20 * np.exp(-0.7 * X["f0"]))
    return X, rng.random(n) < 0.7, np.ceil(time) if tied else time


def of_lifelines(X, event, time):
    """Coefficients and standard errors, sought to machine precision."""
    table = pd.DataFrame(X).assign(event=np.asarray(event, dtype=float), time=np.asarray(time))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = CoxPHFitter().fit(table, "time", "event", fit_options={"precision": 1e-12})
    return fit.params_.to_numpy(), fit.standard_errors_.to_numpy()


@of_r(*COX)
def test_cox_regression_equals_coxph(case):
    time, event, X, names = of_cox(case)
    theirs = case["outputs"]["efron"]

    model = CoxRegression().fit(pd.DataFrame(X, columns=names), outcome(event, time))

    close(model.coef_, [theirs["coef"][name] for name in names])
    close(model.standard_error_, [theirs["se"][name] for name in names])
    assert list(model.feature_names_in_) == names


@of_r("cox_separation")
def test_a_coefficient_that_coxph_lets_run_away_is_refused(case):
    time, event, X, names = of_cox(case)
    assert case["outputs"]["efron"]["se"]["z"] > 1e6

    with pytest.raises(ValueError, match="the hazard ratio of feature z is infinite or 0"):
        CoxRegression().fit(pd.DataFrame(X, columns=names), outcome(event, time))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "distinct"])
def test_cox_regression_equals_lifelines(seed, tied):
    X, event, time = simulated(seed, p=6, tied=tied)
    coefficient, error = of_lifelines(X, event, time)

    model = CoxRegression().fit(X, outcome(event, time))

    close(model.coef_, coefficient)
    close(model.standard_error_, error)


def test_a_hazard_ratio_of_two_groups_is_the_one_worked_by_hand():
    # h/(2h + 2) · 1/(h + 2) · h/(h + 1) is largest where h² = h + 4
    model = CoxRegression().fit([[1], [0], [1], [0]], outcome([1, 1, 1, 0], [1, 2, 3, 4]))

    close(np.exp(model.coef_), [(1 + np.sqrt(17)) / 2])


def test_a_hazard_ratio_of_tied_events_is_the_one_worked_by_hand():
    # Efron: h/(h + 2) · 1/(h + 2 - (h + 1)/2) is largest where h² = 6
    model = CoxRegression().fit([[1], [0], [0]], outcome([1, 1, 0], [1, 1, 2]))

    close(np.exp(model.coef_), [np.sqrt(6)])


def test_shifts_and_units_of_features_and_time_change_only_the_unit_of_a_coefficient():
    X, event, time = simulated(0)
    model = CoxRegression().fit(X, outcome(event, time))

    changed = CoxRegression().fit(1e3 + X * [1e-3, 1.0, 1e4], outcome(event, time * 30.4))

    close(changed.coef_ * [1e-3, 1.0, 1e4], model.coef_)
    close(changed.standard_error_ * [1e-3, 1.0, 1e4], model.standard_error_)


def test_the_score_is_that_of_lifelines_whose_zero_is_the_mean_of_those_learned_from():
    X, event, time = simulated(1)
    X = X.assign(f0=X["f0"] + 60)
    peer = CoxPHFitter().fit(X.assign(event=event, time=time), "time", "event")

    model = CoxRegression().fit(X, outcome(event, time))

    np.testing.assert_allclose(model.predict(X + 1), peer.predict_log_partial_hazard(X + 1), atol=1e-6)


@pytest.mark.parametrize("prior_sd", [None, 2.5])
def test_a_score_does_not_change_with_the_year_that_age_is_counted_from(prior_sd):
    X, event, time = simulated(1)
    score = CoxRegression(prior_sd).fit(X, outcome(event, time)).predict(X)

    later = CoxRegression(prior_sd).fit(X + 1900.0, outcome(event, time)).predict(X + 1900.0)

    np.testing.assert_allclose(later, score, atol=1e-9)


def test_an_outcome_may_be_a_table():
    X, event, time = simulated(1)

    model = CoxRegression().fit(X, pd.DataFrame({"event": event, "time": time}))

    np.testing.assert_array_equal(model.coef_, CoxRegression().fit(X, outcome(event, time)).coef_)


def test_who_left_before_the_first_event_changes_nothing():
    X, event, time = simulated(2)
    early = pd.DataFrame({"f0": [1e6, -5.0], "f1": [0.0, 1.0], "f2": [1.0, 0.0]})
    after = time + 1

    model = CoxRegression().fit(pd.concat([early, X]), outcome(np.append([0, 0], event), np.append([0.5, 0.6], after)))

    np.testing.assert_array_equal(model.coef_, CoxRegression().fit(X, outcome(event, after)).coef_)


@pytest.mark.parametrize(
    ("X", "event", "message"),
    [
        ([[0], [1], [2], [3]], [0, 0, 0, 0], "a Cox model needs an event, but the rows it learns from have none"),
        ([[0, 1], [1, 0], [2, 2], [3, 1]], [0, 1, 0, 0], "1 events meet 2 features: select fewer"),
        ([[0, 7], [1, 7], [5, 7], [3, 7]], [1, 1, 1, 0], "features that differ among those at risk of an event: fea"),
        ([[9], [1], [1], [1]], [0, 1, 1, 0], "differ among those at risk of an event: feature 0 not"),
        ([[9], [8], [1], [2]], [1, 1, 0, 0], "the hazard ratio of feature 0 is infinite or 0"),
        ([[1], [2], [3], [9]], [1, 1, 1, 0], "the hazard ratio of feature 0 is infinite or 0"),
        ([[0, 0], [1, 2], [5, 10], [3, 6]], [1, 1, 1, 0], "that follow from one another: feature 0, feature 1"),
        ([[0], [1], [np.nan], [3]], [1, 1, 1, 0], "feature 0 is nan in row 2: a Cox regression needs numbers"),
    ],
    ids=["no event", "few events", "constant", "alike at events", "infinite", "zero", "collinear", "missing"],
)
def test_what_has_no_finite_estimate_is_refused_by_name(X, event, message):
    with pytest.raises(ValueError, match=message):
        CoxRegression().fit(X, outcome(event, [1, 2, 3, 4]))


def test_features_that_foretell_every_event_only_together_are_refused():
    X, event, time = simulated(3, n=40, tied=False)
    X["f1"] = -np.log(time) - X["f0"]  # the sum of the two falls with time, neither does so alone
    assert np.isfinite(univariable_cox(X, event, time)).all()

    with pytest.raises(ValueError, match="the hazard ratio of feature f0, feature f1 is infinite or 0"):
        CoxRegression().fit(X, outcome(event, time))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.ones(4), "expected a table or structured array with numbers in time and event"),
        (outcome([1, 1], [1, 2]), r"expected a time and an event for each of 4 rows, got \(2,\), \(2,\)"),
        (outcome([1, 1, 0, 0], [1, 2, 0, 4]), "expected times above 0"),
        ({"event": [1, 2, 0, 0], "time": [1, 2, 3, 4]}, "expected events of 0 or 1"),
    ],
)
@pytest.mark.parametrize("estimator", [CoxRegression(), UnivariableCox(0.05)], ids=["regression", "selection"])
def test_an_outcome_without_event_and_time_is_refused(estimator, y, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit([[0.0], [1.0], [5.0], [3.0]], y)


@pytest.mark.parametrize("seed", range(3))
def test_features_fitted_one_by_one_equal_lifelines(seed):
    X, event, time = simulated(seed, p=5)
    theirs = [of_lifelines(X[[name]], event, time) for name in X]

    coefficient, error = univariable_cox(X, event, time)

    close(coefficient, [one[0][0] for one in theirs])
    close(error, [one[1][0] for one in theirs])


@of_r("cox_univariable_s69")
def test_a_feature_fitted_alone_equals_coxph(case):
    time, event, X, _ = of_cox(case)
    theirs = case["outputs"]["efron"]

    coefficient, error = univariable_cox(X, event, time)

    close([coefficient[0], error[0]], [theirs["coef"]["x"], theirs["se"]["x"]])


@of_r(*MARKERS)
def test_a_marker_fitted_alone_equals_lifelines(case):
    time, event, marker = arrays(case, "time", "event", "marker")
    coefficient, error = of_lifelines({"marker": marker}, event, time)

    ours = univariable_cox(marker[:, None], event, time)

    close(np.ravel(ours), [coefficient[0], error[0]])


def test_a_feature_is_fitted_the_same_alone_as_among_others():
    X, event, time = simulated(4, p=30)

    together = univariable_cox(X, event, time)

    for column in range(30):
        close(np.ravel(univariable_cox(X.iloc[:, [column]], event, time)), [part[column] for part in together], 1e-12)


def test_a_feature_that_tells_nothing_or_everything_has_no_finite_coefficient():
    time = np.arange(1.0, 9.0)
    X = np.column_stack([np.full(8, 3.0), -time, time, time == 1, [0, 1, 0, 1, 1, 0, 0, 1]])

    coefficient, error = univariable_cox(X, [1, 1, 0, 1, 1, 1, 0, 1], time)

    np.testing.assert_array_equal(coefficient[:4], [np.nan, np.inf, -np.inf, np.inf])
    np.testing.assert_array_equal(error[:4], [np.nan, np.inf, np.inf, np.inf])
    assert np.isfinite([coefficient[4], error[4]]).all()


def test_heavy_tails_of_radiomics_features_do_not_stop_a_fit():
    rng = np.random.default_rng(0)
    X = rng.lognormal(0, 3, size=(140, 900))
    event, time = rng.random(140) < 0.6, np.ceil(rng.exponential(20, size=140))

    start = perf_counter()
    coefficient, error = univariable_cox(X, event, time)

    assert perf_counter() - start < 5  # 0.06 s where it was written; far more means that features are looped over
    for column in np.argsort(X.max(axis=0) / X.std(axis=0))[-3:]:  # the most extreme, in units a search can bear
        scale = X[:, column].std()
        theirs = of_lifelines(X[:, [column]] / scale, event, time)
        close([coefficient[column] * scale, error[column] * scale], np.ravel(theirs), rtol=1e-5)


def test_features_with_a_small_p_value_of_wald_are_kept():
    X, event, time = simulated(0, p=40)
    theirs = np.array([of_lifelines(X[[name]], event, time) for name in X])[:, :, 0]
    passes = np.abs(theirs[:, 0] / theirs[:, 1]) > 1.6448536269514722  # the 95th percentile of a normal distribution
    assert 1 < passes.sum() < 20

    selector = UnivariableCox(p_value=0.1).fit(X, outcome(event, time))

    np.testing.assert_array_equal(selector.get_support(), passes)
    assert list(selector.transform(X).T[0]) == list(X.loc[:, passes].iloc[:, 0])
    assert selector.note_ == ""


@of_r("cox_univariable_s69")
def test_the_p_value_of_a_feature_equals_coxph(case):
    time, event, X, names = of_cox(case)

    selector = UnivariableCox(p_value=0.001).fit(pd.DataFrame(X, columns=names), outcome(event, time))

    close(selector.p_values_, [case["outputs"]["efron"]["p"]["x"]])
    assert selector.get_support().tolist() == [True]


def test_where_no_feature_passes_the_best_is_kept_alone_and_a_note_says_so():
    X, event, time = simulated(0, p=5)
    X["constant"], X["perfect"] = 1.0, -time

    selector = UnivariableCox(p_value=1e-12).fit(X, outcome(event, time))

    assert list(selector.get_feature_names_out()) == ["f0"]  # the one that the simulation has act
    assert selector.note_.startswith(
        "none of 7 features has p < 1e-12 in univariable Cox regression: feature f0 was kept alone (p = "
    )


def test_features_none_of_which_has_a_p_value_are_refused():
    with pytest.raises(ValueError, match="none of 2 features has a finite hazard ratio"):
        UnivariableCox(0.05).fit([[1, 4], [1, 3], [1, 2], [1, 1]], outcome([1, 1, 1, 0], [1, 2, 3, 4]))


@pytest.mark.parametrize("p_value", [0, -0.1, 1.5, np.nan])
def test_a_p_value_is_a_probability(p_value):
    with pytest.raises(ValueError, match="p_value must lie above 0 and up to 1"):
        UnivariableCox(p_value).fit([[1], [2]], outcome([1, 1], [1, 2]))


def test_a_saved_pipeline_scores_alike_and_holds_no_object_of_a_library_beside_ours():
    X, event, time = simulated(5, p=10)
    steps = clone(make_pipeline(StandardScaler(), UnivariableCox(p_value=0.3), CoxRegression()))
    steps.fit(X, outcome(event, time))

    file = dumps(steps)

    ours = ["radnet.models.cox.CoxRegression", "radnet.models.cox.UnivariableCox"]
    assert set(get_untrusted_types(data=file)) <= {*ours, "numpy.dtype"}
    np.testing.assert_array_equal(loads(file, trusted=[*ours, "numpy.dtype"]).predict(X), steps.predict(X))


@pytest.mark.parametrize("prior_sd", [0.3, 2.5])
def test_a_prior_gives_the_top_of_the_likelihood_less_its_penalty(prior_sd):
    X, event, time = _rare(seed=1)

    model = CoxRegression(prior_sd).fit(X, outcome(event, time))

    def lost(per_sd):
        log_hazard = X @ (per_sd / X[time >= time[event].min()].std(axis=0))
        followed = [log_hazard[time >= one] for one in time[event]]  # no two times are equal
        likelihood = log_hazard[event].sum() - sum(np.log(np.exp(one).sum()) for one in followed)
        return -likelihood + 0.5 * (per_sd**2).sum() / prior_sd**2

    best = minimize(lost, np.zeros(X.shape[1]), method="BFGS", options={"gtol": 1e-9})
    close(model.coef_ * X[time >= time[event].min()].std(axis=0), best.x, rtol=1e-4, atol=1e-5)


def test_a_prior_keeps_finite_what_runs_to_infinity_and_gives_what_never_varies_no_weight():
    X, event, time = _rare(seed=2)
    with pytest.raises(ValueError, match="infinite or 0"):
        CoxRegression().fit(X, outcome(event, time))

    model = CoxRegression(prior_sd=2.5).fit(np.column_stack([X, np.ones(len(X))]), outcome(event, time))

    assert np.isfinite(model.coef_).all()
    assert model.coef_[0] < 0  # nobody of the rare kind had the event
    assert model.coef_[-1] == 0


def _rare(seed):
    """Patients of a rare kind, none of whom has the event."""
    rng = np.random.default_rng(seed)
    rare = (np.arange(60) < 6).astype(float)
    event = (rng.random(60) < 0.5) & (rare == 0)
    return np.column_stack([rare, rng.normal(size=60)]), event, rng.permutation(60) + 1.0
