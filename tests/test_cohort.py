import numpy as np
import pandas as pd
import pytest

from cohorts import make_cohort
from radnet.cohort import (
    FEATURE_KEYS,
    Cohort,
    Delineation,
    Endpoint,
    FeatureTable,
    Lesion,
    Outcome,
    PatchTable,
    Patient,
)


def test_where_keeps_the_features_in_step_with_the_patients(cohort):
    kept = cohort.where(lambda patient: patient.centre == "A")

    assert kept.centres == ["A"] * 30
    assert set(kept.features.rows["patient_id"]) == set(kept.ids)


def test_a_patient_twice_is_refused():
    with pytest.raises(ValueError, match="patient ids stand twice: P1"):
        Cohort((Patient("P1", "A"), Patient("P1", "B")))


def test_features_of_a_stranger_are_refused(cohort):
    with pytest.raises(ValueError, match="features of patients the cohort does not have: P001"):
        Cohort(cohort.patients[:1] + cohort.patients[2:], cohort.features)


def test_a_lesion_twice_is_refused():
    with pytest.raises(ValueError, match=r"patient P1: lesion ids stand twice: \['L1'\]"):
        Patient("P1", "A", lesions=(Lesion("L1"), Lesion("L1")))


def test_a_delineation_twice_is_refused():
    with pytest.raises(ValueError, match="delineated twice"):
        Lesion("L1", delineations=(Delineation(), Delineation()))


@pytest.mark.parametrize("time", [0.0, -1.0, float("nan")])
def test_follow_up_must_be_longer_than_zero(time):
    with pytest.raises(ValueError, match="follow-up must be longer than 0"):
        Outcome(event=True, time=time)


def test_an_endpoint_with_times_names_their_unit():
    with pytest.raises(ValueError, match=r"endpoint pfs: a time column \(pfs_months\) needs endpoint.time_unit"):
        Endpoint("pfs", "pfs_event", "pfs_months")


def test_an_unknown_outcome_leaves_a_patient_unevaluable_not_negative():
    cohort = Cohort(
        (Patient("P1", "A", outcomes={"response": None}), Patient("P2", "A", outcomes={"response": Outcome(True)}))
    )

    assert cohort.evaluable("response").ids == ["P2"]
    with pytest.raises(ValueError, match="no outcome for 1 patients, such as P1"):
        cohort.events("response")


def test_a_patient_may_carry_several_endpoints():
    outcomes = {"response": Outcome(True), "pfs": Outcome(False, 3.5)}
    cohort = Cohort((Patient("P1", "A", outcomes=outcomes),))

    assert cohort.events("response").tolist() == [True]
    assert cohort.events("pfs").tolist() == [False]
    assert cohort.times("pfs").tolist() == [3.5]
    assert np.isnan(cohort.times("response")).all()


def test_regions_and_further_channels_become_prefixes():
    keys = [("P1", "L1", region, channel, "1", "1") for channel in ("CT", "PET") for region in ("lesion", "ring")]
    rows = pd.DataFrame(keys, columns=list(FEATURE_KEYS)).assign(
        status="ok", original_glcm_Contrast=[1.0, 2.0, 3.0, 4.0]
    )

    matrix = FeatureTable(rows).lesion_matrix(("lesion", "ring"))

    assert matrix.loc[("P1", "L1")].to_dict() == {
        "original_glcm_Contrast": 1.0,
        "ring__original_glcm_Contrast": 2.0,
        "PET__original_glcm_Contrast": 3.0,
        "PET__ring__original_glcm_Contrast": 4.0,
    }


def test_a_second_reader_does_not_enter_the_matrix():
    keys = [("P1", "L1", "lesion", "image", reader, "1") for reader in ("1", "2")]
    rows = pd.DataFrame(keys, columns=list(FEATURE_KEYS)).assign(status="ok", f=[1.0, 9.0])

    assert FeatureTable(rows).lesion_matrix()["f"].tolist() == [1.0]


def test_a_lone_reader_by_name_is_the_first_reader():
    keys = [("P1", "L1", "lesion", "image", "JS", "b"), ("P1", "L1", "lesion", "image", "AK", "1")]
    rows = pd.DataFrame(keys, columns=list(FEATURE_KEYS)).assign(status="ok", f=[1.0, 9.0])

    assert FeatureTable(rows).lesion_matrix()["f"].tolist() == [9.0]
    assert FeatureTable(rows.head(1)).lesion_matrix()["f"].tolist() == [1.0]


def test_columns_do_not_depend_on_which_patients_are_kept():
    keys = [("P1", "L1", "lesion", "CT", "1", "1"), ("P2", "L1", "lesion", "PET", "1", "1")]
    table = FeatureTable(pd.DataFrame(keys, columns=list(FEATURE_KEYS)).assign(status="ok", f=[1.0, 2.0]))

    assert list(table.of(["P2"]).lesion_matrix().columns) == list(table.lesion_matrix().columns) == ["f", "PET__f"]


def test_a_region_that_was_not_measured_is_named(cohort):
    with pytest.raises(ValueError, match="the feature table has no region ring; it has lesion"):
        cohort.features.lesion_matrix(("lesion", "ring"))


