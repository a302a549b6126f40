"""Cox regression of few features at once, or of each of many alone, equal to R's coxph."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from radnet.models.penalty_path import Floats

_MAX_STEPS = 200
_ARRIVED = 1e-14  # squared distance to the maximum, in standard errors
# Between the log hazards of two rows: no data tell e^500, and beyond e^700 numbers end.
_RUNAWAY_RISK, _FARTHEST_STEP = 500.0, 20.0
_RUNAWAY_ERROR = 1e3  # how much larger than at no effect the error of a coefficient that runs to infinity becomes
_COLLINEAR = 1e-9  # of an event's information on features of standard deviation 1


class CoxRegression(BaseEstimator):
    """Cox regression: the log hazard is linear in the features, up to a constant of no meaning.

    Ties are Efron's, the default of R's coxph. Outcomes have the fields or columns ``event`` and ``time``. lifelines
    has the same model; it is not used because the fit of hundreds of features one by one must be written anyway, is
    the same code, and because lifelines takes a second to import.

    Args:
        prior_sd: Without it, the likelihood alone is maximised, as in coxph; among few events it often has no top, as
            where nobody of a rare stage had the event. With it, the log hazard ratio of a standard deviation of each
            feature is held to be normal about 0 with this standard deviation beforehand (a ridge): 2.5 keeps a ratio
            within 1/150 to 150 by habit, and leaves what hundreds of events tell as it is.

    Attributes:
        coef_: Log hazard ratio of one unit of each feature, shape (p,).
        standard_error_: Its standard error, from the observed information, shape (p,).
        mean_: Of each feature among the rows learned from, shape (p,).

    References:
        Cox. J R Stat Soc B 1972;34:187-220. Efron. J Am Stat Assoc 1977;72:557-565.

    Example:
        >>> y = np.array([(1, 1.0), (1, 2.0), (0, 3.0), (1, 4.0)], dtype=[("event", bool), ("time", float)])
        >>> CoxRegression().fit([[3.0], [1.0], [2.0], [0.0]], y).coef_.round(3)
        array([0.937])
    """

    def __init__(self, prior_sd: float | None = None) -> None:
        self.prior_sd = prior_sd

    def fit(self, X: ArrayLike | pd.DataFrame, y: Any) -> Self:
        """Learn the coefficients.

        Args:
            X: Features, shape (n, p), complete.
            y: Event and time of each row.

        Raises:
            ValueError: If there is no event. Without ``prior_sd`` also if there are fewer events than features; if
                those at risk of an event do not differ in a feature, or features follow from one another; if a
                coefficient runs to infinity.
        """
        values = _read(self, X, learn=True)
        event, time = _outcome(y, len(values))
        self.mean_ = values.mean(axis=0)
        if self.prior_sd is not None:
            if not self.prior_sd > 0:
                raise ValueError(f"prior_sd must be above 0, got {self.prior_sd}")
            fit = _fit(values[:, None, :], _at_risk(event, time), precision=self.prior_sd**-2)
            self.coef_, self.standard_error_ = fit.coefficient[0], fit.standard_error[0]
            return self
        if event.sum() < values.shape[1]:
            raise ValueError(
                f"a Cox regression needs an event per feature at least, but {event.sum()} events meet "
                f"{values.shape[1]} features: select fewer, or take an elastic net"
            )
        risk = _at_risk(event, time)
        lowest, highest = _monotone(values, risk)
        if same := self._named(lowest & highest):
            raise ValueError(f"a Cox regression needs features that differ among those at risk of an event: {same} not")
        if runaway := self._named(lowest | highest):
            raise ValueError(_runs_away(runaway))
        fit = _fit(values[:, None, :], risk)
        if collinear := self._named(fit.collinear[0]):
            raise ValueError(f"a Cox regression cannot tell features apart that follow from one another: {collinear}")
        if runaway := self._named(fit.runaway[0]):
            raise ValueError(_runs_away(runaway))
        self.coef_, self.standard_error_ = fit.coefficient[0], fit.standard_error[0]
        return self

    def predict(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Return the log hazard ratio of each row against the mean of the rows learned from: higher = event sooner.

        Against a row of zeros, models of several folds would differ by what separates their weights at age 0.
        """
        check_is_fitted(self)
        return np.asarray((_read(self, X) - self.mean_) @ self.coef_)

    def _named(self, among: NDArray[np.bool_]) -> str:
        names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
        return ", ".join(f"feature {name}" for name in names[among])


