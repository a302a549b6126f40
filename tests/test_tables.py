import re

import numpy as np
import pandas as pd
import pytest

from radnet.files import write_atomically, write_json
from radnet.tables import (
    LESION_PREDICTION_COLUMNS,
    Contradiction,
    TableFault,
    contradictions,
    read_lesion_predictions,
    read_predictions,
    told_apart,
    without,
)

GOOD = {
    "endpoint": "response",
    "model": "m",
    "partition": "held_out",
    "patient_id": "007",
    "event": "1",
    "score": "0.5",
}


def csv(tmp_path, *rows):
    path = tmp_path / "predictions.csv"
    pd.DataFrame(list(rows)).to_csv(path, index=False)
    return path


def test_a_minimal_csv_gets_the_columns_of_the_contract_and_keeps_ids_as_text(tmp_path):
    table = read_predictions(csv(tmp_path, GOOD))

    assert table.loc[0, "patient_id"] == "007"
    assert table.loc[0, "fold"] == ""
    assert table.loc[0, "event"] == 1.0
    assert table["cutoff"].isna().all()


def test_a_number_as_an_id_in_parquet_reads_like_the_same_csv(tmp_path):
    path = tmp_path / "predictions.parquet"
    pd.DataFrame([{**GOOD, "patient_id": 7.0, "event": True, "score": 1, "fold": None}]).to_parquet(path)

    table = read_predictions(path)

    assert table.loc[0, ["patient_id", "fold", "event"]].tolist() == ["7", "", 1.0]


def test_further_columns_are_carried(tmp_path):
    assert read_predictions(csv(tmp_path, {**GOOD, "sex": "F"}))["sex"].tolist() == ["F"]


def test_every_fault_is_named_at_once(tmp_path):
    path = csv(
        tmp_path,
        {**GOOD, "partition": "test"},
        {**GOOD, "patient_id": "2", "event": "3"},
        {**GOOD, "patient_id": ""},
        {**GOOD, "patient_id": "4", "score": "high"},
        {**GOOD, "patient_id": "5", "time": "0"},
        {**GOOD, "patient_id": "6", "probability_36": "low"},
    )

    with pytest.raises(TableFault) as fault:
        read_predictions(path)

    told = "\n".join(fault.value.faults)
    assert "row 2 (patient 007): partition is 'test', expected one of apparent, out_of_fold, held_out" in told
    assert "row 3 (patient 2): event is 3, expected 0 or 1" in told
    assert "row 4 (patient ): patient_id is empty" in told
    assert "row 5: score is 'high', not a number" in told
    assert "row 6 (patient 5): time is 0, expected more than 0" in told
    assert "row 7: probability_36 is 'low', not a number" in told
    assert len(fault.value.faults) == 6


def test_what_a_model_does_not_know_or_gets_wrong_is_kept_for_the_evaluation_to_tell(tmp_path):
    rows = [{**GOOD, "score": "", "probability": "1.5", "probability_36": "-0.5"}, {**GOOD, "probability_36": "NA"}]

    table = read_predictions(csv(tmp_path, *rows))

    assert table["score"].isna().tolist() == [True, False]
    assert table.loc[0, ["probability", "probability_36"]].tolist() == [1.5, -0.5]
    assert np.isnan(table.loc[1, "probability_36"])


def test_only_a_time_makes_a_column_one_of_probabilities_by_a_time(tmp_path):
    names = ["probability_of_cure", "probability_inf", "probability_nan", "probability_-3"]

    table = read_predictions(csv(tmp_path, {**GOOD, **dict.fromkeys(names, "0.50"), "probability_12.5": "0.50"}))

    assert table.loc[0, names].tolist() == ["0.50"] * 4
    assert table.loc[0, "probability_12.5"] == 0.5


def test_missing_columns_are_named(tmp_path):
    with pytest.raises(TableFault, match="column score is missing"):
        read_predictions(csv(tmp_path, {key: value for key, value in GOOD.items() if key != "score"}))


def test_an_absent_or_foreign_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv: no such file"):
        read_predictions(tmp_path / "nowhere.csv")
    (tmp_path / "table.xlsx").write_text("x")
    with pytest.raises(ValueError, match=r"a table is a \.parquet or a \.csv file"):
        read_predictions(tmp_path / "table.xlsx")


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.json"
    write_json({"old": 1}, path)

    def fail(temporary):
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)

    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]
    assert '"old": 1' in path.read_text()


def test_a_patient_held_out_and_learned_from_is_named(tmp_path):
    rows = [
        {**GOOD, "centre": "A"},
        {**GOOD, "centre": "A", "partition": "apparent"},
        {**GOOD, "centre": "B", "patient_id": "8"},
    ]

    found = contradictions(read_predictions(csv(tmp_path, *rows)))

    told = "partition: 1 patient (007) is held out and also learned from; the model is left out"
    assert found == [Contradiction("response", "m", told)]


