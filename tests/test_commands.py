"""The commands as a user types them: exit codes, files and messages."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from cohorts import make_cohort, write_cohort
from radnet.cohort import FEATURE_KEYS, Cohort, FeatureTable
from radnet.data.features import write_features
from radnet.tables import METRIC_COLUMNS

ROOT = Path(__file__).resolve().parents[1]
FAST = ["trainer.max_epochs=4", "split.folds.n_folds=3", "split.inner.n_folds=2"]
FAST += ["falsification=false", "optimism=none"]


def radnet(*arguments, cwd):
    return command(Path(sys.executable).with_name("radnet"), *arguments, cwd=cwd)


def command(*arguments, cwd):
    environment = {
        **os.environ,
        "PYTHONIOENCODING": "utf-8",
        "RADNET_CACHE": str(Path(cwd) / ".cache"),
        "WANDB_MODE": "offline",
    }
    words = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, encoding="utf-8", timeout=300, check=False
    )


@pytest.fixture(scope="module")
def trained(cohort_folder, tmp_path_factory):
    pytest.importorskip("torch", reason="training needs the extra train")
    cwd = tmp_path_factory.mktemp("user")
    typed = ["experiment=zhao_mlp", "data=manifest", f"data.root={cohort_folder}", "seed=3", "output=run", *FAST]
    return cwd, command(ROOT / "train.py", *typed, cwd=cwd)


def test_train_then_evaluate_ends_in_metrics_and_a_report(trained):
    cwd, training = trained
    assert training.returncode == 0, training.stderr
    assert "run: run" in training.stdout
    assert "judge it: python evaluate.py run=run" in training.stdout

    judged = command(ROOT / "evaluate.py", "run=run", cwd=cwd)

    assert judged.returncode == 0, judged.stderr
    assert re.search(
        r"response · zhao_mlp · held_out: AUC 0\.\d{3} \(0\.\d{3} to [01]\.\d{3}\), 6 of 20", judged.stdout
    )
    assert "report: run/evaluation/report.html" in judged.stdout
    metrics = pd.read_csv(cwd / "run" / "evaluation" / "metrics.csv", keep_default_na=False)
    assert list(metrics.columns) == list(METRIC_COLUMNS)
    assert {"auc", "sensitivity", "specificity", "ppv", "npv", "accuracy", "cutoff"} <= set(metrics["metric"])
    html = (cwd / "run" / "evaluation" / "report.html").read_text(encoding="utf-8").lower()
    html = html[html.index("<main") :]
    assert html.index("held-out") < html.index("out-of-fold") < html.index("apparent")


def test_the_same_seed_gives_the_same_file_of_predictions_in_a_new_process(trained, cohort_folder):
    cwd, _ = trained
    typed = ["experiment=zhao_mlp", "data=manifest", f"data.root={cohort_folder}", "seed=3", "output=again", *FAST]

    done = radnet("train", *typed, cwd=cwd)

    assert done.returncode == 0, done.stderr
    assert "judge it: radnet evaluate run=again" in done.stdout
    first, second = (pd.read_parquet(cwd / name / "predictions.parquet") for name in ("run", "again"))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_a_clinical_model_is_trained_and_judged_without_a_lesion(cohort_folder, tmp_path):
    clinical = "model.clinical=[age,lines_ge2,subtype]"

    training = radnet(
        "train",
        "experiment=zhao_clinical",
        "data=manifest",
        f"data.root={cohort_folder}",
        "output=run",
        clinical,
        cwd=tmp_path,
    )
    judged = radnet("evaluate", "run=run", cwd=tmp_path)

    assert training.returncode == 0, training.stderr
    assert judged.returncode == 0, judged.stderr
    assert "zhao_clinical · held_out: AUC" in judged.stdout


def test_a_frozen_model_is_judged_on_centres_it_has_not_seen_and_on_no_other(trained, tmp_path):
    cwd, _ = trained
    old = make_cohort(60, seed=1, held_out=20)
    new = make_cohort(30, seed=5)
    names = {one.id: f"N{one.id}" for one in new.patients}
    strangers = [replace(one, id=names[one.id], centre="CD"[i % 2]) for i, one in enumerate(new.patients)]
    rows = new.features.rows.assign(patient_id=new.features.rows["patient_id"].map(names))
    rows = pd.concat([old.features.rows, rows], ignore_index=True)
    folder = write_cohort(
        Cohort(old.patients + tuple(strangers), replace(new.features, rows=rows)), tmp_path / "four centres"
    )
    typed = ["model=run/model", f"data.root={folder}", "output=held"]

    judged = command(ROOT / "evaluate.py", *typed, "centres=[C,D]", cwd=cwd)
    refused = command(ROOT / "evaluate.py", *typed, "centres=[A,C]", cwd=cwd)
    scored = radnet("predict", "--model", "run/model", "--data", folder, "--out", "all.parquet", cwd=cwd)

    assert judged.returncode == 0, judged.stderr
    assert re.search(r"held_out: AUC 0\.\d{3} .* 10 of 30", judged.stdout)
    assert "prevalence · training: 0.350" in judged.stdout
    assert set(pd.read_csv(cwd / "held" / "metrics.csv")["centre"].dropna()) == {"C", "D"}
    assert "Drift" in (cwd / "held" / "report.html").read_text(encoding="utf-8")
    assert refused.returncode == 1
    assert "learned from centre A" in refused.stderr
    assert scored.returncode == 0, scored.stderr
    one = pd.read_parquet(cwd / "all.parquet").set_index("patient_id")["score"]
    two = pd.read_parquet(cwd / "held" / "predictions.parquet").set_index("patient_id")["score"]
    pd.testing.assert_series_equal(one.loc[two.index], two, rtol=1e-5)


def test_two_prediction_files_of_anybodys_are_compared(tmp_path):
    rows = [
        {
            "endpoint": "response",
            "partition": "held_out",
            "patient_id": f"P{i}",
            "centre": "X",
            "event": int(i % 3 == 0),
        }
        for i in range(30)
    ]
    for name, slope in (("A", 1.0), ("B", -0.2)):
        scores = [
            {**row, "model": name, "score": slope * row["event"] + (i * 7 % 11) / 10} for i, row in enumerate(rows)
        ]
        pd.DataFrame(scores).to_csv(tmp_path / f"{name}.csv", index=False)

    done = radnet("evaluate", "predictions=[A.csv,B.csv]", "evaluation=binary", "output=out", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    metrics = pd.read_csv(tmp_path / "out" / "metrics.csv")
    assert set(metrics.loc[metrics["metric"] == "auc_difference", "method"]) == {"delong_paired", "bootstrap"}
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert [Path(one["path"]).name for one in record["inputs"]] == ["A.csv", "B.csv"]


def test_what_cannot_be_computed_is_named_after_all_else_is_written(tmp_path):
    rows = [
        {"endpoint": "response", "model": "m", "partition": "held_out", "patient_id": i, "event": 0, "score": i}
        for i in range(9)
    ]
    rows += [{**row, "endpoint": "other", "event": int(row["score"] > 4)} for row in rows]
    pd.DataFrame(rows).to_csv(tmp_path / "p.csv", index=False)

    done = radnet("evaluate", "predictions=p.csv", "output=out", cwd=tmp_path)

    assert done.returncode == 1
    assert "error: response · m · held_out" in done.stderr
    assert "both classes" in done.stderr
    assert "other · m · held_out: AUC 1.000" in done.stdout
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_table_with_faults_names_them_and_writes_nothing(tmp_path):
    (tmp_path / "p.csv").write_text(
        "endpoint,model,partition,patient_id,event,score\nr,m,test,P1,1,0.5\nr,m,held_out,P2,4,0.5\n"
    )

    done = radnet("evaluate", "predictions=p.csv", "output=out", cwd=tmp_path)

    assert done.returncode == 1
    assert "row 2 (patient P1): partition is 'test'" in done.stderr
    assert "row 3 (patient P2): event is 4, expected 0 or 1" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["train"], 2, "choose an experiment: experiment="),
        (["train", "experiment=zhao_mpl"], 2, "did you mean zhao_mlp?"),
        (["train", "experiment=zhao_clinical", "data=manifest"], 1, "data=manifest needs data.root=FOLDER"),
        (["train", "experiment=zhao_clinical", "data=manifest", "data.root=nowhere"], 1, "nowhere: no such folder"),
        (["evaluate"], 2, "predictions=FILE (or [A,B]), run=RUN_FOLDER, model=MODEL_FOLDER"),
        (["evaluate", "run=nowhere"], 1, "no run.json there"),
        (["evaluate", "predictions=p.csv"], 2, "needs output=FOLDER"),
        (["evaluate", "predictions=p.csv", "output=o"], 1, "p.csv: no such file"),
        (["evaluate", "evaluation=binray"], 2, "did you mean binary?"),
        (["check", "nowhere"], 1, "a cohort is a folder with a clinical.csv"),
        (["extract", "nowhere", "--out", "f.parquet"], 1, "a cohort is a folder with a clinical.csv"),
        (["simulate", "out", "--preset", "smal"], 2, "small"),
        (["simulate", "out", "--set", "signl=1"], 2, "did you mean signal"),
        (["simulate", "out", "--set", "signal"], 2, "--set takes KNOB=VALUE, got signal"),
        (["report", "nowhere"], 1, "nowhere"),
        (["evaluate", "model=nowhere"], 2, "model=… needs data.root=FOLDER"),
        (["evaluate", "model=nowhere", "data.root=x", "output=o"], 1, "nowhere: no model.json there"),
        (["predict", "--model", "nowhere", "--data", "x", "--out", "p.parquet"], 1, "nowhere: no model.json there"),
        (["fly"], 2, "invalid choice"),
        ([], 2, "VERB"),
    ],
)
def test_a_fault_of_the_user_is_one_message_and_an_exit_code(words, code, message, tmp_path):
    done = radnet(*words, cwd=tmp_path)

    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_help_lists_every_choice_and_key(verb, tmp_path):
    done = radnet(verb, "--help", cwd=tmp_path)

    assert done.returncode == 0
    assert "evaluation: binary, by_endpoint, survival" in done.stdout
    assert "output: null" in done.stdout


def test_check_counts_a_good_folder_and_lists_the_faults_of_a_bad_one(cohort_folder, tmp_path):
    good = radnet("check", cohort_folder, cwd=tmp_path)
    bad = write_cohort(make_cohort(6, seed=0), tmp_path / "bad")
    table = pd.read_csv(bad / "lesions.csv").assign(image="a.nii.gz", mask="b.nii.gz")
    table.to_csv(bad / "lesions.csv", index=False)
    told = radnet("check", bad, cwd=tmp_path)

    assert good.returncode == 0
    assert "60 patients of 2 centres (A, B)" in good.stdout
    assert told.returncode == 1
    assert told.stderr.count("file is missing") == 2 * len(table)


def test_judging_and_measuring_load_no_torch(tmp_path):
    code = (
        "import sys\nfrom radnet.cli import main\n"
        "for words in (['check', 'nowhere'], ['extract', 'nowhere', '--out', 'f.parquet'], ['report', 'nowhere'],"
        " ['evaluate', 'predictions=p.csv', 'output=o'],"
        " ['train', 'experiment=zhao_mlp', 'trainer.max_epoch=3']): main(words)  # a typo costs no import\n"
        "import radnet.judgement, radnet.radiomics.extract, radnet.data.simulate\n"
        "print([name for name in ('torch', 'pytorch_lightning', 'monai', 'radiomics') if name in sys.modules])"
    )

    done = command("-c", code, cwd=tmp_path)

    assert done.stdout.strip().splitlines()[-1] == "[]", done.stderr


def test_a_missing_extra_is_named_with_the_way_to_install_it(cohort_folder, tmp_path):
    hide = (
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'pytorch_lightning'):\n"
        "            raise ModuleNotFoundError(f'No module named {name}', name=name)\n"
        "sys.meta_path.insert(0, Hide())\n"
    )
    typed = ["train", "experiment=zhao_mlp", "data=manifest", f"data.root={cohort_folder}", "output=run"]

    done = command("-c", f"{hide}from radnet.cli import main\nsys.exit(main({typed!r}))", cwd=tmp_path)

    assert done.returncode == 1
    assert 'this needs the extra "train": pip install "radnet[train]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_table_one_describes_the_patients_of_each_group(tmp_path):
    rng = np.random.default_rng(0)
    age = rng.permutation(np.arange(30, 70))  # no ties
    clinical = pd.DataFrame({"patient_id": [f"P{one}" for one in range(40)], "arm": ["a", "b"] * 20, "age": age})
    clinical.to_csv(tmp_path / "clinical.csv", index=False)

    done = radnet("table-one", "clinical.csv", "--by", "arm", "--out", "t1.csv", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "t1.csv").set_index("variable")
    expected = scipy.stats.mannwhitneyu(age[::2], age[1::2], method="exact").pvalue
    assert table.loc["age", "p_value"] == pytest.approx(expected)
    assert "patient_id" not in table.index
    wrong = radnet("table-one", "clinical.csv", "--by", "arms", "--out", "t.csv", cwd=tmp_path)
    assert wrong.returncode == 1
    assert "arms" in wrong.stderr


def test_agreement_tells_the_icc_of_each_feature(tmp_path):
    rng = np.random.default_rng(1)
    truth = rng.normal(size=30)
    rows = [
        {**dict(zip(FEATURE_KEYS, (f"P{one}", "L1", "lesion", "image", reader, "1"), strict=True)), "status": "ok",
         "original_shape_VoxelVolume": truth[one], "original_firstorder_Mean": rng.normal()}
        for one in range(30) for reader in "12"
    ]  # fmt: skip
    write_features(FeatureTable(pd.DataFrame(rows), {"engine": "made by a test"}), tmp_path / "features.parquet")

    done = radnet("agreement", "features.parquet", "--out", "icc.csv", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "icc.csv").set_index(["feature", "form"])
    assert table.loc[("original_shape_VoxelVolume", "ICC(2,1)"), "icc"] == pytest.approx(1)
    assert abs(table.loc[("original_firstorder_Mean", "ICC(2,1)"), "icc"]) < 0.5
    assert set(table["n"]) == {30}
    pd.DataFrame(rows).to_csv(tmp_path / "features.csv", index=False)
    done = radnet("agreement", "features.csv", "--out", "csv.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "csv.csv"), pd.read_csv(tmp_path / "icc.csv"))
