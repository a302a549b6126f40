"""Whether a hazard ratio holds over time: the test of proportional hazards on Schoenfeld's residuals, new and old."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from radnet.evaluation.discrimination import Floats
from radnet.evaluation.survival.kaplan_meier import kaplan_meier
from radnet.evaluation.survival.partial_likelihood import Deaths, Ties, deaths
from radnet.evaluation.survival.proportional_hazards import ChiSquare, checked_covariates, cox

Clock = Literal["km", "rank", "identity", "log"]


@dataclass(frozen=True, slots=True)
class Proportionality:
    """Tests that the coefficients do not drift with time: of each covariate, and of all together."""

    each: tuple[ChiSquare, ...]
    together: ChiSquare


def schoenfeld(
    time: ArrayLike,
    event: ArrayLike,
    covariates: ArrayLike,
    *,
    clock: Clock,
    method: Literal["score", "legacy"],
    ties: Ties = "efron",
) -> Proportionality:
    """Test whether hazards are proportional: whether a coefficient drifts along a clock.

    Args:
        time: Follow-up of each patient, shape (n,).
        event: Whether it ended with the event, shape (n,).
        covariates: Shape (n, P), as for ``cox``.
        clock: Time as the test sees it: ``km`` one minus survival just before each event (the default of R), ``rank``
            of the time (among all patients by ``score``, among the events by ``legacy``), ``identity`` the time
            itself, ``log`` its logarithm.
        method: ``score`` is the score test of R's survival since version 3.0; ``legacy`` the approximation of 2.x,
            which papers up to R 3.5 report, and which takes the information to be the same at every event.
        ties: How events at one time are handled.

    Raises:
        ValueError: If the Cox model cannot be fitted, if all events share one time, or an event at 0 meets ``log``.

    References:
        Grambsch, Therneau. Biometrika 1994;81:515-526. R package survival, cox.zph(terms = FALSE), versions 3.0 and
        2.44.
    """
    if method not in ("score", "legacy"):
        raise ValueError(f"proportional hazards are tested by score or legacy, got {method!r}")
    times, happened, columns = checked_covariates(time, event, covariates)
    fit = cox(times, happened, columns, ties)
    model = deaths(times, happened, columns - columns.mean(axis=0), fit.coefficient, ties)
    hand = _read(clock, times, happened, model.time, everybody=method == "score")
    hand = hand - hand.mean()
    if not np.any(np.abs(hand) > 0):
        raise ValueError("proportional hazards need events at two times, but all share one")
    drift = hand @ (model.covariate - model.mean)
    if method == "score":
        return _score_test(drift, hand, model)
    scaled = fit.covariance @ drift
    turning = fit.n_event / np.sum(hand**2)
    each = turning * scaled**2 / np.diag(fit.covariance)
    together = turning * drift @ scaled
    return Proportionality(tuple(ChiSquare(float(one), 1) for one in each), ChiSquare(float(together), drift.size))


def _score_test(drift: Floats, hand: Floats, model: Deaths) -> Proportionality:
    """Test the drift, with what the data had to spend on the coefficients themselves taken off its information."""
    constant = model.spread.sum(axis=0)
    mixed = np.einsum("d,dpq->pq", hand, model.spread)
    moving = np.einsum("d,dpq->pq", hand**2, model.spread)
    unit = np.sqrt(np.diag(moving))
    turning = moving - mixed @ np.linalg.solve(constant, mixed)
    if not np.all(unit > 0) or np.linalg.eigvalsh(turning / np.outer(unit, unit))[0] < 1e-10:
        raise ValueError("proportional hazards need covariates that differ at events of several times")
    each = drift**2 / np.diag(turning)
    together = drift @ np.linalg.solve(turning, drift)
    return Proportionality(tuple(ChiSquare(float(one), 1) for one in each), ChiSquare(float(together), drift.size))


def _read(clock: Clock, time: Floats, event: NDArray[np.bool_], at: Floats, *, everybody: bool) -> Floats:
    """Return what the clock shows at each event; ranks count everybody's times, or those of events only."""
    if clock == "identity":
        return at
    if clock == "rank":
        return np.sort(rankdata(time)[event]) if everybody else rankdata(at)
    if clock == "log":
        if at[0] <= 0:
            raise ValueError("the clock log needs every event after time 0")
        return np.log(at)
    if clock == "km":
        curve = kaplan_meier(time, event, level=0.95)
        return 1 - curve.survival[np.searchsorted(curve.time[1:], at)]
    raise ValueError(f"a clock is km, rank, identity or log, got {clock!r}")
