import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from radnet.data.simulate import simulation_settings
from radnet.data.simulation.design import CELLS, cell_shares
from radnet.data.simulation.estimate import sample_auc
from radnet.data.simulation.oracle import expected_event_share, oracle_aucs, oracle_c_indices, patient_llrs
from radnet.data.simulation.planted import plant


@pytest.mark.parametrize(
    ("signal", "image", "drivers", "both"),
    [
        (0.0, 0.500, 0.697, 0.697),
        (0.9561, 0.750, 0.697, 0.804),
        (1.1931, 0.800, 0.697, 0.839),
        (1.4693, 0.850, 0.697, 0.877),
        (1.9922, 0.920, 0.697, 0.933),
    ],
)
def test_the_closed_form_gives_the_table_of_the_design(signal, image, drivers, both):
    found = oracle_aucs(simulation_settings("paper", signal=signal, covariates="pooled"))

    assert {estimate.formula for estimate in found.values()} == {"closed_form"}
    assert found["image"].value == pytest.approx(image, abs=0.0006)
    assert found["clinical"].value == found["drivers"].value == pytest.approx(drivers, abs=0.0006)
    assert found["combined"].value == found["image_and_drivers"].value == pytest.approx(both, abs=0.0006)


def test_without_driver_effects_only_the_image_is_left():
    found = oracle_aucs(simulation_settings("paper", clinical=0, covariates="pooled"))

    assert found["image"].value == found["combined"].value == pytest.approx(0.801, abs=0.0006)
    assert found["clinical"].value == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize(("signal", "combined"), [(1.1931, 0.860), (1.4693, 0.892), (1.9922, 0.941)])
def test_covariates_by_response_add_what_the_design_says(signal, combined):
    found = oracle_aucs(simulation_settings("paper", signal=signal))

    assert found["clinical"].value == pytest.approx(0.751, abs=0.0012)  # three decimals, and 2 SE of 2e6 draws
    assert found["combined"].value == pytest.approx(combined, abs=0.0012)
    assert 0 < found["combined"].se < 0.0005


def test_without_any_signal_every_oracle_is_one_half():
    found = oracle_aucs(simulation_settings("paper", strict_null=True))

    assert [estimate.value for estimate in found.values()] == pytest.approx([0.5] * 5, abs=1e-12)


@pytest.mark.parametrize("signal", [0.0, 0.956, 1.193, 1.992])
def test_the_closed_form_agrees_with_patients_drawn_slowly(signal):
    settings = simulation_settings("paper", signal=signal, covariates="pooled")
    rng = np.random.default_rng(11)
    q0 = np.array([0.038056, 0.019624, 0.062637, 0.161501, 0.210728, 0.113410, 0.106761, 0.287283])
    q1 = np.array([0.159703, 0.034589, 0.127094, 0.137631, 0.309516, 0.069962, 0.075818, 0.085688])
    scores = []
    for response, shares in enumerate((q0, q1)):
        cell = rng.choice(8, size=500_000, p=shares / shares.sum())
        few, many = (
            rng.choice([1, 2, 3], 500_000, p=[0.45, 0.35, 0.2]),
            rng.choice([2, 3, 4, 5], 500_000, p=[0.1, 0.4, 0.3, 0.2]),
        )
        m = np.where(cell % 2 == 1, many, few)
        shift = signal * np.array([1.0, 0.6])
        covariance = np.array([[[1, 0.3], [0.3, 1]]]) + np.eye(2) * (0.25 / m)[:, None, None]
        mean = response * shift + np.einsum("nij,nj->ni", np.linalg.cholesky(covariance), rng.normal(size=(500_000, 2)))
        weights = np.linalg.solve(covariance, np.broadcast_to(shift, (500_000, 2))[..., None])[..., 0]
        scores.append((np.log(q1 / q0)[cell], np.einsum("nj,nj->n", weights, mean - shift / 2)))

    label = np.repeat([0, 1], 500_000)
    for source, score in (("image", [image for _, image in scores]), ("combined", [a + b for a, b in scores])):
        monte_carlo = roc_auc_score(label, np.concatenate(score))
        assert oracle_aucs(settings)[source].value == pytest.approx(monte_carlo, abs=0.002)


def test_the_cells_of_responders_are_those_of_the_design():
    q1 = [0.159703, 0.034589, 0.127094, 0.137631, 0.309516, 0.069962, 0.075818, 0.085688]

    np.testing.assert_allclose(cell_shares(1.0, responder=True), q1, atol=2e-5)


@pytest.mark.parametrize(
    ("responder", "counts"), [(False, (79 / 110, 68 / 110, 64 / 110)), (True, (33 / 61, 26 / 61, 20 / 61))]
)
def test_the_drivers_have_the_published_marginals(responder, counts):
    np.testing.assert_allclose(cell_shares(1.0, responder) @ CELLS, counts, atol=5e-4)


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"carrier": "one"},
        {"signal_in": "volume"},
        {"signal_in": "volume", "carrier": "one"},
        {"signal_in": "ring", "max_lesions": 2},
        {"signal_in": "texture", "lesion_noise": 1.0},
        {"centre_outcome": 1.0},
    ],
    ids=lambda knobs: " ".join(f"{key}={value}" for key, value in knobs.items()) or "default",
)
def test_the_likelihood_ratios_of_drawn_patients_reach_the_oracle(knobs):
    settings = simulation_settings("paper", n=6000, images=False, seed=3, **knobs)
    cohort = plant(settings)
    response = cohort.patients["response"].to_numpy()

    llr = patient_llrs(settings, cohort.patients, cohort.lesions)

    oracle = oracle_aucs(settings, draws=400_000)
    llr = llr.assign(image_and_drivers=llr["image"] + llr["drivers"])
    scores = {name: llr[name] for name in ("image", "drivers", "image_and_drivers", "clinical", "combined")}
    if "centre_outcome" in knobs:
        scores |= {f"{name}_with_centre": score + llr["centre"] for name, score in scores.items()}
    assert oracle.keys() == scores.keys()
    for name, score in scores.items():
        found = sample_auc(score.to_numpy(), response)
        assert abs(found.value - oracle[name].value) < 3.5 * found.se, name


def test_a_likelihood_ratio_averages_to_one_among_nonresponders():
    settings = simulation_settings("paper", n=6000, images=False, signal=0.7, carrier="one")
    cohort = plant(settings)
    llr = patient_llrs(settings, cohort.patients, cohort.lesions)

    ratio = np.exp(llr.loc[cohort.patients["response"] == 0, ["image", "drivers", "clinical"]])

    np.testing.assert_array_less(np.abs(ratio.mean() - 1), 4 * ratio.sem())


def test_the_expected_event_share_is_the_published_one():
    assert expected_event_share(simulation_settings("paper")) == pytest.approx(0.69, abs=0.005)


def test_the_expected_event_share_follows_a_latent_in_the_rate():
    settings = simulation_settings("multicentre", n=12000, images=False, pfs_latent=0.8)

    seen = plant(settings).patients["pfs_event"]

    assert seen.mean() == pytest.approx(expected_event_share(settings), abs=3 * seen.sem())


def test_the_c_index_of_the_planted_rate_bounds_that_of_the_likelihood_ratio():
    found = oracle_c_indices(simulation_settings("paper"), pairs=50_000)

    assert 0.5 < found["combined"].value < found["rate"].value < 1


def test_without_signal_the_c_index_is_one_half():
    found = oracle_c_indices(simulation_settings("small", strict_null=True), pairs=50_000)

    assert found["combined"].value == pytest.approx(0.5, abs=4 * found["combined"].se)
