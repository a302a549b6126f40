"""Runs, zones, dependences and tone differences, against pyradiomics, IBSI, slow definitions and cases by hand."""

import csv
import itertools
import logging
import math

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it
from scipy import ndimage

from radnet.radiomics.engine.gldm import gldm
from radnet.radiomics.engine.glrlm import glrlm
from radnet.radiomics.engine.glszm import glszm
from radnet.radiomics.engine.ngtdm import ngtdm
from radnet.radiomics.engine.region import GreyLevels, Region, codes_in_box
from radnet.radiomics.engine.sweep import DIRECTIONS, sweep
from radnet.radiomics.settings import ExtractionSettings

OFFSETS = [offset for offset in itertools.product((-1, 0, 1), repeat=3) if any(offset)]


def grey_of(mask, levels, spacing_mm=(1.0, 1.0, 1.0)):
    region = Region.of(mask, spacing_mm)
    present, codes, counts = np.unique(levels[mask], return_inverse=True, return_counts=True)
    codes = codes_in_box(region, (codes + 1).astype(np.int32))
    return GreyLevels(codes, present.astype(np.int64), counts.astype(np.int64)), region


def matrices_of(mask, levels, **values):
    grey, region = grey_of(mask, levels)
    return sweep(grey, region, ExtractionSettings("test", **values))


def features_of(mask, levels, spacing_mm=(1.0, 1.0, 1.0), **values):
    grey, region = grey_of(mask, levels, spacing_mm)
    settings = ExtractionSettings("test", **values)
    matrices = sweep(grey, region, settings)
    return {
        "glrlm": glrlm(matrices.runs, region, settings),
        "glszm": glszm(matrices.zones),
        "gldm": gldm(matrices.dependences),
        "ngtdm": ngtdm(matrices.tones, settings.definitions),
    }


def dense(matrix):
    """Counts by direction, level and size, up to the largest size."""
    n, sizes = matrix.small.shape[1:]
    counts = np.zeros((len(matrix.small), n, max(sizes, matrix.largest)), dtype=np.int64)
    counts[:, :, :sizes] = matrix.small
    rest, row = np.divmod(matrix.large, n)
    direction, size = np.divmod(rest, matrix.largest + 1)
    np.add.at(counts, (direction, row, size - 1), 1)
    return counts


def blob(seed, smooth, levels, shape=(15, 16, 17)):
    rng = np.random.default_rng(seed)
    distance = np.sqrt(
        sum(((axis + 0.5) / size * 2 - 1) ** 2 for axis, size in zip(np.indices(shape), shape, strict=True))
    )
    mask = distance + ndimage.gaussian_filter(rng.normal(size=shape), 2) < 1
    values = ndimage.gaussian_filter(rng.normal(size=shape), smooth)
    values = np.floor((values - values[mask].min()) / np.ptp(values[mask]) * (levels - 1e-6)).astype(int) + 1
    return mask, values


def scattered(seed, shape, share, levels):
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < share
    values = rng.integers(1, levels + 1, shape)
    return mask, values - values[mask].min() + 1


def at(*voxels, shape):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(np.transpose(voxels))] = True
    return mask, np.ones(shape, dtype=int)


def slabs():
    levels = np.ones((40, 40, 40), dtype=int)
    levels[15:, 1:] = 2
    return np.ones(levels.shape, dtype=bool), levels


def gaps():
    mask, levels = blob(3, 1, 12)
    return mask, levels**3


