"""Tiles of slides, patient by patient: quantiles of NumPy and by hand, names, and what is refused."""

import doctest

import numpy as np
import pandas as pd
import pytest

from radnet.association import tiles
from radnet.association.tiles import QUANTILES, aggregate_tiles


def slides(seed, features=3, patients=6, by="patient_id"):
    """Tiles of patients in mixed order, one to forty of each."""
    rng = np.random.default_rng(seed)
    owner = np.repeat([f"P{one}" for one in range(patients)], rng.integers(1, 40, patients))
    table = pd.DataFrame(rng.normal(size=(len(owner), features)), columns=[f"F{one}" for one in range(features)])
    return table.assign(**{by: owner}).sample(frac=1, random_state=seed)


@pytest.mark.parametrize("seed", range(3))
def test_each_number_is_that_of_numpy_over_the_tiles_of_a_patient(seed):
    table = slides(seed)

    found = aggregate_tiles(table)

    for patient, own in table.groupby("patient_id"):
        for name in ("F0", "F1", "F2"):
            expected = np.quantile(own[name], [0, 0.25, 0.5, 0.75, 1], method="linear")
            ours = found.loc[patient, [f"{name}__{end}" for end in ("min", "q25", "median", "q75", "max")]]
            np.testing.assert_allclose(ours.astype(float), expected, rtol=1e-12)  # interpolated in another order


def test_quantiles_are_those_of_type_7_by_hand():
    table = pd.DataFrame({"patient_id": ["a"] * 4 + ["b"], "area": [10.0, 40.0, 20.0, 30.0, 7.0]})

    found = aggregate_tiles(table)

    assert found.loc["a"].tolist() == [10.0, 17.5, 25.0, 32.5, 40.0]
    assert found.loc["b"].tolist() == [7.0] * 5


def test_85_features_make_425_columns_named_after_them():
    found = aggregate_tiles(slides(1, features=85))

    assert found.shape == (6, 425)
    assert list(found.columns[:6]) == ["F0__min", "F0__q25", "F0__median", "F0__q75", "F0__max", "F1__min"]
    assert set(found.columns) == {f"F{one}__{end}" for one in range(85) for end in QUANTILES}


def test_patients_stand_in_the_order_of_the_table_and_under_their_columns_name():
    table = slides(2, by="case")

    found = aggregate_tiles(table, by="case")

    assert found.index.name == "case"
    assert list(found.index) == list(dict.fromkeys(table["case"]))


def test_a_missing_value_leaves_out_the_tile_for_that_feature_alone():
    table = pd.DataFrame(
        {"patient_id": ["a", "a", "a", "b"], "area": [1.0, np.nan, 3.0, np.nan], "length": [1.0, 2.0, 3.0, 4.0]}
    )

    found = aggregate_tiles(table)

    assert found.loc["a", ["area__min", "area__median", "area__max"]].tolist() == [1.0, 2.0, 3.0]
    assert found.loc["a", "length__median"] == 2.0
    assert found.loc["b", ["area__min", "area__q25", "area__median", "area__q75", "area__max"]].isna().all()
    assert found.loc["b", "length__max"] == 4.0


def test_the_order_of_tiles_changes_nothing():
    table = slides(3)

    again = aggregate_tiles(table.iloc[::-1])

    pd.testing.assert_frame_equal(again.sort_index(), aggregate_tiles(table).sort_index())


@pytest.mark.parametrize(
    ("table", "messages"),
    [
        ({"area": [1.0]}, ["column patient_id is missing"]),
        ({"patient_id": ["a"]}, ["no column of a feature beside patient_id"]),
        (
            {"patient_id": ["a", None, ""], "area": [1.0, 2.0, np.inf], "tile": ["x", "y", "z"]},
            [
                "2 of 3 tiles name no patient in column patient_id",
                "column area is infinite in tiles of",
                "column tile holds no numbers",
            ],
        ),
    ],
    ids=["no patient", "no feature", "several faults"],
)
def test_every_fault_of_a_table_of_tiles_is_told(table, messages):
    with pytest.raises(ValueError) as fault:
        aggregate_tiles(pd.DataFrame(table))

    for message in messages:
        assert message in str(fault.value)


def test_a_feature_that_stands_twice_is_refused():
    table = pd.DataFrame([["a", 1.0, 2.0]], columns=["patient_id", "area", "area"])

    with pytest.raises(ValueError, match="column area stands twice"):
        aggregate_tiles(table)


def test_the_example_runs():
    assert doctest.testmod(tiles).failed == 0
