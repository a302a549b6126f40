"""Patients whose disease returns, sooner or later: what the images show multiplies the hazard, nothing else does.

The study of the preset ``wang``: a breast cancer per patient, seen by MRI before treatment, and disease-free survival
(DFS) after it. The time to recurrence is Weibull with shape 1.1, its hazard multiplied by exp(signal x); x, with mean
0 and SD 1, is the planted latent: texture (``signal_in=texture``: the smoother the lesion, the sooner), ring, volume,
or both texture and ring in the proportion of ``SIGNAL_DIRECTION``. Over all patients 75 % are free of disease at 5
years, whatever the signal.

Of our choosing, since no paper gives them:

* Follow-up ends 24 months after entry at the earliest, then at a constant rate so that its median is 52 months, and
  after 96 months for all: min(24 + Exp, 96), independent of everything.
* Death comes an exponential time of mean 50 months after recurrence, of which 5-year survival is near the 89.6 % that
  the paper has; it is observed until the same last visit.
* Covariates are independent of x, of the time and of each other. Their shares are those of the training patients:
  pathological response 33, internal mammary irradiation 32, oestrogen receptor 90 (for ``hr``) and HER2 96 of 139; age
  at most 45 in 58 of 139, from a normal distribution with SD 10.4, in whole years. The stage follows from the shares of
  cT and cN taken as independent: N3 is IIIc (18 of 139), other T4, N2 and T3 N1 are IIIab (51), the rest II (70).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

from radnet.data.simulation.draws import choose, empty_cells, months, patient_uniforms
from radnet.data.simulation.enrolment import enrol
from radnet.data.simulation.estimate import (
    MONTE_CARLO_DRAWS,
    MONTE_CARLO_SEED,
    Estimate,
    concordance_of_pairs,
    harrell_c,
)
from radnet.data.simulation.latents import BETWEEN_PATIENTS, SIGNAL_DIRECTION, patient_latents
from radnet.data.simulation.lesions import in_the_breast
from radnet.data.simulation.reader import reader_c_index
from radnet.data.simulation.settings import SimulationSettings
from radnet.data.simulation.study import WITHOUT_IMAGES, PlantedCohort, PlantedTruth, Study, patient_groups

DFS_SHAPE = 1.1
FREE_OF_DISEASE, AT_MONTHS = 0.75, 60.0
CENSORING_START_MONTHS, CENSORING_MEDIAN_MONTHS, CENSORING_END_MONTHS = 24.0, 52.0, 96.0
DEATH_AFTER_RECURRENCE_MONTHS = 50.0

AGE_SD, YOUNGER = 10.4, 58 / 139
"""SD of age, and the share of patients who are at most 45."""

STAGES = ("II", "IIIab", "IIIc")
STAGE_SHARES = np.array([70, 51, 18]) / 139
SHARES: Mapping[str, float] = {"pcr": 33 / 139, "imni": 32 / 139, "hr": 90 / 139, "her2": 96 / 139}

COVARIATES = ("age", "ctnm", *SHARES)
OUTCOMES = ("dfs_event", "dfs_months", "os_event", "os_months")

_CLINICAL_DRAWS = ("split", *COVARIATES)
_SURVIVAL_DRAWS = ("dfs", "censoring", "os")


def draw_patients(settings: SimulationSettings) -> pd.DataFrame:
    """Draw every patient: covariates, latents, and survival by what the images are to show."""
    draws = patient_uniforms(settings.seed, "clinical", np.arange(1, settings.n + 1), _CLINICAL_DRAWS)
    patients = enrol(settings, draws["split"])
    numbers = patients["number"].to_numpy()
    one = np.ones(settings.n, dtype=np.int64)
    latents = pd.DataFrame(patient_latents(settings, 0 * one, numbers, one))
    planted = planted_latent(settings, latents)
    covariates = _covariates(draws)
    empty = empty_cells(settings.seed, numbers, COVARIATES, settings.missing)
    observed = {name: pd.Series(column).mask(empty[name]) for name, column in covariates.items()}
    return patients.assign(n_lesions=one, **latents, x=planted, **observed, **_survival(settings, planted, numbers))


def planted_latent(settings: SimulationSettings, latents: pd.DataFrame) -> NDArray[np.float64]:
    """Return x, the latent that multiplies the hazard, with SD 1, of patients with latents ``t``, ``p`` and ``v``."""
    if settings.signal_in == "volume":
        return latents["v"].to_numpy()
    along = np.array(SIGNAL_DIRECTION[settings.signal_in])
    x: NDArray[np.float64] = latents[["t", "p"]].to_numpy() @ along / np.sqrt(along @ BETWEEN_PATIENTS @ along)
    return x


def latent_from_image(settings: SimulationSettings, lesions: pd.DataFrame) -> NDArray[np.float64]:
    """Return E[x | the latents of the one lesion that the image shows], from ``t``, ``p`` and ``v`` of the lesion.

    All are normal, so what remains unknown of x is the same for all patients, and the expectation orders them as well
    as any reader of the voxels can.
    """
    if settings.signal_in == "volume":
        return lesions["v"].to_numpy()
    along = np.array(SIGNAL_DIRECTION[settings.signal_in])
    with_x = BETWEEN_PATIENTS @ along / np.sqrt(along @ BETWEEN_PATIENTS @ along)
    seen = BETWEEN_PATIENTS + settings.lesion_noise**2 * np.eye(2)
    expected: NDArray[np.float64] = lesions[["t", "p"]].to_numpy() @ np.linalg.solve(seen, with_x)
    return expected


def free_of_disease(settings: SimulationSettings, time_months: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of all patients free of disease at each time, over every x."""
    return _marginal_survival(settings.signal, dfs_scale_months(settings), time_months)


