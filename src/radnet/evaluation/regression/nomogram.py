"""A model as points to add up: the axes of a nomogram, as R's rms draws them, and what a patient's total predicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from radnet.evaluation.discrimination import Floats
from radnet.evaluation.regression.design import is_number, level_names, levels_of, refuse_unknown_columns
from radnet.evaluation.regression.table import fitted
from radnet.evaluation.regression.ticks import pretty
from radnet.evaluation.survival.proportional_hazards import cumulative_hazard

_INTERVALS = 10  # of an axis; rms's nint
_FULL_SCALE = 100.0  # points of the longest axis; rms's maxscale
_FEW = 10  # a number with no more distinct values than this shows them, as rms's datadist


@dataclass(frozen=True, slots=True)
class Axis:
    """One variable of a nomogram.

    Attributes:
        variable: Its name.
        ticks: Round numbers, or the levels of a category.
        effect: What each tick adds to the linear predictor, shape (k,).
        points: Points of each tick, 0 at the least effect, shape (k,).
    """

    variable: str
    ticks: tuple[float | str, ...]
    effect: Floats
    points: Floats


@dataclass(frozen=True, slots=True)
class Nomogram:
    """Axes whose points add up to a linear predictor.

    Attributes:
        axes: One for each variable.
        at_zero: Linear predictor of a patient with 0 points.
        per_point: What one point adds to the linear predictor.
        range: Lowest and highest linear predictor of the patients it was made on.
        baseline_hazard: Cumulative hazard at the horizon and a linear predictor of 0; None for a logistic model.
    """

    axes: tuple[Axis, ...]
    at_zero: float
    per_point: float
    range: tuple[float, float]
    baseline_hazard: float | None = None

    @property
    def predictor_ticks(self) -> Floats:
        """Round values of the linear predictor."""
        return pretty(*self.range, _INTERVALS)

    @property
    def total_ticks(self) -> Floats:
        """Round values of the total points."""
        longest = _FULL_SCALE if len(self.axes) == 1 else self.points_at(self.predictor_ticks).max()
        return pretty(0.0, max(_FULL_SCALE, float(longest)), _INTERVALS)

    def total_points(self, table: pd.DataFrame) -> Floats:
        """Return the points of each patient, shape (n,); values beyond an axis count as if it went on."""
        refuse_unknown_columns(table, [axis.variable for axis in self.axes])
        return np.sum([_points_of(axis, table[axis.variable]) for axis in self.axes], axis=0)

    def linear_predictor(self, points: ArrayLike) -> Floats:
        """Return the log odds (log hazard ratio) of total points."""
        return self.at_zero + np.asarray(points, dtype=float) * self.per_point

    def points_at(self, predictor: ArrayLike) -> Floats:
        """Return the total points of a linear predictor."""
        return (np.asarray(predictor, dtype=float) - self.at_zero) / self.per_point

    def probability(self, points: ArrayLike) -> Floats:
        """Return the probability of total points: of the event, or for a Cox model of survival to the horizon."""
        predictor = self.linear_predictor(points)
        return expit(predictor) if self.baseline_hazard is None else np.exp(-self.baseline_hazard * np.exp(predictor))

    def points_at_probability(self, probability: ArrayLike) -> Floats:
        """Return the total points of a probability strictly between 0 and 1; see ``probability``."""
        chance = np.asarray(probability, dtype=float)
        if not ((chance > 0) & (chance < 1)).all():
            raise ValueError("a point on a nomogram's probability axis must lie between 0 and 1")
        if self.baseline_hazard is None:
            return self.points_at(logit(chance))
        return self.points_at(np.log(-np.log(chance) / self.baseline_hazard))


def logistic_nomogram(table: pd.DataFrame, variables: Sequence[str], *, event: str) -> Nomogram:
    """Fit a logistic model and lay it out as a nomogram, as rms's ``lrm`` and ``nomogram``.

    Args:
        table: One row per patient; those without one of the columns are left out.
        variables: Columns of the model; categories against their first level.
        event: Column of 0 and 1.

    References:
        Harrell. Regression Modeling Strategies. 2nd ed. Springer 2015; R's rms 6.5.
    """
    fit, coded = fitted(table, variables, event=event)
    whole = table[[*variables, event]].dropna()
    coefficient = dict(zip(fit.names, fit.coefficient.tolist(), strict=True))
    predictor = coefficient["(intercept)"] + coded.X @ fit.coefficient[1:]
    return nomogram(coefficient, whole, variables, at_reference=coefficient["(intercept)"], predictor=predictor)


def cox_nomogram(table: pd.DataFrame, variables: Sequence[str], *, event: str, time: str, horizon: float) -> Nomogram:
    """Fit a Cox model (Efron's ties) and lay it out as a nomogram of survival to ``horizon``, as rms's ``cph``.

    The linear predictor is 0 for a patient at the mean of every covariate, as in rms. See ``logistic_nomogram``.

    Args:
        table: One row per patient.
        variables: Columns of the model.
        event: Column of 0 and 1.
        time: Column of follow-up.
        horizon: Time, in the unit of ``time``, within the follow-up.
    """
    fit, coded = fitted(table, variables, event=event, time=time)
    whole = table[[*variables, event, time]].dropna()
    times, happened = whole[time].to_numpy(dtype=float), whole[event].to_numpy(dtype=float) == 1
    if not times[happened].min() <= horizon <= times.max():
        raise ValueError(
            f"the horizon must lie between the first event ({times[happened].min():g}) and the longest follow-up "
            f"({times.max():g}), got {horizon:g}"
        )
    coefficient = dict(zip(fit.names, fit.coefficient.tolist(), strict=True))
    centre = float(coded.X.mean(axis=0) @ fit.coefficient)
    predictor = coded.X @ fit.coefficient - centre
    at, summed = cumulative_hazard(times, happened, predictor[:, None], np.ones(1))
    hazard = float(summed[np.searchsorted(at, horizon, side="right") - 1])
    return nomogram(coefficient, whole, variables, at_reference=-centre, predictor=predictor, baseline_hazard=hazard)


def nomogram(
    coefficient: Mapping[str, float],
    table: pd.DataFrame,
    variables: Sequence[str],
    *,
    at_reference: float,
    predictor: ArrayLike,
    baseline_hazard: float | None = None,
) -> Nomogram:
    """Lay out any linear model, fitted or published, as points.

    The variable whose effect spans most over its axis gets 0 to 100 points; the others share its scale.

    Args:
        coefficient: By variable, or ``variable=level`` for each level but the reference.
        table: Patients whose values set the axes.
        variables: Columns, in the order of the axes.
        at_reference: Linear predictor where every number is 0 and every category at its reference.
        predictor: Linear predictor of the patients, shape (n,).
        baseline_hazard: For a Cox model, the cumulative hazard at the horizon where the linear predictor is 0.
    """
    refuse_unknown_columns(table, variables)
    laid = [(variable, *_ticks(table[variable], variable, coefficient)) for variable in variables]
    span = max(np.ptp(effect) for _, _, effect in laid)
    if not (isfinite(span) and span > 0):
        raise ValueError("a nomogram needs a variable with an effect, but every coefficient is 0")
    axes = tuple(
        Axis(variable, values, effect, (effect - effect.min()) / span * _FULL_SCALE)
        for variable, values, effect in laid
    )
    at_zero = at_reference + sum(float(effect.min()) for _, _, effect in laid)
    reach = np.asarray(predictor, dtype=float)
    return Nomogram(axes, at_zero, span / _FULL_SCALE, (float(reach.min()), float(reach.max())), baseline_hazard)


def _ticks(
    column: pd.Series, variable: str, coefficient: Mapping[str, float]
) -> tuple[tuple[float | str, ...], Floats]:
    if is_number(column):
        if variable not in coefficient:
            raise ValueError(f"{variable}: no coefficient of that name; there are {', '.join(coefficient)}")
        distinct = np.unique(column.dropna().to_numpy(dtype=float))
        if distinct.size < 2:
            raise ValueError(f"{variable}: an axis needs two values or more, got {distinct.tolist()}")
        ticks = distinct if distinct.size <= _FEW else pretty(distinct[0], distinct[-1], _INTERVALS)
        return tuple(ticks.tolist()), ticks * coefficient[variable]
    levels = levels_of(column)
    unknown = [level for level in levels if f"{variable}={level}" not in coefficient]
    if len(unknown) > 1:
        raise ValueError(f"{variable}: one level may be the reference, but these have no coefficient: {unknown}")
    return levels, np.array([coefficient.get(f"{variable}={level}", 0.0) for level in levels])


def _points_of(axis: Axis, column: pd.Series) -> Floats:
    if column.isna().any():
        raise ValueError(f"{axis.variable}: {int(column.isna().sum())} of {len(column)} values are missing")
    if is_number(column):
        values = np.array(axis.ticks, dtype=float)
        slope = (axis.points[-1] - axis.points[0]) / (values[-1] - values[0])
        return axis.points[0] + (column.to_numpy(dtype=float) - values[0]) * slope
    points = dict(zip(axis.ticks, axis.points.tolist(), strict=True))
    text = level_names(column)
    unknown = sorted(set(text) - set(points))
    if unknown:
        raise ValueError(f"{axis.variable}: the nomogram knows no level {', '.join(unknown)}")
    return text.map(points).to_numpy(dtype=float)
