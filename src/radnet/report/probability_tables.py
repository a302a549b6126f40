"""Tables of what probabilities are worth: calibration, and net benefit over threshold probabilities."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from radnet.report.look import PARTITION_LABELS, in_order
from radnet.report.reading import Evaluation, overall, preferred
from radnet.report.text import MISSING, Table, count, decimal, p_text, with_interval
from radnet.tables import stands_aside

_CALIBRATION = {
    "brier": "Brier (CI)",
    "brier_scaled": "Scaled Brier (CI)",
    "calibration_intercept": "Intercept (CI)",
    "calibration_slope": "Slope (CI)",
    "ici": "ICI",
    "e90": "E90",
    "emax": "Emax",
    "hosmer_lemeshow": "Hosmer–Lemeshow",
}
_NOTE = (
    "Perfect: intercept 0, slope 1, ICI 0. ICI, E90, Emax: mean, 90th percentile and largest distance between a "
    "probability and the smoothed share observed."
)


def calibration_tables(evaluation: Evaluation) -> list[Table]:
    """Tabulate how far probabilities are from what happened, a row per model and horizon."""
    tables = []
    for title, rows in _parts(evaluation.metrics, list(_CALIBRATION)):
        best = preferred(rows)
        shown = [name for name in _CALIBRATION if (best["metric"] == name).any()]
        lines = []
        for (model, horizon), of_model in best.groupby(["model", "horizon"], sort=False, dropna=False):
            found = {row.metric: row for row in list(of_model.itertuples())[::-1]}
            first = next(iter(found.values()))
            cells = [_calibration_cell(found.get(name)) for name in shown]
            lines.append([f"{model}{_by(horizon)}", count(first.n), count(first.n_event), *cells])
        columns = ["Model", "Patients", "Events", *(_CALIBRATION[name] for name in shown)]
        tables.append(Table(title, columns, lines, note=_NOTE))
    return tables


def decision_tables(evaluation: Evaluation) -> list[Table]:
    """Tabulate net benefit, a row per threshold probability, a column per model, and treating everybody."""
    tables = []
    for title, rows in _parts(evaluation.metrics, ["net_benefit", "net_benefit_all"]):
        for horizon, of_horizon in rows.groupby("horizon", sort=False, dropna=False):
            models = list(dict.fromkeys(of_horizon["model"]))
            found = {(row.model, row.metric, row.at): row for row in of_horizon.itertuples()}
            lines = []
            for at in sorted(set(of_horizon["at"].dropna())):
                cells = [_benefit(found.get((model, "net_benefit", at))) for model in models]
                everybody = next((row for model in models if (row := found.get((model, "net_benefit_all", at)))), None)
                alone = MISSING if everybody is None else decimal(everybody.estimate)
                lines.append([f"{100 * at:.3g}%", *cells, alone])
            columns = ["Threshold probability", *models, "Treat all"]
            note = "Net true positives per patient, (CI) by bootstrap; treating nobody is 0."
            tables.append(Table(f"{title}{_by(horizon)}", columns, lines, note=note))
    return tables


def _parts(metrics: pd.DataFrame, names: list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    rows = overall(metrics)
    rows = rows[rows["metric"].isin(names) & ~rows["model"].map(stands_aside).astype(bool)]
    for endpoint, of_endpoint in rows.groupby("endpoint", sort=False):
        for partition in in_order(of_endpoint["partition"]):
            title = f"{endpoint}: {PARTITION_LABELS.get(partition, partition)}"
            yield title, of_endpoint[of_endpoint["partition"] == partition]


def _calibration_cell(row: Any) -> str:
    if row is None:
        return MISSING
    if row.metric == "hosmer_lemeshow":
        tested = "" if np.isnan(row.p_value) else f", {p_text(row.p_value)}"
        return f"χ² {decimal(row.estimate, 1)}{tested}"
    return with_interval(row.estimate, row.lower, row.upper)


def _benefit(row: Any) -> str:
    return MISSING if row is None else with_interval(row.estimate, row.lower, row.upper)


def _by(horizon: float) -> str:
    return "" if np.isnan(horizon) else f" by {horizon:g}"
