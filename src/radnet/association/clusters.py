"""Patients divided into clusters by k-means, and new patients placed among them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from radnet.association.side_by_side import listed, numbers
from radnet.tables import TableFault

Floats = NDArray[np.float64]
By = Literal["rows", "columns", "none"]


@dataclass(frozen=True)
class Scaling:
    """What a table goes through before it is clustered.

    Attributes:
        by: ``rows``: each patient's values to mean 0 and SD 1 (n − 1) across the variables, so that the pattern counts
            and not the level. ``columns``: each variable's to mean 0 and SD 1 among the patients learned from.
            ``none``: values as they stand.
        mean: Of each variable, for ``columns``; else 0.
        sd: Of each variable, for ``columns``; else 1.
    """

    by: By
    mean: pd.Series
    sd: pd.Series

    def apply(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return scaled values of patients, those learned from or new ones, the variables in the order learned.

        Raises:
            TableFault: If a variable is missing, or a patient lacks a value or, for ``rows``, has one value throughout.
        """
        if absent := [str(name) for name in self.mean.index if name not in table.columns]:
            raise TableFault("patients to cluster", [f"column {name} is missing" for name in absent])
        values = _complete(table[self.mean.index])
        if self.by != "rows":
            return (values - self.mean) / self.sd
        spread = values.std(axis=1, ddof=1)
        if (flat := ~(spread > 0)).any():
            raise TableFault(
                "patients to cluster", [f"patient {listed(values.index[flat])} has one value throughout: leave it out"]
            )
        return values.sub(values.mean(axis=1), axis=0).div(spread, axis=0)


@dataclass(frozen=True)
class Clusters:
    """Patients in clusters, numbered from 1 by falling size.

    Attributes:
        cluster: Of each patient, indexed by patient.
        centroids: Mean of the scaled values of each cluster: a row per cluster, a column per variable.
        scaling: What values went through.
        within: Sum of squared distances of patients from their centroids.
    """

    cluster: pd.Series
    centroids: pd.DataFrame
    scaling: Scaling
    within: float

    @property
    def k(self) -> int:
        """Number of clusters."""
        return len(self.centroids)

    def assign(self, new: pd.DataFrame) -> pd.Series:
        """Return the cluster of new patients: that of the nearest centroid, at the scaling learned.

        Args:
            new: A row per patient, the variables learned from among its columns, complete.
        """
        scaled = self.scaling.apply(new)
        nearest = nearest_centroid(scaled.to_numpy(), self.centroids.to_numpy())
        return pd.Series(self.centroids.index.to_numpy()[nearest], index=new.index, name="cluster")


def learn_scaling(table: pd.DataFrame, by: By) -> Scaling:
    """Return the scaling of a table; see ``Scaling``.

    Raises:
        TableFault: If a value is missing or no finite number, or for ``columns`` a variable is constant.
    """
    if by not in ("rows", "columns", "none"):
        raise ValueError(f"a table is scaled by rows, columns or none, got {by!r}")
    values = _complete(table)
    mean, sd = values.mean(), values.std(ddof=1)
    if by != "columns":
        return Scaling(by, mean * 0.0, sd * 0.0 + 1.0)
    if (flat := ~(sd > 0)).any():
        raise TableFault("patients to cluster", [f"column {listed(values.columns[flat])} is constant: leave it out"])
    return Scaling(by, mean, sd)


def cluster(table: pd.DataFrame, k: int, scaling: By, *, n_init: int = 50, seed: int) -> Clusters:
    """Return patients divided into k clusters by k-means: the best of ``n_init`` starts.

    Args:
        table: A row per patient, a column of numbers per variable, complete.
        k: Number of clusters, from 1 to the number of patients that differ.
        scaling: See ``Scaling``.
        n_init: Starts, each by k-means++.
        seed: Of the starts.

    Raises:
        TableFault: If the table cannot be scaled.
        ValueError: If fewer patients differ than clusters are asked for.

    References:
        MacQueen. Proc 5th Berkeley Symp 1967;1:281-297. Arthur, Vassilvitskii. SODA 2007:1027-1035.
    """
    learned = learn_scaling(table, scaling)
    scaled = learned.apply(table)
    with threadpool_limits(1):  # tables are small: k-means waits for threads far longer than it computes
        place, centroids, within = divide(scaled.to_numpy(), k, n_init, seed)
    sizes = np.bincount(place, minlength=k)
    first = np.array([np.argmax(place == one) for one in range(k)])
    order = np.lexsort((first, -sizes))  # of equal size, whichever holds the earlier patient
    number = np.empty(k, dtype=int)
    number[order] = np.arange(1, k + 1)
    return Clusters(
        pd.Series(number[place], index=table.index, name="cluster"),
        pd.DataFrame(centroids[order], index=pd.RangeIndex(1, k + 1, name="cluster"), columns=scaled.columns),
        learned,
        within,
    )


def divide(values: Floats, k: int, n_init: int, seed: int) -> tuple[NDArray[np.int64], Floats, float]:
    """Return the cluster of each row, counted from 0, the centroids, and the sum of squared distances from them.

    Args:
        values: Shape (n, p), complete.
        k: Number of clusters.
        n_init: Starts.
        seed: Of the starts.
    """
    if not 1 <= k <= (different := len(np.unique(values, axis=0))):
        raise ValueError(f"{k} clusters cannot be made of {different} patients that differ: ask for fewer, 1 or more")
    if k == 1:
        centroid = values.mean(axis=0, keepdims=True)
        return np.zeros(len(values), dtype=np.int64), centroid, float(((values - centroid) ** 2).sum())
    fit = KMeans(k, n_init=n_init, random_state=seed).fit(values)
    return fit.labels_.astype(np.int64), fit.cluster_centers_, float(fit.inertia_)


def nearest_centroid(values: Floats, centroids: Floats) -> NDArray[np.intp]:
    """Return the place of the nearest centroid to each row of ``values``, shape (n,); of two as near the first."""
    return ((values[:, None, :] - centroids[None]) ** 2).sum(axis=2).argmin(axis=1)


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    values = numbers(table, "patients to cluster")
    if (lacking := values.isna().any(axis=1)).any():
        raise TableFault(
            "patients to cluster", [f"patient {listed(values.index[lacking])} lacks a value: leave out, or impute"]
        )
    return values
