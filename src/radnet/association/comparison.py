"""Groups of patients compared in every variable of a table."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from radnet.association.category_comparison import chi_square, fisher
from radnet.association.effect import Effect, untold
from radnet.association.mean_comparison import student, welch
from radnet.association.rank_comparison import kruskal, mann_whitney
from radnet.association.side_by_side import numbers, refuse_other_patients
from radnet.association.table import Association

FEWEST_PER_GROUP = 5
"""Patients without whom a group is not compared."""

Test = Callable[[Sequence[ArrayLike]], Effect]
TESTS: Mapping[str, Callable[..., Effect]] = {
    "mann_whitney": mann_whitney,
    "welch": welch,
    "student": student,
    "kruskal": kruskal,
    "fisher": fisher,
    "chi_square": chi_square,
}
"""Tests by name: of two groups by ranks or means, of several by ranks, of a category in two groups or in several."""

_MEASURES = {
    "mann_whitney": "auc",
    "welch": "mean_difference",
    "student": "hedges_g",
    "kruskal": "epsilon_squared",
    "fisher": "odds_ratio",
    "chi_square": "cramers_v",
}
_OF_TWO = ("mann_whitney", "welch", "student", "fisher")
_OF_CATEGORIES = ("fisher", "chi_square")


def compare(
    values: pd.DataFrame,
    group: pd.Series,
    groups: Sequence[object],
    test: str,
    *,
    level: float = 0.95,
    seed: int | None = None,
) -> list[Association]:
    """Return how groups differ in each variable: effect with interval, and test.

    Patients of no group named are left out. A variable that fewer than five patients of a group have is a row without
    numbers, with its reason.

    Args:
        values: A row per patient, a column per variable, numbers or for ``fisher`` and ``chi_square`` categories.
        group: Group of each patient, the same patients in any order; its name is that of the grouping.
        groups: The groups compared, in order: effects of two are those of the first against the second.
        test: One of ``TESTS``.
        level: Coverage of the intervals.
        seed: Of the bootstrap behind ``kruskal``'s intervals; the others draw nothing and take none.

    Raises:
        TableFault: If the tables are not of the same patients, or hold what the test cannot take.
        ValueError: If the test is unknown, is of two groups and more are named, or draws and has no seed; if a group
            has fewer than five patients.

    Example:
        >>> patients = [f"P{one}" for one in range(10)]
        >>> cells = pd.DataFrame({"CD8": range(10)}, index=patients)
        >>> group = pd.Series(["low"] * 5 + ["high"] * 5, index=patients, name="score")
        >>> [row] = compare(cells, group, ["high", "low"], "mann_whitney")
        >>> row.x, row.counts, row.effect.value
        ('score: high vs low', 'high 5, low 5', 1.0)
    """
    measured = _test_named(test, groups, level, seed)
    refuse_other_patients([("values", values.index), ("group", group.index)])
    table = values if test in _OF_CATEGORIES else numbers(values, "values")
    table = table.loc[group.index]
    members = [(group == one).to_numpy(dtype=bool, na_value=False) for one in groups]
    sizes = {str(one): int(who.sum()) for one, who in zip(groups, members, strict=True)}
    if few := [f"{one} has {size}" for one, size in sizes.items() if size < FEWEST_PER_GROUP]:
        raise ValueError(
            f"grouping {group.name}: a group is compared from {FEWEST_PER_GROUP} patients on, but {', '.join(few)}: "
            "join groups, or relate the variables to the score itself"
        )
    joint = " vs " if len(groups) == 2 else ", "
    x = f"{group.name}: {joint.join(sizes)}"
    rows = []
    for name, column in table.items():
        parts = [column[who].dropna() for who in members]
        n = sum(map(len, parts))
        counts = ", ".join(f"{one} {len(part)}" for one, part in zip(sizes, parts, strict=True))
        rows.append(Association(x, str(name), n, sum(sizes.values()) - n, _measured(measured, test, parts), counts))
    return rows


def _test_named(test: str, groups: Sequence[object], level: float, seed: int | None) -> Test:
    if test not in TESTS:
        raise ValueError(f"groups are compared by one of {', '.join(TESTS)}, got {test!r}")
    if len(set(groups)) != len(groups) or len(groups) < 2:
        raise ValueError(f"a comparison needs two different groups or more, got {list(groups)}")
    if test in _OF_TWO and len(groups) > 2:
        raise ValueError(f"{test} compares two groups, got {len(groups)}: take kruskal or chi_square, or compare pairs")
    if test != "kruskal":
        return partial(TESTS[test], level=level)
    if seed is None:
        raise ValueError("kruskal draws patients for its intervals and needs a seed")
    return partial(TESTS[test], level=level, seed=seed)


def _measured(measured: Test, test: str, parts: Sequence[pd.Series]) -> Effect:
    smallest = min(map(len, parts))
    if smallest < FEWEST_PER_GROUP:
        return untold(
            _MEASURES[test], test, f"a group has {smallest} patients with a value, {FEWEST_PER_GROUP} are needed"
        )
    return measured([np.asarray(part) for part in parts])
