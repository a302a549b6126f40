"""A sound cohort folder, broken in one place at a time: what is told, and who is still usable."""

import os
import shutil
from io import StringIO

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
from rich.console import Console

from radnet.check.cohort_folder import check_cohort, chosen_endpoints, findings_table, present_endpoints, write_findings
from radnet.cli import main
from radnet.data.manifest import read_manifest
from radnet.radiomics.settings import ExtractionSettings
from radnet.tables import TableFault

PATIENTS = ["P1", "P2", "P3", "P4", "P5", "P6"]
SETTINGS = ExtractionSettings("small", log_sigma_mm=(), wavelet=False, minimum_voxels=20)


def volume(array, spacing=(1.0, 1.0, 2.0), origin=(0.0, 0.0, 0.0), direction=None):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    if direction is not None:
        image.SetDirection(direction)
    return image


def noise(seed, shape=(8, 12, 12), dtype=np.int16):
    return np.random.default_rng(seed).normal(40, 20, shape).astype(dtype)


def ball(value=1, shape=(8, 12, 12), size=4):
    mask = np.zeros(shape, np.uint8)
    mask[2 : 2 + size, 4 : 4 + size, 4 : 4 + size] = value
    return mask


@pytest.fixture(scope="session")
def sound(tmp_path_factory):
    """Six patients of three centres, each with an image and a lesion."""
    root = tmp_path_factory.mktemp("sound")
    (root / "images").mkdir()
    rows = []
    for seed, patient in enumerate(PATIENTS):
        sitk.WriteImage(volume(noise(seed)), root / "images" / f"{patient}.nii.gz")
        sitk.WriteImage(volume(ball()), root / "images" / f"{patient}_mask.nii.gz")
        rows.append(f"{patient},L1,images/{patient}.nii.gz,images/{patient}_mask.nii.gz,1")
    (root / "lesions.csv").write_text("patient_id,lesion_id,image,mask,label\n" + "\n".join(rows) + "\n")
    (root / "clinical.csv").write_text(
        "patient_id,centre,split,response,pfs_event,pfs_months,age,subtype\n"
        "P1,A,train,1,0,12.5,61,TNBC\nP2,A,train,0,1,3,55,HER2+\nP3,B,train,1,0,8,70,TNBC\n"
        "P4,B,train,0,1,2,48,HER2+\nP5,C,held_out,1,1,5,66,TNBC\nP6,C,held_out,0,0,9,59,TNBC\n"
    )
    (root / "clinical.yaml").write_text(
        "columns:\n  age: {unit: years, minimum: 18, maximum: 110}\n  subtype: {categories: [TNBC, HER2+]}\n"
    )
    return root


@pytest.fixture
def root(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "cohort")


def edit(name, old, new):
    def apply(root):
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new, 1))

    return apply


def clinical(old, new):
    return edit("clinical.csv", old, new)


def lesions(old, new):
    return edit("lesions.csv", old, new)


def schema(old, new):
    return edit("clinical.yaml", old, new)


def everywhere(name, changes):
    def apply(root):
        text = (root / name).read_text()
        for old, new in changes.items():
            text = text.replace(old, new)
        (root / name).write_text(text)

    return apply


def put(name, content):
    return lambda root: (root / name).write_bytes(content)


def encoded(encoding, old="A,train", new="Köln,train"):
    def apply(root):
        path = root / "clinical.csv"
        path.write_bytes(path.read_text().replace(old, new, 1).encode(encoding))

    return apply


def written(name, array, **geometry):
    return lambda root: sitk.WriteImage(volume(array, **geometry), root / "images" / name)


def cut_short(root):
    path = root / "images" / "P2.nii.gz"
    path.write_bytes(path.read_bytes()[:-400])


def not_finite(name, dtype=np.float32):
    def apply(root):
        array = noise(1, dtype=dtype)
        array[0, 0, :3] = [np.nan, np.inf, -np.inf]
        sitk.WriteImage(volume(array), root / "images" / name)
        lesions("images/P2.nii.gz", f"images/{name}")(root)

    return apply