class UnivariableCox(SelectorMixin, BaseEstimator):
    """Keep the features whose p-value in a Cox regression of each alone (Wald, not adjusted) is below ``p_value``.

    Where none is, the one with the smallest is kept alone, so that a fold with little to find still has a model, and
    ``note_`` says so. A feature in which those at risk of an event do not differ has no p-value and is not kept, nor is
    one whose hazard ratio is infinite or 0.

    Attributes:
        p_values_: Of each feature, shape (p,); NaN where it has none.
        note_: Empty if features passed.
    """

    def __init__(self, p_value: float) -> None:
        self.p_value = p_value

    def fit(self, X: ArrayLike | pd.DataFrame, y: Any) -> Self:
        """Learn which features to keep.

        Args:
            X: Features, shape (n, p), complete.
            y: Event and time of each row, as fields or columns of these names.

        Raises:
            ValueError: Also if no feature has a p-value.
        """
        if not 0 < self.p_value <= 1:
            raise ValueError(f"p_value must lie above 0 and up to 1, got {self.p_value}")
        values = _read(self, X, learn=True)
        coefficient, error = univariable_cox(values, *_outcome(y, len(values)))
        told = np.isfinite(coefficient)
        if not told.any():
            raise ValueError(f"none of {told.size} features has a finite hazard ratio: there is nothing to select by")
        self.p_values_ = np.full(told.size, np.nan)
        self.p_values_[told] = 2 * norm.sf(np.abs(coefficient[told] / error[told]))
        self.keep_ = self.p_values_ < self.p_value
        self.note_ = ""
        if not self.keep_.any():
            best = int(np.nanargmin(self.p_values_))
            self.keep_[best] = True
            name = getattr(self, "feature_names_in_", np.arange(told.size))[best]
            self.note_ = (
                f"none of {told.size} features has p < {self.p_value:g} in univariable Cox regression: feature {name} "
                f"was kept alone (p = {self.p_values_[best]:.3g})"
            )
        return self

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        return self.keep_


def univariable_cox(X: ArrayLike, event: ArrayLike, time: ArrayLike) -> tuple[Floats, Floats]:
    """Return the log hazard ratio of one unit of each feature alone and its standard error, shape (p,) each.

    All features are fitted at once, by Newton's method with Efron's ties. A coefficient is NaN where those at risk of
    an event do not differ, and ± infinity (so is the error) where the likelihood has no top: at each event the highest,
    or the lowest, of those at risk had it. Where it would part the hazards of two rows by more than e^500, as beside a
    value thousands of times the others', it counts as infinite.

    Args:
        X: Features, shape (n, p), complete and finite.
        event: Whether each row's follow-up ended with the event, shape (n,).
        time: How long that was, above 0, shape (n,).
    """
    values = np.asarray(X, dtype=float)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(f"X: expected numbers, shape (rows, features), none missing, got shape {values.shape}")
    risk = _at_risk(*_checked(event, time, len(values)))
    lowest, highest = _monotone(values, risk)
    coefficient, error = np.full((2, values.shape[1]), np.nan)
    coefficient[highest], coefficient[lowest] = np.inf, -np.inf
    error[highest | lowest] = np.inf
    coefficient[highest & lowest] = error[highest & lowest] = np.nan
    alone = np.flatnonzero(~highest & ~lowest)
    if alone.size:
        fit = _fit(values[:, alone, None], risk)
        runaway = fit.runaway[:, 0]
        coefficient[alone] = np.where(runaway, np.copysign(np.inf, fit.coefficient[:, 0]), fit.coefficient[:, 0])
        error[alone] = np.where(runaway, np.inf, fit.standard_error[:, 0])
    return coefficient, error


