"""A survival model with probabilities to 12, 36 and 60 months: what comes out when no horizon is asked for.

Times are Weibull, so that probabilities which know the hazard are calibrated; the model compared with, as a stage does,
knows only whether the hazard is above its median.
"""

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter

from assessing import joined, row_of, rows_of, table
from radnet.evaluation.assess import assess
from radnet.evaluation.assessment.settings import EvaluationSettings

HORIZONS = (12.0, 36.0, 60.0)
N, SHAPE, SCALE = 240, 1.2, 80.0


def by(horizon, hazard):
    """Return the probability of the event by a time: that of a Weibull."""
    return 1 - np.exp(-hazard * (horizon / SCALE) ** SHAPE)


@pytest.fixture(name="patients", scope="module")
def _patients():
    rng = np.random.default_rng(11)
    score = rng.normal(size=N)
    hazard = np.exp(0.9 * score)
    time = SCALE * (rng.exponential(size=N) / hazard) ** (1 / SHAPE)
    leaving = rng.uniform(30, 130, N)
    event = (time <= leaving).astype(float)
    follow_up = {"time": np.minimum(time, leaving), "time_unit": "months", "endpoint": "dfs"}
    of_stage = np.where(score > np.median(score), 1.0, 0.0)
    hazard_of_stage = np.where(of_stage == 1, hazard[of_stage == 1].mean(), hazard[of_stage == 0].mean())
    models = []
    for model, scored, risk in (("wang_score", score, hazard), ("wang_tnm", of_stage, hazard_of_stage)):
        rows = table(event, scored, model=model, cutoff=0.5, centre=np.where(np.arange(N) % 2, "A", "B"))
        rows = rows.assign(**follow_up, probability=by(60, risk))
        models.append(rows.assign(**{f"probability_{horizon:g}": by(horizon, risk) for horizon in HORIZONS}))
    return joined(*models)


@pytest.fixture(name="found", scope="module")
def _found(patients):
    return assess(patients, EvaluationSettings(bootstrap=60, versus="wang_tnm"))


def test_every_number_by_a_time_is_given_for_each_column_of_probabilities(found):
    whole = found.metrics[(found.metrics["model"] == "wang_score") & (found.metrics["centre"] == "")]

    for metric in ("auc_time", "brier_time", "km_survival", "rmst", "net_benefit", "idi", "nri_continuous"):
        assert set(whole.loc[whole["metric"] == metric, "horizon"]) == set(HORIZONS), metric
    assert (whole["metric"] == "ibs").sum() == 1
    curves = found.curves["calibration"]
    assert set(curves.loc[curves["model"] == "wang_score", "horizon"]) == set(HORIZONS)
    curves = found.curves["decision"]
    assert set(curves.loc[curves["model"] == "wang_score", "horizon"]) == set(HORIZONS)


def test_the_hazard_ratio_per_sd_is_given_in_every_centre_and_is_that_of_lifelines(found, patients):
    mine = patients[patients["model"] == "wang_score"]

    for centre in ("", "A", "B"):
        here = mine[mine["centre"] == centre] if centre else mine
        data = pd.DataFrame({"time": here["time"], "event": here["event"], "x": here["score"] / here["score"].std()})
        cox = CoxPHFitter().fit(data, "time", "event")
        row = row_of(found, "hazard_ratio", model="wang_score", centre=centre, group="per_sd")
        assert row["estimate"] == pytest.approx(np.exp(cox.params_["x"]), rel=1e-4)
        bounds = np.exp(cox.confidence_intervals_.loc["x"].to_numpy())
        np.testing.assert_allclose([row["lower"], row["upper"]], bounds, rtol=1e-4)


def test_risk_groups_at_the_frozen_cutoff_have_their_curves_and_tests(found, patients):
    mine = patients[patients["model"] == "wang_score"]

    for group, members in (("high", mine[mine["score"] >= 0.5]), ("low", mine[mine["score"] < 0.5])):
        curve = KaplanMeierFitter().fit(members["time"], members["event"])
        for horizon in HORIZONS:
            row = row_of(found, "km_survival", model="wang_score", centre="", group=group, at=horizon)
            assert row["estimate"] == pytest.approx(curve.predict(horizon))
            assert row["n"] == len(members)
    assert len(rows_of(found, "logrank", model="wang_score", centre="")) == 1
    assert set(rows_of(found, "schoenfeld", model="wang_score", centre="")["method"]) == {"score", "legacy"}
    assert set(found.curves["km"]["group"]) == {"low", "high"}


def test_reclassification_versus_the_stage_has_an_interval_that_agrees_with_its_p_value(found):
    gains = rows_of(found, "idi", versus="wang_tnm", centre="")
    gains = pd.concat([gains, rows_of(found, "nri_continuous", versus="wang_tnm", centre="")])

    assert set(gains["model"]) == {"wang_score"}
    assert set(gains["horizon"]) == set(HORIZONS)
    assert gains[["lower", "upper", "p_value"]].notna().all(axis=None)
    outside = (gains["lower"] > 0) | (gains["upper"] < 0)
    assert (outside == (gains["p_value"] < 0.05)).all()


def test_horizons_that_are_asked_for_stand_in_place_of_the_tables(patients):
    found = assess(patients, EvaluationSettings(bootstrap=10, horizons=[36]))

    assert set(rows_of(found, "brier_time")["horizon"]) == {36.0}
