"""A gene signature beside random ones of equal size: what any handful of genes would show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radnet.association.side_by_side import listed, numbers

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AmongRandom:
    """How a signature's association stands among those of random signatures of its size.

    Attributes:
        asked: The signature's own association.
        random: Those of the random signatures, shape (draws,).
        lower: Lower bound of the band in which 95 % of the random ones lie.
        upper: Upper bound.
        as_strong: Share of signatures at least as far from 0 as the one asked, itself counted in: a p-value.
    """

    asked: float
    random: Floats
    lower: float
    upper: float
    as_strong: float


def among_random_signatures(
    expression: pd.DataFrame,
    genes: Sequence[str],
    score: Callable[[pd.DataFrame, Sequence[str]], pd.Series],
    association: Callable[[pd.Series], float],
    *,
    draws: int,
    seed: int,
) -> AmongRandom:
    """Return a signature's association with something, and those of random signatures of as many genes.

    Where a large part of all genes goes along with proliferation, or with the share of tumour cells, most random
    signatures are associated with outcome: a p-value against no association then says nothing of the signature asked.

    Args:
        expression: A row per gene, a column per patient. Random signatures are drawn from all of its genes, without
            replacement, those of the signature asked among them.
        genes: The signature; every gene must be in the table, and one named twice counts once.
        score: Gives each patient the score of a signature; called with ``expression`` and the genes.
        association: Gives the signed strength of a score's association, 0 for none: a correlation, a log hazard ratio.
        draws: Random signatures, 99 or more.
        seed: Of the drawing.

    Raises:
        ValueError: If a gene is not in the table, the signature holds all of it, draws are too few, or an association
            cannot be told.

    References:
        Venet, Dumont, Detours. PLoS Comput Biol 2011;7:e1002240.
    """
    if draws < 99:
        raise ValueError(f"a band of random signatures needs 99 draws or more, got {draws}")
    names = numbers(expression, "expression").index
    asked_for = pd.Index(dict.fromkeys(genes))
    if len(absent := asked_for[~asked_for.isin(names)]):
        raise ValueError(f"gene {listed(absent)} of the signature is not in the table: leave it out, or say its alias")
    if not 0 < len(asked_for) < len(names):
        raise ValueError(f"a signature of {len(asked_for)} of {len(names)} genes has no random one to stand beside")
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(len(names), len(asked_for), replace=False) for _ in range(draws)]
    asked = association(score(expression, list(asked_for)))
    random = np.array([association(score(expression, names[places].tolist())) for places in drawn])
    if untold := int((~np.isfinite(random)).sum() + (not np.isfinite(asked))):
        raise ValueError(f"the association of {untold} of {draws + 1} signatures is no number: are scores constant?")
    lower, upper = np.quantile(random, [0.025, 0.975])
    as_strong = (1 + int((np.abs(random) >= abs(asked)).sum())) / (1 + draws)
    return AmongRandom(float(asked), random, float(lower), float(upper), as_strong)
