import numpy as np
import pandas as pd
import pytest

from radnet.report.reading import discrimination, overall_numbers, preferred, read_evaluation, typed
from radnet.tables import TableFault


def test_an_estimate_by_several_methods_is_shown_once_by_the_first_in_order(metrics):
    best = preferred(typed(metrics))

    assert not best.duplicated(["endpoint", "model", "versus", "partition", "centre", "metric", "group"]).any()
    assert set(best.loc[best["metric"] == "sensitivity", "method"]) == {"clopper_pearson"}
    assert set(best.loc[(best["metric"] == "auc") & (best["partition"] == "held_out"), "method"]) == {"delong"}


def test_overall_numbers_are_those_of_all_patients_and_of_single_models(metrics, areas):
    numbers = overall_numbers(typed(metrics))

    found = {
        (model, partition): row.estimate for (_, model, partition, metric, _), row in numbers.items() if metric == "auc"
    }
    assert found == {place: estimate for place, (estimate, *_) in areas.items()}
    assert not [row for row in numbers.values() if row.centre or row.versus]


def test_overall_numbers_and_discrimination_are_the_same_beside_subgroups_lesions_and_horizons(
    evaluation, grown, areas
):
    alone, beside = (overall_numbers(one.metrics) for one in (evaluation, grown))

    expected = {key: one.estimate for key, one in alone.items()}
    assert {key: beside[key].estimate for key in alone} == pytest.approx(expected, nan_ok=True)
    for one in (evaluation, grown):
        shown = discrimination(one.metrics)
        assert sorted(zip(shown["endpoint"], shown["model"], shown["partition"], strict=True)) == sorted(
            (endpoint, *place) for endpoint in ("response", "pfs") for place in areas
        )
        assert (shown["estimate"] > 0).all()


def test_a_fold_read_as_a_number_is_the_same_fold():
    folds = typed(pd.DataFrame({"fold": [0.0, np.nan, "mean"], "score": ["1.5", "", None]}))

    assert folds["fold"].tolist() == ["0", "", "mean"]
    np.testing.assert_array_equal(folds["score"], [1.5, np.nan, np.nan])


def test_a_column_of_numbers_that_holds_words_is_named():
    with pytest.raises(ValueError, match="column score should hold numbers"):
        typed(pd.DataFrame({"score": ["high"]}))


def test_a_folder_without_metrics_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"metrics\.csv: no such file"):
        read_evaluation(tmp_path)


def test_a_missing_column_is_named(write_evaluation):
    folder = write_evaluation(figures=())
    (folder / "figures" / "km.csv").write_text("endpoint,model\n", encoding="utf-8")

    with pytest.raises(TableFault, match=r"km\.csv: 9 faults\n  - column partition is missing"):
        read_evaluation(folder)


@pytest.mark.parametrize(("text", "fault"), [("{", "cannot be read as JSON"), ("[]", "expected a JSON object")])
def test_a_broken_evaluation_json_is_named(write_evaluation, text, fault):
    folder = write_evaluation(figures=())
    (folder / "evaluation.json").write_text(text, encoding="utf-8")

    with pytest.raises(ValueError, match=rf"evaluation\.json: {fault}"):
        read_evaluation(folder)
