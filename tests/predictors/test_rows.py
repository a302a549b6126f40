"""Predictions as rows: the columns of the contract, outcomes as they are known, probabilities by time."""

import numpy as np
import pandas as pd
import pytest

from radnet.cohort import Cohort, Endpoint, Lesion, Outcome, Patient
from radnet.predictors.base import Prediction, no_lesions
from radnet.predictors.rows import prediction_rows
from radnet.tables import LESION_PREDICTION_COLUMNS, PREDICTION_COLUMNS

DFS = Endpoint("dfs", "dfs_event", "dfs_months", "months", horizon=60)


@pytest.fixture
def cohort():
    return Cohort(
        (
            Patient("P2", "B", outcomes={"dfs": Outcome(True, 7.5)}, lesions=(Lesion("L1", "liver"), Lesion("L2"))),
            Patient("P1", "A", outcomes={"dfs": None}, lesions=(Lesion("L1", "node"),)),
        )
    )


def prediction(ids=("P2", "P1"), **columns):
    index = pd.Index(list(ids), name="patient_id")
    table = pd.DataFrame({"score": [0.5, -0.25], "probability": [0.6, 0.4], **columns}, index=index)
    keys = pd.MultiIndex.from_tuples([("P2", "L1"), ("P2", "L2"), ("P1", "L1")], names=["patient_id", "lesion_id"])
    lesions = pd.DataFrame({"score": [1.0, 0.0, -0.25], "weight": [0.5, 0.5, 1.0]}, index=keys)
    return Prediction(table, lesions, 0.1)


def test_rows_hold_outcomes_as_known_scores_cut_off_and_names(cohort):
    patients, lesions = prediction_rows(cohort, prediction(), DFS, "mine", "out_of_fold", "2", "1")

    assert list(patients.columns) == list(PREDICTION_COLUMNS)
    assert patients["patient_id"].tolist() == ["P2", "P1"]
    assert patients["centre"].tolist() == ["B", "A"]
    np.testing.assert_array_equal(patients["event"], [1.0, np.nan])
    np.testing.assert_array_equal(patients["time"], [7.5, np.nan])
    constant = ["endpoint", "model", "partition", "fold", "repeat", "time_unit", "cutoff"]
    assert patients[constant].drop_duplicates().to_numpy().tolist() == [
        ["dfs", "mine", "out_of_fold", "2", "1", "months", 0.1]
    ]
    assert list(lesions.columns) == list(LESION_PREDICTION_COLUMNS)
    assert lesions[["patient_id", "lesion_id", "site", "score"]].to_numpy().tolist() == [
        ["P2", "L1", "liver", 1.0],
        ["P2", "L2", "", 0.0],
        ["P1", "L1", "node", -0.25],
    ]


def test_rows_follow_the_patients_and_not_the_order_of_the_scores(cohort):
    turned = prediction()
    turned = Prediction(turned.patients.iloc[::-1], turned.lesions)

    patients, _ = prediction_rows(cohort, turned, DFS, "mine", "held_out")

    assert dict(zip(patients["patient_id"], patients["score"], strict=True)) == {"P2": 0.5, "P1": -0.25}
    assert patients["cutoff"].isna().all()


def test_probabilities_by_time_stand_behind_the_columns_of_the_contract(cohort):
    foretold = prediction(probability_12=[0.1, 0.2], probability_36=[0.3, 0.4])

    patients, lesions = prediction_rows(cohort, foretold, DFS, "mine", "held_out")

    assert list(patients.columns) == [*PREDICTION_COLUMNS, "probability_12", "probability_36"]
    assert patients["probability_36"].tolist() == [0.3, 0.4]
    assert list(lesions.columns) == list(LESION_PREDICTION_COLUMNS)


def test_a_model_that_sees_no_lesion_has_no_lesion_rows(cohort):
    patients, lesions = prediction_rows(cohort, Prediction(prediction().patients, no_lesions()), DFS, "m", "held_out")

    assert (len(patients), len(lesions)) == (2, 0)
    assert list(lesions.columns) == list(LESION_PREDICTION_COLUMNS)
