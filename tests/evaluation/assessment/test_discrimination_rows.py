"""From files of predictions to auc, average_precision and the differences of models in metrics.csv."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from lifelines.utils import concordance_index
from scipy.stats import t, ttest_1samp
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from assessing import cohort, joined, row_of, rows_of, table, told
from oracle import cases, close
from radnet.cli import main
from radnet.evaluation.assess import assess
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.tables import LESION_PREDICTION_COLUMNS

QUICK = EvaluationSettings(bootstrap=50)
FILE = "01_roc_delong.json"
SINGLE = [
    "asah_s100b",
    "asah_ndka",
    "asah_wfns_ordinal_ties",
    "pima_te_glu",
    "cohort69_24pos",
    "cohort69_rounded_ties",
    "tiny_n6",
    "tiny_n6_ties",
    "all_tied",
    "perfect_separation",
    "reversed_auc0",
    "reversed_below_half",
    "one_positive",
    "missing_scores",
]
PAIRED = [
    "asah_s100b_vs_ndka",
    "asah_wfns_vs_s100b",
    "pima_te_glu_vs_bmi",
    "cohort69_paired",
    "cohort69_ties_paired",
    "missing_paired",
    "identical_scores",
]
UNPAIRED = ["pima_te_odd_vs_even_glu", "asah_vs_pima_unpaired"]


of_r = partial(cases, FILE)


def evaluated(predictions, folder, *typed, lesions=None):
    """Exit code, metrics, messages and folder of the command on a file of these predictions."""
    predictions.to_csv(folder / "predictions.csv", index=False, encoding="utf-8")
    given = [f"predictions={folder / 'predictions.csv'}", f"output={folder / 'judged'}", *typed]
    if lesions is not None:
        lesions.to_csv(folder / "lesions.csv", index=False, encoding="utf-8")
        given.append(f"lesion_predictions={folder / 'lesions.csv'}")
    code = main(["evaluate", "report=false", *given])
    metrics = pd.read_csv(folder / "judged" / "metrics.csv", encoding="utf-8")
    record = json.loads((folder / "judged" / "evaluation.json").read_text(encoding="utf-8"))
    return code, metrics, record["messages"], folder / "judged"


def of_case(name, given):
    """A case's inputs as an endpoint of its name: models one and two, of the same patients or of different ones."""
    if given["kind"] == "unpaired":
        tables = [
            table(given[f"y{place}"], given[f"score{place}"], model=model, centre=model)
            for place, model in ((1, "one"), (2, "two"))
        ]
    else:
        scores = [given[key] for key in ("score", "score1", "score2") if key in given]
        tables = [
            table(given["y"], np.array(score, dtype=float), model=model)
            for model, score in zip(("one", "two"), scores, strict=False)
        ]
    return joined(*tables).assign(endpoint=name, cutoff=np.nan)


@pytest.fixture(scope="module")
def judged(shared, tmp_path_factory):
    """Every case of R in one file, each an endpoint, through the command."""
    cases = json.loads((shared / "oracles" / FILE).read_text(encoding="utf-8"))["cases"]
    predictions = joined(*(of_case(case["id"], case["inputs"]) for case in cases))
    typed = ["evaluation=binary", "evaluation.bootstrap=20"]
    return evaluated(predictions, tmp_path_factory.mktemp("oracle"), *typed)


@pytest.fixture
def name(request):
    return request.node.callspec.params["case"][1]


def rows(metrics, name, metric, method):
    return metrics[(metrics["endpoint"] == name) & (metrics["metric"] == metric) & (metrics["method"] == method)]


@of_r(*SINGLE)
def test_auc_and_its_intervals_come_out_of_the_command_as_out_of_proc(case, name, judged):
    _, metrics, _, _ = judged
    theirs = case["outputs"]

    for method, interval in {"delong": "ci95_delong_raw", "delong_logit": "ci95_logit"}.items():
        ours = rows(metrics, name, "auc", method)
        close(
            ours[["estimate", "lower", "upper", "p_value", "n", "n_event"]].to_numpy(),
            [
                [
                    theirs["auc"],
                    *theirs[interval],
                    theirs["p_vs_half"],
                    theirs["n_pos"] + theirs["n_neg"],
                    theirs["n_pos"],
                ]
            ],
        )
    drawn = rows(metrics, name, "auc", "bootstrap")
    close(drawn["estimate"], [theirs["auc"]])
    assert drawn[["lower", "upper"]].notna().all(axis=None)


