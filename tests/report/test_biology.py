"""The chapter of a plan: its numbers are those of the files, its words those of an association, and it stays put."""

import doctest
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import false_discovery_control, spearmanr

from radnet.association.plan import read_plan
from radnet.association.run import run_plan
from radnet.report import biology
from radnet.report.biology import read_biology
from radnet.report.html import write_report
from radnet.tables import TableFault

HOSTILE = """_</script><img src=x onerror=alert(1)> "'&$x$"""
BY_ROWS = {"patients": "rows", "id": "patient_id"}
CORRELATE = {"do": "correlate", "x": "scores", "y": "cells", "method": "spearman", "family": "cells"}
PHENOTYPE = {"do": "cluster", "variables": "cells", "scaling": "columns", "candidates": [2, 3]}
DEATH = {"from": "clinical", "event": "died", "time": "months", "endpoint": "overall survival"}


class Page(HTMLParser):
    """What a page says: its text, the cells of each table by caption, and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.loaded, self.tags, self.text, self.within = {}, [], [], "", None
        self.feed(text)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loaded += [value for name, value in attributes if name in ("src", "href")]
        self.within = tag
        if tag == "tr":
            self.rows.append([])
        elif tag == "table":
            self.rows = []
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.within = None if tag in ("td", "th", "caption", "style", "script") else self.within

    def handle_data(self, data):
        if self.within not in ("style", "script"):
            self.text += f"{data} "
        if self.within == "caption" and data.strip():
            self.tables[data.strip()] = self.rows
        elif self.within in ("td", "th") and self.rows:
            self.rows[-1][-1] += data


def page_of(folder):
    return Page(write_report(folder).read_text(encoding="utf-8"))


@pytest.fixture
def plan(tmp_path):
    """Write a score and cells of 40 patients, and a plan of steps on them; return its path and the tables."""

    def written(steps, apart=0.0, name="immune", **place):
        rng = np.random.default_rng(2)
        index = pd.Index([f"P{one:02d}" for one in range(40)], name="patient_id")
        cells = pd.DataFrame(rng.normal(size=(40, 4)), index=index, columns=["CD8", "NK", "B", "Treg"])
        cells.iloc[:25] += apart
        score = pd.DataFrame({"score": cells["CD8"] + rng.normal(size=40)}, index=index)
        clinical = pd.DataFrame({"died": rng.integers(0, 2, 40), "months": rng.exponential(20, 40)}, index=index)
        score, clinical = score.drop("P03"), clinical.drop(["P00", "P01"])
        for file, table in (("scores", score), ("cells", cells), ("clinical", clinical)):
            table.to_csv(tmp_path / f"{file}.csv")
        tables = {one: {"file": f"{one}.csv", **BY_ROWS} for one in ("scores", "cells", "clinical")}
        node = {**(place or {"output": "results"}), "seed": 1, "tables": tables, "steps": steps}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(node, sort_keys=False), encoding="utf-8")
        return tmp_path / f"{name}.yaml", score, cells

    return written


def test_effects_intervals_and_q_values_are_those_of_the_tests_under_their_family(plan):
    path, score, cells = plan({"map": CORRELATE, "apart": {**CORRELATE, "method": "pearson", "family": "pearsons"}})

    page = page_of(run_plan(path).plan.output)

    both = cells.drop("P03")
    found = {name: spearmanr(score["score"], both[name]) for name in cells}
    q = dict(zip(cells, false_discovery_control([one.pvalue for one in found.values()]), strict=True))
    head, *rows = page.tables["The tests of cells"]
    assert head == ["This", "beside that", "n", "Effect (95% interval)", "p", "q"]
    assert [row[1] for row in rows] == sorted(cells, key=lambda name: found[name].pvalue)
    for x, y, n, effect, _, adjusted in rows:
        assert (x, n) == ("score", "39")
        r = found[y].statistic
        reach = 1.959964 * np.sqrt((1 + r**2 / 2) / 36)  # Bonett and Wright's, of 39 patients
        low, high = np.tanh([np.arctanh(r) - reach, np.arctanh(r) + reach])
        printed = [float(one.replace("−", "-")) for one in re.findall(r"−?\d\.\d{3}", effect)]
        assert printed == pytest.approx([r, low, high], abs=5.1e-4)
        assert number(adjusted) == pytest.approx(
            q[y], abs=5.1e-4 if q[y] >= 0.001 else 0.5 * 10 ** np.floor(np.log10(q[y]))
        )
    called = sum(one < 0.1 for one in q.values())
    assert f"{called} of 4 tests associated at q < 0.1" in page.text
    assert set(page.tables) >= {"The tests of cells", "The tests of pearsons"}
    assert doctest.testmod(biology).failed == 0


def number(text):
    """Read a number as the page writes it: 0.012, or 2 × 10⁻⁶."""
    return float(text.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")).replace(" × 10", "e"))


def test_the_page_says_what_was_planned_and_of_whom(plan):
    path, _, _ = plan({"map": CORRELATE})

    page = page_of(run_plan(path).plan.output)

    assert read_plan(path).sha256 in page.text
    assert "4 tests in 1 declared family, from 1 of 1 step." in page.text
    assert page.tables["Whom each step is of"][1] == ["map", "correlate", "39", "1 of y", "4", ""]
    assert {row[0] for row in page.tables["Files read"][1:]} == {"scores.csv", "cells.csv", "clinical.csv"}


def test_a_finding_is_an_association_in_words_and_nothing_more(plan):
    path, _, _ = plan({"map": CORRELATE})

    words = page_of(run_plan(path).plan.output).text.lower()

    assert "associated with" in words
    assert not re.findall(r"\b(caus\w*|predict\w*|reflect\w*|driv\w*|due to)\b", words)


def test_clusters_stand_with_silhouette_stability_and_whether_two_or_more_are_supported(plan):
    path, _, _ = plan({"phenotype": PHENOTYPE}, apart=6.0)
    folder = run_plan(path).plan.output

    page = page_of(folder)

    evidence = pd.read_csv(folder / "tables" / "phenotype_evidence.csv", index_col="k")
    assert "2 clusters are supported: silhouette is highest at k = 2" in page.text
    two = next(row for row in page.tables["What speaks for each number of clusters"] if row[0] == "2")
    assert two[1:3] == [f"{evidence.loc[2, one]:.3f}" for one in ("silhouette", "stability")]
    assert page.tables["Patients in each cluster"][1:] == [["1", "25", "0"], ["2", "15", "0"]]


def test_where_no_number_is_supported_or_none_was_asked_for_the_page_says_so(plan):
    path, _, _ = plan({"phenotype": PHENOTYPE, "given": {**PHENOTYPE, "candidates": None, "k": 2}})
    path.write_text(path.read_text(encoding="utf-8").replace("    candidates: null\n", ""), encoding="utf-8")
    folder = run_plan(path).plan.output

    supported = {one.step: one.supported for one in read_biology(folder).clusterings}
    page = page_of(folder)

    assert supported == {"phenotype": False, "given": False}
    assert "No division is supported" in page.text
    assert "2 clusters, as the plan says: whether patients fall into so many was not asked." in page.text


def test_survival_of_groups_is_drawn_and_its_events_are_told(plan):
    steps = {
        "thirds": {"do": "tertiles", "score": "scores"},
        "fate": {"do": "survival", "group": "thirds", "groups": ["high", "low"], "outcome": DEATH, "family": "fate"},
    }
    path, _, _ = plan(steps)
    folder = run_plan(path).plan.output

    page = page_of(folder)

    (row,) = pd.read_parquet(folder / "associations.parquet").to_dict("records")
    assert page.tables["The tests of fate"][1][3] == row["counts"]
    assert "associations.csv" in page.text
    assert [one for one in page.loaded if one.startswith("data:image/")]
    assert len([one for one in page.loaded if one.startswith("data:text/csv")]) == 3  # associations, thirds, curves


def test_a_refused_step_is_told_with_its_reason_and_its_family_is_incomplete(plan):
    others = {**CORRELATE, "covariates": {"from": "scores", "columns": ["nothing"]}}
    path, _, _ = plan({"map": CORRELATE, "held": others})

    page = page_of(run_plan(path).plan.output)

    assert "Step held was refused." in page.text
    assert "there is no column nothing" in page.text
    assert "Incomplete: a step was refused, so that q-values are of fewer tests than the plan declares." in page.text


def test_a_plan_that_names_an_evaluation_puts_its_chapter_into_that_report_which_keeps_it(plan, write_evaluation):
    folder = write_evaluation()
    path, _, _ = plan({"map": CORRELATE}, report=str(folder))

    carried = run_plan(path)
    page = page_of(carried.plan.page)

    assert carried.plan.page == folder
    assert carried.plan.output == folder / "biology" / "immune"
    assert "#biology-immune" in page.loaded
    assert page.tables["The tests of cells"]
    assert "Held-out" in page.text
    assert page_of(folder).tables == page.tables


def test_the_page_loads_nothing_and_names_that_look_like_code_do_nothing(plan):
    path, score, _ = plan({"map": {**CORRELATE, "family": HOSTILE}})
    score.rename(columns={"score": HOSTILE}).to_csv(path.parent / "scores.csv")

    page = page_of(run_plan(path).plan.output)

    assert not [one for one in page.loaded if not one.startswith(("data:", "#"))]
    assert page.tags.count("script") == 1
    assert page.tags.count("img") == 1  # the heat map
    assert any(row[0] == HOSTILE for rows in page.tables.values() for row in rows if row)


def test_a_plan_whose_report_is_no_evaluation_or_that_has_two_places_is_refused(plan, tmp_path):
    with pytest.raises(TableFault, match=r"holds no metrics\.csv: name the folder of an evaluation"):
        read_plan(plan({"map": CORRELATE}, report="nowhere")[0])
    with pytest.raises(TableFault, match="output and report: results have one place: leave one out"):
        read_plan(plan({"map": CORRELATE}, report=str(tmp_path), output="results")[0])


def test_a_record_that_cannot_be_read_is_refused_with_its_cure(plan, tmp_path):
    folder = run_plan(plan({"map": CORRELATE})[0]).plan.output
    record = json.loads((folder / "associations.json").read_text(encoding="utf-8"))
    del record["families"], record["steps"]["map"]["do"]
    (folder / "associations.json").write_text(json.dumps(record), encoding="utf-8")

    with pytest.raises(
        TableFault, match=r"key families is missing: run radnet associate again(.|\n)*key steps\.map\.do is"
    ):
        write_report(folder)
    with pytest.raises(FileNotFoundError, match=r"associations\.json: no such file"):
        read_biology(tmp_path / "nowhere")
