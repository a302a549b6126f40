import base64
import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from radnet.report.html import write_report

HOSTILE = """_</script><img src=x onerror=alert(1)> "'&$x$ %{x}"""
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """The elements of a page, each with its tag, its attributes and the text within it."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.unclosed = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        if self.open.pop()["tag"] != tag:
            self.unclosed.append(tag)

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag, **attributes):
        return [
            element
            for element in self.elements
            if element["tag"] == tag and all(element.get(name) == value for name, value in attributes.items())
        ]

    def plots(self):
        return self.all("script", type="application/json")

    def words(self, tag, **attributes):
        return [" ".join(element["text"].split()) for element in self.all(tag, **attributes)]


def page_of(folder):
    return Page(write_report(folder).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(write_evaluation):
    return write_evaluation()


@pytest.fixture(scope="module")
def page(folder):
    return page_of(folder)


def test_the_page_is_whole_and_says_its_language(page, folder):
    assert (folder / "report.html").read_text(encoding="utf-8").lstrip().startswith("<!DOCTYPE html>")
    assert page.all("html", lang="en")
    assert not page.open
    assert not page.unclosed


def test_the_page_loads_nothing_from_elsewhere(page):
    loaded = [element["src"] for element in page.elements if "src" in element]
    loaded += [element["href"] for element in page.elements if "href" in element]

    assert loaded
    assert not [address for address in loaded if not address.startswith(("data:", "#"))]
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none'")
    style = " ".join(element["text"] for element in page.all("style"))
    assert "url(" not in style
    assert "@import" not in style


def test_names_that_look_like_code_are_shown_and_do_nothing(write_evaluation):
    message = {"severity": "failed", "endpoint": HOSTILE, "message": HOSTILE}
    hostile = write_evaluation(
        keep=lambda row: row["model"] == "plain",
        rename={"plain": HOSTILE, "B": HOSTILE},
        inputs=[{"path": HOSTILE, "sha256": HOSTILE, "rows": 1}],
        truth={"file": HOSTILE, "oracle_auc": {HOSTILE: {"auc": 0.8, "se": 0.01, "formula": HOSTILE}}},
        messages=[message],
        run={"experiment": HOSTILE, "counts": {HOSTILE: 1}},
    )

    page = page_of(hostile)

    plots = page.all("div", **{"class": "plot"})
    assert len(page.all("script")) == len(plots) + 2  # their numbers, plotly and the few lines that draw
    assert len(page.all("img")) == 3
    assert not [name for element in page.elements for name in element if name.startswith("on")]
    shown = " ".join(HOSTILE.split())
    assert shown in page.words("h4")
    assert any(shown in words for words in page.words("h1"))
    for script in page.plots():
        assert "<" not in script["text"]
        names = [trace.get("name", "") for trace in json.loads(script["text"])["data"]]
        assert not [name for name in names if "<" in name or "$" in name]


def test_held_out_stands_before_out_of_fold_before_apparent(page):
    def partitions(words):
        return [re.search("Held-out|Out-of-fold|Apparent", text)[0] for text in words]

    order = ["Held-out", "Out-of-fold", "Apparent"]
    assert [dd["data-partition"] for dd in page.all("dd") if "data-partition" in dd] == [
        *["held_out", "out_of_fold", "apparent"] * 4  # two models, two endpoints
    ]
    assert partitions(words for words in page.words("caption") if words.startswith("pfs:")) == order
    assert partitions(plot["aria-label"] for plot in page.all("div", **{"class": "plot"})) == order * 5


def test_each_auc_printed_is_the_one_of_the_metrics(page, areas):
    articles = [" ".join(words.split()) for words in page.words("article")]
    rows = page.words("tr")

    for (model, partition), (estimate, lower, upper, n, n_event) in areas.items():
        lowest = lower - 0.01 if partition == "out_of_fold" else lower  # where DeLong does not hold, the bootstrap's
        printed = f"{estimate:.3f} ({lowest:.3f}–{upper:.3f})"
        article = next(words for words in articles if words.startswith(model))
        assert f"{printed}{n} patients, {n_event} with the event" in article
        assert any(row.startswith(model) and printed in row for row in rows)


def test_only_a_result_on_unseen_patients_is_set_large(page):
    assert {dd["data-partition"] for dd in page.all("dd", **{"class": "lead"})} == {"held_out"}
    assert page.words("dt", **{"class": "apparent"}) == ["Apparent: the model learned from these patients"] * 4


def test_intervals_are_named_by_the_coverage_they_were_made_for(write_evaluation):
    page = page_of(write_evaluation(figures=(), evaluation={"level": 0.9}))

    assert "AUC (90% CI)" in page.words("th")
    assert "95%" not in " ".join(page.words("main"))


def test_every_table_has_a_caption_and_scoped_headings(page):
    assert len(page.all("caption")) == len(page.all("table")) > 5
    assert {heading.get("scope") for heading in page.all("th")} == {"col", "row"}


def test_each_figure_carries_its_own_numbers(page, folder):
    links = {link["download"]: link["href"] for link in page.all("a") if "download" in link}

    assert set(links) == {"roc.csv", "scores.csv", "km.csv"}
    for name, address in links.items():
        kind, numbers = address.split(",")
        assert kind == "data:text/csv;charset=utf-8;base64"
        assert base64.b64decode(numbers) == (folder / "figures" / name).read_bytes()


def test_figures_stand_beside_the_page_in_three_formats(page, folder):
    names = {path.name for path in (folder / "figures").iterdir()}

    assert names == {f"{name}.{suffix}" for name in ("roc", "scores", "km") for suffix in ("csv", "pdf", "svg", "png")}


def test_without_held_out_patients_the_page_says_so_and_leads_with_out_of_fold(write_evaluation):
    page = page_of(write_evaluation(keep=lambda row: row["partition"] != "held_out", figures=()))

    assert page.words("p", role="note")[0].startswith("No held-out patients. The number shown first is out-of-fold")
    assert {dd["data-partition"] for dd in page.all("dd", **{"class": "lead"})} == {"out_of_fold"}


def test_an_apparent_result_alone_is_never_set_large(write_evaluation):
    page = page_of(write_evaluation(keep=lambda row: row["partition"] == "apparent", figures=()))

    assert page.words("p", role="note")[0].startswith("No held-out patients and no out-of-fold scores.")
    assert not page.all("dd", **{"class": "lead"})


def test_without_survival_curves_there_is_no_survival_section(write_evaluation):
    folder = write_evaluation(figures=("roc",))

    page = page_of(folder)

    assert page.all("section", id="roc")
    assert not page.all("section", id="km")
    assert not (folder / "figures" / "km.png").exists()


def test_without_any_result_the_failures_are_still_told(write_evaluation):
    told = [
        {"severity": "info", "endpoint": "response", "model": None, "partition": None, "message": "ties are rare"},
        {
            "severity": "failed",
            "endpoint": "response",
            "model": "deep",
            "partition": "held_out",
            "message": "one class",
        },
    ]

    page = page_of(write_evaluation(keep=lambda _: False, figures=(), messages=told))

    warnings = page.words("p", **{"class": "warning failed"})
    assert warnings[0] == "1 result could not be computed. See the messages."
    assert warnings[-1] == "Failed: response · deep · Held-outone class"
    assert page.words("li")[-1] == "response: ties are rare"


def test_what_a_simulated_cohort_allows_stands_beside_the_results(write_evaluation, page):
    known = {"auc": 0.81, "se": 0.012, "formula": "monte_carlo"}

    simulated = page_of(write_evaluation(figures=(), truth={"file": "truth.json", "oracle_auc": {"image": known}}))

    assert "Image0.810 (SE 0.012)" in " ".join(simulated.words("aside"))
    assert not page.all("aside")


def test_the_unit_of_time_stands_on_the_axis_and_over_the_patients_at_risk(write_evaluation):
    folder = write_evaluation(figures=("km",))
    km = folder / "figures" / "km.csv"
    pd.read_csv(km).assign(time_unit="months").to_csv(km, index=False)

    page = page_of(folder)

    titles = [json.loads(script["text"])["layout"]["xaxis"]["title"]["text"] for script in page.plots()]
    assert set(titles) == {"Time (months)"}
    assert "Patients at risk at each time (months)" in page.words("caption")


def test_metrics_alone_make_a_report(write_evaluation):
    folder = write_evaluation()
    (folder / "evaluation.json").unlink()
    for path in (folder / "figures").iterdir():
        path.unlink()

    page = page_of(folder)

    assert page.all("article")
    assert not page.all("figure")
    assert "Not recorded: the folder holds no evaluation.json." in page.words("p")


def test_the_same_evaluation_gives_the_same_page(write_evaluation):
    once, again = (write_report(write_evaluation(figures=("roc",))) for _ in range(2))

    assert once.read_bytes() == again.read_bytes()
