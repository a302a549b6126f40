import json

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.special import expit
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from radnet.models.elastic_net import ElasticNetLogistic
from radnet.models.mixed import LogisticMixedModel, obstacle_to_mixed_model, patient_weights

WELL_POSED = ["lesions236_85patients", "lesions236_one_feature", "cbpp"]
NODES = [1, 10, 25]


@pytest.fixture
def case(request, shared):
    cases = json.loads((shared / "oracles" / "09_glmm.json").read_text(encoding="utf-8"))["cases"]
    return next(case for case in cases if case["id"] == request.param)


def inputs(case):
    """Design, outcome and groups of a case; aggregated counts become one row per animal."""
    rows = pd.DataFrame(case["inputs"]["data"])
    if "herd" in rows:
        rows = rows.loc[rows.index.repeat(rows["size"])].rename(columns={"herd": "patient"})
        rows["y"] = (rows.groupby(level=0).cumcount() < rows["incidence"]).astype(int)
    terms = [term.strip() for term in case["inputs"]["formula"].split("~")[1].split("+ (1")[0].split("+")]
    columns = {}
    for term in filter(None, terms):
        levels = case["inputs"]["factor_levels"].get(term)
        columns |= {term: rows[term]} if levels is None else {term + x: rows[term] == x for x in levels[1:]}
    return pd.DataFrame(columns).astype(float), rows["y"].to_numpy(), rows["patient"].to_numpy()


def effects(model):
    return np.append(model.intercept_, model.coef_[0])


def values(mapping):
    return np.array(list(mapping.values()))


