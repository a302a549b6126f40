"""Dependences and tone differences for any distances and tolerance, each neighbour visited in turn."""

import numpy as np
from numpy.typing import NDArray

from radnet.kernels import kernel
from radnet.radiomics.engine.neighbours import directions
from radnet.radiomics.engine.ngtdm import ToneDifferences
from radnet.radiomics.engine.region import MARGIN, GreyLevels, Region
from radnet.radiomics.engine.size_matrix import SizeMatrix
from radnet.radiomics.settings import ExtractionSettings


def dependences_and_tones(
    grey: GreyLevels, region: Region, settings: ExtractionSettings
) -> tuple[SizeMatrix, ToneDifferences]:
    """Count voxels by how many neighbours are within ``gldm_alpha`` levels, and how they differ from their mean.

    Args:
        grey: Grey levels of the image.
        region: The lesion.
        settings: Of which ``distances``, ``gldm_alpha``, ``force_2d`` and ``force_2d_axis`` are read.
    """
    across = settings.force_2d_axis if settings.force_2d else None
    half = directions(region.inside.shape, settings.distances, across)
    alike, isolated, differences = _visit(
        grey.codes, grey.levels, region.rows, np.concatenate([half, -half]), settings.gldm_alpha
    )
    dependences = SizeMatrix(grey.levels, alike[None], np.empty(0, dtype=np.int64), alike.shape[1])
    return dependences, ToneDifferences(grey.levels, grey.counts, isolated, differences)


@kernel
def _visit(
    codes: NDArray[np.int32],
    levels: NDArray[np.int64],
    rows: NDArray[np.int64],
    offsets: NDArray[np.int64],
    tolerance: int,
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]:
    alike = np.zeros((levels.size, offsets.shape[0] + 1), dtype=np.int32)
    isolated, differences = np.zeros(levels.size, dtype=np.int64), np.zeros(levels.size)
    depth, height, width = codes.shape
    for row in range(rows.shape[0]):
        z, y = rows[row, 0] + MARGIN, rows[row, 1] + MARGIN
        for x in range(rows[row, 2] + MARGIN, rows[row, 3] + MARGIN):
            index = codes[z, y, x] - 1
            level = levels[index]
            similar, neighbours, level_sum = 0, 0, 0
            for offset in range(offsets.shape[0]):
                to_z, to_y, to_x = z + offsets[offset, 0], y + offsets[offset, 1], x + offsets[offset, 2]
                if to_z < 0 or to_y < 0 or to_x < 0 or to_z >= depth or to_y >= height or to_x >= width:
                    continue
                code = codes[to_z, to_y, to_x]
                if code > 0:
                    neighbours += 1
                    level_sum += levels[code - 1]
                    similar += abs(levels[code - 1] - level) <= tolerance
            alike[index, similar] += 1
            if neighbours == 0:
                isolated[index] += 1
            else:
                differences[index] += abs(level * neighbours - level_sum) / neighbours
    return alike, isolated, differences
