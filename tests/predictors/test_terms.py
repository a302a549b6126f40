"""A linear score by hand, from what the model folder says of it."""

import numpy as np
import pandas as pd
import pytest

from cohorts import make_study
from radnet.config import build, load_config
from radnet.models.pipeline import Chosen
from radnet.predictors.selection import linear_terms

STUDY = make_study(72, seed=1)


@pytest.mark.parametrize("experiment", ["wang_score", "wang_clinical", "as_published/wang_score"])
def test_the_terms_of_a_model_give_its_score_up_to_a_constant(experiment):
    model = build(load_config("train", [f"experiment={experiment}"]).model).fit(STUDY)
    terms = pd.DataFrame(linear_terms(model.frozen.steps, model.frozen.columns)).T

    inputs = model.frozen.inputs(STUDY)[terms.index]
    by_hand = ((inputs - terms["mean"]) / terms["sd"] * terms["beta"]).sum(axis=1)

    apart = model.predict(STUDY).patients["score"] - by_hand
    np.testing.assert_allclose(apart, apart.mean(), atol=1e-9)
    assert by_hand.std() > 0


def test_features_chosen_beforehand_are_kept_and_one_that_is_not_there_is_told():
    table = pd.DataFrame({"a": [1.0, np.nan], "b": [2.0, 3.0], "c": [4.0, 5.0]})

    assert Chosen(["c", "a"]).fit(table).get_feature_names_out().tolist() == ["a", "c"]
    with pytest.raises(ValueError, match="1 features chosen beforehand are not there, such as d"):
        Chosen(["a", "d"]).fit(table)
