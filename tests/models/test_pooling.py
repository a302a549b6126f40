import numpy as np
import pandas as pd
import pytest

from radnet.models.pooling import VOLUME, pool_lesions


def lesions():
    """P1 with four lesions of volume 1, 2, 3, 4; P2 with one."""
    index = pd.MultiIndex.from_tuples(
        [("P1", "a"), ("P1", "b"), ("P1", "c"), ("P1", "d"), ("P2", "a")], names=["patient_id", "lesion_id"]
    )
    return pd.DataFrame({VOLUME: [1.0, 2.0, 3.0, 4.0, 5.0], "f": [10.0, 20.0, 30.0, 40.0, 7.0]}, index=index)


@pytest.mark.parametrize(
    ("how", "expected", "weight"),
    [
        ("mean", 25.0, [0.25, 0.25, 0.25, 0.25]),
        ("largest", 40.0, [0, 0, 0, 1]),
        ("volume_mean", (10 * 1 + 20 * 2 + 30 * 3 + 40 * 4) / 10, [0.1, 0.2, 0.3, 0.4]),
        ("volume_top3", (20 * 2 + 30 * 3 + 40 * 4) / 9, [0, 2 / 9, 3 / 9, 4 / 9]),
    ],
)
def test_each_rule_by_hand(how, expected, weight):
    pooled, weights = pool_lesions(lesions(), how)

    assert pooled.loc["P1", "f"] == pytest.approx(expected)
    assert pooled.loc["P2", "f"] == 7.0
    np.testing.assert_allclose(weights.loc["P1"], weight)
    assert weights.loc[("P2", "a")] == 1.0


@pytest.mark.parametrize(("how", "expected"), [("max", 40.0), ("min", 10.0)])
def test_an_extreme_has_no_lesion_weight(how, expected):
    pooled, weights = pool_lesions(lesions(), how)

    assert pooled.loc["P1", "f"] == expected
    assert weights.isna().all()


@pytest.mark.parametrize("how", ["mean", "largest", "volume_mean", "volume_top3", "max", "min"])
def test_the_order_of_lesions_does_not_matter(how):
    pooled, _ = pool_lesions(lesions(), how)
    turned, _ = pool_lesions(lesions().iloc[::-1], how)

    pd.testing.assert_frame_equal(pooled, turned.loc[pooled.index])


def test_a_feature_one_lesion_lacks_is_averaged_over_the_others():
    table = lesions()
    table.loc[("P1", "a"), "f"] = np.nan
    table.loc[("P2", "a"), "f"] = np.nan

    pooled, _ = pool_lesions(table, "mean")

    assert pooled.loc["P1", "f"] == pytest.approx(30.0)
    assert np.isnan(pooled.loc["P2", "f"])


def test_an_unknown_rule_and_missing_volumes_are_told():
    with pytest.raises(ValueError, match="aggregate=biggest is unknown; choose one of mean, largest"):
        pool_lesions(lesions(), "biggest")
    with pytest.raises(ValueError, match="aggregate=largest needs the feature original_shape_VoxelVolume"):
        pool_lesions(lesions()[["f"]], "largest")