LESIONS = {
    "noise": blob(0, 0, 20),
    "smooth": blob(1, 1.5, 8),
    "very smooth": blob(2, 4, 3),
    "300 levels": blob(3, 1, 300),
    "gaps in levels": gaps(),
    "one level": (blob(4, 1, 2)[0], np.ones((15, 16, 17), dtype=int)),
    "long runs and large zones": slabs(),
    "touches all borders": scattered(5, (7, 8, 9), 1.0, 4),
    "one slice": scattered(6, (1, 12, 12), 0.8, 4),
    "one row thick": scattered(7, (9, 1, 12), 0.8, 3),
    "one column thick": scattered(8, (9, 12, 1), 0.8, 3),
    "two slices": scattered(9, (2, 9, 9), 0.5, 4),
    "one line": scattered(10, (12, 1, 1), 0.8, 2),
    "scattered": scattered(11, (8, 8, 8), 0.05, 4),
    "no neighbours": ((np.indices((7, 7, 7)) % 2 == 0).all(axis=0), scattered(12, (7, 7, 7), 1.0, 3)[1]),
    "two neighbours": at((1, 2, 3), (1, 2, 4), shape=(3, 5, 6)),
    "two voxels on a long diagonal": at((0, 0, 0), (4, 4, 4), shape=(5, 5, 5)),
    "two voxels on no line": at((0, 0, 0), (4, 3, 2), shape=(5, 5, 5)),
    "two voxels on no line of their slices": at((0, 0, 0), (4, 0, 8), shape=(5, 1, 9)),
}

OPTIONS = {
    "alpha": ({"gldm_alpha": 2}, {"gldm_a": 2}),
    "distance 2": ({"distances": (2,)}, {"distances": [2]}),
    "distances 1 and 3, alpha": (
        {"distances": (1, 3), "gldm_alpha": 1},
        {"distances": [1, 3], "gldm_a": 1},
    ),
    "within slices": ({"force_2d": True}, {"force2D": True}),
    "within columns": ({"force_2d": True, "force_2d_axis": 1}, {"force2D": True, "force2Ddimension": 1}),
    "across X, distances": (
        {"force_2d": True, "force_2d_axis": 2, "distances": (1, 2)},
        {"force2D": True, "force2Ddimension": 2, "distances": [1, 2]},
    ),
    "manhattan": ({"weighting_norm": "manhattan"}, {"weightingNorm": "manhattan"}),
    "euclidean": ({"weighting_norm": "euclidean"}, {"weightingNorm": "euclidean"}),
    "infinity": ({"weighting_norm": "infinity"}, {"weightingNorm": "infinity"}),
    "merged": ({"weighting_norm": "no_weighting"}, {"weightingNorm": "no_weighting"}),
    "merged within slices": (
        {"weighting_norm": "euclidean", "force_2d": True},
        {"weightingNorm": "euclidean", "force2D": True},
    ),
}


@pytest.fixture
def pyradiomics():
    """Features by pyradiomics' classes of an image whose levels are given."""
    pytest.importorskip("radiomics.glrlm", reason="compares with pyradiomics itself")
    from radiomics import gldm, glrlm, glszm, ngtdm

    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    classes = {
        "glrlm": glrlm.RadiomicsGLRLM,
        "glszm": glszm.RadiomicsGLSZM,
        "gldm": gldm.RadiomicsGLDM,
        "ngtdm": ngtdm.RadiomicsNGTDM,
    }

    def features(mask, levels, spacing_mm=(1.0, 1.0, 1.0), **settings):
        region = Region.of(mask, spacing_mm)
        image = sitk.GetImageFromArray(np.where(mask, levels, 0)[region.box].astype(np.int32))
        label = sitk.GetImageFromArray(mask[region.box].astype(np.uint8))
        for one in (image, label):
            one.SetSpacing(spacing_mm[::-1])
        found = {}
        for name, measured in classes.items():
            one = measured(image, label, binWidth=1, **settings)
            one.enableAllFeatures()
            found[name] = {feature: float(value) for feature, value in one.execute().items()}
        return found

    return features


