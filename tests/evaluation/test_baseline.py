from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from oracle import cases, close
from radnet.evaluation.baseline.balance import balance, smd_of_means, smd_of_shares
from radnet.evaluation.baseline.contingency import chi_square, expected_counts, fisher, fisher_one_sided, mcnemar
from radnet.evaluation.baseline.group_tests import (
    anova,
    kolmogorov_smirnov,
    kruskal_wallis,
    pairwise_wilcoxon,
    shapiro_wilk,
    t_test,
    t_test_of_summary,
    variance_test,
    wilcoxon,
)
from radnet.evaluation.baseline.multiplicity import adjusted_p_values
from radnet.evaluation.baseline.table_one import table_one

FILE = "10_table_one.json"
TWO_GROUPS = [
    "pima_te_glu",
    "asah_age",
    "asah_wfns_ties",
    "cohort69_no_ties",
    "tiny_3v3",
    "tiny_ties",
    "constant",
    "missing",
]
VARYING = [name for name in TWO_GROUPS if name != "constant"]
K_GROUPS = ["iris_sepal", "veteran_karno_celltype", "asah_s100b_wfns"]
TWO_BY_TWO = ["t2x2", "t2x2_zero", "t2x2_small", "zero_row"]
TABLES = [*TWO_BY_TWO, "t3x2", "t4x3_sparse", "t2x5", "veteran_celltype_prior"]
ADJUSTED = ["padj", "padj_ties_na"]


of_r = partial(cases, FILE)


def two_groups(case):
    """R drops patients without a value; our functions want them dropped before."""
    x, group = np.array(case["inputs"]["x"], dtype=float), np.array(case["inputs"]["group"])
    first, second = (x[(group == level) & ~np.isnan(x)] for level in np.unique(group))
    return first, second


def k_groups(case):
    frame = pd.DataFrame({"x": case["inputs"]["x"], "group": case["inputs"]["group"]})
    return {name: frame["x"][frame["group"] == name].to_numpy(dtype=float) for name in frame["group"].unique()}


@of_r(*VARYING)
@pytest.mark.parametrize(
    ("name", "equal_variance"), [("welch", False), ("student_equal_var", True)], ids=["Welch", "Student"]
)
def test_t_tests_equal_r(case, name, equal_variance):
    theirs = case["outputs"][name]

    ours = t_test(*two_groups(case), equal_variance=equal_variance)

    close([ours.statistic, ours.df, ours.p_value], [theirs["statistic"], theirs["df"], theirs["p_value"]])
    close([ours.difference.lower, ours.difference.upper], theirs["conf_int"])


@of_r("constant")
def test_what_r_refuses_of_a_constant_is_refused(case):
    first, second = two_groups(case)
    assert case["outputs"]["welch"]["error"] == case["outputs"]["student_equal_var"]["error"]
    for equal_variance in (True, False):
        with pytest.raises(ValueError, match="a t test needs values that differ"):
            t_test(first, second, equal_variance=equal_variance)
    assert "identical" in case["outputs"]["shapiro_all"]["error"]
    with pytest.raises(ValueError, match="needs values that differ, but all are equal"):
        shapiro_wilk(first)
    with pytest.raises(ValueError, match="an analysis of variance needs values that differ within groups"):
        anova([first, second], equal_variance=True)


@of_r(*TWO_GROUPS)
def test_wilcoxon_equals_r_with_its_rule_for_the_exact_test(case):
    first, second = two_groups(case)
    for name, options in {
        "wilcoxon_default": {},
        "wilcoxon_exact_request": {"exact": True},
        "wilcoxon_normal_corrected": {"exact": False},
        "wilcoxon_normal_uncorrected": {"exact": False, "correct": False},
    }.items():
        theirs = case["outputs"][name]

        ours = wilcoxon(first, second, **options)

        close([ours.statistic, ours.p_value], [theirs.get("statistic", theirs.get("W")), theirs["p_value"]])


