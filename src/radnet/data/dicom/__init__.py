"""DICOM read: image series, and the regions of segmentations (SEG) and structure sets (RTSTRUCT) on their grid."""

from radnet.data.dicom.mask import read_mask
from radnet.data.dicom.series import read_series

__all__ = ["read_mask", "read_series"]
