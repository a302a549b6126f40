"""Whether a published table agrees with itself: shares with counts, counts with sums, p-values with a test."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radnet.evaluation.baseline.contingency import chi_square, fisher
from radnet.evaluation.confusion import Confusion, Share
from radnet.evaluation.discrimination import Floats
from radnet.evaluation.regression.design import refuse_unknown_columns

_NUMBER = r"(?:\d+\.?\d*|\.\d+)"
_COUNTS = re.compile(r"(\d+)\s*/\s*(\d+)")
_INTERVAL = re.compile(rf"[(\[]\s*(-?{_NUMBER})\s*(?:-|–|,|;|to)\s*(-?{_NUMBER})\s*[)\]]")
_VALUE = re.compile(rf"(<?)\s*(-?{_NUMBER})")
_LIKELIHOOD_RATIOS = ("lr_positive", "lr_negative")


@dataclass(frozen=True, slots=True)
class Printed:
    """A cell of a published table.

    Attributes:
        value: The number as printed, with its digits; empty where there is none.
        counts: ``count/total`` where printed.
        interval: Bounds where printed.
        below: Whether ``<`` stands before the number.
    """

    value: str
    counts: tuple[int, int] | None = None
    interval: tuple[float, float] | None = None
    below: bool = False

    @classmethod
    def read(cls, cell: str) -> "Printed":
        """Read ``0.557``, ``34/61``, ``34/61 55.7 %``, ``.67 (.58-.76)`` or ``<.001``.

        Example:
            >>> Printed.read("33/43 77")
            Printed(value='77', counts=(33, 43), interval=None, below=False)
        """
        counts, interval = _COUNTS.search(cell), _INTERVAL.search(cell)
        rest = _INTERVAL.sub(" ", _COUNTS.sub(" ", cell)).replace("−", "-")
        value = _VALUE.search(rest)
        if not (counts or interval or value):
            raise ValueError(f"no number in the printed cell {cell!r}")
        return cls(
            value[2] if value else "",
            (int(counts[1]), int(counts[2])) if counts else None,
            (float(interval[1]), float(interval[2])) if interval else None,
            bool(value and value[1]),
        )

    def may_stand_for(self, value: float) -> bool:
        """Tell whether a number could be printed so: rounded to its digits, a half either way."""
        if self.below:
            return value < float(self.value)
        half = 0.5 * 10.0 ** -len(self.value.partition(".")[2])
        return abs(value - float(self.value)) <= half * (1 + 1e-9)


def performance_faults(printed: pd.DataFrame) -> list[str]:
    """Return what in a table of diagnostic performance does not follow from its own counts.

    Where sensitivity and specificity stand with their counts, all else is derived from those four numbers. A cell
    is checked as far as it goes: a share against its counts, counts against those derived, an interval for holding
    its estimate.

    Args:
        printed: A row per model and cohort, named by its index; columns among sensitivity, specificity, ppv, npv,
            accuracy, lr_positive, lr_negative, and any other with an interval (auc, c_index …). Cells are text, as
            ``Printed.read`` takes it; a share above 1 is a percentage. An empty cell is not checked.

    Returns:
        One sentence for each fault, in the order of the table.
    """
    faults = []
    for where, row in printed.iterrows():
        cells = {str(name): Printed.read(cell) for name, cell in row.items() if isinstance(cell, str) and cell.strip()}
        derived = _derived(cells)
        for name, cell in cells.items():
            faults += [f"{where}: {name} {fault}" for fault in _cell_faults(name, cell, derived)]
    return faults


def subgroup_faults(printed: pd.DataFrame, whole: Mapping[str, str]) -> list[str]:
    """Return the columns whose subgroups do not add up to all patients: a sign of a cut-off tuned within them.

    Args:
        printed: A row per subgroup, named ``column=value`` by its index; cells are counts (``22/23``).
        whole: The same counts of all patients, by the table's columns.

    Example:
        >>> rows = pd.DataFrame({"sensitivity": ["12/12", "48/49"]}, index=["tnbc=no", "tnbc=yes"])
        >>> subgroup_faults(rows, {"sensitivity": "58/61"})
        ['tnbc: sensitivity adds up to 60/61, but of all patients it is 58/61']
    """
    refuse_unknown_columns(printed, list(whole))
    column = pd.Series([str(name).partition("=")[0] for name in printed.index], index=printed.index)
    faults = []
    for name in column.unique():
        for measure, cell in whole.items():
            parts = [_counts_of(text) for text in printed.loc[column == name, measure]]
            count, total = (sum(part[place] for part in parts) for place in (0, 1))
            all_count, all_total = _counts_of(cell)
            if (count, total) != (all_count, all_total):
                faults.append(
                    f"{name}: {measure} adds up to {count}/{total}, but of all patients it is {all_count}/{all_total}"
                )
    return faults


def baseline_faults(
    printed: pd.DataFrame,
    sizes: Mapping[str, int],
    *,
    total: str | None = None,
    p_values: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """Return what in a table of counts by group does not add up, and the p-values that no test of counts gives.

    The tests tried are Pearson's χ², Yates' and Fisher's (``p_values_of_counts``).

    Args:
        printed: Columns variable, level, a count for each group, and those named below.
        sizes: Patients of each group, by its column; a variable's levels must add up to them.
        total: Column of the counts of all groups together.
        p_values: Columns of printed p-values (text, in the first row of a variable) with the groups they compare.
    """
    refuse_unknown_columns(printed, ["variable", "level", *sizes, *([total] if total else []), *(p_values or {})])
    faults = []
    for variable, rows in printed.groupby("variable", sort=False):
        for group, size in sizes.items():
            if (found := int(rows[group].sum())) != size:
                faults.append(f"{variable}: the levels of {group} add up to {found}, not {size}")
        if total:
            wrong = rows[rows[list(sizes)].sum(axis=1) != rows[total]]
            faults += [
                f"{variable}, {row['level']}: groups add up to {int(row[list(sizes)].sum())}, printed {row[total]}"
                for _, row in wrong.iterrows()
            ]
        for column, groups in (p_values or {}).items():
            cell = rows[column].iloc[0]
            if not isinstance(cell, str) or not cell.strip():
                continue
            found_p = p_values_of_counts(rows[list(groups)].to_numpy(dtype=float))
            if not any(Printed.read(cell).may_stand_for(p) for p in found_p.values()):
                told = ", ".join(f"{name} {p:.3f}" for name, p in found_p.items())
                faults.append(f"{variable}: no test gives {column} {cell} ({told})")
    return faults


def p_values_of_counts(counts: Floats) -> dict[str, float]:
    """Return the p-value of each test of counts, shape (levels, groups): Pearson's χ², Yates' (2 × 2), Fisher's."""
    tests = [chi_square(counts, correct=False), fisher(counts)]
    if np.shape(counts) == (2, 2):
        tests.insert(1, chi_square(counts, correct=True))
    return {test.name: test.p_value for test in tests}


