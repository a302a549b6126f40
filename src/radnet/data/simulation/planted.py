"""Patients and lesions of a simulated cohort: the response, what it changes, and what follows from it.

Chance comes in blocks of uniform numbers, one block per patient (and lesion) and stream, each column of a block with
one use. A knob changes what is made of the numbers, never which numbers are drawn; more patients leave earlier ones
as they were, unless counts are exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from radnet.data.simulation.design import (
    AGE_SD,
    BIOLOGY,
    BIOLOGY_CORRELATION,
    CELLS,
    CENSORING_RATE,
    CENSORING_START_MONTHS,
    COVARIATES,
    CPS_OBSERVED,
    DRIVERS,
    FIRST_VISCERAL_SITE,
    LATENT_CORRELATION,
    OS_AFTER_PFS_MONTHS,
    OS_CENSORING_LATER_MONTHS,
    PLANTED_BIOLOGY,
    RATE_FACTOR,
    SIDES,
    SIGNAL_DIRECTION,
    SITES,
    SITES_IF_NOT,
    SITES_IF_VISCERAL,
    SUBTYPES,
    VISCERAL_SITES,
    age_means,
    cell_shares,
    centre_prevalence,
    lesion_count_shares,
    pfs_rates,
    side_shares,
    subtype_shares,
)
from radnet.data.simulation.settings import MOST_LESIONS, SimulationSettings

STREAMS = {"clinical": 0, "image": 1, "survival": 2, "missing": 3, "readers": 4, "biology": 5}

_CLINICAL_DRAWS = (
    *("response", "drivers", "lesions", "split", "age", "menopause", "bmi", "subtype", "receptors"),
    *(f"{name}_side" for name in SIDES),
    *(f"{name}_distance" for name, side in SIDES.items() if side.cut is not None),
    *("best_response", "ct_days_before"),
)
_LATENT_DRAWS = ("t", "p", "v", "carrier")
_LESION_DRAWS = (
    "site",
    "noise_t",
    "noise_p",
    "own_t",
    "own_p",
    "own_v",
    "radius",
    "axis_z",
    "axis_y",
    "axis_x",
    "mean",
)
_SURVIVAL_DRAWS = ("pfs", "censoring", "os")


@dataclass(frozen=True)
class PlantedCohort:
    """What was drawn, before any image is made.

    Attributes:
        patients: One row per patient: number, ids, covariates and outcomes as written, latents ``t``, ``p`` and ``v``,
            the sides of the covariates (``<name>_side``), ``centre_letter`` and ``n_lesions``.
        lesions: One row per lesion: numbers and ids, site, latents, and the shape and texture they ask for.
        biology: Molecular columns, one row per patient; no rows when not asked for.
    """

    patients: pd.DataFrame
    lesions: pd.DataFrame
    biology: pd.DataFrame


def uniforms(
    seed: int, stream: str, patients: NDArray[np.int64], lesions: NDArray[np.int64], names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Return named columns of uniform numbers in (0, 1), one row per patient and lesion.

    A row depends on the seed, the stream, the patient and the lesion alone (lesion 0: the patient as a whole), and a
    column on nothing that is appended to ``names`` after it.
    """
    keys = np.column_stack([np.full_like(patients, seed), np.full_like(patients, STREAMS[stream]), patients, lesions])
    block = np.empty((len(patients), len(names)))
    for row, key in zip(block, keys.astype(np.uint32), strict=True):
        np.random.Generator(np.random.PCG64(np.random.SeedSequence(key))).random(out=row)
    np.maximum(block, 2.0**-54, out=block)
    return dict(zip(names, block.T, strict=True))


def plant(settings: SimulationSettings) -> PlantedCohort:
    """Draw every patient and lesion of a cohort."""
    patients = _draw_patients(settings)
    lesions = _draw_lesions(settings, patients)
    return PlantedCohort(patients, lesions, _draw_biology(settings, patients))


