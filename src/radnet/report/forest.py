"""The rows of a forest plot, on paper and on screen: subgroups of patients, or the variables of one model."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from radnet.report.panel_rows import whole
from radnet.report.reading import over_all_follow_up, preferred, typed
from radnet.report.text import with_interval

FOREST_COLUMNS = (
    *("endpoint", "model", "partition", "variable", "level", "measure"),
    *("estimate", "lower", "upper", "p_value", "p_interaction", "n", "n_event"),
)
"""Columns of the rows of a forest; a row of no variable is of all patients, one of no level heads its variable's."""

MEASURE_WORDS = {
    "auc": "AUC",
    "hazard_ratio": "Hazard ratio",
    "hazard_ratio_per_sd": "HR per SD",
    "odds_ratio": "Odds ratio",
}
NO_EFFECT = {"auc": 0.5}


def subgroup_rows(metrics: pd.DataFrame) -> pd.DataFrame:
    """Arrange the AUC, or the hazard ratio per SD of the score, of all patients and then of each subgroup.

    The p-value of the interaction stands in the row that heads a subgroup column's levels.

    Args:
        metrics: The table ``metrics.csv``.

    Returns:
        ``FOREST_COLUMNS``; empty where no subgroup was judged. Controls are left out.
    """
    metrics = typed(metrics)
    patients = metrics[(metrics["centre"] == "") & (metrics["versus"] == "") & metrics["level"].isin(["", "patient"])]
    patients = preferred(over_all_follow_up(whole(patients)))
    per_sd = (patients["metric"] == "hazard_ratio") & (patients["group"] == "per_sd")
    effects = patients[(patients["metric"] == "auc") | per_sd]
    told = {
        (row.endpoint, row.model, row.partition, row.subgroup): row.p_value
        for row in patients[patients["metric"] == "interaction"].itertuples()
    }
    rows = []
    for place, of_model in effects.groupby(["endpoint", "model", "partition"], sort=False):
        names = dict(zip(("endpoint", "model", "partition"), place, strict=True))
        of_model = of_model.sort_values("subgroup", key=lambda column: column != "", kind="stable")
        if (of_model["subgroup"] == "").all():
            continue
        headed = ""
        for row in of_model.itertuples():
            variable, _, level = row.subgroup.partition("=")
            if variable != headed:
                rows.append({**names, "variable": variable, "p_interaction": told.get((*place, variable), np.nan)})
                headed = variable
            measure = "auc" if row.metric == "auc" else "hazard_ratio_per_sd"
            rows.append({**names, "variable": variable, "level": level, "measure": measure, **_numbers(row)})
    return _forest(rows)


def model_rows(regression: pd.DataFrame | None) -> pd.DataFrame:
    """Arrange the multivariable model of a table of ``radnet regression``, or of a run, as a forest.

    Args:
        regression: Columns analysis, variable, level, measure, estimate, lower, upper, p_value, n, n_event; None where
            there is no table.

    Returns:
        ``FOREST_COLUMNS``; empty where there is no multivariable model.
    """
    if regression is None:
        return _forest([])
    table = typed(regression)
    table = table[(table["analysis"] == "multivariable") & table["estimate"].notna()]
    names = {name: table.get(name, "") for name in ("endpoint", "model", "partition")}
    rows: list[dict[str, Any]] = []
    for (*place, variable), levels in table.assign(**names).groupby([*names, "variable"], sort=False):
        of_variable = {**dict(zip(names, place, strict=True)), "variable": variable}
        if (levels["level"] != "").any():
            rows.append(of_variable)
        rows += [
            {**of_variable, "level": row.level, "measure": row.measure, **_numbers(row)} for row in levels.itertuples()
        ]
    return _forest(rows)


def forest_panels(forest: pd.DataFrame) -> Iterator[tuple[tuple[str, str, str], pd.DataFrame]]:
    """Yield endpoint, model and partition of each panel with its rows."""
    for (endpoint, model, partition), rows in forest.groupby(["endpoint", "model", "partition"], sort=False):
        yield (str(endpoint), str(model), str(partition)), rows.reset_index(drop=True)


def row_label(row: Any) -> str:
    """Name a row: a level is set in under its variable."""
    if not row.variable:
        return "All patients"
    return f"  {row.level}" if row.level else row.variable


def effect_text(row: Any) -> str:
    """Write the estimate of a row with its interval; that of a reference level is said to be one."""
    if np.isnan(row.estimate):
        return ""
    if row.estimate == 1 and np.isnan(row.lower) and row.measure != "auc":
        return "1 (reference)"
    close = row.upper - row.lower < 0.05
    return with_interval(row.estimate, row.lower, row.upper, 3 if close else 2)


def effect_range(rows: pd.DataFrame) -> tuple[float, float]:
    """Span the estimates, their intervals and no effect; a ratio's at most from 1/20 to 20, and the AUC's up to 1."""
    values = rows[["estimate", "lower", "upper"]].to_numpy()
    values = values[np.isfinite(values)]
    if is_ratio(rows):
        values = np.clip(values, 0.05, 20)
        return float(min(0.8, values.min(initial=1) / 1.1)), float(max(1.25, values.max(initial=1) * 1.1))
    return float(min(0.45, values.min(initial=1) - 0.03)), 1.0


def is_ratio(rows: pd.DataFrame) -> bool:
    """Whether the rows' measure is a ratio, to stand on a logarithmic axis; else it is an AUC."""
    return not (rows["measure"] == "auc").any()


def measure_of(rows: pd.DataFrame) -> str:
    """Return the measure of a panel."""
    return next((name for name in rows["measure"] if name), "")


def _numbers(row: Any) -> dict[str, float]:
    return {name: getattr(row, name) for name in ("estimate", "lower", "upper", "p_value", "n", "n_event")}


def _forest(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(FOREST_COLUMNS))
    return typed(table.astype(dict.fromkeys(("n", "n_event", "p_interaction"), float)))
