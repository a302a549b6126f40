"""Models beside models: a matrix of their differences, and what they are worth in each subgroup."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from radnet.report.look import MEASURE_LABELS, PARTITION_LABELS, in_order
from radnet.report.reading import Evaluation, comparisons, over_all_follow_up, preferred, without_ablations
from radnet.report.text import MISSING, Table, count, p_text, percent, with_interval
from radnet.tables import is_control


def comparison_matrices(evaluation: Evaluation) -> list[Table]:
    """Set every model beside every other: a cell is the model of its row minus that of its column.

    A control has a column where it was compared with a model, and no row; ablations stand in ``branch_tables``.
    """
    metrics = preferred(over_all_follow_up(comparisons(without_ablations(evaluation.metrics))))
    metrics = metrics[metrics["metric"].isin(["auc_difference", "c_index_difference"])]
    tables = []
    for (endpoint, metric), of_endpoint in metrics.groupby(["endpoint", "metric"], sort=False):
        for partition in in_order(of_endpoint["partition"]):
            rows = of_endpoint[of_endpoint["partition"] == partition]
            found = dict(_both_ways(rows))
            models = sorted(dict.fromkeys([*rows["model"], *rows["versus"]]), key=is_control)
            lines = [
                [f"{one} minus", *(_cell(found.get((one, other)), one == other) for other in models)]
                for one in models
                if not is_control(one)
            ]
            if lines:
                measure = MEASURE_LABELS[metric.removesuffix("_difference")]
                title = f"{endpoint}: difference in {measure}, {PARTITION_LABELS.get(partition, partition)}"
                tables.append(Table(title, ["Model", *models], lines))
    return tables


def subgroup_tables(evaluation: Evaluation) -> list[Table]:
    """Tabulate each model within each subgroup, with the test of whether the score works in them alike."""
    metrics = over_all_follow_up(evaluation.metrics)
    inside = (metrics["subgroup"] != "") & (metrics["centre"] == "") & (metrics["versus"] == "")
    metrics = preferred(metrics[inside & metrics["level"].isin(["", "patient"])])
    tables = []
    for endpoint, of_endpoint in metrics.groupby("endpoint", sort=False):
        for partition in in_order(of_endpoint["partition"]):
            rows = of_endpoint[of_endpoint["partition"] == partition]
            lines = [line for model, of_model in rows.groupby("model", sort=False) for line in _levels(model, of_model)]
            if lines:
                title = f"{endpoint}: {PARTITION_LABELS.get(partition, partition)}"
                tables.append(Table(title, [*_COLUMNS], lines, headers=2, note=_INTERACTION))
    return tables


_COLUMNS = (
    *("Model", "Subgroup", "Patients", "Events", "AUC or C-index (CI)"),
    *("Sensitivity (CI)", "Specificity (CI)", "Interaction"),
)
_INTERACTION = "Interaction: whether the score tells the event in all levels of the column alike; not adjusted."


def _levels(model: str, rows: pd.DataFrame) -> Iterator[list[str]]:
    tested = rows[rows["metric"] == "interaction"].drop_duplicates("subgroup").set_index("subgroup")["p_value"]
    told: set[str] = set()
    for subgroup, of_level in rows[rows["subgroup"].str.contains("=")].groupby("subgroup", sort=False):
        found = {row.metric: row for row in list(of_level.itertuples())[::-1]}
        area = found.get("c_index", found.get("auc"))
        first: Any = area if area is not None else next(iter(found.values()))
        shares = [
            MISSING if (row := found.get(name)) is None else percent(row.estimate, row.lower, row.upper)
            for name in ("sensitivity", "specificity")
        ]
        column = str(subgroup).split("=", 1)[0]
        p_value = p_text(float(tested.get(column, np.nan))) if column not in told else ""
        told.add(column)
        number = MISSING if area is None else with_interval(area.estimate, area.lower, area.upper)
        yield [str(model), str(subgroup), count(first.n), count(first.n_event), number, *shares, p_value]


def _both_ways(rows: pd.DataFrame) -> Iterator[tuple[tuple[str, str], tuple[float, float, float, float]]]:
    for row in rows.itertuples():
        yield (row.versus, row.model), (-row.estimate, -row.upper, -row.lower, row.p_value)
    for row in rows.itertuples():  # what was computed stands before what is turned round
        yield (row.model, row.versus), (row.estimate, row.lower, row.upper, row.p_value)


def _cell(found: tuple[float, float, float, float] | None, itself: bool) -> str:
    if itself:
        return ""
    if found is None:
        return MISSING
    estimate, lower, upper, p_value = found
    return with_interval(estimate, lower, upper) + ("" if np.isnan(p_value) else f" ({p_text(p_value)})")
