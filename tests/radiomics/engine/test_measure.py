"""The native engine as a whole: pyradiomics' numbers on lesions easy and hard, and laws that hold without it."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import gaussian_filter

from radnet.imaging.preprocess import read_image, read_mask
from radnet.radiomics.engine.measure import measure
from radnet.radiomics.extract import extract_lesion
from radnet.radiomics.settings import ExtractionSettings, feature_names

ZHAO = ExtractionSettings("zhao")
ORIGINAL = ExtractionSettings("original", log_sigma_mm=(), wavelet=False)
RELATIVE, ABSOLUTE = 1e-6, 1e-7


def textured(shape, seed, dtype=np.int16, scale=60.0, sigma=1.2, offset=40.0):
    rng = np.random.default_rng(seed)
    noise = gaussian_filter(rng.standard_normal(shape), sigma)
    values = offset + scale * noise / noise.std() + rng.standard_normal(shape) * scale / 10
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return np.clip(np.rint(values), info.min, info.max).astype(dtype)
    return values.astype(dtype)


def blob(shape, seed, share=0.25):
    field = gaussian_filter(np.random.default_rng([seed, 1]).standard_normal(shape), 2.0)
    away = np.linalg.norm(
        [(one - (size - 1) / 2) / size for one, size in zip(np.indices(shape), shape, strict=True)], axis=0
    )
    field = field / field.std() - 6 * away
    inside = field > np.quantile(field, 1 - share)
    inside[0] = inside[-1] = inside[:, 0] = inside[:, -1] = inside[:, :, 0] = inside[:, :, -1] = False
    return inside


def case(values, inside, spacing_mm=(1.0, 1.0, 1.0), direction=None):
    image, mask = sitk.GetImageFromArray(values), sitk.GetImageFromArray(inside.astype(np.uint8))
    for one in (image, mask):
        one.SetSpacing(spacing_mm[::-1])
        one.SetOrigin((-31.7, 12.2, 405.0))
        if direction is not None:
            one.SetDirection(direction)
    return image, mask


def box(shape, *sides):
    inside = np.zeros(shape, bool)
    inside[tuple(slice(*side) for side in sides)] = True
    return inside


def hollow(shape):
    away = np.linalg.norm(np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2, axis=0)
    return (away < 6.5) & (away > 3)


SHAPE = (18, 22, 25)
OBLIQUE = (0.9553364891, -0.2955202067, 0.0, 0.2955202067, 0.9553364891, 0.0, 0.0, 0.0, 1.0)
SCATTERED = np.zeros(SHAPE, bool)
SCATTERED[5:14:3, 5:17:4, 5:20:5] = True
CASES = {
    "int16": case(textured(SHAPE, 1), blob(SHAPE, 1)),
    "float32": case(textured(SHAPE, 2, np.float32), blob(SHAPE, 2)),
    "float64": case(textured(SHAPE, 3, np.float64), blob(SHAPE, 3)),
    "uint8": case(textured(SHAPE, 4, np.uint8, 30, offset=90), blob(SHAPE, 4)),
    "negative": case(textured(SHAPE, 5, offset=-500.0), blob(SHAPE, 5)),
    "on bin edges": case(textured(SHAPE, 6) // 25 * 25, blob(SHAPE, 6)),
    "thick slices": case(textured(SHAPE, 7), blob(SHAPE, 7), (5.0, 0.7, 0.8)),
    "oblique": case(textured(SHAPE, 8), blob(SHAPE, 8), (2.0, 0.9, 0.9), OBLIQUE),
    "touching the border": case(textured(SHAPE, 9), box(SHAPE, (0, 9), (4, 22), (0, 12))),
    "holes": case(textured(SHAPE, 10), hollow(SHAPE)),
    "two components": case(
        textured(SHAPE, 11), box(SHAPE, (3, 7), (3, 9), (3, 9)) | box(SHAPE, (10, 15), (12, 19), (13, 21))
    ),
    "one slice": case(textured(SHAPE, 12), box(SHAPE, (8, 9), (5, 15), (6, 17))),
    "two slices": case(textured(SHAPE, 13), blob(SHAPE, 13) & box(SHAPE, (8, 10), (0, 22), (0, 25))),
    "a thin line with one more": case(
        textured(SHAPE, 14), box(SHAPE, (8, 9), (9, 10), (6, 15)) | box(SHAPE, (8, 9), (10, 11), (6, 7))
    ),
    "two voxels": case(textured(SHAPE, 15), box(SHAPE, (8, 9), (9, 10), (6, 7)) | box(SHAPE, (8, 9), (10, 11), (7, 8))),
    "scattered voxels": case(textured(SHAPE, 16), SCATTERED),
    "two grey levels": case((textured(SHAPE, 17) > 40).astype(np.int16) * 60, blob(SHAPE, 17)),
    "many grey levels": case(textured(SHAPE, 18, np.int16, 500.0), blob(SHAPE, 18)),
}  # fmt: skip


@pytest.fixture(scope="module")
def stock():
    pytest.importorskip("radiomics.featureextractor", reason="compares with pyradiomics itself")
    from radnet.radiomics import reference

    return reference.features


def unequal(ours, theirs):
    """Return the features that differ, with both values."""
    assert set(ours) == set(theirs)
    return {
        name: (theirs[name], ours[name])
        for name in theirs
        if not (np.isnan(ours[name]) and np.isnan(theirs[name]))
        and not abs(ours[name] - theirs[name]) <= RELATIVE * abs(theirs[name]) + ABSOLUTE
    }


@pytest.mark.parametrize("bin_width", [25.0, 10.0])
@pytest.mark.parametrize("name", list(CASES))
def test_all_1130_features_are_those_of_pyradiomics(name, bin_width, stock):
    settings = replace(ZHAO, bin_width=bin_width)
    ours = measure(*CASES[name], settings)
    assert list(ours) == feature_names(settings)
    assert len(ours) == 1130
    assert unequal(ours, stock(*CASES[name], settings)) == {}


OPTIONS = {
    "a count of bins": {"bin_width": None, "bin_count": 32},
    "pointwise and gradient": {"pointwise": ("square", "squareroot", "logarithm", "exponential"), "gradient": True},
    "texture in slices": {"force_2d": True, "wavelet": True},
    "texture in slices across X": {"force_2d": True, "force_2d_axis": 2},
    "far neighbours": {"distances": (1, 2)},
    "pairs counted once": {"symmetrical_glcm": False},
    "directions weighed by city blocks": {"weighting_norm": "manhattan"},
    "directions weighed by the crow": {"weighting_norm": "euclidean"},
    "directions weighed by the king": {"weighting_norm": "infinity"},
    "directions merged": {"weighting_norm": "no_weighting"},
    "loose dependence": {"gldm_alpha": 1},
    "a range": {"resegment_range": (-20.0, 90.0)},
    "a range for shape too": {"resegment_range": (-20.0, 90.0), "resegment_shape": True},
    "outliers left out": {"resegment_range": (-2.0, 2.0), "resegment_mode": "sigma"},
    "a shift of intensities": {"voxel_array_shift": 1000.0},
    "shape alone": {"classes": ("shape",)},
    "two classes": {"classes": ("firstorder", "glcm"), "original": False, "log_sigma_mm": (2.0,)},
    "another wavelet": {"wavelet": True, "wavelet_name": "db2"},
}


@pytest.mark.parametrize("option", list(OPTIONS))
@pytest.mark.parametrize("name", ["int16", "thick slices", "one slice"])
def test_every_option_does_what_it_does_in_pyradiomics(name, option, stock):
    settings = replace(ORIGINAL, **OPTIONS[option])
    ours = measure(*CASES[name], settings)
    assert list(ours) == feature_names(settings)
    assert unequal(ours, stock(*CASES[name], settings)) == {}


def test_brain1_from_its_files_is_as_pyradiomics_measures_it(shared, stock):
    folder = shared / "data" / "pyradiomics_cases"
    image, mask = read_image(folder / "brain1_image.nrrd"), read_mask(folder / "brain1_label.nrrd")
    for settings in (ZHAO, replace(ZHAO, bin_width=10.0), replace(ZHAO, spacing_mm=(0.0, 0.0, 0.0))):
        ours = extract_lesion(image, mask, settings, 1, "native")
        assert unequal(ours, extract_lesion(image, mask, settings, 1, "pyradiomics")) == {}


def measured(values, inside, settings=ORIGINAL, spacing_mm=(1.0, 1.0, 1.0)):
    return measure(*case(values, inside, spacing_mm), settings)


def assert_same(found, expected, skip=()):
    for name, value in expected.items():
        if not name.endswith(skip):
            np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-9, err_msg=name)


def test_a_lesion_moved_by_whole_voxels_has_the_same_features():
    values = textured(SHAPE, 21)
    inside = blob(SHAPE, 21) & box(SHAPE, (3, 15), (3, 19), (3, 22))
    before = measured(values, inside)
    for shift in [(1, 0, 0), (0, 2, -1), (-1, -1, 2)]:
        moved = measured(np.roll(values, shift, (0, 1, 2)), np.roll(inside, shift, (0, 1, 2)))
        assert_same(moved, before)


@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (0, 2)])
def test_a_quarter_turn_changes_only_what_is_bound_to_an_axis(axes):
    values, inside = textured((20, 20, 20), 22), blob((20, 20, 20), 22)
    bound = ("Maximum2DDiameterColumn", "Maximum2DDiameterRow", "Maximum2DDiameterSlice")
    before, turned = (
        measured(values, inside),
        measured(np.rot90(values, axes=axes).copy(), np.rot90(inside, axes=axes).copy()),
    )
    assert_same(turned, before, skip=bound)
    assert sorted(turned[f"original_shape_{one}"] for one in bound) == pytest.approx(
        sorted(before[f"original_shape_{one}"] for one in bound)
    )


def test_a_constant_added_moves_what_has_a_place_and_leaves_what_has_a_spread():
    values, inside = textured(SHAPE, 23), blob(SHAPE, 23)
    before, after = measured(values, inside), measured(values + np.int16(250), inside)
    moved = ("10Percentile", "90Percentile", "Maximum", "Mean", "Median", "Minimum")
    for name in moved:
        assert after[f"original_firstorder_{name}"] - before[f"original_firstorder_{name}"] == pytest.approx(250)
    assert after["original_firstorder_Energy"] == pytest.approx(((values[inside].astype(float) + 250) ** 2).sum())
    # 250 is ten bins of 25, so each level is ten higher, and what counts from level to level stays
    by_level = [name for name in before if ("Gray" not in name and "glcm_Contrast" in name) or "NonUniformity" in name]
    assert_same({name: after[name] for name in by_level}, {name: before[name] for name in by_level})
    spread = [
        f"original_firstorder_{name}" for name in ("Variance", "Skewness", "Kurtosis", "Range", "Entropy", "Uniformity")
    ]
    assert_same({name: after[name] for name in spread}, {name: before[name] for name in spread})


def test_a_scale_of_two_in_space_scales_shape_by_its_dimension():
    inside = blob(SHAPE, 24)
    small, large = (measured(textured(SHAPE, 24), inside, spacing_mm=(step, step, step)) for step in (1.0, 2.0))
    powers = {"Length": 2, "Diameter": 2, "Volume": 8, "SurfaceArea": 4, "SurfaceVolumeRatio": 0.5}
    powers |= {"Elongation": 1, "Flatness": 1, "Sphericity": 1}
    for name in [one for one in small if "_shape_" in one]:
        plain = name.split("_")[-1]
        power = powers.get(plain) or next(power for word, power in powers.items() if word in plain)
        assert large[name] == pytest.approx(power * small[name], rel=1e-9), name


def test_an_image_of_one_value_is_measured_without_texture_to_speak_of():
    found = measured(np.full(SHAPE, 100, np.int16), blob(SHAPE, 25))
    assert found["original_firstorder_Variance"] == 0
    assert found["original_firstorder_Uniformity"] == 1
    assert found["original_glcm_Contrast"] == 0
    assert found["original_glcm_JointEnergy"] == 1


def test_more_grey_levels_than_their_pairs_can_be_counted_for_are_refused_with_the_cure():
    values = np.arange(30**3).reshape(30, 30, 30).astype(np.int32) * 1000
    with pytest.raises(ValueError, match=r"21952 grey levels, .* GiB: bin_width is too small for the image's unit"):
        measured(values, box((30, 30, 30), (1, 29), (1, 29), (1, 29)))