def same_voxels_in_another_format(root):
    sitk.WriteImage(sitk.ReadImage(root / "images" / "P2.nii.gz"), root / "images" / "P3.nrrd")
    lesions("images/P3.nii.gz", "images/P3.nrrd")(root)


def four_dimensions(root):
    sitk.WriteImage(sitk.JoinSeries([volume(noise(1))] * 2), root / "images" / "P2.nii.gz")


def links_in_a_circle(root):
    path = root / "images" / "P2_mask.nii.gz"
    path.unlink()
    path.symlink_to(path.name)


def folder(name):
    def apply(root):
        (root / name).unlink()
        (root / name).mkdir()

    return apply


def pipe_as_image(root):
    (root / "images" / "P2.nii.gz").unlink()
    os.mkfifo(root / "images" / "P2.nii.gz")


def absent(name):
    return lambda root: (root / name).unlink()


def features(patients):
    table = pd.DataFrame({"patient_id": patients, "lesion_id": "L1", "original_glcm_Contrast": 1.0})
    return lambda root: table.to_parquet(root / "features.parquet")


HEADER = "patient_id,lesion_id,image,mask,label"
IMAGE, MASK = "images/P2.nii.gz", "images/P2_mask.nii.gz"
TURNED = (0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
# name: (what is done to the folder, what is told, patients who are then not usable)
BROKEN_TABLES = {
    "no column centre": (clinical("centre", "center"), "clinical.csv: no column centre; did you mean center?", []),
    "no column patient_id": (clinical("patient_id", "Patient"), "clinical.csv: no column patient_id;", PATIENTS),
    "no outcome column": (clinical("response", "respnse"), "no column response; did you mean respnse?", []),
    "no time column": (clinical("pfs_months", "pfs_month"), "no column pfs_months; did you mean pfs_month?", []),
    "patient twice": (
        clinical("P2,A,train,0,1,3", "P1,A,train,0,1,3"),
        "row 3 (patient P1): the patient already stands in row 2",
        ["P1", "P2"],
    ),
    "patient in two splits": (
        clinical("P6,C,held_out", "P1,C,held_out"),
        "row 7 (patient P1): the patient is in two splits: 'held_out' here and 'train' in row 2",
        ["P1", "P6"],
    ),
    "lesion in another split": (
        everywhere("lesions.csv", {"label\n": "label,split\n", ".gz,1\n": ".gz,1,train\n"}),
        "lesions.csv row 6 (patient P5, lesion L1): the patient is in two splits",
        ["P5", "P6"],
    ),
    "unknown split": (
        clinical("P2,A,train", "P2,A,test"),
        "row 3 (patient P2): split is 'test', expected train, held_out or empty",
        ["P2"],
    ),
    "split half empty": (clinical("P2,A,train", "P2,A,"), "split is empty for 1 patients (P2); fill all or none", []),
    "empty centre": (clinical("P2,A", "P2,"), "row 3 (patient P2): centre is empty", ["P2"]),
    "empty id": (clinical("P2,A", ",A"), "clinical.csv row 3 (patient ?): patient_id is empty", ["P2"]),
    "outcome of 2": (
        clinical("P2,A,train,0", "P2,A,train,2"),
        "row 3 (patient P2): response is '2', expected 0 or 1",
        ["P2"],
    ),
    "outcome in words": (clinical("P2,A,train,0", "P2,A,train,yes"), "response is 'yes', expected 0 or 1", ["P2"]),
    "time of 0": (
        clinical("1,3,55", "1,0,55"),
        "row 3 (patient P2): pfs_months is '0', expected months longer than 0",
        ["P2"],
    ),
    "time without end": (clinical("1,3,55", "1,inf,55"), "pfs_months is 'inf', expected months longer than 0", ["P2"]),
    "id with a path": (clinical("P2,A", "../P2,A"), "patient_id '../P2' holds a separator of paths", ["../P2", "P2"]),
    "id that steers a terminal": (
        clinical("P2,A", "P\x1b[31m2,A"),
        r"patient_id 'P\x1b[31m2' holds a control character",
        ["P\x1b[31m2", "P2"],
    ),
    "semicolons": (
        everywhere("clinical.csv", {",": ";"}),
        "clinical.csv: is separated by semicolons, expected commas",
        [],
    ),
    "tabs": (everywhere("lesions.csv", {",": "\t"}), "lesions.csv: is separated by tabs, expected commas", []),
    "another encoding": (encoded("latin-1"), "row 2 (patient P1): centre is not in UTF-8: 'K�ln'", ["P1"]),
    "UTF-16": (encoded("utf-16"), "clinical.csv: is UTF-16, expected UTF-8", []),
    "zero bytes": (
        put("clinical.csv", b"patient_id\0,centre\n"),
        "clinical.csv: holds zero bytes: it is no text",
        PATIENTS,
    ),
    "workbook": (put("clinical.csv", b"PK\x03\x04\x14\0\x06\0"), "is an Excel workbook or a zip archive", PATIENTS),
    "empty file": (put("clinical.csv", b""), "clinical.csv: the file is empty", PATIENTS),
    "header alone": (
        put("clinical.csv", b"patient_id,centre,response,pfs_event,pfs_months,age,subtype\n"),
        "the table has a header and no rows",
        PATIENTS,
    ),
    "folder as table": (folder("lesions.csv"), "lesions.csv: cannot be read: Is a directory", []),
    "row too long": (
        clinical("P2,A", "P2,A,B"),
        "row 3 (patient P2): the row has 9 cells, expected 8 as in the header",
        ["P2"],
    ),
    "row too short": (
        lesions(f"{MASK},1", MASK),
        "lesions.csv row 3 (patient P2, lesion L1): the row has 4 cells, expected 5",
        ["P2"],
    ),
    "column twice": (lesions("label", "image"), "lesions.csv: column image stands twice, as column 3 and 5", []),
    "quotation mark not closed": (
        clinical("P2,A", 'P2,"A'),
        "row 3 (patient P2): the quotation marks of the row do not match",
        ["P2"],
    ),
    "value below the schema": (
        clinical("55", "5"),
        "row 3 (patient P2): age is '5', expected a number of 18 to 110 (years)",
        ["P2"],
    ),
    "text in a column of numbers": (
        clinical("55", "old"),
        "age is 'old', expected a number of 18 to 110 (years)",
        ["P2"],
    ),
    "category outside the schema": (
        clinical("HER2+", "Her-2"),
        "row 3 (patient P2): subtype is 'Her-2', expected one of TNBC, HER2+",
        ["P2"],
    ),
    "schema of an absent column": (
        schema("age", "aged"),
        "no column aged, which clinical.yaml describes; did you mean age?",
        [],
    ),
    "unknown key of the schema": (
        schema("minimum", "minimun"),
        "clinical.yaml: column age: there is no minimun, did you mean minimum?",
        [],
    ),
    "schema of no use": (schema("columns:", "columns: ["), "clinical.yaml: cannot be read as YAML", []),
    "schema turned round": (
        schema("minimum: 18", "minimum: 200"),
        "minimum must not exceed maximum, got 200 and 110",
        [],
    ),
    "schema with a stray key": (
        schema("columns:", "column: 1\ncolumns:"),
        "there is no key column; did you mean columns?",
        [],
    ),
    "schema of truth values": (schema("[TNBC, HER2+]", "[yes, no]"), "quote yes, no, true and false", []),
    "no column mask": (
        lesions("mask,label", "msk,label"),
        "lesions.csv: no column mask, though there is a column image; both or none are needed; did you mean msk?",
        [],
    ),
    "no column lesion_id": (
        lesions("lesion_id", "lesion"),
        "lesions.csv: no column lesion_id; did you mean lesion?",
        [],
    ),
    "lesion of nobody": (
        lesions("P2,L1", "P9,L1"),
        "lesions.csv row 3 (patient P9, lesion L1): clinical.csv has no such patient",
        ["P9"],
    ),
    "lesion without id": (
        lesions("P2,L1", "P2,"),
        "(patient P2, lesion ?): patient_id and lesion_id must both be filled",
        ["P2"],
    ),
    "lesion twice": (lesions("P3,L1", "P2,L1"), "row 4 (patient P2, lesion L1): stands already in row 3", ["P2"]),
    "label of 0": (
        lesions(f"{MASK},1", f"{MASK},0"),
        "row 3 (patient P2, lesion L1): label is '0', expected a whole number",
        ["P2"],
    ),
    "label without end": (lesions(f"{MASK},1", f"{MASK},inf"), "label is 'inf', expected a whole number", ["P2"]),
    "no mask for an image": (
        lesions(MASK, ""),
        "row 3 (patient P2, lesion L1): an image and a mask come together",
        ["P2"],
    ),
    "image missing": (absent(IMAGE), "row 3 (patient P2, lesion L1): image file is missing", ["P2"]),
    "mask missing": (absent(MASK), "row 3 (patient P2, lesion L1): mask file is missing", ["P2"]),
    "path out of the folder": (
        lesions(IMAGE, "../../../../../../../../etc/passwd"),
        "image lies outside the cohort's folder and is no image",
        ["P2"],
    ),
    "path into the truth": (lesions(IMAGE, "truth/a.nii.gz"), "image lies in a folder named truth", ["P2"]),
    "path too long": (lesions(IMAGE, "x" * 5000), "image cannot be opened", ["P2"]),
    "links in a circle": (links_in_a_circle, "mask cannot be opened", ["P2"]),
    "folder as mask": (folder(MASK), "mask is a folder", ["P2"]),
    "pipe as image": (pipe_as_image, "image is neither a file nor a folder", ["P2"]),
}
BROKEN_IMAGES = {
    "image unreadable": (
        put(IMAGE, b"no image at all"),
        "image images/P2.nii.gz: the image cannot be read as NIfTI",
        ["P2"],
    ),
    "image cut short": (cut_short, "the image file ends too early, or its compressed data are damaged", ["P2"]),
    "image of four dimensions": (four_dimensions, "the image has 4 dimensions (2, 8, 12, 12), expected 3", ["P2"]),
    "voxels that are no numbers": (
        not_finite("P2.nrrd"),
        "has 3 of 1152 voxels that are no numbers (NaN or infinite)",
        ["P2"],
    ),
    "voxels that ITK makes 0 of": (
        not_finite("P2.nii.gz"),
        "has 3 of 1152 voxels that are no numbers (NaN or infinite)",
        ["P2"],
    ),
    "voxels that ITK makes 0 of, doubles": (
        not_finite("P2.nii", np.float64),
        "has 3 of 1152 voxels that are no numbers",
        ["P2"],
    ),
    "image of one value": (
        written("P2.nii.gz", np.full((8, 12, 12), 7, np.int16)),
        "has one value throughout (7)",
        ["P2"],
    ),
    "image of two patients": (
        lesions("images/P3.nii.gz", IMAGE),
        "holds the same voxels as an image of patient",
        ["P2", "P3"],
    ),
    "image of two patients, written anew": (
        same_voxels_in_another_format,
        "row 4 (patient P3, lesion L1): image images/P3.nrrd holds the same voxels as an image of patient P2",
        ["P2", "P3"],
    ),
    "mask unreadable": (
        put(MASK, b"no mask at all"),
        "mask images/P2_mask.nii.gz: the mask cannot be read as NIfTI",
        ["P2"],
    ),
    "mask of fractions": (
        written("P2_mask.nii.gz", ball().astype(np.float32) / 2),
        "labels of a mask are whole numbers",
        ["P2"],
    ),
    "mask empty": (written("P2_mask.nii.gz", ball(0)), "mask images/P2_mask.nii.gz is empty: no voxel is set", ["P2"]),
    "label not in the mask": (
        written("P2_mask.nii.gz", ball(3)),
        "row 3 (patient P2, lesion L1): mask images/P2_mask.nii.gz has no label 1; it has 3",
        ["P2"],
    ),
    "mask of another shape": (
        written("P2_mask.nii.gz", ball(shape=(9, 12, 12))),
        "the image (8, 12, 12) and the mask (9, 12, 12) differ in size",
        ["P2"],
    ),
    "mask of another spacing": (
        written("P2_mask.nii.gz", ball(), spacing=(1, 1, 2.5)),
        "lie up to 3.5 mm apart (tolerance 0.01 mm): spacing",
        ["P2"],
    ),
    "mask of another origin": (
        written("P2_mask.nii.gz", ball(), origin=(0, 0.5, 0)),
        "lie up to 0.5 mm apart (tolerance 0.01 mm): origin",
        ["P2"],
    ),
    "mask of another direction": (
        written("P2_mask.nii.gz", ball(), direction=TURNED),
        "mm apart (tolerance 0.01 mm): direction",
        ["P2"],
    ),
    "lesion too small": (
        written("P2_mask.nii.gz", ball(size=2)),
        "cannot be measured with settings small: the lesion has 16 voxels at 1 × 1 × 1 mm, minimum_voxels is 20",
        ["P2"],
    ),
    "name of a region in an image": (
        everywhere("lesions.csv", {"label\n": "roi_name\n", ".gz,1\n": ".gz,\n", f"{MASK},": f"{MASK},GTV"}),
        "roi_name GTV names a region of a DICOM file",
        ["P2"],
    ),
}
BROKEN_FEATURES = {
    "features of nobody": (
        features([*PATIENTS, "P9"]),
        "features.parquet (patient P9): features of a patient clinical.csv does not have",
        [],
    ),
    "features twice": (features([*PATIENTS, "P2"]), "features.parquet: row 7: stands twice", []),
    "features unreadable": (put("features.parquet", b"PAR1"), "features.parquet: cannot be read as parquet", []),
}
BROKEN = {**BROKEN_TABLES, **BROKEN_IMAGES, **BROKEN_FEATURES}


def named(*names):
    return chosen_endpoints(None, names, None, None, None)


def check(root):
    return check_cohort(root, named("response", "pfs"), SETTINGS)


def test_a_sound_folder_has_no_fault_and_every_patient_is_usable(sound):
    found = check(sound)

    assert found.faults == []
    assert found.usable == found.patients == PATIENTS
    assert (found.centres, found.n_lesions, found.n_delineations) == (["A", "B", "C"], 6, 6)


@pytest.mark.parametrize("name", BROKEN)
def test_one_fault_is_told_and_the_other_patients_are_usable(root, name):
    spoil, message, unusable = BROKEN[name]
    spoil(root)

    found = check(root)

    told = [str(one) for one in found.faults]
    assert any(message in one for one in told), told
    assert [str(one) for one in found.faults if message not in str(one) and one.patient not in unusable] == []
    assert all(one.fix for one in found.findings)
    assert not any(character in line for line in told for character in "\n\x1b")
    assert set(found.usable) == set(found.patients) - set(unusable)
    assert set(found.usable) | set(unusable) >= set(PATIENTS)


@pytest.mark.parametrize("name", BROKEN_TABLES)
def test_the_faults_of_tables_keep_a_cohort_from_being_read(root, name):
    spoil, message, _ = BROKEN_TABLES[name]
    spoil(root)

    with pytest.raises(TableFault) as error:
        read_manifest(root, named("response", "pfs"))

    assert any(message in one for one in error.value.faults)


WARNED = {
    "centre on both sides": (
        clinical("P5,C,held_out", "P5,A,held_out"),
        "centre A stands on both sides of the split: 1 of 2 held-out patients (0.500) are of a centre learned from",
    ),
    "outcome not known": (clinical("P2,A,train,0", "P2,A,train,"), "response is not known of 1 patient (P2), 6 in all"),
    "column nothing reads": (
        clinical("age,subtype", "age,subtype,dfs_evnt"),
        "nothing reads column dfs_evnt; did you mean dfs_event?",
    ),
    "lesion column nothing reads": (
        lesions(HEADER, HEADER.replace("label", "chanel")),
        "lesions.csv: nothing reads column chanel; did you mean channel?",
    ),
    "imbalance": (lambda root: None, "response: 3 with the event and 3 without"),
    "centres in capitals": (clinical("P2,A", "P2,a"), "the centres A, a differ in capital letters alone"),
    "one lesion under two names": (
        lesions("P3,L1,images/P3.nii.gz,images/P3_mask.nii.gz", f"P2,L2,{IMAGE},{MASK}"),
        "row 4 (patient P2, lesion L2): image, mask and label are those of lesion L1 in row 3",
    ),
    "patient without a lesion": (lesions(f"P2,L1,{IMAGE},{MASK},1\n", ""), "no lesion of 1 patient (P2)"),
    "column without a name": (clinical("age", ""), "column 7 has no name"),
    "patients without features": (features(PATIENTS[:5]), "no features of 1 patient (P6)"),
}


@pytest.mark.parametrize("name", WARNED)
def test_what_may_mislead_is_a_warning_and_every_patient_stays_usable(root, name):
    change, message = WARNED[name]
    (root / "clinical.yaml").unlink()
    if name == "column nothing reads":
        pad_rows(root / "clinical.csv")
    change(root)

    found = check(root)

    assert found.faults == []
    assert any(message in str(one) for one in found.warnings), [str(one) for one in found.warnings]
    assert found.usable == found.patients


def pad_rows(path):
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *(f"{row},0" for row in rows)]) + "\n")


