"""Whether a new probability moves patients the right way: integrated discrimination and net reclassification."""

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from radnet.evaluation.discrimination import Estimate, Floats, checked_classes


@dataclass(frozen=True, slots=True)
class Improvement:
    """What a new probability gains over an old one: of patients with the event, without it, and both added."""

    total: Estimate
    event: Estimate
    nonevent: Estimate


@dataclass(frozen=True, slots=True)
class Reclassification:
    """A net reclassification improvement as in ``Improvement``, and the shares of patients moved that make it."""

    total: Estimate
    event: Estimate
    nonevent: Estimate
    up_event: float
    down_event: float
    up_nonevent: float
    down_nonevent: float


@dataclass(frozen=True, slots=True)
class ReclassificationTable:
    """Patients by the risk group of the old (rows) and the new probability (columns), shape (K, K) each."""

    event: NDArray[np.int64]
    nonevent: NDArray[np.int64]


def idi(event: ArrayLike, probability: ArrayLike, versus: ArrayLike, level: float) -> Improvement:
    """Estimate the integrated discrimination improvement: how much further the classes' mean probabilities are apart.

    Its parts are the mean rise of those with the event and the mean fall of those without; each has a normal interval
    and test from the variance of the patients' changes, as in R's Hmisc and PredictABEL. The p-value is NaN where no
    patient's change differs from no change.

    Args:
        event: Whether each patient had the event, shape (n,); both classes must be there.
        probability: New probability of the event, shape (n,).
        versus: Old probability of the event, shape (n,).
        level: Coverage of the intervals.

    References:
        Pencina, D'Agostino, D'Agostino, Vasan. Stat Med 2008;27:157-172.

    Example:
        >>> gain = idi([1, 1, 0, 0], [0.8, 0.7, 0.1, 0.3], versus=[0.6, 0.6, 0.2, 0.3], level=0.95)
        >>> round(gain.total.value, 3), round(gain.event.value, 3), round(gain.nonevent.value, 3)
        (0.2, 0.15, 0.05)
    """
    happened, new = _checked_probability(event, probability)
    _, old = _checked_probability(event, versus)
    change = new - old
    rise, fall = change[happened], -change[~happened]
    return Improvement(*_added((rise.mean(), _variance_of_mean(rise)), (fall.mean(), _variance_of_mean(fall)), level))


def nri_continuous(
    event: ArrayLike, probability: ArrayLike, versus: ArrayLike, level: float, min_change: float = 0.0
) -> Reclassification:
    """Estimate the net reclassification improvement without categories (NRI > 0).

    A patient moves when his probability changes by more than ``min_change``. Interval and test are Pencina's, as in
    R's Hmisc and PredictABEL; the total runs from -2 to 2.

    References:
        Pencina, D'Agostino, Steyerberg. Stat Med 2011;30:11-21.
    """
    happened, new = _checked_probability(event, probability)
    _, old = _checked_probability(event, versus)
    return _net_moves(happened, *_moves(new, old, min_change), level)


def nri_categorical(
    event: ArrayLike, probability: ArrayLike, versus: ArrayLike, cuts: ArrayLike, level: float
) -> Reclassification:
    """Estimate the net reclassification improvement across risk groups; a probability at a cut is in the higher group.

    Args:
        event: Whether each patient had the event, shape (n,); both classes must be there.
        probability: New probability of the event, shape (n,).
        versus: Old probability of the event, shape (n,).
        cuts: Rising bounds between the risk groups, shape (K - 1,).
        level: Coverage of the intervals.

    References:
        Pencina, D'Agostino, D'Agostino, Vasan. Stat Med 2008;27:157-172.
    """
    happened, new = _checked_probability(event, probability)
    _, old = _checked_probability(event, versus)
    return _net_moves(happened, *_moves(risk_group(new, cuts), risk_group(old, cuts), 0), level)


def reclassification_table(
    event: ArrayLike, probability: ArrayLike, versus: ArrayLike, cuts: ArrayLike
) -> ReclassificationTable:
    """Count patients by their risk group before and after, apart for those with and without the event."""
    happened, new = _checked_probability(event, probability)
    _, old = _checked_probability(event, versus)
    groups = np.size(cuts) + 1
    cell = risk_group(old, cuts) * groups + risk_group(new, cuts)
    of_event, of_rest = (np.bincount(cell[who], minlength=groups**2).reshape(groups, groups) for who in _both(happened))
    return ReclassificationTable(of_event, of_rest)


def risk_group(probability: ArrayLike, cuts: ArrayLike) -> NDArray[np.int64]:
    """Return the number of cuts at or below each probability: 0 is the lowest risk group; shape (n,)."""
    bounds = np.asarray(cuts, dtype=float)
    if bounds.ndim != 1 or bounds.size == 0 or not ((bounds > 0) & (bounds < 1)).all() or (np.diff(bounds) <= 0).any():
        raise ValueError(f"cuts between risk groups must rise and lie between 0 and 1, got {bounds.tolist()}")
    return np.digitize(np.asarray(probability, dtype=float), bounds).astype(np.int64)


def _moves(new: NDArray[np.generic], old: NDArray[np.generic], min_change: float) -> tuple[Floats, Floats]:
    if not 0 <= min_change < 1:
        raise ValueError(f"min_change must be 0 or more and below 1, got {min_change}")
    change = np.subtract(new, old, dtype=float)
    return (change > min_change).astype(float), (-change > min_change).astype(float)


def _net_moves(event: NDArray[np.bool_], up: Floats, down: Floats, level: float) -> Reclassification:
    (up_event, up_nonevent), (down_event, down_nonevent) = (
        [float(moved[who].mean()) for who in _both(event)] for moved in (up, down)
    )
    net_event, net_nonevent = up_event - down_event, down_nonevent - up_nonevent
    gains = _added(
        (net_event, max(0.0, up_event + down_event - net_event**2) / event.sum()),
        (net_nonevent, max(0.0, up_nonevent + down_nonevent - net_nonevent**2) / (~event).sum()),
        level,
    )
    return Reclassification(*gains, up_event, down_event, up_nonevent, down_nonevent)


def _added(
    of_event: tuple[float, float], of_nonevent: tuple[float, float], level: float
) -> tuple[Estimate, Estimate, Estimate]:
    """Turn two independent values with their variances into estimates: the sum, the first, the second."""
    total = (of_event[0] + of_nonevent[0], of_event[1] + of_nonevent[1])
    return _normal(*total, level), _normal(*of_event, level), _normal(*of_nonevent, level)


def _normal(value: float, variance: float, level: float) -> Estimate:
    error = sqrt(variance)
    reach = float(norm.ppf((1 + level) / 2)) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = 2 * norm.sf(np.abs(np.divide(value, error)))
    return Estimate(float(value), float(value - reach), float(value + reach), float(p_value))


def _variance_of_mean(values: Floats) -> float:
    return float(values.var(ddof=1) / values.size) if values.size > 1 else nan


def _both(event: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return event, ~event


def _checked_probability(event: ArrayLike, probability: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
    happened, values = checked_classes(event, probability)
    refuse_unless_probability(values)
    return happened, values


def refuse_unless_probability(values: Floats) -> None:
    """Raise a ValueError if a value lies outside [0, 1]."""
    wrong = (values < 0) | (values > 1)
    if wrong.any():
        raise ValueError(
            f"{wrong.sum()} of {values.size} probabilities lie outside [0, 1], such as {values[wrong][0]:g}"
        )
