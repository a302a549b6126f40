"""Filtered images against pyradiomics' own, scikit-image's and trimesh's definitions written slowly, and laws."""

import logging
import math
import warnings
from itertools import combinations, pairwise, product

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import map_coordinates
from scipy.stats import kurtosis

from radnet.radiomics.engine.filters import filtered_values
from radnet.radiomics.engine.laplacian import laplacian_of_gaussian
from radnet.radiomics.engine.region import Region
from radnet.radiomics.engine.wavelet import wavelet_bands
from radnet.radiomics.settings import ExtractionSettings, feature_names
from radnet.radiomics.vocabulary import POINTWISE

NOTHING = {"original": False, "log_sigma_mm": (), "wavelet": False}
TYPES = [np.uint8, np.int16, np.int32, np.float32, np.float64]


@pytest.fixture(scope="session")
def stock():
    """Return pyradiomics' filters, which yield the whole grid, at a region's voxels."""
    pytest.importorskip("radiomics.imageoperations", reason="compares with pyradiomics itself")
    from radiomics import imageoperations

    logging.getLogger("radiomics").setLevel(logging.CRITICAL)

    def at_voxels(filter_name, image, mask, spacing_mm, **settings):
        grid = sitk.GetImageFromArray(image)
        grid.SetSpacing(spacing_mm[::-1])
        images = getattr(imageoperations, f"get{filter_name}Image")(grid, None, **settings)
        return [(name, sitk.GetArrayFromImage(filtered)[mask]) for filtered, name, _ in images]

    return at_voxels


def image_of(kind, shape=(13, 18, 21), seed=0):
    values = np.random.default_rng(seed).normal(100, 60, shape)
    return values.clip(0, 255).astype(kind) if np.dtype(kind).kind == "u" else (values - 150).astype(kind)


def blob(shape, centre, radius):
    places = np.indices(shape) - np.reshape(centre, (3, 1, 1, 1))
    return (places**2).sum(0) <= radius**2


def measured(image, mask, spacing_mm=(1.0, 1.0, 1.0), **settings):
    wanted = ExtractionSettings("test", **NOTHING | settings)
    return list(filtered_values(image, Region.of(mask, spacing_mm), wanted))


def assert_equal_to_the_bit(found, expected):
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (name, values), (_, wanted) in zip(found, expected, strict=True):
        assert values.dtype == wanted.dtype, name
        np.testing.assert_array_equal(values, wanted, err_msg=name)


