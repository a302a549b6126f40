"""What a fitted model leans on: the AUC it loses when inputs are permuted between patients, and its coefficients."""

from collections.abc import Iterator, Mapping, Sequence
from math import nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radnet.cohort import Cohort
from radnet.evaluation.bootstrap import Floats, bootstrap_interval
from radnet.evaluation.discrimination import weighted_auc
from radnet.models.pipeline import ClinicalEncoder
from radnet.predictors.base import Frozen

COLUMNS = ("kind", "name", "importance", "lower", "upper", "partition", "method")
"""Columns of ``importance.csv``. By method ``permutation``: AUC lost, with an interval over patients; by
``coefficient_per_sd``: what one standard deviation of an input among development patients adds to the log odds."""

_AT_ONCE = 20_000_000  # numbers in one table of permuted inputs
_RESAMPLES, _LEVEL = 500, 0.95


def importance(
    model: Frozen, judged: Cohort, development: Cohort, endpoint: str, partition: str, repeats: int, seed: int
) -> pd.DataFrame:
    """Judge a fitted model with some of its inputs permuted between patients.

    Permuted together are a feature class of a filter family (``wavelet glcm``, with region and channel where they are
    not the first), the columns of a clinical variable, and, where the model reads both, all features and all clinical
    variables (kind ``branch``). Of inputs that say the same, permuting one leaves the other to the model: neither then
    looks important. A negative loss is noise. For a linear model the coefficients of single features stand beside.

    Args:
        model: Fitted.
        judged: Patients whose AUC is lost; both outcomes must be there.
        development: Patients the model learned from, for the spread of its features.
        endpoint: A binary endpoint.
        partition: What ``judged`` are to the model: ``held_out`` or ``apparent``.
        repeats: Permutations of each group; the same ones for every group.
        seed: Seed of the permutations and of the interval.

    Returns:
        ``COLUMNS``, within each kind the greatest importance first. The interval holds percentiles over patients
        drawn within their class, with the mean over the permutations.

    Raises:
        ValueError: If the patients judged share one outcome.

    References:
        Breiman. Mach Learn 2001;45:5-32. Fisher, Rudin, Dominici. J Mach Learn Res 2019;20:177.
    """
    event = judged.events(endpoint)
    if event.all() or not event.any():
        raise ValueError(f"importance needs patients with and without the event, got {event.sum()} of {event.size}")
    inputs = model.inputs(judged)
    orders = [np.random.default_rng([seed, repeat]).permutation(event.size) for repeat in range(repeats)]
    whole = weighted_auc(event, model.score(inputs))
    rows = []
    for kind, name, columns in input_groups(model, list(inputs.columns)):
        permuted = [weighted_auc(event, score) for score in _scores(model, inputs, columns, orders)]

        def lost(weight: Floats, permuted: list = permuted) -> Floats:
            return whole(weight) - np.mean([auc(weight) for auc in permuted], axis=0)

        bounds = bootstrap_interval(lost, event, resamples=_RESAMPLES, seed=seed, level=_LEVEL)
        numbers = np.round([float(lost(np.ones((1, event.size)))[0]), *bounds], 12) + 0.0  # nothing lost is 0
        found = dict(zip(("importance", "lower", "upper"), numbers.tolist(), strict=True))
        rows.append({"kind": kind, "name": name, **found, "partition": partition, "method": "permutation"})
    rows += [
        {"kind": "feature", "name": name, "importance": value, "lower": nan, "upper": nan}
        | {"partition": "development", "method": "coefficient_per_sd"}
        for name, value in coefficients(model, development).items()
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    order = table.assign(size=table["importance"].where(table["method"] == "permutation", table["importance"].abs()))
    order = order.sort_values(["kind", "method", "size"], ascending=[True, False, False], kind="stable")
    return order[list(COLUMNS)].reset_index(drop=True)


def input_groups(model: Frozen, columns: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the kind, the name and the columns of what is permuted together."""
    clinical = _clinical_columns(model.encoder)
    encoded = {column for of_variable in clinical.values() for column in of_variable}
    features = [column for column in columns if column not in encoded]
    groups: dict[str, list[str]] = {}
    for column in features:
        groups.setdefault(feature_group(column), []).append(column)
    for name, of_group in groups.items():
        yield "group", name, of_group
    for variable, of_variable in clinical.items():
        yield "feature", variable, of_variable
    if features and encoded:
        yield "branch", "features", features
        yield "branch", "clinical", [column for column in columns if column in encoded]


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
    """Return what one standard deviation of each input adds to the log odds, for a linear model; else nothing.

    Inputs that the model's own steps leave out, and those of coefficient 0, are left out here.
    """
    steps = getattr(model, "steps", None)
    weights = None if steps is None else getattr(steps[-1], "coef_", None)
    if steps is None or weights is None or len(weights) != 1:
        return {}
    values = model.inputs(development)
    names = np.array(values.columns, dtype=object)
    for _, step in steps.steps[:-1]:
        values = step.transform(values)
        names = step.get_feature_names_out(names) if hasattr(step, "get_feature_names_out") else names
    per_sd = weights[0] * np.asarray(values, dtype=float).std(axis=0)
    return {str(name): float(value) for name, value in zip(names, per_sd, strict=True) if value != 0}


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
        scores = model.score(pd.DataFrame(np.vstack(tables), columns=inputs.columns))
        yield from scores.reshape(len(tables), len(values))


def _clinical_columns(encoder: ClinicalEncoder | None) -> Mapping[str, list[str]]:
    """Return the columns an encoder makes of each variable; a category of one level makes none."""
    if encoder is None:
        return {}
    made = {
        name: [f"{name}_{level}" for level in encoder.levels_[name][1:]] if name in encoder.levels_ else [name]
        for name in encoder.columns_
    }
    return {name: columns for name, columns in made.items() if columns}
