"""Survival judged from a prediction file: the numbers of R, through the command line, and what cannot be told."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter

from assessing import joined, row_of, rows_of, table, told
from oracle import close
from radnet.cli import main
from radnet.evaluation.assess import assess
from radnet.evaluation.assessment.settings import EvaluationSettings
from survival_oracle import COX, MARKERS, arrays, of_cox, of_r

QUICK = EvaluationSettings(bootstrap=20)
INTERVAL = ["estimate", "lower", "upper"]
TWO_GROUPS = ["km_lung_sex", "km_sim69", "km_sim69_tied_times", "km_tiny6", "km_all_censored_group"]
LEVELS = ["km_lung_sex", "km_lung_ecog_missing", "km_veteran_celltype", "km_sim69", "km_all_censored_group"]


@pytest.fixture
def judge(tmp_path):
    """Write predictions into a .csv and evaluate it as a user would."""

    def evaluate(predictions, *options):
        predictions.to_csv(tmp_path / "predictions.csv", index=False, encoding="utf-8")
        files = [f"predictions={tmp_path / 'predictions.csv'}", f"output={tmp_path / 'out'}"]
        code = main(["evaluate", "report=false", *files, "evaluation=survival", "evaluation.bootstrap=20", *options])
        metrics = pd.read_csv(tmp_path / "out" / "metrics.csv", encoding="utf-8")
        texts = ["versus", "centre", "subgroup", "group", "method"]
        metrics = metrics.astype(dict.fromkeys(texts, object)).fillna(dict.fromkeys(texts, ""))
        messages = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))["messages"]
        return SimpleNamespace(code=code, metrics=metrics, messages=messages)

    return evaluate


def followed(time, event, score, **columns):
    return table(event, score, **{"time": time, "time_unit": "days", **columns})


def horizons(times):
    return f"evaluation.horizons=[{','.join(f'{time:g}' for time in times)}]"


def survival_equals_survfit(judged, theirs, where_of_group):
    """Compare medians and survival at the horizons, group by group, with R's default interval."""
    at_times = theirs["at_times"]
    for place, stratum in enumerate(theirs["strata"]):
        where = where_of_group[stratum.removeprefix("group=")]
        median = row_of(judged, "km_median", **where)
        close(median[INTERVAL], [theirs[name][place] for name in ("median", "median_lower", "median_upper")])
        points = [point for point, name in enumerate(at_times["strata"]) if name == stratum]
        rows = rows_of(judged, "km_survival", **where)
        close(
            rows[["at", "horizon", *INTERVAL]],
            [[at_times[name][point] for name in ("time", "time", "surv", "lower", "upper")] for point in points],
        )


@of_r(*TWO_GROUPS)
def test_risk_groups_equal_survfit_and_survdiff(case, judge):
    given, theirs = case["inputs"], case["outputs"]
    time, event, group = arrays(case, "time", "event", "group")

    judged = judge(followed(time, event, group, cutoff=group.max()), horizons(given["times"]))

    assert judged.code == 0
    names = {f"{value:g}": {"group": name} for value, name in zip(np.unique(group), ("low", "high"), strict=True)}
    survival_equals_survfit(judged, theirs["km"]["log"], names)
    rank = row_of(judged, "logrank")
    close(rank[["estimate", "p_value", "n"]], [theirs["logrank"]["chisq"], theirs["logrank"]["p_value"], len(time)])
    trend = row_of(judged, "logrank_trend")  # of two levels it is the log-rank test
    close(trend[["estimate", "p_value"]], rank[["estimate", "p_value"]])


@of_r(*LEVELS)
def test_levels_of_a_subgroup_equal_survfit_and_survdiff(case, judge):
    given, theirs = case["inputs"], case["outputs"]
    score = np.random.default_rng(0).normal(size=len(given["time"]))
    levels = [name if isinstance(name, str) else "" if np.isnan(name) else f"{name:g}" for name in given["group"]]
    predictions = followed(given["time"], given["event"], score).assign(group=levels)

    judged = judge(predictions, horizons(given["times"]), "evaluation.subgroups=[group]")

    assert judged.code == 0
    names = {name: {"subgroup": f"group={name}", "group": ""} for name in set(levels) - {""}}
    survival_equals_survfit(judged, theirs["km"]["log"], names)
    rank = row_of(judged, "logrank", subgroup="group")
    close(
        rank[["estimate", "p_value", "n", "n_event"]],
        [
            theirs["logrank"]["chisq"],
            theirs["logrank"]["p_value"],
            sum(theirs["logrank"]["n"]),
            sum(theirs["logrank"]["observed"]),
        ],
    )
    without = levels.count("")
    left_out = f"group: {without} of {len(levels)} patients have no level and are left out of the log-rank test"
    assert (left_out in told(judged)) == (without > 0)


