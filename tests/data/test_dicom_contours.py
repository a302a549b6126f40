import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from dicoms import OBLIQUE, STRAIGHT, slices, structures, write, write_series
from radnet.data.dicom import read_mask, read_series

SHAPE = (6, 20, 24)
SPACING = (2.5, 0.7, 0.8)


@pytest.fixture(params=[STRAIGHT, OBLIQUE], ids=["axial", "oblique"])
def images(request):
    return slices(np.zeros(SHAPE, np.int16), SPACING, orientation=request.param)


@pytest.fixture
def reference(images, tmp_path):
    return read_series(write_series(tmp_path / "images", images))


def in_world(reference, corners, place) -> np.ndarray:
    """Corners in voxels (X, Y) of the slice at ``place``, in mm."""
    return np.array([reference.TransformContinuousIndexToPhysicalPoint((*corner, float(place))) for corner in corners])


def box(low, high) -> list:
    """A square with corners at (low, low) and (high, high), in voxels."""
    return [(low, low), (high, low), (high, high), (low, high)]


def drawn(reference, rois, images, tmp_path, **settings):
    """Write ROIs given as name → [(place, corners in voxels)] and return the file."""
    polygons = {
        name: [in_world(reference, corners, place) for place, corners in contours] for name, contours in rois.items()
    }
    return write(structures(images, polygons, **settings), tmp_path / "rs.dcm")


def voxels(mask) -> np.ndarray:
    return sitk.GetArrayFromImage(mask).astype(bool)


def is_within(point, corners) -> bool:
    """Whether a ray from a point crosses an odd number of edges: the definition, edge by edge."""
    inside = False
    for (x, y), (next_x, next_y) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if (y > point[1]) != (next_y > point[1]) and point[0] < x + (point[1] - y) * (next_x - x) / (next_y - y):
            inside = not inside
    return inside


@pytest.mark.parametrize("seed", range(4))
def test_voxels_whose_centre_lies_within_an_odd_number_of_contours_belong_to_the_roi(seed, images, reference, tmp_path):
    rng = np.random.default_rng(seed)
    stars = []
    for _ in range(3):
        angle = np.sort(rng.uniform(0, 2 * np.pi, 15))
        radius = rng.uniform(1, 8, 15)
        centre = rng.uniform((8, 8), (15, 11))
        stars.append(centre + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1))
    path = drawn(reference, {"GTV": [(2, star) for star in stars]}, images, tmp_path)

    found = voxels(read_mask(path, reference, "GTV"))

    wanted = np.zeros(SHAPE, bool)
    for y, x in np.ndindex(SHAPE[1:]):
        wanted[2, y, x] = sum(is_within((x, y), star) for star in stars) % 2
    np.testing.assert_array_equal(found, wanted)


def test_a_contour_within_another_is_a_hole_as_is_a_keyhole(images, reference, tmp_path):
    keyhole = [(2.5, 2.5), (9.5, 2.5), (9.5, 9.5), (2.5, 9.5), (2.5, 6.2), (4.5, 6.2)]
    keyhole += [(4.5, 7.5), (7.5, 7.5), (7.5, 4.5), (4.5, 4.5), (4.5, 6.2), (2.5, 6.2)]
    rois = {"hole": [(1, box(2.5, 9.5)), (1, box(4.5, 7.5))], "keyhole": [(1, keyhole)]}
    path = drawn(reference, rois, images, tmp_path)

    wanted = np.zeros(SHAPE, bool)
    wanted[1, 3:10, 3:10] = True
    wanted[1, 5:8, 5:8] = False
    np.testing.assert_array_equal(voxels(read_mask(path, reference, "hole")), wanted)
    np.testing.assert_array_equal(voxels(read_mask(path, reference, "keyhole")), wanted)


def test_neighbours_that_share_a_border_through_voxel_centres_share_no_voxel(images, reference, tmp_path):
    rois = {name: [(0, [(x, 2), (x + 4, 2), (x + 4, 6), (x, 6)])] for name, x in {"left": 3, "right": 7}.items()}
    path = drawn(reference, rois, images, tmp_path)

    left, right = (voxels(read_mask(path, reference, name)) for name in rois)

    assert not (left & right).any()
    assert left.sum() == right.sum() == 16


def test_a_contour_exported_twice_counts_once(images, reference, tmp_path):
    square = box(2.5, 6.5)
    path = drawn(reference, {"GTV": [(1, square), (1, square[1:] + square[:1])]}, images, tmp_path)
    assert voxels(read_mask(path, reference, "GTV")).sum() == 16


def test_contours_between_slices_go_to_the_nearest_and_planes_that_meet_there_are_united(images, reference, tmp_path):
    contours = [(0.8, box(2.5, 6.5)), (1.3, box(4.5, 8.5)), (1.9, box(2.5, 6.5))]
    path = drawn(reference, {"GTV": contours}, images, tmp_path)

    found = voxels(read_mask(path, reference, "GTV"))

    wanted = np.zeros(SHAPE, bool)
    wanted[1:3, 3:7, 3:7] = True
    wanted[1, 5:9, 5:9] = True
    np.testing.assert_array_equal(found, wanted)


def test_a_contour_half_way_goes_to_the_slice_it_refers_to(images, reference, tmp_path):
    path = drawn(reference, {"GTV": [(2.5, box(2.5, 6.5))]}, images, tmp_path, refer=3)
    assert voxels(read_mask(path, reference, "GTV")).any(axis=(1, 2)).tolist() == [False] * 3 + [True] + [False] * 2


