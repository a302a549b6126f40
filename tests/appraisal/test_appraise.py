"""The tables of a run, made of a quick model: what is written, what is kept, what is said where one cannot be made."""

from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from lifelines.utils import concordance_index
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from cohorts import make_cohort, make_study
from radnet.appraisal.appraise import Trained, appraise
from radnet.appraisal.learning_curve import learning_curve
from radnet.appraisal.optimism import model_optimism
from radnet.appraisal.refits import Refits
from radnet.appraisal.resampling import draw_counts
from radnet.appraisal.settings import OptimismSettings
from radnet.cohort import Cohort, Endpoint, Outcome
from radnet.data.split import Fold, stratified_folds
from radnet.evaluation.cutoff import youden
from radnet.evaluation.cutoff_rules import by_median
from radnet.models.elastic_net_cox import ElasticNetCox
from radnet.predictors.nested import NestedPredictor, always
from radnet.predictors.reading import Reading
from radnet.predictors.tabular import TabularPredictor
from radnet.tables import METRIC_COLUMNS

RESPONSE = Endpoint("response", "response")
DFS = Endpoint("dfs", "dfs_event", "dfs_months", "months", horizon=24)
SETTINGS = OptimismSettings(resamples=12, learning_shares=[0.25, 0.5, 1.0], learning_draws=3)


def make(place, checkpoint):
    steps = {"scale": StandardScaler(), "classify": LogisticRegression(C=1.0)}
    return TabularPredictor("response", steps, clinical=["age"], regions=["lesion"])


@contextmanager
def silent(title):
    yield lambda done, total, what="": None


class Kept:
    """Keeps what fits gave, as a run's folder does, and counts those made."""

    def __init__(self):
        self.fits = {}
        self.made = 0

    def once(self, name, fit):
        if name not in self.fits:
            self.made += 1
            self.fits[name] = fit(None)
        return self.fits[name]


def trained(n=90, held_out=30, signal=1.5):
    cohort = make_cohort(n, seed=5, signal=signal, held_out=held_out)
    development = cohort.where(lambda one: one.split == "train")
    folds = partial(stratified_folds, n_folds=3, seed=1)
    model = NestedPredictor(make, [folds], [Reading(RESPONSE, youden)]).fit(development)
    return Trained("quick", RESPONSE, model, development, cohort.where(lambda one: one.split == "held_out"))


def written(one, folder, kept=None, settings=SETTINGS, covariates=("age",)):
    once = always if kept is None else kept.once
    found = appraise(one, folder, settings, covariates, (), make, once, seed=7, progress=silent)
    return {path.stem: pd.read_csv(path) for path in folder.glob("*.csv")}, found.messages


def test_a_run_writes_every_table_it_can_make(tmp_path):
    tables, told = written(trained(), tmp_path)

    assert told == []
    assert set(tables) == {"table_one", "regression", "nomogram", "importance", "optimism", "learning_curve"}
    assert tuple(tables["optimism"].columns) == METRIC_COLUMNS
    assert tables["optimism"]["method"].tolist() == ["bootstrap", "632plus"]
    assert set(tables["optimism"]["partition"]) == {"optimism_corrected"}
    assert tables["optimism"][["n", "n_event"]].iloc[0].tolist() == [60, 20]
    assert set(tables["importance"]["partition"]) == {"held_out", "development"}


def test_optimism_agrees_with_a_loop_over_rows_of_a_matrix():
    one = trained()
    apparent = one.model.predict(one.development).patients["score"]
    event, X = one.development.events("response"), one.model.frozen.inputs(one.development).to_numpy()
    optimism, outside = [], []
    for times in draw_counts(event, 12, seed=7):
        rows = np.repeat(np.arange(event.size), times)
        scale = StandardScaler().fit(X[rows])
        fitted = LogisticRegression(C=1.0).fit(scale.transform(X[rows]), event[rows])
        score = fitted.decision_function(scale.transform(X))
        optimism.append(roc_auc_score(event[rows], score[rows]) - roc_auc_score(event, score))
        outside.append(roc_auc_score(event[times == 0], score[times == 0]))

    found, told = model_optimism(Refits(make, always), one.development, "response", apparent, resamples=12, seed=7)

    assert told == []
    assert found.harrell == pytest.approx(roc_auc_score(event, apparent) - np.mean(optimism), abs=1e-12)
    np.testing.assert_allclose(found.out_of_bag, outside, atol=1e-12)


def test_pure_noise_is_worth_a_coin_by_the_632plus_rule():
    one = trained(n=60, held_out=0, signal=0.0)
    apparent = one.model.predict(one.development).patients["score"]

    found, _ = model_optimism(Refits(make, always), one.development, "response", apparent, resamples=40, seed=7)

    assert found.apparent > 0.7
    assert found.rule_632plus < 0.62  # of 60 patients; the standard error of an AUC of 0.5 is about 0.08
    assert found.rule_632plus < found.harrell < found.apparent


