"""Biology as Han's specification accepts it, lines 6 and 7, from a plan a user types to the files written."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import false_discovery_control, mannwhitneyu, spearmanr
from sklearn.metrics import adjusted_rand_score, silhouette_score

from radnet.cli import main

CHECKPOINTS = ["CD274", "CTLA4", "IDO1", "SIGLEC9", "PDCD1", "PDCD1LG2", "LAG3", "HAVCR2"]
SETS = {f"set{one}": [f"G{one}_{gene}" for gene in range(12)] for one in range(6)}
GENES = [gene for genes in SETS.values() for gene in genes]
PHENOTYPE = {"do": "cluster", "variables": "enrichment", "scaling": "rows", "candidates": [2, 3]}


@pytest.fixture
def associate(tmp_path):
    """Write tables and a plan, type ``radnet associate``, and return the folder of its results."""

    def typed(steps, seed=1, name="plan", gene_sets=None, **tables):
        for file, table in tables.items():
            table.rename_axis(index="patient_id").to_csv(tmp_path / f"{file}.csv")
        node = {
            "output": name,
            "seed": seed,
            "tables": {one: {"file": f"{one}.csv", "patients": "rows", "id": "patient_id"} for one in tables},
            "gene_sets": {"populations": {"sets": gene_sets}} if gene_sets else {},
            "steps": steps,
        }
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(node, sort_keys=False), encoding="utf-8")
        assert main(["associate", str(tmp_path / f"{name}.yaml")]) == 0
        return tmp_path / name

    return typed


def expression(seed, hot, patients=60):
    """Genes of six populations, three higher in the first ``hot`` patients, three in the others, and further genes.

    Without a hot patient all are alike. Patients differ in level, of which ranks know nothing.
    """
    rng = np.random.default_rng(seed)
    index = [f"P{one:02d}" for one in range(patients)]
    table = pd.DataFrame(rng.normal(size=(patients, len(GENES) * 2)), index=index)
    table.columns = [*GENES, *(f"other{one}" for one in range(len(GENES)))]
    if hot:
        table.loc[index[:hot], GENES[:36]] += 1.0
        table.loc[index[hot:], GENES[36:]] += 1.0
    return table.add(rng.normal(size=patients), axis=0)


def clustered(associate, table, **changed):
    steps = {"enrichment": {"do": "ssgsea", "expression": "genes", "gene_sets": "populations"}, "phenotype": PHENOTYPE}
    folder = associate(steps, gene_sets=SETS, genes=table, **changed)
    told = json.loads((folder / "associations.json").read_text(encoding="utf-8"))["steps"]["phenotype"]["told"]
    evidence = pd.read_csv(folder / "tables" / "phenotype_evidence.csv", index_col="k")
    return folder, pd.read_csv(folder / "tables" / "phenotype.csv", index_col="patient_id")["phenotype"], evidence, told


def test_han_6_two_planted_clusters_of_expression_are_recovered_through_ssgsea(associate):
    folder, cluster, evidence, told = clustered(associate, expression(1, hot=25))

    assert adjusted_rand_score(np.arange(60) < 25, cluster) > 0.9
    assert told.startswith("2 clusters are supported: silhouette is highest at k = 2")
    scores = pd.read_csv(folder / "tables" / "enrichment.csv", index_col="patient_id")
    scaled = scores.sub(scores.mean(axis=1), axis=0).div(scores.std(axis=1), axis=0)
    assert evidence.loc[2, "silhouette"] == pytest.approx(silhouette_score(scaled, cluster))
    assert evidence.loc[2, "stability"] > 0.9
    centroids = pd.read_csv(folder / "tables" / "phenotype_centroids.csv", index_col="cluster")
    np.testing.assert_allclose(centroids, scaled.groupby(cluster).mean(), rtol=1e-6)


def test_han_6_a_table_without_clusters_is_not_said_to_have_two_and_stability_is_reported(associate):
    folder, cluster, evidence, told = clustered(associate, expression(2, hot=0))

    assert set(cluster) == {1}
    assert told.startswith("no division is supported")
    assert f"stability is {evidence.loc[evidence['silhouette'].idxmax(), 'stability']:.2f}" in told
    assert evidence.loc[[2, 3], "stability"].between(0, 1).all()
    assert len(pd.read_csv(folder / "tables" / "phenotype_centroids.csv")) == 1


def test_han_6_scores_clusters_and_their_number_follow_from_the_seed(associate):
    table = expression(3, hot=25)

    first, again = (clustered(associate, table, name=name, seed=7)[0] for name in ("first", "again"))

    names = {one.name for one in (first / "tables").iterdir()}
    assert {"enrichment.csv", "phenotype.csv", "phenotype_centroids.csv", "phenotype_evidence.csv"} <= names
    for name in names:
        assert (first / "tables" / name).read_bytes() == (again / "tables" / name).read_bytes()


def test_han_7_the_panel_of_eight_checkpoints_is_compared_between_phenotypes_with_q_values_and_n(associate):
    rng = np.random.default_rng(4)
    panel = pd.DataFrame(rng.normal(size=(60, 8)), [f"P{one:02d}" for one in range(60)], CHECKPOINTS)
    panel.iloc[:25, :4] += 1.0
    panel.iloc[:7, 2] = np.nan  # LAG3 and others are not measured in all
    phenotype = pd.DataFrame({"cluster": ["A"] * 25 + ["B"] * 35}, index=panel.index)
    step = {"do": "compare", "variables": "panel", "group": "phenotype", "groups": ["A", "B"], "test": "mann_whitney"}

    folder = associate({"checkpoints": {**step, "family": "checkpoints"}}, panel=panel, phenotype=phenotype)

    found = pd.read_parquet(folder / "associations.parquet").set_index("y")
    first, second = panel[phenotype["cluster"] == "A"], panel[phenotype["cluster"] == "B"]
    tests = [mannwhitneyu(first[one].dropna(), second[one].dropna(), method="exact") for one in CHECKPOINTS]
    u, p = [one.statistic for one in tests], [one.pvalue for one in tests]
    pairs = first.notna().sum() * second.notna().sum()
    assert list(found.index) == CHECKPOINTS
    np.testing.assert_allclose(found["effect"], u / pairs)
    np.testing.assert_allclose(found["p_value"], p, rtol=1e-6)
    np.testing.assert_allclose(found["q_value"], false_discovery_control(p), rtol=1e-6)
    assert found["n"].to_dict() == panel.notna().sum().to_dict()
    assert found.loc["IDO1", "counts"] == "A 18, B 35"
    assert (found["lower"] < found["effect"]).all()


def test_han_7_the_map_of_twenty_features_and_24_populations_is_one_family_of_480_tests(associate):
    rng = np.random.default_rng(5)
    index = [f"P{one:02d}" for one in range(94)]
    features = pd.DataFrame(rng.normal(size=(94, 20)), index, [f"feature{one:02d}" for one in range(20)])
    cells = pd.DataFrame(rng.normal(size=(94, 24)), index, [f"cell{one:02d}" for one in range(24)])
    cells["cell00"] -= 2 * features["feature00"]
    cells.iloc[:9, 5] = np.nan
    step = {"do": "correlate", "x": "features", "y": "cells", "method": "spearman", "family": "interpretation"}

    folder = associate({"map": step}, features=features, cells=cells)

    found = pd.read_parquet(folder / "associations.parquet")
    expected = [spearmanr(features[x], cells[y], nan_policy="omit") for x in features for y in cells]
    np.testing.assert_allclose(found["effect"], [one.statistic for one in expected], rtol=1e-9)
    q = false_discovery_control([one.pvalue for one in expected])
    np.testing.assert_allclose(found["q_value"], q, rtol=1e-6)
    assert set(found.loc[found["y"] == "cell05", "n"]) == {85}
    assert set(found.loc[found["y"] != "cell05", "n"]) == {94}
    record = json.loads((folder / "associations.json").read_text(encoding="utf-8"))
    assert record["families"]["interpretation"]["tests"] == 480
    assert record["families"]["interpretation"]["q_below_0.05"] == int((q < 0.05).sum())
    assert (folder / "figures" / "map.svg").is_file()