def test_a_text_among_numbers_is_named_with_its_row(root):
    (root / "clinical.yaml").unlink()
    clinical(",55,", ",5S,")(root)

    told = [str(one) for one in check(root).warnings]

    assert any("row 3 (patient P2): age is '5S', a number in 5 of 6 rows" in one for one in told)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\nP3", "\n\n,,,,,,,\nP3"),
        lambda text: text.replace("TNBC", '"TNBC"').replace(",A,", ',"A",'),
        lambda text: text.replace(",", " , "),
    ],
    ids=["byte order mark", "lines of Windows", "blank rows", "quotation marks", "spaces"],
)
def test_what_spreadsheets_write_is_no_fault(root, change):
    path = root / "clinical.csv"
    path.write_text(change(path.read_text()), encoding="utf-8", newline="")

    assert check(root).faults == []
    assert read_manifest(root, named("response")).ids == PATIENTS


def test_rows_are_counted_as_a_spreadsheet_counts_them(root):
    clinical("\nP2,A,train,0", "\n\nP2,A,train,7")(root)

    assert "clinical.csv row 4 (patient P2): response is '7'" in str(check(root).faults[0])


def test_a_path_out_of_the_folder_to_an_image_is_allowed(root):
    shutil.move(root / IMAGE, root.parent / "P2.nii.gz")
    lesions(IMAGE, "../P2.nii.gz")(root)

    assert check(root).faults == []


