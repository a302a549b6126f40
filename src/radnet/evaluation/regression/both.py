"""The regression table of a paper: each variable by itself, then those that enter one model, with what was left out."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from radnet.evaluation.baseline.multiplicity import Adjustment, adjusted_p_values
from radnet.evaluation.regression.design import is_number, refuse_unknown_columns
from radnet.evaluation.regression.table import COLUMNS, multivariable_table, univariable_table, untold_table

UNIVARIABLE, MULTIVARIABLE = "univariable", "multivariable"


def regression_table(
    table: pd.DataFrame,
    variables: Sequence[str],
    *,
    event: str,
    time: str | None = None,
    level: float = 0.95,
    enter_below: float | None = None,
    adjust: Adjustment = "none",
    per: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Estimate odds ratios (hazard ratios, with a time) of each variable by itself and of all in one model.

    Each model is of the patients who have its variables; ``n`` says how many. A variable without an estimate keeps its
    rows, and ``note`` says why. One that is the same in every patient of the model is left out of it, as R's NA is.

    Args:
        table: One row per patient.
        variables: Columns to judge; text, booleans and categoricals against their first level.
        event: Column of 0 and 1, empty where it is not known.
        time: Column of follow-up; given, the models are Cox's.
        level: Coverage of the intervals.
        enter_below: Only variables with a univariable p-value below it enter the model; None lets all enter. A model
            of variables chosen on the patients it is fitted to has p-values that are too small.
        adjust: How p-values are adjusted for their number, those of each analysis by themselves, in a further column
            ``p_adjusted``; ``none`` adds none.
        per: How many units of a number its ratio is of, where that is not 1: exp(0.1 b) at 0.1, with the coefficient b
            of one unit. A further column ``per`` then tells, NaN of a category.

    Returns:
        Column ``analysis`` (univariable, multivariable), then ``radnet.evaluation.regression.table.COLUMNS``.

    Raises:
        ValueError: If a column is unknown, the outcome cannot be one, or ``per`` is of no number of the variables.
    """
    refuse_unknown_columns(table, [event, *([] if time is None else [time]), *variables])
    refuse_unusable_outcome(table, event, time)
    if taken := [name for name in variables if name in (event, time)]:
        raise ValueError(f"{', '.join(taken)}: an outcome cannot be a variable as well")
    chosen = list(dict.fromkeys(variables))
    units = dict(per or {})
    _refuse_units(table, chosen, units)
    table = table.assign(**{name: table[name] / unit for name, unit in units.items()})
    alone = univariable_table(table, chosen, event=event, time=time, level=level)
    entering = entered(alone, enter_below)
    parts = {UNIVARIABLE: alone}
    if entering:
        parts[MULTIVARIABLE] = _together(table, entering, event, time, level)
    if adjust != "none":
        parts = {
            name: part.assign(p_adjusted=adjusted_p_values(part["p_value"], adjust)) for name, part in parts.items()
        }
    joined = pd.concat([part.assign(analysis=name) for name, part in parts.items()], ignore_index=True)
    columns = ["analysis", *COLUMNS]
    if adjust != "none":
        columns.insert(columns.index("p_value") + 1, "p_adjusted")
    if units:
        of_number = {name: units.get(name, 1.0) for name in chosen if is_number(table[name])}
        joined["per"] = joined["variable"].map(of_number).astype(float)
        columns.insert(columns.index("level") + 1, "per")
    return joined[columns]


def entered(univariable: pd.DataFrame, below: float | None) -> list[str]:
    """Return the variables that enter a model: all, or those of which a level has a p-value below a bound."""
    if below is None:
        return list(dict.fromkeys(univariable["variable"]))
    return list(dict.fromkeys(univariable.loc[univariable["p_value"] < below, "variable"]))


def differing(
    table: pd.DataFrame, variables: Sequence[str], *, event: str, time: str | None = None
) -> tuple[list[str], list[str]]:
    """Part variables into those that differ and those that do not, among the patients who have them all."""
    whole = table[[*variables, event, *([] if time is None else [time])]].dropna()
    same = [name for name in variables if whole[name].nunique() < 2]
    return [name for name in variables if name not in same], same


def refuse_unusable_outcome(table: pd.DataFrame, event: str, time: str | None = None) -> None:
    """Raise a ``ValueError`` where an outcome is not 0 and 1, a time is no number of 0 or more, or a class is empty."""
    faults = []
    known = table[event].dropna()
    wrong = known[~known.isin([0, 1])]
    if len(wrong):
        faults.append(f"{event} must be 0 or 1 (empty where not known), found {wrong.iloc[0]!r} ({len(wrong)} rows)")
    if time is not None:
        numbers = pd.to_numeric(table[time], errors="coerce")
        odd = table.loc[table[time].notna() & ~(numbers >= 0), time]
        if len(odd):
            faults.append(f"{time} must be a number of 0 or more, found {odd.iloc[0]!r} ({len(odd)} rows)")
    if faults:
        raise ValueError("\n".join(faults))
    judged = table[[event, *([] if time is None else [time])]].dropna()[event].astype(float)
    if not judged.any() or (time is None and judged.all()):
        needed = "both outcomes" if time is None else "an event"
        raise ValueError(f"{event}: a model needs {needed}, but {int(judged.sum())} of {len(judged)} patients had it")


def _refuse_units(table: pd.DataFrame, variables: Sequence[str], units: Mapping[str, float]) -> None:
    for name, unit in units.items():
        if name not in variables:
            raise ValueError(f"{name}: a unit is given, but it is none of the variables {', '.join(variables)}")
        if not is_number(table[name]):
            raise ValueError(f"{name}: a category has no unit; leave it out of those that have")
        if not (math.isfinite(unit) and unit > 0):
            raise ValueError(f"{name}: a ratio is per a number above 0 of units, got {unit:g}")


def _together(table: pd.DataFrame, variables: list[str], event: str, time: str | None, level: float) -> pd.DataFrame:
    kept, same = differing(table, variables, event=event, time=time)
    of_model = table.dropna(subset=variables)
    n = len(of_model.dropna(subset=[event, *([] if time is None else [time])]))
    if n == 0:
        return untold_table(table, variables, f"no patient has all {len(variables)} variables", event=event, time=time)
    parts = []
    if kept:
        try:
            parts.append(multivariable_table(of_model, kept, event=event, time=time, level=level))
        except ValueError as fault:
            parts.append(untold_table(of_model, kept, str(fault), event=event, time=time))
    if same:
        note = f"left out: the same in all {n} patients who have every variable"
        parts.append(untold_table(of_model, same, note, event=event, time=time))
    return pd.concat(parts, ignore_index=True)