def cohort(seed, patients=30, sd=1.0):
    """Lesions with a patient effect: covariates, outcome and patient."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, 8, patients))
    X = rng.normal(size=(patient.size, 2)) * [1.0, 30.0] + [0.0, 200.0]
    odds = -0.5 + X @ [0.8, -0.02] + 4 + sd * rng.normal(size=patients)[patient]
    return X, (rng.random(patient.size) < expit(odds)).astype(int), np.array([f"P{one:03d}" for one in patient])


# lme4


@pytest.mark.parametrize("nodes", NODES)
@pytest.mark.parametrize("case", WELL_POSED, indirect=True)
def test_estimates_are_those_of_the_likelihood_maximised_in_r(case, nodes):
    expected = case["outputs"]["independent_base_R_laplace" if nodes == 1 else f"independent_base_R_AGQ{nodes}"]

    model = LogisticMixedModel(nodes).fit(*inputs(case))

    assert model.converged_
    assert model.identifiable_
    assert not model.singular_
    np.testing.assert_allclose(effects(model), values(expected["fixef"]), rtol=1e-6)
    np.testing.assert_allclose(model.variance_, expected["re_variance"], rtol=1e-6)
    np.testing.assert_allclose(model.log_likelihood_, expected["logLik_without_binomial_constant"], rtol=1e-12)
    if "se_observed_information" in expected:
        np.testing.assert_allclose(model.standard_error_, values(expected["se_observed_information"]), rtol=1e-6)


@pytest.mark.parametrize("nodes", [1, 10])
@pytest.mark.parametrize("case", WELL_POSED, indirect=True)
def test_the_model_is_that_of_glmer(case, nodes):
    expected = case["outputs"]["laplace_nAGQ1" if nodes == 1 else "nAGQ10"]
    X, y, patient = inputs(case)
    counted = "size" in case["inputs"]["data"]
    # An animal of a count shares its row with others, and lme4 keeps one value per row.
    first = np.flatnonzero(~X.assign(patient=patient).duplicated()) if counted else np.arange(len(X))

    model = LogisticMixedModel(nodes).fit(X, y, patient)

    table = model.fixed_effects()
    names = pd.Index(expected["ranef_levels_first10"])
    order = pd.Index(model.patients_).get_indexer(names)
    # Its optimiser is reliable to 1e-5, its standard errors (differences of the likelihood) to 1e-4.
    np.testing.assert_allclose(effects(model), values(expected["fixef"]), rtol=2e-5)
    np.testing.assert_allclose(table["standard_error"], values(expected["se"]), rtol=1e-4)
    np.testing.assert_allclose(table["z"], values(expected["z"]), rtol=1e-4)
    np.testing.assert_allclose(table["p_value"], values(expected["p"]), rtol=1e-3)
    np.testing.assert_allclose(model.covariance_, expected["vcov"]["rows"], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(model.variance_, expected["re_variance"], rtol=1e-5)
    np.testing.assert_allclose(model.latent_icc_, expected["icc_latent"], rtol=1e-5)
    np.testing.assert_allclose(model.fitted_[first][:20], expected["fitted_conditional_first20"], rtol=1e-5)
    np.testing.assert_allclose(model.fitted_[first].sum(), expected["fitted_conditional_sum"], rtol=1e-6)
    np.testing.assert_allclose(model.predict_proba(X)[first][:20, 1], expected["pred_population_first20"], rtol=1e-5)
    np.testing.assert_allclose(model.patient_intercept_[order], expected["ranef_mode_first10"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.patient_intercept_variance_[order], expected["ranef_cond_var_first10"], rtol=1e-5)
    if not counted:  # of counts lme4 adds a constant, and counts rows for BIC
        np.testing.assert_allclose(model.log_likelihood_, expected["logLik"], atol=1e-6)
        np.testing.assert_allclose([model.aic_, model.bic_], [expected["AIC"], expected["BIC"]], atol=1e-6)


@pytest.mark.parametrize("case", ["lesions236_85patients", "lesions236_one_feature"], indirect=True)
def test_the_exact_likelihood_and_that_without_intercepts_are_those_of_r(case):
    expected = case["outputs"]

    model = LogisticMixedModel(10).fit(*inputs(case))

    integrated = expected["exact_marginal_loglik_by_integrate_at_nAGQ10_estimates"]
    np.testing.assert_allclose(model.log_likelihood_exact_, integrated, atol=1e-9)
    np.testing.assert_allclose(model.log_likelihood_fixed_, expected["glm_no_random_effect"]["logLik"], atol=1e-9)
    ratio = 2 * (model.log_likelihood_ - model.log_likelihood_fixed_)
    np.testing.assert_allclose(ratio, expected["re_lrt_vs_glm_nAGQ10"], atol=1e-8)


@pytest.mark.parametrize("nodes", NODES)
@pytest.mark.parametrize("case", ["no_clustering_singular"], indirect=True)
def test_without_clustering_the_fit_is_singular_and_the_plain_logistic_model(case, nodes):
    expected = case["outputs"]
    X, y, patient = inputs(case)

    model = LogisticMixedModel(nodes).fit(X, y, patient)

    assert model.singular_
    assert model.converged_
    assert model.variance_ == 0
    assert not model.patient_intercept_.any()
    np.testing.assert_allclose(effects(model), values(expected["glm_no_random_effect"]["coef"]), rtol=1e-7)
    np.testing.assert_allclose(model.log_likelihood_, expected["glm_no_random_effect"]["logLik"], rtol=1e-12)
    np.testing.assert_allclose(model.standard_error_, values(expected["nAGQ10"]["se"]), rtol=1e-6)
    np.testing.assert_allclose([model.aic_, model.bic_], [expected["nAGQ10"][name] for name in ("AIC", "BIC")])
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X, patient))


@pytest.mark.parametrize("nodes", NODES)
@pytest.mark.parametrize("case", ["patient_constant_outcome"], indirect=True)
def test_one_outcome_per_patient_is_told_and_not_called_converged(case, nodes):
    X, y, patient = inputs(case)

    with pytest.warns(ConvergenceWarning, match="no patient has lesions of both outcomes"):
        model = LogisticMixedModel(nodes).fit(X, y, patient)

    assert not model.converged_
    assert not model.identifiable_
    assert "nothing bounds the variance" in model.obstacle_
    assert obstacle_to_mixed_model(X, y, patient) == model.obstacle_
    assert model.variance_ > 100
    assert np.isfinite(model.predict_proba(X)).all()


# The definition


@pytest.mark.parametrize("seed", range(3))
def test_the_likelihood_is_the_integral_over_each_patient(seed):
    X, y, patient = cohort(seed, patients=12)
    model = LogisticMixedModel(40).fit(X, y, patient)
    sd, fixed = np.sqrt(model.variance_), model.decision_function(X)

    def density(v, rows):
        signs = np.where(y[rows] == 1, 1, -1)
        return expit(signs * (fixed[rows] + sd * v)).prod() * np.exp(-(v**2) / 2) / np.sqrt(2 * np.pi)

    integrals = [
        quad(density, -12, 12, args=(patient == one,), epsabs=0, epsrel=1e-11, limit=400)[0]
        for one in np.unique(patient)
    ]

    np.testing.assert_allclose(model.log_likelihood_exact_, np.log(integrals).sum(), rtol=1e-10)
    np.testing.assert_allclose(model.log_likelihood_, np.log(integrals).sum(), rtol=1e-8)


def test_a_patients_intercept_is_the_mode_given_its_lesions():
    X, y, patient = cohort(0)
    model = LogisticMixedModel(1).fit(X, y, patient)
    fixed, grid = model.decision_function(X), np.linspace(-4, 4, 80_001)

    for one, found in zip(model.patients_, model.patient_intercept_, strict=True):
        rows = patient == one
        odds = np.where(y[rows] == 1, 1, -1)[:, None] * (fixed[rows][:, None] + grid)
        height = np.log(expit(odds)).sum(axis=0) - grid**2 / (2 * model.variance_)
        assert abs(found - grid[height.argmax()]) < 1e-4  # the grid's step


# Laws


@pytest.mark.parametrize("nodes", [1, 7])
def test_the_order_of_lesions_and_the_names_of_patients_change_nothing(nodes):
    X, y, patient = cohort(3)
    shuffled = np.random.default_rng(0).permutation(len(y))
    renamed = np.array([f"{one * 7919 % 1009}" for one in np.unique(patient, return_inverse=True)[1]])

    model = LogisticMixedModel(nodes).fit(X, y, patient)
    other = LogisticMixedModel(nodes).fit(X[shuffled], y[shuffled], renamed[shuffled])

    np.testing.assert_allclose(effects(other), effects(model), rtol=1e-7)
    np.testing.assert_allclose(other.variance_, model.variance_, rtol=1e-7)
    np.testing.assert_allclose(other.log_likelihood_, model.log_likelihood_, rtol=1e-12)
    np.testing.assert_allclose(other.fitted_, model.fitted_[shuffled], rtol=1e-7)


def test_units_of_a_covariate_and_its_origin_change_only_their_coefficients():
    X, y, patient = cohort(4)

    model = LogisticMixedModel(5).fit(X, y, patient)
    other = LogisticMixedModel(5).fit(X * [1e-4, 1e5] + [3.0, 1e6], y, patient)

    np.testing.assert_allclose(other.coef_[0] * [1e-4, 1e5], model.coef_[0], rtol=1e-6)
    np.testing.assert_allclose(other.standard_error_[1:] * [1e-4, 1e5], model.standard_error_[1:], rtol=1e-6)
    np.testing.assert_allclose(other.log_likelihood_, model.log_likelihood_, rtol=1e-10)


def test_the_other_outcome_has_the_opposite_coefficients():
    X, y, patient = cohort(5)

    model, other = (LogisticMixedModel(1).fit(X, outcome, patient) for outcome in (y, 1 - y))

    np.testing.assert_allclose(effects(other), -effects(model), rtol=1e-7)
    np.testing.assert_allclose(other.variance_, model.variance_, rtol=1e-7)
    np.testing.assert_allclose(other.patient_intercept_, -model.patient_intercept_, rtol=1e-6, atol=1e-9)


def test_without_covariates_only_the_intercept_is_learned():
    _, y, patient = cohort(6)

    model = LogisticMixedModel(9).fit(np.zeros((len(y), 0)), y, patient)

    assert model.converged_
    assert model.coef_.shape == (1, 0)
    assert model.predict_proba(np.zeros((2, 0))).shape == (2, 2)


@pytest.mark.parametrize("nodes", [1, 15])
def test_a_large_variance_is_found_from_a_start_far_away(nodes):
    X, y, patient = cohort(0, patients=300, sd=6.0)

    model = LogisticMixedModel(nodes).fit(X, y, patient)

    assert model.identifiable_
    assert 16 < model.variance_ < 100


def test_known_effects_are_recovered_with_honest_standard_errors():
    truth, fits = np.array([-0.5, 0.7, -1.0]), []
    rng = np.random.default_rng(2021)
    patient = np.repeat(np.arange(100), rng.integers(1, 8, 100))
    for _ in range(60):
        X = np.column_stack([rng.normal(size=patient.size), rng.normal(size=100)[patient]])
        odds = truth[0] + X @ truth[1:] + 1.2 * rng.normal(size=100)[patient]
        fits.append(LogisticMixedModel(10).fit(X, rng.random(patient.size) < expit(odds), patient))

    found = np.array([effects(fit) for fit in fits])
    error = np.array([fit.standard_error_ for fit in fits])
    variance = np.array([fit.variance_ for fit in fits])

    assert all(fit.converged_ for fit in fits)
    # A mean over 60 cohorts stays within 4 of its own standard errors; ML's bias of 1/n is less than that.
    assert (np.abs(found.mean(axis=0) - truth) < 4 * found.std(axis=0, ddof=1) / np.sqrt(60)).all()
    assert abs(variance.mean() - 1.44) < 4 * variance.std(ddof=1) / np.sqrt(60)
    # A standard deviation of 60 draws has a relative error of 9 %: three times that.
    np.testing.assert_allclose(error.mean(axis=0), found.std(axis=0, ddof=1), rtol=0.28)
    covered = (np.abs(found - truth) < 1.96 * error).mean(axis=0)
    assert (covered > 0.86).all()  # 95 % less 3 binomial standard errors


# Prediction, in scikit-learn's manner


def test_a_new_patient_is_predicted_in_the_middle_and_a_known_one_with_its_intercept():
    X, y, patient = cohort(1)
    model = LogisticMixedModel(1).fit(X, y, patient)

    new = model.predict_proba(X, groups=["new"] * len(y))
    known = model.predict_proba(X, groups=patient)

    np.testing.assert_array_equal(new, model.predict_proba(X))
    np.testing.assert_allclose(new[:, 1], expit(model.intercept_[0] + X @ model.coef_[0]), rtol=1e-12)
    np.testing.assert_allclose(known[:, 1], model.fitted_, rtol=1e-9)
    np.testing.assert_allclose(known.sum(axis=1), 1)
    assert not np.allclose(new, known)


def test_classes_keep_their_names_and_a_clone_is_unfitted():
    X, y, patient = cohort(1)
    words = np.where(y == 1, "response", "none")

    model = LogisticMixedModel(3).fit(X, words, patient)
    copy = clone(model)

    assert model.classes_.tolist() == ["none", "response"]
    assert set(model.predict(X, patient)) == {"none", "response"}
    assert copy.get_params() == {"quadrature_points": 3}
    assert not hasattr(copy, "coef_")


def test_fixed_effects_are_named_by_the_columns():
    X, y, patient = cohort(2)
    model = LogisticMixedModel(1).fit(pd.DataFrame(X, columns=["entropy", "size_mm"]), y, patient)

    assert model.fixed_effects().index.tolist() == ["(intercept)", "entropy", "size_mm"]
    with pytest.raises(ValueError, match=r"covariates are \['size_mm', 'entropy'\], trained on"):
        model.predict(pd.DataFrame(X, columns=["size_mm", "entropy"]))
    with pytest.raises(ValueError, match="X has 1 covariates, trained on 2"):
        model.predict(X[:, :1])


# What cannot be estimated, and what is refused


def test_separation_is_told():
    X, _, patient = cohort(0)
    y = (X[:, 0] > 0.2).astype(int)

    with pytest.warns(ConvergenceWarning, match="separation"):
        model = LogisticMixedModel(1).fit(X, y, patient)

    assert not model.converged_
    assert not model.identifiable_


def test_a_maximum_made_by_too_few_nodes_is_not_called_converged():
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(60), 4)
    y = np.repeat(rng.integers(0, 2, 60), 4)
    y[[0, 4, 8]] = 1 - y[[0, 4, 8]]  # three patients of sixty have lesions of both outcomes
    X = rng.normal(size=(240, 1))

    with pytest.warns(ConvergenceWarning, match=r"quadrature_points=1 the log-likelihood is .* too high"):
        model = LogisticMixedModel(1).fit(X, y, patient)

    assert model.identifiable_
    assert not model.converged_
    assert model.log_likelihood_ > model.log_likelihood_exact_ + 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.ones(6)}, "the outcome must have two classes, found"),
        ({"y": np.ones(5)}, "6 lesions need an outcome each"),
        ({"groups": ["a"] * 6}, "two patients or more, found 1"),
        ({"groups": ["a"] * 5}, "each lesion needs a patient in groups"),
        ({"groups": ["a", "b", None, "a", "b", "c"]}, "groups: a lesion has no patient"),
        ({"X": np.ones((6, 1))}, "follow from each other or are constant: x0"),
        ({"X": np.arange(6.0)[:, None] * [1, 2]}, "follow from each other or are constant: x0, x1"),
        ({"X": np.zeros((6, 1))}, "covariates are 0 for every lesion: x0"),
        ({"X": np.eye(6)}, "7 coefficients outnumber the 6 lesions"),
        ({"X": np.full((6, 1), np.nan)}, "Input X contains NaN"),
    ],
)
def test_what_cannot_be_fitted_is_refused(change, message):
    given = {
        "X": np.array([[0.0], [2.0], [1.0], [3.0], [0.0], [2.0]]),
        "y": [0, 1, 0, 0, 1, 1],
        "groups": list("aabbcc"),
    }

    with pytest.raises(ValueError, match=message):
        LogisticMixedModel(1).fit(**(given | change))


def test_a_quadrature_without_nodes_is_refused():
    X, y, patient = cohort(0)

    with pytest.raises(ValueError, match="quadrature_points must be 1 or more, got 0"):
        LogisticMixedModel(0).fit(X, y, patient)


# Each patient weighing one


def patient_weighted(X, y, patient, penalty, l1_ratio):
    return ElasticNetLogistic(l1_ratio, penalty, standardise=False).fit(X, y, patient_weights(patient))


def test_lesions_weigh_so_that_each_patient_weighs_one():
    assert patient_weights(["b", "a", "b", "b", "b"]).tolist() == [0.25, 1, 0.25, 0.25, 0.25]


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_a_lesion_counted_thrice_changes_nothing(l1_ratio):
    X, y, patient = cohort(0)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    once = np.unique(patient, return_index=True)[1]
    times = np.random.default_rng(0).integers(1, 4, once.size)

    model = patient_weighted(X[once], y[once], patient[once], 0.05, l1_ratio)
    rows = np.repeat(once, times)
    other = patient_weighted(X[rows], y[rows], patient[rows], 0.05, l1_ratio)

    np.testing.assert_allclose([*other.coef_, other.intercept_], [*model.coef_, model.intercept_], atol=1e-5)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_at_the_weighted_fit_the_slope_of_the_loss_per_patient_is_that_of_the_penalty(l1_ratio):
    X, y, patient = cohort(1)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    penalty = 0.05

    model = patient_weighted(X, y, patient, penalty, l1_ratio)

    residual = patient_weights(patient) * (y - model.predict_proba(X)[:, 1])
    slope = X.T @ residual / np.unique(patient).size
    coefficient = model.coef_
    assert (coefficient != 0).all()
    expected = penalty * (l1_ratio * np.sign(coefficient) + (1 - l1_ratio) * coefficient)
    np.testing.assert_allclose(slope, expected, atol=1e-6)
    np.testing.assert_allclose(residual.sum(), 0, atol=1e-4)


def test_the_weighted_fit_exists_where_the_mixed_model_has_none():
    X, _, patient = cohort(2)
    y = np.unique(patient, return_inverse=True)[1] % 2

    model = patient_weighted(X / X.std(axis=0), y, patient, penalty=0.1, l1_ratio=0.0)

    assert obstacle_to_mixed_model(X, y, patient)
    assert np.isfinite(model.coef_).all()
    with pytest.raises(ValueError, match="penalty: expected a number above 0, got 0"):
        patient_weighted(X, y, patient, penalty=0, l1_ratio=0.0)
