import csv
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra train")

from radnet.learning.batch import Bags  # noqa: E402
from radnet.learning.datamodule import LesionDataModule  # noqa: E402
from radnet.learning.fit import TrainerSettings, fit_network  # noqa: E402
from radnet.learning.loggers import csv_logger  # noqa: E402
from radnet.learning.losses import response_loss  # noqa: E402
from radnet.models.networks import RadiomicsMLP  # noqa: E402


def bags(n, seed=0):
    rng = np.random.default_rng(seed)
    event = rng.random(n) < 0.5
    features = [rng.normal(size=(rng.integers(1, 4), 5)) + 1.5 * event[place] for place in range(n)]
    return Bags(features, np.zeros((n, 0)), event, np.full(n, np.nan))


def settings(**changes):
    given = {"max_epochs": 15, "patience": 3, "valid_share": 0.2, "batch_size": 8, "learning_rate": 0.02}
    return TrainerSettings(**{**given, "weight_decay": 0.0, **changes})


def network(seed=0):
    torch.manual_seed(seed)
    return RadiomicsMLP(n_features=5, n_clinical=0, hidden=[8, 8, 4], dropout=0.2)


def test_lesions_are_padded_and_marked():
    batch = Bags(
        [np.ones((1, 2)), np.ones((3, 2))], np.zeros((2, 1)), np.array([True, False]), np.array([1.0, 2.0])
    ).batch()

    assert batch["features"].shape == (2, 3, 2)
    assert batch["present"].tolist() == [[True, False, False], [True, True, True]]
    assert batch["features"][0, 1:].abs().sum() == 0
    assert batch["event"].tolist() == [1.0, 0.0]


def test_a_patient_without_a_lesion_cannot_be_batched():
    with pytest.raises(ValueError, match="without a lesion"):
        Bags([np.ones((0, 2))], np.zeros((1, 0)), np.array([True]), np.array([np.nan]))


def test_an_epoch_shows_every_patient_once_in_an_order_of_its_own():
    module = LesionDataModule(bags(20), None, batch_size=6, seed=1)
    loader = module.train_dataloader()

    epochs = []
    for epoch in (0, 1, 0):
        loader.sampler.set_epoch(epoch)
        epochs.append([batch["features"].sum().item() for batch in loader])

    whole = bags(20).batch()["features"].sum().item()
    assert sum(epochs[0]) == pytest.approx(whole, rel=1e-5)
    assert epochs[0] != epochs[1]
    assert epochs[0] == epochs[2]


def test_the_weights_kept_are_those_of_the_lowest_validation_loss():
    model, valid = network(), bags(30, seed=2)

    history = fit_network(model, response_loss, bags(40), valid, settings(), seed=5)

    batch = valid.batch()
    with torch.no_grad():
        loss = response_loss(model(batch["features"], batch["present"], batch["clinical"]), batch).item()
    assert loss == pytest.approx(min(epoch["valid_loss"] for epoch in history), rel=1e-5)


def test_training_stops_when_the_validation_loss_no_longer_falls():
    history = fit_network(network(), response_loss, bags(40), bags(30, seed=9), settings(max_epochs=200), seed=5)

    losses = [epoch["valid_loss"] for epoch in history]
    assert len(history) < 200
    assert min(losses) < min(losses[-3:])


def test_without_validation_patients_training_runs_to_the_last_epoch():
    history = fit_network(network(), response_loss, bags(40), None, settings(max_epochs=4), seed=5)

    assert [epoch["epoch"] for epoch in history] == [0, 1, 2, 3]
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_fitting_leaves_the_global_random_state_alone():
    torch.manual_seed(11)
    expected = torch.rand(1).item()
    torch.manual_seed(11)

    fit_network(network(), response_loss, bags(16), None, settings(max_epochs=1), seed=5)

    torch.manual_seed(11)
    assert torch.rand(1).item() == expected


