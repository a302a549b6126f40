"""Smooth curves through points as R draws them: lowess (straight local lines) and loess (local parabolas)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radnet.evaluation.discrimination import Floats

_BOX_MARGIN = 0.005  # of the range; the outermost vertices of loess lie this far beyond the data
_CELL = 0.2  # a cell of loess is halved while it holds more than this share of a neighbourhood
_LOWESS_STEP = 0.01  # of the range; lowess fits this far apart and runs straight between


@dataclass(frozen=True, slots=True)
class Loess:
    """Local regression of a fixed x: for each vertex, the weights on y that give the curve and its slope there.

    Between two vertices runs the cubic that has their values and slopes.

    Attributes:
        vertex: Where the local parabolas are fitted, rising, shape (V,).
        value: Weights of y in the fitted value, shape (V, n).
        slope: Weights of y in the fitted slope, shape (V, n).
    """

    vertex: Floats
    value: Floats
    slope: Floats

    def weights(self, at: ArrayLike) -> Floats:
        """Return the weights of y in the curve, shape (m, n), at points of shape (m,) within the range of x."""
        points = np.asarray(at, dtype=float)
        left = np.clip(np.searchsorted(self.vertex, points, side="left") - 1, 0, self.vertex.size - 2)
        width = self.vertex[left + 1] - self.vertex[left]
        h = ((points - self.vertex[left]) / width)[:, None]
        width = width[:, None]
        ends = (1 - h) ** 2 * (1 + 2 * h) * self.value[left] + h**2 * (3 - 2 * h) * self.value[left + 1]
        slopes = h * (1 - h) ** 2 * self.slope[left] + h**2 * (h - 1) * self.slope[left + 1]
        weights: Floats = ends + width * slopes
        return weights

    def curve(self, y: ArrayLike, at: ArrayLike) -> Floats:
        """Return the smooth value at points of shape (m,); memory grows with the vertices, not with m times n."""
        values = np.asarray(y, dtype=float)
        at_vertices = Loess(self.vertex, (self.value @ values)[:, None], (self.slope @ values)[:, None])
        return at_vertices.weights(at)[:, 0]


def loess(x: ArrayLike, span: float) -> Loess:
    """Prepare local regression with parabolas and tricube weights over the nearest ``span`` of the points.

    It is R's loess at its defaults: degree 2, no robust steps, and exact fits only at the vertices of a tree whose
    cells hold at most a fifth of a neighbourhood.

    Args:
        x: Where the points lie, shape (n,); at least two distinct values.
        span: Share of the points that counts as near, in (0, 1].

    Raises:
        ValueError: If all x are equal, or if a neighbourhood holds too few points for a parabola.

    References:
        Cleveland, Devlin. J Am Stat Assoc 1988;83:596-610. Cleveland, Grosse. Stat Comput 1991;1:47-62.
    """
    points = np.sort(np.asarray(x, dtype=float))
    near = min(points.size, int(points.size * span + 1e-5))
    if near < 4:
        raise ValueError(f"a local parabola needs 4 near points, but {span:g} of {points.size} patients are {near}")
    if points[0] == points[-1]:
        raise ValueError(f"a smooth curve needs values that differ, but all {points.size} are {points[0]:g}")
    vertex = _vertices(points, most=int(points.size * (span * _CELL)))
    value, slope = _local_parabolas(np.asarray(x, dtype=float), vertex, near)
    return Loess(vertex, value, slope)


def lowess(x: ArrayLike, y: ArrayLike, span: float) -> tuple[Floats, Floats]:
    """Smooth points by local straight lines, without robust steps, as R's lowess does with ``iter = 0``.

    Lines are fitted at points about a hundredth of the range apart; between those the curve runs straight.

    Args:
        x: Where the points lie, shape (n,).
        y: Their height, shape (n,).
        span: Share of the points that counts as near.

    Returns:
        The distinct x, rising, and the smooth value at each, both of shape (K,); the mean of y where all x are equal.

    References:
        Cleveland. J Am Stat Assoc 1979;74:829-836.
    """
    order = np.argsort(np.asarray(x, dtype=float), kind="stable")
    points, heights = np.asarray(x, dtype=float)[order], np.asarray(y, dtype=float)[order]
    if points[0] == points[-1]:
        return points[:1], heights.mean(keepdims=True)
    anchors = _anchors(points, _LOWESS_STEP * (points[-1] - points[0]))
    near = max(2, min(points.size, int(span * points.size + 1e-7)))
    smooth = np.array([_local_line(points, heights, at, near) for at in anchors])
    distinct = np.unique(points)
    return distinct, np.interp(distinct, points[anchors], smooth)


def _vertices(points: Floats, most: int) -> Floats:
    margin = _BOX_MARGIN * max(points[-1] - points[0], 1e-10 * np.abs(points).max() + 1e-30)
    low, high = points[0] - margin, points[-1] + margin
    cuts = {low, high}
    cells = [(0, points.size - 1, low, high)]
    while cells:
        first, last, left, right = cells.pop()
        if last - first + 1 <= most:
            continue
        middle = _end_of_lower_half(points, first, last)
        cut = points[middle]
        if cut in (left, right):
            continue
        cuts.add(cut)
        cells += [(first, middle, left, cut), (middle + 1, last, cut, right)]
    return np.array(sorted(cuts))


def _end_of_lower_half(points: Floats, first: int, last: int) -> int:
    """Return the place nearest to the middle after which the value changes; the middle where the search leaves."""
    middle = (first + last) // 2
    offset = 0
    while first <= middle + offset < last:
        if points[middle + offset] != points[middle + offset + 1]:
            return middle + offset
        offset = -offset if offset > 0 else 1 - offset
    return middle


def _local_parabolas(x: Floats, vertex: Floats, near: int) -> tuple[Floats, Floats]:
    away = x - vertex[:, None]
    reach = np.partition(np.abs(away), near - 1, axis=1)[:, near - 1 : near]
    if not reach.all():
        raise ValueError(f"too many patients share one value: the {near} nearest lie at a single point")
    root_weight = np.sqrt(np.clip(1 - (np.abs(away) / reach) ** 3, 0.0, None) ** 3)
    design = root_weight[:, :, None] * away[:, :, None] ** np.arange(3)
    length = np.linalg.norm(design, axis=1, keepdims=True)
    length[length == 0] = 1.0
    solution = np.linalg.pinv(design / length, rcond=100 * np.finfo(float).eps) / length.transpose(0, 2, 1)
    return solution[:, 0] * root_weight, solution[:, 1] * root_weight


def _anchors(points: Floats, step: float) -> NDArray[np.intp]:
    """Return the places at which lowess fits a line: each the farthest within a step, but at least the next value."""
    anchors = [0]
    while True:
        here = points[anchors[-1]]
        ties_end = int(np.searchsorted(points, here, side="right"))
        if ties_end >= points.size:
            return np.array(anchors)
        within = int(np.searchsorted(points, here + step, side="right"))
        anchors.append(max(ties_end, within - 1))


def _local_line(points: Floats, heights: Floats, at: int, near: int) -> float:
    here, span = points[at], points[-1] - points[0]
    first = 0
    if near < points.size:
        closer_on_left = here - points[: points.size - near] <= points[near:] - here
        first = int(np.argmax(closer_on_left)) if closer_on_left.any() else points.size - near
    reach = max(here - points[first], points[first + near - 1] - here)
    away = np.abs(points - here)
    counted = (np.arange(points.size) >= first) & (away <= 0.999 * reach)
    share = np.where(away > 0.001 * reach, away / reach if reach else away, 0.0)  # ties may leave no reach at all
    weight = np.where(counted, (1 - share**3) ** 3, 0.0)
    weight /= weight.sum()
    centre = weight @ points
    spread = weight @ (points - centre) ** 2
    if np.sqrt(spread) > 0.001 * span:
        weight *= 1 + (here - centre) * (points - centre) / spread
    return float(weight @ heights)
