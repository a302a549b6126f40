"""How many patients a prediction model needs, to be developed and to be judged elsewhere (Riley's criteria).

A new model needs as many as its strictest criterion asks for: (1) its coefficients need to be shrunk by no more than
10%, (2) its apparent and its optimism-corrected R² of Nagelkerke differ by no more than 0.05, (3) the overall risk is
known to within 0.05. Criteria 1 and 2 grow with the number of candidate parameters and shrink as the expected R² of Cox
and Snell grows; where nothing is known of that, 15% of the largest R² possible is assumed.

References:
    Riley et al., Stat Med 2019;38:1276-96 (binary and time-to-event outcomes: equations 11, 12, 18 and 23).
    Riley et al., BMJ 2020;368:m441 (15% of the largest R²; precision of the overall risk).
    Riley et al., Stat Med 2021;40:859-864 (R² from the AUC).
    Riley et al., Stat Med 2021;40:4230-51 (external validation).
"""

from math import asinh, ceil, exp, expm1, floor, log, log1p

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, log_expit, logit
from scipy.stats import norm

Z = 1.96
_SHARE_OF_LARGEST_R2 = 0.15


def largest_r2(prevalence: float) -> float:
    """Return the largest R² of Cox and Snell that a model of a binary outcome can reach."""
    return -expm1(2 * _null_log_likelihood(prevalence))


def largest_r2_survival(rate: float, mean_follow_up: float) -> float:
    """Return the largest R² of Cox and Snell of a time-to-event model, by the likelihood of an exponential model.

    Args:
        rate: Events per unit of follow-up.
        mean_follow_up: In the same unit of time.
    """
    events = rate * mean_follow_up
    return -expm1(2 * (events * log(events) - events))


def assumed_r2(largest: float) -> float:
    """Return the R² of Cox and Snell to assume where nothing is known: 15% of the largest possible."""
    return _SHARE_OF_LARGEST_R2 * largest


def r2_from_auc(auc: float, prevalence: float) -> float:
    """Return the R² of Cox and Snell that goes with an AUC, if the linear predictor is normal in both outcome groups.

    Riley 2021 draws a large sample; the same quantity is integrated here, so that nothing depends on a seed.
    """
    event, no_event = _binormal(auc, prevalence)
    value = prevalence * _mean(log_expit, event) + (1 - prevalence) * _mean(lambda lp: log_expit(-lp), no_event)
    return -expm1(2 * (_null_log_likelihood(prevalence) - value))


def patients_for_shrinkage(parameters: int, r2: float, shrinkage: float = 0.9) -> int:
    """Return how many patients keep the expected shrinkage of coefficients at or above ``shrinkage``.

    Raises:
        ValueError: If the shrinkage is not within R² and 1.

    Example:
        >>> patients_for_shrinkage(24, r2=0.288)
        623
    """
    return ceil(parameters / _parameters_per_patient(r2, shrinkage))


def parameters_allowed(patients: int, r2: float, shrinkage: float = 0.9) -> int:
    """Return the largest number of candidate parameters for which so many patients satisfy the shrinkage criterion."""
    return floor(patients * _parameters_per_patient(r2, shrinkage))


def patients_for_optimism(parameters: int, r2: float, largest: float, difference: float = 0.05) -> int:
    """Return how many patients keep the optimism in Nagelkerke's R² at or below ``difference``."""
    return patients_for_shrinkage(parameters, r2, r2 / (r2 + difference * largest))


def patients_for_risk(prevalence: float, margin: float = 0.05) -> int:
    """Return how many patients give the overall risk to within ``margin`` (95% Wald interval)."""
    return ceil((Z / margin) ** 2 * prevalence * (1 - prevalence))


def patients_for_risk_by(time: float, rate: float, mean_follow_up: float, margin: float = 0.05) -> int:
    """Return how many patients give the risk by a time to within ``margin`` on both sides, for a constant rate."""
    farthest = log1p(margin * exp(rate * time))  # how far the cumulative hazard may be off towards lower risk
    return ceil(rate * (Z * time / farthest) ** 2 / mean_follow_up)


def development(parameters: int, prevalence: float, r2: float | None = None) -> dict[str, int]:
    """Return how many patients each criterion asks for to develop a model of a binary outcome.

    Args:
        parameters: Candidates, counted before any selection.
        prevalence: Expected share of patients with the event.
        r2: Expected R² of Cox and Snell; None assumes 15% of the largest.

    Example:
        >>> development(24, prevalence=0.174, r2=0.288)
        {'shrinkage': 623, 'optimism': 662, 'overall_risk': 221}
    """
    largest = largest_r2(prevalence)
    r2 = assumed_r2(largest) if r2 is None else r2
    return {
        "shrinkage": patients_for_shrinkage(parameters, r2),
        "optimism": patients_for_optimism(parameters, r2, largest),
        "overall_risk": patients_for_risk(prevalence),
    }


