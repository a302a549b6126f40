"""From the lesions of a patient to the patient, within a network: what comes of them, and what each lesion weighs.

Places without a lesion have weight 0 and change nothing, whatever stands in them; nor does the order of the lesions.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, softplus

from radnet.models.networks import noisy_or

_FAR = -15.0  # below it log softplus(z) is z to single precision


class Pooled(NamedTuple):
    """What came of the lesions of each patient."""

    patient: Tensor  # (B, E), or (B, T) where outputs are pooled
    weight: Tensor  # (B, L), adding up to 1 over the lesions present, 0 elsewhere


class MeanPool(nn.Module):
    """All lesions weigh alike."""

    def forward(self, lesions: Tensor, present: Tensor) -> Pooled:
        """Return the mean of lesions (B, L, E) over those ``present`` (B, L)."""
        weight = present.to(lesions.dtype)
        return _weighted(_present_alone(lesions, present), weight / weight.sum(dim=1, keepdim=True))


class GatedAttentionPool(nn.Module):
    """A lesion weighs what a small network makes of it, against the patient's other lesions.

    Args:
        width: Length E of what describes a lesion.
        hidden: Width of the small network.

    References:
        Ilse, Tomczak, Welling. Attention-based deep multiple instance learning. ICML 2018, equation 9.
    """

    def __init__(self, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.content = nn.Linear(width, hidden)
        self.gate = nn.Linear(width, hidden)
        self.attention = nn.Linear(hidden, 1, bias=False)

    def forward(self, lesions: Tensor, present: Tensor) -> Pooled:
        """Return the weighted mean of lesions (B, L, E) over those ``present`` (B, L)."""
        lesions = _present_alone(lesions, present)
        told = self.attention(self.content(lesions).tanh() * self.gate(lesions).sigmoid()).squeeze(-1)
        return _weighted(lesions, told.masked_fill(~present, -torch.inf).softmax(dim=1))


class SetTransformerPool(nn.Module):
    """Lesions look at one another through a few learned points; a learned seed then looks at them.

    A lesion's weight is the attention of the seed, averaged over heads.

    Args:
        width: Length E of what describes a lesion.
        blocks: Induced set attention blocks; 0 leaves the seed alone.
        induced: Learned points of a block.
        heads: Heads of each attention, a divisor of ``width``.

    References:
        Lee et al. Set Transformer. ICML 2019: induced set attention block, equations 9 and 10; pooling by multihead
        attention, equation 11, with one seed.
    """

    def __init__(self, width: int, blocks: int = 1, induced: int = 4, heads: int = 4) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"set_transformer: {heads} heads cannot share {width} units: choose a divisor of {width}")
        self.blocks = nn.ModuleList(_InducedBlock(width, induced, heads) for _ in range(blocks))
        self.before = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.seed = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, 1, width)))
        self.look = _AttentionBlock(width, heads)

    def forward(self, lesions: Tensor, present: Tensor) -> Pooled:
        """Return one row per patient of lesions (B, L, E), of which those ``present`` (B, L) are looked at."""
        mixed = _present_alone(lesions, present)
        for block in self.blocks:
            mixed = block(mixed, present)
        patient, weight = self.look(self.seed.expand(len(lesions), -1, -1), self.before(mixed), present)
        return Pooled(patient[:, 0], weight[:, 0])


class _AttentionBlock(nn.Module):
    """Lee 2019, equations 6 and 7: those who ask are told by those present, then pass a layer of their own."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.after_attention = nn.LayerNorm(width)
        self.layer = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.after_layer = nn.LayerNorm(width)

    def forward(self, asking: Tensor, telling: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what becomes of ``asking`` (B, Q, E), and the weights (B, Q, L) of those ``telling`` (B, L, E)."""
        absent = None if present is None else ~present
        told, weight = self.attention(asking, telling, telling, key_padding_mask=absent)
        hidden = self.after_attention(asking + told)
        return self.after_layer(hidden + self.layer(hidden)), weight


class _InducedBlock(nn.Module):
    """Lee 2019, equations 9 and 10: learned points look at the lesions, and the lesions at these."""

    def __init__(self, width: int, induced: int, heads: int) -> None:
        super().__init__()
        self.points = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, induced, width)))
        self.gather = _AttentionBlock(width, heads)
        self.spread = _AttentionBlock(width, heads)

    def forward(self, lesions: Tensor, present: Tensor) -> Tensor:
        gathered, _ = self.gather(self.points.expand(len(lesions), -1, -1), lesions, present)
        return self.spread(lesions, gathered)[0]


def max_pool(output: Tensor, present: Tensor) -> Pooled:
    """Return the largest of the lesions' outputs (B, L, T), each output by itself.

    A lesion's weight is the share of the outputs it decides: with one output, 1 for the one that attains it.
    """
    largest = output.masked_fill(~present[..., None], -torch.inf).max(dim=1)
    return Pooled(largest.values, one_hot(largest.indices, output.shape[1]).to(output.dtype).mean(dim=1))


def noisy_or_pool(output: Tensor, present: Tensor) -> Pooled:
    """Return the logits that any lesion brings the event, of lesions' logits (B, L, T), each output by itself.

    A lesion's weight is its share of -Σ log(1 - p), averaged over outputs. Where the outputs are logits of hazards in
    intervals, the hazards of lesions that act on their own combine so. The rule is ``networks.noisy_or``.
    """
    patients, places, outputs = output.shape
    score = output.movedim(2, 1).reshape(patients * outputs, places)
    there = present.repeat_interleave(outputs, dim=0)
    log_part = torch.where(score < _FAR, score, softplus(score.clamp(min=_FAR)).log())
    share = log_part.masked_fill(~there, -torch.inf).softmax(dim=1).reshape(patients, outputs, places)
    return Pooled(noisy_or(score, there).reshape(patients, outputs), share.mean(dim=1))


def _present_alone(lesions: Tensor, present: Tensor) -> Tensor:
    return lesions.masked_fill(~present[..., None], 0.0)


def _weighted(lesions: Tensor, weight: Tensor) -> Pooled:
    return Pooled((lesions * weight[..., None]).sum(dim=1), weight)
