"""What the steps of a fitted pipeline tell: the features each leaves, the weights, and what makes these uncertain."""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from radnet.models.pipeline import LogShift
from radnet.predictors.base import Frozen


def features_left(steps: Pipeline, columns: Sequence[str]) -> Mapping[str, list[str]]:
    """Return the columns left after each step of a fitted pipeline that leaves some out.

    A step that can leave columns out is told even where it left out none. A model of sparse coefficients is such a
    step: it leaves those that are not 0.

    Args:
        steps: Fitted.
        columns: Its inputs, in order.

    Returns:
        ``measured`` (all columns), then the name of each such step; nothing for a pipeline without any.
    """
    left = {"measured": list(columns)}
    names = np.array(columns, dtype=object)
    for name, step in steps.steps:
        if hasattr(step, "get_support"):
            names = names[step.get_support()]
        elif hasattr(step, "lambda_"):
            names = names[np.ravel(step.coef_) != 0]
        else:
            names = np.array(step.get_feature_names_out(names), dtype=object) if _renames(step) else names
            continue
        left[name] = [str(one) for one in names]
    return left if len(left) > 1 else {}


def linear_terms(steps: Pipeline, columns: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
    """Return ``beta`` of each column that a fitted linear pipeline weighs, and its ``mean`` and ``sd``.

    So that a score can be computed by hand: the sum of beta (x - mean) / sd, and a constant. Where a column has
    ``logged_from``, x is log(value - logged_from + 1), of a value not below it. Of a model of lesions the score is the
    log odds of a lesion. Nothing for a model that is not linear in its inputs so far, or clips or combines them.
    """
    weights = np.ravel(getattr(steps[-1], "coef_", []))
    names = np.array(columns, dtype=object)
    mean, sd, least = np.zeros(len(names)), np.ones(len(names)), np.full(len(names), np.nan)
    for _, step in steps.steps[:-1]:
        if hasattr(step, "get_support"):
            names, mean, sd, least = (one[step.get_support()] for one in (names, mean, sd, least))
        elif isinstance(step, LogShift) and not mean.any() and (sd == 1).all():
            least = step.minimum_
        elif isinstance(step, StandardScaler) and step.mean_ is not None and step.scale_ is not None:
            mean, sd = step.mean_, step.scale_
        elif not (isinstance(step, SimpleImputer) and len(step.get_feature_names_out(names)) == len(names)):
            return {}
    if len(weights) != len(names):
        return {}
    terms = zip(names, weights, mean, sd, least, strict=True)
    return {
        str(name): {"beta": float(beta), "mean": float(centre), "sd": float(spread)}
        | ({} if np.isnan(origin) else {"logged_from": float(origin)})
        for name, beta, centre, spread, origin in terms
        if beta != 0
    }


def step_notes(model: Frozen) -> list[str]:
    """Return what the steps of a fitted model, and of the members of a stack, say of what they learned (``note_``)."""
    steps = getattr(model, "steps", None) or getattr(model, "prepare", None)
    own = [] if steps is None else [getattr(step, "note_", "") for _, step in steps.steps]
    of_members = [note for one in getattr(model, "members", {}).values() for note in step_notes(one)]
    return [*of_members, *(note for note in own if note)]


def _renames(step: object) -> bool:
    """Return whether a step may give other columns than it takes, as an imputer that drops empty ones."""
    return hasattr(step, "get_feature_names_out")
