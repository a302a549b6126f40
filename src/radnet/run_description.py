"""How a run came to its numbers, for its evaluation: what it was configured with and what its frozen model reads."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from radnet.radiomics.vocabulary import CLASSES

_OF_THE_MACHINE = ("output", "overwrite", "workers", "cache", "logger")
_PLACES = ("root", "folder", "cache", "workers")
_OF_THE_CARD = (
    *("name", "predictor", "network", "network_arguments", "clinical", "regions", "aggregate", "calibrated"),
    *("endpoint", "extraction", "centres", "n", "n_event", "files_sha256", "card_sha256"),
)


def describe_run(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what a run folder says of how its model was made; a file that is not there leaves its part empty.

    Returns:
        ``config``, the resolved configuration without what names places on a machine, and ``model``, the frozen
        model's card without what it learned: with ``n_inputs`` columns before and ``n_features`` after its own steps
        (None if unknown), the features' classes, and the channels beyond the first.
    """
    config = folder / "config.yaml"
    chosen = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else {}
    if isinstance(chosen.get("data"), dict):
        chosen["data"] = {key: one for key, one in chosen["data"].items() if key not in _PLACES}
    card = folder / "model" / "model.json"
    return {
        "config": _finite({key: value for key, value in chosen.items() if key not in _OF_THE_MACHINE}),
        "model": _card(json.loads(card.read_text(encoding="utf-8"))) if card.is_file() else {},
    }


def parameters(description: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Return how many columns a model chose from (``candidate``) and how many it kept (``final``), where known."""
    model = description["model"]
    counted = {"candidate": model.get("n_inputs"), "final": model.get("n_features")}
    return {words: int(number) for words, number in counted.items() if number}


def subgroups_of(description: Mapping[str, Mapping[str, Any]], predictions: pd.DataFrame) -> list[str]:
    """Return the groups a run was told to judge its models within, of those that its prediction table has."""
    return [name for name in description["config"].get("subgroups") or {} if name in predictions]


def protocol_of(predictions: Path) -> dict[str, str]:
    """Return the ``protocol`` of the run whose prediction table this is; nothing where no run stands beside it."""
    record = predictions.parent / "run.json"
    found = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    return {"protocol": str(found["protocol"])} if "protocol" in found else {}


def _finite(value: Any) -> Any:
    """Write numbers that JSON has no word for, such as a penalty of infinity, as text."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _card(card: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: card[key] for key in _OF_THE_CARD if key in card}
    inputs = list(card.get("inputs") or [])
    arguments = card.get("network_arguments") or {}
    encoded = arguments.get("n_clinical", 0)  # a pipeline counts its encoded clinical columns among its inputs
    return kept | {
        "n_inputs": len(inputs) + encoded,
        "n_features": arguments["n_features"] + encoded if "n_features" in arguments else None,
        "feature_classes": _classes(inputs),
        "channels": _channels(inputs, card.get("regions") or []),
    }


def _classes(names: Sequence[str]) -> dict[str, int]:
    """Count features by class, the word before the last of ``image_class_Name``; other columns are none."""
    words = [name.rpartition("__")[2].split("_") for name in names]
    return dict(Counter(parts[-2] for parts in words if len(parts) > 2 and parts[-2] in CLASSES))


def _channels(names: Sequence[str], regions: Sequence[str]) -> list[str]:
    """Return the prefixes of features that name no region."""
    return sorted({prefix for name in names for prefix in name.split("__")[:-1]} - set(regions))
