"""Cut-offs and what they are worth, as ``evaluate.py`` writes them from a prediction file."""

import json

import numpy as np
import pandas as pd
import pytest

from assessing import joined, table
from oracle import cases
from radnet.cli import main
from radnet.evaluation.assess import assess
from radnet.evaluation.assessment.settings import EvaluationSettings

SCORED = ["asah_s100b", "asah_wfns", "pima_te_glu", "cohort69", "cohort69_ties", "lesions236", "tiny_n6", "perfect"]
COUNTED = ["zhao_like_69", "ligero_like_236", "zero_fp", "zero_fn", "no_positive_calls", "tiny"]
MARKERS = ["marker_lung_age", "marker_sim69", "marker_sim69_tied", "marker_veteran_neg_karno"]
SHARES = ("sensitivity", "specificity", "ppv", "npv", "accuracy")
REFIT = "evaluation.allow_refit_cutoff=true"


def confusion_of_r(*names):
    return cases("02_cutoff_confusion.json", *names)


def marker_of_r(*names):
    return cases("05_survival.json", *names)


@pytest.fixture
def evaluate(tmp_path, capsys):
    """Run ``radnet evaluate`` on a table written as .csv; give the exit status, metrics.csv and the messages."""

    def run(predictions, *words):
        predictions.to_csv(tmp_path / "predictions.csv", index=False)
        words = [f"predictions={tmp_path / 'predictions.csv'}", f"output={tmp_path / 'out'}", *words]
        status = main(["evaluate", "report=false", *words, "evaluation.bootstrap=10"])
        capsys.readouterr()
        metrics = pd.read_csv(tmp_path / "out" / "metrics.csv", keep_default_na=False, na_values=[""])
        messages = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))["messages"]
        return status, metrics, messages

    return run


def one(metrics, metric, **where):
    rows = metrics[metrics["metric"] == metric]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1, f"{metric} {where}: {len(rows)} rows"
    return rows.iloc[0]


def numbers(row, *columns):
    return row[list(columns)].to_numpy(dtype=float)


def texts(messages, severity):
    return [one["message"] for one in messages if one["severity"] == severity]


def assert_equals_r(metrics, theirs, at):
    for name in SHARES:
        for method in ("clopper_pearson", "wilson"):
            np.testing.assert_allclose(
                numbers(one(metrics, name, method=method), "at", "estimate", "lower", "upper"),
                [at, theirs[name]["estimate"], *theirs[name][method]],
                rtol=1e-6,
                atol=1e-12,
            )
    for name in ("lr_positive", "lr_negative"):
        np.testing.assert_allclose(
            numbers(one(metrics, name, method="simel"), "at", "estimate", "lower", "upper"),
            [at, theirs[name], *theirs[f"{name}_ci_simel"]],
            rtol=1e-6,
            atol=1e-12,
        )


@confusion_of_r(*SCORED, "missing")
def test_a_refitted_youden_cutoff_and_its_worth_equal_proc_and_epir(case, evaluate):
    given, theirs = case["inputs"], case["outputs"]
    best = min(theirs["youden_pROC_best_all"]["threshold_midpoint"])

    status, metrics, _ = evaluate(table(given["y"], given["score"]), "evaluation.cutoff=youden", REFIT)

    cutoff = one(metrics, "cutoff")
    assert (status, cutoff["method"]) == (0, "youden")
    assert cutoff["estimate"] == pytest.approx(best, rel=1e-6)
    assert np.isnan(cutoff["at"])
    assert_equals_r(metrics, theirs["at_youden_first"], best)


@confusion_of_r(*SCORED, "missing")
def test_a_refitted_most_sensitive_cutoff_and_its_worth_equal_r(case, evaluate):
    given, theirs = case["inputs"], case["outputs"]
    best = theirs["maxsens_spec50"]["threshold_midpoint"][0]

    _, metrics, _ = evaluate(
        table(given["y"], given["score"]),
        "evaluation.cutoff=max_sensitivity",
        "evaluation.min_specificity=0.5",
        REFIT,
    )

    assert one(metrics, "cutoff", method="max_sensitivity")["estimate"] == pytest.approx(best, rel=1e-6)
    assert_equals_r(metrics, theirs["at_maxsens_spec50"], best)


