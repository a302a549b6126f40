"""Wang 2022 as its specification accepts it, line by line, from what a user types to what is written."""

import json
from math import isclose

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter
from lifelines.statistics import logrank_test
from lifelines.utils import concordance_index

pytest.importorskip("torch", reason="training needs the extra train")

from cohorts import write_cohort
from radnet.association.groups import tertiles
from radnet.association.tiles import aggregate_tiles
from radnet.cli import main
from radnet.cohort import FEATURE_KEYS, Cohort, FeatureTable, Lesion, Outcome, Patient
from radnet.data.manifest import read_manifest
from radnet.evaluation.baseline.printed import baseline_faults
from radnet.evaluation.cutoff import time_youden
from radnet.evaluation.survival.time_dependent import nne_roc
from radnet.predictors.folder import load_model
from radnet.radiomics.settings import feature_names, named_settings

N, EVENTS = {"train": 139, "held_out": 139}, {"train": 32, "held_out": 38}
TELLING, STABLE = 4, 616
ALL_851 = feature_names(named_settings("wang"))
SOME = ["original_shape_VoxelVolume", *ALL_851[14:60]]
LASSO = ["model.steps.lasso.n_folds=4"]
FAST = ["split.folds.n_folds=2", "split.inner.n_folds=2"]
SHARES = {"pcr": 65 / 278, "imni": 70 / 278, "hr": 0.65, "her2": 0.31}  # about those of Table 1
UNIVARIABLE = "{_target_:radnet.models.cox.UnivariableCox,p_value:0.05}"


def until(rng, log_hazard, events):
    """Follow-up of 30 to 110 months, hazards so high that as many as told have the event before it ends."""
    event_months, ends = rng.exponential(np.exp(-log_hazard)), rng.uniform(30, 110, len(log_hazard))
    rising = np.sort(ends / event_months)[::-1]
    months = event_months * (rising[events - 1] + rising[events]) / 2
    return months <= ends, np.minimum(months, ends).clip(0.1)


