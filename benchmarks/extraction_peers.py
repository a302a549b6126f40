"""What the features of one lesion cost in other packages, beside radnet's native engine and pyradiomics 3.0.1.

usage: python benchmarks/extraction_peers.py --peer nyxus=PYTHON mirp=PYTHON fastrad=PYTHON
                                             [--phantoms FOLDER] [--sets original filtered] [--lesions 30 80]

Each PYTHON is the interpreter of an environment that holds that package alone; none of them is a dependency of radnet.
All are given the same crop of a lesion at 1 mm, as arrays, or as uncompressed NIfTI files where a package reads files
only (nyxus). Each measurement is a process of its own with one thread, which first measures a tiny lesion so that
imports and compiled kernels are there, then the lesion, `--repeats` times and for three seconds; the least CPU seconds
and the peak memory are kept.

`original` is first order, shape, GLCM, GLRLM, GLSZM, GLDM (NGLDM) and NGTDM of the unfiltered image at bin width 25;
`texture` is this without shape, and `filtered` this with three Laplacians of Gaussian and eight wavelet bands, of the
packages that have them. Features are told by the names they have in pyradiomics (MIRP's through its IBSI tags, as
tests/radiomics/test_ibsi.py pairs them): `shared` counts those, `equal` the ones that differ from pyradiomics' by at
most 1e-6 of its value, `near` by at most 1e-3, and `apart` names those that are not equal, where they are 50 or fewer.
nyxus knows no bin width: it is given as many bins as width 25 makes, and rows `… bins` of the other two are beside it.
"""

import argparse
import json
import math
import os
import platform
import re
import resource
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
}
PEERS = ("nyxus", "mirp", "fastrad")
SETS = ("original", "texture", "filtered")
BIN_WIDTH = 25.0
Features = dict[str, float]


