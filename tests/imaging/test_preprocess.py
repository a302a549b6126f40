import gzip
import logging

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import gaussian_filter
from scipy.stats import zscore

from radnet.imaging.preprocess import (
    bounding_box,
    check_geometry,
    crop,
    normalize,
    read_image,
    read_mask,
    resample,
    unit_range,
    window,
    z_score,
)

OBLIQUE = (0.9553364891256060, -0.2955202066613396, 0.0, 0.2955202066613396, 0.9553364891256060, 0.0, 0.0, 0.0, 1.0)
FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def phantom(shape, spacing_mm, origin=(0.0, 0.0, 0.0), direction=STRAIGHT, dtype=np.int16, centre=0.5, seed=0):
    """A textured image and a lumpy lesion of label 2 (and another lesion of label 7); shape and spacing (Z, Y, X)."""
    rng = np.random.default_rng(seed)
    texture = gaussian_filter(rng.standard_normal(shape), 1.0)
    array = (300 * texture + 40 + rng.normal(0, 12, shape)).astype(dtype)
    places = [np.arange(size) * step for size, step in zip(shape, spacing_mm, strict=True)]
    middle = [centre * axis[-1] for axis in places]
    grid = np.meshgrid(*[axis - place for axis, place in zip(places, middle, strict=True)], indexing="ij")
    labels = np.zeros(shape, np.uint8)
    labels[np.sqrt(sum(axis**2 for axis in grid)) + 3 * texture < 7.0] = 2
    labels[:2, :2, :2] = 7
    image, mask = sitk.GetImageFromArray(array), sitk.GetImageFromArray(labels)
    for one in (image, mask):
        one.SetSpacing([float(step) for step in spacing_mm[::-1]])
        one.SetOrigin(origin)
        one.SetDirection(direction)
    return image, mask


def stock_resample(image, mask, label, spacing_mm):
    operations = pytest.importorskip("radiomics.imageoperations", reason="compares with pyradiomics")
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    settings = {"resampledPixelSpacing": list(spacing_mm)[::-1], "padDistance": 5, "label": label}
    return operations.resampleImage(image, sitk.Cast(mask, sitk.sitkUInt32), **settings)


def assert_same_grid(one, two):
    assert one.GetSize() == two.GetSize()
    assert one.GetSpacing() == two.GetSpacing()
    assert one.GetOrigin() == two.GetOrigin()
    assert one.GetDirection() == two.GetDirection()


GRIDS = {
    "0.78 mm, thick slices": ((20, 130, 130), (5.0, 0.78, 0.78), (1.0, 1.0, 1.0), STRAIGHT),
    "oblique": ((60, 130, 130), (1.25, 0.9, 0.9), (1.0, 1.0, 1.0), OBLIQUE),
    "flipped": ((50, 120, 120), (2.0, 0.7, 0.7), (1.0, 1.0, 1.0), FLIPPED),
    "ties of two mask voxels": ((120, 120, 120), (0.7, 0.7, 0.7), (1.0, 1.0, 1.0), STRAIGHT),
    "on old voxels, 0.6 mm": ((130, 130, 130), (0.6, 0.6, 0.6), (1.0, 1.0, 1.0), STRAIGHT),
    "on old voxels, 3 mm slices": ((40, 110, 110), (3.0, 1.0, 1.0), (1.0, 1.0, 1.0), STRAIGHT),
    "spacing right already": ((40, 50, 50), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0), OBLIQUE),
    "to coarser voxels": ((60, 110, 110), (1.0, 0.8, 0.8), (2.0, 1.5, 1.5), OBLIQUE),
    "in plane only": ((30, 130, 130), (2.5, 0.8, 0.8), (0.0, 1.0, 1.0), STRAIGHT),
}


@pytest.mark.parametrize("centre", [0.5, 0.05], ids=["inside", "at the border"])
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
def test_a_whole_number_image_resamples_as_in_pyradiomics_to_the_last_voxel(grid, centre):
    shape, old_mm, new_mm, direction = grid
    image, mask = phantom(shape, old_mm, (-101.3, 57.7, 12.1), direction, centre=centre)
    wanted_image, wanted_mask = stock_resample(image, mask, 2, new_mm)

    new_image, new_mask = resample(image, mask, label=2, spacing_mm=new_mm)

    assert_same_grid(new_image, wanted_image)
    assert_same_grid(new_mask, wanted_mask)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(new_mask), sitk.GetArrayFromImage(wanted_mask) == 2)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(new_image), sitk.GetArrayFromImage(wanted_image))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("grid", ["0.78 mm, thick slices", "oblique", "on old voxels, 0.6 mm"])
