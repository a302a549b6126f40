"""A frozen model on patients it has not seen: scores, refusals, distance and drift."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression

from cohorts import make_cohort, write_cohort
from radnet.cohort import Cohort, Endpoint, FeatureTable
from radnet.prediction import score
from radnet.predictors.folder import save_model
from radnet.predictors.tabular import TabularPredictor

CUTOFFS = {"score": {"value": 0.25, "rule": "youden"}}


def train(folder, provenance=None):
    cohort = make_cohort(60, seed=1)
    if provenance:
        cohort = Cohort(cohort.patients, FeatureTable(cohort.features.rows, provenance))
    steps = {"impute": SimpleImputer(), "classify": LogisticRegression(max_iter=5000, solver="newton-cholesky")}
    model = TabularPredictor("response", steps, regions=["lesion"], clinical=["age", "subtype"]).fit(cohort)
    save_model(folder / "model", model.frozen, cohort, Endpoint("response", "response"), CUTOFFS, "mine")
    return model


def newcomers(n=12, centres="CD"):
    """Patients of other centres under other names."""
    cohort = make_cohort(n, seed=7)
    names = {one.id: f"N{one.id}" for one in cohort.patients}
    patients = [
        replace(one, id=names[one.id], centre=centres[i % len(centres)]) for i, one in enumerate(cohort.patients)
    ]
    rows = cohort.features.rows.assign(patient_id=cohort.features.rows["patient_id"].map(names))
    return Cohort(tuple(patients), FeatureTable(rows, cohort.features.provenance))


def test_new_patients_get_the_scores_of_the_model_with_its_cut_off(tmp_path):
    model, cohort = train(tmp_path), newcomers()

    scored = score(tmp_path / "model", write_cohort(cohort, tmp_path / "new"), tmp_path / "cache")

    expected = model.predict(cohort).patients["score"]
    np.testing.assert_allclose(scored.predictions["score"], expected, rtol=1e-12)
    assert set(scored.predictions["partition"]) == {"held_out"}
    assert set(scored.predictions["cutoff"]) == {0.25}
    assert scored.predictions["event"].tolist() == cohort.events("response").astype(float).tolist()


def test_patients_without_an_outcome_yet_are_scored(tmp_path):
    train(tmp_path)
    folder = write_cohort(newcomers(), tmp_path / "new")
    pd.read_csv(folder / "clinical.csv", dtype=str).drop(columns=["response", "split"]).to_csv(
        folder / "clinical.csv", index=False
    )

    scored = score(tmp_path / "model", folder, tmp_path / "cache")

    assert scored.predictions["event"].isna().all()
    assert np.isfinite(scored.predictions["score"]).all()


def test_only_the_centres_asked_for_are_scored_and_an_unknown_one_is_named(tmp_path):
    train(tmp_path)
    folder = write_cohort(newcomers(), tmp_path / "new")

    assert set(score(tmp_path / "model", folder, tmp_path, centres=["D"]).predictions["centre"]) == {"D"}
    with pytest.raises(ValueError, match="no patient of centre E; it has C, D"):
        score(tmp_path / "model", folder, tmp_path, centres=["C", "E"])


def test_a_patient_and_a_centre_the_model_learned_from_are_refused(tmp_path):
    train(tmp_path)
    folder = write_cohort(make_cohort(60, seed=1), tmp_path / "old")

    with pytest.raises(ValueError, match=r"(?s)learned from centre A, B.*learned from 60 of these patients"):
        score(tmp_path / "model", folder, tmp_path, refuse_learned=True)


def test_an_image_the_model_learned_from_is_known_again_under_another_name(tmp_path):
    cohort = make_cohort(60, seed=1)
    (tmp_path / "scan.nii").write_bytes(b"a scan")
    (tmp_path / "copy.nii").write_bytes(b"a scan")

    def with_image(one, path):
        from radnet.cohort import Delineation

        lesions = tuple(replace(lesion, delineations=(Delineation(image=path, mask=path),)) for lesion in one.lesions)
        return replace(one, lesions=lesions)

    learned = Cohort((with_image(cohort.patients[0], tmp_path / "scan.nii"), *cohort.patients[1:]), cohort.features)
    steps = {"impute": SimpleImputer(), "classify": LogisticRegression(solver="newton-cholesky")}
    model = TabularPredictor("response", steps, regions=["lesion"]).fit(learned)
    save_model(tmp_path / "model", model.frozen, learned, Endpoint("response", "response"), CUTOFFS)
    folder = write_cohort(newcomers(), tmp_path / "new")
    lesions = pd.read_csv(folder / "lesions.csv")
    lesions.loc[0, ["image", "mask"]] = str(tmp_path / "copy.nii")
    lesions.to_csv(folder / "lesions.csv", index=False)

    with pytest.raises(ValueError, match="learned from the images of 1 of these patients, such as NP000"):
        score(tmp_path / "model", folder, tmp_path, refuse_learned=True)


def test_features_measured_with_other_settings_are_refused(tmp_path):
    train(tmp_path, {"fingerprint": "a", "engine": "pyradiomics", "settings": {"bin_width": 25}})
    cohort = newcomers()
    other = Cohort(cohort.patients, FeatureTable(cohort.features.rows, {"fingerprint": "b", "engine": "pyradiomics"}))

    with pytest.raises(ValueError, match="measured with other settings or another engine"):
        score(tmp_path / "model", write_cohort(other, tmp_path / "new"), tmp_path)


def test_who_cannot_be_scored_is_listed_with_the_reason(tmp_path):
    train(tmp_path)
    cohort = newcomers()
    rows = cohort.features.rows.copy()
    lost = rows["patient_id"] == "NP003"
    rows.loc[lost, cohort.features.names] = np.nan
    rows.loc[lost, "status"] = "the mask is empty"

    folder = write_cohort(Cohort(cohort.patients, FeatureTable(rows)), tmp_path / "new")
    scored = score(tmp_path / "model", folder, tmp_path)

    assert scored.unscored.to_dict("records") == [{"patient_id": "NP003", "centre": "D", "reason": "the mask is empty"}]
    assert "NP003" not in set(scored.predictions["patient_id"])


def test_a_patient_unlike_the_training_patients_is_flagged(tmp_path):
    train(tmp_path)
    cohort = newcomers()
    rows = cohort.features.rows.copy()
    rows.loc[rows["patient_id"] == "NP005", cohort.features.names] += 1000.0
    patients = [
        replace(one, clinical={**one.clinical, "age": 140.0}) if one.id == "NP002" else one for one in cohort.patients
    ]

    folder = write_cohort(Cohort(tuple(patients), FeatureTable(rows)), tmp_path / "new")
    table = score(tmp_path / "model", folder, tmp_path).predictions.set_index("patient_id")

    assert table.loc["NP005", "far_from_training"] == 1
    assert table.loc["NP002", ["far_from_training", "outside_training"]].tolist() == [1, "age"]
    assert table["far_from_training"].sum() <= 4


def test_drift_and_prevalence_by_hand(tmp_path):
    train(tmp_path)
    cohort = newcomers()

    scored = score(tmp_path / "model", write_cohort(cohort, tmp_path / "new"), tmp_path)

    trained = make_cohort(60, seed=1).features.lesion_matrix()["original_firstorder_F2"]
    centre_c = {one.id for one in cohort.patients if one.centre == "C"}
    here = cohort.features.lesion_matrix()["original_firstorder_F2"]
    here = here[here.index.get_level_values("patient_id").isin(centre_c)]
    expected = (here.mean() - trained.mean()) / np.sqrt((trained.var() + here.var(ddof=0)) / 2)
    row = scored.drift.set_index(["centre", "feature"]).loc[("C", "original_firstorder_F2")]
    assert row["standardised_difference"] == pytest.approx(expected, rel=1e-6)
    prevalence = scored.prevalence.set_index("centre")
    interval = binomtest(20, 60).proportion_ci(method="exact")
    assert prevalence.loc["training", ["prevalence", "lower", "upper"]].tolist() == pytest.approx([1 / 3, *interval])
    assert prevalence.loc["", "n"] == 12