def assert_equal_features(ours, theirs):
    """To the order of sums: pyradiomics adds in another one; 1e-12 of a value, and eps where it is 0."""
    for name in theirs:
        assert set(ours[name]) == set(theirs[name])
        for feature, value in theirs[name].items():
            np.testing.assert_allclose(ours[name][feature], value, rtol=1e-12, atol=1e-13, err_msg=f"{name} {feature}")


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value encountered")  # pyradiomics' own
@pytest.mark.parametrize("lesion", LESIONS)
def test_features_are_those_of_pyradiomics(lesion, pyradiomics):
    mask, levels = LESIONS[lesion]

    assert_equal_features(features_of(mask, levels), pyradiomics(mask, levels))


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value encountered")
@pytest.mark.parametrize(
    "lesion", ["gaps in levels", "very smooth", "two slices", "scattered", "two voxels on no line"]
)
@pytest.mark.parametrize("option", OPTIONS)
def test_features_with_options_are_those_of_pyradiomics(option, lesion, pyradiomics):
    ours, theirs = OPTIONS[option]
    mask, levels = LESIONS[lesion]
    spacing_mm = (2.5, 0.8, 0.7)

    assert_equal_features(
        features_of(mask, levels, spacing_mm, **ours), pyradiomics(mask, levels, spacing_mm, **theirs)
    )


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value encountered")
@pytest.mark.parametrize("merged", [False, True])
def test_a_lesion_on_no_line_of_the_only_direction_has_what_pyradiomics_makes_of_it(merged, pyradiomics):
    mask, levels = LESIONS["two voxels on no line of their slices"]
    ours, theirs = ({"weighting_norm": "euclidean"}, {"weightingNorm": "euclidean"}) if merged else ({}, {})

    assert_equal_features(
        features_of(mask, levels, force_2d=True, **ours), pyradiomics(mask, levels, force2D=True, **theirs)
    )


@pytest.mark.parametrize("width", [5, 25])
def test_features_of_a_brain_tumour_are_those_of_pyradiomics(width, shared, pyradiomics):
    folder = shared / "data" / "pyradiomics_cases"
    image = sitk.ReadImage(folder / "brain1_image.nrrd")
    values = sitk.GetArrayFromImage(image)
    mask = sitk.GetArrayFromImage(sitk.ReadImage(folder / "brain1_label.nrrd")) == 1
    levels = values // width - values[mask].min() // width + 1
    spacing_mm = image.GetSpacing()[::-1]

    assert_equal_features(features_of(mask, levels, spacing_mm), pyradiomics(mask, levels, spacing_mm))


IBSI = {
    "glrlm": """rlm sre ShortRunEmphasis lre LongRunEmphasis lgre LowGrayLevelRunEmphasis
        hgre HighGrayLevelRunEmphasis srlge ShortRunLowGrayLevelEmphasis srhge ShortRunHighGrayLevelEmphasis
        lrlge LongRunLowGrayLevelEmphasis lrhge LongRunHighGrayLevelEmphasis glnu GrayLevelNonUniformity
        glnu_norm GrayLevelNonUniformityNormalized rlnu RunLengthNonUniformity
        rlnu_norm RunLengthNonUniformityNormalized r_perc RunPercentage gl_var GrayLevelVariance rl_var RunVariance
        rl_entr RunEntropy""",
    "glszm": """szm sze SmallAreaEmphasis lze LargeAreaEmphasis lgze LowGrayLevelZoneEmphasis
        hgze HighGrayLevelZoneEmphasis szlge SmallAreaLowGrayLevelEmphasis szhge SmallAreaHighGrayLevelEmphasis
        lzlge LargeAreaLowGrayLevelEmphasis lzhge LargeAreaHighGrayLevelEmphasis glnu GrayLevelNonUniformity
        glnu_norm GrayLevelNonUniformityNormalized zsnu SizeZoneNonUniformity
        zsnu_norm SizeZoneNonUniformityNormalized z_perc ZonePercentage gl_var GrayLevelVariance zs_var ZoneVariance
        zs_entr ZoneEntropy""",
    "gldm": """ngl lde SmallDependenceEmphasis hde LargeDependenceEmphasis lgce LowGrayLevelEmphasis
        hgce HighGrayLevelEmphasis ldlge SmallDependenceLowGrayLevelEmphasis
        ldhge SmallDependenceHighGrayLevelEmphasis hdlge LargeDependenceLowGrayLevelEmphasis
        hdhge LargeDependenceHighGrayLevelEmphasis glnu GrayLevelNonUniformity dcnu DependenceNonUniformity
        dcnu_norm DependenceNonUniformityNormalized gl_var GrayLevelVariance dc_var DependenceVariance
        dc_entr DependenceEntropy""",
    "ngtdm": """ngt coarseness Coarseness contrast Contrast busyness Busyness complexity Complexity
        strength Strength""",
}


