from collections import Counter
from pathlib import Path

import pytest

from radnet.radiomics.settings import ExtractionSettings, feature_names, read_settings

CONF = Path(__file__).parents[2] / "conf" / "radiomics"


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


def test_the_five_images_of_han_give_479_features():
    settings = ExtractionSettings(
        "han", log_sigma_mm=(), wavelet=False, pointwise=("square", "squareroot", "logarithm", "exponential")
    )
    assert len(feature_names(settings)) == 479


def test_the_fingerprint_follows_what_is_measured_and_not_the_name():
    one = ExtractionSettings("one", spacing_mm=[1, 1, 1], bin_width=25)
    assert one.fingerprint() == ExtractionSettings("two", bin_width=25.0).fingerprint()
    assert one.fingerprint() != ExtractionSettings("one", bin_width=10.0).fingerprint()


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
        ({"log_sigma_mm": (1.0, 0.0)}, "log_sigma_mm must be greater than 0"),
        ({"log_sigma_mm": (1, 1.0)}, "log_sigma_mm names the same twice"),
        ({"wavelet": "coif1"}, "wavelet must be true or false, got 'coif1'"),
        ({"pointwise": ("squares",)}, r"pointwise: there is no squares; did you mean square\?"),
        ({"regions": ("lesions",)}, r"regions: there is no lesions; did you mean lesion\?"),
        ({"regions": ()}, "at least one region is needed"),
        ({"ring_inner_mm": 0, "ring_outer_mm": 0}, "not both 0"),
        ({"ring_outer_mm": float("inf")}, "ring_inner_mm and ring_outer_mm must be 0 or more"),
        ({"regions": ("inner",), "ring_inner_mm": 0}, "region inner needs ring_inner_mm greater than 0"),
        ({"ring_exclude_below": float("nan")}, "ring_exclude_below must be a number or null"),
        ({"normalize_scale": 0}, "normalize_scale must be greater than 0"),
        ({"minimum_voxels": 0}, "minimum_voxels must be a whole number of 1 or more"),
        ({"name": ""}, "a name is needed"),
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
        ("name: x\nbin_width: wide\n", r"settings\.yaml: could not convert string to float"),
        ("name: x\nspacing_mm: 1\n", r"settings\.yaml: 'int' object is not iterable"),
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
