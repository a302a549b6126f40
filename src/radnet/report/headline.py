"""The headline of a report: each model's AUC or C-index, by partition, and a warning where no patient was held out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from radnet.report.claims import Claim, claims, side_by_side
from radnet.report.look import MEASURE_LABELS, PARTITION_LABELS, in_order
from radnet.report.reading import Evaluation, discrimination
from radnet.report.text import Table, decimal, interval_text
from radnet.tables import stands_aside


@dataclass(frozen=True, slots=True)
class Result:
    """A model's headline number in one partition, as text."""

    partition: str
    label: str
    estimate: str
    interval: str
    patients: str


@dataclass(frozen=True, slots=True)
class Headline:
    """The headline of one endpoint: for every model its results, held-out first; then what stands against them."""

    endpoint: str
    measure: str
    warning: str
    models: list[tuple[str, list[Result]]]
    claims: list[Claim]
    side_by_side: Table | None


def headlines(evaluation: Evaluation) -> list[Headline]:
    """Give each endpoint its AUC, or its C-index where it has one, by model and partition; controls are claims."""
    found = []
    for endpoint, metrics in discrimination(evaluation.metrics).groupby("endpoint", sort=False):
        metric = _headline_metric(metrics)
        metrics = metrics[(metrics["metric"] == metric) & (metrics["partition"] != "optimism_corrected")]
        models = [
            (str(model), [_result(rows, partition) for partition in in_order(rows["partition"])])
            for model, rows in metrics.groupby("model", sort=False)
        ]
        models = [one for one in models if not stands_aside(one[0])] or models
        if models:
            warning = _partition_warning(set(metrics["partition"]))
            beside = (claims(evaluation, str(endpoint)), side_by_side(evaluation, str(endpoint)))
            found.append(Headline(str(endpoint), MEASURE_LABELS[metric], warning, models, *beside))
    return found


def _headline_metric(metrics: pd.DataFrame) -> str:
    return "c_index" if (metrics["metric"] == "c_index").any() else "auc"


def _result(metrics: pd.DataFrame, partition: str) -> Result:
    row = next(metrics[metrics["partition"] == partition].itertuples())
    return Result(
        partition=partition,
        label=PARTITION_LABELS.get(partition, partition),
        estimate=decimal(row.estimate),
        interval=interval_text(row.lower, row.upper),
        patients=_patients(row),
    )


def _patients(row: Any) -> str:
    if np.isnan(row.n):
        return ""
    return f"{row.n:.0f} patients" + ("" if np.isnan(row.n_event) else f", {row.n_event:.0f} with the event")


def _partition_warning(partitions: set[str]) -> str:
    if "held_out" in partitions:
        return ""
    if "out_of_fold" in partitions:
        return (
            "No held-out patients. The number shown first is out-of-fold: each patient was scored by models that had "
            "not learned from that patient, but were developed on the same cohort. Expect less at another hospital."
        )
    return (
        "No held-out patients and no out-of-fold scores. The models were only tried on patients they had learned from, "
        "which says little about a new patient."
    )
