"""Networks that score a patient from his lesions' features and clinical values."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class RadiomicsMLP(nn.Module):
    """Zhao 2023: three hidden layers on the radiomics features; clinical values, if any, join at the fourth.

    The fourth layer is linear on the last hidden layer beside the clinical values, so that these reach nothing
    before it and a weight of zero gives back the radiomics score. Widths, activation and dropout are not printed in
    the paper.

    Args:
        n_features: Radiomics features per lesion.
        n_clinical: Clinical values per patient; 0 for radiomics alone.
        hidden: Width of each hidden layer.
        dropout: Share of units dropped after each hidden layer, 0 to 1.
    """

    def __init__(self, n_features: int, n_clinical: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        widths = [n_features, *hidden]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.trunk = nn.Sequential(*layers)
        self.fourth = nn.Linear(widths[-1] + n_clinical, 1)

    def forward(self, features: Tensor, present: Tensor, clinical: Tensor) -> Tensor:
        """Return one score per patient, the logit of the event.

        Args:
            features: Shape (B, L, F); more than one lesion is averaged over those present.
            present: Which of the L places hold a lesion, shape (B, L), bool.
            clinical: Shape (B, K).

        Returns:
            Scores, shape (B,).
        """
        weight = present.to(features.dtype)
        patient = (features * weight[..., None]).sum(dim=1) / weight.sum(dim=1, keepdim=True)
        return self.fourth(torch.cat([self.trunk(patient), clinical], dim=1)).squeeze(1)
