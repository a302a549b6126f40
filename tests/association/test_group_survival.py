import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from scipy.stats import chi2

from radnet.association.group_survival import group_hazard_ratios


@pytest.fixture
def followed():
    """90 patients in three groups of unlike hazard, times tied, a tenth of outcomes unknown."""
    rng = np.random.default_rng(4)
    group = np.repeat(["hot", "cold", "desert"], 30)
    hazard = pd.Series(group).map({"hot": 0.5, "cold": 1.0, "desert": 2.0}).to_numpy()
    time = np.ceil(rng.exponential(10 / hazard)) + 1
    table = pd.DataFrame({"group": group, "time": np.minimum(time, 25), "event": (time <= 25).astype(float)})
    table.loc[::10, "event"] = np.nan
    return table.set_axis([f"P{one}" for one in range(90)])


def log_rank(first, event, time):
    """Return chi-square of the log-rank test, event time by event time: observed less expected, hypergeometric."""
    beyond, variance = 0.0, 0.0
    for at in time[event].unique():
        risk, died = time >= at, event & (time == at)
        n, d, share = risk.sum(), died.sum(), (risk & first).sum() / risk.sum()
        beyond += (died & first).sum() - d * share
        if n > 1:
            variance += d * share * (1 - share) * (n - d) / (n - 1)
    return beyond**2 / variance


def test_hazard_ratios_of_groups_equal_lifelines_and_the_log_rank_test_its_definition(followed):
    rows = group_hazard_ratios(
        followed["group"], ["hot", "cold", "desert"], followed["event"], followed["time"], "death"
    )

    assert [row.x for row in rows] == ["group: hot vs desert", "group: cold vs desert"]
    for row, first in zip(rows, ["hot", "cold"], strict=True):
        pair = followed[followed["group"].isin([first, "desert"])].dropna()
        pair = pair.assign(first=(pair["group"] == first).astype(float)).drop(columns="group")
        fit = CoxPHFitter().fit(pair, "time", "event").summary.loc["first"]
        chi_square = log_rank(pair["first"] == 1, pair["event"] == 1, pair["time"])
        ours = row.effect.value, row.effect.lower, row.effect.upper
        theirs = fit["exp(coef)"], fit["exp(coef) lower 95%"], fit["exp(coef) upper 95%"]
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)  # where Newton's steps of each stop
        np.testing.assert_allclose(
            (row.effect.statistic, row.effect.p_value), (chi_square, chi2.sf(chi_square, 1)), rtol=1e-8
        )
        assert (row.n, row.missing) == (len(pair), 6)


def test_turning_groups_round_turns_the_ratio_over(followed):
    def ratio(groups):
        (row,) = group_hazard_ratios(followed["group"], groups, followed["event"], followed["time"], "death")
        return row.effect.value

    assert ratio(["hot", "desert"]) == pytest.approx(1 / ratio(["desert", "hot"]), rel=1e-8)


def test_groups_that_cannot_be_compared_are_refused(followed):
    outcome = followed["event"], followed["time"], "death"

    with pytest.raises(ValueError, match=r"5 patients a group on, but warm has 0: join groups"):
        group_hazard_ratios(followed["group"], ["hot", "warm"], *outcome)
    with pytest.raises(ValueError, match="two different groups or more, got"):
        group_hazard_ratios(followed["group"], ["hot"], *outcome)
    wrong = followed["event"].where(followed.index != "P1", 2.0)
    with pytest.raises(ValueError, match="those of 1 of 81 patients are not"):
        group_hazard_ratios(followed["group"], ["hot", "cold"], wrong, *outcome[1:])


def test_a_group_without_events_has_no_ratio_and_says_so(followed):
    event = followed["event"].where((followed["group"] != "hot") | followed["event"].isna(), 0.0)

    (row,) = group_hazard_ratios(followed["group"], ["hot", "cold"], event, followed["time"], "death")

    assert np.isnan(row.effect.value)
    assert "ratio is 0 or infinite" in row.effect.flag