@of_r(*VARYING)
def test_hodges_lehmann_shift_lies_where_rs_root_search_ends(case):
    first, second = two_groups(case)
    theirs = case["outputs"]["hodges_lehmann"]
    differences = np.sort(np.subtract.outer(first, second), axis=None)

    shift = wilcoxon(first, second).difference

    # R's search stops within 1e-4 of a jump; between the two middle differences it may stop anywhere.
    close(shift.value, np.median(differences))
    middle = differences[[(differences.size - 1) // 2, differences.size // 2]]
    assert middle[0] - 1e-4 <= theirs["estimate"] <= middle[1] + 1e-4
    np.testing.assert_allclose([shift.lower, shift.upper], theirs["ci"], atol=1e-4)


@of_r(*TWO_GROUPS)
def test_distribution_tests_equal_r(case):
    first, second = two_groups(case)
    theirs = case["outputs"]
    for name, values in {"shapiro_g1": first, "shapiro_g2": second, "shapiro_all": [*first, *second]}.items():
        if "error" not in theirs[name]:
            ours = shapiro_wilk(values)
            close([ours.statistic, ours.p_value], [theirs[name]["W"], theirs[name]["p_value"]])

    distance, ratio = kolmogorov_smirnov(first, second), variance_test(first, second)

    close(distance.statistic, theirs["ks"]["D"])
    # R sums Kolmogorov's series to an absolute 1e-6 of its terms, which a p-value of 1e-13 shows at 2e-4.
    close(distance.p_value, theirs["ks"]["p_value"], rtol=1e-6 if distance.p_value > 1e-6 else 2e-4)
    close([ratio.statistic, ratio.p_value], [theirs["f_var_test"]["F"], theirs["f_var_test"]["p_value"]])


@of_r(*TWO_GROUPS)
def test_what_groups_were_like_equals_r(case):
    first, second = two_groups(case)
    theirs = case["outputs"]

    close(smd_of_means(first, second), theirs["smd_tableone_avg_var"])
    close(smd_of_means(first, second, pooled=True), theirs["smd_cohen_pooled"])
    close([len(first), len(second)], theirs["n"])
    table = pd.DataFrame({"group": [0] * len(first) + [1] * len(second), "x": [*first, *second]})
    if len(set(table["x"])) > 2:
        by_mean = table_one(table, "group", number_test="welch").set_index("variable").loc["x"]
        by_rank = table_one(table, "group").set_index("variable").loc["x"]
        for place, name in enumerate(["0", "1"]):
            mean, sd = (float(number) for number in by_mean[name].split(" ± "))
            close([mean, sd], [theirs["mean"][place], theirs["sd"][place]], rtol=5e-4)  # four digits are printed
            middle, quartiles = by_rank[name].split(" (")
            close(float(middle), theirs["median"][place], rtol=5e-4)
            low, high = theirs["iqr_type7"][place]
            assert quartiles == f"{low:.4g}-{high:.4g})"
        close(by_mean["p_value"], theirs["welch"]["p_value"])
        close(by_rank["p_value"], theirs["wilcoxon_default"]["p_value"])
        balanced = balance(table, "group").set_index("variable").loc["x", "smd"]
        close(balanced, theirs["smd_tableone_avg_var"])


@of_r(*K_GROUPS)
def test_tests_of_several_groups_equal_r(case):
    groups = k_groups(case)
    theirs = case["outputs"]

    ranks, equal, unequal = (
        kruskal_wallis(list(groups.values())),
        anova(list(groups.values()), equal_variance=True),
        anova(list(groups.values()), equal_variance=False),
    )

    close([ranks.statistic, ranks.df, ranks.p_value], [theirs["kruskal"][key] for key in ("H", "df", "p_value")])
    close([equal.statistic, equal.p_value], [theirs["anova"]["F"], theirs["anova"]["p_value"]])
    close([unequal.statistic, unequal.p_value], [theirs["welch_anova"]["F"], theirs["welch_anova"]["p_value"]])
    close([unequal.df, unequal.df_within], theirs["welch_anova"]["df"])
    table = pd.DataFrame([(name, x) for name, values in groups.items() for x in values], columns=["group", "x"])
    close(table_one(table, "group")["p_value"][1], theirs["kruskal"]["p_value"])
    close(table_one(table, "group", number_test="student")["p_value"][1], theirs["anova"]["p_value"])
    close(table_one(table, "group", number_test="welch")["p_value"][1], theirs["welch_anova"]["p_value"])


@of_r(*K_GROUPS)
def test_pairwise_comparisons_equal_r(case):
    theirs = case["outputs"]["pairwise_wilcox_BH"]
    ours = pairwise_wilcoxon(k_groups(case), "BH")
    of_pair = {frozenset(pair): p for *pair, p in ours[["group", "versus", "p_adjusted"]].to_numpy()}
    for row, values in zip(theirs["rownames"], theirs["rows"], strict=True):
        for column, p_value in zip(theirs["colnames"], values, strict=True):
            if not np.isnan(p_value):
                close(of_pair[frozenset([column, row])], p_value)
    assert len(ours) == sum(not np.isnan(p) for values in theirs["rows"] for p in values)


@of_r(*TABLES)
def test_chi_square_equals_r(case):
    counts, theirs = case["inputs"]["counts"], case["outputs"]
    for correct, name in ((True, "chisq_default_yates_if_2x2"), (False, "chisq_no_correction")):
        ours = chi_square(counts, correct=correct)

        close([ours.statistic, ours.df, ours.p_value], [theirs[name][key] for key in ("chisq", "df", "p_value")])
    close(expected_counts(counts), theirs["chisq_no_correction"]["expected"]["rows"])


@of_r(*TABLES)
def test_fishers_test_equals_r(case):
    close(fisher(case["inputs"]["counts"]).p_value, case["outputs"]["fisher"]["p_value"])


@of_r(*TWO_BY_TWO)
def test_odds_ratio_and_one_sided_tests_of_two_by_two_equal_r(case):
    counts, theirs = case["inputs"]["counts"], case["outputs"]["fisher"]
    tight = theirs["tight_own_uniroot"]

    ratio = fisher(counts).difference

    close([ratio.value, ratio.lower, ratio.upper], [tight["odds_ratio"], tight["lower95"], tight["upper95"]])
    # fisher.test itself searches its roots to 1e-4 of a bound or of its inverse
    np.testing.assert_allclose(ratio.value, theirs["odds_ratio_conditional_mle"], rtol=1e-3)
    np.testing.assert_allclose([ratio.lower, ratio.upper], theirs["ci"], rtol=1e-2)
    close(fisher_one_sided(counts), [theirs["p_less"], theirs["p_greater"]])


@of_r(*TWO_BY_TWO)
def test_mcnemar_equals_r(case):
    counts, theirs = case["inputs"]["counts"], case["outputs"]["mcnemar"]

    close(mcnemar(counts).statistic, theirs["chisq_corrected"])
    close(mcnemar(counts).p_value, theirs["p_corrected"])
    close(mcnemar(counts, correct=False).p_value, theirs["p_uncorrected"])
    close(mcnemar(counts, exact=True).p_value, theirs["p_exact"])


@of_r(*ADJUSTED)
@pytest.mark.parametrize("method", ["BH", "holm", "bonferroni", "BY", "hochberg"])
def test_adjusted_p_values_equal_r(case, method):
    close(adjusted_p_values(case["inputs"]["p"], method), case["outputs"][method])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", [(3, 3), (2, 6), (4, 3)], ids=str)
def test_fishers_test_is_the_sum_over_all_tables_written_slowly(seed, shape):
    table = np.random.default_rng(seed).integers(0, 3, size=shape)
    table[:, 0] += 1
    table[0] += 1
    chance = stats.random_table(table.sum(axis=1), table.sum(axis=0))

    def fill(rows_left, columns):
        if columns == 1:
            yield [rows_left]
            return
        for first in np.ndindex(*(row + 1 for row in rows_left)):
            if sum(first) == column_sums[len(column_sums) - columns]:
                for rest in fill(tuple(row - take for row, take in zip(rows_left, first, strict=True)), columns - 1):
                    yield [first, *rest]

    column_sums = table.sum(axis=0)
    every = np.array([chance.pmf(np.array(columns).T) for columns in fill(tuple(table.sum(axis=1)), shape[1])])

    assert every.sum() == pytest.approx(1)
    assert fisher(table).p_value == pytest.approx(every[every <= chance.pmf(table) * (1 + 1e-7)].sum())
    assert fisher(table.T).p_value == pytest.approx(fisher(table).p_value)
    assert fisher(table[::-1, ::-1]).p_value == pytest.approx(fisher(table).p_value)


def test_fishers_test_of_two_by_two_equals_the_general_one():
    for seed in range(5):
        table = np.random.default_rng(seed).integers(1, 12, size=(2, 2))
        wider = np.column_stack([table, [0, 0]])  # an empty column changes nothing but the way it is counted

        assert fisher(wider).p_value == pytest.approx(stats.fisher_exact(table).pvalue)
        assert fisher(table).p_value == pytest.approx(stats.fisher_exact(table).pvalue)


def test_fishers_test_of_too_large_a_table_is_refused_and_the_table_goes_on():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"centre": rng.integers(4, size=900), "site": rng.integers(8, size=900).astype(str)})
    with pytest.raises(ValueError, match="too many tables to count"):
        fisher(pd.crosstab(table["site"], table["centre"]))

    told = table_one(table, "centre", category_test="fisher")

    assert told["test"][1].startswith("not tested: Fisher's exact test has too many tables")
    assert np.isnan(told["p_value"][1])


