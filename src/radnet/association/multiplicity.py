"""Many tests: the share of false findings, within families that were declared beforehand."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control


def q_values(p_values: ArrayLike, family: ArrayLike) -> NDArray[np.float64]:
    """Return Benjamini and Hochberg's adjusted p-values, each family on its own; a NaN stays NaN and is not counted.

    Calling all with q < 0.05 findings keeps the expected share of false ones below 5 % in each family, if its tests are
    independent or depend positively.

    Args:
        p_values: Shape (m,).
        family: Name of each test's family, shape (m,).

    Raises:
        ValueError: If the shapes differ or a p-value lies outside 0 to 1.

    References:
        Benjamini, Hochberg. J R Stat Soc B 1995;57:289-300. R's ``p.adjust(method = "BH")``.

    Example:
        >>> q_values([0.01, 0.02, 0.5, 0.04], ["cells", "cells", "cells", "genes"]).round(3)
        array([0.03, 0.03, 0.5 , 0.04])
    """
    p, names = _checked(p_values, family)
    q = np.full(p.shape, np.nan)
    for name in pd.unique(names):
        tested = (names == name) & ~np.isnan(p)
        if tested.any():
            q[tested] = false_discovery_control(p[tested], method="bh")
    return q


def count_tests(p_values: ArrayLike, family: ArrayLike) -> dict[str, int]:
    """Return how many tests each family holds, in the order in which families first stand; a NaN is no test.

    Args:
        p_values: Shape (m,).
        family: Name of each test's family, shape (m,).
    """
    p, names = _checked(p_values, family)
    return {str(name): int((~np.isnan(p[names == name])).sum()) for name in pd.unique(names)}


def _checked(p_values: ArrayLike, family: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
    p, names = np.asarray(p_values, dtype=float), np.asarray(family, dtype=object)
    if p.ndim != 1 or p.shape != names.shape:
        raise ValueError(f"each p-value needs the name of its family: got shapes {p.shape} and {names.shape}")
    if outside := int(((p < 0) | (p > 1)).sum()):
        raise ValueError(f"a p-value lies between 0 and 1, but {outside} of {p.size} do not")
    return p, names
