"""clinical.yaml: what the columns of clinical.csv may hold (unit, range, categories), and what breaks it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import pandas as pd
import yaml

from radnet.tables import Finding, did_you_mean, fault

FILE = "clinical.yaml"
_KEYS = ("unit", "minimum", "maximum", "categories", "required")


@dataclass(frozen=True, slots=True)
class ClinicalColumn:
    """What a column of clinical.csv may hold; a column of neither range nor unit nor categories holds any text.

    Attributes:
        unit: Of its numbers.
        minimum: Least number allowed.
        maximum: Greatest number allowed.
        categories: Texts allowed; empty where the column holds numbers or any text.
        required: Whether clinical.csv must have the column; a cell of it may be empty in any case.
    """

    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    required: bool = True

    def __post_init__(self) -> None:
        if faults := _column_faults(self):
            raise ValueError("; ".join(faults))

    @property
    def is_number(self) -> bool:
        """Whether the column holds numbers."""
        return any(one is not None for one in (self.unit, self.minimum, self.maximum))

    @property
    def expected(self) -> str:
        """What a cell may hold, in words."""
        if self.categories:
            return f"one of {', '.join(self.categories)}"
        bounds = {
            (True, True): f" of {self.minimum} to {self.maximum}",
            (True, False): f" of {self.minimum} or more",
            (False, True): f" of {self.maximum} or less",
            (False, False): "",
        }[(self.minimum is not None, self.maximum is not None)]
        return f"a number{bounds}" + (f" ({self.unit})" if self.unit else "")

    def allows(self, text: str) -> bool:
        """Return whether a cell that is not empty may stand in the column."""
        if self.categories:
            return text in self.categories
        if not self.is_number:
            return True
        try:
            number = float(text)
        except ValueError:
            return False
        low = -float("inf") if self.minimum is None else self.minimum
        high = float("inf") if self.maximum is None else self.maximum
        return isfinite(number) and low <= number <= high


def read_clinical_schema(path: Path) -> tuple[dict[str, ClinicalColumn], list[Finding]]:
    """Read a schema such as ``columns: {age: {unit: years, minimum: 18}, subtype: {categories: [TNBC, HER2+]}}``.

    Returns:
        The columns that can be understood, and a fault for each that cannot.
    """
    try:
        node = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        return {}, [
            fault(path.name, f"cannot be read as YAML: {' '.join(str(error).split())}", "mend it, or delete it")
        ]
    if not isinstance(node, dict) or not isinstance(node.get("columns"), dict):
        found = "expected the key columns, and under it a name and what it may hold for each column"
        return {}, [fault(path.name, found, "write columns: {age: {unit: years, minimum: 18}}")]
    findings = [
        fault(path.name, f"there is no key {key}", did_you_mean(str(key), ["columns"]))
        for key in node
        if key != "columns"
    ]
    columns = {}
    for name, given in node["columns"].items():
        try:
            columns[str(name)] = _column({} if given is None else given)
        except (TypeError, ValueError) as error:
            findings.append(
                fault(path.name, f"column {name}: {error}", "see the schema in the guide to your own cohort")
            )
    return columns, findings


def schema_findings(
    clinical: pd.DataFrame, schema: Mapping[str, ClinicalColumn], missing: Sequence[str]
) -> list[Finding]:
    """Return a fault for each cell of clinical.csv the schema does not allow, and each column it wants and lacks.

    Args:
        clinical: Cells as text, the index being the row of the file.
        schema: What each column may hold.
        missing: Texts that mean: not known.
    """
    import pandera.pandas as pandera  # half a second, and few cohorts have a schema

    findings = [
        fault("clinical.csv", f"no column {name}, which {FILE} describes", did_you_mean(name, list(clinical.columns)))
        for name, column in schema.items()
        if name not in clinical.columns and column.required
    ]
    present = {name: column for name, column in schema.items() if name in clinical.columns}
    known = clinical[list(present)].where(~clinical[list(present)].isin(missing))
    checks = {
        name: pandera.Column(
            object,
            pandera.Check(column.allows, element_wise=True, error=column.expected),
            nullable=True,
        )
        for name, column in present.items()
    }
    try:
        pandera.DataFrameSchema(checks).validate(known, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        for one in errors.failure_cases.itertuples():
            patient = clinical["patient_id"].get(one.index, "") if "patient_id" in clinical else ""
            found = f"{one.column} is {one.failure_case!r}, expected {one.check}"
            fix = f"correct it, leave it empty if not known, or change {FILE}"
            findings.append(fault("clinical.csv", found, fix, int(one.index), patient or "?"))
    return findings


def _column(given: object) -> ClinicalColumn:
    if not isinstance(given, dict):
        raise TypeError(f"expected keys and values such as minimum: 18, found {given!r}")
    if unknown := [str(key) for key in given if key not in _KEYS]:
        raise ValueError("; ".join(f"there is no {key}, {did_you_mean(key, _KEYS)}" for key in unknown))
    categories = given.get("categories", [])
    if not isinstance(categories, list) or any(
        isinstance(one, bool) or not isinstance(one, str | int | float) for one in categories
    ):
        raise TypeError(f"categories must be a list of texts (quote yes, no, true and false), got {categories!r}")
    return ClinicalColumn(**{**given, "categories": tuple(str(one) for one in categories)})


def _column_faults(column: ClinicalColumn) -> list[str]:
    faults = []
    for name in ("minimum", "maximum"):
        value = getattr(column, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value)):
            faults.append(f"{name} must be a number, got {value!r}")
    if column.unit is not None and not isinstance(column.unit, str):
        faults.append(f"unit must be a text, got {column.unit!r}")
    if not isinstance(column.required, bool):
        faults.append(f"required must be true or false, got {column.required!r}")
    if column.categories and column.is_number:
        faults.append("a column has categories, or a unit and a range, not both")
    if len(set(column.categories)) != len(column.categories):
        faults.append(f"categories names the same twice: {', '.join(column.categories)}")
    low, high = column.minimum, column.maximum
    if not faults and low is not None and high is not None and low > high:
        faults.append(f"minimum must not exceed maximum, got {low} and {high}")
    return faults
