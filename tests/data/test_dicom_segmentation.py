import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from dicoms import CORONAL, OBLIQUE, STRAIGHT, segmentation, slices, uid, write, write_series
from radnet.data.dicom import read_mask, read_series
from radnet.imaging.preprocess import normalize

SHAPE = (7, 11, 13)


@pytest.fixture
def images():
    return slices(np.random.default_rng(0).integers(0, 1000, SHAPE).astype(np.int16), orientation=OBLIQUE)


@pytest.fixture
def reference(images, tmp_path):
    return read_series(write_series(tmp_path / "images", images))


def blobs(count=3, seed=0, share=0.3):
    return np.random.default_rng(seed).random((count, *SHAPE)) < share


def voxels(mask) -> np.ndarray:
    return sitk.GetArrayFromImage(mask)


def moved(dataset, offset_mm):
    """The same segmentation, every frame shifted in the world."""
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        place = frame.PlanePositionSequence[0]
        place.ImagePositionPatient = (np.array(place.ImagePositionPatient) + offset_mm).tolist()
    return dataset


def test_overlapping_segments_come_back_one_by_one(images, reference, tmp_path):
    regions = blobs()
    path = write(segmentation(images, regions), tmp_path / "seg.dcm")
    for number, region in enumerate(regions, start=1):
        by_name = read_mask(path, reference, roi_name=f"lesion {number}")
        by_number = read_mask(path, reference, label=number)
        np.testing.assert_array_equal(voxels(by_name), region)
        np.testing.assert_array_equal(voxels(by_number), region * number)
        assert by_name.IsSameImageGeometryAs(reference)


def test_frames_left_out_are_background(images, reference, tmp_path):
    regions = blobs()
    regions[0, [0, 2, 3, 6]] = False
    made = segmentation(images, regions[:1])
    assert made.NumberOfFrames == 3
    np.testing.assert_array_equal(voxels(read_mask(write(made, tmp_path / "seg.dcm"), reference)), regions[0])


@pytest.mark.parametrize("orientation", [STRAIGHT, OBLIQUE, CORONAL], ids=["axial", "oblique", "coronal"])
def test_a_label_map_comes_back_in_any_orientation(orientation, tmp_path):
    images = slices(np.zeros(SHAPE, np.int16), orientation=orientation)
    labels = np.random.default_rng(1).integers(0, 3, SHAPE).astype(np.uint8)
    labels[3] = 0
    path = write(segmentation(images, labels, "LABELMAP"), tmp_path / "seg.dcm")
    reference = read_series(write_series(tmp_path / "images", images))
    for number in (1, 2):
        found = read_mask(path, reference, f"lesion {number}")
        np.testing.assert_array_equal(voxels(found), labels == number)


def test_a_fraction_of_half_or_more_belongs_to_a_segment(images, reference, tmp_path):
    shares = np.random.default_rng(2).choice([0.0, 0.25, 0.49, 0.5, 0.75, 1.0], SHAPE)
    made = segmentation(images, shares[None], "FRACTIONAL", max_fractional_value=100)
    np.testing.assert_array_equal(voxels(read_mask(write(made, tmp_path / "seg.dcm"), reference)), shares >= 0.5)


def test_frames_may_run_against_the_images_axes(images, reference, tmp_path):
    region = blobs(1)[0]
    made = segmentation(images, region[None, :, :, ::-1])
    row = np.array(OBLIQUE[:3])
    shared = made.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [*(-row).tolist(), *OBLIQUE[3:]]
    path = write(moved(made, 12 * 0.8 * row), tmp_path / "seg.dcm")
    np.testing.assert_array_equal(voxels(read_mask(path, reference)), region)


def test_a_segmentation_of_a_part_of_the_image_lies_where_it_was_drawn(images, reference, tmp_path):
    region = blobs(1)[0]
    part = slices(np.zeros((3, 5, 6), np.int16), orientation=OBLIQUE)
    corner = np.array(reference.TransformIndexToPhysicalPoint((4, 2, 1)))
    made = segmentation(part, region[None, 1:4, 2:7, 4:10])
    path = write(moved(made, corner - np.array([-20.0, 5.0, 100.0])), tmp_path / "seg.dcm")

    found = voxels(read_mask(path, reference))

    wanted = np.zeros(SHAPE, bool)
    wanted[1:4, 2:7, 4:10] = region[1:4, 2:7, 4:10]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("offset_mm", "told"),
    [
        ((0.32, 0.24, 0.0), r"frame 1: its pixels .* are not the image's voxels .*, up to 0\.4 mm off"),
        ((0.0, 0.0, 1.25), r"up to 1\.25 mm off \(tolerance 0\.1 mm\)"),
        ((0.0, 0.0, 25.0), "segment 1 'lesion 1', frame 1: it reaches beyond the image"),
    ],
    ids=["half a pixel", "half a slice", "beyond"],
)
def test_frames_that_are_not_the_images_voxels_are_refused(offset_mm, told, images, reference, tmp_path):
    path = write(moved(segmentation(images, blobs(1)), offset_mm), tmp_path / "seg.dcm")
    with pytest.raises(ValueError, match=told):
        read_mask(path, reference)


