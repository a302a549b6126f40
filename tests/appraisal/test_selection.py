"""How often features are selected, against hand cases and the laws of Nogueira's measure."""

from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cohorts import make_cohort, make_study
from radnet.appraisal.selection import COLUMNS, fold_stability, selection_stability, selection_table
from radnet.cohort import Endpoint
from radnet.data.split import stratified_folds
from radnet.evaluation.cutoff import youden
from radnet.evaluation.cutoff_rules import by_median
from radnet.models.cox import CoxRegression
from radnet.models.elastic_net_cox import ElasticNetCox
from radnet.predictors.nested import NestedPredictor
from radnet.predictors.reading import Reading
from radnet.predictors.stacked import StackedPredictor
from radnet.predictors.tabular import TabularPredictor

RESPONSE = Endpoint("response", "response")
DFS = Endpoint("dfs", "dfs_event", "dfs_months", "months")
FOLDS = partial(stratified_folds, n_folds=4, seed=1)


def stability(selections, features):
    return selection_stability(selections, features, level=0.95)


def test_stability_agrees_with_a_case_worked_by_hand():
    """Shares 1, 2/3, 1/3 and 0; variances 0, 1/3, 1/3 and 0, on average 1/6; by chance 1/2 · 1/2."""
    assert stability(["ab", "ab", "ac"], 4).value == pytest.approx(1 - (1 / 6) / (1 / 4))


def test_stability_is_the_definition_written_slowly():
    rng = np.random.default_rng(0)
    names = [f"f{place}" for place in range(15)]
    sets = [set(rng.choice(names, size=int(size), replace=False)) for size in rng.integers(1, 9, size=7)]
    variances = []
    for name in names:
        share = Fraction(sum(name in one for one in sets), 7)
        variances.append(Fraction(7, 6) * share * (1 - share))
    mean_size = Fraction(sum(map(len, sets)), 7)
    by_chance = mean_size / 15 * (1 - mean_size / 15)

    assert stability(sets, 15).value == pytest.approx(float(1 - sum(variances) / 15 / by_chance), abs=1e-12)


def test_of_equal_sizes_stability_is_kunchevas_index():
    """Kuncheva 2007: the mean over pairs of (shared - k²/d) / (k - k²/d)."""
    rng = np.random.default_rng(1)
    sets = [set(rng.choice(20, size=6, replace=False)) for _ in range(5)]
    pairs = [(one, other) for place, one in enumerate(sets) for other in sets[:place]]
    index = np.mean([(len(one & other) - 36 / 20) / (6 - 36 / 20) for one, other in pairs])

    assert stability(sets, 20).value == pytest.approx(index, abs=1e-12)


def test_equal_selections_are_stable_without_doubt():
    found = stability(["ab", "ab", "ab"], 9)

    assert (found.value, found.lower, found.upper, found.folds) == (1.0, 1.0, 1.0, 3)


def test_selections_at_random_have_a_stability_of_0_on_average():
    rng = np.random.default_rng(2)

    values = [
        stability([set(rng.choice(30, rng.integers(3, 10), False)) for _ in range(5)], 30).value for _ in range(800)
    ]

    assert np.mean(values) == pytest.approx(0, abs=4 * np.std(values) / np.sqrt(800))


def test_the_interval_holds_the_stability_of_the_law_that_selections_follow():
    """Features selected each by itself with a known probability: the stability of the law is known."""
    rng = np.random.default_rng(3)
    chance = rng.uniform(0.05, 0.95, size=25)
    size = chance.mean()
    true = 1 - (chance * (1 - chance)).mean() / (size * (1 - size))

    held = []
    for _ in range(400):
        found = stability([set(np.flatnonzero(rng.random(25) < chance)) for _ in range(40)], 25)
        held.append(found.lower <= true <= found.upper)

    assert np.mean(held) == pytest.approx(0.95, abs=0.035)  # 3 standard errors of a share of 400; asymptotic


@pytest.mark.parametrize(
    ("selections", "features", "message"),
    [
        ([], 4, "needs two selections or more, got 0"),
        (["ab"], 4, "needs two selections or more, got 1"),
        (["", ""], 4, "every one of 2 selections is of no feature"),
        (["ab", "ab"], 2, "every one of 2 selections is of all features"),
    ],
)
def test_selections_that_cannot_be_compared_are_told(selections, features, message):
    with pytest.raises(ValueError, match=message):
        stability(selections, features)


def test_a_table_counts_the_folds_that_selected_each_feature():
    cohort = make_cohort(60, seed=2, signal=1.0)

    def make(place, checkpoint):
        steps = {"scale": StandardScaler(), "best": SelectKBest(k=3), "classify": LogisticRegression(C=1.0)}
        return TabularPredictor("response", steps, regions=["lesion"])

    model = NestedPredictor(make, [FOLDS], [Reading(RESPONSE, youden)]).fit(cohort)
    chosen = []
    for fold in FOLDS(cohort, "response"):
        alone = make((), None).fit(cohort.select(fold.train)).steps
        chosen.append(set(np.array(model.frozen.columns)[alone["best"].get_support()]))
    final = list(np.array(model.frozen.columns)[model.model.steps["best"].get_support()])
    weight = dict(
        zip(final, model.model.steps["classify"].coef_[0], strict=True)
    )  # the standard deviation is 1 by then

    table = selection_table(model, cohort)

    assert tuple(table.columns) == COLUMNS
    assert dict(zip(table["feature"], table["folds"], strict=True)) == {
        name: sum(name in one for one in chosen) for name in set().union(*chosen, final)
    }
    np.testing.assert_allclose(table["share"], table["folds"] / 4)
    assert table["folds"].is_monotonic_decreasing
    assert set(table.loc[table["in_model"], "feature"]) == set(final)
    in_model = table[table["in_model"]].set_index("feature")["coefficient_per_sd"]
    assert in_model.to_dict() == pytest.approx(weight)
    assert table.loc[~table["in_model"], "coefficient_per_sd"].isna().all()
    assert fold_stability(model, 0.95) == selection_stability(chosen, len(model.frozen.columns), 0.95)


def test_of_a_stack_the_member_that_selects_is_told():
    cohort = make_study(90, seed=4)

    def score():
        steps = {"scale": StandardScaler(), "lasso": ElasticNetCox(alpha=1.0, penalty=0.08)}
        return TabularPredictor("dfs", steps, regions=["lesion"])

    def make(place, checkpoint):
        return StackedPredictor("dfs", {"score": score}, {"cox": CoxRegression()}, FOLDS, clinical=["age"])

    model = NestedPredictor(make, [FOLDS], [Reading(DFS, by_median)]).fit(cohort)
    lasso = model.frozen.members["score"].steps["lasso"]
    columns = np.array(model.frozen.members["score"].columns)
    expected = {name: weight for name, weight in zip(columns, lasso.coef_, strict=True) if weight != 0}

    table = selection_table(model, cohort)

    in_model = table[table["in_model"]].set_index("feature")["coefficient_per_sd"]
    assert in_model.to_dict() == pytest.approx(expected)
