"""What may be asked of ``evaluate.py``: values that no setting can be are refused by name, in words."""

import numpy as np
import pandas as pd
import pytest

from assessing import table
from radnet.cli import main
from radnet.evaluation.assessment.settings import EvaluationSettings


@pytest.fixture
def evaluate(tmp_path, capsys):
    """Run ``radnet evaluate`` on six followed patients; give the exit status, what stderr says and metrics.csv."""
    patients = table([0, 1, 0, 1, 1, 0], [1, 2, 3, 4, 5, 2.5], time=[5.0, 1, 6, 2, 3, 7], time_unit="months")
    patients.assign(probability_5=np.arange(6) / 10).to_csv(tmp_path / "predictions.csv", index=False, encoding="utf-8")

    def run(*words):
        words = [f"predictions={tmp_path / 'predictions.csv'}", f"output={tmp_path / 'out'}", *words]
        status = main(["evaluate", "report=false", "evaluation.bootstrap=10", *words])
        told, file = capsys.readouterr().err, tmp_path / "out" / "metrics.csv"
        return status, told, pd.read_csv(file, encoding="utf-8") if file.is_file() else None

    return run


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("thresholds=[a]", "thresholds must be a list of numbers, such as [0.1, 0.2], got 'a' in it"),
        ("thresholds=[0.1,true]", "thresholds must be a list of numbers, such as [0.1, 0.2], got True in it"),
        ("thresholds=[nan]", "thresholds must lie from 0 to below 1, got nan"),
        ("horizons=[5,five]", "horizons must be a list of numbers, such as [0.1, 0.2], got 'five' in it"),
        ("horizons=[[5]]", "horizons must be a list of numbers, such as [0.1, 0.2], got [5] in it"),
        ("nri_cuts=[low]", "nri_cuts must be a list of numbers, such as [0.1, 0.2], got 'low' in it"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_by_its_key_and_what_is_wrong_in_it(typed, message, evaluate):
    status, told, metrics = evaluate(f"evaluation.{typed}")

    assert status != 0
    assert metrics is None
    assert told.count("\n") == 1
    assert message in told


@pytest.mark.parametrize(
    ("key", "typed", "shown"),
    [
        ("subgroups", "[3]", "3"),
        ("subgroups", "centre", "'centre'"),
        ("thresholds", "0.2", "0.2"),
        ("bootstrap", "2.5", "2.5"),
        ("bootstrap", "many", "'many'"),
        ("seed", "a", "'a'"),
        ("level", "high", "'high'"),
        ("minprop", "a", "'a'"),
        ("allow_refit_cutoff", "maybe", "'maybe'"),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_key(key, typed, shown, evaluate):
    status, told, metrics = evaluate(f"evaluation.{key}={typed}")

    assert status != 0
    assert metrics is None
    assert f"evaluation.{key}" in told or f"evaluation: {key}" in told
    assert shown in told


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"subgroups": [3]}, r"subgroups must be a list of names of columns, such as \[sex, site\], got 3 in it"),
        ({"subgroups": "centre"}, "subgroups must be a list of names of columns, .* got 'centre'"),
        ({"thresholds": 0.2}, "thresholds must be a list of numbers, .* got 0.2"),
        ({"bootstrap": 2.5}, "bootstrap must be a whole number, got 2.5"),
        ({"bootstrap": True}, "bootstrap must be a whole number, got True"),
        ({"seed": None}, "seed must be a whole number, got None"),
        ({"level": "high"}, "level must be a number, got 'high'"),
        ({"minprop": None}, "minprop must be a number, got None"),
        ({"cutoff": "fixed", "cutoff_value": "low"}, "cutoff_value must be a number, got 'low'"),
    ],
)
def test_settings_made_in_python_are_checked_alike(given, message):
    with pytest.raises(ValueError, match=message):
        EvaluationSettings(**given)


def test_horizons_and_thresholds_are_judged_once_whatever_their_order(evaluate):
    words = "evaluation=survival", "evaluation.subgroups=[centre,centre]"

    _, _, ordered = evaluate(*words, "evaluation.horizons=[5,6]", "evaluation.thresholds=[0.1,0.3]")
    _, _, repeated = evaluate(*words, "evaluation.horizons=[6,5,5.0]", "evaluation.thresholds=[0.3,0.1,0.3]")

    pd.testing.assert_frame_equal(ordered, repeated)
    assert not repeated.drop(columns=["estimate", "lower", "upper", "p_value"]).duplicated().any()
    assert repeated.loc[repeated["metric"] == "km_survival", "horizon"].drop_duplicates().tolist() == [5, 6]
    assert repeated.loc[repeated["metric"] == "net_benefit", "at"].tolist() == [0.1, 0.3]


def test_numbers_of_numpy_are_numbers():
    settings = EvaluationSettings(bootstrap=np.int64(9), horizons=[np.float64(3), 2], level=np.float32(0.9))

    assert (settings.horizons, settings.bootstrap) == ((2, 3), 9)
