"""Nested validation: folds around a predictor, and folds within them, see nobody they judge."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from scipy.stats import f_oneway

from cohorts import make_cohort, make_study
from radnet.cohort import Cohort, Endpoint, Outcome
from radnet.data.split import bootstrap_folds, stratified_folds
from radnet.evaluation.cutoff import youden
from radnet.evaluation.cutoff_rules import by_median
from radnet.predictors.base import Prediction, no_lesions
from radnet.predictors.nested import NestedPredictor, fit_name
from radnet.predictors.reading import Reading
from radnet.predictors.tabular import TabularPredictor
from radnet.run_folder import RunFolder

OUTER = partial(stratified_folds, n_folds=4, repeats=1, seed=5)
INNER = partial(stratified_folds, n_folds=3, repeats=1, seed=6)
READINGS = [Reading(Endpoint("response", "response"), youden)]


@dataclass
class Remembering:
    """Scores a patient by a number drawn from its id; remembers whom it learned from, and whom it judged."""

    fits: list["Remembering"]
    place: tuple[int, ...]
    endpoint: str = "response"
    learned: frozenset[str] = frozenset()
    judged: list[frozenset[str]] = field(default_factory=list)
    history: Sequence[dict[str, float]] = ()

    @property
    def frozen(self):
        return self

    def selection(self):
        return {}

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

    model = NestedPredictor(lambda place, _: Remembering(fits, place), [OUTER, INNER], READINGS).fit(cohort)

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
    model = NestedPredictor(lambda place, _: Remembering([], place), [OUTER, INNER], READINGS).fit(cohort)

    score = Remembering([], ()).predict(cohort).patients["score"]  # a patient's score is the same in every fit
    for one in model.out_of_fold:
        inside = cohort.select(one.fold.train)
        expected = youden(inside.events("response"), score.loc[inside.ids].to_numpy())
        assert one.prediction.cutoff == expected.value
    whole = youden(cohort.events("response"), score.loc[cohort.ids].to_numpy())
    assert model.cutoff == whole
    assert model.predict(cohort).cutoff == whole.value


def test_without_folds_within_a_fold_has_no_cutoff(cohort):
    model = NestedPredictor(lambda place, _: Remembering([], place), [OUTER], READINGS).fit(cohort)
    assert [one.prediction.cutoff for one in model.out_of_fold] == [None] * 4
    assert model.cutoff is not None


PFS = Reading(Endpoint("pfs", "pfs_event", "pfs_months", "months", horizon=12), by_median, "negate", [6, 12])


def test_each_reading_of_a_fold_is_learned_from_the_scores_within_it():
    study = make_study(60, seed=3)

    model = NestedPredictor(
        lambda place, _: Remembering([], place), [OUTER, INNER], [Reading(READINGS[0].endpoint, by_median), PFS]
    ).fit(study)

    score = Remembering([], ()).predict(study).patients["score"]
    for one in model.out_of_fold:
        of_pfs = one.prediction.also["pfs"]
        inside = score.loc[list(one.fold.train)]
        assert one.prediction.cutoff == pytest.approx(np.median(inside))
        assert of_pfs.cutoff == pytest.approx(np.median(-inside))
        assert (of_pfs.patients["score"] == -score.loc[of_pfs.patients.index]).all()
        assert list(one.prediction.patients.columns) == ["score", "probability"]
        assert list(of_pfs.patients.columns) == ["score", "probability", "probability_6", "probability_12"]
        assert (of_pfs.patients["probability_12"] == of_pfs.patients["probability"]).all()
        assert (of_pfs.patients["probability_6"] <= of_pfs.patients["probability_12"]).all()
    assert [one.cutoff.value for one in model.fitted] == pytest.approx([np.median(score), np.median(-score)])
    assert list(model.predict(study).also) == ["pfs"]


def test_outcomes_of_a_fold_change_neither_its_scores_nor_its_readings():
    study = make_study(60, seed=3)
    readings = [*READINGS, PFS]

    def judged(cohort, folds):
        def make(place, checkpoint):
            from sklearn.linear_model import LogisticRegression

            return TabularPredictor("response", {"model": LogisticRegression(max_iter=1000)}, clinical=["age", "cps"])

        return NestedPredictor(make, [folds, INNER], readings).judge(cohort).out_of_fold[0].prediction

    folds = OUTER(study, "response")
    test = set(folds[0].test)
    turned = [
        replace(
            one,
            outcomes={
                name: replace(outcome, event=not outcome.event) if name == "response" else Outcome(True, 0.1)
                for name, outcome in one.outcomes.items()
            },
        )
        if one.id in test
        else one
        for one in study.patients
    ]
    plain = judged(study, lambda cohort, endpoint: folds)
    changed = judged(Cohort(tuple(turned), study.features), lambda cohort, endpoint: folds)

    for found, expected in ((changed, plain), (changed.also["pfs"], plain.also["pfs"])):
        pd.testing.assert_frame_equal(found.patients, expected.patients, check_exact=True)
        assert found.cutoff == expected.cutoff


@dataclass
class Overfitted(Remembering):
    """Scores whom it learned from ten higher than others."""

    def predict(self, cohort):
        found = super().predict(cohort)
        return replace(
            found, patients=found.patients.assign(score=lambda t: t["score"] + 10.0 * t.index.isin(self.learned))
        )


def test_read_on_apparent_takes_the_scores_of_the_patients_learned_from(cohort):
    def nested(read_on, folds):
        readings = [Reading(READINGS[0].endpoint, by_median)]
        return NestedPredictor(lambda place, _: Overfitted([], place), folds, readings, read_on=read_on).fit(cohort)

    score = Remembering([], ()).predict(cohort).patients["score"]
    honest, apparent = nested("out_of_fold", [OUTER, INNER]), nested("apparent", [OUTER])

    assert honest.cutoff.value == pytest.approx(score.median())
    assert apparent.cutoff.value == pytest.approx(score.median() + 10)
    for one in apparent.out_of_fold:  # without folds within
        assert one.prediction.cutoff == pytest.approx(score.loc[list(one.fold.train)].median() + 10)
    for one in honest.out_of_fold:
        assert one.prediction.cutoff == pytest.approx(score.loc[list(one.fold.train)].median())


def test_scores_to_read_on_are_of_a_known_kind():
    with pytest.raises(ValueError, match="read_on must be out_of_fold or apparent, got 'aparent'"):
        NestedPredictor(lambda place, _: Remembering([], place), [], READINGS, read_on="aparent")


@dataclass
class Placed(Remembering):
    """Adds to every score the number of the fold it stands in."""

    def predict(self, cohort):
        found = super().predict(cohort)
        return replace(found, patients=found.patients + {"score": float(sum(self.place)), "probability": 0.0})


@pytest.mark.parametrize(
    "folds",
    [partial(stratified_folds, n_folds=3, repeats=2, seed=5), partial(bootstrap_folds, n_folds=6, seed=5)],
    ids=["repeated", "bootstrap"],
)
def test_a_patient_judged_several_times_counts_once_with_the_mean_of_his_scores(folds, cohort):
    readings = [Reading(READINGS[0].endpoint, by_median)]
    model = NestedPredictor(lambda place, _: Placed([], place), [folds], readings).judge(cohort)

    score = Remembering([], ()).predict(cohort).patients["score"]
    drawn = folds(cohort, "response")
    means = {
        patient: np.mean([score[patient] + number for number, one in enumerate(drawn, start=1) if patient in one.test])
        for patient in cohort.ids
        if any(patient in one.test for one in drawn)
    }
    assert model.cutoff.value == pytest.approx(np.median(list(means.values())))


@dataclass
class OfTwo(Placed):
    """Has an own score on progression too: a hundred times the patient's number, and once that of the fold."""

    own_endpoints = ("pfs",)

    def predict(self, cohort):
        own = [100.0 * own_number(one) + float(sum(self.place)) for one in cohort.ids]
        return replace(super().predict(cohort), own={"pfs": pd.Series(own, index=pd.Index(cohort.ids))})


