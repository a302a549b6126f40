"""Lesions of simulated patients: where they are, how large, and the texture and ring that their images are to show."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from radnet.data.simulation.draws import uniforms
from radnet.data.simulation.latents import lesion_latents
from radnet.data.simulation.settings import SimulationSettings

VISCERAL_SITES = ("liver", "lung")

DrawSites = Callable[[pd.DataFrame, NDArray[np.int64], NDArray[np.float64]], NDArray[np.str_]]
"""Name the site of each lesion, given its patient, its number within the patient, and a uniform number."""

_LESION_DRAWS = (
    *("site", "noise_t", "noise_p", "own_t", "own_p", "own_v"),
    *("radius", "axis_z", "axis_y", "axis_x", "mean"),
)


def draw_lesions(settings: SimulationSettings, patients: pd.DataFrame, draw_sites: DrawSites) -> pd.DataFrame:
    """Return one row per lesion: numbers and ids, site, latents, and the shape and texture they ask for."""
    row = np.repeat(np.arange(len(patients)), patients["n_lesions"])
    first = np.cumsum(patients["n_lesions"].to_numpy()) - patients["n_lesions"].to_numpy()
    of = patients.iloc[row].reset_index(drop=True)
    number = np.arange(len(row)) - first[row] + 1
    draws = uniforms(settings.seed, "image", of["number"].to_numpy(), number, _LESION_DRAWS)
    carries = (number == of["carrier"].to_numpy()) if settings.carrier == "one" else np.ones(len(row), dtype=bool)
    latents = lesion_latents(settings, of, carries, draws)
    semi_axes = _semi_axes(settings, draws, latents["v"])
    site = draw_sites(of, number, draws["site"])
    lesions = pd.DataFrame(
        {
            "patient": of["number"],
            "lesion": number,
            "patient_id": of["patient_id"],
            "lesion_id": [f"L{one}" for one in number],
            "centre": of["centre"],
            "scanner": of["scanner"],
            "site": site,
            "visceral": np.isin(site, VISCERAL_SITES).astype(int),
            "carries": carries,
            **latents,
            "texture_sd_hu": 22 * np.exp(-0.30 * latents["t"]),
            "texture_width_mm": np.clip(2.0 * np.exp(0.15 * latents["t"]), 0.8, 6.0),
            "ring_hu": 20 + settings.ring_sign * 20 * latents["p"],
            "mean_shift_hu": 6 * ndtri(draws["mean"]),
            "semi_z_mm": semi_axes[0],
            "semi_y_mm": semi_axes[1],
            "semi_x_mm": semi_axes[2],
        }
    )
    lesions["long_mm"] = 2 * lesions[["semi_y_mm", "semi_x_mm"]].max(axis=1)
    lesions["volume_mm3"] = 4 / 3 * np.pi * semi_axes.prod(axis=0)
    return lesions.assign(target_rank=_target_rank(lesions))


def in_the_breast(of: pd.DataFrame, _number: NDArray[np.int64], _draw: NDArray[np.float64]) -> NDArray[np.str_]:
    """Place every lesion in the breast."""
    return np.full(len(of), "breast")


def _semi_axes(
    settings: SimulationSettings, draws: Mapping[str, NDArray[np.float64]], size: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the semi-axes along Z, Y and X, shape (3, lesions), kept at least 4 mm inside the grid."""
    smallest, largest = settings.radius_mm
    radius = smallest + (largest - smallest) * draws["radius"]
    if settings.signal_in == "volume":
        radius = radius * np.exp(0.25 * size)
    log_axes = 0.12 * ndtri(np.stack([draws["axis_z"], draws["axis_y"], draws["axis_x"]]))
    semi_axes = radius * np.exp(log_axes - log_axes.mean(axis=0))
    return semi_axes * np.minimum(1, (settings.size_voxels / 2 - 4) / semi_axes.max(axis=0))


def _target_rank(lesions: pd.DataFrame) -> pd.Series:
    """Rank as targets are chosen: a site's largest before any second lesion, visceral sites first, by diameter."""
    by_size = lesions.sort_values(["patient", "long_mm"], ascending=[True, False], kind="stable")
    turn = by_size.groupby(["patient", "site"]).cumcount()
    ordered = by_size.assign(turn=turn).sort_values(
        ["patient", "turn", "visceral", "long_mm"], ascending=[True, True, False, False], kind="stable"
    )
    return (ordered.groupby("patient").cumcount() + 1).sort_index()
