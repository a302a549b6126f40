"""Correlations of two tables: R's cor.test, SciPy, closed forms and laws."""

import doctest
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from oracle import cases, close
from radnet.association import spearman_null
from radnet.association.correlation import correlate
from radnet.association.spearman_null import spearman_p_value
from radnet.association.table import associations

FILE = "11_ssgsea_clustering_correlation.json"
PAIRS = ("iris_pairs", "mtcars", "n8_no_ties", "n14_no_ties_edgeworth", "constant_column")


def tables(case):
    x, y = (pd.DataFrame(case["inputs"][name]["rows"]) for name in ("X", "Y"))
    return x.add_prefix("x"), y.add_prefix("y")


def as_r_orders(case, x, y, found):
    """R's pairs, counted from 1, in our rows."""
    at = {(one.x, one.y): one for one in found}
    pairs = zip(case["outputs"]["pairs"]["x_col"], case["outputs"]["pairs"]["y_col"], strict=True)
    return [at[x.columns[own - 1], y.columns[other - 1]] for own, other in pairs]


def two_tables(seed, n=30, p=3, q=2):
    rng = np.random.default_rng(seed)
    index = [f"P{one}" for one in range(n)]
    x = pd.DataFrame(rng.normal(size=(n, p)), index=index, columns=[f"x{one}" for one in range(p)])
    y = pd.DataFrame(rng.normal(size=(n, q)), index=index, columns=[f"y{one}" for one in range(q)])
    return x, y + 0.5 * x[["x0"]].to_numpy()


@cases(FILE, *PAIRS)
@pytest.mark.parametrize(("p_value", "key"), [("t", "spearman_p_t_approx"), ("exact", "spearman_p_default")])
def test_spearman_equals_r(case, p_value, key):
    x, y = tables(case)

    found = as_r_orders(case, x, y, correlate(x, y, "spearman", p_value=p_value))

    close([one.effect.value for one in found], case["outputs"]["spearman_rho"], rtol=1e-10)
    close([one.effect.p_value for one in found], case["outputs"][key], rtol=1e-8)


@cases(FILE, *PAIRS)
def test_pearson_equals_r(case):
    x, y = tables(case)

    found = as_r_orders(case, x, y, correlate(x, y, "pearson"))

    close([one.effect.value for one in found], case["outputs"]["pearson_r"], rtol=1e-9)
    close([one.effect.p_value for one in found], case["outputs"]["pearson_p"], rtol=1e-8)
    close([one.effect.lower for one in found], case["outputs"]["pearson_ci_lower"], rtol=1e-8)


@cases(FILE, "iris_pairs", "mtcars")
def test_q_values_of_all_pairs_are_those_of_r(case):
    x, y = tables(case)

    table = associations({"pairs": as_r_orders(case, x, y, correlate(x, y, "spearman"))})

    close(table["q_value"], case["outputs"]["spearman_p_t_approx_BH"], rtol=1e-8)


def test_a_constant_variable_is_a_row_without_numbers_that_says_why():
    x, y = two_tables(1)

    rows = correlate(x.assign(x1=2.0), y, "pearson")

    untold = [one for one in rows if one.x == "x1"]
    assert len(rows) == 6
    assert all(np.isnan(one.effect.value) and "constant" in one.effect.flag and one.n == 30 for one in untold)
    assert not any(one.effect.flag for one in rows if one.x != "x1")


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_missing_values_leave_out_patients_of_that_pair_only(method):
    x, y = two_tables(2)
    x.iloc[:4, 0], x.iloc[2:9, 1], y.iloc[5:7, 1] = np.nan, np.nan, np.nan
    theirs = stats.spearmanr if method == "spearman" else stats.pearsonr

    rows = correlate(x, y, method)

    for one in rows:
        both = pd.concat([x[one.x], y[one.y]], axis=1).dropna()
        expected = theirs(both[one.x], both[one.y])
        assert (one.n, one.missing) == (len(both), 30 - len(both))
        close([one.effect.value, one.effect.p_value], [expected.statistic, expected.pvalue], rtol=1e-9)


def test_the_interval_of_spearman_is_that_of_bonett_and_wright():
    x, y = two_tables(3)

    [one] = correlate(x[["x0"]], y[["y0"]], "spearman", level=0.9)

    rho = stats.spearmanr(x["x0"], y["y0"]).statistic
    reach = stats.norm.ppf(0.95) * np.sqrt((1 + rho**2 / 2) / 27)
    close([one.effect.lower, one.effect.upper], np.tanh(np.arctanh(rho) + np.array([-reach, reach])), rtol=1e-10)


def test_the_interval_of_pearson_is_that_of_scipy():
    x, y = two_tables(4)

    [one] = correlate(x[["x0"]], y[["y0"]], "pearson")

    theirs = stats.pearsonr(x["x0"], y["y0"]).confidence_interval(0.95)
    close([one.effect.lower, one.effect.upper], theirs, rtol=1e-10)


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_a_correlation_given_one_covariate_is_the_closed_form_of_three_correlations(method):
    x, y = two_tables(5)
    z = pd.DataFrame({"z": x["x0"] + y["y0"] + np.random.default_rng(0).normal(size=30)})

    [one] = correlate(x[["x0"]], y[["y0"]], method, covariates=z)

    r = pd.concat([x["x0"], y["y0"], z["z"]], axis=1).corr(method=method).to_numpy()
    partial = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    t = partial * np.sqrt(27 / (1 - partial**2))  # n - 2 - 1
    close([one.effect.value, one.effect.p_value], [partial, 2 * stats.t.sf(abs(t), 27)], rtol=1e-9)
    assert one.effect.measure == f"partial_{method}"
    assert one.effect.method.endswith("given z")


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_a_correlation_given_several_covariates_comes_from_the_inverse_of_all_correlations(method):
    x, y = two_tables(6, p=4)
    z = x[["x1", "x2", "x3"]] + 0.4 * y[["y0"]].to_numpy()

    [one] = correlate(x[["x0"]], y[["y1"]], method, covariates=z)

    inverse = np.linalg.inv(pd.concat([x["x0"], y["y1"], z], axis=1).corr(method=method).to_numpy())
    close(one.effect.value, -inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1]), rtol=1e-9)


