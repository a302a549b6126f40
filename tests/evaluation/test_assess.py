import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from assessing import cohort, joined, row_of, rows_of, table, told
from oracle import cases
from radnet.evaluation.assess import assess
from radnet.evaluation.assessment.found import CURVE_COLUMNS
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.tables import METRIC_COLUMNS, read_predictions, write_table

QUICK = EvaluationSettings(bootstrap=100)
SHARES = ("sensitivity", "specificity", "ppv", "npv", "accuracy")


@cases("01_roc_delong.json", "asah_s100b", "cohort69_rounded_ties", "missing_scores")
def test_auc_of_a_frozen_model_equals_proc(case):
    theirs = case["outputs"]

    found = assess(table(case["inputs"]["y"], case["inputs"]["score"]), QUICK)

    for method, interval in {"delong": "ci95_delong_raw", "delong_logit": "ci95_logit"}.items():
        ours = row_of(found, "auc", method=method)
        np.testing.assert_allclose(
            ours[["estimate", "lower", "upper", "p_value", "n", "n_event"]].astype(float),
            [theirs["auc"], *theirs[interval], theirs["p_vs_half"], theirs["n_pos"] + theirs["n_neg"], theirs["n_pos"]],
            rtol=1e-6,
        )


@cases("01_roc_delong.json", "asah_s100b_vs_ndka", "missing_paired", "identical_scores")
def test_two_frozen_models_are_compared_as_proc_does(case):
    given, theirs = case["inputs"], case["outputs"]
    both = joined(
        table(given["y"], given["score1"], model="combined"), table(given["y"], given["score2"], model="clinical")
    )

    ours = row_of(assess(both, QUICK), "auc_difference", method="delong_paired")

    assert (ours["model"], ours["versus"]) == ("combined", "clinical")
    assert ours["n"] == theirs["n_used"]
    np.testing.assert_allclose(
        ours[["estimate", "lower", "upper", "p_value"]].astype(float),
        [theirs["estimate"][0] - theirs["estimate"][1], *theirs["conf_int_diff"], theirs["p_value"]],
        rtol=1e-6,
        atol=1e-12,
    )


@cases("02_cutoff_confusion.json", "asah_s100b", "tiny_n6")
def test_shares_at_the_frozen_cutoff_equal_r(case):
    cutoff = case["outputs"]["youden_pROC_best_all"]["threshold_midpoint"][0]

    found = assess(table(case["inputs"]["y"], case["inputs"]["score"], cutoff=cutoff), QUICK)

    for name in SHARES:
        theirs = case["outputs"]["at_youden_first"][name]
        for method in ("clopper_pearson", "wilson"):
            ours = row_of(found, name, method=method)
            np.testing.assert_allclose(
                ours[["at", "estimate", "lower", "upper"]].astype(float),
                [cutoff, theirs["estimate"], *theirs[method]],
                rtol=1e-6,
            )


@cases("05_survival.json", "marker_sim69", "marker_veteran_neg_karno")
def test_c_index_of_a_survival_endpoint_equals_r(case):
    given = case["inputs"]

    found = assess(table(given["event"], given["marker"], time=given["time"], time_unit="months"), QUICK)

    ours = row_of(found, "c_index", method="harrell")
    assert ours["estimate"] == pytest.approx(case["outputs"]["concordance"]["concordance"], rel=1e-6)
    assert ours["lower"] < ours["estimate"] < ours["upper"]


@cases("05_survival.json", "km_lung_sex", "km_tiny6")
def test_risk_groups_equal_survfit_and_survdiff(case):
    given, theirs = case["inputs"], case["outputs"]
    group = np.array(given["group"])

    found = assess(table(given["event"], group, time=given["time"], cutoff=float(group.max())), QUICK)

    for place, name in enumerate(["low", "high"]):
        ours = row_of(found, "km_median", group=name)
        np.testing.assert_allclose(
            ours[["estimate", "lower", "upper"]].astype(float),
            [theirs["km"]["log"][bound][place] for bound in ("median", "median_lower", "median_upper")],
        )
        assert ours["n"] == (group == np.unique(group)[place]).sum()
    test = row_of(found, "logrank")
    np.testing.assert_allclose(
        test[["estimate", "p_value"]].astype(float),
        [theirs["logrank"]["chisq"], theirs["logrank"]["p_value"]],
        rtol=1e-6,
    )