def test_an_absent_clinical_column_is_named(cohort):
    with pytest.raises(ValueError, match=r"clinical.csv has no column sites_ge3; it has age, lines_ge2, subtype"):
        cohort.clinical(["age", "sites_ge3"])


def test_selecting_an_unknown_patient_is_refused():
    with pytest.raises(ValueError, match="the cohort has no patient P999"):
        make_cohort(3, seed=0).select(["P000", "P999"])


def test_a_matrix_of_delineations_has_the_columns_of_the_one_of_lesions_and_a_row_for_each_reader_and_repeat():
    keys = [
        ("P1", "L1", region, channel, reader, repeat)
        for channel in ("CT", "PET")
        for region in ("lesion", "ring")
        for reader, repeat in (("2", "1"), ("1", "1"), ("1", "grow_15pct"))
        if (channel, reader) != ("PET", "2")
    ]
    rows = pd.DataFrame(keys, columns=list(FEATURE_KEYS)).assign(status="ok", mean=np.arange(len(keys), dtype=float))
    rows.loc[1, ["status", "mean"]] = ["mask is empty", np.nan]
    table = FeatureTable(rows)

    matrix = table.delineation_matrix(("lesion", "ring"))

    assert list(matrix.index.names) == ["patient_id", "lesion_id", "reader", "repeat"]
    assert list(matrix.columns) == list(table.lesion_matrix(("lesion", "ring")).columns)
    np.testing.assert_array_equal(matrix.loc[("P1", "L1", "2", "1")], [0, 3, np.nan, np.nan])
    np.testing.assert_array_equal(matrix.loc[("P1", "L1", "1", "1")], [np.nan, 4, 6, 8])
    np.testing.assert_array_equal(matrix.loc[("P1", "L1", "1", "grow_15pct")], [2, 5, 7, 9])
    assert len(matrix) == 3
    with pytest.raises(ValueError, match="the feature table has no region inner; it has lesion, ring"):
        table.delineation_matrix(("inner",))


def patches(folder) -> PatchTable:
    """Patches of three lesions, one of which has none; a file of four, each filled with its place."""
    places = np.arange(4, dtype=np.float16)[:, None, None, None, None]
    np.save(folder / "patches.npy", places * np.ones((1, 2, 3, 3, 3), np.float16))
    rows = [
        {"patient_id": "P000", "lesion_id": "L1", "place": 3, "status": "ok", "spacing_mm": (1.0, 1.0, 1.0)},
        {"patient_id": "P001", "lesion_id": "L1", "place": -1, "status": "the mask is empty", "spacing_mm": None},
        {"patient_id": "P001", "lesion_id": "L2", "place": 0, "status": "ok", "spacing_mm": (2.0, 1.0, 1.0)},
    ]
    table = pd.DataFrame(rows).assign(remark="")
    return PatchTable(folder / "patches.npy", table, {"soft": "image", "lesion": "mask"}, {"made": "by a test"})


def test_patches_stay_in_step_with_the_patients_and_keep_their_file(cohort, tmp_path):
    whole = cohort.with_patches(patches(tmp_path))

    kept = whole.where(lambda patient: patient.centre == "B").with_features(cohort.features)
    chosen = whole.select(["P001"])

    for part in (kept, chosen):
        assert part.patches.rows["lesion_id"].tolist() == ["L1", "L2"]
        assert part.patches.file == tmp_path / "patches.npy"
        assert part.patches.channels == {"soft": "image", "lesion": "mask"}
        assert set(part.patches.array()[part.patches.rows["place"][1]].ravel()) == {0.0}
    assert set(kept.features.rows["patient_id"]) == set(kept.ids)
    assert whole.first_delineations().patches is None


def test_an_array_of_patches_is_mapped_and_cannot_be_written(tmp_path):
    array = patches(tmp_path).array()
    assert isinstance(array, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_patches_of_a_stranger_are_refused(cohort, tmp_path):
    with pytest.raises(ValueError, match="patches of patients the cohort does not have: P000"):
        Cohort(cohort.patients[1:], None, patches(tmp_path))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"place": [3, 2, 0]}, r"exactly when its status is ok, not so: \['P001/L1'\]"),
        ({"place": [-1, -1, 0]}, r"exactly when its status is ok, not so: \['P000/L1'\]"),
        ({"lesion_id": ["L1", "L2", "L2"]}, r"lesions stand twice in the patch table: \[\('P001', 'L2'\)\]"),
    ],
)
def test_a_patch_table_that_contradicts_itself_is_refused(tmp_path, wrong, told):
    table = patches(tmp_path)
    with pytest.raises(ValueError, match=told):
        PatchTable(table.file, table.rows.assign(**wrong), table.channels)


def test_a_patch_table_without_its_columns_is_refused(tmp_path):
    table = patches(tmp_path)
    with pytest.raises(ValueError, match="a patch table needs the columns place, remark"):
        PatchTable(table.file, table.rows.drop(columns=["place", "remark"]), table.channels)
