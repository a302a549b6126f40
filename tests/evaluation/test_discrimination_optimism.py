import numpy as np
import pytest
from lifelines.utils import concordance_index
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from radnet.evaluation.discrimination_optimism import Optimism, discrimination_optimism
from radnet.evaluation.outcomes import Outcomes


def binary(event):
    return Outcomes(np.asarray(event, dtype=bool), np.full(len(event), np.nan))


def logistic(columns, event, rows):
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12).fit(columns[rows], event[rows])
    return logit(model.predict_proba(columns)[:, 1])


def refitted(columns, event, rows):
    own = logistic(columns, event, np.arange(event.size))
    return own, np.array([logistic(columns, event, drawn) for drawn in rows])


def counts(rows, n):
    return np.array([np.bincount(drawn, minlength=n) for drawn in rows])


@pytest.mark.parametrize("case", [("03_calibration.json", "bootstrap_asah")], ids=["asah"], indirect=True)
def test_the_auc_corrected_by_the_bootstrap_equals_rms_validate(case):
    data, theirs = case["inputs"]["data"], case["outputs"]["validate"]
    columns = np.column_stack([data[name] for name in ("s100b", "age", "wfns")]).astype(float)
    event, rows = np.array(data["poor"]), np.array(case["inputs"]["resample_indices_1based"]) - 1
    dxy = dict(zip(theirs["rownames"], theirs["rows"], strict=True))["Dxy"]

    ours = discrimination_optimism(binary(event), *refitted(columns, event, rows), counts(rows, event.size))

    values = [ours.apparent, ours.training.mean(), ours.everyone.mean(), ours.harrell]
    # rms 6.5 bins probabilities before it ranks them
    np.testing.assert_allclose([2 * one - 1 for one in values], [dxy[0], dxy[1], dxy[2], dxy[4]], rtol=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_the_632plus_rule_agrees_with_its_definition_patient_by_patient(seed):
    rng = np.random.default_rng(seed)
    n, resamples = 120, 30
    columns = rng.normal(size=(n, 5))
    event = rng.random(n) < 1 / (1 + np.exp(-seed * columns[:, 0] / 2))
    rows = rng.integers(n, size=(resamples, n))
    own, scores = refitted(columns, event, rows)
    outside = []
    for drawn, score in zip(rows, scores, strict=True):
        left_out = np.setdiff1d(np.arange(n), drawn)
        outside.append(roc_auc_score(event[left_out], score[left_out]))
    apparent, outside = roc_auc_score(event, own), max(np.mean(outside), 0.5)
    overfitting = (apparent - outside) / (apparent - 0.5) if apparent > outside else 0.0
    weight = 0.632 / (1 - 0.368 * overfitting)

    ours = discrimination_optimism(binary(event), own, scores, counts(rows, n))

    assert ours.rule_632plus == pytest.approx((1 - weight) * apparent + weight * outside, abs=1e-12)
    assert ours.relative_overfitting == pytest.approx(overfitting, abs=1e-12)


def made(apparent, training, everyone, out_of_bag):
    return Optimism(apparent, *(np.asarray(one, dtype=float) for one in (training, everyone, out_of_bag)))


def test_a_model_that_learns_its_patients_by_heart_and_nothing_else_is_worth_a_coin():
    assert made(1.0, [1, 1], [0.8, 0.8], [0.5, 0.4]).rule_632plus == 0.5


def test_without_overfitting_the_632plus_rule_is_the_632_rule():
    assert made(0.7, [0.7], [0.7], [0.72]).rule_632plus == pytest.approx(0.368 * 0.7 + 0.632 * 0.72)


def test_a_sample_that_leaves_out_one_class_only_does_not_count_out_of_bag():
    assert made(0.9, [1, 1], [0.8, 0.8], [np.nan, 0.7]).relative_overfitting == pytest.approx(0.5)


def test_the_interval_is_the_apparent_ones_moved_by_the_optimism():
    training = np.linspace(0.8, 0.9, 201)
    found = made(0.85, training, training - 0.05, training - 0.1)

    lower, upper = found.interval(found.harrell, 0.95)

    assert (lower, upper) == pytest.approx((0.8 + 0.0025 - 0.05, 0.9 - 0.0025 - 0.05))


@pytest.mark.parametrize(
    ("training", "why"),
    [(np.linspace(0.8, 0.9, 199), "too few resamples"), (np.ones(300), "the patients are separated")],
)
def test_there_is_no_interval_where_it_would_mislead(training, why):
    found = made(0.9, training, training - 0.05, training - 0.1)

    assert np.isnan(found.interval(0.8, 0.95)).all(), why


def test_a_sample_of_one_class_is_refused():
    with pytest.raises(ValueError, match="a bootstrap sample needs patients with and without the event to learn from"):
        discrimination_optimism(binary([0, 0, 1]), [1, 2, 3], [[1, 2, 3]], [[2, 1, 0]])


def test_scores_and_draws_of_other_patients_are_refused():
    with pytest.raises(ValueError, match="of 3 patients differ in shape"):
        discrimination_optimism(binary([0, 0, 1]), [1, 2, 3], [[1, 2]], [[2, 1]])


def test_a_c_index_is_corrected_as_a_loop_over_rows_with_lifelines_concordance_says():
    rng = np.random.default_rng(4)
    n, resamples = 70, 8
    score = rng.normal(size=n)
    time, event = np.ceil(rng.exponential(20 * np.exp(-score / 2))), rng.random(n) < 0.6
    rows, scores = rng.integers(n, size=(resamples, n)), score + rng.normal(size=(resamples, n))

    def c_index(who, of):
        return concordance_index(time[who], -of[who], event[who])

    whole = np.arange(n)
    left_out = [np.setdiff1d(whole, drawn) for drawn in rows]
    values = [[c_index(drawn, one), c_index(whole, one)] for drawn, one in zip(rows, scores, strict=True)]
    training, everyone = np.transpose(values)

    ours = discrimination_optimism(Outcomes(event, time), score, scores, counts(rows, n))

    np.testing.assert_allclose(ours.training, training, atol=1e-12)
    outside = [c_index(who, one) for who, one in zip(left_out, scores, strict=True)]
    np.testing.assert_allclose(ours.out_of_bag, outside, atol=1e-12)
    assert ours.harrell == pytest.approx(c_index(whole, score) - np.mean(training - everyone), abs=1e-12)


def test_a_sample_in_which_the_order_of_nobody_is_known_is_refused():
    outcomes = Outcomes(np.array([True, False, False]), np.array([5.0, 9.0, 2.0]))

    with pytest.raises(ValueError, match="needs a pair of patients whose order is known to learn from"):
        discrimination_optimism(outcomes, [3, 2, 1], [[3, 2, 1]], [[2, 0, 1]])
