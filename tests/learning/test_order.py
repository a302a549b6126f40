from itertools import permutations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra train")

from radnet.learning.batch import Bags
from radnet.learning.order import EpochBatches, draw_weights, epoch_seeds


def bags(event, centres=()):
    n = len(event)
    return Bags([np.zeros((1, 1))] * n, np.zeros((n, 0)), np.asarray(event, float), np.full(n, np.nan), centres)


def shown(order, epoch=0):
    order.set_epoch(epoch)
    return [[place for place, _ in batch] for batch in order]


@pytest.mark.parametrize("seed", range(3))
def test_without_weights_every_patient_stands_in_one_batch(seed):
    batches = shown(EpochBatches(20, 6, seed))

    assert [len(batch) for batch in batches] == [6, 6, 6, 2]
    assert sorted(place for batch in batches for place in batch) == list(range(20))


@pytest.mark.parametrize(
    ("size", "batch_size", "sizes"), [(13, 6, [6, 6]), (1, 6, [1]), (3, 1, [1, 1, 1]), (7, 3, [3, 3]), (6, 6, [6])]
)
def test_a_last_batch_of_one_patient_is_left_out_unless_all_are_of_one(size, batch_size, sizes):
    order = EpochBatches(size, batch_size, 0)

    assert [len(batch) for batch in shown(order)] == sizes
    assert len(order) == len(sizes)


def test_whoever_loads_a_batch_is_told_the_epoch():
    order = EpochBatches(4, 2, 0)
    order.set_epoch(3)

    assert {epoch for batch in order for _, epoch in batch} == {3}


@pytest.mark.parametrize("weights", [None, np.array([0.25, 0.25, *[0.0625] * 8])], ids=["as they come", "weighted"])
def test_an_epoch_is_made_of_seed_and_epoch_alone(weights):
    first, other = EpochBatches(10, 4, 1, weights), EpochBatches(10, 4, 1, weights)
    seen = [shown(first, epoch) for epoch in (0, 1, 2)]

    assert shown(other, 2) == seen[2]
    assert shown(other, 0) == seen[0]
    assert seen[0] != seen[1] != seen[2]
    assert shown(EpochBatches(10, 4, 2, weights), 0) != seen[0]


def test_patients_are_drawn_one_after_the_other_by_weight_and_stand_in_a_batch_once():
    weights = draw_weights(bags([1, 1, *[0] * 8]), "event")
    order = EpochBatches(10, 3, 7, weights)

    batches = [batch for epoch in range(3000) for batch in shown(order, epoch)]

    assert {len(set(batch)) for batch in batches} == {3}
    count = np.bincount(np.concatenate(batches), minlength=10)
    expected = np.zeros(10)  # of each ordered triple, the product of what is drawn of what is left
    for triple in permutations(range(10), 3):
        left, chance = 1.0, 1.0
        for place in triple:
            chance, left = chance * weights[place] / left, left - weights[place]
        expected[list(triple)] += chance
    error = np.sqrt(expected * (1 - expected) * len(batches))
    assert (np.abs(count - expected * len(batches)) < 4 * error).all()  # 10 of them, 4 standard errors: 1 in 1,500


@pytest.mark.parametrize(
    ("balance", "expected"),
    [
        ("event", [1 / 4, 1 / 8, 1 / 8, 1 / 8, 1 / 8, 1 / 4]),
        ("centre", [1 / 4, 1 / 4, 1 / 8, 1 / 8, 1 / 8, 1 / 8]),
        ("event_and_centre", [1 / 4, 1 / 4, 1 / 12, 1 / 12, 1 / 12, 1 / 4]),
    ],
)
def test_weights_make_each_group_as_likely_as_any_other(balance, expected):
    found = draw_weights(bags([1, 0, 0, 0, 0, 1], ["A", "A", "B", "B", "B", "B"]), balance)

    np.testing.assert_allclose(found, expected)  # one over the number of groups and the patients of the own
    assert found.sum() == pytest.approx(1)


def test_several_endpoints_group_by_their_pattern_and_unknown_is_its_own():
    event = np.array([[1, 0], [1, 0], [0, 0], [1, np.nan]])

    found = draw_weights(Bags([np.zeros((1, 1))] * 4, np.zeros((4, 0)), event, event * np.nan), "event")

    np.testing.assert_allclose(found, [1 / 6, 1 / 6, 1 / 3, 1 / 3])


def test_processes_share_a_batch_evenly_and_the_rest_waits_for_another_epoch():
    whole = shown(EpochBatches(13, 5, 3))

    shares = [shown(EpochBatches(13, 5, 3, None, process, 2)) for process in (0, 1)]

    for batch, first, second in zip(whole, *shares, strict=True):
        even = batch[: len(batch) // 2 * 2]
        assert (first, second) == (even[::2], even[1::2])


def test_a_batch_with_fewer_patients_than_processes_is_left_out():
    assert [len(batch) for batch in shown(EpochBatches(14, 6, 0, None, 2, 3))] == [2, 2]


def test_each_process_draws_its_own_dropout_in_the_same_order():
    one, two = epoch_seeds(3, 4, 0), epoch_seeds(3, 4, 1)

    assert one[0] == two[0]
    assert one[1] != two[1]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: draw_weights(bags([1, 0]), "centre"), "balance=centre needs the centre of each training patient"),
        (lambda: draw_weights(bags([1, 0]), "sex"), "balance=sex is unknown; choose one of none, event, centre"),
        (lambda: EpochBatches(3, 8, 0, None, 0, 4), "3 patients in batches of 8 cannot be shared among 4 processes"),
    ],
)
def test_batches_that_cannot_be_are_refused(made, message):
    with pytest.raises(ValueError, match=message):
        made()
