"""Cohorts drawn from a cohort: bootstrap samples with their copies, and nested shares."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radnet.cohort import Cohort, Patient
from radnet.predictors.base import Predictor

Counts = NDArray[np.int64]


def draw_counts(event: NDArray[np.bool_], resamples: int, seed: int) -> Counts:
    """Draw patients with replacement within each class; return how often each is drawn, shape (resamples, n).

    Each class keeps its size, as in ``radnet.data.split.bootstrap_folds``: a sample without events teaches nothing. The
    b-th sample is the same however many there are.
    """
    counts = np.zeros((resamples, event.size), dtype=np.int64)
    for number, row in enumerate(counts):
        rng = np.random.default_rng([seed, number])
        for here in (np.flatnonzero(event), np.flatnonzero(~event)):
            np.add.at(row, rng.choice(here, here.size), 1)
    return counts


def with_copies(cohort: Cohort, times: Sequence[int]) -> Cohort:
    """Return a cohort in which each patient stands as often as he was drawn, copies under names of their own."""
    patients: list[Patient] = []
    features: list[pd.DataFrame] = []
    patches: list[pd.DataFrame] = []
    for copy in range(1, max(times, default=0) + 1):
        names = {
            one.id: one.id if copy == 1 else f"{one.id} (copy {copy})"
            for one, drawn in zip(cohort.patients, times, strict=True)
            if drawn >= copy
        }
        patients += [replace(one, id=names[one.id]) for one in cohort.patients if one.id in names]
        for table, rows in ((cohort.features, features), (cohort.patches, patches)):
            if table is not None:
                part = table.of(names).rows
                rows.append(part.assign(patient_id=part["patient_id"].map(names)))
    return Cohort(
        tuple(patients),
        cohort.features and replace(cohort.features, rows=pd.concat(features, ignore_index=True)),
        cohort.patches and replace(cohort.patches, rows=pd.concat(patches, ignore_index=True)),
    )


def fit_to_sample(predictor: Predictor, cohort: Cohort, times: Sequence[int]) -> Predictor:
    """Fit a predictor to a bootstrap sample, copies and all.

    A predictor that sets patients aside to know when to stop does so before the copies are made: else a patient would
    stand on both sides, and training would stop too late in every sample.
    """
    if hasattr(predictor, "folds") and not hasattr(predictor, "set_aside"):
        raise ValueError(
            "a bootstrap sample holds copies of patients, which the model's own folds would put on both sides: "
            "optimism=none for a stack or a tuned model"
        )
    drawn = dict(zip(cohort.ids, times, strict=True))
    distinct = cohort.select(one for one, often in drawn.items() if often)
    learn, check = predictor.set_aside(distinct) if hasattr(predictor, "set_aside") else (distinct, None)
    sides = [None if side is None else with_copies(side, [drawn[one] for one in side.ids]) for side in (learn, check)]
    assert sides[0] is not None
    return predictor.fit(sides[0], sides[1])


def nested_shares(
    cohort: Cohort, endpoint: str, shares: Sequence[float], seed: int, draw: int
) -> Iterator[tuple[float, Cohort]]:
    """Yield shares of a cohort in rising order, each within the next, with the whole's share of events."""
    event = cohort.events(endpoint)
    rng = np.random.default_rng([seed, draw])
    orders = [rng.permutation(np.flatnonzero(event == one)) for one in (True, False)]
    for share in sorted(shares):
        places = np.concatenate([order[: max(1, round(share * order.size))] for order in orders])
        yield share, cohort.select(cohort.ids[place] for place in places)
