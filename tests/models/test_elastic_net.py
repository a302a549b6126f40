import json
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from skops.io import dumps, get_untrusted_types, loads

from radnet.models.elastic_net import ElasticNetLinear, ElasticNetLogistic
from radnet.models.elastic_net_cox import ElasticNetCox
from radnet.models.penalty_choice import draw_folds

KINDS = {"glmnet_binomial": ElasticNetLogistic, "glmnet_gaussian": ElasticNetLinear, "glmnet_cox": ElasticNetCox}
QUIRK = "cox_sim_tied_x1000_quirk"
CASES = (
    "binom_example_lasso",
    "binom_example_enet_auc",
    "pima_te_alpha0.9",
    "pima_te_ridge",
    "pgtn_69x120",
    "cox_example_lasso",
    "cox_example_lasso_C",
    "cox_sim_tied",
    "lung_cox_years",
    "gaussian_small",
)


class Case:
    """Data given to glmnet, and what it answered."""

    def __init__(self, shared, name):
        cases = json.loads((shared / "oracles" / "08_glmnet.json").read_text(encoding="utf-8"))["cases"]
        found = next(case for case in cases if case["id"] == name)
        self.given, self.found = found["inputs"], found["outputs"]
        self.X = pd.read_csv(shared / "oracles" / self.given["x_csv"])
        self.make = KINDS[self.given["kind"]]
        self.alpha = self.given["alpha"]
        self.y = outcome(self.given["time"], self.given["event"]) if "time" in self.given else np.array(self.given["y"])

    def chosen(self, penalty):
        measure = self.given["type_measure"].replace("mse", "deviance")
        return self.make(self.alpha, penalty, measure).fit(self.X, self.y, folds=self.given["foldid"])

    def off(self, answer, penalty):
        """How far from its own conditions R stopped, relative to λ: to that its coefficients can be trusted."""
        return unmet(self.X.to_numpy(), self.y, *read(answer), penalty, self.alpha)


def outcome(time, event):
    return pd.DataFrame({"time": time, "event": event})


def read(answer):
    features = [value for name, value in answer.items() if name != "(Intercept)"]
    return answer.get("(Intercept)", 0.0), np.array(features, dtype=float)


def pull(y, score, weight):
    """The slope of the mean loss by each score, from its definition."""
    share = weight / weight.sum()
    if not isinstance(y, pd.DataFrame):
        expected = score if len(np.unique(y)) > 2 else 1 / (1 + np.exp(-score))
        return share * (expected - y)
    time, event = y["time"].to_numpy(), y["event"].to_numpy()
    slope = -share * event
    for one in np.flatnonzero(event):
        at_risk = share * np.exp(score) * (time >= time[one])
        slope += share[one] * at_risk / at_risk.sum()
    return slope


def unmet(X, y, intercept, coef, penalty, alpha, weight=None):
    """How far the Karush-Kuhn-Tucker conditions are from met, relative to λ."""
    weight = np.ones(len(X)) if weight is None else weight
    mean = np.average(X, axis=0, weights=weight)
    spread = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weight))
    unit = 1.0
    if isinstance(y, np.ndarray) and len(np.unique(y)) > 2:
        unit = np.sqrt(np.average((y - np.average(y, weights=weight)) ** 2, weights=weight))
        y, intercept, coef, penalty = y / unit, intercept / unit, coef / unit, penalty / unit
    by_row = pull(y, X @ coef + intercept, weight)
    slope = (X - mean).T @ by_row / spread + penalty * (1 - alpha) * coef * spread
    held = np.abs(slope + penalty * alpha * np.sign(coef))
    features = np.where(coef != 0, held, np.maximum(np.abs(slope) - penalty * alpha, 0)).max()
    constant = 0.0 if isinstance(y, pd.DataFrame) else abs(by_row.sum())
    return max(features, constant) / penalty


