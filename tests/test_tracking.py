"""What W&B is sent: curves, model, metrics and report, and no name of a patient, a centre or a folder."""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

pytest.importorskip("torch", reason="training needs the extra train")
pytest.importorskip("wandb", reason="tracking needs the extra train")

from cohorts import make_study, write_cohort
from radnet.cli import main
from radnet.cohort import Cohort
from radnet.names import Names, names_in
from radnet.predictors.folder import load_model, patient_hash
from radnet.tracking import _contents, send_evaluation, send_run, shown_config

CENTRES = {"A": "Freiburg", "B": "Marseille", "C": "Salzburg"}
FAST = ["trainer.max_epochs=3", "split.folds.n_folds=3", "split.inner.n_folds=2", "model.network.hidden=[16,8,4]"]
FAST += ["falsification=false", "optimism=none", "logger=wandb", "logger.offline=true"]


@pytest.fixture(scope="module")
def study():
    study = make_study(60, seed=1, held_out=20)
    patients = tuple(replace(one, centre=CENTRES[one.centre]) for one in study.patients)
    return Cohort(patients, study.features)


@pytest.fixture(scope="module")
def tracked(study, tmp_path_factory):
    """A run that was trained and judged with logger=wandb, offline; the folder the user stood in."""
    here = tmp_path_factory.mktemp("user")
    write_cohort(study, here / "cohort of Freiburg")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        words = [
            "experiment=zhao_mlp",
            "data=manifest",
            f"data.root={here / 'cohort of Freiburg'}",
            "output=run",
            *FAST,
        ]
        assert main(["train", *words]) == 0
        assert main(["evaluate", "run=run", "evaluation.bootstrap=20"]) == 0
    return here


def written(here):
    """Every file of W&B's own folders, and every file that is to be sent from beside them."""
    files = [path for path in (here / "run" / "wandb").rglob("*") if path.is_file()]
    assert sum(path.suffix == ".wandb" for path in files) == 2
    return {path: path.read_bytes() for path in files}


def test_curves_of_every_fold_model_metrics_and_report_are_in_the_offline_runs(tracked):
    logs = b"".join(content for path, content in written(tracked).items() if path.suffix == ".wandb")

    for name in ("fold_1/valid_loss", "fold_2/valid_loss", "fold_3/train_loss", "model/valid_loss"):
        assert name.encode() in logs
    for artefact in ("zhao_mlp-model", "zhao_mlp-evaluation"):
        assert artefact.encode() in logs
    sent = tracked / "run" / "wandb" / "sent"
    for file in ("model/model.json", "model/network.safetensors", "report/metrics.csv", "report/report.html"):
        assert Path(file).name.encode() in logs
        assert f"run/wandb/sent/{file}".encode() in logs  # what `wandb sync` reads, seen from where the user stood
        assert (sent / file).is_file()
    assert {path.name for path in sent.iterdir()} == {"model", "report"}


def test_no_patient_centre_or_folder_is_named_in_anything_w_and_b_holds(tracked, study):
    held = written(tracked)
    ids = "|".join(study.ids).encode()

    for path, content in held.items():
        assert str(tracked).encode() not in content, path
        assert str(Path.home()).encode() + b"/" not in content, path
        assert not re.search(rb"Freiburg|Marseille|Salzburg", content), path
        assert not re.search(rb"(?<![A-Za-z0-9+/])(" + ids + rb")(?![A-Za-z0-9+/])", content), path  # base64 aside
        for one in study.patients:
            assert patient_hash(one.centre, one.id).encode() not in content, path


def test_the_names_looked_for_are_in_the_run_itself(tracked, study):
    run = tracked / "run"

    assert set(pd.read_parquet(run / "predictions.parquet")["patient_id"]) == set(study.ids)
    assert str(tracked) in (run / "config.yaml").read_text("utf-8")
    assert "Freiburg" in (run / "evaluation" / "report.html").read_text("utf-8")


def test_both_parts_are_of_one_w_and_b_run_and_its_number_is_that_of_metrics_csv(tracked):
    logs = [path for path in written(tracked) if path.suffix == ".wandb"]
    metrics = pd.read_csv(tracked / "run" / "evaluation" / "metrics.csv", dtype=str)
    auc = metrics.query("metric == 'auc' and partition == 'held_out' and endpoint == 'response'").iloc[0]["estimate"]

    assert len({path.name for path in logs}) == 1
    assert any(b"response/zhao_mlp/held_out/auc" in path.read_bytes() for path in logs)
    assert any(auc[:12].encode() in path.read_bytes() for path in logs)


