"""What is measured of a lesion, and how: settings of an extraction, and the names of the features they yield."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

Interpolator = Literal["bspline", "linear", "nearest"]
INTERPOLATORS = ("bspline", "linear", "nearest")
REGIONS = ("lesion", "ring", "inner", "outer")
"""``ring`` = ``inner`` (of the lesion, along its border) and ``outer`` (of the tissue around it) together."""
POINTWISE = ("square", "squareroot", "logarithm", "exponential")

TARGET = "radnet.radiomics.settings.ExtractionSettings"

_WAVELET_BANDS = ("LLH", "LHL", "LHH", "HLL", "HLH", "HHL", "HHH", "LLL")  # letters: filter along X, Y, Z
_FEATURES = {
    "shape": """Elongation Flatness LeastAxisLength MajorAxisLength Maximum2DDiameterColumn Maximum2DDiameterRow
        Maximum2DDiameterSlice Maximum3DDiameter MeshVolume MinorAxisLength Sphericity SurfaceArea SurfaceVolumeRatio
        VoxelVolume""",
    "firstorder": """10Percentile 90Percentile Energy Entropy InterquartileRange Kurtosis Maximum MeanAbsoluteDeviation
        Mean Median Minimum Range RobustMeanAbsoluteDeviation RootMeanSquared Skewness TotalEnergy Uniformity
        Variance""",
    "glcm": """Autocorrelation ClusterProminence ClusterShade ClusterTendency Contrast Correlation DifferenceAverage
        DifferenceEntropy DifferenceVariance Id Idm Idmn Idn Imc1 Imc2 InverseVariance JointAverage JointEnergy
        JointEntropy MCC MaximumProbability SumAverage SumEntropy SumSquares""",
    "gldm": """DependenceEntropy DependenceNonUniformity DependenceNonUniformityNormalized DependenceVariance
        GrayLevelNonUniformity GrayLevelVariance HighGrayLevelEmphasis LargeDependenceEmphasis
        LargeDependenceHighGrayLevelEmphasis LargeDependenceLowGrayLevelEmphasis LowGrayLevelEmphasis
        SmallDependenceEmphasis SmallDependenceHighGrayLevelEmphasis SmallDependenceLowGrayLevelEmphasis""",
    "glrlm": """GrayLevelNonUniformity GrayLevelNonUniformityNormalized GrayLevelVariance HighGrayLevelRunEmphasis
        LongRunEmphasis LongRunHighGrayLevelEmphasis LongRunLowGrayLevelEmphasis LowGrayLevelRunEmphasis RunEntropy
        RunLengthNonUniformity RunLengthNonUniformityNormalized RunPercentage RunVariance ShortRunEmphasis
        ShortRunHighGrayLevelEmphasis ShortRunLowGrayLevelEmphasis""",
    "glszm": """GrayLevelNonUniformity GrayLevelNonUniformityNormalized GrayLevelVariance HighGrayLevelZoneEmphasis
        LargeAreaEmphasis LargeAreaHighGrayLevelEmphasis LargeAreaLowGrayLevelEmphasis LowGrayLevelZoneEmphasis
        SizeZoneNonUniformity SizeZoneNonUniformityNormalized SmallAreaEmphasis SmallAreaHighGrayLevelEmphasis
        SmallAreaLowGrayLevelEmphasis ZoneEntropy ZonePercentage ZoneVariance""",
    "ngtdm": "Busyness Coarseness Complexity Contrast Strength",
}


@dataclass(frozen=True, slots=True)
class ExtractionSettings:
    """How features are measured; two extractions with equal settings can be compared.

    Attributes:
        name: Word that stands for these settings in tables and reports.
        spacing_mm: Voxel size along Z, Y and X to which image and mask are resampled; 0 keeps that of the mask.
        interpolator: For the image; a mask is always resampled by nearest neighbour.
        bin_width: Width of a grey level bin in the image's unit, or None where ``bin_count`` is given.
        bin_count: Number of bins between a region's least and greatest value, or None where ``bin_width`` is given.
        log_sigma_mm: Width of each Laplacian of Gaussian filter, in mm.
        wavelet: Whether the eight bands of one level of the undecimated wavelet transform (coif1) are measured.
        pointwise: Further images computed voxel by voxel, out of ``POINTWISE``.
        regions: What is measured of each delineation, out of ``REGIONS``.
        ring_inner_mm: How far the ring reaches into the lesion.
        ring_outer_mm: How far the ring reaches from the lesion.
        ring_exclude_below: Voxels outside the lesion below this intensity are no part of the ring (air on CT), in the
            unit of the image, after ``normalize``; None keeps them all.
        normalize: Whether the whole image is first brought to mean 0 and standard deviation 1 (MRI).
        normalize_scale: What a normalised image is multiplied with, so that ``bin_width`` is of use.
        minimum_voxels: A region of fewer voxels, after resampling, is not measured.
    """

    name: str
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolator: Interpolator = "bspline"
    bin_width: float | None = 25.0
    bin_count: int | None = None
    log_sigma_mm: tuple[float, ...] = (1.0, 2.0, 3.0)
    wavelet: bool = True
    pointwise: tuple[str, ...] = ()
    regions: tuple[str, ...] = ("lesion",)
    ring_inner_mm: float = 2.0
    ring_outer_mm: float = 2.0
    ring_exclude_below: float | None = None
    normalize: bool = False
    normalize_scale: float = 1.0
    minimum_voxels: int = 1

    def __post_init__(self) -> None:
        for field in ("spacing_mm", "log_sigma_mm"):  # sigma must be 1.0 and not 1: the number becomes part of a name
            object.__setattr__(self, field, tuple(float(value) for value in getattr(self, field)))
        for field in ("bin_width", "ring_inner_mm", "ring_outer_mm", "ring_exclude_below", "normalize_scale"):
            if getattr(self, field) is not None:
                object.__setattr__(self, field, float(getattr(self, field)))
        for field in ("pointwise", "regions"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if faults := _faults(self):
            raise ValueError(f"extraction settings {self.name}: " + "; ".join(faults))

    def fingerprint(self, region: str | None = None) -> str:
        """Return a SHA-256 that is equal when the measured values must be.

        Args:
            region: Leaves out what does not touch the values of this region, so that asking for a ring, or for
                another width of it, keeps what was measured of the lesion. None: the settings as a whole.
        """
        values = asdict(self)
        del values["name"]
        if region is not None:
            values["regions"] = [region]
        if region == "lesion":
            values = {key: value for key, value in values.items() if not key.startswith("ring_")}
        return hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode()).hexdigest()


def feature_names(settings: ExtractionSettings) -> list[str]:
    """Return the features the settings yield, under pyradiomics' names and in its order.

    Shape once, then for each image (original, Laplacian of Gaussian, wavelet bands, pointwise) first order and texture.

    Example:
        >>> feature_names(ExtractionSettings("example", log_sigma_mm=(), wavelet=False))[13:15]
        ['original_shape_VoxelVolume', 'original_firstorder_10Percentile']
    """
    images = ["original"]
    images += [f"log-sigma-{str(sigma).replace('.', '-')}-mm-3D" for sigma in settings.log_sigma_mm]
    images += [f"wavelet-{band}" for band in _WAVELET_BANDS] if settings.wavelet else []
    images += settings.pointwise
    shape = [f"original_shape_{feature}" for feature in _FEATURES["shape"].split()]
    classes = [(name, features.split()) for name, features in _FEATURES.items() if name != "shape"]
    return shape + [f"{image}_{name}_{feature}" for image in images for name, names in classes for feature in names]


def read_settings(path: Path) -> ExtractionSettings:
    """Read extraction settings from a YAML file such as ``conf/radiomics/zhao.yaml``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds a key or a value that cannot be used, with the nearest name that can.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of extraction settings")
    try:
        values = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected keys and values such as bin_width: 25.0")
    if (target := values.pop("_target_", TARGET)) != TARGET:
        raise ValueError(f"{path}: _target_ is {target}, expected {TARGET}")
    names = [field.name for field in fields(ExtractionSettings)]
    if faults := [f"there is no {key}; {_nearest(key, names)}" for key in map(str, values) if key not in names]:
        raise ValueError(f"{path}: " + "; ".join(faults))
    if "name" not in values:
        raise ValueError(f"{path}: the settings need a name")
    try:
        return ExtractionSettings(**{str(key): value for key, value in values.items()})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _faults(settings: ExtractionSettings) -> list[str]:
    faults = []
    if not settings.name:
        faults.append("a name is needed")
    if len(settings.spacing_mm) != 3 or not all(math.isfinite(one) and one >= 0 for one in settings.spacing_mm):
        faults.append(f"spacing_mm must be three numbers of 0 or more (Z, Y, X), got {settings.spacing_mm}")
    if settings.interpolator not in INTERPOLATORS:
        faults.append(f"interpolator must be one of {', '.join(INTERPOLATORS)}, got {settings.interpolator!r}")
    if (settings.bin_width is None) == (settings.bin_count is None):
        faults.append(
            f"one of bin_width and bin_count must be given and the other null, got {settings.bin_width} and "
            f"{settings.bin_count}"
        )
    if settings.bin_width is not None and not 0 < settings.bin_width < math.inf:
        faults.append(f"bin_width must be greater than 0, got {settings.bin_width}")
    if settings.bin_count is not None and (type(settings.bin_count) is not int or settings.bin_count < 1):
        faults.append(f"bin_count must be a whole number of 1 or more, got {settings.bin_count!r}")
    if not all(0 < sigma < math.inf for sigma in settings.log_sigma_mm):
        faults.append(f"log_sigma_mm must be greater than 0, got {settings.log_sigma_mm}")
    for field in ("wavelet", "normalize"):
        if not isinstance(getattr(settings, field), bool):
            faults.append(f"{field} must be true or false, got {getattr(settings, field)!r}")
    for field, known in (("pointwise", POINTWISE), ("regions", REGIONS)):
        faults += [
            f"{field}: there is no {one}; {_nearest(str(one), known)}" for one in _unknown(settings, field, known)
        ]
    for field in ("log_sigma_mm", "pointwise", "regions"):
        if len(set(getattr(settings, field))) != len(getattr(settings, field)):
            faults.append(f"{field} names the same twice: {getattr(settings, field)}")
    if not settings.regions:
        faults.append(f"at least one region is needed, out of {', '.join(REGIONS)}")
    widths_mm = (settings.ring_inner_mm, settings.ring_outer_mm)
    if not all(0 <= width < math.inf for width in widths_mm) or sum(widths_mm) == 0:
        faults.append(f"ring_inner_mm and ring_outer_mm must be 0 or more, and not both 0, got {widths_mm}")
    for region, width_mm in (("inner", settings.ring_inner_mm), ("outer", settings.ring_outer_mm)):
        if region in settings.regions and width_mm == 0:
            faults.append(f"region {region} needs ring_{region}_mm greater than 0")
    if settings.ring_exclude_below is not None and not math.isfinite(settings.ring_exclude_below):
        faults.append(f"ring_exclude_below must be a number or null, got {settings.ring_exclude_below}")
    if not 0 < settings.normalize_scale < math.inf:
        faults.append(f"normalize_scale must be greater than 0, got {settings.normalize_scale}")
    if type(settings.minimum_voxels) is not int or settings.minimum_voxels < 1:
        faults.append(f"minimum_voxels must be a whole number of 1 or more, got {settings.minimum_voxels!r}")
    return faults


def _unknown(settings: ExtractionSettings, field: str, known: Sequence[str]) -> list[str]:
    return [one for one in getattr(settings, field) if one not in known]


def _nearest(word: str, names: Sequence[str]) -> str:
    close = get_close_matches(word, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"it takes {', '.join(names)}"
