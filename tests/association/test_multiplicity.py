"""False discovery within families: R's p.adjust, and laws."""

import doctest

import numpy as np
import pytest

from oracle import cases, close
from radnet.association import multiplicity
from radnet.association.multiplicity import count_tests, q_values


@cases("10_table_one.json", "padj", "padj_ties_na")
def test_q_values_equal_those_of_r(case):
    p = case["inputs"]["p"]

    close(q_values(p, ["one"] * len(p)), case["outputs"]["BH"], rtol=1e-9)


def test_each_family_is_adjusted_as_if_it_stood_alone():
    rng = np.random.default_rng(1)
    p, family = rng.random(40), rng.choice(["cells", "genes", "survival"], 40)

    q = q_values(p, family)

    for name in ("cells", "genes", "survival"):
        own = family == name
        np.testing.assert_array_equal(q[own], q_values(p[own], family[own]))


def test_tests_of_a_family_are_counted_without_those_that_were_not_made():
    assert count_tests([0.1, np.nan, 0.3, np.nan], ["b", "b", "a", "c"]) == {"b": 1, "a": 1, "c": 0}


def test_what_is_no_p_value_or_has_no_family_is_refused():
    with pytest.raises(ValueError, match="1 of 2 do not"):
        q_values([0.1, 1.2], ["a", "a"])
    with pytest.raises(ValueError, match="needs the name of its family"):
        q_values([0.1, 0.2], ["a"])


def test_the_example_runs():
    assert doctest.testmod(multiplicity).failed == 0
