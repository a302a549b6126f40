"""Groups of patients beside survival: the hazard ratio of each against the last one named."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from lifelines.statistics import logrank_test
from scipy.stats import norm

from radnet.association.comparison import FEWEST_PER_GROUP
from radnet.association.effect import Effect, untold
from radnet.association.side_by_side import numbers, refuse_other_patients
from radnet.association.survival import FEWEST_EVENTS
from radnet.association.table import Association
from radnet.models.cox import univariable_cox

_MEASURE, _METHOD = "hazard_ratio", "Cox, Efron; Wald; log-rank test"


def group_hazard_ratios(
    group: pd.Series,
    groups: Sequence[object],
    event: pd.Series,
    time: pd.Series,
    endpoint: str,
    *,
    level: float = 0.95,
) -> list[Association]:
    """Return the hazard ratio of each group against the last, with Wald interval, and the log-rank test of the pair.

    Each pair is a Cox model of its own patients, Efron's ties.

    Args:
        group: Group of each patient; its name is that of the grouping. Patients of no group named are left out.
        groups: Two or more; the last is the reference.
        event: Whether follow-up ended with the event, 0 or 1, of the same patients in any order; NaN where unknown.
        time: How long it was, above 0; NaN where unknown.
        endpoint: Its name.
        level: Coverage of the intervals.

    Returns:
        A row per group but the last; without numbers where fewer than five events are seen, or the ratio is infinite.

    Raises:
        TableFault: If the tables are not of the same patients, or hold what is no number.
        ValueError: If a group has fewer than five patients whose outcome is known, groups are not two or more that
            differ, an event is neither 0 nor 1, or a time not above 0.

    References:
        Cox. J R Stat Soc B 1972;34:187-220. Mantel. Cancer Chemother Rep 1966;50:163-170.
    """
    if len(set(groups)) != len(groups) or len(groups) < 2:
        raise ValueError(f"survival is compared between two different groups or more, got {list(groups)}")
    refuse_other_patients([("group", group.index), ("event", event.index), ("time", time.index)])
    outcome = numbers(pd.DataFrame({"event": event, "time": time}), "outcome").loc[group.index]
    known = outcome.notna().all(axis=1)
    if wrong := int((~outcome["event"][known].isin([0, 1]) | (outcome["time"][known] <= 0)).sum()):
        raise ValueError(
            f"an event is 0 or 1 and a time above 0, but those of {wrong} of {known.sum()} patients are not"
        )
    members = {one: (group == one).to_numpy(dtype=bool, na_value=False) for one in groups}
    if few := [
        f"{one} has {int(who[known].sum())}" for one, who in members.items() if who[known].sum() < FEWEST_PER_GROUP
    ]:
        raise ValueError(
            f"grouping {group.name}: survival is compared from {FEWEST_PER_GROUP} patients a group on, but "
            f"{', '.join(few)}: join groups, or relate survival to the score itself"
        )
    *others, last = groups
    rows = []
    for one in others:
        asked = members[one] | members[last]
        who = asked & known.to_numpy()
        first, happened, until = (
            members[one][who],
            outcome["event"].to_numpy()[who] == 1,
            outcome["time"].to_numpy()[who],
        )
        counts = ", ".join(
            f"{name} {int(part.sum())} ({int(happened[part].sum())} events)"
            for name, part in ((one, first), (last, ~first))
        )
        effect = _hazard_ratio(first, happened, until, float(norm.ppf((1 + level) / 2)))
        rows.append(
            Association(
                f"{group.name}: {one} vs {last}", endpoint, len(first), int(asked.sum()) - len(first), effect, counts
            )
        )
    return rows


def _hazard_ratio(first: np.ndarray, happened: np.ndarray, until: np.ndarray, reach: float) -> Effect:
    if (events := int(happened.sum())) < FEWEST_EVENTS:
        return untold(_MEASURE, _METHOD, f"{events} events: {FEWEST_EVENTS} are needed")
    (coefficient,), (error,) = univariable_cox(first[:, None].astype(float), happened, until)
    if not np.isfinite(coefficient):
        return untold(
            _MEASURE, _METHOD, "one group has no event while the other is at risk: the ratio is 0 or infinite"
        )
    test = logrank_test(until[first], until[~first], happened[first], happened[~first])
    value, lower, upper = np.exp([coefficient, coefficient - reach * error, coefficient + reach * error])
    return Effect(
        _MEASURE, _METHOD, float(value), float(lower), float(upper), float(test.test_statistic), float(test.p_value)
    )
