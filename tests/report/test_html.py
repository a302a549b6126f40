import base64
import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from radnet.report.html import write_report

HOSTILE = """_</script><img src=x onerror=alert(1)> "'&$x$ %{x}"""
VOID = {"meta", "link", "img", "br", "input"}


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
        return [script for script in self.all("script", type="application/json") if "id" not in script]

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
    assert len(page.all("script")) == len(plots) + 3  # their numbers, the slider's, plotly and the lines that draw
    assert len(page.all("img")) == len(list((hostile / "figures").glob("*.pdf")))
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
    assert partitions(words for words in page.words("caption") if re.match("pfs: (Held|Out|App)", words)) == order
    labels = [plot["aria-label"] for plot in page.all("div", **{"class": "plot"})]
    assert partitions(labels) == order * (len(labels) // 3)
    assert len(labels) >= 15  # ROC curves once; scores and survival of two models


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

    assert base64.b64decode(links.pop("metrics.csv").split(",")[1]) == (folder / "metrics.csv").read_bytes()
    assert {"roc.csv", "scores.csv", "km.csv"} <= set(links)
    for name, address in links.items():
        kind, numbers = address.split(",")
        assert kind == "data:text/csv;charset=utf-8;base64"
        assert base64.b64decode(numbers) == (folder / "figures" / name).read_bytes()


def test_figures_stand_beside_the_page_in_three_formats(page, folder):
    names = {path.name for path in (folder / "figures").iterdir()}

    drawn = {link["download"].removesuffix(".csv") for link in page.all("a") if "download" in link} - {"metrics"}
    assert {"roc", "scores", "km"} <= drawn
    assert names == {f"{name}.{suffix}" for name in drawn for suffix in ("csv", "pdf", "svg", "png")}


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
    assert "response: ties are rare" in page.words("li")


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


CHECKS = [
    {"cause": "id_order", "value": 0.5, "p_value": 0.9, "suspicious": False, "told": "The order says nothing."},
    {"cause": "centre", "value": 0.9, "p_value": 0.001, "suspicious": True, "told": "The centre sorts patients."},
]


def with_rows(folder, *rows):
    """Add rows to the metrics of a folder, each like the AUC of the model called deep on held-out patients."""
    metrics = pd.read_csv(folder / "metrics.csv")
    like = {"endpoint": "response", "model": "deep", "partition": "held_out", "level": "patient", "method": "delong"}
    like |= {"metric": "auc", "n": 40, "n_event": 15}
    pd.concat([metrics, pd.DataFrame([like | row for row in rows])]).to_csv(folder / "metrics.csv", index=False)
    return folder


@pytest.mark.parametrize(
    ("difference", "told"),
    [
        (
            {"estimate": 0.081, "lower": 0.012, "upper": 0.15, "p_value": 0.02},
            "deep beats volume alone by 0.081 (0.012–0.150)",
        ),
        ({"estimate": 0.02, "lower": -0.03, "upper": 0.07, "p_value": 0.4}, "deep does not beat volume alone"),
    ],
    ids=["better", "not told apart"],
)
@pytest.mark.parametrize("turned", [False, True], ids=["model minus volume", "volume minus model"])
def test_the_page_says_whether_a_model_beats_volume_alone(write_evaluation, difference, told, turned):
    row = {"metric": "auc_difference", "versus": "control_volume", "method": "delong_paired", **difference}
    if turned:
        row |= {"model": "control_volume", "versus": "deep", "estimate": -row["estimate"]}
        row |= {"lower": -difference["upper"], "upper": -difference["lower"]}
    control = {"model": "control_volume", "estimate": 0.6, "lower": 0.5, "upper": 0.7}

    page = page_of(with_rows(write_evaluation(figures=()), control, row))

    said = page.words("strong")
    assert told in said
    assert "plain was not compared with volume alone" in said
    assert "No control of clinical variables alone was run" in said
    assert "control_volume" not in page.words("h4")  # a control has no card of its own


def test_without_controls_the_page_says_that_none_was_run(page):
    said = page.words("strong")

    assert "No control of volume alone was run" in said
    assert "Outcomes were not permuted" in said
    assert "None was looked for: no controls were run." in page.words("p")


def test_permuted_outcomes_and_checked_causes_are_told(write_evaluation):
    permuted = {"model": "logistic", "statistic": "AUC", "partition": "out_of_fold", "observed": 0.8, "p_value": 0.01}
    trial = {"permutation": {**permuted, "null": [0.41, 0.62]}, "leak_checks": CHECKS}

    page = page_of(write_evaluation(figures=(), falsification=trial))

    items = page.words("li")
    assert any(
        "Permuted outcomes: p = .010" in item and "2 permutations reached 0.410 to 0.620" in item for item in items
    )
    told = [item for item in items if "The order says nothing" in item or "The centre sorts" in item]
    assert [item[0] for item in told] == ["✗", "✓"]  # what is suspicious comes first


def test_a_result_too_good_raises_a_leak_warning_with_the_causes(write_evaluation):
    best = {"model": "best", "estimate": 0.97, "lower": 0.93, "upper": 1.0}

    page = page_of(with_rows(write_evaluation(figures=(), falsification={"leak_checks": CHECKS}), best))

    (warning,) = page.words("p", role="alert")
    assert "response · best: Held-out AUC 0.970 is above 0.95" in warning
    assert "Checked: id order, centre. The centre sorts patients." in warning


def test_apparent_out_of_fold_corrected_and_held_out_stand_side_by_side(write_evaluation):
    corrected = {"partition": "optimism_corrected", "lower": 0.6, "upper": 0.8}
    rows = [
        {**corrected, "method": "632plus", "estimate": 0.713},
        {**corrected, "method": "bootstrap", "estimate": 0.742},
    ]

    page = page_of(with_rows(write_evaluation(figures=()), *rows))

    (row,) = [row for row in page.words("tr") if row.startswith("deep") and "0.713" in row and "0.742" in row]
    assert re.findall(r"0\.\d{3} \(", row) == ["0.977 (", "0.826 (", "0.742 (", "0.713 (", "0.761 ("]


def test_the_flow_counts_who_was_left_out_and_why_but_names_nobody(write_evaluation):
    counts = {
        "patients": 12,
        "patients_with_outcome": 9,
        "patients_measured": 8,
        "lesion_rows": 20,
        "lesion_rows_failed": 1,
    }
    counts |= {"development": {"patients": 5, "events": 2, "centres": ["A"]}, "held_out": {"patients": 3, "events": 1}}
    excluded = dict.fromkeys(["P1", "P2"], "outcome response unknown") | {"P3": "no measured lesion"}

    page = page_of(write_evaluation(figures=(), run={"experiment": "x", "counts": counts, "excluded": excluded}))

    boxes = page.words("div", **{"class": "box"})
    assert boxes == [
        "Patients in the cohortn = 12",
        "Left out: 32: outcome response unknown1: reason not recorded",
        "With a known outcomen = 9",
        "Left out: 11: no measured lesion",
        "With a measured lesionn = 820 measurements of lesions, 1 failed",
        "Developmentn = 52 with the eventCentre A",
        "Held-outn = 31 with the event",
    ]
    assert "P1" not in " ".join(page.words("td"))


def test_without_a_run_the_flow_says_what_is_not_recorded(write_evaluation):
    page = page_of(write_evaluation(figures=(), run=None))

    assert "who was left out before they were made is not recorded" in page.words("section", id="flow")[0]
    assert "response · Held-outn = 4015 with the event" in page.words("div", **{"class": "box"})


def test_tables_of_a_run_are_shown_and_carried(write_evaluation):
    folder = write_evaluation(figures=())
    (folder / "tables").mkdir()
    (folder / "tables" / "table_one.csv").write_text("variable,level,A,p_value\nage,,61 (9),0.0301\n", encoding="utf-8")

    page = page_of(folder)

    assert "age61 (9)0.030" in page.words("tr")
    carried = {link["download"]: link["href"] for link in page.all("a") if "download" in link}
    assert (
        base64.b64decode(carried["table_one.csv"].split(",")[1]) == (folder / "tables" / "table_one.csv").read_bytes()
    )


def test_a_matrix_sets_every_model_beside_every_other(page):
    rows = page.words("tr")

    assert "deep minus−0.028 (−0.091 to 0.035) (p = .384)" in rows
    assert "plain minus0.028 (−0.035 to 0.091) (p = .384)" in rows


def test_no_slider_is_offered_for_an_endpoint_judged_by_its_follow_up(page):
    embedded = json.loads(page.all("script", id="threshold-data")[0]["text"])

    assert {one["endpoint"] for one in embedded["selections"]} == {"response"}
    assert all(one["score"] == sorted(one["score"]) for one in embedded["selections"])
    assert all(len(one["score"]) == 19 for one in embedded["selections"])  # one of 20 has no known outcome
