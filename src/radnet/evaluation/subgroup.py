"""Whether a score works in every subgroup alike: one frozen cut-off, honest intervals, a test of interaction."""

from collections.abc import Callable
from math import nan
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from radnet.evaluation.confusion import confusion
from radnet.evaluation.discrimination import Estimate, Floats, checked, delong
from radnet.evaluation.regression.design import level_names, levels_of
from radnet.evaluation.regression.fit import Fit, LikelihoodRatio, fit_cox, fit_logistic, likelihood_ratio
from radnet.evaluation.scale import lone, near_one

MISSING = "missing"
"""Name of the subgroup of patients in whom a column is empty; no level of a column should bear it."""

COLUMNS = (
    "subgroup",
    "n",
    "n_event",
    "auc",
    "lower",
    "upper",
    "true_positive",
    "false_positive",
    "false_negative",
    "true_negative",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "accuracy",
    "p_interaction",
    "note",
)
"""Columns of a subgroup table; ``subgroup`` is ``column=value``, and empty for all patients."""


def subgroup_table(
    event: ArrayLike,
    score: ArrayLike,
    cutoff: ArrayLike,
    subgroups: pd.DataFrame,
    *,
    rule: Literal["ge", "gt"] = "ge",
    at_least: int = 10,
    level: float = 0.95,
) -> pd.DataFrame:
    """Judge a score within subgroups, by the one cut-off it was frozen with.

    The subgroups of a column hold every patient once, those without a value as ``missing``, so that each column's
    four counts add up to those of all patients: a cut-off tuned within subgroups would break that.

    Args:
        event: Whether each patient had the event, shape (n,).
        score: Higher = event more likely, shape (n,).
        cutoff: The frozen cut-off: one for all, or that of each patient's model, shape () or (n,).
        subgroups: Columns to divide patients by, n rows.
        rule: Whether a score at the cut-off is positive (``ge``) or not (``gt``).
        at_least: Patients of each class a subgroup needs for the AUC's interval (DeLong); below, it is left out.
        level: Coverage of the interval.

    Returns:
        ``COLUMNS``: all patients, then each level of each column. ``p_interaction`` is the column's, by
        ``interaction``; ``note`` says what was left out and why.

    Raises:
        ValueError: If inputs differ in length, a score or cut-off is missing, or a column has a level ``missing``.

    References:
        Wang et al. N Engl J Med 2007;357:2189-2194.
    """
    happened, scores = checked(event, score)
    if len(subgroups) != scores.size:
        raise ValueError(f"{scores.size} scores need a row of subgroups each, got {len(subgroups)}")
    limit = np.broadcast_to(np.asarray(cutoff, dtype=float), scores.shape)
    if not np.isfinite(limit).all():
        raise ValueError("every patient needs a cut-off, a finite number")
    called = scores >= limit if rule == "ge" else scores > limit

    def row(subgroup: str, who: NDArray[np.bool_], p: float = nan, note: str = "") -> dict[str, object]:
        notes = [note] if note else []
        counts = confusion(happened[who], called[who])
        estimate, why = subgroup_auc(happened[who], scores[who], at_least=at_least, level=level)
        notes += [why] if why else []
        return {
            "subgroup": subgroup,
            "n": int(who.sum()),
            "n_event": int(happened[who].sum()),
            "auc": estimate.value,
            "lower": estimate.lower,
            "upper": estimate.upper,
            **{
                name: int(getattr(counts, name))
                for name in ("true_positive", "false_positive", "false_negative", "true_negative")
            },
            **{name: share.value for name, share in counts.shares.items()},
            "p_interaction": p,
            "note": "; ".join(notes),
        }

    rows = [row("", np.full(scores.size, True))]
    for column in subgroups:
        values = subgroups[column]
        names = level_names(values).to_numpy()
        levels = levels_of(values)
        if MISSING in levels:
            raise ValueError(f"{column}: a level is called {MISSING!r}, the name of the patients without a value")
        known = values.notna().to_numpy()
        p, note = _tried_interaction(happened[known], scores[known], names[known])
        rows += [row(f"{column}={name}", names == name, p, note) for name in levels]
        if not known.all():
            rows.append(row(f"{column}={MISSING}", ~known))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def subgroup_auc(event: ArrayLike, score: ArrayLike, *, at_least: int = 10, level: float) -> tuple[Estimate, str]:
    """Return the AUC of a subgroup with DeLong's interval and p-value, and what was left out of these and why.

    Args:
        event: Whether each patient had the event, shape (n,).
        score: Higher = event more likely, shape (n,).
        at_least: Patients of each class the interval needs; below, it and the p-value are left out.
        level: Coverage of the interval.
    """
    happened, scores = checked(event, score)
    classes = int(happened.sum()), int((~happened).sum())
    told = f"{classes[0]} with and {classes[1]} without the event"
    if min(classes) == 0:
        return Estimate(nan, nan, nan), f"no AUC: {told}"
    estimate = delong(happened, scores)
    if min(classes) < at_least:
        return Estimate(estimate.auc, nan, nan), f"no interval below {at_least} patients of a class: {told}"
    return Estimate(estimate.auc, *estimate.interval(level), estimate.p_value), ""


