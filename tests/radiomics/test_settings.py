import hashlib
import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from radnet.radiomics.settings import ExtractionSettings, feature_names, named_settings, read_settings

CONF = Path(__file__).parents[2] / "conf" / "radiomics"


def stock_names(image_types, classes=(), **settings) -> list[str]:
    """Names of the features that pyradiomics itself gives for a small lesion."""
    extractors = pytest.importorskip("radiomics.featureextractor", reason="names are compared with pyradiomics' own")
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    lesion = np.zeros((9, 10, 11), dtype=np.uint8)
    lesion[3:6, 3:7, 3:8] = 1
    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(-100, 100, lesion.shape).astype(np.int16))
    extractor = extractors.RadiomicsFeatureExtractor(additionalInfo=False, **settings)
    extractor.enabledImagetypes = image_types
    if classes:
        extractor.enabledFeatures = {name: [] for name in classes}
    return list(extractor.execute(image, sitk.GetImageFromArray(lesion)))


@pytest.fixture(scope="module")
def zhao() -> ExtractionSettings:
    return read_settings(CONF / "zhao.yaml")


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_is_read_and_bears_the_name_of_its_file(path):
    assert read_settings(path).name == path.stem


def test_zhao_has_the_published_number_of_features_of_each_class_and_image(zhao):
    names = feature_names(zhao)

    images = Counter(name.split("_")[0] for name in names)
    classes = Counter(name.split("_")[1] for name in names)

    assert len(names) == len(set(names)) == 1130
    bands = ["LLH", "LHL", "LHH", "HLL", "HLH", "HHL", "HHH", "LLL"]
    filtered = [f"log-sigma-{sigma}-0-mm-3D" for sigma in (1, 2, 3)] + [f"wavelet-{band}" for band in bands]
    assert images == {"original": 107, **dict.fromkeys(filtered, 93)}
    assert classes == {
        "shape": 14, "firstorder": 216, "glcm": 288, "glrlm": 192, "glszm": 192, "gldm": 168, "ngtdm": 60
    }  # fmt: skip


def test_a_whole_number_for_sigma_gives_the_published_names():
    settings = ExtractionSettings("whole", log_sigma_mm=(1, 2), wavelet=False)
    assert "log-sigma-1-0-mm-3D_glcm_Contrast" in feature_names(settings)


POINTWISE = ("Square", "SquareRoot", "Logarithm", "Exponential")
WANTED = {
    "zhao": (1130, {"Original": {}, "LoG": {"sigma": [1.0, 2.0, 3.0]}, "Wavelet": {}}, {}),
    "han479a": (479, {name: {} for name in ("Original", *POINTWISE)}, {}),
    "han479b": (479, {"Original": {}, "Wavelet": {}}, {"force2D": True}),
    "han479c": (479, {"Original": {}, "LoG": {"sigma": [1.0, 2.0, 3.0, 4.0]}}, {}),
    "ligero": (107, {"Original": {}}, {}),
    "wang": (851, {"Original": {}, "Wavelet": {}}, {}),
}


@pytest.mark.parametrize("name", WANTED)
def test_a_preset_has_the_published_number_of_features_under_the_names_of_pyradiomics(name):
    number, image_types, settings = WANTED[name]
    names = feature_names(read_settings(CONF / f"{name}.yaml"))
    assert len(names) == len(set(names)) == number
    assert set(names) == set(stock_names(image_types, **settings))


