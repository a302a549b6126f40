"""Whether a likelihood has a maximum: covariates that tell patients with the event apart leave none."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array, diags_array, hstack, vstack

from radnet.evaluation.discrimination import Floats

_GAIN = 1e-6  # the solver's own tolerance is 1e-7


def separating_logistic(event: NDArray[np.bool_], design: Floats) -> Floats:
    """Return a direction in which no patient is told wrong and some are told right; zeros where there is none.

    Along it a logistic likelihood rises for ever: complete separation tells everybody, quasi-complete some.

    Args:
        event: Whether each patient had the event, shape (n,).
        design: Covariates and intercept, shape (n, p), columns of similar size.

    References:
        Albert, Anderson. Biometrika 1984;71:1-10. Konis. Linear programming algorithms for detecting separated data
        in binary logistic regression models. Thesis, Oxford 2007, chapter 3.
    """
    told = np.where(event, 1.0, -1.0)[:, None] * design
    found = linprog(-told.sum(axis=0), A_ub=-told, b_ub=np.zeros(told.shape[0]), bounds=(-1, 1), method="highs")
    return _direction(found.x, -found.fun, design.shape[1])


def separating_cox(time: Floats, event: NDArray[np.bool_], X: Floats) -> Floats:
    """Return a direction in which, at each event, nobody at risk stands higher than he who had it; zeros for none.

    Along it Cox's likelihood rises for ever (a monotone likelihood). The highest value at risk is an unknown of its
    own for each time of an event, so that the conditions grow with the patients, not with their pairs.

    Args:
        time: Follow-up, shape (n,).
        event: Whether it ended with the event, shape (n,).
        X: Covariates, shape (n, p), columns of similar size.

    References:
        Bryson, Johnson. Technometrics 1981;23:381-383.
    """
    p = X.shape[1]
    if p == 0:
        return np.zeros(0)
    distinct = np.unique(time[event])
    k = distinct.size
    last = np.searchsorted(distinct, time, side="right") - 1  # the last event at which a patient is at risk
    ever = np.flatnonzero(last >= 0)
    cases = np.flatnonzero(event)
    # Unknowns are the direction b and the tops; each row must be ≤ 0:
    below = hstack([csr_array(X[ever]), -_one_hot(last[ever], k)])  # x·b - top, of everybody at risk
    nested = hstack([csr_array((k - 1, p)), diags_array([-1.0, 1.0], offsets=[0, 1], shape=(k - 1, k))])  # top falls
    above = hstack([csr_array(-X[cases]), _one_hot(last[cases], k)])  # top - x·b, of him who had the event
    conditions = vstack([below, nested, above]).tocsr()
    slack = below.sum(axis=0) + nested.sum(axis=0)
    free = [(-1, 1)] * p + [(None, None)] * k
    found = linprog(slack, A_ub=conditions, b_ub=np.zeros(conditions.shape[0]), bounds=free, method="highs")
    return _direction(found.x[:p], -found.fun, p)


def _one_hot(place: NDArray[np.intp], k: int) -> csr_array:
    return csr_array((np.ones(place.size), (np.arange(place.size), place)), shape=(place.size, k))


def _direction(found: Floats, gain: float, p: int) -> Floats:
    return np.asarray(found, dtype=float) if gain > _GAIN else np.zeros(p)
