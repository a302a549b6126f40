import numpy as np
import pytest
from lifelines import NelsonAalenFitter
from scipy.stats import chi2_contingency, mannwhitneyu

from radnet.evaluation.outcomes import Outcomes
from radnet.falsification.association import association, group_association


def binary(rng, n=80, rate=0.4):
    return Outcomes(rng.random(n) < rate, np.full(n, np.nan))


def followed(rng, n=60):
    return Outcomes(rng.random(n) < 0.6, np.ceil(rng.exponential(10, n)))  # with ties


@pytest.mark.parametrize("seed", range(4))
def test_a_binary_endpoint_gives_the_mann_whitney_test_with_ties(seed):
    rng = np.random.default_rng(seed)
    outcomes = binary(rng)
    number = np.round(rng.normal(size=80) + 0.4 * outcomes.event, 1)
    wanted = mannwhitneyu(number[outcomes.event], number[~outcomes.event], use_continuity=False, method="asymptotic")

    found = association(outcomes, number)

    pairs = outcomes.event.sum() * (~outcomes.event).sum()
    assert found.value == pytest.approx(wanted.statistic / pairs, rel=1e-12)
    assert found.p_value == pytest.approx(wanted.pvalue, rel=1e-9)


def test_the_excess_of_events_with_follow_up_is_what_nelson_and_aalen_did_not_expect():
    outcomes = followed(np.random.default_rng(3))
    fitter = NelsonAalenFitter(nelson_aalen_smoothing=False).fit(outcomes.time, outcomes.event)
    expected = fitter.cumulative_hazard_.iloc[:, 0].reindex(outcomes.time).to_numpy()

    np.testing.assert_allclose(outcomes.excess(), outcomes.event - expected, atol=1e-12)
    assert outcomes.excess().sum() == pytest.approx(0, abs=1e-12)


def test_with_follow_up_the_value_is_the_share_of_known_pairs_and_p_that_of_permutations():
    rng = np.random.default_rng(8)
    outcomes = followed(rng)
    number = rng.normal(size=60) - 0.05 * outcomes.time
    right = pairs = 0.0
    for one in range(60):
        for other in range(60):
            first = outcomes.time[one] < outcomes.time[other]
            first |= outcomes.time[one] == outcomes.time[other] and not outcomes.event[other]
            if outcomes.event[one] and first:
                pairs += 1
                right += number[one] > number[other]

    found = association(outcomes, number)

    assert found.value == pytest.approx(right / pairs, rel=1e-12)
    excess, rank = outcomes.excess(), np.argsort(np.argsort(number)) - 29.5
    null = np.array([rng.permutation(rank) @ excess for _ in range(20_000)])
    wanted = np.mean(np.abs(null) >= abs(rank @ excess))
    assert found.p_value == pytest.approx(wanted, abs=4 * np.sqrt(wanted / 20_000) + 0.002)  # 0.002: the normal tail


@pytest.mark.parametrize("number", [np.ones(20), np.arange(20.0)], ids=["one number", "one outcome"])
def test_what_cannot_be_told_apart_says_nothing(number):
    event = np.arange(20) % 2 == 0 if np.ptp(number) == 0 else np.ones(20, dtype=bool)
    found = association(Outcomes(event, np.full(20, np.nan)), number)
    assert (found.value, found.p_value) == (0.5, 1.0)


def test_centres_are_judged_without_the_pair_itself():
    rng = np.random.default_rng(5)
    outcomes = binary(rng, 50)
    centre = np.array(list("AABBBCCCCD"))[rng.integers(0, 10, 50)]
    centre[0] = "alone"
    scores = []
    for one in np.flatnonzero(outcomes.event):
        for other in np.flatnonzero(~outcomes.event):
            rates = []
            for who in (one, other):
                mates = [m for m in range(50) if centre[m] == centre[who] and m not in (one, other)]
                rates.append(outcomes.event[mates].mean() if mates else np.nan)
            same = centre[one] == centre[other] or np.isnan(rates).any() or np.isclose(*rates)
            scores.append(0.5 if same else float(rates[0] > rates[1]))

    assert group_association(outcomes, centre).value == pytest.approx(np.mean(scores), rel=1e-12)


def test_the_p_value_of_centres_is_about_that_of_pearsons_chi_square_where_they_are_large():
    rng = np.random.default_rng(1)
    centre = np.repeat(["A", "B", "C"], 100)
    outcomes = Outcomes(rng.random(300) < np.repeat([0.4, 0.4, 0.5], 100), np.full(300, np.nan))
    table = [[np.sum(outcomes.event[centre == c] == e) for e in (0, 1)] for c in "ABC"]
    wanted = chi2_contingency(table, correction=False).pvalue

    found = group_association(outcomes, centre)

    assert 0.05 < wanted < 0.95
    assert found.p_value == pytest.approx(wanted, abs=4 * np.sqrt(wanted * (1 - wanted) / 1999) + 0.02)  # is discrete


def test_centres_that_say_nothing_come_out_at_one_half_on_average():
    rng = np.random.default_rng(2)
    values = [group_association(binary(rng, 60), rng.integers(0, 8, 60)).value for _ in range(200)]
    assert np.mean(values) == pytest.approx(0.5, abs=4 * np.std(values) / np.sqrt(200))


@pytest.mark.parametrize("kind", [binary, followed])
def test_a_centre_with_all_the_events_is_found(kind):
    outcomes = kind(np.random.default_rng(0))
    found = group_association(outcomes, np.where(outcomes.event, "A", "B"))
    assert found.value > 0.7
    assert found.p_value == pytest.approx(1 / 2000)
