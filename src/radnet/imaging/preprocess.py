"""Images and masks read, checked against each other, brought to one grid; intensities brought to a known range.

SimpleITK images carry the world's millimetres (LPS); arrays are (Z, Y, X), and every spacing here follows that order.
"""

import gzip
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it
from numpy.typing import NDArray

GEOMETRY_TOLERANCE_MM = 0.01
"""NIfTI stores its geometry in single precision, which errs by up to 0.0005 mm; a shift that matters is far greater."""

_PRE_FILTER_MARGIN = 32  # voxels; the B-spline's memory of a false border fades as 0.268 per voxel
_NOISE = 1e-6  # interpolation errs by 1e-10 of a unit, and halves are common: what is that near to one counts as one
_INTERPOLATORS = {"bspline": sitk.sitkBSpline, "linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}


def is_dicom(path: Path) -> bool:
    """Whether a path is a file that bears DICOM's mark."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_image(path: Path) -> sitk.Image:
    """Read a 3-D image in its own pixel type: a file (NIfTI, NRRD, MHA), or a DICOM series.

    Args:
        path: A file, or the folder with the files of one DICOM series; ``radnet.data.dicom.read_series`` tells more.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or is no volume of one value per voxel.
    """
    if path.is_dir() or is_dicom(path):
        from radnet.data import dicom  # half a second of pydicom and highdicom, as much as all else here together

        return dicom.read_series(path)
    return _with_nan(path, _read(path, "image"))


def read_mask(
    path: Path, reference: sitk.Image | None = None, roi_name: str | None = None, label: int = 1
) -> sitk.Image:
    """Read a 3-D mask as whole numbers: 0 is background, every other value a label.

    A file (NIfTI, NRRD, MHA) comes with all its labels, on its own grid. Of a DICOM SEG or RTSTRUCT comes one region,
    on the voxels of its image: the one of ``roi_name``, or else the segment of number ``label``. Its voxels hold
    ``label``, so that whoever looks for that value need not know where a mask came from.

    Args:
        path: The mask's file.
        reference: The image of a DICOM mask.
        roi_name: Name of the region in a DICOM mask.
        label: Of a DICOM mask, the number of the segment where no name is given, and the value of the region's voxels.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, is no volume, holds values that are no labels, or no such region.
    """
    if is_dicom(path):
        from radnet.data import dicom  # only here, as in read_image

        if reference is None:
            raise ValueError(f"{path}: a DICOM mask is read onto the voxels of its image, and none was given")
        return dicom.read_mask(path, reference, roi_name, label)
    mask = _read(path, "mask")
    if roi_name is not None:
        raise ValueError(
            f"{path}: roi_name {roi_name} names a region of a DICOM file; in NIfTI, NRRD or MHA it is told by its label"
        )
    if mask.GetPixelID() == sitk.sitkUInt8:
        return mask
    values = sitk.GetArrayViewFromImage(mask)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= np.iinfo(np.uint32).max):
        raise ValueError(f"{path}: labels of a mask are 0 or more, found values from {low:g} to {high:g}")
    if values.dtype.kind == "f" and (values != np.rint(values)).any():
        raise ValueError(f"{path}: labels of a mask are whole numbers, found others from {low:g} to {high:g}")
    return sitk.Cast(mask, sitk.sitkUInt8 if high <= 255 else sitk.sitkUInt32)


def check_geometry(image: sitk.Image, mask: sitk.Image, tolerance_mm: float = GEOMETRY_TOLERANCE_MM) -> None:
    """Check that image and mask lie on the same voxels of the world.

    Their distance is the greatest one between the same corner voxel of both, so that an error of spacing or direction
    counts by what it does at the far end of the volume.

    Raises:
        ValueError: If one is no volume of one value per voxel, if they differ in size, or lie further apart than
            ``tolerance_mm``; naming what differs.
    """
    for what, one in (("image", image), ("mask", mask)):
        if one.GetDimension() != 3 or one.GetNumberOfComponentsPerPixel() != 1:
            raise ValueError(
                f"the {what} has {one.GetDimension()} dimensions and {one.GetNumberOfComponentsPerPixel()} values per "
                "voxel, expected 3 and 1"
            )
    if image.GetSize() != mask.GetSize():
        sizes = f"{image.GetSize()[::-1]} and the mask {mask.GetSize()[::-1]}"
        raise ValueError(f"the image {sizes} differ in size (voxels along Z, Y, X)")
    corners = np.stack(np.meshgrid(*[(0, size - 1) for size in image.GetSize()]), axis=-1).reshape(-1, 3).tolist()
    apart_mm = max(
        float(
            np.linalg.norm(np.subtract(image.TransformIndexToPhysicalPoint(c), mask.TransformIndexToPhysicalPoint(c)))
        )
        for c in corners
    )
    if not apart_mm <= tolerance_mm:
        facts = {
            "spacing (X, Y, Z mm)": (image.GetSpacing(), mask.GetSpacing()),
            "origin (X, Y, Z mm)": (image.GetOrigin(), mask.GetOrigin()),
            "direction": (image.GetDirection(), mask.GetDirection()),
        }
        told = [
            f"{what} {_told(one)} and {_told(two)}" for what, (one, two) in facts.items() if _told(one) != _told(two)
        ]
        raise ValueError(
            f"the image and the mask lie up to {apart_mm:.4g} mm apart (tolerance {tolerance_mm:g} mm): "
            + ("; ".join(told) or "the sum of small differences in spacing, origin and direction")
        )


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """Return the smallest box around the voxels set, along Z, Y and X.

    Raises:
        ValueError: If no voxel is set.
    """
    plane: NDArray[np.bool_] = np.any(mask, axis=0)
    if not plane.any():
        raise ValueError("the mask has no voxel set")
    z, y, x = (_extent(np.flatnonzero(line)) for line in (mask.any(axis=(1, 2)), plane.any(axis=1), plane.any(axis=0)))
    return z, y, x


def resample(
    image: sitk.Image,
    mask: sitk.Image,
    label: int = 1,
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    pad_voxels: int = 5,
    interpolator: str = "bspline",
) -> tuple[sitk.Image, sitk.Image]:
    """Return image and mask around a lesion on one grid of the wanted spacing.

    The grid is that of pyradiomics 3.0.1 with ``resampledPixelSpacing``: that of the whole mask at the new spacing,
    cut to the lesion and ``pad_voxels`` around it, never beyond the mask. So features of what comes back, measured
    without resampling, are those pyradiomics measures with it. Where the image has the wanted spacing already it is
    cut but not interpolated; along an axis where the lesion is one voxel wide the spacing stays as it is.

    Args:
        image: Resampled in its own pixel type; an integer type truncates towards zero, as in ITK.
        mask: In the same world as the image.
        label: Value of the lesion's voxels.
        spacing_mm: Wanted voxel size along Z, Y and X; 0 keeps the mask's.
        pad_voxels: New voxels kept around the lesion, for filters to work on.
        interpolator: ``bspline`` (order 3), ``linear`` or ``nearest``, for the image; the mask takes the nearest voxel.

    Returns:
        The image, and a mask of 8 bits in which the lesion is 1 and everything else 0.

    Raises:
        ValueError: If the label is not in the mask, or its box reaches beyond the image.
    """
    low, size = _label_box(mask, label)
    _check_box_inside(image, mask, low, size)
    old = np.array(mask.GetSpacing())
    wanted = np.array(spacing_mm, dtype=float)[::-1]
    new = np.where((wanted == 0) | (size == 1), old, wanted)
    if np.allclose(image.GetSpacing(), new):
        return _cut(image, _on_grid_of(image, mask), label, pad_voxels)
    ratio = old / new
    first = np.maximum(np.floor((low - 0.5) * ratio - pad_voxels), 0)
    last = np.minimum(np.ceil((low + size - 0.5) * ratio + pad_voxels), np.ceil(np.array(mask.GetSize()) * ratio) - 1)
    start = 0.5 * (new - old) / old + first / ratio  # centre of the first new voxel, as a continuous index of the mask
    grid = sitk.ResampleImageFilter()
    grid.SetSize([int(voxels) for voxels in last - first + 1])
    grid.SetOutputSpacing(new.tolist())
    grid.SetOutputDirection(mask.GetDirection())
    grid.SetOutputOrigin(mask.TransformContinuousIndexToPhysicalPoint(start.tolist()))
    grid.SetInterpolator(sitk.sitkNearestNeighbor)
    new_mask = grid.Execute(mask) == label  # from the whole mask: a cut one would settle ties of two voxels otherwise
    grid.SetInterpolator(_INTERPOLATORS[interpolator])
    if interpolator == "bspline" and image.GetDirection() == mask.GetDirection():
        from radnet.imaging import bspline  # numba, which neither `radnet check` nor the simulator needs

        return bspline.bspline_on_grid(image, new_mask), new_mask
    on_old_voxels = all(_meets(start[axis], new[axis] / old[axis], last[axis] - first[axis]) for axis in range(3))
    if interpolator == "bspline" and on_old_voxels and image.GetPixelID() not in (sitk.sitkFloat32, sitk.sitkFloat64):
        # A spline gives back an old voxel's whole number with an error of 1e-13 either way, and truncation makes one
        # unit of it. Only the whole image's arithmetic repeats pyradiomics' rounding.
        return grid.Execute(image), new_mask
    return grid.Execute(_cut_to_grid(image, new_mask)), new_mask


def resample_ibsi(
    image: sitk.Image,
    mask: sitk.Image,
    label: int = 1,
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    pad_voxels: int | None = None,
    interpolator: str = "bspline",
) -> tuple[sitk.Image, sitk.Image]:
    """Return image and mask around a lesion on one grid of the wanted spacing, by the rules of the IBSI standard.

    The new grid has its centre where the image has its own, and as many voxels as are needed to hold the image. An
    image of whole numbers, as CT is in Hounsfield units, is rounded to whole numbers after interpolation, whatever its
    pixel type; half a unit goes up. A voxel belongs to the lesion where linear interpolation of the old mask gives 0.5
    or more. An axis of the wanted spacing is not interpolated.

    Args:
        image: Resampled in double precision, and given back in its own pixel type.
        mask: On the same voxels of the world as the image.
        label: Value of the lesion's voxels.
        spacing_mm: Wanted voxel size along Z, Y and X; 0 keeps the image's, as Z does in a 2-D analysis.
        pad_voxels: New voxels kept around the lesion, for filters to work on; None keeps the whole grid.
        interpolator: ``bspline`` (order 3), ``linear`` or ``nearest``, for the image.

    Returns:
        The image, and a mask of 8 bits in which the lesion is 1 and everything else 0.

    Raises:
        ValueError: If the label is not in the mask, or no voxel of the lesion is left at the new spacing.

    References:
        Zwanenburg et al., Image biomarker standardisation initiative: reference manual, arXiv:1612.07003, on
        interpolation.
    """
    mask = _on_grid_of(image, mask)
    low, box_size = _label_box(mask, label)
    old, size = np.array(image.GetSpacing()), np.array(image.GetSize())
    wanted = np.array(spacing_mm, dtype=float)[::-1]
    new = np.where((wanted == 0) | np.isclose(wanted, old), old, wanted)
    # NIfTI's spacing errs in its 7th digit, which must not add a plane of voxels.
    new_size = np.maximum(np.ceil(size * old / new - 1e-4), 1).astype(int)
    step = new / old
    start = 0.5 * (size - 1 - step * (new_size - 1))  # centre of the first new voxel, as a continuous index of the old
    first, last = np.zeros(3, dtype=int), new_size - 1
    if pad_voxels is not None:  # an old voxel lends a share of itself to new ones less than one old voxel away
        first = np.maximum(np.floor((low - 1 - start) / step).astype(int) - pad_voxels, first)
        last = np.minimum(np.ceil((low + box_size - start) / step).astype(int) + pad_voxels, last)
    grid = sitk.ResampleImageFilter()
    grid.SetSize((last - first + 1).tolist())
    grid.SetOutputSpacing(new.tolist())
    grid.SetOutputDirection(image.GetDirection())
    grid.SetOutputOrigin(image.TransformContinuousIndexToPhysicalPoint((start + first * step).tolist()))
    grid.SetOutputPixelType(sitk.sitkFloat64)
    grid.SetInterpolator(sitk.sitkLinear)
    template = grid.Execute(mask == label)
    new_mask = template >= 0.5 - _NOISE  # a share of exactly one half must not be lost to rounding
    if not sitk.GetArrayViewFromImage(new_mask).any():
        raise ValueError(f"no voxel is half filled by the lesion at {_told(new[::-1].tolist())} mm (Z, Y, X)")
    if (new == old).all():
        return _region(image, first, last + 1), new_mask
    grid.SetInterpolator(_INTERPOLATORS[interpolator])
    new_image = grid.Execute(_cut_to_grid(image, template))
    if _whole_numbers(image):
        rounded = sitk.GetImageFromArray(np.floor(sitk.GetArrayViewFromImage(new_image) + (0.5 + _NOISE)))
        rounded.CopyInformation(new_image)
        new_image = rounded
    return sitk.Clamp(new_image, image.GetPixelID()), new_mask


def normalize(image: sitk.Image, scale: float = 1.0, outliers_sd: float | None = None) -> sitk.Image:
    """Bring a whole image to mean 0 and standard deviation ``scale``, background included, as pyradiomics does.

    Args:
        image: Any spacing.
        scale: Standard deviation wanted.
        outliers_sd: Values further from the mean than this many standard deviations are brought to it; None keeps all.

    Raises:
        ValueError: If the image has one value throughout.
    """
    values = sitk.GetArrayViewFromImage(image)
    if values.min() == values.max():
        raise ValueError(f"an image of one value throughout ({values.min():g}) cannot be normalised")
    normal = sitk.Normalize(image)
    if outliers_sd is not None:
        normal = sitk.Clamp(normal, sitk.sitkFloat64, -outliers_sd, outliers_sd)
    normal = normal * scale
    for key in image.GetMetaDataKeys():  # a DICOM mask is matched by the image's UIDs, which ITK's filters drop
        normal.SetMetaData(key, image.GetMetaData(key))
    return normal


def crop(image: sitk.Image, mask: sitk.Image, margin_mm: float) -> tuple[sitk.Image, sitk.Image]:
    """Cut image and mask to the box of all voxels set and at least ``margin_mm`` around it, within the image.

    The cut keeps every voxel where it was in the world. It moves the grid that ``resample`` would choose: crop after.
    """
    if image.GetSize() != mask.GetSize():
        raise ValueError(f"image {image.GetSize()[::-1]} and mask {mask.GetSize()[::-1]} differ in size")
    margin = np.ceil(margin_mm / np.array(mask.GetSpacing())).astype(int)
    box = bounding_box(sitk.GetArrayViewFromImage(mask) != 0)[::-1]
    low = np.maximum([side.start for side in box] - margin, 0)
    high = np.minimum([side.stop for side in box] + margin, mask.GetSize())
    return _region(image, low, high), _region(mask, low, high)


def window(array: NDArray, low: float, high: float) -> NDArray[np.float32]:
    """Clip intensities (Hounsfield units on CT) to ``low`` … ``high``."""
    _check_window(low, high)
    return np.clip(array, low, high).astype(np.float32)


def unit_range(array: NDArray, low: float, high: float) -> NDArray[np.float32]:
    """Map intensities from ``low`` … ``high`` to 0 … 1, clipping those beyond.

    Example:
        >>> unit_range(np.array([-1000.0, -160.0, 40.0, 240.0]), low=-160.0, high=240.0)
        array([0. , 0. , 0.5, 1. ], dtype=float32)
    """
    _check_window(low, high)
    return ((np.clip(array, low, high).astype(np.float64) - low) / (high - low)).astype(np.float32)


def z_score(array: NDArray, foreground: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return (value - mean) / standard deviation, both taken over ``foreground`` (population form).

    Raises:
        ValueError: If the foreground is empty or has one value throughout.
    """
    values = np.asarray(array)[foreground].astype(np.float64)
    if values.size == 0:
        raise ValueError("a z-score needs a foreground, but no voxel of it is set")
    if (spread := values.std()) == 0:
        raise ValueError(f"a z-score needs a foreground of more than one value, all of it is {values[0]:g}")
    return ((array - values.mean()) / spread).astype(np.float32)


def _read(path: Path, noun: str) -> sitk.Image:
    if path.is_dir():
        raise ValueError(f"{path}: expected one {noun} file (NIfTI, NRRD, MHA or DICOM), found a folder")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such {noun} file")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:  # ITK tells where it stood in its own source, then the cause, and a guess at a reason
        lines = [line.strip() for line in str(error).splitlines()]
        cause = [line for line in lines if line and not line.startswith("Reason:")][-1]
        raise ValueError(f"{path}: the {noun} cannot be read as NIfTI, NRRD or MHA: {cause}") from error
    if image.GetDimension() != 3:
        raise ValueError(
            f"{path}: the {noun} has {image.GetDimension()} dimensions {image.GetSize()[::-1]}, expected 3"
        )
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(f"{path}: the {noun} has {image.GetNumberOfComponentsPerPixel()} values per voxel, expected 1")
    if path.name.endswith((".nii", ".nii.gz")) and not _is_whole(path, image):
        raise ValueError(f"{path}: the {noun} file ends too early, or its compressed data are damaged: copy it anew")
    return image


def _with_nan(path: Path, image: sitk.Image) -> sitk.Image:
    """Put back the voxels of a NIfTI that are no numbers: ITK reads each as 0 and says nothing."""
    kinds = {"16": "f4", "64": "f8"}  # nifti1.h: DT_FLOAT32, DT_FLOAT64
    kind = kinds.get(image.GetMetaData("datatype")) if image.HasMetaDataKey("datatype") else None
    values = sitk.GetArrayViewFromImage(image)
    if kind is None or not path.name.endswith((".nii", ".nii.gz")) or values.all():
        return image
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        little = int.from_bytes(file.read(4), "little") in (348, 540)  # the header's size comes first
        file.seek(int(float(image.GetMetaData("vox_offset"))))
        raw = np.frombuffer(file.read(values.size * int(kind[1])), ("<" if little else ">") + kind)
    lost = ~np.isfinite(raw).reshape(values.shape)
    if not lost.any():
        return image
    restored = sitk.GetImageFromArray(np.where(lost, np.nan, values).astype(values.dtype))
    restored.CopyInformation(image)
    return restored


def _is_whole(path: Path, image: sitk.Image) -> bool:
    """Whether a NIfTI file holds all its voxels: ITK fills what is missing with 0 and says nothing."""
    voxels_start = int(float(image.GetMetaData("vox_offset")))
    needed = voxels_start + image.GetNumberOfPixels() * int(image.GetMetaData("bitpix")) // 8
    if path.suffix != ".gz":
        return path.stat().st_size >= needed
    with path.open("rb") as file:  # a whole file ends in its length uncompressed, modulo 2³²
        file.seek(-4, os.SEEK_END)
        if int.from_bytes(file.read(), "little") == needed % 2**32:
            return True
    try:  # the length may be that of a last part, or of a file with more behind its voxels
        with gzip.open(path) as file:
            return sum(len(block) for block in iter(lambda: file.read(2**20), b"")) >= needed
    except (EOFError, OSError, zlib.error):
        return False


def _extent(places: NDArray[np.intp]) -> slice:
    return slice(int(places[0]), int(places[-1]) + 1)


def _label_box(mask: sitk.Image, label: int) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Return the first voxel and the number of voxels of a label's box, along X, Y and Z."""
    if label < 1:
        raise ValueError(f"label {label} is background: the labels of a mask start at 1")
    values = sitk.GetArrayViewFromImage(mask)
    planes, shadow = [], np.zeros(values.shape[1:], dtype=bool)
    for z in _planes_set(values):
        here = values[z] == label
        if here.any():
            planes.append(z)
            shadow |= here
    if not planes:
        found = [int(value) for value in np.unique(values) if value != 0]
        if not found:
            raise ValueError("the mask is empty: no voxel is set")
        raise ValueError(f"the mask has no label {label}; it has {', '.join(map(str, found[:10]))}")
    places = np.flatnonzero(shadow.any(axis=0)), np.flatnonzero(shadow.any(axis=1)), np.array(planes)
    return np.array([place[0] for place in places]), np.array([place[-1] - place[0] + 1 for place in places])


def _planes_set(values: NDArray) -> NDArray[np.intp]:
    """Return which planes along Z hold anything: by words of 8 bytes, as fast as memory is read."""
    rows = values.reshape(len(values), -1).view(np.uint8)
    words = rows.view(np.uint64) if rows.shape[1] % 8 == 0 else rows
    return np.flatnonzero(np.bitwise_or.reduce(words, axis=1))


def _check_box_inside(image: sitk.Image, mask: sitk.Image, low: NDArray[np.int_], size: NDArray[np.int_]) -> None:
    corners = [
        image.TransformPhysicalPointToContinuousIndex(mask.TransformContinuousIndexToPhysicalPoint(corner.tolist()))
        for corner in (low - 0.5, low + size - 0.5)
    ]
    tolerance = 1e-3  # voxel, pyradiomics' own
    least, most = np.min(corners, axis=0), np.max(corners, axis=0)
    if (least < -0.5 - tolerance).any() or (most > np.array(image.GetSize()) - 0.5 + tolerance).any():
        raise ValueError(
            f"the lesion's box, voxels {_told(least[::-1])} to {_told(most[::-1])} of the image, reaches beyond the "
            f"image {image.GetSize()[::-1]} (Z, Y, X)"
        )


def _cut(image: sitk.Image, mask: sitk.Image, label: int, pad_voxels: int) -> tuple[sitk.Image, sitk.Image]:
    low, size = _label_box(mask, label)
    high = np.minimum(low + size + pad_voxels, image.GetSize())
    low = np.maximum(low - pad_voxels, 0)
    return _region(image, low, high), _region(mask, low, high) == label


def _on_grid_of(image: sitk.Image, mask: sitk.Image) -> sitk.Image:
    if image.GetSize() == mask.GetSize() and image.IsCongruentImageGeometry(mask, 0.0, 0.0):
        return mask
    return sitk.Resample(mask, image, sitk.Transform(), sitk.sitkNearestNeighbor)


def _cut_to_grid(image: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """Cut an image to what a B-spline onto ``grid`` can feel, clipped at the image's true border."""
    corners = np.stack(np.meshgrid(*[(0, size - 1) for size in grid.GetSize()]), axis=-1).reshape(-1, 3).tolist()
    points = [grid.TransformIndexToPhysicalPoint(corner) for corner in corners]
    places = np.array([image.TransformPhysicalPointToContinuousIndex(point) for point in points])
    low = np.maximum(np.floor(places.min(axis=0)).astype(int) - _PRE_FILTER_MARGIN, 0)
    high = np.minimum(np.ceil(places.max(axis=0)).astype(int) + _PRE_FILTER_MARGIN + 1, image.GetSize())
    return _region(image, low, high)


def _whole_numbers(image: sitk.Image) -> bool:
    if image.GetPixelID() not in (sitk.sitkFloat32, sitk.sitkFloat64):
        return True
    return all(bool((plane == np.rint(plane)).all()) for plane in sitk.GetArrayViewFromImage(image))


def _meets(start: float, step: float, steps: float) -> bool:
    """Whether a new voxel centre falls on an old one along an axis."""
    places = start + step * np.arange(int(steps) + 1)
    return bool((np.abs(places - np.rint(places)) < 1e-6).any())


def _region(image: sitk.Image, low: NDArray[np.int_], high: NDArray[np.int_]) -> sitk.Image:
    return sitk.RegionOfInterest(image, [int(size) for size in high - low], [int(start) for start in low])


def _check_window(low: float, high: float) -> None:
    if not low < high:
        raise ValueError(f"a window's low must be less than its high, got {low} and {high}")


def _told(numbers: Sequence[float]) -> str:
    return "(" + ", ".join(f"{number:.6g}" for number in numbers) + ")"