@pytest.mark.parametrize(
    ("given", "image_types", "settings"),
    [
        ({"original": False, "wavelet": True, "wavelet_name": "db2"}, {"Wavelet": {"wavelet": "db2"}}, {}),
        ({"gradient": True, "pointwise": ("square",)}, {"Original": {}, "Square": {}, "Gradient": {}}, {}),
        ({"original": False, "log_sigma_mm": (0.5, 2)}, {"LoG": {"sigma": [0.5, 2.0]}}, {}),
        (
            {"wavelet": True, "force_2d": True, "force_2d_axis": 2},
            {"Original": {}, "Wavelet": {}},
            {"force2D": True, "force2Ddimension": 2},
        ),
        (
            {"classes": ("ngtdm", "glcm"), "gradient": True},
            {"Original": {}, "Gradient": {}},
            {"classes": ("glcm", "ngtdm")},
        ),
        ({"classes": ("shape",), "wavelet": True}, {"Wavelet": {}}, {"classes": ("shape",)}),
        ({"classes": ("shape",), "original": False}, {}, {"classes": ("shape",)}),
    ],
    ids=str,
)  # fmt: skip
def test_names_are_those_of_pyradiomics_for_the_same_images_and_classes(given, image_types, settings):
    names = feature_names(ExtractionSettings("names", **{"log_sigma_mm": (), "wavelet": False, **given}))
    assert sorted(names) == sorted(stock_names(image_types, **settings))


def test_images_are_named_in_the_order_shape_original_filters_patterns():
    settings = ExtractionSettings(
        "all", pointwise=("logarithm", "square"), gradient=True, lbp_2d=True, lbp_3d=True, log_sigma_mm=(2.0, 1.0)
    )  # fmt: skip
    names = feature_names(settings)
    images = list(dict.fromkeys(name.split("_")[0] for name in names))
    bands = [f"wavelet-{band}" for band in ("LLH", "LHL", "LHH", "HLL", "HLH", "HHL", "HHH", "LLL")]
    assert names[0] == "original_shape_Elongation"
    assert images == [
        "original", "log-sigma-2-0-mm-3D", "log-sigma-1-0-mm-3D", *bands, "logarithm", "square", "gradient",
        "lbp-2D", "lbp-3D-m1", "lbp-3D-m2", "lbp-3D-k",
    ]  # fmt: skip


def test_the_order_in_which_classes_are_given_is_of_no_matter():
    one = ExtractionSettings("one", classes=("ngtdm", "shape"))
    two = ExtractionSettings("two", classes=["shape", "ngtdm"])
    assert feature_names(one) == feature_names(two)
    assert one.fingerprint() == two.fingerprint()


def test_the_fingerprint_follows_what_is_measured_and_not_the_name():
    one = ExtractionSettings("one", spacing_mm=[1, 1, 1], bin_width=25)
    assert one.fingerprint() == ExtractionSettings("two", bin_width=25.0).fingerprint()
    assert one.fingerprint() != ExtractionSettings("one", bin_width=10.0).fingerprint()


def test_a_model_frozen_before_a_field_was_there_knows_its_settings():
    first = {  # the fields of the first models that were frozen, and their defaults
        "spacing_mm": [1.0, 1.0, 1.0], "interpolator": "bspline", "bin_width": 25.0, "bin_count": None,
        "log_sigma_mm": [1.0, 2.0, 3.0], "wavelet": True, "pointwise": [], "regions": ["lesion"], "ring_inner_mm": 2.0,
        "ring_outer_mm": 2.0, "ring_exclude_below": None, "normalize": False, "normalize_scale": 1.0,
        "minimum_voxels": 1,
    }  # fmt: skip
    lesion = {key: value for key, value in first.items() if not key.startswith("ring_")}
    settings = ExtractionSettings("zhao")
    assert settings.fingerprint() == hashlib.sha256(json.dumps(first, sort_keys=True).encode()).hexdigest()
    assert settings.fingerprint("lesion") == hashlib.sha256(json.dumps(lesion, sort_keys=True).encode()).hexdigest()


@pytest.mark.parametrize("change", [
    {"original": False}, {"gradient": True}, {"lbp_2d": True}, {"lbp_3d": True}, {"classes": ("shape", "glcm")},
    {"distances": (1, 2)}, {"symmetrical_glcm": False}, {"weighting_norm": "infinity"}, {"gldm_alpha": 1},
    {"force_2d": True}, {"force_2d_axis": 1}, {"resegment_range": (-500, 400)}, {"resegment_mode": "sigma"},
    {"resegment_shape": True}, {"normalize": True, "remove_outliers": 3}, {"voxel_array_shift": 300},
    {"wavelet_name": "db4"}, {"boundary": "zero"}, {"definitions": "ibsi"}, {"resegment_sigma": 3},
], ids=str)  # fmt: skip
def test_every_later_field_changes_the_fingerprint_of_lesion_and_ring(change):
    plain, changed = ExtractionSettings("plain"), ExtractionSettings("changed", **change)
    for region in (None, "lesion", "ring"):
        assert plain.fingerprint(region) != changed.fingerprint(region)


