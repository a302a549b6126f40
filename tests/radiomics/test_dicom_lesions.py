"""Lesions told in DICOM, from lesions.csv to features."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import gaussian_filter

from dicoms import segmentation, slices, structures, write, write_series
from radnet.data.manifest import read_manifest
from radnet.files import content_hash
from radnet.imaging.preprocess import read_image, read_mask
from radnet.radiomics.extract import extract_cohort
from radnet.radiomics.settings import ExtractionSettings

FAST = ExtractionSettings("fast", log_sigma_mm=(), wavelet=False)
SHAPE = (10, 24, 26)


def write_cohort(folder: Path, rows) -> Path:
    table = pd.DataFrame(rows)
    table.insert(0, "patient_id", "P1")
    table.to_csv(folder / "lesions.csv", index=False)
    (folder / "clinical.csv").write_text("patient_id,centre\nP1,A\n")
    return folder


@pytest.fixture
def cohort_folder(tmp_path):
    """A series with two overlapping lesions, as SEG, as RTSTRUCT (the first) and as NRRD."""
    rng = np.random.default_rng(0)
    texture = gaussian_filter(rng.standard_normal(SHAPE), 1.0)
    images = slices((300 * texture).astype(np.int16), (2.5, 0.9, 0.8), intercept=-5)
    boxes = np.zeros((2, *SHAPE), bool)
    boxes[0, 2:7, 5:15, 6:17] = True
    boxes[1, 4:9, 8:18, 10:20] = True
    write_series(tmp_path / "ct", images)
    write(segmentation(images, boxes, labels=["first", "second"]), tmp_path / "seg.dcm")
    image = read_image(tmp_path / "ct")
    corners = [(5.6, 4.6), (16.4, 4.6), (16.4, 14.4), (5.6, 14.4)]
    contours = [
        np.array([image.TransformContinuousIndexToPhysicalPoint((*corner, float(z))) for corner in corners])
        for z in range(2, 7)
    ]
    write(structures(images, {"GTV": contours}), tmp_path / "rs.dcm")
    for name, box in zip(("first", "second"), boxes, strict=True):
        mask = sitk.GetImageFromArray(box.astype(np.uint8))
        mask.CopyInformation(image)
        sitk.WriteImage(mask, str(tmp_path / f"{name}.nrrd"))
    return tmp_path


def features(table, lesion) -> pd.Series:
    return table.rows.set_index("lesion_id").loc[lesion, table.names].astype(float)


@pytest.mark.parametrize("normalize", [False, True], ids=["as stored", "normalised"])
def test_a_lesion_has_the_same_features_from_seg_rtstruct_and_nrrd(normalize, cohort_folder):
    rows = [
        {"lesion_id": "seg by name", "mask": "seg.dcm", "roi_name": "First", "label": ""},
        {"lesion_id": "seg by number", "mask": "seg.dcm", "roi_name": "", "label": "1"},
        {"lesion_id": "rtstruct", "mask": "rs.dcm", "roi_name": "GTV", "label": ""},
        {"lesion_id": "nrrd", "mask": "first.nrrd", "roi_name": "", "label": ""},
        {"lesion_id": "second by number", "mask": "seg.dcm", "roi_name": "", "label": "2"},
        {"lesion_id": "second", "mask": "second.nrrd", "roi_name": "", "label": ""},
    ]
    write_cohort(cohort_folder, [{"image": "ct", **row} for row in rows])
    settings = ExtractionSettings("fast", log_sigma_mm=(), wavelet=False, normalize=normalize)

    table = extract_cohort(read_manifest(cohort_folder), settings, cache=cohort_folder / "cache")

    assert table.rows["status"].tolist() == ["ok"] * 6
    for lesion in ("seg by name", "seg by number", "rtstruct"):
        pd.testing.assert_series_equal(features(table, lesion), features(table, "nrrd"), check_names=False)
    pd.testing.assert_series_equal(features(table, "second by number"), features(table, "second"), check_names=False)
    assert (
        features(table, "nrrd")["original_shape_VoxelVolume"] != features(table, "second")["original_shape_VoxelVolume"]
    )


def test_what_is_wrong_with_a_dicom_lesion_is_its_status(cohort_folder):
    elsewhere = slices(np.zeros(SHAPE, np.int16), (2.5, 0.9, 0.8), frame="elsewhere", series="b")
    write(segmentation(elsewhere, [np.ones(SHAPE, bool)]), cohort_folder / "elsewhere.dcm")
    gapped = slices(np.zeros((9, 24, 26), np.int16), positions=np.delete(np.arange(10), 4) * 2.5)
    write_series(cohort_folder / "gapped", gapped)
    rows = {
        "unknown": {"image": "ct", "mask": "seg.dcm", "roi_name": "third"},
        "unnamed": {"image": "ct", "mask": "rs.dcm", "roi_name": ""},
        "elsewhere": {"image": "ct", "mask": "elsewhere.dcm", "roi_name": "lesion 1"},
        "gapped": {"image": "gapped", "mask": "seg.dcm", "roi_name": "first"},
        "fine": {"image": "ct", "mask": "seg.dcm", "roi_name": "first"},
    }
    write_cohort(cohort_folder, [{"lesion_id": lesion, **row} for lesion, row in rows.items()])

    table = extract_cohort(read_manifest(cohort_folder), FAST, cache=cohort_folder / "cache")

    status = table.rows.set_index("lesion_id")["status"]
    assert status["unknown"] == "seg.dcm: there is no segment 'third'; the file has 1 'first', 2 'second'"
    assert status["unnamed"] == "rs.dcm: an RTSTRUCT needs roi_name, one of its ROIs: 1 'GTV'"
    assert status["elsewhere"].startswith("elsewhere.dcm: the frame of reference differs: the mask lies in ")
    assert status["gapped"].startswith("gapped: slices are missing (spacing 2.5 mm): 1 between")
    assert status["fine"] == "ok"


def test_a_slice_that_changes_is_measured_anew(cohort_folder):
    write_cohort(cohort_folder, [{"lesion_id": "L1", "image": "ct", "mask": "seg.dcm", "roi_name": "first"}])
    cohort = read_manifest(cohort_folder)
    before = extract_cohort(cohort, FAST, cache=cohort_folder / "cache")
    hashed = content_hash(cohort_folder / "ct")
    file = cohort_folder / "ct" / "IM005.dcm"
    content = bytearray(file.read_bytes())
    content[-600] ^= 16  # one bit of a voxel
    file.write_bytes(content)

    after = extract_cohort(cohort, FAST, cache=cohort_folder / "cache")

    assert content_hash(cohort_folder / "ct") != hashed
    assert features(before, "L1")["original_firstorder_Mean"] != features(after, "L1")["original_firstorder_Mean"]


def test_a_dicom_mask_needs_its_image(cohort_folder):
    with pytest.raises(ValueError, match="a DICOM mask is read onto the voxels of its image, and none was given"):
        read_mask(cohort_folder / "seg.dcm")


def test_reading_other_formats_does_not_wait_for_dicom():
    code = "import sys, radnet.radiomics.extract; sys.exit('pydicom' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_radnet_extract_measures_both_lesions_of_a_patient(tmp_path, shared):
    source = shared / "data" / "multilesion_spect_rtstruct"
    mask = next((source / "mask").iterdir())
    names = {"L1": "lesion1 liver R lobe", "L2": "lesion2 liver L lateral"}
    rows = [
        {"lesion_id": one, "image": str(source / "image"), "mask": str(mask), "roi_name": name}
        for one, name in names.items()
    ]
    write_cohort(tmp_path, rows)
    settings = {"name": "fast", "spacing_mm": [0, 0, 0], "bin_width": None, "bin_count": 32, "log_sigma_mm": []}
    (tmp_path / "fast.yaml").write_text(json.dumps({**settings, "wavelet": False}))
    words = ["extract", tmp_path, "--settings", tmp_path / "fast.yaml", "--out", tmp_path / "features.parquet"]

    done = subprocess.run(
        [sys.executable, Path(sys.executable).with_name("radnet"), *words],
        env={**os.environ, "RADNET_CACHE": str(tmp_path / "cache")},
        capture_output=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(tmp_path / "features.parquet").set_index("lesion_id")
    assert table["status"].to_dict() == {"L1": "ok", "L2": "ok"}
    image = read_image(source / "image")
    for one, name in names.items():
        volume_ml = sitk.GetArrayFromImage(read_mask(mask, image, name)).sum() * 1.95313**3 / 1000
        assert table.loc[one, "original_shape_VoxelVolume"] / 1000 == pytest.approx(volume_ml, rel=1e-6)
