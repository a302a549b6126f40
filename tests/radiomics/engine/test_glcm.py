"""Co-occurrence features against pyradiomics, the IBSI's digital phantom, definitions written slowly, and laws."""

import csv
import logging
import math
import warnings

import numpy as np
import pytest
import SimpleITK
from scipy.ndimage import gaussian_filter

from radnet.radiomics.engine import glcm as glcm_module
from radnet.radiomics.engine.glcm import FEATURES, glcm
from radnet.radiomics.engine.mcc import second_eigenvalue
from radnet.radiomics.engine.neighbours import direction_weights, directions
from radnet.radiomics.engine.region import GreyLevels, Region, codes_in_box
from radnet.radiomics.settings import _FEATURES, ExtractionSettings

DEFAULT = ExtractionSettings("test")


def measured(levels, mask, settings=DEFAULT, spacing_mm=(1.0, 1.0, 1.0)):
    region = Region.of(mask, spacing_mm)
    present, codes, counts = np.unique(levels[mask], return_inverse=True, return_counts=True)
    codes = codes_in_box(region, (codes + 1).astype(np.int32))
    return glcm(GreyLevels(codes, present.astype(np.int64), counts.astype(np.int64)), region, settings)


def pyradiomics_features(levels, mask, settings=DEFAULT, spacing_mm=(1.0, 1.0, 1.0)):
    """What pyradiomics measures of an image whose levels are its intensities, of which 1 must be one."""
    pytest.importorskip("radiomics.glcm", reason="pyradiomics is not installed")
    from radiomics.glcm import RadiomicsGLCM

    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    box = Region.of(mask, spacing_mm).box
    image = SimpleITK.GetImageFromArray(np.where(mask, levels, 1)[box].astype(np.int32))
    label = SimpleITK.GetImageFromArray(mask[box].astype(np.uint8))
    for one in (image, label):
        one.SetSpacing(spacing_mm[::-1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # means of nothing and roots of less than 0, told by NaN
        stock = RadiomicsGLCM(
            image,
            label,
            binWidth=1,
            distances=list(settings.distances),
            symmetricalGLCM=settings.symmetrical_glcm,
            weightingNorm=settings.weighting_norm,
            force2D=settings.force_2d,
            force2Ddimension=settings.force_2d_axis,
        )
        return {name: float(value) for name, value in stock.execute().items()}


def blob(seed, size=(14, 15, 16), levels=12, smooth=1.0):
    """Smooth noise, discretised into the levels 1 to ``levels``, inside a bumpy ball."""
    rng = np.random.default_rng(seed)
    centre = (np.array(size) - 1) / 2
    radius = np.sqrt((((np.indices(size).T - centre) / np.maximum(centre, 0.5)) ** 2).sum(axis=-1)).T
    mask = radius + 3 * gaussian_filter(rng.normal(size=size), 2) < 0.95
    image = gaussian_filter(rng.normal(size=size), smooth)
    low, high = image[mask].min(), image[mask].max()
    grey = np.minimum((image - low) / (high - low) * levels, levels - 1).astype(np.int64) + 1
    return grey, mask


def scattered(seed, size=(9, 9, 9), fraction=0.05, levels=4):
    rng = np.random.default_rng(seed)
    mask = rng.random(size) < fraction
    grey = rng.integers(1, levels + 1, size)
    grey[tuple(np.argwhere(mask)[0])] = 1
    return grey, mask


def without_neighbours(levels):
    mask = np.zeros((7, 7, 7), dtype=bool)
    mask[::3, ::3, ::3] = True
    grey = np.ones(mask.shape, dtype=np.int64)
    grey[mask] = np.resize(levels, mask.sum())
    return grey, mask


def row(*levels):
    grey = np.array(levels, dtype=np.int64).reshape(1, 1, -1)
    return grey, grey > 0


def column(*levels):
    grey, mask = row(*levels)
    return grey.transpose(0, 2, 1).copy(), mask.transpose(0, 2, 1).copy()


def with_gaps(seed):
    grey, mask = blob(seed, levels=9)
    return np.array([1, 2, 3, 7, 8, 20, 21, 50, 90])[grey - 1], mask


def independent_neighbours():
    """Each direction has the four pairs of two levels equally often, as far as a small sheet allows."""
    grey = np.array([[1, 1, 2, 2, 1], [1, 1, 2, 2, 1], [2, 2, 1, 1, 2], [2, 2, 1, 1, 2], [1, 1, 2, 2, 1]])[None]
    return grey, np.ones(grey.shape, dtype=bool)


def rare_levels():
    """A large even lesion with a few outliers that meet almost no other level, so that the epsilon weighs most."""
    grey, mask = blob(3, size=(40, 40, 40), levels=5, smooth=2.0)
    inside = np.argwhere(mask)
    grey[tuple(inside[0])] = 9
    grey[tuple(inside[-1])] = 12
    grey[tuple(inside[len(inside) // 2])] = 15
    return grey, mask


def halves_that_hardly_meet():
    """Along X a second eigenvalue so near 1, beside a rare level, that only a general solver tells it."""
    grey = np.ones((1, 4, 9000), dtype=np.int64)
    grey[..., 4500:] = 2
    grey[0, 2, 700] = 3
    return grey, np.ones(grey.shape, dtype=bool)


def chequered():
    grey = 1 + np.indices((4, 4, 4)).sum(axis=0) % 2
    return grey, np.ones(grey.shape, dtype=bool)


LESIONS = {
    **{f"blob {seed}": blob(seed) for seed in range(3)},
    "smooth blob": blob(4, levels=30, smooth=3.0),
    "noise": blob(5, levels=6, smooth=0.01),
    "small blob": blob(6, size=(4, 5, 5), levels=8),
    "100 levels": blob(7, size=(16, 16, 16), levels=100, smooth=1.5),
    "300 levels of noise": blob(8, size=(9, 9, 9), levels=300, smooth=0.01),
    "gaps in the levels": with_gaps(9),
    "one slice": blob(10, size=(1, 20, 21)),
    "one column of slices": blob(11, size=(20, 1, 19)),
    "two slices": blob(12, size=(2, 14, 15)),
    "rare levels": rare_levels(),
    "halves that hardly meet": halves_that_hardly_meet(),
    "chequered": chequered(),
    "independent neighbours": independent_neighbours(),
    "one level": (np.ones((3, 4, 5), dtype=np.int64), np.ones((3, 4, 5), dtype=bool)),
    "one level in one slice": (np.ones((1, 4, 5), dtype=np.int64), np.ones((1, 4, 5), dtype=bool)),
    "two voxels, one level": row(1, 1),
    "two voxels, two levels": row(1, 2),
    "two voxels across slices": (row(1, 3)[0].T.copy(), row(1, 3)[1].T.copy()),
    "a row": row(1, 1, 2, 3, 3, 3, 1, 2, 2),
    "a column with a gap": column(1, 1, 0, 3, 2),
    **{f"scattered {seed}": scattered(seed) for seed in range(6)},
    **{f"densely scattered {seed}": scattered(seed, fraction=0.3, levels=3) for seed in range(6)},
    "no neighbours, two levels": without_neighbours([1, 2]),
    "no neighbours, one level": without_neighbours([1]),
    "no neighbours in a row": row(1, 0, 2),
    "no neighbours in a row, one level": row(1, 0, 1),
}


def assert_equal_features(ours, theirs, relative=1e-8, absolute=1e-9):
    assert list(ours) == list(FEATURES)
    for name, value in ours.items():
        assert value == pytest.approx(theirs[name], rel=relative, abs=absolute, nan_ok=True), name


@pytest.mark.parametrize("name", LESIONS)
def test_glcm_agrees_with_pyradiomics(name):
    assert_equal_features(measured(*LESIONS[name]), pyradiomics_features(*LESIONS[name]))


OPTIONS = {
    "not symmetric": {"symmetrical_glcm": False},
    "two distances": {"distances": (1, 2)},
    "distance beyond the margin": {"distances": (4,)},
    "within slices": {"force_2d": True},
    "within coronal planes": {"force_2d": True, "force_2d_axis": 1},
    "within sagittal planes": {"force_2d": True, "force_2d_axis": 2, "distances": (1, 3)},
    "weighted by largest step": {"weighting_norm": "infinity"},
    "weighted by length": {"weighting_norm": "euclidean"},
    "weighted by sum of steps": {"weighting_norm": "manhattan"},
    "merged": {"weighting_norm": "no_weighting"},
    "merged, not symmetric": {"weighting_norm": "no_weighting", "symmetrical_glcm": False},
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(
    "name",
    ["blob 0", "two slices", "gaps in the levels", "one level", "scattered 1", "no neighbours, two levels"],
)
def test_glcm_agrees_with_pyradiomics_under_each_setting(name, option):
    settings = ExtractionSettings("test", **OPTIONS[option])
    spacing_mm = (2.0, 0.7, 0.8)

    ours = measured(*LESIONS[name], settings, spacing_mm)

    assert_equal_features(ours, pyradiomics_features(*LESIONS[name], settings, spacing_mm))


@pytest.mark.parametrize("bin_width", [25, 10])
def test_glcm_of_a_brain_tumour_agrees_with_pyradiomics(shared, bin_width):
    cases = shared / "data" / "pyradiomics_cases"
    image = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(cases / "brain1_image.nrrd"))).astype(np.float64)
    mask = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(cases / "brain1_label.nrrd"))) == 1
    levels = np.floor(image / bin_width).astype(np.int64)
    levels += 1 - levels[mask].min()

    assert_equal_features(measured(levels, mask), pyradiomics_features(levels, mask))


PHANTOM_TAGS = {
    "Autocorrelation": "auto_corr",
    "ClusterProminence": "clust_prom",
    "ClusterShade": "clust_shade",
    "ClusterTendency": "clust_tend",
    "Contrast": "contrast",
    "Correlation": "corr",
    "DifferenceAverage": "diff_avg",
    "DifferenceEntropy": "diff_entr",
    "DifferenceVariance": "diff_var",
    "Id": "inv_diff",
    "Idm": "inv_diff_mom",
    "Idmn": "inv_diff_mom_norm",
    "Idn": "inv_diff_norm",
    "Imc1": "info_corr1",
    "Imc2": "info_corr2",
    "InverseVariance": "inv_var",
    "JointAverage": "joint_avg",
    "JointEnergy": "energy",
    "JointEntropy": "joint_entr",
    "MaximumProbability": "joint_max",
    "SumAverage": "sum_avg",
    "SumEntropy": "sum_entr",
    "SumSquares": "joint_var",
}


@pytest.mark.parametrize(
    ("aggregation", "settings"),
    [("3D_avg", DEFAULT), ("3D_comb", ExtractionSettings("merged", weighting_norm="no_weighting"))],
)
def test_glcm_of_the_digital_phantom_is_what_the_ibsi_agreed_on(shared, aggregation, settings):
    folder = shared / "data" / "ibsi1"
    levels, mask = (
        SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / "digital_phantom" / "nifti" / name))).astype(
            np.int64
        )
        for name in ("image/phantom.nii.gz", "mask/mask.nii.gz")
    )
    with (folder / "reference" / "ibsi_1_dig_phantom.csv").open() as file:
        agreed = {line[-1].strip(): line[0] for line in csv.reader(file, delimiter=";")}

    ours = measured(levels, mask > 0, settings)

    for feature, tag in PHANTOM_TAGS.items():
        value = float(agreed[f"cm_{tag}_{aggregation}"])
        assert float(f"{ours[feature]:.3g}") == pytest.approx(value, rel=1e-9), feature  # given to three digits


