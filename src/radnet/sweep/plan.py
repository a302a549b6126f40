"""A sweep file: W&B's own, read as strictly as a configuration."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml

from radnet.config import ConfigFault
from radnet.search import Method, Parameter, grid, parameters_from
from radnet.sweep.trial import METRICS

_KEYS = ("program", "method", "metric", "parameters", "command", "name", "description", "project", "entity", "run_cap")
_OF_THE_FOLDS = ("split", "data", "endpoint", "seed", "shuffle_labels")


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What a sweep file asks for.

    Attributes:
        method: ``grid``, ``random`` or ``bayes``.
        metric: Name of what is made large.
        parameters: What is searched.
        settings: ``key=value`` of every trial: words of ``command``, and parameters of one value.
        run_cap: How many trials, or None.
    """

    method: Method
    metric: str
    parameters: tuple[Parameter, ...]
    settings: tuple[str, ...]
    run_cap: int | None


def read_sweep(file: Path) -> SweepPlan:
    """Read a sweep file that ``wandb sweep`` takes too.

    Raises:
        ConfigFault: Naming everything that an offline sweep cannot do, and what to write.
    """
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigFault(f"{file}: cannot be read as YAML: {error}") from error
    if not isinstance(given, dict):
        raise ConfigFault(f"{file}: expected program, method, metric and parameters, found {type(given).__name__}")
    faults = [f"{key} is not understood here: leave it out" for key in given if key not in _KEYS]
    if given.get("method") not in get_args(Method):
        faults.append(f"method must be one of {', '.join(get_args(Method))}, got {given.get('method')!r}")
    metric: Any = given.get("metric")
    name = metric.get("name") if isinstance(metric, Mapping) else None
    if name not in METRICS.values() or metric.get("goal") != "maximize":
        faults.append(f"metric must have a name, {' or '.join(METRICS.values())}, and goal: maximize, got {metric!r}")
    cap = given.get("run_cap")
    if cap is not None and not (isinstance(cap, int) and cap > 0):
        faults.append(f"run_cap must be a whole number above 0, got {cap!r}")
    parameters: tuple[Parameter, ...] = ()
    try:
        parameters = parameters_from(given.get("parameters") or {})
        searched = [one for one in parameters if one.distribution != "constant"]
        if given.get("method") == "grid":
            grid(searched)
    except ValueError as error:
        faults.append(str(error))
    faults += [
        f"{one.name} decides who is judged, and scores of other patients are not compared: give it one value"
        for one in parameters
        if one.distribution != "constant" and one.name.partition(".")[0] in _OF_THE_FOLDS
    ]
    if faults:
        raise ConfigFault(f"{file}:\n" + "\n".join(f"  - {one}" for one in faults))
    constants = [f"{one.name}={_plain(one.choices[0])}" for one in parameters if one.distribution == "constant"]
    searched = [one for one in parameters if one.distribution != "constant"]
    settings = [*_settings_of(given.get("command") or (), file), *constants]
    return SweepPlan(given["method"], str(name), tuple(searched), tuple(settings), cap)


def word(name: str, value: Any) -> str:
    """Return a setting as it is typed."""
    return f"{name}={_plain(value)}"


def _plain(value: Any) -> str:
    """Write a value as Hydra reads it."""
    if isinstance(value, list):
        return f"[{','.join(_plain(one) for one in value)}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return repr(value) if isinstance(value, float) else str(value)


def _settings_of(command: Sequence[Any], file: Path) -> list[str]:
    """Return the words ``key=value`` of a command, each ``${envvar:NAME}`` in it replaced."""

    def looked_up(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise ConfigFault(f"{file}: command asks for the environment variable {match[1]}, which is not set")
        return os.environ[match[1]]

    words = [str(one) for one in command if "=" in str(one) and not str(one).startswith("-")]
    return [re.sub(r"\$\{envvar:(\w+)\}", looked_up, one) for one in words]
