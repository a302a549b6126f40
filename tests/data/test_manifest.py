import pandas as pd
import pytest

from cohorts import make_cohort, write_cohort
from radnet.cohort import Endpoint
from radnet.data.manifest import read_manifest
from radnet.tables import TableFault

RESPONSE = Endpoint("response", "response")
PFS = Endpoint("pfs", "pfs_event", "pfs_months", "months")


def folder(tmp_path, clinical, lesions=None, files=()):
    (tmp_path / "clinical.csv").write_text(clinical)
    if lesions is not None:
        (tmp_path / "lesions.csv").write_text(lesions)
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_a_cohort_comes_back_as_it_was_written(tmp_path):
    written = make_cohort(9, seed=3, held_out=3)

    read = read_manifest(write_cohort(written, tmp_path), [RESPONSE])

    assert read.ids == written.ids
    assert [one.split for one in read.patients] == [one.split for one in written.patients]
    assert read.events("response").tolist() == written.events("response").tolist()
    assert read.clinical(["age", "subtype"]).equals(written.clinical(["age", "subtype"]))
    pd.testing.assert_frame_equal(read.features.rows, written.features.rows)
    assert read.features.provenance == {"engine": "made by a test"}


def test_channels_readers_and_repeats_are_delineations_of_one_lesion(tmp_path):
    lesions = (
        "patient_id,lesion_id,image,mask,label,channel,reader,repeat,site\n"
        "P1,L1,i/ct.nii,i/m.nii,3,CT,,,liver\nP1,L1,i/pet.nii,i/m.nii,3,PET,,,liver\nP1,L1,i/ct.nii,i/m2.nii,,CT,2,,liver\n"
        "P1,L1,i/ct.nii,i/m3.nii,,CT,1,2,liver\n"
    )
    files = [f"i/{name}.nii" for name in ("ct", "pet", "m", "m2", "m3")]
    root = folder(tmp_path, "patient_id,centre,response\nP1,A,1\n", lesions, files)

    (lesion,) = read_manifest(root, [RESPONSE]).patients[0].lesions

    found = [(one.channel, one.reader, one.repeat, one.label, one.mask.name) for one in lesion.delineations]
    assert lesion.site == "liver"
    assert found == [
        ("CT", "1", "1", 3, "m.nii"),
        ("PET", "1", "1", 3, "m.nii"),
        ("CT", "2", "1", 1, "m2.nii"),
        ("CT", "1", "2", 1, "m3.nii"),
    ]


def test_several_endpoints_and_missing_outcomes(tmp_path):
    root = folder(tmp_path, "patient_id,centre,response,pfs_event,pfs_months\nP1,A,1,0,3.5\nP2,A,,1,2\nP3,B,0,1,\n")

    cohort = read_manifest(root, [RESPONSE, PFS])

    assert cohort.evaluable("response").ids == ["P1", "P3"]
    assert cohort.evaluable("pfs").ids == ["P1", "P2"]
    assert cohort.evaluable("pfs").times("pfs").tolist() == [3.5, 2.0]


def test_every_fault_of_the_tables_is_named_at_once(tmp_path):
    root = folder(
        tmp_path,
        "patient_id,centre,split,response,pfs_event,pfs_months\nP1,A,train,2,1,4\nP1,A,train,1,1,4\nP3,,test,0,1,-2\n,B,train,0,0,1\n",
        "patient_id,lesion_id,image,mask,label\nP1,L1,no.nii,no.nii,1\nP9,L1,,,1\nP3,L1,a.nii,,0\n",
    )

    with pytest.raises(TableFault) as fault:
        read_manifest(root, [RESPONSE, PFS])

    told = "\n".join(fault.value.faults)
    for expected in (
        "clinical.csv row 2 (patient P1): response is '2', expected 0 or 1",
        "clinical.csv row 3 (patient P1): the patient already stands in row 2",
        "clinical.csv row 4 (patient P3): centre is empty",
        "clinical.csv row 4 (patient P3): split is 'test', expected train, held_out or empty",
        "clinical.csv row 4 (patient P3): pfs_months is '-2', expected months longer than 0",
        "clinical.csv row 5 (patient ?): patient_id is empty",
        "lesions.csv row 2 (patient P1, lesion L1): image file is missing",
        "lesions.csv row 3 (patient P9, lesion L1): clinical.csv has no such patient",
        "lesions.csv row 4 (patient P3, lesion L1): label is '0', expected a whole number of 1 or more",
        "lesions.csv row 4 (patient P3, lesion L1): an image and a mask come together",
    ):
        assert expected in told


def test_a_mistyped_outcome_column_gets_a_hint(tmp_path):
    root = folder(tmp_path, "patient_id,centre,respnse\nP1,A,1\n")

    with pytest.raises(TableFault, match="no column response; did you mean respnse"):
        read_manifest(root, [RESPONSE])


def test_the_truth_of_a_simulation_cannot_be_read_as_data(tmp_path):
    lesions = "patient_id,lesion_id,image,mask\nP1,L1,truth/truth.json,truth/truth.json\n"
    root = folder(tmp_path, "patient_id,centre,response\nP1,A,1\n", lesions, ["truth/truth.json"])

    with pytest.raises(TableFault, match="lies in a folder named truth"):
        read_manifest(root, [RESPONSE])
    with pytest.raises(ValueError, match="never read here"):
        read_manifest(root / "truth", [RESPONSE])


def test_half_a_split_column_is_refused(tmp_path):
    root = folder(tmp_path, "patient_id,centre,split\nP1,A,train\nP2,A,\n")

    with pytest.raises(TableFault, match=r"split is empty for 1 patients \(P2\); fill all or none"):
        read_manifest(root)


def test_ids_keep_their_zeros_and_numbers_become_numbers(tmp_path):
    root = folder(tmp_path, "patient_id,centre,age,grade\n007,01,61,2\n008,01,,x\n")

    cohort = read_manifest(root)

    assert cohort.ids == ["007", "008"]
    assert cohort.centres == ["01", "01"]
    assert cohort.patients[0].clinical == {"age": 61.0, "grade": 2.0}
    assert cohort.patients[1].clinical == {"age": None, "grade": "x"}


def test_a_published_feature_table_is_a_cohort_without_images(tmp_path):
    root = folder(tmp_path, "patient_id,centre,response\nP1,A,1\nP2,A,0\n")
    table = pd.DataFrame({"patient_id": ["P1", "P2"], "lesion_id": ["1", "1"], "original_glcm_Contrast": [1.0, 2.0]})
    table.to_parquet(root / "features.parquet")

    cohort = read_manifest(root, [RESPONSE])

    assert cohort.features.lesion_matrix()["original_glcm_Contrast"].tolist() == [1.0, 2.0]


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="a cohort is a folder with a clinical.csv"):
        read_manifest(tmp_path / "nowhere")
