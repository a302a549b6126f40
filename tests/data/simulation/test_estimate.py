import itertools
import json

import numpy as np
import pytest
from scipy.stats import norm

from radnet.data.simulation.estimate import (
    NormalLlrs,
    auc_of_normal_llrs,
    auc_with_se,
    concordance_of_pairs,
    harrell_c,
    sample_auc,
)


def test_the_auc_counts_pairs_and_halves_ties():
    rng = np.random.default_rng(0)
    positive, negative = rng.integers(2, 9, 40).astype(float), rng.integers(0, 7, 60).astype(float)
    pairs = [(one > other) + 0.5 * (one == other) for one, other in itertools.product(positive, negative)]

    value, se = auc_with_se(positive, negative)

    assert value == pytest.approx(np.mean(pairs))
    wins = np.reshape(pairs, (40, 60))
    assert se == pytest.approx(np.sqrt(wins.mean(1).var(ddof=1) / 40 + wins.mean(0).var(ddof=1) / 60))


def test_an_auc_of_one_class_is_absent_and_says_why():
    found = sample_auc(np.arange(4.0), np.zeros(4, dtype=int))

    assert found.value is None
    assert found.formula == "not estimated: 0 responders and 4 non-responders"


def test_the_auc_of_two_normal_groups_is_that_of_their_distance():
    group = NormalLlrs(share=np.array([1.0]), step=np.array([0.0]), distance=np.array([1.44]))

    assert auc_of_normal_llrs(group, group) == pytest.approx(norm.cdf(1.2 / np.sqrt(2)))


@pytest.mark.parametrize("name", ["marker_lung_age", "marker_sim69", "marker_sim69_tied", "marker_veteran_neg_karno"])
def test_harrells_c_and_its_error_are_those_of_r(shared, name):
    cases = json.loads((shared / "oracles" / "05_survival.json").read_text(encoding="utf-8"))["cases"]
    case = next(one for one in cases if one["id"] == name)
    time, event, marker = (np.array(case["inputs"][key], dtype=float) for key in ("time", "event", "marker"))

    found = harrell_c(marker, time, event.astype(bool))

    r = case["outputs"]["concordance"]
    assert found.value == pytest.approx(r["concordance"], rel=1e-9)
    assert found.se == pytest.approx(r["se"], rel=1e-6)


def test_a_c_index_without_comparable_patients_is_absent_and_says_why():
    found = harrell_c(np.arange(3.0), np.arange(1.0, 4.0), np.zeros(3, dtype=bool))

    assert (found.value, found.formula) == (None, "not estimated: no two patients can be compared")


def test_pairs_of_exponential_times_are_ordered_as_often_as_the_hazard_ratio_says():
    rng = np.random.default_rng(1)
    risk = np.repeat([0.0, np.log(3.0)], 100_000)  # the shorter time is the riskier patient's: 3 of 4
    time = rng.exponential(size=200_000) / np.exp(risk)

    found = concordance_of_pairs(risk, time, np.ones(200_000, dtype=bool))

    assert found.value == pytest.approx(0.75, abs=3 * found.se)
