"""Tables of odds and hazard ratios: one variable at a time, or all together."""

from collections.abc import Sequence
from math import nan

import numpy as np
import pandas as pd

from radnet.evaluation.regression.design import Design, design, refuse_unknown_columns
from radnet.evaluation.regression.fit import Fit, SeparationError, fit_cox, fit_logistic, likelihood_ratio

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
    "n",
    "n_event",
    "note",
)
"""Columns of a regression table: Wald's bounds and p-value, the profile likelihood's, the likelihood-ratio p-value."""


def univariable_table(
    table: pd.DataFrame, variables: Sequence[str], *, event: str, time: str | None = None, level: float = 0.95
) -> pd.DataFrame:
    """Estimate the odds ratio (hazard ratio, with a time) of each variable by itself.

    Each variable is judged on the patients in whom it is known; ``n`` says how many. A variable that has no finite
    estimate keeps its row, and ``note`` says why.

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
    rows = [_rows(table, [variable], event, time, level) for variable in variables]
    return pd.DataFrame([row for part in rows for row in part], columns=list(COLUMNS))


def multivariable_table(
    table: pd.DataFrame, variables: Sequence[str], *, event: str, time: str | None = None, level: float = 0.95
) -> pd.DataFrame:
    """Estimate the odds ratios (hazard ratios, with a time) of variables in one model, on patients who have them all.

    See ``univariable_table`` for arguments and columns. Where the model separates the patients no ratio of it has a
    finite estimate that could be trusted: all are NaN and ``note`` names what separates.
    """
    _refuse_unknown(table, variables, event, time)
    return pd.DataFrame(_rows(table, list(variables), event, time, level), columns=list(COLUMNS))


def fitted(table: pd.DataFrame, variables: Sequence[str], *, event: str, time: str | None = None) -> tuple[Fit, Design]:
    """Fit a logistic model (Cox's, with a time) of columns of a table, on the patients who have them all."""
    whole = _complete(table, variables, event, time)
    coded = design(whole, variables)
    return _fit(whole, coded, event, time), coded


def _rows(
    table: pd.DataFrame, variables: list[str], event: str, time: str | None, level: float
) -> list[dict[str, object]]:
    whole = _complete(table, variables, event, time)
    shared: dict[str, object] = {
        "measure": "odds_ratio" if time is None else "hazard_ratio",
        "n": len(whole),
        "n_event": int(whole[event].sum()),
    }
    coded = design(whole, variables)
    try:
        fit = _fit(whole, coded, event, time)
    except ValueError as fault:
        # One variable's fault is told in its row, so that a screen of many goes on; a model's is raised.
        if len(variables) > 1 and not isinstance(fault, SeparationError):
            raise
        names = _names(coded, variables)
        return [{**shared, **_nothing(), "variable": v, "level": name, "note": str(fault)} for v, name in names]

    p_lrt = {v: likelihood_ratio(fit, _fit(whole, coded.without(v), event, time)).p_value for v in variables}
    at = {name: index for index, name in enumerate(fit.names)}
    lower, upper = fit.wald_interval(level)
    rows: list[dict[str, object]] = []
    for variable, name in _names(coded, variables):
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
        rows.append({**row, **numbers, "profile_lower": profile[0], "profile_upper": profile[1]})
    return rows


def _nothing() -> dict[str, object]:
    return dict.fromkeys(("estimate", "lower", "upper", "p_value", "profile_lower", "profile_upper", "p_lrt"), nan)


def _names(coded: Design, variables: list[str]) -> list[tuple[str, str]]:
    return [(variable, name) for variable in variables for name in coded.levels.get(variable, ("",))]


def _complete(table: pd.DataFrame, variables: Sequence[str], event: str, time: str | None) -> pd.DataFrame:
    columns = [*variables, event, *([] if time is None else [time])]
    refuse_unknown_columns(table, columns)
    whole = table[columns].dropna()
    if whole.empty:
        raise ValueError(f"no patient has all of {', '.join(columns)}")
    return whole


def _fit(whole: pd.DataFrame, coded: Design, event: str, time: str | None) -> Fit:
    if time is None:
        return fit_logistic(whole[event], coded.X, coded.names)
    return fit_cox(whole[time], whole[event], coded.X, coded.names)


def _refuse_unknown(table: pd.DataFrame, variables: Sequence[str], event: str, time: str | None) -> None:
    refuse_unknown_columns(table, [*variables, event, *([] if time is None else [time])])
    if not variables:
        raise ValueError("a regression table needs a variable, but none is named")
