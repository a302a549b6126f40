import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from cohorts import make_cohort
from radnet.appraisal.run_tables import patients_with_scores, run_nomogram, run_regression, run_table_one
from radnet.cohort import Cohort, Endpoint, Outcome, Patient

RESPONSE = Endpoint("response", "response")
COVARIATES = ["age", "lines_ge2", "subtype"]


def scored(cohort, seed=0):
    rng = np.random.default_rng(seed)
    score = cohort.events("response") + rng.normal(size=len(cohort))
    return pd.Series(score, index=pd.Index(cohort.ids, name="patient_id"))


def test_table_one_sets_development_beside_held_out_patients():
    cohort = make_cohort(60, seed=1, held_out=20)

    table = run_table_one(cohort.select(cohort.ids[:40]), cohort.select(cohort.ids[40:]), RESPONSE, {"lines_ge2"})

    assert list(table.columns) == ["variable", "level", "development", "held_out", "test", "p_value"]
    assert table.iloc[0][["development", "held_out"]].tolist() == ["40", "20"]
    assert list(dict.fromkeys(table["variable"])) == ["patients", "centre", "response", "age", "subtype"]


def test_where_nobody_is_held_out_patients_without_the_event_stand_beside_those_with_it():
    cohort = make_cohort(30, seed=1)

    table = run_table_one(cohort, cohort.select([]), RESPONSE)

    assert table.iloc[0][["without the event", "with the event"]].tolist() == ["20", "10"]


def test_a_patient_judged_in_several_repeats_has_the_mean_of_the_scores():
    cohort = make_cohort(12, seed=1)
    first = scored(cohort)

    table = patients_with_scores(cohort, RESPONSE, pd.concat([first, first + 2.0]), COVARIATES)

    np.testing.assert_allclose(table["score"], first + 1.0)
    assert table["response"].tolist() == cohort.events("response").astype(int).tolist()


def test_the_odds_ratio_of_the_score_equals_scikit_learns():
    cohort = make_cohort(120, seed=3)
    table = patients_with_scores(cohort, RESPONSE, scored(cohort), ["age", "lines_ge2"])
    columns = table[["score", "age", "lines_ge2"]].to_numpy()
    theirs = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12).fit(columns, table["response"])

    rows = run_regression(table, ["age", "lines_ge2"], RESPONSE)

    model = rows[rows["analysis"] == "multivariable"].set_index("variable")
    np.testing.assert_allclose(np.log(model["estimate"]), theirs.coef_[0], rtol=1e-5)
    assert set(model["n"]) == {120}


def test_with_too_few_events_only_the_score_enters_and_the_others_say_why():
    cohort = make_cohort(45, seed=3)  # 15 events: three coefficients, and age, lines and two subtypes' one need four

    table = patients_with_scores(cohort, RESPONSE, scored(cohort), COVARIATES)
    rows = run_regression(table, COVARIATES, RESPONSE)

    model = rows[rows["analysis"] == "multivariable"]
    assert model.loc[model["p_value"].notna(), "variable"].tolist() == ["score"]
    (why,) = set(model.loc[model["variable"] != "score", "note"])
    assert why.startswith("left out: 15 patients of the rarer outcome among 45")
    assert "4 coefficients (3.8 each, 5 wanted)" in why
    assert set(rows.loc[rows["analysis"] == "univariable", "variable"]) == {"score", *COVARIATES}


def test_the_nomogram_is_of_the_variables_of_the_model():
    cohort = make_cohort(120, seed=3)
    table = patients_with_scores(cohort, RESPONSE, scored(cohort), ["age"])

    points = run_nomogram(table, run_regression(table, ["age"], RESPONSE), RESPONSE)

    assert set(points.loc[points["axis"] == "variable", "variable"]) == {"score", "age"}


def test_a_survival_nomogram_without_a_horizon_is_refused():
    rng = np.random.default_rng(0)
    patients = tuple(
        Patient(f"P{place}", "A", outcomes={"pfs": Outcome(bool(rng.integers(2)), float(rng.exponential(9) + 0.1))})
        for place in range(60)
    )
    pfs = Endpoint("pfs", "pfs_event", "pfs_months", "months")
    cohort = Cohort(patients)
    score = pd.Series(rng.normal(size=60), index=pd.Index(cohort.ids, name="patient_id"))
    table = patients_with_scores(cohort, pfs, score, [])

    rows = run_regression(table, [], pfs)

    assert set(rows["measure"]) == {"hazard_ratio"}
    with pytest.raises(ValueError, match=r"needs a time to foretell to: endpoint\.horizon="):
        run_nomogram(table, rows, pfs)


def test_a_covariate_that_is_called_as_the_score_is_refused():
    cohort = make_cohort(12, seed=1)
    patients = tuple(
        Patient(one.id, one.centre, outcomes=one.outcomes, clinical={"score": 1.0}) for one in cohort.patients
    )

    with pytest.raises(ValueError, match="a covariate may not be called score"):
        patients_with_scores(Cohort(patients), RESPONSE, scored(cohort), ["score"])
