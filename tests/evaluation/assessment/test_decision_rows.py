"""Net benefit and clinical impact as ``evaluate.py`` writes them: the numbers of R from a file of predictions."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from assessing import joined, row_of, rows_of, table, told
from oracle import cases, close
from radnet.cli import main
from radnet.evaluation.assess import assess
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.tables import write_table

FILE = "04_decision_curve.json"
BINARY = [
    "pima_external",
    "asah_apparent",
    "cohort69",
    "cohort69_p_on_thresholds",
    "ties_exact_binary_fractions",
    "tiny_n6",
    "perfect",
]
FAMILY = ("net_benefit", "net_benefit_all", "net_benefit_standardized", "impact_high_risk", "impact_true_positive")
QUICK = EvaluationSettings(bootstrap=20)


of_r = partial(cases, FILE)


class Written:
    """What a run of evaluate wrote, as tests look at an assessment."""

    def __init__(self, code, folder):
        self.code = code
        self.metrics = pd.read_csv(folder / "metrics.csv", keep_default_na=False, na_values=[""])
        text = self.metrics.select_dtypes(exclude="number").columns
        self.metrics[text] = self.metrics[text].fillna("")
        self.messages = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["messages"]
        self.points = pd.read_csv(folder / "figures" / "decision.csv")


def evaluated(folder, predictions, *typed):
    """Write predictions as a file, run ``evaluate`` on it and read back what it wrote."""
    write_table(predictions, folder / "predictions.csv")
    words = [f"predictions={folder / 'predictions.csv'}", f"output={folder / 'out'}", "evaluation.bootstrap=20"]
    return Written(main(["evaluate", "report=false", *words, *typed]), folder / "out")


def asked(thresholds):
    return f"evaluation.thresholds=[{','.join(repr(float(at)) for at in thresholds)}]"


def binary(case):
    return table(case["inputs"]["y"], case["inputs"]["p"], probability=case["inputs"]["p"])


def assert_rows(found, metric, thresholds, theirs, **where):
    rows = rows_of(found, metric, **where)
    np.testing.assert_array_equal(rows["at"], thresholds)
    close(rows["estimate"], theirs)


@of_r(*BINARY)
def test_net_benefit_equals_dcurves_where_a_probability_at_the_threshold_is_treated(case, tmp_path):
    theirs = case["outputs"]["dcurves_ge"]
    at, tp, fp = (np.array(theirs[name]) for name in ("thresholds", "tp_rate", "fp_rate"))

    found = evaluated(tmp_path, binary(case), asked(at), "evaluation.decision_rule=ge")

    assert found.code == 0
    assert_rows(found, "net_benefit", at, theirs["net_benefit"])
    assert_rows(found, "net_benefit_all", at, theirs["treat_all"])
    assert_rows(found, "net_benefit_standardized", at, theirs["net_benefit"] / np.mean(case["inputs"]["y"]))
    assert_rows(found, "impact_high_risk", at, 1000 * (tp + fp))
    assert_rows(found, "impact_true_positive", at, 1000 * tp)
    assert found.metrics.loc[found.metrics["metric"].isin(FAMILY), "horizon"].isna().all()


@of_r(*BINARY)
def test_net_benefit_and_impact_equal_rmda_where_only_above_the_threshold_is_treated(case, tmp_path):
    theirs = case["outputs"]["rmda_strict_gt"]
    at = theirs["thresholds"]

    found = evaluated(tmp_path, binary(case), asked(at), "evaluation.decision_rule=gt")

    assert found.code == 0
    assert theirs["clinical_impact_population"] == 1000
    assert_rows(found, "net_benefit", at, theirs["model"]["NB"])
    assert_rows(found, "net_benefit_all", at, theirs["treat_all_NB"])
    assert_rows(found, "net_benefit_standardized", at, theirs["model"]["sNB"])
    assert_rows(found, "impact_high_risk", at, theirs["clinical_impact_n_high_risk"])
    assert_rows(found, "impact_true_positive", at, theirs["clinical_impact_n_high_risk_with_event"])


@of_r("no_events")
def test_patients_without_an_event_fail_where_r_raises_and_all_else_is_written(case, tmp_path):
    assert all("error" in output for output in case["outputs"].values())

    found = evaluated(tmp_path, binary(case), asked(case["inputs"]["thresholds"]))

    assert found.code == 1
    assert not set(FAMILY) & set(found.metrics["metric"])
    [message] = [one for one in told(found) if "classes" in one]
    assert message in told(found, "failed")
    assert len(rows_of(found, "specificity"))


@of_r("p_out_of_range")
def test_a_probability_above_one_fails_by_its_column_where_r_raises_and_all_else_is_written(case, tmp_path):
    assert all("error" in output for output in case["outputs"].values())

    found = evaluated(tmp_path, binary(case), asked(case["inputs"]["thresholds"]))

    assert found.code == 1
    [failed] = told(found, "failed")
    assert failed.startswith("probability must lie within 0 and 1, got 1.2 (1 patients")
    assert not set(FAMILY) & set(found.metrics["metric"])
    assert len(rows_of(found, "auc"))


@pytest.mark.parametrize("column", ["probability_365", "probability"])
@of_r("surv_lung_365")
def test_net_benefit_under_censoring_equals_dcurves(case, column, tmp_path):
    given, theirs = case["inputs"], case["outputs"]["dcurves_survival"]
    at, tp, fp = (np.array(theirs[name]) for name in ("thresholds", "tp_rate", "fp_rate"))
    predictions = table(given["event"], given["p"], time=np.array(given["time"], dtype=float), time_unit="days")
    predictions[column] = given["p"]

    found = evaluated(tmp_path, predictions, asked(at), "evaluation.horizons=[365]")

    assert found.code == 0
    assert_rows(found, "net_benefit", at, theirs["net_benefit"], horizon=365)
    assert_rows(found, "net_benefit_all", at, theirs["treat_all"], horizon=365)
    assert_rows(found, "net_benefit_standardized", at, theirs["net_benefit"] / np.array(theirs["event_prob_km"]))
    assert_rows(found, "impact_high_risk", at, 1000 * (tp + fp), horizon=365)
    assert_rows(found, "impact_true_positive", at, 1000 * tp, horizon=365)
    assert set(found.points["horizon"]) == {365.0}


def patients(seed=1, n=200, **columns):
    rng = np.random.default_rng(seed)
    probability = rng.random(n).round(2)
    return table(rng.random(n) < probability, probability, probability=probability, **columns)


def test_treating_all_has_its_closed_form_and_a_model_that_calls_everybody_has_it_too():
    everybody = patients().assign(probability=1.0)

    found = assess(everybody, QUICK)

    at = np.array(QUICK.thresholds)
    share = everybody["event"].mean()
    assert_rows(found, "net_benefit_all", at, share - (1 - share) * at / (1 - at))
    assert_rows(found, "net_benefit", at, share - (1 - share) * at / (1 - at))
    assert_rows(found, "impact_high_risk", at, 1000)
    assert_rows(found, "impact_true_positive", at, 1000 * share)


def test_a_model_that_calls_nobody_is_worth_nothing():
    found = assess(patients().assign(probability=0.0), QUICK)

    for name in ("net_benefit", "net_benefit_standardized", "impact_high_risk", "impact_true_positive"):
        assert (rows_of(found, name)[["estimate", "lower", "upper"]] == 0).all(axis=None)


def test_intervals_are_the_binomial_quantiles_of_patients_drawn_with_replacement():
    predictions = patients()
    share, called = predictions["event"].mean(), (predictions["probability"] >= 0.4).mean()
    settings = EvaluationSettings(bootstrap=20_000, thresholds=[0.4])

    found = assess(predictions, settings)

    events, calls = (binom.ppf([0.025, 0.975], 200, part) / 200 for part in (share, called))
    step = 1 / 200  # the quantile of 20 000 draws may lie one patient beside that of the law
    ours = row_of(found, "net_benefit_all")[["lower", "upper"]].astype(float)
    np.testing.assert_allclose(ours, events - (1 - events) * 0.4 / 0.6, atol=1.01 * step / 0.6)
    ours = row_of(found, "impact_high_risk")[["lower", "upper"]].astype(float)
    np.testing.assert_allclose(ours, 1000 * calls, atol=1.01 * 1000 * step)


def test_without_censoring_net_benefit_by_the_horizon_is_that_of_the_event_by_then():
    rng = np.random.default_rng(2)
    probability = rng.random(80).round(2)
    time = rng.exponential(5 / -np.log1p(-np.clip(probability, 0.02, 0.98))) + 0.1
    followed = table(np.ones(80), probability, probability=probability, time=time, time_unit="years")
    settings = EvaluationSettings(bootstrap=200, horizons=[5.0], thresholds=[0.2, 0.3, 0.5])

    survival = assess(followed, settings)
    by_then = assess(table(time <= 5, probability, probability=probability), settings)

    for name in FAMILY:
        close(rows_of(survival, name)["estimate"], rows_of(by_then, name)["estimate"])


def test_the_curve_has_a_fine_grid_with_its_band_and_impact_of_1000():
    predictions = patients()

    found = assess(predictions, QUICK)

    curve = found.curves["decision"]
    np.testing.assert_array_equal(curve["threshold"], np.arange(1, 100) / 100)
    assert curve["horizon"].isna().all()
    on_rows = curve[curve["threshold"].isin(QUICK.thresholds)]
    for metric, column in {
        "net_benefit": "net_benefit",
        "net_benefit_all": "net_benefit_all",
        "impact_high_risk": "high_risk",
        "impact_true_positive": "true_positive",
    }.items():
        close(on_rows[column], rows_of(found, metric)["estimate"])
    close(on_rows[["lower", "upper"]], rows_of(found, "net_benefit")[["lower", "upper"]].astype(float))
    close(curve["high_risk"], [1000 * (predictions["probability"] >= at).mean() for at in curve["threshold"]])


def test_thresholds_are_noted_once_and_rising_and_none_leaves_the_curve_alone():
    predictions = patients()

    mixed = assess(predictions, EvaluationSettings(bootstrap=20, thresholds=[0.5, 0.123, 0.5, 0.0]))
    none = assess(predictions, EvaluationSettings(bootstrap=20, thresholds=[]))

    assert rows_of(mixed, "net_benefit")["at"].tolist() == [0.0, 0.123, 0.5]
    assert rows_of(none, "net_benefit").empty
    assert len(none.curves["decision"]) == len(mixed.curves["decision"]) == 99


def test_each_horizon_with_a_probability_has_its_set():
    rng = np.random.default_rng(0)
    predictions = patients(time=rng.exponential(5, size=200) + 0.1, time_unit="years")
    predictions["probability_2"], predictions["probability_4"] = rng.random((2, 200))

    found = assess(predictions, QUICK)

    for name in FAMILY:
        rows = rows_of(found, name)
        assert rows.groupby("horizon").size().to_dict() == {2.0: 19, 4.0: 19}
        known = rows[rows["estimate"].notna()]
        assert (known["lower"] <= known["upper"]).all()
    assert found.curves["decision"].groupby("horizon").size().to_dict() == {2.0: 99, 4.0: 99}


def test_thresholds_whose_treated_are_not_followed_so_long_are_told():
    predictions = table(
        [1, 1, 0, 0, 1, 0],
        [6, 5, 4, 3, 2, 1],
        probability=[0.9, 0.8, 0.7, 0.3, 0.2, 0.1],
        time=[1.0, 2.0, 3.0, 6.0, 6.0, 7.0],
    )

    found = assess(predictions, EvaluationSettings(bootstrap=20, horizons=[5.0], thresholds=[0.25, 0.5, 0.85, 0.95]))

    rows = rows_of(found, "net_benefit")
    assert rows["at"].tolist() == [0.25, 0.5, 0.85, 0.95]
    for column in ("estimate", "lower", "upper"):
        assert rows[column].isna().tolist() == [False, True, True, False]
    assert rows_of(found, "net_benefit_all")["estimate"].notna().all()
    assert "net benefit by 5: unknown at 0.5, 0.85: none of the treated was followed so long" in told(found, "info")


def test_a_horizon_that_nobody_reaches_is_told():
    predictions = patients(time=1.0, time_unit="years")

    found = assess(predictions, EvaluationSettings(bootstrap=20, horizons=[5.0]))

    assert rows_of(found, "net_benefit").empty
    assert "net benefit by 5: the risk by 5 is unknown: the longest follow-up is 1" in told(found, "info")


def test_centres_have_no_rows_of_their_own():
    found = assess(patients(centre=["A", "B"] * 100), QUICK)

    assert set(rows_of(found, "net_benefit")["centre"]) == {""}


def test_folds_are_pooled_by_each_patients_mean_probability():
    one, two = (patients(partition="out_of_fold", repeat=repeat) for repeat in "12")
    two["probability"] = (1 - one["probability"]) * 0.4

    found = assess(joined(one, two), QUICK)

    mean = (one["probability"] + two["probability"]) / 2
    for at in (0.3, 0.4):
        tp, fp = (((mean >= at) & (one["event"] == happened)).mean() for happened in (1, 0))
        close(row_of(found, "net_benefit", at=at)["estimate"], tp - fp * at / (1 - at))
    assert set(rows_of(found, "net_benefit")["n"]) == {200}
    pooled = "calibration and net benefit rest on each patient's mean probability, all folds together"
    assert told(found).count(pooled) == 1


def test_a_table_without_probabilities_has_no_net_benefit_and_it_is_no_fault():
    found = assess(patients().assign(probability=np.nan), QUICK)

    assert not set(FAMILY) & set(found.metrics["metric"])
    assert found.curves["decision"].empty
    assert told(found) == []


@pytest.mark.parametrize("survival", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_probabilities_nothing_crashes_and_nothing_is_silent(seed, survival):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 13))
    coarse = rng.integers(0, 5, size=n) / 4 if seed % 3 == 0 else rng.random(n)
    probability = np.where(rng.random(n) < 0.1, np.nan, coarse)
    predictions = table(
        rng.random(n) < rng.choice([0.1, 0.5, 0.9]),
        rng.random(n),
        partition=str(rng.choice(["apparent", "out_of_fold", "held_out"])),
        probability=probability,
        time=rng.integers(1, 6, size=n).astype(float) if survival else np.nan,
    )

    found = assess(predictions, EvaluationSettings(bootstrap=20, horizons=(3.0,) if survival else None))

    if np.isfinite(probability).any():
        silent = not told(found, "failed") and not any(one.startswith("net benefit") for one in told(found))
        assert len(rows_of(found, "net_benefit_all")) or not silent
