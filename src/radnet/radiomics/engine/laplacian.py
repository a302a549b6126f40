"""The Laplacian of Gaussian of an image at a lesion's voxels, equal to ITK's recursive filter to the last bit."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from radnet.kernels import kernel
from radnet.radiomics.engine.region import Region

_LANES = 64  # lines filtered side by side: enough to hide the latency of the recursion, few enough for the cache
_REACH = 4  # voxels the recursion looks back

# Deriche's fourth order fit to a Gaussian and its second derivative, as ITK's RecursiveGaussianImageFilter holds it.
_FREQUENCIES = (0.6681, 2.0787)
_DECAYS = (-1.3932, -1.3732)
_GAUSSIAN = (1.3530, 1.8151, -0.3531, 0.0902)
_SECOND_DERIVATIVE = (-1.3563, 5.2318, 0.3446, -2.2355)


def laplacian_of_gaussian(image: NDArray, region: Region, sigma_mm: float) -> NDArray[np.float32]:
    """Return the Laplacian of Gaussian, normalised across scale, at a region's voxels.

    For each axis the second derivative is taken along it and the other two are smoothed; the three are summed. Every
    pass is stored in single precision, as ITK does, so that values fall in the same grey levels.

    pyradiomics: ``log-sigma-…-mm-3D``; the IBSI's filter of the same name (L6PA) is a sampled kernel, not this one.

    Args:
        image: The whole grid, shape (Z, Y, X); beyond its border the last voxel goes on for ever.
        region: Where values are wanted, in the grid.
        sigma_mm: Width of the Gaussian.

    Returns:
        Values at the region's voxels, shape (V,), in the unit of the image.

    Raises:
        ValueError: If the grid has too few voxels along an axis for this width.

    References:
        Deriche. Recursively implementing the Gaussian and its derivatives. INRIA research report 1893, 1993.
    """
    needed = [max(_REACH, math.ceil(sigma_mm / step) + 1) for step in region.spacing_mm]
    if any(size < least for size, least in zip(image.shape, needed, strict=True)):
        raise ValueError(
            f"the grid of {image.shape} voxels is too small for the Laplacian of Gaussian of {sigma_mm:g} mm, which "
            f"needs {tuple(needed)}"
        )
    # The smaller of two types that holds every value, and writable: the first pass is compiled for these two only.
    exact = np.float32 if np.can_cast(image.dtype, np.float32) else np.float64
    image = np.require(image, dtype=exact, requirements=["C", "W"])
    smooth = [_smoothing_terms(sigma_mm, step) for step in region.spacing_mm]
    curve = [_curvature_terms(sigma_mm, step) for step in region.spacing_mm]
    along_x = _filter(_filter(image, region, 2, curve[2]), region, 1, smooth[1])
    along_y = _filter(_filter(image, region, 1, curve[1]), region, 2, smooth[2])
    along_z = _filter(_filter(image, region, 0, curve[0]), region, 2, smooth[2])
    along_x = _filter(along_x, region, 0, smooth[0], last=True)
    along_y = _filter(along_y, region, 0, smooth[0], last=True)
    along_z = _filter(along_z, region, 1, smooth[1], last=True)
    weights = np.array([1.0 / (step * step) for step in region.spacing_mm])
    return _sum_at_voxels(along_x, along_y, along_z, weights, region.rows, region.voxels)


def _filter(
    image: NDArray, region: Region, axis: int, terms: NDArray[np.float64], last: bool = False
) -> NDArray[np.float32]:
    """Filter along an axis, and keep of it the region's side of the box; the last pass needs lesion lines only."""
    side = region.box[axis]
    kept = (*image.shape[:axis], side.stop - side.start, *image.shape[axis + 1 :])
    if axis == 2:
        return _along_rows(image.reshape(-1, image.shape[2]), side.start, side.stop, terms).reshape(kept)
    before, after = math.prod(image.shape[:axis]), math.prod(image.shape[axis + 1 :])
    wanted = region.inside.any(axis) if last else np.ones((before, after), dtype=np.bool_)
    planes = image.reshape(before, image.shape[axis], after)
    return _across_rows(planes, side.start, side.stop, terms, wanted.reshape(before, after)).reshape(kept)


def _smoothing_terms(sigma_mm: float, step_mm: float) -> NDArray[np.float64]:
    width = sigma_mm / step_mm
    numerator, denominator = _numerator(width, _GAUSSIAN), _denominator(width)
    area = 2.0 * _moments(numerator)[0] / _moments((1.0, *denominator))[0] - numerator[0]
    return _terms([one * (1.0 / area) for one in numerator], denominator)


