import json

import pandas as pd
import pytest

from radnet.cli import main
from radnet.report.leak import leaks_in
from radnet.report.reading import typed
from radnet.tables import METRIC_COLUMNS

CHECKS = [
    {"cause": "centre", "value": 0.8, "p_value": 0.001, "suspicious": True, "told": "The centre sorts patients."},
    {"cause": "id_order", "value": 0.5, "p_value": 0.9, "suspicious": False, "told": "The ids say nothing."},
    {"cause": "image_geometry", "value": None, "p_value": None, "suspicious": False, "told": "Nothing to look at."},
]
ORACLE = {"oracle_auc": {"image": {"auc": 0.8}, "combined": {"auc": 0.88}, "clinical": {"auc": None}}}


def metrics(estimate, lower=None, upper=None, **cells):
    row = {"endpoint": "response", "model": "m", "partition": "held_out", "metric": "auc", "method": "delong"}
    row |= {"level": "patient", "estimate": estimate, "lower": lower, "upper": upper, "n": 50, "n_event": 20, **cells}
    return typed(pd.DataFrame([row]).reindex(columns=list(METRIC_COLUMNS)))


@pytest.mark.parametrize("partition", ["held_out", "out_of_fold"])
def test_an_auc_above_095_is_warned_of_with_what_was_checked(partition):
    (found,) = leaks_in(metrics(0.961, 0.93, 0.98, partition=partition), {"falsification": {"leak_checks": CHECKS}})

    where = {"held_out": "Held-out", "out_of_fold": "Out-of-fold"}[partition]
    assert found.as_message() == {
        "endpoint": "response",
        "model": "m",
        "partition": partition,
        "severity": "warning",
        "message": f"{where} AUC 0.961 is above 0.95: look for a leak. Checked: centre, id order; "
        "not checked: image geometry. The centre sorts patients.",
    }


def test_an_auc_of_095_or_of_patients_learned_from_is_not_warned_of():
    assert leaks_in(metrics(0.95, 0.9, 0.99), {}) == []
    assert leaks_in(metrics(0.99, 0.9, 1.0, partition="apparent"), {}) == []


def test_without_checks_the_warning_says_so():
    (found,) = leaks_in(metrics(0.97, 0.9, 0.99, metric="c_index", method="harrell"), {"falsification": None})
    assert found.message == (
        "Held-out C-index 0.970 is above 0.95: look for a leak. No causes were checked: train with falsification=true."
    )


def test_checks_that_found_nothing_are_told():
    (found,) = leaks_in(metrics(0.97, 0.9, 0.99), {"falsification": {"leak_checks": CHECKS[1:2]}})
    assert found.causes == "Checked: id order. None of them is suspicious."


@pytest.mark.parametrize(
    ("estimate", "level", "warned"),
    # Half a 95 % interval of 0.0392 is 1.96 × 0.02: two errors are 0.04; at 90 % 1.645 × 0.02383, two are 0.0477.
    [(0.919, 0.95, False), (0.921, 0.95, True), (0.927, 0.9, False), (0.929, 0.9, True)],
)
def test_an_auc_more_than_two_errors_above_the_highest_oracle_is_warned_of(estimate, level, warned):
    about = {"truth": ORACLE, "evaluation": {"level": level}}
    found = leaks_in(metrics(estimate, estimate - 0.0392, estimate + 0.0392), about)
    assert bool(found) == warned
    if warned and level == 0.95:
        assert found[0].found == (
            "Held-out AUC 0.921 is more than 2 standard errors (0.020) above 0.880, which nothing planted exceeds"
        )


def test_the_oracle_is_that_of_the_response_and_not_of_another_endpoint():
    about = {"truth": ORACLE}
    assert leaks_in(metrics(0.94, 0.93, 0.95, endpoint="tme"), about) == []
    assert leaks_in(metrics(0.94, 0.93, 0.95), {}) == []
    assert leaks_in(metrics(0.94), about) == []  # without an interval nothing tells how far above it is


@pytest.mark.parametrize(
    ("estimate", "endpoint", "warned"), [(0.70, "dfs", True), (0.69, "dfs", False), (0.70, "os", False)]
)
def test_a_c_index_is_held_against_the_oracle_of_its_time(estimate, endpoint, warned):
    """Half an interval of 0.0588 is 1.96 × 0.03: two errors above 0.638 are 0.698."""
    about = {"truth": {"oracle_auc": {}, "oracle_c_index": {"image": {"c_index": 0.62}, "latent": {"c_index": 0.638}}}}
    found = metrics(estimate, estimate - 0.0588, estimate + 0.0588, endpoint=endpoint, metric="c_index")

    assert bool(leaks_in(found, about)) == warned


def test_an_evaluation_warns_on_stderr_and_in_its_files(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame(
        {
            "endpoint": "response",
            "model": "m",
            "partition": "held_out",
            "patient_id": [f"P{n}" for n in range(40)],
            "event": [n % 2 for n in range(40)],
            "score": [n % 2 + n / 100 for n in range(40)],  # every event above every other
        }
    ).to_csv("predictions.csv", index=False)

    code = main(["evaluate", "predictions=predictions.csv", "output=judged", "evaluation.bootstrap=20"])

    told = "Held-out AUC 1.000 is above 0.95: look for a leak. No causes were checked: train with falsification=true."
    assert code == 0
    assert f"warning: response · m · held_out: {told}" in capsys.readouterr().err.splitlines()
    messages = json.loads((tmp_path / "judged" / "evaluation.json").read_text(encoding="utf-8"))["messages"]
    assert [one["message"] for one in messages if one["severity"] == "warning"] == [told]
    page = (tmp_path / "judged" / "report.html").read_text(encoding="utf-8")
    assert "look for a leak" in page.lower()
