import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import gaussian_filter

from radnet.radiomics.engines import ENGINES
from radnet.radiomics.perturb import CONTOUR_SD_MM, noise_sd, perturbed, with_noise
from radnet.radiomics.perturbation import DEFAULT, is_perturbation, perturbation_named, perturbations_named
from radnet.radiomics.scan import region_on_grid
from radnet.radiomics.settings import ExtractionSettings

ONE_MM = ExtractionSettings("1 mm", log_sigma_mm=(), wavelet=False)
OBLIQUE = (0.9553364891256060, -0.2955202066613396, 0.0, 0.2955202066613396, 0.9553364891256060, 0.0, 0.0, 0.0, 1.0)


def as_image(array, spacing_mm=(1.0, 1.0, 1.0), direction=None):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm[::-1])
    image.SetOrigin((14.0, -7.0, 31.0))
    if direction:
        image.SetDirection(direction)
    return image


def values(image):
    return sitk.GetArrayFromImage(image)


def scan(shape=(20, 48, 48), spacing_mm=(2.5, 0.8, 0.8), dtype=np.int16, direction=None, seed=0):
    """A smooth texture with noise of SD 10 and a lesion of label 3, 16 mm wide, in its midst."""
    rng = np.random.default_rng(seed)
    array = 300 * gaussian_filter(rng.standard_normal(shape), 2.0) + 100 + rng.normal(0, 10, shape)
    steps = [(np.arange(size) - (size - 1) / 2) * step for size, step in zip(shape, spacing_mm, strict=True)]
    lesion = sum(axis**2 for axis in np.meshgrid(*steps, indexing="ij")) <= 8.0**2
    return as_image(array.astype(dtype), spacing_mm, direction), as_image(
        (3 * lesion).astype(np.uint8), spacing_mm, direction
    )


def changed(image, mask, name, seed=0):
    return perturbed(image, mask, 3, perturbation_named(name), seed)


def measured(image, mask, name, settings=ONE_MM):
    """Image and mask on the grid they are measured on, perturbed as ``scan.py`` does."""
    how = perturbation_named(name)
    if not how.of_the_grid:
        image, mask = changed(image, mask, name)
    return region_on_grid(image, mask, 3, "lesion", settings, how)


@pytest.fixture
def cube():
    """Whole numbers, and in their midst a lesion that turning by 180 degrees alone leaves as it is."""
    array = np.random.default_rng(0).integers(-900, 900, (31, 31, 31)).astype(np.int16)
    lesion = np.zeros(array.shape, dtype=np.uint8)
    lesion[14:17, 15, 12:19] = 3
    lesion[14:17, 12:15, 18] = 3
    lesion[14:17, 16:19, 12] = 3
    return array, lesion


def assert_equal_voxels(found, wanted):
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(values(ours), values(theirs))


@pytest.mark.parametrize("turns", [1, -1, 2])
@pytest.mark.parametrize("definitions", ["pyradiomics", "ibsi"])
def test_a_cube_turned_by_right_angles_equals_rot90_from_x_towards_y(cube, turns, definitions):
    settings = ExtractionSettings("1 mm", log_sigma_mm=(), wavelet=False, definitions=definitions)
    image, mask = (as_image(one, direction=OBLIQUE) for one in cube)

    found = measured(image, mask, f"rotate_{90 * turns}deg", settings)

    rotated = [as_image(np.rot90(one, turns, axes=(2, 1)).copy()) for one in cube]
    assert_equal_voxels(found, region_on_grid(*rotated, 3, "lesion", settings))


@pytest.mark.parametrize("shift", [(1, 0, 0), (0, -1, 0), (0, 0, 1), (1, 1, -1)])
@pytest.mark.parametrize("definitions", ["pyradiomics", "ibsi"])
def test_a_translation_by_whole_voxels_changes_nothing_within_the_grid(cube, shift, definitions):
    settings = ExtractionSettings("1 mm", log_sigma_mm=(), wavelet=False, definitions=definitions)
    image, mask = (as_image(one, direction=OBLIQUE) for one in cube)

    found = measured(image, mask, "translate_{}_{}_{}".format(*shift), settings)

    rolled = [as_image(np.roll(one, shift, (0, 1, 2))) for one in cube]
    assert_equal_voxels(found, region_on_grid(*rolled, 3, "lesion", settings))


