"""One pass over a lesion's voxels that counts runs, zones, dependences and differences from the neighbours.

Each voxel gets a word of 13 bits that says along which directions its next neighbour has the same level. Where runs
end, what joins a zone, and how many neighbours are alike are all read from such words.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radnet.kernels import kernel
from radnet.radiomics.engine.neighbourhood import dependences_and_tones
from radnet.radiomics.engine.ngtdm import ToneDifferences
from radnet.radiomics.engine.region import MARGIN, GreyLevels, Region
from radnet.radiomics.engine.size_matrix import SizeMatrix
from radnet.radiomics.settings import ExtractionSettings

DIRECTIONS = np.array([(z, y, x) for z in (0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) > (0, 0, 0)])
"""Steps (Z, Y, X) to half of the 26 neighbours; direction d is bit d of a word."""

_ALL = (1 << len(DIRECTIONS)) - 1
_ZONE_SIZES = 64
_WORTH_READING = 24  # voxels outside the lesion, rather than start anew
_LEVEL_BITS = 26  # of an int32 that adds up 27 voxels: the levels' sum below, the voxels' number above
_HIGHEST_LEVEL = (1 << _LEVEL_BITS) // 27 - 1

# numba makes a float of an unsigned and a signed number together, and a test of every index that might be negative
_ONE, _TWO = np.uint64(1), np.uint64(2)
_FIELD = np.uint64(21)  # bits of a run's length so far; three directions fit in one number
_LENGTH = np.uint64((1 << 21) - 1)
_ONE_EACH = np.uint64(1 | 1 << 21 | 1 << 42)


@dataclass(frozen=True, slots=True)
class TextureMatrices:
    """What ``glrlm``, ``glszm``, ``gldm`` and ``ngtdm`` take their features from.

    Attributes:
        runs: Runs of equal level by length in voxels, along each of ``DIRECTIONS``.
        zones: Connected zones of equal level by size in voxels, one direction.
        dependences: Voxels by 1 + how many neighbours are alike, one direction.
        tones: How voxels differ from the mean of their neighbours.
    """

    runs: SizeMatrix
    zones: SizeMatrix
    dependences: SizeMatrix
    tones: ToneDifferences


def sweep(grey: GreyLevels, region: Region, settings: ExtractionSettings) -> TextureMatrices:
    """Count what the four texture classes need of one image.

    Neighbours are the up to 26 voxels of the lesion around a voxel, or the 8 in one plane with ``force_2d``.
    ``distances`` and ``gldm_alpha`` touch dependences and tones alone; other values than (1,) and 0 take a slower way.

    Args:
        grey: Grey levels of the image.
        region: The lesion.
        settings: Of which ``distances``, ``gldm_alpha``, ``force_2d`` and ``force_2d_axis`` are read.
    """
    reach_z, reach_y, reach_x = (not (settings.force_2d and settings.force_2d_axis == axis) for axis in range(3))
    too_high = grey.levels[-1] > _HIGHEST_LEVEL
    levels_to_add = np.zeros_like(grey.levels) if too_high else grey.levels
    height, width = grey.codes.shape[1:]
    stretches = _stretches(region.rows, height, width)
    equal_ahead = _equal_ahead(grey.codes, stretches, _allowed(reach_z, reach_y, reach_x))
    sums = _sums_in_planes(_packed(grey.codes, levels_to_add, region.rows), int(reach_y), int(reach_x))
    longest = max(region.inside.shape)
    steps = DIRECTIONS @ np.array([height * width, width, 1])
    counted = _count(
        grey.codes,
        equal_ahead,
        sums,
        stretches,
        grey.levels,
        grey.counts,
        steps,
        reach_z,
        longest,
        *_words(),
        region.voxels,
    )
    runs, long_runs, zones, large_zones, alike, isolated, differences = counted
    dependences = SizeMatrix(grey.levels, alike[None], np.empty(0, dtype=np.int64), alike.shape[1])
    tones = ToneDifferences(grey.levels, grey.counts, isolated, differences)
    if tuple(settings.distances) != (1,) or settings.gldm_alpha != 0 or too_high:
        dependences, tones = dependences_and_tones(grey, region, settings)
    return TextureMatrices(
        SizeMatrix(grey.levels, runs, np.sort(long_runs), longest),
        SizeMatrix(grey.levels, zones[None], np.sort(large_zones), region.voxels),
        dependences,
        tones,
    )


@functools.cache
def _allowed(*reaches: bool) -> np.uint16:
    """Return the word of the directions that go only along axes (Z, Y, X) that reach to neighbours."""
    return np.uint16(sum(1 << bit for bit, step in enumerate(DIRECTIONS) if not step[~np.array(reaches)].any()))


@functools.cache
def _words() -> tuple[NDArray[np.uint16], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return for each word of 13 bits: fewest neighbours that stand for all, lowest bit, number of bits.

    Neighbours of a voxel that touch each other were joined to one zone before the voxel's turn comes, so one of each
    connected group is enough.
    """
    apart = np.abs(DIRECTIONS[:, None] - DIRECTIONS[None]).max(axis=2)
    touching = ((apart <= 1) << np.arange(len(DIRECTIONS))).sum(axis=1)
    words = np.arange(_ALL + 1)
    left, fewest = words.copy(), np.zeros_like(words)
    while left.any():
        group = left & -left
        fewest |= group
        for _ in DIRECTIONS:
            for bit, touched in enumerate(touching):
                group |= np.where(group >> bit & 1, touched & left, 0)
        left &= ~group
    lowest = np.bitwise_count((words & -words) - 1) % 64
    return fewest.astype(np.uint16), lowest.astype(np.uint8), np.bitwise_count(words).astype(np.uint8)


