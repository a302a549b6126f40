"""The table of associations, and what an effect must be to stand in it."""

from math import inf, nan

import pytest

from oracle import close
from radnet.association.effect import Effect, untold
from radnet.association.table import COLUMNS, Association, associations


def row(x, y, p_value):
    return Association(x, y, 40, 2, Effect("spearman", "t", 0.3, 0.1, 0.5, 2.0, p_value))


def test_a_row_tells_all_of_an_association_and_q_values_are_those_of_its_family():
    families = {"cells": [row("f1", "CD8", 0.01), row("f1", "B", 0.04)], "genes": [row("f1", "PDL1", 0.04)]}

    table = associations(families)

    assert tuple(table.columns) == COLUMNS
    assert table.loc[0, ["x", "y", "n", "missing", "measure", "effect"]].tolist() == [
        "f1",
        "CD8",
        40,
        2,
        "spearman",
        0.3,
    ]
    assert table["family"].tolist() == ["cells", "cells", "genes"]
    close(table["q_value"], [0.02, 0.04, 0.04])  # 2 × 0.01 and 2 × 0.04 / 2 of two; 0.04 of one


def test_what_could_not_be_told_is_no_test():
    untested = Association("f1", "CD4", 3, 39, untold("spearman", "t", "3 patients have both"))

    table = associations({"cells": [row("f1", "CD8", 0.02), untested]})

    assert table["q_value"].tolist()[0] == 0.02
    assert table["q_value"].isna().tolist() == [False, True]
    assert table["flag"].tolist() == ["", "3 patients have both"]


def test_a_table_of_nothing_has_its_columns():
    assert tuple(associations({}).columns) == COLUMNS


def test_a_pair_that_stands_twice_in_a_family_is_refused():
    with pytest.raises(ValueError, match="family cells: f1 and CD8 stand twice"):
        associations({"cells": [row("f1", "CD8", 0.02), row("f1", "CD8", 0.02)]})


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((nan, nan, nan, nan, nan), "the flag does not say why"),
        ((0.3, 0.4, 0.5, 1.0, 0.2), "0.3 lies outside its interval, 0.4 to 0.5"),
        ((0.3, 0.1, 0.2, 1.0, 0.2), "0.3 lies outside its interval, 0.1 to 0.2"),
        ((0.3, 0.1, 0.5, 1.0, 1.2), "a p-value lies between 0 and 1, got 1.2"),
    ],
)
def test_an_effect_that_cannot_be_is_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        Effect("auc", "test", *numbers)


def test_an_infinite_odds_ratio_is_an_effect():
    assert Effect("odds_ratio", "Fisher", inf, 1.5, inf, nan, 0.01).value == inf