@pytest.mark.parametrize("definitions", ["pyradiomics", "ibsi"])
def test_a_translation_is_by_fractions_of_the_voxels_that_are_measured(definitions):
    settings = ExtractionSettings(
        "grid", spacing_mm=(2.0, 1.5, 1.5), log_sigma_mm=(), wavelet=False, definitions=definitions
    )
    image, mask = scan((64, 72, 72), (0.5, 0.5, 0.5))

    usual = region_on_grid(image, mask, 3, "lesion", settings)[0]
    found = measured(image, mask, "translate_0.25_0.5_0", settings)[0]

    voxels = np.array(usual.TransformPhysicalPointToContinuousIndex(found.GetOrigin()))[::-1]
    # What lies in the world moves towards higher Y on the grid, so the grid moves towards lower.
    np.testing.assert_allclose(np.mod(-voxels + 1e-9, 1.0), [0.25, 0.5, 0.0], atol=1e-6)


def test_a_lesion_moved_by_a_whole_voxel_of_the_measured_grid_has_the_same_features():
    image, mask = scan((64, 72, 72), (0.5, 0.5, 0.5), np.float64)
    settings = ExtractionSettings("1.5 mm", spacing_mm=(1.5, 1.5, 1.5), log_sigma_mm=(), wavelet=False)
    measure = ENGINES["native"].measure

    before = measure(*region_on_grid(image, mask, 3, "lesion", settings), settings)
    after = measure(*measured(image, mask, "translate_1_-1_1", settings), settings)

    for name, value in before.items():
        assert after[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("name", ["rotate_10deg", "rotate_-37deg", "translate_0.25_0.75_0.5"])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0)], ids=["1 mm", "kept"])
@pytest.mark.parametrize("definitions", ["pyradiomics", "ibsi"])
def test_what_is_measured_of_a_moved_grid_lies_where_it_was_in_the_world(name, definitions, spacing_mm):
    image, mask = scan(direction=OBLIQUE, dtype=np.float64)
    settings = ExtractionSettings(
        "grid", spacing_mm=spacing_mm, log_sigma_mm=(), wavelet=False, definitions=definitions
    )

    def ramp(one):  # a spline gives a linear function back wherever it is asked
        indices = np.argwhere(np.ones(one.GetSize()[::-1]))[:, ::-1]
        matrix = np.array(one.GetDirection()).reshape(3, 3) * one.GetSpacing()
        points = matrix @ indices.T + np.array(one.GetOrigin())[:, None]
        return (np.array([3.0, -2.0, 5.0]) @ points).reshape(one.GetSize()[::-1])

    linear = sitk.GetImageFromArray(ramp(image))
    linear.CopyInformation(image)
    grid_image, grid_mask = measured(linear, mask, name, settings)

    inside = values(grid_mask) == 1
    # Mirroring at the border bends the ramp there, which fades as 0.268 per voxel.
    np.testing.assert_allclose(values(grid_image)[inside], ramp(grid_mask)[inside], atol=2e-3)
    statistics = sitk.LabelShapeStatisticsImageFilter()
    centres = []
    for one, label in ((mask, 3), (grid_mask, 1)):
        statistics.Execute(one)
        centres.append(statistics.GetCentroid(label))
    # The mask's border falls between two measured voxels: half of one at most.
    np.testing.assert_allclose(centres[1], centres[0], atol=max(grid_mask.GetSpacing()) / 2)


@pytest.mark.parametrize("name", ["rotate_0.001deg", "translate_0.0001_0_0.0001", "grow_0.05pct", "shrink_0.05pct"])
def test_a_tiny_perturbation_leaves_the_mean_as_it_is(name):
    image, mask = scan(spacing_mm=(2.4, 0.8, 0.8), dtype=np.float64)  # no voxel of 1 mm half way between two of these
    measure = ENGINES["native"].measure

    before = measure(*region_on_grid(image, mask, 3, "lesion", ONE_MM), ONE_MM)
    after = measure(*measured(image, mask, name), ONE_MM)

    # Of 2140 voxels of 1 mm a single one that comes or goes changes the mean by 30 / 2140.
    key = "original_firstorder_Mean"
    assert after[key] == pytest.approx(before[key], abs=0.05)


