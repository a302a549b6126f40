"""Ridge regression, logistic or Cox's, of many features on few patients, and how well it does within folds."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve, solve
from scipy.special import expit
from sklearn.base import BaseEstimator

from radnet.cohort import Cohort
from radnet.data.split import Fold
from radnet.evaluation.outcomes import NEEDED, Outcomes
from radnet.models.elastic_net_cox import BreslowLoss, ElasticNetCox
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


def ridge_cox(train: Floats, event: NDArray[np.bool_], time: Floats, test: Floats) -> Floats:
    """Return the log hazard ratios that ridge Cox regression gives the patients judged, up to a constant.

    As ``ridge_logistic``: with p standardised features the model minimises the negative log partial likelihood
    (Breslow's, where times are tied) + p/2 · Σ weight², so that of glmnet's penalties λ it takes p / patients. Newton's
    steps on combinations of training patients, each halved until it descends.

    Args:
        train: Shape (patients, p); a missing value takes the training median.
        event: Whether each training patient had the event, one at least.
        time: Follow-up of each training patient.
        test: Shape (patients judged, p).

    Returns:
        Log hazard ratios, shape (patients judged,).

    References:
        Verweij and van Houwelingen 1994, Statistics in Medicine 13:2427.
    """
    z, judged = _standardised(train, test)
    kernel, across = z @ z.T / train.shape[1], judged @ z.T / train.shape[1]
    n = len(kernel)
    loss = BreslowLoss(time, event.astype(float), np.ones(n))

    def goal(weight: Floats) -> float:
        return n * loss.value(kernel @ weight) + 0.5 * float(weight @ kernel @ weight)

    weight = np.zeros(n)
    reached = goal(weight)
    for _ in range(_STEPS):
        score = kernel @ weight
        step = solve(n * loss.curve(score, kernel) + np.eye(n), n * loss.slope(score) + weight)
        share = 1.0
        while (tried := goal(weight - share * step)) > reached + _CLOSE and share > _CLOSE:
            share /= 2
        weight, reached = weight - share * step, tried
        if np.abs(kernel @ step).max() < _CLOSE:
            break
    return across @ weight


class RidgeCox(BaseEstimator):
    """Cox regression with a ridge penalty, as a step of a pipeline: finite however few the events.

    It minimises the negative log partial likelihood + strength/2 · Σ weight², each weight per standard deviation.
    Outcomes have the fields ``event`` and ``time``.

    Args:
        strength: Of the penalty; scikit-learn's ``1 / C``, and glmnet's λ times the rows.
    """

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def fit(self, X: ArrayLike | pd.DataFrame, y: Any) -> Self:
        """Learn from features of shape (rows, p) and records of event and time."""
        penalty = self.strength / len(y)
        self.model_ = ElasticNetCox(alpha=0.0, penalty=penalty, lambdas=[penalty]).fit(X, y)
        return self

    def predict(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Return the log hazard ratio of each row against one of all zeros: higher = the event comes sooner."""
        return self.model_.predict(X)


def ridge_discrimination(
    inputs: pd.DataFrame | None, clinical: Sequence[str], cohort: Cohort, endpoint: str, folds: Sequence[Fold]
) -> float:
    """Return the mean within-fold discrimination of a ridge model; folds that cannot be judged are passed over.

    That is the AUC of ridge logistic regression or, where the endpoint has follow-up, Harrell's C-index of ridge Cox
    regression.

    Args:
        inputs: Features indexed by patient_id, or None; patients without a row neither teach nor are judged.
        clinical: Columns of clinical.csv that enter too, made numbers within the fold.
        cohort: Patients and their outcomes.
        endpoint: Endpoint learned.
        folds: Who learns and who is judged.

    Raises:
        ValueError: If there is nothing to read, or no fold has patients to compare on both sides: of both classes, or
            whose order is known.
    """
    if inputs is None and not clinical:
        raise ValueError(
            "the ridge reads features or clinical columns, and this model has neither: falsification.permute=model"
        )
    outcomes = Outcomes.of(cohort, endpoint)
    place = pd.Series(np.arange(len(cohort)), index=cohort.ids)
    table = cohort.clinical(clinical) if clinical else None
    found = []
    for fold in folds:
        learned, judged = (
            [one for one in side if inputs is None or one in inputs.index] for side in (fold.train, fold.test)
        )
        of_learned, of_judged = (outcomes.where(place[side].to_numpy()) for side in (learned, judged))
        if not (of_learned.comparable and of_judged.comparable):
            continue
        blocks = [] if inputs is None else [(inputs.loc[learned].to_numpy(), inputs.loc[judged].to_numpy())]
        if table is not None:
            encoder = ClinicalEncoder().fit(table.loc[learned])
            blocks.append((encoder.transform(table.loc[learned]), encoder.transform(table.loc[judged])))
        train, test = (np.hstack(side) for side in zip(*blocks, strict=True))
        if outcomes.followed:
            score = ridge_cox(train, of_learned.event, of_learned.time, test)
        else:
            score = ridge_logistic(train, of_learned.event, test)
        found.append(of_judged.discrimination(score))
    if not found:
        raise ValueError(f"no fold has {NEEDED[outcomes.metric]} on both sides")
    return float(np.mean(found))


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
