"""DICOM files opened, asked for their values, and the UIDs by which an image and a mask know each other."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError

POSITION_TOLERANCE_MM = 0.1
"""Some scanners write positions with one decimal, which errs by up to 0.05 mm; a shift that matters is greater."""

# The tags under which ITK keeps them too; the instances stand in the order of the slices, as DICOM parts values.
_SERIES, _FRAME_OF_REFERENCE, _INSTANCES = "0020|000e", "0020|0052", "0008|0018"
_GROUPS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "SegmentIdentificationSequence",
)


@dataclass(frozen=True, slots=True)
class Identity:
    """The UIDs an image bears, or those of the image that a mask was drawn on; empty where they are not told.

    Attributes:
        series: SeriesInstanceUIDs.
        frame_of_reference: UID of the world's coordinates.
        instances: SOPInstanceUIDs; those of an image in the order of its slices.
    """

    series: tuple[str, ...] = ()
    frame_of_reference: str = ""
    instances: tuple[str, ...] = ()

    def written_to(self, image: sitk.Image) -> sitk.Image:
        """Return the image with the UIDs in its metadata."""
        image.SetMetaData(_SERIES, "\\".join(self.series))
        image.SetMetaData(_FRAME_OF_REFERENCE, self.frame_of_reference)
        image.SetMetaData(_INSTANCES, "\\".join(self.instances))
        return image

    @classmethod
    def of(cls, image: sitk.Image) -> "Identity":
        """Return the UIDs in an image's metadata; those of a NIfTI, NRRD or MHA file are empty."""
        series, frame, instances = (
            image.GetMetaData(key) if image.HasMetaDataKey(key) else ""
            for key in (_SERIES, _FRAME_OF_REFERENCE, _INSTANCES)
        )
        return cls(_parted(series), frame, _parted(instances))


def drawn_on(image: Identity, mask: Identity, path: Path) -> bool:
    """Tell whether a mask was drawn on the very series of the image.

    Where it was not, but both share a frame of reference, or the image bears no UIDs since it is no DICOM, the mask's
    place in the world is all there is to match them by.

    Raises:
        ValueError: If their frames of reference differ, or nothing tells that they share one.
    """
    if mask.frame_of_reference and image.frame_of_reference and mask.frame_of_reference != image.frame_of_reference:
        raise ValueError(
            f"{path}: the frame of reference differs: the mask lies in {mask.frame_of_reference}, the image in "
            f"{image.frame_of_reference}; it was drawn on another image"
        )
    if set(mask.series) & set(image.series) or set(mask.instances) & set(image.instances):
        return True
    if image.series and not (mask.frame_of_reference and image.frame_of_reference):
        raise ValueError(
            f"{path}: the mask refers to series {', '.join(mask.series) or 'none'}, the image is series "
            f"{', '.join(image.series)}, and no frame of reference tells that they share one world"
        )
    return False


@contextmanager
def odd_values_pass() -> Iterator[None]:
    """Let values pass that DICOM forbids, such as a name too long: none of them is looked at here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.valuerep")
        yield


def read_file(path: Path, *, pixels: bool) -> FileDataset:
    """Read a DICOM file.

    Raises:
        ValueError: If it is none, or ends too early.
    """
    try:
        return pydicom.dcmread(path, stop_before_pixels=not pixels)
    except (InvalidDicomError, EOFError, ValueError, NotImplementedError) as error:
        raise ValueError(f"{path}: cannot be read as DICOM: {error}") from error


def numbers(dataset: Dataset, keyword: str, count: int) -> NDArray[np.float64]:
    """Return an attribute of ``count`` numbers.

    Raises:
        ValueError: If it is absent, or has another number of values.
    """
    value = dataset.get(keyword)
    values = np.atleast_1d(np.array([] if value is None else value, dtype=np.float64))
    if values.shape != (count,) or not np.isfinite(values).all():
        raise ValueError(f"{keyword} is {value!r}, expected {count} numbers")
    return values


def frame_groups(dataset: Dataset) -> Iterator[Dataset]:
    """Yield what is told of each frame of a multi-frame file, by its own functional groups or by the shared ones."""
    shared = dataset.SharedFunctionalGroupsSequence[0] if dataset.get("SharedFunctionalGroupsSequence") else Dataset()
    for own in dataset.PerFrameFunctionalGroupsSequence:
        frame = Dataset()
        for group in _GROUPS:
            if found := own.get(group) or shared.get(group):
                frame.update(found[0])
        yield frame


def chosen(names: Mapping[int, str], roi_name: str, noun: str, path: Path) -> int:
    """Return the number of the region of this name: exactly it, or the only one that differs but in upper case.

    Raises:
        ValueError: If there is none, or more than one; with the names there are.
    """
    exact = [number for number, name in names.items() if name.strip() == roi_name.strip()]
    alike = [number for number, name in names.items() if name.strip().casefold() == roi_name.strip().casefold()]
    found = exact or alike
    if len(found) == 1:
        return found[0]
    listed = told_names(names)
    if not found:
        raise ValueError(f"{path}: there is no {noun} {roi_name!r}; the file has {listed}")
    raise ValueError(f"{path}: {len(found)} {noun}s are named {roi_name!r}; the file has {listed}")


def told_names(names: Mapping[int, str]) -> str:
    """Return the regions of a file in words, number and name."""
    return ", ".join(f"{number} {name!r}" for number, name in sorted(names.items())) or "none"


def _parted(value: str) -> tuple[str, ...]:
    return tuple(part for part in value.split("\\") if part)
