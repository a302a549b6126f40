import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks need the extra train")
pytest.importorskip("monai", reason="images need the extra train")

from safetensors.torch import load, save  # noqa: E402

from radnet.models.hybrid import GatedFusion, HybridNetwork, ImageBranch, draw_losses, image_net  # noqa: E402
from radnet.models.networks import NoisyOr, RadiomicsMLP  # noqa: E402

RESNET = {
    "net": "monai.networks.nets.ResNet",
    "arguments": {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [4, 4, 8, 8], "conv1_t_stride": 2},
    "batch_norm": "group",
}
WHOLE = {
    "n_features": 7,
    "n_clinical": 3,
    "n_channels": 2,
    "radiomics": {"hidden": [6], "dropout": 0.0},
    "cnn": RESNET,
    "embedding": 4,
    "fusion": "concat",
    "aggregate": "mean",
    "dropout": 0.0,
    "modality_dropout": 0.0,
    "n_outputs": 2,
}
PRESENT = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1]], dtype=torch.bool)
AGGREGATES = ["mean", "max", "noisy_or", "attention", "set_transformer"]
EVERY = pytest.mark.parametrize("aggregate", AGGREGATES)
FUSIONS = pytest.mark.parametrize("fusion", ["concat", "gated"])


def network(seed=0, **changes):
    torch.manual_seed(seed)
    made = HybridNetwork(**{**WHOLE, **changes})
    with torch.no_grad():  # as if learned: else what stands for a missing branch is zero
        for vector in made.absent.values():
            vector.normal_()
    return made.eval()


def batch():
    generator = torch.Generator().manual_seed(1)
    return {
        "features": torch.randn(4, 3, 7, generator=generator),
        "present": PRESENT,
        "clinical": torch.randn(4, 3, generator=generator),
        "image": torch.randn(4, 3, 2, 16, 16, 16, generator=generator),
    }


def same(found, expected):
    """Convolutions of other batches, and longer sums, differ in the last bits of single precision."""
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def wider(tensor, fill):
    return torch.cat([tensor, torch.full_like(tensor[:, :2], fill)], dim=1)


@EVERY
@FUSIONS
def test_places_without_a_lesion_change_no_score_whatever_stands_in_them(fusion, aggregate):
    model, given = network(fusion=fusion, aggregate=aggregate), batch()
    expected = model(**given)
    for name in ("features", "image"):
        given[name] = wider(given[name], 55.0)
        given[name][~wider(PRESENT, False)] = math.nan

    found = model(**given | {"present": wider(PRESENT, False)})

    same(found.output, expected.output)
    same(found.lesion_weight, wider(expected.lesion_weight, 0.0))
    same(found.lesion_output, wider(expected.lesion_output, 0.0))


@EVERY
@FUSIONS
def test_the_order_of_lesions_changes_no_score(fusion, aggregate):
    model, given, order = network(fusion=fusion, aggregate=aggregate), batch(), [2, 0, 1]
    turned = given | {name: given[name][:, order] for name in ("features", "present", "image")}

    before, after = model(**given), model(**turned)

    same(after.output, before.output)
    same(after.lesion_weight, before.lesion_weight[:, order])
    same(after.lesion_output, before.lesion_output[:, order])


@EVERY
@FUSIONS
def test_clinical_weights_of_zero_give_back_the_score_of_a_network_without_clinical_values(fusion, aggregate):
    model = network(fusion=fusion, aggregate=aggregate)
    alone, given = network(seed=9, fusion=fusion, aggregate=aggregate, n_clinical=0), batch()
    width = alone.fourth.in_features
    with torch.no_grad():
        model.fourth.weight[:, width:] = 0
    weights = {name: value for name, value in model.state_dict().items() if name != "absent.clinical"}
    alone.load_state_dict(weights | {"fourth.weight": model.fourth.weight[:, :width]})

    found = model(**given)

    same(found.output, alone(**given | {"clinical": torch.zeros(4, 0)}).output)


@EVERY
@pytest.mark.parametrize("batch_norm", ["group", "frozen"])
@pytest.mark.parametrize("training", [False, True], ids=["in evaluation", "in training"])
def test_the_score_of_a_patient_depends_on_nobody_scored_with_him(training, batch_norm, aggregate):
    model, given = network(aggregate=aggregate, cnn=RESNET | {"batch_norm": batch_norm}).train(training), batch()

    together = model(**given)

    for patient in range(4):
        alone = model(**{name: tensor[[patient]] for name, tensor in given.items()})
        same(alone.output[0], together.output[patient])