@confusion_of_r("all_tied")
@pytest.mark.parametrize("rule", ["ge", "gt"])
@pytest.mark.parametrize(
    ("asked", "at"), [("youden", "at_youden_first"), ("max_sensitivity", "at_maxsens_spec50")], ids=["all", "nobody"]
)
def test_an_infinite_cutoff_of_proc_is_a_finite_one_that_calls_the_same(case, rule, asked, at, evaluate):
    given = case["inputs"]

    _, metrics, _ = evaluate(
        table(given["y"], given["score"]), f"evaluation.cutoff={asked}", REFIT, f"evaluation.decision_rule={rule}"
    )

    cutoff = one(metrics, "cutoff")["estimate"]
    assert np.isfinite(cutoff)
    assert_equals_r(metrics, case["outputs"][at], cutoff)


@confusion_of_r("single_class")
def test_no_cutoff_is_fitted_on_one_class_and_the_run_says_so(case, evaluate):
    given = case["inputs"]

    status, metrics, messages = evaluate(
        table(given["y"], given["score"], cutoff=np.nan), "evaluation.cutoff=youden", REFIT
    )

    assert status == 1
    assert not metrics["metric"].isin(["cutoff", *SHARES]).any()
    assert "cutoff=youden on held_out scores: event: both classes are needed: 4 of 4 had the event" in texts(
        messages, "failed"
    )


@confusion_of_r("fixed_0.22")
def test_a_fixed_cutoff_is_always_allowed_and_its_worth_equals_epir(case, evaluate):
    given = case["inputs"]

    status, metrics, messages = evaluate(
        table(given["y"], given["score"], cutoff=np.nan), "evaluation.cutoff=fixed", "evaluation.cutoff_value=0.22"
    )

    assert (status, texts(messages, "failed")) == (0, [])
    assert one(metrics, "cutoff", method="fixed")["estimate"] == 0.22
    assert_equals_r(metrics, case["outputs"], 0.22)


@confusion_of_r(*COUNTED)
def test_the_worth_of_calls_counted_equals_epir(case, evaluate):
    status, metrics, _ = evaluate(patients_of(case["inputs"]))

    assert status == 0
    assert_equals_r(metrics, case["outputs"], 0.5)


@confusion_of_r("no_diseased")
def test_calls_among_patients_without_the_event_are_counted_though_the_model_fails(case, evaluate):
    status, metrics, messages = evaluate(patients_of(case["inputs"]))

    assert (status, len(texts(messages, "failed"))) == (1, 1)
    assert_equals_r(metrics, case["outputs"], 0.5)


def patients_of(counts):
    """As many patients of each kind, called at 0.5."""
    kinds = {"TP": (1, 1.0), "FP": (0, 1.0), "FN": (1, 0.0), "TN": (0, 0.0)}
    event, score = np.array([kinds[name] for name in kinds for _ in range(int(counts[name]))]).T
    return table(event, score, cutoff=0.5)


def followed(case, **columns):
    given = case["inputs"]
    return table(given["event"], given["marker"], time=given["time"], time_unit="days", cutoff=np.nan, **columns)


@marker_of_r(*MARKERS)
def test_a_maximally_selected_cutoff_parts_whom_maxstat_parts_with_its_adjusted_p_value(case, evaluate):
    theirs, marker = case["outputs"]["optimal_cutpoint"], np.array(case["inputs"]["marker"])
    assert case["inputs"]["minprop"] == 0.1

    _, metrics, messages = evaluate(followed(case), "evaluation=survival", "evaluation.cutoff=maxstat", REFIT)

    cutoff = one(metrics, "cutoff", method="maxstat")
    np.testing.assert_array_equal(marker >= cutoff["estimate"], marker > theirs["cutpoint"])
    assert cutoff["p_value"] == pytest.approx(theirs["p_Lau94"], rel=1e-6)
    assert one(metrics, "logrank")["estimate"] == pytest.approx(theirs["naive_logrank_chisq_at_cut"], rel=1e-6)
    assert any("refitted by maxstat on the very patients it judges" in text for text in texts(messages, "info"))


