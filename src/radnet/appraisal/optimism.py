"""What the configured model owes to having seen its own patients: bootstrap samples, each with a model of its own."""

from collections.abc import Callable
from functools import partial
from math import nan

import numpy as np
import pandas as pd

from radnet.appraisal.refits import Refits
from radnet.appraisal.resampling import draw_counts, fit_to_sample
from radnet.cohort import Cohort
from radnet.evaluation.discrimination_optimism import Optimism, discrimination_optimism
from radnet.evaluation.outcomes import NEEDED, Outcomes
from radnet.tables import METRIC_COLUMNS

PARTITION = "optimism_corrected"
_LEVEL = 0.95


def model_optimism(
    refits: Refits,
    development: Cohort,
    endpoint: str,
    apparent: pd.Series,
    resamples: int,
    seed: int,
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[Optimism, list[str]]:
    """Fit the configured model to bootstrap samples of its patients, and compare.

    All that the predictor learns is learned again; the cut-off is not, since neither AUC nor C-index needs one.

    Args:
        refits: Fits the model again.
        development: Patients the model learned from.
        endpoint: Endpoint learned.
        apparent: The model's scores of these patients, by patient_id.
        resamples: Bootstrap samples, 1 or more.
        seed: Seed of the draws.
        progress: Called with samples done, samples in all and a word on the next.

    Returns:
        The AUCs or C-indices, and a message where some samples could not be learned from.

    Raises:
        ValueError: If no sample could be learned from.
    """
    outcomes = Outcomes.of(development, endpoint)
    counts = draw_counts(outcomes.event, resamples, seed)
    scores, drawn, refused = [], [], []
    for number, times in enumerate(counts, start=1):
        if progress is not None:
            progress(number - 1, resamples, f"resample {number}")
        learn = partial(fit_to_sample, cohort=development, times=times.tolist())
        if not outcomes.where(times > 0).comparable:
            refused.append(f"it lacks {NEEDED[outcomes.metric]}")
            continue
        try:
            scores.append(refits.scores(f"resample_{number}", number, learn, development).to_numpy())
            drawn.append(times)
        except ValueError as fault:
            refused.append(str(fault))
    if progress is not None:
        progress(resamples, resamples, "")
    if not scores:
        raise ValueError(f"none of {resamples} bootstrap samples could be learned from: {refused[0]}")
    told = f"{len(refused)} of {resamples} bootstrap samples could not be learned from"
    found = discrimination_optimism(outcomes, apparent.loc[development.ids], np.array(scores), np.array(drawn))
    return found, [f"{told}: {refused[0]}"] if refused else []


def optimism_rows(found: Optimism, endpoint: str, model: str, outcomes: Outcomes) -> pd.DataFrame:
    """Return the corrected AUC or C-index as rows of metrics.csv: by Harrell's method, an AUC by the .632+ rule too."""
    n, n_event = outcomes.event.size, int(outcomes.event.sum())
    methods = {"bootstrap": found.harrell} | ({} if outcomes.followed else {"632plus": found.rule_632plus})
    rows = []
    for method, corrected in methods.items():
        lower, upper = found.interval(corrected, _LEVEL)
        numbers = {"estimate": corrected, "lower": lower, "upper": upper, "p_value": nan, "n": n, "n_event": n_event}
        names = {"endpoint": endpoint, "model": model, "partition": PARTITION, "level": "patient"}
        rows.append({**names, "metric": outcomes.metric, **numbers, "method": method})
    table = pd.DataFrame(rows).reindex(columns=list(METRIC_COLUMNS))
    words = ["versus", "centre", "subgroup", "group"]
    return table.assign(**dict.fromkeys(words, ""))
