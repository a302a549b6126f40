"""Grey levels against pyradiomics, cases by hand, and IBSI's definitions."""

import numpy as np
import pytest

from radnet.radiomics.engine.discretise import grey_levels
from radnet.radiomics.engine.region import MARGIN, Region
from radnet.radiomics.settings import ExtractionSettings

SHAPE = (6, 9, 11)
INSIDE = (slice(MARGIN, -MARGIN),) * 3


def normal(seed, mean=0.0, deviation=100.0):
    return np.random.default_rng(seed).normal(mean, deviation, SHAPE)


def of_row(*values, dtype=np.float64, **settings):
    """Levels of a lesion of one row of voxels."""
    values = np.array(values, dtype=dtype)
    region = Region.of(np.ones((1, 1, values.size), dtype=bool), (1.0, 1.0, 1.0))
    grey = grey_levels(values, region, ExtractionSettings("row", **settings), filtered=False)
    return level_of(grey, region)[0, 0].tolist()


def level_of(grey, region):
    """Level of each voxel of the box, 0 outside the lesion."""
    assert not grey.codes[~np.pad(region.inside, MARGIN)].any()
    return np.concatenate([[0], grey.levels])[grey.codes[INSIDE]]


IMAGES = {
    "int16": (normal(0).astype(np.int16), 25.0),
    "uint8": (normal(1, 100, 30).clip(0, 200).astype(np.uint8), 25.0),
    "int32, narrow bins": (normal(2, 0, 1e4).astype(np.int32), 0.7),
    "float32": (normal(3).astype(np.float32), 25.0),
    "float64": (normal(4), 25.0),
    "on edges, negative too": (25.0 * np.rint(normal(5) / 25), 25.0),
    "on edges of float32": (np.float32(0.1) * np.rint(normal(6) / 10).astype(np.float32), 0.1),
    "on edges that are no binary fractions": (0.3 * np.rint(normal(7) / 10), 0.3),
    "just beside edges": (np.nextafter(0.7 * np.rint(normal(8) / 10), np.resize([-np.inf, np.inf, 0], SHAPE)), 0.7),
    "hundreds of levels": (normal(9, 0, 1000), 5.0),
    "gaps in levels": (np.where(normal(10) > 100, 5000.0, normal(11, 0, 10)), 25.0),
    "far from zero": (1e6 + normal(12), 0.01),
    "one value": (np.full(SHAPE, 40, dtype=np.int16), 25.0),
    "one value on an edge": (np.full(SHAPE, -50.0), 25.0),
    "one value, float32": (np.full(SHAPE, 0.1, dtype=np.float32), 0.1),
    "hardly below zero": (np.where(normal(13) > 0, -1e-20, 30.0), 25.0),
    "all within one bin": (normal(14, 12.0, 0.5), 25.0),
}


@pytest.mark.parametrize("bins", ["width", 1, 2, 32, 300])
@pytest.mark.parametrize("name", IMAGES)
def test_grey_levels_are_those_of_pyradiomics(name, bins):
    stock = pytest.importorskip("radiomics.imageoperations", reason="compares with pyradiomics itself")
    image, width = IMAGES[name]
    mask = normal(99) > 20
    if bins == "width":
        settings, by_stock = ExtractionSettings("stock", bin_width=width), {"binWidth": width}
    else:
        settings, by_stock = ExtractionSettings("stock", bin_width=None, bin_count=bins), {"binCount": bins}
    region = Region.of(mask, (1.0, 1.0, 1.0))
    wanted, _ = stock.binImage(image, np.nonzero(mask), **by_stock)

    grey = grey_levels(image[mask], region, settings)

    np.testing.assert_array_equal(level_of(grey, region), wanted[region.box])
    levels, counts = np.unique(wanted[mask], return_counts=True)
    np.testing.assert_array_equal(grey.levels, levels)
    np.testing.assert_array_equal(grey.counts, counts)
    assert (grey.codes.dtype, grey.levels.dtype, grey.counts.dtype) == (np.int32, np.int64, np.int64)


def test_a_bin_holds_its_lower_edge_and_not_its_upper():
    assert of_row(54, 74.9, 75, 99, 100, 166) == [1, 1, 2, 2, 3, 5]
    assert of_row(-26, -25, -1, 0, 25, dtype=np.int16) == [1, 2, 2, 3, 4]


def test_a_count_puts_the_greatest_value_in_the_last_bin():
    assert of_row(0, 0.9, 1, 2, 3.9, 4, bin_width=None, bin_count=4) == [1, 1, 2, 3, 4, 4]


