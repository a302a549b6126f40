"""Two tables of the same patients: the correlation of every variable of one with every one of the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import nan, sqrt
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm, rankdata, t

from radnet.association.effect import Effect, untold
from radnet.association.side_by_side import numbers, refuse_other_patients
from radnet.association.spearman_null import spearman_p_value
from radnet.association.table import Association

Floats = NDArray[np.float64]
Correlation = Literal["spearman", "pearson"]

_EXPLAINED = 1e-9  # of a variable's spread: what covariates leave of one that follows from them is rounding
_SERIES_UP_TO = 1290  # patients; beyond, R takes t as well


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Correlations of p variables with q, each among the patients who have both.

    Attributes:
        r: Shape (p, q); NaN where a variable is constant, or follows from the covariates.
        n: Patients, shape (p, q).
        explained: Degrees of freedom that the covariates took, shape (p, q).
        tied: Whether one of the two has equal values, shape (p, q).
    """

    r: Floats
    n: NDArray[np.int64]
    explained: NDArray[np.int64]
    tied: NDArray[np.bool_]


def correlate(
    x: pd.DataFrame,
    y: pd.DataFrame,
    method: Correlation,
    *,
    covariates: pd.DataFrame | None = None,
    p_value: Literal["t", "exact"] = "t",
    level: float = 0.95,
) -> list[Association]:
    """Return the correlation of every variable of ``x`` with every one of ``y``, with interval and p-value.

    Each pair is of the patients who have both values (and every covariate). Intervals are Fisher's z, whose standard
    error is 1 / √(n − 3) for Pearson, and √((1 + r² / 2) / (n − 3)) for Spearman. With c covariates the correlation is
    partial: of what is left of both variables after least squares on the covariates, all of them ranked first for
    Spearman; n is then n − c in the interval and the test.

    Args:
        x: A row per patient, a column of numbers per variable; NaN where missing.
        y: Likewise, of the same patients in any order.
        method: ``spearman`` of mean ranks, or ``pearson``.
        covariates: What to hold still: numbers of the same patients, a category as columns of 0 and 1.
        p_value: ``t``: Student's t with n − 2 degrees of freedom. ``exact``: of Spearman without ties, every order
            counted up to 9 patients and Edgeworth's series up to 1289, as R's default; with ties t. The row says which.
        level: Coverage of the interval.

    Returns:
        A row for each pair: the variables of ``y`` within those of ``x``.

    Raises:
        TableFault: If the tables are not of the same patients, or hold what is no number.
        ValueError: If an exact p-value is asked for Pearson's correlation or a partial one.

    References:
        Spearman. Am J Psychol 1904;15:72-101. Fisher. Metron 1921;1:3-32. Bonett, Wright. Psychometrika 2000;65:23-28.
        R's ``cor.test``; of partial ones R package ppcor.
    """
    if p_value == "exact" and (method != "spearman" or covariates is not None):
        raise ValueError("an exact p-value is of Spearman's correlation without covariates: take p_value='t'")
    tables = {"x": x, "y": y} | ({} if covariates is None else {"covariates": covariates})
    refuse_other_patients([(name, table.index) for name, table in tables.items()])
    first, second = numbers(x, "x"), numbers(y, "y").loc[x.index]
    held = None if covariates is None else numbers(covariates, "covariates").loc[x.index].to_numpy()
    found = coefficients(first.to_numpy(), second.to_numpy(), method, held)
    measure = method if held is None else f"partial_{method}"
    given = "" if covariates is None else f", given {', '.join(map(str, covariates.columns))}"
    pairs = []
    for row, one in enumerate(first.columns):
        for column, other in enumerate(second.columns):
            effect = _effect(found, (row, column), measure, given, p_value == "exact", level)
            n = int(found.n[row, column])
            pairs.append(Association(str(one), str(other), n, len(first) - n, effect))
    return pairs


