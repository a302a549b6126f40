"""What images are made to show: latents of texture, ring and volume, and how an outcome moves them.

A patient's texture and ring latents are normal with SD 1 and ``LATENT_CORRELATION``; a lesion's are the patient's plus
noise of SD ``lesion_noise``. An outcome moves them along ``SIGNAL_DIRECTION`` by ``signal``.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from radnet.data.simulation.draws import patient_uniforms
from radnet.data.simulation.settings import SimulationSettings

LATENT_CORRELATION = 0.3
BETWEEN_PATIENTS = np.array([[1.0, LATENT_CORRELATION], [LATENT_CORRELATION, 1.0]])
"""Covariance of a patient's texture and ring latents given the outcome."""

SIGNAL_DIRECTION = {"texture": (1.0, 0.0), "ring": (0.0, 1.0), "both": (1.0, 0.6), "volume": (0.0, 0.0)}

_LATENT_DRAWS = ("t", "p", "v", "carrier")


def patient_latents(
    settings: SimulationSettings,
    outcome: NDArray[np.int64],
    numbers: NDArray[np.int64],
    n_lesions: NDArray[np.int64],
) -> dict[str, NDArray]:
    """Draw each patient's latents ``t`` (texture), ``p`` (ring), ``v`` (volume), and the ``carrier`` among the lesions.

    Args:
        settings: How large the signal is, and in what.
        outcome: 1 where the outcome moves the latents, else 0.
        numbers: Of the patients.
        n_lesions: Of each patient.
    """
    draws = patient_uniforms(settings.seed, "image", numbers, _LATENT_DRAWS)
    texture, ring = correlated(draws["t"], draws["p"])
    along_t, along_p = SIGNAL_DIRECTION[settings.signal_in]
    shift = outcome * settings.signal
    return {
        "t": texture + shift * along_t,
        "p": ring + shift * along_p,
        "v": ndtri(draws["v"]) + shift * (settings.signal_in == "volume"),
        "carrier": 1 + np.floor(draws["carrier"] * n_lesions).astype(int),
    }


def correlated(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return normal texture and ring latents with SD 1 and their correlation, from two uniform numbers each."""
    texture = ndtri(first)
    return texture, LATENT_CORRELATION * texture + np.sqrt(1 - LATENT_CORRELATION**2) * ndtri(second)


def latent_shift(settings: SimulationSettings) -> NDArray[np.float64]:
    """Return how far the outcome moves texture and ring, shape (2,)."""
    return settings.signal * np.array(SIGNAL_DIRECTION[settings.signal_in])


def volume_shift(settings: SimulationSettings) -> float:
    """Return how far the outcome moves the volume latent."""
    return settings.signal if settings.signal_in == "volume" else 0.0


def llr_weights(settings: SimulationSettings, n_lesions: int) -> NDArray[np.float64]:
    """Return the weights of texture and ring, means over so many lesions, in the LLR of the outcome, shape (2,)."""
    covariance = BETWEEN_PATIENTS + settings.lesion_noise**2 / n_lesions * np.eye(2)
    return np.asarray(np.linalg.solve(covariance, latent_shift(settings)), dtype=np.float64)


def separation(settings: SimulationSettings, n_lesions: int) -> float:
    """Return D², the squared distance that the outcome puts between the mean latents of so many lesions.

    Example:
        >>> round(separation(SimulationSettings(signal=1.0), n_lesions=1), 4)
        0.91
    """
    return float(llr_weights(settings, n_lesions) @ latent_shift(settings)) + volume_shift(settings) ** 2


def image_llr(settings: SimulationSettings, patients: pd.DataFrame, lesions: pd.DataFrame) -> NDArray[np.float64]:
    """Return the log likelihood ratio of the outcome given the latents of a patient's lesions, one per patient."""
    volume = volume_shift(settings)
    if settings.carrier == "one":
        of_lesion = _linear_llr(settings, 1, lesions["t"], lesions["p"]) + volume * (lesions["v"] - volume / 2)
        bag: NDArray[np.float64] = np.log(np.exp(of_lesion).groupby(lesions["patient"].to_numpy()).mean().to_numpy())
        return bag
    means = lesions.groupby("patient")[["t", "p"]].mean().loc[patients["number"]]
    counts = patients["n_lesions"].to_numpy()
    llr: NDArray[np.float64] = volume * (patients["v"].to_numpy() - volume / 2)
    for count in np.unique(counts):
        some = counts == count
        llr[some] += _linear_llr(settings, int(count), means["t"].to_numpy()[some], means["p"].to_numpy()[some])
    return llr


def _linear_llr(settings: SimulationSettings, n_lesions: int, texture: pd.Series, ring: pd.Series) -> pd.Series:
    weights, shift = llr_weights(settings, n_lesions), latent_shift(settings)
    return weights[0] * (texture - shift[0] / 2) + weights[1] * (ring - shift[1] / 2)


def lesion_latents(
    settings: SimulationSettings, of: pd.DataFrame, carries: NDArray[np.bool_], draws: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Return the latents of lesions: their patient's, or their own where they carry no signal, and noise.

    Args:
        settings: How noisy lesions are.
        of: The patient of each lesion.
        carries: Whether a lesion carries the signal.
        draws: Uniform numbers ``noise_t``, ``noise_p``, ``own_t``, ``own_p`` and ``own_v``.
    """
    own_t, own_p = correlated(draws["own_t"], draws["own_p"])
    return {
        "t": np.where(carries, of["t"], own_t) + settings.lesion_noise * ndtri(draws["noise_t"]),
        "p": np.where(carries, of["p"], own_p) + settings.lesion_noise * ndtri(draws["noise_p"]),
        "v": np.where(carries, of["v"], ndtri(draws["own_v"])),
    }
