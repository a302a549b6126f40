"""Neighbourhood grey tone difference matrix: how voxels differ from their neighbours' mean (IBSI IPET)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radnet.kernels import kernel
from radnet.radiomics.settings import Definitions


@dataclass(frozen=True, slots=True)
class ToneDifferences:
    """What each grey level adds up to, shape (n,) each.

    Attributes:
        levels: Grey levels, ascending.
        voxels: Voxels of each.
        isolated: Those among them without a neighbour in the lesion.
        sums: Sum over a level's voxels of | level - mean level of the neighbours |; isolated voxels add 0.
    """

    levels: NDArray[np.int64]
    voxels: NDArray[np.int64]
    isolated: NDArray[np.int64]
    sums: NDArray[np.float64]


def ngtdm(tones: ToneDifferences, definitions: Definitions) -> dict[str, float]:
    """Return the 5 features of pyradiomics' class of this name: IBSI QCDE, 65HE, NQ30, HDEZ and 1X9X.

    IBSI counts only voxels that have a neighbour. pyradiomics 3.0.1 counts all, against its own documentation.
    Where there is nothing to divide by: Coarseness 1e6; Contrast, Busyness and Strength 0. NaN where no voxel counts.
    """
    voxels = tones.voxels - tones.isolated if definitions == "ibsi" else tones.voxels
    there = voxels > 0
    if not there.any():
        return dict.fromkeys(("Coarseness", "Contrast", "Busyness", "Complexity", "Strength"), float("nan"))
    coarseness, contrast, busyness, complexity, strength = _features(
        tones.levels[there].astype(np.float64), voxels[there].astype(np.float64), tones.sums[there]
    )
    return {
        "Coarseness": coarseness,
        "Contrast": contrast,
        "Busyness": busyness,
        "Complexity": complexity,
        "Strength": strength,
    }


@kernel
def _features(
    levels: NDArray[np.float64], voxels: NDArray[np.float64], sums: NDArray[np.float64]
) -> tuple[float, float, float, float, float]:
    n = levels.size
    total = voxels.sum()
    p = voxels / total
    weighted = levels * p  # rounded as pyradiomics rounds: Busyness asks whether these are exactly equal
    spread, unlike, complexity, strength = 0.0, 0.0, 0.0, 0.0
    for one in range(n):
        for other in range(one):
            apart, both = levels[one] - levels[other], p[one] + p[other]
            spread += p[one] * p[other] * (apart * apart)
            unlike += abs(weighted[one] - weighted[other])
            complexity += apart * (p[one] * sums[one] + p[other] * sums[other]) / both
            strength += both * (apart * apart)
    difference = sums.sum()
    coarse = (p * sums).sum()
    return (
        1 / coarse if coarse != 0 else 1e6,
        2 * spread * difference / total / (n * (n - 1)) if n > 1 else 0.0,
        coarse / (2 * unlike) if unlike != 0 else 0.0,
        2 * complexity / total,
        2 * strength / difference if difference != 0 else 0.0,
    )
