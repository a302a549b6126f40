"""What the figures of a learning curve show, on paper and on screen."""

import pandas as pd

from radnet.report.look import MEASURE_LABELS

_NUMBERS = ("n", "estimate", "lower", "upper", "share", "draws", "lowest", "highest")
POINT, BAND, DRAWS = "mean of the draws", "interval over patients judged", "least and greatest draw"
"""Words for the line, its band and the bars through it."""


def shown_learning_curve(table: pd.DataFrame | None) -> pd.DataFrame:
    """Return the table ``learning_curve.csv`` with numbers as numbers, fewest patients first; None has no rows.

    Args:
        table: Columns n, partition, metric, estimate, lower, upper; perhaps share, draws, lowest, highest.
    """
    if table is None:
        return pd.DataFrame(columns=["partition", "metric", *_NUMBERS])
    table = table.reindex(columns=list(dict.fromkeys([*table.columns, *_NUMBERS])))
    numbers = {name: pd.to_numeric(table[name].replace("", None)).astype(float) for name in _NUMBERS}
    return table.assign(**numbers).dropna(subset=["n", "estimate"]).sort_values("n", kind="stable")


def measure(table: pd.DataFrame) -> str:
    """Return the words for the metric of a curve."""
    return MEASURE_LABELS.get(str(table["metric"].iloc[0]), str(table["metric"].iloc[0]))


def measure_range(table: pd.DataFrame) -> tuple[float, float]:
    """Return the ends of the axis of an AUC or C-index: from below chance, or below the lowest number, up to 1."""
    least = table[["estimate", "lower", "lowest"]].min().min()
    return max(0.0, min(0.4, least - 0.03)), 1.0
