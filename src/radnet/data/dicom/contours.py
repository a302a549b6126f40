"""Contours of a DICOM RTSTRUCT rasterised onto the slices of an image."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from radnet.data.dicom.files import POSITION_TOLERANCE_MM, Identity, chosen, drawn_on, read_file, told_names

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")


@dataclass(frozen=True, slots=True)
class _Contour:
    """A closed polygon: corners in voxels (X, Y), where its plane lies along Z in voxels, and the slice it goes to."""

    corners: NDArray[np.float64]
    place: float
    slice: int


def contour_mask(path: Path, reference: sitk.Image, roi_name: str | None) -> NDArray[np.bool_]:
    """Mark the voxels of an ROI, shape (Z, Y, X) of ``reference``; arguments as in ``read_mask``.

    A voxel belongs to the ROI if its centre lies within an odd number of the contours of one plane, so that a contour
    within another is a hole, and a keyhole's two sides cancel. A contour goes to the slice it refers to, or else to the
    nearest; planes that meet in one slice are united. Nothing is interpolated between contours.

    Raises:
        ValueError: If there is no such ROI, or its contours do not lie on the slices of the image.
    """
    structures = read_file(path, pixels=True)
    names = {int(one.ROINumber): str(one.get("ROIName", "")) for one in structures.get("StructureSetROISequence") or []}
    if roi_name is None:
        raise ValueError(f"{path}: an RTSTRUCT needs roi_name, one of its ROIs: {told_names(names)}")
    roi = chosen(names, roi_name, "ROI", path)
    same_series = drawn_on(Identity.of(reference), _identity(structures, roi), path)
    told = f"{path}: ROI {names[roi]!r}"
    try:
        contours = [
            _contour(one, reference, same_series)
            for item in structures.get("ROIContourSequence") or []
            if int(item.ReferencedROINumber) == roi
            for one in item.get("ContourSequence") or []
            if int(one.get("NumberOfContourPoints") or len(one.ContourData) // 3) > 2  # less has no area
        ]
        _check_no_stripes(contours, reference)
    except ValueError as error:
        raise ValueError(f"{told}: {error}") from error
    if not contours:
        raise ValueError(f"{told} has no closed contour")
    columns, rows, slices = reference.GetSize()
    inside = np.zeros((slices, rows, columns), dtype=bool)
    for plane in _planes(contours, reference.GetSpacing()[2]):
        inside[plane[0].slice] |= _within([one.corners for one in plane], (rows, columns))
    return inside


def _identity(structures: Dataset, roi: int) -> Identity:
    referenced = [
        series
        for frame in structures.get("ReferencedFrameOfReferenceSequence") or []
        for study in frame.get("RTReferencedStudySequence") or []
        for series in study.get("RTReferencedSeriesSequence") or []
    ]
    images = [image for series in referenced for image in series.get("ContourImageSequence") or []]
    own = next(one for one in structures.StructureSetROISequence if int(one.ROINumber) == roi)
    return Identity(
        tuple(str(series.SeriesInstanceUID) for series in referenced),
        str(own.get("ReferencedFrameOfReferenceUID") or structures.get("FrameOfReferenceUID") or ""),
        tuple(str(image.ReferencedSOPInstanceUID) for image in images),
    )


def _contour(contour: Dataset, reference: sitk.Image, same_series: bool) -> _Contour:
    kind = contour.get("ContourGeometricType", "CLOSED_PLANAR")
    if kind not in _CLOSED:
        raise ValueError(f"a contour of type {kind}, expected CLOSED_PLANAR")
    points = np.array(contour.ContourData, dtype=np.float64).reshape(-1, 3)
    spacing_mm = np.array(reference.GetSpacing())
    places = (points - np.array(reference.GetOrigin())) @ np.array(reference.GetDirection()).reshape(3, 3) / spacing_mm
    place = float(places[:, 2].mean())
    at = f"the contour from ({points[0, 0]:g}, {points[0, 1]:g}, {points[0, 2]:g}) mm"
    if np.ptp(places[:, 2]) * spacing_mm[2] > POSITION_TOLERANCE_MM:
        raise ValueError(f"{at} is not parallel to the slices")
    size = np.array(reference.GetSize())
    if not (-0.5 <= place <= size[2] - 0.5) or (places[:, :2] <= -1).any() or (places[:, :2] >= size[:2]).any():
        raise ValueError(f"{at} reaches beyond the image")
    nearest = min(max(round(place), 0), int(size[2]) - 1)
    if not same_series and abs(place - nearest) * spacing_mm[2] > POSITION_TOLERANCE_MM:
        raise ValueError(
            f"{at} was drawn on another series, and lies {abs(place - nearest) * spacing_mm[2]:.3g} mm from the "
            f"nearest slice of this one (tolerance {POSITION_TOLERANCE_MM:g} mm)"
        )
    corners = np.round(places[:, :2], 6)  # so that a corner meant to lie on a voxel's centre does
    return _Contour(corners, place, _referenced_slice(contour, reference, place, at, nearest))


def _referenced_slice(contour: Dataset, reference: sitk.Image, place: float, at: str, nearest: int) -> int:
    instances = Identity.of(reference).instances
    images = contour.get("ContourImageSequence") or []
    found = [number for number, uid in enumerate(instances) for one in images if uid == one.ReferencedSOPInstanceUID]
    if len(found) != 1:  # refers to no slice of this image, or to a file of many
        return nearest
    away_mm = (abs(place - found[0]) - 0.5) * reference.GetSpacing()[2]
    if away_mm > POSITION_TOLERANCE_MM:
        raise ValueError(f"{at} refers to slice {found[0] + 1} of the image, but lies nearer to slice {nearest + 1}")
    return found[0]


def _check_no_stripes(contours: Sequence[_Contour], reference: sitk.Image) -> None:
    gaps = np.diff(sorted({one.slice for one in contours}))
    if len(gaps) > 1 and gaps.min() > 1:
        raise ValueError(
            f"its contours are {gaps.min() * reference.GetSpacing()[2]:.4g} mm apart or more and the slices "
            f"{reference.GetSpacing()[2]:.4g} mm, so that slices between would be left out; contour every slice"
        )


def _planes(contours: Iterable[_Contour], spacing_mm: float) -> list[list[_Contour]]:
    """Gather contours by the plane they were drawn in; one that was exported twice counts once."""
    planes: list[list[_Contour]] = []
    seen: set[bytes] = set()
    for one in sorted(contours, key=lambda contour: (contour.slice, contour.place)):
        same_slice = bool(planes) and planes[-1][0].slice == one.slice
        if not same_slice or (one.place - planes[-1][-1].place) * spacing_mm > POSITION_TOLERANCE_MM:
            planes.append([])
            seen.clear()
        key = np.unique(one.corners, axis=0).tobytes()
        if key not in seen:
            planes[-1].append(one)
        seen.add(key)
    return planes


def _within(polygons: Iterable[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Mark pixel centres within an odd number of polygons; of a border, the side of lower X and Y belongs to it."""
    crossings = np.zeros((shape[0], shape[1] + 1), dtype=np.int64)
    for polygon in polygons:
        (x, y), (next_x, next_y) = polygon.T, np.roll(polygon, -1, axis=0).T
        first = np.ceil(np.minimum(y, next_y)).astype(int)
        crossed = np.ceil(np.maximum(y, next_y)).astype(int) - first
        edge = np.repeat(np.arange(len(x)), crossed)
        row = np.arange(len(edge)) - np.repeat(np.cumsum(crossed) - crossed, crossed) + first[edge]
        slope = (next_x - x)[edge] / (next_y - y)[edge]
        np.add.at(crossings, (row, np.ceil(x[edge] + (row - y[edge]) * slope).astype(int)), 1)
    return (np.cumsum(crossings, axis=1)[:, :-1] % 2).astype(bool)
