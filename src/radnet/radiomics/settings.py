"""What is measured of a lesion, and how: settings of an extraction, and the names of the features they yield."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from numbers import Real
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from radnet.files import config_folder
from radnet.radiomics.check_settings import settings_faults
from radnet.radiomics.params import PARAMETER_SECTIONS, settings_of_params
from radnet.radiomics.vocabulary import (
    CLASSES,
    Boundary,
    Definitions,
    Interpolator,
    ResegmentMode,
    WeightingNorm,
    nearest_word,
)
from radnet.radiomics.vocabulary import FEATURES as _FEATURES

TARGET = "radnet.radiomics.settings.ExtractionSettings"

# Letters: filter along X, Y, Z, or along the two axes within a slice.
_WAVELET_BANDS = ("LLH", "LHL", "LHH", "HLL", "HLH", "HHL", "HHH", "LLL")
_WAVELET_BANDS_2D = ("LH", "HL", "HH", "LL")

_NUMBERS: tuple[str, ...] = ("spacing_mm", "bin_width", "log_sigma_mm", "ring_inner_mm", "ring_outer_mm")
_NUMBERS += ("ring_exclude_below", "normalize_scale", "resegment_range", "resegment_sigma", "remove_outliers")
_NUMBERS += ("voxel_array_shift",)


@dataclass(frozen=True, slots=True)
class ExtractionSettings:
    """How features are measured; two extractions with equal settings can be compared.

    Attributes:
        name: Word that stands for these settings in tables and reports.
        spacing_mm: Voxel size along Z, Y and X to which image and mask are resampled; 0 keeps that of the mask.
        interpolator: For the image; a mask is resampled by nearest neighbour, unless ``definitions`` says otherwise.
        bin_width: Width of a grey level bin in the image's unit, or None where ``bin_count`` is given.
        bin_count: Number of bins between a region's least and greatest value, or None where ``bin_width`` is given.
        log_sigma_mm: Width of each Laplacian of Gaussian filter, in mm.
        wavelet: Whether the eight bands of one level of the undecimated wavelet transform are measured; four of them
            with ``force_2d``.
        pointwise: Further images computed voxel by voxel, out of ``POINTWISE``.
        regions: What is measured of each delineation, out of ``REGIONS``.
        ring_inner_mm: How far the ring reaches into the lesion.
        ring_outer_mm: How far the ring reaches from the lesion.
        ring_exclude_below: Voxels outside the lesion below this intensity are no part of the ring (air on CT), in the
            unit of the image, after ``normalize``; None keeps them all.
        normalize: Whether the whole image is first brought to mean 0 and standard deviation 1 (MRI).
        normalize_scale: What a normalised image is multiplied with, so that ``bin_width`` is of use.
        minimum_voxels: A region of fewer voxels, after resampling, is not measured.
        original: Whether the unfiltered image is measured.
        gradient: Whether the magnitude of the image's gradient is measured, in intensity per mm.
        lbp_2d: Whether local binary patterns of each slice across ``force_2d_axis`` are measured (radius 1, 8 points,
            uniform).
        lbp_3d: Whether local binary patterns on spherical harmonics are measured (2 levels and kurtosis).
        classes: Feature classes measured, out of ``CLASSES``; shape is measured of the mask once.
        distances: Voxels between the neighbours of texture matrices (Chebyshev).
        symmetrical_glcm: Whether a pair of neighbours counts in both orders.
        weighting_norm: Merges the directions of GLCM and of GLRLM into one matrix, weighed by the mm d between
            neighbours in this norm: GLCM by exp(-d²), GLRLM by d. None takes the mean of the directions' features.
        gldm_alpha: Most difference in grey level between a voxel and one that depends on it.
        force_2d: Whether texture is looked for, and wavelets run, within slices only.
        force_2d_axis: Axis across the slices, 0 for Z, 1 for Y, 2 for X.
        resegment_range: Voxels outside these intensities, both ends included, are no part of the region; one number is
            the lower end alone.
        resegment_mode: Unit of ``resegment_range``: intensities, fractions of the region's maximum, or its SDs about
            its mean.
        resegment_shape: Whether shape too is measured without those voxels.
        remove_outliers: Clips a normalised image to this many SDs about its mean; None keeps all values.
        voxel_array_shift: Added to intensities before Energy and RootMeanSquared are taken.
        wavelet_name: Wavelet, by PyWavelets' name.
        boundary: How an image goes on beyond its border for filters of the IBSI definitions; pyradiomics' own have
            each their rule, and do not read it.
        definitions: Where pyradiomics and the IBSI standard differ, whose definition holds: of grid, of mask on it,
            of rounding, of the first bin, and of formulas.
        resegment_sigma: Voxels further than this many SDs from the mean of the whole region are no part of it either,
            beside ``resegment_range``; None keeps them.
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
    original: bool = True
    gradient: bool = False
    lbp_2d: bool = False
    lbp_3d: bool = False
    classes: tuple[str, ...] = CLASSES
    distances: tuple[int, ...] = (1,)
    symmetrical_glcm: bool = True
    weighting_norm: WeightingNorm | None = None
    gldm_alpha: int = 0
    force_2d: bool = False
    force_2d_axis: int = 0
    resegment_range: tuple[float, ...] | None = None
    resegment_mode: ResegmentMode = "absolute"
    resegment_shape: bool = False
    remove_outliers: float | None = None
    voxel_array_shift: float = 0.0
    wavelet_name: str = "coif1"
    boundary: Boundary = "mirror"
    definitions: Definitions = "pyradiomics"
    resegment_sigma: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):  # 25 and 25.0 are the same settings; sigma's number becomes part of a name: 1.0
            value = getattr(self, field.name)
            if isinstance(value, Sequence) and not isinstance(value, str):
                value = tuple(value)
            object.__setattr__(self, field.name, _as_floats(value) if field.name in _NUMBERS else value)
        if faults := settings_faults(self):
            raise ValueError(f"extraction settings {self.name}: " + "; ".join(faults))
        object.__setattr__(self, "classes", tuple(one for one in CLASSES if one in self.classes))

    def fingerprint(self, region: str | None = None) -> str:
        """Return a SHA-256 that is equal when the measured values must be.

        Fields that came after ``minimum_voxels`` count only where they differ from their default, so that a model
        frozen before a field was there keeps its fingerprint. For this a default, once released, never changes.

        Args:
            region: Leaves out what does not touch the values of this region, so that asking for a ring, or for
                another width of it, keeps what was measured of the lesion. None: the settings as a whole.
        """
        names = [field.name for field in fields(self)]
        later = fields(self)[names.index("minimum_voxels") + 1 :]
        values = asdict(self)
        for field in [*(one.name for one in later if getattr(self, one.name) == one.default), "name"]:
            del values[field]
        if region is not None:
            values["regions"] = [region]
        if region == "lesion":
            values = {key: value for key, value in values.items() if not key.startswith("ring_")}
        return hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode()).hexdigest()


