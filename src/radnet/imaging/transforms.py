"""The imaging functions as MONAI dictionary transforms, to be composed in YAML.

Each is a thin shell over a function of ``preprocess``, ``region`` or ``patch`` and yields the same arrays. Between them
images travel as MONAI tensors of shape (1, Z, Y, X) whose affine takes the index (z, y, x) to the world's millimetres
in RAS, as MONAI expects, so that MONAI's own transforms fit in between. ``patch_steps`` puts them in order for the
patches that settings describe. What is worth telling of a lesion is added to the entry ``remarks``, a tuple of texts.
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

from radnet.imaging.bspline import bspline_on_grid
from radnet.imaging.patch import (
    DistanceChannel,
    LesionChannel,
    LesionWindowChannel,
    OfIntensities,
    PatchSettings,
    RingChannel,
    WindowChannel,
    ZScoreChannel,
    fitted_spacing_mm,
    lesion_patch,
    patch_start,
)
from radnet.imaging.preprocess import (
    bounding_box,
    check_geometry,
    crop,
    read_image,
    read_mask,
    resample,
    unit_range,
    z_score,
)
from radnet.imaging.region import air_mask, ring_mask, signed_distance_mm

_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
_NO_TENSOR_TYPE = {np.dtype(np.uint16): np.int32, np.dtype(np.uint32): np.int64, np.dtype(np.uint64): np.int64}

MASK_PAD_VOXELS = 5
"""Where a voxel lies half way between two, ITK takes one by where its grid begins. Radiomics' begins so far away."""

Data = dict[Hashable, Any]


def patch_steps(settings: PatchSettings, first: str) -> Compose:
    """Return the steps from files to the patch of a lesion.

    They take ``image``, ``mask``, ``label`` and ``roi_name`` as ``ReadLesiond`` does, and under ``image_key(name)`` the
    path of each further image, or None; they give ``patch``, a tensor (C, D, H, W), and ``remarks``.

    Args:
        settings: What is cut.
        first: Name, in ``lesions.csv``, of the channel the lesion is delineated on.
    """
    further = [image_key(name) for name in settings.further(first)]
    fills = {"distance": 1.0, "image": 0.0, "mask": 0.0}
    before: list[Transform] = [ReadLesiond(), *([ReadFurtherd(further)] if further else [])]
    after: list[Transform] = []
    keys: dict[str, str] = {}  # by name
    for name, channel in settings.channels.items():
        keys[name] = key = "mask" if isinstance(channel, LesionChannel) else f"channel:{name}"
        if isinstance(channel, OfIntensities):
            source = "image" if channel.image in (None, first) else image_key(str(channel.image))
            absent = source != "image"
        if isinstance(channel, WindowChannel):
            after.append(Windowd(channel.low, channel.high, source, key, allow_missing_keys=absent))
        elif isinstance(channel, LesionWindowChannel):
            after.append(LesionWindowd(channel.width, source, key, channel.within, allow_missing_keys=absent))
        elif isinstance(channel, ZScoreChannel):
            before.append(ZScored(channel.above, source, key, allow_missing_keys=absent))
            further = [*further, key]
        elif isinstance(channel, RingChannel):
            after.append(Ringd(channel.inner_mm, channel.outer_mm, channel.exclude_below, ring_key=key))
        elif isinstance(channel, DistanceChannel):
            after.append(Distanced(channel.clip_mm, distance_key=key))
    resampled = Resampled(
        settings.spacing_mm,
        pad_voxels=max(settings.size_voxels) // 2 + 1,  # fills the patch wherever the scan reaches
        other_image_keys=further,
        fit_voxels=settings.size_voxels if settings.larger == "fit" else None,
        margin_mm=settings.margin_mm,
    )
    cut = Patchd(settings.size_voxels, {keys[name]: fills[kind] for name, kind in settings.kinds.items()})
    return Compose([*before, resampled, *after, cut, Stackd(list(keys.values()))])


