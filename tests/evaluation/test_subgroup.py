import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.stats import chi2

from radnet.evaluation.discrimination import delong
from radnet.evaluation.regression.fit import SeparationError
from radnet.evaluation.subgroup import interaction, interaction_cox, subgroup_table

COUNTS = ["true_positive", "false_positive", "false_negative", "true_negative"]


def cohort(n=120, seed=0):
    rng = np.random.default_rng(seed)
    event = rng.random(n) < 0.4
    score = rng.normal(size=n) + event
    groups = pd.DataFrame({"centre": rng.choice(["A", "B", "C"], n), "cps": rng.choice([1.0, 0.0, np.nan], n)})
    return event, score, groups


@pytest.mark.parametrize("seed", range(3))
def test_counts_of_subgroups_add_up_to_the_whole(seed):
    event, score, groups = cohort(seed=seed)

    table = subgroup_table(event, score, 0.3, groups).set_index("subgroup")

    for column in groups:
        parts = table[table.index.str.startswith(f"{column}=")]
        assert parts[[*COUNTS, "n", "n_event"]].sum().equals(table.loc["", [*COUNTS, "n", "n_event"]].astype(int))
    assert list(table.index) == ["", "centre=A", "centre=B", "centre=C", "cps=0", "cps=1", "cps=missing"]


def test_a_subgroup_is_judged_as_its_patients_alone_would_be():
    event, score, groups = cohort()
    who = (groups["centre"] == "B").to_numpy()

    row = subgroup_table(event, score, 0.3, groups).set_index("subgroup").loc["centre=B"]

    alone = delong(event[who], score[who])
    assert (row["auc"], row["lower"], row["upper"]) == (alone.auc, *alone.interval(0.95))
    assert row["sensitivity"] == (score[who & event] >= 0.3).mean()
    assert row["specificity"] == (score[who & ~event] < 0.3).mean()


def test_few_patients_of_a_class_have_no_interval_and_the_note_says_so():
    event = [1] * 9 + [0] * 30 + [1] * 10 + [0] * 10
    score = np.random.default_rng(1).normal(size=59)
    table = subgroup_table(event, score, 0, pd.DataFrame({"g": ["few"] * 39 + ["enough"] * 20})).set_index("subgroup")

    assert np.isfinite(table.loc["g=few", "auc"])
    assert np.isnan(table.loc["g=few", ["lower", "upper"]].astype(float)).all()
    assert table.loc["g=few", "note"] == "no interval below 10 patients of a class: 9 with and 30 without the event"
    assert np.isfinite(table.loc["g=enough", ["lower", "upper"]].astype(float)).all()
    assert table.loc["g=enough", "note"] == ""


def test_one_class_has_no_auc_and_the_note_says_so():
    table = subgroup_table([1, 1, 0, 1, 0], [1, 2, 3, 4, 5], 2, pd.DataFrame({"g": list("aabbb")})).set_index(
        "subgroup"
    )

    assert np.isnan(table.loc["g=a", "auc"])
    assert "no AUC: 2 with and 0 without the event" in table.loc["g=a", "note"]
    assert table.loc["g=a", "sensitivity"] == 0.5
    assert np.isnan(table.loc["g=a", "specificity"])


def test_a_score_at_the_cutoff_follows_the_rule_and_each_patient_his_own_cutoff():
    event, score, groups = [1, 1, 0, 0], [2, 1, 2, 1], pd.DataFrame(index=range(4))

    assert subgroup_table(event, score, 2, groups)["true_positive"][0] == 1
    assert subgroup_table(event, score, 2, groups, rule="gt")["true_positive"][0] == 0
    assert subgroup_table(event, score, [2, 1, 3, 3], groups)[COUNTS].iloc[0].tolist() == [2, 0, 0, 2]


def log_odds_likelihood(design, event):
    def minus(beta):
        return np.logaddexp(0, design @ beta).sum() - (design @ beta)[event].sum()

    return minus


