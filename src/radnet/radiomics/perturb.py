"""A lesion perturbed before it is measured: with more noise in its image, or with another contour.

After Zwanenburg et al., Assessing robustness of radiomic features by image perturbation, Sci Rep 2019;9:614. Where the
paper randomises a contour by supervoxels, the border is displaced here by a smooth random field, for the same purpose:
another delineation as a reader might draw it.
"""

import math
from collections.abc import Sequence

import numpy as np
import pywt
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it
from numpy.typing import NDArray

from radnet.imaging.preprocess import bounding_box
from radnet.radiomics.perturbation import Perturbation

CONTOUR_SD_MM = 1.0
"""How far ``randomise`` displaces a contour; ours, as readers of CT part by about that."""
CONTOUR_CORRELATION_MM = 5.0
"""How far along the contour a displacement holds on; ours."""

_NEAR_MM = 30.0  # what is further from a lesion touches neither its contour nor a filter's value within it
_WAVELET = "coif1"  # orthonormal, so that white noise has the same SD in every band
_MAD_OF_NORMAL = 0.6744897501960817  # median of |z| where z is standard normal


def perturbed(
    image: sitk.Image, mask: sitk.Image, label: int, how: Perturbation, seed: int
) -> tuple[sitk.Image, sitk.Image]:
    """Return an image with noise added, or a mask with another contour, and the other as it is.

    Args:
        image: Normalised already, where the settings want it.
        mask: On the same voxels of the world as the image.
        label: Value of the lesion's voxels, in what comes back too; another contour comes without other labels.
        how: No turn and no translation: those are of the grid (``moved``).
        seed: Of what a random kind draws.

    Raises:
        ValueError: If the mask has no such label, or nothing is left of the lesion.
    """
    lesion = sitk.GetArrayViewFromImage(mask) == label
    if not lesion.any():
        raise ValueError(f"the mask has no label {label}")
    spacing_mm = mask.GetSpacing()[::-1]
    box = _near(lesion, spacing_mm)
    if how.kind == "noise":
        near = sitk.GetArrayViewFromImage(image)[box]
        noise = np.random.default_rng(seed).normal(0.0, noise_sd(near), near.shape)
        return with_noise(image, box, noise), mask
    return image, _with_contour(mask, label, box, _contour(lesion[box], spacing_mm, how, seed))


def noise_sd(values: NDArray) -> float:
    """Estimate the SD of an image's noise, from the median of its finest diagonal wavelet coefficients within slices.

    Tissue varies slowly from voxel to voxel and hardly enters these coefficients; noise does. A slice of fewer than two
    rows or columns has none.

    Args:
        values: Intensities, shape (Z, Y, X); what is no number is not looked at.

    Raises:
        ValueError: If no coefficient is known.

    References:
        Chang, Yu, Vetterli. Adaptive wavelet thresholding for image denoising and compression. IEEE Trans Image Process
        2000;9:1532-1546, equation 13.
    """
    _, rows, columns = values.shape
    if min(rows, columns) < 2:
        raise ValueError(f"the noise of an image {values.shape} (Z, Y, X) cannot be told: slices need two rows")
    # Periodic and of even size, the transform is orthonormal up to the border: mirrored noise has another SD there.
    even = np.asarray(values[:, : rows - rows % 2, : columns - columns % 2], dtype=np.float64)
    _, (_, _, diagonal) = pywt.dwt2(even, _WAVELET, mode="periodization", axes=(1, 2))
    known = np.abs(diagonal[np.isfinite(diagonal)])
    if not known.size:
        raise ValueError("the noise of an image without numbers (all NaN or infinite) cannot be told")
    return float(np.median(known) / _MAD_OF_NORMAL)


def with_noise(image: sitk.Image, box: tuple[slice, ...], noise: NDArray[np.float64]) -> sitk.Image:
    """Return an image with noise added within a box of voxels; whole numbers are rounded and held in their range."""
    values = sitk.GetArrayFromImage(image)
    values[box] = _as_pixels(values[box] + noise, values.dtype)
    return _image_like(values, image)


def _contour(lesion: NDArray[np.bool_], spacing_mm: Sequence[float], how: Perturbation, seed: int) -> NDArray[np.bool_]:
    from radnet.radiomics.contour import displaced, resized, smooth_field  # loads scipy, which few settings need

    if how.kind == "randomise":
        rng = np.random.default_rng(seed)
        outward_mm = smooth_field(lesion.shape, spacing_mm, CONTOUR_SD_MM, CONTOUR_CORRELATION_MM, rng)
        return displaced(lesion, spacing_mm, outward_mm)
    part = how.amounts[0] / 100
    return resized(lesion, spacing_mm, 1 + part if how.kind == "grow" else 1 - part)


def _near(lesion: NDArray[np.bool_], spacing_mm: Sequence[float]) -> tuple[slice, ...]:
    margin = [math.ceil(_NEAR_MM / step) for step in spacing_mm]
    return tuple(
        slice(max(side.start - more, 0), side.stop + more)
        for side, more in zip(bounding_box(lesion), margin, strict=True)
    )


def _with_contour(mask: sitk.Image, label: int, box: tuple[slice, ...], lesion: NDArray[np.bool_]) -> sitk.Image:
    new = np.zeros(mask.GetSize()[::-1], dtype=np.uint8 if label <= 255 else np.uint32)
    new[box] = label * lesion
    return _image_like(new, mask)


def _as_pixels(values: NDArray, dtype: np.dtype) -> NDArray:
    if dtype.kind not in "iu":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def _image_like(values: NDArray, geometry: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(geometry)
    return image
