"""A lesion measured on another grid: turned about the lesion's centre, or shifted by parts of a voxel.

Image and mask stay where they are in the world, and are interpolated once, as they are without it.
"""

import math
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it
from numpy.typing import NDArray

from radnet.imaging.preprocess import bounding_box
from radnet.radiomics.perturbation import Perturbation
from radnet.radiomics.settings import ExtractionSettings

_PRE_FILTER_MARGIN = 32  # voxels; the B-spline's memory of a false border fades as 0.268 per voxel
_HALF = 0.5 - 1e-6  # a share of exactly one half must not be lost to rounding
_INTERPOLATORS = {"bspline": sitk.sitkBSpline, "linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}


def moved(
    image: sitk.Image,
    mask: sitk.Image,
    label: int,
    grid: sitk.Image,
    pad_voxels: int | None,
    how: Perturbation,
    settings: ExtractionSettings,
) -> tuple[sitk.Image, sitk.Image]:
    """Return image and mask around a lesion on the grid they would be measured on, turned or shifted.

    Numbers are rounded, and the mask interpolated, as by ``resample``, or ``resample_ibsi`` with IBSI definitions.
    Beyond the image's border its nearest voxel counts. The pad left around the lesion may be a voxel narrower than
    without, which filters feel in the fourth digit.

    Args:
        image: Normalised already, where the settings want it.
        mask: On the same voxels of the world as the image; it holds the label.
        label: Value of the lesion's voxels.
        grid: On which the lesion would be measured; its voxels are of no matter.
        pad_voxels: New voxels kept around the lesion, at least; None keeps what holds the whole image.
        how: A turn or a translation, by fractions of the grid's voxels.
        settings: How to interpolate.

    Returns:
        The image, and a mask of 8 bits in which the lesion is 1 and everything else 0.
    """
    lesion = sitk.GetArrayViewFromImage(mask) == label
    box = bounding_box(lesion)
    centre = mask.TransformContinuousIndexToPhysicalPoint((np.argwhere(lesion[box]).mean(axis=0) + _low(box))[::-1])
    degrees = how.amounts[0] if how.kind == "rotate" else 0.0
    voxels = how.amounts if how.kind == "translate" else (0.0, 0.0, 0.0)
    shifted = moved_grid(grid, centre, degrees, np.multiply(voxels, grid.GetSpacing()[::-1]))
    whole = tuple(slice(0, size) for size in lesion.shape)
    around = _cover(shifted, mask, whole if pad_voxels is None else box, pad_voxels or 0)
    return _image_on(around, image, settings), _lesion_on(around, mask, lesion, box, settings)


def moved_grid(
    grid: sitk.Image, centre_mm: Sequence[float], degrees: float, shift_mm: Sequence[float] | NDArray[np.float64]
) -> sitk.Image:
    """Return a grid on which what lies in the world appears turned about a point, and then shifted.

    Args:
        grid: Its voxels are of no matter, and those of what comes back neither.
        centre_mm: In the world (LPS).
        degrees: Turn within the slice, from the X axis towards Y.
        shift_mm: Along Z, Y and X.
    """
    direction = np.array(grid.GetDirection()).reshape(3, 3)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])  # of X, Y, Z as the voxels run
    from_centre_mm = direction.T @ np.subtract(grid.GetOrigin(), centre_mm) - np.asarray(shift_mm, dtype=float)[::-1]
    new = sitk.Image(grid)
    new.SetOrigin((centre_mm + direction @ (turn.T @ from_centre_mm)).tolist())
    new.SetDirection((direction @ turn.T).ravel().tolist())
    return new


def _cover(grid: sitk.Image, mask: sitk.Image, box: tuple[slice, ...], pad_voxels: int) -> sitk.Image:
    """Return an empty image on voxels of a grid, and of its kind beyond it, that holds a box of the mask and a pad."""
    low, high = _reach(grid, mask, [side.start - 0.5 for side in box], [side.stop - 0.5 for side in box])
    low, high = low - pad_voxels - 2, high + pad_voxels + 2  # a lesion's border may fall beyond its corners
    empty = sitk.Image((high - low + 1).tolist(), sitk.sitkUInt8)
    empty.SetSpacing(grid.GetSpacing())
    empty.SetDirection(grid.GetDirection())
    empty.SetOrigin(grid.TransformIndexToPhysicalPoint(low.tolist()))
    return empty


def _image_on(grid: sitk.Image, image: sitk.Image, settings: ExtractionSettings) -> sitk.Image:
    low, high = _reach(image, grid, (0, 0, 0), np.array(grid.GetSize()[::-1]) - 1)
    low = np.clip(low - _PRE_FILTER_MARGIN, 0, np.array(image.GetSize()) - 1)
    high = np.clip(high + _PRE_FILTER_MARGIN + 1, low + 1, image.GetSize())
    part = sitk.RegionOfInterest(image, (high - low).tolist(), low.tolist())
    interpolator = _INTERPOLATORS[settings.interpolator]
    values = sitk.GetArrayFromImage(
        sitk.Resample(part, grid, sitk.Transform(), interpolator, 0.0, sitk.sitkFloat64, True)
    )
    old = sitk.GetArrayViewFromImage(part)
    if settings.definitions == "ibsi":
        values = np.rint(values) if (old == np.rint(old)).all() else values
    elif old.dtype.kind in "iu":
        values = np.trunc(np.round(values, 6))
    new = sitk.GetImageFromArray(values)
    new.CopyInformation(grid)
    return sitk.Clamp(new, image.GetPixelID())


def _lesion_on(
    grid: sitk.Image, mask: sitk.Image, lesion: NDArray[np.bool_], box: tuple[slice, ...], settings: ExtractionSettings
) -> sitk.Image:
    old = sitk.GetImageFromArray(np.pad(lesion[box], 1).astype(np.float32))
    old.SetSpacing(mask.GetSpacing())
    old.SetDirection(mask.GetDirection())
    old.SetOrigin(mask.TransformIndexToPhysicalPoint((_low(box) - 1)[::-1].tolist()))
    interpolator = sitk.sitkLinear if settings.definitions == "ibsi" else sitk.sitkNearestNeighbor
    return sitk.Resample(old, grid, sitk.Transform(), interpolator) >= _HALF


def _reach(
    grid: sitk.Image, other: sitk.Image, low: Sequence[float], high: Sequence[float] | NDArray[np.int_]
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Return first and last voxel of a grid, along X, Y and Z, within the box between two places of another's."""
    ends = [(float(first), float(last)) for first, last in zip(low[::-1], high[::-1], strict=True)]
    corners = np.stack(np.meshgrid(*ends), axis=-1).reshape(-1, 3).tolist()
    points = [other.TransformContinuousIndexToPhysicalPoint(corner) for corner in corners]
    places = [grid.TransformPhysicalPointToContinuousIndex(point) for point in points]
    # What rounding alone adds to a place is not worth a voxel.
    return np.ceil(np.min(places, axis=0) - 1e-6).astype(int), np.floor(np.max(places, axis=0) + 1e-6).astype(int)


def _low(box: tuple[slice, ...]) -> NDArray[np.int_]:
    return np.array([side.start for side in box])
