import numpy as np
import pandas as pd
import pytest

from radnet.evaluation.lesion_weights import COLUMNS, lesion_weights


def lesions(*rows, **same):
    table = pd.DataFrame(rows, columns=["patient_id", "lesion_id", "weight"])
    known = {"endpoint": "response", "model": "m", "partition": "held_out", "fold": "", "repeat": ""}
    return table.assign(**known | {"site": "liver", "event": 1.0, "score": 0.5} | same)


def test_weights_of_a_patient_are_shares_largest_first_and_most_lesions_come_first():
    table = lesion_weights(lesions(("A", "1", 0.5), ("B", "1", 1.0), ("B", "2", 3.0), ("C", "1", 2.0), ("C", "2", 2.0)))

    np.testing.assert_allclose(table["weight"], [0.75, 0.25, 0.5, 0.5, 1.0])
    assert list(table["patient"]) == [1, 1, 2, 2, 3]  # B, C, A
    assert list(table["lesion"]) == [1, 2, 1, 2, 1]


def test_no_name_of_a_patient_or_lesion_is_kept():
    table = lesion_weights(lesions(("Mrs Example", "left lobe", 1.0), ("Mrs Example", "node", 1.0)))

    assert tuple(table.columns) == COLUMNS
    assert "Example" not in table.to_csv()
    assert "lobe" not in table.to_csv()


def test_folds_are_averaged_before_shares_are_taken():
    folds = [lesions(("A", "1", 1.0), ("A", "2", 3.0), fold="0"), lesions(("A", "1", 3.0), ("A", "2", 9.0), fold="1")]

    table = lesion_weights(pd.concat(folds, ignore_index=True))

    np.testing.assert_allclose(table["weight"], [0.75, 0.25])  # (3 + 9) of (1 + 3 + 3 + 9)


def test_a_frozen_model_is_taken_before_those_of_folds():
    both = [lesions(("A", "1", 1.0), ("A", "2", 3.0)), lesions(("A", "1", 9.0), ("A", "2", 1.0), fold="1")]

    np.testing.assert_allclose(lesion_weights(pd.concat(both, ignore_index=True))["weight"], [0.75, 0.25])


def test_lesions_without_a_weight_are_left_out():
    assert lesion_weights(lesions(("A", "1", np.nan))).empty
    assert lesion_weights(lesions(("A", "1", 0.0), ("A", "2", 0.0))).empty  # no weight to share


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="must be 0 or more, got -0.5"):
        lesion_weights(lesions(("A", "1", -0.5)))