def as_radiomics_mlp(model, n_clinical=3):
    plain = RadiomicsMLP(n_features=7, n_clinical=n_clinical, hidden=[6, 4], dropout=0.0).eval()
    named = {name.replace("branches.radiomics", "trunk"): value for name, value in model.state_dict().items()}
    plain.load_state_dict({name: value for name, value in named.items() if not name.startswith("absent")})
    return plain


def test_with_one_lesion_and_no_image_the_network_is_zhaos():
    model, given = network(cnn=None, n_outputs=1), batch()
    one = (given["features"][:, :1], PRESENT[:, :1], given["clinical"])

    same(model(*one).output[:, 0], as_radiomics_mlp(model)(*one))


def test_under_noisy_or_clinical_values_go_with_every_lesion_as_in_the_plain_network():
    model, given = network(cnn=None, n_outputs=1, aggregate="noisy_or"), batch()
    plain = (given["features"], PRESENT, given["clinical"])

    same(model(*plain).output[:, 0], NoisyOr(as_radiomics_mlp(model))(*plain))


@pytest.mark.parametrize("aggregate", ["mean", "attention"])
def test_the_score_is_the_weighted_mean_of_what_the_lesions_score_alone(aggregate):
    found = network(aggregate=aggregate)(**batch())

    same((found.lesion_weight[..., None] * found.lesion_output).sum(dim=1), found.output)


@EVERY
def test_what_a_lesion_scores_alone_is_what_a_patient_with_that_lesion_only_would(aggregate):
    model, given = network(aggregate=aggregate), batch()

    found = model(**given).lesion_output

    for patient, place in PRESENT.nonzero().tolist():
        only = {name: given[name][[patient]][:, [place]] for name in ("features", "present", "image")}
        same(model(**only, clinical=given["clinical"][[patient]]).output[0], found[patient, place])
    assert (found[~PRESENT] == 0).all()


def test_the_maximum_has_all_the_weight():
    found = network(aggregate="max", n_outputs=1)(**batch())

    best = found.lesion_output[..., 0].masked_fill(~PRESENT, -math.inf).argmax(dim=1)
    assert torch.equal(found.lesion_weight, torch.nn.functional.one_hot(best, 3).float())


MISSING = {
    "has_features": torch.tensor([[0, 1, 1], [0, 1, 1], [0, 0, 1], [1, 1, 1]], dtype=torch.bool),
    "has_image": torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [1, 1, 1]], dtype=torch.bool),
    "has_clinical": torch.tensor([True, False, True, False]),
}


@EVERY
@FUSIONS
def test_a_missing_branch_gives_a_score_that_what_stands_in_its_place_does_not_change(fusion, aggregate):
    model, given = network(fusion=fusion, aggregate=aggregate), batch()
    lost = {
        "features": given["features"].masked_fill(~MISSING["has_features"][..., None], math.nan),
        "image": given["image"].masked_fill(~MISSING["has_image"][..., None, None, None, None], math.nan),
        "clinical": given["clinical"].masked_fill(~MISSING["has_clinical"][:, None], math.nan),
    }
    expected = model(**given, **MISSING)

    found = model(**given | lost, **MISSING)
    found.output.sum().backward()

    assert found.output.isfinite().all()
    assert torch.equal(found.output, expected.output)
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())
    assert not torch.allclose(expected.output, model(**given).output)


def test_clinical_values_that_are_missing_are_replaced_by_those_learned_for_it():
    model, given = network(), batch()
    with_learned = given | {"clinical": model.absent["clinical"].expand(4, 3)}

    found = model(**given, has_clinical=torch.zeros(4, dtype=torch.bool))

    assert torch.equal(found.output, model(**with_learned).output)


def test_no_images_at_all_are_as_images_that_every_lesion_lacks():
    model, given = network(), batch()

    found = model(**given | {"image": None})

    same(found.output, model(**given, has_image=torch.zeros_like(PRESENT)).output)


@EVERY
def test_a_patient_who_loses_a_branch_in_training_is_scored_as_if_it_were_missing(aggregate):
    model, given = network(aggregate=aggregate, n_clinical=0, modality_dropout=1.0), batch()
    given |= {"clinical": torch.zeros(4, 0)}
    none = torch.zeros_like(PRESENT)
    without = [model(**given, has_features=none).output, model(**given, has_image=none).output]

    torch.manual_seed(5)
    trained = [model.train()(**given).output for _ in range(6)]

    seen = set()
    for output in trained:
        for patient in range(4):
            which = [torch.allclose(output[patient], one[patient], rtol=1e-4, atol=1e-5) for one in without]
            assert sum(which) == 1
            seen.add((patient, which.index(True)))
    assert len(seen) > 4  # not always the same branch


