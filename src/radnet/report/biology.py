"""What a plan of associations found, as a chapter of the page: made from the files that it left in its folder.

An evaluation carries the chapters of the plans whose results lie in its ``biology/``; other results have a page of
their own. The words are "associated with": no test here says what brings what about.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from radnet.report.tables_page import Download, csv_address
from radnet.report.text import MISSING, Table, count, decimal, with_interval
from radnet.tables import TableFault, read_table

RECORD = "associations.json"
_SHOWN = 25  # rows of a family; beyond, a page is not read
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_RATIOS = ("hazard_ratio", "odds_ratio")
_MEASURES = {
    "spearman": "Spearman's ρ",
    "partial_spearman": "partial Spearman's ρ",
    "pearson": "Pearson's r",
    "partial_pearson": "partial Pearson's r",
    "auc": "AUC",
    "mean_difference": "mean difference",
    "hedges_g": "Hedges' g",
    "epsilon_squared": "ε²",
    "odds_ratio": "odds ratio",
    "cramers_v": "Cramér's V",
    "log2_fold_change": "log2 fold change",
    "nes": "NES",
    "hazard_ratio": "hazard ratio",
    "hazard_ratio_per_sd": "hazard ratio per SD",
    "hazard_ratio_high_vs_low": "hazard ratio, high vs low",
}
_FIGURES = {
    "correlate": "Correlations. A dot marks q < 0.05 within the family.",
    "deg": "Genes by difference and p-value; the ten clearest are named.",
    "survival": "Kaplan–Meier curves with 95% bands. Upright ticks: follow-up ended without the event.",
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure of a step: its title, what it shows, and the image as a data URI."""

    title: str
    text: str
    address: str


@dataclass(frozen=True, slots=True)
class Clustering:
    """Clusters of a step: what is to be said of their number, and the tables that say it."""

    step: str
    verdict: str
    supported: bool
    tables: list[Table]


@dataclass(frozen=True, slots=True)
class Family:
    """Tests that belong together: what was found among how many, and the clearest of them."""

    name: str
    verdict: str
    table: Table


@dataclass(frozen=True, slots=True)
class Biology:
    """The chapter of a plan.

    Attributes:
        name: Of the plan's file, without its end.
        sha256: Of its bytes.
        facts: Denominators in a sentence.
        refused: Steps that could not be computed, and why.
        steps: Patients of each step.
        families: Those declared, in the plan's order.
        clusterings: Of each step that clusters.
        drawings: Figures.
        inputs: Files read, with their hashes.
        downloads: Every table.
    """

    name: str
    sha256: str
    facts: str
    refused: list[tuple[str, str]]
    steps: Table
    families: list[Family]
    clusterings: list[Clustering]
    drawings: list[Drawing]
    inputs: Table
    downloads: list[Download]


def biologies(folder: Path) -> list[Biology]:
    """Return the chapters of the plans whose results lie in an evaluation's folder, by name."""
    return [read_biology(record.parent) for record in sorted((folder / "biology").glob(f"*/{RECORD}"))]


def read_biology(folder: Path) -> Biology:
    """Return the chapter of a plan; no statistic is computed anew.

    Args:
        folder: Of its results.

    Raises:
        FileNotFoundError: If a file of the results is not there.
        TableFault: If the record of the plan cannot be read.
    """
    record = _read_record(folder / RECORD)
    table = read_table(folder / "associations.parquet")
    steps = record["steps"]
    return Biology(
        name=Path(record["plan"]).stem,
        sha256=record["plan_sha256"],
        facts=_facts(record),
        refused=list(record["refused"].items()),
        steps=_steps(steps),
        families=[_family(name, told, table, steps) for name, told in record["families"].items()],
        clusterings=[_clustering(folder, name, one) for name, one in steps.items() if one["do"] == "cluster"],
        drawings=[_drawing(folder, name, one) for name, one in steps.items() if _drawn(folder, name)],
        inputs=Table("Files read", ["File", "SHA-256"], [[file, digest] for file, digest in record["inputs"].items()]),
        downloads=_downloads(folder, table),
    )


