"""From a file of predictions to auc_time, brier_time and ibs in metrics.csv."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, roc_auc_score

from assessing import joined, row_of, rows_of, table, told
from oracle import close
from radnet.cli import main
from radnet.evaluation.assess import assess
from radnet.evaluation.assessment.settings import EvaluationSettings
from radnet.evaluation.survival.brier import integrated_brier
from survival_oracle import MARKERS, arrays, of_r

Z = norm.ppf(0.975)


def evaluated(predictions, folder, *typed):
    """Exit code, metrics and messages of the command on a file of these predictions."""
    predictions.to_csv(folder / "predictions.csv", index=False, encoding="utf-8")
    given = [f"predictions={folder / 'predictions.csv'}", f"output={folder / 'judged'}", "evaluation=survival"]
    code = main(["evaluate", "report=false", *given, "evaluation.bootstrap=20", *typed])
    record = json.loads((folder / "judged" / "evaluation.json").read_text(encoding="utf-8"))
    metrics = pd.read_csv(folder / "judged" / "metrics.csv", encoding="utf-8")
    return code, metrics, [message["message"] for message in record["messages"]]


def followed(time, event, score, **columns):
    columns = {"endpoint": "os", "time": np.asarray(time, dtype=float), "time_unit": "days", "cutoff": np.nan} | columns
    return table(event, score, **columns)


def row(metrics, metric, **where):
    return metrics.loc[(metrics["metric"] == metric) & (metrics[list(where)] == pd.Series(where)).all(axis=1)].squeeze()


def as_list(values):
    return "[" + ",".join(f"{value:g}" for value in values) + "]"


@of_r(*MARKERS)
def test_auc_at_a_horizon_comes_out_of_the_command_as_out_of_timeroc_and_survivalroc(case, tmp_path):
    time, event, marker = arrays(case, "time", "event", "marker")
    of_timeroc, of_survivalroc = case["outputs"]["timeROC_ipcw"], case["outputs"]["survivalROC"]["by_time"]

    code, metrics, _ = evaluated(
        followed(time, event, marker), tmp_path, f"evaluation.horizons={as_list(case['inputs']['times'])}"
    )

    assert code == 0
    for horizon in case["inputs"]["times"]:
        place = of_timeroc["times"].index(horizon)
        auc, error = of_timeroc["AUC"][place], of_timeroc["se"][place]
        ours = row(metrics, "auc_time", method="ipcw", at=horizon, horizon=horizon)
        close(
            [ours["estimate"], ours["lower"], ours["upper"]], [auc, *np.clip([auc - Z * error, auc + Z * error], 0, 1)]
        )
        close(ours["p_value"], 2 * norm.sf(abs(auc - 0.5) / error))
        assert (ours["n"], ours["n_event"]) == (len(time), sum(event))
    for theirs in of_survivalroc:
        at = {"at": theirs["time"], "horizon": theirs["time"]}
        close(row(metrics, "auc_time", method="nne", **at)["estimate"], theirs["NNE_span_0.25n_pow_minus0.2"]["AUC"])
        close(row(metrics, "auc_time", method="km", **at)["estimate"], theirs["KM"]["AUC"])
    assert len(metrics[metrics["metric"] == "auc_time"]) == 3 * len(case["inputs"]["times"])


def of_cox(case):
    """R's Cox risks at two horizons, with a score that ranks patients the wrong way."""
    given = case["inputs"]
    risks = np.array(given["risk"]["rows"])
    named = {f"probability_{horizon:g}": risks[:, place] for place, horizon in enumerate(given["times"])}
    return followed(given["time"], given["event"], -risks[:, 0]).assign(**named)


@of_r("brier_auc_lung")
def test_brier_score_at_a_horizon_comes_out_of_the_command_as_out_of_riskregression(case, tmp_path):
    theirs = pd.DataFrame(case["outputs"]["Brier"])
    theirs = theirs[theirs["model"] == "m"].set_index("times")

    code, metrics, _ = evaluated(of_cox(case), tmp_path)

    assert code == 0
    for horizon in case["inputs"]["times"]:
        ours = row(metrics, "brier_time", method="ipcw", at=horizon, horizon=horizon)
        close(
            ours[["estimate", "lower", "upper"]].astype(float),
            theirs.loc[horizon, ["Brier", "lower", "upper"]].astype(float),
        )
    # the trapezoid over two times is their mean
    ibs = row(metrics, "ibs")
    close(ibs["estimate"], theirs["Brier"].mean())
    assert ibs[["at", "horizon", "method"]].tolist() == [365, 365, "ipcw"]