def test_glcm_of_a_row_is_what_counting_by_hand_gives():
    features = measured(*row(1, 1, 2, 3))  # pairs 11, 12, 23: both orders make 11 twice and 12, 21, 23, 32 once each

    assert features["MaximumProbability"] == pytest.approx(2 / 6)
    assert features["JointEnergy"] == pytest.approx((4 + 1 + 1 + 1 + 1) / 36)
    assert features["JointEntropy"] == pytest.approx(2 / 6 * math.log2(3) + 4 / 6 * math.log2(6))
    assert features["JointAverage"] == pytest.approx((3 * 1 + 2 * 2 + 1 * 3) / 6)
    assert features["Autocorrelation"] == pytest.approx((2 * 1 + 2 * 2 + 2 * 6) / 6)
    assert features["Contrast"] == features["DifferenceAverage"] == pytest.approx(4 / 6)
    assert features["Id"] == pytest.approx(2 / 6 + 4 / 6 / 2)
    assert features["Idn"] == pytest.approx(2 / 6 + 4 / 6 / (1 + 1 / 3))
    assert features["InverseVariance"] == pytest.approx(4 / 6)
    assert features["SumAverage"] == pytest.approx((2 * 2 + 2 * 3 + 2 * 5) / 6)
    assert features["SumEntropy"] == pytest.approx(math.log2(3))
    # The chain with rows (2/3 1/3 0), (1/2 0 1/2) and (0 1 0) has eigenvalues 1 and (-1 ± √13)/6; Q is its square.
    assert features["MCC"] == pytest.approx((1 + math.sqrt(13)) / 6)