def test_a_real_image_resamples_as_in_pyradiomics(grid, dtype):
    shape, old_mm, new_mm, direction = GRIDS[grid]
    image, mask = phantom(shape, old_mm, (-101.3, 57.7, 12.1), direction, dtype)
    wanted_image, _ = stock_resample(image, mask, 2, new_mm)

    new_image, _ = resample(image, mask, label=2, spacing_mm=new_mm)

    assert new_image.GetPixelID() == image.GetPixelID()
    # A cut 32 voxels away is felt as 0.268³² = 5e-19 of a value; single precision rounds at 6e-8 of about 1000.
    tolerance = 1e-4 if dtype is np.float32 else 1e-10
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(new_image), sitk.GetArrayFromImage(wanted_image), rtol=0, atol=tolerance
    )


def test_a_lesion_in_one_slice_keeps_the_thickness_of_its_slice():
    image, mask = phantom((20, 60, 60), (4.0, 0.8, 0.8))
    array = sitk.GetArrayFromImage(mask)
    array[:10] = array[11:] = 0
    one_slice = sitk.GetImageFromArray(array)
    one_slice.CopyInformation(mask)
    wanted_image, wanted_mask = stock_resample(image, one_slice, 2, (1.0, 1.0, 1.0))

    new_image, new_mask = resample(image, one_slice, label=2)

    assert new_image.GetSpacing() == (1.0, 1.0, 4.0)
    assert_same_grid(new_image, wanted_image)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(new_image), sitk.GetArrayFromImage(wanted_image))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(new_mask), sitk.GetArrayFromImage(wanted_mask) == 2)


def test_a_wider_pad_adds_voxels_and_moves_none():
    image, mask = phantom((40, 90, 90), (1.5, 0.8, 0.8), (3.0, -2.0, 8.0), OBLIQUE)
    narrow, _ = resample(image, mask, label=2, pad_voxels=5)

    wide, _ = resample(image, mask, label=2, pad_voxels=12)

    start = np.array(wide.TransformPhysicalPointToContinuousIndex(narrow.GetOrigin()))
    np.testing.assert_allclose(start, np.rint(start), atol=1e-9)  # rounding of a world of 100 mm
    at = np.rint(start).astype(int).tolist()
    inner = sitk.RegionOfInterest(wide, narrow.GetSize(), at)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(inner), sitk.GetArrayFromImage(narrow))


def test_a_label_that_is_absent_is_told_with_those_that_are_there():
    image, mask = phantom((20, 20, 20), (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match=r"the mask has no label 5; it has 2, 7"):
        resample(image, mask, label=5)


def test_an_empty_mask_is_told():
    image, mask = phantom((20, 20, 20), (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="the mask is empty"):
        resample(image, mask * 0)


def test_a_lesion_beyond_the_image_is_told():
    image, mask = phantom((20, 20, 20), (1.0, 1.0, 1.0))
    mask.SetOrigin((15.0, 0.0, 0.0))
    with pytest.raises(ValueError, match=r"reaches beyond the image \(20, 20, 20\)"):
        resample(image, mask, label=2)


@pytest.mark.parametrize("name", ["image.nii.gz", "image.nii", "image.nrrd", "image.mha"])
def test_an_image_comes_back_from_every_format_at_its_place_in_the_world(name, tmp_path):
    image, _ = phantom((8, 9, 10), (2.0, 0.7, 0.8), (-11.0, 7.5, 3.25), OBLIQUE)
    sitk.WriteImage(image, str(tmp_path / name))

    back = read_image(tmp_path / name)

    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image))
    assert back.GetPixelID() == image.GetPixelID()
    check_geometry(back, image)


@pytest.mark.parametrize("name", ["image.nii.gz", "image.nii", "image.nrrd", "image.mha"])
def test_half_a_file_is_refused(name, tmp_path, capfd):
    image, _ = phantom((20, 20, 20), (1.0, 1.0, 1.0))
    sitk.WriteImage(image, str(tmp_path / name))
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=name):
        read_image(tmp_path / name)