def test_where_fishers_test_takes_too_long_pearsons_is_given_and_its_small_counts_are_told():
    rng = np.random.default_rng(0)
    site = [*rng.integers(8, size=895).astype(str), *["rare"] * 5]
    table = pd.DataFrame({"centre": rng.integers(4, size=900), "site": site})

    told = table_one(table, "centre").iloc[1]

    assert told["test"] == "χ², though counts below 5 are expected: too many tables for Fisher"
    pearson = stats.chi2_contingency(pd.crosstab(table["site"], table["centre"]))
    assert told["p_value"] == pytest.approx(pearson.pvalue)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([[1, 2]], "two rows and two columns or more"),
        ([[1, -2], [3, 4]], "whole numbers of 0 or more"),
        ([[1, 0.5], [3, 4]], "whole numbers of 0 or more"),
        ([[np.nan, 1], [3, 4]], "whole numbers of 0 or more"),
        ([[0, 0], [0, 0]], "every cell is 0"),
    ],
    ids=["one row", "negative", "fraction", "missing", "nobody"],
)
def test_counts_that_are_none_are_refused(counts, message):
    for test in (lambda c: chi_square(c, correct=True), fisher, mcnemar):
        with pytest.raises(ValueError, match=message):
            test(counts)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([], [1, 2], r"two groups of \d or more patients, got groups of \[0, 2\]"),
        ([1, np.nan], [1, 2], "finite values, got 1 that are not"),
        ([1, np.inf], [1, 2], "finite values, got 1 that are not"),
    ],
    ids=["nobody", "missing", "infinite"],
)
def test_groups_that_cannot_be_compared_are_refused(first, second, message):
    for test in (wilcoxon, kolmogorov_smirnov, variance_test, lambda a, b: t_test(a, b, equal_variance=False)):
        with pytest.raises(ValueError, match=message):
            test(first, second)


