"""A batch of patients: lesions padded to the longest list, with a mask of those present."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radnet.cohort import ChannelKind, PatchTable
from radnet.learning.augment import Augmentation, draw_seed


class Batch(TypedDict):
    """Tensors of B patients with up to L lesions each; zero where nothing is."""

    features: Tensor  # (B, L, F) float32
    present: Tensor  # (B, L) bool
    has_features: Tensor  # (B, L) bool, the lesions that were measured
    clinical: Tensor  # (B, K) float32
    has_clinical: Tensor  # (B,) bool, the patients of whom a clinical value is known
    event: Tensor  # (B,) float32, 0 or 1; (B, T) of several endpoints, NaN where one is unknown
    time: Tensor  # likewise, NaN for a binary endpoint
    place: Tensor  # (B,) int64, which of all patients of the bags each is
    image: NotRequired[Tensor]  # (B, L, C, D, H, W) float16 or float32, as the file has it; the network widens it
    has_image: NotRequired[Tensor]  # (B, L) bool, the lesions that have a patch


@dataclass(frozen=True)
class Images:
    """The patches of the lesions of some patients, each read from its file when a batch asks for it.

    Attributes:
        table: Where the patches are.
        lesions: Per patient the (patient_id, lesion_id) of each lesion.
        places: Per patient the row of the file of each lesion, -1 for one without a patch.
    """

    table: PatchTable
    lesions: Sequence[Sequence[tuple[str, str]]]
    places: Sequence[NDArray[np.int64]]

    @property
    def kinds(self) -> tuple[ChannelKind, ...]:
        """What each channel holds, in order."""
        return tuple(self.table.channels.values())

    def of(self, patients: NDArray) -> "Images":
        """Keep the patients at these places."""
        return Images(self.table, [self.lesions[one] for one in patients], [self.places[one] for one in patients])

    def read(
        self, patients: Sequence[int], augment: Augmentation | None = None, seed: int = 0, epoch: int = 0
    ) -> Tensor:
        """Return the patches of patients, shape (B, L, C, D, H, W), 0 where a lesion has none.

        They are of the file's type, float16 or float32, varied or not, which halves what is moved of a float16. The
        file is mapped anew by each call: what is read of it does not stay in this process's memory.

        Args:
            patients: Their places; L is the longest of their lists of lesions.
            augment: Varies each patch; None leaves them as they are.
            seed: Of the draws.
            epoch: Of the draws.
        """
        patches = self.table.array()
        longest = max(len(self.places[patient]) for patient in patients)
        image = np.empty((len(patients), longest, *patches.shape[1:]), dtype=patches.dtype)
        for row, patient in enumerate(patients):
            image[row, len(self.places[patient]) :] = 0
            for column, place in enumerate(self.places[patient]):
                if place < 0:
                    image[row, column] = 0
                elif augment is None:
                    image[row, column] = patches[place]
                else:
                    drawn = draw_seed(seed, epoch, *self.lesions[patient][column])
                    image[row, column] = augment(patches[place], self.kinds, drawn).numpy()
        return torch.from_numpy(image)


@dataclass(frozen=True)
class Bags:
    """Patients as arrays, ready to be batched: for each his lesions' features, clinical values and outcome.

    Attributes:
        features: Per patient an array (lesions, F); a lesion that was not measured is a row of NaN. F may be 0.
        clinical: Shape (patients, K); a patient of whom nothing is known is a row of NaN. K may be 0.
        event: Shape (patients,), 0 or 1; shape (patients, T) of several endpoints, NaN where one is unknown.
        time: Likewise, NaN for a binary endpoint.
        centres: Of each patient; may be left out where batches are not balanced by them.
        images: Patches of the same lesions, or None.
    """

    features: Sequence[np.ndarray]
    clinical: np.ndarray
    event: np.ndarray
    time: np.ndarray
    centres: Sequence[str] = ()
    images: Images | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.features), len(self.clinical), len(self.event), len(self.time)}
        lengths |= {len(self.centres)} if self.centres else set()
        lengths |= {len(self.images.places)} if self.images else set()
        if len(lengths) != 1:
            raise ValueError(
                f"features, clinical, event and time are of {sorted(lengths)} patients, expected one number"
            )
        if any(len(lesions) == 0 for lesions in self.features):
            raise ValueError("a patient without a lesion cannot be batched")
        if self.images and [len(one) for one in self.images.places] != [len(one) for one in self.features]:
            raise ValueError("features and images are of other numbers of lesions")

    def __len__(self) -> int:
        return len(self.event)

    def of(self, places: NDArray) -> "Bags":
        """Keep the patients at these places."""
        return Bags(
            [self.features[place] for place in places],
            self.clinical[places],
            self.event[places],
            self.time[places],
            [self.centres[place] for place in places] if self.centres else (),
            self.images.of(places) if self.images else None,
        )

    def batch(self) -> Batch:
        """Return all patients as one batch."""
        tables = self.tables()
        return tables if self.images is None else Batch(**{**tables, "image": self.images.read(range(len(self)))})

    def tables(self) -> Batch:
        """Return all patients as one batch, without their images, which may be too large to stand in memory."""
        longest = max(len(lesions) for lesions in self.features)
        features = np.full((len(self), longest, self.features[0].shape[1]), np.nan, dtype=np.float32)
        present = np.zeros((len(self), longest), dtype=bool)
        for row, lesions in enumerate(self.features):
            features[row, : len(lesions)] = lesions
            present[row, : len(lesions)] = True
        clinical = self.clinical.astype(np.float32)
        batch = Batch(
            features=torch.from_numpy(np.nan_to_num(features)),
            present=torch.from_numpy(present),
            has_features=torch.from_numpy(present & ~np.isnan(features).all(axis=2)),
            clinical=torch.from_numpy(np.nan_to_num(clinical)),
            has_clinical=torch.from_numpy(~np.isnan(clinical).any(axis=1)),
            event=torch.from_numpy(self.event.astype(np.float32)),
            time=torch.from_numpy(self.time.astype(np.float32)),
            place=torch.arange(len(self)),
        )
        if self.images is not None:
            has_image = np.zeros(present.shape, dtype=bool)
            for row, places in enumerate(self.images.places):
                has_image[row, : len(places)] = places >= 0
            batch["has_image"] = torch.from_numpy(has_image)
        return batch
