"""Grey levels of an image on a lesion."""

import math

import numpy as np
from numpy.typing import NDArray

from radnet.kernels import kernel
from radnet.radiomics.engine.region import GreyLevels, Region, codes_in_box
from radnet.radiomics.settings import ExtractionSettings

_MOST_BINS = 2**24


def grey_levels(values: NDArray, region: Region, settings: ExtractionSettings, *, filtered: bool = False) -> GreyLevels:
    """Return the grey levels of an image on a lesion, in bins of ``bin_width`` or as many as ``bin_count``.

    pyradiomics: bins hold their lower edge and not their upper. Those of a width begin at the greatest multiple of it
    not above the least value; those of a count divide the range of values, and the greatest value falls in the last.
    The edges are those of ``radiomics.imageoperations.getBinEdges`` to the last bit, but for one mended fault: whole
    numbers are widened first, where pyradiomics 3.0.1 with a whole bin width lets the last edges of 8 and 16 bit
    images wrap round, and so loses their brightest levels.

    IBSI: a width (FBS, Q3RU) counts from the lower end of an absolute ``resegment_range``, or without one from the
    least value; a count N (FBN, K15C) gives floor(N (x - least) / (greatest - least)) + 1, and N for the greatest
    value. A lesion of one value only is of level 1.

    Args:
        values: Of the image on the lesion's voxels, shape (V,), in the image's own type: edges follow it.
        region: The lesion.
        settings: Whence ``bin_width``, ``bin_count``, ``definitions``, ``resegment_range`` and ``resegment_mode``.
        filtered: Whether the image is a filtered one, of whose values ``resegment_range`` does not speak.

    Raises:
        ValueError: If there is not one value for each voxel, if a value is infinite or NaN, if one lies below the first
            bin, or if ``bin_width`` is too narrow for the values.
    """
    if values.shape != (region.voxels,):
        raise ValueError(f"one value is needed for each of {region.voxels} voxels, got an array of {values.shape}")
    low, high = values.min(), values.max()
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"grey levels need numbers, but the image goes from {low} to {high} on the lesion")
    if values.dtype.kind in "biu":
        low, high = int(low), int(high)
    wide = np.ascontiguousarray(values, dtype=np.float64)
    if settings.definitions == "ibsi":
        level = _ibsi_levels(wide, float(low), float(high), settings, filtered)
        counts = np.bincount(level)
    else:
        edges = _edges(low, high, settings)
        per_bin = 1 / (edges[1] - edges[0])
        level, counts = _digitised(wide, edges, per_bin)
    levels = np.flatnonzero(counts)
    _replace(level, np.cumsum(counts > 0, dtype=np.int32))
    return GreyLevels(codes_in_box(region, level), levels, counts[levels])


def _edges(low: np.floating | int, high: np.floating | int, settings: ExtractionSettings) -> NDArray[np.float64]:
    if settings.bin_count is not None:
        edges = np.histogram_bin_edges(np.array([low, high]), settings.bin_count)
        edges[-1] += 1
        return edges.astype(np.float64)
    assert settings.bin_width is not None
    _refuse_too_narrow(float(low), float(high), settings.bin_width)
    # The very call of pyradiomics: arange rounds each edge in its own way.
    edges = np.arange(low - low % settings.bin_width, high + 2 * settings.bin_width, settings.bin_width)
    if len(edges) < 2 or not edges[1] > edges[0]:
        raise ValueError(
            f"bin_width {settings.bin_width} is too narrow for values from {low} to {high} in {type(low).__name__}, "
            "whose numbers there lie further apart: choose a greater one"
        )
    return edges.astype(np.float64)


def _refuse_too_narrow(low: float, high: float, bin_width: float) -> None:
    narrowest = max((high - low) / _MOST_BINS, max(abs(low), abs(high)) * 2**-50)
    if bin_width < narrowest:
        raise ValueError(
            f"bin_width {bin_width} is too narrow for values from {low} to {high}: it must be at least {narrowest:.3g}"
        )


@kernel
def _digitised(
    values: NDArray[np.float64], edges: NDArray[np.float64], per_bin: float
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the level of each value, 1 for the first bin, and how many values have each level."""
    level = np.empty(values.size, dtype=np.int32)
    counts = np.zeros(edges.size + 1, dtype=np.int64)
    first, last = edges[0], edges.size - 1
    for voxel in range(values.size):
        value = values[voxel]
        at = min(max(int((value - first) * per_bin), 0), last)
        while at < last and value >= edges[at + 1]:
            at += 1
        while at > 0 and value < edges[at]:
            at -= 1
        level[voxel] = at + 1
        counts[at + 1] += 1
    return level, counts


@kernel
def _replace(level: NDArray[np.int32], code_of_level: NDArray[np.int32]) -> None:
    for voxel in range(level.size):
        level[voxel] = code_of_level[level[voxel]]


def _ibsi_levels(
    values: NDArray[np.float64], low: float, high: float, settings: ExtractionSettings, filtered: bool
) -> NDArray[np.int32]:
    if settings.bin_count is not None:
        if low == high:
            return np.ones(values.size, dtype=np.int32)
        parts = np.floor(settings.bin_count * (values - low) / (high - low)).astype(np.int32)
        return np.minimum(parts + 1, settings.bin_count, dtype=np.int32)
    assert settings.bin_width is not None
    first = low
    if settings.resegment_range and settings.resegment_mode == "absolute" and not filtered:
        first = settings.resegment_range[0]
        if low < first:
            raise ValueError(f"bins start at resegment_range {first}, but the lesion holds {low}: resegment it first")
    _refuse_too_narrow(first, high, settings.bin_width)
    return np.floor((values - first) / settings.bin_width).astype(np.int32) + np.int32(1)
