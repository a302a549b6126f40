import numpy as np
import pytest

from cohorts import make_cohort
from radnet.cohort import Cohort, Outcome, Patient
from radnet.data.split import (
    Fold,
    bootstrap_folds,
    by_centre,
    by_centre_share,
    by_column,
    leave_one_centre_out,
    shared_centre_fraction,
    stratified_folds,
)


def zhao_cohort():
    """240 patients of the three centres of Zhao 2023, 35 % with the event."""
    rng = np.random.default_rng(5)
    counts = {"SYSMH": 107, "SYSUCC": 128, "FAHSYSU": 5}
    return Cohort(
        tuple(
            Patient(f"{centre}-{place}", centre, outcomes={"response": Outcome(bool(rng.random() < 0.35))})
            for centre, count in counts.items()
            for place in range(count)
        )
    )


@pytest.mark.parametrize("seed", range(5))
def test_zhao_rule_gives_171_and_69_patients_of_which_928_per_mille_share_a_centre(seed):
    cohort = zhao_cohort()

    held_out = by_centre_share(
        cohort, "response", train={"SYSMH": 1.0, "SYSUCC": 0.5}, held_out={"SYSUCC": 0.5, "FAHSYSU": 1.0}, seed=seed
    )

    judged, learned = cohort.select(held_out), cohort.where(lambda patient: patient.id not in held_out)
    assert (len(learned), len(judged)) == (171, 69)
    assert not set(learned.ids) & set(judged.ids)
    assert shared_centre_fraction(learned, judged) == pytest.approx(64 / 69)
    half = [sum(part.events("response")[np.array(part.centres) == "SYSUCC"]) for part in (learned, judged)]
    assert abs(half[0] - half[1]) <= 1  # stratified: the two halves of the split centre have like event counts


def test_centre_shares_that_do_not_add_up_are_all_named():
    with pytest.raises(
        ValueError, match=r"centre A: .* add up to 0.5, expected 1; centre B: .* add up to 0; .*|centre"
    ):
        by_centre_share(make_cohort(6, seed=0), "response", train={"A": 0.5}, held_out={}, seed=0)


def test_an_unknown_centre_of_the_split_is_named():
    with pytest.raises(ValueError, match="centre Z of the split is not in the cohort"):
        by_centre_share(make_cohort(6, seed=0), "response", train={"A": 1, "B": 1, "Z": 1}, held_out={}, seed=0)


def test_the_split_column_decides_and_its_absence_is_told():
    assert by_column(make_cohort(9, seed=0, held_out=2), "response") == ["P007", "P008"]
    bare = Cohort((Patient("P1", "A"),))
    with pytest.raises(ValueError, match="has no split column.*split=kfold"):
        by_column(bare, "response")


@pytest.mark.parametrize("repeats", [1, 3])
def test_folds_judge_every_patient_once_per_repeat_with_like_event_share(repeats):
    cohort = make_cohort(61, seed=2)

    folds = stratified_folds(cohort, "response", n_folds=5, repeats=repeats, seed=3)

    for repeat in {fold.repeat for fold in folds}:
        tests = [patient for fold in folds if fold.repeat == repeat for patient in fold.test]
        assert sorted(tests) == sorted(cohort.ids)
    for fold in folds:
        assert set(fold.train) | set(fold.test) == set(cohort.ids)
        share = cohort.select(fold.test).events("response").mean()
        assert abs(share - cohort.events("response").mean()) < 0.1


def test_folds_follow_the_seed():
    cohort = make_cohort(30, seed=2)

    def draw(seed):
        return stratified_folds(cohort, "response", n_folds=3, seed=seed)

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_more_folds_than_events_are_refused():
    with pytest.raises(ValueError, match="5 folds need 5 patients with .* has 4 with and 8 without"):
        stratified_folds(make_cohort(12, seed=0), "response", n_folds=5, seed=0)


def test_a_fold_with_a_patient_on_both_sides_cannot_be_built():
    with pytest.raises(ValueError, match="patients on both sides: P1"):
        Fold("1", "", ("P1", "P2"), ("P1",))


def test_whole_centres_are_held_out_and_none_is_shared():
    cohort = make_cohort(12, seed=0)

    held_out = by_centre(cohort, "response", centres=["B"])

    learned = cohort.where(lambda patient: patient.id not in held_out)
    assert shared_centre_fraction(learned, cohort.select(held_out)) == 0


@pytest.mark.parametrize(
    ("centres", "message"), [(["Z"], "no centre Z; it has A, B"), ([], "not none"), (["A", "B"], "not all")]
)
def test_centres_that_cannot_be_held_out_are_told(centres, message):
    with pytest.raises(ValueError, match=message):
        by_centre(make_cohort(12, seed=0), "response", centres=centres)


def test_each_centre_is_judged_by_a_model_of_the_others():
    cohort = zhao_cohort()

    folds = leave_one_centre_out(cohort, "response")

    assert [fold.name for fold in folds] == ["FAHSYSU", "SYSMH", "SYSUCC"]
    assert [len(fold.test) for fold in folds] == [5, 107, 128]
    for fold in folds:
        assert not set(cohort.select(fold.train).centres) & set(cohort.select(fold.test).centres)


def test_one_centre_cannot_be_left_out():
    cohort = make_cohort(12, seed=0).where(lambda patient: patient.centre == "A")

    with pytest.raises(ValueError, match="needs two centres or more, the cohort has A"):
        leave_one_centre_out(cohort, "response")


def test_a_bootstrap_leaves_out_the_share_that_chance_does():
    cohort = make_cohort(150, seed=0)

    folds = bootstrap_folds(cohort, "response", n_folds=100, seed=1)

    out = np.array([len(fold.test) / 150 for fold in folds])
    expected = ((1 - 1 / 50) ** 50 * 50 + (1 - 1 / 100) ** 100 * 100) / 150  # drawn within each class of 50 and 100
    assert abs(out.mean() - expected) < 3 * out.std() / np.sqrt(len(out))
    assert all(set(fold.train) | set(fold.test) == set(cohort.ids) for fold in folds)
    assert len({fold.train for fold in folds}) == 100
