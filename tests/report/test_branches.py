"""Ablations of a model: compared with the whole model alone, and shown in one table of the report."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from assessing import joined, row_of, rows_of, table
from radnet.evaluation.assess import assess
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.files import write_json
from radnet.judgement import headline
from radnet.report.branches import branch_tables
from radnet.report.checklist.record import read_record
from radnet.report.claims import claims
from radnet.report.comparison import comparison_matrices
from radnet.report.headline import headlines
from radnet.report.html import write_report
from radnet.report.performance import comparison_tables
from radnet.report.reading import read_evaluation
from radnet.tables import write_table

PARTS = ("ablation_image_alone", "ablation_clinical_alone")
NAMES = ("control_volume", *PARTS, "hybrid")  # the whole model last: no order of rows decides what it is
EVENT = np.arange(60) % 3 == 0
SCORES = {name: EVENT + np.random.default_rng(place).normal(size=60) for place, name in enumerate(NAMES)}


def assessed(*, names=NAMES, **settings):
    predictions = joined(*(table(EVENT, SCORES[name], model=name) for name in names))
    return assess(predictions, EvaluationSettings(bootstrap=20, **settings))


@pytest.fixture(scope="module")
def found():
    return assessed()


@pytest.fixture(scope="module")
def folder(found, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    write_table(found.metrics, folder / "metrics.csv")
    for name, points in found.curves.items():
        write_table(points, folder / "figures" / f"{name}.csv")
    about = {"evaluation": {}, "messages": [], "truth": None, "run": None}
    write_json(about, folder / "evaluation.json")
    return folder


def pairs(assessment):
    rows = rows_of(assessment, "auc_difference")
    return set(zip(rows["model"], rows["versus"], strict=True))


def test_an_ablation_is_compared_with_the_whole_model_and_with_nothing_else(found):
    assert pairs(found) == {("hybrid", other) for other in (*PARTS, "control_volume")}


def test_a_model_to_compare_with_is_compared_with_its_ablations_and_these_are_not_with_each_other():
    whole = {frozenset(pair) for pair in pairs(assessed(versus="hybrid"))}
    part = {frozenset(pair) for pair in pairs(assessed(versus=PARTS[0]))}

    assert whole == part == {frozenset(("hybrid", other)) for other in (*PARTS, "control_volume")}


@pytest.mark.parametrize("versus", [None, "hybrid"])
def test_the_table_of_branches_has_each_auc_and_what_is_lost_without_the_rest(versus, folder, tmp_path):
    """AUCs are scikit-learn's; whichever way round metrics.csv has the pair, the table has the whole model first."""
    assessment = assessed(versus=versus)
    write_table(assessment.metrics, tmp_path / "metrics.csv")

    (shown,) = branch_tables(read_evaluation(tmp_path))

    area = {name: roc_auc_score(EVENT, SCORES[name]) for name in NAMES}
    assert [row[0] for row in shown.rows] == ["hybrid", *PARTS]
    assert [row[2].split(" ")[0] for row in shown.rows] == [f"{area[name]:.3f}" for name in ("hybrid", *PARTS)]
    lost = [f"{area['hybrid'] - area[name]:.3f}".replace("-", "−") for name in PARTS]
    assert [row[3].split(" ")[0] for row in shown.rows] == ["", *lost]
    assert [bool(row[4]) for row in shown.rows] == [False, True, True]


def test_without_ablations_there_is_no_table_of_branches(tmp_path):
    write_table(assessed(names=("hybrid", "control_volume")).metrics, tmp_path / "metrics.csv")

    assert branch_tables(read_evaluation(tmp_path)) == []


def test_ablations_are_no_headline_no_claim_no_pair_and_in_no_checklist(folder):
    evaluation = read_evaluation(folder)
    record = read_record(evaluation, folder)

    (shown,) = headlines(evaluation)
    assert [model for model, _ in shown.models] == ["hybrid"]
    texts = [claim.text for claim in claims(evaluation, "response")]
    cells = [cell for one in (*comparison_matrices(evaluation), *comparison_tables(evaluation)) for cell in one.columns]
    cells += [cell for one in comparison_tables(evaluation) for row in one.rows for cell in row]
    names = [*record.metrics["model"], *record.controls["model"], *record.controls["versus"]]
    assert any("volume alone" in text for text in texts)
    assert "hybrid" in names
    assert not [text for text in (*texts, *cells, *names) if "ablation_" in text]


def test_the_page_has_a_section_of_branches_and_draws_no_ablation(folder):
    page = write_report(folder).read_text(encoding="utf-8")

    assert "What each branch is worth" in page
    assert "ablation_" in page
    roc = page.split('id="roc"')[1].split("</section>")[0]
    assert "hybrid" in roc
    assert "ablation_" not in roc.split('<img class="drawing"')[0]


def test_a_line_of_each_ablation_follows_that_of_the_model_and_goes_before_the_controls(found, folder):
    lines = [line.split(" · ")[1] for line in headline(folder, found) if line.count(" · ") > 1]

    assert lines == ["hybrid", *PARTS, "control_volume"]


def test_two_runs_with_the_same_ablations_are_told_apart_by_their_one_model(tmp_path):
    from radnet.evaluation.namesakes import join_predictions

    tables = [
        joined(table(EVENT, SCORES[one], model=one), table(EVENT, SCORES[one], model=PARTS[0])) for one in NAMES[2:]
    ]
    tables[0]["model"] = tables[0]["model"].replace({PARTS[1]: "mlp"})

    joint = join_predictions(tables, [tmp_path / "a" / "p.csv", tmp_path / "b" / "p.csv"]).predictions

    assert set(joint["model"]) == {"mlp", "hybrid", f"{PARTS[0]} of mlp", f"{PARTS[0]} of hybrid"}
    rows = rows_of(assess(joint, EvaluationSettings(bootstrap=20)), "auc_difference")
    compared = set(zip(rows["model"], rows["versus"], strict=True))
    assert compared == {("mlp", "hybrid"), *((one, f"{PARTS[0]} of {one}") for one in ("mlp", "hybrid"))}


def test_the_difference_of_an_ablation_is_that_of_the_two_aucs(found):
    row = row_of(found, "auc_difference", versus=PARTS[0], method="delong_paired")

    areas = [roc_auc_score(EVENT, SCORES[name]) for name in ("hybrid", PARTS[0])]
    assert row["estimate"] == pytest.approx(areas[0] - areas[1])
    assert not pd.isna(row["p_value"])
