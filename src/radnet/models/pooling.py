"""From the lesions of a patient to the patient: one switch, the same for every model."""

from typing import Literal, get_args

import numpy as np
import pandas as pd

Aggregate = Literal["mean", "largest", "volume_mean", "volume_top3", "max", "min"]
VOLUME = "original_shape_VoxelVolume"
"""The feature that says how large a lesion is, mm³."""


def pool_lesions(lesions: pd.DataFrame, how: Aggregate) -> tuple[pd.DataFrame, pd.Series]:
    """Pool the features of each patient's lesions into one row per patient.

    ``mean`` weighs lesions alike, ``largest`` takes the one of largest volume, ``volume_mean`` weighs by volume,
    ``volume_top3`` by volume among the three largest (Chang 2021), ``max`` and ``min`` take each feature's extreme.

    Args:
        lesions: Features of measured lesions, indexed by (patient_id, lesion_id); no row may be NaN throughout.
        how: The rule.

    Returns:
        Features by patient_id, patients in order of first appearance, and the weight of each lesion in its patient
        (adding up to 1; NaN for ``max`` and ``min``, where no single weight exists).

    Raises:
        ValueError: If the rule is unknown, or needs volumes and the features have none.
    """
    if how not in get_args(Aggregate):
        raise ValueError(f"aggregate={how} is unknown; choose one of {', '.join(get_args(Aggregate))}")
    patients = lesions.index.get_level_values("patient_id")
    if how in ("max", "min"):
        grouped = lesions.groupby(patients, sort=False)
        pooled = grouped.max() if how == "max" else grouped.min()
        return pooled, pd.Series(np.nan, index=lesions.index, name="weight")
    size = _sizes(lesions, how)
    weight = size / size.groupby(patients, sort=False).transform("sum")
    # A feature that one lesion lacks is averaged over the patient's other lesions.
    present = lesions.notna().mul(weight, axis=0).groupby(patients, sort=False).sum()
    total = lesions.fillna(0.0).mul(weight, axis=0).groupby(patients, sort=False).sum()
    return total / present.where(present > 0), weight.rename("weight")


def _sizes(lesions: pd.DataFrame, how: str) -> pd.Series:
    if how == "mean":
        return pd.Series(1.0, index=lesions.index)
    if VOLUME not in lesions.columns:
        raise ValueError(f"aggregate={how} needs the feature {VOLUME}, and the feature table has none")
    volume = lesions[VOLUME]
    rank = volume.groupby(lesions.index.get_level_values("patient_id")).rank(ascending=False, method="first")
    if how == "largest":
        return (rank == 1).astype(float)
    return volume.where(rank <= 3, 0.0) if how == "volume_top3" else volume