def test_every_fault_is_told_at_once(root):
    chosen = [BROKEN[name][0] for name in ("outcome of 2", "value below the schema", "mask empty", "row too long")]
    for spoil in (chosen[0], chosen[1], chosen[2]):
        spoil(root)
    lesions("images/P4.nii.gz", "images/P9.nii.gz")(root)

    found = check(root)

    assert [(one.file, one.row, one.patient) for one in found.faults] == [
        ("clinical.csv", 3, "P2"),
        ("clinical.csv", 3, "P2"),
        ("lesions.csv", 3, "P2"),
        ("lesions.csv", 5, "P4"),
    ]
    assert found.usable == ["P1", "P3", "P5", "P6"]


def test_processes_find_what_one_process_finds(root, monkeypatch):
    for name in ("mask empty", "image unreadable"):
        BROKEN[name][0](root)
    one = check(root)
    monkeypatch.setattr("radnet.check.images.POOL_FROM", 1)

    several = check_cohort(root, named("response", "pfs"), SETTINGS, workers=2)

    assert several == one


def test_markup_and_scripts_in_a_table_are_plain_text(root):
    edit("clinical.csv", "P2,A,train,0", "<script>alert(1)<script>,[red]A[/],train,2")(root)
    screen = StringIO()

    found = check(root)
    Console(file=screen, width=300).print(findings_table(found.findings))

    assert "<script>alert(1)<script>" in screen.getvalue()
    assert "[red]A[/]" in found.summary


