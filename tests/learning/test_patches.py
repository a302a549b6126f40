import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

pytest.importorskip("monai", reason='patches need the extra "train"')

from radnet.cohort import Cohort, Delineation, Lesion, Patient
from radnet.imaging.patch import LesionChannel, PatchSettings, WindowChannel
from radnet.learning.patches import PATCH_FORMAT, cohort_patches, remark_counts

SIZE = (12, 10, 8)
CHANNELS = {"soft": WindowChannel(-160, 240), "lesion": LesionChannel()}
SETTINGS = PatchSettings(SIZE, (1.0, 1.0, 1.0), CHANNELS)
HERE = {"limit_s": None}  # in this process


def write(path, array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    age(path)
    return path


def age(path) -> None:
    """Let a file be as old as files of a study are: of one just written, a clock may not tell a second change."""
    os.utime(path, ns=(10**18, 10**18))


def scan(folder, seed, lesions=1) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    """An image of 1 mm voxels and a mask with as many lesions, labels 1 on, one behind the other along X."""
    rng = np.random.default_rng(seed)
    image = rng.integers(-160, 240, (20, 20, 14 * lesions)).astype(np.int16)
    mask = np.zeros(image.shape, np.uint8)
    for label in range(1, lesions + 1):
        mask[8:13, 7:12, 14 * label - 9 : 14 * label - 5] = label
    return write(folder / f"i{seed}.nrrd", image), write(folder / f"m{seed}.nrrd", mask), image, mask


def cohort_of(delineations) -> Cohort:
    """A cohort of {patient: {lesion: delineations}}."""
    return Cohort(
        tuple(
            Patient(patient, "A", lesions=tuple(Lesion(name, delineations=one) for name, one in lesions.items()))
            for patient, lesions in delineations.items()
        )
    )


@pytest.fixture
def study(tmp_path) -> tuple[Cohort, dict]:
    """Three patients, the last with two lesions on one scan; and the arrays of each lesion."""
    arrays, delineations = {}, {}
    for seed, lesions in enumerate((1, 1, 2)):
        image, mask, *both = scan(tmp_path / "scans", seed, lesions)
        delineations[f"P{seed}"] = {
            f"L{label}": (Delineation(image=image, mask=mask, label=label),) for label in range(1, lesions + 1)
        }
        arrays |= {(f"P{seed}", f"L{label}"): (both[0], both[1] == label) for label in range(1, lesions + 1)}
    return cohort_of(delineations), arrays


def wanted(image, lesion) -> np.ndarray:
    """The patch by hand: a box of SIZE about the middle of the lesion's box, which is 5 × 5 × 4 voxels from 8, 7, x."""
    x = int(np.flatnonzero(lesion.any(axis=(0, 1)))[0])
    start = [(2 * low + width - size) // 2 for low, width, size in zip((8, 7, x), (5, 5, 4), SIZE, strict=True)]
    box = tuple(slice(low, low + size) for low, size in zip(start, SIZE, strict=True))
    return np.stack([(image[box] + 160.0) / 400, lesion[box]])


def assert_right(table, arrays):
    stored = table.array()
    assert [tuple(one) for one in table.rows[["patient_id", "lesion_id"]].to_numpy()] == list(arrays)
    for row, key in zip(table.rows.itertuples(), arrays, strict=True):
        if row.status == "ok":
            # 0 … 1 in float16: half a unit in the last place of numbers from 0.5 on, 2⁻¹².
            np.testing.assert_allclose(stored[row.place], wanted(*arrays[key]), rtol=0, atol=2.0**-12)
            assert row.spacing_mm == (1.0, 1.0, 1.0)


def told(calls):
    return lambda done, total, what: calls.append((done, total, what))


@pytest.mark.parametrize("how", [HERE, {"workers": 2}], ids=["in this process", "two workers"])
def test_every_lesion_has_its_patch_in_one_file_that_is_mapped(study, tmp_path, how):
    cohort, arrays = study
    calls = []

    table = cohort_patches(cohort, SETTINGS, cache=tmp_path / "cache", progress=told(calls), **how)

    assert table.rows["status"].tolist() == ["ok"] * 4
    assert sorted(table.rows["place"]) == [0, 1, 2, 3]
    assert isinstance(table.array(), np.memmap)
    assert table.array().shape == (4, 2, *SIZE)
    assert table.array().dtype == np.float16
    assert table.channels == {"soft": "image", "lesion": "mask"}
    assert_right(table, arrays)
    assert [done for done, *_ in calls] == [1, 2, 3, 4]
    assert {total for _, total, _ in calls} == {4}


def test_single_precision_holds_what_half_precision_rounds(study, tmp_path):
    cohort, arrays = study
    table = cohort_patches(cohort, replace(SETTINGS, dtype="float32"), cache=tmp_path, **HERE)
    for row, both in zip(table.rows.itertuples(), arrays.values(), strict=True):
        np.testing.assert_allclose(table.array()[row.place], wanted(*both), atol=1e-7)


def test_a_second_call_reads_no_scan(study, tmp_path):
    cohort, arrays = study
    before = cohort_patches(cohort, SETTINGS, cache=tmp_path / "cache", **HERE)
    for path in (tmp_path / "scans").iterdir():  # as large and as old as before, and no image any more
        path.write_bytes(b"\0" * path.stat().st_size)
        age(path)

    after = cohort_patches(cohort, SETTINGS, cache=tmp_path / "cache", **HERE)

    assert after.rows.equals(before.rows)
    assert_right(after, arrays)


def test_a_file_that_was_renamed_is_the_same_and_one_voxel_makes_its_lesion_alone_anew(study, tmp_path):
    cohort, arrays = study
    before = cohort_patches(cohort, SETTINGS, cache=tmp_path / "cache", **HERE)
    stored = np.array(before.array())
    delineations = {}
    for patient in cohort.patients:
        lesions = {}
        for lesion in patient.lesions:
            (one,) = lesion.delineations
            image, mask = (path.with_name(f"new_{path.name}") for path in (one.image, one.mask))
            for path in (one.image, one.mask):
                if path.is_file():  # two lesions share theirs
                    path.rename(path.with_name(f"new_{path.name}"))
            lesions[lesion.id] = (replace(one, image=image, mask=mask),)
        delineations[patient.id] = lesions
    renamed = cohort_of(delineations)

    after = cohort_patches(renamed, SETTINGS, cache=tmp_path / "cache", **HERE)
    assert after.rows.equals(before.rows)

    array, _ = arrays["P1", "L1"]
    array[10, 9, 6] += 100
    write(tmp_path / "scans" / "new_i1.nrrd", array)
    os.utime(tmp_path / "scans" / "new_i1.nrrd", ns=(10**18 + 1, 10**18 + 1))
    changed = cohort_patches(renamed, SETTINGS, cache=tmp_path / "cache", **HERE)

    differs = changed.rows["place"] != before.rows["place"]
    assert differs.tolist() == [False, True, False, False]
    assert_right(changed, arrays)
    assert changed.array().shape[0] == 5
    np.testing.assert_array_equal(changed.array()[:4], stored)


def test_other_settings_or_another_label_are_other_patches(study, tmp_path):
    cohort, _ = study
    cache = tmp_path / "cache"
    first = cohort_patches(cohort, SETTINGS, cache=cache, **HERE)

    wider = replace(SETTINGS, channels={**CHANNELS, "soft": WindowChannel(-200, 200)})

    assert cohort_patches(cohort, wider, cache=cache, **HERE).file != first.file
    of_one_scan = first.rows[first.rows["patient_id"] == "P2"]["place"]
    assert of_one_scan.nunique() == 2


def test_equal_lesions_share_a_patch(study, tmp_path):
    cohort, _ = study
    twin = replace(cohort.patients[0], id="twin")
    table = cohort_patches(Cohort((*cohort.patients, twin)), SETTINGS, cache=tmp_path / "cache", **HERE)
    assert table.rows["place"].iloc[-1] == table.rows["place"].iloc[0]
    assert table.array().shape[0] == 4


def test_a_bad_mask_is_a_row_with_its_reason_and_is_tried_again(study, tmp_path):
    cohort, arrays = study
    good = (tmp_path / "scans" / "m1.nrrd").read_bytes()
    write(tmp_path / "scans" / "m1.nrrd", np.zeros((20, 20, 14), np.uint8))

    table = cohort_patches(cohort, SETTINGS, cache=tmp_path / "cache", **HERE)

    assert table.rows["status"].tolist() == ["ok", "m1.nrrd: the mask has no voxel of label 1", "ok", "ok"]
    assert table.rows["place"].iloc[1] == -1
    assert table.rows["spacing_mm"].iloc[1] is None
    assert_right(table, arrays)

    (tmp_path / "scans" / "m1.nrrd").write_bytes(good)
    again = cohort_patches(cohort, SETTINGS, cache=tmp_path / "cache", **HERE)
    assert again.rows["status"].tolist() == ["ok"] * 4
    assert_right(again, arrays)


def test_a_scan_that_is_absent_or_damaged_is_told_and_stops_no_other(study, tmp_path):
    cohort, arrays = study
    (tmp_path / "scans" / "i0.nrrd").unlink()
    (tmp_path / "scans" / "i2.nrrd").write_bytes(b"no image")

    table = cohort_patches(cohort, SETTINGS, cache=tmp_path / "cache", **HERE)

    status = table.rows["status"].tolist()
    assert status[0] == "i0.nrrd: cannot be read: No such file or directory"
    assert status[1] == "ok"
    assert all(one.startswith("i2.nrrd: the image cannot be read as NIfTI, NRRD or MHA") for one in status[2:])
    assert str(tmp_path) not in "".join(status)
    assert_right(table, arrays)


def _cut_until_killed(cohort, cache, done):
    def progress(count, _total, _what):
        done.put(count)
        if count == 2:
            time.sleep(60)

    cohort_patches(cohort, SETTINGS, cache=cache, limit_s=None, progress=progress)


def test_a_run_that_was_killed_goes_on_where_it_was(study, tmp_path):
    cohort, arrays = study
    spawn = multiprocessing.get_context("spawn")
    done = spawn.Queue()
    process = spawn.Process(target=_cut_until_killed, args=(cohort, tmp_path / "cache", done))
    process.start()
    while done.get(timeout=60) < 2:
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    done.close()
    for name in ("i0", "m0", "i1", "m1"):  # what was cut is not read again
        path = tmp_path / "scans" / f"{name}.nrrd"
        path.write_bytes(b"\0" * path.stat().st_size)
        age(path)

    table = cohort_patches(cohort, SETTINGS, cache=tmp_path / "cache", **HERE)

    assert table.rows["status"].tolist() == ["ok"] * 4
    assert_right(table, arrays)


def test_a_file_of_patches_that_was_deleted_or_cut_short_is_made_anew(study, tmp_path):
    cohort, arrays = study
    file = cohort_patches(cohort, SETTINGS, cache=tmp_path / "cache", **HERE).file

    file.unlink()
    assert_right(cohort_patches(cohort, SETTINGS, cache=tmp_path / "cache", **HERE), arrays)
    os.truncate(file, file.stat().st_size - 1)
    table = cohort_patches(cohort, SETTINGS, cache=tmp_path / "cache", **HERE)

    assert table.rows["status"].tolist() == ["ok"] * 4
    assert_right(table, arrays)


def test_the_file_grows_with_the_cohort_and_an_older_table_still_reads_it(study, tmp_path):
    cohort, arrays = study
    few = cohort_patches(cohort.select(["P0", "P1"]), SETTINGS, cache=tmp_path / "cache", **HERE)
    mapped = few.array()
    whole = cohort_patches(cohort, SETTINGS, cache=tmp_path / "cache", **HERE)

    assert whole.file == few.file
    assert (len(mapped), len(whole.array())) == (2, 4)
    np.testing.assert_array_equal(mapped, whole.array()[:2])
    assert_right(whole, arrays)


def test_a_file_just_changed_is_read_again_though_size_and_time_are_the_same(study, tmp_path):
    cohort, arrays = study
    path = tmp_path / "scans" / "i1.nrrd"
    now = time.time_ns()
    os.utime(path, ns=(now, now))
    cohort_patches(cohort, SETTINGS, cache=tmp_path / "cache", **HERE)

    image, _ = arrays["P1", "L1"]
    image[10, 9, 6] = -image[10, 9, 6] - 1
    sitk.WriteImage(sitk.GetImageFromArray(image), str(path), useCompression=False)
    os.utime(path, ns=(now, now))

    assert_right(cohort_patches(cohort, SETTINGS, cache=tmp_path / "cache", **HERE), arrays)


def test_a_second_image_is_a_channel_and_a_lesion_without_one_is_told(tmp_path):
    delineations = {}
    for seed in range(2):
        image, mask, *_ = scan(tmp_path, seed)
        delineations[f"P{seed}"] = {"L1": (Delineation("CT", image=image, mask=mask),)}
    pet = write(tmp_path / "pet.nrrd", np.full((20, 20, 14), 7, np.float32))
    delineations["P0"]["L1"] += (Delineation("PET", image=pet, mask=mask),)
    delineations["P2"] = {"L1": (Delineation("PET", image=pet, mask=mask),), "L2": ()}
    channels = {"ct": WindowChannel(-160, 240, "CT"), "uptake": WindowChannel(0, 10, "PET")}
    settings = PatchSettings(SIZE, (1.0, 1.0, 1.0), channels)

    table = cohort_patches(cohort_of(delineations), settings, cache=tmp_path / "cache", **HERE)

    array, rows = table.array(), table.rows
    assert rows["status"].tolist() == ["ok", "ok", *["no image and mask of channel CT"] * 2]
    assert rows["remark"].tolist() == ["", "no PET: its channels are 0", "", ""]
    np.testing.assert_allclose(array[rows["place"][0], 1], 0.7, atol=2.0**-12)
    assert not array[rows["place"][1], 1].any()
    assert table.provenance["first_channel"] == "CT"
    assert table.provenance["format"] == PATCH_FORMAT


def test_a_channel_that_is_wanted_as_the_first_is_it_in_whatever_order_the_cohort_names_them(tmp_path):
    image, mask, *_ = scan(tmp_path, 0)
    pet = write(tmp_path / "pet.nrrd", np.full((20, 20, 14), 7, np.float32))
    on_ct, on_pet = Delineation("CT", image=image, mask=mask), Delineation("PET", image=pet, mask=mask)
    orders = [cohort_of({"P0": {"L1": order}}) for order in ((on_ct, on_pet), (on_pet, on_ct))]
    settings = replace(SETTINGS, channels={"window": WindowChannel(0, 10)})  # of the first channel

    tables = [cohort_patches(one, settings, cache=tmp_path / "cache", first="PET", **HERE) for one in orders]

    for table in tables:
        assert table.provenance["first_channel"] == "PET"
        np.testing.assert_allclose(table.array()[table.rows["place"][0], 0], 0.7, atol=2.0**-12)


def test_a_first_channel_that_the_cohort_has_not_is_refused_with_those_it_has(study, tmp_path):
    with pytest.raises(ValueError, match=r"lesions.csv has no channel MR, .*; it has image\. .* name it MR"):
        cohort_patches(study[0], SETTINGS, cache=tmp_path / "cache", first="MR", **HERE)


def test_remarks_that_differ_in_numbers_are_counted_together(study, tmp_path):
    table = cohort_patches(study[0], SETTINGS, cache=tmp_path / "cache", **HERE)
    remarks = ["", "larger: 40 % cut off", "larger: 2.5 % cut off", "no PET"]

    told = remark_counts(replace(table, rows=table.rows.assign(remark=remarks)))

    assert told == ["2 of 4 patches: larger: … % cut off", "1 of 4 patches: no PET"]


def test_a_channel_that_no_lesion_has_is_named(study, tmp_path):
    settings = replace(SETTINGS, channels={"uptake": WindowChannel(0, 10, "PTE")})
    with pytest.raises(
        ValueError, match="lesions.csv has no channel PTE, which the patches' channels name; it has image"
    ):
        cohort_patches(study[0], settings, cache=tmp_path, **HERE)


def test_a_cohort_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing to cut: no lesion of the cohort has an image and a mask"):
        cohort_patches(cohort_of({"P0": {"L1": ()}}), SETTINGS, cache=tmp_path, **HERE)


@pytest.mark.parametrize("how", [{"workers": 0}, {"workers": 2, "limit_s": None}, {"limit_s": 0.0}])
def test_workers_and_limits_that_make_no_sense_are_refused(study, tmp_path, how):
    with pytest.raises(ValueError, match=r"worker|time limit"):
        cohort_patches(study[0], SETTINGS, cache=tmp_path, **how)


def test_runs_at_the_same_time_share_the_file(study, tmp_path):
    cohort, arrays = study
    orders = [["P0", "P1", "P2"], ["P1"], ["P2", "P0"]]
    with ThreadPoolExecutor(3) as threads:
        cut = partial(cohort_patches, settings=SETTINGS, cache=tmp_path / "cache", **HERE)
        tables = list(threads.map(cut, [cohort.select(order) for order in orders]))

    assert len({table.file for table in tables}) == 1
    assert tables[0].array().shape[0] == 4
    for table, order in zip(tables, orders, strict=True):
        assert_right(table, {key: both for key, both in arrays.items() if key[0] in order})


def test_the_table_keeps_in_step_with_the_cohort(study, tmp_path):
    cohort, _ = study
    table = cohort_patches(cohort, SETTINGS, cache=tmp_path / "cache", **HERE)
    part = cohort.with_patches(table).select(["P2"]).patches
    assert part.rows["lesion_id"].tolist() == ["L1", "L2"]
    assert part.file == table.file