@marker_of_r(*MARKERS, "marker_lung_missing", "marker_tiny8")
def test_a_youden_cutoff_at_a_time_parts_whom_survivalroc_parts(case, evaluate):
    marker = np.array(case["inputs"]["marker"], dtype=float)
    for at in case["outputs"]["survivalROC"]["by_time"]:
        _, metrics, _ = evaluate(
            followed(case),
            "evaluation=survival",
            "evaluation.cutoff=time_youden",
            REFIT,
            f"evaluation.horizons=[{at['time']},{at['time'] + 1}]",
        )

        cutoff = one(metrics, "cutoff", method="time_youden")
        assert cutoff["horizon"] == at["time"]
        np.testing.assert_array_equal(
            marker >= cutoff["estimate"], marker > at["NNE_span_0.25n_pow_minus0.2"]["youden_cut"]
        )


def test_a_cutoff_is_not_fitted_on_held_out_patients_unless_that_is_allowed(evaluate):
    held_out = table([0, 1, 0, 1, 1], [1, 2, 3, 4, 5], cutoff=2.5)

    status, metrics, messages = evaluate(held_out, "evaluation.cutoff=youden")

    assert status == 1
    (failed,) = [one for one in messages if one["severity"] == "failed"]
    assert (failed["endpoint"], failed["model"], failed["partition"]) == ("response", "radiomics", "")
    assert failed["message"] == (
        "cutoff=youden needs scores of training patients, but the table has held_out rows only: nothing is judged at a "
        "cut-off. Add the model's out_of_fold rows, or allow_refit_cutoff=true to fit it on the very patients it judges"
    )
    assert not metrics["metric"].isin(["cutoff", *SHARES]).any()
    assert one(metrics, "auc", method="delong")["estimate"] == pytest.approx(5 / 6)


def test_a_refitted_cutoff_is_said_to_be_optimistic(evaluate):
    _, _, messages = evaluate(table([0, 1, 0, 1, 1], [1, 2, 3, 4, 5]), "evaluation.cutoff=youden", REFIT)

    (told,) = [text for text in texts(messages, "info") if "cut-off" in text]
    assert told == ("cut-off refitted by youden on the very patients it judges (5): what is judged at it is optimistic")


def training_and_held_out(**of_training):
    # the best training cut-off is 3.5; among the held-out patients it would be 1.5
    training = table(
        [0, 0, 0, 1, 1, 1],
        [1, 2, 3, 4, 5, 6],
        patient_id=[f"T{i}" for i in range(6)],
        **{"partition": "out_of_fold", "fold": ["1", "2"] * 3, "cutoff": np.nan} | of_training,
    )
    return joined(training, table([0, 1, 1, 1], [1, 2, 4, 5], cutoff=np.nan))


def test_a_cutoff_fitted_out_of_fold_judges_the_held_out_patients(evaluate):
    status, metrics, messages = evaluate(training_and_held_out(), "evaluation.cutoff=youden")

    assert (status, texts(messages, "failed")) == (0, [])
    assert metrics.loc[metrics["metric"] == "cutoff", ["partition", "estimate"]].to_numpy().tolist() == [
        ["out_of_fold", 3.5],
        ["held_out", 3.5],
    ]
    held_out = one(metrics, "sensitivity", partition="held_out", method="wilson")
    assert held_out[["at", "estimate"]].tolist() == [3.5, pytest.approx(2 / 3)]
    assert one(metrics, "accuracy", partition="out_of_fold", method="wilson")["estimate"] == 1
    assert (
        "cut-off fitted by youden on the out_of_fold scores of 6 patients: what is judged at it among these is "
        "optimistic" in texts(messages, "info")
    )


def test_without_out_of_fold_scores_a_cutoff_is_fitted_on_apparent_ones_and_it_is_said(evaluate):
    _, metrics, messages = evaluate(
        training_and_held_out(partition="apparent", fold=""), "evaluation.cutoff=median", "evaluation=binary"
    )

    assert one(metrics, "cutoff", partition="held_out", method="median")["estimate"] == 3.5
    assert (
        "cut-off fitted by median on the apparent scores of 6 patients, from whom the model learned: it may be far off "
        "for others" in texts(messages, "info")
    )


