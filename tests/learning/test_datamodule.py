"""Batches of patients and their patches: each against the file, read a lesion at a time."""

import threading
from contextlib import nullcontext

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra train")
pytest.importorskip("monai", reason="images need the extra train")

from fits import hybrid, patched, settings, varied  # noqa: E402
from radnet.learning.augment import draw_seed  # noqa: E402
from radnet.learning.batch import Bags, Images  # noqa: E402
from radnet.learning.datamodule import LesionDataModule  # noqa: E402
from radnet.learning.fit import fit_network  # noqa: E402
from radnet.learning.losses import response_loss  # noqa: E402

SEED = 5


@pytest.fixture
def data(tmp_path):
    made = []

    def of(bags=None, **changes):
        made.append(LesionDataModule(bags or patched(tmp_path, 24, 1), None, 8, SEED, **changes))
        return made[-1]

    yield of
    for one in made:
        one.teardown()
    assert not patch_threads()


def epoch_of(module, epoch):
    module.order.set_epoch(epoch)
    return list(module.train_dataloader())


def by_hand(bags, batch, epoch, augment):
    """Read and vary the patches of a batch, one after another."""
    images, patches = bags.images, np.load(bags.images.table.file)
    for row, patient in enumerate(batch["place"].tolist()):
        for column, place in enumerate(images.places[patient]):
            expected = np.zeros_like(patches[0])
            if place >= 0:
                seed = draw_seed(SEED, epoch, *images.lesions[patient][column])
                expected = patches[place] if augment is None else augment(patches[place], images.kinds, seed).numpy()
            yield batch["image"][row, column].numpy(), expected.astype(patches.dtype)


def patch_threads():
    return [one for one in threading.enumerate() if one.name.startswith("patches")]


@pytest.mark.parametrize("augment", [None, varied()], ids=["as stored", "varied"])
@pytest.mark.parametrize("loaders", [0, 1])
def test_batches_hold_the_patches_of_the_epoch_whatever_was_read_ahead(augment, loaders, data, tmp_path):
    bags, module = patched(tmp_path, 24, 1), data(augment=augment, loaders=loaders)

    for epoch in (0, 1, 4, 4, 0):  # the next, a later, the same again and an earlier one
        batches = epoch_of(module, epoch)

        assert sorted(place for batch in batches for place in batch["place"].tolist()) == list(range(24))
        for batch in batches:
            there = [[place >= 0 for place in bags.images.places[one]] for one in batch["place"].tolist()]
            longest = max(len(one) for one in there)
            assert batch["has_image"].tolist() == [one + [False] * (longest - len(one)) for one in there]
            assert batch["image"].shape[1] == longest
            for found, expected in by_hand(bags, batch, epoch, augment):
                np.testing.assert_array_equal(found, expected)
            assert not batch["image"][~batch["has_image"]].any()
    module.teardown()


def test_batches_kept_are_not_written_over(data):
    module = data()

    first = epoch_of(module, 0)
    kept = [batch["image"].clone() for batch in first]
    epoch_of(module, 1)

    for batch, before in zip(first, kept, strict=True):
        assert torch.equal(batch["image"], before)


def test_a_pass_broken_off_is_begun_anew(data):
    module = data()
    whole = epoch_of(module, 0)

    module.order.set_epoch(0)
    next(iter(module.train_dataloader()))

    for one, other in zip(epoch_of(module, 0), whole, strict=True):
        assert torch.equal(one["place"], other["place"])
        assert torch.equal(one["image"], other["image"])


def test_two_passes_at_once_are_refused(data):
    module = data()
    module.order.set_epoch(0)
    one, other = iter(module.train_dataloader()), iter(module.train_dataloader())
    next(one)
    next(other)

    with pytest.raises(RuntimeError, match="another pass has begun"):
        next(one), next(one)


@pytest.mark.parametrize("loaders", [0, 1])
def test_a_file_that_is_gone_is_told_to_who_waits_for_the_batch(loaders, data, tmp_path):
    bags = patched(tmp_path, 24, 1)
    bags.images.table.file.unlink()

    with pytest.raises(FileNotFoundError, match=r"1\.npy"):
        epoch_of(data(bags, loaders=loaders), 0)


def test_a_pass_after_one_that_failed_is_begun_anew(data, tmp_path):
    bags = patched(tmp_path, 24, 1)
    module, file, away = data(bags), bags.images.table.file, tmp_path / "away.npy"
    file.rename(away)
    with pytest.raises(FileNotFoundError):
        epoch_of(module, 0)

    away.rename(file)

    assert len(epoch_of(module, 0)) == 3


def test_nothing_is_left_behind_when_it_ends(data):
    module = data(loaders=1)
    epoch_of(module, 0)
    assert patch_threads()

    module.teardown()

    assert not patch_threads()
    assert not torch.multiprocessing.active_children()
    assert len(epoch_of(module, 0)) == 3  # and begins again where it is asked to


@pytest.mark.parametrize("fault", [None, ValueError("a fault of the loss")], ids=["calm", "broken off"])
def test_a_fit_leaves_no_thread_behind(fault, tmp_path):
    train, valid, asked = patched(tmp_path, 24, 1), patched(tmp_path, 24, 2), []

    def loss(output, batch):
        asked.append(len(output))
        if fault is not None and len(asked) == 8:  # in the validation of the second epoch
            raise fault
        return response_loss(output, batch)

    with pytest.raises(ValueError, match="a fault of the loss") if fault else nullcontext():
        fit_network(hybrid(), loss, train, valid, settings(max_epochs=3), SEED)

    assert not patch_threads()


def test_validation_patients_come_in_their_own_order_each_time(tmp_path):
    bags = patched(tmp_path, 13, 2)
    module = LesionDataModule(patched(tmp_path, 24, 1), bags, 8, SEED)

    for _ in range(2):
        batches = list(module.val_dataloader())
        assert [batch["place"].tolist() for batch in batches] == [list(range(8)), list(range(8, 13))]
        for batch in batches:
            for found, expected in by_hand(bags, batch, 0, None):
                np.testing.assert_array_equal(found, expected)
    module.teardown()
    assert not patch_threads()


def test_patients_without_patches_are_read_by_no_thread(data, tmp_path):
    full = patched(tmp_path, 24, 1)
    module = data(Bags(full.features, full.clinical, full.event, full.time))

    assert "image" not in epoch_of(module, 0)[0]
    assert not patch_threads()


def test_a_patch_of_single_precision_stays_one(tmp_path):
    full = patched(tmp_path, 24, 1)
    file = full.images.table.file
    np.save(file, np.load(file).astype(np.float32))

    images = Images(full.images.table, full.images.lesions, full.images.places)

    assert images.read([0, 1]).dtype == torch.float32
    assert patched(tmp_path, 24, 1).images.read([0, 1]).dtype == torch.float16
