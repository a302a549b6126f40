"""Columns of a model from columns of a clinical table: numbers as they are, categories against their first level."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radnet.evaluation.discrimination import Floats
from radnet.tables import did_you_mean

MANY = 30
"""A text with more values than this is a name or a remark, not a category."""


@dataclass(frozen=True, slots=True)
class Design:
    """Covariates of a model.

    Attributes:
        X: Shape (n, p).
        names: Name of each column: the variable, or ``variable=level``.
        of: The table's column that each comes from.
        levels: The levels of each categorical variable, its reference first.
    """

    X: Floats
    names: tuple[str, ...]
    of: tuple[str, ...]
    levels: dict[str, tuple[str, ...]]

    def without(self, variable: str) -> "Design":
        """Return the design without the columns of a variable."""
        kept = [index for index, name in enumerate(self.of) if name != variable]
        return Design(
            self.X[:, kept],
            tuple(self.names[index] for index in kept),
            tuple(self.of[index] for index in kept),
            {name: levels for name, levels in self.levels.items() if name != variable},
        )


def design(table: pd.DataFrame, variables: Sequence[str]) -> Design:
    """Code variables as a model needs them: a number is one column, a category one per level but the reference.

    The reference is the first level: of a pandas categorical in its order, else in sorted order. A level that nobody
    has is left out. True is one level, so a boolean gives the column ``variable=True``.

    Args:
        table: One row per patient, complete in these variables.
        variables: Columns to use.
    """
    refuse_unknown_columns(table, variables)
    columns: list[Floats] = []
    names: list[str] = []
    of: list[str] = []
    levels: dict[str, tuple[str, ...]] = {}
    for variable in variables:
        values = table[variable]
        if values.isna().any():
            raise ValueError(f"{variable}: {int(values.isna().sum())} of {len(values)} values are missing")
        if is_number(values):
            columns.append(values.to_numpy(dtype=float))
            names.append(variable)
            of.append(variable)
            continue
        levels[variable] = levels_of(values)
        text = level_names(values)
        for level in levels[variable][1:]:
            columns.append((text == level).to_numpy(dtype=float))
            names.append(f"{variable}={level}")
            of.append(variable)
    X = np.column_stack(columns) if columns else np.zeros((len(table), 0))
    return Design(X, tuple(names), tuple(of), levels)


def is_number(values: pd.Series) -> bool:
    """Tell whether a column holds numbers rather than categories (text, booleans, pandas categoricals)."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def level_names(values: pd.Series) -> pd.Series:
    """Return the level of each row as text; whole numbers without a decimal point, a missing value as None."""
    return values.map(_level_name, na_action="ignore").astype(object)


def levels_of(values: pd.Series) -> tuple[str, ...]:
    """Return the levels that somebody has, in the order of a pandas categorical or sorted."""
    there = values.dropna()
    if isinstance(values.dtype, pd.CategoricalDtype):
        present = set(there)
        return tuple(_level_name(level) for level in values.cat.categories if level in present)
    try:
        return tuple(_level_name(level) for level in sorted(there.unique()))
    except TypeError:  # text beside numbers has no order of its own
        return tuple(sorted({_level_name(level) for level in there}))


def refuse_unknown_columns(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise a ``ValueError`` that names the columns a table lacks, each with the nearest there is."""
    unknown = [name for name in dict.fromkeys(columns) if name not in table.columns]
    if unknown:
        known = [str(name) for name in table.columns]
        raise ValueError("\n".join(f"the table has no column {name}; {did_you_mean(name, known)}" for name in unknown))


def with_categories(table: pd.DataFrame, categorical: Sequence[str], reference: Mapping[str, str]) -> pd.DataFrame:
    """Return a table in which some columns are categories, coded numbers among them.

    Args:
        table: One row per patient.
        categorical: Columns to take as categories; their levels stay in the order of ``levels_of``.
        reference: Column to the level the others are compared with; such a column is a category, too.

    Raises:
        ValueError: If a column or a level is unknown.
    """
    refuse_unknown_columns(table, [*categorical, *reference])
    coded: dict[str, pd.Categorical] = {}
    for name in dict.fromkeys([*categorical, *reference]):
        levels = levels_of(table[name])
        first = reference.get(name, levels[0] if levels else "")
        if name in reference and first not in levels:
            raise ValueError(f"{name} has no level {first}; {did_you_mean(first, levels)}")
        ordered = [first, *(level for level in levels if level != first)] if levels else []
        coded[name] = pd.Categorical(level_names(table[name]), categories=ordered)
    return table.assign(**coded)


def _level_name(level: object) -> str:
    whole = isinstance(level, float) and level.is_integer()
    return str(int(level)) if whole else str(level)  # type: ignore[call-overload]
