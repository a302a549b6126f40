from functools import partial

import numpy as np
import pytest

from oracle import cases, close
from radnet.evaluation.reclassification.at_horizon import idi_at, nri_categorical_at, nri_continuous_at
from radnet.evaluation.reclassification.binary import idi, nri_categorical, nri_continuous

FILE = "06_reclassification.json"
CASES = ["lung_365_add_ecog", "veteran_120_add_karno"]
DRAWS = {"resamples": 400, "seed": 3, "level": 0.95}


of_r = partial(cases, FILE)


def given(case):
    """Time, event, and the probabilities R's Cox models gave."""
    inputs, outputs = case["inputs"], case["outputs"]
    return inputs["time"], inputs["event"], outputs["risk_new_at_t0"], outputs["risk_old_at_t0"]


def assert_equals_nricens(ours, theirs):
    close(
        [ours.total.value, ours.event.value, ours.nonevent.value],
        [theirs["NRI"], theirs["NRI_plus_events"], theirs["NRI_minus_nonevents"]],
    )
    close([ours.up_event, ours.down_event], [theirs["Pr_up_case"], theirs["Pr_down_case"]])
    close([ours.up_nonevent, ours.down_nonevent], [theirs["Pr_up_ctrl"], theirs["Pr_down_ctrl"]])


@of_r(*CASES)
def test_idi_by_a_horizon_equals_uno_without_a_grid_and_survidinri_within_its_grid(case):
    theirs = case["outputs"]

    ours = idi_at(*given(case), case["inputs"]["t0"], **DRAWS)

    close(ours.total.value, theirs["idi_ipcw_exact_no_grid"])
    rise_of_cases, rise_of_rest = theirs["survIDINRI_IDI_FUN_on_risks"]["IDI_M1"][1:]
    np.testing.assert_allclose([ours.event.value, -ours.nonevent.value], [rise_of_cases, rise_of_rest], atol=1e-3)


@of_r(*CASES)
@pytest.mark.parametrize("method", ["km", "ipw"])
def test_nri_by_a_horizon_equals_nricens(case, method):
    t0, cuts = case["inputs"]["t0"], case["inputs"]["cuts"]

    continuous = nri_continuous_at(*given(case), t0, method, **DRAWS)
    categorical = nri_categorical_at(*given(case), cuts, t0, method, **DRAWS)

    assert_equals_nricens(continuous, case["outputs"][f"nricens_{method}_diff0"])
    assert_equals_nricens(categorical, case["outputs"][f"nricens_{method}_category"])


@of_r(*CASES)
def test_nri_weighted_as_uno_equals_survidinri(case):
    half, up_of_cases, up_of_rest = case["outputs"]["survIDINRI_IDI_FUN_on_risks"]["contNRI_M2"]

    ours = nri_continuous_at(*given(case), case["inputs"]["t0"], "uno", **DRAWS)

    # its Fortran adds up in single precision
    np.testing.assert_allclose(
        [ours.up_event, ours.up_nonevent, ours.total.value / 2], [up_of_cases, up_of_rest, half], atol=1e-6
    )


@of_r(*CASES)
def test_intervals_lie_about_where_survidinris_do(case):
    # it perturbs the Cox models too, which ours take as they are: bounds agree to a third of the interval's width
    theirs = case["outputs"]["survIDINRI_perturbation_ci_montecarlo"]["M1"]

    ours = idi_at(*given(case), case["inputs"]["t0"], resamples=2000, seed=1, level=0.95).total

    width = theirs[2] - theirs[1]
    np.testing.assert_allclose([ours.lower, ours.upper], theirs[1:3], atol=0.4 * width)
    assert (ours.p_value < 0.05) == (theirs[3] < 0.05)


@pytest.fixture
def patients():
    rng = np.random.default_rng(8)
    risk = rng.uniform(0.1, 0.9, 120)
    time = rng.exponential(10 * (1.2 - risk))
    censored = rng.exponential(15, 120)
    old = np.clip(risk + rng.normal(0, 0.2, 120), 0, 1)
    return np.minimum(time, censored).round(1), (time <= censored).astype(float), risk, old


def uncensored(patients, horizon):
    """Everybody is followed to the event or beyond the horizon."""
    time, _, new, old = patients
    return time, (time <= horizon).astype(float), new, old


@pytest.mark.parametrize("method", ["km", "ipw", "uno"])
def test_without_censoring_every_method_is_the_binary_one(patients, method):
    time, event, new, old = uncensored(patients, horizon=3.05)

    ours = nri_continuous_at(time, event, new, old, 3.05, method, **DRAWS)
    in_groups = nri_categorical_at(time, event, new, old, [0.3, 0.6], 3.05, method, **DRAWS)
    gain = idi_at(time, event, new, old, 3.05, **DRAWS)

    binary = nri_continuous(event, new, old, level=0.95)
    close([ours.event.value, ours.nonevent.value], [binary.event.value, binary.nonevent.value])
    binary = nri_categorical(event, new, old, [0.3, 0.6], level=0.95)
    close([in_groups.event.value, in_groups.nonevent.value], [binary.event.value, binary.nonevent.value])
    binary = idi(event, new, old, level=0.95)
    close([gain.event.value, gain.nonevent.value], [binary.event.value, binary.nonevent.value])


def test_bootstrap_intervals_of_uncensored_patients_are_those_of_theory(patients):
    time, event, new, old = uncensored(patients, horizon=3.05)
    theory = idi(event, new, old, level=0.95).total

    ours = idi_at(time, event, new, old, 3.05, resamples=4000, seed=1, level=0.95).total

    width = theory.upper - theory.lower
    np.testing.assert_allclose([ours.lower, ours.upper], [theory.lower, theory.upper], atol=0.06 * width)