def main() -> None:
    """Measure what was asked for, print it as it comes, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", nargs="+", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--phantoms", type=Path, help="folder of ct_phantoms.py; made anew where not given")
    parser.add_argument("--lesions", type=int, nargs="+", default=[30, 80], help="diameters in mm, 30 or 80")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory-gib", type=float, default=12.0, help="what a measurement may ask for")
    parser.add_argument("--limit-s", type=float, default=400.0, help="how long a measurement may take")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "extraction_peers.csv")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        _measure(Task(**json.loads(chosen.measure)))
        return
    import pandas as pd

    pythons = {"native": sys.executable, "pyradiomics": sys.executable} | dict(one.split("=", 1) for one in chosen.peer)
    if unknown := set(pythons) - set(_WORK):
        parser.error(f"there is no way to ask {', '.join(sorted(unknown))}; peers are {', '.join(PEERS)}")
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        phantoms = chosen.phantoms or Path(folder) / "phantoms"
        if not (phantoms / "iso30_image.nrrd").is_file():
            subprocess.run([sys.executable, HERE / "ct_phantoms.py", phantoms], check=True, stdout=subprocess.DEVNULL)
        _write_tiny(Path(folder))
        for mm in chosen.lesions:
            bins = _write_lesion(phantoms, mm, Path(folder))
            for one_set in chosen.sets:
                limits = {"repeats": chosen.repeats, "limit_s": chosen.limit_s, "memory_gib": chosen.memory_gib}
                task = Task(folder, str(mm), one_set, "native", None, **limits)
                for row in _beside_each_other(task, pythons, bins):
                    print({key: value for key, value in row.items() if value != ""}, flush=True)
                    rows.append(row)
    table = pd.DataFrame(rows).assign(machine=_machine())
    table.to_csv(chosen.out, index=False)
    print(table.drop(columns=["machine", "remark", "apart"]).to_string(index=False))
    print(f"{_machine()}; {chosen.out}")


@dataclass(frozen=True)
class Task:
    """What one process measures: a lesion of the folder, by one engine, ``bins`` grey levels or bins of one width."""

    folder: str
    lesion: str
    features: str
    engine: str
    bins: int | None
    repeats: int
    limit_s: float
    memory_gib: float


def _beside_each_other(task: Task, pythons: Mapping[str, str], bins: int) -> Iterator[dict[str, object]]:
    """Yield a row for each engine that can measure the features; peers are held against pyradiomics."""
    peers = [one for one in PEERS if one in pythons and (task.features != "filtered" or one == "mirp")]
    for number, beside in (
        (None, [one for one in peers if one != "nyxus"]),
        (bins, [one for one in peers if one == "nyxus"]),
    ):
        if number is not None and not beside:
            continue
        known: Features = {}
        for engine in ("pyradiomics", "native", *beside):
            row, features = _row(replace(task, engine=engine, bins=number), pythons[engine])
            known = features if engine == "pyradiomics" else known
            yield row | _agreement(features, known)


def _row(task: Task, python: str) -> tuple[dict[str, object], Features]:
    what = f"{task.lesion} mm, {task.features}" + (f", {task.bins} bins" if task.bins else "")
    row: dict[str, object] = {"what": what, "engine": task.engine}
    row |= dict.fromkeys(("cpu_s", "wall_s", "peak_mib", "features", "version", "remark"), "")
    try:
        found = _in_a_process(task, python)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        lines = (error.stderr or str(error)).strip().splitlines() if isinstance(error.stderr, str) else [str(error)]
        return row | {"remark": "could not: " + lines[-1][-200:]}, {}
    features = _NAMES[task.engine](found.pop("values"))
    return row | found, features


def _agreement(features: Features, known: Features) -> dict[str, object]:
    """Count the features that are measured by both, and those of them that are equal or near; name the others."""
    if not features or not known:
        return {"shared": "", "equal": "", "near": "", "apart": ""}
    off = {name: abs(features[name] - known[name]) / (abs(known[name]) or 1.0) for name in features if name in known}
    equal = sum(one <= 1e-6 for one in off.values())
    apart = [f"{name.removeprefix('original_')} {one:.0e}" for name, one in off.items() if not one <= 1e-6]
    near = sum(one <= 1e-3 for one in off.values())
    return {"shared": len(off), "equal": equal, "near": near, "apart": "; ".join(apart) if len(apart) <= 50 else ""}


def _in_a_process(task: Task, python: str) -> dict:
    limit_bytes = int(task.memory_gib * 2**30)
    done = subprocess.run(
        [python, __file__, "--measure", json.dumps(asdict(task))],
        check=True, capture_output=True, text=True, env={**os.environ, **ONE_THREAD}, timeout=task.limit_s,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes)),
    )  # fmt: skip
    return json.loads(done.stdout.strip().splitlines()[-1])


def _machine() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = names[0].split(":", 1)[1].strip() if names else platform.machine()
    return f"{name}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, no GPU used, one thread"


# What is measured, on the disk.


def _write_lesion(phantoms: Path, mm: int, folder: Path) -> int:
    """Write the crop of a phantom's lesion, and return how many bins of ``BIN_WIDTH`` its intensities fill."""
    import SimpleITK as sitk  # noqa: N813

    from radnet.imaging.preprocess import read_image, read_mask
    from radnet.radiomics.scan import region_on_grid
    from radnet.radiomics.settings import ExtractionSettings

    image, mask = (
        read(phantoms / f"iso{mm}_{name}.nrrd") for read, name in ((read_image, "image"), (read_mask, "label"))
    )
    image, mask = region_on_grid(image, mask, 1, "lesion", ExtractionSettings("crop"))
    return _write(str(mm), sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(mask), folder)


