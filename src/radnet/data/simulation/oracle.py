"""What a perfect reader of a simulated cohort would reach: likelihood ratios, oracle AUCs and C-indices.

Response reaches the voxels and the table only through what was planted, so the log likelihood ratio (LLR) of the
planted values orders patients better than any model can. Where the LLRs are mixtures of normal distributions their AUC
is a sum of normal probabilities; elsewhere it is a Monte Carlo estimate with its standard error.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from radnet.data.simulation.design import (
    AGE_SD,
    CELLS,
    CENSORING_RATE,
    CENSORING_START_MONTHS,
    CPS_OBSERVED,
    DRIVERS,
    LATENT_CORRELATION,
    RATE_FACTOR,
    SIDES,
    SIGNAL_DIRECTION,
    SUBTYPES,
    age_means,
    cell_shares,
    centre_prevalence,
    driver_log_odds,
    lesion_count_shares,
    pfs_rates,
    side_shares,
    subtype_shares,
)
from radnet.data.simulation.settings import SimulationSettings

MONTE_CARLO_DRAWS = 2_000_000
MONTE_CARLO_SEED = 20230727
C_INDEX_PAIRS = 200_000

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A planted performance: its value (None where it cannot be had), standard error (None where exact), and formula.

    Attributes:
        value: AUC or C-index.
        se: Standard error of a Monte Carlo or sample estimate.
        formula: ``closed_form``, ``monte_carlo``, ``sample``, or why there is no value.
    """

    value: float | None
    se: float | None
    formula: str


def separation(settings: SimulationSettings, n_lesions: int) -> float:
    """Return D², the squared distance of responders from non-responders, of the mean latents of so many lesions.

    Example:
        >>> round(separation(SimulationSettings(signal=1.0), n_lesions=1), 4)
        0.91
    """
    return float(_weights(settings, n_lesions) @ _shift(settings)) + _volume_shift(settings) ** 2


def patient_llrs(settings: SimulationSettings, patients: pd.DataFrame, lesions: pd.DataFrame) -> pd.DataFrame:
    """Return the LLR of response of planted patients, one row per patient in their order.

    Returns:
        Columns ``image``, ``drivers``, ``clinical`` (the drivers, and the other covariates where they depend on the
        response), ``centre`` (0 unless centres differ in prevalence) and ``combined`` (image and clinical).
    """
    cell = patients[[f"{driver}_planted" for driver in DRIVERS]].to_numpy() @ np.array([4, 2, 1])
    drivers = driver_log_odds(settings.clinical)[cell]
    clinical = drivers + _covariate_llr(settings, patients)
    centres = _centre_llr(settings)
    image = _image_llr(settings, patients, lesions)
    return pd.DataFrame(
        {
            "image": image,
            "drivers": drivers,
            "clinical": clinical,
            "centre": [centres[letter] for letter in patients["centre_letter"]],
            "combined": image + clinical,
        },
        index=patients.index,
    )


def oracle_aucs(settings: SimulationSettings, draws: int = MONTE_CARLO_DRAWS) -> dict[str, Estimate]:
    """Return the AUC of the LLR of each source of information over all patients the settings could draw.

    Returns:
        Keys ``image``, ``drivers``, ``image_and_drivers``, ``clinical`` and ``combined``; where centres differ in
        prevalence each again with the suffix ``_with_centre``.
    """
    sources = {
        "image": ("image",),
        "drivers": ("drivers",),
        "image_and_drivers": ("image", "drivers"),
        "clinical": ("drivers", "covariates"),
        "combined": ("image", "drivers", "covariates"),
    }
    silent = set() if settings.covariates == "by_response" else {"covariates"}
    hard = {"covariates"} if settings.carrier == "all" else {"covariates", "image"}
    wanted = {name: frozenset(parts) - silent for name, parts in sources.items()}
    if settings.centre_outcome != 0:
        wanted |= {f"{name}_with_centre": parts | {"centre"} for name, parts in wanted.items()}
    drawn = None
    found: dict[str, Estimate] = {}
    for name, parts in wanted.items():
        if not parts & hard:
            found[name] = Estimate(_closed_form_auc(settings, parts), None, "closed_form")
            continue
        drawn = drawn or _draw_llrs(settings, draws)
        negative, positive = (np.sum([group[part] for part in sorted(parts)], axis=0) for group in drawn)
        value, se = auc_with_se(positive, negative)
        found[name] = Estimate(value, se, "monte_carlo")
    return found