def coefficients(x: Floats, y: Floats, method: Correlation, covariates: Floats | None = None) -> Coefficients:
    """Return the correlation of every column of ``x`` with every column of ``y``; see ``correlate``.

    Args:
        x: Shape (n, p); NaN where missing.
        y: Shape (n, q).
        method: ``spearman`` or ``pearson``.
        covariates: Shape (n, c), or None.
    """
    if method not in ("spearman", "pearson"):
        raise ValueError(f"a correlation is spearman or pearson, got {method!r}")
    held = np.empty((len(x), 0)) if covariates is None else covariates
    with_covariates = ~np.isnan(held).any(axis=1)
    shape = x.shape[1], y.shape[1]
    found = Coefficients(np.full(shape, nan), np.zeros(shape, int), np.zeros(shape, int), np.zeros(shape, bool))
    for known, of_x in _by_missing(x):
        for also_known, of_y in _by_missing(y):
            who = known & also_known & with_covariates
            block = np.ix_(of_x, of_y)
            left, right = x[np.ix_(who, of_x)], y[np.ix_(who, of_y)]
            own, explained = _standardised(left, held[who], method)
            other, _ = _standardised(right, held[who], method)
            found.r[block] = np.clip(own.T @ other, -1.0, 1.0)
            found.n[block] = who.sum()
            found.explained[block] = explained
            found.tied[block] = np.logical_or.outer(_has_ties(left), _has_ties(right))
    return found


def _by_missing(table: Floats) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.intp]]]:
    """Yield columns whose values are missing in the same patients, with the patients who have them."""
    patterns, pattern = np.unique(~np.isnan(table), axis=1, return_inverse=True)
    for place in range(patterns.shape[1]):
        yield patterns[:, place], np.flatnonzero(pattern.ravel() == place)


def _standardised(columns: Floats, covariates: Floats, method: Correlation) -> tuple[Floats, int]:
    """Return columns of mean 0 and length 1, freed of covariates, and the rank of these; NaN if nothing is left."""
    if len(columns) == 0:
        return np.full(columns.shape, nan), 0
    if method == "spearman":
        columns, covariates = rankdata(columns, axis=0), rankdata(covariates, axis=0)
    centred = columns - columns.mean(axis=0)
    spread = np.abs(centred).max(axis=0)
    constant = np.ptp(columns, axis=0) == 0
    centred = centred / np.where(constant, 1.0, spread)
    before = np.linalg.norm(centred, axis=0)
    explained = 0
    if covariates.shape[1]:
        held = covariates - covariates.mean(axis=0)
        held = held / np.where(np.ptp(covariates, axis=0) == 0, 1.0, np.abs(held).max(axis=0))
        basis, size, _ = np.linalg.svd(held, full_matrices=False)
        basis = basis[:, size > _EXPLAINED * max(1.0, size.max(initial=0.0))]
        explained = basis.shape[1]
        centred = centred - basis @ (basis.T @ centred)
    length = np.linalg.norm(centred, axis=0)
    nothing = constant | (length <= _EXPLAINED * before)
    return np.where(nothing, nan, centred / np.where(nothing, 1.0, length)), explained


def _has_ties(columns: Floats) -> NDArray[np.bool_]:
    return (np.diff(np.sort(columns, axis=0), axis=0) == 0).any(axis=0)


def _effect(found: Coefficients, pair: tuple[int, int], measure: str, given: str, exact: bool, level: float) -> Effect:
    r, n, freedom = float(found.r[pair]), int(found.n[pair]), int(found.n[pair] - found.explained[pair] - 2)
    if freedom < 1:
        return untold(measure, f"t{given}", f"{n} patients have both: too few for a correlation{given}")
    if np.isnan(r):
        why = "a variable is constant among these patients" + (", or follows from the covariates" if given else "")
        return untold(measure, f"t{given}", why)
    with np.errstate(divide="ignore"):
        statistic = float(r * np.sqrt(freedom / np.float64(1 - r * r))) if abs(r) < 1 else float(np.copysign(np.inf, r))
    if exact and not found.tied[pair] and n < _SERIES_UP_TO:
        method, p_value = ("exact" if n <= 9 else "Edgeworth"), spearman_p_value(r, n)
    else:
        method, p_value = "t", float(2 * t.sf(abs(statistic), freedom))
    lower, upper = _interval(r, freedom - 1, measure.endswith("spearman"), level)
    interval = "Bonett-Wright" if measure.endswith("spearman") else "Fisher z"
    flag = "" if freedom > 1 else f"{n} patients have both: too few for an interval"
    return Effect(measure, f"{method}, {interval}{given}", r, lower, upper, statistic, p_value, flag)


def _interval(r: float, weight: int, of_ranks: bool, level: float) -> tuple[float, float]:
    """Return the bounds of a correlation by Fisher's z; ``weight`` is n − 3, less what covariates took."""
    if weight < 1:
        return nan, nan
    if abs(r) == 1:
        return r, r
    reach = float(norm.ppf((1 + level) / 2)) * sqrt((1 + r * r / 2 if of_ranks else 1.0) / weight)
    return float(np.tanh(np.arctanh(r) - reach)), float(np.tanh(np.arctanh(r) + reach))
