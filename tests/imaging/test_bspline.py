import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from radnet.imaging.bspline import bspline_on_grid
from radnet.imaging.preprocess import resample

STRAIGHT = tuple(np.eye(3).ravel().tolist())
OBLIQUE = tuple(Rotation.from_euler("xyz", [0.3, -0.2, 0.5]).as_matrix().ravel().tolist())
FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
SHEARED = (1.0, 0.0, 0.0, 0.0, 0.9, 0.0, 0.0, 0.4358898943540674, 1.0)  # as a scan with a tilted gantry has it
TYPES = [np.int16, np.uint8, np.int32, np.float32, np.float64]


def as_image(array, spacing_mm=(1.0, 1.0, 1.0), origin=(-101.3, 57.7, 12.1), direction=STRAIGHT):
    """Spacing along Z, Y and X."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(step) for step in spacing_mm[::-1]])
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image


def grid_of(image, first, step, shape):
    """Empty image whose voxels lie at first + step * n, in voxels of the image; all along Z, Y and X."""
    spacing = [float(old * ratio) for old, ratio in zip(image.GetSpacing()[::-1], step, strict=True)]
    origin = image.TransformContinuousIndexToPhysicalPoint([float(place) for place in first[::-1]])
    return as_image(np.zeros(shape, np.uint8), spacing, origin, image.GetDirection())


def noise(shape, dtype=np.float64, seed=0):
    values = np.random.default_rng(seed).normal(100, 300, shape)
    return np.clip(values, 0, 255).astype(dtype) if dtype == np.uint8 else values.astype(dtype)


def by_itk(image, grid):
    return sitk.Resample(image, grid, sitk.Transform(), sitk.sitkBSpline, 0.0, image.GetPixelID())


def assert_as_by_itk(image, grid):
    wanted = by_itk(image, grid)
    got = bspline_on_grid(image, grid)

    assert got.GetPixelID() == wanted.GetPixelID()
    for fact in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(got, fact)() == getattr(wanted, fact)()
    wanted, got = sitk.GetArrayFromImage(wanted), sitk.GetArrayFromImage(got)
    if wanted.dtype == np.float64:
        # ITK finds each row's place anew in mm, which rounds to 1e-13 of a voxel.
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())
    else:
        np.testing.assert_array_equal(got, wanted)


GRIDS = {
    "finer": ((1.0, 1.0, 1.0), (0.45, 0.35, 0.3), (3.2, 4.1, 5.7)),
    "coarser": ((1.0, 1.0, 1.0), (2.1, 1.9, 2.3), (1.4, 2.2, 0.3)),
    "0.78 mm, thick slices, to 1 mm": ((5.0, 0.78, 0.78), (0.2, 1 / 0.78, 1 / 0.78), (2.3, 20.3, 15.2)),
    "thin slices, to thick ones": ((0.6, 0.9, 1.1), (4.7, 0.5, 1.5), (0.1, 30.6, 1.3)),
    "on old voxels": ((0.6, 0.6, 0.6), (5 / 3, 5 / 3, 5 / 3), (1 / 3, 1 / 3, 1 / 3)),
    "every old voxel": ((3.0, 0.7, 0.7), (1.0, 1.0, 1.0), (4.0, 5.0, 6.0)),
}


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("direction", [STRAIGHT, OBLIQUE, FLIPPED, SHEARED], ids=["x", "oblique", "flipped", "sheared"])
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
def test_values_are_those_of_itk(grid, direction, dtype):
    spacing_mm, step, first = grid
    image = as_image(noise((30, 70, 80), dtype), spacing_mm, direction=direction)

    assert_as_by_itk(image, grid_of(image, first, step, (20, 23, 26)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_values_are_those_of_itk_wherever_the_grid_lies(dtype, seed):
    rng = np.random.default_rng(seed)
    direction = Rotation.random(random_state=seed).as_matrix().ravel().tolist()
    image = as_image(noise((40, 50, 60), dtype, seed), rng.uniform(0.5, 3, 3), rng.normal(0, 500, 3), direction)
    grid = grid_of(image, rng.uniform(-3, 30, 3), rng.uniform(0.3, 2.5, 3), rng.integers(5, 30, 3))

    assert_as_by_itk(image, grid)


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("direction", [STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
def test_a_flat_image_truncates_where_itk_does(direction, dtype):
    """The spline gives back 77 ± 1e-11, and truncation makes 76 of less: by the rounding of each row's place."""
    image = as_image(np.full((40, 50, 60), 77, dtype), (1.5, 0.7, 0.7), direction=direction)

    assert_as_by_itk(image, grid_of(image, (3.1, 4.2, 5.3), (0.7, 1.4, 1.4), (25, 25, 25)))


