"""Prediction tables for tests, and a look at what their assessment found."""

import numpy as np
import pandas as pd

from radnet.tables import PREDICTION_COLUMNS


def table(event, score, **columns):
    """A frozen model's held-out predictions unless columns say otherwise."""
    base = {
        "endpoint": "response",
        "model": "radiomics",
        "partition": "held_out",
        "fold": "",
        "repeat": "",
        "patient_id": [f"P{who:04d}" for who in range(len(event))],
        "centre": "A",
        "event": np.asarray(event, dtype=float),
        "time": np.nan,
        "time_unit": "",
        "score": np.asarray(score, dtype=float),
        "probability": np.nan,
        "cutoff": 0.5,
    }
    return pd.DataFrame(base | columns)[list(PREDICTION_COLUMNS)]


def joined(*tables):
    return pd.concat(tables, ignore_index=True)


def rows_of(assessment, metric, **where):
    rows = assessment.metrics[assessment.metrics["metric"] == metric]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


def row_of(assessment, metric, **where):
    rows = rows_of(assessment, metric, **where)
    assert len(rows) == 1, f"{metric} {where}: {len(rows)} rows"
    return rows.iloc[0]


def told(assessment, severity=None):
    return [told["message"] for told in assessment.messages if severity in (None, told["severity"])]


def cohort(seed, n=60, **columns):
    rng = np.random.default_rng(seed)
    event = rng.permutation(np.arange(n) < n // 3)
    return table(event, event + rng.normal(size=n), **columns)
