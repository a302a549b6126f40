"""Calibration by groups of similar probability: tables of foretold and observed events, Hosmer-Lemeshow's test."""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from radnet.evaluation.calibration.scores import checked_probabilities
from radnet.evaluation.discrimination import Floats


@dataclass(frozen=True, slots=True)
class CalibrationGroups:
    """Patients grouped by probability; arrays of shape (K,). A group may be empty.

    Attributes:
        edge: Where groups end, rising, shape (K + 1,).
        count: Patients.
        events: Patients with the event.
        expected: Sum of their probabilities.
    """

    edge: Floats
    count: NDArray[np.int64]
    events: NDArray[np.int64]
    expected: Floats

    @property
    def predicted(self) -> Floats:
        """Mean probability of each group, NaN of nobody."""
        return np.divide(self.expected, self.count, out=np.full(self.count.shape, nan), where=self.count > 0)

    @property
    def observed(self) -> Floats:
        """Share with the event in each group, NaN of nobody."""
        return np.divide(self.events, self.count, out=np.full(self.count.shape, nan), where=self.count > 0)

    @property
    def expected_error(self) -> float:
        """Mean distance of observed and predicted over patients: the expected calibration error (ECE)."""
        return float(np.abs(self.events - self.expected).sum() / self.count.sum())


@dataclass(frozen=True, slots=True)
class HosmerLemeshow:
    """Hosmer-Lemeshow's χ², its degrees of freedom and p-value; p is NaN without a degree of freedom."""

    chi2: float
    df: int
    p_value: float


def group_by_quantile(event: ArrayLike, probability: ArrayLike, groups: int) -> CalibrationGroups:
    """Group patients between quantiles of their probability, each group closed above, as R's hoslem.test does.

    Quantiles that fall together are one edge, so tied probabilities may give fewer groups, and an empty one.

    Args:
        event: Whether each patient had the event, shape (n,); both classes must be there.
        probability: Of the event, shape (n,), in [0, 1].
        groups: How many groups to aim at; 10 for deciles.

    Raises:
        ValueError: If all probabilities are equal.
    """
    happened, probabilities = checked_probabilities(event, probability)
    edge = np.unique(_quantiles(probabilities, groups))
    if edge.size < 2:
        raise ValueError(f"groups need probabilities that differ, but all {happened.size} are {edge[0]:g}")
    place = np.maximum(np.searchsorted(edge, probabilities, side="left") - 1, 0)
    return _tabulate(edge, place, happened, probabilities)


def group_by_width(event: ArrayLike, probability: ArrayLike, groups: int) -> CalibrationGroups:
    """Group patients into equal slices of [0, 1], each closed below; the arguments of ``group_by_quantile``."""
    happened, probabilities = checked_probabilities(event, probability)
    edge = np.linspace(0, 1, groups + 1)
    place = np.minimum(np.searchsorted(edge, probabilities, side="right") - 1, groups - 1)
    return _tabulate(edge, place, happened, probabilities)


def group_by_count(event: ArrayLike, probability: ArrayLike, groups: int) -> CalibrationGroups:
    """Group patients into about equal numbers, ties together, as Hmisc::cut2; arguments of ``group_by_quantile``."""
    happened, probabilities = checked_probabilities(event, probability)
    place = equal_groups(probabilities, groups)
    lowest = [probabilities[place == group].min() for group in range(int(place.max()) + 1)]
    return _tabulate(np.array([*lowest, probabilities.max()]), place, happened, probabilities)


def hosmer_lemeshow(groups: CalibrationGroups, *, apparent: bool) -> HosmerLemeshow:
    """Test whether the events of each group are as many as its probabilities foretell.

    An empty group tells nothing and is left out, where R's hoslem.test gives NaN. A group of events that were called
    impossible makes χ² infinite.

    Args:
        groups: The patients, grouped.
        apparent: Whether the model learned from these very patients, which costs two degrees of freedom.

    References:
        Hosmer, Lemeshow. Commun Stat Theory Methods 1980;9:1043-1069.
    """
    filled = groups.count > 0
    count, events, expected = groups.count[filled], groups.events[filled], groups.expected[filled]
    distance, variance = (events - expected) ** 2, expected * (1 - expected / count)
    of_group = np.divide(distance, variance, out=np.where(distance > 0, np.inf, 0.0), where=variance > 0)
    statistic, df = float(of_group.sum()), int(filled.sum()) - 2 * apparent
    return HosmerLemeshow(statistic, df, float(chi2.sf(statistic, df)) if df > 0 else nan)


def equal_groups(values: ArrayLike, groups: int) -> NDArray[np.intp]:
    """Return the group of each value, from 0 up, in about equal numbers; ties share one, as in Hmisc::cut2.

    A group ends with the value at which the patients up to it reach their share, so ties may leave fewer groups than
    asked for.

    Args:
        values: Shape (n,).
        groups: How many groups to aim at.

    Example:
        >>> equal_groups([1, 1, 1, 2, 3, 4], groups=3)
        array([0, 0, 0, 1, 2, 2])
    """
    distinct, place, count = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
    shares = np.arange(1, groups) * place.size / groups
    last_of_group = np.unique(np.searchsorted(np.cumsum(count), shares, side="left"))
    group_of_value = np.searchsorted(last_of_group, np.arange(distinct.size), side="left")
    return group_of_value[place]


def _quantiles(values: Floats, groups: int) -> Floats:
    """Return quantiles in equal steps; whole numbers tell those that are values themselves, so that none is rounded."""
    rising = np.sort(values)
    below, part = np.divmod(np.arange(groups + 1) * (rising.size - 1), groups)
    low, high = rising[below], rising[np.minimum(below + 1, rising.size - 1)]
    share = part / groups
    return np.where((part == 0) | (low == high), low, (1 - share) * low + share * high)


def _tabulate(
    edge: Floats, place: NDArray[np.intp], event: NDArray[np.bool_], probability: Floats
) -> CalibrationGroups:
    groups = edge.size - 1
    return CalibrationGroups(
        edge=edge,
        count=np.bincount(place, minlength=groups),
        events=np.bincount(place, weights=event, minlength=groups).astype(np.int64),
        expected=np.bincount(place, weights=probability, minlength=groups).astype(float),
    )
