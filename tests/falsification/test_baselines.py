from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cohorts import make_cohort, make_study
from radnet.cohort import Cohort, Endpoint, FeatureTable, Outcome
from radnet.falsification.baselines import (
    clinical_control,
    image_control,
    random_features_control,
    random_signature,
    volume_control,
)
from radnet.predictors.base import lesion_features

RESPONSE = Endpoint("response", "response")
DFS = Endpoint("dfs", "dfs_event", "dfs_months", "months")


def test_the_volume_control_reads_the_logarithms_of_total_and_mean_volume_and_nothing_else(cohort):
    control = volume_control(cohort, RESPONSE)

    rows = cohort.features.rows
    volumes = [rows.loc[rows["patient_id"] == one, "original_shape_VoxelVolume"].to_numpy() for one in cohort.ids]
    expected = [[np.log(one.sum()), np.log(one.sum() / one.size)] for one in volumes]
    assert control.cohort.features.names == ["log_volume_total", "log_volume_mean"]
    np.testing.assert_allclose(control.cohort.features.rows[control.cohort.features.names], expected, rtol=1e-12)
    assert control.clinical == ()
    assert control.lesions == len(rows)


def test_volume_scores_are_a_line_in_the_two_logarithms(cohort):
    control = volume_control(cohort, RESPONSE)

    score = control.predictor().fit(control.cohort).predict(control.cohort).patients["score"]

    table = control.cohort.features.rows.set_index("patient_id").loc[score.index, control.cohort.features.names]
    inputs = np.column_stack([table, np.ones(len(table))])
    line, *_ = np.linalg.lstsq(inputs, score.to_numpy(), rcond=None)
    np.testing.assert_allclose(inputs @ line, score, atol=1e-9)


def test_with_follow_up_controls_are_cox_regressions_and_stay_finite_with_an_event_or_two():
    cohort = make_study(30, seed=2)
    few = np.argsort(np.where(cohort.events("dfs"), cohort.times("dfs"), np.inf))[:2]
    patients = tuple(
        replace(one, outcomes={"dfs": Outcome(place in few, one.outcomes["dfs"].time)})
        for place, one in enumerate(cohort.patients)
    )
    rare = Cohort(patients, cohort.features)
    inputs = lesion_features(rare, ("lesion",), "mean").patients

    controls = [
        volume_control(rare, DFS),
        clinical_control(rare, DFS, ["age", "ctnm"]),
        random_features_control(rare, DFS, inputs, size=10, seed=0),
        image_control("control_same_patients", rare, DFS, rare.features, ("lesion",), "mean"),
    ]

    assert [one.what.split(" on ")[0] for one in controls] == [*["Cox regression"] * 3, "ridge Cox regression"]
    for one in controls:
        score = one.predictor().fit(one.cohort).predict(one.cohort).patients["score"]
        assert score.between(-10, 10).all()
        assert score.nunique() > 2


def test_features_without_a_volume_are_told(cohort):
    rows = cohort.features.rows.drop(columns="original_shape_VoxelVolume")

    with pytest.raises(ValueError, match="hold no volume"):
        volume_control(Cohort(cohort.patients, FeatureTable(rows)), RESPONSE)


def test_clinical_columns_the_cohort_lacks_are_left_out_and_told(cohort):
    control = clinical_control(cohort, RESPONSE, ["age", "subtype", "visceral"])

    assert control.clinical == ("age", "subtype")
    assert control.what == "logistic regression on age, subtype (clinical.csv lacks visceral)"
    assert control.cohort.features is None
    scores = control.predictor().fit(control.cohort).predict(control.cohort).patients["score"]
    assert scores.nunique() > 2


@pytest.mark.parametrize(("columns", "message"), [([], "no clinical columns are named"), (["x"], "has none of x")])
def test_a_clinical_control_needs_columns(cohort, columns, message):
    with pytest.raises(ValueError, match=message):
        clinical_control(cohort, RESPONSE, columns)


def test_a_random_signature_is_of_the_size_asked_for_and_each_draw_another():
    names = [f"f{number}" for number in range(40)]

    drawn = [tuple(random_signature(names, 10, seed=1, number=number)) for number in range(50)]

    assert all(len(set(one)) == 10 and set(one) <= set(names) for one in drawn)
    assert len(set(drawn)) == 50
    assert drawn[0] == tuple(random_signature(names, 10, seed=1))
    assert random_signature(names[:3], 10, seed=1) == names[:3]


def test_random_features_are_those_of_the_model_pooled_over_lesions(cohort):
    inputs = lesion_features(cohort, ("lesion",), "largest").patients

    control = random_features_control(cohort, RESPONSE, inputs, size=4, seed=2)

    names = control.cohort.features.names
    assert len(names) == 4
    table = control.cohort.features.rows.set_index("patient_id")[names]
    pd.testing.assert_frame_equal(table, inputs[names], check_names=False)


def test_an_image_control_is_of_the_patients_with_a_measured_lesion():
    cohort = make_cohort(20, seed=1)
    rows = cohort.features.of(cohort.ids[4:16]).rows.copy()
    lost = rows["patient_id"].isin(cohort.ids[4:8])
    rows.loc[lost, cohort.features.names] = np.nan
    rows.loc[lost, "status"] = "no other place in the image"

    control = image_control("control_random_region", cohort, RESPONSE, FeatureTable(rows), ("lesion",), "mean")

    assert control.cohort.ids == cohort.ids[8:16]
    expected = lesion_features(cohort.select(cohort.ids[8:16]), ("lesion",), "mean").patients
    found = control.cohort.features.rows.set_index("patient_id")[cohort.features.names]
    pd.testing.assert_frame_equal(found, expected, check_names=False)


def test_an_image_control_without_a_measured_lesion_is_told():
    cohort = make_cohort(20, seed=1)
    rows = cohort.features.rows.assign(status="no other place in the image")
    rows[cohort.features.names] = np.nan

    with pytest.raises(ValueError, match="no lesion could be measured: no other place in the image"):
        image_control("control_random_region", cohort, RESPONSE, FeatureTable(rows), ("lesion",), "mean")
