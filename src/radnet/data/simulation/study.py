"""A study that a preset imitates: what is known of its patients, and what becomes of them.

What all studies share (centres, latents, lesions, images, biology) lies in modules of its own; a study is what differs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radnet.data.simulation.lesions import DrawSites
from radnet.data.simulation.settings import SimulationSettings

WITHOUT_IMAGES = "not estimated: there are no images"
"""Why a reader of images has no performance in a cohort of tables."""


@dataclass(frozen=True)
class PlantedCohort:
    """What was drawn, before any image is made.

    Attributes:
        patients: One row per patient: number, ids, covariates and outcomes as written, latents ``t``, ``p`` and ``v``,
            ``centre_name``, ``scanner``, ``n_lesions``, and what the study remembers for its truth.
        lesions: One row per lesion: numbers and ids, site, latents, and the shape and texture they ask for.
        biology: Molecular columns, one row per patient; no rows when not asked for.
    """

    patients: pd.DataFrame
    lesions: pd.DataFrame
    biology: pd.DataFrame


@dataclass(frozen=True)
class PlantedTruth:
    """What is known of a cohort.

    Attributes:
        cohort: By key of truth.json, what holds of the cohort as a whole.
        patients: One row per patient: what was planted in it.
    """

    cohort: dict[str, Any]
    patients: pd.DataFrame


@dataclass(frozen=True)
class Study:
    """What differs between the studies that presets imitate.

    Attributes:
        columns: Of clinical.csv, after ``patient_id``, ``centre`` and ``split``.
        draw_patients: Draws every patient of a cohort.
        draw_sites: Names the site of each lesion.
        texture_sd: Gives the SD of the texture latent over all patients that could be drawn.
        truth: Gives what is known of a cohort. It is told what the reader measured in the true delineation of each
            lesion (one row per lesion, indexed by patient), or None where there are no images.
    """

    columns: tuple[str, ...]
    draw_patients: Callable[[SimulationSettings], pd.DataFrame]
    draw_sites: DrawSites
    texture_sd: Callable[[SimulationSettings], float]
    truth: Callable[[SimulationSettings, PlantedCohort, pd.DataFrame | None], PlantedTruth]


def patient_groups(patients: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Say who is in each group that performances are given for: ``all``, and ``held_out`` where there are some."""
    held_out = (patients["split"] == "held_out").to_numpy()
    groups = {"all": np.ones(len(patients), dtype=bool), "held_out": held_out}
    return {group: of for group, of in groups.items() if of.any()}
