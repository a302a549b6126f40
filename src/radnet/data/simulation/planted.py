"""What is planted in a simulated cohort: its patients and lesions, as the preset's study draws them."""

from collections.abc import Mapping

import pandas as pd

from radnet.data.simulation.benefit import BENEFIT
from radnet.data.simulation.biology import BIOLOGY, draw_biology
from radnet.data.simulation.lesions import draw_lesions
from radnet.data.simulation.phenotype import PHENOTYPE
from radnet.data.simulation.recurrence import RECURRENCE
from radnet.data.simulation.response import RESPONSE
from radnet.data.simulation.settings import SimulationSettings
from radnet.data.simulation.study import PlantedCohort, Study

STUDIES: Mapping[str, Study] = {
    "response": RESPONSE,
    "recurrence": RECURRENCE,
    "phenotype": PHENOTYPE,
    "benefit": BENEFIT,
}


def plant(settings: SimulationSettings) -> PlantedCohort:
    """Draw every patient and lesion of a cohort."""
    study = STUDIES[settings.study]
    patients = study.draw_patients(settings)
    lesions = draw_lesions(settings, patients, study.draw_sites)
    if not settings.biology:
        return PlantedCohort(patients, lesions, pd.DataFrame(columns=["patient_id", *BIOLOGY]))
    return PlantedCohort(patients, lesions, draw_biology(settings.seed, patients, study.texture_sd(settings)))
