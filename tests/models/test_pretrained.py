import pickle

import pytest

torch = pytest.importorskip("torch", reason="networks need the extra train")

from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402

from radnet.models.hybrid import ImageBranch  # noqa: E402
from radnet.models.pretrained import load_weights  # noqa: E402

RESNET = {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [4, 4, 4, 8]}


def net(seed, outputs=3):
    torch.manual_seed(seed)
    rows = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    return nn.ModuleDict({"stem": nn.Linear(2, 4), "blocks": rows, "last": nn.Linear(4, outputs)})


def saved(weights, tmp_path, suffix=".safetensors"):
    path = tmp_path / f"weights{suffix}"
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_of_the_same_network_all_find_their_place(suffix, tmp_path):
    theirs, ours = net(1), net(2)

    report = load_weights(ours, saved(theirs.state_dict(), tmp_path, suffix))

    assert report.matched == tuple(theirs.state_dict())
    assert (report.missing, report.unexpected, report.misshapen, report.frozen) == ((), (), {}, ())
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)


def test_names_under_state_dict_are_read_with_their_prefix_taken_off_and_their_beginnings_changed(tmp_path):
    theirs, ours = net(1), net(2)
    changed = {
        f"module.{name.replace('blocks.2', 'blocks.x').replace('blocks', 'layers')}": value
        for name, value in theirs.state_dict().items()
    }
    path = saved({"epoch": 3, "state_dict": changed | {"optimizer.rate": torch.ones(1)}}, tmp_path, ".pt")

    report = load_weights(ours, path, prefix="module.", rename={"layers.": "blocks.", "layers.x": "blocks.2"})

    assert report.matched == tuple(theirs.state_dict())
    assert torch.equal(ours["blocks"][2].weight, theirs["blocks"][2].weight)


def test_what_is_missing_unexpected_or_of_another_shape_is_told_and_left_as_it_was(tmp_path):
    theirs, ours = net(1, outputs=5).state_dict(), net(2)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    del theirs["stem.bias"]
    theirs["stem.extra"] = torch.zeros(1)

    report = load_weights(ours, saved(theirs, tmp_path))

    assert report.missing == ("stem.bias",)
    assert report.unexpected == ("stem.extra",)
    assert report.misshapen == {"last.weight": ((5, 4), (3, 4)), "last.bias": ((5,), (3,))}
    for name in ("stem.bias", "last.weight", "last.bias"):
        assert torch.equal(ours.state_dict()[name], before[name])


def learning(module):
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]


@pytest.mark.parametrize(
    ("freeze", "expected"),
    [
        ("none", ["stem.weight", "stem.bias", "blocks.0.weight", "blocks.0.bias", "blocks.2.weight", "blocks.2.bias"]),
        ("all", []),
        ("all_but_last:1", []),  # the last layer, which learns in any case
        ("all_but_last:2", ["blocks.2.weight", "blocks.2.bias"]),
        (
            "all_but_last:4",
            ["stem.weight", "stem.bias", "blocks.0.weight", "blocks.0.bias", "blocks.2.weight", "blocks.2.bias"],
        ),
    ],
)
def test_what_is_held_is_what_the_file_filled_except_in_the_last_stages(freeze, expected, tmp_path):
    ours = net(2)

    report = load_weights(ours, saved(net(1, outputs=5).state_dict(), tmp_path), freeze=freeze)

    assert learning(ours) == [*expected, "last.weight", "last.bias"]
    assert sorted(report.frozen) == sorted({name for name, _ in ours.named_parameters()} - set(learning(ours)))


def test_training_changes_only_what_is_not_held(tmp_path):
    ours = net(2)
    load_weights(ours, saved(net(1).state_dict(), tmp_path), freeze="all_but_last:1")
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    optimiser = torch.optim.AdamW(ours.parameters(), lr=0.1, weight_decay=0.1)

    ours["last"](ours["blocks"](ours["stem"](torch.ones(1, 2)))).sum().backward()
    optimiser.step()

    changed = [name for name, value in ours.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["last.weight", "last.bias"]


def image_branch(batch_norm, seed):
    torch.manual_seed(seed)
    return ImageBranch(1, 6, "monai.networks.nets.ResNet", RESNET, batch_norm)


def test_a_pretrained_net_with_batch_normalisation_held_gives_what_it_gave_where_it_was_trained(tmp_path):
    pytest.importorskip("monai", reason="images need the extra train")
    image = torch.randn(4, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    theirs = image_branch("frozen", 1)
    for module in theirs.net.modules():
        if isinstance(module, nn.BatchNorm3d):  # as after training
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    expected = theirs.net.eval()(image)
    ours = image_branch("frozen", 2).train()

    load_weights(ours.net, saved({f"module.{n}": v for n, v in theirs.net.state_dict().items()}, tmp_path), "module.")

    torch.testing.assert_close(ours(image), expected)


def test_weights_of_batch_normalisation_enter_the_groups_instead_and_its_statistics_are_told_as_unexpected(tmp_path):
    pytest.importorskip("monai", reason="images need the extra train")
    theirs, ours = image_branch("frozen", 1).net, image_branch("group", 2).net

    report = load_weights(ours, saved(theirs.state_dict(), tmp_path))

    assert report.missing == ()
    assert {name.rsplit(".", 1)[1] for name in report.unexpected} == {
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }
    assert {"bn1.weight", "bn1.bias"} <= set(report.matched)


def test_a_file_of_which_nothing_fits_is_refused_with_the_first_names_of_both_sides(tmp_path):
    theirs = {f"module.{name}": value for name, value in net(1).state_dict().items()}

    with pytest.raises(
        ValueError, match=r"the file has module\..*, …, the network stem\.weight, .*, …: name what begins"
    ):
        load_weights(net(2), saved(theirs, tmp_path))


def test_two_names_that_become_one_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"two weights become stem\..*: mend rename"):
        load_weights(net(2), saved(net(1).state_dict(), tmp_path), rename={"last": "stem"})


def test_a_prefix_that_no_name_has_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no weight begins with module\.; the file has"):
        load_weights(net(2), saved(net(1).state_dict(), tmp_path), prefix="module.")


class Harmful:
    def __reduce__(self):
        return (print, ("ran",))


def test_a_file_in_which_something_could_run_is_refused_and_nothing_runs(tmp_path, capsys):
    path = tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps(Harmful()))

    with pytest.raises(ValueError, match="no weights can be read"):
        load_weights(net(2), path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("held", "message"),
    [(torch.ones(3), "holds no weights by name"), ({"epoch": 3}, "holds no weights by name")],
)
def test_a_file_without_weights_by_name_is_refused(held, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_weights(net(2), saved(held, tmp_path, ".pt"))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.pt: no file of weights is there"):
        load_weights(net(2), tmp_path / "gone.pt")


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        ("some", "freeze=some is unknown; choose one of none, all or all_but_last:n"),
        ("all_but_last:x", "is unknown"),
        ("all_but_last:5", r"the network has 4 stages: stem, blocks\.0, blocks\.2, last"),
    ],
)
def test_a_way_to_freeze_that_cannot_be_is_refused(freeze, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_weights(net(2), saved(net(1).state_dict(), tmp_path), freeze=freeze)