@dataclass(frozen=True)
class _AtRisk:
    """Who is at risk of which event, D of them, all by falling time.

    Attributes:
        rows: Rows at risk of any event, by falling time.
        events: Places in ``rows`` of those who had it, shape (D,).
        last: Place in ``rows`` of the last row at risk of each event, shape (D,).
        tied: Which group of events at one time each belongs to, shape (D,).
        first_tied: Event that each group begins with, shape (groups,).
        left: Share of the group that has left the risk set before each event, as Efron counts it, shape (D,).
    """

    rows: NDArray[np.intp]
    events: NDArray[np.intp]
    last: NDArray[np.intp]
    tied: NDArray[np.intp]
    first_tied: NDArray[np.intp]
    left: Floats


@dataclass(frozen=True)
class _Moments:
    """What m models of p features expect at the events together: value (m,), slope (m, p), information (m, p, p)."""

    value: Floats
    slope: Floats
    information: Floats


@dataclass(frozen=True)
class _Fit:
    """m fitted models of p features; arrays of shape (m, p)."""

    coefficient: Floats
    standard_error: Floats
    runaway: NDArray[np.bool_]
    collinear: NDArray[np.bool_]


def _read(estimator: BaseEstimator, X: ArrayLike | pd.DataFrame, *, learn: bool = False) -> Floats:
    values: Floats = validate_data(estimator, X, dtype=float, ensure_all_finite=False, reset=learn)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        name = getattr(estimator, "feature_names_in_", np.arange(values.shape[1]))[column]
        raise ValueError(f"feature {name} is {values[row, column]} in row {row}: a Cox regression needs numbers")
    return values


def _outcome(y: Any, rows: int) -> tuple[NDArray[np.bool_], Floats]:
    try:
        event, time = (np.asarray(y[name], dtype=float) for name in ("event", "time"))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError("y: expected a table or structured array with numbers in time and event") from error
    return _checked(event, time, rows)


def _checked(event: ArrayLike, time: ArrayLike, rows: int) -> tuple[NDArray[np.bool_], Floats]:
    events, times = np.asarray(event, dtype=float), np.asarray(time, dtype=float)
    if times.shape != (rows,) or events.shape != (rows,):
        raise ValueError(f"y: expected a time and an event for each of {rows} rows, got {times.shape}, {events.shape}")
    if not (np.isfinite(times) & (times > 0)).all():
        raise ValueError("y: expected times above 0")
    if not np.isin(events, (0.0, 1.0)).all():
        raise ValueError("y: expected events of 0 or 1")
    if not events.any():
        raise ValueError("a Cox model needs an event, but the rows it learns from have none")
    return events == 1, times


def _at_risk(event: NDArray[np.bool_], time: Floats) -> _AtRisk:
    falling = np.argsort(-time, kind="stable")
    rows = falling[time[falling] >= time[event].min()]  # who left before the first event tells nothing
    events = np.flatnonzero(event[rows])
    times = time[rows][events]
    last = np.searchsorted(-time[rows], -times, side="right") - 1
    _, first_tied, tied, size = np.unique(-times, return_index=True, return_inverse=True, return_counts=True)
    left = (np.arange(events.size) - first_tied[tied]) / size[tied]
    return _AtRisk(rows, events, last, tied, first_tied, left)


