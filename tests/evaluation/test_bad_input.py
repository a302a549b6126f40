"""Bad input through the command line: one clear message, and the healthy model beside it judged all the same.

The healthy model has ten patients without the event, scored 0 to 9, and ten with it, scored 4.5 to 13.5: an AUC of
(5 + 6 + 7 + 8 + 9 + 50) / 100, a sensitivity and a specificity of 7 / 10 at its cut-off of 7.
"""

import json

import numpy as np
import pandas as pd
import pytest

from assessing import joined, table
from radnet.cli import main

AUC = 0.85
EVENT = [0] * 10 + [1] * 10
SCORE = [*np.arange(10.0), *np.arange(4.5, 14)]


def healthy(**columns):
    return table(EVENT, SCORE, model="good", cutoff=7.0).assign(**columns)


def bad(**columns):
    return healthy(model="bad").assign(**columns)


def follow(rows):
    """Give patients a time to the event that falls as the score rises, so that all pairs that can be told agree."""
    return rows.assign(time=20 - rows["score"], time_unit="months")


@pytest.fixture
def judged(tmp_path, capsys):
    """Judge tables, each a file, as a user does."""

    def judge(*tables, words=(), lesions=None):
        files = [tmp_path / f"{place}.csv" for place in range(len(tables))]
        for file, rows in zip(files, tables, strict=True):
            rows.to_csv(file, index=False)
        words = [f"predictions=[{','.join(map(str, files))}]", "evaluation.bootstrap=20", *words]
        if lesions is not None:
            lesions.to_csv(tmp_path / "lesions.csv", index=False)
            words.append(f"lesion_predictions={tmp_path / 'lesions.csv'}")
        status = main(["evaluate", f"output={tmp_path / 'out'}", *words])
        return Judged(status, tmp_path / "out", capsys.readouterr())

    return judge


class Judged:
    def __init__(self, status, folder, printed):
        self.status, self.printed = status, printed
        self.metrics = pd.read_csv(folder / "metrics.csv", keep_default_na=False, na_values={"estimate": [""]})
        self.messages = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["messages"]
        self.report = (folder / "report.html").read_text(encoding="utf-8")

    def estimate(self, metric, model="good", **where):
        where = {"endpoint": "response", "centre": "", "subgroup": ""} | where | {"metric": metric, "model": model}
        rows = self.metrics[(self.metrics[list(where)] == pd.Series(where)).all(axis=1)]
        return sorted(set(rows["estimate"].dropna().round(12)))

    def told(self, severity, model="bad"):
        return [one["message"] for one in self.messages if (one["severity"], one["model"]) == (severity, model)]


def test_the_healthy_model_alone_ends_well(judged):
    done = judged(healthy())

    assert done.status == 0
    assert_the_good_one_is_judged(done)


def assert_the_good_one_is_judged(done):
    assert done.estimate("auc") == [pytest.approx(AUC)]
    assert done.estimate("sensitivity") == done.estimate("specificity") == [pytest.approx(0.7)]
    assert "response · good · held_out: AUC 0.850" in done.printed.out
    assert done.told("failed", "good") == []


def assert_one_failure(done, message, model="bad", endpoint="response"):
    """One message: in evaluation.json, on stderr with its place, and in the report; the exit status is 1."""
    assert done.status == 1
    (told,) = [one for one in done.messages if one["severity"] == "failed"]
    assert (told["endpoint"], told["model"]) == (endpoint, model)
    assert message in told["message"]
    (line,) = [line for line in done.printed.err.splitlines() if line.startswith("error: ")]
    place = " · ".join(told[name] for name in ("endpoint", "model", "partition") if told[name])
    assert line == f"error: {place}: {told['message']}"
    assert "1 result could not be computed" in done.report
    assert done.report.count(f"{message}") >= 1


def test_one_class(judged):
    done = judged(joined(bad().iloc[:10], healthy()))

    assert_one_failure(done, "event: both classes are needed: 0 of 10 had the event")
    assert_the_good_one_is_judged(done)
    assert done.estimate("auc", "bad") == []
    assert done.estimate("specificity", "bad") == [pytest.approx(0.7)]


def test_all_ties(judged):
    done = judged(joined(bad(score=1.0), healthy()))

    assert done.status == 0
    assert done.estimate("auc", "bad") == [0.5]
    assert "score is 1 for all 20 patients: it orders none" in done.told("info")
    assert "note: response · bad · held_out: score is 1 for all 20 patients" in done.printed.err
    assert_the_good_one_is_judged(done)


def test_empty_scores_leave_the_patients_out_who_have_none(judged):
    score = np.where(np.arange(20) % 2 == 0, SCORE, np.nan)  # 0, 2, … 8 against 4.5, 6.5, … 12.5

    done = judged(joined(bad(score=score), healthy()))

    assert done.status == 0
    assert "10 of 20 patients have no known score and are left out" in done.told("info")
    assert done.estimate("auc", "bad") == [pytest.approx((3 + 4 + 5 + 5 + 5) / 25)]
    assert_the_good_one_is_judged(done)