def test_a_ring_does_not_touch_the_fingerprint_of_the_lesion():
    alone = ExtractionSettings("alone")
    wide = ExtractionSettings("wide", regions=("lesion", "ring"), ring_outer_mm=5.0)
    assert alone.fingerprint("lesion") == wide.fingerprint("lesion")
    assert alone.fingerprint("ring") != wide.fingerprint("ring")
    assert alone.fingerprint("lesion") != alone.fingerprint("ring")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"spacing_mm": (1.0, 1.0)}, "spacing_mm must be three numbers of 0 or more"),
        ({"spacing_mm": (1.0, -1.0, 1.0)}, "spacing_mm must be three numbers of 0 or more"),
        ({"interpolator": "cubic"}, "interpolator must be one of bspline, linear, nearest, got 'cubic'"),
        ({"bin_count": 32}, "one of bin_width and bin_count must be given and the other null, got 25.0 and 32"),
        ({"bin_width": None}, "one of bin_width and bin_count must be given"),
        ({"bin_width": 0}, "bin_width must be greater than 0, got 0.0"),
        ({"bin_width": None, "bin_count": 3.5}, "bin_count must be a whole number of 1 or more, got 3.5"),
        ({"log_sigma_mm": (1.0, 0.0)}, "log_sigma_mm must be a list of numbers greater than 0"),
        ({"log_sigma_mm": (1, 1.0)}, "log_sigma_mm names the same twice"),
        ({"wavelet": "coif1"}, "wavelet must be true or false, got 'coif1'"),
        ({"pointwise": ("squares",)}, r"pointwise: there is no squares; did you mean square\?"),
        ({"regions": ("lesions",)}, r"regions: there is no lesions; did you mean lesion\?"),
        ({"regions": ()}, "regions must be a list of at least one region"),
        ({"ring_inner_mm": 0, "ring_outer_mm": 0}, "must not both be 0"),
        ({"ring_outer_mm": float("inf")}, "ring_outer_mm must be 0 or more, got inf"),
        ({"regions": ("inner",), "ring_inner_mm": 0}, "region inner needs ring_inner_mm greater than 0"),
        ({"ring_exclude_below": float("nan")}, "ring_exclude_below must be a number or null"),
        ({"normalize_scale": 0}, "normalize_scale must be greater than 0"),
        ({"minimum_voxels": 0}, "minimum_voxels must be a whole number of 1 or more"),
        ({"name": ""}, "a name is needed"),
        ({"bin_width": "wide"}, "bin_width must be greater than 0, got 'wide'"),
        ({"original": 1}, "original must be true or false, got 1"),
        ({"gradient": None}, "gradient must be true or false, got None"),
        ({"lbp_2d": "uniform"}, "lbp_2d must be true or false"),
        ({"lbp_3d": 2}, "lbp_3d must be true or false"),
        ({"classes": ("glcms",)}, r"classes: there is no glcms; did you mean glcm\?"),
        ({"classes": ("glcm", "glcm")}, "classes names the same twice"),
        ({"classes": ()}, "classes must be a list of at least one class, out of shape, firstorder"),
        ({"classes": "glcm"}, "classes must be a list of at least one class"),
        ({"distances": (0, 1)}, "distances must be a list of at least one whole number of 1 or more"),
        ({"distances": 1}, "distances must be a list of at least one whole number of 1 or more, got 1"),
        ({"distances": (2, 2)}, "distances names the same twice"),
        ({"symmetrical_glcm": "yes"}, "symmetrical_glcm must be true or false"),
        ({"weighting_norm": "l2"}, "weighting_norm must be one of manhattan, .*no_weighting or null, got 'l2'"),
        ({"gldm_alpha": -1}, "gldm_alpha must be a whole number of 0 or more, got -1"),
        ({"force_2d": 0}, "force_2d must be true or false"),
        ({"force_2d_axis": 3}, r"force_2d_axis must be 0 \(Z\), 1 \(Y\) or 2 \(X\), got 3"),
        (
            {"resegment_range": (400, -500)},
            "resegment_range must be one number, or two of which the first is the lower",
        ),
        ({"resegment_range": (1, 2, 3)}, "resegment_range must be one number, or two"),
        ({"resegment_range": 3}, "resegment_range must be one number, or two .* got 3.0"),
        ({"resegment_mode": "sd"}, "resegment_mode must be one of absolute, relative, sigma, got 'sd'"),
        ({"resegment_shape": "no"}, "resegment_shape must be true or false"),
        ({"resegment_sigma": 0}, "resegment_sigma must be greater than 0 or null, got 0.0"),
        ({"normalize": True, "remove_outliers": -3}, "remove_outliers must be greater than 0 or null, got -3.0"),
        ({"remove_outliers": 3}, "remove_outliers clips a normalised image: it needs normalize: true"),
        ({"voxel_array_shift": float("inf")}, "voxel_array_shift must be a number, got inf"),
        ({"wavelet_name": "coif99"}, "wavelet_name must be a discrete wavelet by PyWavelets' name"),
        ({"wavelet_name": "gaus1"}, "wavelet_name must be a discrete wavelet"),
        ({"boundary": "wrap"}, "boundary must be one of mirror, nearest, zero, periodic, got 'wrap'"),
        ({"definitions": "IBSI"}, "definitions must be one of pyradiomics, ibsi, got 'IBSI'"),
        ({"original": False, "log_sigma_mm": (), "wavelet": False, "classes": ("glcm",)}, "nothing is measured"),
        ({"definitions": "ibsi", "lbp_2d": True}, "lbp_2d has no IBSI definition: leave it out"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(change, told):
    with pytest.raises(ValueError, match=told):
        ExtractionSettings(**{"name": "test", **change})


def test_every_fault_of_the_settings_is_told_at_once():
    with pytest.raises(ValueError, match=r"settings test: .*spacing_mm.*; bin_width.*; minimum_voxels"):
        ExtractionSettings("test", spacing_mm=(1.0,), bin_width=-1.0, minimum_voxels=0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: x\nbin_widht: 25\n", r"settings\.yaml: there is no bin_widht; did you mean bin_width\?"),
        ("bin_width: 25\n", r"settings\.yaml: the settings need a name"),
        ("name: x\nbin_width: wide\n", r"settings\.yaml: .*bin_width must be greater than 0, got 'wide'"),
        ("name: x\nspacing_mm: 1\n", r"settings\.yaml: .*spacing_mm must be three numbers .* got 1\.0"),
        ("- name\n", r"settings\.yaml: expected keys and values"),
        ("name: [x\n", r"settings\.yaml: cannot be read as YAML"),
        ("_target_: radnet.cohort.Cohort\nname: x\n", r"settings\.yaml: _target_ is radnet\.cohort\.Cohort, expected"),
    ],
)
def test_a_file_of_settings_that_cannot_be_used_is_told_by_name(text, told, tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=told):
        read_settings(path)


def test_a_file_of_settings_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.yaml: no such file of extraction settings"):
        read_settings(tmp_path / "none.yaml")


def test_settings_are_found_by_name_or_by_file_and_a_wrong_name_is_told_with_the_nearest(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nbin_width: 10\n")
    assert named_settings("ligero") == read_settings(CONF / "ligero.yaml")
    assert named_settings(str(file)).bin_width == 10
    with pytest.raises(FileNotFoundError, match="there are no settings zhoa, and no such file; did you mean zhao"):
        named_settings("zhoa")
