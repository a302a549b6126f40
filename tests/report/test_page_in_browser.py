"""The page as a reader meets it, in a headless Chromium: what moves, what can be saved, what a keyboard reaches."""

import base64
import io
import json
import os
import re
import shutil
import time

import numpy as np
import pandas as pd
import pytest

from assessing import joined, table
from radnet.evaluation.assess import assess
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.evaluation.confusion import confusion
from radnet.evaluation.decision.net_benefit import decision_curve
from radnet.files import write_json
from radnet.report.html import write_report
from radnet.report.text import decimal
from radnet.tables import write_table

pytest.importorskip("selenium", reason="selenium is not installed")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = os.environ.get("CHROMEDRIVER") or shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(
        not (BROWSER and DRIVER), reason="needs chromium and chromedriver, which are not on this machine"
    ),
    # A helper of selenium's leaves its pipe to the driver to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
HOSTILE = """<script>document.title="taken"</script>"""
SHARES = ("sensitivity", "specificity", "ppv", "npv", "accuracy")
COUNTS = {"tp": "true_positive", "fp": "false_positive", "fn": "false_negative", "tn": "true_negative"}


def made_up(seed, n=80, model="signature", **columns):
    """Patients whose probability rises with their score; scores are coarse, so that some stand at a cut-off."""
    rng = np.random.default_rng(seed)
    event = rng.permutation(np.arange(n) < n // 4)
    score = np.round(event * 1.2 + rng.normal(size=n), 1)
    columns = {"probability": 1 / (1 + np.exp(1.5 - score)), "cutoff": 0.7, **columns}
    return table(event, score, model=model, **columns)


@pytest.fixture(scope="module")
def predictions():
    folds = np.array([str(who % 3) for who in range(80)])
    own = np.where(folds == "0", 0.5, np.where(folds == "1", 0.7, 0.9))
    score = made_up(3)["probability"].to_numpy()
    return joined(
        made_up(1),
        made_up(2, partition="out_of_fold", fold=folds, cutoff=own),
        made_up(1, model="control_volume", cutoff=0.2),
        made_up(3, model=HOSTILE).assign(score=score, probability=score, cutoff=0.25),
        made_up(4, model="without", probability=np.nan),
    )


@pytest.fixture(scope="module")
def folder(predictions, tmp_path_factory):
    """An evaluation folder, with a table of a run and controls, and its report."""
    folder = tmp_path_factory.mktemp("page")
    settings = {"bootstrap": 50, "decision_rule": "ge"}
    assessment = assess(predictions, EvaluationSettings(**settings))
    write_table(assessment.metrics, folder / "metrics.csv")
    for name, points in assessment.curves.items():
        write_table(points, folder / "figures" / f"{name}.csv")
    people = {
        "variable": ["age", f"={HOSTILE}"],
        "level": ["", "a, b"],
        "development": ['61 "old"', "3"],
        "p_value": ["0.2", ""],
    }
    write_table(pd.DataFrame(people), folder / "tables" / "table_one.csv")
    falsification = {
        "permutation": {"model": "logistic", "statistic": "AUC", "observed": 0.8, "null": [0.4, 0.6], "p_value": 0.01},
        "leak_checks": [{"cause": HOSTILE, "value": 1, "p_value": 0.001, "suspicious": True, "told": HOSTILE}],
    }
    counts = {
        "patients": 90,
        "patients_with_outcome": 80,
        "development": {"patients": 80, "events": 20, "centres": [HOSTILE]},
    }
    run = {"experiment": HOSTILE, "counts": counts, "excluded": {f"P{who}": "outcome unknown" for who in range(10)}}
    about = {"evaluation": settings, "messages": assessment.messages, "falsification": falsification, "run": run}
    write_json(about, folder / "evaluation.json")
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def browser(folder, tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        *(
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--window-size=1280,900",
        ),
        *(
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={profile}",
        ),
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, folder):
    """The page, opened anew."""
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get((folder / "report.html").as_uri())
    return browser


def part(page, name):
    return page.find_element(By.ID, f"threshold-{name}")


def choose(page, model, partition="Held-out", basis="score"):
    Select(part(page, "model")).select_by_value(model)
    Select(part(page, "partition")).select_by_value(partition)
    Select(part(page, "basis")).select_by_value(basis)


def move_to(page, place):
    """Put the slider at a place, as a hand would, and return the threshold it stands at."""
    page.execute_script(
        "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'));", part(page, "range"), place
    )
    return part(page, "at").text


def shown(page):
    values = page.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('[data-value]')].map("
        "(one) => [one.id.replace('threshold-', ''), Number(one.dataset.value)]))"
    )
    return {name: float("nan") if value is None else value for name, value in values.items()}