def test_no_score_at_all(judged):
    done = judged(joined(bad(score=np.nan), healthy()))

    assert_one_failure(done, "no patient has a known outcome and a score")
    assert_the_good_one_is_judged(done)


@pytest.mark.parametrize("centre", ["A", ["A", "B"] * 10], ids=["one centre", "two centres"])
def test_probabilities_outside_0_and_1(judged, centre):
    probability = np.linspace(0.1, 0.9, 20)
    wrong = np.where(np.arange(20) == 3, 1.3, probability)

    done = judged(
        joined(bad(probability=wrong, centre=centre), healthy(probability=probability, centre=centre)),
        words=["evaluation.nri_cuts=[0.5]"],
    )

    assert_one_failure(done, "probability must lie within 0 and 1, got 1.3 (1 patients, such as P0003)")
    assert [one for one in done.told("info") if "must lie within" in one] == []
    assert done.estimate("auc", "bad") == [pytest.approx(AUC)]
    assert done.estimate("brier", "bad") == []
    assert done.estimate("brier") == [pytest.approx(np.mean((probability - EVENT) ** 2))]
    assert_the_good_one_is_judged(done)


def test_probabilities_by_a_time_outside_0_and_1(judged):
    probability = np.linspace(0.1, 0.9, 20)
    one, other = (follow(rows).assign(probability_5=probability) for rows in (bad(), healthy()))
    one.loc[3, "probability_5"] = -0.5

    done = judged(joined(one, other))

    assert_one_failure(done, "probability_5 must lie within 0 and 1, got -0.5 (1 patients, such as P0003)")
    assert 1.0 in done.estimate("c_index", "bad")
    assert 1.0 in done.estimate("c_index")


def test_six_patients(judged):
    # event at scores 9, 8 and 3, none at 5, 2 and 1: 8 of 9 pairs in order
    few = table([1, 0, 1, 0, 1, 0], [9, 5, 8, 2, 3, 1], model="bad", probability=[0.9, 0.5, 0.8, 0.2, 0.3, 0.1])
    few = few.assign(patient_id=[f"Q{place}" for place in range(6)], cutoff=4.0)

    done = judged(joined(few, healthy()))

    assert done.status == 0
    assert done.told("failed") == []
    assert done.estimate("auc", "bad") == [pytest.approx(8 / 9)]
    assert done.estimate("accuracy", "bad") == [pytest.approx(4 / 6)]
    assert_the_good_one_is_judged(done)


def test_no_events(judged):
    done = judged(follow(joined(bad().iloc[:10], healthy())))

    assert_one_failure(done, "event: an event is needed: 0 of 10 had it")
    assert 1.0 in done.estimate("c_index")
    assert done.estimate("c_index", "bad") == []


def test_a_patient_who_stands_twice_in_a_file(judged):
    done = judged(joined(bad(), bad().iloc[[2, 15]], healthy()))

    told = "patient_id: 2 patients (P0002, P0015) stand twice for the same partition, fold and repeat"
    assert_one_failure(done, f"{told}; the model is left out")
    assert_the_good_one_is_judged(done)
    assert "bad" not in set(done.metrics["model"])


def test_a_patient_who_stands_in_two_files_alike_counts_once(judged):
    done = judged(joined(bad(), healthy()), bad().iloc[:1])

    assert done.status == 0
    assert done.estimate("auc", "bad") == [pytest.approx(AUC)]
    assert set(done.metrics.loc[done.metrics["metric"] == "auc", "n"]) == {20}


def test_a_patient_whose_score_differs_between_files_makes_two_models_of_one_and_it_is_told(judged):
    done = judged(joined(bad(), healthy()), bad().iloc[:1].assign(score=9.0))

    assert_one_failure(done, "both classes are needed: 0 of 1 had the event", "bad of 1.csv")
    assert "several files have a model of this name" in done.told("warning")[0]
    assert done.estimate("auc", "bad of 0.csv") == [pytest.approx(AUC)]
    assert_the_good_one_is_judged(done)


def test_a_patient_held_out_and_learned_from(judged):
    done = judged(joined(bad(), bad(partition="apparent").iloc[:1], healthy()))

    assert_one_failure(done, "partition: 1 patient (P0000) is held out and also learned from")
    assert_the_good_one_is_judged(done)


def test_a_patient_in_two_folds_of_a_repeat(judged):
    folds = bad(partition="out_of_fold", fold=["1", "2"] * 10)
    again = folds.iloc[:1].assign(fold="2")

    done = judged(joined(folds, again, healthy()))

    assert_one_failure(done, "fold: 1 patient (P0000) is judged in two folds of one repeat")
    assert_the_good_one_is_judged(done)


def test_outcomes_that_differ_between_models_cost_their_endpoint_alone(judged):
    disagreeing = [rows.assign(endpoint="other") for rows in (healthy(), bad(event=[1, *EVENT[1:]]))]

    done = judged(joined(*disagreeing, healthy()))

    assert_one_failure(done, "event: 1 patient (P0000) has different values in different models", "", "other")
    assert_the_good_one_is_judged(done)
    assert set(done.metrics["endpoint"]) == {"response"}


