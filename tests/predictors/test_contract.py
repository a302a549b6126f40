"""What the predictor of every experiment of conf/ must obey, strict and as published."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="the network predictors need the extra train")

from cohorts import make_study, with_patches
from radnet.config import build, load_config, options
from radnet.predictors.folder import load_model, save_model
from radnet.predictors.nested import as_read
from radnet.predictors.reading import Reading

EXPERIMENTS = [*options("experiment"), *(f"as_published/{name}" for name in options("experiment/as_published"))]
EVERY = pytest.mark.parametrize("experiment", EXPERIMENTS)
SMALL_NET = ["elastic_net.elastic_net.alphas=[1.0]", "elastic_net.elastic_net.n_folds=4"]
LINEAR = [
    "ligero_clinical",
    "wang_clinical",
    "wang_tnm",
    "zhao_clinical",
    "zhao_clinical_pdl1",
    "zhao_pdl1",
    "zhao_pdl1_ge10",
]
FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}  # a network sums a batch of another size in another order

REGIONS = ("lesion", "ring")
FOLDER = TemporaryDirectory()
STUDY = with_patches(make_study(72, seed=1, regions=REGIONS), Path(FOLDER.name) / "study.npy")
LEARNED, JUDGED = STUDY.select(STUDY.ids[:60]), STUDY.select(STUDY.ids[60:])


OURS = ("hybrid", "cnn_patch", "radiomics_attention")
TINY_NET = ["trainer.max_epochs=2", "model.network.embedding=4"]
TINY_PATCHES = [
    *(
        "imaging.size_voxels=[8,8,8]",
        "~imaging.channels.ring",
        "~imaging.channels.distance",
        "~imaging.channels.about_lesion",
    ),
    *("model.network.cnn.arguments.block_inplanes=[4,4,4,4]", "model.network.cnn.arguments.layers=[1,1,1,1]"),
]


def configured(experiment):
    small = dict.fromkeys(OURS, TINY_NET)
    small |= {name: [*TINY_NET, *TINY_PATCHES] for name in ("hybrid", "cnn_patch")}
    small |= {"han": ["model.steps.forest.n_trees=[20]"], "zhao": ["trainer.max_epochs=2"]}
    small["ligero_radiomics"] = [f"model.steps.{one}" for one in SMALL_NET]
    small["ligero_combined"] = [f"model.members.radiomics.steps.{one}" for one in SMALL_NET]
    typed = [one for name, of_name in small.items() if name in experiment for one in of_name]
    return load_config("train", [f"experiment={experiment}", *typed])


def untrained(experiment):
    return build(configured(experiment).model)


@cache
def fitted(experiment):
    return untrained(experiment).fit(LEARNED)


@cache
def prediction(experiment):
    return fitted(experiment).predict(JUDGED)


def same_to_the_bit(found, expected):
    pd.testing.assert_frame_equal(found.patients, expected.patients, check_exact=True)
    pd.testing.assert_frame_equal(found.lesions, expected.lesions, check_exact=True)
    assert found.cutoff == expected.cutoff
    assert list(found.also) == list(expected.also)
    for endpoint, one in found.also.items():
        same_to_the_bit(one, expected.also[endpoint])


@EVERY
def test_each_patient_judged_has_one_finite_score_in_order(experiment):
    patients = prediction(experiment).patients

    assert list(patients.index) == JUDGED.ids
    assert np.isfinite(patients["score"]).all()
    assert len(set(patients["score"])) > 1


@EVERY
def test_each_lesion_judged_has_one_finite_score_where_the_model_sees_lesions(experiment):
    lesions = prediction(experiment).lesions

    every = [(one.id, lesion.id) for one in JUDGED.patients for lesion in one.lesions]
    sees_lesions = fitted(experiment).regions or getattr(fitted(experiment), "imaging", None)
    assert list(lesions.index) == (every if sees_lesions else [])
    assert np.isfinite(lesions.to_numpy()).all()


@EVERY
def test_a_score_does_not_depend_on_who_else_is_scored_nor_on_their_order(experiment):
    model, expected = fitted(experiment), prediction(experiment).patients

    alone = pd.concat([model.predict(JUDGED.select([patient])).patients for patient in JUDGED.ids])
    turned = model.predict(replace(JUDGED, patients=JUDGED.patients[::-1])).patients

    pd.testing.assert_frame_equal(alone, expected, **FLOAT32)
    assert list(turned.index) == JUDGED.ids[::-1]
    pd.testing.assert_frame_equal(turned.loc[JUDGED.ids], expected, **FLOAT32)


def with_outcomes(cohort, outcomes):
    patients = [
        type(one)(one.id, one.centre, one.split, given, one.lesions, one.clinical)
        for one, given in zip(cohort.patients, outcomes, strict=True)
    ]
    return replace(cohort, patients=tuple(patients))


@EVERY
@pytest.mark.parametrize("outcomes", ["of others", "unknown"])
def test_outcomes_of_patients_judged_change_no_score(outcomes, experiment):
    given = [one.outcomes if outcomes == "of others" else {} for one in JUDGED.patients]

    found = fitted(experiment).predict(with_outcomes(JUDGED, given[::-1]))

    same_to_the_bit(found, prediction(experiment))


@EVERY
def test_nothing_of_a_patient_judged_enters_what_is_learned(experiment):
    rows = STUDY.features.rows.copy()
    strange = rows["patient_id"].isin(JUDGED.ids)
    rows.loc[strange, STUDY.features.names] *= -50
    patients = [
        type(one)(one.id, "Z", None, {}, one.lesions, {**one.clinical, "subtype": "other", "age": 1e6})
        if one.id in JUDGED.ids
        else one
        for one in STUDY.patients
    ]
    features = type(STUDY.features)(rows, STUDY.features.provenance)
    changed = replace(STUDY, patients=tuple(patients), features=features)

    model = untrained(experiment).fit(changed.select(LEARNED.ids))

    same_to_the_bit(model.predict(JUDGED), prediction(experiment))


@EVERY
def test_two_predictors_of_one_configuration_share_nothing(experiment):
    config = configured(experiment)
    first, second = (build(config.model) for _ in range(2))

    first.fit(with_patches(make_study(60, seed=5, first=500, regions=REGIONS), Path(FOLDER.name) / "other.npy"))
    before = first.predict(JUDGED)
    second.fit(LEARNED)

    same_to_the_bit(first.predict(JUDGED), before)
    same_to_the_bit(second.predict(JUDGED), prediction(experiment))  # and the same seed gives the same bits
    assert not before.patients["score"].equals(prediction(experiment).patients["score"])


@pytest.mark.parametrize("experiment", LINEAR)
def test_the_order_of_patients_learned_from_changes_nothing_in_a_linear_model(experiment):
    order = np.random.default_rng(2).permutation(len(LEARNED))
    shuffled = replace(LEARNED, patients=tuple(LEARNED.patients[place] for place in order))

    found = untrained(experiment).fit(shuffled).predict(JUDGED).patients

    # both fits end within a Newton step of the one maximum of a concave likelihood
    pd.testing.assert_frame_equal(found, prediction(experiment).patients, rtol=1e-6, atol=1e-8)


@EVERY
def test_what_a_model_says_it_reads_gives_its_scores(experiment):
    frozen = fitted(experiment).frozen

    found = frozen.score(frozen.inputs(JUDGED))

    np.testing.assert_allclose(found, prediction(experiment).patients["score"], **FLOAT32)


def saved(experiment, folder):
    """Save a model with its readings, learned on apparent scores for once; return these."""
    config, model = configured(experiment), fitted(experiment)
    learned = Reading(build(config.endpoint), build(config.cutoff), horizons=tuple(config.horizons))
    score = model.predict(LEARNED).patients["score"]
    readings = [one.fit(LEARNED, score) for one in (learned, *(build(also) for also in config.also.values()))]
    save_model(folder, model.frozen, LEARNED, readings, config.name, {"complete_cases": list(config.complete_cases)})
    return readings


@EVERY
def test_a_model_read_back_gives_the_same_scores_lesions_and_readings_to_the_bit(experiment, tmp_path):
    readings = saved(experiment, tmp_path)

    model = load_model(tmp_path)

    same_to_the_bit(
        as_read(model.model.predict(JUDGED), model.readings),
        as_read(fitted(experiment).frozen.predict(JUDGED), readings),
    )
    assert [one.as_dict() for one in model.readings] == [one.as_dict() for one in readings]
    assert model.readings[0].cutoff is not None
    assert model.model.regions == fitted(experiment).regions
    assert set(model.card["clinical"]) == set(fitted(experiment).clinical)
    assert model.model.selection() == fitted(experiment).frozen.selection()


@EVERY
def test_a_model_folder_with_any_file_changed_is_refused_by_name(experiment, tmp_path):
    saved(experiment, tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]

    for path in files:
        kept = path.read_bytes()
        path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        with pytest.raises(ValueError, match=f"{path.name}: (changed since it was saved|not the description)"):
            load_model(tmp_path)
        path.write_bytes(kept)

    assert load_model(tmp_path).card["name"] == configured(experiment).name


@pytest.mark.parametrize("experiment", ["wang_nomogram", "zhao_stacking"])
def test_a_stack_keeps_each_member_in_a_folder_of_its_own_and_refuses_one_without(experiment, tmp_path):
    saved(experiment, tmp_path)
    (member,) = fitted(experiment).members
    inside = sorted(path.name for path in (tmp_path / member).iterdir())

    assert inside == (["pipeline.skops"] if member == "score" else ["network.safetensors", "prepare.skops"])
    (tmp_path / member / inside[0]).unlink()
    with pytest.raises(ValueError, match=f"incomplete, without {member}/{inside[0]}"):
        load_model(tmp_path)


@EVERY
def test_a_feature_that_could_not_be_measured_of_a_patient_is_filled_in(experiment):
    rows = LEARNED.features.rows.copy()
    rows.loc[rows["patient_id"] == "S003", "original_glcm_Contrast"] = np.nan
    model = build(configured(experiment).model).fit(LEARNED.with_features(replace(LEARNED.features, rows=rows)))
    unmeasured = JUDGED.features.rows.assign(original_glcm_Idm=np.nan)

    found = model.predict(JUDGED.with_features(replace(JUDGED.features, rows=unmeasured))).patients

    assert np.isfinite(found["score"]).all()
