"""What TrainerSettings offers small cohorts: each against the definition written slowly, or a law."""

import os
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra train")
pytest.importorskip("monai", reason="images need the extra train")

from sklearn.metrics import roc_auc_score  # noqa: E402

from fits import fitted, hybrid, patched, settings, varied  # noqa: E402
from radnet.learning.cohort_risk import CohortRisk  # noqa: E402
from radnet.learning.fit import fit_network  # noqa: E402
from radnet.learning.losses import MultiTaskLoss, Task, cox_loss, response_loss  # noqa: E402
from radnet.learning.module import network_output  # noqa: E402


def flat(network):
    return torch.cat([weight.detach().flatten() for weight in network.parameters()]).double().numpy()


class Recorded:
    """A loss that writes down the weights, and their gradient, each time it is asked."""

    def __init__(self, network, loss=response_loss):
        self.network, self.loss = network, loss
        self.learned, self.validated, self.gradients, self.sizes = [], [], [], []

    def __call__(self, output, batch):
        if self.network.training:
            self.learned.append(flat(self.network))
            slopes = [weight.grad.flatten() for weight in self.network.parameters() if weight.grad is not None]
            self.gradients += [torch.cat(slopes).norm().item()] if slopes else []
            self.sizes.append(len(output))
        else:
            self.validated.append(flat(self.network))
        return self.loss(output, batch)


def recorded(tmp_path, valid=True, **changes):
    """Fit a network in three batches an epoch; return it, what was recorded, and the history."""
    network = hybrid()
    loss = Recorded(network)
    checked = patched(tmp_path, 12, 2) if valid else None
    history = fit_network(network, loss, patched(tmp_path, 24, 1), checked, settings(**changes), 5)
    return network, loss, history


def without_a_loss_rising(scores, event, time):
    """The negative log partial likelihood per event, no two times being equal."""
    terms = [
        np.log(np.exp(scores[time >= time[one]]).sum()) - scores[one] for one in np.flatnonzero(event)
    ]  # fmt: skip
    return np.mean(terms)


def test_validation_is_of_all_patients_at_once_though_they_are_scored_in_batches(tmp_path):
    seen = []
    network, loss = hybrid(), response_loss
    network.register_forward_hook(lambda module, told, _: None if module.training else seen.append(len(told[0])))
    train, valid = patched(tmp_path, 24, 1, True), patched(tmp_path, 13, 2, True)
    loss = CohortRisk(train.event, train.time)

    history = fit_network(network, loss, train, valid, settings(batch_size=4, max_epochs=1), 5)

    assert seen == [4, 4, 4, 1]
    everybody = valid.batch()
    with torch.no_grad():
        scores = network_output(network, everybody).double().numpy()[:, 0]
    by_hand = without_a_loss_rising(scores, valid.event, valid.time)
    assert history[0]["valid_loss"] == pytest.approx(by_hand, rel=1e-4)  # scores are of single precision
    assert "valid_auroc" not in history[0]


def test_the_auroc_of_an_epoch_is_that_of_all_validation_patients(tmp_path):
    network = hybrid()
    valid = patched(tmp_path, 13, 2)

    history = fit_network(
        network, response_loss, patched(tmp_path, 24, 1), valid, settings(batch_size=4, max_epochs=1), 5
    )

    with torch.no_grad():
        scores = network_output(network, valid.batch())[:, 0]
    assert history[0]["valid_auroc"] == pytest.approx(roc_auc_score(valid.event, scores))