def test_the_same_id_at_another_centre_or_for_another_model_is_no_overlap(tmp_path):
    rows = [
        {**GOOD, "centre": "A"},
        {**GOOD, "centre": "B", "partition": "apparent"},
        {**GOOD, "model": "n", "partition": "apparent", "centre": "A"},
    ]

    assert contradictions(read_predictions(csv(tmp_path, *rows))) == []


def test_what_r_writes_for_missing_is_missing_and_no_fold(tmp_path):
    table = read_predictions(csv(tmp_path, {**GOOD, "fold": "NA", "repeat": "NA", "centre": "NA", "probability": "NA"}))

    assert table.loc[0, ["fold", "repeat", "centre"]].tolist() == ["", "", ""]
    assert table["probability"].isna().all()


@pytest.mark.parametrize(
    ("rows", "model", "message"),
    [
        ([{}, {}], "m", r"patient_id: 1 patient \(007\) stands twice for the same partition, fold and repeat"),
        (
            [{"partition": "out_of_fold", "fold": "1"}, {"partition": "out_of_fold", "fold": "2"}],
            "m",
            r"fold: 1 patient \(007\) is judged in two folds of one repeat",
        ),
        (
            [{"partition": "out_of_fold", "fold": "1"}, {"partition": "apparent", "event": "0"}],
            "m",
            r"event: 1 patient \(007\) has different values in different rows; the model is left out",
        ),
        (
            [{"model": "a"}, {"model": "b", "event": "0"}],
            "",
            r"event: 1 patient \(007\) has different values in different models; the endpoint is left out",
        ),
        (
            [{"model": name, "time": name, "time_unit": "days"} for name in "12"],
            "",
            r"time: 1 patient \(007\) has different values in different models",
        ),
        (
            [{"time": "3", "time_unit": "months"}, {"patient_id": "8", "time": "3", "time_unit": "days"}],
            "",
            "time_unit: .* found days, months; the endpoint is left out",
        ),
        (
            [{"time": "3", "time_unit": "months"}, {"patient_id": "8", "time": "3", "time_unit": ""}],
            "",
            "time_unit: follow-up needs one unit .* found months, none",
        ),
    ],
)
def test_what_cannot_be_true_is_named_with_its_column(rows, model, message, tmp_path):
    (found,) = contradictions(read_predictions(csv(tmp_path, *({**GOOD, **row} for row in rows))))

    assert (found.endpoint, found.model) == ("response", model)
    assert re.match(message, found.message)


def test_five_patients_of_many_are_named(tmp_path):
    (found,) = contradictions(read_predictions(csv(tmp_path, *({**GOOD, "patient_id": i} for i in [*range(7)] * 2))))

    assert found.message.startswith("patient_id: 7 patients (0, 1, 2, 3, 4, …) stand twice for the same")


def test_a_contradictory_model_is_not_held_against_the_others(tmp_path):
    rows = [{}, {"patient_id": "8"}, {"model": "n"}, {"model": "n", "event": "0"}, {"endpoint": "other", "model": "n"}]
    table = read_predictions(csv(tmp_path, *({**GOOD, **row} for row in rows)))

    found = contradictions(table)

    assert {(one.endpoint, one.model) for one in found} == {("response", "n")}  # twice, and with two outcomes
    assert without(table, found)[["endpoint", "model"]].to_numpy().tolist() == [
        ["response", "m"],
        ["response", "m"],
        ["other", "n"],
    ]
    assert len(without(table, [])) == 5
    assert without(table, [Contradiction("response", "", "")])["endpoint"].tolist() == ["other"]


def test_lesions_of_a_patient_may_differ_in_their_outcome_but_none_may_stand_twice(tmp_path):
    first = {**GOOD, "lesion_id": "L1"}
    good = read_lesion_predictions(csv(tmp_path, first, {**first, "lesion_id": "L2", "event": "0"}))
    twice = read_lesion_predictions(csv(tmp_path, first, first))

    assert contradictions(good, rows_of="lesion") == []
    assert [one.message for one in contradictions(twice, rows_of="lesion")] == [
        "lesion_id: 1 patient (007) has a lesion that stands twice for the same partition, fold and repeat; "
        "the model is left out"
    ]


def test_a_clinical_model_has_no_lesion_rows(tmp_path):
    path = tmp_path / "lesions.parquet"
    pd.DataFrame({column: pd.Series(dtype=object) for column in LESION_PREDICTION_COLUMNS}).to_parquet(path)

    assert read_lesion_predictions(path).empty


def test_an_id_that_two_centres_use_names_its_centre_and_no_other_does():
    table = pd.DataFrame(
        {"centre": ["A", "B", "A", "", "B"], "patient_id": ["1", "1", "2", "1", "3"], "score": range(5)}
    )

    assert told_apart(table)["patient_id"].tolist() == ["A/1", "B/1", "2", "1", "3"]


def test_an_event_of_true_and_false_is_read_as_pandas_writes_it(tmp_path):
    rows = [{**GOOD, "patient_id": str(place), "event": word} for place, word in enumerate(["True", "False", ""])]

    assert read_predictions(csv(tmp_path, *rows))["event"].fillna(-1).tolist() == [1, 0, -1]
