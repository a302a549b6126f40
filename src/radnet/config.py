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
from yaml import MarkedYAMLError, YAMLError

from radnet.files import config_folder

_REFUSALS = (
    HydraException,
    OmegaConfBaseException,
    YAMLError,
    ValueError,
    TypeError,
)  # what Hydra raises for a bad override
_HYDRA_KEYS = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}
_FALSIFICATION = {"falsification=true": "falsification=controls", "falsification=false": "falsification=none"}
_PATH_KEYS = ("data.root", "output", "run", "model_folder", "predictions", "lesion_predictions", "truth", "cache")


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
    radiomics: Any = MISSING
    engine: str = "native"
    model: Any = MISSING
    trainer: Any = MISSING
    logger: Any = MISSING
    cutoff: Any = MISSING
    preset: str = "small"  # of the simulated cohort
    protocol: str = "strict"  # as_published: the steps of the paper, its weaknesses included
    read_on: str = "out_of_fold"  # or apparent: whose scores cut-offs and probabilities are learned on
    horizons: Any = field(default_factory=list)  # further times at which a probability is foretold
    horizon_unit: str | None = None  # of horizons; checked against the endpoint's
    also: Any = field(default_factory=dict)  # further endpoints that the score is read on
    imaging: Any = None  # the patches that a network reads
    augment: Any = None  # how they vary in training
    pretrain: Any = None  # what a network learns of them before it is told an outcome
    ablation: bool = False  # each branch of the model alone, and each left out
    targets: Any = MISSING  # which lesions of a patient enter
    robustness: Any = MISSING  # lesions measured again, perturbed
    before_split: Any = None  # a selector of features that learns from everybody, as some papers did
    complete_cases: Any = field(default_factory=list)  # columns of clinical.csv without which a patient is left out
    subgroups: Any = field(default_factory=dict)  # within which the model is judged too
    cache: str = MISSING
    workers: int = MISSING
    output: str | None = None
    overwrite: bool = False
    shuffle_labels: bool = False
    optimism: Any = MISSING
    covariates: Any = None  # columns of clinical.csv
    falsification: Any = None  # which controls, or null; typed as true or false, or a choice of conf/falsification


@dataclass
class EvaluateConfig:
    """Every top-level key of an evaluation; Hydra refuses any other."""

    predictions: Any = None  # a file or a list of files
    lesion_predictions: str | None = None
    run: str | None = None
    model_folder: str | None = None  # typed as model=FOLDER: a model judged on the patients of data.root
    data: Any = None
    centres: Any = None  # a list of centres of data.root, or all of them
    cache: str = MISSING
    workers: int = MISSING
    output: str | None = None
    truth: str | None = None
    report: bool = True
    evaluation: Any = field(default=MISSING)


ConfigStore.instance().store(name="train_schema", node=TrainConfig)
ConfigStore.instance().store(name="evaluate_schema", node=EvaluateConfig)


