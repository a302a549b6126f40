"""Runs on a cohort with measured features: what is written, and that nothing leaks."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

pytest.importorskip("torch", reason="training needs the extra train")

from dataclasses import replace

from scipy.optimize import minimize
from scipy.special import expit

from cohorts import make_cohort, make_study, write_cohort
from radnet.cohort import Cohort, Delineation, Lesion, Patient
from radnet.config import load_config
from radnet.experiment import run_experiment, shuffle_outcomes
from radnet.tables import contradictions, read_lesion_predictions, read_predictions

PLAIN = ["falsification=false", "optimism=none"]  # controls and optimism have tests of their own
FAST = ["trainer.max_epochs=6", "split.folds.n_folds=3", "split.inner.n_folds=2", "model.network.hidden=[16,8,4]"]


def run(folder, output, *typed, experiment="zhao_mlp"):
    fast = [*PLAIN, *(FAST if experiment == "zhao_mlp" else [])]
    typed = [f"experiment={experiment}", "data=manifest", f"data.root={folder}", f"output={output}", *fast, *typed]
    return run_experiment(load_config("train", typed))


@pytest.fixture(scope="module")
def finished(cohort_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # checkpoints/ is made where the user stands
        return run(cohort_folder, folder / "out")


def test_a_run_folder_holds_what_the_contract_says(finished):
    names = {path.name for path in finished.iterdir()}

    assert names >= {
        "config.yaml",
        "run.json",
        "predictions.parquet",
        "lesion_predictions.parquet",
        "train_log.csv",
        "model",
    }
    model = {path.name for path in (finished / "model").iterdir()}
    assert model == {"model.json", "cutoffs.json", "network.safetensors", "prepare.skops"}
    assert len(list((finished.parent / "checkpoints" / "zhao_mlp").rglob("model.json"))) == 1
    assert yaml.safe_load((finished / "config.yaml").read_text(encoding="utf-8"))["trainer"]["max_epochs"] == 6


def test_every_development_patient_is_judged_once_out_of_fold_and_every_held_out_one_by_the_frozen_model(finished):
    table = read_predictions(finished / "predictions.parquet")

    counts = table.groupby("partition")["patient_id"].agg(["size", "nunique"])
    assert counts.loc["out_of_fold"].tolist() == [40, 40]
    assert counts.loc["apparent"].tolist() == [40, 40]
    assert counts.loc["held_out"].tolist() == [20, 20]
    assert set(table.loc[table["partition"] != "out_of_fold", "fold"]) == {""}
    held_out = set(table.loc[table["partition"] == "held_out", "patient_id"])
    assert not held_out & set(table.loc[table["partition"] != "held_out", "patient_id"])


def test_a_cut_off_travels_with_every_row_and_each_fold_has_its_own(finished):
    table = read_predictions(finished / "predictions.parquet")
    frozen = json.loads((finished / "model" / "cutoffs.json").read_text(encoding="utf-8"))["score"]["value"]

    assert table["cutoff"].notna().all()
    assert set(table.loc[table["partition"] != "out_of_fold", "cutoff"]) == {frozen}
    assert table[table["partition"] == "out_of_fold"].groupby("fold")["cutoff"].nunique().tolist() == [1, 1, 1]


def test_the_lesions_of_a_patient_have_scores_and_weights_that_add_up(finished):
    table = read_lesion_predictions(finished / "lesion_predictions.parquet")

    sums = table.groupby(["partition", "fold", "patient_id"])["weight"].sum()
    np.testing.assert_allclose(sums, 1.0)
    assert set(table["site"]) == {"liver"}


def test_run_json_tells_counts_seconds_versions_and_inputs(finished, cohort_folder):
    record = json.loads((finished / "run.json").read_text(encoding="utf-8"))

    assert record["counts"]["development"] == {"patients": 40, "events": 14, "centres": ["A", "B"]}
    assert record["counts"]["held_out"]["patients"] == 20
    assert set(record["seconds"]) == {"cohort", "features", "split", "folds", "model", "appraisal"}
    assert {"numpy", "torch", "radnet"} <= set(record["versions"])
    assert set(record["input_sha256"]) == {"clinical.csv", "lesions.csv", "features.parquet"}


def test_the_same_seed_gives_the_same_predictions_and_another_seed_others(
    finished, cohort_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)

    again = run(cohort_folder, tmp_path / "again")
    other = run(cohort_folder, tmp_path / "other", "seed=8")

    first = pd.read_parquet(finished / "predictions.parquet")
    pd.testing.assert_frame_equal(first, pd.read_parquet(again / "predictions.parquet"), check_exact=True)
    assert not first["score"].equals(pd.read_parquet(other / "predictions.parquet")["score"])


@pytest.mark.parametrize("experiment", ["zhao_mlp", "zhao_clinical"])
def test_the_outcomes_of_held_out_patients_change_no_score_and_no_cut_off(experiment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = make_cohort(60, seed=1, held_out=20)
    turned = pd.read_csv(write_cohort(plain, tmp_path / "plain") / "clinical.csv", dtype=str)
    write_cohort(plain, tmp_path / "turned")
    held_out = turned["split"] == "held_out"
    turned.loc[held_out, "response"] = turned["response"].map({"0": "1", "1": "0"})
    turned.to_csv(tmp_path / "turned" / "clinical.csv", index=False)
    typed = ["model.clinical=[age,lines_ge2,subtype]"] if experiment == "zhao_clinical" else []

    tables = [
        pd.read_parquet(
            run(tmp_path / name, tmp_path / f"run_{name}", *typed, experiment=experiment) / "predictions.parquet"
        )
        for name in ("plain", "turned")
    ]

    columns = ["partition", "fold", "patient_id", "score", "cutoff"]
    pd.testing.assert_frame_equal(tables[0][columns], tables[1][columns], check_exact=True)


def test_the_features_of_held_out_patients_change_nothing_that_is_learned(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cohort = make_cohort(60, seed=1, held_out=20)
    rows = cohort.features.rows.copy()
    strangers = rows["patient_id"].isin(cohort.ids[40:])
    rows.loc[strangers, cohort.features.names] *= 50
    changed = type(cohort)(cohort.patients, type(cohort.features)(rows))

    again = run(write_cohort(changed, tmp_path / "changed"), tmp_path / "out")

    first, second = (pd.read_parquet(folder / "predictions.parquet") for folder in (finished, again))
    learned = first["partition"] != "held_out"
    pd.testing.assert_frame_equal(first[learned], second[learned], check_exact=True)
    assert not first.loc[~learned, "score"].equals(second.loc[~learned, "score"])


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """A run on patients who were followed too, five of them of unknown PD-L1 and one of unknown progression."""
    folder = tmp_path_factory.mktemp("studied")
    study = make_study(75, seed=1, held_out=15)
    patients = [
        replace(
            one,
            clinical={**one.clinical, "cps": None if place % 15 == 0 else one.clinical["cps"]},
            outcomes={**one.outcomes, "pfs": None if place == 3 else one.outcomes["pfs"]},
        )
        for place, one in enumerate(study.patients)
    ]
    root = write_cohort(Cohort(tuple(patients), study.features), folder / "study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run(root, folder / "out")


def test_the_score_of_response_is_read_on_progression_too_with_its_sign_turned(studied):
    table = read_predictions(studied / "predictions.parquet")

    own = table[table["endpoint"] == "response"].set_index(["partition", "patient_id"])
    pfs = table[table["endpoint"] == "pfs"].set_index(["partition", "patient_id"])
    assert set(own["model"]) == {"zhao_mlp"}
    assert set(pfs["model"]) == {"zhao_mlp_negated"}
    assert len(own) == len(pfs) == 60 + 60 + 15
    pd.testing.assert_series_equal(pfs["score"].loc[own.index], -own["score"])
    assert pfs["probability"].isna().all()  # a score of response foretells no time
    assert pfs["event"].isna().groupby(level="partition").sum().to_dict() == {
        "apparent": 1, "held_out": 0, "out_of_fold": 1,
    }  # fmt: skip
    assert set(pfs["time_unit"]) == {"months"}
    cutoffs = json.loads((studied / "model" / "cutoffs.json").read_text(encoding="utf-8"))
    assert cutoffs["pfs"]["of"] == "-score"
    assert set(pfs.loc[["apparent", "held_out"], "cutoff"]) == {cutoffs["pfs"]["value"]}


def test_a_network_has_the_probabilities_of_platts_curve_on_its_out_of_fold_scores(studied):
    table = read_predictions(studied / "predictions.parquet")
    table = table[table["endpoint"] == "response"]
    held_out, judged = (table[table["partition"] == name] for name in ("held_out", "out_of_fold"))

    # Platt's targets, then the maximum of the likelihood by a general minimiser
    event = judged["event"].to_numpy(dtype=bool)
    target = np.where(event, (event.sum() + 1) / (event.sum() + 2), 1 / ((~event).sum() + 2))
    score = judged["score"].to_numpy()
    lost = minimize(
        lambda b: np.mean(np.logaddexp(0, b[0] * score + b[1]) - target * (b[0] * score + b[1])), [0.1, 0.0], tol=1e-12
    )
    slope, intercept = lost.x
    assert slope > 0
    np.testing.assert_allclose(
        held_out["probability"], expit(slope * held_out["score"] + intercept), rtol=1e-3, atol=1e-4
    )
    assert judged.groupby("fold")["probability"].apply(lambda one: one.notna().all()).all()


def test_subgroups_stand_in_the_table_of_predictions(studied):
    table = pd.read_parquet(studied / "predictions.parquet")

    assert set(table["cps_ge10"].dropna()) == {">=10", "<10"}
    assert table.loc[table["cps_ge10"].isna(), "patient_id"].nunique() == 5
    assert set(table["tnbc"]) == {"TNBC", "other"}
    assert set(table["visceral"]) == {"0", "1"}
    assert table.groupby("patient_id")[["cps_ge10", "tnbc", "visceral"]].nunique().to_numpy().max() == 1


def test_targets_are_chosen_and_listed(studied):
    counts = json.loads((studied / "run.json").read_text(encoding="utf-8"))["counts"]
    table = pd.read_csv(studied / "tables" / "targets.csv")

    assert counts["lesions"] == len(table)
    assert counts["target_lesions"] == table["target"].sum()
    per_site = table[table["target"]].groupby(["patient_id", "site"]).size()
    assert per_site.max() <= 2
    read = read_lesion_predictions(studied / "lesion_predictions.parquet")
    apart = set(
        read.loc[read["endpoint"] == "response", ["patient_id", "lesion_id"]].itertuples(index=False, name=None)
    )
    assert apart == set(table.loc[table["target"], ["patient_id", "lesion_id"]].itertuples(index=False, name=None))


def test_patients_without_a_column_that_nobody_may_lack_are_left_out_and_named(studied, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    folder = run(studied.parent / "study", tmp_path / "out", "split.folds.n_folds=3", experiment="zhao_pdl1")

    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    lacking = {f"S{place:03d}": "cps is not known" for place in (0, 15, 30, 45, 60)}
    assert record["excluded"] == lacking
    assert record["counts"]["patients_complete"] == 70
    assert "5 of 75 patients lack cps and are left out" in record["messages"]
    assert json.loads((folder / "model" / "model.json").read_text(encoding="utf-8"))["before"] == {
        "complete_cases": ["cps"]
    }


def test_an_endpoint_or_a_subgroup_whose_columns_are_absent_is_told(finished):
    messages = json.loads((finished / "run.json").read_text(encoding="utf-8"))["messages"]

    assert "clinical.csv has no column pfs_event, pfs_months: the score is not read on pfs" in messages
    assert any("not judged within cps_ge10, sites_ge3" in one for one in messages)


def test_a_run_is_strict_unless_told_otherwise(finished):
    assert json.loads((finished / "run.json").read_text(encoding="utf-8"))["protocol"] == "strict"


def test_shuffling_permutes_outcomes_and_nothing_else(cohort):
    shuffled = shuffle_outcomes(cohort, "response", seed=3)

    assert shuffled.ids == cohort.ids
    assert shuffled.events("response").sum() == cohort.events("response").sum()
    assert shuffled.events("response").tolist() != cohort.events("response").tolist()
    assert (
        shuffle_outcomes(cohort, "response", seed=3).events("response").tolist() == shuffled.events("response").tolist()
    )


def test_patients_that_cannot_be_used_are_named_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cohort = make_cohort(60, seed=1, held_out=20)
    rows = cohort.features.rows.copy()
    lost = rows["patient_id"] == "P004"
    rows.loc[lost, cohort.features.names] = np.nan
    rows.loc[lost, "status"] = "the mask is empty"
    folder = write_cohort(type(cohort)(cohort.patients, type(cohort.features)(rows)), tmp_path / "cohort")
    clinical = pd.read_csv(folder / "clinical.csv", dtype=str)
    clinical.loc[clinical["patient_id"] == "P007", "response"] = ""
    clinical.to_csv(folder / "clinical.csv", index=False)

    finished = run(folder, tmp_path / "out")

    excluded = json.loads((finished / "run.json").read_text(encoding="utf-8"))["excluded"]
    assert excluded == {"P007": "outcome response unknown", "P004": "no measured lesion"}
    assert not {"P004", "P007"} & set(read_predictions(finished / "predictions.parquet")["patient_id"])


@pytest.fixture(scope="module")
def of_two_labels(tmp_path_factory):
    """A cohort in which two held-out patients and one who trains have progression alone, and one held out has none."""
    folder = tmp_path_factory.mktemp("two_labels")
    study = make_study(75, seed=1, held_out=15)
    lost = {"S007": ["response"], "S061": ["response"], "S070": ["response"], "S072": ["response", "pfs"]}
    patients = [
        replace(one, outcomes={**one.outcomes, **dict.fromkeys(lost.get(one.id, []))}) for one in study.patients
    ]
    return study, write_cohort(Cohort(tuple(patients), study.features), folder / "cohort")


@pytest.fixture(scope="module")
def judged_on_both(of_two_labels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged_on_both")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run(of_two_labels[1], folder / "out", experiment="zhao_clinical")


def test_held_out_patients_of_a_further_outcome_alone_are_judged_on_that(judged_on_both):
    record = json.loads((judged_on_both / "run.json").read_text(encoding="utf-8"))
    table = read_predictions(judged_on_both / "predictions.parquet")
    held_out = table[table["partition"] == "held_out"].set_index(["endpoint", "patient_id"])

    assert record["excluded"] == {"S007": "outcome response unknown", "S072": "outcome response unknown"}
    assert record["counts"]["patients_with_outcome"] == 75 - 2
    assert record["counts"]["held_out"]["patients"] == 15 - 3
    assert record["counts"]["held_out_for_further_endpoints"] == 2
    assert "2 held-out patients have no known response and are judged on pfs" in record["messages"]
    assert not {"S007", "S072"} & set(table["patient_id"])
    for patient in ("S061", "S070"):
        assert np.isnan(held_out.loc[("response", patient), "event"])
        assert held_out.loc[("pfs", patient), ["event", "time", "score"]].notna().all()
    assert set(table.loc[table["patient_id"].isin(["S061", "S070"]), "partition"]) == {"held_out"}


def test_those_judged_on_a_further_outcome_alone_change_nothing_for_others(
    judged_on_both, of_two_labels, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    study, _ = of_two_labels
    alone = study.where(lambda one: one.id not in {"S007", "S061", "S070", "S072"})

    without = run(write_cohort(alone, tmp_path / "alone"), tmp_path / "out", experiment="zhao_clinical")

    first, second = (read_predictions(one / "predictions.parquet") for one in (judged_on_both, without))
    first = first[first["patient_id"].isin(alone.ids)].reset_index(drop=True)
    # a sum over another number of rows differs in its last bit
    pd.testing.assert_frame_equal(first, second, rtol=1e-12)


def test_patients_of_a_further_outcome_alone_are_left_out_where_nobody_is_held_out_and_by_shares_of_centres(
    of_two_labels, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for split in ("kfold", "zhao"):
        finished = run(of_two_labels[1], tmp_path / split, f"split={split}", experiment="zhao_clinical")

        excluded = json.loads((finished / "run.json").read_text(encoding="utf-8"))["excluded"]
        assert set(excluded) == {"S007", "S061", "S070", "S072"}


def test_no_row_is_written_of_a_further_endpoint_where_it_is_known_of_nobody(of_two_labels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study, _ = of_two_labels
    patients = [
        replace(one, outcomes={**one.outcomes, "cd8": one.outcomes["cd8"] if one.split == "held_out" else None})
        for one in study.patients
    ]
    root = write_cohort(Cohort(tuple(patients), study.features), tmp_path / "cohort")
    reading = "+also.cd8={_target_:radnet.predictors.reading.Reading,rule:null,calibrated:false}"

    finished = run(root, tmp_path / "out", reading, "+endpoint@also.cd8.endpoint=cd8", experiment="zhao_clinical")

    table = read_predictions(finished / "predictions.parquet")
    messages = json.loads((finished / "run.json").read_text(encoding="utf-8"))["messages"]
    assert set(table.loc[table["endpoint"] == "cd8", "partition"]) == {"held_out"}
    frozen = table.loc[(table["endpoint"] == "response") & (table["partition"] == "held_out"), "cutoff"]
    assert set(table.loc[table["endpoint"] == "cd8", "cutoff"]) == set(frozen)
    assert not [one for one in messages if one.startswith("cd8:")]  # nothing was to be learned


def test_shuffling_leaves_patients_of_unknown_outcome_as_they_are(of_two_labels):
    study = of_two_labels[0]
    lost = Cohort((replace(study.patients[0], outcomes={**study.patients[0].outcomes, "response": None}),))
    cohort = Cohort((*lost.patients, *study.patients[1:]), study.features)

    shuffled = shuffle_outcomes(cohort, "response", seed=3)

    assert shuffled.patients[0] == cohort.patients[0]
    assert shuffled.evaluable("response").ids == cohort.ids[1:]
    before, after = (one.evaluable("response").events("response") for one in (cohort, shuffled))
    assert sorted(after) == sorted(before)
    assert after.tolist() != before.tolist()


def test_one_delineation_per_lesion_and_channel_is_measured():
    delineations = (
        Delineation("CT", "2", "1"),
        Delineation("CT", "1", "2"),
        Delineation("CT", "1", "1"),
        Delineation("PET", "JS", "a"),
    )
    cohort = Cohort((Patient("P1", "A", lesions=(Lesion("L1", delineations=delineations),)),))

    (lesion,) = cohort.first_delineations().patients[0].lesions

    assert [(one.channel, one.reader, one.repeat) for one in lesion.delineations] == [
        ("CT", "1", "1"),
        ("PET", "JS", "a"),
    ]


@pytest.mark.parametrize(
    ("typed", "folds", "rows"),
    [
        (["split=leave_one_centre_out"], {"A", "B"}, 60),
        (["split=bootstrap", "split.folds.n_folds=4"], {"1", "2", "3", "4"}, None),
        (["split=kfold", "split.folds.n_folds=3", "split.folds.repeats=2"], {"1", "2", "3"}, 120),
        (["split=centres", "split.held_out.centres=[B]", "split.folds.n_folds=3"], {"1", "2", "3"}, 30),
    ],
)
def test_every_split_trains_and_judges(typed, folds, rows, cohort_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["experiment=zhao_clinical", "data=manifest", f"data.root={cohort_folder}", "output=out", *PLAIN]

    finished = run_experiment(
        load_config("train", [*words, "model.clinical=[age,lines_ge2]", "split.inner=null", *typed])
    )

    table = read_predictions(finished / "predictions.parquet")
    judged = table[table["partition"] == "out_of_fold"]
    assert set(judged["fold"]) == folds
    assert rows is None or len(judged) == rows
    assert contradictions(table) == []


def test_a_cohort_that_cannot_be_learned_from_is_told_before_a_lesion_is_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_cohort(Cohort(make_cohort(30, seed=1).patients), tmp_path / "no features")

    with pytest.raises(ValueError, match="clinical.csv has no column aeg"):
        run(folder, tmp_path / "out", "model.clinical=[aeg]")


def test_a_folder_with_other_things_in_it_is_not_written_to(cohort_folder, tmp_path):
    (tmp_path / "thesis.docx").write_text("years of work")

    with pytest.raises(ValueError, match="is not empty and no earlier run"):
        run(cohort_folder, tmp_path)


def test_weights_and_biases_work_offline(cohort_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    run(cohort_folder, tmp_path / "out", "logger=wandb", "logger.offline=true")

    (written,) = (tmp_path / "out" / "wandb").glob("offline-run-*/*.wandb")
    assert written.stat().st_size > 1000
    assert b"P001" not in written.read_bytes()  # no patient id leaves the run folder


def test_what_is_learned_at_once_is_shuffled_from_patient_to_patient_together():
    study = make_study(40, seed=2)

    shuffled = shuffle_outcomes(study, "response", seed=3, further=["pfs"])

    def pairs(one):
        return [(patient.outcomes["response"], patient.outcomes["pfs"]) for patient in one.patients]

    assert pairs(shuffled) != pairs(study)
    assert sorted(map(repr, pairs(shuffled))) == sorted(map(repr, pairs(study)))
    assert [one.outcomes["dfs"] for one in shuffled.patients] == [one.outcomes["dfs"] for one in study.patients]
