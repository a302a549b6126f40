import tracemalloc

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from radnet.evaluation.bootstrap import bootstrap_interval, drawn_weights, mean_within_folds, on_rows
from radnet.evaluation.discrimination import (
    auc_bootstrap,
    auc_within_folds,
    average_precision_bootstrap,
    weighted_average_precision,
)


def mean_of(values):
    return lambda weight: weight @ values / weight.sum(axis=1)


def share_of_pairs(event, score):
    return (score[event][:, None] > score[~event]).mean()


@pytest.mark.parametrize(
    ("level", "expected"), [(0.8, (0.0, 1.0)), (0.4, (0.5, 0.5))], ids=["beyond both tails", "within the middle"]
)
def test_percentiles_of_two_patients_are_those_of_the_four_resamples(level, expected):
    # the mean of values 0 and 1 is 0 in one resample of four, 1 in one, and 0.5 in two
    interval = bootstrap_interval(mean_of(np.array([0.0, 1.0])), [0, 0], resamples=4000, seed=1, level=level)

    assert interval == expected


def test_interval_of_a_mean_is_the_normal_one_of_the_central_limit():
    values = np.random.default_rng(0).normal(size=400)

    ours = bootstrap_interval(mean_of(values), np.zeros(400), resamples=20_000, seed=1, level=0.9)

    reach = norm.ppf(0.95) * values.std() / np.sqrt(400)
    # 20,000 draws put a 5 % quantile within about 0.02 standard errors, each 0.05
    np.testing.assert_allclose(ours, [values.mean() - reach, values.mean() + reach], atol=0.005)


def test_interval_of_clusters_that_repeat_one_value_is_that_of_one_row_each():
    rng = np.random.default_rng(0)
    values, sizes = rng.normal(size=30), np.full(30, 4)
    settings = {"resamples": 3000, "seed": 2, "level": 0.95}
    stratum = np.arange(30) < 12

    once = bootstrap_interval(mean_of(values), stratum, **settings)
    rows = rng.permutation(np.repeat(np.arange(30), sizes))
    clustered = bootstrap_interval(mean_of(values[rows]), stratum[rows], cluster=rows, **settings)
    as_if_patients = bootstrap_interval(mean_of(values[rows]), stratum[rows], **settings)

    np.testing.assert_allclose(clustered, once)
    # four lesions of a patient that say the same would halve the width, were they drawn one by one
    assert np.diff(as_if_patients) == pytest.approx(np.diff(once) / 2, rel=0.1)


def test_clusters_of_unequal_size_are_drawn_whole():
    # The definition written slowly: draw patients within strata, and take all lesions of each.
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(25), rng.integers(1, 6, size=25))
    values = rng.normal(size=patient.size) + rng.normal(size=25)[patient]
    stratum = (patient % 3 == 0).astype(int)
    strata = [np.unique(patient[stratum == name]) for name in (0, 1)]
    means = []
    for _ in range(4000):
        drawn = np.concatenate([rng.choice(members, members.size) for members in strata])
        means.append(np.concatenate([values[patient == who] for who in drawn]).mean())

    ours = bootstrap_interval(mean_of(values), stratum, cluster=patient, resamples=20_000, seed=3, level=0.9)

    # 4,000 draws put the 5 % quantile within three standard errors, about 0.1 of the spread of the means
    np.testing.assert_allclose(ours, np.quantile(means, [0.05, 0.95]), atol=0.1 * np.std(means))


def test_every_resample_keeps_the_clusters_of_each_stratum():
    patient = np.array([0, 0, 0, 1, 2, 2, 3, 4])
    stratum = np.array([1, 1, 1, 0, 0, 0, 1, 0])

    weight = np.concatenate(list(drawn_weights(stratum, resamples=500, seed=0, cluster=patient)))

    assert (weight[:, 0] == weight[:, 1]).all()
    assert (weight[:, 4] == weight[:, 5]).all()
    first = [0, 3, 4, 6, 7]
    for name, clusters in ((1, 2), (0, 3)):
        assert (weight[:, [row for row in first if stratum[row] == name]].sum(axis=1) == clusters).all()
    assert set(np.unique(weight[:, 3])) == {0, 1, 2, 3}


def test_clusters_across_strata_are_refused():
    with pytest.raises(ValueError, match="rows of a cluster must share one stratum"):
        bootstrap_interval(mean_of(np.arange(3.0)), [0, 1, 0], cluster=[1, 1, 2], resamples=5, seed=1, level=0.9)


