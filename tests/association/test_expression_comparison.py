"""Genes that differ between groups: SciPy gene by gene, planted changes, and laws."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from oracle import close
from radnet.association.expression_comparison import compare_expression


def simulated(seed, genes=200, patients=30, changed=20, shift=2.5):
    rng = np.random.default_rng(seed)
    columns = [f"P{one}" for one in range(patients)]
    table = pd.DataFrame(
        rng.normal(6, 1, size=(genes, patients)), index=[f"G{one}" for one in range(genes)], columns=columns
    )
    group = pd.Series(np.resize(["low", "high", "other"], patients), index=columns, name="score")
    table.loc[table.index[:changed], group[group == "high"].index] += shift
    return table, group


@pytest.mark.parametrize("test", ["welch", "wilcoxon"])
def test_each_gene_is_as_scipy_compares_it_missing_values_left_out(test):
    table, group = simulated(1, genes=30)
    table.iloc[3, :5] = np.nan
    table.iloc[4] = table.iloc[4].round()

    found = compare_expression(table, group, ("high", "low"), test)

    for gene, row in found.iterrows():
        one, other = (table.loc[gene, group == name].dropna() for name in ("high", "low"))
        expected = stats.ttest_ind(one, other, equal_var=False)
        interval = expected.confidence_interval(0.95)
        close([row["log2_fold_change"], row["lower"], row["upper"]], [one.mean() - other.mean(), *interval], rtol=1e-9)
        if test == "wilcoxon":
            tied = pd.concat([one, other]).duplicated().any()
            expected = stats.mannwhitneyu(one, other, method="asymptotic" if tied else "exact")
        close([row["statistic"], row["p_value"]], [expected.statistic, expected.pvalue], rtol=1e-9)
        assert (row["n"], row["missing"]) == (len(one) + len(other), 20 - len(one) - len(other))


def test_planted_genes_are_up_in_the_first_group_and_down_in_the_second():
    table, group = simulated(2)

    up = compare_expression(table, group, ("high", "low"), "welch")
    down = compare_expression(table, group, ("low", "high"), "welch")

    assert (up["change"].iloc[:20] == "up").mean() > 0.9
    assert (up["change"].iloc[20:] == "").mean() > 0.98
    assert (down["change"] == up["change"].map({"up": "down", "down": "up", "": ""})).all()
    close(up["q_value"], stats.false_discovery_control(up["p_value"]))


def test_a_change_must_pass_both_thresholds_and_neither_is_passed_by_equality():
    table, group = simulated(3)
    found = compare_expression(table, group, ("high", "low"), "welch")
    gene = found.index[found["change"] == "up"][0]

    exactly = compare_expression(
        table, group, ("high", "low"), "welch", least_log2_fold_change=found.loc[gene, "log2_fold_change"]
    )
    strict = compare_expression(table, group, ("high", "low"), "welch", highest_q=found.loc[gene, "q_value"])

    assert exactly.loc[gene, "change"] == ""
    assert strict.loc[gene, "change"] == ""


def test_a_gene_that_few_have_or_that_is_constant_is_a_row_with_its_reason():
    table, group = simulated(4, genes=20)
    table.loc["G1", group[group == "low"].index[:6]] = np.nan
    table.loc["G2"] = 3.0

    found = compare_expression(table, group, ("high", "low"), "wilcoxon")

    assert found.loc["G1", ["log2_fold_change", "p_value", "q_value"]].isna().all()
    assert found.loc["G1", "flag"] == "a group has fewer than 5 patients with a value"
    assert found.loc["G2", "flag"] == "the values within each group are constant"
    assert found["q_value"].notna().sum() == 18
    assert (found["flag"] == "").sum() == 18


def test_comparisons_that_cannot_be_made_are_refused():
    table, group = simulated(5)

    with pytest.raises(ValueError, match="group none has 0 patients: 5 or more are compared"):
        compare_expression(table, group, ("high", "none"), "welch")
    with pytest.raises(ValueError, match="by welch or wilcoxon, got 'limma'"):
        compare_expression(table, group, ("high", "low"), "limma")
    with pytest.raises(ValueError, match="P4 only in expression, not in group"):
        compare_expression(table, group.drop("P4"), ("high", "low"), "welch")


@pytest.mark.parametrize("test", ["welch", "wilcoxon"])
def test_in_150_breast_cancers_the_receptors_gene_is_what_marks_the_receptor(shared, test):
    folder = shared / "data" / "gex_breast"
    table = pd.read_csv(folder / "data.nkis.csv.gz", index_col=0).T
    receptor = pd.read_csv(folder / "demo.nkis.csv.gz", index_col=0)["er"].map({1: "positive", 0: "negative"})

    found = compare_expression(table, receptor, ("positive", "negative"), test, least_log2_fold_change=0.2)

    assert "NM_000125" in found["p_value"].nsmallest(10).index  # ESR1
    assert found.loc["NM_000125", "change"] == "up"
    assert found.loc["NM_002051", "change"] == "up"  # GATA3
    assert (found["n"] + found["missing"] == receptor.isin(["positive", "negative"]).sum()).all()