def test_the_report_sent_shows_the_same_numbers_with_centres_numbered(tracked):
    own = pd.read_csv(tracked / "run" / "evaluation" / "metrics.csv", dtype=str, keep_default_na=False)
    sent = pd.read_csv(tracked / "run" / "wandb" / "sent" / "report" / "metrics.csv", dtype=str, keep_default_na=False)

    numbers = {name: f"centre {place}" for place, name in enumerate(sorted(CENTRES.values()), start=1)}
    pd.testing.assert_frame_equal(sent, own.assign(centre=own["centre"].replace(numbers)))
    assert "centre 1" in (tracked / "run" / "wandb" / "sent" / "report" / "report.html").read_text("utf-8")


def test_the_model_sent_has_its_weights_and_refuses_to_be_taken_for_the_whole(tracked):
    own, sent = tracked / "run" / "model", tracked / "run" / "wandb" / "sent" / "model"

    assert (sent / "network.safetensors").read_bytes() == (own / "network.safetensors").read_bytes()
    card = json.loads((sent / "model.json").read_text("utf-8"))
    whole = json.loads((own / "model.json").read_text("utf-8"))
    assert (
        set(whole) - set(card) == {"patients_sha256", "images_sha256", "centres", "card_sha256"} == {*card["withheld"]}
    )
    with pytest.raises(ValueError, match="changed since it was saved"):
        load_model(sent)
    assert load_model(own).card["centres"] == ["Freiburg", "Marseille", "Salzburg"]


def test_a_file_that_names_a_patient_is_refused_and_the_run_is_whole(tracked, tmp_path, monkeypatch):
    import shutil

    monkeypatch.chdir(tmp_path)
    run = Path(shutil.copytree(tracked / "run", tmp_path / "run"))
    (run / "model" / "cutoffs.json").write_text('{"of": "S007"}', encoding="utf-8")

    with pytest.raises(ValueError, match=r"cutoffs.json is not sent to W&B: it holds a patient's id, S007"):
        send_run(run)

    assert (run / "run.json").is_file()
    assert not list((run / "wandb").rglob("*.log"))


def test_no_voxel_of_a_patient_is_in_what_is_sent(tracked, tmp_path, monkeypatch):
    import shutil

    monkeypatch.chdir(tmp_path)
    run = Path(shutil.copytree(tracked / "run", tmp_path / "run"))
    voxels = {"role": "highest score", "channel": "window", "view": "axial", "lesion_number": 1, "score": 0.5}
    voxels |= {
        "baseline_score": 0.1,
        "in_lesion": 1,
        "slice": 3,
        "intensity": 0.123456,
        "lesion": 1,
        "attribution": 0.2,
    }
    rows = [voxels | {"y": y, "x": x} for y in range(2) for x in range(2)]
    for part in ("tables", "figures"):
        pd.DataFrame(rows).to_csv(run / "evaluation" / part / "attribution.csv", index=False)

    send_evaluation(run, run / "evaluation")

    page = (run / "wandb" / "sent" / "report" / "report.html").read_text("utf-8")
    assert 'id="attribution"' not in page
    assert "0.123456" not in page
    assert not list((run / "wandb" / "sent").rglob("attribution.*"))


def test_a_file_of_pretrained_weights_is_sent_by_its_name_alone_however_deep_it_stands():
    weights = {"file": "/data/of somebody/resnet.pt", "freeze": "none"}
    member = {"pretrained": weights}
    model = {"pretrained": weights, "member": member, "members": {"image": member}, "make": {"model": member}}
    config = OmegaConf.create({"model": model, "data": {}, "split": {"held_out": {}}})

    shown = shown_config(config, Names((), (), ()))["model"]

    found = [shown, shown["member"], shown["members"]["image"], shown["make"]["model"]]
    assert [one["pretrained"] for one in found] == [{"file": "resnet.pt", "freeze": "none"}] * 4


