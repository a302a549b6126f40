"""Several runs from one command line: ``-m seed=1,2`` is a run for each value, and of several lists for each pair."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

FLAGS = ("-m", "--multirun")


def each_run(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each run, the last list changing fastest; each output in a numbered folder of its own.

    Lists are written as Hydra writes them: ``a=1,2``, ``a=choice(x,y)``, ``a=range(1,4)``. A word that Hydra does not
    understand is left as it is, for ``load_config`` to explain.
    """
    typed = [_choices(one) for one in overrides if one not in FLAGS]
    runs = [list(chosen) for chosen in product(*typed)]
    if len(runs) == 1:
        return runs
    return [[_numbered(one, number) for one in run] for number, run in enumerate(runs, start=1)]


def _choices(override: str) -> list[str]:
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return [override]
    if not parsed.is_sweep_override():
        return [override]
    return [f"{override.partition('=')[0]}={value}" for value in parsed.sweep_string_iterator()]


def _numbered(override: str, number: int) -> str:
    key, _, value = override.partition("=")
    return f"output={Path(value) / str(number)}" if key == "output" and value not in ("", "null") else override
