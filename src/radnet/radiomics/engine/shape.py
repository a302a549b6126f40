"""Shape of a lesion: size, surface, diameters and axes of its mask."""

import math

import numpy as np
from numpy.typing import NDArray

from radnet.kernels import kernel
from radnet.radiomics.engine.diameters import diameters
from radnet.radiomics.engine.marching_cubes import surface
from radnet.radiomics.engine.region import Region
from radnet.radiomics.settings import Definitions


def shape(region: Region, definitions: Definitions = "pyradiomics") -> dict[str, float]:
    """Return the 14 shape features of a lesion, under pyradiomics' names; lengths in mm.

    They are those of IBSI's family *Morphology* (HCUG) that need no image; both definitions agree on all but axes.

    - **MeshVolume** (RNU0), **SurfaceArea** (C0JK), **SurfaceVolumeRatio** (2PR5), **Sphericity** (QCFX): of the mesh
      of marching cubes midway between voxels.
    - **VoxelVolume** (YEKZ): voxels times the volume of one.
    - **Maximum3DDiameter** (L0JK): between vertices of the mesh. **Maximum2DDiameterSlice**, **-Column**, **-Row** (not
      in IBSI): between vertices of equal Z, equal Y and equal X.
    - **MajorAxisLength** (TDIC), **MinorAxisLength** (P9VJ), **LeastAxisLength** (7J51): 4√λ, with λ the eigenvalues
      of the covariance of voxel centres, over the number of voxels, or one less in IBSI. **Elongation** (Q3CK) and
      **Flatness** (N17B): √ of the middle and of the least λ over the greatest.

    An axis along which the lesion has no extent is 0 long, where pyradiomics returns the rounding noise of 0. The
    ratios of a single voxel, which has no axes, are NaN.
    """
    mesh = surface(region.inside, region.spacing_mm)
    across_z, across_y, across_x, any_way = diameters(mesh, region.spacing_mm)
    least, middle, greatest = _axes_mm(region, definitions)
    depth, height, width = region.spacing_mm
    return {
        "Elongation": middle / greatest if greatest > 0 else math.nan,
        "Flatness": least / greatest if greatest > 0 else math.nan,
        "LeastAxisLength": least,
        "MajorAxisLength": greatest,
        "Maximum2DDiameterColumn": across_y,
        "Maximum2DDiameterRow": across_x,
        "Maximum2DDiameterSlice": across_z,
        "Maximum3DDiameter": any_way,
        "MeshVolume": mesh.volume_mm3,
        "MinorAxisLength": middle,
        "Sphericity": math.cbrt(36 * math.pi * mesh.volume_mm3**2) / mesh.area_mm2,
        "SurfaceArea": mesh.area_mm2,
        "SurfaceVolumeRatio": mesh.area_mm2 / mesh.volume_mm3,
        "VoxelVolume": region.voxels * depth * height * width,
    }


def _axes_mm(region: Region, definitions: Definitions) -> tuple[float, float, float]:
    voxels, *sums = (int(one) for one in _sums_of_centres(region.rows))
    z, y, x, zz, yz, yy, xz, xy, xx = sums
    # Whole numbers of any length, so that nothing is rounded and an axis of no extent is known as such.
    moments = [
        [voxels * zz - z * z, voxels * yz - z * y, voxels * xz - z * x],
        [voxels * yz - z * y, voxels * yy - y * y, voxels * xy - y * x],
        [voxels * xz - z * x, voxels * xy - y * x, voxels * xx - x * x],
    ]
    spacing_mm = region.spacing_mm
    divisor = voxels * (voxels if definitions == "pyradiomics" else max(voxels - 1, 1))
    covariance = [[moments[i][j] / divisor * spacing_mm[i] * spacing_mm[j] for j in range(3)] for i in range(3)]
    lengths = [4 * math.sqrt(max(value, 0.0)) for value in np.linalg.eigvalsh(np.array(covariance)).tolist()]
    extents = _rank(moments)
    least, middle, greatest = (length if 3 - axis <= extents else 0.0 for axis, length in enumerate(lengths))
    return least, middle, greatest


def _rank(moments: list[list[int]]) -> int:
    """Return the rank of a symmetric matrix without negative eigenvalues, of whole numbers."""
    (zz, yz, xz), (_, yy, xy), (*_, xx) = moments
    minors = [yy * xx - xy * xy, zz * xx - xz * xz, zz * yy - yz * yz]
    if zz * minors[0] - yz * (yz * xx - xy * xz) + xz * (yz * xy - yy * xz):
        return 3
    return 2 if any(minors) else int(any((zz, yy, xx)))


@kernel
def _sums_of_centres(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of voxels and the sums of z, y, x, zz, yz, yy, xz, xy and xx over them."""
    sums = np.zeros(10, dtype=np.int64)
    for row in range(rows.shape[0]):
        z, y, first, after = rows[row, 0], rows[row, 1], rows[row, 2], rows[row, 3]
        count = after - first
        x = (first + after - 1) * count // 2
        squares = ((after - 1) * after * (2 * after - 1) - (first - 1) * first * (2 * first - 1)) // 6
        sums[0] += count
        sums[1] += z * count
        sums[2] += y * count
        sums[3] += x
        sums[4] += z * z * count
        sums[5] += y * z * count
        sums[6] += y * y * count
        sums[7] += z * x
        sums[8] += y * x
        sums[9] += squares
    return sums
