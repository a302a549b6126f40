"""The likelihoods of logistic and Cox models, their maximum, and how far their profiles reach."""

from collections.abc import Callable
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from radnet.evaluation.discrimination import Floats
from radnet.evaluation.survival.proportional_hazards import deaths

LogLikelihood = Callable[[Floats], tuple[float, Floats, Floats]]
"""Coefficients of shape (p,) to the log-likelihood, its gradient (p,) and its second derivatives (p, p)."""

_ROUNDING = 1e-13  # a step that loses less than this share of the likelihood loses nothing
_FAR = 200  # standard errors; a profile that has not fallen by then never will


def logistic_likelihood(event: NDArray[np.bool_], design: Floats) -> LogLikelihood:
    """Return the Bernoulli log-likelihood of a design of shape (n, p) that holds its intercept."""

    def of(coefficient: Floats) -> tuple[float, Floats, Floats]:
        predictor = design @ coefficient
        chance = expit(predictor)
        value = -np.logaddexp(0.0, np.where(event, -predictor, predictor)).sum()
        information = (design * (chance * (1 - chance))[:, None]).T @ design
        return float(value), design.T @ (event - chance), -information

    return of


def cox_likelihood(time: Floats, event: NDArray[np.bool_], X: Floats) -> LogLikelihood:
    """Return Cox's log partial likelihood with Efron's ties, of covariates of shape (n, p)."""

    def of(coefficient: Floats) -> tuple[float, Floats, Floats]:
        with np.errstate(all="ignore"):  # far from the maximum a risk may be too small for a number
            at = deaths(time, event, X, coefficient, "efron")
        value = float((at.covariate @ coefficient - at.log_risk).sum())
        if not np.isfinite(value):
            value = -inf
        return value, (at.covariate - at.mean).sum(axis=0), -at.spread.sum(axis=0)

    return of


def maximise(likelihood: LogLikelihood, start: Floats, held: int | None = None) -> tuple[Floats, float, Floats]:
    """Climb to the maximum by Newton's steps, halved where they overshoot.

    Args:
        likelihood: Concave, with a maximum.
        start: Where to begin, shape (p,).
        held: A coefficient that stays where it began.

    Returns:
        Coefficients, value and second derivatives at the maximum.
    """
    free = np.arange(start.size) != held if held is not None else np.full(start.size, True)
    coefficient = start.copy()
    value, gradient, hessian = likelihood(coefficient)
    for _ in range(200):
        step = np.zeros_like(coefficient)
        step[free] = np.linalg.lstsq(-hessian[np.ix_(free, free)], gradient[free])[0]  # flat far from the maximum
        size = 1.0
        while (reached := likelihood(coefficient + size * step))[0] < value - _ROUNDING * abs(value) and size > 1e-9:
            size /= 2
        gain = float(gradient @ step)
        coefficient = coefficient + size * step
        value, gradient, hessian = reached
        if gain < 1e-12:  # Newton squares the distance, so the step just taken ended within rounding of the top
            return coefficient, value, hessian
    raise ValueError("a likelihood did not reach its maximum in 200 steps")


def profile_bound(
    likelihood: LogLikelihood, best: Floats, error: Floats, index: int, fall: float, *, side: int
) -> float:
    """Return where a coefficient's profile, twice the log-likelihood with the others refitted, has fallen by ``fall``.

    Args:
        likelihood: Of the model.
        best: Coefficients at its maximum, shape (p,).
        error: Their standard errors, shape (p,).
        index: The coefficient.
        fall: How far the profile falls; 3.84 for 95 %.
        side: -1 below the estimate, +1 above.

    Returns:
        The bound; infinite where the profile never falls so far.
    """

    def in_errors(coefficient: Floats) -> tuple[float, Floats, Floats]:
        value, gradient, hessian = likelihood(coefficient * error)
        return value, gradient * error, hessian * np.outer(error, error)

    start = best / error
    top, _, hessian = in_errors(start)
    along = np.linalg.inv(-hessian)[index]
    path = side * along / along[index]  # how the others follow, per standard error; refined as the search goes on

    def excess(distance: float) -> float:
        nonlocal path
        reached, value, _ = maximise(in_errors, start + distance * path, held=index)
        if distance > 0:
            path = (reached - start) / distance
        return 2 * (top - value) - fall

    far = sqrt(fall)
    while excess(far) < 0:
        far *= 1.6
        if far > _FAR:
            return side * inf
    return float((start[index] + side * brentq(excess, 0.0, far, xtol=1e-12, rtol=1e-12)) * error[index])
