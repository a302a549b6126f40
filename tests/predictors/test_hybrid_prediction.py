"""New patients scored by models of patches: on which channel these are cut, and who lacks a branch."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813

pytest.importorskip("torch", reason="networks need the extra train")
pytest.importorskip("monai", reason="images need the extra train")

from cohorts import make_study, write_cohort
from radnet.cohort import Endpoint
from radnet.config import build, load_config
from radnet.data.manifest import read_manifest
from radnet.learning.patches import PATCH_FORMAT, cohort_patches
from radnet.prediction import drift_lines, drift_summary, score, write_scored
from radnet.predictors.folder import load_model, save_model
from radnet.predictors.reading import Reading
from radnet.run_record import RunRecord
from radnet.study_cohort import with_features

FOLDER = TemporaryDirectory()
RESPONSE = Endpoint("response", "response")
TINY = [
    *("imaging.size_voxels=[8,8,8]", "~imaging.channels.ring", "~imaging.channels.distance"),
    *("~imaging.channels.about_lesion", "trainer.max_epochs=1"),
]
NETWORK = ["model.network.cnn.arguments.block_inplanes=[2,2,2,2]", "model.network.embedding=4"]
STACK = [
    *("model=hybrid_stacking", "model.folds.n_folds=2"),
    "model.members.image.network.cnn.arguments.block_inplanes=[2,2,2,2]",
    *(f"model.members.{name}.network.embedding=4" for name in ("radiomics", "image")),
]
CONFIGS = {
    "hybrid": load_config("train", ["experiment=hybrid", *TINY, *NETWORK]),
    "image": load_config("train", ["experiment=cnn_patch", *TINY, *NETWORK]),
    "stack": load_config("train", ["experiment=hybrid", *STACK, *TINY]),
}


def write_image(path, array) -> str:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(image, str(path))
    return path.name


def folder_of(name, n, first, *, channels=("MR", "PET"), unmeasured=(), uncut=(), wide=()) -> Path:
    """A cohort's folder with features and a scan per lesion and channel, the channels in this order.

    Args:
        name: Of the folder.
        n: Patients.
        first: Number of the first.
        channels: MR are of 50 ± 20, PET of 5 ± 2.
        unmeasured: Patients without features.
        uncut: Patients whose masks are empty.
        wide: Patients whose lesions are 24 mm wide, where a patch is 12 mm wide and others' lesions 8 mm.
    """
    study = make_study(n, seed=first, first=first)
    rows = study.features.rows.copy()
    gone = rows["patient_id"].isin(unmeasured)
    rows.loc[gone, study.features.names] = np.nan
    rows.loc[gone, "status"] = "no voxel is left"
    root = write_cohort(study.with_features(replace(study.features, rows=rows)), Path(FOLDER.name) / name)
    sizes = {"narrow": slice(6, 10), "wide": slice(2, 14), "empty": slice(0, 0)}
    for size, box in sizes.items():
        mask = np.zeros((16, 16, 16), np.uint8)
        mask[box, box, box] = 1
        write_image(root / f"{size}.nii.gz", mask)
    table = []
    for place, lesion in enumerate(pd.read_csv(root / "lesions.csv", dtype=str).to_dict("records")):
        patient = lesion["patient_id"]
        mask = "empty" if patient in uncut else "wide" if patient in wide else "narrow"
        for channel in channels:
            scale = {"MR": 10.0, "PET": 1.0}[channel]
            noise = np.random.default_rng([first, place]).normal(5, 2, (16, 16, 16)).astype(np.float32)
            image = write_image(root / f"{channel}{place}.nii.gz", scale * noise)
            table.append({**lesion, "channel": channel, "image": image, "mask": f"{mask}.nii.gz"})
    pd.DataFrame(table).to_csv(root / "lesions.csv", index=False)
    return root


@pytest.fixture(scope="module")
def learned():
    cohort = read_manifest(folder_of("learned", 24, 0), [RESPONSE])
    cut = build(CONFIGS["hybrid"].imaging)
    return cohort.with_patches(cohort_patches(cohort, cut, cache=Path(FOLDER.name) / "learned_patches", limit_s=None))


@pytest.fixture(scope="module")
def models(learned):
    """Folders of a hybrid, an image model and a stack."""
    folders = {}
    for name, config in CONFIGS.items():
        folders[name] = Path(FOLDER.name) / "models" / name
        fitted = build(config.model).fit(learned)
        save_model(folders[name], fitted.frozen, learned, [Reading(RESPONSE, None).unfitted()], name)
    return folders


def scores_of(found):
    return found.predictions.set_index("patient_id")["score"]


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_model_folder_tells_the_channel_and_the_format_of_the_patches_learned_from(kind, models):
    assert load_model(models[kind]).model.patches == {"first_channel": "MR", "format": PATCH_FORMAT}


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_order_in_which_a_cohort_names_its_channels_changes_no_score(kind, models, tmp_path):
    like, turned = (folder_of(f"order {kind} {one}", 4, 100, channels=one) for one in (("MR", "PET"), ("PET", "MR")))

    found, expected = (scores_of(score(models[kind], root, tmp_path / "features")) for root in (turned, like))

    pd.testing.assert_series_equal(found, expected, check_exact=True)


def test_a_cohort_without_the_channel_that_the_model_learned_from_is_refused(models, tmp_path):
    root = folder_of("of PET", 3, 100, channels=("PET",))
    with pytest.raises(ValueError, match=r"lesions.csv has no channel MR, .*; it has PET\. .* name it MR"):
        score(models["image"], root, tmp_path / "features")


@pytest.mark.parametrize(
    ("known", "told"),
    [({"first_channel": "MR", "format": PATCH_FORMAT - 1}, str(PATCH_FORMAT - 1)), ({}, "unknown")],
    ids=["an earlier format", "none told"],
)
def test_a_model_of_patches_of_another_format_is_to_be_trained_anew(known, told, learned, models, tmp_path):
    frozen = replace(load_model(models["image"]).model, patches=known)
    save_model(tmp_path / "model", frozen, learned, [Reading(RESPONSE, None).unfitted()])
    root = folder_of("of another format", 3, 100)

    with pytest.raises(ValueError, match=f"learned from patches of format {told}, .* train the model anew"):
        score(tmp_path / "model", root, tmp_path / "features")


def test_a_patient_with_a_patch_and_no_measured_lesion_is_scored_and_how_far_he_is_is_not_known(models, tmp_path):
    root = folder_of("without features", 6, 100, unmeasured=["S101", "S104"])  # both of centre B, and nobody else is

    found = score(models["hybrid"], root, tmp_path / "features")
    summary = drift_summary(found)

    table = found.predictions.set_index("patient_id")
    inside = table["outside_training"] == ""
    assert np.isfinite(table["score"]).all()
    assert table.index[table["distance"].isna()].tolist() == ["S101", "S104"]
    assert table["far_from_training"].isna().tolist() == (table["distance"].isna() & inside).tolist()
    assert (table.loc[~inside, "far_from_training"] == 1).all()
    assert [one["centre"] for one in summary["features"]] == ["", *(sorted(set(table["centre"]) - {"B"}))]


def test_of_a_model_of_images_alone_nobody_is_told_to_be_near(models, tmp_path):
    found = score(models["image"], folder_of("images alone", 3, 100), tmp_path / "features")

    written = pd.read_parquet(write_scored(found, tmp_path / "out"))
    assert written["far_from_training"].isna().all()
    assert drift_lines(drift_summary(found))[-1] == "far from training: not measured; not scored: 0"


def test_a_stack_scores_whom_both_members_can_read_and_lists_others(models, tmp_path):
    root = folder_of("of a branch", 6, 100, unmeasured=["S102"], uncut=["S104"])
    whole = folder_of("of both branches", 6, 100)

    found = score(models["stack"], root, tmp_path / "features")

    reasons = found.unscored.set_index("patient_id")["reason"]
    assert list(reasons.index) == ["S102", "S104"]
    assert reasons["S102"] == "no voxel is left"
    assert reasons["S104"].startswith("empty.nii.gz: ")
    expected = scores_of(score(models["stack"], whole, tmp_path / "features")).drop(["S102", "S104"])
    pd.testing.assert_series_equal(scores_of(found), expected, rtol=1e-5)


def configured(kind, root, *typed):
    words = {"hybrid": [*TINY, *NETWORK], "stack": [*STACK, *TINY]}[kind]
    cache = Path(FOLDER.name) / "cache"
    return load_config("train", ["experiment=hybrid", *words, f"cache={cache}", "workers=1", *typed])


def test_a_stack_learns_from_whom_both_members_can_read_and_excludes_others(tmp_path):
    root = folder_of("to learn from", 8, 200, unmeasured=["S202"], uncut=["S204"])
    config, record = configured("stack", root), RunRecord()
    cohort = read_manifest(root, [RESPONSE])

    left, _ = with_features(cohort, build(config.model), config, record, tmp_path)

    assert left.ids == [one for one in cohort.ids if one not in ("S202", "S204")]
    assert record.excluded == {
        "S202": "no lesion that member radiomics of the stack can read",
        "S204": "no lesion that member image of the stack can read",
    }
    assert record.counts["patients_measured"] == 6


def test_a_run_keeps_why_a_lesion_has_no_patch_and_what_is_remarked_on_others(tmp_path):
    root = folder_of("to keep reasons of", 6, 300, uncut=["S302"], wide=["S303"])
    config = configured("hybrid", root)
    cohort = read_manifest(root, [RESPONSE])

    with_features(cohort, build(config.model), config, RunRecord(), tmp_path)

    table = pd.read_csv(tmp_path / "tables" / "patches.csv", dtype=str, keep_default_na=False).set_index("patient_id")
    assert len(table) == sum(len(one.lesions) for one in cohort.patients)
    assert table.loc[["S302"], "status"].str.contains("empty.nii.gz").all()
    assert set(table.drop(index="S302")["status"]) == {"ok"}
    assert table.loc[["S303"], "remark"].str.startswith("larger than the patch: 88 %").all()
    assert set(table.drop(index="S303")["remark"]) == {""}


def test_what_is_remarked_on_patches_is_listed_and_counted(models, tmp_path, capsys):
    root = folder_of("wide lesions", 4, 100, wide=["S101"])

    found = score(models["image"], root, tmp_path / "features")
    write_scored(found, tmp_path / "out")

    table = pd.read_csv(tmp_path / "out" / "tables" / "patch_remarks.csv", dtype=str)
    lesions = pd.read_csv(root / "lesions.csv", dtype=str).drop_duplicates(["patient_id", "lesion_id"])
    of_wide = lesions.loc[lesions["patient_id"] == "S101", "lesion_id"]
    assert table["patient_id"].tolist() == ["S101"] * len(of_wide)
    assert table["lesion_id"].tolist() == of_wide.tolist()
    # 12 of 24 mm are seen along each of three axes: 1 - (12 / 24)³ = 87.5 % are not
    assert table["remark"].str.startswith("larger than the patch: 88 %").all()
    assert f"{len(of_wide)} of {len(lesions)} patches: larger than the patch" in capsys.readouterr().err


def test_a_channel_that_patches_name_and_no_lesion_has_is_told_before_lesions_are_measured(tmp_path):
    root = folder_of("no such channel", 3, 200)
    (root / "features.parquet").unlink()
    wrong = "{_target_:radnet.imaging.patch.WindowChannel,low:0,high:20,image:PTE}"
    config = configured("hybrid", root, f"+imaging.channels.uptake={wrong}", f"cache={tmp_path / 'cache'}")

    with pytest.raises(ValueError, match="lesions.csv has no channel PTE"):
        with_features(read_manifest(root, [RESPONSE]), build(config.model), config, RunRecord(), tmp_path)

    assert not (tmp_path / "cache").exists()


def test_features_are_not_selected_before_the_split_for_a_model_that_reads_none(tmp_path):
    selector = "before_split={_target_:radnet.radiomics.select.Uncorrelated,limit:0.3}"
    config = load_config("train", ["experiment=cnn_patch", *TINY, *NETWORK, selector])
    cohort = read_manifest(folder_of("selected before", 3, 200), [RESPONSE])

    with pytest.raises(ValueError, match="before_split selects features, and this model reads none"):
        with_features(cohort, build(config.model), config, RunRecord(), tmp_path)
