"""A region of a DICOM segmentation or structure set as a mask on the grid of its image."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it

from radnet.data.dicom.contours import contour_mask
from radnet.data.dicom.files import odd_values_pass, read_file
from radnet.data.dicom.segmentation import segment_mask


@odd_values_pass()
def read_mask(path: Path, reference: sitk.Image, roi_name: str | None = None, label: int = 1) -> sitk.Image:
    """Read one region of a SEG or an RTSTRUCT.

    The file must refer to the image's series, by its UID or by those of its slices. Another series of the same frame of
    reference, or an image without UIDs (NIfTI), is accepted where the mask fits its voxels or slices within
    ``POSITION_TOLERANCE_MM``; another frame of reference never is.

    Args:
        path: The DICOM file.
        reference: The image it was drawn on, as ``read_series`` gives it.
        roi_name: Label of the segment, or name of the ROI; upper and lower case are told apart only where needed.
        label: Value of the region's voxels in what comes back; without ``roi_name``, the number of the segment too.

    Returns:
        The mask on the voxels of ``reference``; everything else is 0.

    Raises:
        ValueError: If there is no such region (with those there are), or it does not belong to the image.
    """
    if path.is_dir():
        raise ValueError(f"{path}: expected one DICOM mask file (SEG or RTSTRUCT), found a folder")
    modality = read_file(path, pixels=False).get("Modality")
    if modality == "SEG":
        inside = segment_mask(path, reference, roi_name, label)
    elif modality == "RTSTRUCT":
        inside = contour_mask(path, reference, roi_name)
    else:
        raise ValueError(f"{path}: a DICOM mask is a SEG or an RTSTRUCT, found {modality or 'no modality'}")
    mask = sitk.GetImageFromArray(inside.astype(np.uint8 if label <= 255 else np.uint32) * label)
    mask.CopyInformation(reference)
    return mask
