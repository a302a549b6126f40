import logging
import sys
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import gaussian_filter

from radnet.radiomics import reference
from radnet.radiomics.settings import ExtractionSettings, feature_names

PLAIN = {"log_sigma_mm": (), "wavelet": False}


def phantom(shape=(10, 14, 15), spacing_mm=(2.5, 1.0, 0.8), dtype=np.int16):
    """A textured image and a lumpy lesion on one grid, padded as for filters; (Z, Y, X)."""
    rng = np.random.default_rng(3)
    texture = gaussian_filter(rng.standard_normal(shape), 1.0)
    places = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
    lesion = sum(place**2 for place in places) + 0.5 * texture < 0.5
    lesion[[0, -1]] = lesion[:, [0, -1]] = lesion[:, :, [0, -1]] = False
    image = sitk.GetImageFromArray((60 + 300 * texture + rng.normal(0, 8, shape)).astype(dtype))
    mask = sitk.GetImageFromArray(lesion.astype(np.uint8))
    for one in (image, mask):
        one.SetSpacing(spacing_mm[::-1])
    return image, mask


def stock(image, mask, image_types=None, classes=None, **settings) -> dict[str, float]:
    """Features by pyradiomics itself, as a user of it would call it."""
    extractors = pytest.importorskip("radiomics.featureextractor", reason="compares with pyradiomics itself")
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    extractor = extractors.RadiomicsFeatureExtractor(additionalInfo=False, **settings)
    extractor.enabledImagetypes = image_types or {"Original": {}}
    if classes:
        extractor.enabledFeatures = dict.fromkeys(classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it divides by zero where a matrix is empty, and calls what scipy renamed
        return {name: float(value) for name, value in extractor.execute(image, mask).items()}


CASES = {
    "bin count": ({"bin_width": None, "bin_count": 16}, {"binCount": 16}, None),
    "bin width": ({"bin_width": 10}, {"binWidth": 10}, None),
    "distances": ({"distances": (1, 3)}, {"distances": [1, 3]}, None),
    "asymmetric": ({"symmetrical_glcm": False}, {"symmetricalGLCM": False}, None),
    "manhattan": ({"weighting_norm": "manhattan"}, {"weightingNorm": "manhattan"}, None),
    "euclidean": ({"weighting_norm": "euclidean"}, {"weightingNorm": "euclidean"}, None),
    "infinity": ({"weighting_norm": "infinity"}, {"weightingNorm": "infinity"}, None),
    "no weighting": ({"weighting_norm": "no_weighting"}, {"weightingNorm": "no_weighting"}, None),
    "alpha": ({"gldm_alpha": 2}, {"gldm_a": 2}, None),
    "2-D": ({"force_2d": True}, {"force2D": True}, None),
    "2-D across X": ({"force_2d": True, "force_2d_axis": 2}, {"force2D": True, "force2Ddimension": 2}, None),
    "2-D wavelet": (
        {"force_2d": True, "force_2d_axis": 1, "wavelet": True, "original": False},
        {"force2D": True, "force2Ddimension": 1},
        {"Wavelet": {}},
    ),
    "range": ({"resegment_range": (0, 150)}, {"resegmentRange": [0, 150]}, None),
    "lower end": ({"resegment_range": (20,)}, {"resegmentRange": [20]}, None),
    "relative range": (
        {"resegment_range": (0.1, 0.8), "resegment_mode": "relative"},
        {"resegmentRange": [0.1, 0.8], "resegmentMode": "relative"},
        None,
    ),
    "SDs": (
        {"resegment_range": (-1, 1.5), "resegment_mode": "sigma", "resegment_shape": True},
        {"resegmentRange": [-1, 1.5], "resegmentMode": "sigma", "resegmentShape": True},
        None,
    ),
    "SDs on both sides": (
        {"resegment_sigma": 1.5},
        {"resegmentRange": [-1.5, 1.5], "resegmentMode": "sigma"},
        None,
    ),
    "shift": ({"voxel_array_shift": 300}, {"voxelArrayShift": 300}, None),
    "filters": (
        {"log_sigma_mm": (1.0, 2.5), "wavelet": True, "wavelet_name": "db3", "pointwise": ("exponential", "square")},
        {},
        {"Original": {}, "LoG": {"sigma": [1.0, 2.5]}, "Wavelet": {"wavelet": "db3"}, "Exponential": {}, "Square": {}},
    ),
    "gradient alone": ({"original": False, "gradient": True}, {}, {"Gradient": {}}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_setting_reaches_pyradiomics(name):
    given, settings, image_types = CASES[name]
    image, mask = phantom()
    ours = ExtractionSettings(name, **{**PLAIN, **given})

    wanted = stock(image, mask, image_types, **settings)
    found = reference.features(image, mask, ours)

    assert list(found) == feature_names(ours)
    np.testing.assert_array_equal([found[one] for one in sorted(wanted)], [wanted[one] for one in sorted(wanted)])
    assert len(found) == len(wanted)
    if image_types is None:  # the setting does something
        assert wanted != stock(image, mask)


def test_only_the_classes_asked_for_are_measured():
    image, mask = phantom()
    wanted = stock(image, mask, classes=["shape", "ngtdm"])
    found = reference.features(image, mask, ExtractionSettings("few", classes=("ngtdm", "shape"), **PLAIN))
    assert found == wanted


@pytest.mark.parametrize("pixel", [sitk.sitkUInt8, sitk.sitkFloat32, sitk.sitkFloat64])
def test_the_image_is_measured_in_its_own_type(pixel):
    image, mask = phantom(dtype=np.float64)
    image = sitk.Cast(sitk.Clamp(image, sitk.sitkFloat64, 0, 200), pixel)
    wanted = stock(image, mask, {"Original": {}, "Wavelet": {}})
    found = reference.features(image, mask, ExtractionSettings("type", log_sigma_mm=()))
    assert found == {name: wanted[name] for name in found}


@pytest.mark.skipif(find_spec("skimage") is None, reason="pyradiomics needs scikit-image for local binary patterns")
def test_local_binary_patterns_within_slices_are_measured():
    image, mask = phantom()
    found = reference.features(image, mask, ExtractionSettings("lbp", lbp_2d=True, original=False, **PLAIN))
    assert found == stock(image, mask, {"LBP2D": {}})


@pytest.mark.parametrize("pattern", ["lbp_2d", "lbp_3d"])
def test_local_binary_patterns_that_pyradiomics_would_leave_out_are_refused(pattern):
    pytest.importorskip("radiomics.featureextractor", reason="the engine measured is pyradiomics")
    if find_spec("skimage") is not None or find_spec("trimesh") is not None:
        pytest.skip("pyradiomics finds what it needs for local binary patterns")
    lacking = {"lbp_2d": "scikit-image", "lbp_3d": "trimesh"}[pattern]
    settings = ExtractionSettings("lbp", **PLAIN, **{pattern: True})
    with pytest.raises(ImportError, match=f"pyradiomics needs {lacking}.* for local binary patterns"):
        reference.features(*phantom(), settings)


def test_the_definitions_of_ibsi_are_refused():
    pytest.importorskip("radiomics.featureextractor", reason="the engine measured is pyradiomics")
    settings = ExtractionSettings("standard", definitions="ibsi")
    with pytest.raises(ValueError, match="own definitions alone, and settings standard ask for ibsi: .* native"):
        reference.features(*phantom(), settings)


def test_a_range_and_sds_together_are_refused():
    pytest.importorskip("radiomics.featureextractor", reason="the engine measured is pyradiomics")
    settings = ExtractionSettings("both", resegment_range=(-100, 400), resegment_sigma=3, **PLAIN)
    with pytest.raises(ValueError, match="not by resegment_range and resegment_sigma together"):
        reference.features(*phantom(), settings)


def test_a_region_that_resegmentation_makes_too_small_is_refused():
    pytest.importorskip("radiomics.featureextractor", reason="the engine measured is pyradiomics")
    image, mask = phantom()
    left = int(((sitk.GetArrayFromImage(image) >= 100) & (sitk.GetArrayFromImage(mask) == 1)).sum())
    settings = {"resegment_range": (100,), "classes": ("firstorder",), **PLAIN}
    reference.features(image, mask, ExtractionSettings("enough", minimum_voxels=left, **settings))
    with pytest.raises(ValueError, match=f"too small .*ROI size: {left}"):
        reference.features(image, mask, ExtractionSettings("few", minimum_voxels=left + 1, **settings))


def test_without_pyradiomics_the_extra_to_install_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "radiomics", None)
    with pytest.raises(ImportError, match=r'the pyradiomics engine needs the extra "reference": pip install'):
        reference.version()


def test_the_version_is_that_of_pyradiomics():
    pytest.importorskip("radiomics.featureextractor", reason="the engine measured is pyradiomics")
    assert reference.version() == "3.0.1"