def interaction(event: ArrayLike, score: ArrayLike, subgroup: ArrayLike) -> LikelihoodRatio:
    """Test whether a score's odds ratio differs between subgroups: logistic model, likelihood ratio.

    Args:
        event: Whether each patient had the event, shape (n,).
        score: Shape (n,).
        subgroup: Name of each patient's subgroup, shape (n,), two or more; complete.

    Raises:
        SeparationError: If the score, the subgroups or both tell the patients apart without an error.
        ValueError: If there is one subgroup, or one class.

    References:
        Altman, Bland. BMJ 2003;326:219. R: ``anova(glm(y ~ s + g), glm(y ~ s * g), test = "LRT")``.
    """
    happened, scores = checked(event, score)
    return _interaction(lambda X, names: fit_logistic(happened, X, names), scores, subgroup)


def interaction_cox(time: ArrayLike, event: ArrayLike, score: ArrayLike, subgroup: ArrayLike) -> LikelihoodRatio:
    """Test whether a score's hazard ratio differs between subgroups: Cox model (Efron), likelihood ratio.

    See ``interaction``; time has shape (n,).
    """
    happened, scores = checked(event, score)
    return _interaction(lambda X, names: fit_cox(time, happened, X, names), scores, subgroup)


def _interaction(fit: Callable[[Floats, list[str]], Fit], score: Floats, subgroup: ArrayLike) -> LikelihoodRatio:
    groups = np.asarray(subgroup)
    if groups.shape != score.shape or pd.isna(groups).any():
        raise ValueError(f"{score.size} patients need the name of a subgroup each, and none may be missing")
    names = np.unique(groups.astype(str))
    if names.size < 2:
        raise ValueError(f"an interaction needs two subgroups, but every patient is in {', '.join(names)}")
    member = (groups.astype(str)[:, None] == names[1:]).astype(float)
    # Centred, a score's product with a subgroup does not repeat the subgroup; the test is the same.
    if (far := lone(score)) is not None:
        raise ValueError(f"a score of {far:g} is so far from all others that beside it their differences vanish")
    scaled = near_one(score)
    centred = scaled - scaled.mean()
    of_groups = [f"subgroup={name}" for name in names[1:]]
    alike = np.column_stack([centred, member])
    larger = fit(
        np.column_stack([alike, member * centred[:, None]]),
        ["score", *of_groups, *(f"score:{name}" for name in of_groups)],
    )
    return likelihood_ratio(larger, fit(alike, ["score", *of_groups]))


def _tried_interaction(event: NDArray[np.bool_], score: Floats, subgroup: ArrayLike) -> tuple[float, str]:
    try:
        return interaction(event, score, subgroup).p_value, ""
    except ValueError as fault:
        return nan, f"no interaction test: {fault}"