def test_covariates_that_repeat_one_another_take_their_freedom_once():
    x, y = two_tables(7, p=2)

    [once] = correlate(x[["x0"]], y[["y0"]], "pearson", covariates=x[["x1"]])
    [again] = correlate(x[["x0"]], y[["y0"]], "pearson", covariates=x[["x1"]].assign(copy=3 * x["x1"] + 1))

    close([again.effect.value, again.effect.p_value], [once.effect.value, once.effect.p_value], rtol=1e-9)


def test_a_variable_that_follows_from_the_covariates_is_untold():
    x, y = two_tables(8)

    [one] = correlate(x[["x0"]], y[["y0"]], "pearson", covariates=x[["x0"]].rename(columns={"x0": "z"}))

    assert np.isnan(one.effect.value)
    assert "follows from the covariates" in one.effect.flag


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_patients_order_and_scale_change_nothing_and_a_reversed_variable_the_sign(method):
    x, y = two_tables(9)

    rows = correlate(x, y, method)

    again = correlate(x * 3 - 7, y.iloc[::-1], method)
    against = correlate(-x, y, method)
    close([one.effect.value for one in again], [one.effect.value for one in rows], rtol=1e-9)
    close([one.effect.value for one in against], [-one.effect.value for one in rows], rtol=1e-9)
    close([one.effect.upper for one in against], [-one.effect.lower for one in rows], rtol=1e-9)


def test_a_perfect_correlation_has_no_width_and_no_chance():
    x, _ = two_tables(10)

    [one] = correlate(x[["x0"]], np.exp(x[["x0"]]), "spearman")

    assert (one.effect.value, one.effect.lower, one.effect.upper, one.effect.p_value) == (1.0, 1.0, 1.0, 0.0)


def test_two_patients_are_too_few_and_three_have_no_interval():
    x, y = two_tables(11, n=3)

    [three] = correlate(x[["x0"]], y[["y0"]], "pearson")
    [two] = correlate(x[["x0"]].iloc[:2], y[["y0"]].iloc[:2], "pearson")

    assert np.isnan(three.effect.lower)
    assert "too few for an interval" in three.effect.flag
    assert "2 patients have both: too few" in two.effect.flag


def test_patients_of_one_table_only_are_named():
    x, y = two_tables(12)

    with pytest.raises(ValueError) as fault:
        correlate(x.drop(index="P3"), y.drop(index=["P7"]), "spearman")

    assert "P7 only in x, not in y" in str(fault.value)
    assert "P3 only in y, not in x" in str(fault.value)


def test_words_and_infinite_numbers_are_refused_with_their_columns():
    x, y = two_tables(13)

    with pytest.raises(ValueError) as fault:
        correlate(x.assign(x1="high", x2=np.where(x.index == "P4", np.inf, 0.0)), y, "spearman")

    assert "column x1 holds no numbers" in str(fault.value)
    assert "column x2 is infinite for P4" in str(fault.value)


def test_an_exact_p_value_is_of_spearman_without_covariates():
    x, y = two_tables(14)

    with pytest.raises(ValueError, match="take p_value='t'"):
        correlate(x, y, "pearson", p_value="exact")
    with pytest.raises(ValueError, match="a correlation is spearman or pearson, got 'kendall'"):
        correlate(x, y, "kendall")


@pytest.mark.parametrize("n", [4, 5, 6])
def test_the_exact_p_value_counts_the_orders_at_least_as_far_from_none(n):
    places = np.arange(n)
    rhos = np.array([np.corrcoef(places, order)[0, 1] for order in permutations(range(n))])

    for rho in np.unique(rhos.round(12)):
        assert spearman_p_value(rho, n) == pytest.approx(min(1.0, np.mean(np.abs(rhos) >= abs(rho) - 1e-9)), abs=1e-12)


@pytest.mark.parametrize("rho", [0.1, 0.4, 0.7])
def test_the_series_is_near_the_share_of_random_orders(rho):
    n, rng = 20, np.random.default_rng(0)
    orders = rng.permuted(np.tile(np.arange(n), (200_000, 1)), axis=1)
    by_chance = 1 - 6 * ((orders - np.arange(n)) ** 2).sum(axis=1) / (n * (n * n - 1))
    squares = round(n * (n * n - 1) * (1 - rho) / 6 / 2) * 2  # a sum that can be
    nearest = 1 - 6 * squares / (n * (n * n - 1))

    share = np.mean(np.abs(by_chance) >= abs(nearest) - 1e-12)

    assert spearman_p_value(nearest, n) == pytest.approx(share, abs=4 * np.sqrt(share / 200_000) + 3e-4)


def test_no_p_value_is_below_that_of_one_order():
    assert spearman_p_value(1.0, 9) == pytest.approx(2 / 362880)
    assert spearman_p_value(-1.0, 12) >= 2 / 479001600
    assert doctest.testmod(spearman_null).failed == 0
