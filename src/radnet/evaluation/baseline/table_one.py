"""A paper's first table: what patients of each group were like, whether groups differ, and by how much."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import nan
from typing import Literal

import numpy as np
import pandas as pd

from radnet.evaluation.baseline.contingency import chi_square, expected_counts, fisher
from radnet.evaluation.baseline.group_tests import (
    GroupTest,
    anova,
    kruskal_wallis,
    shapiro_wilk,
    t_test,
    wilcoxon,
)
from radnet.evaluation.baseline.multiplicity import Adjustment, adjusted_p_values
from radnet.evaluation.discrimination import Floats
from radnet.evaluation.regression.design import MANY, is_number, level_names, levels_of, refuse_unknown_columns

NumberTest = Literal["wilcoxon", "welch", "student", "shapiro"]
CategoryTest = Literal["expected", "chi_square", "yates", "fisher"]
MISSING = "missing"
"""Level of the rows that count patients without a value, and the column of patients without a group."""

ALL = "all"
"""Column of all patients, those without a group among them."""

_DISTINCT = 2  # a number with no more distinct values than this is a category: 0 and 1 are no, yes


def table_one(
    table: pd.DataFrame,
    by: str,
    *,
    variables: Sequence[str] | None = None,
    number_test: NumberTest = "wilcoxon",
    category_test: CategoryTest = "expected",
    adjust: Adjustment = "none",
    overall: bool = False,
) -> pd.DataFrame:
    """Describe the patients of each group, and test whether groups differ.

    Numbers are told as ``median (first quartile-third quartile)`` where ranks are compared, as ``mean ± SD`` where
    means are; categories as ``count (percent)``, of the patients of the group in whom the value is known. A number
    with at most two values is a category.

    Args:
        table: One row per patient.
        by: Column of the groups.
        variables: Columns to describe, in this order; None takes all but ``by`` and ``patient_id``.
        number_test: ``wilcoxon`` (Kruskal-Wallis for three groups or more), ``welch`` or ``student`` (analysis of
            variance for three or more), or ``shapiro``: Welch's where no group departs from a normal distribution
            at 5 %, else Wilcoxon's.
        category_test: ``chi_square`` (Pearson), ``yates`` (corrected, for 2 × 2 tables), ``fisher``, or ``expected``:
            Pearson's where every expected count is 5 or more or Fisher's would take too long, else Fisher's.
        adjust: How p-values are adjusted for their number, in a further column ``p_adjusted``; ``none`` adds none.
        overall: Describe all patients as well, in a column ``all`` before the groups.

    Returns:
        Columns variable, level, one for each group by its name, test, p_value: first the number of patients, then each
        variable, with its test in its first row, and a row ``missing`` where somebody has no value. Patients
        without a group are counted in a column ``missing``, and not tested. Where there is no test, its column
        says why.

    Raises:
        ValueError: If a column is unknown, or there are fewer than two groups.

    References:
        R's ``wilcox.test``, ``t.test``, ``kruskal.test``, ``oneway.test``, ``chisq.test``, ``fisher.test`` and
        ``p.adjust``.
    """
    chosen = described(table, by, variables)
    refuse_unknown_columns(table, [by, *chosen])
    groups = split_by(table, by)
    if overall and ALL in groups:
        raise ValueError(f"{by}: a group is called {ALL}, which is the column of all patients")
    everyone = ({ALL: table} if overall else {}) | groups
    if table[by].isna().any():
        everyone[MISSING] = table[table[by].isna()]
    rows: list[dict[str, object]] = [
        {"variable": "patients", "level": "n", "test": "", "p_value": nan}
        | {name: str(len(part)) for name, part in everyone.items()}
    ]
    for variable in chosen:
        column = table[variable]
        if is_measured(column):
            rows += _rows_of_number(variable, groups, everyone, number_test)
        elif not is_number(column) and column.nunique() > MANY:
            rows.append(
                {"variable": variable, "level": "", "test": "not tested: text", "p_value": nan}
                | {name: f"{part[variable].nunique()} different" for name, part in everyone.items()}
            )
        else:
            rows += _rows_of_category(variable, column, groups, everyone, category_test)
        if column.isna().any():
            rows.append(
                {"variable": variable, "level": MISSING, "test": "", "p_value": nan}
                | {name: str(int(part[variable].isna().sum())) for name, part in everyone.items()}
            )
    result = pd.DataFrame(rows, columns=["variable", "level", *everyone, "test", "p_value"])
    return result if adjust == "none" else result.assign(p_adjusted=adjusted_p_values(result["p_value"], adjust))


def described(table: pd.DataFrame, by: str, variables: Sequence[str] | None) -> list[str]:
    """Return the columns to describe: those named, or all but the groups and the patients' names."""
    everything = [name for name in table.columns if name not in (by, "patient_id")]
    chosen = everything if variables is None else list(variables)
    refuse_unknown_columns(table, [by, *chosen])
    return chosen


