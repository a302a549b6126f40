"""Tables of odds and hazard ratios: one variable at a time, or all together."""

from collections.abc import Mapping, Sequence
from math import nan

import numpy as np
import pandas as pd

from radnet.evaluation.discrimination import Floats
from radnet.evaluation.regression.design import (
    MANY,
    Design,
    design,
    is_number,
    levels_of,
    refuse_unknown_columns,
)
from radnet.evaluation.regression.fit import Fit, SeparationError, fit_cox, fit_logistic, likelihood_ratio
from radnet.evaluation.survival.schoenfeld import schoenfeld

COLUMNS = (
    "variable",
    "level",
    "measure",
    "estimate",
    "lower",
    "upper",
    "p_value",
    "profile_lower",
    "profile_upper",
    "p_lrt",
    "p_proportional",
    "n",
    "n_event",
    "log_likelihood",
    "aic",
    "note",
)
"""Columns of a regression table: Wald's bounds and p-value, the profile likelihood's, the likelihood-ratio p-value,
and for a hazard ratio the p-value of proportional hazards (Schoenfeld's residuals, score test). ``log_likelihood`` and
``aic`` are of the model as a whole; of models of other patients they say nothing, see ``models_table``."""


def univariable_table(
    table: pd.DataFrame, variables: Sequence[str], *, event: str, time: str | None = None, level: float = 0.95
) -> pd.DataFrame:
    """Estimate the odds ratio (hazard ratio, with a time) of each variable by itself.

    Each variable is judged on the patients in whom it is known; ``n`` says how many. A variable that has no finite
    estimate keeps its row, and ``note`` says why. A text with more than ``MANY`` values is no category: it has one
    row.

    Args:
        table: One row per patient.
        variables: Columns to judge; text, booleans and categoricals against their first level, see ``design``.
        event: Column of 0 and 1; rows where it is missing are left out, as are those without a time.
        time: Column of follow-up; given, the models are Cox's (Efron's ties), else logistic.
        level: Coverage of the intervals.

    Returns:
        ``COLUMNS``; a row per variable, per level of a categorical one. ``p_lrt`` is of the variable as a whole.

    References:
        R's ``glm`` and ``coxph``, ``confint.default`` (Wald), ``confint`` (profile) and ``drop1(test = "Chisq")``.
    """
    _refuse_unknown(table, variables, event, time)
    rows: list[dict[str, object]] = []
    for variable in variables:
        try:
            rows += _rows(table, [variable], event, time, level)
        except ValueError as fault:  # told in its row, so that a screen of many goes on
            rows += _untold(table, [variable], event, time, str(fault))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def multivariable_table(
    table: pd.DataFrame, variables: Sequence[str], *, event: str, time: str | None = None, level: float = 0.95
) -> pd.DataFrame:
    """Estimate the odds ratios (hazard ratios, with a time) of variables in one model, on patients who have them all.

    See ``univariable_table`` for arguments and columns. Where the model separates the patients no ratio of it has a
    finite estimate that could be trusted: all are NaN and ``note`` names what separates.
    """
    _refuse_unknown(table, variables, event, time)
    try:
        rows = _rows(table, list(variables), event, time, level)
    except SeparationError as fault:
        rows = _untold(table, list(variables), event, time, str(fault))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def untold_table(
    table: pd.DataFrame, variables: Sequence[str], note: str, *, event: str, time: str | None = None
) -> pd.DataFrame:
    """Return the rows of variables of which nothing can be estimated, with the reason; see ``univariable_table``."""
    return pd.DataFrame(_untold(table, list(variables), event, time, note), columns=list(COLUMNS))


def fitted(table: pd.DataFrame, variables: Sequence[str], *, event: str, time: str | None = None) -> tuple[Fit, Design]:
    """Fit a logistic model (Cox's, with a time) of columns of a table, on the patients who have them all."""
    whole = complete_cases(table, variables, event=event, time=time)
    coded = design(whole, variables)
    return _fit(whole, coded, event, time), coded


def complete_cases(
    table: pd.DataFrame, variables: Sequence[str], *, event: str, time: str | None = None
) -> pd.DataFrame:
    """Return variables and outcome of the patients who have them all, with the index of the table.

    Raises:
        ValueError: If a column is unknown, or no patient has all.
    """
    columns = _columns(variables, event, time)
    refuse_unknown_columns(table, columns)
    whole = table[columns].dropna()
    if whole.empty:
        raise ValueError(f"no patient has all of {', '.join(columns)}")
    return whole


