"""One scan measured: read once for all its lesions and regions, each of which is a row of the table to be.

This is what the worker processes load, so it stays clear of what only tables need.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from radnet.files import write_atomically
from radnet.imaging.preprocess import (
    bounding_box,
    check_geometry,
    is_dicom,
    normalize,
    read_image,
    read_mask,
    resample,
    resample_ibsi,
)
from radnet.radiomics.change import LesionChange, moved_mask, shuffled_voxels, voxels_taken
from radnet.radiomics.engines import Engine
from radnet.radiomics.moved import moved
from radnet.radiomics.perturb import perturbed
from radnet.radiomics.perturbation import Perturbation
from radnet.radiomics.settings import ExtractionSettings, feature_names
from radnet.radiomics.workers import reason

PAD_VOXELS = 5
"""Voxels kept around a region for filters to work on; pyradiomics' own number, and its features depend on it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table to be: its key, what it is measured from, and where its values are cached, if they are.

    Rows of one image are changed in the same kind of way, or none is.
    """

    keys: tuple[str, ...]
    region: str
    image: Path
    mask: Path
    label: int
    roi_name: str | None
    cached: Path | None
    change: LesionChange | None = None

    @property
    def mask_as_read(self) -> tuple[str, str, int]:
        """What is read at once: one region of a DICOM mask, all labels of another."""
        return str(self.mask), self.roi_name or "", self.label if is_dicom(self.mask) else 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a row: its status, and its features in the order of ``feature_names`` (NaN unless ``ok``)."""

    keys: tuple[str, ...]
    status: str
    features: NDArray[np.float64]


def measure_scan(rows: list[Row], settings: ExtractionSettings, engine: Engine) -> Iterator[Measured]:
    """Measure rows of one image, which is read once, as is each mask, and yield each as it is done."""
    with _one_thread():
        try:
            image = prepared(read_image(rows[0].image), settings)
            taken = _taken(image, rows[0].change)
        except Exception as error:  # whatever is wrong with one file is the status of its rows, and stops no other
            yield from (failed_row(row, reason(error), settings) for row in rows)
            return
        for _, of_mask in groupby(rows, key=lambda row: row.mask_as_read):
            yield from _measure_mask(image, taken, list(of_mask), settings, engine)


def prepared(image: sitk.Image, settings: ExtractionSettings) -> sitk.Image:
    """Return the image normalised, where the settings want it."""
    return normalize(image, settings.normalize_scale, settings.remove_outliers) if settings.normalize else image


def _taken(image: sitk.Image, change: LesionChange | None) -> NDArray[np.bool_] | None:
    """Mark where no mask may be moved to, or return None where none is to be moved."""
    if change is None or not change.lesions:
        return None
    masks: dict[tuple[Path, str | None, int], sitk.Image] = {}
    lesions = []
    for one in change.lesions:
        as_read = (one.mask, one.roi_name, one.label if is_dicom(one.mask) else 0)
        if as_read not in masks:
            masks[as_read] = read_mask(one.mask, image, one.roi_name, one.label)
            check_geometry(image, masks[as_read])
        lesions.append(sitk.GetArrayFromImage(masks[as_read]) == one.label)
    return voxels_taken(lesions, image.GetSpacing()[::-1], change.clear_mm)


def _measure_mask(
    image: sitk.Image, taken: NDArray[np.bool_] | None, rows: list[Row], settings: ExtractionSettings, engine: Engine
) -> Iterator[Measured]:
    first = rows[0]
    try:
        mask = read_mask(first.mask, image, first.roi_name, first.label)
        check_geometry(image, mask)
    except Exception as error:
        yield from (failed_row(row, reason(error), settings) for row in rows)
        return
    yield from (_measure_row(image, mask, taken, row, settings, engine) for row in rows)


def _measure_row(
    image: sitk.Image,
    mask: sitk.Image,
    taken: NDArray[np.bool_] | None,
    row: Row,
    settings: ExtractionSettings,
    engine: Engine,
) -> Measured:
    try:
        if taken is not None:
            assert row.change is not None
            mask = moved_mask(image, mask, row.label, taken, np.random.default_rng(row.change.seed))
        how = row.change.perturbation if row.change is not None else None
        if how is not None and not how.of_the_grid:
            assert row.change is not None
            image, mask = perturbed(image, mask, row.label, how, row.change.seed)
        on_grid = region_on_grid(image, mask, row.label, row.region, settings, how)
        if row.change is not None and row.change.kind == "shuffled_voxels":
            on_grid = shuffled_voxels(*on_grid, np.random.default_rng(row.change.seed)), on_grid[1]
        features = engine.measure(*on_grid, settings)
    except Exception as error:
        return failed_row(row, reason(error), settings)
    values = np.array([features[name] for name in feature_names(settings)], dtype=np.float64)
    if row.cached is not None:
        write_atomically(row.cached, lambda path: np.save(path, values))
    return Measured(row.keys, "ok", values)