@kernel
def _stretches(rows: NDArray[np.int64], height: int, width: int) -> NDArray[np.int64]:
    # first voxel and size of what is read in one go, gaps and the ends of lines included: long loops are faster
    stretches = np.empty((rows.shape[0], 2), dtype=np.int64)
    found, last_slice, end = 0, -1, 0
    for row in range(rows.shape[0]):
        first = ((rows[row, 0] + MARGIN) * height + rows[row, 1] + MARGIN) * width + rows[row, 2] + MARGIN
        size = rows[row, 3] - rows[row, 2]
        if rows[row, 0] == last_slice and first - end <= _WORTH_READING:
            stretches[found - 1, 1] += first + size - end
        else:
            stretches[found, 0], stretches[found, 1] = first, size
            found += 1
        last_slice, end = rows[row, 0], first + size
    return stretches[:found]


@kernel
def _equal_ahead(codes: NDArray[np.int32], stretches: NDArray[np.int64], allowed: np.uint16) -> NDArray[np.uint16]:
    # bit d of a voxel's word: the next voxel along direction d has its code; outside the lesion it means nothing
    equal = np.zeros(codes.shape, dtype=np.uint16)
    flat, flat_equal = codes.reshape(-1), equal.reshape(-1)
    height, width = codes.shape[1:]
    slab = height * width
    for stretch in range(stretches.shape[0]):
        first, size = stretches[stretch]
        low, high = first - 1, first + size + 1
        out = flat_equal[first : first + size]
        _compare(
            flat[low:high],
            flat[low + width : high + width],
            flat[low + slab - width : high + slab - width],
            flat[low + slab : high + slab],
            flat[low + slab + width : high + slab + width],
            out,
        )
        if allowed != _ALL:
            for x in range(size):
                out[x] &= allowed
    return equal


# The rows that the next functions are given begin one voxel before the first voxel of ``out``. They stand alone,
# and take few arrays, so that the compiler finds no reason against vector instructions.