def expected(rows, high, threshold_probability):
    counts = confusion(rows["event"], high)
    found = {name: getattr(counts, whole) for name, whole in COUNTS.items()}
    found |= {name: share.value for name, share in counts.shares.items()}
    odds = threshold_probability / (1 - threshold_probability)
    found["net_benefit"] = (found["tp"] - odds * found["fp"]) / len(rows)
    return found


def steps(page, number=5):
    """Places over the whole reach of the slider, its ends among them."""
    return np.linspace(0, int(part(page, "range").get_attribute("max")), number).round().astype(int).tolist()


def test_a_cutoff_on_the_score_moves_all_numbers_together(page, predictions):
    rows = predictions[(predictions["model"] == "signature") & (predictions["partition"] == "held_out")]
    choose(page, "signature")
    act_from = int(part(page, "weight").get_attribute("value")) / 100

    for place in steps(page):
        cutoff = float(move_to(page, place).replace("−", "-"))

        assert shown(page) == pytest.approx(expected(rows, rows["score"] >= cutoff, act_from), nan_ok=True)


def test_a_threshold_on_the_probability_gives_the_net_benefit_of_the_decision_curve(page, predictions):
    rows = predictions[(predictions["model"] == "signature") & (predictions["partition"] == "held_out")]
    choose(page, "signature", basis="probability")

    for place in steps(page):
        threshold = float(move_to(page, place))

        found = shown(page)
        assert found == pytest.approx(expected(rows, rows["probability"] >= threshold, threshold), nan_ok=True)
        curve = decision_curve(rows["event"], rows["probability"], [threshold], "ge")
        assert found["net_benefit"] == pytest.approx(float(curve.net_benefit[0]))


def test_where_the_score_is_the_probability_one_slider_is_enough(page, predictions):
    rows = predictions[predictions["model"] == HOSTILE]
    choose(page, HOSTILE)

    assert not part(page, "weight-control").is_displayed()
    assert shown(page) == pytest.approx(expected(rows, rows["score"] >= 0.25, 0.25))


def test_the_cutoffs_of_folds_are_shifted_together(page, predictions):
    rows = predictions[predictions["partition"] == "out_of_fold"]
    choose(page, "signature", "Out-of-fold")
    act_from = int(part(page, "weight").get_attribute("value")) / 100
    assert part(page, "at").text == "0"

    for place in steps(page):
        shift = float(move_to(page, place).replace("−", "-"))

        assert shown(page) == pytest.approx(
            expected(rows, rows["score"] >= rows["cutoff"] + shift, act_from), nan_ok=True
        )


@pytest.mark.parametrize("partition", ["Held-out", "Out-of-fold"])
def test_at_the_start_the_numbers_are_printed_as_those_of_the_metrics(page, folder, partition):
    metrics = pd.read_csv(folder / "metrics.csv", keep_default_na=False, dtype=str)
    choose(page, "signature", partition)

    for name in SHARES:
        found = (metrics["metric"] == name) & (metrics["model"] == "signature") & (metrics["centre"] == "")
        found &= metrics["partition"] == partition.lower().replace("-", "_")
        estimate = float(metrics.loc[found, "estimate"].iloc[0])
        assert part(page, name).text == f"{decimal(100 * estimate, 1)}%"
    assert part(page, "frozen").is_displayed()
    assert not part(page, "moved").is_displayed()


