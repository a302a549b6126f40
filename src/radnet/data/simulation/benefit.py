"""Patients who benefit from immunotherapy or not, with all their lesions: up to 17, of which each shows it with noise.

The study of the preset ``ligero``: solid tumours on CT. Clinical benefit moves the image latents, albumin and
lymphocytes. Best response and survival follow from benefit (and, of best response, the centre), from nothing else.

Published, and so planted:

* Benefit in 43 of 85, 25 of 46 and 25 of 47 patients of the three centres, and best response given benefit there;
  benefit without response is stable disease beyond 5 months.
* At most 17 lesions, in the shares of ``SITE_SHARES``, any number in one site; the tumour types of ``phase1``.

Of the design: 1 lesion and a negative binomial number of further ones, of mean 1.78 and size 1.2, more than 17 never
drawn. Albumin is 3.9 g/dL (SD .5) and with benefit .25 more, lymphocytes are 1.4 10⁹/L (SD .6) and .3 more; the knob
``clinical`` multiplies both differences. Under ``strict_null`` neither images nor table tell of benefit; survival
follows from it as ever.

Of our choosing, since no paper gives them:

* Stable disease lasts from 1.5 to 5 months without benefit, each as likely; with it 5 months and an exponential time of
  mean 6.
* Death comes an exponential time after best response is known, with median 18 months with benefit and 7 without;
  known it is after 5 months (complete or partial response), at the end of stable disease, or at once (progression).
  Follow-up ends between 12 and 48 months, each month as likely, and nothing is observed beyond it.
* ECOG 0, 1, 2 for 35, 60 and 5 %; metastatic organs 1 and a Poisson number of mean 1, whatever the lesions measured;
  log-normal LDH (median 220 U/L, SD of the logarithm .4), platelets (250 10⁹/L, .3) and neutrophils (4.5 10⁹/L, .35);
  leukocytes are neutrophils, lymphocytes and others (.6 10⁹/L, .3). None but the lymphocytes among them tells of
  benefit.
* One institution, three of its machines: scanner B for ``phase1``, A for ``bladder``, D for ``lung``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import nbinom, poisson

from radnet.data.simulation.draws import choose, empty_cells, months, patient_uniforms
from radnet.data.simulation.enrolment import centre_llr, centre_shares, enrol
from radnet.data.simulation.estimate import (
    C_INDEX_PAIRS,
    MONTE_CARLO_SEED,
    Estimate,
    NormalLlrs,
    auc_of_normal_llrs,
    concordance_of_pairs,
    random_choices,
    sample_auc,
)
from radnet.data.simulation.latents import image_llr, latent_shift, patient_latents, separation
from radnet.data.simulation.reader import reader_auc
from radnet.data.simulation.settings import SimulationSettings
from radnet.data.simulation.study import WITHOUT_IMAGES, PlantedCohort, PlantedTruth, Study, patient_groups

PREVALENCE: Mapping[str, float] = {"phase1": 43 / 85, "bladder": 25 / 46, "lung": 25 / 47}

RESPONSES = ("CR", "PR", "SD", "PD")
RESPONSES_WITHOUT_AND_WITH_BENEFIT: Mapping[str, NDArray[np.float64]] = {
    "phase1": np.array([[0, 0, 10 / 42, 32 / 42], [5 / 43, 7 / 43, 31 / 43, 0]]),
    "bladder": np.array([[0, 0, 3 / 21, 18 / 21], [7 / 25, 15 / 25, 3 / 25, 0]]),
    "lung": np.array([[0, 0, 5 / 22, 17 / 22], [2 / 25, 11 / 25, 12 / 25, 0]]),
}

TUMOURS_OF_PHASE_1: Mapping[str, int] = {
    "breast": 14,
    "cervix": 10,
    "other": 10,
    "gastrointestinal": 9,
    "melanoma": 8,
    "thyroid": 6,
    "lung": 6,
    "bladder": 6,
    "head_neck": 5,
    "ovary": 3,
    "pleura": 2,
    "thymus": 2,
    "kidney": 2,
    "adrenal": 2,
}

FURTHER_LESIONS_MEAN, FURTHER_LESIONS_SIZE, MOST_LESIONS = 1.78, 1.2, 17
SITE_SHARES: Mapping[str, float] = {"node": 0.36, "liver": 0.22, "lung": 0.25, "other": 0.16}
"""Of the lesions, to be divided by their sum of .99."""

BENEFIT_MONTHS = 5.0
SHORTEST_STABLE_MONTHS, STABLE_BEYOND_BENEFIT_MONTHS = 1.5, 6.0
SURVIVAL_MEDIAN_MONTHS = np.array([7.0, 18.0])
"""After best response is known, without and with benefit."""
FOLLOW_UP_MONTHS = (12.0, 48.0)


@dataclass(frozen=True, slots=True)
class Marker:
    """A blood value that tells of benefit: its mean without, how much more with it, its SD, the least written."""

    mean: float
    shift: float
    sd: float
    least: float


MARKERS: Mapping[str, Marker] = {
    "albumin": Marker(3.9, 0.25, 0.5, least=1.0),
    "lymphocytes": Marker(1.4, 0.3, 0.6, least=0.1),
}

COVARIATES = (
    *("tumour_type", "ecog", "n_organs", "ldh", "leukocytes", "platelets"),
    *("neutrophils", "albumin", "lymphocytes"),
)
OUTCOMES = ("best_response", "sd_months", "sd_ended", "clinical_benefit", "os_event", "os_months")

_CLINICAL_DRAWS = (
    *("split", "clinical_benefit", "lesions", "best_response", "stable"),
    *("tumour_type", "ecog", "n_organs", "ldh", "platelets", "neutrophils", "others", *MARKERS),
)
_SURVIVAL_DRAWS = ("os", "censoring")


def draw_patients(settings: SimulationSettings) -> pd.DataFrame:
    """Draw every patient: benefit, what follows from it, and covariates, of which two depend on it."""
    draws = patient_uniforms(settings.seed, "clinical", np.arange(1, settings.n + 1), _CLINICAL_DRAWS)
    patients = enrol(settings, draws["split"])
    numbers = patients["number"].to_numpy()
    centres = patients["centre_name"].to_numpy().astype(np.str_)
    benefit = (draws["clinical_benefit"] < patients["centre_name"].map(PREVALENCE).to_numpy()).astype(np.int64)
    counts = np.broadcast_to(lesion_count_shares(settings.max_lesions), (settings.n, settings.max_lesions))
    n_lesions = 1 + choose(counts, draws["lesions"])
    markers = {
        name: marker.mean + benefit * settings.clinical * marker.shift + marker.sd * ndtri(draws[name])
        for name, marker in MARKERS.items()
    }
    covariates = _covariates(centres, markers, draws)
    empty = empty_cells(settings.seed, numbers, COVARIATES, settings.missing)
    observed = {name: pd.Series(covariates[name]).mask(empty[name]) for name in COVARIATES}
    survival = patient_uniforms(settings.seed, "survival", numbers, _SURVIVAL_DRAWS)
    return patients.assign(
        n_lesions=n_lesions,
        **patient_latents(settings, benefit, numbers, n_lesions),
        **observed,
        **{f"{name}_planted": value for name, value in markers.items()},
        clinical_benefit=benefit,
        **_course(benefit, centres, draws | survival),
    )


def draw_sites(_of: pd.DataFrame, _number: NDArray[np.int64], draw: NDArray[np.float64]) -> NDArray[np.str_]:
    """Draw the site of each lesion alone: a patient may have any number in one."""
    shares = np.array(list(SITE_SHARES.values())) / sum(SITE_SHARES.values())
    return np.array(list(SITE_SHARES))[choose(np.broadcast_to(shares, (len(draw), len(shares))), draw)]


def lesion_count_shares(max_lesions: int) -> NDArray[np.float64]:
    """Return the probability of 1 lesion and so on, shape (max_lesions,); the surplus falls on the last."""
    success = FURTHER_LESIONS_SIZE / (FURTHER_LESIONS_SIZE + FURTHER_LESIONS_MEAN)
    shares: NDArray[np.float64] = nbinom.pmf(np.arange(MOST_LESIONS), FURTHER_LESIONS_SIZE, success)
    shares = shares / shares.sum()
    return np.append(shares[: max_lesions - 1], shares[max_lesions - 1 :].sum())


def texture_sd(settings: SimulationSettings) -> float:
    """Return the SD of the texture latent over all patients, with benefit or without."""
    shares = settings.centre_shares
    share = sum(shares[centre] * PREVALENCE[centre] for centre in shares) / sum(shares.values())
    return float(np.sqrt(1 + share * (1 - share) * latent_shift(settings)[0] ** 2))


def patient_llrs(settings: SimulationSettings, patients: pd.DataFrame, lesions: pd.DataFrame) -> pd.DataFrame:
    """Return the LLR of benefit of planted patients: ``image``, ``clinical``, ``combined`` of both, and ``centre``."""
    centres = centre_llr(settings, PREVALENCE)
    image = image_llr(settings, patients, lesions)
    clinical = sum(
        settings.clinical
        * marker.shift
        / marker.sd**2
        * (patients[f"{name}_planted"] - marker.mean - settings.clinical * marker.shift / 2)
        for name, marker in MARKERS.items()
    )
    centre = patients["centre_name"].map(centres)
    return pd.DataFrame({"image": image, "clinical": clinical, "combined": image + clinical, "centre": centre})


def clinical_separation(settings: SimulationSettings) -> float:
    """Return D², the squared distance that benefit puts between albumin and lymphocytes together."""
    return sum((settings.clinical * marker.shift / marker.sd) ** 2 for marker in MARKERS.values())


def oracle_aucs(settings: SimulationSettings) -> dict[str, Estimate]:
    """Return the AUC of the LLR of each source of information over all patients the settings could draw.

    Returns:
        ``image``, ``clinical`` and ``combined``, and ``combined_with_centre``, which no model exceeds: prevalence
        differs a little between centres, and the type of tumour tells them.
    """
    sources = {
        "image": (1.0, 0.0, 0.0),
        "clinical": (0.0, 1.0, 0.0),
        "combined": (1.0, 1.0, 0.0),
        "combined_with_centre": (1.0, 1.0, 1.0),
    }
    return {
        name: Estimate(
            auc_of_normal_llrs(*(_kinds(settings, has_benefit, *weights) for has_benefit in (False, True))),
            None,
            "closed_form",
        )
        for name, weights in sources.items()
    }


def oracle_c_indices(settings: SimulationSettings, pairs: int = C_INDEX_PAIRS) -> dict[str, Estimate]:
    """Return Harrell's C-index for overall survival, over pairs of patients that the settings could draw.

    Returns:
        ``image`` and ``combined``: of the LLR of benefit, taken as promising a longer time.
    """
    rng = np.random.default_rng(MONTE_CARLO_SEED)
    patients = 2 * pairs
    of_centre = np.array(list(settings.centre_shares.values())) / sum(settings.centre_shares.values())
    centres = np.array(list(settings.centres))[random_choices(rng, of_centre, patients)]
    prevalence = np.select([centres == name for name in PREVALENCE], list(PREVALENCE.values()))
    benefit = (rng.random(patients) < prevalence).astype(np.int64)
    n_lesions = 1 + random_choices(rng, lesion_count_shares(settings.max_lesions), patients)
    image = _normal_llr(rng, benefit, _image_separations(settings)[n_lesions - 1])
    clinical = _normal_llr(rng, benefit, np.full(patients, clinical_separation(settings)))
    course = _course(
        benefit, centres, {name: rng.random(patients) for name in ("best_response", "stable", "os", "censoring")}
    )
    time, event = course["os_months"], course["os_event"].astype(bool)
    return {
        name: concordance_of_pairs(-llr, time, event)
        for name, llr in (("image", image), ("combined", image + clinical))
    }


def truth(settings: SimulationSettings, cohort: PlantedCohort, readings: pd.DataFrame | None) -> PlantedTruth:
    """Return what is known of patients with and without benefit."""
    patients = cohort.patients
    llr = patient_llrs(settings, patients, cohort.lesions)
    benefit = patients["clinical_benefit"].to_numpy()
    of_cohort = {
        "null": {
            "image": settings.signal == 0,
            "clinical": settings.clinical == 0,
            "survival": settings.signal == 0 and settings.clinical == 0,
        },
        "marker_shifts": {name: settings.clinical * marker.shift for name, marker in MARKERS.items()},
        "oracle_auc": {name: found.named("auc") for name, found in oracle_aucs(settings).items()},
        "sample_oracle_auc": {
            group: {
                name: sample_auc(llr[name].to_numpy()[of], benefit[of]).named("auc") for name in ("image", "combined")
            }
            for group, of in patient_groups(patients).items()
        },
        "oracle_c_index": {name: found.named("c_index") for name, found in oracle_c_indices(settings).items()},
        "reader_auc": _reader_auc(patients, readings),
    }
    kept = ["patient_id", "centre", "split", "clinical_benefit", "n_lesions", "t", "p", "v"]
    return PlantedTruth(of_cohort, pd.concat([patients[kept], llr.add_prefix("llr_")], axis=1))


BENEFIT = Study((*COVARIATES, *OUTCOMES), draw_patients, draw_sites, texture_sd, truth)


def _covariates(
    centres: NDArray[np.str_], markers: Mapping[str, NDArray[np.float64]], draws: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray]:
    counts = np.array(list(TUMOURS_OF_PHASE_1.values()))
    tumours = np.broadcast_to(counts / counts.sum(), (len(centres), len(counts)))
    of_phase_1 = np.array(list(TUMOURS_OF_PHASE_1))[choose(tumours, draws["tumour_type"])]
    written = {name: np.maximum(markers[name].round(2), marker.least) for name, marker in MARKERS.items()}
    neutrophils = _log_normal(4.5, 0.35, draws["neutrophils"]).round(2)
    others = _log_normal(0.6, 0.3, draws["others"]).round(2)
    return {
        "tumour_type": np.where(centres == "phase1", of_phase_1, centres),
        "ecog": np.searchsorted([0.35, 0.95], draws["ecog"], side="right"),
        "n_organs": 1 + poisson.ppf(draws["n_organs"], 1.0).astype(int),
        "ldh": np.rint(_log_normal(220.0, 0.4, draws["ldh"])).astype(int),
        "leukocytes": (neutrophils + written["lymphocytes"] + others).round(2),
        "platelets": np.rint(_log_normal(250.0, 0.3, draws["platelets"])).astype(int),
        "neutrophils": neutrophils,
        **written,
    }


def _log_normal(median: float, sd: float, draw: NDArray[np.float64]) -> NDArray[np.float64]:
    value: NDArray[np.float64] = median * np.exp(sd * ndtri(draw))
    return value


def _course(
    benefit: NDArray[np.int64], centres: NDArray[np.str_], draws: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray]:
    """Return best response, months of stable disease (NaN without) and survival, as observed until follow-up ends."""
    shares = np.zeros((len(benefit), len(RESPONSES)))
    for centre, of_centre in RESPONSES_WITHOUT_AND_WITH_BENEFIT.items():
        here = centres == centre
        shares[here] = of_centre[benefit[here]]
    response = np.array(RESPONSES)[choose(shares, draws["best_response"])]
    short = SHORTEST_STABLE_MONTHS + (BENEFIT_MONTHS - SHORTEST_STABLE_MONTHS) * draws["stable"]
    long = BENEFIT_MONTHS - STABLE_BEYOND_BENEFIT_MONTHS * np.log(draws["stable"])
    written = np.where(benefit == 1, np.maximum(long.round(2), BENEFIT_MONTHS + 0.01), short.round(2))
    stable = np.where(response == "SD", written, np.nan)
    known = np.select([response == "SD", response == "PD"], [stable, 0.0], BENEFIT_MONTHS)
    death = known - SURVIVAL_MEDIAN_MONTHS[benefit] / np.log(2) * np.log(draws["os"])
    first, last = FOLLOW_UP_MONTHS
    end = first + (last - first) * draws["censoring"]
    return {
        "best_response": response,
        "sd_months": np.minimum(stable, end.round(2)),
        "sd_ended": pd.arrays.IntegerArray((stable <= end.round(2)).astype(np.int64), response != "SD"),
        "os_event": (death <= end).astype(int),
        "os_months": months(np.minimum(death, end)),
    }


def _image_separations(settings: SimulationSettings) -> NDArray[np.float64]:
    return np.array([separation(settings, number) for number in range(1, settings.max_lesions + 1)])


def _kinds(settings: SimulationSettings, has_benefit: bool, image: float, clinical: float, centre: float) -> NormalLlrs:
    """Return the kinds of patients, by number of lesions and centre; each source has weight 1 or, left out, 0."""
    lesions = lesion_count_shares(settings.max_lesions)
    centres = centre_shares(settings, PREVALENCE, has_benefit)
    steps = centre * np.array(list(centre_llr(settings, PREVALENCE).values()))
    distance = image * _image_separations(settings) + clinical * clinical_separation(settings)
    return NormalLlrs(
        share=np.outer(lesions, list(centres.values())).ravel(),
        step=np.tile(steps, len(lesions)),
        distance=np.repeat(distance, len(steps)),
    )


def _normal_llr(
    rng: np.random.Generator, benefit: NDArray[np.int64], distance: NDArray[np.float64]
) -> NDArray[np.float64]:
    llr: NDArray[np.float64] = (benefit - 0.5) * distance + np.sqrt(distance) * rng.standard_normal(len(benefit))
    return llr


def _reader_auc(patients: pd.DataFrame, readings: pd.DataFrame | None) -> dict[str, object]:
    if readings is None:
        return Estimate(None, None, WITHOUT_IMAGES).named("auc")
    of = patients.set_index("patient_id")
    return reader_auc(readings, of["clinical_benefit"], of["split"])