def development_survival(
    parameters: int, rate: float, mean_follow_up: float, time: float, r2: float | None = None
) -> dict[str, int]:
    """Return how many patients each criterion asks for to develop a time-to-event model.

    Args:
        parameters: Candidates, counted before any selection.
        rate: Expected events per unit of follow-up.
        mean_follow_up: Expected, in the same unit of time.
        time: By which the overall risk is to be precise.
        r2: Expected R² of Cox and Snell; None assumes 15% of the largest.
    """
    largest = largest_r2_survival(rate, mean_follow_up)
    r2 = assumed_r2(largest) if r2 is None else r2
    return {
        "shrinkage": patients_for_shrinkage(parameters, r2),
        "optimism": patients_for_optimism(parameters, r2, largest),
        "overall_risk": patients_for_risk_by(time, rate, mean_follow_up),
    }


def external_validation(
    prevalence: float,
    auc: float,
    linear_predictor: tuple[float, float] | None = None,
    widths: tuple[float, float, float] = (0.2, 0.2, 0.1),
) -> dict[str, int]:
    """Return how many patients judge a well-calibrated model of a binary outcome precisely in another place.

    Args:
        prevalence: Expected share of patients with the event.
        auc: Expected.
        linear_predictor: Mean and standard deviation of a normal linear predictor; None: normal in both outcome groups,
            as far apart as the AUC says.
        widths: Of the 95% intervals of observed/expected events, calibration slope and AUC.
    """
    observed, slope, area = widths
    spread = asinh(observed / 2) / Z  # of the log ratio, so that its interval is as wide as asked
    if linear_predictor is None:
        event, no_event = _binormal(auc, prevalence)
        groups = [(prevalence, event), (1 - prevalence, no_event)]
    else:
        groups = [(1.0, linear_predictor)]
    weight, first, second = (
        sum(share * _mean(lambda lp, power=power: expit(lp) * expit(-lp) * lp**power, lp) for share, lp in groups)
        for power in (0, 1, 2)
    )
    slope_variance = weight / (weight * second - first**2)
    return {
        "observed_expected": ceil((1 - prevalence) / (prevalence * spread**2)),
        "calibration_slope": ceil(slope_variance / (slope / (2 * Z)) ** 2),
        "auc": _patients_for_auc(auc, prevalence, area),
    }


def _patients_for_auc(auc: float, prevalence: float, width: float) -> int:
    """Solve Newcombe's (2006) variance of the AUC for the number of patients."""

    def excess(patients: float) -> float:
        half = patients / 2 - 1
        terms = 1 + half * (1 - auc) / (2 - auc) + half * auc / (1 + auc)
        variance = auc * (1 - auc) * terms / (patients**2 * prevalence * (1 - prevalence))
        return variance - (width / (2 * Z)) ** 2

    return ceil(brentq(excess, 2, 1e9))


def _parameters_per_patient(r2: float, shrinkage: float) -> float:
    if not 0 < r2 < shrinkage < 1:
        raise ValueError(f"expected 0 < R² < shrinkage < 1, got R² {r2:.3g} and shrinkage {shrinkage:.3g}")
    return (shrinkage - 1) * log1p(-r2 / shrinkage)


def _null_log_likelihood(prevalence: float) -> float:
    """Per patient, of a model that gives everybody the overall risk."""
    if not 0 < prevalence < 1:
        raise ValueError(f"the share of patients with the event must be within 0 and 1, got {prevalence}")
    return prevalence * log(prevalence) + (1 - prevalence) * log1p(-prevalence)


def _binormal(auc: float, prevalence: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return mean and standard deviation of the linear predictor of patients with and without the event."""
    if not 0.5 < auc < 1:
        raise ValueError(f"the AUC must be above 0.5 and below 1, got {auc}")
    distance = float(np.sqrt(2) * norm.ppf(auc))
    middle = float(logit(prevalence))
    return (middle + distance**2 / 2, distance), (middle - distance**2 / 2, distance)


def _mean(function, normal: tuple[float, float]) -> float:  # type: ignore[no-untyped-def]
    """Return the expectation of a function of a normal variable, by Gauss-Hermite quadrature."""
    mean, deviation = normal
    return float(_WEIGHTS @ function(mean + deviation * _NODES))


def _hermite(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return nodes, weights / weights.sum()


_NODES, _WEIGHTS = _hermite(120)