@of_r("km_one_group")
def test_one_group_has_the_curve_of_survfit_and_no_logrank_as_in_r(case, judge):
    given, theirs = case["inputs"], case["outputs"]

    judged = judge(followed(given["time"], given["event"], given["group"], cutoff=1), horizons(given["times"]))

    assert "error" in theirs["logrank"]
    assert judged.code == 0
    for group in ("", "high"):
        survival_equals_survfit(judged, theirs["km"]["log"], {"all": {"group": group}})
    assert not judged.metrics["metric"].str.startswith("logrank").any()
    assert "every patient is of high risk: the groups cannot be compared" in told(judged)


@of_r(*MARKERS)
def test_concordance_equals_survival_and_survc1(case, judge):
    time, event, marker = arrays(case, "time", "event", "marker")
    theirs = case["outputs"]["concordance"]

    judged = judge(followed(time, event, marker, cutoff=np.nan))

    assert judged.code == 0
    harrell = row_of(judged, "c_index", method="harrell")
    close(harrell[INTERVAL], np.clip([theirs["concordance"], *theirs["ci95_wald"]], 0, 1))
    assert harrell["n"] == theirs["n"]
    uno = rows_of(judged, "c_index", method="uno")
    truncated, weighted = uno[uno["at"].notna()].iloc[0], uno[uno["at"].isna()].iloc[0]
    tau = theirs["uno_survC1"]["tau"]
    close(truncated[["at", "horizon", "estimate"]], [tau, tau, theirs["uno_survC1"]["Dhat"]["C"]])
    reach = 1.959963984540054 * theirs["uno_se"]
    bounds = np.clip([theirs["uno_weight_nG2"] - reach, theirs["uno_weight_nG2"] + reach], 0, 1)
    close(weighted[INTERVAL], [theirs["uno_weight_nG2"], *bounds])


@of_r("cox_univariable_s69")
def test_hazard_ratio_per_sd_and_its_proportionality_equal_coxph_and_cox_zph(case, judge):
    time, event, covariate, names = of_cox(case)
    theirs = case["outputs"]["efron"]
    score = covariate[:, 0]

    judged = judge(followed(time, event, score, cutoff=np.nan))

    ratio = row_of(judged, "hazard_ratio", group="per_sd")
    per_unit = [theirs[name][names[0]] for name in ("hr", "hr_lower95", "hr_upper95")]
    close(ratio[INTERVAL], np.array(per_unit) ** score.std(ddof=1))
    close(ratio["p_value"], theirs["p"][names[0]])
    new = theirs["cox_zph_survival3"]["km"]["rows"][0]
    old = theirs["cox_zph_legacy_survival2"]["km"]
    expected = {"score": [new[0], new[2]], "legacy": [old["chisq"][0], old["p_value"][0]]}
    for method, numbers in expected.items():
        close(row_of(judged, "schoenfeld", method=method)[["estimate", "p_value"]], numbers)


@of_r(*COX)
def test_linear_predictor_of_coxph_has_its_concordance_and_the_coefficient_one(case, judge):
    time, event, covariates, names = of_cox(case)
    theirs = case["outputs"]["efron"]
    score = covariates @ [theirs["coef"][name] for name in names]

    judged = judge(followed(time, event, score, cutoff=np.nan))

    harrell = row_of(judged, "c_index", method="harrell")
    close(harrell["estimate"], theirs["concordance"])
    close((harrell["upper"] - harrell["lower"]) / 2, 1.959963984540054 * theirs["concordance_se"])
    close(row_of(judged, "hazard_ratio", group="per_sd")["estimate"], np.exp(score.std(ddof=1)))


@of_r("cox_separation")
def test_separation_has_no_hazard_ratio_where_r_warns(case, judge):
    time, event, covariate, _ = of_cox(case)

    judged = judge(followed(time, event, covariate[:, 0], cutoff=1))

    assert "warnings" in case["outputs"]["efron"]
    assert judged.code == 0
    assert rows_of(judged, "hazard_ratio").empty
    assert rows_of(judged, "schoenfeld").empty
    infinite = "the hazard ratio is infinite: at each event the highest of those at risk had it"
    assert {f"per SD: {infinite}", f"high versus low: {infinite}"} <= set(told(judged))
    close(row_of(judged, "c_index", method="harrell")["estimate"], case["outputs"]["efron"]["concordance"])


