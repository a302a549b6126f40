"""What each branch of a model is worth: the model beside its ablations, on the same patients."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from radnet.evaluation.namesakes import judges
from radnet.report.look import MEASURE_LABELS, PARTITION_LABELS, in_order
from radnet.report.reading import Evaluation, comparisons, discrimination, over_all_follow_up, preferred
from radnet.report.text import MISSING, Table, count, p_text, with_interval
from radnet.tables import is_ablation, stands_aside

_DIFFERENCES = ("auc_difference", "c_index_difference")
_NOTE = (
    "Differences are of the whole model minus the other, on the patients both judge: above 0, what was taken out adds "
    "something. Each is fitted anew in the same folds."
)


def branch_tables(evaluation: Evaluation) -> list[Table]:
    """Tabulate each model with ablations beside these, by endpoint and partition; empty where there are none."""
    metrics = discrimination(evaluation.metrics)
    differences = preferred(over_all_follow_up(comparisons(evaluation.metrics)))
    differences = differences[differences["metric"].isin(_DIFFERENCES)]
    tables = []
    for endpoint, of_endpoint in metrics.groupby("endpoint", sort=False):
        for partition in in_order(of_endpoint["partition"]):
            rows = of_endpoint[of_endpoint["partition"] == partition]
            here = (differences["endpoint"] == endpoint) & (differences["partition"] == partition)
            lines = list(_lines(rows, differences[here]))
            if lines:
                measure = MEASURE_LABELS[str(rows["metric"].iloc[0])]
                columns = ["Model", "Patients", f"{measure} (CI)", "Whole model minus this (CI)", "p-value"]
                title = f"{endpoint}: {PARTITION_LABELS.get(partition, partition)}"
                tables.append(Table(title, columns, lines, note=_NOTE))
    return tables


def _lines(rows: pd.DataFrame, differences: pd.DataFrame) -> Iterator[list[str]]:
    found = {str(row.model): row for row in rows.itertuples()}
    for whole in found:
        beside = [name for name in found if is_ablation(name) and judges(name, whole, list(found))]
        if stands_aside(whole) or not beside:
            continue
        yield [*_worth(found[whole]), "", ""]
        for name in beside:
            yield [*_worth(found[name]), *_difference(differences, whole, name)]


def _worth(row: Any) -> list[str]:
    return [str(row.model), count(row.n), with_interval(row.estimate, row.lower, row.upper)]


def _difference(rows: pd.DataFrame, whole: str, ablation: str) -> list[str]:
    """Write the difference of the whole model minus an ablation, whichever way round it stands in the metrics."""
    for one, versus, sign in ((whole, ablation, 1), (ablation, whole, -1)):
        found = rows[(rows["model"] == one) & (rows["versus"] == versus)]
        if len(found):
            row = found.iloc[0]
            lower, upper = sorted([sign * row["lower"], sign * row["upper"]])
            return [with_interval(sign * row["estimate"], lower, upper), p_text(row["p_value"])]
    return [MISSING, MISSING]
