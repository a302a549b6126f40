"""A sweep without a server: trials one after another, each written down as soon as it is done."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from radnet.config import ConfigFault, build, load_config
from radnet.console import console
from radnet.files import file_hash, write_json
from radnet.run_record import git_commit, versions
from radnet.search import Tried, as_text, best, drawn, grid, proposed
from radnet.sweep.plan import SweepPlan, read_sweep, word
from radnet.sweep.trial import inner_score
from radnet.tables import read_table, write_table

_SET_HERE = ("output", "overwrite", "logger")
_RESULT = ("metric", "estimate", "seconds", "status")


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep found.

    Attributes:
        table: ``trials.csv``: trial, a column for each parameter, metric, estimate, seconds, status.
        settings: ``key=value`` of the best trial, those of every trial first; empty where none was scored.
        estimate: Of the best trial; NaN where none was scored.
        held_out: How many patients no trial saw.
    """

    table: pd.DataFrame
    settings: Sequence[str]
    estimate: float
    held_out: int

    def limits(self) -> list[str]:
        """Return what the numbers do not allow, as lines."""
        scored = int((self.table["status"] == "ok").sum())
        lines = [
            f"The best of {scored} inner scores is optimistic: it was picked because it is the highest, and is no "
            "estimate of how the model does on other patients."
        ]
        if self.held_out:
            return [*lines, f"A run of its own judges it, on {self.held_out} held-out patients whom no trial has seen."]
        return [
            *lines,
            "Nobody is held out: a run's folds would judge on the patients that chose. Judge it on another cohort, or "
            "tune inside each fold: see model=logistic_tuned.",
        ]


def sweep(file: Path, out: Path, trials: int | None, seed: int, settings: Sequence[str] = ()) -> Sweep:
    """Carry out a sweep file of W&B on this machine.

    What was tried next follows from the seed, the trial's number and the trials before it, so that a sweep that was
    interrupted, even by ``kill -9``, goes on as if it had not been; a trial under way is done again. A trial that fails
    is a row with its reason, and costs no other.

    Args:
        file: As ``wandb sweep`` takes it.
        out: Folder of ``trials.csv``, one row a trial, and of what the sweep was begun with; gone on with where it is.
        trials: How many in all; None takes ``run_cap`` of the file, or the whole grid.
        seed: Of the search, not of training.
        settings: ``key=value`` of training, for every trial.

    Raises:
        ConfigFault: If the file or a setting cannot be used, before anything is trained.
        ValueError: If ``out`` holds a sweep of other things.
    """
    plan = read_sweep(file)
    if fixed := [one for one in (*settings, *plan.settings) if _key(one) in _SET_HERE[:2]]:
        raise ConfigFault(f"{fixed[0]}: a sweep writes to --out alone: leave it out", from_command_line=True)
    everywhere = [one for one in (*plan.settings, *settings) if _key(one) not in _SET_HERE]
    of_grid = grid(plan.parameters) if plan.method == "grid" else []
    wanted = trials or plan.run_cap or len(of_grid)
    if not wanted:
        raise ConfigFault(f"method {plan.method} has no end: give --trials N, or run_cap in {file}", True)
    wanted = min(wanted, len(of_grid)) if of_grid else wanted
    first = load_config("train", [*everywhere, *_words(_next(plan, of_grid, (), 0, seed))])
    done = _begun(out, plan, everywhere, seed, build(first.data))
    held_out = 0
    for number in range(len(done), wanted):
        values = _next(plan, of_grid, [_tried(one, plan) for one in done], number, seed)
        row, apart = _trial(plan, everywhere, values)
        held_out = max(held_out, apart)
        done.append({"trial": str(number + 1), **{name: as_text(one) for name, one in values.items()}, **row})
        write_table(_table(done, plan), out / "trials.csv")
        write_json({"held_out": held_out}, out / "seen.json")
        told = row["status"] if row["status"] != "ok" else f"{plan.metric} {float(row['estimate']):.3f}"
        console.print(f"{number + 1} of {wanted}: {' '.join(_words(values))}: {told}", markup=False)
    found = best([_tried(one, plan) for one in done])
    return Sweep(
        table=_table(done, plan),
        settings=[*everywhere, *_words(found.settings)] if found else [],
        estimate=float("nan") if found is None or found.score is None else found.score,
        held_out=json.loads((out / "seen.json").read_text(encoding="utf-8"))["held_out"],
    )


def _next(
    plan: SweepPlan, of_grid: Sequence[Mapping[str, Any]], tried: Sequence[Tried], number: int, seed: int
) -> Mapping[str, Any]:
    if plan.method == "grid":
        return of_grid[number]
    if plan.method == "random":
        return drawn(plan.parameters, (seed, number))
    return proposed(plan.parameters, tried, (seed, number))


def _trial(plan: SweepPlan, settings: Sequence[str], values: Mapping[str, Any]) -> tuple[dict[str, str], int]:
    """Return the cells of a trial's result, and how many patients it did not look at."""
    start = time.perf_counter()
    estimate, status, held_out = "", "ok", 0
    try:
        score = inner_score(load_config("train", [*settings, *_words(values)]))
        if score.metric != plan.metric:
            raise ConfigFault(f"the sweep asks for {plan.metric}, and this endpoint gives {score.metric}: name that")
        estimate, held_out = repr(score.estimate), score.held_out
    except (ValueError, OSError, RuntimeError) as error:
        status = " ".join(str(error).split()) or type(error).__name__
    seconds = f"{time.perf_counter() - start:.2f}"
    return {"metric": plan.metric, "estimate": estimate, "seconds": seconds, "status": status}, held_out


def _begun(out: Path, plan: SweepPlan, settings: Sequence[str], seed: int, root: Path) -> list[dict[str, str]]:
    """Return the trials that are done, having made sure that they are of this very sweep."""
    inputs = {name: file_hash(root / name) for name in _INPUTS if (root / name).is_file()}
    asked = asdict(plan) | {"run_cap": None}
    made_with = {"versions": dict(versions()), "git_commit": git_commit()}
    now = {"sweep": asked, "settings": list(settings), "seed": seed, "input_sha256": inputs} | made_with
    now = json.loads(json.dumps(now))
    kept = out / "sweep.json"
    if not kept.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise ValueError(f"--out {out} is not empty and no earlier sweep: choose another folder")
        write_json(now, kept)
        return []
    before = json.loads(kept.read_text(encoding="utf-8"))
    if changed := [key for key in now if before.get(key) != now[key]]:
        raise ValueError(f"--out {out} holds a sweep begun with another {', '.join(changed)}: choose another folder")
    trials = out / "trials.csv"
    return read_table(trials).to_dict("records") if trials.is_file() else []


_INPUTS = ("clinical.csv", "lesions.csv", "features.parquet")


def _table(done: Sequence[Mapping[str, str]], plan: SweepPlan) -> pd.DataFrame:
    return pd.DataFrame(done, columns=["trial", *(one.name for one in plan.parameters), *_RESULT])


def _tried(row: Mapping[str, str], plan: SweepPlan) -> Tried:
    values = {one.name: json.loads(row[one.name]) for one in plan.parameters}
    return Tried(values, float(row["estimate"]) if row["status"] == "ok" else None)


def _words(values: Mapping[str, Any]) -> list[str]:
    return [word(name, value) for name, value in values.items()]


def _key(setting: str) -> str:
    return setting.partition("=")[0].lstrip("+~")