def dfs_scale_months(settings: SimulationSettings) -> float:
    """Return the Weibull scale at x = 0 for which the share of patients wanted is free of disease at 5 years."""

    def surplus(log_scale: float) -> float:
        return float(_marginal_survival(settings.signal, np.exp(log_scale), np.array([AT_MONTHS]))[0]) - FREE_OF_DISEASE

    return float(np.exp(brentq(surplus, 0.0, 100.0, xtol=1e-12)))


def _marginal_survival(signal: float, scale: float, time_months: NDArray[np.float64]) -> NDArray[np.float64]:
    """Integrate over a normal x by the trapezoid rule, which for it is exact to rounding."""
    x = np.linspace(-9, 9, 721)
    weights = np.exp(-(x**2) / 2)
    cumulative_hazard = (time_months[:, None] / scale) ** DFS_SHAPE * np.exp(signal * x)
    survival: NDArray[np.float64] = np.exp(-cumulative_hazard) @ weights / weights.sum()
    return survival


def expected_event_share(settings: SimulationSettings) -> float:
    """Return the expected share of patients whose recurrence is seen: over the ends of follow-up, by quantile."""
    quantile = (np.arange(4000) + 0.5) / 4000
    return float(1 - free_of_disease(settings, _follow_up(quantile)).mean())


def oracle_c_indices(settings: SimulationSettings, draws: int = MONTE_CARLO_DRAWS) -> dict[str, Estimate]:
    """Return Harrell's C-index for recurrence, over pairs of patients that the settings could draw.

    Returns:
        ``image``: of the best reader of the voxels, which no model exceeds, as the table says nothing; ``latent``: of
        the patient's own x, which the lesion shows with noise.
    """
    rng = np.random.default_rng(MONTE_CARLO_SEED)
    root = np.linalg.cholesky(BETWEEN_PATIENTS)
    both = rng.standard_normal((draws, 2)) @ root.T
    latents = pd.DataFrame(both, columns=["t", "p"]).assign(v=rng.standard_normal(draws))
    lesions = latents + settings.lesion_noise * np.column_stack([rng.standard_normal((draws, 2)), np.zeros(draws)])
    x = planted_latent(settings, latents)
    time, event = _observed(_recurrence(settings, x, rng.random(draws)), _follow_up(rng.random(draws)))
    scores = {"image": latent_from_image(settings, lesions), "latent": x}
    return {name: concordance_of_pairs(settings.signal * score, time, event) for name, score in scores.items()}