def test_metrics_worked_by_hand_from_a_table_on_disk(tmp_path):
    # six patients, 6 of 9 pairs in order; at 0.5 two of three events and two of three others are called rightly
    path = tmp_path / "predictions.csv"
    write_table(table([0, 0, 1, 0, 1, 1], [0.1, 0.4, 0.35, 0.8, 0.7, 0.9], cutoff=0.5), path)

    found = assess(read_predictions(path), QUICK)

    assert list(found.metrics.columns) == list(METRIC_COLUMNS)
    assert row_of(found, "auc", method="delong")["estimate"] == pytest.approx(6 / 9)
    for name in SHARES:
        exact = binomtest(4, 6) if name == "accuracy" else binomtest(2, 3)
        interval = exact.proportion_ci(method="exact")
        share = row_of(found, name, method="clopper_pearson")
        np.testing.assert_allclose(
            share[["at", "estimate", "lower", "upper"]].astype(float), [0.5, 2 / 3, interval.low, interval.high]
        )
    assert row_of(found, "cutoff")["estimate"] == 0.5
    assert (found.metrics["n"] == 6).all()
    assert (found.metrics["n_event"] == 3).all()
    assert set(found.metrics["level"]) == {"patient"}
    assert told(found) == []


def test_every_centre_has_its_rows_when_there_are_several():
    found = assess(cohort(0, centre=["A", "B"] * 30, cutoff=0.5), QUICK)

    assert sorted(set(rows_of(found, "auc")["centre"])) == ["", "A", "B"]
    assert row_of(found, "auc", centre="A", method="delong")["n"] == 30
    assert len(rows_of(found, "sensitivity", centre="B")) == 2
    assert rows_of(found, "cutoff")["centre"].tolist() == [""]


def test_one_centre_has_no_rows_of_its_own():
    assert set(assess(cohort(0), QUICK).metrics["centre"]) == {""}


def test_patients_without_a_centre_count_in_the_whole_only():
    found = assess(cohort(0, centre=["A", "", ""] * 20), QUICK)

    assert sorted(set(found.metrics["centre"])) == ["", "A"]
    assert told(found)[-1] == "40 patients name no centre: they are judged in the whole only"


def test_folds_are_averaged_and_never_ranked_together():
    # fold 1 ranks all its pairs, fold 2 none; ranked together, fold 2's higher scores would change the answer
    found = assess(
        table(
            [0, 1, 0, 1], [1, 2, 12, 11], partition="out_of_fold", fold=["1", "1", "2", "2"], cutoff=[1.5, 1.5, 9, 9]
        ),
        QUICK,
    )

    assert row_of(found, "auc")["estimate"] == 0.5
    assert row_of(found, "auc")["method"] == "bootstrap"
    # by their own cut-offs both events are called positive, and one of the two others
    assert set(rows_of(found, "sensitivity")["estimate"]) == {1.0}
    assert set(rows_of(found, "specificity")["estimate"]) == {0.5}
    assert rows_of(found, "sensitivity")["at"].isna().all()
    assert rows_of(found, "cutoff").empty


@pytest.mark.parametrize("partition", ["apparent", "held_out"])
def test_rows_with_a_fold_are_models_of_folds_in_every_partition(partition):
    found = assess(cohort(0, partition=partition, fold=["1", "2", "3"] * 20), QUICK)

    assert rows_of(found, "auc")["method"].tolist() == ["bootstrap"]


def test_repeats_average_the_calls_of_a_patient():
    # patient with the event called in one repeat of two: sensitivity 0.5 of one patient, not 1 of 2
    repeated = table(
        [1, 0, 0, 1, 0, 0],
        [2, 0, 1, 0, 2, 1],
        partition="out_of_fold",
        fold="1",
        repeat=["1"] * 3 + ["2"] * 3,
        patient_id=["P1", "P2", "P3"] * 2,
        cutoff=1.5,
    )

    found = assess(repeated, QUICK)

    sensitivity = row_of(found, "sensitivity", method="clopper_pearson")
    assert (sensitivity["estimate"], sensitivity["n"], sensitivity["n_event"]) == (0.5, 3, 1)
    assert row_of(found, "specificity", method="wilson")["estimate"] == pytest.approx(1.5 / 2)
    assert row_of(found, "auc")["estimate"] == pytest.approx((1 + 0) / 2)
    assert any("patients stand in several folds: their calls are averaged" in message for message in told(found))