def _curvature_terms(sigma_mm: float, step_mm: float) -> NDArray[np.float64]:
    """Return the second derivative's terms: no response to a constant, and 2 σ² to the square of the voxel's index."""
    width = sigma_mm / step_mm
    denominator = _denominator(width)
    gaussian, curve = _numerator(width, _GAUSSIAN), _numerator(width, _SECOND_DERIVATIVE)
    sd, dd, ed = _moments((1.0, *denominator))
    flat, bent = _moments(gaussian), _moments(curve)
    beta = -(2 * bent[0] - sd * curve[0]) / (2 * flat[0] - sd * gaussian[0])
    numerator = [one + beta * other for one, other in zip(curve, gaussian, strict=True)]
    sn, dn, en = (one + beta * other for one, other in zip(bent, flat, strict=True))
    alpha = (en * sd * sd - ed * sn * sd - 2 * dn * dd * sd + 2 * dd * dd * sn) / (sd * sd * sd)
    return _terms([one * (sigma_mm * sigma_mm / alpha) for one in numerator], denominator)


def _numerator(width: float, fit: tuple[float, float, float, float]) -> list[float]:
    a1, b1, a2, b2 = fit
    (sin1, cos1, exp1), (sin2, cos2, exp2) = _waves(width)
    return [
        a1 + a2,
        exp2 * (b2 * sin2 - (a2 + 2 * a1) * cos2) + exp1 * (b1 * sin1 - (a1 + 2 * a2) * cos1),
        ((a1 + a2) * cos2 * cos1 - (b1 * cos2 * sin1 + b2 * cos1 * sin2)) * (2 * exp1 * exp2)
        + (a2 * exp1 * exp1 + a1 * exp2 * exp2),
        exp2 * exp1 * exp1 * (b2 * sin2 - a2 * cos2) + exp1 * exp2 * exp2 * (b1 * sin1 - a1 * cos1),
    ]


def _denominator(width: float) -> list[float]:
    (_, cos1, exp1), (_, cos2, exp2) = _waves(width)
    return [
        -2 * (exp2 * cos2 + exp1 * cos1),
        4 * cos2 * cos1 * exp1 * exp2 + (exp1 * exp1 + exp2 * exp2),
        -2 * cos1 * exp1 * exp2 * exp2 + -2 * cos2 * exp2 * exp1 * exp1,
        exp1 * exp1 * exp2 * exp2,
    ]


def _waves(width: float) -> list[tuple[float, float, float]]:
    return [
        (math.sin(frequency / width), math.cos(frequency / width), math.exp(decay / width))
        for frequency, decay in zip(_FREQUENCIES, _DECAYS, strict=True)
    ]


def _moments(terms: Sequence[float]) -> tuple[float, float, float]:
    """Return the sum of terms, and of terms times their index and its square, added in their order."""
    zeroth = first = second = 0.0
    for index, term in enumerate(terms):
        zeroth, first, second = zeroth + term, first + index * term, second + index * index * term
    return zeroth, first, second


def _terms(numerator: list[float], denominator: list[float]) -> NDArray[np.float64]:
    """Return what multiplies inputs forward and backward, earlier outputs, and the border for missing outputs of each.

    Shape (5, 4). The backward numerator is that which makes the filter symmetric.
    """
    backward = [numerator[i + 1] - denominator[i] * numerator[0] for i in range(3)] + [-denominator[3] * numerator[0]]
    total = _moments((1.0, *denominator))[0]
    border_forward = [one * _moments(numerator)[0] / total for one in denominator]
    border_backward = [one * _moments(backward)[0] / total for one in denominator]
    return np.array([numerator, backward, denominator, border_forward, border_backward])


