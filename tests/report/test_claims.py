"""What the report claims of an endpoint with follow-up."""

import pandas as pd
import pytest

from radnet.report.claims import claims, side_by_side
from radnet.report.importance import method_words
from radnet.report.reading import read_evaluation

LIKE = {"endpoint": "dfs", "model": "score", "partition": "held_out", "level": "patient", "n": 40, "n_event": 15}
LIKE |= {"metric": "c_index", "method": "harrell"}
ROWS = [
    {"estimate": 0.70, "lower": 0.6, "upper": 0.8},
    {"partition": "out_of_fold", "estimate": 0.65, "lower": 0.55, "upper": 0.75, "method": "bootstrap"},
    {"partition": "optimism_corrected", "estimate": 0.62, "method": "bootstrap"},
    {"model": "control_volume", "estimate": 0.58, "lower": 0.5, "upper": 0.66},
]
DIFFERENCE = {"metric": "c_index_difference", "versus": "control_volume", "estimate": 0.12, "p_value": 0.01}
TRIAL = {
    "permutation": {"model": "cox", "partition": "out_of_fold", "observed": 0.6, "null": [0.4, 0.5], "p_value": 0.01},
    "random_signatures": {"features": 10, "c_index": [0.5, 0.6, 0.66, 0.7]},
}


@pytest.fixture(scope="module")
def evaluation(write_evaluation):
    folder = write_evaluation(figures=(), falsification=TRIAL)
    columns = pd.read_csv(folder / "metrics.csv").columns
    rows = [LIKE | row for row in (*ROWS, DIFFERENCE | {"lower": 0.03, "upper": 0.21})]
    pd.DataFrame(rows).reindex(columns=columns).to_csv(folder / "metrics.csv", index=False)
    return read_evaluation(folder)


def test_a_model_beats_volume_by_a_difference_of_c_indices(evaluation):
    told = {claim.text: claim for claim in claims(evaluation, "dfs")}

    claim = told["score beats volume alone by 0.120 (0.030–0.210)"]
    assert claim.detail == "difference in C-index, held-out, p = .010"
    assert claim.holds


def test_permuted_outcomes_and_random_signatures_are_told_by_c_index(evaluation):
    told = {claim.text: claim.detail for claim in claims(evaluation, "dfs")}

    assert told["Permuted outcomes: p = .010"].startswith("Cox model on the same features, out-of-fold: 0.600")
    assert told["2 of 4 signatures of 10 features drawn at random do as well as score"] == "out of fold, C-index 0.650"


def test_the_corrected_c_index_stands_beside_the_others(evaluation):
    table = side_by_side(evaluation, "dfs")

    assert "Bootstrap-corrected (CI)" in table.columns
    assert ".632+ (CI)" not in table.columns


@pytest.mark.parametrize(
    ("method", "words"),
    [("permutation_c_index", "C-index lost when permuted"), ("log_hazard_per_sd", "Log hazard per SD")],
)
def test_importance_is_named_after_the_c_index(method, words):
    assert method_words(pd.DataFrame({"method": [method]})) == words
