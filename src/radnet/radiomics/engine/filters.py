"""The filtered images that the settings ask for, at a lesion's voxels."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from radnet.radiomics.engine.gradient import gradient_magnitude
from radnet.radiomics.engine.laplacian import laplacian_of_gaussian
from radnet.radiomics.engine.pointwise import pointwise_values
from radnet.radiomics.engine.region import Region
from radnet.radiomics.engine.wavelet import wavelet_bands, wavelet_bands_of_slices
from radnet.radiomics.settings import ExtractionSettings


def filtered_values(image: NDArray, region: Region, settings: ExtractionSettings) -> Iterator[tuple[str, NDArray]]:
    """Yield the values at a region's voxels of each image the settings ask for, as pyradiomics defines it.

    Args:
        image: The whole grid, shape (Z, Y, X), in the type it was resampled in: filters see its border.
        region: Where values are wanted, in the grid.
        settings: Which images.

    Yields:
        Name of the image as in ``feature_names`` and in its order, and its values, shape (V,), of the type pyradiomics
        would measure: the image's own for ``original`` and ``lbp-2D``, float32 for Laplacian of Gaussian and gradient,
        float64 for others, but wavelet bands of a float32 image are float32.

    Raises:
        ValueError: If the grid is too small for a filter.
    """
    if settings.original:
        yield "original", image[region.box][region.inside]
    for sigma_mm in settings.log_sigma_mm:
        yield f"log-sigma-{str(sigma_mm).replace('.', '-')}-mm-3D", laplacian_of_gaussian(image, region, sigma_mm)
    if settings.wavelet:
        for letters, values in _wavelet_bands(image, region, settings):
            yield f"wavelet-{letters}", values
    for name in settings.pointwise:
        yield name, pointwise_values(name, image, region)
    if settings.gradient:
        yield "gradient", gradient_magnitude(image, region)
    if settings.lbp_2d or settings.lbp_3d:
        yield from _patterns(image, region, settings)


def _wavelet_bands(
    image: NDArray, region: Region, settings: ExtractionSettings
) -> Iterator[tuple[str, NDArray[np.floating]]]:
    if settings.force_2d:
        return wavelet_bands_of_slices(image, region, settings.wavelet_name, settings.force_2d_axis)
    return wavelet_bands(image, region, settings.wavelet_name)


def _patterns(image: NDArray, region: Region, settings: ExtractionSettings) -> Iterator[tuple[str, NDArray]]:
    from radnet.radiomics.engine import patterns  # loads scipy's interpolation, which few settings need

    if settings.lbp_2d:
        yield "lbp-2D", patterns.circular_patterns(image, region, settings.force_2d_axis)
    if settings.lbp_3d:
        for level, values in patterns.spherical_patterns(image, region):
            yield f"lbp-3D-{level}", values
