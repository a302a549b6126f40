"""Ridge logistic regression of many features on few patients, and its AUC within folds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

from radnet.cohort import Cohort
from radnet.data.split import Fold
from radnet.evaluation.discrimination import delong
from radnet.models.pipeline import ClinicalEncoder

Floats = NDArray[np.float64]

_FLAT = 1e-6  # a standard deviation below this share of the largest value is none
_CLOSE, _STEPS = 1e-9, 2000


def ridge_logistic(train: Floats, event: NDArray[np.bool_], test: Floats) -> Floats:
    """Return the log odds that ridge logistic regression gives the patients judged.

    Features are standardised by the training patients; with p of them the model minimises
    Σ log loss + p/2 · Σ weight², so that the log odds are as likely to be large before the data are seen whatever p is
    (scikit-learn's ``C`` = 1/p). The intercept is not penalised. The weights are combinations of training patients, so
    that the work grows with patients and hardly with features; a parabola bounds the log loss (Böhning and Lindsay),
    which makes each step one solution of a system that does not depend on the outcomes.

    Args:
        train: Shape (patients, p); a missing value takes the training median.
        event: Whether each training patient had the event, both classes present.
        test: Shape (patients judged, p).

    Returns:
        Log odds, shape (patients judged,).

    References:
        Böhning and Lindsay 1988, Annals of the Institute of Statistical Mathematics 40:641.
    """
    z, judged = _standardised(train, test)
    kernel, across = z @ z.T / train.shape[1], judged @ z.T / train.shape[1]
    n = len(kernel)
    factor = cho_factor(kernel / 4.0 + np.eye(n))
    weight, intercept = np.zeros(n), float(np.log(event.mean() / (1.0 - event.mean())))
    for _ in range(_STEPS):
        residual = expit(kernel @ weight + intercept) - event
        gradient = residual + weight
        step = cho_solve(factor, gradient)
        weight -= step
        intercept -= 4.0 * residual.mean()  # standardised columns add up to 0: the intercept stands by itself
        if np.abs(kernel @ step).max() < _CLOSE and abs(residual.mean()) < _CLOSE:
            break
    return across @ weight + intercept


def ridge_auc(
    inputs: pd.DataFrame | None, clinical: Sequence[str], cohort: Cohort, endpoint: str, folds: Sequence[Fold]
) -> float:
    """Return the mean within-fold AUC of ridge logistic regression; folds with one class are passed over.

    Args:
        inputs: Features indexed by patient_id, or None.
        clinical: Columns of clinical.csv that enter too, made numbers within the fold.
        cohort: Patients and their outcomes.
        endpoint: Endpoint learned.
        folds: Who learns and who is judged.

    Raises:
        ValueError: If no fold has both classes on both sides.
    """
    event = pd.Series(cohort.events(endpoint), index=cohort.ids)
    table = cohort.clinical(clinical) if clinical else None
    areas = []
    for fold in folds:
        learned, judged = list(fold.train), list(fold.test)
        if event[learned].nunique() < 2 or event[judged].nunique() < 2:
            continue
        blocks = [] if inputs is None else [(inputs.loc[learned].to_numpy(), inputs.loc[judged].to_numpy())]
        if table is not None:
            encoder = ClinicalEncoder().fit(table.loc[learned])
            blocks.append((encoder.transform(table.loc[learned]), encoder.transform(table.loc[judged])))
        train, test = (np.hstack(side) for side in zip(*blocks, strict=True))
        areas.append(delong(event[judged], ridge_logistic(train, event[learned].to_numpy(), test)).auc)
    if not areas:
        raise ValueError("no fold has patients with and without the event on both sides")
    return float(np.mean(areas))


def _standardised(train: Floats, test: Floats) -> tuple[Floats, Floats]:
    """Return both sides complete (training median) and on the training mean and SD; flat columns are 0."""
    if np.isnan(train).any() or np.isnan(test).any():
        empty = np.isnan(train).all(axis=0)
        median = np.nanmedian(np.where(empty, 0.0, train), axis=0)
        train, test = (np.where(np.isnan(side) | empty, median, side) for side in (train, test))
    mean, spread = train.mean(axis=0), train.std(axis=0)
    flat = ~(spread > _FLAT * np.abs(train).max(axis=0))
    scale = np.where(flat, np.inf, spread)
    return (train - mean) / scale, (test - mean) / scale
