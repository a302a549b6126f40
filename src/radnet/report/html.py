"""The report page: one file that opens without a network, made from the tables in an evaluation's folder.

A chapter is a function of the ``Evaluation`` that returns plain data (`Table`, `Plot`, …); the template lays it out.
Jinja2 escapes every value, and a plot travels as JSON in which no character can end its script element.
"""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from radnet.files import write_atomically
from radnet.report.biology import RECORD, biologies, read_biology
from radnet.report.branches import branch_tables
from radnet.report.charts import charts
from radnet.report.checklist.answers import checklist
from radnet.report.checklist.size import sample_size_told
from radnet.report.claims import checked_causes
from radnet.report.comparison import comparison_matrices, subgroup_tables
from radnet.report.drift import drift_tables
from radnet.report.features import feature_flow, protocol
from radnet.report.flow import cohort_flow
from radnet.report.headline import headlines
from radnet.report.leak import leak_warnings
from radnet.report.performance import centre_tables, comparison_tables, performance_tables
from radnet.report.probability_tables import calibration_tables, decision_tables
from radnet.report.provenance import messages, provenance_tables
from radnet.report.reading import Evaluation, read_evaluation
from radnet.report.slider import slider
from radnet.report.tables_page import downloads, regression_table, table_one
from radnet.report.truth import truth_tables


def write_report(folder: Path) -> Path:
    """Write ``report.html`` and its static figures into the folder of an evaluation, or of a plan of associations.

    Read are ``metrics.csv`` and, where they are there, ``evaluation.json``, ``figures/*.csv``, ``tables/*.csv`` and the
    results of plans in ``biology/``; without an evaluation, ``associations.json`` and the tables and figures beside it.
    No statistic is computed anew: every number of the page stands in one of these files or is counted from them.

    Returns:
        The path of the report.

    Raises:
        FileNotFoundError: If the folder holds neither ``metrics.csv`` nor ``associations.json``.
        TableFault: If a table lacks a column.
    """
    if (folder / RECORD).is_file() and not (folder / "metrics.csv").is_file():
        page = _environment().get_template("biology_page.html.j2").render(biology=read_biology(folder), level="95%")
    else:
        evaluation = read_evaluation(folder)
        page = _environment().get_template("report.html.j2").render(_chapters(evaluation, folder))
    report = folder / "report.html"
    write_atomically(report, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return report


def _chapters(evaluation: Evaluation, folder: Path) -> dict[str, Any]:
    regression = regression_table(evaluation)
    figures = charts(evaluation, folder / "figures")  # writes the numbers of those that are made from the metrics
    return {
        "title": _title(evaluation),
        "level": f"{100 * evaluation.level:.3g}%",
        "cutoff": evaluation.cutoff_words,
        "about": evaluation.about,
        "messages": messages(evaluation),
        "leaks": leak_warnings(evaluation),
        "headlines": headlines(evaluation),
        "falsified": bool(evaluation.falsification),
        "causes": checked_causes(evaluation),
        "controls": evaluation.falsification.get("controls") or [],
        "not_run": evaluation.falsification.get("not_run") or [],
        "truth": truth_tables(evaluation),
        "protocol": protocol(evaluation),
        "flow": cohort_flow(evaluation),
        "features": feature_flow(evaluation),
        "table_one": table_one(evaluation),
        "slider": slider(evaluation),
        "performance": performance_tables(evaluation),
        "centres": centre_tables(evaluation),
        "subgroups": subgroup_tables(evaluation),
        "drift": drift_tables(evaluation),
        "branches": branch_tables(evaluation),
        "matrices": comparison_matrices(evaluation),
        "comparisons": comparison_tables(evaluation),
        "calibration": calibration_tables(evaluation),
        "decision": decision_tables(evaluation),
        "regression": [regression] if regression else [],
        "charts": figures,
        "biologies": biologies(folder),
        "checklists": checklist(evaluation, folder),
        "sample_size": sample_size_told(folder),
        "provenance": provenance_tables(evaluation),
        "downloads": downloads(folder),
        "plotly": get_plotlyjs(),
    }


def _title(evaluation: Evaluation) -> str:
    run = evaluation.about.get("run") or {}
    return f"Evaluation of {run['experiment']}" if run.get("experiment") else "Evaluation"


def _environment() -> Environment:
    # Escapes whatever the file's name, so that a value can never become markup.
    return Environment(
        loader=PackageLoader("radnet", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
