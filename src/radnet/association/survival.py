"""Variables beside survival: the hazard ratio of each, and the survival of patients above and below its median."""

import numpy as np
import pandas as pd
from lifelines import KaplanMeierFitter
from lifelines.statistics import logrank_test
from numpy.typing import NDArray
from scipy.stats import norm

from radnet.association.comparison import FEWEST_PER_GROUP
from radnet.association.effect import Effect, untold
from radnet.association.side_by_side import numbers, refuse_other_patients
from radnet.association.table import Association
from radnet.models.cox import univariable_cox

FEWEST_EVENTS = 5
"""Events without which no hazard ratio is told."""

Floats = NDArray[np.float64]


def hazard_ratios(
    values: pd.DataFrame, event: pd.Series, time: pd.Series, endpoint: str, *, level: float = 0.95
) -> list[Association]:
    """Return the hazard ratio of one standard deviation of each variable alone, with Wald interval and p-value.

    Cox's model, Efron's ties. The standard deviation (n − 1) is that of the patients who have the variable and the
    outcome. Adjust for how many were tested by ``associations``.

    Args:
        values: A row per patient, a column of numbers per variable; NaN where missing.
        event: Whether follow-up ended with the event, of the same patients in any order; NaN where unknown.
        time: How long it was, above 0; NaN where unknown.
        endpoint: Its name.
        level: Coverage of the intervals.

    Returns:
        A row per variable; without numbers where fewer than five events are seen, where those at risk do not differ,
        or where the ratio is infinite or 0.

    Raises:
        TableFault: If the tables are not of the same patients, or hold what is no number.
        ValueError: If an event is neither 0 nor 1, or a time not above 0.

    References:
        Cox. J R Stat Soc B 1972;34:187-220. Efron. J Am Stat Assoc 1977;72:557-565.
    """
    table, happened, until = _followed(values, event, time)
    reach = float(norm.ppf((1 + level) / 2))
    rows = []
    for name, column in table.items():
        who = ~np.isnan(column.to_numpy()) & ~np.isnan(until)
        effect = _hazard_ratio(column.to_numpy()[who], happened[who] == 1, until[who], reach)
        counts = f"{int((happened[who] == 1).sum())} events"
        rows.append(Association(str(name), endpoint, int(who.sum()), int((~who).sum()), effect, counts))
    return rows


def above_and_below_median(
    values: pd.DataFrame, event: pd.Series, time: pd.Series, endpoint: str, *, level: float = 0.95
) -> list[Association]:
    """Return the hazard ratio of patients above the median of each variable against the others, and the log-rank test.

    The median is that of the patients who have the variable and the outcome; whoever is at it is below. Dividing
    patients wastes what ``hazard_ratios`` keeps, and is for showing.

    Args:
        values: See ``hazard_ratios``.
        event: Likewise.
        time: Likewise.
        endpoint: Its name.
        level: Coverage of the intervals.

    References:
        Mantel. Cancer Chemother Rep 1966;50:163-170.
    """
    table, happened, until = _followed(values, event, time)
    reach = float(norm.ppf((1 + level) / 2))
    rows = []
    for name, column in table.items():
        who = ~np.isnan(column.to_numpy()) & ~np.isnan(until)
        own, had_it, when = column.to_numpy()[who], happened[who] == 1, until[who]
        high = own > np.median(own) if own.size else np.zeros(0, dtype=bool)
        effect = _high_against_low(high, had_it, when, reach)
        counts = f"high {high.sum()} ({had_it[high].sum()} events), low {(~high).sum()} ({had_it[~high].sum()} events)"
        rows.append(Association(str(name), endpoint, own.size, int((~who).sum()), effect, counts))
    return rows


