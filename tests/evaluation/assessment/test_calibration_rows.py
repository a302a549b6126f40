"""Calibration as ``evaluate.py`` writes it: the numbers of R from a file of predictions."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import binomtest, chi2, norm

from assessing import joined, row_of, rows_of, table, told
from oracle import cases, close
from radnet.cli import main
from radnet.evaluation.assess import assess
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.tables import write_table

FILE = "03_calibration.json"
VARIED = [
    "asah_apparent",
    "pima_external",
    "cohort69_overconfident",
    "cohort69_tied_probs",
    "two_level_probs",
    "n12",
    "missing_pred",
]
CERTAIN, CONSTANT = "contains_0_and_1", "constant_p"
FAMILY = (
    *("brier", "brier_scaled", "calibration_intercept", "calibration_slope"),
    *("ici", "emax", "e90", "hosmer_lemeshow"),
)
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
        self.points = pd.read_csv(folder / "figures" / "calibration.csv")


def evaluated(folder, predictions, *typed):
    """Write predictions as a file, run ``evaluate`` on it and read back what it wrote."""
    write_table(predictions, folder / "predictions.csv")
    words = [f"predictions={folder / 'predictions.csv'}", f"output={folder / 'out'}", "evaluation.bootstrap=20"]
    return Written(main(["evaluate", "report=false", *words, *typed]), folder / "out")


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """Evaluate the patients of a case, once for all tests that look at one of its partitions."""
    known = {}

    def written(case, partition="held_out"):
        key = case["id"], partition
        if key not in known:
            known[key] = evaluated(tmp_path_factory.mktemp("case"), binary(case, partition=partition))
        return known[key]

    return written


def binary(case, **columns):
    """The patients of a case; those without a probability have a score all the same."""
    probability = np.array(case["inputs"]["p"], dtype=float)
    return table(case["inputs"]["y"], np.nan_to_num(probability, nan=0.5), probability=probability, **columns)


def estimate_of(found, metric, **where):
    return row_of(found, metric, **where)["estimate"]


@of_r(*VARIED, CERTAIN, CONSTANT)
def test_brier_scores_equal_r(case, once):
    found = once(case)

    assert found.code == 0
    close(estimate_of(found, "brier"), case["outputs"]["brier"])
    close(estimate_of(found, "brier_scaled"), case["outputs"]["scaled_brier"])
    assert row_of(found, "brier")["n"] == case["outputs"]["n"]


@of_r(*VARIED)
def test_intercepts_and_slope_equal_glm(case, once):
    theirs = case["outputs"]["recalibration_glm"]

    found = once(case)

    assert rows_of(found, "calibration_intercept")["method"].tolist() == ["joint", "in_the_large"]
    close(estimate_of(found, "calibration_intercept", method="joint"), theirs["intercept"])
    in_the_large = row_of(found, "calibration_intercept", method="in_the_large")
    reach = norm.ppf(0.975) * theirs["citl_se"]
    z = theirs["calibration_in_the_large"] / theirs["citl_se"]
    close(
        in_the_large[["estimate", "lower", "upper"]],
        theirs["calibration_in_the_large"] + reach * np.array([0, -1, 1]),
    )
    close(in_the_large["p_value"], 2 * norm.sf(abs(z)), rtol=1e-5)
    slope = row_of(found, "calibration_slope")
    close(slope[["estimate", "lower", "upper"]], [theirs["slope"], *theirs["slope_ci_wald"]])
    close(slope["p_value"], 2 * norm.sf(abs(theirs["slope"] - 1) / theirs["slope_se"]), rtol=1e-5)


@of_r(*VARIED, CERTAIN)
def test_intercept_and_slope_equal_val_prob(case, once):
    theirs = case["outputs"]["val_prob"]

    found = once(case)

    # val.prob stops its iterations about 1e-5 early, where the deviance no longer moves
    ours = [estimate_of(found, "calibration_intercept", method="joint"), estimate_of(found, "calibration_slope")]
    np.testing.assert_allclose(ours, [theirs["Intercept"], theirs["Slope"]], rtol=0, atol=1e-5)


@of_r(*VARIED, CERTAIN)
def test_distance_from_the_loess_curve_equals_r(case, once):
    theirs = case["outputs"]["loess_ici"]

    found = once(case)

    ours = [estimate_of(found, name, method="loess") for name in ("ici", "emax", "e90")]
    close(ours, [theirs[name] for name in ("ICI", "Emax", "E90")])


@of_r(*VARIED, CERTAIN, CONSTANT)
def test_distance_from_the_lowess_curve_equals_val_prob(case, once):
    found = once(case)

    ours = [estimate_of(found, name, method="lowess") for name in ("emax", "e90")]
    close(ours, [case["outputs"]["val_prob"][name] for name in ("Emax", "E90")])


@pytest.mark.parametrize("partition", ["apparent", "held_out"])
@of_r(*VARIED, CERTAIN)
def test_hosmer_lemeshow_equals_r_with_the_degrees_of_freedom_of_the_partition(case, partition, once):
    theirs = case["outputs"]["hoslem_ResourceSelection_g10"]
    observed, expected = (np.array(theirs[one]["rows"]) for one in ("observed", "expected"))
    filled = expected.sum(axis=1) > 0  # R divides 0 by 0 in an empty group; the others are what its own table says
    statistic = ((observed - expected)[filled] ** 2 / expected[filled]).sum()

    found = once(case, partition)

    test = row_of(found, "hosmer_lemeshow", method="deciles")
    close(test["estimate"], statistic)
    if partition == "apparent" and filled.sum() == 2:  # χ² on no degree of freedom has no p-value, where pchisq gives 0
        assert np.isnan(test["p_value"])
        assert "hosmer_lemeshow: 2 groups leave no degree of freedom for a p-value" in told(found)
        return
    close(test["p_value"], chi2.sf(statistic, filled.sum() - 2 * (partition == "apparent")))
    if filled.all():
        external = case["outputs"]["hl_external"]["p_value_external_df_g"]
        close(test["p_value"], theirs["p_value"] if partition == "apparent" else external)


@of_r(*VARIED, CERTAIN)
def test_points_of_the_groups_equal_the_table_of_hoslem_test(case, once):
    theirs = case["outputs"]["hoslem_ResourceSelection_g10"]
    observed, expected = (np.array(theirs[one]["rows"]) for one in ("observed", "expected"))
    n = observed.sum(axis=1)
    observed, expected, n = observed[n > 0], expected[n > 0], n[n > 0]

    found = once(case)

    groups = found.points[found.points["kind"] == "groups"]
    close(groups["n"], n)
    close(groups["probability"], expected[:, 1] / n)
    close(groups["observed"], observed[:, 1] / n)
    wilson = [
        binomtest(int(k), int(of)).proportion_ci(method="wilson") for k, of in zip(observed[:, 1], n, strict=True)
    ]
    close(groups[["lower", "upper"]], wilson)
    assert groups["horizon"].isna().all()


@of_r("asah_apparent", "n12", CERTAIN)
def test_points_of_the_curve_span_the_probabilities(case, once):
    found = once(case)

    curve = found.points[found.points["kind"] == "curve"]
    close(curve["probability"], np.linspace(min(case["inputs"]["p"]), max(case["inputs"]["p"]), 100))
    assert (curve["lower"] <= curve["observed"]).all()
    assert (curve["observed"] <= curve["upper"]).all()
    assert curve["lower"].min() >= 0
    assert curve["upper"].max() <= 1


@of_r("missing_pred")
def test_patients_without_a_probability_are_counted_and_named_by_column(case, once):
    found = once(case)

    assert told(found, "info") == ["2 of 332 patients have no probability and are left out of what needs it"]
    assert row_of(found, "auc", method="delong")["n"] == 332


@of_r(CERTAIN)
def test_patients_whose_probability_is_0_or_1_are_left_out_of_the_line_alone_and_it_is_told(case, once):
    assert case["outputs"]["val_prob"]["warnings"][0].startswith("2 observations deleted from logistic calibration")

    found = once(case)

    assert found.code == 0
    for metric, method in {"calibration_slope": "", "calibration_intercept": "joint"}.items():
        assert tuple(row_of(found, metric, method=method)[["n", "n_event"]]) == (10, 6)
    assert row_of(found, "brier")["n"] == 12
    assert told(found) == [
        "calibration intercept and slope: 2 of 12 patients are left out, because their probability is 0 or 1 and has "
        "no finite log odds"
    ]


@of_r("n12", CERTAIN)
def test_calibration_in_the_large_is_of_the_patients_the_line_is_of(case, once):
    known = [(y, p) for y, p in zip(case["inputs"]["y"], case["inputs"]["p"], strict=True) if 0 < p < 1]
    log_odds = logit([p for _, p in known])

    found = once(case)

    shift = row_of(found, "calibration_intercept", method="in_the_large")
    assert shift["n"] == len(known)
    # the shift that makes as many events expected as there were
    close(expit(log_odds + shift["estimate"]).sum(), sum(y for y, _ in known))


def test_a_certain_probability_that_was_wrong_is_told_as_such(tmp_path):
    predictions = quarters()
    predictions.loc[[0, 3], "probability"] = [0.0, 0.0]

    found = evaluated(tmp_path, predictions)

    assert row_of(found, "calibration_slope")["n"] == 78
    assert told(found, "info") == [
        "calibration intercept and slope: 2 of 80 patients are left out, because their probability is 0 or 1 and has "
        "no finite log odds; 1 of them had the other outcome, which the line does not show"
    ]


@pytest.mark.parametrize("left", [0, 1])
def test_no_line_is_drawn_where_nobody_or_one_class_has_log_odds(left):
    event = np.array([0, 1, 0, 1])
    probability = event.astype(float)
    probability[:left] = 0.3

    found = assess(table(event, probability, probability=probability), QUICK)

    assert rows_of(found, "calibration_slope").empty
    assert rows_of(found, "calibration_intercept").empty
    about = [one for one in told(found, "info") if one.startswith("calibration intercept and slope: ")]
    assert about[0].startswith(f"calibration intercept and slope: {4 - left} of 4 patients are left out")
    assert len(about) == 1 + left


@of_r(CONSTANT)
def test_one_probability_for_everybody_is_told_where_r_raises(case, once):
    assert "error" in case["outputs"]["recalibration_glm"]
    assert "error" in case["outputs"]["loess_ici"]
    assert "error" in case["outputs"]["hoslem_ResourceSelection_g10"]

    found = once(case)

    close(estimate_of(found, "calibration_intercept"), 0)  # half of the patients have the event, as foretold
    for name in ("calibration_slope", "ici", "hosmer_lemeshow"):
        assert rows_of(found, name).empty
    needs = "probabilities that differ, but all 20 are"
    assert {
        f"calibration intercept and slope: a calibration slope needs {needs} equal",
        "calibration curve: a smooth curve needs values that differ, but all 20 are 0.5",
        f"hosmer_lemeshow: groups need {needs} 0.5",
    } <= set(told(found, "info"))


@of_r("bootstrap_asah")
def test_apparent_brier_score_equals_that_of_lrm(case, tmp_path):
    data, theirs = case["inputs"]["data"], case["outputs"]
    log_odds = theirs["coefficients"]["Intercept"] + sum(
        theirs["coefficients"][name] * np.array(data[name]) for name in ("s100b", "age", "wfns")
    )

    found = evaluated(tmp_path, table(data["poor"], log_odds, probability=expit(log_odds), partition="apparent"))

    close(estimate_of(found, "brier"), theirs["stats"]["Brier"])
    # lrm's coefficients make the likelihood stationary to 1e-5
    np.testing.assert_allclose(estimate_of(found, "calibration_slope"), 1, atol=1e-5)


@pytest.mark.parametrize("by_column", [True, False], ids=["probability_365", "horizons=[365]"])
@of_r("surv_calib_lung")
def test_groups_of_a_survival_endpoint_equal_groupkm(case, by_column, tmp_path):
    data, theirs = case["inputs"]["data"], case["outputs"]["groupkm"]
    probability = 1 - np.array(case["outputs"]["pred_surv_at_u"])
    predictions = table(data["event"], probability, time=np.array(data["time"], dtype=float), time_unit="days")
    predictions["probability_365" if by_column else "probability"] = probability

    found = evaluated(tmp_path, predictions, *([] if by_column else ["evaluation.horizons=[365]"]))

    groups = found.points
    assert set(groups["kind"]) == {"groups"}
    assert set(groups["horizon"]) == {365.0}
    np.testing.assert_array_equal(groups["n"], theirs["n"])
    close(1 - groups["probability"], theirs["mean_pred"])
    close(1 - groups["observed"], theirs["KM"])
    reach = norm.ppf(0.975) * np.array(theirs["std_err_logS"])
    close(1 - groups["upper"], theirs["KM"] * np.exp(-reach))
    close(1 - groups["lower"], np.minimum(1, theirs["KM"] * np.exp(reach)))
    assert not set(FAMILY) & set(found.metrics["metric"])


def quarters(**columns):
    """A quarter and three quarters of the patients have the event, of whom just that was foretold."""
    event = np.tile([0, 0, 0, 1, 0, 1, 1, 1], 10)
    probability = np.tile(np.repeat([0.25, 0.75], 4), 10)
    return table(event, probability, probability=probability, **columns)


def test_calibrated_probabilities_have_intercept_0_and_slope_1_and_no_distance(tmp_path):
    found = evaluated(tmp_path, quarters())

    for method in ("joint", "in_the_large"):
        close(estimate_of(found, "calibration_intercept", method=method), 0)
    close(row_of(found, "calibration_slope")[["estimate", "p_value"]], [1, 1])
    close(estimate_of(found, "brier"), 0.25 * 0.75)
    close(estimate_of(found, "brier_scaled"), 1 - 0.25 * 0.75 / 0.5**2)
    for name in ("ici", "emax", "e90", "hosmer_lemeshow"):
        close(rows_of(found, name)["estimate"], 0)


def test_interval_of_the_brier_score_is_normal_in_many_patients():
    rng = np.random.default_rng(0)
    probability = rng.random(2000)
    event = rng.random(2000) < probability
    squared = (probability - event) ** 2

    found = assess(table(event, probability, probability=probability), EvaluationSettings(bootstrap=4000))

    brier = row_of(found, "brier")
    reach = norm.ppf(0.975) * squared.std() / np.sqrt(2000)
    # percentiles of 4000 draws lie within about 0.13 standard deviations (three standard errors)
    np.testing.assert_allclose(
        brier[["lower", "upper"]].astype(float), squared.mean() + reach * np.array([-1, 1]), atol=0.07 * reach
    )


def test_centres_have_walds_intervals_and_no_bootstrap():
    found = assess(quarters(centre=np.repeat(["A", "B"], 40)), QUICK)

    for name in FAMILY:
        assert set(rows_of(found, name)["centre"]) == {"", "A", "B"}
    assert set(found.curves["calibration"]["centre"]) == {"", "A", "B"}
    for name in ("brier", "brier_scaled"):
        assert rows_of(found, name, centre="A")[["lower", "upper"]].isna().all(axis=None)
        assert row_of(found, name, centre="")["lower"] < row_of(found, name, centre="")["upper"]
    assert rows_of(found, "calibration_slope")[["lower", "upper", "p_value"]].notna().all(axis=None)


def test_folds_are_pooled_by_each_patients_mean_probability_and_not_tested():
    one, two = quarters(partition="out_of_fold", repeat="1"), quarters(partition="out_of_fold", repeat="2")
    folds = [one.assign(probability=0.5), two.assign(probability=np.tile(np.repeat([0.2, 0.8], 4), 10))]

    found = assess(joined(*folds), QUICK)

    wrong = np.array([0.35, 0.65])  # the mean probability of those without the event, in the two halves
    brier = (0.75 * wrong**2 + 0.25 * (1 - wrong) ** 2)[0]
    close(estimate_of(found, "brier"), brier)
    assert row_of(found, "brier")["n"] == 80
    for name in ("calibration_intercept", "calibration_slope"):
        assert rows_of(found, name)[["lower", "upper", "p_value"]].isna().all(axis=None)
    assert row_of(found, "hosmer_lemeshow")[["p_value"]].isna().all()
    pooled = "calibration and net benefit rest on each patient's mean probability, all folds together"
    assert told(found).count(pooled) == 1


def test_a_table_without_probabilities_has_no_calibration_and_it_is_no_fault():
    found = assess(quarters().assign(probability=np.nan), QUICK)

    assert not set(FAMILY) & set(found.metrics["metric"])
    assert found.curves["calibration"].empty
    assert told(found) == []


@pytest.mark.parametrize("event", [0, 1])
def test_one_class_is_told_once_and_all_else_is_written(event, tmp_path):
    of_one_class = quarters(endpoint="other").assign(event=event)

    found = evaluated(tmp_path, joined(of_one_class, quarters()))

    assert found.code == 1
    for name in (*FAMILY, "net_benefit"):
        assert set(rows_of(found, name)["endpoint"]) == {"response"}
    [message] = [one for one in told(found) if "classes" in one]
    assert message in told(found, "failed")
    assert not [one for one in told(found) if one.startswith(("calibration", "hosmer_lemeshow", "net benefit"))]


def test_a_centre_of_one_class_is_told_once():
    found = assess(quarters(centre=np.repeat(["A", "B"], 40)).assign(event=[0, 1] * 20 + [0] * 40), QUICK)

    [message] = [one for one in told(found) if one.startswith("centre B: ")]
    assert "0 of 40" in message


def test_one_class_among_those_with_a_probability_is_told_by_what_needs_one():
    predictions = quarters()
    predictions.loc[predictions["event"] == 1, "probability"] = np.nan

    found = assess(predictions, QUICK)

    assert rows_of(found, "brier").empty
    assert len([one for one in told(found) if one.startswith("calibration: ") and "0 of 40" in one]) == 1


def test_survival_without_an_event_is_told_where_scores_are_judged_alone():
    found = assess(follow_up(probability_3=0.4).assign(event=0.0), QUICK)

    assert len(told(found, "failed")) == 1
    assert not [one for one in told(found) if one.startswith(("calibration", "net benefit"))]


def test_separated_classes_have_no_slope_and_it_is_told():
    found = assess(table([0, 0, 0, 1, 1, 1], np.arange(6), probability=[0.1, 0.2, 0.3, 0.6, 0.7, 0.8]), QUICK)

    assert rows_of(found, "calibration_slope").empty
    assert rows_of(found, "calibration_intercept")["method"].tolist() == ["in_the_large"]
    assert told(found, "failed") == []
    infinite = "the calibration slope is infinite: one probability separates the patients with the event"
    assert f"calibration intercept and slope: {infinite}" in told(found)


def follow_up(**columns):
    rng = np.random.default_rng(0)
    time = rng.exponential(5, size=60) + 0.1
    return table(rng.random(60) < 0.7, -time, time=time, time_unit="years", **columns)


def test_a_probability_beyond_1_at_a_time_fails_by_its_column_and_all_else_is_written(tmp_path):
    predictions = follow_up()
    predictions["probability_3"] = 0.4
    predictions.loc[7, "probability_3"] = 1.4

    found = evaluated(tmp_path, predictions)

    assert found.code == 1
    [failed] = told(found, "failed")
    assert failed.startswith("probability_3 must lie within 0 and 1, got 1.4 (1 patients")
    assert len(rows_of(found, "c_index"))


@pytest.mark.parametrize("horizons", [None, (2.0, 4.0)], ids=["no time asked for", "two times"])
def test_a_probability_by_a_time_that_nothing_names_is_told(horizons):
    found = assess(follow_up(probability=0.4), EvaluationSettings(bootstrap=20, horizons=horizons))

    assert found.curves["calibration"].empty
    unnamed = [message for message in told(found, "info") if message.startswith("probability is not judged")]
    assert unnamed == [
        "probability is not judged, because nothing tells by which time: name its column probability_<time>, or give "
        "one evaluation.horizons=[time]"
    ]


def test_groups_not_followed_to_the_horizon_are_told():
    predictions = follow_up(probability=np.linspace(0.1, 0.9, 60))
    last = predictions.index >= 40
    predictions.loc[last, ["time", "event"]] = [0.5, 0.0]

    found = assess(predictions, EvaluationSettings(bootstrap=20, horizons=(3.0,)))

    points = found.curves["calibration"]
    assert points["observed"].isna().tolist() == [True, False, False]
    unknown = "the observed risk of 1 of 3 groups is unknown: their patients were not followed so long"
    assert f"calibration by 3: {unknown}" in told(found)


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
        centre=rng.choice(["A", "B"], size=n),
    )

    found = assess(predictions, EvaluationSettings(bootstrap=20, horizons=(3.0,) if survival else None))

    if survival and np.isfinite(probability).any():
        points = found.curves["calibration"]
        assert len(points) or told(found, "failed") or any(one.startswith("calibration by 3: ") for one in told(found))
    if not survival and np.isfinite(probability).any():
        whole = found.metrics[found.metrics["centre"] == ""]
        for name, missing in {
            "brier": "calibration: ",
            "calibration_slope": "calibration intercept and slope: ",
            "ici": "calibration curve: ",
            "hosmer_lemeshow": "hosmer_lemeshow: ",
        }.items():
            silent = not told(found, "failed") and not any(
                one.startswith((missing, "calibration: ")) for one in told(found)
            )
            assert (whole["metric"] == name).any() or not silent
