from functools import partial

import numpy as np
import pytest

from cohorts import make_cohort
from radnet.cohort import Cohort
from radnet.data.split import stratified_folds
from radnet.evaluation.cutoff import youden
from radnet.falsification.baselines import image_control, volume_control
from radnet.falsification.judging import Design, judge_control
from radnet.predictors.nested import always

FOLDS, INNER = (partial(stratified_folds, n_folds=number, seed=7) for number in (4, 2))


def design(cohort, development=60):
    learned = Cohort(cohort.patients[:development])
    return Design("response", learned, tuple(cohort.ids[development:]), (FOLDS, INNER), youden, always)


@pytest.fixture
def cohort():
    return make_cohort(80, seed=1)


def test_a_control_of_some_patients_keeps_the_folds_of_all(cohort):
    sample = cohort.ids[::2]
    control = image_control("control_random_region", cohort, cohort.features.of(sample), ("lesion",), "mean")

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
    plain = {one.fold: one for one in judge_control(volume_control(cohort), design(cohort)) if one.fold}
    rows = cohort.features.rows.copy()
    first = set(plain["1"].cohort.ids)
    rows.loc[rows["patient_id"].isin(first), "original_shape_VoxelVolume"] *= 1000
    changed = cohort.with_features(type(cohort.features)(rows))

    again = {one.fold: one for one in judge_control(volume_control(changed), design(changed)) if one.fold}

    scores = [one["1"].prediction.patients["score"] for one in (plain, again)]
    moved = (scores[1] - scores[0]).to_numpy()
    np.testing.assert_allclose(moved, moved[0], rtol=1e-9)  # the line learned elsewhere, read ln 1000 further on
    assert moved[0] != 0
    assert plain["1"].prediction.cutoff == pytest.approx(again["1"].prediction.cutoff)


def test_a_sample_without_a_usable_fold_is_told(cohort):
    event = cohort.events("response")
    none = [one for one, happened in zip(cohort.ids, event, strict=True) if not happened]
    control = image_control("control_random_region", cohort, cohort.features.of(none), ("lesion",), "mean")

    with pytest.raises(ValueError, match="leave no fold that has both classes to learn from"):
        list(judge_control(control, design(cohort)))
