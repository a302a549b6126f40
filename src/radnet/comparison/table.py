"""What compared models are worth beside each other: the table that is written, and as a terminal shows it."""

import numpy as np
import pandas as pd
from rich.box import SIMPLE
from rich.table import Table

from radnet.evaluation.baseline.multiplicity import adjusted_p_values
from radnet.report.look import MEASURE_LABELS, PARTITION_LABELS
from radnet.report.reading import comparisons, discrimination, over_all_follow_up, preferred, typed
from radnet.report.text import p_text, with_interval
from radnet.tables import METRIC_COLUMNS

COLUMNS = (*METRIC_COLUMNS, "p_holm")
"""Columns of the table: those of metrics.csv, and the p-value of a difference among all differences of the table."""

UNSEEN = ("held_out", "out_of_fold")
"""Partitions of patients whom a model did not learn from."""


def comparison_table(metrics: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return what each model is worth on patients it did not learn from, and by how much it differs from the reference.

    ``p_holm`` is Holm's adjustment over every difference of the table, out of fold and held out: whoever reads two
    partitions may find in either.

    Args:
        metrics: Of an evaluation of all models.
        reference: Model whose difference from each other was tested.

    Returns:
        ``COLUMNS``; held out before out of fold, and models before differences.
    """
    metrics = typed(metrics)
    worth = discrimination(metrics).assign(p_holm=np.nan)
    tested = preferred(over_all_follow_up(comparisons(metrics)))
    tested = tested[tested["metric"].isin([f"{name}_difference" for name in MEASURE_LABELS])]
    tested = tested[tested["versus"] == reference]
    tested = tested.assign(p_holm=adjusted_p_values(tested["p_value"], "holm"))
    parts = [rows[rows["partition"] == partition] for partition in UNSEEN for rows in (worth, tested)]
    return pd.concat([one for one in parts if len(one)] or [worth], ignore_index=True)[list(COLUMNS)]


def shown_comparison(table: pd.DataFrame, reference: str) -> Table:
    """Return a row per model and partition, with its difference from the reference, as a terminal shows it.

    Args:
        table: As ``comparison_table`` gives it.
        reference: Model the others are compared with.
    """
    measure = next((label for name, label in MEASURE_LABELS.items() if (table["metric"] == name).any()), "")
    shown = Table(box=SIMPLE, pad_edge=False)
    shown.add_column("events of patients", overflow="fold")
    for heading in (f"{measure} (95 % CI)", f"minus {reference}", "p", "p Holm"):
        shown.add_column(heading, no_wrap=True)
    for partition, rows in table.groupby("partition", sort=False):
        events, patients = rows["n_event"].max(), rows["n"].max()
        shown.add_row(f"{PARTITION_LABELS[str(partition)]}, {events:.0f} of {patients:.0f}")
        tested = rows[rows["versus"] != ""].set_index("model")
        for row in rows[rows["versus"] == ""].itertuples():
            cells = _difference_cells(tested.loc[row.model]) if row.model in tested.index else []
            shown.add_row(f"  {row.model}", with_interval(row.estimate, row.lower, row.upper), *cells)
    return shown


def _difference_cells(row: pd.Series) -> list[str]:
    p_values = [p_text(row[name]).removeprefix("p ").removeprefix("= ") for name in ("p_value", "p_holm")]
    return [with_interval(row["estimate"], row["lower"], row["upper"]), *p_values]
