"""Weights of a network from a local file, and what of them found its place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

_FREEZES = "none, all or all_but_last:n"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class LoadedWeights:
    """Which weights of a file found their place in a network, and which are held.

    Attributes:
        matched: Names in the network that the file filled.
        missing: Names in the network that the file lacks.
        unexpected: Names in the file, renamed, that the network lacks.
        misshapen: Names of both whose shapes differ: that in the file, that in the network. They were not filled.
        frozen: Parameters that training no longer changes.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    frozen: tuple[str, ...]


def load_weights(
    module: nn.Module,
    file: Path,
    prefix: str = "",
    rename: Mapping[str, str] | None = None,
    freeze: str = "none",
) -> LoadedWeights:
    """Fill a network with weights of a file, where name and shape agree.

    A weight that the file lacks, as the last layer of a new task, always learns. The stages of a network are its blocks
    in the order in which they were defined, those of rows of blocks one by one.

    Args:
        module: Changed in place.
        file: ``.safetensors``, or what torch saved (``.pt``, ``.pth``, ``.ckpt``), read so that nothing in it can run;
            its weights may lie under ``state_dict``, as in a checkpoint.
        prefix: What begins the names in the file and not those of the network, such as ``module.``; names that begin
            otherwise are left out.
        rename: Beginnings of names, after ``prefix``, and what to put instead; the longest that fits counts.
        freeze: ``none``: all weights learn; ``all``: what the file filled is held; ``all_but_last:n``: that, except in
            the last n stages.

    Raises:
        ValueError: If the file cannot be read, holds no weights, two of its names become one, or none finds its place;
            if ``freeze`` is unknown or keeps more stages than there are.
    """
    learning = _stages_learning(module, freeze)
    given = _renamed(_read(file), prefix, rename or {}, file)
    own = module.state_dict()
    common = [name for name in own if name in given]
    misshapen = {
        name: (tuple(given[name].shape), tuple(own[name].shape))
        for name in common
        if given[name].shape != own[name].shape
    }
    matched = tuple(name for name in common if name not in misshapen)
    if not matched:
        raise ValueError(
            f"{file}: no weight fits the network; the file has {_first(given)}, the network {_first(own)}: "
            "name what begins the file's names by prefix, or change them by rename"
        )
    module.load_state_dict({name: given[name] for name in matched}, strict=False)
    frozen = []
    for name, parameter in module.named_parameters():
        if name in matched and not name.startswith(learning):
            parameter.requires_grad_(False)
            frozen.append(name)
    return LoadedWeights(
        matched=matched,
        missing=tuple(name for name in own if name not in given),
        unexpected=tuple(name for name in given if name not in own),
        misshapen=misshapen,
        frozen=tuple(frozen),
    )


def _read(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise ValueError(f"{file}: no file of weights is there")
    try:
        found: Any = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
    except Exception as error:
        raise ValueError(
            f"{file}: no weights can be read: {error}; save them as .safetensors, or as a state_dict by torch.save"
        ) from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    named = found.items() if isinstance(found, Mapping) else ()
    weights = {name: value for name, value in named if isinstance(value, Tensor)}
    if not weights:
        raise ValueError(f"{file}: it holds no weights by name, neither at its top nor under state_dict")
    return weights


def _renamed(weights: Mapping[str, Tensor], prefix: str, rename: Mapping[str, str], file: Path) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, value in weights.items():
        if not name.startswith(prefix):
            continue
        name = name.removeprefix(prefix)
        fitting = max((old for old in rename if name.startswith(old)), key=len, default=None)
        name = name if fitting is None else rename[fitting] + name.removeprefix(fitting)
        if name in renamed:
            raise ValueError(f"{file}: two weights become {name}: mend rename")
        renamed[name] = value
    if not renamed:
        raise ValueError(f"{file}: no weight begins with {prefix}; the file has {_first(weights)}")
    return renamed


def _stages_learning(module: nn.Module, freeze: str) -> tuple[str, ...]:
    """Return the beginnings of the names of parameters that are not to be held."""
    if freeze in ("none", "all"):
        return ("",) if freeze == "none" else ()
    kind, _, count = freeze.partition(":")
    if kind != "all_but_last" or not count.isdecimal():
        raise ValueError(f"freeze={freeze} is unknown; choose one of {_FREEZES}")
    stages = list(_stages(module))
    if int(count) > len(stages):
        raise ValueError(f"freeze={freeze}: the network has {len(stages)} stages: {', '.join(stages)}")
    return tuple(f"{stage}." for stage in stages[len(stages) - int(count) :])


def _stages(module: nn.Module, before: str = "") -> Iterator[str]:
    for name, child in module.named_children():
        if type(child) in (nn.Sequential, nn.ModuleList):
            yield from _stages(child, f"{before}{name}.")
        elif any(True for _ in child.parameters()):
            yield f"{before}{name}"


def _first(names: Mapping[str, Tensor]) -> str:
    shown = ", ".join(list(names)[:_SHOWN])
    return f"{shown}, …" if len(names) > _SHOWN else shown
