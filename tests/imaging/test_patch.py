import numpy as np
import pytest

from radnet.imaging.patch import lesion_patch, patch_start


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
