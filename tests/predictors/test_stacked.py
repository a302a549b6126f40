"""Stacks: what the last model is shown, what it makes of it, and what each member still checks."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cohorts import make_cohort, make_study
from radnet.cohort import Cohort
from radnet.data.split import stratified_folds
from radnet.models.cox import CoxRegression
from radnet.predictors.stacked import StackedPredictor
from radnet.predictors.tabular import TabularPredictor
from radnet.radiomics.select import NearConstant

FOLDS = partial(stratified_folds, n_folds=4, repeats=1, seed=5)


def logistic(c=np.inf):
    return LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10, max_iter=200)


def of_age(endpoint="response"):
    """A member of one clinical column."""
    last = {"cox": CoxRegression()} if endpoint == "dfs" else {"classify": logistic()}
    return partial(TabularPredictor, endpoint, last, clinical=["age"])


def of_lesions(c=1e-3, aggregate="mean"):
    steps = {"impute": SimpleImputer(), "scale": StandardScaler(), "classify": logistic(c)}
    return partial(TabularPredictor, "response", steps, regions=["lesion"], aggregate=aggregate)


def stack(members, clinical=(), endpoint="response", folds=FOLDS, last=None, **settings):
    return StackedPredictor(endpoint, members, {"last": last or logistic()}, folds, clinical, **settings)


@pytest.fixture(scope="module")
def study():
    return make_study(90, seed=4)


def age_scores(study, sides):
    """Log odds of response by age, by scikit-learn alone: of each pair of sides the second judged from the first."""
    age = study.clinical(["age"]).astype(float)
    event = pd.Series(study.events("response"), index=study.ids).astype(int)
    score = pd.Series(np.nan, index=study.ids)
    for inside, outside in sides:
        fit = logistic().fit(age.loc[inside].to_numpy(), event.loc[inside])
        score[outside] = fit.decision_function(age.loc[outside].to_numpy())
    return score


def beside(study):
    clinical = study.clinical(["lines_ge2", "subtype"])
    subtypes = sorted(clinical["subtype"].unique())
    return np.column_stack(
        [clinical["lines_ge2"].astype(float), *(clinical["subtype"] == level for level in subtypes[1:])]
    )


@pytest.mark.parametrize("learn_from", ["out_of_fold", "apparent"])
def test_a_stack_is_a_regression_on_its_members_scores_and_the_clinical_columns(learn_from, study):
    model = stack({"age": of_age()}, ["lines_ge2", "subtype"], learn_from=learn_from, calibrated=True).fit(study)

    own = age_scores(study, [(study.ids, study.ids)])
    folds = [(list(one.train), list(one.test)) for one in FOLDS(study, "response")]
    shown = own if learn_from == "apparent" else age_scores(study, folds)
    by_hand = logistic().fit(np.column_stack([shown, beside(study)]), study.events("response").astype(int))
    expected = np.column_stack([own, beside(study)])  # patients are scored by the member of everybody
    found = model.predict(study).patients
    np.testing.assert_allclose(found["score"], by_hand.decision_function(expected), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found["probability"], by_hand.predict_proba(expected)[:, 1], rtol=1e-6)


def test_a_stack_of_a_survival_model_equals_lifelines_on_the_same_columns(study):
    model = stack({"age": of_age("dfs")}, ["hr"], "dfs", last=CoxRegression()).fit(study)

    table = study.clinical(["age", "hr"]).astype(float)
    table = table.assign(event=study.events("dfs"), time=study.times("dfs"))
    fit = partial(CoxPHFitter().fit, duration_col="time", event_col="event", fit_options={"precision": 1e-10})
    shown = pd.Series(np.nan, index=table.index)
    for one in FOLDS(study, "dfs"):
        alone = fit(table.loc[list(one.train)].drop(columns="hr"))
        shown[list(one.test)] = alone.predict_log_partial_hazard(table.loc[list(one.test)])
    own = fit(table.drop(columns="hr")).predict_log_partial_hazard(table)
    last = fit(table.drop(columns="age").assign(shown=shown))
    expected = last.predict_log_partial_hazard(table.assign(shown=own))
    found = model.predict(study).patients
    # R's coxph and lifelines both handle ties as Efron; times here are not tied
    np.testing.assert_allclose(found["score"], expected, rtol=1e-4, atol=1e-6)
    assert found["probability"].isna().all()


def test_the_member_a_stack_keeps_is_the_one_that_learned_from_everybody(study):
    model = stack({"radiomics": of_lesions(), "age": of_age()}).fit(study)

    for name, member in (("radiomics", of_lesions()), ("age", of_age())):
        alone = member().fit(study).predict(study)
        kept = model.frozen.members[name].predict(study)
        pd.testing.assert_frame_equal(kept.patients, alone.patients, check_exact=True)


@pytest.mark.parametrize("seed", range(3))
def test_apparent_scores_of_a_member_that_memorises_noise_crowd_out_all_else(seed):
    noise = make_cohort(210, seed=seed, signal=0.0, n_features=60)
    memorising = {"memory": of_lesions(c=1e-2)}

    def weight(learn_from):
        model = stack(memorising, ["age"], learn_from=learn_from).fit(noise)
        spread = model.frozen.members["memory"].predict(noise).patients["score"].std()
        return model.frozen.steps[-1].coef_[0][0] * spread

    # of no effect the log odds ratio per SD has a standard error of 1 / sqrt(n p (1 - p)), here .15
    assert weight("apparent") > 6 * 0.15
    assert weight("out_of_fold") < 3 * 0.15


def test_a_lesion_is_scored_by_its_own_radiomics_and_its_patients_clinical_columns(study):
    model = stack({"radiomics": of_lesions(), "age": of_age()}, ["lines_ge2"]).fit(study)

    found = model.predict(study)

    owner = found.lesions.index.get_level_values("patient_id")
    last = model.frozen.steps[-1]
    columns = np.column_stack(
        [
            of_lesions()().fit(study).predict(study).lesions["score"],
            of_age()().fit(study).predict(study).patients["score"].loc[owner],
            study.clinical(["lines_ge2"])["lines_ge2"].astype(float).loc[owner],
        ]
    )
    np.testing.assert_allclose(found.lesions["score"], columns @ last.coef_[0] + last.intercept_[0], rtol=1e-6)
    alone = found.lesions.groupby(level="patient_id")["score"].agg(["size", "first"]).query("size == 1")["first"]
    assert len(alone) > 10
    np.testing.assert_allclose(alone, found.patients["score"].loc[alone.index], rtol=1e-6, atol=1e-9)
    assert found.lesions["weight"].groupby(level="patient_id").sum().to_numpy() == pytest.approx(1.0)


def test_a_stack_of_clinical_members_sees_no_lesion(study):
    found = stack({"age": of_age()}, ["lines_ge2"]).fit(study).predict(study)

    assert len(found.lesions) == 0


def test_a_stack_reads_what_its_members_read_and_what_stands_beside_them():
    model = stack({"age": of_age(), "radiomics": of_lesions(aggregate="largest")}, ["lines_ge2", "age"])

    assert model.clinical == ("age", "lines_ge2")
    assert model.regions == ("lesion",)
    assert model.aggregate == "largest"
    assert not model.reads_repeats


def test_selected_features_are_told_of_the_member_that_selects_by_its_name_where_several_do(study):
    def selecting(c):
        steps = {"constant": NearConstant(), "scale": StandardScaler(), "classify": logistic(c)}
        return partial(TabularPredictor, "response", steps, regions=["lesion"])

    one = stack({"radiomics": selecting(1e-3), "age": of_age()}).fit(study).frozen.selection()
    two = stack({"first": selecting(1e-3), "second": selecting(1.0)}).fit(study).frozen.selection()

    assert list(one) == ["measured", "constant"]
    assert list(two) == ["first measured", "first constant", "second measured", "second constant"]
    assert one["constant"] == two["second constant"] == study.features.names


def test_patients_that_no_fold_judged_are_not_shown_to_the_last_model(study):
    first, *_ = FOLDS(study, "response")
    model = stack({"age": of_age()}, folds=lambda cohort, endpoint: [first]).fit(study)

    judged = study.select(first.test)
    shown = age_scores(study, [(list(first.train), list(first.test))]).loc[judged.ids].to_numpy()[:, None]
    by_hand = logistic().fit(shown, judged.events("response").astype(int))
    np.testing.assert_allclose(model.frozen.steps[-1].coef_, by_hand.coef_, rtol=1e-6)


def test_unknown_outcomes_are_left_out(study):
    unknown = [replace(one, outcomes={"response": None}) for one in study.patients[:20]]
    some = Cohort((*unknown, *study.patients[20:]), study.features)

    found = stack({"age": of_age()}, ["lines_ge2"]).fit(some).predict(study)
    expected = stack({"age": of_age()}, ["lines_ge2"]).fit(study.select(study.ids[20:])).predict(study)

    pd.testing.assert_frame_equal(found.patients, expected.patients, check_exact=True)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: stack({"age": of_age()}, learn_from="aparent"), "learn_from must be out_of_fold or apparent"),
        (lambda: stack({}), "a stack needs at least one member"),
    ],
)
def test_a_stack_that_cannot_be_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        model()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (stack({"age": of_age()}, ["stge"]), "clinical.csv has no column stge"),
        (
            stack(
                {"of stage": partial(TabularPredictor, "response", {"last": logistic()}, clinical=["stge"])}, ["age"]
            ),
            "clinical.csv has no column stge",
        ),
        (stack({"age": of_age("dfs")}, ["hr"], "dfs"), "endpoint dfs has follow-up times, and this model learns yes"),
        (stack({"age": of_age()}, ["hr"], last=CoxRegression()), "endpoint response has no follow-up times"),
    ],
    ids=["beside", "of a member", "yes or no", "follow-up"],
)
def test_what_the_stack_or_a_member_cannot_learn_from_is_told_before_a_lesion_is_measured(model, message, study):
    with pytest.raises(ValueError, match=message):
        model.check(Cohort(study.patients))
    with pytest.raises(ValueError, match=message):
        model.fit(study)
