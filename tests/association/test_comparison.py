"""Groups compared: R's tests, definitions of the effects, and laws."""

import doctest
from math import sqrt

import numpy as np
import pandas as pd
import pytest
from numpy.polynomial import Polynomial
from scipy import stats

from oracle import cases, close
from radnet.association import category_comparison, comparison, rank_comparison
from radnet.association.category_comparison import chi_square, fisher
from radnet.association.comparison import TESTS, compare
from radnet.association.mean_comparison import student, welch
from radnet.association.rank_comparison import kruskal, mann_whitney

FILE = "10_table_one.json"
TWO_GROUPS = ("pima_te_glu", "asah_age", "asah_wfns_ties", "cohort69_no_ties", "tiny_3v3", "tiny_ties", "missing")
K_GROUPS = ("iris_sepal", "veteran_karno_celltype", "asah_s100b_wfns")
TWO_BY_TWO = ("t2x2", "t2x2_zero", "t2x2_small")


def groups_of(case):
    table = pd.DataFrame({"x": case["inputs"]["x"], "group": case["inputs"]["group"]}).dropna()
    return [own.to_numpy() for _, own in table.groupby("group")["x"]]


def groups_of_counts(counts):
    """Patients of each row of a table of counts; columns are levels that sort backwards, so that the first is last."""
    return [np.repeat([f"level {9 - column}" for column in range(len(row))], row) for row in counts]


def two_groups(seed, n=14, m=19, shift=0.6):
    rng = np.random.default_rng(seed)
    return [rng.normal(shift, 1, n), rng.normal(0, 1.3, m)]


@cases(FILE, *TWO_GROUPS)
def test_mann_whitney_equals_r(case):
    one, other = groups_of(case)

    found = mann_whitney([one, other])

    theirs = case["outputs"]["wilcoxon_default"]
    close([found.statistic, found.p_value], [theirs["statistic"], theirs["p_value"]], rtol=1e-8)
    close(found.value, theirs["statistic"] / (one.size * other.size))


@cases(FILE, *TWO_GROUPS)
def test_welch_and_its_interval_equal_r(case):
    found = welch(groups_of(case))

    theirs = case["outputs"]["welch"]
    close([found.statistic, found.p_value], [theirs["statistic"], theirs["p_value"]], rtol=1e-8)
    close([found.lower, found.upper], theirs["conf_int"], rtol=1e-8)
    close(found.value, np.subtract(*case["outputs"]["mean"]), rtol=1e-8)


@cases(FILE, *TWO_GROUPS[:-1])
def test_student_equals_r_and_g_is_rs_standardised_difference_freed_of_its_bias(case):
    found = student(groups_of(case))

    theirs = case["outputs"]["student_equal_var"]
    freedom = theirs["df"]
    close([found.statistic, found.p_value], [theirs["statistic"], theirs["p_value"]], rtol=1e-8)
    factor = 1 - 3 / (4 * freedom - 1)  # Hedges' approximation, good to 0.3 % at 4 degrees of freedom, 1e-5 at 60
    close(found.value, factor * case["outputs"]["smd_cohen_pooled"], rtol=3e-3 if freedom < 60 else 2e-5)


@cases(FILE, *K_GROUPS)
def test_kruskal_equals_r(case):
    groups = groups_of(case)

    found = kruskal(groups, resamples=200, seed=1)

    theirs = case["outputs"]["kruskal"]
    close([found.statistic, found.p_value], [theirs["H"], theirs["p_value"]], rtol=1e-8)
    close(found.value, theirs["H"] / (sum(map(len, groups)) - 1))


@cases(FILE, *TWO_BY_TWO)
def test_fisher_equals_r(case):
    found = fisher(groups_of_counts(case["inputs"]["counts"]))

    theirs = case["outputs"]["fisher"]
    tight = theirs["tight_own_uniroot"]
    close(found.p_value, theirs["p_value"], rtol=1e-8)
    close(found.value, tight["odds_ratio"], rtol=1e-5)
    close([found.lower], [tight["lower95"]], rtol=1e-5)
    close([found.upper], [theirs["ci"][1]], rtol=1e-2)  # R's own search stops early far out; the tight one does not


@cases(FILE, *TWO_BY_TWO, "t3x2", "t4x3_sparse", "t2x5")
def test_chi_square_equals_r(case):
    counts = np.array(case["inputs"]["counts"])

    found = chi_square(groups_of_counts(counts))

    theirs = case["outputs"]["chisq_no_correction"]
    close([found.statistic, found.p_value], [theirs["chisq"], theirs["p_value"]], rtol=1e-8)
    close(found.value, sqrt(theirs["chisq"] / counts.sum() / (min(counts.shape) - 1)))


