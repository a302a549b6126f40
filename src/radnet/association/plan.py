"""A plan of associations: what is read, what is computed and which tests make a family, declared before any is made."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from math import isfinite
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from radnet.association.steps import (
    STEPS,
    Column,
    Deg,
    FollowUp,
    GeneSetsName,
    Group,
    MeanScore,
    Prerank,
    RankedBy,
    Source,
    Step,
)
from radnet.files import file_hash
from radnet.tables import TableFault, did_you_mean

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_OF_A_TABLE = (Source, Column, FollowUp)
_PLAIN: Mapping[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a text"),
    Group: ((str, int), "a text or a whole number"),
    GeneSetsName: ((str,), "a name"),
    RankedBy: ((str,), "a name"),
}


@dataclass(frozen=True, slots=True)
class TableFile:
    """A table on disk.

    Attributes:
        file: A .csv, .csv.gz or .parquet, relative to the plan.
        patients: Whether each is a row, or (expression as laboratories write it) a column.
        id: Column that names the patients; of a table with a column per patient, the genes.
        lesion: Column that names the lesions of each, where a row is a lesion.
    """

    file: str
    patients: Literal["rows", "columns"]
    id: str
    lesion: str | None = None

    def __post_init__(self) -> None:
        if self.lesion is not None and (self.patients == "columns" or self.lesion == self.id):
            raise ValueError("lesion names a second column, of a table with patients: rows: leave it out, or name that")


@dataclass(frozen=True, slots=True)
class GeneSetFile:
    """Gene sets: those of a .gmt; of a .csv or tab-separated .tsv or .txt; or written in the plan.

    Attributes:
        file: Relative to the plan.
        set: Of a table: column that names the set of each row,
        gene: and column that names the gene.
        sets: Genes of each set, where there is no file.
    """

    file: str | None = None
    set: str | None = None
    gene: str | None = None
    sets: Mapping[str, tuple[str, ...]] | None = None

    def __post_init__(self) -> None:
        if (self.file is None) == (self.sets is None):
            raise ValueError("needs file, or sets with their genes: one of both")
        columns = (self.set is not None) + (self.gene is not None)
        if columns != (0 if self.file is None or self.file.endswith(".gmt") else 2):
            raise ValueError("needs set and gene, the names of two columns, for a table, and neither for other sources")


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as it was read.

    Attributes:
        path: Of its file.
        sha256: Of its bytes.
        output: Folder of the results.
        page: Folder whose ``report.html`` shows them: the same, or that of an evaluation (``report`` in a plan), in
            which ``output`` then lies, as ``biology/`` and the plan's name.
        seed: Of all drawing.
        tables: By name.
        gene_sets: By name.
        steps: By name, in order.
    """

    path: Path
    sha256: str
    output: Path
    page: Path
    seed: int
    tables: Mapping[str, TableFile]
    gene_sets: Mapping[str, GeneSetFile]
    steps: Mapping[str, Step]

    def found(self, file: str) -> Path:
        """Return the path of a file that the plan names."""
        return self.path.parent / file