@pytest.mark.parametrize("definitions", ["pyradiomics", "ibsi"])
@pytest.mark.parametrize(
    ("dtype", "greatest"), [(np.uint8, 255), (np.int16, 32767), (np.uint16, 65535), (np.int8, 127)]
)
def test_the_brightest_voxels_keep_their_level_at_the_end_of_an_integer_type(dtype, greatest, definitions):
    found = of_row(0, 24, 25, greatest - 1, greatest, dtype=dtype, definitions=definitions)
    assert found == [1, 1, 2, (greatest - 1) // 25 + 1, greatest // 25 + 1]


def test_ibsi_counts_widths_from_the_least_value():
    assert of_row(7, 31.9, 32, 57, definitions="ibsi") == [1, 1, 2, 3]


@pytest.mark.parametrize("ends", [(-500.0, 400.0), (-500.0,)])
def test_ibsi_counts_widths_from_the_lower_end_of_the_range(ends):
    assert of_row(-500, -476, -475, 0, 400, definitions="ibsi", resegment_range=ends) == [1, 1, 2, 21, 37]


@pytest.mark.parametrize("mode", ["relative", "sigma"])
def test_ibsi_counts_widths_from_the_least_value_where_the_range_is_not_in_the_images_unit(mode):
    levels = of_row(7, 32, definitions="ibsi", resegment_range=(-3.0, 3.0), resegment_mode=mode)
    assert levels == [1, 2]


def test_ibsi_counts_widths_of_a_filtered_image_from_its_least_value():
    settings = ExtractionSettings("row", definitions="ibsi", resegment_range=(-500.0, 400.0))
    region = Region.of(np.ones((1, 1, 3), dtype=bool), (1.0, 1.0, 1.0))
    grey = grey_levels(np.array([-900.0, -876.0, -875.0]), region, settings, filtered=True)
    assert level_of(grey, region)[0, 0].tolist() == [1, 1, 2]


def test_ibsi_s_count_divides_the_range_of_values():
    settings = {"bin_width": None, "bin_count": 6, "definitions": "ibsi"}
    assert of_row(-3, -2.1, -2, 0, 2, 2.9, 3, **settings) == [1, 1, 2, 4, 6, 6, 6]
    assert of_row(5, 5, 5, **settings) == [1, 1, 1]


def test_levels_no_voxel_has_get_no_code():
    values = np.array([0, 30, 130, 135], dtype=np.int16)
    region = Region.of(np.ones((1, 1, 4), dtype=bool), (1.0, 1.0, 1.0))

    grey = grey_levels(values, region, ExtractionSettings("width 25"))

    assert grey.codes[INSIDE][0, 0].tolist() == [1, 2, 3, 3]
    assert grey.levels.tolist() == [1, 2, 6]
    assert grey.counts.tolist() == [1, 1, 2]


def test_values_of_another_lesion_are_refused():
    with pytest.raises(ValueError, match=r"one value is needed for each of 3 voxels, got an array of \(2,\)"):
        grey_levels(np.zeros(2), Region.of(np.ones((1, 1, 3), dtype=bool), (1.0, 1.0, 1.0)), ExtractionSettings("a"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_image_with_values_that_are_no_numbers_is_refused(value):
    with pytest.raises(ValueError, match="grey levels need numbers, but the image goes from"):
        of_row(1, value, 3)


@pytest.mark.parametrize("definitions", ["pyradiomics", "ibsi"])
@pytest.mark.parametrize("values", [(0, 1e15), (1e20, 1e20)], ids=["too many bins", "bins below rounding"])
def test_bins_too_narrow_for_the_values_are_refused(values, definitions):
    with pytest.raises(ValueError, match="bin_width 25.0 is too narrow for values from"):
        of_row(*values, definitions=definitions)


def test_values_below_the_range_that_ibsi_counts_from_are_refused():
    with pytest.raises(ValueError, match="bins start at resegment_range 0.0, but the lesion holds -1.0"):
        of_row(-1, 5, definitions="ibsi", resegment_range=(0.0, 10.0))


@pytest.mark.parametrize(("value", "width"), [(1e6, 0.01), (1e9, 25.0)])
def test_bins_narrower_than_single_precision_can_tell_apart_are_refused(value, width):
    region = Region.of(np.ones(SHAPE, dtype=bool), (1.0, 1.0, 1.0))
    values = (normal(9) * width + value).astype(np.float32).ravel()
    with pytest.raises(ValueError, match=r"bin_width .* is too narrow for values from .* in float32"):
        grey_levels(values, region, ExtractionSettings("narrow", bin_width=width), filtered=False)