def test_pixels_of_another_size_are_refused(images, reference, tmp_path):
    coarse = slices(np.zeros((7, 5, 6), np.int16), (2.5, 1.4, 1.6), orientation=OBLIQUE)
    path = write(segmentation(coarse, [np.ones((7, 5, 6), bool)]), tmp_path / "seg.dcm")
    with pytest.raises(ValueError, match=r"its pixels \(1.4 × 1.6 mm\) are not the image's voxels"):
        read_mask(path, reference)


def test_another_frame_of_reference_is_refused(reference, tmp_path):
    elsewhere = slices(np.zeros(SHAPE, np.int16), orientation=OBLIQUE, frame="elsewhere")
    path = write(segmentation(elsewhere, blobs(1)), tmp_path / "seg.dcm")
    with pytest.raises(
        ValueError, match="the frame of reference differs: the mask lies in .*, the image in .*"
    ) as fault:
        read_mask(path, reference)
    assert uid("elsewhere") in str(fault.value)
    assert uid("world") in str(fault.value)


def test_another_series_of_the_same_world_is_accepted_on_the_same_voxels(reference, tmp_path):
    region = blobs(1)
    other = slices(np.zeros(SHAPE, np.int16), orientation=OBLIQUE, series="b")
    path = write(segmentation(other, region), tmp_path / "seg.dcm")
    np.testing.assert_array_equal(voxels(read_mask(path, reference)), region[0])


def test_another_series_of_thicker_slices_is_refused(reference, tmp_path):
    thick = slices(np.zeros((3, *SHAPE[1:]), np.int16), (5.0, 0.7, 0.8), orientation=OBLIQUE, series="b")
    for one in thick:
        one.SpacingBetweenSlices = 5.0
    path = write(segmentation(thick, [np.ones((3, *SHAPE[1:]), bool)]), tmp_path / "seg.dcm")
    with pytest.raises(ValueError, match="drawn on another series, its slices 5 mm apart and the image's 2.5 mm"):
        read_mask(path, reference)


def test_a_series_unknown_without_a_frame_of_reference_is_refused(reference, tmp_path):
    made = segmentation(slices(np.zeros(SHAPE, np.int16), orientation=OBLIQUE, series="b"), blobs(1))
    made.FrameOfReferenceUID = ""
    with pytest.raises(ValueError, match="no frame of reference tells that they share one world"):
        read_mask(write(made, tmp_path / "seg.dcm"), reference)


def test_an_image_that_is_no_dicom_is_matched_by_its_voxels(images, reference, tmp_path):
    region = blobs(1)
    path = write(segmentation(images, region), tmp_path / "seg.dcm")
    sitk.WriteImage(reference, str(tmp_path / "image.nii.gz"))
    nifti = sitk.ReadImage(str(tmp_path / "image.nii.gz"))
    np.testing.assert_array_equal(voxels(read_mask(path, nifti)), region[0])


def test_a_normalised_image_is_still_known_by_its_uids(reference, tmp_path):
    elsewhere = slices(np.zeros(SHAPE, np.int16), orientation=OBLIQUE, frame="elsewhere")
    path = write(segmentation(elsewhere, blobs(1)), tmp_path / "seg.dcm")
    with pytest.raises(ValueError, match="the frame of reference differs"):
        read_mask(path, normalize(reference))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("kidney", "there is no segment 'kidney'; the file has 1 'Liver', 2 'Lesion', 3 'lesion', 4 'Node', 5 'Node'"),
        ("LESION", "2 segments are named 'LESION'; the file has 1 'Liver'"),
        ("Node", "2 segments are named 'Node'"),
    ],
)
def test_a_name_that_is_no_ones_or_more_than_ones_is_told_with_those_there_are(name, told, images, reference, tmp_path):
    labels = ["Liver", "Lesion", "lesion", "Node", "Node"]
    path = write(segmentation(images, blobs(5), labels=labels), tmp_path / "seg.dcm")
    with pytest.raises(ValueError, match=told):
        read_mask(path, reference, name)


def test_an_exact_name_goes_before_one_that_differs_in_case_which_is_found_where_it_is_alone(
    images, reference, tmp_path
):
    regions = blobs(3)
    path = write(segmentation(images, regions, labels=["Liver", "Lesion", "lesion"]), tmp_path / "seg.dcm")
    for name, number in {"Lesion": 1, "lesion": 2, "LIVER": 0, " liver ": 0}.items():
        np.testing.assert_array_equal(voxels(read_mask(path, reference, name)), regions[number])


