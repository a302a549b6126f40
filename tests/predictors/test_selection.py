"""Which features a fitted pipeline leaves, step by step."""

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from radnet.models.elastic_net import ElasticNetLogistic
from radnet.models.pipeline import Clip
from radnet.predictors.selection import features_left
from radnet.radiomics.select import NearConstant, Uncorrelated

RNG = np.random.default_rng(4)
TELLING, NOISE = RNG.normal(size=(2, 80))
EVENT = (TELLING + 0.5 * RNG.normal(size=80) > 0).astype(int)
TABLE = pd.DataFrame({"same": 3.0, "telling": TELLING, "twin": 2 * TELLING + 1e-3 * NOISE, "noise": NOISE})


def fitted(table=TABLE, **steps):
    return Pipeline(list(steps.items())).fit(table, EVENT)


def test_columns_are_told_after_each_step_that_leaves_some_out():
    steps = fitted(
        constant=NearConstant(),  # drops what never varies
        impute=SimpleImputer(),
        prune=Uncorrelated(0.95),  # of twins keeps the first
        scale=StandardScaler(),
        clip=Clip(5.0),
        lasso=ElasticNetLogistic(alpha=1.0, penalty=0.2),  # noise weighs less than 0.2 of a standard deviation
    )

    left = features_left(steps, list(TABLE.columns))

    assert left == {
        "measured": ["same", "telling", "twin", "noise"],
        "constant": ["telling", "twin", "noise"],
        "prune": ["telling", "noise"],
        "lasso": ["telling"],
    }


def test_a_step_that_left_none_out_is_told_too():
    steps = fitted(TABLE[["telling", "noise"]], constant=NearConstant(), model=LogisticRegression())

    assert features_left(steps, ["telling", "noise"]) == {
        "measured": ["telling", "noise"],
        "constant": ["telling", "noise"],
    }


def test_a_model_that_weighs_nothing_leaves_nothing():
    steps = fitted(TABLE[["telling", "noise"]], lasso=ElasticNetLogistic(alpha=1.0, penalty=10.0))

    assert features_left(steps, ["telling", "noise"])["lasso"] == []


@pytest.mark.parametrize("steps", [{"impute": SimpleImputer()}, {"impute": SimpleImputer(), "scale": StandardScaler()}])
def test_a_pipeline_that_selects_nothing_tells_nothing(steps):
    found = fitted(TABLE[["telling", "noise"]], **steps, model=LogisticRegression())

    assert features_left(found, ["telling", "noise"]) == {}


def test_a_column_that_an_imputer_drops_moves_no_name():
    table = TABLE.assign(same=np.nan)
    with pytest.warns(UserWarning, match="Skipping features without any observed values"):
        steps = fitted(table, impute=SimpleImputer(), prune=Uncorrelated(0.95), model=LogisticRegression())

    assert features_left(steps, list(table.columns))["prune"] == ["telling", "noise"]
