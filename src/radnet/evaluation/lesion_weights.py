"""How much of a patient's score each lesion carries, without the patient's name."""

import pandas as pd

COLUMNS = ("endpoint", "model", "partition", "patient", "lesion", "site", "event", "score", "weight")
"""Columns of the table: patient and lesion are running numbers, and a patient's weights add up to 1."""

_MODEL = ["endpoint", "model", "partition"]


def lesion_weights(lesions: pd.DataFrame) -> pd.DataFrame:
    """Return the share of each lesion in its patient's weights, largest first, under running numbers.

    Patients with most lesions come first, and among these the one whose first lesion weighs most. Rows of a frozen
    model are taken where there are any; otherwise weights and scores are means over folds and repeats.

    Args:
        lesions: As ``radnet.tables.read_lesion_predictions`` returns them; rows without a weight are left out.

    Returns:
        ``COLUMNS``; empty where no lesion has a weight.

    Raises:
        ValueError: If a weight is negative.
    """
    known = lesions.dropna(subset=["weight"])
    if (known["weight"] < 0).any():
        raise ValueError(f"a lesion's weight must be 0 or more, got {known['weight'].min():g}")
    parts = [_of_model(names, rows) for names, rows in known.groupby(_MODEL, sort=False)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def _of_model(names: tuple[str, ...], rows: pd.DataFrame) -> pd.DataFrame:
    of_fold = (rows["fold"] != "") | (rows["repeat"] != "")
    rows = rows if of_fold.all() else rows[~of_fold]
    each = rows.groupby(["patient_id", "lesion_id"], sort=False).agg(
        site=("site", "first"), event=("event", "first"), score=("score", "mean"), weight=("weight", "mean")
    )
    total = each.groupby("patient_id")["weight"].transform("sum")
    each = each.assign(weight=each["weight"] / total).loc[total > 0].reset_index()
    each = each.sort_values("weight", ascending=False, kind="stable")
    of_patient = each.groupby("patient_id", sort=False)["weight"].agg(["size", "max"])
    order = of_patient.sort_values(["size", "max"], ascending=False, kind="stable").index
    number = {patient: place for place, patient in enumerate(order, start=1)}
    each = each.assign(
        **dict(zip(_MODEL, names, strict=True)),
        patient=each["patient_id"].map(number),
        lesion=each.groupby("patient_id").cumcount() + 1,
    )
    return each.sort_values(["patient", "lesion"], kind="stable")[list(COLUMNS)]