def test_p_values_and_ways_to_adjust_them_are_checked():
    with pytest.raises(ValueError, match="between 0 and 1"):
        adjusted_p_values([0.5, 1.5], "holm")
    with pytest.raises(ValueError, match="adjusted by one of none, bonferroni, holm"):
        adjusted_p_values([0.5], "fdr")


def test_t_test_of_printed_means_gives_zhaos_printed_p_values():
    # Table 1: age .294 and .139, BMI .946 and .818; means and SDs are rounded, so p may move in its third digit
    rows = {
        (47.56, 10.82, 49.32, 9.82, 110, 61): 0.294,
        (47.49, 9.79, 51.29, 10.53, 45, 24): 0.139,
        (23.01, 3.36, 22.98, 3.36, 110, 61): 0.946,
        (22.76, 3.29, 22.59, 2.27, 45, 24): 0.818,
    }
    for (mean, sd, mean_other, sd_other, n, n_other), p_value in rows.items():
        test = t_test_of_summary((mean, sd, n), (mean_other, sd_other, n_other), equal_variance=True)

        assert test.p_value == pytest.approx(p_value, abs=0.012)


def cohort():
    return pd.DataFrame(
        {
            "patient_id": [f"P{index}" for index in range(8)],
            "response": [1, 1, 1, 0, 0, 0, 0, np.nan],
            "age": [50.0, 60.0, np.nan, 40.0, 45.0, 55.0, 65.0, 70.0],
            "sex": ["F", "F", "M", "M", "M", "F", "M", "F"],
            "smoker": [1, 0, 1, 0, 0, 0, 0, 1],
        }
    )


