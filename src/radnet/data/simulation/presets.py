"""Presets of simulated cohorts: which study they imitate, its centres, and how its knobs stand."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Centre:
    """A centre of a preset.

    Attributes:
        patients: Its patients in one full cycle of the preset, in which its share is exact.
        train: Share of its patients that train; the others are held out.
        scanner: Key of ``phantom.SCANNERS``.
    """

    patients: int
    train: float
    scanner: str


@dataclass(frozen=True)
class Preset:
    """How a simulated cohort is set up before any knob is turned.

    Attributes:
        study: Key of ``planted.STUDIES``: what is known of patients and what becomes of them.
        centres: By name.
        knobs: Where the preset differs from the defaults of the settings.
        most_lesions: Lesions per patient that the study knows; ``max_lesions`` can only lower it.
        kept: Knobs that mean nothing to the study, and so cannot be turned.
        redrawn_in: Whose lesions are delineated again: the first ones of ``everybody``, or of those who ``train``.
    """

    study: str
    centres: Mapping[str, Centre]
    knobs: Mapping[str, object]
    most_lesions: int
    kept: tuple[str, ...] = ()
    redrawn_in: Literal["everybody", "train"] = "everybody"


_RESPONSE_ONLY = ("exact_counts", "carrier", "pfs_latent", "covariates", "centre_outcome", "prevalence")
"""Knobs of the study of responders and non-responders that no other has a use for."""

PRESETS: Mapping[str, Preset] = {
    "small": Preset(
        study="response",
        centres={"A": Centre(24, 1.0, "A"), "B": Centre(28, 0.5, "B"), "C": Centre(8, 0.0, "C")},
        knobs={"n": 60, "size_voxels": 48, "radius_mm": (7.0, 14.0), "max_lesions": 3, "exact_counts": True},
        most_lesions=5,
    ),
    "paper": Preset(
        study="response",
        centres={"A": Centre(107, 1.0, "A"), "B": Centre(128, 0.5, "B"), "C": Centre(5, 0.0, "C")},
        knobs={"n": 240, "size_voxels": 64, "radius_mm": (7.0, 20.0), "max_lesions": 5, "exact_counts": False},
        most_lesions=5,
    ),
    "multicentre": Preset(
        study="response",
        centres={
            "A": Centre(80, 1.0, "A"),
            "B": Centre(80, 0.5, "B"),
            "C": Centre(80, 0.0, "C"),
            "D": Centre(80, 0.0, "D"),
        },
        knobs={"n": 320, "size_voxels": 48, "radius_mm": (7.0, 14.0), "max_lesions": 3, "exact_counts": False},
        most_lesions=5,
    ),
    "wang": Preset(
        study="recurrence",
        centres={"B": Centre(139 + 139, 0.5, "B"), "C": Centre(91, 0.0, "C")},
        knobs={
            "n": 139 + 139 + 91,
            "size_voxels": 48,
            "radius_mm": (7.0, 14.0),
            "max_lesions": 1,
            "exact_counts": False,
            "signal_in": "texture",
            "signal": 0.5,
            "clinical": 0.0,
            "covariates": "pooled",
            "modality": "mri",
        },
        most_lesions=1,
        kept=(*_RESPONSE_ONLY, "clinical"),
        redrawn_in="train",
    ),
    "han": Preset(
        study="phenotype",
        centres={
            "discovery": Centre(94, 1.0, "B"),
            "validation": Centre(24, 0.0, "B"),
            "cd8": Centre(158, 0.0, "D"),
            "immunotherapy": Centre(77, 0.0, "D"),
        },
        knobs={
            "n": 94 + 24 + 158 + 77,
            "size_voxels": 48,
            "radius_mm": (7.0, 14.0),
            "max_lesions": 1,
            "exact_counts": False,
            "biology": True,
            "signal_in": "ring",
            "signal": 1.6,
            "clinical": 0.0,
            "covariates": "pooled",
            "modality": "mri",
        },
        most_lesions=1,
        kept=(*_RESPONSE_ONLY, "clinical", "missing"),
        redrawn_in="train",
    ),
    "ligero": Preset(
        study="benefit",
        centres={"phase1": Centre(85, 1.0, "B"), "bladder": Centre(46, 0.0, "A"), "lung": Centre(47, 0.0, "D")},
        knobs={
            "n": 85 + 46 + 47,
            "size_voxels": 64,
            "radius_mm": (5.0, 20.0),
            "max_lesions": 17,
            "exact_counts": False,
            "signal": 0.9,
            "covariates": "pooled",
        },
        most_lesions=17,
        kept=_RESPONSE_ONLY,
        redrawn_in="train",
    ),
}
