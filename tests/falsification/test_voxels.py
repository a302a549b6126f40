"""Image controls of a small cohort: two lesions in a scan of each patient, as nifti files."""

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813

from cohorts import make_cohort
from radnet.cohort import FEATURE_KEYS, Cohort, Delineation, Lesion, Outcome, Patient
from radnet.falsification.voxels import measured_in_all, sample_of_patients, voxel_controls
from radnet.radiomics.change import Change
from radnet.radiomics.engines import ENGINES, Engine
from radnet.radiomics.extract import extract_cohort
from radnet.radiomics.settings import ExtractionSettings, feature_names

FAST = ExtractionSettings("fast", spacing_mm=(0, 0, 0), log_sigma_mm=(), wavelet=False, classes=("shape", "firstorder"))
RING = ExtractionSettings(
    "ring", spacing_mm=(0, 0, 0), log_sigma_mm=(), wavelet=False, classes=("firstorder",), regions=("lesion", "ring")
)
BIG = np.s_[2:8, 3:9, 3:9]
SMALL = np.s_[2:5, 14:17, 14:18]


def patient(folder, name, event=None, shape=(10, 20, 24), seed=0, boxes=(BIG, SMALL)):
    """A scan of air around tissue; in it lesions 100 HU above, labels 1, 2, … of one mask."""
    rng = np.random.default_rng(seed)
    values = rng.normal(40, 10, shape)
    values[:, :, -3:] = -1000
    labels = np.zeros(shape, dtype=np.uint8)
    for label, box in enumerate(boxes, start=1):
        labels[box] = label
        values[box] += 100
    inner = labels.copy()  # reader 2 leaves a voxel out of each lesion
    for box in boxes:
        inner[tuple(side.start for side in box)] = 0
    files = {}
    for what, array in (("image", values.astype(np.int16)), ("mask", labels), ("inner", inner)):
        files[what] = folder / f"{name}_{what}.nii"
        sitk.WriteImage(sitk.GetImageFromArray(array), str(files[what]))

    def delineation(label, mask, reader):
        return Delineation(image=files["image"], mask=files[mask], label=label, reader=reader)

    lesions = [
        Lesion(f"L{label}", delineations=(delineation(label, "mask", "1"), delineation(label, "inner", "2")))
        for label in range(1, len(boxes) + 1)
    ]
    return Patient(name, "A", outcomes={"response": None if event is None else Outcome(event)}, lesions=tuple(lesions))


@pytest.fixture
def cohort(tmp_path):
    return Cohort(tuple(patient(tmp_path, f"P{seed}", bool(seed % 2), seed=seed) for seed in range(4)))


@pytest.fixture
def seen(monkeypatch):
    """The engine ``looking``, and the masks and images it was given."""
    given = []

    def look(image, mask, settings):
        given.append((sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(mask), image.GetOrigin()))
        return dict.fromkeys(feature_names(settings), float(len(given)))

    monkeypatch.setitem(ENGINES, "looking", Engine(lambda: "1", look))
    return given


def extract(cohort, tmp_path, change=None, settings=FAST, engine="looking"):
    return extract_cohort(cohort, settings, engine=engine, limit_s=None, cache=tmp_path / "cache", change=change)


def controls(cohort, tmp_path, **options):
    options = {"engine": "native", "workers": 1, "sample": 40, "seed": 5, **options}
    return voxel_controls(cohort, FAST, cache=tmp_path / "cache", **options)


def test_the_three_tables_hold_the_first_delineations_of_the_same_lesions(cohort, tmp_path):
    tables = controls(cohort, tmp_path)

    wanted = [[f"P{n}", f"L{label}", "lesion", "image", "1", "1"] for n in range(4) for label in (1, 2)]
    assert list(tables) == ["control_same_patients", "control_shuffled_voxels", "control_random_region"]
    for table in tables.values():
        assert table.rows[list(FEATURE_KEYS)].to_numpy().tolist() == wanted
        assert set(table.rows["status"]) == {"ok"}


def test_shuffled_voxels_keep_the_histogram_and_random_regions_the_shape_alone(cohort, tmp_path):
    tables = controls(cohort, tmp_path)

    true, shuffled, moved = (table.rows for table in tables.values())
    names = feature_names(FAST)
    shape = [name for name in names if "_shape_" in name]
    np.testing.assert_allclose(shuffled[names], true[names], rtol=1e-9)
    np.testing.assert_allclose(moved[shape], true[shape], rtol=1e-9)
    assert true["original_firstorder_Mean"].between(130, 150).all()
    assert moved["original_firstorder_Mean"].between(30, 50).all()  # tissue: neither a lesion's 140 nor any air


def test_true_features_are_those_measured_for_the_model(cohort, tmp_path, seen):
    first = extract(cohort, tmp_path)
    calls = len(seen)

    table = voxel_controls(
        cohort, FAST, "native", workers=1, cache=tmp_path / "other", sample=40, seed=0
    )["control_same_patients"]  # fmt: skip
    again = extract(cohort, tmp_path)

    assert len(seen) == calls
    pd.testing.assert_frame_equal(first.rows, again.rows)
    assert "change" not in table.provenance


