"""How many clusters patients fall into, if any: silhouette, gap statistic and stability, and what they say together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score, silhouette_score
from threadpoolctl import threadpool_limits

from radnet.association.clusters import By, Clusters, Scaling, cluster, divide, learn_scaling, nearest_centroid

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClusterNumber:
    """How many clusters a table supports, and by what evidence.

    Attributes:
        clusters: The division chosen; of k = 1 where none is supported.
        evidence: A row per k from 1 on: ``within``, ``gap``, ``gap_error``, ``silhouette`` (mean) and ``stability``
            (mean adjusted Rand index); the last two are NaN for what is no candidate.
        by_silhouette: The k of the highest mean silhouette, 2 or more.
        by_gap: The k of the gap statistic, 1 or more.
        told: What was chosen, and why.
    """

    clusters: Clusters
    evidence: pd.DataFrame
    by_silhouette: int
    by_gap: int
    told: str


def choose_cluster_number(
    table: pd.DataFrame,
    candidates: Sequence[int],
    scaling: By,
    *,
    n_init: int = 20,
    references: int = 100,
    bootstraps: int = 100,
    least_stability: float = 0.75,
    seed: int,
) -> ClusterNumber:
    """Return the division into clusters that a table supports; that into one if it supports no other.

    Chosen is the k of the highest mean silhouette among the candidates that are stable, provided that the gap statistic
    prefers some k of two or more. Silhouettes alone always name one, since there is none of k = 1. Stable: patients
    drawn with replacement, clustered anew, place all patients as the first division did, with a mean adjusted Rand
    index of ``least_stability`` or more. Gap: how much lower log within-cluster squares are than those of
    patients spread evenly over a box along the table's principal components; its k is the smallest whose gap reaches
    that of the next less its standard error. Patients of the box go through the rows' scaling as the table's do.

    Args:
        table: A row per patient, a column of numbers per variable, complete.
        candidates: Values of k, each 2 or more.
        scaling: See ``Scaling``.
        n_init: Starts of every k-means.
        references: Tables drawn for the gap statistic.
        bootstraps: Draws of patients.
        least_stability: Of a k that may be chosen.
        seed: Of all drawing.

    Raises:
        TableFault: If the table cannot be scaled.
        ValueError: If a candidate is below 2, or not below the number of patients that differ.

    References:
        Rousseeuw. J Comput Appl Math 1987;20:53-65. Tibshirani, Walther, Hastie. J R Stat Soc B 2001;63:411-423.
        Hennig. Comput Stat Data Anal 2007;52:258-271. Hubert, Arabie. J Classif 1985;2:193-218.
    """
    wanted = sorted(set(candidates))
    if not wanted or wanted[0] < 2:
        raise ValueError(f"candidates are numbers of clusters of 2 or more, got {list(candidates)}")
    learned = learn_scaling(table, scaling)
    values = learned.apply(table).to_numpy()
    if wanted[-1] >= (different := len(np.unique(values, axis=0))):
        raise ValueError(f"{wanted[-1]} clusters need more patients that differ than that, got {different}")
    rng = np.random.default_rng(seed)
    every = range(1, min(wanted[-1] + 1, different - 1) + 1)  # the rule of the gap statistic looks one ahead
    with threadpool_limits(1):  # tables are small: k-means waits for threads far longer than it computes
        divisions = {k: divide(values, k, n_init, seed) for k in every}
        within = np.array([divisions[k][2] for k in every])
        gap, error = _gaps(table, learned, within, references, n_init, rng)
        stability = {k: _stability(values, divisions[k][0], k, bootstraps, n_init, rng) for k in wanted}
    evidence = pd.DataFrame({"within": within, "gap": gap, "gap_error": error}, index=pd.Index(every, name="k"))
    evidence["silhouette"] = pd.Series({k: silhouette_score(values, divisions[k][0]) for k in wanted})
    evidence["stability"] = pd.Series(stability)
    by_gap = first_within_error(gap, error)
    by_silhouette = int(evidence["silhouette"].idxmax())
    k, told = _verdict(evidence, by_gap, least_stability)
    chosen = cluster(table, k, scaling, n_init=n_init, seed=seed)
    return ClusterNumber(chosen, evidence, by_silhouette, by_gap, told)


def first_within_error(gap: Floats, error: Floats) -> int:
    """Return the smallest k, from 1, whose gap reaches that of k + 1 less its error; the last if none does.

    Args:
        gap: Of k = 1, 2, …, shape (K,).
        error: Standard error of each, shape (K,).

    Example:
        >>> first_within_error(np.array([0.1, 0.5, 0.52, 0.4]), np.array([0.05, 0.05, 0.05, 0.05]))
        2
    """
    reached = gap[:-1] >= gap[1:] - error[1:]
    return int(np.argmax(reached)) + 1 if reached.any() else len(gap)


def _gaps(
    table: pd.DataFrame, learned: Scaling, within: Floats, references: int, n_init: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return the gap of k = 1, 2, … and its standard error."""
    by_rows = learned.by == "rows"
    drawn = _box(table[learned.mean.index].to_numpy(float) if by_rows else learned.apply(table).to_numpy(), rng)
    logs = np.empty((references, len(within)))
    for row in range(references):
        values = drawn()
        if by_rows:
            values = values - values.mean(axis=1, keepdims=True)
            values = values / values.std(axis=1, ddof=1, keepdims=True)
        seed = int(rng.integers(2**31))
        logs[row] = [np.log(divide(values, k, n_init, seed)[2]) for k in range(1, len(within) + 1)]
    return logs.mean(axis=0) - np.log(within), logs.std(axis=0) * np.sqrt(1 + 1 / references)


def _box(values: Floats, rng: np.random.Generator) -> Callable[[], Floats]:
    """Return what draws as many patients, evenly over a box that is as long along each principal component."""
    mean = values.mean(axis=0)
    _, _, axes = np.linalg.svd(values - mean, full_matrices=False)
    along = (values - mean) @ axes.T
    low, high = along.min(axis=0), along.max(axis=0)
    return lambda: mean + rng.uniform(low, high, size=along.shape) @ axes


def _stability(
    values: Floats, place: NDArray[np.int64], k: int, bootstraps: int, n_init: int, rng: np.random.Generator
) -> float:
    """Return how well divisions of patients drawn with replacement agree with the first, on all patients."""
    agreement = []
    for _ in range(bootstraps):
        drawn = values[rng.integers(len(values), size=len(values))]
        if len(np.unique(drawn, axis=0)) < k:  # too few left to divide: no agreement
            agreement.append(0.0)
            continue
        _, centroids, _ = divide(drawn, k, n_init, int(rng.integers(2**31)))
        agreement.append(adjusted_rand_score(place, nearest_centroid(values, centroids)))
    return float(np.mean(agreement))


def _verdict(evidence: pd.DataFrame, by_gap: int, least_stability: float) -> tuple[int, str]:
    stable = evidence.index[evidence["stability"] >= least_stability]
    best = int(evidence["silhouette"].idxmax())
    seen = f"silhouette is highest at k = {best} ({evidence['silhouette'][best]:.2f}), where stability is "
    seen += f"{evidence['stability'][best]:.2f}; the gap statistic prefers k = {by_gap}"
    if by_gap == 1:
        return 1, f"no division is supported: patients are as if of one cluster ({seen})"
    if stable.empty:
        return 1, f"no division is supported: none reaches a stability of {least_stability:g} ({seen})"
    k = int(evidence.loc[stable, "silhouette"].idxmax())
    return k, f"{k} clusters are supported: {seen}"