def test_several_endpoints_are_validated_together_too(tmp_path):
    train, valid = (patched(tmp_path, n, seed, True) for n, seed in ((24, 1), (13, 2)))
    both = [
        type(one)(
            one.features, one.clinical, np.column_stack([one.event, one.event]),
            np.column_stack([one.time * np.nan, one.time]), one.centres, one.images,
        )
        for one in (train, valid)
    ]  # fmt: skip
    network = hybrid()
    network.fourth = torch.nn.Linear(network.fourth.in_features, 2)
    tasks = {"response": Task(response_loss, 0.5), "pfs": Task(CohortRisk(train.event, train.time), 2.0)}

    history = fit_network(network, MultiTaskLoss(tasks), *both, settings(batch_size=4, max_epochs=1), 5)

    with torch.no_grad():
        output = network_output(network, both[1].batch())
    expected = 0.5 * response_loss(output[:, 0], valid.batch()) + 2.0 * cox_loss(output[:, 1], valid.batch())
    assert history[0]["valid_loss"] == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_moving_average_is_its_recursion_over_the_steps(accumulate, tmp_path):
    chosen = {"max_epochs": 4, "average": "ema", "ema_decay": 0.7, "accumulate": accumulate}
    network, loss, history = recorded(tmp_path, **chosen)

    after_step = [w for w, before in zip(loss.learned[1:], loss.learned, strict=False) if (w != before).any()]
    average, slow = after_step[0], []
    for step, weights in enumerate(after_step):
        average = weights if step == 0 else 0.7 * average + 0.3 * weights
        slow.append(average)
    steps_an_epoch = 3 if accumulate == 1 else 2  # of three batches, the last steps too
    for epoch in range(3):  # the weights of the last step are in no further batch
        expected = slow[(epoch + 1) * steps_an_epoch - 1]
        np.testing.assert_allclose(loss.validated[epoch], expected, atol=1e-6)
    best = int(np.argmin([epoch["valid_loss"] for epoch in history]))
    np.testing.assert_array_equal(flat(network), loss.validated[best])


def test_late_epochs_are_averaged_evenly_and_earlier_ones_validated_as_they_are(tmp_path):
    network, loss, history = recorded(tmp_path, max_epochs=6, average="swa", swa_after=0.5, learning_rate=0.003)

    ends = loss.learned[3::3]  # of epochs 0 to 4; each epoch has three batches
    for epoch in range(3):
        np.testing.assert_array_equal(loss.validated[epoch], ends[epoch])
    for epoch in (3, 4):
        np.testing.assert_allclose(loss.validated[epoch], np.mean(ends[3 : epoch + 1], axis=0), atol=1e-6)
    best = int(np.argmin([epoch["valid_loss"] for epoch in history]))
    np.testing.assert_array_equal(flat(network), loss.validated[best])


@pytest.mark.parametrize("average", ["ema", "swa"])
def test_without_validation_patients_the_network_ends_in_the_average(average, tmp_path):
    _, longer, _ = recorded(tmp_path, valid=False, max_epochs=5)
    ends = longer.learned[1:13]  # after each of the 12 steps of four epochs

    network, _, _ = recorded(tmp_path, valid=False, max_epochs=4, average=average, ema_decay=0.8, swa_after=0.5)

    expected = ends[0]
    for weights in ends[1:]:
        expected = 0.8 * expected + 0.2 * weights
    if average == "swa":
        expected = (ends[8] + ends[11]) / 2
    np.testing.assert_allclose(flat(network), expected, atol=1e-6)


def test_batches_balanced_by_event_show_events_more_often_than_they_are(tmp_path):
    shown = []

    def loss(output, batch):
        shown.append(batch["event"].tolist())
        assert len(batch["place"].unique()) == len(batch["place"])
        return response_loss(output, batch)

    train = patched(tmp_path, 24, 1)
    train.event[:] = 0
    train.event[[2, 9, 11]] = 1

    fit_network(hybrid(), loss, train, None, settings(batch_size=4, balance="event", max_epochs=20), 5)

    # Two groups of 3 and 21: of four drawn without putting back, 1.57 are of the three (enumerated below).
    def expected(rare, common, left):
        if left == 0:
            return 0.0
        chance = rare / 3 / (rare / 3 + common / 21)
        return chance * (1 + expected(rare - 1, common, left - 1)) + (1 - chance) * expected(rare, common - 1, left - 1)

    assert len(shown) == 120
    assert np.mean([sum(one) for one in shown]) == pytest.approx(expected(3, 21, 4), abs=0.3)  # 4 standard errors


def test_a_batch_without_an_event_trains_a_hybrid_network_too(tmp_path):
    train = patched(tmp_path, 24, 1, survival=True)
    train.event[:] = 0
    train.event[np.argsort(train.time)[[2, 9]]] = 1
    free = []
    inner = CohortRisk(train.event, train.time)

    def loss(output, batch):
        value = inner(output, batch)
        if not batch["event"].any():
            (slope,) = torch.autograd.grad(value, output, retain_graph=True)
            free.append(slope.abs().sum().item())
        return value

    history = fit_network(hybrid(0.0, 0.0), loss, train, None, settings(batch_size=4, max_epochs=8), 5)

    assert len(free) > 20
    assert min(free[6:]) > 0  # after an epoch, whoever was at risk at one of the two events
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_two_batches_a_step_are_one_batch_of_both(tmp_path):
    train = patched(tmp_path, 24, 1)
    once, twice = hybrid(0.0, 0.0), hybrid(0.0, 0.0)

    fit_network(once, response_loss, train, None, settings(max_epochs=3), 5)
    fit_network(twice, response_loss, train, None, settings(max_epochs=3, batch_size=4, accumulate=2), 5)

    np.testing.assert_allclose(flat(twice), flat(once), atol=2e-4)  # AdamW's first steps enlarge rounding


