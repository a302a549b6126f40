"""The surface of a lesion by marching cubes: its volume, its area and how far its vertices reach."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from radnet.kernels import kernel

# Triangles of each cube case, three edges a triangle, an edge a hexadecimal digit. Bit k of a case is set where corner
# k is in the lesion; a case with bit 7 is the inside-out of its complement. The table is that of cshape.c of
# pyradiomics 3.0.1 (after Lorensen and Cline, Comput Graph 1987;21:163-9): another table cuts ambiguous cubes
# differently and gives other areas.
_TRIANGLES = """
    - 083 190 183198 12a 08312a 92a029 2832a8a98 b23 b2008b 190b23 b2119b98b 3a1ba3 a1008a8ba 9033b9ba9 98aba8 478
    043473 190478 194147173 12a478 34730412a 92a902478 2a9297273479 478b23 b47b24204 190478b23 47b94bb29192 3a1ba3478
    ba114b10447b 4789033b9ba9 47b4b99ba 954 954083 054015 854835315 12a954 08312a954 2a5542240 2a5325354834 954b23
    b2008b954 054015b23 215258b28548 3a1ba3954 549a1008a8ba 54050ba5bb03 548a58ba8 789579 309539357 780017715 157173
    78957912a 12a309395357 0288258572a5 2a5253357 579789b23 579972209b27 b23018178157 21b17b157 7895793a1ba3
    5705097b0a10ba0 ba003ba50078570 ba557b 65a 08365a 19065a 18319865a 165126 165126083 965906026 598582526832 b2365a
    b2008b65a 190b2365a b2119b98b65a 63b653513 08b0b50515b6 63b036065059 65969bb98 47865a 04347365a 19047865a
    19414717365a 478165126 043473165126 478965906026 739479329596269 b2347865a b47b2420465a 190b2347865a 47b94bb2919265a
    47863b653513 51b5b610b47b04b 47863b036065059 65969b4797b9 a4964a a4964a083 01aa60640 18316886461a 149124264
    149124264083 024426 832824426 b23a4964a b2008ba4964a b2301aa60640 64161a148b2118b 964369139b63 18b081b61149641
    63b036640 86468b 67a78a89a 67a0a709a073 67a1a7178018 67a1a7173 126168189678 269129679309739 078706602 273267
    b2367a78a89a 207b2709767a9a7 67a1a7178018b23 b2117ba61167 896678169b63136 09167b 07870603bb60 67b
"""
_MOST_TRIANGLES = 5
# Middles of the cube's edges 0 to b in half voxels (Z, Y, X). Corners 0 to 7 lie at (0, 0, 0), (0, 0, 1), (0, 1, 1),
# (0, 1, 0), and the same one slice on.
_EDGES = np.array(
    [
        *[(0, 0, 1), (0, 1, 2), (0, 2, 1), (0, 1, 0)],
        *[(2, 0, 1), (2, 1, 2), (2, 2, 1), (2, 1, 0)],
        *[(1, 0, 0), (1, 0, 2), (1, 2, 2), (1, 2, 0)],
    ]
)


@dataclass(frozen=True, slots=True)
class Surface:
    """The mesh around a lesion, its vertices midway between a voxel of the lesion and a neighbour outside it.

    Vertices are counted in half voxels of the box with one voxel of background around it: voxel (z, y, x) of the
    lesion's box is at (2z + 2, 2y + 2, 2x + 2). Of the vertices on one line only the two ends are kept, for no other
    can be farthest from anything; a line without vertices has its least end above its greatest.

    Attributes:
        volume_mm3: Volume within the mesh.
        area_mm2: Area of its triangles.
        ends_x: Least and greatest X of the vertices at each (Z, Y), shape (2, Z, Y).
        ends_y: Least and greatest Y of the vertices at each (Z, X), shape (2, Z, X).
    """

    volume_mm3: float
    area_mm2: float
    ends_x: NDArray[np.int32]
    ends_y: NDArray[np.int32]


def surface(inside: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> Surface:
    """Return the mesh of the lesion ``inside``, shape (Z, Y, X), at the level midway between its voxels and others.

    Where two bodies of the lesion touch in an ambiguous cube the table may leave a gap, so that the volume depends on
    where space has its zero; it is the first voxel of the box with its background, as in pyradiomics.
    """
    cases = _cases()
    often, six_volumes, ends_x, ends_y = _march(inside, cases.volume, cases.normal)
    per_half_voxel = spacing_mm[0] * spacing_mm[1] * spacing_mm[2] / 8
    across = per_half_voxel * 2 / np.array(spacing_mm)  # a half voxel's faces, in mm², across Z, Y and X
    area_mm2 = np.sqrt(((cases.crosses * across) ** 2).sum(axis=-1)).sum(axis=-1) / 2
    return Surface(six_volumes * per_half_voxel / 6, float(often @ area_mm2), ends_x, ends_y)


@dataclass(frozen=True, slots=True)
class _Cases:
    """What the triangles of each of the 256 cases of a cube add, in half voxels from the cube's first corner."""

    crosses: NDArray[np.int64]  # of each triangle two sides' vector product: twice its area; (256, 5, 3)
    volume: NDArray[np.int64]  # six times the volume to the corner, with its sign; (256,)
    normal: NDArray[
        np.int64
    ]  # six times what the volume grows by for every half voxel between zero and corner; (256, 3)