def test_at_the_thresholds_of_the_metrics_net_benefit_is_theirs(page, folder):
    metrics = pd.read_csv(folder / "metrics.csv")
    found = metrics[(metrics["metric"] == "net_benefit") & (metrics["model"] == "signature")]
    found = found[found["partition"] == "held_out"].set_index("at")["estimate"]
    choose(page, "signature", basis="probability")

    for threshold in (0.05, 0.15, 0.3, 0.7, 0.95):
        assert move_to(page, round(100 * threshold) - 1) == f"{threshold:g}"
        assert part(page, "net_benefit").text == decimal(found[threshold])


def test_a_number_ending_in_five_is_rounded_as_the_tables_round_it(page):
    """1 of 16 is 6.25%: the tables write 6.2, JavaScript alone would write 6.3."""
    choose(page, "without")
    sizes = page.execute_script(
        "const data = JSON.parse(document.getElementById('threshold-data').textContent);"
        "data.selections = [{...data.selections[0], score: [...Array(16).keys()], event: Array(16).fill(1), cutoff: 15,"
        " rows: null, probability: null, same: false}]; thresholdPanel(data);"
        "return document.getElementById('threshold-sensitivity').textContent"
    )

    assert sizes == "6.2%"


def test_the_slider_is_reached_and_moved_by_keys_alone(page):
    body = page.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert page.switch_to.active_element.text == "Skip to the results"
    reached = []
    while "threshold-range" not in reached:
        page.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(page.switch_to.active_element.get_attribute("id"))
        assert len(reached) < 200
    expected_order = [
        "threshold-endpoint",
        "threshold-model",
        "threshold-partition",
        "threshold-basis",
        "threshold-range",
    ]
    assert [name for name in reached if (name or "").startswith("threshold-")] == expected_order
    before = part(page, "at").text, shown(page)

    slider = page.switch_to.active_element
    outline = page.execute_script("return getComputedStyle(arguments[0]).outlineStyle", slider)
    slider.send_keys(*[Keys.ARROW_LEFT] * 30)

    assert outline == "solid"
    assert part(page, "at").text != before[0]
    assert shown(page)["sensitivity"] >= before[1]["sensitivity"]
    assert slider.get_attribute("aria-valuetext") == part(page, "at").text
    assert part(page, "moved").is_displayed()
    slider.send_keys(Keys.TAB, Keys.TAB)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert (part(page, "at").text, shown(page)) == before
    WebDriverWait(page, 5).until(lambda _: part(page, "told").get_attribute("textContent").startswith("At "))


def test_everything_that_can_be_used_has_a_name_and_headings_are_in_order(page):
    nameless = page.execute_script(
        "return [...document.querySelectorAll('a, button, input, select, [tabindex]')].filter((one) =>"
        " !(one.getAttribute('aria-label') || one.textContent.trim() || (one.labels && one.labels.length)))"
        ".map((one) => one.outerHTML)"
    )
    levels = page.execute_script(
        "return [...document.querySelectorAll('h1, h2, h3, h4, h5')].map((one) => Number(one.tagName[1]))"
    )
    twice = page.execute_script(
        "const ids = [...document.querySelectorAll('[id]')].map((one) => one.id).filter(Boolean);"
        "return ids.filter((id, place) => ids.indexOf(id) !== place && !document.getElementById(id).closest('svg'))"
    )
    astray = page.execute_script(
        "return [...document.querySelectorAll('a[href^=\"#\"]:not([download])')].map((one) => one.getAttribute('href'))"
        ".filter((href) => !document.getElementById(href.slice(1)))"
    )

    assert nameless == []
    assert levels[0] == 1
    assert max(np.diff(levels)) <= 1
    assert twice == []
    assert astray == []


