"""A frozen model on patients it has not seen: scores, refusals, distance and drift."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression

from cohorts import make_cohort, make_study, write_cohort
from radnet.cli import main
from radnet.cohort import Cohort, Endpoint, FeatureTable
from radnet.data.targets import TargetRule, select_targets
from radnet.evaluation.cutoff import Cutoff
from radnet.models.calibration import HazardCalibration
from radnet.prediction import score, score_drift
from radnet.predictors.folder import save_model
from radnet.predictors.reading import FittedReading
from radnet.predictors.tabular import TabularPredictor

READINGS = [FittedReading(Endpoint("response", "response"), Cutoff(0.25, "youden"), None)]


def train(folder, provenance=None):
    cohort = make_cohort(60, seed=1)
    if provenance:
        cohort = Cohort(cohort.patients, FeatureTable(cohort.features.rows, provenance))
    steps = {"impute": SimpleImputer(), "classify": LogisticRegression(max_iter=5000, solver="newton-cholesky")}
    model = TabularPredictor("response", steps, regions=["lesion"], clinical=["age", "subtype"]).fit(cohort)
    save_model(folder / "model", model.frozen, cohort, READINGS, "mine")
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


PFS = Endpoint("pfs", "pfs_event", "pfs_months", "months", horizon=12)
HAZARD = HazardCalibration(1.0, (6.0, 12.0), (0.1, 0.3))


def train_on_study(folder, before=None):
    """A model of age and PD-L1 whose score is read on response and, negated, on progression-free survival."""
    study = make_study(60, seed=1)
    steps = {"classify": LogisticRegression(solver="newton-cholesky")}
    model = TabularPredictor("response", steps, clinical=["age", "cps"]).fit(study)
    read_too = FittedReading(PFS, Cutoff(-0.1, "median"), HAZARD, negate=True, horizons=(6.0,))
    save_model(folder / "model", model.frozen, study, [*READINGS, read_too], "mine", before)
    return model


def test_a_score_is_read_on_further_endpoints_of_new_patients_too(tmp_path):
    model, new = train_on_study(tmp_path), make_study(12, seed=2, first=100)

    scored = score(tmp_path / "model", write_cohort(new, tmp_path / "new"), tmp_path / "cache")

    expected = model.predict(new).patients["score"].to_numpy()
    response, pfs = (scored.predictions[scored.predictions["endpoint"] == name] for name in ("response", "pfs"))
    assert set(response["model"]) == {"mine"}
    assert set(pfs["model"]) == {"mine_negated"}
    assert pfs["patient_id"].tolist() == response["patient_id"].tolist() == new.ids
    np.testing.assert_allclose(pfs["score"], -expected, rtol=1e-12)
    np.testing.assert_allclose(pfs["probability"], 1 - np.exp(-0.3 * np.exp(-expected)), rtol=1e-9)
    np.testing.assert_allclose(pfs["probability_6"], 1 - np.exp(-0.1 * np.exp(-expected)), rtol=1e-9)
    assert response["probability_6"].isna().all()
    assert set(pfs["cutoff"]) == {-0.1}
    np.testing.assert_allclose(pfs["time"], new.times("pfs"))


def test_a_further_endpoint_the_new_patients_lack_is_left_unknown(tmp_path):
    train_on_study(tmp_path)
    folder = write_cohort(make_study(12, seed=2, first=100), tmp_path / "new")
    clinical = pd.read_csv(folder / "clinical.csv", dtype=str)
    clinical.drop(columns=["pfs_event", "pfs_months"]).to_csv(folder / "clinical.csv", index=False)

    predictions = score(tmp_path / "model", folder, tmp_path).predictions

    assert predictions.groupby("endpoint")["event"].apply(lambda event: int(event.notna().sum())).to_dict() == {
        "pfs": 0,
        "response": 12,
    }
    assert np.isfinite(predictions["score"]).all()


def test_a_patient_without_what_training_patients_had_to_have_is_not_scored(tmp_path):
    train_on_study(tmp_path, {"complete_cases": ["cps"]})
    study = make_study(12, seed=2, first=100)
    patients = [
        replace(one, clinical={**one.clinical, "cps": None}) if one.id == "S103" else one for one in study.patients
    ]

    scored = score(tmp_path / "model", write_cohort(Cohort(tuple(patients)), tmp_path / "new"), tmp_path)

    assert scored.unscored.to_dict("records") == [{"patient_id": "S103", "centre": "A", "reason": "cps is not known"}]
    assert "S103" not in set(scored.predictions["patient_id"])


def test_lesions_of_new_patients_are_chosen_as_those_of_training_were(tmp_path):
    learned, new = make_study(60, seed=1), make_study(12, seed=2, first=100)
    rule = TargetRule(per_site=1, total=2, first=["liver"])
    chosen, _ = select_targets(learned, rule)
    steps = {"classify": LogisticRegression(max_iter=5000)}
    model = TabularPredictor("response", steps, regions=["lesion"]).fit(chosen)
    before = {"targets": {**asdict(rule), "first": list(rule.first)}}
    save_model(tmp_path / "model", model.frozen, chosen, READINGS, "mine", before)

    scored = score(tmp_path / "model", write_cohort(new, tmp_path / "new"), tmp_path)

    by_hand, _ = select_targets(new, rule)
    expected = model.predict(by_hand)
    np.testing.assert_allclose(scored.predictions["score"], expected.patients["score"], rtol=1e-12)
    assert len(scored.lesions) == len(expected.lesions) < sum(len(one.lesions) for one in new.patients)


@pytest.mark.parametrize(("times", "warned"), [(2.9, False), (3.1, True)])
def test_a_score_that_spreads_over_three_times_as_far_as_in_training_is_told(times, warned):
    spread = pd.Series([-1.0, 0.0, 1.0]) * times  # of standard deviation 1, times this

    told = score_drift(spread, training_sd=1.0)

    assert told.startswith(f"drift: the score's standard deviation is {times} here and was 1 in training") is warned
    assert bool(told) is warned


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
    save_model(tmp_path / "model", model.frozen, learned, READINGS)
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


def test_a_patient_of_whom_a_site_is_not_known_costs_no_other_his_score(tmp_path):
    steps = {"impute": SimpleImputer(), "classify": LogisticRegression(max_iter=5000, solver="newton-cholesky")}
    learned, sites = make_cohort(60, seed=1), ["node", "liver", "other"]
    model = TabularPredictor("response", steps, regions=["lesion"], unit="lesion", sites=sites).fit(learned)
    save_model(tmp_path / "model", model.frozen, learned, READINGS, "mine")
    cohort = newcomers()
    nowhere = {one.id: replace(one.lesions[0], site="") for one in cohort.patients if one.id == "NP003"}
    patients = [
        replace(one, lesions=(nowhere[one.id], *one.lesions[1:])) if one.id in nowhere else one
        for one in cohort.patients
    ]

    folder = write_cohort(Cohort(tuple(patients), cohort.features), tmp_path / "new")
    scored = score(tmp_path / "model", folder, tmp_path)

    told = "site of lesion L1 is empty: the model reads node, liver, other"
    assert scored.unscored.to_dict("records") == [{"patient_id": "NP003", "centre": "D", "reason": told}]
    others = [one for one in cohort.ids if one != "NP003"]
    expected = model.predict(cohort.select(others)).patients["score"]
    np.testing.assert_allclose(scored.predictions.set_index("patient_id").loc[others, "score"], expected, rtol=1e-12)


def test_a_lesion_that_has_no_part_in_a_score_is_listed_with_the_reason_and_printed(tmp_path, capsys):
    train(tmp_path)
    cohort = newcomers()
    rows = cohort.features.rows.copy()
    several = rows["patient_id"].map(rows["patient_id"].value_counts()) > 1
    lost = rows.index == rows.index[several][0]
    rows.loc[lost, cohort.features.names] = np.nan
    rows.loc[lost, "status"] = "the mask is empty"
    patient, lesion = rows.loc[lost, ["patient_id", "lesion_id"]].iloc[0]
    folder = write_cohort(Cohort(cohort.patients, FeatureTable(rows)), tmp_path / "new")

    scored = score(tmp_path / "model", folder, tmp_path)

    assert scored.unmeasured.to_dict("records") == [
        {"patient_id": patient, "lesion_id": lesion, "reason": "the mask is empty"}
    ]
    assert patient in set(scored.predictions["patient_id"])
    out = tmp_path / "scores.parquet"
    assert main(["predict", "--model", str(tmp_path / "model"), "--data", str(folder), "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert f"scored without lesion {lesion}: patient {patient}: the mask is empty" in told.err
    assert f"{len(cohort)} patients scored, 0 not" in told.out


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