LESIONS = {
    "in the middle": lambda shape: blob(shape, [size // 2 for size in shape], 3),
    "at the first border": lambda shape: blob(shape, (1, 0, 2), 4),
    "at the last border": lambda shape: blob(shape, [size - 1 for size in shape], 4),
    "one slice": lambda shape: blob(shape, [size // 2 for size in shape], 5) & (np.indices(shape)[0] == shape[0] // 2),
    "scattered": lambda shape: np.random.default_rng(5).random(shape) < 0.02,
    "the whole grid": lambda shape: np.ones(shape, dtype=bool),
}


def test_the_images_are_those_of_the_features_and_come_in_their_order():
    settings = ExtractionSettings(
        "all", log_sigma_mm=(1, 2.5), pointwise=POINTWISE[::-1], gradient=True, lbp_2d=True, lbp_3d=True
    )
    of_features = dict.fromkeys(name.split("_")[0] for name in feature_names(settings))
    mask = LESIONS["in the middle"]((13, 18, 21))

    names, values = zip(*filtered_values(image_of(np.int16), Region.of(mask, (1, 1, 1)), settings), strict=True)

    assert list(names) == list(of_features)
    assert {one.shape for one in values} == {(mask.sum(),)}


def test_nothing_is_filtered_that_was_not_asked_for():
    assert measured(image_of(np.int16), LESIONS["scattered"]((13, 18, 21))) == []


@pytest.mark.parametrize("kind", TYPES)
def test_the_original_keeps_its_values_and_type(kind):
    image, mask = image_of(kind), LESIONS["scattered"]((13, 18, 21))

    found = measured(image, mask, original=True)

    assert_equal_to_the_bit(found, [("original", image[mask])])


@pytest.mark.parametrize("lesion", LESIONS)
@pytest.mark.parametrize("spacing_mm", [(1, 1, 1), (3, 0.8, 0.7), (0.6, 2.2, 1.1)], ids=str)
@pytest.mark.parametrize("kind", [np.int16, np.float32, np.float64])
def test_laplacian_of_gaussian_equals_pyradiomics_to_the_bit(stock, kind, spacing_mm, lesion):
    image = image_of(kind)
    mask = LESIONS[lesion](image.shape)

    found = measured(image, mask, spacing_mm, log_sigma_mm=(1, 2.7, 4))

    assert_equal_to_the_bit(found, stock("LoG", image, mask, spacing_mm, sigma=[1.0, 2.7, 4.0]))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("shape", [(4, 4, 4), (5, 70, 9), (66, 5, 131)], ids=str)
def test_laplacian_of_gaussian_equals_pyradiomics_on_grids_of_every_size(stock, shape, kind):
    image = image_of(kind, shape)
    mask = np.random.default_rng(1).random(shape) < 0.2

    found = measured(image, mask, log_sigma_mm=(1.5,))

    assert_equal_to_the_bit(found, stock("LoG", image, mask, (1, 1, 1), sigma=[1.5]))


def test_laplacian_of_gaussian_of_integers_that_single_precision_does_not_hold(stock):
    image = image_of(np.int32) + 2**28
    mask = LESIONS["in the middle"](image.shape)

    found = measured(image, mask, log_sigma_mm=(1.5,))

    assert_equal_to_the_bit(found, stock("LoG", image, mask, (1, 1, 1), sigma=[1.5]))


def test_laplacian_of_gaussian_of_a_ball_is_strongest_where_its_radius_is_sigma_times_root_three():
    image = blob((41, 41, 41), (20, 20, 20), 6).astype(np.float32)
    centre = Region.of(blob(image.shape, (20, 20, 20), 0), (1.0, 1.0, 1.0))

    response = {sigma: float(laplacian_of_gaussian(image, centre, sigma)[0]) for sigma in np.arange(2.5, 4.6, 0.25)}

    # The ball's indicator against σ²∇²G, integrated in closed form, has its extreme at r = σ √3.
    assert min(response, key=response.__getitem__) == pytest.approx(6 / math.sqrt(3), abs=0.25)


@pytest.mark.parametrize(
    ("shape", "sigma_mm"), [((3, 20, 20), 1.0), ((20, 20, 6), 6.0)], ids=["under 4", "under sigma"]
)
def test_a_grid_too_small_for_the_laplacian_is_refused(shape, sigma_mm):
    with pytest.raises(ValueError, match=r"too small for the Laplacian of Gaussian"):
        measured(image_of(np.int16, shape), np.ones(shape, dtype=bool), log_sigma_mm=(sigma_mm,))


@pytest.mark.parametrize("lesion", LESIONS)
@pytest.mark.parametrize("shape", [(14, 18, 20), (13, 17, 21), (6, 7, 20)], ids=str)
@pytest.mark.parametrize("kind", TYPES)
def test_wavelet_bands_equal_pyradiomics_to_the_bit(stock, kind, shape, lesion):
    image = image_of(kind, shape)
    mask = LESIONS[lesion](shape)

    found = measured(image, mask, wavelet=True)

    assert_equal_to_the_bit(found, stock("Wavelet", image, mask, (1, 1, 1)))


@pytest.mark.parametrize("lesion", ["in the middle", "at the last border"])
@pytest.mark.parametrize("kind", [np.int16, np.float32])
@pytest.mark.parametrize("wavelet", ["haar", "db2", "bior2.2", "coif3", "dmey"])
def test_other_wavelets_equal_pyradiomics_even_where_they_are_longer_than_the_grid(stock, wavelet, kind, lesion):
    image = image_of(kind)
    mask = LESIONS[lesion](image.shape)

    found = measured(image, mask, wavelet=True, wavelet_name=wavelet)

    assert_equal_to_the_bit(found, stock("Wavelet", image, mask, (1, 1, 1), wavelet=wavelet))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_wavelet_bands_within_slices_equal_pyradiomics(stock, axis):
    image = image_of(np.int16)
    mask = LESIONS["in the middle"](image.shape)

    found = measured(image, mask, wavelet=True, force_2d=True, force_2d_axis=axis)

    assert_equal_to_the_bit(found, stock("Wavelet", image, mask, (1, 1, 1), force2D=True, force2Ddimension=axis))
    assert [name for name, _ in found] == ["wavelet-LH", "wavelet-HL", "wavelet-HH", "wavelet-LL"]


@pytest.mark.parametrize(("axis", "band"), [(0, "LLH"), (1, "LHL"), (2, "HLL")])
def test_what_varies_along_one_axis_alone_is_seen_by_the_band_of_its_letter(axis, band):
    image = np.moveaxis(np.broadcast_to(np.sin(np.arange(16.0) * 2.5), (16, 16, 16)), 2, axis)
    region = Region.of(LESIONS["in the middle"](image.shape), (1.0, 1.0, 1.0))

    strength = {name: np.abs(values).max() for name, values in wavelet_bands(image, region, "coif1")}

    assert {name for name, one in strength.items() if one > 1e-9} == {"LLL", band}


def test_energy_of_the_whole_image_is_kept_by_the_bands():
    image = image_of(np.float64, (12, 14, 16))
    region = Region.of(np.ones(image.shape, dtype=bool), (1.0, 1.0, 1.0))

    energy = sum((values**2).sum() for _, values in wavelet_bands(image, region, "coif1"))

    # Each axis is transformed without decimation: twice the coefficients, so twice the energy.
    assert energy == pytest.approx(8 * (image**2).sum(), rel=1e-9)


@pytest.mark.parametrize("name", POINTWISE)
@pytest.mark.parametrize("kind", TYPES)
def test_pointwise_images_equal_pyradiomics_to_the_bit(stock, kind, name):
    image = image_of(kind)
    image[0, 0, :2] = 0, 250 if np.dtype(kind).kind == "u" else -400  # the extreme lies outside the lesion
    mask = LESIONS["in the middle"](image.shape)
    mask[0, 0, 0] = True
    filter_name = {"squareroot": "SquareRoot"}.get(name, name.capitalize())

    found = measured(image, mask, pointwise=(name,))

    assert_equal_to_the_bit(found, stock(filter_name, image, mask, (1, 1, 1)))


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_images_leave_the_value_farthest_from_0_as_it_is(name):
    image = image_of(np.int16)
    image[3, 4, 5] = 777
    mask = np.zeros(image.shape, dtype=bool)
    mask[3, 4, 5] = True

    ((_, values),) = measured(image, mask, pointwise=(name,))

    assert values == pytest.approx([777])


@pytest.mark.parametrize("lesion", LESIONS)
@pytest.mark.parametrize("spacing_mm", [(1, 1, 1), (3, 0.8, 0.7)], ids=str)
@pytest.mark.parametrize("kind", TYPES)
def test_gradient_equals_pyradiomics_to_the_bit(stock, kind, spacing_mm, lesion):
    image = image_of(kind)
    mask = LESIONS[lesion](image.shape)

    found = measured(image, mask, spacing_mm, gradient=True)

    assert_equal_to_the_bit(found, stock("Gradient", image, mask, spacing_mm))


def test_gradient_of_a_ramp_is_its_slope_per_mm():
    image = np.broadcast_to(4.0 * np.arange(9), (5, 7, 9)).copy()

    ((_, values),) = measured(image, blob((5, 7, 9), (2, 3, 4), 2), (3, 2, 0.5), gradient=True)

    np.testing.assert_allclose(values, 8.0)


def test_filters_of_a_brain_tumour_equal_pyradiomics_to_the_bit(stock, shared):
    folder = shared / "data" / "pyradiomics_cases"
    mask = sitk.GetArrayFromImage(sitk.ReadImage(folder / "brain1_label.nrrd")) == 1
    grid = sitk.ReadImage(folder / "brain1_image.nrrd")
    around = tuple(slice(max(place.min() - 7, 0), place.max() + 8) for place in np.nonzero(mask))
    image, mask = sitk.GetArrayFromImage(grid)[around], mask[around]
    spacing_mm = grid.GetSpacing()[::-1]

    found = measured(image, mask, spacing_mm, log_sigma_mm=(1, 3, 5), wavelet=True, pointwise=POINTWISE, gradient=True)

    expected = stock("LoG", image, mask, spacing_mm, sigma=[1.0, 3.0, 5.0])
    for name in ("Wavelet", "Square", "SquareRoot", "Logarithm", "Exponential", "Gradient"):
        expected += stock(name, image, mask, spacing_mm)
    assert_equal_to_the_bit(found, expected)


def test_an_image_that_must_not_be_written_to_is_filtered_as_any_other():
    image = image_of(np.float64)
    mask = LESIONS["in the middle"](image.shape)
    settings = {"log_sigma_mm": (2,), "wavelet": True, "gradient": True, "lbp_2d": True, "lbp_3d": True}
    writable = measured(image, mask, **settings)

    image.setflags(write=False)

    assert_equal_to_the_bit(measured(image, mask, **settings), writable)


def uniform_pattern(plane, y, x):
    """Return scikit-image's ``local_binary_pattern(plane, P=8, R=1, method="uniform")`` at a pixel, as documented."""
    padded = np.pad(plane.astype(float), 2)
    lighter = []
    for point in range(8):
        to_y, to_x = -math.sin(point * math.pi / 4), math.cos(point * math.pi / 4)
        around = map_coordinates(padded, [[y + 2 + to_y], [x + 2 + to_x]], order=1)[0]
        lighter.append(around >= plane[y, x] - 1e-3)  # a tie up to rounding; values are whole numbers or far apart
    changes = sum(one != other for one, other in pairwise(lighter))
    return sum(lighter) if changes <= 2 else 9


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float64])
def test_circular_patterns_equal_the_definition(kind, axis):
    image = image_of(kind, (6, 7, 8))
    mask = np.ones(image.shape, dtype=bool)
    slices = image.swapaxes(0, axis)
    expected = np.empty(slices.shape)
    for place in np.ndindex(slices.shape):
        expected[place] = uniform_pattern(slices[place[0]], *place[1:])

    ((name, values),) = measured(image, mask, lbp_2d=True, force_2d_axis=axis)

    assert name == "lbp-2D"
    assert values.dtype == image.dtype
    np.testing.assert_array_equal(values, expected.swapaxes(0, axis)[mask])


def test_circular_patterns_of_a_plane_brighter_to_one_side_by_hand():
    image = np.tile(np.arange(5, dtype=np.int16), (1, 5, 1))
    mask = np.zeros(image.shape, dtype=bool)
    mask[0, 2, 1:4] = True

    ((_, values),) = measured(image, mask, lbp_2d=True)

    # 0°, 45°, 90° and 270°, 315° are as bright or brighter: light, dark, light again is two changes.
    assert values.tolist() == [5, 5, 5]


def sphere_points():
    """Return 42 points: permutations that turn (0, ±1, ±φ), and the middles of those nearest each other."""
    golden = (1 + math.sqrt(5)) / 2
    corners = [(0, a, b * golden) for a, b in product((-1, 1), repeat=2)]
    corners = [corner[turn:] + corner[:turn] for corner in corners for turn in range(3)]
    middles = [np.add(one, other) for one, other in combinations(corners, 2) if math.dist(one, other) < 2.1]
    return [np.divide(point, np.linalg.norm(point)) for point in [*corners, *middles]]


def spherical_definition(image, voxel):
    """Return pyradiomics' three values of a voxel, from complex harmonics with the angles in each other's place."""
    points = sphere_points()
    assert len(points) == 42
    around = map_coordinates(image, (np.array(points) + voxel).T, order=3)
    lighter = around >= image[tuple(voxel)]
    levels = []
    for degree in (0, 1):
        harmonics = []
        for point in points:
            azimuth, polar = math.acos(point[2]), math.atan2(point[1], point[0])
            ring = abs(math.sin(polar)) * math.sqrt(3 / (8 * math.pi))
            turn = complex(math.cos(azimuth), math.sin(azimuth))
            harmonics.append(
                [math.sqrt(1 / (4 * math.pi))]
                if degree == 0
                else [ring / turn, math.sqrt(3 / (4 * math.pi)) * math.cos(polar), -ring * turn]
            )
        coefficients = np.sum(np.array(harmonics)[lighter], axis=0)
        expansion = (np.array(harmonics) * coefficients).sum(axis=1)
        levels.append(np.sqrt((expansion**2).sum() + 0j).real)
    return [*levels, kurtosis(around.astype(float))]


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, np.float64])
def test_spherical_patterns_equal_the_definition(kind):
    image = image_of(kind, (7, 8, 9))
    mask = np.random.default_rng(4).random(image.shape) < 0.2

    found = dict(measured(image, mask, lbp_3d=True))

    expected = np.array([spherical_definition(image, voxel) for voxel in np.argwhere(mask)]).T
    assert list(found) == ["lbp-3D-m1", "lbp-3D-m2", "lbp-3D-k"]
    np.testing.assert_allclose(list(found.values()), expected, rtol=1e-9, atol=1e-9)


def test_the_kurtosis_of_a_flat_surrounding_is_no_number():
    image = np.full((9, 9, 9), 7, dtype=np.int16)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = dict(measured(image, blob(image.shape, (4, 4, 4), 1), lbp_3d=True))

    assert np.isnan(found["lbp-3D-k"]).all()
    np.testing.assert_allclose(found["lbp-3D-m1"], math.sqrt(42) * 42 / (4 * math.pi))  # every point is as bright
