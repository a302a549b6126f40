"""Gene sets in a ranked list of genes: preranked gene set enrichment."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radnet.association.effect import Effect, untold
from radnet.association.side_by_side import listed, numbers
from radnet.association.table import Association

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

_AT_ONCE = 4_000_000  # genes drawn at once
_ROUNDING = 1e-9  # scores that are equal must not part by it


def prerank(
    ranking: pd.Series,
    gene_sets: Mapping[str, Sequence[str]],
    *,
    permutations: int = 1000,
    seed: int,
    weight: float = 1.0,
    smallest: int = 15,
    largest: int = 500,
) -> list[Association]:
    """Return how far the genes of each set stand at one end of a ranking: normalised enrichment score and p-value.

    Chance is as many genes drawn at random from the ranking, ``permutations`` times for each size of set. That takes
    genes to vary on their own, which genes of a pathway do not: p-values are optimistic, and a finding is to be
    confirmed in other patients. The p-value counts drawn scores of the same sign that are at least as far from 0, the
    set's own with them; the normalised score (NES) divides by their mean. There is no interval.

    Args:
        ranking: Score of each gene (a correlation, a t, a log fold change): high = towards the top. Its name is that of
            what genes were ranked by. Equal scores stand by the genes' names.
        gene_sets: Genes of each set; a gene named twice counts once.
        permutations: Sets drawn for each size, 100 or more.
        seed: Of the drawing; a set's result does not depend on which other sets are asked for.
        weight: Power of |score| by which a gene of the set counts; 0 is Kolmogorov and Smirnov's statistic.
        smallest: Fewest genes of a set in the ranking; a smaller set is a row without numbers.
        largest: Most.

    Returns:
        A row per set: ``n`` genes ranked, ``missing`` genes not ranked, effect NES (measure ``nes``), statistic ES.

    Raises:
        TableFault: If a gene stands twice, or a score is no finite number.
        ValueError: If a score is missing, or fewer than 100 permutations are asked for.

    References:
        Subramanian et al. Proc Natl Acad Sci USA 2005;102:15545-15550, and appendix. Mootha et al. Nat Genet
        2003;34:267-273. Goeman, Bühlmann. Bioinformatics 2007;23:980-987 (what drawing genes takes for granted).
    """
    if permutations < 100:
        raise ValueError(f"an enrichment needs 100 permutations or more, got {permutations}")
    ranked = _ranked(ranking)
    weights = np.abs(ranked.to_numpy()) ** weight
    drawn: dict[int, Floats] = {}
    rows = []
    for name, asked in gene_sets.items():
        places, absent = _places(ranked, asked)
        size = places.size
        if not smallest <= size <= largest or size == len(ranked):
            why = f"{size} genes of the set are ranked: a set of {smallest} to {largest}, and others beside, is needed"
            effect = untold("nes", "preranked", why)
        elif not weights[places].any():
            effect = untold("nes", "preranked", "every gene of the set has score 0")
        else:
            if size not in drawn:
                drawn[size] = _drawn_scores(weights, size, permutations, np.random.default_rng([seed, size]))
            effect = _effect(float(_scores(weights, places[None, :])[0]), drawn[size])
        rows.append(Association(str(ranking.name), str(name), size, absent, effect))
    return rows


def enrichment_score(ranking: pd.Series, genes: Sequence[str], weight: float = 1.0) -> float:
    """Return the enrichment score of a set: how far its walk along the ranking strays from 0, between −1 and 1.

    Args:
        ranking: Score of each gene.
        genes: The set; those not ranked are left out.
        weight: See ``prerank``.

    Example:
        >>> ranking = pd.Series([4.0, 3.0, -1.0, -2.0], index=list("ABCD"))
        >>> enrichment_score(ranking, ["A", "B"]), enrichment_score(ranking, ["A", "D"], weight=0)
        (1.0, 0.5)
    """
    ranked = _ranked(ranking)
    places = _checked_places(ranked, genes)
    return float(_scores(np.abs(ranked.to_numpy()) ** weight, places[None, :])[0])


def leading_edge(ranking: pd.Series, genes: Sequence[str], weight: float = 1.0) -> list[str]:
    """Return the genes of a set up to where its walk is farthest from 0, from the end of the ranking it leans to.

    Args:
        ranking: Score of each gene.
        genes: The set; those not ranked are left out.
        weight: See ``prerank``.
    """
    ranked = _ranked(ranking)
    places = _checked_places(ranked, genes)
    after, before = _walk(np.abs(ranked.to_numpy()) ** weight, places[None, :])
    names = ranked.index[places].tolist()
    top, bottom = int(after[0].argmax()), int(before[0].argmin())
    return names[: top + 1] if after[0, top] >= -before[0, bottom] else names[bottom:][::-1]


def _ranked(ranking: pd.Series) -> pd.Series:
    scores = numbers(ranking.to_frame("score"), f"ranking {ranking.name}")["score"]
    if (lacking := scores.isna()).any():
        raise ValueError(f"ranking {ranking.name}: gene {listed(scores.index[lacking])} has no score: leave it out")
    return scores.sort_index().sort_values(ascending=False, kind="stable")


def _places(ranked: pd.Series, asked: Sequence[str]) -> tuple[Places, int]:
    """Return where the genes of a set stand, from the top, and how many do not."""
    genes = pd.Index(dict.fromkeys(asked))
    found = ranked.index.isin(genes)
    return np.flatnonzero(found), len(genes) - int(found.sum())


def _checked_places(ranked: pd.Series, genes: Sequence[str]) -> Places:
    places, _ = _places(ranked, genes)
    if not 0 < places.size < len(ranked):
        raise ValueError(f"an enrichment score is of some of the {len(ranked)} genes ranked, got {places.size} of them")
    if not ranked.iloc[places].any():
        raise ValueError("an enrichment score needs a gene of the set whose score is not 0")
    return places


def _walk(weights: Floats, places: Places) -> tuple[Floats, Floats]:
    """Return the walk just after and just before each gene of s sets of one size k, shape (s, k).

    Args:
        weights: Of the genes, from the top, shape (genes,).
        places: Of each set's genes, rising, shape (s, k).
    """
    size = places.shape[1]
    gained = np.cumsum(weights[places], axis=1)
    with np.errstate(invalid="ignore"):
        gained = gained / gained[:, -1:]
    lost = (places - np.arange(size)) / (len(weights) - size)
    before = np.concatenate([np.zeros((len(places), 1)), gained[:, :-1]], axis=1) - lost
    return gained - lost, before


def _scores(weights: Floats, places: Places) -> Floats:
    after, before = _walk(weights, places)
    top, bottom = after.max(axis=1), before.min(axis=1)
    return np.where(top >= -bottom, top, bottom)


def _drawn_scores(weights: Floats, size: int, draws: int, rng: np.random.Generator) -> Floats:
    """Return the scores of sets drawn at random; one whose genes all weigh 0 has none."""
    step = max(1, _AT_ONCE // len(weights))
    scores = []
    for start in range(0, draws, step):
        order = rng.random((min(step, draws - start), len(weights)))
        places = np.sort(np.argpartition(order, size - 1, axis=1)[:, :size], axis=1)
        scores.append(_scores(weights, places))
    drawn = np.concatenate(scores)
    return drawn[np.isfinite(drawn)]


def _effect(score: float, drawn: Floats) -> Effect:
    alike = np.abs(drawn[drawn >= 0] if score >= 0 else drawn[drawn < 0])
    method = f"preranked, {drawn.size} sets drawn"
    p_value = float((1 + (alike >= abs(score) * (1 - _ROUNDING)).sum()) / (1 + alike.size))
    if not alike.size or alike.mean() == 0:
        return untold("nes", method, "no set drawn leans to this end of the ranking")
    return Effect("nes", method, score / float(alike.mean()), statistic=score, p_value=p_value)
