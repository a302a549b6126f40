"""Preranked enrichment: a hand case, the walk gene by gene, every set of few genes, and laws."""

import doctest
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from oracle import close
from radnet.association import prerank as module
from radnet.association.prerank import enrichment_score, leading_edge, prerank


def ranking(seed, genes=60):
    scores = np.random.default_rng(seed).normal(size=genes)
    return pd.Series(scores, index=[f"G{one:03d}" for one in range(genes)], name="score")


def walked(scores, members, weight):
    """The definition of 2005, gene by gene: the deviation from 0 that is farthest."""
    scores = scores.sort_values(ascending=False)
    total = sum(abs(score) ** weight for gene, score in scores.items() if gene in members)
    running = farthest = 0.0
    for gene, score in scores.items():
        running += abs(score) ** weight / total if gene in members else -1 / (len(scores) - len(members))
        if abs(running) > abs(farthest) + 1e-12:
            farthest = running
    return farthest


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(6))
def test_the_score_is_that_of_the_walk_gene_by_gene(seed, weight):
    scores = ranking(seed)
    members = np.random.default_rng(seed + 100).choice(scores.index, 9, replace=False).tolist()

    assert enrichment_score(scores, members, weight) == pytest.approx(walked(scores, members, weight), abs=1e-12)


def test_a_score_by_hand():
    scores = pd.Series([5.0, 3.0, 2.0, 1.0, -1.0, -4.0], index=list("ABCDEF"))

    # up by 5/9 at A and by 4/9 at F, down by 1/4 at B, C, D and E
    assert enrichment_score(scores, ["A", "F"]) == pytest.approx(5 / 9)
    assert enrichment_score(scores, ["E", "F"]) == pytest.approx(-1.0)
    assert enrichment_score(scores, ["B", "C"]) == pytest.approx(1 - 1 / 4)
    assert leading_edge(scores, ["B", "C", "E"]) == ["B", "C"]
    assert leading_edge(scores, ["D", "E", "F"]) == ["F", "E", "D"]


def test_a_ranking_turned_round_turns_the_score_and_the_leading_edge():
    scores = ranking(1)
    members = scores.sort_values().index[:8].tolist() + scores.sort_values().index[30:32].tolist()

    assert enrichment_score(-scores, members) == pytest.approx(-enrichment_score(scores, members))
    assert leading_edge(-scores, members) == leading_edge(scores, members)


def test_p_values_and_normalised_scores_near_those_of_every_set_of_three_of_twelve_genes():
    scores = ranking(2, genes=12)
    members = scores.sort_values(ascending=False).index[[0, 1, 5]].tolist()
    every = np.array([walked(scores, set(one), 1.0) for one in combinations(scores.index, 3)])
    score = walked(scores, members, 1.0)
    alike = every[every >= 0]

    [row] = prerank(scores, {"set": members}, permutations=8000, seed=1, smallest=2)

    share = np.mean(alike >= score - 1e-12)
    assert row.effect.statistic == pytest.approx(score)
    assert row.effect.p_value == pytest.approx(share, abs=4 * np.sqrt(share / 4000) + 1 / 4000)
    assert row.effect.value == pytest.approx(score / alike.mean(), rel=0.02)


def test_a_planted_set_is_found_at_its_end_and_p_values_of_random_sets_are_spread_evenly():
    scores = ranking(3, genes=800)
    order = scores.sort_values(ascending=False).index
    rng = np.random.default_rng(0)
    sets = {f"random {one}": rng.choice(order, 25, replace=False).tolist() for one in range(200)}
    sets |= {"up": order[:100:4].tolist(), "down": order[-100::4].tolist()}

    rows = {one.y: one.effect for one in prerank(scores, sets, permutations=500, seed=1)}

    assert rows["up"].value > 1.8
    assert rows["down"].value < -1.8
    assert max(rows["up"].p_value, rows["down"].p_value) < 0.02
    by_chance = np.array([effect.p_value for name, effect in rows.items() if name.startswith("random")])
    assert 0.4 < by_chance.mean() < 0.6  # standard error 0.29 / sqrt(200) = 0.02
    assert (by_chance < 0.05).mean() < 0.12


def test_a_set_has_the_same_result_whichever_others_are_asked_for():
    scores = ranking(4)
    sets = {"a": scores.index[:20].tolist(), "b": scores.index[10:30].tolist(), "c": scores.index[5:21].tolist()}

    together = prerank(scores, sets, permutations=100, seed=3)

    assert prerank(scores, {"b": sets["b"]}, permutations=100, seed=3) == [together[1]]
    assert prerank(scores.sample(frac=1, random_state=1), sets, permutations=100, seed=3) == together


def test_genes_not_ranked_are_counted_and_sets_too_small_say_so():
    scores = ranking(5)
    sets = {"found": [*scores.index[:16], "XIST", "XIST"], "small": ["G001", "XIST"], "all": scores.index.tolist()}

    found, small, every = prerank(scores, sets, permutations=100, seed=0)

    assert (found.x, found.y, found.n, found.missing) == ("score", "found", 16, 1)
    assert (small.n, small.missing) == (1, 1)
    assert "1 genes of the set are ranked: a set of 15 to 500" in small.effect.flag
    assert np.isnan(every.effect.value)


def test_genes_of_equal_score_stand_by_their_names():
    scores = pd.Series(np.repeat([2.0, 1.0, -1.0], 10), index=[f"G{one:02d}" for one in range(30)], name="score")

    shuffled = scores.sample(frac=1, random_state=2)

    assert enrichment_score(shuffled, ["G00", "G01"]) == enrichment_score(scores, ["G00", "G01"]) == 1.0


def test_a_set_whose_genes_all_score_zero_is_untold():
    scores = ranking(6)
    scores.iloc[:20] = 0.0

    [row] = prerank(scores, {"zeros": scores.index[:20].tolist()}, permutations=100, seed=0)

    assert row.effect.flag == "every gene of the set has score 0"


def test_rankings_that_cannot_be_are_refused():
    scores = ranking(7)

    with pytest.raises(ValueError, match="gene G002 has no score"):
        prerank(scores.where(scores.index != "G002"), {}, seed=0)
    with pytest.raises(ValueError, match="row G000 stands twice"):
        enrichment_score(pd.concat([scores, scores.iloc[:1]]), ["G001"])
    with pytest.raises(ValueError, match="got 0 of them"):
        enrichment_score(scores, ["XIST"])
    with pytest.raises(ValueError, match="100 permutations or more, got 10"):
        prerank(scores, {}, permutations=10, seed=0)
    close(enrichment_score(scores, scores.index[:-1].tolist()), walked(scores, set(scores.index[:-1]), 1.0))


def test_the_example_runs():
    assert doctest.testmod(module).failed == 0
