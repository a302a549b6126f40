"""The strongest of many correlations: every order of few patients, Bonferroni's bound, and laws."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from radnet.association.max_t import max_t_p_values


def tables(seed, n=25, p=3, q=2, effect=0.0):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(n, p)), columns=[f"x{one}" for one in range(p)])
    y = pd.DataFrame(rng.normal(size=(n, q)), columns=[f"y{one}" for one in range(q)])
    return x, y.assign(y0=y["y0"] + effect * x["x0"])


def test_p_values_near_those_of_every_order_of_six_patients():
    x, y = tables(1, n=6)
    seen = np.abs(np.corrcoef(x.T, y.T)[:3, 3:])
    largest = np.array(
        [np.abs(np.corrcoef(x.T, y.to_numpy()[list(order)].T)[:3, 3:]).max() for order in permutations(range(6))]
    )
    exact = np.array([[np.mean(largest >= one - 1e-12) for one in row] for row in seen])

    found = max_t_p_values(x, y, "pearson", permutations=4000, seed=0)

    np.testing.assert_allclose(found, exact, atol=4 * 0.5 / np.sqrt(4000))  # four standard errors of a share


def test_for_one_pair_it_is_the_p_value_of_that_pair():
    x, y = tables(2, n=40, p=1, q=1, effect=0.4)

    found = max_t_p_values(x, y, "pearson", permutations=2000, seed=0)

    assert found.iloc[0, 0] == pytest.approx(stats.pearsonr(x["x0"], y["y0"]).pvalue, abs=0.01)


def test_a_family_of_copies_costs_nothing_and_one_of_strangers_about_what_bonferroni_takes():
    x, y = tables(3, n=40, p=1, q=1, effect=0.35)
    rng = np.random.default_rng(0)
    copies = pd.concat([x["x0"].rename(f"copy{one}") for one in range(10)], axis=1)
    strangers = pd.concat([x, pd.DataFrame(rng.normal(size=(40, 9)))], axis=1).rename(columns=str)

    alone = max_t_p_values(x, y, "spearman", permutations=999, seed=1).iloc[0, 0]
    copied = max_t_p_values(copies, y, "spearman", permutations=999, seed=1).iloc[0, 0]
    among = max_t_p_values(strangers, y, "spearman", permutations=999, seed=1).iloc[0, 0]

    assert copied == alone
    assert 3 * alone < among <= 10 * alone + 0.03


def test_a_stronger_pair_never_has_the_larger_p_value():
    x, y = tables(4, effect=0.8)
    seen = np.abs(np.corrcoef(x.T, y.T)[:3, 3:]).ravel()

    found = max_t_p_values(x, y, "pearson", permutations=199, seed=0).to_numpy().ravel()

    assert (np.diff(found[np.argsort(seen)]) <= 0).all()
    assert found.min() >= 1 / 200


def test_the_seed_decides_and_missing_or_constant_values_do_not_stop_it():
    x, y = tables(5)
    x.iloc[:5, 0] = np.nan
    x["x2"] = 1.0

    first, again, other = (max_t_p_values(x, y, "spearman", permutations=99, seed=seed) for seed in (0, 0, 1))

    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)
    assert first.loc["x2"].isna().all()
    assert first.loc[["x0", "x1"]].notna().all(axis=None)


def test_few_permutations_are_refused():
    with pytest.raises(ValueError, match="99 permutations or more, got 50"):
        max_t_p_values(*tables(6), "pearson", permutations=50, seed=0)
