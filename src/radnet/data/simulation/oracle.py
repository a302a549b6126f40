"""What a perfect reader of responders and non-responders would reach: likelihood ratios, AUCs and C-indices.

Response reaches the voxels and the table only through what was planted, so the log likelihood ratio (LLR) of the
planted values orders patients better than any model can. Where the LLRs are mixtures of normal distributions their AUC
is a sum of normal probabilities; elsewhere it is a Monte Carlo estimate with its standard error.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radnet.data.simulation.design import (
    AGE_SD,
    CELLS,
    CENSORING_RATE,
    CENSORING_START_MONTHS,
    CPS_OBSERVED,
    DRIVERS,
    RATE_FACTOR,
    SIDES,
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
from radnet.data.simulation.enrolment import centre_llr, centre_shares
from radnet.data.simulation.estimate import (
    C_INDEX_PAIRS,
    MONTE_CARLO_DRAWS,
    MONTE_CARLO_SEED,
    Estimate,
    NormalLlrs,
    Numbers,
    auc_of_normal_llrs,
    auc_with_se,
    concordance_of_pairs,
    random_choices,
)
from radnet.data.simulation.latents import (
    LATENT_CORRELATION,
    image_llr,
    latent_shift,
    llr_weights,
    separation,
    volume_shift,
)
from radnet.data.simulation.settings import SimulationSettings


def patient_llrs(settings: SimulationSettings, patients: pd.DataFrame, lesions: pd.DataFrame) -> pd.DataFrame:
    """Return the LLR of response of planted patients, one row per patient in their order.

    Returns:
        Columns ``image``, ``drivers``, ``clinical`` (the drivers, and the other covariates where they depend on the
        response), ``centre`` (0 unless centres differ in prevalence) and ``combined`` (image and clinical).
    """
    cell = patients[[f"{driver}_planted" for driver in DRIVERS]].to_numpy() @ np.array([4, 2, 1])
    drivers = driver_log_odds(settings.clinical)[cell]
    clinical = drivers + _covariate_llr(settings, patients)
    centres = centre_llr(settings, centre_prevalence(settings))
    image = image_llr(settings, patients, lesions)
    return pd.DataFrame(
        {
            "image": image,
            "drivers": drivers,
            "clinical": clinical,
            "centre": [centres[name] for name in patients["centre_name"]],
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
    centre = random_choices(rng, share, 2 * pairs)
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
    return {name: concordance_of_pairs(score, observed, event) for name, score in (("combined", -llr), ("rate", rate))}


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
            texture = nodes + response * latent_shift(settings)[0]
            rate = pfs_rates(settings)[response] * RATE_FACTOR.get(centre, 1.0) * np.exp(-settings.pfs_latent * texture)
            unseen = np.exp(-rate * CENSORING_START_MONTHS) * CENSORING_RATE / (rate + CENSORING_RATE)
            seen = float(weights @ (1 - unseen)) / float(weights.sum())
            total += settings.centre_shares[centre] / cycle * of_response * seen
    return total


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


def _closed_form_auc(settings: SimulationSettings, parts: frozenset[str]) -> float:
    """Sum over what both patients may be: cell, number of lesions and centre, each a normal LLR about a known mean."""
    groups = []
    for responder in (False, True):
        atoms = _atoms(settings, responder)
        step = sum((atoms[part] for part in sorted(parts & {"drivers", "centre"})), np.zeros(len(atoms["share"])))
        groups.append(NormalLlrs(atoms["share"], step, atoms["distance"] if "image" in parts else np.zeros_like(step)))
    return auc_of_normal_llrs(*groups)


def _atoms(settings: SimulationSettings, responder: bool) -> Mapping[str, Numbers]:
    counts = lesion_count_shares(settings.max_lesions)
    distances = [separation(settings, number) for number in range(1, settings.max_lesions + 1)]
    cells, log_odds = cell_shares(settings.clinical, responder), driver_log_odds(settings.clinical)
    centres = centre_shares(settings, centre_prevalence(settings), responder)
    of_centre = centre_llr(settings, centre_prevalence(settings))
    rows = [
        (cells[cell] * count * share, log_odds[cell], distance, of_centre[centre])
        for cell, (*_, sites_ge3) in enumerate(CELLS)
        for count, distance in zip(counts[sites_ge3], distances, strict=True)
        for centre, share in centres.items()
    ]
    return dict(zip(("share", "drivers", "distance", "centre"), np.array(rows).T, strict=True))


def _draw_llrs(settings: SimulationSettings, draws: int) -> tuple[Mapping[str, Numbers], Mapping[str, Numbers]]:
    """Draw the parts of the LLR, and the texture latent, of as many non-responders as responders."""
    rng = np.random.default_rng(MONTE_CARLO_SEED)
    return _draw_group(settings, 0, draws // 2, rng), _draw_group(settings, 1, draws // 2, rng)


def _draw_group(
    settings: SimulationSettings, response: int, draws: int, rng: np.random.Generator
) -> Mapping[str, Numbers]:
    cell = random_choices(rng, cell_shares(settings.clinical, bool(response)), draws)
    fewer, more = (random_choices(rng, shares, draws) for shares in lesion_count_shares(settings.max_lesions))
    n_lesions = 1 + np.where(CELLS[cell, 2] == 1, more, fewer)
    centre = random_choices(
        rng, np.array(list(centre_shares(settings, centre_prevalence(settings), bool(response)).values())), draws
    )
    covariates = _draw_covariate_llr(settings, response, draws, rng)
    normal = rng.standard_normal((5, draws))
    texture = normal[0] + response * latent_shift(settings)[0]
    ring = LATENT_CORRELATION * normal[0] + np.sqrt(1 - LATENT_CORRELATION**2) * normal[1]
    ring += response * latent_shift(settings)[1]
    together = n_lesions if settings.carrier == "all" else np.ones_like(n_lesions)
    spread = settings.lesion_noise / np.sqrt(together)
    weights = np.array([llr_weights(settings, number) for number in range(1, settings.max_lesions + 1)])[together - 1]
    shift, volume = latent_shift(settings), volume_shift(settings)
    image = weights[:, 0] * (texture + spread * normal[2] - shift[0] / 2)
    image += weights[:, 1] * (ring + spread * normal[3] - shift[1] / 2)
    image += volume * (normal[4] + response * volume - volume / 2)
    if settings.carrier == "one":
        image = _with_bystanders(image, n_lesions, np.sqrt(separation(settings, 1)), rng)
    return {
        "drivers": driver_log_odds(settings.clinical)[cell],
        "centre": np.array(list(centre_llr(settings, centre_prevalence(settings)).values()))[centre],
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
    llr += np.log(shares[1] / shares[0])[random_choices(rng, shares[response], draws)]
    for name in SIDES:
        upper = rng.random(draws) < side_shares(settings, name)[response]
        of_side = _side_llr(settings, name)[upper.astype(np.int8)]
        llr += of_side * (rng.random(draws) < CPS_OBSERVED) if name == "cps" else of_side
    return llr
