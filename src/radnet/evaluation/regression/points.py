"""A nomogram as a table: the points of each value, and what total points predict."""

from collections.abc import Mapping
from math import isnan, nan

import pandas as pd

from radnet.evaluation.regression.nomogram import Nomogram

COLUMNS = ("axis", "variable", "value", "points", "linear_predictor", "time", "probability", "survival")
"""Columns of a table of points; ``probability`` is of the event, ``survival`` of none of it up to ``time``."""

_PROBABILITIES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def points_table(drawn: Mapping[float, Nomogram]) -> pd.DataFrame:
    """Return the axes of a nomogram as rows.

    Args:
        drawn: By horizon, nomograms of one Cox model; a logistic one stands under NaN.

    Returns:
        ``COLUMNS``. ``axis`` is ``variable`` (points of a value, and what it adds to the linear predictor),
        ``total_points`` (what round totals predict, once for each time), ``linear_predictor`` (the total of its round
        values), ``probability`` or, for a Cox model, ``survival`` (the total of round ones that lie on the axis).

    References:
        R's rms 6.5, ``nomogram`` and ``print.nomogram``.
    """
    one = next(iter(drawn.values()))
    rows: list[dict[str, object]] = []
    for axis in one.axes:
        for value, points, effect in zip(axis.ticks, axis.points, axis.effect, strict=True):
            told = value if isinstance(value, str) else f"{value:g}"
            rows.append(_row("variable", told, points, effect) | {"variable": axis.variable})
    for horizon, nomogram in drawn.items():
        for points in nomogram.total_ticks:
            chances = _chances(nomogram, points, horizon)
            rows.append(_row("total_points", f"{points:g}", points, _predictor(nomogram, points)) | chances)
    for predictor in one.predictor_ticks:
        rows.append(_row("linear_predictor", f"{predictor:g}", float(one.points_at(predictor)), predictor))
    for horizon, nomogram in drawn.items():
        ends = nomogram.probability(nomogram.points_at(nomogram.predictor_ticks[[0, -1]]))
        for chance in (p for p in _PROBABILITIES if ends.min() <= p <= ends.max()):
            points = float(nomogram.points_at_probability(chance))
            axis_name = "probability" if isnan(horizon) else "survival"
            row = _row(axis_name, f"{chance:g}", points, _predictor(nomogram, points))
            rows.append(row | _chances(nomogram, points, horizon))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(axis: str, value: str, points: float, predictor: float) -> dict[str, object]:
    numbers = {"points": float(points), "linear_predictor": float(predictor) + 0.0}  # + 0.0: no minus zero
    return {"axis": axis, "variable": "", "value": value, **numbers, "time": nan, "probability": nan, "survival": nan}


def _predictor(nomogram: Nomogram, points: float) -> float:
    return float(nomogram.linear_predictor(points))


def _chances(nomogram: Nomogram, points: float, horizon: float) -> dict[str, object]:
    chance = float(nomogram.probability(points))
    if isnan(horizon):
        return {"probability": chance}
    return {"time": horizon, "probability": 1 - chance, "survival": chance}
