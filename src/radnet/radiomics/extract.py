"""Features of lesions: one lesion at a time, or a cohort into a table, resumable and in parallel."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it
from numpy.typing import NDArray

from radnet.cohort import FEATURE_KEYS, Cohort, Delineation, FeatureTable
from radnet.files import content_hash
from radnet.imaging.preprocess import check_geometry
from radnet.radiomics.change import Change, LesionChange, Outline
from radnet.radiomics.engines import engine_named
from radnet.radiomics.perturbation import perturbation_named
from radnet.radiomics.scan import Measured, Row, failed_row, measure_region, measure_scan, prepared
from radnet.radiomics.settings import ExtractionSettings, feature_names
from radnet.radiomics.workers import check_workers, memory_share_gib, work_through

_DEPENDS_ON = ("numpy", "SimpleITK", "PyWavelets")
_CACHE_FORMAT = 2  # raise it when the same files, settings and engine give other values than before


def extract_lesion(
    image: sitk.Image, mask: sitk.Image, settings: ExtractionSettings, label: int = 1, engine: str = "native"
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
    return measure_region(prepared(image, settings), mask, label, "lesion", settings, engine_named(engine))


def extract_cohort(
    cohort: Cohort,
    settings: ExtractionSettings,
    *,
    engine: str = "native",
    workers: int = 1,
    limit_s: float | None = 600.0,
    memory_gib: float | None = None,
    cache: Path,
    change: Change | None = None,
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
        change: What is done to each lesion before it is measured, for a control or to see which features bear it; None
            measures what is there.
        progress: Called with rows done, rows in all, and which row it was.

    Returns:
        Rows in the order of the cohort (patient, lesion, delineation) and then of the settings' regions, whatever the
        number of workers; columns ``FEATURE_KEYS``, ``status`` and ``feature_names(settings)``.

    Raises:
        ImportError: If the engine is not installed.
        ValueError: If there is no such engine, no delineation has an image, or a delineation to be perturbed has a
            ``repeat`` that names no perturbation.
        ChildProcessError: If no process can be started.
    """
    check_workers(workers, limit_s)
    made_by = f"{engine} {engine_named(engine).version()}; " + ", ".join(
        f"{name} {version(name)}" for name in _DEPENDS_ON
    )
    hashes = _hashes(cohort, workers)
    if not hashes:
        raise ValueError("nothing to measure: no lesion of the cohort has an image and a mask")
    rows = _rows(cohort, settings, made_by, cache, hashes, change)
    measured: dict[tuple[str, ...], Measured] = {}

    def keep(one: Measured) -> None:
        measured[one.keys] = one
        if progress is not None:
            progress(len(measured), len(rows), " ".join(one.keys))

    for row in rows:
        if (values := _read_cached(row, settings)) is not None:
            keep(Measured(row.keys, "ok", values))
    waiting = [row for row in rows if row.keys not in measured]
    by_image: dict[Path, list[Row]] = {}
    for row in waiting:
        by_image.setdefault(row.image, []).append(row)
    units = [sorted(unit, key=_mask_then_label) for unit in by_image.values()]
    measure = partial(measure_scan, settings=settings, engine=engine_named(engine))
    if limit_s is None:
        results: Iterable[Measured] = (one for unit in units for one in measure(unit))
    else:
        engine_named(engine).prepare()  # before a limit runs, and once for all workers
        memory_gib = memory_gib or memory_share_gib(workers)
        failed = partial(failed_row, settings=settings)
        results = work_through(units, measure, failed, workers=workers, limit_s=limit_s, memory_gib=memory_gib)
    for one in results:
        keep(one)
    ordered = [measured[row.keys] for row in rows]
    provenance = _provenance(cohort, settings, engine, hashes)
    return FeatureTable(_table(ordered, settings), provenance | ({"change": asdict(change)} if change else {}))


def _rows(
    cohort: Cohort,
    settings: ExtractionSettings,
    made_by: str,
    cache: Path,
    hashes: Mapping[Path, str | None],
    change: Change | None,
) -> list[Row]:
    outlines = _outlines(cohort)
    names = hashlib.sha256("\n".join(feature_names(settings)).encode()).hexdigest()
    rows = []
    for patient_id, lesion_id, one in _delineations(cohort):
        assert one.image is not None
        assert one.mask is not None
        files = (hashes[one.image], hashes[one.mask], one.label, one.roi_name)
        changed = _changed(change, one.repeat, files, outlines[one.image], settings)
        moved_among = (
            [(hashes[other.mask], other.roi_name, other.label) for other in changed.lesions] if changed else []
        )
        done: tuple[object, ...] = (changed.kind, changed.seed, changed.clear_mm, *moved_among) if changed else ()
        if changed and changed.perturbation:
            done = (*done, str(changed.perturbation))
        hashed = [hashes[one.image], hashes[one.mask], *(digest for digest, *_ in moved_among)]
        for region in settings.regions:
            content = (_CACHE_FORMAT, *files, region, one.channel, settings.fingerprint(region), names, made_by, *done)
            key = hashlib.sha256(repr(content).encode()).hexdigest()
            keys = (patient_id, lesion_id, region, one.channel, one.reader, one.repeat)
            cached = None if None in hashed else cache / key[:2] / f"{key}.npy"
            rows.append(Row(keys, region, one.image, one.mask, one.label, one.roi_name, cached, changed))
    return rows


def _changed(
    change: Change | None,
    repeat: str,
    files: tuple[object, ...],
    outlines: Sequence[Outline],
    settings: ExtractionSettings,
) -> LesionChange | None:
    if change is None:
        return None
    if change.kind == "perturbed":
        perturbation = perturbation_named(repeat)
        seed = _seed(str(perturbation), change.seed, files) if perturbation.random else 0
        return LesionChange(change.kind, seed, perturbation=perturbation)
    seed = _seed(change.kind, change.seed, files)
    if change.kind == "shuffled_voxels":
        return LesionChange(change.kind, seed)
    clear_mm = 0.0 if set(settings.regions) == {"lesion"} else settings.ring_outer_mm
    return LesionChange(change.kind, seed, tuple(outlines), clear_mm)


def _seed(what: str, seed: int, files: tuple[object, ...]) -> int:
    return int.from_bytes(hashlib.sha256(repr((what, seed, files)).encode()).digest()[:8])


def _outlines(cohort: Cohort) -> dict[Path, list[Outline]]:
    """Return what is delineated on each image."""
    outlines: dict[Path, list[Outline]] = {}
    for _, _, one in _delineations(cohort):
        assert one.image is not None
        assert one.mask is not None
        outlines.setdefault(one.image, []).append(Outline(one.mask, one.roi_name, one.label))
    return outlines


def _mask_then_label(row: Row) -> tuple[str, str, int]:
    return str(row.mask), row.roi_name or "", row.label


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
    """Hash a file or a DICOM folder; one that cannot be read gets its reason where it is read as an image.

    Where that succeeds after all, as it may on a network, what is measured is not cached: nothing tells what it is of.
    """
    try:
        return content_hash(path)
    except OSError:
        return None


def _read_cached(row: Row, settings: ExtractionSettings) -> NDArray[np.float64] | None:
    if row.cached is None:
        return None
    try:
        values = np.load(row.cached, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):  # a damaged file is measured anew
        return None
    return values if values.shape == (len(feature_names(settings)),) else None


def _table(measured: Sequence[Measured], settings: ExtractionSettings) -> pd.DataFrame:
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
        "engine_version": engine_named(engine).version(),
        "versions": {name: version(name) for name in _DEPENDS_ON},
        "inputs": inputs,
    }
