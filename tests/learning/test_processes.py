"""Fits shared by processes, and fits whose process is killed: real processes, real signals."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra train")
pytest.importorskip("monai", reason="images need the extra train")

import fits  # noqa: E402
from fits import fitted, hybrid, patched, settings  # noqa: E402
from radnet.learning.cohort_risk import CohortRisk  # noqa: E402
from radnet.learning.fit import fit_network  # noqa: E402
from radnet.learning.loggers import csv_logger  # noqa: E402

SEVERAL = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without processes")


@SEVERAL
@pytest.mark.parametrize("survival", [False, True], ids=["response", "survival"])
def test_two_processes_give_the_numbers_of_one_and_tell_a_logger(survival, tmp_path):
    chosen = {"survival": survival, "calm": True, "max_epochs": 4, "average": "ema", "batch_size": 6}
    alone, expected = fitted(tmp_path, **chosen)

    logger = csv_logger(tmp_path / "run")
    network, history = fitted(tmp_path, **chosen, processes=2, logger=logger)

    for one, other in zip(history, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-4)  # sums in another order, enlarged by AdamW's first steps
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(weight, alone.state_dict()[name], atol=1e-3, rtol=1e-3)
    assert not network.training
    logger.save()
    rows = np.genfromtxt(tmp_path / "run" / "lightning" / "metrics.csv", delimiter=",", names=True)
    assert rows["train_loss"].tolist() == pytest.approx([epoch["train_loss"] for epoch in history])
    assert rows["step"].tolist() == [3, 7, 11, 15]  # four batches an epoch


@SEVERAL
def test_a_fault_in_a_process_is_told_here(tmp_path):
    train, valid = patched(tmp_path, 16, 1, survival=True), patched(tmp_path, 6, 2, survival=True)
    valid.event[:] = 0

    with pytest.raises(ValueError, match="needs an event, and none of 6 patients had one: set aside more patients"):
        fit_network(hybrid(), CohortRisk(train.event, train.time), train, valid, settings(processes=2), 5)


def test_what_cannot_be_sent_to_another_process_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"trainer\.processes=2: what is trained must be sent .*trainer\.processes=1"):
        fit_network(
            hybrid(), lambda output, batch: output.mean(), patched(tmp_path, 8, 1), None, settings(processes=2), 5
        )


@pytest.mark.parametrize(
    ("loaders", "processes"),
    [(0, 1), pytest.param(1, 1, marks=pytest.mark.slow), pytest.param(0, 2, marks=[SEVERAL, pytest.mark.slow])],
    ids=["one process", "with a loader", "two processes"],
)
def test_a_fit_killed_again_and_again_ends_in_the_weights_of_a_calm_one_to_the_bit(loaders, processes, tmp_path):
    chosen = {"survival": True, "average": "ema", "balance": "event", "accumulate": 2, "batch_size": 4}
    chosen |= {"max_epochs": 40, "patience": 40, "checkpoint_every_s": 0, "processes": processes}
    calm, expected = fitted(tmp_path / "calm", **chosen)
    (tmp_path / "fit.json").write_text(json.dumps({**chosen, "loaders": loaders}))
    checkpoint, made = tmp_path / "last.ckpt", tmp_path / "made.pt"
    command = [sys.executable, fits.__file__, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    for _ in range(2):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        running = subprocess.Popen(command, env=env)
        deadline = time.monotonic() + 120
        while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(0.1)
        running.send_signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
        assert not made.exists()
    subprocess.run(command, env=env, check=True, timeout=300)

    found = torch.load(made, weights_only=True)
    assert found["history"] == expected
    assert found["weights"].keys() == calm.state_dict().keys()
    for name, weight in calm.state_dict().items():
        assert torch.equal(found["weights"][name], weight), name
