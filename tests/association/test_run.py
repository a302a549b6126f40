import json

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import false_discovery_control, mannwhitneyu, spearmanr, ttest_ind

from oracle import cases, close
from radnet.association.run import run_plan
from radnet.cli import main
from radnet.data.simulate import simulate, simulation_settings
from radnet.tables import TableFault

BY_ROWS = {"patients": "rows", "id": "patient_id"}


@pytest.fixture
def plan(tmp_path):
    """Write tables, and a plan of steps on them; return its path."""

    def written(steps, tables, gene_sets=None, name="plan"):
        for file, table in tables.items():
            table.rename_axis(index="patient_id").to_csv(tmp_path / f"{file}.csv")
        node = {
            "output": "results",
            "seed": 1,
            "tables": {file: {"file": f"{file}.csv", **BY_ROWS} for file in tables},
            "gene_sets": {file: {"sets": sets} for file, sets in (gene_sets or {}).items()},
            "steps": steps,
        }
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(node, sort_keys=False), encoding="utf-8")
        return tmp_path / f"{name}.yaml"

    return written


@pytest.fixture
def biology():
    rng = np.random.default_rng(2)
    patients = pd.Index([f"P{one:02d}" for one in range(40)])
    table = pd.DataFrame(rng.normal(size=(40, 4)), index=patients, columns=["CD8", "NK", "B", "Treg"])
    score = pd.DataFrame({"score": table["CD8"] + rng.normal(size=40)}, index=patients)
    return score, table


CORRELATE = {"do": "correlate", "x": "scores", "y": "biology", "method": "spearman", "family": "cells"}


def test_tables_are_joined_by_patient_and_every_patient_left_out_is_named(plan, biology):
    score, table = biology
    shuffled = table.sample(frac=1, random_state=1)

    carried = run_plan(
        plan({"map": CORRELATE}, {"scores": score.drop(["P03", "P05"]), "biology": shuffled.drop("P07")})
    )

    both = table.index.drop(["P03", "P05", "P07"])
    expected = [spearmanr(score.loc[both, "score"], table.loc[both, name]) for name in table]
    close(carried.table["effect"], [one.statistic for one in expected])
    close(carried.table["p_value"], [one.pvalue for one in expected])
    close(carried.table["q_value"], false_discovery_control([one.pvalue for one in expected]))
    written = pd.read_parquet(carried.plan.output / "associations.parquet")
    pd.testing.assert_frame_equal(written, carried.table)
    record = json.loads((carried.plan.output / "associations.json").read_text(encoding="utf-8"))
    assert record["plan_sha256"] == carried.plan.sha256
    assert record["steps"]["map"]["patients"] == 37
    assert record["steps"]["map"]["unmatched"] == {"x": ["P07"], "y": ["P03", "P05"]}
    assert record["families"]["cells"]["tests"] == record["tests"] == 4
    assert {one.name for one in (carried.plan.output / "figures").iterdir()} == {"map.pdf", "map.svg", "map.png"}


def test_q_values_are_of_the_family_declared_over_all_its_steps(plan, biology):
    score, table = biology
    first = {**CORRELATE, "y": {"from": "biology", "columns": ["CD8", "NK"]}}
    rest = {**CORRELATE, "y": {"from": "biology", "columns": ["B"]}}
    apart = {**CORRELATE, "y": {"from": "biology", "columns": ["Treg"]}, "family": "apart"}

    found = run_plan(plan({"a": first, "b": rest, "c": apart}, {"scores": score, "biology": table})).table

    p = [spearmanr(score["score"], table[name]).pvalue for name in table]
    close(found["q_value"], [*false_discovery_control(p[:3]), p[3]])