@of_r(*SINGLE)
def test_points_of_the_roc_curve_come_out_of_the_command_as_out_of_proc(case, name, judged):
    folder = judged[3]
    theirs = case["outputs"]

    roc = pd.read_csv(folder / "figures" / "roc.csv", encoding="utf-8")

    roc = roc[roc["endpoint"] == name][::-1]
    close(roc["threshold"], theirs["roc_thresholds"])
    close(roc["tpr"], theirs["roc_sensitivity"])
    close(1 - roc["fpr"], theirs["roc_specificity"])


@of_r(*PAIRED)
def test_paired_differences_come_out_of_the_command_as_out_of_proc(case, name, judged):
    _, metrics, _, _ = judged
    theirs = case["outputs"]
    difference = theirs["estimate"][0] - theirs["estimate"][1]

    ours = rows(metrics, name, "auc_difference", "delong_paired")

    assert ours[["model", "versus"]].to_numpy().tolist() == [["one", "two"]]
    close(
        ours[["estimate", "lower", "upper", "p_value", "n"]].to_numpy(),
        [[difference, *theirs["conf_int_diff"], theirs["p_value"], theirs["n_used"]]],
    )
    drawn = rows(metrics, name, "auc_difference", "bootstrap")
    close(drawn["estimate"], [difference])


@of_r(*UNPAIRED)
def test_unpaired_differences_come_out_of_the_command_as_out_of_proc(case, name, judged):
    _, metrics, _, _ = judged
    theirs, given = case["outputs"], case["inputs"]
    difference = theirs["estimate"][0] - theirs["estimate"][1]

    ours = rows(metrics, name, "auc_difference", "delong_unpaired")

    # pROC gives no interval: it follows from its statistic and its degrees of freedom
    reach = t.ppf(0.975, theirs["parameter"]) * difference / theirs["statistic"]
    close(
        ours[["estimate", "lower", "upper", "p_value", "n", "n_event"]].to_numpy(),
        [
            [
                *(difference, difference - reach, difference + reach, theirs["p_value"]),
                *(len(given["y1"] + given["y2"]), sum(given["y1"] + given["y2"])),
            ]
        ],
    )


@of_r("single_class")
def test_one_class_exits_with_1_and_one_message_and_leaves_the_rest_alone(case, judged):
    code, metrics, messages, _ = judged
    assert "error" in case["outputs"]

    failed = [message for message in messages if message["severity"] == "failed"]

    assert code == 1
    assert [(one["endpoint"], one["model"], one["message"]) for one in failed] == [
        ("single_class", "one", "event: both classes are needed: 4 of 4 had the event")
    ]
    assert "auc" not in set(metrics.loc[metrics["endpoint"] == "single_class", "metric"])


@of_r("missing_scores")
def test_patients_without_a_score_are_left_out_and_counted(case, judged):
    told_of_it = [message["message"] for message in judged[2] if message["endpoint"] == "missing_scores"]

    assert "3 of 113 patients have no known score and are left out" in told_of_it


@of_r("bootstrap_ci_montecarlo")
def test_bootstrap_interval_comes_out_of_the_command_within_the_tolerance_of_proc(case, tmp_path):
    given, theirs = case["inputs"], case["outputs"]["stratified_percentile"]

    _, metrics, _, _ = evaluated(
        of_case("response", given), tmp_path, f"evaluation.bootstrap={given['boot_n']}", "evaluation.seed=1"
    )

    ours = rows(metrics, "response", "auc", "bootstrap")
    close(ours[["lower", "estimate", "upper"]].to_numpy(), [theirs], rtol=0, atol=given["abs_tolerance"])


def test_average_precision_and_its_curve_equal_scikit_learn():
    patients = cohort(0, centre=["A", "B"] * 30)
    patients["score"] = patients["score"].round(1)

    found = assess(patients, QUICK)

    ours = row_of(found, "average_precision", centre="", method="bootstrap")
    assert ours["estimate"] == pytest.approx(average_precision_score(patients["event"], patients["score"]))
    assert ours["lower"] < ours["estimate"] < ours["upper"]
    of_centre = row_of(found, "average_precision", centre="A")
    here = patients[patients["centre"] == "A"]
    assert of_centre["estimate"] == pytest.approx(average_precision_score(here["event"], here["score"]))
    assert np.isnan(of_centre["lower"])
    precision, recall, _ = precision_recall_curve(patients["event"], patients["score"], drop_intermediate=False)
    points = found.curves["precision_recall"]
    points = points[points["centre"] == ""][::-1]
    np.testing.assert_allclose(points[["precision", "recall"]].to_numpy(), np.column_stack([precision, recall]))


