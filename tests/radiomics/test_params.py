import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import yaml
from scipy.ndimage import gaussian_filter

from radnet.imaging.preprocess import normalize, resample
from radnet.radiomics import reference
from radnet.radiomics.params import settings_of_params
from radnet.radiomics.settings import ExtractionSettings, feature_names, read_settings


def phantom():
    """A textured image and a lumpy lesion of label 1, with one of label 2 in a corner; (Z, Y, X)."""
    rng = np.random.default_rng(5)
    shape = (14, 22, 24)
    texture = gaussian_filter(rng.standard_normal(shape), 1.0)
    places = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
    labels = (sum(place**2 for place in places) + 0.6 * texture < 0.35).astype(np.uint8)
    labels[:2, :2, :2] = 2
    image = sitk.GetImageFromArray((80 + 250 * texture + rng.normal(0, 8, shape)).astype(np.int16))
    mask = sitk.GetImageFromArray(labels)
    for one in (image, mask):
        one.SetSpacing((0.8, 0.9, 2.1))
        one.SetOrigin((-30.5, 12.25, 700.0))
    return image, mask


def stock(path, image, mask) -> dict[str, float]:
    """Features by pyradiomics itself, given the parameter file."""
    extractors = pytest.importorskip("radiomics.featureextractor", reason="compares with pyradiomics itself")
    for name in ("radiomics", "pykwalify"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it divides by zero where a matrix is empty; its schema reader is old
        found = extractors.RadiomicsFeatureExtractor(str(path)).execute(image, mask)
    return {name: float(value) for name, value in found.items() if not name.startswith("diagnostics")}


PRE_CROP = "setting: {preCrop: true}\n"
FILES = {
    "defaults": "setting: {}\n",
    "CT": """
imageType:
  Original: {}
  LoG: {sigma: [1.0, 2.5]}
  Wavelet: {}
setting:
  binWidth: 10
  resampledPixelSpacing: [1.2, 1.0, 2]
  interpolator: sitkBSpline
  label: 1
  additionalInfo: false
  geometryTolerance: 0.001
  correctMask: true
""",
    "MRI without resampling": """
# as the example for MRI that comes with pyradiomics
imageType:
  Original: {}
  LoG: {sigma: [2.0]}
setting:
  normalize: true
  normalizeScale: 100
  removeOutliers: 1.5
  preCrop: true
  minimumROISize: 50
  minimumROIDimensions: 2
  binWidth: 5
  voxelArrayShift: 300
""",
    "slices": """
featureClass: {shape: , firstorder: [], glcm: null, glrlm: , glszm: , gldm: , ngtdm: }
imageType: {Wavelet: {wavelet: db2, binWidth: 20}, Original: {binWidth: 20}}
setting:
  force2D: true
  force2Ddimension: 0
  resampledPixelSpacing: [1, 1, 0]
  interpolator: sitkLinear
  padDistance: 5
  binWidth: 20
""",
    "texture": """
featureClass: {glcm: , ngtdm: , gldm: [], glrlm: []}
imageType: {Square: {}, Gradient: {gradientUseSpacing: true}, Logarithm: {}, Original: {distances: [1, 2]}}
setting:
  distances: [1, 2]
  symmetricalGLCM: false
  weightingNorm: euclidean
  gldm_a: 1
  binCount: 16
  binWidth: 7
  resampledPixelSpacing: [0, 0, 0]
""",
    "range": """
setting: {resegmentRange: [150, 20], resegmentShape: true, binWidth: 12.5, padDistance: 9, preCrop: true}
""",
    "SDs and a filter alone": """
imageType: {LoG: {}}
featureClass: {firstorder: , shape: }
setting:
  sigma: [1.5]
  resegmentRange: [-1.5, 2]
  resegmentMode: sigma
  interpolator: null
  resampledPixelSpacing: [3, 3, 3]
  preCrop: true
  removeOutliers: 3
""",
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_parameter_file_of_pyradiomics_gives_its_names_and_its_values(name, tmp_path):
    pytest.importorskip("radiomics.featureextractor", reason="compares with pyradiomics itself")
    image, mask = phantom()
    path = tmp_path / "Params.yaml"
    path.write_text(FILES[name])

    settings = read_settings(path)
    scale, outliers_sd = settings.normalize_scale, settings.remove_outliers
    prepared = normalize(image, scale, outliers_sd) if settings.normalize else image
    grid = resample(prepared, mask, 1, settings.spacing_mm, interpolator=settings.interpolator)
    found = reference.features(*grid, settings)

    wanted = stock(path, image, mask)
    assert sorted(feature_names(settings)) == sorted(wanted)
    # Equal voxels give equal features; 1e-9 leaves room for moments of voxels that a cut spline moves by 1e-13.
    np.testing.assert_allclose([found[one] for one in wanted], list(wanted.values()), rtol=1e-9, atol=1e-12)


def test_the_settings_bear_the_name_of_the_file_and_the_defaults_of_pyradiomics(tmp_path):
    path = tmp_path / "Params_breast.yaml"
    path.write_text("imageType: {Original: {}}\n")
    assert read_settings(path) == ExtractionSettings(
        "Params_breast", spacing_mm=(0, 0, 0), bin_width=25, log_sigma_mm=(), wavelet=False
    )


def test_spacing_is_turned_around_and_outliers_are_kept_with_normalisation(tmp_path):
    path = tmp_path / "Params.yaml"
    path.write_text(
        "setting: {resampledPixelSpacing: [1, 2, 3], normalize: true, removeOutliers: 3, minimumROISize: 49}\n"
    )
    settings = read_settings(path)
    assert settings.spacing_mm == (3.0, 2.0, 1.0)
    assert (settings.normalize, settings.normalize_scale, settings.remove_outliers) == (True, 1.0, 3.0)
    assert settings.minimum_voxels == 50


def test_every_image_type_has_its_place(tmp_path):
    path = tmp_path / "Params.yaml"
    path.write_text(
        "imageType: {Exponential: {}, SquareRoot: {}, LBP3D: {}, LBP2D: {lbp2DSamples: 8}}\nsetting: {preCrop: true}\n"
    )
    settings = read_settings(path)
    assert settings.pointwise == ("exponential", "squareroot")
    assert (settings.original, settings.gradient, settings.lbp_2d, settings.lbp_3d) == (False, False, True, True)


def test_a_filter_reads_its_own_keys_alone(tmp_path):
    path = tmp_path / "Params.yaml"
    path.write_text(
        "imageType: {Wavelet: {wavelet: db2}, LoG: {sigma: [1.0], wavelet: coif1}, Original: {level: 1}}\n" + PRE_CROP
    )
    assert read_settings(path).wavelet_name == "db2"


def test_a_list_of_all_features_of_a_class_is_the_class(tmp_path):
    path = tmp_path / "Params.yaml"
    path.write_text("featureClass: {ngtdm: [Strength, Contrast, Complexity, Coarseness, Busyness]}\n")
    assert read_settings(path).classes == ("ngtdm",)


def test_a_whole_sigma_is_named_as_a_number_of_mm_whereas_pyradiomics_names_it_as_written(tmp_path):
    path = tmp_path / "Params.yaml"
    path.write_text("imageType: {LoG: {sigma: [2]}}\nfeatureClass: {ngtdm: }\nsetting: {preCrop: true}\n")
    names = feature_names(read_settings(path))
    assert "log-sigma-2-0-mm-3D_ngtdm_Strength" in names
    assert [name.replace("-2-0-mm", "-2-mm") for name in names] == list(stock(path, *phantom()))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("setting: {binWidht: 5}", r"setting: pyradiomics 3\.0\.1 has no binWidht; did you mean binWidth\?"),
        ("setting: {enableCExtensions: true}", r"pyradiomics 3\.0\.1 has no enableCExtensions"),
        ("settings: {binWidth: 5}\nimageType: {}", r"has no section settings; did you mean setting\?"),
        ("name: x\nimageType: {}", "a parameter file of pyradiomics has no section name"),
        ("setting: ", "setting must hold keys and values, got None"),
        ("setting: {binWidth: 0}", "setting binWidth must be a number greater than 0, got 0"),
        ("setting: {binWidth: wide}", "setting binWidth must be a number greater than 0, got 'wide'"),
        ("setting: {binWidth: null}", "setting binWidth must be a number greater than 0, got None"),
        ("setting: {binCount: 3.5}", "setting binCount must be a whole number of 1 or more, or null, got 3.5"),
        ("setting: {normalize: 1}", "setting normalize must be true or false, got 1"),
        ("setting: {resampledPixelSpacing: [1, 1]}", r"resampledPixelSpacing must be a list of 3, each a number"),
        ("setting: {resampledPixelSpacing: []}", "setting resampledPixelSpacing must be a list of 3"),
        ("setting: {interpolator: sitkGaussian}", "setting interpolator must be one of sitkBSpline, .*'sitkGaussian'"),
        ("setting: {interpolator: 3}", "setting interpolator must be one of sitkBSpline, .*got 3"),
        ("setting: {distances: []}", "setting distances must be a list of 1 or more, each a whole number"),
        ("setting: {distances: [1, 1]}", "distances names the same twice"),
        ("setting: {force2Ddimension: 3}", "force_2d_axis must be 0"),
        ("setting: {resegmentRange: [1, 2, 3]}", "setting resegmentRange must be a list of 1 or 2"),
        ("setting: {resegmentMode: sd}", "setting resegmentMode must be one of absolute, relative, sigma"),
        ("setting: {weightingNorm: l2}", "setting weightingNorm must be one of manhattan, .* or null, got 'l2'"),
        ("setting: {voxelArrayShift: 0.5}", "setting voxelArrayShift must be a whole number, got 0.5"),
        ("setting: {label: 2}", r"label must be 1, got 2: the column label of lesions\.csv says"),
        ("setting: {label_channel: 1}", "label_channel must be 0, got 1: radnet reads masks of one value per voxel"),
        ("setting: {minimumROIDimensions: 3}", "minimumROIDimensions must be 2, got 3: radnet measures what extends"),
        ("voxelSetting: {kernelRadius: 2}", "voxelSetting: radnet measures lesions, and makes no map"),
        ("imageType: ", "imageType must hold keys and values, got None"),
        ("imageType: {Original: }", "imageType Original must hold keys and values, such as {}, got None"),
        ("imageType: {Wavelets: {}}\n" + PRE_CROP, r"has no Wavelets; did you mean Wavelet\?"),
        ("imageType: {LoG: {}}\n" + PRE_CROP, "imageType LoG has no sigma, without which pyradiomics measures nothing"),
        ("imageType: {LoG: {sigma: [-1.0]}}\n" + PRE_CROP, "imageType LoG sigma must be a list of 1 or more"),
        ("imageType: {LoG: {sigma: [1.0]}}", r"pyradiomics filters the whole image, .* set preCrop: true"),
        ("imageType: {Square: {}}", r"pyradiomics filters the whole image, .* set preCrop: true"),
        (
            "imageType: {Square: {}}\nsetting: {preCrop: true, padDistance: 10}",
            "padDistance must be 5, got 10: radnet keeps 5 voxels around",
        ),
        (
            "imageType: {Original: {}, Wavelet: {binWidth: 10}}\n" + PRE_CROP,
            "imageType Wavelet binWidth is 10, and 25 for the other images: radnet measures all images alike",
        ),
        ("imageType: {Wavelet: {level: 2}}\n" + PRE_CROP, "level must be 1, got 2: radnet measures one level"),
        ("imageType: {Wavelet: {start_level: 1}}\n" + PRE_CROP, "start_level must be 0, got 1"),
        ("imageType: {Wavelet: {wavelet: gaus1}}\n" + PRE_CROP, "imageType Wavelet wavelet must be a discrete wavelet"),
        (
            "imageType: {Gradient: {}}\nsetting: {preCrop: true, gradientUseSpacing: false}",
            "gradientUseSpacing must be True, got False: radnet takes gradients per mm",
        ),
        ("imageType: {LBP2D: {lbp2DSamples: 9}}\n" + PRE_CROP, "lbp2DSamples must be 8, got 9"),
        ("imageType: {LBP2D: {lbp2DRadius: 2.0}}\n" + PRE_CROP, "lbp2DRadius must be 1, got 2.0"),
        ("imageType: {LBP2D: {lbp2DMethod: ror}}\n" + PRE_CROP, "lbp2DMethod must be 'uniform', got 'ror'"),
        ("imageType: {LBP3D: {lbp3DLevels: 3}}\n" + PRE_CROP, "lbp3DLevels must be 2, got 3"),
        ("imageType: {LBP3D: {lbp3DIcosphereRadius: 2}}\n" + PRE_CROP, "lbp3DIcosphereRadius must be 1, got 2"),
        ("imageType: {LBP3D: {lbp3DIcosphereSubdivision: 2}}\n" + PRE_CROP, "IcosphereSubdivision must be 1, got 2"),
        ("featureClass: {firstorder: [Mean, Median]}", "firstorder: radnet measures all features of a class"),
        ("featureClass: {firstorder: Mean}", "firstorder: radnet measures all features of a class"),
        ("featureClass: {shape2D: }", "featureClass shape2D: radnet measures the shape of volumes alone"),
        ("featureClass: {glcms: }", r"featureClass: pyradiomics 3\.0\.1 has no glcms; did you mean glcm\?"),
        ("featureClass: ", "featureClass must hold keys and values, got None"),
        ("setting: {force2D: true}", "pyradiomics with force2D measures shape2D too, which radnet has not: list the"),
    ],
)  # fmt: skip
def test_what_radnet_cannot_measure_alike_is_refused_by_name(text, told, tmp_path):
    path = tmp_path / "Params.yaml"
    path.write_text(text + "\n")
    with pytest.raises(ValueError, match=r"Params\.yaml: .*" + told):
        read_settings(path)


def test_every_fault_of_a_parameter_file_is_told_at_once(tmp_path):
    path = tmp_path / "Params.yaml"
    path.write_text(
        "imageType: {LoG: {}, Wavelet: {level: 2}, Sharp: {}}\nfeatureClass: {firstorder: [Mean], shape2D: }\n"
        "setting: {binWidth: -1, label: 4, padDistance: 8, preCrop: true}\nvoxelSetting: {kernelRadius: 1}\n"
    )
    with pytest.raises(ValueError, match="kernelRadius|voxelSetting") as caught:
        read_settings(path)
    for named in ("voxelSetting", "binWidth", "LoG", "level", "Sharp", "firstorder", "shape2D", "label", "padDistance"):
        assert named in str(caught.value)


def test_every_key_of_the_schema_of_pyradiomics_is_known():
    pytest.importorskip("radiomics.schemas", reason="the schema is pyradiomics' own")
    from radiomics import getParameterValidationFiles

    schema, _ = getParameterValidationFiles()
    keys = yaml.safe_load(Path(schema).read_text())["mapping"]["setting"]["mapping"]

    for key in keys:
        with pytest.raises(ValueError, match=f"setting {key} must be"):
            settings_of_params({"setting": {key: object()}})
    assert len(keys) == 37
