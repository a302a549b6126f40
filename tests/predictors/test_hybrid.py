from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="networks need the extra train")
pytest.importorskip("monai", reason="images need the extra train")

from safetensors.torch import save_file  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402

from cohorts import make_study, with_patches  # noqa: E402
from radnet.cohort import Cohort  # noqa: E402
from radnet.config import ConfigFault, build, load_config  # noqa: E402
from radnet.predictors.frozen_hybrid import EndpointHead, FrozenHybrid  # noqa: E402

FOLDER = TemporaryDirectory()
STUDY = with_patches(make_study(60, seed=4), Path(FOLDER.name) / "study.npy")
LEARNED, JUDGED = STUDY.select(STUDY.ids[:48]), STUDY.select(STUDY.ids[48:])
TINY = [
    *(
        "imaging.size_voxels=[8,8,8]",
        "~imaging.channels.ring",
        "~imaging.channels.distance",
        "~imaging.channels.about_lesion",
    ),
    *("model.network.cnn.arguments.block_inplanes=[2,2,2,2]", "model.network.embedding=4", "trainer.max_epochs=2"),
]


def untrained(*typed, experiment="hybrid"):
    return build(load_config("train", [f"experiment={experiment}", *TINY, *typed]).model)


def without_patches(cohort, of=None):
    """Return the cohort without the patches of these patients, or of everybody."""
    rows = cohort.patches.rows.copy()
    gone = rows["patient_id"].isin(cohort.ids if of is None else of)
    rows.loc[gone, ["place", "status"]] = [-1, "unreadable"]
    return cohort.with_patches(replace(cohort.patches, rows=rows))


def without_features(cohort, of):
    rows = cohort.features.rows.copy()
    gone = rows["patient_id"].isin(of)
    rows.loc[gone, cohort.features.names] = np.nan
    rows.loc[gone, "status"] = "mask is empty"
    return cohort.with_features(replace(cohort.features, rows=rows))


def without_clinical(cohort, of):
    patients = tuple(
        replace(one, clinical=dict.fromkeys(one.clinical)) if one.id in of else one for one in cohort.patients
    )
    return replace(cohort, patients=patients)


@pytest.fixture(scope="module")
def fitted():
    return untrained().fit(LEARNED)


@pytest.mark.parametrize("lack", [without_patches, without_features, without_clinical], ids=lambda one: one.__name__)
def test_a_patient_who_lacks_a_branch_is_scored_and_no_other_score_changes(lack, fitted):
    whole = fitted.predict(JUDGED).patients["score"]
    (poor, *others) = JUDGED.ids

    found = fitted.predict(lack(JUDGED, [poor])).patients["score"]

    assert np.isfinite(found[poor])
    assert found[poor] != whole[poor]
    pd.testing.assert_series_equal(found[others], whole[others], rtol=1e-5, atol=1e-6)


def test_a_patient_with_neither_features_nor_patches_is_named(fitted):
    with pytest.raises(ValueError, match=f"no lesion of 1 patients can be read, such as {JUDGED.ids[3]}"):
        fitted.predict(without_patches(without_features(JUDGED, [JUDGED.ids[3]]), [JUDGED.ids[3]]))


def test_the_weights_of_a_patients_lesions_add_up_to_one(fitted):
    lesions = fitted.predict(JUDGED).lesions

    total = lesions["weight"].groupby(level="patient_id").sum()
    np.testing.assert_allclose(total, 1.0, rtol=1e-6)
    assert (lesions["weight"] >= 0).all()


def test_a_patient_of_one_lesion_has_the_score_of_that_lesion(fitted):
    prediction = fitted.predict(JUDGED)
    single = [one.id for one in JUDGED.patients if len(one.lesions) == 1]
    assert single

    of_lesion = prediction.lesions["score"].droplevel("lesion_id")[single]

    pd.testing.assert_series_equal(of_lesion, prediction.patients["score"][single], rtol=1e-5, atol=1e-6)


def test_the_order_of_a_patients_lesions_changes_no_score(fitted):
    turned = replace(JUDGED, patients=tuple(replace(one, lesions=one.lesions[::-1]) for one in JUDGED.patients))

    found, expected = (fitted.predict(one) for one in (turned, JUDGED))

    pd.testing.assert_frame_equal(found.patients, expected.patients, rtol=1e-5, atol=1e-6)
    pd.testing.assert_frame_equal(found.lesions.sort_index(), expected.lesions.sort_index(), rtol=1e-5, atol=1e-6)