def test_patients_of_unknown_outcome_do_not_help_to_fit_and_repeats_count_once(evaluate):
    # without the unknown outcome the patients' mean scores are 1, 2 and 6: the median is 2
    training = table(
        [0, 1, 1, 0, 1, 1, np.nan, np.nan],
        [0, 3, 6, 2, 1, 6, 50, 60],
        partition="out_of_fold",
        fold="1",
        repeat=["1", "1", "1", "2", "2", "2", "1", "2"],
        patient_id=["P1", "P2", "P3", "P1", "P2", "P3", "P4", "P4"],
    )

    _, metrics, _ = evaluate(training, "evaluation.cutoff=median")

    assert one(metrics, "cutoff")["estimate"] == 2


def test_each_model_has_its_own_cutoff_and_one_without_training_scores_does_not_hold_up_the_other(evaluate):
    both = joined(training_and_held_out(), table([0, 1, 1, 1], [1, 2, 4, 5], model="nomogram", cutoff=1.5))

    status, metrics, messages = evaluate(both, "evaluation.cutoff=youden")

    assert (status, [one["model"] for one in messages if one["severity"] == "failed"]) == (1, ["nomogram"])
    assert set(metrics.loc[metrics["metric"] == "cutoff", "model"]) == {"radiomics"}


@pytest.mark.parametrize(
    ("asked", "kind", "message"),
    [
        ("maxstat", "binary", "cutoff=maxstat needs follow-up times, but the endpoint is judged without"),
        ("time_youden", "binary", "cutoff=time_youden needs follow-up times, but the endpoint is judged without"),
        ("youden", "survival", "cutoff=youden ignores how long patients were followed"),
        ("time_youden", "survival", "cutoff=time_youden on held_out scores: needs a time: give evaluation.horizons"),
    ],
)
def test_a_rule_that_the_endpoint_does_not_allow_is_refused(asked, kind, message, evaluate):
    patients = table([0, 1, 0, 1, 1], [1, 2, 3, 4, 5], time=[5.0, 1, 6, 2, 3], time_unit="months")

    status, metrics, messages = evaluate(patients, f"evaluation={kind}", f"evaluation.cutoff={asked}", REFIT)

    (failed,) = texts(messages, "failed")
    assert (status, failed.startswith(message)) == (1, True), failed
    assert "cutoff" not in set(metrics["metric"])


def test_a_time_beyond_follow_up_is_said_where_a_cutoff_is_fitted_at_it(evaluate):
    patients = table([0, 1, 0, 1, 1], [1, 2, 3, 4, 5], time=[5.0, 1, 6, 2, 3], time_unit="months")

    _, metrics, messages = evaluate(
        patients, "evaluation=survival", "evaluation.cutoff=time_youden", REFIT, "evaluation.horizons=[9]"
    )

    assert one(metrics, "cutoff")["horizon"] == 9
    assert any("cut-off refitted" in text and "nobody is followed beyond 9" in text for text in texts(messages, "info"))


def test_an_adjusted_p_value_stays_with_the_patients_it_was_fitted_on(evaluate):
    rng = np.random.default_rng(0)
    patients = table(
        rng.random(80) < 0.8,
        rng.normal(size=80),
        time=rng.exponential(5, 80) + 0.1,
        time_unit="months",
        partition=["out_of_fold"] * 60 + ["held_out"] * 20,
        fold=["1", "2"] * 30 + [""] * 20,
    )

    _, metrics, _ = evaluate(patients, "evaluation=survival", "evaluation.cutoff=maxstat")

    assert 0 <= one(metrics, "cutoff", partition="out_of_fold")["p_value"] <= 1
    assert np.isnan(one(metrics, "cutoff", partition="held_out")["p_value"])
    assert len(set(metrics.loc[metrics["metric"] == "cutoff", "estimate"])) == 1


