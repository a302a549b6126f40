"""What a network is trained to make small."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from radnet.learning.batch import Batch


def response_loss(score: Tensor, batch: Batch, positive_weight: float = 1.0) -> Tensor:
    """Return the mean binary cross-entropy of scores taken as logits of the event.

    Args:
        score: Shape (B,).
        batch: The patients scored.
        positive_weight: Weight of a patient with the event; 1 leaves the prevalence as it is.
    """
    weight = torch.tensor(positive_weight, dtype=score.dtype, device=score.device)
    return binary_cross_entropy_with_logits(score, batch["event"], pos_weight=weight)