@pytest.mark.parametrize("dtype", [np.int16, np.float32], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("first", [70.0, 70 + 1 / 3], ids=["on old voxels", "between"])
def test_a_grid_deep_within_the_image_cannot_tell_where_it_was_cut(first, dtype):
    """36 voxels lie beyond the margin on either side, and hold a thousand times as much."""
    values = noise((160, 160, 160))
    values[:36] *= 1000
    values[:, -36:] *= 1000
    values = np.clip(values, -30000, 30000).astype(dtype)
    image = as_image(values, (0.8, 0.8, 0.8), direction=OBLIQUE)

    assert_as_by_itk(image, grid_of(image, (first, first, first), (1.0, 0.5, 2.0), (15, 30, 8)))


@pytest.mark.parametrize("dtype", [np.int16, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("direction", [STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
def test_the_image_ends_half_a_voxel_beyond_its_last_centre_as_in_itk(direction, dtype):
    image = as_image(noise((12, 14, 16), dtype), (2.5, 0.8, 0.7), direction=direction)
    for step in (0.25, 0.5, 1.0):  # places at -0.5 and size - 0.5, where rounding decides
        shape = tuple(int((size + 1) / step) + 1 for size in (12, 14, 16))
        assert_as_by_itk(image, grid_of(image, (-1.0, -1.0, -1.0), (step, step, step), shape))


def test_a_grid_beside_the_image_is_0():
    image = as_image(noise((10, 10, 10)))
    grid = grid_of(image, (2.0, 2.0, 10.0), (1.0, 1.0, 1.0), (3, 4, 5))

    assert not sitk.GetArrayFromImage(bspline_on_grid(image, grid)).any()


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("shape", [(1, 20, 20), (20, 20, 1), (3, 20, 4), (17, 18, 19), (1, 1, 1)], ids=str)
def test_a_small_image_is_mirrored_as_in_itk(shape, dtype):
    image = as_image(noise(shape, dtype))

    assert_as_by_itk(image, grid_of(image, (-0.3, -0.3, -0.3), (0.4, 0.4, 0.4), [int(size / 0.4) for size in shape]))


@pytest.mark.parametrize("axis", range(3))
def test_an_axis_of_two_voxels_is_mirrored_as_in_scipy(axis):
    """Where ITK reads beyond its array."""
    shape = [12, 12, 12]
    shape[axis] = 2
    values = noise(shape)
    grid = grid_of(as_image(values), (0.0, 0.0, 0.0), (0.2, 0.2, 0.2), [size * 5 - 4 for size in shape])
    places = np.meshgrid(*[np.arange(size * 5 - 4) * 0.2 for size in shape], indexing="ij")

    got = sitk.GetArrayFromImage(bspline_on_grid(as_image(values), grid))

    np.testing.assert_allclose(got, map_coordinates(values, places, order=3, mode="mirror"), rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_away_from_the_border_a_cubic_polynomial_is_itself(seed):
    rng = np.random.default_rng(seed)
    coefficients = rng.normal(size=(4, 4, 4))

    def polynomial(z, y, x):
        return np.polynomial.polynomial.polyval3d((z - 40) / 40, (y - 40) / 40, (x - 40) / 40, coefficients)

    image = as_image(polynomial(*np.meshgrid(*[np.arange(81.0)] * 3, indexing="ij")), (2.0, 0.9, 0.7))
    first, step, shape = rng.uniform(34, 36, 3), rng.uniform(0.2, 0.9, 3), (12, 11, 10)
    places = [start + size * np.arange(count) for start, size, count in zip(first, step, shape, strict=True)]

    got = sitk.GetArrayFromImage(bspline_on_grid(image, grid_of(image, first, step, shape)))

    # 34 voxels from the border its bend is felt as 0.268³⁴ = 4e-20; values are about 10.
    np.testing.assert_allclose(got, polynomial(*np.meshgrid(*places, indexing="ij")), rtol=0, atol=1e-11)


def test_a_voxel_that_is_no_number_spoils_what_a_spline_draws_from_it_as_in_itk():
    values = noise((20, 20, 20), np.float32)
    values[3, 4, 5] = np.nan
    image = as_image(values)

    assert_as_by_itk(image, grid_of(image, (10.0, 10.0, 10.0), (0.7, 0.7, 0.7), (5, 5, 5)))


def test_a_grid_with_other_axes_is_refused():
    image = as_image(noise((5, 5, 5)))
    with pytest.raises(ValueError, match="the grid's directions .* are not those of the image"):
        bspline_on_grid(image, as_image(noise((5, 5, 5)), direction=OBLIQUE))


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("end", ["first", "last"])
@pytest.mark.parametrize("axis", range(3))
def test_a_lesion_at_a_border_is_resampled_as_in_the_whole_image(axis, end, dtype):
    image = as_image(noise((40, 50, 60), dtype), (1.7, 0.78, 0.78), direction=OBLIQUE)
    labels = np.zeros((40, 50, 60), np.uint8)
    box = [slice(15, 20), slice(20, 30), slice(25, 35)]
    box[axis] = slice(0, 6) if end == "first" else slice(labels.shape[axis] - 6, labels.shape[axis])
    labels[tuple(box)] = 1

    got, new_mask = resample(image, as_image(labels, (1.7, 0.78, 0.78), direction=OBLIQUE))

    wanted = sitk.GetArrayFromImage(by_itk(image, new_mask))
    tolerance = 1e-12 * np.abs(wanted).max() if dtype == np.float64 else 0
    np.testing.assert_allclose(sitk.GetArrayFromImage(got), wanted, rtol=0, atol=tolerance)


def test_a_mask_whose_directions_differ_by_rounding_is_resampled_all_the_same():
    image = as_image(noise((40, 50, 60)), (1.7, 0.78, 0.78), direction=OBLIQUE)
    labels = np.zeros((40, 50, 60), np.uint8)
    labels[15:20, 20:30, 25:35] = 1
    mask = as_image(labels, (1.7, 0.78, 0.78), direction=np.float32(OBLIQUE).astype(float).tolist())

    got, new_mask = resample(image, mask)

    wanted = sitk.GetArrayFromImage(by_itk(image, new_mask))
    np.testing.assert_allclose(sitk.GetArrayFromImage(got), wanted, rtol=0, atol=1e-9)


def test_reading_and_checking_images_waits_for_no_compiler():
    told = "import sys, radnet.imaging.preprocess; sys.exit('numba' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0


@pytest.mark.parametrize("label", [1, 200])
@pytest.mark.parametrize("width", [16, 13], ids=["whole words", "odd width"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.uint32, np.int64])
def test_a_label_is_cut_to_its_box_whatever_the_type_of_the_mask(dtype, width, label):
    if label > np.iinfo(dtype).max:
        pytest.skip("this type has no such label")
    labels = np.zeros((9, 7, width), dtype)
    labels[2, 1, 4] = labels[5, 5, 9] = label
    labels[0, 0, 0] = labels[8, 6, width - 1] = 5
    image = as_image(np.arange(labels.size, dtype=np.int32).reshape(labels.shape))

    got, mask = resample(image, as_image(labels), label, pad_voxels=0)

    np.testing.assert_array_equal(sitk.GetArrayFromImage(got), sitk.GetArrayFromImage(image)[2:6, 1:6, 4:10])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mask), labels[2:6, 1:6, 4:10] == label)


def test_the_background_is_no_label():
    image, labels = as_image(np.zeros((4, 4, 4), np.int16)), as_image(np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="label 0 is background"):
        resample(image, labels, 0)
