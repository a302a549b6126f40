"""Small cohorts with measured features, made in memory."""

from dataclasses import replace
from math import pi
from pathlib import Path

import numpy as np
import pandas as pd

from radnet.cohort import (
    FEATURE_KEYS,
    PATCH_COLUMNS,
    ChannelKind,
    Cohort,
    FeatureTable,
    Lesion,
    Outcome,
    PatchTable,
    Patient,
)
from radnet.data.features import write_features

VOLUME, DIAMETER = "original_shape_VoxelVolume", "original_shape_Maximum2DDiameterSlice"
STUDY_FEATURES = (
    *(VOLUME, DIAMETER, "original_shape_Sphericity"),
    *(
        f"{image}_{feature}"
        for image in ("original", "log-sigma-1-0-mm-3D", "wavelet-LLH", "wavelet-HHL")
        for feature in ("firstorder_Mean", "firstorder_Entropy", "glcm_Contrast", "glcm_Idm", "glrlm_RunEntropy")
    ),
    *(f"original_glszm_{feature}" for feature in ("ZoneEntropy", "ZonePercentage", "SmallAreaEmphasis")),
    *(f"original_gldm_{feature}" for feature in ("DependenceEntropy", "LowGrayLevelEmphasis")),
)
"""Features of ``make_study``, of a few classes and filters, under the names of pyradiomics."""


def make_cohort(n: int, seed: int, signal: float = 2.0, n_features: int = 12, held_out: int = 0) -> Cohort:
    """Patients with one to three lesions; the second feature is shifted by ``signal`` where the event was seen.

    Beside the ``n_features`` features stands a lesion's diameter, that of the ball of its volume, for targets.
    """
    rng = np.random.default_rng(seed)
    patients, rows = [], []
    names = [VOLUME, *(f"original_firstorder_F{place}" for place in range(n_features - 1))]
    for place in range(n):
        event = bool(place % 3 == 0)
        lesions = tuple(Lesion(f"L{number}", site="liver") for number in range(1, 2 + int(rng.integers(0, 3))))
        identity = f"P{place:03d}"
        patients.append(
            Patient(
                id=identity,
                centre="AB"[place % 2],
                split="held_out" if place >= n - held_out else "train",
                outcomes={"response": Outcome(event)},
                lesions=lesions,
                clinical={
                    "age": float(rng.normal(60, 10)),
                    "lines_ge2": float(rng.integers(0, 2)),
                    "subtype": str(rng.choice(["TNBC", "HER2+"])),
                },
            )
        )
        for lesion in lesions:
            values = rng.normal(size=n_features)
            values[0] = rng.uniform(100, 5000)
            values[1] += signal * event
            keys = (identity, lesion.id, "lesion", "image", "1", "1")
            cells = {**dict(zip(names, values, strict=True)), DIAMETER: float(np.cbrt(6 * values[0] / pi))}
            rows.append({**dict(zip(FEATURE_KEYS, keys, strict=True)), "status": "ok", **cells})
    return Cohort(tuple(patients), FeatureTable(pd.DataFrame(rows), {"engine": "made by a test"}))


def make_study(
    n: int, seed: int, held_out: int = 0, first: int = 0, twice: int = 12, regions: tuple[str, ...] = ("lesion",)
) -> Cohort:
    """Patients that any experiment of conf/ can learn from: every clinical column, endpoint and centre it names.

    ``log-sigma-1-0-mm-3D_glcm_Contrast`` foretells response, benefit, the phenotype, and an early recurrence; the ring
    foretells nothing. A second reader and a second repeat delineated the lesions of some patients, and of the wavelet
    features neither agrees with the first.

    Args:
        n: Patients.
        seed: Of all that is drawn.
        held_out: How many of them, the last, the column ``split`` holds out.
        first: Number in the name of the first patient, so that two studies share nobody.
        twice: How many patients, the first, were delineated three times.
        regions: ``lesion``, and ``ring`` if wanted; a ring changes no other number.
    """
    rng, of_ring, of_benefit = (np.random.default_rng(one) for one in (seed, [seed, 1], [seed, 2]))
    patients, rows = [], []
    telling = STUDY_FEATURES.index("log-sigma-1-0-mm-3D_glcm_Contrast")
    unstable = np.array([name.startswith("wavelet") for name in STUDY_FEATURES])
    for place in range(n):
        identity, latent = f"S{first + place:03d}", rng.normal()
        sites = rng.choice(["liver", "lung", "node", "breast"], size=rng.integers(1, 4))
        lesions = tuple(Lesion(f"L{number}", site=str(site)) for number, site in enumerate(sites, start=1))
        followed, censored = rng.exponential(40 * np.exp(-latent)) + 0.1, rng.uniform(20, 90)
        survival = Outcome(bool(followed <= censored), float(min(followed, censored)))
        patients.append(
            Patient(
                id=identity,
                centre="ABC"[place % 3],
                split="held_out" if place >= n - held_out else "train",
                outcomes={
                    "response": Outcome(bool(latent + rng.normal() > 0.3)),
                    "tme": Outcome(bool(latent > 0.2)),
                    "cd8": Outcome(bool(latent > 0.8)),
                    "clinical_benefit": Outcome(bool(latent + of_benefit.normal() > 0)),
                    "dfs": survival,
                    "pfs": replace(survival, time=float(survival.time * rng.uniform(0.3, 1.0))),
                },
                lesions=lesions,
                clinical=_clinical(rng) | _blood(of_benefit),
            )
        )
        for lesion in lesions:
            values = rng.normal(size=len(STUDY_FEATURES))
            values[telling] += 1.5 * latent
            values[0] = rng.uniform(100, 5000)
            values[1] = np.cbrt(6 * values[0] / pi)
            around = of_ring.normal(size=len(STUDY_FEATURES))
            delineated = (("1", "1"), ("2", "1"), ("1", "2")) if place < twice else (("1", "1"),)
            for reader, repeat in delineated:
                again = 0.0 if (reader, repeat) == ("1", "1") else np.where(unstable, 3.0, 0.05)
                for region, true, drawn in (("lesion", values, rng), ("ring", around, of_ring)):
                    if region not in regions:
                        continue
                    keys = (identity, lesion.id, region, "image", reader, repeat)
                    measured = true + again * drawn.normal(size=len(true))
                    cells = dict(zip(STUDY_FEATURES, measured.tolist(), strict=True))
                    rows.append({**dict(zip(FEATURE_KEYS, keys, strict=True)), "status": "ok", **cells})
    return Cohort(tuple(patients), FeatureTable(pd.DataFrame(rows), {"engine": "made by a test"}))


