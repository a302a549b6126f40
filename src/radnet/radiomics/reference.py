"""The reference engine: pyradiomics 3.0.1 itself, an optional extra, asked for what the settings say."""

import logging
import warnings
from importlib.metadata import version as version_of
from importlib.util import find_spec

import numpy as np
import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it

from radnet.radiomics.settings import ExtractionSettings, feature_names


def version() -> str:
    """Return the version of pyradiomics, imported here alone since it is an optional extra.

    Raises:
        ImportError: If it is not installed, with how to.
    """
    try:
        import radiomics  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'the pyradiomics engine needs the extra "reference": pip install "radnet[reference]" (pyradiomics 3.0.1 '
            "builds on Python 3.11 only, and needs numpy there before it: pip install numpy setuptools wheel; "
            "pip install --no-build-isolation pyradiomics==3.0.1)"
        ) from error
    return version_of("pyradiomics")


def features(image: sitk.Image, mask: sitk.Image, settings: ExtractionSettings) -> dict[str, float]:
    """Return the features of a region as pyradiomics measures them.

    Args:
        image: Normalised and resampled already, with the voxels around the region that filters are to see.
        mask: 1 in the region, 0 elsewhere, on the image's grid; resegmentation is still to come.
        settings: How to measure; all of it but what has been done to the image.

    Returns:
        A value for every name of ``feature_names(settings)``, in that order; NaN where a feature has no value.

    Raises:
        ValueError: If the region cannot be measured, or the settings ask for what pyradiomics has not.
        ImportError: If pyradiomics, or what it takes for local binary patterns, is not installed.
    """
    version()
    if settings.definitions != "pyradiomics":
        raise ValueError(
            f"the pyradiomics engine measures by its own definitions alone, and settings {settings.name} ask for "
            f"{settings.definitions}: take the engine native"
        )
    _check_patterns(settings)
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    extractor = RadiomicsFeatureExtractor(additionalInfo=False, label=1, **_setting(settings))
    extractor.disableAllFeatures()
    for name in settings.classes:
        extractor.enableFeatureClassByName(name)
    extractor.disableAllImageTypes()
    extractor.enableImageTypes(**_image_types(settings))
    with warnings.catch_warnings():  # it divides by zero where a matrix is empty, and answers with NaN as it should
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # of scipy, which it asks for functions by their old names
        found = extractor.execute(image, mask)
    # With numpy 2.5 and later, eigenvalues arrive as complex numbers whose imaginary part is 0.
    return {name: float(np.asarray(found[name]).real) for name in feature_names(settings)}


def _setting(settings: ExtractionSettings) -> dict[str, object]:
    """Return pyradiomics' settings; those of an absent feature or filter are not read."""
    return {
        **({"binWidth": settings.bin_width} if settings.bin_count is None else {"binCount": settings.bin_count}),
        **_resegmentation(settings),
        "minimumROISize": settings.minimum_voxels - 1,  # it refuses a region of so many, after resegmentation too
        "distances": list(settings.distances),
        "symmetricalGLCM": settings.symmetrical_glcm,
        "weightingNorm": settings.weighting_norm,
        "gldm_a": settings.gldm_alpha,
        "force2D": settings.force_2d,
        "force2Ddimension": settings.force_2d_axis,
        "voxelArrayShift": settings.voxel_array_shift,
    }


def _resegmentation(settings: ExtractionSettings) -> dict[str, object]:
    range_, mode = settings.resegment_range, settings.resegment_mode
    if (sigma := settings.resegment_sigma) is not None:
        if range_ is not None:
            raise ValueError(
                "pyradiomics resegments by one range, and not by resegment_range and resegment_sigma together: take "
                "the engine native"
            )
        range_, mode = (-sigma, sigma), "sigma"
    if range_ is None:
        return {}
    return {"resegmentRange": list(range_), "resegmentMode": mode, "resegmentShape": settings.resegment_shape}


def _image_types(settings: ExtractionSettings) -> dict[str, dict[str, object]]:
    types: dict[str, dict[str, object]] = {"Original": {}} if settings.original else {}
    if settings.log_sigma_mm:
        types["LoG"] = {"sigma": list(settings.log_sigma_mm)}
    if settings.wavelet:
        types["Wavelet"] = {"wavelet": settings.wavelet_name}
    types |= {{"squareroot": "SquareRoot"}.get(name, name.capitalize()): {} for name in settings.pointwise}
    chosen = {"Gradient": settings.gradient, "LBP2D": settings.lbp_2d, "LBP3D": settings.lbp_3d}
    return types | {name: {} for name, is_chosen in chosen.items() if is_chosen}


def _check_patterns(settings: ExtractionSettings) -> None:
    """Refuse local binary patterns where pyradiomics would leave them out without a word."""
    lacking = ["scikit-image"] if settings.lbp_2d and find_spec("skimage") is None else []
    if settings.lbp_3d:
        lacking += ["trimesh"] if find_spec("trimesh") is None else []
        from scipy import special  # takes a while to load, and only these patterns ask for it

        lacking += [] if hasattr(special, "sph_harm") else ["scipy before 1.17"]
    if lacking:
        raise ImportError(
            f"pyradiomics needs {', '.join(lacking)} for local binary patterns: install it, or take the engine native"
        )