@pytest.mark.parametrize("definitions", ["pyradiomics", "ibsi"])
@pytest.mark.parametrize("within_slices", [False, True])
@pytest.mark.parametrize("name", IBSI)
def test_features_of_the_digital_phantom_are_the_consensus_of_ibsi(name, within_slices, definitions, shared):
    folder = shared / "data" / "ibsi1"
    image, mask = (
        sitk.GetArrayFromImage(sitk.ReadImage(folder / "digital_phantom" / "nifti" / kind / f"{file}.nii.gz"))
        for kind, file in (("image", "phantom"), ("mask", "mask"))
    )
    with (folder / "reference" / "ibsi_1_dig_phantom.csv").open() as file:
        reference = {row["tag"]: row["reference value"] for row in csv.DictReader(file, delimiter=";")}
    family, *words = IBSI[name].split()
    aggregation = ("2_5D" if within_slices else "3D") + ("_avg" if name == "glrlm" else "")

    features = features_of(mask == 1, image.astype(int), force_2d=within_slices, definitions=definitions)[name]

    assert set(words[1::2]) <= set(features)
    for word, feature in zip(words[::2], words[1::2], strict=True):
        published = float(reference[f"{family}_{word}_{aggregation}"])
        assert float(f"{features[feature]:.3g}") == published, f"{feature}: {features[feature]}, not {published}"


def slow_runs(mask, levels, step):
    """{(level, length): count}; from each voxel that does not continue its predecessor, as far as it goes."""

    def continues(voxel, other):
        within = all(0 <= one < size for one, size in zip(other, mask.shape, strict=True))
        return within and mask[other] and levels[other] == levels[voxel]

    found = {}
    for voxel in map(tuple, np.argwhere(mask)):
        if continues(voxel, tuple(np.subtract(voxel, step))):
            continue
        length, last = 1, voxel
        while continues(last, after := tuple(np.add(last, step))):
            length, last = length + 1, after
        found[levels[voxel], length] = found.get((levels[voxel], length), 0) + 1
    return found


def slow_zones(mask, levels):
    found = {}
    for level in np.unique(levels[mask]):
        zones, _ = ndimage.label(mask & (levels == level), structure=np.ones((3, 3, 3)))
        for size in np.bincount(zones.ravel())[1:]:
            found[level, size] = found.get((level, size), 0) + 1
    return found


def slow_neighbours(mask, levels):
    """For each voxel its level and those of its neighbours."""
    inside, padded = np.pad(mask, 1), np.pad(levels, 1)
    for voxel in np.argwhere(inside):
        around = [tuple(voxel + offset) for offset in OFFSETS]
        yield padded[tuple(voxel)], np.array([padded[one] for one in around if inside[one]])


def as_dictionary(levels, counts):
    return {(levels[row], size + 1): counts[row, size] for row, size in np.argwhere(counts)}


SLOW = ["noise", "smooth", "very smooth", "gaps in levels", "two slices", "one column thick", "scattered"]


@pytest.mark.parametrize("lesion", SLOW)
def test_runs_are_what_walking_every_line_finds(lesion):
    mask, levels = LESIONS[lesion]
    runs = matrices_of(mask, levels).runs

    for step, counts in zip(DIRECTIONS, dense(runs), strict=True):
        assert as_dictionary(runs.levels, counts) == slow_runs(mask, levels, step)


