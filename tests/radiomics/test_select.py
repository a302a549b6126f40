import numpy as np
import pandas as pd

from radnet.radiomics.select import NearConstant, Uncorrelated


def test_features_that_hardly_vary_are_dropped():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "varies": rng.normal(size=50),
            "constant": 5.0,
            "zero": 0.0,
            "noise": 1e9 + rng.normal(size=50) * 1e-3,
            "empty": np.nan,
            "small": rng.normal(size=50) * 1e-12,
        }
    )

    selector = NearConstant(relative=1e-6).fit(table)

    assert list(selector.get_feature_names_out()) == ["varies", "small"]


def test_of_two_correlated_features_the_first_stays():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200))
    table = pd.DataFrame({"a": a, "copy": -a, "b": b, "mixture": a + 0.1 * b, "half": a + b})

    selector = Uncorrelated(limit=0.95).fit(table)

    assert list(selector.get_feature_names_out()) == ["a", "b", "half"]
    kept = np.abs(np.corrcoef(selector.transform(table), rowvar=False))
    assert (kept[np.triu_indices(3, 1)] <= 0.95).all()
