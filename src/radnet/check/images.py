"""What is wrong with the images and masks of a cohort: each image is read once, in a process of its own if need be."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it

from radnet.data.cohort_tables import LESIONS
from radnet.imaging.preprocess import check_geometry, is_dicom, normalize, read_image, read_mask
from radnet.radiomics.scan import region_on_grid
from radnet.radiomics.settings import ExtractionSettings
from radnet.radiomics.workers import memory_share_gib, reason, work_through
from radnet.tables import Finding, fault

POOL_FROM = 16
"""Images from which on starting processes (a second each) is worth its while."""
LIMIT_S = 300.0
"""Longest time for one image with its masks."""


@dataclass(frozen=True, slots=True)
class DelineationRow:
    """A row of lesions.csv whose image and mask can be looked at."""

    row: int
    patient: str
    lesion: str
    image: Path
    mask: Path
    label: int
    roi_name: str = ""

    def fault(self, found: str, fix: str) -> Finding:
        """Return a fault of this row."""
        return fault(LESIONS, found, fix, self.row, self.patient, self.lesion)


@dataclass(frozen=True, slots=True)
class _Looked:
    """What came of an image: its rows, the hash of its voxels (None if it cannot be read), and what was found."""

    rows: tuple[DelineationRow, ...]
    digest: str | None
    findings: tuple[Finding, ...]


def check_images(
    rows: Sequence[DelineationRow],
    root: Path,
    settings: ExtractionSettings | None = None,
    workers: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Finding]:
    """Read every image once, with its masks, and return what is wrong with them.

    Args:
        rows: What to look at.
        root: Folder of the cohort; messages tell paths within it.
        settings: Extraction the lesions must be large enough for; None asks for one voxel.
        workers: Processes that share the images, from ``POOL_FROM`` images on. There an image that hangs, or exhausts
            memory, is a fault of its own.
        progress: Called with images done, images in all, and which image it was.
    """
    by_image: dict[Path, list[DelineationRow]] = {}
    for row in rows:
        by_image.setdefault(row.image, []).append(row)
    images = [tuple(sorted(one, key=_mask_then_label)) for one in by_image.values()]
    if workers > 1 and len(images) >= POOL_FROM:
        results = work_through(
            [[one] for one in images],
            partial(_look_at_each, root=root, settings=settings),
            partial(_not_read, root=root),
            workers=workers,
            limit_s=LIMIT_S,
            memory_gib=memory_share_gib(workers),
        )
    else:
        results = _look_at_each(images, root, settings)
    findings: list[Finding] = []
    by_digest: dict[str, list[DelineationRow]] = {}
    for done, one in enumerate(results, start=1):
        findings += one.findings
        if one.digest is not None:
            by_digest.setdefault(one.digest, []).extend(one.rows)
        if progress is not None:
            progress(done, len(images), one.rows[0].image.name)
    return findings + _shared_by_patients(by_digest, root)


def _mask_then_label(row: DelineationRow) -> tuple[str, str, int]:
    return str(row.mask), row.roi_name, row.label


def _mask_as_read(row: DelineationRow) -> tuple[Path, str, int | None]:
    """Return what is read at once: one region of a DICOM mask, all labels of another."""
    return row.mask, row.roi_name, row.label if is_dicom(row.mask) else None


def _shared_by_patients(by_digest: Mapping[str, Sequence[DelineationRow]], root: Path) -> list[Finding]:
    findings = []
    for rows in by_digest.values():
        first = _first_of_each_patient(rows)
        for row in first if len(first) > 1 else []:
            others = ", ".join(other.patient for other in first if other is not row)
            found = f"image {_within(row.image, root)} holds the same voxels as an image of patient {others}"
            findings.append(row.fault(found, "give each patient the right image, or make one patient of them"))
    return findings


def _first_of_each_patient(rows: Sequence[DelineationRow]) -> list[DelineationRow]:
    first: dict[str, DelineationRow] = {}
    for row in sorted(rows, key=lambda one: one.row):
        first.setdefault(row.patient, row)
    return list(first.values())


def _look_at_each(
    images: Sequence[tuple[DelineationRow, ...]], root: Path, settings: ExtractionSettings | None
) -> Iterator[_Looked]:
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # what ITK would print of a file, we tell with its row
    try:
        for rows in images:
            yield _look_at(rows, root, settings)
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _look_at(rows: tuple[DelineationRow, ...], root: Path, settings: ExtractionSettings | None) -> _Looked:
    try:
        image = read_image(rows[0].image)
        voxels = sitk.GetArrayViewFromImage(image)
        digest = hashlib.sha256(np.ascontiguousarray(voxels).data).hexdigest()
        findings = _voxel_findings(voxels, rows, root)
        prepared = None
        if settings is not None and not findings:
            prepared = normalize(image, settings.normalize_scale) if settings.normalize else image
    except Exception as error:  # whatever is wrong with one file is a fault of its rows, and stops no other
        return _not_read(rows, reason(error), root)
    for _, group in groupby(rows, key=_mask_as_read):
        findings += _mask_findings(image, prepared, list(group), root, settings)
    return _Looked(rows, digest, tuple(findings))


def _not_read(rows: tuple[DelineationRow, ...], told: str, root: Path) -> _Looked:
    found = _naming(told, "image", rows[0].image, root)
    fix = "export the image anew, or leave out its rows"
    return _Looked(rows, None, tuple(row.fault(found, fix) for row in _first_of_each_patient(rows)))


def _voxel_findings(voxels: np.ndarray, rows: Sequence[DelineationRow], root: Path) -> list[Finding]:
    first = _first_of_each_patient(rows)
    name = _within(rows[0].image, root)
    count = int(voxels.size - np.isfinite(voxels).sum()) if voxels.dtype.kind == "f" else 0
    if count:
        found = f"image {name} has {count} of {voxels.size} voxels that are no numbers (NaN or infinite)"
        return [row.fault(found, "write a number there, such as that of air") for row in first]
    if voxels.min() == voxels.max():
        found = f"image {name} has one value throughout ({voxels.flat[0]:g})"
        return [row.fault(found, "export the image anew, or leave out its rows") for row in first]
    return []


def _mask_findings(
    image: sitk.Image,
    prepared: sitk.Image | None,
    rows: list[DelineationRow],
    root: Path,
    settings: ExtractionSettings | None,
) -> list[Finding]:
    """Look at a mask; ``prepared`` is the image as the settings measure it, None where it cannot be measured."""
    name = _within(rows[0].mask, root)
    try:
        mask = read_mask(rows[0].mask, image, rows[0].roi_name or None, rows[0].label)
        values = sitk.GetArrayViewFromImage(mask)
        counts = {row.label: int(np.count_nonzero(values == row.label)) for row in rows}
        labels = [int(one) for one in np.unique(values) if one] if 0 in counts.values() else []
    except Exception as error:
        found = _naming(reason(error), "mask", rows[0].mask, root)
        return [row.fault(found, "export the mask anew, or leave out its row") for row in rows]
    findings = []
    for row in rows:
        if not labels and not counts[row.label]:
            findings.append(
                row.fault(f"mask {name} is empty: no voxel is set", "draw the lesion, or leave out its row")
            )
        elif not counts[row.label]:
            told = ", ".join(map(str, labels[:10])) + (" …" if len(labels) > 10 else "")
            fix = "name in column label the lesion's voxel value"
            findings.append(row.fault(f"mask {name} has no label {row.label}; it has {told}", fix))
    try:
        check_geometry(image, mask)
    except ValueError as error:
        fix = "write the mask on the voxels of its image (nearest neighbour), or give the image it was drawn on"
        return findings + [row.fault(f"mask {name}: {error}", fix) for row in rows]
    if settings is not None and prepared is not None:
        for row in rows:
            findings += _size_findings(prepared, mask, row, name, settings) if counts[row.label] else []
    return findings


def _size_findings(
    image: sitk.Image, mask: sitk.Image, row: DelineationRow, name: str, settings: ExtractionSettings
) -> list[Finding]:
    findings = []
    quick = replace(settings, interpolator="nearest")  # the image's values are of no matter to what is counted
    for region in settings.regions:
        try:
            region_on_grid(image, mask, row.label, region, quick)
        except (ValueError, RuntimeError) as error:
            found = f"mask {name}, label {row.label}, cannot be measured with settings {settings.name}: {reason(error)}"
            findings.append(row.fault(found, "correct the contour, choose other settings, or leave out the row"))
    return findings


def _naming(told: str, noun: str, path: Path, root: Path) -> str:
    """Tell a fault with the path as it stands within the cohort."""
    name = _within(path, root)
    told = told.replace(f"{path}: ", "").replace(str(path), name)
    return f"{noun} {name}: {told}"


def _within(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
