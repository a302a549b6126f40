"""When and how a patient's scan was taken, as its header and the cohort's tables tell: no voxel is read."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it

from radnet.cohort import Patient
from radnet.imaging.preprocess import is_dicom

_DATES = ("AcquisitionDate", "SeriesDate", "StudyDate")
_OF_A_SCAN = re.compile(r"scan|imag|acqu|study|exam|ct|mr|pet", re.IGNORECASE)
_OF_AN_OUTCOME = re.compile(r"death|died|birth|progress|relapse|recur|follow|last|response|outcome", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ScanHeader:
    """What the header of a scan says; NaN where it says nothing.

    Attributes:
        between_mm: From slice to slice.
        pixel_mm: Size of a pixel, along Y.
        slices: How many.
        rows: Pixels along Y.
        date: As yyyymmdd, of DICOM only.
    """

    between_mm: float = nan
    pixel_mm: float = nan
    slices: float = nan
    rows: float = nan
    date: float = nan


def first_image(patient: Patient) -> Path | None:
    """Return the first image of a patient, or None."""
    images = (one.image for lesion in patient.lesions for one in lesion.delineations if one.image is not None)
    return next(images, None)


def read_header(path: Path) -> ScanHeader:
    """Read the header of a scan, one file of a DICOM series; an unreadable one says nothing: others tell why."""
    try:
        if path.is_dir() or is_dicom(path):
            return _dicom_header(path)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        (_, pixel, between), (_, rows, slices) = reader.GetSpacing()[:3], reader.GetSize()[:3]
        return ScanHeader(round(between, 4), round(pixel, 4), slices, rows)
    except (OSError, RuntimeError, ValueError, IndexError):
        return ScanHeader()


def dates(columns: Mapping[str, Iterable[object]]) -> tuple[str, np.ndarray] | None:
    """Return the name and the values, as numbers that rise with time, of the column that dates the scans.

    That is the first whose name holds ``date`` and a word of imaging, else the first that holds ``date`` and no word of
    an outcome or a birth. Text is read as dates; numbers, such as 20240131 or days since some day, are taken as they
    stand. None where there is no such column, or hardly a value of it can be read.
    """
    named = [name for name in columns if "date" in name.lower() and not _OF_AN_OUTCOME.search(name)]
    for name in sorted(named, key=lambda name: not _OF_A_SCAN.search(name.lower().replace("date", " "))):
        cells = pd.Series(list(columns[name]), dtype=object).replace("", None)
        values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=float)
        if np.isnan(values).all():
            read = pd.to_datetime(cells, errors="coerce", format="mixed", utc=True)
            values = np.where(read.isna(), nan, (read - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1))
        if np.isfinite(values).sum() > len(cells) / 2:
            return name, values
    return None


def _dicom_header(path: Path) -> ScanHeader:
    from radnet.data.dicom.files import read_file  # half a second of pydicom, for DICOM alone

    files = [one for one in sorted(path.iterdir()) if one.is_file() and is_dicom(one)] if path.is_dir() else [path]
    header = read_file(files[0], pixels=False)
    pixel = header.get("PixelSpacing") or [nan]
    date = next((str(header.get(name)) for name in _DATES if header.get(name)), "")
    slices = float(header.get("NumberOfFrames") or len(files))
    between = float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or nan)
    rows = float(header.get("Rows") or nan)
    return ScanHeader(between, float(pixel[0]), slices, rows, float(date) if date.isdigit() else nan)
