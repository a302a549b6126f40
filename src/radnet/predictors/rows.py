"""Predictions as rows of the tables that cross a disk."""

import numpy as np
import pandas as pd

from radnet.cohort import Cohort, Endpoint
from radnet.predictors.base import Prediction
from radnet.tables import LESION_PREDICTION_COLUMNS, PREDICTION_COLUMNS


def prediction_rows(
    cohort: Cohort,
    prediction: Prediction,
    endpoint: Endpoint,
    model: str,
    partition: str,
    fold: str = "",
    repeat: str = "",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of predictions.parquet and of lesion_predictions.parquet.

    Args:
        cohort: The patients scored; an outcome that is not known leaves event and time empty.
        prediction: Their scores, one for each patient, and the cut-off on them.
        endpoint: What was predicted.
        model: Its name.
        partition: ``apparent``, ``out_of_fold`` or ``held_out``.
        fold: Name of the fold; empty for a frozen model.
        repeat: Name of the repetition; empty where folds are drawn once.
    """
    common = {
        "endpoint": endpoint.name,
        "model": model,
        "partition": partition,
        "fold": fold,
        "repeat": repeat,
        "time_unit": endpoint.time_unit or "",
        "cutoff": np.nan if prediction.cutoff is None else prediction.cutoff,
    }
    outcomes = [patient.outcomes.get(endpoint.name) for patient in cohort.patients]
    known = pd.DataFrame(
        {
            "centre": cohort.centres,
            "event": [np.nan if one is None else float(one.event) for one in outcomes],
            "time": [np.nan if one is None or one.time is None else one.time for one in outcomes],
        },
        index=pd.Index(cohort.ids, name="patient_id"),
    )
    patients = known.join(prediction.patients).reset_index().assign(**common)
    sites = {(one.id, lesion.id): lesion.site for one in cohort.patients for lesion in one.lesions}
    lesions = prediction.lesions.reset_index().merge(known.reset_index(), on="patient_id").assign(**common)
    keys = zip(lesions["patient_id"], lesions["lesion_id"], strict=True)
    lesions["site"] = [sites.get(key, "") for key in keys]
    by_time = [name for name in patients.columns if name.startswith("probability_")]
    return patients[[*PREDICTION_COLUMNS, *by_time]], lesions.reindex(columns=list(LESION_PREDICTION_COLUMNS))