def own_number(patient):
    return np.random.default_rng([*patient.encode(), 1]).normal()


OWN = Reading(PFS.endpoint, by_median, "own")


def test_an_own_score_is_averaged_over_repeats_and_cut_on_its_own_mean():
    study = make_study(60, seed=3)
    folds = partial(stratified_folds, n_folds=3, repeats=2, seed=5)
    readings = [Reading(READINGS[0].endpoint, by_median), OWN]

    model = NestedPredictor(lambda place, _: OfTwo([], place), [folds, INNER], readings).fit(study)

    drawn = enumerate(folds(study, "response"), start=1)
    of_patient = {patient: [] for patient in study.ids}
    for number, fold in drawn:
        for patient in fold.test:
            of_patient[patient].append(100 * own_number(patient) + number)
    assert [one.cutoff.value for one in model.fitted][1] == pytest.approx(
        np.median([np.mean(scores) for scores in of_patient.values()])
    )
    for place, one in enumerate(model.out_of_fold, start=1):
        read = one.prediction.also["pfs"]
        expected = [100 * own_number(patient) + place for patient in one.fold.test]
        assert read.patients["score"].loc[list(one.fold.test)].tolist() == pytest.approx(expected)
        of_inner = INNER(study.select(one.fold.train), "response")
        inside = [
            100 * own_number(patient) + place + inner for inner, fold in enumerate(of_inner, 1) for patient in fold.test
        ]
        assert read.cutoff == pytest.approx(np.median(inside))
        assert read.lesions.empty
    of_everybody = model.predict(study).also["pfs"].patients["score"]
    assert of_everybody.tolist() == pytest.approx([100 * own_number(patient) for patient in study.ids])


