"""Subgroups, as ``evaluate.py`` writes them from a prediction file."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.stats import chi2

from assessing import joined, rows_of, table, told
from radnet.cli import main
from radnet.evaluation.assess import assess
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.evaluation.discrimination import delong
from radnet.tables import read_predictions, write_table

GROUPS = [
    "km_lung_sex",
    "km_lung_ecog_missing",
    "km_veteran_celltype",
    "km_sim69",
    "km_sim69_tied_times",
    "km_tiny6",
    "km_all_censored_group",
]
REPEATS = {"1": ([6, 6], [6, 6]), "2": ([2, 10], [0, 12])}
"""Of the folds of each of two repeats, patients with the event and without it; one fold has one class."""
SHARES = {
    "sensitivity": lambda n, n_event: n_event,
    "specificity": lambda n, n_event: n - n_event,
    "accuracy": lambda n, n_event: n,
}


@pytest.fixture
def evaluate(tmp_path, capsys):
    """Run ``radnet evaluate`` on a table written as .csv; give the exit status, metrics.csv and the messages."""

    def run(predictions, *words):
        write_table(predictions, tmp_path / "predictions.csv")
        words = [f"predictions={tmp_path / 'predictions.csv'}", f"output={tmp_path / 'out'}", *words]
        status = main(["evaluate", "report=false", *words, "evaluation.bootstrap=10"])
        capsys.readouterr()
        metrics = pd.read_csv(tmp_path / "out" / "metrics.csv", keep_default_na=False, na_values=[""])
        metrics = metrics.fillna({"subgroup": "", "centre": "", "method": "", "group": ""})
        messages = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))["messages"]
        return status, metrics, messages

    return run


def one(metrics, metric, **where):
    rows = metrics[metrics["metric"] == metric]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1, f"{metric} {where}: {len(rows)} rows"
    return rows.iloc[0]


def patients(n=120, seed=0, **columns):
    rng = np.random.default_rng(seed)
    event = rng.random(n) < 0.4
    score = rng.normal(size=n) + event
    of_patients = {"sex": rng.choice(["F", "M"], n), "lines": rng.choice([1.0, 2.0, np.nan], n)}
    return table(event, score, cutoff=0.3).assign(**of_patients | columns)


@pytest.mark.parametrize("seed", range(3))
def test_counts_of_a_columns_subgroups_add_up_to_the_whole(seed, evaluate):
    status, metrics, _ = evaluate(patients(seed=seed), "evaluation.subgroups=[sex,lines]")

    assert status == 0
    for name, among in SHARES.items():
        shares = metrics[(metrics["metric"] == name) & (metrics["method"] == "wilson")]
        counts = (shares["estimate"] * among(shares["n"], shares["n_event"])).groupby(shares["subgroup"]).sum()
        assert counts[["sex=F", "sex=M"]].sum() == pytest.approx(counts[""])
        assert counts[["lines=1", "lines=2", "lines=missing"]].sum() == pytest.approx(counts[""])
        assert set(shares["at"]) == {0.3}
    assert shares.set_index("subgroup").loc[["lines=1", "lines=2", "lines=missing"], "n"].sum() == 120


def test_a_subgroup_is_judged_as_its_patients_alone_would_be(evaluate):
    both = patients()
    alone = both[both["sex"] == "M"]

    _, metrics, _ = evaluate(both, "evaluation.subgroups=[sex]")
    _, theirs, _ = evaluate(alone)

    own = metrics[metrics["subgroup"] == "sex=M"]
    for name in ("auc", "sensitivity", "specificity", "ppv", "npv", "accuracy", "lr_positive", "lr_negative"):
        for _, row in own[own["metric"] == name].iterrows():
            columns = ["at", "estimate", "lower", "upper", "n", "n_event"]
            expected = one(theirs, name, method=row["method"])
            np.testing.assert_allclose(row[columns].astype(float), expected[columns].astype(float))
    assert set(own.loc[own["metric"] == "auc", "method"]) == {"delong"}


def test_interaction_is_the_gain_of_own_slopes_written_slowly(evaluate):
    both = patients()
    known = both.dropna(subset=["lines"])
    event, score = known["event"].to_numpy() == 1, known["score"].to_numpy()
    member = (known["lines"] == 2).to_numpy(dtype=float)
    alike = np.column_stack([np.ones(len(known)), score, member])

    def minus(design):
        def of(beta):
            return np.logaddexp(0, design @ beta).sum() - (design @ beta)[event].sum()

        return minimize(of, np.zeros(design.shape[1]), tol=1e-12).fun

    gain = 2 * (minus(alike) - minus(np.column_stack([alike, member * score])))

    _, metrics, _ = evaluate(both, "evaluation.subgroups=[lines]")

    test = one(metrics, "interaction", subgroup="lines", method="likelihood_ratio")
    assert test["estimate"] == pytest.approx(gain, abs=1e-6)  # the slow minimum is exact to about 1e-8
    assert test["p_value"] == pytest.approx(chi2.sf(gain, 1), abs=1e-6)
    assert test["n"] == len(known)


def test_few_patients_of_a_class_have_an_auc_without_an_interval_and_it_is_said(evaluate):
    event = [1] * 9 + [0] * 30 + [1] * 10 + [0] * 10
    score = np.random.default_rng(1).normal(size=59)
    subject = table(event, score, cutoff=0.0).assign(kind=["few"] * 39 + ["enough"] * 20)

    _, metrics, messages = evaluate(subject, "evaluation.subgroups=[kind]")

    few, enough = (one(metrics, "auc", subgroup=f"kind={name}") for name in ("few", "enough"))
    assert few["estimate"] == pytest.approx(delong(event[:39], score[:39]).auc)
    assert few[["lower", "upper", "p_value"]].isna().all()
    assert enough[["lower", "upper", "p_value"]].notna().all()
    assert "kind=few: no interval below 10 patients of a class: 9 with and 30 without the event" in [
        one["message"] for one in messages
    ]


def test_a_subgroup_of_one_class_and_an_empty_one_are_told_and_do_not_fail_the_run(evaluate):
    subject = table(
        [1, 1, 0, 1, 0, np.nan], [1, 2, 3, 4, 5, 6], cutoff=2.0, partition=["held_out"] * 6, model="m"
    ).assign(kind=list("aabbbc"))

    status, metrics, messages = evaluate(subject, "evaluation.subgroups=[kind]")

    assert (status, {one["severity"] for one in messages}) == (0, {"info"})
    texts = [one["message"] for one in messages]
    assert "kind=a: no AUC: 2 with and 0 without the event" in texts
    assert "kind=c: no patient of this subgroup is judged here" in texts
    assert np.isnan(one(metrics, "auc", subgroup="kind=a")["estimate"])
    assert one(metrics, "sensitivity", subgroup="kind=a", method="wilson")["estimate"] == 0.5
    assert np.isnan(one(metrics, "specificity", subgroup="kind=a", method="wilson")["estimate"])


def test_the_cutoff_of_training_patients_judges_every_subgroup(evaluate):
    training = patients(60, 1, partition="out_of_fold", fold=["1", "2"] * 30, patient_id=[f"T{i}" for i in range(60)])

    _, metrics, _ = evaluate(joined(training, patients()), "evaluation.subgroups=[sex]", "evaluation.cutoff=youden")

    at = metrics.loc[(metrics["metric"] == "sensitivity") & (metrics["partition"] == "held_out")]
    assert set(at["subgroup"]) == {"", "sex=F", "sex=M"}
    assert set(at["at"]) == set(metrics.loc[metrics["metric"] == "cutoff", "estimate"])
    assert len(set(at["at"])) == 1


def test_models_of_folds_are_averaged_within_folds_and_have_no_interaction_test(evaluate):
    # women: fold 1 in order, fold 2 not; ranked together they would be in order in 3 of 4 pairs
    folds = table(
        [0, 1, 0, 1, 0, 1, 0, 1],
        [1, 2, 12, 11, 1, 2, 11, 12],
        partition="out_of_fold",
        fold=["1", "1", "2", "2"] * 2,
        cutoff=[1.5, 1.5, 11.5, 11.5] * 2,
    ).assign(sex=["F"] * 4 + ["M"] * 4)

    status, metrics, messages = evaluate(folds, "evaluation.subgroups=[sex]")

    assert status == 0
    assert one(metrics, "auc", subgroup="sex=F")["estimate"] == 0.5
    assert one(metrics, "auc", subgroup="sex=M")["estimate"] == 1
    assert one(metrics, "sensitivity", subgroup="sex=F", method="wilson")["estimate"] == 0.5
    assert "interaction" not in set(metrics["metric"])
    assert "sex: no interaction test: the scores of models of folds are not on one scale" in [
        one["message"] for one in messages
    ]


def of_folds(events, others, **columns):
    """Out-of-fold patients of two folds and more: so many with the event and without it in each, all of one level."""
    folds = [str(number) for number, both in enumerate(zip(events, others, strict=True)) for _ in range(sum(both))]
    event = np.concatenate([[1] * one + [0] * other for one, other in zip(events, others, strict=True)])
    score = np.random.default_rng(len(event)).normal(size=len(event)) + event
    ids = [f"{columns.get('kind', 'Q')}{who}" for who in range(len(event))]
    return table(event, score, partition="out_of_fold", fold=folds, patient_id=ids).assign(**columns)


@pytest.mark.parametrize(
    ("events", "others", "suppressed"),
    [
        ([2, 2], [4, 4], "4 with and 8 without the event"),
        ([5, 5], [5, 4], "10 with and 9 without the event"),
        ([5, 5], [5, 5], ""),
        ([5, 5, 5], [5, 4, 0], "10 with and 9 without the event"),  # the third fold has one class
    ],
)
def test_few_patients_of_a_class_in_folds_have_an_auc_without_an_interval_and_it_is_said(
    events, others, suppressed, evaluate
):
    few = of_folds(events, others, kind="few")
    judged = few[few["fold"].isin(["0", "1"])]
    aucs = [delong(fold["event"], fold["score"]).auc for _, fold in judged.groupby("fold")]

    _, metrics, messages = evaluate(
        joined(few, of_folds([20, 20, 20], [20, 20, 20], kind="many")), "evaluation.subgroups=[kind]"
    )

    auc = one(metrics, "auc", subgroup="kind=few")
    assert auc["estimate"] == pytest.approx(np.mean(aucs))
    assert auc[["lower", "upper"]].isna().all() == bool(suppressed)
    assert one(metrics, "auc", subgroup="kind=many")[["lower", "upper"]].notna().all()
    said = [text["message"] for text in messages if "no interval" in text["message"]]
    assert said == ([f"kind=few: no interval below 10 patients of a class: {suppressed}"] if suppressed else [])


def test_patients_of_skipped_folds_are_counted_so_that_a_columns_counts_add_up(evaluate):
    both = joined(of_folds([6, 6, 5], [6, 6, 0], kind="a"), of_folds([6, 6, 6], [6, 6, 6], kind="b"))

    _, metrics, messages = evaluate(both, "evaluation.subgroups=[kind]")

    texts = [text["message"] for text in messages]
    assert "kind=a: 1 of 3 folds have one class and are skipped: 2" in texts
    assert "kind=a: 5 of 29 patients stand in skipped folds only and are not in the AUC" in texts
    assert [text for text in texts if text.startswith("kind=b")] == []
    n = [one(metrics, "auc", subgroup=f"kind={name}")["n"] for name in "ab"]
    assert n == [24, 36]
    assert sum(n) + 5 == one(metrics, "auc", subgroup="")["n"]


def test_a_patient_of_a_skipped_fold_who_stands_in_another_repeat_is_in_the_auc():
    repeats = [of_folds(*classes, kind="a").assign(repeat=name) for name, classes in REPEATS.items()]
    elsewhere = [of_folds([9, 9], [9, 9], kind="b").assign(repeat=name) for name in REPEATS]

    found = assess(joined(*repeats, *elsewhere), EvaluationSettings(bootstrap=10, subgroups=["kind"]))

    assert rows_of(found, "auc", subgroup="kind=a")["n"].tolist() == [24]
    assert [text for text in told(found) if text.startswith("kind=a: 1 of 4 folds")]
    assert not [text for text in told(found) if "not in the AUC" in text]


@pytest.mark.parametrize(("events", "others"), [([4, 0], [0, 6]), ([4, 6], [0, 0])])
def test_a_level_without_a_fold_of_both_classes_has_no_auc_and_it_is_said(events, others, evaluate):
    both = joined(of_folds(events, others, kind="few"), of_folds([20, 20], [20, 20], kind="many"))

    status, metrics, messages = evaluate(both, "evaluation.subgroups=[kind]")

    auc = one(metrics, "auc", subgroup="kind=few")
    assert (status, auc["n"]) == (0, 10)
    assert np.isnan(auc["estimate"])
    told_of = f"{sum(events)} with and {sum(others)} without the event"
    assert f"kind=few: no AUC: {told_of}, both in none of 2 folds" in [text["message"] for text in messages]


@pytest.mark.parametrize("case", [("05_survival.json", name) for name in GROUPS], ids=GROUPS, indirect=True)
def test_survival_of_subgroups_and_their_logrank_test_equal_r(case, evaluate):
    given, theirs = case["inputs"], case["outputs"]
    group = pd.Series(given["group"])
    score = np.random.default_rng(0).normal(size=len(group))
    followed = table(given["event"], score, time=given["time"], time_unit="days", cutoff=-99.0).assign(arm=group)

    _, metrics, _ = evaluate(followed, "evaluation=survival", "evaluation.subgroups=[arm]")

    test = one(metrics, "logrank", subgroup="arm")
    np.testing.assert_allclose(
        test[["estimate", "p_value"]].astype(float),
        [theirs["logrank"]["chisq"], theirs["logrank"]["p_value"]],
        rtol=1e-6,
    )
    names = [f"{name:g}" if isinstance(name, float) else str(name) for name in sorted(set(group.dropna()))]
    for place, name in enumerate(names):
        median = one(metrics, "km_median", subgroup=f"arm={name}", group="high")
        np.testing.assert_allclose(
            median[["estimate", "lower", "upper"]].astype(float),
            [theirs["km"]["log"][bound][place] for bound in ("median", "median_lower", "median_upper")],
        )


def test_interaction_with_time_is_the_gain_in_partial_likelihood_written_slowly(evaluate):
    rng = np.random.default_rng(0)
    score, arm = rng.normal(size=60), rng.integers(0, 2, 60)
    time, event = rng.exponential(np.exp(-score * (1 + arm))) + 0.01, rng.random(60) < 0.8
    order = np.argsort(-time)  # no ties
    alike = np.column_stack([score, arm])

    def minus(design):
        def of(beta):
            predictor = (design @ beta)[order]
            return -(predictor - np.logaddexp.accumulate(predictor))[event[order]].sum()

        return minimize(of, np.zeros(design.shape[1]), tol=1e-12).fun

    gain = 2 * (minus(alike) - minus(np.column_stack([alike, arm * score])))

    _, metrics, _ = evaluate(
        table(event, score, time=time, time_unit="months", cutoff=0.0).assign(arm=arm), "evaluation.subgroups=[arm]"
    )

    test = one(metrics, "interaction", subgroup="arm", method="likelihood_ratio")
    assert test["estimate"] == pytest.approx(gain, abs=1e-6)
    assert test["p_value"] == pytest.approx(chi2.sf(gain, 1), abs=1e-6)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("age_group", "subgroups: age_group is no column of the table; besides centre it has sex, lines"),
        ("age", "subgroups: age holds numbers with more than 10 levels: cut it into groups first"),
        ("score", "subgroups: score has a meaning of its own in a prediction table"),
        ("site", "subgroups: site has a level called 'missing', the name of the patients without a value"),
    ],
)
def test_a_column_that_cannot_make_subgroups_fails_once_and_all_else_is_judged(column, message, evaluate):
    given = (
        {"age": np.arange(120)} if column == "age" else {"site": ["missing", "liver"] * 60} if column == "site" else {}
    )
    both = joined(patients(**given), patients(**given).assign(model="other"))

    status, metrics, messages = evaluate(both, f"evaluation.subgroups=[{column},sex]")

    (failed,) = [one for one in messages if one["severity"] == "failed"]
    assert status == 1
    assert failed["message"].startswith(message)
    assert (failed["endpoint"], failed["model"]) == ("response", "")
    assert {"sex=F", "sex=M", "sex"} <= set(metrics["subgroup"])


def test_a_patient_whose_rows_differ_is_named():
    folds = joined(patients(20, fold="1", sex="F"), patients(20, fold="2", sex=["M"] + ["F"] * 19))

    found = assess(folds, EvaluationSettings(bootstrap=10, subgroups=["sex"]))

    assert told(found, "failed") == ["subgroups: sex differs between rows of the same patient: P0000"]


def test_a_model_whose_patients_have_no_value_is_left_out_of_the_subgroups():
    strangers = patients(sex=None, patient_id=[f"Q{i}" for i in range(120)]).assign(model="other")

    found = assess(joined(patients(), strangers), EvaluationSettings(bootstrap=10, subgroups=["sex"]))

    assert set(found.metrics.loc[found.metrics["subgroup"] != "", "model"]) == {"radiomics"}
    assert told(found, "failed") == []
    assert "no patient has a value of sex: its subgroups are not judged" in told(found)


def test_a_patients_value_may_stand_in_another_models_rows():
    both = joined(patients(), patients(sex=None).assign(model="other"))

    found = assess(both, EvaluationSettings(bootstrap=10, subgroups=["sex"]))

    one_model, other = (
        rows_of(found, "accuracy", method="wilson", model=model)[["subgroup", "estimate", "n"]].to_numpy().tolist()
        for model in ("radiomics", "other")
    )
    assert [row[0] for row in other] == ["", "sex=F", "sex=M"]
    assert other == one_model


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([1, 0, 1, 0], ["0", "1"]),
        ([1.0, np.nan, 10.0, 2.0], ["1", "2", "10", "missing"]),
        ([0.5, 1.0, 0.5, 1.0], ["0.5", "1"]),
        ([True, False, None, True], ["False", "True", "missing"]),
        (["b", "", "a", "NA"], ["a", "b", "missing"]),
        (pd.Categorical(["low", "high", None, "low"], ["low", "high"]), ["high", "low", "missing"]),
        (pd.array([1, None, 2, 2], dtype="Int64"), ["1", "2", "missing"]),
        (pd.array(["x", None, "y", "y"], dtype="string"), ["x", "y", "missing"]),
    ],
    ids=["whole", "with gaps", "fractions", "truth", "text", "categories", "nullable", "strings"],
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_levels_have_the_same_names_in_every_kind_of_file(kind, values, names, tmp_path):
    path = tmp_path / f"predictions.{kind}"
    write_table(table([0, 1, 0, 1], [1, 2, 3, 4]).assign(part=values), path)

    found = assess(read_predictions(path), EvaluationSettings(bootstrap=10, subgroups=["part"]))

    subgroups = found.metrics.loc[found.metrics["metric"] == "accuracy", "subgroup"]
    assert list(dict.fromkeys(subgroups)) == ["", *(f"part={name}" for name in names)]


def test_a_centre_is_a_subgroup_like_another():
    found = assess(patients(centre=["A", "B", ""] * 40), EvaluationSettings(bootstrap=10, subgroups=["centre"]))

    assert {"centre=A", "centre=B", "centre=missing", "centre"} <= set(found.metrics["subgroup"])


@pytest.mark.parametrize("kind", ["binary", "survival"])
@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_patients_subgroups_fail_nothing(seed, kind):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 14))
    few = table(
        rng.permutation(np.arange(n) < max(1, n // 2)),
        rng.integers(0, rng.choice([2, 9]), n),
        partition=str(rng.choice(["apparent", "out_of_fold", "held_out"])),
        fold=rng.choice(["", "1", "2"], n) if seed % 2 else "",
        time=rng.integers(1, 5, n).astype(float) if kind == "survival" else np.nan,
        time_unit="days" if kind == "survival" else "",
    ).assign(part=rng.choice(["a", "b", "c", None], n))

    with_them = assess(few, EvaluationSettings(bootstrap=10, subgroups=["part"]))
    without = assess(few, EvaluationSettings(bootstrap=10))

    assert told(with_them, "failed") == told(without, "failed")
    whole = with_them.metrics[with_them.metrics["subgroup"] == ""]
    pd.testing.assert_frame_equal(whole.reset_index(drop=True), without.metrics)
