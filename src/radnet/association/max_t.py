"""A family of correlations, the strongest judged against the strongest that chance alone would show."""

import numpy as np
import pandas as pd

from radnet.association.correlation import Correlation, Floats, coefficients
from radnet.association.side_by_side import numbers, refuse_other_patients


def max_t_p_values(
    x: pd.DataFrame, y: pd.DataFrame, method: Correlation, *, permutations: int, seed: int
) -> pd.DataFrame:
    """Return p-values of every correlation of two tables, adjusted for all of them at once.

    The patients of ``y`` are shuffled, whole rows together, so that variables of a table stay correlated with one
    another as they are; each time the largest |t| of the family is kept. A pair's p-value is the share of these at
    least as large as its own |t|, itself counted in. It bounds the chance of any false finding in the family, without
    the waste of Bonferroni where variables repeat one another.

    Args:
        x: A row per patient, a column of numbers per variable; NaN where missing. Pairs use the patients with both.
        y: Likewise, of the same patients in any order.
        method: ``spearman`` or ``pearson``.
        permutations: How often to shuffle, 99 or more.
        seed: Of the shuffling.

    Returns:
        Adjusted p-values, variables of ``x`` by variables of ``y``; NaN where a correlation cannot be told.

    Raises:
        TableFault: If the tables are not of the same patients, or hold what is no number.
        ValueError: If fewer than 99 permutations are asked for: p could not fall to 0.01.

    References:
        Westfall, Young. Resampling-based multiple testing. Wiley 1993, section 2.6 (single-step maxT).
        Phipson, Smyth. Stat Appl Genet Mol Biol 2010;9:39 (why the pair itself is counted in).
    """
    if permutations < 99:
        raise ValueError(f"p-values by permutation need 99 permutations or more, got {permutations}")
    refuse_other_patients([("x", x.index), ("y", y.index)])
    first, second = numbers(x, "x").to_numpy(), numbers(y, "y").loc[x.index].to_numpy()
    rng = np.random.default_rng(seed)
    seen = _distance(first, second, method)
    as_large = np.ones(seen.shape)
    for _ in range(permutations):
        by_chance = _distance(first, second[rng.permutation(len(second))], method)
        as_large += np.nanmax(by_chance, initial=0.0) >= seen * (1 - 1e-9)  # orders that tie must not part by rounding
    p_values = np.where(np.isnan(seen), np.nan, as_large / (permutations + 1))
    return pd.DataFrame(p_values, index=x.columns, columns=y.columns)


def _distance(x: Floats, y: Floats, method: Correlation) -> Floats:
    """Return |t| of every pair: unlike r, it is on one scale where patients with both differ in number."""
    found = coefficients(x, y, method)
    freedom = np.where(found.n > 2, found.n - 2.0, np.nan)
    with np.errstate(divide="ignore"):
        return np.abs(found.r) * np.sqrt(freedom / (1 - found.r**2))
