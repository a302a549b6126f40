"""Images of simulated lesions: a textured ellipsoid with a ring, in one organ's background, seen by one scanner.

A lesion's world is a cube of 1 mm voxels. A scene is one world, or several stacked along Z, and a scanner blurs it,
samples it at its own spacing, and adds noise. Every random field has a seed of its own, so a knob that changes one
(the size of the noise image, say) leaves the others as they were.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

FloatImage = NDArray[np.float32]
Mask = NDArray[np.bool_]
Triple = tuple[float, float, float]
Seed = tuple[int, ...]

BACKGROUND_HU = {"liver": 110.0, "lung": -780.0, "node": -80.0, "soft_tissue": 55.0, "breast": -40.0, "other": 55.0}
LESION_HU = {"liver": 75.0, "lung": 55.0, "node": 85.0, "soft_tissue": 80.0, "breast": 80.0, "other": 80.0}
RING_WIDTH_MM = 3.0
EDGE_WIDTH_MM = 0.5

_FIELDS = ("boundary", "texture", "background", "noise", "bias", "second_noise", "origin")


@dataclass(frozen=True, slots=True)
class Scanner:
    """How a centre images: spacing and blur along Z, Y and X, noise, and the gain and offset of its values."""

    spacing_mm: Triple
    blur_mm: Triple
    noise_hu: float
    noise_width_px: float
    gain: float
    offset_hu: float
    mri_gain: float = 1.0


SCANNERS = {
    "A": Scanner((1.25, 0.80, 0.80), (0.60, 0.60, 0.60), 10.0, 0.7, 1.00, 0.0),
    "B": Scanner((1.00, 0.75, 0.75), (0.50, 0.45, 0.45), 14.0, 0.4, 1.02, 5.0),
    "C": Scanner((2.00, 0.90, 0.90), (0.90, 0.80, 0.80), 8.0, 0.9, 0.98, -8.0),
    "D": Scanner((1.50, 0.68, 0.68), (0.60, 0.50, 0.50), 12.0, 0.5, 1.03, -4.0),
}
REFERENCE_CENTRE = "B"


@dataclass(frozen=True, slots=True)
class LesionDesign:
    """What a lesion is to look like.

    Attributes:
        site: Key of ``BACKGROUND_HU``.
        semi_axes_mm: Along Z, Y and X.
        texture_sd_hu: SD of the texture inside.
        texture_width_mm: Gaussian width of the texture.
        ring_hu: Added to the background at the lesion's edge, falling off outwards.
        mean_shift_hu: Added to the mean density of lesions of the site.
        seed: Names the lesion's random fields.
    """

    site: str
    semi_axes_mm: Triple
    texture_sd_hu: float
    texture_width_mm: float
    ring_hu: float
    mean_shift_hu: float
    seed: Seed


@dataclass(frozen=True, slots=True)
class Contour:
    """A delineation of a lesion: how far its centre is moved along Z, Y and X, and how much larger it is drawn."""

    shift_mm: Triple = (0.0, 0.0, 0.0)
    scale: float = 1.0


@dataclass(frozen=True)
class Scan:
    """An image with the masks drawn on it.

    Attributes:
        image: HU (or arbitrary units, for MRI), shape (Z, Y, X).
        masks: Per lesion, the true one and then the further ones asked for, of the image's shape.
        spacing_mm: Voxel size along Z, Y and X.
        origin_mm: Position of the first voxel along Z, Y and X.
    """

    image: NDArray[np.int16]
    masks: list[list[Mask]]
    spacing_mm: Triple
    origin_mm: Triple


def scanner_of(centre: str, shift: float, seed: int) -> Scanner:
    """Return a centre's scanner, its difference from the reference scanner multiplied by ``shift``."""
    reference, own = (replace(SCANNERS[name], mri_gain=_mri_gain(name, seed)) for name in (REFERENCE_CENTRE, centre))

    def between(start: float, end: float) -> float:
        return start + shift * (end - start)

    def between_each(start: Triple, end: Triple) -> Triple:
        return (between(start[0], end[0]), between(start[1], end[1]), between(start[2], end[2]))

    return Scanner(
        spacing_mm=between_each(reference.spacing_mm, own.spacing_mm),
        blur_mm=between_each(reference.blur_mm, own.blur_mm),
        noise_hu=between(reference.noise_hu, own.noise_hu),
        noise_width_px=between(reference.noise_width_px, own.noise_width_px),
        gain=between(reference.gain, own.gain),
        offset_hu=between(reference.offset_hu, own.offset_hu),
        mri_gain=between(reference.mri_gain, own.mri_gain),
    )