@pytest.mark.parametrize("sd", [3.0, 25.0])
def test_the_noise_of_an_image_is_found_beneath_its_tissue(sd):
    rng = np.random.default_rng(5)
    z, y, x = np.meshgrid(np.arange(12), np.arange(80), np.arange(70), indexing="ij")
    tissue = 40 * np.sin(x / 9) + 60 * np.cos(y / 11) + 5 * z

    found = noise_sd(tissue + rng.normal(0, sd, tissue.shape))

    assert found == pytest.approx(sd, rel=0.04)  # a median of 16,800 coefficients errs by 0.9 %


@pytest.mark.parametrize("size", [(2, 2), (8, 9), (21, 20)])
def test_the_noise_of_a_small_image_is_found_as_well_on_average(size):
    rng = np.random.default_rng(6)

    found = [noise_sd(rng.normal(0, 10, (40, *size))) for _ in range(200)]

    assert np.mean(found) == pytest.approx(10, rel=0.05)


def test_noise_is_told_from_voxels_that_are_numbers_alone():
    array = np.random.default_rng(0).normal(0, 7, (8, 60, 60))
    array[3] = np.nan
    assert noise_sd(array) == pytest.approx(7, rel=0.06)
    with pytest.raises(ValueError, match="without numbers"):
        noise_sd(np.full((3, 8, 8), np.nan))
    with pytest.raises(ValueError, match="slices need two rows"):
        noise_sd(np.zeros((3, 1, 8)))


def test_noise_adds_its_variance_to_the_image_and_leaves_the_mask_alone():
    image, mask = as_image(np.random.default_rng(2).normal(50, 10, (20, 70, 70))), scan((20, 70, 70))[1]
    mask.CopyInformation(image)

    noisy, same = changed(image, mask, "noise_1", seed=9)

    assert same is mask
    # The median of 24,500 coefficients errs by 0.75 %.
    assert (values(noisy) - values(image)).std() == pytest.approx(10, rel=0.03)
    assert values(noisy).std() == pytest.approx(np.sqrt(2) * 10, rel=0.03)
    np.testing.assert_array_equal(values(changed(image, mask, "noise_1", seed=9)[0]), values(noisy))
    assert (values(changed(image, mask, "noise_1", seed=8)[0]) != values(noisy)).mean() > 0.99


def test_noisy_whole_numbers_are_rounded_and_held_in_their_range():
    image = as_image(np.array([[[0, 100, 250]]], dtype=np.uint8))
    box = (slice(0, 1), slice(0, 1), slice(0, 3))

    noisy = with_noise(image, box, np.array([[[-3.0, 0.6, 20.0]]]))

    assert values(noisy).tolist() == [[[0, 101, 255]]]
    assert noisy.GetPixelID() == image.GetPixelID()


@pytest.mark.parametrize(("name", "ratio"), [("grow_15pct", 1.15), ("shrink_15pct", 0.85), ("grow_20pct", 1.2)])
def test_growing_and_shrinking_are_by_percent_of_the_volume_and_touch_no_intensity(name, ratio):
    image, mask = scan()

    same, new = changed(image, mask, name)

    assert same is image
    assert abs((values(new) == 3).sum() - ratio * (values(mask) == 3).sum()) <= 0.5
    assert new.GetOrigin() == mask.GetOrigin()


def test_a_randomised_contour_wavers_about_the_lesion_and_follows_its_seed():
    image, mask = scan((40, 60, 60), (0.8, 0.8, 0.8))

    draws = [values(changed(image, mask, "randomise_1", seed=seed)[1]) == 3 for seed in range(40)]

    lesion = values(mask) == 3
    area_mm2, volume_mm3 = 4 * np.pi * 8.0**2, 4 / 3 * np.pi * 8.0**3
    # Where a border of area A is displaced by a normal amount of SD s, the volume it sweeps is A s √(2/π) on average;
    # the mean volume gains 4π r s² (the mean of (r + d)³ is r³ + 3 r s²).
    swept_mm3 = np.mean([(one ^ lesion).sum() for one in draws]) * 0.8**3
    assert swept_mm3 == pytest.approx(area_mm2 * CONTOUR_SD_MM * np.sqrt(2 / np.pi), rel=0.15)
    grown_mm3 = np.mean([one.sum() for one in draws]) * 0.8**3 - volume_mm3
    assert grown_mm3 == pytest.approx(4 * np.pi * 8.0 * CONTOUR_SD_MM**2, abs=0.06 * volume_mm3)
    np.testing.assert_array_equal(values(changed(image, mask, "randomise_1", seed=7)[1]) == 3, draws[7])
    assert (draws[0] != draws[1]).any()


