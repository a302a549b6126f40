"""How far splits or centres lie apart in what patients were like: standardised mean differences."""

from collections.abc import Sequence
from itertools import combinations
from math import nan, sqrt

import numpy as np
import pandas as pd

from radnet.evaluation.baseline.table_one import described, is_measured, level_counts, split_by
from radnet.evaluation.discrimination import Floats
from radnet.evaluation.regression.design import MANY, is_number, levels_of


def balance(table: pd.DataFrame, by: str, *, variables: Sequence[str] | None = None) -> pd.DataFrame:
    """Return how far groups (splits, centres) lie apart in each variable, in standard deviations.

    Unlike a p-value it does not shrink with few patients; beyond 0.1 it is usually called an imbalance.

    Args:
        table: One row per patient; those without a value or a group are left out of that comparison.
        by: Column of the groups.
        variables: Columns to compare; None takes all but ``by`` and ``patient_id``.

    Returns:
        Columns variable, group, versus, smd, n: a row for each variable and pair of groups. A number's difference
        keeps its sign (group minus versus); a category's is a distance. NaN where nobody differs or nobody is known.

    References:
        Austin. Stat Med 2009;28:3083-3107. Yang, Dalton. SAS Global Forum 2012, paper 335 (categories).
    """
    groups = split_by(table, by)
    rows = []
    for variable in described(table, by, variables):
        if not is_number(table[variable]) and table[variable].nunique() > MANY:
            continue
        levels = () if is_measured(table[variable]) else levels_of(table[variable])
        for (name, one), (other_name, other) in combinations(groups.items(), 2):
            known, known_other = one[variable].dropna(), other[variable].dropna()
            if not len(known) or not len(known_other):
                smd = nan
            elif levels:
                smd = smd_of_shares(level_counts(known, levels), level_counts(known_other, levels))
            else:
                smd = smd_of_means(known.to_numpy(dtype=float), known_other.to_numpy(dtype=float))
            found = {"variable": variable, "group": name, "versus": other_name, "smd": smd}
            rows.append({**found, "n": len(known) + len(known_other)})
    return pd.DataFrame(rows, columns=["variable", "group", "versus", "smd", "n"])


def smd_of_means(first: Floats, second: Floats, *, pooled: bool = False) -> float:
    """Return the difference of two means in standard deviations; NaN where nobody differs.

    Args:
        first: Values of a group, shape (n,).
        second: Values of the other, shape (m,).
        pooled: Weigh the two variances by n - 1 (Cohen's d), else average them (R's ``tableone``).
    """
    if min(first.size, second.size) < 2:
        return nan
    weight = (first.size - 1) / (first.size + second.size - 2) if pooled else 0.5
    variance = weight * first.var(ddof=1) + (1 - weight) * second.var(ddof=1)
    return float((first.mean() - second.mean()) / sqrt(variance)) if variance > 0 else nan


def smd_of_shares(first: Floats, second: Floats) -> float:
    """Return the distance of two groups' shares of levels in standard deviations; counts of shape (k,)."""
    share, other = first / first.sum(), second / second.sum()
    if share.size < 2:
        return nan
    away = (share - other)[1:]
    covariance = sum(np.diag(p[1:]) - np.outer(p[1:], p[1:]) for p in (share, other)) / 2
    return float(sqrt(max(0.0, away @ np.linalg.pinv(covariance) @ away)))