def simulate(kind, rows=60, features=90, seed=0):
    """Features that go together, of several scales, and an outcome of two of them, with tied times."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 8)) @ rng.normal(size=(8, features)) + 0.5 * rng.normal(size=(rows, features))
    X = X * np.exp(rng.normal(size=features)) + rng.normal(size=features)
    signal = X[:, 0] / X[:, 0].std() - X[:, 1] / X[:, 1].std()
    if kind is ElasticNetCox:
        y = outcome(np.ceil(4 * rng.exponential(np.exp(-signal))), rng.integers(0, 2, rows))
    elif kind is ElasticNetLogistic:
        y = (signal + rng.logistic(size=rows) > 0).astype(int)
    else:
        y = signal + rng.normal(size=rows)
    return X, y


def same_coefficients(model, answer, off):
    intercept, coef = read(answer)
    # 1e-6 as the oracle asks, where R met its own conditions; further on R stops early, and ours is at the minimum
    close = np.abs(coef).max() * (1e-6 + 10 * off) + 1e-12
    np.testing.assert_allclose(model.coef_, coef, rtol=0, atol=close)
    np.testing.assert_allclose(model.intercept_, intercept, rtol=1e-6 + 10 * off, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_the_path_of_penalties_is_that_of_glmnet(shared, name):
    case = Case(shared, name)

    path = case.chosen("min").path_

    np.testing.assert_allclose(path["lambda"], case.found["lambda_path"], rtol=1e-6)
    np.testing.assert_allclose(path["explained"], case.found["dev_ratio"], rtol=1e-6, atol=1e-8)
    entered = (path["coef"] != 0).sum(axis=1)
    first = [0] if case.alpha == 0 else case.found["df"][:1]  # R's first ridge has coefficients of 1e-38
    assert entered.tolist() == first + case.found["df"][1:]


@pytest.mark.parametrize("name", CASES)
def test_coefficients_along_the_path_are_those_of_glmnet(shared, name):
    case = Case(shared, name)
    given = case.found["coef_along_path_cols"]
    for penalty, answer in list(zip(given["lambda"], given["coef"], strict=True))[1:]:  # at the first there are none
        model = case.make(case.alpha, penalty).fit(case.X, case.y)

        same_coefficients(model, answer, case.off(answer, penalty))


@pytest.mark.parametrize("name", CASES)
def test_coefficients_at_a_given_penalty_are_those_of_glmnet(shared, name):
    case = Case(shared, name)
    for fixed in case.found["coef_at_fixed_lambda"]:
        model = case.make(case.alpha, fixed["lambda"]).fit(case.X, case.y)

        same_coefficients(model, fixed["coef"], case.off(fixed["coef"], fixed["lambda"]))


@pytest.mark.parametrize("rule", ["min", "1se"])
@pytest.mark.parametrize("name", CASES)
def test_folds_choose_the_penalty_and_the_model_that_cv_glmnet_chooses(shared, name, rule):
    case = Case(shared, name)
    answer = case.found["cv"]

    model = case.chosen(rule)

    assert model.lambda_ == pytest.approx(answer[f"lambda_{rule}"], rel=1e-6)
    assert [model.validation_[f"lambda_{one}"] for one in ("min", "1se")] == pytest.approx(
        [answer["lambda_min"], answer["lambda_1se"]], rel=1e-6
    )
    if answer["lambda_1se"] < max(answer["lambda"]):
        same_coefficients(model, answer[f"coef_{rule}"], case.off(answer[f"coef_{rule}"], model.lambda_))
    used = model.path_["lambda"] >= answer["lambda_min"]
    for found, expected in (("mean", "cvm"), ("error", "cvsd")):
        np.testing.assert_allclose(model.validation_[found][used], np.array(answer[expected])[used], rtol=2e-6)
        # beyond the λ used, folds of few patients are nearly parted, and R stops before their minimum
        np.testing.assert_allclose(model.validation_[found], answer[expected], rtol=1e-4)


def test_the_unit_of_time_changes_nothing_where_glmnet_is_changed_by_it(shared):
    days, units = Case(shared, QUIRK), Case(shared, "cox_sim_tied")

    found, expected = days.chosen("min"), units.chosen("min")

    assert (days.y["time"] == 1000 * units.y["time"]).all()
    np.testing.assert_array_equal(found.path_["coef"], expected.path_["coef"])
    np.testing.assert_array_equal(found.validation_["mean"], expected.validation_["mean"])
    assert abs(found.path_["lambda"][0] / days.found["lambda_path"][0] - 1) > 1e-3  # what must not be matched


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("kind", KINDS.values())
def test_every_model_of_a_path_meets_the_conditions_of_a_minimum(kind, alpha, weighted):
    X, y = simulate(kind)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(X)) if weighted else None

    path = kind(alpha, 1e-3).fit(X, y, sample_weight=weight).path_

    models = list(zip(path["lambda"], path["intercept"], path["coef"], strict=True))[1:]
    assert len(models) > 30
    worst = max(unmet(X, y, intercept, coef, penalty, alpha, weight) for penalty, intercept, coef in models)
    assert worst < 1e-6  # the solver stops at 1e-11 of the first slope, and the last λ is 1e-3 of the first or more


@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize("kind", KINDS.values())
def test_the_path_begins_where_the_steepest_feature_enters_and_falls_evenly(kind, alpha):
    X, y = simulate(kind)
    score = np.zeros(len(X))
    if kind is not ElasticNetCox:
        score += np.mean(y) if kind is ElasticNetLinear else np.log(np.mean(y) / (1 - np.mean(y)))

    path = kind(alpha, 1e-3).fit(X, y).path_

    first = np.abs((X - X.mean(axis=0)).T @ pull(y, score, np.ones(len(X))) / X.std(axis=0)).max() / alpha
    assert path["lambda"][0] == pytest.approx(first)
    falls = [small / large for large, small in pairwise(path["lambda"][:-1])]  # the last is the λ asked for
    np.testing.assert_allclose(falls, 0.01 ** (1 / 99))  # fewer patients than features
    assert not path["coef"][0].any()
    assert path["coef"][1].any()


def test_it_agrees_with_the_saga_of_scikit_learn():
    X, y = simulate(ElasticNetLogistic, rows=80, features=12)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of how a penalty is named, which changed between versions
        peer = LogisticRegression(
            penalty="elasticnet", solver="saga", C=1 / (80 * 0.03), l1_ratio=0.6, tol=1e-10, max_iter=100_000
        ).fit(Z, y)

    model = ElasticNetLogistic(0.6, 0.03).fit(X, y)

    np.testing.assert_allclose(model.coef_ * X.std(axis=0), peer.coef_[0], atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(X), peer.predict_proba(Z), atol=1e-6)
    assert (model.predict(X) == peer.predict(Z)).all()


def test_a_linear_ridge_of_more_features_than_patients_is_its_closed_form():
    X, y = simulate(ElasticNetLinear)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    penalty = 0.7 / y.std()  # glmnet's λ is beside an outcome of standard deviation 1
    expected = np.linalg.solve(Z.T @ Z / len(y) + penalty * np.eye(Z.shape[1]), Z.T @ (y - y.mean()) / len(y))

    model = ElasticNetLinear(0.0, 0.7).fit(X, y)

    np.testing.assert_allclose(model.coef_ * X.std(axis=0), expected, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(model.predict(X), y.mean() + Z @ expected, rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_weight_of_two_is_a_patient_told_twice(kind):
    X, y = simulate(kind, features=10)
    twice = np.r_[np.arange(60), np.arange(20)]
    weight = np.where(np.arange(60) < 20, 2.0, 1.0)
    again = y.iloc[twice].reset_index(drop=True) if isinstance(y, pd.DataFrame) else y[twice]

    weighted = kind(0.8, 0.02).fit(X, y, sample_weight=weight)
    repeated = kind(0.8, 0.02).fit(X[twice], again)

    assert weighted.coef_.any()
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(weighted.decision_function(X), repeated.decision_function(X), rtol=1e-6, atol=1e-9)


def test_with_fewer_than_three_patients_a_fold_each_counts_by_itself():
    X, y = simulate(ElasticNetLogistic, rows=12, features=3)
    lambdas = [0.2, 0.1]
    worth = np.empty((12, 2))
    for one in range(12):
        others = np.arange(12) != one
        for place, penalty in enumerate(lambdas):
            model = ElasticNetLogistic(1.0, penalty).fit(X[others], y[others])
            worth[one, place] = -2 * np.log(model.predict_proba(X[[one]])[0, y[one]])

    found = ElasticNetLogistic(1.0, "min", lambdas=lambdas).fit(X, y, folds=np.arange(12)).validation_

    np.testing.assert_allclose(found["mean"], worth.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(found["error"], worth.std(axis=0) / np.sqrt(11), rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS.values())
def test_constant_and_repeated_features_do_no_harm(kind):
    X, y = simulate(kind, features=6)
    more = np.column_stack([X, X[:, 0], np.full(60, 0.1)])

    model, plain = kind(1.0, 0.01).fit(more, y), kind(1.0, 0.01).fit(X, y)

    assert model.coef_[-1] == 0
    np.testing.assert_allclose(model.decision_function(more), plain.decision_function(X), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_copy_is_unfitted_and_a_saved_model_scores_alike(kind):
    X, y = simulate(kind, features=5)
    table = pd.DataFrame(X, columns=list("abcde"))
    model = kind(0.5, "1se", n_folds=4, seed=3).fit(table, y)

    copy = clone(model)
    saved = dumps(model)
    own = [f"{kind.__module__}.{kind.__name__}"]

    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "coef_")
    assert get_untrusted_types(data=saved) == own
    np.testing.assert_array_equal(loads(saved, trusted=own).predict(table), model.predict(table))
    np.testing.assert_array_equal(copy.fit(table, y).coef_, model.coef_)
    with pytest.raises(ValueError, match=r"features are \['e', 'd', 'c', 'b', 'a'\], trained on"):
        model.predict(table[list("edcba")])


def test_folds_drawn_keep_the_lesions_of_a_patient_together_and_spread_the_events():
    patients = np.repeat(np.arange(24), 3)
    event = (patients % 3 == 0).astype(int)

    folds = draw_folds(event, patients, count=4, seed=0)

    assert [len(set(folds[patients == one])) for one in range(24)] == [1] * 24
    assert [int(event[folds == one].sum()) for one in range(4)] == [6] * 4


def test_a_model_given_patients_draws_its_folds_by_them():
    X, y = simulate(ElasticNetLogistic, features=5)
    lesions = np.repeat(np.arange(60), 2)
    made = ElasticNetLogistic(1.0, "min", n_folds=4, seed=5, lambdas=[0.1, 0.05])

    drawn = made.fit(X[lesions], y[lesions], groups=lesions).validation_["mean"]
    given = made.fit(X[lesions], y[lesions], folds=draw_folds(y[lesions], lesions, 4, 5)).validation_["mean"]
    split = made.fit(X[lesions], y[lesions]).validation_["mean"]

    np.testing.assert_array_equal(drawn, given)
    assert (split != drawn).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"alpha": 1.5}, "alpha: expected a number from 0"),
        ({"penalty": "best"}, "penalty: expected min, 1se or a number, got 'best'"),
        ({"penalty": 0.0}, "penalty: expected a number above 0"),
        ({"measure": "C"}, "measure: expected deviance or auc or class, got 'C'"),
        ({"lambdas": [0.1, -1.0]}, "lambdas: expected numbers above 0"),
    ],
)
def test_a_wrong_setting_is_told(given, message):
    X, y = simulate(ElasticNetLogistic, features=3)
    with pytest.raises(ValueError, match=message):
        ElasticNetLogistic(**{"alpha": 1.0, "penalty": "min", **given}).fit(X, y)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"folds": [0, 1]}, "folds: expected one for each of 60 rows"),
        ({"folds": [0, 1] * 30}, "at least 3 are needed"),
        ({"folds": [0, 1, 2] * 20, "groups": ["P1"] * 60}, "several folds: P1"),
        ({"sample_weight": [0.0] * 60}, "sample_weight: expected a number above 0"),
    ],
)
def test_wrong_folds_and_weights_are_told(given, message):
    X, y = simulate(ElasticNetLogistic, features=3)
    with pytest.raises(ValueError, match=message):
        ElasticNetLogistic(1.0, "min").fit(X, y, **given)


def test_a_fold_without_what_its_measure_needs_is_told():
    X, y = simulate(ElasticNetLogistic, features=3)
    survival = simulate(ElasticNetCox, features=3)[1].sort_values("event", ignore_index=True)
    apart = np.arange(60) // 20  # the first fold has no event

    with pytest.raises(ValueError, match="an AUC needs both classes in every fold"):
        ElasticNetLogistic(1.0, "min", "auc").fit(X, np.sort(y), folds=apart)
    with pytest.raises(ValueError, match="a Cox deviance needs an event in every fold"):
        ElasticNetCox(1.0, "min").fit(X, survival, folds=apart)
    with pytest.raises(ValueError, match="a C-index needs, in every fold"):
        ElasticNetCox(1.0, "min", "C").fit(X, survival, folds=apart)


@pytest.mark.parametrize(
    ("kind", "y", "message"),
    [
        (ElasticNetLogistic, [1] * 60, "needs two classes, found 1: 1"),
        (ElasticNetLogistic, [1, 0], "expected one outcome for each of 60 rows"),
        (ElasticNetLinear, [2.0] * 60, "needs an outcome that varies"),
        (ElasticNetCox, [1.0] * 60, "numbers in time and event"),
        (ElasticNetCox, outcome([0.0] * 60, [1] * 60), "expected times above 0"),
        (ElasticNetCox, outcome([1.0] * 60, [2] * 60), "expected events of 0 or 1"),
        (ElasticNetCox, outcome([1.0] * 60, [0] * 60), "a Cox model needs an event"),
    ],
)
def test_a_wrong_outcome_is_told(kind, y, message):
    X = simulate(ElasticNetLinear, features=3)[0]
    with pytest.raises(ValueError, match=message):
        kind(1.0, 0.1).fit(X, y)


def test_a_penalty_too_small_for_patients_perfectly_ordered_is_told():
    X = np.random.default_rng(0).normal(size=(40, 200))
    X[:, 0] = -np.arange(40)
    with (
        pytest.warns(ConvergenceWarning, match="did not converge at λ = 1e-12: the path ends before it"),
        pytest.raises(ValueError, match="penalty: no model was found at 1e-12, only down to"),
    ):
        ElasticNetCox(1.0, 1e-12).fit(X, outcome(np.arange(40) + 1.0, np.ones(40)))


def test_features_that_are_all_constant_are_told():
    y = simulate(ElasticNetLogistic, features=3)[1]
    with pytest.raises(ValueError, match="is each of them constant"):
        ElasticNetLogistic(1.0, 0.1).fit(np.ones((60, 3)), y)


def test_a_missing_value_is_told_with_its_feature():
    X, y = simulate(ElasticNetLogistic, features=3)
    table = pd.DataFrame(X, columns=["a", "b", "c"])
    table.loc[4, "b"] = np.nan
    with pytest.raises(ValueError, match="feature b is nan in row 4"):
        ElasticNetLogistic(1.0, 0.1).fit(table, y)


def test_the_scores_of_cox_models_share_a_zero_whatever_the_features_are_counted_from():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 4))
    y = np.empty(60, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = rng.random(60) < 0.7, rng.exponential(np.exp(-X[:, 0])) + 0.01

    score = ElasticNetCox(alpha=0.5, penalty=0.05).fit(X, y).predict(X)

    moved = ElasticNetCox(alpha=0.5, penalty=0.05).fit(X + 1000.0, y)
    np.testing.assert_allclose(moved.predict(X + 1000.0), score, atol=1e-6)
    assert abs(score.mean()) < 1e-12
    assert moved.intercept_ == 0.0
