"""A Kaplan-Meier curve as it is drawn, on paper and on screen: its start, its time axis and the patients at risk."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from radnet.report.text import decimal, p_text, with_interval


def from_the_start(curve: pd.DataFrame) -> pd.DataFrame:
    """Order a Kaplan-Meier curve by time and let it begin at time 0 with everybody at risk."""
    curve = curve.sort_values("time", kind="stable")
    if curve["time"].iloc[0] <= 0:
        return curve
    start = curve.iloc[:1].assign(time=0.0, survival=1.0, lower=1.0, upper=1.0, events=0.0, censored=0.0)
    return pd.concat([start, curve], ignore_index=True)


def at_risk(curve: pd.DataFrame, times: Iterable[float]) -> list[int]:
    """Count the patients still followed just before each time.

    Example:
        >>> at_risk(pd.DataFrame({"time": [2.0, 5.0], "at_risk": [9, 4]}), [0, 2, 3, 6])
        [9, 9, 4, 0]
    """
    curve = curve.sort_values("time", kind="stable")
    later = np.searchsorted(curve["time"].to_numpy(), list(times), side="left")
    counts = np.append(curve["at_risk"].to_numpy(), 0)
    return [int(counts[place]) for place in later]


def time_ticks(km: pd.DataFrame) -> list[float]:
    """Choose about five round times from 0 to the longest follow-up."""
    longest = float(km["time"].max())
    ticks = MaxNLocator(nbins=5, steps=[1, 2, 3, 4, 5, 6, 10]).tick_values(0, longest)
    return [float(tick) for tick in ticks if 0 <= tick <= longest]


def group_medians(numbers: Mapping[Any, Any], place: tuple[str, str, str], groups: Iterable[str]) -> dict[str, str]:
    """Write the median of each group with its interval, where ``overall_numbers`` has it."""
    rows = {group: numbers.get((*place, "km_median", group)) for group in groups}
    return {group: median_text(row.estimate, row.lower, row.upper) for group, row in rows.items() if row is not None}


def groups_compared(numbers: Mapping[Any, Any], place: tuple[str, str, str]) -> list[str]:
    """Write the log-rank test and the hazard ratio of the risk groups, those that ``overall_numbers`` has."""
    logrank, ratio = numbers.get((*place, "logrank", "")), numbers.get((*place, "hazard_ratio", "high_vs_low"))
    told = [f"log-rank {p_text(logrank.p_value)}"] if logrank is not None and not np.isnan(logrank.p_value) else []
    if ratio is not None and not np.isnan(ratio.estimate):
        told.append(f"hazard ratio {with_interval(ratio.estimate, ratio.lower, ratio.upper, 2)}")
    return told


def median_text(median: float, lower: float, upper: float) -> str:
    """Write a median time; a curve that ends above one half has none, and a bound it does not reach is open.

    Example:
        >>> median_text(426, 348, 550), median_text(9.25, 7.5, np.nan), median_text(np.nan, 12.0, np.nan)
        ('426 (348–550)', '9.2 (7.5 to not reached)', 'not reached')
    """
    if not np.isfinite(median):
        return "not reached"
    decimals = 0 if median >= 100 else 1
    if np.isfinite(lower) and not np.isfinite(upper):
        return f"{decimal(median, decimals)} ({decimal(lower, decimals)} to not reached)"
    return with_interval(median, lower, upper, decimals)


def time_unit(km: pd.DataFrame) -> str:
    """Return the one unit that a column ``time_unit`` names; empty where there is none, or more than one."""
    units = set(km.get("time_unit", pd.Series(dtype=str))) - {""}
    return units.pop() if len(units) == 1 else ""


def time_label(km: pd.DataFrame) -> str:
    """Name the time axis, with its unit where the table carries one.

    Example:
        >>> time_label(pd.DataFrame({"time": [2.0], "time_unit": ["months"]}))
        'Time (months)'
    """
    unit = time_unit(km)
    return f"Time ({unit})" if unit else "Time"