def _derived(cells: Mapping[str, Printed]) -> dict[str, Share]:
    found, rejected = cells.get("sensitivity"), cells.get("specificity")
    if not (found and rejected and found.counts and rejected.counts):
        return {}
    (tp, positive), (tn, negative) = found.counts, rejected.counts
    if tp > positive or tn > negative:
        return {}
    return Confusion(tp, negative - tn, positive - tp, tn).shares


def _cell_faults(name: str, cell: Printed, derived: Mapping[str, Share]) -> list[str]:
    faults = []
    if cell.interval and cell.value and not cell.interval[0] <= float(cell.value) <= cell.interval[1]:
        faults.append(f"is {cell.value}, outside its interval {cell.interval[0]:g} to {cell.interval[1]:g}")
    if cell.counts and cell.counts[0] > cell.counts[1]:
        return [*faults, f"counts {cell.counts[0]} of {cell.counts[1]}"]
    expected = derived.get(name)
    if cell.counts and expected and cell.counts != (expected.count, expected.total):
        faults.append(
            f"counts {cell.counts[0]}/{cell.counts[1]}, but sensitivity and specificity give "
            f"{expected.count:g}/{expected.total:g}"
        )
    share = Share(*cell.counts) if cell.counts else expected
    if share and cell.value and not cell.may_stand_for(share.value * (100 if float(cell.value) > 1 else 1)):
        faults.append(f"is {cell.value}, but {share.count:g}/{share.total:g} is {share.value:.4f}")
    if name in _LIKELIHOOD_RATIOS and derived and cell.value:
        ratio = _likelihood_ratio(name, derived)
        if np.isfinite(ratio) and not cell.may_stand_for(ratio):
            faults.append(f"is {cell.value}, but the counts give {ratio:.3f}")
    return faults


def _likelihood_ratio(name: str, derived: Mapping[str, Share]) -> float:
    found, rejected = derived["sensitivity"].value, derived["specificity"].value
    above, below = (found, 1 - rejected) if name == "lr_positive" else (1 - found, rejected)
    return above / below if below > 0 else np.inf


def _counts_of(cell: str) -> tuple[int, int]:
    counts = Printed.read(cell).counts
    if counts is None:
        raise ValueError(f"a subgroup's cell must be count/total, got {cell!r}")
    return counts