@pytest.mark.parametrize("seed", range(3))
def test_interaction_is_the_gain_of_own_slopes_written_slowly(seed):
    event, score, groups = cohort(seed=seed)
    member = np.column_stack([groups["centre"] == name for name in "ABC"]).astype(float)
    shared = np.column_stack([member, score])
    own = np.column_stack([member, member * score[:, None]])
    fits = [minimize(log_odds_likelihood(X, event), np.zeros(X.shape[1]), tol=1e-12).fun for X in (shared, own)]

    test = interaction(event, score, groups["centre"])

    assert test.df == 2
    assert test.chi2 == pytest.approx(2 * (fits[0] - fits[1]), abs=1e-6)  # the slow minimum is exact to about 1e-8
    assert test.p_value == pytest.approx(chi2.sf(test.chi2, 2))
    row = subgroup_table(event, score, 0, groups).set_index("subgroup")
    assert row.loc["centre=A", "p_interaction"] == test.p_value


@pytest.mark.parametrize("seed", range(3))
def test_interaction_with_time_is_the_gain_in_partial_likelihood_written_slowly(seed):
    rng = np.random.default_rng(seed)
    score, group = rng.normal(size=60), rng.random(60) < 0.5
    time, event = rng.exponential(np.exp(-score * (1 + group))), rng.random(60) < 0.8

    def minus(X):
        order = np.argsort(-time)  # no ties

        def of(beta):
            predictor = (X @ beta)[order]
            return -(predictor - np.logaddexp.accumulate(predictor))[event[order]].sum()

        return minimize(of, np.zeros(X.shape[1]), tol=1e-12).fun

    alike = np.column_stack([score, group])

    test = interaction_cox(time, event, score, group)

    assert test.df == 1
    assert test.chi2 == pytest.approx(2 * (minus(alike) - minus(np.column_stack([alike, score * group]))), abs=1e-6)


def test_interaction_does_not_depend_on_the_unit_of_the_score_or_the_names_of_groups():
    event, score, groups = cohort()
    here = interaction(event, score, groups["centre"])

    assert interaction(event, 1000 * score + 50, groups["centre"]).chi2 == pytest.approx(here.chi2, rel=1e-6)
    renamed = groups["centre"].map({"A": "z", "B": "y", "C": "x"})
    assert interaction(event, score, renamed).chi2 == pytest.approx(here.chi2, rel=1e-6)


def test_an_interaction_that_separates_is_said_in_the_table():
    event = np.array([0, 0, 0, 1, 1, 1, 0, 1, 0, 1, 1, 0])
    score = np.array([1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6.0])
    group = ["apart"] * 6 + ["mixed"] * 6
    with pytest.raises(SeparationError):
        interaction(event, score, group)

    table = subgroup_table(event, score, 3.5, pd.DataFrame({"g": group})).set_index("subgroup")

    assert table.loc["g=apart", "note"].startswith("no interaction test: separation")
    assert np.isnan(table.loc["g=apart", "p_interaction"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": [1, 2, np.nan, 4]}, "1 of 4 scores are missing or infinite"),
        ({"cutoff": np.nan}, "every patient needs a cut-off, a finite number"),
        ({"subgroups": pd.DataFrame({"g": list("ab")})}, "4 scores need a row of subgroups each, got 2"),
        ({"subgroups": pd.DataFrame({"g": ["missing", "a", "a", "a"]})}, "g: a level is called 'missing'"),
    ],
    ids=["score", "cut-off", "length", "name"],
)
def test_subgroups_that_cannot_be_judged_are_refused(change, message):
    given = {"event": [0, 1, 0, 1], "score": [1, 2, 3, 4], "cutoff": 2, "subgroups": pd.DataFrame({"g": list("aabb")})}
    with pytest.raises(ValueError, match=message):
        subgroup_table(**given | change)


def test_an_interaction_needs_two_subgroups_with_names():
    with pytest.raises(ValueError, match="needs two subgroups, but every patient is in a"):
        interaction([0, 1, 0, 1], [1, 2, 3, 4], list("aaaa"))
    with pytest.raises(ValueError, match="none may be missing"):
        interaction([0, 1, 0, 1], [1, 2, 3, 4], np.array(["a", None, "b", "b"], dtype=object))
