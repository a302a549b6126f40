"""The model folder: everything needed to score a new patient, and nothing that executes on load."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radnet.cohort import Cohort, Endpoint
from radnet.files import content_hash, file_hash, write_json
from radnet.models.pipeline import holds_numbers, level_name
from radnet.predictors.base import Frozen, measured_lesions
from radnet.predictors.frozen import FrozenPipeline

FORMAT_VERSION = 1
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_FAR = 0.99  # of the training lesions lie nearer than a lesion called far
_LARGEST_Z = 10.0  # so that one feature with a long tail does not decide alone


@dataclass(frozen=True)
class ModelFolder:
    """A model as it was saved: what scores, what describes it, and its cut-offs."""

    model: Frozen
    card: Mapping[str, Any]
    cutoffs: Mapping[str, Mapping[str, Any]]

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint learned."""
        return Endpoint(**self.card["endpoint"])

    @property
    def cutoff(self) -> float:
        """The frozen cut-off on the score."""
        return float(self.cutoffs["score"]["value"])


def save_model(
    folder: Path,
    model: Frozen,
    train: Cohort,
    endpoint: Endpoint,
    cutoffs: Mapping[str, Mapping[str, Any]],
    name: str = "model",
) -> None:
    """Write a fitted model: weights (safetensors), pipeline (skops), ``model.json`` and ``cutoffs.json``.

    ``model.json`` names the inputs, the settings and engine they were measured with, the endpoint, the training
    patients (as hashes of centre and id, and of image bytes), how the inputs were distributed among them, and the hash
    of every other file.

    Args:
        folder: Made if absent.
        model: What a predictor's ``fit`` left behind.
        train: The patients it learned from.
        endpoint: The endpoint it learned.
        cutoffs: Frozen cut-offs on its score, each with ``value`` and ``rule``.
        name: Of the model, in every table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    description = model.save(folder)
    write_json(cutoffs, folder / "cutoffs.json")
    learned = train.evaluable(endpoint.name)
    columns = description["clinical"]
    clinical = learned.clinical(columns) if columns else pd.DataFrame(index=learned.ids)
    provenance = {} if learned.features is None else dict(learned.features.provenance)
    card = {
        "format_version": FORMAT_VERSION,
        "name": name,
        **description,
        "endpoint": asdict(endpoint),
        "extraction": {key: value for key, value in provenance.items() if key != "inputs"},
        "clinical_schema": {column: _schema(clinical[column]) for column in columns},
        "centres": sorted(set(learned.centres)),
        "patients_sha256": sorted(patient_hash(one.centre, one.id) for one in learned.patients),
        "images_sha256": sorted(image_hashes(learned)) if model.regions else [],
        "n": len(learned),
        "n_event": int(learned.events(endpoint.name).sum()),
        "training_distribution": _distribution(learned, model) if model.regions else {},
        "files_sha256": {path.name: file_hash(path) for path in sorted(folder.iterdir()) if path.name != "model.json"},
    }
    write_json({**card, "card_sha256": _seal(card)}, folder / "model.json")


def load_model(folder: Path) -> ModelFolder:
    """Read a model folder, refusing whatever is not exactly what was saved.

    The hashes show damage and careless edits; they are no signature: take models from people you trust.

    Raises:
        FileNotFoundError: If there is no ``model.json``.
        ValueError: If the format version is another, a file is missing, strange or changed, or a file holds objects
            that no model of radnet has. Nothing in the folder is ever executed.
    """
    if not (folder / "model.json").is_file():
        raise FileNotFoundError(f"{folder}: no model.json there; a model is the folder model/ of a run")
    try:
        card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        version = card["format_version"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{folder / 'model.json'}: not the description of a model: {error}") from error
    if version != FORMAT_VERSION:
        raise ValueError(f"{folder}: model format {version}, this radnet reads {FORMAT_VERSION}; train it anew")
    if card.pop("card_sha256", None) != _seal(card):
        raise ValueError(f"{folder / 'model.json'}: changed since it was saved; take the folder from its source again")
    _refuse_other_files(folder, card["files_sha256"])
    cutoffs = json.loads((folder / "cutoffs.json").read_text(encoding="utf-8"))
    if card["predictor"] == "tabular":
        return ModelFolder(FrozenPipeline.load(folder, card), card, cutoffs)
    from radnet.predictors.frozen_network import FrozenNetwork  # torch, which a tabular model does without

    return ModelFolder(FrozenNetwork.load(folder, card), card, cutoffs)


def _refuse_other_files(folder: Path, expected: Mapping[str, str]) -> None:
    found = {path.name for path in folder.iterdir()} - {"model.json"}
    if strange := sorted(found - set(expected)):
        raise ValueError(f"{folder}: refused, it holds files no model has: {', '.join(strange)}")
    if missing := sorted(set(expected) - found):
        raise ValueError(f"{folder}: incomplete, without {', '.join(missing)}")
    for name, digest in expected.items():
        if file_hash(folder / name) != digest:
            raise ValueError(f"{folder / name}: changed since it was saved; take the folder from its source again")


def _seal(card: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(card, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def lesion_distance(lesions: pd.DataFrame, distribution: Mapping[str, Any]) -> pd.Series:
    """Return how far each lesion lies from the training lesions: the root mean square of its features' z-values.

    Args:
        lesions: Features of measured lesions, indexed by (patient_id, lesion_id).
        distribution: ``training_distribution`` of a model.
    """
    mean = pd.Series(distribution["mean"], index=distribution["features"], dtype=float)
    sd = pd.Series(distribution["sd"], index=distribution["features"], dtype=float)
    varies = sd > 0
    z = ((lesions[mean.index[varies]] - mean[varies]) / sd[varies]).clip(-_LARGEST_Z, _LARGEST_Z)
    return np.sqrt((z**2).mean(axis=1))


def patient_hash(centre: str, patient_id: str) -> str:
    """Return the SHA-256 that stands for a patient in a model folder, so that he is known again but not named."""
    return hashlib.sha256(f"{centre}\n{patient_id}".encode()).hexdigest()


def image_hashes(cohort: Cohort) -> set[str]:
    """Return the SHA-256 of the bytes of every image of a cohort."""
    every = (one.image for patient in cohort.patients for lesion in patient.lesions for one in lesion.delineations)
    return {content_hash(path) for path in _unique(every)}


def _unique(paths: Iterable[Path | None]) -> set[Path]:
    return {path for path in paths if path is not None}


def _schema(column: pd.Series) -> dict[str, Any]:
    known = column.dropna()
    if holds_numbers(column):
        return {"kind": "number", "minimum": float(known.min()), "maximum": float(known.max())}
    return {"kind": "category", "levels": sorted(known.map(level_name).unique())}


def _distribution(cohort: Cohort, model: Frozen) -> dict[str, Any]:
    lesions = measured_lesions(cohort, model.regions)
    moments = {"mean": lesions.mean(), "sd": lesions.std(), **{f"q{q:g}": lesions.quantile(q) for q in _QUANTILES}}
    rounded = {name: [None if not np.isfinite(x) else float(f"{x:.9g}") for x in one] for name, one in moments.items()}
    distribution = {"level": "lesion", "features": list(lesions.columns), **rounded}
    return {**distribution, "far_beyond": float(lesion_distance(lesions, distribution).quantile(_FAR))}
