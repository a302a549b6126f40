"""The imaging functions as MONAI dictionary transforms, to be composed in YAML.

Each is a thin shell over a function of ``preprocess``, ``region`` or ``patch`` and yields the same arrays. Between them
images travel as MONAI tensors of shape (1, Z, Y, X) whose affine takes the index (z, y, x) to the world's millimetres
in RAS, as MONAI expects, so that MONAI's own transforms fit in between.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, MapTransform, Transform
from numpy.typing import NDArray

from radnet.imaging.patch import lesion_patch, patch_start
from radnet.imaging.preprocess import check_geometry, crop, read_image, read_mask, resample, unit_range, z_score
from radnet.imaging.region import air_mask, ring_mask

_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
_NO_TENSOR_TYPE = {np.dtype(np.uint16): np.int32, np.dtype(np.uint32): np.int64, np.dtype(np.uint64): np.int64}

Data = dict[Hashable, Any]


def compose(steps: Mapping[str, Transform | None]) -> Compose:
    """Return the steps one after the other, in the order they are written.

    They are keyed by name, so that a configuration can replace or switch off (null) a step of another.
    """
    return Compose([step for step in steps.values() if step is not None])


def to_tensor(image: sitk.Image) -> MetaTensor:
    """Return an image as a MONAI tensor (1, Z, Y, X), at the same place in the world."""
    array = sitk.GetArrayFromImage(image)
    array = array.astype(_NO_TENSOR_TYPE.get(array.dtype, array.dtype))
    columns = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3] = (_LPS_TO_RAS[:, None] * columns)[:, ::-1]
    affine[:3, 3] = _LPS_TO_RAS * np.array(image.GetOrigin())
    return MetaTensor(torch.from_numpy(array)[None], affine=torch.from_numpy(affine))


def to_image(tensor: MetaTensor) -> sitk.Image:
    """Return a MONAI tensor (1, Z, Y, X) as an image, at the same place in the world."""
    image = sitk.GetImageFromArray(_array(tensor))
    affine = np.asarray(tensor.affine, dtype=np.float64)
    columns = (_LPS_TO_RAS[:, None] * affine[:3, :3])[:, ::-1]
    spacing = [math.hypot(*column) for column in columns.T]  # exact for a column of one number
    image.SetSpacing(spacing)
    image.SetDirection((columns / spacing).ravel().tolist())
    image.SetOrigin((_LPS_TO_RAS * affine[:3, 3]).tolist())
    return image


class ReadLesiond(MapTransform):
    """Read an image and a mask from their files, check that they fit, and keep one label of the mask as 1.

    Args:
        image_key: Holds the path of the image; the tensor takes its place.
        mask_key: Holds the path of the mask; the tensor takes its place.
        label_key: Holds the voxel value of the lesion; where there is no such entry it is 1.
        roi_key: Holds the name of the lesion's region in a DICOM mask; other masks need none.
    """

    def __init__(
        self, image_key: str = "image", mask_key: str = "mask", label_key: str = "label", roi_key: str = "roi_name"
    ) -> None:
        super().__init__([image_key, mask_key])
        self.image_key = image_key
        self.mask_key = mask_key
        self.label_key = label_key
        self.roi_key = roi_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Return the data with image and mask read."""
        label = int(data.get(self.label_key, 1))
        image = read_image(Path(data[self.image_key]))
        mask = read_mask(Path(data[self.mask_key]), image, data.get(self.roi_key), label)
        check_geometry(image, mask)
        if not (sitk.GetArrayViewFromImage(mask) == label).any():
            raise ValueError(f"{data[self.mask_key]}: the mask has no voxel of label {label}")
        return {**data, self.image_key: to_tensor(image), self.mask_key: to_tensor(mask == label)}


class Resampled(MapTransform):
    """Bring image and mask to one spacing around the lesion, as ``preprocess.resample``; half a patch as pad fills it.

    Args:
        spacing_mm: Voxel size along Z, Y and X; 0 keeps the mask's.
        pad_voxels: New voxels kept around the lesion.
        image_key: Holds the image.
        mask_key: Holds the mask.
    """

    def __init__(
        self, spacing_mm: Sequence[float], pad_voxels: int, image_key: str = "image", mask_key: str = "mask"
    ) -> None:
        super().__init__([image_key, mask_key])
        self.spacing_mm = tuple(float(step) for step in spacing_mm)
        self.pad_voxels = pad_voxels
        self.image_key = image_key
        self.mask_key = mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Return the data with image and mask resampled."""
        pair = to_image(data[self.image_key]), to_image(data[self.mask_key])
        image, mask = resample(*pair, spacing_mm=self.spacing_mm, pad_voxels=self.pad_voxels)
        return {**data, self.image_key: to_tensor(image), self.mask_key: to_tensor(mask)}


class CropLesiond(MapTransform):
    """Cut image and mask to the lesion and ``margin_mm`` around it, as ``preprocess.crop``; after resampling."""

    def __init__(self, margin_mm: float, image_key: str = "image", mask_key: str = "mask") -> None:
        super().__init__([image_key, mask_key])
        self.margin_mm = margin_mm
        self.image_key = image_key
        self.mask_key = mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Return the data with image and mask cut."""
        image, mask = crop(to_image(data[self.image_key]), to_image(data[self.mask_key]), self.margin_mm)
        return {**data, self.image_key: to_tensor(image), self.mask_key: to_tensor(mask)}


