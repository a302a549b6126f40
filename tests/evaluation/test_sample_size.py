"""Sample sizes against the published worked examples and the values that R's pmsampsize and pmvalsampsize print.

Chagas disease and venous thromboembolism are the examples of Riley 2019 (Stat Med 38:1276), whose summary gives 4.8 and
23 events per parameter; a mechanical heart valve is that of Riley 2021 (Stat Med 40:4230).
"""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from radnet.evaluation.sample_size import (
    development,
    development_survival,
    external_validation,
    largest_r2,
    largest_r2_survival,
    parameters_allowed,
    patients_for_risk,
    patients_for_risk_by,
    patients_for_shrinkage,
    r2_from_auc,
)
from radnet.evaluation.sample_size_table import SAMPLE_SIZE_COLUMNS, sample_size_table


def test_a_diagnostic_model_of_chagas_disease_needs_as_many_as_published():
    needed = development(24, prevalence=0.174, r2=0.288)

    assert needed == {"shrinkage": 623, "optimism": 662, "overall_risk": 221}
    assert max(needed.values()) * 0.174 / 24 == pytest.approx(4.8, abs=0.05)


def test_an_auc_stands_for_r2_as_in_pmsampsize():
    needed = development(24, prevalence=0.174, r2=r2_from_auc(0.89, prevalence=0.174))

    assert needed == {"shrinkage": 615, "optimism": 660, "overall_risk": 221}


def test_a_model_of_recurrent_thromboembolism_needs_as_many_as_published():
    needed = development_survival(30, rate=0.065, mean_follow_up=2.07, time=2, r2=0.051)

    assert (needed["shrinkage"], needed["optimism"]) == (5143, 1039)
    assert needed["shrinkage"] * 0.065 * 2.07 / 30 == pytest.approx(23.07, abs=0.005)


# pmvalsampsize draws the linear predictor and steps the spread of the log ratio by 0.0001, hence the tolerance
@pytest.mark.parametrize(
    ("prevalence", "auc", "linear_predictor", "width", "printed"),
    [(0.018, 0.8, (-5, 2.5), 1, (905, 4544, 4252)), (0.2, 0.78, (-1.75, 1.22), 0.2, (1538, 2958, 511))],
    ids=["heart valve", "prevalence 0.2"],
)
def test_external_validation_needs_as_many_as_pmvalsampsize_prints(prevalence, auc, linear_predictor, width, printed):
    needed = external_validation(prevalence, auc, linear_predictor, widths=(width, 0.2, 0.1))

    assert needed["auc"] == printed[2]
    assert needed["observed_expected"] == pytest.approx(printed[0], rel=0.003)
    assert needed["calibration_slope"] == pytest.approx(printed[1], rel=0.003)


@pytest.mark.parametrize(("prevalence", "printed"), [(0.5, 0.75), (0.2, 0.63), (0.1, 0.48), (0.05, 0.33)])
def test_the_largest_r2_is_what_riley_tabulates(prevalence, printed):
    assert largest_r2(prevalence) == pytest.approx(printed, abs=0.005)


def test_the_largest_r2_of_a_survival_model_is_what_pmsampsize_prints():
    assert round(largest_r2_survival(0.065, 2.07), 2) == 0.55


def test_r2_from_an_auc_is_that_of_a_logistic_model_on_binormal_scores():
    rng = np.random.default_rng(3)
    event = rng.random(400_000) < 0.3
    score = rng.normal(np.sqrt(2) * norm.ppf(0.75) * event)
    fitted = LogisticRegression(C=np.inf).fit(score[:, None], event)
    risk = fitted.predict_proba(score[:, None])[:, 1]
    value = np.mean(np.where(event, np.log(risk), np.log(1 - risk)))
    share = event.mean()
    null = share * np.log(share) + (1 - share) * np.log(1 - share)

    assert r2_from_auc(0.75, 0.3) == pytest.approx(1 - np.exp(2 * (null - value)), abs=0.002)  # Monte Carlo


def test_no_more_parameters_are_allowed_than_the_patients_satisfy():
    allowed = parameters_allowed(623, r2=0.288)

    assert allowed == 24
    assert patients_for_shrinkage(allowed + 1, r2=0.288) > 623


def test_the_overall_risk_is_within_its_margin():
    patients = patients_for_risk(0.3)

    assert 1.96 * np.sqrt(0.3 * 0.7 / patients) <= 0.05 < 1.96 * np.sqrt(0.3 * 0.7 / (patients - 1))


def test_the_risk_by_a_time_is_within_its_margin_on_both_sides():
    rate, follow_up, time = 0.065, 2.07, 2.0
    patients = patients_for_risk_by(time, rate, follow_up)

    def off(count):
        limits = rate + 1.96 * np.sqrt(rate / (count * follow_up)) * np.array([-1, 1])
        return np.abs(np.exp(-limits * time) - np.exp(-rate * time)).max()

    assert off(patients) <= 0.05 < off(patients - 1)


def test_an_r2_above_the_shrinkage_is_refused():
    with pytest.raises(ValueError, match="expected 0 < R² < shrinkage < 1"):
        patients_for_shrinkage(10, r2=0.95)


@pytest.mark.parametrize("auc", [0.5, 1.0, 0.2])
def test_an_auc_that_no_two_normals_have_is_refused(auc):
    with pytest.raises(ValueError, match="above 0.5 and below 1"):
        r2_from_auc(auc, 0.3)


def predictions(time=np.nan) -> pd.DataFrame:
    """38 patients with 13 events out of fold and apparent, 22 with 8 held out."""
    made = []
    for partition, count, events in (("out_of_fold", 38, 13), ("apparent", 38, 13), ("held_out", 22, 8)):
        event = (np.arange(count) < events).astype(float)
        table = pd.DataFrame({"patient_id": [f"{partition == 'held_out'}{number}" for number in range(count)]})
        made.append(table.assign(endpoint="response", model="one", partition=partition, event=event, time=time))
    return pd.concat(made, ignore_index=True)


def test_the_table_holds_what_was_there_against_what_is_needed():
    table = sample_size_table(predictions(), {"candidate": 1130, "final": 319}).set_index(["criterion", "parameters"])

    share = 13 / 38
    largest = 1 - (share**share * (1 - share) ** (1 - share)) ** 2
    r2 = 0.15 * largest
    needed = int(np.ceil(10 / ((0.9 - 1) * np.log(1 - r2 / 0.9))))
    assert table.loc[("events_per_variable", 1130), "found"] == pytest.approx(13 / 1130)
    assert table.loc[("riley_minimum", 10), ["found", "needed", "met"]].tolist() == [38, needed, False]
    assert table.loc[("parameters_allowed", 319), "found"] == 0
    assert "13 events for 1130 candidate parameters" in table.loc[("events_per_variable", 1130), "told"]
    assert set(table["partition"]) == {"development", "held_out"}


def test_the_table_of_a_survival_endpoint_reads_follow_up():
    table = sample_size_table(predictions(time=10.0), {"candidate": 4})

    row = table[(table["criterion"] == "riley_minimum") & (table["parameters"] == 4)].iloc[0]
    expected = development_survival(4, rate=13 / 380, mean_follow_up=10, time=10)
    assert row["needed"] == max(expected.values())
    assert set(table["partition"]) == {"development"}


@pytest.mark.parametrize("event", [0.0, 1.0, np.nan], ids=["no event", "only events", "outcome unknown"])
def test_patients_who_do_not_differ_give_no_row(event):
    table = sample_size_table(predictions().assign(event=event), {"candidate": 4})

    assert table.empty
    assert tuple(table.columns) == SAMPLE_SIZE_COLUMNS