def sample_auc(score: Numbers, response: NDArray[np.int64]) -> Estimate:
    """Return the AUC of a score in one set of patients, with DeLong's standard error."""
    positive, negative = score[response == 1], score[response == 0]
    if len(positive) < 2 or len(negative) < 2:
        return Estimate(None, None, f"not estimated: {len(positive)} responders and {len(negative)} non-responders")
    return Estimate(*auc_with_se(positive, negative), "sample")


def auc_with_se(positive: Numbers, negative: Numbers) -> tuple[float, float]:
    """Return the AUC and its standard error from the placements of each score among the other group.

    References:
        DeLong, DeLong & Clarke-Pearson, Biometrics 1988; 44: 837-845.
    """
    positive, negative = np.sort(positive), np.sort(negative)
    above = _placements(positive, negative)
    below = _placements(negative, positive)
    variance = above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)
    return float(above.mean()), float(np.sqrt(variance))


def oracle_c_indices(settings: SimulationSettings, pairs: int = C_INDEX_PAIRS) -> dict[str, Estimate]:
    """Return Harrell's C-index for progression, over pairs of patients that the settings could draw.

    Returns:
        ``combined``: of the combined LLR, taken as promising a longer time; ``rate``: of the patient's own planted
        rate, which nothing can exceed.
    """
    rng = np.random.default_rng(MONTE_CARLO_SEED + 1)
    share = np.array(list(settings.centre_shares.values())) / sum(settings.centre_shares.values())
    prevalence = np.array(list(centre_prevalence(settings).values()))
    factors = np.array([RATE_FACTOR.get(centre, 1.0) for centre in settings.centre_shares])
    centre = _choices(rng, share, 2 * pairs)
    response = (rng.random(2 * pairs) < prevalence[centre]).astype(np.int64)
    groups = _draw_llrs(settings, 4 * pairs)
    llr, texture = (
        np.where(response == 1, positive, negative)
        for negative, positive in (
            [group["image"] + group["drivers"] + group["covariates"] for group in groups],
            [group["texture"] for group in groups],
        )
    )
    rate = np.array(pfs_rates(settings))[response] * factors[centre] * np.exp(-settings.pfs_latent * texture)
    time = rng.standard_exponential(2 * pairs) / rate
    end = CENSORING_START_MONTHS + rng.standard_exponential(2 * pairs) / CENSORING_RATE
    observed, event = np.minimum(time, end), time <= end
    return {name: _concordance(score, observed, event) for name, score in (("combined", -llr), ("rate", rate))}


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