def _draw_patients(settings: SimulationSettings) -> pd.DataFrame:
    numbers = np.arange(1, settings.n + 1)
    whole = np.zeros_like(numbers)
    draws = uniforms(settings.seed, "clinical", numbers, whole, _CLINICAL_DRAWS)
    letters = _centres(settings)
    split = _splits(letters, draws["split"])
    response = _responses(settings, letters, split, draws["response"])
    prefix = f"{settings.cohort}-" if settings.cohort else ""
    patients = pd.DataFrame(
        {
            "number": numbers,
            "patient_id": [f"{prefix}P{number:04d}" for number in numbers],
            "centre": [f"{prefix}{letter}" for letter in letters],
            "centre_letter": letters,
            "split": split,
            "response": response,
            **_drivers(settings, response, draws["drivers"]),
        }
    )
    counts = lesion_count_shares(settings.max_lesions)[patients["sites_ge3"]]
    patients["n_lesions"] = 1 + _choose(counts, draws["lesions"])
    covariates = _covariates(settings, response, draws)
    latents = _latents(settings, response, numbers, patients["n_lesions"].to_numpy())
    survival = _survival(settings, response, letters, latents["t"], numbers)
    patients = patients.assign(**covariates, **latents, **survival)
    return _with_gaps(settings, patients)


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


def _splits(letters: NDArray[np.str_], order: NDArray[np.float64]) -> NDArray[np.str_]:
    split = np.where(letters == "A", "train", "held_out")
    of_b = np.flatnonzero(letters == "B")
    permuted = of_b[np.argsort(order[of_b], kind="stable")]
    split[permuted[::2]] = "train"
    return split


def _responses(
    settings: SimulationSettings, letters: NDArray[np.str_], split: NDArray[np.str_], draw: NDArray[np.float64]
) -> NDArray[np.int64]:
    by_centre = centre_prevalence(settings)
    prevalence = np.array([by_centre[letter] for letter in letters])
    if not settings.exact_counts:
        return (draw < prevalence).astype(np.int64)
    _, stratum = np.unique(np.char.add(letters, split), return_inverse=True)
    expected = np.bincount(stratum, weights=prevalence)
    responders = np.floor(expected + 1e-9).astype(int)
    short = round(expected.sum()) - responders.sum()
    responders[np.argsort(responders - expected, kind="stable")[:short]] += 1
    response = np.zeros(len(draw), dtype=np.int64)
    for number, count in enumerate(responders):
        members = np.flatnonzero(stratum == number)
        response[members[np.argsort(draw[members], kind="stable")[:count]]] = 1
    return response


def _drivers(
    settings: SimulationSettings, response: NDArray[np.int64], draw: NDArray[np.float64]
) -> dict[str, NDArray[np.int64]]:
    shares = np.stack([cell_shares(settings.clinical, responder) for responder in (False, True)])
    cells = CELLS[_choose(shares[response], draw)]
    return dict(zip(DRIVERS, cells.T, strict=True))


def _covariates(
    settings: SimulationSettings, response: NDArray[np.int64], draws: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray]:
    age = np.array(age_means(settings))[response] + AGE_SD * ndtri(draws["age"])
    subtype = _choose(subtype_shares(settings)[response], draws["subtype"])
    receptor, negative = draws["receptors"], subtype == SUBTYPES.index("TNBC")
    luminal = subtype == SUBTYPES.index("HR+/HER2-")
    columns: dict[str, NDArray] = {
        "age": np.clip(age, 22, 85).round(1),
        "age_latent": age,
        "postmenopausal": (age + 4 * ndtri(draws["menopause"]) > 43.9).astype(int),
        "bmi": np.clip(22.91 + 3.23 * ndtri(draws["bmi"]), 15, 40).round(1),
        "subtype": np.array(SUBTYPES)[subtype],
        "er": np.where(luminal, receptor < 34 / 43, ~negative & (receptor < 4 / 15)).astype(int),
        "pr": (luminal & (receptor >= 18 / 43)).astype(int),
        "her2": (subtype == SUBTYPES.index("HER2+")).astype(int),
        "ct_days_before": np.floor(29 * draws["ct_days_before"]).astype(int),
        "best_response": np.where(
            response == 1,
            np.where(draws["best_response"] < 16 / 85, "CR", "PR"),
            np.where(draws["best_response"] < 54 / 155, "PD", "SD"),
        ),
    }
    for name, side in SIDES.items():
        upper = draws[f"{name}_side"] < np.array(side_shares(settings, name))[response]
        columns[f"{name}_side"] = upper.astype(int)
        if side.cut is None:
            columns[name] = upper.astype(int)
        else:
            columns[name] = _values_beside(side.cut, side.decimals, upper, draws[f"{name}_distance"])
    columns["ki67"] = np.minimum(columns["ki67"], 100)
    return columns


