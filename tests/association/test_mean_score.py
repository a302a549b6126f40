"""Means of genes: hand cases, among them four genes against a reference, and what is refused."""

import doctest

import numpy as np
import pandas as pd
import pytest

from radnet.association import mean_score as module
from radnet.association.mean_score import GeneReference, mean_score, reference_of

CYTOTOXIC = ["CD8A", "GZMA", "GZMB", "PRF1"]


def four_genes():
    return pd.DataFrame(
        {"P1": [6.0, 4.0, 9.0, 1.0], "P2": [4.0, 8.0, 7.0, 3.0], "P3": [5.0, 6.0, np.nan, 2.0]}, index=CYTOTOXIC
    )


def test_a_score_of_four_genes_is_the_mean_of_their_z_scores_by_hand():
    reference = GeneReference(
        mean=pd.Series([4.0, 5.0, 8.0, 2.0], index=CYTOTOXIC), sd=pd.Series([2.0, 1.0, 0.5, 4.0], index=CYTOTOXIC)
    )

    found = mean_score(four_genes(), CYTOTOXIC, reference)

    assert found.loc["P1", "score"] == pytest.approx((1.0 - 1.0 + 2.0 - 0.25) / 4)
    assert found.loc["P2", "score"] == pytest.approx((0.0 + 3.0 - 2.0 + 0.25) / 4)
    assert found.loc["P3", "score"] == pytest.approx((0.5 + 1.0 + 0.0) / 3)
    assert found["genes"].tolist() == [4, 4, 3]


def test_without_a_reference_it_is_the_mean_of_expression():
    found = mean_score(four_genes(), ["CD8A", "PRF1", "CD8A"], None)

    assert found["score"].tolist() == [3.5, 3.5, 3.5]


@pytest.mark.parametrize("seed", range(3))
def test_over_the_patients_of_the_reference_the_mean_score_is_zero(seed):
    expression = pd.DataFrame(np.random.default_rng(seed).normal(5, 2, size=(6, 30)), index=list("ABCDEF"))

    found = mean_score(expression, ["A", "C", "F"], reference_of(expression))

    assert found["score"].mean() == pytest.approx(0.0, abs=1e-12)


def test_a_patient_without_any_of_the_genes_has_no_score():
    expression = four_genes().assign(P4=np.nan)

    found = mean_score(expression, CYTOTOXIC, None)

    assert np.isnan(found.loc["P4", "score"])
    assert found.loc["P4", "genes"] == 0


def test_a_gene_that_is_absent_is_named_with_the_place_that_lacks_it():
    reference = GeneReference(pd.Series([4.0], index=["CD8A"]), pd.Series([2.0], index=["CD8A"]))

    with pytest.raises(ValueError, match="gene FOXP3 is not in the expression"):
        mean_score(four_genes(), ["CD8A", "FOXP3"], None)
    with pytest.raises(ValueError, match="gene GZMB is not in the reference"):
        mean_score(four_genes(), ["CD8A", "GZMB"], reference)
    with pytest.raises(ValueError, match="needs a gene, but the set is empty"):
        mean_score(four_genes(), [], None)


def test_a_reference_without_spread_is_refused():
    with pytest.raises(ValueError, match="gene B: a reference needs a mean, and an SD above 0"):
        GeneReference(pd.Series([1.0, 2.0], index=["A", "B"]), pd.Series([1.0, 0.0], index=["A", "B"]))
    with pytest.raises(ValueError, match="of the same genes"):
        GeneReference(pd.Series([1.0], index=["A"]), pd.Series([1.0], index=["B"]))


def test_the_example_runs():
    assert doctest.testmod(module).failed == 0