def test_table_one_worked_by_hand():
    table = table_one(cohort(), "response")

    assert list(table.columns) == ["variable", "level", "0", "1", "missing", "test", "p_value"]
    told = table.drop(columns=["test", "p_value"]).to_numpy().tolist()
    assert told == [
        ["patients", "n", "4", "3", "1"],
        ["age", "median (IQR)", "50 (43.75-57.5)", "55 (52.5-57.5)", "70 (70-70)"],
        ["age", "missing", "0", "1", "0"],
        ["sex", "F", "1 (25.0 %)", "2 (66.7 %)", "1 (100.0 %)"],
        ["sex", "M", "3 (75.0 %)", "1 (33.3 %)", "0 (0.0 %)"],
        ["smoker", "0", "4 (100.0 %)", "1 (33.3 %)", "0 (0.0 %)"],
        ["smoker", "1", "0 (0.0 %)", "2 (66.7 %)", "1 (100.0 %)"],
    ]
    assert table["test"].tolist() == ["", "Wilcoxon, exact", "", "Fisher", "", "Fisher", ""]
    # ages 50, 60 among 40, 45, 55, 65: U = 5 of 8, and 12 of 15 orders are as far from 4; C(4,1)·C(3,2)/C(7,3) …
    assert table["p_value"][1] == pytest.approx(12 / 15)
    assert table["p_value"][3] == pytest.approx(stats.fisher_exact([[1, 2], [3, 1]]).pvalue)


def test_counts_of_table_one_add_up_to_the_patients():
    rng = np.random.default_rng(4)
    table = pd.DataFrame(
        {"centre": rng.choice(["A", "B", None], size=60), "stage": rng.choice(["I", "II", "III", None], size=60)}
    )
    told = table_one(table, "centre")

    groups = told.drop(columns=["variable", "level", "test", "p_value"])
    numbers = groups.map(lambda cell: int(cell.split()[0]))
    assert numbers.iloc[0].sum() == 60
    np.testing.assert_array_equal(numbers.iloc[1:].sum(), numbers.iloc[0])