def read_plan(path: Path) -> Plan:
    """Read a plan and check all of it.

    Returns:
        The plan. A step reads tables, and steps that stand above it.

    Raises:
        TableFault: With every fault: its key, and what to do.
        FileNotFoundError: If there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        node = yaml.load(path.read_text(encoding="utf-8-sig"), _EachKeyOnce)  # noqa: S506 - a safe loader
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise TableFault(path, [f"cannot be read as YAML: {' '.join(str(error).split())}"]) from error
    faults: list[str] = []
    top = _mapping(node, "the plan", faults)
    keys = ("output", "report", "seed", "tables", "gene_sets", "steps")
    faults += [f"{key}: there is no such key, {did_you_mean(key, keys)}" for key in top if key not in keys]
    faults += [f"{key} is missing: write it" for key in ("seed", "tables", "steps") if key not in top]
    output, page = _folders(top, path, faults)
    seed = _value(int, top.get("seed", 0), "seed", faults)
    tables = _entries(TableFile, top, "tables", faults)
    gene_sets = _entries(GeneSetFile, top, "gene_sets", faults)
    steps = _steps(top, faults)
    faults += _twice_named(_named(top, "tables"), _named(top, "steps"))
    for name, step in steps.items():
        faults += [f"steps.{name}: {one}" for one in _misread(step, name, top, steps)]
    faults += _shared_families(steps) + _patients_beside_lesions(tables, steps)
    if faults:
        raise TableFault(path, faults)
    return Plan(path, file_hash(path), output, page, seed, tables, gene_sets, steps)


def names_read(step: Step) -> list[str]:
    """Return the tables and steps that a step reads."""
    read = _names_joined(step)
    if isinstance(step, MeanScore) and step.reference not in ("none", "own"):
        read.append(step.reference)
    return read + ([step.ranking] if isinstance(step, Prerank) else [])


def does(step: Step) -> str:
    """Return what a plan calls a step of this kind."""
    return next(do for do, kind in STEPS.items() if isinstance(step, kind))


class _EachKeyOnce(yaml.SafeLoader):
    """YAML that refuses a key written twice, of which the last would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        counted = Counter(key.value for key, _ in node.value)
        if twice := [str(key) for key, times in counted.items() if times > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"key {', '.join(twice)} twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _folders(top: Mapping[str, Any], path: Path, faults: list[str]) -> tuple[Path, Path]:
    """Return the folder of the results, and that of the page which shows them."""
    if ("output" in top) == ("report" in top):
        both = "output and report: results have one place: leave one out"
        faults.append(both if "output" in top else "output is missing: write it, or report, an evaluation's folder")
    if "report" not in top:
        folder = path.parent / str(_value(str, top.get("output", ""), "output", faults))
        return folder, folder
    page = path.parent / str(_value(str, top["report"], "report", faults))
    if not (page / "metrics.csv").is_file():
        faults.append(f"report: {page} holds no metrics.csv: name the folder of an evaluation, or write output instead")
    return page / "biology" / path.stem, page


def _mapping(node: object, where: str, faults: list[str]) -> dict[str, Any]:
    if not isinstance(node, dict):
        faults.append(f"{where}: expected names with what they hold, got {node!r}")
        return {}
    faults += [f"{where}: {key!r} is no text: quote it" for key in node if not isinstance(key, str)]
    return {key: value for key, value in node.items() if isinstance(key, str)}


def _named(top: Mapping[str, Any], key: str) -> list[str]:
    return list(_mapping(top.get(key, {}), key, []))


def _entries(kind: type[Any], top: Mapping[str, Any], key: str, faults: list[str]) -> dict[str, Any]:
    built = {}
    for name, node in _mapping(top.get(key, {}), key, faults).items():
        if (one := _built(kind, node, f"{key}.{name}", faults)) is not None:
            built[name] = one
    return built


def _steps(top: Mapping[str, Any], faults: list[str]) -> dict[str, Step]:
    steps: dict[str, Step] = {}
    for name, node in _mapping(top.get("steps", {}), "steps", faults).items():
        where = f"steps.{name}"
        if not _NAME.fullmatch(name):
            faults.append(f"{where}: a step's name becomes that of a file: letters, digits, _ and - only")
        given = _mapping(node, where, faults)
        do = given.pop("do", None)
        if do not in STEPS:
            faults.append(f"{where}.do: expected one of {', '.join(STEPS)}, got {do!r}")
        elif (step := _built(STEPS[do], given, where, faults)) is not None:
            steps[name] = step
    return steps


def _built(kind: type[Any], node: object, where: str, faults: list[str]) -> Any:
    """Return a dataclass made of a node, or None once its faults are told."""
    before = len(faults)
    given = _mapping(node, where, faults)
    hints = get_type_hints(kind)
    field_of = {("from" if kind in _OF_A_TABLE and one.name == "name" else one.name): one for one in fields(kind)}
    for key in given:
        if key not in field_of:
            faults.append(f"{where}.{key}: there is no such key, {did_you_mean(key, list(field_of))}")
    values = {}
    for key, field in field_of.items():
        if key in given:
            values[field.name] = _value(hints[field.name], given[key], f"{where}.{key}", faults)
        elif field.default is MISSING:
            faults.append(f"{where}.{key} is missing: write it")
    if len(faults) > before:
        return None
    try:
        return kind(**values)
    except ValueError as error:
        faults.append(f"{where}: {error}")
        return None


def _value(hint: Any, given: object, where: str, faults: list[str]) -> Any:
    """Return a value of the kind a key wants; tell a fault if it is none."""
    if NoneType in get_args(hint):
        (hint,) = (one for one in get_args(hint) if one is not NoneType)
    if hint in _OF_A_TABLE:
        short = isinstance(given, str) and hint is not FollowUp
        return hint(given) if short else _built(hint, given, where, faults)
    if get_origin(hint) is tuple:
        if isinstance(given, list) and given:
            return tuple(_value(get_args(hint)[0], one, where, faults) for one in given)
        faults.append(f"{where}: expected a list such as [a, b], got {given!r}")
    elif get_origin(hint) is Mapping:
        named = _mapping(given, where, faults)
        return {name: _value(get_args(hint)[1], one, f"{where}.{name}", faults) for name, one in named.items()}
    elif get_origin(hint) is Literal:
        if given not in get_args(hint):
            faults.append(f"{where}: expected one of {', '.join(get_args(hint))}, got {given!r}")
    else:
        _refuse_other_kind(hint, given, where, faults)
    return given


def _refuse_other_kind(hint: Any, given: object, where: str, faults: list[str]) -> None:
    kinds, wanted = _PLAIN[hint]
    if not isinstance(given, kinds) or (isinstance(given, bool) and hint is not bool):
        quote = ": quote it" if str in kinds else ""
        faults.append(f"{where}: expected {wanted}, got {given!r}{quote}")
    elif isinstance(given, float) and not isfinite(given):
        faults.append(f"{where}: expected {wanted}, got {given}")


def _twice_named(tables: Iterable[str], steps: Iterable[str]) -> list[str]:
    return [f"steps.{name}: a table has this name too: give the step another" for name in steps if name in set(tables)]


def _misread(step: Step, name: str, top: Mapping[str, Any], steps: Mapping[str, Step]) -> list[str]:
    """Return what is wrong with the names that a step reads."""
    tables, order = _named(top, "tables"), _named(top, "steps")
    above = order[: order.index(name)]
    given = [
        one for one in above if one not in steps or steps[one].gives == "table"
    ]  # of a faulty one say nothing more
    ranked = [one for one in above if one not in steps or steps[one].gives == "ranking"]
    ranking = step.ranking if isinstance(step, Prerank) else None
    faults = []
    for read in names_read(step):
        wanted = ranked if read == ranking else [*tables, *given]
        if read in wanted:
            continue
        if read in order and read not in above:
            faults.append(f"step {read} does not stand above this one: move it there")
        elif read in above:
            kind = "ranking" if read == ranking else "table"
            faults.append(f"step {read} does {does(steps[read])} and gives no {kind} to read")
        else:
            what = "step that ranks genes" if read == ranking else "table or step above"
            faults.append(f"there is no {what} named {read}, {did_you_mean(read, wanted)}")
    gene_sets = getattr(step, "gene_sets", None)
    if gene_sets is not None and gene_sets not in (known := _named(top, "gene_sets")):
        faults.append(f"there are no gene sets named {gene_sets}, {did_you_mean(gene_sets, known)}")
    source = steps.get(ranking) if ranking else None
    if isinstance(source, Deg) and isinstance(step, Prerank) and source.test == "wilcoxon" and step.by == "statistic":
        faults.append("U of a wilcoxon test has no sign to rank genes by: write by: effect, or test: welch there")
    return faults


def _names_joined(step: Step) -> list[str]:
    """Return the tables and steps whose rows a step sets side by side."""
    values = [getattr(step, field.name) for field in fields(step)]
    return [one.name for one in values if isinstance(one, _OF_A_TABLE)]


def _patients_beside_lesions(tables: Mapping[str, TableFile], steps: Mapping[str, Step]) -> list[str]:
    """Return the steps that would join lesions with patients."""
    row_of = {name: "patient" if table.lesion is None else "lesion" for name, table in tables.items()}
    faults = []
    for name, step in steps.items():
        known = {read: row_of[read] for read in _names_joined(step) if read in row_of}
        if len(set(known.values())) > 1:
            told = " and ".join(f"{read} (a row per {one})" for read, one in known.items())
            faults.append(
                f"steps.{name}: {told} cannot be joined: pool the lesions of each patient into one row beforehand, or "
                "name the lesions of the other table too (lesion: COLUMN)"
            )
        if known:
            row_of[name] = next(iter(known.values()))
    return faults


def _shared_families(steps: Mapping[str, Step]) -> list[str]:
    families = Counter(getattr(step, "family", None) for step in steps.values())
    return [
        f"steps.{name}.family: {step.family} is another step's too, but genes are a family of their own: rename it"
        for name, step in steps.items()
        if isinstance(step, Deg) and families[step.family] > 1
    ]