def scan(
    designs: Sequence[LesionDesign],
    others: Sequence[Sequence[Contour]],
    scanner: Scanner,
    size_voxels: int,
    seed: Seed,
    modality: Literal["ct", "mri"] = "ct",
) -> Scan:
    """Image one lesion, or several whose worlds are stacked along Z.

    Args:
        designs: The lesions, in order along Z.
        others: Further delineations wanted of each lesion, beside the true one.
        scanner: How it is seen.
        size_voxels: Edge of a lesion's world, in voxels of 1 mm.
        seed: Names the fields of the scan: noise, origin, bias.
        modality: ``mri`` maps HU to 300 + 1.5 HU (never below 0), multiplies a smooth bias field, and makes the noise
            Rician: the scanner's noise is the real channel's, and a second of the same size the imaginary one's.
    """
    drawn = [
        [lesion_mask(design, size_voxels, contour) for contour in (Contour(), *further)]
        for design, further in zip(designs, others, strict=True)
    ]
    world = np.concatenate([lesion_world(design, true) for design, (true, *_) in zip(designs, drawn, strict=True)])
    resample = _sampler(world.shape, scanner.spacing_mm)
    seen = resample(ndimage.gaussian_filter(world, scanner.blur_mm, mode="nearest", truncate=4.0))
    noise = scanner.noise_hu * _noise(seen.shape, scanner.noise_width_px, _generator(seed, "noise"))
    if modality == "mri":
        bias = resample(np.exp(0.15 * smooth_field(world.shape, 20.0, _generator(seed, "bias"))))
        signal = np.maximum(300 + 1.5 * (scanner.gain * seen + scanner.offset_hu), 0) * bias
        imaginary = scanner.noise_hu * _noise(seen.shape, scanner.noise_width_px, _generator(seed, "second_noise"))
        value = scanner.mri_gain * np.hypot(signal + 1.5 * noise, 1.5 * imaginary)
        lowest, highest = 0, 32767
    else:
        value = scanner.gain * (seen + noise) + scanner.offset_hu
        lowest, highest = -1024, 3071
    image = np.clip(np.rint(value), lowest, highest).astype(np.int16)
    masks = [
        [resample(_place(mask, place, len(designs)).astype(np.float32)) >= 0.5 for mask in of_lesion]
        for place, of_lesion in enumerate(drawn)
    ]
    origin = np.round(_generator(seed, "origin").uniform(-200, 200, size=3), 1)
    return Scan(image, masks, scanner.spacing_mm, (float(origin[0]), float(origin[1]), float(origin[2])))


def lesion_world(design: LesionDesign, inside: Mask) -> FloatImage:
    """Return the HU of a lesion, whose voxels are ``inside``, and of its surroundings before any scanner."""
    distance = signed_distance_mm(inside)
    lesion_share = 1 / (1 + np.exp(np.clip(distance / EDGE_WIDTH_MM, -60, 60)))
    texture = smooth_field(inside.shape, design.texture_width_mm, _generator(design.seed, "texture"))
    background = smooth_field(inside.shape, 4.0, _generator(design.seed, "background"))
    ring = design.ring_hu * np.exp(-np.square(np.maximum(distance, 0)) / (2 * RING_WIDTH_MM**2))
    outside = BACKGROUND_HU[design.site] + 8 * background + ring
    lesion = LESION_HU[design.site] + design.mean_shift_hu + design.texture_sd_hu * texture
    world: FloatImage = (1 - lesion_share) * outside + lesion_share * lesion
    return world


def lesion_mask(design: LesionDesign, size_voxels: int, contour: Contour) -> Mask:
    """Mark the voxels of one contour of a lesion in its world, shape (N, N, N): one piece, without holes."""
    shape = (size_voxels, size_voxels, size_voxels)
    boundary = 1 + 0.06 * smooth_field(shape, 4.0, _generator(design.seed, "boundary"))
    squared = np.zeros(shape, dtype=np.float32)
    for axis, (semi_axis, shift) in enumerate(zip(design.semi_axes_mm, contour.shift_mm, strict=True)):
        along = (np.arange(size_voxels) - (size_voxels - 1) / 2 - shift) / (semi_axis * contour.scale)
        squared += np.square(along, dtype=np.float32).reshape([-1 if one == axis else 1 for one in range(3)])
    pieces, count = ndimage.label(squared <= np.square(boundary))
    if count == 0:
        raise ValueError(f"a lesion with semi-axes {design.semi_axes_mm} mm holds no voxel of 1 mm")
    largest = 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    filled: Mask = ndimage.binary_fill_holes(pieces == largest)
    return filled