def test_average_precision_of_folds_is_the_mean_of_theirs():
    folds = cohort(1, partition="out_of_fold", fold=["1", "2", "3"] * 20)

    found = assess(folds, QUICK)

    means = [average_precision_score(of_fold["event"], of_fold["score"]) for _, of_fold in folds.groupby("fold")]
    ours = row_of(found, "average_precision")
    assert ours["estimate"] == pytest.approx(np.mean(means))
    assert ours["lower"] < ours["estimate"] < ours["upper"]
    assert set(found.curves["precision_recall"]["fold"]) == {"1", "2", "3", "mean"}


def test_only_the_whole_partition_of_a_frozen_model_has_a_bootstrapped_auc():
    found = assess(cohort(0, centre=["A", "B"] * 30), QUICK)

    assert rows_of(found, "auc", method="bootstrap")["centre"].tolist() == [""]
    assert rows_of(found, "auc", centre="")["method"].tolist() == ["delong", "delong_logit", "bootstrap"]


def test_every_number_is_blind_to_a_rising_transform_of_the_score():
    one = cohort(0)

    plain, bent = (assess(given, QUICK).metrics for given in (one, one.assign(score=np.exp(one["score"]), cutoff=1.6)))

    ranked = ["auc", "average_precision"]
    pd.testing.assert_frame_equal(*(found[found["metric"].isin(ranked)] for found in (plain, bent)))


def test_frozen_models_without_a_patient_in_common_are_compared_unpaired_though_their_ids_agree():
    one, other = cohort(0, model="a", centre="A"), cohort(1, n=30, model="b", centre="B")

    found = assess(joined(one, other), QUICK)

    ours = row_of(found, "auc_difference")
    assert (ours["method"], ours["n"], ours["n_event"]) == ("delong_unpaired", 90, 30)
    aucs = [roc_auc_score(given["event"], given["score"]) for given in (one, other)]
    assert ours["estimate"] == pytest.approx(aucs[0] - aucs[1])


def test_an_unpaired_comparison_with_one_class_is_told():
    found = assess(joined(cohort(0, model="a"), table([0, 0], [1, 2], model="b", patient_id=["Q", "R"])), QUICK)

    assert rows_of(found, "auc_difference").empty
    assert "cannot be compared with b: event: both classes are needed: 0 of 2 had the event" in told(found, "info")


def in_folds(model, seed, repeats=1, n=60, **columns):
    """The same patients in the same folds, whatever the model, but for its scores."""
    tables = []
    for repeat in range(repeats):
        fold = [f"{who}" for who in np.random.default_rng(100 + repeat).permutation(n) % 4]
        rows = cohort(0, n=n, model=model, partition="out_of_fold", fold=fold, repeat=f"{repeat + 1}", **columns)
        noise = np.random.default_rng(1000 * seed + repeat).normal(size=n)
        tables.append(rows.assign(score=rows["event"] + noise + 10 * rows["fold"].astype(int)))
    return joined(*tables)


@pytest.mark.parametrize("repeats", [1, 3], ids=["4 folds", "3 times 4 folds"])
def test_models_of_folds_differ_by_a_corrected_t(repeats, tmp_path):
    one, other = in_folds("a", 1, repeats), in_folds("b", 2, repeats)

    shuffled = joined(one, other).sample(frac=1, random_state=1)
    typed = ["evaluation=binary", "evaluation.bootstrap=20", "evaluation.versus=b"]
    code, metrics, messages, _ = evaluated(shuffled, tmp_path, *typed)

    aucs = [
        [roc_auc_score(of["event"], of["score"]) for _, of in given.groupby(["repeat", "fold"])]
        for given in (one, other)
    ]
    difference = np.subtract(*aucs)
    folds = len(difference)
    # n_test / n_train is 15 / 45; the plain t statistic shrinks by sqrt(1/J) over sqrt(1/J + 1/3)
    statistic = ttest_1samp(difference, 0).statistic * np.sqrt(1 / folds / (1 / folds + 1 / 3))
    reach = t.ppf(0.975, folds - 1) * difference.mean() / statistic
    ours = metrics[metrics["metric"] == "auc_difference"]
    assert ours[["model", "versus", "method"]].to_numpy().tolist() == [["a", "b", "corrected_t"]]
    close(
        ours[["estimate", "lower", "upper", "p_value", "n"]].to_numpy(),
        [
            [
                *(difference.mean(), difference.mean() - reach, difference.mean() + reach),
                *(2 * t.sf(abs(statistic), folds - 1), 60),
            ]
        ],
    )
    assert code == 0
    assert not any("compared" in message["message"] for message in messages)