def _rows(
    table: pd.DataFrame, variables: list[str], event: str, time: str | None, level: float
) -> list[dict[str, object]]:
    for name in variables:
        if _is_text(table[name]):
            raise ValueError(f"{name}: a text with {table[name].nunique()} different values is no category")
    whole = complete_cases(table, variables, event=event, time=time)
    shared = _shared(whole, event, time)
    coded = design(whole, variables)
    if alike := [name for name, levels in coded.levels.items() if len(levels) < 2]:
        raise ValueError(f"a model needs covariates that differ between patients; these do not: {', '.join(alike)}")
    fit = _fit(whole, coded, event, time)
    shared |= {"log_likelihood": fit.log_likelihood, "aic": fit.aic}
    p_lrt = {v: likelihood_ratio(fit, _fit(whole, coded.without(v), event, time)).p_value for v in variables}
    proportional = np.full(fit.coefficient.size, nan) if time is None else _proportional(whole, coded, event, time)
    at = {name: index for index, name in enumerate(fit.names)}
    lower, upper = fit.wald_interval(level)
    rows: list[dict[str, object]] = []
    for variable, name in _names(coded.levels, variables):
        row: dict[str, object] = {**shared, "variable": variable, "level": name, "note": "", "p_lrt": p_lrt[variable]}
        if name and name == coded.levels[variable][0]:
            rows.append({**row, **_nothing(), "estimate": 1.0, "note": "reference"})
            continue
        index = at[f"{variable}={name}" if name else variable]
        with np.errstate(over="ignore"):  # groups that are all but separated have a bound beyond any number
            ratio, low, high, *profile = np.exp(
                [fit.coefficient[index], lower[index], upper[index], *fit.profile_interval(index, level)]
            )
        numbers = {"estimate": ratio, "lower": low, "upper": high, "p_value": fit.p_value[index]}
        numbers |= {"profile_lower": profile[0], "profile_upper": profile[1], "p_proportional": proportional[index]}
        rows.append({**row, **numbers})
    return rows


def _untold(
    table: pd.DataFrame, variables: list[str], event: str, time: str | None, note: str
) -> list[dict[str, object]]:
    whole = table[_columns(variables, event, time)].dropna()
    judged = table if whole.empty else whole
    levels = {v: levels_of(judged[v]) for v in variables if not (is_number(judged[v]) or _is_text(judged[v]))}
    shared = {**_shared(whole, event, time), **_nothing(), "log_likelihood": nan, "aic": nan, "note": note}
    return [{**shared, "variable": v, "level": name} for v, name in _names(levels, variables)]


def _shared(whole: pd.DataFrame, event: str, time: str | None) -> dict[str, object]:
    measure = "odds_ratio" if time is None else "hazard_ratio"
    return {"measure": measure, "n": len(whole), "n_event": int(whole[event].sum())}


def _proportional(whole: pd.DataFrame, coded: Design, event: str, time: str) -> Floats:
    try:
        tested = schoenfeld(whole[time], whole[event], coded.X, clock="km", method="score")
    except ValueError:  # too few times of events for a drift along them
        return np.full(len(coded.names), nan)
    return np.array([one.p_value for one in tested.each])


def _nothing() -> dict[str, object]:
    numbers = ("estimate", "lower", "upper", "p_value", "profile_lower", "profile_upper", "p_lrt", "p_proportional")
    return dict.fromkeys(numbers, nan)


def _names(levels: Mapping[str, Sequence[str]], variables: list[str]) -> list[tuple[str, str]]:
    return [(variable, name) for variable in variables for name in levels.get(variable) or ("",)]


def _is_text(column: pd.Series) -> bool:
    return not is_number(column) and column.nunique() > MANY


def _columns(variables: Sequence[str], event: str, time: str | None) -> list[str]:
    return [*variables, event, *([] if time is None else [time])]


def _fit(whole: pd.DataFrame, coded: Design, event: str, time: str | None) -> Fit:
    if time is None:
        return fit_logistic(whole[event], coded.X, coded.names)
    return fit_cox(whole[time], whole[event], coded.X, coded.names)


def _refuse_unknown(table: pd.DataFrame, variables: Sequence[str], event: str, time: str | None) -> None:
    refuse_unknown_columns(table, _columns(variables, event, time))
    if not variables:
        raise ValueError("a regression table needs a variable, but none is named")