def smooth_field(shape: tuple[int, ...], width: float, rng: np.random.Generator) -> FloatImage:
    """Return white noise smoothed by a periodic Gaussian, with mean 0 and SD 1.

    Example:
        >>> field = smooth_field((16, 16, 16), width=2.0, rng=np.random.default_rng(0))
        >>> abs(round(float(field.mean()), 3)), round(float(field.std()), 3)
        (0.0, 1.0)
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    smooth = fft.irfftn(fft.rfftn(white) * _gaussian_transfer(shape, width), s=shape)
    centred: FloatImage = smooth - smooth.mean()
    return centred / centred.std()


def signed_distance_mm(inside: Mask) -> FloatImage:
    """Return the distance to a lesion's surface on a grid of 1 mm, negative inside.

    Distances run between voxel centres, and the surface lies half a voxel from each side's nearest centre.
    """
    outward = ndimage.distance_transform_edt(~inside)
    inward = ndimage.distance_transform_edt(inside)
    return np.where(inside, 0.5 - inward, outward - 0.5).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Reading:
    """The planted quantities as measured in a written image: texture, ring and size of a lesion."""

    log_core_sd: float
    ring_contrast: float
    log_volume: float


def read_lesion(image: NDArray[np.int16], mask: Mask, spacing_mm: Triple) -> Reading:
    """Measure a lesion as a reader does who knows where to look.

    The core lies more than 3 mm inside (or is the deepest half, where too little does), the ring 2 to 5 mm outside,
    clear of a blurred edge, and the surroundings it is compared with 8 to 12 mm outside.
    """
    around = _around(mask, [int(np.ceil(13 / width)) for width in spacing_mm])
    values, inside = image[around].astype(np.float64), mask[around]
    depth = ndimage.distance_transform_edt(inside, sampling=spacing_mm)
    height = ndimage.distance_transform_edt(~inside, sampling=spacing_mm)
    core = depth > 3.0
    if core.sum() < 30:
        core = depth >= np.median(depth[inside])
    ring, outer = (height > 2.0) & (height <= 5.0), (height > 8.0) & (height <= 12.0)
    return Reading(
        log_core_sd=float(np.log(max(values[core].std(), 1e-3))),
        ring_contrast=float(values[ring].mean() - values[outer].mean()),
        log_volume=float(np.log(inside.sum() * np.prod(spacing_mm))),
    )


def _around(mask: Mask, margin: Sequence[int]) -> tuple[slice, ...]:
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(slice(max(side.start - more, 0), side.stop + more) for side, more in zip(box, margin, strict=True))


def _place(mask: Mask, place: int, worlds: int) -> Mask:
    stack = np.zeros((worlds, *mask.shape), dtype=bool)
    stack[place] = mask
    return stack.reshape(-1, *mask.shape[1:])


def _sampler(shape: tuple[int, ...], spacing_mm: Triple) -> Callable[[FloatImage], FloatImage]:
    """Return linear interpolation from a 1 mm grid to a spacing, axis by axis, from the first voxel on."""
    steps = []
    for size, width in zip(shape, spacing_mm, strict=True):
        position = np.arange(int((size - 1) / width + 1e-9) + 1) * width
        lower = np.minimum(position.astype(int), size - 2)
        steps.append((lower, (position - lower).astype(np.float32)))

    def resample(world: FloatImage) -> FloatImage:
        for axis, (lower, share) in enumerate(steps):
            before, after = world.take(lower, axis), world.take(lower + 1, axis)
            world = before + share.reshape([-1 if one == axis else 1 for one in range(3)]) * (after - before)
        return world

    return resample


def _noise(shape: tuple[int, ...], width_px: float, rng: np.random.Generator) -> FloatImage:
    white = rng.standard_normal(shape, dtype=np.float32)
    smooth: FloatImage = ndimage.gaussian_filter(white, (0, width_px, width_px), mode="wrap")
    return smooth / smooth.std()


@cache
def _frequencies(shape: tuple[int, ...]) -> NDArray[np.float32]:
    squares = [np.fft.fftfreq(size) ** 2 for size in shape[:-1]] + [np.fft.rfftfreq(shape[-1]) ** 2]
    grids = np.meshgrid(*squares, indexing="ij", sparse=True)
    total: NDArray[np.float32] = np.sum(np.broadcast_arrays(*grids), axis=0, dtype=np.float32)
    return total


def _gaussian_transfer(shape: tuple[int, ...], width: float) -> NDArray[np.float32]:
    transfer: NDArray[np.float32] = np.exp(np.float32(-2 * np.pi**2 * width**2) * _frequencies(shape))
    return transfer


def _generator(seed: Seed, field: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(_FIELDS.index(field),))))


def _mri_gain(centre: str, seed: int) -> float:
    """Draw a centre's gain in MRI; patient 0 of the image stream stands for the centres."""
    place = list(SCANNERS).index(centre)
    return float(np.random.default_rng(np.random.SeedSequence([seed, 1, 0, place])).uniform(0.7, 1.4))
