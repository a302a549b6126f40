"""What an evaluation is told of a run: from its configuration and its model's card, and nothing of the machine."""

import json
from pathlib import Path

import yaml

from radnet.run_description import describe_run, parameters

CONFIG = {
    "name": "one",
    "data": {"_target_": "given", "root": "/home/somebody/cohort", "preset": "small"},
    "model": {"regions": ["lesion", "ring"], "C": float("inf"), "limits": [float("-inf"), 1.5]},
    "output": "/home/somebody/runs/one",
    "cache": "/home/somebody/.cache",
    "workers": 8,
}
INPUTS = [
    "original_shape_Sphericity",
    "log-sigma-1-0-mm-3D_glcm_Contrast",
    "ring__wavelet-LLH_glcm_Contrast",
    "PET__ring__original_firstorder_Mean",
]


def run_folder(folder: Path, **card) -> Path:
    (folder / "model").mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    whole = {"regions": ["lesion", "ring"], "clinical": [], "inputs": INPUTS, "patients_sha256": ["ab"], **card}
    (folder / "model" / "model.json").write_text(json.dumps(whole), encoding="utf-8")
    return folder


def test_what_names_places_on_a_machine_or_patients_stays_in_the_run(tmp_path):
    told = describe_run(run_folder(tmp_path))

    assert told["config"] == {
        "name": "one",
        "data": {"_target_": "given", "preset": "small"},
        "model": {"regions": ["lesion", "ring"], "C": "inf", "limits": ["-inf", 1.5]},
    }
    assert "somebody" not in json.dumps(told, allow_nan=False)
    assert "patients_sha256" not in told["model"]


def test_features_are_counted_by_class_and_further_channels_named(tmp_path):
    model = describe_run(run_folder(tmp_path))["model"]

    assert model["feature_classes"] == {"shape": 1, "glcm": 2, "firstorder": 1}
    assert model["channels"] == ["PET"]


def test_a_network_counts_what_its_steps_kept_and_its_clinical_columns(tmp_path):
    folder = run_folder(tmp_path, network_arguments={"n_features": 3, "n_clinical": 2}, clinical=["age", "stage"])

    assert parameters(describe_run(folder)) == {"candidate": 6, "final": 5}


def test_encoded_clinical_columns_of_a_pipeline_are_no_features(tmp_path):
    told = describe_run(run_folder(tmp_path, inputs=["age", "cancer_stage_II", "cancer_stage_III"], clinical=["age"]))

    assert told["model"]["feature_classes"] == {}
    assert told["model"]["channels"] == []
    assert parameters(told) == {"candidate": 3}


def test_a_folder_without_configuration_or_model_says_nothing(tmp_path):
    told = describe_run(tmp_path)

    assert told == {"config": {}, "model": {}}
    assert parameters(told) == {}
