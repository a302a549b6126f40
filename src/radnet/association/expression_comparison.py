"""Genes that two groups of patients express differently."""

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radnet.association.comparison import FEWEST_PER_GROUP
from radnet.association.mean_comparison import welch_tests
from radnet.association.multiplicity import q_values
from radnet.association.rank_comparison import rank_sum_tests
from radnet.association.side_by_side import numbers, refuse_other_patients

Floats = NDArray[np.float64]


def compare_expression(
    expression: pd.DataFrame,
    group: pd.Series,
    groups: tuple[object, object],
    test: Literal["welch", "wilcoxon"],
    *,
    least_log2_fold_change: float = 1.0,
    highest_q: float = 0.05,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the log2 fold change of every gene between two groups, its interval, test and q-value.

    Variances are each gene's own: they are not moderated across genes as limma does, which in groups below some ten
    patients finds more. Both tests have Welch's interval of the difference in means.

    Args:
        expression: log2 expression, a row per gene, a column per patient; NaN where missing.
        group: Group of each patient, the same patients in any order; others than the two named are left out.
        groups: A positive fold change is higher in the first than in the second.
        test: ``welch`` of means, or ``wilcoxon`` of ranks (exact below 50 patients a group without ties, else normal).
        least_log2_fold_change: A gene changes if it does by more than this, either way,
        highest_q: and its q-value (Benjamini and Hochberg over all genes) is below this.
        level: Coverage of the intervals.

    Returns:
        A row per gene: ``n``, ``missing``, ``log2_fold_change``, ``lower``, ``upper``, ``statistic`` (t or U),
        ``p_value``, ``q_value``, ``change`` (``up``, ``down`` or empty) and ``flag``, why numbers are missing.

    Raises:
        TableFault: If the tables are not of the same patients, or hold what is no number.
        ValueError: If a group has fewer than five patients, or the test is unknown.

    References:
        Welch. Biometrika 1947;34:28-35. Wilcoxon. Biometrics Bull 1945;1:80-83.
        Benjamini, Hochberg. J R Stat Soc B 1995;57:289-300.
    """
    if test not in ("welch", "wilcoxon"):
        raise ValueError(f"genes are compared by welch or wilcoxon, got {test!r}")
    refuse_other_patients([("expression", expression.columns), ("group", group.index)])
    table = numbers(expression, "expression")[group.index]
    first, second = (table.loc[:, (group == one).to_numpy(dtype=bool, na_value=False)].to_numpy() for one in groups)
    for one, values in zip(groups, (first, second), strict=True):
        if values.shape[1] < FEWEST_PER_GROUP:
            raise ValueError(f"group {one} has {values.shape[1]} patients: {FEWEST_PER_GROUP} or more are compared")
    difference, lower, upper, statistic, p_value = welch_tests(first, second, level)
    if test == "wilcoxon":
        statistic, p_value = _wilcoxon(first, second)
    known = (~np.isnan(first)).sum(axis=1), (~np.isnan(second)).sum(axis=1)
    few = np.minimum(*known) < FEWEST_PER_GROUP
    numbers_of = np.column_stack([difference, lower, upper, statistic, p_value])
    numbers_of[few] = np.nan
    found = pd.DataFrame(
        numbers_of, index=table.index, columns=["log2_fold_change", "lower", "upper", "statistic", "p_value"]
    )
    found.insert(0, "n", known[0] + known[1])
    found.insert(1, "missing", first.shape[1] + second.shape[1] - found["n"])
    found["q_value"] = q_values(found["p_value"], np.full(len(found), "genes"))
    changed = (found["log2_fold_change"].abs() > least_log2_fold_change) & (found["q_value"] < highest_q)
    found["change"] = np.where(~changed, "", np.where(found["log2_fold_change"] > 0, "up", "down"))
    constant = np.where(found["p_value"].isna(), "the values within each group are constant", "")
    found["flag"] = np.where(few, f"a group has fewer than {FEWEST_PER_GROUP} patients with a value", constant)
    return found


def _wilcoxon(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Return U and p-value of each gene: all complete genes at once, the others one by one."""
    statistic, p_value = np.full((2, len(first)), np.nan)
    lacking = np.isnan(first).any(axis=1) | np.isnan(second).any(axis=1)
    if not lacking.all():
        statistic[~lacking], p_value[~lacking], _ = rank_sum_tests(first[~lacking], second[~lacking])
    for gene in np.flatnonzero(lacking):
        one, other = (values[gene][~np.isnan(values[gene])] for values in (first, second))
        if one.size and other.size:
            (statistic[gene],), (p_value[gene],), _ = rank_sum_tests(one[None, :], other[None, :])
    return statistic, p_value