def test_without_the_weights_of_clinical_values_these_change_nothing(fitted):
    network = fitted.frozen.network
    before = network.fourth.weight.clone()
    n_clinical = fitted.frozen.arguments["n_clinical"]
    with torch.no_grad():
        network.fourth.weight[:, -n_clinical:] = 0.0
    others = replace(
        JUDGED, patients=tuple(replace(one, clinical=JUDGED.patients[0].clinical) for one in JUDGED.patients)
    )

    same, expected = fitted.predict(others).patients, fitted.predict(JUDGED).patients

    with torch.no_grad():
        network.fourth.weight.copy_(before)
    assert n_clinical > 0
    pd.testing.assert_frame_equal(same, expected, check_exact=True)


def test_the_image_branch_alone_finds_what_is_in_the_patches():
    wider = [
        *TINY,
        "model.network.cnn.arguments.block_inplanes=[8,8,8,8]",
        "trainer.max_epochs=40",
        "trainer.patience=40",
    ]
    config = load_config("train", ["experiment=cnn_patch", *wider])
    study = with_patches(make_study(120, seed=11), Path(FOLDER.name) / "larger.npy")

    model = build(config.model, seed=1).fit(study.select(study.ids[:80]))

    judged = study.select(study.ids[80:])
    # of 40 patients an AUC without signal has a standard error of 0.09
    assert roc_auc_score(judged.events("tme"), model.predict(judged).patients["score"]) > 0.7


def test_a_network_of_several_hazards_scores_the_cumulative_hazard():
    typed = [
        "model.n_outputs=3",
        "model.loss={_target_:radnet.learning.losses.discrete_hazard,_partial_:true,intervals:3}",
    ]
    model = untrained(*(f"~{typed[1].partition('=')[0]}", f"+{typed[1]}", typed[0]), experiment="hybrid_survival")

    frozen = model.fit(LEARNED).frozen
    inputs = frozen.inputs(JUDGED)

    head = frozen.heads["pfs"]
    assert (head.outputs, head.head) == (3, "log_cumulative_hazard")
    np.testing.assert_allclose(frozen.score(inputs), frozen.predict(JUDGED).patients["score"], rtol=1e-5)
    by_hand = _hazards_by_hand(frozen, JUDGED)
    np.testing.assert_allclose(frozen.score(inputs), (by_hand - head.location) / head.spread, rtol=1e-4, atol=1e-5)


def _hazards_by_hand(frozen: FrozenHybrid, cohort: Cohort) -> np.ndarray:
    """log of -log of the product of 1 - hazard over intervals, of each patient scored alone."""
    raw = replace(frozen, heads={f"{place}": EndpointHead(1, "output") for place in range(3)})
    logits = np.array([list(raw._scores(raw.inputs(cohort.select([one]))).patients.values()) for one in cohort.ids])
    hazard = 1 / (1 + np.exp(-logits[..., 0]))
    return np.log(-np.log(np.prod(1 - hazard, axis=1)))


def test_several_endpoints_learned_at_once_have_a_score_each():
    loss = "{_target_:radnet.learning.cohort_risk.CohortRisk,_partial_:true}"
    model = untrained(f"model.tasks={{pfs:{{_target_:radnet.learning.losses.Task,weight:0.5,loss:{loss}}}}}")
    unknown = tuple(
        replace(one, outcomes={**one.outcomes, "pfs": None}) if place % 5 == 0 else one
        for place, one in enumerate(LEARNED.patients)
    )

    prediction = model.fit(replace(LEARNED, patients=unknown)).predict(JUDGED)

    assert list(prediction.own) == ["pfs"]
    assert np.isfinite(prediction.own["pfs"]).all()
    assert abs(np.corrcoef(prediction.own["pfs"], prediction.patients["score"])[0, 1]) < 0.999


def test_a_branch_and_what_it_reads_are_asked_for_together():
    with pytest.raises(ConfigFault, match="no radiomics branch and regions asks for features"):
        build(load_config("train", ["experiment=cnn_patch", "model.regions=[lesion]"]).model)
    with pytest.raises(ConfigFault, match="a cnn branch and imaging asks for no patches"):
        build(load_config("train", ["experiment=cnn_patch", "model.imaging=null"]).model)
    with pytest.raises(ConfigFault, match="pretrain learns from patches varied at random"):
        build(load_config("train", ["experiment=cnn_patch", "pretrain=contrastive", "model.augment=null"]).model)


