"""The rulers of a nomogram, on paper and on screen, from its table of points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radnet.report.figures.hand import short
from radnet.report.reading import typed


@dataclass(frozen=True, slots=True)
class Ruler:
    """A line of a nomogram.

    Attributes:
        name: What stands before it.
        points: Where its ticks stand, in points of the scale it is read on.
        labels: What the ticks say.
        total: Whether it is read on the scale of total points; else on that of a variable's points.
        category: Whether the ticks are levels, each of which must be named.
    """

    name: str
    points: tuple[float, ...]
    labels: tuple[str, ...]
    total: bool
    category: bool = False


def rulers(nomogram: pd.DataFrame) -> list[Ruler]:
    """Arrange a table of ``radnet regression --nomogram`` as rulers, top to bottom, as R's rms draws them.

    Args:
        nomogram: Columns axis, variable, value, points, time.
    """
    table = typed(nomogram)
    scale = tuple(float(point) for point in range(0, 101, 10))
    drawn = [Ruler("Points", scale, tuple(f"{point:g}" for point in scale), total=False)]
    for variable, rows in table[table["axis"] == "variable"].groupby("variable", sort=False):
        category = not pd.to_numeric(rows["value"], errors="coerce").notna().all()
        drawn.append(_ruler(str(variable), rows, total=False, category=category))
    totals = table[table["axis"] == "total_points"].drop_duplicates("points")
    drawn.append(_ruler("Total points", totals, total=True))
    low, high = totals["points"].min(), totals["points"].max()
    for axis, name in (
        ("linear_predictor", "Linear predictor"),
        ("probability", "Probability"),
        ("survival", "Survival"),
    ):
        of_axis = table[(table["axis"] == axis) & table["points"].between(low, high)]
        for time, rows in of_axis.groupby("time", sort=False, dropna=False):
            drawn.append(_ruler(name if np.isnan(time) else f"{name} to {time:g}", rows, total=True))
    return drawn


def full_scale(ruler: Ruler, drawn: Sequence[Ruler]) -> float:
    """Return the points at the right end of the scale that a ruler is read on."""
    return max(max(one.points) for one in drawn if one.total == ruler.total and one.points)


def label_sides(ruler: Ruler, full: float, letter: float) -> list[int]:
    """Tell on which side of a ruler each tick's label stands: 1 above, -1 below, 0 where it has no room.

    The levels of a category stand above and below in turns, so that each is named. Of evenly spaced numbers every
    second, third … is named if not all have room, of others each that has room beside the one before.

    Args:
        ruler: A ruler.
        full: Points at the right end of its scale.
        letter: Width of a letter as a share of the scale's length.
    """
    sides = [0] * len(ruler.points)
    order = np.argsort(ruler.points, kind="stable")
    if ruler.category:
        for turn, one in enumerate(order):
            sides[one] = 1 if turn % 2 == 0 else -1
        return sides
    places = np.asarray(ruler.points)[order] / full
    half = [max(len(ruler.labels[one]), 2) * letter / 2 for one in order]
    steps = np.diff(places)
    even = len(steps) > 0 and steps[0] > 0 and np.allclose(steps, steps[0])
    stride = int(np.ceil((2 * max(half) + letter) / steps[0])) if even else 1
    taken = -np.inf
    for one in range(0, len(order), stride):
        if places[one] - half[one] >= taken + 0.9 * letter:
            sides[order[one]], taken = 1, places[one] + half[one]
    return sides


def _ruler(name: str, rows: pd.DataFrame, total: bool, category: bool = False) -> Ruler:
    return Ruler(name, tuple(rows["points"]), tuple(short(value, 14) for value in rows["value"]), total, category)