def failed_row(row: Row, told: str, settings: ExtractionSettings) -> Measured:
    """Tell the fault with the name of the mask's file, or of another that the fault is told of."""
    files = (row.image, row.mask, *(one.mask for one in (row.change.lesions if row.change else ())))
    for path in files:
        told = told.replace(str(path), path.name)
    if not any(path.name in told for path in files):
        told = f"{row.mask.name}: {told}"
    return Measured(row.keys, told, np.full(len(feature_names(settings)), np.nan))


def measure_region(
    image: sitk.Image, mask: sitk.Image, label: int, region: str, settings: ExtractionSettings, engine: Engine
) -> dict[str, float]:
    """Return the features of one region of a lesion; arguments as of ``region_on_grid``."""
    return engine.measure(*region_on_grid(image, mask, label, region, settings), settings)


def region_on_grid(
    image: sitk.Image,
    mask: sitk.Image,
    label: int,
    region: str,
    settings: ExtractionSettings,
    how: Perturbation | None = None,
) -> tuple[sitk.Image, sitk.Image]:
    """Return the image and a region of a lesion on the grid they are measured on.

    Args:
        image: Normalised already, where the settings want it.
        mask: On the same voxels of the world as the image.
        label: Value of the lesion's voxels in the mask.
        region: Out of ``REGIONS``.
        settings: How to measure.
        how: Moves the grid where it is a perturbation of that kind; others are of image and mask, and done before.

    Raises:
        ValueError: If the region cannot be measured, with the reason.
    """
    _refuse_mask_without_background(mask, label)
    ring_voxels = 0 if region == "lesion" else _ring_voxels(mask, settings)
    grid_image, grid_mask = _grid(image, mask, label, ring_voxels, settings)
    if how is not None and how.of_the_grid:
        pad_voxels = _pad_voxels(image, ring_voxels, settings)
        around = moved(image, mask, label, grid_mask, pad_voxels, how, settings)
        grid_image, grid_mask = _grid(*around, 1, ring_voxels, settings)  # on these voxels, cut to what is needed
    if region != "lesion":
        grid_mask = _ring(grid_image, grid_mask, region, settings)
    _check_measurable(grid_image, grid_mask, region, settings)
    return grid_image, grid_mask


def _refuse_mask_without_background(mask: sitk.Image, label: int) -> None:
    if mask[0, 0, 0] == label and (sitk.GetArrayViewFromImage(mask) == label).all():
        raise ValueError(f"the lesion fills the whole image {mask.GetSize()[::-1]}, no background is left")


def _grid(
    image: sitk.Image, mask: sitk.Image, label: int, ring_voxels: int, settings: ExtractionSettings
) -> tuple[sitk.Image, sitk.Image]:
    pad_voxels = _pad_voxels(image, ring_voxels, settings)
    if settings.definitions == "ibsi":
        return resample_ibsi(image, mask, label, settings.spacing_mm, pad_voxels, settings.interpolator)
    assert pad_voxels is not None
    return resample(image, mask, label, settings.spacing_mm, pad_voxels, settings.interpolator)


def _pad_voxels(image: sitk.Image, ring_voxels: int, settings: ExtractionSettings) -> int | None:
    """Return how many voxels of the new grid are kept around the lesion, or None for the whole of it."""
    if settings.definitions == "pyradiomics":
        return PAD_VOXELS + ring_voxels
    from radnet.radiomics.engine.ibsi_filters import reach_voxels  # loads scipy, which only these settings need

    spacing_mm = [new or old for new, old in zip(settings.spacing_mm, image.GetSpacing()[::-1], strict=True)]
    reach = reach_voxels(spacing_mm, settings)
    return None if reach is None else max(reach, PAD_VOXELS) + ring_voxels


def _ring_voxels(mask: sitk.Image, settings: ExtractionSettings) -> int:
    """Return how many voxels of the new grid the ring takes around the lesion, so that it has a pad of its own."""
    spacing_mm = [new or old for new, old in zip(settings.spacing_mm, mask.GetSpacing()[::-1], strict=True)]
    return math.ceil(settings.ring_outer_mm / min(spacing_mm))


def _ring(image: sitk.Image, mask: sitk.Image, region: str, settings: ExtractionSettings) -> sitk.Image:
    from radnet.imaging.region import air_mask, ring_mask  # loads scipy, which few settings need

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
    if settings.definitions == "ibsi":
        return
    for sigma_mm in settings.log_sigma_mm:
        needed = [max(4, math.ceil(sigma_mm / step) + 1) for step in spacing_mm]
        if any(size < least for size, least in zip(inside.shape, needed, strict=True)):
            raise ValueError(
                f"the image around the {region}, {inside.shape} voxels {at}, is too small for the Laplacian of "
                f"Gaussian of {sigma_mm:g} mm, which needs {tuple(needed)}"
            )


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