def test_findings_are_written_as_a_table(root, tmp_path):
    BROKEN["outcome of 2"][0](root)

    write_findings(check(root).findings, tmp_path / "findings.csv")

    table = pd.read_csv(tmp_path / "findings.csv", keep_default_na=False, dtype=str)
    assert list(table.columns) == ["severity", "file", "row", "patient", "lesion", "found", "fix"]
    assert table.iloc[0, :4].tolist() == ["fault", "clinical.csv", "3", "P2"]
    assert set(table["severity"][1:]) == {"warning"}


def test_the_outcomes_looked_at_are_those_asked_for_or_those_there_are(sound):
    assert [one.name for one in present_endpoints(sound)] == ["pfs", "response"]
    assert [one.name for one in chosen_endpoints(sound, [], None, None, None)] == ["pfs", "response"]
    (own,) = chosen_endpoints(sound, [], "relapse", "relapse_days", "days")
    assert (own.event, own.time, own.time_unit) == ("relapse", "relapse_days", "days")
    with pytest.raises(ValueError, match="did you mean response?"):
        chosen_endpoints(sound, ["respons"], None, None, None)
    with pytest.raises(ValueError, match="belong to an --event"):
        chosen_endpoints(sound, [], None, "relapse_days", None)


def test_the_command_exits_by_its_faults_and_writes_its_table(root, tmp_path, capsys):
    typed = ["check", str(root), "--settings", "zhao", "--endpoint", "response", "--csv", str(tmp_path / "found.csv")]

    sound_code = main(typed)
    sound = capsys.readouterr()
    BROKEN["outcome of 2"][0](root)
    broken_code = main(typed)
    broken = capsys.readouterr()

    assert (sound_code, broken_code) == (0, 1)
    assert "warning: clinical.csv: response: 3 with the event and 3 without" in sound.err
    assert "6 of 6 patients usable: P1, P2, P3, P4, P5, P6" in sound.out
    assert "fault: clinical.csv row 3 (patient P2): response is '2', expected 0 or 1" in broken.err
    assert "1 fault, 1 warning" in broken.out
    assert "5 of 6 patients usable: P1, P3, P4, P5, P6" in broken.out
    assert len(pd.read_csv(tmp_path / "found.csv")) == 2


def test_the_command_shows_a_table_where_it_is_asked_to(root, capsys):
    BROKEN["outcome of 2"][0](root)

    main(["check", str(root), "--show", "table"])

    assert "what to do" in capsys.readouterr().err


def test_an_outcome_of_ones_own_is_checked(root, capsys):
    assert main(["check", str(root), "--event", "pfs_event", "--time", "age", "--time-unit", "years"]) == 0
    assert "outcomes looked at: pfs_event" in capsys.readouterr().out
    assert main(["check", str(root), "--event", "relapse"]) == 1
    assert "clinical.csv: no column relapse; did you mean response?" in capsys.readouterr().err


def test_a_folder_without_images_is_checked_too(root):
    (root / "lesions.csv").unlink()
    features(PATIENTS)(root)

    found = check(root)

    assert found.faults == []
    assert (found.n_lesions, found.has_features) == (0, True)


def test_a_schema_is_optional_and_so_is_a_column_of_it(root):
    schema("minimum: 18", "required: false, minimum: 18")(root)
    clinical(",age,", ",years,")(root)

    assert check(root).faults == []
