"""One level of the undecimated wavelet transform at a lesion's voxels, equal to PyWavelets to the last bit."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import product

import numpy as np
import pywt
from numpy.typing import NDArray

from radnet.kernels import kernel
from radnet.radiomics.engine.region import Region


def wavelet_bands(image: NDArray, region: Region, wavelet: str) -> Iterator[tuple[str, NDArray]]:
    """Yield the eight bands of one level of the undecimated wavelet transform at a region's voxels.

    The image goes on periodically; an axis with an odd number of voxels is first made even by its own first plane.

    IBSI: separable wavelet (25BO), with its rule for the border aside; pyradiomics: ``wavelet-LLH`` and the like.

    Args:
        image: The whole grid, shape (Z, Y, X).
        region: Where values are wanted, in the grid.
        wavelet: PyWavelets' name.

    Yields:
        Letters of the filters along X, Y and Z, from LLH to HHH and then LLL; and values, shape (V,), float32 for a
        float32 image and float64 for others.
    """
    kind = np.float32 if image.dtype == np.float32 else np.float64
    filters = _filters(wavelet, kind)
    length = filters.shape[1]
    if length > min(image.shape):  # the image is wrapped more than once
        yield from _by_pywavelets(image, region, wavelet, axes=(2, 1, 0))
        return
    sides = [_side(size, part, length) for size, part in zip(image.shape, region.box, strict=True)]
    reach = np.ascontiguousarray(image[np.ix_(*(voxels for voxels, _ in sides))], dtype=kind)
    orders = [order for _, order in sides]
    bands = _bands(reach, filters, orders[0], orders[1], orders[2], region.rows, region.voxels)
    for index in (*range(1, 8), 0):
        yield "".join("LH"[index >> bit & 1] for bit in (2, 1, 0)), bands[index]


def wavelet_bands_of_slices(image: NDArray, region: Region, wavelet: str, across: int) -> Iterator[tuple[str, NDArray]]:
    """Yield the four bands of the transform within slices at a region's voxels; see ``wavelet_bands``.

    Args:
        image: The whole grid, shape (Z, Y, X).
        region: Where values are wanted, in the grid.
        wavelet: PyWavelets' name.
        across: Axis that is left alone, 0 for Z, 1 for Y, 2 for X.

    Yields:
        Letters of the filters along the other two axes, X before Y before Z, from LH to HH and then LL; and values.
    """
    yield from _by_pywavelets(image, region, wavelet, tuple(axis for axis in (2, 1, 0) if axis != across))


def _by_pywavelets(
    image: NDArray, region: Region, wavelet: str, axes: tuple[int, ...]
) -> Iterator[tuple[str, NDArray]]:
    even = np.pad(image, [(0, size % 2) for size in image.shape], mode="wrap")
    (bands,) = pywt.swtn(even, wavelet, level=1, axes=axes)
    keys = ["".join(letters) for letters in product("ad", repeat=len(axes))]
    for key in keys[1:] + keys[:1]:
        yield key.replace("a", "L").replace("d", "H"), bands[key][region.box][region.inside]


@lru_cache(maxsize=8)
def _filters(wavelet: str, kind: type) -> NDArray:
    """Return the low and the high pass, shape (2, F), as PyWavelets applies them: in float32 it has its own digits."""
    length = len(pywt.Wavelet(wavelet).dec_lo)
    impulse: NDArray = np.zeros(2 * length, dtype=kind)
    impulse[length] = 1
    ((low, high),) = pywt.swt(impulse, wavelet, level=1)
    first = length - length // 2
    return np.ascontiguousarray([low[first : first + length], high[first : first + length]])


def _side(size: int, part: slice, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which voxels of an axis a side of the box is filtered from, and in which order each output adds them.

    PyWavelets adds them from the last to the first, but at the end of the axis those that wrap around first to last.
    """
    even = size + size % 2
    voxels = np.arange(part.start - (length - 1 - length // 2), part.stop + length // 2) % even
    voxels[voxels == size] = 0
    order = np.tile(np.arange(length), (part.stop - part.start, 1))
    for output in range(max(part.start, even - length // 2), part.stop):
        wrapped = output + length // 2 - even + 1
        order[output - part.start, :wrapped] = np.arange(wrapped)[::-1]
    return voxels, order


@kernel
def _bands(
    reach: NDArray,
    filters: NDArray,
    order_z: NDArray[np.int64],
    order_y: NDArray[np.int64],
    order_x: NDArray[np.int64],
    rows: NDArray[np.int64],
    voxels: int,
) -> NDArray:
    """Return the bands LLL, LLH, … HHH, shape (8, V), of the box's surroundings, shape (Z + F - 1, …).

    Slices are filtered along X and Y as they come, and along Z on lesion rows alone, as soon as F slices are there.
    """
    length = filters.shape[1]
    height, width = order_y.shape[0], order_x.shape[0]
    along_x = np.empty((2, reach.shape[1], width), dtype=reach.dtype)
    slices = np.empty((length, 4, height, width), dtype=reach.dtype)
    bands = np.zeros((8, voxels), dtype=reach.dtype)
    row = voxel = 0
    for z in range(reach.shape[0]):
        along_x[:] = 0
        for y in range(reach.shape[1]):
            _filter_row(along_x[0, y], along_x[1, y], reach[z, y], filters, order_x)
        one = slices[z % length]
        one[:] = 0
        for y in range(height):
            for tap in order_y[y]:
                source = y + length - 1 - tap
                for x in range(2):
                    _add(one[2 * x, y], one[2 * x + 1, y], along_x[x, source], filters[0, tap], filters[1, tap])
        lesion_z = z - length + 1
        while row < rows.shape[0] and rows[row, 0] == lesion_z:
            y, first, last = rows[row, 1], rows[row, 2], rows[row, 3]
            after = voxel + last - first
            for tap in order_z[lesion_z]:
                source = (z - tap) % length
                for band in range(4):
                    low, high = bands[2 * band, voxel:after], bands[2 * band + 1, voxel:after]
                    _add(low, high, slices[source, band, y, first:last], filters[0, tap], filters[1, tap])
            voxel = after
            row += 1
    return bands


@kernel
def _filter_row(low: NDArray, high: NDArray, source: NDArray, filters: NDArray, order: NDArray[np.int64]) -> None:
    length, width = filters.shape[1], low.size
    for tap in range(length):
        first = length - 1 - tap
        _add(low, high, source[first : first + width], filters[0, tap], filters[1, tap])
    for x in range(width - 1, -1, -1):
        if order[x, 0] == 0:
            return
        low[x] = high[x] = 0
        for tap in order[x]:
            low[x] += filters[0, tap] * source[x + length - 1 - tap]
            high[x] += filters[1, tap] * source[x + length - 1 - tap]


@kernel
def _add(low: NDArray, high: NDArray, source: NDArray, to_low: float, to_high: float) -> None:
    for i in range(source.size):
        low[i] += to_low * source[i]
        high[i] += to_high * source[i]