def _read_record(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a chapter is made from the results of radnet associate")
    try:
        record: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TableFault(path, [f"cannot be read as JSON: {error}: run radnet associate again"]) from error
    wanted = ("plan", "plan_sha256", "seed", "families", "steps", "refused", "inputs", "tests")
    lacking = [key for key in wanted if key not in record]
    lacking += [f"steps.{name}.do" for name, one in record.get("steps", {}).items() if "do" not in one]
    if lacking:
        raise TableFault(path, [f"key {key} is missing: run radnet associate again" for key in lacking])
    return record


def _facts(record: Mapping[str, Any]) -> str:
    families, done, refused = record["families"], record["steps"], record["refused"]
    told = f"{_counted(record['tests'], 'test')} in {_counted(len(families), 'declared family', 'declared families')}, "
    told += f"from {len(done)} of {_counted(len(done) + len(refused), 'step')}."
    return told + f" Drawing began at seed {record['seed']}."


def _counted(number: int, noun: str, nouns: str = "") -> str:
    return f"{number} {noun if number == 1 else nouns or noun + 's'}"


def _steps(steps: Mapping[str, Any]) -> Table:
    lesions = any(one["lesions"] for one in steps.values())
    rows = [
        [
            *(name, one["do"], str(one["patients"] or MISSING)),
            *([str(one["lesions"] or MISSING)] if lesions else []),
            ", ".join(f"{len(who)} of {table}" for table, who in one["unmatched"].items()) or MISSING,
            str(one["rows"] or MISSING),
            one["told"],
        ]
        for name, one in steps.items()
    ]
    columns = ["Step", "Does", "Patients", *(["Lesions"] if lesions else []), "Left out", "Rows", "To know"]
    note = "Left out: another table of the step lacks them; associations.json names each."
    return Table("Whom each step is of", columns, rows, note=note)


def _family(name: str, told: Mapping[str, Any], table: pd.DataFrame, steps: Mapping[str, Any]) -> Family:
    own = table[table["family"] == name]
    verdict = f"{told['q_below_0.1']} of {_counted(told['tests'], 'test')} associated at q < 0.1, "
    verdict += f"{told['q_below_0.05']} at q < 0.05."
    if not told["complete"]:
        verdict += " Incomplete: a step was refused, so that q-values are of fewer tests than the plan declares."
    shown = own.sort_values("p_value", kind="stable", na_position="last").head(_SHOWN)
    texts = [_cells(one) for one in shown.to_dict("records")]
    told_alike = {"Measure": len(set(own["measure"])) == 1, "Of whom": bool((own["counts"] == "").all())}
    columns = [column for column in (texts[0] if texts else {}) if not told_alike.get(column)]
    rows = [[text[column] for column in columns] for text in texts]
    by = [step for step, one in steps.items() if one["family"] == name]
    return Family(
        name, verdict, Table(f"The tests of {name}", columns, rows, headers=2, note=_family_note(own, shown, by))
    )


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return what the page says of an association, by the heading it stands under."""
    decimals = 2 if row["measure"].startswith(_RATIOS) else 3
    of_what = " genes" if row["measure"] == "nes" else " lesions" if row["level"] == "lesion" else ""
    return {
        "This": row["x"],
        "beside that": row["y"],
        "n": count(row["n"]) + of_what,
        "Of whom": row["counts"],
        "Measure": _MEASURES.get(row["measure"], row["measure"]),
        "Effect (95% interval)": with_interval(row["effect"], row["lower"], row["upper"], decimals),
        "p": _probability(row["p_value"]),
        "q": _probability(row["q_value"]),
    }


def _probability(value: float) -> str:
    """Write a p- or q-value; a small one by its power of ten, since thousands of tests tell small ones apart.

    Example:
        >>> _probability(0.0123), _probability(0.00000234)
        ('0.012', '2 × 10⁻⁶')
    """
    if not 0 < value < 0.001:
        return decimal(value)
    digit, power = f"{value:.0e}".split("e-")
    return f"{digit} × 10⁻{power.lstrip('0').translate(_RAISED)}"


def _family_note(own: pd.DataFrame, shown: pd.DataFrame, steps: list[str]) -> str:
    measures = [_MEASURES.get(one, one) for one in dict.fromkeys(own["measure"])]
    parts = [f"{'Step' if len(steps) == 1 else 'Steps'} {', '.join(steps)}"] if steps else []
    if len(own) > len(shown):
        parts.append(f"the {len(shown)} of smallest p among {len(own)} rows; all stand in associations.csv")
    if measures:
        parts.append(f"effect: {', '.join(measures)}")
    parts += [f"by {' | '.join(dict.fromkeys(own['method']))}"] if len(own) else []
    flags = own["flag"][own["flag"] != ""].value_counts(sort=False)
    parts += [f"{_counted(n, 'row')}: {why}" for why, n in flags.items()]
    return "; ".join(parts)


def _clustering(folder: Path, name: str, told: Mapping[str, Any]) -> Clustering:
    placed = read_table(folder / "tables" / f"{name}.csv")
    sizes = pd.crosstab(placed[name].astype(int), placed["learned_from"])
    sizes = sizes.reindex(columns=["True", "False"], fill_value=0)
    rows = [list(map(str, row)) for row in sizes.itertuples()]
    noun = "Lesions" if "lesion_id" in placed else "Patients"
    members = Table(f"{noun} in each cluster", ["Cluster", "Learned from", "Placed afterwards"], rows)
    evidence = folder / "tables" / f"{name}_evidence.csv"
    if not evidence.is_file():
        given = f"{_counted(len(rows), 'cluster')}, as the plan says: whether patients fall into so many was not asked."
        return Clustering(name, given, False, [members])
    return Clustering(name, told["told"], len(rows) > 1, [_evidence(read_table(evidence)), members])


def _evidence(table: pd.DataFrame) -> Table:
    def number(text: str) -> str:
        return decimal(float(text or "nan"))

    rows = [
        [one["k"], number(one["silhouette"]), number(one["stability"]), number(one["gap"]), number(one["gap_error"])]
        for one in table.to_dict("records")
    ]
    columns = ["k", "Silhouette", "Stability", "Gap", "Its standard error"]
    note = "Stability: mean adjusted Rand index of divisions of patients drawn with replacement; 1 is the same again."
    return Table("What speaks for each number of clusters", columns, rows, note=note)


def _drawn(folder: Path, name: str) -> bool:
    return (folder / "figures" / f"{name}.svg").is_file()


def _drawing(folder: Path, name: str, told: Mapping[str, Any]) -> Drawing:
    kinds = {"image/svg+xml": folder / "figures" / f"{name}.svg", "image/png": folder / "figures" / f"{name}.png"}
    content = {kind: path.read_bytes() for kind, path in kinds.items()}
    kind = min(content, key=lambda one: len(content[one]))
    address = f"data:{kind};base64,{base64.b64encode(content[kind]).decode('ascii')}"
    return Drawing(name, _FIGURES.get(told["do"], ""), address)


def _downloads(folder: Path, table: pd.DataFrame) -> list[Download]:
    text = base64.b64encode(table.to_csv(index=False).encode("utf-8")).decode("ascii")
    every = Download("associations.csv", "Every association", f"data:text/csv;charset=utf-8;base64,{text}")
    tables = sorted((folder / "tables").glob("*.csv"))
    return [every, *(Download(path.name, path.stem.replace("_", " "), csv_address(path)) for path in tables)]