@pytest.mark.parametrize("rule", ["youden", "max_sensitivity", "median", "maxstat", "time_youden"])
@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_patients_a_cutoff_is_fitted_or_missed_in_words(seed, allowed, rule):
    rng = np.random.default_rng(seed)
    n = 12
    patients = table(
        np.where(rng.random(n) < 0.2, np.nan, rng.random(n) < rng.choice([0, 0.5])),
        rng.integers(0, rng.choice([1, 9]), n),
        partition=rng.choice(["apparent", "out_of_fold", "held_out"], n),
        fold=rng.choice(["", "1"], n),
        time=rng.integers(1, 9, n).astype(float) if seed % 2 else np.nan,
        time_unit="days" if seed % 2 else "",
        cutoff=np.nan,
    )
    settings = EvaluationSettings(bootstrap=10, cutoff=rule, allow_refit_cutoff=allowed, horizons=[4])

    found = assess(patients, settings)

    told = [one for one in found.messages if one["message"].startswith(("cutoff=", "cut-off"))]
    assert told
    if all(one["severity"] == "failed" for one in told):
        assert "cutoff" not in set(found.metrics["metric"])


@marker_of_r(*MARKERS)
def test_a_maximally_selected_cutoff_by_gt_is_the_number_of_surv_cutpoint(case, evaluate):
    theirs = case["outputs"]["optimal_cutpoint"]
    words = "evaluation=survival", "evaluation.cutoff=maxstat", REFIT

    _, above, _ = evaluate(followed(case), *words, "evaluation.decision_rule=gt")
    _, at_or_above, _ = evaluate(followed(case), *words)

    assert one(above, "cutoff")["estimate"] == pytest.approx(theirs["cutpoint"], rel=1e-6)
    assert one(above, "logrank")["estimate"] == pytest.approx(theirs["naive_logrank_chisq_at_cut"], rel=1e-6)
    marker = np.unique(np.array(case["inputs"]["marker"], dtype=float))
    lowest_high = marker[marker > theirs["cutpoint"]].min()
    assert one(at_or_above, "cutoff")["estimate"] == pytest.approx((theirs["cutpoint"] + lowest_high) / 2)
    assert one(at_or_above, "logrank")["estimate"] == one(above, "logrank")["estimate"]


@marker_of_r(*MARKERS, "marker_lung_missing", "marker_tiny8")
def test_a_youden_cutoff_at_a_time_by_gt_is_the_number_of_survivalroc(case, evaluate):
    for at in case["outputs"]["survivalROC"]["by_time"]:
        _, metrics, _ = evaluate(
            *(followed(case), "evaluation=survival", "evaluation.cutoff=time_youden", REFIT),
            *(f"evaluation.horizons=[{at['time']}]", "evaluation.decision_rule=gt"),
        )

        theirs = at["NNE_span_0.25n_pow_minus0.2"]["youden_cut"]
        assert one(metrics, "cutoff", method="time_youden")["estimate"] == pytest.approx(theirs, rel=1e-6)


def test_a_youden_cutoff_at_a_time_that_calls_everybody_does_so_by_gt_too(evaluate):
    falling = table([1, 1, 1, 0, 0, 0], [1, 2, 3, 4, 5, 6], time=[1.0, 2, 3, 9, 9, 9], time_unit="months")

    _, metrics, _ = evaluate(
        *(falling, "evaluation=survival", "evaluation.cutoff=time_youden", REFIT),
        *("evaluation.horizons=[5]", "evaluation.decision_rule=gt"),
    )

    assert one(metrics, "cutoff")["estimate"] == pytest.approx(1)
    assert set(metrics.loc[metrics["metric"] == "km_median", "group"].dropna()) == {"high"}


def test_a_rule_for_follow_up_leaves_an_endpoint_without_it_its_frozen_cut_offs():
    rng = np.random.default_rng(4)
    score = rng.normal(size=40)
    of_response = table((rng.random(40) < 0.5).astype(int), score).assign(cutoff=0.25)
    of_pfs = of_response.assign(endpoint="pfs", time=rng.exponential(9, 40) + 0.1, time_unit="months", cutoff=0.5)
    settings = EvaluationSettings(cutoff="maxstat", allow_refit_cutoff=True)

    found = assess(joined(of_response, of_pfs), settings)

    cutoffs = found.metrics[found.metrics["metric"] == "cutoff"].groupby("endpoint")[["method", "estimate"]].first()
    assert cutoffs.loc["response"].tolist() == ["fixed", 0.25]
    assert cutoffs.loc["pfs", "method"] == "maxstat"
    assert not [one for one in found.messages if one["severity"] == "failed"]