class Windowd(MapTransform):
    """Map intensities from ``low`` … ``high`` (HU on CT) to 0 … 1, as ``preprocess.unit_range``."""

    def __init__(self, low: float, high: float, image_key: str = "image") -> None:
        super().__init__([image_key])
        self.low = low
        self.high = high
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Return the data with the image windowed."""
        image = data[self.image_key]
        return {**data, self.image_key: _like(image, unit_range(_array(image), self.low, self.high))}


class ZScored(MapTransform):
    """Bring intensities to mean 0 and standard deviation 1 over a foreground, as ``preprocess.z_score``.

    Args:
        above: The foreground is every voxel of the image with a greater intensity (0: an MRI without its background).
        image_key: Holds the image.
    """

    def __init__(self, above: float, image_key: str = "image") -> None:
        super().__init__([image_key])
        self.above = above
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Return the data with the image z-scored."""
        image = data[self.image_key]
        array = _array(image)
        return {**data, self.image_key: _like(image, z_score(array, array > self.above))}


class Ringd(MapTransform):
    """Add the ring along the lesion's border, as ``region.ring_mask``.

    Args:
        inner_mm: How far the ring reaches into the lesion.
        outer_mm: How far the ring reaches from the lesion.
        exclude_below: Voxels outside the lesion of a lower intensity are no part of it (air); None keeps them all.
        image_key: Holds the image.
        mask_key: Holds the mask of the lesion.
        ring_key: Is given the mask of the ring.
    """

    def __init__(
        self,
        inner_mm: float,
        outer_mm: float,
        exclude_below: float | None = None,
        image_key: str = "image",
        mask_key: str = "mask",
        ring_key: str = "ring",
    ) -> None:
        super().__init__([image_key, mask_key])
        self.inner_mm = inner_mm
        self.outer_mm = outer_mm
        self.exclude_below = exclude_below
        self.image_key = image_key
        self.mask_key = mask_key
        self.ring_key = ring_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Return the data with the ring added."""
        mask = data[self.mask_key]
        lesion = _array(mask) != 0
        air = None
        if self.exclude_below is not None:
            air = air_mask(_array(data[self.image_key]), lesion, self.exclude_below)
        spacing_mm = to_image(mask).GetSpacing()[::-1]
        ring = ring_mask(lesion, spacing_mm, self.inner_mm, self.outer_mm, air)
        return {**data, self.ring_key: _like(mask, ring.astype(np.uint8))}


class Patchd(MapTransform):
    """Cut a patch of a fixed size around the lesion out of every key, as ``patch.lesion_patch``.

    Args:
        size_voxels: Size along Z, Y and X.
        fill: Value of the image beyond its end, in the image's unit at this step; masks are filled with 0.
        image_key: Holds the image.
        mask_key: Holds the mask of the lesion.
        other_mask_keys: Hold further masks on the same voxels, such as the ring.
    """

    def __init__(
        self,
        size_voxels: Sequence[int],
        fill: float,
        image_key: str = "image",
        mask_key: str = "mask",
        other_mask_keys: Sequence[str] = (),
    ) -> None:
        super().__init__([image_key, mask_key, *other_mask_keys])
        self.size_voxels = tuple(int(size) for size in size_voxels)
        self.fills = {image_key: fill, mask_key: 0.0, **dict.fromkeys(other_mask_keys, 0.0)}
        self.mask_key = mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Return the data with a patch in place of each image and mask."""
        lesion = _array(data[self.mask_key]) != 0
        start = patch_start(lesion, self.size_voxels)
        patches: Data = dict(data)
        for key, fill in self.fills.items():
            patch = _like(data[key], lesion_patch(_array(data[key]), lesion, self.size_voxels, fill))
            shift = torch.eye(4, dtype=torch.float64)
            shift[:3, 3] = torch.tensor(start, dtype=torch.float64)
            patch.affine = patch.affine @ shift
            patches[key] = patch
        return patches


def _array(tensor: MetaTensor) -> NDArray:
    if tensor.ndim != 4 or tensor.shape[0] != 1:
        raise ValueError(f"expected one image of shape (1, Z, Y, X), got {tuple(tensor.shape)}")
    return tensor.as_tensor()[0].cpu().numpy()


def _like(tensor: MetaTensor, array: NDArray) -> MetaTensor:
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(array))[None], affine=tensor.affine.clone())