def _values_beside(cut: float, decimals: int, upper: NDArray[np.bool_], draw: NDArray[np.float64]) -> NDArray:
    """Round away from the cut, so that a value written with few decimals stays on its side."""
    distance = np.abs(0.35 * ndtri(draw))
    scale = 10**decimals
    value = cut * np.exp(np.where(upper, distance, -distance)) * scale
    whole = np.where(upper, np.ceil(value), np.floor(value))
    return whole / scale if decimals else whole.astype(int)


def _latents(
    settings: SimulationSettings, response: NDArray[np.int64], numbers: NDArray[np.int64], n_lesions: NDArray[np.int64]
) -> dict[str, NDArray]:
    draws = uniforms(settings.seed, "image", numbers, np.zeros_like(numbers), _LATENT_DRAWS)
    texture, ring = _correlated(draws["t"], draws["p"])
    along_t, along_p = SIGNAL_DIRECTION[settings.signal_in]
    shift = response * settings.signal
    return {
        "t": texture + shift * along_t,
        "p": ring + shift * along_p,
        "v": ndtri(draws["v"]) + shift * (settings.signal_in == "volume"),
        "carrier": 1 + np.floor(draws["carrier"] * n_lesions).astype(int),
    }


def _correlated(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    texture = ndtri(first)
    return texture, LATENT_CORRELATION * texture + np.sqrt(1 - LATENT_CORRELATION**2) * ndtri(second)


def _survival(
    settings: SimulationSettings,
    response: NDArray[np.int64],
    letters: NDArray[np.str_],
    texture: NDArray[np.float64],
    numbers: NDArray[np.int64],
) -> dict[str, NDArray]:
    draws = uniforms(settings.seed, "survival", numbers, np.zeros_like(numbers), _SURVIVAL_DRAWS)
    rate = np.array(pfs_rates(settings))[response] * np.exp(-settings.pfs_latent * texture)
    rate *= np.array([RATE_FACTOR.get(letter, 1.0) for letter in letters])
    pfs = -np.log(draws["pfs"]) / rate
    death = pfs - OS_AFTER_PFS_MONTHS * np.log(draws["os"])
    end = CENSORING_START_MONTHS - np.log(draws["censoring"]) / CENSORING_RATE
    os_end = end + OS_CENSORING_LATER_MONTHS
    return {
        "pfs_rate": rate,
        "pfs_months": _months(np.minimum(pfs, end)),
        "pfs_event": (pfs <= end).astype(int),
        "os_months": _months(np.minimum(death, os_end)),
        "os_event": (death <= os_end).astype(int),
    }


def _months(time: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(time.round(2), 0.01)


def _with_gaps(settings: SimulationSettings, patients: pd.DataFrame) -> pd.DataFrame:
    numbers = patients["number"].to_numpy()
    draws = uniforms(settings.seed, "missing", numbers, np.zeros_like(numbers), COVARIATES)
    empty = {name: draws[name] < settings.missing for name in COVARIATES}
    empty["cps"] = draws["cps"] >= CPS_OBSERVED
    planted = {f"{name}_planted": patients[name] for name in (*DRIVERS, "subtype")}
    observed = {name: patients[name].astype(object).mask(empty[name], None) for name in COVARIATES if empty[name].any()}
    return patients.assign(**planted, **observed, cps_observed=~empty["cps"])


def _draw_lesions(settings: SimulationSettings, patients: pd.DataFrame) -> pd.DataFrame:
    row = np.repeat(np.arange(len(patients)), patients["n_lesions"])
    first = np.cumsum(patients["n_lesions"].to_numpy()) - patients["n_lesions"].to_numpy()
    of = patients.iloc[row].reset_index(drop=True)
    number = np.arange(len(row)) - first[row] + 1
    draws = uniforms(settings.seed, "image", of["number"].to_numpy(), number, _LESION_DRAWS)
    own_t, own_p = _correlated(draws["own_t"], draws["own_p"])
    carries = (number == of["carrier"].to_numpy()) if settings.carrier == "one" else np.ones(len(row), dtype=bool)
    texture = np.where(carries, of["t"], own_t) + settings.lesion_noise * ndtri(draws["noise_t"])
    ring = np.where(carries, of["p"], own_p) + settings.lesion_noise * ndtri(draws["noise_p"])
    size = np.where(carries, of["v"], ndtri(draws["own_v"]))
    semi_axes = _semi_axes(settings, draws, size)
    site = _sites(of["visceral_planted"].to_numpy().astype(bool), number, row, draws["site"])
    lesions = pd.DataFrame(
        {
            "patient": of["number"],
            "lesion": number,
            "patient_id": of["patient_id"],
            "lesion_id": [f"L{one}" for one in number],
            "centre": of["centre"],
            "centre_letter": of["centre_letter"],
            "site": np.array(SITES)[site],
            "visceral": np.isin(np.array(SITES)[site], VISCERAL_SITES).astype(int),
            "carries": carries,
            "t": texture,
            "p": ring,
            "v": size,
            "texture_sd_hu": 22 * np.exp(-0.30 * texture),
            "texture_width_mm": np.clip(2.0 * np.exp(0.15 * texture), 0.8, 6.0),
            "ring_hu": 20 + settings.ring_sign * 20 * ring,
            "mean_shift_hu": 6 * ndtri(draws["mean"]),
            "semi_z_mm": semi_axes[0],
            "semi_y_mm": semi_axes[1],
            "semi_x_mm": semi_axes[2],
        }
    )
    lesions["long_mm"] = 2 * lesions[["semi_y_mm", "semi_x_mm"]].max(axis=1)
    lesions["volume_mm3"] = 4 / 3 * np.pi * semi_axes.prod(axis=0)
    return lesions.assign(target_rank=_target_rank(lesions))


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


def _sites(
    visceral: NDArray[np.bool_], number: NDArray[np.int64], row: NDArray[np.int64], draw: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Draw the sites lesion by lesion, at most two lesions of a patient in each."""
    site = np.zeros(len(number), dtype=np.int64)
    taken = np.zeros((row[-1] + 1, len(SITES)), dtype=np.int64)
    for turn in range(1, MOST_LESIONS + 1):
        now = np.flatnonzero(number == turn)
        shares = np.where(visceral[now, None], FIRST_VISCERAL_SITE if turn == 1 else SITES_IF_VISCERAL, SITES_IF_NOT)
        shares = np.where(taken[row[now]] < 2, shares, 0.0)
        site[now] = _choose(shares / shares.sum(axis=1, keepdims=True), draw[now])
        taken[row[now], site[now]] += 1
    return site


def _target_rank(lesions: pd.DataFrame) -> pd.Series:
    """Rank as targets are chosen: a site's largest before any second lesion, visceral sites first, by diameter."""
    by_size = lesions.sort_values(["patient", "long_mm"], ascending=[True, False], kind="stable")
    turn = by_size.groupby(["patient", "site"]).cumcount()
    ordered = by_size.assign(turn=turn).sort_values(
        ["patient", "turn", "visceral", "long_mm"], ascending=[True, True, False, False], kind="stable"
    )
    return (ordered.groupby("patient").cumcount() + 1).sort_index()


def _draw_biology(settings: SimulationSettings, patients: pd.DataFrame) -> pd.DataFrame:
    """Return standardised molecular columns; the planted ones correlate with the texture latent."""
    if not settings.biology:
        return pd.DataFrame(columns=["patient_id", *BIOLOGY])
    numbers = patients["number"].to_numpy()
    noise = uniforms(settings.seed, "biology", numbers, np.zeros_like(numbers), BIOLOGY)
    between = settings.prevalence * (1 - settings.prevalence) * settings.signal**2
    texture_sd = np.sqrt(1 + between * SIGNAL_DIRECTION[settings.signal_in][0] ** 2)
    columns = {}
    for name in BIOLOGY:
        r = BIOLOGY_CORRELATION if name in PLANTED_BIOLOGY else 0.0
        columns[name] = r * patients["t"] / texture_sd + np.sqrt(1 - r**2) * ndtri(noise[name])
    return pd.DataFrame({"patient_id": patients["patient_id"], **columns}).round(dict.fromkeys(BIOLOGY, 4))


def _choose(shares: NDArray[np.float64], draw: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return, per row of ``shares`` (rows, choices), the choice that a uniform draw falls on."""
    reached = np.cumsum(shares, axis=1)
    reached[:, -1] = 1.0
    choice: NDArray[np.int64] = (draw[:, None] >= reached).sum(axis=1)
    return choice
