"""First order features against pyradiomics, definitions written slowly, IBSI's phantom, and laws."""

import csv
import logging
import math
import warnings

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy import stats
from scipy.ndimage import gaussian_filter

from radnet.radiomics.engine.discretise import grey_levels
from radnet.radiomics.engine.firstorder import first_order
from radnet.radiomics.engine.region import Region
from radnet.radiomics.settings import ExtractionSettings

SPACING_MM = (2.5, 0.8, 0.7)
WIDTH_25 = ExtractionSettings("width 25")
IBSI = ExtractionSettings("ibsi", definitions="ibsi")


def lesion(seed, size=(12, 14, 16)):
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(size), 1.5)
    return noise > np.quantile(noise, 0.6)


def texture(seed, size=(12, 14, 16)):
    noise = gaussian_filter(np.random.default_rng(1000 + seed).standard_normal(size), 0.8)
    return noise / noise.std()


def some_voxels(count):
    mask = np.zeros((12, 14, 16), dtype=bool)
    mask.flat[np.random.default_rng(count).choice(mask.size, count, replace=False)] = True
    return mask


IMAGES = {
    "int16": (lesion(0), (texture(0) * 120 + 30).astype(np.int16)),
    "uint8": (lesion(1), (texture(1) * 40 + 100).clip(0, 205).astype(np.uint8)),
    "float32": (lesion(2), (texture(2) * 200).astype(np.float32)),
    "float64": (lesion(3), texture(3) * 90 - 500),
    "few values": (lesion(4), np.rint(texture(4)).astype(np.int16)),
    "one far value": (lesion(5), np.where(np.arange(12 * 14 * 16).reshape(12, 14, 16) == 900, 9e4, texture(5) * 50)),
    "heavy tail": (lesion(6), np.exp(2.5 * texture(6))),
    "0.1 everywhere": (lesion(7), np.full((12, 14, 16), 0.1)),
    "7 everywhere": (lesion(7), np.full((12, 14, 16), 7, dtype=np.int16)),
    "small numbers": (lesion(8), texture(8) * 1e-9),
    "two voxels": (some_voxels(2), texture(9) * 100),
    "five voxels": (some_voxels(5), texture(9) * 100),
    "eleven voxels": (some_voxels(11), (texture(9) * 100).astype(np.int16)),  # percentiles fall on voxels
    "one slice": (lesion(0, (1, 30, 30)), (texture(0, (1, 30, 30)) * 100).astype(np.float32)),
}


@pytest.fixture(scope="session")
def stock_first_order():
    stock = pytest.importorskip("radiomics.firstorder", reason="compares with pyradiomics itself")
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)

    def measured(image, mask, **settings):
        pair = sitk.GetImageFromArray(image), sitk.GetImageFromArray(mask.astype(np.uint8))
        for one in pair:
            one.SetSpacing(SPACING_MM[::-1])
        features = stock.RadiomicsFirstOrder(*pair, label=1, **settings)
        features.enableAllFeatures()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # it takes means of nothing
            return {name: float(value) for name, value in features.execute().items()}

    return measured


def measured(image, mask, settings):
    region = Region.of(mask, SPACING_MM)
    values = image[mask]
    return first_order(values, grey_levels(values, region, settings), region, settings)


@pytest.mark.parametrize("bins", ["bin_width", "bin_count"])
@pytest.mark.parametrize("name", IMAGES)
def test_first_order_is_that_of_pyradiomics(name, bins, stock_first_order):
    mask, image = IMAGES[name]
    width, count = (25.0, None) if bins == "bin_width" else (None, 32)
    settings = ExtractionSettings("stock", bin_width=width, bin_count=count, voxel_array_shift=10.0)
    by_stock = stock_first_order(image, mask, voxelArrayShift=10.0, binWidth=width, binCount=count)

    found = measured(image, mask, settings)

    assert set(found) == set(by_stock)
    assert found == pytest.approx(by_stock, rel=1e-11, abs=1e-14, nan_ok=True)


def test_first_order_of_a_real_lesion_is_that_of_pyradiomics(shared, stock_first_order):
    folder = shared / "data" / "pyradiomics_cases"
    image = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "brain1_image.nrrd")))
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "brain1_label.nrrd"))) == 1
    assert measured(image, mask, WIDTH_25) == pytest.approx(stock_first_order(image, mask, binWidth=25.0), rel=1e-12)


@pytest.mark.parametrize("name", ["float64", "few values", "heavy tail", "one far value", "five voxels"])
def test_first_order_follows_its_definitions(name):
    mask, image = IMAGES[name]
    x = image[mask].astype(float)
    inner = x[(np.percentile(x, 10) <= x) & (x <= np.percentile(x, 90))]

    found = measured(image, mask, WIDTH_25)

    assert {key: value for key, value in found.items() if key not in ("Entropy", "Uniformity")} == pytest.approx(
        {
            "10Percentile": np.percentile(x, 10),
            "90Percentile": np.percentile(x, 90),
            "Energy": (x**2).sum(),
            "InterquartileRange": stats.iqr(x),
            "Kurtosis": stats.kurtosis(x, fisher=False),
            "Maximum": max(x),
            "Mean": math.fsum(x) / len(x),
            "MeanAbsoluteDeviation": np.abs(x - x.mean()).mean(),
            "Median": np.median(x),
            "Minimum": min(x),
            "Range": np.ptp(x),
            "RobustMeanAbsoluteDeviation": np.abs(inner - inner.mean()).mean(),
            "RootMeanSquared": math.sqrt((x**2).mean()),
            "Skewness": stats.skew(x),
            "TotalEnergy": (x**2).sum() * 2.5 * 0.8 * 0.7,
            "Variance": x.var(),
        },
        rel=1e-11,
    )


