from dataclasses import replace

import pytest

from radnet.report.features import feature_flow, protocol
from radnet.report.flow import cohort_flow
from radnet.report.html import write_report
from radnet.report.provenance import messages, provenance_tables

COUNTS = {
    "patients": 100,
    "patients_with_outcome": 98,
    "patients_complete": 95,
    "patients_measured": 90,
    "lesion_rows": 160,
    "lesions": 160,
    "target_lesions": 140,
    "features": 851,
    "features_before_split": 616,
    "selection": {"measured": 616, "univariable": 250, "lasso": 15},
    "events_per_feature": 2.13,
}
EXCLUDED = {
    **{f"P{who}": "outcome dfs unknown" for who in range(2)},
    **{f"Q{who}": "cps is not known" for who in range(3)},
    **{f"R{who}": "no measured lesion" for who in range(5)},
}
RUN = {"experiment": "wang", "protocol": "as_published", "counts": COUNTS, "excluded": EXCLUDED}
SAID = "2.13 events for each of 15 features selected: below 5 their weights are mostly chance"


def of(evaluation, **changed):
    return replace(evaluation, about={"run": {**RUN, **changed}})


def test_features_are_counted_from_all_that_were_measured_to_those_of_the_model(evaluation):
    flow = feature_flow(of(evaluation))

    assert flow.table.rows == [
        ["Measured", "851"],
        ["Chosen before the split, by all patients", "616"],
        ["After univariable", "250"],
        ["After lasso", "15"],
    ]
    assert "2.13 development patients with the event for each feature" in flow.table.note
    assert flow.warning.startswith("2.13 events for each feature at the last step: below 5")


def test_enough_events_are_no_warning(evaluation):
    flow = feature_flow(of(evaluation, counts={"selection": {"measured": 40, "lasso": 4}, "events_per_feature": 8.0}))

    assert flow.table.rows == [["Measured", "40"], ["After lasso", "4"]]
    assert flow.warning == ""


def test_a_model_without_a_feature_has_no_events_for_each(evaluation):
    flow = feature_flow(of(evaluation, counts={"selection": {"measured": 40, "lasso": 0}, "events_per_feature": 13.0}))

    assert (flow.table.note, flow.warning) == ("", "")


def test_how_stable_the_selection_was_stands_beside_it(evaluation):
    stability = {"value": 0.412, "lower": 0.301, "upper": 0.523, "folds": 5}

    flow = feature_flow(of(evaluation, counts={**COUNTS, "selection_stability": stability}))

    assert "Stability over 5 folds (Nogueira): 0.41 (0.30–0.52)" in flow.table.note


def test_a_model_that_selects_nothing_has_no_steps(evaluation):
    assert feature_flow(of(evaluation, counts={"patients": 9})) is None
    assert feature_flow(replace(evaluation, about={})) is None


@pytest.mark.parametrize(("name", "strict"), [("strict", True), ("as_published", False), ("ours", False)])
def test_the_protocol_is_told_and_only_a_strict_one_is_as_it_should_be(name, strict, evaluation):
    found = protocol(of(evaluation, protocol=name))

    assert found.strict == strict
    assert name.replace("_", " ") in found.told.lower()


def test_a_run_that_tells_no_protocol_has_none(evaluation):
    assert protocol(evaluation) is None


def test_those_who_leave_for_want_of_a_variable_stand_between_outcome_and_lesion(evaluation):
    flow = cohort_flow(of(evaluation))

    assert [(step.lines[0], *left.lines) for step, left in flow.steps] == [
        ("n = 100", "2: outcome dfs unknown"),
        ("n = 98", "3: cps is not known"),
        ("n = 95", "5: no measured lesion"),
        ("n = 90",),
    ]
    assert "140 of 160 lesions are targets" in flow.steps[-1][0].lines


def test_what_the_run_said_is_among_the_messages_and_not_in_its_table(evaluation):
    told = of(evaluation, messages=[SAID])

    assert {"severity": "info", "place": "Run", "message": SAID} in messages(told)
    assert SAID not in [cell for table in provenance_tables(told) for row in table.rows for cell in row]


def test_the_page_shows_protocol_steps_and_messages(write_evaluation):
    page = write_report(write_evaluation(run={**RUN, "messages": [SAID]})).read_text(encoding="utf-8")

    assert "As published: the steps of the paper" in page
    assert "Features left at each step" in page
    assert f"<li><strong>Run:</strong> {SAID}</li>" in page
