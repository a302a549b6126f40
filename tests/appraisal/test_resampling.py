import numpy as np
import pytest

from cohorts import make_cohort
from radnet.appraisal.resampling import draw_counts, fit_to_sample, nested_shares, with_copies


def test_each_class_keeps_its_size_in_every_sample():
    event = np.arange(40) % 3 == 0

    counts = draw_counts(event, resamples=20, seed=3)

    np.testing.assert_array_equal(counts[:, event].sum(axis=1), event.sum())
    np.testing.assert_array_equal(counts.sum(axis=1), 40)


def test_a_patient_is_left_out_of_a_sample_as_often_as_the_law_says():
    counts = draw_counts(np.arange(50) % 2 == 0, resamples=2000, seed=1)

    # (1 - 1/25)**25 for a class of 25; the standard error of a share of 100000 draws is about 0.0015
    assert (counts == 0).mean() == pytest.approx((1 - 1 / 25) ** 25, abs=0.006)


def test_the_first_samples_are_the_same_however_many_there_are():
    event = np.arange(30) % 2 == 0

    np.testing.assert_array_equal(draw_counts(event, 3, seed=5), draw_counts(event, 9, seed=5)[:3])


def test_a_copy_has_the_outcome_the_lesions_and_the_features_of_the_patient():
    cohort = make_cohort(6, seed=0)

    drawn = with_copies(cohort, [0, 3, 1, 0, 1, 1])

    assert drawn.ids == ["P001", "P002", "P004", "P005", "P001 (copy 2)", "P001 (copy 3)"]
    assert drawn.events("response").tolist() == [False, False, False, False, False, False]
    own, copy = (
        drawn.features.of([name]).rows.drop(columns="patient_id").reset_index(drop=True)
        for name in ("P001", "P001 (copy 3)")
    )
    assert own.equals(copy)
    assert len(drawn.features.rows) == sum(
        len(cohort.features.of([name]).rows) * often for name, often in zip(cohort.ids, [0, 3, 1, 0, 1, 1], strict=True)
    )


class Remembers:
    """A predictor that sets patients aside and keeps whom it was given."""

    def set_aside(self, train):
        return train.select(train.ids[::2]), train.select(train.ids[1::2])

    def fit(self, train, valid=None):
        self.sides = [{name.split(" ")[0] for name in side.ids} for side in (train, valid)]
        self.sizes = [len(train), len(valid)]
        return self


def test_no_copy_of_a_patient_learned_from_decides_when_to_stop():
    cohort = make_cohort(30, seed=0)
    times = draw_counts(cohort.events("response"), 1, seed=0)[0].tolist()

    fitted = fit_to_sample(Remembers(), cohort, times)

    assert not set.intersection(*fitted.sides)
    assert sum(fitted.sizes) == 30


def test_shares_are_nested_and_keep_the_share_of_events():
    cohort = make_cohort(60, seed=0)

    shares = dict(nested_shares(cohort, "response", [1.0, 0.25, 0.5], seed=4, draw=2))

    assert [len(part) for part in shares.values()] == [15, 30, 60]
    assert [int(part.events("response").sum()) for part in shares.values()] == [5, 10, 20]
    assert set(shares[0.25].ids) < set(shares[0.5].ids) < set(shares[1.0].ids)


def test_a_stack_whose_folds_would_part_the_copies_of_a_patient_is_refused():
    class Stack:
        folds = None

    with pytest.raises(ValueError, match="optimism=none for a stack or a tuned model"):
        fit_to_sample(Stack(), make_cohort(4, seed=0), [2, 1, 0, 1])
