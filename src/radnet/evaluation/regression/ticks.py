"""Round numbers that span a range, as R's ``pretty`` chooses them for an axis."""

from math import floor, log10

import numpy as np

from radnet.evaluation.discrimination import Floats

_ROUNDING = 1e-10


def pretty(low: float, high: float, intervals: int) -> Floats:
    """Return about ``intervals`` + 1 equally spaced round numbers that hold ``low`` and ``high`` between them.

    The step is 1, 2 or 5 times a power of ten; larger steps are favoured, as R's ``pretty`` does by default
    (``high.u.bias = 1.5``), so that axes equal R's.

    References:
        Becker, Chambers, Wilks. The New S Language. Wadsworth 1988; R's ``pretty``.

    Example:
        >>> pretty(65, 197, 10)[:3]
        array([60., 70., 80.])
    """
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"an axis needs a range, got {low} to {high}")
    favour, favour_five = 1.5, 0.5 + 1.5 * 1.5
    wanted = (high - low) / intervals
    power = 10.0 ** floor(log10(wanted))
    step = power
    for times, bias in ((2, favour), (5, favour_five), (10, favour)):
        if times * power - wanted < bias * (wanted - step):
            step = times * power
        else:
            break
    first = floor(low / step + _ROUNDING)
    last = -floor(-high / step + _ROUNDING)
    missing = max(0, intervals // 3 - (last - first))
    if first == 0 and low == 0:
        last += missing
    else:
        shorter, longer = missing // 2, missing - missing // 2
        first, last = (first - longer, last + shorter) if first >= 0 else (first - shorter, last + longer)
    return np.round(np.arange(first, last + 1) * step, max(0, 1 - floor(log10(power))))
