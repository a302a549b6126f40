"""Model folders: what is saved comes back, and what is not exactly that is refused."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="the network predictor needs the extra train")

from functools import partial

from safetensors.torch import load_file, save_file
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from skops.io import dump

from cohorts import make_cohort
from radnet.cohort import Endpoint
from radnet.evaluation.cutoff import Cutoff
from radnet.learning.fit import TrainerSettings
from radnet.learning.losses import response_loss
from radnet.models.calibration import LogisticCalibration
from radnet.models.networks import RadiomicsMLP
from radnet.models.pipeline import Clip
from radnet.predictors.deep import DeepPredictor
from radnet.predictors.folder import FORMAT_VERSION, load_model, patient_hash, save_model
from radnet.predictors.reading import FittedReading
from radnet.predictors.tabular import TabularPredictor
from radnet.radiomics.select import NearConstant, Uncorrelated

ENDPOINT = Endpoint("response", "response")
READINGS = [FittedReading(ENDPOINT, Cutoff(0.5, "youden"), LogisticCalibration(1.5, -0.5))]


def tabular():
    steps = {"impute": SimpleImputer(), "scale": StandardScaler(), "classify": LogisticRegression()}
    return TabularPredictor("response", steps, regions=["lesion"], clinical=["age", "subtype"])


def network():
    trainer = TrainerSettings(
        max_epochs=5, patience=5, valid_share=0.2, batch_size=16, learning_rate=0.01, weight_decay=0.001
    )
    prepare = {
        "constant": NearConstant(),
        "impute": SimpleImputer(),
        "prune": Uncorrelated(0.95),
        "scale": StandardScaler(),
        "clip": Clip(5.0),
    }
    make = partial(RadiomicsMLP, hidden=[16, 8, 4], dropout=0.1)
    return DeepPredictor("response", make, response_loss, prepare, trainer, seed=3, clinical=["age", "subtype"])


def saved(make, folder):
    cohort = make_cohort(60, seed=1)
    model = make().fit(cohort)
    save_model(folder, model.frozen, cohort, READINGS, name="mine")
    return model


@pytest.mark.parametrize("make", [tabular, network])
def test_a_model_read_back_gives_the_same_scores_to_the_bit(make, tmp_path):
    model, test = saved(make, tmp_path), make_cohort(15, seed=2)

    read = load_model(tmp_path)

    expected = model.predict(test)
    found = read.model.predict(test)
    pd.testing.assert_frame_equal(found.patients, expected.patients, check_exact=True)
    pd.testing.assert_frame_equal(found.lesions, expected.lesions, check_exact=True)
    assert (read.endpoint, read.card["name"]) == (ENDPOINT, "mine")
    pd.testing.assert_frame_equal(
        read.readings[0].read(found).patients, READINGS[0].read(expected).patients, check_exact=True
    )
    assert read.readings[0].read(found).cutoff == 0.5


def test_the_card_names_inputs_schema_and_distribution(tmp_path):
    saved(tabular, tmp_path)

    card = load_model(tmp_path).card
    cohort = make_cohort(60, seed=1)
    ages = cohort.clinical(["age"])["age"]
    lesions = cohort.features.lesion_matrix()

    assert card["clinical_schema"]["age"] == {"kind": "number", "minimum": ages.min(), "maximum": ages.max()}
    assert card["clinical_schema"]["subtype"] == {"kind": "category", "levels": ["HER2+", "TNBC"]}
    distribution = card["training_distribution"]
    np.testing.assert_allclose(distribution["mean"], lesions[distribution["features"]].mean(), rtol=1e-8)
    assert patient_hash("A", "P000") in card["patients_sha256"]


def test_the_cut_off_of_each_endpoint_stands_in_a_file_of_its_own_with_the_sign_of_the_score(tmp_path):
    cohort = make_cohort(60, seed=1)
    pfs = Endpoint("pfs", "pfs_event", "pfs_months", "months")
    without = Endpoint("os", "os_event", "os_months", "months")
    readings = [
        *READINGS,
        FittedReading(pfs, Cutoff(-0.25, "maxstat"), None, negate=True),
        FittedReading(without, None, None),
    ]

    before = {"complete_cases": ["age"], "features": ["original_firstorder_F0"]}
    save_model(tmp_path, tabular().fit(cohort).frozen, cohort, readings, "mine", before)

    assert json.loads((tmp_path / "cutoffs.json").read_text(encoding="utf-8")) == {
        "score": {"value": 0.5, "rule": "youden", "of": "score"},
        "pfs": {"value": -0.25, "rule": "maxstat", "of": "-score"},
    }
    read = load_model(tmp_path)
    assert [one.endpoint for one in read.readings] == [ENDPOINT, pfs, without]
    assert read.card["before"] == before


def test_the_card_tells_how_the_score_was_distributed_in_training(tmp_path):
    score = saved(tabular, tmp_path).predict(make_cohort(60, seed=1)).patients["score"]

    found = load_model(tmp_path).card["training_score"]

    assert found == {"mean": pytest.approx(score.mean()), "sd": pytest.approx(score.std())}


def refused(folder, message):
    with pytest.raises(ValueError, match=message):
        load_model(folder)


def edit(folder, **changes):
    file = folder / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


class Fire:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_pickle_in_the_folder_is_refused_and_not_opened(tmp_path, capsys):
    saved(tabular, tmp_path)
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps(Fire()))

    refused(tmp_path, "refused, it holds files no model has: weights.pkl")
    assert "executed" not in capsys.readouterr().out


def test_a_pickle_in_place_of_the_weights_is_refused_and_not_opened(tmp_path, capsys):
    saved(network, tmp_path)
    (tmp_path / "network.safetensors").write_bytes(pickle.dumps(Fire()))

    refused(tmp_path, "network.safetensors: changed since it was saved")
    assert "executed" not in capsys.readouterr().out


def test_tampered_weights_are_refused(tmp_path):
    saved(network, tmp_path)
    weights = load_file(tmp_path / "network.safetensors")
    weights["fourth.bias"] += 1
    save_file(weights, tmp_path / "network.safetensors")

    refused(tmp_path, "network.safetensors: changed since it was saved")


def test_another_format_version_is_refused(tmp_path):
    saved(tabular, tmp_path)
    edit(tmp_path, format_version=FORMAT_VERSION - 1)

    refused(tmp_path, f"model format {FORMAT_VERSION - 1}, this radnet reads {FORMAT_VERSION}; train it anew")


@pytest.mark.parametrize("change", [{"endpoint": {"name": "x"}}, {"network": "os.system"}, {"centres": []}])
def test_a_changed_card_is_refused(change, tmp_path):
    saved(network, tmp_path)
    edit(tmp_path, **change)

    refused(tmp_path, "model.json: changed since it was saved")


def test_a_sealed_card_still_cannot_name_code(tmp_path):
    from radnet.predictors.folder import _seal

    saved(network, tmp_path)
    card = json.loads((tmp_path / "model.json").read_text())
    card.pop("card_sha256")
    card["network"] = "os.system"
    (tmp_path / "model.json").write_text(json.dumps({**card, "card_sha256": _seal(card)}))

    refused(tmp_path, "no network os.system; known are RadiomicsMLP")


def test_a_sealed_pipeline_still_cannot_hold_strange_objects(tmp_path):
    from radnet.files import file_hash
    from radnet.predictors.folder import _seal

    saved(tabular, tmp_path)
    dump(Fire(), tmp_path / "pipeline.skops")
    card = json.loads((tmp_path / "model.json").read_text())
    card.pop("card_sha256")
    card["files_sha256"]["pipeline.skops"] = file_hash(tmp_path / "pipeline.skops")
    (tmp_path / "model.json").write_text(json.dumps({**card, "card_sha256": _seal(card)}))

    refused(tmp_path, r"pipeline\.skops: (refused|cannot be read)")


def test_a_missing_file_is_named(tmp_path):
    saved(network, tmp_path)
    (tmp_path / "prepare.skops").unlink()

    refused(tmp_path, "incomplete, without prepare.skops")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}'])
def test_a_card_that_is_none_is_told(text, tmp_path):
    saved(tabular, tmp_path)
    (tmp_path / "model.json").write_text(text)

    refused(tmp_path, "not the description of a model")


def test_a_folder_that_is_none_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="a model is the folder model/ of a run"):
        load_model(tmp_path)
