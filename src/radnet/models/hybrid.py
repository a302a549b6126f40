"""radnet's own network: radiomics, images and clinical values of a patient, any of which may be missing."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import gcd
from typing import Any, Literal, NamedTuple, Self, get_args, get_type_hints

import torch
from monai.networks import nets
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.nn.modules.batchnorm import _BatchNorm

from radnet.models.heads import GatedAttentionPool, MeanPool, Pooled, SetTransformerPool, max_pool, noisy_or_pool

Fusion = Literal["concat", "gated"]
BatchNorm = Literal["group", "frozen"]

_POOLS: Mapping[str, Callable[..., nn.Module]] = {
    "mean": lambda width: MeanPool(),  # noqa: ARG005 - a mean is the same of any width
    "attention": GatedAttentionPool,
    "set_transformer": SetTransformerPool,
}
_OUTPUT_POOLS: Mapping[str, Callable[[Tensor, Tensor], Pooled]] = {"max": max_pool, "noisy_or": noisy_or_pool}
_CHANNELS = ("in_channels", "n_input_channels")
_OUTPUTS = ("num_classes", "out_channels")
_CHANNELS_OF_A_GROUP = 16


class Scored(NamedTuple):
    """What a network says of B patients with up to L lesions, T numbers of each."""

    output: Tensor  # (B, T)
    lesion_weight: Tensor  # (B, L), adding up to 1 over the lesions present, 0 elsewhere
    lesion_output: Tensor  # (B, L, T), of each lesion as if it were the patient's only one; 0 where none is


class HybridNetwork(nn.Module):
    """Radiomics and image of each lesion, fused, pooled over lesions; clinical values join at the last layer.

    A branch describes a lesion by ``embedding`` numbers: radiomics through a multilayer perceptron, the image through
    a network of MONAI. Clinical values enter the last layer alone, as in Zhao 2023, so that weights of zero there give
    back the score without them; a pooling of outputs (``max``, ``noisy_or``) takes them with every lesion, as
    ``networks.NoisyOr`` does, and a mean or attention gives the same either way.

    What a lesion or patient lacks is replaced by numbers learned for it. In training each patient loses one of the
    branches he has with the probability ``modality_dropout``, never all of them, so that these numbers are learned.
    A patient's output depends on no other patient, nor does it in training: there are no batch statistics
    (``ImageBranch``).

    Every argument is plain JSON, so that weights and arguments are all that a saved network needs.

    Args:
        n_features: Radiomics features per lesion.
        n_clinical: Clinical values per patient; 0 for none.
        n_channels: Channels of an image.
        radiomics: ``hidden``, widths of the layers before the one of ``embedding`` units, and ``dropout`` after each;
            None leaves the branch out.
        cnn: ``net``, ``arguments`` and ``batch_norm`` of ``ImageBranch``; None leaves the branch out.
        embedding: Numbers by which a branch describes a lesion.
        fusion: ``concat`` sets the branches side by side (Zhao); ``gated`` weighs them against one another, unit by
            unit (Arevalo).
        aggregate: ``mean``, ``max``, ``noisy_or``, ``attention`` or ``set_transformer``: see ``heads``.
        dropout: Share of the units of a fused lesion that is dropped.
        modality_dropout: Probability that a patient loses a branch in training.
        n_outputs: 1 for a response or a log hazard, n for the hazards of n intervals, one each of several endpoints.
        pooling: Further arguments of ``GatedAttentionPool`` or ``SetTransformerPool``.

    References:
        Zhao et al. 2023 (layer 4). Arevalo et al. Gated multimodal units. 2017, arXiv:1702.01992, section 3.
    """

    def __init__(
        self,
        n_features: int,
        n_clinical: int,
        n_channels: int,
        radiomics: Mapping[str, Any] | None,
        cnn: Mapping[str, Any] | None,
        embedding: int,
        fusion: Fusion,
        aggregate: str,
        dropout: float,
        modality_dropout: float,
        n_outputs: int,
        pooling: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        _check_choices(fusion, aggregate, modality_dropout, pooling)
        _check_keys("radiomics", radiomics, {"hidden", "dropout"})
        _check_keys("cnn", cnn, {"net", "arguments", "batch_norm"})
        self.branches = nn.ModuleDict()
        if radiomics is not None:
            self.branches["radiomics"] = _perceptron(n_features, embedding, **radiomics)
        if cnn is not None:
            self.branches["image"] = ImageBranch(n_channels, embedding, **cnn)
        if not self.branches:
            raise ValueError("a hybrid network needs radiomics or cnn; for clinical values alone use logistic_clinical")
        self.absent = nn.ParameterDict({name: nn.Parameter(torch.zeros(embedding)) for name in self.branches})
        if n_clinical:
            self.absent["clinical"] = nn.Parameter(torch.zeros(n_clinical))
        self.fuse = GatedFusion(len(self.branches), embedding) if fusion == "gated" else SideBySide()
        width = embedding if fusion == "gated" else embedding * len(self.branches)
        self.dropout = nn.Dropout(dropout)
        self.pool = _POOLS[aggregate](width, **(pooling or {})) if aggregate in _POOLS else None
        self.fourth = nn.Linear(width + n_clinical, n_outputs)
        self.aggregate = aggregate
        self.modality_dropout = modality_dropout

    def forward(
        self,
        features: Tensor,
        present: Tensor,
        clinical: Tensor,
        image: Tensor | None = None,
        has_features: Tensor | None = None,
        has_image: Tensor | None = None,
        has_clinical: Tensor | None = None,
    ) -> Scored:
        """Score patients.

        Args:
            features: Shape (B, L, F).
            present: Which of the L places hold a lesion, shape (B, L), bool; each patient has one.
            clinical: Shape (B, K).
            image: Shape (B, L, C, D, H, W), of any float, or (B, L, E) of what the image branch said of each; None if
                no lesion has one.
            has_features: Which lesions were measured, shape (B, L), bool; None if all were.
            has_image: Which lesions have an image, shape (B, L), bool; None if all have one.
            has_clinical: Which patients have clinical values, shape (B,), bool; None if all have.

        Raises:
            ValueError: If a patient has no lesion, or ``has_image`` is given without images.
        """
        if not present.any(dim=1).all():
            rows = (~present.any(dim=1)).nonzero()[:, 0].tolist()
            raise ValueError(f"a patient needs a lesion to be scored, and rows {rows} of the batch have none")
        if image is None and has_image is not None and bool(has_image.any()):
            raise ValueError("has_image says that lesions have an image, but the batch has no image")
        everywhere = torch.ones_like(present)
        values = {"radiomics": features, "image": image}
        there = {
            "radiomics": present & (everywhere if has_features is None else has_features),
            "image": present & (everywhere if has_image is None else has_image) & (image is not None),
            "clinical": everywhere[:, 0] if has_clinical is None else has_clinical,
        }
        if self.training and self.modality_dropout > 0:
            there = self._without_the_lost(there)
        # Lesions present stand in one row from here on, so that places without one enter nothing.
        described = [self._describe(name, values[name], there[name], present) for name in self.branches]
        fused = self.dropout(self.fuse(torch.stack(described, dim=1)))
        if "clinical" in self.absent:
            clinical = torch.where(there["clinical"][:, None], clinical, self.absent["clinical"])
        return self._pooled(fused, present, clinical)

    def _describe(self, name: str, values: Tensor | None, there: Tensor, present: Tensor) -> Tensor:
        """Return what a branch, or its absence, says of each lesion present, shape (lesions, E)."""
        described = self.absent[name].expand(int(present.sum()), -1)
        if values is None or not there.any():
            return described
        described = described.clone()
        known = values[there].to(described.dtype)
        said = known if name == "image" and values.ndim == 3 else self.branches[name](known)
        described[there[present]] = said.to(described.dtype)
        return described

    def _without_the_lost(self, there: dict[str, Tensor]) -> dict[str, Tensor]:
        names = list(self.absent)
        available = torch.stack([there[name].reshape(len(there[name]), -1).any(dim=1) for name in names], dim=1)
        lost = draw_losses(available, self.modality_dropout)
        return there | {
            name: there[name] & ~lost[:, column].reshape(-1, *[1] * (there[name].ndim - 1))
            for column, name in enumerate(names)
        }

    def _pooled(self, fused: Tensor, present: Tensor, clinical: Tensor) -> Scored:
        lesions = fused.new_zeros(*present.shape, fused.shape[1])
        lesions[present] = fused
        alone = fused if self.pool is None else self.pool(fused[:, None], present.new_ones(len(fused), 1)).patient
        of_lesion = self.fourth(torch.cat([alone, clinical[present.nonzero()[:, 0]]], dim=1))
        lesion_output = of_lesion.new_zeros(*present.shape, of_lesion.shape[1])
        lesion_output[present] = of_lesion
        if self.pool is None:
            output, weight = _OUTPUT_POOLS[self.aggregate](lesion_output, present)
        else:
            patient, weight = self.pool(lesions, present)
            output = self.fourth(torch.cat([patient, clinical], dim=1))
        return Scored(output, weight, lesion_output)


def draw_losses(available: Tensor, probability: float) -> Tensor:
    """Draw which branch each patient loses, from the state that dropout draws from.

    Args:
        available: Which branches each patient has, shape (B, M), bool.
        probability: That a patient with two or more loses one of them, each as likely as the others.

    Returns:
        The branch lost, shape (B, M), bool; at most one of a patient, and never his only one.
    """
    unlucky = torch.rand(len(available), device=available.device) < probability
    which = torch.rand(available.shape, device=available.device).masked_fill(~available, -1.0).argmax(dim=1)
    return one_hot(which, available.shape[1]).bool() & (unlucky & (available.sum(dim=1) > 1))[:, None]


class SideBySide(nn.Module):
    """Branches one beside another."""

    def forward(self, described: Tensor) -> Tensor:
        """Return shape (lesions, M·E) of what M branches say, shape (lesions, M, E)."""
        return described.flatten(start_dim=1)


class GatedFusion(nn.Module):
    """Branches weighed against one another, each unit by itself, by what all of them say."""

    def __init__(self, n_branches: int, embedding: int) -> None:
        super().__init__()
        self.gate = nn.Linear(n_branches * embedding, n_branches * embedding)

    def forward(self, described: Tensor) -> Tensor:
        """Return shape (lesions, E) of what M branches say, shape (lesions, M, E)."""
        weight = self.gate(described.flatten(start_dim=1)).reshape(described.shape).softmax(dim=1)
        return (weight * described).sum(dim=1)


class ImageBranch(nn.Module):
    """A network of MONAI that describes a lesion by its image.

    Batch normalisation would make the score of a patient depend on who is scored with him in training, and among few
    patients its statistics are poor. It is therefore replaced by group normalisation of about 16 channels a group
    (``batch_norm=group``), or held at the statistics that pretrained weights bring (``frozen``), in training too.
    Either keeps the names ``weight`` and ``bias``, so that pretrained weights find their place.

    Args:
        n_channels: Channels of an image.
        embedding: Numbers by which a lesion is described.
        net: Dotted name under ``monai.networks.nets``, such as ``monai.networks.nets.ResNet``. A map over voxels that
            a net gives, such as a U-Net's, is averaged over them.
        arguments: Of that net, without channels, outputs and dimensions, which are known here.
        batch_norm: What becomes of batch normalisation.

    References:
        Wu, He. Group normalization. ECCV 2018, table 3 (16 channels a group).
    """

    def __init__(
        self, n_channels: int, embedding: int, net: str, arguments: Mapping[str, Any], batch_norm: BatchNorm
    ) -> None:
        super().__init__()
        if batch_norm not in get_args(BatchNorm):
            raise ValueError(f"cnn.batch_norm={batch_norm} is unknown; choose one of {', '.join(get_args(BatchNorm))}")
        self.name = net
        self.embedding = embedding
        self.net = image_net(net, arguments, n_channels, embedding)
        if batch_norm == "group":
            _group_instead_of_batch(self.net)

    def train(self, mode: bool = True) -> Self:
        """Set training mode, in which batch normalisation still keeps to the statistics it has."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def forward(self, image: Tensor) -> Tensor:
        """Return shape (lesions, E) of images of shape (lesions, C, D, H, W)."""
        found = self.net(image)
        found = found[0] if isinstance(found, tuple) else found  # a ViT gives its hidden states too
        if isinstance(found, Tensor) and found.ndim == image.ndim:
            found = found.flatten(start_dim=2).mean(dim=2)
        if not isinstance(found, Tensor) or found.shape != (len(image), self.embedding):
            what = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise ValueError(
                f"cnn: {self.name} gives {what} of {len(image)} lesions, expected ({len(image)}, {self.embedding}): "
                "choose a net that classifies (a ViT needs classification=true)"
            )
        return found