@pytest.mark.parametrize("name", DEFAULT)
@pytest.mark.parametrize("definitions", ["pyradiomics", "ibsi"])
@pytest.mark.parametrize("region", ["lesion", "ring"])
def test_every_default_perturbation_leaves_a_lesion_to_measure(name, definitions, region):
    settings = ExtractionSettings("1 mm", log_sigma_mm=(1.0,), wavelet=True, definitions=definitions)
    image, mask = scan()
    how = perturbation_named(name)
    pair = (image, mask) if how.of_the_grid else changed(image, mask, name)

    found = region_on_grid(*pair, 3, region, settings, how)

    usual = region_on_grid(image, mask, 3, region, settings)
    assert 0.75 < values(found[1]).sum() / values(usual[1]).sum() < 1.35
    assert found[0].GetSpacing() == usual[0].GetSpacing()
    features = ENGINES["native"].measure(*found, settings)
    assert np.isfinite([features["original_glcm_Contrast"], features["log-sigma-1-0-mm-3D_glcm_Contrast"]]).all()


def test_another_contour_of_a_lesion_has_its_label_and_leaves_its_neighbours_out():
    image, mask = scan()
    array = values(mask).astype(np.uint32)
    array[array == 3] = 1000
    array[0, 0, 0] = 7
    several = as_image(array, (2.5, 0.8, 0.8))

    new = perturbed(image, several, 1000, perturbation_named("grow_10pct"), 0)[1]

    assert set(np.unique(values(new))) == {0, 1000}


def test_a_mask_without_the_label_is_told():
    image, mask = scan()
    with pytest.raises(ValueError, match="the mask has no label 9"):
        perturbed(image, mask, 9, perturbation_named("noise_1"), 0)


@pytest.mark.parametrize("name", [*DEFAULT, "rotate_5deg", "rotate_-2.5deg", "translate_0.25_-0.75_0", "noise_12"])
def test_a_name_says_a_perturbation_whole(name):
    assert str(perturbation_named(name)) == name
    assert is_perturbation(name)


@pytest.mark.parametrize("repeat", ["1", "2", "after two weeks", "rotate", "noise", "rotate_5", ""])
def test_a_repeat_by_hand_is_no_perturbation(repeat):
    assert not is_perturbation(repeat)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("turn_5deg", "there is no perturbation 'turn_5deg'; a name is like one of rotate_5deg, translate_0.25_0.75_0"),
        ("rotate_0deg", "perturbation rotate_0deg: an angle is not 0 and at most 180 degrees"),
        ("rotate_270deg", "an angle is not 0 and at most 180 degrees"),
        ("translate_0_0_0", "fractions of a voxel are at most 1 and not all 0"),
        ("translate_0.5_2_0", "fractions of a voxel are at most 1 and not all 0"),
        ("grow_-5pct", "a lesion grows by more than 0 and at most 100 percent"),
        ("shrink_100pct", "a lesion shrinks by more than 0 and less than 100 percent"),
        ("noise_0", "perturbation noise_0: draws are numbered from 1"),
        ("randomise_0", "draws are numbered from 1"),
    ],
)
def test_a_name_that_makes_no_sense_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        perturbation_named(name)


def test_every_fault_of_some_names_is_told_at_once():
    with pytest.raises(ValueError, match="'blur_1'.*; perturbation noise_1 is named twice"):
        perturbations_named(["noise_1", "blur_1", "noise_01"])
    with pytest.raises(ValueError, match="no perturbation is named"):
        perturbations_named([])
