"""The farthest two vertices of a lesion's surface, in space and within planes of the grid."""

import math

import numpy as np
from numpy.typing import NDArray

from radnet.kernels import kernel
from radnet.radiomics.engine.marching_cubes import Surface


def diameters(surface: Surface, spacing_mm: tuple[float, float, float]) -> tuple[float, float, float, float]:
    """Return the greatest distance between vertices of equal Z, of equal Y, of equal X and of any, in mm.

    Exact, though few pairs are looked at: the farthest two points of a plane are corners of its convex hull, and the
    farthest two of all are corners of the hulls of all three planes they lie in.
    """
    step_z, step_y, step_x = (step / 2 for step in spacing_mm)
    across_z = np.ascontiguousarray(surface.ends_x)  # a plane of equal Z: its lines of equal Y, along X
    across_y = np.ascontiguousarray(surface.ends_x.transpose(0, 2, 1))
    across_x = np.ascontiguousarray(surface.ends_y.transpose(0, 2, 1))
    corners_z, corners_y, corners_x = (np.zeros(ends.shape, dtype=np.bool_) for ends in (across_z, across_y, across_x))
    slice_mm2 = _widest_in_planes(across_z, step_y, step_x, corners_z)
    column_mm2 = _widest_in_planes(across_y, step_z, step_x, corners_y)
    row_mm2 = _widest_in_planes(across_x, step_z, step_y, corners_x)
    points = _corners_in_all_planes(across_z, corners_z, corners_y, across_x, corners_x)
    points_mm = points * np.array([step_z, step_y, step_x])
    radius_mm = np.sqrt(((points_mm - (points_mm.max(axis=0) + points_mm.min(axis=0)) / 2) ** 2).sum(axis=1))
    order = np.argsort(-radius_mm)
    widest_mm2 = max(slice_mm2, column_mm2, row_mm2)
    widest_mm2 = _widest(np.ascontiguousarray(points_mm[order]), np.ascontiguousarray(radius_mm[order]), widest_mm2)
    return math.sqrt(slice_mm2), math.sqrt(column_mm2), math.sqrt(row_mm2), math.sqrt(widest_mm2)


@kernel
def _widest_in_planes(ends: NDArray[np.int32], step_line: float, step_end: float, corners: NDArray[np.bool_]) -> float:
    """Return the greatest squared distance within a plane, and mark which ends are corners of their plane's hull."""
    planes, lines = ends.shape[1], ends.shape[2]
    at = np.empty((2 * lines, 2), dtype=np.int64)
    widest = 0.0
    for plane in range(planes):
        least = _hull(ends[0, plane], ends[1, plane], 1, at, 0)
        if least == 0:
            continue
        for corner in range(least):
            corners[0, plane, at[corner, 0]] = True
        greatest = _hull(ends[1, plane], ends[0, plane], -1, at, least)
        for corner in range(least, least + greatest):
            corners[1, plane, at[corner, 0]] = True
        for one in range(least + greatest):
            for other in range(one):
                between = (at[one, 0] - at[other, 0]) * step_line
                along = (at[one, 1] - at[other, 1]) * step_end
                widest = max(widest, between * between + along * along)
    return widest


@kernel
def _hull(ends: NDArray[np.int32], far_ends: NDArray[np.int32], side: int, at: NDArray[np.int64], first: int) -> int:
    """Write the corners of the hull on the side of these ends into ``at`` from ``first`` on; return how many."""
    count = 0
    for line in range(ends.size):
        if (far_ends[line] - ends[line]) * side < 0:  # no vertex on this line
            continue
        end = np.int64(ends[line])
        while count >= 2:
            last, before = first + count - 1, first + count - 2
            turn = (at[last, 1] - at[before, 1]) * (line - at[before, 0])
            turn -= (end - at[before, 1]) * (at[last, 0] - at[before, 0])
            if turn * side < 0:
                break
            count -= 1
        at[first + count, 0], at[first + count, 1] = line, end
        count += 1
    return count


@kernel
def _corners_in_all_planes(
    across_z: NDArray[np.int32],
    corners_z: NDArray[np.bool_],
    corners_y: NDArray[np.bool_],
    across_x: NDArray[np.int32],
    corners_x: NDArray[np.bool_],
) -> NDArray[np.int64]:
    planes, lines = across_z.shape[1], across_z.shape[2]
    points = np.empty((2 * planes * lines, 3), dtype=np.int64)
    count = 0
    for z in range(planes):
        for y in range(lines):
            for end in range(2):
                if corners_z[end, z, y] and corners_y[end, y, z]:
                    x = across_z[end, z, y]
                    for end_y in range(2):
                        if across_x[end_y, x, z] == y and corners_x[end_y, x, z]:
                            points[count, 0], points[count, 1], points[count, 2] = z, y, x
                            count += 1
                            break
    return points[:count].copy()


@kernel
def _widest(points_mm: NDArray[np.float64], radius_mm: NDArray[np.float64], widest: float) -> float:
    """Return the greatest squared distance of points that come by falling distance from one place, if above another."""
    reach = math.sqrt(widest) * (1 - 1e-12)  # rounding must not drop a pair
    for one in range(radius_mm.size):
        for other in range(one):
            if radius_mm[one] + radius_mm[other] < reach:
                break
            z = points_mm[one, 0] - points_mm[other, 0]
            y = points_mm[one, 1] - points_mm[other, 1]
            x = points_mm[one, 2] - points_mm[other, 2]
            square = z * z + y * y + x * x
            if square > widest:
                widest = square
                reach = math.sqrt(widest) * (1 - 1e-12)
    return widest