@kernel
def _compare(
    here: NDArray[np.int32],
    below: NDArray[np.int32],
    next_above: NDArray[np.int32],
    next_here: NDArray[np.int32],
    next_below: NDArray[np.int32],
    out: NDArray[np.uint16],
) -> None:
    for x in range(np.uint64(out.size)):
        code = here[x + _ONE]
        word = np.uint16(code == here[x + _TWO])
        word |= np.uint16(code == below[x]) << 1
        word |= np.uint16(code == below[x + _ONE]) << 2
        word |= np.uint16(code == below[x + _TWO]) << 3
        word |= np.uint16(code == next_above[x]) << 4
        word |= np.uint16(code == next_above[x + _ONE]) << 5
        word |= np.uint16(code == next_above[x + _TWO]) << 6
        word |= np.uint16(code == next_here[x]) << 7
        word |= np.uint16(code == next_here[x + _ONE]) << 8
        word |= np.uint16(code == next_here[x + _TWO]) << 9
        word |= np.uint16(code == next_below[x]) << 10
        word |= np.uint16(code == next_below[x + _ONE]) << 11
        word |= np.uint16(code == next_below[x + _TWO]) << 12
        out[x] = word


@kernel
def _equal_behind(
    here: NDArray[np.uint16],
    above: NDArray[np.uint16],
    last_above: NDArray[np.uint16],
    last_here: NDArray[np.uint16],
    last_below: NDArray[np.uint16],
    out: NDArray[np.uint16],
) -> None:
    # what each neighbour behind says about the voxel ahead of it
    for x in range(np.uint64(out.size)):
        word = here[x] & np.uint16(1)
        word |= above[x + _TWO] & np.uint16(1 << 1)
        word |= above[x + _ONE] & np.uint16(1 << 2)
        word |= above[x] & np.uint16(1 << 3)
        word |= last_below[x + _TWO] & np.uint16(1 << 4)
        word |= last_below[x + _ONE] & np.uint16(1 << 5)
        word |= last_below[x] & np.uint16(1 << 6)
        word |= last_here[x + _TWO] & np.uint16(1 << 7)
        word |= last_here[x + _ONE] & np.uint16(1 << 8)
        word |= last_here[x] & np.uint16(1 << 9)
        word |= last_above[x + _TWO] & np.uint16(1 << 10)
        word |= last_above[x + _ONE] & np.uint16(1 << 11)
        word |= last_above[x] & np.uint16(1 << 12)
        out[x] = word


@kernel
def _lengthen(
    before: NDArray[np.uint64], behind: NDArray[np.uint16], first_bit: np.uint64, out: NDArray[np.uint64]
) -> None:
    # lengths of the runs that reach each voxel along three directions whose last voxels lie in one row
    for x in range(np.uint64(out.size)):
        word = np.uint64(behind[x]) >> first_bit
        left = before[x + _TWO] & (_LENGTH * (word & _ONE))
        middle = before[x + _ONE] & ((_LENGTH << _FIELD) * (word >> _ONE & _ONE))
        right = before[x] & ((_LENGTH << _FIELD << _FIELD) * (word >> _TWO & _ONE))
        out[x] = (left | middle | right) + _ONE_EACH


@kernel
def _packed(codes: NDArray[np.int32], levels: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int32]:
    # a voxel's level, and 1 for the voxel in the bits above, so that one sum yields both
    packed = np.zeros(codes.shape, dtype=np.int32)
    of_code = np.zeros(levels.size + 1, dtype=np.int32)
    for code in range(levels.size):
        of_code[code + 1] = (1 << _LEVEL_BITS) + levels[code]
    for row in range(rows.shape[0]):
        z, y = rows[row, 0] + MARGIN, rows[row, 1] + MARGIN
        for x in range(rows[row, 2] + MARGIN, rows[row, 3] + MARGIN):
            packed[z, y, x] = of_code[codes[z, y, x]]
    return packed


@kernel
def _sums_in_planes(packed: NDArray[np.int32], reach_y: int, reach_x: int) -> NDArray[np.int32]:
    sums = np.zeros(packed.shape, dtype=np.int32)
    depth, height, width = packed.shape
    for z in range(MARGIN, depth - MARGIN):
        for y in range(MARGIN, height - MARGIN):
            _sum_rows(
                packed[z, y - 1, 1 : width - 1],
                packed[z, y, 1 : width - 1],
                packed[z, y + 1, 1 : width - 1],
                reach_y,
                reach_x,
                sums[z, y, MARGIN : width - MARGIN],
            )
    return sums