def test_each_file_carried_is_the_file_on_disk(page, folder):
    links = page.execute_script(
        "return [...document.querySelectorAll('a[download][href^=\"data:\"]')].map((one) => [one.download, one.href])"
    )

    carried = {name: base64.b64decode(address.split(",")[1]) for name, address in links}
    assert {"metrics.csv", "table_one.csv", "roc.csv", "scores.csv"} <= set(carried)
    for name, content in carried.items():
        on_disk = [
            path for path in (folder / name, folder / "tables" / name, folder / "figures" / name) if path.is_file()
        ]
        assert content == on_disk[0].read_bytes()


def test_a_table_is_saved_as_it_is_shown(page):
    csv = page.execute_script(
        "return tableAsCsv([...document.querySelectorAll('.scroll > table')].find((one) =>"
        " one.caption.textContent.startsWith('Table 1')))"
    )

    saved = pd.read_csv(io.StringIO(csv), dtype=str, keep_default_na=False)
    assert saved["Variable"].tolist() == ["age", f"={HOSTILE}"]
    assert saved["Level"].tolist() == ["", "a, b"]
    assert saved["Development"].tolist() == ['61 "old"', "3"]
    assert saved["p-value"].tolist() == ["0.200", ""]


def test_every_figure_is_drawn_without_a_scroll(page):
    left = "return [...document.querySelectorAll('.plot')].filter((one) => !one.querySelector('.main-svg')).length"

    WebDriverWait(page, 60).until(lambda _: page.execute_script(left) == 0)


def test_closed_parts_open_for_print(page):
    page.execute_script("window.dispatchEvent(new Event('beforeprint'))")

    assert page.execute_script("return document.querySelectorAll('details:not([open])').length") == 0


def test_nothing_fails_and_nothing_is_fetched(page, folder):
    for top in range(40):
        page.execute_script("window.scrollTo(0, arguments[0] * 700)", top)
        time.sleep(0.02)
    choose(page, "without")
    move_to(page, 3)
    page.execute_script(
        "document.querySelectorAll('a[download]').forEach((one) => {"
        " one.addEventListener('click', (click) => click.preventDefault()); one.click(); })"
    )

    asked = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    addresses = [one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"]
    own = (folder / "report.html").as_uri()
    assert own in addresses
    assert [one for one in addresses if one != own and not one.startswith(("data:", "blob:"))] == []
    assert page.get_log("browser") == []


def test_names_that_look_like_code_are_words_on_the_page(page):
    assert HOSTILE in page.find_element(By.TAG_NAME, "h1").text
    assert page.title.endswith(HOSTILE)
    assert HOSTILE in [option.text for option in Select(part(page, "model")).options]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(page, scheme):
    feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
    colours = page.execute_script(
        "const style = getComputedStyle(document.documentElement);"
        "return Object.fromEntries(['ink', 'soft', 'paper', 'tint', 'accent', 'alarm', 'good', 'warn', 'failed'].map("
        "(name) => [name, style.getPropertyValue('--' + name).trim()]))"
    )
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    pairs = [(text, ground) for text in ("ink", "soft", "accent") for ground in ("paper", "tint")]
    pairs += [("alarm", "paper"), ("good", "paper"), ("ink", "warn"), ("ink", "failed")]
    for text, ground in pairs:
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


def contrast(one, other):
    """Contrast of two colours by WCAG 2.1's definition of relative luminance."""

    def luminance(colour):
        values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
        linear = np.where(values <= 0.03928, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    brighter, darker = sorted([luminance(one), luminance(other)], reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def test_the_page_prints_with_its_figures(page):
    shown_in_print = (
        "return [...document.querySelectorAll('.drawing')].every((one) => getComputedStyle(one).display === 'block')"
    )
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert page.execute_script(shown_in_print)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})

    printed = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])

    assert printed.startswith(b"%PDF")
    pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    assert pages >= 3
    assert len(printed) > 50_000


def test_the_page_opens_at_once(page):
    opened = page.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd")

    assert 0 < opened < 10_000  # a small page within seconds, even beside other work; the large one is measured apart