def test_entropy_and_uniformity_are_of_the_grey_levels():
    mask, image = np.ones((1, 2, 4), dtype=bool), np.array([[[0, 1, 2, 24], [25, 26, 60, 110]]], dtype=np.int16)
    found = measured(image, mask, WIDTH_25)  # four, two, one and one voxel in bins 1, 2, 3 and 5

    assert found["Entropy"] == pytest.approx(1.75)
    assert found["Uniformity"] == pytest.approx(22 / 64)


def test_a_flat_lesion_has_no_spread_and_an_entropy_of_rounding():
    mask, image = IMAGES["7 everywhere"]
    found = measured(image, mask, WIDTH_25)

    for name in ("Variance", "Skewness", "Kurtosis", "Range", "InterquartileRange", "MeanAbsoluteDeviation"):
        assert found[name] == 0
    assert found["Uniformity"] == 1
    assert found["Entropy"] == pytest.approx(-(2**-52) / math.log(2), rel=1e-12)


def test_two_voxels_have_no_robust_deviation():
    mask, image = IMAGES["two voxels"]
    assert math.isnan(measured(image, mask, WIDTH_25)["RobustMeanAbsoluteDeviation"])


def test_ibsi_takes_3_from_kurtosis_and_adds_nothing_to_probabilities():
    mask, image = IMAGES["int16"]
    settings = ExtractionSettings("count", bin_width=None, bin_count=8)
    ibsi = ExtractionSettings("ibsi", bin_width=None, bin_count=8, definitions="ibsi")
    wanted = measured(image, mask, settings)

    found = measured(image, mask, ibsi)

    assert found["Kurtosis"] == pytest.approx(wanted["Kurtosis"] - 3)
    assert found == pytest.approx(wanted | {"Kurtosis": found["Kurtosis"]})


def test_a_flat_lesion_by_ibsi_has_entropy_0_and_kurtosis_0():
    mask, image = IMAGES["7 everywhere"]
    found = measured(image, mask, IBSI)
    assert found["Entropy"] == found["Kurtosis"] == 0


def test_ibsi_s_digital_phantom_gives_its_consensus(shared):
    folder = shared / "data" / "ibsi1"
    image, mask = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "digital_phantom" / "nifti" / path)))
        for path in ("image/phantom.nii.gz", "mask/mask.nii.gz")
    )
    with (folder / "reference" / "ibsi_1_dig_phantom.csv").open() as file:
        consensus = {row["tag"]: row["reference value"] for row in csv.DictReader(file, delimiter=";")}
    names = {
        "mean": "Mean", "var": "Variance", "skew": "Skewness", "kurt": "Kurtosis", "median": "Median",
        "min": "Minimum", "p10": "10Percentile", "p90": "90Percentile", "max": "Maximum",
        "iqr": "InterquartileRange", "range": "Range", "mad": "MeanAbsoluteDeviation",
        "rmad": "RobustMeanAbsoluteDeviation", "energy": "Energy", "rms": "RootMeanSquared",
    }  # fmt: skip
    tags = {f"stat_{tag}": name for tag, name in names.items()}
    tags |= {"ih_entropy": "Entropy", "ih_uniformity": "Uniformity"}
    settings = ExtractionSettings("phantom", bin_width=1.0, definitions="ibsi")  # its levels are whole numbers from 1

    found = measured(image, mask == 1, settings)

    for tag, name in tags.items():
        assert float(f"{found[name]:.3g}") == float(consensus[tag]), name  # it is printed with three digits


@pytest.mark.parametrize("name", ["int16", "heavy tail", "few values"])
def test_where_values_lie_does_not_matter(name):
    mask, image = IMAGES[name]
    shuffled = image.copy()
    shuffled[mask] = np.random.default_rng(0).permutation(image[mask])
    assert measured(shuffled, mask, WIDTH_25) == pytest.approx(measured(image, mask, WIDTH_25), rel=1e-12)


def test_shift_and_scale_move_features_as_they_should():
    mask, image = IMAGES["float64"]
    found = measured(image, mask, WIDTH_25)

    moved = measured(4 * image + 1000, mask, ExtractionSettings("wider", bin_width=100.0))

    for name in ("Mean", "Median", "Minimum", "Maximum", "10Percentile", "90Percentile"):
        assert moved[name] == pytest.approx(4 * found[name] + 1000)
    for name in ("Range", "InterquartileRange", "MeanAbsoluteDeviation", "RobustMeanAbsoluteDeviation"):
        assert moved[name] == pytest.approx(4 * found[name])
    for name in ("Skewness", "Kurtosis", "Entropy", "Uniformity"):
        assert moved[name] == pytest.approx(found[name])
    assert moved["Variance"] == pytest.approx(16 * found["Variance"])
