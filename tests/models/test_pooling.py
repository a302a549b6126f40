import numpy as np
import pandas as pd
import pytest

from radnet.models.pooling import VOLUME, pool_lesions, pool_scores


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


@pytest.mark.parametrize("how", ["volume_mean", "volume_top3"])
def test_a_volume_of_zero_or_less_is_no_weight_where_a_patient_has_other_lesions(how):
    standardised = lesions()
    standardised[VOLUME] -= 3.0
    told = f"aggregate={how}: patient P1, lesion a has a volume of -2: give volumes in mm"

    with pytest.raises(ValueError, match=told):
        pool_lesions(standardised, how)
    with pytest.raises(ValueError, match=told):
        pool_scores(pd.Series(0.5, standardised.index), standardised, how, "probability")


def test_an_only_lesion_is_its_patient_whatever_its_volume():
    alone = lesions().loc[["P2"]].assign(**{VOLUME: -1.0})

    assert pool_lesions(alone, "volume_mean")[0].loc["P2", "f"] == 7.0


def test_features_asked_for_under_a_rule_of_scores_are_averaged():
    for one, mean in zip(pool_lesions(lesions(), "noisy_or"), pool_lesions(lesions(), "mean"), strict=True):
        assert one.equals(mean)


RULES = ["mean", "largest", "volume_mean", "volume_top3", "max", "min", "noisy_or"]
P = [0.1, 0.2, 0.3, 0.4, 0.7]


def pooled(score, how, scale="probability", table=None):
    table = lesions() if table is None else table
    return pool_scores(pd.Series(score, table.index, dtype=float), table, how, scale)


@pytest.mark.parametrize(
    ("how", "expected", "weight"),
    [
        ("mean", 0.25, [0.25, 0.25, 0.25, 0.25]),
        ("largest", 0.4, [0, 0, 0, 1]),
        ("volume_mean", (0.1 * 1 + 0.2 * 2 + 0.3 * 3 + 0.4 * 4) / 10, [0.1, 0.2, 0.3, 0.4]),
        ("volume_top3", (0.2 * 2 + 0.3 * 3 + 0.4 * 4) / 9, [0, 2 / 9, 3 / 9, 4 / 9]),
        ("max", 0.4, [0, 0, 0, 1]),
        ("min", 0.1, [1, 0, 0, 0]),
        ("noisy_or", 1 - 0.9 * 0.8 * 0.7 * 0.6, np.log([0.9, 0.8, 0.7, 0.6]) / np.log(0.9 * 0.8 * 0.7 * 0.6)),
    ],
)
def test_scores_by_each_rule_by_hand(how, expected, weight):
    patients, weights = pooled(P, how)

    assert patients.to_dict() == {"P1": pytest.approx(expected), "P2": pytest.approx(0.7)}
    np.testing.assert_allclose(weights.loc["P1"], weight)
    assert weights.loc[("P2", "a")] == 1.0


def test_hazards_of_lesions_that_compete_add():
    patients, weights = pooled(np.log([1.0, 2.0, 3.0, 4.0, 5.0]), "noisy_or", "log_hazard")

    np.testing.assert_allclose(np.exp(patients), [10.0, 5.0])
    np.testing.assert_allclose(weights.loc["P1"], [0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("scale", ["probability", "log_hazard"])
@pytest.mark.parametrize("how", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_lesions_and_of_patients_changes_no_score(seed, how, scale):
    rng = np.random.default_rng(seed)
    table = lesions()
    score = pd.Series(rng.random(5), table.index)
    order = rng.permutation(5)

    patients, weights = pooled(score, how, scale)
    turned = pool_scores(score.iloc[order], table.iloc[order], how, scale)

    pd.testing.assert_series_equal(turned[0].loc[patients.index], patients)
    pd.testing.assert_series_equal(turned[1].loc[weights.index], weights)
    assert list(turned[0].index) == list(dict.fromkeys(table.index[order].get_level_values(0)))


@pytest.mark.parametrize("scale", ["probability", "log_hazard"])
@pytest.mark.parametrize("how", RULES)
def test_weights_of_a_patient_add_up_to_one_and_his_only_lesion_has_his_score(how, scale):
    patients, weights = pooled(P, how, scale)

    np.testing.assert_allclose(weights.groupby(level="patient_id").sum(), 1.0)
    assert patients["P2"] == pytest.approx(0.7, rel=1e-15)


@pytest.mark.parametrize("how", [rule for rule in RULES if rule != "noisy_or"])
def test_lesions_of_equal_score_give_their_patient_that_score(how):
    patients, _ = pooled([0.3, 0.3, 0.3, 0.3, 0.3], how)

    np.testing.assert_allclose(patients, 0.3, rtol=1e-15)


@pytest.mark.parametrize("how", RULES)
def test_a_rise_of_any_lesion_never_lowers_a_patients_score(how):
    before, _ = pooled(P, how)

    for place in range(5):
        raised = np.array(P)
        raised[place] = 0.9
        after, _ = pooled(raised, how)
        assert (after >= before - 1e-15).all()


def test_noisy_or_is_never_below_the_likeliest_lesion_and_is_sure_where_one_is():
    likeliest, _ = pooled(P, "max")
    patients, _ = pooled(P, "noisy_or")
    sure, weights = pooled([0.5, 1.0, 1.0, 0.0, 0.0], "noisy_or")

    assert (patients >= likeliest).all()
    assert sure.to_dict() == {"P1": 1.0, "P2": 0.0}
    assert weights.tolist() == [0.0, 0.5, 0.5, 0.0, 1.0]  # the share of what hides all others; of nothing, alike


def test_of_lesions_that_attain_the_extreme_alike_the_first_has_the_weight():
    _, weights = pooled([0.4, 0.4, 0.1, 0.1, 0.5], "max")

    assert weights.tolist() == [1.0, 0.0, 0.0, 0.0, 1.0]


def test_what_is_no_probability_and_an_unknown_rule_are_told():
    with pytest.raises(ValueError, match="patient P1, lesion b: 1.2 is no probability"):
        pooled([0.1, 1.2, 0.3, 0.4, 0.5], "mean")
    with pytest.raises(ValueError, match="aggregate=biggest is unknown"):
        pooled(P, "biggest")
    with pytest.raises(ValueError, match="aggregate=volume_mean needs the feature original_shape_VoxelVolume"):
        pooled(P, "volume_mean", table=lesions()[["f"]])
