"""P-values adjusted for how many were looked at."""

from collections.abc import Callable
from math import nan
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from radnet.evaluation.discrimination import Floats

Adjustment = Literal["none", "bonferroni", "holm", "hochberg", "BH", "BY"]


def adjusted_p_values(p_values: ArrayLike, method: Adjustment) -> Floats:
    """Adjust p-values for their number, as R's ``p.adjust``; a NaN stays NaN and is not counted.

    Args:
        p_values: Shape (k,).
        method: bonferroni, holm and hochberg bound the chance of any false finding; BH and BY the share of them.

    References:
        Holm. Scand J Stat 1979;6:65-70. Hochberg. Biometrika 1988;75:800-802.
        Benjamini, Hochberg. J R Stat Soc B 1995;57:289-300. Benjamini, Yekutieli. Ann Stat 2001;29:1165-1188.

    Example:
        >>> adjusted_p_values([0.01, 0.02, 0.5], "holm")
        array([0.03, 0.04, 0.5 ])
    """
    given = np.asarray(p_values, dtype=float)
    if ((given < 0) | (given > 1)).any():
        raise ValueError("every p-value must lie between 0 and 1")
    there = ~np.isnan(given)
    order = np.argsort(given[there])
    p, k = given[there][order], int(there.sum())
    rank = np.arange(1, k + 1)
    ways: dict[str, Callable[[], Floats]] = {
        "none": lambda: p,
        "bonferroni": lambda: p * k,
        "holm": lambda: np.maximum.accumulate(p * (k + 1 - rank)),
        "hochberg": lambda: _from_the_largest(p * (k + 1 - rank)),
        "BH": lambda: _from_the_largest(p * k / rank),
        "BY": lambda: _from_the_largest(p * k / rank * (1 / rank).sum()),
    }
    if method not in ways:
        raise ValueError(f"p-values are adjusted by one of {', '.join(ways)}, got {method!r}")
    adjusted = np.empty(k)
    adjusted[order] = np.minimum(1.0, ways[method]())
    result = np.full(given.shape, nan)
    result[there] = adjusted
    return result


def _from_the_largest(p: Floats) -> Floats:
    return np.minimum.accumulate(p[::-1])[::-1]