def test_features_are_those_of_the_table():
    assert sorted(FEATURES) == sorted(_FEATURES["glcm"].split())


@pytest.mark.parametrize("name", ["blob 0", "two slices", "gaps in the levels"])
def test_glcm_is_the_same_of_a_mirrored_or_turned_lesion(name):
    grey, mask = LESIONS[name]
    turned = [array.transpose(2, 0, 1)[:, ::-1].copy() for array in (grey, mask)]

    assert_equal_features(measured(*turned), measured(grey, mask), relative=1e-11, absolute=1e-11)


def test_glcm_does_not_read_what_surrounds_the_lesion():
    grey, mask = LESIONS["blob 1"]
    other = np.where(mask, grey, 7)

    assert measured(np.pad(other, 3), np.pad(mask, 3)) == measured(grey, mask)


@pytest.mark.parametrize("name", ["blob 0", "100 levels", "scattered 1"])
def test_each_way_of_counting_pairs_gives_the_same_features(name):
    """Merging a single direction is the plain path, and must agree with the compiled one on that direction."""
    grey, mask = LESIONS[name]
    line = np.zeros_like(mask)
    z, y = np.unravel_index(mask.sum(axis=2).argmax(), mask.shape[:2])
    line[z, y] = mask[z, y]

    merged = measured(grey, line, ExtractionSettings("merged", weighting_norm="no_weighting"))

    assert_equal_features(measured(grey, line), merged)