@kernel
def _sum_rows(
    above: NDArray[np.int32],
    here: NDArray[np.int32],
    below: NDArray[np.int32],
    reach_y: int,
    reach_x: int,
    out: NDArray[np.int32],
) -> None:
    for x in range(np.uint64(out.size)):
        middle = here[x + _ONE] + reach_x * (here[x] + here[x + _TWO])
        sides = above[x] + above[x + _TWO] + below[x] + below[x + _TWO]
        out[x] = middle + reach_y * (above[x + _ONE] + below[x + _ONE] + reach_x * sides)


@kernel
def _count(
    codes_in_box: NDArray[np.int32],
    ahead_in_box: NDArray[np.uint16],
    sums_in_box: NDArray[np.int32],
    stretches: NDArray[np.int64],
    levels: NDArray[np.int64],
    counts: NDArray[np.int64],
    steps: NDArray[np.int64],
    reach_z: bool,
    longest: int,
    fewest: NDArray[np.uint16],
    lowest: NDArray[np.uint8],
    bits: NDArray[np.uint8],
    voxels: int,
) -> tuple[
    NDArray[np.int32],
    NDArray[np.int64],
    NDArray[np.int32],
    NDArray[np.int64],
    NDArray[np.int32],
    NDArray[np.int64],
    NDArray[np.float64],
]:
    codes, ahead, sums = codes_in_box.reshape(-1), ahead_in_box.reshape(-1), sums_in_box.reshape(-1)
    height, width = codes_in_box.shape[1:]
    slab = height * width
    n = levels.size

    short = min(max(1024 // n, 8), 32)  # many levels have short runs, and few cells are soon looked through
    runs = np.zeros((steps.size, n, short), dtype=np.int32)
    long_runs = np.empty(steps.size * voxels // (short + 1) + 1, dtype=np.int64)
    long_found = 0
    lengths = np.zeros((2, 4, slab), dtype=np.uint64)  # of this slice and the last, three directions in each
    zone_of = np.empty(codes.size, dtype=np.int32)  # only where the sweep has been
    joined, zone_size, zone_row = np.empty(voxels, np.int32), np.empty(voxels, np.int32), np.empty(voxels, np.int32)
    zones_found = 0
    alike = np.zeros((n, 2 * steps.size + 1), dtype=np.int32)
    isolated, differences = np.zeros(n, dtype=np.int64), np.zeros(n)
    share = np.zeros(2 * steps.size + 1)
    for neighbours in range(1, share.size):
        share[neighbours] = 1 / neighbours
    words_behind = np.empty(slab, dtype=np.uint16)

    for stretch in range(stretches.shape[0]):
        first, size = stretches[stretch]
        low, high = first - 1, first + size + 1
        behind = words_behind[:size]
        _equal_behind(
            ahead[low:high],
            ahead[low - width : high - width],
            ahead[low - slab - width : high - slab - width],
            ahead[low - slab : high - slab],
            ahead[low - slab + width : high - slab + width],
            behind,
        )
        in_plane = first % slab
        now, last = lengths[first // slab & 1], lengths[1 - (first // slab & 1)]
        for start in range(in_plane, in_plane + size, width - 1):  # less than a line, for it reads the line before
            low, high = start - 1, min(start + width - 1, in_plane + size) + 1
            part = behind[start - in_plane : high - 1 - in_plane]
            _lengthen(now[0, low - width : high - width], part, np.uint64(1), now[0, start : high - 1])
        low, high = in_plane - 1, in_plane + size + 1
        _lengthen(last[1, low + width : high + width], behind, np.uint64(4), now[1, in_plane : high - 1])
        _lengthen(last[2, low:high], behind, np.uint64(7), now[2, in_plane : high - 1])
        _lengthen(last[3, low - width : high - width], behind, np.uint64(10), now[3, in_plane : high - 1])
        along_x = 0
        for x in range(size):
            voxel = first + x
            code = codes[voxel]
            if code == 0:
                continue
            row = code - 1
            forward, backward = ahead[voxel], behind[x]

            alike[row, bits[forward] + bits[backward]] += 1

            around = sums[voxel]
            if reach_z:
                around += sums[voxel - slab] + sums[voxel + slab]
            neighbours = (around >> _LEVEL_BITS) - 1
            level_sum = (around & ((1 << _LEVEL_BITS) - 1)) - levels[row]
            # whole numbers up to the last step, so that a voxel like its neighbours adds exactly 0
            differences[row] += abs(levels[row] * neighbours - level_sum) * share[neighbours]
            if neighbours == 0:
                isolated[row] += 1

            touched = fewest[backward]
            if touched == 0:
                zone = zones_found
                joined[zone], zone_size[zone], zone_row[zone] = zone, 1, row
                zones_found += 1
            else:
                zone = _first_of(joined, zone_of[voxel - steps[lowest[touched]]])
                touched &= touched - np.uint16(1)
                while touched:
                    other = _first_of(joined, zone_of[voxel - steps[lowest[touched]]])
                    touched &= touched - np.uint16(1)
                    if other != zone:
                        zone, later = min(zone, other), max(zone, other)
                        joined[later] = zone
                        zone_size[zone] += zone_size[later]
                zone_size[zone] += 1
            zone_of[voxel] = zone

            along_x = along_x * (backward & 1) + 1
            ends = backward & ~forward
            while ends:
                direction = lowest[ends]
                ends &= ends - np.uint16(1)
                if direction == 0:
                    length = along_x
                else:
                    group = (direction - 1) // 3
                    fields = now[group, in_plane + x] >> _FIELD * np.uint64(direction - 1 - 3 * group)
                    length = np.int64(fields & _LENGTH)
                if length <= short:
                    runs[direction, row, length - 1] += 1
                else:
                    long_runs[long_found] = (direction * (longest + 1) + length) * n + row
                    long_found += 1

    _add_single_voxels(runs, long_runs[:long_found], longest, counts)
    zones, large_zones = _gathered(joined[:zones_found], zone_size, zone_row, n)
    return runs, long_runs[:long_found], zones, large_zones, alike, isolated, differences


@kernel
def _first_of(joined: NDArray[np.int32], zone: int) -> int:
    while joined[zone] != zone:
        joined[zone] = joined[joined[zone]]
        zone = joined[zone]
    return zone


@kernel
def _add_single_voxels(
    runs: NDArray[np.int32], long_runs: NDArray[np.int64], longest: int, counts: NDArray[np.int64]
) -> None:
    # what longer runs leave over of each level
    directions, n, lengths = runs.shape
    for direction in range(directions):
        for row in range(n):
            left = counts[row]
            for length in range(2, lengths + 1):
                left -= runs[direction, row, length - 1] * length
            runs[direction, row, 0] = left
    for index in range(long_runs.size):
        row, rest = long_runs[index] % n, long_runs[index] // n
        runs[rest // (longest + 1), row, 0] -= rest % (longest + 1)


@kernel
def _gathered(
    joined: NDArray[np.int32], zone_size: NDArray[np.int32], zone_row: NDArray[np.int32], n: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    zones = np.zeros((n, _ZONE_SIZES), dtype=np.int32)
    large = 0
    for zone in range(joined.size):
        if joined[zone] == zone:
            if zone_size[zone] <= _ZONE_SIZES:
                zones[zone_row[zone], zone_size[zone] - 1] += 1
            else:
                large += 1
    large_zones = np.empty(large, dtype=np.int64)
    for zone in range(joined.size):
        if joined[zone] == zone and zone_size[zone] > _ZONE_SIZES:
            large -= 1
            large_zones[large] = np.int64(zone_size[zone]) * n + zone_row[zone]
    return zones, large_zones
