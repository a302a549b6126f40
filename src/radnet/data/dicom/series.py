"""An image series in DICOM read as one volume, or refused with every fault of its slices named."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.misc import is_dicom

from radnet.data.dicom.files import POSITION_TOLERANCE_MM, Identity, odd_values_pass, read_file
from radnet.data.dicom.slices import Slice, slices_of
from radnet.data.dicom.values import intensities

_NO_IMAGES = ("SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "PR", "SR", "KO", "REG")
_DIRECTION_TOLERANCE = 1e-3  # of a direction's cosines and, relative, of a pixel's size
_TOLD = 5  # slices named of one fault; a message is read by a person


@odd_values_pass()
def read_series(path: Path) -> sitk.Image:
    """Read the image series in a folder, or in one multi-frame file.

    Slices are ordered by their position along their common normal, and their distance gives the spacing. Values are
    those stored × slope + intercept, slice by slice; whole numbers stay whole, others become 32-bit real numbers. So
    a PET comes in the unit it was stored in (Bq/ml, most often): no SUV is made of it.

    Args:
        path: A folder with the files of one image series, or a multi-frame file (enhanced CT, MR, PET; a reconstructed
            NM). Masks, doses and reports beside the series are not looked at; folders within are not entered.

    Returns:
        The volume in the world of DICOM (LPS, millimetres), with the series' UIDs in its metadata.

    Raises:
        FileNotFoundError: If there is no such folder or file.
        ValueError: If there is no image series or more than one, or its slices are no even, straight stack: missing,
            double, unevenly spaced, tilted, or of different orientation, pixel size or matrix. Every such fault is
            told at once with the slices' names and their positions along the normal.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such DICOM folder or file")
    headers = _headers_in(path) if path.is_dir() else [_multi_frame_header(path)]
    slices: list[Slice] = []
    faults: list[str] = []
    for header in headers:
        try:
            slices += slices_of(header)
        except ValueError as error:
            faults.append(f"{Path(str(header.filename)).name}: {error}")
    if faults := faults or _differences(slices):
        raise ValueError(f"{path}: {_listed(faults)}")
    normal = slices[0].normal
    slices.sort(key=lambda one: float(one.position @ normal))
    if faults := _stacking_faults(slices):
        raise ValueError(f"{path}: {'; '.join(faults)}")
    return _volume(slices, _step_mm(slices, path))


def _headers_in(folder: Path) -> list[FileDataset]:
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    strange = [file.name for file in files if file.suffix.lower() == ".dcm" and not is_dicom(file)]
    if strange:
        raise ValueError(f"{folder}: no DICOM files, though they are called so: {_listed(strange)}")
    headers = [read_file(file, pixels=False) for file in files if is_dicom(file)]
    series: dict[str, list[FileDataset]] = {}
    for header in headers:
        if "Rows" in header and header.get("Modality") not in _NO_IMAGES:
            series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append(header)
    if not series:
        raise ValueError(
            f"{folder}: the folder holds no DICOM image ({len(headers)} DICOM files of {len(files)} files); an image "
            "is one file (NIfTI, NRRD, MHA, multi-frame DICOM) or a folder with the files of one DICOM series"
        )
    if len(series) > 1:
        told = [f"{uid or 'no UID'} ({group[0].get('Modality')}, {len(group)} files)" for uid, group in series.items()]
        raise ValueError(f"{folder}: {len(series)} image series, expected one; move each to a folder: {_listed(told)}")
    return next(iter(series.values()))


def _multi_frame_header(path: Path) -> FileDataset:
    header = read_file(path, pixels=False)
    if header.get("Modality") in _NO_IMAGES or "Rows" not in header:
        raise ValueError(f"{path}: expected a DICOM image, found {header.get('Modality') or 'no image'}")
    if "NumberOfFrames" not in header:
        raise ValueError(f"{path}: one slice of a series; name the folder that holds all its files")
    return header


def _differences(slices: Sequence[Slice]) -> list[str]:
    def differing(what: str, value: Callable[[Slice], NDArray[np.float64]], tolerance: float) -> list[str]:
        most = np.array(Counter(tuple(np.round(value(one), 4).tolist()) for one in slices).most_common(1)[0][0])
        others = [one for one in slices if np.abs(value(one) - most).max() > tolerance]
        told = [f"{one.told} has {_numbers(value(one))}" for one in others]
        return [f"the slices differ in {what}, most have {_numbers(most)}: {_listed(told)}"] if others else []

    frames = sorted({one.frame_of_reference for one in slices})
    return [
        *differing("orientation", lambda one: one.orientation, _DIRECTION_TOLERANCE),
        *differing(
            "pixel spacing (mm)", lambda one: one.pixel_spacing, _DIRECTION_TOLERANCE * slices[0].pixel_spacing.min()
        ),
        *differing("size (rows, columns)", lambda one: np.array(one.size, dtype=np.float64), 0.0),
        *([f"the slices lie in {len(frames)} frames of reference: {_listed(frames)}"] if len(frames) > 1 else []),
    ]