def load_config(name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose ``conf/<name>.yaml`` with overrides as typed on a command line, and check it.

    Raises:
        ConfigFault: If a key, an option or a value cannot be used, with the nearest name that can.
    """
    if name == "evaluate":
        overrides = [_not_a_group(override) for override in overrides]
    if name == "train":
        overrides = _in_protocol([_FALSIFICATION.get(override, override) for override in overrides])
    if name == "train" and not any(override.startswith("experiment=") for override in overrides):
        raise ConfigFault(f"choose an experiment: experiment={'|'.join(options('experiment'))}", from_command_line=True)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = compose(name, [_quoted(override) for override in overrides])
            missing = sorted(str(key) for key in config if OmegaConf.is_missing(config, key))
            if missing:
                raise ConfigFault(f"the configuration lacks {', '.join(missing)}: name it in the experiment's file")
            OmegaConf.resolve(config)
    except ConfigFault:
        raise
    except _REFUSALS as error:
        raise _explained(error, name, overrides) from error
    if faults := [*target_faults(config), *_unread_keys(config, name)]:
        raise ConfigFault("the configuration has keys nothing reads:\n" + "\n".join(f"  - {one}" for one in faults))
    return config


def _in_protocol(overrides: Sequence[str]) -> list[str]:
    """Spell ``experiment=NAME protocol=as_published`` as the file that holds the steps of the paper."""
    chosen = [override.partition("=")[2] for override in overrides if override.startswith("protocol=")]
    kept = [override for override in overrides if not override.startswith("protocol=")]
    if chosen and chosen[-1] not in ("strict", "as_published"):
        raise ConfigFault(f"protocol={chosen[-1]}: choose strict or as_published", from_command_line=True)
    return [_experiment_in(override, chosen[-1]) if chosen else override for override in kept]


def _experiment_in(override: str, protocol: str) -> str:
    key, _, value = override.partition("=")
    folder, _, name = value.rpartition("/")
    if key != "experiment" or folder not in ("", "as_published"):
        return override
    if protocol == "strict" and folder:
        raise ConfigFault(f"{override} is not protocol=strict: choose experiment={name}", from_command_line=True)
    if protocol == "strict" or name not in options("experiment"):
        return override  # a name that is none is told by Hydra's complaint
    if name not in options("experiment/as_published"):
        raise ConfigFault(f"experiment={name} is of no paper: it has no protocol=as_published", from_command_line=True)
    return f"experiment=as_published/{name}"


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
        if folder.is_dir() and options(folder.name) and folder.name != "sweep"  # files of `radnet sweep`
    ]
    text = (config_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    return "\n".join([text.splitlines()[0].lstrip("# "), "", "Choices, as group=choice:", *groups, "", text])


def options(group: str) -> list[str]:
    """Return the names of the files in a group of conf/."""
    return sorted(path.stem for path in (config_folder() / group).glob("[!_]*.yaml"))


def _is_option(group: str, name: str) -> bool:
    folder, _, stem = name.rpartition("/")
    return name == "null" or stem in options(f"{group}/{folder}")


def outcome_columns() -> set[str]:
    """Return the columns of clinical.csv that the endpoints of conf/ read."""
    endpoints = [OmegaConf.load(config_folder() / "endpoint" / f"{name}.yaml") for name in options("endpoint")]
    keys = ("event", "time", "derive.stable_months", "derive.stable_ended", "derive.response_months")
    return {str(column) for one in endpoints for key in keys if (column := OmegaConf.select(one, key))}


def target_faults(config: DictConfig) -> list[str]:
    """Compare the keys of every node with the signature of its ``_target_``, without building anything.

    Returns:
        One line per key no target takes (with the nearest it does), per argument missing, per target not found.
    """
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return list(_node_faults(plain, ""))


def _unread_keys(config: DictConfig, name: str) -> Iterator[str]:
    """Name keys of nodes without a target, which no signature checks: split, a model's steps, a simulation's knobs."""
    if name != "train":
        return
    expected: dict[str, list[str]] = {"split": ["held_out", "folds", "inner"]}
    members = OmegaConf.select(config, "model.members") or {}
    for group, place in (("data", "knobs"), ("model", "prepare"), ("model", "steps")):
        names: set[str] = set()
        for file in (config_folder() / group).glob("[!_]*.yaml"):
            node = OmegaConf.select(OmegaConf.load(file), place)
            names |= {str(key) for key in node} if isinstance(node, DictConfig) else set()
        expected[f"{group}.{place}"] = sorted(names)
        if group == "model":
            expected |= {f"model.members.{member}.{place}": sorted(names) for member in members}
    for path, names_there in expected.items():
        node = OmegaConf.select(config, path)
        for key, value in node.items() if isinstance(node, DictConfig) else ():
            if key not in names_there and (path == "split" or not isinstance(value, DictConfig)):
                yield f"{path}.{key!s} is read by nothing; {_nearest(str(key), names_there)}"


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
        yield f"{path}.{key}: {target} takes no {key}; {_nearest(key, list(accepted))}"
    for key in sorted(given & set(accepted)):
        if expected := _wrong_kind(node[key], accepted[key]):
            yield f"{path}.{key} is {node[key]!r}, expected {expected}"
    if not node.get("_partial_"):
        for key in sorted(set(required) - given):
            yield f"{path}: {target} needs {key}"


_KINDS: Mapping[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}


def _wrong_kind(value: object, annotation: str) -> str:
    """Return what a plain value should have been, by a signature's annotation; empty if it fits or cannot be told."""
    kinds = [kind.strip() for kind in annotation.split("|")]
    if annotation in ("Sequence[int]", "Sequence[str]"):
        inner = annotation[9:-1]
        fits = isinstance(value, list) and not any(_wrong_kind(one, inner) for one in value)
        return "" if fits else f"a list of {inner}"
    if isinstance(value, dict) or not set(kinds) <= {*_KINDS, "None"}:
        return ""
    if value is None:
        return "" if "None" in kinds else annotation
    fits = any(isinstance(value, _KINDS[kind]) for kind in kinds if kind != "None")
    return "" if fits and (not isinstance(value, bool) or "bool" in kinds) else annotation


@cache
def _arguments(target: str) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Return the names a target accepts, each with its annotation, and those it requires.

    radnet's own targets are read from source, since importing one may load torch and Lightning for seconds.
    """
    module, _, name = target.rpartition(".")
    if target.startswith("radnet."):
        return _arguments_from_source(module, name)
    parameters = inspect.signature(getattr(import_module(module), name)).parameters.values()
    named = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    return {one.name: "" for one in named}, tuple(one.name for one in named if one.default is one.empty)


def _arguments_from_source(module: str, name: str) -> tuple[Mapping[str, str], tuple[str, ...]]:
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
    imported = {
        name.asname or name.name: f"{one.module}.{name.name}"
        for one in tree.body
        if isinstance(one, ast.ImportFrom)
        for name in one.names
    }
    for base in node.bases:
        if isinstance(base, ast.Name) and (base.id in defined or imported.get(base.id, "").startswith("radnet.")):
            return _arguments(f"{module}.{base.id}" if base.id in defined else imported[base.id])
    entries = [one for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]
    names = {one.target.id: ast.unparse(one.annotation) for one in entries if isinstance(one.target, ast.Name)}
    return names, tuple(name for name, one in zip(names, entries, strict=True) if one.value is None)


def _of_function(node: ast.FunctionDef, skip: int) -> tuple[Mapping[str, str], tuple[str, ...]]:
    positional = [*node.args.posonlyargs, *node.args.args]
    every = [*positional[skip:], *node.args.kwonlyargs]
    names = {one.arg: ast.unparse(one.annotation) if one.annotation else "" for one in every}
    required = [one.arg for one in positional[skip : len(positional) - len(node.args.defaults)]]
    defaults = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return names, tuple(required + [one.arg for one, default in defaults if default is None])


def _not_a_group(override: str) -> str:
    """Spell ``model=FOLDER`` so that Hydra does not take it for a choice of conf/model, which is for training."""
    return f"model_folder={override.removeprefix('model=')}" if override.startswith("model=") else override


def _quoted(override: str) -> str:
    """Quote a path, so that spaces, brackets and = in it reach us as typed."""
    key, equals, value = override.partition("=")
    if not equals or key not in _PATH_KEYS or value in ("", "null") or value[0] in "'\"":
        return override
    if value.startswith("[") and value.endswith("]"):
        return f"{key}=[{','.join(_as_string(one.strip()) for one in value[1:-1].split(','))}]"
    return f"{key}={_as_string(value)}"


def _as_string(value: str) -> str:
    if value[:1] in ("'", '"'):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _explained(error: Exception, name: str, overrides: Sequence[str]) -> ConfigFault:
    """Turn Hydra's complaint into one message with the nearest names."""
    first = str(error).strip().splitlines()[0]
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return ConfigFault(f"{mark.name}, line {mark.line + 1}: cannot be read as YAML: {error.problem}")
    for override in overrides:
        key, equals, value = override.lstrip("+~").partition("=")
        if not equals and not override.startswith("~"):  # which takes a key away
            return ConfigFault(f"{override!r} is not understood: settings are typed as key=value", True)
        if (config_folder() / key).is_dir() and not _is_option(key, value):
            folder, _, stem = value.rpartition("/")
            there = f"{key}/{folder}" if folder and options(f"{key}/{folder}") else key
            named = stem if there != key else value
            return ConfigFault(f"{override}: conf/{there} has no {named}; {_nearest(named, options(there))}", True)
    kept: list[str] = []
    for override in sorted(overrides, key=lambda one: not (config_folder() / one.partition("=")[0]).is_dir()):
        try:
            with initialize_config_dir(str(config_folder()), version_base="1.3"):
                compose(name, [*kept, _quoted(override)])
        except _REFUSALS:
            key = override.lstrip("+~").partition("=")[0]
            reason = None if override in kept else _unknown_key(key, name, kept)
            if reason is None and override.startswith("experiment="):
                break  # the experiment's own file is at fault
            return ConfigFault(f"{override}: {reason or first}", True)
        kept.append(_quoted(override))
    return ConfigFault(_without_hydra(first, error))


def _unknown_key(key: str, name: str, kept: list[str]) -> str | None:
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            node: Any = compose(name, kept)
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
