"""Filters as the IBSI standard defines them: Laplacian of Gaussian and separable wavelets.

pyradiomics' own, in ``laplacian`` and ``wavelet``, answer otherwise: its Laplacian is a recursion that comes near the
kernel and is multiplied by sigma², and each has its own rule at the border. Far from it the wavelets are the same.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pywt
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

from radnet.radiomics.settings import Boundary, ExtractionSettings

SCIPY_MODES: dict[Boundary, str] = {"mirror": "reflect", "nearest": "nearest", "zero": "constant", "periodic": "wrap"}
"""The words of ``scipy.ndimage`` for IBSI's rules of how an image goes on; ``mirror`` repeats the voxel at the edge."""

_TRUNCATION = 4.0  # sigmas; the value of every reference map of IBSI 2


def ibsi_filtered(
    image: NDArray, spacing_mm: Sequence[float], settings: ExtractionSettings
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield the responses of the settings' Laplacian of Gaussian and wavelet filters, by the rules of IBSI 2.

    Laplacian of Gaussian (IBSI: L6PA) for each ``log_sigma_mm``, in three dimensions, then the bands of one level of
    the undecimated separable wavelet transform, letters along X, Y and Z; with ``force_2d`` of the two axes
    within slices alone. Both go on beyond the border by ``settings.boundary``, so an image must come with
    ``reach_voxels`` around its lesion, or with its own border.

    Args:
        image: Intensities, shape (Z, Y, X).
        spacing_mm: Voxel size along Z, Y and X.
        settings: Which filters; names are those of ``feature_names``.

    Yields:
        Name of the filtered image, and its values, shape (Z, Y, X).

    References:
        Whybra et al., Radiology 2024, 310(2) e231319; Depeursinge et al., arXiv:2006.05470.
    """
    intensity = np.ascontiguousarray(image, dtype=np.float64)
    for sigma_mm in settings.log_sigma_mm:
        response = laplacian_of_gaussian(intensity, spacing_mm, sigma_mm, settings.boundary)
        yield f"log-sigma-{str(sigma_mm).replace('.', '-')}-mm-3D", response
    if settings.wavelet:
        bands = _bands(intensity, _axes_of_letters(settings), settings)
        smoothest = next(bands)  # comes last among the features
        yield from bands
        yield smoothest


def laplacian_of_gaussian(
    image: NDArray[np.float64], spacing_mm: Sequence[float], sigma_mm: float, boundary: Boundary
) -> NDArray[np.float64]:
    """Return the Laplacian of Gaussian of an image, shape (Z, Y, X), its kernel sampled and cut at 4 sigma.

    IBSI gives the kernel for voxels that are as long as wide, its Laplacian per voxel squared. Where they are not, the
    Laplacian is that of the world, per square of the voxels' geometric mean size. The second derivative is made to sum
    to 0, which sampling and cutting miss by up to 0.3 % of 1/sigma², lest an offset of 1000 HU be a response of 3 HU.
    """
    sigmas = [sigma_mm / step for step in spacing_mm]
    mean_mm = math.prod(spacing_mm) ** (1 / 3)
    mode = SCIPY_MODES[boundary]
    smooth, bend = image, np.zeros_like(image)  # over the axes done: smoothed along all; bent along one, summed
    for axis, (sigma, step) in enumerate(zip(sigmas, spacing_mm, strict=True)):
        gaussian, second = _kernels(sigma)
        bend = convolve1d(bend, gaussian, axis=axis, mode=mode) if axis else bend
        bend += convolve1d(smooth, second * (mean_mm / step) ** 2, axis=axis, mode=mode)
        smooth = convolve1d(smooth, gaussian, axis=axis, mode=mode)
    return bend


def reach_voxels(spacing_mm: Sequence[float], settings: ExtractionSettings) -> int | None:
    """Return how many voxels around a lesion its filters see; None if they see the whole image (periodic border)."""
    if settings.boundary == "periodic":
        return None
    reach = [math.floor(_TRUNCATION * sigma / min(spacing_mm) + 0.5) for sigma in settings.log_sigma_mm]
    if settings.wavelet:
        reach.append(pywt.Wavelet(settings.wavelet_name).dec_len // 2)
    return max(reach, default=0)


def _kernels(sigma: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    radius = math.floor(_TRUNCATION * sigma + 0.5)
    place = np.arange(-radius, radius + 1, dtype=np.float64)
    gaussian = np.exp(-0.5 * (place / sigma) ** 2) / (math.sqrt(2 * math.pi) * sigma)
    second = ((place / sigma) ** 2 - 1) / sigma**2 * gaussian
    return gaussian, second - second.mean()


def _axes_of_letters(settings: ExtractionSettings) -> list[int]:
    """Return the array's axes that wavelets run along, in the order of a band's letters: X, Y, Z."""
    return [axis for axis in (2, 1, 0) if not (settings.force_2d and axis == settings.force_2d_axis)]


def _bands(
    image: NDArray[np.float64], axes: list[int], settings: ExtractionSettings, name: str = "wavelet-"
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    if not axes:
        yield name, image
        return
    wavelet = pywt.Wavelet(settings.wavelet_name)
    for letter, taps in (("L", wavelet.dec_lo), ("H", wavelet.dec_hi)):
        half = convolve1d(image, np.array(taps), axis=axes[0], mode=SCIPY_MODES[settings.boundary])
        yield from _bands(half, axes[1:], settings, name + letter)
