"""Chance in a simulated cohort: blocks of uniform numbers, and what is chosen with them.

There is one block per patient (and lesion) and stream, each column of a block with one use. A knob changes what is made
of the numbers, never which numbers are drawn; more patients leave earlier ones as they were, unless counts are exact.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

STREAMS = {"clinical": 0, "image": 1, "survival": 2, "missing": 3, "readers": 4, "biology": 5}


def uniforms(
    seed: int, stream: str, patients: NDArray[np.int64], lesions: NDArray[np.int64], names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Return named columns of uniform numbers in (0, 1), one row per patient and lesion.

    A row depends on the seed, the stream, the patient and the lesion alone (lesion 0: the patient as a whole), and a
    column on nothing that is appended to ``names`` after it.
    """
    keys = np.column_stack([np.full_like(patients, seed), np.full_like(patients, STREAMS[stream]), patients, lesions])
    block = np.empty((len(patients), len(names)))
    for row, key in zip(block, keys.astype(np.uint32), strict=True):
        np.random.Generator(np.random.PCG64(np.random.SeedSequence(key))).random(out=row)
    np.maximum(block, 2.0**-54, out=block)
    return dict(zip(names, block.T, strict=True))


def patient_uniforms(
    seed: int, stream: str, patients: NDArray[np.int64], names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Return named columns of uniform numbers, one row per patient as a whole."""
    return uniforms(seed, stream, patients, np.zeros_like(patients), names)


def choose(shares: NDArray[np.float64], draw: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return, per row of ``shares`` (rows, choices), the choice that a uniform draw falls on."""
    reached = np.cumsum(shares, axis=1)
    reached[:, -1] = 1.0
    choice: NDArray[np.int64] = (draw[:, None] >= reached).sum(axis=1)
    return choice


def empty_cells(
    seed: int, patients: NDArray[np.int64], names: Sequence[str], share: float
) -> dict[str, NDArray[np.bool_]]:
    """Say which cells of the named columns are left empty, completely at random."""
    draws = patient_uniforms(seed, "missing", patients, names)
    return {name: draws[name] < share for name in names}


def months(time: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return times in months as they are written: two decimals, and never 0."""
    return np.maximum(time.round(2), 0.01)