@pytest.mark.parametrize("method", ["km", "ipw", "uno"])
def test_order_of_the_patients_and_unit_of_time_do_not_matter(patients, method):
    time, event, new, old = patients
    shuffled = np.random.default_rng(0).permutation(time.size)

    one = nri_continuous_at(time, event, new, old, 4, method, **DRAWS)
    other = nri_continuous_at(*(each[shuffled] for each in (time * 30, event, new, old)), 120, method, **DRAWS)

    close([one.event.value, one.nonevent.value], [other.event.value, other.nonevent.value])


@pytest.mark.parametrize("method", ["km", "ipw", "uno"])
def test_a_model_that_changes_nobody_gains_nothing(patients, method):
    time, event, new, _ = patients

    ours = nri_continuous_at(time, event, new, new, 4, method, **DRAWS)

    assert (ours.total.value, ours.total.lower, ours.total.upper, ours.total.p_value) == (0, 0, 0, 1)


def test_the_same_seed_gives_the_same_interval_and_p_values_agree_with_intervals(patients):
    time, event, new, old = patients
    for weight in np.linspace(0, 0.3, 7):
        mixed = weight * new + (1 - weight) * old
        ours = idi_at(time, event, mixed, old[::-1], 4, **DRAWS)

        assert ours == idi_at(time, event, mixed, old[::-1], 4, **DRAWS)
        for estimate in (ours.total, ours.event, ours.nonevent):
            assert (estimate.p_value < 0.05) == (estimate.lower > 0 or estimate.upper < 0)


@pytest.mark.parametrize("resamples", [20, 41, 50, 200])
@pytest.mark.parametrize("seed", range(10))
def test_the_interval_whose_coverage_is_1_minus_p_ends_at_0(seed, resamples, patients):
    time, event, new, old = patients
    mixed = 0.15 * new + 0.85 * old

    def gain(level):
        return nri_continuous_at(
            time, event, mixed, old[::-1], 4, "ipw", resamples=resamples, seed=seed, level=level, min_change=0.2
        )

    for part in ("total", "event", "nonevent"):
        p_value = getattr(gain(0.95), part).p_value
        assert 1 / (resamples + 1) <= p_value <= 1
        if 1 / (resamples + 1) < p_value < 1:
            inverted = getattr(gain(1 - p_value), part)
            assert min(abs(inverted.lower), abs(inverted.upper)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("resamples", [20, 41, 50, 81, 200, 201])  # 41: the 2.5th percentile is one of the draws
def test_intervals_and_p_values_agree_when_many_draws_are_0(resamples):
    rng = np.random.default_rng(resamples)
    outside = []
    for seed in range(60):
        time, event = rng.integers(1, 8, 24).astype(float), rng.random(24) < 0.7
        old = rng.choice([0.2, 0.4, 0.6, 0.8], 24)
        new = np.where(rng.random(24) < 0.7, old, rng.choice([0.2, 0.4, 0.6, 0.8], 24))
        gain = nri_continuous_at(time, event, new, old, 4, "ipw", resamples=resamples, seed=seed, level=0.95)
        for one in (gain.total, gain.event, gain.nonevent):
            outside.append(one.lower > 0 or one.upper < 0)
            assert (one.p_value < 0.05) == outside[-1]

    assert 0 < sum(outside) < len(outside)


def test_weights_worked_by_hand():
    # one is lost at 2 of 3 still there then: the event at 3 counts 1 / (1 - 1/3) = 1.5, the one at 1 counts 1
    time, event = [1, 2, 3, 5], [1, 0, 1, 0]

    ours = nri_continuous_at(time, event, [0.9, 0.5, 0.2, 0.3], [0.5] * 4, 4, "ipw", **DRAWS)

    assert (ours.up_event, ours.down_event) == pytest.approx((0.4, 0.6))
    assert (ours.up_nonevent, ours.down_nonevent) == (0, 1)
    assert ours.total.value == pytest.approx(-0.2 + 1)


@pytest.mark.parametrize(
    ("horizon", "message"),
    [
        (0, "a horizon must be longer than 0, got 0"),
        (0.5, "followed beyond it: 0 and 3 of 3 are"),
        (9, "followed beyond it: 2 and 0 of 3 are"),
    ],
)
def test_a_horizon_needs_patients_on_both_sides(horizon, message):
    with pytest.raises(ValueError, match=message):
        idi_at([1, 2, 3], [1, 1, 0], [0.5, 0.6, 0.7], [0.4, 0.4, 0.4], horizon, **DRAWS)
    with pytest.raises(ValueError, match=message):
        nri_continuous_at([1, 2, 3], [1, 1, 0], [0.5, 0.6, 0.7], [0.4, 0.4, 0.4], horizon, "km", **DRAWS)


def test_faults_of_the_input_are_told():
    rows = [1, 2, 3], [1, 1, 0]
    with pytest.raises(ValueError, match=r"1 of 3 probabilities lie outside \[0, 1\], such as -0.1"):
        idi_at(*rows, [0.5, -0.1, 0.7], [0.4, 0.4, 0.4], 2.5, **DRAWS)
    with pytest.raises(ValueError, match="method must be km, ipw or uno, got 'aj'"):
        nri_continuous_at(*rows, [0.5, 0.6, 0.7], [0.4, 0.4, 0.4], 2.5, "aj", **DRAWS)
    with pytest.raises(ValueError, match="min_change must be 0 or more"):
        nri_continuous_at(*rows, [0.5, 0.6, 0.7], [0.4, 0.4, 0.4], 2.5, "km", **DRAWS, min_change=2)
