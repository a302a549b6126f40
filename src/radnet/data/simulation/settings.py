"""Knobs of a simulated cohort, their presets, and how a value typed on a command line becomes a knob."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

import numpy as np

from radnet.data.simulation.presets import PRESETS, Centre


@dataclass(frozen=True)
class SimulationSettings:
    """Every knob of a simulated cohort.

    The defaults are the preset ``small``; ``simulation_settings`` starts from any preset.

    A study has use for some of them only, and turning another is refused.

    Attributes:
        preset: Which study is imitated, and which centres there are, in which shares.
        n: Patients.
        cohort: Put before every patient and centre (``new`` gives ``new-P0001`` and ``new-A``). It renames and draws
            nothing: fresh patients need another ``seed`` too.
        size_voxels: Edge of a lesion's world grid, in voxels of 1 mm.
        radius_mm: Smallest and largest radius of a lesion.
        max_lesions: Most lesions of a patient.
        images: False writes the tables only.
        scene: ``cube``, one image per lesion; ``volume``, one scan per patient that holds all its lesions.
        exact_counts: Allot responders to centres and splits by their share instead of drawing each one.
        pfs_latent: Multiplies a patient's rate of progression by exp(-pfs_latent t), t the texture latent.
        biology: Whether ``biology.csv`` is written.
        seed: Master seed.
        signal_in: The planted quantity that differs by outcome.
        carrier: ``all`` lesions carry the signal, or only ``one`` drawn at random.
        signal: Imaging effect; 0 plants nothing in the images. The shift of the latents between outcomes, in SD; for a
            time to recurrence, the log hazard ratio per SD of the latent.
        clinical: Multiplies the log odds ratios of the three drivers; 0 plants none.
        covariates: Other clinical variables depend on the response, or not (``pooled``).
        centre_shift: 0 gives every centre the scanner of B, 1 its own, 2 twice as far from B.
        centre_outcome: Log odds added to the prevalence of centre A and taken from that of C.
        missing: Share of the clinical cells left empty, completely at random; ``cps`` has its own.
        lesion_noise: SD of the lesions' latents within a patient.
        ring_sign: -1, the ring of a responder is darker; +1, brighter.
        prevalence: Probability of response.
        modality: ``ct`` in HU, or ``mri`` in arbitrary units.
        strict_null: Nothing is related to response or survival: forces ``signal``, ``clinical``, ``centre_outcome`` and
            ``pfs_latent`` to 0 and ``covariates`` to ``pooled``, and draws progression without the response.
    """

    preset: str = "small"
    n: int = 60
    cohort: str = ""
    size_voxels: int = 48
    radius_mm: tuple[float, float] = (7.0, 14.0)
    max_lesions: int = 3
    images: bool = True
    scene: Literal["cube", "volume"] = "cube"
    exact_counts: bool = True
    pfs_latent: float = 0.0
    biology: bool = False
    seed: int = 7
    signal_in: Literal["texture", "ring", "both", "volume"] = "both"
    carrier: Literal["all", "one"] = "all"
    signal: float = 1.1931
    clinical: float = 1.0
    covariates: Literal["by_response", "pooled"] = "by_response"
    centre_shift: float = 1.0
    centre_outcome: float = 0.0
    missing: float = 0.0
    lesion_noise: float = 0.5
    ring_sign: int = -1
    prevalence: float = 85 / 240
    modality: Literal["ct", "mri"] = "ct"
    strict_null: bool = False

    def __post_init__(self) -> None:
        kept = list(self._kept_knobs_turned())
        if self.strict_null:
            for knob in ("signal", "clinical", "centre_outcome", "pfs_latent"):
                object.__setattr__(self, knob, 0.0)
            object.__setattr__(self, "covariates", "pooled")
        if faults := [*self._unknown_words(), *kept, *self._values_out_of_range()]:
            raise ValueError("these settings cannot be simulated:\n" + "\n".join(f"  - {fault}" for fault in faults))

    @property
    def study(self) -> str:
        """Which study the preset imitates."""
        return PRESETS[self.preset].study

    @property
    def centres(self) -> Mapping[str, Centre]:
        """The centres of the preset by name."""
        return PRESETS[self.preset].centres

    @property
    def centre_shares(self) -> Mapping[str, int]:
        """Patients per centre of one full cycle of the preset."""
        return {name: centre.patients for name, centre in self.centres.items()}

    def _unknown_words(self) -> Iterable[str]:
        if self.preset not in PRESETS:
            yield _unknown("preset", self.preset, PRESETS)
        for field in fields(self):
            words = get_args(field.type) if get_origin(field.type) is Literal else ()
            if words and getattr(self, field.name) not in words:
                yield f"{field.name} must be {' or '.join(words)}, got {getattr(self, field.name)!r}"
        if not re.fullmatch(r"[A-Za-z0-9_-]*", self.cohort):
            yield f"cohort is part of file names: letters, digits, - and _ only, got {self.cohort!r}"

    def _kept_knobs_turned(self) -> Iterable[str]:
        if self.preset not in PRESETS:
            return
        preset = PRESETS[self.preset]
        usual = {field.name: field.default for field in fields(self)} | dict(preset.knobs)
        for knob in preset.kept:
            if (value := getattr(self, knob)) != usual[knob]:
                yield f"preset {self.preset} has no use for {knob}: leave it at {usual[knob]}, got {value}"

    def _values_out_of_range(self) -> Iterable[str]:
        numbers = {field.name: getattr(self, field.name) for field in fields(self) if field.type is float}
        yield from (f"{name} must be finite, got {value}" for name, value in numbers.items() if not np.isfinite(value))
        limits: dict[str, tuple[float, float]] = {
            "n": (2, np.inf),
            "seed": (0, 2**32 - 1),
            "size_voxels": (16, 256),
            "max_lesions": (1, PRESETS[self.preset].most_lesions if self.preset in PRESETS else np.inf),
            "centre_shift": (0, 2),
            "missing": (0, 1),
            "signal": (0, 10),
            "lesion_noise": (0, np.inf),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                bound = f"{low:g} or more" if high == np.inf else f"{low:g} to {high:g}"
                yield f"{name} must be {bound}, got {getattr(self, name)}"
        if not 0 < self.prevalence < 1:
            yield f"prevalence must lie between 0 and 1, got {self.prevalence}"
        if self.ring_sign not in (-1, 1):
            yield f"ring_sign must be -1 or 1, got {self.ring_sign}"
        if len(self.radius_mm) != 2 or not 3 <= self.radius_mm[0] <= self.radius_mm[1]:
            yield f"radius_mm must be a smallest (3 or more) and a largest radius, got {self.radius_mm}"
        elif self.radius_mm[1] + 8 > self.size_voxels / 2:
            room = self.size_voxels / 2 - 8
            yield f"radius_mm reaches {self.radius_mm[1]:g} mm, but size_voxels={self.size_voxels} holds {room:g} mm"


def simulation_settings(preset: str = "small", **knobs: object) -> SimulationSettings:
    """Return a preset with some knobs turned; a value may be the text of a command line.

    Raises:
        ValueError: If the preset or a knob is unknown (with the nearest name and the list), or a value does not fit.

    Example:
        >>> settings = simulation_settings("paper", signal="1.9922", images="false", radius_mm="[7,14]")
        >>> settings.n, settings.signal, settings.images, settings.radius_mm
        (240, 1.9922, False, (7.0, 14.0))
    """
    if preset not in PRESETS:
        raise ValueError(_unknown("preset", preset, PRESETS))
    types = {field.name: field.type for field in fields(SimulationSettings) if field.name != "preset"}
    faults = [_unknown("knob", knob, types) for knob in knobs if knob not in types]
    values: dict[str, Any] = dict(PRESETS[preset].knobs)
    for knob, value in knobs.items():
        if knob not in types:
            continue
        try:
            values[knob] = _as_knob(value, types[knob])
        except (TypeError, ValueError):
            faults.append(f"{knob} must be {_said(types[knob])}, got {value!r}")
    if faults:
        raise ValueError("\n".join(faults))
    return SimulationSettings(preset=preset, **values)


def _unknown(noun: str, name: str, known: Iterable[str]) -> str:
    near = get_close_matches(str(name), list(known), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown {noun} {name!r}{hint} ({noun}s: {', '.join(known)})"


def _as_knob(value: Any, kind: Any) -> object:
    if get_origin(kind) is tuple:
        parts = value.strip("[]() ").split(",") if isinstance(value, str) else value
        return tuple(float(part) for part in parts)
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if isinstance(value, bool | np.bool_):
            return bool(value)
        if str(value).lower() not in words:
            raise ValueError
        return words[str(value).lower()]
    if isinstance(value, bool):
        raise TypeError
    if kind is int:
        if isinstance(value, int) or (isinstance(value, str) and value.strip().lstrip("+-").isdigit()):
            return int(value)
        if not float(value).is_integer():
            raise ValueError
        return int(float(value))
    if kind is float:
        return float(value)
    if get_origin(kind) is Literal and value not in get_args(kind):
        raise ValueError
    return str(value)


def _said(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if get_origin(kind) is tuple:
        return "two numbers such as [7,14]"
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "text")
