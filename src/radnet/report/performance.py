"""Tables of metrics: performance by partition, each centre by itself, and models compared."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from radnet.report.look import MEASURE_LABELS, METHOD_LABELS, PARTITION_LABELS, in_order
from radnet.report.reading import (
    Evaluation,
    comparisons,
    of_patients,
    over_all_follow_up,
    overall,
    preferred,
    without_ablations,
)
from radnet.report.survival_curve import time_unit
from radnet.report.text import MISSING, Table, count, p_text, percent, with_interval

_REMARKS = {"apparent": " (the model learned from these patients)"}


def performance_tables(evaluation: Evaluation) -> list[Table]:
    """Tabulate each endpoint and partition: discrimination, and accuracy at the cut-off."""
    metrics = overall(evaluation.metrics)
    return [_performance_table(rows, _unit(rows, evaluation)) for rows in _parts(metrics)]


def centre_tables(evaluation: Evaluation) -> list[Table]:
    """Tabulate each centre by itself, held-out centres first."""
    metrics = of_patients(evaluation.metrics)
    return [
        _performance_table(
            rows.sort_values("centre", kind="stable", ignore_index=True), _unit(rows, evaluation), by_centre=True
        )
        for rows in _parts(metrics[metrics["centre"] != ""])
    ]


def comparison_tables(evaluation: Evaluation) -> list[Table]:
    """Tabulate the differences between models on the same patients; those with ablations stand in ``branch_tables``."""
    metrics = preferred(over_all_follow_up(comparisons(without_ablations(evaluation.metrics))))
    tables = []
    for (endpoint, metric), rows in metrics.groupby(["endpoint", "metric"], sort=False):
        if not metric.endswith("_difference"):
            continue
        measure = MEASURE_LABELS.get(metric.removesuffix("_difference"), metric)
        lines = [
            [
                PARTITION_LABELS.get(partition, partition),
                f"{row.model} − {row.versus}",
                count(row.n),
                with_interval(row.estimate, row.lower, row.upper),
                p_text(row.p_value),
                METHOD_LABELS.get(row.method, row.method),
            ]
            for partition in in_order(rows["partition"])
            for row in rows[rows["partition"] == partition].itertuples()
        ]
        columns = ["Partition", "Models", "Patients", f"Difference in {measure} (CI)", "p-value", "Method"]
        tables.append(Table(f"{endpoint}: difference in {measure}", columns, lines, headers=2))
    return tables


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the performance tables: which number it shows, and how."""

    title: str
    metric: str
    write: Callable[[Any], str]
    group: str = ""


def _estimate(decimals: int) -> Callable[[Any], str]:
    return lambda row: with_interval(row.estimate, row.lower, row.upper, decimals)


def _hazard_ratio(row: Any) -> str:
    ratio = with_interval(row.estimate, row.lower, row.upper, 2)
    return ratio if np.isnan(row.p_value) else f"{ratio}, {p_text(row.p_value)}"


def _cutoff(row: Any) -> str:
    return f"{row.estimate:.3g}".replace("-", "−", 1) if np.isfinite(row.estimate) else MISSING


def _median(row: Any) -> str:
    return with_interval(row.estimate, row.lower, row.upper, 1) if np.isfinite(row.estimate) else "not reached"


_COLUMNS = (
    _Column("AUC (CI)", "auc", _estimate(3)),
    _Column("C-index (CI)", "c_index", _estimate(3)),
    _Column("Cut-off", "cutoff", _cutoff),
    *(
        _Column(f"{title} (CI)", metric, lambda row: percent(row.estimate, row.lower, row.upper))
        for title, metric in [
            ("Sensitivity", "sensitivity"),
            ("Specificity", "specificity"),
            ("PPV", "ppv"),
            ("NPV", "npv"),
            ("Accuracy", "accuracy"),
        ]
    ),
    _Column("Hazard ratio, high vs low risk", "hazard_ratio", _hazard_ratio, group="high_vs_low"),
    _Column("Hazard ratio per SD of the score", "hazard_ratio", _hazard_ratio, group="per_sd"),
    _Column("Log-rank test", "logrank", lambda row: p_text(row.p_value)),
    _Column("Median, low risk", "km_median", _median, group="low"),
    _Column("Median, high risk", "km_median", _median, group="high"),
)


def _parts(metrics: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Part metrics by endpoint and then partition, in the order in which a reader should meet them."""
    for _, rows in metrics.groupby("endpoint", sort=False):
        for partition in in_order(rows["partition"]):
            yield rows[rows["partition"] == partition]


def _unit(metrics: pd.DataFrame, evaluation: Evaluation) -> str:
    return time_unit(evaluation.km[evaluation.km["endpoint"] == metrics["endpoint"].iloc[0]])


def _performance_table(metrics: pd.DataFrame, unit: str, by_centre: bool = False) -> Table:
    """Tabulate one endpoint and partition, a row per model or per centre and model; an empty column is left out."""
    best = preferred(over_all_follow_up(metrics))
    keys = list(dict.fromkeys(zip(best["centre"], best["model"], strict=True)))
    numbers = {(row.centre, row.model, row.metric, row.group): row for row in best[::-1].itertuples()}
    shown = [
        column
        for column in _COLUMNS
        if any((*key, column.metric, column.group) in numbers for key in keys)
        and not (by_centre and column.metric == "cutoff")
    ]
    rows = []
    for centre, model in keys:
        found = [numbers.get((centre, model, column.metric, column.group)) for column in shown]
        size = next((row for row in found if row is not None and not np.isnan(row.n)), None)
        sizes = [count(size.n), count(size.n_event)] if size else [MISSING, MISSING]
        cells = [MISSING if row is None else column.write(row) for column, row in zip(shown, found, strict=True)]
        rows.append([*([centre] if by_centre else []), model, *sizes, *cells])
    endpoint, partition = best["endpoint"].iloc[0], best["partition"].iloc[0]
    return Table(
        caption=f"{endpoint}: {PARTITION_LABELS.get(partition, partition)}{_REMARKS.get(partition, '')}",
        columns=[
            *(["Centre"] if by_centre else []),
            "Model",
            "Patients",
            "Events",
            *(_heading(column, unit) for column in shown),
        ],
        rows=rows,
        headers=2 if by_centre else 1,
        note=_methods(best, shown),
    )


def _heading(column: _Column, unit: str) -> str:
    return f"{column.title} ({unit})" if unit and column.metric == "km_median" else column.title


def _methods(best: pd.DataFrame, shown: Iterable[_Column]) -> str:
    by_method: dict[str, list[str]] = {}
    for column in shown:
        used = best.loc[(best["metric"] == column.metric) & (best["group"] == column.group), "method"]
        for method in dict.fromkeys(used[~used.isin(["", column.metric])]):
            name = column.title.removesuffix(" (CI)")
            by_method.setdefault(METHOD_LABELS.get(method, method), []).append(name)
    told = "; ".join(f"{', '.join(names)} by {method}" for method, names in by_method.items())
    return f"Methods: {told}" if told else ""
