import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from oracle import close
from radnet.evaluation.survival.brier import brier_at_time, integrated_brier
from radnet.evaluation.survival.kaplan_meier import kaplan_meier
from survival_oracle import of_r


def row(score):
    interval = score.interval(0.95)
    return [score.value, score.standard_error, interval.lower, interval.upper]


@of_r("brier_auc_lung")
def test_brier_score_and_its_error_equal_riskregression(case):
    given, theirs = case["inputs"], case["outputs"]["Brier"]
    for place, horizon in enumerate(given["times"]):
        of_model = (np.array(theirs["model"]) == "m") & (np.array(theirs["times"]) == horizon)
        of_null = (np.array(theirs["model"]) == "Null model") & (np.array(theirs["times"]) == horizon)
        risk = [line[place] for line in given["risk"]["rows"]]
        everyone = 1 - kaplan_meier(given["time"], given["event"], level=0.95).at(horizon).value

        ours = brier_at_time(given["time"], given["event"], risk, horizon)
        null = brier_at_time(given["time"], given["event"], np.full(len(risk), everyone), horizon)

        columns = ("Brier", "se", "lower", "upper")
        close(row(ours), [np.array(theirs[name])[of_model][0] for name in columns])
        close(row(null), [np.array(theirs[name])[of_null][0] for name in columns])
        close(ours.reference, null.value)
        close(ours.scaled, 1 - ours.value / null.value)


def simulated(seed, size=80):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=size)
    life, stay = rng.exponential(5 * np.exp(-score)), rng.exponential(8, size=size)
    chance = 1 - np.exp(-3 * np.exp(score) / 5)  # of the event by 3, as drawn
    return np.minimum(life, stay), life <= stay, chance


def test_brier_score_of_patients_who_all_stayed_is_that_of_a_binary_outcome():
    time, _, chance = simulated(1)

    ours = brier_at_time(time, np.ones(80), chance, 3)

    by_then = time <= 3
    assert ours.value == pytest.approx(brier_score_loss(by_then, chance))
    assert ours.standard_error == pytest.approx(np.std((by_then - chance) ** 2, ddof=1) / np.sqrt(80))
    assert ours.reference == pytest.approx(by_then.mean() * (1 - by_then.mean()))


def test_brier_score_worked_by_hand():
    # of four, one has the event at 1, one leaves at 2, one has the event at 3, one is followed to 5; judged at 4:
    # who stays beyond 2 has G = 2/3, so the last two weigh 3/2
    ours = brier_at_time([1, 2, 3, 5], [1, 0, 1, 0], [0.8, 0.5, 0.6, 0.3], 4)

    assert ours.value == pytest.approx((0.2**2 + 1.5 * 0.4**2 + 1.5 * 0.3**2) / 4)


def test_standard_error_is_the_spread_of_the_score_over_cohorts():
    drawn = [brier_at_time(*simulated(seed, size=150), 3) for seed in range(300)]

    spread = np.std([score.value for score in drawn], ddof=1)

    # 300 cohorts tell a standard deviation to 4 %
    assert np.mean([score.standard_error for score in drawn]) == pytest.approx(spread, rel=0.12)


def test_truth_beats_any_other_probability_on_average():
    truth, shifted = ([], [])
    for seed in range(100):
        time, event, chance = simulated(seed)
        truth.append(brier_at_time(time, event, chance, 3).value)
        shifted.append(brier_at_time(time, event, chance**2, 3).value)

    assert np.mean(truth) < np.mean(shifted)


def test_integrated_score_is_the_mean_over_time_written_slowly():
    time = np.array([1.5, 2.5, 4.0, 9.0])
    horizons = np.array([1.0, 2, 3, 5])
    chance = np.array([[0.5, 0.6, 0.7, 0.8], [0.2, 0.4, 0.5, 0.6], [0.1, 0.2, 0.3, 0.5], [0.1, 0.1, 0.2, 0.3]])
    at = ((time[:, None] <= horizons) - chance) ** 2
    slowly = ((at[:, 1:] + at[:, :-1]) / 2 * np.diff(horizons)).sum(axis=1).mean() / 4

    ours = integrated_brier(time, np.ones(4), chance, horizons)

    assert ours.value == pytest.approx(slowly)
    assert (ours.first, ours.last, ours.note) == (1, 5, "")
    close(ours.scaled, 1 - ours.value / ours.reference)


def test_horizons_beyond_follow_up_are_left_out_and_told():
    time, event, chance = [1, 2, 3, 4], [1, 1, 1, 0], np.full((4, 3), 0.5)

    ours = integrated_brier(time, event, chance, [1, 2, 40])

    assert (ours.last, ours.note) == (2, "nobody is followed beyond 40: left out")
    assert ours.value == 0.25
    late = brier_at_time(time, event, chance[:, 0], 40)
    assert late.horizon.time == 3
    assert late.horizon.note == "nobody is followed beyond 40: judged at 3, the last time beyond which somebody is"


def test_probabilities_and_horizons_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="a probability lies between 0 and 1, but 1 of 3 do not"):
        brier_at_time([1, 2, 3], [1, 1, 0], [0.5, 1.2, 0.1], 2)
    with pytest.raises(ValueError, match="horizons must be numbers above 0 that rise"):
        integrated_brier([1, 2, 3], [1, 1, 0], np.full((3, 2), 0.5), [2, 1])
    with pytest.raises(ValueError, match=r"probability must be patients × 2 horizons, got \(3, 1\)"):
        integrated_brier([1, 2, 3], [1, 1, 0], np.full((3, 1), 0.5), [1, 2])
    with pytest.raises(ValueError, match="1 of 2 horizons lie within follow-up"):
        integrated_brier([1, 2, 3], [1, 1, 0], np.full((3, 2), 0.5), [2, 8])
