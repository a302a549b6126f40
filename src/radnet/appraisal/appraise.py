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
from radnet.appraisal.selection import Stability, fold_stability, selection_table
from radnet.appraisal.settings import OptimismSettings
from radnet.cohort import Cohort, Endpoint
from radnet.evaluation.outcomes import Outcomes
from radnet.predictors.nested import MakePredictor, NestedPredictor, Once
from radnet.tables import write_table

_REPEATS = 10  # permutations of each group of inputs
_LEVEL = 0.95
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


@dataclass(frozen=True)
class Appraisal:
    """What was found beside the tables.

    Attributes:
        messages: Of each table that could not be made, and of what is missing from one.
        selection_stability: How far the folds agree on features; None where the model selects none, or they cannot be
            compared.
    """

    messages: list[str]
    selection_stability: Stability | None = None


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
) -> Appraisal:
    """Write the tables of a run as .csv.

    These are ``table_one``, ``regression``, ``nomogram``, ``importance``, ``optimism``, ``learning_curve`` and, of a
    model that selects features, ``selection``.

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
        What was found beside the tables; nothing that cannot be made stops the run.
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
        told.append(f"tables/regression.csv: clinical.csv has no column {', '.join(absent)}: left out (covariates=[…])")
        covariates = [name for name in covariates if name in known]
    try:
        patients = patients_with_scores(development, endpoint, _out_of_fold(trained), covariates)
    except ValueError as fault:
        told.append(f"tables/regression.csv: not made: {fault}")
    else:
        of_clinical = bool(covariates) and not trained.model.regions
        regression = write("regression", lambda: run_regression(patients, covariates, endpoint, of_clinical))
        if regression is not None:
            write("nomogram", lambda: run_nomogram(patients, regression, endpoint))
    write("importance", lambda: _importance(trained, seed))
    stability = None
    if trained.model.frozen.selection():
        write("selection", lambda: selection_table(trained.model, development))
        try:
            stability = fold_stability(trained.model, _LEVEL)
        except ValueError as fault:
            told.append(f"tables/selection.csv: how stable the selection is cannot be told: {fault}")
    if settings.resamples:
        refits = Refits(make, once, _FIRST_RESAMPLE)
        write("optimism", lambda: _optimism(trained, refits, settings, seed, progress, told))
    if settings.learning_draws:
        refits_of_shares = Refits(make, once, _FIRST_SHARE)
        write("learning_curve", lambda: _learning_curve(trained, refits_of_shares, settings, seed, progress, told))
    return Appraisal(told, stability)


def _out_of_fold(trained: Trained) -> pd.Series:
    if not trained.model.out_of_fold:
        raise ValueError("nobody is scored out of fold: the split has no folds")
    return pd.concat([one.prediction.patients["score"] for one in trained.model.out_of_fold])


def _importance(trained: Trained, seed: int) -> pd.DataFrame:
    endpoint = trained.endpoint.name
    here = trained.held_out if _comparable(trained.held_out, endpoint) else trained.development
    partition = "apparent" if here is trained.development else "held_out"
    return importance(trained.model.frozen, here, trained.development, endpoint, partition, _REPEATS, seed)


def _optimism(
    trained: Trained, refits: Refits, settings: OptimismSettings, seed: int, progress: Show, told: list[str]
) -> pd.DataFrame:
    endpoint, development = trained.endpoint.name, trained.development
    apparent = trained.model.predict(development).patients["score"]
    with progress("Bootstrap samples") as show:
        found, messages = model_optimism(
            refits, development, endpoint, apparent, settings.resamples, seed, progress=show
        )
    told += [f"tables/optimism.csv: {one}" for one in messages]
    outcomes = Outcomes.of(development, endpoint)
    if outcomes.followed:
        told.append("tables/optimism.csv: the .632+ rule is one for the AUC: left out of a C-index")
    return optimism_rows(found, endpoint, trained.name, outcomes)


def _learning_curve(
    trained: Trained, refits: Refits, settings: OptimismSettings, seed: int, progress: Show, told: list[str]
) -> pd.DataFrame:
    endpoint, held_out = trained.endpoint.name, trained.held_out
    on_held_out = _comparable(held_out, endpoint)
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


def _comparable(cohort: Cohort, endpoint: str) -> bool:
    return bool(len(cohort)) and Outcomes.of(cohort, endpoint).comparable
