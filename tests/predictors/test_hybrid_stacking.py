"""A stack of networks that score lesions: one of radiomics, one of patches, and clinical columns beside them."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="networks need the extra train")
pytest.importorskip("monai", reason="images need the extra train")

from sklearn.linear_model import LogisticRegression

from cohorts import make_study, with_patches
from radnet.ablation import ablations
from radnet.cohort import Endpoint
from radnet.config import build, load_config
from radnet.predictors.folder import load_model, save_model
from radnet.predictors.reading import Reading

FOLDER = TemporaryDirectory()
STUDY = with_patches(make_study(60, seed=4), Path(FOLDER.name) / "study.npy")
LEARNED, JUDGED = STUDY.select(STUDY.ids[:48]), STUDY.select(STUDY.ids[48:])
TINY = [
    *("imaging.size_voxels=[8,8,8]", "~imaging.channels.ring", "~imaging.channels.distance"),
    *("~imaging.channels.about_lesion", "trainer.max_epochs=2", "model.folds.n_folds=3"),
    "model.members.image.network.cnn.arguments.block_inplanes=[2,2,2,2]",
    *(f"model.members.{name}.network.embedding=4" for name in ("radiomics", "image")),
]
CONFIG = load_config("train", ["experiment=hybrid", "model=hybrid_stacking", *TINY])


@pytest.fixture(scope="module")
def fitted():
    return build(CONFIG.model).fit(LEARNED)


def test_its_score_is_a_regression_on_out_of_fold_scores_of_both_networks_and_the_clinical_columns(fitted):
    def alone(name):
        return build(CONFIG.model.members[name])()

    folds = build(CONFIG.model.folds)(LEARNED, "response")
    shown = pd.DataFrame(index=LEARNED.ids)
    for name in ("radiomics", "image"):
        for fold in folds:
            model = alone(name).fit(LEARNED.select(fold.train))
            shown.loc[list(fold.test), name] = model.predict(LEARNED.select(fold.test)).patients["score"]
    clinical = fitted.frozen.encoder.transform(LEARNED.clinical(fitted.beside))
    last = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-8, max_iter=100)
    last.fit(np.column_stack([shown, clinical]), LEARNED.events("response").astype(int))

    found = fitted.predict(JUDGED).patients

    own = [alone(name).fit(LEARNED).predict(JUDGED).patients["score"] for name in ("radiomics", "image")]
    columns = np.column_stack([*own, fitted.frozen.encoder.transform(JUDGED.clinical(fitted.beside))])
    np.testing.assert_allclose(found["score"], last.decision_function(columns), rtol=1e-6, atol=1e-8)
    assert found["probability"].isna().all()  # a penalty flattens them


def test_it_reads_what_both_read_and_of_each_patient_their_scores(fitted):
    inputs = fitted.frozen.inputs(JUDGED)

    assert fitted.regions == fitted.frozen.regions == ("lesion",)
    assert fitted.imaging == fitted.frozen.imaging == build(CONFIG.imaging)
    assert list(inputs.columns[:2]) == ["radiomics", "image"]
    assert list(inputs.index) == JUDGED.ids
    np.testing.assert_allclose(fitted.frozen.score(inputs), fitted.predict(JUDGED).patients["score"], rtol=1e-5)


def test_read_back_it_gives_the_same_scores_to_the_bit(fitted, tmp_path):
    save_model(tmp_path, fitted.frozen, LEARNED, [Reading(Endpoint("response", "response"), None).unfitted()])

    found = load_model(tmp_path).model.predict(JUDGED)

    expected = fitted.predict(JUDGED)
    pd.testing.assert_frame_equal(found.patients, expected.patients, check_exact=True)
    pd.testing.assert_frame_equal(found.lesions, expected.lesions, check_exact=True)
    assert {"radiomics", "image"} <= {one.name for one in tmp_path.iterdir()}


def test_a_lesion_without_a_patch_is_scored_by_its_features_and_what_the_image_says_of_the_patient(fitted):
    patient = next(one for one in JUDGED.patients if len(one.lesions) > 1)
    key = (patient.id, patient.lesions[0].id)
    rows = JUDGED.patches.rows.copy()
    gone = (rows["patient_id"] == key[0]) & (rows["lesion_id"] == key[1])
    rows.loc[gone, ["place", "status"]] = [-1, "unreadable"]

    found = fitted.predict(JUDGED.with_patches(replace(JUDGED.patches, rows=rows)))

    cohort = JUDGED.with_patches(replace(JUDGED.patches, rows=rows)).select([patient.id])
    radiomics, image = (fitted.frozen.members[name].predict(cohort) for name in ("radiomics", "image"))
    clinical = fitted.frozen.encoder.transform(cohort.clinical(fitted.beside))[0]
    columns = [radiomics.lesions["score"][key], image.patients["score"].iloc[0], *clinical]
    last = fitted.frozen.steps[-1]
    assert key not in image.lesions.index
    np.testing.assert_allclose(found.lesions["score"][key], last.coef_[0] @ columns + last.intercept_[0], rtol=1e-5)


def test_ablations_of_it_are_each_network_alone_and_each_left_out():
    made = ablations(CONFIG.model, endpoint_has_time=False)

    alone = {name: build(node) for name, node in made.items() if name.endswith("_alone")}
    assert set(made) == {
        f"ablation_{word}" for one in ("radiomics", "image", "clinical") for word in (f"{one}_alone", f"without_{one}")
    }
    assert [type(alone[f"ablation_{one}_alone"]).__name__ for one in ("radiomics", "image", "clinical")] == [
        *("HybridPredictor", "HybridPredictor", "TabularPredictor")
    ]