def feature_names(settings: ExtractionSettings) -> list[str]:
    """Return the features the settings yield, under pyradiomics' names and in this package's order.

    Shape once, then for each image (original, Laplacian of Gaussian, wavelet bands, pointwise, gradient, local binary
    patterns) first order and texture. The name of the wavelet is no part of a feature's.

    Example:
        >>> feature_names(ExtractionSettings("example", log_sigma_mm=(), wavelet=False))[13:15]
        ['original_shape_VoxelVolume', 'original_firstorder_10Percentile']
    """
    chosen = {name: _FEATURES[name].split() for name in settings.classes}
    shape = [f"original_shape_{feature}" for feature in chosen.pop("shape", [])]
    return shape + [
        f"{image}_{name}_{feature}"
        for image in _images(settings)
        for name, features in chosen.items()
        for feature in features
    ]


def named_settings(name: str) -> ExtractionSettings:
    """Return the settings of a name in ``conf/radiomics``, or of a file.

    Raises:
        FileNotFoundError: If there is neither; with the names there are.
        ValueError: As ``read_settings``.
    """
    folder = config_folder() / "radiomics"
    if (folder / f"{name}.yaml").is_file():
        return read_settings(folder / f"{name}.yaml")
    if not Path(name).is_file():
        known = sorted(path.stem for path in folder.glob("*.yaml"))
        raise FileNotFoundError(f"there are no settings {name}, and no such file; {nearest_word(name, known)}")
    return read_settings(Path(name))


def read_settings(path: Path) -> ExtractionSettings:
    """Read extraction settings from a YAML file such as ``conf/radiomics/zhao.yaml``.

    A parameter file of pyradiomics 3.0.1 (``imageType``, ``featureClass``, ``setting``) is read too, under the name of
    the file; what of it radnet cannot measure alike is refused, and never passed over.

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
    try:
        if not values.keys().isdisjoint(PARAMETER_SECTIONS):
            return ExtractionSettings(name=path.stem, **settings_of_params(values))  # type: ignore[arg-type]
        return _settings_of_fields({str(key): value for key, value in values.items()})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _settings_of_fields(values: dict[str, object]) -> ExtractionSettings:
    if (target := values.pop("_target_", TARGET)) != TARGET:
        raise ValueError(f"_target_ is {target}, expected {TARGET}")
    names = [field.name for field in fields(ExtractionSettings)]
    if faults := [f"there is no {key}; {nearest_word(key, names)}" for key in values if key not in names]:
        raise ValueError("; ".join(faults))
    if "name" not in values:
        raise ValueError("the settings need a name")
    return ExtractionSettings(**values)  # type: ignore[arg-type]


def _images(settings: ExtractionSettings) -> list[str]:
    images = ["original"] if settings.original else []
    images += [f"log-sigma-{str(sigma).replace('.', '-')}-mm-3D" for sigma in settings.log_sigma_mm]
    bands: Sequence[str] = _WAVELET_BANDS_2D if settings.force_2d else _WAVELET_BANDS
    images += [f"wavelet-{band}" for band in bands] if settings.wavelet else []
    images += settings.pointwise
    images += ["gradient"] if settings.gradient else []
    images += ["lbp-2D"] if settings.lbp_2d else []
    images += ["lbp-3D-m1", "lbp-3D-m2", "lbp-3D-k"] if settings.lbp_3d else []
    return images


def _as_floats(value: object) -> object:
    """Return numbers as floats, and leave what is no number for the check of settings to tell."""
    if isinstance(value, tuple):
        return tuple(_as_floats(one) for one in value)
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else value