@cache
def _cases() -> _Cases:
    corners = np.zeros((256, _MOST_TRIANGLES, 3, 3), dtype=np.int64)
    for case, triangles in enumerate(_TRIANGLES.split()):
        edges = [int(edge, 16) for edge in triangles.strip("-")]
        corners[case, : len(edges) // 3] = _EDGES[edges].reshape(-1, 3, 3)
    a, b, c = corners.transpose(2, 0, 1, 3)
    volume = (np.cross(a, b) * c).sum(axis=(1, 2))
    normal = (np.cross(a, b) + np.cross(b, c) + np.cross(c, a)).sum(axis=1)
    crosses = np.cross(a - c, b - c)
    for one, sign in ((volume, -1), (normal, -1), (crosses, 1)):
        one[128:] = sign * one[127::-1]
    return _Cases(crosses, volume, normal)


@kernel
def _march(
    inside: NDArray[np.bool_], volume: NDArray[np.int64], normal: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int, NDArray[np.int32], NDArray[np.int32]]:
    depth, height, width = inside.shape
    padded = np.zeros((depth + 2, height + 2, width + 2), dtype=np.uint8)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                padded[z + 1, y + 1, x + 1] = inside[z, y, x]
    ends_x = np.empty((2, 2 * depth + 4, 2 * height + 4), dtype=np.int32)
    ends_y = np.empty((2, 2 * depth + 4, 2 * width + 4), dtype=np.int32)
    ends_x[0], ends_x[1], ends_y[0], ends_y[1] = 2**30, -1, 2**30, -1
    often = np.zeros(256, dtype=np.int64)
    case_at = np.empty(width + 1, dtype=np.uint8)
    six_volumes = 0
    for z in range(depth + 1):
        for y in range(height + 1):
            _cases_of_row(padded[z, y], padded[z, y + 1], padded[z + 1, y], padded[z + 1, y + 1], case_at)
            for x in range(width + 1):
                case = case_at[x]
                if case == 0 or case == 255:
                    continue
                often[case] += 1
                shift = z * normal[case, 0] + y * normal[case, 1] + x * normal[case, 2]
                six_volumes += volume[case] + 2 * shift
                # Every edge of the grid ends in corner 7 of one cube, with its other end in corner 3, 4 or 6.
                here = case >> 7
                if (case >> 3) & 1 != here:
                    _reach(ends_x, ends_y, 2 * z + 1, 2 * y + 2, 2 * x)
                if (case >> 4) & 1 != here:
                    _reach(ends_x, ends_y, 2 * z + 2, 2 * y + 1, 2 * x)
                if (case >> 6) & 1 != here:
                    _reach(ends_x, ends_y, 2 * z + 2, 2 * y + 2, 2 * x + 1)
    return often, six_volumes, ends_x, ends_y


@kernel
def _cases_of_row(
    first: NDArray[np.uint8],
    beside: NDArray[np.uint8],
    above: NDArray[np.uint8],
    across: NDArray[np.uint8],
    case_at: NDArray[np.uint8],
) -> None:
    for x in range(case_at.size):
        near = first[x] | beside[x] << 3 | above[x] << 4 | across[x] << 7
        far = first[x + 1] << 1 | beside[x + 1] << 2 | above[x + 1] << 5 | across[x + 1] << 6
        case_at[x] = near | far


@kernel
def _reach(ends_x: NDArray[np.int32], ends_y: NDArray[np.int32], z: int, y: int, x: int) -> None:
    ends_x[0, z, y] = min(ends_x[0, z, y], x)
    ends_x[1, z, y] = max(ends_x[1, z, y], x)
    ends_y[0, z, x] = min(ends_y[0, z, x], y)
    ends_y[1, z, x] = max(ends_y[1, z, x], y)