def test_skipped_folds_are_counted_and_named():
    found = assess(table([0, 1, 0, 0], [1, 2, 3, 4], partition="out_of_fold", fold=["1", "1", "2", "2"]), QUICK)

    assert row_of(found, "auc")["n"] == 2
    assert "1 of 2 folds have one class and are skipped: 2" in told(found)


def test_out_of_fold_scores_without_a_fold_are_ranked_together_and_it_is_said():
    found = assess(cohort(0, partition="out_of_fold"), QUICK)

    assert row_of(found, "auc")["method"] == "bootstrap"
    assert "no fold is named: all scores are ranked together" in told(found)


def test_a_frozen_model_is_judged_before_models_of_folds_in_one_partition():
    frozen = cohort(0, partition="apparent")
    folds = cohort(0, partition="apparent", fold=["1", "2"] * 30)

    found = assess(joined(frozen, folds), QUICK)

    assert sorted(rows_of(found, "auc")["method"]) == ["bootstrap", "delong", "delong_logit"]
    assert "60 rows of fold models are left aside: a frozen model is there to be judged" in told(found)


def test_every_pair_of_frozen_models_is_compared_once():
    found = assess(joined(*(cohort(0, model=model) for model in "abc")), QUICK)

    pairs = rows_of(found, "auc_difference", method="delong_paired")[["model", "versus"]].to_numpy().tolist()
    assert pairs == [["a", "b"], ["a", "c"], ["b", "c"]]


def test_versus_is_the_only_reference_when_given():
    found = assess(joined(*(cohort(0, model=model) for model in "abc")), EvaluationSettings(versus="b"))

    pairs = rows_of(found, "auc_difference", method="delong_paired")[["model", "versus"]].to_numpy().tolist()
    assert pairs == [["a", "b"], ["c", "b"]]


def test_an_unknown_versus_is_a_failure_that_is_told():
    found = assess(cohort(0), EvaluationSettings(versus="nobody"))

    assert told(found, "failed") == ["versus names a model without predictions; it has radiomics"]
    assert found.messages[0]["model"] == "nobody"
    assert len(rows_of(found, "auc", method="delong")) == 1


def test_a_partition_without_the_reference_says_that_it_is_not_compared():
    both = joined(cohort(0, model="a"), cohort(0, model="b", partition="apparent"))

    found = assess(both, EvaluationSettings(versus="b"))

    assert rows_of(found, "auc_difference").empty
    assert told(found) == ["b has no scores to compare with here"]


def test_models_of_different_patients_are_compared_on_those_they_share():
    one, other = cohort(0, model="a"), cohort(0, model="b").iloc[10:]

    found = assess(joined(one, other), QUICK)

    assert row_of(found, "auc_difference", method="delong_paired")["n"] == 50
    assert told(found) == ["compared with b on the 50 patients both judge, of 60 and 50"]


def test_models_that_share_one_class_only_are_not_compared_and_it_is_said():
    one, other = (
        table([0, 1, 0, 1], [1, 2, 3, 4], model="a"),
        table([0, 1], [1, 2], model="b", patient_id=["P0000", "Q"]),
    )

    found = assess(joined(one, other), QUICK)

    assert rows_of(found, "auc_difference").empty
    assert "cannot be compared with b: they share one outcome" in told(found, "info")


def test_models_that_disagree_on_the_event_are_not_compared():
    found = assess(joined(table([0, 1, 1], [1, 2, 3], model="a"), table([1, 0, 1], [1, 2, 3], model="b")), QUICK)

    assert told(found, "failed") == ["cannot be compared with b: the two disagree on who had the event"]


def test_unknown_outcomes_are_left_out_and_counted():
    found = assess(table([0, np.nan, 1, 0, 1], [1, 9, 2, 3, 4]), QUICK)

    assert row_of(found, "auc", method="delong")["n"] == 4
    assert row_of(found, "auc", method="delong")["estimate"] == 0.75
    assert told(found, "info") == ["1 of 5 patients have no known outcome and are left out"]
    assert len(found.curves["scores"]) == 4


