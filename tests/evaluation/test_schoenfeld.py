import numpy as np
import pytest

from oracle import close
from radnet.evaluation.survival.proportional_hazards import cox
from radnet.evaluation.survival.schoenfeld import schoenfeld
from survival_oracle import COX, of_cox, of_r

TIES = pytest.mark.parametrize("ties", ["efron", "breslow"])


@pytest.mark.parametrize("clock", ["km", "rank", "identity", "log"])
@TIES
@of_r(*COX)
def test_score_test_equals_cox_zph_of_survival_3(case, ties, clock):
    time, event, covariates, _ = of_cox(case)
    theirs = np.array(case["outputs"][ties]["cox_zph_survival3"][clock]["rows"])

    ours = schoenfeld(time, event, covariates, clock=clock, method="score", ties=ties)

    rows = [*ours.each, ours.together]
    close([[row.chi2, row.df, row.p_value] for row in rows], theirs)


@pytest.mark.parametrize("clock", ["km", "rank", "identity"])
@TIES
@of_r(*COX)
def test_legacy_test_equals_cox_zph_of_survival_2(case, ties, clock):
    time, event, covariates, _ = of_cox(case)
    theirs = case["outputs"][ties]["cox_zph_legacy_survival2"][clock]

    ours = schoenfeld(time, event, covariates, clock=clock, method="legacy", ties=ties)

    close([row.chi2 for row in ours.each], theirs["chisq"])
    close([row.p_value for row in ours.each], theirs["p_value"])
    assert ours.together.df == theirs["global_df"]
    close([ours.together.chi2, ours.together.p_value], [theirs["global_chisq"], theirs["global_p"]])


@of_r("cox_separation")
def test_monotone_likelihood_is_refused_where_r_warns(case):
    assert "warnings" in case["outputs"]["efron"]
    time, event, covariates, _ = of_cox(case)

    with pytest.raises(ValueError, match="the likelihood has no top"):
        schoenfeld(time, event, covariates, clock="km", method="score")


@pytest.mark.parametrize("method", ["score", "legacy"])
def test_hazards_that_turn_over_time_are_found_and_steady_ones_are_not(method):
    rng = np.random.default_rng(1)
    high = np.arange(600) % 2
    steady = rng.exponential(1 / np.exp(high))
    early = rng.exponential(1 / (1 + 3 * high))
    turning = np.where(early < 0.4, early, 0.4 + rng.exponential(1 / (1 + 3 * (1 - high))))

    p_values = [
        schoenfeld(time, np.ones(600), high[:, None], clock="km", method=method).together.p_value
        for time in (steady, turning)
    ]

    assert p_values[0] > 0.05
    assert p_values[1] < 1e-10


def test_test_of_one_covariate_is_the_test_of_all():
    rng = np.random.default_rng(2)
    time, event, x = rng.exponential(3, size=50), rng.random(50) < 0.7, rng.normal(size=(50, 1))

    for method in ("score", "legacy"):
        ours = schoenfeld(time, event, x, clock="rank", method=method)
        close(ours.each[0].chi2, ours.together.chi2)


def test_score_test_is_that_of_a_covariate_that_grows_with_the_clock():
    # the information of a model with x and x * time, written slowly at the coefficient of x alone
    rng = np.random.default_rng(3)
    time, event, x = rng.exponential(3, size=30), rng.random(30) < 0.8, rng.normal(size=30)
    beta = cox(time, event, x[:, None]).coefficient[0]
    score, information = np.zeros(2), np.zeros((2, 2))
    for case in np.flatnonzero(event):
        at_risk = time >= time[case]
        share = np.exp(beta * x) * at_risk / (np.exp(beta * x) * at_risk).sum()
        both = np.column_stack([x, x * time[case]])
        mean = share @ both
        score += both[case] - mean
        information += (both - mean).T @ ((both - mean) * share[:, None])

    ours = schoenfeld(time, event, x[:, None], clock="identity", method="score")

    close(ours.together.chi2, score @ np.linalg.solve(information, score))


def test_clocks_and_events_that_cannot_be_tested_are_refused():
    x = np.array([[1.0], [3], [2], [5]])
    with pytest.raises(ValueError, match="needs every event after time 0"):
        schoenfeld([0, 2, 3, 4], [1, 1, 1, 1], x, clock="log", method="score")
    with pytest.raises(ValueError, match="a clock is km, rank, identity or log, got 'sqrt'"):
        schoenfeld([1, 2, 3, 4], [1, 1, 1, 1], x, clock="sqrt", method="score")
    with pytest.raises(ValueError, match="by score or legacy, got 'wald'"):
        schoenfeld([1, 2, 3, 4], [1, 1, 1, 1], x, clock="km", method="wald")
    with pytest.raises(ValueError, match="proportional hazards need events at two times, but all share one"):
        schoenfeld([1, 1, 3, 4], [1, 1, 0, 0], x, clock="identity", method="score")