@of_r("rmst_veteran_trt", "rmst_sim69")
def test_restricted_means_equal_survrm2(case, judge):
    time, event, arm = arrays(case, "time", "event", "arm")
    theirs = case["outputs"]

    judged = judge(followed(time, event, arm, cutoff=1), horizons([theirs["tau"]]))

    for group, name in {"low": "arm0", "high": "arm1"}.items():
        ours = row_of(judged, "rmst", group=group)
        estimate, _, lower, upper = theirs[name]["rows"][0]
        close(ours[["at", "horizon", *INTERVAL]], [theirs["tau"], theirs["tau"], estimate, lower, upper])
    difference = row_of(judged, "rmst", group="high_vs_low")
    close(difference[[*INTERVAL, "p_value"]], theirs["contrasts"]["rows"][0])


def cohort(seed, n=60, **columns):
    """Risk rises with the score; a third leave early; times are whole, so that they tie."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    time = np.ceil(rng.exponential(10 * np.exp(-score)))
    return followed(time, rng.random(n) < 0.7, score, **{"cutoff": 0.0, **columns})


@pytest.mark.parametrize("seed", range(3))
def test_survival_without_leaving_is_the_share_still_event_free(seed):
    predictions = cohort(seed).assign(event=1.0)
    times = [2.0, 5.0, 9.5]

    found = assess(predictions, EvaluationSettings(horizons=times))

    for group, members in {
        "": predictions,
        "low": predictions[predictions["score"] < 0],
        "high": predictions[predictions["score"] >= 0],
    }.items():
        shares = [(members["time"] > time).mean() for time in times]
        close(rows_of(found, "km_survival", group=group)["estimate"], shares)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bent", [np.exp, np.cbrt, lambda score: 3 * score - 7], ids=["exp", "root", "line"])
def test_concordance_and_risk_groups_do_not_depend_on_the_scale_of_the_score(seed, bent):
    predictions = cohort(seed)
    turned = predictions.assign(score=bent(predictions["score"]), cutoff=bent(predictions["cutoff"]))

    one, other = (assess(each, EvaluationSettings(horizons=[4.0])).metrics for each in (predictions, turned))

    same = ["c_index", "km_survival", "km_median", "rmst", "logrank"]
    columns = [*INTERVAL, "p_value", "at", "n"]
    close(one.loc[one["metric"].isin(same), columns], other.loc[other["metric"].isin(same), columns])


@pytest.mark.parametrize("seed", range(3))
def test_hazard_ratios_equal_those_of_lifelines(seed):
    predictions = cohort(seed)
    score = predictions["score"]

    found = assess(predictions, QUICK)

    for group, covariate in {"per_sd": score / score.std(), "high_vs_low": (score >= 0).astype(float)}.items():
        data = predictions[["time", "event"]].assign(x=covariate)
        theirs = CoxPHFitter().fit(data, "time", "event", fit_options={"precision": 1e-12}).summary.loc["x"]
        named = ["exp(coef)", "exp(coef) lower 95%", "exp(coef) upper 95%", "p"]
        close(row_of(found, "hazard_ratio", group=group)[[*INTERVAL, "p_value"]], theirs[named], rtol=1e-5)


@pytest.mark.parametrize("levels", [4, None], ids=["ordinal", "continuous"])
@pytest.mark.parametrize("seed", range(3))
def test_trend_is_that_of_the_definition_written_slowly(seed, levels):
    predictions = cohort(seed)
    if levels:
        predictions["score"] = np.random.default_rng(seed).integers(0, levels, size=len(predictions))
    time, event, score = (predictions[name].to_numpy() for name in ("time", "event", "score"))
    difference = variance = 0.0
    for at in np.unique(time[event == 1]):
        there, happened = score[time >= at], score[(time == at) & (event == 1)]
        n, d = len(there), len(happened)
        difference += happened.sum() - d * there.mean()
        variance += d * (n - d) / (n - 1) * there.var() if n > 1 else 0.0

    close(row_of(assess(predictions, QUICK), "logrank_trend")["estimate"], difference**2 / variance)


def test_everybody_has_a_curve_beside_the_risk_groups_without_a_cutoff_too():
    found = assess(cohort(0, cutoff=np.nan), EvaluationSettings(horizons=[4.0]))

    for metric in ("km_survival", "km_median", "rmst"):
        assert rows_of(found, metric)["group"].tolist() == [""]
        assert row_of(found, metric)["n"] == 60


def test_horizons_that_follow_up_does_not_reach_are_told_and_not_extrapolated():
    high = [1.0, 2, 3, 4]
    low = [5.0, 6, 7, 20]
    predictions = followed(high + low, [1, 1, 0, 0, 1, 1, 0, 0], [1] * 4 + [0] * 4, cutoff=1)

    found = assess(predictions, EvaluationSettings(horizons=[3.0, 10.0, 30.0]))

    assert rows_of(found, "km_survival", group="high")["at"].tolist() == [3]
    assert rows_of(found, "km_survival", group="low")["at"].tolist() == [3, 10]
    # the groups are compared up to 4, where the follow-up of the shorter one ends
    for group in ("low", "high", "high_vs_low"):
        assert rows_of(found, "rmst", group=group)[["at", "horizon"]].to_numpy().tolist() == [[3, 3], [4, 10], [4, 30]]
    assert rows_of(found, "rmst", group="")[["at", "horizon"]].to_numpy().tolist() == [[3, 3], [10, 10], [20, 30]]
    assert rows_of(found, "c_index", method="uno")["at"].dropna().tolist() == [3, 10]
    assert {
        "km_survival (high): nobody is followed up to 10, 30, only to 4",
        "km_survival (low): nobody is followed up to 30, only to 20",
        "km_survival: nobody is followed up to 30, only to 20",
        "rmst: survival is not known up to 30: the restricted mean is taken up to 20",
        "rmst by risk group: survival is not known up to 10: the restricted mean is taken up to 4",
        "c_index (uno) by 30: nobody is followed up to then, only to 20",
    } <= set(told(found, "info"))


def test_restricted_mean_is_taken_up_to_the_end_of_the_shorter_follow_up_when_no_horizon_is_asked_for():
    predictions = followed([1, 4, 2, 9], [1, 0, 1, 0], [1, 1, 0, 0], cutoff=1)

    found = assess(predictions, QUICK)

    assert rows_of(found, "rmst")["at"].tolist() == [4, 4, 4, 4]
    assert rows_of(found, "km_survival").empty


def test_without_an_event_survival_is_described_and_the_rest_fails_by_one_message():
    found = assess(followed([1, 2, 3], [0, 0, 0], [1, 2, 3], cutoff=2), EvaluationSettings(horizons=[2.0]))

    assert told(found, "failed") == ["event: an event is needed: 0 of 3 had it"]
    assert rows_of(found, "km_survival")["estimate"].tolist() == [1, 1]  # the one of low risk left at 1
    assert "c_index" not in set(found.metrics["metric"])


def test_a_score_that_is_the_same_for_all_is_told_once():
    found = assess(followed([1, 2, 3, 4], [1, 0, 1, 1], [2, 2, 2, 2], cutoff=np.nan), QUICK)

    assert told(found, "failed") == []
    assert "every patient has the same score: it has no hazard ratio and no trend" in told(found)
    assert row_of(found, "c_index", method="harrell")["estimate"] == 0.5
    assert row_of(found, "c_index", method="harrell")[["lower", "upper", "p_value"]].isna().all()
    assert "c_index (harrell): 0.5 has no spread, so no interval" in told(found)


def test_models_of_folds_are_averaged_within_folds_and_not_tested_over_them():
    # fold 1 orders all its pairs, fold 2 none; ranked together, fold 2's higher scores would change the answer
    folds = {"partition": "out_of_fold", "fold": ["1"] * 3 + ["2"] * 3, "cutoff": [1.5] * 3 + [11.5] * 3}

    found = assess(followed([3, 2, 1, 1, 2, 3], [1] * 6, [1, 2, 3, 11, 12, 13], **folds), QUICK)

    assert rows_of(found, "c_index")[["estimate", "method"]].to_numpy().tolist() == [[0.5, "harrell"], [0.5, "uno"]]
    assert row_of(found, "c_index", method="harrell")["upper"] >= 0.5
    analytic = found.metrics[found.metrics["metric"].isin(["hazard_ratio", "logrank"])]
    analytic = pd.concat([analytic, rows_of(found, "rmst", group="high_vs_low")])
    assert {"logrank", "rmst"} <= set(analytic["metric"])
    assert analytic[["lower", "upper", "p_value"]].isna().all(axis=None)
    assert not {"schoenfeld", "logrank_trend"} & set(found.metrics["metric"])
    assert sum("no analytic test holds over pooled folds" in message for message in told(found)) == 1


def test_a_centre_of_fold_models_has_no_bootstrap_interval():
    predictions = cohort(0, partition="out_of_fold", fold=["1", "2"] * 30, centre=["A"] * 30 + ["B"] * 30)

    found = assess(predictions, QUICK)

    assert row_of(found, "c_index", centre="", method="harrell")["lower"] > 0
    assert rows_of(found, "c_index", centre="A")["lower"].isna().all()
    assert rows_of(found, "c_index", centre="A")["estimate"].between(0.5, 1).all()


def test_a_frozen_model_needs_no_bootstrap():
    predictions = joined(cohort(0, model="a"), cohort(1, model="b", centre=["A", "B"] * 30))

    one, other = (assess(predictions, EvaluationSettings(bootstrap=many, seed=many)).metrics for many in (1, 50))

    own = one["metric"].isin(["c_index", "km_survival", "km_median", "rmst", "hazard_ratio", "logrank", "schoenfeld"])
    pd.testing.assert_frame_equal(one[own], other[other.index.isin(one.index[own])])


def test_levels_without_an_event_are_not_compared_and_not_told_of_again():
    predictions = cohort(0, n=6).assign(event=0.0, grade=["1", "2"] * 3)

    found = assess(predictions, EvaluationSettings(subgroups=["grade"]))

    assert rows_of(found, "logrank").empty
    assert told(found, "failed") == ["event: an event is needed: 0 of 6 had it"]
    assert not any("levels compared" in message for message in told(found))


def test_one_level_cannot_be_compared_and_it_is_said():
    predictions = cohort(0).assign(grade="2")

    found = assess(predictions, EvaluationSettings(bootstrap=20, subgroups=["grade"]))

    assert rows_of(found, "logrank", subgroup="grade").empty
    message = "grade: levels compared: a log-rank test needs two groups, but every patient is in one"
    assert message in told(found, "info")


@of_r("rmst_sim69")
def test_a_restricted_mean_beyond_follow_up_is_that_of_survrm2_up_to_its_end_under_the_horizon_asked_for(case, judge):
    time, event, arm = arrays(case, "time", "event", "arm")
    theirs = case["outputs"]
    # all are followed up to tau at the longest, so that survival is not known beyond
    event = np.where(time >= theirs["tau"], 0, event)
    time = np.minimum(time, theirs["tau"])

    judged = judge(followed(time, event, arm, cutoff=1), horizons([10 * theirs["tau"]]))

    difference = row_of(judged, "rmst", group="high_vs_low")
    close(difference[["at", "horizon"]], [theirs["tau"], 10 * theirs["tau"]])
    close(difference[[*INTERVAL, "p_value"]], theirs["contrasts"]["rows"][0])


SCALE_FREE = ["hazard_ratio", "logrank_trend", "schoenfeld", "interaction", "c_index", "auc_time", "logrank"]


@pytest.mark.parametrize("folds", [1, 2], ids=["frozen", "folds"])
@pytest.mark.parametrize("unit", [1e-306, 1e-175, 1e160, 1e306])
def test_scores_of_any_size_are_judged_as_those_of_size_one(unit, folds, judge):
    predictions = cohort(3).assign(sex=["f", "m"] * 30)
    if folds == 2:
        predictions = predictions.assign(partition="out_of_fold", fold=["1", "1", "2", "2"] * 15)
    words = "evaluation.horizons=[4]", "evaluation.subgroups=[sex]"

    plain = judge(predictions, *words)
    far = judge(predictions.assign(score=predictions["score"] * unit, cutoff=0), *words)

    assert plain.code == far.code == 0
    close(*(of.metrics.loc[of.metrics["metric"].isin(SCALE_FREE), [*INTERVAL, "p_value"]] for of in (plain, far)))
    assert plain.messages == far.messages


@pytest.mark.parametrize("extreme", [1e300, -1e300, 1.7e308])
def test_one_extreme_score_leaves_ranks_alone_and_is_told_as_the_reason(extreme, judge):
    predictions = cohort(0).assign(sex=["f", "m"] * 30)
    place = predictions["score"].idxmax() if extreme > 0 else predictions["score"].idxmin()
    words = "evaluation.horizons=[4]", "evaluation.subgroups=[sex]"

    plain = judge(predictions, *words)
    far = judge(predictions.assign(score=predictions["score"].where(predictions.index != place, extreme)), *words)

    ranked = ["c_index", "logrank", "km_survival", "rmst"]
    close(*(of.metrics.loc[of.metrics["metric"].isin(ranked), INTERVAL] for of in (plain, far)))
    assert far.code == 0
    reason = f"a score of {extreme:g} is so far from all others that beside it their differences vanish"
    alone = f"{reason}: hazard ratio per SD, trend and proportional hazards rest on this patient alone"
    assert alone in told(far, "info")
    assert f"sex: no interaction test: {reason}" in told(far, "info")
    # by ranks of one against all others: the log-rank test of this patient
    one = predictions.assign(score=(predictions.index == place).astype(float), cutoff=1.0)
    close(row_of(far, "logrank_trend", subgroup="")["estimate"], row_of(judge(one), "logrank")["estimate"])
