"""The engines that can measure a lesion, by name."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it

from radnet.radiomics import reference
from radnet.radiomics.settings import ExtractionSettings


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
    prepare: Callable[[], object] = bool


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

    return measure(image, mask, settings)


def _compile() -> None:
    """Measure a tiny lesion of each pixel type there is, which leaves compiled kernels on the disk."""
    noise = np.random.default_rng(0).normal(0, 100, (12, 12, 12))
    inside = np.zeros(noise.shape, dtype=np.uint8)
    inside[3:9, 3:9, 3:8] = 1
    for kind in (np.int16, np.float32):
        settings = ExtractionSettings("any", log_sigma_mm=(1.0,))
        _measure_natively(sitk.GetImageFromArray(noise.astype(kind)), sitk.GetImageFromArray(inside), settings)


NATIVE_VERSION = "1"
"""Raise it when the native engine gives other values than before: what was measured with another is measured anew."""

ENGINES = {
    "native": Engine(_native_version, _measure_natively, _compile),
    "pyradiomics": Engine(reference.version, reference.features),
}