@cases("11_ssgsea_clustering_correlation.json", "ssgsea_60x8")
def test_a_plan_scores_gene_sets_as_gsva_does(tmp_path, case):
    inputs, outputs = case["inputs"], case["outputs"]
    genes = _frame(inputs["expression_genes_by_samples"])
    genes.rename_axis(index="gene").to_csv(tmp_path / "genes.csv")
    lines = ["\t".join([name, "", *members]) for name, members in inputs["gene_sets"].items()]
    (tmp_path / "sets.gmt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "plan.yaml").write_text(
        """\
output: results
seed: 1
tables: {genes: {file: genes.csv, patients: columns, id: gene}}
gene_sets: {sets: {file: sets.gmt}}
steps: {scores: {do: ssgsea, expression: genes, gene_sets: sets}}
""",
        encoding="utf-8",
    )

    carried = run_plan(tmp_path / "plan.yaml")

    scores = pd.read_csv(carried.plan.output / "tables" / "scores.csv", index_col="patient_id")
    expected = _frame(outputs["ssgsea_normalized"])
    close(scores.to_numpy(), expected.loc[scores.columns, scores.index].to_numpy().T, rtol=1e-8)
    assert carried.table.empty


def test_planted_correlations_of_a_simulated_cohort_are_found_and_few_others(tmp_path):
    settings = simulation_settings("small", biology="true", images="false", n="300")
    simulate(settings, tmp_path / "cohort", workers=1)
    truth = json.loads((tmp_path / "cohort" / "truth" / "truth.json").read_text(encoding="utf-8"))
    pd.DataFrame(truth["patients"])[["patient_id", "t"]].to_csv(tmp_path / "scores.csv", index=False)
    (tmp_path / "plan.yaml").write_text(
        """\
output: results
seed: 1
tables:
  scores: {file: scores.csv, patients: rows, id: patient_id}
  biology: {file: cohort/biology.csv, patients: rows, id: patient_id}
steps:
  map: {do: correlate, x: scores, y: biology, method: spearman, family: biology, max_t: 99}
""",
        encoding="utf-8",
    )

    carried = run_plan(tmp_path / "plan.yaml")

    planted = set(truth["biology"]["planted"])
    found = set(carried.table.loc[carried.table["q_value"] < 0.1, "y"])
    assert planted <= found  # at r = 0.5 of 300 patients a miss has a probability below 1e-6
    assert len(found - planted) <= 7  # 2 expected; 8 or more once in a thousand cohorts
    strict = pd.read_csv(carried.plan.output / "tables" / "map_max_t.csv")
    assert planted <= set(strict.loc[strict["p_value"] < 0.05, "y"])


def test_what_steps_hand_on_is_what_the_steps_below_read(plan, biology):
    score, table = biology
    tiles = pd.concat([table.add(shift) for shift in (-1.0, 0.0, 3.0)])
    steps = {
        "thirds": {"do": "tertiles", "score": "scores"},
        "slides": {"do": "aggregate_tiles", "tiles": {"from": "tiles", "columns": ["CD8"]}},
        "beside": {
            "do": "compare",
            "variables": {"from": "slides", "columns": ["CD8__max"]},
            "group": "thirds",
            "groups": ["high", "low"],
            "test": "mann_whitney",
            "family": "slides",
        },
    }

    (row,) = run_plan(plan(steps, {"scores": score, "tiles": tiles})).results["beside"].rows

    rising = score["score"].sort_values().index  # 40 scores: 13, 14 and 13
    high, low = (table.loc[who, "CD8"] + 3.0 for who in (rising[-13:], rising[:13]))
    expected = mannwhitneyu(high, low, method="exact")
    assert (row.x, row.y, row.counts) == ("thirds: high vs low", "CD8__max", "high 13, low 13")
    assert row.effect.value == pytest.approx(expected.statistic / 169)
    assert row.effect.p_value == pytest.approx(expected.pvalue)
    assert row.effect.lower < row.effect.value <= row.effect.upper


def test_two_clusters_far_apart_are_found_and_new_patients_placed_without_being_learned_from(plan):
    rng = np.random.default_rng(3)
    far = np.repeat([[0.0, 0.0], [9.0, 9.0]], [20, 12], axis=0)
    cells = pd.DataFrame(far + rng.normal(size=(32, 2)), [f"P{one}" for one in range(32)], ["CD8", "NK"])
    later = pd.DataFrame([[8.0, 10.0], [1.0, -1.0]], ["N1", "N2"], ["CD8", "NK"])
    steps = {
        "phenotype": {
            "do": "cluster",
            "variables": "cells",
            "scaling": "columns",
            "candidates": [2, 3],
            "assign": "later",
        }
    }

    carried = run_plan(plan(steps, {"cells": cells, "later": later}))

    folder = carried.plan.output / "tables"
    placed = pd.read_csv(folder / "phenotype.csv", index_col="patient_id")
    assert placed["phenotype"].tolist() == [1] * 20 + [2] * 12 + [2, 1]
    assert placed["learned_from"].tolist() == [True] * 32 + [False] * 2
    scaled = (cells - cells.mean()) / cells.std()
    centroids = pd.read_csv(folder / "phenotype_centroids.csv", index_col="cluster")
    close(centroids.loc[1], scaled.iloc[:20].mean())
    close(pd.read_csv(folder / "phenotype_scaling.csv")["sd"], cells.std())
    assert "2 clusters are supported" in carried.results["phenotype"].told
    assert pd.read_csv(folder / "phenotype_evidence.csv").loc[1, "stability"] == 1.0


