"""Checklists against runs whose facts are known by hand: what is met must stand in the folder, and nothing else is."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import getmembers, isfunction
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from jinja2 import Environment, PackageLoader
from omegaconf import OmegaConf

from radnet.config import load_config, options
from radnet.report.checklist.answers import ask, checklist
from radnet.report.checklist.items import NAMES, Finding, Item, read_questions
from radnet.report.checklist.questions import images, judging, modelling, study
from radnet.report.checklist.score import score_range
from radnet.report.checklist.size import sample_size_told
from radnet.report.html import write_report
from radnet.report.reading import Evaluation, read_evaluation, typed
from radnet.tables import METRIC_COLUMNS

Asked = Callable[..., Mapping[str, Item]]

RUN = {
    "experiment": "plain",
    "seed": 7,
    "cohort": "cohort",
    "counts": {
        "patients": 62,
        "patients_with_outcome": 60,
        "lesion_rows": 140,
        "lesion_rows_failed": 3,
        "features": 1130,
        "development": {"patients": 40, "events": 16, "centres": ["A", "B"]},
        "held_out": {"patients": 20, "events": 8, "centres": ["B", "C"]},
        "held_out_share_from_training_centres": 0.6,
    },
    "excluded": {"P1": "outcome response unknown", "P2": "outcome response unknown"},
    "versions": {"radnet": "0.1.0", "pyradiomics": "3.0.1"},
    "git_commit": "0123456789abcdef",
}
CARD = {
    "calibrated": False,
    "n_inputs": 1130,
    "n_features": 319,
    "feature_classes": {"shape": 14, "glcm": 24},
    "channels": [],
    "extraction": {"settings": {"name": "zhao", "spacing_mm": [1.0, 1.0, 1.0], "bin_width": 25.0, "wavelet": True}},
}


def configuration(experiment: str, *overrides: str) -> dict[str, Any]:
    chosen = OmegaConf.to_container(load_config("train", [f"experiment={experiment}", *overrides]), resolve=True)
    assert isinstance(chosen, dict)
    return {str(key): value for key, value in chosen.items()}


@pytest.fixture(name="config", scope="module")
def _config() -> dict[str, Any]:
    """That of zhao_mlp, on patients who are not simulated."""
    return configuration("zhao_mlp") | {"data": {"_target_": "radnet.data.source.given_folder"}}


@pytest.fixture(name="asked")
def _asked(evaluation: Evaluation, config: dict[str, Any], tmp_path: Path) -> Asked:
    """Answer a checklist for a run whose parts a test may change; tables and metrics are added."""

    def answers(
        name: str, tables: Mapping[str, pd.DataFrame] | None = None, rows: pd.DataFrame | None = None, **about: Any
    ) -> Mapping[str, Item]:
        (tmp_path / "tables").mkdir(exist_ok=True)
        for stem, table in (tables or {}).items():
            table.to_csv(tmp_path / "tables" / f"{stem}.csv", index=False)
        metrics = evaluation.metrics[evaluation.metrics["model"] == "plain"]
        if rows is not None:
            metrics = pd.concat([metrics, typed(rows.reindex(columns=list(METRIC_COLUMNS)))], ignore_index=True)
        known = {"run": RUN, "config": config, "model": CARD, "inputs": [{"path": "../predictions.parquet"}]}
        found = checklist(replace(evaluation, metrics=metrics, about={**evaluation.about, **known, **about}), tmp_path)
        return {item.number: item for item in found[NAMES.index(name)].items}

    return answers


def metric(name: str, **more: Any) -> pd.DataFrame:
    row = {"endpoint": "response", "model": "plain", "partition": "held_out", "level": "patient", "metric": name}
    return pd.DataFrame([{**row, "estimate": 0.7, "lower": 0.6, "upper": 0.8, "n": 20, "n_event": 8, **more}])


def test_each_checklist_has_the_items_of_its_publication():
    numbers = {name: [item.number for item in read_questions(name)[2]] for name in NAMES}

    assert len(set(numbers["tripod_ai"])) == len(numbers["tripod_ai"]) == 52
    assert {int(re.sub(r"\D", "", number)) for number in numbers["tripod_ai"]} == set(range(1, 28))
    assert numbers["clear"] == [str(number) for number in range(1, 59)]
    assert numbers["metrics_score"] == [str(number) for number in range(1, 31)]


def test_the_weights_of_metrics_add_up_to_one_and_each_category_to_its_share():
    items = read_questions("metrics_score")[2]
    shares = pd.Series([item.weight for item in items]).groupby([item.section for item in items]).sum()

    assert sum(item.weight for item in items) == pytest.approx(1, abs=5e-4)  # four decimals each
    rank = shares.sort_values(ascending=False).index  # the order of importance in the paper's abstract
    assert list(rank[:2]) == ["Study design", "Imaging data"]
    assert rank[-1] == "Open science"


def test_every_question_asked_has_a_function_and_every_function_is_asked():
    asked = {item.ask for name in NAMES for item in read_questions(name)[2] if item.ask}
    written = {
        name
        for module in (study, images, modelling, judging)
        for name, function in getmembers(module, isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }

    assert asked == written
    assert all(callable(ask(name)) for name in asked)
    with pytest.raises(KeyError, match="no question is called judged"):
        ask("judged")  # a look-up that a module imports is no question


@pytest.mark.parametrize("missing", [{"evidence": ""}, {"link": ""}])
def test_an_item_is_not_met_without_evidence(missing):
    with pytest.raises(ValueError, match="only with evidence"):
        Finding(**{"answer": "met", "evidence": "found", "link": "#here", **missing})


def test_the_score_is_the_weight_met_out_of_what_applies():
    def item(answer, weight):
        return Item("1", "", "", answer, "", "", weight)

    items = [item("met", 0.3), item("not met", 0.2), item("for the authors", 0.1), item("not applicable", 0.4)]

    assert score_range(items) == (50, pytest.approx(66.666667))
    assert score_range(items[-1:]) == (0, 0)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_run_nothing_about_its_making_is_met(name, asked):
    answered = asked(name, run=None, config=None, model=None)

    met = {item.text for item in answered.values() if item.answer == "met"}
    judged_alone = {
        *("Guidelines or checklists followed", "A checklist of radiomics or machine learning is followed"),
        *("Uncertainty", "Uncertainty considered", "Performance of the model"),
    }
    assert met <= judged_alone


@pytest.mark.parametrize("name", NAMES)
def test_only_what_people_know_is_left_to_the_authors_of_a_table_of_predictions(name, asked):
    answered = asked(name, run=None, config=None, model=None)

    assert all(item.answer in ("met", "not met", "not applicable", "for the authors") for item in answered.values())
    assert sum(item.answer == "for the authors" for item in answered.values()) > len(answered) / 3


@pytest.mark.parametrize(
    ("number", "evidence"),
    [
        ("15", "development: 40 patients, 16 events; held-out: 20 patients, 8 events"),
        ("22", "resampled to 1 × 1 × 1 mm"),
        ("23", "bins 25 wide"),
        ("24", "wavelet"),
        ("25", "native engine, radnet 0.1.0"),
        ("26", "shape 14, glcm 24"),
        ("27", "1130 per region, 1 region(s): lesion"),
        ("29", "SimpleImputer (strategy median)"),
        ("29", "2 patients left out (outcome response unknown)"),
        ("30", "16 of 40 development patients have the event"),
        ("32", "StandardScaler"),
        ("33", "Uncorrelated (limit 0.95): 1130 → 319"),
        ("34", "RadiomicsMLP (hidden [256, 64, 16], dropout 0.3)"),
        ("38", "60% of held-out patients come from training centres"),
        ("40", "AUC 0.733 (0.624–0.841)"),
    ],
)
def test_what_the_run_says_is_met_with_its_value(number, evidence, asked):
    item = asked("clear")[number]

    assert (item.answer, evidence in item.evidence) == ("met", True), item.evidence


@pytest.mark.parametrize(
    ("name", "number", "why"),
    [
        ("tripod_ai", "12e", "missing: calibration, clinical utility (the model gives no probability)"),
        ("tripod_ai", "14", "no subgroup was asked for"),
        ("tripod_ai", "20b", "no table one"),
        ("clear", "31", "no step of the model asks for agreement"),
        ("clear", "36", "no check of centre"),
        ("clear", "41", "no two models were compared"),
        ("clear", "43", "no importance"),
        ("metrics_score", "14", "no step of the model asks for agreement"),
        ("metrics_score", "24", "no comparison with a model of volume"),
    ],
)
def test_what_is_not_in_the_folder_is_not_met(name, number, why, asked):
    item = asked(name)[number]

    assert item.answer == "not met"
    assert why in item.evidence


IMPORTANCE = pd.DataFrame({"kind": ["feature", "branch"], "name": ["a", "b"], "importance": [0.1, 0.2]})
SHORT = pd.DataFrame({"criterion": ["riley_minimum"], "needed": [900], "met": [False], "told": ["900 are needed"]})
VERSUS = metric("auc_difference", versus="control_volume", method="delong_paired", estimate=0.12)


@pytest.mark.parametrize(
    ("name", "number", "found", "answer", "evidence"),
    [
        ("clear", "43", {"tables": {"importance": IMPORTANCE}}, "met", "1 feature, 1 branch"),
        (
            "clear",
            "44",
            {"tables": {"table_one": pd.DataFrame({"variable": ["patients", "age", "sex"]})}},
            "met",
            "2 variables",
        ),
        (
            "tripod_ai",
            "20b",
            {"tables": {"table_one": pd.DataFrame({"variable": ["age"]})}},
            "for the authors",
            "dates",
        ),
        ("tripod_ai", "10", {"tables": {"sample_size": SHORT}}, "not met", "900 are needed"),
        ("tripod_ai", "10", {"tables": {"sample_size": SHORT.assign(met=True)}}, "met", "every criterion"),
        ("clear", "9", {"tables": {"sample_size": SHORT}}, "met", "judged afterwards"),
        ("metrics_score", "22", {"rows": metric("calibration_slope")}, "met", "calibration_slope"),
        ("metrics_score", "22", {"rows": metric("ici", partition="apparent")}, "not met", "no measure"),
        ("metrics_score", "24", {"rows": VERSUS}, "met", "AUC difference 0.120 (0.600–0.800) (plain − control_volume"),
        ("clear", "42", {"rows": VERSUS}, "not met", "no model of score and clinical variables together"),
        ("clear", "41", {"rows": VERSUS}, "met", "control_volume"),
        ("tripod_ai", "14", {"rows": metric("auc", subgroup="sex=F")}, "met", "sex=F"),
    ],
)
def test_what_is_found_is_answered(name, number, found, answer, evidence, asked):
    item = asked(name, **found)[number]

    assert item.answer == answer
    assert evidence.lower() in item.evidence.lower()


@pytest.mark.parametrize(
    ("age", "answer"), [(1.2, "met"), (None, "not met")], ids=["entered", "left out for few events"]
)
def test_a_combined_model_is_one_that_kept_a_clinical_variable(age, answer, asked):
    table = pd.DataFrame({"analysis": "multivariable", "variable": ["score", "age"], "estimate": [2.0, age]})

    item = asked("clear", rows=VERSUS, tables={"regression": table})["42"]

    assert item.answer == answer
    assert ("score, age" in item.evidence) == (answer == "met")


@pytest.mark.parametrize(
    ("suspicious", "answer", "evidence"),
    [(False, "met", "none suspicious: centre"), (True, "not met", "found and not dealt with: centre")],
)
def test_a_confounder_found_is_no_confounder_handled(suspicious, answer, evidence, asked):
    checks = {"leak_checks": [{"cause": "centre", "suspicious": suspicious}]}

    item = asked("clear", falsification=checks)["36"]

    assert (item.answer, evidence in item.evidence) == (answer, True)


def test_a_simulated_hospital_is_no_other_institution(asked, config):
    simulated = config | {"data": {"_target_": "radnet.data.source.simulated_folder", "preset": "small"}}
    of_centre = metric("auc", centre="C", method="delong", estimate=0.75)

    real = asked("metrics_score", rows=of_centre)
    made_up = asked("metrics_score", rows=of_centre, config=simulated)

    assert (real["4"].answer, real["27"].answer) == ("met", "met")
    assert "centre C, n = 20" in real["27"].evidence
    assert (made_up["4"].answer, made_up["27"].answer) == ("not met", "not met")
    assert made_up["26"].answer == "met"


def test_items_on_radiomics_do_not_apply_to_a_clinical_model(asked):
    config = configuration("zhao_clinical")
    card = {"calibrated": True, "channels": [], "feature_classes": {}, "n_inputs": 4, "n_features": None}

    clear = asked("clear", config=config, model=card)
    score = asked("metrics_score", config=config, model=card)

    assert {clear[str(number)].answer for number in range(21, 29)} == {"not applicable"}
    assert clear["17"].evidence == "columns: lines_ge2, sites_ge3, visceral, subtype"
    assert {score[number].answer for number in ("8", "9", "10", "12", "17")} == {"not applicable"}
    assert score["15"].answer != "met"


@pytest.mark.parametrize("experiment", options("experiment"))
@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_can_be_asked_everything(experiment, name, asked):
    answered = asked(name, config=configuration(experiment))

    assert all(item.evidence and item.link for item in answered.values() if item.answer == "met")


def test_sentences_on_sample_size_are_those_of_the_table(tmp_path):
    (tmp_path / "tables").mkdir()
    rows = SHORT.assign(endpoint="response", partition="development")
    pd.concat([rows, rows.assign(partition="held_out", met=True)]).to_csv(
        tmp_path / "tables" / "sample_size.csv", index=False
    )

    told = sample_size_told(tmp_path)

    assert [one.verdict for one in told] == ["Development, too few:", "Evaluation, enough:"]
    assert {one.told for one in told} == {"900 are needed"}
    assert sample_size_told(tmp_path / "elsewhere") == []


def test_every_link_into_the_page_has_its_place_there(write_evaluation, config):
    folder = write_evaluation(run=RUN, config=config, model=CARD)
    (folder / "tables").mkdir()
    SHORT.assign(endpoint="response", partition="development").to_csv(
        folder / "tables" / "sample_size.csv", index=False
    )

    page = write_report(folder).read_text(encoding="utf-8")

    found = checklist(read_evaluation(folder), folder)
    links = {item.link for one in found for item in one.items if item.link.startswith("#")}
    assert {"#checklist", "#flow", "#headline", "#sample-size"} <= links
    assert {link[1:] for link in links} <= set(re.findall(r'\bid="([^"]+)"', page))
    assert "900 are needed" in page


def test_a_value_of_the_run_cannot_become_markup(evaluation, config, tmp_path):
    hostile = {**RUN, "excluded": {"P1": "<script>alert(1)</script>"}}
    about = {**evaluation.about, "run": hostile, "config": config, "model": CARD}
    lists = checklist(replace(evaluation, about=about), tmp_path)
    environment = Environment(loader=PackageLoader("radnet", "report"), autoescape=True)

    page = environment.get_template("checklist/checklist.html.j2").render(checklists=lists, sample_size=[])

    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count('<th scope="row">') == 52 + 58 + 30