@pytest.mark.parametrize("lesion", [*SLOW, "long runs and large zones", "one level"])
def test_zones_are_the_connected_components_of_each_level(lesion):
    mask, levels = LESIONS[lesion]
    zones = matrices_of(mask, levels).zones

    assert as_dictionary(zones.levels, dense(zones)[0]) == slow_zones(mask, levels)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("share", [0.1, 0.35, 0.6])
def test_zones_that_wind_through_each_other_are_joined(seed, share):
    levels = (np.random.default_rng(seed).random((6, 7, 8)) < share) + 1
    mask = np.ones(levels.shape, dtype=bool)
    zones = matrices_of(mask, levels).zones

    assert as_dictionary(zones.levels, dense(zones)[0]) == slow_zones(mask, levels)


@pytest.mark.parametrize("lesion", SLOW)
def test_dependences_and_tones_are_what_visiting_every_neighbour_finds(lesion):
    mask, levels = LESIONS[lesion]
    found = matrices_of(mask, levels)
    dependences, sums, isolated = {}, {}, {}
    for level, around in slow_neighbours(mask, levels):
        key = level, 1 + (around == level).sum()
        dependences[key] = dependences.get(key, 0) + 1
        sums[level] = sums.get(level, 0) + (abs(level - around.mean()) if around.size else 0)
        isolated[level] = isolated.get(level, 0) + (around.size == 0)

    assert as_dictionary(found.dependences.levels, dense(found.dependences)[0]) == dependences
    np.testing.assert_allclose(found.tones.sums, [sums[level] for level in found.tones.levels], rtol=1e-13)
    np.testing.assert_array_equal(found.tones.isolated, [isolated[level] for level in found.tones.levels])


def test_levels_too_high_to_be_added_in_32_bits_are_still_added_exactly():
    rng = np.random.default_rng(0)
    levels = rng.integers(1, 10**8, (3, 4, 5))
    mask = np.ones(levels.shape, dtype=bool)
    expected = {level: abs(level - around.mean()) for level, around in slow_neighbours(mask, levels)}

    tones = matrices_of(mask, levels).tones

    np.testing.assert_allclose(tones.sums, [expected[level] for level in tones.levels], rtol=1e-12)


def test_two_runs_in_a_row_of_five_voxels_worked_by_hand():
    levels = np.array([[[1, 1, 2, 2, 2]]])
    features = features_of(np.ones(levels.shape, dtype=bool), levels)["glrlm"]

    assert features["ShortRunEmphasis"] == pytest.approx((1 / 4 + 1 / 9) / 2)
    assert features["LongRunEmphasis"] == pytest.approx((4 + 9) / 2)
    assert features["GrayLevelNonUniformity"] == pytest.approx(1)
    assert features["RunPercentage"] == pytest.approx(2 / 5)
    assert features["RunVariance"] == pytest.approx(1 / 4)
    assert features["RunEntropy"] == pytest.approx(1)
    assert features["LowGrayLevelRunEmphasis"] == pytest.approx((1 + 1 / 4) / 2)
    assert features["LongRunHighGrayLevelEmphasis"] == pytest.approx((4 * 1 + 9 * 4) / 2)
    assert features["ShortRunHighGrayLevelEmphasis"] == pytest.approx((1 / 4 + 4 / 9) / 2)


def test_voxels_that_touch_at_a_corner_are_one_zone_worked_by_hand():
    levels = np.array([[[1, 2, 2], [2, 1, 2]]])
    features = features_of(np.ones(levels.shape, dtype=bool), levels)["glszm"]

    assert features["ZonePercentage"] == pytest.approx(2 / 6)
    assert features["SmallAreaEmphasis"] == pytest.approx((1 / 4 + 1 / 16) / 2)
    assert features["LargeAreaHighGrayLevelEmphasis"] == pytest.approx((4 * 1 + 16 * 4) / 2)
    assert features["SizeZoneNonUniformityNormalized"] == pytest.approx(1 / 2)