def test_c_of_models_of_folds_differs_by_a_corrected_t():
    time = np.random.default_rng(5).exponential(5, size=60) + 0.1
    one, other = (in_folds(model, seed, time=time) for model, seed in (("a", 1), ("b", 2)))

    found = assess(joined(one, other), QUICK)

    values = [
        [concordance_index(of["time"], -of["score"], of["event"]) for _, of in given.groupby("fold")]
        for given in (one, other)
    ]
    difference = np.subtract(*values)
    ours = row_of(found, "c_index_difference")
    assert ours["method"] == "corrected_t"
    assert ours["estimate"] == pytest.approx(difference.mean())
    error = np.sqrt((1 / 4 + 1 / 3) * difference.var(ddof=1))
    assert ours["upper"] == pytest.approx(difference.mean() + t.ppf(0.975, 3) * error)
    assert ours["p_value"] == pytest.approx(2 * t.sf(abs(difference.mean()) / error, 3))


def test_folds_of_one_class_stay_out_of_the_corrected_t_but_were_learned_from():
    fold = np.repeat(["1", "2", "3"], 20)
    event = np.tile([0, 1], 30) * (fold != "3")
    given = {"partition": "out_of_fold", "fold": fold}
    one, other = (
        table(event, np.random.default_rng(seed).normal(size=60), model=f"{seed}", **given) for seed in (1, 2)
    )

    found = assess(joined(one, other), QUICK)

    difference = [
        roc_auc_score(event[fold == f], one["score"][fold == f])
        - roc_auc_score(event[fold == f], other["score"][fold == f])
        for f in ("1", "2")
    ]
    ours = row_of(found, "auc_difference")
    assert (ours["estimate"], ours["n"]) == (pytest.approx(np.mean(difference)), 40)
    error = np.sqrt((1 / 2 + 20 / 40) * np.var(difference, ddof=1))
    assert ours["upper"] == pytest.approx(np.mean(difference) + t.ppf(0.975, 1) * error)


def test_fewer_than_two_folds_with_both_classes_are_told():
    given = {"partition": "out_of_fold", "fold": ["1", "1", "2", "2"]}
    both = joined(*(table([0, 1, 0, 0], [1, 2, 3, 4], model=model, **given) for model in "ab"))

    message = "cannot be compared with b: needs two folds of both models with both classes, found 1 of 2"
    assert message in told(assess(both, QUICK), "info")


def test_folds_that_all_differ_alike_are_said_to_mislead():
    given = {"partition": "out_of_fold", "fold": ["1", "1", "2", "2"]}
    both = joined(
        table([0, 1, 0, 1], [1, 2, 3, 4], model="a", **given), table([0, 1, 0, 1], [2, 1, 4, 3], model="b", **given)
    )

    found = assess(both, QUICK)

    assert row_of(found, "auc_difference")[["estimate", "lower", "upper", "p_value"]].tolist() == [1, 1, 1, 0]
    assert "every fold has the same difference from b: its interval and p-value mislead" in told(found)


def test_models_of_unlike_folds_are_not_compared():
    one, other = in_folds("a", 1), in_folds("b", 2)

    found = assess(joined(one, other.assign(fold=other["fold"].to_numpy()[::-1])), QUICK)

    assert rows_of(found, "auc_difference").empty
    assert "not compared with b: the two judge a patient in different folds; split both alike" in told(found, "info")


def test_models_of_folds_are_not_compared_on_patients_that_every_fold_judges():
    held_out = [joined(*(cohort(0, model=model, fold=fold) for fold in "12")) for model in "ab"]

    found = assess(joined(*held_out), QUICK)

    assert "not compared with b: models of folds are compared on the patients out of their fold" in told(found)


