"""Configuration: composed by Hydra from conf/, and checked so that a mistyped key is named before work starts."""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

_REFUSALS = (HydraException, OmegaConfBaseException, ValueError, TypeError)  # what Hydra raises for a bad override
_HYDRA_KEYS = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}
_PATH_KEYS = ("data.root", "output", "run", "predictions", "lesion_predictions", "truth", "cache")


class ConfigFault(ValueError):  # noqa: N818 - a fault of the user's configuration
    """A key or value of the configuration that cannot be used; ``from_command_line`` tells where it was typed."""

    def __init__(self, message: str, from_command_line: bool = False) -> None:
        self.from_command_line = from_command_line
        super().__init__(message)


@dataclass
class TrainConfig:
    """Every top-level key of a training configuration; Hydra refuses any other."""

    name: str = MISSING  # of the experiment; the model's name in every table
    seed: int = MISSING
    data: Any = MISSING
    endpoint: Any = MISSING
    split: Any = MISSING
    imaging: Any = MISSING
    radiomics: Any = MISSING
    model: Any = MISSING
    trainer: Any = MISSING
    logger: Any = MISSING
    cutoff: Any = MISSING
    cache: str = MISSING
    workers: int = MISSING
    output: str | None = None
    shuffle_labels: bool = False


@dataclass
class EvaluateConfig:
    """Every top-level key of an evaluation; Hydra refuses any other."""

    predictions: Any = None  # a file or a list of files
    lesion_predictions: str | None = None
    run: str | None = None
    output: str | None = None
    truth: str | None = None
    evaluation: Any = field(default=MISSING)


ConfigStore.instance().store(name="train_schema", node=TrainConfig)
ConfigStore.instance().store(name="evaluate_schema", node=EvaluateConfig)


def config_folder() -> Path:
    """Return the folder of configurations: packaged with an installed radnet, else that of the checkout."""
    packaged = Path(__file__).parent / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "conf"


