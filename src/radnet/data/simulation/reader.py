"""A reader who measures the planted quantities in the images and fits a rule to them: what the noise leaves to find."""

import pandas as pd
from lifelines import CoxPHFitter
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from radnet.data.simulation.estimate import harrell_c, sample_auc

COX_PENALTY = 0.01
"""Ridge penalty of the reader's Cox rule, as lifelines scales it: by event count."""


def reader_auc(readings: pd.DataFrame, response: pd.Series, split: pd.Series) -> dict[str, object]:
    """Return the AUC of a reader who measures the planted quantities in the images and fits a logistic rule to them.

    The rule is fitted to the mean over each training patient's lesions, standardised, with a unit ridge penalty, and
    judged on the held-out patients, or on the training patients where none are held out.

    Args:
        readings: One row per lesion, indexed by patient, numbers only.
        response: 0 or 1 per patient, indexed by patient.
        split: ``train`` or ``held_out`` per patient, indexed by patient.

    Returns:
        ``auc``, ``se``, ``formula``, ``fitted_on`` and ``judged_on``.
    """
    measured = readings.groupby(level=0).mean().loc[response.index]
    train = (split == "train").to_numpy()
    judged = ~train if (~train).any() else train
    names = {"fitted_on": "train", "judged_on": "held_out" if (~train).any() else "train"}
    if response[train].nunique() < 2:
        return {"auc": None, "se": None, "formula": "not estimated: the training patients respond alike", **names}
    rule = make_pipeline(StandardScaler(), LogisticRegression()).fit(measured[train], response[train])
    score = rule.decision_function(measured[judged])
    found = sample_auc(score, response[judged].to_numpy())
    return {"auc": found.value, "se": found.se, "formula": found.formula, **names}


def reader_c_index(readings: pd.DataFrame, time: pd.Series, event: pd.Series, split: pd.Series) -> dict[str, object]:
    """Return Harrell's C-index of a reader who fits a Cox rule, with a small ridge, to what the images show.

    The rule is fitted to the mean over each training patient's lesions, standardised, and judged on the held-out
    patients, or on the training patients where none are held out.

    Args:
        readings: One row per lesion, indexed by patient, numbers only.
        time: Months to the event or the end of follow-up, indexed by patient.
        event: Whether the event was seen, indexed by patient.
        split: ``train`` or ``held_out`` per patient, indexed by patient.

    Returns:
        ``c_index``, ``se``, ``formula``, ``fitted_on`` and ``judged_on``.
    """
    measured = readings.groupby(level=0).mean().loc[time.index]
    train = (split == "train").to_numpy()
    judged = ~train if (~train).any() else train
    names = {"fitted_on": "train", "judged_on": "held_out" if (~train).any() else "train"}
    if event[train].sum() < 2:
        return {"c_index": None, "se": None, "formula": "not estimated: fewer than two events in training", **names}
    scaler = StandardScaler().set_output(transform="pandas").fit(measured[train])
    rule = CoxPHFitter(penalizer=COX_PENALTY)
    rule.fit(scaler.transform(measured[train]).assign(time=time[train], event=event[train]), "time", "event")
    risk = rule.predict_log_partial_hazard(scaler.transform(measured[judged]))
    found = harrell_c(risk.to_numpy(), time[judged].to_numpy(), event[judged].to_numpy().astype(bool))
    return {"c_index": found.value, "se": found.se, "formula": found.formula, **names}
