"""Features of the tiles of a pathology slide, told of each patient by five quantiles."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from radnet.tables import TableFault

QUANTILES: Mapping[str, float] = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}
"""What becomes of each feature: the end of its column's name, and the share of tiles below that value."""


def aggregate_tiles(table: pd.DataFrame, by: str = "patient_id") -> pd.DataFrame:
    """Return the quantiles of every feature over the tiles of each patient: 85 features make 425 columns.

    Quantiles are R's of type 7, NumPy's linear ones. A tile whose value is missing counts for its other features only;
    where no tile of a patient has a feature, its five columns are NaN.

    Args:
        table: A row per tile: ``by``, and a column of numbers for each feature.
        by: Column of the patient.

    Returns:
        A row per patient, indexed by ``by``, in the order in which they first stand; ``feature__min``,
        ``feature__q25``, ``feature__median``, ``feature__q75`` and ``feature__max`` of each feature in turn.

    Raises:
        TableFault: If ``by`` or every feature is missing, a name stands twice, a tile names no patient, a column is no
            number, or a number is infinite.

    References:
        Wang et al. 2022 aggregate 85 features of QuPath so, and print 440 columns.

    Example:
        >>> tiles = pd.DataFrame({"patient_id": ["P1", "P1", "P1", "P1"], "area": [4.0, 1.0, 2.0, 3.0]})
        >>> aggregate_tiles(tiles).loc["P1"].tolist()
        [1.0, 1.75, 2.5, 3.25, 4.0]
    """
    if faults := _faults(table, by):
        raise TableFault("tiles", faults)
    features = list(table.columns.drop(by))
    of_patient = table.groupby(by, sort=False)[features]
    blocks = [of_patient.quantile(share).add_suffix(f"__{end}") for end, share in QUANTILES.items()]
    return pd.concat(blocks, axis=1)[[f"{feature}__{end}" for feature in features for end in QUANTILES]]


def _faults(table: pd.DataFrame, by: str) -> list[str]:
    if by not in table.columns:
        return [f"column {by} is missing"]
    if twice := sorted({str(name) for name in table.columns[table.columns.duplicated()]}):
        return [f"column {name} stands twice" for name in twice]
    features = table.drop(columns=by)
    faults = [] if len(features.columns) else [f"no column of a feature beside {by}"]
    if nameless := int((table[by].isna() | (table[by].astype(str) == "")).sum()):
        faults.append(f"{nameless} of {len(table)} tiles name no patient in column {by}")
    for name, values in features.items():
        if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
            faults.append(f"column {name} holds no numbers ({values.dtype}): a feature is a number, leave others out")
        elif infinite := sorted({str(one) for one in table.loc[np.isinf(values.astype(float)), by]}):
            faults.append(f"column {name} is infinite in tiles of {', '.join(infinite[:5])}")
    return faults