def test_a_step_refused_costs_itself_and_what_reads_it_and_the_command_says_so(plan, biology, capsys):
    score, table = biology
    few = pd.DataFrame({"receptor": ["positive"] * 36 + ["negative"] * 4}, index=table.index)
    steps = {
        "map": CORRELATE,
        "few": {
            "do": "compare",
            "variables": "biology",
            "group": "receptor",
            "groups": ["positive", "negative"],
            "test": "welch",
            "family": "cells",
        },
        "genes": {
            "do": "deg",
            "expression": "biology",
            "group": "receptor",
            "groups": ["positive", "negative"],
            "test": "welch",
            "family": "genes",
        },
        "sets": {"do": "prerank", "ranking": "genes", "by": "effect", "gene_sets": "cells", "family": "sets"},
    }
    path = plan(steps, {"scores": score, "biology": table, "receptor": few}, {"cells": {"T": ["CD8"]}})

    code = main(["associate", str(path)])

    told = capsys.readouterr()
    assert code == 1
    assert "error: step few: grouping receptor: a group is compared from 5 patients on, but negative has 4" in told.err
    assert "error: step genes: group negative has 4 patients" in told.err
    assert "error: step sets: it reads genes, which is refused" in told.err
    assert "associated at q < 0.1 (incomplete: a step was refused)" in told.out
    record = json.loads((path.parent / "results" / "associations.json").read_text(encoding="utf-8"))
    assert set(record["refused"]) == {"few", "genes", "sets"}
    assert record["families"]["cells"]["complete"] is False
    assert record["families"]["genes"]["tests"] == 0
    assert len(pd.read_parquet(path.parent / "results" / "associations.parquet")) == 4


def test_a_signature_that_is_the_outcome_itself_is_stronger_than_every_random_one(plan):
    rng = np.random.default_rng(5)
    genes = pd.DataFrame(rng.normal(size=(60, 30)), [f"P{one}" for one in range(60)], [f"G{one}" for one in range(30)])
    beside = pd.DataFrame({"cells": genes[["G1", "G2", "G3"]].mean(axis=1)})
    steps = {
        "control": {
            "do": "random_signatures",
            "expression": "genes",
            "gene_sets": "sets",
            "score": "mean",
            "y": "beside",
            "draws": 99,
            "family": "control",
        }
    }

    carried = run_plan(plan(steps, {"genes": genes, "beside": beside}, {"sets": {"three": ["G1", "G2", "G3"]}}))

    (row,) = carried.results["control"].rows
    band = pd.read_csv(carried.plan.output / "tables" / "control.csv").iloc[0]
    assert [row.effect.value, band["asked"]] == pytest.approx([1.0, 1.0])
    assert [row.effect.p_value, band["as_strong"]] == pytest.approx([1 / 100, 1 / 100])
    assert band["random_lower"] < 0 < band["random_upper"] < 1


