"""Which features a fitted pipeline leaves, step by step."""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.pipeline import Pipeline


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


def _renames(step: object) -> bool:
    """Return whether a step may give other columns than it takes, as an imputer that drops empty ones."""
    return hasattr(step, "get_feature_names_out")
