"""Patients whose tumour is inflamed or not: the images show the phenotype, and other labels follow from it.

The study of the preset ``han``: a breast cancer per patient, seen by MRI. Every tumour has the phenotype A (immune
inflamed) or B; A moves the image latents, in the ring above all. A cohort has only the label it had in the study:

* ``discovery`` (train) and ``validation``: ``tme``, 1 for A.
* ``cd8``: ``cd8``, 1 for inflamed. Staining is taken to see the phenotype itself.
* ``immunotherapy``: ``response``. A and response are normal latents beyond a threshold, the two correlated by .6, so
  that the images tell of response no more than they tell of A.

Of our choosing, since no paper gives them: A has a prevalence of .45 in ``discovery``, .4 in ``validation``, .2 in
``cd8`` and .45 in ``immunotherapy``; response has .21. There are no covariates. Discovery and validation come from one
source and have one scanner (B), the two others from one hospital (D).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from radnet.data.simulation.draws import patient_uniforms
from radnet.data.simulation.enrolment import enrol
from radnet.data.simulation.estimate import Estimate, NormalLlrs, auc_of_normal_llrs, sample_auc
from radnet.data.simulation.latents import image_llr, latent_shift, patient_latents, separation
from radnet.data.simulation.lesions import in_the_breast
from radnet.data.simulation.reader import reader_auc
from radnet.data.simulation.settings import SimulationSettings
from radnet.data.simulation.study import WITHOUT_IMAGES, PlantedCohort, PlantedTruth, Study, patient_groups

PHENOTYPE_PREVALENCE: Mapping[str, float] = {"discovery": 0.45, "validation": 0.4, "cd8": 0.2, "immunotherapy": 0.45}
LABEL_OF_CENTRE: Mapping[str, str] = {
    "discovery": "tme",
    "validation": "tme",
    "cd8": "cd8",
    "immunotherapy": "response",
}
LABELS = ("tme", "cd8", "response")
RESPONSE_PREVALENCE = 0.21
RESPONSE_CORRELATION = 0.6

_CLINICAL_DRAWS = ("split", "phenotype", "response")


def draw_patients(settings: SimulationSettings) -> pd.DataFrame:
    """Draw every patient: the phenotype, the one label of its centre, and the latents that the phenotype moves."""
    draws = patient_uniforms(settings.seed, "clinical", np.arange(1, settings.n + 1), _CLINICAL_DRAWS)
    patients = enrol(settings, draws["split"])
    prevalence = patients["centre_name"].map(PHENOTYPE_PREVALENCE).to_numpy()
    phenotype = (draws["phenotype"] < prevalence).astype(np.int64)
    response = (draws["response"] < _response_given_latent(-ndtri(draws["phenotype"]))).astype(np.int64)
    label = patients["centre_name"].map(LABEL_OF_CENTRE)
    columns = {
        name: pd.Series(response if name == "response" else phenotype, dtype="Int64").where(label == name)
        for name in LABELS
    }
    one = np.ones(settings.n, dtype=np.int64)
    latents = patient_latents(settings, phenotype, patients["number"].to_numpy(), one)
    return patients.assign(phenotype=phenotype, **columns, n_lesions=one, **latents)


def texture_sd(settings: SimulationSettings) -> float:
    """Return the SD of the texture latent over all patients, A or B."""
    shares = settings.centre_shares
    share = sum(shares[centre] * PHENOTYPE_PREVALENCE[centre] for centre in shares) / sum(shares.values())
    return float(np.sqrt(1 + share * (1 - share) * latent_shift(settings)[0] ** 2))


def oracle_aucs(settings: SimulationSettings) -> dict[str, Estimate]:
    """Return for each label the AUC of the best reader of the images, over all patients that the settings could draw.

    Returns:
        ``image_for_tme``, ``image_for_cd8`` and ``image_for_response``. As there are no covariates, no model exceeds
        them.
    """
    kind = NormalLlrs(np.ones(1), np.zeros(1), np.array([separation(settings, 1)]))
    of_phenotype = auc_of_normal_llrs(kind, kind)
    among_responders, among_others = phenotype_given_response()
    of_response = 0.5 + (among_responders - among_others) * (of_phenotype - 0.5)
    exact = Estimate(of_phenotype, None, "closed_form")
    return {
        "image_for_tme": exact,
        "image_for_cd8": exact,
        "image_for_response": Estimate(of_response, None, "quadrature"),
    }


def phenotype_given_response() -> tuple[float, float]:
    """Return the shares of A among the responders and the non-responders of ``immunotherapy``, by midpoint rule."""
    prevalence = PHENOTYPE_PREVALENCE["immunotherapy"]
    quantile = prevalence * (np.arange(20_000) + 0.5) / 20_000
    both = prevalence * float(_response_given_latent(-ndtri(quantile)).mean())
    return both / RESPONSE_PREVALENCE, (prevalence - both) / (1 - RESPONSE_PREVALENCE)


def truth(settings: SimulationSettings, cohort: PlantedCohort, readings: pd.DataFrame | None) -> PlantedTruth:
    """Return what is known of a cohort whose tumours are inflamed or not."""
    patients = cohort.patients.assign(llr_image=image_llr(settings, cohort.patients, cohort.lesions))
    transferred = {label: _reader_auc(patients, readings, label) for label in ("cd8", "response")}
    of_cohort = {
        "null": {"image": settings.signal == 0, "clinical": True, "survival": True},
        "oracle_auc": {name: found.named("auc") for name, found in oracle_aucs(settings).items()},
        "sample_oracle_auc": {
            group: {f"image_for_{label}": _sample_auc(patients[of], label).named("auc") for label in LABELS}
            for group, of in patient_groups(patients).items()
        },
        "reader_auc": _reader_auc(patients, readings, "tme"),
        "transferred_reader_auc": transferred,
    }
    return PlantedTruth(of_cohort, patients[["patient_id", "centre", "split", "phenotype", "t", "p", "v", "llr_image"]])


PHENOTYPE = Study(LABELS, draw_patients, in_the_breast, texture_sd, truth)


def _response_given_latent(phenotype_latent: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return P(response | the normal latent of which A is the upper part)."""
    threshold = -ndtri(RESPONSE_PREVALENCE)
    own_sd = np.sqrt(1 - RESPONSE_CORRELATION**2)
    share: NDArray[np.float64] = ndtr((RESPONSE_CORRELATION * phenotype_latent - threshold) / own_sd)
    return share


def _sample_auc(patients: pd.DataFrame, label: str) -> Estimate:
    known = patients[patients[label].notna()]
    return sample_auc(known["llr_image"].to_numpy(), known[label].to_numpy(dtype=np.int64))


def _reader_auc(patients: pd.DataFrame, readings: pd.DataFrame | None, label: str) -> dict[str, object]:
    """Judge by a label the reader who learned from the phenotype of the training patients."""
    if readings is None:
        return Estimate(None, None, WITHOUT_IMAGES).named("auc")
    held_out = patients["split"] == "held_out"
    known = patients.assign(label=patients[label].where(held_out, patients["tme"])).dropna(subset="label")
    of = known.set_index("patient_id")
    return reader_auc(readings, of["label"].astype(int), of["split"])