def test_a_nifti_compressed_in_parts_is_read(tmp_path):
    image, _ = phantom((8, 9, 10), (1.0, 1.0, 1.0))
    sitk.WriteImage(image, str(tmp_path / "image.nii"))
    content = (tmp_path / "image.nii").read_bytes()
    (tmp_path / "parts.nii.gz").write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]))

    parts = read_image(tmp_path / "parts.nii.gz")

    np.testing.assert_array_equal(sitk.GetArrayFromImage(parts), sitk.GetArrayFromImage(image))


def test_a_file_that_is_not_there_is_told_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"L1\.nii\.gz: no such mask file"):
        read_mask(tmp_path / "L1.nii.gz")


def test_a_folder_is_told(tmp_path):
    with pytest.raises(ValueError, match="the folder holds no DICOM image"):
        read_image(tmp_path)
    with pytest.raises(ValueError, match=r"expected one mask file \(NIfTI, NRRD, MHA or DICOM\), found a folder"):
        read_mask(tmp_path)


def test_a_file_that_is_no_image_is_told(tmp_path):
    (tmp_path / "scan.nii.gz").write_text("hello")
    with pytest.raises(ValueError, match=r"scan\.nii\.gz: the image cannot be read as NIfTI, NRRD or MHA"):
        read_image(tmp_path / "scan.nii.gz")


@pytest.mark.parametrize(
    ("array", "is_vector", "told"),
    [
        (np.zeros((2, 3, 4, 5), np.int16), False, r"the image has 4 dimensions \(2, 3, 4, 5\), expected 3"),
        (np.zeros((3, 4, 5, 2), np.float32), True, "the image has 2 values per voxel, expected 1"),
    ],
    ids=["four dimensions", "two values per voxel"],
)
def test_an_image_that_is_no_volume_is_told(array, is_vector, told, tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=is_vector), str(tmp_path / "image.mha"))
    with pytest.raises(ValueError, match=told):
        read_image(tmp_path / "image.mha")


def test_a_mask_stored_as_real_numbers_is_read_as_labels(tmp_path):
    _, mask = phantom((10, 10, 10), (1.0, 1.0, 1.0))
    sitk.WriteImage(sitk.Cast(mask, sitk.sitkFloat64), str(tmp_path / "mask.nii"))

    back = read_mask(tmp_path / "mask.nii")

    assert back.GetPixelID() == sitk.sitkUInt8
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(mask))


@pytest.mark.parametrize(
    ("value", "told"),
    [(0.4, "whole numbers, found others from 0 to 0.4"), (-1.0, "0 or more, found values from -1 to 0")],
    ids=["a fraction", "a negative number"],
)
def test_values_that_are_no_labels_are_told(value, told, tmp_path):
    array = np.zeros((4, 4, 4), np.float32)
    array[1, 1, 1] = value
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "mask.nrrd"))
    with pytest.raises(ValueError, match=told):
        read_mask(tmp_path / "mask.nrrd")


def test_geometry_within_the_tolerance_passes():
    image, mask = phantom((10, 20, 20), (2.0, 1.0, 1.0), direction=OBLIQUE)
    mask.SetOrigin((0.006, 0.006, 0.0))  # √2 × 0.006 = 0.0085 mm
    check_geometry(image, mask)


