"""What is wrong with extraction settings: every fault at once, each with its field, its value and what it takes."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pywt

from radnet.radiomics.vocabulary import (
    BOUNDARIES,
    CLASSES,
    DEFINITIONS,
    INTERPOLATORS,
    POINTWISE,
    REGIONS,
    RESEGMENT_MODES,
    WEIGHTING_NORMS,
    nearest_word,
)

if TYPE_CHECKING:
    from radnet.radiomics.settings import ExtractionSettings


def settings_faults(settings: "ExtractionSettings") -> list[str]:
    """Return what is wrong with the settings, field by field and then between fields; nothing if all is well."""
    wrong = {field for field, (_, is_right) in _RULES.items() if not is_right(getattr(settings, field))}
    faults = [] if settings.name else ["a name is needed"]
    faults += [
        f"{field} must be {takes}, got {getattr(settings, field)!r}"
        for field, (takes, _) in _RULES.items()
        if field in wrong
    ]
    for field, known in _LISTS.items():
        if field not in wrong:
            faults += [
                f"{field}: there is no {one}; {nearest_word(one, known)}"
                for one in getattr(settings, field)
                if one not in known
            ]
    for field in ("log_sigma_mm", "distances", *_LISTS):
        if field not in wrong and len(set(getattr(settings, field))) != len(getattr(settings, field)):
            faults.append(f"{field} names the same twice: {getattr(settings, field)}")
    return faults + _faults_between_fields(settings, wrong)


def _faults_between_fields(settings: "ExtractionSettings", wrong: set[str]) -> list[str]:
    faults = []
    if (settings.bin_width is None) == (settings.bin_count is None):
        faults.append(
            f"one of bin_width and bin_count must be given and the other null, got {settings.bin_width} and "
            f"{settings.bin_count}"
        )
    if not wrong & {"ring_inner_mm", "ring_outer_mm"}:
        widths_mm = {"inner": settings.ring_inner_mm, "outer": settings.ring_outer_mm}
        if sum(widths_mm.values()) == 0:
            faults.append("ring_inner_mm and ring_outer_mm must not both be 0")
        faults += [
            f"region {region} needs ring_{region}_mm greater than 0"
            for region, width_mm in widths_mm.items()
            if "regions" not in wrong and region in settings.regions and width_mm == 0
        ]
    if settings.remove_outliers is not None and settings.normalize is False:
        faults.append("remove_outliers clips a normalised image: it needs normalize: true, or must be null")
    if settings.definitions == "ibsi":
        chosen = [name for name in ("pointwise", "gradient", "lbp_2d", "lbp_3d") if getattr(settings, name)]
        faults += [
            f"{name} has no IBSI definition: leave it out, or choose definitions: pyradiomics" for name in chosen
        ]
    if "classes" not in wrong and "shape" not in settings.classes and not _measures_an_image(settings):
        faults.append("nothing is measured: no image (original, log_sigma_mm, wavelet, …), and shape is not in classes")
    return faults


def _measures_an_image(settings: "ExtractionSettings") -> bool:
    images = (settings.log_sigma_mm, settings.wavelet, settings.pointwise, settings.gradient)
    return any((settings.original, *images, settings.lbp_2d, settings.lbp_3d))


def _is_number(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_whole(value: Any, least: int) -> bool:
    return type(value) is int and value >= least


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _are(value: object, is_right: Callable[[Any], bool]) -> bool:
    return isinstance(value, tuple) and all(map(is_right, value))


def _is_range(value: Any) -> bool:
    return _are(value, _is_number) and len(value) in (1, 2) and value[0] <= value[-1]


def _one_of(words: Sequence[str]) -> tuple[str, Callable[[Any], bool]]:
    return f"one of {', '.join(words)}", lambda value: value in words


def _words(value: object) -> bool:
    return _are(value, lambda one: isinstance(one, str))


_SWITCH = ("true or false", _is_bool)
_POSITIVE = ("greater than 0", _is_positive)
_POSITIVE_OR_NULL = ("greater than 0 or null", lambda value: value is None or _is_positive(value))
_WORDS = ("a list of words", _words)
_WIDTH = ("0 or more", lambda value: _is_number(value) and value >= 0)
_LISTS = {"pointwise": POINTWISE, "regions": REGIONS, "classes": CLASSES}

_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "spacing_mm": (
        "three numbers of 0 or more (Z, Y, X)",
        lambda value: _are(value, lambda one: _is_number(one) and one >= 0) and len(value) == 3,
    ),
    "interpolator": _one_of(INTERPOLATORS),
    "bin_width": ("greater than 0", lambda value: value is None or _is_positive(value)),
    "bin_count": ("a whole number of 1 or more", lambda value: value is None or _is_whole(value, 1)),
    "log_sigma_mm": ("a list of numbers greater than 0", lambda value: _are(value, _is_positive)),
    "wavelet": _SWITCH,
    "pointwise": _WORDS,
    "regions": (
        f"a list of at least one region, out of {', '.join(REGIONS)}",
        lambda value: _words(value) and bool(value),
    ),
    "ring_inner_mm": _WIDTH,
    "ring_outer_mm": _WIDTH,
    "ring_exclude_below": ("a number or null", lambda value: value is None or _is_number(value)),
    "normalize": _SWITCH,
    "normalize_scale": _POSITIVE,
    "minimum_voxels": ("a whole number of 1 or more", lambda value: _is_whole(value, 1)),
    "original": _SWITCH,
    "gradient": _SWITCH,
    "lbp_2d": _SWITCH,
    "lbp_3d": _SWITCH,
    "classes": (
        f"a list of at least one class, out of {', '.join(CLASSES)}",
        lambda value: _words(value) and bool(value),
    ),
    "distances": (
        "a list of at least one whole number of 1 or more",
        lambda value: _are(value, lambda one: _is_whole(one, 1)) and bool(value),
    ),
    "symmetrical_glcm": _SWITCH,
    "weighting_norm": (
        f"one of {', '.join(WEIGHTING_NORMS)} or null",
        lambda value: value is None or value in WEIGHTING_NORMS,
    ),
    "gldm_alpha": ("a whole number of 0 or more", lambda value: _is_whole(value, 0)),
    "force_2d": _SWITCH,
    "force_2d_axis": ("0 (Z), 1 (Y) or 2 (X)", lambda value: _is_whole(value, 0) and value <= 2),
    "resegment_range": (
        "one number, or two of which the first is the lower, or null",
        lambda value: value is None or _is_range(value),
    ),
    "resegment_mode": _one_of(RESEGMENT_MODES),
    "resegment_shape": _SWITCH,
    "remove_outliers": _POSITIVE_OR_NULL,
    "voxel_array_shift": ("a number", _is_number),
    "wavelet_name": (
        "a discrete wavelet by PyWavelets' name, such as coif1 or db4",
        lambda value: value in pywt.wavelist(kind="discrete"),
    ),
    "boundary": _one_of(BOUNDARIES),
    "definitions": _one_of(DEFINITIONS),
    "resegment_sigma": _POSITIVE_OR_NULL,
}
