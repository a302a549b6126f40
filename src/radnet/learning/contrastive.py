"""Pretraining of an image branch on patches alone: two views of a lesion are to be told from all other lesions."""

from dataclasses import dataclass

import numpy as np
import torch
from monai.losses import ContrastiveLoss
from torch import Tensor, nn

from radnet.learning.augment import Augmentation
from radnet.learning.batch import Images
from radnet.learning.order import EpochBatches, epoch_seeds
from radnet.models.hybrid import ImageBranch

_FEWEST_PATCHES = 4
_LOWEST_TEMPERATURE = 0.05  # MONAI takes e to the 1/temperature in single precision, which ends at e to the 88


@dataclass(frozen=True, slots=True)
class Contrastive:
    """How an image branch is pretrained by contrast (SimCLR).

    Attributes:
        epochs: Passes over the patches.
        batch_size: Lesions per step, each seen twice; every lesion is told from the 2·(batch_size - 1) views of others.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        temperature: By which similarities are divided; the lower, the more the most similar lesions count.
        projection: Numbers in which views are compared. They and the layers that make them are thrown away.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    temperature: float
    projection: int

    def __post_init__(self) -> None:
        if min(self.epochs, self.projection) < 1:
            raise ValueError(f"pretrain: epochs and projection must be 1 or more, got {self.epochs}, {self.projection}")
        if self.batch_size < 2:
            raise ValueError(f"pretrain.batch_size must be 2 or more, to tell lesions apart, got {self.batch_size}")
        if not (0 < self.learning_rate < np.inf and 0 <= self.weight_decay < np.inf):
            raise ValueError(
                f"pretrain.learning_rate must be above 0 and weight_decay 0 or more, got {self.learning_rate} and "
                f"{self.weight_decay}"
            )
        if not _LOWEST_TEMPERATURE <= self.temperature < np.inf:
            raise ValueError(f"pretrain.temperature must be {_LOWEST_TEMPERATURE} or more, got {self.temperature}")


def pretrain(
    branch: ImageBranch,
    images: Images,
    augment: Augmentation | None,
    settings: Contrastive,
    seed: int,
    threads: int = 1,
) -> list[float]:
    """Teach an image branch to know a lesion again when it is seen varied; outcomes are no argument, so none leaks.

    In every epoch each patch is drawn twice by ``augment``. The branch and a perceptron with one hidden layer as wide
    as the embedding turn a view into ``projection`` numbers, by which it is to be found among the views of its batch.
    What augmentation varies is thereby held to say nothing. Other lesions of the same patient count as others.

    Order, views, dropout and the perceptron's first weights follow from ``seed``: on a CPU the same seed and threads
    give the same branch to the bit. The state that others draw from is left as it was.

    Args:
        branch: Changed in place, on the device it is on; weights that are frozen stay as they are.
        images: Patches of the patients learned from, and of nobody else. Lesions without a patch are passed over.
        augment: Makes the views.
        settings: See ``Contrastive``.
        seed: Of all that chance decides.
        threads: CPU threads of a step.

    Returns:
        Mean loss per epoch over the lesions seen. A last batch of one lesion has none to be told from and is left out;
        the order, and so the lesion, changes each epoch.

    Raises:
        ValueError: If fewer than 4 lesions have a patch, or augmentation is missing or does nothing.

    References:
        Chen et al. A simple framework for contrastive learning of visual representations. ICML 2020, algorithm 1.
    """
    lesions = _one_by_one(images)
    if len(lesions.places) < _FEWEST_PATCHES:
        raise ValueError(
            f"pretrain needs patches of {_FEWEST_PATCHES} lesions at least, got {len(lesions.places)}: "
            "add patients with images, or switch it off with pretrain=none"
        )
    if augment is None or not augment.steps.transforms:
        raise ValueError(
            "pretrain needs augmentation: of two views that are the same there is nothing to learn; "
            "choose one such as augment=moderate, or switch it off with pretrain=none"
        )
    device = next(branch.parameters()).device
    training, threads_before = branch.training, torch.get_num_threads()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        width = branch.embedding
        project = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, settings.projection)).to(device)
        learning = [weight for weight in (*branch.parameters(), *project.parameters()) if weight.requires_grad]
        optimiser = torch.optim.AdamW(learning, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        contrast = ContrastiveLoss(temperature=settings.temperature)
        batches = EpochBatches(len(lesions.places), settings.batch_size, seed)
        branch.train()
        torch.set_num_threads(threads)
        try:
            losses = []
            for epoch in range(settings.epochs):
                _, dropout_seed = epoch_seeds(seed, epoch)
                torch.manual_seed(dropout_seed)
                batches.set_epoch(epoch)
                total, seen = 0.0, 0
                for drawn in batches:
                    batch = [place for place, _ in drawn]
                    views = _views(lesions, batch, augment, seed, epoch).to(device, torch.float32)
                    first, second = project(branch(views)).chunk(2)
                    loss = contrast(first, second)
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    total += float(loss.detach()) * len(batch)
                    seen += len(batch)
                losses.append(total / seen)
        finally:
            torch.set_num_threads(threads_before)
            branch.train(training)
            branch.zero_grad()
    return losses


def _one_by_one(images: Images) -> Images:
    """Return each lesion that has a patch as if it were the only one of a patient."""
    pairs = zip(images.lesions, images.places, strict=True)
    known = [pair for patient in pairs for pair in zip(*patient, strict=True) if pair[1] >= 0]
    return Images(images.table, [[lesion] for lesion, _ in known], [np.array([place]) for _, place in known])


def _views(lesions: Images, batch: list[int], augment: Augmentation, seed: int, epoch: int) -> Tensor:
    """Return the first views of a batch and then the second, shape (2·lesions, C, D, H, W)."""
    return torch.cat([lesions.read(batch, augment, seed, 2 * epoch + view)[:, 0] for view in range(2)])
