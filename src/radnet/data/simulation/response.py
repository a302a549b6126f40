"""Patients who respond or not: what drives response, what follows it, and what was planted of it.

The study of the presets ``small``, ``paper`` and ``multicentre``. Response moves the image latents, the covariates and
the time to progression.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from radnet.data.simulation.design import (
    AGE_SD,
    CELLS,
    CENSORING_RATE,
    CENSORING_START_MONTHS,
    COVARIATES,
    CPS_OBSERVED,
    DRIVERS,
    FIRST_VISCERAL_SITE,
    ODDS_RATIOS,
    OS_AFTER_PFS_MONTHS,
    OS_CENSORING_LATER_MONTHS,
    OUTCOMES,
    RATE_FACTOR,
    SIDES,
    SITES,
    SITES_IF_NOT,
    SITES_IF_VISCERAL,
    SUBTYPES,
    age_means,
    cell_shares,
    centre_prevalence,
    lesion_count_shares,
    pfs_rates,
    side_shares,
    subtype_shares,
)
from radnet.data.simulation.draws import choose, empty_cells, months, patient_uniforms
from radnet.data.simulation.enrolment import enrol
from radnet.data.simulation.estimate import Estimate, sample_auc
from radnet.data.simulation.latents import latent_shift, patient_latents
from radnet.data.simulation.oracle import expected_event_share, oracle_aucs, oracle_c_indices, patient_llrs
from radnet.data.simulation.reader import reader_auc
from radnet.data.simulation.settings import SimulationSettings
from radnet.data.simulation.study import WITHOUT_IMAGES, PlantedCohort, PlantedTruth, Study, patient_groups

_CLINICAL_DRAWS = (
    *("response", "drivers", "lesions", "split", "age", "menopause", "bmi", "subtype", "receptors"),
    *(f"{name}_side" for name in SIDES),
    *(f"{name}_distance" for name, side in SIDES.items() if side.cut is not None),
    *("best_response", "ct_days_before"),
)
_SURVIVAL_DRAWS = ("pfs", "censoring", "os")


def draw_patients(settings: SimulationSettings) -> pd.DataFrame:
    """Draw every patient: response, drivers, lesions, covariates, latents and survival."""
    draws = patient_uniforms(settings.seed, "clinical", np.arange(1, settings.n + 1), _CLINICAL_DRAWS)
    patients = enrol(settings, draws["split"])
    numbers, centres = patients["number"].to_numpy(), patients["centre_name"].to_numpy().astype(np.str_)
    response = _responses(settings, centres, patients["split"].to_numpy().astype(np.str_), draws["response"])
    patients = patients.assign(response=response, **_drivers(settings, response, draws["drivers"]))
    counts = lesion_count_shares(settings.max_lesions)[patients["sites_ge3"]]
    patients["n_lesions"] = 1 + choose(counts, draws["lesions"])
    covariates = _covariates(settings, response, draws)
    latents = patient_latents(settings, response, numbers, patients["n_lesions"].to_numpy())
    survival = _survival(settings, response, centres, latents["t"], numbers)
    return _with_gaps(settings, patients.assign(**covariates, **latents, **survival))


def draw_sites(of: pd.DataFrame, number: NDArray[np.int64], draw: NDArray[np.float64]) -> NDArray[np.str_]:
    """Draw the sites lesion by lesion, at most two lesions of a patient in each."""
    visceral = of["visceral_planted"].to_numpy().astype(bool)
    row = of["number"].to_numpy() - 1
    site = np.zeros(len(number), dtype=np.int64)
    taken = np.zeros((row[-1] + 1, len(SITES)), dtype=np.int64)
    for turn in range(1, number.max() + 1):
        now = np.flatnonzero(number == turn)
        shares = np.where(visceral[now, None], FIRST_VISCERAL_SITE if turn == 1 else SITES_IF_VISCERAL, SITES_IF_NOT)
        shares = np.where(taken[row[now]] < 2, shares, 0.0)
        site[now] = choose(shares / shares.sum(axis=1, keepdims=True), draw[now])
        taken[row[now], site[now]] += 1
    return np.array(SITES)[site]


def texture_sd(settings: SimulationSettings) -> float:
    """Return the SD of the texture latent over responders and non-responders."""
    between = settings.prevalence * (1 - settings.prevalence) * latent_shift(settings)[0] ** 2
    return float(np.sqrt(1 + between))


def truth(settings: SimulationSettings, cohort: PlantedCohort, readings: pd.DataFrame | None) -> PlantedTruth:
    """Return what is known of responders and non-responders."""
    patients = cohort.patients
    llr = patient_llrs(settings, patients, cohort.lesions)
    of_cohort = {
        "null": {
            "image": settings.signal == 0,
            "clinical": settings.clinical == 0 and settings.covariates == "pooled",
            "survival": settings.strict_null,
        },
        "odds_ratios": {driver: ratio**settings.clinical for driver, ratio in ODDS_RATIOS.items()},
        "oracle_auc": {name: found.named("auc") for name, found in oracle_aucs(settings).items()},
        "sample_oracle_auc": _sample_oracle_aucs(settings, patients, llr),
        "oracle_c_index": {name: found.named("c_index") for name, found in oracle_c_indices(settings).items()},
        "expected_event_share": expected_event_share(settings),
        "reader_auc": _reader_auc(patients, readings),
    }
    kept = ["patient_id", "centre", "split", "response", "n_lesions", "t", "p", "v", "carrier", "pfs_rate"]
    return PlantedTruth(of_cohort, pd.concat([patients[kept], llr.add_prefix("llr_")], axis=1))


RESPONSE = Study((*COVARIATES, *OUTCOMES), draw_patients, draw_sites, texture_sd, truth)


def _sample_oracle_aucs(
    settings: SimulationSettings, patients: pd.DataFrame, llr: pd.DataFrame
) -> dict[str, dict[str, object]]:
    scores = {"image": llr["image"], "combined": llr["combined"]}
    if settings.centre_outcome != 0:
        scores["combined_with_centre"] = llr["combined"] + llr["centre"]
    response = patients["response"].to_numpy()
    return {
        group: {name: sample_auc(score.to_numpy()[of], response[of]).named("auc") for name, score in scores.items()}
        for group, of in patient_groups(patients).items()
    }


def _reader_auc(patients: pd.DataFrame, readings: pd.DataFrame | None) -> dict[str, object]:
    if readings is None:
        return Estimate(None, None, WITHOUT_IMAGES).named("auc")
    of = patients.set_index("patient_id")
    return reader_auc(readings, of["response"], of["split"])


def _responses(
    settings: SimulationSettings, centres: NDArray[np.str_], split: NDArray[np.str_], draw: NDArray[np.float64]
) -> NDArray[np.int64]:
    by_centre = centre_prevalence(settings)
    prevalence = np.array([by_centre[centre] for centre in centres])
    if not settings.exact_counts:
        return (draw < prevalence).astype(np.int64)
    _, stratum = np.unique(np.char.add(centres, split), return_inverse=True)
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
    cells = CELLS[choose(shares[response], draw)]
    return dict(zip(DRIVERS, cells.T, strict=True))


def _covariates(
    settings: SimulationSettings, response: NDArray[np.int64], draws: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray]:
    age = np.array(age_means(settings))[response] + AGE_SD * ndtri(draws["age"])
    subtype = choose(subtype_shares(settings)[response], draws["subtype"])
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


def _survival(
    settings: SimulationSettings,
    response: NDArray[np.int64],
    centres: NDArray[np.str_],
    texture: NDArray[np.float64],
    numbers: NDArray[np.int64],
) -> dict[str, NDArray]:
    draws = patient_uniforms(settings.seed, "survival", numbers, _SURVIVAL_DRAWS)
    rate = np.array(pfs_rates(settings))[response] * np.exp(-settings.pfs_latent * texture)
    rate *= np.array([RATE_FACTOR.get(centre, 1.0) for centre in centres])
    pfs = -np.log(draws["pfs"]) / rate
    death = pfs - OS_AFTER_PFS_MONTHS * np.log(draws["os"])
    end = CENSORING_START_MONTHS - np.log(draws["censoring"]) / CENSORING_RATE
    os_end = end + OS_CENSORING_LATER_MONTHS
    return {
        "pfs_rate": rate,
        "pfs_months": months(np.minimum(pfs, end)),
        "pfs_event": (pfs <= end).astype(int),
        "os_months": months(np.minimum(death, os_end)),
        "os_event": (death <= os_end).astype(int),
    }


def _with_gaps(settings: SimulationSettings, patients: pd.DataFrame) -> pd.DataFrame:
    numbers = patients["number"].to_numpy()
    empty = empty_cells(settings.seed, numbers, COVARIATES, settings.missing)
    empty["cps"] = ~empty_cells(settings.seed, numbers, COVARIATES, CPS_OBSERVED)["cps"]
    planted = {f"{name}_planted": patients[name] for name in (*DRIVERS, "subtype")}
    observed = {name: patients[name].astype(object).mask(empty[name], None) for name in COVARIATES if empty[name].any()}
    return patients.assign(**planted, **observed, cps_observed=~empty["cps"])
