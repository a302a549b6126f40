"""Networks that score a patient from his lesions' features and clinical values."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid


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


class NoisyOr(nn.Module):
    """A network that scores every lesion as if it were the patient's only one; of the lesions, any may bring the event.

    Args:
        network: Scores patients of one lesion each, as ``RadiomicsMLP`` does.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, present: Tensor, clinical: Tensor) -> Tensor:
        """Return one score per patient, the logit of the event; arguments and shape as of ``RadiomicsMLP``.

        The clinical values of a patient go with each of his lesions.
        """
        lesions = features[present][:, None, :]
        alone = self.network(lesions, present.new_ones(len(lesions), 1), clinical[present.nonzero()[:, 0]])
        score = features.new_zeros(present.shape)
        score[present] = alone
        return noisy_or(score, present)


def noisy_or(score: Tensor, present: Tensor) -> Tensor:
    """Return the logit of 1 - Π(1 - p) over the lesions of each patient, whose logits of p are ``score``.

    The odds are Π(1 + exp z) - 1 = Σ exp z_l Π_{k<l} (1 + exp z_k): a sum without a difference, taken in logarithms, so
    that neither many lesions nor an extreme one saturates it. A single lesion's logit comes back to the bit.

    Args:
        score: Shape (B, L).
        present: Which of the L places hold a lesion, shape (B, L), bool; each patient has one.

    Returns:
        Shape (B,).

    References:
        Pearl. Probabilistic Reasoning in Intelligent Systems. Morgan Kaufmann 1988, section 4.3.2 (noisy-OR gate).

    Example:
        >>> noisy_or(torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)).sigmoid()
        tensor([0.7500])
    """
    score = score.masked_fill(~present, -torch.inf)
    log_none = logsigmoid(-score)
    earlier = score.new_ones(score.shape[1], score.shape[1]).triu(diagonal=1)
    return (score - log_none @ earlier).logsumexp(dim=1)
