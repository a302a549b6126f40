"""One lesion of a patient carries what foretells the outcome: who finds it?"""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="networks need the extra train")
pytest.importorskip("monai", reason="the network needs the extra train")

from sklearn.metrics import roc_auc_score

from radnet.cohort import FEATURE_KEYS, Cohort, FeatureTable, Lesion, Outcome, Patient
from radnet.config import build, load_config
from radnet.evaluation.discrimination import compare_paired

N, LESIONS, SHIFT = 700, 4, 3.0
NAMES = [f"original_firstorder_F{place}" for place in range(10)]


@pytest.fixture(scope="module")
def cohort():
    """Each patient has four lesions; of one with the event the first feature of one lesion, at random, is shifted."""
    rng = np.random.default_rng(5)
    event, carrier = rng.random(N) < 0.5, rng.integers(0, LESIONS, N)
    values = rng.normal(size=(N, LESIONS, len(NAMES)))
    values[np.arange(N), carrier, 0] += SHIFT * event
    rows, patients = [], []
    for place in range(N):
        lesions = tuple(Lesion(f"{'carrier' if one == carrier[place] else 'L'}{one}") for one in range(LESIONS))
        patients.append(Patient(f"P{place}", "A", outcomes={"response": Outcome(bool(event[place]))}, lesions=lesions))
        for lesion, cells in zip(lesions, values[place], strict=True):
            keys = (f"P{place}", lesion.id, "lesion", "image", "1", "1")
            rows.append(
                dict(zip(FEATURE_KEYS, keys, strict=True)) | {"status": "ok"} | dict(zip(NAMES, cells, strict=True))
            )
    return Cohort(tuple(patients), FeatureTable(pd.DataFrame(rows)))


@pytest.fixture(scope="module")
def judged(cohort):
    """Predictions for the last 350 patients, of models of the first 350: lesions pooled, or their features."""
    learned, others = cohort.select(cohort.ids[: N // 2]), cohort.select(cohort.ids[N // 2 :])

    def predicted(experiment, rule):
        config = load_config("train", [f"experiment={experiment}", f"model.aggregate={rule}", "trainer.patience=12"])
        return build(config.model, seed=3).fit(learned).predict(others)

    of_rules = {rule: predicted("radiomics_attention", rule) for rule in ("attention", "max")}
    return others, {**of_rules, "mean of features": predicted("zhao_mlp", "mean")}


@pytest.mark.parametrize("rule", ["attention", "max"])
def test_a_rule_that_can_choose_beats_the_mean_of_features_where_one_lesion_carries_the_outcome(rule, judged):
    others, predictions = judged
    event = others.events("response")

    scores = [predictions[one].patients["score"].to_numpy() for one in (rule, "mean of features")]
    found = compare_paired(event, *scores, level=0.95)

    assert found.lower > 0


def test_the_weight_of_attention_tells_the_lesion_that_carries_the_outcome(judged):
    others, predictions = judged
    with_event = [one.id for one in others.patients if one.outcomes["response"].event]
    weight = predictions["attention"].lesions["weight"].loc[with_event]

    is_carrier = weight.index.get_level_values("lesion_id").str.startswith("carrier")

    # a reader of the shifted feature alone reaches Φ(3 / √2) = 0.983
    assert roc_auc_score(is_carrier, weight) > 0.8