def test_a_number_that_is_no_segments_is_told(images, reference, tmp_path):
    path = write(segmentation(images, blobs(2)), tmp_path / "seg.dcm")
    with pytest.raises(ValueError, match="there is no segment 3; the file has 1 'lesion 1', 2 'lesion 2'"):
        read_mask(path, reference, label=3)


def test_what_is_no_mask_is_told(images, reference, tmp_path):
    with pytest.raises(ValueError, match="a DICOM mask is a SEG or an RTSTRUCT, found CT"):
        read_mask(write(images[0], tmp_path / "ct.dcm"), reference)
    with pytest.raises(ValueError, match="expected one DICOM mask file"):
        read_mask(tmp_path, reference)


SHARED_MASKS = [
    ("ct-3slice", "liver.dcm", "Liver", 1, "liver_seg", 1),
    ("ct-3slice", "partial_overlaps.dcm", "GREEN", 1, "partial_overlaps-1", 1),
    ("ct-3slice", "partial_overlaps.dcm", "ORANGE", 2, "partial_overlaps-2", 2),
    ("ct-3slice", "partial_overlaps.dcm", "PURPLE", 3, "partial_overlaps-3", 3),
    ("ct-3slice", "partial_overlaps.dcm", "LIGHT_BLUE", 4, "partial_overlaps-1", 4),
    ("ct-3slice", "partial_overlaps.dcm", "DARK_BLUE", 5, "partial_overlaps-1", 5),
    ("23x38x3/image", "23x38x3/seg/label.seg", "Liver", 1, "23x38x3/nrrd/label", 1),
    ("24x38x3/image", "24x38x3/seg/label.seg", "Liver", 1, "24x38x3/nrrd/label", 1),
    ("24x38x3/multiframe/mf.dcm", "24x38x3/seg/label.seg", "Liver", 1, "24x38x3/nrrd/label", 1),
    ("24x38x3/image", "sparse-labelmap-noppv.dcm", "Liver", 1, "sparse_labelmap_noppv_seg", 1),
    ("24x38x3/image", "sparse-labelmap-ppv5.dcm", "Liver", 1, "sparse_labelmap_ppv5_seg", 1),
]


@pytest.mark.parametrize(("series", "name", "roi", "number", "truth", "value"), SHARED_MASKS)
def test_a_segmentation_by_dcmqi_is_its_nrrd_voxel_by_voxel(series, name, roi, number, truth, value, shared):
    folder = shared / "data" / "dicom_seg"
    reference = read_series(folder / series)
    wanted = sitk.ReadImage(str(folder / f"{truth}.nrrd"))

    by_name, by_number = read_mask(folder / name, reference, roi), read_mask(folder / name, reference, label=number)

    np.testing.assert_array_equal(voxels(by_name), voxels(wanted) == value)
    np.testing.assert_array_equal(voxels(by_number), (voxels(wanted) == value) * number)
    np.testing.assert_allclose(by_name.GetOrigin(), wanted.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(by_name.GetSpacing(), wanted.GetSpacing(), atol=1e-3)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
@pytest.mark.parametrize("name", ["heart_seg", "liver_spine_seg", "liver_spine_gapped_seg", "spine_seg_label5"])
def test_a_segmentation_by_highdicom_is_the_nrrd_it_was_made_of(name, kind, shared, tmp_path):
    folder = shared / "data" / "dicom_seg"
    truth = voxels(sitk.ReadImage(str(folder / f"{name}.nrrd")))
    values = [int(value) for value in np.unique(truth) if value]
    images = [file for _, file in sorted(_positions(folder / "ct-3slice").items())]
    regions = [truth == value for value in values]
    if kind == "LABELMAP":
        given = np.sum(
            [region * np.uint8(number) for number, region in enumerate(regions, start=1)], axis=0, dtype=np.uint8
        )
    else:
        given = np.array(regions, dtype=np.float32 if kind == "FRACTIONAL" else np.uint8)
    labels = [f"label {value}" for value in values]
    path = write(segmentation(images, np.asarray(given), kind, labels=labels), tmp_path / "seg.dcm")
    reference = read_series(folder / "ct-3slice")

    for label, region in zip(labels, regions, strict=True):
        np.testing.assert_array_equal(voxels(read_mask(path, reference, label)), region)


def _positions(folder) -> dict:
    read = [pydicom.dcmread(file) for file in folder.iterdir()]
    for one in read:
        one.SpecificCharacterSet, one.PatientName = "ISO_IR 100", "P^1"  # highdicom writes no empty or odd ones
    return {float(one.ImagePositionPatient[2]): one for one in read}
