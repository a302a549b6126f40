"""A batch of patients: lesions padded to the longest list, with a mask of those present."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor


class Batch(TypedDict):
    """Tensors of B patients with up to L lesions each."""

    features: Tensor  # (B, L, F) float32, zero where no lesion is
    present: Tensor  # (B, L) bool
    clinical: Tensor  # (B, K) float32
    event: Tensor  # (B,) float32, 0 or 1
    time: Tensor  # (B,) float32, NaN for a binary endpoint


@dataclass(frozen=True)
class Bags:
    """Patients as arrays, ready to be batched: for each his lesions' features, clinical values and outcome.

    Attributes:
        features: Per patient an array (lesions, F).
        clinical: Shape (patients, K); K may be 0.
        event: Shape (patients,), bool.
        time: Shape (patients,), NaN for a binary endpoint.
    """

    features: Sequence[np.ndarray]
    clinical: np.ndarray
    event: np.ndarray
    time: np.ndarray

    def __post_init__(self) -> None:
        lengths = {len(self.features), len(self.clinical), len(self.event), len(self.time)}
        if len(lengths) != 1:
            raise ValueError(
                f"features, clinical, event and time are of {sorted(lengths)} patients, expected one number"
            )
        if any(len(lesions) == 0 for lesions in self.features):
            raise ValueError("a patient without a lesion cannot be batched")

    def __len__(self) -> int:
        return len(self.event)

    def of(self, places: np.ndarray) -> "Bags":
        """Keep the patients at these places."""
        kept = [self.features[place] for place in places]
        return Bags(kept, self.clinical[places], self.event[places], self.time[places])

    def batch(self) -> Batch:
        """Return all patients as one batch."""
        longest = max(len(lesions) for lesions in self.features)
        features = np.zeros((len(self), longest, self.features[0].shape[1]), dtype=np.float32)
        present = np.zeros((len(self), longest), dtype=bool)
        for row, lesions in enumerate(self.features):
            features[row, : len(lesions)] = lesions
            present[row, : len(lesions)] = True
        return Batch(
            features=torch.from_numpy(features),
            present=torch.from_numpy(present),
            clinical=torch.from_numpy(self.clinical.astype(np.float32)),
            event=torch.from_numpy(self.event.astype(np.float32)),
            time=torch.from_numpy(self.time.astype(np.float32)),
        )