def test_in_150_breast_cancers_a_plan_finds_the_receptors_genes_as_scipy_does(plan, shared):
    folder = shared / "data" / "gex_breast"
    expression = pd.read_csv(folder / "data.nkis.csv.gz", index_col=0).iloc[:, :120]
    clinical = pd.read_csv(folder / "demo.nkis.csv.gz", index_col=0)[["er", "e.os", "t.os"]]
    luminal = ["NM_000125", "NM_002051", "NM_004496", "NM_005080"]  # ESR1, GATA3, FOXA1, XBP1
    outcome = {"from": "clinical", "event": "e.os", "time": "t.os", "endpoint": "overall survival"}
    steps = {
        "genes": {
            "do": "deg",
            "expression": "expression",
            "group": {"from": "clinical", "column": "er"},
            "groups": [1, 0],
            "test": "welch",
            "family": "genes",
        },
        "sets": {
            "do": "prerank",
            "ranking": "genes",
            "by": "statistic",
            "gene_sets": "sets",
            "smallest": 4,
            "family": "sets",
        },
        "score": {"do": "mean_score", "expression": "expression", "gene_sets": "sets", "reference": "own"},
        "thirds": {"do": "tertiles", "score": "score"},
        "survival": {
            "do": "survival",
            "group": "thirds",
            "groups": ["high", "low"],
            "outcome": outcome,
            "family": "survival",
        },
    }

    carried = run_plan(plan(steps, {"expression": expression, "clinical": clinical}, {"sets": {"luminal": luminal}}))

    receptor = clinical["er"].reindex(expression.index)
    test = ttest_ind(expression[receptor == 1], expression[receptor == 0], equal_var=False, nan_policy="omit")
    genes = carried.table[carried.table["family"] == "genes"]
    close(genes["p_value"], test.pvalue)
    close(genes["q_value"], false_discovery_control(test.pvalue))
    (enriched,) = carried.results["sets"].rows
    assert enriched.effect.value > 1
    known = clinical.dropna(subset=["e.os", "t.os"]).index
    (ratio,) = carried.results["survival"].rows
    assert ratio.n + ratio.missing == 100  # 150 patients: 50 in each third
    assert ratio.n == carried.results["thirds"].table.loc[known, "thirds"].isin(["high", "low"]).sum()
    assert {one.stem for one in (carried.plan.output / "figures").iterdir()} == {"genes", "survival"}


def test_the_same_plan_gives_the_same_bytes_and_another_is_refused_the_folder(plan, biology):
    score, table = biology
    tables = {"scores": score, "biology": table}
    path = plan({"map": {**CORRELATE, "max_t": 99}}, tables)

    def contents():
        folder = path.parent / "results"
        return {one.name: one.read_bytes() for one in folder.rglob("*") if one.is_file()}

    run_plan(path)
    once = contents()
    run_plan(path)

    assert contents() == once
    other = plan({"map": {**CORRELATE, "method": "pearson"}}, tables, name="other")
    with pytest.raises(ValueError, match="holds what another plan, or no plan, wrote: name another, or empty it"):
        run_plan(other)


def test_every_file_that_cannot_be_read_is_told_at_once(plan, biology):
    score, table = biology
    path = plan({"map": CORRELATE}, {"scores": score, "biology": table})
    text = path.read_text(encoding="utf-8").replace("file: scores.csv", "file: nowhere.csv")
    path.write_text(text.replace("gene_sets: {}", "gene_sets: {a: {file: none.gmt}}"), encoding="utf-8")

    with pytest.raises(TableFault, match=r"tables\.scores: .*no such file(.|\n)*gene_sets\.a: .*no such file"):
        run_plan(path)


def test_a_patient_who_stands_twice_or_tables_of_nobody_in_common_are_refused(plan, biology):
    score, table = biology
    twice = pd.concat([score, score.iloc[:1]])
    steps = {"again": {**CORRELATE, "x": "twice"}, "none": {**CORRELATE, "x": "others"}}
    others = score.set_axis([f"X{one}" for one in range(40)])

    refused = run_plan(plan(steps, {"twice": twice, "others": others, "biology": table})).refused

    assert "patient P00 stands twice: keep one row" in refused["again"]
    assert refused["none"].startswith("no patient is in all tables: are ids written alike?")


def _frame(node):
    """Return a matrix of R's cases as a table."""
    return pd.DataFrame(node["rows"], index=node["rownames"], columns=node["colnames"])


def test_the_command_writes_the_page_and_says_where(plan, biology, capsys):
    score, table = biology
    path = plan({"map": CORRELATE}, {"scores": score, "biology": table})

    assert main(["associate", str(path)]) == 0

    page = path.parent / "results" / "report.html"
    assert f"report: {page}" in capsys.readouterr().out
    assert page.read_text(encoding="utf-8").lstrip().startswith("<!DOCTYPE html>")
