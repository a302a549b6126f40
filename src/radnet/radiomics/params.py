"""A parameter file of pyradiomics 3.0.1 (Params.yaml) as extraction settings, every key honoured or refused by name.

The keys, what they default to and which of them a filter reads: pyradiomics 3.0.1, ``schemas/paramSchema.yaml``,
``featureextractor.py``, ``imageoperations.py`` and the feature classes.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pywt

from radnet.radiomics.vocabulary import CLASSES, FEATURES, POINTWISE, RESEGMENT_MODES, WEIGHTING_NORMS, nearest_word

PARAMETER_SECTIONS = ("imageType", "featureClass", "setting", "voxelSetting")

_INTERPOLATORS = {"sitkBSpline": "bspline", "sitkLinear": "linear", "sitkNearestNeighbor": "nearest"}
_POINTWISE = {"SquareRoot" if name == "squareroot" else name.capitalize(): name for name in POINTWISE}
_FILTER_KEYS = {  # read by one image type alone
    "Original": (),
    "LoG": ("sigma",),
    "Wavelet": ("wavelet", "level", "start_level"),
    **dict.fromkeys(_POINTWISE, ()),
    "Gradient": ("gradientUseSpacing",),
    "LBP2D": ("lbp2DRadius", "lbp2DSamples", "lbp2DMethod"),
    "LBP3D": ("lbp3DLevels", "lbp3DIcosphereRadius", "lbp3DIcosphereSubdivision"),
}

_Kind = tuple[str, Callable[[Any], bool]]  # what a key takes, in words, and whether a value is that


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(least: int) -> _Kind:
    return f"a whole number of {least} or more", lambda value: type(value) is int and value >= least


def _list_of(kind: _Kind, *lengths: int) -> _Kind:
    takes, is_right = kind
    many = " or ".join(map(str, lengths)) or "1 or more"
    return f"a list of {many}, each {takes}", (
        lambda value: (
            isinstance(value, list)
            and all(map(is_right, value))
            and (len(value) in lengths if lengths else len(value) > 0)
        )
    )


def _one_of(words: Iterable[str]) -> _Kind:
    known = tuple(words)
    return f"one of {', '.join(known)}", lambda value: value in known


def _or_null(kind: _Kind) -> _Kind:
    takes, is_right = kind
    return f"{takes}, or null", lambda value: value is None or is_right(value)


_SWITCH: _Kind = ("true or false", lambda value: isinstance(value, bool))
_NUMBER: _Kind = ("a number", _is_number)
_POSITIVE: _Kind = ("a number greater than 0", lambda value: _is_number(value) and value > 0)
_SPACING: _Kind = ("a number of 0 or more (X, Y, Z)", lambda value: _is_number(value) and value >= 0)
_WAVELET: _Kind = ("a discrete wavelet of PyWavelets", lambda value: value in pywt.wavelist(kind="discrete"))

_KEYS: dict[str, tuple[_Kind, object]] = {  # with pyradiomics' default
    "minimumROIDimensions": (_whole(1), 2),
    "minimumROISize": (_or_null(_whole(1)), None),
    "geometryTolerance": (_or_null(_POSITIVE), None),
    "correctMask": (_SWITCH, False),
    "additionalInfo": (_SWITCH, True),
    "label": (_whole(1), 1),
    "label_channel": (_whole(0), 0),
    "binWidth": (_POSITIVE, 25),
    "binCount": (_or_null(_whole(1)), None),
    "normalize": (_SWITCH, False),
    "normalizeScale": (_POSITIVE, 1),
    "removeOutliers": (_or_null(_POSITIVE), None),
    "resampledPixelSpacing": (_or_null(_list_of(_SPACING, 3)), None),
    "interpolator": (_or_null(_one_of(_INTERPOLATORS)), "sitkBSpline"),
    "padDistance": (_whole(0), 5),
    "distances": (_list_of(_whole(1)), [1]),
    "force2D": (_SWITCH, False),
    "force2Ddimension": (_whole(0), 0),
    "resegmentRange": (_or_null(_list_of(_NUMBER, 1, 2)), None),
    "resegmentMode": (_one_of(RESEGMENT_MODES), "absolute"),
    "resegmentShape": (_SWITCH, False),
    "preCrop": (_SWITCH, False),
    "sigma": (_list_of(_POSITIVE), []),
    "start_level": (_whole(0), 0),
    "level": (_whole(1), 1),
    "wavelet": (_WAVELET, "coif1"),
    "gradientUseSpacing": (_SWITCH, True),
    "lbp2DRadius": (_POSITIVE, 1),
    "lbp2DSamples": (_whole(1), 8),
    "lbp2DMethod": (_one_of(("default", "ror", "uniform", "var")), "uniform"),
    "lbp3DLevels": (_whole(1), 2),
    "lbp3DIcosphereRadius": (_POSITIVE, 1),
    "lbp3DIcosphereSubdivision": (_whole(0), 1),
    "voxelArrayShift": (("a whole number", lambda value: type(value) is int), 0),
    "symmetricalGLCM": (_SWITCH, True),
    "weightingNorm": (_or_null(_one_of(WEIGHTING_NORMS)), None),
    "gldm_a": (_whole(0), 0),
}
_DEFAULTS = {key: default for key, (_, default) in _KEYS.items()}

_ONLY_DEFAULT = {  # what radnet can do one way only, and why
    "minimumROIDimensions": "radnet measures what extends along two axes or more",
    "label": "the column label of lesions.csv says which voxels of a mask are the lesion's",
    "label_channel": "radnet reads masks of one value per voxel",
    "level": "radnet measures one level of the wavelet transform",
    "start_level": "radnet measures the first level of the wavelet transform",
    "gradientUseSpacing": "radnet takes gradients per mm",
    "lbp2DRadius": "radnet has local binary patterns of this radius alone",
    "lbp2DSamples": "radnet has local binary patterns of this number of points alone",
    "lbp2DMethod": "radnet has local binary patterns of this kind alone",
    "lbp3DLevels": "radnet has local binary patterns of this number of levels alone",
    "lbp3DIcosphereRadius": "radnet has local binary patterns of this radius alone",
    "lbp3DIcosphereSubdivision": "radnet has local binary patterns of this number of points alone",
}


def settings_of_params(params: Mapping[Any, Any]) -> dict[str, object]:
    """Return the fields of ``ExtractionSettings``, without its name, that measure what a parameter file asks for.

    What is absent has pyradiomics' own default. ``geometryTolerance``, ``correctMask`` and ``additionalInfo`` are taken
    and touch no value: radnet has its own check that image and mask lie on the same voxels, and its own provenance.

    Args:
        params: The file's content: sections ``imageType``, ``featureClass`` and ``setting``, each a mapping or absent.

    Raises:
        ValueError: Naming every key that is unknown, of the wrong type, or that radnet cannot measure alike, and why.
    """
    faults = _section_faults(params)
    setting, types, classes = (_mapping(params.get(section)) for section in ("setting", "imageType", "featureClass"))
    types = {name: _mapping(own) for name, own in (types or {"Original": {}}).items()}
    common = {**_DEFAULTS, **_usable(setting)}
    values = dict(common)
    for name, own in types.items():
        values |= {key: value for key, value in _usable(own).items() if key in _FILTER_KEYS.get(name, ())}
    faults += _key_faults("setting", setting)
    for name, own in types.items():
        faults += _image_type_faults(name, own, common)
    faults += _class_faults(classes, bool(common["force2D"])) + _value_faults(values, types)
    if faults:
        raise ValueError("; ".join(faults))
    return {**_of_setting(values), **_of_image_types(values, types), "classes": tuple(classes or CLASSES)}


def _mapping(content: object) -> dict[str, Any]:
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def _usable(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if key in _KEYS and _KEYS[key][0][1](value)}


def _section_faults(params: Mapping[Any, Any]) -> list[str]:
    faults = []
    for section, content in params.items():
        if section not in PARAMETER_SECTIONS:
            told = nearest_word(str(section), PARAMETER_SECTIONS)
            faults.append(f"a parameter file of pyradiomics has no section {section}; {told}")
        elif not isinstance(content, dict):
            faults.append(f"{section} must hold keys and values, got {content!r}")
        elif section == "imageType":
            faults += [
                f"imageType {name} must hold keys and values, such as {{}}, got {own!r}"
                for name, own in content.items()
                if not isinstance(own, dict)
            ]
        elif section == "voxelSetting" and content:
            faults.append("voxelSetting: radnet measures lesions, and makes no map of features voxel by voxel")
    return faults


def _key_faults(where: str, keys: Mapping[str, Any]) -> list[str]:
    faults = []
    for key, value in keys.items():
        if key not in _KEYS:
            faults.append(f"{where}: pyradiomics 3.0.1 has no {key}; {nearest_word(key, tuple(_KEYS))}")
        elif not _KEYS[key][0][1](value):
            faults.append(f"{where} {key} must be {_KEYS[key][0][0]}, got {value!r}")
    return faults


def _image_type_faults(name: str, own: Mapping[str, Any], common: Mapping[str, Any]) -> list[str]:
    where = f"imageType {name}"
    if name not in _FILTER_KEYS:
        return [f"imageType: pyradiomics 3.0.1 has no {name}; {nearest_word(name, tuple(_FILTER_KEYS))}"]
    faults = _key_faults(where, own)
    faults += [
        f"{where} {key} is {value!r}, and {common[key]!r} for the other images: radnet measures all images alike"
        for key, value in _usable(own).items()
        if key not in _FILTER_KEYS[name] and value != common[key]
    ]
    if name == "LoG" and "sigma" not in own and not common["sigma"]:
        faults.append(f"{where} has no sigma, without which pyradiomics measures nothing of it: give its widths in mm")
    return faults


def _class_faults(classes: Mapping[str, Any], force_2d: bool) -> list[str]:
    faults = []
    if not classes and force_2d:
        faults.append(
            "featureClass is absent, so that pyradiomics with force2D measures shape2D too, which radnet has not: "
            "list the classes wanted"
        )
    for name, chosen in classes.items():
        if name == "shape2D":
            faults.append("featureClass shape2D: radnet measures the shape of volumes alone")
        elif name not in CLASSES:
            faults.append(f"featureClass: pyradiomics 3.0.1 has no {name}; {nearest_word(name, CLASSES)}")
        elif chosen and (not isinstance(chosen, list) or {*map(str, chosen)} != {*FEATURES[name].split()}):
            faults.append(
                f"featureClass {name}: radnet measures all features of a class, from which the table's columns can be "
                f"chosen afterwards: leave its list empty, got {chosen!r}"
            )
    return faults


def _value_faults(values: Mapping[str, Any], types: Mapping[str, Any]) -> list[str]:
    """Tell values radnet cannot measure with; keys that only a filter reads matter where that filter is asked for."""
    unread = {key for name, keys in _FILTER_KEYS.items() if name not in types for key in keys}
    faults = [
        f"{key} must be {_DEFAULTS[key]!r}, got {values[key]!r}: {why}"
        for key, why in _ONLY_DEFAULT.items()
        if key not in unread and values[key] != _DEFAULTS[key]
    ]
    if set(types) == {"Original"}:  # the rest tells what a filter sees around the lesion
        return faults
    if not _resamples(values) and not values["preCrop"]:
        faults.append(
            "without resampledPixelSpacing and preCrop pyradiomics filters the whole image, radnet the lesion and 5 "
            "voxels around it: set preCrop: true (or resampledPixelSpacing: [0, 0, 0]), which is measured alike"
        )
    elif values["padDistance"] != 5:
        faults.append(f"padDistance must be 5, got {values['padDistance']}: radnet keeps 5 voxels around for filters")
    return faults


def _resamples(values: Mapping[str, Any]) -> bool:
    return values["resampledPixelSpacing"] is not None and values["interpolator"] is not None


def _of_setting(values: Mapping[str, Any]) -> dict[str, object]:
    range_ = values["resegmentRange"]
    return {
        "spacing_mm": tuple(values["resampledPixelSpacing"][::-1]) if _resamples(values) else (0.0, 0.0, 0.0),
        "interpolator": _INTERPOLATORS.get(values["interpolator"], "bspline"),
        "bin_width": values["binWidth"] if values["binCount"] is None else None,
        "bin_count": values["binCount"],
        "normalize": values["normalize"],
        "normalize_scale": values["normalizeScale"],
        "remove_outliers": values["removeOutliers"] if values["normalize"] else None,
        "minimum_voxels": 1 if values["minimumROISize"] is None else values["minimumROISize"] + 1,  # it refuses <=
        "distances": tuple(values["distances"]),
        "symmetrical_glcm": values["symmetricalGLCM"],
        "weighting_norm": values["weightingNorm"],
        "gldm_alpha": values["gldm_a"],
        "force_2d": values["force2D"],
        "force_2d_axis": values["force2Ddimension"],
        "resegment_range": None if range_ is None else tuple(sorted(range_)),
        "resegment_mode": values["resegmentMode"],
        "resegment_shape": values["resegmentShape"],
        "voxel_array_shift": values["voxelArrayShift"],
    }


def _of_image_types(values: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, object]:
    return {
        "original": "Original" in types,
        "log_sigma_mm": tuple(values["sigma"]) if "LoG" in types else (),
        "wavelet": "Wavelet" in types,
        "wavelet_name": values["wavelet"] if "Wavelet" in types else "coif1",
        "pointwise": tuple(_POINTWISE[name] for name in types if name in _POINTWISE),
        "gradient": "Gradient" in types,
        "lbp_2d": "LBP2D" in types,
        "lbp_3d": "LBP3D" in types,
    }