def test_expected_counts_choose_between_pearson_and_fisher():
    many = pd.DataFrame({"g": [0] * 40 + [1] * 40, "x": (["a"] * 20 + ["b"] * 20) * 2})
    few = pd.DataFrame({"g": [0] * 40 + [1] * 40, "x": ["a"] * 3 + ["b"] * 77})

    assert table_one(many, "g")["test"][1] == "χ²"
    assert table_one(few, "g")["test"][1] == "Fisher"
    assert table_one(few, "g", category_test="chi_square")["test"][1] == "χ²"
    assert table_one(few, "g", category_test="yates")["test"][1] == "χ², Yates"


def test_shapiro_chooses_means_for_normal_values_and_ranks_for_skewed_ones():
    quantile = stats.norm.ppf((np.arange(30) + 0.5) / 30)
    table = pd.DataFrame({"g": [0] * 30 + [1] * 30, "normal": [*quantile, *quantile + 1]})
    table["skewed"] = np.exp(3 * table["normal"])

    told = table_one(table, "g", number_test="shapiro").set_index("variable")

    assert told["test"].tolist() == ["", "Welch's t", "Wilcoxon, exact"]
    assert told["level"].tolist() == ["n", "mean ± SD", "median (IQR)"]


def test_adjusted_p_values_stand_beside_the_others_when_asked_for():
    told = table_one(cohort(), "response", adjust="bonferroni")

    tested = told.dropna(subset="p_value")
    np.testing.assert_allclose(tested["p_adjusted"], np.minimum(1, 3 * tested["p_value"]))


def test_a_variable_that_cannot_be_tested_says_why_and_the_others_are_tested():
    table = cohort().assign(
        constant="yes",
        unknown=np.nan,
        remark=[f"text {index}" for index in range(8)],
        one_group=[1, 2, 3, *[np.nan] * 5],
    )
    told = table_one(table, "response").set_index(["variable", "level"])["test"]

    assert told["constant", "yes"].startswith("not tested: two levels and two groups")
    assert told["one_group", "median (IQR)"].startswith("not tested: a test needs two groups of 1 or more patients")
    assert told["age", "median (IQR)"] == "Wilcoxon, exact"


def test_a_text_with_many_values_is_counted_and_not_tested():
    table = pd.DataFrame({"g": [0, 1] * 20, "remark": [f"text {index}" for index in range(40)]})

    told = table_one(table, "g").iloc[1]

    assert told[["0", "1", "test"]].tolist() == ["20 different", "20 different", "not tested: text"]


@pytest.mark.parametrize(
    ("by", "variables", "message"),
    [
        ("sex", ["weight"], "the table has no column weight; it has patient_id"),
        ("hospital", None, "the table has no column hospital"),
        ("all", None, "all: a comparison needs two groups or more, got x"),
        ("odd", None, "odd: a group may not be called test"),
    ],
    ids=["variable", "group", "one group", "a group named as a column"],
)
def test_a_table_that_cannot_be_made_is_refused(by, variables, message):
    table = cohort().assign(all="x", odd=["test"] * 4 + ["other"] * 4)
    with pytest.raises(ValueError, match=message):
        table_one(table, by, variables=variables)


def test_distance_of_shares_of_two_levels_is_austins_formula():
    p, q = 0.3, 0.45
    by_hand = abs(p - q) / np.sqrt((p * (1 - p) + q * (1 - q)) / 2)

    assert smd_of_shares(np.array([70, 30]), np.array([55, 45])) == pytest.approx(by_hand)
    assert smd_of_shares(np.array([30, 70]), np.array([45, 55])) == pytest.approx(by_hand)


def test_groups_alike_are_balanced_and_every_pair_is_compared():
    part = cohort().drop(columns="response").iloc[:6]
    table = pd.concat([part.assign(centre=name) for name in "ABC"])

    found = balance(table, "centre")

    assert len(found) == 3 * 3
    np.testing.assert_allclose(found["smd"], 0, atol=1e-12)
    assert balance(table.assign(age=table["age"] + (table["centre"] == "A")), "centre")["smd"][0] > 0