def test_a_run_that_goes_on_fits_nothing_twice(tmp_path):
    one, kept = trained(), Kept()
    first, _ = written(one, tmp_path / "first", kept)
    made_before = kept.made

    again, _ = written(one, tmp_path / "again", kept)

    assert made_before == 12 + 3 * 3 - 1  # resamples, and shares of draws but the model itself
    assert kept.made == made_before
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, again[name])


def test_a_learning_curve_ends_at_the_model_itself(tmp_path):
    one = trained()
    tables, _ = written(one, tmp_path)

    curve = tables["learning_curve"]

    assert curve["n"].tolist() == [15, 30, 60]
    assert curve["partition"].unique().tolist() == ["held_out"]
    # the quick model has no chance in it, so that all draws of everybody are the model
    auc = roc_auc_score(one.held_out.events("response"), one.model.predict(one.held_out).patients["score"])
    assert curve["estimate"].iloc[-1] == pytest.approx(auc)
    assert curve[["lowest", "highest"]].iloc[-1].tolist() == pytest.approx([auc, auc])
    assert (curve["lower"] < curve["estimate"]).all()
    assert (curve["upper"] > curve["estimate"]).all()


def test_where_nobody_is_held_out_folds_are_judged_and_the_ones_there_are_not_fitted_again(tmp_path):
    one, kept = trained(n=60, held_out=0), Kept()

    tables, told = written(one, tmp_path, kept)

    curve = tables["learning_curve"]
    assert told == []
    assert curve["partition"].unique().tolist() == ["out_of_fold"]
    assert curve["n"].tolist() == [10, 20, 40]
    assert kept.made == 12 + 3 * 2
    event = pd.Series(one.development.events("response"), index=one.development.ids)
    scores = [fold.prediction.patients["score"] for fold in one.model.out_of_fold]
    mean = np.mean([roc_auc_score(event[score.index], score) for score in scores])
    assert curve["estimate"].iloc[-1] == pytest.approx(mean)
    assert set(tables["importance"]["partition"]) == {"apparent", "development"}


def test_without_further_fits_there_is_neither_optimism_nor_a_curve(tmp_path):
    kept = Kept()

    tables, told = written(trained(), tmp_path, kept, OptimismSettings(0, [1.0], 0))

    assert set(tables) == {"table_one", "regression", "nomogram", "importance"}
    assert (told, kept.made) == ([], 0)


def test_a_covariate_the_cohort_does_not_have_is_told_of_and_left_out(tmp_path):
    tables, told = written(trained(), tmp_path, covariates=("shoe_size", "age"))

    assert told == ["tables/regression.csv: clinical.csv has no column shoe_size: left out (covariates=[…])"]
    assert set(tables["regression"]["variable"]) == {"score", "age"}


def test_a_table_that_cannot_be_made_is_told_of_and_the_others_are_made(tmp_path, monkeypatch):
    one = trained()
    alike = one.held_out.where(lambda patient: not patient.outcomes["response"].event)
    clinical = [replace(patient, clinical={**patient.clinical, "score": 1.0}) for patient in one.development.patients]
    named = replace(one, development=Cohort(tuple(clinical), one.development.features), held_out=alike)

    tables, told = written(named, tmp_path, covariates=("score",))

    assert told == ["tables/regression.csv: not made: a covariate may not be called score"]
    assert set(tables["importance"]["partition"]) == {"apparent", "development"}  # those held out share an outcome
    assert set(tables["learning_curve"]["partition"]) == {"out_of_fold"}


def test_samples_too_small_to_learn_from_are_told_of():
    one = trained(n=30, held_out=0)
    apparent = one.model.predict(one.development).patients["score"]

    class Refuses(TabularPredictor):
        def fit(self, train, valid=None):
            raise ValueError("too few to learn from")

    def refuse(place, checkpoint):
        return Refuses("response", {"classify": LogisticRegression()}, regions=["lesion"])

    with pytest.raises(ValueError, match="none of 3 bootstrap samples could be learned from: too few"):
        model_optimism(Refits(refuse, always), one.development, "response", apparent, resamples=3, seed=1)


def make_lasso(place, checkpoint):
    steps = {"scale": StandardScaler(), "lasso": ElasticNetCox(alpha=1.0, penalty=0.05)}
    return TabularPredictor("dfs", steps, clinical=["age"], regions=["lesion"])


def trained_on_follow_up(n=90, held_out=30, make=make_lasso):
    cohort = make_study(n, seed=5, held_out=held_out)
    development = cohort.where(lambda one: one.split == "train")
    folds = partial(stratified_folds, n_folds=3, seed=1)
    model = NestedPredictor(make, [folds], [Reading(DFS, by_median)]).fit(development)
    return Trained("lasso", DFS, model, development, cohort.where(lambda one: one.split == "held_out"))


