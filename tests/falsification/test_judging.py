from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
from lifelines.utils import concordance_index

from cohorts import make_cohort, make_study
from radnet.cohort import Cohort, Endpoint
from radnet.data.split import stratified_folds
from radnet.evaluation.cutoff import youden
from radnet.evaluation.cutoff_rules import by_median
from radnet.falsification.baselines import clinical_control, image_control, volume_control
from radnet.falsification.judging import Design, judge_control, mean_discrimination
from radnet.falsification.refute import Inputs, refute
from radnet.falsification.settings import FalsificationSettings
from radnet.predictors.nested import NestedPredictor, always
from radnet.predictors.reading import Reading

RESPONSE = Endpoint("response", "response")
FOLDS, INNER = (partial(stratified_folds, n_folds=number, seed=7) for number in (4, 2))


def design(cohort, development=60):
    learned = Cohort(cohort.patients[:development])
    return Design(
        "response", learned, tuple(cohort.ids[development:]), (FOLDS, INNER), Reading(RESPONSE, youden), always
    )


@pytest.fixture
def cohort():
    return make_cohort(80, seed=1)


def test_a_control_of_some_patients_keeps_the_folds_of_all(cohort):
    sample = cohort.ids[::2]
    control = image_control("control_random_region", cohort, RESPONSE, cohort.features.of(sample), ("lesion",), "mean")

    found = list(judge_control(control, design(cohort)))

    of_all = {fold.name: set(fold.test) for fold in FOLDS(Cohort(cohort.patients[:60]), "response")}
    judged = {one.fold: set(one.cohort.ids) for one in found if one.partition == "out_of_fold"}
    assert judged == {name: test & set(sample) for name, test in of_all.items()}
    assert all(one.prediction.cutoff is None for one in found if one.partition == "out_of_fold")
    assert {one.partition: one.cohort.ids for one in found if one.partition != "out_of_fold"} == {
        "apparent": sample[:30],
        "held_out": sample[30:],
    }


def test_a_control_learns_nothing_from_those_it_judges(cohort):
    """With a held-out patient's or another fold's outcome turned, scores of the fold that does not learn it stay."""
    plain = {one.fold: one for one in judge_control(volume_control(cohort, RESPONSE), design(cohort)) if one.fold}
    rows = cohort.features.rows.copy()
    first = set(plain["1"].cohort.ids)
    rows.loc[rows["patient_id"].isin(first), "original_shape_VoxelVolume"] *= 1000
    changed = cohort.with_features(type(cohort.features)(rows))

    again = {one.fold: one for one in judge_control(volume_control(changed, RESPONSE), design(changed)) if one.fold}

    scores = [one["1"].prediction.patients["score"] for one in (plain, again)]
    moved = (scores[1] - scores[0]).to_numpy()
    np.testing.assert_allclose(moved, moved[0], rtol=1e-9)  # the line learned elsewhere, read ln 1000 further on
    assert moved[0] != 0
    assert plain["1"].prediction.cutoff == pytest.approx(again["1"].prediction.cutoff)


def test_a_sample_without_a_usable_fold_is_told(cohort):
    event = cohort.events("response")
    none = [one for one, happened in zip(cohort.ids, event, strict=True) if not happened]
    control = image_control("control_random_region", cohort, RESPONSE, cohort.features.of(none), ("lesion",), "mean")

    with pytest.raises(ValueError, match="leave no fold that has patients with and without the event to learn from"):
        list(judge_control(control, design(cohort)))


def test_with_follow_up_a_control_has_a_cut_off_and_a_c_index_within_folds():
    cohort = make_study(80, seed=1)
    learned = Cohort(cohort.patients[:60])
    dfs = Endpoint("dfs", "dfs_event", "dfs_months", "months", horizon=24)
    plan = Design("dfs", learned, tuple(cohort.ids[60:]), (FOLDS, INNER), Reading(dfs, by_median), always)

    found = list(judge_control(clinical_control(cohort, dfs, ["age", "hr"]), plan))

    assert all(one.prediction.cutoff is not None for one in found)
    assert all(one.prediction.patients["probability"].between(0, 1).all() for one in found)
    nested = NestedPredictor(
        lambda place, checkpoint: clinical_control(cohort, dfs, ["age", "hr"]).predictor(),
        [FOLDS],
        [Reading(dfs, by_median)],
    ).judge(learned)
    values = []
    for one in found:
        if one.partition == "out_of_fold":
            score = one.prediction.patients["score"].loc[one.cohort.ids]
            values.append(concordance_index(one.cohort.times("dfs"), -score, one.cohort.events("dfs")))
    assert mean_discrimination(nested, learned) == pytest.approx(np.mean(values), abs=1e-12)


def test_a_sample_in_which_the_order_of_nobody_is_known_is_told():
    cohort = make_study(80, seed=1)
    event = cohort.events("dfs")
    none = [one for one, happened in zip(cohort.ids, event, strict=True) if not happened]
    dfs = Endpoint("dfs", "dfs_event", "dfs_months", "months")
    control = image_control("control_random_region", cohort, dfs, cohort.features.of(none), ("lesion",), "mean")
    plan = Design("dfs", Cohort(cohort.patients[:60]), (), (FOLDS, INNER), Reading(dfs, by_median), always)

    with pytest.raises(
        ValueError, match="leave no fold that has a pair of patients whose order is known to learn from"
    ):
        list(judge_control(control, plan))


def test_a_patient_without_a_measured_lesion_costs_the_trial_nothing_but_that_patient(cohort):
    lacking = {cohort.ids[5], cohort.ids[70]}
    rows = cohort.features.rows.copy()
    rows.loc[rows["patient_id"].isin(lacking), cohort.features.names] = np.nan
    some = cohort.with_features(type(cohort.features)(rows))
    settings = FalsificationSettings(3, "logistic", 2, 4, None, None)
    inputs = Inputs(some, ("lesion",), "mean", ("age",))

    found = refute(settings, design(some), inputs, lambda *_: 0.5, 1, lambda _: nullcontext(lambda *_: None))

    patients = {one["model"]: one["patients"] for one in found.record["controls"]}
    assert patients == {"control_volume": 78, "control_clinical": 80, "control_random_features": 78}
    ends = {one["model"]: one["what"].endswith("; 2 of 80 patients have no measured lesion and are left out")
            for one in found.record["controls"]}  # fmt: skip
    assert ends == {"control_volume": True, "control_clinical": False, "control_random_features": True}
    assert (found.record["unmeasured"], found.record["not_run"]) == (2, [])
    assert len(found.record["permutation"]["null"]) == 3
    of_all = {fold.name: set(fold.test) for fold in FOLDS(Cohort(some.patients[:60]), "response")}
    judged = {one.fold: set(one.cohort.ids) for name, one in found.scores if name == "control_volume" and one.fold}
    assert judged == {name: test - lacking for name, test in of_all.items()}


def test_a_model_of_patches_alone_is_told_why_its_outcomes_were_not_permuted(cohort):
    settings = FalsificationSettings(3, "logistic", 2, 4, None, None)
    inputs = Inputs(Cohort(cohort.patients), (), "mean", ())

    found = refute(settings, design(cohort), inputs, lambda *_: 0.5, 1, lambda _: nullcontext(lambda *_: None))

    why = {one["model"]: one["why"] for one in found.record["not_run"]}
    assert why["permutation"].endswith("this model has neither: falsification.permute=model")