def of_hospital(seed, sizes, events, names, centre="B", scale=1.0, signal=0.9, twice=0, unstable=()):
    """Patients of a hospital, one tumour each; ``TELLING`` features after the volume foretell recurrence.

    Args:
        seed: Of all that is drawn.
        sizes: Patients by split.
        events: How many of them recur, by split.
        names: Features, the first the volume.
        centre: Name of the hospital.
        scale: What every feature but the volume is multiplied by.
        signal: Log hazard of a standard deviation of each telling feature.
        twice: How many patients of training a second reader delineated too.
        unstable: Features on which the two readers do not agree at all.
    """
    rng = np.random.default_rng(seed)
    noise = np.isin(names, list(unstable))
    patients, rows = [], []
    for split, size in sizes.items():
        values = rng.normal(size=(size, len(names)))
        values[:, 0] = rng.uniform(500, 5000, size)
        hazard = signal * values[:, 1 : 1 + TELLING].sum(axis=1)
        recurred, dfs = until(rng, hazard, events[split])
        died, survived = until(rng, hazard / 2, events[split] // 2)
        for place in range(size):
            identity = f"{centre}{split[0]}{place:03d}"
            outcomes = {
                "dfs": Outcome(bool(recurred[place]), float(dfs[place])),
                "os": Outcome(bool(died[place]), float(survived[place])),
            }
            clinical = {
                "age": float(rng.normal(50, 10)),
                "ctnm": str(rng.choice(["II", "IIIa-b", "IIIc"], p=[0.5, 0.3, 0.2])),
                **{name: float(rng.random() < share) for name, share in SHARES.items()},
            }
            patients.append(Patient(identity, centre, split, outcomes, (Lesion("L1", site="breast"),), clinical))
            known = values[place] * np.where(np.arange(len(names)) == 0, 1.0, scale)
            for reader in ("1", "2") if split == "train" and place < twice else ("1",):
                again = np.where(noise, rng.normal(size=len(names)), known + 0.05 * rng.normal(size=len(names)))
                read = known if reader == "1" else again
                rows.append((identity, "L1", "lesion", "image", reader, "1", "ok", *read))
    table = pd.DataFrame(rows, columns=[*FEATURE_KEYS, "status", *names])
    return Cohort(tuple(patients), FeatureTable(table, {"engine": "made by a test"}))


@pytest.fixture(scope="module")
def root(workplace):
    """139 patients to learn from with 32 recurrences, 139 to judge with 38."""
    return write_cohort(of_hospital(1, N, EVENTS, SOME, twice=20), workplace / "hospital")


@pytest.fixture(scope="module")
def score(train, root):
    """The radiomics score."""
    return train("wang_score", root, "score", *LASSO, *FAST)


@pytest.fixture(scope="module")
def judged(evaluate, score):
    """Its evaluation."""
    return evaluate(score / "evaluation", f"run={score}", "evaluation.bootstrap=40", "report=false")


@pytest.fixture(scope="module")
def compared(train, evaluate, root, workplace):
    """The nomogram beside the stage alone."""
    members = ["model.members.score.steps.lasso.n_folds=4", "model.folds.n_folds=3"]
    folds = ["split.inner=null", "split.folds.n_folds=2"]
    runs = [
        train("wang_nomogram", root, "nomogram", *members, *folds),
        train("wang_tnm", root, "tnm", *folds),
    ]
    files = ",".join(str(run / "predictions.parquet") for run in runs)
    typed = ["evaluation.versus=wang_tnm", "evaluation.bootstrap=40", "report=false", "evaluation.nri_cuts=[0.2,0.4]"]
    return evaluate(workplace / "compared", f"predictions=[{files}]", *typed)


@pytest.fixture(scope="module")
def elsewhere(workplace):
    """91 patients of another hospital, and the same with every feature four times as large."""
    sizes = ({"held_out": 91}, {"held_out": 24}, SOME, "TCGA")
    return {
        name: write_cohort(of_hospital(2, *sizes, scale=scale), workplace / f"elsewhere {name}")
        for name, scale in (("alike", 1.0), ("rescaled", 4.0))
    }


def one_of(metrics, metric, endpoint="dfs", **where):
    rows = metrics[(metrics["metric"] == metric) & (metrics["centre"] == "") & (metrics["level"] == "patient")]
    for column, value in {"endpoint": endpoint, "subgroup": "", "group": "", "versus": "", **where}.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1, f"{metric} {where}: {len(rows)} rows"
    return rows.iloc[0]


def predicted(run, partition):
    rows = pd.read_parquet(run / "predictions.parquet")
    return rows[(rows["partition"] == partition) & (rows["endpoint"] == "dfs")].set_index("patient_id")


def test_wang_1_original_and_wavelet_give_851_features_a_tumour(workplace):
    knobs = ["n=2", "size_voxels=32", "radius_mm=[5,6]"]
    assert main(["simulate", "two", "--preset", "wang", "--workers", "1", "--set", *knobs]) == 0

    assert main(["extract", "two", "--settings", "wang", "--out", "wang.parquet", "--workers", "1"]) == 0

    features = pd.read_parquet("wang.parquet")
    names = features.columns.drop([*FEATURE_KEYS, "status"])
    images = names.str.split("_").str[0].value_counts().to_dict()
    assert len(names) == 851
    assert images.pop("original") == 107
    assert images == {f"wavelet-{band}": 93 for band in ("LLL", "LLH", "LHL", "LHH", "HLL", "HLH", "HHL", "HHH")}
    assert (features["status"] == "ok").all()


@pytest.fixture(scope="module")
def by_steps(train, workplace):
    """The score of 851 features, on 616 of which two readers of 20 patients agree; univariable Cox before the LASSO."""
    volume, *others = sorted(ALL_851, key=lambda name: name != "original_shape_VoxelVolume")
    unstable = np.random.default_rng(0).permutation(others[TELLING:])[: len(ALL_851) - STABLE]
    cohort = of_hospital(3, N, EVENTS, [volume, *others], twice=20, unstable=unstable)
    plain = ["split.folds.n_folds=2", "split.inner=null", f"model.steps.univariable={UNIVARIABLE}"]
    return train("wang_score", write_cohort(cohort, workplace / "851"), "steps", *plain, *LASSO)


def test_wang_2_features_are_counted_at_every_step_851_to_616_to_the_score(by_steps):
    record = json.loads((by_steps / "run.json").read_text(encoding="utf-8"))
    steps = load_model(by_steps / "model").model.steps

    left = record["counts"]["selection"]
    assert list(steps.named_steps) == ["reproducible", "constant", "impute", "scale", "univariable", "lasso"]
    assert list(left) == ["measured", "reproducible", "constant", "univariable", "lasso"]
    assert (left["measured"], left["reproducible"]) == (851, 616)
    assert 0 < left["lasso"] < left["univariable"] < left["constant"] == 616
    assert left["lasso"] == np.count_nonzero(steps.named_steps["lasso"].coef_)
    assert record["counts"]["events_per_feature"] == round(32 / left["lasso"], 2)
    assert any("their weights are mostly chance" in one for one in record["messages"]) == (32 / left["lasso"] < 5)


def test_wang_2_univariable_p_values_are_those_of_lifelines_on_the_patients_learned_from(by_steps, workplace):
    loaded = load_model(by_steps / "model")
    learned = read_manifest(workplace / "851", [loaded.endpoint]).where(lambda one: one.split == "train")
    matrix = np.asarray(loaded.model.steps[:-2].transform(loaded.model.inputs(learned)))
    univariable = loaded.model.steps.named_steps["univariable"]

    for place in (0, 1, 5, 200, 600):
        table = pd.DataFrame({"x": matrix[:, place], "time": learned.times("dfs"), "event": learned.events("dfs")})
        fitted = CoxPHFitter().fit(table, "time", "event")
        assert univariable.p_values_[place] == pytest.approx(fitted.summary.loc["x", "p"], rel=1e-3)
    np.testing.assert_array_equal(univariable.get_support(), univariable.p_values_ < 0.05)


def test_wang_2_no_step_looks_at_patients_judged(score, train, workplace):
    cohort = of_hospital(1, N, EVENTS, SOME, twice=20)
    turned = of_hospital(9, N, EVENTS, SOME, twice=20)
    others = {one.id: one for one in turned.patients}
    patients = tuple(one if one.split == "train" else others[one.id] for one in cohort.patients)
    judged = [one.id for one in patients if one.split == "held_out"]
    rows, changed = cohort.features.rows, turned.features.rows
    rows = pd.concat([rows[~rows["patient_id"].isin(judged)], changed[changed["patient_id"].isin(judged)]])
    other = write_cohort(Cohort(patients, FeatureTable(rows, {"engine": "made by a test"})), workplace / "turned")

    again = train("wang_score", other, "turned run", *LASSO, *FAST)

    first, second = (load_model(run / "model") for run in (score, again))
    np.testing.assert_array_equal(first.model.steps[-1].coef_, second.model.steps[-1].coef_)
    assert first.readings[0].cutoff == second.readings[0].cutoff
    for partition in ("out_of_fold", "apparent"):
        pd.testing.assert_frame_equal(predicted(score, partition), predicted(again, partition))


def test_wang_3_the_score_is_the_sum_of_beta_times_features_standardised_by_training_constants(score, root):
    loaded = load_model(score / "model")
    steps = loaded.model.steps.named_steps
    cohort = read_manifest(root, [loaded.endpoint])
    kept = loaded.model.columns
    features = cohort.features.rows
    features = features[features["reader"] == "1"].set_index("patient_id")
    learned = features.loc[[one.id for one in cohort.patients if one.split == "train"], kept]

    assert len(loaded.model.selection()["constant"]) == len(kept)  # both readers agree on all of these
    np.testing.assert_allclose(steps["scale"].mean_, learned.mean(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(steps["scale"].scale_, learned.std(ddof=0), rtol=1e-9)
    by_hand = ((features[kept] - learned.mean()) / learned.std(ddof=0)) @ steps["lasso"].coef_
    for partition in ("apparent", "held_out"):
        rows = predicted(score, partition)
        np.testing.assert_allclose(rows["score"], by_hand.loc[rows.index], atol=1e-9)


@pytest.mark.parametrize(("name", "drifted"), [("alike", False), ("rescaled", True)])
def test_wang_3_a_score_that_spreads_over_three_times_as_far_elsewhere_is_told(
    name, drifted, score, elsewhere, evaluate, workplace, capsys
):
    output = workplace / f"judged {name}"
    typed = ["evaluation.bootstrap=5", "report=false"]

    metrics = evaluate(output, f"model={score / 'model'}", f"data.root={elsewhere[name]}", *typed)

    printed = capsys.readouterr().out
    about = json.loads((output / "evaluation.json").read_text(encoding="utf-8"))
    assert ("the score's standard deviation is" in printed) == drifted
    assert bool(about["drift"]["score"]) == drifted
    assert one_of(metrics, "hazard_ratio", group="per_sd")["n"] == 91


def test_wang_3_a_run_tells_of_drift_among_its_held_out_patients(train, workplace):
    learned = of_hospital(4, {"train": 139}, {"train": 32}, SOME, twice=20)
    judged = of_hospital(5, {"held_out": 60}, {"held_out": 15}, SOME, scale=4.0)
    rows = pd.concat([learned.features.rows, judged.features.rows], ignore_index=True)
    cohort = Cohort((*learned.patients, *judged.patients), FeatureTable(rows, {"engine": "made by a test"}))
    plain = ["split.folds.n_folds=2", "split.inner=null"]

    run = train("wang_score", write_cohort(cohort, workplace / "rescaled"), "rescaled run", *LASSO, *plain)

    messages = json.loads((run / "run.json").read_text(encoding="utf-8"))["messages"]
    assert any(one.startswith("drift: the score's standard deviation is") for one in messages)


@pytest.mark.parametrize("partition", ["apparent", "held_out", "out_of_fold"])
def test_wang_3_the_hazard_ratio_per_standard_deviation_stands_in_every_cohort(partition, judged, score):
    ratio = one_of(judged, "hazard_ratio", partition=partition, group="per_sd")

    if partition == "out_of_fold":  # standardised within folds
        assert ratio["estimate"] > 0
        return
    rows = predicted(score, partition)
    per_sd = rows[["time", "event"]].assign(x=rows["score"] / rows["score"].std())
    fitted = CoxPHFitter().fit(per_sd, "time", "event")
    assert ratio["estimate"] == pytest.approx(fitted.hazard_ratios_["x"], rel=1e-3)


def test_wang_4_the_cut_off_is_that_of_the_roc_curve_at_60_months_and_stays_elsewhere(
    score, elsewhere, evaluate, workplace
):
    learned = predicted(score, "out_of_fold")
    curve = nne_roc(learned["time"], learned["event"], learned["score"], 60, span=0.25 * len(learned) ** -0.2)
    expected = time_youden(curve).value

    evaluate(
        workplace / "external", f"model={score / 'model'}", f"data.root={elsewhere['alike']}", "report=false",
        "evaluation.bootstrap=5",
    )  # fmt: skip

    frozen = json.loads((score / "model" / "cutoffs.json").read_text(encoding="utf-8"))["score"]
    assert frozen == {"value": expected, "rule": "time_youden", "of": "score"}
    external = pd.read_parquet(workplace / "external" / "predictions.parquet")
    tables = (predicted(score, "apparent"), predicted(score, "held_out"), external)
    assert [set(rows["cutoff"]) for rows in tables] == [{expected}] * 3
    config = (score / "config.yaml").read_text(encoding="utf-8")
    assert "horizon: 60" in config


@pytest.mark.parametrize("partition", ["out_of_fold", "held_out"])
def test_wang_5_the_c_index_has_its_interval(partition, judged, score):
    row = one_of(judged, "c_index", partition=partition, method="harrell")

    rows = predicted(score, partition)
    within = [
        concordance_index(one["time"], -one["score"], one["event"]) for _, one in rows.groupby(["fold", "repeat"])
    ]
    assert row["estimate"] == pytest.approx(np.mean(within))
    assert row["lower"] < row["estimate"] < row["upper"]


@pytest.mark.parametrize("metric", ["idi", "nri_continuous", "nri_categorical"])
def test_wang_5_reclassification_at_60_months_has_a_p_value_coherent_with_its_interval(metric, compared):
    rows = compared[(compared["metric"] == metric) & (compared["partition"] == "held_out")]

    rows = rows[(rows["centre"] == "") & (rows["subgroup"] == "") & (rows["horizon"] == 60)]
    assert len(rows)
    assert (rows["estimate"] != 0).all()
    for _, row in rows.iterrows():
        assert row["lower"] <= row["estimate"] <= row["upper"]
        assert (row["p_value"] < 0.05) == (not row["lower"] <= 0 <= row["upper"])


def test_wang_5_net_benefit_for_survival_is_that_of_kaplan_meier_among_those_called(compared, workplace):
    rows = predicted(workplace / "nomogram", "held_out")
    metrics = compared[(compared["model"] == "wang_nomogram") & (compared["partition"] == "held_out")]
    high = rows["probability_60"] >= 0.2
    assert 0 < high.mean() < 1
    risk = 1 - KaplanMeierFitter().fit(rows["time"][high], rows["event"][high]).predict(60)

    found = one_of(metrics, "net_benefit", at=0.2, horizon=60)["estimate"]

    assert found == pytest.approx(high.mean() * (risk - (1 - risk) * 0.2 / 0.8))


@pytest.mark.parametrize("months", [36, 60])
def test_wang_5_calibration_at_36_and_60_months_sets_kaplan_meier_beside_what_was_foretold(months, judged, score):
    drawn = pd.read_csv(score / "evaluation" / "figures" / "calibration.csv")
    groups = drawn[(drawn["partition"] == "held_out") & (drawn["horizon"] == months)]
    rows = predicted(score, "held_out").sort_values(f"probability_{months}", ascending=False)  # the safest group last

    assert len(groups) >= 3
    assert groups["n"].sum() == len(rows)
    for group, last in zip(groups.itertuples(), groups["n"].cumsum().astype(int), strict=True):
        members = rows.iloc[last - int(group.n) : last]
        curve = KaplanMeierFitter().fit(members["time"], members["event"])
        assert group.probability == pytest.approx(members[f"probability_{months}"].mean())
        assert group.observed == pytest.approx(1 - curve.predict(months))
        assert group.lower <= group.observed <= group.upper
    assert 0 < one_of(judged, "brier_time", partition="held_out", horizon=months)["estimate"] < 0.5


@pytest.mark.parametrize("months", [12, 60])
@pytest.mark.parametrize("partition", ["held_out", "out_of_fold"])
def test_wang_5_the_auc_is_told_at_12_and_60_months(months, partition, judged):
    row = one_of(judged, "auc_time", partition=partition, method="ipcw", horizon=months)

    assert row["at"] == months
    assert 0 <= row["lower"] <= row["estimate"] <= row["upper"] <= 1


def test_wang_6_the_risk_groups_have_curves_and_a_log_rank_test(judged, score):
    rows = predicted(score, "held_out")
    high = rows["score"] >= rows["cutoff"]
    test = logrank_test(rows["time"][high], rows["time"][~high], rows["event"][high], rows["event"][~high])

    found = one_of(judged, "logrank", partition="held_out")

    assert found["estimate"] == pytest.approx(test.test_statistic)
    assert found["p_value"] == pytest.approx(test.p_value)
    drawn = pd.read_csv(score / "evaluation" / "figures" / "km.csv")
    drawn = drawn[(drawn["partition"] == "held_out") & (drawn["endpoint"] == "dfs")]
    for group, members in (("low", rows[~high]), ("high", rows[high])):
        curve = KaplanMeierFitter().fit(members["time"], members["event"])
        own = drawn[drawn["group"] == group]
        after = own["time"] + 1e-6  # times of a CSV file are short of the last digits
        np.testing.assert_allclose(own["survival"], curve.predict(after), rtol=1e-9)


@pytest.fixture(scope="module")
def overall(train, root):
    """A regression of as few variables as 32 recurrences can bear."""
    plain = ["split.folds.n_folds=2", "split.inner=null", "covariates=[age,ctnm,hr]"]
    return train("wang_score", root, "overall", *LASSO, *plain)


def test_wang_6_the_score_of_recurrence_is_read_on_overall_survival_too(overall, evaluate):
    metrics = evaluate(overall / "evaluation", f"run={overall}", "evaluation.bootstrap=5", "report=false")

    for endpoint, events in (("dfs", 38), ("os", 19)):
        row = one_of(metrics, "logrank", endpoint=endpoint, partition="held_out")
        assert (row["n"], row["n_event"]) == (139, events)
        assert 0 <= row["p_value"] <= 1
    drawn = pd.read_csv(overall / "evaluation" / "figures" / "km.csv")
    drawn = drawn[drawn["partition"] == "held_out"]
    assert set(zip(drawn["endpoint"], drawn["group"], strict=True)) == {
        (endpoint, group) for endpoint in ("dfs", "os") for group in ("low", "high")
    }


@pytest.mark.parametrize("group", ["pcr=0", "hr=1"])
def test_wang_6_patients_without_pcr_and_with_hormone_receptors_are_judged_apart(group, judged, score, root):
    column, value = group.split("=")
    clinical = pd.read_csv(root / "clinical.csv").set_index("patient_id")
    rows = predicted(score, "held_out")
    own = rows[clinical.loc[rows.index, column] == float(value)]
    high = own["score"] >= own["cutoff"]
    test = logrank_test(own["time"][high], own["time"][~high], own["event"][high], own["event"][~high])

    found = one_of(judged, "logrank", partition="held_out", subgroup=group)

    assert (found["n"], found["n_event"]) == (len(own), own["event"].sum())
    assert found["p_value"] == pytest.approx(test.p_value)


def test_wang_6_the_multivariable_cox_model_is_that_of_lifelines_with_a_test_of_proportional_hazards(overall, root):
    table = pd.read_csv(overall / "tables" / "regression.csv").query("analysis == 'multivariable'")
    clinical = pd.read_csv(root / "clinical.csv").set_index("patient_id")
    learned = predicted(overall, "out_of_fold")
    own = clinical.loc[learned.index]
    matrix = learned[["score", "time", "event"]].assign(
        age=own["age"], hr=own["hr"], **{stage: (own["ctnm"] == stage).astype(float) for stage in ("IIIa-b", "IIIc")}
    )
    fitted = CoxPHFitter().fit(matrix, "time", "event")

    for variable, level in (("age", ""), ("hr", ""), ("ctnm", "IIIa-b"), ("ctnm", "IIIc")):
        row = table[(table["variable"] == variable) & (table["level"].fillna("") == level)].iloc[0]
        expected = fitted.summary.loc[level or variable]
        assert row["estimate"] == pytest.approx(expected["exp(coef)"], rel=1e-3)
        assert row["lower"] == pytest.approx(expected["exp(coef) lower 95%"], rel=1e-3)
        assert row["upper"] == pytest.approx(expected["exp(coef) upper 95%"], rel=1e-3)
        assert 0 <= row["p_proportional"] <= 1
    assert table["estimate"].notna().all()


def test_wang_6_eight_coefficients_on_32_events_are_told_to_be_too_many(score, judged):
    table = pd.read_csv(score / "tables" / "regression.csv").query("analysis == 'multivariable'")

    assert set(table["variable"]) == {"score", "age", "ctnm", "pcr", "imni", "hr", "her2"}
    left_out = table[table["estimate"].isna()]
    assert left_out["note"].str.contains("32 patients").all()
    assert left_out["note"].str.contains("too few for 8 coefficients").all()
    for method in ("score", "legacy"):  # proportional hazards of the score alone, among those judged
        assert 0 <= one_of(judged, "schoenfeld", partition="held_out", method=method)["p_value"] <= 1


def test_wang_7_an_audit_of_table_1_names_the_rows_that_do_not_add_up():
    rows = [
        ("cT", "1", 15, 11), ("cT", "2", 83, 92), ("cT", "3", 27, 20), ("cT", "4", 14, 16),
        ("ypT", "0", 52, 49), ("ypT", "1", 63, 75), ("ypT", "2", 20, 12), ("ypT", "3", 4, 4),
        ("ypN", "0", 64, 53), ("ypN", "1", 36, 43), ("ypN", "2", 24, 32), ("ypN", "3", 15, 11),
        ("HER2", "+", 96, 99), ("HER2", "-", 43, 40),
        ("anti-HER2", "yes", 11, 11), ("anti-HER2", "no", 59, 58),
    ]  # fmt: skip
    printed = pd.DataFrame(rows, columns=["variable", "level", "train", "valid"])

    faults = baseline_faults(printed, {"train": 139, "valid": 139})

    assert faults == [
        "ypT: the levels of valid add up to 140, not 139",
        "anti-HER2: the levels of train add up to 70, not 139",
        "anti-HER2: the levels of valid add up to 69, not 139",
    ]


def test_wang_7_an_audit_of_the_features_finds_851_where_850_are_printed():
    rows = [("features", "original", 107), *(("features", f"wavelet {band}", 93) for band in range(8))]
    printed = pd.DataFrame(rows, columns=["variable", "level", "printed"])

    assert baseline_faults(printed, {"printed": 850}) == ["features: the levels of printed add up to 851, not 850"]
    assert baseline_faults(printed, {"printed": len(ALL_851)}) == []


def test_wang_7_printed_p_values_of_table_1_come_from_a_test_of_counts():
    rows = [
        ("age", "<=45", 58, 62, ".628"), ("age", ">=46", 81, 77, ""),
        ("cT", "1", 15, 11, ".521"), ("cT", "2", 83, 92, ""), ("cT", "3", 27, 20, ""), ("cT", "4", 14, 16, ""),
        ("cN", "0", 19, 9, ".200"), ("cN", "1", 75, 76, ""), ("cN", "2", 27, 35, ""), ("cN", "3", 18, 19, ""),
        ("pCR", "yes", 33, 32, ".887"), ("pCR", "no", 106, 107, ""),
        ("ER", "+", 90, 87, ".708"), ("ER", "-", 49, 52, ""),
        ("IMNI", "yes", 32, 38, ".407"), ("IMNI", "no", 107, 101, ""),
    ]  # fmt: skip
    printed = pd.DataFrame(rows, columns=["variable", "level", "train", "valid", "p"])

    assert baseline_faults(printed, {"train": 139, "valid": 139}, p_values={"p": ["train", "valid"]}) == []


def test_wang_8_64_patients_are_21_22_and_21_by_tertiles_of_the_score():
    group = tertiles(np.random.default_rng(4).normal(-51.8, 20, 64))

    assert [int((group == name).sum()) for name in ("low", "intermediate", "high")] == [21, 22, 21]


def test_wang_8_85_features_of_tiles_are_425_of_a_patient():
    rng = np.random.default_rng(5)
    tiles = pd.DataFrame(rng.normal(size=(53 * 8, 85)), columns=[f"Nucleus: feature {one}" for one in range(85)])
    tiles.insert(0, "patient_id", np.repeat([f"TCGA-{one:02d}" for one in range(53)], 8))

    found = aggregate_tiles(tiles)

    assert found.shape == (53, 425)
    assert isclose(
        found.loc["TCGA-07", "Nucleus: feature 3__q25"],
        np.quantile(tiles.loc[tiles["patient_id"] == "TCGA-07", "Nucleus: feature 3"], 0.25),
    )


NOISE = ["original_shape_VoxelVolume", *(f"original_firstorder_Noise{one}" for one in range(199))]
NESTED = [
    "split=kfold",
    "split.folds.n_folds=3",
    "split.inner=null",
    "model.steps.reproducible=null",
    "model.aggregate=mean",
    *LASSO,
]


def c_of_noise(train, workplace, seed, *typed):
    """Out-of-fold C-index of the LASSO on 200 features that tell nothing: 139 patients, 32 events."""
    root = workplace / f"noise {seed}"
    if not root.is_dir():
        write_cohort(of_hospital(seed, {"train": 139}, {"train": 32}, NOISE, signal=0.0), root)
    run = train("wang_score", root, f"noise {seed} {len(typed)}", *NESTED, f"seed={seed}", *typed)
    told = json.loads((run / "run.json").read_text(encoding="utf-8"))["messages"]
    assert any("features were selected before the split, from all patients" in one for one in told) == bool(typed)
    folds = [one for _, one in predicted(run, "out_of_fold").groupby("fold")]
    return np.mean([concordance_index(one["time"], -one["score"], one["event"]) for one in folds])


@pytest.mark.parametrize("runs", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_wang_9_noise_stays_noise_within_folds_and_is_made_much_of_where_features_are_chosen_before(
    runs, train, workplace
):
    seeds = range(100 * runs, 101 * runs)

    nested = np.mean([c_of_noise(train, workplace, seed) for seed in seeds])
    leaky = np.mean([c_of_noise(train, workplace, seed, f"before_split={UNIVARIABLE}") for seed in seeds])

    assert abs(nested - 0.5) < 0.06
    assert leaky > max(nested, 0.5) + 0.1
