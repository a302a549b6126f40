"""How a report writes a number, and the tables of text that its chapters hand to the page."""

from dataclasses import dataclass
from typing import Any

import numpy as np

MISSING = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text; its first ``headers`` columns name the row."""

    caption: str
    columns: list[str]
    rows: list[list[str]]
    headers: int = 1
    note: str = ""


def decimal(number: float, decimals: int = 3) -> str:
    """Write a number with a fixed count of decimals, a true minus sign, and a dash where it is missing."""
    if np.isnan(number):
        return MISSING
    if np.isinf(number):
        return "∞" if number > 0 else "−∞"
    text = f"{number:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def interval_text(lower: float, upper: float, decimals: int = 3) -> str:
    """Write the limits of an interval; empty if there is none."""
    if np.isnan(lower) and np.isnan(upper):
        return ""
    between = " to " if lower < 0 or not np.isfinite([lower, upper]).all() else "–"
    return f"{decimal(lower, decimals)}{between}{decimal(upper, decimals)}"


def with_interval(estimate: float, lower: float, upper: float, decimals: int = 3) -> str:
    """Write a number with its confidence interval.

    Example:
        >>> with_interval(0.8125, 0.75, 0.875), with_interval(0.01, -0.02, 0.04, decimals=2)
        ('0.812 (0.750–0.875)', '0.01 (−0.02 to 0.04)')
    """
    if np.isnan(estimate):
        return MISSING
    interval = interval_text(lower, upper, decimals)
    return decimal(estimate, decimals) + (f" ({interval})" if interval else "")


def percent(number: float, lower: float, upper: float) -> str:
    """Write a proportion and its interval as percentages.

    Example:
        >>> percent(0.813, 0.7, 0.9)
        '81.3% (70.0–90.0)'
    """
    if np.isnan(number):
        return MISSING
    interval = interval_text(100 * lower, 100 * upper, 1)
    return f"{decimal(100 * number, 1)}%" + (f" ({interval})" if interval else "")


def p_text(p_value: float) -> str:
    """Write a p-value to three decimals without a leading zero.

    Example:
        >>> p_text(0.0004), p_text(0.0491), p_text(0.99996)
        ('p < .001', 'p = .049', 'p > .999')
    """
    if np.isnan(p_value):
        return MISSING
    if p_value < 0.001:
        return "p < .001"
    if p_value > 0.999:
        return "p > .999"
    return "p = " + f"{p_value:.3f}".removeprefix("0")


def count(number: float) -> str:
    """Write a count without decimals, and a dash where it is missing."""
    return MISSING if np.isnan(number) else f"{number:.0f}"


def plain(value: Any) -> str:
    """Write a value of a JSON file; a list is parted by commas.

    Example:
        >>> plain(0.123456), plain(True), plain(["A", None])
        ('0.1235', 'yes', 'A, –')
    """
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(plain, value)) if isinstance(value, list) else str(value)
