"""What a cohort of responders and non-responders is designed to be: shares, odds ratios and rates, by knob."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from radnet.data.simulation.settings import SimulationSettings

DRIVERS = ("lines_ge2", "visceral", "sites_ge3")
CELLS = np.array([(lines, visceral, sites) for lines in (0, 1) for visceral in (0, 1) for sites in (0, 1)])
"""The eight combinations of the drivers, in the order of ``DRIVERS``."""
CELLS_OF_NONRESPONDERS = np.array([0.038056, 0.019624, 0.062637, 0.161501, 0.210728, 0.113410, 0.106761, 0.287283])
ODDS_RATIOS = {"lines_ge2": 0.35, "visceral": 0.4835, "sites_ge3": 0.42}

LESION_COUNTS = np.array([[0.45, 0.35, 0.20, 0.0, 0.0], [0.0, 0.10, 0.40, 0.30, 0.20]])
"""Probability of 1 to 5 lesions, without and with three sites or more."""

AGE_MEAN = {"nonresponder": 47.56, "responder": 49.32, "pooled": 48.37}
AGE_SD = 10.4
SUBTYPES = ("HR+/HER2-", "HER2+", "TNBC")


@dataclass(frozen=True, slots=True)
class Side:
    """How often a variable lies on its upper side: among non-responders, responders, and all.

    A continuous variable has a ``cut`` and is written to so many ``decimals``; only its side says something.
    """

    nonresponder: float
    responder: float
    pooled: float
    cut: float | None = None
    decimals: int = 0


SIDES: Mapping[str, Side] = {
    "ecog_ge2": Side(12 / 110, 3 / 61, 22 / 240),
    "prior_surgery": Side(93 / 110, 44 / 61, 183 / 240),
    "antiangiogenic": Side(54 / 110, 33 / 61, 113 / 240),
    "ki67": Side(104 / 110, 56 / 61, 222 / 240, cut=20),
    "dnlr": Side(66 / 110, 30 / 61, 136 / 240, cut=2.38, decimals=2),
    "ldh": Side(49 / 110, 21 / 61, 99 / 240, cut=250),
    "albumin": Side(56 / 110, 37 / 61, 144 / 240, cut=40, decimals=1),
    "cps": Side(21 / 66, 14 / 37, 41 / 114, cut=10),
}
SUBTYPE_SHARES = {
    "nonresponder": np.array([18, 8, 84]) / 110,
    "responder": np.array([10, 2, 49]) / 61,
    "pooled": np.array([43, 15, 182]) / 240,
}
CPS_OBSERVED = 114 / 240

SITES = ("liver", "lung", "node", "soft_tissue", "breast")
FIRST_VISCERAL_SITE = np.array([0.55, 0.45, 0.0, 0.0, 0.0])
SITES_IF_VISCERAL = np.array([0.20, 0.20, 0.30, 0.20, 0.10])
SITES_IF_NOT = np.array([0.0, 0.0, 0.45, 0.25, 0.30])

PFS_MEDIAN_MONTHS = {"nonresponder": 3.75, "responder": 10.12}
RATE_FACTOR = {"C": 1.3}
CENSORING_START_MONTHS, CENSORING_RATE = 1.4, 0.075
OS_AFTER_PFS_MONTHS, OS_CENSORING_LATER_MONTHS = 9.0, 12.0

COVARIATES = (
    *("age", "postmenopausal", "bmi", "ecog_ge2", "prior_surgery", "subtype", "er", "pr", "her2", "ki67"),
    *("dnlr", "ldh", "albumin", "antiangiogenic", "lines_ge2", "sites_ge3", "visceral", "cps", "ct_days_before"),
)
OUTCOMES = ("response", "best_response", "pfs_months", "pfs_event", "os_months", "os_event")


def driver_log_odds(clinical: float) -> NDArray[np.float64]:
    """Return the log likelihood ratio of response of each cell of the drivers, shape (8,), at this knob."""
    log_odds_ratios = np.log([ODDS_RATIOS[driver] for driver in DRIVERS])
    log_weight = clinical * (CELLS @ log_odds_ratios)
    return log_weight - np.log(cell_shares(0.0, responder=False) @ np.exp(log_weight))


def cell_shares(clinical: float, responder: bool) -> NDArray[np.float64]:
    """Return the probability of each cell of the drivers, shape (8,), given the response."""
    shares = CELLS_OF_NONRESPONDERS / CELLS_OF_NONRESPONDERS.sum()
    return shares * np.exp(driver_log_odds(clinical)) if responder else shares


def lesion_count_shares(max_lesions: int) -> NDArray[np.float64]:
    """Return P(number of lesions | three sites or more), shape (2, max_lesions); the surplus falls on the last."""
    shares = LESION_COUNTS[:, :max_lesions].copy()
    shares[:, -1] += LESION_COUNTS[:, max_lesions:].sum(axis=1)
    return shares


def centre_prevalence(settings: SimulationSettings) -> dict[str, float]:
    """Return the probability of response at each centre."""
    shift = {"A": settings.centre_outcome, "C": -settings.centre_outcome}
    return {
        centre: float(expit(logit(settings.prevalence) + shift.get(centre, 0.0))) for centre in settings.centre_shares
    }


def side_shares(settings: SimulationSettings, name: str) -> tuple[float, float]:
    """Return P(upper side) of a covariate among non-responders and responders, as these settings draw it."""
    side = SIDES[name]
    return (side.pooled, side.pooled) if settings.covariates == "pooled" else (side.nonresponder, side.responder)


def subtype_shares(settings: SimulationSettings) -> NDArray[np.float64]:
    """Return the shares of the subtypes among non-responders and responders, shape (2, 3)."""
    groups = ("pooled", "pooled") if settings.covariates == "pooled" else ("nonresponder", "responder")
    return np.stack([SUBTYPE_SHARES[group] for group in groups])


def age_means(settings: SimulationSettings) -> tuple[float, float]:
    """Return the mean age of non-responders and responders."""
    if settings.covariates == "pooled":
        return AGE_MEAN["pooled"], AGE_MEAN["pooled"]
    return AGE_MEAN["nonresponder"], AGE_MEAN["responder"]


def pfs_rates(settings: SimulationSettings) -> tuple[float, float]:
    """Return the monthly rate of progression of non-responders and responders outside centre C.

    Under ``strict_null`` both have the mean of the two rates, weighted by prevalence.
    """
    slow, fast = (np.log(2) / PFS_MEDIAN_MONTHS[group] for group in ("responder", "nonresponder"))
    if settings.strict_null:
        common = float(settings.prevalence * slow + (1 - settings.prevalence) * fast)
        return common, common
    return float(fast), float(slow)
