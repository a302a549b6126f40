"""Nested validation: folds around a predictor, and folds within them, see nobody they judge."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cohorts import make_cohort
from radnet.data.split import stratified_folds
from radnet.evaluation.cutoff import youden
from radnet.predictors.base import Prediction, no_lesions
from radnet.predictors.nested import NestedPredictor, fit_name
from radnet.predictors.tabular import TabularPredictor

OUTER = partial(stratified_folds, n_folds=4, repeats=1, seed=5)
INNER = partial(stratified_folds, n_folds=3, repeats=1, seed=6)


@dataclass
class Remembering:
    """Scores a patient by a number drawn from its id; remembers whom it learned from, and whom it judged."""

    fits: list["Remembering"]
    place: tuple[int, ...]
    endpoint: str = "response"
    learned: frozenset[str] = frozenset()
    judged: list[frozenset[str]] = field(default_factory=list)
    history: Sequence[dict[str, float]] = ()

    def check(self, cohort):
        pass

    def fit(self, train, valid=None):
        self.learned = frozenset(train.ids)
        self.fits.append(self)
        return self

    def predict(self, cohort):
        self.judged.append(frozenset(cohort.ids))
        score = [np.random.default_rng(list(one.encode())).normal() for one in cohort.ids]
        index = pd.Index(cohort.ids, name="patient_id")
        return Prediction(pd.DataFrame({"score": score, "probability": np.nan}, index=index), no_lesions())


@pytest.fixture
def cohort():
    return make_cohort(60, seed=3)


def test_no_fit_judges_a_patient_it_or_its_cutoff_learned_from(cohort):
    fits: list[Remembering] = []

    model = NestedPredictor(lambda place, _: Remembering(fits, place), [OUTER, INNER], youden).fit(cohort)

    by_place = {one.place: one for one in fits}
    assert len(fits) == len(by_place) == 4 * (3 + 1) + 1
    assert by_place[()].learned == set(cohort.ids)
    for outer in range(1, 5):
        judged = by_place[(outer,)].judged[0]
        assert by_place[(outer,)].learned == set(cohort.ids) - judged
        inner = [by_place[(outer, number)] for number in (1, 2, 3)]
        assert frozenset.union(*(one.judged[0] for one in inner)) == by_place[(outer,)].learned
        for one in inner:
            assert not judged & (one.learned | one.judged[0])
            assert one.learned | one.judged[0] == by_place[(outer,)].learned
    assert sorted(patient for one in model.out_of_fold for patient in one.fold.test) == sorted(cohort.ids)


def test_the_cutoff_of_a_fold_is_that_of_the_scores_within_it(cohort):
    model = NestedPredictor(lambda place, _: Remembering([], place), [OUTER, INNER], youden).fit(cohort)

    score = Remembering([], ()).predict(cohort).patients["score"]  # a patient's score is the same in every fit
    for one in model.out_of_fold:
        inside = cohort.select(one.fold.train)
        expected = youden(inside.events("response"), score.loc[inside.ids].to_numpy())
        assert one.prediction.cutoff == expected.value
    whole = youden(cohort.events("response"), score.loc[cohort.ids].to_numpy())
    assert model.cutoff == whole
    assert model.predict(cohort).cutoff == whole.value


def test_without_folds_within_a_fold_has_no_cutoff(cohort):
    model = NestedPredictor(lambda place, _: Remembering([], place), [OUTER], youden).fit(cohort)
    assert [one.prediction.cutoff for one in model.out_of_fold] == [None] * 4
    assert model.cutoff is not None


def test_a_fit_that_was_kept_is_not_done_again(cohort, tmp_path: Path):
    kept: dict[str, tuple] = {}

    def once(name, make):
        kept[name] = kept.get(name) or make(None)
        return kept[name]

    def nested(fits):
        return NestedPredictor(lambda place, _: Remembering(fits, place), [OUTER, INNER], youden, once)

    nested([]).judge(cohort)
    again: list[Remembering] = []
    model = nested(again).fit(cohort)

    within = [(outer, inner) for outer in range(1, 5) for inner in (1, 2, 3)]
    assert set(kept) == {fit_name(place) for place in [(1,), (2,), (3,), (4,), *within]}
    assert [one.place for one in again] == [()]
    assert len(model.out_of_fold) == 4


def test_it_is_a_predictor_and_judges_as_scikit_learn_does_by_hand(cohort):
    def make(place, checkpoint):
        from sklearn.linear_model import LogisticRegression

        return TabularPredictor("response", {"model": LogisticRegression(C=1e6, max_iter=1000)}, clinical=["age"])

    model = NestedPredictor(make, [OUTER], youden).fit(cohort)

    age = cohort.clinical(["age"])["age"].astype(float)
    event = pd.Series(cohort.events("response"), index=cohort.ids)
    for one in model.out_of_fold:
        x, y = age.loc[list(one.fold.train)], event.loc[list(one.fold.train)]
        higher = np.corrcoef(x, y)[0, 1] > 0
        order = age.loc[list(one.fold.test)].rank(ascending=bool(higher))
        pd.testing.assert_series_equal(
            one.prediction.patients["score"].loc[order.index].rank(), order, check_names=False
        )
    assert model.frozen.predict(cohort).patients["score"].equals(model.predict(cohort).patients["score"])