def with_patches(cohort: Cohort, file: Path, size: int = 8, seed: int = 0) -> Cohort:
    """Give every lesion a patch of ``size`` voxels a side, a window and the lesion's mask, in a file.

    The standard deviation of a patch's intensities grows with the feature that foretells the outcomes of a study.
    """
    rng = np.random.default_rng([seed, 3])
    telling = "log-sigma-1-0-mm-3D_glcm_Contrast"
    lesions = [(one.id, lesion.id) for one in cohort.patients for lesion in one.lesions]
    spread = np.ones(len(lesions))
    if cohort.features is not None and telling in cohort.features.names:
        spread = np.exp(0.5 * cohort.features.lesion_matrix().loc[lesions, telling].to_numpy())
    patches = np.zeros((len(lesions), 2, size, size, size), dtype=np.float16)
    patches[:, 0] = 0.5 + 0.1 * spread[:, None, None, None] * rng.normal(size=patches[:, 0].shape)
    patches[:, 1, 2:-2, 2:-2, 2:-2] = 1.0
    np.save(file, patches)
    rows = [(patient, lesion, place, "ok", (1.0, 1.0, 1.0), "") for place, (patient, lesion) in enumerate(lesions)]
    channels: dict[str, ChannelKind] = {"window": "image", "lesion": "mask"}
    return cohort.with_patches(PatchTable(file, pd.DataFrame(rows, columns=list(PATCH_COLUMNS)), channels))


def _clinical(rng: np.random.Generator) -> dict[str, float | str | None]:
    numbers = ("lines_ge2", "sites_ge3", "visceral", "antiangiogenic", "pcr", "imni", "hr", "her2")
    return {
        "age": float(rng.normal(55, 10)),
        "cps": float(rng.integers(0, 40)),
        "subtype": str(rng.choice(["TNBC", "HER2+", "HR+"])),
        "ctnm": str(rng.choice(["II", "IIIa-b", "IIIc"])),
        **{name: float(rng.integers(0, 2)) for name in numbers},
    }


def _blood(rng: np.random.Generator) -> dict[str, float | str | None]:
    numbers = ("ldh", "leukocytes", "albumin", "lymphocytes", "platelets", "neutrophils")
    return {
        "tumour_type": str(rng.choice(["bladder", "lung", "melanoma"])),
        "ecog": float(rng.integers(0, 3)),
        "n_organs": float(rng.integers(1, 5)),
        **{name: float(rng.lognormal()) for name in numbers},
    }


def write_cohort(cohort: Cohort, folder: Path) -> Path:
    """Write a cohort with features as a folder a user would have."""
    folder.mkdir(parents=True, exist_ok=True)
    clinical = [
        {"patient_id": one.id, "centre": one.centre, "split": one.split, **_outcome_cells(one), **one.clinical}
        for one in cohort.patients
    ]
    pd.DataFrame(clinical).to_csv(folder / "clinical.csv", index=False)
    lesions = [
        {"patient_id": p.id, "lesion_id": one.id, "site": one.site} for p in cohort.patients for one in p.lesions
    ]
    if lesions:
        pd.DataFrame(lesions).to_csv(folder / "lesions.csv", index=False)
    if cohort.features is not None:
        write_features(cohort.features, folder / "features.parquet")
    return folder


def _outcome_cells(patient: Patient) -> dict[str, float | str]:
    cells: dict[str, float | str] = {}
    for endpoint, outcome in patient.outcomes.items():
        if outcome is None or outcome.time is None:
            cells[endpoint] = "" if outcome is None else int(outcome.event)
        else:
            cells |= {f"{endpoint}_event": int(outcome.event), f"{endpoint}_months": outcome.time}
    return cells