def test_the_loss_is_the_cross_entropy_by_hand():
    batch = bags(2).batch() | {"event": torch.tensor([1.0, 0.0])}

    loss = response_loss(torch.tensor([0.3, -0.2]), batch, positive_weight=2.0)

    by_hand = (2 * -math.log(1 / (1 + math.exp(-0.3))) - math.log(1 - 1 / (1 + math.exp(0.2)))) / 2
    assert loss.item() == pytest.approx(by_hand, rel=1e-6)


class Interrupted(RuntimeError):  # noqa: N818 - no error of ours
    pass


def interrupted_after(steps):
    """The loss, until it has been asked that many times."""
    asked = []

    def loss(score, batch):
        asked.append(1)
        if len(asked) > steps:
            raise Interrupted
        return response_loss(score, batch)

    return loss


def weights(model):
    return torch.cat([tensor.flatten() for tensor in model.state_dict().values()])


@pytest.mark.parametrize("with_valid", [True, False], ids=["stopping early", "to the last epoch"])
@pytest.mark.parametrize("steps", [7, 20], ids=["in every epoch", "in some"])
def test_a_fit_interrupted_again_and_again_ends_in_the_same_weights_to_the_bit(steps, with_valid, tmp_path):
    most = 100 if with_valid else 15
    valid, chosen = (bags(30, seed=9) if with_valid else None), settings(checkpoint_every_s=0, max_epochs=most)
    calm, model = network(), network()
    expected = fit_network(calm, response_loss, bags(40), valid, chosen, seed=5)

    history, interruptions = None, 0
    while history is None:
        try:
            model = network()
            options = {"seed": 5, "checkpoint": tmp_path / "last.ckpt"}
            history = fit_network(model, interrupted_after(steps), bags(40), valid, chosen, **options)
        except Interrupted:
            interruptions += 1

    assert interruptions >= len(expected) * 5 // steps - 1
    assert (len(expected) < most) == with_valid
    assert history == expected
    assert torch.equal(weights(model), weights(calm))


@pytest.mark.parametrize("with_valid", [True, False], ids=["stopped early", "at the last epoch"])
def test_a_finished_fit_is_not_done_again(with_valid, tmp_path):
    valid, chosen = (bags(30, seed=9) if with_valid else None), settings(max_epochs=40)
    first, again = network(), network()
    history = fit_network(first, response_loss, bags(40), valid, chosen, seed=5, checkpoint=tmp_path / "last.ckpt")

    same = fit_network(again, interrupted_after(0), bags(40), valid, chosen, seed=5, checkpoint=tmp_path / "last.ckpt")

    assert (len(history) < 40) == with_valid
    assert same == history
    assert torch.equal(weights(again), weights(first))


def test_checkpoints_are_not_written_more_often_than_asked(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("radnet.learning.callbacks.write_atomically", lambda path, write: written.append(path))

    fit_network(network(), response_loss, bags(40), None, settings(), seed=5, checkpoint=tmp_path / "last.ckpt")

    assert len(written) == 1  # at the end


def test_the_logger_is_told_every_epoch_once_though_the_fit_was_interrupted(tmp_path):
    chosen = settings(checkpoint_every_s=0, max_epochs=6)
    options = {"seed": 5, "checkpoint": tmp_path / "last.ckpt"}
    with pytest.raises(Interrupted):
        fit_network(
            network(), interrupted_after(17), bags(40), None, chosen, logger=csv_logger(tmp_path / "run"), **options
        )

    fit_network(network(), response_loss, bags(40), None, chosen, logger=csv_logger(tmp_path / "run"), **options)

    with (tmp_path / "run" / "lightning" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [int(row["step"]) for row in rows] == [4, 9, 14, 19, 24, 29]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_epochs": 0}, "must be 1 or more"),
        ({"valid_share": 1.0}, "below 1"),
        ({"checkpoint_every_s": -1}, "must be 0 or more, got -1"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        settings(**change)