def test_own_scores_read_on_apparent_are_those_of_the_patients_learned_from():
    study = make_study(60, seed=3)

    model = NestedPredictor(lambda place, _: OfTwo([], place), [], [*READINGS, OWN], read_on="apparent").fit(study)

    assert model.fitted[1].cutoff.value == pytest.approx(np.median([100 * own_number(one) for one in study.ids]))


def test_own_scores_of_a_fit_that_was_kept_are_what_they_were(tmp_path):
    study = make_study(60, seed=3)

    def nested(fits):
        config = OmegaConf.create({"name": "any", "output": str(tmp_path), "overwrite": False})
        once = RunFolder(config, {}).once
        return NestedPredictor(lambda place, _: OfTwo(fits, place), [OUTER], [*READINGS, OWN], once)

    calm = nested([]).judge(study)
    again: list[Remembering] = []
    gone_on_with = nested(again).judge(study)

    assert again == []
    assert gone_on_with.fitted == calm.fitted
    for found, expected in zip(gone_on_with.out_of_fold, calm.out_of_fold, strict=True):
        kept, made = found.prediction, expected.prediction
        pd.testing.assert_series_equal(kept.own["pfs"], made.own["pfs"], check_names=False, check_exact=True)
        pd.testing.assert_frame_equal(kept.also["pfs"].patients, made.also["pfs"].patients, check_exact=True)


def test_a_predictor_without_own_scores_is_refused_before_it_learns():
    with pytest.raises(ValueError, match="endpoint pfs is read with risk=own, and the model's own scores are of no"):
        NestedPredictor(lambda place, _: Remembering([], place), [OUTER], [*READINGS, OWN])


def test_a_fold_tells_which_features_its_model_selected():
    study = make_study(60, seed=3)

    def make(place, checkpoint):
        from sklearn.feature_selection import SelectKBest
        from sklearn.linear_model import LogisticRegression

        steps = {"best": SelectKBest(k=2), "model": LogisticRegression(max_iter=1000)}
        return TabularPredictor("response", steps, regions=["lesion"])

    model = NestedPredictor(make, [OUTER], READINGS).judge(study)

    pooled = study.features.lesion_matrix().groupby(level="patient_id").mean()
    event = pd.Series(study.events("response"), index=study.ids)
    for one in model.out_of_fold:
        inside = list(one.fold.train)
        f, _ = f_oneway(pooled.loc[inside][event[inside]], pooled.loc[inside][~event[inside]])
        expected = pooled.columns[np.sort(np.argsort(f)[-2:])]
        assert one.prediction.selected == tuple(expected)
        assert one.prediction.patients["score"].notna().all()


def test_a_fit_that_was_kept_is_not_done_again(cohort, tmp_path: Path):
    kept: dict[str, tuple] = {}

    def once(name, make):
        kept[name] = kept.get(name) or make(None)
        return kept[name]

    def nested(fits):
        return NestedPredictor(lambda place, _: Remembering(fits, place), [OUTER, INNER], READINGS, once)

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

    model = NestedPredictor(make, [OUTER], READINGS).fit(cohort)

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


def test_a_further_endpoint_may_be_read_at_the_cut_off_of_the_endpoint_learned(cohort):
    also = Reading(Endpoint("second", "second"), None)
    twice = replace_outcomes(cohort, "response", "second")

    model = NestedPredictor(lambda place, _: Remembering([], place), [OUTER], [*READINGS, also]).fit(twice)

    found = model.predict(twice)
    assert found.also["second"].cutoff == found.cutoff


def replace_outcomes(cohort, name, further):
    """The cohort with a second endpoint of the same outcomes."""
    patients = (replace(one, outcomes={**one.outcomes, further: one.outcomes[name]}) for one in cohort.patients)
    return Cohort(tuple(patients), cohort.features)
