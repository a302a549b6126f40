"""What 1130 radiomics features cost: radnet's native engine beside unmodified pyradiomics 3.0.1, in one run.

usage: python benchmarks/extraction.py [--phantoms FOLDER] [--only PART …] [--out results/extraction.csv]

Each measurement is a process of its own with one thread, which first measures a tiny lesion so that imports and
compiled kernels are there (all but the parts `command`, `pair` and `start`), then the lesion, `--repeats` times and for
three seconds; the least CPU seconds and the peak memory are kept. Both engines are given the same files or arrays.
pyradiomics runs as it comes (additionalInfo on) from files, and without its provenance (additionalInfo off) in memory.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
}
PARTS = ("memory", "file", "scan", "command", "start", "size", "levels", "pair")
LESION_MM = (30, 80)


def main() -> None:
    """Measure what was asked for, print it as it comes, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=Path, help="folder of ct_phantoms.py; made anew where not given")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "extraction.csv")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        _measure(json.loads(chosen.measure))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        phantoms = chosen.phantoms or work / "phantoms"
        if not (phantoms / "three_lesions_image.nii.gz").is_file():
            subprocess.run([sys.executable, HERE / "ct_phantoms.py", phantoms], check=True, stdout=subprocess.DEVNULL)
        rows: list[dict[str, object]] = []
        for part in chosen.only:
            for row in _PARTS[part](phantoms, work, chosen.repeats):
                print({key: value for key, value in row.items() if value != ""}, flush=True)
                rows.append({"part": part, **row})
    table = pd.DataFrame(rows)
    table.to_csv(chosen.out, index=False)
    print(_ratios(table).to_string(index=False))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; {chosen.out}")


def _ratios(table: pd.DataFrame) -> pd.DataFrame:
    keys = ["part", "what", "bin_width"]
    wide = table.pivot_table(index=keys, columns="engine", values="cpu_s", sort=False, dropna=False).reset_index()
    wide = wide.dropna(subset=["native", "pyradiomics"]) if "pyradiomics" in wide else wide
    return wide.assign(ratio=(wide["pyradiomics"] / wide["native"]).round(1)) if "pyradiomics" in wide else wide


def _both(task: dict[str, object], repeats: int) -> list[dict[str, object]]:
    return [_in_a_process({**task, "engine": engine, "repeats": repeats}) for engine in ("native", "pyradiomics")]


def _in_a_process(task: dict[str, object]) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, __file__, "--measure", json.dumps(task)],
        check=True, capture_output=True, text=True, env={**os.environ, **ONE_THREAD},
    )  # fmt: skip
    found = json.loads(done.stdout.strip().splitlines()[-1])
    kept = {key: task.get(key, "") for key in ("what", "bin_width", "engine")}
    return {**kept, **found}


def _memory(phantoms: Path, work: Path, repeats: int) -> list[dict[str, object]]:
    del work
    return [
        row
        for mm in LESION_MM
        for bin_width in (25, 10)
        for row in _both(
            {
                "kind": "memory", "what": f"{mm} mm in memory", "bin_width": bin_width,
                "image": str(phantoms / f"iso{mm}_image.nrrd"), "mask": str(phantoms / f"iso{mm}_label.nrrd"),
            },
            repeats,
        )
    ]  # fmt: skip


def _file(phantoms: Path, work: Path, repeats: int) -> list[dict[str, object]]:
    import SimpleITK as sitk  # noqa: N813

    paths = {}
    for name in ("image", "label"):
        paths[name] = work / f"ani30_{name}.nii.gz"
        sitk.WriteImage(sitk.ReadImage(str(phantoms / f"ani30_{name}.nrrd")), str(paths[name]), useCompression=True)
    return _both(
        {
            "kind": "file", "what": "one 30 mm lesion, .nii.gz", "bin_width": 25, "labels": [1],
            "image": str(paths["image"]), "mask": str(paths["label"]),
        },
        repeats,
    )  # fmt: skip


def _scan(phantoms: Path, work: Path, repeats: int) -> list[dict[str, object]]:
    del work
    return _both(
        {
            "kind": "file", "what": "scan with three lesions, .nii.gz", "bin_width": 25, "labels": [1, 2, 3],
            "image": str(phantoms / "three_lesions_image.nii.gz"), "mask": str(phantoms / "three_lesions_label.nii.gz"),
        },
        repeats,
    )  # fmt: skip


def _size(phantoms: Path, work: Path, repeats: int) -> list[dict[str, object]]:
    del phantoms, work
    return [
        row
        for mm in (8, 15, 30, 60, 100)
        for row in _both({"kind": "ball", "what": f"ball of {mm} mm", "bin_width": 25, "mm": mm}, repeats)
    ]


