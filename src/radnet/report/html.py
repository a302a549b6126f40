"""The report page: one file that opens without a network, made from the tables in an evaluation's folder.

A chapter is a function of the ``Evaluation`` that returns plain data (`Table`, `Plot`, …); the template lays it out.
Jinja2 escapes every value, and a plot travels as JSON in which no character can end its script element.
"""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from radnet.files import write_atomically
from radnet.report.charts import charts
from radnet.report.drift import drift_tables
from radnet.report.headline import headlines
from radnet.report.performance import centre_tables, comparison_tables, performance_tables
from radnet.report.provenance import messages, provenance_tables
from radnet.report.reading import Evaluation, read_evaluation
from radnet.report.truth import truth_table


def write_report(folder: Path) -> Path:
    """Write ``report.html`` and its static figures into the folder of an evaluation.

    Read are ``metrics.csv`` and, where they are there, ``evaluation.json`` and ``figures/{roc,scores,km}.csv``. Nothing
    is computed anew: every number of the page stands in one of these files.

    Returns:
        The path of the report.

    Raises:
        FileNotFoundError: If the folder holds no ``metrics.csv``.
        TableFault: If a table lacks a column.
    """
    evaluation = read_evaluation(folder)
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=_title(evaluation),
            level=f"{100 * evaluation.level:.3g}%",
            about=evaluation.about,
            messages=messages(evaluation),
            headlines=headlines(evaluation),
            truth=truth_table(evaluation),
            performance=performance_tables(evaluation),
            centres=centre_tables(evaluation),
            comparisons=comparison_tables(evaluation),
            drift=drift_tables(evaluation),
            charts=charts(evaluation, folder / "figures"),
            provenance=provenance_tables(evaluation),
            plotly=get_plotlyjs(),
        )
    )
    report = folder / "report.html"
    write_atomically(report, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return report


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