def test_a_trial_sends_its_number_under_the_name_a_sweep_asks_for(cohort_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_RUN_ID", "byanagent")
    words = ["experiment=zhao_clinical", "model.clinical=[age]", "data=manifest", f"data.root={cohort_folder}"]

    code = main(["train", "--trial", *words, "logger=wandb", "logger.offline=true"])

    (log,) = (tmp_path / "runs").rglob("*.wandb")
    shown = re.search(r"inner_auc: (0\.\d+) \(40 patients; 20 held out and not looked at\)", capsys.readouterr().out)
    assert code == 0
    assert log.name == "run-byanagent.wandb"
    assert b"inner_auc" in log.read_bytes()
    assert shown
    assert shown[1][:5].encode() in log.read_bytes()
    assert b"P001" not in log.read_bytes()
    assert str(cohort_folder).encode() not in log.read_bytes()


NAMES = Names(("anna-01", "bert-02"), ("Basel", "B"), ("/data/lung",))


def test_names_are_hidden_in_tables_and_texts_and_numbers_are_left_alone():
    table = pd.DataFrame(
        {"patient_id": ["bert-02", ""], "centre": ["Basel", "B"], "score": ["0.02", "1"], "why": ["as anna-01", "-"]}
    )

    shown = NAMES.hidden_table(table)
    text = NAMES.hidden({"a": ["anna-01 of Basel in /data/lung/x", 0.5], "centres": ["Basel", "B"], "b": "anna-012"})

    assert shown.to_dict("list") == {
        "patient_id": ["2", ""],
        "centre": ["centre 1", "centre 2"],
        "score": ["0.02", "1"],
        "why": ["as (a patient)", "-"],
    }
    assert text == {"a": ["(a patient) of centre 1 in …/x", 0.5], "centres": ["centre 1", "centre 2"], "b": "anna-012"}


@pytest.mark.parametrize("file", ["anna-01_L1.nii.gz", "x/MUELLER_ANNA.nii.gz", "77_seg.NRRD", "1.2.840.dcm"])
def test_a_file_of_an_image_is_no_longer_named(file):
    assert NAMES.hidden(f"{file}: the mask has no voxel of label 1") == "(a file): the mask has no voxel of label 1"


def test_ids_that_are_numbers_take_messages_with_them():
    names = Names(("12", "15"), (), ())

    shown = names.hidden({"messages": ["12 of 40"], "told": "2 patients share an image, such as 12 and 15; 1 time."})

    assert shown == {"messages": [], "told": "2 patients share an image, such as …; 1 time."}


def test_a_name_within_a_longer_word_is_not_found_and_one_alone_is():
    assert NAMES.found_in(b"xanna-01 anna-011") == ""
    assert NAMES.found_in(b'{"anna-01": 1}') == "a patient's id, anna-01"
    assert NAMES.found_in(b"anna-01_mask.nii.gz is empty") == "a patient's id, anna-01"
    assert NAMES.found_in(b"at /data/lung/x.nii") == "a folder of this machine, /data/lung"


def test_why_a_lesion_has_no_patch_is_not_sent_as_it_names_files(tracked, tmp_path, monkeypatch):
    import shutil

    monkeypatch.chdir(tmp_path)
    run = Path(shutil.copytree(tracked / "run", tmp_path / "run"))
    remark = "MUELLER_ANNA.nii.gz: the mask has no voxel of label 1"
    rows = pd.DataFrame({"patient_id": ["S001"], "lesion_id": ["L1"], "status": [remark], "remark": [""]})
    rows.to_csv(run / "evaluation" / "tables" / "patches.csv", index=False)

    send_evaluation(run, run / "evaluation")

    sent = [path.read_text("utf-8") for path in (run / "wandb" / "sent" / "report").iterdir()]
    encoded = re.findall(r"data:text/csv[^,]*;base64,([A-Za-z0-9+/=]+)", "".join(sent))
    assert encoded
    assert "MUELLER_ANNA" not in "".join([*sent, *(base64.b64decode(one).decode() for one in encoded)])


def test_a_table_within_a_page_is_looked_through(tracked, study, tmp_path):
    page, patient = tmp_path / "report.html", study.ids[3]
    table = base64.b64encode(f"patient_id,why\n4,{patient}_mask.nii.gz is empty\n".encode()).decode()
    page.write_text(f'<a href="data:text/csv;charset=utf-8;base64,{table}">', encoding="utf-8")

    found = [names_in(tracked / "run").found_in(one) for one in _contents(page)]

    assert found == ["", f"a patient's id, {patient}"]
