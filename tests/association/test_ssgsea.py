"""Single-sample enrichment: R's GSVA with and without ties, the definition walked slowly, and laws."""

import doctest

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from oracle import cases, close
from radnet.association import ssgsea as module
from radnet.association.ssgsea import coverage, ssgsea

FILE = "11_ssgsea_clustering_correlation.json"
NAMES = ("ssgsea_60x8", "ssgsea_ties", "ssgsea_two_samples")


def matrix(given):
    return pd.DataFrame(given["rows"], index=given["rownames"], columns=given["colnames"])


def simulated(seed, genes=40, patients=7):
    rng = np.random.default_rng(seed)
    index, columns = [f"G{one}" for one in range(genes)], [f"P{one}" for one in range(patients)]
    return pd.DataFrame(rng.normal(size=(genes, patients)), index=index, columns=columns)


def walked(values, members, alpha):
    """Barbie's definition, gene by gene from the highest."""
    rank = rankdata(values)
    order = np.argsort(-rank)
    total = sum(rank[gene] ** alpha for gene in order if members[gene])
    within = outside = score = 0.0
    for gene in order:
        if members[gene]:
            within += rank[gene] ** alpha / total
        else:
            outside += 1 / (~members).sum()
        score += within - outside
    return score


@cases(FILE, *NAMES)
@pytest.mark.parametrize(("normalise", "key"), [(False, "ssgsea_unnormalized"), (True, "ssgsea_normalized")])
def test_scores_equal_those_of_gsva(case, normalise, key):
    expression = matrix(case["inputs"]["expression_genes_by_samples"])
    theirs = matrix(case["outputs"][key])

    found = ssgsea(expression, case["inputs"]["gene_sets"], alpha=case["inputs"]["tau"], normalise=normalise)

    assert list(found.columns) == list(theirs.index)
    assert list(found.index) == list(theirs.columns)
    close(found.T.to_numpy(), theirs.to_numpy(), rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_scores_are_those_of_the_definition_walked_gene_by_gene(alpha):
    expression = simulated(1)
    members = np.isin(np.arange(40), [0, 3, 11, 25, 39])

    found = ssgsea(expression, {"set": expression.index[members].tolist()}, alpha=alpha, normalise=False)

    slowly = [walked(expression[patient].to_numpy(), members, alpha) for patient in expression]
    close(found["set"], slowly, rtol=1e-10)


def test_only_the_order_of_expression_in_a_patient_counts():
    expression = simulated(2)
    sets = {"a": ["G1", "G2", "G3"], "b": ["G30", "G5"]}

    other = np.exp(expression) * np.arange(1, 8)

    pd.testing.assert_frame_equal(ssgsea(other, sets), ssgsea(expression, sets))


def test_without_normalising_a_patient_scores_the_same_alone_and_with_others():
    expression, sets = simulated(3), {"a": ["G1", "G2", "G3"], "b": ["G30", "G5"]}

    alone = ssgsea(expression[["P4"]], sets, normalise=False)

    close(alone.loc["P4"], ssgsea(expression, sets, normalise=False).loc["P4"], rtol=1e-12)


def test_normalised_scores_have_a_range_of_one():
    found = ssgsea(simulated(4), {"a": ["G1", "G2", "G3"], "b": ["G30", "G5"]})

    assert np.ptp(found.to_numpy()) == pytest.approx(1.0)


def test_a_gene_named_twice_counts_once_and_absent_genes_change_nothing():
    expression = simulated(5)

    found = ssgsea(expression, {"plain": ["G1", "G2"], "twice": ["G1", "G2", "G1", "XIST"]})

    np.testing.assert_array_equal(found["plain"], found["twice"])


def test_coverage_counts_the_genes_that_are_there_and_names_those_that_are_not():
    found = coverage(simulated(6), {"a": ["G1", "XIST", "G2", "G2"], "b": ["G3"]})

    assert found.loc["a"].tolist() == [3, 2, 1, "XIST"]
    assert found.loc["b"].tolist() == [1, 1, 0, ""]


def test_every_fault_of_the_table_and_of_the_sets_is_told():
    expression = simulated(7)
    expression.loc["G3", "P1"] = np.nan

    with pytest.raises(ValueError) as fault:
        ssgsea(expression, {"none": ["XIST"], "all": expression.index.tolist()})

    assert "gene G3 has missing values" in str(fault.value)
    assert "gene set none has none of its genes in the table" in str(fault.value)
    assert "gene set all holds every gene of the table" in str(fault.value)


def test_a_gene_that_stands_twice_is_refused():
    expression = simulated(8).rename(index={"G1": "G2"})

    with pytest.raises(ValueError, match="row G2 stands twice: keep one"):
        ssgsea(expression, {"a": ["G2"]})


def test_scores_that_are_all_equal_have_no_range_to_be_divided_by():
    with pytest.raises(ValueError, match="all 1 are equal: normalise=False"):
        ssgsea(simulated(9, patients=1), {"a": ["G1"]})


def test_the_example_runs():
    assert doctest.testmod(module).failed == 0