def _monotone(values: Floats, risk: _AtRisk) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return in which features it was always the lowest at risk, and always the highest, who had the event."""
    columns = values[risk.rows]
    had_it = columns[risk.events]
    lowest = np.minimum.accumulate(columns)[risk.last]
    highest = np.maximum.accumulate(columns)[risk.last]
    return (had_it == lowest).all(axis=0), (had_it == highest).all(axis=0)


def _runs_away(named: str) -> str:
    return (
        f"the hazard ratio of {named} is infinite or 0: the likelihood rises without end, as where the highest or "
        "lowest of those at risk had each event; leave out what foretells every event, or take an elastic net"
    )


def _fit(columns: Floats, risk: _AtRisk, precision: float = 0.0) -> _Fit:
    """Fit m models of p features each, given as shape (n, m, p), in which those at risk differ.

    ``precision`` is that of a normal prior about 0 of each coefficient per standard deviation; with one, a feature in
    which those at risk do not differ has the coefficient 0.
    """
    x = columns[risk.rows]
    x = x - x.mean(axis=0)
    scale = x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0) if precision else scale
    x = x / scale
    coefficient = np.zeros(x.shape[1:])
    start = there = _moments(x, coefficient, risk, precision)
    error = _errors(start)
    which, weight = np.linalg.eigh(start.information)
    collinear = ((np.abs(weight) > 1e-3) & (which < _COLLINEAR * risk.events.size)[:, None, :]).any(axis=-1)
    step = _step(x, there)
    for _ in range(_MAX_STEPS):
        settled = (there.slope * step).sum(axis=-1) < _ARRIVED
        settled |= np.ptp((x * coefficient).sum(axis=-1), axis=0) > _RUNAWAY_RISK
        if settled.all():
            break
        step[settled] = 0.0
        ahead = _moments(x, coefficient + step, risk, precision)
        better = ahead.value >= there.value - 1e-9 * np.abs(there.value)
        coefficient = np.where(better[:, None], coefficient + step, coefficient)
        there = _Moments(
            np.where(better, ahead.value, there.value),
            np.where(better[:, None], ahead.slope, there.slope),
            np.where(better[:, None, None], ahead.information, there.information),
        )
        step = np.where(better[:, None], _step(x, there), step / 2)
    else:
        raise ValueError(f"a Cox regression did not settle in {_MAX_STEPS} steps")
    far = np.ptp((x * coefficient).sum(axis=-1), axis=0) > _RUNAWAY_RISK
    leading = np.abs(coefficient) > 0.1 * np.abs(coefficient).max(axis=-1, keepdims=True)
    standard_error = _errors(there)
    runaway = (standard_error > _RUNAWAY_ERROR * error) | (far[:, None] & leading)
    return _Fit(coefficient / scale, standard_error / scale, runaway, collinear)


def _moments(x: Floats, coefficient: Floats, risk: _AtRisk, precision: float) -> _Moments:
    log_hazard = (x * coefficient).sum(axis=-1)
    top = log_hazard.max(axis=0)
    hazard = np.exp(log_hazard - top)[..., None]
    first = hazard * x
    total = _sums(hazard, risk)
    mean = _sums(first, risk) / total
    square = _sums(first[..., None] * x[..., None, :], risk) / total[..., None]
    value = (log_hazard[risk.events] - np.log(total[..., 0]) - top).sum(axis=0)
    information = (square - mean[..., None] * mean[..., None, :]).sum(axis=0)
    slope = (x[risk.events] - mean).sum(axis=0)
    return _Moments(
        value - 0.5 * precision * (coefficient**2).sum(axis=-1),
        slope - precision * coefficient,
        information + precision * np.eye(x.shape[-1]),
    )


def _sums(values: Floats, risk: _AtRisk) -> Floats:
    """Sum over those at risk of each event, less the share that Efron lets leave before it."""
    at_risk = np.cumsum(values, axis=0)[risk.last]
    tied = np.add.reduceat(values[risk.events], risk.first_tied, axis=0)[risk.tied]
    return at_risk - risk.left.reshape(-1, *[1] * (values.ndim - 1)) * tied


def _step(x: Floats, there: _Moments) -> Floats:
    """Return Newton's step, shape (m, p), shortened where it would part the log hazards too far."""
    step = (np.linalg.pinv(there.information, hermitian=True) @ there.slope[..., None])[..., 0]
    apart = np.ptp((x * step).sum(axis=-1), axis=0)
    return step * np.minimum(1.0, _FARTHEST_STEP / np.maximum(apart, 1e-300))[:, None]


def _errors(there: _Moments) -> Floats:
    """Return standard errors, shape (m, p), huge where the likelihood is flat."""
    curve, along = np.linalg.eigh(there.information)
    return np.sqrt((along**2 / np.maximum(curve, 1e-300)[:, None, :]).sum(axis=-1))
