"""How Spearman's correlation spreads by chance among few patients: every order counted, or Edgeworth's series."""

from functools import cache
from itertools import permutations
from math import exp, factorial, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

_COUNTED = 9  # patients whose every order is counted: 9! are 362 880; from 10 on the series is close


def spearman_p_value(rho: float, n: int) -> float:
    """Return the two-sided p-value of Spearman's correlation of n patients without ties, as R's ``cor.test``.

    Twice the smaller tail of the sum of squared differences of ranks: all orders counted up to 9 patients, beyond by
    the Edgeworth series, which far out may fall below the chance of one order, 1 / n!, and is then held there.

    Args:
        rho: The correlation; that of whole ranks, none tied.
        n: Patients, 2 or more.

    References:
        Best, Roberts. Appl Stat 1975;24:377-379 (AS 89).

    Example:
        >>> spearman_p_value(1.0, 4) == 2 / 24  # one order of 24 is as it should be, one is the reverse
        True
    """
    largest = n * (n * n - 1) // 3
    squares = round(largest * (1 - rho) / 2)
    tail = _share_from(max(squares, largest - squares), n)  # the sums are spread alike about their middle
    return min(1.0, 2 * max(tail, 1 / factorial(n)))


def _share_from(squares: int, n: int) -> float:
    """Return the chance of a sum of squared differences of ``squares`` or more; such sums are even."""
    if n <= _COUNTED:
        counted = _sums(n)
        return float((counted >= squares).sum() / counted.size)
    share = 1 / n
    x = (6 * (squares - 1) / (n * (n * n - 1)) - 1) * sqrt(n - 1)
    y = x * x
    series = 0.0879 + 0.0151 * share - y * (0.0072 - 0.0831 * share + y * share * (0.0131 - 4.6e-4 * y))
    skew = -0.0758 + share * (0.1033 + 0.3932 * share) - y * share * series
    correction = x * share * (0.2274 + share * (0.2531 + 0.1745 * share) + y * skew) * exp(-y / 2)
    return float(correction + norm.sf(x))


@cache
def _sums(n: int) -> NDArray[np.int64]:
    """Return the sum of squared differences of ranks of every order of n patients."""
    orders = np.array(list(permutations(range(n))), dtype=np.int8).astype(np.int64)
    return ((orders - np.arange(n)) ** 2).sum(axis=1)
