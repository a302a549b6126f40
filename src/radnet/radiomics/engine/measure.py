"""A lesion measured by the native engine: every image type's grey levels, and the feature classes on them."""

from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it
from numpy.typing import NDArray

from radnet.radiomics.engine.discretise import grey_levels
from radnet.radiomics.engine.filters import filtered_values
from radnet.radiomics.engine.firstorder import first_order
from radnet.radiomics.engine.glcm import glcm
from radnet.radiomics.engine.gldm import gldm
from radnet.radiomics.engine.glrlm import glrlm
from radnet.radiomics.engine.glszm import glszm
from radnet.radiomics.engine.ngtdm import ngtdm
from radnet.radiomics.engine.region import GreyLevels, Region
from radnet.radiomics.engine.resegment import resegmented_mask
from radnet.radiomics.engine.shape import shape
from radnet.radiomics.engine.sweep import sweep
from radnet.radiomics.settings import ExtractionSettings, feature_names

_OF_THE_SWEEP = {"glrlm", "glszm", "gldm", "ngtdm"}


def measure(image: sitk.Image, mask: sitk.Image, settings: ExtractionSettings) -> dict[str, float]:
    """Return a value for every name of ``feature_names(settings)``, in that order.

    Args:
        image: The padded grid that filters work on, at the spacing to be measured at.
        mask: 1 in the lesion, 0 elsewhere, on the same grid.
        settings: How to measure.

    Raises:
        ValueError: If no lesion of two axes is left after resegmentation, or its values cannot be binned.
    """
    array = sitk.GetArrayViewFromImage(image)
    spacing_mm = image.GetSpacing()[::-1]
    whole = Region.of(sitk.GetArrayViewFromImage(mask) != 0, spacing_mm)
    region = whole
    if settings.resegment_range is not None or settings.resegment_sigma is not None:
        inside = resegmented_mask(array, sitk.GetArrayViewFromImage(mask) != 0, settings)
        region = _measurable(Region.of(inside, spacing_mm), settings)
    found: dict[str, float] = {}
    if "shape" in settings.classes:
        found |= _named("original_shape", shape(region if settings.resegment_shape else whole, settings.definitions))
    if settings.classes != ("shape",):
        for name, values in _images(array, region, settings):
            for feature_class, features in _classes(name, values, region, settings):
                found |= _named(f"{name}_{feature_class}", features)
    return {name: found[name] for name in feature_names(settings)}


def _images(array: NDArray, region: Region, settings: ExtractionSettings) -> Iterator[tuple[str, NDArray]]:
    if settings.definitions == "pyradiomics":
        yield from filtered_values(array, region, settings)
        return
    from radnet.radiomics.engine.ibsi_filters import ibsi_filtered  # loads scipy, which only these settings need

    if settings.original:
        yield "original", array[region.box][region.inside]
    for name, response in ibsi_filtered(array, region.spacing_mm, settings):
        yield name, response[region.box][region.inside]


def _classes(
    image: str, values: NDArray, region: Region, settings: ExtractionSettings
) -> Iterator[tuple[str, dict[str, float]]]:
    chosen = settings.classes
    grey = grey_levels(values, region, settings, filtered=image != "original")
    if "firstorder" in chosen:
        yield "firstorder", first_order(values, grey, region, settings)
    if "glcm" in chosen:
        yield "glcm", glcm(grey, region, settings)
    if _OF_THE_SWEEP & set(chosen):
        yield from _swept(grey, region, settings)


def _swept(grey: GreyLevels, region: Region, settings: ExtractionSettings) -> Iterator[tuple[str, dict[str, float]]]:
    counted = sweep(grey, region, settings)
    if "gldm" in settings.classes:
        yield "gldm", gldm(counted.dependences)
    if "glrlm" in settings.classes:
        yield "glrlm", glrlm(counted.runs, region, settings)
    if "glszm" in settings.classes:
        yield "glszm", glszm(counted.zones)
    if "ngtdm" in settings.classes:
        yield "ngtdm", ngtdm(counted.tones, settings.definitions)


def _named(prefix: str, features: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in features.items()}


def _measurable(region: Region, settings: ExtractionSettings) -> Region:
    """Refuse what resegmentation left too small, as it is refused before."""
    if region.voxels < settings.minimum_voxels:
        raise ValueError(f"{region.voxels} voxels are left in the range, minimum_voxels is {settings.minimum_voxels}")
    if np.count_nonzero(np.array(region.inside.shape) > 1) < 2:
        raise ValueError(f"the {region.voxels} voxels left in the range lie in a line: texture needs two axes")
    return region
