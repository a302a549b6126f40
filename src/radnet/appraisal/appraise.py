"""All that a run says of itself beside its predictions, written as tables."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from radnet.appraisal.importance import importance
from radnet.appraisal.learning_curve import learning_curve
from radnet.appraisal.optimism import model_optimism, optimism_rows
from radnet.appraisal.refits import Refits
from radnet.appraisal.run_tables import patients_with_scores, run_nomogram, run_regression, run_table_one
from radnet.appraisal.settings import OptimismSettings
from radnet.cohort import Cohort, Endpoint
from radnet.predictors.nested import MakePredictor, NestedPredictor, Once
from radnet.tables import write_table

_REPEATS = 10  # permutations of each group of inputs
_FIRST_RESAMPLE, _FIRST_SHARE = 1000, 5000  # places, which set seeds, beyond those of any fold

Show = Callable[[str], AbstractContextManager[Callable[[int, int, str], None]]]
"""Opens a bar with a title."""


@dataclass(frozen=True)
class Trained:
    """What a run has trained, and on whom.

    Attributes:
        name: Of the model, in every table.
        endpoint: Learned.
        model: Judged out of fold and fitted to all development patients.
        development: Patients learned from.
        held_out: Patients of known outcome that no model learned from; may be empty.
    """

    name: str
    endpoint: Endpoint
    model: NestedPredictor
    development: Cohort
    held_out: Cohort


def appraise(
    trained: Trained,
    folder: Path,
    settings: OptimismSettings,
    covariates: Sequence[str],
    outcomes: Collection[str],
    make: MakePredictor,
    once: Once,
    seed: int,
    progress: Show,
) -> list[str]:
    """Write ``table_one``, ``regression``, ``nomogram``, ``importance``, ``optimism`` and ``learning_curve`` as .csv.

    Args:
        trained: The run's model and patients.
        folder: Where the tables go.
        settings: How often the model is fitted again.
        covariates: Columns of clinical.csv beside the score, in the regression.
        outcomes: Columns of clinical.csv that are outcomes of other endpoints, for table one.
        make: Builds an untrained predictor for a place.
        once: Keeps what a fit gave.
        seed: Seed of all draws.
        progress: Opens a bar with a title.

    Returns:
        A message for each table that could not be made, and for what of one could not; nothing stops the run.
    """
    told: list[str] = []

    def write(name: str, table: Callable[[], pd.DataFrame]) -> pd.DataFrame | None:
        try:
            made = table()
        except (ValueError, np.linalg.LinAlgError) as fault:
            told.append(f"tables/{name}.csv: not made: {fault}")
            return None
        write_table(made, folder / f"{name}.csv")
        return made

    endpoint, development, held_out = trained.endpoint, trained.development, trained.held_out
    write("table_one", lambda: run_table_one(development, held_out, endpoint, outcomes))
    known = {name for one in development.patients for name in one.clinical}
    if absent := [name for name in covariates if name not in known]:
        told.append(f"tables/regression.csv: clinical.csv has no column {', '.join(absent)}: left out")
        covariates = [name for name in covariates if name in known]
    try:
        patients = patients_with_scores(development, endpoint, _out_of_fold(trained), covariates)
    except ValueError as fault:
        told.append(f"tables/regression.csv: not made: {fault}")
    else:
        regression = write("regression", lambda: run_regression(patients, covariates, endpoint))
        if regression is not None:
            write("nomogram", lambda: run_nomogram(patients, regression, endpoint))
    write("importance", lambda: _importance(trained, seed))
    if settings.resamples:
        refits = Refits(make, once, _FIRST_RESAMPLE)
        write("optimism", lambda: _optimism(trained, refits, settings, seed, progress, told))
    if settings.learning_draws:
        refits_of_shares = Refits(make, once, _FIRST_SHARE)
        write("learning_curve", lambda: _learning_curve(trained, refits_of_shares, settings, seed, progress, told))
    return told


def _out_of_fold(trained: Trained) -> pd.Series:
    return pd.concat([one.prediction.patients["score"] for one in trained.model.out_of_fold])


def _importance(trained: Trained, seed: int) -> pd.DataFrame:
    endpoint = _binary(trained)
    here = trained.held_out if _has_both(trained.held_out, endpoint) else trained.development
    partition = "apparent" if here is trained.development else "held_out"
    return importance(trained.model.frozen, here, trained.development, endpoint, partition, _REPEATS, seed)


def _optimism(
    trained: Trained, refits: Refits, settings: OptimismSettings, seed: int, progress: Show, told: list[str]
) -> pd.DataFrame:
    endpoint, development = _binary(trained), trained.development
    apparent = trained.model.predict(development).patients["score"]
    with progress("Bootstrap samples") as show:
        found, messages = model_optimism(
            refits, development, endpoint, apparent, settings.resamples, seed, progress=show
        )
    told += [f"tables/optimism.csv: {one}" for one in messages]
    return optimism_rows(
        found, endpoint, trained.name, n=len(development), n_event=int(development.events(endpoint).sum())
    )


def _learning_curve(
    trained: Trained, refits: Refits, settings: OptimismSettings, seed: int, progress: Show, told: list[str]
) -> pd.DataFrame:
    endpoint, held_out = _binary(trained), trained.held_out
    on_held_out = _has_both(held_out, endpoint)
    full = trained.model.predict(held_out).patients["score"] if on_held_out else trained.model.out_of_fold
    with progress("Learning curve") as show:
        table, messages = learning_curve(
            refits,
            trained.development,
            held_out,
            endpoint,
            full,
            settings.learning_shares,
            settings.learning_draws,
            seed,
            progress=show,
        )
    told += [f"tables/learning_curve.csv: {one}" for one in messages]
    return table


def _has_both(cohort: Cohort, endpoint: str) -> bool:
    return bool(len(cohort)) and len(set(cohort.events(endpoint))) == 2


def _binary(trained: Trained) -> str:
    if trained.endpoint.time is not None:
        raise ValueError(f"it rests on the AUC, and {trained.endpoint.name} has follow-up times")
    return trained.endpoint.name
