"""Intensities of slices: the values stored in their files, decompressed and rescaled."""

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it
from numpy.typing import NDArray
from pydicom.pixels import pixel_array

from radnet.data.dicom.slices import Slice


def intensities(slices: Sequence[Slice]) -> NDArray:
    """Return stored × slope + intercept, slice by slice, shape (Z, Y, X).

    Values that are not rescaled keep their type; whole numbers that stay whole come in 16 or 32 bits with a sign, as
    they need; others in 32-bit real numbers.

    Raises:
        ValueError: If a file's pixels cannot be read.
    """
    stored = {one.file: _stored(one) for one in {each.file: each for each in slices}.values()}
    frames = [stored[one.file][one.frame] for one in slices]
    if all(one.slope == 1 and one.intercept == 0 for one in slices):
        return np.stack(frames)
    values = np.empty((len(slices), *slices[0].size), dtype=_rescaled_type(slices, frames))
    for place, one, frame in zip(values, slices, frames, strict=True):
        place[...] = frame.astype(np.float64) * one.slope + one.intercept
    return values


def _rescaled_type(slices: Sequence[Slice], frames: Sequence[NDArray]) -> type[np.generic]:
    if any(frame.dtype.kind == "f" for frame in frames):
        return np.float32
    if any(number != int(number) for one in slices for number in (one.slope, one.intercept)):
        return np.float32
    ends = [float(end) * one.slope + one.intercept for one, f in zip(slices, frames, strict=True) for end in _ends(f)]
    return np.int16 if np.iinfo(np.int16).min <= min(ends) and max(ends) <= np.iinfo(np.int16).max else np.int32


def _ends(frame: NDArray) -> tuple[float, float]:
    return frame.min(), frame.max()


def _stored(one: Slice) -> NDArray:
    try:
        return pixel_array(one.file).reshape(-1, *one.size)
    except (ValueError, RuntimeError, AttributeError, NotImplementedError, OSError) as error:
        if isinstance(error, RuntimeError) and (stored := _stored_by_itk(one)) is not None:
            return stored
        told = " ".join(str(error).split())
        raise ValueError(f"{one.file}: the pixels cannot be read: {told}") from error


def _stored_by_itk(one: Slice) -> NDArray | None:
    """Decompress a slice in lossless JPEG, common in archives, which pydicom leaves to libraries not always there."""
    try:
        rescaled = sitk.GetArrayFromImage(sitk.ReadImage(str(one.file)))
    except RuntimeError:
        return None
    if rescaled.shape != (1, *one.size):
        return None
    if one.slope == 1 and one.intercept == 0:
        return rescaled
    return np.rint((rescaled.astype(np.float64) - one.intercept) / one.slope).astype(np.int32)
