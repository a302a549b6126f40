"""A plan of associations carried out: its files read, its steps computed, its tests adjusted, its results written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from radnet import __version__
from radnet.association.figures import heat_map, in_hand, survival_curves, volcano
from radnet.association.multiplicity import count_tests
from radnet.association.plan import Plan, does, names_read, read_plan
from radnet.association.sources import GeneSets, read_gene_sets, read_patients
from radnet.association.step_result import Readable, StepResult, compute
from radnet.association.steps import Correlate, Deg, Survival
from radnet.association.table import associations
from radnet.files import file_hash, write_atomically, write_json
from radnet.tables import TableFault, write_table

_TOLD_Q = 0.1
_RECORD = "associations.json"


@dataclass(frozen=True)
class Carried:
    """A plan carried out.

    Attributes:
        plan: The plan.
        table: Associations of every family.
        results: Of each step that could be computed.
        refused: Why others could not.
    """

    plan: Plan
    table: pd.DataFrame
    results: Mapping[str, StepResult]
    refused: Mapping[str, str]

    @property
    def incomplete(self) -> list[str]:
        """Families some of whose tests were not made: their q-values are of fewer tests than the plan declares."""
        steps = self.plan.steps
        return sorted({family for name in self.refused if (family := getattr(steps[name], "family", None)) is not None})

    @property
    def tests(self) -> dict[str, int]:
        """Number of tests made in each family that the plan declares."""
        declared = [
            family for step in self.plan.steps.values() if (family := getattr(step, "family", None)) is not None
        ]
        return dict.fromkeys(declared, 0) | count_tests(self.table["p_value"], self.table["family"])

    def headline(self) -> list[str]:
        """Return a line for each family: how many of its pairs are associated."""
        found = self.table[self.table["q_value"] < _TOLD_Q].groupby("family").size()
        return [
            f"{family}: {found.get(family, 0)} of {n} associated at q < {_TOLD_Q:g}"
            + (" (incomplete: a step was refused)" if family in self.incomplete else "")
            for family, n in self.tests.items()
        ] + [f"{name}: {result.told}" for name, result in self.results.items() if result.told]


def run_plan(path: Path) -> Carried:
    """Carry out a plan and write its results.

    The output folder then holds ``associations.parquet``, ``associations.json`` (the plan's SHA-256, inputs, patients
    of each step and those unmatched, number of tests of each family), ``tables/`` and ``figures/``. A step that cannot
    be computed, and those that read it, are refused with the reason; the others are written all the same.

    Args:
        path: Of the plan, a YAML file.

    Raises:
        TableFault: With every fault of the plan, or of the files it names.
        ValueError: If the output folder holds something else, or a family has a pair twice.
    """
    plan = read_plan(path)
    _refuse_other_results(plan)
    carried = carry_out(plan)
    _write(carried)
    return carried


def carry_out(plan: Plan) -> Carried:
    """Return what a plan comes to, without writing it."""
    tables, gene_sets = _read(plan)
    results: dict[str, StepResult] = {}
    refused: dict[str, str] = {}
    for name, step in plan.steps.items():
        if lacking := [one for one in names_read(step) if one in refused]:
            refused[name] = f"it reads {', '.join(lacking)}, which is refused"
            continue
        rankings = {one: found.ranking for one, found in results.items() if found.ranking is not None}
        try:
            results[name] = compute(step, Readable(name, plan.seed, tables, gene_sets, rankings))
        except ValueError as error:
            told = [f"{one}: {results[one].told}" for one in names_read(step) if one in results and results[one].told]
            refused[name] = "; ".join([str(error), *told])
            continue
        if (table := results[name].table) is not None:
            tables[name] = table
    families: dict[str, list[Any]] = {}
    for name, result in results.items():
        if (family := getattr(plan.steps[name], "family", None)) is not None:
            families.setdefault(family, []).extend(result.rows)
    return Carried(plan, associations(families), results, refused)


def _read(plan: Plan) -> tuple[dict[str, pd.DataFrame], dict[str, GeneSets]]:
    tables: dict[str, pd.DataFrame] = {}
    gene_sets: dict[str, GeneSets] = {}
    faults = []
    for name, told in plan.tables.items():
        try:
            tables[name] = read_patients(plan.found(told.file), told)
        except (OSError, ValueError) as error:
            faults.append(f"tables.{name}: {error}")
    for name, of_sets in plan.gene_sets.items():
        try:
            gene_sets[name] = read_gene_sets(plan.found(of_sets.file or ""), of_sets)
        except (OSError, ValueError) as error:
            faults.append(f"gene_sets.{name}: {error}")
    if faults:
        raise TableFault(plan.path, faults)
    return tables, gene_sets


def _refuse_other_results(plan: Plan) -> None:
    """Refuse a folder that this plan did not write: results of two plans must not lie side by side."""
    if not plan.output.exists() or not any(plan.output.iterdir()):
        return
    record = plan.output / _RECORD
    if record.is_file() and json.loads(record.read_text(encoding="utf-8")).get("plan_sha256") == plan.sha256:
        return
    raise ValueError(f"{plan.output}: the folder holds what another plan, or no plan, wrote: name another, or empty it")


def _write(carried: Carried) -> None:
    plan = carried.plan
    write_table(carried.table, plan.output / "associations.parquet")
    for name, result in carried.results.items():
        for end, table in result.files.items():
            write_table(table, plan.output / "tables" / f"{name}{end}.csv")
        if (figure := _figure(carried, name)) is not None:
            _save(figure, plan.output / "figures", name)
    write_json(_record(carried), plan.output / _RECORD)


def _record(carried: Carried) -> dict[str, Any]:
    plan = carried.plan
    p, q, family = (carried.table[column] for column in ("p_value", "q_value", "family"))
    files = {one.file for one in plan.tables.values()} | {one.file for one in plan.gene_sets.values() if one.file}
    return {
        "plan": plan.path.name,
        "plan_sha256": plan.sha256,
        "radnet": __version__,
        "seed": plan.seed,
        "inputs": {file: file_hash(plan.found(file)) for file in sorted(files)},
        "families": {
            name: {
                "tests": tests,
                "rows": int((family == name).sum()),
                "q_below_0.05": int((q[family == name] < 0.05).sum()),
                "q_below_0.1": int((q[family == name] < 0.1).sum()),
                "complete": name not in carried.incomplete,
            }
            for name, tests in carried.tests.items()
        },
        "tests": int(p.notna().sum()),
        "steps": {
            name: {
                "do": does(plan.steps[name]),
                "family": getattr(plan.steps[name], "family", None),
                "patients": one.patients,
                "lesions": one.lesions,
                "unmatched": one.unmatched,
                "rows": len(one.rows),
                "told": one.told,
            }
            for name, one in carried.results.items()
        },
        "refused": dict(carried.refused),
    }


def _figure(carried: Carried, name: str) -> Figure | None:
    step, result = carried.plan.steps[name], carried.results[name]
    if isinstance(step, Correlate):
        return heat_map(_adjusted(carried, name, step.family), 0.05)
    if isinstance(step, Deg):
        return volcano(result.files[""], result.rows[0].x)
    if isinstance(step, Survival) and step.group is not None:
        return survival_curves(result.files["_curves"], step.outcome.endpoint)
    return None


def _adjusted(carried: Carried, name: str, family: str) -> pd.DataFrame:
    """Return the rows of a step, with the q-values of its whole family."""
    own = {(row.x, row.y, row.effect.measure, row.effect.method) for row in carried.results[name].rows}
    rows = carried.table[carried.table["family"] == family]
    keys = zip(rows["x"], rows["y"], rows["measure"], rows["method"], strict=True)
    return rows[[key in own for key in keys]]


@in_hand
def _save(figure: Figure, folder: Path, name: str) -> None:
    undated: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
    for suffix, metadata in undated.items():

        def write(path: Path, suffix: str = suffix, metadata: dict[str, Any] = metadata) -> None:
            figure.savefig(path, format=suffix, metadata=metadata)

        write_atomically(folder / f"{name}.{suffix}", write)
