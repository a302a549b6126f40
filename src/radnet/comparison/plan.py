"""Which models are compared: configurations that differ in the model and in the rule that pools lesions alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from omegaconf import DictConfig, OmegaConf

from radnet.config import ConfigFault, load_config
from radnet.models.pooling import Aggregate
from radnet.tables import did_you_mean, read_table

_SET_HERE = ("experiment", "data", "data.root", "name", "output", "falsification", "optimism")
_ALIKE = ("endpoint", "split", "seed", "shuffle_labels")  # else folds differ, or what is judged in them


def plan(
    folder: Path, models: Sequence[str], aggregates: Sequence[str], work: Path, settings: Sequence[str]
) -> list[DictConfig]:
    """Return the configuration of every model to be trained, the reference first; its name is ``model@rule``.

    All take the patients whom every model takes (``complete_cases``).

    Raises:
        ConfigFault: If a model, a rule or a setting cannot be used, the models learn different things, or there are
            fewer than two.
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
        readers = _readers(config.model)
        own = [OmegaConf.select(config, readers[0]).aggregate] if readers and not planned else []
        for rule in dict.fromkeys([*own, *(aggregates or every)]) if readers else [""]:
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


def _readers(node: Any, path: str = "model") -> list[str]:
    """Return where in a configuration there are models that read lesions: a model itself, or members of a stack."""
    here = [path] if node.get("regions") else []
    members = (node.get("members") or {}).items()
    return here + [one for name, member in members for one in _readers(member, f"{path}.members.{name}")]
