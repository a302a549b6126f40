"""Regression tables as a terminal shows them."""

from math import isinf, isnan

import pandas as pd
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from radnet.evaluation.regression.both import MULTIVARIABLE, UNIVARIABLE
from radnet.tables import printable

_NARROW = 0.05  # an interval that two decimals would not show, as of a ratio per unit of a large number


def shown_regression(table: pd.DataFrame, level: float) -> Table:
    """Return a row per variable and level, its ratios alone and in the model side by side.

    Args:
        table: As ``regression_table`` gives it.
        level: Coverage of its intervals.
    """
    short = "OR" if (table["measure"] == "odds_ratio").all() else "HR"
    shown = Table(box=SIMPLE, pad_edge=False)
    shown.add_column("", overflow="fold")
    shown.add_column("events/n", justify="right", no_wrap=True)
    for analysis in (UNIVARIABLE, MULTIVARIABLE):
        shown.add_column(f"{analysis}\n{short} ({100 * level:g} % CI)", no_wrap=True)
        shown.add_column("p", justify="right", no_wrap=True)
    alone = table[table["analysis"] == UNIVARIABLE]
    model = table[table["analysis"] == MULTIVARIABLE].set_index(["variable", "level"])
    for variable, rows in alone.groupby("variable", sort=False):
        counts = f"{rows['n_event'].iloc[0]}/{rows['n'].iloc[0]}"
        if len(rows) > 1:
            shown.add_row(Text(printable(str(variable))), counts)
        for _, row in rows.iterrows():
            key = (row["variable"], row["level"])
            inside = model.loc[key] if key in model.index else None
            name = f"  {printable(str(row['level']))}" if len(rows) > 1 else _name(row)
            cells = [*_cells(row), *(("", "") if inside is None else _cells(inside))]
            shown.add_row(Text(name), counts if len(rows) == 1 else "", *cells)
    return shown


def told_notes(table: pd.DataFrame) -> list[str]:
    """Return each note once, with the analysis and the variables it stands beside."""
    noted = table[~table["note"].isin(["", "reference"])]
    told = []
    for (analysis, note), rows in noted.groupby(["analysis", "note"], sort=False):
        names = list(dict.fromkeys(map(str, rows["variable"])))
        beside = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        told.append(printable(f"{analysis}, {beside}: {note}"))
    return told


def told_model(table: pd.DataFrame) -> str:
    """Return a line on the patients of the multivariable model and its events per coefficient."""
    model = table[table["analysis"] == MULTIVARIABLE]
    if model.empty:
        return "multivariable: no variable enters the model"
    fitted = model[model["p_value"].notna()]
    if fitted.empty:
        return "multivariable: no model"
    n, events = int(fitted["n"].iloc[0]), int(fitted["n_event"].iloc[0])
    fewer = min(events, n - events) if (fitted["measure"] == "odds_ratio").all() else events
    each = fewer / len(fitted)
    few = ": few, so expect it to do worse on others" if each < 10 else ""
    fit = f"log-likelihood {fitted['log_likelihood'].iloc[0]:.2f}, AIC {fitted['aic'].iloc[0]:.2f}"
    return f"multivariable: {n} patients, {events} events, {each:.1f} events per coefficient{few}; {fit}"


def shown_models(table: pd.DataFrame) -> Table:
    """Return a row per model, with its AIC and how far that is from the least.

    Args:
        table: As ``models_table`` gives it.
    """
    shown = Table(box=SIMPLE, pad_edge=False)
    shown.add_column("model", overflow="fold")
    for heading in ("events/n", "coefficients", "log-likelihood", "AIC", "above the least"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in table.itertuples():
        numbers = [row.log_likelihood, row.aic, row.difference]
        told = ["–" if isnan(number) else f"{number:.2f}" for number in numbers]
        coefficients = "–" if isnan(row.coefficients) else f"{row.coefficients:.0f}"
        shown.add_row(Text(printable(str(row.model))), f"{row.n_event}/{row.n}", coefficients, *told)
    return shown


def told_models(table: pd.DataFrame) -> list[str]:
    """Return a line on the patients the models of a ``models_table`` share, and one for each without numbers."""
    n, events = table["n"].iloc[0], table["n_event"].iloc[0]
    shared = f"all models: of the {n} patients, {events} events, who have every variable"
    untold = table[table["note"] != ""]
    return [shared, *(printable(f"{row.model}: {row.note}") for row in untold.itertuples())]


def p_text(p_value: float) -> str:
    """Return a p-value as a table prints it; nothing for NaN.

    Example:
        >>> p_text(0.00004), p_text(0.0312)
        ('<0.001', '0.031')
    """
    if isnan(p_value):
        return ""
    return "<0.001" if p_value < 0.0005 else f"{p_value:.3f}"


def _name(row: pd.Series) -> str:
    unit = row.get("per", 1.0)
    per = "" if isnan(unit) or unit == 1 else f" (per {unit:g})"
    return printable(f"{row['variable']}={row['level']}" if row["level"] else f"{row['variable']}{per}")


def _cells(row: pd.Series) -> tuple[str, str]:
    if row["note"] == "reference":
        return "1 (reference)", ""
    if isnan(row["estimate"]):
        return "–", ""
    close = row["upper"] - row["lower"] < _NARROW
    ratio, lower, upper = (
        f"{row[name]:.4f}" if close else _short(row[name]) for name in ("estimate", "lower", "upper")
    )
    return f"{ratio} ({lower}–{upper})", p_text(row["p_value"])


def _short(ratio: float) -> str:
    if isinf(ratio) or ratio >= 1000:
        return "∞" if isinf(ratio) else f"{ratio:.0e}"
    return f"{ratio:.3g}" if ratio < 0.1 or ratio >= 100 else f"{ratio:.2f}"