def test_with_follow_up_a_run_writes_the_same_tables_with_the_c_index_and_says_what_it_lacks(tmp_path):
    one = trained_on_follow_up()

    found = appraise(one, tmp_path, SETTINGS, ("age",), (), make_lasso, always, seed=7, progress=silent)

    tables = {path.stem: pd.read_csv(path) for path in tmp_path.glob("*.csv")}
    assert set(tables) == {
        *("table_one", "regression", "nomogram", "importance", "optimism", "learning_curve", "selection")
    }
    assert found.messages == ["tables/optimism.csv: the .632+ rule is one for the AUC: left out of a C-index"]
    row = tables["optimism"].iloc[0]
    assert row[["partition", "metric", "method"]].tolist() == ["optimism_corrected", "c_index", "bootstrap"]
    assert row[["n", "n_event"]].tolist() == [60, one.development.events("dfs").sum()]
    curve = tables["learning_curve"]
    assert set(curve["metric"]) == {"c_index"}
    score = one.model.predict(one.held_out).patients["score"]
    judged = concordance_index(one.held_out.times("dfs"), -score, one.held_out.events("dfs"))
    assert curve["estimate"].iloc[-1] == pytest.approx(judged)
    assert (found.selection_stability.folds, found.selection_stability.upper <= 1) == (3, True)


def test_optimism_of_a_c_index_agrees_with_a_loop_over_rows_of_a_matrix():
    one = trained_on_follow_up(held_out=0)
    development = one.development
    apparent = one.model.predict(development).patients["score"].to_numpy()
    event, time = development.events("dfs"), development.times("dfs")
    X = one.model.frozen.inputs(development).to_numpy()
    y = np.array(list(zip(event, time, strict=True)), dtype=[("event", bool), ("time", float)])
    optimism = []
    for times in draw_counts(event, 6, seed=7):
        rows = np.repeat(np.arange(event.size), times)
        scale = StandardScaler().fit(X[rows])
        fitted = ElasticNetCox(alpha=1.0, penalty=0.05).fit(scale.transform(X[rows]), y[rows])
        score = fitted.predict(scale.transform(X))
        own = concordance_index(time[rows], -score[rows], event[rows])
        optimism.append(own - concordance_index(time, -score, event))
    series = pd.Series(apparent, index=development.ids)

    found, told = model_optimism(Refits(make_lasso, always), development, "dfs", series, resamples=6, seed=7)

    assert told == []
    assert found.harrell == pytest.approx(concordance_index(time, -apparent, event) - np.mean(optimism), abs=1e-9)


def test_a_share_whose_judges_cannot_be_compared_is_told_of():
    one = trained_on_follow_up(n=30, held_out=0)
    left_first = one.development.ids[:3]
    patients = tuple(
        replace(patient, outcomes={"dfs": Outcome(False, 1.0)}) if patient.id in left_first else patient
        for patient in one.development.patients
    )
    development = Cohort(patients, one.development.features)
    judged, alone = one.model.out_of_fold[:2]
    others = tuple(name for name in development.ids if name not in left_first)
    alone = replace(alone, fold=Fold("2", "", others, tuple(left_first)))
    scores = pd.DataFrame({"score": [1.0, 2.0, 3.0]}, index=list(left_first))
    alone = replace(alone, prediction=replace(alone.prediction, patients=scores))
    full = [judged, alone]

    curve, told = learning_curve(
        Refits(make_lasso, always), development, development.select([]), "dfs", full, [1.0], draws=2, seed=0
    )

    assert told == ["a share of 1 could not be judged in draw 2: that needs a pair of patients whose order is known"]
    assert curve["draws"].tolist() == [1]


def test_a_model_that_selects_nothing_leaves_no_table_of_selection(tmp_path):
    found = appraise(trained(), tmp_path, SETTINGS, ("age",), (), make, always, seed=7, progress=silent)

    assert found.selection_stability is None
    assert not (tmp_path / "selection.csv").exists()


def test_folds_that_select_nothing_have_no_stability_and_that_is_told(tmp_path):
    def nothing(place, checkpoint):
        steps = {"scale": StandardScaler(), "lasso": ElasticNetCox(alpha=1.0, penalty=9.0)}
        return TabularPredictor("dfs", steps, regions=["lesion"])

    one = trained_on_follow_up(make=nothing)
    few = OptimismSettings(0, [1.0], 0)

    found = appraise(one, tmp_path, few, ("age",), (), nothing, always, seed=7, progress=silent)

    assert found.selection_stability is None
    assert (
        "how stable the selection is cannot be told: every one of 3 selections is of no feature" in found.messages[-1]
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"resamples": -1}, "resamples must be 0 or more, got -1"),
        ({"learning_draws": -2}, "learning_draws must be 0 or more, got -2"),
        ({"learning_shares": [0.5, 1.5]}, "more than 0 and at most 1, got 0.5, 1.5"),
        ({"learning_shares": []}, "at most 1, got none"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        OptimismSettings(**{"resamples": 0, "learning_shares": [1.0], "learning_draws": 0, **wrong})
