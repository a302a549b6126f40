"""The engines that can measure a lesion, by name."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it

from radnet.kernels import compile_once
from radnet.radiomics import reference
from radnet.radiomics.settings import ExtractionSettings


def _nothing() -> None:
    """Prepare an engine that needs no preparation."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What turns a prepared image and region into features.

    Attributes:
        version: Returns the engine's version; raises ImportError, with what to install, if it is not there.
        measure: Takes an image and a mask (1 in the region, 0 elsewhere) on one grid that already has the settings'
            spacing, padded by ``scan.PAD_VOXELS``; returns every name of ``feature_names(settings)``.
        prepare: Does once what each of several processes would do for itself, such as to compile.
    """

    version: Callable[[], str]
    measure: Callable[[sitk.Image, sitk.Image, ExtractionSettings], dict[str, float]]
    prepare: Callable[[], object] = _nothing


def engine_named(name: str) -> Engine:
    """Return an engine of ``ENGINES``.

    Raises:
        ValueError: If there is none of this name.
    """
    if name not in ENGINES:
        raise ValueError(f"there is no engine {name}; engines are {', '.join(ENGINES)}")
    return ENGINES[name]


def _native_version() -> str:
    return NATIVE_VERSION


def _measure_natively(image: sitk.Image, mask: sitk.Image, settings: ExtractionSettings) -> dict[str, float]:
    from radnet.radiomics.engine.measure import measure  # loads the compiled kernels, which only measuring needs

    _prepare_natively()
    return measure(image, mask, settings)


def _prepare_natively() -> None:
    compile_once(_measure_tiny_lesions)


def _measure_tiny_lesions() -> None:
    """Measure one of each pixel type, which has every kernel compiled that most settings use, and kept."""
    from radnet.imaging.bspline import bspline_on_grid
    from radnet.radiomics.engine.measure import measure

    noise = np.random.default_rng(0).normal(0, 100, (14, 14, 14))
    inside = np.zeros(noise.shape, dtype=np.uint8)
    inside[4:10, 4:10, 4:9] = 1
    settings = ExtractionSettings("any", log_sigma_mm=(1.0,))
    mask = sitk.GetImageFromArray(inside)
    for kind in (np.int16, np.int32, np.float32, np.float64):
        image = sitk.GetImageFromArray(noise.astype(kind))
        image.SetSpacing((1.1, 1.1, 1.1))
        measure(bspline_on_grid(image, mask), mask, settings)


NATIVE_VERSION = "1"
"""Raise it when the native engine gives other values than before: what was measured with another is measured anew."""

ENGINES = {
    "native": Engine(_native_version, _measure_natively, _prepare_natively),
    "pyradiomics": Engine(reference.version, reference.features),
}
