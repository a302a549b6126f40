"""Which delineations of a lesion are compared: readings of many lesions side by side."""

from math import nan
from typing import Literal

import numpy as np
import pandas as pd

from radnet.evaluation.discrimination import Floats
from radnet.radiomics.perturbation import is_perturbation

Across = Literal["reader", "repeat", "perturbation"]
ACROSS: tuple[Across, ...] = ("reader", "repeat", "perturbation")
"""What may be compared: readers, repeats by hand of one reader, perturbed repeats and the original of one reader."""

_LESION = ["patient_id", "lesion_id"]


def first_across(rows: pd.DataFrame) -> Across:
    """Return what to compare where nothing is asked for: readers, else repeats by hand, else perturbations."""
    perturbed = rows["repeat"].map(is_perturbation).astype(bool)
    by_hand = rows[~perturbed].groupby(_LESION)
    if by_hand["reader"].nunique().max() > 1:
        return "reader"
    return "perturbation" if perturbed.any() and not by_hand["repeat"].nunique().max() > 1 else "repeat"


def readings_across(rows: pd.DataFrame, names: list[str], across: Across) -> Floats:
    """Return readings, shape (lesions, readers or repeats, features); NaN where a lesion has none, and if none has any.

    Readers are compared each by his repeat named 1, or his first of the table; repeats are those of the reader named 1
    or the first, and so are perturbations, beside that reader's delineation itself. Compared are the readers (or
    repeats) who most often measured a lesion together.

    Args:
        rows: One per delineation: ``patient_id``, ``lesion_id``, ``reader``, ``repeat``, then features.
        names: Features.
        across: What is compared, out of ``ACROSS``; what is perturbed is compared across perturbations alone.

    """
    perturbed = rows["repeat"].map(is_perturbation).astype(bool)
    compared, held = ("reader", "repeat") if across == "reader" else ("repeat", "reader")
    rows = rows if across == "perturbation" else rows[~perturbed]
    if across == "perturbation":  # the original counts once, whatever its repeat is called
        rows = rows.assign(_later=rows["repeat"] != "1", repeat=rows["repeat"].where(perturbed, ""))
        rows = rows.sort_values("_later", kind="stable")
    rows = rows.assign(_later=rows[held] != "1").sort_values("_later", kind="stable")
    if compared == "repeat":  # repeats of two readers never stand beside one another
        rows = rows[rows["reader"] == rows.groupby(_LESION)["reader"].transform("first")]
    rows = rows.drop_duplicates([*_LESION, compared])
    if rows.empty:
        return np.full((1, 2, len(names)), nan)
    together = rows.groupby(_LESION)[compared].agg(frozenset).value_counts()
    chosen = max(together.index, key=lambda who: (len(who) > 1, together[who], len(who)))
    rows = rows[rows[compared].isin(chosen)]
    of_reading, readings = pd.factorize(rows[compared])
    of_lesion = rows.groupby(_LESION).ngroup().to_numpy()
    cube = np.full((of_lesion.max() + 1, max(2, len(readings)), len(names)), nan)
    cube[of_lesion, of_reading] = rows[names].to_numpy(dtype=float)
    return cube
