import re

import pandas as pd
import pytest

from radnet.files import write_atomically, write_json
from radnet.tables import (
    LESION_PREDICTION_COLUMNS,
    TableFault,
    contradictions,
    read_lesion_predictions,
    read_predictions,
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
        {**GOOD, "patient_id": "3", "score": ""},
        {**GOOD, "patient_id": "4", "score": "high"},
        {**GOOD, "patient_id": "5"},
        {**GOOD, "patient_id": "5"},
    )

    with pytest.raises(TableFault) as fault:
        read_predictions(path)

    told = "\n".join(fault.value.faults)
    assert "row 2 (patient 007): partition is 'test', expected one of apparent, out_of_fold, held_out" in told
    assert "row 3 (patient 2): event is 3, expected 0 or 1" in told
    assert "row 4 (patient 3): score is empty" in told
    assert "row 5: score is 'high', not a number" in told
    assert "row 7 (patient 5): stands twice" in told


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

    faults = contradictions(read_predictions(csv(tmp_path, *rows)))

    assert faults == ["model m, endpoint response: 1 patients are held out and also learned from, such as 007"]


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
    ("rows", "message"),
    [
        (
            [{"partition": "out_of_fold", "fold": "1"}, {"partition": "out_of_fold", "fold": "2"}],
            "two folds of one repeat",
        ),
        (
            [{"model": "a"}, {"model": "b", "event": "0"}],
            "1 patients have different outcomes in different rows, such as 007",
        ),
        (
            [{"time": "3", "time_unit": "months"}, {"patient_id": "8", "time": "3", "time_unit": "days"}],
            "found days, months",
        ),
        ([{"time": "3"}], "follow-up needs one time_unit .* found none"),
    ],
)
def test_what_cannot_be_true_is_named(rows, message, tmp_path):
    (fault,) = contradictions(read_predictions(csv(tmp_path, *({**GOOD, **row} for row in rows))))

    assert re.search(message, fault)


def test_a_clinical_model_has_no_lesion_rows(tmp_path):
    path = tmp_path / "lesions.parquet"
    pd.DataFrame({column: pd.Series(dtype=object) for column in LESION_PREDICTION_COLUMNS}).to_parquet(path)

    assert read_lesion_predictions(path).empty
