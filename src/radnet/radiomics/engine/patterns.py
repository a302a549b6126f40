"""Local binary patterns at a lesion's voxels: which neighbours are no darker than the voxel they surround."""

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, spline_filter

from radnet.kernels import kernel
from radnet.radiomics.engine.region import Region

_POINTS = 8
_EQUAL = 1e-15  # a relative spread below this is rounding; the bound of scipy.stats.kurtosis
_VOXELS_AT_ONCE = 8192  # each has 42 neighbours on the sphere: 23 MiB in all


def circular_patterns(image: NDArray, region: Region, across: int) -> NDArray:
    """Return the uniform local binary pattern of 8 points on a circle of one voxel about each voxel of a region.

    It is the number of points that are no darker than the voxel, or 9 where light and dark change more than twice on
    the way from the first point to the last. Values between voxels are bilinear; beyond the image there is 0.

    pyradiomics: ``lbp-2D``, after scikit-image's ``local_binary_pattern``; the IBSI has no such filter.

    Args:
        image: The whole grid, shape (Z, Y, X).
        region: Where values are wanted, in the grid.
        across: Axis across the circles: 0 for Z, 1 for Y, 2 for X.

    Returns:
        Patterns, shape (V,), in the image's own type.

    References:
        Ojala et al. Multiresolution gray-scale and rotation invariant texture classification with local binary
        patterns. IEEE TPAMI 24:971, 2002.
    """
    slices = np.require(image.swapaxes(0, across), dtype=np.float64, requirements=["C", "W"])
    voxels = _voxels(region)
    voxels[:, [0, across]] = voxels[:, [across, 0]]
    angles = 2 * np.pi * np.arange(_POINTS) / _POINTS
    # Five digits, as scikit-image rounds them: a point at the same height as its neighbours may be lost otherwise.
    points: NDArray[np.float64] = np.column_stack([-np.sin(angles), np.cos(angles)]).round(5)
    return _circular(slices, voxels, points).astype(image.dtype)


def spherical_patterns(image: NDArray, region: Region) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield local binary patterns on a sphere of one voxel about each voxel of a region, by spherical harmonics.

    The sphere has 42 points, the corners of an icosahedron and the middles of its edges; those no darker than the voxel
    make a pattern. The first two levels of its expansion do not turn with the image; the third image is the excess
    kurtosis of the values themselves. Values between voxels are cubic splines; beyond the image there is 0.

    pyradiomics: ``lbp-3D-m1``, ``-m2`` and ``-k``; the IBSI has no such filter. As in pyradiomics the polar angle and
    the azimuth stand in each other's place, and the harmonics of the second level are not conjugated.

    Args:
        image: The whole grid, shape (Z, Y, X).
        region: Where values are wanted, in the grid.

    Yields:
        ``m1``, ``m2`` and ``k``; and values, shape (V,). The kurtosis of equal values is NaN.

    References:
        Banerjee et al. 3D LBP-based rotationally invariant region description. ACCV Workshops 2012, LNCS 7728:26.
    """
    splines = spline_filter(image, order=3, output=np.float64, mode="constant")
    sphere, voxels = _sphere(), _voxels(region)
    brightness = image[tuple(voxels.T)]
    maps = np.empty((3, len(voxels)))
    for first in range(0, len(voxels), _VOXELS_AT_ONCE):
        part = slice(first, first + _VOXELS_AT_ONCE)
        points = (voxels[part, None, :] + sphere).transpose(2, 0, 1)
        # In the image's own type, so that whole numbers are rounded before they are compared.
        around = map_coordinates(splines, points, output=image.dtype, order=3, mode="constant", prefilter=False)
        maps[:2, part] = _levels(around >= brightness[part, None], sphere)
        maps[2, part] = _excess_kurtosis(around)
    yield from zip(("m1", "m2", "k"), maps, strict=True)


def _voxels(region: Region) -> NDArray[np.int64]:
    """Return Z, Y and X in the grid of each voxel, shape (V, 3)."""
    return np.argwhere(region.inside) + np.array(region.start)


def _sphere() -> NDArray[np.float64]:
    """Return the corners of an icosahedron and the middles of its edges on the unit sphere, shape (42, 3)."""
    golden = (1 + math.sqrt(5)) / 2
    signs = list(product((-1.0, 1.0), repeat=2))
    corners = [np.roll([0.0, one, other * golden], turn) for turn in range(3) for one, other in signs]
    edges = [
        one + other
        for i, one in enumerate(corners)
        for other in corners[:i]
        if math.isclose(float(np.linalg.norm(one - other)), 2.0)
    ]
    points = np.array(corners + edges)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _levels(pattern: NDArray[np.bool_], sphere: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the root of the sum over the sphere of the squared first and second level of patterns (V, 42): (2, V)."""
    first = math.sqrt(len(sphere)) / (4 * math.pi) * pattern.sum(axis=1)
    polar, azimuth = np.arctan2(sphere[:, 1], sphere[:, 0]), np.arccos(sphere[:, 2])
    ring = np.abs(np.sin(polar))
    harmonics = np.column_stack([np.cos(polar), ring * np.cos(azimuth), ring * np.sin(azimuth)])
    expansion = pattern @ (harmonics * [1.0, 1.0, -1.0])  # without the conjugate the sine's square counts negative
    second = 3 / (4 * math.pi) * np.linalg.norm(expansion @ harmonics.T, axis=1)
    return np.array([first, second])


def _excess_kurtosis(values: NDArray) -> NDArray[np.float64]:
    """Return the excess kurtosis along the last axis; NaN where all are equal, as far as can be told."""
    mean = values.mean(axis=1, keepdims=True, dtype=np.float64)
    squares = (values - mean) ** 2
    variance = squares.mean(axis=1)
    flat = variance <= (_EQUAL * mean[:, 0]) ** 2
    return np.where(flat, np.nan, (squares**2).mean(axis=1) / np.where(flat, 1, variance) ** 2 - 3)


@kernel
def _circular(slices: NDArray[np.float64], voxels: NDArray[np.int64], points: NDArray[np.float64]) -> NDArray[np.int64]:
    patterns = np.empty(len(voxels), dtype=np.int64)
    for voxel in range(len(voxels)):
        plane = slices[voxels[voxel, 0]]
        y, x = voxels[voxel, 1], voxels[voxel, 2]
        light = changes = 0
        before = True
        for point in range(len(points)):
            lighter = _bilinear(plane, y + points[point, 0], x + points[point, 1]) - plane[y, x] >= 0
            changes += point > 0 and lighter != before
            light += lighter
            before = lighter
        patterns[voxel] = light if changes <= 2 else len(points) + 1
    return patterns


@kernel
def _bilinear(plane: NDArray[np.float64], y: float, x: float) -> float:
    low_y, low_x, high_y, high_x = math.floor(y), math.floor(x), math.ceil(y), math.ceil(x)
    up, right = y - low_y, x - low_x
    low = (1 - right) * _value(plane, low_y, low_x) + right * _value(plane, low_y, high_x)
    high = (1 - right) * _value(plane, high_y, low_x) + right * _value(plane, high_y, high_x)
    return (1 - up) * low + up * high


@kernel
def _value(plane: NDArray[np.float64], y: int, x: int) -> float:
    if y < 0 or x < 0 or y >= plane.shape[0] or x >= plane.shape[1]:
        return 0.0
    return plane[y, x]