@pytest.mark.parametrize(("n", "m", "seed"), [(14, 19, 1), (6, 40, 2), (120, 90, 3)])
def test_bounds_of_the_chance_are_roots_of_newcombes_quartic(n, m, seed):
    found = mann_whitney(two_groups(seed, n, m))

    at, others, z = Polynomial([0, 1]), (n + m) / 2 - 1, stats.norm.ppf(0.975)
    spread = at * (1 - at) * ((2 - at) * (1 + at) + others * ((1 - at) * (1 + at) + at * (2 - at)))
    roots = (n * m * (found.value - at) ** 2 * (2 - at) * (1 + at) - z**2 * spread).roots()
    between = sorted(root.real for root in roots if abs(root.imag) < 1e-9 and 0 < root.real < 1)
    close([found.lower, found.upper], between, rtol=1e-8)


def test_bounds_of_the_chance_near_those_of_delong_among_many_patients():
    one, other = two_groups(4, 900, 1100)
    above = (one[:, None] > other).astype(float)
    error = sqrt(above.mean(axis=1).var(ddof=1) / 900 + above.mean(axis=0).var(ddof=1) / 1100)

    found = mann_whitney([one, other])

    close([found.lower, found.upper], above.mean() + 1.96 * error * np.array([-1, 1]), rtol=0.003)


def test_groups_that_do_not_overlap_have_a_chance_of_one_and_an_interval_with_a_width():
    found = mann_whitney([np.arange(10.0, 16), np.arange(6.0)])

    assert (found.value, found.upper) == (1.0, 1.0)
    assert 0.5 < found.lower < 0.95


def test_swapped_groups_turn_chance_difference_and_g_round():
    one, other = two_groups(5)

    for test, middle in ((mann_whitney, 1.0), (welch, 0.0), (student, 0.0)):
        found, swapped = test([one, other]), test([other, one])
        close(
            [swapped.value, swapped.lower, swapped.upper],
            [middle - found.value, middle - found.upper, middle - found.lower],
        )
        close(swapped.p_value, found.p_value)


def test_equal_values_have_a_chance_of_one_half_and_no_p_value():
    found = mann_whitney([[2.0] * 6, [2.0] * 7])

    assert found.value == 0.5
    assert "all values are equal" in found.flag
    assert np.isnan(welch([[2.0] * 6, [2.0] * 7]).value)
    assert np.isnan(student([[2.0] * 6, [1.0] * 7]).value)
    assert np.isnan(kruskal([[2.0] * 6, [2.0] * 7], seed=0).value)