@of_r("brier_auc_lung")
def test_auc_is_that_of_the_probabilities_of_its_own_horizon(case, tmp_path):
    given, theirs = case["inputs"], case["outputs"]["AUC"]
    happened, time = np.array(given["event"]), np.array(given["time"])

    _, metrics, _ = evaluated(of_cox(case), tmp_path)

    for place, horizon in enumerate(given["times"]):
        ours = row(metrics, "auc_time", method="ipcw", horizon=horizon)
        if happened[time == horizon].any():  # a case for riskRegression, left out by timeROC
            assert ours["estimate"] == pytest.approx(theirs["AUC"][place], abs=0.02)
        else:
            close(ours["estimate"], theirs["AUC"][place])
            # standard errors of the two differ in the fifth digit where follow-up times tie
            close([ours["lower"], ours["upper"]], [theirs["lower"][place], theirs["upper"][place]], rtol=1e-5)


def simulated(seed, size=120):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=size)
    life, stay = rng.exponential(5 * np.exp(-score)), rng.exponential(8, size=size)
    return np.minimum(life, stay), (life <= stay).astype(float), score


def at(*horizons, **settings):
    return EvaluationSettings(kind="survival", horizons=horizons, **({"bootstrap": 20} | settings))


def test_auc_at_a_horizon_knows_ranks_only():
    time, event, score = simulated(1)

    one, other = (assess(followed(time, event, marker), at(3.0)) for marker in (score, np.exp(3 * score)))

    for method in ("ipcw", "km"):  # nne looks at distances between scores
        columns = ["estimate", "lower", "upper", "p_value"]
        close(*(row_of(found, "auc_time", method=method)[columns].astype(float) for found in (one, other)))


def test_patients_who_all_had_the_event_are_judged_as_a_binary_outcome_would_be():
    time, _, score = simulated(2)
    chance = 1 / (1 + np.exp(-score))

    found = assess(followed(time, np.ones(120), score, probability=chance), at(3.0))

    assert row_of(found, "auc_time", method="ipcw")["estimate"] == pytest.approx(roc_auc_score(time < 3, score))
    assert row_of(found, "auc_time", method="km")["estimate"] == pytest.approx(roc_auc_score(time < 3, score))
    assert row_of(found, "brier_time")["estimate"] == pytest.approx(brier_score_loss(time < 3, chance))


def test_a_probability_without_a_horizon_of_its_own_serves_no_two_horizons():
    time, event, score = simulated(3)

    found = assess(followed(time, event, score, probability=0.5), at(2.0, 4.0))

    assert sorted(rows_of(found, "auc_time", method="ipcw")["horizon"]) == [2, 4]
    assert rows_of(found, "brier_time").empty
    assert rows_of(found, "ibs").empty


OF_PROBABILITIES = ["brier_time", "ibs", "net_benefit"]