def _stacking_faults(slices: Sequence[Slice]) -> list[str]:
    """Name what keeps slices, sorted along their normal, from being an even and straight stack."""
    places = np.array([one.position @ slices[0].normal for one in slices])
    gaps = np.diff(places)
    double = [f"{a.name} and {b.told}" for a, b, gap in zip(slices, slices[1:], gaps, strict=False) if _is_double(gap)]
    faults = (
        [f"slices of the same position (copies, phases or echoes in one series?): {_listed(double)}"] if double else []
    )
    single = [0, *(number + 1 for number, gap in enumerate(gaps) if not _is_double(gap))]
    alone = [slices[number] for number in single]
    faults += _tilt(alone) + _gaps(alone, places[single])
    return faults


def _is_double(gap: float) -> bool:
    return gap <= POSITION_TOLERANCE_MM


def _tilt(slices: Sequence[Slice]) -> list[str]:
    offsets = np.array([one.position - slices[0].position for one in slices])
    along = offsets @ slices[0].normal
    sideways = offsets - np.outer(along, slices[0].normal)
    drift_mm = np.linalg.norm(sideways, axis=1)
    if drift_mm.max() <= POSITION_TOLERANCE_MM:
        return []
    tolerance = f"(tolerance {POSITION_TOLERANCE_MM:g} mm)"
    straight = np.outer(along / along[-1], sideways[-1])
    if np.linalg.norm(sideways - straight, axis=1).max() <= POSITION_TOLERANCE_MM:
        angle = np.degrees(np.arctan2(drift_mm[-1], along[-1]))
        return [
            f"gantry tilt: from {slices[0].told} to {slices[-1].told} the slices are stacked at {angle:.2f}° to their "
            f"normal, {drift_mm[-1]:.2f} mm sideways {tolerance}; straighten the volume first"
        ]
    told = [f"{one.told} by {mm:.2f} mm" for one, mm in zip(slices, drift_mm, strict=True) if not _is_double(mm)]
    return [f"slices shifted sideways against {slices[0].name} {tolerance}: {_listed(told)}"]


def _gaps(slices: Sequence[Slice], places: NDArray[np.float64]) -> list[str]:
    if len(slices) < 3:
        return []
    gaps = np.diff(places)
    step = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # a gap there is, unlike the mean of two
    slots = np.maximum(np.rint(gaps / step), 1)
    holes = (slots > 1) & (np.abs(gaps / step - slots) <= 0.1)
    missing = [
        f"{int(slots[number]) - 1} between {slices[number].told} and {slices[number + 1].told}"
        for number in np.flatnonzero(holes).tolist()
    ]
    number_of = np.concatenate([[0.0], np.cumsum(np.where(holes, slots, 1))])
    line = np.polynomial.Polynomial.fit(number_of, places, 1)
    faults = [f"slices are missing (spacing {step:.4g} mm): {_listed(missing)}"] if missing else []
    if np.abs(places - line(number_of)).max() > POSITION_TOLERANCE_MM:
        odd = np.argsort(-np.abs(np.where(holes, 0.0, gaps - step)), kind="stable")[:_TOLD].tolist()
        told = [f"{gaps[number]:.4g} mm from {slices[number].told} to {slices[number + 1].told}" for number in odd]
        faults.append(
            f"the slices are unevenly spaced (tolerance {POSITION_TOLERANCE_MM:g} mm), {step:.4g} mm at the median, "
            f"but {_listed(told)}"
        )
    return faults


def _step_mm(slices: Sequence[Slice], path: Path) -> float:
    if len(slices) > 1:
        return float((slices[-1].position - slices[0].position) @ slices[0].normal) / (len(slices) - 1)
    if slices[0].thickness is None:
        raise ValueError(f"{path}: a single slice, {slices[0].name}, without its thickness (SliceThickness)")
    return slices[0].thickness


def _volume(slices: Sequence[Slice], step_mm: float) -> sitk.Image:
    first = slices[0]
    image = sitk.GetImageFromArray(intensities(slices))
    image.SetOrigin(first.position.tolist())
    image.SetSpacing([float(first.pixel_spacing[1]), float(first.pixel_spacing[0]), step_mm])
    axes = np.stack([first.orientation[:3], first.orientation[3:], first.normal])
    image.SetDirection((axes / np.linalg.norm(axes, axis=1, keepdims=True)).T.ravel().tolist())
    instances = tuple(one.instance for one in slices)
    return Identity((first.series,), first.frame_of_reference, instances).written_to(image)


def _numbers(values: NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"


def _listed(told: Sequence[str]) -> str:
    more = f" … and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return "; ".join(told[:_TOLD]) + more