def test_draws_do_not_depend_on_how_many_rows_they_are_spread_over():
    few = np.concatenate(list(drawn_weights([0, 0, 1, 1], resamples=7, seed=4)))

    rows = np.repeat(np.arange(4), 100_000)  # which come in blocks of two resamples
    many = np.concatenate(list(drawn_weights(rows // 2, resamples=7, seed=4, cluster=rows)))

    np.testing.assert_array_equal(many[:, ::100_000], few)


def test_memory_stays_bounded_whatever_the_resamples():
    score = np.random.default_rng(0).normal(size=2000)

    tracemalloc.start()
    auc_bootstrap(np.arange(2000) < 600, score, resamples=5000, seed=1, level=0.95)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 5000 * score.nbytes  # the weights alone of all resamples at once


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(auc_bootstrap, roc_auc_score), (average_precision_bootstrap, average_precision_score)],
    ids=["auc", "average precision"],
)
@pytest.mark.parametrize("decimals", [0, 6], ids=["many ties", "no ties"])
def test_any_function_of_rows_has_the_interval_of_its_weighted_form(ours, theirs, decimals):
    rng = np.random.default_rng(5)
    event, score = rng.permutation(np.arange(50) < 20), rng.normal(size=50).round(decimals)
    settings = {"resamples": 300, "seed": 6, "level": 0.95}

    slow = bootstrap_interval(on_rows(lambda rows: theirs(event[rows], score[rows])), event, **settings)

    fast = ours(event, score, **settings)
    np.testing.assert_allclose([fast.lower, fast.upper], slow, rtol=1e-12)
    assert fast.value == pytest.approx(theirs(event, score))


def test_resamples_without_a_value_are_left_out():
    def mean_or_nothing(rows):
        if (rows == 0).all():
            raise ValueError("no value")
        return float(rows.mean())

    kept = bootstrap_interval(on_rows(mean_or_nothing), [0, 0], resamples=400, seed=1, level=0.999)

    assert kept == (0.5, 1.0)


def test_no_resamples_give_no_interval():
    assert np.isnan(bootstrap_interval(mean_of(np.arange(3.0)), [0, 0, 0], resamples=0, seed=1, level=0.95)).all()
    assert auc_bootstrap([0, 1], [1, 2], resamples=0, seed=1, level=0.95).value == 1


@pytest.mark.parametrize("decimals", [0, 6], ids=["many ties", "no ties"])
@pytest.mark.parametrize("seed", range(3))
def test_weighted_average_precision_equals_scikit_learn(seed, decimals):
    rng = np.random.default_rng(seed)
    event, score = rng.permutation(np.arange(40) < 12), rng.normal(size=40).round(decimals)
    weight = rng.integers(0, 4, size=(20, 40)).astype(float)

    ours = weighted_average_precision(event, score)(weight)

    theirs = [average_precision_score(event, score, sample_weight=drawn) for drawn in weight]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_average_precision_of_a_resample_without_an_event_does_not_exist():
    statistic = weighted_average_precision(np.array([True, False]), np.array([1.0, 2.0]))

    np.testing.assert_array_equal(statistic(np.array([[0.0, 2.0], [1.0, 1.0]])), [np.nan, 0.5])


@pytest.mark.parametrize("folds", [1, 2], ids=["one fold", "two folds"])
def test_lesions_within_folds_are_drawn_with_their_patient(folds):
    # The definition written slowly, with lesions of a patient that need not share an outcome.
    rng = np.random.default_rng(2)
    patient = np.repeat(np.arange(30), rng.integers(1, 5, size=30))
    event = rng.random(patient.size) < np.where(patient % 2, 0.6, 0.0)
    score = event + rng.normal(size=patient.size) + 1.5 * rng.normal(size=30)[patient]
    fold = patient // 2 % folds
    any_event = np.array([event[patient == who].any() for who in range(30)])
    of_fold = np.array([fold[patient == who][0] for who in range(30)])
    strata = [np.flatnonzero((any_event == e) & (of_fold == f)) for e in (0, 1) for f in range(folds)]
    means = []
    for _ in range(1500):
        drawn = np.concatenate([rng.choice(members, members.size) for members in strata])
        rows = np.concatenate([np.flatnonzero(patient == who) for who in drawn])
        parts = [rows[fold[rows] == f] for f in range(folds)]
        means.append(np.mean([share_of_pairs(event[part], score[part]) for part in parts]))

    ours = auc_within_folds(event, score, fold, patient, resamples=10_000, seed=1, level=0.9)

    # 1,500 draws put the 5 % quantile within about 0.02 (three standard errors)
    np.testing.assert_allclose([ours.lower, ours.upper], np.quantile(means, [0.05, 0.95]), atol=0.02)
    assert ours.value == pytest.approx(
        np.mean([roc_auc_score(event[fold == f], score[fold == f]) for f in range(folds)])
    )


def test_a_fold_without_its_need_is_left_out_and_named():
    values = np.arange(6.0)
    fold = ["a", "a", "b", "b", "c", "c"]

    mean = mean_within_folds(
        lambda rows: None if rows[0] == 2 else mean_of(values[rows]),
        "a value",
        np.zeros(6),
        fold,
        range(6),
        resamples=50,
        seed=1,
        level=0.9,
    )

    assert mean.value == (0.5 + 4.5) / 2
    assert (mean.used, mean.skipped) == (("a", "c"), ("b",))
