"""From the lesions of a patient to the patient: one switch, the same for every model."""

from typing import Literal, get_args

import numpy as np
import pandas as pd
from scipy.special import logsumexp

Aggregate = Literal[
    "mean", "largest", "volume_mean", "volume_top3", "max", "min", "noisy_or", "attention", "set_transformer"
]
OF_NETWORKS: tuple[Aggregate, ...] = ("attention", "set_transformer")
"""Rules that are learned, by a network that describes lesions (``models.heads``)."""
Scale = Literal["probability", "log_hazard"]
"""What a lesion's score is: the probability of the event, or a log hazard."""

VOLUME = "original_shape_VoxelVolume"
"""The feature that says how large a lesion is, mm³."""


def pool_lesions(lesions: pd.DataFrame, how: Aggregate) -> tuple[pd.DataFrame, pd.Series]:
    """Pool the features of each patient's lesions into one row per patient.

    ``mean`` weighs lesions alike, ``largest`` takes the one of largest volume, ``volume_mean`` weighs by volume,
    ``volume_top3`` by volume among the three largest (Chang 2021), ``max`` and ``min`` take each feature's extreme.
    ``noisy_or`` is a rule for scores, ``attention`` and ``set_transformer`` are learned within a network: where
    features are asked for, as those of a control, they weigh lesions alike.

    Args:
        lesions: Features of measured lesions, indexed by (patient_id, lesion_id); no row may be NaN throughout.
        how: The rule.

    Returns:
        Features by patient_id, patients in order of first appearance, and the weight of each lesion in its patient
        (adding up to 1; NaN for ``max`` and ``min``, where no single weight exists).

    Raises:
        ValueError: If the rule is unknown, or needs volumes and the features have none, or none that weigh.
    """
    _refuse_unknown(how)
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


def pool_scores(score: pd.Series, lesions: pd.DataFrame, how: Aggregate, scale: Scale) -> tuple[pd.Series, pd.Series]:
    """Pool the scores of each patient's lesions into one score per patient.

    The rules are those of ``pool_lesions``, and ``noisy_or``: the event comes if any lesion brings it, each on its own.
    Of probabilities that is 1 - Π(1 - p); of log hazards the log of the summed hazards, since cumulative hazards add.

    Args:
        score: Of each lesion, indexed by (patient_id, lesion_id).
        lesions: Their features, of which the volume may be needed; indexed alike.
        how: The rule.
        scale: What the scores are.

    Returns:
        Scores by patient_id, patients in order of first appearance, and the share of each lesion in its patient's,
        adding up to 1: for ``max`` and ``min`` all of it the first lesion's that attains it; for ``noisy_or`` the
        lesion's share of -Σ log(1 - p), or of the summed hazard.

    Raises:
        ValueError: If the rule is unknown, needs volumes and the features have none, or none that weigh, or a
            probability is none.

    References:
        The mean: Ligero et al. 2021. Noisy-or: Pearl, Probabilistic Reasoning in Intelligent Systems, 1988, 4.3.

    Example:
        >>> one = pd.MultiIndex.from_tuples([("P1", "a"), ("P1", "b")], names=["patient_id", "lesion_id"])
        >>> pool_scores(pd.Series([0.5, 0.2], one), pd.DataFrame(index=one), "noisy_or", "probability")[0].round(6)
        patient_id
        P1    0.6
        Name: score, dtype: float64
    """
    _refuse_unknown(how)
    if how in OF_NETWORKS:
        raise ValueError(f"aggregate={how} is learned within a network, and pools no scores")
    if scale == "probability" and not score.between(0, 1).all():
        wrong = score[~score.between(0, 1)]
        raise ValueError(f"patient {wrong.index[0][0]}, lesion {wrong.index[0][1]}: {wrong.iloc[0]} is no probability")
    patients = score.index.get_level_values("patient_id")
    if how == "noisy_or":
        with np.errstate(divide="ignore"):  # a lesion of probability 1 hides all others
            part = -np.log1p(-score) if scale == "probability" else score
        grouped = part.groupby(patients, sort=False)
        if scale == "probability":
            pooled = -np.expm1(-grouped.sum())
            size = part.where(~np.isinf(grouped.transform("sum")), np.isinf(part).astype(float))
            size = size.where(grouped.transform("sum") > 0, 1.0)
        else:
            pooled = grouped.agg(logsumexp)
            size = np.exp(part - grouped.transform("max"))
    elif how in ("max", "min"):
        grouped = score.groupby(patients, sort=False)
        pooled = grouped.max() if how == "max" else grouped.min()
        size = (grouped.rank(ascending=how == "min", method="first") == 1).astype(float)
    else:
        size = _sizes(lesions, how)
        total = size.groupby(patients, sort=False).sum()
        pooled = (score * size).groupby(patients, sort=False).sum() / total
    weight = size / size.groupby(patients, sort=False).transform("sum")
    return pooled.rename("score"), weight.rename("weight")


def _refuse_unknown(how: str) -> None:
    """Raise a ValueError if there is no such rule."""
    if how not in get_args(Aggregate):
        raise ValueError(f"aggregate={how} is unknown; choose one of {', '.join(get_args(Aggregate))}")


def _sizes(lesions: pd.DataFrame, how: str) -> pd.Series:
    if how in ("mean", "noisy_or", *OF_NETWORKS):
        return pd.Series(1.0, index=lesions.index)
    if VOLUME not in lesions.columns:
        raise ValueError(f"aggregate={how} needs the feature {VOLUME}, and the feature table has none")
    volume = lesions[VOLUME]
    of_patient = volume.groupby(lesions.index.get_level_values("patient_id"))
    rank = of_patient.rank(ascending=False, method="first")
    if how == "largest":
        return (rank == 1).astype(float)
    shared = of_patient.transform("size") > 1
    if len(wrong := volume[(volume <= 0) & shared]):  # as in a table of standardised features
        patient, lesion = wrong.index[0]
        raise ValueError(
            f"aggregate={how}: patient {patient}, lesion {lesion} has a volume of {wrong.iloc[0]:g}: give volumes in "
            "mm³, or choose mean, max, min or largest"
        )
    return volume.where(rank <= 3, 0.0) if how == "volume_top3" else volume