def test_no_step_is_taken_along_a_gradient_longer_than_asked(tmp_path):
    _, free, _ = recorded(tmp_path, max_epochs=2)
    clip = float(np.median(free.gradients))

    _, clipped, _ = recorded(tmp_path, max_epochs=2, gradient_clip=clip)

    assert max(free.gradients) > 1.05 * clip
    assert max(clipped.gradients) <= clip * (1 + 1e-5)


def test_bfloat16_keeps_weights_in_single_precision_and_loses_little(tmp_path):
    network, half = fitted(tmp_path, survival=True, calm=True, precision="bf16-mixed", max_epochs=2)
    _, single = fitted(tmp_path, survival=True, calm=True, max_epochs=2)

    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    for one, other in zip(half, single, strict=True):
        assert one["train_loss"] != other["train_loss"]
        assert one["valid_loss"] == pytest.approx(other["valid_loss"], rel=0.03)  # a bfloat16 has 8 bits


@pytest.mark.parametrize("loaders", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_any_number_of_loaders_ends_in_the_same_weights_to_the_bit(loaders, tmp_path):
    expected, calm = fitted(tmp_path, survival=False, max_epochs=3, balance="event_and_centre")

    network, history = fitted(tmp_path, survival=False, max_epochs=3, balance="event_and_centre", loaders=loaders)

    assert history == calm
    np.testing.assert_array_equal(flat(network), flat(expected))


def test_patches_are_varied_anew_in_each_epoch(tmp_path):
    train, means = patched(tmp_path, 8, 1), []

    network = hybrid(0.0, 0.0)
    branch = network.branches["image"]
    branch.register_forward_hook(lambda _, told, __: means.append(told[0].double().sum().item()))

    fit_network(network, response_loss, train, None, settings(max_epochs=3), 5, augment=varied())
    varied_means = list(means)
    means.clear()
    fit_network(network, response_loss, train, None, settings(max_epochs=3), 5)

    assert len({round(one, 6) for one in varied_means}) == 3
    assert len({round(one, 6) for one in means}) == 1


@pytest.mark.slow
def test_a_compiled_fit_is_the_same_to_rounding_and_leaves_names_and_network_alone(tmp_path):
    network, history = fitted(tmp_path, survival=False, calm=True, max_epochs=2, compile=True)
    expected, calm = fitted(tmp_path, survival=False, calm=True, max_epochs=2)

    assert list(network.state_dict()) == list(expected.state_dict())
    for one, other in zip(history, calm, strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    np.testing.assert_allclose(flat(network), flat(expected), atol=5e-3)


NO_COMPILER = """
from fits import settings
from radnet.learning.fit import fit_network
try:
    fit_network(None, None, None, None, settings(compile=True), 5)
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
def test_compiling_without_a_compiler_is_refused(tmp_path):
    told = {"PATH": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", NO_COMPILER], env={**os.environ, **told}, capture_output=True, text=True, check=True
    )

    assert "trainer.compile=true, and nothing can be compiled here" in done.stdout
    assert "use trainer.compile=false" in done.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accumulate": 0}, "accumulate and processes must be 1 or more"),
        ({"swa_after": 1.0}, "swa_after must be 0 or more and below 1, got 1.0"),
        ({"ema_decay": 1.0}, "ema_decay must be above 0 and below 1, got 1.0"),
        ({"loaders": -1}, "loaders must be 0 or more, got -1"),
        ({"gradient_clip": -0.5}, "gradient_clip must be 0 or more, got -0.5"),
        ({"average": "mean"}, "average=mean is unknown; choose one of none, ema, swa"),
        ({"balance": "sex"}, "balance=sex is unknown; choose one of none, event, centre, event_and_centre"),
        ({"precision": "16"}, "precision=16 is unknown; choose one of 32-true, bf16-mixed"),
        ({"processes": 16}, "processes=16 cannot share batches of 8 patients"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        settings(**change)