@kernel
def _across_rows(
    planes: NDArray, start: int, stop: int, terms: NDArray[np.float64], wanted: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Filter along the middle axis of (A, N, M); keep [start, stop) of it. Lines not wanted (A, M) hold anything."""
    length, width = planes.shape[1], planes.shape[2]
    filtered = np.empty((planes.shape[0], stop - start, width), dtype=np.float32)
    lines, mirrored, forward, backward = _buffers(length)
    runs = np.empty((_LANES, 4), dtype=np.int64)
    at = 0
    while True:
        count, at = _next_runs(wanted, at, runs)
        if count == 0:
            return filtered
        for run in range(count):
            block, first, lane, size = runs[run]
            for k in range(length):
                source = planes[block, k, first : first + size]
                line = lines[k + _REACH, lane : lane + size]
                mirror = mirrored[length - 1 - k + _REACH, lane : lane + size]
                for i in range(size):
                    line[i] = source[i]
                    mirror[i] = source[i]
        _recurse(lines, forward, stop, 0, terms[0], terms[2], terms[3])
        _recurse(mirrored, backward, length - start, 1, terms[1], terms[2], terms[4])
        for run in range(count):
            block, first, lane, size = runs[run]
            for k in range(start, stop):
                one = forward[k + _REACH, lane : lane + size]
                other = backward[length - 1 - k + _REACH, lane : lane + size]
                out = filtered[block, k - start, first : first + size]
                for i in range(size):
                    out[i] = np.float32(one[i] + other[i])


@kernel
def _next_runs(wanted: NDArray[np.bool_], at: int, runs: NDArray[np.int64]) -> tuple[int, int]:
    """Fill the lanes with wanted lines from position ``at`` on; list their runs: block, first of it, lane, size.

    Returns:
        Number of runs, and where to go on.
    """
    width = wanted.shape[1]
    count = lane = 0
    while at < wanted.size and lane < _LANES:
        block, first = at // width, at % width
        if not wanted[block, first]:
            at += 1
            continue
        after = first + 1
        while after < width and wanted[block, after] and lane + after - first < _LANES:
            after += 1
        runs[count, 0], runs[count, 1], runs[count, 2], runs[count, 3] = block, first, lane, after - first
        count += 1
        lane += after - first
        at += after - first
    return count, at


@kernel
def _along_rows(rows: NDArray, start: int, stop: int, terms: NDArray[np.float64]) -> NDArray[np.float32]:
    """Filter along the rows of (M, N); keep [start, stop) of them."""
    count, length = rows.shape
    filtered = np.empty((count, stop - start), dtype=np.float32)
    lines, mirrored, forward, backward = _buffers(length)
    for first in range(0, count, _LANES):
        lanes = min(_LANES, count - first)
        block, out = rows[first : first + lanes], filtered[first : first + lanes]
        for k in range(length):
            line, mirror = lines[k + _REACH, :lanes], mirrored[length - 1 - k + _REACH, :lanes]
            for lane in range(lanes):
                line[lane] = block[lane, k]
            for lane in range(lanes):
                mirror[lane] = line[lane]
        _recurse(lines, forward, stop, 0, terms[0], terms[2], terms[3])
        _recurse(mirrored, backward, length - start, 1, terms[1], terms[2], terms[4])
        for k in range(start, stop):
            one, other = forward[k + _REACH, :lanes], backward[length - 1 - k + _REACH, :lanes]
            for lane in range(lanes):
                out[lane, k - start] = np.float32(one[lane] + other[lane])
    return filtered


@kernel
def _buffers(length: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return room for lines, their mirror image and what the recursion makes of each: one row of lanes per voxel."""
    shape = (length + _REACH, _LANES)
    return np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape)


@kernel
def _recurse(
    lines: NDArray[np.float64],
    filtered: NDArray[np.float64],
    stop: int,
    delay: int,
    inputs: NDArray[np.float64],
    outputs: NDArray[np.float64],
    border: NDArray[np.float64],
) -> None:
    """Run a recursion over lanes of lines, for their first ``stop`` voxels; inputs are ``delay`` voxels late.

    Lines begin at row 4 of both buffers. Where an output is missing, the first input stands for it, times ``border``.
    """
    for k in range(_REACH):
        for lane in range(_LANES):
            lines[k, lane] = lines[_REACH, lane]
            filtered[k, lane] = lines[_REACH, lane]
    late = lines.ravel()[(_REACH - 3 - delay) * _LANES :]
    flat = filtered.ravel()
    b1, b2, b3, b4 = border
    d1, d2, d3, d4 = outputs
    _advance(late, flat, 0, 1, inputs, b1, b2, b3, b4)
    _advance(late, flat, 1, 2, inputs, d1, b2, b3, b4)
    _advance(late, flat, 2, 3, inputs, d1, d2, b3, b4)
    _advance(late, flat, 3, 4, inputs, d1, d2, d3, b4)
    _advance(late, flat, 4, stop, inputs, d1, d2, d3, d4)


@kernel
def _advance(
    late: NDArray[np.float64],
    flat: NDArray[np.float64],
    start: int,
    stop: int,
    inputs: NDArray[np.float64],
    d1: float,
    d2: float,
    d3: float,
    d4: float,
) -> None:
    # One loop over flat buffers and unsigned indices a constant apart: what the compiler needs to see that lanes are
    # independent of each other.
    one, two, three, four = np.uint64(_LANES), np.uint64(2 * _LANES), np.uint64(3 * _LANES), np.uint64(4 * _LANES)
    n0, n1, n2, n3 = inputs
    for i in range(np.uint64(start * _LANES), np.uint64(stop * _LANES)):
        flat[i + four] = (late[i + three] * n0 + late[i + two] * n1 + late[i + one] * n2 + late[i] * n3) - (
            flat[i + three] * d1 + flat[i + two] * d2 + flat[i + one] * d3 + flat[i] * d4
        )


@kernel
def _sum_at_voxels(
    along_x: NDArray[np.float32],
    along_y: NDArray[np.float32],
    along_z: NDArray[np.float32],
    weights: NDArray[np.float64],
    rows: NDArray[np.int64],
    voxels: int,
) -> NDArray[np.float32]:
    """Add the three derivatives, each divided by its squared spacing, in ITK's order and single precision."""
    total = np.empty(voxels, dtype=np.float32)
    voxel = 0
    for row in range(rows.shape[0]):
        z, y, first, last = rows[row, 0], rows[row, 1], rows[row, 2], rows[row, 3]
        for x in range(first, last):
            one = np.float32(along_x[z, y, x] * weights[2])
            one = np.float32(one + along_y[z, y, x] * weights[1])
            total[voxel] = np.float32(one + along_z[z, y, x] * weights[0])
            voxel += 1
    return total
