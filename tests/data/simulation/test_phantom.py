from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from radnet.data.simulation.phantom import (
    BACKGROUND_HU,
    SCANNERS,
    Contour,
    LesionDesign,
    Scanner,
    lesion_mask,
    lesion_world,
    read_lesion,
    scan,
    scanner_of,
    signed_distance_mm,
    smooth_field,
)

DESIGN = LesionDesign(
    site="liver",
    semi_axes_mm=(9.0, 11.0, 10.0),
    texture_sd_hu=22.0,
    texture_width_mm=1.5,
    ring_hu=20.0,
    mean_shift_hu=0.0,
    seed=(7, 1, 1, 1),
)
CLEAN = Scanner((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), noise_hu=0.0, noise_width_px=0.5, gain=1.0, offset_hu=0.0)
SEED = (7, 1, 1, 1)


def lesion_of(design, size=48):
    return lesion_mask(design, size, Contour())


@pytest.mark.parametrize("width", [1.0, 2.0, 4.0])
def test_a_smooth_field_has_the_correlation_of_smoothed_noise(width):
    field = smooth_field((64, 64, 64), width, np.random.default_rng(0))
    lags = np.arange(1, 7)

    correlation = [np.mean(field * np.roll(field, lag, axis=2)) for lag in lags]

    assert field.mean() == pytest.approx(0, abs=1e-5)
    assert field.std() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(correlation, np.exp(-(lags**2) / (4 * width**2)), atol=0.06)  # few independent patches


def test_the_surface_of_a_slab_lies_between_its_last_voxel_and_the_next():
    inside = np.zeros((5, 5, 12), dtype=bool)
    inside[..., :6] = True

    distance = signed_distance_mm(inside)

    np.testing.assert_allclose(distance[2, 2], np.arange(12) - 5.5)


@pytest.mark.parametrize("number", range(4))
def test_a_lesion_is_one_piece_without_holes_of_the_volume_asked_for(number):
    design = replace(DESIGN, seed=(7, 1, number, 1))

    mask = lesion_of(design)

    assert ndimage.label(mask)[1] == 1
    assert not (ndimage.binary_fill_holes(mask) & ~mask).any()
    assert mask.sum() == pytest.approx(4 / 3 * np.pi * 9 * 11 * 10, rel=0.12)  # the boundary waves by 6 % (SD)


def test_the_texture_inside_has_the_planted_spread_and_mean():
    inside = lesion_of(replace(DESIGN, mean_shift_hu=12.0))
    world = lesion_world(replace(DESIGN, mean_shift_hu=12.0), inside)

    core = world[ndimage.binary_erosion(inside, iterations=3)]

    assert core.std() == pytest.approx(22, rel=0.1)
    assert core.mean() == pytest.approx(75 + 12, abs=6)


def test_a_ring_is_added_outside_and_fades_as_a_gaussian_of_3_mm():
    inside = lesion_of(DESIGN)
    distance = signed_distance_mm(inside)

    added = lesion_world(replace(DESIGN, ring_hu=40.0), inside) - lesion_world(replace(DESIGN, ring_hu=0.0), inside)

    share_outside = 1 - 1 / (1 + np.exp(distance / 0.5))
    np.testing.assert_allclose(added, 40 * np.exp(-(np.maximum(distance, 0) ** 2) / 18) * share_outside, atol=1e-3)


def test_a_perfect_scanner_shows_the_world_as_it_is():
    seen = scan([DESIGN], [()], CLEAN, 48, SEED)

    np.testing.assert_array_equal(seen.image, np.rint(lesion_world(DESIGN, lesion_of(DESIGN))).astype(np.int16))
    np.testing.assert_array_equal(seen.masks[0][0], lesion_of(DESIGN))


@pytest.mark.parametrize("centre", list(SCANNERS))
def test_image_and_mask_share_the_scanner_s_grid_and_the_lesion_keeps_its_volume(centre):
    scanner = scanner_of(centre, shift=1.0, seed=7)

    seen = scan([DESIGN], [()], scanner, 48, SEED)

    assert seen.image.shape == seen.masks[0][0].shape
    assert seen.image.shape == tuple(int(47 / width + 1e-9) + 1 for width in SCANNERS[centre].spacing_mm)
    volume = seen.masks[0][0].sum() * np.prod(seen.spacing_mm)
    assert volume == pytest.approx(lesion_of(DESIGN).sum(), rel=0.04)


@pytest.mark.parametrize("centre", list(SCANNERS))
def test_the_noise_has_the_scanner_s_spread(centre):
    scanner = scanner_of(centre, shift=1.0, seed=7)
    noisy = scan([DESIGN], [()], scanner, 48, SEED).image.astype(float)

    quiet = scan([DESIGN], [()], replace(scanner, noise_hu=0.0), 48, SEED).image

    assert (noisy - quiet).std() == pytest.approx(scanner.gain * SCANNERS[centre].noise_hu, rel=0.02)


