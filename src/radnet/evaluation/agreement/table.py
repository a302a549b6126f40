"""Whether features come out the same when a lesion is delineated again: the table of their intraclass correlations."""

from math import nan
from typing import Literal

import numpy as np
import pandas as pd

from radnet.cohort import FEATURE_KEYS
from radnet.evaluation.agreement.intraclass import FORMS, estimate_icc
from radnet.evaluation.discrimination import Floats

AGREEMENT_COLUMNS = ("region", "channel", "feature", "form", "icc", "lower", "upper", "n")


def agreement_table(
    features: pd.DataFrame,
    level: float = 0.95,
    across: Literal["reader", "repeat"] | None = None,
    forms: tuple[str, ...] = FORMS,
) -> pd.DataFrame:
    """Return the intraclass correlation of every feature, by region and channel.

    Where a lesion of a region and channel was measured by two readers or more, readers are compared, each by his repeat
    named 1, or his first of the table; else repeats are, those of the reader named 1 or the first. Compared are the
    readers (or repeats) who most often measured a lesion together, and lesions count that all of them measured. A row
    whose ``status`` is not ``ok`` is not measured.

    Args:
        features: Columns of ``features.parquet``: the keys, ``status``, then features.
        level: Coverage of the intervals.
        across: Compare readers or repeats; None as above.
        forms: Which of ``FORMS``.

    Returns:
        ``AGREEMENT_COLUMNS``, a row for each region, channel, form and feature; ``n`` is the number of lesions;
        below two there is no correlation, and its cells are NaN.

    Raises:
        ValueError: If a column is missing, or nowhere two lesions were measured twice.
    """
    if missing := [key for key in (*FEATURE_KEYS, "status") if key not in features.columns]:
        raise ValueError(f"a table of features needs the columns {', '.join(missing)}")
    names = [name for name in features.columns if name not in (*FEATURE_KEYS, "status")]
    if not names:
        raise ValueError("the table has no feature beside its keys")
    if across not in (None, "reader", "repeat"):
        raise ValueError(f"across must be reader or repeat, got {across!r}")
    measured = features[features["status"] == "ok"]
    if measured.empty:
        raise ValueError(f"no row has status ok among {len(features)}")
    tables = []
    for (region, channel), rows in measured.groupby(["region", "channel"], sort=False):
        readings = _readings(rows, names, across)
        for form in forms:
            found = estimate_icc(readings, form, level)
            columns = {"region": region, "channel": channel, "feature": names, "form": form}
            columns |= {"icc": found.icc, "lower": found.lower, "upper": found.upper, "n": found.n}
            tables.append(pd.DataFrame(columns))
    table = pd.concat(tables, ignore_index=True)[list(AGREEMENT_COLUMNS)]
    if (table["n"] < 2).all():
        what = across or "reader or repeat"
        raise ValueError(
            f"agreement needs two lesions measured by more than one {what}, but no region and channel has them: "
            f"{measured['reader'].nunique()} readers and {measured['repeat'].nunique()} repeats are named"
        )
    return table


def _readings(rows: pd.DataFrame, names: list[str], across: str | None) -> Floats:
    """Return the readings of a region and channel, shape (lesions, readers or repeats, features)."""
    lesion = ["patient_id", "lesion_id"]
    other = across or ("reader" if rows.groupby(lesion)["reader"].nunique().max() > 1 else "repeat")
    held = "repeat" if other == "reader" else "reader"
    rows = rows.assign(_later=rows[held] != "1").sort_values("_later", kind="stable")
    if other == "repeat":  # repeats of two readers never stand beside one another
        rows = rows[rows["reader"] == rows.groupby(lesion)["reader"].transform("first")]
    rows = rows.drop_duplicates([*lesion, other])
    together = rows.groupby(lesion)[other].agg(frozenset).value_counts()
    chosen = max(together.index, key=lambda who: (len(who) > 1, together[who], len(who)))
    rows = rows[rows[other].isin(chosen)]
    of_reading, readings = pd.factorize(rows[other])
    of_lesion = rows.groupby(lesion).ngroup().to_numpy()
    cube = np.full((of_lesion.max() + 1, max(2, len(readings)), len(names)), nan)
    cube[of_lesion, of_reading] = rows[names].to_numpy(dtype=float)
    return cube
