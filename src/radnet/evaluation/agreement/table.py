"""Whether features come out the same when a lesion is delineated again: the table of their intraclass correlations."""

import pandas as pd

from radnet.cohort import FEATURE_KEYS
from radnet.evaluation.agreement.intraclass import FORMS, estimate_icc
from radnet.evaluation.agreement.readings import ACROSS, Across, first_across, readings_across

AGREEMENT_COLUMNS = ("region", "channel", "feature", "form", "icc", "lower", "upper", "n")


def agreement_table(
    features: pd.DataFrame,
    level: float = 0.95,
    across: Across | None = None,
    forms: tuple[str, ...] = FORMS,
) -> pd.DataFrame:
    """Return the intraclass correlation of every feature, by region and channel.

    Where a lesion of a region and channel was measured by two readers or more, readers are compared, each by his repeat
    named 1, or his first of the table; else repeats are, those of the reader named 1 or the first; and where there are
    none but perturbed ones (``rotate_5deg`` …), these and the original. Compared are the readers (or repeats) who most
    often measured a lesion together, and lesions count that all of them measured. A row whose ``status`` is not ``ok``
    is not measured.

    Args:
        features: Columns of ``features.parquet``: the keys, ``status``, then features.
        level: Coverage of the intervals.
        across: Compare readers, repeats or perturbations; None as above.
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
    if across is not None and across not in ACROSS:
        raise ValueError(f"across must be reader, repeat or perturbation, got {across!r}")
    measured = features[features["status"] == "ok"]
    if measured.empty:
        raise ValueError(f"no row has status ok among {len(features)}")
    tables = []
    for (region, channel), rows in measured.groupby(["region", "channel"], sort=False):
        readings = readings_across(rows, names, across or first_across(rows))
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