def test_in_evaluation_no_branch_is_lost():
    model, given = network(modality_dropout=1.0), batch()

    assert torch.equal(model(**given).output, network()(**given).output)


def test_what_stands_for_a_missing_branch_is_learned_under_modality_dropout():
    model = network(modality_dropout=1.0).train()

    for _ in range(8):
        model(**batch()).output.sum().backward()

    assert all((vector.grad != 0).any() for vector in model.absent.values())


def test_branches_are_lost_as_often_as_asked_each_alike_and_never_the_only_one():
    available = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]], dtype=torch.bool)
    torch.manual_seed(7)
    draws = 4000

    lost = sum(draw_losses(available, 0.3).double() for _ in range(draws)) / draws

    # four standard errors of a share of 0.3 among 4000 are 0.03
    expected = torch.tensor([[0.1, 0.1, 0.1], [0.15, 0.0, 0.15], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(lost, expected.double(), rtol=0, atol=0.03)
    assert (lost[~available] == 0).all()
    assert (lost[2:] == 0).all()


def test_gated_fusion_is_its_equation_and_lies_between_the_branches():
    torch.manual_seed(0)
    fuse, described = GatedFusion(2, 3), torch.randn(5, 2, 3)

    found = fuse(described).detach().numpy()

    rows = described.numpy()
    told = rows.reshape(5, 6) @ fuse.gate.weight.detach().numpy().T + fuse.gate.bias.detach().numpy()
    share = 1 / (1 + np.exp(told[:, 3:] - told[:, :3]))  # of two branches the softmax is a logistic curve
    np.testing.assert_allclose(found, share * rows[:, 0] + (1 - share) * rows[:, 1], rtol=1e-5, atol=1e-6)
    assert ((found >= rows.min(axis=1)) & (found <= rows.max(axis=1))).all()


def test_with_one_branch_gated_fusion_passes_it_on():
    given = batch()

    gated, plain = network(cnn=None, fusion="gated"), network(cnn=None, seed=2)
    plain.load_state_dict({name: value for name, value in gated.state_dict().items() if "fuse" not in name})

    same(gated(**given).output, plain(**given).output)


@EVERY
@FUSIONS
def test_arguments_as_json_and_weights_are_all_a_saved_network_needs(fusion, aggregate):
    pooling = {"set_transformer": {"blocks": 2, "heads": 2}, "attention": {"hidden": 5}}.get(aggregate)
    changes = {"fusion": fusion, "aggregate": aggregate, "pooling": pooling}
    model, given = network(**changes), batch()

    again = HybridNetwork(**json.loads(json.dumps(WHOLE | changes)))
    again.load_state_dict(load(save(model.state_dict())))

    assert torch.equal(again.eval()(**given).output, model(**given).output)


@pytest.mark.parametrize(
    "changes", [{"cnn": None}, {"radiomics": None}, {"n_clinical": 0}], ids=["no image", "no radiomics", "no clinical"]
)
def test_a_branch_left_out_is_never_looked_at(changes):
    model, given = network(**changes), batch()
    unseen = {"cnn": "image", "radiomics": "features"}.get(next(iter(changes)))
    given = given if unseen else given | {"clinical": torch.zeros(4, 0)}

    expected = model(**given).output

    assert not unseen or torch.equal(model(**given | {unseen: given[unseen] * math.nan}).output, expected)
    assert expected.isfinite().all()


NETS = [
    ("ResNet", RESNET["arguments"], 16),
    ("DenseNet121", {"init_features": 8, "growth_rate": 4, "block_config": [1, 1]}, 16),
    ("SEResNet50", {"layers": [1, 1, 1, 1]}, 32),
    (
        "EfficientNet",
        {"blocks_args_str": ["r1_k3_s22_e6_i32_o24_se0.25"], "image_size": 16, "width_coefficient": 0.5},
        16,
    ),
    ("UNet", {"channels": [4, 8], "strides": [2]}, 16),
    (
        "ViT",
        {
            "img_size": [16, 16, 16],
            "patch_size": [8, 8, 8],
            "hidden_size": 12,
            "mlp_dim": 16,
            "num_layers": 1,
            "num_heads": 2,
            "classification": True,
            "post_activation": "none",
        },
        16,
    ),
]


@pytest.mark.parametrize(("name", "arguments", "side"), NETS, ids=[name for name, _, _ in NETS])
def test_a_net_of_monai_is_built_by_name_describes_an_image_and_learns(name, arguments, side):
    if name == "ViT":
        pytest.importorskip("einops", reason="MONAI's ViT needs einops")
    torch.manual_seed(0)
    branch = ImageBranch(1, 5, f"monai.networks.nets.{name}", arguments, "group").train()

    found = branch(torch.randn(2, 1, side, side, side))
    found.sum().backward()

    assert found.shape == (2, 5)
    assert not [kind for kind in map(type, branch.modules()) if "BatchNorm" in kind.__name__]
    assert any(weight.grad is not None and (weight.grad != 0).any() for weight in branch.parameters())


def test_a_map_that_a_net_gives_is_averaged_over_voxels():
    branch = ImageBranch(1, 5, "monai.networks.nets.UNet", {"channels": [4, 8], "strides": [2]}, "group").eval()
    image = torch.randn(2, 1, 8, 8, 8)

    torch.testing.assert_close(branch(image), branch.net(image).mean(dim=(2, 3, 4)))


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "torch.nn.Linear",
        "ResNet",
        "monai.networks.nets.Net",
        "monai.networks.nets.resnet",  # a module
        "monai.networks.nets.resnet.torch",
        "monai.networks.nets.BlockArgs",  # no network
        "monai.networks.nets.get_efficientnet_image_size",  # a function that makes none
    ],
)
def test_a_name_that_is_no_network_of_monai_is_refused(name):
    with pytest.raises(ValueError, match=f"cnn.net={name} is no network under monai.networks.nets"):
        image_net(name, {}, 1, 4)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet10", {"pretrained": True}, "pretrained of monai.networks.nets.resnet10 is set by radnet"),
        ("ResNet", {"spatial_dims": 2, "num_classes": 3}, "num_classes, spatial_dims of .* is set by radnet"),
        ("ResNet", {"layerz": [1]}, "takes no layerz; it takes act, .*layers, "),
        ("ResNet", {"block": "odd", "layers": [1], "block_inplanes": [4]}, "cannot be built: Unknown block 'odd'"),
        ("Classifier", {}, r"must take its channels \(in_channels or n_input_channels\) and its outputs"),
    ],
)
def test_arguments_a_net_cannot_take_are_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        image_net(f"monai.networks.nets.{name}", arguments, 1, 4)


