"""A Kaplan-Meier curve as it is drawn, on paper and on screen: its start, its time axis and the patients at risk."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator


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