def image_net(net: str, arguments: Mapping[str, Any], n_channels: int, n_outputs: int) -> nn.Module:
    """Build a network of MONAI by its name, for volumes.

    Args:
        net: Dotted name under ``monai.networks.nets``; nothing else is ever built.
        arguments: Of the net, except channels, outputs, dimensions and ``pretrained``: weights come from a local file
            (``pretrained.load_weights``), and nothing is downloaded.
        n_channels: Channels of an image.
        n_outputs: Numbers given for an image.

    Raises:
        ValueError: If the name is no network of MONAI, an argument is none of the net's or is set here, or the net
            cannot be built with them.
    """
    home, _, name = net.rpartition(".")
    make = getattr(nets, name, None) if home == nets.__name__ else None
    made = _made_by(make)
    if make is None or made is None:
        raise ValueError(f"cnn.net={net} is no network under {nets.__name__}; an example is {nets.__name__}.ResNet")
    names = _argument_names([make, *made.__mro__])
    channels = next((one for one in _CHANNELS if one in names), None)
    outputs = next((one for one in _OUTPUTS if one in names), None)
    if channels is None or outputs is None:
        raise ValueError(
            f"cnn.net={net} must take its channels ({' or '.join(_CHANNELS)}) and its outputs "
            f"({' or '.join(_OUTPUTS)}): choose another net"
        )
    ours: dict[str, Any] = {channels: n_channels, outputs: n_outputs}
    ours |= {one: value for one, value in {"spatial_dims": 3, "pretrained": False}.items() if one in names}
    if twice := sorted(ours.keys() & arguments.keys()):
        raise ValueError(f"cnn.arguments: {', '.join(twice)} of {net} is set by radnet: leave it out")
    if unknown := sorted(arguments.keys() - names):
        raise ValueError(f"cnn.arguments: {net} takes no {', '.join(unknown)}; it takes {', '.join(sorted(names))}")
    try:
        return make(**arguments, **ours)
    except Exception as error:
        raise ValueError(f"cnn.arguments: {net} cannot be built: {error}") from error


