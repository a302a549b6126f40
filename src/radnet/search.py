"""Settings that a search may change, and which values it tries next.

A proposal follows from the seed, its number and what was tried before, and from nothing else: a search that was
interrupted goes on as if it had not been.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, get_args

import numpy as np
import optuna

Distribution = Literal["constant", "categorical", "int_uniform", "uniform", "log_uniform_values"]
"""How values are drawn, in the words of W&B."""

Method = Literal["grid", "random", "bayes"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A setting that a search may change.

    Attributes:
        name: Its dotted key in a configuration.
        distribution: ``categorical`` is one of ``choices``, ``constant`` the only one; ``int_uniform`` is a whole
            number from ``low`` to ``high``, both included; ``log_uniform_values`` is uniform in its logarithm.
        choices: Values to choose from; empty for a range.
        low: Least value of a range.
        high: Greatest value of a range.
    """

    name: str
    distribution: Distribution
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0

    @property
    def _searched(self) -> optuna.distributions.BaseDistribution:
        """What optuna searches; of values it is their place in the list, since a value may itself be a list."""
        if self.distribution == "int_uniform":
            return optuna.distributions.IntDistribution(int(self.low), int(self.high))
        if self.choices:
            return optuna.distributions.CategoricalDistribution(range(len(self.choices)))
        return optuna.distributions.FloatDistribution(
            self.low, self.high, log=self.distribution == "log_uniform_values"
        )

    def _place(self, value: Any) -> Any:
        return [as_text(one) for one in self.choices].index(as_text(value)) if self.choices else value

    def _drawn(self, rng: np.random.Generator) -> Any:
        if self.choices:
            return self.choices[int(rng.integers(len(self.choices)))]
        if self.distribution == "int_uniform":
            return int(rng.integers(int(self.low), int(self.high), endpoint=True))
        if self.distribution == "uniform":
            return float(rng.uniform(self.low, self.high))
        return float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))

    def _every(self) -> Sequence[Any]:
        whole = range(int(self.low), int(self.high) + 1)
        return self.choices or list(whole)


@dataclass(frozen=True, slots=True)
class Tried:
    """Settings that a search tried, by dotted key, and what came out; no score where the trial failed."""

    settings: Mapping[str, Any]
    score: float | None


def parameters_from(given: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """Return the parameters that are written as in a sweep file of W&B.

    ``value: x``, ``values: [x, y]``, or ``min`` and ``max`` with a ``distribution`` (where it is left out, two whole
    numbers are ``int_uniform`` and others ``uniform``).

    Raises:
        ValueError: Naming every parameter that is written otherwise.
    """
    found: list[Parameter] = []
    faults: list[str] = []
    for name, node in given.items():
        try:
            found.append(_parameter(str(name), node))
        except ValueError as error:
            faults.append(f"{name}: {error}")
    if not given:
        faults.append("there is none: a search needs one parameter or more")
    if faults:
        raise ValueError(f"parameters: {'; '.join(faults)}")
    return tuple(found)


def grid(parameters: Sequence[Parameter]) -> list[dict[str, Any]]:
    """Return every combination of values, that of the last parameter changing fastest.

    Raises:
        ValueError: If a parameter is a range of numbers that are not whole.
    """
    if endless := [one.name for one in parameters if one.distribution in ("uniform", "log_uniform_values")]:
        raise ValueError(f"a grid needs values to choose from: give {', '.join(endless)} values: […]")
    names = [one.name for one in parameters]
    return [dict(zip(names, chosen, strict=True)) for chosen in product(*(one._every() for one in parameters))]


def drawn(parameters: Sequence[Parameter], seed: Sequence[int]) -> dict[str, Any]:
    """Draw a value of each parameter."""
    rng = np.random.default_rng(list(seed))
    return {one.name: one._drawn(rng) for one in parameters}


def proposed(parameters: Sequence[Parameter], tried: Sequence[Tried], seed: Sequence[int]) -> dict[str, Any]:
    """Propose values whose score promises to be high, by optuna's tree-structured Parzen estimator.

    The first ten are drawn at random. What failed counts as tried, and teaches nothing.

    References:
        Bergstra J et al. Algorithms for hyper-parameter optimization. NIPS 2011.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    drawn_from = {one.name: one._searched for one in parameters}
    first = int(np.random.default_rng(list(seed)).integers(2**31))
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=first))
    states = optuna.trial.TrialState
    for earlier in tried:
        study.add_trial(
            optuna.trial.create_trial(
                params={one.name: one._place(earlier.settings[one.name]) for one in parameters},
                distributions=drawn_from,
                value=earlier.score,
                state=states.FAIL if earlier.score is None else states.COMPLETE,
            )
        )
    chosen = study.ask(drawn_from).params
    return {one.name: one.choices[chosen[one.name]] if one.choices else chosen[one.name] for one in parameters}


def best(tried: Sequence[Tried]) -> Tried | None:
    """Return what scored highest, the first of equals; None where nothing was scored."""
    scored = [one for one in tried if one.score is not None]
    return max(scored, key=lambda one: one.score or 0.0, default=None)


def as_text(value: Any) -> str:
    """Write a value as JSON, of which Hydra and a table's cell read the same value again."""
    return json.dumps(value, ensure_ascii=False)


def _parameter(name: str, node: Any) -> Parameter:
    if not isinstance(node, Mapping):
        raise ValueError(f"expected value, values, or min and max, got {node!r}")
    if strange := sorted(set(node) - {"value", "values", "min", "max", "distribution"}):
        raise ValueError(f"{', '.join(strange)} is not understood here: give value, values, or min and max")
    ranged = "min" in node or "max" in node
    if sum(("value" in node, "values" in node, ranged)) != 1:
        raise ValueError("give one of value, values, or min and max")
    if not ranged:
        values = tuple(node["values"] if "values" in node else [node["value"]])
        own: Distribution = "categorical" if "values" in node else "constant"
        if node.get("distribution", own) != own:
            raise ValueError(f"distribution {node['distribution']} needs min and max")
        if not values or len({as_text(one) for one in values}) < len(values):
            raise ValueError(f"values must be one or more and each once, got {list(values)}")
        return Parameter(name, own, values)
    low: Any = node.get("min")
    high: Any = node.get("max")
    if not (_is_number(low) and _is_number(high) and low < high):
        raise ValueError(f"min must be a number below max, got {low!r} and {high!r}")
    whole = isinstance(low, int) and isinstance(high, int)
    distribution = node.get("distribution", "int_uniform" if whole else "uniform")
    if distribution not in get_args(Distribution)[2:]:
        known = ", ".join(get_args(Distribution)[2:])
        raise ValueError(f"distribution {distribution} is not among those that can be searched: {known}")
    if distribution == "int_uniform" and not whole:
        raise ValueError(f"int_uniform needs whole numbers, got {low!r} and {high!r}")
    if distribution == "log_uniform_values" and low <= 0:
        raise ValueError(f"log_uniform_values needs a min above 0, got {low!r}")
    return Parameter(name, distribution, low=low, high=high)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
