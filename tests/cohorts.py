"""Small cohorts with measured features, made in memory."""

from pathlib import Path

import numpy as np
import pandas as pd

from radnet.cohort import FEATURE_KEYS, Cohort, FeatureTable, Lesion, Outcome, Patient
from radnet.data.features import write_features


def make_cohort(n: int, seed: int, signal: float = 2.0, n_features: int = 12, held_out: int = 0) -> Cohort:
    """Patients with one to three lesions; the first feature is shifted by ``signal`` where the event was seen."""
    rng = np.random.default_rng(seed)
    patients, rows = [], []
    names = ["original_shape_VoxelVolume", *(f"original_firstorder_F{place}" for place in range(n_features - 1))]
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
            rows.append(
                {**dict(zip(FEATURE_KEYS, keys, strict=True)), "status": "ok", **dict(zip(names, values, strict=True))}
            )
    return Cohort(tuple(patients), FeatureTable(pd.DataFrame(rows), {"engine": "made by a test"}))


def write_cohort(cohort: Cohort, folder: Path) -> Path:
    """Write a cohort with features as a folder a user would have."""
    folder.mkdir(parents=True, exist_ok=True)
    clinical = [
        {
            "patient_id": one.id,
            "centre": one.centre,
            "split": one.split,
            "response": "" if (outcome := one.outcomes["response"]) is None else int(outcome.event),
            **one.clinical,
        }
        for one in cohort.patients
    ]
    pd.DataFrame(clinical).to_csv(folder / "clinical.csv", index=False)
    lesions = [
        {"patient_id": p.id, "lesion_id": one.id, "site": one.site} for p in cohort.patients for one in p.lesions
    ]
    pd.DataFrame(lesions).to_csv(folder / "lesions.csv", index=False)
    if cohort.features is not None:
        write_features(cohort.features, folder / "features.parquet")
    return folder
