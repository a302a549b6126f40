import numpy as np
import pandas as pd
import pytest

from cohorts import make_cohort
from radnet.cohort import Cohort, FeatureTable
from radnet.falsification.baselines import (
    clinical_control,
    image_controls,
    random_features_control,
    random_signature,
    volume_control,
)
from radnet.predictors.base import lesion_features


def test_the_volume_control_reads_the_logarithm_of_all_lesions_together_and_nothing_else(cohort):
    control = volume_control(cohort)

    rows = cohort.features.rows
    expected = [np.log(rows.loc[rows["patient_id"] == one, "original_shape_VoxelVolume"].sum()) for one in cohort.ids]
    assert control.cohort.features.names == ["log_volume"]
    np.testing.assert_allclose(control.cohort.features.rows["log_volume"], expected, rtol=1e-12)
    assert control.clinical == ()
    assert control.lesions == len(rows)


def test_volume_scores_rise_or_fall_with_volume(cohort):
    control = volume_control(cohort)

    score = control.predictor("response").fit(control.cohort).predict(control.cohort).patients["score"]

    volume = control.cohort.features.rows.set_index("patient_id")["log_volume"]
    assert abs(score.corr(volume.loc[score.index])) == pytest.approx(1.0)


def test_features_without_a_volume_are_told(cohort):
    rows = cohort.features.rows.drop(columns="original_shape_VoxelVolume")

    with pytest.raises(ValueError, match="hold no volume"):
        volume_control(Cohort(cohort.patients, FeatureTable(rows)))


def test_clinical_columns_the_cohort_lacks_are_left_out_and_told(cohort):
    control = clinical_control(cohort, ["age", "subtype", "visceral"])

    assert control.clinical == ("age", "subtype")
    assert control.what == "logistic regression on age, subtype (clinical.csv lacks visceral)"
    assert control.cohort.features is None
    scores = control.predictor("response").fit(control.cohort).predict(control.cohort).patients["score"]
    assert scores.nunique() > 2


@pytest.mark.parametrize(("columns", "message"), [([], "no clinical columns are named"), (["x"], "has none of x")])
def test_a_clinical_control_needs_columns(cohort, columns, message):
    with pytest.raises(ValueError, match=message):
        clinical_control(cohort, columns)


def test_a_random_signature_is_of_the_size_asked_for_and_each_draw_another():
    names = [f"f{number}" for number in range(40)]

    drawn = [tuple(random_signature(names, 10, seed=1, number=number)) for number in range(50)]

    assert all(len(set(one)) == 10 and set(one) <= set(names) for one in drawn)
    assert len(set(drawn)) == 50
    assert drawn[0] == tuple(random_signature(names, 10, seed=1))
    assert random_signature(names[:3], 10, seed=1) == names[:3]


def test_random_features_are_those_of_the_model_pooled_over_lesions(cohort):
    inputs = lesion_features(cohort, ("lesion",), "largest").patients

    control = random_features_control(cohort, inputs, size=4, seed=2)

    names = control.cohort.features.names
    assert len(names) == 4
    table = control.cohort.features.rows.set_index("patient_id")[names]
    pd.testing.assert_frame_equal(table, inputs[names], check_names=False)


def test_image_controls_are_of_the_patients_measured_on_every_kind_of_image():
    cohort = make_cohort(20, seed=1)
    shuffled = cohort.features.of(cohort.ids[:12])
    moved = cohort.features.of(cohort.ids[4:16])

    controls = image_controls(
        cohort, {"control_shuffled_voxels": shuffled, "control_random_region": moved}, ("lesion",), "mean"
    )

    assert [one.model for one in controls] == ["control_shuffled_voxels", "control_random_region"]
    assert [one.cohort.ids for one in controls] == [cohort.ids[4:12]] * 2


def test_image_controls_without_a_patient_in_common_are_told():
    cohort = make_cohort(20, seed=1)
    tables = {"a": cohort.features.of(cohort.ids[:5]), "b": cohort.features.of(cohort.ids[5:])}

    with pytest.raises(ValueError, match="no patient's lesions could be measured on every kind of image"):
        image_controls(cohort, tables, ("lesion",), "mean")