def test_a_partition_of_one_class_fails_by_name_and_everything_else_goes_on():
    one_class = table([0] * 12, range(12), model="a", partition="apparent", cutoff=5.5)

    found = assess(joined(one_class, cohort(0, model="b")), QUICK)

    assert found.messages == [
        {
            "endpoint": "response",
            "model": "a",
            "partition": "apparent",
            "severity": "failed",
            "message": "event: both classes are needed: 0 of 12 had the event",
        }
    ]
    assert len(rows_of(found, "auc", model="b", method="delong")) == 1
    assert set(rows_of(found, "specificity", model="a")["estimate"]) == {0.5}
    assert rows_of(found, "sensitivity", model="a")["estimate"].isna().all()


def test_a_centre_of_one_class_is_told_without_failing_the_partition():
    found = assess(table([0, 1, 0, 1, 0, 0], range(6), centre=["A"] * 4 + ["B"] * 2), QUICK)

    assert told(found, "failed") == []
    assert told(found, "info") == ["centre B: event: both classes are needed: 0 of 2 had the event"]


def test_one_class_in_repeated_folds_counts_patients():
    repeated = table(
        [0] * 8, range(8), partition="out_of_fold", fold="1", repeat=["1", "2"] * 4, patient_id=list("aabbccdd")
    )

    assert told(assess(repeated, QUICK), "failed") == ["event: both classes are needed: 0 of 4 had the event"]


def test_folds_of_one_class_each_fail_the_partition():
    found = assess(table([0, 1, 0], [1, 2, 3], partition="out_of_fold", fold=["1", "2", "3"]), QUICK)

    assert told(found, "failed") == ["needs both classes within a fold: none of 3 has that"]


def test_a_table_without_any_outcome_fails_and_keeps_its_columns():
    found = assess(table([np.nan, np.nan], [1, 2]), QUICK)

    assert told(found, "failed") == ["no patient has a known outcome"]
    assert list(found.metrics.columns) == list(METRIC_COLUMNS)
    assert list(found.curves["roc"].columns) == list(CURVE_COLUMNS["roc"])
    assert list(found.curves["scores"].columns) == list(CURVE_COLUMNS["scores"])
    assert list(found.curves["km"].columns) == list(CURVE_COLUMNS["km"])
    assert found.metrics.empty
    assert found.curves["km"].empty


def test_a_missing_cutoff_leaves_no_rows_at_a_cutoff_and_it_is_said():
    found = assess(cohort(0, cutoff=np.nan), QUICK)

    assert set(found.metrics["metric"]) == {"auc", "average_precision"}
    assert told(found) == ["60 patients have no cut-off: nothing is judged at a cut-off"]


def test_patients_without_a_cutoff_are_counted_when_others_have_one():
    found = assess(cohort(0, cutoff=[0.5] * 50 + [np.nan] * 10), QUICK)

    assert row_of(found, "accuracy", method="wilson")["n"] == 50
    assert row_of(found, "auc", method="delong")["n"] == 60
    assert told(found) == ["10 patients have no cut-off: they are not judged at a cut-off"]


def test_a_frozen_model_with_several_cutoffs_is_said_to_have_them():
    found = assess(table([0, 1, 0, 1], [1, 2, 3, 3], cutoff=[0, 2, 3.5, 3.5]), QUICK)

    assert row_of(found, "sensitivity", method="wilson")[["estimate"]].tolist() == [0.5]
    assert rows_of(found, "sensitivity")["at"].isna().all()
    assert rows_of(found, "cutoff").empty
    assert told(found) == ["a frozen model with 3 cut-offs: each patient is judged by his own"]


def test_an_auc_without_a_spread_is_said_to_mislead():
    assert told(assess(table([0, 0, 1, 1], [1, 2, 3, 4], cutoff=2.5), QUICK)) == [
        "an AUC of 1 has no DeLong spread: its interval and p-value mislead"
    ]


