"""Controls of images: what a model makes of lesions whose voxels were shuffled, or whose masks were moved elsewhere."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from radnet.cohort import Cohort, FeatureTable
from radnet.radiomics.change import Change, ChangeKind
from radnet.radiomics.extract import extract_cohort
from radnet.radiomics.settings import ExtractionSettings

SAME_PATIENTS = "control_same_patients"
CONTROLS: Mapping[str, ChangeKind] = {
    "control_shuffled_voxels": "shuffled_voxels",
    "control_random_region": "random_region",
}
"""What each control does to the lesions before they are measured."""


def voxel_controls(
    cohort: Cohort,
    settings: ExtractionSettings,
    engine: str,
    workers: int,
    cache: Path,
    sample: int,
    seed: int,
    endpoint: str | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, FeatureTable]:
    """Measure the lesions of some patients as they are, with shuffled voxels, and with their masks moved elsewhere.

    A model that does as well on shuffled voxels has learned from histograms and shapes and not from texture; one that
    does as well on random regions has learned from the scan or the size of the lesion and not from its tissue.

    Args:
        cohort: Patients with lesions and images.
        settings: As the model's features were measured.
        engine: Name out of ``ENGINES``, likewise.
        workers: Processes to share the images among.
        cache: Folder of measured rows, the same as for the model's features: what was measured for them is found there.
        sample: Patients measured, at most.
        seed: Of the patients drawn, the voxels shuffled and the places found.
        endpoint: Where given, the sample has the cohort's share of patients with the event.
        progress: Called with rows done, rows in all, and which row it was, for each table in turn.

    Returns:
        Feature tables by model: ``control_same_patients`` (the lesions as they are), ``control_shuffled_voxels`` and
        ``control_random_region``, with equal rows. What could not be measured, such as a lesion for which there is no
        other place in its image, is a row of NaN with its reason; ``measured_in_all`` leaves it out of all three.

    Raises:
        ValueError: If no lesion of the cohort has an image.
    """
    imaged = cohort.where(lambda patient: any(one.image for lesion in patient.lesions for one in lesion.delineations))
    if not len(imaged):
        raise ValueError("no lesion of the cohort has an image, so that no voxels can be shuffled and no mask be moved")
    drawn = imaged.select(sample_of_patients(imaged, sample, seed, endpoint)).first_delineations()
    changes = {SAME_PATIENTS: None, **{name: Change(kind, seed) for name, kind in CONTROLS.items()}}
    return {
        name: extract_cohort(
            drawn, settings, engine=engine, workers=workers, cache=cache, change=change, progress=progress
        )
        for name, change in changes.items()
    }


def sample_of_patients(cohort: Cohort, sample: int, seed: int, endpoint: str | None = None) -> list[str]:
    """Draw patients without replacement, in the cohort's order; all of them where there are no more than wanted.

    Args:
        cohort: Patients to draw from.
        sample: How many.
        seed: Of the draw.
        endpoint: Where given, the draw keeps the share of patients with the event (and at least one of either kind).

    Example:
        >>> from radnet.cohort import Patient
        >>> sample_of_patients(Cohort(tuple(Patient(f"P{n}", "A") for n in range(5))), sample=9, seed=0)
        ['P0', 'P1', 'P2', 'P3', 'P4']
    """
    if sample < 1:
        raise ValueError(f"a sample has 1 patient or more, got {sample}")
    if len(cohort) <= sample:
        return list(cohort.ids)  # the cohort's own must not grow with it
    rng = np.random.default_rng([seed, len(cohort)])
    if endpoint is None:
        drawn = rng.permutation(len(cohort))[:sample]
    else:
        event = cohort.events(endpoint)
        with_event, without = (rng.permutation(np.flatnonzero(event == is_event)) for is_event in (True, False))
        wanted = round(sample * event.mean())
        if len(with_event) and len(without) and sample > 1:
            wanted = min(max(wanted, 1), sample - 1)
        drawn = np.concatenate([with_event[:wanted], without[: sample - wanted]])
    return [cohort.ids[place] for place in sorted(drawn)]


def measured_in_all(tables: Mapping[str, FeatureTable]) -> dict[str, FeatureTable]:
    """Keep the lesions that were measured in every region and channel of every table, so that all tell of the same."""
    failed = {
        (row.patient_id, row.lesion_id)
        for table in tables.values()
        for row in table.rows[table.rows["status"] != "ok"].itertuples()
    }

    def kept(table: FeatureTable) -> FeatureTable:
        lesions = zip(table.rows["patient_id"], table.rows["lesion_id"], strict=True)
        return replace(table, rows=table.rows[[one not in failed for one in lesions]].reset_index(drop=True))

    return {name: kept(table) for name, table in tables.items()}