def test_a_net_that_gives_something_else_is_named_with_what_it_gave():
    branch = ImageBranch(1, 5, RESNET["net"], RESNET["arguments"] | {"feed_forward": False}, "group")

    with pytest.raises(ValueError, match=r"ResNet gives shape \(2, 8\) of 2 lesions, expected \(2, 5\)"):
        branch(torch.randn(2, 1, 16, 16, 16))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"radiomics": None, "cnn": None}, "needs radiomics or cnn"),
        ({"fusion": "sum"}, "fusion=sum is unknown; choose one of concat, gated"),
        ({"aggregate": "largest"}, "aggregate=largest is unknown to a hybrid network"),
        ({"aggregate": "mean", "pooling": {"heads": 2}}, "pooling: aggregate=mean has no arguments, got heads"),
        ({"radiomics": {"hiden": [3], "dropout": 0.1}}, "radiomics must name dropout, hidden, got dropout, hiden"),
        ({"cnn": {"net": RESNET["net"]}}, "cnn must name arguments, batch_norm, net, got net"),
        ({"modality_dropout": 1.5}, "between 0 and 1, got 1.5"),
        ({"cnn": RESNET | {"batch_norm": "batch"}}, "cnn.batch_norm=batch is unknown; choose one of group, frozen"),
    ],
)
def test_a_network_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        network(**changes)


def test_a_patient_without_a_lesion_is_refused_by_his_row():
    present = PRESENT.clone()
    present[2] = False

    with pytest.raises(ValueError, match=r"rows \[2\] of the batch have none"):
        network()(**batch() | {"present": present})


def test_images_that_are_said_to_be_there_and_are_not_are_refused():
    with pytest.raises(ValueError, match="has_image says that lesions have an image, but the batch has no image"):
        network()(**batch() | {"image": None}, has_image=PRESENT)