@pytest.mark.parametrize("seed", range(40))
def test_second_eigenvalue_is_that_of_a_general_solver(seed):
    rng = np.random.default_rng(seed)
    levels, pairs = int(rng.integers(2, 80)), int(10 ** rng.uniform(0.5, 5))
    alike = rng.choice([0.0, 0.5, 0.9, 0.999, -0.8])
    a = rng.normal(size=pairs)
    b = alike * a + np.sqrt(1 - alike**2) * rng.normal(size=pairs)
    edges = np.linspace(-3.5, 3.5, levels)[1:]
    counts = np.zeros((levels, levels))
    np.add.at(counts, (np.digitize(a, edges), np.digitize(b, edges)), 1.0)
    counts += counts.T.copy()
    joint = counts / counts.sum()
    px = joint.sum(axis=1)
    slow = np.einsum("ik,jk,ik->ij", joint, joint, 1 / (np.outer(px, px) + np.spacing(1)))

    value, sure = second_eigenvalue(counts, counts.sum(axis=1))

    assert sure
    assert value == pytest.approx(np.sort(np.linalg.eigvals(slow).real)[-2], rel=1e-9, abs=1e-12)


def test_second_eigenvalue_owns_up_where_levels_nearly_never_meet():
    counts = np.diag([1e7, 2.0, 3.0]) + 1.0
    counts[0, 1:] = counts[1:, 0] = 1e-3

    _, sure = second_eigenvalue(counts, counts.sum(axis=1))

    assert not sure


def test_a_single_slice_has_four_directions_and_a_volume_thirteen():
    assert len(directions((5, 5, 5))) == 13
    assert len(directions((1, 5, 5))) == len(directions((5, 5, 5), across=0)) == 4
    assert len(directions((1, 1, 1))) == 0
    assert len(directions((9, 9, 9), distances=(2,))) == (5**3 - 3**3) // 2


def test_weights_of_directions_fall_with_the_square_of_their_length():
    step = np.array([[1, 0, -1]])

    assert direction_weights(step, (0.3, 9.0, 0.4), "euclidean") == pytest.approx(math.exp(-0.25))
    assert direction_weights(step, (0.3, 9.0, 0.4), "manhattan") == pytest.approx(math.exp(-0.49))
    assert direction_weights(step, (0.3, 9.0, 0.4), "infinity") == pytest.approx(math.exp(-0.16))
    assert direction_weights(step, (0.3, 9.0, 0.4), "no_weighting") == 1.0


def test_every_pair_of_neighbours_is_counted_once_in_each_direction():
    mask = gaussian_filter(np.random.default_rng(3).standard_normal((9, 10, 11)), 1.0) > 0
    region = Region.of(np.pad(mask, 1), (1.0, 1.0, 1.0))
    codes = np.random.default_rng(4).integers(1, 6, region.voxels).astype(np.int32)
    grey = GreyLevels(codes_in_box(region, codes), np.arange(1, 6), np.bincount(codes, minlength=6)[1:])
    offsets = directions(region.inside.shape)

    pairs = glcm_module._count(grey, region, offsets)[:, 1:, 1:].sum(axis=(1, 2))

    inside = np.pad(region.inside, 1)
    expected = [(inside & np.roll(inside, tuple(-offset), (0, 1, 2))).sum() for offset in offsets]
    np.testing.assert_array_equal(pairs, expected)