def test_a_contour_far_from_the_slice_it_refers_to_is_refused(images, reference, tmp_path):
    path = drawn(reference, {"GTV": [(2, box(2.5, 6.5))]}, images, tmp_path, refer=4)
    with pytest.raises(ValueError, match="refers to slice 5 of the image, but lies nearer to slice 3"):
        read_mask(path, reference, "GTV")


@pytest.mark.parametrize(
    ("contours", "told"),
    [
        ([(7, box(2, 6))], "reaches beyond the image"),
        ([(1, box(-3, 6))], "reaches beyond the image"),
        ([(1, box(2, 26))], "reaches beyond the image"),
        ([(0, box(2, 6)), (2, box(2, 6)), (4, box(2, 6))], "its contours are 5 mm apart or more and the slices 2.5 mm"),
        ([], "has no closed contour"),
        ([(1, [(2, 2)])], "has no closed contour"),
    ],
    ids=["above", "beside", "beyond", "every other slice", "none", "a point"],
)
def test_contours_that_make_no_whole_region_of_the_image_are_told(contours, told, images, reference, tmp_path):
    path = drawn(reference, {"GTV": contours}, images, tmp_path)
    with pytest.raises(ValueError, match=f"rs.dcm: ROI 'GTV'.*{told}"):
        read_mask(path, reference, "GTV")


def test_contours_across_the_slices_or_open_ones_are_told(images, reference, tmp_path):
    across = in_world(reference, box(2, 6), 1) + np.array([[0, 0, 0], [0, 0, 0], [0, 0, 2], [0, 0, 2]])
    whole = in_world(reference, box(2, 6), 1)
    path = write(structures(images, {"across": [across], "open": [("OPEN_PLANAR", whole)]}), tmp_path / "rs.dcm")
    with pytest.raises(ValueError, match="ROI 'across': the contour from .* is not parallel to the slices"):
        read_mask(path, reference, "across")
    with pytest.raises(ValueError, match="ROI 'open': a contour of type OPEN_PLANAR, expected CLOSED_PLANAR"):
        read_mask(path, reference, "open")


def test_the_rois_there_are_are_named(images, reference, tmp_path):
    path = drawn(reference, {"GTV": [], "Liver": []}, images, tmp_path)
    with pytest.raises(ValueError, match="there is no ROI 'CTV'; the file has 1 'GTV', 2 'Liver'"):
        read_mask(path, reference, "CTV")
    with pytest.raises(ValueError, match="an RTSTRUCT needs roi_name, one of its ROIs: 1 'GTV', 2 'Liver'"):
        read_mask(path, reference)


def test_another_frame_of_reference_is_refused(images, reference, tmp_path):
    path = drawn(reference, {"GTV": [(1, box(2, 6))]}, images, tmp_path, frame="elsewhere")
    with pytest.raises(ValueError, match="the frame of reference differs"):
        read_mask(path, reference, "GTV")


def test_contours_of_another_series_are_accepted_on_the_slices_and_refused_between(images, reference, tmp_path):
    other = [*slices(np.zeros(SHAPE, np.int16), series="b")]
    path = drawn(reference, {"on": [(1.02, box(2.5, 6.5))], "off": [(1.3, box(2.5, 6.5))]}, other, tmp_path)
    assert voxels(read_mask(path, reference, "on"))[1].sum() == 16
    with pytest.raises(ValueError, match=r"drawn on another series, and lies 0\.75 mm from the nearest slice"):
        read_mask(path, reference, "off")


SHARED_ROIS = {
    "CT": ("sts_dicom_rtstruct/STS_003/CT", "nifti_mask_truth.nii.gz", "GTV_Mass_CT"),
    "MR": ("sts_dicom_rtstruct/STS_003/MR_T1", "nifti_mask_truth.nii.gz", "GTV_Mass_MR_T1"),
    "PET": ("sts_dicom_rtstruct/STS_003/PET", "nifti_mask_truth.nii.gz", "GTV_Mass_PET"),
    "IBSI": ("ibsi1/ct_phantom", "nifti/mask/mask.nii.gz", "GTV-1"),
}


@pytest.mark.parametrize(("folder", "truth", "roi"), SHARED_ROIS.values(), ids=SHARED_ROIS.keys())
def test_contours_agree_with_the_published_mask(folder, truth, roi, shared):
    folder = shared / "data" / folder
    reference = read_series(folder / "dicom" / "image")
    wanted = voxels(sitk.ReadImage(str(folder / truth)))

    found = voxels(read_mask(next((folder / "dicom" / "mask").iterdir()), reference, roi))

    dice = 2 * (found & wanted).sum() / (found.sum() + wanted.sum())
    assert dice >= 0.98  # asked for; it is 1 for all four
    assert found.sum() == pytest.approx(wanted.sum(), rel=0.01)


@pytest.mark.parametrize(("roi", "planes"), [("lesion1 liver R lobe", 35), ("lesion2 liver L lateral", 10)])
def test_both_lesions_of_a_patient_load_with_the_volume_of_their_contours(roi, planes, shared):
    folder = shared / "data" / "multilesion_spect_rtstruct"
    path = next((folder / "mask").iterdir())
    reference = read_series(folder / "image")

    found = voxels(read_mask(path, reference, roi))

    structures_read = pydicom.dcmread(path)
    number = {one.ROIName: one.ROINumber for one in structures_read.StructureSetROISequence}[roi]
    contours = next(one for one in structures_read.ROIContourSequence if number == one.ReferencedROINumber)
    area = 0.0
    for one in contours.ContourSequence:
        x, y = np.array(one.ContourData, float).reshape(-1, 3)[:, :2].T
        area += abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    assert found.any(axis=(1, 2)).sum() == planes
    assert found.sum() * 1.95313**2 == pytest.approx(area, rel=0.03)  # they pass through voxel centres
