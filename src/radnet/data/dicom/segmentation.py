"""Segments of a DICOM SEG placed on the voxels of an image, without interpolation."""

from pathlib import Path

import highdicom
import numpy as np
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it
from highdicom.seg import Segmentation, SegmentationTypeValues
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from radnet.data.dicom.files import (
    POSITION_TOLERANCE_MM,
    Identity,
    chosen,
    drawn_on,
    frame_groups,
    numbers,
    told_names,
)

FRACTION_THRESHOLD = 0.5
"""A voxel of a fractional segment belongs to it from this share (occupancy or probability) on."""


def segment_mask(path: Path, reference: sitk.Image, roi_name: str | None, label: int) -> NDArray[np.bool_]:
    """Mark the voxels of a segment, shape (Z, Y, X) of ``reference``; arguments as in ``read_mask``.

    Each frame lies where it says. Voxels that no frame of the segment covers are background, so frames may be sparse,
    have gaps, cover less than the image, or overlap those of other segments.

    Raises:
        ValueError: If there is no such segment, or its voxels are not those of the image.
    """
    segmentation = _read(path)
    described = {int(one.SegmentNumber): str(one.get("SegmentLabel", "")) for one in segmentation.SegmentSequence}
    names = {number: name for number, name in described.items() if number > 0}  # 0 is a label map's background
    if roi_name is not None:
        segment = chosen(names, roi_name, "segment", path)
    elif label in names:
        segment = label
    else:
        raise ValueError(f"{path}: there is no segment {label}; the file has {told_names(names)}")
    same_series = drawn_on(Identity.of(reference), _identity(segmentation), path)
    inside = np.zeros(reference.GetSize()[::-1], dtype=bool)
    is_label_map = segmentation.segmentation_type == SegmentationTypeValues.LABELMAP
    for number, group in enumerate(frame_groups(segmentation), start=1):
        if not is_label_map and int(group.ReferencedSegmentNumber) != segment:
            continue
        try:
            if not same_series:
                _check_slices_are_as_far_apart(group, reference)
            _place(_pixels_of(segmentation, number, segment), group, reference, inside)
        except ValueError as error:
            raise ValueError(f"{path}: segment {segment} {names[segment]!r}, frame {number}: {error}") from error
    return inside


def _read(path: Path) -> Segmentation:
    try:
        return highdicom.seg.segread(path)
    except (ValueError, TypeError, AttributeError, KeyError, NotImplementedError) as error:
        raise ValueError(f"{path}: the DICOM SEG cannot be read: {error}") from error


def _identity(segmentation: Segmentation) -> Identity:
    referenced = segmentation.get("ReferencedSeriesSequence") or []
    instances = [one.ReferencedSOPInstanceUID for series in referenced for one in series.ReferencedInstanceSequence]
    return Identity(
        tuple(str(series.SeriesInstanceUID) for series in referenced),
        str(segmentation.get("FrameOfReferenceUID", "")),
        tuple(str(instance) for instance in instances),
    )


def _pixels_of(segmentation: Segmentation, frame: int, segment: int) -> NDArray[np.bool_]:
    stored = segmentation.get_stored_frame(frame)
    if segmentation.segmentation_type == SegmentationTypeValues.LABELMAP:
        return stored == segment
    if segmentation.segmentation_type == SegmentationTypeValues.FRACTIONAL:
        return stored >= FRACTION_THRESHOLD * int(segmentation.MaximumFractionalValue)
    return stored != 0


def _place(pixels: NDArray[np.bool_], group: Dataset, reference: sitk.Image, inside: NDArray[np.bool_]) -> None:
    """Set the voxels under a frame's pixels; its rows and columns may run along any axis of the image, either way."""
    spacing_mm = np.array(reference.GetSpacing())
    to_index = np.array(reference.GetDirection()).reshape(3, 3).T / spacing_mm[:, None]
    orientation = numbers(group, "ImageOrientationPatient", 6).reshape(2, 3)
    pixel_spacing = numbers(group, "PixelSpacing", 2)
    start = to_index @ (numbers(group, "ImagePositionPatient", 3) - np.array(reference.GetOrigin()))
    steps = np.stack([to_index @ (orientation[1] * pixel_spacing[0]), to_index @ (orientation[0] * pixel_spacing[1])])
    whole_start, whole_steps = np.rint(start).astype(int), np.rint(steps).astype(int)
    rows, columns = pixels.shape
    corners = np.array([(0, 0), (rows - 1, 0), (0, columns - 1), (rows - 1, columns - 1)])
    off_mm = np.abs((start - whole_start + corners @ (steps - whole_steps)) * spacing_mm).max()
    one_voxel_each = np.abs(whole_steps).sum() == 2 and np.abs(whole_steps).sum(axis=0).max() == 1
    if not one_voxel_each or off_mm > POSITION_TOLERANCE_MM:
        raise ValueError(
            f"its pixels ({pixel_spacing[0]:g} × {pixel_spacing[1]:g} mm) are not the image's voxels "
            f"(X, Y, Z {' × '.join(f'{step:g}' for step in spacing_mm)} mm)"
            + (f", up to {off_mm:.3g} mm off (tolerance {POSITION_TOLERANCE_MM:g} mm)" if one_voxel_each else "")
        )
    voxels = whole_start + np.argwhere(pixels) @ whole_steps
    if (voxels < 0).any() or (voxels >= np.array(reference.GetSize())).any():
        raise ValueError("it reaches beyond the image")
    inside[voxels[:, 2], voxels[:, 1], voxels[:, 0]] = True


def _check_slices_are_as_far_apart(group: Dataset, reference: sitk.Image) -> None:
    """Refuse frames drawn on thicker slices: on the image's they would be stripes."""
    if not group.get("SpacingBetweenSlices"):
        return
    apart_mm, image_mm = abs(float(group.SpacingBetweenSlices)), reference.GetSpacing()[2]
    if abs(apart_mm - image_mm) > POSITION_TOLERANCE_MM:
        raise ValueError(f"drawn on another series, its slices {apart_mm:g} mm apart and the image's {image_mm:g} mm")