def _made_by(make: Any) -> type[nn.Module] | None:
    """Return the kind of network that a class or function of MONAI makes, or None if it makes none."""
    made = get_type_hints(make).get("return") if inspect.isfunction(make) else make
    return made if inspect.isclass(made) and issubclass(made, nn.Module) else None


def _argument_names(makers: Sequence[Callable[..., Any]]) -> set[str]:
    """Return the names a net takes, with those that each maker hands on to the next."""
    names: set[str] = set()
    for maker in makers:
        parameters = inspect.signature(maker).parameters.values()
        names |= {one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
        if not any(one.kind is one.VAR_KEYWORD for one in parameters):
            break
    return names


def _group_instead_of_batch(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            channels = child.num_features
            groups = gcd(channels, max(1, channels // _CHANNELS_OF_A_GROUP))
            setattr(module, name, nn.GroupNorm(groups, channels, eps=child.eps, affine=child.affine))
        else:
            _group_instead_of_batch(child)


def _perceptron(n_features: int, embedding: int, hidden: Sequence[int], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise([n_features, *hidden, embedding]):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


def _check_choices(fusion: str, aggregate: str, modality_dropout: float, pooling: Mapping[str, int] | None) -> None:
    if fusion not in get_args(Fusion):
        raise ValueError(f"fusion={fusion} is unknown; choose one of {', '.join(get_args(Fusion))}")
    known = [*_POOLS, *_OUTPUT_POOLS]
    if aggregate not in known:
        raise ValueError(f"aggregate={aggregate} is unknown to a hybrid network; choose one of {', '.join(known)}")
    if pooling and aggregate not in ("attention", "set_transformer"):
        raise ValueError(f"pooling: aggregate={aggregate} has no arguments, got {', '.join(pooling)}")
    if not 0 <= modality_dropout <= 1:
        raise ValueError(f"modality_dropout must be between 0 and 1, got {modality_dropout}")


def _check_keys(branch: str, given: Mapping[str, Any] | None, expected: set[str]) -> None:
    if given is not None and given.keys() != expected:
        raise ValueError(
            f"{branch} must name {', '.join(sorted(expected))}, got {', '.join(sorted(given)) or 'nothing'}"
        )
