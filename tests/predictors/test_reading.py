"""How a score is read on an endpoint: its sign, its cut-off, its probabilities, and what could not be learned."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from radnet.cohort import BenefitColumns, Cohort, Endpoint, Outcome, Patient
from radnet.evaluation.cutoff import Cutoff, max_sensitivity, youden
from radnet.evaluation.cutoff_rules import by_maxstat, by_median, by_time_youden, by_value
from radnet.models.calibration import HazardCalibration, LogisticCalibration
from radnet.predictors.base import Prediction
from radnet.predictors.nested import as_read
from radnet.predictors.reading import FittedReading, Reading, reading_from

RESPONSE = Endpoint("response", "response")
PFS = Endpoint("pfs", "pfs_event", "pfs_months", "months", horizon=30)
PLATT = LogisticCalibration(1.5, -0.5)
BRESLOW = HazardCalibration(float(np.log(2)), (10.0, 20.0, 30.0), (0.1, 0.2, 0.3))
IDS = ["P1", "P2", "P3", "P4", "P5", "P6"]
SCORE = pd.Series([0.1, 0.4, 0.3, 0.8, 0.9, 5.0], index=pd.Index(IDS, name="patient_id"))


def patients(event, time=None):
    """Patients P1 to P6; None is an outcome that is not known."""
    followed = [None] * len(event) if time is None else time
    outcomes = [None if one is None else Outcome(bool(one), t) for one, t in zip(event, followed, strict=True)]
    endpoint = "response" if time is None else "pfs"
    return Cohort(tuple(Patient(i, "A", outcomes={endpoint: o}) for i, o in zip(IDS, outcomes, strict=True)))


def scored(score, probability=np.nan, lesions=1):
    index = pd.Index(IDS[: len(score)], name="patient_id")
    keys = pd.MultiIndex.from_product([index, [f"L{n}" for n in range(lesions)]], names=["patient_id", "lesion_id"])
    return Prediction(
        pd.DataFrame({"score": score, "probability": probability}, index=index),
        pd.DataFrame({"score": np.repeat(score, lesions), "weight": 1 / lesions}, index=keys),
    )


@pytest.mark.parametrize(
    ("rule", "name"), [(youden, "youden"), (partial(max_sensitivity, min_specificity=0.5), "max_sensitivity")]
)
def test_a_cut_off_of_yes_or_no_is_refused_for_an_endpoint_with_follow_up(rule, name):
    with pytest.raises(ValueError, match=f"cutoff {name} ignores how long .* pfs has follow-up: choose cutoff=median"):
        Reading(PFS, rule)


def test_times_are_refused_for_an_endpoint_without_follow_up():
    with pytest.raises(ValueError, match="horizons are times, and endpoint response has no follow-up"):
        Reading(RESPONSE, youden, horizons=[12])


def test_a_score_is_kept_or_negated_or_another_and_nothing_else():
    with pytest.raises(ValueError, match="risk must be keep, negate or own, got 'turn'"):
        Reading(RESPONSE, youden, risk="turn")


def test_the_cut_off_is_learned_from_patients_of_known_outcome():
    cohort = patients([0, 0, 0, 1, 1, None])  # P6, whose score is far above all, has no outcome

    fitted = Reading(RESPONSE, by_median).fit(cohort, SCORE)

    assert fitted.cutoff.value == 0.4
    assert fitted.notes == ()


def test_scores_and_patients_need_not_stand_in_one_order():
    cohort = patients([0, 0, 0, 1, 1, 1])

    fitted = Reading(RESPONSE, youden).fit(cohort, SCORE.iloc[::-1])

    assert fitted.cutoff.value == pytest.approx((0.4 + 0.8) / 2)  # parts the classes


def test_a_negated_score_is_cut_on_its_negative_and_has_neither_lesions_nor_the_probability_of_the_model():
    cohort = patients([1, 1, 1, 0, 0, 0], [3.0, 5.0, 4.0, 9.0, 11.0, 12.0])

    fitted = Reading(PFS, by_median, risk="negate", calibrated=False).fit(cohort, SCORE)
    read = fitted.read(scored([0.1, 0.9], probability=0.7, lesions=2))

    assert fitted.cutoff.value == pytest.approx(-0.6)  # half between -0.4 and -0.8
    assert read.cutoff == fitted.cutoff.value
    assert read.patients["score"].tolist() == [-0.1, -0.9]
    assert read.patients["probability"].isna().all()
    assert len(read.lesions) == 0
    assert list(read.lesions.columns) == ["score", "weight"]


def with_own(prediction, score, endpoint="pfs"):
    """The prediction of a model that has an own score, given in another order of the patients."""
    own = pd.Series(score, index=prediction.patients.index)
    return replace(prediction, own={endpoint: own.iloc[::-1]})


def test_an_own_score_is_read_as_it_is_cut_on_itself_and_has_no_lesions():
    cohort = patients([1, 1, 1, 0, 0, 0], [3.0, 5.0, 4.0, 9.0, 11.0, 12.0])
    own = [7.0, 9.0, 8.0, 2.0, 1.0, 3.0]
    prediction = with_own(scored(SCORE.tolist(), probability=0.7, lesions=2), own)

    reading = Reading(PFS, by_median, risk="own", calibrated=False)
    fitted = reading.fit(cohort, reading.score(prediction))
    read = fitted.read(prediction)

    assert fitted.cutoff.value == 5.0  # half between 3 and 7
    assert read.cutoff == 5.0
    assert read.patients["score"].tolist() == own
    assert read.patients["probability"].isna().all()
    assert len(read.lesions) == 0


def test_probabilities_of_an_own_reading_are_those_of_the_own_score():
    fitted = FittedReading(PFS, None, BRESLOW, horizons=(12,), own=True)

    read = fitted.read(with_own(scored([9.0, 9.0]), [0.0, 1.0]))

    double = np.array([1.0, 2.0])  # the hazard of a score one higher
    np.testing.assert_allclose(read.patients["probability"], 1 - np.exp(-0.3 * double), rtol=1e-12)
    np.testing.assert_allclose(read.patients["probability_12"], 1 - np.exp(-0.1 * double), rtol=1e-12)


def test_an_own_score_changes_nothing_on_the_endpoint_learned_and_stays_with_it():
    readings = [FittedReading(RESPONSE, Cutoff(0.2, "youden"), PLATT), FittedReading(PFS, None, None, own=True)]
    plain, prediction = scored([0.0, 1.0]), with_own(scored([0.0, 1.0]), [5.0, 4.0])

    read = as_read(prediction, readings)

    pd.testing.assert_frame_equal(read.patients, as_read(plain, readings[:1]).patients, check_exact=True)
    assert list(read.own) == ["pfs"]
    assert read.also["pfs"].patients["score"].tolist() == [5.0, 4.0]
    assert read.also["pfs"].own == {}
    again = as_read(read, readings)  # as the mean over folds is read from what was read
    pd.testing.assert_frame_equal(again.also["pfs"].patients, read.also["pfs"].patients, check_exact=True)


@pytest.mark.parametrize(
    ("own", "told"), [({}, "no further endpoint"), ({"os": SCORE, "dfs": SCORE}, "os, dfs")], ids=["none", "others"]
)
def test_a_model_without_the_own_score_that_is_asked_for_is_refused(own, told):
    prediction = replace(scored(SCORE.tolist()), own=own)

    message = f"pfs is read with risk=own, and the model's own scores are of {told}: choose risk=keep or risk=negate"
    with pytest.raises(ValueError, match=message):
        FittedReading(PFS, None, None, own=True).read(prediction)
    with pytest.raises(ValueError, match=message):
        Reading(PFS, by_median, risk="own").score(prediction)


def test_an_own_score_has_no_use_for_the_cut_off_of_another():
    with pytest.raises(ValueError, match="pfs is read with risk=own and rule=null, .* of another score: give a rule"):
        Reading(PFS, None, risk="own")


def test_an_own_score_is_not_negated():
    with pytest.raises(ValueError, match="endpoint pfs: a score of its own is not negated"):
        FittedReading(PFS, None, None, negate=True, own=True)


def test_a_reading_written_before_there_were_own_scores_is_one_of_the_models_score():
    kept = FittedReading(PFS, Cutoff(0.5, "median"), BRESLOW).as_dict()
    del kept["own"]

    assert reading_from(kept).read(with_own(scored([0.25]), [9.0])).patients["score"].tolist() == [0.25]


def test_a_binary_probability_is_the_curve_of_the_score():
    read = FittedReading(RESPONSE, None, PLATT).read(scored([0.0, 2.0]))

    np.testing.assert_allclose(read.patients["probability"], expit([-0.5, 2.5]), rtol=1e-12)
    assert read.cutoff is None
    assert len(read.lesions) == 2


def test_probabilities_by_time_are_those_of_the_hazard_until_then_and_none_beyond_follow_up():
    read = FittedReading(PFS, None, BRESLOW, horizons=(12, 20, 36)).read(scored([0.0, 1.0]))

    double = np.array([1.0, 2.0])  # the hazard of a score one higher
    np.testing.assert_allclose(read.patients["probability"], 1 - np.exp(-0.3 * double), rtol=1e-12)
    np.testing.assert_allclose(read.patients["probability_12"], 1 - np.exp(-0.1 * double), rtol=1e-12)
    np.testing.assert_allclose(read.patients["probability_20"], 1 - np.exp(-0.2 * double), rtol=1e-12)
    assert read.patients["probability_36"].isna().all()


def test_without_a_horizon_of_its_own_an_endpoint_has_probabilities_by_time_alone():
    endless = Endpoint("pfs", "pfs_event", "pfs_months", "months")

    read = FittedReading(endless, None, BRESLOW, horizons=(10,)).read(scored([0.0]))

    assert read.patients["probability"].isna().all()
    assert read.patients["probability_10"].item() == pytest.approx(1 - np.exp(-0.1))


def test_a_probability_of_the_models_own_is_kept():
    read = FittedReading(RESPONSE, None, PLATT).read(scored([0.0, 2.0], probability=[0.2, 0.6]))

    assert read.patients["probability"].tolist() == [0.2, 0.6]


@pytest.mark.parametrize("negate", [False, True])
def test_a_probability_of_the_endpoint_learned_is_none_of_another(negate):
    readings = [FittedReading(RESPONSE, None, PLATT), FittedReading(PFS, Cutoff(0.5, "median"), BRESLOW, negate)]

    read = as_read(scored([0.0, 1.0], probability=[0.2, 0.6]), readings)

    hazard = 0.3 * np.array([1.0, 0.5 if negate else 2.0])
    assert read.patients["probability"].tolist() == [0.2, 0.6]
    np.testing.assert_allclose(read.also["pfs"].patients["probability"], 1 - np.exp(-hazard), rtol=1e-12)
    assert read.also["pfs"].cutoff == 0.5


def test_a_prediction_without_a_reading_is_what_it_was():
    prediction = scored([0.0, 1.0])
    assert as_read(prediction, []) is prediction


@pytest.mark.parametrize(
    "fitted",
    [
        FittedReading(RESPONSE, Cutoff(0.1 + 0.2, "youden"), PLATT),
        FittedReading(PFS, Cutoff(-1 / 3, "maxstat"), BRESLOW, negate=True, horizons=(12, 24.5)),
        FittedReading(RESPONSE, None, None, notes=("response: no cut-off: why",)),
        FittedReading(PFS, Cutoff(0.1, "median"), BRESLOW, own=True),
    ],
    ids=["binary", "survival, negated", "nothing learned", "own"],
)
def test_a_reading_written_as_json_reads_the_same_to_the_bit(fitted):
    kept = reading_from(json.loads(json.dumps(fitted.as_dict(), allow_nan=False)))

    prediction = with_own(scored(np.random.default_rng(1).normal(size=6)), np.random.default_rng(2).normal(size=6))
    pd.testing.assert_frame_equal(kept.read(prediction).patients, fitted.read(prediction).patients, check_exact=True)
    assert kept.read(prediction).cutoff == fitted.read(prediction).cutoff
    assert kept.endpoint == fitted.endpoint
    assert kept.as_dict() == fitted.as_dict()


def test_a_model_that_selects_nothing_has_no_cut_off_and_everybody_the_share_with_the_event():
    cohort = patients([0, 0, 0, 0, 1, 1])
    refusing = partial(_refuse_constant, youden)

    fitted = Reading(RESPONSE, refusing).fit(cohort, SCORE * 0)

    assert fitted.cutoff is None
    assert fitted.notes == ("response: no cut-off: all scores are alike",)
    assert fitted.read(scored([0.0])).patients["probability"].item() == pytest.approx(2 / 6)


def test_scores_that_point_the_wrong_way_give_everybody_one_probability_and_say_so():
    fitted = Reading(RESPONSE, youden).fit(patients([1, 1, 1, 0, 0, 0]), SCORE.sort_values().set_axis(SCORE.index))

    assert fitted.notes == ("response: everybody has the same probability: scores do not rise with the event",)
    assert fitted.read(scored([-3.0, 9.0])).patients["probability"].tolist() == pytest.approx([0.5, 0.5])


def test_a_further_endpoint_without_a_rule_has_the_cut_off_of_the_endpoint_learned():
    assert Reading(PFS, None).fit(patients([1, 0, 1, 0, 1, 0], [3.0, 5.0, 4.0, 9.0, 11.0, 12.0]), SCORE).cutoff is None


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("learned", [0.4, 0.0, -0.0, 1 / 3, -2.5, 1e300, 5e-324])
def test_by_the_cut_off_learned_a_negated_score_parts_the_same_patients_those_who_equal_it_too(learned, calibrated):
    cohort = patients([1, 0, 1, 0, 1, 0], [3.0, 5.0, 4.0, 9.0, 11.0, 12.0])
    around = [np.nextafter(learned, -np.inf), learned, np.nextafter(learned, np.inf), learned, -learned, 0.0]
    score = SCORE if calibrated else SCORE * 0 + around

    fitted = Reading(PFS, None, risk="negate", calibrated=calibrated).fit(cohort, score)
    read = replace(fitted, cutoff=Cutoff(learned, "max_sensitivity")).read(scored(around))

    promised = np.array(around) >= learned  # of the event learned, and so of low risk
    high_risk = read.patients["score"].to_numpy() >= read.cutoff
    assert high_risk.tolist() == (~promised).tolist()
    assert 0 < high_risk.sum() < len(around)


def test_a_negated_reading_without_a_cut_off_to_share_has_none():
    fitted = Reading(PFS, None, risk="negate").unfitted()

    assert fitted.cutoff is None
    assert replace(fitted, cutoff=None).read(scored([0.1, 0.9])).cutoff is None


def test_a_shared_cut_off_is_turned_once_however_often_it_is_kept():
    shared = replace(Reading(PFS, None, risk="negate").unfitted(), cutoff=Cutoff(0.45, "max_sensitivity"))

    again = replace(shared, horizons=(12,))
    kept = reading_from(json.loads(json.dumps(again.as_dict(), allow_nan=False)))

    assert shared.cutoff.value == np.nextafter(-0.45, np.inf)
    assert shared.cutoff.rule == "max_sensitivity"
    assert (again.cutoff.value, kept.cutoff.value) == (shared.cutoff.value, shared.cutoff.value)
    assert kept.read(scored([0.45, 0.1])).cutoff == shared.cutoff.value


def test_a_reading_of_benefit_that_is_derived_keeps_the_columns_it_is_derived_from():
    endpoint = Endpoint("benefit", "best_response", derive=BenefitColumns("sd_months", "sd_ended", months=6))

    kept = reading_from(json.loads(json.dumps(FittedReading(endpoint, None, PLATT).as_dict())))

    assert kept.endpoint == endpoint


def _refuse_constant(rule, event, score):
    if np.ptp(score) == 0:
        raise ValueError("all scores are alike")
    return rule(event, score)


RULES_OF_TIME = [by_median, partial(by_maxstat, minprop=0.1), partial(by_time_youden, at=5.0)]
EVERY_RULE = [(RESPONSE, youden), (RESPONSE, by_median), *((PFS, rule) for rule in RULES_OF_TIME)]


@pytest.mark.parametrize("known", ["one patient", "no event", "events alone"])
@pytest.mark.parametrize(("endpoint", "rule"), EVERY_RULE)
def test_scores_that_do_not_allow_a_reading_are_noted_and_end_no_run(endpoint, rule, known):
    event = {"one patient": [1] + [None] * 5, "no event": [0] * 6, "events alone": [1] * 6}[known]
    time = None if endpoint is RESPONSE else [3.0, 5.0, 4.0, 9.0, 11.0, 12.0]

    fitted = Reading(endpoint, rule).fit(patients(event, time), SCORE)

    told = {note.split(": ")[1] for note in fitted.notes}
    assert told - {"everybody has the same probability"} == {
        name for name, one in (("no cut-off", fitted.cutoff), ("no probability", fitted.calibration)) if one is None
    }
    assert all(note.startswith(f"{endpoint.name}: ") for note in fitted.notes)
    assert fitted.read(scored([0.5])).patients["score"].tolist() == [0.5]


@pytest.mark.parametrize(("endpoint", "rule"), EVERY_RULE)
def test_an_endpoint_of_which_no_outcome_is_known_is_noted_and_ends_no_run(endpoint, rule):
    fitted = Reading(endpoint, rule).fit(patients([None] * 6), SCORE)

    assert (fitted.cutoff, fitted.calibration) == (None, None)
    assert fitted.notes == (
        f"{endpoint.name}: neither cut-off nor probability: of none of 6 patients the outcome is known",
    )


@pytest.mark.parametrize(("endpoint", "rule"), EVERY_RULE)
def test_constant_scores_end_no_run_and_give_everybody_one_probability(endpoint, rule):
    time = None if endpoint is RESPONSE else [3.0, 5.0, 4.0, 9.0, 11.0, 12.0]
    endpoint = endpoint if endpoint is RESPONSE else replace(endpoint, horizon=10)

    fitted = Reading(endpoint, rule).fit(patients([1, 1, 0, 1, 0, 0], time), SCORE * 0)

    assert fitted.cutoff is not None or fitted.notes[0].startswith(f"{endpoint.name}: no cut-off: ")
    probability = fitted.read(scored([0.0, 0.0])).patients["probability"]
    # three of six responded; the hazard until month 10 is Nelson and Aalen's, with 6, 4 and 3 at risk at three events
    expected = 3 / 6 if endpoint is RESPONSE else 1 - np.exp(-(1 / 6 + 1 / 4 + 1 / 3))
    np.testing.assert_allclose(probability, expected, rtol=1e-9)


def test_a_value_chosen_beforehand_needs_no_scores():
    fitted = Reading(RESPONSE, partial(by_value, value=0.3), calibrated=False).fit(patients([0] * 6), SCORE)

    assert (fitted.cutoff.value, fitted.cutoff.rule, fitted.calibration, fitted.notes) == (0.3, "fixed", None, ())
