"""The model folder: everything needed to score a new patient, and nothing that executes on load."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radnet.cohort import Cohort, Endpoint
from radnet.predictors.base import Frozen, measured_lesions
from radnet.tables import file_hash, write_json

FORMAT_VERSION = 1
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def save_model(
    folder: Path, model: Frozen, train: Cohort, endpoint: Endpoint, cutoffs: Mapping[str, Mapping[str, Any]]
) -> None:
    """Write a fitted model: weights (safetensors), pipeline (skops), ``model.json`` and ``cutoffs.json``.

    ``model.json`` names the inputs, the settings and engine they were measured with, the endpoint, the training
    patients (as hashes of centre and id, and of image bytes) and how the inputs were distributed among them.

    Args:
        folder: Made if absent.
        model: What a predictor's ``fit`` left behind.
        train: The patients it learned from.
        endpoint: The endpoint it learned.
        cutoffs: Frozen cut-offs on its score, each with ``value`` and ``rule``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    description = model.save(folder)
    learned = train.evaluable(endpoint.name)
    columns = description["clinical"]
    clinical = learned.clinical(columns) if columns else pd.DataFrame(index=learned.ids)
    provenance = {} if learned.features is None else dict(learned.features.provenance)
    card = {
        "format_version": FORMAT_VERSION,
        **description,
        "endpoint": asdict(endpoint),
        "extraction": {key: value for key, value in provenance.items() if key != "inputs"},
        "clinical_schema": {column: _schema(clinical[column]) for column in columns},
        "centres": sorted(set(learned.centres)),
        "patients_sha256": sorted(patient_hash(one.centre, one.id) for one in learned.patients),
        "images_sha256": sorted(_image_hashes(learned)) if model.regions else [],
        "n": len(learned),
        "n_event": int(learned.events(endpoint.name).sum()),
        "training_distribution": _distribution(learned, model) if model.regions else {},
    }
    write_json(card, folder / "model.json")
    write_json(cutoffs, folder / "cutoffs.json")


def patient_hash(centre: str, patient_id: str) -> str:
    """Return the SHA-256 that stands for a patient in a model folder, so that he is known again but not named."""
    return hashlib.sha256(f"{centre}\n{patient_id}".encode()).hexdigest()


def _image_hashes(cohort: Cohort) -> set[str]:
    one_per_lesion = (one for patient in cohort.patients for lesion in patient.lesions for one in lesion.delineations)
    return {file_hash(path) for path in {one.image for one in one_per_lesion if one.image is not None}}


def _schema(column: pd.Series) -> dict[str, Any]:
    known = column.dropna()
    if pd.api.types.is_numeric_dtype(column):
        return {"kind": "number", "minimum": float(known.min()), "maximum": float(known.max())}
    return {"kind": "category", "levels": sorted(map(str, known.unique()))}


def _distribution(cohort: Cohort, model: Frozen) -> dict[str, Any]:
    lesions = measured_lesions(cohort, model.regions)
    moments = {"mean": lesions.mean(), "sd": lesions.std(), **{f"q{q:g}": lesions.quantile(q) for q in _QUANTILES}}
    rounded = {name: [None if not np.isfinite(x) else float(f"{x:.6g}") for x in one] for name, one in moments.items()}
    return {"level": "lesion", "features": list(lesions.columns), **rounded}
