from itertools import product

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.spatial import KDTree

from radnet.radiomics.change import moved_mask, shuffled_voxels, voxels_taken
from radnet.radiomics.engines import ENGINES
from radnet.radiomics.scan import region_on_grid
from radnet.radiomics.settings import ExtractionSettings

FAST = ExtractionSettings("fast", log_sigma_mm=(), wavelet=False)
SPACING = (3.0, 1.0, 1.5)


def as_image(array):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin((4.0, -7.0, 11.0))
    return image


def lesion_pair(seed=0, shape=(10, 24, 20)):
    rng = np.random.default_rng(seed)
    smooth = rng.normal(0, 5, shape) + 30 * np.arange(shape[1])[:, None]  # neighbours are alike
    lesion = np.zeros(shape, dtype=np.uint8)
    lesion[3:7, 6:15, 5:13] = rng.random((4, 9, 8)) < 0.9
    return as_image(smooth.astype(np.float32)), as_image(lesion)


def test_shuffled_voxels_keep_their_values_and_leave_the_rest_alone():
    image, mask = lesion_pair()

    shuffled = shuffled_voxels(image, mask, np.random.default_rng(1))

    before, after = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(shuffled)
    inside = sitk.GetArrayFromImage(mask) != 0
    np.testing.assert_array_equal(before[~inside], after[~inside])
    np.testing.assert_array_equal(np.sort(before[inside]), np.sort(after[inside]))
    assert (before[inside] != after[inside]).mean() > 0.9
    assert shuffled.GetOrigin() == image.GetOrigin()
    assert shuffled.GetSpacing() == image.GetSpacing()


def test_shuffled_voxels_have_the_same_shape_and_histogram_and_another_texture():
    image, mask = region_on_grid(*lesion_pair(), 1, "lesion", FAST)
    measure = ENGINES["native"].measure

    before = measure(image, mask, FAST)
    after = measure(shuffled_voxels(image, mask, np.random.default_rng(1)), mask, FAST)

    for name in before:
        if "_shape_" in name or "_firstorder_" in name:
            assert after[name] == pytest.approx(before[name], rel=1e-9), name
    assert after["original_glcm_Contrast"] > 1.5 * before["original_glcm_Contrast"]


def places_by_definition(values, lesion, taken, threshold, share):
    """Every shift that moves the lesion within the image, onto no taken voxel and onto enough tissue, one by one."""
    voxels = np.argwhere(lesion)
    room = [
        range(-low, size - high) for low, high, size in zip(voxels.min(0), voxels.max(0), lesion.shape, strict=True)
    ]
    good = set()
    for shift in product(*room):
        there = [tuple(voxel + shift) for voxel in voxels]
        on_tissue = np.mean([values[voxel] > threshold for voxel in there])
        if not any(taken[voxel] for voxel in there) and on_tissue >= share:
            good.add(shift)
    return good


@pytest.mark.parametrize(("offset", "share"), [(0.0, 0.75), (-600.0, 0.95)], ids=["no air", "air"])
def test_a_mask_is_moved_to_every_place_that_will_do_and_to_no_other(offset, share):
    rng = np.random.default_rng(4)
    values = rng.normal(0, 30, (4, 9, 9))
    values[:, :4] += offset  # with an offset: air
    values[:, 4:6, :3] -= 100
    lesion = np.zeros(values.shape, dtype=bool)
    lesion[1:3, 5:7, 6:8] = True
    lesion[1, 5, 6] = False
    taken = lesion.copy()
    taken[:, 8] = True
    threshold = -500.0 if offset else np.percentile(values, 20)
    good = places_by_definition(values, lesion, taken, threshold, share)

    found = []
    for seed in range(12 * len(good)):
        moved = moved_mask(
            as_image(values), as_image(lesion.astype(np.uint8) * 3), 3, taken, np.random.default_rng(seed)
        )
        voxels = np.argwhere(sitk.GetArrayFromImage(moved) == 3)
        shift = voxels.min(0) - np.argwhere(lesion).min(0)
        np.testing.assert_array_equal(voxels - shift, np.argwhere(lesion))
        found.append(tuple(int(step) for step in shift))

    assert set(found) == good
    counts = np.array([found.count(place) for place in good])
    # Equally likely places give a chi-square of about its degrees of freedom; six standard deviations are no chance.
    assert np.sum((counts - 12) ** 2 / 12) < len(good) + 6 * np.sqrt(2 * len(good))


def test_a_moved_mask_keeps_its_grid_and_a_label_beyond_8_bits():
    image = as_image(np.random.default_rng(0).normal(0, 1, (3, 8, 20)))
    array = np.zeros((3, 8, 20), dtype=np.uint32)
    array[1, 3:5, 2:5] = 1000
    mask = as_image(array)

    moved = moved_mask(image, mask, 1000, array == 1000, np.random.default_rng(0))

    assert moved.GetOrigin() == mask.GetOrigin()
    assert moved.GetSpacing() == mask.GetSpacing()
    assert (sitk.GetArrayFromImage(moved) == 1000).sum() == 6


def test_a_lesion_without_another_place_is_told():
    image = as_image(np.random.default_rng(0).normal(0, 1, (6, 10, 10)))
    array = np.zeros((6, 10, 10), dtype=np.uint8)
    array[1:5, 2:8, 2:8] = 1
    with pytest.raises(ValueError, match="no other place for the lesion: of 75 in its image none holds tissue alone"):
        moved_mask(image, as_image(array), 1, array == 1, np.random.default_rng(0))


def test_where_places_are_many_some_are_drawn_and_that_is_told():
    image = as_image(np.zeros((30, 40, 40)))  # no voxel lies above the percentile
    array = np.zeros((30, 40, 40), dtype=np.uint8)
    array[2, 2, 2:4] = 1
    with pytest.raises(ValueError, match="of 46800 in its image none of 20000 drawn holds tissue alone"):
        moved_mask(image, as_image(array), 1, array == 1, np.random.default_rng(0))


@pytest.mark.parametrize("clear_mm", [0.0, 3.5])
def test_voxels_taken_are_those_within_reach_of_any_lesion(clear_mm):
    rng = np.random.default_rng(2)
    lesions = [np.zeros((8, 20, 20), dtype=bool) for _ in range(3)]  # the last one is empty
    lesions[0][1:3, 2:6, 2:6] = rng.random((2, 4, 4)) < 0.7
    lesions[1][5:8, 12:20, 9:14] = rng.random((3, 8, 5)) < 0.7
    points = np.argwhere(np.ones(lesions[0].shape)) * SPACING
    apart, _ = KDTree(np.argwhere(lesions[0] | lesions[1]) * SPACING).query(points)

    taken = voxels_taken(lesions, SPACING, clear_mm)

    np.testing.assert_array_equal(taken, (apart <= clear_mm + 1e-9).reshape(taken.shape))
