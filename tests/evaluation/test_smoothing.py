import numpy as np
import pytest

from radnet.evaluation.calibration.smoothing import loess, lowess


def spread_out(seed, n=60):
    return np.random.default_rng(seed).random(n)


@pytest.mark.parametrize("seed", range(3))
def test_loess_keeps_a_parabola(seed):
    x = spread_out(seed)
    parabola = 1 - 2 * x + 3 * x**2

    smooth = loess(x, span=0.75)

    # a parabola is its own local fit, and a cubic between two vertices with its values and slopes is the parabola
    np.testing.assert_allclose(smooth.curve(parabola, x), parabola, rtol=1e-9)


@pytest.mark.parametrize("decimals", [1, 9], ids=["ties", "no ties"])
def test_weights_of_loess_give_its_curve_and_sum_to_one(decimals):
    x = spread_out(1).round(decimals)
    y = np.random.default_rng(2).normal(size=60)
    at = np.linspace(x.min(), x.max(), 17)

    weights = loess(x, span=0.75).weights(at)

    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-9)
    np.testing.assert_allclose(weights @ y, loess(x, span=0.75).curve(y, at), rtol=1e-9)


def test_loess_at_a_vertex_is_the_weighted_parabola_written_slowly():
    x, y = spread_out(3, n=40), np.random.default_rng(4).normal(size=40)
    smooth = loess(x, span=0.5)
    vertex = smooth.vertex[1]
    reach = np.sort(np.abs(x - vertex))[19]
    weight = np.where(np.abs(x - vertex) < reach, (1 - (np.abs(x - vertex) / reach) ** 3) ** 3, 0)

    parabola = np.polynomial.polynomial.polyfit(x - vertex, y, 2, w=np.sqrt(weight))

    assert smooth.curve(y, [vertex])[0] == pytest.approx(parabola[0])
    assert (smooth.slope @ y)[1] == pytest.approx(parabola[1])


def test_lowess_keeps_a_line():
    x = spread_out(5)

    at, smooth = lowess(x, 2 - 3 * x, span=2 / 3)

    np.testing.assert_array_equal(at, np.sort(x))
    np.testing.assert_allclose(smooth, 2 - 3 * at, rtol=1e-9)


def test_lowess_of_one_value_is_the_mean():
    at, smooth = lowess([0.3, 0.3, 0.3, 0.3], [0, 1, 1, 1], span=2 / 3)

    assert (at.tolist(), smooth.tolist()) == ([0.3], [0.75])


def test_lowess_where_a_neighbourhood_is_one_value_stays_finite():
    x = np.array([0.1] * 10 + [0.5, 0.9])

    at, smooth = lowess(x, [0, 1] * 5 + [1, 1], span=0.3)

    assert smooth[0] == pytest.approx(0.5)
    assert np.isfinite(smooth).all()
    assert at.size == 3


def test_loess_needs_values_that_differ():
    with pytest.raises(ValueError, match=r"a smooth curve needs values that differ, but all 20 are 0\.5"):
        loess(np.full(20, 0.5), span=0.75)


def test_loess_needs_four_near_points():
    with pytest.raises(ValueError, match=r"needs 4 near points, but 0\.75 of 5 patients are 3"):
        loess([0.1, 0.2, 0.3, 0.4, 0.5], span=0.75)


def test_loess_needs_more_than_one_value_nearby():
    with pytest.raises(ValueError, match="too many patients share one value: the 15 nearest lie at a single point"):
        loess([0.2] * 18 + [0.5, 0.9], span=0.75)