def test_gain_and_offset_map_the_values():
    plain = scan([DESIGN], [()], CLEAN, 32, SEED).image

    mapped = scan([DESIGN], [()], replace(CLEAN, gain=1.02, offset_hu=5.0), 32, SEED).image

    np.testing.assert_allclose(mapped, 1.02 * plain + 5, atol=1.02)  # both images are rounded to whole HU


def test_without_shift_every_centre_has_the_reference_scanner():
    assert {scanner_of(centre, shift=0.0, seed=7) for centre in SCANNERS} == {scanner_of("B", shift=1.0, seed=7)}


def test_a_shift_of_one_is_the_centre_s_own_scanner():
    assert scanner_of("C", shift=1.0, seed=7).spacing_mm == pytest.approx((2.0, 0.9, 0.9))
    assert scanner_of("C", shift=0.5, seed=7).noise_hu == pytest.approx((14 + 8) / 2)


def test_the_noise_of_a_scanner_leaves_the_lesion_as_it_was():
    one, other = (scan([DESIGN], [()], scanner_of(centre, 1.0, 7), 48, SEED) for centre in "AC")

    assert one.origin_mm == other.origin_mm
    assert not np.array_equal(one.image.shape, other.image.shape)
    volumes = [seen.masks[0][0].sum() * np.prod(seen.spacing_mm) for seen in (one, other)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.03)


def test_another_contour_is_moved_and_scaled():
    seen = scan([DESIGN], [(Contour((2.0, -1.0, 0.0), scale=1.1),)], CLEAN, 48, SEED)

    true, other = seen.masks[0]

    moved = np.subtract(ndimage.center_of_mass(other), ndimage.center_of_mass(true))
    np.testing.assert_allclose(moved, (2, -1, 0), atol=0.3)
    assert other.sum() / true.sum() == pytest.approx(1.1**3, rel=0.05)


def test_a_scan_of_two_lesions_stacks_their_worlds():
    second = replace(DESIGN, site="lung", seed=(7, 1, 1, 2))

    seen = scan([DESIGN, second], [(), ()], CLEAN, 48, (7, 1, 1, 0))

    alone = [scan([design], [()], CLEAN, 48, SEED) for design in (DESIGN, second)]
    np.testing.assert_array_equal(seen.image, np.concatenate([one.image for one in alone]))
    assert not (seen.masks[0][0] & seen.masks[1][0]).any()
    np.testing.assert_array_equal(seen.masks[1][0][48:], alone[1].masks[0][0])


def test_air_in_mri_holds_the_mean_of_rician_noise():
    design = replace(DESIGN, site="lung", ring_hu=0.0)
    noisy = replace(CLEAN, noise_hu=10.0, mri_gain=1.3)

    seen = scan([design], [()], noisy, 48, SEED, modality="mri")

    air = ndimage.distance_transform_edt(~seen.masks[0][0]) > 6
    assert seen.image.min() >= 0
    assert seen.image[air].mean() == pytest.approx(1.3 * 15 * np.sqrt(np.pi / 2), rel=0.03)


def test_tissue_in_mri_is_a_line_of_hu_under_a_smooth_bias():
    clean = scan([DESIGN], [()], CLEAN, 48, SEED).image

    seen = scan([DESIGN], [()], CLEAN, 48, SEED, modality="mri").image

    log_bias = np.log(seen / (300 + 1.5 * clean))
    assert log_bias.std() == pytest.approx(0.15, rel=0.05)
    assert np.abs(np.diff(ndimage.uniform_filter(log_bias, 5), axis=0)).max() < 0.05


def test_a_reader_measures_what_stands_in_the_image():
    inside = lesion_of(DESIGN)
    image = np.where(inside, 70, 50).astype(np.int16)
    image[(signed_distance_mm(inside) > 0) & (signed_distance_mm(inside) < 6)] = 65

    reading = read_lesion(image, inside, (1.0, 1.0, 1.0))

    assert reading.ring_contrast == pytest.approx(15)
    assert reading.log_volume == pytest.approx(np.log(inside.sum()))


def test_every_site_has_a_background_of_its_own():
    for site, hu in BACKGROUND_HU.items():
        design = replace(DESIGN, site=site, ring_hu=0.0)
        world = lesion_world(design, lesion_of(design))

        assert world[signed_distance_mm(lesion_of(design)) > 5].mean() == pytest.approx(hu, abs=2)


def test_a_lesion_smaller_than_a_voxel_is_refused():
    with pytest.raises(ValueError, match="holds no voxel"):
        lesion_mask(replace(DESIGN, semi_axes_mm=(0.2, 0.2, 0.2)), 48, Contour())
