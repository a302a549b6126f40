"""Which models are compared: configurations that differ in the model and in the rule that pools lesions alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from omegaconf import DictConfig, OmegaConf

from radnet.config import ConfigFault, load_config
from radnet.models.pooling import OF_NETWORKS, Aggregate
from radnet.predictors.within import model_paths
from radnet.tables import did_you_mean, read_table

_SET_HERE = ("experiment", "data", "data.root", "name", "output", "falsification", "optimism")
_HYBRID = "radnet.predictors.hybrid.HybridPredictor"  # named, not imported: it brings torch
_OF_HYBRIDS = ("mean", "max", "noisy_or", *OF_NETWORKS)
_OF_OTHERS = tuple(rule for rule in get_args(Aggregate) if rule not in OF_NETWORKS)
_ALIKE = ("endpoint", "split", "seed", "shuffle_labels")  # else folds differ, or what is judged in them


def plan(
    folder: Path, models: Sequence[str], aggregates: Sequence[str], work: Path, settings: Sequence[str]
) -> list[DictConfig]:
    """Return the configuration of every model to be trained, the reference first; its name is ``model@rule``.

    All take the patients whom every model takes (``complete_cases``). Where no rule is named each model has every one
    that it takes.

    Raises:
        ConfigFault: If a model, a rule or a setting cannot be used, a model does not take a rule named, the models
            learn different things, or there are fewer than two.
    """
    every = get_args(Aggregate)
    for rule in aggregates:
        if rule not in every:
            raise ConfigFault(f"--aggregate {rule} is unknown; {did_you_mean(rule, every)}", from_command_line=True)
    for word in settings:
        if (key := word.partition("=")[0].lstrip("+~")) in _SET_HERE or key.endswith("aggregate"):
            raise ConfigFault(f"{word}: compare sets {key} itself: leave it out", from_command_line=True)
    composed = [_composed(folder, name, settings) for name in dict.fromkeys(models)]
    _refuse_unlike(composed)
    complete = list(dict.fromkeys(column for one in composed for column in one.complete_cases or ()))
    planned: list[DictConfig] = []
    for config in composed:
        readers = _readers(config)
        taken = _rules(config, readers)
        if readers and (strange := [rule for rule in aggregates if rule not in taken]):
            raise ConfigFault(
                f"--aggregate {' '.join(strange)}: {config.name} takes {', '.join(taken)}", from_command_line=True
            )
        own = [OmegaConf.select(config, readers[0]).aggregate] if readers and not planned else []
        for rule in dict.fromkeys([*own, *(aggregates or taken)]) if readers else [""]:
            one = config.copy()
            for path in readers:
                OmegaConf.update(one, f"{path}.aggregate", rule)
            one.name = f"{config.name}@{rule}" if rule else config.name
            one.complete_cases = complete
            one.output = str(work / one.name)
            planned.append(one)
    if len(planned) < 2:
        raise ConfigFault(f"{planned[0].name} is one model: name another with --models to compare it with", True)
    return planned


def _composed(folder: Path, model: str, settings: Sequence[str]) -> DictConfig:
    words = [f"experiment={model}", "data=manifest", f"data.root={folder}", "falsification=false", "optimism=none"]
    config = load_config("train", [*words, *settings])
    asks_the_column = str(config.split.held_out._target_).endswith(".by_column")
    if asks_the_column and not any(word.startswith("split=") for word in settings) and not _has_split(folder):
        config = load_config("train", [*words, "split=kfold", *settings])
    return config


def _has_split(folder: Path) -> bool:
    table = read_table(folder / "clinical.csv")
    return "split" in table.columns and bool((table["split"].str.strip() != "").any())


def _refuse_unlike(composed: Sequence[DictConfig]) -> None:
    first, *others = composed
    for other in others:
        for key in _ALIKE:
            if other[key] != first[key]:
                raise ConfigFault(
                    f"{first.name} and {other.name} differ in {key}, and are not judged alike: give both {key}=…",
                    from_command_line=True,
                )


def _readers(config: DictConfig) -> list[str]:
    """Return where in a configuration there are models that see lesions: the model itself, or one within it."""
    nodes = {path: OmegaConf.select(config, path) for path in model_paths(config.model)}
    return [path for path, node in nodes.items() if node.get("regions") or node.get("imaging")]


def _rules(config: DictConfig, readers: Sequence[str]) -> list[str]:
    """Return the rules that every reader of a model takes: those of hybrid networks, or of all other models."""
    hybrid = {OmegaConf.select(config, path).get("_target_") == _HYBRID for path in readers}
    taken = [_OF_HYBRIDS if one else _OF_OTHERS for one in hybrid]
    return [rule for rule in get_args(Aggregate) if all(rule in rules for rules in taken)]