def test_a_frozen_model_is_not_compared_with_models_of_folds():
    found = assess(joined(cohort(0, model="a"), cohort(0, model="b", fold=["1", "2"] * 30)), QUICK)

    assert "not compared with b: one is a frozen model, the other is of folds" in told(found)


@pytest.mark.parametrize("method", ["harrell", "uno"])
def test_differences_of_c_have_the_error_of_patients_left_out_in_turn(method, tmp_path):
    # Without censoring both C are Harrell's; the jackknife is the definition of the error, up to terms of order 1/n.
    rng = np.random.default_rng(6)
    time, scores = rng.exponential(size=150) + 0.1, rng.normal(size=(2, 150))
    scores[0] -= np.log(time)
    both = joined(
        *(
            table(np.ones(150), score, model=model, endpoint="os", time=time, time_unit="months", cutoff=np.nan)
            for model, score in zip("ab", scores, strict=True)
        )
    )

    _, metrics, _, _ = evaluated(both, tmp_path, "evaluation=survival", "evaluation.bootstrap=20")

    def difference(rows):
        return np.subtract(*(concordance_index(time[rows], -score[rows]) for score in scores))

    everyone = np.arange(150)
    left_out = [difference(everyone[everyone != who]) for who in everyone]
    error = np.sqrt(149 / 150 * np.sum((left_out - np.mean(left_out)) ** 2))
    ours = rows(metrics, "os", "c_index_difference", method).iloc[0]
    assert (ours["model"], ours["versus"], ours["n"]) == ("a", "b", 150)
    assert ours["estimate"] == pytest.approx(difference(everyone))
    assert (ours["upper"] - ours["lower"]) / (2 * 1.959964) == pytest.approx(error, rel=0.02)
    assert 0 < ours["p_value"] < 1e-3


def test_survival_models_without_a_patient_in_common_are_not_compared():
    time = np.arange(1.0, 61)
    strangers = joined(cohort(0, model="a", time=time, centre="A"), cohort(0, model="b", time=time, centre="B"))

    assert "not compared with b: the two judge no patient in common" in told(assess(strangers, QUICK), "info")


def test_models_that_disagree_on_follow_up_are_not_compared():
    time = np.arange(1.0, 61)
    both = joined(cohort(0, model="a", time=time), cohort(0, model="b", time=time + 1))

    message = "cannot be compared with b: the two disagree on how long patients were followed"
    assert message in told(assess(both, QUICK), "failed")


def test_frozen_models_are_reclassified_on_the_patients_they_share():
    probability = np.linspace(0.05, 0.95, 60)
    one = cohort(0, model="a", probability=probability)
    other = cohort(0, model="b", probability=probability[::-1]).iloc[10:]

    found = assess(joined(one, other), QUICK)

    assert row_of(found, "idi")["n"] == 50
    assert (row_of(found, "idi")["model"], row_of(found, "idi")["versus"]) == ("a", "b")


def lesion_table(patient, event, score, **columns):
    base = {
        "endpoint": "response",
        "model": "radiomics",
        "partition": "held_out",
        "patient_id": [f"P{who:02d}" for who in patient],
        "lesion_id": [f"L{place}" for place in range(len(patient))],
        "event": np.asarray(event, dtype=float),
        "score": np.asarray(score, dtype=float),
    }
    empty = dict.fromkeys(("fold", "repeat", "centre", "site"), "") | dict.fromkeys(
        ("time", "weight", "cutoff"), np.nan
    )
    return pd.DataFrame(empty | base | columns)[list(LESION_PREDICTION_COLUMNS)]


def metastatic(seed, patients=40):
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, 6, size=patients))
    event = (patient % 3 == 0).astype(float)
    return patient, event, event + rng.normal(size=patient.size) + 1.5 * rng.normal(size=patients)[patient]


def judged_lesions(lesions, settings=QUICK):
    return assess(cohort(0), settings, lesions)