@pytest.mark.parametrize("shift", [0.0, 0.6, 3.0])
def test_bounds_of_g_are_noncentralities_at_which_the_t_seen_is_at_the_edge(shift):
    one, other = two_groups(6, shift=shift)

    found = student([one, other])

    scale = found.value / found.statistic  # of a noncentrality, in g
    chance = [stats.nct.cdf(found.statistic, 31, bound / scale) for bound in (found.lower, found.upper)]
    close(chance, [0.975, 0.025], rtol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_the_interval_of_g_holds_zero_where_students_p_value_is_above_its_level(seed):
    found = student(two_groups(seed, shift=0.7))

    assert (found.lower <= 0 <= found.upper) == (found.p_value >= 0.05)


def test_the_interval_of_epsilon_squared_covers_and_narrows():
    groups = [np.random.default_rng(one).normal(one / 2, 1, 25) for one in range(3)]

    small = kruskal(groups, seed=1)
    large = kruskal([np.tile(group, 20) + np.random.default_rng(0).normal(0, 1e-6, 500) for group in groups], seed=1)

    assert small.lower <= small.value <= small.upper
    assert large.upper - large.lower < 0.4 * (small.upper - small.lower)
    assert small == kruskal(groups, seed=1)


def test_bootstrapped_epsilon_squared_is_that_of_the_test_on_each_draw():
    groups = [np.round(np.random.default_rng(one).normal(one, 1, 9), 1) for one in range(3)]

    ours = rank_comparison._epsilon_squared([group[None, :] for group in groups])

    close(ours, [stats.kruskal(*groups).statistic / 26])


def test_bounds_of_v_are_noncentralities_at_which_the_chi_square_seen_is_at_the_edge():
    counts = np.array([[30, 12, 8], [14, 22, 16]])

    found = chi_square(groups_of_counts(counts))

    scale = counts.sum()
    chance = [stats.ncx2.cdf(found.statistic, 2, bound**2 * scale) for bound in (found.lower, found.upper)]
    close(chance, [0.975, 0.025], rtol=1e-6)


def test_v_of_groups_that_tell_the_category_is_one_and_of_groups_alike_zero():
    told, alike = chi_square(groups_of_counts([[20, 0], [0, 20]])), chi_square(groups_of_counts([[10, 10], [10, 10]]))

    assert (told.value, told.upper) == (1.0, 1.0)
    assert (alike.value, alike.lower) == (0.0, 0.0)


def test_the_odds_are_those_of_the_level_that_sorts_last_in_the_first_group():
    found = fisher([["negative"] * 3 + ["positive"] * 9, ["negative"] * 8 + ["positive"] * 4])

    assert found.value > 1
    assert found.method == "Fisher, odds of positive; exact"
    assert fisher([[False] * 3 + [True] * 9, [False] * 8 + [True] * 4]).value == found.value


def test_a_category_of_one_level_is_untold_and_of_three_has_no_odds_ratio():
    assert "every patient is a" in fisher([["a"] * 5, ["a"] * 6]).flag
    assert "every patient is a" in chi_square([["a"] * 5, ["a"] * 6]).flag
    with pytest.raises(ValueError, match=r"two levels, got 3 \(a, b, c\): take chi_square"):
        fisher([["a", "b"], ["b", "c"]])


def table_of(seed=0, n=30):
    rng = np.random.default_rng(seed)
    index = [f"P{one}" for one in range(n)]
    values = pd.DataFrame({"CD8": rng.normal(size=n), "B": rng.normal(size=n)}, index=index)
    group = pd.Series(np.resize(["low", "high", "intermediate"], n), index=index, name="score")
    return values, group


def test_a_row_per_variable_counts_the_groups_and_who_is_missing():
    values, group = table_of()
    values.loc["P0", "CD8"] = np.nan  # of the low group

    rows = compare(values, group.iloc[::-1], ["high", "low"], "mann_whitney")

    assert [(one.x, one.y, one.n, one.missing, one.counts) for one in rows] == [
        ("score: high vs low", "CD8", 19, 1, "high 10, low 9"),
        ("score: high vs low", "B", 20, 0, "high 10, low 10"),
    ]
    expected = stats.mannwhitneyu(values["B"][group == "high"], values["B"][group == "low"], method="exact")
    close(rows[1].effect.p_value, expected.pvalue)


def test_three_groups_are_compared_in_one_row():
    values, group = table_of()

    [row, _] = compare(values, group, ["low", "intermediate", "high"], "kruskal", seed=1)

    assert row.x == "score: low, intermediate, high"
    close(
        row.effect.p_value,
        stats.kruskal(*(values["CD8"][group == one] for one in ("low", "intermediate", "high"))).pvalue,
    )


def test_a_group_of_four_is_refused_and_a_variable_that_four_have_is_a_row_with_its_reason():
    values, group = table_of()

    with pytest.raises(
        ValueError, match="grouping score: a group is compared from 5 patients on, but high has 4: join"
    ):
        compare(values.iloc[:13], group.iloc[:13], ["high", "low"], "welch")
    values.loc[group.index[group == "low"][:6], "B"] = np.nan
    [told, untold] = compare(values, group, ["high", "low"], "welch")
    assert told.effect.flag == ""
    assert untold.effect.flag == "a group has 4 patients with a value, 5 are needed"
    assert (untold.n, untold.missing, untold.effect.measure) == (14, 6, told.effect.measure)


@pytest.mark.parametrize(
    ("groups", "test", "message"),
    [
        (["high", "low"], "anova", "compared by one of mann_whitney, welch, .* got 'anova'"),
        (["high", "high"], "welch", "two different groups or more"),
        (["high", "low", "intermediate"], "welch", "welch compares two groups, got 3: take kruskal"),
        (["high", "low"], "kruskal", "needs a seed"),
        (["high", "none"], "welch", "none has 0"),
    ],
)
def test_comparisons_that_cannot_be_made_are_refused(groups, test, message):
    with pytest.raises(ValueError, match=message):
        compare(*table_of(), groups, test)


@pytest.mark.parametrize("test", ["mann_whitney", "welch", "student", "kruskal"])
def test_categories_are_refused_where_numbers_are_compared(test):
    values, group = table_of()

    with pytest.raises(ValueError, match="column ER holds no numbers"):
        compare(values.assign(ER="positive"), group, ["high", "low"], test, seed=0)


@pytest.mark.parametrize("test", list(TESTS))
def test_every_test_says_which_measure_it_has_also_where_it_cannot_tell(test):
    values, group = table_of()
    categories = pd.DataFrame({"ER": np.resize(["yes", "no", "no", "yes"], 30)}, index=values.index, dtype=object)
    given = categories if test in ("fisher", "chi_square") else values[["CD8"]]
    lacking = given.where(group != "low")

    [told] = compare(given, group, ["high", "low"], test, seed=0)
    [untold] = compare(lacking, group, ["high", "low"], test, seed=0)

    assert told.effect.lower <= told.effect.value <= told.effect.upper
    assert untold.effect.measure == told.effect.measure
    assert untold.effect.flag


@pytest.mark.parametrize("module", [comparison, category_comparison, rank_comparison])
def test_the_examples_run(module):
    assert doctest.testmod(module).failed == 0
