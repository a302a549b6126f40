"""An estimate whose error is normal: its standard error, its interval and its test."""

from math import nan

import numpy as np
from scipy.stats import norm

from radnet.evaluation.discrimination import Estimate, Floats


def normal_estimate(
    value: float, error: float, level: float, *, null: float = nan, within: tuple[float, float] | None = None
) -> Estimate:
    """Return a value with its normal interval, and the two-sided p-value against ``null``.

    Args:
        value: The estimate.
        error: Its standard error; 0 gives an interval without width, and p = 1 at the null, else 0.
        level: Coverage of the interval.
        null: What the value is tested against; NaN for no test.
        within: Where the quantity can lie at all; the interval is cut there.
    """
    reach = float(norm.ppf((1 + level) / 2)) * error
    lower, upper = value - reach, value + reach
    if within is not None:
        lower, upper = max(within[0], lower), min(within[1], upper)
    return Estimate(value, lower, upper, _p_value(value - null, error))


def error_of_mean(influence: Floats) -> float:
    """Return the standard error of the mean of values, shape (n,); NaN of a single one."""
    return float(influence.std(ddof=1) / np.sqrt(influence.size)) if influence.size > 1 else nan


def _p_value(distance: float, error: float) -> float:
    if error > 0 or distance != distance or error != error:
        return float(2 * norm.sf(abs(distance) / error)) if error > 0 else nan
    return 0.0 if distance != 0 else 1.0
