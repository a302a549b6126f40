"""A signature among random ones: planted signal, none, and a signal that every gene carries."""

import numpy as np
import pandas as pd
import pytest

from radnet.association.mean_score import mean_score
from radnet.association.signatures import among_random_signatures

PATIENTS, GENES = 60, 120


def expression(seed, carried=0.0):
    """Normal expression; each gene carries some of one thing that patients differ in."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=PATIENTS)
    table = pd.DataFrame(
        rng.normal(size=(GENES, PATIENTS)) + carried * shared, index=[f"G{one}" for one in range(GENES)]
    )
    return table, pd.Series(shared)


def score(table, genes):
    return mean_score(table, genes, None)["score"]


def judged(table, genes, other, draws=199):
    return among_random_signatures(table, genes, score, lambda own: float(own.corr(other)), draws=draws, seed=1)


def test_a_planted_signature_is_stronger_than_all_random_ones():
    table, outcome = expression(1)
    planted = [f"G{one}" for one in range(10)]
    table.loc[planted] += 0.8 * outcome.to_numpy()

    found = judged(table, planted, outcome)

    assert found.asked > found.upper
    assert found.as_strong <= 2 / 200
    assert found.random.shape == (199,)


def test_a_signature_is_one_of_many_where_every_gene_tells_the_same():
    table, outcome = expression(2, carried=0.8)

    found = judged(table, [f"G{one}" for one in range(10)], outcome)

    assert found.asked > 0.8
    assert found.lower > 0.7
    assert found.as_strong > 0.05


def test_the_share_of_signatures_without_meaning_is_spread_evenly():
    table, outcome = expression(3)

    shares = [
        judged(table, [f"G{one}" for one in range(start, start + 5)], outcome, draws=99).as_strong
        for start in range(0, 120, 10)
    ]

    assert 0.3 < np.mean(shares) < 0.7  # 12 shares, standard error 0.29 / sqrt(12) = 0.08


def test_the_band_is_that_of_the_correlations_of_means_of_independent_genes():
    table, outcome = expression(4)

    found = judged(table, ["G0", "G1", "G2"], outcome, draws=999)

    # a correlation of 60 patients by chance: standard error 1 / sqrt(59)
    assert found.upper == pytest.approx(1.96 / np.sqrt(59), abs=0.05)
    assert found.lower == pytest.approx(-1.96 / np.sqrt(59), abs=0.05)


def test_the_seed_decides():
    table, outcome = expression(5)

    np.testing.assert_array_equal(judged(table, ["G0"], outcome).random, judged(table, ["G0"], outcome).random)


def test_signatures_that_cannot_be_judged_are_refused():
    table, outcome = expression(6)

    with pytest.raises(ValueError, match="gene XIST of the signature is not in the table"):
        judged(table, ["XIST"], outcome)
    with pytest.raises(ValueError, match="120 of 120 genes has no random one"):
        judged(table, table.index.tolist(), outcome)
    with pytest.raises(ValueError, match="99 draws or more, got 10"):
        judged(table, ["G0"], outcome, draws=10)
    with pytest.raises(ValueError, match="the association of 1 of 100 signatures is no number"):
        among_random_signatures(
            table,
            ["G0", "G1"],
            lambda values, genes: score(values, genes) * (np.nan if genes == ["G0", "G1"] else 1.0),
            lambda own: float(own.corr(outcome)),
            draws=99,
            seed=0,
        )