def test_follow_up_in_two_units_costs_its_endpoint_alone(judged):
    days = follow(bad()).assign(endpoint="other", patient_id=[f"Q{place}" for place in range(20)], time_unit="days")

    done = judged(joined(days, follow(healthy()).assign(endpoint="other"), healthy()))

    assert_one_failure(done, "time_unit: follow-up needs one unit (days, months or years)", "", "other")
    assert_the_good_one_is_judged(done)


def test_follow_up_without_a_unit_is_judged_and_told(judged):
    done = judged(follow(healthy()).assign(time_unit=""))

    assert done.status == 0
    assert "time_unit is empty: times and horizons are taken to be in one unit, whichever it is" in done.printed.err
    assert "c_index" in set(done.metrics["metric"])


def test_nothing_but_contradictions_still_makes_a_report(judged):
    done = judged(joined(bad(), bad()))

    assert_one_failure(done, "patient_id: 20 patients (P0000, P0001, P0002, P0003, P0004, …) stand twice")
    assert done.metrics.empty


def test_lesions_that_stand_twice_cost_the_model_its_lesions_alone(judged):
    def lesions(rows):
        return rows[["endpoint", "model", "partition", "patient_id", "event", "score"]].assign(lesion_id="L1")

    twice = joined(lesions(bad()), lesions(bad().iloc[:1]), lesions(healthy()))

    done = judged(joined(bad(), healthy()), lesions=twice)

    assert_one_failure(done, "lesions: lesion_id: 1 patient (P0000) has a lesion that stands twice")
    assert_the_good_one_is_judged(done)
    assert done.estimate("auc", "bad", level="patient") == [pytest.approx(AUC)]
    assert done.estimate("auc", "bad", level="lesion") == []
    assert done.estimate("auc", "good", level="lesion") == [pytest.approx(AUC)]


def test_a_subgroup_that_nobody_of_a_model_is_in(judged):
    sexes = joined(bad().assign(sex=""), healthy().assign(sex=["F", "M"] * 10))

    done = judged(sexes, words=["evaluation.subgroups=[sex]"])

    assert done.status == 0
    assert any("sex" in message for message in done.told("info"))
    assert_the_good_one_is_judged(done)
    assert done.metrics.loc[done.metrics["subgroup"] == "sex=F", "n"].astype(float).max() == 10


def test_a_subgroup_column_that_is_not_there(judged):
    done = judged(healthy(), words=["evaluation.subgroups=[sexx]"])

    assert_one_failure(done, "sexx", model="")
    assert done.estimate("auc") == [pytest.approx(AUC)]


def test_cut_offs_fitted_on_the_patients_they_judge_are_told_in_the_headline_and_the_report(judged):
    done = judged(healthy(), words=["evaluation.cutoff=youden", "evaluation.allow_refit_cutoff=true"])

    assert done.status == 0
    assert "cut-offs: fitted by youden on the very patients they judge" in done.printed.out
    assert "a cut-off fitted by youden on the very patients it judges, which flatters it" in done.report
    assert any("youden" in message for message in done.told("info", "good"))
    assert "note: response · good" in done.printed.err


def test_many_notes_are_counted_and_failures_all_told(judged):
    models = [bad(model=f"m{place}", score=1.0) for place in range(40)]
    failing = [bad(model=f"f{place}").iloc[:10] for place in range(3)]

    done = judged(joined(*models, *failing, healthy()), words=["evaluation.versus=good"])

    lines = done.printed.err.splitlines()
    notes = [line for line in lines if line.startswith("note: ")]
    assert len(notes) == 31
    told = sum(one["severity"] == "info" for one in done.messages)
    assert notes[-1] == f"note: {told - 30} more stand in evaluation.json"
    assert [line for line in lines if line.startswith("error: ")] == lines[-3:]


def test_centres_that_count_their_patients_alike_have_different_patients(judged):
    two = joined(healthy(centre="A"), healthy(centre="B"))

    done = judged(two)

    assert done.status == 0
    assert done.estimate("auc") == pytest.approx([0.85])  # twice the same patients rank as once
    counted = done.metrics[(done.metrics["metric"] == "auc") & (done.metrics["centre"] == "")]
    assert set(counted["n"]) == {40}


@pytest.mark.parametrize(
    "word", ["evaluation.thresholds=[0,1]", "evaluation.cutoff=best", "evaluation.level=95", "evaluation.bootstrap=0"]
)
def test_a_setting_that_cannot_be_is_wrong_usage_and_named(word, tmp_path, capsys):
    healthy().to_csv(tmp_path / "p.csv", index=False)

    assert main(["evaluate", f"predictions={tmp_path / 'p.csv'}", f"output={tmp_path / 'out'}", word]) == 2
    assert capsys.readouterr().err.startswith(f"error: evaluation: {word.split('.')[1].split('=')[0]}")


def test_a_cut_off_that_was_refused_is_not_told_as_fitted(judged, capsys):
    done = judged(healthy(), words=["evaluation.cutoff=maxstat", "evaluation.allow_refit_cutoff=true"])

    assert done.status == 1
    assert "very patients they judge" not in done.printed.out