def load_config(name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose ``conf/<name>.yaml`` with overrides as typed on a command line, and check it.

    Raises:
        ConfigFault: If a key, an option or a value cannot be used, with the nearest name that can.
    """
    if name == "train" and not any(override.startswith("experiment=") for override in overrides):
        raise ConfigFault(f"choose an experiment: experiment={'|'.join(options('experiment'))}", from_command_line=True)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = compose(name, [_quoted(override) for override in overrides])
            OmegaConf.resolve(config)
    except _REFUSALS as error:
        raise _explained(error, name, overrides) from error
    if faults := target_faults(config):
        raise ConfigFault("the configuration has keys nothing reads:\n" + "\n".join(f"  - {one}" for one in faults))
    return config


def build(node: Any, **changes: Any) -> Any:
    """Build what a node's ``_target_`` names, from plain lists and dicts.

    Raises:
        ModuleNotFoundError: If a library of an extra is absent.
        ConfigFault: If the target refuses its values; the message is the target's own.
    """
    try:
        return instantiate({**node, **changes}, _convert_="all")
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ModuleNotFoundError) and not (cause.name or "").startswith("radnet"):
                raise cause from error
            last, cause = cause, cause.__cause__ or cause.__context__
        raise ConfigFault(f"{node.get('_target_')}: {str(last).splitlines()[0]}") from error


def describe(name: str) -> str:
    """Return the help of ``train`` or ``evaluate``: what can be chosen and every key with its value."""
    groups = [
        f"  {folder.name}: {', '.join(options(folder.name))}"
        for folder in sorted(config_folder().iterdir())
        if folder.is_dir() and options(folder.name)
    ]
    text = (config_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    return "\n".join([text.splitlines()[0].lstrip("# "), "", "Choices, as group=choice:", *groups, "", text])


def options(group: str) -> list[str]:
    """Return the names of the files in a group of conf/."""
    return sorted(path.stem for path in (config_folder() / group).glob("[!_]*.yaml"))


def target_faults(config: DictConfig) -> list[str]:
    """Compare the keys of every node with the signature of its ``_target_``, without building anything.

    Returns:
        One line per key no target takes (with the nearest it does), per argument missing, per target not found.
    """
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return list(_node_faults(plain, ""))


def _node_faults(node: object, path: str) -> Iterator[str]:
    if isinstance(node, list):
        for place, child in enumerate(node):
            yield from _node_faults(child, f"{path}[{place}]")
    if not isinstance(node, dict):
        return
    children = {key: child for key, child in node.items() if isinstance(child, dict)}
    if "_target_" in node:
        yield from _signature_faults(node, path)
    elif any("_target_" in child for child in children.values()) and path:
        for key, child in children.items():
            if "_target_" not in child:
                yield f"{path}.{key} has no _target_; {_nearest(str(key), [str(k) for k in children if k != key])}"
    for key, child in node.items():
        yield from _node_faults(child, f"{path}.{key}" if path else str(key))


def _signature_faults(node: Mapping[Any, Any], path: str) -> Iterator[str]:
    target = str(node["_target_"])
    try:
        accepted, required = _arguments(target)
    except (ImportError, AttributeError, ValueError) as error:
        yield f"{path}._target_: {target} is not there ({error})"
        return
    given = {str(key) for key in node} - _HYDRA_KEYS
    for key in sorted(given - set(accepted)):
        yield f"{path}.{key}: {target} takes no {key}; {_nearest(key, accepted)}"
    if not node.get("_partial_"):
        for key in sorted(set(required) - given):
            yield f"{path}: {target} needs {key}"


@cache
def _arguments(target: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names a target accepts and those it requires.

    radnet's own targets are read from source, since importing one may load torch and Lightning for seconds.
    """
    module, _, name = target.rpartition(".")
    if target.startswith("radnet."):
        return _arguments_from_source(module, name)
    parameters = inspect.signature(getattr(import_module(module), name)).parameters.values()
    named = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    return tuple(one.name for one in named), tuple(one.name for one in named if one.default is one.empty)


def _arguments_from_source(module: str, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError(f"no module {module}")
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    if name not in defined:
        raise AttributeError(f"{module} has no {name}; {_nearest(name, list(defined))}")
    node = defined[name]
    if isinstance(node, ast.FunctionDef):
        return _of_function(node, skip=0)
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            return _of_function(member, skip=1)
    entries = [one for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]
    names = tuple(one.target.id for one in entries if isinstance(one.target, ast.Name))
    return names, tuple(name for name, one in zip(names, entries, strict=True) if one.value is None)


def _of_function(node: ast.FunctionDef, skip: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    positional = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
    keyword = [one.arg for one in node.args.kwonlyargs]
    required = positional[skip : len(positional) - len(node.args.defaults)]
    required += [one for one, default in zip(keyword, node.args.kw_defaults, strict=True) if default is None]
    return tuple(positional[skip:] + keyword), tuple(required)


def _quoted(override: str) -> str:
    """Quote a path, so that spaces, brackets and = in it reach us as typed."""
    key, equals, value = override.partition("=")
    if equals and key in _PATH_KEYS and value and value[0] not in "'\"[" and value != "null":
        return f"{key}='" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return override


def _explained(error: Exception, name: str, overrides: Sequence[str]) -> ConfigFault:
    """Turn Hydra's complaint into one message with the nearest names."""
    first = str(error).strip().splitlines()[0]
    for override in overrides:
        key, equals, value = override.lstrip("+~").partition("=")
        if not equals:
            return ConfigFault(f"{override!r} is not understood: settings are typed as key=value", True)
        if (config_folder() / key).is_dir() and value not in options(key) and value != "null":
            return ConfigFault(f"{override}: conf/{key} has no {value}; {_nearest(value, options(key))}", True)
    plain = [one for one in overrides if one.partition("=")[0] == "experiment"]
    for override in [one for one in overrides if one not in plain]:
        try:
            with initialize_config_dir(str(config_folder()), version_base="1.3"):
                compose(name, [*plain, _quoted(override)])
        except _REFUSALS:
            key = override.lstrip("+~").partition("=")[0]
            return ConfigFault(f"{override}: {_unknown_key(key, name, plain) or first}", True)
    return ConfigFault(_without_hydra(first, error))


def _unknown_key(key: str, name: str, experiment: list[str]) -> str | None:
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            node: Any = compose(name, experiment)
    except _REFUSALS:
        return None
    walked: list[str] = []
    for part in key.split("."):
        names = [str(one) for one in node] if isinstance(node, DictConfig) else []
        if not walked:
            names += [folder.name for folder in config_folder().iterdir() if folder.is_dir()]
        if part not in names:
            within = f" in {'.'.join(walked)}" if walked else ""
            return f"there is no {part}{within}; {_nearest(part, names)}"
        if OmegaConf.is_missing(node, part):
            return None
        node = node.get(part)
        walked.append(part)
    return None


def _without_hydra(first: str, error: Exception) -> str:
    unknown = re.search(r"Key '(\w+)' not in '(\w+)'", str(error))
    for schema in (TrainConfig, EvaluateConfig):
        if unknown and unknown[2] == schema.__name__:
            place = first.split(":")[0] if first.startswith("In '") else "the configuration"
            names = [one.name for one in fields(schema)]
            return f"{place}: {unknown[1]} is no setting; {_nearest(unknown[1], names)}"
    return first


def _nearest(word: str, names: Sequence[str]) -> str:
    close = get_close_matches(word, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"it takes {', '.join(names) or 'nothing'}"
