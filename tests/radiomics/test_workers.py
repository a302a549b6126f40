"""Whatever an item does to its process, it costs that item alone."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from hazards import HAZARDS, count_voxels, failed, measure, version
from radnet.cohort import Cohort, Delineation, Lesion, Patient
from radnet.radiomics.engines import ENGINES, Engine
from radnet.radiomics.extract import extract_cohort
from radnet.radiomics.settings import ExtractionSettings
from radnet.radiomics.workers import memory_share_gib, work_through

REASONS = {
    "hangs": "took longer than 2 s",
    "leaves": "the process measuring it died (exit code 3)",
    "is killed": "the process measuring it was killed (out of memory?)",
    "crashes": "the process measuring it died (SIGSEGV)",
    "exhausts memory": "ran out of memory (limit 3 GiB)",
    "exhausts ITK's memory": "ran out of memory (limit 3 GiB)",
    "raises": "ZeroDivisionError: division by zero",
}


def work(batches, workers=2, limit_s=2.0, memory_gib=3.0):
    options = {"workers": workers, "limit_s": limit_s, "memory_gib": memory_gib}
    return dict(work_through(batches, measure, failed, **options))


@pytest.fixture(scope="module")
def results():
    """Each hazard as the second of three items of a batch."""
    return work([[f"{hazard}: before", hazard, f"{hazard}: after"] for hazard in HAZARDS])


@pytest.mark.parametrize("hazard", HAZARDS)
def test_an_item_that_goes_wrong_has_its_reason(results, hazard):
    assert results[hazard] == REASONS[hazard]


@pytest.mark.parametrize("hazard", HAZARDS)
def test_the_other_items_of_its_batch_are_done(results, hazard):
    assert results[f"{hazard}: before"] == results[f"{hazard}: after"] == "done"


def test_one_worker_is_protected_too_and_needs_no_work():
    assert work([["crashes"], ["fine"]], workers=1) == {"crashes": REASONS["crashes"], "fine": "done"}
    assert work([]) == {}


def test_the_time_limit_is_of_an_item_and_not_of_its_batch():
    batch = [f"a tenth of a second, {place}" for place in range(20)]

    assert work([batch], limit_s=1.0) == dict.fromkeys(batch, "done")


def test_processes_that_never_begin_are_told_with_the_likely_cause(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from hazards import failed, measure\n"
        "from radnet.radiomics.workers import work_through\n"
        "list(work_through([['fine']], measure, failed, workers=1, limit_s=9, memory_gib=3))\n"
    )

    ended = subprocess.run(
        [sys.executable, script], env=with_tests(), capture_output=True, encoding="utf-8", check=False
    )

    assert ended.returncode == 1
    assert 'must do so under `if __name__ == "__main__":`' in ended.stderr.splitlines()[-1]


def test_a_killed_parent_leaves_no_process_behind(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys\n"
        "from hazards import failed, tell_process_and_hang\n"
        "from radnet.radiomics.workers import work_through\n"
        "if __name__ == '__main__':\n"
        "    batches = [[path] for path in sys.argv[1:]]\n"
        "    list(work_through(batches, tell_process_and_hang, failed, workers=2, limit_s=3600, memory_gib=3))\n"
    )
    told = [tmp_path / "first", tmp_path / "second"]
    parent = subprocess.Popen([sys.executable, script, *told], env=with_tests())
    wait_until(lambda: all(path.is_file() and path.read_text() for path in told))
    workers = [int(path.read_text()) for path in told]
    assert all(alive(worker) for worker in workers)

    parent.kill()
    parent.wait()

    wait_until(lambda: not any(alive(worker) for worker in workers), seconds=10)


def test_a_lesion_that_hangs_is_a_row_with_its_reason_and_is_not_cached(tmp_path, monkeypatch):
    monkeypatch.setitem(ENGINES, "hanging", Engine(version, count_voxels))
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(12, 20, 20)))
    labels = np.zeros((12, 20, 20), dtype=np.uint8)
    labels[3:9, 2:9, 2:9], labels[3:6, 12:15, 12:15], labels[3:9, 12:19, 2:9] = 1, 4, 7
    sitk.WriteImage(image, str(tmp_path / "image.mha"))
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(tmp_path / "mask.nrrd"))
    files = {"image": tmp_path / "image.mha", "mask": tmp_path / "mask.nrrd"}
    lesions = tuple(Lesion(f"L{one}", delineations=(Delineation(**files, label=one),)) for one in (1, 4, 7))
    cohort = Cohort((Patient("P", "A", lesions=lesions),))
    settings = ExtractionSettings("fast", log_sigma_mm=(), wavelet=False)
    options = {"engine": "hanging", "limit_s": 3.0, "cache": tmp_path / "cache"}

    table = extract_cohort(cohort, settings, **options)

    assert table.rows["status"].tolist() == ["ok", "mask.nrrd: took longer than 3 s", "ok"]
    measured = table.rows[table.names].to_numpy()
    assert np.isnan(measured[1]).all()
    assert np.isfinite(measured[[0, 2]]).all()
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 2


def test_limits_that_cannot_be_are_refused(tmp_path):
    settings = ExtractionSettings("fast")
    with pytest.raises(ValueError, match="must be more than 0 s, got 0"):
        extract_cohort(Cohort(()), settings, limit_s=0, cache=tmp_path)
    with pytest.raises(ValueError, match="there is one process, this one, and not 2 workers"):
        extract_cohort(Cohort(()), settings, limit_s=None, workers=2, cache=tmp_path)


def test_a_worker_has_its_share_of_the_memory_and_enough_for_one_scan():
    whole = memory_share_gib(1)
    assert memory_share_gib(2) == pytest.approx(max(whole / 2, min(4.0, whole)))
    assert memory_share_gib(10_000) == pytest.approx(min(4.0, whole))


def with_tests():
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def wait_until(true, seconds=60.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def alive(process: int) -> bool:
    with suppress(FileNotFoundError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
