"""What a DICOM file tells of each of its slices: where it lies, and how its values become intensities."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset

from radnet.data.dicom.files import frame_groups, numbers


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice: the file and frame that hold it, its place in the world, how its values become intensities."""

    file: Path
    frame: int
    name: str
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]  # direction cosines along a row, then along a column
    pixel_spacing: NDArray[np.float64]  # between rows, then between columns
    size: tuple[int, int]
    slope: float
    intercept: float
    thickness: float | None
    series: str
    frame_of_reference: str
    instance: str

    @property
    def normal(self) -> NDArray[np.float64]:
        """Direction across the slice, to which a rising position leads."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def told(self) -> str:
        """Name and position along the normal, for a message."""
        return f"{self.name} (at {self.position @ self.normal:.2f} mm)"


def slices_of(header: FileDataset) -> list[Slice]:
    """Return the slices of a file: one, or those of an enhanced or a nuclear medicine image of many frames.

    Raises:
        ValueError: If it has no place in the patient, or values other than stored × slope + intercept.
    """
    if int(header.get("SamplesPerPixel", 1)) != 1:
        raise ValueError(f"{header.SamplesPerPixel} values per pixel (colour), expected 1")
    if "ModalityLUTSequence" in header:
        raise ValueError("values are mapped by a table (ModalityLUTSequence), expected slope and intercept")
    if "PerFrameFunctionalGroupsSequence" in header:
        groups = frame_groups(header)
        return [_slice(header, group, number) for number, group in enumerate(groups)]
    frames = int(header.get("NumberOfFrames") or 1)
    if frames == 1 and "ImagePositionPatient" in header:
        return [_slice(header, header, 0)]
    if header.get("DetectorInformationSequence"):
        return _nuclear_slices(header, frames)
    raise ValueError("no position in the patient (ImagePositionPatient): a localiser, a report or a secondary capture")


def _nuclear_slices(header: FileDataset, frames: int) -> list[Slice]:
    """A reconstructed NM tells where its first frame lies; the sign of the spacing tells to which side others follow.

    References:
        DICOM PS3.3, C.8.4.15.1.1, Spacing Between Slices.
    """
    group = Dataset()
    group.update(header.DetectorInformationSequence[0])
    group.PixelSpacing = header.get("PixelSpacing")
    first = _slice(header, group, 0)
    step = first.normal * (numbers(header, "SpacingBetweenSlices", 1)[0] if frames > 1 else 0.0)
    slices = []
    for number in range(frames):
        group.ImagePositionPatient = (first.position + number * step).tolist()
        slices.append(_slice(header, group, number))
    return slices


def _slice(header: FileDataset, group: Dataset, number: int) -> Slice:
    file = Path(str(header.filename))
    thickness = group.get("SpacingBetweenSlices") or group.get("SliceThickness")
    return Slice(
        file=file,
        frame=number,
        name=file.name if group is header else f"{file.name} frame {number + 1}",
        position=numbers(group, "ImagePositionPatient", 3),
        orientation=numbers(group, "ImageOrientationPatient", 6),
        pixel_spacing=numbers(group, "PixelSpacing", 2),
        size=(int(header.Rows), int(header.Columns)),
        slope=float(group.get("RescaleSlope", header.get("RescaleSlope", 1))),
        intercept=float(group.get("RescaleIntercept", header.get("RescaleIntercept", 0))),
        thickness=abs(float(thickness)) if thickness else None,
        series=str(header.get("SeriesInstanceUID", "")),
        frame_of_reference=str(header.get("FrameOfReferenceUID", "")),
        instance=str(header.get("SOPInstanceUID", "")),
    )
