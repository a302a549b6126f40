"""What a fitted model leans on: the AUC or C-index it loses when inputs are permuted, and its coefficients."""

from collections.abc import Iterator, Mapping, Sequence
from math import nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radnet.cohort import Cohort
from radnet.evaluation.bootstrap import Floats, bootstrap_interval
from radnet.evaluation.outcomes import NEEDED, Outcomes
from radnet.models.pipeline import ClinicalEncoder
from radnet.predictors.base import Frozen
from radnet.predictors.frozen_stack import FrozenStack
from radnet.predictors.lesion_rows import of_lesions, site_columns

COLUMNS = ("kind", "name", "importance", "lower", "upper", "partition", "method")
"""Columns of ``importance.csv``. By method ``permutation``: AUC lost, with an interval over patients; by
``coefficient_per_sd``: what one standard deviation of an input among development patients adds to the log odds. With
follow-up these are ``permutation_c_index``, C-index lost, and ``log_hazard_per_sd``."""

_METHODS = {"auc": ("permutation", "coefficient_per_sd"), "c_index": ("permutation_c_index", "log_hazard_per_sd")}

_AT_ONCE = 20_000_000  # numbers in one table of permuted inputs
_RESAMPLES, _LEVEL = 500, 0.95


def importance(
    model: Frozen, judged: Cohort, development: Cohort, endpoint: str, partition: str, repeats: int, seed: int
) -> pd.DataFrame:
    """Judge a fitted model with some of its inputs permuted between patients.

    Permuted together are a feature class of a filter family (``wavelet glcm``, with region and channel where they are
    not the first), what an image branch made of a patch (the columns a model calls ``described``), the columns of a
    clinical variable, and, where the model reads several, all features, all of the image and all clinical variables
    (kind ``branch``). Of inputs that say the same, permuting one leaves the other to the model: neither then
    looks important. A negative loss is noise. For a linear model the coefficients of single features stand beside.
    Of a model that scores lesions, inputs are permuted between lesions, whoever they belong to, and those lost are of
    patients.

    Args:
        model: Fitted.
        judged: Patients whose AUC or C-index is lost; some of them must be comparable.
        development: Patients the model learned from, for the spread of its features.
        endpoint: Endpoint learned.
        partition: What ``judged`` are to the model: ``held_out`` or ``apparent``.
        repeats: Permutations of each group; the same ones for every group.
        seed: Seed of the permutations and of the interval.

    Returns:
        ``COLUMNS``, within each kind the greatest importance first. The interval holds percentiles over patients
        drawn within their class, with follow-up over all, with the mean over the permutations.

    Raises:
        ValueError: If no two of the patients judged can be compared.

    References:
        Breiman. Mach Learn 2001;45:5-32. Fisher, Rudin, Dominici. J Mach Learn Res 2019;20:177.
    """
    outcomes = Outcomes.of(judged, endpoint)
    size, events = outcomes.event.size, int(outcomes.event.sum())
    if not outcomes.comparable:
        raise ValueError(f"importance needs {NEEDED[outcomes.metric]}, got {events} of {size} with the event")
    permuting, of_coefficients = _METHODS[outcomes.metric]
    inputs = model.inputs(judged)
    orders = [np.random.default_rng([seed, repeat]).permutation(len(inputs)) for repeat in range(repeats)]
    whole = outcomes.weighted(model.score(inputs))
    rows = []
    for kind, name, columns in input_groups(model, list(inputs.columns)):
        permuted = [outcomes.weighted(score) for score in _scores(model, inputs, columns, orders)]

        def lost(weight: Floats, permuted: list = permuted) -> Floats:
            return whole(weight) - np.mean([of(weight) for of in permuted], axis=0)

        bounds = bootstrap_interval(lost, outcomes.stratum, resamples=_RESAMPLES, seed=seed, level=_LEVEL)
        numbers = np.round([float(lost(np.ones((1, size)))[0]), *bounds], 12) + 0.0  # nothing lost is 0
        found = dict(zip(("importance", "lower", "upper"), numbers.tolist(), strict=True))
        rows.append({"kind": kind, "name": name, **found, "partition": partition, "method": permuting})
    rows += [
        {"kind": "feature", "name": name, "importance": value, "lower": nan, "upper": nan}
        | {"partition": "development", "method": of_coefficients}
        for name, value in coefficients(model, development).items()
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    order = table.assign(size=table["importance"].where(table["method"] == permuting, table["importance"].abs()))
    order = order.sort_values(["kind", "method", "size"], ascending=[True, False, False], kind="stable")
    return order[list(COLUMNS)].reset_index(drop=True)


def input_groups(model: Frozen, columns: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the kind, the name and the columns of what is permuted together."""
    clinical = _clinical_columns(model.encoder)
    encoded = {column for of_variable in clinical.values() for column in of_variable}
    described = [column for column in columns if column in set(getattr(model, "described", ()))]
    features = [column for column in columns if column not in encoded.union(described)]
    sites = site_columns(getattr(model, "sites", ()))
    groups: dict[str, list[str]] = {}
    for column in features:
        groups.setdefault("site" if column in sites else feature_group(column), []).append(column)
    for name, of_group in groups.items():
        yield "group", name, of_group
    if described:
        yield "group", "image patch", described
    for variable, of_variable in clinical.items():
        yield "feature", variable, of_variable
    clinical_branch = [column for column in columns if column in encoded]
    branches = {"features": features, "image": described, "clinical": clinical_branch}
    there = {name: of_branch for name, of_branch in branches.items() if of_branch}
    if len(there) > 1:
        for name, of_branch in there.items():
            yield "branch", name, of_branch


def feature_group(name: str) -> str:
    """Return the filter family and class of a feature, behind its channel and region where these are not the first.

    Example:
        >>> feature_group("log-sigma-1-0-mm-3D_glcm_Contrast"), feature_group("ring__wavelet-LLH_firstorder_Mean")
        ('log glcm', 'ring wavelet firstorder')
    """
    *prefixes, feature = name.split("__")
    parts = feature.split("_")
    if len(parts) < 3:  # no name of pyradiomics: a group of its own
        return " ".join([*prefixes, feature])
    return " ".join([*prefixes, parts[0].split("-")[0], parts[1]])


def coefficients(model: Frozen, development: Cohort) -> Mapping[str, float]:
    """Return what one standard deviation of each input adds to the log odds or the log hazard; else nothing.

    That is for a linear model; of a stack, what the scores of its members and the columns beside them add. Inputs that
    the model's own steps leave out, and those of coefficient 0, are left out here.
    """
    steps = getattr(model, "steps", None)
    weights = None if steps is None else getattr(steps[-1], "coef_", None)
    if steps is None or weights is None or len(weights := np.atleast_2d(weights)) != 1:
        return {}
    values = _entering(model, development)
    names = np.array(values.columns, dtype=object)
    for _, step in steps.steps[:-1]:
        values = step.transform(values)
        names = step.get_feature_names_out(names) if hasattr(step, "get_feature_names_out") else names
    per_sd = weights[0] * np.asarray(values, dtype=float).std(axis=0)
    return {str(name): float(value) for name, value in zip(names, per_sd, strict=True) if value != 0}


def _entering(model: Frozen, cohort: Cohort) -> pd.DataFrame:
    """Return what a model's steps take."""
    inputs = model.inputs(cohort)
    if not isinstance(model, FrozenStack):
        return inputs
    scores = {name: one.score(one.inputs(cohort)) for name, one in model.members.items()}
    beside = [] if model.encoder is None else model.encoder.get_feature_names_out()
    return pd.DataFrame(scores, index=inputs.index).join(inputs[beside])


def _scores(
    model: Frozen, inputs: pd.DataFrame, columns: list[str], orders: Sequence[NDArray[np.intp]]
) -> Iterator[Floats]:
    values, places = inputs.to_numpy(dtype=float), inputs.columns.get_indexer(columns)
    together = max(1, _AT_ONCE // values.size)
    for start in range(0, len(orders), together):
        tables = []
        for order in orders[start : start + together]:
            permuted = values.copy()
            permuted[:, places] = values[np.ix_(order, places)]
            tables.append(permuted)
        table = pd.DataFrame(np.vstack(tables), columns=inputs.columns)
        if of_lesions(inputs):  # which a score gathers by their patient, one in each copy
            copies = [(f"{copy} {patient}", lesion) for copy in range(len(tables)) for patient, lesion in inputs.index]
            table.index = pd.MultiIndex.from_tuples(copies, names=inputs.index.names)
        yield from model.score(table).reshape(len(tables), -1)


def _clinical_columns(encoder: ClinicalEncoder | None) -> Mapping[str, list[str]]:
    """Return the columns an encoder makes of each variable, of those of which it makes any."""
    if encoder is None:
        return {}
    made = {name: encoder.made_of(name) for name in encoder.columns_}
    return {name: columns for name, columns in made.items() if columns}
