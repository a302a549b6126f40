"""The commands as a user types them: exit codes, files and messages."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from cohorts import make_cohort, write_cohort
from radnet.tables import METRIC_COLUMNS

ROOT = Path(__file__).resolve().parents[1]
FAST = ["trainer.max_epochs=4", "split.folds.n_folds=3", "split.inner.n_folds=2"]


def radnet(*arguments, cwd):
    return command(Path(sys.executable).with_name("radnet"), *arguments, cwd=cwd)


def command(*arguments, cwd):
    environment = {**os.environ, "RADNET_CACHE": str(Path(cwd) / ".cache"), "WANDB_MODE": "offline"}
    words = [sys.executable, *map(str, arguments)]
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


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

    judged = command(ROOT / "evaluate.py", "run=run", cwd=cwd)

    assert judged.returncode == 0, judged.stderr
    assert re.search(
        r"response · zhao_mlp · held_out: AUC 0\.\d{3} \(0\.\d{3} to [01]\.\d{3}\), 6 of 20", judged.stdout
    )
    assert "report: run/evaluation/report.html" in judged.stdout
    metrics = pd.read_csv(cwd / "run" / "evaluation" / "metrics.csv", keep_default_na=False)
    assert list(metrics.columns) == list(METRIC_COLUMNS)
    assert {"auc", "sensitivity", "specificity", "ppv", "npv", "accuracy", "cutoff"} <= set(metrics["metric"])
    html = (cwd / "run" / "evaluation" / "report.html").read_text().lower()
    html = html[html.index("<main") :]
    assert html.index("held-out") < html.index("out-of-fold") < html.index("apparent")


def test_the_same_seed_gives_the_same_file_of_predictions_in_a_new_process(trained, cohort_folder):
    cwd, _ = trained
    typed = ["experiment=zhao_mlp", "data=manifest", f"data.root={cohort_folder}", "seed=3", "output=again", *FAST]

    done = radnet("train", *typed, cwd=cwd)

    assert done.returncode == 0, done.stderr
    first, second = (pd.read_parquet(cwd / name / "predictions.parquet") for name in ("run", "again"))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


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
    assert set(metrics.loc[metrics["metric"] == "auc_difference", "method"]) == {"delong_paired"}
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
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
        (["train"], 2, "choose an experiment: experiment=zhao_clinical|zhao_mlp"),
        (["train", "experiment=zhao_mpl"], 2, "did you mean zhao_mlp?"),
        (["train", "experiment=zhao_clinical", "data=manifest"], 1, "data=manifest needs data.root=FOLDER"),
        (["train", "experiment=zhao_clinical", "data=manifest", "data.root=nowhere"], 1, "nowhere: no such folder"),
        (["evaluate"], 1, "predictions=FILE (or [A,B]), or run=RUN_FOLDER"),
        (["evaluate", "run=nowhere"], 1, "no run.json there"),
        (["evaluate", "predictions=p.csv"], 1, "needs output=FOLDER"),
        (["evaluate", "predictions=p.csv", "output=o"], 1, "p.csv: no such file"),
        (["evaluate", "evaluation=binray"], 2, "did you mean binary?"),
        (["check", "nowhere"], 1, "a cohort is a folder with a clinical.csv"),
        (["extract", "nowhere", "--out", "f.parquet"], 1, "a cohort is a folder with a clinical.csv"),
        (["simulate", "out", "--preset", "smal"], 1, "small"),
        (["simulate", "out", "--set", "signl=1"], 1, "did you mean signal"),
        (["simulate", "out", "--set", "signal"], 1, "--set takes KNOB=VALUE, got signal"),
        (["report", "nowhere"], 1, "nowhere"),
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
        " ['evaluate', 'predictions=p.csv', 'output=o']): main(words)\n"
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
