"""Features of lesions: one lesion at a time, or a cohort into a table, resumable and in parallel."""

import hashlib
import logging
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from radnet.cohort import FEATURE_KEYS, Cohort, Delineation, FeatureTable
from radnet.imaging.preprocess import (
    bounding_box,
    check_geometry,
    is_dicom,
    normalize,
    read_image,
    read_mask,
    resample,
)
from radnet.imaging.region import air_mask, ring_mask
from radnet.radiomics.settings import ExtractionSettings, feature_names
from radnet.radiomics.workers import memory_share_gib, reason, work_through
from radnet.tables import content_hash, write_atomically

PAD_VOXELS = 5
"""Voxels kept around a region for filters to work on; pyradiomics' own number, and its features depend on it."""

_CACHE_FORMAT = 1  # raise it when the same files, settings and engine give other values than before


@dataclass(frozen=True, slots=True)
class Engine:
    """What turns a prepared image and region into features.

    Attributes:
        version: Returns the engine's version; raises ImportError, with what to install, if it is not there.
        measure: Takes an image and a mask (1 in the region, 0 elsewhere) on one grid that already has the settings'
            spacing, padded by ``PAD_VOXELS``; returns every name of ``feature_names(settings)``.
    """

    version: Callable[[], str]
    measure: Callable[[sitk.Image, sitk.Image, ExtractionSettings], dict[str, float]]


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of the table to be: its key, the delineation it is measured from, and where its values are cached."""

    keys: tuple[str, ...]
    region: str
    delineation: Delineation
    cached: Path


@dataclass(frozen=True, slots=True)
class _Measured:
    """What came of a row: its status, and its features in the order of ``feature_names`` (NaN unless ``ok``)."""

    keys: tuple[str, ...]
    status: str
    features: NDArray[np.float64]


def extract_lesion(
    image: sitk.Image, mask: sitk.Image, settings: ExtractionSettings, label: int = 1, engine: str = "pyradiomics"
) -> dict[str, float]:
    """Return the features of a lesion, from the image as it was read: normalise, resample, filter, measure.

    Args:
        image: One value per voxel, any spacing.
        mask: On the same voxels of the world as the image.
        settings: How to measure. Its regions are of no matter here: this is the lesion itself.
        label: Value of the lesion's voxels in the mask.
        engine: Name out of ``ENGINES``.

    Returns:
        A value for every name of ``feature_names(settings)``, in that order; NaN where a feature has no value, such as
        texture of voxels that do not touch.

    Raises:
        ValueError: If the lesion cannot be measured, with the reason.
        ImportError: If the engine is not installed.
    """
    check_geometry(image, mask)
    prepared = normalize(image, settings.normalize_scale) if settings.normalize else image
    return _measure_region(prepared, mask, label, "lesion", settings, _engine(engine))


def extract_cohort(
    cohort: Cohort,
    settings: ExtractionSettings,
    *,
    engine: str = "pyradiomics",
    workers: int = 1,
    limit_s: float | None = 600.0,
    memory_gib: float | None = None,
    cache: Path,
    progress: Callable[[int, int, str], None] | None = None,
) -> FeatureTable:
    """Measure every delineation of a cohort that has an image, in every region of the settings.

    A lesion that cannot be measured, takes too long, exhausts memory or crashes its process is a row of NaN whose
    ``status`` is the reason; it stops no other. Each row is stored in ``cache`` as soon as it is measured, under a key
    made of the contents of its files, so that a run that was stopped, even by ``kill -9``, goes on where it was, and a
    row is measured anew exactly when something that its values depend on changed. What failed is tried again.

    Args:
        cohort: Whose lesions to measure; its features, if any, are not looked at.
        settings: How to measure.
        engine: Name out of ``ENGINES``.
        workers: Processes to share the images among.
        limit_s: Longest time for one row; what a scan costs to read is counted with its first. None measures in this
            process, where nothing can be stopped.
        memory_gib: Most memory of a process; None for its share of the machine's.
        cache: Folder of measured rows; created where it does not exist.
        progress: Called with rows done, rows in all, and which row it was.

    Returns:
        Rows in the order of the cohort (patient, lesion, delineation) and then of the settings' regions, whatever the
        number of workers; columns ``FEATURE_KEYS``, ``status`` and ``feature_names(settings)``.

    Raises:
        ImportError: If the engine is not installed.
        ValueError: If there is no such engine, or no delineation has an image.
        ChildProcessError: If no process can be started.
    """
    if workers < 1:
        raise ValueError(f"at least 1 worker is needed, got {workers}")
    if limit_s is None and workers > 1:
        raise ValueError(f"without a time limit there is one process, this one, and not {workers} workers")
    if limit_s is not None and limit_s <= 0:
        raise ValueError(f"the time limit of a lesion must be more than 0 s, got {limit_s:g}")
    made_by = f"{engine} {_engine(engine).version()}"
    hashes = _hashes(cohort, workers)
    if not hashes:
        raise ValueError("nothing to measure: no lesion of the cohort has an image and a mask")
    rows = _rows(cohort, settings, made_by, cache, hashes)
    measured: dict[tuple[str, ...], _Measured] = {}

    def keep(one: _Measured) -> None:
        measured[one.keys] = one
        if progress is not None:
            progress(len(measured), len(rows), " ".join(one.keys))

    for row in rows:
        if (values := _read_cached(row, settings)) is not None:
            keep(_Measured(row.keys, "ok", values))
    waiting = [row for row in rows if row.keys not in measured]
    by_image: dict[Path | None, list[_Row]] = {}
    for row in waiting:
        by_image.setdefault(row.delineation.image, []).append(row)
    units = [sorted(unit, key=_mask_then_label) for unit in by_image.values()]
    measure = partial(_measure_unit, settings=settings, engine=_engine(engine))
    if limit_s is None:
        results: Iterable[_Measured] = (one for unit in units for one in measure(unit))
    else:
        memory_gib = memory_gib or memory_share_gib(workers)
        failed = partial(_failed, settings=settings)
        results = work_through(units, measure, failed, workers=workers, limit_s=limit_s, memory_gib=memory_gib)
    for one in results:
        keep(one)
    ordered = [measured[row.keys] for row in rows]
    return FeatureTable(_table(ordered, settings), _provenance(cohort, settings, engine, hashes))


def _rows(
    cohort: Cohort, settings: ExtractionSettings, made_by: str, cache: Path, hashes: Mapping[Path, str | None]
) -> list[_Row]:
    names = hashlib.sha256("\n".join(feature_names(settings)).encode()).hexdigest()
    rows = []
    for patient_id, lesion_id, one in _delineations(cohort):
        assert one.image is not None
        assert one.mask is not None
        files = (hashes[one.image], hashes[one.mask], one.label, one.roi_name)
        for region in settings.regions:
            content = (_CACHE_FORMAT, *files, region, one.channel, settings.fingerprint(region), names, made_by)
            key = hashlib.sha256(repr(content).encode()).hexdigest()
            keys = (patient_id, lesion_id, region, one.channel, one.reader, one.repeat)
            rows.append(_Row(keys, region, one, cache / key[:2] / f"{key}.npy"))
    return rows


def _delineations(cohort: Cohort) -> Iterator[tuple[str, str, Delineation]]:
    for patient in cohort.patients:
        for lesion in patient.lesions:
            yield from ((patient.id, lesion.id, one) for one in lesion.delineations if one.image is not None)


def _hashes(cohort: Cohort, workers: int) -> dict[Path, str | None]:
    files = [path for *_, one in _delineations(cohort) for path in (one.image, one.mask) if path is not None]
    paths = list(dict.fromkeys(files))
    with ThreadPoolExecutor(workers) as threads:
        return dict(zip(paths, threads.map(_hash_or_nothing, paths), strict=True))


def _hash_or_nothing(path: Path) -> str | None:
    """Hash a file or a DICOM folder; one that cannot be read gets its reason where it is read as an image."""
    try:
        return content_hash(path)
    except OSError:
        return None


def _read_cached(row: _Row, settings: ExtractionSettings) -> NDArray[np.float64] | None:
    try:
        values = np.load(row.cached, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):  # a damaged file is measured anew
        return None
    return values if values.shape == (len(feature_names(settings)),) else None


def _mask_then_label(row: _Row) -> tuple[str, str, int]:
    return str(row.delineation.mask), row.delineation.roi_name or "", row.delineation.label


def _mask_as_read(row: _Row) -> tuple[Path, str | None, int | None]:
    """Return what is read at once: one region of a DICOM mask, all labels of another."""
    one = row.delineation
    assert one.mask is not None
    return one.mask, one.roi_name, one.label if is_dicom(one.mask) else None


def _measure_unit(unit: list[_Row], settings: ExtractionSettings, engine: Engine) -> Iterator[_Measured]:
    """Measure rows of one image, which is read once, as is each mask, and yield each as it is done."""
    image_path = unit[0].delineation.image
    assert image_path is not None
    with _one_thread():
        try:
            image = read_image(image_path)
            image = normalize(image, settings.normalize_scale) if settings.normalize else image
        except Exception as error:  # whatever is wrong with one file is the status of its rows, and stops no other
            yield from (_failed(row, reason(error), settings) for row in unit)
            return
        for _, rows in groupby(unit, key=_mask_as_read):
            yield from _measure_mask(image, list(rows), settings, engine)


def _measure_mask(
    image: sitk.Image, rows: list[_Row], settings: ExtractionSettings, engine: Engine
) -> Iterator[_Measured]:
    delineation = rows[0].delineation
    assert delineation.mask is not None
    try:
        mask = read_mask(delineation.mask, image, delineation.roi_name, delineation.label)
        check_geometry(image, mask)
    except Exception as error:
        yield from (_failed(row, reason(error), settings) for row in rows)
        return
    yield from (_measure_row(image, mask, row, settings, engine) for row in rows)


def _measure_row(
    image: sitk.Image, mask: sitk.Image, row: _Row, settings: ExtractionSettings, engine: Engine
) -> _Measured:
    try:
        features = _measure_region(image, mask, row.delineation.label, row.region, settings, engine)
    except Exception as error:
        return _failed(row, reason(error), settings)
    values = np.array([features[name] for name in feature_names(settings)], dtype=np.float64)
    write_atomically(row.cached, lambda path: np.save(path, values))
    return _Measured(row.keys, "ok", values)


def _failed(row: _Row, told: str, settings: ExtractionSettings) -> _Measured:
    """Tell the fault with the name of the mask's file, or of the image's where the fault is told of it."""
    files = [path for path in (row.delineation.image, row.delineation.mask) if path is not None]
    for path in files:
        told = told.replace(str(path), path.name)
    if not any(path.name in told for path in files):
        told = f"{files[-1].name}: {told}"
    return _Measured(row.keys, told, np.full(len(feature_names(settings)), np.nan))


def _measure_region(
    image: sitk.Image, mask: sitk.Image, label: int, region: str, settings: ExtractionSettings, engine: Engine
) -> dict[str, float]:
    return engine.measure(*region_on_grid(image, mask, label, region, settings), settings)


def region_on_grid(
    image: sitk.Image, mask: sitk.Image, label: int, region: str, settings: ExtractionSettings
) -> tuple[sitk.Image, sitk.Image]:
    """Return the image and a region of a lesion on the grid they are measured on.

    Args:
        image: Normalised already, where the settings want it.
        mask: On the same voxels of the world as the image.
        label: Value of the lesion's voxels in the mask.
        region: Out of ``REGIONS``.
        settings: How to measure.

    Raises:
        ValueError: If the region cannot be measured, with the reason.
    """
    pad_voxels = PAD_VOXELS if region == "lesion" else PAD_VOXELS + _ring_voxels(mask, settings)
    grid_image, grid_mask = resample(image, mask, label, settings.spacing_mm, pad_voxels, settings.interpolator)
    if region != "lesion":
        grid_mask = _ring(grid_image, grid_mask, region, settings)
    _check_measurable(grid_image, grid_mask, region, settings)
    return grid_image, grid_mask


def _ring_voxels(mask: sitk.Image, settings: ExtractionSettings) -> int:
    """Return how many voxels of the new grid the ring takes around the lesion, so that it has a pad of its own."""
    spacing_mm = [new or old for new, old in zip(settings.spacing_mm, mask.GetSpacing()[::-1], strict=True)]
    return math.ceil(settings.ring_outer_mm / min(spacing_mm))


def _ring(image: sitk.Image, mask: sitk.Image, region: str, settings: ExtractionSettings) -> sitk.Image:
    lesion = sitk.GetArrayViewFromImage(mask) != 0
    below = settings.ring_exclude_below
    ring = ring_mask(
        lesion,
        mask.GetSpacing()[::-1],
        inner_mm=0.0 if region == "outer" else settings.ring_inner_mm,
        outer_mm=0.0 if region == "inner" else settings.ring_outer_mm,
        exclusion=None if below is None else air_mask(sitk.GetArrayViewFromImage(image), lesion, below),
    )
    ring_image = sitk.GetImageFromArray(ring.astype(np.uint8))
    ring_image.CopyInformation(mask)
    return ring_image


def _check_measurable(image: sitk.Image, mask: sitk.Image, region: str, settings: ExtractionSettings) -> None:
    """Refuse what pyradiomics refuses, and what would leave columns empty, in words that tell what to do."""
    spacing_mm = mask.GetSpacing()[::-1]
    inside = sitk.GetArrayViewFromImage(mask) != 0
    voxels = int(inside.sum())
    at = "at " + " × ".join(f"{step:g}" for step in spacing_mm) + " mm"
    if not np.isfinite(sitk.GetArrayViewFromImage(image)).all():
        raise ValueError(f"the image has values around the {region} that are no numbers (NaN or infinite)")
    if voxels == 0:
        raise ValueError(f"no voxel of the {region} is left {at}")
    if voxels < settings.minimum_voxels:
        raise ValueError(f"the {region} has {voxels} voxels {at}, minimum_voxels is {settings.minimum_voxels}")
    if voxels == inside.size:
        raise ValueError(f"the {region} fills the whole image {inside.shape}, no background is left")
    if sum(side.stop - side.start > 1 for side in bounding_box(inside)) < 2:
        raise ValueError(f"the {region} is a single voxel or a line of {voxels} voxels {at}: texture needs two axes")
    for sigma_mm in settings.log_sigma_mm:
        needed = [max(4, math.ceil(sigma_mm / step) + 1) for step in spacing_mm]
        if any(size < least for size, least in zip(inside.shape, needed, strict=True)):
            raise ValueError(
                f"the image around the {region}, {inside.shape} voxels {at}, is too small for the Laplacian of "
                f"Gaussian of {sigma_mm:g} mm, which needs {tuple(needed)}"
            )


def _pyradiomics_version() -> str:
    """Return the version of pyradiomics, imported here alone since it is an optional extra."""
    try:
        import radiomics  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'the pyradiomics engine needs the extra "reference": pip install "radnet[reference]" (pyradiomics 3.0.1 '
            "builds on Python 3.11 only, and needs numpy there before it: pip install numpy setuptools wheel; "
            "pip install --no-build-isolation pyradiomics==3.0.1)"
        ) from error
    return version("pyradiomics")


def _pyradiomics_features(image: sitk.Image, mask: sitk.Image, settings: ExtractionSettings) -> dict[str, float]:
    _pyradiomics_version()
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    discretisation = (
        {"binWidth": settings.bin_width} if settings.bin_count is None else {"binCount": settings.bin_count}
    )
    extractor = RadiomicsFeatureExtractor(additionalInfo=False, label=1, **discretisation)
    extractor.enableAllFeatures()
    if settings.log_sigma_mm:
        extractor.enableImageTypeByName("LoG", customArgs={"sigma": list(settings.log_sigma_mm)})
    if settings.wavelet:
        extractor.enableImageTypeByName("Wavelet")
    for name in settings.pointwise:
        extractor.enableImageTypeByName({"squareroot": "SquareRoot"}.get(name, name.capitalize()))
    with warnings.catch_warnings():  # it divides by zero where a matrix is empty, and answers with NaN as it should
        warnings.simplefilter("ignore", RuntimeWarning)
        found = extractor.execute(image, mask)
    # With numpy 2.5 and later, eigenvalues arrive as complex numbers whose imaginary part is 0.
    return {name: float(np.asarray(found[name]).real) for name in feature_names(settings)}


ENGINES = {"pyradiomics": Engine(_pyradiomics_version, _pyradiomics_features)}


def _engine(name: str) -> Engine:
    if name not in ENGINES:
        raise ValueError(f"there is no engine {name}; engines are {', '.join(ENGINES)}")
    return ENGINES[name]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep ITK and BLAS to one thread: workers would fight over cores, and sums would depend on their number."""
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _table(measured: Sequence[_Measured], settings: ExtractionSettings) -> pd.DataFrame:
    keys = pd.DataFrame([(*one.keys, one.status) for one in measured], columns=[*FEATURE_KEYS, "status"])
    values = pd.DataFrame(np.stack([one.features for one in measured]), columns=feature_names(settings))
    return pd.concat([keys, values], axis=1)


def _provenance(
    cohort: Cohort, settings: ExtractionSettings, engine: str, hashes: Mapping[Path, str | None]
) -> dict[str, object]:
    inputs = [
        {
            "patient_id": patient_id,
            "lesion_id": lesion_id,
            "channel": one.channel,
            "reader": one.reader,
            "repeat": one.repeat,
            "image": hashes[one.image] if one.image else None,
            "mask": hashes[one.mask] if one.mask else None,
        }
        for patient_id, lesion_id, one in _delineations(cohort)
    ]
    return {
        "settings": {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(settings).items()
        },
        "fingerprint": settings.fingerprint(),
        "engine": engine,
        "engine_version": _engine(engine).version(),
        "versions": {name: version(name) for name in ("numpy", "SimpleITK")},
        "inputs": inputs,
    }