def test_a_single_patient_with_the_event_has_an_auc_without_an_interval():
    found = assess(table([0, 0, 1, 0], [1, 2, 3, 4], cutoff=2.5), QUICK)

    assert row_of(found, "auc", method="delong")[["lower", "upper", "p_value"]].isna().all()
    assert told(found) == ["a class has one patient: the AUC has no DeLong interval"]


def test_an_endpoint_with_times_is_judged_by_survival():
    rng = np.random.default_rng(0)
    score = rng.normal(size=80)
    time = rng.exponential(10 * np.exp(-score)) + 0.1

    found = assess(table(rng.random(80) < 0.7, score, time=time, time_unit="months", cutoff=0.0), QUICK)

    assert set(found.metrics["metric"]) == {
        *("c_index", "hazard_ratio", "km_median", "logrank", "logrank_trend", "rmst", "schoenfeld", "cutoff")
    }
    assert row_of(found, "c_index", method="harrell")["estimate"] > 0.6
    assert row_of(found, "hazard_ratio", group="high_vs_low")["estimate"] > 1
    assert row_of(found, "hazard_ratio", group="per_sd")["method"] == "cox_efron"
    assert row_of(found, "km_median", group="high")["n"] == (score >= 0).sum()
    assert found.curves["roc"].empty
    assert list(found.curves["km"].columns) == list(CURVE_COLUMNS["km"])
    assert found.curves["km"].groupby("group")["at_risk"].max().to_dict() == {
        "high": (score >= 0).sum(),
        "low": (score < 0).sum(),
    }


def test_hazard_ratio_per_sd_does_not_depend_on_the_scale_of_the_score():
    one = cohort(0, time=np.random.default_rng(1).exponential(5, size=60))

    ratios = [
        row_of(assess(one.assign(score=scale * one["score"] + 3), QUICK), "hazard_ratio", group="per_sd")["estimate"]
        for scale in (1, 50)
    ]

    assert ratios[0] == pytest.approx(ratios[1])


def test_risk_groups_of_repeats_follow_most_of_a_patients_calls():
    time = [5.0, 1.0, 4.0, 2.0]
    repeated = joined(
        *(
            table(
                [1, 1, 0, 1],
                scores,
                time=time,
                partition="out_of_fold",
                fold="1",
                repeat=repeat,
                patient_id=["P1", "P2", "P3", "P4"],
                cutoff=0.5,
            )
            for repeat, scores in {"1": [0, 1, 0, 1], "2": [0, 1, 1, 1], "3": [1, 1, 0, 1]}.items()
        )
    )

    found = assess(repeated, QUICK)

    assert row_of(found, "km_median", group="high")[["n", "estimate"]].tolist() == [2, 1.5]
    assert row_of(found, "logrank")["n"] == 4


def test_a_survival_endpoint_judged_as_binary_says_that_follow_up_is_ignored():
    found = assess(cohort(0, time=np.arange(1.0, 61), cutoff=0.5), EvaluationSettings(kind="binary", bootstrap=20))

    assert {"auc", "sensitivity"} <= set(found.metrics["metric"])
    assert "c_index" not in set(found.metrics["metric"])
    assert told(found) == ["the event is judged as it stands: how long patients were followed is ignored"]
    assert set(found.curves["km"]["group"]) == {"low", "high"}


def test_survival_asked_of_an_endpoint_without_times_fails():
    found = assess(cohort(0), EvaluationSettings(kind="survival"))

    assert told(found, "failed") == ["evaluation=survival needs follow-up times, but the endpoint has none"]
    assert found.metrics.empty


def test_survival_without_an_event_fails_but_draws_its_curves():
    found = assess(table([0, 0, 0], [1, 2, 3], time=[1.0, 2.0, 3.0], cutoff=1.5), QUICK)

    assert told(found, "failed") == ["event: an event is needed: 0 of 3 had it"]
    assert (found.curves["km"]["survival"] == 1).all()


def test_patients_without_follow_up_are_left_out_of_survival_and_counted():
    found = assess(cohort(0, time=[np.nan, *np.arange(1.0, 60)], time_unit="months", cutoff=0.5), QUICK)

    assert row_of(found, "c_index", method="harrell")["n"] == 59
    assert told(found) == ["1 of 60 patients have no known follow-up time and are left out"]