def image_key(channel: str) -> str:
    """Return the entry under which an image beside the first travels."""
    return f"image:{channel}"


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

    The last image is kept, so that lesions of one scan, one after the other, read it once.

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
        self.last: tuple[Path, sitk.Image] | None = None

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Return the data with image and mask read."""
        label = int(data.get(self.label_key, 1))
        path = Path(data[self.image_key])
        if self.last is None or self.last[0] != path:
            self.last = path, read_image(path)
        image = self.last[1]
        mask = read_mask(Path(data[self.mask_key]), image, data.get(self.roi_key), label)
        check_geometry(image, mask)
        lesion = sitk.GetArrayViewFromImage(mask) == label
        if not lesion.any():
            raise ValueError(f"{data[self.mask_key]}: the mask has no voxel of label {label}")
        if lesion.all():
            raise ValueError(f"{data[self.mask_key]}: the lesion fills the whole image, no background is left")
        return {**data, self.image_key: to_tensor(image), self.mask_key: to_tensor(mask == label)}


class ReadFurtherd(MapTransform):
    """Read further images of a lesion, such as PET beside CT; one that is not there is left out, with a remark.

    Args:
        keys: Hold the paths of the images, or None, or nothing; the tensors take their place.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__(list(keys), allow_missing_keys=True)

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Return the data with the images read."""
        read: Data = dict(data)
        for key in self.keys:
            path = read.pop(key, None)
            if path is None:
                read = _with_remark(read, f"no {_name(str(key))}: its channels are 0")
            else:
                read[key] = to_tensor(read_image(Path(path)))
        return read


class Resampled(MapTransform):
    """Bring image and mask to one spacing around the lesion, as ``preprocess.resample``; half a patch as pad fills it.

    The voxels of the mask are those that radiomics measures, to the last one, whatever the pad. Further images, of any
    voxels in the same world, are interpolated by a B-spline at the same places; where one does not reach it holds its
    own lowest value. One that reaches no place is left out, with a remark.

    Args:
        spacing_mm: Voxel size along Z, Y and X; 0 keeps the mask's.
        pad_voxels: New voxels kept around the lesion.
        image_key: Holds the image.
        mask_key: Holds the mask.
        other_image_keys: Hold further images, each of which may be absent.
        fit_voxels: Size of a patch along Z, Y and X: where the lesion and ``margin_mm`` do not fit into it the spacing
            is enlarged as ``patch.fitted_spacing_mm`` says. None keeps the spacing.
        margin_mm: Around a lesion that is made to fit.
    """

    def __init__(
        self,
        spacing_mm: Sequence[float],
        pad_voxels: int,
        image_key: str = "image",
        mask_key: str = "mask",
        other_image_keys: Sequence[str] = (),
        fit_voxels: Sequence[int] | None = None,
        margin_mm: float = 0.0,
    ) -> None:
        super().__init__([image_key, mask_key, *other_image_keys])
        self.spacing_mm = tuple(float(step) for step in spacing_mm)
        self.pad_voxels = pad_voxels
        self.image_key = image_key
        self.mask_key = mask_key
        self.other_image_keys = tuple(other_image_keys)
        self.fit_voxels = fit_voxels
        self.margin_mm = margin_mm

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Return the data with images and mask resampled."""
        image, mask = to_image(data[self.image_key]), to_image(data[self.mask_key])
        spacing_mm = self._spacing_mm(mask)
        new_image, new_mask = resample(image, mask, spacing_mm=spacing_mm, pad_voxels=self.pad_voxels)
        if self.pad_voxels > MASK_PAD_VOXELS:
            near = resample(mask, mask, spacing_mm=spacing_mm, pad_voxels=MASK_PAD_VOXELS, interpolator="nearest")[1]
            new_mask = _placed(near, new_mask)
        if not sitk.GetArrayViewFromImage(new_mask).any():
            raise ValueError(f"no voxel of the lesion is left at {_told_mm(spacing_mm)}")
        new: Data = {**data, self.image_key: to_tensor(new_image), self.mask_key: to_tensor(new_mask)}
        if spacing_mm != self.spacing_mm:
            new = _with_remark(new, f"larger than the patch at {_told_mm(self.spacing_mm)}: made to fit")
        for key in self.other_image_keys:
            if key not in new:
                continue
            if (other := _on_grid(to_image(new[key]), new_mask)) is not None:
                new[key] = to_tensor(other)
            else:
                del new[key]
                new = _with_remark(new, f"{_name(key)} does not reach the lesion: its channels are 0")
        return new

    def _spacing_mm(self, mask: sitk.Image) -> tuple[float, ...]:
        if self.fit_voxels is None:
            return self.spacing_mm
        box = bounding_box(sitk.GetArrayViewFromImage(mask) != 0)
        lesion_mm = [(side.stop - side.start) * step for side, step in zip(box, mask.GetSpacing()[::-1], strict=True)]
        return fitted_spacing_mm(lesion_mm, self.fit_voxels, self.spacing_mm, self.margin_mm)


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
    """Map intensities from ``low`` … ``high`` (HU on CT) to 0 … 1, as ``preprocess.unit_range``.

    Args:
        low: Becomes 0.
        high: Becomes 1.
        image_key: Holds the image.
        to_key: Is given what comes of it; None puts it in the image's place.
        allow_missing_keys: Whether data without the image are left as they are.
    """

    def __init__(
        self,
        low: float,
        high: float,
        image_key: str = "image",
        to_key: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__([image_key], allow_missing_keys)
        self.low = low
        self.high = high
        self.to_key = to_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Return the data with the image windowed."""
        new: Data = dict(data)
        for key in self.key_iterator(new):
            new[self.to_key or key] = _like(new[key], unit_range(_array(new[key]), self.low, self.high))
        return new


class LesionWindowd(MapTransform):
    """Map intensities about the lesion's median to -1 … 1, as ``patch.LesionWindowChannel``.

    Args:
        width: Becomes the range from -1 to 1.
        image_key: Holds the image.
        to_key: Is given what comes of it; None puts it in the image's place.
        within: Whether all that is outside the lesion is 0.
        allow_missing_keys: Whether data without the image are left as they are.
        mask_key: Holds the mask of the lesion.
    """

    def __init__(
        self,
        width: float,
        image_key: str = "image",
        to_key: str | None = None,
        within: bool = False,
        allow_missing_keys: bool = False,
        mask_key: str = "mask",
    ) -> None:
        super().__init__([image_key], allow_missing_keys)
        self.width = width
        self.to_key = to_key
        self.within = within
        self.mask_key = mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Return the data with the image windowed."""
        new: Data = dict(data)
        lesion = _array(data[self.mask_key]) != 0
        for key in self.key_iterator(new):
            array = _array(new[key]).astype(np.float64)
            about = np.clip((array - np.median(array[lesion])) / (self.width / 2), -1.0, 1.0)
            seen = np.where(lesion, about, 0.0) if self.within else about
            new[self.to_key or key] = _like(new[key], seen.astype(np.float32))
        return new


class ZScored(MapTransform):
    """Bring intensities to mean 0 and standard deviation 1 over a foreground, as ``preprocess.z_score``.

    Args:
        above: The foreground is every voxel of the image with a greater intensity (0: an MRI without its background).
        image_key: Holds the image.
        to_key: Is given what comes of it; None puts it in the image's place.
        allow_missing_keys: Whether data without the image are left as they are.
    """

    def __init__(
        self, above: float, image_key: str = "image", to_key: str | None = None, allow_missing_keys: bool = False
    ) -> None:
        super().__init__([image_key], allow_missing_keys)
        self.above = above
        self.to_key = to_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Return the data with the image z-scored."""
        new: Data = dict(data)
        for key in self.key_iterator(new):
            array = _array(new[key])
            new[self.to_key or key] = _like(new[key], z_score(array, array > self.above))
        return new


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
        ring = ring_mask(lesion, spacing_mm(mask), self.inner_mm, self.outer_mm, air)
        return {**data, self.ring_key: _like(mask, ring.astype(np.uint8))}


class Distanced(MapTransform):
    """Add the distance map of ``patch.DistanceChannel``.

    Args:
        clip_mm: Distance that becomes 1.
        mask_key: Holds the mask of the lesion.
        distance_key: Is given the map.
    """

    def __init__(self, clip_mm: float, mask_key: str = "mask", distance_key: str = "distance") -> None:
        super().__init__([mask_key])
        self.clip_mm = clip_mm
        self.mask_key = mask_key
        self.distance_key = distance_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Return the data with the distance map added."""
        mask = data[self.mask_key]
        distance_mm = signed_distance_mm(_array(mask) != 0, spacing_mm(mask))
        scaled = (np.clip(distance_mm, -self.clip_mm, self.clip_mm) / self.clip_mm).astype(np.float32)
        return {**data, self.distance_key: _like(mask, scaled)}


class Patchd(MapTransform):
    """Cut a patch of a fixed size around the lesion out of every key, as ``patch.lesion_patch``.

    The mask of the lesion is cut too. A lesion of which a part is left outside is told by a remark.

    Args:
        size_voxels: Size along Z, Y and X.
        fills: By key, which may be absent from the data, the value beyond the end of the array.
        mask_key: Holds the mask of the lesion.
    """

    def __init__(self, size_voxels: Sequence[int], fills: Mapping[str, float], mask_key: str = "mask") -> None:
        self.fills = {**fills, mask_key: 0.0}
        super().__init__(list(self.fills), allow_missing_keys=True)
        self.size_voxels = tuple(int(size) for size in size_voxels)
        self.mask_key = mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Return the data with a patch in place of each image and mask."""
        lesion = _array(data[self.mask_key]) != 0
        start = patch_start(lesion, self.size_voxels)
        patches: Data = dict(data)
        for key in self.key_iterator(data):
            patch = _like(data[key], lesion_patch(_array(data[key]), lesion, self.size_voxels, self.fills[str(key)]))
            shift = torch.eye(4, dtype=torch.float64)
            shift[:3, 3] = torch.tensor(start, dtype=torch.float64)
            patch.affine = patch.affine @ shift
            patches[key] = patch
        kept = int((_array(patches[self.mask_key]) != 0).sum())
        if kept < lesion.sum():
            lost = 100 * (1 - kept / int(lesion.sum()))
            patches = _with_remark(patches, f"larger than the patch: {lost:.2g} % of the lesion cut off")
        return patches


class Stackd(MapTransform):
    """Put arrays of one shape together as the channels of one tensor (C, D, H, W) of float32, in the order of the keys.

    Args:
        keys: Hold the channels; one that is absent is 0 throughout.
        patch_key: Is given the tensor.
        mask_key: Holds the mask of the lesion, of the same shape.

    Raises:
        ValueError: If a channel holds what is no number.
    """

    def __init__(self, keys: Sequence[str], patch_key: str = "patch", mask_key: str = "mask") -> None:
        super().__init__(list(keys), allow_missing_keys=True)
        self.patch_key = patch_key
        self.mask_key = mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Return the data with the patch added."""
        mask = data[self.mask_key]
        absent = np.zeros(mask.shape[1:], dtype=np.float32)
        channels = [_array(data[key]) if key in data else absent for key in self.keys]
        patch = np.stack(channels).astype(np.float32)
        if lost := [str(key) for key, one in zip(self.keys, patch, strict=True) if not np.isfinite(one).all()]:
            raise ValueError(
                f"values around the lesion are no numbers (NaN or infinite): {', '.join(map(_name, lost))}"
            )
        return {**data, self.patch_key: MetaTensor(torch.from_numpy(patch), affine=mask.affine.clone())}


def spacing_mm(tensor: MetaTensor) -> tuple[float, float, float]:
    """Return the voxel size of a tensor (C, Z, Y, X) along Z, Y and X."""
    affine = np.asarray(tensor.affine, dtype=np.float64)
    z, y, x = (math.hypot(*column) for column in affine[:3, :3].T)
    return z, y, x


def _on_grid(image: sitk.Image, grid: sitk.Image) -> sitk.Image | None:
    """Interpolate an image at a grid's voxels; the lowest value where it does not reach, None if it reaches none."""
    whole = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    whole.CopyInformation(image)
    inside = sitk.Resample(whole, grid, sitk.Transform(), sitk.sitkNearestNeighbor)
    if not sitk.GetArrayViewFromImage(inside).any():
        return None
    if image.GetDirection() == grid.GetDirection():
        values = bspline_on_grid(image, grid)
    else:
        values = sitk.Resample(image, grid, sitk.Transform(), sitk.sitkBSpline, 0.0, image.GetPixelID())
    return sitk.Mask(values, inside, float(sitk.GetArrayViewFromImage(image).min()))


def _placed(mask: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """Return a mask on a grid that holds all its voxels, and is 0 elsewhere."""
    place = grid.TransformPhysicalPointToIndex(mask.GetOrigin())
    return sitk.Paste(grid * 0, mask, mask.GetSize(), destinationIndex=place)


def _with_remark(data: Data, text: str) -> Data:
    return {**data, "remarks": (*data.get("remarks", ()), text)}


def _name(key: str) -> str:
    return key.partition(":")[2] or key


def _told_mm(spacing_mm: Sequence[float]) -> str:
    return " × ".join(f"{step:.4g}" for step in spacing_mm) + " mm"


def _array(tensor: MetaTensor) -> NDArray:
    if tensor.ndim != 4 or tensor.shape[0] != 1:
        raise ValueError(f"expected one image of shape (1, Z, Y, X), got {tuple(tensor.shape)}")
    return tensor.as_tensor()[0].cpu().numpy()


def _like(tensor: MetaTensor, array: NDArray) -> MetaTensor:
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(array))[None], affine=tensor.affine.clone())
