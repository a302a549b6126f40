"""Resegmentation against pyradiomics and cases by hand."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from radnet.radiomics.engine.resegment import resegmented_mask
from radnet.radiomics.settings import ExtractionSettings

IMAGES = {
    "int16": np.random.default_rng(0).normal(40, 60, (5, 7, 9)).astype(np.int16),
    "uint8": np.random.default_rng(1).normal(100, 30, (5, 7, 9)).clip(0, 255).astype(np.uint8),
    "float32": (0.1 * np.random.default_rng(2).integers(-9, 40, (5, 7, 9))).astype(np.float32),
    "float64": np.random.default_rng(3).normal(0, 3, (5, 7, 9)),
}
MASK = np.random.default_rng(4).random((5, 7, 9)) < 0.6


def ranged(ends, mode="absolute", sigma=None):
    return ExtractionSettings("range", resegment_range=ends, resegment_mode=mode, resegment_sigma=sigma)


def kept_of(*values, settings):
    image = np.array([[values]], dtype=np.float64)
    return resegmented_mask(image, np.ones_like(image, dtype=bool), settings)[0, 0].tolist()


@pytest.mark.parametrize(
    ("mode", "ends"),
    [
        ("absolute", (0.1, 0.7)),
        ("absolute", (10.0,)),
        ("absolute", (-20.0, 100.0)),
        ("relative", (0.2, 0.9)),
        ("relative", (0.5,)),
        ("sigma", (-1.0, 1.5)),
        ("sigma", (0.0,)),
    ],
)
@pytest.mark.parametrize("name", IMAGES)
def test_resegmentation_is_that_of_pyradiomics(name, mode, ends):
    stock = pytest.importorskip("radiomics.imageoperations", reason="compares with pyradiomics itself")
    pair = sitk.GetImageFromArray(IMAGES[name]), sitk.GetImageFromArray(MASK.astype(np.uint8))
    try:
        wanted = stock.resegmentMask(*pair, resegmentRange=list(ends), resegmentMode=mode)
    except ValueError:
        with pytest.raises(ValueError, match="at least 2 are needed"):
            resegmented_mask(IMAGES[name], MASK, ranged(ends, mode))
        return

    found = resegmented_mask(IMAGES[name], MASK, ranged(ends, mode))

    np.testing.assert_array_equal(found, sitk.GetArrayFromImage(wanted) == 1)
    assert 1 < found.sum() <= MASK.sum()


def test_both_ends_of_a_range_are_in_it():
    assert kept_of(-2, -1, 0, 3, 4, settings=ranged((-1.0, 3.0))) == [False, True, True, True, False]


def test_one_number_is_the_lower_end():
    assert kept_of(1, 2, 3, 999, settings=ranged((2.0,))) == [False, True, True, True]


def test_fractions_are_of_the_greatest_value_in_the_mask():
    image, mask = np.array([[[9, 20, 49, 50, 100, 1000]]]), np.array([[[1, 1, 1, 1, 1, 0]]], dtype=bool)
    found = resegmented_mask(image, mask, ranged((0.2, 0.5), "relative"))
    assert found[0, 0].tolist() == [False, True, True, True, False, False]


def test_a_sigma_and_a_range_each_look_at_the_whole_lesion():
    # The deviation of all voxels is 208. Of those within the range it is 0.6, and 3 would be too far from their mean.
    found = kept_of(*[0.0] * 20, 3.0, 1000.0, settings=ranged((-10.0, 10.0), sigma=3.0))
    assert found == [True] * 21 + [False]


def test_a_sigma_alone_leaves_out_outliers():
    found = kept_of(*[0.0] * 10, *[1.0] * 10, 100.0, settings=ranged(None, sigma=3.0))
    assert found == [True] * 20 + [False]


def test_without_a_range_the_mask_stays():
    np.testing.assert_array_equal(resegmented_mask(IMAGES["int16"], MASK, ranged(None)), MASK)


def test_the_mask_given_is_not_changed():
    before = MASK.copy()
    resegmented_mask(IMAGES["int16"], MASK, ranged((0.0, 50.0)))
    np.testing.assert_array_equal(MASK, before)


@pytest.mark.parametrize(("ends", "left"), [((5.0, 9.0), 0), ((3.0, 9.0), 1)])
def test_fewer_than_two_voxels_are_refused(ends, left):
    with pytest.raises(ValueError, match=rf"leaves {left} of 3 voxels, whose values go from 1.0 to 3.0; at least 2"):
        kept_of(1, 2, 3, settings=ranged(ends))


def test_an_image_on_another_grid_is_refused():
    with pytest.raises(ValueError, match=r"the image \(5, 7, 8\) and the mask \(5, 7, 9\) differ in shape"):
        resegmented_mask(IMAGES["int16"][..., 1:], MASK, ranged((0.0, 50.0)))


def test_an_empty_mask_is_refused():
    with pytest.raises(ValueError, match="the mask has no voxel set"):
        resegmented_mask(IMAGES["int16"], np.zeros_like(MASK), ranged((0.0, 50.0)))