def kaplan_meier(group: pd.Series, event: pd.Series, time: pd.Series, *, level: float = 0.95) -> pd.DataFrame:
    """Return the Kaplan-Meier curve of each group of patients.

    Args:
        group: Of each patient; missing: left out.
        event: See ``hazard_ratios``; patients whose outcome is unknown are left out.
        time: Likewise.
        level: Coverage of the log-log interval.

    Returns:
        A row per group and time, from 0 on: ``group``, ``time``, ``survival``, ``lower``, ``upper``, ``at_risk`` just
        before the time, ``events`` and ``censored`` at it.

    References:
        Kaplan, Meier. J Am Stat Assoc 1958;53:457-481. Kalbfleisch, Prentice. The statistical analysis of failure time
        data. Wiley 2002:17 (the interval).
    """
    table, happened, until = _followed(pd.DataFrame({"known": group.notna()}), event, time)
    names = group.loc[table.index]
    curves = []
    for name in sorted(names.dropna().unique(), key=str):
        who = (names == name).to_numpy(dtype=bool, na_value=False) & ~np.isnan(until)
        if not who.any():
            continue
        fit = KaplanMeierFitter(alpha=1 - level).fit(until[who], happened[who])
        counted = fit.event_table
        curves.append(
            pd.DataFrame(
                {
                    "group": name,
                    "time": fit.timeline,
                    "survival": fit.survival_function_.to_numpy()[:, 0],
                    "lower": fit.confidence_interval_.to_numpy()[:, 0],
                    "upper": fit.confidence_interval_.to_numpy()[:, 1],
                    "at_risk": counted["at_risk"].to_numpy(dtype=int),
                    "events": counted["observed"].to_numpy(dtype=int),
                    "censored": counted["censored"].to_numpy(dtype=int),
                }
            )
        )
    if not curves:
        raise ValueError(f"survival by {group.name}: no patient has both a group and an outcome")
    return pd.concat(curves, ignore_index=True)


def _followed(values: pd.DataFrame, event: pd.Series, time: pd.Series) -> tuple[pd.DataFrame, Floats, Floats]:
    """Return the variables, and event and time in their order, both NaN where one is."""
    refuse_other_patients([("values", values.index), ("event", event.index), ("time", time.index)])
    table = numbers(values, "values")
    outcome = numbers(pd.DataFrame({"event": event, "time": time}), "outcome").loc[table.index]
    known = outcome.dropna()
    if wrong := int((~known["event"].isin([0, 1]) | (known["time"] <= 0)).sum()):
        raise ValueError(
            f"an event is 0 or 1 and a time above 0, but those of {wrong} of {len(known)} patients are not"
        )
    outcome[outcome.isna().any(axis=1)] = np.nan
    return table, outcome["event"].to_numpy(), outcome["time"].to_numpy()


def _hazard_ratio(values: Floats, had_it: NDArray[np.bool_], when: Floats, reach: float) -> Effect:
    measure, method = "hazard_ratio_per_sd", "Cox, Efron; Wald"
    if (events := int(had_it.sum())) < FEWEST_EVENTS:
        return untold(measure, method, f"{events} events: {FEWEST_EVENTS} are needed")
    spread = float(values.std(ddof=1))
    scaled = (values - values.mean()) / (spread if spread > 0 else 1.0)
    return _cox(scaled, had_it, when, measure, method, reach)


def _high_against_low(high: NDArray[np.bool_], had_it: NDArray[np.bool_], when: Floats, reach: float) -> Effect:
    measure, method = "hazard_ratio_high_vs_low", "median; Cox, Efron; Wald; log-rank test"
    if (events := int(had_it.sum())) < FEWEST_EVENTS:
        return untold(measure, method, f"{events} events: {FEWEST_EVENTS} are needed")
    if min(high.sum(), (~high).sum()) < FEWEST_PER_GROUP:
        return untold(
            measure, method, f"{high.sum()} patients above the median: {FEWEST_PER_GROUP} are needed each side"
        )
    cox = _cox(high.astype(float), had_it, when, measure, method, reach)
    test = logrank_test(when[high], when[~high], had_it[high], had_it[~high])
    if cox.flag:
        return cox
    return Effect(measure, method, cox.value, cox.lower, cox.upper, float(test.test_statistic), float(test.p_value))


def _cox(values: Floats, had_it: NDArray[np.bool_], when: Floats, measure: str, method: str, reach: float) -> Effect:
    (coefficient,), (error,) = univariable_cox(values[:, None], had_it, when)
    if np.isnan(coefficient):
        return untold(measure, method, "those at risk of an event do not differ")
    if np.isinf(coefficient):
        return untold(measure, method, f"the hazard ratio is {'infinite' if coefficient > 0 else '0'}")
    statistic = float(coefficient / error)
    with np.errstate(over="ignore"):
        value, lower, upper = np.exp([coefficient, coefficient - reach * error, coefficient + reach * error])
    return Effect(
        measure, method, float(value), float(lower), float(upper), statistic, float(2 * norm.sf(abs(statistic)))
    )
