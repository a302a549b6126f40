"""The table of associations: a row per pair and measure, whatever test it came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from radnet.association.effect import Effect
from radnet.association.multiplicity import q_values

COLUMNS = (
    "x",
    "y",
    "level",
    "n",
    "missing",
    "counts",
    "measure",
    "effect",
    "lower",
    "upper",
    "statistic",
    "p_value",
    "q_value",
    "family",
    "method",
    "flag",
)
"""Columns of ``associations.parquet``."""


@dataclass(frozen=True, slots=True)
class Association:
    """How one thing goes along with another, among how many.

    Attributes:
        x: The one: a feature, a score, a grouping with its groups.
        y: The other: a gene set, a cell fraction, an endpoint.
        n: Patients, or lesions, with both (of an enrichment: genes of the set that were ranked).
        missing: Those left out because a value is missing (of an enrichment: genes that were not ranked).
        effect: The effect.
        counts: What ``n`` is made of: ``high 21, low 22``, ``50 events``; empty if of nothing.
        level: Whether a patient counts once, or a lesion.
    """

    x: str
    y: str
    n: int
    missing: int
    effect: Effect
    counts: str = ""
    level: Literal["patient", "lesion"] = "patient"

    def __post_init__(self) -> None:
        if self.n < 0 or self.missing < 0:
            raise ValueError(f"{self.x} and {self.y}: counts are 0 or more, got n {self.n}, missing {self.missing}")


def associations(families: Mapping[str, Sequence[Association]]) -> pd.DataFrame:
    """Return the table of associations of several families, q-values within each.

    Args:
        families: Name of each family of tests, as declared before they were made, and its associations.

    Returns:
        A row per association in the given order, with ``COLUMNS``.

    Raises:
        ValueError: If a family holds the same pair, measure and method twice: it would count as two tests.

    References:
        Benjamini, Hochberg. J R Stat Soc B 1995;57:289-300.
    """
    for name, members in families.items():
        seen: set[tuple[str, str, str, str]] = set()
        for one in members:
            key = (one.x, one.y, one.effect.measure, one.effect.method)
            if key in seen:
                raise ValueError(f"family {name}: {one.x} and {one.y} stand twice ({one.effect.method}): keep one")
            seen.add(key)
    rows = [_row(name, one) for name, members in families.items() for one in members]
    table = pd.DataFrame(rows, columns=[column for column in COLUMNS if column != "q_value"])
    table["q_value"] = q_values(table["p_value"], table["family"])
    return table[list(COLUMNS)]


def _row(family: str, one: Association) -> dict[str, object]:
    return {
        "x": one.x,
        "y": one.y,
        "level": one.level,
        "n": one.n,
        "missing": one.missing,
        "counts": one.counts,
        "measure": one.effect.measure,
        "effect": one.effect.value,
        "lower": one.effect.lower,
        "upper": one.effect.upper,
        "statistic": one.effect.statistic,
        "p_value": one.effect.p_value,
        "family": family,
        "method": one.effect.method,
        "flag": one.effect.flag,
    }
