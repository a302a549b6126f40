"""Groups of patients by their score, to set biology of one group against another's."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Tertile = Literal["low", "intermediate", "high"]
"""Names of the groups, by rising score."""


def tertiles(score: ArrayLike) -> NDArray[np.str_]:
    """Divide patients into three groups of like size by their scores.

    ``low`` lies below the first tertile of the scores, ``high`` above the second, ``intermediate`` between or on them.
    Tertiles are R's quantiles of type 7, NumPy's linear ones; only the order of scores counts, no rounding decides. Of
    n distinct scores n / 3 are in each group; one left over is intermediate (64: 21, 22, 21), of two left over one is
    low and one high (65: 22, 21, 22). Equal scores are never parted, which may make the groups less alike.

    Args:
        score: Of each patient, shape (n,).

    Returns:
        Group of each patient, shape (n,).

    Raises:
        ValueError: If a score is missing or infinite, or a group would be empty: too few patients, or too many of one
            score.

    References:
        Hyndman, Fan. Am Stat 1996;50:361-365, definition 7. Wang et al. 2022 has 21, 22 and 21 of 64 patients, and does
        not print the rule.

    Example:
        >>> tertiles([0.3, -1.0, 2.0, 0.9]).tolist()
        ['intermediate', 'low', 'high', 'intermediate']
    """
    values = np.asarray(score, dtype=float)
    if values.ndim != 1:
        raise ValueError(f"tertiles are of one score per patient, shape (n,), got shape {values.shape}")
    if unusable := int((~np.isfinite(values)).sum()):
        raise ValueError(f"tertiles need every score, but {unusable} of {values.size} are missing or infinite")
    rising = np.sort(values)
    below = np.searchsorted(rising, values, side="left")
    above = values.size - np.searchsorted(rising, values, side="right")
    last = values.size - 1  # the first tertile lies at place last / 3, counted from 0
    group = np.full(values.shape, "intermediate")
    group[3 * (last - above) < last] = "low"
    group[3 * (last - below) < last] = "high"
    if empty := [name for name in get_args(Tertile) if name not in group]:
        raise ValueError(
            f"tertiles of {values.size} scores, {np.unique(values).size} of them distinct, leave no patient "
            f"{' or '.join(empty)}: compare two groups instead, or relate biology to the score itself"
        )
    return group