@pytest.mark.parametrize(
    ("asked", "judged"), [("[6]", []), ("[5,6]", [5]), ("[6,8]", [])], ids=["another", "one more", "two others"]
)
@pytest.mark.parametrize("centres", [["A"], ["A", "B"]], ids=["one centre", "two centres"])
def test_a_horizon_that_no_probability_is_by_is_told_once(asked, judged, centres, tmp_path):
    time, event, score = simulated(7)
    predictions = followed(time, event, score, centre=centres * (120 // len(centres)))
    predictions = predictions.assign(probability_5=1 / (1 + np.exp(-score)), probability_7=np.nan)

    code, metrics, messages = evaluated(predictions, tmp_path, f"evaluation.horizons={asked}")

    assert code == 0
    assert sorted(set(metrics.loc[metrics["metric"].isin(OF_PROBABILITIES), "horizon"])) == judged
    for horizon in {6, 8} & set(json.loads(asked)):
        left_out = f"brier_time, calibration and net benefit by {horizon} are left out"
        assert messages.count(f"no probability is by {horizon} (probability_5 only): {left_out}") == 1
    assert sum("no probability is by" in message for message in messages) == len({6, 8} & set(json.loads(asked)))


def test_a_probability_that_is_taken_to_be_by_the_one_horizon_beside_another_is_told(tmp_path):
    time, event, score = simulated(7)
    chance = 1 / (1 + np.exp(-score))
    both = followed(time, event, score, probability=chance).assign(probability_5=0.5)
    words = tmp_path, "evaluation.horizons=[6]"

    _, metrics, messages = evaluated(both, *words)
    _, named, told_of_named = evaluated(both.rename(columns={"probability": "probability_6"}), *words)

    taken = "no probability is by 6 (probability_5 only): the column probability is taken to be by 6"
    assert messages.count(taken) == 1
    columns = ["metric", "at", "horizon", "estimate", "lower", "upper"]
    shown = [of.loc[of["metric"].isin(OF_PROBABILITIES), columns] for of in (metrics, named)]
    pd.testing.assert_frame_equal(*(rows.reset_index(drop=True) for rows in shown))
    assert not any("no probability is by" in message for message in told_of_named)


def test_without_any_probability_nothing_is_said_of_them(tmp_path):
    _, _, messages = evaluated(followed(*simulated(7)), tmp_path, "evaluation.horizons=[5,6]")

    assert not any("probability" in message for message in messages)


def test_a_horizon_beyond_follow_up_is_judged_earlier_and_told(tmp_path):
    time, event, score = [1, 2, 3, 4, 5, 6], [1, 0, 1, 1, 0, 0], [6, 4, 5, 1, 2, 3]
    predictions = followed(time, event, score).assign(probability_2=0.2, probability_60=0.5)

    code, metrics, messages = evaluated(predictions, tmp_path)

    assert code == 0
    late = metrics[(metrics["horizon"] == 60) & metrics["metric"].isin(["auc_time", "brier_time"])]
    assert sorted(late["method"] + late["metric"]) == ["ipcwauc_time", "ipcwbrier_time", "kmauc_time", "nneauc_time"]
    assert set(late["at"]) == {5}
    note = "nobody is followed beyond 60: judged at 5, the last time beyond which somebody is"
    assert messages.count(note) == 1
    assert any(message.startswith("ibs: 1 of 2 horizons lie within follow-up") for message in messages)


def test_a_horizon_before_every_event_is_told_and_the_brier_score_stands():
    found = assess(followed([1, 2, 3, 4], [0, 1, 1, 0], [1, 2, 3, 4], probability=0.25), at(1.5))

    assert rows_of(found, "auc_time").empty
    assert row_of(found, "brier_time")["estimate"] == pytest.approx(0.25**2)
    assert "an AUC at 1.5 needs a patient with the event by then, but there is none" in told(found, "info")


def test_an_event_at_the_very_horizon_is_a_case_for_km_and_nne_only():
    found = assess(followed([1, 2, 3, 4], [0, 1, 1, 0], [1, 2, 3, 4]), at(2.0))

    assert sorted(rows_of(found, "auc_time")["method"]) == ["km", "nne"]
    before = "auc_time by ipcw: an AUC at 2 needs a patient with the event before then, but there is none"
    assert before in told(found, "info")


def test_follow_up_that_ends_for_all_at_once_is_told():
    found = assess(followed([2, 2, 2], [1, 0, 1], [1, 2, 3], probability=0.5), at(3.0))

    assert rows_of(found, "auc_time").empty
    assert "auc_time at 3: nobody is followed beyond the horizon 3: every follow-up ends at 2" in told(found, "info")


def test_probabilities_outside_0_and_1_fail_by_the_name_of_their_column(tmp_path):
    time, event, score = simulated(4)
    predictions = followed(time, event, score).assign(probability_3=np.where(score > 1, 1.2, 0.4), probability_4=0.5)

    code, metrics, messages = evaluated(predictions, tmp_path)

    assert code == 1
    assert any(message.startswith("probability_3 must lie within 0 and 1, got 1.2") for message in messages)
    assert set(metrics.loc[metrics["metric"] == "brier_time", "horizon"]) == {4}
    assert set(metrics.loc[metrics["metric"] == "auc_time", "horizon"]) == {3, 4}


def test_a_model_without_the_other_models_column_is_ranked_by_its_score():
    time, event, score = simulated(5)
    one = followed(time, event, -score, model="a").assign(probability_3=1 / (1 + np.exp(-score)))
    other = followed(time, event, score, model="b").assign(probability_3=np.nan)

    found = assess(joined(one, other), at(3.0))

    estimates = [row_of(found, "auc_time", method="ipcw", model=model)["estimate"] for model in ("a", "b")]
    assert estimates[0] == pytest.approx(estimates[1])
    assert set(rows_of(found, "brier_time")["model"]) == {"a"}


def test_a_centre_has_its_ipcw_auc_only():
    time, event, score = simulated(6)

    found = assess(followed(time, event, score, centre=["A", "B"] * 60), at(3.0))

    for centre, methods in {"": ["ipcw", "km", "nne"], "A": ["ipcw"], "B": ["ipcw"]}.items():
        assert sorted(rows_of(found, "auc_time", centre=centre)["method"]) == methods


@of_r("marker_lung_age")
def test_folds_are_averaged_and_their_scores_never_ranked_together(case):
    """Two folds of the same patients under other names, on other scales, have the AUC of one."""
    time, event, marker = arrays(case, "time", "event", "marker")
    folds = {"1": marker, "2": 1000 + 10 * marker}
    predictions = joined(
        *(
            followed(
                time,
                event,
                scores,
                partition="out_of_fold",
                fold=fold,
                patient_id=[f"{fold}-{who}" for who in range(len(time))],
            )
            for fold, scores in folds.items()
        )
    )
    theirs = case["outputs"]["timeROC_ipcw"]

    found = assess(predictions, at(*case["inputs"]["times"], bootstrap=2000))

    for horizon, auc, error in zip(theirs["times"], theirs["AUC"], theirs["se"], strict=True):
        ours = row_of(found, "auc_time", horizon=horizon)
        close(ours["estimate"], auc)
        # the mean of two has half the variance; 2000 resamples tell a percentile to a twentieth of the width
        width = 2 * Z * error / np.sqrt(2)
        np.testing.assert_allclose(
            [ours["lower"], ours["upper"]], [auc - width / 2, auc + width / 2], atol=0.05 * width
        )
        assert ours["method"] == "ipcw"
    assert (
        told(found).count("auc_time is the mean of the folds' AUCs by ipcw: nne and km are left to frozen models") == 1
    )


def test_a_fold_without_a_patient_on_either_side_of_the_horizon_is_skipped_and_told():
    time, event = [1, 5, 2, 6, 7, 8], [1, 0, 1, 0, 0, 0]
    predictions = followed(
        time, event, [2, 1, 1, 2, 1, 2], partition="out_of_fold", fold=["1", "1", "2", "2", "3", "3"]
    )

    found = assess(predictions, at(4.0))

    assert row_of(found, "auc_time")[["estimate", "n"]].tolist() == [0.5, 4]
    skipped = "at 4 1 of 3 folds have nobody with the event before, or nobody followed beyond, and are skipped: 3"
    assert skipped in told(found)


@of_r("brier_auc_lung")
def test_repeated_folds_have_the_brier_score_of_the_patients_mean_probability(case):
    given = case["inputs"]
    risks = np.array(given["risk"]["rows"])
    away = np.minimum(risks, 1 - risks) / 2
    repeats = joined(
        *(
            followed(
                given["time"], given["event"], risks[:, 0], partition="out_of_fold", fold="1", repeat=repeat
            ).assign(probability_180=moved[:, 0], probability_365=moved[:, 1])
            for repeat, moved in {"1": risks + away, "2": risks - away}.items()
        )
    )
    theirs = pd.DataFrame(case["outputs"]["Brier"])
    theirs = theirs[theirs["model"] == "m"].set_index("times")

    found = assess(repeats, EvaluationSettings(kind="survival", bootstrap=20))

    for horizon in given["times"]:
        ours = row_of(found, "brier_time", horizon=horizon)
        close(ours["estimate"], theirs.loc[horizon, "Brier"])
        assert ours["n"] == len(risks)
    close(row_of(found, "ibs")["estimate"], theirs["Brier"].mean())
    pooled = "brier_time and ibs are of the patients' mean probabilities, those of all folds together"
    assert told(found).count(pooled) == 1


def test_interval_of_the_integrated_score_is_as_wide_as_its_spread_over_cohorts():
    horizons = np.array([1.0, 2.0, 4.0])

    def drawn(seed):
        time, event, score = simulated(seed)
        return integrated_brier(time, event, 1 - np.exp(-horizons * np.exp(score)[:, None] / 5), horizons)

    scores = [drawn(seed) for seed in range(300)]

    spread = np.std([score.value for score in scores], ddof=1)
    widths = [score.interval(0.95).upper - score.interval(0.95).lower for score in scores]
    # 300 cohorts tell a standard deviation to 4 %
    assert np.mean(widths) == pytest.approx(2 * Z * spread, rel=0.12)