def _write_tiny(folder: Path) -> None:
    """Write a ball of 9 mm in smooth noise, to be measured first."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(9).standard_normal((21, 21, 21)), 1.5)
    inside = np.sum((np.indices(noise.shape) - 10) ** 2, axis=0) <= 4.5**2
    _write("tiny", (40 + 120 * noise / noise.std()).astype(np.int16), inside.astype(np.uint8), folder)


def _write(name: str, image: NDArray[np.int16], mask: NDArray[np.uint8], folder: Path) -> int:
    import SimpleITK as sitk  # noqa: N813

    for array, kind in ((image, "image"), (mask, "mask")):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / f"{name}_{kind}.nii"))
    np.savez(folder / f"{name}.npz", image=image, mask=mask)
    values = image[mask == 1]
    return math.floor(values.max() / BIN_WIDTH) - math.floor(values.min() / BIN_WIDTH) + 1


@dataclass(frozen=True)
class Lesion:
    """A lesion in voxels of 1 mm, shape (Z, Y, X): intensities and a mask of 0 and 1, and the files that hold them."""

    image: NDArray[np.int16]
    mask: NDArray[np.uint8]
    image_file: str
    mask_file: str


def _read(folder: str, name: str) -> Lesion:
    arrays = np.load(Path(folder, f"{name}.npz"))
    return Lesion(arrays["image"], arrays["mask"], f"{folder}/{name}_image.nii", f"{folder}/{name}_mask.nii")


# How each package is asked: what it returns is measured again and again.


def _measure(task: Task) -> None:
    """Measure one task in this process and print what it took and found."""
    _WORK[task.engine](_read(task.folder, "tiny"), task)()
    work = _WORK[task.engine](_read(task.folder, task.lesion), task)
    took: list[tuple[float, float]] = []
    start = time.perf_counter()
    while not took or (time.perf_counter() - start < task.limit_s / 4 and not _enough(took, task.repeats)):
        cpu, wall = time.process_time(), time.perf_counter()
        values = work()
        took.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu_s, wall_s = min(took)
    found = {"cpu_s": round(cpu_s, 4), "wall_s": round(wall_s, 4)}
    found["peak_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    found["features"] = len(values)
    package = {"native": "radnet"}.get(task.engine, task.engine)
    sys.stdout.write("\n" + json.dumps({**found, "version": version(package), "values": values}) + "\n")


def _enough(took: list[tuple[float, float]], repeats: int) -> bool:
    return len(took) >= repeats and (sum(cpu for cpu, _ in took) >= 3 or len(took) >= 30)


def _work_of_radnet(lesion: Lesion, task: Task) -> Callable[[], Features]:
    import logging
    import warnings

    import SimpleITK as sitk  # noqa: N813

    from radnet.radiomics.engines import ENGINES
    from radnet.radiomics.settings import ExtractionSettings
    from radnet.radiomics.vocabulary import CLASSES

    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    bins = {"bin_width": None, "bin_count": task.bins} if task.bins else {"bin_width": BIN_WIDTH}
    no_filter = {"log_sigma_mm": (), "wavelet": False} if task.features != "filtered" else {}
    classes = [one for one in CLASSES if one != "shape" or task.features != "texture"]
    settings = ExtractionSettings(task.features, classes=tuple(classes), **bins, **no_filter)
    image, mask = sitk.GetImageFromArray(lesion.image), sitk.GetImageFromArray(lesion.mask)
    return lambda: ENGINES[task.engine].measure(image, mask, settings)


def _work_of_nyxus(lesion: Lesion, task: Task) -> Callable[[], Features]:
    from nyxus import Nyxus3D

    groups = ["ALL_MORPHOLOGY"] if task.features != "texture" else []
    groups += ["ALL_INTENSITY", "GLCM", "GLRLM", "GLSZM", "GLDM", "NGTDM"]
    wanted = [f"*3D_{name}*" for name in groups]
    nyxus = Nyxus3D(wanted, n_feature_calc_threads=1)
    for name in ("3glcm", "3glrlm", "3glszm", "3gldm", "3ngtdm"):
        nyxus.set_metaparam(f"{name}/greydepth=-{task.bins}")  # a negative number: bins as pyradiomics' binCount
    nyxus.set_metaparam("3glcm/offset=1")
    nyxus.set_metaparam("3ngtdm/radius=1")  # without it, all of NGTDM is 0

    def work() -> Features:
        table = nyxus.featurize_files([lesion.image_file], [lesion.mask_file], False)
        return {name: float(table[name].iloc[0]) for name in table.columns if name.startswith("3")}

    return work


def _work_of_mirp(lesion: Lesion, task: Task) -> Callable[[], Features]:
    import logging
    import warnings

    from mirp import extract_features

    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    texture = ["statistical", "int_hist", "glcm", "glrlm", "glszm", "ngtdm", "ngldm"]
    settings = {
        "ibsi_compliant": False,  # it would refuse bins that start at a multiple of their width
        "base_feature_families": texture if task.features == "texture" else ["morphological", *texture],
        "base_discretisation_method": "fixed_bin_size_pyradiomics",
        "base_discretisation_bin_width": BIN_WIDTH,
        "glcm_spatial_method": "3d_average",
        "glrlm_spatial_method": "3d_average",
    }
    if task.features == "filtered":
        settings |= {
            "filter_kernels": ["laplacian_of_gaussian", "separable_wavelet"],
            "laplacian_of_gaussian_sigma": [1.0, 2.0, 3.0],
            "separable_wavelet_families": "coif1",
            "separable_wavelet_set": "all",
            "separable_wavelet_rotation_invariance": False,
            "separable_wavelet_boundary_condition": "wrap",
            "response_map_feature_families": texture,
            "response_map_discretisation_method": "fixed_bin_size_pyradiomics",
            "response_map_discretisation_bin_width": BIN_WIDTH,
        }

    def work() -> Features:
        (table,) = extract_features(image=lesion.image, mask=lesion.mask, image_modality="ct", num_cpus=1, **settings)
        numbers = table.iloc[0].drop([name for name in table.columns if name.startswith(("image_", "sample_"))])
        return {name: float(value) for name, value in numbers.items()}

    return work


def _work_of_fastrad(lesion: Lesion, task: Task) -> Callable[[], Features]:
    import torch
    from fastrad import FeatureExtractor, FeatureSettings, Mask, MedicalImage

    torch.set_num_threads(1)
    settings = FeatureSettings(bin_width=BIN_WIDTH, device="cpu")
    if task.features == "texture":
        settings.feature_classes.remove("shape")
    image = MedicalImage(torch.from_numpy(lesion.image.astype(np.float32)))
    mask = Mask(torch.from_numpy(lesion.mask))
    return lambda: {name: float(value) for name, value in FeatureExtractor(settings).extract(image, mask).items()}


_WORK: dict[str, Callable[[Lesion, Task], Callable[[], Features]]] = {
    "native": _work_of_radnet,
    "pyradiomics": _work_of_radnet,
    "nyxus": _work_of_nyxus,
    "mirp": _work_of_mirp,
    "fastrad": _work_of_fastrad,
}


# What each package calls a feature.

NYXUS = {
    "shape": """AREA SurfaceArea AREA_2_VOLUME SurfaceVolumeRatio MESH_VOLUME MeshVolume SPHERICITY Sphericity
        VOXEL_VOLUME VoxelVolume MAJOR_AXIS_LEN MajorAxisLength MINOR_AXIS_LEN MinorAxisLength LEAST_AXIS_LEN
        LeastAxisLength ELONGATION Elongation FLATNESS Flatness""",
    "firstorder": """ENERGY Energy ENTROPY Entropy INTERQUARTILE_RANGE InterquartileRange KURTOSIS Kurtosis MAX Maximum
        MEAN Mean MEAN_ABSOLUTE_DEVIATION MeanAbsoluteDeviation MEDIAN Median MIN Minimum P10 10Percentile P90
        90Percentile RANGE Range ROBUST_MEAN_ABSOLUTE_DEVIATION RobustMeanAbsoluteDeviation ROOT_MEAN_SQUARED
        RootMeanSquared SKEWNESS Skewness UNIFORMITY Uniformity VARIANCE_BIASED Variance""",
    "glcm": """ACOR Autocorrelation ASM JointEnergy CLUPROM ClusterProminence CLUSHADE ClusterShade CLUTEND
        ClusterTendency CONTRAST Contrast CORRELATION Correlation DIFAVE DifferenceAverage DIFENTRO DifferenceEntropy
        DIFVAR DifferenceVariance ID Id IDN Idn IDM Idm IDMN Idmn IV InverseVariance JAVE JointAverage JE JointEntropy
        INFOMEAS1 Imc1 INFOMEAS2 Imc2 JMAX MaximumProbability JVAR SumSquares SUMAVERAGE SumAverage SUMENTROPY
        SumEntropy""",
    "glrlm": """SRE ShortRunEmphasis LRE LongRunEmphasis GLN GrayLevelNonUniformity GLNN
        GrayLevelNonUniformityNormalized RLN RunLengthNonUniformity RLNN RunLengthNonUniformityNormalized RP
        RunPercentage GLV GrayLevelVariance RV RunVariance RE RunEntropy LGLRE LowGrayLevelRunEmphasis HGLRE
        HighGrayLevelRunEmphasis SRLGLE ShortRunLowGrayLevelEmphasis SRHGLE ShortRunHighGrayLevelEmphasis LRLGLE
        LongRunLowGrayLevelEmphasis LRHGLE LongRunHighGrayLevelEmphasis""",
    "glszm": """SAE SmallAreaEmphasis LAE LargeAreaEmphasis GLN GrayLevelNonUniformity GLNN
        GrayLevelNonUniformityNormalized SZN SizeZoneNonUniformity SZNN SizeZoneNonUniformityNormalized ZP
        ZonePercentage GLV GrayLevelVariance ZV ZoneVariance ZE ZoneEntropy LGLZE LowGrayLevelZoneEmphasis HGLZE
        HighGrayLevelZoneEmphasis SALGLE SmallAreaLowGrayLevelEmphasis SAHGLE SmallAreaHighGrayLevelEmphasis LALGLE
        LargeAreaLowGrayLevelEmphasis LAHGLE LargeAreaHighGrayLevelEmphasis""",
    "gldm": """SDE SmallDependenceEmphasis LDE LargeDependenceEmphasis GLN GrayLevelNonUniformity DN
        DependenceNonUniformity DNN DependenceNonUniformityNormalized GLV GrayLevelVariance DV DependenceVariance DE
        DependenceEntropy LGLE LowGrayLevelEmphasis HGLE HighGrayLevelEmphasis SDLGLE
        SmallDependenceLowGrayLevelEmphasis SDHGLE SmallDependenceHighGrayLevelEmphasis LDLGLE
        LargeDependenceLowGrayLevelEmphasis LDHGLE LargeDependenceHighGrayLevelEmphasis""",
    "ngtdm": "COARSENESS Coarseness CONTRAST Contrast BUSYNESS Busyness COMPLEXITY Complexity STRENGTH Strength",
}
MIRP_SUFFIX = re.compile(r"(_d1)?(_a0\.0)?(_3d(_avg)?)?_fbsp_w25\.0$")
MIRP_BEYOND_IBSI = {"stat_total_energy": "firstorder_TotalEnergy", "cm_mcc": "glcm_MCC"}


def _named_by_nyxus(values: Features) -> Features:
    named: Features = {}
    for family, words in NYXUS.items():
        codes = dict(zip(words.split()[::2], words.split()[1::2], strict=True))
        before = "3" if family in ("shape", "firstorder") else f"3{family.upper()}_"
        after = "_AVE" if family in ("glcm", "glrlm") else ""  # the mean over directions, as pyradiomics takes it
        named |= {
            f"original_{family}_{feature}": values[before + code + after]
            for code, feature in codes.items()
            if before + code + after in values
        }
    return named


def _named_by_mirp(values: Features) -> Features:
    families = runpy.run_path(str(HERE.parent / "tests" / "radiomics" / "test_ibsi.py"))["FAMILIES"]
    tags = {tag: f"{family}_{name}" for family, rows in families.items() for tag, name in rows.items()}
    tags |= MIRP_BEYOND_IBSI
    named: Features = {}
    for column, value in values.items():
        image, tag = _image_of_mirp(MIRP_SUFFIX.sub("", column))
        if tag in tags:
            named[f"{image}_{tags[tag]}"] = value
    return named


def _image_of_mirp(column: str) -> tuple[str, str]:
    if found := re.fullmatch(r"log_s_(\d)\.0_(.*)", column):
        return f"log-sigma-{found[1]}-0-mm-3D", found[2]
    if found := re.fullmatch(r"wavelet_coif1_([hl]{3})_level_1_(.*)", column):
        return f"wavelet-{found[1].upper()}", found[2]
    return "original", column


def _named_by_fastrad(values: Features) -> Features:
    from radnet.radiomics.vocabulary import FEATURES

    known = {
        (family, one.lower()): f"original_{family}_{one}" for family in FEATURES for one in FEATURES[family].split()
    }
    pairs = {tuple(name.replace("_", "").replace("0thp", "0p").split(":")): value for name, value in values.items()}
    return {known[pair]: value for pair, value in pairs.items() if pair in known}


_NAMES: dict[str, Callable[[Features], Features]] = {
    "native": dict,
    "pyradiomics": dict,
    "nyxus": _named_by_nyxus,
    "mirp": _named_by_mirp,
    "fastrad": _named_by_fastrad,
}


if __name__ == "__main__":
    main()
