"""IBSI 2's reference maps, which many teams agreed on, and laws the filters obey."""

import numpy as np
import pytest
import pywt
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import uniform_filter

from radnet.radiomics.engine.ibsi_filters import SCIPY_MODES, ibsi_filtered, laplacian_of_gaussian, reach_voxels
from radnet.radiomics.settings import ExtractionSettings

PHANTOM_SPACING_MM = (2.0, 2.0, 2.0)
TOLERANCE = 0.01  # of the reference map's range: IBSI 2's own


@pytest.fixture(scope="module")
def ibsi2(shared):
    def read(path):
        return sitk.GetArrayFromImage(sitk.ReadImage(str(shared / "data" / "ibsi2" / path)))

    def phantom(name):
        return read(f"digital_phantom/nifti/{name}/image/{name}.nii.gz")

    def reference(test):
        return read(f"reference_response_maps/{test}-ValidCRM.nii.gz").astype(np.float64)

    return phantom, reference


def assert_is_map(response, reference):
    np.testing.assert_allclose(response, reference, rtol=0, atol=TOLERANCE * np.ptp(reference))


def settings(**changes):
    plain = {"log_sigma_mm": (), "wavelet": False}
    return ExtractionSettings("filters", **{**plain, **changes})


def textured(shape, seed=0):
    return np.random.default_rng(seed).normal(40.0, 100.0, shape)


def test_the_word_zero_means_the_border_of_ibsi_test_1a1(ibsi2):
    phantom, reference = ibsi2

    mean = uniform_filter(phantom("checkerboard").astype(np.float64), 15, mode=SCIPY_MODES["zero"])

    assert_is_map(mean, reference("1_a_1"))


def test_the_laplacian_of_gaussian_gives_the_map_of_ibsi_test_2b(ibsi2):
    phantom, reference = ibsi2
    asked = settings(log_sigma_mm=(5.0,), boundary="mirror")

    responses = dict(ibsi_filtered(phantom("checkerboard"), PHANTOM_SPACING_MM, asked))

    assert list(responses) == ["log-sigma-5-0-mm-3D"]
    assert_is_map(responses["log-sigma-5-0-mm-3D"], reference("2_b"))


@pytest.mark.parametrize(
    ("test", "name", "wavelet", "boundary", "band"),
    [
        ("5_a_1", "impulse", "db2", "zero", "wavelet-LHL"),
        ("6_a_1", "sphere", "coif1", "periodic", "wavelet-HHL"),
    ],
)
def test_a_wavelet_band_gives_the_map_of_its_ibsi_test(ibsi2, test, name, wavelet, boundary, band):
    phantom, reference = ibsi2
    asked = settings(wavelet=True, wavelet_name=wavelet, boundary=boundary)

    responses = dict(ibsi_filtered(phantom(name), PHANTOM_SPACING_MM, asked))

    assert_is_map(responses[band], reference(test))
    for other in set(responses) - {band}:
        assert np.abs(responses[other] - reference(test)).max() > TOLERANCE * np.ptp(reference(test))


@pytest.mark.parametrize("wavelet", ["coif1", "db2", "haar", "sym4"])
def test_periodic_bands_are_those_of_pywavelets_on_an_even_grid(wavelet):
    image = textured((16, 18, 20))
    wanted = pywt.swtn(np.transpose(image), wavelet, level=1)[0]  # its letters are axes in turn, ours X, Y, Z

    responses = dict(ibsi_filtered(image, (1, 1, 1), settings(wavelet=True, wavelet_name=wavelet, boundary="periodic")))

    assert list(responses) == [f"wavelet-{band}" for band in ["LLH", "LHL", "LHH", "HLL", "HLH", "HHL", "HHH", "LLL"]]
    for letters, band in wanted.items():
        ours = responses["wavelet-" + letters.replace("a", "L").replace("d", "H")]
        np.testing.assert_allclose(ours, np.transpose(band), rtol=0, atol=1e-10)


@pytest.mark.parametrize("across", [0, 1, 2])
def test_bands_within_slices_are_those_of_each_slice_alone(across):
    image = textured((10, 12, 14))
    asked = settings(wavelet=True, force_2d=True, force_2d_axis=across, boundary="periodic")

    responses = dict(ibsi_filtered(image, (1, 1, 1), asked))

    assert list(responses) == ["wavelet-LH", "wavelet-HL", "wavelet-HH", "wavelet-LL"]
    planes = np.moveaxis(image, across, 0)
    low, (horizontal, vertical, diagonal) = pywt.swt2(planes, "coif1", level=1, axes=(1, 2))[0]
    wanted = {"LL": low, "LH": horizontal, "HL": vertical, "HH": diagonal}
    for letters, band in wanted.items():
        ours = np.moveaxis(responses[f"wavelet-{letters}"], across, 0)
        np.testing.assert_allclose(ours, band, rtol=0, atol=1e-10)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.8)], ids=["cubes", "thick slices"])
def test_the_laplacian_of_a_gaussian_blob_is_the_closed_form(spacing_mm):
    sigma_mm, blob_mm = 2.5, 4.0
    axes = [(np.arange(size) - size // 2) * step for size, step in zip((41, 61, 71), spacing_mm, strict=True)]
    square = sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij"))
    variance = blob_mm**2 + sigma_mm**2  # Gaussians convolve to one whose variance is the sum
    smoothed = (blob_mm**2 / variance) ** 1.5 * np.exp(-square / (2 * variance))
    per_mm2 = smoothed * (square / variance**2 - 3 / variance)
    per_voxel2 = per_mm2 * np.prod(spacing_mm) ** (2 / 3)

    response = laplacian_of_gaussian(np.exp(-square / (2 * blob_mm**2)), spacing_mm, sigma_mm, "zero")

    # Sampling at 2.5 voxels is exact to 1e-6; the cut at 4 sigma leaves off 0.1 % of the second derivative.
    np.testing.assert_allclose(response, per_voxel2, rtol=0, atol=2e-3 * np.abs(per_voxel2).max())


def test_a_constant_image_has_no_laplacian():
    response = laplacian_of_gaussian(np.full((12, 14, 16), 1000.0), (1, 1, 1), 1.5, "mirror")
    np.testing.assert_allclose(response, 0, atol=1e-9)


@pytest.mark.parametrize("boundary", ["mirror", "nearest"])
def test_what_lies_beyond_the_reach_changes_nothing(boundary):
    asked = settings(log_sigma_mm=(1.0, 2.0), wavelet=True, boundary=boundary)
    reach = reach_voxels((1.0, 1.0, 1.0), asked)
    image = textured((2 * reach + 5,) * 3)
    inner = image[1:-1, 1:-1, 1:-1]
    middle = reach + 2

    whole = dict(ibsi_filtered(image, (1, 1, 1), asked))

    assert reach == 8  # 4 sigma of 2 voxels
    for name, cut in ibsi_filtered(inner, (1, 1, 1), asked):
        seen = cut[(middle - 1,) * 3]
        assert seen == pytest.approx(whole[name][(middle,) * 3], rel=1e-12, abs=1e-10), name


def test_a_periodic_border_needs_the_whole_image():
    assert reach_voxels((1, 1, 1), settings(log_sigma_mm=(1.0,), boundary="periodic")) is None
