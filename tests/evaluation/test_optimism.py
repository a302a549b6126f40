from functools import partial

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from oracle import cases
from radnet.evaluation.calibration.optimism import (
    INDICES,
    calibration_curve_corrected,
    draw_rows,
    largest_shift,
    optimism_corrected,
    validation_indices,
)

FILE = "03_calibration.json"
LOOSER = {"Dxy": 1e-3}  # rms 6.5 bins probabilities before it ranks them


of_r = partial(cases, FILE)


def logistic(columns, event):
    def fit(rows):
        model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12).fit(columns[rows], event[rows])
        return lambda judged: model.predict_proba(columns[judged])[:, 1]

    return fit


def patients_of(case):
    data = case["inputs"]["data"]
    columns = np.column_stack([data[name] for name in ("s100b", "age", "wfns")]).astype(float)
    event, rows = np.array(data["poor"]), np.array(case["inputs"]["resample_indices_1based"]) - 1
    return logistic(columns, event), event, rows


def noise(seed, n=60, width=5):
    rng = np.random.default_rng(seed)
    event = rng.random(n) < 0.5
    return logistic(rng.normal(size=(n, width)), event), event


@of_r("bootstrap_asah")
def test_corrected_indices_equal_rms_validate(case):
    fit, event, rows = patients_of(case)
    theirs = dict(zip(case["outputs"]["validate"]["rownames"], case["outputs"]["validate"]["rows"], strict=True))

    ours = optimism_corrected(fit, validation_indices, event, rows)

    names = ["Dxy", "R2", "Intercept", "Slope", "D", "U", "Q", "B", "g", "gp"]
    columns = [ours.apparent, ours.training, ours.test, ours.optimism, ours.corrected, ours.resamples]
    for place, name in enumerate(names):
        values = [column[place] for column in columns]
        # an index that is 0 or 1 by construction is so to the tolerance of the fit
        np.testing.assert_allclose(values, theirs[name], rtol=LOOSER.get(name, 1e-6), atol=2e-8, err_msg=name)
    emax = largest_shift(*ours.corrected[[INDICES.index("intercept"), INDICES.index("slope")]])
    np.testing.assert_allclose(emax, theirs["Emax"][4], rtol=1e-6)


@of_r("bootstrap_asah")
def test_apparent_indices_equal_lrm(case):
    fit, event, _ = patients_of(case)
    everyone, theirs = np.arange(event.size), case["outputs"]["stats"]

    ours = dict(zip(INDICES, validation_indices(event, fit(everyone)(everyone)), strict=True))

    for name, of_lrm in {"dxy": "Dxy", "r2": "R2", "brier": "Brier", "g": "g", "gp": "gp"}.items():
        np.testing.assert_allclose(ours[name], theirs[of_lrm], rtol=1e-6)
    np.testing.assert_allclose(ours["d"], (theirs["Model L.R."] - 1) / theirs["Obs"], rtol=1e-6)


@of_r("bootstrap_asah")
def test_corrected_curve_equals_rms_calibrate(case):
    fit, event, rows = patients_of(case)
    theirs = case["outputs"]["calibrate"]

    ours = calibration_curve_corrected(fit, event, theirs["predy"], rows)

    np.testing.assert_allclose(ours.apparent, theirs["calibrated_orig"], rtol=1e-5)  # lrm stops at about 1e-7
    np.testing.assert_allclose(ours.corrected, theirs["calibrated_corrected"], rtol=1e-5)
    np.testing.assert_allclose(ours.mean_absolute_error, theirs["mean_abs_error"], rtol=1e-5)


def test_resamples_that_hold_everybody_once_find_no_optimism():
    fit, event = noise(seed=1)

    ours = optimism_corrected(fit, validation_indices, event, np.tile(np.arange(60), (3, 1)))

    np.testing.assert_allclose(ours.optimism, 0, atol=1e-12)
    np.testing.assert_allclose(ours.corrected, ours.apparent, atol=1e-12)


def test_models_of_noise_lose_most_of_their_apparent_discrimination():
    cohorts = [noise(seed) for seed in range(8)]
    rows = draw_rows(60, resamples=20, seed=1)

    ours = [optimism_corrected(fit, validation_indices, event, rows) for fit, event in cohorts]

    dxy, slope = INDICES.index("dxy"), INDICES.index("slope")
    assert np.mean([each.corrected[dxy] for each in ours]) < np.mean([each.apparent[dxy] for each in ours]) / 2
    assert np.mean([each.corrected[slope] for each in ours]) < 0.7


def test_index_that_a_resample_lacks_is_averaged_over_the_others():
    event = np.array([0, 1, 0, 1, 1, 0])
    rows = np.array([[0, 1, 2, 3, 4, 5], [1, 1, 0, 3, 4, 5]])

    def measure(happened, probability):
        return np.array([happened.mean(), np.nan if happened.sum() == 4 else 2.0])

    ours = optimism_corrected(lambda _: lambda judged: np.full(judged.size, 0.5), measure, event, rows)

    np.testing.assert_array_equal(ours.resamples, [2, 1])
    np.testing.assert_allclose(ours.training, [(1 / 2 + 4 / 6) / 2, 2.0])


def test_resample_of_one_class_is_left_out():
    event = np.array([0, 1, 0, 1])
    rows = np.array([[0, 0, 2, 2], [0, 1, 2, 3]])

    ours = optimism_corrected(
        lambda _: lambda judged: np.array([0.2, 0.4, 0.5, 0.6])[judged], lambda e, p: np.array([p.mean()]), event, rows
    )

    assert ours.resamples.tolist() == [1]


def test_optimism_needs_a_resample_with_both_classes():
    with pytest.raises(ValueError, match="optimism needs a resample with both classes: none of 1 has them"):
        optimism_corrected(
            lambda _: lambda judged: np.full(judged.size, 0.5),
            lambda e, p: np.array([p.mean()]),
            [0, 1],
            np.array([[0, 0]]),
        )


def test_indices_that_rest_on_recalibration_are_unknown_where_a_probability_separates_the_classes():
    indices = dict(zip(INDICES, validation_indices([0, 0, 1, 1], [0.1, 0.3, 0.6, 0.8]), strict=True))

    assert indices["dxy"] == 1
    assert indices["brier"] == pytest.approx((0.01 + 0.09 + 0.16 + 0.04) / 4)
    assert np.isnan([indices[name] for name in ("r2", "intercept", "slope", "d", "u", "q", "g", "gp")]).all()


def test_mean_difference_is_that_of_every_pair():
    rng = np.random.default_rng(1)
    log_odds = rng.normal(size=50)
    event = rng.random(50) < expit(log_odds)

    indices = dict(zip(INDICES, validation_indices(event, expit(log_odds)), strict=True))

    pairs = np.abs(log_odds[:, None] - log_odds).sum() / (50 * 49)
    assert indices["g"] == pytest.approx(abs(indices["slope"]) * pairs)


def test_largest_shift_of_a_pure_shift_worked_by_hand():
    # log odds of -1/2 and +1/2 are the farthest apart when both lie about 0
    assert largest_shift(1.0, 1.0) == pytest.approx(expit(0.5) - expit(-0.5), rel=1e-5)  # on a grid of 0.0005
    assert largest_shift(0.0, 1.0) == pytest.approx(0, abs=1e-15)


def test_drawn_rows_follow_their_seed():
    rows = draw_rows(20, resamples=5, seed=3)

    assert rows.shape == (5, 20)
    assert ((rows >= 0) & (rows < 20)).all()
    np.testing.assert_array_equal(rows, draw_rows(20, resamples=5, seed=3))
