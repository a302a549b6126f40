"""Where a cohort comes from: a folder of the user's, or the simulator."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radnet.console import progress
from radnet.data.simulate import simulate, simulation_settings


def cohort_folder(root: str | None) -> Path:
    """Return the user's folder."""
    if not root:
        raise ValueError("data=manifest needs data.root=FOLDER, the folder with clinical.csv")
    return Path(root)


def simulated_folder(preset: str, cache: str, workers: int, knobs: Mapping[str, Any]) -> Path:
    """Return the folder of a simulated cohort, made on first use and kept under ``cache``.

    Args:
        preset: Name of a preset, such as ``small``.
        cache: Folder that keeps simulated cohorts.
        workers: Processes that draw images.
        knobs: What differs from the preset; null leaves the preset's value.
    """
    given = {knob: value for knob, value in knobs.items() if value is not None}
    settings = simulation_settings(preset, **given)
    key = hashlib.sha256(json.dumps([preset, given], sort_keys=True).encode()).hexdigest()[:8]
    folder = Path(cache) / f"{preset}-seed{settings.seed}-{key}"
    with progress("Simulating lesions") as show:
        simulate(settings, folder, workers=workers, progress=show)
    return folder