def test_weights_from_a_file_find_their_place_and_are_told_of(tmp_path):
    donor = untrained(experiment="cnn_patch").fit(LEARNED).frozen.network.branches["image"].net
    weights = {f"module.{name}": value.contiguous() for name, value in donor.state_dict().items()}
    weights["module.strange"] = torch.zeros(2)
    save_file(weights, tmp_path / "net.safetensors")

    told = f"model.pretrained={{file:'{tmp_path}/net.safetensors',prefix:module.,freeze:all}}"
    model = untrained(told, experiment="cnn_patch").fit(LEARNED)

    (note,) = model.notes
    assert note.startswith(f"pretrained weights of net.safetensors: {len(weights) - 1} of {len(weights) - 1} tensors")
    assert "1 of the file have no place (strange)" in note
    kept = model.frozen.network.branches["image"].net.state_dict()
    for name, value in donor.state_dict().items():
        torch.testing.assert_close(kept[name], value, rtol=0, atol=0)


def test_the_picture_shows_lesions_of_highest_middle_and_lowest_score_and_names_nobody(fitted):
    table = fitted.frozen.attribution(JUDGED)

    assert list(table["role"].unique()) == ["highest score", "middle", "lowest score"]
    lesions = fitted.predict(JUDGED).lesions
    heaviest = lesions.loc[lesions.groupby(level="patient_id")["weight"].idxmax(), "score"].sort_values()
    scores = table.groupby("role")["score"].first()
    assert scores["highest score"] == pytest.approx(heaviest.iloc[-1], rel=5e-3)  # of 4 digits
    assert scores["lowest score"] == pytest.approx(heaviest.iloc[0], rel=5e-3)  # of 4 digits
    assert "patient_id" not in table.columns


def test_a_patch_too_small_for_the_network_is_told_before_anything_is_read():
    dense = "+model.network.cnn.arguments={init_features:8,growth_rate:8,block_config:[2,2,2,2]}"
    typed = ["~model.network.cnn.arguments", dense, "model.network.cnn.net=monai.networks.nets.DenseNet"]
    config = load_config("train", ["experiment=cnn_patch", "imaging.size_voxels=[4,4,4]", *typed])

    with pytest.raises(ConfigFault, match="network.cnn takes no patches of 4 × 4 × 4 voxels"):
        build(config.model)


def test_a_fit_that_diverges_is_told_with_its_learning_rate():
    model = untrained("trainer.learning_rate=1e12", experiment="cnn_patch")

    with pytest.raises(ValueError, match="training diverged .* set trainer.learning_rate below 1e"):
        model.fit(LEARNED)


def test_several_tasks_are_refused_by_several_processes():
    loss = "{_target_:radnet.learning.cohort_risk.CohortRisk,_partial_:true}"
    tasks = f"model.tasks={{pfs:{{_target_:radnet.learning.losses.Task,weight:0.5,loss:{loss}}}}}"

    with pytest.raises(ConfigFault, match="several tasks are learned by one process: set trainer.processes=1"):
        untrained(tasks, "trainer.processes=2")


def test_patches_that_the_cohort_has_not_are_told():
    with pytest.raises(ValueError, match="learns from patches of images, and the cohort has none"):
        untrained().fit(replace(LEARNED, patches=None))


def with_pfs(cohort, event):
    """Return the cohort with these events of progression, of patients in order."""
    patients = tuple(
        replace(one, outcomes={**one.outcomes, "pfs": replace(one.outcomes["pfs"], event=bool(happened))})
        for one, happened in zip(cohort.patients, event, strict=True)
    )
    return replace(cohort, patients=patients)


def test_survival_is_learned_where_nobody_is_censored_and_refused_where_hardly_anybody_had_the_event():
    everybody, nobody = np.ones(len(LEARNED)), np.zeros(len(LEARNED))
    nobody[:2] = 1

    learn, check = untrained(experiment="hybrid_survival").set_aside(with_pfs(LEARNED, everybody))

    assert len(learn) + len(check) == len(LEARNED)
    with pytest.raises(ValueError, match="48 training patients, 2 with the event, are too few to set 20% aside"):
        untrained(experiment="hybrid_survival").fit(with_pfs(LEARNED, nobody))