def expected_event_share(settings: SimulationSettings) -> float:
    """Return the expected share of patients whose progression is seen before censoring.

    An exponential time of rate a, censored from ``CENSORING_START_MONTHS`` on at rate k, is seen with probability
    1 - exp(-a start) k / (a + k); a latent in the rate is integrated by Gauss-Hermite quadrature.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    total = 0.0
    cycle = sum(settings.centre_shares.values())
    for centre, prevalence in centre_prevalence(settings).items():
        for response, of_response in ((0, 1 - prevalence), (1, prevalence)):
            texture = nodes + response * _shift(settings)[0]
            rate = pfs_rates(settings)[response] * RATE_FACTOR.get(centre, 1.0) * np.exp(-settings.pfs_latent * texture)
            unseen = np.exp(-rate * CENSORING_START_MONTHS) * CENSORING_RATE / (rate + CENSORING_RATE)
            seen = float(weights @ (1 - unseen)) / float(weights.sum())
            total += settings.centre_shares[centre] / cycle * of_response * seen
    return total


def _shift(settings: SimulationSettings) -> Numbers:
    return settings.signal * np.array(SIGNAL_DIRECTION[settings.signal_in])


def _volume_shift(settings: SimulationSettings) -> float:
    return settings.signal if settings.signal_in == "volume" else 0.0


def _weights(settings: SimulationSettings, n_lesions: int) -> Numbers:
    between = np.array([[1.0, LATENT_CORRELATION], [LATENT_CORRELATION, 1.0]])
    covariance = between + settings.lesion_noise**2 / n_lesions * np.eye(2)
    return np.asarray(np.linalg.solve(covariance, _shift(settings)), dtype=np.float64)


def _image_llr(settings: SimulationSettings, patients: pd.DataFrame, lesions: pd.DataFrame) -> Numbers:
    volume = _volume_shift(settings)
    if settings.carrier == "one":
        of_lesion = _linear_llr(settings, 1, lesions["t"], lesions["p"]) + volume * (lesions["v"] - volume / 2)
        bag: Numbers = np.log(np.exp(of_lesion).groupby(lesions["patient"].to_numpy()).mean().to_numpy())
        return bag
    means = lesions.groupby("patient")[["t", "p"]].mean().loc[patients["number"]]
    counts = patients["n_lesions"].to_numpy()
    llr = volume * (patients["v"].to_numpy() - volume / 2)
    for count in np.unique(counts):
        some = counts == count
        llr[some] += _linear_llr(settings, int(count), means["t"].to_numpy()[some], means["p"].to_numpy()[some])
    return llr


def _linear_llr(settings: SimulationSettings, n_lesions: int, texture: pd.Series, ring: pd.Series) -> pd.Series:
    weights, shift = _weights(settings, n_lesions), _shift(settings)
    return weights[0] * (texture - shift[0] / 2) + weights[1] * (ring - shift[1] / 2)


def _covariate_llr(settings: SimulationSettings, patients: pd.DataFrame) -> Numbers:
    low, high = age_means(settings)
    llr: Numbers = (high - low) / AGE_SD**2 * (patients["age_latent"].to_numpy() - (low + high) / 2)
    shares = subtype_shares(settings)
    of_subtype = dict(zip(SUBTYPES, np.log(shares[1] / shares[0]), strict=True))
    llr = llr + np.array([of_subtype[subtype] for subtype in patients["subtype_planted"]])
    for name in SIDES:
        of_side = _side_llr(settings, name)[patients[f"{name}_side"].to_numpy()]
        llr = llr + (of_side * patients["cps_observed"].to_numpy() if name == "cps" else of_side)
    return llr


def _side_llr(settings: SimulationSettings, name: str) -> Numbers:
    low, high = side_shares(settings, name)
    return np.log([(1 - high) / (1 - low), high / low])


def _centre_llr(settings: SimulationSettings) -> dict[str, float]:
    shares, prevalence = settings.centre_shares, centre_prevalence(settings)
    responders = sum(shares[centre] * prevalence[centre] for centre in shares)
    others = sum(shares[centre] * (1 - prevalence[centre]) for centre in shares)
    return {
        centre: float(np.log(prevalence[centre] / responders) - np.log((1 - prevalence[centre]) / others))
        for centre in shares
    }


def _closed_form_auc(settings: SimulationSettings, parts: frozenset[str]) -> float:
    """Sum over what both patients may be: cell, number of lesions and centre, each a normal LLR about a known mean."""
    groups = []
    for responder in (False, True):
        atoms = _atoms(settings, responder)
        step = sum((atoms[part] for part in sorted(parts & {"drivers", "centre"})), np.zeros(len(atoms["share"])))
        groups.append((atoms["share"], step, atoms["distance"] if "image" in parts else np.zeros_like(step)))
    (share0, step0, distance0), (share1, step1, distance1) = groups
    variance = distance1[:, None] + distance0
    ahead = step1[:, None] - step0 + variance / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        certain = np.where(np.abs(ahead) < 1e-12, 0.5, (ahead > 0).astype(float))
        wins = np.where(variance > 0, ndtr(ahead / np.sqrt(variance)), certain)
    return float(share1 @ wins @ share0)


def _atoms(settings: SimulationSettings, responder: bool) -> Mapping[str, Numbers]:
    counts = lesion_count_shares(settings.max_lesions)
    distances = [separation(settings, number) for number in range(1, settings.max_lesions + 1)]
    cells, log_odds = cell_shares(settings.clinical, responder), driver_log_odds(settings.clinical)
    centres = _centre_shares(settings, responder)
    of_centre = _centre_llr(settings)
    rows = [
        (cells[cell] * count * share, log_odds[cell], distance, of_centre[centre])
        for cell, (*_, sites_ge3) in enumerate(CELLS)
        for count, distance in zip(counts[sites_ge3], distances, strict=True)
        for centre, share in centres.items()
    ]
    return dict(zip(("share", "drivers", "distance", "centre"), np.array(rows).T, strict=True))


def _centre_shares(settings: SimulationSettings, responder: bool) -> dict[str, float]:
    prevalence = centre_prevalence(settings)
    shares = {
        centre: share * (prevalence[centre] if responder else 1 - prevalence[centre])
        for centre, share in settings.centre_shares.items()
    }
    return {centre: share / sum(shares.values()) for centre, share in shares.items()}


def _draw_llrs(settings: SimulationSettings, draws: int) -> tuple[Mapping[str, Numbers], Mapping[str, Numbers]]:
    """Draw the parts of the LLR, and the texture latent, of as many non-responders as responders."""
    rng = np.random.default_rng(MONTE_CARLO_SEED)
    return _draw_group(settings, 0, draws // 2, rng), _draw_group(settings, 1, draws // 2, rng)


def _draw_group(
    settings: SimulationSettings, response: int, draws: int, rng: np.random.Generator
) -> Mapping[str, Numbers]:
    cell = _choices(rng, cell_shares(settings.clinical, bool(response)), draws)
    fewer, more = (_choices(rng, shares, draws) for shares in lesion_count_shares(settings.max_lesions))
    n_lesions = 1 + np.where(CELLS[cell, 2] == 1, more, fewer)
    centre = _choices(rng, np.array(list(_centre_shares(settings, bool(response)).values())), draws)
    covariates = _draw_covariate_llr(settings, response, draws, rng)
    normal = rng.standard_normal((5, draws))
    texture = normal[0] + response * _shift(settings)[0]
    ring = LATENT_CORRELATION * normal[0] + np.sqrt(1 - LATENT_CORRELATION**2) * normal[1]
    ring += response * _shift(settings)[1]
    together = n_lesions if settings.carrier == "all" else np.ones_like(n_lesions)
    spread = settings.lesion_noise / np.sqrt(together)
    weights = np.array([_weights(settings, number) for number in range(1, settings.max_lesions + 1)])[together - 1]
    shift, volume = _shift(settings), _volume_shift(settings)
    image = weights[:, 0] * (texture + spread * normal[2] - shift[0] / 2)
    image += weights[:, 1] * (ring + spread * normal[3] - shift[1] / 2)
    image += volume * (normal[4] + response * volume - volume / 2)
    if settings.carrier == "one":
        image = _with_bystanders(image, n_lesions, np.sqrt(separation(settings, 1)), rng)
    return {
        "drivers": driver_log_odds(settings.clinical)[cell],
        "centre": np.array(list(_centre_llr(settings).values()))[centre],
        "covariates": covariates,
        "image": image,
        "texture": texture,
    }


def _with_bystanders(
    carrier: Numbers, n_lesions: NDArray[np.int64], distance: float, rng: np.random.Generator
) -> Numbers:
    """Return the LLR of a bag in which any lesion may be the one that carries the signal: the mean of their ratios."""
    ratio = np.exp(carrier)
    for number in range(2, n_lesions.max() + 1):
        bystander = np.exp(distance * (rng.standard_normal(len(carrier)) - distance / 2))
        ratio += np.where(n_lesions >= number, bystander, 0.0)
    llr: Numbers = np.log(ratio / n_lesions)
    return llr


def _draw_covariate_llr(settings: SimulationSettings, response: int, draws: int, rng: np.random.Generator) -> Numbers:
    low, high = age_means(settings)
    age = (low, high)[response] + AGE_SD * rng.standard_normal(draws)
    llr: Numbers = (high - low) / AGE_SD**2 * (age - (low + high) / 2)
    shares = subtype_shares(settings)
    llr += np.log(shares[1] / shares[0])[_choices(rng, shares[response], draws)]
    for name in SIDES:
        upper = rng.random(draws) < side_shares(settings, name)[response]
        of_side = _side_llr(settings, name)[upper.astype(np.int8)]
        llr += of_side * (rng.random(draws) < CPS_OBSERVED) if name == "cps" else of_side
    return llr


def _choices(rng: np.random.Generator, shares: Numbers, draws: int) -> NDArray[np.int64]:
    choice: NDArray[np.int64] = np.searchsorted(np.cumsum(shares)[:-1], rng.random(draws), side="right")
    return choice


def _placements(scores: Numbers, others: Numbers) -> Numbers:
    """Return the share of the others below each score, ties half; both are sorted."""
    below, not_above = (np.searchsorted(others, scores, side=side) for side in ("left", "right"))
    share: Numbers = (below + not_above) / (2 * len(others))
    return share


def _concordance(risk: Numbers, time: Numbers, event: NDArray[np.bool_]) -> Estimate:
    """Compare the first half of the patients with the second, one by one."""
    half = len(time) // 2
    earlier = time[:half] < time[half:]
    comparable = np.where(earlier, event[:half], event[half:])
    lead = np.where(earlier, risk[:half] - risk[half:], risk[half:] - risk[:half])[comparable]
    wins = (lead > 0) + 0.5 * (lead == 0)
    return Estimate(float(wins.mean()), float(wins.std() / np.sqrt(len(wins))), "monte_carlo")
