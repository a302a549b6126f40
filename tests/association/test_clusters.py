"""Clusters of patients: R's k-means, planted clusters, laws, and new patients placed among them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from oracle import cases, close
from radnet.association.clusters import cluster, learn_scaling

FILE = "11_ssgsea_clustering_correlation.json"


def matrix(rows):
    return pd.DataFrame(rows, columns=[f"v{one}" for one in range(len(rows[0]))]).rename(index="P{}".format)


def planted(seed, sizes=(30, 20, 10), variables=6, apart=5.0):
    rng = np.random.default_rng(seed)
    place = np.repeat(np.arange(len(sizes)), sizes)
    centres = rng.normal(scale=apart, size=(len(sizes), variables))
    return matrix((centres[place] + rng.normal(size=(len(place), variables))).tolist()), place


@cases(FILE, "iris_k3", "iris_scaled_k2", "two_blobs_singleton")
def test_clusters_equal_those_of_r(case):
    table, theirs = matrix(case["inputs"]["x"]["rows"]), case["outputs"]["kmeans"]["hartigan_wong"]

    found = cluster(table, len(theirs["centers"]["rows"]), "none", n_init=50, seed=1)

    assert adjusted_rand_score(theirs["cluster"], found.cluster) == 1.0
    close(found.within, theirs["tot_withinss"], rtol=1e-8)
    ours, expected = sorted(found.centroids.to_numpy().tolist()), sorted(theirs["centers"]["rows"])
    close(ours, expected, rtol=1e-8)


@cases(FILE, "iris_k3", "iris_scaled_k2", "two_blobs_singleton")
def test_the_best_of_many_starts_is_as_close_as_rs(case):
    table = matrix(case["inputs"]["x"]["rows"])

    within = [cluster(table, k, "none", n_init=60, seed=2).within for k in range(2, 7)]

    close(within, case["outputs"]["kmeans"]["best_of_50_tot_withinss_k2_to_6"], rtol=1e-3)  # R's starts may fall short


@cases(FILE, "iris_scaled_k2")
def test_columns_scaled_here_or_by_r_are_divided_alike(case):
    scaled = matrix(case["inputs"]["x"]["rows"])

    found = cluster(scaled * [2, 10, 0.1, 1] + [5, -3, 0, 1], 2, "columns", seed=1)

    close(found.within, case["outputs"]["kmeans"]["hartigan_wong"]["tot_withinss"], rtol=1e-6)
    assert adjusted_rand_score(case["outputs"]["kmeans"]["hartigan_wong"]["cluster"], found.cluster) == 1.0


@pytest.mark.parametrize("scaling", ["rows", "columns", "none"])
def test_planted_clusters_are_found_and_numbered_by_falling_size(scaling):
    table, place = planted(1)

    found = cluster(table, 3, scaling, n_init=10, seed=0)

    assert adjusted_rand_score(place, found.cluster) > 0.9
    assert found.cluster.value_counts().loc[[1, 2, 3]].is_monotonic_decreasing
    assert list(found.cluster.index) == list(table.index)
    assert found.k == 3


@pytest.mark.parametrize("scaling", ["rows", "columns", "none"])
def test_the_patients_learned_from_are_assigned_to_their_own_clusters(scaling):
    table, _ = planted(2)

    found = cluster(table, 3, scaling, n_init=10, seed=0)

    pd.testing.assert_series_equal(found.assign(table.iloc[::-1]).loc[table.index], found.cluster, check_dtype=False)


def test_a_new_patient_is_placed_by_the_scaling_learned_and_not_by_the_company_it_keeps():
    table, place = planted(3)
    found = cluster(table.iloc[::2], 3, "columns", n_init=10, seed=0)

    alone = pd.concat([found.assign(table.iloc[[one]]) for one in range(1, 60, 2)])

    pd.testing.assert_series_equal(alone, found.assign(table.iloc[1::2]))
    assert adjusted_rand_score(place[1::2], alone) > 0.9


def test_rows_scaled_have_a_pattern_and_no_level():
    table, _ = planted(4)
    level = np.linspace(-50, 50, len(table))[:, None]

    found, shifted = (cluster(one, 3, "rows", n_init=10, seed=0) for one in (table, 2 * table + level))

    pd.testing.assert_series_equal(found.cluster, shifted.cluster)
    scaled = found.scaling.apply(table)
    close(scaled.mean(axis=1), np.zeros(60), atol=1e-12)
    close(scaled.std(axis=1, ddof=1), np.ones(60))


def test_one_cluster_holds_everybody_about_the_mean():
    table, _ = planted(5)

    found = cluster(table, 1, "none", seed=0)

    assert set(found.cluster) == {1}
    close(found.centroids.loc[1], table.mean())
    close(found.within, ((table - table.mean()) ** 2).to_numpy().sum())


def test_what_cannot_be_clustered_is_refused_by_name():
    table, _ = planted(6)
    lacking, flat = table.copy(), table.copy()
    lacking.loc["P7", "v1"], flat.loc["P3"] = np.nan, 4.0

    with pytest.raises(ValueError, match="patient P7 lacks a value"):
        cluster(lacking, 2, "none", seed=0)
    with pytest.raises(ValueError, match="patient P3 has one value throughout"):
        cluster(flat, 2, "rows", seed=0)
    with pytest.raises(ValueError, match="column v2 is constant"):
        cluster(table.assign(v2=1.0), 2, "columns", seed=0)
    with pytest.raises(ValueError, match="61 clusters cannot be made of 60 patients"):
        cluster(table, 61, "none", seed=0)
    with pytest.raises(ValueError, match="column v5 is missing"):
        cluster(table, 2, "none", seed=0).assign(table.drop(columns="v5"))
    with pytest.raises(ValueError, match="scaled by rows, columns or none, got 'both'"):
        learn_scaling(table, "both")