def test_images_of_other_sizes_are_told():
    image, _ = phantom((10, 20, 20), (1.0, 1.0, 1.0))
    _, mask = phantom((11, 20, 20), (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match=r"the image \(10, 20, 20\) and the mask \(11, 20, 20\) differ in size"):
        check_geometry(image, mask)


@pytest.mark.parametrize(
    ("change", "value", "apart_mm", "told"),
    [
        ("SetOrigin", (3.0, 4.0, 0.0), "5", r"origin \(X, Y, Z mm\) \(0, 0, 0\) and \(3, 4, 0\)$"),
        ("SetSpacing", (1.0, 1.1, 2.0), "1.9", r"spacing \(X, Y, Z mm\) \(1, 1, 2\) and \(1, 1.1, 2\)$"),
        ("SetDirection", FLIPPED, "53.74", "direction"),
    ],
)
def test_a_mask_elsewhere_is_told_in_mm_with_what_differs(change, value, apart_mm, told):
    image, mask = phantom((10, 20, 20), (2.0, 1.0, 1.0))
    getattr(mask, change)(value)  # by hand: 5 mm; 19 voxels × 0.1 mm; twice the diagonal of 19 × 19 mm
    with pytest.raises(ValueError, match=rf"lie up to {apart_mm} mm apart \(tolerance 0.01 mm\): .*{told}"):
        check_geometry(image, mask)


@pytest.mark.parametrize("seed", range(5))
def test_bounding_box_is_the_smallest_that_holds_every_voxel(seed):
    mask = np.random.default_rng(seed).random((9, 11, 7)) < 0.01
    mask[4, 5, 3] = True
    points = np.argwhere(mask)

    box = bounding_box(mask)

    assert box == tuple(slice(low, high + 1) for low, high in zip(points.min(0), points.max(0), strict=True))


def test_crop_keeps_the_margin_and_every_voxel_at_its_place():
    image, mask = phantom((30, 60, 60), (2.0, 0.8, 0.8), (5.0, -7.0, 11.0), OBLIQUE)
    mask = mask == 2
    low = [side.start for side in bounding_box(sitk.GetArrayFromImage(mask) != 0)][::-1]

    cut_image, cut_mask = crop(image, mask, margin_mm=5.0)

    new_low = [side.start for side in bounding_box(sitk.GetArrayFromImage(cut_mask) != 0)][::-1]
    assert new_low == [7, 7, 3]  # 5 mm is 6.25 voxels of 0.8 mm and 2.5 of 2 mm: the whole voxel is kept
    np.testing.assert_allclose(
        cut_image.TransformIndexToPhysicalPoint(new_low), image.TransformIndexToPhysicalPoint(low), atol=1e-9
    )
    assert cut_image[new_low] == image[low]
    assert sitk.GetArrayFromImage(cut_mask).sum() == sitk.GetArrayFromImage(mask).sum()


def test_crop_stays_within_the_image():
    image, mask = phantom((10, 12, 14), (1.0, 1.0, 1.0))
    cut, _ = crop(image, mask, margin_mm=100.0)
    assert cut.GetSize() == image.GetSize()


def test_window_clips_and_unit_range_maps_its_ends_to_0_and_1():
    array = np.array([-2000, -160, -60, 40, 240, 3000], dtype=np.int16)
    np.testing.assert_array_equal(window(array, -160, 240), [-160, -160, -60, 40, 240, 240])
    np.testing.assert_array_equal(unit_range(array, -160, 240), np.float32([0, 0, 0.25, 0.5, 1, 1]))


def test_a_window_upside_down_is_refused():
    with pytest.raises(ValueError, match="low must be less than its high"):
        window(np.zeros(3), 100, -100)


def test_z_score_agrees_with_scipy_over_the_foreground():
    array = np.random.default_rng(0).normal(300, 40, (5, 6, 7))
    foreground = array > 280

    scored = z_score(array, foreground)

    np.testing.assert_allclose(scored[foreground], zscore(array[foreground]), atol=1e-6)  # single precision


@pytest.mark.parametrize(
    ("array", "foreground", "told"),
    [
        (np.ones((2, 2, 2)), np.ones((2, 2, 2), bool), "more than one value, all of it is 1"),
        (np.ones((2, 2, 2)), np.zeros((2, 2, 2), bool), "no voxel of it is set"),
    ],
    ids=["flat", "empty"],
)
def test_a_z_score_without_spread_is_refused(array, foreground, told):
    with pytest.raises(ValueError, match=told):
        z_score(array, foreground)


def test_normalize_agrees_with_pyradiomics():
    operations = pytest.importorskip("radiomics.imageoperations", reason="compares with pyradiomics")
    image, _ = phantom((10, 20, 20), (1.0, 1.0, 1.0))

    scaled = sitk.GetArrayFromImage(normalize(image, scale=100.0))

    wanted = sitk.GetArrayFromImage(operations.normalizeImage(image, normalizeScale=100))
    np.testing.assert_array_equal(scaled, wanted)


def test_a_flat_image_is_not_normalised():
    with pytest.raises(ValueError, match=r"an image of one value throughout \(0\)"):
        normalize(sitk.Image(4, 4, 4, sitk.sitkInt16))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_voxel_that_is_no_number_stays_none_in_every_format(ending, dtype, tmp_path):
    array = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(dtype)
    array[1, 2, 3] = np.nan
    array[3, 0, 5] = np.inf
    sitk.WriteImage(sitk.GetImageFromArray(array), tmp_path / f"image{ending}")

    read = sitk.GetArrayFromImage(read_image(tmp_path / f"image{ending}"))

    np.testing.assert_array_equal(np.isfinite(read), np.isfinite(array))
    np.testing.assert_array_equal(read[np.isfinite(read)], array[np.isfinite(array)])