def _levels(phantoms: Path, work: Path, repeats: int) -> list[dict[str, object]]:
    del phantoms, work
    return [
        row
        for bin_width in (50, 25, 10, 5, 2)
        for row in _both(
            {
                "kind": "ball", "what": "ball of 30 mm", "bin_width": bin_width, "mm": 30
            },
            repeats,
        )
    ]  # fmt: skip


def _command(phantoms: Path, work: Path, repeats: int) -> list[dict[str, object]]:
    """Time the whole commands, interpreter start and imports included."""
    cohort = _cohort(phantoms, work / "cohort")
    native = [sys.executable, "-c", "import sys; from radnet.cli import main; sys.exit(main())", "extract", str(cohort)]
    native += ["--settings", "zhao", "--out", str(work / "features.parquet"), "--workers", "1"]
    params = work / "params.yaml"
    params.write_text(
        "imageType: {Original: {}, LoG: {sigma: [1.0, 2.0, 3.0]}, Wavelet: {}}\n"
        "featureClass: {shape: , firstorder: , glcm: , gldm: , glrlm: , glszm: , ngtdm: }\n"
        "setting: {binWidth: 25, resampledPixelSpacing: [1, 1, 1], interpolator: sitkBSpline}\n"
    )
    files = [phantoms / f"three_lesions_{one}.nii.gz" for one in ("image", "label")]
    batch = work / "batch.csv"
    batch.write_text("Image,Mask,Label\n" + "".join(f"{files[0]},{files[1]},{label}\n" for label in (1, 2, 3)))
    stock = [str(Path(sys.executable).with_name("pyradiomics")), str(batch), "-o", str(work / "stock.csv"), "-f", "csv"]
    stock += ["--param", str(params)]
    rows = []
    for engine, command in (("native", native), ("pyradiomics", stock)):
        found = [_timed(command, {"RADNET_CACHE": str(work / f"cache{number}")}) for number in range(repeats)]
        rows.append({"what": "whole command, three lesions", "bin_width": 25, "engine": engine, **_least(found)})
    return rows


def _pair(phantoms: Path, work: Path, repeats: int) -> list[dict[str, object]]:
    """Time two processes over eight scans, by the clock."""
    cohort = work / "eight"
    cohort.mkdir(exist_ok=True)
    lesions = ["patient_id,lesion_id,image,mask,label"]
    batch = ["Image,Mask,Label"]
    for number in range(8):  # copies, so that no scan is read for another
        for one in ("image", "label"):
            (cohort / f"{number}_{one}.nii.gz").write_bytes((phantoms / f"three_lesions_{one}.nii.gz").read_bytes())
        image, mask = (cohort / f"{number}_{one}.nii.gz" for one in ("image", "label"))
        image.write_bytes(image.read_bytes() + bytes([31, 139, 8, 0, number, 0, 0, 0, 0, 255, 3, 0, *[0] * 8]))
        lesions.append(f"P{number},L1,{image.name},{mask.name},1")
        batch.append(f"{image},{mask},1")
    (cohort / "lesions.csv").write_text("\n".join(lesions) + "\n")
    (cohort / "clinical.csv").write_text("patient_id,centre\n" + "".join(f"P{one},A\n" for one in range(8)))
    (work / "batch8.csv").write_text("\n".join(batch) + "\n")
    native = [sys.executable, "-c", "import sys; from radnet.cli import main; sys.exit(main())", "extract", str(cohort)]
    native += ["--settings", "zhao", "--out", str(work / "features8.parquet"), "--workers", "2"]
    stock = [
        str(Path(sys.executable).with_name("pyradiomics")),
        str(work / "batch8.csv"),
        "-o",
        str(work / "stock8.csv"),
    ]
    stock += ["-f", "csv", "--param", str(work / "params.yaml"), "--jobs", "2"]
    if not (work / "params.yaml").is_file():
        _command(phantoms, work, 1)
    rows = []
    for engine, command in (("native", native), ("pyradiomics", stock)):
        found = _timed(command, {"RADNET_CACHE": str(work / "cache_pair")})
        rows.append({"what": "8 scans, 2 processes", "bin_width": 25, "engine": engine, **found})
    del repeats
    return rows


def _start(phantoms: Path, work: Path, repeats: int) -> list[dict[str, object]]:
    """Time a first lesion with no compiled kernels kept, and with."""
    del phantoms
    code = f"import sys; sys.argv = ['x']; sys.path.insert(0, {str(HERE)!r}); import extraction; extraction._first()"
    rows = []
    kept = {"RADNET_KERNELS": str(work / "kernels")}
    for what, count in (("cold start", 1), ("warm start", repeats)):
        found = [_timed([sys.executable, "-c", code], kept) for _ in range(count)]
        rows.append({"what": f"{what}, a tiny lesion", "bin_width": 25, "engine": "native", **_least(found)})
    return rows


