"""The patients of a simulated cohort, before anything is known of them: ids, centres, and who trains."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radnet.data.simulation.settings import SimulationSettings


def enrol(settings: SimulationSettings, order: NDArray[np.float64]) -> pd.DataFrame:
    """Return one row per patient: ``number``, ``patient_id``, ``centre``, ``centre_name``, ``scanner``, ``split``.

    ``centre`` is the name as written, ``centre_name`` as the preset has it.

    Args:
        settings: How many patients, and of which preset.
        order: A number per patient, in whose order a centre's patients train and are held out in turn.
    """
    prefix = f"{settings.cohort}-" if settings.cohort else ""
    numbers = np.arange(1, settings.n + 1)
    names = _centres(settings)
    return pd.DataFrame(
        {
            "number": numbers,
            "patient_id": [f"{prefix}P{number:04d}" for number in numbers],
            "centre": [f"{prefix}{name}" for name in names],
            "centre_name": names,
            "scanner": [settings.centres[name].scanner for name in names],
            "split": _splits(settings, names, order),
        }
    )


def centre_shares(settings: SimulationSettings, prevalence: Mapping[str, float], has_event: bool) -> dict[str, float]:
    """Return the centres' shares of the patients with, or without, an event of this prevalence at each centre."""
    shares = {
        centre: share * (prevalence[centre] if has_event else 1 - prevalence[centre])
        for centre, share in settings.centre_shares.items()
    }
    return {centre: share / sum(shares.values()) for centre, share in shares.items()}


def centre_llr(settings: SimulationSettings, prevalence: Mapping[str, float]) -> dict[str, float]:
    """Return the log likelihood ratio of an event of this prevalence at each centre, given the centre."""
    shares = settings.centre_shares
    with_event = sum(shares[centre] * prevalence[centre] for centre in shares)
    without = sum(shares[centre] * (1 - prevalence[centre]) for centre in shares)
    return {
        centre: float(np.log(prevalence[centre] / with_event) - np.log((1 - prevalence[centre]) / without))
        for centre in shares
    }


def _centres(settings: SimulationSettings) -> NDArray[np.str_]:
    """Deal patients to the centre furthest below its share, so that the order is fixed and every cycle is exact."""
    shares = np.array(list(settings.centre_shares.values()))
    dealt = np.zeros(len(shares))
    order = []
    for patient in range(1, shares.sum() + 1):
        centre = int(np.argmax(shares / shares.sum() * patient - dealt))
        dealt[centre] += 1
        order.append(centre)
    return np.array(list(settings.centre_shares))[np.resize(order, settings.n)]


def _splits(settings: SimulationSettings, names: NDArray[np.str_], order: NDArray[np.float64]) -> NDArray[np.str_]:
    """Let a centre's patients train in the proportion it has, evenly along a permutation of them."""
    split = np.full(len(names), "held_out")
    for name, centre in settings.centres.items():
        of_centre = np.flatnonzero(names == name)
        permuted = of_centre[np.argsort(order[of_centre], kind="stable")]
        due = np.ceil(np.arange(len(permuted) + 1) * centre.train)
        split[permuted[np.diff(due) > 0]] = "train"
    return split
