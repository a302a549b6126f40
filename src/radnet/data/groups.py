"""Patients by their clinical columns: the groups a model is judged within, and those of whom every column is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import pandas as pd

from radnet.cohort import Cohort
from radnet.tables import PREDICTION_COLUMNS, horizon_of

OTHER = "other"
"""Name of the group of patients whose value is not the one asked for."""


@dataclass(frozen=True, slots=True)
class Group:
    """How a column of clinical.csv divides patients; by each value it holds, where neither rule is given.

    Attributes:
        column: Its name.
        at_least: Divides numbers: ``>=10`` and ``<10`` for 10.
        equals: Divides into this value and ``other``.

    Example:
        >>> Group("cps", at_least=10).level(9.5), Group("subtype", equals="TNBC").level("HER2+")
        ('<10', 'other')
        >>> Group("lines").level(2.0)
        '2'
    """

    column: str
    at_least: float | None = None
    equals: str | float | None = None

    def __post_init__(self) -> None:
        faults = []
        if not isinstance(self.column, str) or not self.column:
            faults.append(f"column must name a column of clinical.csv, got {self.column!r}")
        if self.at_least is not None and self.equals is not None:
            faults.append("at_least and equals are two rules: give one of them")
        if self.at_least is not None and not (_is_number(self.at_least) and isfinite(self.at_least)):
            faults.append(f"at_least must be a number, got {self.at_least!r}")
        if self.equals is not None and not (isinstance(self.equals, str) or _is_number(self.equals)):
            faults.append(f"equals must be a text or a number (quote yes, no, true and false), got {self.equals!r}")
        if self.equals == OTHER:
            faults.append(f"equals={OTHER} is the name of all the others: leave equals out to have every value")
        if faults:
            raise ValueError(f"group by {self.column}: {'; '.join(faults)}")

    def level(self, value: float | str | None) -> str | None:
        """Return the name of the group a value falls into; None where the value is not known.

        Raises:
            TypeError: If a text is to be compared with ``at_least``.
        """
        if value is None or pd.isna(value):
            return None
        if self.at_least is not None:
            if isinstance(value, str):
                raise TypeError(f"{self.column} is {value!r}, expected a number to compare with {self.at_least:g}")
            return f"{'>=' if value >= self.at_least else '<'}{_as_text(self.at_least)}"
        if self.equals is not None and _as_text(value) != _as_text(self.equals):
            return OTHER
        return _as_text(value)


def group_table(cohort: Cohort, groups: Mapping[str, Group]) -> pd.DataFrame:
    """Return the group of every patient, a column per grouping.

    Args:
        cohort: The patients.
        groups: By the name each has in a prediction table; ``cps_ge10`` gives the subgroup ``cps_ge10=>=10``.

    Returns:
        Indexed by patient_id; texts, None where the value is not known.

    Raises:
        ValueError: If clinical.csv lacks columns, a name means something else in a prediction table, or a column to
            be divided at a number holds texts. Each message names all of them.
    """
    if taken := [name for name in groups if name in PREDICTION_COLUMNS or horizon_of(name) > 0]:
        raise ValueError(f"a prediction table has columns {', '.join(taken)} of its own: name these groups differently")
    clinical = cohort.clinical([group.column for group in groups.values()])
    faults = [fault for name, group in groups.items() for fault in _text_faults(name, group, clinical[group.column])]
    if faults:
        raise ValueError("; ".join(faults))
    levels = {name: [group.level(value) for value in clinical[group.column]] for name, group in groups.items()}
    return pd.DataFrame(levels, index=clinical.index, dtype=object)


def complete_cases(cohort: Cohort, columns: Sequence[str]) -> tuple[Cohort, dict[str, str]]:
    """Return the patients of whom every one of these clinical columns is known, and why each other is left out.

    Returns:
        The cohort, and by patient_id a reason such as ``cps is not known``.

    Raises:
        ValueError: If clinical.csv lacks columns; the message names all of them.
    """
    unknown = cohort.clinical(columns).isna()
    reasons = {}
    for patient, empty in unknown[unknown.any(axis=1)].iterrows():
        names = list(unknown.columns[empty])
        reasons[str(patient)] = f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} not known"
    return cohort.where(lambda patient: patient.id not in reasons), reasons


def _text_faults(name: str, group: Group, values: pd.Series) -> list[str]:
    texts = values[[isinstance(value, str) for value in values]]
    if group.at_least is None or texts.empty:
        return []
    return [
        f"group {name} divides {group.column} at {_as_text(group.at_least)}, but it is no number of {len(texts)} "
        f"{'patient' if len(texts) == 1 else 'patients'}, such as {texts.index[0]} ({texts.iloc[0]!r}): correct it in "
        "clinical.csv, or leave it empty if not known"
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_text(value: float | str) -> str:
    """Write a whole number without a point, as it stands in a table of whole numbers."""
    return str(int(value)) if not isinstance(value, str) and float(value).is_integer() else str(value)
