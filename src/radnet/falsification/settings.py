"""Which controls a run computes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Permuted = Literal["logistic", "model"]


@dataclass(frozen=True)
class FalsificationSettings:
    """How hard a run tries to refute itself.

    Attributes:
        permutations: Times the outcomes are permuted; 0 leaves the test out.
        permute: What is refitted to permuted outcomes: ``logistic``, a ridge logistic model on the model's inputs (with
            follow-up a ridge Cox model), or ``model``, the configured model.
        random_signatures: Random signatures judged beside ``control_random_features``; 0 leaves them out.
        signature_size: Features of a random signature.
        clinical: Columns of clinical.csv for ``control_clinical``, or None for those the model takes.
        voxels: ``patients``: of how many development patients, and of half as many held-out ones, lesions are measured
            again for the image controls; None leaves these out.
    """

    permutations: int
    permute: Permuted
    random_signatures: int
    signature_size: int
    clinical: Sequence[str] | None
    voxels: Mapping[str, int] | None

    def __post_init__(self) -> None:
        faults = [
            f"{name} must be {least} or more, got {value}"
            for name, value, least in (
                ("permutations", self.permutations, 0),
                ("random_signatures", self.random_signatures, 0),
                ("signature_size", self.signature_size, 1),
            )
            if value < least
        ]
        if self.permute not in get_args(Permuted):
            faults.append(f"permute must be {' or '.join(get_args(Permuted))}, got {self.permute!r}")
        if self.voxels is not None and (set(self.voxels) != {"patients"} or self.voxels["patients"] < 1):
            faults.append(f"voxels must be patients: 1 or more, or null, got {dict(self.voxels)}")
        if faults:
            raise ValueError("; ".join(faults))