def _cohort(phantoms: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    rows = [
        f"P1,L{label},{phantoms}/three_lesions_image.nii.gz,{phantoms}/three_lesions_label.nii.gz,{label}"
        for label in (1, 2, 3)
    ]
    (folder / "lesions.csv").write_text("patient_id,lesion_id,image,mask,label\n" + "\n".join(rows) + "\n")
    (folder / "clinical.csv").write_text("patient_id,centre\nP1,A\n")
    return folder


def _timed(command: list[str], changes: dict[str, str]) -> dict[str, object]:
    env, start = {**os.environ, **ONE_THREAD, **changes}, time.perf_counter()
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=told)
        _, status, used = os.wait4(process.pid, 0)  # with its own children, unlike wait
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            told.seek(0)
            raise RuntimeError(f"{' '.join(command)}: {told.read().decode()[-500:]}")
    wall_s = time.perf_counter() - start
    return {"cpu_s": round(used.ru_utime + used.ru_stime, 3), "wall_s": round(wall_s, 3), "peak_mib": ""}


def _least(found: list[dict[str, object]]) -> dict[str, object]:
    return min(found, key=lambda one: one["cpu_s"])  # type: ignore[arg-type, return-value]


def _measure(task: dict) -> None:
    """Measure one task in this process and print what it took."""
    import SimpleITK as sitk  # noqa: N813

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    work = _work(task)
    _first(task["engine"])
    took: list[tuple[float, float]] = []
    while len(took) < task["repeats"] or (sum(cpu for cpu, _ in took) < 3 and len(took) < 30):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        took.append((time.process_time() - cpu, time.perf_counter() - wall))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cpu_s, wall_s = min(took)
    print(json.dumps({"cpu_s": round(cpu_s, 4), "wall_s": round(wall_s, 4), "peak_mib": round(peak_mib)}))


def _work(task: dict) -> Callable[[], object]:
    from dataclasses import replace

    from radnet.files import content_hash
    from radnet.imaging.preprocess import read_image, read_mask
    from radnet.radiomics.engines import ENGINES
    from radnet.radiomics.scan import Row, measure_scan, region_on_grid
    from radnet.radiomics.settings import read_settings

    settings = replace(read_settings(HERE.parent / "conf" / "radiomics" / "zhao.yaml"), bin_width=task["bin_width"])
    if task["kind"] == "ball":
        image, mask = _ball(task["mm"])
    elif task["kind"] == "memory":
        image, mask = read_image(Path(task["image"])), read_mask(Path(task["mask"]))
        image, mask = region_on_grid(image, mask, 1, "lesion", settings)
    if task["kind"] in ("ball", "memory"):
        return lambda: ENGINES[task["engine"]].measure(image, mask, settings)
    files = (Path(task["image"]), Path(task["mask"]))
    if task["engine"] == "native":

        def as_a_worker_does() -> None:
            with tempfile.TemporaryDirectory() as cache:
                keys = content_hash(files[0]) + content_hash(files[1])
                rows = [Row((keys,), "lesion", *files, one, None, Path(cache, f"{one}.npy")) for one in task["labels"]]
                statuses = [one.status for one in measure_scan(rows, settings, ENGINES["native"])]
                assert statuses == ["ok"] * len(rows), statuses

        return as_a_worker_does
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    def as_it_comes() -> None:
        for label in task["labels"]:
            extractor = RadiomicsFeatureExtractor(
                binWidth=task["bin_width"], resampledPixelSpacing=[1, 1, 1], interpolator="sitkBSpline", label=label
            )
            extractor.enableImageTypes(Original={}, LoG={"sigma": [1.0, 2.0, 3.0]}, Wavelet={})
            extractor.enableAllFeatures()
            extractor.execute(task["image"], task["mask"])

    return as_it_comes


def _first(engine: str = "native") -> None:
    """Measure a tiny lesion."""
    import logging
    import warnings

    from radnet.radiomics.engines import ENGINES
    from radnet.radiomics.settings import ExtractionSettings

    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    ENGINES[engine].measure(*_ball(9), ExtractionSettings("first"))


def _ball(mm: int):
    """Return smooth noise around a ball, 1 mm voxels, 5 of them on every side."""
    import numpy as np
    import SimpleITK as sitk  # noqa: N813
    from scipy.ndimage import gaussian_filter

    size = mm + 12
    noise = gaussian_filter(np.random.default_rng(mm).standard_normal((size,) * 3), 1.5)
    values = 40 + 120 * noise / noise.std() + np.random.default_rng(1).standard_normal((size,) * 3) * 12
    away = np.linalg.norm(np.indices((size,) * 3) - (size - 1) / 2, axis=0)
    image = sitk.GetImageFromArray(np.rint(values).astype(np.int16))
    return image, sitk.GetImageFromArray((away <= mm / 2).astype(np.uint8))


_PARTS = {
    "memory": _memory,
    "file": _file,
    "scan": _scan,
    "command": _command,
    "start": _start,
    "size": _size,
    "levels": _levels,
    "pair": _pair,
}

if __name__ == "__main__":
    main()