def truth(settings: SimulationSettings, cohort: PlantedCohort, readings: pd.DataFrame | None) -> PlantedTruth:
    """Return what is known of a cohort whose outcome is a time to recurrence."""
    scored = cohort.patients.assign(x_from_image=latent_from_image(settings, cohort.lesions))
    of_cohort = {
        "null": {"image": settings.signal == 0, "clinical": True, "survival": settings.signal == 0},
        "hazard_ratio_per_sd": float(np.exp(settings.signal)),
        "oracle_auc": {},
        "oracle_c_index": {name: found.named("c_index") for name, found in oracle_c_indices(settings).items()},
        "sample_oracle_c_index": _sample_oracle_c_indices(settings, scored),
        "expected_event_share": expected_event_share(settings),
        "reader_c_index": _reader_c_index(scored, readings),
    }
    return PlantedTruth(of_cohort, scored[["patient_id", "centre", "split", "t", "p", "v", "x", "x_from_image"]])


RECURRENCE = Study((*COVARIATES, *OUTCOMES), draw_patients, in_the_breast, lambda _settings: 1.0, truth)


def _covariates(draws: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray]:
    age = 45.5 + AGE_SD * (ndtri(draws["age"]) - ndtri(YOUNGER))
    stage = choose(np.broadcast_to(STAGE_SHARES, (len(age), len(STAGES))), draws["ctnm"])
    return {
        "age": np.clip(np.rint(age), 22, 85).astype(int),
        "ctnm": np.array(STAGES)[stage],
        **{name: (draws[name] < share).astype(int) for name, share in SHARES.items()},
    }


def _survival(
    settings: SimulationSettings, planted: NDArray[np.float64], numbers: NDArray[np.int64]
) -> dict[str, NDArray]:
    draws = patient_uniforms(settings.seed, "survival", numbers, _SURVIVAL_DRAWS)
    recurrence, end = _recurrence(settings, planted, draws["dfs"]), _follow_up(draws["censoring"])
    death = recurrence - DEATH_AFTER_RECURRENCE_MONTHS * np.log(draws["os"])
    (dfs, recurred), (survival, died) = _observed(recurrence, end), _observed(death, end)
    return {
        "dfs_event": recurred.astype(int),
        "dfs_months": months(dfs),
        "os_event": died.astype(int),
        "os_months": months(survival),
    }


def _recurrence(
    settings: SimulationSettings, planted: NDArray[np.float64], draw: NDArray[np.float64]
) -> NDArray[np.float64]:
    cumulative_hazard = -np.log(draw) * np.exp(-settings.signal * planted)
    time: NDArray[np.float64] = dfs_scale_months(settings) * cumulative_hazard ** (1 / DFS_SHAPE)
    return time


def _follow_up(draw: NDArray[np.float64]) -> NDArray[np.float64]:
    mean = (CENSORING_MEDIAN_MONTHS - CENSORING_START_MONTHS) / np.log(2)
    return np.minimum(CENSORING_START_MONTHS - mean * np.log1p(-draw), CENSORING_END_MONTHS)


def _observed(time: NDArray[np.float64], end: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return np.minimum(time, end), time <= end


def _sample_oracle_c_indices(settings: SimulationSettings, scored: pd.DataFrame) -> dict[str, dict[str, object]]:
    time, event = scored["dfs_months"].to_numpy(), scored["dfs_event"].to_numpy().astype(bool)
    risks = {"image": settings.signal * scored["x_from_image"], "latent": settings.signal * scored["x"]}
    return {
        group: {
            name: harrell_c(risk.to_numpy()[of], time[of], event[of]).named("c_index") for name, risk in risks.items()
        }
        for group, of in patient_groups(scored).items()
    }


def _reader_c_index(patients: pd.DataFrame, readings: pd.DataFrame | None) -> dict[str, object]:
    if readings is None:
        return Estimate(None, None, WITHOUT_IMAGES).named("c_index")
    of = patients.set_index("patient_id")
    return reader_c_index(readings, of["dfs_months"], of["dfs_event"], of["split"])
