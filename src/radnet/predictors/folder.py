"""The model folder: everything needed to score a new patient, and nothing that executes on load."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
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
from radnet.predictors.frozen_ensemble import FrozenEnsemble
from radnet.predictors.frozen_stack import FrozenStack
from radnet.predictors.reading import FittedReading, reading_from

FORMAT_VERSION = 2
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_FAR = 0.99  # of the training lesions lie nearer than a lesion called far
_LARGEST_Z = 10.0  # so that one feature with a long tail does not decide alone


@dataclass(frozen=True)
class ModelFolder:
    """A model as it was saved: what scores, what describes it, and how its score is read."""

    model: Frozen
    card: Mapping[str, Any]
    readings: tuple[FittedReading, ...]

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint learned."""
        return self.readings[0].endpoint


def save_model(
    folder: Path,
    model: Frozen,
    train: Cohort,
    readings: Sequence[FittedReading],
    name: str = "model",
    before: Mapping[str, Any] | None = None,
) -> None:
    """Write a fitted model: weights (safetensors), pipeline (skops), ``model.json`` and ``cutoffs.json``.

    ``model.json`` names the inputs, the settings and engine they were measured with, the endpoint, the training
    patients (as hashes of centre and id, and of image bytes), how the inputs and the score were distributed among them,
    how the score is read, and the hash of every other file.

    Args:
        folder: Made if absent.
        model: What a predictor's ``fit`` left behind.
        train: The patients it learned from.
        readings: How its score is read on the endpoint learned, then on further ones; ``cutoffs.json`` holds their
            frozen cut-offs, the first under ``score``.
        name: Of the model, in every table.
        before: What is done to a cohort before this model sees it: ``targets`` chosen, ``complete_cases`` kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    description = model.save(folder)
    endpoint = readings[0].endpoint
    write_json(_cutoffs(readings), folder / "cutoffs.json")
    learned = train.evaluable(endpoint.name)
    score = model.predict(learned).patients["score"]
    columns = description["clinical"]
    clinical = learned.clinical(columns) if columns else pd.DataFrame(index=learned.ids)
    provenance = {} if learned.features is None else dict(learned.features.provenance)
    card = {
        "format_version": FORMAT_VERSION,
        "name": name,
        **description,
        "endpoint": asdict(endpoint),
        "readings": [one.as_dict() for one in readings],
        "before": dict(before or {}),
        "training_score": {"mean": float(score.mean()), "sd": float(score.std(ddof=1))},
        "extraction": {key: value for key, value in provenance.items() if key != "inputs"},
        "clinical_schema": {column: _schema(clinical[column]) for column in columns},
        "centres": sorted(set(learned.centres)),
        "patients_sha256": sorted(patient_hash(one.centre, one.id) for one in learned.patients),
        "images_sha256": sorted(image_hashes(learned)) if model.regions or getattr(model, "imaging", None) else [],
        "n": len(learned),
        "n_event": int(learned.events(endpoint.name).sum()),
        "training_distribution": _distribution(learned, model) if model.regions else {},
        "files_sha256": {name: file_hash(folder / name) for name in _files(folder)},
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
    return ModelFolder(_load_frozen(folder, card), card, tuple(reading_from(one) for one in card["readings"]))


def _load_frozen(folder: Path, card: Mapping[str, Any]) -> Frozen:
    if card["predictor"] == "tabular":
        return FrozenPipeline.load(folder, card)
    if card["predictor"] == "stack":
        return FrozenStack.load(folder, card, _load_frozen)
    if card["predictor"] == "ensemble":
        return FrozenEnsemble.load(folder, card, _load_frozen)
    if card["predictor"] == "hybrid":
        from radnet.predictors.frozen_hybrid import FrozenHybrid  # torch and MONAI, which a tabular model does without

        return FrozenHybrid.load(folder, card)
    from radnet.predictors.frozen_network import FrozenNetwork

    return FrozenNetwork.load(folder, card)


def _cutoffs(readings: Sequence[FittedReading]) -> dict[str, Any]:
    names = ["score", *(one.endpoint.name for one in readings[1:])]
    return {
        name: {"value": one.cutoff.value, "rule": one.cutoff.rule, "of": _read_from(one)}
        for name, one in zip(names, readings, strict=True)
        if one.cutoff is not None
    }


def _read_from(reading: FittedReading) -> str:
    if reading.own:
        return "own score"
    return "-score" if reading.negate else "score"


def _files(folder: Path) -> list[str]:
    """Return every file of a model folder but its card, as a path within it."""
    every = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if not path.is_dir())
    return [name for name in every if name != "model.json"]


def _refuse_other_files(folder: Path, expected: Mapping[str, str]) -> None:
    found = set(_files(folder))
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
