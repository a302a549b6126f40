import numpy as np
import pandas as pd
import pytest
from lifelines.utils import concordance_index
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from cohorts import make_cohort, make_study
from radnet.data.split import Fold
from radnet.falsification.ridge import RidgeCox, ridge_cox, ridge_discrimination, ridge_logistic


def data(n, p, seed=0):
    rng = np.random.default_rng(seed)
    common = 3 * rng.normal(size=(n + 9, 1))
    values = rng.normal(size=(n + 9, p)) + common + rng.uniform(-50, 50, p)
    return values[:n], rng.random(n) < 0.35, values[n:]


@pytest.mark.parametrize(("n", "p"), [(30, 200), (100, 5), (40, 1), (25, 25)])
def test_log_odds_are_those_of_scikit_learns_ridge_of_c_one_over_p(n, p):
    train, event, test = data(n, p)
    scale = StandardScaler().fit(train)
    oracle = LogisticRegression(C=1 / p, solver="newton-cg", tol=1e-12, max_iter=10_000)
    oracle.fit(scale.transform(train), event)

    found = ridge_logistic(train, event, test)

    # Both stop when a step is below about 1e-9 of the log odds.
    np.testing.assert_allclose(found, oracle.decision_function(scale.transform(test)), atol=1e-6)


def records(event, time):
    y = np.empty(len(event), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = event, time
    return y


def penalised_cox(z, event, time, strength):
    """Minimise - Σ over events of (score - log Σ of those at risk exp(score)) + strength/2 · Σ weight²."""

    def loss_and_slope(weight):
        score = z @ weight
        loss, slope = strength / 2 * weight @ weight, strength * weight
        for one in np.flatnonzero(event):
            at_risk = time >= time[one]
            share = np.exp(score[at_risk]) / np.exp(score[at_risk]).sum()
            loss += np.log(np.exp(score[at_risk]).sum()) - score[one]
            slope = slope + share @ z[at_risk] - z[one]
        return loss, slope

    return minimize(loss_and_slope, np.zeros(z.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-9}).x


@pytest.mark.parametrize(("n", "p"), [(30, 60), (100, 5), (40, 1), (25, 25)])
def test_log_hazards_are_those_of_a_penalised_partial_likelihood_written_slowly(n, p):
    train, event, test = data(n, p)
    time = np.ceil(np.random.default_rng(1).exponential(8, n))  # with ties
    scale = StandardScaler().fit(train)
    oracle = scale.transform(test) @ penalised_cox(scale.transform(train), event, time, strength=p)

    found = ridge_cox(train, event, time, test)

    np.testing.assert_allclose(found, oracle, atol=1e-6)  # BFGS stops at a slope of 1e-9, or where rounding ends it


@pytest.mark.parametrize("strength", [0.1, 1.0, 30.0])
def test_a_ridge_step_weighs_features_as_the_penalised_partial_likelihood_does(strength):
    train, event, test = data(60, 4)
    time = np.ceil(np.random.default_rng(1).exponential(8, 60))
    scale = StandardScaler().fit(train)
    oracle = scale.transform(test) @ penalised_cox(scale.transform(train), event, time, strength)

    step = RidgeCox(strength).fit(scale.transform(train), records(event, time))

    np.testing.assert_allclose(step.predict(scale.transform(test)), oracle, atol=1e-6)


def test_what_foretells_every_event_has_a_finite_log_hazard():
    time = np.arange(1.0, 21.0)
    event = time <= 3
    leading = -time[:, None]

    score = ridge_cox(leading, event, time, leading)

    assert np.isfinite(score).all()
    assert (np.diff(score) < 0).all()


def test_a_flat_or_empty_column_says_nothing():
    train, event, test = data(30, 4)
    flat = [np.column_stack([side, np.full(len(side), 7.0), np.full(len(side), np.nan)]) for side in (train, test)]

    found = ridge_logistic(flat[0], event, flat[1])

    # The penalty counts columns: six instead of four, as if each of the four were narrower by √(4/6).
    scale = StandardScaler().fit(train)
    oracle = LogisticRegression(C=1 / 6, solver="newton-cg", tol=1e-12, max_iter=10_000)
    oracle.fit(scale.transform(train), event)
    np.testing.assert_allclose(found, oracle.decision_function(scale.transform(test)), atol=1e-6)


def test_a_missing_value_takes_the_median_of_training():
    train, event, test = data(31, 3)
    holes = train.copy(), test.copy()
    holes[0][4, 1] = holes[1][2, 1] = np.nan
    median = np.median(np.delete(train[:, 1], 4))
    filled = train.copy(), test.copy()
    filled[0][4, 1] = filled[1][2, 1] = median

    found = ridge_logistic(holes[0], event, holes[1])

    np.testing.assert_allclose(found, ridge_logistic(filled[0], event, filled[1]), rtol=1e-12)


def test_the_auc_is_the_mean_over_folds_and_a_fold_of_one_class_is_passed_over():
    cohort = make_cohort(60, seed=3)
    inputs = cohort.clinical(["age"]).assign(lines=cohort.clinical(["lines_ge2"])["lines_ge2"]).astype(float)
    event = cohort.events("response")
    ids = np.array(cohort.ids)
    splits = list(StratifiedKFold(4).split(ids, event))
    folds = [Fold(str(k), "", tuple(ids[train]), tuple(ids[test])) for k, (train, test) in enumerate(splits)]
    lone = Fold("lone", "", tuple(ids[1:]), (str(ids[0]),))

    found = ridge_discrimination(inputs, (), cohort, "response", [*folds, lone])

    areas = []
    for train, test in splits:
        scale = StandardScaler().fit(inputs.iloc[train])
        model = LogisticRegression(C=1 / 2, tol=1e-10).fit(scale.transform(inputs.iloc[train]), event[train])
        areas.append(roc_auc_score(event[test], model.decision_function(scale.transform(inputs.iloc[test]))))
    assert found == pytest.approx(np.mean(areas))


def test_with_follow_up_it_is_the_mean_c_index_over_folds_in_which_the_order_of_somebody_is_known():
    cohort = make_study(60, seed=3)
    inputs = cohort.clinical(["age", "hr"]).astype(float)
    event, time = cohort.events("dfs"), cohort.times("dfs")
    ids = np.array(cohort.ids)
    splits = list(StratifiedKFold(4).split(ids, event))
    folds = [Fold(str(k), "", tuple(ids[train]), tuple(ids[test])) for k, (train, test) in enumerate(splits)]
    (last,) = np.flatnonzero(time == time[event].max())
    lone = Fold("lone", "", tuple(ids[:last]), (str(ids[last]),))

    found = ridge_discrimination(inputs, (), cohort, "dfs", [*folds, lone])

    values = []
    for train, test in splits:
        scale = StandardScaler().fit(inputs.iloc[train])
        weight = penalised_cox(scale.transform(inputs.iloc[train]), event[train], time[train], strength=2)
        score = scale.transform(inputs.iloc[test]) @ weight
        values.append(concordance_index(time[test], -score, event[test]))
    assert found == pytest.approx(np.mean(values), abs=1e-12)


def test_clinical_columns_enter_as_numbers_made_in_the_fold():
    cohort = make_cohort(60, seed=3)
    ids = tuple(cohort.ids)
    fold = [Fold("1", "", ids[:40], ids[40:])]
    numbers = pd.get_dummies(cohort.clinical(["subtype"]))[["subtype_TNBC"]].astype(float)
    inputs = cohort.clinical(["age"]).astype(float)

    found = ridge_discrimination(inputs, ("subtype",), cohort, "response", fold)

    assert found == ridge_discrimination(inputs.join(numbers), (), cohort, "response", fold)


def test_folds_without_both_classes_are_told():
    cohort = make_cohort(12, seed=3)

    with pytest.raises(ValueError, match="no fold has patients with and without the event on both sides"):
        ridge_discrimination(None, ("age",), cohort, "response", [Fold("1", "", tuple(cohort.ids[1:]), ("P000",))])


def test_folds_in_which_the_order_of_nobody_is_known_are_told():
    cohort = make_study(12, seed=3)
    alone = [Fold("1", "", tuple(cohort.ids[1:]), (cohort.ids[0],))]

    with pytest.raises(ValueError, match="no fold has a pair of patients whose order is known on both sides"):
        ridge_discrimination(None, ("age",), cohort, "dfs", alone)


def test_a_model_without_features_and_columns_is_told_to_permute_itself():
    cohort = make_cohort(20, seed=1)
    half = [Fold("1", "", tuple(cohort.ids[:10]), tuple(cohort.ids[10:]))]

    with pytest.raises(ValueError, match=r"reads features or clinical columns, and this model has neither: falsif"):
        ridge_discrimination(None, (), cohort, "response", half)


def test_patients_without_features_neither_teach_nor_are_judged():
    cohort = make_cohort(60, seed=2)
    inputs = cohort.features.lesion_matrix().groupby(level="patient_id").mean()
    lacking = {cohort.ids[4], cohort.ids[40]}
    whole = Fold("1", "", tuple(cohort.ids[:30]), tuple(cohort.ids[30:]))
    fewer = Fold("1", "", *(tuple(one for one in side if one not in lacking) for side in (whole.train, whole.test)))

    found = ridge_discrimination(inputs.drop(index=list(lacking)), (), cohort, "response", [whole])

    assert found == ridge_discrimination(inputs, (), cohort, "response", [fewer])