def test_dependences_of_a_row_of_three_voxels_worked_by_hand():
    levels = np.array([[[1, 1, 2]]])
    features = features_of(np.ones(levels.shape, dtype=bool), levels)["gldm"]

    assert features["SmallDependenceEmphasis"] == pytest.approx((1 / 4 + 1 / 4 + 1) / 3)
    assert features["LargeDependenceHighGrayLevelEmphasis"] == pytest.approx((4 + 4 + 4) / 3)
    assert features["DependenceNonUniformity"] == pytest.approx((2**2 + 1) / 3)
    assert features["DependenceEntropy"] == pytest.approx(-(2 / 3 * math.log2(2 / 3) + 1 / 3 * math.log2(1 / 3)))


def test_tone_differences_of_two_voxels_worked_by_hand():
    levels = np.array([[[1, 3]]])
    features = features_of(np.ones(levels.shape, dtype=bool), levels)["ngtdm"]

    assert features == pytest.approx(
        {"Coarseness": 1 / 2, "Contrast": 2, "Busyness": 1, "Complexity": 4, "Strength": 2}
    )


def test_a_voxel_without_neighbours_counts_for_pyradiomics_and_not_for_ibsi():
    mask = np.array([[[True, True, False, False, True]]])
    levels = np.array([[[1, 3, 9, 9, 2]]])
    without = mask & (levels != 2)

    ours, ibsi = (features_of(mask, levels, definitions=one)["ngtdm"] for one in ("pyradiomics", "ibsi"))

    assert ibsi == features_of(without, levels)["ngtdm"]
    assert ours["Coarseness"] == pytest.approx(1 / (4 / 3))  # the third voxel adds 0 and thins the others' shares


def test_isolated_voxels_alone_have_no_tone_differences_by_ibsi():
    mask, levels = LESIONS["no neighbours"]

    assert all(map(math.isnan, features_of(mask, levels, definitions="ibsi")["ngtdm"].values()))


def test_a_lesion_of_one_voxel_has_zones_and_dependences_but_no_runs():
    features = features_of(*at((0, 0, 0), shape=(1, 1, 1)))

    assert all(map(math.isnan, features["glrlm"].values()))
    assert features["glszm"]["ZonePercentage"] == 1
    assert features["gldm"]["LargeDependenceEmphasis"] == 1
    assert features["ngtdm"]["Coarseness"] == 1e6


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_features_do_not_depend_on_which_axis_is_which(axes):
    mask, levels = LESIONS["smooth"]
    ours = features_of(mask, levels)

    turned = features_of(mask.transpose(axes)[::-1, :, ::-1], levels.transpose(axes)[::-1, :, ::-1])

    assert_equal_features(turned, ours)


def test_features_do_not_depend_on_what_lies_outside_the_lesion():
    mask, levels = LESIONS["smooth"]
    outside = np.where(mask, levels, np.random.default_rng(0).integers(1, 9, levels.shape))

    ours = features_of(mask, levels)

    assert features_of(np.pad(mask, 3), np.pad(outside, 3, constant_values=5)) == ours


def test_zone_and_run_sizes_do_not_depend_on_the_height_of_the_levels():
    mask, levels = LESIONS["smooth"]
    low, high = matrices_of(mask, levels), matrices_of(mask, 7 * levels + 100)

    np.testing.assert_array_equal(dense(low.zones), dense(high.zones))
    np.testing.assert_array_equal(dense(low.runs), dense(high.runs))
    np.testing.assert_allclose(high.tones.sums, 7 * low.tones.sums, rtol=1e-12)


def test_matrices_add_up_to_the_voxels_of_the_lesion():
    mask, levels = blob(7, 1.0, 6)
    counted = matrices_of(mask, levels)
    for matrix in (counted.runs, counted.zones, counted.dependences):
        counts = dense(matrix)
        sizes = np.arange(1, counts.shape[2] + 1) if matrix is not counted.dependences else 1
        np.testing.assert_array_equal((counts * sizes).sum(axis=(1, 2)), mask.sum())
    assert counted.tones.voxels.sum() == mask.sum()