def test_a_change_has_a_cache_of_its_own_by_kind_seed_and_the_other_lesions(cohort, tmp_path, seen):
    kinds = [None, Change("shuffled_voxels", 0), Change("random_region", 0), Change("random_region", 1)]
    tables = [extract(cohort, tmp_path, kind) for kind in kinds]
    assert len(seen) == 4 * 16

    for kind, table in zip(kinds, tables, strict=True):
        pd.testing.assert_frame_equal(extract(cohort, tmp_path, kind).rows, table.rows)
    assert len(seen) == 4 * 16

    alone = Cohort(tuple(Patient(one.id, "A", lesions=one.lesions[:1]) for one in cohort.patients))
    extract(alone, tmp_path, Change("shuffled_voxels", 0))
    assert len(seen) == 4 * 16
    extract(alone, tmp_path, Change("random_region", 0))  # the other lesion's place is free now
    assert len(seen) == 4 * 16 + 8


def test_a_moved_lesion_and_its_ring_stay_clear_of_every_lesion_and_all_regions_move_alike(tmp_path, seen):
    one = Cohort((patient(tmp_path, "P", seed=3),))
    lesion_free = 100

    table = extract(one, tmp_path, Change("random_region", 2), RING)

    assert table.rows["status"].tolist() == ["ok"] * len(table.rows)
    for (image, mask, origin), (ring_image, ring, ring_origin) in zip(seen[::2], seen[1::2], strict=True):
        assert image[mask != 0].max() < lesion_free
        assert ring_image[ring != 0].max() < lesion_free
        start = np.array(origin)[::-1] + np.argwhere(mask).min(0)
        ring_start = np.array(ring_origin)[::-1] + np.argwhere(ring).min(0)
        assert (start - ring_start <= 2).all()  # a ring reaches 2 mm outside, or less where the image ends
        assert (start - ring_start >= 0).all()


def test_a_lesion_without_another_place_is_a_row_with_the_reason_and_left_out_of_all(tmp_path):
    fills = np.s_[1:9, 3:18, 3:20]
    cohort = Cohort((patient(tmp_path, "P1"), patient(tmp_path, "P2", boxes=(fills, np.s_[0:1, 0:2, 0:3]))))

    tables = controls(cohort, tmp_path)

    moved = tables["control_random_region"].rows.set_index(["patient_id", "lesion_id"])
    assert moved.loc[("P2", "L1"), "status"].startswith("P2_mask.nii: no other place for the lesion: of ")
    assert moved.loc[("P2", "L1"), feature_names(FAST)].isna().all()
    assert (tables["control_same_patients"].rows["status"] == "ok").all()
    for table in measured_in_all(tables).values():
        kept = list(zip(table.rows["patient_id"], table.rows["lesion_id"], strict=True))
        assert kept == [("P1", "L1"), ("P1", "L2"), ("P2", "L2")]


def test_an_unreadable_mask_of_another_lesion_is_told_since_its_place_is_not_known(tmp_path, seen):
    one = patient(tmp_path, "P")
    lost = Lesion(
        "L3", delineations=(Delineation(image=one.lesions[0].delineations[0].image, mask=tmp_path / "no.nii"),)
    )
    cohort = Cohort((Patient("P", "A", lesions=(*one.lesions, lost)),))

    table = extract(cohort, tmp_path, Change("random_region", 0))

    assert set(table.rows["status"]) == {"no.nii: no such mask file"}
    assert not seen


def test_controls_are_the_same_whatever_the_number_of_workers_and_differ_by_seed(cohort, tmp_path):
    one = controls(cohort, tmp_path / "one")["control_random_region"]
    two = controls(cohort, tmp_path / "two", workers=2)["control_random_region"]
    other = controls(cohort, tmp_path / "three", seed=6)["control_random_region"]

    pd.testing.assert_frame_equal(one.rows, two.rows, check_exact=True)
    assert (one.rows["original_firstorder_Mean"] != other.rows["original_firstorder_Mean"]).all()


def test_a_sample_keeps_the_share_of_events_and_the_order_of_the_cohort():
    people = Cohort(tuple(Patient(f"P{n:03d}", "A", outcomes={"response": Outcome(n % 4 == 0)}) for n in range(200)))

    drawn = sample_of_patients(people, 40, seed=1, endpoint="response")

    assert drawn == sorted(drawn)
    assert len(set(drawn)) == 40
    assert people.select(drawn).events("response").sum() == 10
    assert drawn == sample_of_patients(people, 40, seed=1, endpoint="response")
    assert drawn != sample_of_patients(people, 40, seed=2, endpoint="response")
    assert len(sample_of_patients(people, 40, seed=1)) == 40


def test_a_sample_has_both_outcomes_however_rare_one_is():
    people = Cohort(tuple(Patient(f"P{n}", "A", outcomes={"response": Outcome(n == 7)}) for n in range(100)))
    assert "P7" in sample_of_patients(people, 10, seed=0, endpoint="response")


def test_without_images_there_is_nothing_to_change(tmp_path):
    people = Cohort((Patient("P", "A", lesions=(Lesion("L1"),)),))
    with pytest.raises(ValueError, match="no lesion of the cohort has an image, so that no voxels can be shuffled"):
        controls(people, tmp_path)


def test_who_is_drawn_from_a_small_cohort_may_be_added_to_without_changing_the_cohort():
    cohort = make_cohort(5, seed=0)

    sample_of_patients(cohort, sample=9, seed=0).append("P999")

    assert cohort.ids == [one.id for one in cohort.patients]
