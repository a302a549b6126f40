"""Small DICOM files: image series with whatever fault is asked for, segmentations and structure sets drawn on them."""

from pathlib import Path

import highdicom
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.8, 0.6, 0.0, -0.6, 0.8, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def uid(*words) -> str:
    return generate_uid(entropy_srcs=[str(word) for word in words])


def new_dataset(sop_class, instance, modality) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = instance
    dataset.Modality = modality
    dataset.StudyInstanceUID = uid("study")
    dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate, dataset.PatientSex = "P1", "P^1", "", ""
    dataset.StudyID, dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber = "1", "20200101", "120000", ""
    dataset.ReferringPhysicianName, dataset.Manufacturer = "", "radnet"
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    return dataset


def write(dataset: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def slices(
    array, spacing_mm=(2.5, 0.7, 0.8), origin=(-20.0, 5.0, 100.0), orientation=STRAIGHT, positions=None, *,
    series="a", frame="world", slope=1, intercept=0, modality="CT",
) -> list[Dataset]:  # fmt: skip
    """One dataset per slice of an array (Z, Y, X); positions along the normal default to even steps."""
    normal = np.cross(orientation[:3], orientation[3:])
    along = np.arange(len(array)) * spacing_mm[0] if positions is None else positions
    made = []
    for number, (pixels, place) in enumerate(zip(array, along, strict=True)):
        one = new_dataset(CTImageStorage, uid(series, number), modality)
        one.SeriesInstanceUID, one.FrameOfReferenceUID = uid(series), uid(frame)
        one.PositionReferenceIndicator, one.ImageType = "", ["ORIGINAL", "PRIMARY", "AXIAL"]
        one.InstanceNumber = number + 1
        one.ImageOrientationPatient = list(orientation)
        one.ImagePositionPatient = np.round(np.array(origin) + place * normal, 6).tolist()
        one.PixelSpacing, one.SliceThickness = [spacing_mm[1], spacing_mm[2]], spacing_mm[0]
        one.Rows, one.Columns = pixels.shape
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated = one.BitsStored = 8 * pixels.itemsize
        one.HighBit, one.PixelRepresentation = one.BitsStored - 1, int(pixels.dtype.kind == "i")
        one.RescaleSlope, one.RescaleIntercept = slope, intercept
        one.PixelData = pixels.tobytes()
        made.append(one)
    return made


def write_series(folder: Path, datasets) -> Path:
    """Files named against the order of the slices, so that names cannot be what sorts them."""
    for number, one in enumerate(datasets):
        write(one, folder / f"IM{len(datasets) - number:03}.dcm")
    return folder


def segmentation(source, regions, kind="BINARY", labels=None, series="seg", **settings) -> Dataset:
    """A SEG by highdicom; regions are (Z, Y, X), one per segment (or one label map)."""
    regions = np.asarray(regions)
    pixels = regions if kind == "LABELMAP" else np.stack(list(regions), axis=-1)
    count = int(regions.max()) if kind == "LABELMAP" else len(regions)
    labels = labels or [f"lesion {number + 1}" for number in range(count)]
    described = [
        highdicom.seg.SegmentDescription(number, label, codes.SCT.Tissue, codes.SCT.Lesion, "MANUAL")
        for number, label in enumerate(labels, start=1)
    ]
    return highdicom.seg.Segmentation(
        source, pixels, kind, described, uid(series), 2, uid(series, 1), 1, "radnet", "tests", "1", "1", **settings
    )


def structures(source, rois, frame="world", refer=False) -> Dataset:
    """An RTSTRUCT; rois are name → polygons, each (points, 3) in mm, or (type, points)."""
    dataset = new_dataset(RTStructureSetStorage, uid("rtstruct"), "RTSTRUCT")
    dataset.SeriesInstanceUID = uid("rtstruct series")
    images = []
    for one in source:
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = one.SOPClassUID, one.SOPInstanceUID
        images.append(image)
    series, study, reference = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID, series.ContourImageSequence = source[0].SeriesInstanceUID, images
    study.RTReferencedSeriesSequence = [series]
    reference.FrameOfReferenceUID, reference.RTReferencedStudySequence = uid(frame), [study]
    dataset.ReferencedFrameOfReferenceSequence = [reference]
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, polygons) in enumerate(rois.items(), start=1):
        roi, contours = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, uid(frame)
        contours.ReferencedROINumber, contours.ContourSequence = number, []
        for given in polygons:
            kind, points = given if isinstance(given, tuple) else ("CLOSED_PLANAR", given)
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
            contour.ContourData = np.round(np.ravel(points), 6).tolist()
            if refer is not False:
                contour.ContourImageSequence = [images[refer]]
            contours.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(contours)
    return dataset


def copy_of(dataset: Dataset) -> Dataset:
    made = pydicom.Dataset(dataset)
    made.file_meta = FileMetaDataset(dataset.file_meta)
    return made
