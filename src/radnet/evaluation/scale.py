"""Scores on a scale that arithmetic bears."""

import numpy as np
from numpy.typing import ArrayLike

from radnet.evaluation.discrimination import Floats

_VANISHING = 1e-8  # of a spread: the square root of what numbers can tell, since variances are of squares


def near_one(score: ArrayLike) -> Floats:
    """Return scores times the power of two that brings the largest, of either sign, to between 1/2 and 1.

    Their squares, sums and differences then stay numbers, and whatever does not depend on the unit of the score stays
    as it is: nothing is rounded, except what is below 1e-300 of the largest.

    Args:
        score: Finite, shape (n,).

    Example:
        >>> near_one([3e200, -6e200]).round(2)
        array([ 0.49, -0.98])
    """
    scores = np.asarray(score, dtype=float)
    _, exponent = np.frexp(np.abs(scores).max())
    return np.ldexp(scores, -int(exponent))


def lone(score: ArrayLike) -> float | None:
    """Return the score that is so far from all others that beside it their differences vanish, or None.

    Args:
        score: Finite, shape (n,).
    """
    halved = (
        np.asarray(score, dtype=float) / 2
    )  # the difference of two numbers may be beyond any, that of halves is not
    away = np.abs(halved - np.median(halved))
    far = int(np.argmax(away))
    spread = np.ptp(np.delete(halved, far)) if halved.size > 2 else 0.0
    return float(np.asarray(score)[far]) if 0 < spread < _VANISHING * away[far] else None
