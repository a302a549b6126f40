import numpy as np
import pytest

from radnet.imaging.patch import (
    DistanceChannel,
    LesionChannel,
    PatchSettings,
    WindowChannel,
    ZScoreChannel,
    fitted_spacing_mm,
    lesion_patch,
    patch_start,
)


@pytest.mark.parametrize("size", [(4, 4, 4), (5, 8, 3), (20, 20, 20)], ids=["small", "uneven", "beyond the array"])
@pytest.mark.parametrize("seed", range(4))
def test_a_patch_is_the_box_around_the_centre_of_a_widely_padded_array(seed, size):
    rng = np.random.default_rng(seed)
    array = rng.integers(-1000, 1000, (9, 10, 11)).astype(np.int16)
    mask = np.zeros(array.shape, bool)
    low = rng.integers(0, 7, 3)
    mask[low[0] : low[0] + 2, low[1] : low[1] + 3, low[2] : low[2] + 1] = True
    centre = low + np.array([2, 3, 1]) / 2
    start = np.floor(centre - np.array(size) / 2).astype(int) + 30

    patch = lesion_patch(array, mask, size, fill=-1024)

    wide = np.pad(array, 30, constant_values=-1024)
    z, y, x = (slice(one, one + length) for one, length in zip(start, size, strict=True))
    np.testing.assert_array_equal(patch, wide[z, y, x])
    assert patch.dtype == array.dtype


def test_a_patch_is_a_copy():
    array = np.zeros((4, 4, 4))
    lesion_patch(array, np.ones((4, 4, 4), bool), (2, 2, 2), fill=0)[:] = 5
    assert not array.any()


@pytest.mark.parametrize("size", [(4, 4), (0, 4, 4)])
def test_a_size_that_is_no_box_is_refused(size):
    with pytest.raises(ValueError, match="a patch has three sizes of 1 or more"):
        patch_start(np.ones((4, 4, 4), bool), size)


def test_an_array_of_another_shape_than_the_mask_is_refused():
    with pytest.raises(ValueError, match=r"the array \(4, 4, 5\) and the mask \(4, 4, 4\) differ in shape"):
        lesion_patch(np.zeros((4, 4, 5)), np.ones((4, 4, 4), bool), (2, 2, 2), fill=0)


@pytest.mark.parametrize("seed", range(5))
def test_a_lesion_made_to_fit_fits_tightly_on_one_axis_and_keeps_the_proportions_of_the_voxels(seed):
    rng = np.random.default_rng(seed)
    lesion_mm, spacing_mm, size = rng.uniform(60, 120, 3), rng.uniform(0.5, 1.0, 3), rng.integers(16, 64, 3)

    fitted = np.array(fitted_spacing_mm(lesion_mm, size, spacing_mm, margin_mm=3.0))

    room_mm = size * fitted - lesion_mm
    assert room_mm.min() == pytest.approx(6.0)
    np.testing.assert_allclose(fitted / spacing_mm, fitted[0] / spacing_mm[0])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"size_voxels": (0, 8, 8)}, "size_voxels are three numbers of 1 or more"),
        ({"spacing_mm": (0.0, 1.0, 1.0)}, "spacing_mm are three numbers above 0"),
        ({"channels": {}}, "channels names at least one"),
        ({"channels": {"ct": {"low": 0}}}, "channels.ct is dict, expected one of WindowChannel, LesionWindowChannel"),
        ({"larger": "shrink"}, "larger is 'shrink', expected crop or fit"),
        ({"margin_mm": -1.0}, "margin_mm must be 0 or more"),
        ({"dtype": "int8"}, "dtype is 'int8', expected float16 or float32"),
    ],
)
def test_settings_that_cut_no_patch_are_refused(wrong, told):
    right = {"size_voxels": (8, 8, 8), "spacing_mm": (1.0, 1.0, 1.0), "channels": {"lesion": LesionChannel()}}
    with pytest.raises(ValueError, match=told):
        PatchSettings(**right | wrong)


def test_channels_that_hold_nothing_are_refused():
    with pytest.raises(ValueError, match="a window's low must be less than its high, got 240 and -160"):
        WindowChannel(240, -160)
    with pytest.raises(ValueError, match="a distance map is clipped at more than 0 mm, got 0"):
        DistanceChannel(0)


def test_settings_differ_where_a_channel_its_name_or_its_order_differs():
    def fingerprint(**channels):
        return PatchSettings((8, 8, 8), (1, 1, 1), channels).fingerprint()

    a, b = WindowChannel(0, 1), ZScoreChannel(0)
    prints = [fingerprint(a=a, b=b), fingerprint(b=b, a=a), fingerprint(a=a, c=b), fingerprint(a=b, b=a)]
    assert len(set(prints)) == 4
    assert fingerprint(a=a, b=b) == prints[0]


def test_further_images_are_named_once_and_the_first_is_none_of_them():
    channels = {
        name: WindowChannel(0, 1, image) for name, image in zip("abcd", ("PET", None, "CT", "PET"), strict=True)
    }
    assert PatchSettings((8, 8, 8), (1, 1, 1), channels).further("CT") == ["PET"]
