"""The tables of a paper, made by the run: who was studied, and what the score adds to what was known of patients."""

from collections.abc import Collection, Sequence
from math import nan

import pandas as pd

from radnet.cohort import Cohort, Endpoint
from radnet.evaluation.baseline.table_one import table_one
from radnet.evaluation.regression.both import MULTIVARIABLE, UNIVARIABLE, regression_table
from radnet.evaluation.regression.design import MANY, is_number, levels_of
from radnet.evaluation.regression.nomogram import cox_nomogram, logistic_nomogram
from radnet.evaluation.regression.points import points_table
from radnet.evaluation.regression.table import untold_table

SCORE = "score"
_EVENTS_EACH = 5
_SIDES = {True: "with the event", False: "without the event"}


def run_table_one(
    development: Cohort, held_out: Cohort, endpoint: Endpoint, outcomes: Collection[str] = ()
) -> pd.DataFrame:
    """Describe development and held-out patients, or where nobody is held out those without and with the event.

    Args:
        development: Patients learned from.
        held_out: Patients judged; may be empty.
        endpoint: Its event is described too, where patients are held out.
        outcomes: Columns of clinical.csv that are outcomes, of other endpoints: not described.

    Raises:
        ValueError: If clinical.csv has nothing to describe.
    """
    everybody = [one for part in (development, held_out) for one in part.patients]
    columns = list(dict.fromkeys(name for one in everybody for name in one.clinical if name not in outcomes))
    table = pd.DataFrame({name: [one.clinical.get(name) for one in everybody] for name in columns})
    several = len({one.centre for one in everybody}) > 1
    table.insert(0, "centre", [one.centre for one in everybody])
    event = [*development.events(endpoint.name), *held_out.events(endpoint.name)]
    if len(held_out):
        table.insert(1, endpoint.name, [int(one) for one in event])
        part = ["development"] * len(development) + ["held_out"] * len(held_out)
        order = ["development", "held_out"]
    else:
        part, order = [_SIDES[bool(one)] for one in event], [_SIDES[False], _SIDES[True]]
    by = "part"
    while by in table.columns:
        by += "_"
    described = [name for name in table.columns if table[name].notna().any() and (several or name != "centre")]
    if not described:
        raise ValueError("clinical.csv has no column to describe")
    return table_one(table[described].assign(**{by: pd.Categorical(part, order)}), by)


def patients_with_scores(
    cohort: Cohort, endpoint: Endpoint, score: pd.Series, covariates: Sequence[str]
) -> pd.DataFrame:
    """Return the table a regression is made of: event, time, score and clinical columns of each patient scored.

    Args:
        cohort: Development patients.
        endpoint: Names the columns of the outcome.
        score: By patient_id, out of fold, of several repeats one after the other: their mean counts.
        covariates: Columns of clinical.csv.
    """
    mean = score.groupby(level="patient_id").mean()
    judged = cohort.select(mean.index)
    table = judged.clinical(list(covariates)) if covariates else pd.DataFrame(index=judged.ids)
    outcome = {endpoint.event: judged.events(endpoint.name).astype(int)}
    if endpoint.time is not None:
        outcome[endpoint.time] = judged.times(endpoint.name)
    if taken := {SCORE, *outcome} & set(table.columns):
        raise ValueError(f"a covariate may not be called {', '.join(sorted(taken))}")
    return table.assign(**outcome, **{SCORE: mean.loc[judged.ids]})


def run_regression(
    table: pd.DataFrame, covariates: Sequence[str], endpoint: Endpoint, of_clinical: bool = False
) -> pd.DataFrame:
    """Estimate what the out-of-fold score says by itself and beside clinical variables.

    A score made of these variables alone (``of_clinical``) is left out: beside its own inputs it says nothing, and they
    say nothing beside it. The score counts per unit of its own. The multivariable model is of the patients who have
    every variable, and takes as many coefficients as it has five patients of the rarer outcome for; with more variables
    only the score enters, and the rows of the others say so.

    Args:
        table: As ``patients_with_scores`` gives it.
        covariates: Clinical columns; texts with many values are left out.
        endpoint: Logistic models, or Cox's where it has a time.
        of_clinical: Whether the score is made of clinical variables alone.

    Returns:
        The columns of ``radnet regression``.
    """
    names = [*([] if of_clinical else [SCORE]), *_usable(table, covariates)]
    whole = table[[*names, endpoint.event]].dropna()
    wanted = sum(1 if is_number(whole[name]) else max(0, len(levels_of(whole[name])) - 1) for name in names)
    events = int(whole[endpoint.event].sum())
    fewer = events if endpoint.time is not None else min(events, len(whole) - events)
    full = regression_table(table, names, event=endpoint.event, time=endpoint.time)
    if wanted <= max(1, fewer // _EVENTS_EACH):
        return full
    if of_clinical:
        return full[full["analysis"] == UNIVARIABLE]
    alone = regression_table(table, [SCORE], event=endpoint.event, time=endpoint.time)
    why = (
        f"left out: {fewer} patients of the rarer outcome among {len(whole)} who have every variable are too few for "
        f"{wanted} coefficients ({fewer / wanted:.1f} each, {_EVENTS_EACH} wanted)"
    )
    others = untold_table(table, names[1:], why, event=endpoint.event, time=endpoint.time)
    others = others.assign(analysis=MULTIVARIABLE)
    parts = [full[full["analysis"] == UNIVARIABLE], alone[alone["analysis"] == MULTIVARIABLE], others]
    return pd.concat(parts, ignore_index=True)[full.columns]


def run_nomogram(table: pd.DataFrame, regression: pd.DataFrame, endpoint: Endpoint) -> pd.DataFrame:
    """Lay the multivariable model out as points, with the columns of ``radnet regression --nomogram``.

    Raises:
        ValueError: If there is no such model, or a survival endpoint names no horizon to foretell to.
    """
    model = regression[(regression["analysis"] == MULTIVARIABLE) & regression["p_value"].notna()]
    names = list(dict.fromkeys(model["variable"]))
    if not names:
        raise ValueError("a nomogram needs a multivariable model, and there is none")
    if endpoint.time is None:
        return points_table({nan: logistic_nomogram(table, names, event=endpoint.event)})
    if endpoint.horizon is None:
        raise ValueError(f"a nomogram of {endpoint.name} needs a time to foretell to: endpoint.horizon=…")
    at = endpoint.horizon
    return points_table({at: cox_nomogram(table, names, event=endpoint.event, time=endpoint.time, horizon=at)})


def _usable(table: pd.DataFrame, covariates: Sequence[str]) -> list[str]:
    return [
        name
        for name in dict.fromkeys(covariates)
        if table[name].notna().any() and (is_number(table[name]) or table[name].nunique() <= MANY)
    ]
