"""Perturbations of a lesion by name: what a ``repeat`` such as ``rotate_5deg`` says was done before it was measured."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

PerturbationKind = Literal["rotate", "translate", "noise", "grow", "shrink", "randomise"]

DEFAULT = (
    "rotate_-10deg",
    "rotate_10deg",
    "translate_0.25_0.25_0.25",
    "translate_0.75_0.75_0.75",
    "noise_1",
    "grow_15pct",
    "shrink_15pct",
    "randomise_1",
)
"""What ``--perturb default`` stands for: every kind, both ways where there are two; the amounts are ours."""

_RANDOM = ("noise", "randomise")
_OF_THE_GRID = ("rotate", "translate")
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_PATTERNS: dict[PerturbationKind, str] = {
    "rotate": rf"rotate_{_NUMBER}deg",
    "translate": rf"translate_{_NUMBER}_{_NUMBER}_{_NUMBER}",
    "noise": r"noise_(\d+)",
    "grow": rf"grow_{_NUMBER}pct",
    "shrink": rf"shrink_{_NUMBER}pct",
    "randomise": r"randomise_(\d+)",
}
_KNOWN = "rotate_5deg, translate_0.25_0.75_0 (Z, Y, X), noise_1, grow_15pct, shrink_15pct, randomise_1"


@dataclass(frozen=True, slots=True)
class Perturbation:
    """One way to perturb a lesion.

    Attributes:
        kind: ``rotate`` turns lesion and image within the slice, ``translate`` moves both by parts of a voxel,
            ``noise`` adds noise to the image, ``grow`` and ``shrink`` change the lesion's volume, ``randomise``
            displaces its contour at random.
        amounts: Degrees, from the X axis towards Y; or fractions of a voxel along Z, Y and X; or percent of the volume;
            or, for a random kind, which draw it is: 1, 2, …
    """

    kind: PerturbationKind
    amounts: tuple[float, ...]

    def __post_init__(self) -> None:
        first = self.amounts[0]
        fault = {
            "rotate": "an angle is not 0 and at most 180 degrees" if not 0 < abs(first) <= 180 else "",
            "translate": "fractions of a voxel are at most 1 and not all 0"
            if max(map(abs, self.amounts)) > 1 or not any(self.amounts)
            else "",
            "grow": "a lesion grows by more than 0 and at most 100 percent" if not 0 < first <= 100 else "",
            "shrink": "a lesion shrinks by more than 0 and less than 100 percent" if not 0 < first < 100 else "",
        }.get(self.kind, "draws are numbered from 1" if first < 1 else "")
        if fault:
            raise ValueError(f"perturbation {self}: {fault}")

    def __str__(self) -> str:
        """Return its name, which is the ``repeat`` of what is measured."""
        unit = {"rotate": "deg", "grow": "pct", "shrink": "pct"}.get(self.kind, "")
        return f"{self.kind}_{'_'.join(f'{amount:.12g}' for amount in self.amounts)}{unit}"

    @property
    def random(self) -> bool:
        """Whether something is drawn."""
        return self.kind in _RANDOM

    @property
    def of_the_grid(self) -> bool:
        """Whether the grid that is measured on is moved, and neither image nor mask is changed."""
        return self.kind in _OF_THE_GRID


def perturbation_named(name: str) -> Perturbation:
    """Return the perturbation of a name.

    Raises:
        ValueError: If it is the name of none, or an amount makes no sense.

    Example:
        >>> perturbation_named("translate_0.25_0.75_0").amounts
        (0.25, 0.75, 0.0)
    """
    for kind, pattern in _PATTERNS.items():
        if found := re.fullmatch(pattern, name):
            return Perturbation(kind, tuple(float(amount) for amount in found.groups()))
    raise ValueError(f"there is no perturbation {name!r}; a name is like one of {_KNOWN}")


def perturbations_named(names: Iterable[str]) -> tuple[Perturbation, ...]:
    """Return the perturbations of some names, with every fault of them at once.

    Raises:
        ValueError: If there is no name, one is that of none, or two are of the same perturbation.
    """
    found: list[Perturbation] = []
    faults: list[str] = []
    for name in names:
        try:
            one = perturbation_named(name)
        except ValueError as error:
            faults.append(str(error))
            continue
        if one in found:
            faults.append(f"perturbation {one} is named twice")
        found.append(one)
    if faults:
        raise ValueError("; ".join(faults))
    if not found:
        raise ValueError(f"no perturbation is named; a name is like one of {_KNOWN}")
    return tuple(found)


def is_perturbation(repeat: str) -> bool:
    """Whether a ``repeat`` names a perturbation, and not a delineation by hand."""
    return any(re.fullmatch(pattern, repeat) for pattern in _PATTERNS.values())
