"""Lesions measured again, perturbed, as further rows of their table: to see which features bear it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from radnet.cohort import Cohort, Delineation, FeatureTable, Lesion
from radnet.radiomics.change import Change
from radnet.radiomics.extract import extract_cohort
from radnet.radiomics.perturbation import Perturbation, perturbations_named
from radnet.radiomics.settings import ExtractionSettings


@dataclass(frozen=True, slots=True)
class PerturbationSettings:
    """Whose lesions are measured perturbed, and how.

    Attributes:
        patients: How many patients, drawn by a seed.
        names: Perturbations, such as ``rotate_5deg``.
    """

    patients: int
    names: Sequence[str]

    def __post_init__(self) -> None:
        faults = [] if self.patients >= 1 else [f"patients must be 1 or more, got {self.patients}"]
        try:
            object.__setattr__(self, "names", tuple(str(one) for one in perturbations_named(self.names)))
        except ValueError as error:
            faults.append(str(error))
        if faults:
            raise ValueError("; ".join(faults))


def extract_perturbed(
    cohort: Cohort,
    settings: ExtractionSettings,
    names: Sequence[str],
    *,
    engine: str = "native",
    workers: int = 1,
    limit_s: float | None = 600.0,
    cache: Path,
    seed: int,
    progress: Callable[[int, int, str], None] | None = None,
) -> FeatureTable:
    """Measure the first delineation of every lesion under each perturbation.

    First is reader 1's repeat 1, else that of the table. A row keeps the delineation's reader; its ``repeat`` is the
    name of the perturbation. One that could not be measured is a row of NaN with its reason.

    Args:
        cohort: Whose lesions to measure.
        settings: How to measure.
        names: Perturbations, such as ``rotate_5deg``.
        engine: Name out of ``ENGINES``.
        workers: Processes to share the images among.
        limit_s: Longest time for one row; None measures in this process, where nothing can be stopped.
        cache: Folder of measured rows, as of ``extract_cohort``.
        seed: What is drawn for a lesion follows from this, from the perturbation, and from the contents of its files.
        progress: Called with rows done, rows in all, and which row it was.

    Raises:
        ImportError: If the engine is not installed.
        ValueError: If a name is that of no perturbation, or no delineation has an image.
    """
    perturbations = perturbations_named(names)
    patients = (
        replace(patient, lesions=tuple(_to_perturb(lesion, perturbations) for lesion in patient.lesions))
        for patient in cohort.patients
    )
    return extract_cohort(
        Cohort(tuple(patients)),
        settings,
        engine=engine,
        workers=workers,
        limit_s=limit_s,
        cache=cache,
        change=Change("perturbed", seed),
        progress=progress,
    )


def perturbed_features(
    cohort: Cohort,
    settings: PerturbationSettings,
    extraction_settings: ExtractionSettings,
    engine: str,
    workers: int,
    cache: Path,
    seed: int,
    progress: Callable[[int, int, str], None] | None = None,
) -> FeatureTable:
    """Measure the lesions of some patients perturbed; arguments as of ``extract_perturbed``.

    The patients are drawn from those who have an image, all of them where there are no more than wanted.

    Raises:
        ValueError: If no lesion of the cohort has an image.
    """
    imaged = cohort.where(lambda patient: any(one.image for lesion in patient.lesions for one in lesion.delineations))
    if not len(imaged):
        raise ValueError("no lesion of the cohort has an image, so that none can be perturbed: set robustness=none")
    drawn = np.random.default_rng([seed, len(imaged)]).permutation(len(imaged))[: settings.patients]
    return extract_perturbed(
        imaged.select(imaged.ids[place] for place in drawn),
        extraction_settings,
        settings.names,
        engine=engine,
        workers=workers,
        cache=cache,
        seed=seed,
        progress=progress,
    )


def with_perturbed(features: FeatureTable, perturbed: FeatureTable) -> FeatureTable:
    """Return a table with the rows of perturbed lesions below its own; its provenance tells how they were perturbed.

    Raises:
        ValueError: If both were not measured by the same settings, or a row stands in both.
    """
    ours, theirs = (one.provenance.get("fingerprint") for one in (features, perturbed))
    if ours != theirs:
        raise ValueError(f"the perturbed lesions were measured by other settings ({theirs}) than the table ({ours})")
    names = list(dict.fromkeys(perturbed.rows["repeat"]))
    provenance = {**features.provenance, "perturbed": {"names": names, "change": perturbed.provenance.get("change")}}
    rows = pd.concat([features.rows, perturbed.rows], ignore_index=True)
    return replace(features, rows=rows, provenance=provenance)


def _to_perturb(lesion: Lesion, perturbations: Sequence[Perturbation]) -> Lesion:
    """Return a lesion whose delineations are the first of each channel, once for every perturbation, named by it."""
    first: dict[str, Delineation] = {}
    for one in sorted(lesion.delineations, key=lambda one: (one.reader != "1", one.repeat != "1")):
        first.setdefault(one.channel, one)
    again = (replace(one, repeat=str(perturbation)) for one in first.values() for perturbation in perturbations)
    return replace(lesion, delineations=tuple(again))