def test_lesions_are_judged_with_an_interval_of_their_patients(tmp_path):
    patient, event, score = metastatic(1)

    code, metrics, _, _ = evaluated(
        cohort(0),
        tmp_path,
        "evaluation.bootstrap=4000",
        "evaluation.level=0.9",
        lesions=lesion_table(patient, event, score),
    )

    assert code == 0
    ours = metrics[metrics["level"] == "lesion"]
    assert ours[["metric", "method"]].to_numpy().tolist() == [["auc", "bootstrap_cluster"]]
    assert ours[["n", "n_event"]].to_numpy().tolist() == [[len(patient), event.sum()]]
    assert ours["estimate"].item() == pytest.approx(roc_auc_score(event, score))
    # The definition written slowly: draw patients within their outcome, and take all lesions of each.
    rng = np.random.default_rng(2)
    strata = [np.unique(patient[event == e]) for e in (0, 1)]
    drawn = []
    for _ in range(1500):
        members = np.concatenate([rng.choice(names, names.size) for names in strata])
        rows = np.concatenate([np.flatnonzero(patient == who) for who in members])
        e, s = event[rows] == 1, score[rows]
        drawn.append((s[e][:, None] > s[~e]).mean() + (s[e][:, None] == s[~e]).mean() / 2)
    # 1,500 draws put the 5 % quantile within about 0.02 (three standard errors)
    close(ours[["lower", "upper"]].to_numpy(), [np.quantile(drawn, [0.05, 0.95])], rtol=0, atol=0.02)


def test_lesions_of_folds_are_averaged_within_folds():
    patient, event, score = metastatic(3)
    fold = patient % 2
    lesions = lesion_table(patient, event, score + 10 * fold, partition="out_of_fold", fold=fold.astype(str))

    ours = row_of(judged_lesions(lesions), "auc", level="lesion")

    assert ours["estimate"] == pytest.approx(
        np.mean([roc_auc_score(event[fold == f], score[fold == f]) for f in (0, 1)])
    )
    assert (ours["method"], ours["n"]) == ("bootstrap_cluster", len(patient))


def test_a_lesion_of_several_repeats_counts_once():
    patient, event, score = metastatic(3)
    given = {"partition": "out_of_fold", "fold": (patient % 2).astype(str)}
    repeats = [lesion_table(patient, event, score * sign, repeat=f"{sign}", **given) for sign in (1, -1)]

    ours = row_of(judged_lesions(joined(*repeats)), "auc", level="lesion")

    assert ours["estimate"] == pytest.approx(0.5)
    assert (ours["n"], ours["n_event"]) == (len(patient), event.sum())


def test_lesions_of_one_class_fail_by_name():
    found = judged_lesions(lesion_table([1, 1, 2], [0, 0, 0], [1, 2, 3]))

    assert told(found, "failed") == ["lesions: event: both classes are needed: 0 of 3 had the event"]


def test_lesions_without_an_outcome_or_a_score_are_left_out_and_counted():
    found = judged_lesions(lesion_table([1, 1, 2, 3], [1, 1, 0, np.nan], [1, np.nan, 0, 5]))

    assert row_of(found, "auc", level="lesion")[["estimate", "n"]].tolist() == [1, 2]
    assert {
        "lesions: 1 of 4 have no known outcome and are left out",
        "lesions: 1 of 3 have no known score and are left out",
    } <= set(told(found, "info"))


def test_lesions_without_any_outcome_fail():
    found = judged_lesions(lesion_table([1, 2], [np.nan, np.nan], [1, 2]))

    assert told(found, "failed") == ["lesions: no lesion has a known outcome and a score"]


def test_lesions_of_a_frozen_model_are_judged_before_those_of_folds():
    frozen = lesion_table([1, 2, 3], [1, 0, 0], [3, 2, 1])
    of_fold = lesion_table([1, 2, 3], [1, 0, 0], [1, 2, 3], fold="1")

    found = judged_lesions(joined(frozen, of_fold))

    assert row_of(found, "auc", level="lesion")["estimate"] == 1
    assert "lesions: 3 rows of fold models are left aside: a frozen model is there to be judged" in told(found)


@pytest.mark.parametrize("kind", [None, "binary"])
def test_lesions_of_an_endpoint_with_follow_up_are_judged_as_binary_only(kind):
    patient, event, score = metastatic(4)
    lesions = lesion_table(patient, event, score, time=5.0)

    found = judged_lesions(lesions, EvaluationSettings(kind=kind, bootstrap=20))

    assert len(rows_of(found, "auc", level="lesion")) == (kind == "binary")
    message = "lesions: not judged: survival is the patient's; evaluation=binary ignores follow-up"
    assert (message in told(found, "info")) == (kind is None)


def test_a_clinical_model_has_no_lesions_and_nothing_is_said_of_it():
    found = judged_lesions(lesion_table([], [], []))

    assert rows_of(found, "auc", level="lesion").empty
    assert not any("lesions" in message for message in told(found))
