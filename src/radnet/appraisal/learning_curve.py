"""Would more patients help? The configured model, learned from growing shares of its patients."""

from collections.abc import Callable, Sequence
from math import nan

import numpy as np
import pandas as pd

from radnet.appraisal.refits import Refits
from radnet.appraisal.resampling import nested_shares
from radnet.cohort import Cohort
from radnet.evaluation.outcomes import NEEDED, Outcomes
from radnet.predictors.nested import Judged

COLUMNS = ("n", "partition", "metric", "estimate", "lower", "upper", "share", "draws", "lowest", "highest")
"""Columns of ``learning_curve.csv``: patients learned from, the mean AUC or C-index over draws and its interval over
patients judged, then the share, how many draws had one, and the least and greatest of these."""

_RESAMPLES, _LEVEL = 2000, 0.95


def learning_curve(
    refits: Refits,
    development: Cohort,
    held_out: Cohort,
    endpoint: str,
    full: Sequence[Judged] | pd.Series,
    shares: Sequence[float],
    draws: int,
    seed: int,
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Judge models of growing shares of the patients on those held out, or within folds where nobody is.

    Shares are stratified by the event, and each lies within the next. The interval is of the patients judged, who are
    the same at every share: two of them may overlap though the difference is certain. How far the draws of training
    patients move the AUC, or the C-index, stands beside it.

    Args:
        refits: Fits the model again.
        development: Patients the model learns from.
        held_out: Patients it is judged on; may be empty.
        endpoint: Endpoint learned.
        full: What is known of share 1: the model's own scores of the held-out patients, by patient_id, as the first
            draw's; or, where nobody is held out, the folds, of which the first ``draws`` take part.
        shares: Of the patients.
        draws: How many times the shares are drawn; a draw's model has first weights of its own, at share 1 too.
        seed: Seed of the draws.
        progress: Called with draws done, draws in all and a word on the next.

    Returns:
        ``COLUMNS``, and messages on shares that could not be learned from, and on draws that could not be judged.

    Raises:
        ValueError: If no two of those judged can be compared.
    """
    if isinstance(full, pd.Series):
        plan = [(str(draw), development, held_out, full if draw == 1 else None) for draw in range(1, draws + 1)]
    else:
        plan = [
            (str(draw), development.select(one.fold.train), development.select(one.fold.test), _scores(one))
            for draw, one in enumerate(full[:draws], start=1)
        ]
    judged: list[pd.DataFrame] = []
    refused: dict[float, str] = {}
    for draw, (name, learned_from, judged_on, known) in enumerate(plan):
        if progress is not None:
            progress(draw, len(plan), f"draw {name}")
        for place, (share, part) in enumerate(nested_shares(learned_from, endpoint, shares, seed, draw)):
            scores = known if share == 1 else None
            if scores is None:
                number = draw * len(shares) + place
                try:
                    scores = refits.scores(f"share_{place + 1}_{name}", number, lambda one: one.fit(part), judged_on)  # noqa: B023 - called at once
                except ValueError as fault:
                    refused[share] = str(fault)
                    continue
            of_draw = {"share": share, "draw": name, "learned_from": len(part), "score": scores.loc[judged_on.ids]}
            outcome = {"event": judged_on.events(endpoint), "time": judged_on.times(endpoint)}
            judged.append(pd.DataFrame({**of_draw, **outcome}))
    if progress is not None:
        progress(len(plan), len(plan), "")
    told = [f"a share of {share:g} could not be learned from: {why}" for share, why in refused.items()]
    partition = "held_out" if isinstance(full, pd.Series) else "out_of_fold"
    rows = [] if not judged else [_point(rows, partition, seed, told) for _, rows in pd.concat(judged).groupby("share")]
    return pd.DataFrame(rows, columns=list(COLUMNS)), told


def _scores(one: Judged) -> pd.Series:
    return one.prediction.patients["score"]


def _outcomes(rows: pd.DataFrame) -> Outcomes:
    return Outcomes(rows["event"].to_numpy(dtype=bool), rows["time"].to_numpy(dtype=float))


def _point(rows: pd.DataFrame, partition: str, seed: int, told: list[str]) -> dict[str, object]:
    outcomes = _outcomes(rows)
    mean = outcomes.within_folds(rows["score"], rows["draw"], rows.index, resamples=_RESAMPLES, seed=seed, level=_LEVEL)
    share = float(rows["share"].iloc[0])
    if mean.skipped:
        draws = ", ".join(mean.skipped)
        told.append(f"a share of {share:g} could not be judged in draw {draws}: that needs {NEEDED[outcomes.metric]}")
    by_draw = [(_outcomes(one), one["score"]) for name, one in rows.groupby("draw") if name not in mean.skipped]
    found = [of_draw.discrimination(score) for of_draw, score in by_draw]
    several = len(found) > 1
    return {
        "n": round(float(rows.groupby("draw")["learned_from"].first().mean())),
        "partition": partition,
        "metric": outcomes.metric,
        "estimate": mean.value,
        "lower": mean.lower,
        "upper": mean.upper,
        "share": share,
        "draws": len(found),
        "lowest": float(np.min(found)) if several else nan,
        "highest": float(np.max(found)) if several else nan,
    }