def split_by(table: pd.DataFrame, by: str) -> dict[str, pd.DataFrame]:
    """Return the patients of each group by its name; those without a group are in none."""
    names = level_names(table[by])
    groups = {name: table[names == name] for name in levels_of(table[by])}
    if len(groups) < 2:
        raise ValueError(f"{by}: a comparison needs two groups or more, got {', '.join(groups) or 'none'}")
    taken = sorted({"variable", "level", "test", "p_value", "p_adjusted", MISSING} & set(groups))
    if taken:
        raise ValueError(f"{by}: a group may not be called {', '.join(taken)}, which is a column of the table")
    return groups


def is_measured(column: pd.Series) -> bool:
    """Tell whether a column is described as a number: it holds numbers, and more than two of them."""
    return is_number(column) and column.nunique() > _DISTINCT


def _rows_of_number(
    variable: str, groups: dict[str, pd.DataFrame], everyone: dict[str, pd.DataFrame], number_test: NumberTest
) -> list[dict[str, object]]:
    values = [part[variable].dropna().to_numpy(dtype=float) for part in groups.values()]
    by_rank = number_test == "wilcoxon" or (number_test == "shapiro" and not _all_normal(values))
    tested = _tried(lambda: _compare_ranks(values) if by_rank else _compare_means(values, number_test == "student"))
    cells = {name: _cell(part[variable].dropna().to_numpy(dtype=float), by_rank) for name, part in everyone.items()}
    return [{"variable": variable, "level": "median (IQR)" if by_rank else "mean ± SD"} | tested | cells]


def _rows_of_category(
    variable: str,
    column: pd.Series,
    groups: dict[str, pd.DataFrame],
    everyone: dict[str, pd.DataFrame],
    category_test: CategoryTest,
) -> list[dict[str, object]]:
    levels = levels_of(column)
    counts = np.array([level_counts(part[variable], levels) for part in groups.values()]).T
    tested = _tried(lambda: _compare_shares(counts, category_test))
    untested: dict[str, object] = {"test": "", "p_value": nan}
    rows = []
    for place, level in enumerate(levels):
        cells: dict[str, object] = {}
        for name, part in everyone.items():
            of_level = level_counts(part[variable], levels)
            total = of_level.sum()
            cells[name] = f"{of_level[place]:.0f} ({100 * of_level[place] / total:.1f} %)" if total else "0"
        rows.append({"variable": variable, "level": level} | (tested if place == 0 else untested) | cells)
    return rows


def _compare_ranks(values: list[Floats]) -> GroupTest:
    return wilcoxon(values[0], values[1]) if len(values) == 2 else kruskal_wallis(values)


def _compare_means(values: list[Floats], equal_variance: bool) -> GroupTest:
    if len(values) == 2:
        return t_test(values[0], values[1], equal_variance=equal_variance)
    return anova(values, equal_variance=equal_variance)


def _compare_shares(counts: Floats, category_test: CategoryTest) -> GroupTest:
    if min(counts.shape) < 2 or (counts.sum(axis=0) == 0).any() or (counts.sum(axis=1) > 0).sum() < 2:
        raise ValueError("two levels and two groups with patients are needed")
    if category_test == "fisher":
        return fisher(counts)
    pearson = chi_square(counts, correct=category_test == "yates")
    if category_test != "expected" or (expected_counts(counts) >= 5).all():
        return pearson
    try:
        return fisher(counts)
    except ValueError:
        return replace(pearson, name="χ², though counts below 5 are expected: too many tables for Fisher")


def _all_normal(values: list[Floats]) -> bool:
    return all(part.size >= 3 and np.ptp(part) > 0 and shapiro_wilk(part).p_value >= 0.05 for part in values)


def _tried(test: Callable[[], GroupTest]) -> dict[str, object]:
    try:
        done = test()
    except ValueError as fault:
        return {"test": f"not tested: {fault}", "p_value": nan}
    return {"test": done.name, "p_value": done.p_value}


def level_counts(column: pd.Series, levels: Sequence[str]) -> Floats:
    """Count the patients of each level, shape (k,)."""
    names = level_names(column)
    return np.array([float((names == level).sum()) for level in levels])


def _cell(values: Floats, by_rank: bool) -> str:
    if not values.size:
        return ""
    if by_rank:
        low, middle, high = map(_short, np.quantile(values, [0.25, 0.5, 0.75]))
        return f"{middle} ({low}-{high})"
    return f"{_short(values.mean())} ± {_short(values.std(ddof=1))}" if values.size > 1 else _short(values.mean())


def _short(number: float) -> str:
    """Return four digits, or all before the point: volumes in mm³ are read without powers of ten."""
    return f"{number:.0f}" if 1e3 <= abs(number) < 1e9 else f"{number:.4g}"