def test_one_risk_group_and_an_infinite_hazard_ratio_are_told_and_not_failed():
    one_group = table([1, 1, 0, 1], [1, 2, 3, 0], time=[1.0, 2.0, 3.0, 4.0], cutoff=-1.0, model="a")
    separated = table([1, 1, 0, 0], [4, 3, 2, 1], time=[1.0, 2.0, 3.0, 4.0], cutoff=2.5, model="b")
    separated["patient_id"] = list("QRST")

    found = assess(joined(one_group, separated), QUICK)

    assert told(found, "failed") == []
    assert "every patient is of high risk: the groups cannot be compared" in told(found)
    infinite = "the hazard ratio is infinite: at each event the highest of those at risk had it"
    assert {f"per SD: {infinite}", f"high versus low: {infinite}"} <= set(told(found))


def test_curves_of_folds_stand_beside_their_vertical_mean():
    folds = table(
        [0, 1, 0, 1], [1, 2, 1, 1], partition="out_of_fold", fold=["1", "1", "2", "2"], repeat="1", cutoff=1.5
    )

    roc = assess(folds, QUICK).curves["roc"]

    assert list(roc.columns) == list(CURVE_COLUMNS["roc"])
    assert roc.groupby("fold").size().to_dict() == {"1": 3, "2": 2, "mean": 101}
    mean = roc[roc["fold"] == "mean"]
    np.testing.assert_allclose(mean["fpr"], np.linspace(0, 1, 101))
    np.testing.assert_allclose(mean["tpr"], (1 + np.linspace(0, 1, 101)) / 2)


def test_scores_carry_no_patient_id():
    scores = assess(cohort(0), QUICK).curves["scores"]

    assert list(scores.columns) == list(CURVE_COLUMNS["scores"])
    assert not scores.isin([f"P{who:04d}" for who in range(60)]).to_numpy().any()


def test_an_assessment_repeats_itself():
    predictions = cohort(0, partition="out_of_fold", fold=["1", "2"] * 30, centre=["A", "A", "B"] * 20)

    one, two = assess(predictions, QUICK), assess(predictions, QUICK)

    pd.testing.assert_frame_equal(one.metrics, two.metrics)


@pytest.mark.parametrize("kind", [None, "binary", "survival"])
@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_patients_nothing_crashes_and_nothing_is_silent(seed, kind):
    rng = np.random.default_rng(seed)
    happened = rng.random(8) < rng.choice([0, 0.5, 1])
    tables = []
    for model in ("a", "b"):
        for partition in ("apparent", "out_of_fold", "held_out"):
            n = int(rng.integers(1, 9))
            event = np.where(rng.random(n) < 0.2, np.nan, happened[:n])
            tables.append(
                table(
                    event,
                    rng.integers(0, rng.choice([1, 3, 9]), size=n),
                    model=model,
                    partition=partition,
                    fold=rng.choice(["", "1", "2"], size=n) if rng.random() < 0.5 else "",
                    centre=rng.choice(["", "A", "B"], size=n),
                    time=np.where(rng.random(n) < 0.2, np.nan, rng.integers(1, 4, size=n)) if seed % 2 else np.nan,
                    cutoff=np.where(rng.random(n) < 0.2, np.nan, 1.0),
                )
            )

    found = assess(joined(*tables), EvaluationSettings(kind=kind, bootstrap=10))

    for model in ("a", "b"):
        for partition in ("apparent", "out_of_fold", "held_out"):
            about = {"model": model, "partition": partition}
            main = rows_of(found, "auc", **about, centre=""), rows_of(found, "c_index", **about, centre="")
            failed = [m for m in found.messages if m | about == m and m["severity"] == "failed"]
            assert bool(failed) == (main[0].empty and main[1].empty)


def test_a_table_that_lacks_a_column_is_refused_by_name():
    with pytest.raises(ValueError, match="the prediction table lacks fold, cutoff; read it with"):
        assess(cohort(0).drop(columns=["fold", "cutoff"]), QUICK)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "ordinal"}, "evaluation must be binary or survival, got 'ordinal'"),
        ({"bootstrap": 0}, "bootstrap must be at least 1 resample, got 0"),
        ({"level": 95}, "level must lie between 0 and 1, got 95"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        EvaluationSettings(**settings)
