"""How many clusters there are: R's silhouettes, planted and absent clusters, the gap statistic in closed form."""

import doctest

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from oracle import cases, close
from radnet.association import cluster_number
from radnet.association.cluster_number import choose_cluster_number, first_within_error

FAST = {"n_init": 8, "references": 25, "bootstraps": 15}


def expression(seed, sizes, variables=8, apart=1.5):
    rng = np.random.default_rng(seed)
    place = np.repeat(np.arange(len(sizes)), sizes)
    centres = rng.choice([-apart, apart], size=(len(sizes), variables))
    centres[:, : variables // 2] = apart * np.resize([1, -1], len(sizes))[:, None]
    values = centres[place] + rng.normal(size=(len(place), variables))
    return pd.DataFrame(values, columns=[f"set {one}" for one in range(variables)]), place


@cases("11_ssgsea_clustering_correlation.json", "iris_k3", "iris_scaled_k2", "two_blobs_singleton")
def test_silhouettes_of_each_number_are_those_of_r(case):
    table = pd.DataFrame(case["inputs"]["x"]["rows"]).add_prefix("v")

    found = choose_cluster_number(table, [2, 3], "none", n_init=30, references=5, bootstraps=2, seed=1)

    theirs = case["outputs"]["kmeans"]
    close(found.evidence.loc[2, "silhouette"], theirs["best_of_50_starts_mean_silhouette_k2_to_6"][0], rtol=1e-6)
    close(
        found.evidence.loc[[2, 3], "within"],
        theirs["best_of_50_tot_withinss_k2_to_6"][:2],
        rtol=1e-6 if len(table) > 9 else 0.02,
    )
    assert found.by_silhouette == 2


@pytest.mark.parametrize("scaling", ["rows", "columns", "none"])
def test_two_planted_clusters_of_expression_are_recovered(scaling):
    table, place = expression(1, (45, 35))

    found = choose_cluster_number(table, range(2, 6), scaling, seed=0, **FAST)

    assert found.clusters.k == found.by_silhouette == 2
    assert found.by_gap >= 2
    assert adjusted_rand_score(place, found.clusters.cluster) > 0.9
    assert found.evidence.loc[2, "stability"] > 0.9
    assert "2 clusters are supported" in found.told


@pytest.mark.parametrize("scaling", ["rows", "columns", "none"])
@pytest.mark.parametrize("seed", range(2))
def test_a_table_without_clusters_is_not_said_to_have_two(scaling, seed):
    table = pd.DataFrame(np.random.default_rng(seed).normal(size=(80, 8))).add_prefix("v")

    found = choose_cluster_number(table, range(2, 5), scaling, seed=0, **FAST)

    assert found.clusters.k == 1
    assert set(found.clusters.cluster) == {1}
    assert found.evidence.loc[2:4, "stability"].max() < 0.75
    assert "no division is supported" in found.told
    assert "stability" in found.told


def test_a_gradient_along_which_patients_differ_is_not_two_clusters():
    rng = np.random.default_rng(3)
    table = pd.DataFrame(rng.normal(size=(100, 1)) * np.ones(6) + 0.4 * rng.normal(size=(100, 6))).add_prefix("v")

    found = choose_cluster_number(table, range(2, 5), "columns", seed=0, **FAST)

    assert found.clusters.k == 1
    assert found.by_gap == 1


def test_three_planted_clusters_are_three():
    rng = np.random.default_rng(4)
    place = np.repeat([0, 1, 2], 25)
    table = pd.DataFrame(np.array([[0, 0], [8, 0], [4, 7]])[place] + rng.normal(size=(75, 2))).add_prefix("v")

    found = choose_cluster_number(table, range(2, 6), "none", seed=0, **FAST)

    assert found.clusters.k == found.by_gap == found.by_silhouette == 3


def test_the_gap_of_one_cluster_is_what_a_uniform_spread_has_in_closed_form():
    values = np.random.default_rng(5).normal(size=400)
    table = pd.DataFrame({"v": values})

    found = choose_cluster_number(table, [2], "none", n_init=1, references=100, bootstraps=2, seed=0)

    uniform = np.log(399 * np.ptp(values) ** 2 / 12)  # n - 1 variances of a uniform spread
    error = found.evidence.loc[1, "gap_error"] / np.sqrt(100)
    assert found.evidence.loc[1, "gap"] == pytest.approx(uniform - np.log(values.var() * 400), abs=4 * error + 0.002)
    # squares about the mean vary as kappa allows: SD of their log is sqrt((9 / 5 - 1) / n) for a uniform spread
    assert found.evidence.loc[1, "gap_error"] == pytest.approx(np.sqrt(0.8 / 400 * 1.01), rel=0.25)


def test_the_same_seed_gives_the_same_evidence():
    table, _ = expression(6, (20, 20))
    settings = {"n_init": 2, "references": 5, "bootstraps": 3}

    first, again = (choose_cluster_number(table, [2, 3], "rows", seed=7, **settings) for _ in range(2))

    pd.testing.assert_frame_equal(first.evidence, again.evidence)
    pd.testing.assert_series_equal(first.clusters.cluster, again.clusters.cluster)


def test_the_rule_of_the_gap_statistic_by_hand():
    error = np.array([0.05, 0.05, 0.05, 0.05])

    assert first_within_error(np.array([0.50, 0.52, 0.6, 0.7]), error) == 1  # 0.50 reaches 0.52 - 0.05
    assert first_within_error(np.array([0.10, 0.52, 0.6, 0.64]), error) == 3  # 0.52 misses 0.55, 0.60 reaches 0.59
    assert first_within_error(np.array([0.10, 0.20, 0.3, 0.40]), error) == 4
    assert doctest.testmod(cluster_number).failed == 0


def test_numbers_that_cannot_be_are_refused():
    table, _ = expression(8, (5, 5))

    with pytest.raises(ValueError, match=r"2 or more, got \[1, 2\]"):
        choose_cluster_number(table, [1, 2], "none", seed=0)
    with pytest.raises(ValueError, match="10 clusters need more patients that differ than that, got 10"):
        choose_cluster_number(table, [10], "none", seed=0)
